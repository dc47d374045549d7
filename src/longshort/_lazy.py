"""Lazy exports: a package names what it offers in a table and loads a module when one of its names is first used.

::

    _EXPORTS = {"Bars": "bars", "load_bars": "data", "features": None}     # None: the sub-package itself
    __getattr__, __dir__, __all__ = attach(__name__, _EXPORTS)

So ``import longshort`` costs a few files, and whoever never trains never waits for what training needs.
"""

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any


def attach(
    package: str, exports: Mapping[str, str | None]
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return the `__getattr__`, `__dir__` and `__all__` of a package that loads its names on first use.

    Parameters
    ----------
    package : str
        The package's ``__name__``.
    exports : mapping of str to str or None
        Public name -> module (relative to the package) that defines it; None where the name is a sub-module itself.

    Examples
    --------
    >>> load, names, public = attach("longshort", {"InputError": "errors", "errors": None})
    >>> load("InputError").__mro__[1].__name__
    'LongshortError'
    >>> load("InputEror")
    Traceback (most recent call last):
    ...
    AttributeError: longshort has no 'InputEror'. Did you mean 'InputError'?
    """
    public = sorted(exports)

    def load(name: str) -> Any:
        if name not in exports:
            raise AttributeError(_advice(package, name, public))  # with `obj` Python would add its own advice
        module = exports[name]
        if module is None:
            return importlib.import_module(f"{package}.{name}")
        value = getattr(importlib.import_module(f"{package}.{module}"), name)
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *public})

    return load, names, public


def _advice(package: str, name: str, public: list[str]) -> str:
    if name.startswith("_"):  # probes of tools such as inspect and pytest: no need to look for a neighbour
        return f"{package} has no {name!r}."
    from .errors import did_you_mean

    return f"{package} has no {name!r}. {did_you_mean(name, public)}"
