"""The torch engine against the native one, and what only it can do."""

import threading

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from longshort.errors import InputError, TrainingError, UnknownName  # noqa: E402
from longshort.models import nets  # noqa: E402
from longshort.models.torch_engine import TorchEngine, choose_device  # noqa: E402
from longshort.native import core  # noqa: E402

pytestmark = pytest.mark.full

N, LOOKBACK, FEATURES = 220, 12, 3
DATA = np.random.default_rng(1).normal(3.0, 2.0, (N, FEATURES))
STARTS = np.arange(N - LOOKBACK, dtype=np.int64) * FEATURES
TARGETS = np.tanh(DATA[LOOKBACK - 2 : N - 2, :1] - DATA[LOOKBACK - 1 : N - 1, 1:2]) / 2
CENTER, SCALE = np.full(FEATURES, 3.0), np.full(FEATURES, 2.0)
OPTIONS = {"lr": 5e-3, "batch_size": 16, "seed": 5}


def bound(engine):
    engine.bind(DATA, FEATURES, CENTER, SCALE)
    return engine


def engine_of(kind="lstm", seed=5, **options):
    shape = {name: options.pop(name) for name in ("hidden", "head", "dropout", "n_outputs") if name in options}
    net = nets.make_network(kind, FEATURES, seed=seed, **{"hidden": (9, 5), "lookback": LOOKBACK, **shape})
    return bound(TorchEngine(net, lookback=LOOKBACK, device="cpu", **{**OPTIONS, "seed": seed, **options}))


def native_of(cls="LSTMTrainer", **options):
    return bound(getattr(core, cls)(n_inputs=FEATURES, hidden=[9, 5], lookback=LOOKBACK, **{**OPTIONS, **options}))


def same(left, right):
    assert left.keys() == right.keys()
    return all((left[name] == right[name]).all() for name in left)


# Parity with the native engine ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [{}, {"clip": 0.05}, {"weight_decay": 0.1}, {"eps": 1e-3, "beta1": 0.8, "beta2": 0.99}, {"batch_size": 300}],
    ids=["plain", "clip", "weight decay", "adam", "one batch"],
)
def test_both_engines_follow_the_same_loss_path(options):
    native, ours = native_of(**options), engine_of(**options)
    assert same(native.weights(), ours.weights())  # the same initial weights, bit for bit
    for _ in range(3):
        assert ours.epoch(STARTS, TARGETS) == pytest.approx(native.epoch(STARTS, TARGETS), abs=1e-5)
        assert ours.loss(STARTS, TARGETS) == pytest.approx(native.loss(STARTS, TARGETS), abs=1e-5)
    np.testing.assert_allclose(ours.predict(STARTS), native.predict(STARTS), rtol=0, atol=1e-4)


@pytest.mark.parametrize("loss", ["mse", "huber"])
def test_in_double_precision_the_paths_agree_to_the_last_digits(loss):
    native, ours = native_of("LSTMTrainer64", loss=loss), engine_of(loss=loss, precision="fp64")
    ours.set_weights(native.weights())
    for _ in range(3):
        assert ours.epoch(STARTS, TARGETS) == pytest.approx(native.epoch(STARTS, TARGETS), abs=1e-12)
        assert ours.loss(STARTS, TARGETS) == pytest.approx(native.loss(STARTS, TARGETS), abs=1e-12)


def test_dense_layers_and_keras_weights_agree_too():
    native = native_of("LSTMTrainer", head=[4], head_activation="tanh", init="keras")
    net = nets.make_network("lstm", FEATURES, hidden=(9, 5), head=(4,), head_activation="tanh", init="keras", seed=5)
    ours = bound(TorchEngine(net, lookback=LOOKBACK, device="cpu", **OPTIONS))
    assert same(native.weights(), ours.weights())
    assert ours.epoch(STARTS, TARGETS) == pytest.approx(native.epoch(STARTS, TARGETS), abs=1e-6)


# What an answer and a training depend on ------------------------------------------------------------------------------


@pytest.mark.parametrize("hidden", [(9, 5), (1,), (32,), (7, 50)], ids=str)
@pytest.mark.parametrize("kind", sorted(nets.NETWORKS))
def test_an_answer_depends_on_its_window_alone(kind, hidden):
    engine = engine_of(kind, hidden=hidden)
    together, order = engine.predict(STARTS), np.random.default_rng(0).permutation(len(STARTS))
    assert (engine.predict(STARTS[order]) == together[order]).all()
    assert all((engine.predict(STARTS[[i]]) == together[i]).all() for i in (0, 17, len(STARTS) - 1))
    assert engine.predict(STARTS[:0]).shape == (0, 1)


class Foreign(torch.nn.Module):
    """A module from elsewhere: torch's own dropout, answers without an axis of outputs, a buffer."""

    def __init__(self):
        super().__init__()
        self.mix = torch.nn.Linear(LOOKBACK * FEATURES, 8)
        self.norm, self.drop, self.last = torch.nn.BatchNorm1d(8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 1)

    def forward(self, x):
        return self.last(self.drop(self.norm(self.mix(x.flatten(1))))).squeeze(1)


def foreign():
    with nets.seeded(3):
        module = Foreign()
    return bound(TorchEngine(module, lookback=LOOKBACK, device="cpu", **OPTIONS))


@pytest.mark.parametrize("make", [lambda: engine_of(dropout=0.5), foreign], ids=["ours", "foreign"])
def test_training_repeats_bit_for_bit_and_leaves_the_global_random_state_alone(make):
    torch.manual_seed(11)
    before = torch.get_rng_state()
    runs = []
    for noise in (0, 3):
        engine = make()
        torch.rand(noise)
        runs.append([engine.epoch(STARTS, TARGETS) for _ in range(3)])
    assert runs[0] == runs[1]
    torch.manual_seed(11)
    engine = make()
    engine.epoch(STARTS, TARGETS)
    assert (torch.get_rng_state() == before).all()


def test_dropout_differs_between_epochs_and_seeds_and_ends_with_training():
    still = {"lr": 0.0, "dropout": 0.5}
    engine = engine_of(**still)
    first, second = engine.epoch(STARTS, TARGETS), engine.epoch(STARTS, TARGETS)
    assert first != second
    assert engine_of(**still).epoch(STARTS, TARGETS) == first
    other = engine_of(**still)
    other.seed = 6
    assert other.epoch(STARTS, TARGETS) != first
    assert engine.loss(STARTS, TARGETS) == engine_of().loss(STARTS, TARGETS)


def test_engines_in_several_threads_end_as_they_would_alone():
    makers = [lambda: engine_of(dropout=0.5), lambda: engine_of(dropout=0.3, seed=8), foreign, foreign]
    alone = []
    for make in makers:
        engine = make()
        for _ in range(3):
            engine.epoch(STARTS, TARGETS)
        alone.append(engine.weights())
    engines = [make() for make in makers]
    threads = [
        threading.Thread(target=lambda e=engine: [e.epoch(STARTS, TARGETS) for _ in range(3)]) for engine in engines
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(same(engine.weights(), expected) for engine, expected in zip(engines, alone, strict=True))


def test_threads_of_torch_are_put_back():
    before = torch.get_num_threads()
    seen = []
    net = nets.make_network("gru", FEATURES, hidden=(4,))
    net.register_forward_hook(lambda *_: seen.append(torch.get_num_threads()))
    engine = bound(TorchEngine(net, lookback=LOOKBACK, device="cpu"))
    engine.epoch(STARTS[:10], TARGETS[:10])
    engine.predict(STARTS[:10])
    assert set(seen) == {1}
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("make", [lambda: engine_of(dropout=0.5), lambda: engine_of("gru"), foreign])
def test_a_resumed_training_has_the_bits_of_one_that_never_stopped(make):
    whole, part = make(), make()
    for _ in range(2):
        whole.epoch(STARTS, TARGETS)
        part.epoch(STARTS, TARGETS)
    resumed = make()
    resumed.set_state(part.state())
    losses = [(a.epoch(STARTS, TARGETS), a.loss(STARTS, TARGETS)) for a in (whole, resumed) for _ in range(2)]
    assert losses[:2] == losses[2:]
    assert same(whole.state(), resumed.state())


def test_a_fresh_state_can_be_kept_and_a_wrong_one_is_refused():
    engine = engine_of()
    other = engine_of(seed=9)
    other.set_state(engine.state())
    assert same(engine.weights(), other.weights())
    with pytest.raises(InputError, match=r"state lacks 'first_moment\.lstm\.0\.weight_ih_l0'"):
        engine.set_state({n: a for n, a in engine.state().items() if n != "first_moment.lstm.0.weight_ih_l0"})
    with pytest.raises(InputError, match=r"shape \(36, 3\), was \(2,\)"):
        engine.set_state(engine.state() | {"weights.lstm.0.weight_ih_l0": np.zeros(2)})
    with pytest.raises(InputError, match="finite"):
        engine.set_state(engine.state() | {"weights.lstm.0.weight_ih_l0": np.full((36, 3), np.nan)})


# Windows --------------------------------------------------------------------------------------------------------------


def test_windows_of_many_symbols_are_cut_where_they_lie():
    panel = np.random.default_rng(2).normal(size=(40, 4, FEATURES))  # (time, symbol, feature)
    panel.flags.writeable = False
    engine = engine_of()
    engine.bind(panel, 4 * FEATURES, CENTER, SCALE)
    said = engine.predict(np.array([(5 * 4 + 2) * FEATURES]))  # row 5, symbol 2
    engine.bind(np.ascontiguousarray(panel[5 : 5 + LOOKBACK, 2]), FEATURES, CENTER, SCALE)
    assert (engine.predict(np.array([0])) == said).all()


def test_symbols_reach_the_network_by_the_column_of_a_window():
    net = nets.make_network("gru", FEATURES, hidden=(4,), n_symbols=5, embedding=2, seed=0)
    engine = TorchEngine(net, lookback=LOOKBACK, device="cpu")
    panel = np.repeat(DATA[:40, None], 3, axis=1)  # three symbols with the same bars
    starts = np.arange(3) * FEATURES
    engine.bind(panel, 3 * FEATURES, CENTER, SCALE, symbols=np.array([4, 0, 4]))
    said = engine.predict(starts)[:, 0]
    assert said[0] == said[2] != said[1]
    engine.epoch(np.arange(60) * FEATURES, np.ones(60))
    engine.bind(DATA, FEATURES, CENTER, SCALE)  # one column: symbol 0
    assert engine.predict(np.array([0])).shape == (1, 1)
    with pytest.raises(InputError, match=r"symbols 0 to 4, but symbols has 5"):
        engine.bind(panel, 3 * FEATURES, CENTER, SCALE, symbols=np.array([1, 2, 5]))
    with pytest.raises(InputError, match=r"one number per column \(3\)"):
        engine.bind(panel, 3 * FEATURES, CENTER, SCALE, symbols=np.array([1, 2]))


# What is refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lr": 1e30}, "not finite in epoch 1, batch"),
        ({"data": np.nan}, "the loss was not finite in epoch 1, batch 1 of 13"),
    ],
)
def test_what_is_not_finite_stops_within_one_step_and_keeps_the_weights_before_it(change, message):
    engine = engine_of(**{k: v for k, v in change.items() if k == "lr"})
    if "data" in change:
        engine.bind(np.full_like(DATA, np.nan), FEATURES, CENTER, SCALE)
    with pytest.raises(TrainingError, match=message):
        engine.epoch(STARTS, TARGETS * 1e3)
    assert all(np.isfinite(w).all() for w in engine.weights().values())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda e: e.epoch(STARTS[:0], TARGETS[:0]), "at least one window"),
        (lambda e: e.epoch(STARTS + 1_000_000, TARGETS), r"starts\[0\] = 1000000 is outside the series"),
        (lambda e: e.predict(np.array([-1])), r"starts\[0\] = -1 is outside"),
        (lambda e: e.predict(np.array([0.5])), "integers"),
        (lambda e: e.epoch(STARTS, TARGETS[:-1]), r"targets must have shape \(208, n_targets\)"),
        (lambda e: e.epoch(STARTS, np.hstack([TARGETS, TARGETS])), "one column per output"),
        (lambda e: e.loss(STARTS, np.where(STARTS == 6, np.nan, 1.0)), r"targets\[2, 0\] was nan"),
        (lambda e: e.epoch(STARTS, TARGETS, STARTS), "takes no blocks"),
        (lambda e: engine_of(loss="rank").epoch(STARTS, TARGETS), "needs the block of each sample"),
        (lambda e: e.bind(DATA.astype(np.float32), 3, CENTER, SCALE), "float64"),
        (lambda e: e.bind(DATA[:, :2].copy(), 2, CENTER[:2], SCALE[:2]), "takes 3 features a bar"),
        (lambda e: e.bind(DATA, 3, CENTER, SCALE * 0), "positive"),
        (lambda e: e.set_weights({}), "weights lacks"),
        (lambda e: setattr(e, "lr", -1.0), "lr must be at least 0"),
        (lambda e: engine_of(mixed_precision=True), "needs a CUDA device"),
        (
            lambda e: choose_device("cuda:0" if not torch.cuda.is_available() else "x"),
            "Pass device='auto'|such as 'cpu'",
        ),
        (lambda e: choose_device("gpu"), "must be 'auto' or a device of torch"),
    ],
)
def test_wrong_arguments_are_told_with_numbers(call, message):
    with pytest.raises(InputError, match=message):
        call(engine_of())


def test_unknown_names_get_the_nearest():
    with pytest.raises(UnknownName, match="Did you mean 'fp32'"):
        engine_of(precision="f32")
    with pytest.raises(UnknownName, match="Did you mean 'quantile'"):
        engine_of(loss="quantiles")
    engine = engine_of()
    with pytest.raises(UnknownName, match=r"Did you mean 'lstm\.0\.weight_ih_l0'"):
        engine.set_weights(engine.weights() | {"lstm.0.weight_ih": np.zeros(1)})


def test_a_module_that_gives_a_tuple_or_a_sequence_is_told_what_is_expected():
    for module in (torch.nn.LSTM(FEATURES, 4, batch_first=True), torch.nn.Linear(FEATURES, 1)):
        engine = bound(TorchEngine(module, lookback=LOOKBACK, device="cpu"))
        with pytest.raises(InputError, match=r"must turn windows \(1, 12, 3\) into outputs \(1, n_outputs\)"):
            engine.epoch(STARTS, TARGETS)


def test_a_loss_given_as_a_function_is_used_as_it_is():
    named, given = engine_of(), engine_of(loss=torch.nn.MSELoss())
    assert given.epoch(STARTS, TARGETS) == pytest.approx(named.epoch(STARTS, TARGETS), abs=1e-7)
    assert given.loss(STARTS, TARGETS) == pytest.approx(named.loss(STARTS, TARGETS), abs=1e-6)


# On a GPU -------------------------------------------------------------------------------------------------------------

on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")


def gpu_engine(kind, **options):
    net = nets.make_network(kind, FEATURES, seed=5, hidden=(9, 5), lookback=LOOKBACK)
    return bound(TorchEngine(net, lookback=LOOKBACK, **{**OPTIONS, **options}))


@on_a_gpu
@pytest.mark.parametrize("kind", sorted(nets.NETWORKS))
def test_a_gpu_follows_the_loss_path_of_the_processor(kind):
    there, here = gpu_engine(kind, device="auto"), gpu_engine(kind, device="cpu")
    assert there.device.type == "cuda"
    for _ in range(3):
        assert there.epoch(STARTS, TARGETS) == pytest.approx(here.epoch(STARTS, TARGETS), abs=1e-3)
        assert there.loss(STARTS, TARGETS) == pytest.approx(here.loss(STARTS, TARGETS), abs=1e-3)
    here.set_weights(there.weights())
    np.testing.assert_allclose(there.predict(STARTS), here.predict(STARTS), rtol=0, atol=2e-3)
    assert (there.predict(STARTS[5:9]) == there.predict(STARTS)[5:9]).all()


@on_a_gpu
@pytest.mark.parametrize("kind", sorted(nets.NETWORKS))
def test_mixed_precision_learns_as_single_precision_does(kind):
    mixed, single = (gpu_engine(kind, device="cuda", mixed_precision=flag) for flag in (True, False))
    for _ in range(10):
        mixed.epoch(STARTS, TARGETS)
        single.epoch(STARTS, TARGETS)
    assert mixed.loss(STARTS, TARGETS) == pytest.approx(single.loss(STARTS, TARGETS), rel=0.1)
    assert all(w.dtype == np.float32 for w in mixed.weights().values())
    mixed.bind(np.full_like(DATA, np.nan), FEATURES, CENTER, SCALE)
    with pytest.raises(TrainingError, match="the loss was not finite in epoch 11, batch 1"):
        mixed.epoch(STARTS, TARGETS)
