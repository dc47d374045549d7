"""Bars for people: DataFrames and notebook tables."""

import html
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from .arrays import PRICE_FIELDS

if TYPE_CHECKING:
    import pandas as pd


def to_frame(bars: Any, adjust: str | None) -> "pd.DataFrame":
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


def _adjusted_view(bars: Any, field: str, adjust: str | None) -> np.ndarray:
    if adjust is None or field not in (*PRICE_FIELDS, "volume") or not len(bars):
        return bars[field]
    if adjust == "forward":
        return bars.adjusted(field)
    if field == "volume":
        return bars.adjusted(field) * bars.split_factor[-1]
    factor = bars.factor if adjust == "total" else bars.split_factor
    return bars[field] * (factor / factor[-1])


def to_html(bars: Any) -> str:
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
