"""Speed of features: a panel of 500 symbols x 5000 bars against TA-Lib and pandas, and one tick from Python.

RSI(14), MACD(12, 26, 9), Bollinger bands (20, 2) and the rolling standard deviation (20) of log returns: eight columns.
Every contender fills the same (n_bars, n_symbols, 8) array, and the last rows are compared. The contenders take turns,
each alone on the machine, and medians are compared; for contenders with one thread the processor time is shown too,
which other programs disturb less. TA-Lib and pandas use one thread, longshort one and all available.

longshort returns an array of its own, in the memory of a result that is gone; or fills one that is given (``out=``);
or, with "new pages", takes memory the system must first clear, as for the first result of a process. TA-Lib is also
timed without filling the panel (its results kept in a list), the least a loop can do. pandas is timed as people write
it, symbol by symbol, and over a frame of all symbols at once. Needs TA-Lib: ``pip install TA-Lib``.

    python benchmarks/features.py [--rounds 5] [--symbols 500] [--bars 5000]
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import talib

from longshort import features as f
from longshort.data.synthetic import random_walk
from longshort.native import isa

NEW_PAGES = "longshort, new pages"
SET = f.FeatureSet([f.rsi(14), f.macd(), f.bollinger(20)[:3], f.volatility(20)])


def longshort(bars, threads: int, out: np.ndarray | None = None) -> np.ndarray:
    return SET.compute(bars, threads=threads, out=out)


def _talib_columns(close: np.ndarray) -> list[np.ndarray]:
    returns = np.empty_like(close)
    returns[0], returns[1:] = np.nan, np.diff(np.log(close))
    deviation = np.empty_like(close)
    deviation[0], deviation[1:] = np.nan, talib.STDDEV(returns[1:], 20, (20 / 19) ** 0.5)
    return [talib.RSI(close, 14), *talib.MACD(close, 12, 26, 9), *talib.BBANDS(close, 20), deviation]


def talib_loop(bars) -> list[list[np.ndarray]]:
    closes = np.ascontiguousarray(bars["close"].T)
    return [_talib_columns(close) for close in closes]


def talib_panel(bars) -> np.ndarray:
    closes = np.ascontiguousarray(bars["close"].T)
    out = np.empty((len(bars), len(bars.symbols), 8))
    for j, close in enumerate(closes):
        for k, column in enumerate(_talib_columns(close)):
            out[:, j, k] = column
    return out


def _pandas_columns(close):
    """Return the columns of a Series, or of a DataFrame with a column for each symbol."""
    change = close.diff()
    gain = change.clip(lower=0).ewm(alpha=1 / 14, adjust=False).mean()
    loss = (-change).clip(lower=0).ewm(alpha=1 / 14, adjust=False).mean()
    line = close.ewm(span=12, adjust=False).mean() - close.ewm(span=26, adjust=False).mean()
    signal = line.ewm(span=9, adjust=False).mean()
    middle, reach = close.rolling(20).mean(), 2 * close.rolling(20).std(ddof=0)
    bands = [middle + reach, middle, middle - reach]
    deviation = np.log(close).diff().rolling(20).std()
    return [100 * gain / (gain + loss), line, signal, line - signal, *bands, deviation]


def pandas_loop(bars) -> np.ndarray:
    out = np.empty((len(bars), len(bars.symbols), 8))
    for j in range(len(bars.symbols)):
        for k, column in enumerate(_pandas_columns(pd.Series(bars["close"][:, j]))):
            out[:, j, k] = column
    return out


def pandas_frame(bars) -> np.ndarray:
    out = np.empty((len(bars), len(bars.symbols), 8))
    for k, column in enumerate(_pandas_columns(pd.DataFrame(bars["close"]))):
        out[:, :, k] = column
    return out


def _tick(row, symbols: int = 1) -> Callable[[], float]:
    stepper = f.FeatureSet(f.technical()).stepper(symbols)

    def microseconds() -> float:
        begin = time.perf_counter()
        for _ in range(2_000):
            stepper.step(row)
        return (time.perf_counter() - begin) / 2_000 * 1e6

    return microseconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name, default in (("rounds", 5), ("symbols", 500), ("bars", 5000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    bars = random_walk(options.bars, options.symbols)
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    kept = np.zeros((options.bars, options.symbols, 8))
    best = f"longshort, {cpus} threads"
    contenders: dict[str, Callable[[], object]] = {
        "longshort, 1 thread": lambda: longshort(bars, 1),
        best: lambda: longshort(bars, cpus),
        f"longshort, {cpus}, out=": lambda: longshort(bars, cpus, kept),
        NEW_PAGES: lambda: longshort(bars, cpus),
        "TA-Lib, lists": lambda: talib_loop(bars),
        "TA-Lib, panel": lambda: talib_panel(bars),
        "pandas, loop": lambda: pandas_loop(bars),
        "pandas, frame": lambda: pandas_frame(bars),
    }
    wall: dict[str, list[float]] = {name: [] for name in contenders}
    cpu: dict[str, list[float]] = {name: [] for name in contenders}
    expected = longshort(bars, 1)[-1]
    for run in range(options.rounds + 1):
        for name, work in contenders.items():
            if name == "pandas, loop" and run > max(2, options.rounds // 3):
                continue
            taken = longshort(bars, cpus) if name == NEW_PAGES else None  # now no memory of an earlier result is left
            begin, used = time.perf_counter(), time.process_time()
            result = work()
            if run:  # the first round warms up
                wall[name].append(time.perf_counter() - begin)
                cpu[name].append(time.process_time() - used)
            if isinstance(result, np.ndarray):
                np.testing.assert_allclose(result[-1], expected, rtol=1e-6, atol=1e-8, err_msg=name)
            del result, taken
    seconds = {name: statistics.median(times) for name, times in wall.items()}
    used = {name: statistics.median(times) for name, times in cpu.items()}
    one = used["longshort, 1 thread"]
    print(f"{options.symbols} symbols x {options.bars} bars x 8 columns, core {isa}, median of {options.rounds} rounds")
    print(f"{'':24}{'wall s':>9}{'x longshort':>13}{'cpu s':>9}{'x 1 thread':>12}")
    for name in contenders:
        ratios = f"{seconds[name] / seconds[best]:13.1f}{used[name]:9.4f}{used[name] / one:12.1f}"
        print(f"{name:24}{seconds[name]:9.4f}{ratios}")
    for name, wanted in (
        ("TA-Lib, lists", "   (wanted 3)"),
        ("pandas, loop", "   (wanted 50)"),
        ("pandas, frame", ""),
    ):
        print(f"=> {name} / longshort {seconds[name] / seconds[best]:6.1f}{wanted}")
    small = random_walk(600, 1)
    names = f.FeatureSet(f.technical()).inputs
    mapping = small.row(599)
    array = np.stack([np.broadcast_to(np.asarray(mapping[name], dtype=np.float64), (1,)) for name in names])
    for what, row in (("an array", array), ("a mapping", mapping)):
        ticks = [_tick(row)() for _ in range(2 * options.rounds + 1)]
        print(f"=> one tick of 12 features, one symbol, from {what}: {statistics.median(ticks):.2f} us (wanted 5)")


if __name__ == "__main__":
    main()
