"""The leak zoo: seeded leaks and clean twins, for testing this audit and anybody else's.

Every entry is a few lines that somebody really writes, a market to run them on, and the answer a good audit gives.

>>> from longshort.evaluation import zoo
>>> entry = zoo.find("centred_mean")
>>> entry.about, entry.expected, zoo.find("trailing_mean").twin_of
('A moving average centred on its row.', 'leak', 'centred_mean')
>>> entry.audit().answer
'leak'
"""

from ..._lazy import attach

_EXPORTS: dict[str, str | None] = {  # public name -> where it is defined
    "Confusion": "exhibition",
    "Entry": "register",
    "entries": "exhibition",
    "find": "exhibition",
    "run": "exhibition",
}
__getattr__, __dir__, __all__ = attach(__name__, _EXPORTS)
