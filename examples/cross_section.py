"""A hundred large US stocks, 2013 to 2017: which will do better than the others, and which will move more?

One network for all stocks, which learns from their ranks among each other. It is judged by the order it gives to the
stocks of a date (rank IC, ICIR, best fifth minus worst fifth), with errors that know that weeks overlap.

What is wrong with the data, and what is done about it:

- The file lists the members of the S&P 500 of early 2018: whoever failed or fell before is missing. That flatters
  returns, and nothing here can undo it.
- The bar of 2017-08-01 shows the next morning's price for half of the stocks. The study ends the day before.
- `check` finds a hundred bars whose open, high and low are those of the next day. Only closes and volumes are used.
- Stocks with a gap of days or a spin-off that is not in the prices are left out; other faulty bars become missing.
- "Large" means the most money traded in the first year, before anything is learned or judged.

    python examples/cross_section.py                 prints the tables
    python examples/cross_section.py ranks.png       and draws the rank ICs

Needs sp500_2013_2018.parquet and sp500_2013_2018_defects.csv in the folder LONGSHORT_SHARED_DATA (from
CNuge/kaggle-code), and longshort[parquet].
"""

import os
import sys
from pathlib import Path

import pandas as pd

import longshort as ls
from longshort import features as f
from longshort import metrics
from longshort.evaluation.statistics import mean_test

FOLDER = Path(os.environ.get("LONGSHORT_SHARED_DATA", "."))
END, FIRST_YEAR = "2017-07-31", "2014-02-07"
UNUSABLE = ("gap_before", "corporate_action_unadjusted")  # kinds of defects for which the whole stock is left out
INPUTS = [f.log_return(), f.log_return(5), f.log_return(20), f.log_return(60), f.volatility(20), f.volume_ratio(20)]
SQUARE = f.log_return() ** 2
VARIANCES = [(SQUARE.rolling_mean(n) + 1e-8).log().rename(f"log_variance_{n}") for n in (1, 5, 20, 60)]
LEVELS = [*VARIANCES, VARIANCES[2].rank(), f.volatility(20), f.log_return().abs(), f.log_return(), f.log_return(5),
          f.volume_ratio(20)]  # fmt: skip
CV = ls.WalkForward(train="2Y", test="6M")


def load(count: int = 100) -> tuple[ls.Bars, list[str]]:
    """Return closes and volumes of the `count` most traded usable stocks, and a record of what was repaired."""
    table = pd.read_parquet(FOLDER / "sp500_2013_2018.parquet").astype({"symbol": str})
    defects = pd.read_csv(FOLDER / "sp500_2013_2018_defects.csv")
    unusable = defects.symbol[defects.kind.isin(UNUSABLE)].unique()
    table = table[(table.date <= END) & ~table.symbol.isin(unusable)]
    first = table[table.date <= FIRST_YEAR]
    traded = (first.close * first.volume).groupby(first.symbol).mean().nlargest(count).index
    chosen = table[table.symbol.isin(traded)]
    bars = ls.Bars.from_pandas(chosen[["symbol", "date", "close", "volume"]], calendar="XNYS")
    bad = defects[defects.symbol.isin(traded) & (defects.date <= END)]
    bars, repairs = ls.clean(bars, "mask", cells={(s, d) for s, d in zip(bad.symbol, bad.date, strict=True)})
    masked = ", ".join(f"{r.symbol} {r.date}" for r in repairs)
    return bars, [f"left out: {', '.join(unusable)}", f"made missing: {masked}", str(ls.check(bars))]


def study(bars: ls.Bars, what: str, seeds: int = 3, epochs: int = 6) -> ls.Study:
    """Refit every half year on two years; the network for returns sees ranks and learns ranks.

    What volatility is learned from was chosen on the next hundred stocks.
    """
    options = {"lookback": 20, "hidden": (16,), "epochs": epochs, "patience": 2}
    if what == "return":
        ranks = [x.rank() for x in INPUTS]
        lstm = ls.LSTM(ranks, f.forward_return(5), loss="rank", **options)
    else:
        lstm = ls.LSTM(LEVELS, f.forward_volatility(5), batch_size=256, **options)
    return ls.walk_forward(lstm, bars, CV, seeds=seeds)


def leads(found: ls.Study, horizon: int = 5) -> list[str]:
    """Return by how much the order of the network is better than that of each other forecast, date by date."""
    ours = metrics.information_coefficients(found.actual, found.forecast.mean)
    lines = []
    for name, values in {**found.baselines, **found.challengers}.items():
        test = mean_test(ours - metrics.information_coefficients(found.actual, values), horizon)
        lines.append(f"rank IC above that of {name}: {test.mean:+.3f} (error {test.error:.3f}, p {test.p_greater:.3f})")
    return lines


def main() -> None:
    """Print both studies; draw the rank ICs of volatility where asked for."""
    bars, record = load()
    print(bars, *record, "Survivors only: members of the index of early 2018. Returns are flattered.", "", sep="\n")
    studies = {what: study(bars, what) for what in ("return", "volatility")}
    for name, found in studies.items():
        print(f"--- {name} ---", found, *found.verdict().remarks, "", sep="\n")
    print(*leads(studies["volatility"]), sep="\n")
    for path in sys.argv[1:]:
        ls.report.cumulative_ic_plot(studies["volatility"]).save(path)


if __name__ == "__main__":
    main()
