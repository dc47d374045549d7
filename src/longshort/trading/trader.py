"""The trader: events in, orders out. The one decision loop, in backtests, on paper and live.

`Trader.on` is a fold: it reads no clock, does no input or output, and its orders depend on nothing but the events it
was given. At the close of every bar::

    View -> policy -> target weights -> limits -> allowed weights -> difference to what is held, in whole lots -> orders
                                     -> levels -> a stop and a target beside every position, one cancelling the other

`play` ties a trader to a simulated broker, `Recorded` and `Streamed` say where forecasts come from.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ..bars import State
from ..errors import InputError
from ..forecast import Forecast, ForecastRow, Policy, Refusal, View
from ..orders import (
    CLOSE,
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
    steps_of,
)
from ..portfolio import as_policy
from .broker import News, SimulatedBroker

Source = Callable[[MarketEvent], "ForecastRow | None"]
Event = MarketEvent | BookEvent | News
Levels = tuple[Money | None, Money | None]


class Recorded:
    """Stored forecasts as a source: those made at the time of the event, None at other times.

    Examples
    --------
    >>> forecast = Forecast(np.array([10, 20]), ("KO",), np.array([[0.1], [0.2]]))
    >>> source = Recorded(forecast)
    >>> source(MarketEvent("close", 20, 0, np.zeros(1, np.uint8))).mean
    array([0.2])
    """

    def __init__(self, forecast: Forecast):
        self.forecast = forecast
        self._rows = {time: i for i, time in enumerate(forecast.time.tolist())}
        self._plain = not forecast.extras()

    def __call__(self, event: MarketEvent) -> ForecastRow | None:
        """Return the forecasts made at the event."""
        i = self._rows.get(event.time)
        if i is None:
            return None
        return ForecastRow(self.forecast.target, self.forecast.mean[i]) if self._plain else self.forecast.row(i)


class Streamed:
    """A live model as a source: ``model.stream(bars)``, fed with every closed row.

    Parameters
    ----------
    stream : object with ``step(row, state) -> array (n_symbols,)``
        What `stream` of a fitted forecaster returns.
    target : TargetInfo
        What its numbers mean.

    Examples
    --------
    >>> import longshort as ls
    >>> bars = ls.load_bars("AAPL", start="2017-01-01", end="2019-12-31", source="sample")
    >>> model = ls.LSTM([ls.features.log_return()], lookback=10, hidden=(8,), epochs=1).fit(bars.until("2018-12-31"))
    >>> source = Streamed(model.stream(bars.until("2018-12-31")), model.target_.info)
    """

    def __init__(self, stream: Any, target: Any):
        self.stream, self.target = stream, target

    def __call__(self, event: MarketEvent) -> ForecastRow | None:
        """Take in the row of a closing event and return what it forecasts."""
        ones, zeros = np.ones(len(event.state)), np.zeros(len(event.state))
        row = {name: getattr(event, name) for name in ("open", "high", "low", "close", "volume", "state")}
        row["split"] = ones if event.split is None else event.split
        row["dividend"] = zeros if event.dividend is None else event.dividend
        mean = self.stream.step({k: v for k, v in row.items() if v is not None})
        return ForecastRow(self.target, np.asarray(mean, np.float64))


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
        Told to the policy.
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
        self.account = account if isinstance(account, Account) else Account(account, symbols)
        self.symbols, self.forecasts, self.bars_per_year = self.account.symbols, forecasts, bars_per_year
        self.strategy, self.until = strategy, until
        policy, limits = parts_of(strategy)
        self._policy = policy.stepper(self.symbols)
        self._limits = None if limits is None else limits.stepper(self.symbols)
        self.orders: list[Order] = []
        self.refusals: list[Refusal] = []
        self.equity_micro = self.account.cash_micro
        n = len(self.symbols)
        self._mark, self._nothing = np.full(n, np.nan), np.full(n, np.nan)
        self._left: dict[str, int] = {}  # what is open of every order sent
        self._waiting: dict[int, str] = {}  # column -> the policy's order that is open
        self._resting: dict[int, _Protection] = {}  # column -> stop and target beside the position

    def on(self, event: Event) -> "list[Order | Cancel]":
        """Take in an event; return what to send, in order (cancellations first)."""
        kind = type(event)
        if kind is MarketEvent:
            if event.split is not None and (event.kind == OPEN or event.open is None):  # type: ignore[union-attr]
                self._mark /= event.split  # type: ignore[union-attr]
            return self._decide(event) if event.kind == CLOSE else []  # type: ignore[union-attr, arg-type]
        if kind is Fill:
            self._filled(event)  # type: ignore[arg-type]
        elif kind is Posting:
            self._posted(event)  # type: ignore[arg-type]
        elif kind is Ended:
            self._left.pop(event.order, None)  # type: ignore[union-attr]
        elif kind is Refusal:
            self.refusals.append(event)  # type: ignore[arg-type]
        elif kind is not BookEvent:
            raise InputError(f"A trader takes market events and what brokers report, was {event!r}.")
        return []

    @property
    def marks(self) -> np.ndarray:
        """Last raw close of every symbol, NaN before the first."""
        return self._mark

    # -- what brokers report -----------------------------------------------------------------------------------------

    def _filled(self, fill: Fill) -> None:
        self.account.apply(fill)
        if fill.left:
            self._left[fill.order] = fill.left
        else:
            self._left.pop(fill.order, None)

    def _posted(self, posting: Posting) -> None:
        self.account.apply(posting)
        if posting.kind == "split":  # the broker has changed open orders; our levels are looked at afresh at the close
            protection = self._resting.get(self.account.index[posting.symbol])
            if protection is not None:
                protection.scaled = True

    # -- deciding ----------------------------------------------------------------------------------------------------

    def _decide(self, event: MarketEvent) -> "list[Order | Cancel]":
        price = self._value(event)
        if self.until is not None and event.time > self.until:
            return []
        view = self._view(event, price)
        targets = self._read(self._policy(view), "policy")
        if self._limits is not None:
            targets, refused = self._limits.weights(view, targets)
            targets = self._read(targets, "limits")
            self.refusals += refused
        cancels: list[Cancel] = []
        orders = self._toward(view, targets, cancels)
        levels = None if self._limits is None else self._limits.levels(view)
        if levels is not None or self._resting:
            orders += self._protect(view, levels, cancels, len(orders))
        for order in orders:
            self._left[order.id] = order.quantity.lots
        self.orders += orders
        return [*cancels, *orders]

    def _value(self, event: MarketEvent) -> np.ndarray:
        """Value the account at the close and return the last price of every symbol."""
        account, close, mark = self.account, event.close, self._mark
        np.copyto(mark, close, where=close > 0)
        price = np.where(account.lots != 0, mark, 0.0)
        self.equity_micro = account.equity_micro(np.rint(price * MICRO).astype(np.int64))
        return mark.copy()

    def _view(self, event: MarketEvent, price: np.ndarray) -> View:
        account, close = self.account, event.close
        equity = self.equity_micro / MICRO
        value = np.where(account.lots != 0, account.lots * account.sizes * price, 0.0)
        return View(
            time=event.time,
            symbols=self.symbols,
            forecast=None if self.forecasts is None else self.forecasts(event),
            price=price,
            returns=self._nothing if event.returns is None else event.returns,
            high=close if event.high is None else event.high,
            low=close if event.low is None else event.low,
            volume=self._nothing if event.volume is None else event.volume,
            state=event.state,
            weights=value / equity if equity > 0 else np.sign(value),
            shares=account.shares.copy(),
            entry_price=account.entry_price.copy(),
            equity=equity,
            cash=account.cash_micro / MICRO,
            session=event.session,
            bars_per_year=self.bars_per_year,
        )

    def _read(self, weights: Any, who: str) -> np.ndarray:
        found = np.asarray(weights, np.float64)
        if found.shape != self._mark.shape:
            raise InputError(
                f"The {who} must give one weight for each of {len(self._mark)} symbols, gave {found.shape}."
            )
        return found

    def _toward(self, view: View, targets: np.ndarray, cancels: list[Cancel]) -> list[Order]:
        """Return the orders that take holdings to target weights; what is not finite or not tradable stays."""
        if not view.equity > 0:
            return []
        account = self.account
        with np.errstate(all="ignore"):
            wanted = targets * view.equity / (view.price * account.sizes)
        clear = np.isfinite(wanted) & (view.state == State.OK)
        change = steps_of(np.where(clear, wanted, 0.0), 1.0) - account.lots
        change[~clear] = 0
        if self._waiting:
            change = self._settle(view.time, change, cancels)
        columns = np.flatnonzero(change)
        if not len(columns):
            return []
        # what makes positions smaller goes first, so that its proceeds pay for the rest
        grows = change[columns] * account.lots[columns] >= 0
        columns = np.concatenate([columns[~grows], columns[grows]])
        orders, time, symbols = [], view.time, self.symbols
        for k, (column, lots) in enumerate(zip(columns.tolist(), change[columns].tolist(), strict=True)):
            order = Order(f"{time}.{k}", symbols[column], Shares(lots), time)
            orders.append(order)
            self._waiting[column] = order.id
        return orders

    def _settle(self, time: int, change: np.ndarray, cancels: list[Cancel]) -> np.ndarray:
        """Look at policy orders sent before: what is done is forgotten, what is open kept if right, else cancelled."""
        for column, id in list(self._waiting.items()):
            left = self._left.get(id, 0)
            if left and left == change[column]:
                change[column] = 0
                continue
            del self._waiting[column]
            if left:
                cancels.append(Cancel(id, time))
        return change

    def _protect(
        self, view: View, levels: "tuple[np.ndarray, np.ndarray] | None", cancels: list[Cancel], k: int
    ) -> list[Order]:
        """Keep one stop and one target beside every position that should have them, as large as the position."""
        account, orders = self.account, []
        stops, goals = (self._nothing, self._nothing) if levels is None else levels
        for column in {*np.flatnonzero(account.lots).tolist(), *self._resting}:
            lots = account.lots.item(column)
            wanted = _Protection(self._prices(column, lots, stops, goals), lots) if lots else None
            found = self._resting.get(column)
            if found is not None:
                if wanted is not None and found.stands(wanted, self._left):
                    continue
                cancels += [Cancel(id, view.time) for id in found.ids if id in self._left]
                del self._resting[column]
            if wanted is None or wanted.prices == (None, None):
                continue
            group = f"{view.time}.{column}"
            for name, price in zip(("stop", "limit"), wanted.prices, strict=True):
                if price is None:
                    continue
                order = Order(
                    f"{view.time}.{k}",
                    self.symbols[column],
                    Shares(-lots),
                    view.time,
                    name,
                    "gtc",
                    **{name: price},
                    group=group,
                    reduces=True,
                    reason="stop" if name == "stop" else "target",
                )
                orders.append(order)
                wanted.ids.append(order.id)
                k += 1
            self._resting[column] = wanted
        return orders

    def _prices(
        self, column: int, lots: int, stops: np.ndarray, goals: np.ndarray
    ) -> "tuple[Money | None, Money | None]":
        """Return stop and target on the grid of ticks: the stop fires no later, the target gives no less."""
        instrument, found = self.account.instruments[column], []
        for level, down in ((stops[column], lots < 0), (goals[column], lots < 0)):
            price = instrument.price(float(level), down) if level > 0 and level < np.inf else None
            found.append(price if price is not None and price.micro > 0 else None)
        return found[0], found[1]


class _Protection:
    """A stop and a target beside a position."""

    __slots__ = ("ids", "lots", "prices", "scaled")

    def __init__(self, prices: "Levels", lots: int):
        self.prices, self.lots, self.scaled = prices, lots, False
        self.ids: list[str] = []

    def stands(self, wanted: "_Protection", left: dict[str, int]) -> bool:
        """Whether what rests is what is wanted: the same prices for the same position, all of it still open."""
        return (
            not self.scaled
            and self.prices == wanted.prices
            and self.lots == wanted.lots
            and all(left.get(id) == -self.lots for id in self.ids)
        )


# ------------------------------------------------------------------------------------------------------- the loop


def play(
    trader: Trader,
    broker: SimulatedBroker,
    events: "Iterable[MarketEvent | BookEvent]",
    watch: "Callable[[MarketEvent | BookEvent, list[News]], None] | None" = None,
) -> None:
    """Play market events: the broker fills what was sent before, the trader hears of it and decides.

    Parameters
    ----------
    trader, broker
        Both begin with the same cash and instruments.
    events : iterable of MarketEvent or BookEvent
        In order of time: a `History`, or what a feed delivers.
    watch : callable, optional
        Called after each event with it and all news about it, for a journal or a record.

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
    for event in events:
        broker.on(event)
        news = broker.events()
        for one in news:
            trader.on(one)
        sent = trader.on(event)
        if sent:
            for message in sent:
                if type(message) is Order:
                    broker.submit(message)
                else:
                    broker.cancel(message)  # type: ignore[arg-type]
            more = broker.events()
            for one in more:
                trader.on(one)
            news += more
        if watch is not None:
            watch(event, news)


# ---------------------------------------------------------------------------------------------------------- strategies


def parts_of(strategy: Any) -> tuple[Policy, Any]:
    """Return the policy and the limits (or None) of a strategy, a policy, or a plain function of a `View`."""
    if not isinstance(strategy, Policy) and hasattr(strategy, "policy"):  # policies may wrap a policy themselves
        return as_policy(strategy.policy), getattr(strategy, "limits", None)
    return as_policy(strategy), None
