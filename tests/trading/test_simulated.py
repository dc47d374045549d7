"""The simulated broker: what fills, at which price, when, and what it costs. The numbers are worked out by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_markets import FREE, broker_at, close, opening, order

from longshort.bars import State
from longshort.errors import CausalityError, InputError, OrderError, PriceError, UnknownName
from longshort.forecast import Refusal
from longshort.orders import (
    BasisPoints,
    BookEvent,
    Cancel,
    Costs,
    Ended,
    Fill,
    Instrument,
    Margin,
    Money,
    Order,
    PerShare,
    Posting,
    Shares,
    Tiered,
)
from longshort.trading import Execution, SimulatedBroker

USD = Money.of


def fills(broker):
    return [(f.lots, f.price_micro / 1e6) for f in broker.events() if type(f) is Fill]


def ends(broker):
    return [(e.order, e.why, e.left) for e in broker.events() if type(e) is Ended]


def of(broker, kind):
    return [one for one in broker.events() if type(one) is kind]


# ------------------------------------------------------------------------------------------------------ market orders


def test_a_market_order_fills_at_the_next_opening():
    broker = broker_at(100.0)
    broker.submit(order("1", 50))
    assert fills(broker) == []
    broker.on(opening(1, 101.5))
    assert fills(broker) == [(50, 101.5)]


def test_a_market_order_fills_at_the_close_where_bars_have_no_opening():
    broker = broker_at(100.0)
    broker.submit(order("1", 50))
    bar = close(1, 102.0)
    bar.open = bar.high = bar.low = None
    broker.on(bar)
    assert fills(broker) == [(50, 102.0)]


def test_a_fill_at_or_before_its_decision_is_an_error():
    broker = broker_at(100.0)
    broker.submit(order("1", 50, time=5))
    broker._working["1"].ready = 0  # as a broker with a wrong clock would have it
    with pytest.raises(CausalityError, match="decided at 5 and would be filled at 1"):
        broker.on(opening(1, 101.0))


def test_market_on_close_is_refused_on_daily_bars_and_fills_the_last_bar_of_the_day_within_it():
    daily = broker_at(100.0)
    daily.submit(order("1", 5, valid="close"))
    refused, ended = daily.events()
    assert refused.limit == "market on close of daily bars"
    assert ended.why == "refused"
    minutes = SimulatedBroker(10_000, ["X"], FREE, bar_size="1m")
    minutes.on(close(0, 100.0, session=0, last=False))
    minutes.submit(order("1", 5, valid="close"))
    minutes.on(opening(1, 101.0, session=0))
    minutes.on(close(2, 102.0, session=0, last=False))
    assert fills(minutes) == []
    minutes.on(opening(3, 103.0, session=0))
    minutes.on(close(4, 104.0, session=0, last=True))
    assert fills(minutes) == [(5, 104.0)]


def test_an_order_for_the_opening_ends_with_it():
    broker = broker_at(100.0, participation=0.1)
    broker.submit(order("1", 50, valid="open"))
    broker.on(opening(1, 100.0, volume=200.0))
    news = broker.events()
    assert (news[0].lots, news[1].why, news[1].left) == (20, "expired", 30)


def within_the_day():
    """A broker of five-minute bars that has seen the first one of session 0."""
    broker = SimulatedBroker(100_000, ["X"], FREE, bar_size="5m")
    broker.on(close(0, 100.0, session=0, last=False))
    return broker


def test_an_order_for_the_opening_waits_for_that_of_the_next_session():
    broker = within_the_day()
    broker.submit(order("1", 50, valid="open"))
    for event in (opening(1, 101.0, session=0), close(2, 102.0, session=0, last=True)):
        broker.on(event)
    assert broker.events() == []
    broker.on(opening(3, 103.0, session=1))
    assert fills(broker) == [(50, 103.0)]


def test_an_order_that_arrives_after_the_opening_waits_for_the_next_one():
    broker = broker_at(100.0, latency_seconds=2e-9)
    broker.submit(order("1", 50, valid="open"))
    broker.on(opening(1, 101.0))
    broker.on(close(3, 102.0))
    assert broker.events() == []
    broker.on(opening(4, 103.0))
    assert fills(broker) == [(50, 103.0)]


def test_an_order_for_an_opening_that_bars_do_not_show_expires():
    broker = broker_at(100.0)
    broker.submit(order("1", 50, valid="open"))
    bar = close(1, 102.0)
    bar.open = bar.high = bar.low = None
    broker.on(bar)
    assert ends(broker) == [("1", "expired", 50)]


@pytest.mark.parametrize(
    ("kind", "prices", "closed", "filled"),
    [
        ("limit", {"limit": USD(99)}, 98.5, [(5, 98.5)]),  # the low of a bar before does not count
        ("limit", {"limit": USD(99)}, 99.5, []),
        ("stop", {"stop": USD(105)}, 106.0, [(5, 106.0)]),
        ("stop", {"stop": USD(105)}, 104.0, []),
    ],
)
def test_a_limit_or_stop_for_the_close_looks_at_the_closing_price_of_the_session_only(kind, prices, closed, filled):
    broker = within_the_day()
    broker.submit(order("1", 5, kind, valid="close", **prices))
    broker.on(opening(1, 100.0, session=0))
    broker.on(close(2, 100.0, high=110.0, low=90.0, session=0, last=False))
    broker.on(opening(3, 100.0, session=0))
    broker.on(close(4, closed, high=110.0, low=90.0, session=0, last=True))
    news = broker.events()
    assert [(f.lots, f.price_micro / 1e6) for f in news if type(f) is Fill] == filled
    assert [e.why for e in news if type(e) is Ended] == ([] if filled else ["expired"])


def test_an_order_for_the_close_that_arrives_within_a_bar_waits_for_the_last_one():
    broker = SimulatedBroker(100_000, ["X"], FREE, Execution(latency_seconds=2e-9), bar_size="5m")
    broker.on(close(0, 100.0, session=0, last=False))
    broker.submit(order("1", 5, valid="close"))
    broker.on(opening(1, 101.0, session=0))
    broker.on(close(3, 102.0, session=0, last=False))
    assert fills(broker) == []
    broker.on(opening(4, 103.0, session=0))
    broker.on(close(5, 104.0, session=0, last=True))
    assert fills(broker) == [(5, 104.0)]


def test_an_order_at_the_moment_of_a_close_does_not_take_part_in_it():
    broker = broker_at(100.0)
    broker.on(opening(1, 101.0))
    broker.submit(order("1", 5, time=2))
    broker.on(close(2, 102.0, opened=101.0))
    assert broker.events() == []


def test_latency_leaves_only_prices_after_the_arrival():
    """Sent at 0, there at 2: the opening at 1 is missed, a market order takes the close, lows touch no limit."""
    broker = broker_at(100.0, latency_seconds=2e-9)
    broker.submit(order("1", 50))
    broker.submit(order("2", 50, "limit", limit=USD(95), valid="gtc"))
    broker.on(opening(1, 101.0))
    broker.on(close(3, 103.0, high=104.0, low=90.0, opened=101.0))
    assert fills(broker) == [(50, 103.0)]
    broker.on(opening(4, 100.0))
    broker.on(close(5, 100.0, low=94.0))
    assert fills(broker) == [(50, 95.0)]


# ------------------------------------------------------------------------------------------------------ limits, stops


@pytest.mark.parametrize(
    ("lots", "kind", "prices", "bar", "filled"),
    [
        # a limit: better at the opening; at the limit when traded through; not when only touched
        (10, "limit", {"limit": 99}, (98, 98, 98, 98), 98.0),
        (10, "limit", {"limit": 99}, (100, 101, 98.5, 100), 99.0),
        (10, "limit", {"limit": 99}, (100, 101, 99.0, 100), None),
        (-10, "limit", {"limit": 101}, (102, 102, 102, 102), 102.0),
        (-10, "limit", {"limit": 101}, (100, 101.5, 99, 100), 101.0),
        (-10, "limit", {"limit": 101}, (100, 101.0, 99, 100), None),
        # a stop: at the level when traded at; at the gap when opened beyond it
        (-10, "stop", {"stop": 95}, (100, 101, 94, 96), 95.0),
        (-10, "stop", {"stop": 95}, (90, 99, 89, 98), 90.0),
        (-10, "stop", {"stop": 95}, (100, 101, 95.5, 96), None),
        (10, "stop", {"stop": 105}, (100, 106, 99, 104), 105.0),
        (10, "stop", {"stop": 105}, (110, 111, 103, 104), 110.0),
        # a stop-limit: never beyond its limit, even through a gap
        (-10, "stop_limit", {"stop": 95, "limit": 94}, (100, 101, 90, 91), 95.0),
        (-10, "stop_limit", {"stop": 95, "limit": 94}, (94.5, 95, 90, 91), 94.5),
        (-10, "stop_limit", {"stop": 95, "limit": 94}, (90, 93, 89, 91), None),
        (-10, "stop_limit", {"stop": 95, "limit": 94}, (90, 94.5, 89, 91), 94.0),
        (10, "stop_limit", {"stop": 105, "limit": 104}, (100, 106, 99, 100), None),
        # a trailing stop, three below the last close of 100
        (-10, "trailing_stop", {"trail": 3}, (100, 100, 96, 97), 97.0),
        (-10, "trailing_stop", {"trail": 3}, (95, 96, 94, 95), 95.0),
        (10, "trailing_stop", {"trail": 3}, (100, 104, 100, 104), 103.0),
    ],
)
def test_what_one_bar_fills(lots, kind, prices, bar, filled):
    o, high, low, c = bar
    broker = broker_at(100.0)
    broker.submit(order("1", lots, kind, valid="gtc", **{name: USD(price) for name, price in prices.items()}))
    broker.on(opening(1, o))
    broker.on(close(2, c, high, low, opened=o))
    assert fills(broker) == ([] if filled is None else [(lots, filled)])


def test_a_trailing_stop_follows_the_best_price_of_the_bars_before():
    """Highs of 110 and 112 move it to 107 and 109; the bar that makes a high does not use it against its own low."""
    broker = broker_at(100.0)
    broker.submit(order("1", -10, "trailing_stop", trail=USD(3), valid="gtc"))
    broker.on(close(1, 109.0, high=110.0, low=98.0, opened=100.0))
    assert fills(broker) == []
    broker.on(close(2, 111.0, high=112.0, low=107.5, opened=109.0))
    assert fills(broker) == []
    broker.on(close(3, 110.0, high=111.0, low=108.0, opened=111.0))
    assert fills(broker) == [(-10, 109.0)]


def test_a_trailing_stop_does_not_fall_back_with_the_price():
    """A high of 110 moves it to 107; highs of 109 leave it there."""
    broker = broker_at(100.0)
    broker.submit(order("1", -10, "trailing_stop", trail=USD(3), valid="gtc"))
    broker.on(close(1, 109.0, high=110.0, low=98.0, opened=100.0))
    broker.on(close(2, 108.5, high=109.0, low=108.0, opened=109.0))
    broker.on(close(3, 106.5, high=108.0, low=106.0, opened=108.0))
    assert fills(broker) == [(-10, 107.0)]


def test_a_trailing_stop_above_a_short_follows_the_lows():
    """A low of 90 moves it to 93; the low of the bar that bounces back is not the first one's."""
    broker = broker_at(100.0)
    broker.submit(order("1", 10, "trailing_stop", trail=USD(3), valid="gtc"))
    broker.on(close(1, 91.0, high=102.0, low=90.0, opened=100.0))
    assert fills(broker) == []
    broker.on(close(2, 94.0, high=95.0, low=91.0, opened=91.0))
    assert fills(broker) == [(10, 93.0)]


@pytest.mark.parametrize(("lots", "stop"), [(10, 105), (-10, 95)])
def test_an_opening_exactly_at_a_stop_reaches_it(lots, stop):
    broker = broker_at(100.0)
    broker.submit(order("1", lots, "stop", stop=USD(stop), valid="gtc"))
    broker.on(opening(1, float(stop)))
    assert fills(broker) == [(lots, float(stop))]


@pytest.mark.parametrize(("lots", "stop", "limit"), [(10, 105, "105.10"), (-10, 95, "94.90")])
def test_a_stop_limit_that_is_reached_within_the_bar_pays_no_more_than_its_limit(lots, stop, limit):
    broker = broker_at(100.0, costs=Costs(BasisPoints(0), half_spread_bp=50.0, impact=0.0))
    broker.submit(order("1", lots, "stop_limit", stop=USD(stop), limit=USD(limit), valid="gtc"))
    broker.on(close(1, 100.0, high=106.0, low=94.0, opened=100.0))
    (fill,) = of(broker, Fill)
    assert (fill.price, fill.spread_micro) == (USD(limit), 1_000_000)


def test_a_stop_sent_at_an_opening_beyond_it_fills_at_that_opening():
    broker = broker_at(100.0)
    broker.submit(order("1", 10))
    broker.on(opening(1, 94.0))
    broker.events()
    broker.submit(order("stop", -10, "stop", time=1, stop=USD(95), valid="gtc", reduces=True))
    broker.on(close(2, 96.0, high=97.0, low=93.0, opened=94.0))
    assert fills(broker) == [(-10, 94.0)]


def test_a_limit_leaves_less_of_the_spread():
    """Half the spread would be 0.80; the limit is 0.05 away, so that is all that is paid of it."""
    broker = broker_at(100.0, costs=Costs(BasisPoints(0), 80.0, 0, 0, 0))
    broker.submit(order("1", 10, "limit", limit=USD("100.05")))
    broker.on(opening(1, 100.0))
    (fill,) = of(broker, Fill)
    assert (fill.price, fill.spread_micro, fill.impact_micro) == (USD("100.05"), 500_000, 0)


def test_a_bar_that_spans_stop_and_target_hits_the_stop():
    broker = broker_at(100.0)
    broker.submit(order("1", 10))
    broker.on(opening(1, 100.0))
    protect = {"valid": "gtc", "group": "g", "reduces": True, "time": 1}
    broker.submit(order("target", -10, "limit", limit=USD(110), **protect))
    broker.submit(order("stop", -10, "stop", stop=USD(90), **protect))
    broker.events()
    broker.on(close(2, 100.0, high=115.0, low=85.0))
    filled, ended = broker.events()
    assert (filled.order, filled.price) == ("stop", USD(90))
    assert (ended.order, ended.why) == ("target", "sibling")


def test_orders_of_a_group_shrink_as_one_fills():
    broker = broker_at(100.0, participation=0.1)
    broker.submit(order("1", 100))
    broker.on(opening(1, 100.0))
    broker.on(close(2, 100.0))
    protect = {"valid": "gtc", "group": "g", "reduces": True, "time": 2}
    broker.submit(order("stop", -100, "stop", stop=USD(90), **protect))
    broker.submit(order("target", -100, "limit", limit=USD(110), **protect))
    broker.on(close(3, 111.0, high=112.0, low=100.0, volume=300.0, opened=100.0))
    assert broker._working["target"].left == broker._working["stop"].left == -70
    broker.on(opening(4, 85.0, volume=700.0))
    assert broker.positions() == {}
    assert broker.orders() == []


def test_an_order_that_reduces_never_opens_a_position():
    broker = broker_at(100.0)
    broker.submit(order("1", 10))
    broker.on(opening(1, 100.0))
    broker.submit(order("stop", -10, "stop", time=1, stop=USD(90), valid="gtc", reduces=True))
    broker.on(close(2, 100.0))
    broker.submit(order("exit", -10, time=2))
    broker.events()
    broker.on(opening(3, 80.0))  # the exit fills first, the stop would sell what is gone
    news = broker.events()
    assert [type(one) for one in news] == [Fill, Ended]
    assert news[1].why == "flat"
    assert broker.positions() == {}


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([10, -10]),
    st.integers(80, 120),
    st.lists(st.tuples(*[st.integers(70, 130)] * 4), min_size=1, max_size=6),
)
def test_a_limit_order_never_fills_worse_than_its_limit_whatever_it_costs(lots, limit, bars):
    broker = broker_at(100.0, costs=Costs(half_spread_bp=80, impact=3.0), participation=0.5)
    broker.submit(order("1", lots, "limit", limit=USD(limit), valid="gtc"))
    usual = {"volatility": np.array([0.05]), "usual_volume": np.array([10.0])}
    for k, (o, a, b, c) in enumerate(bars):
        broker.on(opening(2 * k + 1, float(o), volume=8.0, **usual))
        broker.on(close(2 * k + 2, float(c), float(max(o, a, b, c)), float(min(o, a, b, c)), 8.0, float(o), **usual))
    for fill in broker.events():
        if type(fill) is Fill:
            assert fill.price_micro <= limit * 10**6 if lots > 0 else fill.price_micro >= limit * 10**6
            assert fill.spread_micro >= 0
            assert fill.impact_micro >= 0
    assert sum(abs(w.left) for w in broker._working.values()) <= 10


# --------------------------------------------------------------------------------------------- volume, days, no trading


def test_no_more_than_a_tenth_of_the_volume_is_filled_and_the_rest_carries_on_or_expires():
    for valid, later in (("gtc", [(60, 101.0)]), ("day", [])):
        broker = broker_at(100.0)
        broker.submit(order("1", 160, valid=valid))
        broker.on(opening(1, 100.0, volume=1000.0, session=1))
        broker.on(close(2, 100.0, volume=1000.0, session=1))
        news = broker.events()
        assert (news[0].lots, news[0].left) == (100, 60)
        if valid == "day":
            assert news[1] == Ended("1", 2, "expired", 60)
        broker.on(opening(3, 101.0, volume=1000.0, session=2))
        assert fills(broker) == later


def test_all_orders_of_a_symbol_share_the_volume():
    broker = broker_at(100.0)
    broker.submit(order("1", 80))
    broker.submit(order("2", 80))
    broker.on(opening(1, 100.0, volume=1000.0))
    assert fills(broker) == [(80, 100.0), (20, 100.0)]


def test_an_opening_whose_volume_is_not_known_yet_uses_that_of_the_bar_before():
    broker = broker_at(100.0)
    broker.on(close(1, 100.0, volume=500.0))
    broker.submit(order("1", 160, time=1))
    broker.on(opening(2, 100.0))
    assert fills(broker) == [(50, 100.0)]


@pytest.mark.parametrize("state", [State.MISSING, State.HALTED])
def test_cells_without_trading_fill_nothing_and_orders_for_the_day_expire(state):
    broker = broker_at(100.0)
    broker.submit(order("day", 10))
    broker.submit(order("gtc", 10, valid="gtc"))
    halted = {"state": np.array([state], np.uint8)}
    broker.on(opening(1, math.nan, session=1, **halted))
    broker.on(close(2, math.nan, session=1, **halted))
    assert of(broker, Ended) == [Ended("day", 2, "expired", 10)]
    broker.on(opening(3, 101.0, session=2))
    assert fills(broker) == [(10, 101.0)]


def test_a_symbol_whose_market_is_closed_keeps_its_orders():
    broker = broker_at(100.0)
    broker.submit(order("day", 10))
    away = {"state": np.array([State.CLOSED], np.uint8)}
    broker.on(opening(1, math.nan, session=1, **away))
    broker.on(close(2, math.nan, session=1, **away))
    broker.on(opening(3, 101.0, session=2))
    assert fills(broker) == [(10, 101.0)]


def test_a_day_order_ends_with_the_session_within_the_day():
    broker = SimulatedBroker(10_000, ["X"], FREE, bar_size="1h")
    broker.on(close(0, 100.0, session=0, last=True))
    broker.submit(order("1", 10, "limit", limit=USD(50)))
    for time, last in ((1, False), (2, False), (3, True)):
        assert of(broker, Ended) == []
        broker.on(close(time, 100.0, session=1, last=last))
    assert of(broker, Ended) == [Ended("1", 3, "expired", 10)]


def test_a_day_order_ends_before_the_next_session_even_if_nobody_said_which_bar_was_the_last():
    broker = SimulatedBroker(10_000, ["X"], FREE, bar_size="1h")
    broker.on(close(0, 100.0, session=0, last=False))
    broker.submit(order("1", 10, "limit", limit=USD(50)))
    broker.on(close(1, 100.0, session=1, last=False))
    broker.on(close(2, 40.0, session=2, last=False))
    assert of(broker, Ended) == [Ended("1", 2, "expired", 10)]


def test_a_cancelled_order_does_not_fill_and_an_id_counts_once():
    broker = broker_at(100.0)
    broker.submit(order("1", 10))
    broker.submit(order("1", 10))
    broker.submit(order("2", 10))
    broker.cancel(Cancel("2", 0))
    broker.cancel(Cancel("never", 0))
    broker.on(opening(1, 100.0))
    broker.submit(order("1", 10))
    broker.on(opening(2, 100.0))
    assert fills(broker) == [(10, 100.0)]


# --------------------------------------------------------------------------------------------------------------- costs


def test_spread_and_impact_are_inside_the_price_and_commission_beside_it():
    """100 shares at 50: half the spread 2 bp or 0.01; 0.5 x 2 % x sqrt(100 / 10,000) of 50 is 0.05; commission 1."""
    broker = broker_at(50.0, costs=Costs(PerShare(), 2.0, 0.5, 0.0, 0.0))
    broker.submit(order("1", 100))
    broker.on(opening(1, 50.0, volatility=np.array([0.02]), usual_volume=np.array([10_000.0])))
    (fill,) = broker.events()
    assert fill.price_micro == 50_000_000 + 10_000 + 50_001  # the impact is rounded up
    assert (fill.spread_micro, fill.impact_micro, fill.commission_micro) == (1_000_000, 5_000_100, 1_000_000)
    assert broker.account.cash_micro == 100_000_000_000 - 100 * fill.price_micro - 1_000_000


def test_a_limit_order_that_waited_pays_no_spread():
    broker = broker_at(100.0, costs=Costs(PerShare(), 5.0, 1.0, 0.0, 0.0))
    broker.submit(order("1", 100, "limit", limit=USD(99)))
    broker.on(close(1, 100.0, low=98.0))
    (fill, *_) = broker.events()
    assert (fill.price_micro, fill.spread_micro, fill.impact_micro) == (99_000_000, 0, 0)


def test_the_minimum_commission_is_charged_once_per_order_not_per_fill():
    broker = broker_at(100.0, costs=Costs(PerShare(), 0, 0, 0, 0))
    broker.submit(order("1", 150, valid="gtc"))
    for time in (1, 2):
        broker.on(opening(time, 100.0, volume=1000.0))
    assert [f.commission_micro for f in of(broker, Fill)] == [1_000_000, 0]


def test_tiers_count_the_shares_of_the_month():
    """The first order fills 100 shares at 0.01; the second, same month, is in the tier of 0.005; a new month is not."""
    schedule = Tiered(((100, 0.01), (10_000, 0.005)), minimum=0.0, most=1.0)
    broker = broker_at(100.0, costs=Costs(schedule, 0, 0, 0, 0))
    for k, session in enumerate((1, 2, 40)):
        broker.submit(order(str(k), 100, time=2 * k))
        broker.on(opening(2 * k + 1, 100.0, session=session))
        broker.on(close(2 * k + 2, 100.0, session=session))
    assert [f.commission_micro for f in of(broker, Fill)] == [1_000_000, 500_000, 1_000_000]


def test_borrowing_costs_by_the_calendar_day():
    """100 shares short at 50, 0.36 % a year, a weekend of three days: 5,000 x 0.0036 x 3 / 360 = 0.15."""
    broker = broker_at(50.0, costs=Costs(BasisPoints(0), 0, 0, 0.0036, 0))
    broker.submit(order("1", -100))
    broker.on(opening(1, 50.0, session=1))
    broker.on(close(2, 50.0, session=1))
    broker.on(opening(3, 50.0, session=4))
    (posting,) = of(broker, Posting)
    assert posting.kind == "borrow"
    assert posting.cash_micro == pytest.approx(-150_000, abs=1)


def test_shares_that_are_hard_to_borrow_cost_their_own_rate():
    costs = Costs(BasisPoints(0), 0, 0, 0.0036, 0, {"X": 0.36})
    broker = broker_at(50.0, costs=costs)
    broker.submit(order("1", -100))
    broker.on(opening(1, 50.0, session=1))
    broker.on(close(2, 50.0, session=1))
    broker.on(opening(3, 50.0, session=2))
    assert of(broker, Posting)[0].cash_micro == pytest.approx(-5_000_000, abs=1)


def test_a_rate_for_a_share_that_is_not_traded_is_refused():
    with pytest.raises(UnknownName, match=r"'GMEE'. Did you mean 'GME'\?.*if s in rates"):
        SimulatedBroker(100_000, ["GME", "KO"], Costs(borrow_by_symbol={"GMEE": 0.3}))


def test_borrowed_cash_costs_interest():
    """1,500 shares at 100 on 100,000: 50,000 borrowed at 7.2 % for one day costs 10."""
    broker = broker_at(100.0, costs=Costs(BasisPoints(0), 0, 0, 0, 0.072))
    broker.submit(order("1", 1500))
    broker.on(opening(1, 100.0, session=1))
    broker.on(close(2, 100.0, session=1))
    broker.on(opening(3, 100.0, session=2))
    (posting,) = of(broker, Posting)
    assert posting.kind == "financing"
    assert posting.cash_micro == pytest.approx(-10_000_000, abs=1)


# ------------------------------------------------------------------------------------------------------------- actions


def held(lots, price=100.0, **more):
    broker = broker_at(price, **more)
    broker.submit(order("1", lots))
    broker.on(opening(1, price, session=1))
    broker.on(close(2, price, session=1))
    broker.events()
    return broker


@pytest.mark.parametrize(("lots", "paid"), [(100, 50.0), (-100, -50.0)])
def test_longs_get_dividends_and_shorts_pay_them(lots, paid):
    broker = held(lots)
    broker.on(opening(3, 99.5, session=2, dividend=np.array([0.5])))
    assert broker.events() == [Posting("dividend", "X", 3, round(paid * 1e6))]
    assert float(broker.account.equity(np.array([99.5]))) == 100_000.0


def test_who_buys_on_the_day_without_it_gets_no_dividend():
    broker = broker_at(100.0)
    broker.submit(order("1", 100))
    broker.on(opening(1, 99.5, session=1, dividend=np.array([0.5])))
    assert of(broker, Posting) == []


def test_a_split_changes_shares_and_leaves_the_value():
    broker = held(100)
    broker.on(opening(3, 25.0, session=2, split=np.array([4.0])))
    position = broker.positions()["X"]
    assert (position.quantity, position.entry_price) == (Shares(400), 25.0)
    assert broker.account.equity(np.array([25.0])) == USD(100_000)


def test_the_fraction_of_a_share_that_a_split_leaves_is_paid_out():
    """7 shares, 3 for 2: 10.5, so 10 shares and half a share at 100 / 1.5."""
    broker = held(7)
    broker.on(opening(3, 100 / 1.5, session=2, split=np.array([1.5])))
    split, lieu = broker.events()
    assert (split.lots, split.ratio, lieu.kind) == (3, 1.5, "lieu")
    assert lieu.cash_micro == round(0.5 * 100 / 1.5 * 1e6)
    broker.account.audit()


def test_a_reverse_split_that_leaves_nothing_pays_everything_out():
    broker = held(-7)
    broker.on(opening(3, 1000.0, session=2, split=np.array([0.1])))
    assert broker.positions() == {}
    assert float(broker.account.cash) == pytest.approx(100_000.0)


def test_what_is_paid_out_for_a_fraction_leaves_the_entry_price_alone():
    """7 at 100 and 3 for 2: ten shares entered at 66.67, and half of one sold at that."""
    for lots in (7, -7):
        broker = held(lots)
        broker.on(opening(3, 100 / 1.5, session=2, split=np.array([1.5])))
        position = broker.account.position("X")
        assert position.entry_price == pytest.approx(100 / 1.5, abs=1e-6)
        assert float(position.realised) == pytest.approx(0.0, abs=1e-5)
        broker.account.audit()


def test_a_position_bought_after_a_reverse_split_left_nothing_begins_anew():
    broker = held(7)
    broker.on(opening(3, 1000.0, session=2, split=np.array([0.1])))
    broker.submit(order("again", 5, time=3))
    broker.on(close(4, 1000.0, session=2))
    broker.on(opening(5, 1000.0, session=3))
    assert broker.account.position("X").entry_price == 1000.0
    broker.account.audit()


def test_open_orders_are_split_too():
    broker = held(100)
    broker.submit(order("stop", -100, "stop", time=2, stop=USD(90), valid="gtc", reduces=True))
    broker.submit(order("more", 100, time=2))
    broker.on(opening(3, 50.0, session=2, split=np.array([2.0])))
    assert fills(broker) == [(200, 50.0)]
    broker.on(close(4, 46.0, high=50.0, low=44.9, opened=50.0, session=2))
    assert fills(broker) == [(-200, 45.0)]


@pytest.mark.parametrize(
    ("lots", "kind", "prices", "valid", "filled"),
    [
        (-10, "stop", {"stop": 97}, "gtc", None),  # 93 after a dividend of 4; the bar opens at 96
        (-10, "stop", {"stop": 100}, "gtc", 96.0),
        (-10, "trailing_stop", {"trail": 3}, "gtc", None),
        (-10, "stop_limit", {"stop": 100, "limit": 98}, "gtc", 96.0),  # 96 and 94
        (-10, "stop", {"stop": 97}, "day", 96.0),
        (10, "limit", {"limit": 98}, "gtc", None),  # 94
        (10, "limit", {"limit": 98}, "day", 96.0),
        (10, "stop", {"stop": 96}, "gtc", 96.0),
        (-10, "limit", {"limit": 96}, "gtc", 96.0),
    ],
)
def test_a_dividend_lowers_what_waits_below_the_market_until_cancelled(lots, kind, prices, valid, filled):
    broker = held(100)
    broker.submit(order("open", lots, kind, time=2, valid=valid, **{name: USD(p) for name, p in prices.items()}))
    broker.on(opening(3, 96.0, session=2, dividend=np.array([4.0])))
    assert fills(broker) == ([] if filled is None else [(lots, filled)])


def test_the_distance_of_a_trailing_stop_is_split_too():
    """10 below 100 are 5 below 50; a high of 60 then moves it to 55."""
    broker = held(100)
    broker.submit(order("trail", -100, "trailing_stop", time=2, trail=USD(10), valid="gtc", reduces=True))
    broker.on(opening(3, 50.0, session=2, split=np.array([2.0])))
    broker.on(close(4, 60.0, high=60.0, low=46.0, opened=50.0, session=2))
    assert fills(broker) == []
    broker.on(close(5, 54.0, high=60.0, low=54.0, opened=60.0, session=3))
    assert fills(broker) == [(-200, 55.0)]


# ------------------------------------------------------------------------------------------------- margin and refusals


def test_more_than_twice_the_equity_is_refused_with_the_number():
    broker = broker_at(100.0)
    broker.submit(order("1", 2000))
    broker.submit(order("2", 1))
    refused, ended = broker.events()
    assert (refused.limit, refused.value, refused.bound) == ("buying power", 100_050.0, 100_000.0)
    assert ended == Ended("2", 0, "refused", 1)


def test_open_orders_count_as_done_when_buying_power_is_reckoned():
    broker = broker_at(100.0)
    broker.submit(order("1", 1900))
    broker.submit(order("2", 50))
    broker.cancel(Cancel("2", 0))
    broker.events()
    broker.submit(order("3", 101))
    broker.submit(order("4", 100))
    assert [(r.limit, r.value) for r in of(broker, Refusal)] == [("buying power", 100_050.0)]


def test_an_order_that_makes_a_position_smaller_needs_no_buying_power():
    broker = held(2000)
    broker.on(close(3, 60.0))
    broker.events()
    broker.submit(order("out", -1000, time=3))
    assert of(broker, Ended) == []


def test_a_cash_account_neither_borrows_nor_sells_short():
    """Sized at 100 and opened at 110: the cash pays for 909, the rest is refused with both numbers."""
    broker = broker_at(100.0, margin=Margin.cash())
    broker.submit(order("short", -10))
    assert of(broker, Refusal)[0].limit == "short sale"
    broker.submit(order("long", 1000))
    broker.on(opening(1, 110.0))
    refused, fill = broker.events()
    assert (refused.limit, refused.value, refused.bound) == ("cash", 110_000.0, 100_000.0)
    assert (fill.lots, fill.left) == (909, 0)
    assert broker.account.cash_micro >= 0


def test_a_cash_account_pays_the_commission_of_every_part_of_an_order():
    """1 % of 990 shares at 100 is more than is left: of two parts of 500 the second is cut to 490."""
    costs = Costs(BasisPoints(100), half_spread_bp=0.0, impact=0.0)
    broker = broker_at(100.0, costs=costs, margin=Margin.cash(), participation=0.5)
    broker.submit(order("1", 1000, valid="gtc"))
    broker.on(opening(1, 100.0, volume=1000.0))
    broker.on(close(2, 100.0, volume=1000.0))
    broker.on(opening(3, 100.0, volume=1000.0))
    assert [f.lots for f in of(broker, Fill)] == [500, 490]
    assert broker.account.cash == USD(10)


def test_a_sale_leaves_something_of_the_smallest_price():
    broker = SimulatedBroker(1000, [Instrument("X", tick=1e-6)], Costs(BasisPoints(0), half_spread_bp=10_000, impact=0))
    broker.on(close(0, 1e-6))
    broker.submit(order("1", -10))
    broker.on(opening(1, 1e-6))
    (fill,) = of(broker, Fill)
    assert (fill.price_micro, fill.spread_micro) == (1, 0)


def test_a_cash_account_asked_to_go_short_sells_what_it_holds():
    """The part that closes may not fail with the part that is not allowed."""
    broker = broker_at(100.0, margin=Margin.cash())
    broker.submit(order("long", 10))
    broker.on(opening(1, 100.0))
    broker.on(close(2, 100.0))
    broker.events()
    broker.submit(order("turn", -30, time=2))
    broker.submit(order("more", -1, time=2))
    broker.on(opening(3, 100.0))
    turned, more, ended, fill = broker.events()
    assert (turned.limit, turned.value, turned.allowed) == ("short sale", -20.0, pytest.approx(1 / 3))
    assert (more.limit, more.allowed, ended.why) == ("short sale", 0.0, "refused")
    assert (fill.lots, fill.left) == (-10, 0)
    assert broker.positions() == {}
    assert broker.orders() == []


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(-300, 300).filter(bool), st.integers(50, 200)), max_size=20))
def test_a_cash_account_never_owes_anything(trades):
    broker = broker_at(100.0, 10_000.0, costs=Costs(), margin=Margin.cash())
    for k, (lots, price) in enumerate(trades):
        broker.submit(order(str(k), lots, time=2 * k))
        broker.on(opening(2 * k + 1, float(price)))
        broker.on(close(2 * k + 2, float(price)))
        assert broker.account.cash_micro >= 0
        assert broker.account.lots_held[0] >= 0
        broker.account.audit()


def test_below_the_maintenance_margin_everything_is_sold_at_the_next_opening():
    """2,000 shares at 100 on 100,000: at 65 the equity of 30,000 is below a quarter of 130,000."""
    broker = held(2000)
    broker.on(close(3, 68.0))
    assert of(broker, Refusal) == []
    broker.on(close(4, 65.0))
    (call,) = of(broker, Refusal)
    assert (call.limit, call.value, call.bound) == ("maintenance margin", 30_000.0, 32_500.0)
    broker.on(opening(5, 64.0))
    (fill,) = of(broker, Fill)
    assert (fill.lots, fill.reason) == (-2000, "margin call")
    assert broker.account.cash == USD(28_000)


def test_a_margin_call_cancels_what_is_open():
    broker = held(1900)
    broker.submit(order("more", 1, "limit", time=2, limit=USD(10), valid="gtc"))
    broker.on(close(4, 60.0))
    assert ("more", "cancelled", 1) in ends(broker)
    assert [o.reason for o in broker.orders()] == ["margin call"]


def test_an_account_that_is_ruined_is_closed():
    broker = held(-1900)
    broker.on(close(3, 200.0))
    assert of(broker, Refusal)[0].limit == "maintenance margin"
    broker.submit(order("again", -10, time=3))
    assert of(broker, Refusal)[0].limit == "buying power"
    broker.on(opening(4, 200.0))
    assert broker.positions() == {}


def test_an_account_without_a_maintenance_margin_is_closed_when_nothing_is_left():
    broker = held(1900, margin=Margin(0.5, 0.0, 0.0))
    broker.on(close(3, 48.0))
    assert of(broker, Refusal) == []
    broker.on(close(4, 47.0))
    assert of(broker, Refusal)[0].limit == "maintenance margin"


def test_what_may_not_be_shorted_and_what_is_off_the_grid_is_refused():
    broker = SimulatedBroker(10_000, [Instrument("X", shortable=False)], FREE)
    broker.on(close(0, 100.0))
    broker.submit(order("1", -1))
    broker.submit(order("2", 1, "limit", limit=Money(99_995_000)))
    broker.submit(order("3", 1, "limit", limit=Money.of(99, "EUR")))
    assert [r.limit for r in of(broker, Refusal)] == ["short sale", "tick", "tick"]


def test_nothing_is_bought_before_a_price_was_seen():
    broker = SimulatedBroker(10_000, ["X"], FREE)
    broker.submit(order("1", 1))
    assert of(broker, Refusal)[0].limit == "known price"


@pytest.mark.parametrize("name", ["open", "high", "low", "close", "volume"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -5.0])
def test_numbers_that_are_no_prices_fill_nothing_and_value_nothing(name, value):
    broker = broker_at(100.0)
    broker.submit(order("1", 50))
    broker.on(opening(1, 100.0))
    broker.submit(order("2", -50, "stop", stop=USD(90), valid="gtc", reduces=True, time=1))
    bar = {"open": 100.0, "high": 101.0, "low": 99.0, "close": 100.0, "volume": 1e6, name: value}
    broker.on(close(2, bar["close"], bar["high"], bar["low"], bar["volume"], bar["open"]))
    broker.on(opening(3, bar["open"]))
    assert fills(broker) == [(50, 100.0)]
    assert broker.account.equity(broker._mark) == USD(100_000)


@pytest.mark.parametrize("more", [{"split": v} for v in (math.nan, math.inf, 0.0, -2.0)])
def test_a_split_that_cannot_be_is_refused(more):
    broker = broker_at(100.0)
    with pytest.raises(PriceError, match="A split must be"):
        broker.on(opening(1, 100.0, split=np.array([more["split"]])))


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0])
def test_a_dividend_that_cannot_be_is_refused(value):
    broker = broker_at(100.0)
    with pytest.raises(PriceError, match="A dividend must be"):
        broker.on(opening(1, 100.0, dividend=np.array([value])))


def test_strangers_are_errors():
    broker = broker_at(100.0)
    with pytest.raises(UnknownName, match="No 'Y' here"):
        broker.submit(Order("1", "Y", Shares(1), 0))
    with pytest.raises(OrderError, match="takes an Order"):
        broker.submit("buy")
    for more in ({"participation": 0}, {"participation": math.nan}, {"latency_seconds": -1}):
        with pytest.raises(InputError):
            Execution(**more)


# --------------------------------------------------------------------------------------------------------------- books


BOOK = BookEvent.of(5, "X", bids=[(99.9, 100), (99.8, 300)], asks=[(100.1, 200), (100.2, 300), (100.4, 1000)])


def test_a_market_order_walks_the_displayed_levels():
    """400 shares: 200 at 100.10 and 200 at 100.20, which are 0.10 and 0.20 from the middle of 100."""
    broker = broker_at(100.0)
    broker.submit(order("1", 400))
    broker.on(BOOK)
    first, second = broker.events()
    assert [(f.lots, f.price, f.spread_micro) for f in (first, second)] == [
        (200, USD("100.1"), 20_000_000),
        (200, USD("100.2"), 40_000_000),
    ]
    assert broker.account.cash == USD(100_000 - 20_020 - 20_040)


def test_a_limit_order_takes_what_is_displayed_within_its_limit_and_waits_for_more():
    broker = broker_at(100.0)
    broker.submit(order("1", 900, "limit", limit=USD("100.2"), valid="gtc"))
    broker.on(BOOK)
    assert fills(broker) == [(200, 100.1), (300, 100.2)]
    broker.on(BookEvent.of(6, "X", bids=[], asks=[(100.3, 50)]))
    assert fills(broker) == []
    broker.on(BookEvent.of(7, "X", bids=[(100.0, 10)], asks=[(100.2, 50)]))
    assert fills(broker) == [(50, 100.2)]


def test_two_orders_do_not_fill_against_the_same_displayed_shares():
    broker = broker_at(100.0)
    broker.submit(order("1", -80))
    broker.submit(order("2", -80))
    broker.on(BOOK)
    assert fills(broker) == [(-80, 99.9), (-20, 99.9), (-60, 99.8)]


def test_a_stop_is_reached_by_the_quote_that_would_fill_it():
    broker = broker_at(100.0)
    broker.submit(order("1", 50, "stop", stop=USD("100.1"), valid="gtc"))
    broker.on(BookEvent.of(4, "X", bids=[(99.9, 10)], asks=[(100.05, 10)]))
    assert fills(broker) == []
    broker.on(BOOK)
    assert fills(broker) == [(50, 100.1)]


def test_orders_for_an_auction_do_not_fill_against_books():
    broker = SimulatedBroker(100_000, ["X"], FREE, bar_size="5m")
    broker.on(close(0, 100.0))
    for valid in ("open", "close"):
        broker.submit(order(valid, 5, valid=valid))
    broker.on(BookEvent.of(1, "X", bids=[(99, 10)], asks=[(100, 10)]))
    assert broker.events() == []


def test_buying_power_follows_the_quotes():
    broker = broker_at(100.0, cash=10_000.0)
    broker.submit(order("1", 100))
    broker.on(BookEvent.of(1, "X", bids=[(100, 500)], asks=[(100, 500)]))
    broker.submit(order("2", 1, "limit", time=1, limit=USD(1), valid="gtc"))  # the figures are reckoned once
    broker.events()
    broker.on(BookEvent.of(2, "X", bids=[(200, 500)], asks=[(200, 500)]))
    broker.submit(order("3", 98, time=2))  # 199 shares at 200, half of it is 19,900 of an equity of 20,000
    assert of(broker, Refusal) == []
    broker.on(BookEvent.of(3, "X", bids=[(100, 500)], asks=[(100, 1)]))
    broker.submit(order("4", 10, time=3))  # 209 at 100, half of it 10,450 of 10,000 or less
    assert [r.limit for r in of(broker, Refusal)] == ["buying power"]


def test_a_book_before_the_order_arrived_fills_nothing():
    broker = broker_at(100.0, latency_seconds=3e-9)
    broker.submit(order("1", 50, time=3))
    broker.on(BOOK)
    assert fills(broker) == []
    with pytest.raises(UnknownName):
        broker.on(BookEvent.of(6, "Y", [], []))


def test_a_book_of_the_moment_of_the_order_is_not_later():
    broker = broker_at(100.0)
    broker.submit(order("1", 50, time=3))
    broker.on(BookEvent.of(3, "X", bids=[(99, 500)], asks=[(100, 500)]))
    assert broker.events() == []
