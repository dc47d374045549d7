"""What a backtest leaves: the account row by row, every order and fill, and what can be said about them."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from math import inf, isfinite, nan, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import metrics
from ..bars import State
from ..errors import UnknownName, did_you_mean
from ..evaluation import selection, statistics
from ..forecast import Refusal
from ..orders import MICRO, Account, Fill, Order, Posting
from . import breakdown, delisting
from .trips import Trades, round_trips

if TYPE_CHECKING:
    import pandas as pd

    from ..bars import Bars

COSTS = ("commission", "spread", "impact", "borrow", "financing")


@dataclass(frozen=True, eq=False, repr=False)
class BacktestResult:
    """A backtest, row by row.

    Parameters
    ----------
    name : str
        Of the strategy.
    bars : Bars
        The rows that were played, one a decision; the last has none.
    time : int64 array (n,)
        Close of each row, UTC nanoseconds.
    equity, cash : float array (n,)
        At each close, in the account's currency.
    positions : float array (n, n_symbols)
        Shares held at each close.
    prices : float array (n, n_symbols)
        Last raw close to the millionth, at which positions are valued; 0 before the first.
    totals : mapping of str to float array (n,)
        Paid (below zero) and received by kind up to each row: commission, spread, impact, borrow, financing, dividend,
        lieu, split, deposit. Spread and impact are inside the prices of fills.
    orders : tuple of Order
    fills : tuple of Fill
    postings : tuple of Posting
    refusals : tuple of Refusal
        What limits and the broker did not allow, with the number that broke.
    account : Account
        At the end.
    configuration : mapping
        Strategy, costs, execution, cash, digests of the data: what makes it one trial.
    bars_per_year : float
    trials, trial_sharpes, trials_where
        Configurations tried so far, this one included, their Sharpe ratios per bar, and where that was counted.

    Examples
    --------
    >>> import longshort as ls
    >>> from longshort import trading
    >>> bars = ls.load_bars("AAPL", start="2012-01-01", end="2014-12-31", source="sample")
    >>> result = trading.backtest(lambda view: np.sign(view.returns), None, bars, cash=100_000)
    >>> result.scores()["trades"], len(result.fills) == len(result.orders)
    (383, True)
    >>> result.trades()[0]
    Trade(AAPL long 2012-01-05 .. 2012-01-10, 241 shares, 415.04 -> 425.88, +2,608.13)
    """

    name: str
    bars: "Bars"
    time: np.ndarray
    equity: np.ndarray
    cash: np.ndarray
    positions: np.ndarray
    prices: np.ndarray
    totals: Mapping[str, np.ndarray]
    orders: tuple[Order, ...]
    fills: tuple[Fill, ...]
    postings: tuple[Posting, ...]
    refusals: tuple[Refusal, ...]
    account: Account
    configuration: Mapping[str, Any]
    bars_per_year: float
    trials: int = 1
    trial_sharpes: tuple[float, ...] = ()
    trials_where: str = "this process"

    # -- row by row --------------------------------------------------------------------------------------------------

    @property
    def symbols(self) -> tuple[str, ...]:
        """Columns."""
        return self.bars.symbols

    @cached_property
    def returns(self) -> np.ndarray:
        """Simple return of the account over each row, (n,), net of everything; 0 in the first."""
        out = np.zeros(len(self.equity))
        before = self.equity[:-1]
        np.divide(np.diff(self.equity), before, out=out[1:], where=before > 0)
        return out

    @cached_property
    def values(self) -> np.ndarray:
        """Value of each position, (n, n_symbols)."""
        return np.nan_to_num(self.positions * self.prices * self._multipliers)

    @cached_property
    def weights(self) -> np.ndarray:
        """Value of each position over equity, (n, n_symbols), below zero for shorts."""
        return np.where(self.equity[:, None] > 0, self.values / np.maximum(self.equity, 1e-12)[:, None], 0.0)

    @property
    def gross(self) -> np.ndarray:
        """Sum of absolute weights at each close, (n,)."""
        return np.abs(self.weights).sum(axis=1)

    @property
    def net(self) -> np.ndarray:
        """Sum of weights at each close, (n,)."""
        return self.weights.sum(axis=1)

    @property
    def stuck(self) -> tuple[str, ...]:
        """Symbols held at the end that could not be traded then (delisted, halted or missing), at their last prices."""
        held = (self.positions[-1] != 0) & ~np.isin(self.bars.state[-1], (State.OK, State.CLOSED))
        return tuple(symbol for symbol, there in zip(self.symbols, held, strict=True) if there)

    @property
    def delisted(self) -> tuple[str, ...]:
        """Symbols of which a holding was closed because they had come to an end; see `Execution.delisted_after`."""
        return tuple(dict.fromkeys(fill.symbol for fill in self.fills if fill.reason == delisting.REASON))

    @property
    def _multipliers(self) -> np.ndarray:
        return np.array([i.multiplier for i in self.account.instruments], np.float64)

    @cached_property
    def costs(self) -> dict[str, np.ndarray]:
        """What was paid in each row, (n,) each, above zero: commission, spread, impact, borrow, financing."""
        return {name: -np.diff(self.totals[name], prepend=0.0) for name in COSTS}

    @cached_property
    def traded(self) -> np.ndarray:
        """Value traded in each row, (n,), purchases and sales."""
        out = np.zeros(len(self.time))
        if self.fills:
            value = [abs(self._value(fill)) for fill in self.fills]
            np.add.at(out, np.searchsorted(self.time, [fill.time for fill in self.fills]), value)
        return out

    def _value(self, fill: Fill) -> float:
        return (
            self.account.instruments[self.account.index[fill.symbol]].value_micro(fill.lots, fill.price_micro) / MICRO
        )

    @cached_property
    def profits(self) -> np.ndarray:
        """What each symbol earned in each row, (n, n_symbols), dividends and commissions included.

        With the cost of borrowing shares and cash, which belong to no symbol, they add up to the change of equity.
        """
        out = np.diff(self.values, axis=0, prepend=self.values[:1] * 0.0)
        for messages in (self.fills, self.postings):
            for one in messages:
                if one.symbol:
                    row, column = int(np.searchsorted(self.time, one.time)), self.account.index[one.symbol]
                    paid = one.cash_micro / MICRO if isinstance(one, Posting) else -self._value(one)
                    out[row, column] += paid - (0.0 if isinstance(one, Posting) else one.commission_micro / MICRO)
        return out

    @cached_property
    def order_hash(self) -> str:
        """SHA-256 over all orders in their canonical form: the same decisions, the same hash."""
        return hash_of(self.orders)

    # -- what it is compared with ------------------------------------------------------------------------------------

    @cached_property
    def benchmarks(self) -> dict[str, np.ndarray]:
        """Returns per row, (n,), before costs, of what needs no strategy.

        ``buy_and_hold``: the same amount of every symbol at the start, left alone. ``equal_weight``: the same amount of
        every symbol, rebalanced at every row. ``equal_exposure``: equal weight, scaled to the strategy's mean net
        exposure, which is what it would have earned without choosing symbols or moments.
        """
        total = asset_returns(self.bars)
        listed = np.isfinite(self.bars["close"])
        count = np.maximum(listed.sum(axis=1), 1)
        equal = np.nan_to_num(total).sum(axis=1) / count
        wealth = np.cumprod(1.0 + np.nan_to_num(total), axis=0).mean(axis=1)
        hold = np.zeros(len(total))
        hold[1:] = wealth[1:] / wealth[:-1] - 1.0
        exposure = float(self.net[1:].mean()) if len(self.time) > 1 else 0.0
        return {"buy_and_hold": hold, "equal_weight": equal, "equal_exposure": exposure * equal}

    # -- in numbers --------------------------------------------------------------------------------------------------

    def scores(self) -> dict[str, float]:
        """Return the measures of the account, net of all costs; yearly where a unit of time is needed.

        Returns
        -------
        dict
            ``total_return, annual_return, annual_volatility, sharpe, sortino, max_drawdown, calmar``; ``turnover``
            (value traded over equity), ``gross_exposure`` and ``net_exposure`` (means), ``longest_drawdown`` (rows);
            ``trades, win_rate, profit_factor, average_trade, holding_days``; ``costs`` and each kind of them as a share
            of the mean equity a year, ``cost_bp`` (paid per traded value) and ``break_even_bp`` (what that could have
            been before nothing was left).
        """
        return dict(self._scores)

    @cached_property
    def _scores(self) -> dict[str, float]:
        r, per_year = self.returns[1:], self.bars_per_year
        years, mean_equity = max(len(r) / per_year, 1e-9), float(self.equity.mean())
        annual, worst = metrics.annual_return(r, per_year), metrics.max_drawdown(r)
        trades, traded = self.trades(), float(self.traded.sum())
        paid = {name: float(rows.sum()) for name, rows in self.costs.items()}
        profit, all_costs = float(self.equity[-1] - self.equity[0]), sum(paid.values())
        return {
            "total_return": metrics.total_return(r),
            "annual_return": annual,
            "annual_volatility": metrics.annual_volatility(r, per_year),
            "sharpe": metrics.sharpe(r, bars_per_year=per_year),
            "sortino": metrics.sortino(r, bars_per_year=per_year),
            "max_drawdown": worst,
            "calmar": annual / worst if worst > 0 else nan,
            "longest_drawdown": float(_longest_drawdown(self.equity)),
            "turnover": traded / mean_equity / years if mean_equity > 0 else nan,
            "gross_exposure": float(self.gross[1:].mean()) if len(r) else 0.0,
            "net_exposure": float(self.net[1:].mean()) if len(r) else 0.0,
            "trades": len(trades),
            "win_rate": trades.win_rate,
            "profit_factor": trades.profit_factor,
            "average_trade": trades.average,
            "holding_days": trades.holding_days,
            "costs": all_costs / mean_equity / years if mean_equity > 0 else nan,
            **{name: value / mean_equity / years if mean_equity > 0 else nan for name, value in paid.items()},
            "cost_bp": all_costs / traded * 1e4 if traded else nan,
            "break_even_bp": (profit + all_costs) / traded * 1e4 if traded else nan,
        }

    @cached_property
    def _trades(self) -> Trades:
        return round_trips(self)

    def trades(self) -> Trades:
        """Return all round trips, from flat to flat."""
        return self._trades

    def verdict(self) -> "StrategyVerdict":
        """Return whether the account proves anything, after all trials and against chance."""
        return self._verdict

    @cached_property
    def _verdict(self) -> "StrategyVerdict":
        return judge_returns(
            self.returns[1:],
            self.benchmarks["equal_exposure"][1:],
            self.bars_per_year,
            self.trial_sharpes,
            self.trials,
            self.at_random,
        )

    @cached_property
    def at_random(self) -> float:
        """How often the same positions, taken as a whole at another moment, would have earned at least as much."""
        return entries_at_random(self.weights[:-1], np.nan_to_num(asset_returns(self.bars)[1:]))

    # -- taken apart -------------------------------------------------------------------------------------------------

    def by_month(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the years and the return of each of their months, (n_years, 12); see `breakdown.by_month`."""
        return breakdown.by_month(self)

    def by_symbol(self) -> tuple[breakdown.Share, ...]:
        """Return what each symbol earned, long and short, the best first; see `breakdown.by_symbol`."""
        return breakdown.by_symbol(self)

    def by_exit(self) -> tuple[breakdown.Share, ...]:
        """Return what trades earned by what closed them: the policy, a stop, a limit."""
        return breakdown.by_exit(self)

    def by_limit(self) -> tuple[breakdown.Refused, ...]:
        """Return what each limit refused: how often, how much weight, and by which number."""
        return breakdown.by_limit(self)

    def gap(self) -> breakdown.Gap:
        """Return what prices moved from the close of the decision to the fill; see `breakdown.gap_of`."""
        return breakdown.gap_of(self)

    def capacity(self) -> breakdown.Capacity:
        """Return what would be left of the edge with more money; see `breakdown.Capacity`."""
        return breakdown.capacity_of(self)

    # -- as tables ---------------------------------------------------------------------------------------------------

    @property
    def index(self) -> "pd.DatetimeIndex":
        """The rows as UTC stamps."""
        import pandas as pd

        return pd.DatetimeIndex(pd.to_datetime(self.time, utc=True), name="time")

    def to_pandas(self, what: str = "account") -> "pd.DataFrame":
        """Return a table.

        Parameters
        ----------
        what : {"account", "positions", "weights", "trades", "fills", "orders", "refusals", "costs", "profits"}
            Row by row: equity, cash, returns, exposures, traded value and costs; shares held; weights; costs by kind.
            One by one: trades, fills, orders, refusals.

        Examples
        --------
        >>> import longshort as ls
        >>> bars = ls.load_bars("AAPL", start="2014-01-01", end="2014-12-31", source="sample")
        >>> result = ls.trading.backtest(lambda view: np.array([1.0]), None, bars)
        >>> result.to_pandas("positions")["AAPL"].iloc[[0, 1, -1]].tolist()
        [0.0, 180.0, 1290.0]
        """
        import pandas as pd

        symbols = list(self.symbols)
        if what == "account":
            columns = {"equity": self.equity, "cash": self.cash, "returns": self.returns}
            columns |= {"gross": self.gross, "net": self.net}
            columns |= {"traded": self.traded, "costs": sum(self.costs.values())}
            return pd.DataFrame(columns, index=self.index)
        if what in ("positions", "weights", "profits"):
            return pd.DataFrame(getattr(self, what), index=self.index, columns=symbols)
        if what == "costs":
            return pd.DataFrame(self.costs, index=self.index)
        if what == "trades":
            return self.trades().to_pandas()
        if what == "fills":
            return pd.DataFrame([self._fill_row(fill) for fill in self.fills], columns=list(_FILL))
        if what == "orders":
            return pd.DataFrame([_order_row(order) for order in self.orders], columns=list(_ORDER))
        if what == "refusals":
            names = [field.name for field in fields(Refusal)]
            return pd.DataFrame([[getattr(r, name) for name in names] for r in self.refusals], columns=names)
        known = ("account", "positions", "weights", "trades", "fills", "orders", "refusals", "costs", "profits")
        raise UnknownName(f"There is no table {what!r}. {did_you_mean(what, known)}")

    def _fill_row(self, fill: Fill) -> list[Any]:
        import pandas as pd

        lot = self.account.instruments[self.account.index[fill.symbol]].lot
        money = [n / MICRO for n in (fill.price_micro, fill.commission_micro, fill.spread_micro, fill.impact_micro)]
        return [pd.Timestamp(fill.time, tz="UTC"), fill.symbol, fill.lots * lot, *money, fill.reason, fill.order]

    def returns_pandas(self, benchmark: str | None = None) -> "pd.Series":
        """Return the returns by session date, without a zone, as quantstats and others read them.

        Parameters
        ----------
        benchmark : str, optional
            One of `benchmarks` instead of the strategy.

        Notes
        -----
        Bars within the day are compounded to days. ``quantstats.reports.html(result.returns_pandas(),
        result.returns_pandas("buy_and_hold"), output="report.html")``.
        """
        import pandas as pd

        if benchmark is not None and benchmark not in self.benchmarks:
            raise UnknownName(f"There is no benchmark {benchmark!r}. {did_you_mean(benchmark, self.benchmarks)}")
        values = self.returns if benchmark is None else self.benchmarks[benchmark]
        name = self.name if benchmark is None else benchmark.replace("_", " ")
        days = pd.DatetimeIndex(self.bars.dates.astype("datetime64[ns]"))
        series = pd.Series(values, index=days, name=name)
        return series if days.is_unique else (1.0 + series).groupby(level=0).prod() - 1.0

    # -- in words ----------------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        s = self._scores
        first, last = self.bars.dates[[0, -1]]
        currency = self.account.currency
        lines = [
            f"Backtest of {self.name}: {len(self.time)} rows {first} .. {last}, {len(self.symbols)} "
            f"symbol{'s' if len(self.symbols) > 1 else ''}, {self.equity[0]:,.0f} -> {self.equity[-1]:,.0f} {currency}",
            f"  return {s['annual_return']:+.1%} a year, volatility {s['annual_volatility']:.1%}, "
            f"Sharpe {s['sharpe']:.2f}, worst drawdown {s['max_drawdown']:.1%}",
            f"  {len(self.orders)} orders, {len(self.fills)} fills, {self._told_trades()}",
            f"  turnover {s['turnover']:.1f} times a year, "
            f"gross {s['gross_exposure']:.2f}, net {s['net_exposure']:+.2f}",
            "  costs " + ", ".join(f"{name} {s[name]:.2%}" for name in COSTS if s[name]) + " of equity a year"
            if s["costs"]
            else "  no costs",
            f"  {s['cost_bp']:.1f} bp paid per traded value; nothing would be left at {s['break_even_bp']:.1f} bp",
        ]
        if (gap := self.gap()).fills:
            lines.append(f"  {gap.bp:+.1f} bp from the close of the decision to the fill, inside the return")
        if self.refusals:
            by = ", ".join(f"{name} {count}" for name, count in self.refused().items())
            lines.append(f"  refused: {by}")
        for name, values in self.benchmarks.items():
            r = values[1:]
            lines.append(
                f"  beside it {name.replace('_', ' ')}: {metrics.annual_return(r, self.bars_per_year):+.1%} a year, "
                f"Sharpe {metrics.sharpe(r, bars_per_year=self.bars_per_year):.2f}, "
                f"worst drawdown {metrics.max_drawdown(r):.1%} (before costs)"
            )
        if self.stuck:
            columns = [self.account.index[symbol] for symbol in self.stuck]
            share = np.abs(self.weights[-1, columns]).sum()
            lines.append(
                f"  held but not tradable at the end, at their last prices: {', '.join(self.stuck)}, {share:.0%} of "
                "equity (see Execution(delisted_after=...))"
            )
        if self.delisted:
            back = self.configuration["execution"]["delisting_return"]
            lines.append(f"  delisted while held, closed at a return of {back:.0%}: {', '.join(self.delisted)}")
        if isfinite(self.at_random):
            lines.append(f"  the same positions at other moments earned as much in {self.at_random:.0%} of cases")
        return "\n".join([*lines, f"  {self.verdict().sentence}", f"  orders {self.order_hash[:16]}"])

    def _told_trades(self) -> str:
        trades, s = self.trades(), self._scores
        still_open = sum(trade.open for trade in trades)
        text = f"{len(trades)} round trips" + f" ({still_open} still open)" * bool(still_open)
        if still_open == len(trades):
            return text
        won, factor, days = s["win_rate"], s["profit_factor"], s["holding_days"]
        return f"{text}, {won:.0%} won, profit factor {factor:.2f}, held {days:.1f} days"

    def refused(self) -> dict[str, int]:
        """Return how often each limit refused something."""
        out: dict[str, int] = {}
        for refusal in self.refusals:
            out[refusal.limit] = out.get(refusal.limit, 0) + 1
        return dict(sorted(out.items(), key=lambda item: (-item[1], item[0])))

    def _repr_html_(self) -> str:
        import html

        head, *rest = repr(self).split("\n")
        rows = "".join(f"<li>{html.escape(line.strip())}</li>" for line in rest)
        return f"<p><b>{html.escape(head)}</b></p><ul>{rows}</ul>"


_FILL = ("time", "symbol", "shares", "price", "commission", "spread", "impact", "reason", "order")
_ORDER = ("time", "symbol", "lots", "kind", "valid", "limit", "stop", "reason", "id")


def _order_row(order: Order) -> list[Any]:
    import pandas as pd

    prices = [nan if p is None else float(p) for p in (order.limit, order.stop)]
    time = pd.Timestamp(order.time, tz="UTC")
    return [time, order.symbol, order.quantity.lots, order.kind, order.valid, *prices, order.reason, order.id]


def hash_of(orders: "tuple[Order, ...] | list[Order]") -> str:
    """Return the SHA-256 of a list of orders.

    Examples
    --------
    >>> from longshort.orders import Shares
    >>> one = Order("1", "KO", Shares(5), 0)
    >>> hash_of([one]) == hash_of((one,)), hash_of([one]) == hash_of([one, one])
    (True, False)
    """
    return hashlib.sha256("\n".join([order.line() for order in orders]).encode()).hexdigest()


def asset_returns(bars: "Bars") -> np.ndarray:
    """Return the total simple return of every symbol at each row (n, n_symbols), over gaps since the last close."""
    out = np.full(bars.shape, nan)
    adjusted = bars.adjusted("close")
    for j in range(bars.shape[1]):
        known = np.flatnonzero(np.isfinite(adjusted[:, j]))
        out[known[1:], j] = adjusted[known[1:], j] / adjusted[known[:-1], j] - 1.0
    return out


def _longest_drawdown(equity: np.ndarray) -> int:
    under = equity < np.maximum.accumulate(equity)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], under, [False]]).astype(np.int8)))
    return int((edges[1::2] - edges[::2]).max()) if len(edges) else 0


def entries_at_random(weights: np.ndarray, returns: np.ndarray) -> float:
    """Return how often the same positions at another moment earned as much: all turns of the series, one by one.

    Parameters
    ----------
    weights : float array (n, n_symbols)
        Held at the beginning of each row.
    returns : float array (n, n_symbols)
        Simple returns over the row, finite.

    Examples
    --------
    >>> moves = np.random.default_rng(0).normal(size=(500, 1))
    >>> entries_at_random(np.sign(moves), moves), entries_at_random(np.ones_like(moves), moves)
    (0.002, 1.0)
    """
    if len(weights) < 2 or not np.any(weights):
        return nan
    turns = np.fft.rfft(returns, axis=0) * np.conj(np.fft.rfft(weights, axis=0))
    earned = np.fft.irfft(turns.sum(axis=1), len(weights))  # at k: every position taken k rows later
    as_much = earned[1:] >= earned[0] - 1e-9 * float(np.abs(earned).max())
    return float((1 + as_much.sum()) / len(earned))


# --------------------------------------------------------------------------------------------------------- the verdict


@dataclass(frozen=True)
class StrategyVerdict:
    """What an account's returns prove.

    Parameters
    ----------
    exit_code : int
        0 an edge, 3 no evidence.
    sentence : str
    details : mapping
        ``sharpe, sharpe_low, sharpe_high`` (stationary bootstrap, 95 %), ``probability`` (probabilistic Sharpe ratio),
        ``deflated_probability`` and ``deflated_benchmark`` (what the best of `trials` shows by luck), ``trials``,
        ``minimum_years``, ``years``, ``excess_sharpe`` and ``excess_probability`` over the benchmark of equal exposure,
        ``random_entries_p``.
    """

    exit_code: int
    sentence: str
    details: Mapping[str, float]


def judge_returns(
    returns: np.ndarray,
    benchmark: np.ndarray,
    bars_per_year: float,
    sharpes: tuple[float, ...] = (),
    trials: int = 1,
    at_random: float = nan,
) -> StrategyVerdict:
    """Judge the returns of a strategy.

    An edge needs a deflated Sharpe ratio of 95 % (`selection.deflated_sharpe`, which knows the trials) and as much
    confidence that the returns beat the benchmark of equal exposure: a test of the mean difference that knows
    autocorrelation (`statistics.mean_test`). Returns that hardly differ from the benchmark's, by less than a fiftieth
    of its volatility, choose nothing and have no edge over it.

    Parameters
    ----------
    returns, benchmark : array (n,)
        Simple returns per bar, the strategy's net of costs.
    bars_per_year : float
    sharpes : tuple of float
        Per bar, of all trials.
    trials : int
    at_random : float, optional
        What `entries_at_random` says.

    Examples
    --------
    >>> luck = np.random.default_rng(0).normal(0.0005, 0.01, 500)
    >>> judge_returns(luck, np.zeros(500), 252.0, trials=20).sentence
    'No evidence: a Sharpe ratio of 0.36 (95 % interval -0.79 .. 1.62) after 20 trials, whose best shows 1.35 by luck.'
    """
    if len(returns) < 20 or not np.any(returns):
        return StrategyVerdict(3, f"No evidence: {len(returns)} rows, {np.count_nonzero(returns)} with a position.", {})
    root, excess = sqrt(bars_per_year), returns - benchmark

    def sharpe(r: np.ndarray) -> float:
        return metrics.sharpe(r, bars_per_year=bars_per_year)

    low, high = selection.bootstrap_interval(returns, sharpe, draws=300)
    likely = selection.probabilistic_sharpe(returns)
    deflated = selection.deflated_sharpe(returns, sharpes, max(trials, 1))
    beats = 1.0 - statistics.mean_test(excess).p_greater
    chooses = float(np.std(excess)) > 0.02 * float(np.std(benchmark))
    annual = likely.sharpe * root
    found = {
        "sharpe": annual,
        "sharpe_low": low,
        "sharpe_high": high,
        "probability": likely.probability,
        "deflated_probability": deflated.probability,
        "deflated_benchmark": deflated.benchmark * root,
        "trials": deflated.trials,
        "years": len(returns) / bars_per_year,
        "minimum_years": selection.minimum_backtest_length(deflated.trials, annual) if annual > 0 else inf,
        "excess_sharpe": sharpe(excess),
        "excess_probability": beats,
        "random_entries_p": at_random,
    }
    edge = deflated.probability >= 0.95 and beats >= 0.95 and chooses
    tried = deflated.trials
    luck = f" after {tried} trials, whose best shows {found['deflated_benchmark']:.2f} by luck" * (tried > 1)
    text = f"a Sharpe ratio of {annual:.2f} (95 % interval {low:.2f} .. {high:.2f}){luck}"
    if edge:
        sentence = f"An edge: {text}, and {found['excess_sharpe']:.2f} over a benchmark of equal exposure."
    elif isfinite(deflated.probability) and deflated.probability >= 0.95 and not chooses:
        sentence = f"No evidence of choosing well: {text}, and the returns are those of equal exposure."
    elif isfinite(deflated.probability) and deflated.probability >= 0.95:
        sentence = f"No evidence of choosing well: {text}, but {found['excess_sharpe']:.2f} over equal exposure."
    else:
        sentence = f"No evidence: {text}."
    return StrategyVerdict(0 if edge else 3, sentence, found)
