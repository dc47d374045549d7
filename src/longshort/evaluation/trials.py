"""The table of what a search tried: read it, print it, keep it."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from .searching import COMPLETE, FAILED, PRUNED, Trial
from .selection import Luck

if TYPE_CHECKING:
    pass


class Trials(Sequence[Trial]):
    """All trials in the order in which they were drawn; prints as a table, best first.

    Examples
    --------
    >>> Trials([Trial(0, {"lookback": 20}, "complete", 0.01, 0.02), Trial(1, {"lookback": 60}, "complete", 0.03, 0.02)])
    trial     score    error  state     lookback
        1   +0.0300   0.0200  complete  60
        0   +0.0100   0.0200  complete  20
    """

    def __init__(self, trials: Sequence[Trial]):
        self._trials = tuple(trials)

    @overload
    def __getitem__(self, i: int) -> Trial: ...
    @overload
    def __getitem__(self, i: slice) -> tuple[Trial, ...]: ...
    def __getitem__(self, i):
        return self._trials[i]

    def __len__(self) -> int:
        return len(self._trials)

    def __iter__(self) -> Iterator[Trial]:
        return iter(self._trials)

    @property
    def best(self) -> Trial:
        """The complete trial with the highest score, the earliest of equals."""
        complete = [t for t in self._trials if t.state == COMPLETE]
        return max(complete, key=lambda t: (t.score, -t.number))

    def told(self, luck: Luck) -> str:
        """The best trial in words, then the best ten as a table."""
        best, states = self.best, [t.state for t in self._trials]
        chosen = ", ".join(f"{name} {_short(value)}" for name, value in best.params.items())
        others = "".join(f", {states.count(s)} {s}" for s in (PRUNED, FAILED) if s in states)
        return (
            f"  chosen: {chosen} (trial {best.number}; {states.count(COMPLETE)} complete{others})\n"
            f"  gain {best.score:+.4f} +- {best.error or float('nan'):.4f} on the inner test rows; luck alone gives "
            f"the best of {luck.trials} about {luck.expected:+.4f} (p {luck.p:.3f})\n\n{self._table(10)}"
        )

    def to_pandas(self) -> Any:
        """Return one row a trial: state, score, error, one column an argument."""
        import pandas as pd

        rows = [{"state": t.state, "score": t.score, "error": t.error, **t.params} for t in self._trials]
        return pd.DataFrame(rows, index=pd.Index([t.number for t in self._trials], name="trial"))

    def _table(self, most: int) -> str:
        order = sorted(
            self._trials, key=lambda t: (t.state != COMPLETE, -(t.score if t.score is not None else -np.inf))
        )
        names = list(self._trials[0].params)
        rows = [["trial", "score", "error", "state", *names]]
        for t in order[:most]:
            numbers = ["" if v is None else f"{v:{form}}" for v, form in ((t.score, "+.4f"), (t.error, ".4f"))]
            rows.append([str(t.number), *numbers, t.state, *(_short(t.params[name]) for name in names)])
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        widths[0], widths[1], widths[2] = 5, max(widths[1], 8), max(widths[2], 7)
        lines = [
            "  ".join(c.rjust(w) if i < 3 else c.ljust(w) for i, (c, w) in enumerate(zip(r, widths, strict=True)))
            for r in rows
        ]
        more = [f"... and {len(order) - most} more"] if len(order) > most else []
        return "\n".join([*(line.rstrip() for line in lines), *more])

    def __repr__(self) -> str:
        return self._table(len(self._trials))


def _short(value: Any) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 40 else text[:37] + "..."
