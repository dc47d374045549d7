"""Backtests: the stored out-of-sample forecasts of a study, played through the loop that would trade them live."""

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import clock, ledger
from ..bars import Bars, require_bars
from ..errors import InputError, LedgerError
from ..evaluation.earnings import bars_per_year
from ..forecast import Forecast
from ..orders import CLOSE, MICRO, Costs, Fill, Instrument, MarketEvent, Money, Posting, micro_of
from ..strategy import Strategy
from .history import History
from .result import BacktestResult
from .simulated import Execution, SimulatedBroker
from .sources import Recorded
from .trader import Trader, parts_of, play

if TYPE_CHECKING:
    from ..evaluation.study import Study


def backtest(
    strategy: Any,
    study_or_forecast: "Study | Forecast | None",
    bars: Bars | None = None,
    cash: "float | Money" = 100_000.0,
    costs: Costs | None = None,
    execution: Execution | None = None,
    instruments: Any = None,
    name: str | None = None,
) -> BacktestResult:
    """Trade stored forecasts as they would have been traded.

    Every row is two events: its opening, at which orders of the row before are filled, and its close, at which the
    strategy sees the row and its forecast and decides. Nothing is decided on what is known later, and nothing is filled
    on what was known before.

    Parameters
    ----------
    strategy : Strategy, policy or function of a `View`
        What to do with the forecasts; limits come with a `Strategy`.
    study_or_forecast : Study, Forecast or None
        Out-of-sample forecasts. None plays every row of `bars` without forecasts, for rules that need none.
    bars : Bars, optional
        Prices; a study brings its own.
    cash : float or Money, default=100_000
        To begin with.
    costs : Costs, optional
        ``Costs()``, above zero, by default.
    execution : Execution, optional
        Share of the volume, latency, margin.
    instruments : mapping of str to Instrument, optional
        Where lots, ticks, currency or multiplier are not those of US shares.
    name : str, optional
        What the result is called.

    Returns
    -------
    BacktestResult
        From the first forecast to the row after the last, which fills what was decided last.

    Notes
    -----
    Each backtest is recorded in the ledger of trials: what was done, digests of data, configuration and returns.

    Examples
    --------
    >>> import longshort as ls
    >>> from longshort import features as f, models as m
    >>> bars = ls.load_bars("AAPL", start="2005-01-01", end="2012-12-31", source="sample")
    >>> model = m.AutoRegression(f.forward_log_return(1))
    >>> study = ls.walk_forward(model, bars, ls.WalkForward("5Y", "1Y"), baselines=[])
    >>> result = backtest(ls.portfolio.Sign(), study)
    >>> print(result)                                                        # doctest: +SKIP
    >>> result.verdict().exit_code
    3
    """
    _check_account(cash, costs, execution)
    forecast, bars = _forecast_of(study_or_forecast, bars)
    if isinstance(strategy, Strategy):
        strategy.check(bars)
    start, stop = _span(forecast, bars)
    listed = _instruments(bars, instruments)
    costs, execution = costs or Costs(), execution or Execution()
    policy, limits = parts_of(strategy)
    usual = clock.bars_per_year(bars.bar_size, bars.calendar)  # nothing that the length of the history decides
    broker = SimulatedBroker(cash, listed, costs, execution, bars.bar_size)
    source = None if forecast is None else Recorded(forecast)
    until = int(bars.time[max(stop - 2, start)])
    trader = Trader(strategy, listed, source, broker.account.cash, usual, until)
    record = _Record(trader, stop - start)
    with _seldom_collecting():
        play(trader, broker, History(bars, start, stop), record)
    _agree(trader, broker)
    configuration = {
        "strategy": _described(strategy, policy, limits),
        "costs": costs.to_dict(),
        "execution": execution.to_dict(),
        "cash_micro": int(record.cash[0]) if stop > start else broker.account.cash_micro,
        "bars": bars.digest,
        "forecasts": None if forecast is None else forecast.digest,
    }
    played = bars._rows(slice(start, stop), ("dates", "factor", "split_factor"))
    result = BacktestResult(
        name=name or _name(strategy),
        bars=played,
        time=played.time,
        orders=tuple(trader.orders),
        fills=tuple(record.fills),
        postings=tuple(record.postings),
        refusals=tuple(trader.refusals),
        account=trader.account,
        configuration=configuration,
        bars_per_year=_bars_per_year(bars, start, stop),
        **record.columns(),
    )
    return _remember(result)


@contextmanager
def _seldom_collecting() -> Iterator[None]:
    """Look for garbage less often: orders and fills are many, live on and are never part of a cycle."""
    before, young = gc.get_threshold(), 50_000
    if not 0 < before[0] < young:
        yield
        return
    gc.set_threshold(young, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


# --------------------------------------------------------------------------------------------------------- what to play


def _check_account(cash: Any, costs: Any, execution: Any) -> None:
    if not (cash.micro if isinstance(cash, Money) else micro_of(cash)) > 0:
        raise InputError(f"A backtest needs cash above zero, was {cash}.")
    if not isinstance(costs, Costs | None):
        raise InputError(f"costs must be Costs(...), was {costs!r}. For basis points write Costs.flat(10).")
    if not isinstance(execution, Execution | None):
        raise InputError(f"execution must be Execution(...), was {execution!r}. Write Execution(participation=0.1).")


def _forecast_of(given: Any, bars: Bars | None) -> tuple[Forecast | None, Bars]:
    if isinstance(given, Forecast) or given is None:
        forecast = given
        if bars is None:
            raise InputError("A backtest needs prices: pass the study, or the bars beside the forecast.")
    else:
        forecast = getattr(given, "forecast", None)
        if not isinstance(forecast, Forecast):
            raise InputError(f"A backtest plays a Study or a Forecast, was {type(given).__name__}.")
        bars = given.bars if bars is None else bars
    require_bars(bars, "backtest")
    assert bars is not None
    if forecast is not None and forecast.symbols != bars.symbols:
        bars = bars.select(forecast.symbols)
    return forecast, bars


def _span(forecast: Forecast | None, bars: Bars) -> tuple[int, int]:
    """Return the first row and the one after the last: one row more than there are forecasts."""
    if not len(bars):
        raise InputError("A backtest needs at least one bar; there are none.")
    if forecast is None:
        return 0, len(bars)
    if not len(forecast):
        raise InputError("A backtest needs at least one forecast; there are none.")
    rows = np.minimum(np.searchsorted(bars.time, forecast.time), len(bars) - 1)
    apart = np.flatnonzero(bars.time[rows] != forecast.time)
    if len(apart):
        raise InputError(
            f"Every forecast must be made at the close of a bar; {len(apart)} of {len(forecast)} are not, the first at "
            f"{clock.show(int(forecast.time[apart[0]]))}. Pass the bars that the forecasts were made on."
        )
    return int(rows[0]), min(int(rows[-1]) + 2, len(bars))


def _instruments(bars: Bars, given: Any) -> list[Any]:
    if not isinstance(given, Mapping | None):
        raise InputError(f"instruments must map symbols to Instrument(...), was {given!r}.")
    known = dict(given or {})
    for symbol, instrument in known.items():
        if symbol not in bars.symbols:
            raise InputError(f"There is an instrument for {symbol!r}, which the bars do not have.")
        if not isinstance(instrument, Instrument) or instrument.symbol != symbol:
            raise InputError(f"instruments[{symbol!r}] must be Instrument({symbol!r}, ...), was {instrument!r}.")
    return [known.get(symbol, symbol) for symbol in bars.symbols]


def _bars_per_year(bars: Bars, start: int, stop: int) -> float:
    if stop - start < 30:
        return clock.bars_per_year(bars.bar_size, bars.calendar)
    return bars_per_year(bars.time[start:stop])


class _Record:
    """What is written down at every close."""

    def __init__(self, trader: Trader, rows: int):
        self.trader, self.row, n = trader, 0, len(trader.symbols)
        self.equity, self.cash = np.zeros(rows, np.int64), np.zeros(rows, np.int64)
        self.shares, self.prices = np.zeros((rows, n)), np.zeros((rows, n))
        self.totals: list[tuple[int, ...]] = []
        self.fills: list[Fill] = []
        self.postings: list[Posting] = []

    def __call__(self, message: Any) -> None:
        kind = type(message)
        if kind is Fill:
            self.fills.append(message)
        elif kind is Posting:
            self.postings.append(message)
        elif kind is MarketEvent and message.kind == CLOSE:
            i, trader = self.row, self.trader
            account = trader.account
            self.equity[i], self.cash[i] = trader.equity_micro, account.cash_micro
            self.shares[i], self.prices[i] = account.shares, trader.marks
            self.totals.append(tuple(account.totals.values()))
            self.row = i + 1

    def columns(self) -> dict[str, Any]:
        """Return the rows in units of the currency."""
        totals = np.array(self.totals, np.int64).reshape(len(self.totals), -1)
        kinds = self.trader.account.totals
        found = {
            "equity": self.equity / MICRO,
            "cash": self.cash / MICRO,
            "positions": self.shares,
            "prices": np.rint(self.prices * MICRO) / MICRO,
            "totals": {kind: totals[:, k] / MICRO for k, kind in enumerate(kinds)},
        }
        for array in (*(found[name] for name in ("equity", "cash", "positions", "prices")), *found["totals"].values()):
            array.setflags(write=False)
        return found


def _agree(trader: Trader, broker: SimulatedBroker) -> None:
    """Raise `LedgerError` unless trader and broker have the same books, and each adds up."""
    for account in (trader.account, broker.account):
        account.audit()
    mine, theirs = trader.account.to_dict(), broker.account.to_dict()
    if mine != theirs:
        apart = [name for name in mine if mine[name] != theirs[name]]
        raise LedgerError(f"Trader and broker disagree about {', '.join(apart)}. Report this with the data.")


# ------------------------------------------------------------------------------------------------------------- trials


def _name(strategy: Any) -> str:
    named = getattr(strategy, "name", None) or getattr(strategy, "__name__", None)
    if isinstance(named, str) and named != "<lambda>":
        return named
    return type(getattr(strategy, "policy", strategy)).__name__ if not callable(strategy) else "a rule"


def _described(strategy: Any, policy: Any, limits: Any) -> dict[str, Any]:
    if callable(getattr(strategy, "to_dict", None)) and not isinstance(strategy, type):
        return {name: value for name, value in strategy.to_dict().items() if name != "contract"}  # fitted or not
    return {"policy": policy.to_dict(), "limits": None if limits is None else limits.to_dict()}


def _remember(result: BacktestResult) -> BacktestResult:
    """Record the backtest as a trial and return it knowing of all trials so far."""
    from dataclasses import replace

    book, configuration = ledger.current(), result.configuration
    digest = ledger.digest_of(configuration)
    facts: dict[str, Any] = {
        "what": "backtest",
        "configuration": configuration,
        "digest": digest,
        "bars": configuration["bars"],
        "forecasts": configuration["forecasts"],
        "symbols": list(result.symbols),
        "orders": result.order_hash,
        "returns": ledger.digest_of(result.returns.tolist()),
        "first": int(result.time[0]),
        "last": int(result.time[-1]),
    }
    r = result.returns[1:]
    spread = float(np.std(r, ddof=1)) if len(r) > 1 else 0.0
    if spread > 0:
        facts["sharpe"] = float(r.mean()) / spread
    # two rules without a name are two trials as soon as they trade differently
    book.record_trial(ledger.digest_of([digest, result.order_hash]), **facts)
    tried = _tried(result)
    sharpes = tuple(f["sharpe"] for f in tried if isinstance(f.get("sharpe"), int | float))
    return replace(result, trials=max(len(tried), 1), trial_sharpes=sharpes, trials_where=book.where)


def _tried(result: BacktestResult) -> list[dict[str, Any]]:
    """Return the trials on these symbols and this time; a study whose forecasts were traded counts as its backtests."""
    trials = [dict(record.facts) for record in ledger.current().records(ledger.TRIAL)]
    first, last, symbols = int(result.time[0]), int(result.time[-1]), set(result.symbols)
    near = [
        f
        for f in trials
        if "first" in f and f["first"] <= last and f["last"] >= first and not symbols.isdisjoint(f.get("symbols", ()))
    ]
    traded = {f.get("forecasts") for f in near if f.get("what") == "backtest"}
    return [f for f in near if f.get("what") == "backtest" or f.get("forecasts") not in traded]
