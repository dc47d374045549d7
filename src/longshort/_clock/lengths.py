"""Lengths of time as they are typed: of a bar ("5m", "1D") and of a stretch of rows ("5Y", 500)."""

import re
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from .calendars import ALWAYS_OPEN, session_closes, session_opens, sessions
from .instants import DAY, HOUR, MINUTE, SECOND

_UNITS = {"s": SECOND, "m": MINUTE, "h": HOUR}
_SPAN_UNITS = {"Y": "years", "M": "months", "W": "weeks", "D": "sessions", "": "rows"}
_SESSION_SIZES = {"1D": DAY, "1W": 7 * DAY, "1M": 30 * DAY}


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
    elif calendar not in ALWAYS_OPEN:
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
