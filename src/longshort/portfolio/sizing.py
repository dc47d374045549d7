"""How large one trade may be: textbook rules, as functions of numbers and as policies that apply them at every bar.

Fixed fractional and volatility sizing (`RiskPerTrade`) give positions that lose a chosen part of equity at a stop whose
distance is known; Kelly's criterion (1956, `Kelly`) gives the part of equity that makes wealth grow fastest.
"""

from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..forecast import ForecastRow, View
from .memory import Remembers
from .reading import expected_deviation, expected_returns, target_of_row
from .rules import Sizing, Step, signals, usable, within
from .volatility import Deviations, TrueRange


def fixed_fractional(equity: float, risk: float, stop_distance: float) -> float:
    """Return the shares whose loss at the stop is `risk` of equity.

    Parameters
    ----------
    equity : float
        Account value.
    risk : float
        Part of equity that the trade may lose, in (0, 1].
    stop_distance : float
        Distance from entry to stop, in money per share.

    Examples
    --------
    >>> fixed_fractional(100_000, risk=0.02, stop_distance=5.0)
    400.0
    """
    _between("equity", equity, 0.0, float("inf"))
    _between("risk", risk, 0.0, 1.0)
    _between("stop_distance", stop_distance, 0.0, float("inf"))
    return equity * risk / stop_distance


def volatility_based(equity: float, atr: float, risk: float, multiple: float = 2.0) -> float:
    """Return the shares whose loss at a stop `multiple` average true ranges away is `risk` of equity.

    Examples
    --------
    >>> round(volatility_based(100_000, atr=3.0, risk=0.02), 2)
    333.33
    """
    _between("atr", atr, 0.0, float("inf"))
    _between("multiple", multiple, 0.0, float("inf"))
    return fixed_fractional(equity, risk, atr * multiple)


def kelly_criterion(win_rate: float, win_loss_ratio: float, fraction: float = 0.5) -> float:
    """Return the part of equity to stake on a bet, 0 where it does not pay.

    Parameters
    ----------
    win_rate : float
        Probability of a win, in [0, 1].
    win_loss_ratio : float
        Average win over average loss.
    fraction : float, default=0.5
        Part of the full stake, in (0, 1]. Win rates are estimated, and twice the full stake grows by nothing at all.

    Examples
    --------
    >>> round(kelly_criterion(0.55, 1.5), 3)
    0.125
    >>> kelly_criterion(0.35, 1.5)
    0.0
    """
    if win_rate != 0.0:
        _between("win_rate", win_rate, 0.0, 1.0)
    _between("win_loss_ratio", win_loss_ratio, 0.0, float("inf"))
    _between("fraction", fraction, 0.0, 1.0)
    stake = (win_rate * win_loss_ratio - (1.0 - win_rate)) / win_loss_ratio
    return min(max(fraction * stake, 0.0), 1.0)


def _between(name: str, value: float, low: float, high: float) -> None:
    """Allow `value` only in (low, high], finite."""
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not (number and low < value <= high and value < float("inf")):
        raise InputError(f"{name} must lie in ({low:g}, {high:g}] and be finite, was {value!r}.")


@dataclass(frozen=True)
class Kelly(Sizing):
    """Expected return over variance (Kelly, 1956; Thorp, 2006), a fraction of it, with a cap.

    Deviations come from the forecast where it has them, else from past returns; each stake is then cut to `cap`, and
    all shrink together to `gross`. With a forecast covariance the stakes are one bet, ``fraction x inverse(covariance)
    x mean``, and shrink together to both, so that a hedge stays one; a covariance that is none (not positive definite)
    leaves all positions. Forecasts of directions are bets at `payoff`.

    Parameters
    ----------
    fraction : float, default=0.5
        Part of the full stake, in (0, 1].
    cap : float, default=1.0
        Largest absolute weight of one symbol.
    payoff : float, optional
        Average win over average loss of a forecast direction.
    halflife : float, default=20
        Of the past deviations, in bars.
    gross, band, overlap
        See `Sizing`.

    Examples
    --------
    >>> import numpy as np
    >>> from longshort.forecast import Forecast, TargetInfo
    >>> from longshort.portfolio import view_of
    >>> f = Forecast(np.arange(1), ("AAPL",), [[0.0002]], std=[[0.02]], target=TargetInfo("return"))
    >>> Kelly(fraction=0.5).stepper(f.symbols)(view_of(f.symbols, f.row(0))).round(3)
    array([0.25])
    """

    fraction: float = 0.5
    cap: float = 1.0
    payoff: float | None = None
    halflife: float = 20.0

    def check(self) -> None:
        """Raise `InputError` where the arguments make no sense."""
        within(self, "fraction", 0.0, 1.0, above=True)
        within(self, "cap", 0.0, 1.0, above=True)
        within(self, "payoff", 0.0, 1e6, above=True)
        within(self, "halflife", 0.0, 1e6, above=True)

    def sizer(self, symbols: tuple[str, ...]) -> Step:
        """Return the rule itself."""
        return _Kelly(self, len(symbols))


class _Kelly(Remembers):
    """The weights of `Kelly`, and the past deviations."""

    MEMORY = ("past",)

    def __init__(self, policy: Kelly, n_symbols: int):
        self.policy, self.past = policy, Deviations(n_symbols, policy.halflife)

    def __call__(self, view: View) -> np.ndarray:
        deviation = self.past.update(view.returns)
        row, cap, payoff = view.forecast, self.policy.cap, self.policy.payoff
        if row is None:
            return np.full(len(view.symbols), np.nan)
        joint = False
        if payoff is not None and target_of_row(row).kind == "direction":
            stakes = _bet(signals(view), payoff)
        else:
            stakes = _stakes(row, usable(view, expected_returns(row)), deviation)
            joint = row.covariance is not None
        stakes = np.where(np.isfinite(stakes), stakes, np.nan) * self.policy.fraction
        if joint:
            largest = np.fmax.reduce(np.abs(stakes))
            return stakes * (cap / largest) if largest > cap else stakes
        return np.maximum(np.minimum(stakes, cap), -cap)


def _bet(score: np.ndarray, payoff: float) -> np.ndarray:
    """Kelly's stake on the likelier side, for a score 2 p - 1."""
    stake = ((1.0 + np.abs(score)) / 2.0 * (payoff + 1.0) - 1.0) / payoff
    return np.where(np.abs(score) <= 1.0, np.sign(score) * np.maximum(stake, 0.0), np.nan)


def _stakes(row: ForecastRow, mean: np.ndarray, past: np.ndarray) -> np.ndarray:
    """Mean over variance, or the solution with the covariance over all symbols that have both."""
    if row.covariance is not None and row.target is not None:
        known = np.isfinite(mean) & np.isfinite(row.covariance).all(axis=1)
        stakes = np.full(len(mean), np.nan)
        try:
            covariance = row.covariance[np.ix_(known, known)] / row.target.horizon
            np.linalg.cholesky(covariance)
            stakes[known] = np.linalg.solve(covariance, mean[known])
        except np.linalg.LinAlgError:
            pass  # two symbols that move as one have no stakes of their own, and below zero there is no risk
        return stakes
    forecast = expected_deviation(row)
    deviation = past if forecast is None else forecast
    return np.where(deviation > 0, mean / (deviation * deviation), np.nan)


@dataclass(frozen=True)
class RiskPerTrade(Sizing):
    """Positions by sign, each so large that its stop loses the same part of equity (fixed fractional sizing).

    Parameters
    ----------
    risk : float, default=0.01
        Part of equity that a position loses at its stop.
    stop : float, optional
        Distance of the stop as a fraction of the price. Set the same in `Limits(stop_loss=...)`.
    atr : float, optional
        Distance in average true ranges instead, so that wild symbols get smaller positions (`Limits(atr_stop=...)`).
    atr_window : int, default=14
        Bars of the average true range.
    cap : float, default=1.0
        Largest absolute weight of one symbol.
    gross, band, overlap
        See `Sizing`.

    Examples
    --------
    >>> import numpy as np
    >>> from longshort.forecast import Forecast, TargetInfo
    >>> from longshort.portfolio import view_of
    >>> f = Forecast(np.arange(1), ("AAPL",), [[0.01]], target=TargetInfo("return"))
    >>> RiskPerTrade(risk=0.02, stop=0.05).stepper(f.symbols)(view_of(f.symbols, f.row(0)))
    array([0.4])
    """

    risk: float = 0.01
    stop: float | None = None
    atr: float | None = None
    atr_window: int = 14
    cap: float = 1.0

    def check(self) -> None:
        """Raise `InputError` where the arguments make no sense."""
        within(self, "risk", 0.0, 1.0, above=True)
        within(self, "stop", 0.0, 1.0, above=True)
        within(self, "atr", 0.0, 1000.0, above=True)
        within(self, "atr_window", 1, 100_000)
        within(self, "cap", 0.0, 1.0, above=True)
        if (self.stop is None) == (self.atr is None):
            raise InputError("RiskPerTrade needs the distance of its stop: either stop=0.05 or atr=2.0.")

    def sizer(self, symbols: tuple[str, ...]) -> Step:
        """Return the rule itself."""
        return _PerTrade(self, len(symbols))


class _PerTrade(Remembers):
    """The weights of `RiskPerTrade`, and the true range."""

    MEMORY = ("ranges",)

    def __init__(self, policy: RiskPerTrade, n_symbols: int):
        self.policy = policy
        self.ranges = TrueRange(n_symbols, policy.atr_window) if policy.atr is not None else None

    def __call__(self, view: View) -> np.ndarray:
        policy, ranges = self.policy, self.ranges
        sides = np.sign(signals(view))
        if ranges is None or policy.atr is None:
            return sides * min(policy.risk / (policy.stop or 1.0), policy.cap)
        ranges.update(view)
        size = policy.risk * view.price / (policy.atr * ranges.atr)
        return sides * np.where(size >= 0, np.minimum(size, policy.cap), np.nan)
