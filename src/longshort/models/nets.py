"""Networks as torch modules: windows (batch, lookback, n_inputs) in, raw outputs (batch, n_outputs) out.

A kind of network is a subclass of `Network` with a `kind`; writing one here (or anywhere) makes it known by that word.
It says how a window becomes one vector (`encode`); symbol embeddings, dropout, the dense head, initial weights, counts
and summaries are the base's. Layers that torch lacks stand in `layers`, modules without any of it in `plain`.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np

from ..errors import InputError, UnknownName, did_you_mean
from .counting import layers_of, summary
from .layers import CausalConv1d, Dropout, Inception, LayerNormLSTM, OrderBook, widths_of
from .plain import GRUNet, LSTMNet, RNNNet, StackedLSTM
from .with_torch import nn, torch

__all__ = [
    "ACTIVATIONS",
    "NETWORKS",
    "AttentionLSTMNetwork",
    "BiLSTMNetwork",
    "CNNLSTMNetwork",
    "CausalConv1d",
    "Dropout",
    "GRUNet",
    "GRUNetwork",
    "LSTMNet",
    "LSTMNetwork",
    "LayerNormLSTM",
    "LayerNormLSTMNetwork",
    "Network",
    "RNNNet",
    "RNNNetwork",
    "ResidualLSTMNetwork",
    "StackedLSTM",
    "gradient_by_lag",
    "layers_of",
    "make_network",
    "seeded",
    "summary",
]

NETWORKS: dict[str, type["Network"]] = {}
ACTIVATIONS = {"relu": torch.relu, "tanh": torch.tanh, "linear": lambda x: x}
_GLOBAL_RANDOM = threading.Lock()


class Network(nn.Module):
    """Base of all networks known by a word.

    Parameters
    ----------
    n_inputs, n_outputs : int
        Features of a bar; raw outputs.
    hidden : sequence of int, default=(50, 50)
        Units of each layer.
    head : sequence of int, default=()
        Units of dense layers between the encoder and the output.
    dropout : float or sequence of float, default=0.0
        Share of each layer's outputs dropped while training, the last layer included.
    lookback : int, optional
        Bars in a window, for networks that must know.
    head_activation : {"relu", "tanh", "linear"}, default="relu"
        After each dense layer of `head`, never after the output.
    n_symbols : int, default=0
        Symbols one global model tells apart; 0 for none. `forward` then takes their numbers, int64 (batch,).
    embedding : int, default=8
        Width of a symbol's learned vector, which joins the inputs of every bar.

    Attributes
    ----------
    kind : str
        The word that names it.
    causal_streaming : bool
        Whether a step needs only the state left by the step before, so that the state can be carried for ever.

    Examples
    --------
    >>> net = make_network("gru", n_inputs=3, hidden=(8,), head=(4,))
    >>> net(torch.zeros(5, 20, 3)).shape
    torch.Size([5, 1])
    >>> print(net.summary())
    gru: 3 inputs, 1 output
      gru.0   GRU       3 -> 8        312
      head.0  Linear    8 -> 4         36
      head.1  Linear    4 -> 1          5
      total                           353
    """

    kind: ClassVar[str] = ""
    causal_streaming: ClassVar[bool] = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.__dict__.get("kind"):
            NETWORKS[cls.kind] = cls

    def __init__(
        self,
        n_inputs: int,
        n_outputs: int = 1,
        hidden: Sequence[int] = (50, 50),
        head: Sequence[int] = (),
        dropout: float | Sequence[float] = 0.0,
        lookback: int | None = None,
        *,
        head_activation: str = "relu",
        n_symbols: int = 0,
        embedding: int = 8,
        **options: Any,
    ) -> None:
        super().__init__()
        if head_activation not in ACTIVATIONS:
            raise UnknownName(
                f"head_activation was {head_activation!r}. {did_you_mean(str(head_activation), ACTIVATIONS)}"
            )
        self.n_inputs, self.n_outputs, self.lookback = int(n_inputs), int(n_outputs), lookback
        self.hidden, self.n_symbols, self.head_activation = widths_of("hidden", hidden), n_symbols, head_activation
        self.symbol = nn.Embedding(n_symbols, embedding) if n_symbols else None
        rates = [float(dropout)] * len(self.hidden) if isinstance(dropout, int | float) else [float(p) for p in dropout]
        if len(rates) != len(self.hidden) or not all(0 <= p < 1 for p in rates):
            raise InputError(f"dropout must be one rate in [0, 1), or one per layer ({len(hidden)}), was {dropout!r}.")
        self.drop = nn.ModuleList([Dropout(p) for p in rates])
        width = self.build(self.n_inputs + (embedding if n_symbols else 0), **options)
        sizes = [width, *(widths_of("head", head) if head else ()), self.n_outputs]
        self.head = nn.ModuleList([nn.Linear(a, b) for a, b in pairwise(sizes)])

    def build(self, n_inputs: int) -> int:
        """Make the layers for inputs of this width; return the width `encode` gives. For subclasses."""
        raise NotImplementedError

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """Turn windows (batch, lookback, n_inputs) into vectors (batch, width). For subclasses."""
        raise NotImplementedError

    def forward(self, x: torch.Tensor, symbols: torch.Tensor | None = None) -> torch.Tensor:
        """Return raw outputs (batch, n_outputs)."""
        if self.symbol is not None:
            if symbols is None:
                raise InputError(f"This network tells {self.n_symbols} symbols apart: call it with (windows, symbols).")
            x = torch.cat([x, self.symbol(symbols)[:, None].expand(-1, x.shape[1], -1)], dim=2)
        x = self.encode(x)
        for layer in self.head[:-1]:
            x = ACTIVATIONS[self.head_activation](layer(x))
        return self.head[-1](x)

    @property
    def whole_window(self) -> bool:
        """Whether every answer needs the closed window again, from its first bar to its last."""
        return not self.causal_streaming

    def initialise(self, seed: int, init: str = "torch") -> "Network":
        """Draw all weights anew from `seed`, as torch or as Keras would; the global random state stays untouched."""
        if init not in ("torch", "keras"):
            raise UnknownName(f"init was {init!r}. {did_you_mean(str(init), ('torch', 'keras'))}")
        with seeded(seed):
            for module in self.modules():
                reset = getattr(module, "reset_parameters", None)
                if callable(reset):
                    reset()
            if init == "keras":
                for module in self.modules():
                    _initialise_as_keras(module)
        return self

    def layers(self) -> list[dict[str, Any]]:
        """Return one mapping per layer: name, kind, inputs, units, parameters."""
        return list(layers_of(self))

    def summary(self) -> str:
        """Return the layers and their parameter counts as a table."""
        return summary(self, f"{self.kind}: {_count(self.n_inputs, 'input')}, {_count(self.n_outputs, 'output')}")


def make_network(kind: str, n_inputs: int, *, seed: int = 0, init: str = "torch", **options: Any) -> Network:
    """Return a network by its word, with initial weights drawn from `seed`.

    Parameters
    ----------
    kind : str
        One of `NETWORKS`.
    n_inputs : int
        Features of a bar.
    seed : int, default=0
        Origin of the initial weights; for ``"lstm"`` the weights are those of the native engine, bit for bit.
    init : {"torch", "keras"}, default="torch"
        How they are drawn.
    **options
        Of `Network` and of the kind.

    Examples
    --------
    >>> make_network("lstm", 1, hidden=(50, 50)).n_inputs
    1
    >>> make_network("lsmt", 1)
    Traceback (most recent call last):
    ...
    longshort.errors.UnknownName: network was 'lsmt'. Did you mean 'lstm'?
    """
    if kind not in NETWORKS:
        raise UnknownName(f"network was {kind!r}. {did_you_mean(str(kind), NETWORKS)}")
    try:
        with seeded(seed):
            net = NETWORKS[kind](n_inputs, **options)
    except TypeError as error:
        raise InputError(f"network={kind!r} does not understand its options: {error}.") from error
    return net.initialise(seed, init)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Let torch draw from `seed` inside, one thread of the process at a time, and as before afterwards."""
    with _GLOBAL_RANDOM, torch.random.fork_rng(range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield


def _initialise_as_keras(module: nn.Module) -> None:
    """Glorot kernels, orthogonal recurrent kernels, zero biases but the LSTM's forget gate's, which are 1."""
    for name, weight in module.named_parameters(recurse=False):
        if "bias" in name:
            nn.init.zeros_(weight)
            if (isinstance(module, nn.LSTM) and "bias_ih" in name) or isinstance(module, LayerNormLSTM):
                with torch.no_grad():
                    weight[module.hidden_size : 2 * module.hidden_size] = 1.0
        elif "weight_hh" in name:
            nn.init.orthogonal_(weight)
        elif isinstance(module, nn.RNNBase | LayerNormLSTM | nn.Linear | nn.Conv1d | nn.Conv2d):
            nn.init.xavier_uniform_(weight)


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'s' * (n != 1)}"


# Kinds ----------------------------------------------------------------------------------------------------------------


class _Recurrent(Network):
    """A stack of one recurrent layer per width; the last state of the top layer is the answer."""

    cell: ClassVar[Callable[..., nn.Module]]
    causal_streaming = True

    def build(self, n_inputs: int) -> int:
        widths = [n_inputs, *self.hidden]
        self.add_module(self.kind, nn.ModuleList([self.cell(a, b, batch_first=True) for a, b in pairwise(widths)]))
        return widths[-1]

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return self.drop[-1](self.states(x)[:, -1])

    def states(self, x: torch.Tensor) -> torch.Tensor:
        """Return the top layer's state at every bar, (batch, lookback, width)."""
        return _through(self.get_submodule(self.kind), self.drop, x)


class LSTMNetwork(_Recurrent):
    """Stacked LSTM: the network of the native engine, weight for weight.

    Examples
    --------
    >>> sorted(make_network("lstm", 4, hidden=(8, 3)).state_dict())[:2]
    ['head.0.bias', 'head.0.weight']
    """

    kind = "lstm"
    cell = nn.LSTM

    def initialise(self, seed: int, init: str = "torch") -> "LSTMNetwork":
        """Draw the weights the native engine draws from the same seed."""
        if self.symbol is not None:
            super().initialise(seed, init)
            return self
        if init not in ("torch", "keras"):
            raise UnknownName(f"init was {init!r}. {did_you_mean(str(init), ('torch', 'keras'))}")
        from ..native import core

        widths = [layer.out_features for layer in self.head]
        native = core.LSTMTrainer64(
            n_inputs=self.n_inputs, hidden=self.hidden, head=widths[:-1], n_outputs=widths[-1], seed=seed, init=init
        )
        self.load_state_dict({name: torch.from_numpy(w) for name, w in native.weights().items()})
        return self


class GRUNetwork(_Recurrent):
    """Stacked GRU (Cho et al., 2014): two gates and no cell, three quarters of an LSTM's weights.

    Examples
    --------
    >>> make_network("gru", 4, hidden=(8, 3))(torch.zeros(2, 10, 4)).shape
    torch.Size([2, 1])
    """

    kind = "gru"
    cell = nn.GRU


class RNNNetwork(_Recurrent):
    """Stacked plain RNN (Elman, 1990): no gates; its gradient fades with every bar it looks back.

    Examples
    --------
    >>> make_network("rnn", 4, hidden=(8, 3))(torch.zeros(2, 10, 4)).shape
    torch.Size([2, 1])
    """

    kind = "rnn"
    cell = nn.RNN


class ResidualLSTMNetwork(Network):
    """Stacked LSTM whose layers add to what they were given (Kim, El-Khamy and Lee, 2017), so that depth costs nothing.

    Where a layer changes the width, what it was given goes through a dense layer without bias.

    Examples
    --------
    >>> net = make_network("residual_lstm", 4, hidden=(8, 8, 8))
    >>> [layer["name"] for layer in net.layers()][:4]
    ['lstm.0', 'lstm.1', 'lstm.2', 'skip.0']
    """

    kind = "residual_lstm"
    causal_streaming = True

    def build(self, n_inputs: int) -> int:
        widths = [n_inputs, *self.hidden]
        self.lstm = nn.ModuleList([nn.LSTM(a, b, batch_first=True) for a, b in pairwise(widths)])
        self.skip = nn.ModuleList(
            [nn.Identity() if a == b else nn.Linear(a, b, bias=False) for a, b in pairwise(widths)]
        )
        return widths[-1]

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        for layer, skip, drop in zip(self.lstm, self.skip, self.drop, strict=True):
            x = skip(x) + drop(layer(x)[0])
        return x[:, -1]


class LayerNormLSTMNetwork(_Recurrent):
    """Stacked `LayerNormLSTM`: keeps its scale when volatility changes; several times slower than a plain LSTM.

    Examples
    --------
    >>> make_network("layernorm_lstm", 4, hidden=(8, 3))(torch.zeros(2, 10, 4)).shape
    torch.Size([2, 1])
    """

    kind = "layernorm_lstm"
    cell = LayerNormLSTM


class BiLSTMNetwork(Network):
    """Stacked LSTM that reads the window from both ends; the answer joins both last states.

    The second direction begins at the decision bar, so every answer needs the whole window again. It sees nothing
    after the window.

    Examples
    --------
    >>> make_network("bilstm", 4, hidden=(8,)).head[0].in_features
    16
    """

    kind = "bilstm"

    def build(self, n_inputs: int) -> int:
        inputs = [n_inputs, *(2 * width for width in self.hidden[:-1])]
        self.lstm = nn.ModuleList(
            [nn.LSTM(a, b, batch_first=True, bidirectional=True) for a, b in zip(inputs, self.hidden, strict=True)]
        )
        return 2 * self.hidden[-1]

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        forward, backward = _through(self.lstm, self.drop, x).chunk(2, dim=2)
        return self.drop[-1](torch.cat([forward[:, -1], backward[:, 0]], dim=1))


class AttentionLSTMNetwork(Network):
    """LSTM with attention over the bars of the window (ALSTM: Qin et al., 2017; Feng et al., 2019).

    Inputs pass a dense tanh layer, then the LSTM; each bar gets a score ``u . tanh(W h + b)``, the softmax of the
    scores weighs the states, and their sum stands beside the last state.

    Examples
    --------
    >>> net = make_network("alstm", 4, hidden=(8,))
    >>> net.attention(torch.zeros(2, 10, 4)).sum(dim=1).tolist()
    [1.0, 1.0]
    """

    kind = "alstm"

    def build(self, n_inputs: int) -> int:
        top = self.hidden[-1]
        widths = [self.hidden[0], *self.hidden]
        self.mapping = nn.Linear(n_inputs, widths[0])
        self.lstm = nn.ModuleList([nn.LSTM(a, b, batch_first=True) for a, b in pairwise(widths)])
        self.attend, self.score = nn.Linear(top, top), nn.Linear(top, 1, bias=False)
        return 2 * top

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        states, weights = self._attended(x)
        return torch.cat([(weights[:, :, None] * states).sum(dim=1), states[:, -1]], dim=1)

    def attention(self, x: torch.Tensor) -> torch.Tensor:
        """Return how much each bar of the windows counts, (batch, lookback); rows sum to one."""
        return self._attended(x)[1]

    def _attended(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.drop[-1](_through(self.lstm, self.drop, torch.tanh(self.mapping(x))))
        return x, self.score(torch.tanh(self.attend(x)))[:, :, 0].softmax(dim=1)


class CNNLSTMNetwork(Network):
    """Convolutions over the last bars, then a stacked LSTM.

    With `levels`, the inputs are an order book (time, levels x 4), of each level the ask price, ask size, bid price and
    bid size, and the convolutions are those of DeepLOB (Zhang, Zohren and Roberts, 2019): price with size, ask with
    bid, then all levels, with filters over time between them and an inception module after. Otherwise two convolutions
    over time read all inputs at once. No convolution reads a later bar than the one it stands at.

    Parameters
    ----------
    levels : int, optional
        Levels of an order book; the inputs must be four times as many.
    filters : int, default=32
        Of each convolution.

    Examples
    --------
    >>> book = make_network("cnn_lstm", 40, n_outputs=3, hidden=(64,), levels=10)
    >>> book(torch.zeros(2, 100, 40)).shape
    torch.Size([2, 3])
    """

    kind = "cnn_lstm"

    def build(self, n_inputs: int, levels: int | None = None, filters: int = 32) -> int:
        if levels is not None and n_inputs != 4 * levels:
            raise InputError(
                f"levels={levels} needs {4 * levels} inputs (price and size of both sides), was {n_inputs}."
            )
        if levels is None:
            width = filters
            self.convolve = nn.Sequential(
                CausalConv1d(n_inputs, filters, 3),
                nn.LeakyReLU(0.01),
                CausalConv1d(filters, filters, 3),
                nn.LeakyReLU(0.01),
            )
        else:
            width = 6 * filters
            self.convolve = nn.Sequential(OrderBook(levels, filters), Inception(filters, 2 * filters))
        widths = [width, *self.hidden]
        self.lstm = nn.ModuleList([nn.LSTM(a, b, batch_first=True) for a, b in pairwise(widths)])
        return widths[-1]

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        x = self.convolve(x.transpose(1, 2)).transpose(1, 2)
        return self.drop[-1](_through(self.lstm, self.drop, x)[:, -1])


def _through(layers: nn.Module, drops: nn.ModuleList, x: torch.Tensor) -> torch.Tensor:
    """Return the states of the top layer, with dropout between layers; what follows the top is the caller's."""
    for i, layer in enumerate(layers.children()):
        x = layer(x if i == 0 else drops[i - 1](x))[0]
    return x


# What reaches back ----------------------------------------------------------------------------------------------------


def gradient_by_lag(module: nn.Module, x: torch.Tensor) -> np.ndarray:
    """Return how strongly the outputs depend on each bar of the windows: the norm of their gradient, by lag.

    Parameters
    ----------
    module : nn.Module
        Maps (batch, lookback, n_inputs) to outputs.
    x : Tensor (batch, lookback, n_inputs)
        Windows.

    Returns
    -------
    float64 array (lookback,)
        Mean over the windows of ``|d output / d x[t - lag]|``; lag 0 is the decision bar.

    Examples
    --------
    >>> net = make_network("rnn", 1, hidden=(8,))
    >>> norms = gradient_by_lag(net, torch.zeros(4, 30, 1))
    >>> bool(norms[29] < 1e-4 * norms[0])       # a plain RNN hardly feels what was 29 bars ago
    True
    """
    x = x.detach().clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(module(x).sum(), x)
    return gradient.norm(dim=2).mean(dim=0).flip(0).double().numpy(force=True)
