"""The efficient frontier of one decision: the least predicted risk for every predicted return."""

from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..forecast import Forecast
from .optimize import MinVariance, require_number, room_of, simple_moments
from .solving import SETTINGS, cvxpy_, factor_of


@dataclass(frozen=True, eq=False)
class Frontier:
    """The least risk for every return: what an optimiser could choose from at one decision.

    Parameters
    ----------
    symbols : tuple of str
        With a finite forecast.
    mean, deviation : float64 array (n_symbols,)
        Of their simple returns, a year.
    risk, gain : float64 array (n_points,)
        Standard deviation and return of the portfolios, a year; the first has the least risk of all.
    weights : float64 array (n_points, n_symbols)
        Of each portfolio.
    time : int, optional
        UTC nanoseconds of the decision.
    """

    symbols: tuple[str, ...]
    mean: np.ndarray
    deviation: np.ndarray
    risk: np.ndarray
    gain: np.ndarray
    weights: np.ndarray
    covariance: np.ndarray
    time: int | None = None

    def at(self, weights: np.ndarray) -> tuple[float, float]:
        """Return risk and return, a year, of other weights (n_symbols,)."""
        w = np.asarray(weights, np.float64)
        return float(np.sqrt(w @ self.covariance @ w)), float(w @ self.mean)


def efficient_frontier(
    forecast: Forecast,
    row: int = -1,
    *,
    points: int = 25,
    long_only: bool = True,
    max_weight: float = 1.0,
    gross: float = 1.0,
    bars_per_year: float = 252.0,
) -> Frontier:
    """Return the efficient frontier of one decision, fully invested.

    Parameters
    ----------
    forecast : Forecast
        Of returns, with covariances.
    row : int, default=-1
        Which of its decisions; the last by default.
    points : int, default=25
        Portfolios, at even steps of predicted return from the least risk to the highest return.
    long_only, max_weight, gross
        Bounds, as of `MinVariance`.
    bars_per_year : float, default=252
        To make the figures annual.

    Examples
    --------
    >>> from longshort.forecast import TargetInfo
    >>> mean, covariance = np.array([[0.0002, 0.0006]]), np.diag([0.0001, 0.0004])[None]
    >>> said = Forecast(np.array([0]), ("A", "B"), mean, covariance=covariance, target=TargetInfo("return"))
    >>> found = efficient_frontier(said, points=3)
    >>> found.weights.round(3)
    array([[0.8, 0.2],
           [0.4, 0.6],
           [0. , 1. ]])
    """
    if isinstance(points, bool) or not isinstance(points, int | np.integer) or points < 2:
        raise InputError(f"points must be a whole number of at least 2, was {points!r}.")
    require_number("bars_per_year", bars_per_year, 1e-9, np.inf)
    if not len(forecast):
        raise InputError("The forecast has no rows, and a frontier is of one decision.")
    one = forecast.row(row)
    mean, covariance = simple_moments(one, "An efficient frontier")
    assert one.target is not None
    per_year = bars_per_year / one.target.horizon
    known = np.isfinite(mean) & np.isfinite(np.diagonal(covariance))
    if not known.any():
        raise InputError(f"Row {row} of the forecast has no finite mean and covariance. Choose another row.")
    mean, covariance = per_year * mean[known], per_year * covariance[np.ix_(known, known)]
    least = MinVariance(long_only, max_weight, gross, net=1.0)
    weights = _along(least, mean, covariance, int(points))
    risk = np.sqrt(np.einsum("pi,ij,pj->p", weights, covariance, weights))
    symbols = tuple(s for s, k in zip(forecast.symbols, known, strict=True) if k)
    deviation = np.sqrt(np.diagonal(covariance))
    return Frontier(symbols, mean, deviation, risk, weights @ mean, weights, covariance, int(forecast.time[row]))


def _along(least: MinVariance, mean: np.ndarray, covariance: np.ndarray, points: int) -> np.ndarray:
    """Return the weights of least variance at even steps of return, (points, n)."""
    cp = cvxpy_()
    start = least.of(mean, covariance)
    room, w, gain = room_of(least, np.zeros(0)), cp.Variable(len(mean)), cp.Parameter()
    bounds = [w >= room.low, w <= room.high, cp.norm1(w) <= room.gross, cp.sum(w) == room.net]
    best = cp.Problem(cp.Maximize(mean @ w), bounds)
    best.solve(solver=cp.CLARABEL)
    if best.status != cp.OPTIMAL:
        raise InputError(f"The frontier has no end: the solver says {best.status}. Loosen the bounds.")
    scale = float(np.mean(np.diagonal(covariance)))
    risk = cp.sum_squares((factor_of(covariance) / np.sqrt(scale)).T @ w)
    problem = cp.Problem(cp.Minimize(risk), [*bounds, mean @ w >= gain])
    top, low = float(best.value), float(mean @ start)
    found = [start]
    for wanted in np.linspace(low, top, points)[1:]:
        gain.value = min(wanted, top - 1e-9 * max(abs(top), 1e-9))
        problem.solve(solver=cp.CLARABEL, **SETTINGS)
        if problem.status not in (cp.OPTIMAL, cp.OPTIMAL_INACCURATE) or w.value is None:
            raise InputError(f"No portfolio returns {wanted:.3g} a year within the bounds: {problem.status}.")
        found.append(np.asarray(w.value, np.float64))
    return np.stack(found)
