"""The trader: a fold over its events. Orders for holdings, stops beside positions, replay, junk."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from small_markets import FREE, bars_of, flat

from longshort.bars import State
from longshort.data import synthetic
from longshort.errors import CausalityError, InputError, OrderError
from longshort.forecast import Forecast, Refusal, TargetInfo
from longshort.orders import Cancel, Costs, Ended, Fill, Instrument, MarketEvent, Order
from longshort.portfolio import Limits, LongShort, Sign
from longshort.trading import Execution, History, Live, Recorded, SimulatedBroker, Trader, backtest, play, recording
from longshort.trading.result import hash_of


@dataclass(frozen=True)
class Plan:
    """A strategy by hand: a rule and limits."""

    policy: Any
    limits: Any = field(default_factory=Limits)
    name: str = "plan"


def seen(time=0, price=100.0, n=1, **more):
    more.setdefault("state", np.zeros(n, np.uint8))
    return MarketEvent("close", time, time, close=np.full(n, price), **more)


def asks(*weights):
    return lambda view: np.asarray(weights, np.float64)


# -------------------------------------------------------------------------------------------------------- decisions


def test_orders_take_holdings_to_the_target_in_whole_lots():
    trader = Trader(asks(0.5, -0.25), ["A", Instrument("B", lot=10)], account=10_050)
    assert [(o.symbol, o.quantity.lots) for o in trader.on(seen(n=2))] == [("A", 50), ("B", -2)]


def test_what_makes_positions_smaller_is_sent_first():
    trader = Trader(asks(0.9, 0.0), ["A", "B"], account=10_000)
    trader.on(Fill("x", "B", 0, 90, 100_000_000, 0))
    assert [(o.symbol, o.quantity.lots) for o in trader.on(seen(time=1, n=2))] == [("B", -90), ("A", 90)]


@pytest.mark.parametrize("weight", [np.nan, np.inf, -np.inf])
def test_a_weight_that_is_no_number_leaves_the_position(weight):
    trader = Trader(asks(weight, 0.5), ["A", "B"], account=10_000)
    trader.on(Fill("x", "A", 0, 10, 100_000_000, 0))
    assert [o.symbol for o in trader.on(seen(time=1, n=2))] == ["B"]


@pytest.mark.parametrize("state", [State.MISSING, State.HALTED, State.CLOSED, State.UNLISTED])
def test_nothing_is_sent_for_a_symbol_that_cannot_be_traded(state):
    trader = Trader(asks(0.5), ["A"], account=10_000)
    assert trader.on(seen(state=np.array([state], np.uint8))) == []


def test_nothing_is_sent_before_the_first_price_or_without_equity():
    trader = Trader(asks(0.5), ["A"], account=10_000)
    assert trader.on(seen(price=np.nan)) == []
    poor = Trader(asks(0.5), ["A"], account=0)
    assert poor.on(seen()) == []


def test_what_is_left_after_ruin_can_be_closed_but_nothing_opened():
    targets = iter([0.0, -0.5])
    trader = Trader(lambda view: np.array([next(targets)]), ["A"], account=10_000)
    trader.on(Fill("x", "A", 0, -100, 100_000_000, 0))
    (close,) = trader.on(seen(price=250.0))  # 20,000 in cash, 25,000 owed
    assert (trader.equity_micro, close.quantity.lots) == (-5_000_000_000, 100)
    assert trader.on(seen(time=1, price=250.0)) == [Cancel(close.id, 1)]


def test_a_weight_beyond_the_ledger_is_an_error():
    with pytest.raises(OrderError, match="whole number below"):
        Trader(asks(1e30), ["A"]).on(seen())


def test_an_order_still_open_is_kept_if_right_and_cancelled_if_not():
    targets = iter([0.5, 0.5, 0.2])
    trader = Trader(lambda view: np.array([next(targets)]), ["A"], account=10_000)
    (first,) = trader.on(seen())
    assert trader.on(seen(time=1)) == []
    cancel, second = trader.on(seen(time=2))
    assert cancel == Cancel(first.id, 2)
    assert second.quantity.lots == 20
    trader.on(Ended(first.id, 2, "cancelled", 50))


def test_orders_have_ids_of_their_own_and_the_time_of_their_decision():
    bars = synthetic.random_walk(60, symbols=["A", "B"], seed=0)
    result = backtest(lambda view: np.sign(view.returns) / 2, None, bars)
    assert len({order.id for order in result.orders}) == len(result.orders)
    assert {order.time for order in result.orders} <= set(bars.time.tolist())


def test_a_bar_that_a_feed_repeats_is_refused_before_it_is_decided_on():
    trader = Trader(asks(1.0), ["X"])
    assert len(trader.on(seen(5))) == 1
    for late in (seen(5), seen(4), MarketEvent("open", 5, 5, np.zeros(1, np.uint8), open=np.array([100.0]))):
        with pytest.raises(CausalityError, match="order of time"):
            trader.on(late)
    assert len(trader.orders) == 1


def test_a_trader_refuses_what_is_no_message():
    with pytest.raises(InputError, match="market events and what brokers report"):
        Trader(asks(0.5), ["A"]).on("event")


def test_ten_thousand_junk_forecasts_make_no_junk_order():
    """NaN, infinities and absurd sizes from a policy, with limits behind it: every order is whole and bounded."""
    rng = np.random.default_rng(0)
    junk = np.array([np.nan, np.inf, -np.inf, 1e300, -1e300, 1e12, 0.3, -0.2, 0.0])
    trader = Trader(Plan(lambda view: rng.choice(junk, 10)), [f"S{j}" for j in range(10)], account=1e6)
    for time in range(1000):
        for order in trader.on(seen(time=time, n=10)):
            if isinstance(order, Order):
                assert abs(order.quantity.lots) * 100 <= 2e6
                assert order.quantity.lots != 0


# ---------------------------------------------------------------------------------------------- stops beside positions


def protected(rows, weights=(0.5,), **limits):
    table = iter(weights)
    rule = lambda view: np.array([next(table, np.nan)])  # noqa: E731
    return backtest(Plan(rule, Limits(cooldown=99, **limits)), None, bars_of(rows), cash=10_000, costs=FREE)


QUIET = (100, 101, 99, 100)


def exits(result):
    return [(f.reason, f.lots, f.price_micro / 1e6) for f in result.fills if f.reason != "policy"]


def test_a_stop_loss_protects_from_the_first_bar():
    """Bought 50 at the opening of 100, 5 % below is 95: hit in the same bar."""
    result = protected([QUIET, (100, 100, 94, 96), QUIET], stop_loss=0.05)
    assert exits(result) == [("stop", -50, 95.0)]


def test_a_stop_loss_fires_on_a_gap_through_the_level():
    result = protected([QUIET, QUIET, QUIET, (90, 91, 89, 90), QUIET], stop_loss=0.05)
    assert exits(result) == [("stop", -50, 90.0)]


def test_a_target_is_taken_and_the_stop_beside_it_goes():
    result = protected([QUIET, QUIET, (100, 111, 99, 110), QUIET, QUIET], stop_loss=0.05, take_profit=0.1)
    assert exits(result) == [("target", -50, 110.0)]
    assert result.positions[-1, 0] == 0


def test_stop_and_target_in_one_bar_are_a_stop():
    result = protected([QUIET, QUIET, (100, 120, 80, 100), QUIET], stop_loss=0.05, take_profit=0.1)
    assert exits(result) == [("stop", -50, 95.0)]


def test_a_short_is_stopped_above():
    result = protected([QUIET, QUIET, (100, 106, 99, 104), QUIET], weights=(-0.5,), stop_loss=0.05)
    assert exits(result) == [("stop", 50, 105.0)]


def test_a_stop_is_as_large_as_the_position_after_a_split():
    """50 shares at 100 become 100 at 50; 5 % below 50 is 47.50."""
    rows = [QUIET, QUIET, (50, 50, 49, 50), (50, 50, 47, 48), (48, 48, 48, 48)]
    table = iter([0.5])
    rule = lambda view: np.array([next(table, np.nan)])  # noqa: E731
    bars = bars_of(rows, split=np.array([[1.0], [1], [2], [1], [1]]))
    result = backtest(Plan(rule, Limits(stop_loss=0.05)), None, bars, cash=10_000, costs=FREE)
    assert exits(result) == [("stop", -100, 47.5)]


@pytest.mark.parametrize(
    ("limits", "prices", "reason"),
    [
        (Limits(time_stop=2), [100.0] * 7, "time_stop"),
        (Limits(max_drawdown=0.1), [100.0, 100.0, 100.0, 70.0, 70.0, 70.0], "max_drawdown"),
        (Limits(max_daily_loss=0.1), [100.0, 100.0, 100.0, 70.0, 70.0, 70.0], "max_daily_loss"),
    ],
)
def test_an_order_says_which_limit_closed_the_position(limits, prices, reason):
    """Half the equity, held for good if nobody closed it."""
    rule = lambda view: np.array([0.5 if view.session < 18_002 else np.nan])  # noqa: E731
    result = backtest(Plan(rule, limits), None, flat(prices), costs=FREE)
    assert [f.reason for f in result.fills] == ["policy", reason]
    assert [trade.reason for trade in result.trades()] == [reason]


def test_what_the_policy_closes_itself_is_not_put_down_to_a_limit():
    rule = lambda view: np.array([0.5 if view.session < 18_001 else 0.0])  # noqa: E731
    result = backtest(Plan(rule, Limits(time_stop=2)), None, flat([100.0] * 7), costs=FREE)
    assert [f.reason for f in result.fills] == ["policy", "policy"]


def test_protection_is_not_sent_again_while_it_stands():
    result = protected([QUIET] * 20, stop_loss=0.05, take_profit=0.1)
    assert [o.kind for o in result.orders] == ["market", "stop", "limit"]


@pytest.mark.parametrize(
    ("limits", "price", "action"),
    [
        ({"stop_loss": 0.05}, 50.0, {"split": 2.0}),
        ({"stop_loss": 0.05, "take_profit": 0.2}, 200.0, {"split": 0.5}),
        ({"trailing_stop": 0.03}, 96.0, {"dividend": 4.0}),
    ],
)
@pytest.mark.parametrize("side", [1, -1])
def test_a_position_that_grows_at_the_opening_of_a_split_or_dividend_keeps_its_stop_in_todays_prices(
    limits, price, action, side
):
    """Nothing was won or lost overnight, so nothing may be closed."""
    (name, value), *_ = action.items()
    given = {name: np.full((7, 1), 1.0 if name == "split" else 0.0)}
    given[name][3] = value
    rows = iter([0.3 * side] * 2 + [0.4 * side] * 5)
    plan = Plan(lambda view: np.array([next(rows)]), Limits(**limits))
    result = backtest(plan, None, flat([100.0] * 3 + [price] * 4, **given), costs=FREE)
    assert {f.reason for f in result.fills} == {"policy"}
    assert abs(result.weights[3:, 0]).min() > 0.38
    stops = [float(o.stop) for o in result.orders if o.kind == "stop"]
    assert side * (price - stops[-1]) > 0


def test_a_trailing_stop_is_not_reached_by_a_dividend():
    """3 % below 100 is 97; the share opens at 96 without 4 of dividend."""
    dividend = np.zeros((6, 1))
    dividend[3] = 4.0
    bars = flat([100.0, 100, 100, 96, 96, 96], dividend=dividend)
    result = backtest(Plan(asks(0.5), Limits(trailing_stop=0.03)), None, bars, costs=FREE)
    assert {f.reason for f in result.fills} == {"policy"}
    assert result.refusals == ()


@pytest.mark.parametrize("why", ["refused", "cancelled", "expired"])
def test_a_stop_that_a_broker_ended_is_sent_again(why):
    trader = Trader(Plan(asks(0.5), Limits(stop_loss=0.05)), ["A"], account=10_000)
    trader.on(Fill("x", "A", 0, 50, 100_000_000, 0))
    (stop,) = trader.on(seen(time=1))
    assert trader.on(seen(time=2)) == []
    trader.on(Ended(stop.id, 3, why, -50))
    (again,) = trader.on(seen(time=4))
    assert (again.kind, again.quantity, again.stop) == ("stop", stop.quantity, stop.stop)


def test_a_stop_shrinks_with_its_position():
    result = protected([QUIET] * 4, weights=(0.5, 0.25), stop_loss=0.05)
    assert [o.quantity.lots for o in result.orders if o.kind == "stop"] == [-50, -25]


def test_a_position_keeps_its_value_through_a_split_on_a_day_without_trading():
    rows = np.array([QUIET, QUIET, QUIET, (50, 50, 50, 50)], float)
    rows[2] = np.nan
    bars = bars_of(rows, split=np.array([[1.0], [1], [2], [1]]))
    result = backtest(asks(0.5), None, bars, cash=10_000, costs=FREE)
    assert result.equity.tolist() == [10_000.0] * 4
    assert result.positions[:, 0].tolist() == [0, 50, 100, 100]


def test_a_trade_through_a_split_shows_prices_of_todays_shares():
    """50 at 100 become 100 at 50, sold at 60: +1,000."""
    rows = [QUIET, QUIET, (50, 50, 50, 50), (60, 60, 60, 60)]
    table = iter([0.5, np.nan, 0.0])
    rule = lambda view: np.array([next(table)])  # noqa: E731
    bars = bars_of(rows, split=np.array([[1.0], [1], [2], [1]]))
    (trade,) = backtest(rule, None, bars, cash=10_000, costs=FREE).trades()
    assert (trade.shares, trade.entry_price, trade.exit_price, trade.profit) == (100, 50.0, 60.0, 1000.0)
    assert (trade.worst, trade.best) == (pytest.approx(-0.01), pytest.approx(0.2))


def test_refusals_of_limits_and_broker_are_kept_with_their_numbers():
    result = backtest(Plan(asks(3.0), Limits()), None, flat([100.0] * 5), cash=10_000, costs=FREE)
    assert isinstance(result.refusals[0], Refusal)
    assert result.refused()
    assert np.abs(result.weights).max() <= 1.0
    assert "refused" in str(result)


# ------------------------------------------------------------------------------------------------------------- replay


def paper_session():
    """A session as on paper: rows arrive one by one through `Live`, with stops, splits and partial fills."""
    rng = np.random.default_rng(3)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.02, (80, 2)), axis=0))
    opened = np.vstack([close[:1], close[:-1]]) * np.exp(rng.normal(0, 0.01, close.shape))
    split = np.ones(close.shape)
    split[40, 0] = 2.0
    close[40:, 0] /= 2
    opened[40:, 0] /= 2
    dividend = np.zeros(close.shape)
    dividend[29::30] = 0.1
    high, low = np.maximum(opened, close) * 1.01, np.minimum(opened, close) * 0.99
    rows = np.stack([opened, high, low, close, np.full(close.shape, 500.0)], axis=-1)
    return bars_of(rows, ["A", "B"], split=split, dividend=dividend)


def paper_trader():
    plan = Plan(lambda view: np.sign(view.returns) * 0.4, Limits(stop_loss=0.03, take_profit=0.05))
    return Trader(plan, ["A", "B"], account=100_000)


def live_events(bars, warm):
    feed = Live(bars._rows(slice(0, warm), ()))
    for i in range(warm, len(bars)):
        row = dict(bars.row(i))
        yield feed.open(
            {name: row[name] for name in ("open", "state", "split", "dividend")} | {"time": row["time"] - 10}
        )
        yield feed.close(row)


def test_a_recorded_paper_session_replayed_gives_the_same_orders(tmp_path):
    bars = paper_session()
    trader, broker = paper_trader(), SimulatedBroker(100_000, ["A", "B"])
    with open(tmp_path / "session.jsonl", "w") as file:
        play(trader, broker, live_events(bars, 25), recording.Tape(file))
    again = recording.replay(paper_trader(), (tmp_path / "session.jsonl").read_text().splitlines())
    assert {o.kind for o in trader.orders} == {"market", "stop", "limit"}
    assert hash_of(again.orders) == hash_of(trader.orders)
    assert again.account.to_dict() == trader.account.to_dict() == broker.account.to_dict()
    assert again.refusals == trader.refusals


def test_a_feed_gives_the_events_of_the_history():
    """Row by row or from the whole, the same bits; only the volume at the opening, not known yet, differs."""
    bars = paper_session()
    warm = 25
    past = list(History(bars, warm))
    live = list(live_events(bars, warm))
    assert len(past) == len(live) == 2 * (80 - warm)
    for a, b in zip(past, live, strict=True):
        assert a.kind == b.kind
        for name in ("open", "high", "low", "close", "returns", "volatility", "usual_volume", "split", "dividend"):
            mine, theirs = getattr(a, name), getattr(b, name)
            assert (mine is None) == (theirs is None), name
            assert mine is None or np.array_equal(mine, theirs, equal_nan=True), name


def test_a_split_counts_once_whether_the_opening_was_seen_or_not():
    shown = []
    split, gap = np.array([2.0]), np.full(1, np.nan)
    state = np.full(1, State.MISSING, np.uint8)
    for opened in (True, False):
        trader = Trader(lambda view: shown.append(view.price[0]) or np.full(1, np.nan), ["X"])
        trader.on(seen(0))
        if opened:
            trader.on(MarketEvent("open", 1, 2, state, open=gap, split=split))
        trader.on(MarketEvent("close", 2, 2, state, open=gap, close=gap, split=split))
    assert shown == [100.0, 50.0, 100.0, 50.0]


def test_the_usual_volume_of_a_split_is_in_its_own_shares():
    split, rows = np.ones((30, 1)), np.full((30, 5), 70.0)
    split[25] = 7
    rows[:, 4], rows[25:, :4], rows[25:, 4] = 1000.0, 10.0, 7000.0
    bars = bars_of(rows, split=split)
    events = [event for event in History(bars) if event.kind == "close"]
    assert [events[k].usual_volume[0] for k in (24, 25, 26)] == [1000.0, 7000.0, 7000.0]
    live = Live(bars.until(int(bars.time[24])))
    assert live.open({**bars.row(25), "time": int(bars.time[24]) + 1}).usual_volume[0] == 7000.0
    assert live.close(bars.row(25)).usual_volume[0] == 7000.0


def test_a_refusal_of_the_whole_portfolio_is_written_down_and_read_again():
    refusal = Refusal(5, "maintenance margin", None, 1.0, 2.0, 3.0, 0.0)
    assert recording.from_line(recording.to_line(refusal)) == refusal


def test_lines_of_a_tape_come_back_bit_for_bit_and_others_are_refused():
    event = seen(price=0.1 + 0.2, volume=np.array([np.nan]), returns=np.array([np.inf]))
    again = recording.from_line(recording.to_line(event))
    assert recording.to_line(again) == recording.to_line(event)
    assert again.close[0] == 0.1 + 0.2
    for line in ("", "{}", '{"type":"market"}', '{"type":"order"}', "[1]", '{"type":"fill","x":1}'):
        with pytest.raises(InputError, match="not one"):
            recording.from_line(line)
    with pytest.raises(InputError, match="A tape takes"):
        recording.to_line("event")


def test_forecasts_reach_the_policy_at_their_time_only():
    from longshort.forecast import Forecast, TargetInfo

    bars = synthetic.random_walk(30, seed=0)
    times = bars.time[10:20]
    forecast = Forecast(times, bars.symbols, np.ones((10, 1)), target=TargetInfo("return"))
    said = []

    def rule(view):
        said.append((view.time, view.forecast is not None))
        return np.array([0.1])

    trader = Trader(rule, bars.symbols, Recorded(forecast))
    play(trader, SimulatedBroker(100_000, bars.symbols, Costs(), Execution()), History(bars))
    assert [time for time, known in said if known] == times.tolist()
    assert len(said) == 30


def test_policies_of_the_package_trade():
    from longshort.forecast import Forecast, TargetInfo

    bars = synthetic.random_walk(200, symbols=["A", "B", "C"], seed=0)
    values = np.random.default_rng(0).normal(0, 0.01, bars.shape)
    forecast = Forecast(bars.time, bars.symbols, values, target=TargetInfo("return"))
    for policy in (Sign(), LongShort(), LongShort(target_vol=0.1)):
        assert backtest(Plan(policy), forecast, bars).scores()["trades"] > 10


def test_forecasts_and_brokers_with_other_columns_are_refused():
    """By label, never by position: a forecast of SPY must not trade AAPL."""
    said = Forecast(np.array([0]), ("SPY", "AAPL"), np.array([[0.1, -0.1]]), target=TargetInfo("return"))
    with pytest.raises(InputError, match=r"Forecasts must have the trader's symbols.*had \('SPY', 'AAPL'\)"):
        Trader(Sign(), ["AAPL", "SPY"], Recorded(said))
    trader = Trader(Sign(), ["SPY", "AAPL"], Recorded(said))
    with pytest.raises(InputError, match="The broker must have"):
        play(trader, SimulatedBroker(100_000, ["AAPL", "SPY"]), [])
    bars = flat([[1.0, 2.0]], ["AAPL", "SPY"])
    with pytest.raises(InputError, match="The events must have"):
        play(trader, SimulatedBroker(100_000, ["SPY", "AAPL"]), History(bars))


@pytest.mark.parametrize("row", [5, 6])
@pytest.mark.parametrize("limits", [Limits(trailing_stop=0.1), Limits(atr_stop=3, atr_window=2, atr_trailing=True)])
def test_a_split_in_or_after_a_gap_stops_nobody(row, limits):
    """The price never fell; a best price in yesterday's shares would say that it halved."""
    state = np.zeros((10, 1), np.uint8)
    state[5] = State.MISSING
    split = np.ones((10, 1))
    split[row] = 2
    bars = flat([100.0, 101, 102, 103, 104, np.nan, 52.5, 53, 53, 53], state=state, split=split)
    rule = lambda view: np.array([0.5 if not view.shares[0] and view.session < 18_004 else np.nan])  # noqa: E731
    result = backtest(Plan(rule, limits), None, bars, costs=FREE)
    assert "trailing_stop" not in result.refused()
    assert result.positions[-1] > 900
    assert [f.reason for f in result.fills] == ["policy"]


def test_a_return_over_a_gap_is_the_one_since_the_last_close():
    seen = []
    state = np.zeros((4, 1), np.uint8)
    state[1] = State.MISSING
    split, dividend = np.ones((4, 1)), np.zeros((4, 1))
    split[2], dividend[2] = 2, 1.0
    bars = flat([100.0, np.nan, 51.45, 51.45], state=state, split=split, dividend=dividend)
    backtest(lambda view: seen.append(view.returns[0]) or np.zeros(1), None, bars)
    assert np.isnan(seen[:2]).all()
    assert seen[2:] == [pytest.approx(0.05)]
