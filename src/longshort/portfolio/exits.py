"""When an open position is closed whatever the policy says: stop-loss, take-profit, trailing, ATR and time stops.

Levels are raw prices, in today's shares. What is remembered from earlier bars (the best price since entry, the distance
of an ATR stop) is rescaled by the part of a price change that was no return: a split halves a level with the price, and
an ordinary dividend lowers it by as much, as exchanges do with resting stop orders.
"""

from typing import TYPE_CHECKING

import numpy as np

from ..forecast import View
from .memory import Remembers
from .volatility import TrueRange, rescaled

if TYPE_CHECKING:
    from .risk import Limits


class Exits(Remembers):
    """The exits of `Limits` at work: one `observe` per decision, then levels and what must be closed.

    Attributes
    ----------
    close : bool array (n_symbols,)
        Positions that must be closed now.
    why : list of (int, str, float, float)
        What closed them: symbol's column, rule, the number and the level it reached.
    stop, target : float array (n_symbols,)
        Raw prices, NaN for none.
    blocked : bool array (n_symbols,)
        Symbols that may not be entered again on `blocked_side` (-1, 1) yet.
    unready : bool array (n_symbols,)
        Symbols whose true range is not known yet: nothing may be opened or added.
    astray : bool array (n_symbols,)
        Positions without an entry price: nothing may be added.
    """

    MEMORY = (
        "stop", "target", "close", "why", "blocked_side", "unready", "astray", "quiet", "_levels", "_closing", "_wait",
        "_side", "_age", "_best", "_last", "_distance", "_ratchet", "_ranges", "_opened", "_time", "_open",
    )  # fmt: skip

    def __init__(self, limits: "Limits", n_symbols: int):
        self._limits = limits
        nan, self._ones = np.full(n_symbols, np.nan), np.ones(n_symbols)
        self.stop, self.target, self._levels = nan, nan, {}
        self.close = self.unready = self.astray = self._closing = self._none = np.zeros(n_symbols, dtype=bool)
        self.why: list[tuple[int, str, float, float]] = []
        self.blocked_side = np.zeros(n_symbols)
        self._wait = np.zeros(n_symbols, dtype=np.int64)
        self._side = np.zeros(n_symbols)
        self._age = np.zeros(n_symbols, dtype=np.int64)
        self._best, self._last, self._distance, self._ratchet = nan, nan, nan, nan
        self._ranges = TrueRange(n_symbols, limits.atr_window) if limits.atr_stop is not None else None
        self._remembers = limits.trailing_stop is not None or limits.atr_stop is not None
        self._opened: dict[int, tuple[int, float, float]] = {}  # since the last decision
        self._time: int | None = None
        self._open = False
        self.quiet = True

    @property
    def waits(self) -> np.ndarray:
        """Decisions for which a symbol is still blocked, this one included."""
        return self._wait

    @property
    def blocked(self) -> np.ndarray:
        """Symbols that may not be entered again yet."""
        return self._wait > 0

    def observe(self, view: View) -> None:
        """Take the bar of a view; a second time at the same moment changes nothing."""
        if view.time == self._time:
            return
        self._time = view.time
        with np.errstate(all="ignore"):
            self._observe(view)

    def _observe(self, view: View) -> None:
        if self._ranges is not None:
            self._ranges.update(view)
            self.unready = np.isnan(self._ranges.atr)
        held = bool(np.count_nonzero(view.shares))
        if held or self._open or np.count_nonzero(self._wait):
            self._follow(view)
        elif self.why:
            self.close, self.why, self.astray = self._none, [], self._none
        if self._opened:
            self._note_gone_again(view)
        self._last = np.where((view.price > 0) & (view.price < np.inf), view.price, self._last)
        self._open = held
        held_back = any(np.count_nonzero(which) for which in (self._wait, self.unready, self.astray))
        self.quiet = not (held_back or self.why)

    def _follow(self, view: View) -> None:
        side = np.sign(view.shares)
        if np.count_nonzero(side != side):
            side = np.where(side == side, side, self._side)
        if np.count_nonzero(self._wait):
            self._wait = np.maximum(self._wait - 1, 0)
        new = side != self._side
        changed = bool(np.count_nonzero(new))
        scale = rescaled(view, self._last) if changed or self._levels or self._remembers else self._ones
        under_way = self._under_way(view, (side != 0) & ~new, scale)
        if changed:
            gone = (self._side != 0) & new & ~self._closing
            self._note_touched(view, gone, scale)
        self._age = np.where(new, 0, self._age) + (side != 0)
        self._side = side
        self._place(view, new, scale)
        self._trigger(view, under_way)
        self._closing = self.close

    def _under_way(self, view: View, there: np.ndarray, scale: np.ndarray) -> list[tuple[int, str, float, float]]:
        """Return the exits of positions that are still there: an exit goes on until nothing is left of its position.

        It began with the decision before, or within the bar with a resting stop that thin volume filled in part.
        """
        found = [one for one in self.why if there[one[0]]]
        if self._levels:
            level = self.stop * scale
            worst = np.where(self._side > 0, np.fmin(view.low, view.price), np.fmax(view.high, view.price))
            reached = there & (self._side * (worst - level) <= 0)
            if np.count_nonzero(reached):
                known = {one[0] for one in found}
                more = [j for j in np.flatnonzero(reached).tolist() if j not in known]
                found += [(j, self.rule_of(j), float(worst[j]), float(level[j])) for j in more]
        return found

    def _note_touched(self, view: View, gone: np.ndarray, scale: np.ndarray) -> None:
        """Start the wait where a position went away in a bar that touched its levels: a resting order closed it."""
        up, down = np.fmax(view.high, view.price), np.fmin(view.low, view.price)
        worst, best = np.where(self._side > 0, down, up), np.where(self._side > 0, up, down)
        hit = self._side * (worst - self.stop * scale) <= 0
        hit |= self._side * (best - self.target * scale) >= 0
        self._start_wait(gone & hit, self._limits.cooldown)

    def _note_gone_again(self, view: View) -> None:
        """Start the wait where a position was opened and closed within the bar, which touched its bracket."""
        for j, (side, stop, target) in self._opened.items():
            worst, best = (view.low[j], view.high[j]) if side > 0 else (view.high[j], view.low[j])
            touched = side * (worst - stop) <= 0 or side * (best - target) >= 0
            if touched and not view.shares[j] * side > 0:
                gone = np.arange(len(view.shares)) == j
                self._wait = np.where(gone, self._limits.cooldown, self._wait)
                self.blocked_side = np.where(gone, side, self.blocked_side)
        self._opened = {}

    def _start_wait(self, which: np.ndarray, bars: int) -> None:
        self._wait = np.where(which, bars, self._wait)
        self.blocked_side = np.where(which, self._side, self.blocked_side)

    def _place(self, view: View, new: np.ndarray, scale: np.ndarray) -> None:
        """Move all levels to this bar."""
        limits, side = self._limits, self._side
        held = side != 0
        known = held & (view.entry_price > 0) & (view.entry_price < np.inf)
        entry = np.where(known, view.entry_price, np.nan)
        self.astray = held & ~known
        levels: dict[str, np.ndarray] = {}
        if limits.stop_loss is not None:
            levels["stop_loss"] = entry * (1.0 - side * limits.stop_loss)
        if self._remembers:
            self._best = self._best_since(view, entry, new, scale)
        if limits.trailing_stop is not None:
            levels["trailing_stop"] = self._best * (1.0 - side * limits.trailing_stop)
        if self._ranges is not None:
            level = self._atr_level(entry, new, scale)
            levels["atr_stop"] = np.where(level > 0, level, np.nan)
        self._levels = levels
        self.stop = self._tightest(list(levels.values()))
        if limits.take_profit is not None:
            target = entry * (1.0 + side * limits.take_profit)
            self.target = np.where(target > 0, target, np.nan)

    def _tightest(self, levels: list[np.ndarray]) -> np.ndarray:
        """Return the highest level of longs, the lowest of shorts."""
        if not levels:
            return np.full(len(self._side), np.nan)
        tightest = levels[0]
        for level in levels[1:]:
            tightest = self._side * np.fmax(self._side * tightest, self._side * level)
        return tightest

    def _best_since(self, view: View, entry: np.ndarray, new: np.ndarray, scale: np.ndarray) -> np.ndarray:
        """Return the best price since entry, highs and lows of later bars included (the first bar began before it)."""
        side = self._side
        price = np.where((view.price > 0) & (view.price < np.inf), view.price, np.nan)
        extreme = np.where(side > 0, view.high, view.low)
        extreme = np.where(np.isfinite(extreme) & (extreme > 0) & ~new, extreme, price)
        best = np.where(new, entry, self._best * scale)
        return np.where(side != 0, side * np.fmax(side * best, side * extreme), np.nan)

    def _atr_level(self, entry: np.ndarray, new: np.ndarray, scale: np.ndarray) -> np.ndarray:
        """Return the level so many ranges from entry, or trailing so many from the best price, never backwards."""
        if self._ranges is None or self._limits.atr_stop is None:
            return np.full(len(entry), np.nan)
        now = self._limits.atr_stop * self._ranges.atr
        if self._limits.atr_trailing:
            before = np.where(new, np.nan, self._ratchet * scale)
            self._ratchet = self._side * np.fmax(self._side * before, self._side * (self._best - self._side * now))
            return np.where(self._side != 0, self._ratchet, np.nan)
        kept = np.where(new, np.nan, self._distance * scale)
        self._distance = np.where(np.isfinite(kept), kept, now)
        return entry - self._side * self._distance

    def _trigger(self, view: View, under_way: list[tuple[int, str, float, float]]) -> None:
        """Find the positions to close at this bar's end, beside those whose exit is under way."""
        limits, side = self._limits, self._side
        found: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
        for name, level in self._levels.items():
            found[name] = (side * (view.price - level) <= 0, view.price, level)
        if limits.take_profit is not None:
            found["take_profit"] = (side * (view.price - self.target) >= 0, view.price, self.target)
        if limits.time_stop is not None:
            bound = np.full(len(side), float(limits.time_stop))
            found["time_stop"] = (self._age >= limits.time_stop, self._age.astype(float), bound)
        self.close, self.why = self._none, []
        for name, (hit, value, bound) in found.items():  # a level is NaN and an age 0 where nothing is held
            if np.count_nonzero(hit):
                hit = hit & ~self.close
                self.close = self.close | hit
                self.why += [(int(j), name, float(value[j]), float(bound[j])) for j in np.flatnonzero(hit)]
        more = [one for one in under_way if not self.close[one[0]]]
        if more:
            self.why += more
            self.close = self.close | np.isin(np.arange(len(side)), [one[0] for one in more])
        if self.why:
            self._start_wait(self.close, limits.cooldown + 1)

    def rule_of(self, j: int) -> str:
        """Return the name of the rule that sets the stop of symbol j."""
        for name, level in self._levels.items():
            if level[j] == self.stop[j]:
                return name
        return ""

    def bracket(self, j: int, entry_price: float, side: int) -> tuple[float, float]:
        """Return stop and target of a position in symbol j just opened at `entry_price`, NaN for none.

        For the rest of the bar, until `observe` sees the position.
        """
        limits = self._limits
        stops = [entry_price * (1.0 - side * f) for f in (limits.stop_loss, limits.trailing_stop) if f is not None]
        if self._ranges is not None and limits.atr_stop is not None:
            stops.append(entry_price - side * limits.atr_stop * float(self._ranges.atr[j]))
        known = [stop for stop in stops if stop > 0]
        stop = float("nan") if not known else max(known) if side > 0 else min(known)
        target = float("nan") if limits.take_profit is None else entry_price * (1.0 + side * limits.take_profit)
        target = target if target > 0 else float("nan")
        self._opened[j] = (side, stop, target)
        return stop, target
