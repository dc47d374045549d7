"""What traders and brokers tell each other: orders one way, market events, fills and postings the other."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .._frozen import frozen
from ..errors import OrderError, did_you_mean
from .units import MICRO, Money, Shares

KINDS = ("market", "limit", "stop", "stop_limit", "trailing_stop")
VALIDITIES = ("day", "gtc", "open", "close")
_NEEDS = {  # kind -> which prices it has: limit, stop, trail
    "market": (False, False, False),
    "limit": (True, False, False),
    "stop": (False, True, False),
    "stop_limit": (True, True, False),
    "trailing_stop": (False, False, True),
}


@frozen
class Order:
    """An instruction to buy or sell; it never changes.

    Parameters
    ----------
    id : str
        Ours, unique; a broker that sees it twice acts once.
    symbol : str
        What to trade.
    quantity : Shares
        Above zero buys, below sells; never zero.
    time : int
        UTC nanoseconds of the decision. Nothing fills at or before it.
    kind : {"market", "limit", "stop", "stop_limit", "trailing_stop"}
        A limit fills at its limit or better. A stop becomes a market order when the price reaches it, a stop-limit a
        limit order. The stop of a trailing one follows the best price since it was sent at the distance `trail`.
    valid : {"day", "gtc", "open", "close"}
        Until the end of the session; until cancelled; at the next opening or closing auction only.
    limit, stop, trail : Money, optional
        Prices per share, above zero, as `kind` needs them.
    group : str, default=""
        Orders of one group cancel each other as they fill (a stop and its target).
    reduces : bool, default=False
        May only make a position smaller: what would open one is cut off.
    reason : str, default="policy"
        Who asked for it: the policy, or the name of a limit.

    Raises
    ------
    OrderError
        Anything else: a float as a quantity, a missing or superfluous price, one that is not above zero.

    Examples
    --------
    >>> Order("1", "AAPL", Shares(100), time=0, kind="limit", limit=Money.of("187.20"))
    Order(1: buy 100 AAPL, limit 187.20 USD, day)
    >>> Order("2", "AAPL", Shares(-100), time=0, kind="stop")
    Traceback (most recent call last):
    longshort.errors.OrderError: A stop order needs stop=Money.of(price), was None.
    """

    id: str
    symbol: str
    quantity: Shares
    time: int
    kind: str = "market"
    valid: str = "day"
    limit: Money | None = None
    stop: Money | None = None
    trail: Money | None = None
    group: str = ""
    reduces: bool = False
    reason: str = "policy"

    def __post_init__(self):
        if type(self.quantity) is not Shares or self.quantity.lots == 0:
            raise OrderError(f"An order's quantity must be Shares other than zero, was {self.quantity!r}.")
        if type(self.time) is not int or type(self.id) is not str or type(self.symbol) is not str:
            raise OrderError(f"An order needs id and symbol as text and time as int, was {self.id!r}, {self.time!r}.")
        if self.kind == "market" and self.valid in VALIDITIES and self.limit is self.stop is self.trail is None:
            return
        if type(self.kind) is not str or self.kind not in _NEEDS:
            raise OrderError(f"An order's kind was {self.kind!r}. {did_you_mean(str(self.kind), KINDS)}")
        if self.valid not in VALIDITIES:
            raise OrderError(f"An order's valid was {self.valid!r}. {did_you_mean(str(self.valid), VALIDITIES)}")
        for name, needed in zip(("limit", "stop", "trail"), _NEEDS[self.kind], strict=True):
            price = getattr(self, name)
            if needed and (type(price) is not Money or price.micro <= 0):
                raise OrderError(f"A {self.kind} order needs {name}=Money.of(price), was {price!r}.")
            if not needed and price is not None:
                raise OrderError(f"A {self.kind} order has no {name}, was {price!r}.")

    @property
    def buys(self) -> bool:
        """Whether it buys."""
        return self.quantity.lots > 0

    def line(self) -> str:
        """Return the order as one canonical line of text, for hashes and journals."""
        if self.kind == "market":
            prices = "||"
        else:
            prices = "|".join("" if p is None else str(p.micro) for p in (self.limit, self.stop, self.trail))
        return (
            f"{self.id}|{self.time}|{self.symbol}|{self.quantity.lots}|{self.kind}|{self.valid}|{prices}|{self.group}|"
            f"{'1' if self.reduces else '0'}|{self.reason}"
        )

    def __repr__(self) -> str:
        named = (("limit", self.limit), ("stop", self.stop), ("trail", self.trail))
        prices = [f"{n} {p}" for n, p in named if p is not None]
        what = f"{'buy' if self.buys else 'sell'} {abs(self.quantity.lots)} {self.symbol}"
        return f"Order({self.id}: {', '.join([what, *(prices or [self.kind]), self.valid])})"


@frozen
class Cancel:
    """Take back what is left of an order.

    Examples
    --------
    >>> Cancel("17", time=0)
    Cancel(id='17', time=0)
    """

    id: str
    time: int


# ------------------------------------------------------------------------------------------------ what brokers report


@frozen
class Fill:
    """A trade, with what it cost beside its price; money in micro-units of the currency.

    Parameters
    ----------
    order : str
        Id of the order.
    symbol : str
        What was traded.
    time : int
        UTC nanoseconds, after the order's.
    lots : int
        Above zero bought, below sold.
    price_micro : int
        Paid or received per share, spread and impact included.
    commission_micro : int
        Charged on top of it.
    spread_micro, impact_micro : int
        How much of ``price x quantity`` is half the spread and our own push on the price.
    left : int
        Lots of the order still open.
    reason : str
        Of the order.
    currency : str
        Of the account.

    Examples
    --------
    >>> Fill("1", "KO", 0, 100, 50_010_000, 1_000_000, 1_000_000, 0).price
    Money(50.01 USD)
    """

    order: str
    symbol: str
    time: int
    lots: int
    price_micro: int
    commission_micro: int
    spread_micro: int = 0
    impact_micro: int = 0
    left: int = 0
    reason: str = "policy"
    currency: str = "USD"

    @property
    def quantity(self) -> Shares:
        """What was traded."""
        return Shares(self.lots)

    @property
    def price(self) -> Money:
        """Per share."""
        return Money(self.price_micro, self.currency)


POSTINGS = ("dividend", "split", "lieu", "borrow", "financing", "deposit")


@frozen
class Posting:
    """A change of the account without an order: a dividend, a split, a fee.

    Parameters
    ----------
    kind : {"dividend", "split", "lieu", "borrow", "financing", "deposit"}
        "lieu" is cash for the fraction of a share that a split left, "financing" interest on borrowed cash.
    symbol : str
        Empty where it concerns the cash only.
    time : int
        UTC nanoseconds.
    cash_micro : int
        Added to the cash.
    lots : int, default=0
        Added to the position.
    ratio : float, default=1.0
        Of a split: new shares for one old.

    Examples
    --------
    >>> Posting("dividend", "KO", 0, 12_500_000).cash_micro / 1e6
    12.5
    """

    kind: str
    symbol: str
    time: int
    cash_micro: int
    lots: int = 0
    ratio: float = 1.0


@frozen
class Ended:
    """An order that will not fill any further.

    Parameters
    ----------
    order : str
        Id.
    time : int
        UTC nanoseconds.
    why : {"expired", "cancelled", "refused", "sibling", "flat", "split"}
        "sibling": another order of its group filled; "flat": it could only reduce a position that is gone; "split": a
        split left less than a lot of it.
    left : int
        Lots it had still to fill.

    Examples
    --------
    >>> Ended("1", 0, "expired", 40).left
    40
    """

    order: str
    time: int
    why: str
    left: int


# -------------------------------------------------------------------------------------------------- what markets show

OPEN, CLOSE = "open", "close"


@dataclass(slots=True, eq=False)
class MarketEvent:
    """What became known at one instant about all symbols: the opening prices of a bar, or the whole bar.

    Parameters
    ----------
    kind : {"open", "close"}
        Of a bar. At "open" only `open`, `state` and the actions are known; decisions are made at "close".
    time : int
        UTC nanoseconds.
    session : int
        Exchange date, days since 1970-01-01.
    open, high, low, close, volume : float array (n_symbols,)
        Raw; NaN where there is none. At "open" high, low and close are None, `volume` is what may be traded against
        (a history knows it, a live feed does not) and never reaches a decision.
    state : uint8 array (n_symbols,)
        `State` of every cell.
    split, dividend : float array (n_symbols,) or None
        Actions that take effect with this bar, None for none.
    last : bool, default=True
        Whether the bar is the last of its session.
    returns : float array (n_symbols,), optional
        Total simple return of the bar.
    volatility, usual_volume : float array (n_symbols,), optional
        Of a usual bar, as known when this one began (mean absolute return times 1.25, mean volume), for our impact.

    Examples
    --------
    >>> event = MarketEvent("close", 0, 0, close=np.array([50.0]), state=np.zeros(1, np.uint8))
    >>> event.close
    array([50.])
    """

    kind: str
    time: int
    session: int
    state: np.ndarray
    open: Any = None
    high: Any = None
    low: Any = None
    close: Any = None
    volume: Any = None
    split: np.ndarray | None = None
    dividend: np.ndarray | None = None
    last: bool = True
    returns: Any = None
    volatility: Any = None
    usual_volume: Any = None


@dataclass(frozen=True, slots=True)
class BookEvent:
    """The order book of one symbol at one instant, best level first; a quote is a book of one level.

    Parameters
    ----------
    time : int
        UTC nanoseconds.
    symbol : str
        Which.
    bids, asks : tuple of (price_micro, lots)
        Displayed.

    Examples
    --------
    >>> BookEvent.of(0, "IBM", bids=[(182.50, 300)], asks=[(182.53, 200), (182.54, 500)]).spread_micro
    30000
    """

    time: int
    symbol: str
    bids: tuple[tuple[int, int], ...]
    asks: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, time: int, symbol: str, bids: Any, asks: Any) -> "BookEvent":
        """Return a book whose prices are given in whole units of the currency."""
        sides = (tuple((round(float(p) * MICRO), int(q)) for p, q in side) for side in (bids, asks))
        return cls(int(time), symbol, *sides)

    def __post_init__(self):
        for name, side, sign in (("bids", self.bids, -1), ("asks", self.asks, 1)):
            whole = isinstance(side, tuple) and all(type(p) is type(q) is int and p > 0 <= q for p, q in side)
            if not whole or (prices := [sign * price for price, _ in side]) != sorted(prices):
                raise OrderError(f"A book's {name} must be whole, prices above zero, the best first, were {side}.")

    @property
    def spread_micro(self) -> int | None:
        """Best ask minus best bid, None without both."""
        return self.asks[0][0] - self.bids[0][0] if self.bids and self.asks else None
