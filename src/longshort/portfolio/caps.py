"""Caps on weights: functions that only ever bring weights nearer to zero.

Each takes full weights `w` (targets, and what is held where there is none) and the mask `kept` of positions that nobody
asked to change, and returns both. Targets give way first. Kept positions are touched only where they alone are over the
cap by more than the band; then all shrink together. A later reduction never breaks any of these caps but the net one,
so one pass with that one last satisfies them all.
"""

import numpy as np

from .rules import total_of

SLACK = 1.0 + 1e-9  # rounding

Capped = tuple[np.ndarray, np.ndarray]


def cap_gross(w: np.ndarray, kept: np.ndarray, cap: float, band: float) -> Capped:
    """Bring the sum of absolute weights down to `cap`."""
    size = np.abs(w)
    total, held = total_of(size), total_of(size[kept])
    if total <= cap * SLACK:
        return w, kept
    if held > cap * (1.0 + band) * SLACK:
        return w * (cap / total), np.zeros_like(kept)
    return np.where(kept, w, w * (max(cap - held, 0.0) / (total - held))) if total > held else w, kept


def cap_squares(w: np.ndarray, kept: np.ndarray, cap: float, band: float) -> Capped:
    """Bring the sum of squared weights down to `cap` by cutting the largest ones to one size."""
    squares = w * w
    total, held = total_of(squares), total_of(squares[kept])
    if total <= cap * SLACK:
        return w, kept
    if held > cap * (1.0 + band) ** 2 * SLACK:
        kept, held = np.zeros_like(kept), 0.0
    size = largest_allowed(np.abs(w[~kept]), max(cap - held, 0.0))
    return np.where(kept, w, np.clip(w, -size, size)), kept


def largest_allowed(sizes: np.ndarray, room: float) -> float:
    """Return c such that the squares of ``min(size, c)`` add up to `room`; infinite where nothing needs cutting."""
    sizes = np.sort(sizes)
    below = np.concatenate(([0.0], np.cumsum(sizes * sizes)))  # squares of those smaller than c
    for m in range(len(sizes)):  # the m smallest stay as they are
        c = np.sqrt(max(room - below[m], 0.0) / (len(sizes) - m))
        if c <= sizes[m]:
            return float(c)
    return float("inf")


def cap_added(w: np.ndarray, kept: np.ndarray, held: np.ndarray, cap: float) -> Capped:
    """Bring what is opened or added down to `cap`, in proportion; what is closed stays closed."""
    base = np.where(w * held > 0, np.sign(held) * np.minimum(np.abs(w), np.abs(held)), 0.0)
    total = total_of(np.abs(w - base))
    if total <= cap * SLACK:
        return w, kept
    return np.where(kept, w, base + (w - base) * (cap / total)), kept


def cap_net(w: np.ndarray, kept: np.ndarray, cap: float, band: float) -> Capped:
    """Bring the absolute sum of weights down to `cap` by cutting the heavier side."""
    net = net_of(w)
    over = abs(net) - cap
    if abs(net) <= cap * SLACK + 1e-12:  # weights that should cancel out hardly ever do to the last bit
        return w, kept
    heavy = w * net > 0
    free = heavy & ~kept
    there = total_of(np.abs(w[free]))
    cut = min(over, there)
    w = np.where(free, w * ((there - cut) / there), w) if there > 0 else w
    rest = over - cut
    if rest > cap * band + 1e-12:
        there = total_of(np.abs(w[heavy]))
        w, kept = np.where(heavy, w * (max(there - rest, 0.0) / there), w), kept & ~heavy
    return w, kept


def added(w: np.ndarray, held: np.ndarray) -> float:
    """Return the exposure that is opened or added: all of it on a side not held, growth on one that is."""
    base = np.where(w * held > 0, np.minimum(np.abs(w), np.abs(held)), 0.0)
    return total_of(np.abs(w) - base)


def net_of(w: np.ndarray) -> float:
    """Return the sum of weights, exact whatever their order."""
    return total_of(np.maximum(w, 0.0)) - total_of(np.maximum(-w, 0.0))
