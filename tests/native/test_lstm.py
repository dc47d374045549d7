"""The native LSTM: known answers, independence of batch and threads, exact resuming, gradients."""

import json
import math
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from longshort.errors import InputError, TrainingError, UnknownName
from longshort.native import core, runnable_levels

SHAPES = [
    {"n_inputs": 1, "hidden": [50, 50], "lookback": 60},
    {"n_inputs": 3, "hidden": [17], "lookback": 9, "n_outputs": 3},
    {"n_inputs": 5, "hidden": [1, 3], "lookback": 4, "head": [2]},
    {"n_inputs": 16, "hidden": [24, 16, 8], "lookback": 7, "head": [9, 4], "head_activation": "tanh", "n_outputs": 2},
]
SMALL = {"n_inputs": 3, "hidden": [17, 5], "lookback": 8, "head": [6], "head_activation": "relu", "batch_size": 7}


LOSSES = [
    {"loss": "mse"},
    {"loss": "mse", "n_outputs": 3},
    {"loss": "mae", "n_outputs": 3},
    {"loss": "huber", "huber_delta": 0.7, "n_outputs": 2},
    {"loss": "quantile", "levels": [0.5]},
    {"loss": "quantile", "levels": [0.05, 0.3, 0.5, 0.9], "n_outputs": 4},
    {"loss": "gaussian", "n_outputs": 2},
    {"loss": "student_t", "n_outputs": 3},
    {"loss": "cross_entropy"},
    {"loss": "cross_entropy", "class_weights": [0.5, 1.5], "focal": 2.0},
    {"loss": "cross_entropy", "n_outputs": 4},
    {"loss": "cross_entropy", "n_outputs": 3, "class_weights": [0.5, 1.5, 1.0], "focal": 0.5},
]


def loss_name(options):
    return "-".join(str(value) for value in options.values())


def make(shape, cls="LSTMTrainer", n_rows=90, seed=0, **options):
    """Return a trainer bound to random rows, with starts and targets."""
    shape = {**shape, **options}
    random = np.random.default_rng(seed)
    n_inputs, lookback = shape["n_inputs"], shape["lookback"]
    data = random.normal(3.0, 2.0, (n_rows, n_inputs))
    trainer = getattr(core, cls)(**{"seed": 7, **shape})
    trainer.bind(data, n_inputs, np.full(n_inputs, 3.0), np.full(n_inputs, 2.0))
    starts = np.arange(n_rows - lookback, dtype=np.int64) * n_inputs
    answers = shape.get("targets_per_window", 1)
    targets = random.normal(size=(len(starts), answers * trainer.n_targets))
    if shape.get("loss") == "cross_entropy":
        targets = random.integers(max(2, shape.get("n_outputs", 1)), size=targets.shape).astype(float)
    return trainer, data, starts, targets


def windows_of(data, starts, shape):
    rows = starts // shape["n_inputs"]
    return np.stack([data[r : r + shape["lookback"]] for r in rows])


def reference_forward(weights, x, head_activation="linear"):
    """The six gate equations of an LSTM, in float64, for windows x (n, lookback, n_inputs)."""

    def sigmoid(a):
        return 1 / (1 + np.exp(-a))

    w = {name: np.asarray(value, dtype=np.float64) for name, value in weights.items()}
    layers = sum(name.endswith("weight_ih_l0") for name in w)
    for i in range(layers):
        w_ih, w_hh = w[f"lstm.{i}.weight_ih_l0"], w[f"lstm.{i}.weight_hh_l0"]
        bias = w[f"lstm.{i}.bias_ih_l0"] + w[f"lstm.{i}.bias_hh_l0"]
        h = c = np.zeros((len(x), w_hh.shape[1]))
        outputs = []
        for t in range(x.shape[1]):
            a_i, a_f, a_g, a_o = np.split(x[:, t] @ w_ih.T + h @ w_hh.T + bias, 4, axis=1)
            c = sigmoid(a_f) * c + sigmoid(a_i) * np.tanh(a_g)
            h = sigmoid(a_o) * np.tanh(c)
            outputs.append(h)
        x = np.stack(outputs, axis=1)
    y = x[:, -1]
    dense = sum(name.startswith("head.") for name in w) // 2
    activation = {"linear": lambda a: a, "relu": lambda a: np.maximum(a, 0), "tanh": np.tanh}[head_activation]
    for j in range(dense):
        y = y @ w[f"head.{j}.weight"].T + w[f"head.{j}.bias"]
        if j < dense - 1:
            y = activation(y)
    return y


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: str(s["hidden"]))
@pytest.mark.parametrize(("cls", "tolerance"), [("LSTMTrainer", 1e-6), ("LSTMTrainer64", 1e-13)])
def test_prediction_follows_the_six_gate_equations(shape, cls, tolerance):
    trainer, data, starts, _ = make(shape, cls)
    x = (windows_of(data, starts, shape) - 3.0) / 2.0
    expected = reference_forward(trainer.weights(), x, shape.get("head_activation", "linear"))
    np.testing.assert_allclose(trainer.predict(starts), expected, rtol=0, atol=tolerance)


def test_saturated_gates_stay_finite_and_right():
    trainer, data, starts, _ = make(SMALL)
    trainer.set_weights({name: value * 60 for name, value in trainer.weights().items()})
    expected = reference_forward(trainer.weights(), (windows_of(data, starts, SMALL) - 3.0) / 2.0, "relu")
    predicted = trainer.predict(starts)
    assert np.isfinite(predicted).all()
    # the nets' weights are in the hundreds here: compare on the scale of the outputs
    assert np.median(np.abs(predicted - expected)) < 1e-4 * np.abs(expected).max()


def test_a_prediction_does_not_depend_on_its_neighbours():
    trainer, data, starts, _ = make(SHAPES[3])
    together = trainer.predict(starts)
    alone = np.concatenate([trainer.predict(starts[i : i + 1]) for i in range(len(starts))])
    shuffled = np.random.default_rng(1).permutation(len(starts))
    assert np.array_equal(together, alone)
    assert np.array_equal(together[shuffled], trainer.predict(starts[shuffled]))
    assert np.array_equal(together[5:38], trainer.predict(starts[5:38]))
    assert np.array_equal(together, trainer.predict_windows(windows_of(data, starts, SHAPES[3])))
    two_threads, *_ = make(SHAPES[3], threads=2)
    assert np.array_equal(together, two_threads.predict(starts))


def test_a_nan_in_one_window_spoils_no_other():
    trainer, data, starts, _ = make(SMALL)
    clean = trainer.predict(starts)
    windows = windows_of(data, starts, SMALL)
    windows[4, 2, 1] = np.nan
    spoilt = trainer.predict_windows(windows)
    assert np.isnan(spoilt[4]).all()
    assert np.array_equal(np.delete(spoilt, 4, axis=0), np.delete(clean, 4, axis=0))


def test_windows_are_cut_from_any_layout_without_a_copy():
    """Two symbols side by side, (n_bars, n_symbols, n_features): the time stride spans a whole row of the panel."""
    random = np.random.default_rng(3)
    panel = random.normal(size=(40, 2, 3))
    trainer = core.LSTMTrainer(n_inputs=3, hidden=[4], lookback=5)
    trainer.bind(panel, 6, np.zeros(3), np.ones(3))
    starts = np.array([(row * 2 + symbol) * 3 for row in (0, 7, 35) for symbol in (0, 1)])
    windows = np.stack([panel[row : row + 5, symbol] for row in (0, 7, 35) for symbol in (0, 1)])
    assert np.array_equal(trainer.predict(starts), trainer.predict_windows(windows))


@pytest.mark.parametrize("threads", [1, 2])
def test_the_same_seed_gives_the_same_bytes(threads):
    shape = dict(SMALL, dropout=[0.3, 0.1], batch_size=40)
    runs = []
    for seed in (7, 7, 8):
        trainer, _, starts, targets = make(shape, threads=threads)
        trainer = core.LSTMTrainer(**{**shape, "seed": seed, "threads": threads})
        trainer.bind(make(shape)[1], 3, np.full(3, 3.0), np.full(3, 2.0))
        history = [trainer.epoch(starts, targets) for _ in range(3)]
        runs.append((history, trainer.state()["weights"]))
    assert runs[0][0] == runs[1][0]
    assert np.array_equal(runs[0][1], runs[1][1])
    assert runs[0][0] != runs[2][0]


@pytest.mark.parametrize("batch_size", [1, 7, 32, 100])
def test_threads_change_no_bit(batch_size):
    shape = {"n_inputs": 2, "hidden": [13, 6], "lookback": 6, "dropout": [0.2, 0.2], "batch_size": batch_size}
    results = []
    for threads in (1, 2, 3):
        trainer, _, starts, targets = make(shape, threads=threads, n_rows=150)
        losses = [trainer.epoch(starts, targets) for _ in range(2)]
        results.append((losses, trainer.state()["weights"]))
    for losses, weights in results[1:]:
        assert losses == results[0][0]
        assert np.array_equal(weights, results[0][1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_trains_on_with_the_same_bits():
    trainer, _, starts, targets = make(SHAPES[2], threads=2, n_rows=150)
    trainer.epoch(starts, targets)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:  # nothing here may fall back into pytest
        signal.alarm(30)
        trainer.epoch(starts, targets)
        os.write(writer, trainer.state()["weights"].tobytes())
        del trainer  # waits for no thread that is not there
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        theirs = pipe.read()
    assert os.waitpid(child, 0)[1] == 0
    trainer.epoch(starts, targets)
    assert theirs == trainer.state()["weights"].tobytes()


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: str(s["hidden"]))
def test_without_learning_the_history_is_the_direct_evaluation(shape):
    trainer, _, starts, targets = make(shape, lr=0.0, batch_size=7)
    before = trainer.state()["weights"]
    seen = trainer.epoch(starts, targets)
    direct = np.mean((trainer.predict(starts) - targets) ** 2)
    assert seen == pytest.approx(trainer.loss(starts, targets), rel=1e-12)
    assert seen == pytest.approx(direct, rel=1e-6)
    assert np.array_equal(before, trainer.state()["weights"])


def test_huber_loss_is_quadratic_then_linear():
    trainer, _, starts, targets = make(SMALL, "LSTMTrainer64", loss="huber", huber_delta=0.5)
    error = np.abs(trainer.predict(starts) - targets)
    assert (error > 0.5).any()
    assert (error < 0.5).any()
    expected = np.where(error <= 0.5, 0.5 * error**2, 0.5 * (error - 0.25)).mean()
    assert trainer.loss(starts, targets) == pytest.approx(expected, rel=1e-12)


def formula(options, outputs, y):
    """The loss of each sample from raw outputs (n, m) and targets (n, k), as the formulas stand in the papers."""
    loss, first = options["loss"], y[:, 0]

    def softplus(x):
        return np.log1p(np.exp(x))

    if loss == "mse":
        return ((outputs - y) ** 2).mean(axis=1)
    if loss == "mae":
        return np.abs(outputs - y).mean(axis=1)
    if loss == "huber":
        error, delta = np.abs(outputs - y), options["huber_delta"]
        return np.where(error <= delta, 0.5 * error**2, delta * (error - 0.5 * delta)).mean(axis=1)
    if loss == "quantile":
        levels = np.array(options["levels"])
        quantiles = np.cumsum(np.concatenate([outputs[:, :1], softplus(outputs[:, 1:])], axis=1), axis=1)
        error = y - quantiles
        return np.where(error > 0, levels * error, (levels - 1) * error).mean(axis=1)
    if loss == "cross_entropy":
        label = first.astype(int)
        if outputs.shape[1] == 1:
            outputs = np.concatenate([np.zeros_like(outputs), outputs], axis=1)
        p = (np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True))[np.arange(len(y)), label]
        weights = np.array(options.get("class_weights", np.ones(outputs.shape[1])))
        return weights[label] * (1 - p) ** options.get("focal", 0.0) * -np.log(p)
    sigma = softplus(outputs[:, 1]) + 1e-6
    z = (first - outputs[:, 0]) / sigma
    if loss == "gaussian":
        return np.log(sigma) + z**2 / 2 + 0.5 * np.log(2 * np.pi)
    nu = 2 + softplus(outputs[:, 2]) + 1e-3
    gamma = np.vectorize(math.lgamma)
    normaliser = gamma((nu + 1) / 2) - gamma(nu / 2) - 0.5 * np.log(nu * np.pi) - np.log(sigma)
    return -(normaliser - (nu + 1) / 2 * np.log1p(z**2 / nu))


@pytest.mark.parametrize("options", LOSSES, ids=loss_name)
@pytest.mark.parametrize(("cls", "tolerance"), [("LSTMTrainer", 2e-6), ("LSTMTrainer64", 1e-12)])
def test_losses_follow_their_formulas(options, cls, tolerance):
    trainer, _, starts, targets = make(SMALL, cls, **options)
    spread = {name: value * 4 for name, value in trainer.weights().items()}  # outputs well away from zero
    trainer.set_weights(spread)
    per_sample = formula(options, trainer.predict(starts), targets)
    assert trainer.loss(starts, targets) == pytest.approx(per_sample.mean(), rel=tolerance)
    weights = np.random.default_rng(1).uniform(0, 2, len(starts))
    weighted = trainer.loss(starts, targets, sample_weight=weights)
    assert weighted == pytest.approx((weights * per_sample).mean(), rel=tolerance)


@pytest.mark.parametrize("options", LOSSES, ids=loss_name)
def test_every_loss_falls_and_threads_change_no_bit(options):
    runs = []
    for threads in (1, 2):
        trainer, _, starts, targets = make(SMALL, lr=5e-3, threads=threads, **options)
        runs.append([trainer.epoch(starts, targets) for _ in range(30)])
    assert runs[0] == runs[1]
    assert runs[0][-1] < runs[0][0] - 0.1 * abs(runs[0][0])


@pytest.mark.parametrize("options", LOSSES, ids=loss_name)
def test_extreme_outputs_keep_loss_and_gradient_finite(options):
    trainer, _, starts, targets = make(SMALL, "LSTMTrainer64", **options)
    for bias in (-1e4, -50.0, 50.0, 1e4):
        weights = trainer.weights()
        last = [name for name in weights if name.endswith(".bias")][-1]
        trainer.set_weights({**weights, last: np.full_like(weights[last], bias)})
        assert np.isfinite(trainer.loss(starts, targets))
        assert all(np.isfinite(g).all() for g in trainer.gradient(starts, targets).values())


BLOCK_LOSSES = [{"loss": "sharpe"}, {"loss": "sharpe", "cost": 0.3}, {"loss": "rank"}]


def block_formula(options, outputs, y, blocks):
    """The loss of a batch whose blocks are in order."""
    if options["loss"] == "rank":
        found = []
        for date in (blocks == b for b in np.unique(blocks) if (blocks == b).sum() > 1):
            said, rank = outputs[date], (2 * np.argsort(np.argsort(y[date])) + 1) / date.sum() - 1
            c = np.cov(said, rank, bias=True)
            found.append(c[0, 1] / np.sqrt(c[0, 0] * c[1, 1] + 1e-12))
        return -np.mean(found)
    position = np.tanh(outputs)
    change = np.abs(np.diff(position, prepend=position[0])) * (np.diff(blocks, prepend=blocks[0]) == 0)
    earned = position * y - options.get("cost", 0.0) * change
    return -earned.mean() / earned.std()


@pytest.mark.parametrize("options", BLOCK_LOSSES, ids=loss_name)
def test_losses_of_blocks_follow_their_formulas(options):
    trainer, _, starts, targets = make(SMALL, "LSTMTrainer64", **options)
    blocks = np.repeat(np.arange(30), 3)[: len(starts)]  # the last has one sample
    expected = block_formula(options, trainer.predict(starts)[:, 0], targets[:, 0], blocks)
    assert trainer.loss(starts, targets, blocks=blocks) == pytest.approx(expected, rel=1e-9)
    mixed = np.random.default_rng(0).permutation(len(starts))
    mixed = mixed[np.argsort(mixed % 3, kind="stable")]  # blocks are torn apart, their order inside is kept
    again = trainer.loss(starts[mixed], targets[mixed], blocks=blocks[mixed])
    assert again == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("options", BLOCK_LOSSES, ids=loss_name)
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_gradients_of_losses_of_blocks_are_their_slopes(options, dropout):
    trainer, _, starts, targets = make(SMALL, "LSTMTrainer64", dropout=[dropout] * 2, **options)
    trainer.set_weights({name: value * 2 for name, value in trainer.weights().items()})
    blocks, step = np.arange(len(starts)) // 5, 3 if dropout else None
    gradient = trainer.gradient(starts, targets, blocks=blocks, dropout_step=step)
    weights, random = trainer.weights(), np.random.default_rng(2)
    for name, value in weights.items():
        for _ in range(3):
            index = tuple(random.integers(extent) for extent in value.shape)
            slopes = []
            for width in (1e-5, -1e-5):
                moved = {**weights, name: value.copy()}
                moved[name][index] += width
                trainer.set_weights(moved)
                slopes.append(trainer.loss(starts, targets, blocks=blocks, dropout_step=step))
            assert (slopes[0] - slopes[1]) / 2e-5 == pytest.approx(gradient[name][index], rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("options", BLOCK_LOSSES, ids=loss_name)
def test_losses_of_blocks_train_the_same_on_any_number_of_threads(options):
    runs = []
    for threads in (1, 2, 3):
        trainer, _, starts, targets = make(
            SMALL, threads=threads, lr=5e-3, dropout=[0.1, 0.0], batch_size=40, **options
        )
        blocks = np.arange(len(starts)) // 6
        losses = [trainer.epoch(starts, targets, blocks=blocks) for _ in range(30)]
        runs.append((losses, trainer.state()["weights"].tobytes()))
    assert runs[0] == runs[1] == runs[2]
    assert runs[0][0][-1] < runs[0][0][0] - 0.05


def test_batches_of_blocks_are_whole_and_in_the_shuffled_order():
    """Blocks of 7, 21 of them at least: the steps of an epoch are those of its batches given one by one."""
    shape = {**SMALL, "loss": "rank", "batch_size": 20}
    whole, _, starts, targets = make(shape, "LSTMTrainer64")
    blocks = np.arange(len(starts)) // 7
    loss = whole.epoch(starts, targets, blocks=blocks)
    single, *_ = make({**shape, "batch_size": 1000}, "LSTMTrainer64")
    order, total = core.shuffled(12, 7, 0), 0.0
    for batch in np.split(order, [3, 6, 9]):
        mine = np.concatenate([np.flatnonzero(blocks == b) for b in batch])
        total += single.epoch(starts[mine], targets[mine], blocks=blocks[mine]) * len(mine)
    assert whole.steps_done == 4
    assert total / len(starts) == pytest.approx(loss, rel=1e-9)


def test_a_block_of_one_row_left_over_joins_the_last_batch():
    """Alone it would have no deviation, and the Sharpe ratio none of its value."""
    trainer, _, starts, targets = make({**SMALL, "loss": "sharpe", "batch_size": 9}, "LSTMTrainer64")
    blocks = np.minimum(np.arange(len(starts)) // 9, 9)
    assert np.bincount(blocks).tolist() == [9] * 9 + [1]
    for _ in range(40):
        before = trainer.steps_done
        assert np.isfinite(trainer.epoch(starts, targets, blocks=blocks))
        assert trainer.steps_done - before == 9
    assert any(core.shuffled(10, 7, epoch)[-1] == 9 for epoch in range(40))


@pytest.mark.parametrize("options", BLOCK_LOSSES, ids=loss_name)
def test_an_absurd_step_size_stops_losses_of_blocks_too(options):
    trainer, _, starts, targets = make(SMALL, lr=1e6, **options)
    with pytest.raises(TrainingError, match="beyond all bounds in epoch 1, batch 1"):
        trainer.epoch(starts, targets, blocks=np.arange(len(starts)) // 5)


def test_blocks_are_asked_for_where_they_matter():
    trainer, _, starts, targets = make(SMALL, loss="rank")
    with pytest.raises(InputError, match="needs the block of each sample"):
        trainer.epoch(starts, targets)
    with pytest.raises(InputError, match=r"blocks must have shape \(82,\), was \(2,\)"):
        trainer.loss(starts, targets, blocks=[0, 1])
    with pytest.raises(InputError, match="take no sample_weight"):
        trainer.loss(starts, targets, np.ones(len(starts)), np.zeros(len(starts)))
    plain, *_ = make(SMALL)
    with pytest.raises(InputError, match="'sharpe' or 'rank' only"):
        plain.epoch(starts, targets, blocks=np.zeros(len(starts)))


def test_sample_weights_are_repeated_samples():
    trainer, _, starts, targets = make(SMALL, "LSTMTrainer64", loss="gaussian", n_outputs=2)
    counts = np.random.default_rng(2).integers(0, 4, len(starts))
    repeated = trainer.gradient(np.repeat(starts, counts), np.repeat(targets, counts, axis=0))
    weighted = trainer.gradient(starts, targets, sample_weight=counts * (len(starts) / counts.sum()))
    for name, value in repeated.items():
        np.testing.assert_allclose(weighted[name], value, rtol=1e-9, atol=1e-14)
    with pytest.raises(InputError, match=r"sample_weight must have shape \(82,\), was \(3,\)"):
        trainer.epoch(starts, targets, sample_weight=[1.0, 1.0, 1.0])
    with pytest.raises(InputError, match=r"not be negative, but element 0 was -1"):
        trainer.epoch(starts, targets, sample_weight=np.full(len(starts), -1.0))


@pytest.mark.parametrize("wrong", [-1.0, 0.5, 3.0])
def test_classes_are_whole_and_in_range(wrong):
    trainer, _, starts, targets = make(SMALL, loss="cross_entropy", n_outputs=3)
    targets[4] = wrong
    with pytest.raises(InputError, match=f"targets must be classes 0 to 2, but element 4 was {wrong:g}"):
        trainer.epoch(starts, targets)


def test_targets_are_one_where_the_outputs_describe_one():
    trainer, _, starts, _ = make(SMALL, loss="student_t", n_outputs=3)
    assert trainer.n_targets == 1
    with pytest.raises(InputError, match=r"targets must have shape \(82, 1\), was \(82, 3\)"):
        trainer.epoch(starts, np.zeros((len(starts), 3)))


@pytest.mark.parametrize("options", LOSSES, ids=loss_name)
@pytest.mark.parametrize("batch_size", [7, 1000])
def test_a_step_size_beyond_reason_stops_at_once(options, batch_size):
    trainer, _, starts, targets = make(SMALL, lr=1e6, batch_size=batch_size, **options)
    with pytest.raises(TrainingError, match=r"beyond all bounds in epoch 1, batch 1 of .*lower lr \(1e\+06\)"):
        trainer.epoch(starts, targets)


@pytest.mark.parametrize("options", LOSSES, ids=loss_name)
def test_one_missing_target_is_refused_before_any_step(options):
    trainer, _, starts, targets = make(SMALL, **options)
    targets[5, 0] = np.nan
    with pytest.raises(InputError, match=r"targets must be finite, but element \d+ was nan"):
        trainer.epoch(starts, targets)
    assert trainer.steps_done == 0


@pytest.mark.parametrize("options", LOSSES, ids=loss_name)
def test_a_constant_target_is_learned_without_blowing_up(options):
    """Densities narrow down to their floor; refusing a target without variance is the caller's part."""
    trainer, _, starts, targets = make(SMALL, lr=1e-2, **options)
    losses = [trainer.epoch(starts, np.ones_like(targets)) for _ in range(60)]
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]


CARRIED = {"n_inputs": 3, "hidden": [17, 5], "lookback": 12, "head": [6], "head_activation": "tanh", "n_outputs": 2}


def test_a_sequence_without_dropout_is_the_mean_over_its_steps():
    """Five targets in windows of 12 steps: the prediction at step 8 is that of the window's first 8 steps."""
    trainer, data, starts, targets = make({**CARRIED, "targets_per_window": 5}, "LSTMTrainer64")
    windows, targets = windows_of(data, starts, CARRIED), targets.reshape(len(starts), 5, 2)
    per_step = []
    for steps in range(8, 13):
        short = core.LSTMTrainer64(**{**CARRIED, "lookback": steps})
        short.set_weights(trainer.weights())
        per_step.append(short.predict_windows(windows[:, :steps], np.full(3, 3.0), np.full(3, 2.0)))
    assert np.array_equal(trainer.predict(starts), per_step[-1])
    errors = ((np.stack(per_step, axis=1) - targets) ** 2).mean(axis=2)
    assert trainer.loss(starts, targets) == pytest.approx(errors.mean(), rel=1e-12)
    missing = np.random.default_rng(0).random((len(starts), 5)) < 0.5
    missing[:, 2] = False
    targets[missing, 0] = np.nan
    expected = np.nanmean(np.where(missing, np.nan, errors), axis=1).mean()
    assert trainer.loss(starts, targets) == pytest.approx(expected, rel=1e-12)
    assert trainer.loss(starts, targets.reshape(len(starts), 10)) == trainer.loss(starts, targets)


@pytest.mark.parametrize("options", LOSSES, ids=loss_name)
def test_sequences_train_the_same_on_any_number_of_threads(options):
    runs = []
    for threads in (1, 2, 3):
        shape = {**SMALL, "targets_per_window": 4, "dropout": [0.1, 0.1], "batch_size": 40, **options}
        trainer, _, starts, targets = make(shape, threads=threads, lr=5e-3)
        losses = [trainer.epoch(starts, targets) for _ in range(20)]
        runs.append((losses, trainer.state()["weights"].tobytes()))
    assert runs[0] == runs[1] == runs[2]
    assert runs[0][0][-1] < runs[0][0][0]


def test_no_row_after_the_last_target_is_read():
    """Short sequences may end where the series does, or before a row that is not finite, and change no bit."""
    shape = {**SMALL, "targets_per_window": 6, "dropout": [0.2, 0.1]}
    trainer, data, _, _ = make(shape)
    starts = np.array([0, 85, 40]) * 3
    targets = np.full((3, 6), np.nan)
    targets[0], targets[1, :3], targets[2, 1:4] = 1.0, -1.0, 0.5
    loss, gradient = trainer.loss(starts, targets), trainer.gradient(starts, targets, dropout_step=0)
    data[46] = np.nan
    trainer.bind(data, 3, np.full(3, 3.0), np.full(3, 2.0))
    assert trainer.loss(starts, targets) == loss
    spoilt = trainer.gradient(starts, targets, dropout_step=0)
    assert all(np.array_equal(spoilt[name], gradient[name]) for name in gradient)
    targets[1, 3] = 0.0
    with pytest.raises(
        InputError, match=r"starts\[1\] = 255 is outside the series: a window reaches over 18 of its 270"
    ):
        trainer.loss(starts, targets)


def test_wrong_sequence_targets_teach():
    trainer, _, starts, targets = make({**SMALL, "targets_per_window": 3})
    with pytest.raises(InputError, match=r"targets must have shape \(82, 3, 1\), was \(82, 2\)"):
        trainer.epoch(starts, targets[:, :2])
    targets[4] = np.nan
    with pytest.raises(InputError, match="one of its last 3 steps, but window 4 has none"):
        trainer.epoch(starts, targets)
    targets[4, 1] = -np.inf
    with pytest.raises(InputError, match="finite or NaN .no target., but window 4 has -inf"):
        trainer.epoch(starts, targets)


@pytest.mark.parametrize("cls", ["LSTMTrainer", "LSTMTrainer64"])
@pytest.mark.parametrize("n_columns", [1, 3, 16, 37])
def test_carrying_row_by_row_gives_the_bits_of_carrying_the_series(cls, n_columns):
    panel = np.random.default_rng(0).normal(3.0, 2.0, (75, n_columns, 3))
    panel[20, 0, 1] = np.nan
    panel[50, -1] = np.inf
    trainer = getattr(core, cls)(**CARRIED, seed=3, threads=2)
    trainer.bind(panel, n_columns * 3, np.full(3, 3.0), np.full(3, 2.0))
    starts = np.arange(n_columns) * 3
    whole = trainer.carry(starts, 75)
    assert whole.shape == (75, n_columns, 2)
    unknown = np.isnan(whole).any(axis=2)
    assert np.argwhere(unknown).tolist() == [[20, 0], [50, n_columns - 1]]
    for stride in (1, 2, 33, 40):
        states, rows = trainer.carry_states(n_columns), []
        for t in range(0, 75, stride):
            rows.append(trainer.carry(starts + t * n_columns * 3, min(stride, 75 - t), states))
        assert np.array_equal(np.concatenate(rows), whole, equal_nan=True)
    alone = np.concatenate([trainer.carry(starts[j : j + 1], 75) for j in range(n_columns)], axis=1)
    assert np.array_equal(alone, whole, equal_nan=True)


def test_carrying_from_zero_gives_the_bits_of_the_window():
    """Whatever the row a column starts from, and again after a row that is not finite."""
    trainer, data, starts, _ = make(CARRIED)
    carried = trainer.carry(starts, 12)
    assert np.array_equal(carried[-1], trainer.predict(starts))
    data[30, 2] = np.nan
    trainer.bind(data, 3, np.full(3, 3.0), np.full(3, 2.0))
    after = trainer.carry([0], 60)
    assert np.isnan(after[30]).all()
    assert np.array_equal(after[31 + 11], trainer.predict([31 * 3]))


def test_carrying_nothing_and_wrong_requests():
    trainer, *_ = make(CARRIED)
    assert trainer.carry_states(2).shape == (2, 44)
    assert trainer.carry(np.zeros(0, np.int64), 5).shape == (5, 0, 2)
    assert trainer.carry([0, 3], 0).shape == (0, 2, 2)
    with pytest.raises(InputError, match=r"starts\[0\] = 3 is outside the series: a window reaches over 270 of"):
        trainer.carry([3], 90)
    with pytest.raises(
        InputError, match=r"states must have shape \(1, 44\), as carry_states\(1\) gives, was \(2, 44\)"
    ):
        trainer.carry([0], 5, trainer.carry_states(2))
    with pytest.raises(InputError, match="states must be finite"):
        trainer.carry([0], 5, np.full((1, 44), np.nan, np.float32))
    with pytest.raises(InputError, match="n_steps"):
        trainer.carry([0], -1)


def test_resuming_gives_the_bits_of_never_having_stopped():
    shape = dict(SMALL, dropout=[0.2, 0.4])
    straight, _, starts, targets = make(shape)
    history = [straight.epoch(starts, targets) for _ in range(5)]
    first, *_ = make(shape)
    for _ in range(2):
        first.epoch(starts, targets)
    second, *_ = make(shape)
    second.set_state(first.state())
    assert [second.epoch(starts, targets) for _ in range(3)] == history[2:]
    assert np.array_equal(second.state()["weights"], straight.state()["weights"])


def test_shuffled_is_the_batch_order_of_an_epoch():
    whole, _, starts, targets = make(SMALL, "LSTMTrainer64")
    losses = [whole.epoch(starts, targets) for _ in range(2)]
    by_batch, *_ = make(SMALL, "LSTMTrainer64")
    for epoch, loss in enumerate(losses):
        order = core.shuffled(len(starts), 7, epoch)
        assert sorted(order) == list(range(len(starts)))
        total = 0.0
        for batch in np.split(order, range(7, len(order), 7)):
            total += by_batch.epoch(starts[batch], targets[batch]) * len(batch)
        assert total / len(starts) == pytest.approx(loss, rel=1e-13)
    np.testing.assert_allclose(by_batch.state()["weights"], whole.state()["weights"], rtol=0, atol=1e-14)


@pytest.mark.parametrize(("n", "epoch"), [(-1, 0), (2**32, 0), (3, -1)])
def test_shuffled_refuses_what_is_no_count(n, epoch):
    with pytest.raises(InputError):
        core.shuffled(n, 0, epoch)


def test_training_learns_a_lagged_echo():
    random = np.random.default_rng(5)
    x = random.normal(size=600)
    trainer = core.LSTMTrainer(n_inputs=1, hidden=[16], lookback=8, lr=1e-2)
    trainer.bind(x, 1, [0.0], [1.0])
    starts = np.arange(590)
    targets = x[starts + 5]  # the third value from the end of each window
    losses = [trainer.epoch(starts, targets) for _ in range(25)]
    assert losses[-1] < 0.05 * losses[0]


def test_adam_takes_the_textbook_step():
    """One step by hand (Kingma and Ba 2015, algorithm 1), with decoupled decay (Loshchilov and Hutter 2019)."""
    options = {"lr": 0.01, "beta1": 0.8, "beta2": 0.99, "eps": 1e-4, "weight_decay": 0.1, "batch_size": 1000}
    trainer, _, starts, targets = make(SMALL, "LSTMTrainer64", **options)
    moments = {}
    for step in (1, 2, 3):
        weights, gradient = trainer.weights(), trainer.gradient(starts, targets)
        trainer.epoch(starts, targets)
        for name, value in trainer.weights().items():
            m, v = moments.get(name, (0.0, 0.0))
            m, v = 0.8 * m + 0.2 * gradient[name], 0.99 * v + 0.01 * gradient[name] ** 2
            moments[name] = m, v
            direction = m / (1 - 0.8**step) / (np.sqrt(v / (1 - 0.99**step)) + 1e-4)
            np.testing.assert_allclose(value, weights[name] * (1 - 0.01 * 0.1) - 0.01 * direction, rtol=0, atol=1e-12)


def test_clipping_limits_the_global_norm():
    free, _, starts, targets = make(SMALL, "LSTMTrainer64", batch_size=1000)
    norm = np.sqrt(sum((g**2).sum() for g in free.gradient(starts, targets).values()))
    clipped, *_ = make(SMALL, "LSTMTrainer64", batch_size=1000, clip=float(norm) / 4)
    free.epoch(starts, targets)
    clipped.epoch(starts, targets)
    np.testing.assert_allclose(clipped.state()["first_moment"], free.state()["first_moment"] / 4, rtol=1e-12)


def test_dropout_leaves_the_expected_share_and_scale():
    """With one input step and a linear head the loss of a masked net tells which units were kept."""
    trainer = core.LSTMTrainer64(n_inputs=1, hidden=[200], lookback=1, dropout=[0.25], seed=3)
    trainer.bind(np.ones(1), 1, [0.0], [1.0])
    weights = trainer.weights()
    weights["head.0.weight"] = np.ones((1, 200))
    weights["head.0.bias"] = np.zeros(1)
    weights["lstm.0.weight_ih_l0"] = np.zeros((800, 1))
    weights["lstm.0.bias_ih_l0"] = np.repeat([100.0, 0.0, 100.0, 100.0], 200)  # h = tanh(1)
    weights["lstm.0.bias_hh_l0"] = np.zeros(800)
    trainer.set_weights(weights)
    kept = []
    for step in range(50):
        output = np.sqrt(trainer.loss([0], [0.0], dropout_step=step))
        kept.append(output * 0.75 / np.tanh(1.0))
    assert np.allclose(kept, np.round(kept))
    assert np.mean(kept) == pytest.approx(150, abs=3.0)  # standard error 0.87
    assert 3.0 < np.std(kept) < 10.0  # binomial: 6.1


def test_weights_round_trip_and_names_are_torchs():
    trainer, _, starts, _ = make(SHAPES[3])
    weights = trainer.weights()
    assert list(weights)[:4] == [f"lstm.0.{n}" for n in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")]
    assert weights["lstm.1.weight_ih_l0"].shape == (64, 24)
    assert weights["head.2.weight"].shape == (2, 4)
    assert trainer.n_parameters == sum(w.size for w in weights.values())
    other, *_ = make(SHAPES[3], seed=0)
    other.epoch(starts, np.zeros((len(starts), 2)))
    other.set_weights(weights)
    assert np.array_equal(other.predict(starts), trainer.predict(starts))
    for name, value in other.weights().items():
        assert np.array_equal(value, weights[name])


def test_parameter_counts_of_the_tutorial_nets():
    """30,651 and 52,033 with one bias per gate; torch's layout stores two (4 x units more per layer)."""
    assert core.LSTMTrainer(n_inputs=1, hidden=[50, 50]).n_parameters == 30_651 + 400
    assert core.LSTMTrainer(n_inputs=1, hidden=[64, 64], head=[32]).n_parameters == 52_033 + 512


def test_keras_start_is_orthogonal_with_open_forget_gates():
    weights = core.LSTMTrainer64(n_inputs=4, hidden=[50], init="keras").weights()
    recurrent = weights["lstm.0.weight_hh_l0"]
    np.testing.assert_allclose(recurrent.T @ recurrent, np.eye(50), atol=1e-14)
    assert np.array_equal(weights["lstm.0.bias_ih_l0"], np.repeat([0.0, 1.0, 0.0, 0.0], 50))
    assert not weights["lstm.0.bias_hh_l0"].any()
    bound = np.sqrt(6 / (4 + 200))
    kernel = weights["lstm.0.weight_ih_l0"]
    assert 0.95 * bound < np.abs(kernel).max() <= bound
    assert not weights["head.0.bias"].any()


def test_torch_start_is_uniform_in_the_inverse_root_of_the_width():
    weights = core.LSTMTrainer64(n_inputs=4, hidden=[64]).weights()
    for value in weights.values():
        assert np.abs(value).max() <= 1 / 8
    kernel = weights["lstm.0.weight_hh_l0"]
    assert kernel.std() == pytest.approx(1 / 8 / np.sqrt(3), rel=0.02)
    assert abs(kernel.mean()) < 0.003


def test_a_non_finite_loss_stops_the_epoch_before_the_weights_change():
    trainer, data, starts, targets = make(SMALL)
    data = data.copy()
    data[50] = np.nan
    trainer.bind(data, 3, np.zeros(3), np.ones(3))
    with pytest.raises(TrainingError, match=r"loss was not finite in epoch 1, batch \d+ of 12.*lower lr"):
        trainer.epoch(starts, targets)
    assert np.isfinite(trainer.state()["weights"]).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden": []}, "at least one LSTM layer"),
        ({"hidden": [0]}, "between 1 and 65536, was 0"),
        ({"dropout": [0.1, 0.1, 0.1]}, "one rate per LSTM layer: expected 2, was 3"),
        ({"dropout": [1.0, 0.0]}, "dropout must be at least 0 and below 1, was 1"),
        ({"lr": -1.0}, "lr must be at least 0"),
        ({"lr": float("nan")}, "lr must be"),
        ({"loss": "rmse"}, "'mse', 'mae', 'huber', .*; was 'rmse'"),
        ({"loss": "quantile"}, "needs levels"),
        ({"loss": "quantile", "levels": [0.1, 0.9]}, "needs n_outputs = 2, was 1"),
        ({"loss": "quantile", "levels": [0.9, 0.1]}, "levels must increase, but 0.1 follows 0.9"),
        ({"loss": "quantile", "levels": [0.5, 0.5]}, "levels must increase"),
        ({"loss": "quantile", "levels": [0.0]}, "levels must be above 0 and below 1, was 0"),
        ({"levels": [0.5]}, "belong to loss 'quantile'"),
        ({"loss": "gaussian"}, "needs n_outputs = 2, was 1"),
        ({"loss": "student_t", "n_outputs": 2}, "needs n_outputs = 3, was 2"),
        ({"loss": "cross_entropy", "n_outputs": 2}, "two classes needs n_outputs = 1"),
        ({"loss": "cross_entropy", "class_weights": [1.0]}, "one per class: expected 2, was 1"),
        ({"loss": "cross_entropy", "class_weights": [1.0, -1.0]}, "class_weights must be at least 0, was -1"),
        ({"loss": "cross_entropy", "focal": -1.0}, "focal must be at least 0, was -1"),
        ({"focal": 2.0}, "belong to loss 'cross_entropy'"),
        ({"cost": 0.1}, "cost belongs to loss 'sharpe'"),
        ({"loss": "sharpe", "cost": -0.1}, "cost must be at least 0, was -0.1"),
        ({"loss": "rank", "n_outputs": 2}, "needs n_outputs = 1, was 2"),
        ({"loss": "rank", "targets_per_window": 2}, "must be 1 for losses of blocks"),
        ({"lookback": 0}, "lookback"),
        ({"targets_per_window": 0}, r"targets_per_window must be between 1 and lookback \(8\), was 0"),
        ({"targets_per_window": 9}, r"targets_per_window must be between 1 and lookback \(8\), was 9"),
        ({"threads": 0}, "threads"),
    ],
)
def test_wrong_options_teach(change, message):
    with pytest.raises(InputError, match=message):
        core.LSTMTrainer(**{**SMALL, **change})


def test_wrong_data_teaches():
    trainer, data, starts, targets = make(SMALL)
    with pytest.raises(
        InputError, match=r"starts\[1\] = 249 is outside the series: a window reaches over 24 of its 270"
    ):
        trainer.predict([246, 249])
    with pytest.raises(InputError, match="outside"):
        trainer.predict([-1])
    with pytest.raises(InputError, match=r"targets must have shape \(82, 1\), was \(81, 1\)"):
        trainer.epoch(starts, targets[1:])
    targets[3] = np.inf
    with pytest.raises(InputError, match="targets must be finite, but element 3 was inf"):
        trainer.epoch(starts, targets)
    with pytest.raises(InputError, match=r"windows must have shape \(n, 8, 3\), was \(2, 3, 8\)"):
        trainer.predict_windows(np.zeros((2, 3, 8)))
    with pytest.raises(InputError, match="scale must be positive"):
        trainer.bind(data, 3, np.zeros(3), np.array([1.0, 0.0, 1.0]))
    with pytest.raises(InputError, match="array of numbers"):
        trainer.predict(["a"])
    with pytest.raises(TypeError):
        trainer.bind(data.astype(np.float32), 3, np.zeros(3), np.ones(3))
    with pytest.raises(InputError, match="Call bind"):
        core.LSTMTrainer(**SMALL).predict([0])
    weights = trainer.weights()
    with pytest.raises(UnknownName, match=r"lstm\.7"):
        trainer.set_weights({**weights, "lstm.7.bias": np.zeros(3)})
    with pytest.raises(InputError, match=r"head\.0\.bias must have shape \(6,\), was \(5,\)"):
        trainer.set_weights({**weights, "head.0.bias": np.zeros(5)})
    with pytest.raises(InputError, match="must be finite"):
        trainer.set_weights({**weights, "head.0.bias": np.full(6, np.nan)})
    del weights["head.0.bias"]
    with pytest.raises(InputError, match=r"lacks 'head\.0\.bias'"):
        trainer.set_weights(weights)


def test_the_series_stays_alive_without_its_owner():
    trainer = core.LSTMTrainer(**SMALL)
    trainer.bind(np.random.default_rng(0).normal(size=(1000, 3)), 3, np.zeros(3), np.ones(3))
    before = trainer.predict([0, 300])
    _ = [np.full((1000, 3), float(i)) for i in range(10)]  # would land in freed memory
    assert np.array_equal(before, trainer.predict([0, 300]))


def test_a_fleet_of_threads_trains_as_each_alone():
    from concurrent.futures import ThreadPoolExecutor

    shape = dict(SMALL, dropout=[0.2, 0.2])

    def fit(seed):
        trainer, data, starts, targets = make(shape)
        trainer = core.LSTMTrainer(**{**shape, "seed": seed})
        trainer.bind(data, 3, np.zeros(3), np.ones(3))
        return [trainer.epoch(starts, targets) for _ in range(4)]

    alone = [fit(seed) for seed in range(6)]
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(fit, range(6))) == alone


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_the_gradient_is_the_slope_of_the_loss(dropout):
    """Central differences of the float64 build, through the same dropout masks."""
    shape = {
        "n_inputs": 2,
        "hidden": [5, 4],
        "lookback": 5,
        "head": [3],
        "head_activation": "tanh",
        "dropout": [dropout] * 2,
    }
    trainer, _, starts, targets = make(shape, "LSTMTrainer64", n_rows=25, dropout=[dropout] * 2)
    step = 11 if dropout else None
    gradient = trainer.gradient(starts, targets, dropout_step=step)
    weights = trainer.weights()
    random = np.random.default_rng(2)
    for name, value in weights.items():
        for _ in range(4):
            index = tuple(random.integers(extent) for extent in value.shape)
            slopes = []
            for width in (1e-4, -1e-4):
                moved = {**weights, name: value.copy()}
                moved[name][index] += width
                trainer.set_weights(moved)
                slopes.append(trainer.loss(starts, targets, dropout_step=step))
            assert (slopes[0] - slopes[1]) / 2e-4 == pytest.approx(gradient[name][index], rel=1e-6, abs=1e-9)


def test_float32_gradients_agree_with_float64():
    single, _, starts, targets = make(SHAPES[3])
    double, *_ = make(SHAPES[3], "LSTMTrainer64")
    double.set_weights(single.weights())
    exact = double.gradient(starts, targets)
    for name, value in single.gradient(starts, targets).items():
        np.testing.assert_allclose(value, exact[name], rtol=0, atol=2e-7)


def test_all_levels_of_the_processor_agree():
    """The same starting weights to the bit, the same forecasts to 1e-6, after an epoch too."""
    program = """
import json, sys
import numpy as np
from longshort.native import core
trainer = core.LSTMTrainer(n_inputs=2, hidden=[20, 9], lookback=15, dropout=[0.2, 0.0], seed=4)
trainer.bind(np.random.default_rng(0).normal(size=(120, 2)), 2, np.zeros(2), np.ones(2))
starts = np.arange(0, 200, 2)
weights = float(np.abs(trainer.state()["weights"]).sum(dtype=np.float64))
before = trainer.predict(starts)[:, 0].tolist()
trainer.epoch(starts, np.sin(starts))
json.dump([core.isa, weights, before, trainer.predict(starts)[:, 0].tolist()], sys.stdout)
"""
    found = []
    for level in runnable_levels():
        environment = {**os.environ, "LONGSHORT_ISA": level}
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
        )
        found.append(json.loads(done.stdout))
    for level, (isa, weights, before, after) in zip(runnable_levels(), found, strict=True):
        assert isa == level
        assert weights == found[0][1]
        np.testing.assert_allclose(before, found[0][2], rtol=0, atol=1e-6)
        np.testing.assert_allclose(after, found[0][3], rtol=0, atol=1e-5)


def torch_outputs(weights, x, shape, dropout_step=None):
    """Raw outputs (n, steps, n_outputs) of the net at every step, by torch's own layers."""
    import torch

    for i, units in enumerate(shape["hidden"]):
        lstm = torch.nn.LSTM(x.shape[2], units, batch_first=True, dtype=torch.float64)
        own = {name: weights[f"lstm.{i}.{name}"] for name, _ in lstm.named_parameters()}
        x, _ = torch.func.functional_call(lstm, own, (x,))
        if dropout_step is not None:
            x = x * torch.tensor(dropout_mask(shape["dropout"][i], 7, dropout_step, i, x.shape))
    activation = {"linear": lambda a: a, "relu": torch.relu, "tanh": torch.tanh}[shape.get("head_activation", "linear")]
    n_dense = len(shape.get("head", [])) + 1
    for j in range(n_dense):
        x = torch.nn.functional.linear(x, weights[f"head.{j}.weight"], weights[f"head.{j}.bias"])
        x = activation(x) if j < n_dense - 1 else x
    return x


def dropout_mask(rate, seed, step, layer, shape):
    """The engine's own random numbers once more, in Python: factors (n, steps, units)."""

    def mix(x):
        x = (x + 0x9E3779B97F4A7C15) % 2**64
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
        return x ^ (x >> 31)

    key = mix((mix((mix(mix(seed) ^ 3) + step) % 2**64) + layer) % 2**64)
    sample = np.arange(shape[0], dtype=np.uint64) * 0x9E3779B9
    kept = np.empty(shape)
    for t in range(shape[1]):
        for unit in range(shape[2]):
            x = (sample + np.uint64(mix((key + (t << 32) + unit) % 2**64) % 2**32)) % 2**32
            for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
                x = (x ^ (x >> np.uint64(shift))) * np.uint64(factor) % np.uint64(2**32)
            kept[:, t, unit] = x.astype(np.uint32).view(np.int32) >= round(rate * 2**32) - 2**31
    return kept / (1 - rate)


def torch_loss(options, outputs, y):
    """The loss of each sample by torch's own functions."""
    import torch
    from torch.nn import functional

    loss, (n, m) = options["loss"], outputs.shape
    if loss in ("mse", "mae", "huber"):
        name = {"mse": "mse_loss", "mae": "l1_loss", "huber": "huber_loss"}[loss]
        extra = {"delta": options["huber_delta"]} if loss == "huber" else {}
        return getattr(functional, name)(outputs, y, reduction="none", **extra).mean(dim=1)
    if loss == "quantile":
        levels = torch.tensor(options["levels"], dtype=torch.float64)
        steps = torch.cat([outputs[:, :1], functional.softplus(outputs[:, 1:], threshold=50)], dim=1)
        error = y - steps.cumsum(dim=1)
        return torch.maximum(levels * error, (levels - 1) * error).mean(dim=1)
    if loss == "cross_entropy":
        if m == 1:
            outputs = torch.cat([torch.zeros_like(outputs), outputs], dim=1)
        log_p = functional.log_softmax(outputs, dim=1)[torch.arange(n), y[:, 0].long()]
        weights = torch.tensor(options.get("class_weights", [1.0] * outputs.shape[1]), dtype=torch.float64)[
            y[:, 0].long()
        ]
        return weights * (1 - log_p.exp()) ** options.get("focal", 0.0) * -log_p
    sigma = functional.softplus(outputs[:, 1], threshold=50) + 1e-6
    if loss == "gaussian":
        return -torch.distributions.Normal(outputs[:, 0], sigma).log_prob(y[:, 0])
    nu = 2 + functional.softplus(outputs[:, 2], threshold=50) + 1e-3
    return -torch.distributions.StudentT(nu, outputs[:, 0], sigma).log_prob(y[:, 0])


def same_gradients(found, weights):
    for name, weight in weights.items():
        scale = weight.grad.abs().max().item()
        np.testing.assert_allclose(found[name], weight.grad.numpy(), rtol=1e-9, atol=1e-12 * scale, err_msg=name)


@pytest.mark.full
@pytest.mark.parametrize("options", LOSSES, ids=loss_name)
@pytest.mark.parametrize(
    "shape",
    [*SHAPES, SMALL, {"n_inputs": 2, "hidden": [33], "lookback": 12, "head": [5]}],
    ids=lambda s: str(s["hidden"]),
)
def test_gradients_equal_torch_autograd(shape, options):
    torch = pytest.importorskip("torch")
    shape = {**shape, "n_outputs": 1, **options}
    trainer, data, starts, targets = make(shape, "LSTMTrainer64")
    trainer.set_weights({name: value * 2 for name, value in trainer.weights().items()})
    weights = {name: torch.tensor(value, requires_grad=True) for name, value in trainer.weights().items()}
    x = torch.tensor((windows_of(data, starts, shape) - 3.0) / 2.0)
    value = torch_loss(options, torch_outputs(weights, x, shape)[:, -1], torch.tensor(targets)).mean()
    value.backward()
    assert trainer.loss(starts, targets) == pytest.approx(value.item(), rel=1e-12)
    same_gradients(trainer.gradient(starts, targets), weights)


@pytest.mark.full
@pytest.mark.parametrize("answers", [1, 2, 5, 8])
@pytest.mark.parametrize("options", LOSSES, ids=loss_name)
def test_gradients_of_a_sequence_equal_torch_autograd(options, answers):
    """Targets at the last steps, some of them missing, through dropout at every step."""
    torch = pytest.importorskip("torch")
    shape = {**SMALL, "n_outputs": 1, **options, "dropout": [0.2, 0.4], "targets_per_window": answers}
    trainer, data, starts, targets = make(shape, "LSTMTrainer64")
    trainer.set_weights({name: value * 2 for name, value in trainer.weights().items()})
    targets = targets.reshape(len(starts), answers, -1)
    if answers > 1:
        missing = np.random.default_rng(3).random((len(starts), answers)) < 0.3
        missing[missing.all(axis=1), 1] = False
        targets[missing] = np.nan
    weights = {name: torch.tensor(value, requires_grad=True) for name, value in trainer.weights().items()}
    x = torch.tensor((windows_of(data, starts, shape) - 3.0) / 2.0)
    outputs = torch_outputs(weights, x, shape, dropout_step=5)[:, -answers:]
    present = ~np.isnan(targets).any(axis=2)
    per_target = torch_loss(options, outputs[present], torch.tensor(targets[present]))
    windows, counts = np.nonzero(present)[0], present.sum(axis=1)
    value = (per_target / torch.tensor(counts[windows])).sum() / len(starts)
    value.backward()
    assert trainer.loss(starts, targets, dropout_step=5) == pytest.approx(value.item(), rel=1e-12)
    same_gradients(trainer.gradient(starts, targets, dropout_step=5), weights)


@pytest.mark.full
def test_training_without_dropout_follows_torch_adam():
    """Ten full-batch steps beside torch.optim.Adam in float64."""
    torch = pytest.importorskip("torch")
    shape = {"n_inputs": 3, "hidden": [8], "lookback": 6}
    trainer, data, starts, targets = make(shape, "LSTMTrainer64", batch_size=10_000, lr=0.01)
    lstm = torch.nn.LSTM(3, 8, batch_first=True, dtype=torch.float64)
    linear = torch.nn.Linear(8, 1, dtype=torch.float64)
    weights = {name: torch.tensor(value) for name, value in trainer.weights().items()}
    lstm.load_state_dict({n.removeprefix("lstm.0."): w for n, w in weights.items() if n.startswith("lstm")})
    linear.load_state_dict({n.removeprefix("head.0."): w for n, w in weights.items() if n.startswith("head")})
    adam = torch.optim.Adam([*lstm.parameters(), *linear.parameters()], lr=0.01)
    x = torch.tensor((windows_of(data, starts, shape) - 3.0) / 2.0)
    for _ in range(10):
        adam.zero_grad()
        value = torch.nn.functional.mse_loss(linear(lstm(x)[0][:, -1]), torch.tensor(targets))
        value.backward()
        adam.step()
        assert trainer.epoch(starts, targets) == pytest.approx(value.item(), rel=1e-9)
