"""Layers that torch lacks, for the networks of `nets`: dropout with numbers of its own, normalised LSTM, causal looks.

Time runs over the second axis for recurrent layers, (batch, time, features), and over the last for convolutions,
(batch, channels, time), as in torch. No layer reads a later bar than the one it stands at.
"""

from collections.abc import Sequence

import numpy as np

from ..errors import InputError
from .with_torch import nn, torch


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

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Drop a share of the values and enlarge the others, while training."""
        if not self.training or not self.rate:
            return x
        keep = torch.empty_like(x).bernoulli_(1 - self.rate, generator=self.generator)
        return x * keep.div_(1 - self.rate)

    def extra_repr(self) -> str:
        """Return the rate, for printing."""
        return str(self.rate)


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

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
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

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return super().forward(nn.functional.pad(input, (self.before, 0)))


class OrderBook(nn.Module):
    """The levels of an order book, (batch, levels x 4, time), to one vector a bar, (batch, filters, time)."""

    def __init__(self, levels: int, filters: int) -> None:
        super().__init__()
        across = [2, 2, levels]  # price with size, ask with bid, all levels
        inputs = [1, filters, filters]
        self.join = nn.ModuleList([nn.Conv2d(a, filters, (k, 1), (k, 1)) for a, k in zip(inputs, across, strict=True)])
        self.over_time = nn.ModuleList([nn.Conv2d(filters, filters, (1, 4)) for _ in range(6)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x[:, None]  # (batch, 1, levels x 4, time)
        for k, join in enumerate(self.join):
            x = _leaky(join(x))
            for convolve in self.over_time[2 * k : 2 * k + 2]:
                x = _leaky(convolve(nn.functional.pad(x, (3, 0))))
        return x[:, :, 0]


class Inception(nn.Module):
    """Three looks at the last bars, side by side: over three, over five, and their maximum."""

    def __init__(self, inputs: int, filters: int) -> None:
        super().__init__()
        self.short = nn.ModuleList([CausalConv1d(inputs, filters, 1), CausalConv1d(filters, filters, 3)])
        self.long = nn.ModuleList([CausalConv1d(inputs, filters, 1), CausalConv1d(filters, filters, 5)])
        self.most = CausalConv1d(inputs, filters, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        looks = [_leaky(second(_leaky(first(x)))) for first, second in (self.short, self.long)]
        padded = nn.functional.pad(x, (2, 0), value=-torch.inf)
        return torch.cat([*looks, _leaky(self.most(nn.functional.max_pool1d(padded, 3, 1)))], dim=1)


def _leaky(x: torch.Tensor) -> torch.Tensor:
    return nn.functional.leaky_relu(x, 0.01)


def widths_of(name: str, widths: Sequence[int]) -> list[int]:
    """Return widths as a list of int, or raise `InputError`; `name` is the argument they came by."""
    good = not isinstance(widths, int | str) and len(widths) > 0
    if not good or not all(isinstance(w, int | np.integer) and w >= 1 for w in widths):
        raise InputError(f"{name} must be a sequence of whole numbers of at least 1, was {widths!r}.")
    return [int(w) for w in widths]
