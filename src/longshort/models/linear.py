"""Linear regressions with a penalty: their samples; learned from moments, applied in a fixed order without BLAS."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ..bars import Bars


@dataclass(frozen=True, eq=False)
class Linear:
    """Standardise, multiply, add: in a fixed order, so that a row's bits do not depend on its neighbours."""

    centre: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    intercept: float

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        out = np.full(inputs.shape[:-1], self.intercept)
        for k, weight in enumerate(self.weights):
            out = out + (inputs[..., k] - self.centre[k]) / self.scale[k] * weight
        return out


@dataclass(frozen=True, eq=False)
class Moments:
    """All that a ridge needs to know of its samples, whatever the penalty: the eigenvectors of their covariance."""

    centre: np.ndarray
    scale: np.ndarray
    size: np.ndarray
    vectors: np.ndarray
    projected: np.ndarray
    intercept: float

    @classmethod
    def of(cls, inputs: np.ndarray, outcome: np.ndarray) -> "Moments":
        """Return the moments of samples: inputs (n_samples, n_inputs) and their outcomes (n_samples,)."""
        centre, scale = inputs.mean(axis=0), inputs.std(axis=0)
        scale = np.where(scale > 1e-12 * np.maximum(np.abs(centre), 1e-300), scale, np.inf)  # constants get no weight
        intercept = float(outcome.mean())
        square, product = np.zeros((len(centre), len(centre))), np.zeros(len(centre))
        for part in range(0, len(inputs), 65_536):  # a second copy of the samples would cost more than they do
            z = (inputs[part : part + 65_536] - centre) / scale
            square += z.T @ z
            product += z.T @ (outcome[part : part + 65_536] - intercept)
        size, vectors = np.linalg.eigh(square)
        return cls(centre, scale, np.maximum(size, 0.0), vectors, vectors.T @ product, intercept)

    def solve(self, penalty: float) -> Linear:
        """Return the regression with this penalty, in units of one sample."""
        damped = self.size + penalty
        kept = self.size > 1e-10 * max(float(self.size[-1]), 1e-300)
        invert = np.where(kept, 1.0 / np.where(damped > 0, damped, 1.0), 0.0)
        return Linear(self.centre, self.scale, self.vectors @ (invert * self.projected), self.intercept)


# ------------------------------------------------------------------------------------------------------------- samples


def side_by_side(values: np.ndarray, lookback: int, first: int) -> np.ndarray:
    """Lay the features of the last `lookback` bars side by side, the decision row's first.

    Parameters
    ----------
    values : array (n_bars, n_symbols, n_features)
        Features.
    lookback, first : int
        Bars to lay; first row wanted.

    Returns
    -------
    array (n_bars - first, n_symbols, lookback * n_features)
        NaN where there is no earlier bar.
    """
    n_bars, n_symbols, n_features = values.shape
    out = np.full((n_bars - first, n_symbols, lookback * n_features), np.nan)
    for k in range(lookback):
        top = max(k, first)
        out[top - first :, :, k * n_features : (k + 1) * n_features] = values[top - k : max(n_bars - k, 0)]
    return out


@dataclass(frozen=True, eq=False)
class Pairs:
    """Inputs with their outcomes, one row a sample."""

    inputs: np.ndarray  # (n_samples, n_inputs)
    outcome: np.ndarray  # (n_samples,)
    row: np.ndarray  # (n_samples,) bar index


def paired(inputs: np.ndarray, outcome: np.ndarray, first: int) -> Pairs:
    """Pair `inputs` of the rows from `first` on with their outcomes, where all of them are finite."""
    outcome = outcome[first:]
    keep = np.isfinite(inputs).all(axis=-1) & np.isfinite(outcome)
    rows, _ = np.nonzero(keep)
    return Pairs(inputs[keep], outcome[keep], rows + first)


def change(target: Any, bars: "Bars") -> np.ndarray:
    """Return the outcomes, those of prices as changes from the last close."""
    values = np.asarray(target.compute(bars))
    if target.info.kind != "close":
        return values
    close = np.asarray(bars.adjusted("close"))
    return values / close - 1.0


def level(target: Any, bars: "Bars", moved: np.ndarray) -> np.ndarray:
    """Return forecasts in units of the target, those of prices from the changes they imply."""
    return level_of(target, np.asarray(bars.adjusted("close")), moved)


def level_of(target: Any, close: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """Return forecasts in units of the target from the adjusted closes they start from."""
    return close * (1.0 + moved) if target.info.kind == "close" else moved
