"""`Limits` at work: one decision after the other, in the order of the list in `risk.py`."""

import math
from collections.abc import Callable, Mapping
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError, UnknownName, did_you_mean
from ..forecast import Refusal, View
from .caps import SLACK, Capped, added, cap_added, cap_gross, cap_net, cap_squares, net_of
from .diversification import effective_bets
from .exits import Exits
from .memory import Remembers, keep, require_keys, resume
from .rules import total_of
from .silence import Silence

if TYPE_CHECKING:
    from .risk import Limits

TINY = 1e-12  # a weight this far over a bound is rounding


class LimitsAtWork:
    """What `Limits.stepper` returns: `weights` and `levels`, once per decision.

    Parameters
    ----------
    limits : Limits
        The bounds.
    symbols : tuple of str
        Columns of every view.

    Attributes
    ----------
    breaker : Breaker
        Drawdown and daily loss.
    exits : Exits or None
        Stops and targets; None where there is no such rule.
    silence : Silence
        Bars for which nothing was said of each symbol.
    bracket : callable or None
        ``bracket(column, entry_price, side)`` gives stop and target of a position opened since the last decision. They
        protect it in that bar; from its close on `levels` does.
    """

    def __init__(self, limits: "Limits", symbols: tuple[str, ...]):
        self.limits, self.symbols = limits, symbols
        self.breaker = Breaker(limits)
        self.exits = Exits(limits, len(symbols)) if limits.has_exits() else None
        self.bracket: Callable[[int, float, int], tuple[float, float]] | None = (
            None if self.exits is None else self.exits.bracket
        )
        self.silence = Silence(len(symbols), limits.max_silence)
        self._restricted = _sides(limits, symbols)
        self._sectors = _sectors(limits, symbols)
        bets = limits.max_gross / math.sqrt(limits.min_effective_bets)
        least = [limits.max_gross, limits.max_net, limits.max_leverage, limits.max_turnover, bets]
        self._harmless = min([*least, limits.max_sector] if self._sectors else least) * SLACK
        self._position = limits.max_position * SLACK
        self._always = self._restricted is not None or limits.min_independent_bets > 1.0
        self._told: Fault | None = None  # what opened the breaker, once it has been refused for

    def weights(self, view: View, targets: np.ndarray) -> tuple[np.ndarray, list[Refusal]]:
        """Return what is allowed of `targets`, NaN where the position is left as it is, and what was refused.

        Parameters
        ----------
        view : View
            The decision.
        targets : float array (n_symbols,)
            Asked weights, fractions of equity; NaN leaves a position as it is.
        """
        if view.symbols is not self.symbols and view.symbols != self.symbols:
            raise InputError(f"Limits were started for {self.symbols[:5]}, and the view shows {view.symbols[:5]}.")
        if len(targets) != len(self.symbols):
            raise InputError(
                f"Expected one target for each of the {len(self.symbols)} symbols, there were {len(targets)}."
            )
        fault = self.breaker.observe(view)
        self.silence.observe(view, targets)
        if self.exits is not None:
            self.exits.observe(view)
        if fault is None:
            if self._pass(view, targets):
                return targets, []
        elif fault is self._told and self._flat(view, targets):
            return targets * 0.0 + 0.0, []
        with np.errstate(all="ignore"):
            return self._limited(view, targets, fault)

    def levels(self, view: View) -> tuple[np.ndarray, np.ndarray] | None:
        """Return raw prices at which open positions are closed: stops and targets, NaN for none; None: no such rule.

        Both may be placed as resting orders, one cancelling the other, until the next decision.
        """
        if self.exits is None:
            return None
        self.exits.observe(view)
        return self.exits.stop, self.exits.target

    def expect_forecasts(self) -> None:
        """Count silence from the first bar on: there is a forecaster, even if it never says a word."""
        self.silence.heard = True

    def reset(self) -> None:
        """Close an open breaker by hand. Drawdown is measured anew from the equity of the next decision."""
        self.breaker = Breaker(self.limits)

    def snapshot(self) -> dict[str, Any]:
        """Return peaks, entries, waits and open breakers as a JSON-able mapping; see `Resumable`."""
        return {
            "symbols": list(self.symbols),
            "breaker": self.breaker.snapshot(),
            "told": self.breaker.name_of(self._told),
            "exits": keep(self.exits),
            "silence": self.silence.snapshot(),
        }

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Take up a snapshot of limits with the same rules for the same symbols; their numbers may differ."""
        require_keys("Limits", kept, ("symbols", "breaker", "told", "exits", "silence"))
        if kept["symbols"] != list(self.symbols):
            raise InputError(f"The snapshot is of {kept['symbols'][:5]}, and these limits are for {self.symbols[:5]}.")
        if (kept["exits"] is None) != (self.exits is None):
            there = "no" if kept["exits"] is None else "some"
            raise InputError(f"The snapshot is of limits with {there} exits. Restore it, then change the limits.")
        self.breaker.restore(kept["breaker"])
        resume(self.exits, kept["exits"])
        self.silence.restore(kept["silence"])
        self._told = self.breaker.named(kept["told"])

    def _pass(self, view: View, targets: np.ndarray) -> bool:
        """Return whether all is so small and so complete that no limit can have anything to say."""
        if self._always or not self._calm(view):
            return False
        asked = targets == targets
        size = np.abs(np.where(asked, targets, view.weights))
        total = total_of(size)  # NaN or infinite where anything is; no cap can be over where all together are not
        if not (total <= self._harmless and (total <= self._position or size.max() <= self._position)):
            return False
        if not total_of(np.abs(view.weights)) < math.inf:
            return False
        return _tradable(view, asked)

    def _flat(self, view: View, targets: np.ndarray) -> bool:
        """Return whether nothing is held any more and, the breaker being open, nothing else has anything to say."""
        if self.limits.on_breach != "flat" or np.count_nonzero(view.weights) or not self._calm(view):
            return False
        return not np.count_nonzero(np.isinf(targets)) and _tradable(view, targets == targets)

    def _calm(self, view: View) -> bool:
        quiet = self.silence.over is None and (self.exits is None or self.exits.quiet)
        return quiet and -math.inf < view.equity < math.inf

    def _limited(self, view: View, targets: np.ndarray, fault: "Fault | None") -> tuple[np.ndarray, list[Refusal]]:
        work = Work(view, targets)
        _inputs(work)
        if fault is not None:
            told = _open_breaker(work, fault, self.limits.on_breach)
            self._told = fault if told else self._told
        if self.exits is not None:
            _exit(work, self.exits, self.limits)
        if self.silence.over is not None:
            _close_silent(work, self.silence.over, self.silence.bars, self.limits.max_silence)
        if self._restricted is not None:
            _restrict(work, *self._restricted)
        _position(work, self.limits)
        limits = self.limits
        for name, inside in self._sectors:
            _sector(work, name, inside, limits)
        name = "max_gross" if limits.max_gross <= limits.max_leverage else "max_leverage"
        cap = min(limits.max_gross, limits.max_leverage)
        work.portfolio(name, total_of(np.abs(work.w)), cap, cap_gross(work.w, work.kept, cap, limits.band))
        if limits.min_effective_bets > 1.0:
            _bets(work, limits)
        more = added(work.w, work.held)
        cap = limits.max_turnover
        work.portfolio("max_turnover", more, cap, cap_added(work.w, work.kept, work.held, cap))
        _net(work, limits)
        if limits.min_independent_bets > 1.0 and _independent(work, limits.min_independent_bets):
            _net(work, limits)
        return np.where(work.kept, np.nan, work.w) + 0.0, work.refused  # no -0.0


def _tradable(view: View, asked: np.ndarray) -> bool:
    """Return whether every symbol that something is asked of has a price and is open."""
    good = (view.price > 0.0) & (view.price < math.inf) & (view.state == 0)
    return not np.count_nonzero(asked & ~good)


Fault = tuple[str, float, float]  # limit, the number that broke, its bound


class Breaker(Remembers):
    """Drawdown and daily loss, counted on equity, so on realised and unrealised results alike."""

    MEMORY = ("_time", "_session", "_peak", "_start", "_last", "_drawdown", "_day")

    def __init__(self, limits: "Limits"):
        self._limits = limits
        self._time: int | None = None
        self._session: int | None = None
        self._peak = self._start = self._last = -math.inf
        self._drawdown: Fault | None = None
        self._day: Fault | None = None

    def observe(self, view: View) -> Fault | None:
        """Take the equity of a decision, return what holds the breaker open; one that is not finite changes nothing."""
        equity = view.equity
        if view.time != self._time and -math.inf < equity < math.inf:
            self._time = view.time
            if view.session != self._session:
                self._session, self._day = view.session, None
                self._start = equity if self._last == -math.inf else self._last
            self._last, self._peak = equity, max(self._peak, equity)
            if self._drawdown is None:
                fall = _fall(equity, self._peak)
                if not fall <= self._limits.max_drawdown * SLACK:
                    self._drawdown = ("max_drawdown", fall, self._limits.max_drawdown)
            fall = _fall(equity, self._start)
            if self._day is None and not fall <= self._limits.max_daily_loss * SLACK:
                self._day = ("max_daily_loss", fall, self._limits.max_daily_loss)
        return self._drawdown or self._day

    def name_of(self, fault: Fault | None) -> str | None:
        """Return the name of a fault that holds it open now; None for any other."""
        return next((one[0] for one in (self._drawdown, self._day) if one is not None and one is fault), None)

    def named(self, name: str | None) -> Fault | None:
        """Return what holds it open under a name."""
        return next((one for one in (self._drawdown, self._day) if one is not None and one[0] == name), None)


def _fall(equity: float, before: float) -> float:
    return 1.0 - equity / before if before > 0 else math.inf


class Work:
    """One decision on its way through the list.

    Attributes
    ----------
    w : float array (n_symbols,)
        Full weights: targets, and what is held where there is none.
    kept : bool array (n_symbols,)
        Positions left as they are.
    held : float array (n_symbols,)
        Weights of the positions, 0 where unknown.
    unknown : bool array (n_symbols,)
        Positions whose weight is not a finite number.
    refused : list of Refusal
        So far.
    """

    def __init__(self, view: View, targets: np.ndarray):
        self.view, self.targets = view, targets
        self.unknown = ~np.isfinite(view.weights) & ~(view.shares == 0)
        self.held = np.where(np.isfinite(view.weights), view.weights, 0.0)
        self.kept = ~np.isfinite(targets)
        self.w = np.where(self.kept, self.held, targets)
        self.refused: list[Refusal] = []

    def refuse(self, limit: str, symbol: str | None, value: float, bound: float, asked: float, allowed: float) -> None:
        """Record what was not allowed."""
        time = self.view.time
        self.refused.append(Refusal(time, limit, symbol, float(value), float(bound), float(asked), float(allowed)))

    def confine(
        self, low: np.ndarray | float, high: np.ndarray | float, forced: bool = False
    ) -> list[tuple[int, float]]:
        """Bring targets into [low, high] (with `forced` what is kept too); return where, and what was there before."""
        outside = ~((self.w >= low - TINY) & (self.w <= high + TINY))
        if not forced:
            outside &= ~self.kept
        if not np.count_nonzero(outside):
            return []
        before = self.w
        self.w = np.where(outside, np.clip(self.w, low, high), self.w)
        self.kept = self.kept & ~outside
        return [(int(j), float(before[j])) for j in np.flatnonzero(outside)]

    def reduce_only(self, where: np.ndarray | bool) -> list[tuple[int, float]]:
        """Let targets only reduce what is held."""
        low = np.where(where, np.minimum(self.held, 0.0), -np.inf)
        return self.confine(low, np.where(where, np.maximum(self.held, 0.0), np.inf))

    def portfolio(self, limit: str, value: float, bound: float, capped: Capped) -> None:
        """Take over what a cap on the whole left, and record it where it changed anything."""
        w, kept = capped
        if w is not self.w:
            self.refuse(limit, None, value, bound, total_of(np.abs(self.w)), total_of(np.abs(w)))
            self.w, self.kept = w, kept


def _inputs(work: Work) -> None:
    """Open nothing where a number is missing: everywhere if it is equity or a position, else in that symbol."""
    view = work.view
    for j in np.flatnonzero(np.isinf(work.targets)):
        work.refuse("inputs", view.symbols[j], work.targets[j], math.inf, work.targets[j], work.held[j])
    bad_price = ~((view.price > 0) & (view.price < math.inf))
    for j, asked in work.reduce_only(bad_price | (view.state != 0)):
        value, bound = (view.price[j], math.inf) if bad_price[j] else (view.state[j], 0)
        work.refuse("inputs", view.symbols[j], value, bound, asked, work.w[j])
    blind = [] if -math.inf < view.equity < math.inf else [(None, view.equity)]
    blind += [(view.symbols[j], view.weights[j]) for j in np.flatnonzero(work.unknown)]
    if blind:
        before = total_of(np.abs(work.w))
        if work.reduce_only(True):
            for symbol, value in blind:
                work.refuse("inputs", symbol, value, math.inf, before, total_of(np.abs(work.w)))


def _open_breaker(work: Work, fault: Fault, on_breach: str) -> bool:
    """Close everything, or allow reductions only; return whether that changed anything."""
    limit, value, bound = fault
    before = total_of(np.abs(work.w))
    if on_breach == "flat":
        work.kept = work.kept & (work.held == 0) & ~work.unknown
        changed = bool(work.confine(0.0, 0.0)) or bool(np.count_nonzero(work.unknown))
    else:
        changed = bool(work.reduce_only(True))
    if changed:
        work.refuse(limit, None, value, bound, before, total_of(np.abs(work.w)))
    return changed


def _exit(work: Work, exits: Exits, limits: "Limits") -> None:
    view = work.view
    for j, rule, value, bound in exits.why:
        work.refuse(rule, view.symbols[j], value, bound, work.w[j], 0.0)
    if exits.why:
        work.w = np.where(exits.close, 0.0, work.w)
        work.kept = work.kept & ~exits.close
    if limits.atr_stop is not None:
        for j, asked in work.reduce_only(exits.unready):
            work.refuse("atr_stop", view.symbols[j], math.nan, limits.atr_stop, asked, work.w[j])
    for j, asked in work.reduce_only(exits.astray):
        work.refuse("inputs", view.symbols[j], view.entry_price[j], math.inf, asked, work.w[j])
    if np.count_nonzero(exits.blocked):
        high = np.where(exits.blocked & (exits.blocked_side > 0), np.maximum(work.held, 0.0), np.inf)
        low = np.where(exits.blocked & (exits.blocked_side < 0), np.minimum(work.held, 0.0), -np.inf)
        for j, asked in work.confine(low, high):
            work.refuse("cooldown", view.symbols[j], exits.waits[j], 0, asked, work.w[j])


def _close_silent(work: Work, over: np.ndarray, bars: np.ndarray, most: int) -> None:
    """Close what is held and nobody speaks of, where it can be traded."""
    closing = over & work.kept & ((work.held != 0) | ~(work.view.shares == 0)) & (work.view.state == 0)
    for j in np.flatnonzero(closing):
        work.refuse("max_silence", work.view.symbols[j], bars[j], most, work.held[j], 0.0)
    work.w = np.where(closing, 0.0, work.w)
    work.kept = work.kept & ~closing


def _restrict(work: Work, no_long: np.ndarray, no_short: np.ndarray) -> None:
    high = np.where(no_long, np.maximum(work.held, 0.0), np.inf)
    low = np.where(no_short, np.minimum(work.held, 0.0), -np.inf)
    for j, asked in work.confine(low, high):
        bound = high[j] if asked > high[j] else low[j]
        work.refuse("restricted", work.view.symbols[j], asked, bound, asked, work.w[j])


def _position(work: Work, limits: "Limits") -> None:
    cap = limits.max_position
    drifted = work.kept & (np.abs(work.w) > cap * (1.0 + limits.band) * SLACK)
    work.kept = work.kept & ~drifted
    for j, asked in work.confine(-cap, cap):
        work.refuse("max_position", work.view.symbols[j], abs(asked), cap, asked, work.w[j])


def _sector(work: Work, name: str, inside: np.ndarray, limits: "Limits") -> None:
    total = total_of(np.abs(work.w[inside]))
    if total <= limits.max_sector * SLACK:
        return
    before = work.w[inside]
    part, kept = cap_gross(before, work.kept[inside], limits.max_sector, limits.band)
    if part is not before:
        w, all_kept = work.w.copy(), work.kept.copy()
        w[inside], all_kept[inside] = part, kept
        work.portfolio(f"max_sector {name}", total, limits.max_sector, (w, all_kept))


def _bets(work: Work, limits: "Limits") -> None:
    budget = limits.max_gross**2
    squares = total_of(work.w * work.w)
    capped = cap_squares(work.w, work.kept, budget / limits.min_effective_bets, limits.band)
    value = budget / squares if squares > 0 else math.inf
    work.portfolio("min_effective_bets", value, limits.min_effective_bets, capped)


def _net(work: Work, limits: "Limits") -> None:
    cap = limits.max_net
    work.portfolio("max_net", net_of(work.w), cap, cap_net(work.w, work.kept, cap, limits.band))


def _independent(work: Work, least: float) -> bool:
    """Allow additions only to a portfolio of enough uncorrelated sources of risk; return whether any was not."""
    row = work.view.forecast
    covariance = None if row is None else row.covariance
    held, bets = work.w != 0.0, math.nan
    if covariance is not None and np.isfinite(covariance[np.ix_(held, held)]).all():
        bets = effective_bets(work.w, covariance)
    before = total_of(np.abs(work.w))
    if bets >= least / SLACK or not work.reduce_only(True):
        return False
    work.refuse("min_independent_bets", None, bets, least, before, total_of(np.abs(work.w)))
    return True


def _sides(limits: "Limits", symbols: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the symbols that may not be held long, and those not short; None where none is restricted."""
    said = limits.restricted_sides()
    _require_known(said, symbols, limits.restricted_elsewhere)
    if not said.keys() & set(symbols):
        return None
    no_long = np.array([said.get(symbol) in ("long", "both") for symbol in symbols])
    return no_long, np.array([said.get(symbol) in ("short", "both") for symbol in symbols])


def _require_known(names: Mapping[str, str], symbols: tuple[str, ...], elsewhere: bool) -> None:
    """Raise `UnknownName` for restricted names that restrict nothing: a typo, or another way to write a symbol."""
    known = set(symbols)
    absent = [name for name in names if name not in known]
    if elsewhere:
        free = {_letters(symbol): symbol for symbol in symbols if symbol not in names}
        alike = [(name, free[_letters(name)]) for name in absent if _letters(name) in free]
        if alike:
            name, symbol = alike[0]
            raise UnknownName(
                f"Limits.restricted names {name!r}, which is {symbol!r} here and would stay free. Add it."
            )
    elif absent:
        raise UnknownName(
            f"Limits.restricted names {len(absent)} symbols that are not here and would restrict nothing, such as "
            f"{absent[0]!r}. {did_you_mean(absent[0], symbols)} A list for more than these symbols needs "
            "restricted_elsewhere=True."
        )


def _letters(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def _sectors(limits: "Limits", symbols: tuple[str, ...]) -> list[tuple[str, np.ndarray]]:
    if limits.sectors is None:
        return []
    unknown = [symbol for symbol in symbols if symbol not in limits.sectors]
    if unknown:
        advice = did_you_mean(unknown[0], [name for name in limits.sectors if name not in symbols])
        raise UnknownName(
            f"Limits.sectors has no sector for {len(unknown)} symbols: {', '.join(unknown[:5])}. {advice}"
        )
    names = sorted({limits.sectors[symbol] for symbol in symbols})
    for one, other in combinations(names, 2):
        if _letters(one) == _letters(other):
            raise InputError(f"Limits.sectors has {one!r} and {other!r}, each with a cap of its own. Write both alike.")
    return [(name, np.array([limits.sectors[symbol] == name for symbol in symbols])) for name in names]
