"""Learning from sequences and carrying the state: what `context="carry"` means, in training and in forecasting.

A window spends `lookback` steps of the network on one forecast. A chunk spends `burn_in` steps on warming the state up
and then learns a forecast at every further bar (back-propagation through the whole chunk), so that each bar is read
about three times instead of `lookback` times. The forecasts are made the same way: the state is carried from the first
bar on, and starts anew after every gap.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..features.windows import Windows
from .training import Samples


@dataclass(frozen=True, eq=False)
class Chunks:
    """Decision rows in runs of neighbours, cut into chunks of nearly equal length; none reaches over a gap.

    Parameters
    ----------
    windows : Windows
        One per decision row; its first row is the first that a chunk beginning there reads.
    chunk, place : int array (n_windows,)
        The chunk each decision row belongs to, and its place in there. Chunks are in the order of their first rows.
    counts : int array (n_chunks,)
        Decision rows in each chunk.

    Examples
    --------
    >>> import numpy as np
    >>> windows = Windows.over(np.zeros((9, 1, 1)), lookback=3)
    >>> chunks = Chunks.over(windows, longest=3)
    >>> windows.rows.tolist(), chunks.chunk.tolist(), chunks.counts.tolist()
    ([2, 3, 4, 5, 6, 7, 8], [0, 0, 1, 1, 2, 2, 2], [2, 2, 3])
    """

    windows: Windows
    chunk: np.ndarray
    place: np.ndarray
    counts: np.ndarray

    @classmethod
    def over(cls, windows: Windows, longest: int) -> "Chunks":
        """Cut the rows of `windows` into chunks of at most `longest`."""
        order = np.lexsort((windows.rows, windows.columns))
        rows, columns = windows.rows[order].astype(np.int64), windows.columns[order]
        begins = np.ones(len(rows), bool)
        begins[1:] = (np.diff(rows) != 1) | (np.diff(columns) != 0)
        run, firsts = np.cumsum(begins) - 1, np.flatnonzero(begins)
        lengths = np.diff(firsts, append=len(rows))
        parts = -(-lengths // longest)  # chunk c of a run has its places from c * length // parts on
        position = np.arange(len(rows)) - firsts[run]
        part = ((position + 1) * parts[run] - 1) // lengths[run]
        place = position - part * lengths[run] // parts[run]
        number = (np.cumsum(parts) - parts)[run] + part
        first_rows, first_columns = rows[place == 0], columns[place == 0]
        rank = np.empty(len(first_rows), np.int64)
        rank[np.lexsort((first_columns, first_rows))] = np.arange(len(first_rows))
        chunk, places = np.empty(len(rows), np.int64), np.empty(len(rows), np.int64)
        chunk[order], places[order] = rank[number], place
        return cls(windows, chunk, places, np.bincount(chunk, minlength=len(first_rows)))

    def __len__(self) -> int:
        return len(self.counts)

    def samples(self, targets: np.ndarray, size: int) -> Samples:
        """Return what an engine with `size` targets per window learns: every target counts the same.

        Parameters
        ----------
        targets : float64 array (n_windows, n_targets)
            Scaled outcomes of the decision rows.
        size : int
            At least the longest chunk; shorter ones are filled up with NaN, which teaches nothing.
        """
        starts = np.empty(len(self), np.int64)
        first = self.place == 0
        starts[self.chunk[first]] = self.windows.starts[first]
        filled = np.full((len(self), size, targets.shape[1]), np.nan)
        filled[self.chunk, self.place] = targets
        even = bool((self.counts == self.counts[:1]).all())
        return Samples(starts, filled, weights=None if even else self.counts / self.counts.mean())


def outputs(engine: Any, windows: Windows, context: str) -> np.ndarray:
    """Return an engine's outputs (n_windows, n_outputs) at the decision rows: of each window by itself with the context
    ``"window"``, of the state carried from the first row of the features on with ``"carry"``.
    """
    if context == "window":
        return engine.predict(windows.starts)
    columns, place = np.unique(windows.columns, return_inverse=True)
    n_rows = int(windows.rows.max(initial=-1)) + 1
    along = engine.carry(columns.astype(np.int64) * windows.features.shape[2], n_rows)
    return along[windows.rows, place]


def without(features: np.ndarray, broken: np.ndarray) -> np.ndarray:
    """Return the features (n_bars, n_symbols, n_features) with NaN in the broken cells, which end a carried state."""
    if not np.isfinite(features[broken]).any():
        return features
    features = features.copy()
    features[broken] = np.nan
    return features
