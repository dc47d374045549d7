"""Tables as people have them: columns, symbols and actions of a DataFrame become the arguments of Bars."""

import logging
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError, NotEnoughData, PriceError, TimeError, did_you_mean
from .actions import actions_from_adjusted
from .arrays import PRICE_FIELDS
from .sessions import absent_sessions, check_gaps, tell_of_absent
from .stamps import read_stamps

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

_TIME_COLUMNS = ("date", "datetime", "timestamp", "time")
_SYMBOL_COLUMNS = ("symbol", "ticker")
_ALIASES = {"adjclose": "adj_close", "adjusted_close": "adj_close", "vol": "volume", "stocksplits": "stock_splits"}


def read_frame(
    df: "pd.DataFrame",
    symbol: str | None,
    *,
    tz: str | None,
    calendar: str | None,
    adjusted: str | bool | None,
    stamps_at: str = "end",
    bar_size: str | None = None,
    gaps: str = "missing",
) -> dict[str, Any]:
    """Return time, symbols, fields, split, dividend and calendar of a table; see `Bars.from_pandas`."""
    import pandas as pd

    if not isinstance(df, pd.DataFrame):
        raise InputError(f"from_pandas needs a pandas DataFrame; it was {type(df).__name__}.")
    if not len(df):
        raise NotEnoughData("The table should have at least one row of bars; it has none.")
    check_gaps(gaps)
    mode = _adjusted_mode(adjusted)
    tables = split_by_symbol(df, symbol)
    first = next(iter(tables.values()))
    shared = all(table.index is first.index for table in tables.values())
    read: dict[str, tuple[np.ndarray, dict[str, np.ndarray], np.ndarray, np.ndarray]] = {}
    found: str | None = calendar
    stamps: np.ndarray | None = None
    for name, table in tables.items():
        if stamps is None or not shared:
            whose = f" for {name}" if len(tables) > 1 and not shared else ""
            stamps, found = read_stamps(table.index, tz, calendar, whose, stamps_at)
        read[name] = (stamps, *_read_columns(table, mode, name, stamps))
    columns = list(dict.fromkeys(c for _, fields, _, _ in read.values() for c in fields))
    time = first_time if (first_time := next(iter(read.values()))[0]) is not None and shared else _union(read)
    if found is not None and gaps == "missing" and bar_size in (None, "1D"):
        absent = absent_sessions(time, found)
        if len(absent):
            tell_of_absent(absent, found)
            time = np.sort(np.concatenate([time, absent]))
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


def split_by_symbol(df: "pd.DataFrame", symbol: str | None) -> "dict[str, pd.DataFrame]":
    """Return one flat table with normalised column names per symbol."""
    import pandas as pd

    if isinstance(df.columns, pd.MultiIndex):
        if df.columns.nlevels != 2:
            raise InputError(
                f"A column MultiIndex should have the levels (Price, Ticker); it has {df.columns.nlevels} levels. "
                "Drop the others with df.columns.droplevel()."
            )
        level = next((k for k in (0, 1) if "close" in {plain_name(c) for c in df.columns.get_level_values(k)}), None)
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


def plain_name(column: object) -> str:
    """Return a column name in lower case with underscores: "Adj Close" -> "adj_close"."""
    text = re.sub(r"[\s_-]+", "_", str(column).strip().lower())
    return _ALIASES.get(text, _ALIASES.get(text.replace("_", ""), text))


def _normalised(df: "pd.DataFrame") -> "pd.DataFrame":
    names = [plain_name(column) for column in df.columns]
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
    numbered = pd.api.types.is_integer_dtype(df.index.dtype)
    if column is not None and (numbered or isinstance(df.index, pd.MultiIndex)):
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
            *PRICE_FIELDS,
            "volume",
            "adj_close",
            "dividends",
            "stock_splits",
            "split",
            "dividend",
            "capital_gains",
        )
        values = numbers(table[column], column, name, needed=known)
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


def numbers(series: "pd.Series", column: str, name: str, needed: bool) -> np.ndarray | None:
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
