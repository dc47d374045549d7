"""The memory of what was tried: an append-only chain of records, each sealed with the digest of the one before.

The best of twenty useless configurations passes a 5 % test in 64 % of cases, so a result means little until one knows
how much was tried. `walk_forward` records every configuration here by itself, and each verdict prints how many there
were. The same configuration is one trial however often it is repeated, also on longer bars of the same symbols.

::

    ledger.jsonl    one JSON object a line: index, time, kind, facts, previous, digest
    ledger.head     how many records there are and the last digest, so that a cut tail is noticed
    ledger.lock     locked while a process appends
    scores/         score series of trials, each named by the digest that its record seals

    kind        what happened                                             counts as a trial
    trial       a walk-forward, a search on its own, a judged forecast    yes
    inner       a trial inside a training window of such a study          no: it never saw a test row
    fit         a model was fitted, on its own                            no: it has no score to choose by
    read        test rows were looked at                                  no
    choice      rows decided when a training on plain arrays stopped      no
    unsealed    somebody chose on test rows on purpose, and why           no
    plan        how many trials there will be, said in advance            no

``digest = SHA-256(canonical JSON of all the rest)`` and `previous` is the digest of the line before, so an edit, a
deletion or a swap anywhere breaks the chain, and `verify` says where. The chain makes tampering evident, not
impossible: who rewrites every file leaves no trace, unless a digest was noted elsewhere (studies saved in a project
carry it, see `Ledger.confirm`).

A ledger lives in a run folder (`project`), otherwise in this process only. An append is on disk before `record`
returns; a line torn by a crash was never confirmed to anyone and is dropped by the next append.
"""

import hashlib
import json
import logging
import os
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any, BinaryIO

from .artifact import write_atomic
from .errors import InputError, LedgerError

__all__ = [
    "Ledger",
    "Record",
    "aside",
    "canonical",
    "current",
    "digest_of",
    "plan",
    "project",
    "record",
    "trials",
    "unsealed",
    "verify",
]

logger = logging.getLogger(__name__)

GENESIS = "0" * 64
TRIAL, INNER = "trial", "inner"
KEPT_IN_MEMORY = 1000  # score series of the process's own ledger, the latest


# -------------------------------------------------------------------------------------------------- what people use


def project(path: str | os.PathLike | None) -> "Ledger":
    """Keep the record of trials in the folder `path` from now on; None returns to the process's own.

    Used with ``with``, the ledger in force before returns at the end of the block.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> with project(folder) as ledger:
    ...     _ = record("trial", configuration="lookback 60", trial="a")
    ...     _ = record("trial", configuration="lookback 20", trial="b")
    ...     _ = record("trial", configuration="lookback 20", trial="b")   # repeated: not a new trial
    ...     ledger.trials()
    2
    >>> with project(folder):   # another day
    ...     trials()
    2
    """
    return _in_force(Ledger(path) if path is not None else _PROCESS)


def aside() -> "Ledger":
    """Record in memory until the end of the ``with`` block: what runs on invented data is no trial.

    Examples
    --------
    >>> before = trials()
    >>> with aside():
    ...     _ = record("trial", trial="on a market that does not exist")
    ...     trials()
    1
    >>> trials() == before
    True
    """
    return _in_force(Ledger())


def _in_force(ledger: "Ledger") -> "Ledger":
    global _current
    ledger._before = _current
    _current = ledger
    return ledger


def current() -> "Ledger":
    """Return the ledger in force: the one of `project`, otherwise this process's."""
    return _current


@contextmanager
def unsealed(reason: str) -> Iterator[None]:
    """Allow choosing on test rows until the end of the ``with`` block; it is recorded, and later verdicts count it.

    Parameters
    ----------
    reason : str
        Why, for whoever reads the ledger.

    Examples
    --------
    >>> with aside() as ledger:
    ...     with unsealed("the study is finished, this is the model that trades"):
    ...         ledger.is_unsealed
    ...     ledger.is_unsealed, ledger.records()[0].facts["reason"]
    True
    (False, 'the study is finished, this is the model that trades')
    """
    book = _current
    if not isinstance(reason, str) or not reason.strip():
        raise InputError(f"Say why test rows may be chosen on: unsealed('...'), was {reason!r}.")
    book.record("unsealed", reason=reason)
    book._unsealed += 1
    try:
        yield
    finally:
        book._unsealed -= 1


def plan(trials: int) -> "Record":
    """Say in advance how many configurations will be tried; verdicts share their level among so many from the start.

    Who looks after every try and stops at the first edge errs more often than the level of the test, because the level
    is shared among those tried so far. With a plan it is shared among all that will be, and one may stop at any time.

    Examples
    --------
    >>> with aside() as ledger:
    ...     _ = plan(20)
    ...     ledger.planned
    20
    """
    if isinstance(trials, bool) or not isinstance(trials, Integral) or trials < 1:
        raise InputError(f"A plan is a whole number of trials of at least 1, was {trials!r}.")
    return _current.record("plan", trials=int(trials))


def record(kind: str, **facts: Any) -> "Record":
    """Append one record to the ledger in force."""
    return _current.record(kind, **facts)


def trials() -> int:
    """Return how many different configurations the ledger in force has seen."""
    return _current.trials()


def verify() -> int:
    """Check the chain in force and return its length; raise `LedgerError` where it is broken."""
    return _current.verify()


# ---------------------------------------------------------------------------------------------------------- records


def canonical(value: Any) -> str:
    """Return the one JSON text of a value: sorted keys, no spaces, shortest exact floats; NaN is refused."""
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"A record holds text, finite numbers, booleans, None, lists and mappings only ({error}). "
            "Convert arrays with .tolist() and times with str()."
        ) from error


def digest_of(value: Any) -> str:
    """Return the SHA-256 of a value's canonical JSON text, 64 hexadecimal digits.

    Examples
    --------
    >>> digest_of({"b": 1, "a": 2.5}) == digest_of({"a": 2.5, "b": 1})
    True
    """
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def is_digest(value: Any) -> bool:
    """Whether a value is 64 hexadecimal digits, as `digest_of` makes them."""
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None


@dataclass(frozen=True)
class Record:
    """One sealed fact: its place, UTC nanoseconds, kind, facts, and the chain through it."""

    index: int
    time: int
    kind: str
    facts: Mapping[str, Any]
    previous: str
    digest: str

    def to_dict(self) -> dict[str, Any]:
        """Return the record as written."""
        return self._body() | {"digest": self.digest}

    def _body(self) -> dict[str, Any]:
        return {
            "index": self.index,
            "time": self.time,
            "kind": self.kind,
            "facts": dict(self.facts),
            "previous": self.previous,
        }

    @classmethod
    def _seal(cls, index: int, kind: str, facts: Mapping[str, Any], previous: str) -> "Record":
        facts = json.loads(canonical(facts))  # what is kept is exactly what will be read back
        unsealed = cls(index, time.time_ns(), kind, facts, previous, "")
        return cls(index, unsealed.time, kind, facts, previous, digest_of(unsealed._body()))


_FIELDS = {"index": int, "time": int, "kind": str, "facts": dict, "previous": str, "digest": str}


# ----------------------------------------------------------------------------------------------------------- ledger


class Ledger:
    """An append-only chain of records, in the folder `path` or (None) in this process's memory.

    Examples
    --------
    >>> ledger = Ledger()
    >>> first = ledger.record("trial", trial="lookback 60", symbol="AAPL")
    >>> second = ledger.record("trial", trial="lookback 20", symbol="AAPL")
    >>> second.previous == first.digest, ledger.trials(), ledger.verify()
    (True, 2, 2)
    """

    def __init__(self, path: str | os.PathLike | None = None):
        self.path = None if path is None else Path(path)
        self._memory: list[Record] = []
        self._sound = 0  # records of the memory that were checked: only more is checked again, but for `verify`
        self._kept: dict[str, bytes] = {}
        self._checked: tuple[bytes, list[Record]] = b"", []  # what was read and found whole: only more is checked again
        self._inside, self._unsealed = 0, 0
        self._thread_lock = threading.RLock()
        self._before: Ledger | None = None

    @property
    def where(self) -> str:
        """Where the count comes from, as reports print it."""
        return "this process" if self.path is None else f"run folder {self.path}"

    @property
    def file(self) -> Path | None:
        """The JSON lines file, None in memory."""
        return None if self.path is None else self.path / "ledger.jsonl"

    def is_same(self, other: "Ledger") -> bool:
        """Whether both write into the same chain."""
        return self is other or (self.path is not None and other.path is not None and _same(self.path, other.path))

    def __getstate__(self) -> dict[str, Any]:
        """A copy or a pickle has a lock of its own; who read what before stays here."""
        return {**vars(self), "_thread_lock": None, "_before": None, "_checked": (b"", [])}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state | {"_thread_lock": threading.RLock()})

    def record(self, kind: str, **facts: Any) -> Record:
        """Append one record and return it once it is safe on disk.

        Parameters
        ----------
        kind : str
            What happened. ``"trial"`` records count as trials, one per distinct fact ``trial`` (a digest of the
            configuration and its data).
        **facts
            Anything JSON can hold; NaN and infinities are refused.
        """
        if not kind or not isinstance(kind, str):
            raise InputError(f"A record's kind is a word such as 'trial', was {kind!r}.")
        if kind == TRIAL and "trial" not in facts:
            raise InputError("A trial needs the fact trial=..., the digest that tells it from other trials.")
        with self._thread_lock:
            if self.path is None:
                previous = self._memory[-1].digest if self._memory else GENESIS
                sealed = Record._seal(len(self._memory), kind, facts, previous)
                self._memory.append(sealed)
                return sealed
            canonical(facts)  # refuse before touching the disk
            _make(self.path)
            with _locked(self.path / "ledger.lock"):
                records, intact_bytes = self._read()
                previous = records[-1].digest if records else GENESIS
                sealed = Record._seal(len(records), kind, facts, previous)
                self._append(sealed, intact_bytes)
            return sealed

    def record_trial(self, trial: str, **facts: Any) -> int:
        """Record a trial unless the ledger knows it on the same data (fact ``bars``), and return how many there are.

        Inside a study it is of kind "inner" and does not count.
        """
        with self._thread_lock:
            kind, data, records = INNER if self._inside else TRIAL, facts.get("bars"), self.records()
            known = [r.facts for r in records if r.kind == kind]
            if all(f.get("trial") != trial or f.get("bars") != data for f in known):
                records = (*records, self.record(kind, trial=trial, **facts))
            return len({r.facts["trial"] for r in records if r.kind == TRIAL})

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Until the end of the ``with`` block trials are parts of a study: they see training windows only."""
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1

    @property
    def is_inside(self) -> bool:
        """Whether a study is under way."""
        return self._inside > 0

    @property
    def is_unsealed(self) -> bool:
        """Whether choosing on test rows is allowed, see `unsealed`."""
        return self._unsealed > 0

    @property
    def planned(self) -> int:
        """The largest number of trials that a plan named; 0 without a plan."""
        plans = (r.facts.get("trials") for r in self.records("plan"))
        return max((n for n in plans if isinstance(n, int)), default=0)

    def keep(self, data: bytes) -> str:
        """Keep a score series beside the chain and return its digest, for the fact ``scores`` that seals it.

        Examples
        --------
        >>> ledger = Ledger()
        >>> digest = ledger.keep(b"what every date was worth")
        >>> ledger.kept(digest)
        b'what every date was worth'
        """
        digest = hashlib.sha256(data).hexdigest()
        with self._thread_lock:
            if self.path is None:
                self._kept[digest] = data
                while len(self._kept) > KEPT_IN_MEMORY:
                    del self._kept[next(iter(self._kept))]
            elif not (self.path / "scores" / digest).exists():
                _make(self.path / "scores")
                write_atomic(self.path / "scores" / digest, data)
        return digest

    def kept(self, digest: str) -> bytes | None:
        """Return what was kept; in memory the oldest series are let go (None), on disk a missing one is an error."""
        if self.path is None:
            return self._kept.get(digest)
        file = self.path / "scores" / digest
        try:
            data = file.read_bytes()
        except FileNotFoundError as error:
            raise LedgerError(f"{file} is missing: a record seals it. Restore it from a backup.") from error
        if hashlib.sha256(data).hexdigest() != digest:
            raise LedgerError(f"{file} was edited: its digest is not its name. Restore it from a backup.")
        return data

    def records(self, kind: str | None = None) -> tuple[Record, ...]:
        """Return all records, or those of one kind, after checking the chain."""
        with self._thread_lock:
            if self.path is None:
                found = list(self._memory)
                _check_chain(found, "the ledger of this process", known=min(self._sound, len(found)))
                self._sound = len(found)
            elif not self.path.exists():
                found = []
            else:
                writable = os.access(self.path, os.W_OK)  # nobody appends to an archive that cannot be written
                with _locked(self.path / "ledger.lock") if writable else nullcontext():
                    found, _ = self._read()
        return tuple(r for r in found if kind is None or r.kind == kind)

    def trials(self) -> int:
        """Return how many different configurations were tried."""
        return len({r.facts["trial"] for r in self.records(TRIAL)})

    def verify(self) -> int:
        """Check every digest, link and score series; return how many records, raise `LedgerError` where it breaks."""
        self._sound = 0
        records = self.records()
        if self.path is not None:
            for digest in {r.facts["scores"] for r in records if is_digest(r.facts.get("scores"))}:
                self.kept(digest)
        return len(records)

    def confirm(self, records: int, head: str) -> None:
        """Raise `LedgerError` unless the chain still holds the record that was noted elsewhere as its last.

        Parameters
        ----------
        records : int
            How many records there were then.
        head : str
            Digest of the last one.
        """
        known = self.records()
        if len(known) < records:
            raise LedgerError(
                f"The ledger in {self.where} held {records} records when the study beside it was made, and holds "
                f"{len(known)} now: it was deleted or cut. Restore ledger.jsonl and ledger.head, or begin a new folder."
            )
        if records and known[records - 1].digest != head:
            raise LedgerError(
                f"Record {records - 1} of the ledger in {self.where} is not the one that the study beside it was made "
                "after: the ledger was replaced. Restore ledger.jsonl and ledger.head, or begin a new folder."
            )

    @property
    def head(self) -> str:
        """The last digest: note it elsewhere and the whole history is pinned."""
        records = self.records()
        return records[-1].digest if records else GENESIS

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *exc_info) -> None:
        global _current
        if self._before is not None:
            _current, self._before = self._before, None

    def __repr__(self) -> str:
        return f"Ledger({self.trials()} trials in {self.where})"

    # ------------------------------------------------------------------------------------------------------ on disk

    def _read(self) -> tuple[list[Record], int]:
        """Return the checked records and the number of bytes they take; a torn last line is left out."""
        assert self.path is not None
        file = self.path / "ledger.jsonl"
        data = file.read_bytes() if file.exists() else b""
        whole = data.rfind(b"\n") + 1
        checked, records = self._checked
        if data[: len(checked)] != checked:
            checked, records = b"", []
        lines = data[len(checked) : whole].splitlines()
        records = [*records, *(_parse(line, len(records) + i, file) for i, line in enumerate(lines))]
        _check_chain(records, str(file), known=len(records) - len(lines))
        self._check_head(records, file)
        self._checked = data[:whole], records
        if whole < len(data):
            logger.warning(
                "%s ends in a line torn by a crash (%d bytes); it was never confirmed", file, len(data) - whole
            )
        return records, whole

    def _check_head(self, records: list[Record], file: Path) -> None:
        head = file.with_name("ledger.head")
        if not head.exists():
            if len(records) > 1:  # one record: the crash came between the first line and its head
                raise LedgerError(
                    f"{file} holds {len(records)} records, but {head.name} beside it is missing. "
                    "Restore it from a backup: without it nobody can tell whether records were cut off."
                )
            return
        try:
            known = json.loads(head.read_bytes())
            count, digest = int(known["count"]), str(known["digest"])
        except (ValueError, KeyError, TypeError) as error:
            raise LedgerError(f"{head} is damaged ({error}). Restore it from a backup.") from error
        if len(records) < count:
            raise LedgerError(f"{file} was cut: {count} records were confirmed, {len(records)} are left. Restore it.")
        if count and records[count - 1].digest != digest:
            raise LedgerError(f"{file} was rewritten: record {count - 1} is not the one confirmed. Restore it.")
        if len(records) > count + 1:
            raise LedgerError(f"{file} holds {len(records)} records, but only {count} were confirmed by {head.name}.")

    def _append(self, sealed: Record, intact_bytes: int) -> None:
        assert self.path is not None
        file, head = self.path / "ledger.jsonl", self.path / "ledger.head"
        if sealed.index and _head_count(head) < sealed.index:  # the last append crashed before its head was written
            _replace(head, {"count": sealed.index, "digest": sealed.previous})
        with open(file, "ab") as out:
            if out.tell() > intact_bytes:
                out.truncate(intact_bytes)
            out.write(canonical(sealed.to_dict()).encode() + b"\n")
            out.flush()
            os.fsync(out.fileno())
        _replace(head, {"count": sealed.index + 1, "digest": sealed.digest})


def _parse(line: bytes, index: int, file: Path) -> Record:
    try:
        found = json.loads(line)
        if not isinstance(found, dict) or set(found) != set(_FIELDS):
            raise ValueError(f"expected the fields {', '.join(_FIELDS)}")
        for name, kind in _FIELDS.items():
            if type(found[name]) is not kind:
                raise ValueError(f"field {name!r} must be {kind.__name__}, was {type(found[name]).__name__}")
        parsed = Record(**found)
        if canonical(parsed.to_dict()).encode() != line:
            raise ValueError("it is not in canonical form")
        return parsed
    except (ValueError, InputError) as error:
        raise LedgerError(f"{file}: line {index + 1} was changed, it is not a record ({error}). Restore it.") from error


def _check_chain(records: list[Record], name: str, known: int = 0) -> None:
    """Check every record behind the first `known`, which were checked before."""
    previous = records[known - 1].digest if known else GENESIS
    for i, r in enumerate(records[known:], known):
        if r.index != i or r.previous != previous:
            raise LedgerError(
                f"{name}: the chain breaks at line {i + 1} (record {r.index} follows {i - 1}): "
                "records were deleted, inserted or reordered. Restore it from a backup."
            )
        if digest_of(r._body()) != r.digest:
            raise LedgerError(f"{name}: line {i + 1} was edited: its digest does not fit. Restore it from a backup.")
        previous = r.digest


def _same(a: Path, b: Path) -> bool:
    return os.path.abspath(a) == os.path.abspath(b)


def _head_count(head: Path) -> int:
    return int(json.loads(head.read_bytes())["count"]) if head.exists() else 0


def _replace(path: Path, value: Mapping[str, Any]) -> None:
    beside = path.with_name(path.name + ".new")
    with open(beside, "wb") as out:
        out.write(canonical(value).encode() + b"\n")
        out.flush()
        os.fsync(out.fileno())
    os.replace(beside, path)
    if os.name == "posix":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_kept(folder, error) from error


def _opened(path: Path) -> BinaryIO:
    try:
        return open(path, "ab")
    except OSError as error:
        raise _not_kept(path.parent, error) from error


def _not_kept(folder: Path, error: OSError) -> LedgerError:
    return LedgerError(
        f"No ledger can be kept in {folder}: {error.strerror}. Choose a folder that can be written, "
        "longshort.project('runs/...')."
    )


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock between processes; the operating system frees it when its holder dies."""
    with _opened(path) as handle:
        if os.name == "nt":  # pragma: no cover
            import msvcrt

            while True:
                try:
                    handle.seek(0)
                    msvcrt.locking(handle.fileno(), msvcrt.LK_LOCK, 1)  # type: ignore[attr-defined]
                    break
                except OSError:
                    time.sleep(0.05)
            try:
                yield
            finally:
                handle.seek(0)
                msvcrt.locking(handle.fileno(), msvcrt.LK_UNLCK, 1)  # type: ignore[attr-defined]
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(handle, fcntl.LOCK_UN)


_PROCESS = Ledger()
_current = _PROCESS
