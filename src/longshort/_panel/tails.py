"""The latest bars of a feed, adjusted by everything since its first bar."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import TimeError

_PARTS = ("split", "dividend", "state")


class Tail:
    """The last `n` bars, one row longer at every `append`; their `adjusted` fields are those of the whole history.

    Parameters
    ----------
    bars : Bars
        History up to the row before the first `append`.
    n : int
        Bars to keep.

    Attributes
    ----------
    bars : Bars
        The last `n` of all bars so far.
    """

    def __init__(self, bars: Any, n: int):
        self.n = n
        known = {"factor": bars.factor, "split_factor": bars.split_factor}
        self._close = np.full(len(bars.symbols), np.nan)  # the last one of each symbol
        if "close" in bars:
            for j in range(len(bars.symbols)):
                finite = np.flatnonzero(np.isfinite(bars["close"][:, j]))
                if len(finite):
                    self._close[j] = bars["close"][finite[-1], j]
        self.bars = self._cut(bars, known)

    def append(self, row: Mapping[str, Any]) -> Any:
        """Take one closed row (as `Bars.row` gives it) and return the last `n` bars with it."""
        old = self.bars
        one = type(old)(
            [row["time"]],
            old.symbols,
            {name: np.asarray(row[name])[None] for name in old.fields},
            **{name: np.asarray(row[name])[None] for name in _PARTS if name in row},
            calendar=old.calendar,
            bar_size=old.bar_size,
        )
        if len(old) and one.time[0] <= old.time[-1]:
            raise TimeError(
                f"A row must come after the last one ({old.time[-1]} ns UTC), was stamped {one.time[0]}. Feed rows in "
                "order, each once."
            )
        known = {
            name: np.concatenate([getattr(old, name), self._factor(old, one, name == "factor")[None]])
            for name in ("factor", "split_factor")
        }
        if "close" in old:
            self._close = np.where(np.isfinite(one["close"][0]), one["close"][0], self._close)
        self.bars = self._cut(old.append(one, gaps="keep"), known)
        return self.bars

    def _factor(self, old: Any, one: Any, dividends: bool) -> np.ndarray:
        """Return a factor at the new row (n_symbols,): multiplied by the row's actions as `Bars.factor` does."""
        out = np.array(old.factor[-1] if dividends else old.split_factor[-1]) if len(old) else np.ones(len(old.symbols))
        split, dividend = one.split[0], one.dividend[0]
        for j in np.flatnonzero(((split != 1.0) | (dividend != 0.0)) & np.isfinite(self._close)):
            out[j] = out[j] * split[j]
            if dividends and dividend[j] != 0.0:
                close = self._close[j] / split[j]
                out[j] = out[j] * (close / (close - dividend[j]))
        return out

    def _cut(self, bars: Any, known: Mapping[str, np.ndarray]) -> Any:
        first = max(0, len(bars) - self.n)
        cut = bars._rows(slice(first, None), ("dates",))
        for name, values in known.items():
            values = np.array(values[first:])
            values.flags.writeable = False
            cut._cache[name] = values
        return cut
