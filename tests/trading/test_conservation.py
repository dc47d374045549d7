"""Whatever happens, the money adds up: random markets, random strategies, books kept a second time by other means."""

import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longshort import ledger
from longshort.bars import Bars, State
from longshort.orders import BookEvent, Costs, Fill, Instrument, Money, Order, Posting, Shares
from longshort.portfolio import Limits
from longshort.trading import Execution, SimulatedBroker, backtest

DAY = 86_400 * 10**9


@dataclass(frozen=True)
class Plan:
    policy: Any
    limits: Any


def wild(seed: int, days: int = 40, symbols: int = 3) -> Bars:
    """Gaps, halts, splits both ways, dividends, thin volume, prices off the grid."""
    rng = np.random.default_rng(seed)
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.05, (days, symbols)), axis=0))
    split = np.ones(close.shape)
    split[rng.integers(1, days, 3), rng.integers(0, symbols, 3)] = rng.choice([2.0, 1.5, 7.0, 0.1], 3)
    close = close / np.cumprod(split, axis=0)
    opened = np.vstack([close[:1], close[:-1] / split[1:]]) * np.exp(rng.normal(0, 0.03, close.shape))
    high = np.maximum(opened, close) * (1 + rng.random(close.shape) * 0.03)
    low = np.minimum(opened, close) * (1 - rng.random(close.shape) * 0.03)
    dividend = np.where(rng.random(close.shape) < 0.05, 0.001 * close, 0.0)
    volume = rng.integers(0, 20_000, close.shape).astype(float)
    fields = {"open": opened, "high": high, "low": low, "close": close, "volume": volume}
    gone = rng.random(close.shape) < 0.08
    gone[0] = False
    fields = {name: np.where(gone, np.nan, values) for name, values in fields.items()}
    state = np.where(gone, rng.choice([State.MISSING, State.HALTED, State.CLOSED], close.shape), State.OK)
    names = [f"S{j}" for j in range(symbols)]
    time = (np.arange(days) + 18_000) * DAY
    more = {"split": split, "dividend": dividend, "state": state.astype(np.uint8), "bar_size": "1D"}
    return Bars.from_arrays(time, names, fields, **more)


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 10**6),
    st.sampled_from([1.0, 0.001, 10.0]),
    st.booleans(),
    st.sampled_from([0.02, 0.1, 1.0]),
    st.sampled_from([0.0, 3600.0]),
)
def test_the_account_is_what_its_messages_make_it_at_every_row(seed, lot, free, participation, latency):
    bars, rng = wild(seed), np.random.default_rng(seed)
    limits = Limits(stop_loss=0.04, take_profit=0.06, max_gross=1.5, max_leverage=1.5, max_net=1.5)
    plan = Plan(lambda view: rng.choice([np.nan, 0.0, 0.4, -0.4, 0.8], 3), limits)
    instruments = {symbol: Instrument(symbol, lot=lot) for symbol in bars.symbols}
    with ledger.aside():
        result = backtest(
            plan,
            None,
            bars,
            costs=Costs.none() if free else Costs(),
            execution=Execution(participation, latency),
            instruments=instruments,
        )
    size = Fraction(str(lot))
    cash, held = Fraction(100_000), dict.fromkeys(bars.symbols, 0)
    messages = sorted([*result.postings, *result.fills], key=lambda m: m.time)
    at = 0
    for row, time in enumerate(result.time.tolist()):
        while at < len(messages) and messages[at].time <= time:
            one = messages[at]
            if isinstance(one, Fill):
                cash -= one.lots * size * Fraction(one.price_micro, 10**6) + Fraction(one.commission_micro, 10**6)
                held[one.symbol] += one.lots
            else:
                cash += Fraction(one.cash_micro, 10**6)
                if one.lots:
                    held[one.symbol] += one.lots
            at += 1
        prices = [Fraction(round(float(p) * 10**6), 10**6) for p in result.prices[row]]
        worth = sum((n * size * p for n, p in zip(held.values(), prices, strict=True)), Fraction(0))
        assert abs(float(cash) - result.cash[row]) < 0.005
        assert abs(float(cash + worth) - result.equity[row]) < 0.005
        assert [float(n * size) for n in held.values()] == pytest.approx(result.positions[row].tolist())
    borrowed = sum(result.costs[kind] for kind in ("borrow", "financing"))
    assert np.diff(result.equity) == pytest.approx(result.profits[1:].sum(axis=1) - borrowed[1:], abs=0.01)
    trades = result.trades()
    for trade in trades:
        assert trade.worst <= 0 <= trade.best
    outside = sum(p.cash_micro for p in result.postings if p.kind in ("borrow", "financing")) / 1e6
    assert sum(t.profit for t in trades) + outside == pytest.approx(result.equity[-1] - 100_000, abs=0.02)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 39))
def test_the_future_changes_no_order_and_no_fill(seed, cut):
    bars = wild(seed)
    changed = {name: np.array(bars[name]) for name in bars.fields}
    for values in changed.values():
        values[cut:] *= 1.7
    other = Bars.from_arrays(
        bars.time, bars.symbols, changed, split=bars.split, dividend=bars.dividend, state=bars.state, bar_size="1D"
    )
    runs = []
    for market in (bars, other):
        draw = np.random.default_rng(seed)
        plan = Plan(lambda view, draw=draw: draw.choice([0.0, 0.3, -0.3], 3), Limits(trailing_stop=0.05))
        with ledger.aside():
            runs.append(backtest(plan, None, market))
    before = int(bars.time[cut - 1])
    first, second = ([o.line() for o in run.orders if o.time <= before] for run in runs)
    assert first == second
    first, second = ([f for f in run.fills if f.time <= before] for run in runs)
    assert first == second
    assert runs[0].equity[:cut].tolist() == runs[1].equity[:cut].tolist()


SHARED = os.environ.get("LONGSHORT_SHARED_DATA", "")


@pytest.mark.full
@pytest.mark.skipif(not SHARED, reason="LONGSHORT_SHARED_DATA is not set")
def test_orders_against_real_quotes_pay_the_displayed_prices():
    """IBM on the NYSE, one venue's best quotes: buy and sell every fiftieth quote; no fill beyond what was shown."""
    import pandas as pd

    rows = pd.read_parquet(Path(SHARED) / "ticks_ibm_quotes_201310.parquet")
    rows = rows[(rows.exch == "N") & (rows.day == rows.day.iloc[0])].head(20_000)
    broker = SimulatedBroker(10**6, ["IBM"], Costs())
    bid: tuple = ()
    ask: tuple = ()
    shown, sent = {}, 0
    for k, row in enumerate(rows.itertuples()):
        if row.bid_px:
            bid = ((int(row.bid_px) * 100, int(row.bid_sz)),)
        if row.ask_px:
            ask = ((int(row.ask_px) * 100, int(row.ask_sz)),)
        time = 10 * (k + 1)
        shown[time] = (bid, ask)
        broker.on(BookEvent(time, "IBM", bid, ask))
        if k % 50 == 20 and bid and ask:
            sent += 1
            lots = 300 if sent % 2 else -300
            broker.submit(Order(str(sent), "IBM", Shares(lots), time))
    fills = [one for one in broker.events() if isinstance(one, Fill)]
    assert len(fills) >= sent > 300
    for fill in fills:
        (price, size) = shown[fill.time][1 if fill.lots > 0 else 0][0]
        assert fill.price_micro == price
        assert abs(fill.lots) <= size
    broker.account.audit()
    half_spreads = -broker.account.totals["spread"] / sum(abs(f.lots) for f in fills) / 1e6
    assert 0.0 < half_spreads < 0.1
    assert not any(isinstance(one, Posting) for one in fills)
    assert broker.account.cash < Money.of(10**7)


@pytest.mark.full
def test_adding_shares_to_money_is_an_error_before_it_runs(tmp_path):
    import json
    import subprocess
    import sys

    file = tmp_path / "wrong.py"
    file.write_text("from longshort.orders import Money, Shares\nprint(Money.of(1) + Shares(1))\n")
    command = ["pyright", "--outputjson", "--pythonpath", sys.executable, str(file)]
    done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, check=False)
    rules = [found.get("rule") for found in json.loads(done.stdout)["generalDiagnostics"]]
    assert rules == ["reportOperatorIssue"]
