"""Stamps of tables and series: which instants they mean, by the rules of `Bars.from_pandas`."""

import logging
import re
from typing import Any, NamedTuple

import numpy as np

from .. import clock
from ..errors import DataError, InputError, TimeError
from .arrays import check_stamps, check_years

logger = logging.getLogger(__name__)

NEW_YORK = ("America/New_York", "US/Eastern", "EST5EDT")


def read_stamps(
    index: Any, tz: str | None, calendar: str | None, whose: str = "", at: str = "end"
) -> tuple[np.ndarray, str | None]:
    """Return stamps (int64 ns) and the calendar, by the rules of `Bars.from_pandas`."""

    if at not in ("start", "end"):
        raise InputError(f"stamps should be 'start' or 'end' (of the bar they belong to); it was {at!r}.")
    index = datetimes(index)
    if index.hasnans:
        raise TimeError(
            f"Every row should have a stamp{whose}, but row {int(np.flatnonzero(index.isna())[0])} has none (NaT)."
        )
    check_years(index.tz_localize(None).to_numpy())
    if index.tz is not None:
        if tz is not None:
            raise InputError(
                f"The stamps already have the zone {index.tz}; tz={tz!r} is for stamps without one. Leave it out."
            )
        labels, calendar = _labels_of_aware(index, calendar)
    else:
        if tz is None and calendar is None:
            raise TimeError(
                f"Stamps should say which time zone they are in, but {index[0]} does not. Pass calendar='XNYS' if they "
                "are "
                "New York sessions, or tz='America/New_York' (or 'UTC', ...) if they are instants."
            )
        if (index == index.normalize()).all():
            calendar = calendar or ("XNYS" if tz in NEW_YORK else None)
            if calendar is None:
                raise TimeError(
                    f"Stamps that are all midnight name sessions, and when those close depends on the exchange. "
                    f"Pass calendar= as well as tz={tz!r}, for example calendar='XLON', or '24/7' for crypto."
                )
            labels = index
        else:
            labels, index = None, _localised(index, tz or clock.zone_of(calendar))
    if labels is not None:
        days = labels.to_numpy().astype("datetime64[D]")
        check_stamps(days.astype("datetime64[ns]").astype(np.int64), whose)
        stamps = clock.session_closes(str(calendar), days)
    else:
        stamps = index.tz_convert("UTC").tz_localize(None).as_unit("ns").asi8
        check_stamps(stamps, whose)
        stamps = _ends(stamps, calendar, at)
    check_stamps(stamps, whose)
    ahead = np.flatnonzero(stamps > clock.now_ns() + clock.MINUTE)
    if len(ahead):
        raise TimeError(
            f"Bars should be over, but {len(ahead)} of {len(stamps)} are known only in the future{whose}: row "
            f"{ahead[0]} at "
            f"{clock.show(int(stamps[ahead[0]]))}. Drop the bar that is still forming: df.iloc[:{ahead[0]}]."
        )
    return np.array(stamps, np.int64), calendar


def _ends(stamps: np.ndarray, calendar: str | None, at: str) -> np.ndarray:
    """Move stamps of starts to the ends of their bars, no further than the session's close."""
    if at == "start":
        ends = stamps + clock.bar_size_ns(clock.infer_bar_size(stamps))
    if calendar is None:
        return ends if at == "start" else stamps
    days = clock.local_dates(stamps + 1, calendar)
    open_days = clock.is_session(calendar, days)
    opens, closes = (np.full(len(stamps), np.iinfo(np.int64).max) for _ in range(2))
    opens[open_days] = clock.session_opens(calendar, days[open_days])
    closes[open_days] = clock.session_closes(calendar, days[open_days])
    if at == "start":
        return np.where(stamps < closes, np.minimum(ends, closes), ends)
    if (stamps == opens).any() and calendar not in ("24/7", "24/5"):
        logger.warning(
            "A bar is stamped %s, the open of its session, when none of it can be known. If stamps are the starts of "
            "bars, as yfinance's intraday stamps are, pass stamps='start'.",
            clock.show(int(stamps[stamps == opens][0])),
        )
    return stamps


def _labels_of_aware(index: Any, calendar: str | None) -> tuple[Any, str | None]:
    """Return the session labels when all stamps are local midnight, else None, and the calendar."""
    zones = [str(index.tz), *([clock.zone_of(calendar)] if calendar else []), "America/New_York"]
    for zone in dict.fromkeys(zones):
        local = index.tz_localize(None) if zone == str(index.tz) else index.tz_convert(zone).tz_localize(None)
        if (local == local.normalize()).all() and not (zone != str(index.tz) and len(local) == 1 and calendar is None):
            calendar = calendar or ("XNYS" if zone in NEW_YORK else None)
            if calendar is None:
                raise TimeError(
                    f"Stamps that are all midnight ({zone}) name sessions, and when those close depends on the "
                    "exchange. "
                    "Pass calendar=, for example 'XLON', or '24/7' for crypto."
                )
            return local, calendar
    return None, calendar


def _localised(index: Any, zone: str) -> Any:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise InputError(f"There is no time zone {zone!r}. Write it like 'America/New_York' or 'UTC'.") from error
    try:
        return index.tz_localize(zone)
    except ValueError as error:  # pandas: a time that does not exist or exists twice
        raise TimeError(
            f"Local times of {zone} should exist exactly once, but where the clocks change one does not: {error}. "
            "Use UTC stamps, or localise the index yourself and say which is meant."
        ) from error


def datetimes(index: Any) -> Any:
    """Return a DatetimeIndex; text must be ISO dates, numbers UTC ns."""
    import pandas as pd

    if isinstance(index, pd.DatetimeIndex):
        return index
    if isinstance(index, pd.PeriodIndex):
        raise TimeError("Stamps should be instants or dates; they were periods. Use df.index.to_timestamp().")
    values = np.asarray(index)
    if values.dtype.kind in "iu":
        stamps = values.astype(np.int64)
        check_stamps(stamps[:1] if len(stamps) else stamps)
        return pd.DatetimeIndex(stamps.astype("datetime64[ns]"), tz="UTC")
    if values.dtype.kind == "f":
        raise TimeError(
            f"Stamps should be dates or datetimes; they were numbers such as {values[0]}. Convert with "
            "pd.to_datetime(..., unit=...)."
        )
    texts = [isinstance(value, str) for value in values]
    if not any(texts):
        _check_one_zone(values, [_zone_of(value) for value in values])
        try:
            return pd.DatetimeIndex(pd.to_datetime(list(values), utc=any(getattr(v, "tzinfo", None) for v in values)))
        except (TypeError, ValueError) as error:
            raise TimeError(f"Stamps should be dates or datetimes; the first was {values[0]!r}. {error}") from error
    iso = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?\s*(Z|[+-]\d\d:?\d\d)?)?", re.ASCII)
    aware = []
    for row, value in enumerate(values):
        match = iso.fullmatch(value.strip()) if isinstance(value, str) else None
        if match is None:
            raise TimeError(
                f"Stamps as text should look like 2020-02-03 or 2020-02-03T16:00-05:00; row {row} is {value!r}. "
                "Convert the column with pd.to_datetime(..., format=...), which says what is day and what is month."
            )
        aware.append(match.group(4))
    _check_one_zone(values, [_Zone.of_text(text) for text in aware])
    try:
        return pd.DatetimeIndex(pd.to_datetime(list(values), format="ISO8601", utc=any(aware)))
    except (ValueError, DataError) as error:
        raise TimeError(f"Stamps should be dates that exist: {error}") from error


class _Zone(NamedTuple):
    """How a stamp says where it is: by a zone's name or by an offset alone; neither where it does not."""

    name: str | None
    offset: float | None

    @classmethod
    def of_text(cls, text: str | None) -> "_Zone":
        if not text or text == "Z":
            return cls(None, 0.0 if text else None)
        digits = text[1:].replace(":", "")
        return cls(None, (-1 if text[0] == "-" else 1) * (3600.0 * int(digits[:2]) + 60.0 * int(digits[2:])))

    def agrees(self, other: "_Zone") -> bool:
        """Same name; or offsets no more than the hour apart by which one zone's clocks change."""
        if self.offset is None or other.offset is None:
            return self.offset is other.offset
        if self.name or other.name:
            return self.name == other.name
        return abs(self.offset - other.offset) <= 3600


def _zone_of(value: Any) -> _Zone | None:
    """Return the zone of a date or datetime, None for what is no stamp."""
    if value is None or value != value:
        return None
    if getattr(value, "tzinfo", None) is None:
        return _Zone(None, None)
    name = str(value.tzinfo)
    return _Zone(None if name.startswith("UTC") else name, value.utcoffset().total_seconds())


def _check_one_zone(values: Any, zones: "list[_Zone | None]") -> None:
    """Refuse stamps of which some have a zone and some have none, and stamps of several zones."""
    places: dict[_Zone, int] = {}
    for row, zone in enumerate(zones):
        if zone is not None:
            places.setdefault(zone, row)
    kinds = list(places)
    for other in kinds[1:]:
        if not kinds[0].agrees(other):
            mixed = (kinds[0].offset is None) != (other.offset is None)
            raise TimeError(
                f"Stamps should all have {'a time zone or none' if mixed else 'the same time zone'}, but row "
                f"{places[kinds[0]]} is '{values[places[kinds[0]]]}' and row {places[other]} is "
                f"'{values[places[other]]}'. "
                + ("Add the zone where it is lacking." if mixed else "Convert them: pd.to_datetime(..., utc=True).")
            )
