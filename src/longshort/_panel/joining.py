"""Series to join: values with the moments at which they became known; see `Bars.join`."""

import re
from typing import Any

import numpy as np

from .. import clock
from ..errors import InputError, TimeError
from .frames import numbers
from .stamps import datetimes


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
            "join needs to know when each value became known: available_at='index', 'index + 2h', a column of "
            "publication "
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
                f"A joined table needs one column of values, or one per symbol ({', '.join(symbols[:6])}); it has "
                f"{names[:6]}. "
                "Join the columns one by one, each under its name."
            )
        block = series if len(names) == 1 else series.set_axis(names, axis=1)[list(symbols)]
        label = name or (names[0] if len(names) == 1 else "")
        columns = [
            numbers(block.iloc[:, k], str(block.columns[k]), "the series", needed=True) for k in range(block.shape[1])
        ]
    else:
        label = name or str(series.name or "")
        columns = [numbers(series, label or "values", "the series", needed=True)]
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

    index = stamps
    if isinstance(index, np.ndarray) and index.dtype.kind == "M":
        index = pd.DatetimeIndex(index).tz_localize("UTC")  # numpy datetimes are UTC by convention
    elif not isinstance(index, pd.DatetimeIndex):
        index = datetimes(
            pd.DatetimeIndex(index) if isinstance(index, pd.Series) and index.dtype.kind == "M" else pd.Index(index)
        )
    if index.tz is None:
        raise TimeError(
            "available_at should say which time zone it is in, but its first stamp is "
            f"{index[0] if len(index) else 'none'}. "
            "Use .tz_localize('America/New_York') (or 'UTC', ...) first."
        )
    if len(index) != n:
        raise InputError(f"available_at should have a stamp per value: {n} values, {len(index)} stamps.")
    if index.hasnans:
        raise TimeError(
            f"available_at should be known for every value, but value {int(np.flatnonzero(index.isna())[0])} has none."
        )
    return index.tz_convert("UTC").tz_localize(None).as_unit("ns").asi8
