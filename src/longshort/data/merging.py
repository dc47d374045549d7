"""Bars of single symbols on the union of their stamps."""

from collections.abc import Mapping

import numpy as np

from ..bars import Bars
from ..errors import DataError


def merge(parts: Mapping[str, Bars]) -> Bars:
    """Return one panel of several symbols; where a symbol has no bar it is NaN, never filled.

    Examples
    --------
    >>> one = Bars.from_arrays([10**18, 2 * 10**18], "A", {"close": [1.0, 2.0]})
    >>> two = Bars.from_arrays([2 * 10**18, 3 * 10**18], "B", {"close": [5.0, 6.0]})
    >>> merge({"A": one, "B": two})["close"].tolist()
    [[1.0, nan], [2.0, 5.0], [nan, 6.0]]
    """
    one = next(iter(parts.values()))
    if len(parts) == 1:
        return one
    if len({bars.bar_size for bars in parts.values()}) > 1:
        sizes = ", ".join(f"{name} {bars.bar_size}" for name, bars in parts.items())
        raise DataError(f"All symbols should have bars of one size; they have {sizes}. Resample first.")
    time = np.unique(np.concatenate([bars.time for bars in parts.values()]))
    shape = (len(time), len(parts))
    names = dict.fromkeys(name for bars in parts.values() for name in bars.fields)
    fields = {name: np.full(shape, np.nan) for name in names}
    split, dividend = np.ones(shape), np.zeros(shape)
    for j, bars in enumerate(parts.values()):
        rows = np.searchsorted(time, bars.time)
        for name in bars.fields:
            fields[name][rows, j] = bars[name][:, 0]
        split[rows, j], dividend[rows, j] = bars.split[:, 0], bars.dividend[:, 0]
    more = {"calendar": one.calendar, "bar_size": one.bar_size, "source": one.source}
    return Bars(time, tuple(parts), fields, split=split, dividend=dividend, **more)
