"""The layers of any torch module and how many weights each has, as rows and as a table."""

import re
from collections.abc import Iterator
from typing import Any

from .layers import LayerNormLSTM
from .with_torch import nn


def summary(module: nn.Module, title: str | None = None) -> str:
    """Return the layers of any module and their parameter counts as a table.

    Examples
    --------
    >>> from longshort.models.plain import LSTMNet
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
