"""Policies and limits inside a backtest: what they promise about weights must hold for positions."""

import numpy as np
import pytest

from longshort import load_bars
from longshort.bars import Bars, State
from longshort.data import synthetic
from longshort.forecast import Forecast, TargetInfo
from longshort.orders import Costs
from longshort.portfolio import EqualWeight, Limits, LongShort, Sign, TopK, VolatilityTarget
from longshort.trading import backtest


class Plan:
    def __init__(self, policy, limits=None):
        self.policy, self.limits = policy, limits


def noise(bars, seed=0, horizon=1):
    mean = np.random.default_rng(seed).normal(0, 0.01, (len(bars.time), len(bars.symbols)))
    return Forecast(bars.time, bars.symbols, mean, target=TargetInfo("return", horizon))


@pytest.fixture(scope="module")
def stocks():
    return load_bars(["AAPL", "IBM", "BAC"], start="2013-06-01", end="2015-06-01", source="sample")


def test_a_wrapping_policy_is_traded_with_its_wrapper(stocks):
    plain = backtest(TopK(2), noise(stocks), stocks)
    scaled = backtest(VolatilityTarget(TopK(2), target=0.05), noise(stocks), stocks)
    assert scaled.scores()["annual_volatility"] < 0.6 * plain.scores()["annual_volatility"]


def test_positions_stay_within_the_caps(stocks):
    limits = Limits(max_position=0.3, max_gross=0.5, max_net=0.2)
    result = backtest(Plan(LongShort(), limits), noise(stocks), stocks)
    gross, net = np.abs(result.weights).sum(axis=1), result.weights.sum(axis=1)
    assert gross.max() <= 0.5 * 1.1  # decided at one close, held at the next
    assert np.abs(result.weights).max() <= 0.3 * 1.2
    assert np.abs(net).max() <= 0.2 * 1.35
    assert gross.max() > 0.45
    assert {r.limit for r in result.refusals} >= {"max_gross", "max_net"}


def halted(n=8, since=3):
    """Two symbols at 100, the first halted from row `since` on."""
    close = np.full((n, 2), 100.0)
    close[since:, 0] = np.nan
    state = np.where(np.isnan(close), State.HALTED, State.OK).astype(np.uint8)
    fields = dict.fromkeys(("open", "high", "low", "close"), close)
    return Bars.from_arrays((np.arange(n) + 18_000) * 86_400 * 10**9, ("A", "B"), fields, bar_size="1D", state=state)


def test_a_halted_holding_does_not_lever_a_bare_policy():
    """Without limits nobody but the policy itself counts what it cannot sell."""
    result = backtest(EqualWeight(), None, halted(), costs=Costs.none())
    np.testing.assert_allclose(result.weights[-1], [0.5, 0.5])
    assert len(result.fills) == 2


def test_a_function_that_asks_for_more_than_it_has_is_refused_by_the_margin():
    """1.8 of equity on B beside a halted 0.9 in A: 2.7 times what Regulation T lends."""

    def levered(view):
        return np.array([0.9, 0.9]) if view.state[0] == State.OK else np.array([np.nan, 1.8])

    result = backtest(levered, None, halted(), costs=Costs.none())
    np.testing.assert_allclose(result.weights[-1], [0.9, 0.9])
    assert {(r.limit, r.symbol) for r in result.refusals} == {("buying power", "B")}
    limited = backtest(Plan(levered, Limits(max_gross=1.2, max_net=1.2)), None, halted(), costs=Costs.none())
    assert np.abs(limited.weights).sum(axis=1).max() <= 1.2 + 1e-9


def test_forecasts_over_a_week_trade_a_fifth_as_much(stocks):
    day, week = (backtest(Sign(), noise(stocks, horizon=h), stocks).scores()["turnover"] for h in (1, 5))
    assert 0.1 < week / day < 0.35


def test_stops_rest_at_the_broker_and_close_positions_across_a_split():
    """Apple's seven for one of 2014-06-09, with a position through it: no stop fires on the day."""
    bars = load_bars("AAPL", start="2014-05-01", end="2014-07-15", source="sample")
    result = backtest(Plan(EqualWeight(gross=0.9, band=0.2), Limits(stop_loss=0.2, trailing_stop=0.1)), None, bars)
    assert not [
        order for order in result.orders if order.reason == "stop" and order.id in {f.order for f in result.fills}
    ]
    assert any(order.reason == "stop" for order in result.orders)
    assert (result.weights[2:] > 0.8).all()


def test_a_stop_bounds_what_a_fall_costs():
    """A fall of one per cent a day: the stop sells, and after the cooldown the policy buys again."""
    close = 100 * 0.99 ** np.arange(60)
    bars = synthetic.random_walk(60, seed=0)
    bars = type(bars).from_arrays(bars.time, ("FALL",), dict.fromkeys(("open", "high", "low", "close"), close))
    stopped = backtest(Plan(EqualWeight(), Limits(stop_loss=0.03, cooldown=100)), None, bars, costs=Costs.none())
    held = backtest(EqualWeight(), None, bars, costs=Costs.none())
    assert 1 - stopped.equity[-1] / 100_000 == pytest.approx(0.04, abs=0.012)
    assert held.equity[-1] < 60_000
    assert stopped.weights[-1] == 0


QUIET, THIN = (100, 100, 100, 100, 1e6), (99, 100, 98, 99, 300)


@pytest.mark.parametrize(
    ("rows", "reasons"),
    [
        # the stop at 95 is reached within a bar of 300 shares, of which 30 may be ours, and the price comes back
        ([QUIET, QUIET, (100, 100, 90, 99, 300), THIN, QUIET], ["policy", "stop", "stop_loss", "stop_loss"]),
        # closed below the stop without volume, and the price comes back
        ([QUIET, QUIET, (96, 96, 94.9, 94.9, 0), THIN, THIN, QUIET], ["policy", "stop_loss", "stop_loss", "stop_loss"]),
    ],
)
def test_an_exit_that_thin_volume_fills_in_part_goes_on_until_nothing_is_left(rows, reasons):
    table = np.array([*rows, QUIET])
    names = ("open", "high", "low", "close", "volume")
    time = synthetic.random_walk(len(table), seed=0).time
    bars = Bars.from_arrays(time, ("THIN",), {name: table[:, k] for k, name in enumerate(names)})
    plan = Plan(lambda view: np.array([0.5]), Limits(stop_loss=0.05, cooldown=0))
    result = backtest(plan, None, bars, costs=Costs.none())
    gone = int(np.flatnonzero(result.positions[2:, 0] == 0)[0]) + 2
    fills = [f for f in result.fills if f.time <= result.time[gone]]
    assert [f.reason for f in fills] == reasons
    assert [f.lots for f in fills] == [500, -30, -30, -440]


def test_the_drawdown_breaker_ends_trading_for_good():
    close = 100 * 0.98 ** np.arange(60)
    bars = synthetic.random_walk(60, seed=0)
    bars = type(bars).from_arrays(bars.time, ("FALL",), dict.fromkeys(("open", "high", "low", "close"), close))
    result = backtest(Plan(EqualWeight(), Limits(max_drawdown=0.25)), None, bars, costs=Costs.none())
    assert 0.25 < 1 - result.equity[-1] / 100_000 < 0.28
    assert {r.limit for r in result.refusals} == {"max_drawdown"}


def test_a_position_is_protected_from_its_first_bar_and_not_bought_back_at_once():
    close = np.array([100.0, 100.0, 91.0, 100.0, 100.0, 100.0])
    open_ = np.array([100.0, 100.0, 100.0, 91.0, 100.0, 100.0])
    fields = {"open": open_, "high": np.maximum(open_, close), "low": np.minimum(open_, close), "close": close}
    bars = synthetic.random_walk(6, seed=0)
    bars = type(bars).from_arrays(bars.time, ("DIP",), fields)
    buy = np.array([0.0, 0.5, 0.5, 0.5, 0.5, 0.5])
    plan = Plan(lambda view: np.array([buy[np.searchsorted(bars.time, view.time)]]), Limits(stop_loss=0.05, cooldown=1))
    result = backtest(plan, None, bars, costs=Costs.none())
    assert len(result.fills) == 3  # bought at 100, stopped at 95 in the same bar, bought a bar later than asked
    assert result.weights[2] == 0
    assert result.weights[3] == 0
    assert result.weights[4] == pytest.approx(0.5, abs=0.01)
