"""Rows that follow others: history may be repeated, never changed; see `Bars.append`."""

from typing import Any

import numpy as np

from .. import clock
from ..errors import HistoryChanged, InputError
from . import sessions
from .arrays import State


def check_like(old: Any, new: Any) -> None:
    """Raise `InputError` unless both have the same symbols, fields, calendar and bar size."""
    for what in ("symbols", "fields", "calendar", "bar_size"):
        mine, theirs = getattr(old, what), getattr(new, what)
        if mine != theirs:
            raise InputError(f"Bars can be appended when their {what} agree; here {mine!r}, there {theirs!r}.")


def appended(old: Any, new: Any, gaps: str) -> dict[str, Any]:
    """Return the parts of the bars that hold both: the old rows, those of sessions left out between, the new rows."""
    overlap = _overlap(old, new)
    listed = (old.state != State.UNLISTED).any(axis=0)
    state = np.array(new.state[overlap:])
    state[(state == State.UNLISTED) & listed] = State.MISSING  # what begins in the middle cannot know better
    absent = _absent_between(old, new.time[overlap:], gaps)
    cells = (len(absent), len(old.symbols))
    between = np.where(np.broadcast_to(listed, cells), State.MISSING, State.UNLISTED).astype(np.uint8)

    def joined(mine: np.ndarray, none: float, theirs: np.ndarray) -> np.ndarray:
        return np.concatenate([mine, np.full(cells, none), theirs[overlap:]])

    return {
        "fields": {name: joined(old[name], np.nan, new[name]) for name in old.fields},
        "time": np.concatenate([old.time, absent, new.time[overlap:]]),
        "split": joined(old.split, 1.0, new.split),
        "dividend": joined(old.dividend, 0.0, new.dividend),
        "state": np.concatenate([old.state, between, state]),
    }


def _overlap(old: Any, new: Any) -> int:
    """Return how many of the new rows the old bars have, digit for digit; raise `HistoryChanged` otherwise."""
    begin = int(np.searchsorted(old.time, new.time[0]))
    overlap = len(old) - begin
    if not np.array_equal(old.time[begin:], new.time[:overlap]):
        here, there = set(old.time[begin:].tolist()), set(new.time[: max(overlap, 1)].tolist())
        odd = min(here ^ there)
        who = "the old bars have a row that the new ones lack"
        if odd not in here:
            who = "the new bars have a row that the old ones lack"
        raise HistoryChanged(
            f"Bars that are appended should repeat or continue the old ones, but {who}: {clock.show(odd)}. "
            "Append rows after the last one, or load the whole history again."
        )
    difference = _difference(old, begin, new, overlap)
    if difference is not None:
        raise HistoryChanged(
            f"History changed: {difference}. Keep the old bars, or load the whole history again and refit on it."
        )
    return overlap


def _difference(old: Any, begin: int, new: Any, overlap: int) -> str | None:
    """Say which is the first cell of the overlap that differs, if any does."""
    pairs = {name: (old[name], new[name]) for name in old.fields}
    pairs |= {name: (getattr(old, name), getattr(new, name)) for name in ("split", "dividend")}
    first: tuple[int, int, str] | None = None
    for name, (mine, theirs) in pairs.items():
        here, there = mine[begin:], theirs[:overlap]
        for i, j in np.argwhere(~((here == there) | (np.isnan(here) & np.isnan(there))))[:1]:
            if first is None or i < first[0]:
                first = (int(i), int(j), name)
    if first is None:
        return None
    i, j, name = first
    was, now = pairs[name][0][begin + i, j], pairs[name][1][i, j]
    return f"{name} of {old.symbols[j]} on {old.dates[begin + i]} was {was:g} and is now {now:g}"


def _absent_between(old: Any, time: np.ndarray, choice: str) -> np.ndarray:
    """Return the closes of the sessions between the last old bar and the first of `time` that have no row."""
    sessions.check_gaps(choice)
    near = not len(time) or time[0] - old.time[-1] <= 26 * clock.HOUR
    if near or choice == "keep" or old.bar_size != "1D":
        return np.zeros(0, np.int64)
    absent = sessions.absent_sessions(np.concatenate([old.time, time]), old.calendar)
    absent = absent[(absent > old.time[-1]) & (absent < time[0])]
    if len(absent):
        sessions.tell_of_absent(absent, str(old.calendar))
    return absent
