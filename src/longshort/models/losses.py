"""What a network is trained to say: losses, and what its raw outputs mean afterwards.

A loss knows how many numbers a network must put out, which outcomes it can learn from, and how to read the numbers as a
forecast in units of the target. How it is computed and differentiated is the engines' business; both use the formulas
given here. With e = o - y for an output o and a scaled outcome y::

    mse          mean e^2                              huber     e^2 / 2 near zero, linear beyond delta
    mae          mean |e|                              quantile  mean max(q (y - Q), (q - 1) (y - Q))
    gaussian     log s + (y - m)^2 / (2 s^2) + log(2 pi) / 2
    student_t    minus the log density of a t with location m, scale s and n > 2 degrees of freedom
    cross_entropy   w (1 - p)^focal (-log p), p the probability given to what happened
    sharpe       minus mean / deviation of position * y - cost * |change of position|, position = tanh(o)
    rank         minus the correlation, date by date, of the outputs with the ranks of the outcomes
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np

from ..errors import DataError, InputError, UnknownName, did_you_mean
from ..features.windows import Scaling

CLASSES = {"direction": (0.0, 1.0), "move": (-1.0, 0.0, 1.0), "barrier": (-1.0, 0.0, 1.0)}
RETURNS = ("return", "log_return")
_FLOOR = 1e-6  # of a predicted deviation, in units of the scaled target


@dataclass(frozen=True)
class Loss:
    """A loss and the reading of what it trains.

    Attributes
    ----------
    name : str
        As in ``LSTM(loss=name)``.
    grouped : {None, "symbol", "date"}
        Whether a batch must hold whole runs of one symbol, or whole dates.
    calibrated : bool
        Whether what the network says is put on the scale of the outcomes by an affine map learned on validation rows.
    plain : bool
        Whether the point forecast is the first output, unscaled (and nothing below zero for a volatility): a stream
        then reads it natively.
    """

    name: ClassVar[str] = ""
    grouped: ClassVar[str | None] = None
    calibrated: ClassVar[bool] = False
    plain: ClassVar[bool] = False

    def outputs(self, target: Any, n_targets: int = 1) -> int:
        """Return how many numbers a network must put out."""
        if n_targets != 1:
            raise InputError(
                f"The {self.name} loss learns one target at a time, was given {n_targets}. "
                "Use loss='mse', 'mae' or 'huber' for several horizons."
            )
        return 1

    def check(self, target: Any) -> None:
        """Raise `InputError` where the loss cannot learn this target."""
        if target.kind in CLASSES and len(CLASSES[target.kind]) > 2:
            raise InputError(
                f"A {target.kind} target has classes; the {self.name} loss learns numbers. Use loss='cross_entropy'."
            )

    def scaling(self, kind: str, outcomes: np.ndarray, names: Sequence[str], target: Any) -> Scaling:
        """Learn how outcomes (n_rows, n_targets) are scaled for the network."""
        return Scaling.fit(kind, list(outcomes.T), names)

    def engine_options(
        self, outcomes: np.ndarray | None = None, scaling: Scaling | None = None, target: Any = None
    ) -> dict[str, Any]:
        """Return the engine's arguments; to train, given the scaled outcomes of the training rows and their scaling."""
        return {"loss": self.name}

    def read(
        self, raw: np.ndarray, scaling: Scaling, target: Any, calibration: np.ndarray | None
    ) -> dict[str, np.ndarray]:
        """Return the forecast in raw outputs (n_rows, n_outputs).

        Returns
        -------
        dict of str to float64 array
            ``mean`` (n_rows,), and where the loss says more: ``std`` (n_rows,), ``quantiles`` (n_rows, n_levels),
            ``probabilities`` (n_rows, n_classes), ``position`` (n_rows,), ``horizons`` (n_rows, n_targets).
        """
        values = _sensible(scaling.inverse(raw), target)
        return {"mean": values[:, 0]} | ({"horizons": values} if values.shape[1] > 1 else {})

    def calibrate(self, raw: np.ndarray, encoded: np.ndarray, dates: np.ndarray) -> np.ndarray | None:
        """Learn the map of raw outputs to outcomes from rows the network has not seen; None where there is none.

        Parameters
        ----------
        raw, encoded : float64 arrays (n_rows, n_outputs) and (n_rows, n_targets)
            What the network put out, and the scaled outcomes.
        dates : int array (n_rows,)
            Equal for rows of the same date.
        """
        return None

    def to_dict(self) -> dict[str, Any]:
        """Return name and arguments as a JSON-able mapping."""
        return {"name": self.name, **{k: _plain(v) for k, v in asdict(self).items()}}


class _PerTarget(Loss):
    """A loss of single errors: one output a target, so several horizons at once."""

    plain: ClassVar[bool] = True

    def outputs(self, target: Any, n_targets: int = 1) -> int:
        return n_targets


@dataclass(frozen=True)
class MSE(_PerTarget):
    """Squared error: the network says the mean.

    Examples
    --------
    >>> from longshort.models.losses import MSE
    >>> MSE().to_dict()
    {'name': 'mse'}
    """

    name: ClassVar[str] = "mse"


@dataclass(frozen=True)
class MAE(_PerTarget):
    """Absolute error: the network says the median.

    Examples
    --------
    >>> from longshort.models.losses import MAE
    >>> MAE().name
    'mae'
    """

    name: ClassVar[str] = "mae"


@dataclass(frozen=True)
class Huber(_PerTarget):
    """Huber's loss (1964): squared near zero, absolute beyond `delta` scaled units.

    Examples
    --------
    >>> from longshort.models.losses import Huber
    >>> Huber(delta=0.5).to_dict()
    {'name': 'huber', 'delta': 0.5}
    """

    name: ClassVar[str] = "huber"
    delta: float = 1.0

    def __post_init__(self):
        _require_number("delta", self.delta, 1e-12)

    def engine_options(self, outcomes=None, scaling=None, target=None):
        return {"loss": self.name, "huber_delta": float(self.delta)}


@dataclass(frozen=True)
class Quantile(Loss):
    """Pinball loss (Koenker and Bassett, 1978) at several levels, which cannot cross: each adds a positive step.

    Parameters
    ----------
    levels : sequence of float, default=(0.05, 0.5, 0.95)
        Increasing, between 0 and 1. The point forecast is the quantile at 0.5, or at the level nearest to it.

    Examples
    --------
    >>> from longshort.models.losses import Quantile
    >>> Quantile((0.1, 0.5, 0.9)).outputs(None)
    3
    """

    name: ClassVar[str] = "quantile"
    levels: tuple[float, ...] = (0.05, 0.5, 0.95)

    def __post_init__(self):
        levels = _numbers("levels", self.levels)
        if not levels or any(not 0 < q < 1 for q in levels) or any(a >= b for a, b in pairwise(levels)):
            raise InputError(f"levels must increase and lie strictly between 0 and 1, were {self.levels!r}.")
        object.__setattr__(self, "levels", levels)

    def outputs(self, target: Any, n_targets: int = 1) -> int:
        super().outputs(target, n_targets)
        return len(self.levels)

    def engine_options(self, outcomes=None, scaling=None, target=None):
        return {"loss": self.name, "levels": list(self.levels)}

    def read(self, raw, scaling, target, calibration):
        steps = np.concatenate([raw[:, :1], _softplus(raw[:, 1:])], axis=1)
        quantiles = _sensible(scaling.inverse(np.cumsum(steps, axis=1)), target)
        middle = int(np.argmin(np.abs(np.array(self.levels) - 0.5)))
        return {"mean": quantiles[:, middle], "quantiles": quantiles}


@dataclass(frozen=True)
class Gaussian(Loss):
    """Negative log likelihood of a normal (Nix and Weigend, 1994): the network says mean and deviation.

    Examples
    --------
    >>> from longshort.models.losses import Gaussian
    >>> Gaussian().outputs(None)
    2
    """

    name: ClassVar[str] = "gaussian"
    plain: ClassVar[bool] = True

    def outputs(self, target: Any, n_targets: int = 1) -> int:
        super().outputs(target, n_targets)
        return 2

    def read(self, raw, scaling, target, calibration):
        mean = _sensible(scaling.inverse(raw[:, :1])[:, 0], target)
        return {"mean": mean, "std": (_softplus(raw[:, 1]) + _FLOOR) * scaling.scale[0]}


@dataclass(frozen=True)
class StudentT(Loss):
    """Negative log likelihood of Student's t with predicted location, scale and degrees of freedom above 2.

    Examples
    --------
    >>> from longshort.models.losses import StudentT
    >>> StudentT().outputs(None)
    3
    """

    name: ClassVar[str] = "student_t"
    plain: ClassVar[bool] = True

    def outputs(self, target: Any, n_targets: int = 1) -> int:
        super().outputs(target, n_targets)
        return 3

    def read(self, raw, scaling, target, calibration):
        freedom = 2.0 + _softplus(raw[:, 2]) + 1e-3
        spread = (_softplus(raw[:, 1]) + _FLOOR) * np.sqrt(freedom / (freedom - 2.0))
        mean = _sensible(scaling.inverse(raw[:, :1])[:, 0], target)
        return {"mean": mean, "std": spread * scaling.scale[0]}


@dataclass(frozen=True)
class CrossEntropy(Loss):
    """Cross entropy for directions, moves and barriers: the network says probabilities.

    Parameters
    ----------
    class_weight : None, "balanced" or sequence of float, default=None
        Weight of each class in order (down first); "balanced" makes all classes count the same.
    focal : float, default=0.0
        Focusing exponent (Lin et al., 2017): above 0, rows already told apart count less.
    calibrate_probabilities : bool, default=True
        Scale the logits by an affine map learned on the validation rows (Platt, 1999; Guo et al., 2017).

    Notes
    -----
    The point forecast is the probability of a rise for two classes, and P(up) - P(down) for three.

    Examples
    --------
    >>> from longshort.models.losses import CrossEntropy
    >>> CrossEntropy(class_weight="balanced", focal=2.0).to_dict()
    {'name': 'cross_entropy', 'class_weight': 'balanced', 'focal': 2.0, 'calibrate_probabilities': True}
    """

    name: ClassVar[str] = "cross_entropy"
    class_weight: str | tuple[float, ...] | None = None
    focal: float = 0.0
    calibrate_probabilities: bool = True

    def __post_init__(self):
        _require_number("focal", self.focal, 0.0)
        given = self.class_weight
        if given is None or given == "balanced":
            return
        if isinstance(given, str):
            raise UnknownName(f"class_weight was {given!r}. {did_you_mean(given, ('balanced',))}")
        weights = _numbers("class_weight", given)
        if len(weights) not in (2, 3) or any(not 0 < w < np.inf for w in weights):
            raise InputError(f"class_weight must be one positive number a class (2 or 3), was {given!r}.")
        object.__setattr__(self, "class_weight", weights)

    @property
    def calibrated(self) -> bool:  # type: ignore[override]
        return self.calibrate_probabilities

    def outputs(self, target: Any, n_targets: int = 1) -> int:
        super().outputs(target, n_targets)
        n = len(CLASSES[target.kind])
        return 1 if n == 2 else n

    def check(self, target: Any) -> None:
        if target.kind not in CLASSES:
            raise InputError(
                f"The cross_entropy loss learns classes, and a {target.kind} has none. "
                "Use target=forward_direction(...), forward_move(...) or forward_barrier(...)."
            )
        n = len(CLASSES[target.kind])
        if isinstance(self.class_weight, tuple) and len(self.class_weight) != n:
            raise InputError(f"A {target.kind} has {n} classes, but class_weight has {len(self.class_weight)} numbers.")

    def scaling(self, kind, outcomes, names, target):
        """Classes are numbered from 0, nothing else; one class alone can teach nothing."""
        values = CLASSES[target.kind]
        found = np.unique(outcomes)
        if len(found) < 2:
            raise DataError(
                f"{names[0]} is always {found[0]:g} on the {len(outcomes)} training rows, so there is nothing to tell "
                "apart. Load more bars, or change the target."
            )
        return Scaling(kind, np.array([values[0]]), np.ones(1))

    def engine_options(self, outcomes=None, scaling=None, target=None):
        weights: list[float] = []
        if outcomes is not None and self.class_weight is not None:
            n_classes = None if target is None else len(CLASSES[target.kind])
            weights = self._weights(outcomes[:, 0].astype(int), n_classes)
        return {"loss": self.name, "focal": float(self.focal), "class_weights": weights}

    def _weights(self, classes: np.ndarray, n_classes: int | None) -> list[float]:
        """Return weights whose mean over the training rows is 1."""
        if not isinstance(self.class_weight, tuple):
            return class_weights(classes, n_classes)
        weights = np.array(self.class_weight)
        count = np.bincount(classes, minlength=len(weights))
        return (weights * len(classes) / (weights * count).sum()).tolist()

    def read(self, raw, scaling, target, calibration):
        values = CLASSES[target.kind]
        probabilities = _probabilities(raw, calibration)
        said = probabilities[:, 1] if len(values) == 2 else probabilities[:, 2] - probabilities[:, 0]
        return {"mean": said, "probabilities": probabilities}

    def calibrate(self, raw: np.ndarray, encoded: np.ndarray, dates: np.ndarray) -> np.ndarray | None:
        if not self.calibrate_probabilities or len(raw) < 20:
            return None
        from scipy.optimize import minimize

        classes = encoded[:, 0].astype(int)

        def log_loss(map_: np.ndarray) -> float:
            p = _probabilities(raw, map_)[np.arange(len(raw)), classes]
            return float(-np.log(np.maximum(p, 1e-12)).mean())

        n = 2 if raw.shape[1] == 1 else 1 + raw.shape[1]
        start = np.concatenate([[1.0], np.zeros(n - 1)])
        found = minimize(lambda m: log_loss(m) + 1e-3 * float(((m - start) ** 2).sum()), start, method="L-BFGS-B")
        found.x[0] = max(found.x[0], 0.0)  # an upside-down ranking is no knowledge
        return np.asarray(found.x, np.float64)


@dataclass(frozen=True)
class Sharpe(Loss):
    """Net-of-cost Sharpe ratio of the positions themselves (Lim, Zohren and Roberts, 2019), with a turnover penalty.

    Parameters
    ----------
    cost : float, default=0.0005
        Charged per unit of change in position, as a fraction of the price.
    block : int, default=20
        Consecutive decision rows of one symbol that stay together in a batch.

    Notes
    -----
    `Forecast.position` is the position in [-1, 1]. The point forecast is the return that position has been worth on the
    validation rows, zero where it was worth nothing, so that it can be judged like any other forecast.

    Examples
    --------
    >>> from longshort.models.losses import Sharpe
    >>> Sharpe(cost=0.001).grouped
    'symbol'
    """

    name: ClassVar[str] = "sharpe"
    grouped: ClassVar[str | None] = "symbol"
    calibrated: ClassVar[bool] = True
    cost: float = 0.0005
    block: int = 20

    def __post_init__(self):
        _require_number("cost", self.cost, 0.0)
        if isinstance(self.block, bool) or not isinstance(self.block, int | np.integer) or self.block < 2:
            raise InputError(f"block must be a whole number of rows, at least 2, was {self.block!r}.")

    def check(self, target: Any) -> None:
        if target.kind not in RETURNS:
            raise InputError(f"A position earns returns, and the target is a {target.kind}. Use forward_return(1).")

    def scaling(self, kind, outcomes, names, target):
        """A position keeps the sign of the return: returns are divided by their deviation, never centred."""
        fitted = super().scaling("standard", outcomes, names, target)
        return Scaling(kind, np.zeros_like(fitted.center), fitted.scale)

    def engine_options(self, outcomes=None, scaling=None, target=None):
        return {"loss": self.name, "cost": self.cost / (1.0 if scaling is None else float(scaling.scale[0]))}

    def read(self, raw, scaling, target, calibration):
        position = np.tanh(raw[:, 0])
        slope = 0.0 if calibration is None else calibration[0]
        return {"mean": slope * position * scaling.scale[0], "position": position}

    def calibrate(self, raw: np.ndarray, encoded: np.ndarray, dates: np.ndarray) -> np.ndarray | None:
        return _slope(np.tanh(raw[:, 0]), encoded[:, 0])


@dataclass(frozen=True)
class Rank(Loss):
    """Correlation with the ranks of a cross-section: which symbols do better than the others of the same date.

    Notes
    -----
    Batches are whole dates. The loss leaves open what the scores of a date have in common, and so does the reading: the
    point forecast is the mean outcome of the training rows, and the score's distance from its middle times what a unit
    of it has been worth, among the symbols of a date, on the validation rows.

    Examples
    --------
    >>> from longshort.models.losses import Rank
    >>> Rank().grouped
    'date'
    """

    name: ClassVar[str] = "rank"
    grouped: ClassVar[str | None] = "date"
    calibrated: ClassVar[bool] = True

    def read(self, raw, scaling, target, calibration):
        slope, middle = (0.0, 0.0) if calibration is None else calibration
        return {"mean": scaling.inverse(slope * (raw[:, :1] - middle))[:, 0]}

    def calibrate(self, raw: np.ndarray, encoded: np.ndarray, dates: np.ndarray) -> np.ndarray | None:
        slope = _slope(_within(raw[:, 0], dates), _within(encoded[:, 0], dates))
        return np.append(slope, raw.mean())


LOSSES = {cls.name: cls for cls in (MSE, MAE, Huber, Quantile, Gaussian, StudentT, CrossEntropy, Sharpe, Rank)}


def class_weights(classes: np.ndarray, n_classes: int | None = None) -> list[float]:
    """Return weights with which all classes count the same, and whose mean over the rows is 1.

    Parameters
    ----------
    classes : int array (n_rows,)
        Numbered from 0.
    n_classes : int, optional
        How many there are; as many as the largest number says by default.

    Raises
    ------
    DataError
        A class has no row.

    Examples
    --------
    >>> from longshort.models.losses import class_weights
    >>> class_weights(np.array([0, 0, 0, 1]))
    [0.6666666666666666, 2.0]
    """
    count = np.bincount(classes, minlength=n_classes or 0)
    if (count == 0).any():
        raise DataError(
            f"class_weight='balanced' needs every class in the training rows, found {count.tolist()} of each. "
            "Load more bars, or lower the threshold."
        )
    return (len(classes) / (len(count) * count)).tolist()


def loss_of(given: Any, huber_delta: float = 1.0) -> Loss:
    """Return the loss meant by a name, a saved description or a loss.

    Parameters
    ----------
    given : str, mapping or Loss
        ``"quantile"``, ``{"name": "quantile", "levels": [0.1, 0.9]}`` or ``Quantile((0.1, 0.9))``.
    huber_delta : float, default=1.0
        Of ``"huber"`` given by name.

    Examples
    --------
    >>> from longshort.models.losses import loss_of
    >>> loss_of({"name": "quantile", "levels": [0.1, 0.9]})
    Quantile(levels=(0.1, 0.9))
    """
    if isinstance(given, Loss):
        return given
    arguments: dict[str, Any] = dict(given) if isinstance(given, Mapping) else {"name": given}
    name = arguments.pop("name", None)
    if not isinstance(name, str) or name not in LOSSES:
        raise UnknownName(f"loss was {given!r}. {did_you_mean(str(name), tuple(LOSSES))}")
    if name == "huber" and not arguments:
        arguments = {"delta": huber_delta}
    kind: Any = LOSSES[name]
    try:
        return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in arguments.items()})
    except TypeError as error:
        known = ", ".join(f.name for f in fields(kind)) or "none"
        raise InputError(f"The {name} loss was given {arguments!r}; its arguments are: {known}.") from error


def _slope(said: np.ndarray, happened: np.ndarray) -> np.ndarray:
    """What a unit of what was said was worth, through the origin and never below zero."""
    square = float(said @ said)
    return np.array([max(float(said @ happened) / square, 0.0) if square > 0 else 0.0])


def _within(values: np.ndarray, dates: np.ndarray) -> np.ndarray:
    """What each value is above the mean of its date."""
    which = np.unique(dates, return_inverse=True)[1]
    return values - (np.bincount(which, values) / np.bincount(which))[which]


def _probabilities(raw: np.ndarray, calibration: np.ndarray | None) -> np.ndarray:
    logits = raw if calibration is None else raw * calibration[0] + calibration[1:]
    if logits.shape[1] == 1:
        up = 0.5 * (1.0 + np.tanh(0.5 * logits[:, 0]))
        return np.stack([1.0 - up, up], axis=1)
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def _sensible(values: np.ndarray, target: Any) -> np.ndarray:
    """No volatility is below zero."""
    return np.maximum(values, 0.0) if target.kind == "volatility" else values


def _softplus(x: np.ndarray) -> np.ndarray:
    return np.logaddexp(0.0, x)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _numbers(name: str, given: Any) -> tuple[float, ...]:
    try:
        return tuple(float(value) for value in given)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} must be several numbers, was {given!r}. Write {name}=(0.1, 0.9).") from error


def _require_number(name: str, value: Any, low: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not low <= value < np.inf:
        raise InputError(f"{name} must be a finite number of at least {low:g}, was {value!r}.")
