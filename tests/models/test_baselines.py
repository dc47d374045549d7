"""Baselines: known answers, the past only, the same bits however many rows are asked for."""

from dataclasses import replace

import numpy as np
import pytest

from longshort.bars import Bars
from longshort.data import synthetic
from longshort.errors import ArtifactError, InputError, NotEnoughData, NotFitted, TimeError
from longshort.features import (
    field,
    forward_close,
    forward_direction,
    forward_log_return,
    forward_return,
    forward_volatility,
    log_return,
    rsi,
)
from longshort.forecast import Forecaster
from longshort.models import HAR, AutoRegression, Drift, HistoricalMean, Persistence, Ridge
from longshort.models.baselines import known_outcomes

BARS = synthetic.garch(700, 3, seed=4)
FEATURES = [log_return(), log_return(5), log_return().rolling_std(10)]
TARGETS = [forward_close(1), forward_return(2), forward_log_return(5), forward_volatility(5), forward_direction(1)]


def models():
    for target in TARGETS:
        yield Persistence(target)
        yield AutoRegression(target)
        yield Ridge(FEATURES, target, lookback=3)
        if target.info.kind == "close":
            yield Drift(target)
        else:
            yield HistoricalMean(target)
        if target.info.kind == "volatility":
            yield HAR(target)
        if "return" in target.info.kind:
            yield Drift(target)


ALL = list(models())
IDS = [f"{type(m).__name__}-{m.target.info.kind}-{m.target.info.horizon}" for m in ALL]


@pytest.mark.parametrize("model", ALL, ids=IDS)
def test_row_t_equals_the_last_row_of_until_t(model):
    model.fit(BARS.until(int(BARS.time[400])))
    whole = model.predict(BARS).mean
    assert whole.shape == BARS.shape
    assert np.isfinite(whole[60:]).all()
    for t in (60, 399, 400, 401, 698, 699):
        part = model.predict(BARS.until(int(BARS.time[t])))
        np.testing.assert_array_equal(part.mean[-1], whole[t])
        start = int(BARS.time[max(0, t - 3)])
        np.testing.assert_array_equal(model.predict(BARS.until(int(BARS.time[t])), start=start).mean, part.mean[-4:])


@pytest.mark.parametrize("model", ALL, ids=IDS)
def test_a_forecaster_keeps_the_protocol(model):
    assert isinstance(model, Forecaster)
    assert model.fit(BARS) is model
    forecast = model.predict(BARS, start=int(BARS.time[650]))
    assert len(forecast) == 50
    assert forecast.target == model.target.info
    assert forecast.symbols == BARS.symbols
    import json

    json.dumps(model.to_dict(), allow_nan=False)


def test_persistence_repeats_the_last_close_and_predicts_no_return():
    np.testing.assert_array_equal(Persistence(forward_close(1)).predict(BARS).mean, BARS.adjusted("close"))
    assert (Persistence(forward_log_return(1)).predict(BARS).mean == 0).all()


def test_means_are_taken_over_the_training_rows():
    target = forward_log_return(1)
    start = int(BARS.time[100])
    model = HistoricalMean(target).fit(BARS.until(int(BARS.time[400])), start=start)
    moves = np.diff(np.log(BARS["close"]), axis=0)[100:400]
    np.testing.assert_allclose(model.predict(BARS).mean[-1], moves.mean(axis=0), rtol=1e-12)
    drift = Drift(forward_close(1)).fit(BARS.until(int(BARS.time[400])), start=start)
    np.testing.assert_allclose(drift.predict(BARS).mean[-1], BARS["close"][-1] * np.exp(moves).mean(axis=0), rtol=1e-12)


def test_known_outcomes_are_those_whose_labels_have_ended():
    target = forward_log_return(3)
    values, known = target.compute(BARS), known_outcomes(target, BARS, 4)
    for t in (0, 2, 3, 10, 699):
        for k in range(4):
            at = t - 3 - k
            expected = values[at] if at >= 0 else np.full(3, np.nan)
            np.testing.assert_array_equal(known[t, :, k], expected)


@pytest.mark.parametrize("target", [forward_direction(up=0.004, down=0.006), forward_direction(3, up=0.01)])
def test_days_that_were_neither_up_nor_down_leave_no_hole_in_the_autoregression(target):
    values, known = target.compute(BARS), known_outcomes(target, BARS, 1)[..., 0]
    h = target.info.horizon
    assert np.isnan(values[:-h]).mean() > 0.2
    np.testing.assert_array_equal(known[h:], np.where(np.isnan(values[:-h]), 0.5, values[:-h]))
    model = AutoRegression(target).fit(BARS.until(int(BARS.time[400])))
    assert np.isfinite(model.predict(BARS).mean[model.warmup :]).all()
    gap = Bars.from_arrays(
        BARS.time, BARS.symbols, {"close": np.where(np.arange(700)[:, None] == 500, np.nan, BARS["close"])}
    )
    assert np.isnan(known_outcomes(target, gap, 1)[500]).all()  # a missing bar is not an unchanged one


def test_ridge_without_penalty_is_least_squares():
    target = forward_log_return(1)
    model = Ridge(FEATURES, target, lookback=1, penalties=(0.0,)).fit(BARS)
    x = model.program_.compute(BARS)
    y = target.compute(BARS)
    keep = np.isfinite(x).all(axis=-1) & np.isfinite(y)
    design = np.column_stack([np.ones(keep.sum()), x[keep]])
    solution = np.linalg.lstsq(design, y[keep], rcond=None)[0]
    expected = solution[0] + x @ solution[1:]
    np.testing.assert_allclose(model.predict(BARS).mean[30:], expected[30:], rtol=1e-6, atol=1e-12)


def test_ridge_agrees_with_scikit_learn():
    linear_model = pytest.importorskip("sklearn.linear_model")
    target = forward_log_return(1)
    model = Ridge(FEATURES, target, lookback=1, penalties=(37.0,)).fit(BARS)
    x, y = model.program_.compute(BARS), target.compute(BARS)
    keep = np.isfinite(x).all(axis=-1) & np.isfinite(y)
    scaled = (x - x[keep].mean(axis=0)) / x[keep].std(axis=0)
    reference = linear_model.Ridge(alpha=37.0).fit(scaled[keep], y[keep])
    np.testing.assert_allclose(model.predict(BARS).mean[keep], reference.predict(scaled[keep]), rtol=1e-8, atol=1e-14)


def test_ridge_finds_a_planted_signal_and_shrinks_noise():
    signal = synthetic.planted_signal(1500, 1, seed=1)
    target = forward_log_return(1)
    volume = np.log(signal["volume"])
    informed = Ridge([field("volume").log(), log_return()], target).fit(signal.until(int(signal.time[1000])))
    told = informed.predict(signal).mean[1000:-1, 0]
    moves = target.compute(signal)[1000:-1, 0]
    assert np.corrcoef(told, moves)[0, 1] > 0.65
    assert np.corrcoef(told, volume[1000:-1, 0])[0, 1] > 0.95
    walk = synthetic.random_walk(1500, 1, seed=1)
    lost = Ridge(FEATURES, target).fit(walk)
    assert np.nanstd(lost.predict(walk).mean) < 0.3 * np.nanstd(target.compute(walk))


def test_ridge_chooses_its_penalty_without_seeing_the_outcomes_it_is_tested_on():
    target = forward_log_return(5)
    model = Ridge(FEATURES, target).fit(BARS)
    again = Ridge(FEATURES, target).fit(BARS)
    assert model.penalty_ == again.penalty_
    np.testing.assert_array_equal(model.linear_.weights, again.linear_.weights)


def test_a_constant_feature_gets_no_weight():
    target = forward_log_return(1)
    model = Ridge([log_return(), log_return() * 0.0 + 3.0], target, lookback=1).fit(BARS)
    assert model.linear_.weights[1] == 0.0
    assert np.isfinite(model.predict(BARS).mean[5:]).all()


def test_volatility_is_never_negative():
    target = forward_volatility(1)
    model = AutoRegression(target).fit(BARS)
    assert np.nanmin(model.predict(BARS).mean) >= 0.0


def test_bad_use_is_told_what_to_do():
    with pytest.raises(InputError, match="Use Drift"):
        HistoricalMean(forward_close(1))
    with pytest.raises(InputError, match="Use HistoricalMean"):
        Drift(forward_volatility(5))
    with pytest.raises(InputError, match="lookback must be a whole number of at least 1, was 0"):
        Ridge(FEATURES, forward_close(1), lookback=0)
    with pytest.raises(InputError, match="penalties must be finite"):
        Ridge(FEATURES, forward_close(1), penalties=(-1.0,))
    with pytest.raises(InputError, match="spans are whole numbers"):
        AutoRegression(forward_close(1), spans=(0,))
    with pytest.raises(NotFitted, match=r"Call fit\(bars\) first"):
        Ridge(FEATURES, forward_close(1)).predict(BARS)
    with pytest.raises(NotFitted, match=r"Call fit\(bars\) first"):
        Drift(forward_close(1)).predict(BARS)
    with pytest.raises(NotEnoughData, match="AutoRegression has 4 numbers to learn"):
        AutoRegression(forward_log_return(1)).fit(BARS.until(int(BARS.time[20])))
    with pytest.raises(NotEnoughData, match="Ridge needs at least 10 decision rows"):
        Ridge(FEATURES, forward_log_return(1)).fit(BARS.until(int(BARS.time[15])))
    fitted = Drift(forward_close(1)).fit(BARS)
    with pytest.raises(InputError, match="has never seen"):
        fitted.predict(synthetic.random_walk(50, "OTHER"))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Persistence(forward_return()),
        lambda: HistoricalMean(forward_return()),
        lambda: Drift(forward_close()),
        lambda: AutoRegression(forward_volatility(5), spans=(1, 3)),
        lambda: Ridge([log_return(), field("close") * 0.0], forward_return()),
    ],
)
def test_saved_and_loaded_it_says_the_same(make, tmp_path):
    bars = synthetic.random_walk(300, ("A", "B"), seed=5)
    model = make()
    if model.LEARNS:
        with pytest.raises(NotFitted):
            model.save(tmp_path / "m")
    model.fit(bars).save(tmp_path / "m")
    again = type(model).load(tmp_path / "m")
    assert again.to_dict() == model.to_dict()
    assert again.predict(bars).digest == model.predict(bars).digest
    other = Drift if isinstance(model, Persistence) else Persistence
    with pytest.raises(ArtifactError, match=f"holds a {type(model).__name__}, not a {other.__name__}"):
        other.load(tmp_path / "m")


ACTIONS = {"split": np.ones(BARS.shape), "dividend": np.zeros(BARS.shape)}
ACTIONS["split"][[200, 420, 433], [0, 1, 1]] = 2.0, 3.0, 0.5
ACTIONS["dividend"][[100, 433, 440], [0, 1, 2]] = 0.7, 0.4, 1.1
GAPPY = Bars.from_arrays(
    BARS.time,
    BARS.symbols,
    {name: np.where(np.arange(700)[:, None] == [431, 440, 600], np.nan, BARS[name]) for name in BARS.fields},
    **ACTIONS,
    calendar=BARS.calendar,
    bar_size=BARS.bar_size,
)


@pytest.mark.parametrize("model", ALL, ids=IDS)
def test_a_stream_says_what_predict_says_through_splits_dividends_and_gaps(model):
    model.fit(GAPPY.until(int(GAPPY.time[400])))
    whole = model.predict(GAPPY).mean
    stream = model.stream(GAPPY.until(int(GAPPY.time[417])))
    for t in range(418, 480):
        assert stream.step(GAPPY.row(t)).tobytes() == whole[t].tobytes(), t
        stream.settle()


def test_a_stream_of_recursive_features_begins_where_its_history_did():
    model = Ridge([rsi(14), log_return()], forward_close(), lookback=2).fit(BARS)
    whole = model.predict(BARS).mean
    stream = model.stream(BARS.until(int(BARS.time[600])))
    for t in range(601, 640):
        assert stream.step(BARS.row(t)).tobytes() == whole[t].tobytes()


def test_a_stream_refuses_rows_out_of_order_and_models_that_learned_nothing():
    with pytest.raises(NotFitted):
        AutoRegression(forward_return()).stream(BARS)
    stream = AutoRegression(forward_return()).fit(BARS).stream(BARS)
    with pytest.raises(TimeError, match="in order"):
        stream.step(BARS.row(699))


def test_a_stream_of_one_bar_of_history_grows_into_its_window():
    model = AutoRegression(forward_return()).fit(BARS)
    stream, whole = model.stream(BARS.until(int(BARS.time[0]))), model.predict(BARS).mean
    for t in range(1, 40):
        assert stream.step(BARS.row(t)).tobytes() == whole[t].tobytes()


@pytest.mark.full
def test_har_is_that_of_the_arch_package():
    """arch's HARX regresses a series on its means over the last 1, 5 and 22 values; so do we for the next bar."""
    HARX = pytest.importorskip("arch.univariate").HARX
    bars = synthetic.garch(600, seed=2)
    target = forward_volatility(1)
    model = HAR(target).fit(bars)
    series = target.compute(bars)[:-1, 0]
    theirs = HARX(series, lags=[1, 5, 22], rescale=False).fit(disp="off").params.to_numpy()[:4]
    last = np.array([1.0, series[-1], series[-5:].mean(), series[-22:].mean()])
    assert model.predict(bars).mean[-1, 0] == pytest.approx(last @ theirs, rel=1e-9)


def test_har_over_several_bars_reads_the_volatility_of_single_bars():
    """Regressed by numpy: next week's volatility on the means of |log return| over 1, 5 and 22 days known by then."""
    bars = synthetic.garch(500, seed=3)
    target = forward_volatility(5)
    model = HAR(target).fit(bars.until(bars.time[399]))
    daily = np.abs(np.diff(np.log(np.asarray(bars.adjusted("close"))[:, 0]), prepend=np.nan))
    inputs = np.array([[1, *(daily[t - s + 1 : t + 1].mean() for s in (1, 5, 22))] for t in range(22, 500)])
    outcome = target.compute(bars)[22:, 0]
    learned = np.linalg.lstsq(inputs[: 400 - 22 - 5], outcome[: 400 - 22 - 5], rcond=None)[0]
    np.testing.assert_allclose(model.predict(bars).mean[22:, 0], np.maximum(inputs @ learned, 0), rtol=1e-9)
    assert np.isnan(model.predict(bars).mean[:22]).all()


def test_har_of_the_next_bar_is_the_autoregression():
    bars, target = synthetic.garch(400, seed=1), forward_volatility(1)
    ours, theirs = HAR(target).fit(bars), AutoRegression(target).fit(bars)
    np.testing.assert_array_equal(ours.predict(bars).mean, theirs.predict(bars).mean)


def test_har_forecasts_volatility_only():
    with pytest.raises(InputError, match="HAR forecasts volatility, not return over the next bar"):
        HAR(forward_return())


def test_weights_that_are_not_finite_are_not_loaded(tmp_path):
    model = AutoRegression(forward_return()).fit(BARS)
    model.linear_ = replace(model.linear_, weights=np.full(3, np.nan))
    model.save(tmp_path / "x")
    with pytest.raises(ArtifactError, match="not finite"):
        AutoRegression.load(tmp_path / "x")
