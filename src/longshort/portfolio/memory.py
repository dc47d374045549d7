"""What policies and limits remember between two decisions, as JSON text can hold it: kept, and taken up again exactly.

A snapshot is taken between two decisions and restored into a fresh step of the same policy or limits for the same
symbols, which then goes on bit for bit. Bounds and sizes may have changed in between; what is remembered has not.
"""

from collections.abc import Mapping
from math import isfinite
from typing import Any, ClassVar

import numpy as np

from ..errors import InputError
from ..forecast import Resumable


class Remembers:
    """Something at work whose memory is a few attributes, named in `MEMORY`.

    Examples
    --------
    >>> import json
    >>> from longshort.portfolio import LongShort, view_of
    >>> step = LongShort().stepper(("KO",))
    >>> text = json.dumps(step.snapshot())
    >>> LongShort().stepper(("KO",)).restore(json.loads(text))
    """

    MEMORY: ClassVar[tuple[str, ...]] = ()

    def snapshot(self) -> dict[str, Any]:
        """Return the memory as a JSON-able mapping."""
        return {name: packed(getattr(self, name)) for name in self.MEMORY}

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Take up a memory; `InputError` where it is not one of the same kind of thing for the same symbols."""
        require_keys(type(self).__name__, kept, self.MEMORY)
        found: dict[str, Any] = {}
        for name in self.MEMORY:
            own = getattr(self, name)
            if not isinstance(own, Resumable):
                value = found[name] = unpacked(kept[name])
                if not (own is None or value is None or _same_kind(own, value)):
                    raise InputError(f"The snapshot is damaged: {name!r} should be like {own!r}, was {value!r}.")
                if isinstance(own, np.ndarray) and not _alike(own, value):
                    raise InputError(
                        f"The snapshot is of other symbols: {name!r} must be {_shape(own)}, was {value!r}."
                    )
        for name in self.MEMORY:
            if name in found:
                setattr(self, name, found[name])
            else:
                resume(getattr(self, name), kept[name])


def require_keys(who: str, kept: Any, names: "tuple[str, ...] | list[str]") -> None:
    """Raise `InputError` unless a snapshot has just these entries."""
    there = sorted(kept) if isinstance(kept, Mapping) else repr(kept)
    if not isinstance(kept, Mapping) or set(kept) != set(names):
        raise InputError(f"A snapshot of {who} must have {sorted(names)}, had {there}. It is of something else.")


def keep(part: Any) -> Any:
    """Return the snapshot of a part of a step; None of one that remembers nothing."""
    return part.snapshot() if isinstance(part, Resumable) else None


def resume(part: Any, kept: Any) -> None:
    """Restore a part of a step from what `keep` gave."""
    if isinstance(part, Resumable):
        part.restore(kept)
    elif kept is not None:
        raise InputError(f"The snapshot remembers something for {type(part).__name__}, which remembers nothing.")


def packed(value: Any) -> Any:
    """Return a value as JSON holds it, exact to the bit.

    Examples
    --------
    >>> packed(np.array([1.5, np.nan])), packed((1, float("inf")))
    ({'array': [1.5, 'nan'], 'dtype': 'float64', 'shape': [2]}, {'tuple': [1, {'float': 'inf'}]})
    """
    if isinstance(value, Resumable):
        return value.snapshot()
    if isinstance(value, np.ndarray):
        flat = [one if type(one) is not float or isfinite(one) else str(one) for one in value.ravel().tolist()]
        return {"array": flat, "dtype": str(value.dtype), "shape": list(value.shape)}
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not isfinite(value):
        return {"float": str(value)}
    if isinstance(value, tuple):
        return {"tuple": [packed(one) for one in value]}
    if isinstance(value, list):
        return [packed(one) for one in value]
    if isinstance(value, dict):
        return {"items": [[packed(key), packed(one)] for key, one in value.items()]}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise InputError(
        f"{type(value).__name__} cannot be kept: what goes on after an interruption needs snapshot() and restore()."
    )


def unpacked(value: Any) -> Any:
    """Return the value that `packed` made JSON of.

    Examples
    --------
    >>> unpacked(packed({3: (1.0, [np.inf])}))
    {3: (1.0, [inf])}
    """
    try:
        return _unpacked(value)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"The snapshot is damaged at {str(value)[:80]!r} ({error}). Take it again.") from error


def _unpacked(value: Any) -> Any:
    if isinstance(value, list):
        return [_unpacked(one) for one in value]
    if not isinstance(value, Mapping):
        return value
    if "array" in value:
        flat = [float(one) if type(one) is str else one for one in value["array"]]
        return np.array(flat, np.dtype(value["dtype"])).reshape(value["shape"])
    if "float" in value:
        return float(value["float"])
    if "tuple" in value:
        return tuple(_unpacked(one) for one in value["tuple"])
    return {_unpacked(key): _unpacked(one) for key, one in value["items"]}


def _same_kind(own: Any, value: Any) -> bool:
    return type(value) is type(own) or (type(own) is float and type(value) is int)


def _alike(own: np.ndarray, value: Any) -> bool:
    """Whether an array may take the place of another: the same numbers per symbol; how many rows may differ."""
    return isinstance(value, np.ndarray) and value.dtype == own.dtype and value.shape[-1:] == own.shape[-1:]


def _shape(array: np.ndarray) -> str:
    return f"{array.dtype} {array.shape}"
