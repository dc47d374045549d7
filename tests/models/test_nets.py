"""Networks: shapes, gradients, what each kind promises."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import longshort as ls  # noqa: E402
from longshort.errors import InputError  # noqa: E402
from longshort.models import exchange, nets  # noqa: E402
from longshort.models.torch_engine import TorchEngine  # noqa: E402
from longshort.native import core  # noqa: E402

pytestmark = [pytest.mark.full, pytest.mark.usefixtures("one_thread")]


KINDS = sorted(nets.NETWORKS)
WHOLE_WINDOW = {"alstm", "bilstm", "cnn_lstm"}


def windows(n=2, lookback=5, n_inputs=3, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(n, lookback, n_inputs)))


# All kinds ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [{}, {"head": (4,), "n_outputs": 3}, {"n_symbols": 4, "embedding": 2}], ids=str)
def test_every_kind_turns_windows_into_outputs(kind, shape):
    net = nets.make_network(kind, 3, hidden=(6, 5), lookback=7, **shape).double()
    symbols = (torch.tensor([0, 3]),) if "n_symbols" in shape else ()
    assert net(windows(lookback=7), *symbols).shape == (2, shape.get("n_outputs", 1))
    assert net.whole_window == (kind in WHOLE_WINDOW) == (not net.causal_streaming)


@pytest.mark.parametrize(
    ("kind", "n_inputs", "options"),
    [*((k, 3, {"filters": 3} if k == "cnn_lstm" else {}) for k in KINDS), ("cnn_lstm", 8, {"levels": 2, "filters": 2})],
)
def test_gradients_of_every_kind_are_those_of_finite_differences(kind, n_inputs, options):
    net = nets.make_network(kind, n_inputs, hidden=(3, 2), head=(2,), head_activation="tanh", **options).double()
    names = [name for name, _ in net.named_parameters()]

    def outputs(x, *weights):
        return torch.func.functional_call(net, dict(zip(names, weights, strict=True)), (x,))

    inputs = [windows(lookback=4, n_inputs=n_inputs), *net.parameters()]
    assert torch.autograd.gradcheck(outputs, [v.detach().requires_grad_(True) for v in inputs], atol=1e-7)


def test_the_native_gradient_is_the_one_of_autograd():
    native = core.LSTMTrainer64(n_inputs=3, hidden=[6, 5], head=[4], head_activation="tanh", lookback=7, seed=2)
    x, y = windows(9, 7), np.random.default_rng(1).normal(size=(9, 1))
    native.bind(x.numpy().copy(), 3, np.zeros(3), np.ones(3))
    net = nets.make_network("lstm", 3, hidden=(6, 5), head=(4,), head_activation="tanh").double()
    exchange.from_native(native.weights(), net)
    (net(x) - torch.from_numpy(y)).square().mean().backward()
    found = native.gradient(np.arange(9) * 21, y)
    for name, parameter in net.named_parameters():
        np.testing.assert_allclose(found[name], parameter.grad.numpy(), rtol=0, atol=1e-14)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("init", ["torch", "keras"])
def test_initial_weights_are_a_matter_of_the_seed_alone(kind, init):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first, second, other = (nets.make_network(kind, 3, hidden=(6,), seed=s, init=init) for s in (1, 1, 2))
    torch.rand(3)
    again = first.state_dict()
    assert all(torch.equal(again[name], w) for name, w in second.state_dict().items())
    assert any(not torch.equal(again[name], w) for name, w in other.state_dict().items())
    torch.set_rng_state(before)
    nets.make_network(kind, 3, hidden=(6,), seed=1, init=init)
    assert torch.equal(torch.get_rng_state(), before)


def test_keras_weights_are_orthogonal_glorot_and_forget_slowly():
    for kind, biases in (("gru", "gru.0.bias_ih_l0"), ("bilstm", "lstm.0.bias_ih_l0_reverse")):
        state = nets.make_network(kind, 3, hidden=(6,), init="keras").state_dict()
        recurrent = next(w for name, w in state.items() if "weight_hh" in name)
        torch.testing.assert_close(recurrent.T @ recurrent, torch.eye(6))
        expected = torch.zeros_like(state[biases])
        if kind == "bilstm":
            expected[6:12] = 1
        assert torch.equal(state[biases], expected)
        kernel = next(w for name, w in state.items() if "weight_ih" in name)
        assert kernel.abs().max() <= (6 / (3 + len(kernel))) ** 0.5


def test_a_network_written_elsewhere_is_known_by_its_word():
    class Mean(nets.Network):
        kind = "mean_of_the_window"

        def build(self, n_inputs, power=1.0):
            self.power = nn.Parameter(torch.tensor(power))
            return n_inputs

        def encode(self, x):
            return x.mean(dim=1) * self.power

    try:
        net = nets.make_network("mean_of_the_window", 3, power=2.0)
        assert torch.allclose(net.encode(windows().float()), 2 * windows().float().mean(dim=1))
        assert TorchEngine(net, lookback=5, device="cpu").n_parameters == 5
        with pytest.raises(InputError, match="does not understand its options"):
            nets.make_network("mean_of_the_window", 3, powr=2.0)
    finally:
        del nets.NETWORKS["mean_of_the_window"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden": ()}, "hidden must be a sequence"),
        ({"hidden": 50}, "hidden must be a sequence"),
        ({"hidden": (0,)}, "hidden must be a sequence"),
        ({"head": (1.5,)}, "head must be a sequence"),
        ({"dropout": 1.0}, r"one rate in \[0, 1\)"),
        ({"hidden": (3, 3), "dropout": (0.1,)}, r"one per layer \(2\)"),
        ({"head_activation": "rleu"}, "Did you mean 'relu'"),
        ({"init": "karas"}, "Did you mean 'keras'"),
    ],
)
def test_wrong_arguments_are_told(options, message):
    with pytest.raises(InputError, match=message):
        nets.make_network("gru", 3, **options)


@pytest.fixture(scope="module")
def two_symbols():
    return ls.load_bars(["AAPL", "SPY"], start="2016-06-01", end="2019-12-31", source="sample")


@pytest.mark.parametrize("embedding", [0, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_answers_with_the_bits_of_predict(kind, embedding, two_symbols):
    bars = two_symbols
    model = ls.LSTM(
        [ls.features.log_return(), ls.features.log_return().rolling_std(10)],
        lookback=15, hidden=(7, 5), epochs=1, refit=False, engine="torch", network=kind, symbol_embedding=embedding,
    ).fit(bars)  # fmt: skip
    said = model.predict(bars).mean
    assert (model.predict(bars.until("2019-11-29")).mean[-1] == said[len(bars.until("2019-11-29")) - 1]).all()
    stream = model.stream(bars.until("2019-12-27"))
    for row in range(len(bars) - 2, len(bars)):
        assert (stream.step(bars.row(row)) == said[row]).all()


# What each kind promises ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn", "layernorm_lstm"])
def test_states_of_a_stream_need_no_later_bar(kind):
    net, x = nets.make_network(kind, 3, hidden=(6, 4)).double(), windows(lookback=9)
    torch.testing.assert_close(net.states(x)[:, :5], net.states(x[:, :5]), rtol=0, atol=1e-15)


@pytest.mark.parametrize(("n_inputs", "options"), [(3, {}), (8, {"levels": 2})])
def test_convolutions_read_no_later_bar(n_inputs, options):
    net, x = nets.make_network("cnn_lstm", n_inputs, hidden=(6,), **options).double(), windows(1, 12, n_inputs)
    changed = x.clone()
    changed[:, 7] += 1.0
    moved = (net.convolve(x.transpose(1, 2)) != net.convolve(changed.transpose(1, 2))).any(dim=1)[0]
    assert not moved[:7].any()
    assert moved[7]


def test_an_order_book_must_have_four_numbers_a_level():
    with pytest.raises(InputError, match="levels=10 needs 40 inputs"):
        nets.make_network("cnn_lstm", 41, levels=10)


def test_layer_normalisation_hides_the_scale_of_the_inputs():
    net, x = nets.make_network("layernorm_lstm", 3, hidden=(6,)).double(), windows() * 1e3
    torch.testing.assert_close(net(x), net(10 * x), rtol=0, atol=1e-6)
    plain = nets.make_network("lstm", 3, hidden=(6,)).double()
    assert not torch.allclose(plain(x / 1e3), plain(x / 1e2), rtol=0, atol=1e-2)


def test_a_residual_layer_adds_to_what_it_was_given():
    net, x = nets.make_network("residual_lstm", 3, hidden=(5, 5)).double(), windows()
    with torch.no_grad():
        for layer in net.lstm:
            for weight in layer.parameters():
                weight.zero_()  # such a layer says 0
    assert isinstance(net.skip[1], nn.Identity)
    torch.testing.assert_close(net.encode(x), net.skip[0](x)[:, -1])


def test_both_directions_end_where_they_should():
    net, x = nets.make_network("bilstm", 3, hidden=(5,)).double(), windows()
    layer = net.lstm[0]
    with torch.no_grad():
        for name, weight in layer.named_parameters():
            if name.endswith("_reverse"):
                weight.copy_(getattr(layer, name.removesuffix("_reverse")))
    forth, back = net.encode(x).chunk(2, dim=1)
    back_too, forth_too = net.encode(x.flip(1)).chunk(2, dim=1)
    torch.testing.assert_close(forth, forth_too)
    torch.testing.assert_close(back, back_too)


def test_attention_weighs_the_states():
    net, x = nets.make_network("alstm", 3, hidden=(6, 4)).double(), windows()
    weights = net.attention(x)
    assert weights.shape == (2, 5)
    assert (weights > 0).all()
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(2).double())
    with torch.no_grad():
        net.score.weight.zero_()
    context, last = net.encode(x).chunk(2, dim=1)
    states = net.lstm[1](net.lstm[0](torch.tanh(net.mapping(x)))[0])[0]
    torch.testing.assert_close(context, states.mean(dim=1))
    torch.testing.assert_close(last, states[:, -1])


def test_one_global_model_tells_symbols_apart_by_their_vectors():
    rng, n_symbols, lookback = np.random.default_rng(0), 3, 4
    panel = rng.normal(size=(80, n_symbols, 1))
    rows, columns = (a.ravel() for a in np.mgrid[0 : 80 - lookback, 0:n_symbols])
    starts, offsets = (rows * n_symbols + columns), np.array([-1.0, 0.0, 1.0])[columns]

    def loss_after(epochs, **options):
        engine = TorchEngine(
            nets.make_network("gru", 1, hidden=(6,), **options), lookback=lookback, lr=0.02, device="cpu"
        )
        engine.bind(panel, n_symbols, np.zeros(1), np.ones(1))
        for _ in range(epochs):
            engine.epoch(starts, offsets)
        return engine.loss(starts, offsets)

    assert loss_after(15, n_symbols=3, embedding=2) < 0.05
    assert loss_after(15) > 0.5
    with pytest.raises(InputError, match="tells 3 symbols apart"):
        nets.make_network("gru", 1, n_symbols=3)(torch.zeros(1, 4, 1))
