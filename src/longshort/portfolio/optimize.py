"""Weights from predicted means and covariances: mean-variance, minimum variance, risk parity.

The policies see one decision at a time and give target weights. With m and S the predicted mean and covariance of
simple returns over the target's horizon, and w the weights::

    MeanVariance   max  m'w - a / 2 w'S w - c |w - held|      or  max m'w - c |w - held|  with  w'S w <= risk^2
    MinVariance    min  w'S w
    RiskParity     w_i (S w)_i = b_i w'S w                    every symbol carries its share of the risk

under bounds of each weight, of their sum (net) and of the sum of their sizes (gross). Quadratic problems whose bounds
are a box and a sum are solved exactly by pivoting, in a millisecond for 100 symbols; the others by cvxpy with Clarabel
(the extra ``portfolio``), from one problem that is built once and then only fed with numbers. Log returns are turned
into simple ones first, exactly for normal ones. A symbol without a finite forecast, or that cannot be traded, keeps its
position, which counts towards net and gross. When there is no answer, everything is kept and the reason recorded:
nothing is ever opened by mistake.
"""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..bars import State
from ..errors import InputError
from ..forecast import Forecast, ForecastRow, View
from .memory import require_keys
from .solving import NoAnswer, Program, Room, at_risk, boxed, cvxpy_, equal_risk, factor_of

log = logging.getLogger(__name__)

_DUST = 1e-7  # of a weight: what a solver leaves of nothing
_ABSURD = 1e6  # of a mean or a variance: no forecast


@dataclass(frozen=True)
class Failure:
    """A decision without an answer, at which every position was kept.

    Parameters
    ----------
    time : int
        UTC nanoseconds of the decision.
    policy : str
        Whose.
    reason : str
        What stood in the way.
    """

    time: int
    policy: str
    reason: str


def simple_moments(row: ForecastRow | Forecast, who: str = "The optimiser") -> tuple[np.ndarray, np.ndarray]:
    """Return mean and covariance of simple returns over the target's horizon.

    Parameters
    ----------
    row : ForecastRow or Forecast
        With a covariance, of a return or log return.
    who : str
        Named in errors.

    Returns
    -------
    mean : float64 array (..., n_symbols)
    covariance : float64 array (..., n_symbols, n_symbols)

    Notes
    -----
    Of normal log returns with mean m and covariance S, simple returns have the mean ``exp(m + diag(S) / 2) - 1`` and
    the covariance ``(1 + mean_i) (1 + mean_j) (exp(S_ij) - 1)``.

    Examples
    --------
    >>> from longshort.forecast import TargetInfo
    >>> row = ForecastRow(TargetInfo("log_return"), np.zeros(1), covariance=np.array([[0.04]]))
    >>> mean, covariance = simple_moments(row)
    >>> mean.round(4), covariance.round(4)
    (array([0.0202]), array([[0.0425]]))
    """
    kind = None if row.target is None else row.target.kind
    if kind not in ("return", "log_return"):
        raise InputError(
            f"{who} needs forecasts of returns, and these are of {row.target or 'an unknown target'}. "
            "Use target=forward_return(1) or forward_log_return(1)."
        )
    if row.covariance is None:
        raise InputError(
            f"{who} needs forecasts with a covariance, and these have none. "
            "Use models.JointLSTM, LedoitWolf, EWMA or DCC."
        )
    mean, covariance = np.asarray(row.mean, np.float64), np.asarray(row.covariance, np.float64)
    if kind == "return":
        return mean, covariance
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused by whoever uses it
        grown = np.exp(mean + 0.5 * np.diagonal(covariance, axis1=-2, axis2=-1))
        return grown - 1.0, grown[..., :, None] * grown[..., None, :] * np.expm1(covariance)


# ------------------------------------------------------------------------------------------------------------ policies


class _Optimised:
    """What the policies share: which symbols take part, what is kept, and what is recorded."""

    def stepper(self, symbols: tuple[str, ...]) -> "OptimisedStep":
        """Return a fresh step from `View` to target weights; its `failures` tell of decisions without an answer."""
        self._check_symbols(tuple(symbols))
        return OptimisedStep(self, tuple(symbols))

    def _check_symbols(self, symbols: tuple[str, ...]) -> None:
        """Raise `InputError` where the arguments do not fit the symbols, `SetupError` where the solver is missing."""
        cvxpy_()

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as a JSON-able mapping."""
        return {"kind": type(self).__name__, **asdict(self)}  # type: ignore[call-overload]

    def _weights(
        self,
        mean: np.ndarray,
        covariance: np.ndarray,
        held: np.ndarray,
        kept: np.ndarray,
        part: np.ndarray,
        view: View,
    ) -> np.ndarray:
        """Return the weights of the symbols that take `part`; `held` are their present ones, `kept` the others'."""
        raise NotImplementedError


class OptimisedStep:
    """An optimising policy at work: ``step(view)`` gives target weights, NaN for positions that stay as they are.

    Parameters
    ----------
    policy : MeanVariance, MinVariance or RiskParity
        Whose.
    symbols : tuple of str
        Columns of every view.

    Attributes
    ----------
    failures : list of Failure
        Decisions without an answer, with the reason.
    """

    def __init__(self, policy: Any, symbols: tuple[str, ...]):
        self.policy, self.symbols, self.failures = policy, symbols, []
        self.by_name = np.array(sorted(range(len(symbols)), key=symbols.__getitem__))  # columns decide nothing

    def __call__(self, view: View) -> np.ndarray:
        """Return the target weights, float64 (n_symbols,)."""
        if view.symbols != self.symbols:
            raise InputError(f"This policy was started for {self.symbols[:5]}, and the view shows {view.symbols[:5]}.")
        weights = np.full(len(self.symbols), np.nan)
        if view.forecast is None:
            return weights
        name = type(self.policy).__name__
        mean, covariance = simple_moments(view.forecast, name)
        variance = np.diagonal(covariance)
        with np.errstate(invalid="ignore"):
            sane = (np.abs(mean) < _ABSURD) & (variance > 0) & (variance < _ABSURD)
        taking_part = self.by_name[(sane & (np.asarray(view.state) == State.OK))[self.by_name]]
        if not len(taking_part):
            return weights
        try:
            found = self._solved(mean, covariance, taking_part, view)
        except NoAnswer as error:
            log.warning("%s keeps all positions: %s", name, error)
            self.failures.append(Failure(int(view.time), name, str(error)))
            return weights
        weights[taking_part] = np.where(np.abs(found) < _DUST, 0.0, found)
        return weights

    def snapshot(self) -> dict[str, Any]:
        """Return that nothing is remembered from one decision to the next; see `Resumable`."""
        return {"symbols": list(self.symbols)}

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Go on; `InputError` where the snapshot is of other symbols."""
        require_keys(type(self.policy).__name__, kept, ("symbols",))
        if kept["symbols"] != list(self.symbols):
            raise InputError(f"The snapshot is of {kept['symbols'][:5]}, and this is of {self.symbols[:5]}.")

    def _solved(self, mean: np.ndarray, covariance: np.ndarray, part: np.ndarray, view: View) -> np.ndarray:
        inner, held = covariance[np.ix_(part, part)], np.asarray(view.weights, np.float64)
        if not np.isfinite(inner).all():
            raise NoAnswer("the covariance of symbols with a forecast is not finite")
        kept = np.delete(held, part)
        if not np.isfinite(kept).all():
            raise NoAnswer("the weight of a symbol that is kept is not finite")
        found = self.policy._weights(mean[part], inner, held[part], kept, part, view)
        if not np.isfinite(found).all():
            raise NoAnswer("the solver gave weights that are not finite")
        return found


@dataclass(frozen=True)
class MeanVariance(_Optimised):
    """The weights with the best predicted return for their predicted risk (Markowitz, 1952).

    Parameters
    ----------
    risk_aversion : float, optional
        The a in ``m'w - a / 2 w'S w``; 5 when neither it nor `target_risk` is given. An investor with logarithmic
        utility has 1 and holds what Kelly would.
    target_risk : float, optional
        Instead: the largest predicted standard deviation of the portfolio, a year, such as 0.10.
    long_only : bool, default=True
        Whether weights must not be negative.
    max_weight : float, default=1.0
        Largest size of one weight.
    gross : float, default=1.0
        Largest sum of sizes.
    net : float, optional
        What the weights must add up to; free by default, so that what is not worth its risk stays in cash.
    cost_bp : float, default=0.0
        Charged per unit traded, in basis points of its value, against the predicted return of one horizon.

    Notes
    -----
    Means: predicted returns decide everything here and are known least. A mean-variance portfolio of unskilled means
    maximises their errors (Michaud, 1989); compare it with `MinVariance`, which needs none.

    Examples
    --------
    >>> mean, covariance = np.array([0.02, 0.0]), np.diag([0.04, 0.04])
    >>> MeanVariance(risk_aversion=1.0).of(mean, covariance)       # 0.02 / 0.04 of the first, the rest in cash
    array([0.5, 0. ])
    """

    risk_aversion: float | None = None
    target_risk: float | None = None
    long_only: bool = True
    max_weight: float = 1.0
    gross: float = 1.0
    net: float | None = None
    cost_bp: float = 0.0

    def __post_init__(self):
        if self.risk_aversion is not None and self.target_risk is not None:
            raise InputError(
                f"risk_aversion ({self.risk_aversion}) and target_risk ({self.target_risk}) say one thing "
                "in two ways. Give one of them."
            )
        for name in ("risk_aversion", "target_risk"):
            if getattr(self, name) is not None:
                require_number(name, getattr(self, name), 1e-12, np.inf)
        require_number("cost_bp", self.cost_bp, 0.0, 1e4)
        _check_bounds(self)

    def of(
        self, mean: np.ndarray, covariance: np.ndarray, held: np.ndarray | None = None, horizons_per_year: float = 1.0
    ) -> np.ndarray:
        """Return the weights for a mean (n,) and covariance (n, n) of simple returns over one horizon.

        Raises
        ------
        InputError
            No weights keep the bounds, or the numbers are not finite or no covariance.
        """
        return _of(self, mean, covariance, held, horizons_per_year)

    def _weights(self, mean, covariance, held, kept, part, view) -> np.ndarray:
        risk = None
        if self.target_risk is not None:
            target = None if view.forecast is None else view.forecast.target
            risk = self.target_risk / np.sqrt(view.bars_per_year / (1 if target is None else target.horizon))
        return self._best(mean, covariance, held, room_of(self, kept), risk)

    def _best(self, mean, covariance, held, room: "Room", risk: float | None) -> np.ndarray:
        factor, cost = factor_of(covariance), self.cost_bp / 1e4
        aversion = 5.0 if self.risk_aversion is None else self.risk_aversion
        if cost and not np.isfinite(held).all():
            raise NoAnswer("a weight that is held is not finite, and trading away from it has a cost")
        if not cost:
            found = (
                boxed(covariance, mean / aversion, room)
                if risk is None
                else at_risk(covariance, factor, mean, room, risk)
            )
            if found is not None and room.admits(found):
                return found
        return Program.solve(len(mean), risk is not None, bool(cost), room, mean, factor, aversion, risk, held, cost)


@dataclass(frozen=True)
class MinVariance(_Optimised):
    """The weights with the least predicted variance; means play no part.

    Parameters
    ----------
    long_only : bool, default=True
        Whether weights must not be negative.
    max_weight : float, default=1.0
        Largest size of one weight.
    gross : float, default=1.0
        Largest sum of sizes; with ``long_only=False`` give more than `net`, such as 2.
    net : float, default=1.0
        What the weights add up to.

    Examples
    --------
    >>> MinVariance().of(np.zeros(2), np.diag([0.01, 0.04]))       # as one over the variances
    array([0.8, 0.2])
    >>> MinVariance(max_weight=0.6).of(np.zeros(2), np.diag([0.01, 0.04])).round(6)
    array([0.6, 0.4])
    """

    long_only: bool = True
    max_weight: float = 1.0
    gross: float = 1.0
    net: float = 1.0

    def __post_init__(self):
        if self.net is None:
            raise InputError("net must be a number: without a sum to reach, the least variance is that of no position.")
        _check_bounds(self)

    def of(self, mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
        """Return the weights for a covariance (n, n); `mean` (n,) is not asked. Errors as of `MeanVariance`."""
        return _of(self, mean, covariance)

    def _weights(self, mean, covariance, held, kept, part, view) -> np.ndarray:
        return self._best(mean, covariance, held, room_of(self, kept), None)

    def _best(self, mean, covariance, held, room: "Room", risk: float | None) -> np.ndarray:
        factor, nothing = factor_of(covariance), np.zeros(len(mean))
        found = boxed(covariance, nothing, room)
        if found is not None and room.admits(found):
            return found
        return Program.solve(len(mean), False, False, room, nothing, factor, 1.0, None, held, 0.0)


@dataclass(frozen=True)
class RiskParity(_Optimised):
    """Long weights by which every symbol carries its share of the predicted variance (Maillard et al., 2010).

    Parameters
    ----------
    budgets : mapping of str to float, optional
        Share of the risk by symbol, positive; equal shares by default.
    gross : float, default=1.0
        What the weights add up to.

    Notes
    -----
    The weights solve the convex problem ``min x'S x / 2 - sum b_i log x_i`` (Spinu, 2013) by Newton's method, then are
    scaled to `gross`: exact to rounding, no solver needed.

    Examples
    --------
    >>> RiskParity().of(np.zeros(2), np.diag([0.01, 0.04]))        # as one over the deviations
    array([0.66666667, 0.33333333])
    """

    budgets: Mapping[str, float] | None = None
    gross: float = 1.0

    def __post_init__(self):
        require_number("gross", self.gross, 1e-12, np.inf)
        if self.budgets is not None:
            if not isinstance(self.budgets, Mapping) or not self.budgets:
                raise InputError(f"budgets must map symbols to shares, such as {{'SPY': 2.0}}, was {self.budgets!r}.")
            for symbol, share in self.budgets.items():
                require_number(f"budgets[{symbol!r}]", share, 1e-9, np.inf)
            object.__setattr__(self, "budgets", _Budgets(sorted(self.budgets.items())))

    def _check_symbols(self, symbols: tuple[str, ...]) -> None:
        if self.budgets is not None and set(self.budgets) != set(symbols):
            odd = sorted(set(self.budgets) ^ set(symbols))
            raise InputError(f"budgets must name every symbol once; {', '.join(odd[:5])} stand on one side only.")

    def of(self, mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
        """Return the weights for a covariance (n, n) with equal shares; `mean` (n,) is not asked."""
        return _of(self, mean, covariance)

    def _weights(self, mean, covariance, held, kept, part, view) -> np.ndarray:
        shares = np.ones(len(mean))
        if self.budgets is not None:
            shares = np.array([self.budgets[view.symbols[i]] for i in part])
        return self._carrying(covariance, shares, self.gross - float(np.abs(kept).sum()))

    def _best(self, mean, covariance, held, room, risk) -> np.ndarray:
        return self._carrying(covariance, np.ones(len(mean)), self.gross)

    def _carrying(self, covariance: np.ndarray, shares: np.ndarray, gross: float) -> np.ndarray:
        if gross <= 0:
            raise NoAnswer(f"positions that are kept leave {gross:.3g} of the gross {self.gross:g}")
        factor_of(covariance)
        scale = np.sqrt(np.diagonal(covariance))
        x = equal_risk(covariance / (scale[:, None] * scale), shares / shares.sum()) / scale
        return gross * x / x.sum()


class _Budgets(dict):
    """Shares by symbol that a frozen policy can be hashed with."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(tuple(self.items()))


# -------------------------------------------------------------------------------------------------------------- bounds


def room_of(policy: Any, kept: np.ndarray) -> Room:
    """Return what is left for the others beside positions that are `kept`."""
    gross = policy.gross - float(np.abs(kept).sum())
    net = None if policy.net is None else policy.net - float(kept.sum())
    if gross <= 0:
        raise NoAnswer(f"positions that are kept leave {gross:.3g} of the gross {policy.gross:g}")
    return Room(0.0 if policy.long_only else -policy.max_weight, policy.max_weight, net, gross)


def _check_bounds(policy: Any) -> None:
    require_number("max_weight", policy.max_weight, 1e-12, np.inf)
    require_number("gross", policy.gross, 1e-12, np.inf)
    if not isinstance(policy.long_only, bool):
        raise InputError(f"long_only must be True or False, was {policy.long_only!r}.")
    net = policy.net
    if net is not None:
        require_number("net", net, 0.0 if policy.long_only else -np.inf, np.inf)
        if abs(net) > policy.gross:
            raise InputError(f"net ({net:g}) cannot exceed gross ({policy.gross:g}). Raise gross, or lower net.")


def require_number(name: str, value: Any, low: float, high: float) -> None:
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not number or not low <= value < np.inf or not value <= high:
        raise InputError(f"{name} must be a finite number of at least {low:g}, was {value!r}.")


def _of(policy: Any, mean: Any, covariance: Any, held: Any = None, per_year: float = 1.0) -> np.ndarray:
    """Check plain arrays and return the policy's weights; errors instead of records."""
    mean, covariance = np.asarray(mean, np.float64), np.asarray(covariance, np.float64)
    n = len(mean) if mean.ndim == 1 else 0
    if not n or covariance.shape != (n, n):
        raise InputError(
            f"mean and covariance must have shapes (n,) and (n, n), were {mean.shape} and {covariance.shape}."
        )
    if not np.isfinite(mean).all() or not np.isfinite(covariance).all():
        raise InputError("mean and covariance must be finite. Leave out symbols without a forecast.")
    held = np.zeros(n) if held is None else np.asarray(held, np.float64)
    target = getattr(policy, "target_risk", None)
    try:
        room = Room(0, 0, None, 0) if isinstance(policy, RiskParity) else room_of(policy, np.zeros(0))
        found = policy._best(mean, covariance, held, room, None if target is None else target / np.sqrt(per_year))
    except NoAnswer as error:
        raise InputError(f"{type(policy).__name__} has no weights: {error}.") from error
    return np.where(np.abs(found) < _DUST, 0.0, found)
