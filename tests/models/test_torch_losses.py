"""Losses of the torch engine: against scipy, by hand, against finite differences and against the native engine."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from scipy import stats

torch = pytest.importorskip("torch")

from longshort.errors import InputError  # noqa: E402
from longshort.models import nets  # noqa: E402
from longshort.models.torch_engine import TorchEngine  # noqa: E402
from longshort.models.torch_losses import LOSSES, ranks_in_blocks, torch_loss  # noqa: E402
from longshort.native import core  # noqa: E402

pytestmark = [pytest.mark.full, pytest.mark.usefixtures("one_thread")]


RNG = np.random.default_rng(6)
OPTIONS = {
    "huber": {"huber_delta": 0.7},
    "quantile": {"levels": (0.1, 0.5, 0.9)},
    "cross_entropy": {"class_weights": (0.5, 1.5), "focal": 2.0},
    "sharpe": {"cost": 0.02},
}
N_OUTPUTS = {"quantile": 3, "gaussian": 2, "student_t": 3}
CASES = [
    *((name, OPTIONS.get(name, {}), N_OUTPUTS.get(name, 1)) for name in LOSSES),
    ("mse", {}, 3),
    ("mae", {}, 2),
    ("cross_entropy", {}, 1),
    ("cross_entropy", {"focal": 1.5, "class_weights": (0.5, 1.0, 1.5)}, 3),
]
IDS = [f"{name}-{n}{'-plain' * (not options)}" for name, options, n in CASES]


def sample(name, n_outputs, n=12):
    outputs = torch.from_numpy(RNG.normal(size=(n, n_outputs)))
    targets = RNG.normal(size=(n, n_outputs if name in ("mse", "mae", "huber") else 1))
    if name == "cross_entropy":
        targets = RNG.integers(0, max(n_outputs, 2), (n, 1)).astype(float)
    blocks = torch.arange(n) // 4 if name in ("sharpe", "rank") else None
    return outputs, torch.from_numpy(targets), blocks


@pytest.mark.parametrize(("name", "options", "n_outputs"), CASES, ids=IDS)
def test_gradients_are_those_of_finite_differences(name, options, n_outputs):
    outputs, targets, blocks = sample(name, n_outputs)
    loss = torch_loss(name, **options)
    assert torch.autograd.gradcheck(lambda o: loss(o, targets, blocks), [outputs.requires_grad_(True)], atol=1e-6)


@pytest.mark.parametrize(("name", "options", "n_outputs"), CASES, ids=IDS)
def test_both_engines_follow_the_same_loss_path(name, options, n_outputs):
    data = np.random.default_rng(2).normal(size=(90, 2))
    starts, targets = np.arange(80) * 2, sample(name, n_outputs, 80)[1].numpy()
    blocks = {"blocks": np.random.default_rng(3).integers(0, 12, 80)} if name in ("sharpe", "rank") else {}
    native = core.LSTMTrainer64(
        n_inputs=2, hidden=[5], lookback=6, seed=4, lr=0.01, loss=name, n_outputs=n_outputs,
        **{k: list(v) if isinstance(v, tuple) else v for k, v in options.items()},
    )  # fmt: skip
    net = nets.make_network("lstm", 2, n_outputs=n_outputs, hidden=(5,))
    ours = TorchEngine(
        net, lookback=6, seed=4, lr=0.01, loss=name, loss_options=options, device="cpu", precision="fp64"
    )
    ours.set_weights(native.weights())
    for engine in (native, ours):
        engine.bind(data, 2, np.zeros(2), np.ones(2))
    for _ in range(3):
        for seen in ("epoch", "loss"):
            theirs, own = (getattr(engine, seen)(starts, targets, **blocks) for engine in (native, ours))
            assert own == pytest.approx(theirs, abs=1e-11)


# Known answers --------------------------------------------------------------------------------------------------------


def softplus(x):
    return np.logaddexp(0, x)


@pytest.mark.parametrize("y", [-3.0, 0.2, 8.0])
def test_likelihoods_are_those_of_scipy(y):
    o = np.array([0.3, -0.8, 1.1])
    target = torch.tensor([[y]], dtype=torch.float64)
    normal = -stats.norm.logpdf(y, o[0], softplus(o[1]) + 1e-6)
    assert float(torch_loss("gaussian")(torch.from_numpy(o[None, :2]), target)) == pytest.approx(normal, rel=1e-12)
    t = -stats.t.logpdf(y, 2 + softplus(o[2]) + 1e-3, o[0], softplus(o[1]) + 1e-6)
    assert float(torch_loss("student_t")(torch.from_numpy(o[None]), target)) == pytest.approx(t, rel=1e-12)


def test_cross_entropy_is_that_of_torch_where_nothing_is_weighed():
    logits, classes = torch.from_numpy(RNG.normal(size=(9, 3))), torch.from_numpy(RNG.integers(0, 3, 9))
    expected = torch.nn.functional.cross_entropy(logits, classes)
    torch.testing.assert_close(torch_loss("cross_entropy")(logits, classes[:, None].double()), expected)
    binary = (classes > 0).double()
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits[:, 0], binary)
    torch.testing.assert_close(torch_loss("cross_entropy")(logits[:, :1], binary[:, None]), expected)


def test_focal_weight_is_one_minus_the_probability_of_what_happened():
    p = 0.9
    logit = torch.tensor([[math.log(p / (1 - p))]], dtype=torch.float64)
    loss = torch_loss("cross_entropy", focal=2.0, class_weights=(1.0, 3.0))(logit, torch.ones(1, 1))
    assert float(loss) == pytest.approx(3.0 * (1 - p) ** 2 * -math.log(p))


@pytest.mark.parametrize("logit", [-1e4, -80.0, 80.0, 1e4])
def test_a_sure_answer_has_a_finite_loss_and_gradient(logit):
    outputs = torch.tensor([[logit]], requires_grad=True)
    loss = torch_loss("cross_entropy", focal=2.0)(outputs, torch.ones(1, 1))
    loss.backward()
    assert torch.isfinite(loss)
    assert outputs.grad is not None
    assert torch.isfinite(outputs.grad).all()


@settings(max_examples=50, deadline=None)
@given(some.lists(some.floats(-20, 20), min_size=3, max_size=3), some.floats(-5, 5))
def test_quantiles_never_cross_and_pinball_is_what_it_says(raw, y):
    levels = (0.1, 0.5, 0.9)
    q = np.cumsum([raw[0], *softplus(np.array(raw[1:]))])
    assert (np.diff(q) >= 0).all()
    expected = np.mean(
        [level * (y - v) if y >= v else (1 - level) * (v - y) for level, v in zip(levels, q, strict=True)]
    )
    loss = torch_loss("quantile", levels=levels)(
        torch.tensor([raw], dtype=torch.float64), torch.tensor([[y]], dtype=torch.float64)
    )
    assert float(loss) == pytest.approx(expected, rel=1e-9, abs=1e-9)


# Whole batches --------------------------------------------------------------------------------------------------------


def test_sharpe_charges_changes_of_position_inside_a_block_only():
    o = np.array([0.5, -0.3, 1.2, 2.0, -1.0])
    y, blocks = np.array([1.0, -2.0, 0.5, 0.3, 0.7]), torch.tensor([0, 0, 0, 1, 1])
    position = np.tanh(o)
    earned = position * y
    for t in (1, 2, 4):  # 3 begins a block
        earned[t] -= 0.1 * abs(position[t] - position[t - 1])
    expected = -earned.mean() / earned.std()
    loss = torch_loss("sharpe", cost=0.1)(torch.from_numpy(o[:, None]), torch.from_numpy(y[:, None]), blocks)
    assert float(loss) == pytest.approx(expected, rel=1e-12)


def test_rank_is_minus_the_mean_correlation_with_the_ranks_of_each_date():
    o, y = RNG.normal(size=14), RNG.normal(size=14)
    y[3] = y[4]
    blocks = np.array([0] * 6 + [1] + [2] * 7)
    dates = [blocks == b for b in (0, 2)]  # one symbol alone says nothing
    expected = -np.mean([np.corrcoef(o[d], stats.rankdata(y[d]))[0, 1] for d in dates])
    ranks = ranks_in_blocks(y[:, None], blocks)
    loss = torch_loss("rank")(torch.from_numpy(o[:, None]), torch.from_numpy(ranks), torch.from_numpy(blocks))
    assert float(loss) == pytest.approx(expected, abs=1e-10)


@settings(max_examples=60, deadline=None)
@given(some.lists(some.tuples(some.integers(0, 3), some.integers(-3, 3)), min_size=1, max_size=40))
def test_ranks_are_those_of_scipy_block_by_block(pairs):
    blocks, values = (np.array(column) for column in zip(*pairs, strict=True))
    ranks = ranks_in_blocks(values[:, None].astype(float), blocks)[:, 0]
    for b in np.unique(blocks):
        mine = blocks == b
        n = mine.sum()
        np.testing.assert_allclose(ranks[mine], (2 * stats.rankdata(values[mine]) - 1) / n - 1, atol=1e-12)


def panel_engine(loss, **options):
    net = nets.make_network("gru", 1, hidden=(6,), seed=1)
    return TorchEngine(net, lookback=4, lr=0.01, batch_size=40, loss=loss, loss_options=options, device="cpu", seed=1)


def planted(n_rows=200, n_symbols=5, strength=0.5):
    """A panel whose next value is partly the last one: what goes up goes on going up."""
    rng = np.random.default_rng(3)
    panel = rng.normal(size=(n_rows, n_symbols))
    for t in range(1, n_rows):
        panel[t] += strength * panel[t - 1]
    rows, columns = (a.ravel() for a in np.mgrid[0 : n_rows - 4, 0:n_symbols])
    return panel[..., None], rows * n_symbols + columns, panel[rows + 4, columns], rows, columns


@pytest.mark.parametrize("loss", ["sharpe", "rank"])
def test_a_planted_signal_is_found_and_noise_is_not(loss):
    found = {}
    for strength in (0.0, 0.5):
        data, starts, targets, rows, columns = planted(strength=strength)
        blocks = rows if loss == "rank" else columns * 100 + rows // 20
        early = rows < 120
        engine = panel_engine(loss)
        engine.bind(data, 5, np.zeros(1), np.ones(1))
        for _ in range(15):
            engine.epoch(starts[early], targets[early], blocks[early])
        found[strength] = -engine.loss(starts[~early], targets[~early], blocks[~early])
    assert found[0.5] > 0.25
    assert abs(found[0.0]) < 0.12


def test_batches_hold_whole_blocks_and_every_sample_once():
    engine, blocks = panel_engine("rank"), np.repeat(np.arange(23), 7)
    batches = list(engine._batches(len(blocks), blocks))
    assert sorted(np.concatenate(batches)) == list(range(len(blocks)))
    members = [set(blocks[batch]) for batch in batches]
    assert all(len(batch) == 7 * len(inside) for batch, inside in zip(batches, members, strict=True))
    assert [len(inside) for inside in members] == [6, 6, 6, 5]  # 42 samples are the first 40 or more
    lone = list(engine._batches(len(blocks) - 28, blocks[:-28]))  # 19 blocks: the last makes no half batch
    assert sorted(len(set(blocks[batch])) for batch in lone) == [6, 6, 7]


def test_the_order_of_samples_inside_a_panel_does_not_matter_to_the_validation_loss():
    data, starts, targets, rows, columns = planted(60)
    blocks, by_symbol = columns * 100 + rows // 20, np.argsort(columns, kind="stable")
    engine = panel_engine("sharpe", cost=0.1)
    engine.bind(data, 5, np.zeros(1), np.ones(1))
    mixed = engine.loss(starts, targets, blocks)
    assert engine.loss(starts[by_symbol], targets[by_symbol], blocks[by_symbol]) == pytest.approx(mixed, abs=1e-6)


# What is refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: torch_loss("huber", huber_delta=0), "huber_delta must be a finite number above 0"),
        (lambda: torch_loss("huber", delta=1.0), "does not understand its options"),
        (lambda: torch_loss("quantile", levels=(0.5, 0.1)), "levels must rise"),
        (lambda: torch_loss("quantile", levels=()), "levels must rise"),
        (lambda: torch_loss("quantile", levels=(0.0, 0.5)), "levels must rise"),
        (lambda: torch_loss("sharpe", cost=-1), "cost must be"),
        (lambda: torch_loss("cross_entropy", focal=-1), "focal must be"),
        (lambda: torch_loss("cross_entropy", class_weights=(0, 1)), "class_weights must be positive"),
        (lambda: torch_loss(torch.nn.MSELoss(), delta=1), "takes no options"),
        (lambda: torch_loss("gaussian").check(1, np.zeros((4, 1))), "needs 2 outputs"),
        (lambda: torch_loss("gaussian").check(2, np.zeros((4, 2))), "takes one target"),
        (lambda: torch_loss("cross_entropy").check(1, np.full((4, 1), 2.0)), "classes from 0 to 1, was 2"),
        (lambda: torch_loss("cross_entropy").check(3, np.full((4, 1), 0.5)), "classes from 0 to 2, was 0.5"),
        (lambda: torch_loss("cross_entropy", class_weights=(1, 1)).check(3, np.zeros((4, 1))), "needs 3 numbers"),
    ],
)
def test_wrong_arguments_are_told(call, message):
    with pytest.raises(InputError, match=message):
        call()
