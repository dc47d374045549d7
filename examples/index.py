"""The S&P 500 index, 1999 to 2018: what can be said of its volatility, its return and its direction?

Inputs are past returns, moving averages, momentum, ranges and the trend of volume, none of them in units of price or of
shares: levels of 1999 say nothing about those of 2018. The network is refitted every year on everything before it,
because a window of five calm years never saw a crisis. What goes beyond all it has seen, as the autumn of 2008 did, a
network cannot forecast, because its units saturate. A ridge can, and the mean of both keeps the better part of each.

The VIX exists from 2014 on. It is published at 16:15 in New York, a quarter of an hour after the close at which
forecasts are made, so a forecast knows the one of the day before.

    python examples/index.py                         prints the tables
    python examples/index.py index.png               and draws skill by year

Needs index_daily.parquet in the folder LONGSHORT_SHARED_DATA (from the package arch 8.0.0), and longshort[parquet].
"""

import os
import sys
from pathlib import Path

import pandas as pd

import longshort as ls
from longshort import features as f
from longshort import models as m

FILE = Path(os.environ.get("LONGSHORT_SHARED_DATA", ".")) / "index_daily.parquet"
RETURN, VOLUME = f.log_return(), f.field("volume")
RANGE = (f.field("high") / f.field("low")).log()
INPUTS = [
    RETURN,
    f.log_return(5),
    f.roc(20).rename("momentum_20"),
    f.sma_ratio(20),
    f.sma_ratio(100),
    f.volatility(20),
    RANGE.rename("range"),
    ((RETURN**2).rolling_mean(5) + 1e-8).log().rename("log_variance_5"),
    ((RETURN**2).rolling_mean(20) + 1e-8).log().rename("log_variance_20"),
    (VOLUME.rolling_mean(5) / VOLUME.rolling_mean(60)).log().rename("volume_trend"),
]
WEEK = f.forward_volatility(5)


def load() -> ls.Bars:
    """Return the index with the VIX of the day before, NaN where there is none."""
    table = pd.read_parquet(FILE)
    vix = table[(table.symbol == "VIX") & (table.vix != ".")]  # holidays have a dot
    published = (vix.date + pd.Timedelta("16h15m")).dt.tz_localize("America/New_York")
    series = pd.Series(vix.vix.astype(float).to_numpy(), pd.DatetimeIndex(published), name="vix")
    return ls.load_bars("SP500", source="parquet", path=FILE).join(series, available_at="index")


def model(features=INPUTS, target=WEEK, loss="mse", epochs=20) -> ls.LSTM:
    """Return the network of all studies here; its settings were chosen on the NASDAQ composite."""
    return ls.LSTM(features, target, lookback=20, hidden=(32,), dropout=0.2, loss=loss, epochs=epochs, patience=5)


def models(epochs: int = 20) -> dict[str, ls.LSTM | m.Ensemble]:
    """Return what is studied on all twenty years."""
    return {
        "volatility": model(epochs=epochs),
        "volatility, with a ridge": m.Ensemble({"lstm": model(epochs=epochs), "ridge": m.Ridge(INPUTS, WEEK)}),
        "return": model(target=f.forward_log_return(), epochs=epochs),
        "direction": model(target=f.forward_direction(), loss="cross_entropy", epochs=epochs),
    }


def study(bars: ls.Bars, forecaster, seeds: int = 3) -> ls.Study:
    """Refit every year on all years before, at least five, and forecast the next year day by day."""
    return ls.walk_forward(forecaster, bars, ls.WalkForward(train="5Y", test="1Y", expanding=True), seeds=seeds)


def with_and_without_vix(bars: ls.Bars, seeds: int = 3, epochs: int = 20) -> dict[str, ls.Study]:
    """Return two studies of next week's volatility since the VIX is there, on the same rows."""
    since, cv = bars.since("2014-01-06"), ls.WalkForward(train="2Y", test="1Y", expanding=True)
    vix = f.field("vix").log().rename("log_vix")
    inputs = {"without VIX": INPUTS, "with VIX": [*INPUTS, vix]}
    return {name: ls.walk_forward(model(x, epochs=epochs), since, cv, seeds=seeds) for name, x in inputs.items()}


def main() -> None:
    """Print the studies; draw skill by year where asked for."""
    bars = load()
    studies = {name: study(bars, one) for name, one in models().items()} | with_and_without_vix(bars)
    for name, found in studies.items():
        print(f"--- {name} ---", found, *found.verdict().remarks, "", sep="\n")
    for path in sys.argv[1:]:
        ls.report.skill_plot(studies["volatility"]).save(path)


if __name__ == "__main__":
    main()
