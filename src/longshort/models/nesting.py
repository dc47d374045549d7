"""How forecasters other than networks are described and kept; those made of others hold each in a folder of its own."""

import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from .. import artifact
from ..errors import ArtifactError, InputError, UnknownName, did_you_mean
from ..features import FeatureSet, Target
from .combining import Combination, Diversity
from .linear import Linear

CLASSES = (
    "AutoRegression", "Conformal", "ConstantCorrelation", "DCC", "Drift", "EWMA", "Ensemble", "HAR",
    "HistoricalMean", "JointLSTM", "LSTM", "LedoitWolf", "Persistence", "Ridge", "SampleCovariance",
)  # fmt: skip
VERSION = 1


def class_of(kind: str) -> Any:
    """Return the class a configuration calls `kind`; only ours are known, so nothing else is ever loaded."""
    from .. import models

    if kind not in CLASSES:
        raise UnknownName(f"No forecaster is called {kind!r}. {did_you_mean(kind, CLASSES)}")
    return getattr(models, kind)


def forecaster_of(configuration: Mapping[str, Any]) -> Any:
    """Return the unfitted forecaster that a `to_dict` described.

    Examples
    --------
    >>> import longshort as ls
    >>> model = ls.models.Ridge([ls.features.log_return()], ls.features.forward_return())
    >>> forecaster_of(model.to_dict()).to_dict() == model.to_dict()
    True
    """
    cls = class_of(configuration["kind"])
    if hasattr(cls, "from_dict"):
        return cls.from_dict(configuration)
    params = {name: value for name, value in configuration.items() if name != "kind"}
    params["target"] = Target.from_dict(params["target"])
    if "features" in params:
        params["features"] = FeatureSet.from_dict(params["features"])
    return cls(**params)


def save_with_parts(
    directory: Any, kind: str, document: Mapping[str, Any], parts: Mapping[str, Any], tensors: Any = None
) -> str:
    """Write a document and fitted forecasters into one directory, atomically, and return its digest."""
    for name, part in parts.items():
        if type(part).__name__ not in CLASSES or not hasattr(part, "save"):
            raise InputError(f"{name!r} is a {type(part).__name__}, which cannot be saved. Leave it out, or refit it.")
    with tempfile.TemporaryDirectory() as scratch:
        folders = {f"part-{i}": Path(scratch) / str(i) for i in range(len(parts))}
        for folder, part in zip(folders.values(), parts.values(), strict=True):
            part.save(folder)
        named = [[name, type(part).__name__] for name, part in parts.items()]
        return artifact.save(
            directory,
            kind,
            documents={"model": {**document, "parts": named}},
            tensors=tensors,
            parts=folders,
            version=VERSION,
        )


def load_with_parts(directory: Any, kind: str) -> tuple[artifact.Artifact, dict[str, Any]]:
    """Return what `save_with_parts` wrote: the artifact and the fitted forecasters by name."""
    found = artifact.load(directory, kind, version=VERSION)
    loaded = {}
    try:
        for i, (name, cls) in enumerate(found.documents["model"]["parts"]):
            loaded[name] = class_of(cls).load(found.parts[f"part-{i}"])
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, ArtifactError):
            raise
        raise ArtifactError(f"{directory} does not fit its own description: {error}. Save it again.") from error
    if artifact.load(directory, kind, version=VERSION).digest != found.digest:
        raise ArtifactError(f"{directory} was replaced while it was read. Load it again.")
    return found, loaded


def save_baseline(model: Any, directory: Any) -> str:
    """Write a baseline: a mean per symbol, a linear function, or nothing."""
    if hasattr(model, "program_"):
        model.program_.require_saveable()
    tensors: dict[str, dict[str, np.ndarray]] = {}
    if hasattr(model, "mean_"):
        tensors["learned"] = {symbol: np.array([mean]) for symbol, mean in model.mean_.items()}
    if hasattr(model, "linear_"):
        learned = asdict(model.linear_) | {"penalty": getattr(model, "penalty_", 0.0)}
        learned["scale"] = np.where(np.isinf(learned["scale"]), -1.0, learned["scale"])  # -1: an input without weight
        tensors["learned"] = {name: np.atleast_1d(np.asarray(value, float)) for name, value in learned.items()}
    return artifact.save(
        directory,
        "baseline",
        documents={"model": model.to_dict()},
        tensors=tensors,
        version=VERSION,
        allow_nan={"learned"},
    )


def load_baseline(cls: Any, directory: Any) -> Any:
    """Read a baseline back; predictions have the bits they had before saving."""
    found = artifact.load(directory, "baseline", version=VERSION, allow_nan={"learned"})
    try:
        kind = found.documents["model"]["kind"]
        if kind != cls.__name__:
            raise ArtifactError(f"{directory} holds a {kind}, not a {cls.__name__}. Load it with its own class.")
        model, learned = forecaster_of(found.documents["model"]), dict(found.tensors.get("learned", {}))
        if cls.LEARNS == "mean_":
            model.mean_ = {symbol: float(mean[0]) for symbol, mean in learned.items()}
        elif cls.LEARNS == "linear_":
            penalty, intercept = float(learned.pop("penalty")[0]), float(learned.pop("intercept")[0])
            if not all(np.isfinite(values).all() for values in (*learned.values(), [penalty, intercept])):
                raise ArtifactError(f"{directory} holds weights that are not finite. Fit it again on clean data.")
            learned["scale"] = np.where(learned["scale"] < 0, np.inf, learned["scale"])
            model.linear_ = Linear(**learned, intercept=intercept)
            model.penalty_ = penalty
    except (KeyError, TypeError, IndexError, InputError) as error:
        raise ArtifactError(f"{directory} describes a {cls.__name__} this version cannot build: {error}") from error
    return model


def save_ensemble(model: Any, directory: Any) -> str:
    """Write a fitted ensemble."""
    document = {
        "model": model.to_dict(),
        "weights": list(model.combination_.weights),
        "diversity": None if model.diversity_ is None else model.diversity_.to_dict(),
    }
    return save_with_parts(directory, "ensemble", document, model.members_)


def load_ensemble(cls: Any, directory: Any) -> Any:
    """Read an ensemble back; predictions have the bits they had before saving."""
    found, members = load_with_parts(directory, "ensemble")
    document = found.documents["model"]
    try:
        model = cls.from_dict(document["model"])
        weights = tuple(float(w) for w in document["weights"])
        model.diversity_ = None if document["diversity"] is None else Diversity.from_dict(document["diversity"])
    except (KeyError, TypeError, InputError) as error:
        raise ArtifactError(f"{directory} describes an ensemble this version cannot build: {error}") from error
    if list(members) != list(model.unfitted) or len(weights) != len(members):
        raise ArtifactError(f"{directory} does not hold the members it describes. Save the ensemble again.")
    model.members_, model.combination_ = members, Combination(model.combine, weights)
    histories = [h for member in members.values() for h in getattr(member, "histories_", ())]
    if histories:
        model.histories_, model.history_ = histories, histories[0]
    return model


def save_conformal(model: Any, directory: Any) -> str:
    """Write a fitted forecaster with its calibration errors."""
    document = {"model": model.to_dict(), "until": model.until_, "symbols": list(model.scores_)}
    tensors = {"scores": {str(i): scores for i, scores in enumerate(model.scores_.values())}}
    return save_with_parts(directory, "conformal", document, {"forecaster": model.forecaster_}, tensors)


def load_conformal(cls: Any, directory: Any) -> Any:
    """Read it back; intervals have the bits they had before saving."""
    found, parts = load_with_parts(directory, "conformal")
    document = found.documents["model"]
    try:
        model = cls.from_dict(document["model"])
        scores = found.tensors["scores"]
        model.scores_ = {symbol: scores[str(i)] for i, symbol in enumerate(document["symbols"])}
        model.until_, model.forecaster_ = int(document["until"]), parts["forecaster"]
    except (KeyError, TypeError, InputError) as error:
        raise ArtifactError(f"{directory} describes intervals this version cannot build: {error}") from error
    if any(s.ndim != 1 or len(s) < model.fewest or not (s >= 0).all() for s in model.scores_.values()):
        raise ArtifactError(f"{directory} does not hold the errors it describes. Save the model again.")
    return model
