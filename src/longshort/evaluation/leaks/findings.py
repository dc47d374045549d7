"""What an audit found: findings with their proof, questions it cannot answer, and one answer."""

import math
from dataclasses import dataclass, field
from typing import Any

LEAK, BLOCKED = "leak", "blocked"
ANSWERS = ("clean", "leak", "not observable", "not judged")
SHOWN = 6


@dataclass(frozen=True)
class Finding:
    """One proof: what was changed, from which date on, and which earlier number changed with it.

    Parameters
    ----------
    relation : str
        The rule that was broken, such as "future perturbation" or "determinism".
    text : str
        What it means, in a sentence.
    severity : {"leak", "blocked"}
        "blocked": nothing can be said, because the thing audited does not repeat itself or does not run.
    row : int, optional
        Row of the bars whose number changed, counted from 0.
    date, symbol, column : str, optional
        Where it stands.
    before, after : float, optional
        The number on the bars as they are, and after the change.
    changed : str, optional
        What was changed.
    since : str, optional
        Date of the first row that was changed.
    cut : str, optional
        Why that date was tried: "gap edge", "split", "fold boundary", ...
    n_changed : int
        How many earlier numbers changed in that run.
    first : str, optional
        The earliest date among them.

    Examples
    --------
    >>> print(Finding("future perturbation", "It uses rows after its own.", row=4, date="2014-06-06", symbol="AAPL",
    ...               column="mean", before=92.2, after=93.5, changed="prices and volumes were redrawn",
    ...               since="2014-06-09", cut="split"))
    LEAK (future perturbation): mean of AAPL on 2014-06-06 (row 4) was 92.2, and 93.5 after prices and volumes were \
redrawn from 2014-06-09 on (split). It uses rows after its own.
    """

    relation: str
    text: str
    severity: str = LEAK
    row: int | None = None
    date: str | None = None
    symbol: str | None = None
    column: str | None = None
    before: float | None = None
    after: float | None = None
    changed: str | None = None
    since: str | None = None
    cut: str | None = None
    n_changed: int = 0
    first: str | None = None

    @property
    def is_leak(self) -> bool:
        """Whether this proves a leak; otherwise nothing could be judged."""
        return self.severity == LEAK

    def to_dict(self) -> dict[str, Any]:
        """Return everything as a JSON-able mapping."""
        out = {name: getattr(self, name) for name in self.__dataclass_fields__}
        for name in ("before", "after"):
            value = out[name]
            out[name] = None if value is None or not math.isfinite(value) else float(value)
        return out

    def __str__(self) -> str:
        head = f"{'LEAK' if self.is_leak else 'NOT JUDGED'} ({self.relation})"
        if self.changed is None:
            return f"{head}: {self.text}"
        since = f" from {self.since} on" if self.since else ""
        cut = f" ({self.cut})" if self.cut else ""
        if self.row is None:
            return f"{head}: {self.changed}{since}{cut}. {self.text}"
        who = f"{self.column} of {self.symbol}" if self.symbol else str(self.column)
        more = ""
        if self.n_changed > 1:
            more = f" {self.n_changed:,} earlier numbers changed, the first on {self.first}."
        return (
            f"{head}: {who} on {self.date} (row {self.row}) was {_number(self.before)}, and {_number(self.after)} "
            f"after {self.changed}{since}{cut}.{more} {self.text}"
        )


@dataclass(frozen=True)
class Question:
    """Something a leak could hide in that nothing run on these bars can show, and what to supply.

    Examples
    --------
    >>> print(Question("universe", "Were the symbols chosen with hindsight?", "the date of their list"))
    universe: Were the symbols chosen with hindsight? Not observable from here; supply the date of their list as \
facts={'universe': ...}.
    """

    name: str
    why: str
    supply: str

    def to_dict(self) -> dict[str, str]:
        """Return the three texts as a mapping."""
        return {"name": self.name, "why": self.why, "supply": self.supply}

    def __str__(self) -> str:
        return (
            f"{self.name}: {self.why} Not observable from here; supply {self.supply} as facts={{{self.name!r}: ...}}."
        )


@dataclass(frozen=True)
class Check:
    """One relation as it was tried: how often, and how often it could not run."""

    relation: str
    runs: int
    failed: int = 0
    note: str = ""


@dataclass(frozen=True, repr=False)
class Audit:
    """The answer of `audit`; prints it with its proofs.

    Parameters
    ----------
    name : str
        What was audited.
    findings : tuple of Finding
        Proofs of leaks, and reasons why nothing can be said.
    questions : tuple of Question
        What is outside of what was run, and was not answered by `facts`.
    checks : tuple of Check
        What was tried.
    seconds : float
        How long it took.

    Examples
    --------
    >>> found = Audit("sma", (), (), (Check("future perturbation", 40),), 0.1)
    >>> found.ok, found.answer, found.exit_code
    (True, 'clean', 0)
    >>> print(found.sentence)
    sma: no leak in 40 runs.
    """

    name: str
    findings: tuple[Finding, ...]
    questions: tuple[Question, ...] = ()
    checks: tuple[Check, ...] = ()
    seconds: float = 0.0
    notes: tuple[str, ...] = field(default=())

    @property
    def ok(self) -> bool:
        """Whether nothing was found. Open `questions` do not count: they cannot be answered by running anything."""
        return not self.findings

    @property
    def answer(self) -> str:
        """ "leak", "not judged", "not observable" (nothing found, but questions are open), or "clean"."""
        if any(f.is_leak for f in self.findings):
            return "leak"
        if self.findings:
            return "not judged"
        return "not observable" if self.questions else "clean"

    @property
    def exit_code(self) -> int:
        """0: nothing found; 1: a leak; 2: it could not be judged."""
        return {"leak": 1, "not judged": 2}.get(self.answer, 0)

    @property
    def sentence(self) -> str:
        """The answer in a sentence."""
        runs = sum(check.runs for check in self.checks)
        if self.answer == "leak":
            proofs = [f for f in self.findings if f.is_leak]
            return f"{self.name}: {len(proofs)} leak{'s' * (len(proofs) != 1)} proved in {runs} runs."
        if self.answer == "not judged":
            return f"{self.name}: cannot be judged. {self.findings[0].text}"
        if self.questions:
            names = ", ".join(q.name for q in self.questions)
            return f"{self.name}: no leak in {runs} runs; not observable from here: {names}."
        return f"{self.name}: no leak in {runs} runs."

    def to_dict(self) -> dict[str, Any]:
        """Return everything as a JSON-able mapping."""
        return {
            "name": self.name,
            "ok": self.ok,
            "answer": self.answer,
            "exit_code": self.exit_code,
            "sentence": self.sentence,
            "findings": [f.to_dict() | {"proof": str(f)} for f in self.findings],
            "questions": [q.to_dict() for q in self.questions],
            "checks": [vars(check) for check in self.checks],
            "notes": list(self.notes),
            "seconds": round(self.seconds, 3),
        }

    def __repr__(self) -> str:
        lines = [self.sentence]
        lines += [f"  {finding}" for finding in self.findings[:SHOWN]]
        if len(self.findings) > SHOWN:
            lines.append(f"  ... and {len(self.findings) - SHOWN} more in .findings")
        lines += [f"  ? {question}" for question in self.questions]
        lines += [f"  note: {note}" for note in self.notes]
        tried = [
            f"{c.relation} {c.runs}" + (f" ({c.failed} did not run)" if c.failed else "") for c in self.checks if c.runs
        ]
        if tried:
            lines.append(f"  tried: {', '.join(tried)}; {self.seconds:.1f} s")
        return "\n".join(lines)


def _number(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "nothing" if value is None else "NaN"
    return f"{value:.6g}"
