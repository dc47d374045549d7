"""The trader: events in, orders out. The one decision loop, in backtests, on paper and live.

`Trader.on` is a fold: it reads no clock, does no input or output, and its orders depend on nothing but the events it
was given. At the close of every bar::

    View -> policy -> target weights -> limits -> allowed weights -> difference to what is held, in whole lots -> orders
                                     -> levels -> a stop and a target beside every position, one cancelling the other

`play` ties a trader to a simulated broker.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import inf, nan
from typing import Any

import numpy as np

from .._orders.units import require_between
from ..errors import CausalityError, InputError
from ..forecast import Brackets, HearsForecasts, Policy, Refusal, View
from ..native import core
from ..orders import (
    MICRO,
    OPEN,
    Account,
    BookEvent,
    Cancel,
    Ended,
    Fill,
    Instrument,
    MarketEvent,
    Money,
    Order,
    Posting,
    Shares,
)
from ..portfolio import as_policy
from ..portfolio.risk import CLOSES
from .broker import News
from .protection import Levels, Protection
from .simulated import SimulatedBroker
from .sources import Source

Event = MarketEvent | BookEvent | News


class Trader:
    """A strategy at work.

    Parameters
    ----------
    strategy : object with ``policy`` and ``limits``, or a policy, or a function of a `View`
        What to do.
    symbols : sequence of str or Instrument
        Columns of every event.
    forecasts : callable, optional
        ``source(event) -> ForecastRow or None``; without one `View.forecast` is always None.
    account : Account, float or Money, default=100_000.0
        What it begins with; fills and postings change it.
    bars_per_year : float, default=252.0
        Told to the policy; a backtest says ``clock.bars_per_year(bar_size, calendar)``.
    until : int, optional
        UTC nanoseconds after which it decides nothing: a backtest ends with a row that only fills.

    Attributes
    ----------
    orders, refusals : list
        Everything it has sent and refused.

    Examples
    --------
    >>> trader = Trader(lambda view: np.array([0.5]), ["KO"], account=10_000)
    >>> trader.on(MarketEvent("close", 0, 0, np.zeros(1, np.uint8), close=np.array([50.0])))
    [Order(0.0: buy 100 KO, market, day)]
    """

    def __init__(
        self,
        strategy: Any,
        symbols: "Sequence[str | Instrument]",
        forecasts: Source | None = None,
        account: "Account | Money | float" = 100_000.0,
        bars_per_year: float = 252.0,
        until: int | None = None,
    ):
        require_between("bars_per_year", bars_per_year, 1e-9, 1e12)
        if not (forecasts is None or callable(forecasts)):
            raise InputError(f"forecasts must be a source such as Recorded(forecast), was {forecasts!r}.")
        if not (until is None or type(until) is int):
            raise InputError(f"until must be UTC nanoseconds, was {until!r}.")
        self.account = account if isinstance(account, Account) else Account(account, symbols)
        self.symbols, self.forecasts, self.bars_per_year = self.account.symbols, forecasts, bars_per_year
        self.strategy, self.until = strategy, until
        require_columns("Forecasts", getattr(forecasts, "symbols", None), self.symbols)
        policy, limits = parts_of(strategy)
        self._policy = policy.stepper(self.symbols)
        self._limits = None if limits is None else limits.stepper(self.symbols)
        self._bracket = self._limits.bracket if isinstance(self._limits, Brackets) else None
        if forecasts is not None and isinstance(self._limits, HearsForecasts):
            self._limits.expect_forecasts()
        self.orders: list[Order] = []
        self.refusals: list[Refusal] = []
        self.equity_micro = self.account.cash_micro
        n = len(self.symbols)
        self._mark, self._nothing, self._unseen = np.zeros(n), np.full(n, np.nan), True
        self._left: dict[str, int] = {}  # what is open of every order sent
        self._waiting: dict[int, str] = {}  # column -> the policy's order that is open
        self._resting: dict[int, Protection] = {}  # column -> stop and target beside the position
        self._begun = False  # whether the opening of the bar under way was seen
        self._closed = -(2**63)  # time of the last close
        self._fresh: list[int] = []  # columns filled since the last market event
        self._place = np.argsort(np.argsort(np.array(self.symbols, dtype=object)))  # orders go by name

    def on(self, event: Event) -> "list[Order | Cancel]":
        """Take in an event; return what to send, in order (cancellations first)."""
        if isinstance(event, Fill):
            self._filled(event)
        elif isinstance(event, MarketEvent):
            if not event.time > self._closed:
                raise CausalityError(
                    f"Market events must come in order of time: after the close at {self._closed} came the "
                    f"{event.kind} of {event.time}. Drop what a feed repeats."
                )
            if not self._begun and (event.split is not None or event.dividend is not None):
                self._adjust(event)
            self._begun = event.kind == OPEN
            if self._begun:
                return self._opened(event)
            self._closed = event.time
            return self._decide(event)
        elif isinstance(event, Posting):
            self.account.apply(event)
        elif isinstance(event, Ended):
            self._left.pop(event.order, None)
        elif isinstance(event, Refusal):
            self.refusals.append(event)
        elif not isinstance(event, BookEvent):
            raise InputError(f"A trader takes market events and what brokers report, was {event!r}.")
        return []

    def _adjust(self, event: MarketEvent) -> None:
        """Follow what a split or a dividend does to the last prices and to those of orders that rest at the broker."""
        if event.split is not None:
            self._mark /= event.split
        for column, found in self._resting.items():
            ratio = 1.0 if event.split is None else float(event.split[column])
            paid = 0.0 if event.dividend is None else float(event.dividend[column])
            if ratio != 1.0 or paid:
                stop, goal = (nan if price is None else float(price) / ratio for price in found.prices)
                if found.lots > 0:
                    stop -= paid
                else:
                    goal -= paid
                found.prices = self._prices(column, found.lots, stop, goal)

    @property
    def marks(self) -> np.ndarray:
        """Last raw close of every symbol, 0 before the first."""
        return self._mark

    def snapshot(self) -> dict[str, Any]:
        """Return all that later orders depend on as a JSON-able mapping; see `resuming`."""
        from .resuming import snapshot_of

        return snapshot_of(self)

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Go on where a trader of the same strategy and symbols was when its snapshot was taken; self must be fresh."""
        from .resuming import restore_into

        restore_into(self, kept)

    # -- what brokers report -----------------------------------------------------------------------------------------

    def _filled(self, fill: Fill) -> None:
        self.account.apply(fill)
        if fill.left:
            self._left[fill.order] = fill.left
        else:
            self._left.pop(fill.order, None)
        if self._bracket is not None:
            self._fresh.append(self.account.index[fill.symbol])

    # -- deciding ----------------------------------------------------------------------------------------------------

    def _decide(self, event: MarketEvent) -> "list[Order | Cancel]":
        returns = self._returns(event)
        values = self._value(event)
        if self.until is not None and event.time > self.until:
            return []
        view = self._view(event, values, returns)
        targets = self._read(self._policy(view), "policy")
        reasons: dict[str | None, str] = {}
        if self._limits is not None:
            targets, refused = self._limits.weights(view, targets)
            targets = self._read(targets, "limits")
            self.refusals += refused
            reasons = {r.symbol: r.limit for r in refused if r.limit in CLOSES and r.asked != 0.0 == r.allowed}
        self._fresh = []
        cancels: list[Cancel] = []
        orders = self._toward(view, targets, cancels, reasons)
        levels = None if self._limits is None else self._limits.levels(view)
        if levels is not None or self._resting:
            orders += self._protect(view.time, levels, cancels, len(orders))
        return self._sent(cancels, orders)

    def _sent(self, cancels: list[Cancel], orders: list[Order]) -> "list[Order | Cancel]":
        for order in orders:
            self._left[order.id] = order.quantity.lots
        self.orders += orders
        return [*cancels, *orders]

    def _opened(self, event: MarketEvent) -> "list[Order | Cancel]":
        """Put a stop and a target beside what was filled at the opening, for the rest of its first bar."""
        if not self._fresh or self._bracket is None:
            return []
        columns, self._fresh = self._by_name(self._fresh), []
        cancels: list[Cancel] = []
        orders: list[Order] = []
        for column in columns:
            lots, found = self.account.lots_held[column], self._resting.get(column)
            if found is not None and lots and (found.lots > 0) == (lots > 0):
                prices = found.prices  # the position only changed its size; the close looks at its levels again
            elif lots:
                entry = float(self.account.entry_price[column])
                prices = self._prices(column, lots, *self._bracket(column, entry, 1 if lots > 0 else -1))
            else:
                prices = (None, None)
            orders += self._rest(column, Protection(prices, lots), event.time, cancels, len(orders))
        return self._sent(cancels, orders)

    def _returns(self, event: MarketEvent) -> np.ndarray:
        """Return the bar's returns, over a gap those since the last close."""
        if event.returns is None:
            return self._nothing
        if not core.any_nan(event.returns):
            return event.returns
        gap = event.returns != event.returns  # NaN
        before = self._mark if event.dividend is None else self._mark - event.dividend
        with np.errstate(all="ignore"):
            return np.where(gap & (before > 0) & (event.close > 0), event.close / before - 1.0, event.returns)

    def _value(self, event: MarketEvent) -> np.ndarray:
        """Value the account at the close and return what each position is worth."""
        core.take_prices(self._mark, event.close)
        values, _, self.equity_micro = self.account.worth(self._mark)
        return values

    def _view(self, event: MarketEvent, values: np.ndarray, returns: np.ndarray) -> View:
        account, close = self.account, event.close
        equity = self.equity_micro / MICRO
        price = self._mark.copy()
        if self._unseen:  # no price yet
            price[price == 0.0] = np.nan
            self._unseen = bool(np.count_nonzero(self._mark == 0.0))
        return View(  # by position: names cost as much again
            event.time,
            self.symbols,
            None if self.forecasts is None else self.forecasts(event),
            price,
            returns,
            close if event.high is None else event.high,
            close if event.low is None else event.low,
            self._nothing if event.volume is None else event.volume,
            event.state,
            values / equity if equity > 0 else np.sign(values),
            account.shares,
            account.entry_price,
            equity,
            account.cash_micro / MICRO,
            event.session,
            self.bars_per_year,
        )

    def _read(self, weights: Any, who: str) -> np.ndarray:
        found = np.asarray(weights, np.float64)
        if found.shape != self._mark.shape:
            raise InputError(
                f"The {who} must give one weight for each of {len(self._mark)} symbols, gave {found.shape}."
            )
        return found

    def _toward(
        self, view: View, targets: np.ndarray, cancels: list[Cancel], reasons: "dict[str | None, str]"
    ) -> list[Order]:
        """Return the orders that take holdings to target weights; what is not finite or not tradable stays.

        `reasons` names the limits that close positions, by symbol, None for all.
        """
        account = self.account
        if not view.equity > 0:  # no weight means anything then, but everything may be closed
            targets = np.where(targets == 0.0, 0.0, np.nan)
        change = account.change_to(targets, view.equity, view.price, view.state)
        if self._waiting:
            self._settle(view.time, change, cancels)
        columns = core.where_some(change)
        if len(columns) > 1:  # what makes positions smaller goes first, so that its proceeds pay for the rest
            grows = change[columns] * account.lots[columns] >= 0.0
            columns = np.array(columns)[np.lexsort((self._place[columns], grows))].tolist()
        orders, time, symbols, waiting = [], view.time, self.symbols, self._waiting
        for column in columns:
            symbol, reason = symbols[column], "policy"
            if reasons and targets[column] == 0.0:
                reason = reasons.get(symbol) or reasons.get(None) or reason
            id = waiting[column] = f"{time}.{len(orders)}"
            orders.append(Order(id, symbol, Shares(int(change.item(column))), time, reason=reason))
        return orders

    def _settle(self, time: int, change: np.ndarray, cancels: list[Cancel]) -> None:
        """Look at policy orders sent before: what is done is forgotten, what is open kept if right, else cancelled."""
        if not self._left:
            self._waiting.clear()
            return
        for column, id in list(self._waiting.items()):
            left = self._left.get(id, 0)
            if left and left == change[column]:
                change[column] = 0
                continue
            del self._waiting[column]
            if left:
                cancels.append(Cancel(id, time))

    def _protect(
        self, time: int, levels: "tuple[np.ndarray, np.ndarray] | None", cancels: list[Cancel], k: int
    ) -> list[Order]:
        """Keep one stop and one target beside every position that should have them, as large as the position."""
        account, orders = self.account, []
        stops, goals = (self._nothing, self._nothing) if levels is None else levels
        for column in self._by_name([*np.flatnonzero(account.lots).tolist(), *self._resting]):
            lots = account.lots_held[column]
            prices = self._prices(column, lots, float(stops[column]), float(goals[column])) if lots else (None, None)
            orders += self._rest(column, Protection(prices, lots), time, cancels, k + len(orders))
        return orders

    def _by_name(self, columns: list[int]) -> list[int]:
        return sorted(set(columns), key=self._place.item)

    def _rest(self, column: int, wanted: "Protection", time: int, cancels: list[Cancel], k: int) -> list[Order]:
        """Return the orders of a protection, unless the same rests already; another one is cancelled."""
        found = self._resting.get(column)
        if found is not None:
            if wanted.lots and found.stands(wanted, self._left):
                return []
            cancels += [Cancel(id, time) for id in found.ids if id in self._left]
            del self._resting[column]
        orders = []
        for kind, price in zip(("stop", "limit"), wanted.prices, strict=True):
            if price is None:
                continue
            orders.append(
                Order(
                    f"{time}.{k + len(orders)}",
                    self.symbols[column],
                    Shares(-wanted.lots),
                    time,
                    kind,
                    "gtc",
                    limit=price if kind == "limit" else None,
                    stop=price if kind == "stop" else None,
                    group=f"{time}.{self.symbols[column]}",
                    reduces=True,
                    reason="stop" if kind == "stop" else "target",
                )
            )
        if orders:
            wanted.ids = [order.id for order in orders]
            self._resting[column] = wanted
        return orders

    def _prices(self, column: int, lots: int, stop: float, goal: float) -> Levels:
        """Return stop and target on the grid of ticks: the stop fires no later, the target gives no less."""
        instrument, found = self.account.instruments[column], []
        for level in (stop, goal):
            price = instrument.price(level, down=lots < 0) if 0 < level < inf else None
            found.append(price if price is not None and price.micro > 0 else None)
        return found[0], found[1]


# ------------------------------------------------------------------------------------------------------- the loop


def play(
    trader: Trader,
    broker: SimulatedBroker,
    events: "Iterable[MarketEvent | BookEvent]",
    watch: "Callable[[Event], object] | None" = None,
) -> None:
    """Play market events: the broker fills what was sent before, the trader hears of it and decides.

    Parameters
    ----------
    trader, broker
        Both begin with the same cash and instruments.
    events : iterable of MarketEvent or BookEvent
        In order of time: a `History`, or what a feed delivers.
    watch : callable, optional
        Called with every message that the trader has taken in, in that order: a `recording.Tape`, for example.

    Examples
    --------
    >>> import longshort as ls
    >>> from longshort.orders import Costs
    >>> from longshort.trading import History
    >>> bars = ls.load_bars("AAPL", start="2014-06-05", end="2014-06-09", source="sample")
    >>> trader = Trader(lambda view: np.array([1.0]), ["AAPL"])
    >>> broker = SimulatedBroker(100_000, ["AAPL"], Costs.none())
    >>> play(trader, broker, History(bars))                # 153 shares; a split makes seven of each
    >>> trader.account.positions()["AAPL"].quantity, trader.account.cash == broker.account.cash
    (Shares(1071), True)
    """
    require_columns("The broker", broker.account.symbols, trader.symbols)
    require_columns("The events", getattr(events, "symbols", None), trader.symbols)
    for event in events:
        broker.on(event)
        for one in broker.events():
            trader.on(one)
            if watch is not None:
                watch(one)
        sent = trader.on(event)
        if watch is not None:
            watch(event)
        if sent:
            for message in sent:
                if isinstance(message, Order):
                    broker.submit(message)
                else:
                    broker.cancel(message)
            for one in broker.events():
                trader.on(one)
                if watch is not None:
                    watch(one)


def require_columns(who: str, theirs: "Sequence[str] | None", mine: "Sequence[str]") -> None:
    """Raise `InputError` where two parties to a session name its columns differently; None says nothing."""
    if theirs is not None and tuple(theirs) != tuple(mine):
        raise InputError(
            f"{who} must have the trader's symbols in its order, {tuple(mine)[:5]}, had {tuple(theirs)[:5]}. Use "
            "bars.select(symbols)."
        )


# ---------------------------------------------------------------------------------------------------------- strategies


def parts_of(strategy: Any) -> tuple[Policy, Any]:
    """Return the policy and the limits (or None) of a strategy, a policy, or a plain function of a `View`."""
    if not isinstance(strategy, Policy) and hasattr(strategy, "policy"):  # policies may wrap a policy themselves
        return as_policy(strategy.policy), getattr(strategy, "limits", None)
    return as_policy(strategy), None
