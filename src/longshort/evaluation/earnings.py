"""What the forecasts would have earned: long where they say up, short where they say down, net of costs.

The plainest strategy there is, so that a forecast can be judged in money before anybody tunes a policy: every decision
takes the sign of the forecast and holds it for its horizon (overlapping decisions share the capital), symbols share it
equally, every change of position pays. Beside it stand what needs no forecast (buy and hold, the same positions at
random moments) and what selection does to a Sharpe ratio (`selection`). Cross-sections are judged by the ranks they
give: the rank information coefficient per date, and the best fifth of the symbols against the worst.
"""

from dataclasses import dataclass
from math import isfinite, nan, sqrt
from typing import Any

import numpy as np

from .. import metrics
from . import selection
from . import statistics as st

COST_BP = 5.0  # of the traded value, one way: half a spread and a commission of liquid stocks
DRAWS = 300
FEWEST_SYMBOLS = 5
FEWEST_ROWS = 60
_YEAR_NS = 365.25 * 86_400 * 10**9


@dataclass(frozen=True, eq=False)
class Earned:
    """Positions and what they earned, row by row.

    Parameters
    ----------
    weights : array (n_rows, n_symbols)
        Held from each decision to the next bar; their absolute values add up to at most 1.
    gross, net : array (n_rows,)
        Return over the next bar, before and after costs.
    traded : array (n_rows,)
        Sum of absolute changes of weights at the decision.
    """

    weights: np.ndarray
    gross: np.ndarray
    net: np.ndarray
    traded: np.ndarray


def follow_signs(
    forecast: np.ndarray, returns: np.ndarray, horizon: int = 1, cost_bp: float = COST_BP, exposure: bool = False
) -> Earned:
    """Hold the sign of every forecast for its horizon.

    Parameters
    ----------
    forecast : array (n_rows, n_symbols)
        Above 0 is long, below is short, NaN and 0 are flat; with `exposure` the numbers are positions themselves.
    returns : array (n_rows, n_symbols)
        Simple return of each symbol from the decision to the next bar; NaN counts as flat.
    horizon : int, default=1
        Bars each decision is held; each has 1 / horizon of the capital.
    cost_bp : float, default=5
        Cost of a change of position, in hundredths of a percent of its value.

    Examples
    --------
    >>> earned = follow_signs(np.array([[1.0], [1.0], [-1.0]]), np.array([[0.01], [-0.01], [-0.02]]), cost_bp=10.0)
    >>> earned.gross.round(4).tolist(), earned.traded.tolist(), earned.net.round(4).tolist()
    ([0.01, -0.01, 0.02], [1.0, 0.0, 2.0], [0.009, -0.01, 0.018])
    """
    said = np.nan_to_num(forecast) if exposure else np.sign(np.nan_to_num(forecast))
    held = np.cumsum(said, axis=0)
    held[horizon:] -= held[:-horizon].copy()
    weights = held / (horizon * said.shape[1])
    gross = (weights * np.nan_to_num(returns)).sum(axis=1)
    traded = np.abs(np.diff(weights, axis=0, prepend=np.zeros((1, weights.shape[1])))).sum(axis=1)
    return Earned(weights, gross, gross - traded * cost_bp * 1e-4, traded)


def judged_earnings(forecast: np.ndarray, returns: np.ndarray, horizon: int = 1) -> Earned | None:
    """Follow the signs over the rows with a return; None where these are fewer than 60, or nothing is traded."""
    known = np.isfinite(returns).any(axis=1)
    if known.sum() < FEWEST_ROWS:
        return None
    earned = follow_signs(forecast[known], returns[known], horizon)
    return earned if earned.traded.any() else None


def bars_per_year(time: np.ndarray) -> float:
    """Return how many of these decisions (int64 nanoseconds) a year holds: n of them have n - 1 bars between them."""
    return max(len(time) - 1, 1) / max((int(time[-1]) - int(time[0])) / _YEAR_NS, 1e-9)


def money(
    forecast: np.ndarray, returns: np.ndarray, time: np.ndarray, horizon: int, sharpes: tuple[float, ...], trials: int
) -> dict[str, Any] | None:
    """Return what following the signs earned and how sure that is; None where there is too little to say.

    Parameters
    ----------
    forecast, returns : array (n_rows, n_symbols)
        As in `follow_signs`, the forecast measured from "unchanged".
    time : int64 array (n_rows,)
        Decision times, for the bars in a year.
    sharpes, trials
        Of all trials so far, for the deflated Sharpe ratio.
    """
    earned = judged_earnings(forecast, returns, horizon)
    if earned is None:
        return None
    known = np.isfinite(returns).any(axis=1)
    forecast, returns, time = forecast[known], returns[known], time[known]
    per_year = bars_per_year(time)
    root = sqrt(per_year)

    def sharpe(r: np.ndarray) -> float:
        return metrics.sharpe(r, bars_per_year=per_year)

    hold = np.where(np.isfinite(returns), returns, 0.0).mean(axis=1)
    histories = selection.resampled(earned.net, DRAWS, max(5.0, len(time) ** (1 / 3)))
    with np.errstate(invalid="ignore", divide="ignore"):
        low, high = np.nanquantile(histories.mean(axis=1) / histories.std(axis=1, ddof=1) * root, [0.025, 0.975])
    wealth = np.cumprod(1.0 + histories, axis=1)
    falls = 1.0 - (wealth / np.maximum.accumulate(np.maximum(wealth, 1.0), axis=1)).min(axis=1)
    fall_low, fall_high = np.quantile(falls, [0.025, 0.975])
    likely = selection.probabilistic_sharpe(earned.net)
    deflated = selection.deflated_sharpe(earned.net, sharpes, trials)
    volume, annual = float(earned.traded.sum()), sharpe(earned.net)
    return {
        "cost_bp": COST_BP,
        "sharpe": annual,
        "sharpe_low": float(low),
        "sharpe_high": float(high),
        "sharpe_gross": sharpe(earned.gross),
        "sharpe_per_bar": likely.sharpe,
        "probability": likely.probability,
        "deflated_probability": deflated.probability,
        "deflated_benchmark": deflated.benchmark * root,
        "trials": deflated.trials,
        "minimum_years": selection.minimum_backtest_length(deflated.trials, annual) if annual > 0 else nan,
        "years": len(time) / per_year,
        "annual_return": metrics.annual_return(earned.net, per_year),
        "max_drawdown": metrics.max_drawdown(earned.net),
        "max_drawdown_low": float(fall_low),
        "max_drawdown_high": float(fall_high),
        "turnover": metrics.turnover(earned.weights, per_year),
        "long_share": float((earned.weights > 0).sum() / max((earned.weights != 0).sum(), 1)),
        "break_even_bp": float(earned.gross.sum()) / volume * 1e4,
        "random_entries_p": _at_random(earned, returns, horizon),
        "buy_and_hold": {"sharpe": sharpe(hold), "annual_return": metrics.annual_return(hold, per_year)},
    }


def _at_random(earned: Earned, returns: np.ndarray, horizon: int) -> float:
    """How often the same positions, taken at another moment, earned at least as much: same exposure, same trading.

    The series of positions is turned around by a random number of rows (at least its horizon), all symbols together.
    """
    n = len(returns)
    rng = np.random.default_rng(0)
    r = np.nan_to_num(returns)
    ours = float(earned.gross.mean())
    shifts = rng.integers(horizon, max(n - horizon, horizon + 1), size=DRAWS)
    others = np.array([(np.roll(earned.weights, int(k), axis=0) * r).sum(axis=1).mean() for k in shifts])
    return float((1 + (others >= ours).sum()) / (1 + len(others)))


def cross_section(actual: np.ndarray, forecast: np.ndarray, horizon: int) -> dict[str, Any] | None:
    """Judge the order a forecast gives to the symbols of a date; None with fewer than five symbols on most dates.

    Parameters
    ----------
    actual, forecast : array (n_rows, n_symbols)
        Outcomes and forecasts; NaN where there is none.
    horizon : int
        Bars the outcomes span; errors are Newey-West's with lags for the overlap.

    Returns
    -------
    dict or None
        ``rank_ic`` with its error and p-value, ``icir`` (mean over deviation of the per-date coefficients),
        ``top_minus_bottom`` (best fifth against worst fifth of the symbols, in units of the target), ``turnover``
        (share of the best and worst fifths replaced from date to date), ``dates``.
    """
    both = np.isfinite(actual) & np.isfinite(forecast)
    enough = both.sum(axis=1) >= FEWEST_SYMBOLS
    if enough.sum() < 20:
        return None
    a, f = np.where(both, actual, nan)[enough], np.where(both, forecast, nan)[enough]
    coefficients = metrics.information_coefficients(a, f)
    ic = st.mean_test(coefficients, horizon)
    finite = coefficients[np.isfinite(coefficients)]
    spread, sides = _fifths(a, f)
    difference = st.mean_test(spread, horizon)
    sides = sides[np.abs(sides).any(axis=1)]  # dates without an order replace nobody
    changed = np.abs(np.diff(sides, axis=0)).sum(axis=1) / (2 * np.abs(sides[1:]).sum(axis=1))
    deviation = float(finite.std(ddof=1)) if len(finite) > 1 else nan
    return {
        "rank_ic": ic.mean,
        "rank_ic_error": ic.error,
        "rank_ic_p": ic.p_greater if isfinite(ic.p_greater) else None,
        "icir": ic.mean / deviation if deviation > 0 else nan,
        "top_minus_bottom": difference.mean,
        "top_minus_bottom_error": difference.error,
        "turnover": float(changed.mean()) if len(changed) else nan,
        "dates": int(enough.sum()),
    }


def _fifths(actual: np.ndarray, forecast: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per date the mean outcome of the best fifth minus that of the worst, and who is in them: 1, -1 or 0."""
    spread, sides = np.full(len(actual), nan), np.zeros(actual.shape)
    for i, (a, f) in enumerate(zip(actual, forecast, strict=True)):
        known = np.flatnonzero(np.isfinite(f))
        order, k = known[np.argsort(f[known], kind="stable")], max(1, len(known) // 5)
        if f[order[0]] == f[order[-1]]:
            continue
        spread[i] = a[order[-k:]].mean() - a[order[:k]].mean()
        sides[i, order[-k:]], sides[i, order[:k]] = 1.0, -1.0
    return spread, sides
