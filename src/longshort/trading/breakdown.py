"""A result taken apart: by month, symbol, exit and limit, its gap between decision and fill, and its capacity."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, nan
from typing import TYPE_CHECKING

import numpy as np

from ..orders import MICRO
from .trips import Trade, Trades

if TYPE_CHECKING:
    from .result import BacktestResult


# ----------------------------------------------------------------------------------------------------------- by month


def by_month(result: "BacktestResult") -> tuple[np.ndarray, np.ndarray]:
    """Return the years (n_years,) and the compounded return of each month (n_years, 12), NaN where nothing was played.

    Examples
    --------
    >>> import longshort as ls
    >>> bars = ls.load_bars("AAPL", start="2013-11-01", end="2014-02-28", source="sample")
    >>> result = ls.trading.backtest(lambda view: np.array([1.0]), None, bars)
    >>> years, returns = by_month(result)
    >>> years.tolist(), np.isfinite(returns).sum(axis=1).tolist()
    ([2013, 2014], [2, 2])
    >>> float(np.nanprod(1 + returns) - 1).__round__(6) == result.scores()["total_return"].__round__(6)
    True
    """
    months = result.bars.dates.astype("datetime64[M]").astype(np.int64)
    years = np.arange(1970 + months[0] // 12, 1970 + months[-1] // 12 + 1)
    table = np.full((len(years), 12), nan)
    starts = np.flatnonzero(np.diff(months, prepend=months[0] - 1))
    table[months[starts] // 12 + 1970 - years[0], months[starts] % 12] = (
        np.multiply.reduceat(1.0 + result.returns, starts) - 1.0
    )
    return years, table


# ----------------------------------------------------------------------------------------- by symbol, and by exit rule


@dataclass(frozen=True)
class Share:
    """What part of the trades earned, in the account's currency, those still open at the last price.

    Parameters
    ----------
    name : str
        The symbol, or the reason of the exit.
    long, short : float
        Profit of each side, net of commission, spread and impact, with dividends.
    costs : float
        Commission, spread and impact, above zero.
    trades : int
    win_rate : float
        Of closed trades, NaN without any.
    """

    name: str
    long: float
    short: float
    costs: float
    trades: int
    win_rate: float

    @property
    def profit(self) -> float:
        """Both sides."""
        return self.long + self.short


def by_symbol(result: "BacktestResult") -> tuple[Share, ...]:
    """Return what each traded symbol earned, the best first.

    Together with borrowing and interest, which are charged to the account, it is the whole change of equity.

    Examples
    --------
    >>> import longshort as ls
    >>> bars = ls.load_bars(["AAPL", "IBM"], start="2013-01-01", end="2014-12-31", source="sample")
    >>> result = ls.trading.backtest(lambda view: np.array([0.5, -0.5]), None, bars)
    >>> shares = by_symbol(result)
    >>> [(one.name, one.long > 0, one.short > 0) for one in shares]
    [('AAPL', True, False), ('IBM', False, True)]
    >>> account = result.totals["borrow"][-1] + result.totals["financing"][-1]
    >>> bool(np.isclose(sum(one.profit for one in shares) + account, result.equity[-1] - result.equity[0]))
    True
    """
    return _shares(result.trades(), lambda trade: trade.symbol)


def by_exit(result: "BacktestResult") -> tuple[Share, ...]:
    """Return what trades earned by what closed them (the policy, a stop, a limit), the best first; open ones last."""
    shares = _shares(result.trades(), lambda trade: "still open" if trade.open else trade.reason)
    return tuple(sorted(shares, key=lambda one: one.name == "still open"))


def _shares(trades: Trades, key: Callable[[Trade], str]) -> tuple[Share, ...]:
    groups: dict[str, list[Trade]] = {}
    for trade in trades:
        groups.setdefault(key(trade), []).append(trade)
    found = [_share(name, members) for name, members in groups.items()]
    return tuple(sorted(found, key=lambda one: (-one.profit, one.name)))


def _share(name: str, trades: list[Trade]) -> Share:
    long, short = (sum(t.profit for t in trades if t.side == side) for side in ("long", "short"))
    return Share(name, long, short, sum(t.costs for t in trades), len(trades), Trades(trades).win_rate)


# ----------------------------------------------------------------------------------------------------------- by limit


@dataclass(frozen=True)
class Refused:
    """What one limit did not allow.

    Parameters
    ----------
    limit : str
    times : int
        Refusals, one a symbol and decision, or one a decision for limits on the portfolio.
    decisions : int
        Decisions, or moments between two, with at least one.
    taken : float
        Weight taken away, summed over all refusals: 2.5 is two and a half times the account. NaN where the broker
        refused, who is asked for shares and not for weights.
    worst : float
        The number that broke, where it was farthest beyond the bound.
    bound : float
        The bound it broke there.
    first, last : int
        UTC nanoseconds.
    """

    limit: str
    times: int
    decisions: int
    taken: float
    worst: float
    bound: float
    first: int
    last: int


BROKER = (
    "buying power",
    "cash",
    "known price",
    "maintenance margin",
    "market on close of daily bars",
    "short sale",
    "tick",
)


def by_limit(result: "BacktestResult") -> tuple[Refused, ...]:
    """Return what each limit and the broker refused, the most frequent first.

    Examples
    --------
    >>> import longshort as ls
    >>> from longshort.portfolio import Limits
    >>> bars = ls.load_bars("AAPL", start="2014-01-01", end="2014-12-31", source="sample")
    >>> strategy = ls.Strategy(policy=lambda view: np.array([1.0]), limits=Limits(max_position=0.4))
    >>> found = by_limit(ls.trading.backtest(strategy, None, bars))
    >>> [(one.limit, one.times, round(one.taken / one.times, 3), one.worst, one.bound) for one in found]
    [('max_position', 251, 0.6, 1.0, 0.4)]
    """
    groups: dict[str, list] = {}
    for refusal in result.refusals:
        groups.setdefault(refusal.limit, []).append(refusal)
    found = []
    for limit, members in groups.items():
        worst = max(members, key=lambda r: abs(r.value - r.bound) if np.isfinite(r.value) else inf)
        times = {r.time for r in members}
        taken = [max(abs(r.asked) - abs(r.allowed), 0.0) for r in members]
        weight = nan if limit in BROKER else sum(t for t in taken if np.isfinite(t))
        found.append(Refused(limit, len(members), len(times), weight, worst.value, worst.bound, min(times), max(times)))
    return tuple(sorted(found, key=lambda one: (-one.times, one.limit)))


# --------------------------------------------------------------------------------------------- from decision to fill


@dataclass(frozen=True)
class Gap:
    """How far prices had moved from the close at which an order was decided to its fill.

    Parameters
    ----------
    money : float
        Lost by it (below zero: won), in the account's currency, before spread and impact. It is inside the returns.
    traded : float
        Value of the fills it was measured on: those of market orders.
    fills : int
    """

    money: float
    traded: float
    fills: int

    @property
    def bp(self) -> float:
        """Basis points of the traded value."""
        return self.money / self.traded * 1e4 if self.traded else nan


def gap_of(result: "BacktestResult") -> Gap:
    """Return what the time between decision and fill cost: decided at a close, filled at the next open at the earliest.

    Splits and dividends in between are taken out. This is the delay cost of Perold's (1988) implementation shortfall.

    Examples
    --------
    >>> import longshort as ls
    >>> from longshort.orders import Costs
    >>> bars = ls.load_bars("AAPL", start="2014-01-02", end="2014-01-06", source="sample")
    >>> result = ls.trading.backtest(lambda view: np.array([1.0]), None, bars.until("2014-01-03"), costs=Costs.none())
    >>> shares, (decided, _), opened = result.fills[0].lots, bars["close"][:2, 0], bars["open"][1, 0]
    >>> round(gap_of(result).money, 2) == round(shares * float(opened - decided), 2)
    True
    """
    decided = {order.id: order.time for order in result.orders if order.kind == "market"}
    fills = [fill for fill in result.fills if fill.order in decided]
    if not fills:
        return Gap(0.0, 0.0, 0)
    account, factor = result.account, result.bars.factor
    column = np.array([account.index[fill.symbol] for fill in fills])
    at = np.searchsorted(result.time, [fill.time for fill in fills])
    before = np.maximum(np.searchsorted(result.time, [decided[fill.order] for fill in fills], side="right") - 1, 0)
    price = result.prices[before, column] * factor[before, column] / factor[at, column]
    size = np.array([i.lot * i.multiplier for i in account.instruments])[column]
    shares = np.array([fill.lots for fill in fills]) * size
    paid = np.array([fill.price_micro for fill in fills]) / MICRO
    value = np.abs(shares) * paid
    away = np.array([fill.spread_micro + fill.impact_micro for fill in fills]) / MICRO
    lost = shares * (paid - price) - away
    known = np.isfinite(lost) & (price > 0)
    return Gap(float(lost[known].sum()), float(value[known].sum()), int(known.sum()))


# ----------------------------------------------------------------------------------------------------------- capacity


@dataclass(frozen=True)
class Capacity:
    """What the strategy would keep with more money.

    All sizes grow with the account. Under the square-root law the impact's share of equity grows with the root of the
    money, the other costs' shares stay, so the edge a year is ``edge - impact x sqrt(money / played)``.

    Parameters
    ----------
    played : float
        Mean equity of the backtest.
    edge : float
        Mean return a year over the benchmark of equal exposure, net of everything but impact.
    impact : float
        Cost of impact a year, as a share of equity, at the size played; 0 where no volume was known.
    participation : float
        Share of the volume that 95 % of traded bars stayed below; NaN where no volume was known.
    cap : float
        Largest share that `Execution` allows.

    Examples
    --------
    >>> small = Capacity(played=1e6, edge=0.04, impact=0.01, participation=0.001, cap=0.1)
    >>> small.nothing_left, small.most_money, small.cap_reached
    (16000000.0, 7111111.111111111, 100000000.0)
    >>> small.net(small.nothing_left), small.net(1e6)
    (0.0, 0.03)
    """

    played: float
    edge: float
    impact: float
    participation: float
    cap: float

    def net(self, money: float) -> float:
        """Return the edge a year that is left with an account of this size."""
        return self.edge - self.impact * (money / self.played) ** 0.5

    @property
    def nothing_left(self) -> float:
        """Size at which impact has eaten the edge; 0 without an edge."""
        if not self.edge > 0:
            return 0.0
        return self.played * (self.edge / self.impact) ** 2 if self.impact > 0 else inf

    @property
    def most_money(self) -> float:
        """Size at which edge times size is largest: four ninths of `nothing_left`."""
        return 4 / 9 * self.nothing_left

    @property
    def cap_reached(self) -> float:
        """Size at which one traded bar in twenty needs all of the volume that may be ours."""
        return self.played * self.cap / self.participation if self.participation > 0 else inf


def capacity_of(result: "BacktestResult") -> Capacity:
    """Return the capacity of a result: from its own impact, its fills' share of the volume, and the impact's law.

    Minimum commissions, which weigh less on larger accounts, are taken as if they grew too.
    """
    scores, played = result.scores(), float(result.equity.mean())
    excess = result.returns[1:] - result.benchmarks["equal_exposure"][1:]
    edge = float(excess.mean()) * result.bars_per_year + scores["impact"] if len(excess) else nan
    parts = participation(result)
    usual = float(np.quantile(parts, 0.95, method="higher")) if len(parts) else nan
    return Capacity(played, edge, scores["impact"], usual, float(result.configuration["execution"]["participation"]))


def participation(result: "BacktestResult") -> np.ndarray:
    """Return our share of the volume of every bar and symbol traded, (n_traded,); empty without volumes.

    Examples
    --------
    >>> import longshort as ls
    >>> bars = ls.load_bars("AAPL", start="2014-01-02", end="2014-01-03", source="sample")
    >>> result = ls.trading.backtest(lambda view: np.array([1.0]), None, bars)
    >>> bool(participation(result)[0] == result.fills[0].lots / bars["volume"][1, 0])
    True
    """
    if "volume" not in result.bars or not result.fills:
        return np.zeros(0)
    index, instruments = result.account.index, result.account.instruments
    rows = np.searchsorted(result.time, [fill.time for fill in result.fills])
    traded = np.zeros(result.bars.shape)
    for row, fill in zip(rows.tolist(), result.fills, strict=True):
        column = index[fill.symbol]
        traded[row, column] += abs(fill.lots) * instruments[column].lot
    volume = result.bars["volume"]
    known = (traded > 0) & (volume > 0)
    return traded[known] / volume[known]
