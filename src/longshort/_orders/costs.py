"""What trading costs: commission schedules, half the spread, our own push on the price, borrowing shares and cash."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import sqrt
from typing import Any, Protocol, runtime_checkable

from ..errors import InputError, UnknownName, did_you_mean
from .units import MICRO, require_between

_BP = 10**10  # a basis point is counted in millionths, of ten-thousandths


@runtime_checkable
class Commission(Protocol):
    """A schedule of commissions."""

    def total_micro(self, shares: float, value_micro: int, month_shares: float) -> int:
        """Return what an order owes that has filled so many shares for that value.

        `month_shares` is what the account had traded in the calendar month before the order, for tiers.
        """
        ...

    def to_dict(self) -> dict[str, Any]:
        """Return the schedule as a JSON-able mapping."""
        ...


@dataclass(frozen=True)
class PerShare:
    """A rate per share with a minimum per order and a cap, as at Interactive Brokers (fixed).

    Parameters
    ----------
    rate : float, default=0.005
        Money per share.
    minimum : float, default=1.0
        Money per order.
    most : float, default=0.01
        Cap as a share of the order's value; it wins over the minimum.

    Examples
    --------
    >>> fixed = PerShare()
    >>> [fixed.total_micro(n, round(n * 20e6), 0) / 1e6 for n in (1, 100, 1000)]
    [0.2, 1.0, 5.0]
    """

    rate: float = 0.005
    minimum: float = 1.0
    most: float = 0.01

    def __post_init__(self):
        _above_zero(self, "rate", "minimum", "most")

    def total_micro(self, shares: float, value_micro: int, month_shares: float) -> int:
        """Return the commission of an order so far."""
        return round(min(max(self.rate * shares, self.minimum) * MICRO, self.most * value_micro))

    def to_dict(self) -> dict[str, Any]:
        """Return the schedule."""
        return {"kind": "per share", "rate": self.rate, "minimum": self.minimum, "most": self.most}


@dataclass(frozen=True)
class Tiered:
    """A rate per share that falls with the shares traded in the month, as at Interactive Brokers (tiered).

    Parameters
    ----------
    tiers : tuple of (shares, rate)
        Up to so many shares a month the rate applies; the last rate holds beyond.
    minimum, most : float
        As in `PerShare`.

    Examples
    --------
    >>> tiered = Tiered()
    >>> tiered.total_micro(1000, 20_000_000_000, 0) / 1e6, tiered.total_micro(1000, 20_000_000_000, 299_500) / 1e6
    (3.5, 2.75)
    """

    tiers: tuple[tuple[float, float], ...] = ((300_000, 0.0035), (3_000_000, 0.002), (20_000_000, 0.0015))
    minimum: float = 0.35
    most: float = 0.01

    def __post_init__(self):
        _above_zero(self, "minimum", "most")
        try:
            ends = [end for end, _ in self.tiers]
        except (TypeError, ValueError):
            raise InputError(f"tiers must be pairs of (shares, rate), were {self.tiers!r}.") from None
        if not ends or ends != sorted(set(ends)) or not all(end > 0 and rate >= 0 for end, rate in self.tiers):
            raise InputError(f"tiers must be (shares, rate) with rising shares, were {self.tiers!r}.")

    def total_micro(self, shares: float, value_micro: int, month_shares: float) -> int:
        """Return the commission of an order so far."""
        owed, at, end = 0.0, month_shares, month_shares + shares
        for i, (limit, rate) in enumerate(self.tiers):
            stop = end if i == len(self.tiers) - 1 else min(end, limit)
            if stop > at:
                owed, at = owed + rate * (stop - at), stop
        return round(min(max(owed, self.minimum) * MICRO, self.most * value_micro))

    def to_dict(self) -> dict[str, Any]:
        """Return the schedule."""
        tiers = [list(tier) for tier in self.tiers]
        return {"kind": "tiered", "tiers": tiers, "minimum": self.minimum, "most": self.most}


@dataclass(frozen=True)
class BasisPoints:
    """A share of the traded value, with a minimum per order.

    Parameters
    ----------
    bp : float, default=5.0
        Hundredths of a percent of the value.
    minimum : float, default=0.0
        Money per order.

    Examples
    --------
    >>> BasisPoints(10).total_micro(100, 12_345_000_000, 0) / 1e6
    12.345
    """

    bp: float = 5.0
    minimum: float = 0.0

    def __post_init__(self):
        _above_zero(self, "bp", "minimum")

    def total_micro(self, shares: float, value_micro: int, month_shares: float) -> int:
        """Return the commission of an order so far."""
        owed = (value_micro * round(self.bp * MICRO) + _BP // 2) // _BP
        return max(owed, round(self.minimum * MICRO)) if self.minimum else owed

    def to_dict(self) -> dict[str, Any]:
        """Return the schedule."""
        return {"kind": "basis points", "bp": self.bp, "minimum": self.minimum}


@dataclass(frozen=True)
class Costs:
    """What trading costs; everything above zero unless you say otherwise.

    Parameters
    ----------
    commission : Commission, default=PerShare()
        The schedule: `PerShare`, `Tiered`, `BasisPoints`.
    half_spread_bp : float, default=2.0
        Half the spread in hundredths of a percent of the price, paid by whatever takes liquidity.
    impact : float, default=0.5
        Our own push on the price is ``impact x volatility x sqrt(shares / volume)``, volatility and volume of a usual
        bar (the square-root law; Toth et al., 2011). Nothing where the volume is not known.
    borrow : float, default=0.005
        A year, of the value of shares sold short; each calendar day costs a 360th.
    financing : float, default=0.06
        A year, of cash owed to the broker.
    borrow_by_symbol : mapping of str to float, optional
        Rates of shares that are hard to borrow. A name that a broker does not trade raises `UnknownName` there: the
        share it was meant for would be lent at the usual rate.

    Examples
    --------
    >>> Costs()
    Costs(per share, half spread 2 bp, impact 0.5, borrow 0.5 %, financing 6 %)
    >>> Costs.flat(10).commission, Costs.flat(10).half_spread_bp
    (BasisPoints(bp=10, minimum=0.0), 0.0)
    """

    commission: Commission = field(default_factory=PerShare)
    half_spread_bp: float = 2.0
    impact: float = 0.5
    borrow: float = 0.005
    financing: float = 0.06
    borrow_by_symbol: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self):
        for name, most in (("half_spread_bp", 10_000), ("impact", 10_000), ("borrow", 200), ("financing", 200)):
            require_between(f"Costs.{name}", getattr(self, name), 0, most)
        _require_schedule("commission", self.commission)
        if not isinstance(self.borrow_by_symbol, Mapping):
            raise InputError(f"borrow_by_symbol must map symbols to rates, was {self.borrow_by_symbol!r}.")
        for symbol, rate in self.borrow_by_symbol.items():
            require_between(f"The rate to borrow {symbol}, a share a year,", rate, 0, 200)

    @classmethod
    def none(cls) -> "Costs":
        """Return costs of zero: for tests and for seeing what costs do, not for conclusions."""
        return cls.flat(0.0)

    @classmethod
    def flat(cls, bp: float) -> "Costs":
        """Return one charge in basis points of the traded value and nothing else."""
        return cls(BasisPoints(bp), 0.0, 0.0, 0.0, 0.0)

    def doubled(self) -> "Costs":
        """Return the same with spread, impact and rates doubled, and a commission twice as high."""
        rates = {symbol: 2 * rate for symbol, rate in self.borrow_by_symbol.items()}
        more = {name: 2 * getattr(self, name) for name in ("half_spread_bp", "impact", "borrow", "financing")}
        return replace(self, commission=Twice(self.commission), borrow_by_symbol=rates, **more)

    def spread_of(self, price_micro: int) -> int:
        """Return half the spread at a price, in micro-money per share, rounded up."""
        return -(-price_micro * round(self.half_spread_bp * MICRO) // _BP)

    def impact_of(self, price_micro: int, shares: float, volatility: float, usual_volume: float) -> int:
        """Return our push on the price, in micro-money per share, rounded up; at most a tenth of the price."""
        if not (self.impact > 0 and volatility > 0 and usual_volume > 0):
            return 0
        return int(price_micro * min(self.impact * volatility * sqrt(shares / usual_volume), 0.1)) + 1

    def borrow_of(self, symbol: str) -> float:
        """Return the yearly rate for shorting a symbol."""
        return self.borrow_by_symbol.get(symbol, self.borrow) if self.borrow_by_symbol else self.borrow

    def require_symbols(self, symbols: Sequence[str]) -> None:
        """Raise `UnknownName` where `borrow_by_symbol` has a rate for none of these symbols."""
        known = set(symbols)
        absent = [name for name in self.borrow_by_symbol if name not in known]
        if absent:
            raise UnknownName(
                f"Costs.borrow_by_symbol has rates for {len(absent)} symbols that are not traded here, such as "
                f"{absent[0]!r}. {did_you_mean(absent[0], symbols)} Of a longer table pass those of these symbols: "
                "{s: rates[s] for s in bars.symbols if s in rates}."
            )

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as a JSON-able mapping."""
        plain = {n: getattr(self, n) for n in ("half_spread_bp", "impact", "borrow", "financing")}
        return {"commission": self.commission.to_dict(), **plain, "borrow_by_symbol": dict(self.borrow_by_symbol)}

    def __repr__(self) -> str:
        schedule = self.commission.to_dict().get("kind", type(self.commission).__name__)
        return (
            f"Costs({schedule}, half spread {self.half_spread_bp:g} bp, impact {self.impact:g}, "
            f"borrow {100 * self.borrow:g} %, financing {100 * self.financing:g} %)"
        )


@dataclass(frozen=True)
class Twice:
    """A schedule of which everybody pays twice, to see whether a result bears it.

    Examples
    --------
    >>> Twice(BasisPoints(5)).total_micro(1, 1_000_000_000, 0)
    1000000
    """

    schedule: Commission

    def __post_init__(self):
        _require_schedule("schedule", self.schedule)

    def total_micro(self, shares: float, value_micro: int, month_shares: float) -> int:
        """Return the commission of an order so far."""
        return 2 * self.schedule.total_micro(shares, value_micro, month_shares)

    def to_dict(self) -> dict[str, Any]:
        """Return the schedule."""
        return {"kind": "twice", "schedule": self.schedule.to_dict()}


def _above_zero(owner: Any, *names: str) -> None:
    for name in names:
        require_between(f"{type(owner).__name__}.{name}", getattr(owner, name), 0, 1e9)


def _require_schedule(name: str, given: Any) -> None:
    if not isinstance(given, Commission) or isinstance(given, type):
        raise InputError(f"{name} must be a schedule such as PerShare(), was {given!r}.")
