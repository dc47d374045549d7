"""Models: whatever learns from bars and forecasts at bars.

`LSTM` is the estimator people come for; the baselines are what it has to beat.
"""

from .._lazy import attach

_EXPORTS: dict[str, str | None] = {  # public name -> where it is defined; None: a sub-module
    "AutoRegression": "baselines",
    "Conformal": "conformal",
    "ConstantCorrelation": "covariances",
    "DCC": "covariances",
    "Drift": "baselines",
    "EWMA": "covariances",
    "Ensemble": "ensemble",
    "HAR": "baselines",
    "HistoricalMean": "baselines",
    "JointLSTM": "joint",
    "LSTM": "lstm",
    "LedoitWolf": "covariances",
    "Persistence": "baselines",
    "Regressor": "regressor",
    "Ridge": "baselines",
    "SampleCovariance": "covariances",
    "exchange": None,
    "fleet": None,
    "gradient_boosting": "regressor",
    "ladder": "regressor",
    "losses": None,
    "nets": None,
    "presets": None,
    "schedules": None,
    "streaming": None,
    "torch_engine": None,
    "support_vectors": "regressor",
    "training": None,
}
__getattr__, __dir__, __all__ = attach(__name__, _EXPORTS)
