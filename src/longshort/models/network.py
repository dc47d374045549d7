"""A trained network and the engine behind it: what fitting makes, and what forecasting, streaming and storage use."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..features.windows import Scaling, Windows

if TYPE_CHECKING:
    from ..bars import Bars

ENGINES = {"fp32": "LSTMTrainer", "fp64": "LSTMTrainer64"}


@dataclass(frozen=True, eq=False)
class Net:
    """One trained network: its weights and the scaling it was trained with."""

    weights: dict[str, np.ndarray]
    inputs: Scaling
    output: Scaling

    def predict(self, model: Any, windows: Windows) -> np.ndarray:
        """Return the forecasts in units of the target, float64 (n_windows,)."""
        engine = make_engine(model, len(self.inputs.center), seed=0)
        engine.set_weights(self.weights)
        bind(engine, windows, self.inputs)
        return self.output.inverse(engine.predict(windows.starts))[:, 0]


def make_engine(model: Any, n_inputs: int, seed: int, threads: int = 1):
    """Build the native engine for a model's shape."""
    from ..native import core

    return getattr(core, ENGINES[model.precision])(
        n_inputs=n_inputs,
        hidden=[int(w) for w in model.hidden],
        head=[int(w) for w in model.head],
        n_outputs=1,
        head_activation=model.head_activation,
        dropout=model.dropouts(),
        loss=model.loss,
        huber_delta=float(model.huber_delta),
        lr=float(model.lr),
        eps=float(model.eps),
        weight_decay=float(model.weight_decay),
        clip=float(model.clip),
        batch_size=int(model.batch_size),
        lookback=int(model.lookback),
        seed=int(seed),
        init=model.init,
        threads=int(threads),
    )


def bind(engine, windows: Windows, inputs: Scaling) -> None:
    """Point an engine at the features; they are scaled as they are gathered, never copied."""
    engine.bind(windows.features, windows.time_stride, inputs.center, inputs.scale)


def upcoming(bars: "Bars", n: int) -> np.ndarray:
    """Return when the next `n` bars after the last one will be known: session closes, or even steps intraday."""
    from ..clock import bar_size_ns, next_sessions, session_closes

    last = int(bars.time[-1])
    if bars.bar_size == "1D" and bars.calendar is not None:
        return session_closes(bars.calendar, next_sessions(bars.calendar, last, n))
    return last + np.arange(1, n + 1) * bar_size_ns(bars.bar_size)


def row_of(bars: "Bars", start: Any) -> int:
    """Return the index of the first bar at or after `start`; 0 for None."""
    if start is None:
        return 0
    if isinstance(start, int | np.integer):
        return int(np.searchsorted(bars.time, start, side="left"))
    return len(bars) - len(bars.since(start))
