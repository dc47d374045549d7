"""Sessions without a row: a table that leaves a day out should not pass its neighbours off as consecutive."""

import logging

import numpy as np

from .. import clock
from ..errors import UnknownName, did_you_mean

logger = logging.getLogger(__name__)

CHOICES = ("missing", "keep")


def check_gaps(gaps: str) -> None:
    """Raise `UnknownName` unless `gaps` is a choice there is."""
    if gaps not in CHOICES:
        raise UnknownName(f"gaps was {gaps!r}. {did_you_mean(str(gaps), CHOICES)}")


def absent_sessions(time: np.ndarray, calendar: str | None) -> np.ndarray:
    """Return the closes (int64 ns) of the sessions between daily bars for which there is no row.

    None where that cannot be told: without a calendar, when a bar lies outside its sessions or two lie in one, and when
    most bars are more than a session apart, as weekly ones are.

    Examples
    --------
    >>> days = np.array(["2020-11-23", "2020-11-24", "2020-11-25", "2020-11-30"], "datetime64[D]")
    >>> time = clock.session_closes("XNYS", days)
    >>> clock.local_dates(absent_sessions(time, "XNYS"), "XNYS").astype(str).tolist()  # Thanksgiving is no session
    ['2020-11-27']
    >>> len(absent_sessions(time, None))
    0
    """
    none = np.zeros(0, np.int64)
    if calendar is None or len(time) < 3:
        return none
    days = clock.local_dates(time, calendar)
    sessions = clock.sessions(calendar, days[0], days[-1])
    if len(sessions) <= len(days):
        return none
    place = np.searchsorted(sessions, days)
    steps, counts = np.unique(np.diff(place), return_counts=True)
    outside = not np.isin(days, sessions).all()
    if outside or steps[0] < 1 or steps[np.argmax(counts)] != 1:
        return none
    return clock.session_closes(calendar, np.delete(sessions, place))


def tell_of_absent(absent: np.ndarray, calendar: str) -> None:
    """Say in the log which sessions were made MISSING bars."""
    days = clock.local_dates(absent[:1], calendar)
    logger.warning(
        "%s of %s, first %s: no window and no return reaches over %s. If the market was closed, pass gaps='keep'; "
        "check() lists them.",
        "1 session without a row became a MISSING bar"
        if len(absent) == 1
        else f"{len(absent):,} sessions without a row became MISSING bars",
        calendar,
        days[0],
        "it" if len(absent) == 1 else "them",
    )
