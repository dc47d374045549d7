"""Repairs of market data: only those asked for, each one recorded, none that knows the future.

=====================  =================================================================================================
repair                 what it does
=====================  =================================================================================================
sort                   puts rows in order of time (tables)
drop_duplicates        drops rows that repeat an earlier one with the same values (tables)
keep_last              of rows with the same stamp keeps the last one (tables)
drop_closed            drops rows on weekends and holidays of the calendar (tables)
drop_nan               drops rows with a price missing (tables); marks such bars missing (bars)
mask_not_positive      marks bars with a price of zero or less missing; volume below zero becomes NaN
mask_ohlc              marks bars missing whose high or low does not enclose open and close
mask_outliers          marks bars missing whose close moves more than `limit` (log) against the last accepted one, until
                       `confirm` bars in a row agree on the new level
mask_volume            makes volumes NaN that are over 100 times the median of the 60 before
mask                   marks the bars in `cells` missing: pairs of symbol and date, or issues of a report
add_split              adds the splits in `splits`: (symbol, date) -> ratio
=====================  =================================================================================================

Nothing is filled in or interpolated: a value between two known ones needs the second, which lies in the future.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import clock
from ..bars import PRICE_FIELDS, Bars, State
from ..errors import InputError, TimeError, UnknownName, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Repair:
    """One change: which cell or row, what it was, what it is now (NaN: missing, dropped).

    Examples
    --------
    >>> Repair("mask_ohlc", "SPG", "2014-05-28", 325, "bar", 165.42, float("nan")).to_dict()["now"] is None
    True
    """

    kind: str
    symbol: str
    date: str
    row: int
    field: str
    was: float
    now: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; NaN becomes None."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: None if value != value else value for name, value in values.items()}


class Cleaned(NamedTuple):
    """What `clean` returns: the repaired data and the list of repairs.

    Examples
    --------
    >>> data, repairs = Cleaned("bars", ())
    >>> len(repairs)
    0
    """

    data: Any
    repairs: tuple[Repair, ...]


def clean(
    data: "Bars | pd.DataFrame",
    *repairs: str,
    calendar: str | None = None,
    limit: float = 0.5,
    confirm: int = 3,
    cells: Iterable[Any] = (),
    splits: Mapping[tuple[str, str], float] | None = None,
) -> Cleaned:
    """Repair bars or a table in the ways that are named, in that order, and in no other.

    Parameters
    ----------
    data : Bars or DataFrame
        Left unchanged.
    *repairs : str
        Names from the table of this module.
    calendar : str, optional
        For "drop_closed".
    limit : float, default=0.5
        For "mask_outliers": the largest believable log move of a close; 0.5 is -39 % or +65 %.
    confirm : int, default=3
        For "mask_outliers": bars after which a new level is believed.
    cells : iterable
        For "mask": (symbol, date) pairs or issues of a report.
    splits : mapping of (symbol, date) to float, optional
        For "add_split": 2.0 where one share became two.

    Returns
    -------
    Cleaned
        `data` and `repairs`; unpack it.

    Notes
    -----
    Look-ahead: whether a bar is repaired depends on it and the bars before it only, so cleaning a longer history
    changes no earlier row. What you list in `cells` and `splits` is your own knowledge of the data.

    Examples
    --------
    >>> from longshort import load_bars
    >>> goog = load_bars("GOOG", start="2014-04-01", end="2014-04-04", source="sample")
    >>> fixed, repairs = clean(goog, "add_split", splits={("GOOG", "2014-04-03"): 2.0})
    >>> [(r.symbol, r.date, r.field, r.was, r.now) for r in repairs]
    [('GOOG', '2014-04-03', 'split', 1.0, 2.0)]
    >>> np.diff(np.log(fixed.adjusted("close")[:, 0])).round(3).tolist()
    [0.0, 0.004, -0.048]
    """
    if not repairs:
        raise InputError(f"clean does what it is told: name a repair. Known: {', '.join(sorted({*_TABLE, *_BARS}))}.")
    options = {"calendar": calendar, "limit": limit, "confirm": confirm, "cells": list(cells), "splits": splits or {}}
    known = _BARS if isinstance(data, Bars) else _TABLE
    record: list[Repair] = []
    for name in repairs:
        if name not in known:
            kind = "bars" if isinstance(data, Bars) else "a table"
            raise UnknownName(f"clean knows no repair {name!r} for {kind}. {did_you_mean(name, known)}")
        data = known[name](data, options, record)
    for repair in record[:5]:
        logger.info("repaired: %s", repair)
    return Cleaned(data, tuple(record))


# ---------------------------------------------------------------------------------------------------------------------
# Bars


def _masked(bars: Bars, bad: np.ndarray, kind: str, record: list[Repair]) -> Bars:
    """Return bars with some cells marked missing, recording what was there."""
    if not bad.any():
        return bars
    arrays = {name: np.array(bars[name]) for name in bars.fields}
    state = np.array(bars.state)
    for i, j in np.argwhere(bad):
        close = float(bars["close"][i, j]) if "close" in bars else np.nan
        record.append(Repair(kind, bars.symbols[j], str(bars.dates[i]), int(i), "bar", close, np.nan))
    for name in (*PRICE_FIELDS, "volume"):
        if name in arrays:
            arrays[name][bad] = np.nan
    state[bad] = State.MISSING
    return _with(bars, arrays, state=state)


def _with(bars: Bars, fields: Mapping[str, np.ndarray], **changes: Any) -> Bars:
    parts = {name: getattr(bars, name) for name in ("split", "dividend", "state", "calendar", "bar_size")}
    source = bars.source if bars.source.endswith(", cleaned") else bars.source + ", cleaned"
    return Bars(bars.time, bars.symbols, fields, **{**parts, "source": source, **changes})


def _price_fields(bars: Bars) -> dict[str, np.ndarray]:
    return {name: bars[name] for name in PRICE_FIELDS if name in bars}


def _drop_nan_bars(bars: Bars, options: dict[str, Any], record: list[Repair]) -> Bars:
    some = np.zeros(bars.shape, bool)
    every = np.ones(bars.shape, bool)
    for values in _price_fields(bars).values():
        some |= np.isnan(values)
        every &= np.isnan(values)
    return _masked(bars, some & ~every, "drop_nan", record)


def _mask_ohlc(bars: Bars, options: dict[str, Any], record: list[Repair]) -> Bars:
    prices = _price_fields(bars)
    bad = np.zeros(bars.shape, bool)
    with np.errstate(invalid="ignore"):
        for name in ("open", "close", "low"):
            if name in prices and "high" in prices:
                bad |= prices["high"] < prices[name] * (1 - 1e-6)
        for name in ("open", "close", "high"):
            if name in prices and "low" in prices:
                bad |= prices["low"] > prices[name] * (1 + 1e-6)
    return _masked(bars, bad, "mask_ohlc", record)


def _mask_outliers(bars: Bars, options: dict[str, Any], record: list[Repair]) -> Bars:
    limit, confirm = options["limit"], options["confirm"]
    if not limit > 0 or confirm < 1:
        raise InputError(f"mask_outliers needs limit > 0 and confirm >= 1; they were {limit} and {confirm}.")
    bad = np.zeros(bars.shape, bool)
    logs = np.log(bars["close"] * bars.split_factor)
    for j in range(len(bars.symbols)):
        last, waiting = np.nan, []
        for i in np.flatnonzero(~np.isnan(logs[:, j])):
            value = logs[i, j]
            if np.isnan(last) or abs(value - last) <= limit:
                last, waiting = value, []
                continue
            waiting = [*(w for w in waiting if abs(w - value) <= limit), value]
            if len(waiting) >= confirm:  # the new level is real: believe it from here on
                last, waiting = value, []
            else:
                bad[i, j] = True
    return _masked(bars, bad, "mask_outliers", record)


def _mask_volume(bars: Bars, options: dict[str, Any], record: list[Repair]) -> Bars:
    if "volume" not in bars:
        return bars
    volume = np.array(bars["volume"])
    share = bars.adjusted("volume")
    for j in range(len(bars.symbols)):
        accepted: list[float] = []
        for i in np.flatnonzero(~np.isnan(share[:, j])):
            before = accepted[-60:]
            large = len(before) >= 10 and share[i, j] > 100 * min(before)  # else it cannot be over the median either
            if large and share[i, j] > 100 * float(np.median(before)) > 0:
                date = str(bars.dates[i])
                record.append(
                    Repair("mask_volume", bars.symbols[j], date, int(i), "volume", float(volume[i, j]), np.nan)
                )
                volume[i, j] = np.nan
            else:
                accepted.append(float(share[i, j]))
    return _with(bars, {name: volume if name == "volume" else bars[name] for name in bars.fields})


def _mask_cells(bars: Bars, options: dict[str, Any], record: list[Repair]) -> Bars:
    bad = np.zeros(bars.shape, bool)
    for symbol, date in _cells(options["cells"]):
        i, j = _place(bars, symbol, date)
        bad[i, j] = True
    return _masked(bars, bad, "mask", record)


def _cells(cells: list[Any]) -> Iterator[tuple[str, str]]:
    for cell in cells:
        if hasattr(cell, "dates") and hasattr(cell, "symbol"):
            yield from ((cell.symbol, date) for date in cell.dates)
        else:
            symbol, date = cell
            yield str(symbol), str(date)


def _place(bars: Bars, symbol: str, date: str) -> tuple[int, int]:
    if symbol not in bars.symbols:
        raise UnknownName(f"The bars have no symbol {symbol!r}. {did_you_mean(symbol, bars.symbols)}")
    day = clock.as_date(date)
    rows = np.flatnonzero(bars.dates == day)
    if not len(rows):
        raise TimeError(f"The bars have no row on {day}; they reach from {bars.dates[0]} to {bars.dates[-1]}.")
    return int(rows[0]), bars.symbols.index(symbol)


def _add_split(bars: Bars, options: dict[str, Any], record: list[Repair]) -> Bars:
    split = np.array(bars.split)
    for (symbol, date), ratio in options["splits"].items():
        if not (isinstance(ratio, int | float) and 0 < ratio < np.inf):
            raise InputError(f"A split is a positive ratio, 2.0 where one share became two; it was {ratio!r}.")
        i, j = _place(bars, symbol, date)
        record.append(Repair("add_split", symbol, str(bars.dates[i]), i, "split", float(split[i, j]), float(ratio)))
        split[i, j] = ratio
    return _with(bars, {name: bars[name] for name in bars.fields}, split=split)


# ---------------------------------------------------------------------------------------------------------------------
# Tables


class _Columns(NamedTuple):
    frame: Any
    stamps: np.ndarray  # datetime64
    symbols: np.ndarray  # of each row
    names: dict[str, Any]  # normalised name -> column


def _columns(frame: Any) -> _Columns:
    import pandas as pd

    from .._panel.frames import plain_name
    from .._panel.stamps import datetimes

    if not isinstance(frame, pd.DataFrame):
        raise InputError(f"clean needs Bars or a DataFrame; it was {type(frame).__name__}.")
    if frame.columns.nlevels != 1:
        raise InputError("clean repairs flat and long tables; make Bars of this one with Bars.from_pandas first.")
    names = {plain_name(column): column for column in frame.columns}
    time = next((names[name] for name in ("date", "datetime", "timestamp", "time") if name in names), None)
    index = datetimes(frame.index if time is None else pd.Index(frame[time]))
    stamps = (index.tz_localize(None) if index.tz is not None else index).to_numpy()
    who = next((names[name] for name in ("symbol", "ticker") if name in names), None)
    symbols = np.full(len(frame), "", object) if who is None else frame[who].astype(str).to_numpy(object)
    return _Columns(frame, stamps, symbols, names)


def _drop(table: _Columns, bad: np.ndarray, kind: str, record: list[Repair]) -> Any:
    close = table.names.get("close")
    for i in np.flatnonzero(bad):
        was = table.frame[close].iloc[i] if close is not None else np.nan
        was = float(was) if isinstance(was, int | float | np.number) else np.nan
        record.append(Repair(kind, str(table.symbols[i]), str(table.stamps[i])[:10], int(i), "row", was, np.nan))
    return table.frame[~bad]


def _sort(frame: Any, options: dict[str, Any], record: list[Repair]) -> Any:
    table = _columns(frame)
    first = {symbol: place for place, symbol in reversed(list(enumerate(table.symbols)))}
    places = np.array([first[s] for s in table.symbols])
    order = np.lexsort((np.arange(len(frame)), table.stamps.astype(np.int64), places))
    for place in np.flatnonzero(order != np.arange(len(frame))):
        i = int(order[place])
        day = str(table.stamps[i])[:10]
        record.append(Repair("sort", str(table.symbols[i]), day, i, "row", float(i), float(place)))
    return frame.iloc[order]


def _drop_duplicates(frame: Any, options: dict[str, Any], record: list[Repair]) -> Any:
    import pandas as pd

    table = _columns(frame)
    keyed = frame.reset_index(drop=True).assign(**{"__stamp": table.stamps, "__symbol": table.symbols})
    return _drop(table, pd.DataFrame(keyed).duplicated(keep="first").to_numpy(), "drop_duplicates", record)


def _keep_last(frame: Any, options: dict[str, Any], record: list[Repair]) -> Any:
    import pandas as pd

    table = _columns(frame)
    keys = pd.DataFrame({"stamp": table.stamps, "symbol": table.symbols})
    return _drop(table, keys.duplicated(keep="last").to_numpy(), "keep_last", record)


def _drop_closed(frame: Any, options: dict[str, Any], record: list[Repair]) -> Any:
    if options["calendar"] is None:
        raise InputError("drop_closed needs to know the exchange: clean(frame, 'drop_closed', calendar='XNYS').")
    table = _columns(frame)
    days = table.stamps.astype("datetime64[D]")
    return _drop(table, ~clock.is_session(options["calendar"], days), "drop_closed", record)


def _drop_nan_rows(frame: Any, options: dict[str, Any], record: list[Repair]) -> Any:
    table = _columns(frame)
    prices = [table.names[name] for name in PRICE_FIELDS if name in table.names]
    return _drop(table, frame[prices].isna().any(axis=1).to_numpy(), "drop_nan", record)


def _mask_not_positive(frame: Any, options: dict[str, Any], record: list[Repair]) -> Any:
    table = _columns(frame)
    out = frame.copy()
    for name in (*PRICE_FIELDS, "volume"):
        if name not in table.names:
            continue
        column = table.names[name]
        values = frame[column].to_numpy(np.float64, na_value=np.nan)
        bad = values < 0 if name == "volume" else values <= 0
        for i in np.flatnonzero(bad):
            day = str(table.stamps[i])[:10]
            record.append(
                Repair("mask_not_positive", str(table.symbols[i]), day, int(i), name, float(values[i]), np.nan)
            )
        if bad.any():
            out[column] = np.where(bad, np.nan, values)
    return out


_Step = Callable[[Any, dict[str, Any], list[Repair]], Any]
_BARS: dict[str, _Step] = {
    "add_split": _add_split,
    "drop_nan": _drop_nan_bars,
    "mask": _mask_cells,
    "mask_ohlc": _mask_ohlc,
    "mask_outliers": _mask_outliers,
    "mask_volume": _mask_volume,
}
_TABLE: dict[str, _Step] = {
    "drop_closed": _drop_closed,
    "drop_duplicates": _drop_duplicates,
    "drop_nan": _drop_nan_rows,
    "keep_last": _keep_last,
    "mask_not_positive": _mask_not_positive,
    "sort": _sort,
}
