"""Between pandas and Bars: columns, stamps and actions of tables as people have them.

`read_frame` turns a table into the keyword arguments of `Bars`, `to_frame` and `to_html` show bars, `read_series` reads a
series to join. pandas is imported inside, so that `import longshort` does not wait for it.
"""

import html
import logging
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from . import clock
from .errors import DataError, InputError, NotEnoughData, PriceError, TimeError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

    from .bars import Bars

logger = logging.getLogger(__name__)

PRICES = ("open", "high", "low", "close")
_TIME_COLUMNS = ("date", "datetime", "timestamp", "time")
_SYMBOL_COLUMNS = ("symbol", "ticker")
_ALIASES = {"adjclose": "adj_close", "adjusted_close": "adj_close", "vol": "volume", "stocksplits": "stock_splits"}
_SYMBOL = re.compile(r"[A-Za-z0-9^][A-Za-z0-9.^=&_:+@-]{0,63}")
_NEW_YORK = ("America/New_York", "US/Eastern", "EST5EDT")
_SIMPLE_RATIOS = np.array([2, 3, 4, 5, 6, 7, 8, 10, 15, 20, 25, 30, 50, 100, 1.5, 1.25, 4 / 3, 5 / 3, 2.5, 1.2, 1.1])


# ---------------------------------------------------------------------------------------------------------------------
# Checks shared with Bars


def check_years(stamps: np.ndarray) -> None:
    """Refuse datetimes outside 1800 .. 2200, which int64 ns can hold but markets have not."""
    if stamps.size:
        years = stamps.astype("datetime64[Y]").astype(np.int64) + 1970
        bad = np.flatnonzero((years < 1800) | (years > 2200))
        if len(bad):
            raise TimeError(
                f"Stamps should lie in 1800 .. 2200, but row {bad[0]} is in the year {years[bad[0]]}. "
                "An epoch number in another unit? Convert it with pd.to_datetime(..., unit='s') or 'ms'."
            )


def check_stamps(stamps: np.ndarray, whose: str = "") -> None:
    """Refuse stamps (int64 ns) that repeat, go back, or are epoch numbers in another unit."""
    if not len(stamps):
        return
    if stamps.min() >= 0 and stamps.max() < 10**16:  # before 1970-04-26: no data set ends there
        raise TimeError(
            f"Stamps are UTC nanoseconds, and these would all be in early 1970 (the last is {int(stamps.max())}). "
            f"{clock.unit_advice(int(stamps.max()))}"
        )
    check_years(np.array([stamps.min(), stamps.max()]).astype("datetime64[ns]"))
    steps = np.diff(stamps)
    bad = np.flatnonzero(steps <= 0)
    if len(bad):
        row = int(bad[0]) + 1
        what = "repeats the one before it" if steps[row - 1] == 0 else f"comes after {clock.show(stamps[row - 1])}"
        fix = "clean(frame, 'drop_duplicates')" if steps[row - 1] == 0 else "clean(frame, 'sort')"
        raise TimeError(
            f"Stamps should increase from row to row{whose}, but row {row} ({clock.show(stamps[row])}) {what}; "
            f"{len(bad)} rows in all. Repair knowingly: {fix}."
        )


def check_symbol(name: object) -> None:
    """Refuse names that are no ticker: empty, long, with path separators, spaces or look-alike letters."""
    if not isinstance(name, str) or not _SYMBOL.fullmatch(name) or ".." in name:
        raise InputError(
            f"A symbol should be 1 to 64 of the characters A-Z a-z 0-9 . ^ = & _ : + @ -, like 'AAPL' or 'BRK-B'; "
            f"it was {str(name)[:70]!r}. Rename the column."
        )


# ---------------------------------------------------------------------------------------------------------------------
# Table -> keyword arguments of Bars


def read_frame(
    df: "pd.DataFrame", symbol: str | None, *, tz: str | None, calendar: str | None, adjusted: str | bool | None
) -> dict[str, Any]:
    """Return time, symbols, fields, split, dividend and calendar of a table; see `Bars.from_pandas`."""
    import pandas as pd

    if not isinstance(df, pd.DataFrame):
        raise InputError(f"from_pandas needs a pandas DataFrame; it was {type(df).__name__}.")
    if not len(df):
        raise NotEnoughData("The table should have at least one row of bars; it has none.")
    mode = _adjusted_mode(adjusted)
    tables = _split_by_symbol(df, symbol)
    first = next(iter(tables.values()))
    shared = all(table.index is first.index for table in tables.values())
    read: dict[str, tuple[np.ndarray, dict[str, np.ndarray], np.ndarray, np.ndarray]] = {}
    found: str | None = calendar
    stamps: np.ndarray | None = None
    for name, table in tables.items():
        if stamps is None or not shared:
            whose = f" for {name}" if len(tables) > 1 and not shared else ""
            stamps, found = read_stamps(table.index, tz, calendar, whose)
        read[name] = (stamps, *_read_columns(table, mode, name, stamps))
    columns = list(dict.fromkeys(c for _, fields, _, _ in read.values() for c in fields))
    time = first_time if (first_time := next(iter(read.values()))[0]) is not None and shared else _union(read)
    shape = (len(time), len(read))
    fields = {column: np.full(shape, np.nan) for column in columns}
    split, dividend = np.ones(shape), np.zeros(shape)
    for j, (own, values, ratio, cash) in enumerate(read.values()):
        rows = np.searchsorted(time, own)
        for column, array in values.items():
            fields[column][rows, j] = array
        split[rows, j], dividend[rows, j] = ratio, cash
    return {
        "time": time, "symbols": tuple(read), "fields": fields, "split": split, "dividend": dividend, "calendar": found
    }  # fmt: skip


def _union(read: Mapping[str, tuple]) -> np.ndarray:
    return np.unique(np.concatenate([parts[0] for parts in read.values()]))


def _adjusted_mode(adjusted: str | bool | None) -> str | None:
    if adjusted is None or adjusted in ("raw", "split", "total"):
        return None if adjusted is None else str(adjusted)
    if isinstance(adjusted, bool):
        return "total" if adjusted else "raw"
    raise InputError(f"adjusted should be None, 'raw', 'split' or 'total'; it was {adjusted!r}.")


def _split_by_symbol(df: "pd.DataFrame", symbol: str | None) -> "dict[str, pd.DataFrame]":
    """Return one flat table with normalised column names per symbol."""
    import pandas as pd

    if isinstance(df.columns, pd.MultiIndex):
        if df.columns.nlevels != 2:
            raise InputError(
                f"A column MultiIndex should have the levels (Price, Ticker); it has {df.columns.nlevels} levels. "
                "Drop the others with df.columns.droplevel()."
            )
        level = next((k for k in (0, 1) if "close" in {_plain(c) for c in df.columns.get_level_values(k)}), None)
        if level is None:
            raise _no_close([str(c) for c in df.columns.get_level_values(0).unique()])
        names = [str(name) for name in df.columns.get_level_values(1 - level).unique()]
        tables = {name: _normalised(_cut(df, name, 1 - level)) for name in names}
        return {name: table.set_axis(df.index) for name, table in tables.items()}
    df = _normalised(df)
    df = _with_time_index(df)
    column = next((c for c in _SYMBOL_COLUMNS if c in df.columns), None)
    if column is not None:
        if df[column].isna().any():
            raise InputError(
                f"Column {column!r} should name a symbol in every row; {int(df[column].isna().sum())} are empty."
            )
        groups = df.groupby(column, sort=False)
        if symbol is not None:
            if symbol not in groups.groups:
                raise InputError(f"The table has no symbol {symbol!r}. {did_you_mean(symbol, map(str, groups.groups))}")
            return {symbol: groups.get_group(symbol).drop(columns=column)}
        return {str(name): table.drop(columns=column) for name, table in groups}
    if symbol is None:
        symbol = str(df.attrs.get("symbol", "ASSET"))
    return {symbol: df}


def _cut(df: "pd.DataFrame", name: str, level: int) -> "pd.DataFrame":
    return df.loc[:, df.columns.get_level_values(level).astype(str) == name].droplevel(level, axis=1)


def _plain(column: object) -> str:
    text = re.sub(r"[\s_-]+", "_", str(column).strip().lower())
    return _ALIASES.get(text, _ALIASES.get(text.replace("_", ""), text))


def _normalised(df: "pd.DataFrame") -> "pd.DataFrame":
    names = [_plain(column) for column in df.columns]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(
            f"Every column should appear once, but {twice[0]!r} appears {names.count(twice[0])} times. Drop one."
        )
    return df.set_axis(names, axis=1)


def _with_time_index(df: "pd.DataFrame") -> "pd.DataFrame":
    import pandas as pd

    if isinstance(df.index, pd.DatetimeIndex):
        return df
    if isinstance(df.index, pd.MultiIndex):
        df = _normalised(df.reset_index())
    column = next((c for c in _TIME_COLUMNS if c in df.columns), None)
    if column is not None and isinstance(df.index, pd.RangeIndex | pd.MultiIndex):
        return df.set_index(column)
    if isinstance(df.index, pd.RangeIndex):
        raise TimeError(
            f"Bars need a stamp per row, but the index is 0 .. {len(df) - 1} and no column is named "
            f"{', '.join(_TIME_COLUMNS)}. Use df.set_index(...) on the column that holds the dates."
        )
    return df


def _no_close(columns: Sequence[str]) -> InputError:
    return InputError(
        f"Bars need a column 'close' (and open, high, low, volume where known); the columns are "
        f"{', '.join(map(repr, columns[:12])) or 'none'}. {did_you_mean('close', columns)}"
    )


def _read_columns(
    table: "pd.DataFrame", mode: str | None, name: str, stamps: np.ndarray
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Return fields, split ratios and dividends of one symbol's flat table."""
    if "close" not in table.columns:
        raise _no_close([str(c) for c in table.columns])
    columns: dict[str, np.ndarray] = {}
    ignored = []
    for column in table.columns:
        known = column in (
            *PRICES,
            "volume",
            "adj_close",
            "dividends",
            "stock_splits",
            "split",
            "dividend",
            "capital_gains",
        )
        values = _numbers(table[column], column, name, needed=known)
        if values is None:
            ignored.append(column)
        else:
            columns[column] = values
    if ignored:
        logger.info("%s: columns without numbers are ignored: %s", name, ", ".join(map(repr, ignored)))
    n = len(table)
    adj = columns.pop("adj_close", None)
    yahoo = [columns.pop(key, None) for key in ("stock_splits", "dividends")]
    columns.pop("capital_gains", None)
    own = [columns.pop(key, None) for key in ("split", "dividend")]
    if mode is None:
        said = any(a is not None for a in own)
        mode = (
            "raw" if said else "split?" if adj is not None else "total" if any(a is not None for a in yahoo) else "raw"
        )
    split, dividend = np.ones(n), np.zeros(n)
    if mode != "total":
        ratio, cash = (a if a is not None else b for a, b in zip(own, yahoo, strict=True))
        if ratio is not None and mode == "raw":
            split = np.where(np.isnan(ratio) | (ratio == 0), 1.0, ratio)
        if cash is not None:
            dividend = np.where(np.isnan(cash), 0.0, cash)
        elif adj is not None:
            found, dividend = actions_from_adjusted(columns["close"], adj, name, stamps, splits=mode != "split")
            split = split if ratio is not None and mode == "raw" else found
    return columns, split, dividend


def _numbers(series: "pd.Series", column: str, name: str, needed: bool) -> np.ndarray | None:
    """Return a column as float64; a needed one that does not hold numbers is refused with its first bad cell."""
    import pandas as pd

    kind = series.dtype
    if pd.api.types.is_bool_dtype(kind) or kind == np.float16 or pd.api.types.is_complex_dtype(kind):
        if needed:
            raise PriceError(
                f"Column {column!r} of {name} should hold numbers (float64 or integers); its type was {kind}."
            )
        return None
    if pd.api.types.is_numeric_dtype(kind):
        return series.to_numpy(dtype=np.float64, na_value=np.nan)
    if not needed:
        return None
    for row, value in enumerate(series):
        if not isinstance(value, int | float | np.integer | np.floating) or isinstance(value, bool):
            if value is None:
                continue
            raise PriceError(
                f"Column {column!r} of {name} should hold numbers, but row {row} ({series.index[row]}) is {value!r} "
                f"({type(value).__name__}). Convert the column first, for example with pd.to_numeric."
            )
    raise PriceError(
        f"Column {column!r} of {name} holds numbers as objects. Convert it with df[{column!r}].astype(float)."
    )


def actions_from_adjusted(
    close: np.ndarray, adj: np.ndarray, name: str, stamps: np.ndarray, splits: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Read splits and dividends from the steps of adjusted close / close.

    On the first bar after an action the ratio rises by the factor f by which the earlier past was scaled down. A step to
    a simple ratio (2, 3/2, 7, 1/20, ...) that the price makes in the other direction is a split, any other a dividend of
    (previous close) x (1 - 1/f). Steps within the rounding of the adjusted prices are none.
    """
    split, dividend = np.ones(len(close)), np.zeros(len(close))
    known = np.flatnonzero(np.isfinite(close) & np.isfinite(adj) & (adj > 0) & (close > 0))
    if len(known) < 2:
        return split, dividend
    c, a = close[known], adj[known]
    digits = next((d for d in (2, 3, 4, 5, 6) if np.abs(a - np.round(a, d)).max() < 1e-9), None)
    noise = 3e-6 + (2 * 0.5 * 10.0**-digits * (1 / a[1:] + 1 / a[:-1]) if digits is not None else 0.0)
    step = (a[1:] / c[1:]) / (a[:-1] / c[:-1])
    for k in np.flatnonzero(np.abs(step - 1) > noise):
        row, f = int(known[k + 1]), float(step[k])
        near = _SIMPLE_RATIOS[np.argmin(np.abs(np.log(_SIMPLE_RATIOS) - abs(np.log(f))))]
        ratio = float(near if f > 1 else 1 / near)
        moved = np.log(c[k + 1] / c[k])
        if splits and abs(f / ratio - 1) < 0.02 and abs(moved + np.log(ratio)) < abs(moved):
            split[row] = ratio
            f /= ratio
            if abs(f - 1) <= max(3e-3, float(np.max(noise))):
                continue
        if f < 1:
            raise PriceError(
                f"Adjusted close / close should only rise at dividends, but for {name} it falls by {1 - f:.3%} on "
                f"{clock.show(stamps[row])[:10]}. Drop the column 'Adj Close', or pass adjusted='total' if close is adjusted."
            )
        dividend[row] = c[k] / split[row] * (1 - 1 / f)
    return split, dividend


# ---------------------------------------------------------------------------------------------------------------------
# Stamps


def read_stamps(index: Any, tz: str | None, calendar: str | None, whose: str = "") -> tuple[np.ndarray, str | None]:
    """Return stamps (int64 ns) and the calendar, by the rules of `Bars.from_pandas`."""

    index = _datetimes(index)
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
                f"Stamps should say which time zone they are in, but {index[0]} does not. Pass calendar='XNYS' if they are "
                "New York sessions, or tz='America/New_York' (or 'UTC', ...) if they are instants."
            )
        if (index == index.normalize()).all():
            calendar = calendar or ("XNYS" if tz in _NEW_YORK else None)
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
    ahead = np.flatnonzero(stamps > clock.now_ns() + clock.MINUTE)
    if len(ahead):
        raise TimeError(
            f"Bars should be over, but {len(ahead)} of {len(stamps)} are known only in the future{whose}: row {ahead[0]} at "
            f"{clock.show(stamps[ahead[0]])}. Drop the bar that is still forming: df.iloc[:{ahead[0]}]."
        )
    return np.array(stamps, np.int64), calendar


def _labels_of_aware(index: Any, calendar: str | None) -> tuple[Any, str | None]:
    """Return the session labels when all stamps are local midnight, else None, and the calendar."""
    zones = [str(index.tz), *([clock.zone_of(calendar)] if calendar else []), "America/New_York"]
    for zone in dict.fromkeys(zones):
        local = index.tz_localize(None) if zone == str(index.tz) else index.tz_convert(zone).tz_localize(None)
        if (local == local.normalize()).all() and not (
            zone == "America/New_York" and len(local) == 1 and calendar is None
        ):
            calendar = calendar or ("XNYS" if zone in _NEW_YORK else None)
            if calendar is None:
                raise TimeError(
                    f"Stamps that are all midnight ({zone}) name sessions, and when those close depends on the exchange. "
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


def _datetimes(index: Any) -> Any:
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
            f"Stamps should be dates or datetimes; they were numbers such as {values[0]}. Convert with pd.to_datetime(..., unit=...)."
        )
    texts = [isinstance(value, str) for value in values]
    if not any(texts):
        try:
            return pd.DatetimeIndex(pd.to_datetime(list(values), utc=any(getattr(v, "tzinfo", None) for v in values)))
        except (TypeError, ValueError) as error:
            raise TimeError(f"Stamps should be dates or datetimes; the first was {values[0]!r}. {error}") from error
    iso = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?\s*(Z|[+-]\d\d:?\d\d)?)?")
    aware = []
    for row, value in enumerate(values):
        match = iso.fullmatch(value.strip()) if isinstance(value, str) else None
        if match is None:
            raise TimeError(
                f"Stamps as text should look like 2020-02-03 or 2020-02-03T16:00-05:00; row {row} is {value!r}. "
                "Convert the column with pd.to_datetime(..., format=...), which says what is day and what is month."
            )
        aware.append(bool(match.group(4)))
    if any(aware) and not all(aware):
        row = aware.index(not aware[0])
        raise TimeError(
            f"Stamps should all have a time zone or none, but row 0 is {values[0]!r} and row {row} is {values[row]!r}. "
            "Add the offset where it is lacking."
        )
    try:
        return pd.DatetimeIndex(pd.to_datetime(list(values), format="ISO8601", utc=any(aware)))
    except (ValueError, DataError) as error:
        raise TimeError(f"Stamps should be dates that exist: {error}") from error


# ---------------------------------------------------------------------------------------------------------------------
# Series to join


def read_series(
    series: Any, available_at: Any, name: str | None, symbols: tuple[str, ...]
) -> tuple[str, np.ndarray, np.ndarray]:
    """Return name, moments of availability (int64 ns) and values (n, 1) or (n, n_symbols) of a series to join."""
    import pandas as pd

    if hasattr(series, "adjusted") and hasattr(series, "time"):  # Bars know when they were known
        if len(series.symbols) != 1 and tuple(series.symbols) != symbols:
            raise InputError(
                f"Bars that are joined need one symbol or ours; they have {len(series.symbols)}. Use .select(symbol)."
            )
        label = name or series.symbols[0].lower().strip("^")
        return label, series.time if available_at is None else _moments(available_at, len(series)), series["close"]
    if available_at is None:
        raise TimeError(
            "join needs to know when each value became known: available_at='index', 'index + 2h', a column of publication "
            "times, or an array of stamps. The date a number is about is not the moment it was published."
        )
    if not isinstance(series, pd.Series | pd.DataFrame):
        values = np.asarray(series)
        series = pd.Series(values) if values.ndim == 1 else pd.DataFrame(values)
    moments = _availability(series, available_at)
    if isinstance(series, pd.DataFrame):
        if isinstance(available_at, str) and available_at in series.columns:
            series = series.drop(columns=available_at)
        names = [str(column) for column in series.columns]
        if len(names) > 1 and sorted(names) != sorted(symbols):
            raise InputError(
                f"A joined table needs one column of values, or one per symbol ({', '.join(symbols[:6])}); it has {names[:6]}. "
                "Join the columns one by one, each under its name."
            )
        block = series if len(names) == 1 else series.set_axis(names, axis=1)[list(symbols)]
        label = name or (names[0] if len(names) == 1 else "")
        columns = [
            _numbers(block.iloc[:, k], str(block.columns[k]), "the series", needed=True) for k in range(block.shape[1])
        ]
    else:
        label = name or str(series.name or "")
        columns = [_numbers(series, label or "values", "the series", needed=True)]
    if not label:
        raise InputError("The joined series needs a name to be a field. Pass name=.")
    return label, moments, np.column_stack([column for column in columns if column is not None])


def _availability(series: Any, available_at: Any) -> np.ndarray:
    import pandas as pd

    if isinstance(available_at, str):
        if isinstance(series, pd.DataFrame) and available_at in series.columns:
            return _moments(series[available_at], len(series))
        match = re.fullmatch(r"index\s*(?:\+\s*(\d+)\s*(D|h|m|s))?", available_at.strip())
        if match is None:
            raise InputError(f"available_at should be 'index', 'index + 2h' or a column; it was {available_at!r}.")
        unit = {"D": clock.DAY, "h": clock.HOUR, "m": clock.MINUTE, "s": clock.SECOND}[match.group(2) or "s"]
        return _moments(series.index, len(series)) + int(match.group(1) or 0) * unit
    return _moments(available_at, len(series))


def _moments(stamps: Any, n: int) -> np.ndarray:
    import pandas as pd

    index = stamps.to_numpy() if isinstance(stamps, np.ndarray) and stamps.dtype.kind == "M" else stamps
    if isinstance(index, np.ndarray) and index.dtype.kind == "M":
        index = pd.DatetimeIndex(index).tz_localize("UTC")  # numpy datetimes are UTC by convention
    elif not isinstance(index, pd.DatetimeIndex):
        index = _datetimes(
            pd.DatetimeIndex(index) if isinstance(index, pd.Series) and index.dtype.kind == "M" else pd.Index(index)
        )
    if index.tz is None:
        raise TimeError(
            f"available_at should say which time zone it is in, but its first stamp is {index[0] if len(index) else 'none'}. "
            "Use .tz_localize('America/New_York') (or 'UTC', ...) first."
        )
    if len(index) != n:
        raise InputError(f"available_at should have a stamp per value: {n} values, {len(index)} stamps.")
    if index.hasnans:
        raise TimeError(
            f"available_at should be known for every value, but value {int(np.flatnonzero(index.isna())[0])} has none."
        )
    return index.tz_convert("UTC").tz_localize(None).as_unit("ns").asi8


# ---------------------------------------------------------------------------------------------------------------------
# Bars -> people


def to_frame(bars: "Bars", adjust: str | None) -> "pd.DataFrame":
    """Return a DataFrame; see `Bars.to_pandas`."""
    import pandas as pd

    if adjust not in (None, "forward", "split", "total"):
        raise InputError(f"adjust should be None, 'forward', 'split' or 'total'; it was {adjust!r}.")
    columns: dict[str, np.ndarray] = {}
    for field in bars.fields:
        columns[field] = _adjusted_view(bars, field, adjust)
    if adjust is None:
        if (bars.split != 1).any():
            columns["split"] = bars.split
        if (bars.dividend != 0).any():
            columns["dividend"] = bars.dividend
    index = pd.DatetimeIndex(bars.time.astype("datetime64[ns]"), tz="UTC", name="time")
    if len(bars.symbols) == 1:
        frame = pd.DataFrame({field: array[:, 0] for field, array in columns.items()}, index=index)
        frame.attrs["symbol"] = bars.symbols[0]
        return frame
    labels = pd.MultiIndex.from_product([columns, bars.symbols], names=["field", "symbol"])
    return pd.DataFrame(np.hstack(list(columns.values())), index=index, columns=labels)


def _adjusted_view(bars: "Bars", field: str, adjust: str | None) -> np.ndarray:
    if adjust is None or field not in (*PRICES, "volume") or not len(bars):
        return bars[field]
    if adjust == "forward":
        return bars.adjusted(field)
    if field == "volume":
        return bars.adjusted(field) * bars.split_factor[-1]
    factor = bars.factor if adjust == "total" else bars.split_factor
    return bars[field] * (factor / factor[-1])


def to_html(bars: "Bars") -> str:
    """Return a small table for notebooks: first and last rows, and what is lacking."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in ("", "symbol", *bars.fields))
    n = len(bars)
    rows = list(range(n)) if n <= 6 else [0, 1, 2, n - 3, n - 2, n - 1]
    body = ""
    for place, i in enumerate(rows):
        if place == 3 and n > 6:
            body += f"<tr><td colspan='{len(bars.fields) + 2}'>&#8942;</td></tr>"
        for j, symbol in enumerate(bars.symbols[:4]):
            cells = "".join(f"<td>{bars[name][i, j]:,.6g}</td>" for name in bars.fields)
            body += f"<tr><td>{bars.dates[i]}</td><td>{html.escape(symbol)}</td>{cells}</tr>"
    return (
        f"<div><p><code>{html.escape(repr(bars))}</code></p>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )
