"""What the ledger remembers of a fit: what learned, from which bars, how its losses went, what decided when to stop."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import ledger
from ..errors import SealedRows

if TYPE_CHECKING:
    from ..bars import Bars

_THREAD = threading.local()


@contextmanager
def part_of_a_fit() -> Iterator[None]:
    """Until the end of the ``with`` block fits of this thread are parts of something that is recorded itself."""
    _THREAD.depth = getattr(_THREAD, "depth", 0) + 1
    try:
        yield
    finally:
        _THREAD.depth -= 1


def remember_fit(model: Any, bars: "Bars") -> None:
    """Record a fit in the project in force.

    It has no score on rows it did not learn from, so it is no trial; a study that fits at every fold records itself.

    Examples
    --------
    >>> import tempfile
    >>> import longshort as ls
    >>> from longshort import features as f, models as m
    >>> from longshort.data import synthetic
    >>> with ls.project(tempfile.mkdtemp()) as ledger:
    ...     _ = m.AutoRegression(f.forward_return()).fit(synthetic.random_walk(100, seed=1))
    ...     [(record.kind, record.facts["what"]) for record in ledger.records()], ledger.trials()
    ([('fit', 'AutoRegression')], 0)
    """
    book = ledger.current()
    if book.path is None or book.is_inside or getattr(_THREAD, "depth", 0):
        return
    configuration = json.loads(ledger.canonical(model.to_dict()))
    histories = [history for history in getattr(model, "histories_", ()) if history is not None]
    losses = [[list(map(repr, map(float, part))) for part in (h.train_loss, h.val_loss)] for h in histories]
    book.record(
        "fit",
        what=type(model).__name__,
        configuration=configuration,
        config=ledger.digest_of(configuration),
        bars=bars.digest,
        symbols=list(bars.symbols),
        last_bar=int(bars.time[-1]),
        losses=ledger.digest_of(losses),
    )


def remember_choice(outcomes: np.ndarray) -> None:
    """Record that outcomes (n, n_targets) decide when a training stops; raise `SealedRows` where they were judged on.

    Bars know their times, plain arrays do not: the same outcomes are known again by their digest.
    """
    book, digest = ledger.current(), digest_of_values(outcomes)
    if book.is_inside:
        return
    judged = [r.index for r in book.records("read") if r.facts.get("symbols") == [f"outcomes {digest}"]]
    if judged and not book.is_unsealed:
        raise SealedRows(
            f"These {len(outcomes):,} validation outcomes are test outcomes that referee has judged on (record "
            f"{judged[0]} of {book.where}): stopping early on them would choose by what is judged. Validate on earlier "
            "rows, or say so: with longshort.ledger.unsealed('why'): ..."
        )
    book.record("choice", what="early stopping", outcomes=digest, rows=len(outcomes))


def require_not_chosen_on(outcomes: np.ndarray) -> None:
    """Raise `SealedRows` where a training was stopped early on these very outcomes."""
    book, digest = ledger.current(), digest_of_values(outcomes)
    chosen = [r.index for r in book.records("choice") if r.facts.get("outcomes") == digest]
    if chosen and not book.is_unsealed:
        raise SealedRows(
            f"These {len(outcomes):,} outcomes decided when a training stopped (record {chosen[0]} of {book.where}): "
            "they are validation rows, no test. Judge later rows, or say so: with longshort.ledger.unsealed('why'): ..."
        )


def digest_of_values(values: np.ndarray) -> str:
    """Return the SHA-256 of an array's float64 bytes, row by row."""
    return hashlib.sha256(np.ascontiguousarray(values, np.float64).tobytes()).hexdigest()
