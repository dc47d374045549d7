"""The mathematics behind optimised weights: pivoting where it is exact, cvxpy with Clarabel for the rest.

Nothing here knows of forecasts or decisions: arrays in, weights out, `NoAnswer` where there are none.
"""

import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from ..errors import SetupError

_INSIDE = 1e-12  # by how much gross may be missed: rounding
SETTINGS = {"tol_gap_abs": 1e-11, "tol_gap_rel": 1e-11, "tol_feas": 1e-11, "max_iter": 200}


class NoAnswer(Exception):
    """There are no weights for this decision; the message says why."""


@dataclass(frozen=True, eq=False)
class Room:
    """What weights may be: each between `low` and `high`, their sum `net` (None: free), their sizes at most `gross`."""

    low: float
    high: float
    net: float | None
    gross: float

    def admits(self, w: np.ndarray) -> bool:
        return bool(w.min() >= self.low and w.max() <= self.high and np.abs(w).sum() <= self.gross + _INSIDE)


def equal_risk(correlation: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Return x > 0 with x_i (C x)_i = b_i, by damped Newton steps, which converge from anywhere (Spinu, 2013)."""
    x = np.sqrt(shares) / np.sqrt(np.maximum(correlation.sum(axis=1) / len(shares), 1e-3))
    for _ in range(200):
        gradient = correlation @ x - shares / x
        if np.abs(gradient * x).max() < 1e-14:
            return x
        step = np.linalg.solve(correlation + np.diag(shares / x**2), gradient)
        along = float(np.abs(step / x).max())
        x = x - step / max(1.0, along / 0.9)
    if np.abs(gradient * x).max() < 1e-10:
        return x
    raise NoAnswer("risk parity did not converge in 200 Newton steps")


def factor_of(covariance: np.ndarray) -> np.ndarray:
    """Return the lower Cholesky factor of a symmetric positive definite matrix."""
    try:
        return np.linalg.cholesky(0.5 * (covariance + covariance.T))
    except np.linalg.LinAlgError as error:
        raise NoAnswer("the predicted covariance is not positive definite") from error


def boxed(covariance: np.ndarray, mean: np.ndarray, room: Room) -> np.ndarray | None:
    """Return argmax m'w - w'S w / 2 within the bounds of single weights and their sum; None where it was not found.

    Long weights that are worth more than gross allows add up to it. Sizes of long and short ones are not bounded here.
    """
    found = _pivoted(covariance, mean, room.low, room.high, room.net)
    if found is not None and room.net is None and room.low == 0.0 and found.sum() > room.gross:
        return _pivoted(covariance, mean, room.low, room.high, room.gross)
    return found


def _pivoted(covariance: np.ndarray, mean: np.ndarray, low: float, high: float, net: float | None) -> np.ndarray | None:
    """Solve by block principal pivoting (Judice and Pires, 1994): guess who stands at a bound, solve, mend the guess.

    The answer fulfils the conditions of Karush, Kuhn and Tucker, so it is the optimum; a guess that is not right after
    50 rounds, which may happen, is given up.
    """
    n = len(mean)
    at = np.zeros(n, int)  # -1 at low, 1 at high, 0 between
    unit = float(np.mean(np.diagonal(covariance)))
    for _ in range(50):
        free = np.flatnonzero(at == 0)
        if not len(free):
            return None
        w = np.where(at < 0, low, high).astype(np.float64)
        w[free] = 0.0
        right = np.stack([mean[free] - covariance[free] @ w, np.ones(len(free))], axis=1)
        plain, ones = np.linalg.solve(covariance[np.ix_(free, free)], right).T
        price = 0.0 if net is None else (net - w.sum() - plain.sum()) / ones.sum()
        w[free] = plain + price * ones
        pull = mean + price - covariance @ w  # what a little more of each would gain
        below, above = (at == 0) & (w < low), (at == 0) & (w > high)
        loose = ((at < 0) & (pull > 1e-12 * unit)) | ((at > 0) & (pull < -1e-12 * unit))
        if not (below | above | loose).any():
            return w
        at[below], at[above], at[loose] = -1, 1, 0
    return None


def at_risk(covariance: np.ndarray, factor: np.ndarray, mean: np.ndarray, room: Room, risk: float) -> np.ndarray | None:
    """Return argmax m'w with w'S w <= risk^2 where the bound on risk binds: the mean-variance weights of that risk."""
    from scipy.linalg import solve_triangular
    from scipy.optimize import brentq

    def weights(log_aversion: float) -> np.ndarray:
        found = boxed(covariance, mean * np.exp(-log_aversion), room)
        if found is None:
            raise _NotFound
        return found

    def excess(log_aversion: float) -> float:
        return float(np.linalg.norm(factor.T @ weights(log_aversion))) / risk - 1.0

    best = float(np.linalg.norm(solve_triangular(factor, mean, lower=True)))
    if not best > 0:
        return None
    high = np.log(best / risk)  # without bounds; they leave less risk, so the aversion that meets it is lower
    try:
        over = excess(high)
        if over >= 0:  # rounding, or what must be invested is too risky
            return weights(high) if over < 1e-12 else None
        for low in high - np.arange(0.5, 10.0, 0.5):
            if excess(low) >= 0:
                root: Any = brentq(excess, low, high, xtol=1e-13)
                return weights(root)
            high = low
    except _NotFound:
        pass
    return None


class _NotFound(Exception):
    """Pivoting gave up."""


class Program:
    """One convex problem for all decisions of one shape, fed with numbers; scaled, so that tolerances mean something.

    Variances of a day are 1e-4, which a solver takes for nearly nothing: the factor is divided by the mean deviation,
    the objective by what that leaves.
    """

    def __init__(self, n: int, has_risk: bool, has_cost: bool, has_net: bool):
        cp = cvxpy_()
        self.w = cp.Variable(n)
        self.factor, self.mean = cp.Parameter((n, n)), cp.Parameter(n)
        self.low, self.high, self.gross = cp.Parameter(), cp.Parameter(), cp.Parameter(nonneg=True)
        self.net = cp.Parameter() if has_net else None
        bounds = [self.w >= self.low, self.w <= self.high, cp.norm1(self.w) <= self.gross]
        if self.net is not None:
            bounds.append(cp.sum(self.w) == self.net)
        gain = self.mean @ self.w
        self.held, self.cost = None, None
        if has_cost:
            self.cost, self.priced = cp.Parameter(nonneg=True), cp.Parameter(n)
            gain = gain - cp.norm1(self.cost * self.w - self.priced)
        self.risk = cp.Parameter(nonneg=True) if has_risk else None
        deviations = self.factor.T @ self.w
        if self.risk is not None:
            bounds.append(cp.norm2(deviations) <= self.risk)
            self.problem = cp.Problem(cp.Maximize(gain), bounds)
        else:
            self.problem = cp.Problem(cp.Maximize(gain - 0.5 * cp.sum_squares(deviations)), bounds)

    @classmethod
    def solve(
        cls,
        n: int,
        has_risk: bool,
        has_cost: bool,
        room: Room,
        mean: np.ndarray,
        factor: np.ndarray,
        aversion: float,
        risk: float | None,
        held: np.ndarray,
        cost: float,
    ) -> np.ndarray:
        """Return the best weights; raise `NoAnswer` where the solver has none."""
        p = _problem(n, has_risk, has_cost, room.net is not None)
        deviation = float(np.sqrt(np.mean(np.sum(factor**2, axis=1))))
        unit = aversion * deviation**2 if risk is None else max(float(np.abs(mean).max()), 1e-12)
        p.factor.value, p.mean.value = factor / deviation, mean / unit
        p.low.value, p.high.value, p.gross.value = room.low, room.high, room.gross
        if p.net is not None:
            p.net.value = room.net
        if p.cost is not None:
            p.cost.value, p.priced.value = cost / unit, cost / unit * held
        if p.risk is not None and risk is not None:
            p.risk.value = risk / deviation
        return p._answer()

    def _answer(self) -> np.ndarray:
        cp = cvxpy_()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # an inaccurate answer is judged by its status
                self.problem.solve(solver=cp.CLARABEL, warm_start=False, **SETTINGS)
        except (cp.error.SolverError, cp.error.DCPError, ValueError, ArithmeticError) as error:
            raise NoAnswer(f"the solver failed: {error}") from error
        if self.problem.status not in (cp.OPTIMAL, cp.OPTIMAL_INACCURATE) or self.w.value is None:
            raise NoAnswer(f"the solver says {self.problem.status}")
        return np.clip(np.asarray(self.w.value, np.float64), self.low.value, self.high.value)


@lru_cache(maxsize=16)
def _problem(n: int, has_risk: bool, has_cost: bool, has_net: bool) -> Program:
    return Program(n, has_risk, has_cost, has_net)


def cvxpy_() -> Any:
    try:
        import cvxpy
    except ImportError as error:
        raise SetupError("Optimising under bounds needs cvxpy: pip install 'longshort[portfolio]'.") from error
    return cvxpy
