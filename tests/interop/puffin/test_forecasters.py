"""puffin's forecasters: published shapes, and what is put right."""

import subprocess
import sys

import numpy as np
import pytest

from longshort.data import synthetic
from longshort.errors import (
    ArtifactError,
    DataError,
    InputError,
    NotEnoughData,
    NotFitted,
    PriceError,
    TimeError,
    TrainingError,
    UnknownName,
)
from longshort.interop.puffin import MultivariateLSTM, TradingGRU, TradingLSTM, set_seed

pd = pytest.importorskip("pandas")


@pytest.fixture(scope="module")
def walk():
    return synthetic.random_walk(300, seed=4)["close"][:, 0]


def planted(n, seed):
    """Returns and log volume, which carries the next return, as a frame with the next return as target."""
    bars = synthetic.planted_signal(n, ceiling_correlation=0.70, seed=seed)
    frame = pd.DataFrame({"log_volume": np.log(bars["volume"][:, 0])}, index=pd.DatetimeIndex(bars.to_pandas().index))
    frame["returns"] = np.append(np.nan, np.diff(np.log(bars["close"][:, 0])))
    frame["target"] = frame["returns"].shift(-1)
    return frame.iloc[1:]


def small(**changes):
    return TradingLSTM(**({"hidden_dim": 8, "seed": 3} | changes))


def bits(model):
    return b"".join(array.tobytes() for array in model._learned.net.weights.values())


# -- what it learns --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_planted_next_bar_signal_is_found(seed):
    frame = planted(2000, seed)
    lstm = MultivariateLSTM(seed=seed)
    lstm.fit(frame.iloc[:1500], target_col="target", lookback=20, epochs=30)
    rows = frame.iloc[1500 - 19 : -1]
    said, happened = lstm.predict(rows, every_row=True), rows["target"].to_numpy()[19:]
    assert np.corrcoef(said, happened)[0, 1] >= 0.60


def test_one_forecast_and_the_forecast_of_every_row_agree_to_the_bit():
    frame = planted(200, seed=1)
    lstm = MultivariateLSTM(seed=0)
    lstm.fit(frame, "target", lookback=10, epochs=2, hidden_dims=[8])
    every = lstm.predict(frame, every_row=True)
    assert every.shape == (len(frame) - 9,)
    for end in (10, 57, len(frame)):
        assert lstm.predict(frame.iloc[:end]).tobytes() == every[end - 10 : end - 9].tobytes()


def test_a_column_measured_on_its_own_row_is_moved_by_shift():
    frame = planted(400, seed=5)
    moved, plain = MultivariateLSTM(seed=0), MultivariateLSTM(seed=0)
    own_row = frame.assign(target=frame["target"].shift(1)).iloc[1:]
    args = {"lookback": 10, "epochs": 2, "hidden_dims": [6]}
    a = moved.fit(own_row, "target", shift=1, **args)
    b = plain.fit(frame.iloc[1:-1], "target", **args)
    assert a == b
    assert bits(moved) == bits(plain)


def test_a_target_known_later_keeps_its_last_rows_out_of_training():
    frame = planted(400, seed=5)
    far = frame.assign(target=frame["returns"].rolling(5).sum().shift(-5)).iloc[5:]
    last = np.flatnonzero(np.isfinite(far["target"]))[-1]
    n = last + 1 - 9
    first = 9 + int(n * 0.8)  # the first validation row
    other = far.copy()
    other.iloc[first - 5 : first, other.columns.get_loc("target")] += 1.0  # known only while validation runs
    args = {"lookback": 10, "epochs": 2, "hidden_dims": [6]}
    models = [MultivariateLSTM(seed=0) for _ in range(4)]
    models[0].fit(far, "target", horizon=5, **args)
    models[1].fit(other, "target", horizon=5, **args)
    assert bits(models[0]) == bits(models[1])
    models[2].fit(far, "target", **args)
    models[3].fit(other, "target", **args)
    assert bits(models[2]) != bits(models[3])


def test_validation_rows_touch_neither_scaling_nor_weights(walk):
    late = walk.copy()
    late[250:] *= 3.0
    one, other = small(), small()
    first, second = one.fit(walk, epochs=3), other.fit(late, epochs=3)
    assert bits(one) == bits(other)
    assert (one.mean, one.std) == (other.mean, other.std)
    assert one.predict(walk[:200], steps=3).tobytes() == other.predict(walk[:200], steps=3).tobytes()
    assert first["train_loss"] == second["train_loss"]
    assert first["val_loss"] != second["val_loss"]
    assert one.mean == pytest.approx(walk[:242].mean(), rel=0.02)


def test_the_validation_loss_weighs_every_window_the_same(walk):
    lstm = small()
    history = lstm.fit(walk, lookback=20, epochs=2, batch_size=31)
    X, y = lstm.prepare_sequences(walk, 20)
    held_out = slice(int(len(X) * 0.8), None)
    said = np.array([lstm.predict(window[:, 0])[0] for window in X[held_out]])
    assert history["val_loss"][-1] == pytest.approx(np.mean(((said - y[held_out]) / lstm.std) ** 2), rel=1e-4)


def test_the_next_steps_are_fed_with_the_ones_before(walk):
    lstm = small()
    lstm.fit(walk, lookback=10, epochs=2)
    path = lstm.predict(walk, steps=4)
    assert path.shape == (4,)
    assert lstm.predict(np.append(walk, path[:3])).tobytes() == path[3:].tobytes()


def test_a_short_pattern_is_learned():
    pattern = np.array([1, 2, 3, 4, 5] * 50)
    lstm = TradingLSTM(seed=0)
    history = lstm.fit(pattern, lookback=5, epochs=30, lr=0.01)
    assert history["train_loss"][-1] < 0.05 * history["train_loss"][0]
    np.testing.assert_allclose(lstm.predict(pattern, steps=5), [1, 2, 3, 4, 5], atol=0.3)


# -- published shapes ------------------------------------------------------------------------------------------------


def test_sequences_of_a_series_end_just_before_their_value():
    X, y = TradingLSTM().prepare_sequences(np.arange(1, 11), lookback=3)
    assert X.shape == (7, 3, 1)
    assert y.tolist() == [4, 5, 6, 7, 8, 9, 10]
    assert X[0, :, 0].tolist() == [1, 2, 3]
    assert X[-1, :, 0].tolist() == [7, 8, 9]


def test_sequences_of_a_frame_have_the_published_pairing():
    features, target = np.arange(300.0).reshape(100, 3), np.arange(100.0)
    X, y = MultivariateLSTM().prepare_sequences(features, target, lookback=10)
    assert X.shape == (90, 10, 3)
    assert y.tolist() == target[10:].tolist()
    np.testing.assert_array_equal(X[0], features[:10])
    np.testing.assert_array_equal(X[-1], features[89:99])


def test_all_epochs_run_and_history_has_the_published_keys(walk):
    lstm = small()
    history = lstm.fit(list(walk), lookback=10, epochs=4, lr=0.01, batch_size=16, validation_split=0.25)
    assert list(history) == ["train_loss", "val_loss"]
    assert [len(losses) for losses in history.values()] == [4, 4]
    assert all(isinstance(loss, float) for losses in history.values() for loss in losses)
    assert (lstm.lookback, lstm.history_) == (10, history)


def test_without_validation_there_is_no_validation_loss(walk):
    assert small().fit(walk, epochs=2, validation_split=0)["val_loss"] == []


def test_a_frame_forecaster_tells_what_it_learned():
    frame = planted(300, seed=2)
    lstm = MultivariateLSTM(seed=0)
    assert (lstm.model, lstm.means, lstm.target_std, lstm.lookback) == (None, None, None, None)
    lstm.fit(frame, "target", lookback=15, epochs=1, hidden_dims=[8])
    assert lstm.feature_cols == ["log_volume", "returns"]
    assert (lstm.target_col, lstm.lookback) == ("target", 15)
    assert lstm.means.shape == lstm.stds.shape == (2,)
    assert lstm.target_std == pytest.approx(frame["target"].std(), rel=0.1)


def test_other_columns_and_their_order_do_not_matter_to_a_forecast():
    frame = planted(300, seed=2)
    lstm = MultivariateLSTM(seed=0)
    lstm.fit(frame, "target", lookback=15, epochs=1, hidden_dims=[8])
    other = frame[["returns", "target", "log_volume"]].assign(note="x")
    assert lstm.predict(other).tobytes() == lstm.predict(frame).tobytes()


# -- seeds, keeping --------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_bytes_and_another_one_others(walk):
    models = [small(seed=seed) for seed in (3, 3, 4)]
    for model in models:
        model.fit(walk, epochs=2)
    assert bits(models[0]) == bits(models[1]) != bits(models[2])


def test_set_seed_is_the_seed_of_forecasters_made_without_one(walk):
    try:
        set_seed(9)
        without = TradingLSTM(hidden_dim=8)
        drawn = np.random.rand()  # noqa: NPY002  what set_seed seeds
        set_seed(9)
        assert np.random.rand() == drawn  # noqa: NPY002
    finally:
        set_seed(0)
    assert without.seed == 9
    assert TradingLSTM().seed == 0
    with pytest.raises(InputError, match="from 0 to"):
        set_seed(-1)


def test_a_saved_forecaster_says_the_same_to_the_bit(walk, tmp_path):
    lstm, frame = small(num_layers=1, dropout=0.0), planted(200, seed=1)
    lstm.fit(walk, epochs=2)
    lstm.save(tmp_path / "univariate")
    back = TradingLSTM.load(tmp_path / "univariate")
    assert back.predict(walk, steps=4).tobytes() == lstm.predict(walk, steps=4).tobytes()
    assert (back.hidden_dim, back.num_layers, back.seed, back.lookback) == (8, 1, 3, 20)
    assert back.history_ == lstm.history_
    multi = MultivariateLSTM(seed=1)
    multi.fit(frame, "target", lookback=12, epochs=1, hidden_dims=(8, 4))
    multi.save(tmp_path / "frame")
    back = MultivariateLSTM.load(tmp_path / "frame")
    assert back.predict(frame).tobytes() == multi.predict(frame).tobytes()
    assert (back.feature_cols, back.target_col) == (multi.feature_cols, "target")
    with pytest.raises(ArtifactError, match=r"MultivariateLSTM.load"):
        TradingLSTM.load(tmp_path / "frame")


def test_a_damaged_or_foreign_directory_is_refused(walk, tmp_path):
    from longshort import artifact

    lstm = small()
    lstm.fit(walk, epochs=1)
    lstm.save(tmp_path / "it")
    found = artifact.load(tmp_path / "it", "puffin")
    for change in ({"settings": {"hidden": [4]}}, {"class": "Pickle"}, {"params": {"units": 3}}, {"columns": 7}):
        document = found.documents["model"] | change
        artifact.save(tmp_path / "bad", "puffin", tensors=found.tensors, documents={"model": document})
        with pytest.raises(ArtifactError):
            TradingLSTM.load(tmp_path / "bad")
    weights = {**found.tensors["weights"]}
    weights.popitem()
    artifact.save(tmp_path / "bad", "puffin", tensors={**found.tensors, "weights": weights}, documents=found.documents)
    with pytest.raises(ArtifactError, match="does not fit its description"):
        TradingLSTM.load(tmp_path / "bad")
    with pytest.raises(NotFitted):
        TradingLSTM().save(tmp_path / "never")


# -- refusals --------------------------------------------------------------------------------------------------------


def test_asking_before_fit_is_refused_with_the_built_in_error_too(walk):
    with pytest.raises(NotFitted, match="Model must be trained"):
        TradingLSTM().predict(walk)
    with pytest.raises(ValueError, match="Model must be trained"):
        MultivariateLSTM().predict(pd.DataFrame({"a": [1.0]}))


@pytest.mark.parametrize(
    ("series", "error", "says"),
    [
        (np.r_[np.arange(99.0), np.nan], PriceError, "1 of 100"),
        (np.r_[np.arange(99.0), np.inf], PriceError, "inf at 99"),
        (np.full(100, 3.0), DataError, "constant at 3"),
        (np.arange(21.0), NotEnoughData, "needs 22"),
        (np.arange(22.0), NotEnoughData, "leaves 0 of them to learn"),
        (np.ones((50, 2)), InputError, "one dimension"),
        (["a"] * 50, InputError, "numbers"),
    ],
)
def test_a_series_that_cannot_teach_is_refused(series, error, says):
    with pytest.raises(error, match=says):
        small().fit(series)


def test_arguments_that_make_no_training_are_refused(walk):
    for arguments in ({"epochs": 0}, {"lr": -1.0}, {"batch_size": 2.5}, {"validation_split": 1.0}, {"lookback": 0}):
        with pytest.raises(InputError):
            small().fit(walk, **arguments)
    for arguments in ({"hidden_dim": 0}, {"num_layers": 0}, {"num_layers": "2"}, {"dropout": 1.0}, {"seed": -1}):
        with pytest.raises(InputError):
            small(**arguments).fit(walk)
    frame = planted(100, seed=1)
    for widths in (64, [], "64", [64.0], [[64]]):
        with pytest.raises(InputError, match="hidden"):
            MultivariateLSTM().fit(frame, "target", hidden_dims=widths)
    wide, plain = MultivariateLSTM(), MultivariateLSTM()
    wide.fit(frame, "target", epochs=1, hidden_dims=np.array([4, 3]))
    plain.fit(frame, "target", epochs=1, hidden_dims=(4, 3))
    assert bits(wide) == bits(plain)


def test_a_failed_fit_leaves_the_earlier_one_in_place(walk):
    lstm = small()
    lstm.fit(walk, epochs=2)
    before = lstm.predict(walk)
    with pytest.raises(PriceError):
        lstm.fit(np.append(walk, np.nan), lookback=5)
    with pytest.raises(TrainingError):
        lstm.fit(walk, lookback=5, lr=1e30, epochs=5)
    assert lstm.predict(walk).tobytes() == before.tobytes()
    assert lstm.lookback == 20


def test_forecasts_need_enough_finite_values(walk):
    lstm = small()
    lstm.fit(walk, epochs=1)
    with pytest.raises(NotEnoughData, match="needs 20 values, but series has 19"):
        lstm.predict(walk[:19])
    with pytest.raises(PriceError):
        lstm.predict(np.append(walk, np.inf))
    assert lstm.predict(np.append(np.nan, walk)).tobytes() == lstm.predict(walk).tobytes()
    with pytest.raises(InputError, match="steps"):
        lstm.predict(walk, steps=0)


def test_a_frame_that_cannot_teach_is_refused():
    frame = planted(100, seed=1)
    lstm = MultivariateLSTM()
    broken = frame.copy()
    broken.iloc[40, 0] = np.nan
    gone = frame.copy()
    gone.iloc[40, 2] = np.nan
    for bad, error, says in (
        (frame.iloc[::-1], TimeError, "sort_index"),
        (pd.concat([frame, frame.iloc[-1:]]), TimeError, "repeats"),
        (broken, PriceError, "'log_volume' must be finite"),
        (gone, PriceError, "'target' must be finite"),
        (frame.assign(flat=1.0), DataError, "'flat' is constant"),
        (frame.assign(name="x"), InputError, "'name' must hold numbers"),
        (frame[["target"]], InputError, "at least one column"),
        (frame.to_numpy(), InputError, "DataFrame"),
        (pd.concat([frame, frame[["returns"]]], axis=1), InputError, "more than once"),
        (frame.iloc[:21], NotEnoughData, "to learn from"),
    ):
        with pytest.raises(error, match=says):
            lstm.fit(bad, "target", epochs=1)
    with pytest.raises(UnknownName, match="Did you mean 'target'"):
        lstm.fit(frame, "tarket", epochs=1)
    with pytest.raises(InputError, match="horizon"):
        lstm.fit(frame, "target", epochs=1, horizon=0)
    lstm.fit(frame, "target", epochs=1, hidden_dims=[4])
    with pytest.raises(UnknownName, match="'log_volume'"):
        lstm.predict(frame[["returns"]])
    with pytest.raises(NotEnoughData, match="needs 20 rows"):
        lstm.predict(frame.iloc[:19])
    with pytest.raises(PriceError):
        lstm.predict(frame.assign(returns=np.inf))


def test_a_target_not_known_yet_at_the_end_is_left_out_of_training():
    frame = planted(300, seed=2)
    assert np.isnan(frame["target"].iloc[-1])
    one, other = MultivariateLSTM(seed=0), MultivariateLSTM(seed=0)
    one.fit(frame, "target", epochs=1, hidden_dims=[4])
    other.fit(frame.iloc[:-1], "target", epochs=1, hidden_dims=[4])
    assert bits(one) == bits(other)


def test_native_forecasters_work_where_torch_is_not_installed():
    code = (
        "import sys\n"
        "sys.modules['torch'] = None\n"
        "import numpy as np\n"
        "from longshort.interop.puffin import TradingLSTM, set_seed\n"
        "import longshort.interop.puffin as puffin\n"
        "lstm = TradingLSTM(hidden_dim=8)\n"
        "lstm.fit(np.sin(np.arange(100.0)), lookback=5, epochs=1)\n"
        "lstm.predict(np.sin(np.arange(100.0)), steps=2)\n"
        "for name in ('LSTMNet', 'StackedLSTM', 'GRUNet'):\n"
        "    try:\n"
        "        getattr(puffin, name)\n"
        "    except ImportError as error:\n"
        "        assert 'longshort[torch]' in str(error), error\n"
        "    else:\n"
        "        raise SystemExit(name)\n"
        "for act in (lambda: lstm.model, lambda: lstm.device, lambda: puffin.compute_class_weights([0, 1]),\n"
        "            lambda: puffin.create_dataloaders(np.ones((5, 2)), np.ones(5)),\n"
        "            lambda: puffin.TradingGRU().fit(np.sin(np.arange(100.0)))):\n"
        "    try:\n"
        "        act()\n"
        "    except ImportError as error:\n"
        "        assert 'longshort[torch]' in str(error), error\n"
        "    else:\n"
        "        raise SystemExit('no error')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# -- with torch ------------------------------------------------------------------------------------------------------


@pytest.mark.full
def test_the_trained_network_is_a_torch_module_that_says_the_same(walk):
    torch = pytest.importorskip("torch")
    from longshort.interop.puffin import LSTMNet, StackedLSTM

    lstm = TradingLSTM(seed=0)
    assert lstm.model is None
    lstm.fit(walk, epochs=2)
    assert type(lstm.model) is LSTMNet
    assert lstm.device.type == "cpu"
    assert sorted(lstm.model.state_dict())[:2] == ["fc.bias", "fc.weight"]
    window = torch.from_numpy((walk[-20:] - lstm.mean) / lstm.std).float()[None, :, None]
    with torch.no_grad():
        said = float(lstm.model(window)) * lstm.std + lstm.mean
    assert said == pytest.approx(lstm.predict(walk)[0], rel=1e-6)
    frame = planted(200, seed=1)
    multi = MultivariateLSTM(seed=0)
    multi.fit(frame, "target", epochs=1, hidden_dims=[16, 8, 4])
    assert type(multi.model) is StackedLSTM
    assert len(multi.model.lstm_layers) == 3
    rows = (frame[multi.feature_cols].to_numpy()[-20:] - multi.means) / multi.stds
    with torch.no_grad():
        said = float(multi.model(torch.from_numpy(rows).float()[None])) * multi.target_std + multi.target_mean
    assert said == pytest.approx(multi.predict(frame)[0], rel=1e-4, abs=1e-8)


@pytest.mark.full
def test_a_gru_learns_forecasts_and_is_kept(walk, tmp_path):
    torch = pytest.importorskip("torch")
    from longshort.interop.puffin import GRUNet

    pattern = np.array([1, 2, 3, 4, 5] * 50)
    gru, again = TradingGRU(seed=1), TradingGRU(seed=1)
    history = gru.fit(pattern, lookback=5, epochs=20, lr=0.01)
    assert [len(losses) for losses in history.values()] == [20, 20]
    assert history["train_loss"][-1] < 0.1 * history["train_loss"][0]
    again.fit(pattern, lookback=5, epochs=20, lr=0.01)
    path = gru.predict(pattern, steps=3)
    assert path.shape == (3,)
    assert gru.device.type in ("cpu", "cuda")
    if gru.device.type == "cpu":
        assert again.predict(pattern, steps=3).tobytes() == path.tobytes()
    gru.save(tmp_path / "gru")
    np.testing.assert_allclose(TradingGRU.load(tmp_path / "gru").predict(pattern, steps=3), path, rtol=1e-6)
    assert type(gru.model) is GRUNet
    window = torch.from_numpy((pattern[-5:] - gru.mean) / gru.std).float()[None, :, None]
    with torch.no_grad():
        assert float(gru.model(window)) * gru.std + gru.mean == pytest.approx(path[0], rel=1e-5)


@pytest.mark.full
def test_networks_have_the_published_shapes():
    torch = pytest.importorskip("torch")
    from longshort.interop.puffin import GRUNet, LSTMNet, StackedLSTM

    x = torch.zeros(8, 20, 5)
    assert LSTMNet()(x[:, :, :1]).shape == (8, 1)
    assert LSTMNet(5, hidden_dim=32, num_layers=1, output_dim=3, dropout=0.5)(x).shape == (8, 3)
    assert GRUNet(input_dim=5, output_dim=2)(x).shape == (8, 2)
    assert StackedLSTM(5)(x).shape == (8, 1)
    stacked = StackedLSTM(input_dim=5, hidden_dims=[16, 8, 4], output_dim=2)
    assert stacked(x).shape == (8, 2)
    assert len(stacked.lstm_layers) == 3
