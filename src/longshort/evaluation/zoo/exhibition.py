"""The zoo as a whole: its entries, and how an audit does on them."""

import importlib.util
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ...errors import UnknownName, did_you_mean
from ..leaks.findings import ANSWERS
from . import columns, elsewhere, forecasts  # each registers its entries
from .register import REGISTER, Entry

SECTIONS = (columns, forecasts, elsewhere)


def entries(expected: str | None = None, observable: bool | None = None, installed: bool = True) -> tuple[Entry, ...]:
    """Return the entries of the zoo.

    Parameters
    ----------
    expected : {"leak", "clean", "not observable", "not judged"}, optional
        Only those with this answer.
    observable : bool, optional
        Only those whose leak is, or is not, in what runs.
    installed : bool, default=True
        Leave out those whose library is not installed.

    Examples
    --------
    >>> len(entries("leak", observable=True)) >= 40, len(entries("clean")) >= 20
    (True, True)
    """
    if expected is not None and expected not in ANSWERS:
        raise UnknownName(f"expected was {expected!r}. {did_you_mean(expected, ANSWERS)}")
    return tuple(
        entry
        for entry in REGISTER.values()
        if (expected is None or entry.expected == expected)
        and (observable is None or entry.observable == observable)
        and not (installed and entry.needs and importlib.util.find_spec(entry.needs) is None)
    )


def find(name: str) -> Entry:
    """Return an entry by its name.

    Examples
    --------
    >>> find("same_bar_fill").about
    'Long after a rise: decided on the close, and paid for the rise itself.'
    """
    if name not in REGISTER:
        raise UnknownName(f"The zoo has no {name!r}. {did_you_mean(name, REGISTER)}")
    return REGISTER[name]


@dataclass(frozen=True, repr=False)
class Confusion:
    """What was expected and what was answered, entry by entry; prints the table.

    Parameters
    ----------
    answers : dict of str to str
        Answer by the entry's name.

    Examples
    --------
    >>> Confusion({"global_zscore": "leak", "trailing_zscore": "clean"})
    expected \\ answer      leak   clean  not observable  not judged
    leak                      1       0               0           0
    clean                     0       1               0           0
    recall 100.0 % (1 of 1), false alarms 0 (of 1)
    """

    answers: dict[str, str]

    def count(self, expected: str, answer: str) -> int:
        """Return how many entries that should get one answer got the other."""
        return sum(found == answer and REGISTER[name].expected == expected for name, found in self.answers.items())

    @property
    def missed(self) -> tuple[str, ...]:
        """Leaks, seen or admitted, that were not called one."""
        return tuple(n for n, a in self.answers.items() if REGISTER[n].expected == "leak" and a != "leak")

    @property
    def false_alarms(self) -> tuple[str, ...]:
        """Entries called a leak that are none, or that nobody could know to be one."""
        return tuple(n for n, a in self.answers.items() if REGISTER[n].expected != "leak" and a == "leak")

    @property
    def wrong(self) -> tuple[str, ...]:
        """Entries that got another answer than they should."""
        return tuple(n for n, a in self.answers.items() if REGISTER[n].expected != a)

    @property
    def recall(self) -> float:
        """Share of the leaks that were found."""
        leaks = sum(REGISTER[name].expected == "leak" for name in self.answers)
        return 1.0 - len(self.missed) / leaks if leaks else 1.0

    def to_dict(self) -> dict[str, Any]:
        """Return counts, recall and mistakes as a JSON-able mapping."""
        table = {e: {a: self.count(e, a) for a in ANSWERS} for e in _ROWS}
        return {
            "table": table,
            "recall": self.recall,
            "missed": list(self.missed),
            "false_alarms": list(self.false_alarms),
            "wrong": list(self.wrong),
        }

    def __repr__(self) -> str:
        heads = ("leak", "clean", "not observable", "not judged")
        corner = "expected \\ answer"
        lines = [f"{corner:<19}" + "".join(f"{h:>{max(len(h) + 2, 8)}}" for h in heads)]
        shown = [row for row in _ROWS if any(REGISTER[name].expected == row for name in self.answers)]
        lines += [f"{row:<19}" + "".join(f"{self.count(row, h):>{max(len(h) + 2, 8)}}" for h in heads) for row in shown]
        leaks = sum(REGISTER[name].expected == "leak" for name in self.answers)
        lines.append(
            f"recall {100 * self.recall:.1f} % ({leaks - len(self.missed)} of {leaks}), false alarms "
            f"{len(self.false_alarms)} (of {len(self.answers) - leaks})"
        )
        if self.wrong:
            lines.append(f"wrong: {', '.join(self.wrong)}")
        return "\n".join(lines)


_ROWS = ("leak", "clean", "not observable", "not judged")


def run(
    chosen: Iterable[Entry] | None = None,
    auditor: Callable[[Entry], str] | None = None,
    progress: Callable[[float], None] | None = None,
) -> Confusion:
    """Show every entry to an audit and compare its answers with the right ones.

    Parameters
    ----------
    chosen : iterable of Entry, optional
        All that are installed by default.
    auditor : callable, optional
        Takes an entry and returns an answer; our `audit` by default.
    progress : callable, optional
        Called with the fraction done, 0 to 1.

    Examples
    --------
    >>> run([find("global_zscore"), find("trailing_zscore")]).wrong
    ()
    """
    chosen = entries() if chosen is None else tuple(chosen)
    answers = {}
    for done, entry in enumerate(chosen, start=1):
        answers[entry.name] = entry.audit().answer if auditor is None else auditor(entry)
        if progress is not None:
            progress(done / len(chosen))
    return Confusion(answers)
