"""Bars: a regular panel of market data, every row stamped with the instant at which it was known.

::

    time (n_bars,) int64 ns UTC        symbols ('AAPL', 'SPY')
    2014-06-06T20:00Z   close  645.57  194.42        one float64 array (n_bars, n_symbols) per field,
    2014-06-09T20:00Z           93.70  195.58        raw prices; what happened between them stands in
    2014-06-10T20:00Z           94.25  195.60        `split` (7.0 on 2014-06-09) and `dividend`

Nothing in a `Bars` can be changed and nothing is ever filled in: a symbol without a bar has NaN and a `state` that says
why. Prices stay as traded. What models read is `adjusted(field)`: raw price times `factor`, the product of all splits
and dividends known so far, 1 at the first bar. Later actions never change an earlier number, as they would if the past
were divided by them (`to_pandas(adjust="total")` gives that familiar view, for people).
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from . import clock
from ._panel import appending, arrays, frames, joining, resampling, views
from ._panel.arrays import PRICE_FIELDS, State
from .errors import InputError, PriceError, UnknownName, did_you_mean

if TYPE_CHECKING:
    import pandas as pd


class Bars:
    """A frozen panel of bars: fields x time x symbol.

    Parameters
    ----------
    time : int64 array (n_bars,), UTC ns
        When each row was known, strictly increasing. For a daily bar that is the session's close; days (datetime64[D])
        are moved there, without a calendar to the next UTC midnight.
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
    >>> closes = ["2021-03-30T20:00", "2021-03-31T20:00"]
    >>> bars = Bars.from_arrays(closes, "AAPL", {"close": [119.9, 122.15]}, calendar="XNYS")
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
        stamps = arrays.read_time(time, calendar)
        names = arrays.read_symbols(symbols)
        shape = (len(stamps), len(names))
        values = arrays.read_fields(fields, shape)
        arrays.check_prices(values, stamps, names)
        self._store(
            time=stamps,
            symbols=names,
            fields=values,
            split=arrays.read_action(split, shape, "split", 1.0),
            dividend=arrays.read_action(dividend, shape, "dividend", 0.0),
            state=arrays.infer_state(values, shape) if state is None else arrays.read_state(state, shape),
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
        stamps: str = "end",
        bar_size: str | None = None,
        source: str = "pandas",
        gaps: str = "missing",
    ) -> "Bars":
        """Make bars from a DataFrame with OHLCV columns in any case.

        Accepted: one symbol with flat columns; yfinance's column MultiIndex in either order; a long table with a
        "symbol" column. The stamps are the index or a column "date", "datetime" or "time".

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
            What the prices already contain. "raw" (False): nothing, splits and dividends apply. "split": splits, so
            only dividends apply. "total" (True): both, so no action applies. None decides by yfinance's conventions:
            with an "Adj Close" column prices are "split" and dividends are read from it; columns "Dividends" and "Stock
            Splits" without it mean "total"; columns "split" and "dividend" mean "raw"; a table without any of them is
            taken as is.

        stamps : {"end", "start"}, default="end"
            What intraday stamps stand for. "start" moves them to the end of their bar, when it is known: yfinance, for
            one, stamps the bar of 09:30 to 10:30 with 09:30.
        gaps : {"missing", "keep"}, default="missing"
            What becomes of sessions between daily bars for which there is no row. "missing": MISSING bars, so that no
            window and no return reaches over them; the log says how many. "keep": nothing, the bars beside a gap count
            as neighbours. Weekly, monthly and intraday tables, and those without a calendar, are always kept as they
            are.

        Notes
        -----
        Time: stamps that are all local midnight (naive dates, yfinance's New York midnights) name sessions and are
        moved to the session's close, for which the calendar is needed (New York midnights imply XNYS). Other stamps
        with a zone are taken literally as the moment the bar is known. Naive ones need `tz` or `calendar`.

        Gaps: rows of NaN become MISSING bars, like the sessions without a row.

        Look-ahead: prices that were back-adjusted by their source contain later splits and dividends as a factor.
        Returns are not affected, levels are.

        Examples
        --------
        >>> import pandas as pd
        >>> frame = pd.DataFrame({"Close": [35.0, 36.0], "Volume": [100, 90]}, index=["2020-11-25", "2020-11-27"])
        >>> bars = Bars.from_pandas(frame, "KO", calendar="XNYS")
        >>> [clock.show(t) for t in bars.time]  # the second session is a half day
        ['2020-11-25T21:00:00Z', '2020-11-27T18:00:00Z']
        """
        how = {"tz": tz, "calendar": calendar, "adjusted": adjusted, "bar_size": bar_size, "gaps": gaps}
        parts = frames.read_frame(df, symbol, stamps_at=stamps, **how)
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
        """Forward-adjustment factor (n_bars, n_symbols): 1 at the first bar, then times every action when it is known.

        With c the last close before the action, divided by the split ratio s of the same bar, a bar with dividend d
        multiplies it first by s and then by c / (c - d). Actions before a symbol's first close change nothing.

        Examples
        --------
        >>> time = np.arange(1, 4) * 10**18
        >>> bars = Bars.from_arrays(time, "X", {"close": [100, 98, 49]}, split=[1, 1, 2], dividend=[0, 2, 0])
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
        """Return one row as a live feed delivers it: field -> (n_symbols,), "split", "dividend", "state", "time"."""
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
                    f"A dividend should be less than the price before it, but {self.symbols[j]} has "
                    f"{self.dividend[i, j]:g} on "
                    f"{self.dates[i]} after a close of {before:g}. Check its unit (cents?) and whether prices are "
                    "adjusted."
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
        >>> closes = ["2021-03-30T20:00", "2021-03-31T20:00"]
        >>> bars = Bars.from_arrays(closes, "X", {"close": [1.0, 2.0]}, calendar="XNYS")
        >>> len(bars.until("2021-03-30")), len(bars.until("2021-03-30T15:59-04:00"))
        (1, 0)
        """
        moment = clock.as_moment(t)
        if moment.day is not None:
            stop = int(np.searchsorted(self.dates, moment.day, side="right"))
        else:
            stop = int(np.searchsorted(self.time, int(moment.ns or 0), side="right"))
        return self._rows(slice(0, stop), ("dates", "factor", "split_factor"))

    def since(self, t: Any) -> "Bars":
        """Return the rows known at `t` or later; a date includes its session. `factor` starts at 1 again."""
        moment = clock.as_moment(t)
        if moment.day is not None:
            start = int(np.searchsorted(self.dates, moment.day))
        else:
            start = int(np.searchsorted(self.time, int(moment.ns or 0)))
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
        names = arrays.read_symbols(symbols)
        for name in names:
            if name not in self.symbols:
                raise UnknownName(f"Bars have no symbol {name!r}. {did_you_mean(name, self.symbols)}")
        columns = [self.symbols.index(name) for name in names]
        values = {name: np.ascontiguousarray(array[:, columns]) for name, array in self._fields.items()}
        more = {name: np.ascontiguousarray(getattr(self, name)[:, columns]) for name in ("split", "dividend", "state")}
        return self._replace(keep=("dates",), symbols=names, fields=values, **more)

    # -- putting together --------------------------------------------------------------------------------------------

    def append(self, other: "Bars", *, gaps: str = "missing") -> "Bars":
        """Return these bars followed by the rows of `other` that are new.

        Rows both have must agree digit for digit: history that changed is refused, not merged.

        Parameters
        ----------
        other : Bars
            Of the same symbols, fields, calendar and bar size.
        gaps : {"missing", "keep"}, default="missing"
            What becomes of sessions between the last daily bar here and the first new one, as in `from_pandas`.

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
        require_bars(other, "append")
        appending.check_like(self, other)
        if not len(other) or not len(self):
            return other if len(other) else self
        return self._replace(**appending.appended(self, other, gaps))

    def resample(self, size: str) -> "Bars":
        """Return longer bars, each emitted only when it is complete.

        Parameters
        ----------
        size : str
            "1D" (a session), "1W" (Monday to Sunday), "1M" (a month), which need a calendar, or "5m", "1h", ... counted
            from the session's open (from UTC midnight without a calendar).

        Notes
        -----
        A bar is stamped with its scheduled end (the close of the last session in it) and emitted when the data reach
        that stamp, so `bars.until(t).resample(size)` is always the beginning of `bars.resample(size)`. Prices of a bar
        in which a split falls are put into the units of its end. Fields other than OHLCV keep their last value.

        Examples
        --------
        >>> from longshort.data.synthetic import random_walk
        >>> days = random_walk(12, seed=0)
        >>> weeks = days.resample("1W")
        >>> str(days.dates[-1]), [str(day) for day in weeks.dates]  # the week that is under way is not shown
        ('2000-01-18', ['2000-01-07', '2000-01-14'])
        """
        return resampling.resample(self, size)

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
        >>> closes = ["2021-03-30T20:00", "2021-03-31T20:00"]
        >>> bars = Bars.from_arrays(closes, "X", {"close": [1.0, 2.0]}, calendar="XNYS")
        >>> vix = pd.Series([19.6, 19.4], pd.to_datetime(["2021-03-30T20:15Z", "2021-03-31T20:15Z"]), name="vix")
        >>> bars.join(vix, available_at="index")["vix"].ravel().tolist()  # published after the close: known next day
        [nan, 19.6]
        """
        label, stamps, values = joining.read_series(series, available_at, name, self.symbols)
        if label in self._fields or label in ("split", "dividend", "state", "time"):
            raise InputError(f"Bars already have a field {label!r}. Give the series another name=.")
        order = np.argsort(stamps, kind="stable")
        place = np.searchsorted(stamps[order], self.time, side="right") - 1
        known = np.where((place >= 0)[:, None], values[order][np.maximum(place, 0)], np.nan) if len(order) else np.nan
        field = np.array(np.broadcast_to(known, self.shape), np.float64, order="C")
        if np.isinf(field).any():
            raise PriceError(f"Series {label!r} should be finite numbers or NaN, but it has infinities.")
        return self._replace(keep=("dates", "factor", "split_factor"), fields={**self._fields, label: field})

    def with_actions(self, other: "Bars") -> "Bars":
        """Return the bars with the splits and dividends of other bars, each at the first bar of its session or later.

        For intraday bars, whose sources rarely have any, beside daily ones of the same symbols. Actions before the
        first session here and after the last one are left out.

        Parameters
        ----------
        other : Bars
            Of at least these symbols; only their actions are read.

        Examples
        --------
        >>> daily = Bars.from_arrays(
        ...     ["2020-08-28T20:00", "2020-08-31T20:00"], "X", {"close": [500.0, 129.0]}, split=[1, 4], calendar="XNYS"
        ... )
        >>> hours = ["2020-08-28T19:00", "2020-08-28T20:00", "2020-08-31T14:00", "2020-08-31T15:00"]
        >>> hourly = Bars.from_arrays(hours, "X", {"close": [499.0, 500.0, 127.0, 128.0]}, calendar="XNYS")
        >>> hourly.with_actions(daily).adjusted("close").ravel().tolist()
        [499.0, 500.0, 508.0, 512.0]
        """
        require_bars(other, "with_actions")
        if (self.split != 1.0).any() or (self.dividend != 0.0).any():
            raise InputError(
                "Bars with splits or dividends of their own cannot be given others: they would count twice."
            )
        theirs, rows = other.select(self.symbols), np.searchsorted(self.dates, other.dates)
        split, dividend = np.ones(self.shape), np.zeros(self.shape)
        for i, j in np.argwhere((theirs.split != 1.0) | (theirs.dividend != 0.0)):
            if rows[i] < len(self) and theirs.dates[i] >= self.dates[0]:
                split[rows[i], j] *= theirs.split[i, j]
                dividend[rows[i], j] += theirs.dividend[i, j]
        made = self._replace(keep=("dates",), split=split, dividend=dividend)
        made._check_actions()
        return made

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
        return views.to_frame(self if symbol is None else self.select(symbol), adjust)

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
        return views.to_html(self)


def _rebuild(time: np.ndarray, symbols: tuple[str, ...], fields: dict[str, np.ndarray], parts: dict[str, Any]) -> Bars:
    made = object.__new__(Bars)  # what `__reduce__` gave was checked; nothing is copied, so processes can share it
    made._store(time=time, symbols=symbols, fields=fields, **parts)
    return made


def require_bars(value: Any, who: str) -> None:
    """Raise `InputError` unless `value` is `Bars`; `who` asks for them."""
    if not isinstance(value, Bars):
        advice = (
            "Make them with Bars.from_pandas(df, symbol)." if hasattr(value, "columns") else "See Bars.from_arrays."
        )
        raise InputError(f"{who} needs Bars; it was {type(value).__name__}. {advice}")
