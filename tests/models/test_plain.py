"""The modules of tutorials: their arguments and shapes."""

import pytest

torch = pytest.importorskip("torch")

from longshort.models import plain  # noqa: E402

pytestmark = pytest.mark.full


@pytest.mark.parametrize("make", [plain.LSTMNet, plain.GRUNet, plain.RNNNet])
def test_plain_modules_have_the_arguments_of_the_tutorials(make):
    net = make(input_dim=4, hidden_dim=8, num_layers=3, output_dim=2, dropout=0.1)
    assert net(torch.zeros(5, 12, 4)).shape == (5, 2)
    recurrent = next(net.children())
    assert (recurrent.hidden_size, recurrent.num_layers, recurrent.dropout) == (8, 3, 0.1)
    assert make(num_layers=1)(torch.zeros(5, 12, 1)).shape == (5, 1)  # no warning about dropout without a next layer


def test_stacked_layers_narrow_as_asked():
    net = plain.StackedLSTM(4, hidden_dims=[8, 6, 5], output_dim=2, dropout=0.5)
    assert net(torch.zeros(5, 12, 4)).shape == (5, 2)
    assert [layer.hidden_size for layer in net.lstm_layers] == [8, 6, 5]
    x = torch.ones(1, 12, 4)
    assert not torch.equal(net(x), net(x))
    assert torch.equal(net.eval()(x), net(x))
