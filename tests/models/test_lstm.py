import os
import subprocess
import sys

import numpy as np
import pytest

import longshort as ls
from longshort import ledger
from longshort.data import synthetic
from longshort.errors import DataError, DataWarning, InputError, NotEnoughData, NotFitted, TrainingError, UnknownName
from longshort.features import field, forward_close, forward_log_return, forward_return, log_return, volume_ratio
from longshort.models import paths
from longshort.models.lstm import LSTM
from longshort.models.presets import keras_tutorial, lstm_64_64_32_1


def small(**changes):
    params = {"lookback": 10, "hidden": (8,), "epochs": 4, "patience": 2, "seed": 3} | changes
    return LSTM([log_return(), log_return().rolling_std(5)], **params)


def weights_of(model):
    return b"".join(a.tobytes() for group in model.nets_ for net in group for a in net.weights.values())


@pytest.fixture(scope="module")
def walk():
    return synthetic.random_walk(400, ("A", "B"), seed=1)


def perturbed(bars, row, how):
    """The same bars up to `row`, something else after it."""
    fields = {name: np.array(bars[name]) for name in bars.fields}
    for values in fields.values():
        if how == "scale":
            values[row:] *= 3.0
        else:
            values[row:] = values[row:][::-1]
    return ls.Bars.from_arrays(bars.time, bars.symbols, fields, calendar=bars.calendar, bar_size=bars.bar_size)


# -- what it learns --------------------------------------------------------------------------------------------------


def test_default_settings_find_a_planted_next_bar_signal():
    bars = synthetic.planted_signal(3000, ceiling_correlation=0.70, seed=5)
    model = LSTM([log_return(), field("volume").log()], seed=0).fit(bars.until(int(bars.time[2199])))
    said = model.predict(bars, start=int(bars.time[2200])).mean[:, 0]
    actual = forward_log_return(1).compute(bars)[2200:, 0]
    known = np.isfinite(actual)
    assert np.corrcoef(said[known], actual[known])[0, 1] >= 0.60


def test_fit_sees_nothing_after_its_last_bar_and_predict_nothing_after_its_row(walk):
    model = small().fit(walk.until(int(walk.time[299])))
    said = model.predict(walk).mean
    for how in ("scale", "reverse"):
        other = perturbed(walk, 350, how)
        assert weights_of(small().fit(other.until(int(walk.time[299])))) == weights_of(model)
        assert model.predict(other).mean[:350].tobytes() == said[:350].tobytes()


def test_validation_rows_never_touch_the_weights(walk):
    def paths(bars):
        fitting = small(refit=False, patience=None, epochs=5).fitting(bars)
        first = fitting.windows.rows[fitting.is_validation].min()
        seen = []
        while not fitting.step():
            engine = fitting.search[0][0].training.engine
            seen.append(b"".join(a.tobytes() for a in engine.weights().values()))
        return int(first), seen

    first, before = paths(walk)
    for how in ("scale", "reverse"):
        assert paths(perturbed(walk, first, how)) == (first, before)


def test_predict_row_equals_the_last_row_of_predict_until_it(walk):
    model = small(seeds=2).fit(walk.until(int(walk.time[299])))
    said = model.predict(walk).mean
    for row in (15, 200, 300, 399):
        alone = model.predict(walk.until(int(walk.time[row]))).mean
        assert alone[-1].tobytes() == said[row].tobytes()


def test_stream_says_what_predict_says(walk):
    model = small(seeds=2).fit(walk.until(int(walk.time[299])))
    stream = model.stream(walk.until(int(walk.time[349])))
    live = np.array([stream.step(walk.row(i)) for i in range(350, 400)])
    assert live.tobytes() == model.predict(walk).mean[350:].tobytes()


def test_start_is_the_first_decision_row_and_earlier_bars_warm_up(walk):
    start = int(walk.time[200])
    fitting = small().fitting(walk, start=start)
    assert fitting.windows.rows.min() == 200
    said = small().fit(walk).predict(walk, start=start)
    assert said.time[0] == start
    assert np.isfinite(said.mean).all()


# -- determinism, keeping --------------------------------------------------------------------------------------------


def test_same_seed_gives_the_same_bytes_in_a_fresh_process():
    code = (
        "import hashlib, longshort as ls\n"
        "from longshort.data import synthetic\n"
        "from longshort.features import log_return\n"
        "m = ls.LSTM([log_return()], lookback=8, hidden=(6, 5), dropout=0.3, epochs=3, seeds=2)\n"
        "m.fit(synthetic.random_walk(200, ('A',), seed=1))\n"
        "weights = b''.join(a.tobytes() for g in m.nets_ for n in g for a in n.weights.values())\n"
        "print(hashlib.sha256(weights).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("0", "7")
    }
    assert len(digests) == 1


def test_fitting_twice_or_in_steps_gives_the_same_bytes(walk):
    model = small(seeds=2, dropout=0.2)
    fitting = model.fitting(walk)
    while not fitting.step():
        pass
    first = weights_of(model.fit(walk))
    assert weights_of(model.fit(walk)) == first
    assert weights_of(fitting.result) == first


def test_seeds_share_only_the_number_of_epochs(walk):
    both = small(seeds=2, refit=False).fit(walk)
    solo = small(seed=4, refit=False).fit(walk)
    alone, second = solo.nets_[0][0].weights, both.nets_[0][1].weights
    assert all(alone[name].tobytes() == second[name].tobytes() for name in alone)
    said = both.predict_seeds(walk)
    assert said.shape == (2, 400, 2)
    np.testing.assert_array_equal(both.predict(walk).mean, said.mean(axis=0))


def test_saved_and_loaded_model_forecasts_the_same_bits(walk, tmp_path):
    for name, model in {
        "pooled": small(seeds=2).fit(walk),
        "per symbol": small(per_symbol=True).fit(walk),
        "closes": keras_tutorial(lookback=5, hidden=(4,), epochs=2, dropout=0.0).fit(walk),
    }.items():
        model.save(tmp_path / name)
        loaded = LSTM.load(tmp_path / name)
        assert loaded.predict(walk).mean.tobytes() == model.predict(walk).mean.tobytes()
        assert loaded.history_.val_loss == model.history_.val_loss
        assert loaded.to_dict() == model.to_dict()
        if name == "closes":
            a, b = loaded.predict(walk, steps=3), model.predict(walk, steps=3)
            assert a.digest == b.digest


def test_refit_takes_as_many_optimiser_steps_as_the_median_seed_wanted(walk):
    fitting = small(seeds=3, epochs=8).fitting(walk)
    while not fitting.step():
        pass
    wanted = np.median([m.training.history.best_epoch for m in fitting.search[0]])
    batches = -(-fitting.is_train.sum() // 32)
    epochs = max(1, round(wanted * batches / -(-len(fitting.windows) // 32)))
    assert [len(m.training.history.train_loss) for m in fitting.final[0]] == [epochs] * 3
    assert fitting.result.history_.refit_loss


def test_history_is_the_sample_weighted_loss(walk):
    """With a step size of zero nothing moves, so the losses of the run are those of a direct evaluation."""
    fitting = small(lr=0.0, refit=False, patience=None, epochs=2, batch_size=32).fitting(walk)
    while not fitting.step():
        pass
    model, (member,) = fitting.result, fitting.search[0]
    for samples, losses in (
        (member.training.train, model.history_.train_loss),
        (member.training.validation, model.history_.val_loss),
    ):
        said = member.training.engine.predict(samples.starts)
        direct = float(np.mean((said - samples.targets) ** 2))
        assert losses == pytest.approx([direct, direct], rel=1e-6)


# -- shapes ----------------------------------------------------------------------------------------------------------


def test_summary_counts_the_parameters_of_the_two_tutorial_networks():
    assert sum(layer["parameters"] for layer in keras_tutorial().layers()) == 30_651
    assert sum(layer["parameters"] for layer in lstm_64_64_32_1().layers()) == 52_033
    assert "30,651" in keras_tutorial().summary()
    assert "52,033" in lstm_64_64_32_1().summary()


def test_per_symbol_nets_are_the_solo_fits(walk):
    both = small(per_symbol=True).fit(walk)
    solo = small().fit(walk.select(["B"]))
    assert both.predict(walk).mean[:, 1].tobytes() == solo.predict(walk.select(["B"])).mean[:, 0].tobytes()


def test_huber_loss_deep_heads_and_clipping_train(walk):
    model = small(loss="huber", head=(5, 3), hidden=(7, 3), dropout=(0.1, 0.0), clip=0.5, weight_decay=1e-3).fit(walk)
    assert np.isfinite(model.predict(walk).mean[50:]).all()


def test_fp64_follows_fp32(walk):
    one, two = small(epochs=1, refit=False).fit(walk), small(epochs=1, refit=False, precision="fp64").fit(walk)
    np.testing.assert_allclose(one.predict(walk).mean, two.predict(walk).mean, rtol=1e-3, atol=1e-6)


# -- the next sessions -----------------------------------------------------------------------------------------------


def test_next_sessions_come_with_dates_prices_and_an_interval():
    bars = ls.load_bars("AAPL", start="2015-01-01", end="2016-12-30", source="sample")
    model = keras_tutorial(lookback=20, hidden=(8,), epochs=5).fit(bars)
    path = model.predict(bars, steps=5)
    dates = path.for_time.astype("datetime64[ns]").astype("datetime64[D]").astype(str).tolist()
    assert dates == ["2017-01-03", "2017-01-04", "2017-01-05", "2017-01-06", "2017-01-09"]
    assert (path.quantiles[0.05] < path.quantiles[0.95]).all()
    assert (np.abs(np.log(path.mean[:, 0] / bars["close"][-1, 0])) < 0.3).all()  # raw dollars, after dividends
    np.testing.assert_array_equal(path.mean[0], model.predict(bars).mean[-1] / bars.factor[-1])


def test_interval_covers_the_closes_of_random_walks():
    hits = []
    for seed in range(24):
        bars = synthetic.random_walk(500, ("A",), seed=seed)
        seen = bars.until(int(bars.time[-6]))
        model = LSTM([log_return()], lookback=5, hidden=(4,), epochs=3, patience=2).fit(seen)
        path = model.predict(seen, steps=5)
        actual = bars["close"][-5:, 0]
        hits += ((path.quantiles[0.05][:, 0] <= actual) & (actual <= path.quantiles[0.95][:, 0])).tolist()
    assert 0.80 <= np.mean(hits) <= 0.98  # nominal 0.90; 24 paths of 5 dependent steps


def test_path_needs_features_that_read_only_closes(walk):
    with pytest.raises(InputError, match="volume"):
        LSTM([volume_ratio(5)], target=forward_close(1), lookback=5, hidden=(4,), epochs=1).fit(walk).predict(
            walk, steps=5
        )
    with pytest.raises(InputError, match="its features read B"):
        LSTM([field("close", symbol="B") / field("close")], lookback=5, hidden=(4,), epochs=1).fit(walk).predict(
            walk, steps=5
        )
    with pytest.raises(InputError, match="steps must be a whole number"):
        small().fit(walk).predict(walk, steps=0)


# -- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"lookback": 0}, "lookback must be a whole number"),
        ({"hidden": ()}, "at least one LSTM layer"),
        ({"hidden": 50}, "hidden must be a sequence"),
        ({"dropout": 1.0}, "dropout must lie in"),
        ({"dropout": (0.1, 0.2, 0.3)}, "one per LSTM layer"),
        ({"loss": "hubre"}, "loss was 'hubre'. Did you mean 'huber'"),
        ({"loss": "cross_entropy"}, "learns classes, and a log_return has none"),
        ({"loss": "sharpe", "validation": 0}, "validation must be above 0"),
        ({"network": "gru", "engine": "native"}, "engine='native' cannot train this model"),
        ({"loss": "gaussian", "target": [forward_return(1), forward_return(5)]}, "one target at a time"),
        ({"target": [forward_return(5), forward_return(1)]}, "increasing horizons"),
        ({"scaler": "min-max"}, "Did you mean 'minmax'"),
        ({"epochs": 0}, "epochs must be a whole number"),
        ({"validation": 1.0}, "validation must be a share"),
        ({"lr": float("nan")}, "lr must be a finite number"),
        ({"seed": -1}, "seed must be"),
        ({"context": "carried"}, "Did you mean 'carry'"),
    ],
)
def test_wrong_arguments_are_refused_in_one_sentence(params, message):
    with pytest.raises(InputError, match=message):
        LSTM([log_return()], **params)


def test_unknown_parameter_suggests_the_nearest():
    with pytest.raises(UnknownName, match="Did you mean 'lookback'"):
        small().set_params(loockback=3)


def test_too_few_bars_are_counted(walk):
    with pytest.raises(NotEnoughData, match=r"lookback 10 \+ warm-up \d+ \+ horizon 1.*bars has 9"):
        small().fit(walk.until(int(walk.time[8])))


def test_horizon_beyond_the_data_is_refused(walk):
    with pytest.raises(DataError):
        small(target=forward_log_return(500)).fit(walk)


def test_constant_prices_are_refused_and_nothing_is_saved(walk, tmp_path):
    fields = {name: np.full((100, 1), 5.0) for name in ("open", "high", "low", "close", "volume")}
    flat = ls.Bars.from_arrays(walk.time[:100], ("A",), fields)
    model = small()
    with pytest.raises(DataError, match="constant"):
        model.fit(flat)
    with pytest.raises(NotFitted, match="Call fit"):
        model.save(tmp_path / "never")
    assert not (tmp_path / "never").exists()


def test_a_missing_flag_nobody_raised_is_no_constant_column(walk):
    filled = field("volume").log().ffill(3)
    model = LSTM([log_return(), filled, field("volume").missing()], lookback=5, hidden=(4,), epochs=1).fit(walk)
    (net,) = model.nets_[0]
    assert (net.inputs.center[2], net.inputs.scale[2]) == (0.0, 1.0)
    assert np.isfinite(model.predict(walk).mean[-1]).all()


def test_absurd_step_size_stops_with_a_clear_error(walk):
    with pytest.raises(TrainingError, match="(?i)lower lr"):
        small(lr=1e38, epochs=50).fit(walk)


def test_unseen_symbol_is_refused_by_name(walk):
    model = small().fit(walk.select(["A"]))
    with pytest.raises(UnknownName, match="has never seen B"):
        model.predict(walk)


def test_predict_before_fit_says_so(walk):
    with pytest.raises(NotFitted, match="Call fit"):
        small().predict(walk)


def test_what_are_no_bars_or_no_target_is_refused_with_the_way_to_them(walk):
    frame = walk.to_pandas("A")
    fitted, target = small(epochs=1).fit(walk), forward_close()
    calls = (small().fit, fitted.predict, fitted.stream, log_return().compute, target.compute)
    for call in (*calls, target.label_end, target.naive):
        with pytest.raises(InputError, match=r"needs Bars; it was DataFrame. Make them with Bars.from_pandas"):
            call(frame)
    with pytest.raises(InputError, match=r"needs Bars; it was DataFrame"):
        walk.append(frame)
    with pytest.raises(InputError, match=r"needs Bars; it was ndarray. See Bars.from_arrays"):
        small().fit(np.ones((5, 3)))
    for target in ("close", log_return(), forward_close):
        with pytest.raises(InputError, match=r"Write target=forward_return\(5\)"):
            small(target=target)


def test_a_start_after_the_data_is_said_to_be_so(walk):
    with pytest.raises(NotEnoughData, match="no bar is at or after start"):
        small().fit(walk, start="2090-01-01")


@pytest.mark.parametrize("name", ["history_", "histories_", "symbols_", "dropped_", "trained_", "nets_"])
def test_what_learning_gives_is_asked_for_too_early(walk, name):
    model = small()
    with pytest.raises(NotFitted, match=f"no {name} yet: it comes from learning"):
        getattr(model, name)
    assert not hasattr(model, name)
    assert hasattr(model.fit(walk), name)
    with pytest.raises(AttributeError, match="no attribute 'histroy_'"):
        _ = model.histroy_


def test_every_fit_in_a_project_is_recorded_and_none_is_a_trial(walk, tmp_path):
    small().fit(walk)
    with ledger.project(tmp_path) as book:
        model = small(seed=1).fit(walk)
        small(seed=1, lookback=7).fit(walk.until(int(walk.time[-2])))
        facts = [record.facts for record in book.records("fit")]
        assert [one["configuration"]["lookback"] for one in facts] == [model.lookback, 7]
        assert facts[0]["bars"] == walk.digest != facts[1]["bars"]
        assert book.trials() == 0
        ls.walk_forward(small(), walk, ls.WalkForward("1Y", "6M"), baselines=[], seeds=1)
        assert (len(book.records("fit")), book.trials()) == (2, 1)  # the fits of a study are parts of it


@pytest.mark.filterwarnings("error")
def test_a_feature_missing_though_its_bars_are_there_is_told(walk):
    def with_hole(*rows):
        series = np.arange(1.0, len(walk) + 1)
        series[list(rows)] = np.nan
        both = np.stack([series, series], axis=1)
        fields = {"close": walk["close"], "extra": both}
        return ls.Bars.from_arrays(walk.time, walk.symbols, fields, bar_size=walk.bar_size)

    model = LSTM([log_return(), field("extra")], lookback=10, hidden=(4,), epochs=1).fit(with_hole())
    bars = with_hole(-5)
    for start in (None, int(bars.time[-5]), int(bars.time[-2])):  # the windows of the last two reach back to the hole
        with pytest.warns(DataWarning, match=f"have no forecast. Feature 'extra' .* on {bars.dates[-5]}"):
            assert np.isnan(model.predict(bars, start=start).mean[-2:]).all()
    assert np.isfinite(model.predict(with_hole(50), start=int(bars.time[300])).mean).all()


def test_an_interval_contains_its_forecast_when_all_errors_have_one_sign():
    errors, path = np.log(np.linspace(0.90, 0.97, 99)), np.full((2, 1), 100.0)
    for sign in (1, -1):
        both = paths._interval(path, [np.stack([sign * errors, sign * errors])])
        assert both is not None
        edge = 100.0 * np.exp(sign * errors[4])  # the fifth of 99: the conformal rank
        beside, own = (both[0.05], both[0.95]) if sign == 1 else (both[0.95], both[0.05])
        np.testing.assert_allclose(beside, edge, rtol=1e-12)
        np.testing.assert_array_equal(own, path)
