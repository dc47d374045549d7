"""The simulated broker: takes orders and decides fills on data later than the decision.

How a bar fills orders that were there when it began (o, h, l, c its prices; a sale mirrors a purchase):

====================  ===============================================================================================
market                at o, plus half the spread and our impact
limit                 at o if o is at or below the limit; otherwise at the limit if l is below it (touching it is not
                      enough: others were in the queue before us)
stop                  at o if o is at or above the stop (a gap through the level fills at the gap); otherwise at the
                      stop if h reaches it; plus half the spread and our impact
stop-limit            becomes a limit order as the stop is reached; never fills above its limit
trailing stop         a stop that follows the best price of the bars before
====================  ===============================================================================================

Nobody knows the order of h and l within a bar, so the worst is assumed: stops are looked at before limits and
targets. An order that arrives while a bar is under way (latency) takes part with the bar's close. No more than a share
of a bar's volume is filled, over all orders of a symbol; the rest carries on while the order is valid. Cells that are
not OK fill nothing.

A split divides the prices of open orders. A dividend lowers stops to sell and limits to buy that stand until cancelled,
as exchanges do (FINRA rule 5330); stops to buy and limits to sell stay.

Orders for an auction see one price only: ``valid="open"`` the opening of the next session's first bar, ``"close"`` the
closing price of its last. They take no part in books. Bars end sessions and bring splits, dividends and interest; books
fill and do no more.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from math import inf, nan
from operator import attrgetter
from typing import Any

import numpy as np

from .. import clock
from .._orders.units import require_between
from ..bars import State
from ..errors import CausalityError, InputError, OrderError, PriceError, UnknownName, did_you_mean
from ..forecast import Refusal
from ..native import core
from ..orders import (
    FRACTION,
    MICRO,
    OPEN,
    Account,
    BookEvent,
    Cancel,
    Costs,
    Ended,
    Fill,
    Margin,
    MarketEvent,
    Order,
    Position,
    Posting,
    Shares,
    steps_of,
)
from .broker import News
from .delisting import Delistings

_OK, _CLOSED = int(State.OK), int(State.CLOSED)  # an enumeration is slow to look at
_EPOCH = date(1970, 1, 1).toordinal()


@dataclass(frozen=True)
class Execution:
    """How a simulated market fills.

    Parameters
    ----------
    participation : float, default=0.1
        At most this share of a bar's volume is ours; where volume is not known, nothing is held back.
    latency_seconds : float, default=0.0
        From the decision to the order's arrival.
    margin : Margin, default=Margin()
        What the account must own of its positions.
    delisted_after : int, optional
        Sessions without a bar of a symbol (its market being open) after which what is held of it is closed; without it
        such a holding stays at its last price.
    delisting_return : float, default=-0.3
        Return of a long position from the last price then, from -1 to 0; a short one is covered at the last price. The
        default is Shumway's (1997) mean of delistings for performance; 0 suits what was taken over.

    Examples
    --------
    >>> Execution(latency_seconds=0.5).participation
    0.1
    """

    participation: float = 0.1
    latency_seconds: float = 0.0
    margin: Margin = field(default_factory=Margin)
    delisted_after: int | None = None
    delisting_return: float = -0.3

    def __post_init__(self):
        require_between("delisting_return", self.delisting_return, -1, 0)
        if self.delisted_after is not None:
            require_between("delisted_after", self.delisted_after, 1, 10_000)
            if self.delisted_after != int(self.delisted_after):
                raise InputError(f"delisted_after must be a whole number of sessions, was {self.delisted_after!r}.")
        require_between("participation", self.participation, 0, 1)
        require_between("latency_seconds", self.latency_seconds, 0, 86_400)
        if not self.participation > 0:
            raise InputError("participation must be above 0, or nothing is ever filled, was 0.")
        if not isinstance(self.margin, Margin):
            raise InputError(f"margin must be Margin(...), was {self.margin!r}.")

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as a JSON-able mapping."""
        return {
            "participation": self.participation,
            "latency_seconds": self.latency_seconds,
            "margin": vars(self.margin).copy(),
            "delisted_after": self.delisted_after,
            "delisting_return": self.delisting_return,
        }


class _Working:
    """An order at the broker, with what has become of it."""

    __slots__ = (
        "charged",
        "column",
        "done",
        "left",
        "limit",
        "lots",
        "order",
        "rank",
        "ready",
        "session",
        "stop",
        "trail",
        "triggered",
        "value_micro",
    )  # fmt: skip

    def __init__(self, order: Order, column: int, ready: int, lots: int):
        self.order, self.column, self.ready, self.left = order, column, ready, lots
        self.limit = self.stop = self.trail = 0
        if order.kind != "market":
            self.limit = 0 if order.limit is None else order.limit.micro
            self.stop = 0 if order.stop is None else order.stop.micro
            self.trail = 0 if order.trail is None else order.trail.micro
        self.rank = 2 * order.reduces + (order.kind == "limit")  # what only reduces comes last, stops before targets
        self.session: int | None = None  # of the first bar it took part in
        self.triggered = self.done = False
        self.lots = self.value_micro = self.charged = 0  # filled so far, and its commission


class SimulatedBroker:
    """A broker that fills orders from market events.

    Parameters
    ----------
    cash : float or Money
        To begin with.
    instruments : sequence of Instrument or str
        Columns of every event.
    costs : Costs, optional
        Above zero by default.
    execution : Execution, optional
        Volume, latency, margin.
    bar_size : str, default="1D"
        Of the events; market-on-close orders need bars within the day.

    Raises
    ------
    CausalityError
        A fill would not be later than its order: the events are out of order.

    Examples
    --------
    >>> broker = SimulatedBroker(10_000, ["KO"], Costs.none())
    >>> broker.on(MarketEvent("close", 0, 0, np.zeros(1, np.uint8), close=np.array([49.0])))
    >>> broker.submit(Order("1", "KO", Shares(100), time=0))
    >>> broker.on(MarketEvent("open", 1, 0, np.zeros(1, np.uint8), open=np.array([50.0])))
    >>> broker.events()[0].price, broker.positions()["KO"].quantity, broker.account.cash
    (Money(50.00 USD), Shares(100), Money(5000.00 USD))
    """

    def __init__(
        self,
        cash: Any,
        instruments: Sequence[Any],
        costs: Costs | None = None,
        execution: Execution | None = None,
        bar_size: str = "1D",
    ):
        for name, given, kind in (("costs", costs, Costs), ("execution", execution, Execution)):
            if given is not None and not isinstance(given, kind):
                raise InputError(f"{name} must be {kind.__name__}(...), was {given!r}.")
        clock.bar_size_ns(bar_size)  # raises for what is none
        self.account = Account(cash, instruments)
        self.costs = Costs() if costs is None else costs
        self.costs.require_symbols(self.account.symbols)
        self.execution = Execution() if execution is None else execution
        self.daily = bar_size in ("1D", "1W", "1M")
        self._latency = round(self.execution.latency_seconds * 1e9)
        self._working: dict[str, _Working] = {}
        self._groups: dict[str, list[str]] = {}
        self._seen: set[str] = set()
        self._news: list[News] = []
        n = len(self.account.symbols)
        self._mark = np.zeros(n)  # 0 before the first
        self._volume: Any = None  # of the last bar
        self._session: int | None = None
        self._auction = False  # whether the bar under way is the first of its session
        self._closed = self._begun = -(2**63)  # when the last bar ended, and when the one under way began
        self._traded: dict[int, float] = {}  # shares of the bar under way that were ours
        self._month, self._month_shares = -(2**63), 0.0  # its first day, and what was traded in it
        self._power: _Power | None = None
        after, back = self.execution.delisted_after, self.execution.delisting_return
        self._delistings = None if after is None else Delistings(n, after, -back)

    # -- what a trader asks of it ------------------------------------------------------------------------------------

    def submit(self, order: Order) -> None:
        """Take an order, or refuse it with the number that broke; an id that was seen before changes nothing."""
        if type(order) is not Order:
            raise OrderError(f"A broker takes an Order, was {order!r}.")
        if order.id in self._seen:
            return
        column = self.account.index.get(order.symbol)
        if column is None:
            raise UnknownName(f"No {order.symbol!r} here. {did_you_mean(order.symbol, self.account.symbols)}")
        self._seen.add(order.id)
        refusal = self._why_not(order, column)
        if refusal is None:
            self._accept(order, column, order.quantity.lots)
            return
        self._news.append(refusal)
        if refusal.allowed:
            self._accept(order, column, round(refusal.allowed * order.quantity.lots))
        else:
            self._news.append(Ended(order.id, order.time, "refused", order.quantity.lots))

    def _accept(self, order: Order, column: int, lots: int) -> None:
        working = self._working[order.id] = _Working(order, column, order.time + self._latency, lots)
        if order.group:
            self._groups.setdefault(order.group, []).append(order.id)
        if order.trail is not None:
            mark = round(float(self._mark[column]) * MICRO)
            working.stop = mark + working.trail if order.buys else mark - working.trail

    def cancel(self, cancel: Cancel) -> None:
        """Take back what is left of an order."""
        if type(cancel) is not Cancel:
            raise OrderError(f"A broker takes a Cancel, was {cancel!r}.")
        found = self._working.get(cancel.id)
        if found is not None:
            self._end(found, cancel.time, "cancelled")

    def orders(self) -> list[Order]:
        """Return the open orders."""
        return [working.order for working in self._working.values()]

    def positions(self) -> dict[str, Position]:
        """Return what is held, by symbol."""
        return self.account.positions()

    def events(self) -> list[News]:
        """Return what happened since the last call."""
        news, self._news = self._news, []
        return news

    # -- what may be sent --------------------------------------------------------------------------------------------

    def _why_not(self, order: Order, column: int) -> Refusal | None:
        """Return why an order cannot be taken; the checks allow only what is proved to be within bounds."""
        account, margin = self.account, self.execution.margin
        instrument = account.instruments[column]
        if order.kind != "market":
            tick = round(instrument.tick * MICRO)
            for price in (order.limit, order.stop, order.trail):
                if price is not None and (price.currency != instrument.currency or price.micro % tick):
                    return _refusal(order, "tick", price.micro / MICRO, instrument.tick)
        if order.valid == "close" and self.daily:  # the price that made the decision would fill it
            return _refusal(order, "market on close of daily bars", 0.0, 0.0)
        mark = self._mark.item(column)
        if not 0 < mark < inf:
            return _refusal(order, "known price", mark or nan, 0.0)
        if order.reduces:
            return None
        power = self._power
        if power is None:
            power = self._power = self._buying_power()
        before = power.lots[column]
        after = before + order.quantity.lots
        size = mark * account.sizes.item(column)
        gross = power.gross + (abs(after) - abs(before)) * size
        if after < 0 and after < before and not (margin.shorts and instrument.shortable):
            refusal = ("short sale", float(after), 0.0)
        elif abs(after) > abs(before) and not gross * margin.initial <= power.equity:
            refusal = ("buying power", gross * margin.initial, power.equity)
        else:
            power.lots[column], power.gross = after, gross
            return None
        if before * after >= 0:
            return _refusal(order, *refusal)
        power.lots[column], power.gross = 0, power.gross - abs(before) * size  # closing what is held may not fail
        return _refusal(order, *refusal, -before / order.quantity.lots)

    def _buying_power(self) -> "_Power":
        """Return equity and what is held, counting open orders as done (those that only reduce left aside)."""
        account, mark = self.account, self._mark
        _, gross, equity = account.worth(mark)
        lots = list(account.lots_held)
        for working in self._working.values():
            if not working.order.reduces:
                lots[working.column] += working.left
        if self._working:
            gross = account.gross_with(lots, mark)
        return _Power(lots, gross, equity / MICRO)

    # -- what the market tells it ------------------------------------------------------------------------------------

    def on(self, event: "MarketEvent | BookEvent") -> None:
        """Take in a market event: fill what it fills, post what it brings; `events` has the news."""
        if isinstance(event, BookEvent):
            self._on_book(event)
        elif type(event) is not MarketEvent:
            raise InputError(f"A broker takes market events and books, was {event!r}.")
        elif event.kind == OPEN:
            self._begin(event, event.time)
            if self._working:
                self._opening(event)
        else:
            if self._begun <= self._closed:  # no opening was seen
                self._begin(event, self._closed)
            if self._working:
                self._rest_of_bar(event)
            self._close(event)

    def _begin(self, event: MarketEvent, began: int) -> None:
        """Start a bar: actions, interest for the days gone by, orders of sessions gone by."""
        self._begun = began
        if self._traded:
            self._traded = {}
        self._auction = event.session != self._session
        if self._auction:
            self._new_session(event)
        if event.split is not None:
            _require("split", event.split > 0, event.split)
            self._split(event, event.split)
        if event.dividend is not None:
            _require("dividend", event.dividend >= 0, event.dividend)
            for j in np.flatnonzero(event.dividend).tolist():
                self._dividend(j, round(float(event.dividend[j]) * MICRO), event.time)

    def _opening(self, event: MarketEvent) -> None:
        opens, states = event.open.tolist(), event.state.tolist()
        for working in self._in_turn():
            column = working.column
            if working.done or working.ready > event.time or states[column] == _CLOSED:
                continue
            price, valid = opens[column], working.order.valid
            if valid == "open" and not self._auction:
                continue
            if working.session is None:
                working.session = event.session
            if states[column] == _OK and 0 < price < inf and valid != "close":
                self._at(working, event, round(price * MICRO))
            if valid == "open" and not working.done:
                self._end(working, event.time, "expired")

    def _rest_of_bar(self, event: MarketEvent) -> None:
        closes, states = event.close.tolist(), event.state.tolist()
        opens, highs, lows = (closes if x is None else x.tolist() for x in (event.open, event.high, event.low))
        for working in self._in_turn():
            column, order = working.column, working.order
            if working.done or working.ready > event.time or order.time >= event.time or states[column] == _CLOSED:
                continue
            if order.valid == "open":
                if self._auction and working.ready <= self._begun:  # there was none
                    self._end(working, event.time, "expired")
                continue
            if working.session is None:
                working.session = event.session
            close = closes[column]
            if states[column] != _OK or not 0 < close < inf:
                continue
            if order.valid == "close":
                if event.last:
                    self._at(working, event, round(close * MICRO))
            elif working.ready > self._begun:  # arrived while the bar was under way: only its close is later for sure
                self._at(working, event, round(close * MICRO))
            elif order.kind != "market":
                prices = (opens[column], highs[column], lows[column])
                self._within(working, event, *(round((p if 0 < p < inf else close) * MICRO) for p in prices))
            elif event.open is None or order.time >= self._begun or not opens[column] > 0:  # there was no opening
                self._at(working, event, round(close * MICRO))

    def _close(self, event: MarketEvent) -> None:
        """End a bar: prices to value positions at, the margin, and orders that end with the session."""
        core.take_prices(self._mark, event.close)
        self._volume, self._closed, self._power = event.volume, event.time, None
        if self._working and event.last:
            for working in list(self._working.values()):
                if working.session is not None and working.order.valid != "gtc":
                    self._end(working, event.time, "expired")
        if self._delistings is not None:
            for fill in self._delistings.fills(event, self.account, self._mark):
                self.account.apply(fill)
                self._news.append(fill)
        if self.account.cash_micro < 0 or self.account.shorts:
            self._margin_call(event)

    def _in_turn(self) -> list[_Working]:
        turn = list(self._working.values())
        if len(turn) > 1:
            turn.sort(key=attrgetter("rank"))
        return turn

    # -- how orders fill ---------------------------------------------------------------------------------------------

    def _at(self, working: _Working, event: MarketEvent, price: int) -> None:
        """Offer an order one price, the opening or the close."""
        order, buys = working.order, working.left > 0
        if order.kind == "market":
            self._take(working, event, price)
            return
        if working.stop and not working.triggered:
            working.triggered = price >= working.stop if buys else price <= working.stop
            if not working.triggered:
                self._follow(working, price, price)
                return
        if not working.limit:
            self._take(working, event, price)
        elif price <= working.limit if buys else price >= working.limit:
            self._take(working, event, price, working.limit)

    def _within(self, working: _Working, event: MarketEvent, opened: int, high: int, low: int) -> None:
        """Offer an order what happened between the opening and the close."""
        buys = working.left > 0
        if working.stop and not working.triggered:
            working.triggered = high >= working.stop if buys else low <= working.stop
            if not working.triggered:
                self._follow(working, high, low)
                return
            price = max(working.stop, opened) if buys else min(working.stop, opened)
            if not working.limit:
                self._take(working, event, price)
            elif price <= working.limit if buys else price >= working.limit:
                self._take(working, event, price, working.limit)
        elif not working.limit:
            self._take(working, event, opened)  # triggered before, the bar's volume was used up
        elif low < working.limit if buys else high > working.limit:
            self._fill(working, event, working.limit, 0, 0)

    def _follow(self, working: _Working, high: int, low: int) -> None:
        """Let a trailing stop follow the price; this bar's own extremes count from the next bar on."""
        if working.trail:
            if working.left > 0:
                working.stop = min(working.stop, low + working.trail)
            else:
                working.stop = max(working.stop, high - working.trail)

    def _take(self, working: _Working, event: MarketEvent, price: int, limit: int = 0) -> None:
        """Fill at the market: half the spread and our impact away from `price`, never beyond the limit."""
        lots = self._fillable(working, event)
        if not lots:
            return
        column, costs = working.column, self.costs
        spread = costs.spread_of(price) if costs.half_spread_bp else 0
        impact = 0
        if costs.impact and event.volatility is not None and event.usual_volume is not None:
            shares = abs(lots) * self.account.instruments[column].lot
            impact = costs.impact_of(price, shares, event.volatility.item(column), event.usual_volume.item(column))
        if limit:
            room = abs(limit - price)
            spread = min(spread, room)
            impact = min(impact, room - spread)
        if lots < 0:
            spread = min(spread, price - 1)
            impact = min(impact, price - 1 - spread)
        self._fill(working, event, price, spread, impact, lots)

    def _fillable(self, working: _Working, event: MarketEvent) -> int:
        """Return how many lots of an order the volume, and the position it may only reduce, leave."""
        column, lots = working.column, working.left
        if working.order.reduces:
            held = self.account.lots_held[column]
            lots = max(lots, -max(held, 0)) if lots < 0 else min(lots, max(-held, 0))
            if not lots:
                self._end(working, event.time, "flat")
                return 0
        volume = self._volume if event.volume is None else event.volume
        if volume is not None:
            offered = volume.item(column)
            if offered >= 0:  # not NaN
                room = offered * self.execution.participation - self._traded.get(column, 0.0)
                most = int(room / self.account.instruments[column].lot + 1e-9) if room > 0 else 0
                if abs(lots) > most:
                    lots = most if lots > 0 else -most
        return lots

    def _fill(
        self, working: _Working, event: "MarketEvent | BookEvent", price: int, spread: int, impact: int, lots: int = 0
    ) -> None:
        """Fill lots at a price, `spread` and `impact` per share being on top of it."""
        order, column, account, execution = working.order, working.column, self.account, self.execution
        if not lots:
            assert type(event) is MarketEvent
            lots = self._fillable(working, event)
        if not event.time > order.time:
            raise CausalityError(
                f"Order {order.id} was decided at {order.time} and would be filled at {event.time}: a fill must be "
                "later than its decision. Play events in order of time."
            )
        paid = price + spread + impact if lots > 0 else price - spread - impact
        if lots > 0 and execution.margin.initial >= 1:
            lots = self._affordable(working, event.time, paid, lots)
        if not lots:
            return
        instrument, size = account.instruments[column], abs(lots)
        working.left -= lots
        working.lots += lots
        working.value_micro += instrument.value_micro(size, paid)
        owed = self.costs.commission.total_micro(
            abs(working.lots) * instrument.lot, working.value_micro, self._month_shares
        )
        fill = Fill(
            order.id,
            order.symbol,
            event.time,
            lots,
            paid,
            owed - working.charged,
            instrument.value_micro(size, spread) if spread else 0,
            instrument.value_micro(size, impact) if impact else 0,
            working.left,
            order.reason,
            account.currency,
        )
        working.charged = owed
        self._traded[column] = self._traded.get(column, 0.0) + size * instrument.lot
        self._power = None
        account.apply(fill)
        self._news.append(fill)
        if not working.left:
            self._forget(working)
        if order.group:
            self._siblings(working, event.time, lots)

    def _affordable(self, working: _Working, time: int, paid: int, lots: int) -> int:
        """Return how many of `lots` the cash pays for; without borrowing the rest is refused."""
        instrument, charge = self.account.instruments[working.column], self.costs.commission.total_micro
        each = max(instrument.value_micro(1, paid), 1)

        def due(n: int) -> int:
            more = working.value_micro + n * each
            return n * each + charge((working.lots + n) * instrument.lot, more, self._month_shares) - working.charged

        cash, most = self.account.cash_micro, lots
        if due(lots) <= cash:
            return lots
        while most > 0 and due(most) > cash:
            most = min(most - 1, max(cash - (due(most) - most * each), 0) // each)
        order = working.order
        self._news.append(_refusal(order, "cash", due(lots) / MICRO, cash / MICRO, most / lots))
        if not most:
            self._end(working, time, "refused")
        else:
            working.left = most  # the rest is not waited for
        return most

    def _siblings(self, working: _Working, time: int, lots: int) -> None:
        """Take what one order of a group filled off the others."""
        for other in self._groups[working.order.group]:
            found = self._working.get(other)
            if found is not None and found is not working:
                found.left -= max(min(lots, found.left), 0) if found.left > 0 else min(max(lots, found.left), 0)
                if not found.left:
                    self._end(found, time, "sibling")

    def _forget(self, working: _Working) -> None:
        del self._working[working.order.id]
        working.done = True
        self._month_shares += abs(working.lots) * self.account.instruments[working.column].lot

    def _end(self, working: _Working, time: int, why: str) -> None:
        self._forget(working)
        self._power = None
        self._news.append(Ended(working.order.id, time, why, working.left))

    # -- what happens to the account by itself -----------------------------------------------------------------------

    def _post(self, posting: Posting) -> None:
        self.account.apply(posting)
        self._news.append(posting)

    def _new_session(self, event: MarketEvent) -> None:
        before, self._session = self._session, event.session
        if not self._month <= event.session < self._month + 28:  # every month has 28
            day = date.fromordinal(_EPOCH + event.session)
            first = event.session - day.day + 1
            if first != self._month:
                self._month, self._month_shares = first, 0.0
        if before is not None:
            self._interest(event.time, event.session - before)
        for working in list(self._working.values()):
            if working.session is not None and working.order.valid != "gtc":
                self._end(working, event.time, "expired")

    def _interest(self, time: int, days: int) -> None:
        """Charge what borrowed shares and borrowed cash cost over the days since the last session."""
        account, costs = self.account, self.costs
        if account.shorts and (costs.borrow or costs.borrow_by_symbol):
            value = np.maximum(-account.lots, 0) * account.sizes * self._mark
            if costs.borrow_by_symbol:
                value = value * [costs.borrow_of(symbol) for symbol in account.symbols]
            fee = float(value.sum()) * (1.0 if costs.borrow_by_symbol else costs.borrow) * days / 360
            if fee > 0:
                self._post(Posting("borrow", "", time, -(int(fee * MICRO) + 1)))
        if account.cash_micro < 0 and costs.financing > 0:
            self._post(Posting("financing", "", time, int(account.cash_micro * costs.financing * days / 360) - 1))

    def _split(self, event: MarketEvent, ratios: np.ndarray) -> None:
        """Change positions, open orders and marks; a fraction of a share is paid out."""
        account = self.account
        for j in np.flatnonzero(ratios != 1.0).tolist():
            ratio, held, symbol = float(ratios[j]), account.lots_held[j], account.symbols[j]
            self._mark[j] /= ratio
            mine = [working for working in self._working.values() if working.column == j]
            if not held and not mine:
                continue
            whole = steps_of(held * ratio, 1.0)
            self._post(Posting("split", symbol, event.time, 0, whole - held, ratio))
            rest = held * ratio - whole
            if abs(rest) > FRACTION * max(1.0, abs(whole)):
                lieu = rest * account.sizes.item(j) * float(self._mark[j])
                self._post(Posting("lieu", symbol, event.time, round(lieu * MICRO)))
            for working in mine:
                working.left = steps_of(working.left * ratio, 1.0)
                working.limit, working.stop, working.trail = (
                    round(price / ratio) for price in (working.limit, working.stop, working.trail)
                )
                if not working.left:
                    self._end(working, event.time, "split")

    def _dividend(self, j: int, each: int, time: int) -> None:
        """Pay a dividend, and lower orders below the market by it: the price falls by as much, and nobody lost it."""
        held = self.account.lots_held[j]
        if held:
            paid = self.account.instruments[j].value_micro(held, each)
            self._post(Posting("dividend", self.account.symbols[j], time, paid))
        for working in self._working.values():
            if working.column != j or working.order.valid != "gtc":
                continue
            if working.left < 0 and working.stop:
                working.stop = max(working.stop - each, 1)
                working.limit = max(working.limit - each, 1) if working.limit else 0
            elif working.left > 0 and working.limit and not working.stop:
                working.limit = max(working.limit - each, 1)

    def _margin_call(self, event: MarketEvent) -> None:
        """Where equity falls below what must be kept, cancel everything and sell everything at the next opening."""
        account, margin = self.account, self.execution.margin
        value, gross, worth = account.worth(self._mark)
        if worth / MICRO > 1.001 * max(margin.maintenance_long, margin.maintenance_short) * gross:
            return  # enough by far, whatever is long and whatever short
        longs, shorts = float(value[value > 0].sum()), -float(value[value < 0].sum())
        needed = margin.maintenance_long * longs + margin.maintenance_short * shorts
        equity = account.cash_micro / MICRO + longs - shorts
        if equity >= needed and equity > 0:
            return
        leverage = (longs + shorts) / equity if equity > 0 else inf
        self._news.append(Refusal(event.time, "maintenance margin", None, equity, needed, leverage, 0.0))
        for working in list(self._working.values()):
            self._end(working, event.time, "cancelled")
        for j in np.flatnonzero(account.lots).tolist():
            id, quantity = f"{event.time}.margin.{j}", Shares(-account.lots_held[j])
            order = Order(id, account.symbols[j], quantity, event.time, valid="gtc", reduces=True, reason="margin call")
            self._seen.add(id)
            self._accept(order, j, quantity.lots)

    # -- books -------------------------------------------------------------------------------------------------------

    def _on_book(self, event: BookEvent) -> None:
        """Fill against what a book displays, level by level; each display is filled once."""
        column = self.account.index.get(event.symbol)
        if column is None:
            raise UnknownName(f"No {event.symbol!r} here. {did_you_mean(event.symbol, self.account.symbols)}")
        bids, asks = [list(level) for level in event.bids], [list(level) for level in event.asks]
        if bids and asks:
            middle = (bids[0][0] + asks[0][0]) // 2
            self._mark[column], self._power = middle / MICRO, None
        else:
            middle = 0
        for working in self._in_turn():
            late = working.ready > event.time or working.order.time >= event.time
            if working.done or working.column != column or late or working.order.valid in ("open", "close"):
                continue
            self._walk(working, event, asks if working.left > 0 else bids, middle)

    def _walk(self, working: _Working, event: BookEvent, levels: list[list[int]], middle: int) -> None:
        sign = 1 if working.left > 0 else -1
        if working.stop and not working.triggered:
            working.triggered = bool(levels) and sign * levels[0][0] >= sign * working.stop
            if not working.triggered:
                if levels:
                    self._follow(working, levels[0][0], levels[0][0])
                return
        for level in levels:
            price, offered = level
            if not working.left or (working.limit and sign * price > sign * working.limit):
                return
            lots = sign * min(abs(working.left), offered)
            if working.order.reduces:
                held = self.account.lots_held[working.column]
                lots = max(lots, -max(held, 0)) if sign < 0 else min(lots, max(-held, 0))
                if not lots:
                    self._end(working, event.time, "flat")
                    return
            if lots:
                away = sign * (price - middle) if middle else 0
                level[1] -= abs(lots)
                self._fill(working, event, price - sign * away, away, 0, lots)
                if working.done:
                    return


@dataclass(slots=True)
class _Power:
    """What is left to buy with, as of the last prices."""

    lots: list[int]
    gross: float
    equity: float


def _require(what: str, good: np.ndarray, values: np.ndarray) -> None:
    """Raise `PriceError` for a corporate action that cannot be."""
    if not (good & (values < inf)).all():
        raise PriceError(f"A {what} must be a finite number above zero, 1 or 0 for none, was {values.tolist()[:5]}.")


def _refusal(order: Order, limit: str, value: float, bound: float, allowed: float = 0.0) -> Refusal:
    return Refusal(order.time, limit, order.symbol, value, bound, 1.0, allowed)
