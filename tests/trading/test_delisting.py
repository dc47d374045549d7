"""Holdings of symbols that have come to an end, by hand."""

import numpy as np
import pytest
from small_markets import bars_of, flat

from longshort.bars import State
from longshort.errors import InputError
from longshort.orders import Costs
from longshort.trading import BacktestResult, Execution, backtest

FREE = Costs.none()


def ended(rows: int = 12, last: int = 4, state: int = State.MISSING, price: float = 100.0):
    """Two symbols at 100; the second has bars up to row `last`."""
    prices = np.full((rows, 2), price)
    prices[last + 1 :, 1] = np.nan
    return flat(prices, ["A", "B"], state=np.where(np.isnan(prices), state, State.OK).astype(np.uint8))


def held(weight: float, bars=None, **execution) -> BacktestResult:
    bars = ended() if bars is None else bars
    return backtest(lambda view: np.array([0.0, weight]), None, bars, costs=FREE, execution=Execution(**execution))


@pytest.mark.parametrize("state", [State.MISSING, State.HALTED, State.UNLISTED])
def test_a_long_holding_is_closed_below_its_last_price_after_so_many_sessions(state):
    result = held(0.5, ended(state=state), delisted_after=3)
    assert result.positions[:, 1].tolist() == [0.0] + [500.0] * 6 + [0.0] * 5  # rows 5, 6 and 7 have no bar
    assert result.equity[-1] == 100_000 - 0.3 * 50_000
    assert result.equity[6] == 100_000
    assert (result.delisted, result.stuck) == (("B",), ())
    (fill,) = [one for one in result.fills if one.reason == "delisted"]
    assert (fill.time, fill.lots, float(fill.price), fill.commission_micro) == (result.time[7], -500, 70.0, 0)
    assert "delisted while held, closed at a return of -30%: B" in str(result)


def test_what_it_cost_is_told_by_exit_and_in_the_trade():
    result = held(0.5, delisted_after=3)
    (trade,) = result.trades()
    assert (trade.reason, trade.profit, trade.exit_price, trade.open) == ("delisted", -15_000.0, 70.0, False)
    assert [(share.name, share.profit) for share in result.by_exit()] == [("delisted", -15_000.0)]


def test_a_short_holding_is_covered_at_the_last_price_and_gains_nothing():
    result = held(-0.5, delisted_after=3)
    assert result.positions[-1, 1] == 0
    assert result.equity[-1] == 100_000


@pytest.mark.parametrize(("back", "left"), [(0.0, 100_000), (-0.55, 72_500), (-1.0, 50_000)])
def test_the_return_is_a_choice(back, left):
    result = held(0.5, delisted_after=1, delisting_return=back)
    assert result.equity[-1] == pytest.approx(left, abs=0.001)  # a fill has a price above zero: a millionth
    result.account.audit()


def test_without_the_rule_it_stays_at_its_last_price_for_ever():
    result = held(0.5)
    assert result.positions[-1, 1] == 500
    assert (result.delisted, result.stuck) == ((), ("B",))


def test_a_halt_that_ends_in_time_is_none_and_the_count_begins_anew():
    prices = np.full((16, 2), 100.0)
    prices[[3, 4, 6, 7, 9, 10], 1] = np.nan
    bars = flat(prices, ["A", "B"], state=np.where(np.isnan(prices), State.HALTED, State.OK).astype(np.uint8))
    assert held(0.5, bars, delisted_after=3).delisted == ()
    assert held(0.5, bars, delisted_after=2).delisted == ("B",)


def test_sessions_in_which_its_market_was_closed_do_not_count():
    assert held(0.5, ended(state=State.CLOSED), delisted_after=1).delisted == ()


def test_within_the_day_sessions_count_and_not_bars():
    """Six bars a day; the last bar of B is in the middle of the second day, so the third is its first without one."""
    rows, price = 30, np.full((30, 2, 4), 100.0)
    price[9:, 1] = np.nan
    state = np.where(np.isnan(price[:, :, 0]), State.MISSING, State.OK).astype(np.uint8)
    time = (18_000 * 24 + np.repeat(np.arange(5) * 24, 6) + np.tile(np.arange(15, 21), 5)) * 3600 * 10**9
    bars = type(bars_of(price, ["A", "B"])).from_arrays(
        time,
        ["A", "B"],
        {name: price[:, :, k] for k, name in enumerate(("open", "high", "low", "close"))},
        bar_size="1h",
        state=state,
    )
    result = held(0.5, bars, delisted_after=1)
    assert len(bars) == rows
    gone = int(np.flatnonzero(result.positions[:, 1])[-1]) + 1
    assert gone == 17  # the last bar of the third day
    assert held(0.5, bars, delisted_after=2).positions[22, 1] == 500


def test_a_symbol_that_comes_back_can_be_bought_again():
    prices = np.full((12, 2), 100.0)
    prices[3:7, 1] = np.nan
    bars = flat(prices, ["A", "B"], state=np.where(np.isnan(prices), State.HALTED, State.OK).astype(np.uint8))
    result = held(0.5, bars, delisted_after=2, delisting_return=0.0)
    assert result.delisted == ("B",)
    assert result.positions[-1, 1] == 500


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"delisted_after": 0}, "delisted_after"),
        ({"delisted_after": 2.5}, "whole number"),
        ({"delisted_after": np.nan}, "delisted_after"),
        ({"delisting_return": 0.1}, "delisting_return"),
        ({"delisting_return": -1.1}, "delisting_return"),
        ({"delisting_return": np.nan}, "delisting_return"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(given, message):
    with pytest.raises(InputError, match=message):
        Execution(**given)
