"""How an `LSTM` is kept: weights and scalings as tensors, everything else as one JSON document. No code, no pickle."""

from typing import Any

import numpy as np

from .. import artifact
from ..errors import ArtifactError, InputError
from ..features.windows import Scaling
from .network import Net, make_engine
from .training import History

KIND = "lstm"
VERSION = 1


def save_lstm(model: Any, directory: Any) -> str:
    """Write a fitted model into one directory, atomically, and return its digest."""
    model.program_.require_saveable()  # a function given to `causal` is code, and code is never saved
    kept = model.validation_
    searched = [] if kept is None or kept["nets"] is None else kept["nets"]
    weights, scaling = {}, {}
    for role, groups in (("net", model.nets_), ("search", searched)):
        for g, group in enumerate(groups):
            for s, net in enumerate(group):
                key = f"{role}.{g}.{s}"
                weights |= {f"{key}.{name}": array for name, array in net.weights.items()}
                for part in ("inputs", "output"):
                    scaling[f"{key}.{part}.center"] = getattr(net, part).center
                    scaling[f"{key}.{part}.scale"] = getattr(net, part).scale
                if net.calibration is not None:
                    scaling[f"{key}.calibration"] = net.calibration
    tensors = {"weights": weights, "scaling": scaling}
    if kept is not None:
        tensors["validation"] = {"closes": kept["closes"], "rows": kept["rows"]}
    document = {
        "model": model.to_dict(),
        "symbols": list(model.symbols_),
        "dropped": model.dropped_,
        "trained": model.trained_,
        "histories": [h.to_dict() for h in model.histories_],
        "searched": bool(searched),
    }
    return artifact.save(
        directory, KIND, tensors=tensors, documents={"model": document}, version=VERSION, allow_nan={"validation"}
    )


def load_lstm(cls: Any, directory: Any, network: Any = None) -> Any:
    """Read a model back; predictions have the bits they had before saving."""
    found = artifact.load(directory, KIND, version=VERSION, allow_nan={"validation"})
    described = dict(_document(found).get("model", {}))
    if described.pop("network_is_code", False):
        name = str(described.get("network")).rpartition(".")[2]
        if network is None:
            raise InputError(
                f"The network in {directory} is made by the function {described['network']}, and code is never saved. "
                f"Pass it: LSTM.load(directory, network={name})."
            )
        described["network"] = network
    try:
        model = cls.from_dict(described)
        return _restored(model, found)
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
        raise ArtifactError(
            f"{directory} does not fit its own description, or describes an LSTM this version cannot build: "
            f"{type(error).__name__}: {error}. Save the model again."
        ) from error


def _document(found: artifact.Artifact) -> dict[str, Any]:
    document = found.documents.get("model")
    if not isinstance(document, dict) or not isinstance(document.get("model"), dict):
        raise ArtifactError(f"{found.path} does not describe an LSTM. Save the model again.")
    return document


def _restored(model: Any, found: artifact.Artifact) -> Any:
    document = found.documents["model"]
    model.symbols_ = tuple(document["symbols"])
    model.dropped_, model.trained_ = document["dropped"], document["trained"]
    model.histories_ = [History(**h) for h in document["histories"]]
    model.history_ = model.histories_[0]
    model.nets_ = _nets(model, found, "net")
    model.validation_ = None
    if "validation" in found.tensors:
        nets = _nets(model, found, "search") if document["searched"] else None
        model.validation_ = {**found.tensors["validation"], "nets": nets}
    return model


def _nets(model: Any, found: artifact.Artifact, role: str) -> list[list[Net]]:
    weights, scaling = found.tensors["weights"], found.tensors["scaling"]
    n_features = len(model.program_.names)
    engine = make_engine(model, n_features, seed=0)
    sizes = (("inputs", n_features), ("output", len(model.targets_)))
    groups = []
    for g in range(len(model.symbols_) if model.per_symbol else 1):
        groups.append([])
        for s in range(model.seeds):
            key = f"{role}.{g}.{s}."
            own = {name.removeprefix(key): array for name, array in weights.items() if name.startswith(key)}
            engine.set_weights(own)
            parts = [_scaling(model, scaling, key + part, n) for part, n in sizes]
            groups[g].append(Net(own, *parts, calibration=scaling.get(f"{key}calibration")))
    return groups


def _scaling(model: Any, scaling: dict[str, np.ndarray], key: str, n: int) -> Scaling:
    center, scale = scaling[f"{key}.center"], scaling[f"{key}.scale"]
    if center.shape != (n,) or scale.shape != (n,) or not (scale > 0).all():
        raise ValueError(f"{key} must hold {n} centers and positive scales, was {center.shape} and {scale.shape}")
    return Scaling(model.scaler, center, scale)
