"""Models across the border: a `.keras` file as a fitted `LSTM`, and a fitted `LSTM` as a `.keras` file."""

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ... import artifact
from ...errors import ArtifactError, InputError, NotFitted, UnknownName, did_you_mean
from ...features import Target
from ...features.windows import Scaling
from ...models.lstm import LSTM
from ...models.network import Net
from ...models.training import History
from .files import MAX_BYTES, Stack, read_stack, stack_bytes

WRITTEN_FOR = "3.15.1"  # the Keras whose files ours are compared with
_PRECISIONS = ("fp32", "fp64")
_PLAIN_LOSSES = ("mse", "mae", "huber")


def read(path: str | os.PathLike[str], max_bytes: int = MAX_BYTES) -> Stack:
    """Read the LSTM stack of a `.keras` file; nothing in the file is executed.

    Parameters
    ----------
    path : path-like
        Written by Keras 3: a Sequential model, or a Functional one that is a chain, of an input, LSTM layers (each may
        be followed by Dropout) and dense layers.
    max_bytes : int
        Largest file to read.

    Returns
    -------
    Stack
        Shape and weights by the names of `torch.nn.LSTM`.

    Raises
    ------
    ArtifactError
        The file is damaged, hostile or too large, or a layer has no exact counterpart: another activation,
        `recurrent_dropout`, `go_backwards`, Bidirectional, GRU, Lambda, ... The message names the layer and the reason.
    SetupError
        h5py is not installed.

    Examples
    --------
    >>> import longshort as ls, tempfile
    >>> bars = ls.load_bars("AAPL", start="2016-01-01", end="2018-12-31", source="sample")
    >>> model = ls.models.presets.keras_tutorial(hidden=(8, 8), epochs=1).fit(bars)
    >>> path = tempfile.mkdtemp() + "/model.keras"
    >>> save(model, path)
    >>> stack = read(path)
    >>> stack.lookback, stack.n_features, stack.hidden, stack.head, stack.n_outputs, stack.dropout
    (60, 1, (8, 8), (), 1, (0.2, 0.2))
    >>> sorted(stack.weights)[:3]
    ['head.0.bias', 'head.0.weight', 'lstm.0.bias_hh_l0']
    """
    return read_stack(path, max_bytes)


def load(
    path: str | os.PathLike[str],
    features: Any = None,
    target: Target | Sequence[Target] | None = None,
    scaler: Any = None,
    target_scaler: Any = None,
    symbols: Sequence[str] | None = None,
    lookback: int | None = None,
    **params: Any,
) -> LSTM:
    """Read a `.keras` file as a fitted `LSTM` that forecasts what the Keras model does, to about 1e-6.

    A Keras model knows neither what its inputs are nor how they were scaled, so both must be told. A file that `save`
    wrote carries them itself: then the path is enough.

    Parameters
    ----------
    path : path-like
        What `read` accepts.
    features : Feature or sequence of Features
        The columns of a window, in the order the model was trained with.
    target : Target or sequence of Targets
        What the output means, or each of several outputs: horizons, shortest first.
    scaler, target_scaler : Scaling, fitted scikit-learn scaler, or (center, scale)
        How features and target were scaled in training. Of scikit-learn: MinMaxScaler (without clip), StandardScaler,
        RobustScaler, MaxAbsScaler. Prices are in the forward-adjusted units of `Bars`.
    symbols : sequence of str
        Symbols the model was trained on; it forecasts no other.
    lookback : int, optional
        Rows of a window, where the file leaves them open.
    **params
        Other arguments of `LSTM`, used when it is fitted again. How the model was compiled is not read.

    Examples
    --------
    >>> import longshort as ls, numpy as np, tempfile
    >>> bars = ls.load_bars("AAPL", start="2016-01-01", end="2018-12-31", source="sample")
    >>> model = ls.models.presets.keras_tutorial(hidden=(8, 8), epochs=1).fit(bars)
    >>> path = tempfile.mkdtemp() + "/model.keras"
    >>> save(model, path)
    >>> same = load(path)
    >>> np.array_equal(same.predict(bars).mean, model.predict(bars).mean, equal_nan=True)
    True
    """
    stack = read(path)
    told = {"features": features, "target": target, "scaler": scaler, "symbols": symbols}
    told |= {"target_scaler": target_scaler, "lookback": lookback}
    if stack.about is not None:
        given = sorted(name for name, value in told.items() if value is not None)
        if given or params:
            raise InputError(
                f"{path} was written by longshort and says itself what it reads, so {', '.join([*given, *params])} "
                "must not be given. Call load(path)."
            )
        return _ours(os.fspath(path), stack)
    missing = [name for name, value in told.items() if value is None and name != "lookback"]
    if missing or symbols is None:
        raise InputError(
            f"{path} holds {stack.n_features} input columns without names or scaling. Pass {', '.join(missing)}: what "
            "the model was trained with."
        )
    rows = _lookback(path, stack, lookback)
    n = stack.n_features
    inputs, output = _scaling("scaler", scaler, n), _scaling("target_scaler", target_scaler, stack.n_outputs)
    shape = {"hidden": stack.hidden, "head": stack.head, "head_activation": stack.head_activation}
    shape |= {"dropout": list(stack.dropout), "precision": stack.precision, "scaler": inputs.kind, "lookback": rows}
    defaults = {"init": "keras", "eps": 1e-7}
    taken = sorted(set(params) & set(shape))
    if taken:
        raise InputError(f"{', '.join(taken)} follow from {path} and cannot be given.")
    model = LSTM(features, target, **(defaults | params | shape))
    names = model.program_.names
    if len(names) != n:
        raise InputError(f"{path} reads {n} columns, features are {len(names)}: {', '.join(names[:5])}.")
    if model.seeds != 1 or model.per_symbol or model.network != "lstm":
        raise InputError("A .keras file holds one LSTM network. Leave seeds=1, per_symbol=False and network='lstm'.")
    if model.loss_.name not in _PLAIN_LOSSES or model.n_outputs != stack.n_outputs:
        raise InputError(
            f"{path} has {stack.n_outputs} outputs, the target and loss={model.loss_.name!r} ask for "
            f"{model.n_outputs}. Pass one target an output, and one of the losses {', '.join(_PLAIN_LOSSES)}."
        )
    return _fitted(model, stack, Net(stack.weights, inputs, output), symbols)


def save(model: LSTM, path: str | os.PathLike[str], *, symbol: str | None = None, seed: int | None = None) -> None:
    """Write a network of a fitted `LSTM` as a `.keras` file, atomically; the same model gives the same bytes.

    Keras 3 loads the file and forecasts the same scaled values, to about 1e-6. Features, target and scaling are noted
    in ``metadata.json``, where `load` finds them and Keras does not look.

    Parameters
    ----------
    model : LSTM
        Fitted.
    path : path-like
        Where to; the name must end in ``.keras``, as Keras demands.
    symbol : str, optional
        Whose network, for a model with one per symbol.
    seed : int, optional
        Which network of a model with several seeds: 0 for the first. A file holds one, not their mean.

    Examples
    --------
    >>> import longshort as ls, tempfile
    >>> bars = ls.load_bars("AAPL", start="2016-01-01", end="2018-12-31", source="sample")
    >>> model = ls.models.presets.keras_tutorial(hidden=(8, 8), epochs=1, seeds=2).fit(bars)
    >>> path = tempfile.mkdtemp() + "/model.keras"
    >>> save(model, path)
    Traceback (most recent call last):
    ...
    longshort.errors.InputError: A .keras file holds one network, this model has 2 seeds. Pass seed=0 to seed=1.
    >>> save(model, path, seed=1)
    """
    if not isinstance(model, LSTM):
        raise InputError(f"Only an LSTM can be written as a .keras file, was {type(model).__name__}.")
    if not hasattr(model, "nets_"):
        raise NotFitted("This LSTM has not learned anything yet. Call fit(bars) first.")
    file = os.fspath(path)
    if not file.endswith(".keras"):
        raise InputError(f"The name of a Keras file must end in .keras, was {file!r}.")
    artifact.write_atomic(file, stack_bytes(_stack_of(model, symbol, seed)))


def _stack_of(model: LSTM, symbol: str | None, seed: int | None) -> Stack:
    reason = _why_no_file(model)
    if reason:
        raise InputError(f"This LSTM cannot be written as a .keras file: {reason}.")
    model.program_.require_saveable()
    net, symbols = _net_of(model, symbol, seed)
    config = model.to_dict() | {"seeds": 1, "per_symbol": False, "seed": model.seed + (seed or 0)}
    scaling = {
        part: {"center": getattr(net, part).center.tolist(), "scale": getattr(net, part).scale.tolist()}
        for part in ("inputs", "output")
    }
    calibration = None if net.calibration is None else np.asarray(net.calibration, np.float64).tolist()
    return Stack(
        lookback=int(model.lookback),
        n_features=len(model.program_.names),
        hidden=tuple(int(n) for n in model.hidden),
        head=tuple(int(n) for n in model.head),
        head_activation=model.head_activation,
        n_outputs=len(net.weights[f"head.{len(model.head)}.bias"]),
        dropout=tuple(model.dropouts()),
        precision=model.precision,
        weights=net.weights,
        keras_version=WRITTEN_FOR,
        about={"version": 1, "model": config, "symbols": list(symbols), "scaling": scaling, "calibration": calibration},
    )


def _why_no_file(model: LSTM) -> str | None:
    if model.network != "lstm":
        return f"its network is {model.network!r}, and only LSTM layers are mapped"
    if model.symbol_embedding:
        return "it tells symbols apart by an embedding, which has no place in a chain of layers"
    if model.precision not in _PRECISIONS:
        return f"its precision is {model.precision}, and a file holds {' or '.join(_PRECISIONS)}"
    if model.context != "window":
        return f"its context is {model.context!r}, and Keras starts every window from a zero state"
    return None


def _net_of(model: LSTM, symbol: str | None, seed: int | None) -> tuple[Net, tuple[str, ...]]:
    if seed is None and model.seeds > 1:
        raise InputError(
            f"A .keras file holds one network, this model has {model.seeds} seeds. "
            f"Pass seed=0 to seed={model.seeds - 1}."
        )
    if seed is not None and not 0 <= seed < model.seeds:
        raise InputError(f"seed must lie between 0 and {model.seeds - 1}, was {seed!r}.")
    if not model.per_symbol:
        if symbol is not None:
            raise InputError(f"This model has one network for all symbols, so symbol={symbol!r} must not be given.")
        return model.nets_[0][seed or 0], model.symbols_
    if symbol not in model.symbols_:
        raise UnknownName(
            f"This model has one network per symbol, and symbol was {symbol!r}. "
            f"{did_you_mean(str(symbol), model.symbols_)}"
        )
    return model.nets_[model.symbols_.index(symbol)][seed or 0], (symbol,)


def _ours(file: str, stack: Stack) -> LSTM:
    """Rebuild the model that `save` wrote; whatever does not fit the network it describes is refused."""
    about = stack.about or {}
    if about.get("version") != 1:
        raise ArtifactError(f"{file} was written by a newer longshort (version {about.get('version')!r:.20}). Update.")
    try:
        model = LSTM.from_dict(about["model"])
        inputs, output = (_noted(about["scaling"][part], model.scaler) for part in ("inputs", "output"))
        calibration = about["calibration"] if about["calibration"] is None else np.array(about["calibration"], float)
        symbols = about["symbols"]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ArtifactError(f"{file} describes an LSTM this version cannot build: {error}") from error
    shape = replace(stack, weights={}, about=None)
    said = replace(
        shape,
        lookback=model.lookback,
        n_features=len(model.program_.names),
        hidden=tuple(model.hidden),
        head=tuple(model.head),
        head_activation=model.head_activation if model.head else stack.head_activation,
        n_outputs=model.n_outputs,
        dropout=tuple(model.dropouts()),
        precision=model.precision,
    )
    sizes = len(inputs.center), len(output.center), model.seeds, model.per_symbol, _why_no_file(model)
    if vars(shape) != vars(said) or sizes != (stack.n_features, len(model.targets_), 1, False, None):
        raise ArtifactError(f"{file}: what longshort noted does not describe the network in it. Save the model again.")
    if not isinstance(symbols, list) or not symbols or not all(isinstance(s, str) for s in symbols):
        raise ArtifactError(f"{file} must name the symbols it was trained on, was {symbols!r:.60}.")
    return _fitted(model, stack, Net(stack.weights, inputs, output, calibration), symbols)


def _noted(scaling: dict[str, Any], kind: str) -> Scaling:
    center, scale = (np.array(scaling[part], dtype=np.float64) for part in ("center", "scale"))
    return _checked("scaling", Scaling(kind, center, scale), len(center))


def _fitted(model: LSTM, stack: Stack, net: Net, symbols: Sequence[str]) -> LSTM:
    model.symbols_ = (symbols,) if isinstance(symbols, str) else tuple(symbols)
    model.dropped_, model.nets_ = {}, [[net]]
    model.histories_ = [History()]
    model.history_, model.validation_ = model.histories_[0], None
    model.trained_ = {"imported": stack.digest, "keras": stack.keras_version}
    return model


def _lookback(path: Any, stack: Stack, lookback: int | None) -> int:
    if stack.lookback is None and lookback is None:
        raise InputError(f"{path} leaves the rows of a window open. Pass lookback.")
    if stack.lookback is not None and lookback not in (None, stack.lookback):
        raise InputError(f"{path} reads windows of {stack.lookback} rows, lookback was {lookback}. Leave it out.")
    return int(stack.lookback if lookback is None else lookback)  # type: ignore[arg-type]


def _scaling(name: str, scaler: Any, n_columns: int) -> Scaling:
    """Return a fitted scaler, whoever made it, as center and scale."""
    if isinstance(scaler, Scaling):
        return _checked(name, scaler, n_columns)
    if isinstance(scaler, tuple | list) and len(scaler) == 2:
        center, scale = (np.broadcast_to(np.asarray(part, np.float64), (n_columns,)).copy() for part in scaler)
        return _checked(name, Scaling("standard", center, scale), n_columns)
    return _checked(name, _from_sklearn(name, scaler), n_columns)


def _from_sklearn(name: str, scaler: Any) -> Scaling:
    kind = type(scaler).__name__
    try:
        if kind == "MinMaxScaler" and not scaler.clip:
            low = float(scaler.feature_range[0])
            return Scaling("minmax", np.array(scaler.data_min_ - low / scaler.scale_), np.array(1 / scaler.scale_))
        if kind in ("StandardScaler", "RobustScaler", "MaxAbsScaler"):
            scale = np.ones(scaler.n_features_in_) if scaler.scale_ is None else np.array(scaler.scale_, np.float64)
            center = getattr(scaler, {"StandardScaler": "mean_"}.get(kind, "center_"), None)
            center = np.zeros(len(scale)) if center is None else np.array(center, np.float64)
            return Scaling("robust" if kind == "RobustScaler" else "standard", center, scale)
    except AttributeError as error:
        raise InputError(f"{name} must be fitted, but {scaler!r:.80} has learned nothing yet.") from error
    raise InputError(
        f"{name} must be a Scaling, a pair (center, scale), or a fitted MinMaxScaler (without clip), StandardScaler, "
        f"RobustScaler or MaxAbsScaler of scikit-learn, was {scaler!r:.80}."
    )


def _checked(name: str, scaling: Scaling, n_columns: int) -> Scaling:
    center, scale = np.asarray(scaling.center), np.asarray(scaling.scale)
    if center.shape != (n_columns,) or scale.shape != (n_columns,):
        raise InputError(f"{name} must scale {n_columns} columns, scales {center.shape} and {scale.shape}.")
    if not (np.isfinite(center).all() and np.isfinite(scale).all() and (scale > 0).all()):
        raise InputError(f"{name} must have finite centers and positive scales, has {center} and {scale}.")
    return scaling
