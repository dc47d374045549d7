"""How several forecasts become one: means, medians, weights learned on rows nobody trained on, and what it is worth.

Weights are learned from errors measured against what needs no model, so that prices of different symbols count alike:
a price's error is a share of the last close, and what is combined is the change from it.

- `inverse_errors`: weights inversely proportional to the squared errors (Bates and Granger, 1969).
- `stack`: non-negative least squares of the outcomes on the forecasts (Breiman, 1996), shrunk towards equal weights.
- `Diversity`: the error of the mean is the mean error less the disagreement (Krogh and Vedelsby, 1995).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import NotEnoughData

if TYPE_CHECKING:
    from ..bars import Bars

COMBINE = ("mean", "median", "weighted", "stacking")
LEARNED = ("weighted", "stacking")


@dataclass(frozen=True)
class Combination:
    """A rule and its weights.

    Parameters
    ----------
    how : {"mean", "median", "weighted", "stacking"}
        The rule.
    weights : tuple of float
        One a member; equal where the rule learns none.

    Examples
    --------
    >>> import numpy as np
    >>> said = [np.array([1.0, 2.0]), np.array([3.0, np.nan])]
    >>> Combination("weighted", (0.75, 0.25))(said)
    array([1.5, nan])
    """

    how: str
    weights: tuple[float, ...]

    @classmethod
    def equal(cls, how: str, n: int) -> "Combination":
        """Return the rule with `n` equal weights."""
        return cls(how, (1.0 / n,) * n)

    def __call__(self, said: Sequence[np.ndarray], origin: np.ndarray | float = 0.0) -> np.ndarray:
        """Combine the members' values, NaN where one of them is; stacked ones count as changes from `origin`.

        Members are added up one by one, so a row's bits do not depend on its neighbours.
        """
        if self.how == "median":
            return np.median(np.stack(said), axis=0)
        if self.how == "mean":
            return _total(said, (1.0,) * len(said)) / len(said)
        total = _total(said, self.weights)
        return total + (1.0 - sum(self.weights)) * origin if self.how == "stacking" else total

    def pool(self, said: Sequence[np.ndarray]) -> np.ndarray:
        """Combine with weights that add up to one, as probabilities and positions need it."""
        return _total(said, self.shares)

    def spread(self, said: Sequence[np.ndarray]) -> np.ndarray:
        """Return how far the members stand apart: the deviation about their mean."""
        centre = self.pool(said)
        return np.sqrt(self.pool([(values - centre) ** 2 for values in said]))

    def deviation(self, said: Sequence[np.ndarray], stds: Sequence[np.ndarray]) -> np.ndarray:
        """Return the deviation of the mixture of the members' distributions: their own, and how they stand apart."""
        return np.sqrt(self.pool([std**2 for std in stds]) + self.spread(said) ** 2)

    @property
    def shares(self) -> tuple[float, ...]:
        """The weights, made to add up to one; equal ones where all are zero."""
        total = sum(self.weights)
        return tuple(w / total for w in self.weights) if total > 0 else (1.0 / len(self.weights),) * len(self.weights)


def learn(how: str, outcome: np.ndarray, said: np.ndarray, shrinkage: float) -> Combination:
    """Learn a combination from forecasts nobody trained on.

    Parameters
    ----------
    how : {"weighted", "stacking"}
        Which.
    outcome : float array (n_samples,)
        What came, as a change from the origin.
    said : float array (n_samples, n_members)
        What each member said, as a change from the origin.
    shrinkage : float in [0, 1]
        0 trusts the sample, 1 gives equal weights.
    """
    if how == "weighted":
        weights = inverse_errors(((said - outcome[:, None]) ** 2).mean(axis=0), shrinkage)
    else:
        weights = stack(outcome, said, shrinkage)
    return Combination(how, tuple(float(w) for w in weights))


def inverse_errors(errors: np.ndarray, shrinkage: float = 0.0) -> np.ndarray:
    """Return weights inversely proportional to mean squared errors, drawn towards equal ones.

    Examples
    --------
    >>> import numpy as np
    >>> inverse_errors(np.array([1.0, 3.0])), inverse_errors(np.array([1.0, 3.0]), shrinkage=0.5)
    (array([0.75, 0.25]), array([0.625, 0.375]))
    """
    errors = np.asarray(errors, dtype=np.float64)
    raw = (errors == 0).astype(float) if (errors == 0).any() else errors.min() / errors
    return shrinkage / len(errors) + (1.0 - shrinkage) * raw / raw.sum()


def stack(outcome: np.ndarray, said: np.ndarray, shrinkage: float = 0.0) -> np.ndarray:
    """Return non-negative weights with the smallest squared error, by ridge drawn towards equal ones.

    The penalty on each weight's distance from equality is ``shrinkage / (1 - shrinkage)`` times the mean square of a
    forecast. Weights need not add up to one: forecasts that promise too much are scaled down.

    Examples
    --------
    >>> import numpy as np
    >>> said = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    >>> stack(np.array([0.5, 0.25, 0.75]), said), stack(np.array([0.5, -9.0, 0.5]), said)
    (array([0.5 , 0.25]), array([0.5, 0. ]))
    """
    n, k = said.shape
    equal = np.full(k, 1.0 / k)
    if shrinkage >= 1:
        return equal
    square = np.einsum("ij,ik->jk", said, said) / n
    product = np.einsum("ij,i->j", said, outcome) / n
    penalty = shrinkage / (1.0 - shrinkage) * np.trace(square) / k
    return _non_negative(square + penalty * np.eye(k), product + penalty * equal)


def _non_negative(square: np.ndarray, product: np.ndarray) -> np.ndarray:
    """Minimise x'Ax/2 - b'x over x >= 0 by active sets (Lawson and Hanson, 1974)."""
    k = len(product)
    free, x = np.zeros(k, bool), np.zeros(k)
    tolerance = 1e-12 * max(float(np.abs(product).max()), 1e-300)
    for _ in range(10 * k):
        pull = np.where(free, -np.inf, product - square @ x)
        if pull.max() <= tolerance:
            break
        free[int(pull.argmax())] = True
        while True:
            aim = np.zeros(k)
            aim[free] = np.linalg.lstsq(square[np.ix_(free, free)], product[free], rcond=None)[0]
            out = free & (aim <= 0)
            if not out.any():
                break
            step = float((x[out] / np.maximum(x[out] - aim[out], 1e-300)).min())
            x = x + step * (aim - x)
            free &= x > 1e-14
            x[~free] = 0.0
        x = aim
    return x


@dataclass(frozen=True, eq=False)
class Diversity:
    """How members of an ensemble differ, and what that is worth.

    Errors are mean squared, those of prices as shares of the last close. For weights that add up to one,
    ``error == mean_error - ambiguity``: the more the members disagree at the same quality, the better (Krogh and
    Vedelsby, 1995). For medians and stacked weights the two sides differ a little.

    Parameters
    ----------
    names : tuple of str
        Members.
    weights : array (n_members,)
        As combined, made to add up to one.
    errors : array (n_members,)
        Mean squared error of each member.
    correlation : array (n_members, n_members)
        Of the members' errors.
    error, mean_error, ambiguity : float
        Of the ensemble; the weighted mean of the members'; the weighted mean squared distance from the ensemble.
    n : int
        Outcomes counted.
    """

    names: tuple[str, ...]
    weights: np.ndarray
    errors: np.ndarray
    correlation: np.ndarray
    error: float
    mean_error: float
    ambiguity: float
    n: int

    @classmethod
    def of(
        cls, names: Sequence[str], combination: Combination, outcome: np.ndarray, said: np.ndarray, joined: np.ndarray
    ) -> "Diversity":
        """Measure it: outcomes and combined forecasts (n,), members' forecasts (n, n_members), all finite."""
        weights = np.array(combination.shares)
        errors = said - outcome[:, None]
        centred = errors - errors.mean(axis=0)
        size = np.sqrt((centred**2).mean(axis=0))
        size[size <= 1e-9 * np.abs(errors).max(axis=0)] = np.nan  # a constant error correlates with nothing
        products = np.einsum("ij,ik->jk", centred, centred) / len(outcome)
        with np.errstate(all="ignore"):
            correlation = products / size / size[:, None]
        squared = (errors**2).mean(axis=0)
        distance = ((said - joined[:, None]) ** 2).mean(axis=0)
        error = float(((joined - outcome) ** 2).mean())
        return cls(
            tuple(names), weights, squared, correlation, error, float(weights @ squared), float(weights @ distance),
            len(outcome),
        )  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Return everything as a JSON-able mapping, None for a correlation with a constant error."""
        plain = np.where(np.isfinite(self.correlation), self.correlation, np.nan).tolist()
        return {
            "names": list(self.names),
            "weights": self.weights.tolist(),
            "errors": self.errors.tolist(),
            "correlation": [[None if c != c else c for c in row] for row in plain],
            "error": self.error,
            "mean_error": self.mean_error,
            "ambiguity": self.ambiguity,
            "n": self.n,
        }

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> "Diversity":
        """Return what `to_dict` wrote."""
        arrays = {name: np.array(kept[name], dtype=np.float64) for name in ("weights", "errors", "correlation")}
        return cls(**{**kept, **arrays, "names": tuple(kept["names"])})

    def __repr__(self) -> str:
        width = max(8, *(len(name) for name in self.names))
        lines = [f"{'member':{width}}  weight   rmse / ensemble's   correlation of errors"]
        for i, name in enumerate(self.names):
            others = np.delete(self.correlation[i], i)
            ratio = float(np.sqrt(self.errors[i] / self.error)) if self.error > 0 else float("nan")
            span = f"{others.min():.3f} .. {others.max():.3f}"
            lines.append(f"{name:{width}}  {self.weights[i]:6.3f}   {ratio:17.4f}   {span}")
        share = self.ambiguity / self.mean_error if self.mean_error > 0 else 0.0
        lines.append(
            f"ensemble error {self.error:.4g} = mean member error {self.mean_error:.4g} - disagreement "
            f"{self.ambiguity:.4g} ({share:.1%} of it), {self.n:,} outcomes"
        )
        return "\n".join(lines)


def origin_of(target: Any, bars: "Bars", first: int = 0) -> np.ndarray | float:
    """Return what needs no model, from row `first` on or one number: last close, even odds, no change."""
    if target.kind == "close":
        return np.asarray(bars.adjusted("close"))[first:]
    return 0.5 if target.kind == "direction" else 0.0


def relative(target: Any, values: np.ndarray, origin: np.ndarray | float) -> np.ndarray:
    """Return values as changes from the origin; those of prices as shares of it."""
    return values / origin - 1.0 if target.kind == "close" else values - origin


def samples_of(
    target: Any, outcome: np.ndarray, said: Sequence[np.ndarray], origin: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Return outcomes (n,) and forecasts (n, n_members) as changes from the origin, where all are known."""
    values = np.stack([relative(target, v, origin) for v in said], axis=-1)
    came = relative(target, outcome, origin)
    known = np.isfinite(values).all(axis=-1) & np.isfinite(came)
    return came[known], values[known]


def diversity_of(
    names: list[str], rule: Combination, target: Any, outcome: np.ndarray, said: list, origin: Any
) -> Diversity:
    """Measure how members differ on the rows where all forecasts and the outcome are known."""
    came, values = samples_of(target, outcome, said, origin)
    if not len(came):
        raise NotEnoughData(
            "No row has both an outcome and a forecast of every member. Pass bars that go on after start, "
            "long enough for the longest window."
        )
    joined = rule(list(values.T))
    return Diversity.of(names, rule, came, values, joined)


def _total(said: Sequence[np.ndarray], weights: Sequence[float]) -> np.ndarray:
    total = weights[0] * said[0]
    for weight, values in zip(weights[1:], said[1:], strict=True):
        total = total + weight * values
    return total
