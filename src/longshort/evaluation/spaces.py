"""What tuning may change: a search space over the arguments of a forecaster, checked before anything is trained.

::

    {"lookback": [20, 60, 120],            one of these
     "dropout": (0.0, 0.5),                any number between
     "lr": (1e-4, 1e-2, "log"),            by orders of magnitude
     "batch_size": (16, 128, 16),          in steps
     "units": (16, 128), "layers": (1, 3)} together: hidden = units repeated for every layer

Whole ends mean whole numbers, unless the argument is a fraction now. `layers` and `units` stand for `hidden`.
"""

import copy
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputError, LongshortError, UnknownName, did_you_mean
from ..models.nesting import forecaster_of

SHAPE = ("layers", "units")  # not arguments, but ways to say `hidden`


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, ends included; whole when both ends are."""

    low: float
    high: float
    log: bool = False
    step: float | None = None

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are meant."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def samples(self) -> tuple[Any, ...]:
        """Values worth checking: the ends."""
        return self.low, self.high

    def to_dict(self) -> dict[str, Any]:
        """Return the range as a JSON-able mapping, which a space takes too."""
        return {"low": self.low, "high": self.high, "log": self.log, "step": self.step}


@dataclass(frozen=True)
class Choices:
    """One of several values."""

    values: tuple[Any, ...]

    @property
    def samples(self) -> tuple[Any, ...]:
        """Values worth checking: all."""
        return self.values

    @property
    def ordered(self) -> bool:
        """Whether the values are numbers in increasing order."""
        numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in self.values)
        return numbers and all(a < b for a, b in zip(self.values, self.values[1:], strict=False))


class Space:
    """The arguments of a forecaster that may change, and within which limits.

    Parameters
    ----------
    forecaster : Forecaster
        Unfitted; its own arguments hold for everything the space does not name.
    space : mapping of str to list, tuple or mapping
        A list of choices, a tuple ``(low, high)``, ``(low, high, "log")`` or ``(low, high, step)``, or a mapping with
        ``low``, ``high`` and perhaps ``log`` and ``step``.

    Examples
    --------
    >>> import longshort as ls
    >>> space = Space(ls.LSTM(), {"lookback": [20, 60], "layers": (1, 3), "units": (8, 64, "log")})
    >>> candidate = space.candidate({"lookback": 20, "layers": 2, "units": 16})
    >>> candidate.lookback, candidate.hidden
    (20, (16, 16))
    >>> Space(ls.LSTM(), {"dropuot": (0.0, 0.5)})
    Traceback (most recent call last):
    ...
    longshort.errors.UnknownName: LSTM has no parameter 'dropuot' to tune. Did you mean 'dropout'?
    """

    def __init__(self, forecaster: Any, space: Mapping[str, Any]):
        self.forecaster = forecaster
        known = params_of(forecaster)
        if not isinstance(space, Mapping) or not space:
            raise InputError(f'A space maps names to values, such as {{"lookback": [20, 60]}}, was {space!r}.')
        names = [*known, *(SHAPE if "hidden" in known else ())]
        for name in space:
            if name not in names:
                kind = type(forecaster).__name__
                raise UnknownName(f"{kind} has no parameter {name!r} to tune. {did_you_mean(str(name), names)}")
        if "hidden" in space and any(name in space for name in SHAPE):
            raise InputError("layers and units stand for hidden. Name hidden, or layers and units, not both.")
        self.dimensions = {str(name): _dimension(str(name), given, known.get(name)) for name, given in space.items()}
        for name, dimension in self.dimensions.items():
            for value in dimension.samples:
                self._try(name, value)

    def candidate(self, params: Mapping[str, Any]) -> Any:
        """Return an unfitted copy of the forecaster with these values."""
        changes = {name: value for name, value in params.items() if name not in SHAPE}
        if any(name in params for name in SHAPE):
            hidden = params_of(self.forecaster)["hidden"]
            changes["hidden"] = (params.get("units", hidden[0]),) * params.get("layers", len(hidden))
        return changed(self.forecaster, changes)

    def own(self) -> dict[str, Any]:
        """Return the forecaster's own values where they lie inside the space."""
        params = params_of(self.forecaster)
        if "hidden" in params:
            params |= {"layers": len(params["hidden"]), "units": params["hidden"][0]}
        return {name: params[name] for name, d in self.dimensions.items() if _inside(d, params[name])}

    def widest(self) -> list[Any]:
        """Return candidates that together need all the bars any candidate needs before its first forecast."""
        wide = {}
        if isinstance(lookback := self.dimensions.get("lookback"), Range | Choices):
            wide["lookback"] = max(lookback.samples)
        features = self.dimensions.get("features")
        if features is None:
            return [self.candidate(wide)]
        return [self.candidate(wide | {"features": value}) for value in features.samples]

    def to_list(self) -> list[list[Any]]:
        """Return names and values as JSON holds them, in the order in which samplers draw them.

        Features, targets and losses are replaced by their own descriptions.
        """
        return [
            [name, d.to_dict() if isinstance(d, Range) else {"choices": [self._described(name, v) for v in d.values]}]
            for name, d in self.dimensions.items()
        ]

    @classmethod
    def given(cls, base: Mapping[str, Any], described: Sequence[Any]) -> dict[str, Any]:
        """Return the space that `to_list` described, for the forecaster that `base` describes."""
        found: dict[str, Any] = {}
        for name, dimension in described:
            if "choices" not in dimension:
                found[name] = {key: value for key, value in dimension.items() if value is not None}
            elif name in SHAPE:
                found[name] = list(dimension["choices"])
            else:
                copies = (forecaster_of({**base, name: value}) for value in dimension["choices"])
                found[name] = [params_of(one)[name] for one in copies]
        return found

    def _described(self, name: str, value: Any) -> Any:
        return value if name in SHAPE else self.candidate({name: value}).to_dict().get(name, value)

    def _try(self, name: str, value: Any) -> None:
        try:
            self.candidate({name: value})
        except (LongshortError, TypeError, ValueError) as error:
            advice = ""
            if name in ("hidden", "head") and isinstance(value, int | float):
                advice = f" List sequences, {name}=[(32,), (64, 32)], or tune units and layers."
            raise InputError(f"The space of {name} holds {value!r}, which does not work: {error}{advice}") from error

    def __repr__(self) -> str:
        return ", ".join(f"{name} {_shown(d)}" for name, d in self.dimensions.items())


def params_of(forecaster: Any) -> dict[str, Any]:
    """Return a forecaster's arguments by name.

    Examples
    --------
    >>> import longshort as ls
    >>> params_of(ls.models.AutoRegression(ls.features.forward_volatility(5)))["spans"]
    (1, 5, 22)
    """
    if hasattr(forecaster, "get_params"):
        return dict(forecaster.get_params())
    names = [name for name in inspect.signature(type(forecaster).__init__).parameters if name != "self"]
    return {name: getattr(forecaster, name) for name in names if hasattr(forecaster, name)}


def changed(forecaster: Any, params: Mapping[str, Any]) -> Any:
    """Return an unfitted copy of a forecaster with other arguments."""
    if hasattr(forecaster, "with_params"):
        return forecaster.with_params(**params)
    if hasattr(forecaster, "set_params"):
        return copy.deepcopy(forecaster).set_params(**params)
    return type(forecaster)(**{**params_of(forecaster), **params})


def encoded(dimension: Range | Choices, value: Any) -> Any:
    """Return the place of a choice, or the number itself."""
    return dimension.values.index(value) if isinstance(dimension, Choices) else value


def decoded(dimension: Range | Choices, value: Any) -> Any:
    """Return the choice at a place, or the number itself."""
    return dimension.values[value] if isinstance(dimension, Choices) else value


# -------------------------------------------------------------------------------------------------------------- reading


def _dimension(name: str, given: Any, now: Any) -> Range | Choices:
    if isinstance(given, Mapping):
        unknown = [key for key in given if key not in ("low", "high", "log", "step", "choices")]
        if unknown:
            raise UnknownName(
                f"The space of {name} has no key {unknown[0]!r}. "
                f"{did_you_mean(str(unknown[0]), ('low', 'high', 'log', 'step', 'choices'))}"
            )
        if "choices" in given:
            return _choices(name, given["choices"])
        if "low" not in given or "high" not in given:
            raise InputError(f"The space of {name} needs low and high, was {dict(given)!r}.")
        return _range(name, given["low"], given["high"], bool(given.get("log")), given.get("step"), now)
    if isinstance(given, list):
        return _choices(name, given)
    if isinstance(given, tuple) and len(given) in (2, 3) and all(map(_is_number, given[:2])):
        third = given[2] if len(given) == 3 else None
        if third is None or third == "log" or _is_number(third):
            return _range(name, given[0], given[1], third == "log", third if _is_number(third) else None, now)
    raise InputError(
        f"The space of {name} is a list of choices [20, 60, 120], or a range (low, high), (low, high, 'log') or "
        f"(low, high, step), was {given!r}."
    )


def _choices(name: str, given: Any) -> Choices:
    values = tuple(_plain(value) for value in given)
    if not values:
        raise InputError(f"The space of {name} offers no choice. List at least one value.")
    return Choices(values)


def _range(name: str, low: Any, high: Any, log: bool, step: Any, now: Any) -> Range:
    if not all(_is_number(v) and np.isfinite(v) for v in (low, high)) or not low < high:
        raise InputError(
            f"The range of {name} must go from a lower to a higher finite number, was {low!r} to {high!r}."
        )
    low, high = _plain(low), _plain(high)
    if isinstance(now, float) or not (isinstance(low, int) and isinstance(high, int)):
        low, high = float(low), float(high)
    if log and low <= 0:
        raise InputError(f"The range of {name} goes by orders of magnitude and must begin above 0, was {low!r}.")
    if step is not None and (log or not step > 0 or step > high - low):
        raise InputError(
            f"A step of {name} lies between 0 and {high - low:g} and goes without 'log', was {step!r}"
            f"{' with log' if log else ''}."
        )
    if step is not None:
        step = _plain(step)
        if isinstance(low, int) and not isinstance(step, int):
            raise InputError(f"{name} takes whole numbers, so its step must be one, was {step!r}.")
        step = step if isinstance(low, int) else float(step)
    return Range(low, high, log, step)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _inside(dimension: Range | Choices, value: Any) -> bool:
    if isinstance(dimension, Choices):
        return any(value is v or (type(value) is type(v) and value == v) for v in dimension.values)
    if not _is_number(value) or not dimension.low <= value <= dimension.high:
        return False
    steps = 0.0 if dimension.step is None else (value - dimension.low) / dimension.step
    return abs(steps - round(steps)) < 1e-9 and (not dimension.whole or value == int(value))


def _shown(dimension: Range | Choices) -> str:
    if isinstance(dimension, Choices):
        return f"one of {len(dimension.values)}" if len(dimension.values) > 4 else f"in {list(dimension.values)!r}"
    more = ", log" if dimension.log else "" if dimension.step is None else f", step {dimension.step:g}"
    return f"{dimension.low:g} .. {dimension.high:g}{more}"
