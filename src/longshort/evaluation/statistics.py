"""Tests of forecast accuracy, for losses that follow each other in time.

Notation: y the outcome, f the forecast, b a benchmark's forecast, t the decision, h the horizon.

``long_run_variance``  Newey and West (1987): sum of Bartlett-weighted autocovariances, the variance a mean really has
``diebold_mariano``    Diebold and Mariano (1995), with the small-sample factor and Student's t of Harvey, Leybourne
                       and Newbold (1997): is the mean loss of two forecasts different?
``clark_west``         Clark and West (2007): (y-b)^2 - [(y-f)^2 - (b-f)^2] = 2 (y-b)(f-b). A useless model that nests
                       the benchmark has a larger MSE than it, because its estimated noise costs; this removes that
                       cost, so the test asks whether f knows anything b does not. It is what decides "edge".

Overlapping outcomes (h > 1) are correlated although nothing is predictable. The number of lags is therefore computed
from rows and horizon, never left to the user: see `automatic_lags`.
"""

from dataclasses import asdict, dataclass
from math import ceil, floor, isfinite, nan, sqrt
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..errors import InputError

NORMAL = NormalDist()


@dataclass(frozen=True)
class MeanTest:
    """The mean of a series with its autocorrelation-robust error, and the test that it is zero.

    `p_greater` is the one-sided p-value against "the mean is positive", `p_two_sided` against "it is not zero".
    """

    mean: float
    error: float
    statistic: float
    p_greater: float
    p_two_sided: float
    lags: int
    n: int

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Return the interval of the mean."""
        half = NORMAL.inv_cdf(0.5 + level / 2) * self.error
        return self.mean - half, self.mean + half

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers; NaN as None."""
        return {k: (v if isfinite(v) else None) for k, v in asdict(self).items()}


def automatic_lags(n: int, horizon: int = 1) -> int:
    """Return the number of Newey-West lags for `n` rows whose outcomes span `horizon` bars.

    floor(4 (n/100)^(2/9)) as in Newey and West (1994), but at least 3 (h-1): Bartlett's weights reach only two thirds
    of the variance of overlapping outcomes with h-1 lags. Never more than a quarter of the rows.

    Examples
    --------
    >>> automatic_lags(1250), automatic_lags(1250, horizon=5), automatic_lags(1250, horizon=20)
    (7, 12, 57)
    """
    if n < 2:
        return 0
    return max(0, min(max(floor(4 * (n / 100) ** (2 / 9)), 3 * (horizon - 1)), n // 4))


def long_run_variance(values: ArrayLike, lags: int) -> float:
    """Return the Newey-West long-run variance of a series (n,): gamma_0 + 2 sum (1 - k/(lags+1)) gamma_k.

    Examples
    --------
    A series that alternates has a mean that is known far better than its variance suggests:

    >>> x = np.tile([1.0, -1.0], 50)
    >>> long_run_variance(x, 0), round(long_run_variance(x, 1), 3)
    (1.0, 0.01)
    """
    x = np.asarray(values, np.float64)
    x = x - x.mean()
    total = float(x @ x)
    for k in range(1, min(lags, len(x) - 1) + 1):
        total += 2.0 * (1.0 - k / (lags + 1.0)) * float(x[k:] @ x[:-k])
    return total / len(x)


def mean_test(
    values: ArrayLike, horizon: int = 1, lags: int | None = None, degrees: float | None = None, factor: bool = True
) -> MeanTest:
    """Test whether the mean of a time-ordered series (n,) is zero.

    Parameters
    ----------
    values : array (n,)
        Ordered in time; NaN rows are left out, the rest is treated as consecutive.
    horizon : int, default=1
        Bars that each value's outcome spans.
    lags : int, optional
        Newey-West lags; by default `automatic_lags`.
    degrees : float, optional
        Degrees of freedom of Student's t. By default 1.5 n / (lags + 1), the equivalent degrees of Bartlett's window:
        a variance estimated with many lags is itself uncertain, and the normal distribution would forget that.
    factor : bool, default=True
        Harvey, Leybourne and Newbold's small-sample factor sqrt((n + 1 - 2h + h(h-1)/n) / n).
    """
    x = np.asarray(values, np.float64)
    if x.ndim != 1:
        raise InputError(f"A mean test takes one series (n,), was of shape {x.shape}.")
    x = x[np.isfinite(x)]
    n = len(x)
    lags = automatic_lags(n, horizon) if lags is None else lags
    if n < 3 or n <= 2 * horizon:
        return MeanTest(float(x.mean()) if n else nan, nan, nan, nan, nan, lags, n)
    mean, variance = float(x.mean()), long_run_variance(x, lags) / n
    if variance <= 1e-24 * float(np.max(np.abs(x))) ** 2:  # all values equal, or all zero: nothing to test
        return MeanTest(mean, 0.0, nan, nan, nan, lags, n)
    error = sqrt(variance)
    if factor:
        error /= sqrt((n + 1 - 2 * horizon + horizon * (horizon - 1) / n) / n)
    statistic = mean / error
    upper = _t_tail(statistic, _degrees(n, lags) if degrees is None else degrees)
    return MeanTest(mean, error, statistic, upper, 2 * min(upper, 1 - upper), lags, n)


def diebold_mariano(loss: ArrayLike, loss_benchmark: ArrayLike, horizon: int = 1, lags: int | None = None) -> MeanTest:
    """Test equal accuracy: the mean of `loss_benchmark - loss` with `mean_test`; positive means the forecast is better.

    Parameters
    ----------
    loss, loss_benchmark : array (n,)
        Losses of the forecast and of the benchmark, ordered in time, squared errors for instance. For many symbols
        average over symbols first (`per_date`).
    """
    a, b = np.asarray(loss, np.float64), np.asarray(loss_benchmark, np.float64)
    _check_series(loss=a, loss_benchmark=b)
    difference = (b - a)[np.isfinite(b - a)]
    return mean_test(difference, horizon, lags, degrees=max(len(difference) - 1, 1))


def clark_west(
    actual: ArrayLike, forecast: ArrayLike, benchmark: ArrayLike, horizon: int = 1, lags: int | None = None
) -> MeanTest:
    """Test whether the forecast knows something the benchmark does not; read `p_greater`.

    Parameters
    ----------
    actual, forecast, benchmark : array (n,) or (n, n_symbols)
        Ordered in time. With several symbols the terms are averaged per date first.

    Examples
    --------
    A forecast with a correlation of 0.1 and far too much variance loses to zero on squared error, yet knows more:

    >>> rng = np.random.default_rng(0)
    >>> f = rng.normal(size=2000)
    >>> y = 0.1 * f + rng.normal(size=2000)
    >>> float(np.mean((y - f) ** 2)) > float(np.mean(y**2))
    True
    >>> clark_west(y, f, np.zeros(2000)).p_greater < 0.01
    True
    """
    y, f, b = (np.asarray(v, np.float64) for v in (actual, forecast, benchmark))
    _check_series(actual=y, forecast=f, benchmark=b)
    return mean_test(per_date(2.0 * (y - b) * (f - b)), horizon, lags)


def knows_more(
    actual: ArrayLike, forecast: ArrayLike, benchmark: ArrayLike, horizon: int = 1
) -> tuple[float, MeanTest, MeanTest | None]:
    """Return the p-value that decides, Clark and West's test, and beside it a sign test for very persistent forecasts.

    A forecast that wanders like a price (a network that pulls every price back to its training range does) makes Clark
    and West's statistic follow Dickey and Fuller's distribution instead of the normal one: 11 of 100 useless forecasts
    pass at 5 %. The mean of (y-b) sign(f-b) stays normal however persistent f is (So and Shin, 1999), so such a
    forecast has to pass both, and the larger p-value decides.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> steps = rng.normal(size=1001)
    >>> price = np.cumsum(steps)
    >>> p, clark_west, sign = knows_more(steps[1:], -0.01 * price[:-1], np.zeros(1000))
    >>> sign is not None and p == max(clark_west.p_greater, sign.p_greater)
    True
    """
    y, f, b = (np.asarray(v, np.float64).reshape(len(np.asarray(v)), -1) for v in (actual, forecast, benchmark))
    test = clark_west(y, f, b, horizon)
    if not isfinite(test.p_greater) or not _wanders(f - b):
        return test.p_greater, test, None
    sign = mean_test(per_date((y - b) * np.sign(f - b)), horizon)
    return max(test.p_greater, sign.p_greater), test, sign


def _wanders(values: np.ndarray) -> bool:
    """Is the lag-1 autocorrelation, averaged over columns (n, n_symbols), within 50 / n of one?"""
    found, weights = 0.0, 0
    for x in values.T:
        x = x[np.isfinite(x)]
        x = x - x.mean() if len(x) else x
        total = float(x @ x)
        if len(x) > 2 and total > 0:
            found += len(x) * float(x[1:] @ x[:-1]) / total
            weights += len(x)
    rows = int(np.isfinite(values).any(axis=1).sum())
    return bool(weights) and rows * (1.0 - found / weights) < 50.0


def per_date(values: ArrayLike) -> np.ndarray:
    """Average finite values over symbols: (n, n_symbols) or (n,) in, (n,) out; NaN where a row has none.

    Errors of one day share the day's news. Averaging first and testing over dates counts each day once.
    """
    x = np.asarray(values, np.float64)
    if x.ndim == 1:
        return np.where(np.isfinite(x), x, nan)
    finite = np.isfinite(x)
    count = finite.sum(axis=1)
    total = np.where(finite, x, 0.0).sum(axis=1)
    return np.divide(total, count, out=np.full(len(x), nan), where=count > 0)


def skill_test(loss: ArrayLike, loss_benchmark: ArrayLike, horizon: int = 1) -> MeanTest:
    """Return the skill 1 - mean(loss) / mean(loss_benchmark) with its delta-method, autocorrelation-robust error.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> noise = rng.normal(size=1000) ** 2
    >>> found = skill_test(0.9 * noise, noise)
    >>> round(found.mean, 3)
    0.1
    """
    a, b = np.asarray(loss, np.float64), np.asarray(loss_benchmark, np.float64)
    _check_series(loss=a, loss_benchmark=b)
    keep = np.isfinite(a) & np.isfinite(b)
    a, b = a[keep], b[keep]
    if not len(a) or b.mean() <= 0:
        return MeanTest(nan, nan, nan, nan, nan, 0, len(a))
    value = 1.0 - float(a.mean()) / float(b.mean())
    shape = mean_test(((b - a) - value * b) / b.mean(), horizon)  # mean zero: only its error is used
    if not isfinite(shape.error) or shape.error == 0.0:
        return MeanTest(value, shape.error, nan, nan, nan, shape.lags, shape.n)
    statistic = value / shape.error
    upper = _t_tail(statistic, _degrees(shape.n, shape.lags))
    return MeanTest(value, shape.error, statistic, upper, 2 * min(upper, 1 - upper), shape.lags, shape.n)


def power(ic: float, n: int, level: float = 0.05) -> float:
    """Return the chance that a one-sided test at `level` finds an information coefficient of `ic` in `n` rows.

    Examples
    --------
    Ten years of days are not enough for an information coefficient of 0.02:

    >>> round(power(0.02, 2500), 2), round(power(0.05, 2500), 2), round(power(0.10, 1000), 2)
    (0.26, 0.8, 0.94)
    """
    return NORMAL.cdf(ic * sqrt(n) - NORMAL.inv_cdf(1 - level))


def detectable_ic(n: int, level: float = 0.05, chance: float = 0.8) -> float:
    """Return the smallest information coefficient that `n` rows reveal with the given chance.

    Examples
    --------
    >>> round(detectable_ic(250), 3), round(detectable_ic(2500), 3)
    (0.157, 0.05)
    """
    return (NORMAL.inv_cdf(1 - level) + NORMAL.inv_cdf(chance)) / sqrt(n) if n else nan


def rows_needed(ic: float, level: float = 0.05, chance: float = 0.8) -> int:
    """Return how many rows reveal an information coefficient of `ic` with the given chance.

    Examples
    --------
    >>> rows_needed(0.02)
    15457
    """
    if not 0 < ic < 1:
        raise InputError(f"An information coefficient to look for lies between 0 and 1, was {ic}.")
    return ceil(((NORMAL.inv_cdf(1 - level) + NORMAL.inv_cdf(chance)) / ic) ** 2)


def _check_series(**arrays: np.ndarray) -> None:
    shapes = {name: a.shape for name, a in arrays.items()}
    if len(set(shapes.values())) > 1:
        found = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise InputError(f"Series to compare must have the same shape, were: {found}.")


def _degrees(n: int, lags: int) -> float:
    return max(1.0, min(n - 1.0, 1.5 * n / (lags + 1.0)))


def _t_tail(statistic: float, degrees: float) -> float:
    """P(T > statistic) for Student's t."""
    from scipy.special import stdtr

    return float(stdtr(degrees, -statistic))
