import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from longshort.errors import ArtifactError, InputError, NotEnoughData, TrainingError
from longshort.models.schedules import ReduceOnPlateau
from longshort.models.training import Samples, StopRule, Training, fit_net
from longshort.native import core


class Scripted:
    """An engine whose losses are written down beforehand; its weight counts its epochs."""

    def __init__(self, train, val=()):
        self.train, self.val, self.epochs, self.lr, self.rates = list(train), list(val), 0, 0.1, []

    def epoch(self, starts, targets):
        self.epochs += 1
        self.rates.append(self.lr)
        return self.train[self.epochs - 1]

    def loss(self, starts, targets):
        return self.val[self.epochs - 1]

    def weights(self):
        return {"w": np.array([float(self.epochs)])}

    def set_weights(self, weights):
        self.kept = weights["w"][0]


SAMPLES = Samples(np.arange(4), np.zeros((4, 1)))


def finish(training):
    while not training.step():
        pass
    return training


def test_best_weights_come_back_after_patience_runs_out():
    engine = Scripted([5, 4, 3, 2, 1], [1.0, 0.5, 0.6, 0.7, 0.4])
    training = finish(Training(engine, SAMPLES, SAMPLES, epochs=5, patience=2))
    assert engine.kept == 2
    assert training.history.best_epoch == 2
    assert training.history.val_loss == [1.0, 0.5, 0.6, 0.7]


def test_no_patience_runs_all_epochs_and_keeps_the_last_weights():
    engine = Scripted([5, 4, 3], [1.0, 0.5, 0.9])
    training = finish(Training(engine, SAMPLES, SAMPLES, epochs=3, patience=None))
    assert not hasattr(engine, "kept")
    assert training.history.best_epoch == 3
    assert training.history["loss"] == [5, 4, 3]


def test_without_validation_patience_means_nothing():
    training = finish(Training(Scripted([1, 1, 1, 1]), SAMPLES, None, epochs=4, patience=1))
    assert len(training.history.train_loss) == 4
    assert training.history.val_loss == []


@pytest.mark.parametrize("loss", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_stops_at_once(loss):
    engine = Scripted([1.0, loss, 1.0], [1.0, 1.0, 1.0])
    training = Training(engine, SAMPLES, SAMPLES, epochs=3, patience=None)
    training.step()
    with pytest.raises(TrainingError, match="epoch 2"):
        training.step()


def test_stop_rule_is_a_value():
    rule = StopRule(patience=1)
    better = rule.update(1.0)
    assert rule.epoch == 0
    assert better.improved
    assert better.update(1.0).stop


# Learning rates -------------------------------------------------------------------------------------------------------


def test_the_rate_follows_the_validation_losses_and_is_put_back_at_the_end():
    engine = Scripted([5, 4, 3, 2], [1.0, 0.9, 0.95, 0.96])
    schedule = ReduceOnPlateau(factor=0.5, patience=1)
    training = finish(Training(engine, SAMPLES, SAMPLES, epochs=4, patience=None, schedule=schedule))
    assert engine.rates == training.history.lr == [0.1, 0.1, 0.1, 0.05]
    assert engine.lr == 0.1
    assert training.history.to_dict()["lr"] == [0.1, 0.1, 0.1, 0.05]


def test_without_validation_a_plateau_is_one_of_the_training_loss():
    engine = Scripted([1.0, 1.0, 1.0])
    finish(Training(engine, SAMPLES, None, epochs=3, patience=None, schedule={"name": "plateau", "patience": 1}))
    assert engine.rates == [0.1, 0.1, 0.05]


def test_without_a_schedule_nobody_touches_the_rate():
    engine = Scripted([1.0, 1.0])
    training = finish(Training(engine, SAMPLES, None, epochs=2, patience=None))
    assert training.history.lr == []
    assert "lr" not in training.history.to_dict()


# Checkpoints ----------------------------------------------------------------------------------------------------------

SCRIPT = """
import json, sys
import numpy as np
from longshort.models.training import Samples, Training

engine_name, path, epochs = sys.argv[1], sys.argv[2], int(sys.argv[3])
x = np.random.default_rng(0).normal(size=(160, 2))
if engine_name == "native":
    from longshort.native import core
    engine = core.LSTMTrainer(n_inputs=2, hidden=[6, 4], dropout=[0.3, 0.3], lookback=8, seed=3, lr=0.01)
else:
    from longshort.models.nets import make_network
    from longshort.models.torch_engine import TorchEngine
    net = make_network(engine_name, 2, hidden=(6, 4), dropout=0.3, seed=3)
    engine = TorchEngine(net, lookback=8, seed=3, lr=0.01, device="cpu")
engine.bind(x, 2, np.zeros(2), np.ones(2))
starts = np.arange(150) * 2
targets = np.tanh(x[7:157, :1] + x[6:156, 1:])
train, validation = Samples(starts[:100], targets[:100]), Samples(starts[110:], targets[110:])
training = Training(engine, train, validation, epochs, 4, "warmup_cosine", None if path == "-" else path)
while not training.step():
    print("epoch", flush=True)
weights = {name: w.tobytes().hex() for name, w in engine.weights().items()}
print(json.dumps({"history": training.history.to_dict(), "weights": weights}))
"""


def run(engine, path, epochs=10, kill_after=None):
    """Run the script in a fresh process; kill it after so many epochs, or return what it ended with."""
    command = [sys.executable, "-c", SCRIPT, engine, str(path), str(epochs)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    if kill_after is None:
        out, _ = process.communicate(timeout=120)
        assert process.returncode == 0
        return json.loads(out.splitlines()[-1])
    for _ in range(kill_after):
        assert process.stdout.readline().strip() == "epoch"
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    return None


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals, not Windows")
@pytest.mark.parametrize(
    "engine", ["native", pytest.param("lstm", marks=pytest.mark.full), pytest.param("gru", marks=pytest.mark.full)]
)
def test_a_killed_training_goes_on_to_the_bits_of_one_that_was_not(engine, tmp_path):
    if engine != "native":
        pytest.importorskip("torch")
    whole = run(engine, "-")
    assert len(whole["history"]["lr"]) == len(whole["history"]["val_loss"]) > 4
    run(engine, tmp_path / "kept", kill_after=1)
    run(engine, tmp_path / "kept", kill_after=2)
    assert run(engine, tmp_path / "kept") == whole
    assert run(engine, tmp_path / "kept") == whole  # once more: there is nothing left to do


def native_training(path, *, epochs=6, patience=None, hidden=3, shift=0):
    x = np.random.default_rng(0).normal(size=(80, 1))
    engine = core.LSTMTrainer(n_inputs=1, hidden=[hidden], lookback=5, seed=1)
    engine.bind(x, 1, np.zeros(1), np.ones(1))
    starts = np.arange(70)
    samples = Samples(starts[:50], x[5:55] + shift)
    return Training(engine, samples, Samples(starts[50:], x[55:75]), epochs, patience, checkpoint=path)


def test_a_finished_training_can_be_given_more_epochs(tmp_path):
    short = finish(native_training(tmp_path / "kept", epochs=3, patience=2))
    longer = finish(native_training(tmp_path / "kept", epochs=6, patience=2))
    whole = finish(native_training(None, epochs=6, patience=2))
    assert len(short.history.val_loss) == 3
    assert longer.history == whole.history
    assert all((a == b).all() for a, b in zip(*(t.engine.weights().values() for t in (longer, whole)), strict=True))


def test_a_checkpoint_of_other_samples_or_another_network_is_refused(tmp_path):
    native_training(tmp_path / "kept").step()
    with pytest.raises(ArtifactError, match="a training on other samples"):
        native_training(tmp_path / "kept", shift=1).step()
    with pytest.raises(ArtifactError, match="does not fit this training"):
        native_training(tmp_path / "kept", hidden=4).step()
    (tmp_path / "kept" / "training.json").write_text("{}")
    with pytest.raises(ArtifactError, match=r"training\.json"):
        native_training(tmp_path / "kept").step()


# Plain arrays ---------------------------------------------------------------------------------------------------------


def waves(n=300, lookback=12):
    series = np.sin(np.arange(n) / 3) + 0.05 * np.random.default_rng(0).normal(size=n)
    return np.lib.stride_tricks.sliding_window_view(series[:-1], lookback), series[lookback:]


def small_net(**options):
    return pytest.importorskip("longshort.models.nets", exc_type=ImportError).make_network(
        "gru", 1, hidden=(8,), **options
    )


@pytest.mark.full
def test_a_net_learns_plain_arrays_and_keeps_its_best_epoch():
    X, y = waves()
    net, seen = small_net(), []
    history = fit_net(net, X, y, epochs=8, lr=0.02, patience=None, device="cpu", progress=seen.append)
    assert history["val_loss"][-1] < 0.2 * history["val_loss"][0]
    assert len(history["train_loss"]) == 8
    assert seen[-1] == 1.0
    assert not net.training
    again = fit_net(small_net(), X[..., None], y[:, None], epochs=8, lr=0.02, patience=None, device="cpu")
    assert again == history


@pytest.mark.full
def test_validation_given_apart_is_the_same_as_the_last_windows():
    X, y = waves()
    share = fit_net(small_net(), X, y, epochs=3, validation=0.25, device="cpu")
    n = len(X) - round(0.25 * len(X))
    apart = fit_net(small_net(), X[:n], y[:n], epochs=3, validation=(X[n:], y[n:]), device="cpu")
    assert share == apart
    gapped = fit_net(small_net(), X, y, epochs=3, validation=0.25, gap=5, device="cpu")
    assert gapped.train_loss != share.train_loss
    assert fit_net(small_net(), X, y, epochs=1, validation=0, device="cpu").val_loss == []


@pytest.mark.full
def test_a_net_on_arrays_resumes_from_its_checkpoint(tmp_path):
    X, y = waves()
    fit_net(small_net(dropout=0.2), X, y, epochs=2, patience=None, device="cpu", checkpoint=tmp_path / "kept")
    resumed = fit_net(small_net(dropout=0.2), X, y, epochs=4, patience=None, device="cpu", checkpoint=tmp_path / "kept")
    assert resumed == fit_net(small_net(dropout=0.2), X, y, epochs=4, patience=None, device="cpu")


@pytest.mark.full
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda X, y: (X, y[:-1], {}), InputError, "X must have shape"),
        (lambda X, y: (X[0], y, {}), InputError, "X must have shape"),
        (lambda X, y: (np.where(X == X[3, 0], np.nan, X), y, {}), InputError, "X must be finite, but"),
        (lambda X, y: (X, y, {"validation": 1.0}), InputError, r"a share in \[0, 1\)"),
        (lambda X, y: (X, y, {"gap": -1}), InputError, "gap must be"),
        (lambda X, y: (X[:2], y[:2], {"validation": 0.5, "gap": 1}), NotEnoughData, "leave 0 to train"),
        (lambda X, y: (X, y, {"validation": (X[:, 1:], y)}), InputError, "validation must have windows"),
    ],
)
def test_wrong_arrays_are_told(change, error, message):
    X, y, options = change(*waves())
    with pytest.raises(error, match=message):
        fit_net(small_net(), X, y, epochs=1, device="cpu", **options)
