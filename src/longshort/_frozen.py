"""Frozen dataclasses that cost little to make: messages and views come by the million.

A frozen dataclass sets every field through ``object.__setattr__``, which is most of what making one costs. `frozen`
gives the class a constructor that fills the fields in while the object is of a twin class, the same one without the
refusal to be assigned to. Whoever gets the object gets it frozen.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar, dataclass_transform, overload

T = TypeVar("T")


@overload
def frozen(cls: type[T], /) -> type[T]: ...
@overload
def frozen(*, eq: bool = True, order: bool = False) -> Callable[[type[T]], type[T]]: ...
@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(cls: Any = None, /, **options: bool) -> Any:
    """Make a class a ``dataclass(frozen=True, slots=True)``; it is final, and defaults are values, not factories.

    Parameters
    ----------
    eq, order : bool
        As `dataclasses.dataclass` takes them.

    Examples
    --------
    >>> @frozen
    ... class Price:
    ...     micro: int
    ...     currency: str = "USD"
    >>> price = Price(5)
    >>> price
    Price(micro=5, currency='USD')
    >>> price.micro = 6
    Traceback (most recent call last):
    dataclasses.FrozenInstanceError: cannot assign to field 'micro'
    """
    if cls is None:
        return lambda cls: frozen(cls, **options)
    made: Any = dataclass(frozen=True, slots=True, **options)(cls)
    plain = {"__slots__": (), "__setattr__": object.__setattr__, "__delattr__": object.__delattr__}
    twin = type(made.__name__, (made,), plain)
    names = [f.name for f in fields(made)]
    lines = [
        f"def __init__(self, {', '.join(names)}):",
        "    become(self, '__class__', twin)",
        *(f"    self.{name} = {name}" for name in names),
        "    self.__class__ = made",
        *(["    self.__post_init__()"] if hasattr(made, "__post_init__") else []),
    ]
    namespace: dict[str, Any] = {"become": object.__setattr__, "twin": twin, "made": made}
    exec("\n".join(lines), namespace)  # dataclasses writes its own constructor the same way
    init = namespace["__init__"]
    for name in ("__defaults__", "__annotations__", "__qualname__", "__module__"):
        setattr(init, name, getattr(made.__init__, name))
    made.__init__, made.__init_subclass__ = init, _final
    return made


@classmethod
def _final(cls: type, **_: Any) -> None:
    raise TypeError(f"{cls.__mro__[1].__name__} is final. Hold one in a field instead of deriving from it.")
