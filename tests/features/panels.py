"""Small markets for the tests of features, with everything that can go wrong in one of them."""

import numpy as np

from longshort.bars import Bars
from longshort.data.synthetic import random_walk


def quiet(n: int, symbols: int | tuple[str, ...] = ("AAA", "SPY", "CCC"), seed: int = 0, **more) -> Bars:
    """Return bars without gaps or actions, with a joined series called "vix"."""
    bars = random_walk(n, symbols, seed=seed)
    vix = np.repeat(20 + np.cumsum(np.random.default_rng(seed).normal(0, 0.1, n))[:, None], len(bars.symbols), axis=1)
    fields = {name: bars[name] for name in bars.fields}
    return Bars.from_arrays(bars.time, bars.symbols, {**fields, "vix": vix, **more}, bar_size="1D")


def eventful(n: int, symbols: int | tuple[str, ...] = ("AAA", "SPY", "CCC"), seed: int = 0) -> Bars:
    """Return bars with a split, a dividend, a gap, a late listing and a day without trade. Needs n >= 200."""
    bars = quiet(n, symbols, seed)
    fields = {name: np.array(bars[name]) for name in bars.fields}
    split, dividend = np.ones(bars.shape), np.zeros(bars.shape)
    last = len(bars.symbols) - 1
    split[n // 2, 0] = 4.0
    dividend[n // 2 + 7, 0] = 0.5
    dividend[n // 3, last] = 0.25
    for name in ("open", "high", "low", "close"):
        fields[name][n // 2 :, 0] /= 4.0
    fields["volume"][n // 2 + 3, 0] = 0.0
    for name in fields:
        fields[name][n // 4 : n // 4 + 3, last] = np.nan
        if last:
            fields[name][:20, last] = np.nan
    if last:
        dividend[:20, last], split[:20, last] = 0.0, 1.0
    return Bars.from_arrays(bars.time, bars.symbols, fields, split=split, dividend=dividend, bar_size="1D")


def bits(values: np.ndarray) -> np.ndarray:
    """Return the bits of an array, with one pattern for all NaN."""
    return np.where(np.isnan(values), np.nan, values).view(np.int64)


def rows(bars: Bars, order: tuple[str, ...]) -> np.ndarray:
    """Return the array form of all rows, (n_bars, n_inputs, n_symbols)."""
    columns = [
        np.repeat((bars.time / 1e9)[:, None], len(bars.symbols), axis=1)
        if name == "time"
        else getattr(bars, name)
        if name in ("split", "dividend")
        else bars[name]
        for name in order
    ]
    return np.ascontiguousarray(np.stack(columns, axis=1))
