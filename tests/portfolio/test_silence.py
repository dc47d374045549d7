"""How long a position may be left alone without a forecast: counted by hand."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longshort.bars import Bars, State
from longshort.errors import InputError
from longshort.forecast import Forecast, ForecastRow, TargetInfo
from longshort.orders import Costs, Posting
from longshort.portfolio import EqualWeight, Kelly, Limits, LongShort, RiskPerTrade, Sign, view_of
from longshort.strategy import Strategy
from longshort.trading import History, Trader, backtest

NAN = np.nan
SYMBOLS = ("AAPL", "MSFT")


def row(mean, horizon=1, **said):
    return ForecastRow(TargetInfo("return", horizon), np.array(mean, dtype=float), **said)


def shown(t, forecast, weights=(0.5, 0.5), **seen):
    return view_of(SYMBOLS, forecast, time=t, session=t, weights=list(weights), **seen)


def closed_at(limits, rows, target=(NAN, NAN), **seen):
    """Play bars with a position that nothing closes; return per symbol the first bar at which it must be closed."""
    step, first = limits.stepper(SYMBOLS), {}
    for t, forecast in enumerate(rows):
        allowed, refused = step.weights(shown(t, forecast, **seen), np.array(target))
        for one in refused:
            assert one.limit == "max_silence"
            first.setdefault(one.symbol, (t, one.value, one.bound, one.asked, one.allowed))
            assert allowed[SYMBOLS.index(one.symbol)] == 0.0
    return first


def test_a_position_is_closed_when_its_model_has_been_silent_too_long():
    rows = [row([0.01, 0.01])] + [row([NAN, 0.01])] * 10
    assert closed_at(Limits(max_silence=3), rows) == {"AAPL": (4, 4.0, 3.0, 0.5, 0.0)}


def test_no_row_at_all_is_silence_about_every_symbol():
    rows = [row([0.01, 0.01])] + [None] * 10
    found = closed_at(Limits(max_silence=3), rows)
    assert {symbol: said[0] for symbol, said in found.items()} == {"AAPL": 4, "MSFT": 4}


def test_one_forecast_begins_the_count_anew():
    rows = [row([0.01, 0.01]), None, None, row([0.02, NAN]), None, None, None, None]
    found = closed_at(Limits(max_silence=3), rows)
    assert {symbol: said[0] for symbol, said in found.items()} == {"AAPL": 7, "MSFT": 4}


def test_a_forecast_over_a_week_speaks_for_five_bars():
    rows = [row([0.01, 0.01], horizon=5)] + [None] * 12
    assert {said[0] for said in closed_at(Limits(max_silence=3), rows).values()} == {8}
    assert {said[0] for said in closed_at(Limits(max_silence=0), rows).values()} == {5}


def test_monthly_forecasts_of_daily_bars_are_no_silence_by_default():
    rows = ([row([0.01, 0.01])] + [None] * 22) * 5
    assert closed_at(Limits(), rows) == {}
    assert closed_at(Limits(max_silence=20), rows) != {}


def test_a_strategy_that_never_had_a_forecast_is_not_silent():
    assert closed_at(Limits(max_silence=1), [None] * 50) == {}
    step = Limits(max_silence=1).stepper(SYMBOLS)
    step.expect_forecasts()
    said = [step.weights(shown(t, None), np.full(2, NAN))[1] for t in range(3)]
    assert [len(refused) for refused in said] == [0, 2, 2]


def test_a_target_is_a_decision_and_no_silence():
    """A rule that goes by prices may stand beside a model that says nothing."""
    assert closed_at(Limits(max_silence=2), [row([0.01, 0.01])] + [None] * 20, target=(0.5, 0.5)) == {}
    found = closed_at(Limits(max_silence=2), [row([0.01, 0.01])] + [None] * 20, target=(0.5, NAN))
    assert set(found) == {"MSFT"}


@pytest.mark.parametrize("target", [np.inf, -np.inf])
def test_an_infinite_target_is_none_and_no_decision_either(target):
    step, found = Limits(max_silence=2).stepper(SYMBOLS), []
    for t in range(5):
        allowed, refused = step.weights(shown(t, row([0.01, 0.01]) if t == 0 else None), np.full(2, target))
        found.append([one.symbol for one in refused if one.limit == "max_silence"])
    assert found == [[], [], [], ["AAPL", "MSFT"], ["AAPL", "MSFT"]]
    assert allowed.tolist() == [0.0, 0.0]


def test_sessions_do_not_matter_and_closed_markets_do_not_count():
    rows = [row([0.01, 0.01])] + [None] * 20
    step, bars = Limits(max_silence=3).stepper(SYMBOLS), []
    for t, forecast in enumerate(rows):
        state = [State.CLOSED, State.OK] if t % 2 else [State.OK, State.OK]
        view = shown(t, forecast, state=state)
        _, refused = step.weights(replace(view, session=t // 7), np.full(2, NAN))
        bars += [(t, one.symbol) for one in refused]
    first = {symbol: min(t for t, s in bars if s == symbol) for symbol in SYMBOLS}
    assert first == {"AAPL": 8, "MSFT": 4}


@pytest.mark.parametrize("state", [State.HALTED, State.MISSING, State.UNLISTED])
def test_what_cannot_be_traded_is_closed_when_it_can_be(state):
    step = Limits(max_silence=3).stepper(SYMBOLS)
    step.weights(shown(0, row([0.01, 0.01])), np.full(2, NAN))
    for t in range(1, 9):
        allowed, refused = step.weights(shown(t, None, weights=(0.5, 0.0), state=[state, 0]), np.full(2, NAN))
        assert np.isnan(allowed).all()
        assert refused == []
    allowed, (refusal,) = step.weights(shown(9, None, weights=(0.5, 0.0)), np.full(2, NAN))
    assert (allowed[0], refusal.limit, refusal.value) == (0.0, "max_silence", 9.0)


def test_nothing_held_is_nothing_to_close():
    assert closed_at(Limits(max_silence=1), [row([0.01, 0.01])] + [None] * 9, weights=(0.0, 0.0)) == {}


SILENT = {  # each says something that is no number about the first symbol
    "mean": row([NAN, 0.01]),
    "infinite mean": row([np.inf, 0.01]),
    "minus infinity": row([-np.inf, 0.01]),
    "deviation": row([0.01, 0.01], std=np.array([NAN, 0.02])),
    "covariance": row([0.01, 0.01], covariance=np.array([[NAN, NAN], [NAN, 1e-4]])),
    "quantile": row([0.01, 0.01], quantiles={0.1: np.array([NAN, -0.01]), 0.9: np.array([0.02, 0.02])}),
    "probability": row([0.6, 0.6], probabilities={1.0: np.array([NAN, 0.6])}),
    "position": row([0.01, 0.01], position=np.array([NAN, 0.5])),
}


@pytest.mark.parametrize("what", SILENT)
def test_a_forecast_that_is_no_number_is_none(what):
    found = closed_at(Limits(max_silence=2), [row([0.01, 0.01])] + [SILENT[what]] * 9)
    assert {symbol: said[0] for symbol, said in found.items()} == {"AAPL": 3}


def test_an_interval_without_an_end_is_a_forecast():
    wide = row([0.01, 0.01], quantiles={0.1: np.full(2, -np.inf), 0.9: np.full(2, np.inf)})
    assert closed_at(Limits(max_silence=2), [wide] * 20) == {}


@pytest.mark.parametrize("seen", [{"weights": (NAN, 0.5)}, {"shares": [NAN, 5.0]}, {"weights": (np.inf, 0.5)}])
def test_a_position_of_unknown_size_is_closed_too(seen):
    found = closed_at_any(Limits(max_silence=2, max_gross=2, max_net=2), seen)
    assert found["AAPL"] == 3


def closed_at_any(limits, seen):
    step, first = limits.stepper(SYMBOLS), {}
    for t in range(8):
        forecast = row([0.01, 0.01]) if t == 0 else None
        allowed, refused = step.weights(shown(t, forecast, **{"shares": [5.0, 5.0], **seen}), np.full(2, NAN))
        for one in refused:
            if one.limit == "max_silence":
                first.setdefault(one.symbol, t)
                assert allowed[SYMBOLS.index(one.symbol)] == 0.0
    return first


@pytest.mark.parametrize("equity", [NAN, np.inf, -np.inf, 0.0])
def test_an_equity_that_is_no_number_does_not_keep_a_silent_position(equity):
    step = Limits(max_silence=1, max_drawdown=1.0, max_daily_loss=1.0).stepper(SYMBOLS)
    for t in range(4):
        view = shown(t, row([0.01, 0.01]) if t == 0 else None, equity=equity if t == 3 else 1e6, shares=[5.0, 5.0])
        allowed, refused = step.weights(view, np.full(2, NAN))
    assert allowed.tolist() == [0.0, 0.0]
    assert "max_silence" in {one.limit for one in refused}


def test_asking_twice_counts_once():
    step = Limits(max_silence=2).stepper(SYMBOLS)
    for t in range(4):
        view = shown(t, row([0.01, 0.01]) if t == 0 else None)
        allowed, refused = step.weights(view, np.full(2, NAN))
        again, nothing = step.weights(view, allowed)
        np.testing.assert_array_equal(again, allowed)
        assert nothing == []
    assert [one.value for one in refused] == [3.0, 3.0]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(*[st.sampled_from([0.01, -0.01, NAN, np.inf, None])] * 2), min_size=1, max_size=40),
    st.integers(0, 5),
    st.integers(1, 4),
    st.lists(st.sampled_from(list(State)), min_size=80, max_size=80),
)
def test_the_count_is_that_of_the_definition(said, most, horizon, states):
    """Against a count written once more, bar by bar and symbol by symbol."""
    step, counts = Limits(max_silence=most).stepper(SYMBOLS), [0, 0]
    heard = False
    for t, values in enumerate(said):
        forecast = None if values[0] is None else row([NAN if v is None else v for v in values], horizon)
        heard |= forecast is not None
        state = states[2 * t : 2 * t + 2]
        allowed, refused = step.weights(shown(t, forecast, state=state), np.full(2, NAN))
        for j, symbol in enumerate(SYMBOLS):
            if forecast is not None and np.isfinite(forecast.mean[j]):
                counts[j] = 1 - horizon
            elif heard and state[j] != State.CLOSED:
                counts[j] += 1
            late = counts[j] > most and state[j] == State.OK
            assert (allowed[j] == 0.0) == late
            assert [one.value for one in refused if one.symbol == symbol] == ([float(counts[j])] if late else [])


# ------------------------------------------------------------------------------------------------------- in the loop


def market(n=60):
    close = 100 + np.cumsum(np.random.default_rng(0).integers(-1, 2, (n, 2)), axis=0).astype(float)
    return Bars.from_arrays(
        (np.arange(n) + 18_000) * 86_400 * 10**9,
        SYMBOLS,
        dict.fromkeys(("open", "high", "low", "close"), close),
        bar_size="1D",
    )


@pytest.mark.parametrize("policy", [LongShort(), Sign(), RiskPerTrade(stop=0.05), Kelly()], ids=repr)
def test_a_model_that_falls_silent_is_sold_out_and_the_order_says_why(policy):
    bars = market()
    mean = np.where(np.arange(60)[:, None] < 30, [[0.01, -0.01]], [[NAN, -0.01]])
    forecast = Forecast(bars.time, SYMBOLS, mean, std=np.full((60, 2), 0.05), target=TargetInfo("return"))
    kept = backtest(Strategy(None, policy, Limits(max_silence=1000)), forecast, bars, costs=Costs.none())
    assert kept.positions[-1, 0] != 0  # what it was before there was a limit
    result = backtest(Strategy(None, policy, Limits(max_silence=5)), forecast, bars, costs=Costs.none())
    assert result.positions[-1, 0] == 0
    assert result.positions[-1, 1] != 0
    (refusal,) = [one for one in result.refusals if one.limit == "max_silence"]
    assert (refusal.symbol, refusal.value, refusal.bound, refusal.time) == ("AAPL", 6.0, 5.0, bars.time[35])
    assert [order.reason for order in result.orders if order.time == bars.time[35] and order.symbol == "AAPL"] == [
        "max_silence"
    ]


def test_a_policy_without_forecasts_holds_as_long_as_it_likes():
    bars = market()
    plan = Strategy(None, EqualWeight(band=0.5), Limits(max_silence=2))
    result = backtest(plan, None, bars, costs=Costs.none())
    assert (result.positions[2:] != 0).all()
    assert result.refusals == ()


def test_a_source_that_never_says_a_word_is_silent_from_the_first_bar():
    """A live model that is dead when trading begins, beside positions of the day before."""

    def orders(source):
        trader = Trader(Strategy(None, Sign(), Limits(max_silence=3)), SYMBOLS, source)
        trader.account.apply(Posting("deposit", "AAPL", 0, 0, lots=100))
        return [(event.time, order.reason) for event in History(market()) for order in trader.on(event)]

    assert orders(None) == []
    assert orders(lambda event: None)[0] == (market().time[3], "max_silence")


@pytest.mark.parametrize("bound", [-1, 2.5, NAN, np.inf, None])
def test_the_bound_is_a_whole_number_of_bars(bound):
    with pytest.raises(InputError, match="max_silence"):
        Limits(max_silence=bound)


def test_silence_is_told_among_the_bounds():
    assert "silence <= 25 bars" in str(Limits())
    assert Limits().to_dict()["max_silence"] == 25
