"""Layers and parameter counts, as Keras and as torch count them."""

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from longshort.models import nets, plain  # noqa: E402
from longshort.models.counting import summary  # noqa: E402

pytestmark = pytest.mark.full


@pytest.mark.parametrize(
    ("net", "fused", "torch_counts"),
    [
        (lambda: nets.make_network("lstm", 1, hidden=(50, 50)), "30,651", "31,051"),  # the Keras tutorial's
        (lambda: nets.make_network("lstm", 1, hidden=(64, 64), head=(32,)), "52,033", "52,545"),
        (lambda: plain.LSTMNet(1, 50), "30,651", "31,051"),
        (lambda: plain.StackedLSTM(1, [50, 50]), "30,651", "31,051"),
        (lambda: nn.LSTM(1, 50, 2), "30,600", "31,000"),
    ],
)
def test_counts_are_those_of_keras_with_those_of_torch_in_a_note(net, fused, torch_counts):
    text = summary(net())
    assert f" {fused}  (torch counts {torch_counts}: two biases a gate)" in text
    held = sum(p.numel() for p in net().parameters())
    assert f"{held:,}" == torch_counts


@pytest.mark.parametrize("kind", sorted(nets.NETWORKS))
def test_layers_account_for_every_parameter(kind):
    net = nets.make_network(kind, 3, hidden=(6, 4), head=(2,), n_symbols=3)
    layers = net.layers()
    biases = sum(w.numel() for name, w in net.state_dict().items() if "bias_hh" in name and "gru" not in name)
    assert sum(layer["parameters"] for layer in layers) == sum(p.numel() for p in net.parameters()) - biases
    assert len({layer["name"] for layer in layers}) == len(layers)
    assert all(layer["inputs"] and layer["units"] for layer in layers)
