"""What a `JointLSTM` reads and how its outputs are read: the state of covariances, and covariances out of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..bars import Bars
from ..features.windows import Scaling, Windows, broken_cells
from .covariances import Outcomes, constant_correlation, correlation_of, exponential_means

OWN = 0.05  # share of its diagonal in every exponential mean: fewer outcomes than symbols would make it singular
FLOOR = 1e-4  # of a variance, in units of the training rows': a symbol that stands still has one
FEWEST = 60  # outcomes known before a state of the covariances is believed
_AT_ONCE = 128  # covariances worked on together


@dataclass(frozen=True, eq=False)
class Base:
    """What of a covariance is fixed, and how raw outputs of a network are read beside it.

    Parameters
    ----------
    mean, scale : float64 array (n_symbols,)
        Of the outcomes on the training rows.
    logits : float64 array (n_memories + 2,)
        Of the fixed shares.
    level : float
        Logarithm of the fixed deviation, beside `scale`.
    inputs : Scaling
        Of the network's inputs.
    """

    mean: np.ndarray
    scale: np.ndarray
    logits: np.ndarray
    level: float
    inputs: Scaling

    @property
    def shares(self) -> np.ndarray:
        """Fixed shares of the exponential means, one correlation for all, and the diagonal."""
        return _softmax(self.logits)

    def said(self, raw: np.ndarray, means: np.ndarray, factors: int) -> tuple[np.ndarray, np.ndarray]:
        """Return means (n, n_symbols) and covariances in units of the target.

        Parameters
        ----------
        raw : float64 array (n, n_outputs)
            What the network put out: means, shares, level, loadings.
        means : float64 array (n, n_memories, n_symbols, n_symbols)
            Exponential means at the same rows.
        factors : int
            Loadings of a symbol.
        """
        n, last = len(self.mean), len(self.mean) + len(self.logits)
        shares = _softmax(self.logits + raw[:, n:last])
        covariance = np.einsum("te,teij->tij", shares, experts_of(means))
        covariance *= np.exp(2.0 * (self.level + raw[:, last]))[:, None, None]
        if factors:
            loadings = raw[:, last + 1 :].reshape(-1, n, factors)
            covariance += np.einsum("tik,tjk->tij", loadings, loadings)
        return self.mean + raw[:, :n] * self.scale, covariance * (self.scale[:, None] * self.scale)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return everything as arrays by name."""
        own = {"mean": self.mean, "scale": self.scale, "logits": self.logits, "level": np.array([self.level])}
        return own | {"inputs.center": self.inputs.center, "inputs.scale": self.inputs.scale}

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray], n_symbols: int, n_memories: int) -> "Base":
        """Return what `arrays` described; `ValueError` where it fits no model of this size."""
        found = cls(
            arrays["mean"],
            arrays["scale"],
            arrays["logits"],
            float(arrays["level"][0]),
            Scaling("standard", arrays["inputs.center"], arrays["inputs.scale"]),
        )
        fits = found.mean.shape == found.scale.shape == (n_symbols,) and found.logits.shape == (n_memories + 2,)
        if not fits or not (found.scale > 0).all() or not (found.inputs.scale > 0).all():
            raise ValueError(f"the fixed part must fit {n_symbols} symbols and {n_memories} memories")
        return found


def _softmax(logits: np.ndarray) -> np.ndarray:
    odds = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return odds / odds.sum(axis=-1, keepdims=True)


def experts_of(means: np.ndarray) -> np.ndarray:
    """Return the estimates that are mixed, (n, n_memories + 2, n_symbols, n_symbols), all positive definite.

    Examples
    --------
    >>> experts_of(np.array([[[[1.0, 1.0], [1.0, 1.0]]]]))[0, :, 0, 1]   # of a singular mean
    array([0.95, 1.  , 0.  ])
    """
    identity, slow = np.eye(means.shape[-1]), means[:, -1]
    own = (1 - OWN) * means + OWN * np.einsum("tmii->tmi", means)[..., None] * identity
    diagonal = np.einsum("tii->ti", slow)[..., None] * identity
    return np.concatenate([own, constant_correlation(slow)[:, None], diagonal[:, None]], axis=1)


class Panel:
    """What the network reads at every bar: features of all symbols side by side, and the state of the covariances.

    Parameters
    ----------
    model : JointLSTM
        Says which.
    bars : Bars
        Where from.
    symbols : tuple of str
        In the order they are read.
    base : object with mean and scale
        By which outcomes are scaled.
    first : int
        First bar that is read; all earlier outcomes are remembered.
    """

    def __init__(self, model: Any, bars: "Bars", symbols: Sequence[str], base: Any, first: int):
        self.bars, self.model, self.columns = bars, model, [bars.symbols.index(s) for s in symbols]
        self.outcomes = Outcomes(model.target_, bars, symbols)
        self.z = (self.outcomes.values - base.mean) / base.scale
        known = self.outcomes.known
        self.low = max(FEWEST, int(known[first]) - 1) if len(known) > first else FEWEST
        high = max(int(known[-1]), self.low)
        counts = np.arange(self.low, high + 1) if known[-1] >= self.low else np.zeros(0, int)
        self.means = np.stack([exponential_means(self.z, counts, d) for d in model.decays], axis=1)
        self.means += FLOOR * np.eye(len(symbols))
        state = self._state()
        at = known - self.low
        found = np.full((len(bars), state.shape[1]), np.nan)
        ready = (at >= 1) & (np.arange(len(bars)) >= first)
        found[ready] = state[at[ready] - 1]
        self.inputs = np.concatenate([*self._features(), found], axis=1)[:, None]

    @property
    def names(self) -> list[str]:
        """What the inputs are called."""
        program = self.model.program_
        own = [] if program is None else [f"{name} of {s}" for s in self.columns for name in program.names]
        return own + [f"state {i} of the covariances" for i in range(self.inputs.shape[2] - len(own))]

    def _features(self) -> list[np.ndarray]:
        program = self.model.program_
        if program is None:
            return []
        return [np.asarray(program.compute(self.bars))[:, self.columns].reshape(len(self.bars), -1)]

    def _state(self) -> np.ndarray:
        """Return the state after each outcome from `low` on: how well it was told, levels and correlations."""
        n, width = len(self.means) - 1, self.z.shape[1]
        parts = [np.zeros((0, 3 * self.means.shape[1] + 3))]
        for at in range(0, n, _AT_ONCE):
            end = min(n, at + _AT_ONCE)
            before, after = self.means[at:end], self.means[at + 1 : end + 1]
            scores = negative_log_density(experts_of(before), self.z[self.low + at : self.low + end, None]) / width
            mean = scores.mean(axis=1, keepdims=True)
            variance = np.einsum("tmii->tmi", after)
            level = np.log(variance).mean(axis=2)
            level[:, :-1] -= level[:, 1:]
            together = (correlation_of(after).sum(axis=(2, 3)) - width) / (width * (width - 1))
            parts.append(np.concatenate([np.arcsinh(scores - mean), np.arcsinh(mean), level, together], axis=1))
        return np.concatenate(parts)

    def windows(self, first: int) -> Windows:
        """Return the windows that end at a bar from `first` on; every symbol must be there."""
        broken = np.asarray(broken_cells(self.bars).any(axis=1))[:, None]
        return Windows.over(np.ascontiguousarray(self.inputs), self.model.lookback, broken, first)

    def means_at(self, rows: np.ndarray) -> np.ndarray:
        """Return the exponential means at these bars, (n, n_memories, n_symbols, n_symbols)."""
        return self.means[self.outcomes.known[rows] - self.low]

    def targets(self, rows: np.ndarray) -> np.ndarray:
        """Return the scaled outcomes of these bars and where their exponential means stand, (n, n_symbols + 1)."""
        place = np.searchsorted(self.outcomes.rows, rows)
        return np.column_stack([self.z[place], self.outcomes.known[rows] - self.low])


def negative_log_density(covariance: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """Return minus the log density of errors (..., n) under normals of covariance (..., n, n), without its constant.

    Examples
    --------
    >>> negative_log_density(np.diag([1.0, 4.0]), np.array([1.0, 2.0]))    # log 2 + (1 + 1) / 2
    np.float64(1.693...)
    """
    factor = np.linalg.cholesky(covariance)
    errors = np.broadcast_to(errors, covariance.shape[:-1])
    z = np.linalg.solve(factor, errors[..., None])[..., 0]
    return np.log(np.diagonal(factor, axis1=-2, axis2=-1)).sum(axis=-1) + 0.5 * (z**2).sum(axis=-1)


def n_outputs_of(model: Any, n_symbols: int) -> int:
    """Return how many numbers the network puts out: means, shares, level, loadings."""
    return n_symbols + len(model.memories) + 3 + n_symbols * model.factors
