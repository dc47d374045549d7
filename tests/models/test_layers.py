"""Layers that torch lacks, against their equations."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from longshort.models.layers import LayerNormLSTM  # noqa: E402

pytestmark = pytest.mark.full


def test_a_normalised_layer_follows_its_equations():
    layer, x = LayerNormLSTM(3, 4).double(), torch.from_numpy(np.random.default_rng(0).normal(size=(2, 6, 3)))
    w = {name: p.detach().numpy() for name, p in layer.named_parameters()}

    def norm(a, gain, bias=0.0):
        return (a - a.mean(axis=1, keepdims=True)) / np.sqrt(a.var(axis=1, keepdims=True) + 1e-5) * gain + bias

    def sigmoid(a):
        return 1 / (1 + np.exp(-a))

    h = c = np.zeros((2, 4))
    for t in range(6):
        from_x = norm(x[:, t].numpy() @ w["weight_ih"].T, w["norm_ih.weight"])
        i, f, g, o = np.split(from_x + norm(h @ w["weight_hh"].T, w["norm_hh.weight"]) + w["bias"], 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(norm(c, w["norm_cell.weight"], w["norm_cell.bias"]))
    np.testing.assert_allclose(layer(x)[0][:, -1].detach().numpy(), h, rtol=0, atol=1e-12)
