"""AAPL and SPY by the hour, 2013 to 2021: how volatile is the next session, and how far back should one look?

The source stamps a bar with the wall clock of New York at its start, and calls 09:00 the bar that begins with the
session at 09:30. With `stamps="start"` and the exchange's calendar every bar is known at its end: 10:00 for that one,
13:00 for the last one of a half day. A window of 60 hourly bars is nine sessions, one of 200 is a month.

Prices are as traded. Splits and dividends come from daily bars of the same symbols and take effect with the first bar
of their session, so AAPL's split of 2020-08-31 is no return of -75 %.

    python examples/hourly.py                        prints the tables
    python examples/hourly.py hourly.png             and draws skill by lookback

Needs us_hourly_raw_1998_2021.parquet in the folder LONGSHORT_SHARED_DATA (from QuantConnect/Lean), longshort[parquet].
"""

import os
import sys
from pathlib import Path

import pandas as pd

import longshort as ls
from longshort import features as f

FILE = Path(os.environ.get("LONGSHORT_SHARED_DATA", ".")) / "us_hourly_raw_1998_2021.parquet"
PRICES = {f"{name}_1e4": name for name in ("open", "high", "low", "close")}  # USD x 10,000
SQUARE = f.log_return() ** 2
INPUTS = [
    f.log_return(),
    (f.field("high") / f.field("low")).log().rename("range"),
    (SQUARE.rolling_mean(7) + 1e-8).log().rename("log_variance_session"),
    (SQUARE.rolling_mean(35) + 1e-8).log().rename("log_variance_week"),
    f.log_return(35),
    f.volume_ratio(35),
]
SESSION = f.forward_volatility(7)  # seven bars: wherever one starts, one night is among them


def load(start: str = "2013-01-01") -> ls.Bars:
    """Return hourly bars of both symbols, each known at its end, with their splits and dividends."""
    table = pd.read_parquet(FILE).rename(columns={"bar_start_et": "datetime", **PRICES})
    table[list(PRICES.values())] /= 10_000
    bars = ls.Bars.from_pandas(table[table.datetime >= start], calendar="XNYS", stamps="start")
    return bars.with_actions(ls.load_bars(bars.symbols, source="sample"))


def model(target=SESSION, lookback: int = 60, epochs: int = 4) -> ls.LSTM:
    """Return the network: a few epochs of large batches, nothing chosen by validation."""
    return ls.LSTM(INPUTS, target, lookback=lookback, hidden=(16,), epochs=epochs, batch_size=128, lr=3e-3,
                   validation=0, patience=None)  # fmt: skip


CV = ls.WalkForward(train="3Y", test="1Y")


def main() -> None:
    """Print the sweep and two studies; draw the sweep where asked for."""
    bars = load()
    print(bars, "", sep="\n")
    sweep = ls.evaluation.lookback_sweep(model(), bars, [60, 120, 200], CV, seeds=3)
    studies = {
        "volatility of the next seven bars": ls.walk_forward(model(), bars, CV, seeds=3),
        "return of the next bar": ls.walk_forward(model(f.forward_log_return()), bars, CV, seeds=3),
    }
    print(f"--- lookback ---\n{sweep}\n")
    for name, found in studies.items():
        print(f"--- {name} ---", found, *found.verdict().remarks, "", sep="\n")
    for path in sys.argv[1:]:
        ls.report.lookback_plot(sweep).save(path)


if __name__ == "__main__":
    main()
