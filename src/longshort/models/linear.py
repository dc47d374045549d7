"""Linear regressions with a penalty: learned from moments, applied in a fixed order without BLAS."""

from dataclasses import dataclass

import numpy as np


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
