"""Learning rates over a training, as values: which multiple of `lr` an epoch uses, from its number and past losses.

A schedule keeps nothing between epochs, so a resumed training uses the rates it would have used anyway::

    constant   1                                    cosine          from 1 to `floor` along half a cosine
    step       times `factor` every `every` epochs  warmup_cosine   up in a line, then cosine
    plateau    times `factor` whenever the loss has not improved for `patience` epochs
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

from ..errors import InputError, UnknownName, did_you_mean


@dataclass(frozen=True)
class Schedule:
    """Base of the schedules; itself the constant rate.

    Examples
    --------
    >>> Schedule().rate(epoch=7)
    1.0
    """

    name: ClassVar[str] = "constant"

    def rate(self, epoch: int, losses: Sequence[float] = ()) -> float:
        """Return the multiple of `lr` for an epoch, counted from 1, given the losses of the epochs before it."""
        return 1.0

    def over(self, epochs: int) -> "Schedule":
        """Return the schedule of a training of so many epochs, where it was left open."""
        return self

    def to_dict(self) -> dict[str, Any]:
        """Return name and arguments as a JSON-able mapping."""
        return {"name": self.name, **asdict(self)}


@dataclass(frozen=True)
class StepDecay(Schedule):
    """Multiply the rate by `factor` every `every` epochs.

    Examples
    --------
    >>> [StepDecay(every=2, factor=0.1).rate(epoch) for epoch in (1, 2, 3, 5)]
    [1.0, 1.0, 0.1, 0.010000000000000002]
    """

    name: ClassVar[str] = "step"
    every: int = 10
    factor: float = 0.5

    def __post_init__(self) -> None:
        _require_whole("every", self.every, 1)
        _require_share("factor", self.factor)

    def rate(self, epoch: int, losses: Sequence[float] = ()) -> float:
        return self.factor ** ((epoch - 1) // self.every)


@dataclass(frozen=True)
class CosineDecay(Schedule):
    """Half a cosine from 1 towards `floor` (Loshchilov and Hutter, 2017), which epoch `epochs + 1` would reach.

    Parameters
    ----------
    epochs : int, optional
        Length; that of the training where None.
    floor : float, default=0.0
        Multiple of `lr` at the end.

    Examples
    --------
    >>> [round(CosineDecay(epochs=4).rate(epoch), 3) for epoch in (1, 3, 5, 9)]
    [1.0, 0.5, 0.0, 0.0]
    """

    name: ClassVar[str] = "cosine"
    epochs: int | None = None
    floor: float = 0.0

    def __post_init__(self) -> None:
        if self.epochs is not None:
            _require_whole("epochs", self.epochs, 1)
        _require_share("floor", self.floor)

    def rate(self, epoch: int, losses: Sequence[float] = ()) -> float:
        if self.epochs is None:
            raise InputError(f"{type(self).__name__} needs to know its epochs. Write {type(self).__name__}(epochs=50).")
        return self._cosine(epoch - 1, self.epochs)

    def _cosine(self, done: int, of: int) -> float:
        return self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * min(done / of, 1.0)))

    def over(self, epochs: int) -> "Schedule":
        return self if self.epochs is not None else replace(self, epochs=epochs)


@dataclass(frozen=True)
class WarmupCosine(CosineDecay):
    """Up in a line over the first `warmup` epochs, then half a cosine down to `floor`.

    Examples
    --------
    >>> [round(WarmupCosine(epochs=6, warmup=2).rate(epoch), 3) for epoch in (1, 2, 3, 5, 7)]
    [0.5, 1.0, 1.0, 0.5, 0.0]
    """

    name: ClassVar[str] = "warmup_cosine"
    warmup: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_whole("warmup", self.warmup, 1)

    def rate(self, epoch: int, losses: Sequence[float] = ()) -> float:
        if epoch <= self.warmup:
            return epoch / self.warmup
        if self.epochs is None:
            return super().rate(epoch, losses)
        return self._cosine(epoch - 1 - self.warmup, max(1, self.epochs - self.warmup))


@dataclass(frozen=True)
class ReduceOnPlateau(Schedule):
    """Multiply the rate by `factor` whenever the loss has not improved for `patience` epochs, as Keras counts them.

    Parameters
    ----------
    factor : float, default=0.5
        What the rate is multiplied by.
    patience : int, default=5
        Epochs without improvement before that; counting starts again after it.
    min_delta : float, default=1e-4
        An improvement is at least this much lower.
    floor : float, default=0.0
        Smallest multiple of `lr`.

    Notes
    -----
    The loss is that of the validation samples; without any, that of training.

    Examples
    --------
    >>> halve = ReduceOnPlateau(patience=2)
    >>> [halve.rate(epoch, [1.0, 0.9, 0.95, 0.92, 0.94, 0.93][: epoch - 1]) for epoch in range(1, 8)]
    [1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.25]
    """

    name: ClassVar[str] = "plateau"
    factor: float = 0.5
    patience: int = 5
    min_delta: float = 1e-4
    floor: float = 0.0

    def __post_init__(self) -> None:
        _require_share("factor", self.factor)
        _require_share("floor", self.floor)
        _require_whole("patience", self.patience, 1)
        if not 0 <= self.min_delta < math.inf:
            raise InputError(f"min_delta must be a finite number of at least 0, was {self.min_delta!r}.")

    def rate(self, epoch: int, losses: Sequence[float] = ()) -> float:
        rate, best, waited = 1.0, math.inf, 0
        for loss in losses[: epoch - 1]:
            waited += 1
            if loss < best - self.min_delta:
                best, waited = loss, 0
            elif waited >= self.patience:
                rate, waited = max(rate * self.factor, self.floor), 0
        return rate


SCHEDULES: dict[str, type[Schedule]] = {
    kind.name: kind for kind in (Schedule, StepDecay, CosineDecay, WarmupCosine, ReduceOnPlateau)
}


def schedule_of(given: Any, epochs: int) -> Schedule:
    """Return the schedule meant by a name, a saved description or a schedule, for a training of so many epochs.

    Parameters
    ----------
    given : None, str, mapping or Schedule
        None is the constant rate.
    epochs : int
        Of the training.

    Examples
    --------
    >>> schedule_of("cosine", epochs=50)
    CosineDecay(epochs=50, floor=0.0)
    >>> schedule_of({"name": "step", "every": 5}, epochs=50)
    StepDecay(every=5, factor=0.5)
    >>> schedule_of("cosin", epochs=50)
    Traceback (most recent call last):
    ...
    longshort.errors.UnknownName: schedule was 'cosin'. Did you mean 'cosine'?
    """
    if given is None:
        return Schedule()
    if isinstance(given, Schedule):
        return given.over(epochs)
    arguments: dict[str, Any] = dict(given) if isinstance(given, Mapping) else {"name": given}
    name = arguments.pop("name", None)
    if not isinstance(name, str) or name not in SCHEDULES:
        raise UnknownName(f"schedule was {given!r}. {did_you_mean(str(name), SCHEDULES)}")
    try:
        return SCHEDULES[name](**arguments).over(epochs)
    except TypeError as error:
        raise InputError(f"The {name} schedule has no such argument: {error}.") from error


def _require_whole(name: str, value: Any, low: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise InputError(f"{name} must be a whole number of at least {low}, was {value!r}.")


def _require_share(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise InputError(f"{name} must lie in [0, 1], was {value!r}.")
