"""What a tutorial asks of yfinance, answered from a local file: `download` and nothing else.

The shape is that of yfinance 1.x: prices adjusted for splits and dividends, columns (Price, Ticker), `end` exclusive.
"""

import os
from pathlib import Path

import pandas as pd

FILE = Path(os.environ.get("LONGSHORT_SHARED_DATA", "../shared/data")) / "aapl_daily_2015_2024.csv"


def download(tickers: str, start: str, end: str) -> pd.DataFrame:
    if tickers != "AAPL":
        raise ValueError(f"The local file has AAPL only, was asked for {tickers!r}.")
    frame = pd.read_csv(FILE, parse_dates=["date"], index_col="date").rename(columns=str.capitalize)
    frame = frame[(frame.index >= start) & (frame.index < end)].rename_axis("Date")
    frame = frame[["Close", "High", "Low", "Open", "Volume"]]
    frame.columns = pd.MultiIndex.from_product([frame.columns, ["AAPL"]], names=["Price", "Ticker"])
    return frame
