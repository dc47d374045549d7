"""What every policy shares: bounds, bands and overlapping books, and plain functions as policies."""

import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, ClassVar

import numpy as np

from ..errors import InputError
from ..forecast import Policy, View
from ..native import core
from .memory import Remembers, keep, require_keys, resume
from .reading import expected_returns

Step = Callable[[View], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Sizing:
    """What all policies share.

    Parameters
    ----------
    gross : float, default=1.0
        Largest sum of absolute weights, in (0, 1]; positions that are left alone (NaN) count, and targets give way.
    band : float, default=0.0
        A position is left alone while its target is less than this away from it. Closing is never put off.
    overlap : bool, default=True
        Run h overlapping books where forecasts look h bars ahead. False: the whole follows every forecast.
    """

    gross: float = 1.0
    band: float = 0.0
    overlap: bool = True
    WRAPS: ClassVar[bool] = False  # another policy, which runs the books

    def __post_init__(self) -> None:
        within(self, "gross", 0.0, 1.0, above=True)
        within(self, "band", 0.0, 1.0)
        for field in fields(self):
            if isinstance(field.default, bool) and not isinstance(value := getattr(self, field.name), bool):
                raise InputError(f"{type(self).__name__}.{field.name} must be True or False, was {value!r}.")
        self.check()

    def check(self) -> None:
        """Raise `InputError` where the arguments make no sense."""

    def sizer(self, symbols: tuple[str, ...]) -> Step:
        """Return the rule itself: raw weights of a view, NaN where it says nothing."""
        raise NotImplementedError

    def stepper(self, symbols: tuple[str, ...]) -> "SizedStep":
        """Return a fresh step from `View` to target weights."""
        return SizedStep(self, tuple(symbols))

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as a JSON-able mapping."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        plain = {k: v.to_dict() if isinstance(v, Policy) else v for k, v in given.items()}
        return {"kind": type(self).__name__, **plain}


class SizedStep:
    """A policy at work: ``step(view)`` gives target weights.

    Attributes
    ----------
    whole : bool
        Whether its weights are all there will be, so that what it leaves alone counts towards `gross`. Not inside a
        wrapper, which takes them for a shape and counts itself.
    """

    def __init__(self, policy: Sizing, symbols: tuple[str, ...]):
        self.policy, self.symbols, self.whole = policy, symbols, True
        self.gross, self.band = policy.gross, policy.band
        self.sizer = policy.sizer(symbols)
        self.books = _Books(len(symbols)) if policy.overlap and not policy.WRAPS else None

    def __call__(self, view: View) -> np.ndarray:
        """Return the target weights, float (n_symbols,)."""
        symbols, books = self.symbols, self.books
        if view.symbols is not symbols and view.symbols != symbols:
            raise InputError(f"This policy was started for {symbols[:5]}, and the view shows {view.symbols[:5]}.")
        target = view.forecast.target if view.forecast is not None else None
        with np.errstate(all="ignore"):  # absurd numbers end as NaN, which leaves a position alone
            weights = self.sizer(view)
            if books is not None and target is not None and target.horizon > 1:
                weights = books.renew(weights, target.horizon)
            weights = bounded(weights, self.gross, view.weights if self.whole else None)
            if self.band:
                near = (np.abs(weights - view.weights) < self.band) & (weights != 0.0)
                weights = np.where(near, np.nan, weights)
        return weights

    def snapshot(self) -> dict[str, Any]:
        """Return the memory as a JSON-able mapping; see `Resumable`."""
        named = {"kind": type(self.policy).__name__, "symbols": list(self.symbols)}
        return named | {"sizer": keep(self.sizer), "books": keep(self.books)}

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Take up a memory; `InputError` where it is of another policy or of other symbols."""
        require_keys(type(self.policy).__name__, kept, ("kind", "symbols", "sizer", "books"))
        own = type(self.policy).__name__, list(self.symbols)
        if (kept["kind"], kept["symbols"]) != own:
            raise InputError(
                f"The snapshot is of {kept['kind']} with {kept['symbols'][:5]}, and this is {own[0]} with {own[1][:5]}."
            )
        resume(self.sizer, kept["sizer"])
        resume(self.books, kept["books"])


class _Books(Remembers):
    """h overlapping portfolios, one renewed per decision; a symbol without a target keeps its place in the old one."""

    MEMORY = ("books", "slot")

    def __init__(self, n_symbols: int):
        self.n_symbols, self.slot = n_symbols, 0
        self.books = np.zeros((0, n_symbols))

    def renew(self, weights: np.ndarray, horizon: int) -> np.ndarray:
        """Put `weights` in the oldest book and return the mean of all, NaN where `weights` is."""
        if len(self.books) != horizon:
            self.books, self.slot = np.zeros((horizon, self.n_symbols)), 0
        silent = weights != weights
        self.books[self.slot] = np.where(silent, self.books[self.slot], weights)
        self.slot = (self.slot + 1) % horizon
        return np.where(silent, np.nan, self.books.mean(axis=0))


@dataclass(frozen=True)
class Rule:
    """A function of a view as a policy.

    Parameters
    ----------
    function : callable
        ``function(view)`` gives weights (n_symbols,), NaN to leave a position. Infinite ones count as NaN; weights
        beyond 1 are left to the limits. One that remembers earlier views should be an object with ``snapshot()`` and
        ``restore(kept)`` (`Resumable`); any other is taken to remember nothing.

    Examples
    --------
    >>> import numpy as np
    >>> from longshort.portfolio import view_of
    >>> Rule(lambda view: np.full(2, 0.5)).stepper(("A", "B"))(view_of(("A", "B")))
    array([0.5, 0.5])
    """

    function: Callable[[View], Any]

    def stepper(self, symbols: tuple[str, ...]) -> "RuleStep":
        """Return a fresh step from `View` to target weights."""
        return RuleStep(self.function, len(symbols))

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as a JSON-able mapping."""
        name = getattr(self.function, "__qualname__", type(self.function).__qualname__)
        return {"kind": "Rule", "function": f"{getattr(self.function, '__module__', '?')}.{name}"}


class RuleStep:
    """A function at work as a policy."""

    def __init__(self, function: Callable[[View], Any], n_symbols: int):
        self.function, self.n_symbols = function, n_symbols

    def __call__(self, view: View) -> np.ndarray:
        """Return the target weights, float (n_symbols,)."""
        weights = np.asarray(self.function(view), dtype=np.float64)
        if weights.shape != (self.n_symbols,):
            raise InputError(
                f"A policy must return one weight for each of the {self.n_symbols} symbols, shape "
                f"({self.n_symbols},); it returned shape {weights.shape}."
            )
        return weights if core.all_finite(weights) else np.where(np.isfinite(weights), weights, np.nan)

    def snapshot(self) -> dict[str, Any]:
        """Return the function's own memory, where it has one; see `Resumable`."""
        return {"function": keep(self.function)}

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Take up the function's own memory."""
        require_keys("Rule", kept, ("function",))
        resume(self.function, kept["function"])


def as_policy(policy: Any) -> Policy:
    """Return a policy as it is, and a function of a view as a policy.

    Examples
    --------
    >>> from longshort.portfolio import Sign
    >>> as_policy(Sign())
    Sign(gross=1.0, band=0.0, overlap=True, threshold=0.0)
    >>> as_policy(0.5)
    Traceback (most recent call last):
    ...
    longshort.errors.InputError: A policy is an object such as LongShort() or a function of a View; this was 0.5.
    """
    if isinstance(policy, Policy) and not isinstance(policy, type):
        return policy
    if callable(policy) and not isinstance(policy, type):
        return Rule(policy)
    made = f" Write {policy.__name__}()." if isinstance(policy, type) else ""
    raise InputError(f"A policy is an object such as LongShort() or a function of a View; this was {policy!r}.{made}")


def signals(view: View) -> np.ndarray:
    """Return what policies that need no more than an order go by, (n_symbols,), NaN where there is nothing to go by."""
    if view.forecast is None:
        return np.full(len(view.symbols), np.nan)
    return usable(view, expected_returns(view.forecast, scores=True))


def usable(view: View, values: np.ndarray) -> np.ndarray:
    """Return `values`, NaN where they are not finite or the symbol cannot be traded."""
    total = total_of(np.abs(values))
    if 0.0 <= total < 1e300 and not np.count_nonzero(view.state):
        return values
    return np.where(np.isfinite(values) & (np.abs(values) < 1e300) & (view.state == 0), values, np.nan)


def bounded(weights: np.ndarray, gross: float, held: np.ndarray | None = None) -> np.ndarray:
    """Return weights scaled down where their absolute sum, with what is held where they are NaN, is above `gross`."""
    size = np.abs(weights)
    total = total_of(size)
    if total != total:
        asked = size == size
        total = total_of(size[asked])
        if held is not None:
            kept = np.abs(held)
            gross = max(gross - total_of(kept[~asked & (kept < np.inf)]), 0.0)
    return weights if total <= gross else weights * (gross / total)


def total_of(size: np.ndarray) -> float:
    """Return the exact sum of non-negative numbers, whatever their order; NaN where one is, infinite past 1e308."""
    try:
        return math.fsum(size.tolist())
    except OverflowError:
        return math.inf


def within(policy: Any, name: str, low: float, high: float, above: bool = False) -> None:
    """Allow an argument only in [low, high], or (low, high] with `above`; None only where it is the default."""
    if getattr(policy, name) is None and getattr(type(policy), name, MISSING) is None:
        return
    value: Any = getattr(policy, name)
    good = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    good = good and bool(low <= value <= high) and not (above and value == low)
    if not good or (isinstance(low, int) and value != int(value)):
        kind = "a whole number" if isinstance(low, int) else "a number"
        span = f"{'(' if above else '['}{low:g}, {high:g}]"
        raise InputError(f"{type(policy).__name__}.{name} must be {kind} in {span}, was {value!r}.")
