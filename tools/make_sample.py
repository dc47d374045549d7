"""Make the sample that ships with the package: eight US symbols, raw daily bars 1998-2021, with splits and dividends.

    python tools/make_sample.py ../shared/data

Reads ``us_daily_raw_1998_2021.parquet`` and ``us_daily_raw_factors.csv`` (QuantConnect/Lean, Apache-2.0) and writes
``src/longshort/data/samples/us_daily_1998_2021.safetensors`` and ``.json``. Prices are stored as integers of 1/10000
USD, 0 where a symbol has no bar.

A row of the factor file holds for all bars up to and including its date, so a change between two rows takes effect in
the session after the first one's date: the split ratio there is the quotient of the split factors, rounded to a
quotient of small whole numbers, and the dividend is reference_price x (1 - price_factor / next price_factor).
"""

import hashlib
import json
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors.numpy import save_file

from longshort import clock

TARGET = Path(__file__).parents[1] / "src" / "longshort" / "data" / "samples"
NAME = "us_daily_1998_2021"
SCALE = 10_000


def split_ratio(quotient: float) -> float:
    """Return the quotient of small whole numbers that the rounded factors mean.

    >>> split_ratio(6.9999972), split_ratio(0.05), split_ratio(1.0027002718)
    (7.0, 0.05, 1.0027002718)
    """
    near = Fraction(quotient).limit_denominator(20)
    return float(near) if abs(float(near) / quotient - 1) < 2e-5 else quotient


def actions(factors: pd.DataFrame, labels: np.ndarray) -> list[tuple[int, float, float]]:
    """Return (row, split ratio, dividend per share) of one symbol."""
    found = []
    rows = factors.sort_values("date").to_dict("records")
    for now, later in zip(rows, rows[1:], strict=False):
        row = int(np.searchsorted(labels, np.datetime64(now["date"], "D"), side="right"))
        if row == 0 or row >= len(labels):
            continue
        split = split_ratio(later["split_factor"] / now["split_factor"])
        cash = now["reference_price"] * (1 - now["price_factor"] / later["price_factor"])
        cash = round(cash / split, 4) if cash > 1e-3 else 0.0  # per share as it is on the day without it
        if split != 1.0 or cash:
            found.append((row, split, cash))
    return found


def main(folder: Path) -> None:
    """Write the two files of the sample."""
    bars = pd.read_parquet(folder / "us_daily_raw_1998_2021.parquet")
    factors = pd.read_csv(folder / "us_daily_raw_factors.csv", parse_dates=["date"])
    symbols = list(dict.fromkeys(bars["symbol"]))
    labels = np.unique(bars["date"].to_numpy().astype("datetime64[D]"))
    arrays = {field: np.zeros((len(labels), len(symbols)), np.int32) for field in ("open", "high", "low", "close")}
    arrays["volume"] = np.zeros((len(labels), len(symbols)), np.int64)
    where: list[tuple[int, int]] = []
    ratios: list[float] = []
    cash: list[float] = []
    for j, symbol in enumerate(symbols):
        table = bars[bars["symbol"] == symbol]
        rows = np.searchsorted(labels, table["date"].to_numpy().astype("datetime64[D]"))
        for field in ("open", "high", "low", "close"):
            scaled = np.round(table[field].to_numpy() * SCALE)
            if not np.array_equal(scaled / SCALE, table[field].to_numpy()):
                raise SystemExit(f"{symbol} {field}: prices are not whole multiples of 1/{SCALE}")
            arrays[field][rows, j] = scaled
        arrays["volume"][rows, j] = table["volume"]
        for row, ratio, dividend in actions(factors[factors["symbol"] == symbol], labels):
            where.append((row, j))
            ratios.append(ratio)
            cash.append(dividend)
    if arrays["volume"].max() < 2**32:
        arrays["volume"] = arrays["volume"].astype(np.uint32)
    arrays["time"] = clock.session_closes("XNYS", labels)
    arrays["action_cell"] = np.array(where, np.int32)
    arrays["action_split"] = np.array(ratios)
    arrays["action_dividend"] = np.array(cash)
    TARGET.mkdir(parents=True, exist_ok=True)
    path = TARGET / f"{NAME}.safetensors"
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)
    path.chmod(0o644)
    document = {
        "name": NAME,
        "symbols": symbols,
        "calendar": "XNYS",
        "bar_size": "1D",
        "price_scale": SCALE,
        "prices": "raw USD as traded; 0 = no bar",
        "source": "QuantConnect/Lean, Data/equity/usa/daily and Data/equity/usa/factor_files",
        "url": "https://github.com/QuantConnect/Lean",
        "licence": "Apache-2.0",
        "changes": "cut to eight symbols, merged, splits and dividends derived from the factor files",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "known_defects": [
            "QQQ has no bars from 2004-12-01 to 2011-03-22 (1,588 sessions), when its ticker was QQQQ",
            "GOOG until 2014-04-02 is the class A share (today GOOGL); the halving of 2014-04-03 is no listed split",
            "GOOG has no dividends or splits before 2014-03-27 (it paid and made none)",
        ],
    }
    (TARGET / f"{NAME}.json").write_text(json.dumps(document, indent=1) + "\n")
    print(f"{path.name}: {path.stat().st_size:,} bytes, {len(labels)} sessions, {len(where)} actions")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "../shared/data"))
