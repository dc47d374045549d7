"""How long nothing has been said about each symbol: neither a forecast nor a target."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..bars import State
from ..forecast import ForecastRow, View
from .memory import Remembers

_CLOSED = int(State.CLOSED)


class Silence(Remembers):
    """Bars since each symbol was last spoken of.

    A target speaks: whoever gave it decided. NaN leaves a position as it is, and then a forecast speaks, for as many
    bars as it looks ahead, if all of it is a number. There is no silence before a forecast was heard or is expected,
    since a strategy without a forecaster never has one; a bar in which the symbol's market was closed does not count.

    Parameters
    ----------
    n_symbols : int
        Columns.
    most : int
        Bars after which a position is closed.

    Attributes
    ----------
    bars : int64 array (n_symbols,)
        Bars of silence; below zero while an earlier forecast still looks ahead.
    over : bool array (n_symbols,) or None
        Symbols silent for more than `most` bars; None where there is none.
    heard : bool
        Whether there was ever a forecast, or is one to be expected.
    """

    MEMORY = ("bars", "heard", "_time", "_even")

    def __init__(self, n_symbols: int, most: int):
        self.bars, self._most = np.zeros(n_symbols, dtype=np.int64), most
        self.over: np.ndarray | None = None
        self.heard = False
        self._time: int | None = None
        self._even: int | None = 0  # what all of `bars` are while all are spoken of, and the array rests

    def observe(self, view: View, targets: np.ndarray) -> None:
        """Take the forecasts and targets of a decision; a second time at the same moment changes nothing."""
        if view.time == self._time:
            return
        self._time = view.time
        row = view.forecast
        horizon = 1
        if row is not None:
            self.heard = True
            if row.target is not None:
                horizon = row.target.horizon
        asked = np.isfinite(targets)
        if np.count_nonzero(asked) == len(asked):
            self._even, self.over = 1 - horizon, None
        elif self.heard:
            self._count(view, ~asked, horizon)

    def _count(self, view: View, unsaid: np.ndarray, horizon: int) -> None:
        if self._even is not None:
            self.bars, self._even = np.full(len(unsaid), self._even, dtype=np.int64), None
        unsaid = unsaid if view.forecast is None else unsaid & ~forecast_of(view.forecast)
        longer = self.bars + (view.state != _CLOSED)
        self.bars = np.where(unsaid, longer, 1 - horizon)
        self._judge()

    def _judge(self) -> None:
        over = self.bars > self._most
        self.over = over if np.count_nonzero(over) else None

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Take up a memory; the bound may be another one."""
        super().restore(kept)
        self.over = None
        if self._even is None:
            self._judge()


def forecast_of(row: ForecastRow) -> np.ndarray:
    """Return the symbols about which all that a forecast says is a number, (n_symbols,)."""
    said = np.isfinite(row.mean)
    for name, values in row.extras().items():
        said = said & ~np.isnan(np.diagonal(values) if name == "covariance" else values)
    return said
