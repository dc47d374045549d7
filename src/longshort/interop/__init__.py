"""Doors to other libraries: drop-ins for interfaces people already write against, and imports of their models."""

from .._lazy import attach

_EXPORTS: dict[str, str | None] = {  # public name -> where it is defined; None: a sub-module
    "keras": None,
    "puffin": None,
}
__getattr__, __dir__, __all__ = attach(__name__, _EXPORTS)
