"""What an object is to the audit: features, a target, a forecaster, a function, or something of another library."""

from typing import Any

from ...bars import Bars
from ...errors import InputError
from ...features import Feature, FeatureSet, Target
from ...forecast import Forecaster
from . import libraries
from .subjects import (
    CallableSubject,
    EstimatorSubject,
    FeatureSubject,
    TargetSubject,
    Usage,
    forecaster_subjects,
    input_subjects,
)


def subjects_of(obj: Any, bars: Bars, usage: Usage) -> list[Any]:
    """Return the subjects an object consists of, the cheap ones first."""
    if isinstance(obj, Target):
        return [TargetSubject(obj)]
    if isinstance(obj, Feature | FeatureSet) or _is_nested_features(obj):
        return [FeatureSubject(obj)]
    library = libraries.subject_of(obj, bars, usage)
    if library is not None:
        return library
    if isinstance(obj, Forecaster):
        return forecaster_subjects(obj, bars, usage)
    if hasattr(obj, "fit") and hasattr(obj, "predict") and hasattr(obj, "get_params"):
        return [*input_subjects(usage.features, bars, usage), EstimatorSubject(obj, bars, usage)]
    if callable(obj):
        return [CallableSubject(obj, bars, usage)]
    raise InputError(
        "audit needs features, a target, a forecaster, a function of a DataFrame or of Bars, a scikit-learn estimator, "
        f"a torch module, a NeuralForecast or a darts model; it was {type(obj).__name__}."
    )


def _is_nested_features(obj: Any) -> bool:
    if isinstance(obj, list | tuple) and obj:
        return all(isinstance(part, Feature | FeatureSet) or _is_nested_features(part) for part in obj)
    return False
