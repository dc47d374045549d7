"""What the ledger of a project remembers of a fit: what learned, from which bars, and how its losses went."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .. import ledger

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
