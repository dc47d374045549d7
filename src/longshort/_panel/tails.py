"""The latest bars of a feed, adjusted by everything since its first bar."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import TimeError
from .arrays import State

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
        self._close = np.full(len(bars.symbols), np.nan)  # the last one of each symbol
        if "close" in bars:
            for j in range(len(bars.symbols)):
                finite = np.flatnonzero(np.isfinite(bars["close"][:, j]))
                if len(finite):
                    self._close[j] = bars["close"][finite[-1], j]
        self._listed = (bars.state != State.UNLISTED).any(axis=0)
        first = max(0, len(bars) - n)
        self.bars = bars._rows(slice(first, None), ("dates",))
        self._know(self.bars, {name: np.array(getattr(bars, name)[first:]) for name in ("factor", "split_factor")})

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
        known = {name: self._factor(old, one, name == "factor")[None] for name in ("factor", "split_factor")}
        if "close" in old:
            self._close = np.where(np.isfinite(one["close"][0]), one["close"][0], self._close)
        state = np.where(self._listed & (one.state == State.UNLISTED), State.MISSING, one.state).astype(np.uint8)
        self._listed |= state[0] != State.UNLISTED
        first = max(0, len(old) + 1 - self.n)

        def joined(name: str, row: np.ndarray) -> np.ndarray:
            before = old[name] if name in old.fields else getattr(old, name)
            return np.concatenate([before[first:], row])

        parts = {name: joined(name, getattr(one, name)) for name in ("time", "split", "dividend")}
        fields = {name: joined(name, one[name]) for name in old.fields}
        self.bars = old._replace(fields=fields, state=joined("state", state), **parts)
        self._know(self.bars, {name: joined(name, row) for name, row in known.items()})
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

    @staticmethod
    def _know(bars: Any, known: Mapping[str, np.ndarray]) -> None:
        """Tell bars their factors, which depend on what came before them."""
        for name, values in known.items():
            values.flags.writeable = False
            bars._cache[name] = values
