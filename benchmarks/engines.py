"""The decision loop beside other backtest engines: the same prices, the same target weights, each at the next bar.

Every day each of the symbols is to be held long or short with its share of half the equity, as random signs say:
about one order a symbol and day, seldom one where bars are minutes. In the workload `wide` (500 symbols) a symbol is
ordered on the days its sign turns, one in ten, and left alone on all others, by every engine. Commission is 10 basis
points of value, no slippage. Every contender runs in a process of its own (most need libraries that do not go
together), they take turns, and the seconds of the backtest alone are compared: no imports, no loading of data (the time
in which backtrader copies frames into its feeds, and Zipline writes its bundle, is not counted).

    make bench
    python benchmarks/engines.py --peers backtrader=PYTHON --peers zipline=PYTHON ... [--rounds 3]

What the numbers are not: the engines do not do the same things. Zipline and Nautilus fill at the close (Zipline at the
next one, Nautilus at the decision's), vectorbt has no loop of decisions to trade live with, backtrader no costs beside
the commission. Final equities are shown so that one sees how far apart they are.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

WORKLOADS = {"one": (1, 2500), "many": (50, 2500), "wide": (500, 2500), "long": (1, 200_000)}  # symbols, bars
TURNS = {"wide": 0.1, "long": 0.02}  # part of the days on which a symbol's sign turns; half of them elsewhere
CASH, COMMISSION = 1_000_000.0, 0.001
CONTENDERS = ("longshort", "backtrader", "zipline", "vectorbt", "nautilus")
WANTED = {"backtrader": "backtrader", "zipline": "zipline", "vectorbt": "vectorbt", "nautilus": "nautilus_trader"}


def make(path: Path, workload: str) -> None:
    """Write a workload: daily sessions of New York, or minutes where there are too many; no weight (NaN): no order."""
    from longshort import clock

    symbols, bars = WORKLOADS[workload]

    rng = np.random.default_rng(7)
    if bars <= 5000:
        days = clock.sessions("XNYS", "2008-01-02", "2020-12-31")[:bars]
        stamps = clock.session_closes("XNYS", days)
    else:
        stamps = np.int64(1_262_606_400_000_000_000) + np.arange(bars, dtype=np.int64) * 60_000_000_000
    log = rng.normal(0.0002, 0.01, (bars, symbols)).cumsum(axis=0)
    close = np.round(50.0 * np.exp(log - log.min(axis=0)) ** 0.5, 2)
    open_ = np.round(np.vstack([close[:1], close[:-1]]) * np.exp(rng.normal(0, 0.003, close.shape)), 2)
    high = np.round(np.maximum(open_, close) * np.exp(abs(rng.normal(0, 0.004, close.shape))), 2)
    low = np.round(np.minimum(open_, close) * np.exp(-abs(rng.normal(0, 0.004, close.shape))), 2)
    volume = rng.integers(1_000_000, 5_000_000, close.shape).astype(np.float64)
    turns = rng.random(close.shape) < TURNS.get(workload, 0.5)
    weight = np.where(turns.cumsum(axis=0) % 2, -0.5, 0.5) / symbols
    if workload == "wide":
        weight[1:][~turns[1:]] = np.nan
    np.savez(path, time=stamps, open=open_, high=high, low=low, close=close, volume=volume, weight=weight)


def orders_of(weight: np.ndarray) -> list[list[tuple[int, float]]]:
    """Return the (column, weight) to be ordered at each row, for engines that order one symbol after the other."""
    return [[(j, w) for j, w in enumerate(row) if w == w] for row in weight.tolist()]


def frames(data) -> list:
    import pandas as pd

    index = pd.to_datetime(data["time"])
    return [
        pd.DataFrame({n: data[n][:, j] for n in ("open", "high", "low", "close", "volume")}, index=index)
        for j in range(data["close"].shape[1])
    ]


# ------------------------------------------------------------------------------------------------------- contenders


def run_longshort(data) -> tuple[float, float, int]:
    from longshort.bars import Bars
    from longshort.forecast import Forecast
    from longshort.orders import BasisPoints, Costs
    from longshort.trading import Execution, backtest

    symbols = [f"S{j}" for j in range(data["close"].shape[1])]
    fields = {n: data[n] for n in ("open", "high", "low", "close", "volume")}
    bars = Bars.from_arrays(data["time"], symbols, fields)
    forecast = Forecast(data["time"], tuple(symbols), data["weight"])
    costs = Costs(BasisPoints(1e4 * COMMISSION), half_spread_bp=0, impact=0, borrow=0, financing=0)
    start = time.perf_counter()
    result = backtest(lambda view: view.forecast.mean, forecast, bars, CASH, costs, Execution(participation=1.0))
    return time.perf_counter() - start, float(result.equity[-1]), len(result.orders)


def run_backtrader(data) -> tuple[float, float, int]:
    import backtrader as bt

    wanted, loading = orders_of(data["weight"]), 0.0

    class Signs(bt.Strategy):
        done = 0

        def next(self):
            for j, weight in wanted[len(self) - 1]:
                self.order_target_percent(self.datas[j], target=weight)

        def notify_order(self, order):
            if order.status == order.Completed:
                type(self).done += 1

    class Feed(bt.feeds.PandasData):
        def preload(self):
            nonlocal loading
            begun = time.perf_counter()
            super().preload()
            loading += time.perf_counter() - begun

    cerebro = bt.Cerebro(stdstats=False)
    for j, frame in enumerate(frames(data)):
        cerebro.adddata(Feed(dataname=frame), name=f"S{j}")
    cerebro.addstrategy(Signs)
    cerebro.broker.setcash(CASH)
    cerebro.broker.setcommission(commission=COMMISSION)
    cerebro.broker.set_checksubmit(False)
    start = time.perf_counter()
    cerebro.run()
    return time.perf_counter() - start - loading, cerebro.broker.getvalue(), Signs.done


def run_zipline(data) -> tuple[float, float, int]:
    import warnings

    import pandas as pd

    warnings.simplefilter("ignore")
    root = tempfile.mkdtemp()
    os.environ["ZIPLINE_ROOT"] = root
    from zipline import run_algorithm
    from zipline.api import order_target_percent, set_commission, set_slippage, symbol
    from zipline.data.bundles import ingest, register
    from zipline.data.bundles.csvdir import csvdir_equities
    from zipline.finance import commission, slippage

    folder = Path(root) / "csv" / "daily"
    folder.mkdir(parents=True)
    names = [f"S{j}" for j in range(data["close"].shape[1])]
    days = pd.to_datetime(data["time"]).normalize()
    for name, frame in zip(names, frames(data), strict=True):
        frame.set_axis(days, axis=0).rename_axis("date").assign(dividend=0.0, split=1.0).to_csv(folder / f"{name}.csv")
    register(
        "here", csvdir_equities(["daily"], str(folder.parent)), "NYSE", start_session=days[0], end_session=days[-1]
    )
    ingest("here", show_progress=False)
    wanted = orders_of(data["weight"])

    def initialize(context):
        context.row, context.assets = 0, [symbol(name) for name in names]
        set_commission(commission.PerDollar(COMMISSION))
        set_slippage(slippage.FixedSlippage(spread=0.0))

    def handle_data(context, _):
        for j, weight in wanted[context.row]:
            order_target_percent(context.assets[j], weight)
        context.row += 1

    start = time.perf_counter()
    result = run_algorithm(
        start=days[0],
        end=days[-1],
        initialize=initialize,
        handle_data=handle_data,
        capital_base=CASH,
        bundle="here",
        benchmark_returns=pd.Series(0.0, index=days),
    )
    seconds = time.perf_counter() - start
    return seconds, float(result.portfolio_value.iloc[-1]), int(sum(map(len, result.transactions)))


def run_vectorbt(data) -> tuple[float, float, int]:
    import vectorbt as vbt

    def play():
        portfolio = vbt.Portfolio.from_orders(
            close=data["close"],
            size=np.vstack([np.full_like(data["weight"][:1], np.nan), data["weight"][:-1]]),
            size_type="targetpercent",
            price=data["open"],
            fees=COMMISSION,
            init_cash=CASH,
            group_by=True,
            cash_sharing=True,
        )
        return float(portfolio.value().iloc[-1]), int(portfolio.orders.count())

    play()  # compiles
    start = time.perf_counter()
    done = play()
    return time.perf_counter() - start, *done


def run_nautilus(data) -> tuple[float, float, int]:
    from decimal import Decimal

    from nautilus_trader.backtest.config import BacktestEngineConfig
    from nautilus_trader.backtest.engine import BacktestEngine
    from nautilus_trader.config import LoggingConfig, RiskEngineConfig, StrategyConfig
    from nautilus_trader.model.currencies import USD
    from nautilus_trader.model.data import Bar, BarType
    from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
    from nautilus_trader.model.identifiers import InstrumentId, Symbol, Venue
    from nautilus_trader.model.instruments import Equity
    from nautilus_trader.model.objects import Money, Price, Quantity
    from nautilus_trader.trading.strategy import Strategy

    weight, symbols = data["weight"], data["close"].shape[1]
    venue = Venue("SIM")
    ids = [InstrumentId(Symbol(f"S{j}"), venue) for j in range(symbols)]
    step = "1-DAY" if len(data["time"]) <= 5000 else "1-MINUTE"
    kinds = [BarType.from_str(f"{i}-{step}-LAST-EXTERNAL") for i in ids]
    column = {kind: j for j, kind in enumerate(kinds)}
    engine = BacktestEngine(
        BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True), risk_engine=RiskEngineConfig(bypass=True))
    )
    engine.add_venue(
        venue,
        oms_type=OmsType.NETTING,
        account_type=AccountType.MARGIN,
        base_currency=USD,
        starting_balances=[Money(CASH, USD)],
    )
    equities = [
        Equity(i, i.symbol, USD, 2, Price.from_str("0.01"), Quantity.from_int(1), 0, 0,
               maker_fee=Decimal(str(COMMISSION)), taker_fee=Decimal(str(COMMISSION)))
        for i in ids
    ]  # fmt: skip
    for equity in equities:
        engine.add_instrument(equity)
    bars = []
    for t, stamp in enumerate(data["time"].tolist()):
        for j, kind in enumerate(kinds):
            prices = (Price(float(data[n][t, j]), 2) for n in ("open", "high", "low", "close"))
            bars.append(Bar(kind, *prices, Quantity(float(data["volume"][t, j]), 0), stamp, stamp))
    engine.add_data(bars)

    class Signs(Strategy):
        def __init__(self):
            super().__init__(StrategyConfig(strategy_id="signs"))
            self.rows, self.sent = [0] * symbols, 0

        def on_start(self):
            for kind in kinds:
                self.subscribe_bars(kind)

        def on_bar(self, bar):
            j = column[bar.bar_type]
            row, self.rows[j] = self.rows[j], self.rows[j] + 1
            if weight[row, j] != weight[row, j]:
                return
            price = float(bar.close)
            account = self.portfolio.account(venue)
            equity = float(account.balance_total(USD))  # settled: without what open positions gained
            want = int(weight[row, j] * equity / price) - int(self.portfolio.net_position(ids[j]))
            if want:
                side = OrderSide.BUY if want > 0 else OrderSide.SELL
                self.submit_order(self.order_factory.market(ids[j], side, Quantity.from_int(abs(want))))
                self.sent += 1

    strategy = Signs()
    engine.add_strategy(strategy)
    start = time.perf_counter()
    engine.run()
    seconds = time.perf_counter() - start
    return seconds, float(engine.portfolio.account(venue).balance_total(USD)), strategy.sent


def contend(name: str, path: str) -> dict:
    """Run one contender on one workload in this process."""
    seconds, equity, orders = globals()[f"run_{name}"](dict(np.load(path)))
    return {"seconds": seconds, "equity": equity, "orders": orders}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--workloads", default="one,many,long", help="comma-separated: " + ", ".join(WORKLOADS))
    parser.add_argument("--peers", action="append", default=[], metavar="NAME=PYTHON", help="a peer's interpreter")
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    parser.add_argument("--data", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        print(json.dumps(contend(options.contender, options.data)))
        return
    pythons = {name: f".venv-engines/{name}/bin/python" for name in WANTED}
    pythons |= dict(pair.split("=", 1) for pair in options.peers)
    names = ["longshort", *(name for name in WANTED if _has(pythons[name], WANTED[name]))]
    for name in WANTED:
        if name not in names:
            print(f"left out: {name}, not found by {pythons[name]} (see --peers)")
    with tempfile.TemporaryDirectory() as folder:
        for workload in options.workloads.split(","):
            path = Path(folder) / f"{workload}.npz"
            make(path, workload)
            here = [n for n in names if not (n == "zipline" and WORKLOADS[workload][1] > 5000)]  # daily bars only
            report(workload, race(here, {"longshort": sys.executable, **pythons}, path, options.rounds))


def _has(python: str, library: str) -> bool:
    code = f"import importlib.util as u; assert u.find_spec({library!r})"
    try:
        return subprocess.run([python, "-c", code], capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


def race(names: list[str], pythons: dict[str, str], path: Path, rounds: int) -> dict[str, list[dict]]:
    """Let the contenders take turns, each in a fresh process."""
    done: dict[str, list[dict]] = {name: [] for name in names}
    for number in range(rounds):
        for name in names if number % 2 == 0 else names[::-1]:
            command = [pythons[name], __file__, "--contender", name, "--data", str(path)]
            run = subprocess.run(command, capture_output=True, text=True)
            if run.returncode:
                sys.exit(f"{name} failed:\n{run.stderr[-2000:]}")
            done[name].append(json.loads(run.stdout.splitlines()[-1]))
    return done


def report(workload: str, done: dict[str, list[dict]]) -> None:
    symbols, bars = WORKLOADS[workload]
    print(f"\n{symbols} symbol{'s' * (symbols > 1)} x {bars:,} bars, load {os.getloadavg()[0]:.1f}")
    seconds = {name: statistics.median(run["seconds"] for run in runs) for name, runs in done.items()}
    for name, runs in done.items():
        last = runs[-1]
        ratio = "" if name == "longshort" else f"  {seconds[name] / seconds['longshort']:8.1f} x longshort's time"
        print(f"=> {name:12s}{seconds[name]:9.3f} s  {last['orders']:8,} orders  equity {last['equity']:12,.0f}{ratio}")


if __name__ == "__main__":
    main()
