"""What the forecasts of a tuning trial are worth, date by date, beside those that know nothing.

The gain of a date is how much smaller the loss was than that of the best information-free forecast, in units of the
latter's mean loss. The mean gain is the trial's score: 0 is worth nothing, 0.01 explains one per cent. Because every
trial is judged on the same dates against the same forecast, scores can be compared, whatever loss was trained on.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError, UnknownName, did_you_mean
from .statistics import per_date

if TYPE_CHECKING:
    from ..bars import Bars
    from .splits import Folds

SCORES = ("mse", "mae", "pinball", "ic")
_BY_LOSS = {"mae": "mae", "quantile": "pinball", "sharpe": "ic", "rank": "ic"}


def score_of(forecaster: Any, score: str) -> str:
    """Return the score meant: "auto" is the one that fits the loss a forecaster is trained on.

    Examples
    --------
    >>> import longshort as ls
    >>> score_of(ls.LSTM(loss="quantile"), "auto"), score_of(ls.LSTM(), "auto")
    ('pinball', 'mse')
    """
    if score == "auto":
        return _BY_LOSS.get(getattr(getattr(forecaster, "loss_", None), "name", ""), "mse")
    if score not in SCORES:
        raise UnknownName(f"score was {score!r}. {did_you_mean(str(score), ('auto', *SCORES))}")
    return score


class Gains:
    """The judge of one training window: the same rows, outcomes and reference for every trial.

    Parameters
    ----------
    score : {"mse", "mae", "pinball", "ic"}
        Squared or absolute error of the point forecast (of prices: relative to the last close), pinball loss of the
        quantiles, or correlation of forecast and outcome within a fold.
    target : Target
        What is forecast.
    bars : Bars
        The training window.
    folds : Folds
        The inner folds.
    naive : mapping of str to array (n_bars, n_symbols)
        Forecasts without information.
    """

    def __init__(self, score: str, target: Any, bars: "Bars", folds: "Folds", naive: Mapping[str, np.ndarray]):
        self.score, self.folds = score, folds
        actual, ends = np.asarray(target.compute(bars)), np.asarray(target.label_end(bars))
        self.close = np.asarray(bars.adjusted("close")) if target.info.kind == "close" else None
        self.actual = [self._scaled(actual[rows], rows) for rows in folds.rows]
        forecasts = {
            name: [self._scaled(np.asarray(v)[rows], rows) for rows in folds.rows] for name, v in naive.items()
        }
        if score == "pinball":
            self.known = [_known(actual, ends, f) for f in folds]
        self.reference, self.unit = self._reference(forecasts)

    def __call__(self, fold: int, mean: np.ndarray, extras: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the gain of every date of a fold, (n_rows,); a row without forecast gains nothing."""
        rows, actual = self.folds.rows[fold], self.actual[fold]
        if self.score == "ic":
            return np.nan_to_num(per_date(_products(self._scaled(mean, rows), actual)))
        if self.score == "pinball":
            loss = _pinball(actual, _quantiles(extras))
            reference = self._climate(fold, _quantiles(extras))
        else:
            loss = _loss(self.score, self._scaled(mean, rows), actual)
            reference = self.reference[fold]
        unit = self.unit if self.score != "pinball" else float(np.nanmean(reference)) or 1.0
        return np.nan_to_num(per_date((reference - loss) / unit))

    def _scaled(self, values: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Return prices (n_rows, n_symbols) relative to the last close known at each row, other values as they are."""
        return values if self.close is None else values / self.close[rows]

    def _reference(self, forecasts: Mapping[str, list[np.ndarray]]) -> tuple[list[np.ndarray], float]:
        """Return the losses of the best information-free forecast on all inner test rows, and their mean."""
        if self.score in ("ic", "pinball"):
            return [], 1.0
        losses = {
            name: [_loss(self.score, f, a) for f, a in zip(parts, self.actual, strict=True)]
            for name, parts in forecasts.items()
        }
        means = {name: float(np.nanmean(np.concatenate(parts))) for name, parts in losses.items()}
        best = min(means, key=lambda name: means[name])
        if not means[best] > 0:
            raise InputError(f"The {best} forecast is perfect on the inner test rows; there is nothing to tune.")
        return losses[best], means[best]

    def _climate(self, fold: int, quantiles: Mapping[float, np.ndarray]) -> np.ndarray:
        """Return the pinball losses of the quantiles of the outcomes known when the fold was trained."""
        known = self.known[fold]
        flat = {q: np.full(values.shape, np.quantile(known, q)) for q, values in quantiles.items()}
        return _pinball(self.actual[fold], flat)


def _loss(score: str, forecast: np.ndarray, actual: np.ndarray) -> np.ndarray:
    return (forecast - actual) ** 2 if score == "mse" else np.abs(forecast - actual)


def _quantiles(extras: Mapping[str, np.ndarray]) -> dict[float, np.ndarray]:
    found = {float(n.partition("/")[2]): np.asarray(v) for n, v in extras.items() if n.startswith("quantiles/")}
    if not found:
        raise InputError('The score "pinball" needs forecasts with quantiles. Use loss="quantile", or score="mse".')
    return found


def _pinball(actual: np.ndarray, quantiles: Mapping[float, np.ndarray]) -> np.ndarray:
    losses = [np.maximum(q * (actual - v), (q - 1) * (actual - v)) for q, v in quantiles.items()]
    return np.mean(losses, axis=0)


def _products(forecast: np.ndarray, actual: np.ndarray) -> np.ndarray:
    """Products of standardised forecasts and outcomes, whose mean is their correlation; 0 where one is constant."""
    both = np.isfinite(forecast) & np.isfinite(actual)
    if both.sum() < 2:
        return np.zeros(forecast.shape)
    f, a = (np.where(both, v, np.nan) for v in (forecast, actual))
    f, a = f - np.nanmean(f), a - np.nanmean(a)
    unit = float(np.sqrt(np.nanmean(f**2) * np.nanmean(a**2)))
    return f * a / unit if unit > 0 else np.zeros(forecast.shape)


def _known(actual: np.ndarray, ends: np.ndarray, fold: Any) -> np.ndarray:
    values = actual[ends <= fold.train_end]
    return values[np.isfinite(values)]
