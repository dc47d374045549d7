"""Networks as torch modules: windows (batch, lookback, n_inputs) in, raw outputs (batch, n_outputs) out.

A kind of network is a subclass of `Network` with a `kind`; writing one here (or anywhere) makes it known by that word.
It says how a window becomes one vector (`encode`); symbol embeddings, dropout, the dense head, initial weights, counts
and summaries are the base's. `LSTMNet`, `StackedLSTM`, `GRUNet` and `RNNNet` are plain modules without any of it, with
the arguments and shapes tutorials use.
"""

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np

from ..errors import InputError, SetupError, UnknownName, did_you_mean

try:
    import torch
    from torch import Tensor, nn
except ImportError as error:
    raise SetupError("Networks need torch: pip install 'longshort[torch]'.") from error


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
        self.hidden, self.n_symbols, self.head_activation = _widths("hidden", hidden), n_symbols, head_activation
        self.symbol = nn.Embedding(n_symbols, embedding) if n_symbols else None
        rates = [float(dropout)] * len(self.hidden) if isinstance(dropout, int | float) else [float(p) for p in dropout]
        if len(rates) != len(self.hidden) or not all(0 <= p < 1 for p in rates):
            raise InputError(f"dropout must be one rate in [0, 1), or one per layer ({len(hidden)}), was {dropout!r}.")
        self.drop = nn.ModuleList([Dropout(p) for p in rates])
        width = self.build(self.n_inputs + (embedding if n_symbols else 0), **options)
        sizes = [width, *(_widths("head", head) if head else ()), self.n_outputs]
        self.head = nn.ModuleList([nn.Linear(a, b) for a, b in pairwise(sizes)])

    def build(self, n_inputs: int) -> int:
        """Make the layers for inputs of this width; return the width `encode` gives. For subclasses."""
        raise NotImplementedError

    def encode(self, x: Tensor) -> Tensor:
        """Turn windows (batch, lookback, n_inputs) into vectors (batch, width). For subclasses."""
        raise NotImplementedError

    def forward(self, x: Tensor, symbols: Tensor | None = None) -> Tensor:
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


class Dropout(nn.Module):
    """Inverted dropout that draws from a generator of its own once an engine has given it one.

    Examples
    --------
    >>> drop = Dropout(0.5)
    >>> drop.generator = torch.Generator().manual_seed(0)
    >>> drop(torch.ones(6)).unique().tolist(), drop.eval()(torch.ones(2)).tolist()
    ([0.0, 2.0], [1.0, 1.0])
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.generator: torch.Generator | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Drop a share of the values and enlarge the others, while training."""
        if not self.training or not self.rate:
            return x
        keep = torch.empty_like(x).bernoulli_(1 - self.rate, generator=self.generator)
        return x * keep.div_(1 - self.rate)

    def extra_repr(self) -> str:
        """Return the rate, for printing."""
        return str(self.rate)


# Kinds ----------------------------------------------------------------------------------------------------------------


class _Recurrent(Network):
    """A stack of one recurrent layer per width; the last state of the top layer is the answer."""

    cell: ClassVar[Callable[..., nn.Module]]
    causal_streaming = True

    def build(self, n_inputs: int) -> int:
        widths = [n_inputs, *self.hidden]
        self.add_module(self.kind, nn.ModuleList([self.cell(a, b, batch_first=True) for a, b in pairwise(widths)]))
        return widths[-1]

    def encode(self, x: Tensor) -> Tensor:
        return self.drop[-1](self.states(x)[:, -1])

    def states(self, x: Tensor) -> Tensor:
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

    def encode(self, x: Tensor) -> Tensor:
        for layer, skip, drop in zip(self.lstm, self.skip, self.drop, strict=True):
            x = skip(x) + drop(layer(x)[0])
        return x[:, -1]


class LayerNormLSTM(nn.Module):
    """One LSTM layer with normalised gates and cell (Ba, Kiros and Hinton, 2016).

    ``LN`` centres and scales the values of one sample at one bar; its gains and biases are learned::

        i, f, g, o = LN(W x) + LN(U h) + b
        c' = sigmoid(f) * c + sigmoid(i) * tanh(g)      h' = sigmoid(o) * tanh(LN(c'))

    Examples
    --------
    >>> states, (h, c) = LayerNormLSTM(3, 8)(torch.ones(2, 10, 3))
    >>> states.shape, torch.equal(states[:, -1], h)
    (torch.Size([2, 10, 8]), True)
    """

    def __init__(self, input_size: int, hidden_size: int, batch_first: bool = True) -> None:
        super().__init__()
        if not batch_first:
            raise InputError("LayerNormLSTM takes (batch, time, features) only. Write batch_first=True.")
        self.input_size, self.hidden_size = input_size, hidden_size
        self.weight_ih = nn.Parameter(torch.empty(4 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(4 * hidden_size, hidden_size))
        self.bias = nn.Parameter(torch.empty(4 * hidden_size))
        self.norm_ih, self.norm_hh = (nn.LayerNorm(4 * hidden_size, bias=False) for _ in range(2))
        self.norm_cell = nn.LayerNorm(hidden_size)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights as `nn.LSTM` does; gains start at one."""
        bound = self.hidden_size**-0.5
        for weight in (self.weight_ih, self.weight_hh, self.bias):
            nn.init.uniform_(weight, -bound, bound)

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the states at every bar (batch, time, hidden_size), and the last state and cell."""
        given = self.norm_ih(x @ self.weight_ih.T) + self.bias
        h = c = x.new_zeros(len(x), self.hidden_size)
        states = []
        for at in given.unbind(dim=1):
            i, f, g, o = (at + self.norm_hh(h @ self.weight_hh.T)).chunk(4, dim=1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(self.norm_cell(c))
            states.append(h)
        return torch.stack(states, dim=1), (h, c)


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

    def encode(self, x: Tensor) -> Tensor:
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

    def encode(self, x: Tensor) -> Tensor:
        states, weights = self._attended(x)
        return torch.cat([(weights[:, :, None] * states).sum(dim=1), states[:, -1]], dim=1)

    def attention(self, x: Tensor) -> Tensor:
        """Return how much each bar of the windows counts, (batch, lookback); rows sum to one."""
        return self._attended(x)[1]

    def _attended(self, x: Tensor) -> tuple[Tensor, Tensor]:
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
            self.convolve = nn.Sequential(_Book(levels, filters), _Inception(filters, 2 * filters))
        widths = [width, *self.hidden]
        self.lstm = nn.ModuleList([nn.LSTM(a, b, batch_first=True) for a, b in pairwise(widths)])
        return widths[-1]

    def encode(self, x: Tensor) -> Tensor:
        x = self.convolve(x.transpose(1, 2)).transpose(1, 2)
        return self.drop[-1](_through(self.lstm, self.drop, x)[:, -1])


class CausalConv1d(nn.Conv1d):
    """Convolution (batch, channels, time) over the last `kernel` bars; zeros stand before the first.

    Examples
    --------
    >>> CausalConv1d(2, 5, kernel=3)(torch.zeros(1, 2, 10)).shape
    torch.Size([1, 5, 10])
    """

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__(inputs, outputs, kernel)
        self.before = kernel - 1

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(nn.functional.pad(input, (self.before, 0)))


class _Book(nn.Module):
    """The levels of an order book, (batch, levels x 4, time), to one vector a bar, (batch, filters, time)."""

    def __init__(self, levels: int, filters: int) -> None:
        super().__init__()
        across = [2, 2, levels]  # price with size, ask with bid, all levels
        inputs = [1, filters, filters]
        self.join = nn.ModuleList([nn.Conv2d(a, filters, (k, 1), (k, 1)) for a, k in zip(inputs, across, strict=True)])
        self.over_time = nn.ModuleList([nn.Conv2d(filters, filters, (1, 4)) for _ in range(6)])

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, None]  # (batch, 1, levels x 4, time)
        for k, join in enumerate(self.join):
            x = _leaky(join(x))
            for convolve in self.over_time[2 * k : 2 * k + 2]:
                x = _leaky(convolve(nn.functional.pad(x, (3, 0))))
        return x[:, :, 0]


class _Inception(nn.Module):
    """Three looks at the last bars, side by side: over three, over five, and their maximum."""

    def __init__(self, inputs: int, filters: int) -> None:
        super().__init__()
        self.short = nn.ModuleList([CausalConv1d(inputs, filters, 1), CausalConv1d(filters, filters, 3)])
        self.long = nn.ModuleList([CausalConv1d(inputs, filters, 1), CausalConv1d(filters, filters, 5)])
        self.most = CausalConv1d(inputs, filters, 1)

    def forward(self, x: Tensor) -> Tensor:
        looks = [_leaky(second(_leaky(first(x)))) for first, second in (self.short, self.long)]
        padded = nn.functional.pad(x, (2, 0), value=-torch.inf)
        return torch.cat([*looks, _leaky(self.most(nn.functional.max_pool1d(padded, 3, 1)))], dim=1)


def _through(layers: nn.Module, drops: nn.ModuleList, x: Tensor) -> Tensor:
    """Return the states of the top layer, with dropout between layers; what follows the top is the caller's."""
    for i, layer in enumerate(layers.children()):
        x = layer(x if i == 0 else drops[i - 1](x))[0]
    return x


def _leaky(x: Tensor) -> Tensor:
    return nn.functional.leaky_relu(x, 0.01)


# What all share -------------------------------------------------------------------------------------------------------


def summary(module: nn.Module, title: str | None = None) -> str:
    """Return the layers of any module and their parameter counts as a table.

    Examples
    --------
    >>> print(summary(LSTMNet(input_dim=1, hidden_dim=50)))
    LSTMNet
      lstm.0  LSTM       1 -> 50    10,400
      lstm.1  LSTM      50 -> 50    20,200
      fc      Linear     50 -> 1        51
      total                         30,651  (torch counts 31,051: two biases a gate)
    """
    layers = list(layers_of(module))
    names = max([5, *(len(layer["name"]) for layer in layers)])
    kinds = max([5, *(len(layer["kind"]) for layer in layers)])
    lines = [title or type(module).__name__]
    for layer in layers:
        shape = f"{layer['inputs']} -> {layer['units']}" if layer["inputs"] else ""
        lines.append(f"  {layer['name']:{names}}  {layer['kind']:{kinds}} {shape:>11} {layer['parameters']:>10,}")
    total = sum(layer["parameters"] for layer in layers)
    held = sum(p.numel() for p in module.parameters())
    note = f"  (torch counts {held:,}: two biases a gate)" if held != total else ""
    lines.append(f"  {'total':{names}}  {'':{kinds}} {'':>11} {total:>10,}{note}")
    return "\n".join(lines)


def layers_of(module: nn.Module) -> Iterator[dict[str, Any]]:
    """Every part that holds parameters of its own; a recurrent module layer by layer, its two biases counted as one."""
    whole = tuple(f"{name}." for name, part in module.named_modules() if isinstance(part, LayerNormLSTM))
    for name, part in module.named_modules():
        own = list(part.parameters(recurse=isinstance(part, LayerNormLSTM)))
        if not own or name.startswith(whole or ("\0",)):
            continue
        if isinstance(part, nn.RNNBase):
            yield from _recurrent_layers(name or "0", part)
            continue
        inputs, units = (next((getattr(part, n) for n in names if hasattr(part, n)), None) for names in _WIDTHS)
        yield _layer(name, type(part).__name__, inputs, units, sum(p.numel() for p in own))


_WIDTHS = (
    ("in_features", "in_channels", "input_size", "num_embeddings"),
    ("out_features", "out_channels", "hidden_size", "embedding_dim"),
)


def _layer(name: str, kind: str, inputs: int | None, units: int | None, parameters: int) -> dict[str, Any]:
    return {"name": name, "kind": kind, "inputs": inputs, "units": units, "parameters": parameters}


def _recurrent_layers(name: str, part: nn.RNNBase) -> Iterator[dict[str, Any]]:
    ways = 2 if part.bidirectional else 1
    for k in range(part.num_layers):
        inputs = part.input_size if k == 0 else ways * part.hidden_size
        held = sum(p.numel() for n, p in part.named_parameters() if re.search(rf"_l{k}(_reverse)?$", n))
        twice = sum(p.numel() for n, p in part.named_parameters() if re.search(rf"bias_hh_l{k}(_reverse)?$", n))
        label = f"{name}.{k}" if part.num_layers > 1 else name
        parameters = held - (twice if isinstance(part, nn.LSTM | nn.RNN) else 0)
        yield _layer(
            label, ("Bi" if ways == 2 else "") + type(part).__name__, inputs, ways * part.hidden_size, parameters
        )


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


def _widths(name: str, widths: Sequence[int]) -> list[int]:
    good = not isinstance(widths, int | str) and len(widths) > 0
    if not good or not all(isinstance(w, int | np.integer) and w >= 1 for w in widths):
        raise InputError(f"{name} must be a sequence of whole numbers of at least 1, was {widths!r}.")
    return [int(w) for w in widths]


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'s' * (n != 1)}"


# Plain modules --------------------------------------------------------------------------------------------------------


class _LastStep(nn.Module):
    """Recurrent layers of one width, the last step's state through one dense layer."""

    cell: ClassVar[Callable[..., nn.RNNBase]]
    name: ClassVar[str]

    def __init__(
        self, input_dim: int = 1, hidden_dim: int = 64, num_layers: int = 2, output_dim: int = 1, dropout: float = 0.2
    ) -> None:
        super().__init__()
        self.hidden_dim, self.num_layers = hidden_dim, num_layers
        between = dropout if num_layers > 1 else 0.0
        self.add_module(self.name, self.cell(input_dim, hidden_dim, num_layers, batch_first=True, dropout=between))
        self.fc = nn.Linear(hidden_dim, output_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, output_dim) for windows (batch, time, input_dim)."""
        return self.fc(self.get_submodule(self.name)(x)[0][:, -1])


class LSTMNet(_LastStep):
    """LSTM layers of one width, then a dense layer on the last step.

    Parameters
    ----------
    input_dim : int, default=1
        Features of a bar.
    hidden_dim : int, default=64
        Units of every layer.
    num_layers : int, default=2
        Layers.
    output_dim : int, default=1
        Outputs.
    dropout : float, default=0.2
        Between layers.

    Examples
    --------
    >>> LSTMNet(input_dim=5)(torch.zeros(32, 60, 5)).shape
    torch.Size([32, 1])
    """

    cell, name = nn.LSTM, "lstm"


class GRUNet(_LastStep):
    """`LSTMNet` with GRU layers; same arguments.

    Examples
    --------
    >>> GRUNet(input_dim=5, output_dim=3)(torch.zeros(32, 60, 5)).shape
    torch.Size([32, 3])
    """

    cell, name = nn.GRU, "gru"


class RNNNet(_LastStep):
    """`LSTMNet` with plain tanh RNN layers; same arguments.

    Examples
    --------
    >>> RNNNet(input_dim=5)(torch.zeros(32, 60, 5)).shape
    torch.Size([32, 1])
    """

    cell, name = nn.RNN, "rnn"


class StackedLSTM(nn.Module):
    """LSTM layers of different widths, dropout between them, then a dense layer on the last step.

    Parameters
    ----------
    input_dim : int
        Features of a bar.
    hidden_dims : sequence of int, default=(64, 32)
        Units of each layer.
    output_dim : int, default=1
        Outputs.
    dropout : float, default=0.2
        Between layers.

    Examples
    --------
    >>> StackedLSTM(8, hidden_dims=[128, 64, 32])(torch.zeros(4, 30, 8)).shape
    torch.Size([4, 1])
    """

    def __init__(
        self, input_dim: int, hidden_dims: Sequence[int] | None = None, output_dim: int = 1, dropout: float = 0.2
    ) -> None:
        super().__init__()
        self.hidden_dims = [64, 32] if hidden_dims is None else _widths("hidden_dims", hidden_dims)
        self.num_layers = len(self.hidden_dims)
        widths = [input_dim, *self.hidden_dims]
        self.lstm_layers = nn.ModuleList([nn.LSTM(a, b, batch_first=True) for a, b in pairwise(widths)])
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(widths[-1], output_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, output_dim) for windows (batch, time, input_dim)."""
        for i, layer in enumerate(self.lstm_layers):
            x = layer(x if i == 0 else self.dropout(x))[0]
        return self.fc(x[:, -1])


# What reaches back ----------------------------------------------------------------------------------------------------


def gradient_by_lag(module: nn.Module, x: Tensor) -> np.ndarray:
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
