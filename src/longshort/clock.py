"""Bar sizes, trading sessions and clocks.

A session is named by its date ("2014-06-09") and is over at its close, an instant in UTC nanoseconds. Exchange
calendars come from the exchange_calendars package, which is imported when the first question about a calendar is asked
and never by `import longshort`. Two calendars need no package: "24/7" (every day is a session that ends at the next UTC
midnight) and "24/5" (the same, Monday to Friday).
"""

import re
import threading
import time as _time
import warnings
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np

from .errors import InputError, TimeError, UnknownName, did_you_mean

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

_UNITS = {"s": SECOND, "m": MINUTE, "h": HOUR}
_SPAN_UNITS = {"Y": "years", "M": "months", "W": "weeks", "D": "sessions", "": "rows"}
_SESSION_SIZES = {"1D": DAY, "1W": 7 * DAY, "1M": 30 * DAY}
_ALWAYS_OPEN = ("24/7", "24/5")
_ZONES = {  # the most used calendars, so that their zone is known without loading exchange_calendars
    "24/7": "UTC",
    "24/5": "UTC",
    "XNYS": "America/New_York",
    "XNAS": "America/New_York",
    "XTSE": "America/Toronto",
    "XLON": "Europe/London",
    "XETR": "Europe/Berlin",
    "XPAR": "Europe/Paris",
    "XSWX": "Europe/Zurich",
    "XTKS": "Asia/Tokyo",
    "XHKG": "Asia/Hong_Kong",
    "XASX": "Australia/Sydney",
}


# ---------------------------------------------------------------------------------------------------------------------
# Bar sizes


def bar_size_ns(size: str) -> int:
    """Return the nominal length of a bar in nanoseconds.

    Parameters
    ----------
    size : str
        A count and a unit: "30s", "5m", "1h"; or "1D", "1W", "1M" (one session, week, month).

    Examples
    --------
    >>> bar_size_ns("5m") // 1_000_000_000
    300
    >>> bar_size_ns("5min")
    Traceback (most recent call last):
    longshort.errors.InputError: A bar size is a count and one of s, m, h, or 1D, 1W, 1M; it was '5min'. Write '5m'.
    """
    if isinstance(size, str):
        if size in _SESSION_SIZES:
            return _SESSION_SIZES[size]
        count, unit = size[:-1], size[-1:]
        if unit in _UNITS and count.isascii() and count.isdigit() and int(count) > 0:
            return int(count) * _UNITS[unit]
    raise InputError(f"A bar size is a count and one of s, m, h, or 1D, 1W, 1M; it was {size!r}. {_near_size(size)}")


def bars_per_year(size: str, calendar: str | None = None) -> float:
    """Return how many bars a year has by convention: 252 sessions on an exchange, whatever the year.

    Parameters
    ----------
    size : str
        As in `bar_size_ns`.
    calendar : str, optional
        Without one, days are those of an exchange, and bars within the day go round the clock.

    Examples
    --------
    >>> bars_per_year("1D", "XNYS"), bars_per_year("1h", "XNYS"), bars_per_year("1D", "24/7"), bars_per_year("1W")
    (252.0, 1764.0, 365.25, 52.0)
    """
    if size in ("1W", "1M"):
        return {"1W": 52.0, "1M": 12.0}[size]
    sessions_ = {"24/7": 365.25, "24/5": 261.0}.get(str(calendar), 252.0)
    if size == "1D":
        return sessions_
    length = DAY
    if calendar is None:
        sessions_ = 365.25
    elif calendar not in _ALWAYS_OPEN:
        days = sessions(calendar, "2019-06-03", "2019-06-14")
        length = int((session_closes(calendar, days) - session_opens(calendar, days)).max())
    return sessions_ * -(-length // bar_size_ns(size))


def _near_size(size: object) -> str:
    text = str(size).strip().lower()
    digits = "".join(c for c in text if c.isdigit()) or "1"
    words = text.lstrip("0123456789 ")
    for unit, names in {
        "m": ("min", "t", "minute"),
        "h": ("hour", "hr"),
        "s": ("sec",),
        "D": ("d", "day", "b"),
    }.items():
        if any(words.startswith(name) for name in names):
            return f"Write {'1D' if unit == 'D' else digits + unit!r}."
    return "Write for example '5m' or '1D'."


def infer_bar_size(time: np.ndarray) -> str:
    """Return the bar size whose spacing is the most frequent between stamps (int64 ns, increasing).

    Examples
    --------
    >>> infer_bar_size(np.arange(5) * 15 * MINUTE)
    '15m'
    """
    if len(time) < 2:
        return "1D"
    gaps, counts = np.unique(np.diff(time), return_counts=True)
    gap = int(gaps[np.argmax(counts)])
    if gap >= 20 * HOUR:
        return "1D" if gap < 5 * DAY else "1W" if gap < 20 * DAY else "1M"
    for unit, length in (("h", HOUR), ("m", MINUTE), ("s", SECOND)):
        if gap >= length:
            return f"{max(round(gap / length), 1)}{unit}" if gap % length == 0 or unit == "s" else f"{gap // SECOND}s"
    return "1s"


# ---------------------------------------------------------------------------------------------------------------------
# Spans


@dataclass(frozen=True)
class Span:
    """A stretch of decision rows: "5Y", "6M", "10W" by the calendar, "20D" in sessions, 500 in rows.

    Examples
    --------
    >>> Span.parse("6M"), Span.parse(500)
    (Span('6M'), Span(500))
    """

    count: int
    unit: str

    @classmethod
    def parse(cls, value: "int | str | Span", least: int = 1) -> "Span":
        """Read a span; `least` is the smallest count allowed."""
        if isinstance(value, Span):
            return value
        found = None
        if isinstance(value, int | np.integer) and not isinstance(value, bool):
            found = cls(int(value), "")
        elif isinstance(value, str) and (match := re.fullmatch(r"\s*(\d{1,6})\s*([YMWD])\s*", value.upper())):
            found = cls(int(match[1]), match[2])
        if found is None:
            raise InputError(
                f"A span is rows (500) or a text like '5Y', '6M', '10W' or '20D' (sessions), was {value!r}."
            )
        if found.count < least:
            raise InputError(f"A span counts at least {least}, was {value!r}.")
        return found

    @property
    def by_calendar(self) -> bool:
        """Whether the span is measured in dates rather than counted in rows or sessions."""
        return self.unit in ("Y", "M", "W")

    def __str__(self) -> str:
        return f"{self.count} {_SPAN_UNITS[self.unit]}" if self.count != 1 else f"1 {_SPAN_UNITS[self.unit][:-1]}"

    def __repr__(self) -> str:
        return f"Span({self.count if not self.unit else f'{self.count}{self.unit}'!r})"

    @property
    def value(self) -> int | str:
        """The span as it is typed."""
        return f"{self.count}{self.unit}" if self.unit else self.count


def shifted(day: np.datetime64, *spans: tuple[Span, int]) -> np.datetime64:
    """Return the day so many spans later: months first, to the last day of a shorter month, then weeks."""
    months = sum(span.count * times * (12 if span.unit == "Y" else 1) for span, times in spans if span.unit != "W")
    weeks = sum(span.count * times for span, times in spans if span.unit == "W")
    month = day.astype("datetime64[M]")
    day_of_month = (day - month.astype("datetime64[D]")).astype(int)
    target = month + np.timedelta64(months, "M")
    last = ((target + 1).astype("datetime64[D]") - target.astype("datetime64[D]")).astype(int) - 1
    return target.astype("datetime64[D]") + np.timedelta64(min(day_of_month, last) + 7 * weeks, "D")


# ---------------------------------------------------------------------------------------------------------------------
# Sessions


def sessions(calendar: str, start: object, end: object) -> np.ndarray:
    """Return the session dates from `start` to `end`, both included, as datetime64[D].

    Examples
    --------
    >>> [str(day) for day in sessions("XNYS", "2020-12-23", "2020-12-29")]  # Christmas is a Friday
    ['2020-12-23', '2020-12-24', '2020-12-28', '2020-12-29']
    """
    first, last = as_date(start), as_date(end)
    if calendar in _ALWAYS_OPEN:
        days = np.arange(first, last + 1)
        return days if calendar == "24/7" else days[np.is_busday(days)]
    table = _schedule(calendar, first, last)
    return table.labels[np.searchsorted(table.labels, first) : np.searchsorted(table.labels, last, side="right")]


def session_closes(calendar: str, labels: np.ndarray) -> np.ndarray:
    """Return the instants (int64 ns, UTC) at which sessions close; half days close early.

    Raises
    ------
    TimeError
        When a date is no session of the calendar: a weekend or a holiday.

    Examples
    --------
    >>> days = np.array(["2020-11-25", "2020-11-27"], "datetime64[D]")  # the day after Thanksgiving is a half day
    >>> [str(np.datetime64(int(t), "ns"))[:16] for t in session_closes("XNYS", days)]
    ['2020-11-25T21:00', '2020-11-27T18:00']
    """
    return _instants(calendar, labels, "closes")


def session_opens(calendar: str, labels: np.ndarray) -> np.ndarray:
    """Return the instants (int64 ns, UTC) at which sessions open."""
    return _instants(calendar, labels, "opens")


def half_days(calendar: str, start: object, end: object) -> np.ndarray:
    """Return the sessions that close earlier than usual, as datetime64[D].

    Examples
    --------
    >>> [str(day) for day in half_days("XNYS", "2019-01-01", "2020-12-31")]
    ['2019-07-03', '2019-11-29', '2019-12-24', '2020-11-27', '2020-12-24']
    """
    if calendar in _ALWAYS_OPEN:
        return np.array([], "datetime64[D]")
    table = _schedule(calendar, as_date(start), as_date(end))
    inside = (table.half >= as_date(start)) & (table.half <= as_date(end))
    return table.half[inside]


def is_session(calendar: str, labels: np.ndarray) -> np.ndarray:
    """Return which dates are sessions, as a boolean array.

    Examples
    --------
    >>> is_session("24/5", np.array(["2021-01-01", "2021-01-02"], "datetime64[D]")).tolist()  # a Friday, a Saturday
    [True, False]
    """
    labels = np.atleast_1d(np.asarray(labels, "datetime64[D]"))
    if not len(labels):
        return np.zeros(0, bool)
    return np.isin(labels, sessions(calendar, labels.min(), labels.max()))


def next_sessions(calendar: str, after: object, n: int) -> np.ndarray:
    """Return the dates of the first `n` sessions that close after an instant, as datetime64[D].

    Parameters
    ----------
    calendar : str
        "XNYS", "XLON", "24/7", ...
    after : date, str, datetime or int (UTC ns)
        A bare date means the end of that date's session.
    n : int
        How many sessions.

    Examples
    --------
    >>> [str(day) for day in next_sessions("XNYS", "2021-03-31", 3)]  # Good Friday was 2 April
    ['2021-04-01', '2021-04-05', '2021-04-06']
    """
    if n < 0:
        raise InputError(f"next_sessions needs n >= 0; n was {n}.")
    moment = as_moment(after)
    day = moment.day if moment.day is not None else local_dates(np.array([moment.ns]), calendar)[0]
    span = max(10, 2 * n + 10)
    while True:  # almost always one round; exchanges that close for weeks need more
        ahead = sessions(calendar, day, day + span)
        if moment.day is not None:
            ahead = ahead[ahead > day]
        else:
            ahead = ahead[session_closes(calendar, ahead) > moment.ns]
        if len(ahead) >= n:
            return ahead[:n]
        span *= 2
        if span > 20 * n + 4000:
            raise TimeError(
                f"Calendar {calendar!r} knows only {len(ahead)} of the {n} sessions after {day}. Ask for fewer."
            )


def zone_of(calendar: str | None) -> str:
    """Return the time zone of a calendar ("UTC" when there is none).

    Examples
    --------
    >>> zone_of("XNYS")
    'America/New_York'
    """
    if calendar is None:
        return "UTC"
    return _ZONES.get(calendar) or str(_exchange(calendar).tz)


def local_dates(time: np.ndarray, calendar: str | None) -> np.ndarray:
    """Return the calendar's local date of each instant (int64 ns), as datetime64[D].

    An instant belongs to the day that it ends: midnight belongs to the day before, since stamps say when a bar is
    known.

    Examples
    --------
    >>> close = session_closes("24/7", np.array(["2020-02-29"], "datetime64[D]"))
    >>> str(np.datetime64(int(close[0]), "ns"))[:16], str(local_dates(close, "24/7")[0])
    ('2020-03-01T00:00', '2020-02-29')
    """
    time = np.asarray(time, np.int64)
    if not len(time):
        return np.array([], "datetime64[D]")
    return ((time - 1 + utc_offsets(time, zone_of(calendar))) // DAY).astype("datetime64[D]")


def utc_offsets(time: np.ndarray, zone: str) -> np.ndarray:
    """Return local time minus UTC in ns at each instant (int64 ns)."""
    if zone == "UTC":
        return np.zeros(len(time), np.int64)
    day = time // DAY
    days, index = np.unique(day, return_inverse=True)
    edges = np.unique(np.concatenate([days, days + 1]))
    at_edge = _offsets_at(edges * DAY, zone)
    start, stop = at_edge[np.searchsorted(edges, days)], at_edge[np.searchsorted(edges, days + 1)]
    offsets = start[index]
    changing = (start != stop)[index]  # the few days on which the clocks change
    if changing.any():
        offsets[changing] = _offsets_at(time[changing], zone)
    return offsets


def _offsets_at(time: np.ndarray, zone: str) -> np.ndarray:
    tz = ZoneInfo(zone)
    seconds = (datetime.fromtimestamp(int(t) // SECOND, tz).utcoffset() for t in time)
    return np.array([round(s.total_seconds()) * SECOND if s is not None else 0 for s in seconds], np.int64)


@dataclass(frozen=True)
class _Schedule:
    labels: np.ndarray  # datetime64[D]
    opens: np.ndarray  # int64 ns
    closes: np.ndarray
    half: np.ndarray  # datetime64[D]


_EARLIEST = np.datetime64("1990-01-01")
_schedules: dict[str, tuple[np.datetime64, np.datetime64, _Schedule]] = {}
_building = threading.RLock()  # one thread at a time: silencing warnings is the whole process's affair


def _schedule(calendar: str, first: np.datetime64, last: np.datetime64) -> _Schedule:
    """Return a schedule that covers at least the span; kept in the process, widened when a wider one is asked for."""
    known = _schedules.get(calendar)
    if known and known[0] <= first and last <= known[1]:
        return known[2]
    with _building:
        return _wider_schedule(calendar, first, last)


def _wider_schedule(calendar: str, first: np.datetime64, last: np.datetime64) -> _Schedule:
    known = _schedules.get(calendar)
    if known and known[0] <= first and last <= known[1]:  # another thread was faster
        return known[2]
    lowest, highest = min(first, _EARLIEST), last + 400
    if known:
        lowest, highest = min(lowest, known[0]), max(highest, known[1])
    exchange = _exchange(calendar, str(lowest), str(highest))
    table = _Schedule(
        exchange.sessions.to_numpy().astype("datetime64[D]"),
        np.asarray(exchange.opens_nanos, np.int64),
        np.asarray(exchange.closes_nanos, np.int64),
        exchange.early_closes.to_numpy().astype("datetime64[D]"),
    )
    _schedules[calendar] = (lowest, highest, table)
    return table


def _exchange(calendar: str, start: str | None = None, end: str | None = None):
    import exchange_calendars
    from exchange_calendars.errors import InvalidCalendarName

    try:
        with (
            _building,
            warnings.catch_warnings(),
        ):  # the package's own use of deprecated pandas calls is not the caller's business
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", FutureWarning)
            return exchange_calendars.get_calendar(calendar, start=start, end=end)
    except InvalidCalendarName as error:
        names = [*exchange_calendars.get_calendar_names(), *_ALWAYS_OPEN]
        raise UnknownName(
            f"There is no trading calendar {calendar!r}. "
            f"{did_you_mean(str(calendar), names) if len(str(calendar)) > 2 else ''}"
            " New York is 'XNYS', London 'XLON', a market that never closes '24/7'."
        ) from error
    except ValueError as error:  # the span reaches beyond what the package knows about this exchange
        raise TimeError(
            f"Calendar {calendar!r} does not know all of {start} .. {end}: {error} Ask for a shorter span."
        ) from error


def _instants(calendar: str, labels: np.ndarray, which: str) -> np.ndarray:
    labels = np.atleast_1d(np.asarray(labels, "datetime64[D]"))
    if not len(labels):
        return np.array([], np.int64)
    if calendar in _ALWAYS_OPEN:
        bad = labels[~np.is_busday(labels)] if calendar == "24/5" else labels[:0]
        instants = (labels + (1 if which == "closes" else 0)).astype("datetime64[ns]").astype(np.int64)
    else:
        table = _schedule(calendar, labels.min(), labels.max())
        place = np.minimum(np.searchsorted(table.labels, labels), len(table.labels) - 1)
        bad = labels[table.labels[place] != labels]
        instants = getattr(table, which)[place]
    if len(bad):
        kind = "weekend" if not np.is_busday(bad[0]) else "holiday"
        raise TimeError(
            f"All dates should be sessions of {calendar!r}, but {len(bad)} of {len(labels)} are not, the first is "
            f"{bad[0]} "
            f"(a {kind}). Remove them with clean(frame, 'drop_closed'), or name another calendar ('24/7' never closes)."
        )
    return instants


# ---------------------------------------------------------------------------------------------------------------------
# Instants as people write them


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


# ---------------------------------------------------------------------------------------------------------------------
# Clocks


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
