"""Measures of forecasts and of trading, one function each.

Forecast measures take ``actual`` and ``forecast`` of the same shape, usually (n_rows,) or (n_rows, n_symbols), and pool
all cells. **NaN:** a cell counts only where both are finite, as a forecast without an outcome can be neither right nor
wrong; without any such cell the answer is NaN, never zero. Trading measures take simple returns per bar and refuse NaN,
because an account has no missing days.

What each is good for: `skill` and `mase` compare with a naive forecast and are the ones to quote; `mse`, `rmse`, `mae`
have units; `r2` of price levels is worthless (a random walk's persistence reaches 0.98); `hit_rate` and
`information_coefficient` measure timing, not size.
"""

from collections.abc import Sequence
from math import inf, nan, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from .errors import InputError

__all__ = [
    "annual_return",
    "annual_volatility",
    "bias",
    "coverage",
    "drawdowns",
    "hit_rate",
    "hit_rate_interval",
    "information_coefficient",
    "information_coefficients",
    "mae",
    "mape",
    "mase",
    "matthews_correlation",
    "max_drawdown",
    "mse",
    "pinball",
    "qlike",
    "r2",
    "rmse",
    "rolling_sharpe",
    "sharpe",
    "sharpe_interval",
    "skill",
    "sortino",
    "total_return",
    "turnover",
]


# ------------------------------------------------------------------------------------------------- forecasts: size


def mse(actual: ArrayLike, forecast: ArrayLike) -> float:
    """Return the mean squared error, in squared units of the target.

    Examples
    --------
    >>> mse([1.0, 2.0, 3.0], [1.0, 2.0, 5.0])
    1.3333333333333333
    """
    a, f = _pairs(actual, forecast)
    return float(np.mean((a - f) ** 2)) if len(a) else nan


def rmse(actual: ArrayLike, forecast: ArrayLike) -> float:
    """Return the root of the mean squared error, in units of the target.

    Examples
    --------
    >>> rmse([10.0, 10.0], [7.0, 14.0])
    3.5355339059327378
    """
    return sqrt(mse(actual, forecast))


def mae(actual: ArrayLike, forecast: ArrayLike) -> float:
    """Return the mean absolute error, in units of the target.

    Examples
    --------
    >>> mae([10.0, 10.0, float("nan")], [7.0, 14.0, 1.0])
    3.5
    """
    a, f = _pairs(actual, forecast)
    return float(np.mean(np.abs(a - f))) if len(a) else nan


def mape(actual: ArrayLike, forecast: ArrayLike) -> float:
    """Return the mean absolute error as a fraction of the actual value; cells where that is zero do not count.

    Examples
    --------
    >>> round(mape([100.0, 200.0], [110.0, 190.0]), 3)
    0.075
    """
    a, f = _pairs(actual, forecast)
    a, f = a[a != 0], f[a != 0]
    return float(np.mean(np.abs((a - f) / a))) if len(a) else nan


def bias(actual: ArrayLike, forecast: ArrayLike) -> float:
    """Return the mean of forecast minus actual: positive when the model promises too much.

    Examples
    --------
    >>> bias([1.0, 2.0], [2.0, 2.0])
    0.5
    """
    a, f = _pairs(actual, forecast)
    return float(np.mean(f - a)) if len(a) else nan


def mase(actual: ArrayLike, forecast: ArrayLike, naive: ArrayLike) -> float:
    """Return the mean absolute error as a multiple of a naive forecast's, on the cells where all three are finite.

    Below 1 the forecast is better. Hyndman and Koehler (2006) scale by the in-sample naive error; here the naive
    forecast is judged on the same out-of-sample cells, so nothing but the forecasts differs.

    Examples
    --------
    >>> mase(actual=[3.0, 4.0], forecast=[3.5, 4.0], naive=[2.0, 3.0])
    0.25
    """
    a, f, n = _pairs(actual, forecast, naive)
    return _ratio(float(np.sum(np.abs(a - f))), float(np.sum(np.abs(a - n)))) if len(a) else nan


def skill(actual: ArrayLike, forecast: ArrayLike, naive: ArrayLike) -> float:
    """Return 1 - MSE / MSE of a naive forecast, on the cells where all three are finite.

    Above 0 the forecast is better than the naive one, 1 is perfect. For daily returns 0.01 is already a lot.

    Examples
    --------
    Half the naive squared error:

    >>> skill(actual=[1.0, -1.0], forecast=[1.0, 0.0], naive=[0.0, 0.0])
    0.5
    """
    a, f, n = _pairs(actual, forecast, naive)
    return 1.0 - _ratio(float(np.sum((a - f) ** 2)), float(np.sum((a - n) ** 2))) if len(a) else nan


def r2(actual: ArrayLike, forecast: ArrayLike) -> float:
    """Return the coefficient of determination: the skill against the mean of the actual values.

    Notes
    -----
    On price levels this flatters anything: "tomorrow equals today" scores about 0.98 on a pure random walk. The library
    never prints it there without persistence's value beside it.

    Examples
    --------
    >>> r2([1.0, 2.0, 3.0, 4.0], [1.1, 1.9, 3.2, 3.8])
    0.98
    """
    a, f = _pairs(actual, forecast)
    if len(a) < 2:
        return nan
    return 1.0 - _ratio(float(np.sum((a - f) ** 2)), float(np.sum((a - a.mean()) ** 2)))


def qlike(actual: ArrayLike, forecast: ArrayLike) -> float:
    """Return the QLIKE loss of volatility forecasts: mean of a^2/f^2 - log(a^2/f^2) - 1; zero is perfect.

    Unlike the squared error it does not let the wildest days decide, and it is robust to noise in the realised value
    (Patton, 2011). Cells where either is not positive do not count.

    Examples
    --------
    >>> qlike([0.02, 0.01], [0.02, 0.01])
    0.0
    """
    a, f = _pairs(actual, forecast)
    keep = (a > 0) & (f > 0)
    if not keep.any():
        return nan
    ratio = (a[keep] / f[keep]) ** 2
    return float(np.mean(ratio - np.log(ratio) - 1.0))


# ----------------------------------------------------------------------------------------------- forecasts: timing


def hit_rate(actual: ArrayLike, forecast: ArrayLike, centre: ArrayLike = 0.0) -> float:
    """Return the share of cells in which forecast and actual lie on the same side of `centre`.

    Parameters
    ----------
    actual, forecast : array
        Outcomes and forecasts.
    centre : array or float, default=0.0
        What "up" is measured from: 0 for returns, the last close for prices, 0.5 for a probability. Cells in which the
        actual value or the forecast is exactly there do not count.

    Examples
    --------
    >>> hit_rate([0.01, -0.02, 0.03, 0.01], [0.001, -0.001, -0.002, 0.004])
    0.75
    """
    hits, n = _hits(actual, forecast, centre)
    return hits / n if n else nan


def hit_rate_interval(
    actual: ArrayLike, forecast: ArrayLike, centre: ArrayLike = 0.0, level: float = 0.95
) -> tuple[float, float]:
    """Return Wilson's interval of the hit rate, for independent cells.

    Examples
    --------
    56 hits of 100 are no evidence yet:

    >>> outcome = [1.0] * 56 + [-1.0] * 44
    >>> low, high = hit_rate_interval(outcome, [1.0] * 100)
    >>> round(low, 3), round(high, 3)
    (0.462, 0.653)
    """
    hits, n = _hits(actual, forecast, centre)
    return _wilson(hits, n, level)


def matthews_correlation(actual: ArrayLike, forecast: ArrayLike, centre: ArrayLike = 0.0) -> float:
    """Return Matthews' (1975) correlation of the sides of `centre` on which actual and forecast lie, -1 to 1.

    Unlike the hit rate it is 0 on average for whoever knows nothing, however unequal the two sides are. A forecast that
    is always on one side has no correlation with anything: the answer is NaN.

    Parameters
    ----------
    actual, forecast, centre
        As in `hit_rate`.

    Examples
    --------
    Always up but once, in a market that rose in 8 bars of 10:

    >>> outcome = [1, 1, 1, 1, 1, 1, 1, 1, -1, -1]
    >>> said = [1, 1, 1, 1, 1, 1, 1, -1, 1, 1]
    >>> hit_rate(outcome, said), round(matthews_correlation(outcome, said), 3)
    (0.7, -0.167)
    """
    up, said = _sides(actual, forecast, centre)
    return _correlation(up, said)


def information_coefficient(actual: ArrayLike, forecast: ArrayLike, rank: bool = False) -> float:
    """Return the correlation of forecast and actual value over all cells, Pearson's or (`rank=True`) Spearman's.

    A constant forecast has no correlation with anything: the answer is NaN.

    Examples
    --------
    >>> round(information_coefficient([1.0, 2.0, 3.0, 10.0], [1.0, 2.0, 3.0, 4.0]), 3)
    0.885
    >>> information_coefficient([1.0, 2.0, 3.0, 10.0], [1.0, 2.0, 3.0, 4.0], rank=True)
    1.0
    """
    a, f = _pairs(actual, forecast)
    return _correlation(_ranks(a), _ranks(f)) if rank else _correlation(a, f)


def information_coefficients(actual: ArrayLike, forecast: ArrayLike, rank: bool = True) -> np.ndarray:
    """Return one correlation across symbols per row: (n_rows, n_symbols) in, (n_rows,) out.

    This is the coefficient of a cross-sectional strategy; rows with fewer than 3 finite pairs are NaN.

    Examples
    --------
    >>> information_coefficients([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]], [[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]])
    array([ 1., -1.])
    """
    a, f = np.atleast_2d(np.asarray(actual, np.float64)), np.atleast_2d(np.asarray(forecast, np.float64))
    _same_shape(a, f)
    out = np.full(len(a), nan)
    for i in range(len(a)):
        keep = np.isfinite(a[i]) & np.isfinite(f[i])
        if keep.sum() >= 3:
            out[i] = information_coefficient(a[i, keep], f[i, keep], rank=rank)
    return out


# ----------------------------------------------------------------------------------------- forecasts: uncertainty


def pinball(actual: ArrayLike, forecast: ArrayLike, level: float) -> float:
    """Return the pinball loss of a quantile forecast: what a `level` quantile minimises.

    Examples
    --------
    Being below a 90 % quantile costs little, being above it costs nine times as much:

    >>> round(pinball([0.0], [1.0], level=0.9), 10), round(pinball([1.0], [0.0], level=0.9), 10)
    (0.1, 0.9)
    """
    if not 0 < level < 1:
        raise InputError(f"A quantile's level lies strictly between 0 and 1, was {level}.")
    a, f = _pairs(actual, forecast)
    return float(np.mean(np.maximum(level * (a - f), (level - 1.0) * (a - f)))) if len(a) else nan


def coverage(actual: ArrayLike, low: ArrayLike, high: ArrayLike) -> float:
    """Return the share of actual values inside [low, high]; a 90 % interval should reach 0.9.

    Examples
    --------
    >>> coverage([1.0, 2.0, 3.0, 4.0], low=[0.0] * 4, high=[3.5] * 4)
    0.75
    """
    a, lo, hi = _pairs(actual, low, high)
    return float(np.mean((lo <= a) & (a <= hi))) if len(a) else nan


# ------------------------------------------------------------------------------------------------------- trading


def total_return(returns: ArrayLike) -> float:
    """Return the compounded return of simple returns per bar, (n_bars,).

    Examples
    --------
    >>> round(total_return([0.1, -0.1]), 10)
    -0.01
    """
    return float(np.prod(1.0 + _account(returns)) - 1.0)


def annual_return(returns: ArrayLike, bars_per_year: float = 252) -> float:
    """Return the compounded return per year; -1 when the account was lost.

    Examples
    --------
    >>> round(annual_return([0.0005] * 252), 4)
    0.1342
    """
    r = _account(returns)
    if not len(r):
        return nan
    wealth = np.cumprod(1.0 + r)
    return float(wealth[-1]) ** (bars_per_year / len(r)) - 1.0 if wealth.min() > 0 else -1.0


def annual_volatility(returns: ArrayLike, bars_per_year: float = 252) -> float:
    """Return the standard deviation of returns per year (sample, n - 1).

    Examples
    --------
    >>> round(annual_volatility([0.01, -0.01, 0.01, -0.01]), 4)
    0.1833
    """
    r = _account(returns)
    return float(np.std(r, ddof=1) * sqrt(bars_per_year)) if len(r) > 1 else nan


def sharpe(returns: ArrayLike, risk_free: float = 0.0, bars_per_year: float = 252) -> float:
    """Return the annual Sharpe ratio of simple returns per bar.

    Parameters
    ----------
    returns : array (n_bars,)
        Simple returns of the account.
    risk_free : float, default=0.0
        Yearly risk-free rate, spread evenly over the bars.
    bars_per_year : float, default=252
        252 for daily bars of a stock, 365 for crypto.

    Examples
    --------
    >>> round(sharpe([0.01, -0.005, 0.007, 0.002]), 2)
    8.47
    """
    r = _account(returns) - risk_free / bars_per_year
    if len(r) < 2:
        return nan
    return _ratio(float(np.mean(r)), float(np.std(r, ddof=1)), zero=nan) * sqrt(bars_per_year)


def sharpe_interval(returns: ArrayLike, bars_per_year: float = 252, level: float = 0.95) -> tuple[float, float]:
    """Return the asymptotic interval of the annual Sharpe ratio, for returns that need not be independent or normal.

    Lo's (2002) interval by the generalised method of moments: fat tails, skewness and autocorrelation widen or narrow
    it through Newey-West's variance of the ratio's influence function, with Bartlett weights on ``4 (n / 100)^(2/9)``
    lags. NaN for fewer than 20 returns, or for returns that are all the same.

    Examples
    --------
    Four years of days, true annual Sharpe ratio 0.8:

    >>> returns = np.random.default_rng(0).normal(0.0005, 0.01, size=1008)
    >>> low, high = sharpe_interval(returns)
    >>> round(low, 2), round(sharpe(returns), 2), round(high, 2)
    (-0.95, 0.03, 1.01)
    """
    r = _account(returns)
    _, low, high = _sharpes(r[None], bars_per_year, level)
    return float(low[0]), float(high[0])


def rolling_sharpe(
    returns: ArrayLike, window: int, bars_per_year: float = 252, level: float = 0.95, every: int = 1
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the annual Sharpe ratio over a moving window, with its interval as in `sharpe_interval`.

    Parameters
    ----------
    returns : array (n_bars,)
        Simple returns of the account.
    window : int
        Bars in each.
    bars_per_year, level
        As in `sharpe_interval`.
    every : int, default=1
        Bars from one window to the next, counted back from the last.

    Returns
    -------
    rows, ratio, low, high : arrays (n_windows,)
        `rows` are the last bars of the windows; none where there are fewer bars than `window`.

    Examples
    --------
    >>> returns = np.random.default_rng(0).normal(0.0005, 0.01, size=300)
    >>> rows, ratio, low, high = rolling_sharpe(returns, window=252, every=20)
    >>> rows.tolist(), bool(np.isclose(ratio[-1], sharpe(returns[-252:])))
    ([259, 279, 299], True)
    """
    r = _account(returns)
    if not 2 <= window or every < 1:
        raise InputError(f"A window needs at least 2 bars and a step of 1, were {window} and {every}.")
    if len(r) < window:
        return np.zeros(0, np.int64), np.zeros(0), np.zeros(0), np.zeros(0)
    rows = np.arange(len(r) - 1, window - 2, -every)[::-1]
    windows = np.lib.stride_tricks.sliding_window_view(r, window)
    size = max(1, 2_000_000 // window)  # a bound on memory
    parts = [
        _sharpes(windows[rows[a : a + size] - window + 1], bars_per_year, level) for a in range(0, len(rows), size)
    ]
    ratio, low, high = (np.concatenate(column) for column in zip(*parts, strict=True))
    return rows, ratio, low, high


def sortino(returns: ArrayLike, risk_free: float = 0.0, bars_per_year: float = 252) -> float:
    """Return the annual Sortino ratio: like `sharpe`, but only returns below the risk-free rate count as risk.

    Examples
    --------
    >>> round(sortino([0.01, -0.005, 0.007, 0.002]), 2)
    22.22
    """
    r = _account(returns) - risk_free / bars_per_year
    if not len(r):
        return nan
    return _ratio(float(np.mean(r)), sqrt(float(np.mean(np.minimum(r, 0.0) ** 2))), zero=nan) * sqrt(bars_per_year)


def max_drawdown(returns: ArrayLike) -> float:
    """Return the largest fall from a peak as a positive fraction of that peak; the start counts as a peak.

    Examples
    --------
    >>> round(max_drawdown([0.10, -0.20, 0.05, -0.10]), 4)
    0.244
    """
    falls = drawdowns(returns)
    return float(falls.max()) if len(falls) else 0.0


def drawdowns(returns: ArrayLike) -> np.ndarray:
    """Return the fall from the highest wealth so far after each bar, (n_bars,), as positive fractions of that peak.

    Examples
    --------
    >>> drawdowns([0.10, -0.20, 0.25]).round(4).tolist()
    [0.0, 0.2, 0.0]
    """
    wealth = np.concatenate([[1.0], np.cumprod(1.0 + _account(returns))])
    return (1.0 - wealth / np.maximum.accumulate(wealth))[1:]


def turnover(weights: ArrayLike, bars_per_year: float = 252) -> float:
    """Return the traded share of the account per year: sum of absolute weight changes per bar, times bars per year.

    Parameters
    ----------
    weights : array (n_bars, n_symbols) or (n_bars,)
        Weights held after each decision. Before the first the account was in cash. The drift of weights between
        decisions is left out, so this is the turnover asked for.

    Examples
    --------
    In and out of one stock every other day:

    >>> turnover([1.0, 0.0, 1.0, 0.0], bars_per_year=252)
    252.0
    """
    w = np.asarray(weights, np.float64)
    w = w[:, None] if w.ndim == 1 else w
    _refuse_nan("weights", w)
    if not len(w):
        return nan
    changes = np.abs(np.diff(w, axis=0, prepend=np.zeros((1, w.shape[1])))).sum(axis=1)
    return float(changes.mean() * bars_per_year)


# ------------------------------------------------------------------------------------------------------- helpers


def _same_shape(*arrays: np.ndarray) -> None:
    shapes = {a.shape for a in arrays}
    if len(shapes) > 1:
        raise InputError(
            f"Actual values and forecasts must have the same shape, were {' and '.join(str(a.shape) for a in arrays)}."
        )


def _pairs(*arrays: ArrayLike) -> list[np.ndarray]:
    """Return the arrays flattened, without the cells in which any of them is not finite."""
    flat = [np.asarray(a, np.float64) for a in arrays]
    _same_shape(*flat)
    keep = np.logical_and.reduce([np.isfinite(a) for a in flat])
    return [a[keep] for a in flat]


def _ratio(above: float, below: float, zero: float | None = None) -> float:
    if below > 0:
        return above / below
    if zero is not None:
        return zero
    return 1.0 if above == 0 else inf


def _sides(actual: ArrayLike, forecast: ArrayLike, centre: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return 1 or -1 for actual and forecast, of the cells in which neither lies exactly at the centre."""
    a, f = np.asarray(actual, np.float64), np.asarray(forecast, np.float64)
    a, f, c = _pairs(a, f, np.broadcast_to(np.asarray(centre, np.float64), a.shape))
    up, said = np.sign(a - c), np.sign(f - c)
    judged = (up != 0) & (said != 0)
    return up[judged], said[judged]


def _hits(actual: ArrayLike, forecast: ArrayLike, centre: ArrayLike) -> tuple[int, int]:
    up, said = _sides(actual, forecast, centre)
    return int(np.sum(up == said)), len(up)


def _wilson(hits: float, n: float, level: float = 0.95) -> tuple[float, float]:
    if not n:
        return nan, nan
    z = NormalDist().inv_cdf(0.5 + level / 2)
    p, shrink = hits / n, 1 + z * z / n
    half = z * sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / shrink
    centre = (p + z * z / (2 * n)) / shrink
    return centre - half, centre + half


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    if len(a) < 2:
        return nan
    if a.min() == a.max() or b.min() == b.max():  # a constant; its computed deviations may be 1e-20, not 0
        return nan
    a, b = a - a.mean(), b - b.mean()
    a, b = a / np.abs(a).max(), b / np.abs(b).max()  # keeps tiny values from vanishing when squared
    return float(np.clip(np.sum(a * b) / sqrt(float(np.sum(a * a)) * float(np.sum(b * b))), -1.0, 1.0))


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1, ties share their mean rank."""
    _, where, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2.0)[where]


def _sharpes(r: np.ndarray, bars_per_year: float, level: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return ratio, lower and upper bound for each row of returns (n_windows, n_bars)."""
    n = r.shape[1]
    if n < 2:
        nothing = np.full(len(r), nan)
        return nothing, nothing, nothing
    spread = r.std(axis=1, ddof=1)
    spread[r.max(axis=1) == r.min(axis=1)] = nan
    z = (r - r.mean(axis=1, keepdims=True)) / spread[:, None]
    ratio, root = r.mean(axis=1) / spread, sqrt(bars_per_year)
    influence = z - ratio[:, None] / 2 * (z**2 - 1)
    variance = np.mean(influence**2, axis=1)
    lags = int(4 * (n / 100) ** (2 / 9)) if n >= 20 else 0
    for lag in range(1, lags + 1):
        variance += 2 * (1 - lag / (lags + 1)) * np.sum(influence[:, lag:] * influence[:, :-lag], axis=1) / n
    error = np.sqrt(variance / n) if n >= 20 else np.full(len(r), nan)
    half = NormalDist().inv_cdf(0.5 + level / 2) * error
    return ratio * root, (ratio - half) * root, (ratio + half) * root


def _refuse_nan(name: str, values: np.ndarray) -> None:
    bad = ~np.isfinite(values)
    if bad.any():
        first: Sequence[int] = np.argwhere(bad)[0].tolist()
        raise InputError(
            f"{name} must be finite, but {int(bad.sum())} of {values.size} were not, the first at row {first[0]}. "
            "An account has no missing days: write 0 where nothing was held."
        )


def _account(returns: ArrayLike) -> np.ndarray:
    r = np.asarray(returns, np.float64)
    if r.ndim != 1:
        raise InputError(f"Returns of one account have shape (n_bars,), were {r.shape}. Pass one column.")
    _refuse_nan("returns", r)
    return r
