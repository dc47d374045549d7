"""The plain torch modules, and a trained forecaster as one of them. Needs the extra `torch`."""

from typing import Any

from ...models.exchange import from_native
from ...models.nets import GRUNet, LSTMNet, StackedLSTM
from ...models.torch_engine import choose_device
from ...models.with_torch import nn, torch

__all__ = ["GRUNet", "LSTMNet", "StackedLSTM", "device_of", "module_of"]


def device_of(network: str) -> torch.device:
    """Return where a forecaster computes: an LSTM on the processor (native), others where the torch engine would."""
    return torch.device("cpu") if network == "lstm" else choose_device("auto")


def module_of(settings: dict[str, Any], weights: dict[str, Any], n_features: int, stacked: bool) -> nn.Module:
    """Return trained weights as the module puffin would hold, in evaluation mode.

    Parameters
    ----------
    settings : dict
        Arguments of the `LSTM` that trained them.
    weights : dict of str to ndarray
        By the engine's names.
    n_features : int
        Inputs of a row.
    stacked : bool
        Whether it is a `StackedLSTM`.
    """
    hidden, dropout = settings["hidden"], settings["dropout"]
    dropout = dropout[0] if isinstance(dropout, list) else dropout
    if stacked:
        module = from_native(weights, StackedLSTM(n_features, hidden, dropout=dropout))
    elif settings["network"] == "lstm":
        module = from_native(weights, LSTMNet(n_features, hidden[0], len(hidden), dropout=dropout))
    else:
        module = GRUNet(n_features, hidden[0], len(hidden), dropout=dropout)
        module.load_state_dict({_published(name): torch.from_numpy(array) for name, array in weights.items()})
    return module.eval()


def _published(name: str) -> str:
    """Turn ``gru.1.weight_ih_l0`` into ``gru.weight_ih_l1`` and ``head.0.bias`` into ``fc.bias``."""
    kind, layer, part = name.split(".")
    return f"fc.{part}" if kind == "head" else f"{kind}.{part.removesuffix('_l0')}_l{layer}"
