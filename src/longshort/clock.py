"""Time: instants, the sessions of exchanges, lengths of bars and spans, clocks.

A session is named by its date ("2014-06-09") and is over at its close, an instant in UTC nanoseconds. Exchange
calendars come from the exchange_calendars package, which is imported when the first question about a calendar is asked
and never by `import longshort`.
"""

from ._clock.calendars import (
    half_days,
    is_session,
    local_dates,
    next_sessions,
    session_closes,
    session_opens,
    sessions,
    utc_offsets,
    zone_of,
)
from ._clock.instants import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    Moment,
    SimulatedClock,
    SystemClock,
    as_date,
    as_moment,
    now_ns,
    show,
    unit_advice,
)
from ._clock.lengths import Span, bar_size_ns, bars_per_year, infer_bar_size, shifted

__all__ = [
    "DAY",
    "HOUR",
    "MINUTE",
    "SECOND",
    "Moment",
    "SimulatedClock",
    "Span",
    "SystemClock",
    "as_date",
    "as_moment",
    "bar_size_ns",
    "bars_per_year",
    "half_days",
    "infer_bar_size",
    "is_session",
    "local_dates",
    "next_sessions",
    "now_ns",
    "session_closes",
    "session_opens",
    "sessions",
    "shifted",
    "show",
    "unit_advice",
    "utc_offsets",
    "zone_of",
]
