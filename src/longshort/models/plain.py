"""Plain torch modules with the arguments and shapes tutorials use: recurrent layers, a dense one on the last step."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import ClassVar

from .layers import widths_of
from .with_torch import nn, torch


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

    def forward(self, x: torch.Tensor) -> torch.Tensor:
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
    >>> import torch
    >>> LSTMNet(input_dim=5)(torch.zeros(32, 60, 5)).shape
    torch.Size([32, 1])
    """

    cell, name = nn.LSTM, "lstm"


class GRUNet(_LastStep):
    """`LSTMNet` with GRU layers; same arguments.

    Examples
    --------
    >>> import torch
    >>> GRUNet(input_dim=5, output_dim=3)(torch.zeros(32, 60, 5)).shape
    torch.Size([32, 3])
    """

    cell, name = nn.GRU, "gru"


class RNNNet(_LastStep):
    """`LSTMNet` with plain tanh RNN layers; same arguments.

    Examples
    --------
    >>> import torch
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
    >>> import torch
    >>> StackedLSTM(8, hidden_dims=[128, 64, 32])(torch.zeros(4, 30, 8)).shape
    torch.Size([4, 1])
    """

    def __init__(
        self, input_dim: int, hidden_dims: Sequence[int] | None = None, output_dim: int = 1, dropout: float = 0.2
    ) -> None:
        super().__init__()
        self.hidden_dims = [64, 32] if hidden_dims is None else widths_of("hidden_dims", hidden_dims)
        self.num_layers = len(self.hidden_dims)
        widths = [input_dim, *self.hidden_dims]
        self.lstm_layers = nn.ModuleList([nn.LSTM(a, b, batch_first=True) for a, b in pairwise(widths)])
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(widths[-1], output_dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, output_dim) for windows (batch, time, input_dim)."""
        for i, layer in enumerate(self.lstm_layers):
            x = layer(x if i == 0 else self.dropout(x))[0]
        return self.fc(x[:, -1])
