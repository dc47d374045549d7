"""Live: one row in, one forecast per symbol out, the same bits as `predict` over history.

A `Stream` carries what a window needs and nothing else: the state of the feature program and the last `lookback` rows
of features.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..bars import Bars, State
from ..errors import InputError
from .network import make_engine


class Stream:
    """A fitted `LSTM`, fed row by row.

    Parameters
    ----------
    model : LSTM
        Fitted.
    bars : Bars, optional
        History to warm up with; its symbols are the columns of every row from then on.

    Examples
    --------
    >>> import longshort as ls
    >>> bars = ls.load_bars("AAPL", start="2017-01-01", end="2019-12-31", source="sample")
    >>> model = ls.LSTM([ls.features.log_return()], lookback=10, hidden=(8,), epochs=1).fit(bars.until("2018-12-31"))
    >>> stream = model.stream(bars.until("2019-12-30"))
    >>> bool(stream.step(bars.row(len(bars) - 1))[0] == model.predict(bars).mean[-1, 0])
    True
    """

    def __init__(self, model: Any, bars: "Bars | None" = None):
        if model.context == "carry":
            raise InputError("A stream serves models that learned from windows. Use predict, or context='window'.")
        self.symbols = tuple(model.symbols_ if bars is None else bars.symbols)
        if bars is not None:
            model.check_symbols(bars)
        self._model, self._program = model, model.program_
        self._stepper = self._program.stepper(self.symbols)
        n_features = len(self._program.names)
        self._ring = np.full((model.lookback, len(self.symbols), n_features), np.nan)
        self._engines = []
        for columns, nets in model.nets_for(self.symbols):
            for seed, net in enumerate(nets):
                engine = make_engine(model, n_features, seed=0)
                engine.set_weights(net.weights)
                self._engines.append((seed, columns, engine, net))
        if bars is not None:
            for i in range(len(bars)):
                self._push(bars.row(i))

    def step(self, row: "Mapping[str, np.ndarray]") -> np.ndarray:
        """Take one closed row (as `Bars.row` gives it) and return the forecasts, (n_symbols,); NaN without a window."""
        self._push(row)
        model = self._model
        said = np.full((model.seeds, len(self.symbols)), np.nan)
        full = np.asarray(np.isfinite(self._ring).all(axis=(0, 2)))
        for seed, columns, engine, net in self._engines:
            ready = columns[full[columns]]
            if not len(ready):
                continue
            windows = np.ascontiguousarray(self._ring[:, ready].transpose(1, 0, 2))
            said[seed, ready] = net.said(model, _predict(engine, windows, net.inputs))["mean"]
        return said.mean(axis=0)

    def _push(self, row: "Mapping[str, np.ndarray]") -> None:
        features = np.array(self._stepper.step(row))
        if "state" in row:
            features[np.isin(row["state"], (State.MISSING, State.HALTED))] = np.nan
        self._ring[:-1] = self._ring[1:]
        self._ring[-1] = features


def _predict(engine, windows: np.ndarray, inputs) -> np.ndarray:
    n, lookback, n_features = windows.shape
    engine.bind(windows, n_features, inputs.center, inputs.scale)
    return engine.predict(np.arange(n, dtype=np.int64) * (lookback * n_features))
