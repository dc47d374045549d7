"""The single looks of `check`: each takes one symbol's series and yields what it finds.

Thresholds are in standard deviations of the symbol's own daily returns (a robust estimate over the 60 bars before) with
a floor, so that a quiet utility and a volatile small stock are both judged by their own measure.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import clock
from ..bars import Bars, State
from ..errors import DataError, InputError

KINDS = (  # in the order in which they are listed
    *("unreadable", "columns", "stamp", "unsorted", "duplicate", "not_a_number", "infinite", "not_positive", "nan"),
    *("ohlc", "weekend", "holiday", "gap", "unadjusted_split", "split_applied_twice", "unadjusted_action", "spike"),
    *("repeated_bar", "stale", "absurd_volume", "dividend"),
    *("starts_late", "ends_early", "jump", "halt", "zero_volume"),
)
_PRICES = ("open", "high", "low", "close")
_RATIOS = np.array([2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 25, 30, 40, 50, 100], float)
_WINDOW = 60
_ROUNDING = 1e-6  # relative; prices that went through float32 or an adjustment


@dataclass(frozen=True)
class Finding:
    """One thing seen: kind, symbol, words, and where."""

    kind: str
    symbol: str
    text: str
    dates: tuple[str, ...] = ()
    rows: tuple[int, ...] = ()
    values: tuple[float, ...] = ()


@dataclass(frozen=True)
class Series:
    """One symbol's rows in order of time, without repeats; NaN where a cell has no number."""

    symbol: str
    days: np.ndarray  # datetime64[D]
    rows: np.ndarray  # row numbers in what was checked
    prices: dict[str, np.ndarray]
    volume: np.ndarray | None
    split: np.ndarray
    dividend: np.ndarray

    def at(self, kind: str, i: Any, text: str, value: float = np.nan) -> Finding:
        """Return a finding at one row."""
        day = str(self.days[i])
        return Finding(kind, self.symbol, f"{day}: {text}", (day,), (int(self.rows[i]),), (float(value),))


@dataclass(frozen=True)
class Context:
    """What the series are judged against."""

    calendar: str | None
    sessions: np.ndarray  # all days on which there should be bars
    bar_size: str
    n_rows: int
    n_symbols: int
    first: np.datetime64 | None
    last: np.datetime64 | None


# ---------------------------------------------------------------------------------------------------------------------
# Reading


def series_of_bars(bars: Bars, calendar: str | None) -> tuple[list[Series], Context, list[Finding]]:
    """Return the series of bars; cells that are not OK are left out."""
    calendar = calendar or bars.calendar
    series = []
    for j, symbol in enumerate(bars.symbols):
        rows = np.flatnonzero((bars.state[:, j] == State.OK) | (bars.state[:, j] == State.HALTED))
        prices = {name: bars[name][rows, j] for name in _PRICES if name in bars}
        volume = bars["volume"][rows, j] if "volume" in bars else None
        partly = np.zeros(len(bars), bool)
        for name in prices:
            partly |= ~np.isnan(bars[name][:, j])
        rows = np.union1d(rows, np.flatnonzero(partly & (bars.state[:, j] == State.MISSING)))
        prices = {name: bars[name][rows, j] for name in prices}
        volume = bars["volume"][rows, j] if volume is not None else None
        split, dividend = _actions_on(rows, bars.split[:, j], bars.dividend[:, j])
        series.append(Series(symbol, bars.dates[rows], rows, prices, volume, split, dividend))
    days = bars.dates if calendar is None or not len(bars) else clock.sessions(calendar, bars.dates[0], bars.dates[-1])
    return series, _context(series, calendar, np.unique(days), bars.bar_size, len(bars)), []


def _actions_on(rows: np.ndarray, split: np.ndarray, dividend: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Move actions on missing rows to the next row there is."""
    ratio, cash = np.ones(len(rows)), np.zeros(len(rows))
    for i in np.flatnonzero((split != 1) | (dividend != 0)):
        place = int(np.searchsorted(rows, i))
        if place < len(rows):
            ratio[place] *= split[i]
            cash[place] += dividend[i]
    return ratio, cash


def series_of_frame(frame: Any, calendar: str | None) -> tuple[list[Series], Context, list[Finding]]:
    """Return the series of a table, with what is wrong about its form."""
    from .._panel.frames import split_by_symbol

    found: list[Finding] = []
    nothing = _context([], calendar, np.array([], "datetime64[D]"), "1D", len(frame))
    if not len(frame):
        return [], nothing, [Finding("columns", "", "the table has no rows")]
    numbered = frame.copy(deep=False)
    try:
        tables = split_by_symbol(numbered, None)
    except (DataError, InputError) as error:
        return [], nothing, [Finding("columns", "", str(error))]
    where = _row_numbers(frame, tables)
    series = []
    for symbol, table in tables.items():
        if "close" not in table.columns:
            names = ", ".join(map(str, table.columns[:10]))
            return [], nothing, [Finding("columns", "", f"there is no column 'close' among {names}")]
        one = _read_table(symbol, table, where[symbol], found)
        if one is not None:
            series.append(one)
    days = np.unique(np.concatenate([s.days for s in series])) if series else np.array([], "datetime64[D]")
    calendar = calendar or _guess_calendar(series, days)
    sessions = (
        _common_days(series, days) if calendar is None or not len(days) else clock.sessions(calendar, days[0], days[-1])
    )
    return series, _context(series, calendar, sessions, "1D", len(frame)), found


def _row_numbers(frame: Any, tables: dict[str, Any]) -> dict[str, np.ndarray]:
    """Return the positions in the frame of every symbol's rows."""
    names = {str(c).strip().lower(): c for c in frame.columns} if frame.columns.nlevels == 1 else {}
    column = next((names[c] for c in ("symbol", "ticker") if c in names), None)
    if column is None:
        return {symbol: np.arange(len(frame)) for symbol in tables}
    groups = frame.reset_index(drop=True).groupby(column, sort=False, observed=True).indices
    return {str(symbol): np.asarray(rows) for symbol, rows in groups.items()}


def _read_table(symbol: str, table: Any, rows: np.ndarray, found: list[Finding]) -> Series | None:
    """Read one symbol's flat table leniently, noting what is wrong."""
    import pandas as pd

    from .._panel.stamps import datetimes

    try:
        index = datetimes(table.index)
    except DataError as error:
        found.append(Finding("stamp", symbol, str(error)))
        return None
    if index.tz is not None:
        index = (
            index.tz_localize(None)
            if (index == index.normalize()).all()
            else index.tz_convert("America/New_York").tz_localize(None)
        )
    years = index.year.to_numpy()
    bad = np.flatnonzero(index.isna() | (years < 1900) | (years > 2200))
    if len(bad):
        text = (
            f"row {rows[bad[0]]} has no stamp"
            if index.isna()[bad[0]]
            else f"row {rows[bad[0]]} is of {years[bad[0]]:.0f}"
        )
        found.append(Finding("stamp", symbol, text, ("",) * len(bad), tuple(map(int, rows[bad]))))
        keep = np.setdiff1d(np.arange(len(index)), bad)
        index, table, rows = index[keep], table.iloc[keep], rows[keep]
    stamps = index.to_numpy()
    values: dict[str, np.ndarray] = {}
    for name in (*_PRICES, "volume", "stock_splits", "split", "dividends", "dividend"):
        if name in table.columns:
            column = table[name]
            numbers = pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)
            lost = np.isnan(numbers) & ~column.isna().to_numpy()
            if not pd.api.types.is_numeric_dtype(column.dtype):  # text that reads as a number is text
                lost |= np.fromiter((isinstance(cell, str) for cell in column), bool, len(column))
            lost = np.flatnonzero(lost)
            if len(lost):
                first = f"row {rows[lost[0]]}, {name}: {column.iloc[lost[0]]!r}"
                dates = tuple(str(stamps[i])[:10] for i in lost)
                found.append(Finding("not_a_number", symbol, first, dates, tuple(map(int, rows[lost]))))
            values[name] = numbers
    found.extend(_order(symbol, stamps, rows, np.column_stack([values[n] for n in values])))
    order = np.argsort(stamps, kind="stable")
    order = order[np.r_[True, np.diff(stamps[order]) > np.timedelta64(0)]] if len(order) else order
    split, dividend = np.ones(len(order)), np.zeros(len(order))
    if "split" in values:  # yfinance's "Stock Splits" are in the prices already
        split = np.where(values["split"][order] > 0, values["split"][order], 1.0)
    for name in ("dividend", "dividends"):
        if name in values:
            dividend = np.nan_to_num(values[name][order])
    prices = {name: values[name][order] for name in _PRICES if name in values}
    volume = values["volume"][order] if "volume" in values else None
    return Series(symbol, stamps[order].astype("datetime64[D]"), rows[order], prices, volume, split, dividend)


def _order(symbol: str, stamps: np.ndarray, rows: np.ndarray, values: np.ndarray) -> Iterator[Finding]:
    back = np.flatnonzero(np.diff(stamps) < np.timedelta64(0)) + 1
    if len(back):
        i = back[0]
        text = f"row {rows[i]} ({str(stamps[i])[:10]}) comes after {str(stamps[i - 1])[:10]}"
        yield Finding("unsorted", symbol, text, tuple(str(stamps[k])[:10] for k in back), tuple(map(int, rows[back])))
    order = np.argsort(stamps, kind="stable")
    for place in np.flatnonzero(np.diff(stamps[order]) == np.timedelta64(0)) + 1:
        i, before = order[place], order[place - 1]
        same = np.array_equal(values[i], values[before], equal_nan=True)
        day = str(stamps[i])[:10]
        text = f"{day}: row {rows[i]} repeats row {rows[before]} with {'the same' if same else 'other'} values"
        yield Finding("duplicate", symbol, text, (day,), (int(rows[i]),))
    ahead = np.flatnonzero(stamps > np.datetime64(clock.now_ns() + clock.DAY, "ns"))
    if len(ahead):
        text = f"row {rows[ahead[0]]} ({str(stamps[ahead[0]])[:10]}) lies in the future"
        yield Finding("stamp", symbol, text, tuple(str(stamps[k])[:10] for k in ahead), tuple(map(int, rows[ahead])))


def _guess_calendar(series: list[Series], days: np.ndarray) -> str | None:
    """Return XNYS when nearly all dates are its sessions and most of its sessions in the symbols' spans are there."""
    if len(days) < 20 or days[0] < np.datetime64("1950-01-01"):
        return None
    sessions = clock.sessions("XNYS", days[0], days[-1])
    spans = [(s.days[0], s.days[-1], len(s.days)) for s in series if len(s.days)]
    expected = sum(int(((sessions >= first) & (sessions <= last)).sum()) for first, last, _ in spans)
    common = int(np.isin(days, sessions).sum())
    return "XNYS" if common >= 0.97 * len(days) and sum(n for *_, n in spans) >= 0.7 * expected else None


def _common_days(series: list[Series], days: np.ndarray) -> np.ndarray:
    """Without a calendar, a day on which most of at least three symbols have a bar is one on which all should."""
    if len(series) < 3:
        return np.array([], "datetime64[D]")
    present = sum(np.isin(days, s.days).astype(int) for s in series)
    alive = sum(((days >= s.days[0]) & (days <= s.days[-1])).astype(int) for s in series if len(s.days))
    return days[present > 0.5 * np.maximum(alive, 1)]


def _context(series: list[Series], calendar: str | None, sessions: np.ndarray, bar_size: str, n_rows: int) -> Context:
    days = [s.days for s in series if len(s.days)]
    first, last = (min(d[0] for d in days), max(d[-1] for d in days)) if days else (None, None)
    return Context(calendar, sessions, bar_size, n_rows, len(series), first, last)


# ---------------------------------------------------------------------------------------------------------------------
# Looking


def findings_of(series: Series, context: Context) -> Iterator[Finding]:
    """Yield everything that one series shows."""
    if not len(series.days):
        return
    yield from _cells(series)
    yield from _days(series, context)
    clean = _without_bad_cells(series)
    if len(clean.days) > 2:
        yield from _repeats(clean)
        yield from _moves(clean)
        yield from _volumes(clean)


def _cells(s: Series) -> Iterator[Finding]:
    for name, values in (*s.prices.items(), ("volume", s.volume)):
        if values is None:
            continue
        for i in np.flatnonzero(np.isinf(values)):
            yield s.at("infinite", i, f"{name} is {values[i]}", values[i])
        if name != "volume" or not np.isnan(values).all():
            for i in np.flatnonzero(np.isnan(values)):
                yield s.at("nan", i, f"{name} has no number")
        low = values <= 0 if name != "volume" else values < 0
        for i in np.flatnonzero(low):
            yield s.at("not_positive", i, f"{name} is {values[i]:g}", values[i])
    body = [s.prices[name] for name in ("open", "close") if name in s.prices]
    with np.errstate(invalid="ignore"):
        if "high" in s.prices:
            top = np.fmax.reduce([*body, s.prices["low"]] if "low" in s.prices else body)
            for i in np.flatnonzero(s.prices["high"] < top * (1 - _ROUNDING)):
                yield s.at("ohlc", i, f"high {s.prices['high'][i]:g} is below {top[i]:g}", s.prices["high"][i])
        if "low" in s.prices:
            bottom = np.fmin.reduce(body)
            for i in np.flatnonzero(s.prices["low"] > bottom * (1 + _ROUNDING)):
                yield s.at("ohlc", i, f"low {s.prices['low'][i]:g} is above {bottom[i]:g}", s.prices["low"][i])
    close = s.prices["close"]
    for i in np.flatnonzero(s.dividend[1:] > 0.5 * close[:-1]) + 1:
        yield s.at("dividend", i, f"a dividend of {s.dividend[i]:g} after a close of {close[i - 1]:g}", s.dividend[i])


def _days(s: Series, context: Context) -> Iterator[Finding]:
    if context.calendar is not None:
        for i in np.flatnonzero(~np.isin(s.days, context.sessions)):
            kind = "holiday" if np.is_busday(s.days[i]) else "weekend"
            yield s.at(kind, i, f"{context.calendar} is closed on this {kind}")
    inside = context.sessions[(context.sessions > s.days[0]) & (context.sessions < s.days[-1])]
    absent = inside[~np.isin(inside, s.days)]
    if len(absent):
        place = np.searchsorted(context.sessions, absent)
        for run in np.split(absent, np.flatnonzero(np.diff(place) != 1) + 1):
            after = int(np.searchsorted(s.days, run[-1]))
            span = str(run[0]) if len(run) == 1 else f"{run[0]} .. {run[-1]}"
            text = f"{len(run):,} session{'s' if len(run) > 1 else ''} without a bar, {span}"
            yield Finding("gap", s.symbol, text, tuple(map(str, run)), (int(s.rows[after]),), (float(len(run)),))
    if context.n_symbols > 1 and context.first is not None and context.last is not None:
        if (context.sessions < s.days[0]).sum() > 0 and s.days[0] > context.first:
            yield s.at("starts_late", 0, f"the first bar; others begin on {context.first}")
        if (context.sessions > s.days[-1]).sum() > 0 and s.days[-1] < context.last:
            yield s.at("ends_early", -1, f"the last bar; others end on {context.last}")


def _without_bad_cells(s: Series) -> Series:
    """Drop rows whose close is no usable price, so that one fault is not reported as five."""
    keep = np.isfinite(s.prices["close"]) & (s.prices["close"] > 0)
    if keep.all():
        return s
    prices = {name: values[keep] for name, values in s.prices.items()}
    volume = None if s.volume is None else s.volume[keep]
    split, dividend = _actions_on(np.flatnonzero(keep), s.split, s.dividend)
    return Series(s.symbol, s.days[keep], s.rows[keep], prices, volume, split, dividend)


def _repeats(s: Series) -> Iterator[Finding]:
    """Runs of equal rows, and bars whose open, high and low stand in another bar within ten rows."""
    stack = np.column_stack(list(s.prices.values()))
    same = (np.diff(stack, axis=0) == 0).all(axis=1)
    edges = np.flatnonzero(np.diff(np.r_[False, same, False].astype(int)))
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        if stop - start >= 4:
            volume = np.ones(1) if s.volume is None else s.volume[start + 1 : stop + 1]
            kind = "stale" if np.nan_to_num(volume).any() else "halt"
            yield s.at(
                kind, start, f"{stop - start + 1} rows repeat the same prices until {s.days[stop]}", stack[start, -1]
            )
    if stack.shape[1] < 4 or s.volume is None:
        return
    stale = np.zeros(len(stack), bool)
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        stale[start : stop + 1] = stop - start >= 4
    shape, close = stack[:, :3], s.prices["close"]
    width = s.prices["high"] - s.prices["low"]
    volume = np.maximum(s.volume, 0) + 1
    for k in range(1, min(10, len(stack) - 1) + 1):
        equal = (np.abs(shape[k:] - shape[:-k]) <= 1e-5 * shape[k:]).all(axis=1) & (width[:-k] > 0) & ~stale[:-k]
        alike = np.abs(close[k:] - close[:-k]) <= 1e-5 * close[k:]
        ratio = volume[k:] / volume[:-k]
        for i in np.flatnonzero(equal & (alike | ((ratio > 0.8) & (ratio < 1.25)))):
            yield s.at("repeated_bar", i, f"open, high and low are those of {s.days[i + k]}", close[i])


def _moves(s: Series) -> Iterator[Finding]:
    """Splits that are lacking or there twice, other overnight jumps, spikes."""
    close = s.prices["close"]
    move = np.r_[0.0, np.diff(np.log(close)) + np.log(s.split[1:])]  # what a holder saw
    gap = np.full(len(close), np.nan)
    if "open" in s.prices:
        opened = np.where(s.prices["open"] > 0, s.prices["open"], np.nan)
        gap[1:] = np.log(opened[1:] / close[:-1]) + np.log(s.split[1:])
    plain = move - np.log(s.split)  # what the price did
    for i in np.flatnonzero((np.abs(move) > 0.08) | (np.abs(gap) > 0.2) | (s.split != 1)):
        if i and s.days[i] - s.days[i - 1] < np.timedelta64(15, "D"):  # a move over a long gap says nothing
            yield from _move(s, int(i), move, plain, gap[i])
    yield from _wicks(s, move)


def _move(s: Series, i: int, move: np.ndarray, plain: np.ndarray, gap: float) -> Iterator[Finding]:
    """Say what a large move, or one on a split's day, most likely is."""
    close, r = s.prices["close"], move[i]
    size = _scale(move, i)
    near = _RATIOS[np.argmin(np.abs(np.log(_RATIOS) - abs(r)))]
    busy = _busy(s, i)
    split = s.split[i]
    if split != 1 and abs(np.log(split)) > 0.2 and abs(plain[i]) < min(abs(r) / 3, 0.15):
        text = f"a split of {split:g} is listed, but the price moved {np.expm1(plain[i]):+.1%}"
        yield s.at("split_applied_twice", i, text, r)
    elif _reverts(plain, i) and _reverts(move, i):
        yield s.at("spike", i, f"close {close[i]:g} after {close[i - 1]:g}, then {close[i + 1]:g}", close[i])
    elif i > 1 and _reverts(plain, i - 1) and _reverts(move, i - 1):
        return  # the way back from a spike
    elif _is_split(r, gap, near, float(np.clip(3.5 * size, 0.03, 0.12))) and busy / near < 6:
        word = f"1/{near:g} of" if r < 0 else f"{near:g} times"
        yield s.at(
            "unadjusted_split", i, f"open and close are {word} the close before, and no split is listed", np.exp(r)
        )
    elif abs(gap) > 0.35 and abs(r) > 0.3 and busy < 8:
        yield s.at("unadjusted_action", i, f"moved {np.expm1(r):+.1%}, from the open on, on ordinary volume", np.exp(r))
    elif abs(r) > max(0.25, 8 * size):
        yield s.at("jump", i, f"moved {np.expm1(r):+.1%}", np.exp(r))


def _reverts(move: np.ndarray, i: int) -> bool:
    """Return whether the move of row i is large and taken back by the next one."""
    if i + 1 >= len(move) or not abs(move[i]) > 0.08 or not abs(move[i] + move[i + 1]) < 0.3 * abs(move[i]):
        return False
    return bool(abs(move[i]) > 8 * max(_scale(move, i), _scale(move, i, around=True)))


def _is_split(r: float, gap: float, near: float, tolerance: float) -> bool:
    log = np.log(near)
    fits = abs(abs(r) - log) < tolerance
    return bool(fits and (np.isnan(gap) or (abs(abs(gap) - log) < max(tolerance, 0.06) and gap * r > 0)))


def _wicks(s: Series, move: np.ndarray) -> Iterator[Finding]:
    """Open, high or low far from the rest of its own bar and from the close before."""
    close = s.prices["close"]
    before = np.r_[np.nan, close[:-1] / s.split[1:]]
    for name in ("open", "high", "low"):
        if name in s.prices:
            with np.errstate(invalid="ignore", divide="ignore"):
                far = np.minimum(np.abs(np.log(s.prices[name] / close)), np.abs(np.log(s.prices[name] / before)))
            for i in np.flatnonzero((far > 0.25) & np.isfinite(far)):
                if far[i] > 12 * max(_scale(move, int(i)), _scale(move, int(i), around=True)):
                    text = f"{name} {s.prices[name][i]:g} beside a close of {close[i]:g}"
                    yield s.at("spike", i, text, s.prices[name][i])


def _volumes(s: Series) -> Iterator[Finding]:
    if s.volume is None or not (s.volume > 0).any():
        return
    share = s.volume / np.cumprod(s.split)
    typical = float(np.nanmedian(share[share > 0]))
    for i in np.flatnonzero((share > 10 * typical) | (s.volume > 1e12)):
        times = share[i] / _usual(share, int(i), after=_WINDOW)
        if times > 100 or s.volume[i] > 1e12:
            yield s.at("absurd_volume", i, f"volume {s.volume[i]:,.0f} is {times:,.0f} times the usual", s.volume[i])
    for i in np.flatnonzero(s.volume == 0):
        yield s.at("zero_volume", i, "no volume", 0.0)


def _busy(s: Series, i: int) -> float:
    """Return volume over its usual before; infinite where that is not known."""
    if s.volume is None:
        return 1.0
    usual = _usual(s.volume, i)
    return float(s.volume[i] / usual) if usual > 0 else np.inf


def _scale(move: np.ndarray, i: int, around: bool = False) -> float:
    """Return a robust standard deviation of the moves before row i, or of those around it and its way back."""
    size = np.abs(move)
    if around:
        near = np.r_[size[max(i - 5, 1) : i], size[i + 2 : i + 8]]
        return 1.4826 * float(np.nanmedian(near)) if len(near) > 4 else 0.0
    usual = 1.4826 * _usual(size, i)
    return usual if np.isfinite(usual) else max(1.4826 * float(np.nanmedian(size)), 0.01)


def _usual(values: np.ndarray, i: int, after: int = 0) -> float:
    """Return the median of the 60 values before row i (and of `after` ones behind it), NaN when there are under ten."""
    near = np.r_[values[max(i - _WINDOW, 0) : i], values[i + 1 : i + 1 + after]]
    near = near[np.isfinite(near)]
    return float(np.median(near)) if len(near) >= 10 else np.nan
