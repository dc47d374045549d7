"""Money, shares and the one rounding: an account counts whole micro-units of a currency and whole lots of a symbol."""

import re
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from math import ceil, floor, inf, nan
from typing import Any

import numpy as np

from .._frozen import frozen
from ..errors import InputError, OrderError, UnknownName, did_you_mean

MICRO = 1_000_000
MOST_MICRO = 2**62
"""No amount may be larger, so that sums of a few stay below 2**63: 4.6 million million of the currency."""
MOST_LOTS = 2**52
_UNIT = 10**8  # lots are counted in hundred-millionths of a share


def micro_of(value: "int | float | str | Decimal") -> int:
    """Return an amount of money in millionths, rounded to the nearest; the one way into the ledger.

    Examples
    --------
    >>> micro_of(12.34), micro_of("0.0000015"), micro_of(-1)
    (12340000, 2, -1000000)
    >>> micro_of(float("nan"))
    Traceback (most recent call last):
    longshort.errors.OrderError: Money must be a finite amount of at most 4611686018427, was nan.
    """
    if isinstance(value, str):
        try:
            value = Decimal(value)
        except InvalidOperation:
            raise OrderError(f"Money must be a number such as '12.34', was {value!r}.") from None
    limit = MOST_MICRO // MICRO
    if not _is_number(value) or not -limit <= value <= limit:
        raise OrderError(f"Money must be a finite amount of at most {limit}, was {value}.")
    return round(value * MICRO)


@frozen(order=True)
class Money:
    """An amount of a currency, exact to a millionth.

    Parameters
    ----------
    micro : int
        Millionths; `Money.of` takes ordinary amounts.
    currency : str, default="USD"
        Amounts of different currencies do not add.

    Examples
    --------
    >>> Money.of("10.10") + Money.of(0.25), Money.of(10) * 3
    (Money(10.35 USD), Money(30.00 USD))
    >>> Money.of(1) + Shares(1)
    Traceback (most recent call last):
    TypeError: unsupported operand type(s) for +: 'Money' and 'Shares'
    """

    micro: int
    currency: str = "USD"

    def __post_init__(self):
        if type(self.micro) is not int or not -MOST_MICRO < self.micro < MOST_MICRO:
            raise _not_whole("Money", self.micro, 62, "Use Money.of(12.34).")

    @classmethod
    def of(cls, amount: "int | float | str | Decimal", currency: str = "USD") -> "Money":
        """Return an amount given in whole units of the currency, rounded to the nearest millionth."""
        return cls(micro_of(amount), currency)

    def _same(self, other: "Money") -> None:
        if self.currency != other.currency:
            raise OrderError(f"Money of one currency is needed, was {self.currency} and {other.currency}. Convert one.")

    def __add__(self, other: "Money") -> "Money":
        if not isinstance(other, Money):
            return NotImplemented
        self._same(other)
        return Money(self.micro + other.micro, self.currency)

    def __sub__(self, other: "Money") -> "Money":
        if not isinstance(other, Money):
            return NotImplemented
        self._same(other)
        return Money(self.micro - other.micro, self.currency)

    def __mul__(self, times: int) -> "Money":
        return Money(self.micro * times, self.currency) if type(times) is int else NotImplemented

    __rmul__ = __mul__

    def __neg__(self) -> "Money":
        return Money(-self.micro, self.currency)

    def __float__(self) -> float:
        return self.micro / MICRO

    def __str__(self) -> str:
        exact = f"{Decimal(self.micro) / MICRO:.6f}"
        return f"{re.sub(r'(?<=[.][0-9]{2})0+$', '', exact)} {self.currency}"

    def __repr__(self) -> str:
        return f"Money({self})"


@frozen(order=True)
class Shares:
    """A whole number of lots, below zero for selling or being short; what a lot is says the `Instrument`.

    Examples
    --------
    >>> Shares(100) - Shares(30), -Shares(5)
    (Shares(70), Shares(-5))
    >>> Shares(0.5)
    Traceback (most recent call last):
    longshort.errors.OrderError: Shares must be a whole number below 2**52, was 0.5. Use Instrument.shares(0.5).
    """

    lots: int

    def __post_init__(self):
        if type(self.lots) is not int or not -MOST_LOTS < self.lots < MOST_LOTS:
            raise _not_whole("Shares", self.lots, 52, f"Use Instrument.shares({self.lots!r}).")

    def __add__(self, other: "Shares") -> "Shares":
        return Shares(self.lots + other.lots) if isinstance(other, Shares) else NotImplemented

    def __sub__(self, other: "Shares") -> "Shares":
        return Shares(self.lots - other.lots) if isinstance(other, Shares) else NotImplemented

    def __neg__(self) -> "Shares":
        return Shares(-self.lots)

    def __bool__(self) -> bool:
        return self.lots != 0

    def __repr__(self) -> str:
        return f"Shares({self.lots})"


def _not_whole(what: str, value: Any, bits: int, advice: str) -> OrderError:
    return OrderError(f"{what} must be a whole number below 2**{bits}, was {value!r}. {advice}")


def steps_of(value: Any, step: float, rounding: str = "toward zero") -> Any:
    """Return how many whole steps a quantity (lots) or a price (ticks) has: the one place where orders are rounded.

    Parameters
    ----------
    value : float or array
        A whole multiple of the step that floating point missed by a hair counts as met. A number must be finite.
    step : float
        The lot or the tick.
    rounding : {"toward zero", "up", "down"}
        Where to go from between two steps.

    Returns
    -------
    int or float64 array
        Of an array whole numbers, NaN and infinite where it was.

    Examples
    --------
    >>> steps_of(-7.9, 1.0), steps_of(0.3, 0.1), steps_of(10.004, 0.01, "up"), steps_of(10.006, 0.01, "down")
    (-7, 3, 1001, 1000)
    """
    hair = 1e-12
    if isinstance(value, np.ndarray):
        found = value if step == 1.0 else value / step
        if rounding == "toward zero":
            return np.trunc(found * (1.0 + hair))
        _require_rounding(rounding)
        return np.ceil(found - np.abs(found) * hair) if rounding == "up" else np.floor(found + np.abs(found) * hair)
    if not _is_number(step) or not 0 < step < inf:
        raise OrderError(f"A lot or tick must be a finite number above zero, was {step!r}.")
    found = float(value) / step if _is_number(value) else nan
    if not -MOST_LOTS <= found <= MOST_LOTS:
        raise OrderError(f"A quantity or price must be finite and below {MOST_LOTS:.1e} steps of {step}, was {value}.")
    if rounding == "toward zero":
        return int(found * (1.0 + hair))
    _require_rounding(rounding)
    return ceil(found - abs(found) * hair) if rounding == "up" else floor(found + abs(found) * hair)


def _require_rounding(rounding: str) -> None:
    if rounding not in ("up", "down"):
        known = ("toward zero", "up", "down")
        raise UnknownName(f"A rounding was {rounding!r}. {did_you_mean(str(rounding), known)}")


@dataclass(frozen=True)
class Instrument:
    """What is traded: the size of a lot and a tick, the currency, the multiplier.

    Parameters
    ----------
    symbol : str
        Name, as in the bars.
    lot : float, default=1.0
        Shares in the smallest quantity that can be traded, 1e-8 or more.
    tick : float, default=0.01
        Smallest step of a limit or stop price, 1e-6 or more.
    currency : str, default="USD"
        Of prices and cash.
    multiplier : int, default=1
        Money per point and share, for futures.
    shortable : bool, default=True
        Whether it may be sold short.

    Examples
    --------
    >>> coin = Instrument("BTC", lot=0.001, tick=0.1)
    >>> coin.shares(0.4567), coin.price(60_000.07, down=True), coin.value(Shares(456), coin.price(60_000.07, down=True))
    (Shares(456), Money(60000.00 USD), Money(27360.00 USD))
    """

    symbol: str
    lot: float = 1.0
    tick: float = 0.01
    currency: str = "USD"
    multiplier: int = 1
    shortable: bool = True
    units: int = field(init=False, repr=False, compare=False)
    """Micro-money of one lot at a price of one, in hundred-millionths."""

    def __post_init__(self):
        for name in ("symbol", "currency"):
            if not isinstance(getattr(self, name), str) or not getattr(self, name):
                raise InputError(f"An instrument's {name} must be text, was {getattr(self, name)!r}.")
        require_flag("shortable", self.shortable)
        lot, tick = _exact("lot", self.lot, _UNIT), _exact("tick", self.tick, MICRO)
        if type(self.multiplier) is not int or not 1 <= self.multiplier <= 10**9:
            raise InputError(f"multiplier must be a whole number from 1 to 1e9, was {self.multiplier!r}.")
        object.__setattr__(self, "units", lot * self.multiplier)
        object.__setattr__(self, "tick", tick / MICRO)

    def shares(self, quantity: float) -> Shares:
        """Return a quantity in whole lots, rounded toward zero."""
        return Shares(steps_of(quantity, self.lot))

    def price(self, price: float, down: bool) -> Money:
        """Return a price on the grid of ticks, rounded down or up."""
        ticks = steps_of(price, self.tick, "down" if down else "up")
        return Money(ticks * round(self.tick * MICRO), self.currency)

    def value_micro(self, lots: int, price_micro: int) -> int:
        """Return what so many lots are worth, in micro-money; opposite quantities have opposite values."""
        if self.units == _UNIT:
            return lots * price_micro
        value = (abs(lots) * price_micro * self.units + _UNIT // 2) // _UNIT
        return value if lots >= 0 else -value

    def value(self, shares: Shares, price: Money) -> Money:
        """Return what shares are worth at a price."""
        if price.currency != self.currency:
            raise OrderError(f"{self.symbol} is traded in {self.currency}, the price was in {price.currency}.")
        return Money(self.value_micro(shares.lots, price.micro), self.currency)


def _is_number(value: Any) -> bool:
    """Whether `value` is a number and no NaN; True and False are none."""
    if isinstance(value, Decimal):
        return not value.is_nan()
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool) and value == value


def require_between(name: str, value: Any, low: float, high: float) -> None:
    """Allow a number only in [low, high]."""
    if not (_is_number(value) and low <= value <= high):
        raise InputError(f"{name} must be a number from {low:g} to {high:g}, was {value!r}.")


def require_flag(name: str, value: Any) -> None:
    """Allow True and False only: the text "false" would count as true."""
    if not isinstance(value, bool | np.bool_):
        raise InputError(f"{name} must be True or False, was {value!r}.")


def _exact(name: str, value: float, per_unit: int) -> int:
    """Return a lot or tick as a whole number of the smallest units."""
    scaled = value * per_unit if _is_number(value) and 0 < value <= 1e9 else 0.0
    if not 1 <= round(scaled) or abs(scaled - round(scaled)) > 1e-6 * scaled:
        raise InputError(f"{name} must be a multiple of {1 / per_unit:g}, at most 1e9, was {value!r}.")
    return round(scaled)
