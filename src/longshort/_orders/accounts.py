"""Accounts: cash and positions as whole numbers, changed by fills and postings only.

Every account keeps two books at once. One is cash and lots; the other is what the open positions cost (`basis`) and
what the closed ones made (`realised`). After any sequence of messages

    cash + basis = deposits + realised - commission + dividends + ...

holds to the micro-unit, and `Account.audit` raises if it ever does not.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf, nan
from typing import Any

import numpy as np

from ..errors import InputError, LedgerError, OrderError, UnknownName, did_you_mean
from ..native import core
from .messages import POSTINGS, Fill, Posting
from .units import MICRO, MOST_MICRO, Instrument, Money, Shares, micro_of, require_between, require_flag

_MOST = MOST_MICRO / MICRO
FRACTION = 1e-9
"""Less than this part of a lot, or of the position, is rounding: a split pays nothing out for it."""


@dataclass(frozen=True)
class Margin:
    """How much of its positions an account must own.

    Parameters
    ----------
    initial : float, default=0.5
        Equity over gross value that a new position needs (Regulation T); 1 is an account that borrows nothing.
    maintenance_long, maintenance_short : float, default=0.25, 0.3
        Below it everything is sold at the next opening.
    shorts : bool, default=True
        Whether it may sell short.

    Examples
    --------
    >>> Margin.cash()
    Margin(initial=1.0, maintenance_long=0.0, maintenance_short=0.0, shorts=False)
    """

    initial: float = 0.5
    maintenance_long: float = 0.25
    maintenance_short: float = 0.3
    shorts: bool = True

    def __post_init__(self):
        for name in ("initial", "maintenance_long", "maintenance_short"):
            require_between(f"{name}, a share of the value,", getattr(self, name), 0, 1)
        require_flag("shorts", self.shorts)

    @classmethod
    def cash(cls) -> "Margin":
        """Return the rules of an account that neither borrows nor sells short."""
        return cls(1.0, 0.0, 0.0, shorts=False)


@dataclass(frozen=True, slots=True)
class Position:
    """What is held of one symbol.

    Parameters
    ----------
    symbol : str
        Which.
    quantity : Shares
        Below zero for a short.
    entry_price : float
        Average, in today's shares; NaN without a position.
    basis : Money
        What the open position cost; below zero what a short brought in.
    realised : Money
        What closed parts made, before commissions.

    Examples
    --------
    >>> account = Account(1000, ["KO"])
    >>> account.apply(Fill("1", "KO", 0, 10, 50_000_000, 0))
    >>> account.position("KO")
    Position(symbol='KO', quantity=Shares(10), entry_price=50.0, basis=Money(500.00 USD), realised=Money(0.00 USD))
    """

    symbol: str
    quantity: Shares
    entry_price: float
    basis: Money
    realised: Money


class Account:
    """Cash and positions in one currency.

    Parameters
    ----------
    cash : float, int, str or Money
        To begin with.
    instruments : sequence of Instrument or str
        What may be held, in the order of every array; a name alone is shares of one lot and cents.

    Attributes
    ----------
    cash_micro : int
        Millionths.
    shorts : int
        How many symbols are held short.
    totals : dict of str to int
        What was paid and received so far by kind, micro: "commission", "spread", "impact" (both inside the prices) and
        every kind of `Posting`.

    Raises
    ------
    OrderError
        Currencies differ, or an amount is beyond the ledger.

    Examples
    --------
    >>> account = Account(100_000, ["AAPL", "SPY"])
    >>> account.apply(Fill("1", "SPY", 0, -50, 400_000_000, 1_000_000))
    >>> account.cash, account.equity(np.array([np.nan, 390.0]))
    (Money(119999.00 USD), Money(100499.00 USD))
    >>> Account(Money.of(1, "EUR"), ["AAPL"])
    Traceback (most recent call last):
    longshort.errors.OrderError: Cash is in EUR, but AAPL is traded in USD. One account holds one currency.
    """

    def __init__(self, cash: "float | int | str | Money", instruments: "Sequence[Instrument | str]"):
        if isinstance(instruments, str) or not isinstance(instruments, Iterable):
            raise InputError(f"Instruments must be a list of symbols or Instrument(...), was {instruments!r}.")
        listed = tuple(i if isinstance(i, Instrument) else Instrument(i) for i in instruments)
        if isinstance(cash, Money):
            self.currency, self.cash_micro = cash.currency, cash.micro
        else:
            self.currency, self.cash_micro = listed[0].currency if listed else "USD", micro_of(cash)
        for instrument in listed:
            if instrument.currency != self.currency:
                raise OrderError(
                    f"Cash is in {self.currency}, but {instrument.symbol} is traded in {instrument.currency}. "
                    "One account holds one currency."
                )
        self.instruments = listed
        self.symbols = tuple(i.symbol for i in listed)
        self.index = {symbol: j for j, symbol in enumerate(self.symbols)}
        if len(self.index) < len(listed):
            raise InputError(f"Symbols must differ, were {self.symbols}.")
        n = len(listed)
        self.lots_held = [0] * n
        self.basis_micro = [0] * n
        self.realised_micro = [0] * n
        self.totals: dict[str, int] = dict.fromkeys(("commission", "spread", "impact", *POSTINGS), 0)
        self.totals["deposit"] = self.cash_micro
        self.sizes = np.array([i.lot * i.multiplier for i in listed])
        """Money per lot at a price of one."""
        self.shorts = 0
        self.plain = all(i.units == 10**8 for i in listed)
        """Whether every lot is one share, so that values are plain products."""
        self._lots = np.zeros(n, np.int64)  # the same as `lots_held`; changes in place and is never handed out
        self._changed: set[int] = set()  # columns of which the two arrays say what was
        self._arrays = _sealed(np.zeros(n), np.full(n, nan))

    @property
    def lots(self) -> np.ndarray:
        """Lots held, read-only int64 (n_symbols,), below zero for shorts."""
        lots = self._lots.copy()
        lots.setflags(write=False)
        return lots

    @property
    def shares(self) -> np.ndarray:
        """The same in shares, read-only float (n_symbols,)."""
        return (self._renewed() if self._changed else self._arrays)[0]

    @property
    def entry_price(self) -> np.ndarray:
        """Average price of the open positions, read-only float (n_symbols,), NaN without."""
        return (self._renewed() if self._changed else self._arrays)[1]

    def _renewed(self) -> "_Arrays":
        """Return shares and entry prices anew; arrays given out before keep what they say."""
        shares, entry = self._arrays[0].copy(), self._arrays[1].copy()
        for j in self._changed:
            held = self.lots_held[j]
            shares[j] = held * self.instruments[j].lot
            entry[j] = self.basis_micro[j] / (held * self.sizes.item(j) * MICRO) if held else nan
        self._changed.clear()
        self._arrays = _sealed(shares, entry)
        return self._arrays

    @property
    def cash(self) -> Money:
        """Cash, below zero when borrowed."""
        return Money(self.cash_micro, self.currency)

    def apply(self, news: "Fill | Posting") -> None:
        """Take in a fill or a posting."""
        if type(news) is Fill:
            self._filled(news)
        elif type(news) is Posting:
            self._posted(news)
        else:
            raise OrderError(f"An account takes fills and postings, was {news!r}.")

    def _filled(self, fill: Fill) -> None:
        j = self.index.get(fill.symbol)
        if j is None:
            j = self._column(fill.symbol)  # raises
        lots, price, commission = fill.lots, fill.price_micro, fill.commission_micro
        value_micro, held, basis = self.instruments[j].value_micro, self.lots_held[j], self.basis_micro[j]
        value = value_micro(lots, price)
        cash = self.cash_micro - value - commission
        if type(cash) is not int or not price > 0:  # one number that is no int makes the sum none
            raise OrderError(f"A fill is whole numbers, at a price above zero; this was {fill!r}.")
        self.cash_micro = cash
        totals = self.totals
        totals["commission"] -= commission
        totals["spread"] -= fill.spread_micro
        totals["impact"] -= fill.impact_micro
        if not (held > 0 > lots or held < 0 < lots):
            self.basis_micro[j] = basis + value
        else:
            if abs(lots) < abs(held):
                proceeds, part = value, basis * -lots // held
            else:  # all of it, and what is left of the fill opens anew
                proceeds, part = value_micro(-held, price), basis
            self.basis_micro[j] = basis + value - proceeds - part
            self.realised_micro[j] -= proceeds + part
        self._hold(j, held + lots)

    def _hold(self, j: int, lots: int) -> None:
        self.shorts += (lots < 0) - (self.lots_held[j] < 0)
        self.lots_held[j] = self._lots[j] = lots
        self._changed.add(j)

    def _posted(self, posting: Posting) -> None:
        if posting.kind not in POSTINGS:
            raise UnknownName(f"A posting's kind was {posting.kind!r}. {did_you_mean(str(posting.kind), POSTINGS)}")
        whole = type(posting.cash_micro) is type(posting.lots) is int
        if not whole or (posting.kind == "split" and not 0 < posting.ratio < inf):
            raise OrderError(f"A posting is whole numbers, a split's ratio above zero; this was {posting!r}.")
        self.cash_micro += posting.cash_micro
        self.totals[posting.kind] += posting.cash_micro
        if posting.kind == "split":
            self._split(self._column(posting.symbol), posting)
        elif posting.kind == "lieu":
            self.realised_micro[self._column(posting.symbol)] += posting.cash_micro
        elif posting.lots:
            j = self._column(posting.symbol)
            self._hold(j, self.lots_held[j] + posting.lots)

    def _split(self, j: int, posting: Posting) -> None:
        """Change a position; what the fraction of a lot that is paid out had cost goes with it."""
        before = self.lots_held[j]
        exact, whole = before * posting.ratio, before + posting.lots
        if abs(exact - whole) > FRACTION * max(1.0, abs(whole)):
            basis = self.basis_micro[j]
            part = round(basis * (1.0 - whole / exact)) if whole else basis
            self.basis_micro[j] -= part
            self.realised_micro[j] -= part
        self._hold(j, whole)

    def _column(self, symbol: str) -> int:
        try:
            return self.index[symbol]
        except KeyError:
            raise UnknownName(f"The account has no {symbol!r}. {did_you_mean(symbol, self.symbols)}") from None

    def worth(self, price: np.ndarray) -> tuple[np.ndarray, float, int]:
        """Value positions at finite prices (n_symbols,).

        Returns
        -------
        values : float array (n_symbols,)
            Of each position, below zero for shorts.
        gross : float
            Sum of what they are worth either way.
        equity_micro : int
            Cash plus positions, each rounded to a millionth.
        """
        values = np.empty(len(price))
        gross, micro = core.worth(self._lots, self.sizes, price, values)
        if not gross < _MOST:
            raise OrderError(f"Positions must be worth less than {MOST_MICRO // MICRO:,}, the most a ledger counts.")
        if micro is None:  # lots that are not a share each
            held = np.flatnonzero(self._lots).tolist()
            prices = np.rint(price[held] * MICRO).astype(np.int64).tolist()
            each = zip(held, prices, strict=True)
            micro = sum(self.instruments[j].value_micro(self.lots_held[j], p) for j, p in each)
        return values, gross, self.cash_micro + micro

    def gross_with(self, lots: "Sequence[int]", price: np.ndarray) -> float:
        """Return the gross value at finite prices as if so many lots were held."""
        gross, _ = core.worth(np.array(lots, np.int64), self.sizes, price, np.empty(len(lots)))
        return gross

    def equity_micro(self, price: np.ndarray) -> int:
        """Return cash plus positions at finite prices (n_symbols,), rounded to a millionth each."""
        return self.worth(price)[2]

    def change_to(self, weights: np.ndarray, equity: float, price: np.ndarray, state: np.ndarray) -> np.ndarray:
        """Return how many lots more would make positions so many times the equity, whole ones, as `steps_of` counts.

        Float (n_symbols,): NaN where `state` is not OK, and where weight or price are NaN.
        """
        change = np.empty(len(price))
        core.lots_toward(weights, equity, price, self.sizes, self._lots, state, change)
        return change

    def equity(self, prices: np.ndarray) -> Money:
        """Return cash plus positions at prices given as floats (n_symbols,)."""
        given = np.asarray(prices, np.float64)
        if given.shape != self.lots.shape:
            raise InputError(f"prices must be one for each of {len(self.symbols)} symbols, had shape {given.shape}.")
        if not np.isfinite(given[self.lots != 0]).all():
            raise OrderError("Every symbol that is held needs a finite price.")
        return Money(self.equity_micro(np.where(self.lots != 0, given, 0.0)), self.currency)

    def position(self, symbol: str) -> Position:
        """Return what is held of a symbol."""
        j = self._column(symbol)
        basis, realised = (Money(book[j], self.currency) for book in (self.basis_micro, self.realised_micro))
        return Position(symbol, Shares(self.lots_held[j]), float(self.entry_price[j]), basis, realised)

    def positions(self) -> dict[str, Position]:
        """Return what is held, by symbol."""
        return {self.symbols[j]: self.position(self.symbols[j]) for j in np.flatnonzero(self.lots)}

    def audit(self) -> None:
        """Raise `LedgerError` unless the two books agree to the micro-unit."""
        posted = sum(self.totals[k] for k in self.totals if k not in ("spread", "impact", "lieu"))
        left, right = self.cash_micro + sum(self.basis_micro), posted + sum(self.realised_micro)
        if left != right:
            raise LedgerError(
                f"The account does not add up: cash {self.cash_micro} + basis {sum(self.basis_micro)} should be "
                f"{right} micro-{self.currency}, off by {left - right}. Report this with the journal."
            )

    def to_dict(self) -> dict[str, Any]:
        """Return cash, positions and totals, exact, as a JSON-able mapping."""
        return {
            "currency": self.currency,
            "cash_micro": self.cash_micro,
            "lots": list(self.lots_held),
            "basis_micro": list(self.basis_micro),
            "realised_micro": list(self.realised_micro),
            "totals": dict(self.totals),
        }

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Take up what `to_dict` gave of an account of the same symbols; `LedgerError` where it does not add up."""
        own = self.to_dict()
        lists = ("lots", "basis_micro", "realised_micro")
        if set(kept) != set(own) or any(len(kept[name]) != len(own[name]) for name in lists):
            raise InputError(f"An account of {len(self.symbols)} symbols was expected, was {str(kept)[:80]}.")
        if kept["currency"] != self.currency or set(kept["totals"]) != set(self.totals):
            raise InputError(f"An account in {self.currency} was expected, this was in {kept['currency']!r}.")
        if not all(type(n) is int for name in lists for n in (*kept[name], kept["cash_micro"])):
            raise InputError("An account holds whole numbers only.")
        self.cash_micro, self.totals = kept["cash_micro"], {name: kept["totals"][name] for name in self.totals}
        self.basis_micro, self.realised_micro = list(kept["basis_micro"]), list(kept["realised_micro"])
        for j, lots in enumerate(kept["lots"]):
            self._hold(j, lots)
        self.audit()

    def __repr__(self) -> str:
        held = ", ".join(f"{p.quantity.lots} {p.symbol}" for p in self.positions().values())
        return f"Account({self.cash}{'; ' + held if held else ''})"


_Arrays = tuple[np.ndarray, np.ndarray]


def _sealed(shares: np.ndarray, entry: np.ndarray) -> _Arrays:
    shares.setflags(write=False)
    entry.setflags(write=False)
    return shares, entry


def replayed(cash: "float | int | str | Money", instruments: Any, news: "Iterable[Fill | Posting]") -> Account:
    """Return the account that a sequence of fills and postings leaves.

    Examples
    --------
    >>> replayed(1000, ["KO"], [Fill("1", "KO", 0, 10, 50_000_000, 1_000_000)])
    Account(499.00 USD; 10 KO)
    """
    account = Account(cash, instruments)
    for one in news:
        account.apply(one)
    account.audit()
    return account
