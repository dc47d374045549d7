"""Bars as the events they were: the opening of each bar, then the bar; the same events from a history and from a feed.

A bar is opened at its session's opening (its own beginning within the day), at the earliest a nanosecond after the bar
before it was known, and known at its stamp. Bars without opening prices have no opening event.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from .. import clock
from ..bars import Bars, require_bars
from ..errors import InputError
from ..orders import CLOSE, OPEN, MarketEvent

USUAL = 20
"""Bars over which a usual bar's volume and volatility are averaged."""


class History:
    """The events of bars, in order.

    Parameters
    ----------
    bars : Bars
        With a close, and all the earlier rows that `usual` figures should know.
    start, stop : int, optional
        First row and the row after the last.

    Examples
    --------
    >>> import longshort as ls
    >>> bars = ls.load_bars("AAPL", start="2014-06-05", end="2014-06-09", source="sample")
    >>> for event in History(bars):
    ...     print(clock.show(event.time), event.kind, event.split)
    2014-06-05T13:30:00Z open None
    2014-06-05T20:00:00Z close None
    2014-06-06T13:30:00Z open None
    2014-06-06T20:00:00Z close None
    2014-06-09T13:30:00Z open [7.]
    2014-06-09T20:00:00Z close [7.]
    """

    def __init__(self, bars: Bars, start: int = 0, stop: int | None = None):
        require_bars(bars, "A history")
        if "close" not in bars:
            raise InputError(f"A history needs closing prices; these bars have {', '.join(bars.fields)}.")
        self.bars, self.start, self.stop = bars, start, len(bars) if stop is None else stop

    @property
    def symbols(self) -> tuple[str, ...]:
        """Columns of every event."""
        return self.bars.symbols

    def __iter__(self) -> Iterator[MarketEvent]:
        """Yield the events of all rows from `start` to `stop`."""
        bars, first = self.bars, max(self.start - USUAL - 1, 0)
        rows, derived = slice(self.start, self.stop), slice(first, self.stop)
        sessions = bars.dates.astype(np.int64)
        last = np.append(np.diff(sessions) != 0, True)
        returns = returns_of(bars, derived)
        volume = usual_volume(bars, derived)
        cut = self.start - first
        steps = zip(
            bars.time[rows].tolist(),
            open_times(bars)[rows].tolist(),
            sessions[rows].tolist(),
            last[rows].tolist(),
            bars.state[rows],
            *(_column(bars, name, rows) for name in ("open", "high", "low", "close", "volume")),
            _actions(bars.split[rows], 1.0),
            _actions(bars.dividend[rows], 0.0),
            returns[cut:],
            _before(usual(np.abs(returns), USUAL))[cut:] * 1.25,
            [None] * len(returns[cut:]) if volume is None else (_before(volume) * bars.split[derived])[cut:],
            strict=True,
        )
        opens = "open" in bars
        for time, opened, day, end, state, o, h, low, c, v, split, dividend, r, sigma, many in steps:
            if opens:
                yield MarketEvent(
                    OPEN, opened, day, state, o, None, None, None, v, split, dividend, False, None, sigma, many
                )
            yield MarketEvent(CLOSE, time, day, state, o, h, low, c, v, split, dividend, end, r, sigma, many)


class Live:
    """The events of rows as they arrive, with the same figures as in a history.

    Parameters
    ----------
    bars : Bars
        What is known so far, at least `USUAL` + 1 rows for full figures; rows to come have its symbols and fields.

    Examples
    --------
    >>> import longshort as ls
    >>> bars = ls.load_bars("AAPL", start="2014-06-05", end="2014-06-09", source="sample")
    >>> live = Live(bars.until("2014-06-06"))
    >>> event = live.close(bars.row(2))
    >>> clock.show(event.time), event.returns.round(4).tolist()
    ('2014-06-09T20:00:00Z', [0.016])
    """

    def __init__(self, bars: Bars):
        require_bars(bars, "Live")
        self.bars = bars.since(int(bars.time[-min(len(bars), USUAL + 1)])) if len(bars) else bars

    def open(self, row: Mapping[str, Any]) -> MarketEvent:
        """Return the opening of the row to come: needs "open", "state", "time" (of the opening) and the actions."""
        more = {name: np.asarray(row[name])[None] for name in ("split", "dividend", "state") if name in row}
        opened = {"open": np.asarray(row["open"], np.float64)[None]}
        kept = {"calendar": self.bars.calendar, "bar_size": self.bars.bar_size}
        one = Bars([row["time"]], self.bars.symbols, opened, **more, **kept)  # refuses what is no price
        sigma, many = self._usual(one.split[0])
        time, state, opened = int(one.time[0]), one.state[0], one["open"][0]
        split, dividend = _effective(one.split[0], 1.0), _effective(one.dividend[0], 0.0)
        return MarketEvent(
            OPEN,
            time,
            self._session(time),
            state,
            opened,
            None,
            None,
            None,
            None,
            split,
            dividend,
            False,
            None,
            sigma,
            many,
        )

    def close(self, row: Mapping[str, Any], last: bool = True) -> MarketEvent:
        """Return a row as an event and remember it: a mapping as `Bars.row` gives it.

        Parameters
        ----------
        row : mapping
            The closed row.
        last : bool, default=True
            Whether its session ends with it.
        """
        sigma, many = self._usual(row["split"])
        fields = {name: np.asarray(row[name], np.float64)[None] for name in self.bars.fields}
        more = {name: np.asarray(row[name])[None] for name in ("split", "dividend", "state")}
        kept = {"calendar": self.bars.calendar, "bar_size": self.bars.bar_size}
        self.bars = self.bars.append(Bars([row["time"]], self.bars.symbols, fields, **more, **kept), gaps="keep")
        returns = returns_of(self.bars)[-1]
        self.bars = self.bars.since(int(self.bars.time[-min(len(self.bars), USUAL + 1)]))
        known = {name: row.get(name) for name in ("open", "high", "low", "close", "volume")}
        known |= {"volatility": sigma, "usual_volume": many, "returns": returns}
        known |= {"split": _effective(row["split"], 1.0), "dividend": _effective(row["dividend"], 0.0)}
        time = int(row["time"])
        return MarketEvent(CLOSE, time, self._session(time), np.asarray(row["state"], np.uint8), last=last, **known)

    def _usual(self, split: Any) -> tuple[Any, Any]:
        returns = returns_of(self.bars)
        sigma = usual(np.abs(returns), USUAL)[-1] * 1.25
        volume = usual_volume(self.bars)
        return sigma, None if volume is None else volume[-1] * (1.0 if split is None else np.asarray(split))

    def _session(self, time: int) -> int:
        return int(clock.local_dates(np.array([time]), self.bars.calendar)[0].astype(np.int64))


def open_times(bars: Bars) -> np.ndarray:
    """Return when each bar opened, int64 UTC nanoseconds: after the bar before it was known.

    Examples
    --------
    >>> import longshort as ls
    >>> bars = ls.load_bars("AAPL", start="2014-11-26", end="2014-11-28", source="sample")
    >>> [clock.show(t) for t in open_times(bars)]
    ['2014-11-26T14:30:00Z', '2014-11-28T14:30:00Z']
    """
    time = bars.time
    opened = time - clock.bar_size_ns(bars.bar_size)
    if bars.calendar is not None and bars.bar_size not in ("1W", "1M"):
        known = clock.is_session(bars.calendar, bars.dates)
        begins = clock.session_opens(bars.calendar, bars.dates[known])
        opened[known] = np.where(begins < time[known], np.maximum(opened[known], begins), opened[known])
    opened[1:] = np.maximum(opened[1:], time[:-1] + 1)
    return np.minimum(opened, time)


def returns_of(bars: Bars, rows: slice = slice(None)) -> np.ndarray:
    """Return the total simple return of each row, (n, n_symbols); NaN in the first row and at gaps."""
    close, split, dividend = bars["close"][rows], bars.split[rows], bars.dividend[rows]
    out = np.full(close.shape, np.nan)
    out[1:] = close[1:] / (close[:-1] / split[1:] - dividend[1:]) - 1.0
    return out


def usual_volume(bars: Bars, rows: slice = slice(None)) -> np.ndarray | None:
    """Return the mean volume of the last `USUAL` bars at each row, in shares of that row; None without volumes."""
    return usual(bars["volume"][rows], USUAL, bars.split_factor[rows]) if "volume" in bars else None


def usual(values: np.ndarray, bars: int, scale: np.ndarray | None = None) -> np.ndarray:
    """Return the mean of the last rows that are finite, (n, n_symbols), lag by lag: a feed gets the same bits.

    With `scale`, older values are multiplied by how much it has grown since.
    """
    total, count = np.zeros(values.shape), np.zeros(values.shape)
    finite = np.isfinite(values)
    known = np.where(finite, values, 0.0)
    for lag in range(min(bars, len(values))):
        older = known[: len(values) - lag]
        total[lag:] += older if scale is None else older * (scale[lag:] / scale[: len(values) - lag])
        count[lag:] += finite[: len(values) - lag]
    return np.divide(total, count, out=np.full(values.shape, np.nan), where=count > 0)


def _before(values: np.ndarray) -> np.ndarray:
    """Shift rows by one: what was known when the bar began."""
    return np.concatenate([np.full((1, values.shape[1]), np.nan), values[:-1]])


def _column(bars: Bars, name: str, rows: slice) -> Any:
    return bars[name][rows] if name in bars else [None] * len(bars.time[rows])


def _actions(values: np.ndarray, plain: float) -> list[np.ndarray | None]:
    some = (values != plain).any(axis=1).tolist()
    return [row if found else None for row, found in zip(values, some, strict=True)]


def _effective(values: Any, plain: float) -> np.ndarray | None:
    if values is None:
        return None
    array = np.asarray(values, np.float64)
    return array if (array != plain).any() else None
