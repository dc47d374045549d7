"""Risk seen so far, carried from bar to bar: deviations, portfolio volatility, average true range.

Each class takes one `View` per decision and knows nothing later. A return that is missing changes nothing, and a symbol
has no deviation before `READY` of them, so that nothing is sized by guesswork.
"""

import math

import numpy as np

from ..forecast import View
from .memory import Remembers

READY = 20  # returns before a deviation counts


class Deviations(Remembers):
    """Exponentially weighted deviation of every symbol's returns, mean zero (RiskMetrics, 1996).

    Parameters
    ----------
    n_symbols : int
        Columns.
    halflife : float
        Bars after which a return counts half.
    """

    MEMORY = ("_sum", "_weight", "_seen")

    def __init__(self, n_symbols: int, halflife: float):
        self._keep = 0.5 ** (1.0 / halflife)
        self._sum, self._weight = np.zeros(n_symbols), np.zeros(n_symbols)
        self._seen = np.zeros(n_symbols, dtype=np.int64)

    def update(self, returns: np.ndarray) -> np.ndarray:
        """Take the returns of a bar, return the deviations, (n_symbols,), NaN where too few are known."""
        known = np.isfinite(returns) & (np.abs(returns) < 1e6)
        square = np.where(known, returns, 0.0) ** 2
        self._sum = np.where(known, self._keep * self._sum + square, self._sum)
        self._weight = np.where(known, self._keep * self._weight + 1.0, self._weight)
        self._seen = self._seen + known
        ready = self._seen >= READY
        return np.where(ready, np.sqrt(self._sum / np.maximum(self._weight, 1.0)), np.nan)


class PortfolioVolatility(Remembers):
    """Volatility that given weights would have had over the latest returns, correlations and all.

    No covariance matrix is estimated: the deviation of the past returns of *these* weights is taken, recent bars
    counting more. With forecast deviations each symbol's past is first rescaled to them.

    Parameters
    ----------
    n_symbols : int
        Columns.
    halflife : float
        Bars after which a return counts half; five times as many are kept.
    """

    MEMORY = ("_past", "_own", "_now", "_slot", "_bars")

    def __init__(self, n_symbols: int, halflife: float):
        self._past = np.zeros((math.ceil(5 * halflife), n_symbols))
        self._own = Deviations(n_symbols, halflife)
        self._now = np.full(n_symbols, np.nan)
        self._slot, self._bars = 0, 0
        self._ages = 0.5 ** (np.arange(len(self._past)) / halflife)

    def update(self, returns: np.ndarray) -> None:
        """Take the returns of a bar."""
        self._now = self._own.update(returns)
        known = np.isfinite(returns) & (np.abs(returns) < 1e6)
        self._past[self._slot] = np.where(known, returns, 0.0)
        self._slot = (self._slot + 1) % len(self._past)
        self._bars = min(self._bars + 1, len(self._past))

    @property
    def known(self) -> np.ndarray:
        """Whether each symbol has a deviation, (n_symbols,)."""
        return np.isfinite(self._now)

    def of(self, weights: np.ndarray, deviation: np.ndarray | None = None) -> float:
        """Return the volatility of one bar; `deviation` (n_symbols,) is the forecast of each symbol's, where finite."""
        if deviation is not None:
            usable = np.isfinite(deviation) & (deviation > 0) & (self._now > 0)
            weights = weights * np.where(usable, deviation / np.where(self._now > 0, self._now, 1.0), 1.0)
        moved = np.einsum("ts,s->t", self._past, weights)
        ages = self._ages[(self._slot - 1 - np.arange(len(moved))) % len(moved)]
        return math.sqrt(float(np.dot(ages, moved * moved)) / float(self._ages[: self._bars].sum() or 1.0))


class TrueRange(Remembers):
    """Wilder's (1978) average true range of every symbol, in today's shares.

    The close before is the one that the bar's total return starts from, so neither a split nor a dividend looks like a
    move.

    Parameters
    ----------
    n_symbols : int
        Columns.
    window : int
        Bars averaged; nothing is known before so many ranges.

    Attributes
    ----------
    atr : float array (n_symbols,)
        Money per share, NaN before.
    rescale : float array (n_symbols,)
        What a price of the bar before is worth in today's shares: 1 but for splits and dividends.
    """

    MEMORY = ("atr", "rescale", "_mean", "_seen", "_last")

    def __init__(self, n_symbols: int, window: int):
        self.window = window
        self.atr = np.full(n_symbols, np.nan)
        self.rescale = np.ones(n_symbols)
        self._mean, self._seen = np.zeros(n_symbols), np.zeros(n_symbols, dtype=np.int64)
        self._last = np.full(n_symbols, np.nan)

    def update(self, view: View) -> None:
        """Take the bar of a view."""
        self.rescale = rescaled(view, self._last)
        before = self._last * self.rescale
        top, bottom = np.fmax(view.high, before), np.fmin(view.low, before)
        spread = top - bottom
        known = np.isfinite(spread) & np.isfinite(view.high) & np.isfinite(view.low) & np.isfinite(before)
        known &= spread >= 0
        self._seen += known
        share = 1.0 / np.minimum(np.maximum(self._seen, 1), self.window)
        self._mean = self._mean * self.rescale
        self._mean = np.where(known, self._mean + share * (np.where(known, spread, 0.0) - self._mean), self._mean)
        self.atr = np.where(self._seen >= self.window, self._mean, np.nan)
        self._last = np.where(np.isfinite(view.price) & (view.price > 0), view.price, before)


def rescaled(view: View, last: np.ndarray) -> np.ndarray:
    """Return what a price as of `last` closes is worth in today's shares, (n_symbols,): 1 but for splits and dividends.

    A price p, a total return r and the price before, q, satisfy ``p = q (1 + r) x rescaled``. Where a symbol did not
    trade its price is carried on, and only a split changes it.
    """
    grown = last * (1.0 + np.where(np.isnan(view.returns) & (view.state != 0), 0.0, view.returns))
    ratio = np.divide(view.price, grown, out=np.ones(len(last)), where=np.isfinite(grown) & (grown > 0))
    return np.where(np.isfinite(ratio) & (ratio > 0) & (np.abs(ratio - 1.0) > 1e-9), ratio, 1.0)
