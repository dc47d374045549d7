"""Every error longshort raises on purpose, as one tree.

::

    LongshortError
    +-- InputError (ValueError)            an argument is wrong: type, range, spelling
    |   +-- UnknownName (KeyError)         a symbol, field, parameter or key nobody knows; suggests the nearest
    |   +-- SealedRows                     choosing on rows that a study has judged on, or the other way round
    +-- DataError (ValueError)             the market data is wrong
    |   +-- TimeError                      unsorted, duplicate, naive or mixed stamps
    |   +-- PriceError                     NaN, infinite, negative or zero prices, strings as numbers
    |   +-- NotEnoughData                  too few bars for what was asked
    |   +-- HistoryChanged                 a source now tells another past than the cached one
    |   +-- SourceError (OSError)          a source cannot be reached or refuses
    +-- NotFitted (AttributeError)         predict before fit
    +-- TrainingError (ArithmeticError)    non-finite loss or gradient
    +-- ArtifactError (ValueError)         a saved thing is missing, damaged, foreign or newer than this version
    +-- LedgerError                        the record of trials was edited or cut; an account does not add up
    +-- OrderError (ValueError)            an order, an amount or a currency that no account can take
    |   +-- CausalityError                 a fill that is not later than the decision behind it
    +-- SetupError (ImportError)           an extra, a compiler or a processor feature is missing

    DataWarning (UserWarning)              the data are usable but not all that was asked for

A message says what was expected, what was found and what to do, with the numbers.
"""

from collections.abc import Iterable


class LongshortError(Exception):
    """Base of every error raised on purpose."""


class InputError(LongshortError, ValueError):
    """An argument is wrong."""


class UnknownName(InputError, KeyError):
    """A name nobody knows. `did_you_mean` builds the advice."""

    __str__ = Exception.__str__  # KeyError would print the repr


class SealedRows(InputError):
    """Test rows would decide what is judged on them."""


class DataError(LongshortError, ValueError):
    """The market data is wrong."""


class TimeError(DataError):
    """Stamps are unsorted, duplicate, naive or mixed."""


class PriceError(DataError):
    """Prices or volumes are not usable numbers."""


class NotEnoughData(DataError):
    """There are too few bars for what was asked."""


class HistoryChanged(DataError):
    """A source now tells another past than the one in the cache."""


class SourceError(DataError, OSError):
    """A data source cannot be reached or refuses."""

    __str__ = Exception.__str__


class DataWarning(UserWarning):
    """The data are usable, but not all of what was asked for."""


class NotFitted(LongshortError, AttributeError):
    """The estimator was asked for something only `fit` can give."""


class TrainingError(LongshortError, ArithmeticError):
    """Training met a non-finite loss, gradient or weight."""


class ArtifactError(LongshortError, ValueError):
    """A saved thing is missing, damaged, foreign, or newer than this version."""


class LedgerError(LongshortError):
    """The record of trials was edited, reordered or cut, or an account does not add up."""


class OrderError(LongshortError, ValueError):
    """An order, an amount or a currency is not one that an account can take."""


class CausalityError(OrderError):
    """A fill is not later than the decision behind it."""


class SetupError(LongshortError, ImportError):
    """Something outside Python's reach is missing: an extra, a compiler, a processor feature."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return advice for a misspelt name.

    Examples
    --------
    >>> did_you_mean("clsoe", ["open", "close"])
    "Did you mean 'close'?"
    >>> did_you_mean("x", ["open", "close"])
    'Known: close, open.'
    """
    from difflib import get_close_matches

    names = sorted(known)
    near = get_close_matches(name, names, n=1)
    if near:
        return f"Did you mean {near[0]!r}?"
    return f"Known: {', '.join(names) or 'none'}."
