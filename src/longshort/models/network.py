"""A trained network and the engine behind it: what fitting makes, and what forecasting, streaming and storage use."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..features.windows import Scaling, Windows
from .sequences import outputs

if TYPE_CHECKING:
    from ..bars import Bars

PRECISIONS = ("fp32", "fp64", "mixed")


@dataclass(frozen=True, eq=False)
class Net:
    """One trained network: its weights, the scaling it was trained with, and what its outputs are worth."""

    weights: dict[str, np.ndarray]
    inputs: Scaling
    output: Scaling
    calibration: np.ndarray | None = None

    def read(
        self, model: Any, windows: Windows, symbols: Sequence[str], context: str = "window"
    ) -> dict[str, np.ndarray]:
        """Return the forecasts in units of the target, as the model's loss reads them; `symbols` name the columns."""
        engine = make_engine(model, len(self.inputs.center), seed=0)
        engine.set_weights(self.weights)
        bind(engine, windows, self.inputs, symbol_numbers(model, symbols))
        return self.said(model, outputs(engine, windows, context))

    def said(self, model: Any, raw: np.ndarray) -> dict[str, np.ndarray]:
        """Return what raw outputs (n_windows, n_outputs) of this network say, in units of the target."""
        return model.loss_.read(raw, self.output, model.target_, self.calibration)

    def predict(self, model: Any, windows: Windows, symbols: Sequence[str]) -> np.ndarray:
        """Return the point forecasts, float64 (n_windows,)."""
        return self.read(model, windows, symbols)["mean"]


def mean_of_seeds(values: np.ndarray) -> np.ndarray:
    """Return the mean over the first axis, added one by one: a row's bits do not depend on how many rows there are.

    Examples
    --------
    >>> mean_of_seeds(np.array([[1.0], [2.0], [6.0]]))
    array([3.])
    """
    total = values[0]
    for more in values[1:]:
        total = total + more
    return total / len(values)


def engine_of(model: Any) -> str:
    """Return the engine that trains a model: the native one wherever it can."""
    why = _why_torch(model)
    if model.context == "carry" and (why or model.engine == "torch"):
        why = why or "engine is 'torch'"
        raise InputError(f"context='carry' is for the native engine, but {why}. Use context='window'.")
    if model.engine == "native" and why:
        raise InputError(f"engine='native' cannot train this model: {why}. Use engine='torch' or 'auto'.")
    return "torch" if model.engine == "torch" or why else "native"


def _why_torch(model: Any) -> str | None:
    if model.network != "lstm":
        return f"its network is {model.network!r}"
    if model.symbol_embedding:
        return "it learns a vector for each symbol"
    if model.device not in ("auto", "cpu"):
        return f"device is {model.device!r}"
    return "precision is 'mixed'" if model.precision == "mixed" else None


def steps_by_row(model: Any) -> bool:
    """Return whether a window can be taken row by row: the native LSTM. Any other network needs the whole window."""
    return engine_of(model) == "native" and model.network == "lstm"


def make_engine(model: Any, n_inputs: int, seed: int, threads: int = 1, options: dict[str, Any] | None = None):
    """Build the engine for a model's shape; `options` are those of training: the loss's, and a sequence's lengths."""
    chosen: dict[str, Any] = model.loss_.engine_options() if options is None else options
    if engine_of(model) == "torch":
        from .torch_engine import torch_engine

        return torch_engine(model, n_inputs, seed, chosen)
    from ..native import core

    trainer = core.LSTMTrainer64 if model.precision == "fp64" else core.LSTMTrainer
    shape = {
        "n_inputs": n_inputs,
        "hidden": [int(w) for w in model.hidden],
        "head": [int(w) for w in model.head],
        "n_outputs": model.n_outputs,
        "head_activation": model.head_activation,
        "dropout": model.dropouts(),
        "lr": float(model.lr),
        "eps": float(model.eps),
        "weight_decay": float(model.weight_decay),
        "clip": float(model.clip),
        "batch_size": int(model.batch_size),
        "lookback": int(model.lookback),
        "seed": int(seed),
        "init": model.init,
        "threads": int(threads),
    }
    return trainer(**(shape | chosen))


def network_layers(model: Any, n_inputs: int) -> list[dict[str, Any]]:
    """Return name, kind, inputs, units and parameters of every layer of a model's torch network."""
    from .counting import layers_of
    from .torch_engine import torch_engine

    if model.symbol_embedding and not hasattr(model, "symbols_"):
        model = model.with_params()
        model.symbols_ = ("?",)  # not fitted yet: one symbol stands for all
    module = torch_engine(model, n_inputs, 0, model.loss_.engine_options()).module
    return [layer | {"rows": None, "dropout": 0.0} for layer in layers_of(module)]


def bind(engine, windows: Windows, inputs: Scaling, symbols: np.ndarray | None = None) -> None:
    """Point an engine at the features; they are scaled as they are gathered, never copied."""
    numbers = {} if symbols is None else {"symbols": symbols}
    engine.bind(windows.features, windows.time_stride, inputs.center, inputs.scale, **numbers)


def symbol_numbers(model: Any, symbols: Sequence[str]) -> np.ndarray | None:
    """Return the number the network knows each symbol by, int64 (n_symbols,); None where it tells none apart."""
    if not model.symbol_embedding:
        return None
    return np.array([model.symbols_.index(symbol) for symbol in symbols], dtype=np.int64)


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
