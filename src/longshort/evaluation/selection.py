"""What selection does to results: Sharpe ratios, the best of many, and tests that know how many were tried.

Notation: SR the Sharpe ratio per bar, T the number of bars, g3 and g4 skewness and kurtosis of the returns, N trials.

``probabilistic_sharpe``   Bailey and Lopez de Prado (2012): P(true SR > benchmark), given T, g3, g4
``expected_max_sharpe``    the SR that the best of N useless trials is expected to show (False Strategy theorem)
``deflated_sharpe``        Bailey and Lopez de Prado (2014): the probabilistic SR against that expectation
``minimum_backtest_length``  Bailey, Borwein, Lopez de Prado and Zhu (2014): years below which N trials show SR by luck
``probability_of_overfitting``  Bailey et al. (2017): how often the best in one half of history is below the median in
                           the other (combinatorially symmetric cross-validation)
``bootstrap_interval``     Politis and Romano (1994): the stationary bootstrap, for any statistic of returns
``best_of_many``           White (2000): what the best of many scores shows by luck alone, for scores on the same dates
``superior_ability``       Hansen (2005) and White (2000): is the best of many forecasts better than the benchmark?
``confidence_set``         Hansen, Lunde and Nason (2011): the forecasts that cannot be told from the best
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import e, isfinite, log, nan, sqrt
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..errors import InputError, NotEnoughData
from .statistics import NORMAL

EULER = 0.5772156649015329
LEAST_VARIANCE = 0.05  # of a Sharpe ratio, in units of that of normal returns; less is the work of a few returns


@dataclass(frozen=True)
class SharpeTest:
    """A Sharpe ratio with what is known about it.

    Parameters
    ----------
    sharpe : float
        Per bar; times the root of the bars per year is the annual one.
    benchmark : float
        The Sharpe ratio per bar it is compared with.
    probability : float
        That the true one is above the benchmark. NaN where the returns say nothing: they are all the same, or so few
        and so large wins among small ones that the published variance vanishes (`LEAST_VARIANCE`).
    n, skewness, kurtosis
        Of the returns; a normal distribution has kurtosis 3.
    trials : int
        Counted against it.
    """

    sharpe: float
    benchmark: float
    probability: float
    n: int
    skewness: float
    kurtosis: float
    trials: int = 1


def probabilistic_sharpe(returns: ArrayLike, benchmark: float = 0.0) -> SharpeTest:
    """Return the probability that the true Sharpe ratio is above a benchmark.

    Parameters
    ----------
    returns : array (n,)
        Simple returns per bar, net of costs; NaN rows are left out.
    benchmark : float, default=0.0
        Sharpe ratio per bar.

    Notes
    -----
    The variance of the estimate is (1 - g3 SR + (g4 - 1) / 4 SR^2) / (T - 1). As g4 >= 1 + g3^2 in any sample, it is
    never negative, but rare large wins (g3 near 2 / SR, g4 near 1 + g3^2) bring it to zero, and the formula would be
    certain of whatever it is asked. Below 0.05 of what normal returns have the answer is NaN.

    Examples
    --------
    Three years of days, true annual Sharpe ratio 0.8: not even its sign is beyond doubt.

    >>> returns = np.random.default_rng(0).normal(0.0005, 0.01, size=756)
    >>> test = probabilistic_sharpe(returns)
    >>> round(test.sharpe * 252**0.5, 2), round(test.probability, 2)
    (0.38, 0.74)
    """
    if not isfinite(benchmark):
        raise InputError(f"benchmark must be a finite Sharpe ratio per bar, was {benchmark!r}.")
    r = _series(returns)
    n = len(r)
    sharpe, skewness, kurtosis = _moments(r)
    return SharpeTest(sharpe, benchmark, _probability(sharpe, benchmark, n, skewness, kurtosis), n, skewness, kurtosis)


def expected_max_sharpe(trials: int, variance: float) -> float:
    """Return the largest Sharpe ratio that `trials` useless strategies are expected to show.

    Parameters
    ----------
    trials : int
        Independent trials.
    variance : float
        Of the Sharpe ratios (per bar) across the trials.

    Examples
    --------
    Two hundred random strategies over two years of days: an annual Sharpe ratio near 2 is to be expected.

    >>> round(expected_max_sharpe(200, 1 / 504) * 252**0.5, 2)
    1.96
    """
    _check_trials(trials)
    if not variance >= 0:
        raise InputError(f"The variance of Sharpe ratios is a number of at least 0, was {variance!r}.")
    if trials == 1:
        return 0.0
    high = (1 - EULER) * NORMAL.inv_cdf(1 - 1 / trials) + EULER * NORMAL.inv_cdf(1 - 1 / (trials * e))
    return sqrt(variance) * high


def deflated_sharpe(
    returns: ArrayLike, sharpes: Sequence[float] | None = None, trials: int | None = None
) -> SharpeTest:
    """Return the probability that the true Sharpe ratio is above what the best of all trials shows by luck.

    Parameters
    ----------
    returns : array (n,)
        Simple returns per bar of the strategy that was chosen.
    sharpes : sequence of float, optional
        Sharpe ratios per bar of all trials, the chosen one included. By default those the ledger in force has recorded.
        With fewer than two their variance is taken to be that of the estimate itself, 1 / n.
    trials : int, optional
        How many were tried, where more were tried than left a Sharpe ratio; by default the ledger's count. Never fewer
        than there are Sharpe ratios.

    Notes
    -----
    By this definition luck is not always below a half: the best of N independent useless strategies scatters around
    its expectation, so its deflated probability is above p in 1 - Phi(z_N + Phi^-1(p))^N of cases, where z_N is
    `expected_max_sharpe(N, 1)`. Of 200 that is 43 % for p = 0.5, 22 % for 0.6 and 0.1 % for 0.95; the median is 0.47.
    Only 0.95 and more is evidence.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> tried = rng.normal(0, 0.01, size=(504, 200))
    >>> best = tried[:, np.argmax(tried.mean(axis=0) / tried.std(axis=0))]
    >>> test = deflated_sharpe(best, (tried.mean(axis=0) / tried.std(axis=0, ddof=1)).tolist())
    >>> test.sharpe * 252**0.5 > 1.5, test.probability < 0.6
    (True, True)
    """
    from .. import ledger

    r = _series(returns)
    if sharpes is None:
        facts = [record.facts for record in ledger.current().records(ledger.TRIAL)]
        sharpes = [f["sharpe"] for f in facts if isinstance(f.get("sharpe"), int | float)]
        trials = max(ledger.trials(), 1) if trials is None else trials
    known = np.array([s for s in sharpes if isfinite(s)])
    count = max(len(known), 1 if trials is None else _check_trials(trials))
    variance = float(np.var(known, ddof=1)) if len(known) > 1 else 1.0 / len(r)
    found = probabilistic_sharpe(r, expected_max_sharpe(count, variance))
    return SharpeTest(**(vars(found) | {"trials": count}))


def minimum_backtest_length(trials: int | None = None, sharpe: float = 1.0) -> float:
    """Return the years of data below which the best of `trials` useless strategies shows this annual Sharpe ratio.

    Parameters
    ----------
    trials : int, optional
        How many were tried; by default the ledger's count.
    sharpe : float, default=1.0
        Annual.

    Examples
    --------
    With five years of data no more than 45 configurations may be tried (Bailey et al., 2014, section 4):

    >>> round(minimum_backtest_length(45), 1)
    5.0
    """
    if sharpe <= 0:
        raise InputError(f"sharpe must be above 0, was {sharpe!r}.")
    if trials is None:
        from .. import ledger

        trials = max(ledger.trials(), 1)
    return (expected_max_sharpe(trials, 1.0) / sharpe) ** 2


@dataclass(frozen=True)
class Overfitting:
    """How often the best of the past was worse than the median afterwards.

    Parameters
    ----------
    probability : float
        Of overfitting; a half is what choosing at random gives.
    ranks : array (n_splits,)
        Relative rank, in (0, 1), of the best of one half in the other half.
    loss : float
        How often the chosen one then lost money.
    slope : float
        Of its performance afterwards regressed on its performance before; below 0 the better the worse.
    """

    probability: float
    ranks: np.ndarray
    loss: float
    slope: float


def probability_of_overfitting(returns: ArrayLike, blocks: int = 16) -> Overfitting:
    """Cut history into blocks, choose the best trial on every half of them, look at its rank on the other half.

    Parameters
    ----------
    returns : array (n_rows, n_trials)
        Returns of every trial on the same rows.
    blocks : int, default=16
        Even; 16 blocks make 12,870 splits.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> noise = rng.normal(size=(800, 20))
    >>> 0.3 < probability_of_overfitting(noise, blocks=8).probability < 0.7
    True
    >>> noise[:, 7] += 0.3                                   # one that really works
    >>> probability_of_overfitting(noise, blocks=8).probability
    0.0
    """
    r = np.asarray(returns, np.float64)
    if r.ndim != 2 or r.shape[1] < 2 or not np.isfinite(r).all():
        raise InputError(f"returns must be a finite array (n_rows, n_trials) of at least 2 trials, was {r.shape}.")
    if blocks < 2 or blocks % 2 or blocks > 20:
        raise InputError(f"blocks must be an even number from 2 to 20, was {blocks!r}.")
    if len(r) < 2 * blocks:
        raise NotEnoughData(f"{blocks} blocks need at least {2 * blocks} rows, found {len(r)}. Use fewer blocks.")
    parts = np.array_split(r, blocks)
    total, square = (np.array([f(part) for part in parts]) for f in (_sum, _sum_of_squares))
    count = np.array([len(part) for part in parts])
    halves = np.zeros((_n_choose_half(blocks), blocks), bool)
    for i, chosen in enumerate(combinations(range(blocks), blocks // 2)):
        halves[i, list(chosen)] = True
    before, after = (_sharpe_of(h, total, square, count) for h in (halves, ~halves))
    best = np.argmax(before, axis=1)
    rows = np.arange(len(best))
    chosen_after = after[rows, best]
    below = (after < chosen_after[:, None]).sum(axis=1) + 0.5 * ((after == chosen_after[:, None]).sum(axis=1) - 1)
    ranks = (below + 1) / (r.shape[1] + 1)
    spread = before[rows, best] - before[rows, best].mean()
    slope = float(spread @ chosen_after / (spread @ spread)) if spread @ spread > 0 else nan
    return Overfitting(float((ranks <= 0.5).mean()), ranks, float((chosen_after < 0).mean()), slope)


def bootstrap_interval(
    returns: ArrayLike,
    statistic: Callable[[np.ndarray], float],
    level: float = 0.95,
    draws: int = 1000,
    length: float | None = None,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the percentile interval of a statistic of returns under the stationary bootstrap.

    Parameters
    ----------
    returns : array (n,)
        In order of time; NaN rows are left out.
    statistic : callable
        Takes returns (n,), gives a number, for example `metrics.sharpe` or `metrics.max_drawdown`.
    level : float, default=0.95
        Coverage.
    draws : int, default=1000
        Resampled histories.
    length : float, optional
        Mean length of a block in bars; the cube root of n by default, at least 5.
    seed : int, default=0
        Of the draws.

    Examples
    --------
    >>> from longshort import metrics
    >>> returns = np.random.default_rng(1).normal(0.0005, 0.01, size=1000)
    >>> low, high = bootstrap_interval(returns, metrics.sharpe)
    >>> low < metrics.sharpe(returns) < high
    True
    """
    r = _series(returns)
    if not 0 < level < 1:
        raise InputError(f"level must lie between 0 and 1, was {level!r}.")
    values = np.array([statistic(history) for history in resampled(r, draws, _mean_length(len(r), length), seed)])
    low, high = np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


@dataclass(frozen=True)
class Luck:
    """The best of many scores beside what luck alone would give.

    Parameters
    ----------
    best : float
        The highest score.
    expected : float
        The highest score that as many useless trials are expected to show on these dates.
    p : float
        Chance that luck alone gives a score as high as the best (White's reality check).
    trials : int
        How many were compared.
    """

    best: float
    expected: float
    p: float
    trials: int

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers."""
        return {"best": self.best, "expected": self.expected, "p": self.p, "trials": self.trials}


def best_of_many(gains: ArrayLike, length: float | None = None, draws: int = 1000, seed: int = 0) -> Luck:
    """Return what the best of many trials would score if none of them were worth anything.

    Parameters
    ----------
    gains : array (n_dates, n_trials)
        What every trial gained on each date over a forecast that knows nothing; its mean is the trial's score. NaN
        where a trial was given up: its earlier dates stand in for those.
    length : float, optional
        Mean length of a block in bars; the cube root of n by default, at least 5.
    draws : int, default=1000
        Resampled histories (stationary bootstrap), the same for all trials: trials that resemble each other count less.
    seed : int, default=0
        Of the draws.

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(size=(500, 40))
    >>> found = best_of_many(noise)
    >>> round(found.best, 2), round(found.expected, 2), found.p > 0.05
    (0.08, 0.09, True)
    >>> best_of_many(noise[:, :1]).expected < 0.01                   # a single trial has nothing to choose from
    True
    """
    matrix = np.asarray(gains, np.float64)
    if matrix.ndim != 2 or not matrix.shape[1] or len(matrix) < 3:
        raise InputError(f"gains must be an array (n_dates, n_trials) of at least 3 dates, was {matrix.shape}.")
    if not np.isfinite(matrix).any(axis=0).all():
        raise InputError("Every trial needs at least one finite gain. Leave out trials that failed.")
    n = len(matrix)
    complete = np.isfinite(matrix).all(axis=0)
    best = float(matrix[:, complete].mean(axis=0).max()) if complete.any() else nan
    filled = np.stack([np.resize(column[np.isfinite(column)], n) for column in matrix.T], axis=1)
    apart = filled - filled.mean(axis=0)
    highest = bootstrap_means(apart, _mean_length(n, length), draws, seed).max(axis=1)
    return Luck(best, float(highest.mean()), float((highest >= best).mean()) if isfinite(best) else nan, len(matrix.T))


def superior_ability(
    losses: Mapping[str, ArrayLike],
    benchmark: ArrayLike,
    length: float | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Test whether any of several forecasts beats the benchmark, knowing that the best of them was picked.

    Parameters
    ----------
    losses : mapping of str to array (n,)
        Loss of each forecast per date.
    benchmark : array (n,)
        Loss of the benchmark.
    length : float, optional
        Mean length of a block in bars; the cube root of n by default, at least 5.
    draws : int, default=1000
        Resampled histories (stationary bootstrap), the same for all forecasts.
    seed : int, default=0
        Of the draws.

    Returns
    -------
    dict
        ``spa`` the consistent p-value of Hansen (2005), whose statistic is studentised and forgets forecasts that are
        far behind; ``reality_check`` that of White (2000), which does neither; and ``best``, the forecast with the
        lowest mean loss.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> benchmark = rng.normal(size=600) ** 2
    >>> useless = {f"model {i}": benchmark + rng.normal(size=600) for i in range(20)}
    >>> superior_ability(useless, benchmark)["spa"] > 0.05
    True
    >>> superior_ability(useless | {"good": benchmark - 0.3 + rng.normal(size=600)}, benchmark)["spa"] < 0.01
    True
    """
    names, matrix, base = _losses(losses, benchmark)
    gains = base[:, None] - matrix
    n, mean, mean_length = len(gains), gains.mean(axis=0), _mean_length(len(gains), length)
    variance = _bootstrap_variance(gains, mean_length)
    varies = variance > 1e-24 * np.square(gains).max(axis=0, initial=0.0)  # a copy of the benchmark proves nothing
    found = {"spa": 1.0, "reality_check": 1.0, "best": names[int(np.argmin(matrix.mean(axis=0)))]}
    if not varies.any():
        return found
    mean, error = mean[varies], np.sqrt(variance[varies] / n)
    drawn = bootstrap_means(gains[:, varies], mean_length, draws, seed)
    relevant = mean >= -error * sqrt(2 * log(log(n)))
    highest = np.maximum(((drawn - np.where(relevant, mean, 0.0)) / error).max(axis=1), 0.0)
    statistic = max(float((mean / error).max()), 0.0)
    found["spa"] = float(1 + (highest >= statistic).sum()) / (1 + draws)
    found["reality_check"] = float(1 + ((drawn - mean).max(axis=1) >= mean.max()).sum()) / (1 + draws)
    return found


def confidence_set(
    losses: Mapping[str, ArrayLike], length: float | None = None, draws: int = 1000, seed: int = 0
) -> dict[str, float]:
    """Return the p-value of every forecast in the model confidence set, worst first.

    The 90 % set are those with a p-value above 0.1: forecasts that cannot be told from the best at this confidence. The
    worst forecast is taken out as long as the largest studentised difference between two of the rest is too large (the
    range statistic of Hansen, Lunde and Nason, 2011).

    Parameters
    ----------
    losses : mapping of str to array (n,)
        Loss of each forecast per date, on the same dates.
    length, draws, seed
        As in `superior_ability`.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> common = rng.normal(size=600) ** 2
    >>> worse = {"a": 0.0, "b": 0.0, "c": 0.2}
    >>> found = confidence_set({n: common + w + rng.normal(scale=0.2, size=600) for n, w in worse.items()})
    >>> sorted(name for name, p in found.items() if p > 0.1)
    ['a', 'b']
    """
    names, matrix, _ = _losses(losses, None)
    if len(names) < 2:
        raise InputError(f"A confidence set compares at least two forecasts, was given {len(names)}.")
    mean = matrix.mean(axis=0)
    apart = mean[:, None] - mean
    drawn = bootstrap_means(matrix, _mean_length(len(matrix), length), draws, seed)
    drawn = drawn[:, :, None] - drawn[:, None, :] - apart
    error = np.sqrt(np.mean(drawn**2, axis=0))
    none = 1e-12 * np.abs(matrix).max(initial=0.0)  # a difference that never varies is certain, or there is none
    error = np.where(error > none, error, np.where(np.abs(apart) > none, 1e-300, np.inf))
    with np.errstate(over="ignore"):
        statistic, drawn = apart / error, np.where(error > none, drawn / error, 0.0)
    left, found, highest = list(range(len(names))), {}, 0.0
    while len(left) > 1:
        part = statistic[np.ix_(left, left)]
        chance = float((drawn[:, left][:, :, left].max(axis=(1, 2)) >= part.max()).mean())
        worst = left[int(np.unravel_index(np.argmax(part), part.shape)[0])]
        highest = max(highest, chance)
        found[names[worst]] = highest
        left.remove(worst)
    return found | {names[left[0]]: 1.0}


# -------------------------------------------------------------------------------------------------------------- helpers


def _series(returns: ArrayLike) -> np.ndarray:
    r = np.asarray(returns, np.float64)
    if r.ndim != 1:
        raise InputError(f"returns must be one series (n,), was of shape {r.shape}.")
    r = r[~np.isnan(r)]
    if np.isinf(r).any():
        raise InputError("returns must be finite; there are infinite ones.")
    if len(r) < 3:
        raise NotEnoughData(f"At least 3 returns are needed, found {len(r)}.")
    return r


def _moments(r: np.ndarray) -> tuple[float, float, float]:
    r = r / (np.abs(r).max() or 1.0)  # neither huge nor tiny returns leave the numbers there are
    apart = r - r.mean()
    spread = float(np.sqrt((apart**2).mean()))
    if spread <= 1e-15 * max(abs(float(r.mean())), 1e-300):
        return nan, nan, nan
    sharpe = float(r.mean() / np.std(r, ddof=1))
    return sharpe, float((apart**3).mean() / spread**3), float((apart**4).mean() / spread**4)


def _probability(sharpe: float, benchmark: float, n: int, skewness: float, kurtosis: float) -> float:
    if not isfinite(sharpe):
        return nan
    variance = 1 - skewness * sharpe + (kurtosis - 1) / 4 * sharpe**2
    if variance < LEAST_VARIANCE:
        return nan
    return NORMAL.cdf((sharpe - benchmark) * sqrt(n - 1) / sqrt(variance))


def _check_trials(trials: Any) -> int:
    if isinstance(trials, bool) or not isinstance(trials, Integral) or trials < 1:
        raise InputError(f"trials must be a whole number of at least 1, was {trials!r}.")
    return int(trials)


def _n_choose_half(n: int) -> int:
    from math import comb

    return comb(n, n // 2)


def _sum(part: np.ndarray) -> np.ndarray:
    return part.sum(axis=0)


def _sum_of_squares(part: np.ndarray) -> np.ndarray:
    return (part**2).sum(axis=0)


def _sharpe_of(halves: np.ndarray, total: np.ndarray, square: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Sharpe ratio per bar of every trial on every half, (n_splits, n_trials)."""
    n = halves @ count
    mean = (halves @ total) / n[:, None]
    variance = np.maximum((halves @ square) / n[:, None] - mean**2, 1e-300)
    return mean / np.sqrt(variance)


def resampled(r: np.ndarray, draws: int, length: float, seed: int | Sequence[int] = 0) -> np.ndarray:
    """Return resampled histories (draws, n): blocks of geometric length that wrap around the end."""
    n, rng = len(r), np.random.default_rng(seed)
    starts_here = rng.random((draws, n), dtype=np.float32) < 1.0 / length
    starts_here[:, 0] = True
    first = rng.integers(0, n, size=(draws, n), dtype=np.int32)
    at = np.maximum.accumulate(np.where(starts_here, np.arange(n, dtype=np.int32), 0), axis=1)
    rows = np.take_along_axis(first, at, axis=1) + np.arange(n, dtype=np.int32) - at
    return r[rows % n]


def bootstrap_means(values: np.ndarray, length: float, draws: int, seed: int = 0) -> np.ndarray:
    """Return the means of resampled histories (draws, n_columns) of values (n, n_columns); rows are drawn together."""
    n = len(values)
    rounds = range(0, draws, max(1, 4_000_000 // n))  # a bound on memory
    found = []
    for k, at in enumerate(rounds):
        size = min(rounds.step, draws - at)
        rows = resampled(np.arange(n, dtype=np.int32), size, length, seed if k == 0 else [seed, k])
        places = (rows + n * np.arange(size)[:, None]).ravel()
        found.append(np.bincount(places, minlength=size * n).reshape(size, n) @ values / n)
    return np.concatenate(found)


def _bootstrap_variance(values: np.ndarray, length: float) -> np.ndarray:
    """Return n times the variance the stationary bootstrap gives to the mean of each column (Politis, Romano, 1994)."""
    n, stay = len(values), 1.0 - 1.0 / length
    apart = values - values.mean(axis=0)
    waves = np.fft.rfft(apart, 2 * n, axis=0)
    covariance = np.fft.irfft(np.abs(waves) ** 2, 2 * n, axis=0)[:n] / n
    lag = np.arange(1, n)
    weight = (1 - lag / n) * stay**lag + lag / n * stay ** (n - lag)
    return np.maximum(covariance[0] + 2 * weight @ covariance[1:], 0.0)


def _mean_length(n: int, length: float | None) -> float:
    return max(5.0, n ** (1 / 3)) if length is None else max(1.0, float(length))


def _losses(losses: Mapping[str, ArrayLike], benchmark: ArrayLike | None) -> tuple[list[str], np.ndarray, np.ndarray]:
    names = list(losses)
    if not names:
        raise InputError("There is no forecast to compare: losses is empty.")
    columns = [np.asarray(losses[name], np.float64) for name in names]
    base = columns[0] if benchmark is None else np.asarray(benchmark, np.float64)
    if any(c.shape != base.shape or c.ndim != 1 for c in columns):
        raise InputError(f"Losses must be series of the same length, were {[c.shape for c in [*columns, base]]}.")
    keep = np.isfinite(np.stack([*columns, base])).all(axis=0)
    if keep.sum() < 10:
        raise NotEnoughData(f"At least 10 dates with all losses are needed, found {int(keep.sum())}.")
    return names, np.stack(columns, axis=1)[keep], base[keep]
