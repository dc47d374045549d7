"""Golden runs: the orders and the last cash of many strategies, pinned.

A difference is either a defect or a change of behaviour on purpose. For the second, write the table anew with
``python tests/trading/test_golden.py`` and say why in a line that begins with # at its end. Prices are whole cents and
forecasts whole thousandths, drawn as integers, so that no mathematical library has a say in them.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import longshort as ls
from longshort.bars import Bars, State
from longshort.forecast import Forecast, TargetInfo
from longshort.orders import BasisPoints, Costs, Instrument, Margin, PerShare, Tiered
from longshort.portfolio import EqualWeight, Limits, LongShort, Quantiles, Sign, TopK
from longshort.trading import BacktestResult, Execution, backtest

TABLE = Path(__file__).parent / "golden.txt"
DAY = 86_400 * 10**9


@dataclass(frozen=True)
class Plan:
    policy: Any
    limits: Any = field(default_factory=Limits)


def market(symbols: int = 5, days: int = 260, seed: int = 0, minutes: int = 0, **more: Any) -> Bars:
    rng = np.random.default_rng(seed)
    close = 10_000 + np.cumsum(rng.integers(-150, 152, (days, symbols)), axis=0)
    opened = np.vstack([close[:1], close[:-1]]) + rng.integers(-60, 61, close.shape)
    high = np.maximum(opened, close) + rng.integers(0, 80, close.shape)
    low = np.minimum(opened, close) - rng.integers(0, 80, close.shape)
    prices = {"open": opened, "high": high, "low": low, "close": close}
    fields = {name: values.clip(100) / 100 for name, values in prices.items()}
    fields["volume"] = rng.integers(1_000, 90_000, close.shape).astype(float)
    if minutes:
        time, size = (np.arange(days) + 5_000_000) * minutes * 60 * 10**9, f"{minutes}m"
    else:
        time, size = (np.arange(days) + 18_000) * DAY, "1D"
    return Bars.from_arrays(time, [f"S{j}" for j in range(symbols)], fields, bar_size=size, **more)


def gaps(bars: Bars) -> Bars:
    """Every seventh cell is missing or halted."""
    where = np.add.outer(np.arange(len(bars)), 3 * np.arange(len(bars.symbols))) % 7 == 5
    fields = {name: np.where(where, np.nan, bars[name]) for name in bars.fields}
    state = np.where(where, np.where(np.arange(len(bars))[:, None] % 2, State.MISSING, State.HALTED), State.OK)
    return Bars.from_arrays(bars.time, bars.symbols, fields, state=state.astype(np.uint8), bar_size="1D")


def said(bars: Bars, seed: int = 1) -> Forecast:
    values = np.random.default_rng(seed).integers(-20, 21, bars.shape) / 1000
    return Forecast(bars.time[20:-1], bars.symbols, values[20:-1], target=TargetInfo("return"))


def run(strategy: Any, bars: Bars, forecast: bool = True, **more: Any) -> BacktestResult:
    return backtest(strategy, said(bars) if forecast else None, bars, **more)


def aapl() -> Bars:
    return ls.load_bars("AAPL", start="2011-01-01", end="2020-12-31", source="sample")


def flip(view: Any) -> np.ndarray:
    return np.where(np.arange(len(view.symbols)) % 2 == view.session % 2, 1.0, -1.0) / len(view.symbols)


def trend(view: Any) -> np.ndarray:
    return np.sign(view.returns) / len(view.symbols)


def bought_once(view: Any) -> np.ndarray:
    """Short twice the equity on the first day and let it be."""
    return np.array([np.nan if view.equity != 100_000 else -1.99])


BARS = market()
LIMITED = {  # every rule of the limits with a policy that keeps it busy
    "stop loss": Limits(stop_loss=0.02),
    "take profit": Limits(take_profit=0.02),
    "stop and target": Limits(stop_loss=0.015, take_profit=0.03),
    "trailing stop": Limits(trailing_stop=0.03),
    "atr stop": Limits(atr_stop=2.0),
    "time stop": Limits(time_stop=5),
    "position cap": Limits(max_position=0.1),
    "turnover cap": Limits(max_turnover=0.2),
    "drawdown breaker": Limits(max_drawdown=0.03),
    "net cap": Limits(max_net=0.1),
    "restricted": Limits(restricted=("S1", "S3")),
}
RUNS: dict[str, Any] = {
    "sign": lambda: run(Plan(Sign()), BARS),
    "long short": lambda: run(Plan(LongShort()), BARS),
    "long only": lambda: run(Plan(LongShort(short=False)), BARS),
    "equal weight": lambda: run(Plan(EqualWeight()), BARS),
    "top and bottom": lambda: run(Plan(TopK(2, short=2)), BARS),
    "quantiles": lambda: run(Plan(Quantiles()), market(20)),
    "trend without forecasts": lambda: run(trend, BARS, forecast=False),
    "flips every day": lambda: run(flip, BARS, forecast=False),
    "small volume": lambda: run(Plan(Sign()), BARS, cash=50_000_000.0),
    "half the volume": lambda: run(Plan(Sign()), BARS, cash=50_000_000.0, execution=Execution(participation=0.5)),
    "cash account": lambda: run(Plan(LongShort(short=False)), BARS, execution=Execution(margin=Margin.cash())),
    "free": lambda: run(Plan(Sign()), BARS, costs=Costs.none()),
    "per share": lambda: run(Plan(Sign()), BARS, costs=Costs(PerShare(0.01, 2.0))),
    "tiered": lambda: run(Plan(Sign()), BARS, costs=Costs(Tiered(), impact=1.0)),
    "basis points": lambda: run(Plan(Sign()), BARS, costs=Costs(BasisPoints(8), half_spread_bp=4.0)),
    "hard to borrow": lambda: run(Plan(Sign()), BARS, costs=Costs(borrow_by_symbol={"S0": 0.4})),
    "lots of ten": lambda: run(Plan(Sign()), BARS, instruments={s: Instrument(s, lot=10) for s in BARS.symbols}),
    "coins": lambda: run(Plan(Sign()), BARS, instruments={s: Instrument(s, lot=0.001) for s in BARS.symbols}),
    "no shorting": lambda: run(Plan(Sign()), BARS, instruments={"S2": Instrument("S2", shortable=False)}),
    "leverage": lambda: run(lambda view: 1.9 * flip(view), BARS, forecast=False),
    "margin call": lambda: run(bought_once, market(1, 600, seed=1), forecast=False),
    "gaps": lambda: run(Plan(Sign(), Limits(stop_loss=0.02)), gaps(BARS)),
    "minutes": lambda: run(Plan(Sign()), market(2, 1500, 3, minutes=5)),
    "minutes with latency": lambda: run(
        Plan(Sign(), Limits(stop_loss=0.01)), market(2, 1500, 3, 5), execution=Execution(latency_seconds=60)
    ),
    "splits and dividends, long": lambda: run(EqualWeight(), aapl(), forecast=False),
    "splits and dividends, short": lambda: run(lambda view: np.array([-0.5]), aapl(), forecast=False),
    "splits and dividends, stops": lambda: run(
        Plan(trend, Limits(stop_loss=0.03, trailing_stop=0.05)), aapl(), forecast=False
    ),
    **{f"limits: {name}": (lambda rule=rule: run(Plan(Sign(), rule), BARS)) for name, rule in LIMITED.items()},
}


def line(name: str) -> str:
    result = RUNS[name]()
    last = result.account
    return f"{name} | {len(result.orders)} | {len(result.fills)} | {last.cash_micro} | {result.order_hash}"


def pinned() -> dict[str, str]:
    rows = [row for row in TABLE.read_text().splitlines() if row and not row.startswith("#")]
    return {row.split(" | ")[0]: row for row in rows}


@pytest.mark.parametrize("name", RUNS)
def test_the_orders_of_a_golden_run_have_not_moved(name):
    assert line(name) == pinned()[name]


def test_every_golden_run_trades_and_the_table_has_no_other():
    assert set(pinned()) == set(RUNS)
    assert all(int(row.split(" | ")[1]) > 0 for row in pinned().values())


if __name__ == "__main__":
    reasons = [row for row in TABLE.read_text().splitlines() if row.startswith("#")] if TABLE.exists() else []
    header = ["# run | orders | fills | last cash, micro | SHA-256 of the orders"]
    TABLE.write_text("\n".join([*header, *map(line, RUNS), *(r for r in reasons if r not in header)]) + "\n")
