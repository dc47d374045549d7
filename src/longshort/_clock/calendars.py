"""Trading sessions: their dates, when they open and close, and the local date of an instant.

Exchange calendars come from the exchange_calendars package, which is imported when the first question about one is
asked. Two calendars need no package: "24/7" (every day is a session that ends at the next UTC midnight) and "24/5" (the
same, Monday to Friday).
"""

import threading
import warnings
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np

from ..errors import InputError, TimeError, UnknownName, did_you_mean
from .instants import DAY, SECOND, as_date, as_moment

ALWAYS_OPEN = ("24/7", "24/5")
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


def sessions(calendar: str, start: object, end: object) -> np.ndarray:
    """Return the session dates from `start` to `end`, both included, as datetime64[D].

    Examples
    --------
    >>> [str(day) for day in sessions("XNYS", "2020-12-23", "2020-12-29")]  # Christmas is a Friday
    ['2020-12-23', '2020-12-24', '2020-12-28', '2020-12-29']
    """
    first, last = as_date(start), as_date(end)
    if calendar in ALWAYS_OPEN:
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
    if calendar in ALWAYS_OPEN:
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
        names = [*exchange_calendars.get_calendar_names(), *ALWAYS_OPEN]
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
    if calendar in ALWAYS_OPEN:
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
