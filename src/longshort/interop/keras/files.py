"""`.keras` files, read and written with h5py alone: a zip of two JSON documents and an HDF5 file of weights.

A file is material, never a program. Its members are read into memory with bounds taken from the file's own size; the
configuration is parsed as JSON and compared with the few layers that have an exact counterpart here; every array must
have the shape the configuration implies. Keras is not imported, and no object named in the file is ever built.

Keras 3 keeps one bias per gate and transposed kernels, in the gate order of `torch.nn.LSTM` (i, f, g, o)::

    weight_ih = kernel.T      weight_hh = recurrent_kernel.T      bias_ih = bias      bias_hh = 0
"""

import hashlib
import io
import json
import os
import stat
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from ...artifact import strict_json
from ...errors import ArtifactError, SetupError

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
MAX_BYTES = 2**30
_MAX_JSON_BYTES, _EXPANSION = 2**22, 2**26
_DTYPES = {"float32": "fp32", "float64": "fp64"}
_LARGEST = 2**16  # units of a layer, rows of a window, features: more is no LSTM for markets
_WHY_NOT = {
    "Lambda": "is Python code, and code is never run from a file",
    "Bidirectional": "reads every window backwards too; the native engine reads forwards",
    "TimeDistributed": "answers at every row of the window; the native head answers at the last one",
    "GRU": "has other gates; only LSTM layers are mapped",
    "SimpleRNN": "has no gates; only LSTM layers are mapped",
}
_TRAINING_NAMES = ("name", "trainable", "dtype")
_REGULARISED = {
    f"{part}_{what}": (None,) for part in ("kernel", "recurrent", "bias") for what in ("regularizer", "constraint")
} | {"activity_regularizer": (None,)}
_INITIALISED = ("kernel_initializer", "recurrent_initializer", "bias_initializer", "seed")
_LSTM_ALLOWED = _REGULARISED | {
    "activation": ("tanh",),
    "recurrent_activation": ("sigmoid",),
    "use_bias": (True,),
    "return_state": (False,),
    "go_backwards": (False,),
    "stateful": (False,),
    "time_major": (False,),
    "dropout": (0,),
    "recurrent_dropout": (0,),
}
_LSTM_IGNORED = (*_INITIALISED, "unit_forget_bias", "unroll", "zero_output_for_mask", "implementation", "use_cudnn")
_DENSE_ALLOWED = _REGULARISED | {
    "activation": ("linear", "relu", "tanh"),
    "use_bias": (True,),
    "lora_rank": (None,),
    "lora_alpha": (None,),
    "quantization_config": (None,),
}


@dataclass(frozen=True, eq=False)
class Stack:
    """LSTM layers and dense layers as a `.keras` file holds them, in native terms.

    Parameters
    ----------
    lookback : int or None
        Rows of a window; None where the file leaves them open.
    n_features : int
        Columns of a window.
    hidden, head : tuple of int
        Units of the LSTM layers, and of the dense layers before the output.
    head_activation : {"relu", "tanh", "linear"}
        After each layer of `head`.
    n_outputs : int
        Units of the last layer.
    dropout : tuple of float
        Rate after each LSTM layer.
    precision : {"fp32", "fp64"}
        Arithmetic of the layers.
    weights : dict of str to ndarray
        By the names of `torch.nn.LSTM`, one module a layer: ``lstm.0.weight_ih_l0`` ... ``head.0.bias``.
    keras_version : str
        Who wrote the file.
    about : dict or None
        What `longshort` wrote beside the network (features, target, scaling), None in a file from elsewhere.
    digest : str
        SHA-256 of the file.

    Examples
    --------
    >>> import numpy as np
    >>> Stack(60, 1, (50, 50), (), "relu", 1, (0.2, 0.2), "fp32", weights={}, keras_version="3.15.1").hidden
    (50, 50)
    """

    lookback: int | None
    n_features: int
    hidden: tuple[int, ...]
    head: tuple[int, ...]
    head_activation: str
    n_outputs: int
    dropout: tuple[float, ...]
    precision: str
    weights: dict[str, np.ndarray]
    keras_version: str
    about: dict[str, Any] | None = None
    digest: str = ""


def h5py_module() -> Any:
    """Import h5py, or say what to install."""
    try:
        import h5py
    except ImportError as error:
        raise SetupError("Reading and writing .keras files needs h5py: pip install 'longshort[keras]'.") from error
    return h5py


# Reading ------------------------------------------------------------------------------------------------------------


def read_stack(path: Any, max_bytes: int = MAX_BYTES) -> Stack:
    """Read a `.keras` file, or refuse it with `ArtifactError`; see `longshort.interop.keras.read`."""
    h5py_module()
    file = os.fspath(path)
    data = _bytes_of(file, max_bytes)
    members = _members(file, data, max_bytes)
    metadata, config = (_json_of(file, name, members[name]) for name in (METADATA, CONFIG))
    version = metadata.get("keras_version") if isinstance(metadata, dict) else None
    if not isinstance(version, str) or not version.startswith("3."):
        raise ArtifactError(
            f"{file} must be written by Keras 3, but names version {version!r}. Load it with the Keras that wrote it, "
            "and save it again with Keras 3."
        )
    network = _Network(file, config)
    weights = _read_weights(network, members[WEIGHTS])
    about = metadata.get("longshort")
    if about is not None and not isinstance(about, dict):
        raise ArtifactError(f"{file}: what longshort notes in {METADATA} must be a mapping, was {about!r:.80}.")
    return Stack(
        lookback=network.lookback,
        n_features=network.n_features,
        hidden=tuple(network.hidden),
        head=tuple(network.dense[:-1]),
        head_activation=network.head_activation,
        n_outputs=network.dense[-1],
        dropout=tuple(network.dropout),
        precision=_DTYPES[network.dtype],
        weights=weights,
        keras_version=version,
        about=about,
        digest=hashlib.sha256(data).hexdigest(),
    )


def _bytes_of(file: str, max_bytes: int) -> bytes:
    try:
        if not stat.S_ISREG(os.lstat(file).st_mode):
            raise ArtifactError(f"{file} must be a plain file, is a link, folder or device. Name the file itself.")
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        with os.fdopen(os.open(file, flags), "rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            if size > max_bytes:
                raise ArtifactError(
                    f"{file} has {size} bytes, more than the {max_bytes} allowed. Pass max_bytes if you trust it."
                )
            return stream.read(size)
    except (OSError, ValueError) as error:
        if isinstance(error, ArtifactError):
            raise
        raise ArtifactError(f"{file} cannot be read: {getattr(error, 'strerror', None) or error}.") from error


def _members(file: str, data: bytes, max_bytes: int) -> dict[str, bytes]:
    """Return the three members of the archive; names are compared, never used as paths."""
    wanted = {CONFIG, METADATA, WEIGHTS}
    if data[:8] == b"\x89HDF\r\n\x1a\n":
        raise ArtifactError(f"{file} is an HDF5 file, the older format of Keras. Save it as .keras with Keras 3.")
    limits = {CONFIG: _MAX_JSON_BYTES, METADATA: _MAX_JSON_BYTES, WEIGHTS: min(max_bytes, 3 * len(data) + _EXPANSION)}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            names = [entry.filename for entry in entries]
            if sorted(names) != sorted(wanted):
                extra, missing = sorted(set(names) - wanted), sorted(wanted - set(names))
                twice = sorted({name for name in names if names.count(name) > 1})
                found = [("lacks", missing), ("also holds", extra), ("holds twice", twice)]
                parts = [f"{verb} {', '.join(repr(n)[:60] for n in which[:3])}" for verb, which in found if which]
                raise ArtifactError(
                    f"{file} must hold {', '.join(sorted(wanted))} and nothing else, but {' and '.join(parts)}."
                )
            for entry in entries:
                if entry.file_size > limits[entry.filename]:
                    raise ArtifactError(
                        f"{file}: {entry.filename} unpacks to {entry.file_size} bytes, more than the "
                        f"{limits[entry.filename]} that a file of {len(data)} bytes may need."
                    )
                if entry.flag_bits & 1 or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise ArtifactError(f"{file}: {entry.filename} must be stored or deflated, without a password.")
            return {entry.filename: archive.read(entry) for entry in entries}
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError, RuntimeError) as error:
        if isinstance(error, ArtifactError):
            raise
        raise ArtifactError(
            f"{file} is no whole .keras file: {error}. Save the model again, with a name that ends in .keras."
        ) from error


def _json_of(file: str, name: str, data: bytes) -> Any:
    try:
        return strict_json(data.decode())
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{file}: {name} is not the JSON that Keras writes: {error}.") from error


class _Network:
    """The layers of a configuration, each checked against what has an exact counterpart here."""

    def __init__(self, file: str, config: Any):
        self.file = file
        self.lookback: int | None = None
        self.n_features = 0
        self.dtype = ""
        self.hidden: list[int] = []
        self.dense: list[int] = []
        self.dropout: list[float] = []
        self.head_activation = ""
        self.groups: list[tuple[str, str]] = []  # (class, group in the weights file), in order
        layers = self._chain(config)
        if not layers or layers[0][0] != "InputLayer":
            self._refuse("has no input layer, so its shape is unknown. Build the model before saving it")
        for i, (kind, name, settings) in enumerate(layers):
            self._note_group(kind)
            if (kind == "InputLayer") != (i == 0):
                self._refuse("stands inside the network; only the first layer may be an input", name)
            self._dtype_of(settings, name)
            later = {kind for kind, _, _ in layers[i + 1 :]}
            getattr(self, f"_{kind.lower()}")(settings, name, later)
        if not self.hidden or not self.dense:
            self._refuse(f"must have LSTM layers and then dense ones, has {len(self.hidden)} and {len(self.dense)}")

    def _refuse(self, reason: str, layer: str | None = None) -> NoReturn:
        where = "the network" if layer is None else f"layer {layer!r:.80}"
        raise ArtifactError(f"{self.file}: {where} {reason}.")

    def _chain(self, config: Any) -> list[tuple[str, str, dict[str, Any]]]:
        """Return (class, name, settings) of the layers of a Sequential, or of a Functional model that is one chain."""
        kind = config.get("class_name") if isinstance(config, dict) else None
        if kind not in ("Sequential", "Functional", "Model") or config.get("registered_name") not in (None, kind):
            self._refuse(f"must be a Sequential model or a chain, is {kind!r:.60}: code that no file can hold")
        inner = config.get("config")
        if not isinstance(inner, dict):
            self._refuse("must list between 1 and 100 layers")
        layers = inner.get("layers")
        if not isinstance(layers, list) or not 1 <= len(layers) <= 100:
            self._refuse("must list between 1 and 100 layers")
        chain = [self._entry(layer) for layer in layers]
        if kind != "Sequential":
            self._check_links(inner, layers, [name for _, name, _ in chain])
        return chain

    def _entry(self, layer: Any) -> tuple[str, str, dict[str, Any]]:
        settings = layer.get("config") if isinstance(layer, dict) else None
        if not isinstance(settings, dict) or not isinstance(layer.get("class_name"), str):
            self._refuse(f"holds a layer without class or configuration: {layer!r:.80}")
        kind, name = layer["class_name"], settings.get("name", layer.get("name"))
        if not isinstance(name, str):
            self._refuse(f"holds a {kind!r:.60} whose name is {name!r:.60}")
        if kind not in ("InputLayer", "LSTM", "Dropout", "Dense"):
            why = _WHY_NOT.get(kind, "has no counterpart; InputLayer, LSTM, Dropout and Dense have")
            self._refuse(f"is a {kind!r:.60}: it {why}", name)
        if layer.get("module") != "keras.layers" or layer.get("registered_name") is not None:
            self._refuse(f"is code of its own ({layer.get('module')!r:.60}), which is never imported", name)
        return kind, name, settings

    def _check_links(self, inner: dict[str, Any], layers: list[Any], names: list[str]) -> None:
        graph = "is a graph; only a chain of layers, each fed by the one before and nothing else, can be mapped"
        for i, layer in enumerate(layers):
            nodes = layer.get("inbound_nodes")
            if i == 0:
                if nodes not in (None, []):
                    self._refuse(graph)
                continue
            try:
                (node,) = nodes
                (tensor,) = node["args"]
                origin, options = tensor["config"]["keras_history"], node["kwargs"]
                fed = tensor["class_name"] == "__keras_tensor__" and origin == [names[i - 1], 0, 0]
                plain = all(value in (None, False) for value in options.values())
            except (TypeError, KeyError, ValueError, AttributeError):
                self._refuse(graph)
            if not fed or not plain:
                self._refuse(graph if not fed else f"is called with {options!r:.80}", names[i])
        for key, name in (("input_layers", names[0]), ("output_layers", names[-1])):
            if inner.get(key) not in ([name, 0, 0], [[name, 0, 0]]):
                self._refuse(graph)

    def _note_group(self, kind: str) -> None:
        snake = {"InputLayer": "input_layer"}.get(kind, kind.lower())
        count = sum(kind == other for other, _ in self.groups)
        self.groups.append((kind, f"{snake}_{count}" if count else snake))

    def _dtype_of(self, settings: dict[str, Any], name: str) -> None:
        policy = settings.get("dtype")
        if isinstance(policy, dict):
            policy = policy.get("config", {}).get("name") if isinstance(policy.get("config"), dict) else None
        if policy not in _DTYPES:
            self._refuse(f"computes in {policy!r:.60}; the native engine in float32 or float64", name)
        if self.dtype and policy != self.dtype:
            self._refuse(f"computes in {policy}, the layers before it in {self.dtype}", name)
        self.dtype = policy

    def _inputlayer(self, settings: dict[str, Any], name: str, later: set[str]) -> None:
        shape = settings.get("batch_shape")
        if not isinstance(shape, list) or len(shape) != 3 or shape[0] is not None:
            self._refuse(f"must take windows of shape (None, rows, features), takes {shape!r:.60}", name)
        if settings.get("sparse") or settings.get("ragged") or settings.get("optional"):
            self._refuse("is sparse, ragged or optional", name)
        self.lookback = None if shape[1] is None else self._size(shape[1], "rows", name)
        self.n_features = self._size(shape[2], "features", name)

    def _lstm(self, settings: dict[str, Any], name: str, later: set[str]) -> None:
        if self.dense:
            self._refuse("stands after a dense layer", name)
        self._check(settings, _LSTM_ALLOWED, ("units", "return_sequences", *_LSTM_IGNORED), name)
        inner = "LSTM" in later
        if settings.get("return_sequences", False) is not inner:
            self._refuse(
                f"must have return_sequences={inner}, as {'another' if inner else 'no'} LSTM layer follows", name
            )
        self.hidden.append(self._size(settings.get("units"), "units", name))
        self.dropout.append(0.0)

    def _dropout(self, settings: dict[str, Any], name: str, later: set[str]) -> None:
        self._check(settings, {"noise_shape": (None,)}, ("rate", "seed"), name)
        rate = settings.get("rate")
        if not isinstance(rate, int | float) or isinstance(rate, bool) or not 0 <= rate < 1:
            self._refuse(f"must have a rate in [0, 1), has {rate!r:.60}", name)
        after = self.groups[-2][0] if len(self.groups) > 1 else ""
        if after != "LSTM":
            self._refuse("drops something else than the outputs of an LSTM layer, which the native engine cannot", name)
        self.dropout[-1] = float(rate)

    def _dense(self, settings: dict[str, Any], name: str, later: set[str]) -> None:
        if not self.hidden:
            self._refuse("stands before the first LSTM layer", name)
        self._check(settings, _DENSE_ALLOWED, ("units", *_INITIALISED), name)
        activation = settings.get("activation", "linear")
        if "Dense" not in later:
            if activation != "linear":
                self._refuse(f"is the output and must be linear, has {activation!r:.60}", name)
            self.head_activation = self.head_activation or "relu"
        elif self.head_activation not in ("", activation):
            self._refuse(f"has {activation!r:.60}, the dense layer before it {self.head_activation!r}", name)
        else:
            self.head_activation = activation
        self.dense.append(self._size(settings.get("units"), "units", name))

    def _check(self, settings: dict[str, Any], allowed: Mapping[str, tuple], ignored: tuple, name: str) -> None:
        for key, value in settings.items():
            if key in allowed and not any(value is a or (type(value) is not bool and value == a) for a in allowed[key]):
                wanted = " or ".join(repr(a) for a in allowed[key])
                self._refuse(f"must have {key}={wanted} to mean the same here, has {value!r:.80}", name)
            if key not in allowed and key not in ignored and key not in _TRAINING_NAMES:
                self._refuse(f"has a setting this version does not know: {key!r:.60}={value!r:.60}", name)

    def _size(self, value: Any, what: str, name: str) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _LARGEST:
            self._refuse(f"must have between 1 and {_LARGEST} {what}, has {value!r:.60}", name)
        return value

    def variables(self) -> list[tuple[str, str, list[tuple[str, tuple[int, ...]]]]]:
        """Return (native prefix, group, [(native name, shape in Keras)]) of every layer with weights, in order."""
        out, width, i, j = [], self.n_features, 0, 0
        for kind, group in self.groups:
            if kind == "LSTM":
                n = self.hidden[i]
                shapes = [("weight_ih_l0", (width, 4 * n)), ("weight_hh_l0", (n, 4 * n)), ("bias_ih_l0", (4 * n,))]
                out.append((f"lstm.{i}", f"{group}/cell", shapes))
                width, i = n, i + 1
            elif kind == "Dense":
                n = self.dense[j]
                out.append((f"head.{j}", group, [("weight", (width, n)), ("bias", (n,))]))
                width, j = n, j + 1
        return out


def _read_weights(network: _Network, data: bytes) -> dict[str, np.ndarray]:
    h5py = h5py_module()
    file, dtype = network.file, np.dtype(network.dtype)
    wanted = network.variables()
    n_bytes = sum(dtype.itemsize * int(np.prod(shape)) for _, _, shapes in wanted for _, shape in shapes)
    if n_bytes > len(data):
        raise ArtifactError(f"{file}: its layers need {n_bytes} bytes of weights, {WEIGHTS} has {len(data)} in all.")
    weights: dict[str, np.ndarray] = {}
    try:
        with h5py.File(io.BytesIO(data), "r") as h5:
            layers = _child(file, h5, "layers", h5py.Group)
            extra = sorted(set(layers) - {group for _, group in network.groups})
            if extra:
                raise ArtifactError(f"{file}: {WEIGHTS} has layers the network lacks: {', '.join(extra[:3])!r:.80}.")
            for prefix, group, shapes in wanted:
                for name, array in _read_layer(file, h5py, layers, group, shapes, dtype).items():
                    weights[f"{prefix}.{name}"] = array
    except (OSError, RuntimeError, LookupError, ValueError, TypeError, AttributeError, ArithmeticError) as error:
        if isinstance(error, ArtifactError):
            raise
        raise ArtifactError(f"{file}: {WEIGHTS} is damaged: {error}. Save the model again.") from error
    return weights


def _read_layer(file: str, h5py: Any, layers: Any, group: str, shapes: list, dtype: np.dtype) -> dict[str, np.ndarray]:
    node = layers
    for part in (*group.split("/"), "vars"):
        node = _child(file, node, part, h5py.Group)
    names = [str(i) for i in range(len(shapes))]
    if sorted(node) != names:
        raise ArtifactError(f"{file}: layers/{group} must hold the arrays {names}, holds {sorted(node)!r:.80}.")
    out = {}
    for key, (name, shape) in zip(names, shapes, strict=True):
        data = _child(file, node, key, h5py.Dataset)
        where = f"{file}: layers/{group}/vars/{key}"
        if data.dtype != dtype or data.shape != shape:
            raise ArtifactError(f"{where} must be {dtype} of shape {shape}, is {data.dtype} of shape {data.shape}.")
        if data.is_virtual or data.external or data.id.get_storage_size() != dtype.itemsize * int(np.prod(shape)):
            raise ArtifactError(f"{where} must hold its numbers plainly: not compressed, virtual or in another file.")
        array = np.asarray(data[()])
        if not np.isfinite(array).all():
            raise ArtifactError(f"{where} must be finite, but {int((~np.isfinite(array)).sum())} values are not.")
        out[name] = np.ascontiguousarray(array.T)
    if "bias_ih_l0" in out:
        out["bias_hh_l0"] = np.zeros_like(out["bias_ih_l0"])
    return out


def _child(file: str, node: Any, name: str, kind: type) -> Any:
    """Return a group or dataset that is really there: links to other places are not followed."""
    link = node.get(name, getlink=True)
    if type(link).__name__ != "HardLink" or not isinstance(found := node[name], kind):
        what = "nothing" if link is None else f"a {type(link).__name__}"
        raise ArtifactError(f"{file}: {WEIGHTS} must have a {kind.__name__} {node.name}/{name}, has {what} there.")
    return found


# Writing ------------------------------------------------------------------------------------------------------------


def stack_bytes(stack: Stack) -> bytes:
    """Return a `.keras` file that Keras 3 loads; the same stack gives the same bytes."""
    metadata: dict[str, Any] = {"keras_version": stack.keras_version, "date_saved": "1980-01-01@00:00:00"}
    if stack.about is not None:
        metadata["longshort"] = stack.about
    layers = _layers_of(stack)
    members = {
        METADATA: json.dumps(metadata, sort_keys=True, allow_nan=False).encode(),
        CONFIG: json.dumps(_config_of(stack, layers), allow_nan=False).encode(),
        WEIGHTS: _weights_of(stack, layers),
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            archive.writestr(entry, data)
    return out.getvalue()


def _layers_of(stack: Stack) -> list[tuple[str, str, dict[str, Any], str | None]]:
    """Return (class, name, settings, native prefix) of each layer after the input."""
    layers: list[tuple[str, str, dict[str, Any], str | None]] = []
    last = len(stack.hidden) - 1
    for i, (units, rate) in enumerate(zip(stack.hidden, stack.dropout, strict=True)):
        settings = {"units": units, "activation": "tanh", "recurrent_activation": "sigmoid", "use_bias": True}
        layers.append(("LSTM", "lstm", settings | {"return_sequences": i < last}, f"lstm.{i}"))
        if rate:
            layers.append(("Dropout", "dropout", {"rate": rate}, None))
    for j, units in enumerate([*stack.head, stack.n_outputs]):
        activation = stack.head_activation if j < len(stack.head) else "linear"
        layers.append(("Dense", "dense", {"units": units, "activation": activation, "use_bias": True}, f"head.{j}"))
    seen: dict[str, int] = {}
    named = []
    for kind, snake, settings, prefix in layers:
        count = seen[snake] = seen.get(snake, -1) + 1
        named.append((kind, f"{snake}_{count}" if count else snake, settings, prefix))
    return named


def _config_of(stack: Stack, layers: list) -> dict[str, Any]:
    dtype = next(name for name, precision in _DTYPES.items() if precision == stack.precision)
    shape: list[int | None] = [None, stack.lookback, stack.n_features]
    inputs = {"batch_shape": list(shape), "dtype": dtype, "sparse": False, "name": "input_layer"}
    entries = [{"module": "keras.layers", "class_name": "InputLayer", "config": inputs, "registered_name": None}]
    for kind, name, settings, _ in layers:
        config = {"name": name, "trainable": True, "dtype": dtype, **settings}
        entry = {"module": "keras.layers", "class_name": kind, "config": config, "registered_name": None}
        if kind != "Dropout":
            entry["build_config"] = {"input_shape": list(shape)}
            shape = [*(shape[:-1] if settings.get("return_sequences") else [None]), settings["units"]]
        entries.append(entry)
    built = {"input_shape": [None, stack.lookback, stack.n_features]}
    inner = {"name": "sequential", "trainable": True, "dtype": dtype, "layers": entries}
    inner["build_input_shape"] = built["input_shape"]
    top = {"module": "keras", "class_name": "Sequential", "config": inner, "registered_name": None}
    return top | {"build_config": built, "compile_config": {}}


def _weights_of(stack: Stack, layers: list) -> bytes:
    h5py, weights = h5py_module(), stack.weights
    out = io.BytesIO()
    with h5py.File(out, "w", libver=("earliest", "v110"), track_order=False) as h5:
        h5.create_group("vars").attrs["name"] = "sequential"
        for kind, name, _, prefix in layers:
            node = h5.create_group(f"layers/{name}")
            node.create_group("vars").attrs["name"] = name
            arrays = []
            if kind == "LSTM":
                node = node.create_group("cell")
                node.create_group("vars").attrs["name"] = "lstm_cell"
                get = {key: weights[f"{prefix}.{key}_l0"] for key in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
                arrays = [get["weight_ih"].T, get["weight_hh"].T, get["bias_ih"] + get["bias_hh"]]
            elif kind == "Dense":
                arrays = [weights[f"{prefix}.weight"].T, weights[f"{prefix}.bias"]]
            for i, array in enumerate(arrays):
                node["vars"].create_dataset(str(i), data=np.ascontiguousarray(array), track_times=False)
    return out.getvalue()
