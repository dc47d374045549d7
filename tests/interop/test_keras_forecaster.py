"""Any compiled Keras model as a forecaster: fresh for every fit, reproducible, causal, kept without code."""

import json
import random
import shutil
import sys
import warnings

import numpy as np
import pytest

import longshort as ls
from longshort import artifact
from longshort.errors import ArtifactError, InputError, NotFitted, UnknownName
from longshort.features.windows import Scaling
from longshort.interop.keras import KerasForecaster

pytestmark = [
    pytest.mark.full,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # Keras 3.15 on NumPy 2
]
FEATURES = [ls.features.log_return(), ls.features.volatility(5)]


@pytest.fixture(scope="module")
def bars():
    return ls.load_bars("AAPL", start="2016-01-01", end="2016-12-31", source="sample")


def compiled(keras, lookback=5, n_features=2, n_outputs=1, dropout=0.2):
    layers = keras.layers
    inputs = keras.Input((lookback, n_features))
    hidden = layers.Dropout(dropout)(layers.GRU(4)(inputs))
    net = keras.Model(inputs, layers.Dense(n_outputs)(hidden))
    net.compile(keras.optimizers.Adam(0.01), "mse")
    return net


@pytest.fixture(scope="module")
def forecaster(keras):
    return KerasForecaster(compiled(keras), FEATURES, lookback=5, epochs=2, batch_size=64)


@pytest.fixture(scope="module")
def fitted(forecaster, bars):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pytest's filters do not reach fixtures
        return forecaster.with_params(seeds=2).fit(bars)


def test_the_model_given_is_a_pattern_and_stays_as_it_was(forecaster, fitted):
    given = forecaster.model
    assert fitted.model is given
    assert not any(trained is given for trained in fitted.models_)
    assert int(given.optimizer.iterations) == 0
    assert (fitted.history_.keys(), len(fitted.histories_)) == (["loss", "train_loss", "val_loss"], 2)
    assert len(fitted.history_["loss"]) == len(fitted.history_["val_loss"]) == 2
    with pytest.raises(NotFitted, match="Call fit"):
        forecaster.predict(None or ls.load_bars("AAPL", start="2016-01-01", end="2016-02-28", source="sample"))


def test_the_same_seed_gives_the_same_bits_and_nobody_elses_random_numbers_move(fitted, forecaster, bars):
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002 - the state Keras would disturb
    again = forecaster.with_params(seeds=2).fit(bars)
    drawn = random.random(), np.random.random()  # noqa: NPY002
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    assert drawn == (random.random(), np.random.random())  # noqa: NPY002
    first, second = fitted.predict_seeds(bars), again.predict_seeds(bars)
    assert np.array_equal(first, second, equal_nan=True)
    assert not np.array_equal(first[0], first[1], equal_nan=True)


def test_a_fit_in_a_project_is_recorded(forecaster, bars, tmp_path):
    with ls.project(tmp_path) as ledger:
        forecaster.with_params(epochs=1).fit(bars)
        assert [record.facts["what"] for record in ledger.records("fit")] == ["KerasForecaster"]


def test_a_row_is_the_last_row_of_a_forecast_made_then(fitted, bars):
    whole = fitted.predict(bars)
    assert np.isfinite(whole.mean[10:]).all()
    assert np.isnan(whole.mean[0]).all()
    for row in (9, 31, 32, 33, 100, len(bars) - 1):
        then = fitted.predict(bars.until(bars.time[row]))
        assert then.mean[-1, 0] == whole.mean[row, 0]
        assert then.for_time[-1] == whole.for_time[row]
    assert np.array_equal(fitted.predict(bars, start=bars.time[77]).mean, whole.mean[77:])


def test_what_comes_after_changes_nothing_that_was_learned(forecaster, bars):
    """Validation and scaling are cut by date: other outcomes after the cut leave the training epochs their bits."""
    close = np.array(bars["close"])
    changed = close.copy()
    changed[-20:] *= 1.5
    other = ls.Bars.from_arrays(bars.time, bars.symbols, {"close": changed}, bar_size="1D", calendar="XNYS")
    plain = ls.Bars.from_arrays(bars.time, bars.symbols, {"close": close}, bar_size="1D", calendar="XNYS")
    one = forecaster.with_params(refit=False, patience=None)
    a, b = one.fit(plain), one.with_params().fit(other)
    assert a.history_.train_loss == b.history_.train_loss
    assert a.history_.val_loss != b.history_.val_loss
    assert np.array_equal(a.nets_[0][0].inputs.center, b.nets_[0][0].inputs.center)


def test_a_saved_forecaster_forecasts_the_same_bits(fitted, bars, tmp_path):
    fitted.save(tmp_path / "model")
    back = KerasForecaster.load(tmp_path / "model")
    assert np.array_equal(back.predict(bars).mean, fitted.predict(bars).mean, equal_nan=True)
    assert back.to_dict() == fitted.to_dict()
    back.save(tmp_path / "again")
    assert (tmp_path / "again/manifest.json").read_bytes() == (tmp_path / "model/manifest.json").read_bytes()
    assert back.fit(bars).history_.train_loss == fitted.history_.train_loss


def test_a_study_of_a_keras_model_ends_in_a_verdict(forecaster, bars):
    study = ls.walk_forward(forecaster, bars, ls.WalkForward("6M", "3M"), seeds=2, baselines=[])
    assert study.seeds.shape[0] == 2
    assert np.isfinite(study.forecast.mean).all()
    assert study.verdict().exit_code in (0, 3)
    alone = ls.walk_forward(forecaster, bars, ls.WalkForward("6M", "3M"), seeds=2, baselines=[], threads=1)
    assert study.forecast.digest == alone.forecast.digest


def test_a_function_that_builds_the_model_describes_the_same_forecaster(keras, forecaster, bars):
    built = KerasForecaster(lambda lookback, n: compiled(keras, lookback, n), FEATURES, lookback=5, epochs=2)
    built = built.with_params(batch_size=64)
    assert built.to_dict() == forecaster.to_dict()
    assert np.isfinite(built.fit(bars).predict(bars).mean[10:]).all()


def test_several_horizons_are_several_outputs(keras, bars):
    targets = [ls.features.forward_log_return(h) for h in (1, 5)]
    forecaster = KerasForecaster(compiled(keras, n_outputs=2), FEATURES, targets, lookback=5, epochs=1)
    forecast = forecaster.fit(bars).predict(bars)
    assert sorted(forecast.horizons) == [1, 5]
    assert np.array_equal(forecast.horizons[1], forecast.mean, equal_nan=True)


def test_models_that_do_not_fit_the_question_are_refused(keras, bars):
    def fit(model, **changes):
        return KerasForecaster(model, FEATURES, lookback=5, **changes).fit(bars)

    with pytest.raises(InputError, match=r"must map \(None, 5, 2\) to \(None, 1\), maps \(None, 6, 2\)"):
        fit(compiled(keras, lookback=6))
    with pytest.raises(InputError, match=r"maps \(None, 5, 2\) to \(None, 3\)"):
        fit(compiled(keras, n_outputs=3))
    with pytest.raises(InputError, match="must be compiled"):
        fit(keras.Sequential([keras.Input((5, 2)), keras.layers.LSTM(2), keras.layers.Dense(1)]))
    with pytest.raises(InputError, match="must give a built keras.Model, gave int"):
        fit(lambda lookback, n_features: 3)
    with pytest.raises(InputError, match="must be a compiled Keras model, or a function"):
        KerasForecaster("model.keras")
    with pytest.raises(UnknownName, match="Did you mean 'epochs'"):
        KerasForecaster(compiled(keras)).set_params(epoch=3)


def test_symbols_never_seen_are_refused(fitted):
    other = ls.load_bars("SPY", start="2016-01-01", end="2016-06-30", source="sample")
    with pytest.raises(UnknownName, match="has never seen SPY"):
        fitted.predict(other)


def doctored(directory, target, change):
    """Copy an artifact with its document changed, with hashes that fit."""
    found = artifact.load(directory, "keras-forecaster")
    document = json.loads(json.dumps(found.documents["model"]))
    change(document)
    artifact.save(target, "keras-forecaster", tensors=found.tensors, documents={"model": document})
    return target


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda net: net["layers"][1].update(module="canary_module"), "is code, and code is never loaded"),
        (lambda net: net["layers"][1].update(registered_name="canary_module>GRU"), "is code"),
        (lambda net: net["layers"][1].update(class_name="Lambda"), "is code"),
        (
            lambda net: net["layers"][1]["config"].update(
                activation={"class_name": "__lambda__", "module": "builtins", "config": {"value": "4wAAAA=="}}
            ),
            "is code",
        ),
        (
            lambda net: net["layers"][1]["config"].update(
                activation={"class_name": "function", "module": "os", "config": "system", "registered_name": "function"}
            ),
            "is code",
        ),
        (lambda net: net["layers"][1]["config"].update(units=7), "does not fit its own description"),
    ],
)
def test_code_in_a_directory_is_never_loaded(fitted, tmp_path, monkeypatch, change, match):
    (tmp_path / "canary_module.py").write_text("raise SystemExit('executed')\n")
    monkeypatch.syspath_prepend(tmp_path)
    fitted.save(tmp_path / "model")
    bad = doctored(tmp_path / "model", tmp_path / "bad", lambda d: change(d["model"]["model"]["network"]["config"]))
    with pytest.raises(ArtifactError, match=match):
        KerasForecaster.load(bad)
    assert "canary_module" not in sys.modules


def test_own_layers_are_kept_and_come_back_with_the_callers_code(keras, bars, tmp_path):
    class Twice(keras.layers.Layer):
        def call(self, x):
            return 2 * x

    def build(lookback, n_features):
        net = keras.Sequential([keras.Input((lookback, n_features)), keras.layers.Flatten(), Twice()])
        net.add(keras.layers.Dense(1))
        net.compile("adam", keras.losses.Huber())
        return net

    model = KerasForecaster(build, FEATURES, lookback=5, epochs=1).fit(bars)
    model.save(tmp_path / "model")
    with pytest.raises(ArtifactError, match="'Twice' of .* is code"):
        KerasForecaster.load(tmp_path / "model")
    back = KerasForecaster.load(tmp_path / "model", model=build)
    assert np.array_equal(back.predict(bars).mean, model.predict(bars).mean, equal_nan=True)


def test_a_damaged_directory_is_refused(fitted, tmp_path):
    fitted.save(tmp_path / "model")
    shutil.copytree(tmp_path / "model", tmp_path / "cut")
    weights = tmp_path / "cut" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    with pytest.raises(ArtifactError, match="weights.safetensors"):
        KerasForecaster.load(tmp_path / "cut")
    found = artifact.load(tmp_path / "model", "keras-forecaster")
    for name in ("net.0.0", "net.1.2"):
        tensors = {part: dict(arrays) for part, arrays in found.tensors.items()}
        del tensors["weights"][name]
        artifact.save(tmp_path / "less", "keras-forecaster", tensors=tensors, documents=found.documents)
        with pytest.raises(ArtifactError, match=name):
            KerasForecaster.load(tmp_path / "less")


def test_rows_and_scaling_are_those_of_the_lstm_estimator(forecaster, bars):
    shape = {"lookback": 5, "epochs": 1, "refit": False}
    lstm = ls.LSTM(FEATURES, hidden=(2,), **shape).fit(bars)
    model = forecaster.with_params(**shape).fit(bars)
    assert (model.dropped_, model.trained_) == (lstm.dropped_, lstm.trained_)
    for part in ("inputs", "output"):
        theirs, ours = getattr(model.nets_[0][0], part), getattr(lstm.nets_[0][0], part)
        assert isinstance(theirs, Scaling)
        assert np.array_equal(theirs.center, ours.center)
        assert np.array_equal(theirs.scale, ours.scale)
