"""Splits and dividends read from adjusted prices."""

import numpy as np

from .. import clock
from ..errors import PriceError

_SIMPLE_RATIOS = np.array([2, 3, 4, 5, 6, 7, 8, 10, 15, 20, 25, 30, 50, 100, 1.5, 1.25, 4 / 3, 5 / 3, 2.5])


def actions_from_adjusted(
    close: np.ndarray, adj: np.ndarray, name: str, stamps: np.ndarray, splits: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Read splits and dividends from the steps of adjusted close / close.

    On the first bar after an action the ratio rises by the factor f by which the earlier past was scaled down. A step
    to a simple ratio (2, 3/2, 7, 1/20, ...) that the price makes in the other direction is a split, any other a
    dividend of (previous close) x (1 - 1/f). Steps within the rounding of the adjusted prices are none.
    """
    split, dividend = np.ones(len(close)), np.zeros(len(close))
    known = np.flatnonzero(np.isfinite(close) & np.isfinite(adj) & (adj > 0) & (close > 0))
    if len(known) < 2:
        return split, dividend
    c, a = close[known], adj[known]
    digits = next((d for d in (2, 3, 4, 5, 6) if np.abs(a - np.round(a, d)).max() < 1e-9), None)
    noise = 3e-6 + (2 * 0.5 * 10.0**-digits * (1 / a[1:] + 1 / a[:-1]) if digits is not None else 0.0)
    step = (a[1:] / c[1:]) / (a[:-1] / c[:-1])
    for k in np.flatnonzero(np.abs(step - 1) > noise):
        row, f = int(known[k + 1]), float(step[k])
        near = _SIMPLE_RATIOS[np.argmin(np.abs(np.log(_SIMPLE_RATIOS) - abs(np.log(f))))]
        ratio = float(near if f > 1 else 1 / near)
        moved = np.log(c[k + 1] / c[k])
        if splits and abs(f / ratio - 1) < 0.02 and abs(moved + np.log(ratio)) < abs(moved):
            split[row] = ratio
            f /= ratio
            if abs(f - 1) <= max(3e-3, float(np.max(noise))):
                continue
        if f < 1:
            raise PriceError(
                f"Adjusted close / close should only rise at dividends, but for {name} it falls by {1 - f:.3%} on "
                f"{clock.show(stamps[row])[:10]}. Drop the column 'Adj Close', or pass adjusted='total' if close is "
                "adjusted."
            )
        dividend[row] = c[k] / split[row] * (1 - 1 / f)
    return split, dividend
