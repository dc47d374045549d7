"""How a `KerasForecaster` is kept: the network as Keras's own JSON, the numbers as tensors. No code, no pickle."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ... import artifact
from ...errors import ArtifactError, InputError
from ...features import FeatureSet, Target
from ...features.windows import Scaling
from ...models.network import Net
from ...models.training import History
from .backend import keras_module, seeded

KIND, VERSION = "keras-forecaster", 1


def described(model: Any) -> dict[str, Any]:
    """Return network, optimizer and loss as Keras describes them, without names and numbers that differ run to run."""
    keras = keras_module()
    config = keras.saving.serialize_keras_object(model)
    optimizer = model.optimizer
    settings = {key: value for key, value in optimizer.get_config().items() if key != "name"}
    loss = model.loss if isinstance(model.loss, str) else keras.saving.serialize_keras_object(model.loss)
    compiled = {"optimizer": type(optimizer).__name__, "settings": settings, "loss": loss}
    names = [layer.get("config", {}).get("name") for layer in config.get("config", {}).get("layers", [])]
    names = [name for name in (config.get("config", {}).get("name"), *names) if isinstance(name, str)]
    renamed = {name: f"layer_{i}" for i, name in enumerate(dict.fromkeys(names))}
    config.pop("compile_config", None)
    return {"network": _steady(config, renamed), "compiled": _steady(compiled, renamed)}


def _steady(value: Any, renamed: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {k: _steady(v, renamed) for k, v in value.items() if k != "shared_object_id"}
    if isinstance(value, list | tuple):
        return [_steady(item, renamed) for item in value]
    if isinstance(value, str):
        return renamed.get(value, value)
    return value.item() if isinstance(value, np.generic) else value


def save_forecaster(forecaster: Any, directory: Any) -> str:
    """Write a fitted forecaster into one directory, atomically, and return its digest."""
    forecaster.program_.require_saveable()
    weights, scaling = {}, {}
    for s, (model, net) in enumerate(zip(forecaster.models_, forecaster.nets_[0], strict=True)):
        weights |= {f"net.{s}.{i}": np.asarray(array) for i, array in enumerate(model.get_weights())}
        for part in ("inputs", "output"):
            scaling[f"net.{s}.{part}.center"] = getattr(net, part).center
            scaling[f"net.{s}.{part}.scale"] = getattr(net, part).scale
    document = {
        "model": forecaster.to_dict(),
        "symbols": list(forecaster.symbols_),
        "dropped": forecaster.dropped_,
        "trained": forecaster.trained_,
        "histories": [history.to_dict() for history in forecaster.histories_],
    }
    tensors = {"weights": weights, "scaling": scaling}
    return artifact.save(directory, KIND, tensors=tensors, documents={"model": document}, version=VERSION)


def load_forecaster(cls: Any, directory: Any, pattern: Any = None) -> Any:
    """Read a forecaster back; its forecasts have the bits they had before saving."""
    found = artifact.load(directory, KIND, version=VERSION)
    document = found.documents["model"]
    try:
        params = {name: value for name, value in document["model"].items() if name != "kind"}
        if pattern is None:
            pattern = _rebuilt(found.path, params["model"])
        params |= {"model": pattern, "features": FeatureSet.from_dict(params["features"])}
        params["target"] = [Target.from_dict(target) for target in params["target"]]
        forecaster = cls(**params)
        forecaster.symbols_ = tuple(document["symbols"])
        forecaster.dropped_, forecaster.trained_ = document["dropped"], document["trained"]
        forecaster.histories_ = [History(**history) for history in document["histories"]]
        forecaster.history_ = forecaster.histories_[0]
        sizes = {"inputs": len(forecaster.program_.names), "output": len(forecaster.targets_)}
        forecaster.models_, nets = [], []
        for s in range(forecaster.seeds):
            model = forecaster.fresh(forecaster.seed + s)
            own = found.tensors["weights"]
            model.set_weights([own[f"net.{s}.{i}"] for i in range(len(model.get_weights()))])
            told = found.tensors["scaling"]
            inputs, output = (_scaling(told, f"net.{s}.{p}", forecaster.scaler, n) for p, n in sizes.items())
            forecaster.models_.append(model)
            nets.append(Net({}, inputs, output))
        forecaster.nets_ = [nets]
        if len(own) != sum(len(model.get_weights()) for model in forecaster.models_):
            raise ValueError(f"it holds {len(own)} arrays of weights, more than its networks have")
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, ArtifactError):
            raise
        raise ArtifactError(f"{found.path} does not fit its own description: {error}. Save the model again.") from error
    return forecaster


def _scaling(scaling: dict[str, np.ndarray], key: str, kind: str, n: int) -> Scaling:
    center, scale = scaling[f"{key}.center"], scaling[f"{key}.scale"]
    if center.shape != (n,) or scale.shape != (n,) or not (scale > 0).all():
        raise ValueError(f"{key} must hold {n} centers and positive scales, was {center.shape} and {scale.shape}")
    return Scaling(kind, center, scale)


def _rebuilt(path: Any, told: dict[str, Any]) -> Any:
    """Build a compiled model from its description, which may name objects of Keras and nothing else."""
    keras = keras_module()
    for kind, module, registered in _objects(told):
        foreign = module is not None and module != "keras" and not module.startswith("keras.")
        if foreign or kind.startswith("__lambda") or kind in ("Lambda", "function") or registered not in (None, kind):
            raise ArtifactError(
                f"{path} needs {kind!r:.60} of {module!r:.60}, which is code, and code is never loaded from a "
                "directory. Pass the network: KerasForecaster.load(directory, model=...)."
            )
    with seeded(0):
        model = keras.saving.deserialize_keras_object(told["network"], safe_mode=True)
        compiled = told["compiled"]
        optimizer = getattr(keras.optimizers, str(compiled["optimizer"]), None)
        if not (isinstance(optimizer, type) and issubclass(optimizer, keras.optimizers.Optimizer)):
            raise InputError(f"its optimizer {compiled['optimizer']!r:.60} is none of Keras's")
        loss = compiled["loss"]
        loss = loss if isinstance(loss, str) else keras.saving.deserialize_keras_object(loss, safe_mode=True)
        model.compile(optimizer=optimizer.from_config(compiled["settings"]), loss=loss)
    return model


def _objects(value: Any) -> Iterator[tuple[str, str | None, str | None]]:
    """Yield (class, module, registered name) of every object a description names."""
    if isinstance(value, dict):
        if "class_name" in value:
            yield str(value["class_name"]), value.get("module"), value.get("registered_name")
        for item in value.values():
            yield from _objects(item)
    elif isinstance(value, list):
        for item in value:
            yield from _objects(item)
