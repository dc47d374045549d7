"""Market data in: load it, look at it, repair it knowingly, or make it up.

`load_bars` reads from Yahoo, files or the sample in the package; `check` lists what is wrong; `clean` repairs what it
is told to; `synthetic` makes markets whose truth is known.
"""

from .._lazy import attach

_EXPORTS: dict[str, str | None] = {
    "Cleaned": "cleaning",
    "CsvFiles": "sources",
    "Issue": "checking",
    "ParquetFiles": "sources",
    "Repair": "cleaning",
    "Report": "checking",
    "Sample": "sources",
    "Source": "sources",
    "Yahoo": "yahoo",
    "check": "checking",
    "clean": "cleaning",
    "load_bars": "sources",
    "synthetic": None,
}
__getattr__, __dir__, __all__ = attach(__name__, _EXPORTS)
