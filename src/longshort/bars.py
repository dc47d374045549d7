"""Bars: a regular panel of market data, every row stamped with the instant at which it was known.

::

    time (n_bars,) int64 ns UTC        symbols ('AAPL', 'SPY')
    2014-06-06T20:00Z   close  645.57  194.42        one float64 array (n_bars, n_symbols) per field,
    2014-06-09T20:00Z           93.70  195.58        raw prices; what happened between them stands in
    2014-06-10T20:00Z           94.25  195.60        `split` (7.0 on 2014-06-09) and `dividend`

Nothing in a `Bars` can be changed and nothing is ever filled in: a symbol without a bar has NaN and a `state` that says
why. Prices stay as traded. What models read is `adjusted(field)`: raw price times `factor`, the product of all splits and
dividends known so far, 1 at the first bar. Later actions never change an earlier number, as they would if the past were
divided by them (`to_pandas(adjust="total")` gives that familiar view, for people).
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _frames, clock
from .errors import (
    DataError,
    HistoryChanged,
    InputError,
    NotEnoughData,
    PriceError,
    TimeError,
    UnknownName,
    did_you_mean,
)

if TYPE_CHECKING:
    import pandas as pd

PRICE_FIELDS = ("open", "high", "low", "close")


class State(IntEnum):
    """Why a cell has a price, or has none."""

    OK = 0
    MISSING = 1  # the market was open and there should be a bar
    HALTED = 2  # trading in the symbol was suspended
    CLOSED = 3  # the symbol's market was closed while others traded
    UNLISTED = 4  # the symbol did not exist yet, or no more


class Bars:
    """A frozen panel of bars: fields x time x symbol.

    Parameters
    ----------
    time : int64 array (n_bars,), UTC ns
        When each row was known, strictly increasing. For a daily bar that is the session's close.
    symbols : str or sequence of str
        Names of the columns.
    fields : mapping of str to float array (n_bars, n_symbols) or (n_bars,)
        "open", "high", "low", "close" (raw, as traded), "volume" and any other series.
    split : array, optional
        Ratio that takes effect with the bar: 7.0 where one share became seven, 1 elsewhere.
    dividend : array, optional
        Cash per share for which the bar is the first one without it, 0 elsewhere.
    state : uint8 array, optional
        `State` per cell. Left out, cells without prices are UNLISTED before the symbol's first bar, MISSING after it.
    calendar : str, optional
        "XNYS", "24/7", ...
    bar_size : str, optional
        "1D", "1h", "5m", ...; inferred from the stamps when left out.
    source : str, optional
        Where the data come from, for the record.

    Examples
    --------
    >>> bars = Bars.from_arrays(["2021-03-30T20:00", "2021-03-31T20:00"], "AAPL", {"close": [119.9, 122.15]}, calendar="XNYS")
    >>> bars
    Bars(2 x 1D bars, 2021-03-30 .. 2021-03-31, 1 symbol: AAPL; fields: close; calendar XNYS)
    >>> bars["close"].tolist()
    [[119.9], [122.15]]
    """

    __slots__ = ("_cache", "_fields", "bar_size", "calendar", "dividend", "source", "split", "state", "symbols", "time")

    time: np.ndarray
    symbols: tuple[str, ...]
    split: np.ndarray
    dividend: np.ndarray
    state: np.ndarray
    calendar: str | None
    bar_size: str
    source: str

    def __init__(
        self,
        time: Any,
        symbols: str | Iterable[str],
        fields: Mapping[str, Any],
        *,
        split: Any = None,
        dividend: Any = None,
        state: Any = None,
        calendar: str | None = None,
        bar_size: str | None = None,
        source: str = "arrays",
    ):
        stamps = _read_time(time)
        names = _read_symbols(symbols)
        shape = (len(stamps), len(names))
        arrays = _read_fields(fields, shape)
        _check_prices(arrays, stamps, names)
        self._store(
            time=stamps,
            symbols=names,
            fields=arrays,
            split=_read_action(split, shape, "split", 1.0),
            dividend=_read_action(dividend, shape, "dividend", 0.0),
            state=_infer_state(arrays, shape) if state is None else _read_state(state, arrays, shape),
            calendar=None if calendar is None else str(calendar),
            bar_size=clock.infer_bar_size(stamps) if bar_size is None else bar_size,
            source=str(source),
        )
        clock.bar_size_ns(self.bar_size)
        self._check_actions()

    # -- making ------------------------------------------------------------------------------------------------------

    @classmethod
    def from_arrays(cls, time: Any, symbols: str | Iterable[str], fields: Mapping[str, Any], **more: Any) -> "Bars":
        """Make bars from arrays; the same as `Bars(...)`.

        Examples
        --------
        >>> day = np.datetime64("2014-06-06T20:00") + np.array([0, 3, 4]) * np.timedelta64(1, "D")
        >>> close = [645.57, 93.70, 94.25]
        >>> bars = Bars.from_arrays(day, ["AAPL"], {"close": close}, split=[1, 7, 1], calendar="XNYS")
        >>> bars.adjusted("close").ravel().round(2).tolist()
        [645.57, 655.9, 659.75]
        """
        return cls(time, symbols, fields, **more)

    @classmethod
    def from_pandas(
        cls,
        df: "pd.DataFrame",
        symbol: str | None = None,
        *,
        tz: str | None = None,
        calendar: str | None = None,
        adjusted: str | bool | None = None,
        bar_size: str | None = None,
        source: str = "pandas",
    ) -> "Bars":
        """Make bars from a DataFrame with OHLCV columns in any case.

        Accepted: one symbol with flat columns; yfinance's column MultiIndex in either order; a long table with a "symbol"
        column. The stamps are the index or a column "date", "datetime" or "time".

        Parameters
        ----------
        df : DataFrame
            The table; it is copied.
        symbol : str, optional
            Name of the only symbol of a flat table.
        tz : str, optional
            Zone of stamps that have none, such as "America/New_York".
        calendar : str, optional
            Exchange whose sessions the dates name, such as "XNYS".
        adjusted : {None, "raw", "split", "total"} or bool
            What the prices already contain. "raw" (False): nothing, splits and dividends apply. "split": splits, so only
            dividends apply. "total" (True): both, so no action applies. None decides by yfinance's conventions: with an
            "Adj Close" column prices are "split" and dividends are read from it; columns "Dividends" and "Stock Splits"
            without it mean "total"; columns "split" and "dividend" mean "raw"; a table without any of them is taken as is.

        Notes
        -----
        Time: stamps that are all local midnight (naive dates, yfinance's New York midnights) name sessions and are moved
        to the session's close, for which the calendar is needed (New York midnights imply XNYS). Other stamps with a zone
        are taken literally as the moment the bar is known. Naive ones need `tz` or `calendar`.

        Look-ahead: prices that were back-adjusted by their source contain later splits and dividends as a factor. Returns
        are not affected, levels are.

        Examples
        --------
        >>> import pandas as pd
        >>> frame = pd.DataFrame({"Close": [35.0, 36.0], "Volume": [100, 90]}, index=["2020-11-25", "2020-11-27"])
        >>> bars = Bars.from_pandas(frame, "KO", calendar="XNYS")
        >>> [clock.show(t) for t in bars.time]  # the second session is a half day
        ['2020-11-25T21:00:00Z', '2020-11-27T18:00:00Z']
        """
        parts = _frames.read_frame(df, symbol, tz=tz, calendar=calendar, adjusted=adjusted)
        return cls(**parts, bar_size=bar_size, source=source)

    def _store(self, *, fields: Mapping[str, np.ndarray], **values: Any) -> None:
        for array in (*fields.values(), *(v for v in values.values() if isinstance(v, np.ndarray))):
            array.flags.writeable = False
        object.__setattr__(self, "_fields", MappingProxyType(dict(fields)))
        object.__setattr__(self, "_cache", {})
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def _replace(self, *, keep: tuple[str, ...] = (), **changes: Any) -> "Bars":
        """Return a copy with parts that are already checked replaced; `keep` names cached results that stay valid."""
        made = object.__new__(type(self))
        parts = {name: getattr(self, name) for name in self.__slots__ if not name.startswith("_")}
        made._store(**{"fields": self._fields, **parts, **changes})
        made._cache.update({name: self._cache[name] for name in keep if name in self._cache})
        return made

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"Bars are frozen: {name!r} cannot be set. Make new ones with Bars.from_arrays.")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"Bars are frozen: {name!r} cannot be deleted.")

    def __reduce__(self):
        parts = {name: getattr(self, name) for name in ("split", "dividend", "state", "calendar", "bar_size", "source")}
        return _rebuild, (self.time, self.symbols, dict(self._fields), parts)

    # -- looking -----------------------------------------------------------------------------------------------------

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the fields, in the order in which they were given."""
        return tuple(self._fields)

    @property
    def shape(self) -> tuple[int, int]:
        """(n_bars, n_symbols)."""
        return len(self.time), len(self.symbols)

    def __len__(self) -> int:
        return len(self.time)

    def __contains__(self, field: object) -> bool:
        return field in self._fields

    def __getitem__(self, field: str) -> np.ndarray:
        """Return a raw field, read-only float64 (n_bars, n_symbols).

        Examples
        --------
        >>> bars = Bars.from_arrays([10**18], "X", {"close": [1.0]})
        >>> bars["clsoe"]
        Traceback (most recent call last):
        longshort.errors.UnknownName: Bars have no field 'clsoe'. Did you mean 'close'?
        """
        try:
            return self._fields[field]
        except (KeyError, TypeError):
            raise UnknownName(f"Bars have no field {field!r}. {did_you_mean(str(field), self._fields)}") from None

    def __eq__(self, other: object) -> bool:
        """Same content, digit for digit (`source` may differ)."""
        return self.digest == other.digest if isinstance(other, Bars) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.digest)

    @property
    def dates(self) -> np.ndarray:
        """Session of each row, datetime64[D] (n_bars,): the calendar's local date of the stamp."""
        return self._cached("dates", lambda: clock.local_dates(self.time, self.calendar))

    @property
    def factor(self) -> np.ndarray:
        """Forward-adjustment factor (n_bars, n_symbols): 1 at the first bar, then multiplied by every action when it is known.

        With c the last close before the action, divided by the split ratio s of the same bar, a bar with dividend d
        multiplies it first by s and then by c / (c - d). Actions before a symbol's first close change nothing.

        Examples
        --------
        >>> bars = Bars.from_arrays(np.arange(1, 4) * 10**18, "X", {"close": [100, 98, 49]}, split=[1, 1, 2], dividend=[0, 2, 0])
        >>> bars.factor.ravel().round(4).tolist()
        [1.0, 1.0204, 2.0408]
        """
        return self._cached("factor", lambda: self._product_of_actions(dividends=True))

    @property
    def split_factor(self) -> np.ndarray:
        """Product of the split ratios known so far (n_bars, n_symbols), 1 at the first bar."""
        return self._cached("split_factor", lambda: self._product_of_actions(dividends=False))

    def adjusted(self, field: str) -> np.ndarray:
        """Return a field as models read it, (n_bars, n_symbols), without look-ahead.

        Prices are multiplied by `factor`, volume is divided by `split_factor`, other fields are raw.
        """
        if field in PRICE_FIELDS and field in self._fields:
            return self._cached("adjusted " + field, lambda: self[field] * self.factor)
        if field == "volume" and field in self._fields:
            return self._cached("adjusted " + field, lambda: self[field] / self.split_factor)
        return self[field]

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the content: stamps, symbols, fields, actions, states, calendar and bar size."""
        if "digest" not in self._cache:
            sha = hashlib.sha256(repr((self.symbols, self.fields, self.calendar, self.bar_size)).encode())
            for array in (self.time, self.split, self.dividend, self.state, *self._fields.values()):
                plain = np.where(np.isnan(array), np.nan, array) if array.dtype == np.float64 else array
                sha.update(np.ascontiguousarray(plain).data)
            self._cache["digest"] = sha.hexdigest()
        return self._cache["digest"]

    def row(self, i: int) -> Mapping[str, Any]:
        """Return one row as a live feed delivers it: field -> (n_symbols,), and "split", "dividend", "state", "time"."""
        row: dict[str, Any] = {name: array[i] for name, array in self._fields.items()}
        row.update(split=self.split[i], dividend=self.dividend[i], state=self.state[i], time=int(self.time[i]))
        return row

    def _cached(self, name: str, make: Any) -> np.ndarray:
        if name not in self._cache:
            array = make()
            array.flags.writeable = False
            self._cache[name] = array
        return self._cache[name]

    def _product_of_actions(self, dividends: bool) -> np.ndarray:
        """One sequential pass over the actions of each symbol; the native features do the same, tick by tick."""
        product = np.ones(self.shape)
        for j, i, before in self._actions():
            ratio = self.split[i, j]
            value = product[i, j] * ratio
            if dividends and self.dividend[i, j] != 0.0:
                close = before / ratio
                value = value * (close / (close - self.dividend[i, j]))
            product[i:, j] = value
        return product

    def _actions(self) -> Iterable[tuple[int, int, float]]:
        """Yield (symbol, row, last close before it) of every action that has a close before it, in order of time."""
        if "close" not in self._fields:
            return
        close = self._fields["close"]
        for j in range(len(self.symbols)):
            rows = np.flatnonzero((self.split[:, j] != 1.0) | (self.dividend[:, j] != 0.0))
            if len(rows):
                known = np.flatnonzero(~np.isnan(close[:, j]))
                for i in rows:
                    place = np.searchsorted(known, i) - 1
                    if place >= 0:
                        yield j, int(i), float(close[known[place], j])

    def _check_actions(self) -> None:
        for j, i, before in self._actions():
            if not self.dividend[i, j] < before / self.split[i, j]:
                raise PriceError(
                    f"A dividend should be less than the price before it, but {self.symbols[j]} has {self.dividend[i, j]:g} on "
                    f"{self.dates[i]} after a close of {before:g}. Check its unit (cents?) and whether prices are adjusted."
                )

    # -- cutting -----------------------------------------------------------------------------------------------------

    def until(self, t: Any) -> "Bars":
        """Return the rows known at `t`; nothing later can be seen through the result.

        Parameters
        ----------
        t : date, str, datetime, datetime64 or int (UTC ns)
            A bare date means the end of that day's session.

        Examples
        --------
        >>> bars = Bars.from_arrays(["2021-03-30T20:00", "2021-03-31T20:00"], "X", {"close": [1.0, 2.0]}, calendar="XNYS")
        >>> len(bars.until("2021-03-30")), len(bars.until("2021-03-30T15:59-04:00"))
        (1, 0)
        """
        moment = clock.as_moment(t)
        if moment.day is not None:
            stop = int(np.searchsorted(self.dates, moment.day, side="right"))
        else:
            stop = int(np.searchsorted(self.time, moment.ns, side="right"))
        return self._rows(slice(0, stop), ("dates", "factor", "split_factor"))

    def since(self, t: Any) -> "Bars":
        """Return the rows known at `t` or later; a bare date starts with that day's session. `factor` starts at 1 again."""
        moment = clock.as_moment(t)
        if moment.day is not None:
            start = int(np.searchsorted(self.dates, moment.day))
        else:
            start = int(np.searchsorted(self.time, moment.ns))
        return self._rows(slice(start, None), ("dates",))

    def _rows(self, rows: slice, keep: tuple[str, ...]) -> "Bars":
        cut = self._replace(
            fields={name: array[rows] for name, array in self._fields.items()},
            **{name: getattr(self, name)[rows] for name in ("time", "split", "dividend", "state")},
        )
        cut._cache.update({name: self._cache[name][rows] for name in keep if name in self._cache})
        return cut

    def select(self, symbols: str | Sequence[str]) -> "Bars":
        """Return the bars of some symbols, in that order; all rows stay.

        Examples
        --------
        >>> both = Bars.from_arrays([10**18], ["KO", "PEP"], {"close": [[50.0, 140.0]]})
        >>> both.select("PEP")["close"].item()
        140.0
        """
        names = _read_symbols(symbols)
        for name in names:
            if name not in self.symbols:
                raise UnknownName(f"Bars have no symbol {name!r}. {did_you_mean(name, self.symbols)}")
        columns = [self.symbols.index(name) for name in names]
        arrays = {name: np.ascontiguousarray(array[:, columns]) for name, array in self._fields.items()}
        more = {name: np.ascontiguousarray(getattr(self, name)[:, columns]) for name in ("split", "dividend", "state")}
        return self._replace(keep=("dates",), symbols=names, fields=arrays, **more)

    # -- putting together --------------------------------------------------------------------------------------------

    def append(self, other: "Bars") -> "Bars":
        """Return these bars followed by the rows of `other` that are new.

        Rows both have must agree digit for digit: history that changed is refused, not merged.

        Raises
        ------
        HistoryChanged
            Naming the first cell that differs.

        Examples
        --------
        >>> old = Bars.from_arrays([10**18, 2 * 10**18], "X", {"close": [1.0, 2.0]})
        >>> new = Bars.from_arrays([2 * 10**18, 3 * 10**18], "X", {"close": [2.0, 3.0]})
        >>> old.append(new)["close"].ravel().tolist()
        [1.0, 2.0, 3.0]
        """
        self._check_like(other)
        if not len(other) or not len(self):
            return other if len(other) else self
        begin = int(np.searchsorted(self.time, other.time[0]))
        overlap = len(self) - begin
        if not np.array_equal(self.time[begin:], other.time[:overlap]):
            here, there = set(self.time[begin:].tolist()), set(other.time[: max(overlap, 1)].tolist())
            odd = min(here ^ there)
            who = (
                "the old bars have a row that the new ones lack"
                if odd in here
                else "the new bars have a row that the old ones lack"
            )
            raise HistoryChanged(
                f"Bars that are appended should repeat or continue the old ones, but {who}: {clock.show(odd)}. "
                "Append rows after the last one, or load the whole history again."
            )
        difference = next(self._differences(begin, other, overlap), None)
        if difference is not None:
            raise HistoryChanged(
                f"History changed: {difference}. Keep the old bars, or load the whole history again and refit on it."
            )
        return self._replace(
            keep=(),
            fields={name: np.concatenate([array, other[name][overlap:]]) for name, array in self._fields.items()},
            **{
                name: np.concatenate([getattr(self, name), getattr(other, name)[overlap:]])
                for name in ("time", "split", "dividend", "state")
            },
        )

    def _check_like(self, other: "Bars") -> None:
        for what in ("symbols", "fields", "calendar", "bar_size"):
            mine, theirs = getattr(self, what), getattr(other, what)
            if mine != theirs:
                raise InputError(f"Bars can be appended when their {what} agree; here {mine!r}, there {theirs!r}.")

    def _differences(self, begin: int, other: "Bars", overlap: int) -> Iterable[str]:
        pairs = {name: (array, other[name]) for name, array in self._fields.items()}
        pairs |= {name: (getattr(self, name), getattr(other, name)) for name in ("split", "dividend", "state")}
        first: tuple[int, int, str] | None = None
        for name, (mine, theirs) in pairs.items():
            differ = ~(
                (mine[begin:] == theirs[:overlap])
                | ((mine[begin:] != mine[begin:]) & (theirs[:overlap] != theirs[:overlap]))
            )
            if name in ("split", "dividend") and overlap:  # the first row of a cut may lack the action that led to it
                differ[0] &= begin != 0
            for i, j in np.argwhere(differ)[:1]:
                if first is None or i < first[0]:
                    first = (int(i), int(j), name)
        if first is not None:
            i, j, name = first
            mine, theirs = pairs[name]
            yield f"{name} of {self.symbols[j]} on {self.dates[begin + i]} was {mine[begin + i, j]:g} and is now {theirs[i, j]:g}"

    def resample(self, size: str) -> "Bars":
        """Return longer bars, each emitted only when it is complete.

        Parameters
        ----------
        size : str
            "1D" (a session), "1W" (Monday to Sunday), "1M" (a month), which need a calendar, or "5m", "1h", ... counted
            from the session's open (from UTC midnight without a calendar).

        Notes
        -----
        A bar is stamped with its scheduled end (the close of the last session in it) and emitted when the data reach that
        stamp, so `bars.until(t).resample(size)` is always the beginning of `bars.resample(size)`. Prices of a bar in which
        a split falls are put into the units of its end. Fields other than OHLCV keep their last value.

        Examples
        --------
        >>> from longshort.data.synthetic import random_walk
        >>> days = random_walk(12, seed=0)
        >>> weeks = days.resample("1W")
        >>> str(days.dates[-1]), [str(day) for day in weeks.dates]  # the week that is under way is not shown
        ('2000-01-18', ['2000-01-07', '2000-01-14'])
        """
        return _resample(self, size)

    def join(self, series: Any, *, available_at: Any = None, name: str | None = None) -> "Bars":
        """Return the bars with another series as a field: at t its last value that was available at or before t.

        Parameters
        ----------
        series : Series, DataFrame, Bars or array
            Values; a frame whose columns are our symbols gives every symbol its own, anything else is the same for all.
            Of `Bars` with one symbol, the close is taken.
        available_at : array of stamps, column name, "index", or "index + 2h"
            When each value became known: stamps with a zone, as long as `series`. Publication, not the day it is about.
            Not needed for `Bars`, which know it.
        name : str, optional
            Name of the field; the series' own name when left out.

        Examples
        --------
        >>> import pandas as pd
        >>> bars = Bars.from_arrays(["2021-03-30T20:00", "2021-03-31T20:00"], "X", {"close": [1.0, 2.0]}, calendar="XNYS")
        >>> vix = pd.Series([19.6, 19.4], pd.to_datetime(["2021-03-30T20:15Z", "2021-03-31T20:15Z"]), name="vix")
        >>> bars.join(vix, available_at="index")["vix"].ravel().tolist()  # published after the close: known next day
        [nan, 19.6]
        """
        label, stamps, values = _frames.read_series(series, available_at, name, self.symbols)
        if label in self._fields or label in ("split", "dividend", "state", "time"):
            raise InputError(f"Bars already have a field {label!r}. Give the series another name=.")
        order = np.argsort(stamps, kind="stable")
        place = np.searchsorted(stamps[order], self.time, side="right") - 1
        known = np.where((place >= 0)[:, None], values[order][np.maximum(place, 0)], np.nan) if len(order) else np.nan
        field = np.array(np.broadcast_to(known, self.shape), np.float64, order="C")
        if np.isinf(field).any():
            raise PriceError(f"Series {label!r} should be finite numbers or NaN, but it has infinities.")
        return self._replace(keep=("dates", "factor", "split_factor"), fields={**self._fields, label: field})

    # -- showing -----------------------------------------------------------------------------------------------------

    def to_pandas(self, symbol: str | None = None, adjust: str | None = None) -> "pd.DataFrame":
        """Return a DataFrame indexed by the UTC stamps.

        Parameters
        ----------
        symbol : str, optional
            One symbol gives flat columns; several give a column MultiIndex (field, symbol).
        adjust : {None, "forward", "split", "total"}
            None: raw prices with "split" and "dividend" columns where there are any; `from_pandas` reads them back.
            "forward": as models read them. "split", "total": back-adjusted, so that the last price is the traded one.

        Notes
        -----
        Look-ahead: back-adjusted prices of the past contain later actions. They are for charts, not for models.

        Examples
        --------
        >>> bars = Bars.from_arrays(np.arange(1, 3) * 10**18, "X", {"close": [100.0, 52.0]}, split=[1, 2])
        >>> bars.to_pandas(adjust="split")["close"].tolist()
        [50.0, 52.0]
        """
        return _frames.to_frame(self if symbol is None else self.select(symbol), adjust)

    def __repr__(self) -> str:
        count = f"{len(self.symbols)} symbol{'s' if len(self.symbols) != 1 else ''}"
        names = ", ".join(self.symbols[:8]) + (", ..." if len(self.symbols) > 8 else "")
        span = f"{self.dates[0]} .. {self.dates[-1]}, " if len(self) else ""
        text = f"Bars({len(self)} x {self.bar_size} bars, {span}{count}: {names}; fields: {', '.join(self.fields)}"
        text += f"; calendar {self.calendar}" if self.calendar else ""
        lacking = {s.name.lower(): int((self.state == s).sum()) for s in State if s != State.OK}
        text += "".join(f"; {number} {name}" for name, number in lacking.items() if number)
        return text + ")"

    def _repr_html_(self) -> str:
        return _frames.to_html(self)


def _rebuild(time: np.ndarray, symbols: tuple[str, ...], fields: dict[str, np.ndarray], parts: dict[str, Any]) -> Bars:
    return Bars(time, symbols, fields, **parts)


# ---------------------------------------------------------------------------------------------------------------------
# Reading what callers give


def _read_time(time: Any) -> np.ndarray:
    array = np.asarray(time)
    if array.dtype.kind in "UO":
        moments = [
            clock.as_moment(str(t) + "Z" if isinstance(t, str) and "T" in t and len(t) == 16 else t)
            for t in array.ravel()
        ]
        if any(moment.ns is None for moment in moments):
            raise TimeError(
                "Stamps say when a bar was known, to the second; a bare date does not. Use from_pandas(..., calendar='XNYS')."
            )
        array = np.array([moment.ns for moment in moments], np.int64).reshape(array.shape)
    elif array.dtype.kind == "M":
        if np.isnat(array).any():
            raise TimeError(
                f"Stamps should all be known, but row {int(np.flatnonzero(np.isnat(array))[0])} is NaT. Remove it."
            )
        _frames.check_years(array)
        array = array.astype("datetime64[ns]").astype(np.int64)
    elif array.dtype.kind not in "iu":
        raise TimeError(f"Stamps should be UTC ns as int64 or datetime64; they were {array.dtype}.")
    if array.ndim != 1:
        raise TimeError(f"Stamps should be one row of numbers; the shape was {array.shape}.")
    array = array.astype(np.int64, copy=True)
    _frames.check_stamps(array)
    return array


def _read_symbols(symbols: str | Iterable[str]) -> tuple[str, ...]:
    names = (symbols,) if isinstance(symbols, str) else tuple(symbols)
    if not names:
        raise InputError("Bars need at least one symbol; there was none.")
    for name in names:
        _frames.check_symbol(name)
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) != len(names) else []
    if twice:
        raise InputError(f"Every symbol should be named once, but {twice[0]!r} is named {names.count(twice[0])} times.")
    return names


def _read_fields(fields: Mapping[str, Any], shape: tuple[int, int]) -> dict[str, np.ndarray]:
    if not fields:
        raise InputError("Bars need at least one field such as 'close'; there was none.")
    return {str(name): _read_array(values, shape, str(name)) for name, values in fields.items()}


def _read_array(values: Any, shape: tuple[int, int], name: str) -> np.ndarray:
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


def _read_action(values: Any, shape: tuple[int, int], name: str, neutral: float) -> np.ndarray:
    if values is None:
        return np.full(shape, neutral)
    array = _read_array(values, shape, name)
    bad = ~(array > 0) if name == "split" else ~(array >= 0)
    if bad.any() or np.isinf(array).any():
        i, j = np.argwhere(bad | np.isinf(array))[0]
        raise PriceError(
            f"A {name} should be {'a positive ratio, 1 for none' if name == 'split' else 'zero or more'}; row {i}, symbol {j} was "
            f"{array[i, j]:g}."
        )
    return array


def _read_state(state: Any, fields: Mapping[str, np.ndarray], shape: tuple[int, int]) -> np.ndarray:
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


def _infer_state(fields: Mapping[str, np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """Cells without a price: UNLISTED before the symbol's first one, MISSING afterwards (the end cannot be known in time)."""
    prices = [fields[name] for name in PRICE_FIELDS if name in fields] or list(fields.values())[:1]
    absent = np.zeros(shape, bool)
    for array in prices:
        absent |= np.isnan(array)
    state = np.where(absent, State.MISSING, State.OK).astype(np.uint8)
    state[absent & ~np.logical_or.accumulate(~absent, axis=0)] = State.UNLISTED
    return state


def _check_prices(fields: Mapping[str, np.ndarray], time: np.ndarray, symbols: tuple[str, ...]) -> None:
    """Refuse infinite numbers, prices that are not positive, negative volumes and bars whose low is above their high."""

    def refuse(bad: np.ndarray, what: str, advice: str) -> None:
        i, j = np.argwhere(bad)[0]
        where = f"{symbols[j]} in row {i} ({clock.show(time[i])})"
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


# ---------------------------------------------------------------------------------------------------------------------
# Resampling


def _resample(bars: Bars, size: str) -> Bars:
    wanted = clock.bar_size_ns(size)
    if wanted < clock.bar_size_ns(bars.bar_size):
        raise InputError(f"resample makes longer bars; these are {bars.bar_size} and {size} was asked for.")
    if size == bars.bar_size:
        return bars
    if not len(bars):
        return bars._replace(bar_size=size)
    ends = _ends_by_session(bars, size) if size in ("1D", "1W", "1M") else _ends_in_session(bars, wanted)
    starts = np.flatnonzero(np.r_[True, ends[1:] != ends[:-1]])
    stops = np.r_[starts[1:], len(ends)]
    keep = ends[starts] <= bars.time[-1]  # a bar that is not over yet is not shown
    starts, stops = starts[keep], stops[keep]
    if not len(starts):
        raise NotEnoughData(
            f"There should be at least one whole bar of {size}, but the data end at {clock.show(bars.time[-1])} before it is over."
        )
    parts = [_merge(bars, a, b) for a, b in zip(starts, stops, strict=True)]
    arrays = {name: np.stack([part[name] for part in parts]) for name in parts[0]}
    state = arrays.pop("state").astype(np.uint8)
    return bars._replace(
        time=ends[starts],
        bar_size=size,
        state=state,
        split=arrays.pop("split"),
        dividend=arrays.pop("dividend"),
        fields=arrays,
    )


def _ends_by_session(bars: Bars, size: str) -> np.ndarray:
    """Return the scheduled end of the session, week or month that each row belongs to."""
    if bars.calendar is None:
        raise InputError(
            f"Resampling to {size} needs to know the sessions. Make the bars with calendar='XNYS' (or '24/7')."
        )
    dates = bars.dates
    if size == "1D":
        last_day = first_day = dates
    elif size == "1W":
        first_day = dates - (dates.astype(np.int64) + 3) % 7  # 1970-01-01 was a Thursday
        last_day = first_day + 6
    else:
        first_day = dates.astype("datetime64[M]").astype("datetime64[D]")
        last_day = (dates.astype("datetime64[M]") + 1).astype("datetime64[D]") - 1
    known = clock.sessions(bars.calendar, first_day[0], last_day[-1])
    last_session = known[np.searchsorted(known, last_day, side="right") - 1]
    return clock.session_closes(bars.calendar, last_session)


def _ends_in_session(bars: Bars, length: int) -> np.ndarray:
    """Return the end of the slot each row belongs to, slots counted from the open and cut at the close."""
    if clock.bar_size_ns(bars.bar_size) and length % clock.bar_size_ns(bars.bar_size):
        raise InputError(f"A longer bar should be a multiple of {bars.bar_size}; {length // clock.SECOND} s is not.")
    if bars.calendar is None or bars.calendar in ("24/7", "24/5"):
        return -(-bars.time // length) * length
    days = bars.dates
    opens, closes = clock.session_opens(bars.calendar, days), clock.session_closes(bars.calendar, days)
    ends = opens - (-(bars.time - opens) // length) * length
    inside = (bars.time > opens) & (bars.time <= closes)
    return np.where(inside, np.minimum(ends, closes), ends)


def _merge(bars: Bars, start: int, stop: int) -> dict[str, np.ndarray]:
    """Make one bar of rows start .. stop, in the share units of its end."""
    split = bars.split[start:stop]
    later = np.cumprod(split[::-1], axis=0)[::-1] / split  # splits after each row, inside the bar
    ok = bars.state[start:stop] == State.OK
    out: dict[str, np.ndarray] = {}
    for name in bars.fields:
        values = bars[name][start:stop]
        if name in PRICE_FIELDS:
            values = values / later
        elif name == "volume":
            values = values * later
        known = ~np.isnan(values)
        some = known.any(axis=0)
        if name == "high":
            merged = np.where(known, values, -np.inf).max(axis=0)
        elif name == "low":
            merged = np.where(known, values, np.inf).min(axis=0)
        elif name == "volume":
            merged = np.where(known, values, 0.0).sum(axis=0)
        else:
            pick = known.argmax(axis=0) if name == "open" else len(values) - 1 - known[::-1].argmax(axis=0)
            merged = values[pick, np.arange(values.shape[1])]
        out[name] = np.where(some, merged, np.nan)
    out["split"] = np.prod(split, axis=0)
    out["dividend"] = (bars.dividend[start:stop] / later).sum(axis=0)
    out["state"] = np.where(ok.any(axis=0), State.OK, bars.state[stop - 1])
    return out


__all__ = ["PRICE_FIELDS", "Bars", "DataError", "State"]
