"""Instants in UTC nanoseconds: read from what people write, shown to them, and told by a clock."""

import time as _time
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import lru_cache

import numpy as np

from ..errors import TimeError

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR


@dataclass(frozen=True)
class Moment:
    """An instant (`ns`), or a whole day (`day`) when only a date was given."""

    ns: int | None = None
    day: np.datetime64 | None = None


def as_moment(value: object) -> Moment:
    """Read an instant or a date from whatever people write.

    int is UTC ns, numpy datetimes are UTC by numpy's own convention, datetimes and strings with a time need an offset.
    A date without a time of day stays a date.

    Examples
    --------
    >>> as_moment("2020-02-03").day
    np.datetime64('2020-02-03')
    >>> as_moment("2020-02-03T16:00-05:00").ns == as_moment(np.datetime64("2020-02-03T21:00")).ns
    True
    >>> as_moment("2020-02-03 16:00")
    Traceback (most recent call last):
    longshort.errors.TimeError: '2020-02-03 16:00' has a time of day but no offset from UTC. Write '2020-02-03
    16:00+00:00'.
    """
    if isinstance(value, (bool, np.bool_)) or value is None:
        raise TimeError(f"Expected a date or an instant; it was {value!r}. Write '2020-02-03'.")
    if isinstance(value, (int, np.integer)):
        if 0 < abs(int(value)) < 10**14:
            raise TimeError(
                f"Instants as integers are UTC nanoseconds; {int(value)} would be in January 1970. "
                f"{unit_advice(int(value))}"
            )
        return Moment(ns=int(value))
    if isinstance(value, np.datetime64):
        if np.isnat(value):
            raise TimeError("Expected a date or an instant; it was NaT.")
        if np.datetime_data(value)[0] in ("Y", "M", "W", "D"):
            return Moment(day=value.astype("datetime64[D]"))
        return Moment(ns=int(value.astype("datetime64[ns]").astype(np.int64)))
    if isinstance(value, str):
        return _read_moment(value)
    if isinstance(value, datetime):  # pandas.Timestamp is one
        if value.tzinfo is not None:
            exact = getattr(value, "as_unit", None)
            return Moment(ns=int(exact("ns").value) if exact else _ns_of(value))
        if (value.hour, value.minute, value.second, value.microsecond) == (0, 0, 0, 0):
            return Moment(day=np.datetime64(value.date()))
        raise TimeError(f"{str(value)!r} has a time of day but no time zone. Write datetime(..., tzinfo=timezone.utc).")
    if isinstance(value, date):
        return Moment(day=np.datetime64(value))
    raise TimeError(f"Expected a date or an instant; it was {value!r} ({type(value).__name__}). Write '2020-02-03'.")


def as_date(value: object) -> np.datetime64:
    """Read a date; of an instant its UTC date is taken."""
    moment = as_moment(value)
    if moment.day is not None:
        return moment.day
    return np.datetime64(int(moment.ns or 0), "ns").astype("datetime64[D]")


def now_ns() -> int:
    """Return the machine's time in UTC ns."""
    return _time.time_ns()


def _read_moment(text: str) -> Moment:
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise TimeError(f"{text!r} is not a date. Write it as '2020-02-03' or '2020-02-03T16:00-05:00'.") from None
    if moment.tzinfo is not None:
        return Moment(ns=_ns_of(moment))
    if len(text.strip()) <= 10:
        return Moment(day=np.datetime64(moment.date()))
    raise TimeError(f"{text!r} has a time of day but no offset from UTC. Write '{text.strip()}+00:00'.")


def _ns_of(moment: datetime) -> int:
    passed = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (passed.days * 86_400 + passed.seconds) * SECOND + passed.microseconds * 1000


def unit_advice(value: int) -> str:
    """Say which unit an epoch number probably has."""
    low, high = 10**8, 7 * 10**9  # 1973 .. 2191 in seconds
    for unit, scale in (("seconds", 1), ("milliseconds", 10**3), ("microseconds", 10**6)):
        if low * scale <= abs(value) < high * scale:
            return f"It looks like {unit}: multiply by {SECOND // scale:_}."
    return "Multiply seconds by 1_000_000_000."


class SystemClock:
    """The machine's clock.

    Examples
    --------
    >>> SystemClock().now() > 1_700_000_000_000_000_000
    True
    """

    def now(self) -> int:
        """Return the time in UTC ns."""
        return now_ns()

    def sleep_until(self, moment: int) -> None:
        """Wait until an instant (UTC ns)."""
        while (left := moment - self.now()) > 0:
            _time.sleep(min(left / SECOND, 60.0))


@dataclass
class SimulatedClock:
    """A clock that moves when it is told to, and never backwards.

    Examples
    --------
    >>> clock = SimulatedClock(1_600_000_000 * SECOND)
    >>> clock.advance(1_600_000_060 * SECOND)
    >>> clock.now() - 1_600_000_000 * SECOND == MINUTE
    True
    """

    time: int = field(default=0)

    def now(self) -> int:
        """Return the time in UTC ns."""
        return self.time

    def advance(self, moment: int) -> None:
        """Move to an instant (UTC ns) that is not before the present one."""
        if moment < self.time:
            raise TimeError(f"A simulated clock does not go back: it stands at {self.time} and was asked for {moment}.")
        self.time = int(moment)

    def sleep_until(self, moment: int) -> None:
        """Jump to an instant; waiting takes no time here."""
        self.advance(max(moment, self.time))


@lru_cache(maxsize=64)
def _stamp_text(ns: int) -> str:
    return str(np.datetime64(ns, "ns"))[:19] + "Z"


def show(ns: int) -> str:
    """Write an instant for people.

    Examples
    --------
    >>> show(1_600_000_000 * SECOND)
    '2020-09-13T12:26:40Z'
    """
    return _stamp_text(int(ns))
