"""Streams of forecasters that look at the last few bars: each answers, row by row, what `predict` says, bit for bit."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from .._panel.tails import Tail
from ..bars import Bars, require_bars
from ..errors import InputError
from ..features import FeatureSet, field
from ..forecast import ForecastRow, Streaming
from .linear import level_of, side_by_side

EVERYTHING = np.iinfo(np.int64).max


def stream_of(forecaster: Any, bars: Bars) -> Streaming:
    """Return a stream of any fitted forecaster: its own, or one that asks it about the whole history at every row.

    Examples
    --------
    >>> from longshort import features as f, models as m
    >>> from longshort.data import synthetic
    >>> bars = synthetic.garch(300, seed=1)
    >>> class Mine(m.Persistence):
    ...     stream = None
    >>> model = Mine(f.forward_volatility(5)).fit(bars)
    >>> stream = stream_of(model, bars.until(bars.time[298]))
    >>> bool(stream.step(bars.row(299))[0] == model.predict(bars).mean[-1, 0])
    True
    """
    if callable(getattr(forecaster, "stream", None)):
        try:
            stream = forecaster.stream(bars)
        except InputError:  # it says itself that it has none; what is wrong with `bars`, predict will say
            stream = None
        if isinstance(stream, Streaming):
            return stream
    return RecentBars(forecaster, bars, EVERYTHING)


class RecentBars:
    """A forecaster asked at every row about the last bars, as many as its forecast depends on.

    Parameters
    ----------
    model : forecaster
        Fitted.
    bars : Bars
        History; the forecaster sees prices adjusted by all of it.
    memory : int, optional
        Bars that a forecast depends on; the model's own `memory` by default.

    Examples
    --------
    >>> from longshort import features as f, models as m
    >>> from longshort.data import synthetic
    >>> bars = synthetic.garch(300, seed=1)
    >>> model = m.AutoRegression(f.forward_volatility(5)).fit(bars)
    >>> stream = model.stream(bars.until(bars.time[298]))
    >>> bool(stream.step(bars.row(299))[0] == model.predict(bars).mean[-1, 0])
    True
    """

    def __init__(self, model: Any, bars: Bars, memory: int | None = None):
        require_bars(bars, "stream")
        self._model, self.symbols = model, tuple(bars.symbols)
        self._tail = Tail(bars, model.memory if memory is None else memory)
        model.predict(self._tail.bars)  # whoever is not fitted, or on other symbols, says so now

    def step(self, row: Mapping[str, Any]) -> np.ndarray:
        """Take one closed row (as `Bars.row` gives it) and return the forecasts, float64 (n_symbols,)."""
        return np.array(self.forecast(row).mean)

    def forecast(self, row: Mapping[str, Any]) -> ForecastRow:
        """Take one closed row and return everything that `predict` says of it."""
        bars = self._tail.append(row)
        return self._model.predict(bars, start=int(bars.time[-1])).row(0)

    def settle(self) -> None:
        """There is nothing to do between two rows."""


class RecentFeatures:
    """A forecaster that reads the features of the last `lookback` bars side by side, fed row by row.

    Parameters
    ----------
    model : forecaster
        With `program_`, `lookback` and ``said(inputs)``.
    bars : Bars
        History to warm up with; its symbols are the columns of every row from then on.

    Examples
    --------
    >>> from longshort import features as f, models as m
    >>> from longshort.data import synthetic
    >>> bars = synthetic.planted_signal(500, seed=1)
    >>> model = m.Ridge([f.rsi(14), f.log_return()], f.forward_log_return()).fit(bars)
    >>> stream = model.stream(bars.until(bars.time[498]))
    >>> bool(stream.step(bars.row(499))[0] == model.predict(bars).mean[-1, 0])
    True
    """

    def __init__(self, model: Any, bars: Bars):
        require_bars(bars, "stream")
        self._model, self.symbols = model, tuple(bars.symbols)
        model.predict(bars.until(int(bars.time[0])))
        self._stepper = model.program_.stepper(self.symbols)
        seen = self._stepper.tail(bars, model.lookback)
        self._ring = np.full((model.lookback, *seen.shape[1:]), np.nan)
        self._ring[model.lookback - len(seen) :] = seen
        self._close = None
        if model.target.info.kind == "close":
            self._close = FeatureSet([field("close")]).stepper(self.symbols).feed(bars)

    def step(self, row: Mapping[str, Any]) -> np.ndarray:
        """Take one closed row (as `Bars.row` gives it) and return the forecasts, float64 (n_symbols,)."""
        self._ring = np.concatenate([self._ring[1:], self._stepper.step(row)[None]])
        said = self._model.said(side_by_side(self._ring, len(self._ring), len(self._ring) - 1))[0]
        return said if self._close is None else level_of(self._model.target, self._close.step(row)[:, 0], said)

    def forecast(self, row: Mapping[str, Any]) -> ForecastRow:
        """Take one closed row and return everything that `predict` says of it: the point."""
        return ForecastRow(self._model.target.info, self.step(row))

    def settle(self) -> None:
        """There is nothing to do between two rows."""
