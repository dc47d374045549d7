"""Checks of the arrays that become Bars: stamps, symbols, prices, actions, states."""

import re
from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import Any

import numpy as np

from .. import clock
from ..errors import InputError, PriceError, TimeError

PRICE_FIELDS = ("open", "high", "low", "close")
_SYMBOL = re.compile(r"[A-Za-z0-9^][A-Za-z0-9.^=&_:+@-]{0,63}")


class State(IntEnum):
    """Why a cell has a price, or has none."""

    OK = 0
    MISSING = 1  # the market was open and there should be a bar
    HALTED = 2  # trading in the symbol was suspended
    CLOSED = 3  # the symbol's market was closed while others traded
    UNLISTED = 4  # the symbol did not exist yet, or no more


def read_time(time: Any, calendar: str | None) -> np.ndarray:
    """Return stamps as int64 ns; days (datetime64[D]) name sessions and are moved to their ends."""
    array = np.asarray(time)
    array = array.astype(np.int64) if array.size == 0 else array
    if array.dtype.kind in "UO":
        moments = [
            clock.as_moment(str(t) + "Z" if isinstance(t, str) and "T" in t and len(t) == 16 else t)
            for t in array.ravel()
        ]
        if any(moment.ns is None for moment in moments):
            raise TimeError(
                "Stamps say when a bar was known, to the second; a bare date does not. Use from_pandas(..., "
                "calendar='XNYS')."
            )
        array = np.array([moment.ns for moment in moments], np.int64).reshape(array.shape)
    elif array.dtype.kind == "M":
        if np.isnat(array).any():
            raise TimeError(
                f"Stamps should all be known, but row {int(np.flatnonzero(np.isnat(array))[0])} is NaT. Remove it."
            )
        check_years(array)
        if array.dtype == np.dtype("datetime64[D]") and array.ndim == 1:
            check_stamps(array.astype("datetime64[ns]").astype(np.int64))
            return clock.session_closes("24/7" if calendar is None else calendar, array)
        array = array.astype("datetime64[ns]").astype(np.int64)
    elif array.dtype.kind not in "iu":
        raise TimeError(f"Stamps should be UTC ns as int64 or datetime64; they were {array.dtype}.")
    if array.ndim != 1:
        raise TimeError(f"Stamps should be one row of numbers; the shape was {array.shape}.")
    array = array.astype(np.int64, copy=True)
    check_stamps(array)
    return array


def read_symbols(symbols: str | Iterable[str]) -> tuple[str, ...]:
    names = (symbols,) if isinstance(symbols, str) else tuple(symbols)
    if not names:
        raise InputError("Bars need at least one symbol; there was none.")
    for name in names:
        check_symbol(name)
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) != len(names) else []
    if twice:
        raise InputError(f"Every symbol should be named once, but {twice[0]!r} is named {names.count(twice[0])} times.")
    return names


def read_fields(fields: Mapping[str, Any], shape: tuple[int, int]) -> dict[str, np.ndarray]:
    if not isinstance(fields, Mapping):
        raise InputError(f"fields should be a mapping such as {{'close': array}}; it was {type(fields).__name__}.")
    if not fields:
        raise InputError("Bars need at least one field such as 'close'; there was none.")
    return {str(name): read_array(values, shape, str(name)) for name, values in fields.items()}


def read_array(values: Any, shape: tuple[int, int], name: str) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype.kind not in "iuf" or array.dtype == np.float16:
        raise PriceError(
            f"Field {name!r} should hold numbers (float64), but its type was {array.dtype}. "
            "Convert the column first; text, booleans and half precision are not prices."
        )
    if array.ndim == 1 and shape[1] == 1:
        array = array[:, None]
    if array.shape != shape:
        raise InputError(f"Field {name!r} should have shape {shape} (n_bars, n_symbols); it was {array.shape}.")
    return np.array(array, np.float64, order="C")


def read_action(values: Any, shape: tuple[int, int], name: str, neutral: float) -> np.ndarray:
    if values is None:
        return np.broadcast_to(np.float64(neutral), shape)  # no memory, and readers see that there is no action
    array = read_array(values, shape, name)
    bad = ~(array > 0) if name == "split" else ~(array >= 0)
    if bad.any() or np.isinf(array).any():
        i, j = np.argwhere(bad | np.isinf(array))[0]
        raise PriceError(
            f"A {name} should be {'a positive ratio, 1 for none' if name == 'split' else 'zero or more'}; row {i}, "
            f"symbol {j} was "
            f"{array[i, j]:g}."
        )
    return array


def read_state(state: Any, shape: tuple[int, int]) -> np.ndarray:
    array = np.asarray(state)
    if array.ndim == 1 and shape[1] == 1:
        array = array[:, None]
    if (
        array.shape != shape
        or array.dtype.kind not in "iu"
        or (array.size and not (0 <= array.min() <= array.max() <= max(State)))
    ):
        raise InputError(f"state should be State values of shape {shape}; it was {array.dtype} {array.shape}.")
    return np.array(array, np.uint8, order="C")


def infer_state(fields: Mapping[str, np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """Cells without a price: UNLISTED before the symbol's first one, MISSING afterwards (an end is known too late)."""
    prices = [fields[name] for name in PRICE_FIELDS if name in fields] or list(fields.values())[:1]
    absent = np.zeros(shape, bool)
    for array in prices:
        absent |= np.isnan(array)
    state = np.where(absent, State.MISSING, State.OK).astype(np.uint8)
    state[absent & ~np.logical_or.accumulate(~absent, axis=0)] = State.UNLISTED
    return state


def check_prices(fields: Mapping[str, np.ndarray], time: np.ndarray, symbols: tuple[str, ...]) -> None:
    """Refuse infinite numbers, prices that are not positive, negative volumes and bars with low above high."""

    def refuse(bad: np.ndarray, what: str, advice: str) -> None:
        i, j = np.argwhere(bad)[0]
        where = f"{symbols[j]} in row {i} ({clock.show(int(time[i]))})"
        raise PriceError(
            f"{what.format(*(f'{a[i, j]:g}' for a in shown))} for {where}, {int(bad.sum())} in all. {advice}"
        )

    for name, array in fields.items():
        shown = [array]
        if np.isinf(array).any():
            refuse(np.isinf(array), f"Numbers should be finite, but {name} was {{}}", "Mark absent values as NaN.")
        if name in PRICE_FIELDS and (array <= 0).any():
            refuse(
                array <= 0,
                f"Prices should be above zero, but {name} was {{}}",
                "Look with check(), repair with clean().",
            )
        if name == "volume" and (array < 0).any():
            refuse(array < 0, "Volume should not be negative, but it was {}", "Look with check(), repair with clean().")
    if "low" in fields and "high" in fields:
        shown = [fields["low"], fields["high"]]
        bad = fields["low"] > fields["high"]
        if bad.any():
            refuse(
                bad,
                "low should not be above high, but they were {} and {}",
                "Are the columns swapped? Look with check().",
            )


def check_years(stamps: np.ndarray) -> None:
    """Refuse datetimes outside 1800 .. 2200, which int64 ns can hold but markets have not."""
    if stamps.size:
        years = stamps.astype("datetime64[Y]").astype(np.int64) + 1970
        bad = np.flatnonzero((years < 1800) | (years > 2200))
        if len(bad):
            raise TimeError(
                f"Stamps should lie in 1800 .. 2200, but row {bad[0]} is in the year {years[bad[0]]}. "
                "An epoch number in another unit? Convert it with pd.to_datetime(..., unit='s') or 'ms'."
            )


def check_stamps(stamps: np.ndarray, whose: str = "") -> None:
    """Refuse stamps (int64 ns) that repeat, go back, or are epoch numbers in another unit."""
    if not len(stamps):
        return
    if stamps.min() >= 0 and stamps.max() < 10**16:  # before 1970-04-26: no data set ends there
        raise TimeError(
            f"Stamps are UTC nanoseconds, and these would all be in early 1970 (the last is {int(stamps.max())}). "
            f"{clock.unit_advice(int(stamps.max()))}"
        )
    check_years(np.array([stamps.min(), stamps.max()]).astype("datetime64[ns]"))
    steps = np.diff(stamps)
    bad = np.flatnonzero(steps <= 0)
    if len(bad):
        row = int(bad[0]) + 1
        what = "repeats the one before it" if steps[row - 1] == 0 else f"comes after {clock.show(stamps[row - 1])}"
        fix = "clean(frame, 'drop_duplicates')" if steps[row - 1] == 0 else "clean(frame, 'sort')"
        raise TimeError(
            f"Stamps should increase from row to row{whose}, but row {row} ({clock.show(stamps[row])}) {what}; "
            f"{len(bad)} rows in all. Repair knowingly: {fix}."
        )


def check_symbol(name: object) -> None:
    """Refuse names that are no ticker: empty, long, with path separators, spaces or look-alike letters."""
    if not isinstance(name, str) or not _SYMBOL.fullmatch(name) or ".." in name:
        raise InputError(
            f"A symbol should be 1 to 64 of the characters A-Z a-z 0-9 . ^ = & _ : + @ -, like 'AAPL' or 'BRK-B'; "
            f"it was {str(name)[:70]!r}. Rename the column."
        )
