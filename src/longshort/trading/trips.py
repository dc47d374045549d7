"""Round trips: what every position earned from the first share to the last."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf, nan
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import clock
from ..orders import MICRO, Fill, Posting

if TYPE_CHECKING:
    import pandas as pd

    from .result import BacktestResult


@dataclass(frozen=True)
class Trade:
    """One position from flat to flat; a reversal ends one and begins the next.

    Parameters
    ----------
    symbol : str
    side : {"long", "short"}
    entry_time, exit_time : int
        UTC nanoseconds of the first and the last fill; of the last row while it is open.
    shares : float
        Largest size, in shares of its day.
    entry_price, exit_price : float
        Averages, in today's shares.
    profit : float
        Net of commissions, with dividends; borrowing is charged to the account, not to trades.
    costs : float
        Commission, half spreads and impact.
    worst, best : float
        Largest loss and gain per value at entry while it was held (maximum adverse and favourable excursion), from the
        highs and lows of the bars it was held over.
    rows : int
        Bars from entry to exit.
    reason : str
        Of the order that closed it.
    open : bool
        Whether it was still held at the end, then valued at the last price.
    """

    symbol: str
    side: str
    entry_time: int
    exit_time: int
    shares: float
    entry_price: float
    exit_price: float
    profit: float
    costs: float
    worst: float
    best: float
    rows: int
    reason: str
    open: bool

    @property
    def value(self) -> float:
        """What was paid for it."""
        return self.shares * self.entry_price

    def __repr__(self) -> str:
        first, last = (clock.show(t)[:10] for t in (self.entry_time, self.exit_time))
        return (
            f"Trade({self.symbol} {self.side} {first} .. {last}, {self.shares:g} shares, {self.entry_price:.2f} -> "
            f"{self.exit_price:.2f}, {self.profit:+,.2f}{', open' if self.open else ''})"
        )


class Trades(Sequence[Trade]):
    """Round trips in order of their exit; the measures leave open ones aside.

    Examples
    --------
    >>> def trade(profit):
    ...     return Trade("KO", "long", 0, clock.DAY, 1.0, 100.0, 100.0 + profit, profit, 0.0, 0.0, 0.0, 1, "", False)
    >>> trades = Trades([trade(3.0), trade(1.0), trade(-2.0)])
    >>> round(trades.win_rate, 3), trades.profit_factor, trades.holding_days
    (0.667, 2.0, 1.0)
    """

    def __init__(self, trades: "Sequence[Trade]"):
        self._all = tuple(trades)
        self._closed = [trade for trade in self._all if not trade.open]

    def __len__(self) -> int:
        return len(self._all)

    def __getitem__(self, i: Any) -> Any:
        return self._all[i]

    def __iter__(self) -> Iterator[Trade]:
        return iter(self._all)

    @property
    def win_rate(self) -> float:
        """Share of closed trades that made money, NaN without any."""
        return sum(t.profit > 0 for t in self._closed) / len(self._closed) if self._closed else nan

    @property
    def profit_factor(self) -> float:
        """Sum of gains over sum of losses."""
        gains = sum(t.profit for t in self._closed if t.profit > 0)
        losses = -sum(t.profit for t in self._closed if t.profit < 0)
        return gains / losses if losses else (inf if gains else nan)

    @property
    def average(self) -> float:
        """Mean profit of a closed trade."""
        return sum(t.profit for t in self._closed) / len(self._closed) if self._closed else nan

    @property
    def holding_days(self) -> float:
        """Mean calendar days from entry to exit."""
        held = [(t.exit_time - t.entry_time) / clock.DAY for t in self._closed]
        return sum(held) / len(held) if held else nan

    def to_pandas(self) -> "pd.DataFrame":
        """Return one row a trade."""
        import pandas as pd

        names = list(Trade.__dataclass_fields__)
        frame = pd.DataFrame([[getattr(t, name) for name in names] for t in self._all], columns=names)
        for name in ("entry_time", "exit_time"):
            frame[name] = pd.to_datetime(frame[name], utc=True)
        return frame

    def __repr__(self) -> str:
        return (
            f"Trades({len(self)} round trips, {self.win_rate:.0%} won, profit factor {self.profit_factor:.2f}, "
            f"{self.average:+,.2f} each, held {self.holding_days:.1f} days)"
        )


class _Open:
    """A position under way."""

    __slots__ = (
        "bought", "bought_micro", "commission", "costs", "entry_time", "fraction", "income", "largest", "long", "lots",
        "reason", "sold", "sold_micro",
    )  # fmt: skip

    def __init__(self, time: int, long: bool):
        self.entry_time, self.long, self.lots, self.largest = time, long, 0, 0.0
        self.bought = self.sold = self.fraction = 0.0  # in today's lots
        self.bought_micro = self.sold_micro = self.commission = self.costs = self.income = 0
        self.reason = ""


def round_trips(result: "BacktestResult") -> Trades:
    """Return the round trips of a backtest."""
    account, found = result.account, []
    under_way: dict[str, _Open] = {}
    excursion = _Excursions(result)
    for one in sorted([*result.postings, *result.fills], key=_time):
        if type(one) is Posting:
            position = under_way.get(one.symbol)
            if position is None:
                continue
            if one.kind == "split":
                _split(position, one)
            elif one.kind == "lieu":
                _paid_out(position, one.cash_micro)
            else:
                position.income += one.cash_micro
            if not position.lots and one.kind == "lieu":
                instrument = account.instruments[account.index[one.symbol]]
                found.append(_closed(one.symbol, under_way.pop(one.symbol), one.time, instrument, excursion))
            continue
        assert type(one) is Fill
        instrument, lots = account.instruments[account.index[one.symbol]], one.lots
        value = instrument.value_micro(lots, one.price_micro)
        position = under_way.get(one.symbol)
        parts = [(lots, value, one.commission_micro, one.spread_micro + one.impact_micro)]
        if position is not None and abs(lots) > abs(position.lots) and (lots > 0) != (position.lots > 0):
            first = -position.lots
            share = first / lots
            closing = (first, instrument.value_micro(first, one.price_micro), *(round(c * share) for c in parts[0][2:]))
            parts = [closing, tuple(all_ - part for all_, part in zip(parts[0], closing, strict=True))]  # type: ignore[list-item]
        for n, worth, commission, away in parts:
            position = under_way.setdefault(one.symbol, _Open(one.time, n > 0))
            _add(position, n, worth, commission, away, one.reason)
            if not position.lots:
                found.append(_closed(one.symbol, under_way.pop(one.symbol), one.time, instrument, excursion))
    end = int(result.time[-1]) if len(result.time) else 0
    for symbol, position in under_way.items():
        instrument, last = account.instruments[account.index[symbol]], result.prices[-1, account.index[symbol]]
        value = instrument.value_micro(-position.lots, round(float(last) * MICRO))
        _add(position, -position.lots, value, 0, 0, "")
        found.append(_closed(symbol, position, end, instrument, excursion, still_open=True))
    return Trades(found)


def _time(message: "Fill | Posting") -> int:
    return message.time


def _split(position: _Open, split: Posting) -> None:
    position.fraction = position.lots * split.ratio - (position.lots + split.lots)
    position.lots += split.lots
    position.bought, position.sold = position.bought * split.ratio, position.sold * split.ratio
    position.largest *= split.ratio


def _paid_out(position: _Open, cash_micro: int) -> None:
    """Close the fraction of a lot that a split left, at what was paid for it."""
    if position.fraction > 0:
        position.sold, position.sold_micro = position.sold + position.fraction, position.sold_micro + cash_micro
    else:
        position.bought, position.bought_micro = position.bought - position.fraction, position.bought_micro - cash_micro
    position.reason = "lieu"


def _add(position: _Open, lots: int, value: int, commission: int, away: int, reason: str) -> None:
    position.lots += lots
    position.largest = max(position.largest, abs(position.lots))
    position.reason = reason
    position.commission += commission
    position.costs += commission + away
    if lots > 0:
        position.bought, position.bought_micro = position.bought + lots, position.bought_micro + value
    else:
        position.sold, position.sold_micro = position.sold - lots, position.sold_micro - value


def _closed(
    symbol: str, position: _Open, time: int, instrument: Any, excursion: "_Excursions", still_open: bool = False
) -> Trade:
    size = instrument.lot * instrument.multiplier * MICRO
    bought = position.bought_micro / (position.bought * size) if position.bought else nan
    sold = position.sold_micro / (position.sold * size) if position.sold else nan
    long = position.long
    entry, exit_ = (bought, sold) if long else (sold, bought)
    rows, worst, best = excursion.of(symbol, position.entry_time, time, entry, long)
    profit = position.sold_micro - position.bought_micro + position.income - position.commission
    return Trade(
        symbol,
        "long" if long else "short",
        position.entry_time,
        time,
        position.largest * instrument.lot,
        entry,
        exit_,
        profit / MICRO,
        position.costs / MICRO,
        worst,
        best,
        rows,
        position.reason,
        still_open,
    )


class _Excursions:
    """How far the price went against and for a position while it was held."""

    def __init__(self, result: "BacktestResult"):
        bars = result.bars
        self.time, self.index = result.time, result.account.index
        scale = bars.split_factor
        high, low = (bars[name] if name in bars else bars["close"] for name in ("high", "low"))
        self.high, self.low, self.scale = high * scale, low * scale, scale

    def of(self, symbol: str, entry_time: int, exit_time: int, entry: float, long: bool) -> tuple[int, float, float]:
        """Return rows held, worst and best return on the entry price."""
        j = self.index[symbol]
        first, last = np.searchsorted(self.time, [entry_time, exit_time]).tolist()
        last = min(last, len(self.time) - 1)
        rows = slice(first, last + 1)
        base = entry * self.scale[last, j]
        highest = np.fmax.reduce(self.high[rows, j]) / base - 1.0
        lowest = np.fmin.reduce(self.low[rows, j]) / base - 1.0
        worst, best = (lowest, highest) if long else (-highest, -lowest)
        return last - first, min(float(worst), 0.0), max(float(best), 0.0)
