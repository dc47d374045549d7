"""A user's own pandas function as a feature: recomputed on exactly its trailing window, in history and per tick.

History is the loop over `CustomColumn.push`, like everywhere else, so the two agree by construction; what the function
sees is a fresh DataFrame of the last `lookback` bars of one symbol and nothing more. That costs a DataFrame per bar and
symbol (some 50 us): fine for research on daily bars, slow for a large panel.
"""

from typing import Any

import numpy as np

from ..errors import InputError
from .program import Custom


class CustomColumn:
    """The rolling window of one custom function over a panel.

    Parameters
    ----------
    custom : Custom
        The function, its lookback and the adjusted fields it reads.
    n_symbols : int
        Columns of the panel.
    """

    def __init__(self, custom: Custom, n_symbols: int):
        self.custom = custom
        self.window = np.full((custom.lookback, n_symbols, len(custom.fields)), np.nan)
        self.seconds = np.full(custom.lookback, np.nan)

    def push(self, seconds: float, adjusted: np.ndarray) -> np.ndarray:
        """Take one bar, (n_symbols, n_fields), and return the function's values, (n_symbols,)."""
        self.window[:-1], self.window[-1] = self.window[1:], adjusted
        self.seconds[:-1], self.seconds[-1] = self.seconds[1:], seconds
        out = np.full(self.window.shape[1], np.nan)
        whole = np.isfinite(self.window).all(axis=(0, 2))
        if not whole.any():
            return out
        import pandas as pd

        index = pd.to_datetime(np.round(self.seconds * 1e6).astype(np.int64), unit="us", utc=True)
        for symbol in np.flatnonzero(whole):
            frame = pd.DataFrame(self.window[:, symbol].copy(), index=index, columns=list(self.custom.fields))
            out[symbol] = self._call(frame)
        return out

    def _call(self, frame: Any) -> float:
        try:
            said = self.custom.function(frame)
        except Exception as error:
            error.add_note(f"In causal({self._name}), on the {len(frame)} bars to {frame.index[-1]}.")
            raise
        try:
            value = float(np.asarray(said, dtype=np.float64).reshape(-1)[-1])
        except (TypeError, ValueError, IndexError):
            raise InputError(
                f"causal({self._name}) must return a number, or a series whose last value counts, was {said!r}."
            ) from None
        return value if np.isfinite(value) else np.nan

    @property
    def _name(self) -> str:
        return getattr(self.custom.function, "__name__", repr(self.custom.function))
