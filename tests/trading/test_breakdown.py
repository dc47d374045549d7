"""A result taken apart: parts that add up to the whole, gaps and capacities worked out by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import longshort as ls
from longshort.bars import Bars
from longshort.orders import Costs
from longshort.portfolio import Limits
from longshort.trading import Execution, backtest
from longshort.trading.breakdown import Capacity, participation
from longshort.trading.result import judge_returns

from .small_markets import FREE, bars_of, flat


def walk(n=300, symbols=("A", "B", "C"), seed=0) -> Bars:
    return ls.data.synthetic.random_walk(n, symbols, seed=seed)


def coin(seed):
    rng = np.random.default_rng(seed)
    return lambda view: rng.uniform(-0.33, 0.33, len(view.symbols))


@given(seed=st.integers(0, 50))
@settings(max_examples=10, deadline=None)
def test_symbols_sides_and_the_charges_of_the_account_are_all_of_the_profit(seed):
    result = backtest(coin(seed), None, walk(80, seed=seed))
    shares = result.by_symbol()
    charged = result.totals["borrow"][-1] + result.totals["financing"][-1]
    assert sum(one.profit for one in shares) + charged == pytest.approx(result.equity[-1] - result.equity[0], abs=1e-4)
    assert sum(one.profit for one in result.by_exit()) == pytest.approx(sum(one.profit for one in shares), abs=1e-6)
    by_row = dict(zip(result.symbols, result.profits.sum(axis=0), strict=True))
    for one in shares:
        assert one.profit == pytest.approx(by_row[one.name], abs=1e-4)
        assert one.costs > 0
    assert [one.profit for one in shares] == sorted((one.profit for one in shares), reverse=True)


@given(seed=st.integers(0, 50))
@settings(max_examples=10, deadline=None)
def test_months_compound_to_the_whole(seed):
    result = backtest(coin(seed), None, walk(120, seed=seed))
    years, table = result.by_month()
    assert table.shape == (len(years), 12)
    assert np.nanprod(1.0 + table) - 1.0 == pytest.approx(result.scores()["total_return"], abs=1e-12)
    played = {str(day)[:7] for day in result.bars.dates}
    assert int(np.isfinite(table).sum()) == len(played)


def test_the_benchmark_of_equal_exposure_is_as_much_in_the_market_as_the_strategy():
    result = backtest(lambda view: np.array([0.5, 0.0, -0.25]), None, walk(60), costs=FREE)
    exposure = result.scores()["net_exposure"]
    assert exposure == pytest.approx(0.25, abs=0.02)
    found = result.benchmarks
    np.testing.assert_allclose(found["equal_exposure"], exposure * found["equal_weight"])


@pytest.mark.parametrize(("weight", "worst", "best"), [(1.0, -0.04, 0.05), (-1.0, -0.05, 0.04)])
def test_excursions_are_against_and_for_the_side_held(weight, worst, best):
    bars = bars_of([(100, 100, 100, 100), (100, 105, 96, 101), (101, 101, 101, 101)])
    rows = iter([weight, 0.0, 0.0])
    (trade,) = backtest(lambda view: np.array([next(rows)]), None, bars, costs=FREE).trades()
    assert (trade.worst, trade.best) == (pytest.approx(worst), pytest.approx(best))


def test_the_gap_is_what_opened_away_from_the_close_of_the_decision():
    # decided at 100, opened at 103: 3 a share lost on 100 shares; then sold: decided at 103, opened at 101
    bars = bars_of([(100, 100, 100, 100), (103, 103, 103, 103), (101, 101, 101, 101)])
    weights = iter([1.0, 0.0, 0.0])
    result = backtest(lambda view: np.array([next(weights)]), None, bars, cash=10_300.0, costs=FREE)
    bought, sold = (fill.lots for fill in result.fills)
    assert sold == -bought
    gap = result.gap()
    assert gap.money == pytest.approx(bought * 3.0 + bought * 2.0)
    assert gap.bp == pytest.approx(5.0 / 204.0 * 1e4)
    assert gap.fills == 2
    assert "+245.1 bp from the close of the decision to the fill" in str(result)


def test_costs_are_no_part_of_the_gap():
    bars = flat([100.0] * 6)
    weights = iter([1.0, 0.0] * 3)
    result = backtest(lambda view: np.array([next(weights)]), None, bars, costs=Costs(half_spread_bp=50.0))
    assert result.costs["spread"].sum() > 0
    assert result.gap().money == pytest.approx(0.0, abs=1e-6)


def test_a_split_overnight_is_no_gap():
    bars = flat([100.0, 50.0, 50.0], split=np.array([[1.0], [2.0], [1.0]]))
    result = backtest(lambda view: np.array([1.0]), None, bars, costs=FREE)
    assert result.fills
    assert result.gap().money == pytest.approx(0.0, abs=1e-6)


def test_a_limit_is_listed_with_the_weight_it_took():
    bars = walk(40, ("A", "B"))
    strategy = ls.Strategy(policy=lambda view: np.array([0.9, 0.1]), limits=Limits(max_position=0.5))
    (found,) = backtest(strategy, None, bars).by_limit()
    assert (found.limit, found.worst, found.bound) == ("max_position", 0.9, 0.5)
    assert found.times == found.decisions == 39
    assert found.taken == pytest.approx(39 * 0.4)


def test_the_broker_takes_no_weight():
    bars = walk(40, ("A",))
    result = backtest(lambda view: np.array([3.0]), None, bars)
    found = {one.limit: one for one in result.by_limit()}
    assert math.isnan(found["buying power"].taken)
    assert found["buying power"].worst > found["buying power"].bound


def test_exits_say_what_closed_the_position():
    bars = bars_of([(100, 100, 100, 100), (100, 101, 99, 100), (90, 91, 80, 85), (85, 86, 84, 85)])
    strategy = ls.Strategy(policy=lambda view: np.array([1.0]), limits=Limits(stop_loss=0.05))
    found = {one.name: one for one in backtest(strategy, None, bars).by_exit()}
    assert found["stop"].trades == 1
    assert found["stop"].profit < 0


def test_participation_is_our_share_of_the_volume_of_the_bar():
    bars = bars_of([(100, 100, 100, 100, 1e6), (100, 100, 100, 100, 5_000.0), (100, 100, 100, 100, 1e6)])
    execution = Execution(participation=0.1)
    result = backtest(lambda view: np.array([1.0]), None, bars, execution=execution)
    assert participation(result)[0] == pytest.approx(0.1)
    assert result.capacity().cap_reached <= result.capacity().played * 1.01


def test_capacity_by_hand():
    one = Capacity(played=100.0, edge=0.02, impact=0.01, participation=0.01, cap=0.1)
    assert one.net(400.0) == pytest.approx(0.0)
    assert one.nothing_left == pytest.approx(400.0)
    grid = np.linspace(1, 400, 4_000)
    best = grid[np.argmax([m * one.net(m) for m in grid])]
    assert one.most_money == pytest.approx(best, rel=1e-3)
    assert one.cap_reached == pytest.approx(1_000.0)


def test_without_an_edge_there_is_no_capacity_and_without_impact_no_end():
    assert Capacity(1.0, -0.01, 0.01, 0.1, 0.1).nothing_left == 0.0
    assert Capacity(1.0, 0.01, 0.0, float("nan"), 0.1).nothing_left == math.inf
    assert Capacity(1.0, 0.01, 0.0, float("nan"), 0.1).cap_reached == math.inf
    assert Capacity(1.0, float("nan"), 0.0, 0.0, 0.1).nothing_left == 0.0


def test_nine_times_the_cash_costs_three_times_the_impact():
    bars = ls.load_bars("AAPL", start="2012-01-01", end="2014-12-31", source="sample")

    def played(cash):
        costs = Costs.flat(0.0)
        costs = Costs(costs.commission, 0.0, 0.5, 0.0, 0.0)
        return backtest(lambda view: np.sign(view.returns) * 0.5, None, bars, cash=cash, costs=costs)

    small, large = played(1e6), played(9e6)
    assert large.capacity().impact == pytest.approx(3.0 * small.capacity().impact, rel=0.02)
    assert small.capacity().net(large.equity.mean()) - small.capacity().edge == pytest.approx(
        -large.capacity().impact, rel=0.05
    )


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_a_result_of_a_few_rows_can_be_taken_apart(rows):
    bars = walk(40, ("A",))
    result = backtest(lambda view: np.array([1.0]), None, bars.until(int(bars.time[rows - 1])))
    assert "No evidence" in str(result)
    assert result.by_month()[1].shape == (1, 12)
    assert len(result.by_symbol()) == len(result.by_exit()) == (rows > 1)
    assert result.by_limit() == ()
    assert result.gap().fills == len(result.fills)
    assert result.capacity().nothing_left >= 0


@pytest.mark.parametrize(("symbol", "start"), [("AAPL", "2013-01-01"), ("SPY", "2013-01-01"), ("GOOG", "2015-01-01")])
def test_holding_a_share_that_rose_is_no_edge(symbol, start):
    bars = ls.load_bars(symbol, start=start, end="2020-12-31", source="sample")
    verdict = backtest(lambda view: np.array([1.0]), None, bars, cash=5e6).verdict()
    assert verdict.exit_code == 3
    assert "the returns are those of equal exposure" in verdict.sentence or verdict.details["excess_probability"] < 0.95


def test_one_lucky_day_is_no_edge_over_the_benchmark():
    market = np.random.default_rng(0).normal(0.002, 0.01, 1_000)
    lucky = market.copy()
    lucky[0] += 0.03
    assert judge_returns(lucky, market, 252.0).exit_code == 3


def test_an_edge_every_day_is_one():
    rng = np.random.default_rng(0)
    market = rng.normal(0.0005, 0.01, 1_000)
    verdict = judge_returns(market + rng.normal(0.001, 0.005, 1_000), market, 252.0)
    assert verdict.exit_code == 0
    assert verdict.sentence.startswith("An edge")
