"""Forecasts made elsewhere, read from a file to be judged."""

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError

if TYPE_CHECKING:
    from ..evaluation import Verdict

_COLUMNS = {
    "actual": ("actual", "y_true", "true", "outcome"),
    "forecast": ("forecast", "y_pred", "pred", "prediction", "predicted"),
    "price": ("price", "last", "last_close", "reference"),
    "time": ("time", "date", "datetime", "timestamp"),
}


def referee_file(path: str | Path, horizon: int = 1) -> "Verdict":
    """Judge the forecasts in a CSV file: one row a forecast, in order of time.

    Parameters
    ----------
    path : path-like
        Columns ``actual`` and ``forecast`` (also ``y_true`` and ``y_pred``); ``price``, the last price known, where
        they are price levels; ``time``, if there is one.
    horizon : int, default=1
        Rows from a forecast to its outcome.

    Examples
    --------
    >>> rows = [f"{0.01 * (-1) ** i},{0.001 * (i % 7 - 3)}" for i in range(100)]
    >>> _ = Path("mine.csv").write_text("\\n".join(["actual,forecast", *rows]))
    >>> referee_file("mine.csv").exit_code
    3
    """
    import pandas as pd

    from ..evaluation import referee

    try:
        frame = pd.read_csv(path)
    except FileNotFoundError as error:
        raise InputError(f"There is no file {path}.") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as CSV: {error}") from error
    lower = {str(name).strip().lower(): name for name in frame.columns}
    found = {key: next((lower[n] for n in names if n in lower), None) for key, names in _COLUMNS.items()}
    for key in ("actual", "forecast"):
        if found[key] is None:
            listed = ", ".join(map(str, frame.columns)) or "none"
            raise InputError(f"{path} needs the columns actual and forecast, its columns are: {listed}.")
    numbers = {}
    for key in ("actual", "forecast", "price"):
        if found[key] is None:
            continue
        values = pd.to_numeric(frame[found[key]], errors="coerce")
        broken = values.isna() & frame[found[key]].notna()
        if broken.any():
            row = int(broken.to_numpy().argmax())
            was = frame[found[key]].iloc[row]
            raise InputError(f"Column {found[key]} of {path} must hold numbers, was {was!r} in line {row + 2}.")
        numbers[key] = values
    if found["time"] is not None:
        stamps = pd.to_datetime(frame[found["time"]], errors="coerce", utc=True)
        if stamps.isna().any() or not stamps.is_monotonic_increasing or stamps.duplicated().any():
            raise InputError(f"Column {found['time']} of {path} must hold dates, each once, in order. Sort the file.")
        for values in numbers.values():
            values.index = pd.DatetimeIndex(stamps)
    price = numbers.get("price")
    return referee(numbers["actual"], numbers["forecast"], None if price is None else price.to_numpy(), horizon)
