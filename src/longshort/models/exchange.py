"""Weights of torch modules for the native engine and back, bit for bit."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import InputError
from .with_torch import nn, torch


def to_native(source: nn.Module | Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return the weights of a stack of LSTM layers and dense layers under the native engine's names, bit for bit.

    Parameters
    ----------
    source : nn.Module or state_dict
        Such as `LSTMNet`, `StackedLSTM`, a bare ``nn.LSTM``, or their ``state_dict()``: layers in the order in which
        they are used. An ``nn.LSTM`` of several layers becomes one native layer each.

    Returns
    -------
    dict of str to ndarray
        ``lstm.{i}.weight_ih_l0``, ..., ``head.{j}.weight``, ``head.{j}.bias``.

    Raises
    ------
    InputError
        Bidirectional, projected, GRU or other layers the native engine does not have.

    Examples
    --------
    >>> from longshort.models.nets import LSTMNet
    >>> sorted(to_native(LSTMNet(input_dim=3, num_layers=2)))[-4:]
    ['lstm.1.bias_hh_l0', 'lstm.1.bias_ih_l0', 'lstm.1.weight_hh_l0', 'lstm.1.weight_ih_l0']
    """
    state: Any = source if isinstance(source, Mapping) else source.state_dict()
    arrays = {name: np.array(w.numpy(force=True) if isinstance(w, torch.Tensor) else w) for name, w in state.items()}
    names = _native_names(arrays)
    native = {new: arrays[old] for new, old in names.items() if old is not None}
    for new in (new for new, old in names.items() if old is None):  # a layer without biases
        weight = native[new.replace("bias_hh", "weight_ih").replace("bias_ih", "weight_ih").replace("bias", "weight")]
        native[new] = np.zeros(len(weight), weight.dtype)
    return native


def from_native(weights: Mapping[str, np.ndarray], module: nn.Module) -> nn.Module:
    """Load weights under the native engine's names into a module of the same layers; return the module.

    Parameters
    ----------
    weights : mapping of str to ndarray
        As ``to_native`` returns, and as the native engine's ``weights()``.
    module : nn.Module
        With the same layers in the same order.

    Examples
    --------
    >>> import torch
    >>> from longshort.models.nets import LSTMNet
    >>> net, x = LSTMNet(input_dim=3).eval(), torch.ones(1, 9, 3)
    >>> other = from_native(to_native(net), LSTMNet(input_dim=3)).eval()
    >>> torch.equal(other(x), net(x))
    True
    """
    state = module.state_dict()
    names = _native_names({name: w.numpy(force=True) for name, w in state.items()})
    if set(names) != set(weights):
        odd = sorted(set(names) ^ set(weights))
        raise InputError(f"weights and {type(module).__name__} must have the same layers, but only one has {odd[0]}.")
    for new, old in names.items():
        if old is None:
            raise InputError(f"{type(module).__name__} has no place for {new}. Build it with bias=True.")
        if tuple(weights[new].shape) != tuple(state[old].shape):
            raise InputError(f"{new} must have shape {tuple(state[old].shape)}, was {tuple(weights[new].shape)}.")
        state[old] = torch.from_numpy(np.array(weights[new])).to(state[old].dtype)
    module.load_state_dict(state)
    return module


def _native_names(arrays: Mapping[str, np.ndarray]) -> dict[str, str | None]:
    """Map the native engine's names to those of a state_dict; None where a bias is missing."""
    names: dict[str, str | None] = {}
    known: set[str] = set()
    layers = [match for name in arrays if (match := re.fullmatch(r"(.*?)weight_ih_l(\d+)", name))]
    for i, match in enumerate(layers):
        prefix, k = match.groups()
        rows, units = arrays[match[0]].shape[0], arrays[f"{prefix}weight_hh_l{k}"].shape[1]
        if rows != 4 * units:
            raise InputError(f"{match[0]} has {rows} rows for {units} units; an LSTM has {4 * units}.")
        for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            old = f"{prefix}{part}_l{k}"
            names[f"lstm.{i}.{part}_l0"] = old if old in arrays else None
            known.add(old)
    dense = [n for n in arrays if n not in known and n.endswith("weight") and arrays[n].ndim == 2]
    dense = [n for n in dense if not re.search(r"_(ih|hh|hr)_l\d+", n)]
    for j, name in enumerate(dense):
        bias = name.removesuffix("weight") + "bias"
        names[f"head.{j}.weight"], names[f"head.{j}.bias"] = name, bias if bias in arrays else None
        known |= {name, bias}
    foreign = [name for name in arrays if name not in known]
    if foreign or not layers:
        what = f"it has {foreign[0]}" if foreign else "it has no LSTM layer"
        raise InputError(f"Only stacks of one-way LSTM layers and dense layers have native weights, but {what}.")
    _refuse_gaps(arrays, names)
    return names


def _refuse_gaps(arrays: Mapping[str, np.ndarray], names: Mapping[str, str | None]) -> None:
    """Refuse layers whose widths do not follow from each other."""
    chain = [old for new, old in names.items() if old is not None and re.search(r"weight_hh_l0|head\.\d+\.weight", new)]
    inputs = [
        old for new, old in names.items() if old is not None and re.search(r"weight_ih_l0|head\.\d+\.weight", new)
    ]
    for before, after in zip(chain, inputs[1:], strict=False):
        width = arrays[before].shape[1 if "_hh_" in before else 0]
        if arrays[after].shape[1] != width:
            raise InputError(f"{after} takes {arrays[after].shape[1]} inputs, but {before} before it gives {width}.")
