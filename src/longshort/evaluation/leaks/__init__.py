"""Leaks: does anything use what was not known yet? `audit` answers for features, pipelines and other people's code.

::

    subjects     what is audited, as one thing: bars in, dated numbers out
    markets      where leaks like to hide, and bars whose future was made different
    relations    what must not change then, and the proof when it does
    questions    what no perturbation can see, and what to supply
    auditing     all of it in order, within a budget
    files        what a Python file holds, for the command line
"""

from ..._lazy import attach

_EXPORTS: dict[str, str | None] = {  # public name -> where it is defined
    "Audit": "findings",
    "Finding": "findings",
    "Question": "findings",
    "audit": "auditing",
    "load_object": "files",
}
__getattr__, __dir__, __all__ = attach(__name__, _EXPORTS)
