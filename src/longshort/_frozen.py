"""Frozen dataclasses that cost little to make: messages and views come by the million.

A frozen dataclass sets every field through ``object.__setattr__``, which is most of what making one costs. `frozen`
gives the class a twin, the same class without the refusal to be assigned to and with the constructor of a plain
dataclass. Objects begin as twins, are filled in, and become what was asked for before anybody sees them.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from inspect import signature
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
    named = {name: value for name, value in vars(cls).items() if name in cls.__annotations__}  # the defaults
    body = {"__annotations__": cls.__annotations__, "__module__": cls.__module__, "__post_init__": _nothing}
    plain: Any = dataclass(type(cls.__name__, (), body | named))
    made: Any = dataclass(frozen=True, slots=True, **options)(cls)
    check = getattr(made, "__post_init__", None)

    def become(self: Any) -> None:
        self.__class__ = made
        if check is not None:
            check(self)

    writable = {"__setattr__": object.__setattr__, "__delattr__": object.__delattr__}
    twin: Any = type(made.__name__, (made,), {"__slots__": (), "__module__": made.__module__, **writable})
    twin.__init__, twin.__post_init__ = plain.__init__, become

    def begin(cls: type, *args: Any, **named: Any) -> Any:
        return object.__new__(twin if args or named else made)  # without arguments: a copy that is filled in later

    made.__signature__ = signature(made)
    made.__new__, made.__init_subclass__ = begin, _final
    return made


def _nothing(self: Any) -> None:
    """Make dataclasses call `__post_init__` last."""


@classmethod
def _final(cls: type, **_: Any) -> None:
    raise TypeError(f"{cls.__mro__[1].__name__} is final. Hold one in a field instead of deriving from it.")
