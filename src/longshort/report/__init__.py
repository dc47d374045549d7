"""Reports: `tearsheet(study)` makes one self-contained HTML page; `demo` is the whole way from sample data to it."""

from .._lazy import attach

_EXPORTS: dict[str, str | None] = {
    "Outlook": "tearsheet",
    "Tearsheet": "tearsheet",
    "tearsheet": "tearsheet",
}
__getattr__, __dir__, __all__ = attach(__name__, _EXPORTS)
