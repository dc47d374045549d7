"""Whose covariances give the portfolio of least variance: a joint LSTM, or those it has to beat.

Every model is refitted every two years on the five years before and predicts the next day's covariance at every close.
The portfolio of least variance it asks for, fully invested, earns the next day's returns; the lower its realised
volatility, the better the covariances. Differences to Ledoit and Wolf's estimator have a 95 % interval of the
stationary bootstrap, in blocks of 20 days on average, paired by day. Nothing is traded with costs here; turnover says
what it would take. Two markets:

    us20      20 large US stocks, 1990-2022, daily closes (the sample that comes with skfolio)
    switch    made-up ones whose correlations switch between 0.1 and 0.8 while nothing else changes; several seeds

`--only sp500` measures the way from data to a backtest for 100 symbols, 2013-2018: it needs the folder
LONGSHORT_SHARED_DATA with sp500_2013_2018.parquet.

    python benchmarks/covariance.py
    python benchmarks/covariance.py --only us20
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from pathlib import Path

import numpy as np

import longshort as ls
from longshort import features as f
from longshort import models as m
from longshort import portfolio as p
from longshort.data import synthetic
from longshort.evaluation.selection import resampled

TARGET, TRAIN, TEST, YEAR = f.forward_log_return(), 1260, 504, 252
BLOCK, DRAWS = 20, 2000
MODELS = {
    "Ledoit-Wolf, 252 days": m.LedoitWolf(TARGET),
    "Ledoit-Wolf, 1000 days": m.LedoitWolf(TARGET, 1000),
    "sample, 252 days": m.SampleCovariance(TARGET),
    "constant correlation": m.ConstantCorrelation(TARGET),
    "EWMA 0.94 (RiskMetrics)": m.EWMA(TARGET),
    "EWMA 0.99": m.EWMA(TARGET, 0.99),
    "DCC (Engle)": m.DCC(TARGET),
    "JointLSTM([])": m.JointLSTM([]),
    "JointLSTM()": m.JointLSTM(),
}
FIRST = next(iter(MODELS))


def us20() -> ls.Bars:
    from skfolio.datasets import load_sp500_dataset

    prices = load_sp500_dataset()
    time_ = prices.index.to_numpy().astype("datetime64[ns]").astype(np.int64)
    return ls.Bars.from_arrays(time_, list(prices.columns), {"close": prices.to_numpy(np.float64)})


def least_variance(covariances: np.ndarray) -> np.ndarray:
    """Return fully invested weights (n, n_symbols) of least variance, with no other bound."""
    weights = np.linalg.solve(covariances, np.ones((len(covariances), covariances.shape[1], 1)))[..., 0]
    return weights / weights.sum(axis=1, keepdims=True)


def judged(bars: ls.Bars) -> dict[str, dict[str, np.ndarray]]:
    """Walk every model forward; return daily returns of its portfolios, their turnover and its log densities."""
    found = {}
    close = bars.adjusted("close")
    cv = ls.WalkForward(train=TRAIN, test=TEST)
    studies = {name: ls.walk_forward(model, bars, cv, baselines=[], seeds=1) for name, model in MODELS.items()}
    first = max(study.time[0] for study in studies.values())  # models that need more history start later
    last = min(study.time[-1] for study in studies.values())
    for name, study in studies.items():
        kept = (study.time >= first) & (study.time <= last)
        rows = np.searchsorted(bars.time, study.time[kept])
        came = close[rows + 1] / close[rows] - 1.0
        mean, covariance = study.forecast.mean[kept], study.forecast.covariance[kept]
        if not (np.linalg.eigvalsh(covariance)[:, 0] > 0).all():
            sys.exit(f"{name} predicted a covariance that is none")
        weights = least_variance(covariance)
        policy, symbols = p.MinVariance(), bars.symbols
        long = np.stack([policy.of(*one) for one in zip(mean, covariance, strict=True)])
        errors = np.log1p(came) - mean
        z = np.linalg.solve(np.linalg.cholesky(covariance), errors[..., None])[..., 0]
        density = -0.5 * ((z**2).sum(axis=1) + np.linalg.slogdet(2 * np.pi * covariance)[1])
        found[name] = {
            "free": (weights * came).sum(axis=1),
            "long": (long * came).sum(axis=1),
            "turnover": np.abs(np.diff(weights, axis=0)).sum(axis=1),
            "density": density / len(symbols),
        }
        found["1/N"] = {"free": came.mean(axis=1), "long": came.mean(axis=1)}
    return found


def volatility(returns: np.ndarray) -> np.ndarray:
    return np.sqrt(YEAR) * returns.std(axis=-1)


def interval(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval of the difference of volatilities of paired returns."""
    index = resampled(np.arange(len(a), dtype=np.float64), DRAWS, BLOCK).astype(int)
    low, high = np.quantile(volatility(a[index]) - volatility(b[index]), [0.025, 0.975])
    return float(low), float(high)


def table(title: str, found: dict[str, dict[str, np.ndarray]]) -> None:
    days = len(found[FIRST]["free"])
    print(f"\n{title}: {days:,} days out of sample")
    print(f"  {'':26}{'volatility':>11}{'difference to ' + FIRST:>38}{'long only':>11}{'turnover':>10}{'density':>9}")
    for name, of in found.items():
        line = f"  {name:26}{volatility(of['free']):11.2%}"
        if name != FIRST:
            low, high = interval(of["free"], found[FIRST]["free"])
            apart = volatility(of["free"]) - volatility(found[FIRST]["free"])
            line += f"{apart:+18.2%}  ({low:+.2%} .. {high:+.2%})"
        else:
            line += " " * 38
        line = f"{line:<75}{volatility(of['long']):11.2%}"
        if "turnover" in of:
            line += f"{of['turnover'].mean():10.1%}{of['density'].mean():9.3f}"
        print(line, flush=True)


def figure(title: str, found: dict[str, dict[str, np.ndarray]]) -> None:
    for name in ("JointLSTM([])", "JointLSTM()"):
        apart = volatility(found[name]["free"]) / volatility(found[FIRST]["free"]) - 1
        print(f"=> {title}: least-variance volatility, {name} against {FIRST}: {apart:+.1%}")


def cross_section() -> None:
    """Time study, optimiser and backtest of 100 symbols of the S&P 500."""
    import pandas as pd

    folder = os.environ.get("LONGSHORT_SHARED_DATA")
    if not folder or not (Path(folder) / "sp500_2013_2018.parquet").exists():
        print("sp500: needs sp500_2013_2018.parquet in the folder LONGSHORT_SHARED_DATA")
        return
    prices = pd.read_parquet(Path(folder) / "sp500_2013_2018.parquet")
    wide = {
        name: prices.pivot(index="date", columns="symbol", values=name) for name in ("open", "high", "low", "close")
    }
    wide["volume"] = prices.pivot(index="date", columns="symbol", values="volume")
    sane = (wide["high"] >= wide["low"]) & (wide["volume"] > 0)
    for name in ("open", "close"):
        sane &= (wide[name] <= wide["high"]) & (wide[name] >= wide["low"])
    symbols = list(sane.columns[sane.all()][:100])
    time_ = pd.DatetimeIndex(wide["close"].index).to_numpy().astype("datetime64[ns]").astype(np.int64)
    fields = {name: table[symbols].to_numpy(np.float64) for name, table in wide.items()}
    begin = time.perf_counter()
    bars = ls.Bars.from_arrays(time_, symbols, fields)
    study = ls.walk_forward(m.JointLSTM(), bars, ls.WalkForward(train=500, test=250), baselines=[], seeds=1)
    studied = time.perf_counter()
    result = ls.trading.backtest(p.MinVariance(max_weight=0.1), study)
    done = time.perf_counter()
    print(f"\nsp500: {len(symbols)} symbols, {len(study):,} rebalances in {len(study.folds)} folds")
    print(f"  study {studied - begin:.0f} s, optimiser and backtest {done - studied:.0f} s")
    print(f"  volatility {np.std(result.returns) * np.sqrt(YEAR):.1%}, load at the end {os.getloadavg()[0]:.1f}")
    print(f"=> sp500: study, optimiser and backtest of 100 symbols, seconds: {done - begin:.0f}   (wanted below 300)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", choices=["us20", "switch", "sp500"])
    parser.add_argument("--seeds", type=int, default=2, help="made-up markets")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.only in (None, "us20"):
        found = judged(us20())
        table("us20", found)
        figure("us20", found)
    for seed in range(1, options.seeds + 1) if options.only in (None, "switch") else ():
        found = judged(synthetic.correlation_switch(4000, 10, seed=seed))
        table(f"switch, seed {seed}", found)
        figure(f"switch, seed {seed}", found)
    if options.only in (None, "sp500"):
        cross_section()


if __name__ == "__main__":
    main()
