"""What there is to judge: the rows at which something is decided, and the forecasts that need no model."""

from typing import TYPE_CHECKING, Any

import numpy as np

from ..forecast import Forecaster
from ..models.readiness import ready_cells
from .splits import NEVER

if TYPE_CHECKING:
    from ..bars import Bars


def decision_rows(forecaster: Forecaster, bars: "Bars", actual: np.ndarray, label_end: np.ndarray) -> np.ndarray:
    """Return the decisions (n_bars,): rows at which some symbol has a full window and an outcome that is known."""
    cells = np.isfinite(actual) & (label_end != NEVER)[:, None] & ready_cells(forecaster, bars)
    return cells.any(axis=1)


def information_free(target: Any, bars: "Bars") -> dict[str, np.ndarray]:
    """Return the forecasts without information, (n_bars, n_symbols) each: `target.naive`, and one more for two kinds.

    Prices: the last close plus the mean change so far (``drift``); without it every model that merely learned that
    stocks rise would pass for one that knows something. Directions: the share of rises so far (``share``); a majority
    of 0 or 1 has such a large squared error that any number near 0.5 would beat it.
    """
    naive = {name: np.asarray(values) for name, values in target.naive(bars).items()}
    if target.info.kind == "close" and "drift" not in naive:
        naive["drift"] = drift(bars, target.info.horizon)
    if target.info.kind == "direction" and "share" not in naive:
        naive["share"] = mean_so_far(target, bars)
    return naive


def mean_so_far(target: Any, bars: "Bars", fewest: int = 20) -> np.ndarray:
    """Return the mean of the outcomes known at each bar, (n_bars, n_symbols); 0.5 until there are `fewest`."""
    outcomes, ends = np.asarray(target.compute(bars)), np.asarray(target.label_end(bars))
    finite = np.isfinite(outcomes)
    count, total = np.cumsum(finite, axis=0), np.cumsum(np.where(finite, outcomes, 0.0), axis=0)
    mean = np.divide(total, count, out=np.full(outcomes.shape, 0.5), where=count >= fewest)
    newest = np.searchsorted(ends, bars.time, side="right") - 1
    return np.where((newest >= 0)[:, None], mean[np.maximum(newest, 0)], 0.5)


def next_returns(bars: "Bars", time: np.ndarray) -> np.ndarray:
    """Return simple returns from each decision (int64 nanoseconds) to the next bar, NaN after the last bar."""
    close = np.asarray(bars.adjusted("close"))
    rows = np.searchsorted(bars.time, time)
    after = np.minimum(rows + 1, len(close) - 1)
    return np.where((rows + 1 < len(close))[:, None], close[after] / close[rows] - 1.0, np.nan)


def drift(bars: "Bars", horizon: int = 1) -> np.ndarray:
    """Return the last adjusted close times (1 + mean change per bar so far) ** horizon; causal, (n_bars, n_symbols)."""
    close = np.asarray(bars.adjusted("close"))
    change = np.full(close.shape, np.nan)
    change[1:] = close[1:] / close[:-1] - 1.0
    known = np.isfinite(change)
    count = np.cumsum(known, axis=0)
    total = np.cumsum(np.where(known, change, 0.0), axis=0)
    mean = np.divide(total, count, out=np.zeros(close.shape), where=count >= 20)
    return close * (1.0 + mean) ** horizon
