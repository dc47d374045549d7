"""Any regressor with `fit(X, y)` and `predict(X)` as a forecaster: gradient boosting, support vectors, yours.

It reads the same features as the LSTM over the last bars, laid side by side, and is judged on the same rows. Prices are
predicted through the change they imply.
"""

import copy
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError, NotEnoughData, NotFitted, SetupError
from ..features.windows import check_lookback
from ..forecast import Forecast
from .baselines import ReadsFeatures, as_forecast
from .fits import remember_fit
from .linear import change, level, paired
from .network import row_of

if TYPE_CHECKING:
    from ..bars import Bars

ROWS = 4096  # predicted together: a bound on memory, never on the result


class Regressor(ReadsFeatures):
    """A regressor of scikit-learn's grammar as a forecaster, pooled over symbols.

    Parameters
    ----------
    estimator : object
        With `fit(X, y)` and `predict(X)`; a copy of it is fitted. Scaling belongs inside it (a `Pipeline`). For a
        direction also a classifier with `predict_proba(X)`: its probability of a rise is the forecast.
    features : sequence of Feature or FeatureSet
        What it reads.
    target : Target
        What to forecast.
    lookback : int, default=5
        Bars of features it sees; the last is the decision row.
    name : str, optional
        What tables call it; the estimator's class by default.

    Attributes
    ----------
    estimator_ : object
        The fitted copy.

    Examples
    --------
    >>> from longshort import features as f
    >>> from longshort.data import synthetic
    >>> class Mean:                                   # anything with these two methods
    ...     def fit(self, X, y): self.mean = y.mean(); return self
    ...     def predict(self, X): return np.full(len(X), self.mean)
    >>> bars = synthetic.random_walk(300, seed=1)
    >>> model = Regressor(Mean(), [f.log_return()], f.forward_log_return()).fit(bars)
    >>> model.predict(bars).mean[-1, 0] == model.estimator_.mean
    np.True_
    """

    def __init__(self, estimator: Any, features: Any, target: Any, lookback: int = 5, name: str = ""):
        if isinstance(estimator, type) or not callable(getattr(estimator, "predict", None)):
            raise InputError(f"estimator must be an object with fit(X, y) and predict(X), was {estimator!r}.")
        check_lookback(lookback)
        self.estimator, self.features, self.target, self.lookback = estimator, features, target, int(lookback)
        self.name = name or type(estimator).__name__

    def fit(self, bars: "Bars", start: Any = None) -> "Regressor":
        """Learn from all rows with an outcome."""
        first = row_of(bars, start)
        rows = paired(self._inputs(bars, first), change(self.target, bars), first)
        if len(rows.outcome) < 10:
            raise NotEnoughData(
                f"{self.name} needs at least 10 rows to learn from, but bars holds {len(rows.outcome)} with "
                f"{self.warmup} bars before them and an outcome after. Load more bars."
            )
        self.estimator_ = copy.deepcopy(self.estimator)
        self.estimator_.fit(rows.inputs, rows.outcome)
        remember_fit(self, bars)
        return self

    def predict(self, bars: "Bars", start: Any = None) -> Forecast:
        """Forecast at every bar from `start` on."""
        if not hasattr(self, "estimator_"):
            raise NotFitted(f"This {self.name} has not learned anything yet. Call fit(bars) first.")
        first = row_of(bars, start)
        values = np.full((len(bars), len(bars.symbols)), np.nan)
        values[first:] = self.said(self._inputs(bars, first))
        return as_forecast(self.target, bars, level(self.target, bars, values), start)

    def said(self, inputs: np.ndarray) -> np.ndarray:
        """Return what inputs (..., n_inputs) say, prices as the changes they imply; NaN where one is missing."""
        values = np.full(inputs.shape[:-1], np.nan)
        full = np.isfinite(inputs).all(axis=-1)
        rows, told = inputs[full], []
        for at in range(0, len(rows), ROWS):
            told.append(self._told(rows[at : at + ROWS]))
        values[full] = np.concatenate(told) if told else np.zeros(0)
        return np.maximum(values, 0.0) if self.target.info.kind == "volatility" else values

    def _told(self, rows: np.ndarray) -> np.ndarray:
        """What the estimator says of some rows; of a direction's rise, the probability where it has one."""
        if self.target.info.kind == "direction" and callable(getattr(self.estimator_, "predict_proba", None)):
            classes, shares = list(self.estimator_.classes_), np.asarray(self.estimator_.predict_proba(rows))
            return shares[:, classes.index(1.0)] if 1.0 in classes else np.zeros(len(rows))
        return np.asarray(self.estimator_.predict(rows), np.float64).reshape(-1)

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as a JSON-able mapping; the estimator as its own description."""
        kind = type(self.estimator)
        return {
            "kind": "Regressor",
            "estimator": f"{kind.__module__}.{kind.__qualname__}",
            "described": repr(self.estimator) if hasattr(self.estimator, "get_params") else "",
            "features": self.program_.to_dict(),
            "target": self.target.to_dict(),
            "lookback": self.lookback,
        }


def gradient_boosting(features: Any, target: Any, lookback: int = 5, **options: Any) -> Regressor:
    """Return gradient-boosted trees (scikit-learn's histogram version) on the same features as the LSTM.

    Parameters
    ----------
    features, target, lookback
        As in `Regressor`.
    **options
        Of ``sklearn.ensemble.HistGradientBoostingRegressor``. By default 100 trees of at most 8 leaves with a learning
        rate of 0.05: small, because next-bar returns are mostly noise.

    Examples
    --------
    >>> from longshort import features as f
    >>> gradient_boosting([f.log_return()], f.forward_log_return()).estimator.max_leaf_nodes
    8
    """
    try:
        from sklearn.ensemble import HistGradientBoostingRegressor
    except ImportError as error:
        raise SetupError("Gradient boosting needs scikit-learn: pip install 'longshort[sklearn]'.") from error
    settings = {"max_iter": 100, "max_leaf_nodes": 8, "learning_rate": 0.05, "random_state": 0, "early_stopping": False}
    return Regressor(
        HistGradientBoostingRegressor(**(settings | options)), features, target, lookback, "gradient boosting"
    )


def support_vectors(features: Any, target: Any, lookback: int = 5, **options: Any) -> Regressor:
    """Return a support-vector regression (RBF kernel, standardised inputs and outcome) on the LSTM's features.

    Parameters
    ----------
    features, target, lookback
        As in `Regressor`.
    **options
        Of ``sklearn.svm.SVR``; its cost grows with the square of the rows.

    Examples
    --------
    >>> from longshort import features as f
    >>> support_vectors([f.log_return()], f.forward_log_return(), C=0.1).name
    'support vectors'
    """
    try:
        from sklearn.compose import TransformedTargetRegressor
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from sklearn.svm import SVR
    except ImportError as error:
        raise SetupError("Support vectors need scikit-learn: pip install 'longshort[sklearn]'.") from error
    machine = TransformedTargetRegressor(make_pipeline(StandardScaler(), SVR(**options)), transformer=StandardScaler())
    return Regressor(machine, features, target, lookback, "support vectors")


def ladder(features: Any, target: Any, lookback: int = 5) -> dict[str, Any]:
    """Return every challenger by its name: ridge, autoregression (of volatility: HAR), gradient boosting, SVR.

    Examples
    --------
    ``walk_forward(lstm, bars, cv, baselines="ladder")`` puts all of them beside the LSTM; this is for other lookbacks.

    >>> from longshort import features as f
    >>> sorted(ladder([f.log_return()], f.forward_log_return()))
    ['ar', 'gradient boosting', 'ridge', 'support vectors']
    """
    from .baselines import HAR, AutoRegression, Ridge

    past = {"har": HAR(target)} if target.info.kind == "volatility" else {"ar": AutoRegression(target)}
    return {
        "ridge": Ridge(features, target, lookback),
        **past,
        "gradient boosting": gradient_boosting(features, target, lookback),
        "support vectors": support_vectors(features, target, lookback),
    }
