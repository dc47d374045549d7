"""Backtests per second: a cross-section of 500 symbols over 2,500 days, and one symbol over 200,000 bars.

    python benchmarks/backtest.py [--rounds 3] [--profile]

Everything is counted: decisions, orders, fills, both ledgers, records row by row, the order hash, the ledger of trials.
On a busy machine raise the priority: ``chrt -r 10 nice -n -5 python benchmarks/backtest.py``. Times are minima.
"""

import argparse
import cProfile
import pstats
from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np

from longshort import ledger
from longshort.bars import Bars
from longshort.forecast import Forecast, TargetInfo
from longshort.orders import Costs
from longshort.trading import backtest

DAY = 86_400 * 10**9


def market(days: int, symbols: int, step: int = DAY, seed: int = 0) -> Bars:
    """Random walks in cents with openings, ranges and volume."""
    rng = np.random.default_rng(seed)
    close = np.round(100 * np.exp(np.cumsum(rng.normal(0, 0.01, (days, symbols)), axis=0)).clip(0.05, 50), 2)
    opened = np.round(np.vstack([close[:1], close[:-1]]) * np.exp(rng.normal(0, 0.002, close.shape)), 2)
    high, low = np.maximum(opened, close) + 0.05, np.minimum(opened, close) - 0.05
    fields = {"open": opened, "high": high, "low": low.clip(0.01), "close": close, "volume": np.full(close.shape, 1e7)}
    size = "1D" if step == DAY else f"{step // (60 * 10**9)}m"
    return Bars.from_arrays(
        (np.arange(days) + 1) * step + 10**18 // step * step, [f"S{j}" for j in range(symbols)], fields, bar_size=size
    )


def forecasts(bars: Bars, seed: int = 1) -> Forecast:
    """Noise, which is as much work as anything else."""
    values = np.random.default_rng(seed).normal(0, 0.01, bars.shape)
    return Forecast(bars.time[:-1], bars.symbols, values[:-1], target=TargetInfo("return"))


def top_and_bottom(k: int) -> Callable[[Any], np.ndarray]:
    """Long the k highest forecasts, short the k lowest."""

    def rule(view: Any) -> np.ndarray:
        order = np.argpartition(view.forecast.mean, (k, len(view.symbols) - k))
        weights = np.zeros(len(view.symbols))
        weights[order[:k]], weights[order[-k:]] = -0.5 / k, 0.5 / k
        return weights

    return rule


def sign(view: Any) -> np.ndarray:
    """Long or short the only symbol."""
    return np.sign(view.forecast.mean)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--profile", action="store_true")
    chosen = options.parse_args()
    cases = {
        "2,500 days x 500 symbols, best and worst 12": (market(2500, 500), top_and_bottom(12)),
        "2,500 days x 500 symbols, best and worst 25": (market(2500, 500), top_and_bottom(25)),
        "200,000 minutes x 1 symbol, sign of the forecast": (market(200_000, 1, 60 * 10**9), sign),
    }
    for name, (bars, rule) in cases.items():
        forecast, times = forecasts(bars), []
        for _ in range(chosen.rounds):
            with ledger.aside():
                watch = cProfile.Profile() if chosen.profile else None
                start = perf_counter()
                if watch:
                    watch.enable()
                result = backtest(rule, forecast, bars, cash=10_000_000.0, costs=Costs())
                if watch:
                    watch.disable()
                times.append(perf_counter() - start)
                if watch:
                    pstats.Stats(watch).sort_stats("tottime").print_stats(22)
        best = min(times)
        print(
            f"=> {name}: {best:.2f} s, {len(result.orders):,} orders, {len(result.fills):,} fills, "
            f"{best / len(bars) * 1e6:.1f} us a row, {best / max(len(result.orders), 1) * 1e6:.1f} us an order"
        )


if __name__ == "__main__":
    main()
