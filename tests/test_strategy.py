"""Strategies: what they are made of, what data they may be asked about, when they are to be fitted anew."""

import numpy as np
import pytest

import longshort as ls
from longshort import features as f
from longshort import models as m
from longshort import portfolio as p
from longshort.errors import InputError, NotFitted
from longshort.strategy import Contract, Strategy

RETURN = f.forward_return()


@pytest.fixture(scope="module")
def bars():
    return ls.load_bars(["AAPL", "SPY"], start="2014-01-01", end="2016-12-30", source="sample")


def test_a_strategy_without_arguments_is_a_long_short_policy_inside_bounded_limits():
    strategy = ls.Strategy()
    assert isinstance(strategy.policy, p.LongShort)
    assert strategy.limits == ls.Limits()
    assert strategy.forecaster is None
    assert strategy.contract is None


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"forecaster": ls.LSTM}, "the class LSTM"),
        ({"forecaster": "lstm"}, "'lstm'"),
        ({"policy": p.LongShort}, "LongShort"),
        ({"policy": 0.5}, "0.5"),
        ({"limits": ls.Limits}, "the class Limits"),
        ({"limits": {"stop_loss": 0.05}}, "stop_loss"),
        ({"refit": "soon"}, "'soon'"),
        ({"refit": "0M"}, "at least 1"),
    ],
)
def test_what_is_no_part_of_a_strategy_is_refused_with_what_was_found(arguments, says):
    with pytest.raises(InputError, match=says):
        Strategy(**arguments)


def test_a_plain_function_serves_as_a_policy():
    strategy = Strategy(policy=lambda view: np.full(len(view.symbols), 0.25))
    step = strategy.policy.stepper(("A", "B"))
    assert step(p.view_of(("A", "B"))).tolist() == [0.25, 0.25]


def test_fitting_leaves_the_strategy_untouched_and_agrees_on_the_data(bars):
    told = []
    lstm = ls.LSTM([f.log_return()], lookback=5, hidden=(4,), epochs=1)
    strategy = Strategy(lstm)
    fitted = strategy.fitted(bars, progress=told.append)
    assert not hasattr(lstm, "nets_")
    assert strategy.contract is None
    assert told[-1] == 1.0
    assert fitted.contract == Contract(
        ("AAPL", "SPY"), "1D", "XNYS", bars.fields, "USD", int(bars.time[-1]), bars.digest
    )
    assert fitted.predict(bars).digest == lstm.fit(bars).predict(bars).digest


def test_a_stream_says_what_predict_says(bars):
    fitted = Strategy(m.AutoRegression(RETURN)).fitted(bars)
    said = fitted.predict(bars).mean
    stream = fitted.stream(bars.until(int(bars.time[-11])))
    for t in range(len(bars) - 10, len(bars)):
        assert stream.step(bars.row(t)).tobytes() == said[t].tobytes()


def other(bars, **changes):
    parts = {name: getattr(bars, name) for name in ("split", "dividend", "state", "calendar", "bar_size")}
    symbols, fields = changes.pop("symbols", bars.symbols), changes.pop("fields", bars.fields)
    return ls.Bars.from_arrays(bars.time, symbols, {name: bars[name] for name in fields}, **(parts | changes))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"symbols": ("AAPL", "QQQ")}, "symbols must be AAPL, SPY, lack SPY, have QQQ beside"),
        ({"calendar": "24/5"}, "calendar must be XNYS, was 24/5"),
        ({"bar_size": "1W"}, "bar_size must be 1D, was 1W"),
        ({"fields": ("open", "high", "low", "close")}, "lack volume"),
        ({"bar_size": "1W", "calendar": "24/5"}, "bar_size .* calendar"),
    ],
)
def test_bars_of_another_kind_are_refused_with_every_difference(bars, changes, says):
    fitted = Strategy(m.AutoRegression(RETURN)).fitted(bars)
    for ask in (fitted.predict, fitted.stream, fitted.check):
        with pytest.raises(InputError, match=says):
            ask(other(bars, **changes))


def test_the_order_of_symbols_is_no_difference(bars):
    fitted = Strategy(m.AutoRegression(RETURN)).fitted(bars)
    turned = bars.select(["SPY", "AAPL"])
    assert fitted.predict(turned).mean[:, ::-1].tobytes() == fitted.predict(bars).mean.tobytes()


def test_a_contract_asks_for_the_series_a_model_reads_and_for_prices(bars):
    fields = {name: bars[name] for name in bars.fields} | {"mood": bars["close"], "noise": bars["close"]}
    parts = {name: getattr(bars, name) for name in ("split", "dividend", "state", "calendar", "bar_size")}
    richer = ls.Bars.from_arrays(bars.time, bars.symbols, fields, **parts)
    model = m.Ridge([f.field("mood").log()], RETURN)
    assert Contract.of(richer, model).fields == ("open", "high", "low", "close", "volume", "mood")
    assert "noise" in Contract.of(richer).fields


@pytest.mark.parametrize(
    ("refit", "kept", "due"),
    [("6M", "6M", "2017-06-30"), ("1y", "1Y", "2017-12-30"), ("2W", "2W", "2017-01-13"), ("3D", "3D", "2017-01-05"),
     (3, "3D", "2017-01-05"), ("never", "never", None), (None, None, None)],
)  # fmt: skip
def test_when_a_fit_is_due_again(bars, refit, kept, due):
    """Three sessions after Friday, 30 December 2016: New Year's Day was kept on Monday, so 3, 4 and 5 January."""
    strategy = Strategy(m.Persistence(RETURN), refit=refit)
    assert strategy.due is None
    assert strategy.refit == kept
    assert strategy.fitted(bars).due == due


def test_what_there_is_no_model_for_is_said(bars):
    strategy = Strategy(policy=p.EqualWeight())
    with pytest.raises(NotFitted, match="no forecaster to predict with"):
        strategy.fitted(bars).predict(bars)


def test_a_forecaster_without_a_stream_is_asked_about_all_bars_again(bars):
    class Mute(m.AutoRegression):
        stream = property()

    fitted = Strategy(Mute(RETURN)).fitted(bars)
    said = fitted.predict(bars).mean
    stream = fitted.stream(bars.until(int(bars.time[-4])))
    for t in range(len(bars) - 3, len(bars)):
        assert stream.forecast(bars.row(t)).mean.tobytes() == said[t].tobytes()


def test_a_strategy_describes_itself(bars):
    strategy = Strategy(m.AutoRegression(RETURN), p.TopK(1, short=1), refit="6M").fitted(bars)
    told = strategy.to_dict()
    assert told["policy"]["kind"] == "TopK"
    assert told["contract"]["until"] == int(bars.time[-1])
    assert repr(strategy) == "Strategy(AutoRegression, TopK(k=1, short=1), Limits(), refit='6M')"
    assert "TopK(k=1, short=1)" in strategy.summary()
    assert "AAPL, SPY; 1D, XNYS, USD" in strategy.summary()
