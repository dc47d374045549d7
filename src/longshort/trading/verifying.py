"""Verifying a saved strategy: a checklist that anybody can run before anything depends on it."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import ledger
from ..errors import ArtifactError, InputError, LedgerError, LongshortError
from . import golden
from .keeping import folder_of, read

if TYPE_CHECKING:
    from ..bars import Bars


@dataclass(frozen=True)
class Check:
    """One line of the list: what was checked, whether it held (None: could not be checked), what was found."""

    name: str
    ok: bool | None
    found: str


@dataclass(frozen=True)
class Verification:
    """What `verify_strategy` found.

    Parameters
    ----------
    path : str
        Of the strategy.
    checks : tuple of Check
        In order.
    """

    path: str
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether no check failed."""
        return all(check.ok is not False for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as a JSON-able mapping."""
        listed = [{"name": c.name, "ok": c.ok, "found": c.found} for c in self.checks]
        return {"path": self.path, "ok": self.ok, "checks": listed}

    def __str__(self) -> str:
        mark = {True: "ok  ", False: "FAIL", None: "-   "}
        width = max(len(check.name) for check in self.checks)
        lines = [f"{mark[c.ok]}  {c.name:{width}}  {c.found}" for c in self.checks]
        failed = sum(check.ok is False for check in self.checks)
        end = "verified" if self.ok else f"NOT verified: {failed} check{'s' * (failed != 1)} failed"
        return "\n".join([*lines, f"{self.path}: {end}"])


def verify_strategy(path: str | os.PathLike[str], bars: "Bars | None" = None, now: Any = None) -> Verification:
    """Check a saved strategy: its bytes, what it says about its golden windows, the ledger it was made in, its age.

    Parameters
    ----------
    path : path-like
        The directory, or a run folder that holds one.
    bars : Bars, optional
        Data it is meant for, to be held against its contract and the digest of what it learned from.
    now : date-like, optional
        Today, to say whether it is to be fitted anew. The library asks no clock.

    Examples
    --------
    >>> import os, tempfile, longshort as ls
    >>> from longshort import features as f, models as m
    >>> bars = ls.load_bars("AAPL", start="2015-01-01", end="2019-12-31", source="sample")
    >>> folder = os.path.join(tempfile.mkdtemp(), "aapl")
    >>> strategy = ls.Strategy(m.AutoRegression(f.forward_return())).fitted(bars)
    >>> digest = ls.save_strategy(folder, strategy, bars=bars)
    >>> found = verify_strategy(folder)
    >>> found.ok, found.checks[2].found
    (True, '16 windows of 1 symbol, every bit the same, on the build and instruction set that saved it')
    """
    folder = folder_of(path)
    try:
        kept = read(folder)
    except ArtifactError as error:
        return Verification(str(folder), (Check("every byte", False, str(error)),))
    written = f"{kept.n_files} files as written by longshort {kept.written_by}, {kept.digest[:16]}"
    asked: dict[str, Callable[[], Check]] = {
        "description": lambda: _description(kept),
        "golden windows": lambda: _golden(kept),
        "data contract": lambda: _bars(kept, bars),
        "ledger": lambda: _ledger(kept, folder),
        "verdict": lambda: _verdict(kept),
        "age": lambda: _age(kept, now),
    }
    checks = [Check("every byte", True, written), *(_answer(name, ask) for name, ask in asked.items())]
    return Verification(str(folder), tuple(checks))


def _answer(name: str, ask: Callable[[], Check]) -> Check:
    """Return what a check found; a document that cannot be read has failed it."""
    try:
        return ask()
    except (LongshortError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        return Check(name, False, f"cannot be read: {error}")


def _description(kept: Any) -> Check:
    strategy, deaf = kept.strategy, kept.golden[1]["deaf"]
    who = "no forecaster" if strategy.forecaster is None else type(strategy.forecaster).__name__
    made = f"{who}, {type(strategy.policy).__name__}, limits and refit rule can be built"
    return Check("description", None if deaf else True, f"{made}, but it cannot trade: {deaf}" if deaf else made)


def _golden(kept: Any) -> Check:
    replay = golden.replayed(kept.strategy, *kept.golden)
    return Check("golden windows", replay.ok, str(replay))


def _bars(kept: Any, bars: "Bars | None") -> Check:
    contract = kept.strategy.contract
    if bars is None:
        some = ", ".join(contract.symbols[:5]) + (", ..." if len(contract.symbols) > 5 else "")
        return Check("data contract", None, f"{some}; {contract.bar_size}, {contract.calendar}, {contract.currency}")
    try:
        contract.check(bars)
    except InputError as error:
        return Check("data contract", False, str(error))
    learned = bars.until(contract.until) if contract.until is not None else bars
    same = learned.digest == contract.digest
    told = "and the bars it learned from are these" if same else "but the bars it learned from were others"
    return Check("data contract", True if same else None, f"the bars are what it was made for, {told}")


def _ledger(kept: Any, folder: Any) -> Check:
    noted = kept.evidence.get("ledger")
    if noted is None:
        return Check("ledger", None, "it was saved in no project: nobody knows how much was tried")
    book = ledger.Ledger(folder.parent)
    if book.file is None or not book.file.exists():
        return Check("ledger", None, f"{noted['records']} records when it was saved; the ledger is not beside it")
    try:
        book.confirm(**noted)
    except LedgerError as error:
        return Check("ledger", False, str(error))
    return Check("ledger", True, f"{len(book.records())} records, {book.trials()} trials, intact since it was saved")


def _verdict(kept: Any) -> Check:
    found = kept.evidence.get("verdict")
    if found is None:
        return Check("verdict", None, "none: its skill was never judged")
    return Check("verdict", True if found["exit_code"] == 0 else None, found["sentence"])


def _age(kept: Any, now: Any) -> Check:
    from ..clock import as_date

    due = kept.strategy.due
    if due is None:
        return Check("age", None, "it is never to be fitted anew")
    if now is None:
        return Check("age", None, f"to be fitted anew after {due}")
    late = str(as_date(now)) > due
    return Check("age", None if late else True, f"{'was ' * late}to be fitted anew after {due}")
