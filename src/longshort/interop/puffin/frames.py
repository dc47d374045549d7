"""Numbers out of the series and frames that users of puffin pass, checked; and the tutorial's feature frame."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import DataError, InputError, NotEnoughData, PriceError, TimeError, UnknownName, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

WINDOWS = (5, 10, 20, 50)


def series_values(series: Any, at_least: int, why: str) -> np.ndarray:
    """Return a one-dimensional series as finite float64 numbers.

    Parameters
    ----------
    series : array-like (n,)
        Prices, or any other series.
    at_least : int
        Values needed.
    why : str
        What they are needed for, for the message.
    """
    values = _numbers(series, "series")
    if values.ndim != 1:
        raise InputError(f"series must have one dimension, had shape {values.shape}. Pass a column: df['Close'].")
    _refuse_nonfinite(values[:, None], ["series"], range(len(values)))
    if len(values) < at_least:
        raise NotEnoughData(f"{why} needs {at_least} values, but series has {len(values)}. Pass a longer history.")
    return values


def frame_values(frame: Any, columns: Sequence[str]) -> np.ndarray:
    """Return columns of a DataFrame as finite float64 numbers (n_rows, n_columns), rows in order of time."""
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise UnknownName(
            f"The frame has no column {missing[0]!r}. {did_you_mean(str(missing[0]), map(str, frame.columns))}"
        )
    _refuse_disorder(frame)
    values = np.stack([_numbers(frame[name], repr(name)) for name in columns], axis=1)
    _refuse_nonfinite(values, columns, frame.index)
    return values


def target_values(frame: Any, column: str) -> np.ndarray:
    """Return a target column as float64 (n_rows,); NaN only at the end, where the outcome is not known yet."""
    values = _numbers(frame[column], repr(column))
    known = np.flatnonzero(np.isfinite(values))
    last = int(known[-1]) + 1 if len(known) else 0
    _refuse_nonfinite(values[:last, None], [column], frame.index)
    if np.isinf(values[last:]).any():
        raise PriceError(f"{column!r} must be finite where it is known, but its last values are infinite.")
    return values


def require_frame(frame: Any, what: str) -> None:
    """Raise `InputError` unless `frame` is a DataFrame with unique column names."""
    import pandas as pd

    if not isinstance(frame, pd.DataFrame):
        raise InputError(f"{what} must be a pandas DataFrame, one row a bar, was {type(frame).__name__}.")
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise InputError(f"{what} has the column {twice[0]!r} more than once. Rename or drop one.")


def _numbers(values: Any, name: str) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype.kind not in "iuf":
        raise InputError(f"{name} must hold numbers, held {array.dtype}. Convert it first: .astype(float).")
    return array.astype(np.float64)


def _refuse_nonfinite(values: np.ndarray, names: Sequence[str], index: Any) -> None:
    bad_rows, bad_columns = np.nonzero(~np.isfinite(values))
    if len(bad_rows):
        row, column = int(bad_rows[0]), int(bad_columns[0])
        raise PriceError(
            f"{names[column]!r} must be finite, but {len(bad_rows)} of {values.size} values are not, first "
            f"{values[row, column]} at {index[row]}. Drop these rows (dropna) or fill them from the past."
        )


def _refuse_disorder(frame: "pd.DataFrame") -> None:
    import pandas as pd

    index = frame.index
    if isinstance(index, pd.DatetimeIndex) and not (index.is_monotonic_increasing and index.is_unique):
        fault = "repeats a stamp" if index.is_monotonic_increasing else "is not in order of time"
        raise TimeError(f"The frame's index {fault}. Call .sort_index(), and drop duplicates: windows run over rows.")


def create_trading_features(df: "pd.DataFrame") -> "pd.DataFrame":
    """Return the tutorial's frame of price, return, volatility, average and volume features.

    Parameters
    ----------
    df : DataFrame
        Bars with columns Close, High, Low and Volume, one row a bar, as `yfinance.Ticker.history` gives them.

    Returns
    -------
    DataFrame
        `close`, `high`, `low`, `volume`, `returns`, `log_returns`, `volatility` (20-bar standard deviation of returns,
        n - 1 in the denominator), `sma_n` and `sma_n_ratio` for n = 5, 10, 20, 50, `volume_sma` and `volume_ratio`
        (20 bars). Every value is a function of its own row's window alone, so one bad bar is forgotten after 50 rows;
        rows before the first full window, and rows without volume for 20 bars, are left out.

    Raises
    ------
    UnknownName
        A column is missing.
    PriceError
        Prices that are not finite and above zero.
    NotEnoughData
        Fewer than 50 rows.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> close = 100.0 + np.arange(60.0)
    >>> df = pd.DataFrame({"Close": close, "High": close + 1, "Low": close - 1, "Volume": 1e6})
    >>> features = create_trading_features(df)
    >>> features.shape, float(features["sma_5"].iloc[0]), float(features["volume_ratio"].iloc[0])
    ((11, 17), 147.0, 1.0)
    """
    require_frame(df, "df")
    close, high, low, volume = frame_values(df, ["Close", "High", "Low", "Volume"]).T
    if len(df) < max(WINDOWS):
        raise NotEnoughData(f"The longest average needs {max(WINDOWS)} rows, but df has {len(df)}. Load more bars.")
    if (np.stack([close, high, low]) <= 0).any():
        raise PriceError("Prices must be above zero, and some are not. Repair the bars first: longshort.clean(bars).")
    if (volume < 0).any():
        raise DataError("Volume must not be negative, and some is. Repair the bars first: longshort.clean(bars).")
    import pandas as pd

    returns = _after_first(close[1:] / close[:-1] - 1.0)
    columns = {"close": close, "high": high, "low": low, "volume": volume, "returns": returns}
    columns["log_returns"] = _after_first(np.diff(np.log(close)))
    columns["volatility"] = _rolling(returns, 20, lambda rows: rows.std(axis=1, ddof=1))
    for n in WINDOWS:
        columns[f"sma_{n}"] = _rolling(close, n, lambda rows: rows.mean(axis=1))
        columns[f"sma_{n}_ratio"] = close / columns[f"sma_{n}"]
    columns["volume_sma"] = _rolling(volume, 20, lambda rows: rows.mean(axis=1))
    traded = np.where(columns["volume_sma"] > 0, columns["volume_sma"], np.nan)
    columns["volume_ratio"] = volume / traded
    return pd.DataFrame(columns, index=df.index).dropna()


def _after_first(values: np.ndarray) -> np.ndarray:
    return np.concatenate([[np.nan], values])


def _rolling(values: np.ndarray, n: int, measure: Any) -> np.ndarray:
    """Apply a measure to every window of `n` values; NaN before the first full one."""
    rows = np.lib.stride_tricks.sliding_window_view(values, n)
    return np.concatenate([np.full(n - 1, np.nan), measure(rows)])
