"""The StockNet task (Xu and Cohen, ACL 2018), by its own protocol: does a stock rise or fall tomorrow?

Eleven published features of 87 stocks (Feng et al., IJCAI 2019). Labels are the movement *into* a row's own date, so
features end the day before: what was published beside a label contains its answer. Falls of at least 0.5 % and rises of
at least 0.55 % count, moves between are dropped. Training labels are those of 2014-01-02 to 2015-07-31, validation
labels those of 2015-08-03 to 2015-09-30; the last training label is purged, as it becomes known at the moment of the
first forecast. -123321 stands for "no value".

The published lookback and width were chosen on these validation labels, from a grid. So is the best here, and the
verdict is told so: it shares its 5 % among all that were tried.

    python examples/movements.py                     prints the tables

Needs acl18_features_2014_to_2015q3.parquet in the folder LONGSHORT_SHARED_DATA (from fulifeng/Adv-ALSTM, not ours to
ship), and longshort[parquet,sklearn].
"""

import os
from pathlib import Path

import numpy as np
import pandas as pd

import longshort as ls
from longshort import features as f
from longshort import metrics
from longshort import models as m

FILE = Path(os.environ.get("LONGSHORT_SHARED_DATA", ".")) / "acl18_features_2014_to_2015q3.parquet"
NO_VALUE = -123321
PUBLISHED = (10, 32)  # lookback and units of the LSTM of Feng et al.
GRID = [(lookback, units) for lookback in (5, 10, 15) for units in (16, 32)]
INPUTS = [f.field(name) for name in ("c_open", "c_high", "c_low", "n_close", "n_adj_close",
                                     "5d", "10d", "15d", "20d", "25d", "30d")]  # fmt: skip
MOVEMENT = f.forward_direction(up=0.0055, down=0.005)


def load() -> ls.Bars:
    """Return all rows; the label stays a field, for tests: no model reads it."""
    table = pd.read_parquet(FILE).replace(NO_VALUE, np.nan).astype({"symbol": str})
    return ls.Bars.from_pandas(table.rename(columns={"adj_close": "close"}), calendar="XNYS")


def protocol(bars: ls.Bars, lookback: int) -> ls.Bars:
    """Return the rows from which the first decision, on 2013-12-31, is about the first label, of 2014-01-02."""
    first = int(np.searchsorted(bars.dates, np.datetime64("2013-12-31")))
    return bars.since(bars.dates[first - lookback + 1])


def challengers() -> dict[str, m.Ridge | m.Regressor]:
    """Return linear models on the same features of the last day."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    logistic = make_pipeline(StandardScaler(), LogisticRegression())
    return {"ridge": m.Ridge(INPUTS, MOVEMENT), "logistic": m.Regressor(logistic, INPUTS, MOVEMENT, lookback=1)}


def study(bars: ls.Bars, lookback: int, units: int, seeds: int = 3, epochs: int = 30) -> ls.Study:
    """Train on 19 months, forecast the two that follow."""
    lstm = ls.LSTM(INPUTS, MOVEMENT, lookback=lookback, hidden=(units,), loss="cross_entropy", epochs=epochs,
                   patience=5, batch_size=256)  # fmt: skip
    cv = ls.WalkForward(train="19M", test="2M")
    return ls.walk_forward(lstm, protocol(bars, lookback), cv, baselines=challengers(), seeds=seeds)


def scores(found: ls.Study, values: np.ndarray) -> tuple[float, float]:
    """Return accuracy and Matthews' correlation over all labels."""
    pair = (found.actual, values, 0.5)
    return metrics.hit_rate(*pair), metrics.matthews_correlation(*pair)


def main() -> None:
    """Print accuracy and MCC of the grid, and what the verdict makes of 42 dates."""
    bars = load()
    studies = {setting: study(bars, *setting) for setting in GRID}
    found = studies[PUBLISHED]
    labels = found.actual[np.isfinite(found.actual)]
    print(f"{len(labels):,} labels of {len(found)} dates, {labels.mean():.1%} of them rises\n")
    print(f"{'':24}  accuracy     MCC   single seeds")
    for name, values in {**found.baselines, **found.challengers}.items():
        print("{:24}  {:8.2%}  {:+6.3f}".format(name, *scores(found, values)))
    for (lookback, units), one in studies.items():
        name, seeds = (
            f"LSTM, {lookback} days, {units} units",
            [f"{scores(one, values)[1]:+.3f}" for values in one.seeds],
        )
        print("{:24}  {:8.2%}  {:+6.3f}   {}".format(name, *scores(one, one.forecast.mean), ", ".join(seeds)))
    print("", found, *found.verdict().remarks, sep="\n")


if __name__ == "__main__":
    main()
