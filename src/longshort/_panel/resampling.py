"""Longer bars from shorter ones, emitted when they are complete; see `Bars.resample`."""

from typing import Any

import numpy as np

from .. import clock
from ..errors import InputError, NotEnoughData
from .arrays import PRICE_FIELDS, State


def resample(bars: Any, size: str) -> Any:
    wanted = clock.bar_size_ns(size)
    if wanted < clock.bar_size_ns(bars.bar_size):
        raise InputError(f"resample makes longer bars; these are {bars.bar_size} and {size} was asked for.")
    if size == bars.bar_size:
        return bars
    if not len(bars):
        return bars._replace(bar_size=size)
    ends = _ends_by_session(bars, size) if size in ("1D", "1W", "1M") else _ends_in_session(bars, wanted)
    starts = np.flatnonzero(np.r_[True, ends[1:] != ends[:-1]])
    stops = np.r_[starts[1:], len(ends)]
    keep = ends[starts] <= bars.time[-1]  # a bar that is not over yet is not shown
    starts, stops = starts[keep], stops[keep]
    if not len(starts):
        raise NotEnoughData(
            f"There should be at least one whole bar of {size}, but the data end at {clock.show(bars.time[-1])} before "
            "it is over."
        )
    parts = [_merge(bars, a, b) for a, b in zip(starts, stops, strict=True)]
    arrays = {name: np.stack([part[name] for part in parts]) for name in parts[0]}
    state = arrays.pop("state").astype(np.uint8)
    return bars._replace(
        time=ends[starts],
        bar_size=size,
        state=state,
        split=arrays.pop("split"),
        dividend=arrays.pop("dividend"),
        fields=arrays,
    )


def _ends_by_session(bars: Any, size: str) -> np.ndarray:
    """Return the scheduled end of the session, week or month that each row belongs to."""
    if bars.calendar is None:
        raise InputError(
            f"Resampling to {size} needs to know the sessions. Make the bars with calendar='XNYS' (or '24/7')."
        )
    dates = bars.dates
    if size == "1D":
        last_day = first_day = dates
    elif size == "1W":
        first_day = dates - (dates.astype(np.int64) + 3) % 7  # 1970-01-01 was a Thursday
        last_day = first_day + 6
    else:
        first_day = dates.astype("datetime64[M]").astype("datetime64[D]")
        last_day = (dates.astype("datetime64[M]") + 1).astype("datetime64[D]") - 1
    known = clock.sessions(bars.calendar, first_day[0], last_day[-1])
    last_session = known[np.searchsorted(known, last_day, side="right") - 1]
    return clock.session_closes(bars.calendar, last_session)


def _ends_in_session(bars: Any, length: int) -> np.ndarray:
    """Return the end of the slot each row belongs to, slots counted from the open and cut at the close."""
    if clock.bar_size_ns(bars.bar_size) and length % clock.bar_size_ns(bars.bar_size):
        raise InputError(f"A longer bar should be a multiple of {bars.bar_size}; {length // clock.SECOND} s is not.")
    if bars.calendar is None or bars.calendar in ("24/7", "24/5"):
        return -(-bars.time // length) * length
    days = bars.dates
    opens, closes = clock.session_opens(bars.calendar, days), clock.session_closes(bars.calendar, days)
    ends = opens - (-(bars.time - opens) // length) * length
    inside = (bars.time > opens) & (bars.time <= closes)
    return np.where(inside, np.minimum(ends, closes), ends)


def _merge(bars: Any, start: int, stop: int) -> dict[str, np.ndarray]:
    """Make one bar of rows start .. stop, in the share units of its end."""
    split = bars.split[start:stop]
    later = np.cumprod(split[::-1], axis=0)[::-1] / split  # splits after each row, inside the bar
    ok = bars.state[start:stop] == State.OK
    out: dict[str, np.ndarray] = {}
    for name in bars.fields:
        values = bars[name][start:stop]
        if name in PRICE_FIELDS:
            values = values / later
        elif name == "volume":
            values = values * later
        known = ~np.isnan(values)
        some = known.any(axis=0)
        if name == "high":
            merged = np.where(known, values, -np.inf).max(axis=0)
        elif name == "low":
            merged = np.where(known, values, np.inf).min(axis=0)
        elif name == "volume":
            merged = np.where(known, values, 0.0).sum(axis=0)
        else:
            pick = known.argmax(axis=0) if name == "open" else len(values) - 1 - known[::-1].argmax(axis=0)
            merged = values[pick, np.arange(values.shape[1])]
        out[name] = np.where(some, merged, np.nan)
    out["split"] = np.prod(split, axis=0)
    out["dividend"] = (bars.dividend[start:stop] / later).sum(axis=0)
    out["state"] = np.where(ok.any(axis=0), State.OK, bars.state[stop - 1])
    return out
