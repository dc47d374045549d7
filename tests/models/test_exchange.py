"""Weights of torch modules for the native engine and back."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from longshort.errors import InputError, UnknownName  # noqa: E402
from longshort.models import exchange, nets  # noqa: E402
from longshort.native import core  # noqa: E402


def windows(n=2, lookback=5, n_inputs=3, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(n, lookback, n_inputs)))


STACKS = {
    "LSTMNet": lambda: nets.LSTMNet(3, 6, 3),
    "StackedLSTM": lambda: nets.StackedLSTM(3, [7, 5]),
    "kind": lambda: nets.make_network("lstm", 3, hidden=(7, 5), head=(4,)),
    "several modules": lambda: nn.ModuleDict(
        {"lstm1": nn.LSTM(3, 7, batch_first=True), "lstm2": nn.LSTM(7, 5, 2), "out": nn.Linear(5, 1)}
    ),
}


@pytest.mark.parametrize("make", STACKS.values(), ids=STACKS)
def test_weights_go_to_native_and_back_exactly(make):
    source = make()
    native = exchange.to_native(source)
    hidden = [native[f"lstm.{i}.weight_hh_l0"].shape[1] for i in range(sum(n.endswith("weight_hh_l0") for n in native))]
    head = [len(native[f"head.{j}.bias"]) for j in range(sum(n.startswith("head") for n in native) // 2)]
    trainer = core.LSTMTrainer(n_inputs=3, hidden=hidden, head=head[:-1], head_activation="relu", lookback=6)
    trainer.set_weights(native)
    back = exchange.from_native(trainer.weights(), make()).state_dict()
    assert all(torch.equal(w, back[name]) for name, w in source.state_dict().items())
    assert all((exchange.to_native(source.state_dict())[name] == w).all() for name, w in native.items())
    if not isinstance(source, nn.ModuleDict):
        x = windows(4, 6).float()
        expected = source.eval()(x).detach().numpy()
        np.testing.assert_allclose(trainer.predict_windows(x.double().numpy()), expected, rtol=0, atol=1e-6)


def test_a_bare_lstm_of_several_layers_becomes_one_native_layer_each():
    bare = nn.LSTM(3, 6, num_layers=2)
    native = exchange.to_native(bare)
    assert sorted(native)[::4] == ["lstm.0.bias_hh_l0", "lstm.1.bias_hh_l0"]
    assert (native["lstm.1.weight_ih_l0"] == bare.weight_ih_l1.detach().numpy()).all()
    back = exchange.from_native(native, nn.LSTM(3, 6, num_layers=2)).state_dict()
    assert all(torch.equal(w, back[name]) for name, w in bare.state_dict().items())


def test_layers_without_biases_get_zeros_and_cannot_take_them_back():
    bare = nn.LSTM(3, 6, bias=False)
    native = exchange.to_native(bare)
    assert (native["lstm.0.bias_ih_l0"] == np.zeros(24)).all()
    with pytest.raises(InputError, match=r"no place for lstm\.0\.bias_ih_l0"):
        exchange.from_native(native, bare)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (lambda: nets.GRUNet(3), "has 192 rows for 64 units; an LSTM has 256"),
        (lambda: nn.LSTM(3, 6, bidirectional=True), "one-way LSTM layers"),
        (lambda: nn.LSTM(3, 6, proj_size=2), "rows for 2 units|one-way LSTM layers"),
        (lambda: nn.Linear(3, 1), "it has no LSTM layer"),
        (lambda: nets.make_network("alstm", 3, hidden=(6,)), "takes|one-way"),
        (lambda: nn.ModuleList([nn.LSTM(3, 6), nn.LSTM(5, 6)]), r"1\.weight_ih_l0 takes 5 inputs, but .* gives 6"),
        (lambda: nn.ModuleList([nn.LSTM(3, 6), nn.BatchNorm1d(6)]), "but it has 1.weight"),
    ],
)
def test_what_native_does_not_have_is_refused(source, message):
    with pytest.raises(InputError, match=message):
        exchange.to_native(source())


def test_other_shapes_and_names_are_told_when_loading():
    native = exchange.to_native(nets.LSTMNet(3, 6))
    with pytest.raises(InputError, match=r"must have shape \(28, 3\), was \(24, 3\)"):
        exchange.from_native(native, nets.LSTMNet(3, 7))
    with pytest.raises(InputError, match="the same layers, but only one has lstm.2"):
        exchange.from_native(native, nets.LSTMNet(3, 6, num_layers=3))


def test_unknown_kinds_get_the_nearest():
    with pytest.raises(UnknownName, match="Did you mean 'bilstm'"):
        nets.make_network("bi_lstm", 3)
