"""The whole fitted pipeline sees no future: features, windows, scaling, network, splits and forecasts together.

Cut points are where leaks like to hide: a split, the day after it, the edges of a gap of years, a fold's first test
row. After each cut the future is scaled, emptied, shuffled or cut off; everything earlier must keep its bits.
"""

from functools import cache

import numpy as np
import pytest

import longshort as ls
from longshort import features as f
from longshort.features.windows import SCALERS
from longshort.models.presets import keras_tutorial

WAYS = ("scale", "empty", "shuffle", "truncate")
SHAPE = {"lookback": 12, "hidden": (6,), "epochs": 2, "patience": 1, "seeds": 2}


@cache
def market() -> ls.Bars:
    """Two symbols across AAPL's 7:1 split of 2014-06-09; QQQ comes back after a gap of years on 2011-03-23."""
    return ls.load_bars(["AAPL", "QQQ"], start="2004-11-01", end="2015-06-30", source="sample").since("2010-09-01")


def row(day: str) -> int:
    return int(np.flatnonzero(market().dates == np.datetime64(day))[0])


def altered(bars: ls.Bars, first: int, way: str) -> ls.Bars:
    """Return bars with everything from row `first` on made different."""
    if way == "truncate":
        return bars.until(int(bars.time[first - 1]))
    fields = {name: np.array(bars[name]) for name in bars.fields}
    split, dividend, order = np.array(bars.split), np.array(bars.dividend), np.arange(first, len(bars))
    split[first:], dividend[first:] = 1.0, 0.0
    np.random.default_rng(first).shuffle(order)
    for values in fields.values():
        if way == "scale":
            values[first:] *= 10.0
        elif way == "empty":
            values[first:] = np.nan
        else:
            values[first:] = values[order]
    return ls.Bars.from_arrays(
        bars.time, bars.symbols, fields, split=split, dividend=dividend, calendar=bars.calendar, bar_size=bars.bar_size
    )


def net_bits(model) -> bytes:
    arrays = [a for group in model.nets_ for net in group for a in net.weights.values()]
    arrays += [
        a for group in model.nets_ for net in group for s in (net.inputs, net.output) for a in (s.center, s.scale)
    ]
    return b"".join(a.tobytes() for a in arrays)


CUTS = ("2014-06-09", "2014-06-10", "2013-01-02")


@pytest.mark.parametrize("scaler", SCALERS)
@pytest.mark.parametrize("way", WAYS)
def test_no_weight_scale_or_forecast_before_the_cut_changes(way, scaler):
    bars = market()
    for day in CUTS:
        cut = row(day)
        model = ls.LSTM(scaler=scaler, **SHAPE).fit(bars.until(int(bars.time[cut - 1])))
        said = model.predict(bars)
        other = altered(bars, cut, way)
        again = ls.LSTM(scaler=scaler, **SHAPE).fit(other.until(int(bars.time[cut - 1])))
        assert net_bits(again) == net_bits(model), day
        told = model.predict(other)
        assert told.mean[:cut].tobytes() == said.mean[:cut].tobytes(), day
        assert np.isfinite(said.mean[cut - 1]).all(), day


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "target", [f.forward_close(1), f.forward_volatility(5), f.forward_return(3, entry="next_open")]
)
def test_no_forecast_of_any_target_changes(way, target):
    bars, cut = market(), row("2014-06-09")
    inputs = [f.log_return(), f.field("close", symbol="AAPL") / f.sma(10), f.rsi(5, smoothing="simple").rank()]
    model = ls.LSTM(inputs, target=target, per_symbol=True, **SHAPE).fit(bars.until(int(bars.time[cut - 1])))
    assert model.predict(altered(bars, cut, way)).mean[:cut].tobytes() == model.predict(bars).mean[:cut].tobytes()


@pytest.mark.parametrize("way", WAYS)
def test_nothing_before_the_cut_changes_where_the_state_is_carried(way):
    bars = market()
    for day in CUTS:
        cut = row(day)
        model = ls.LSTM(context="carry", chunk=20, **SHAPE).fit(bars.until(int(bars.time[cut - 1])))
        other = altered(bars, cut, way)
        again = ls.LSTM(context="carry", chunk=20, **SHAPE).fit(other.until(int(bars.time[cut - 1])))
        assert net_bits(again) == net_bits(model), day
        said = model.predict(bars)
        assert model.predict(other).mean[:cut].tobytes() == said.mean[:cut].tobytes(), day
        assert np.isfinite(said.mean[cut - 1]).all(), day


@pytest.mark.parametrize("way", WAYS)
def test_no_forecast_on_record_changes(way):
    """A study's rows before the cut are what they were, although its last fold tests rows on both sides of it."""
    bars, cut = market().select(["AAPL"]), row("2014-06-09")
    cv = ls.WalkForward(train="2Y", test="6M", embargo="5D")
    model = ls.LSTM([f.log_return(), f.volume_ratio(5)], **SHAPE)
    study = ls.walk_forward(model, bars, cv, baselines=[], seeds=2)
    again = ls.walk_forward(model, altered(bars, cut, way), cv, baselines=[], seeds=2)
    known = study.time < bars.time[cut - 1]
    n = int(known.sum())
    assert n > 100
    assert again.seeds[:, :n].tobytes() == study.seeds[:, :n].tobytes()
    assert again.records()[:n] == study.records()[:n]


def test_training_part_alone_decides_the_weights_of_every_epoch():
    """The preset keeps the best epoch of the validation part, and still learns nothing from it."""
    bars = market().select(["AAPL"])
    preset = keras_tutorial(hidden=(6,), lookback=10, patience=None, epochs=4)

    def epochs(of: ls.Bars) -> tuple[int, list[bytes]]:
        fitting = preset.fitting(of)
        engine, seen = fitting.search[0][0].training.engine, []
        while not fitting.step():
            seen.append(b"".join(a.tobytes() for a in engine.weights().values()))
        return int(fitting.windows.rows[fitting.is_validation][0]), seen

    first, weights = epochs(bars)
    for way in ("scale", "shuffle"):
        assert epochs(altered(bars, first, way)) == (first, weights), way


def test_no_window_reaches_across_the_years_qqq_is_missing():
    bars = ls.load_bars(["AAPL", "QQQ"], start="2004-06-01", end="2011-12-30", source="sample")
    model = ls.LSTM([f.log_return()], **SHAPE).fit(bars)
    qqq = bars.symbols.index("QQQ")
    said, close = model.predict(bars).mean[:, qqq], bars["close"][:, qqq]
    back = int(np.flatnonzero(np.isnan(close))[-1]) + 1
    assert np.isnan(said[back : back + SHAPE["lookback"]]).all()
    assert np.isfinite(said[back + SHAPE["lookback"] :]).all()


def forecasters() -> dict:
    from longshort import models as m
    from longshort.models.presets import lstm_64_64_32_1

    ret, vol, small = f.forward_return(3), f.forward_volatility(5), {**SHAPE, "seeds": 1}
    inputs = [f.log_return(), f.field("close", symbol="AAPL") / f.sma(10)]
    return {
        "persistence": m.Persistence(f.forward_close()),
        "historical mean": m.HistoricalMean(ret),
        "drift": m.Drift(f.forward_close(2)),
        "autoregression": m.AutoRegression(vol),
        "ridge": m.Ridge(inputs, ret),
        "lstm": ls.LSTM(inputs, target=ret, **small),
        "robust": ls.LSTM(inputs, target=vol, scaler="robust", per_symbol=True, **small),
        "carry": ls.LSTM(inputs, context="carry", **small),
        "distribution": ls.LSTM(inputs, loss="student_t", **small),
        "tutorial": lstm_64_64_32_1(hidden=(6,), lookback=12, epochs=2),
        "ensemble": m.Ensemble(ls.LSTM(inputs, **small), members=2),
        "conformal": m.Conformal(ls.LSTM(inputs, **small)),
    }


@pytest.mark.parametrize("name", forecasters())
def test_the_audit_proves_no_leak_in_whatever_forecasts(name):
    """Features, target, the fitted model at every kind of edge, and the model refitted on other test rows."""
    found = ls.audit(forecasters()[name], market(), runs=40, budget=120)
    assert found.ok, found
    assert {q.name for q in found.questions} == {"universe", "features", "tuning"}
    assert sum(check.runs - check.failed for check in found.checks) > 60
