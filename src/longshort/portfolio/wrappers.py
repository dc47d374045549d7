"""Policies that take another policy's weights and scale or gate them."""

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from ..errors import InputError
from ..forecast import ForecastRow, View
from .memory import Remembers
from .reading import expected_deviation, expected_interval
from .rules import SizedStep, Sizing, Step, as_policy, total_of, within
from .volatility import PortfolioVolatility


@dataclass(frozen=True)
class VolatilityTarget(Sizing):
    """Another policy's weights, scaled so that the portfolio has a chosen volatility.

    The volatility is the one the forecast covariance gives; without one, what these weights would have had over the
    latest returns, each symbol rescaled to its forecast deviation where there is one. Weights grow at most to `gross`.
    Positions the other policy leaves alone count, but are not changed.

    Parameters
    ----------
    policy : Policy
        Whose weights are scaled.
    target : float, default=0.10
        Annual volatility.
    halflife : float, default=20
        Bars after which a return counts half.
    gross, band, overlap
        See `Sizing`; overlapping books are the other policy's own.

    Examples
    --------
    >>> import numpy as np
    >>> from longshort.forecast import Forecast, TargetInfo
    >>> from longshort.portfolio import Sign, view_of
    >>> f = Forecast(np.arange(1), ("AAPL",), [[0.01]], covariance=[[[0.02**2]]], target=TargetInfo("return"))
    >>> VolatilityTarget(Sign(), target=0.10).stepper(f.symbols)(view_of(f.symbols, f.row(0))).round(3)
    array([0.315])
    """

    policy: Any
    WRAPS: ClassVar[bool] = True
    target: float = 0.10
    halflife: float = 20.0

    def check(self) -> None:
        """Raise `InputError` where the arguments make no sense."""
        _require_policy(self, self.policy)
        within(self, "target", 0.0, 10.0, above=True)
        within(self, "halflife", 0.0, 1e6, above=True)

    def sizer(self, symbols: tuple[str, ...]) -> Step:
        """Return the rule itself."""
        inner = _shape_of(self.policy, symbols)
        return _Scaled(inner, self.target, len(symbols), self.gross, self.halflife)


class _Scaled(Remembers):
    """A step scaled to a volatility."""

    MEMORY = ("inner", "past")

    def __init__(self, inner: Step, target: float, n_symbols: int, gross: float, halflife: float = 20.0):
        self.inner, self.target, self.gross = inner, target, gross
        self.past = PortfolioVolatility(n_symbols, halflife)

    def __call__(self, view: View) -> np.ndarray:
        self.past.update(view.returns)
        weights = self.inner(view)
        row = view.forecast
        known = self.past.known
        if row is not None and row.covariance is not None and row.target is not None:
            known = np.isfinite(row.covariance).all(axis=1)
        weights = np.where(known | (weights == 0.0), weights, np.nan)
        full = np.where(np.isfinite(weights), weights, np.where(np.isfinite(view.weights), view.weights, 0.0))
        annual = self._volatility(row, np.where(known, full, 0.0)) * math.sqrt(view.bars_per_year)
        if not 0.0 <= annual < math.inf:
            return np.full(len(weights), np.nan)
        size = total_of(np.abs(weights[weights == weights]))
        most = self.gross / size if size > 0 else 1.0
        return weights * (min(self.target / annual, most) if annual > 0 else 1.0)

    def _volatility(self, row: ForecastRow | None, weights: np.ndarray) -> float:
        if row is not None and row.covariance is not None and row.target is not None:
            held = weights != 0.0
            covariance = row.covariance[np.ix_(held, held)]
            variance = float(weights[held] @ covariance @ weights[held]) / row.target.horizon
            return math.sqrt(variance) if variance >= 0 else math.nan
        return self.past.of(weights, None if row is None else expected_deviation(row))


@dataclass(frozen=True)
class IntervalAware(Sizing):
    """Another policy's weights, where the forecast interval lies clear of the costs; elsewhere no position.

    A long position needs the lower end of the interval above `cost`, a short one its upper end below ``-cost``. The
    interval is that of the whole horizon, over which the costs are paid once, and comes from quantiles (those of
    `models.Conformal` too) or else from a deviation.

    Parameters
    ----------
    policy : Policy
        Whose weights are taken.
    cost : float, default=0.001
        Round trip, as a fraction of the price.
    coverage : float, optional
        Of the interval, in (0, 1); see `expected_interval`.
    hold : bool, default=False
        Keep a position on the forecast's side while the interval is not clear, instead of closing it.
    gross, band, overlap
        See `Sizing`; each book is gated by the forecast it was made of.

    Examples
    --------
    >>> import numpy as np
    >>> from longshort.forecast import Forecast, TargetInfo
    >>> from longshort.portfolio import Sign, view_of
    >>> f = Forecast(np.arange(1), ("A", "B"), [[0.010, 0.012]], std=[[0.005, 0.02]], target=TargetInfo("return"))
    >>> IntervalAware(Sign()).stepper(f.symbols)(view_of(f.symbols, f.row(0)))
    array([0.5, 0. ])
    """

    policy: Any
    cost: float = 0.001
    coverage: float | None = None
    hold: bool = False

    def check(self) -> None:
        """Raise `InputError` where the arguments make no sense."""
        _require_policy(self, self.policy)
        within(self, "cost", 0.0, 1.0)
        within(self, "coverage", 0.0, 1.0, above=True)
        if self.coverage == 1:
            raise InputError("IntervalAware.coverage must be below 1: no interval holds everything.")

    def sizer(self, symbols: tuple[str, ...]) -> Step:
        """Return the rule itself."""
        return _Gated(self, _shape_of(_without_books(self.policy), symbols))


class _Gated(Remembers):
    """A step of which only what is clear of the costs is taken."""

    MEMORY = ("inner",)

    def __init__(self, policy: IntervalAware, inner: Step):
        self.policy, self.inner = policy, inner

    def __call__(self, view: View) -> np.ndarray:
        asked, cost = self.inner(view), self.policy.cost
        if view.forecast is None:
            return asked
        low, high = expected_interval(view.forecast, self.policy.coverage)
        clear = ((asked > 0) & (low > cost)) | ((asked < 0) & (high < -cost))
        kept = np.where(asked * view.weights > 0, np.nan, 0.0) if self.policy.hold else 0.0
        weights = np.where(clear, asked, kept)
        return np.where(np.isfinite(asked) & (low <= high), weights, np.nan)


def _shape_of(policy: Any, symbols: tuple[str, ...]) -> Step:
    """Return a step whose weights are a shape for a wrapper, which counts what is left alone itself."""
    inner = as_policy(policy).stepper(symbols)
    if isinstance(inner, SizedStep):
        inner.whole = False
    return inner


def _without_books(policy: Any) -> Any:
    """Return a policy that follows every forecast at once, for a wrapper that runs the books itself."""
    if not isinstance(policy, Sizing):
        return policy
    inner = {"policy": _without_books(policy.policy)} if policy.WRAPS else {}  # type: ignore[attr-defined]
    return replace(policy, overlap=False, **inner)


def _require_policy(wrapper: Any, policy: Any) -> None:
    try:
        as_policy(policy)
    except InputError as error:
        raise InputError(f"{type(wrapper).__name__} wraps a policy. {error}") from None
