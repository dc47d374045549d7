"""Where leaks like to hide, and bars that differ from the given ones in a way whose effect is known.

`cut_points` lists rows at which the future is worth changing; `altered` changes it. `memoryless` and `announced` are
whole markets on the same stamps: in the one nothing can be forecast, in the other everybody who reads the last three
closes can.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...bars import Bars, State

if TYPE_CHECKING:
    from .subjects import Output

DAY = 86_400 * 10**9
PRICES = ("open", "high", "low", "close")
SHIFT_DAYS = 45  # moves every later stamp into another week and month
CALENDAR_CYCLE = (28 * 365 + 7) * DAY  # after 28 years days of the week, months and leap years repeat
WAYS = {
    "redraw": "prices and volumes were redrawn",
    "truncate": "the rows were cut off",
    "shuffle": "the rows were shuffled",
    "empty": "the rows were emptied (NaN)",
    "scale": "prices and volumes were multiplied by 10",
    "stamps": f"stamps were moved by {SHIFT_DAYS} days",
}
AUTOCORRELATION = 0.7


@dataclass(frozen=True)
class Cut:
    """The first row that is changed, and why this one."""

    row: int
    reason: str


def cut_points(
    bars: Bars, output: "Output | None", boundaries: Sequence[int], horizon: int, n: int, seed: int
) -> list[Cut]:
    """Return at most `n` cuts, the telling ones first: every kind of edge once, then again, then at random.

    Examples
    --------
    >>> from longshort.data.synthetic import random_walk
    >>> cuts = cut_points(random_walk(300), None, [200], 5, 12, seed=0)
    >>> sorted({cut.reason for cut in cuts})
    ['early row', 'fold boundary', 'last row', 'month edge', 'random', 'roll date', 'week edge']
    """
    rng = np.random.default_rng(seed)
    groups = {
        "fold boundary": _around(boundaries, (0, 1, max(horizon - 1, 1), 2, 3)),
        "first output": _around(_output_edges(bars, output), (1, 2, 3, 0, 5)),
        "gap edge": _around(_gap_edges(bars), (0, 1, -1)),
        "split": _around(np.flatnonzero((bars.split != 1).any(axis=1)), (0, 1)),
        "dividend": _around(np.flatnonzero((bars.dividend != 0).any(axis=1)), (0, 1)),
        "session edge": _some(_edges(bars.dates), rng) if _is_intraday(bars) else [],
        "month edge": _around(_some(_edges(bars.dates.astype("datetime64[M]")), rng), (0, 1, 2, 3, 4, -1)),
        "week edge": _some(_edges(_week(bars.dates)), rng),
        "roll date": _some(_third_fridays(bars.dates), rng),
        "early row": [3, 12, 1, 30, 2, 60],
        "last row": [len(bars) - k for k in (1, horizon, horizon + 1, 2)],
    }
    random = [int(row) for row in rng.permutation(np.arange(1, max(len(bars), 2)))]
    queues = [(reason, list(rows)) for reason, rows in groups.items()] + [("random", random)]
    found: dict[int, Cut] = {}
    while len(found) < n and any(rows for _, rows in queues):
        for reason, rows in queues:
            while rows:
                row = int(rows.pop(0))
                if 0 < row < len(bars) and row not in found:
                    found[row] = Cut(row, reason)
                    break
    return list(found.values())[:n]


def _around(rows: Iterable[int], offsets: Sequence[int]) -> list[int]:
    rows = [int(row) for row in rows]
    return [row + offset for offset in offsets for row in rows]


def _some(rows: np.ndarray, rng: np.random.Generator) -> list[int]:
    return [int(row) for row in rng.permutation(rows)[:8]]


def _edges(values: np.ndarray) -> np.ndarray:
    return 1 + np.flatnonzero(values[1:] != values[:-1])


def _week(dates: np.ndarray) -> np.ndarray:
    return (dates.astype("datetime64[D]").astype(np.int64) + 3) // 7  # Monday to Sunday


def _third_fridays(dates: np.ndarray) -> np.ndarray:
    days = dates.astype("datetime64[D]").astype(np.int64)
    of_month = days - dates.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    return np.flatnonzero(((days + 3) % 7 == 4) & (of_month >= 14) & (of_month < 21))


def _is_intraday(bars: Bars) -> bool:
    return len(bars) > 1 and len(np.unique(bars.dates)) < 0.9 * len(bars)


def _gap_edges(bars: Bars) -> list[int]:
    """Rows at which a symbol's bars stop or come back, or after which the stamps jump."""
    there = np.isfinite(bars["close" if "close" in bars else bars.fields[0]])
    changes = 1 + np.flatnonzero((there[1:] != there[:-1]).any(axis=1))
    pause = np.diff(bars.time)
    usual = max(float(np.median(pause)) * 3.5, 1.0) if len(pause) else np.inf
    return sorted({int(row) for row in (*changes, *(1 + np.flatnonzero(pause > usual)))})[:12]


def _output_edges(bars: Bars, output: "Output | None") -> list[int]:
    """Rows at which numbers begin: the end of a warm-up, or the first forecast after a training part."""
    if output is None or not len(output.time):
        return []
    there = np.zeros(len(bars), bool)
    rows = np.searchsorted(bars.time, output.time)
    alive = np.isfinite(output.values).any(axis=1) & (rows < len(bars))
    there[rows[alive]] = True
    return [int(row) for row in np.flatnonzero(there & ~np.r_[False, there[:-1]])[:4]]


# ------------------------------------------------------------------------------------------------------ other futures


def altered(bars: Bars, first: int, way: str, seed: int = 0) -> Bars:
    """Return bars whose rows from `first` on differ in the given way, see `WAYS`; earlier rows are untouched.

    Examples
    --------
    >>> from longshort.data.synthetic import random_walk
    >>> bars = random_walk(6)
    >>> other = altered(bars, 4, "scale")
    >>> (other["close"] / bars["close"]).ravel().round(2).tolist()
    [1.0, 1.0, 1.0, 1.0, 10.0, 10.0]
    """
    if way == "truncate":
        return bars.until(int(bars.time[first - 1]))
    rng = np.random.default_rng((seed, first))
    order = np.arange(len(bars))
    time = np.array(bars.time)
    if way == "stamps":
        time[first:] += SHIFT_DAYS * DAY
        return _remade(bars, {name: bars[name] for name in bars.fields}, time=time, state=bars.state)
    fields = {name: np.array(bars[name]) for name in bars.fields}
    state = np.array(bars.state)
    if way == "shuffle":
        rng.shuffle(order[first:])
    factor = np.exp(0.3 * rng.standard_normal((len(bars) - first, len(bars.symbols))))
    for name, values in fields.items():
        if way == "scale":
            values[first:] *= 10.0
        elif way == "empty":
            values[first:] = np.nan
        elif way == "shuffle":
            values[first:] = values[order[first:]]
        else:
            values[first:] = _redrawn(name, values, first, factor, rng)
    if way == "empty":
        state[first:][state[first:] == State.OK] = State.MISSING
    state[first:] = state[order[first:]]
    return _remade(bars, fields, state=state, actions_until=first)


def _redrawn(name: str, values: np.ndarray, first: int, factor: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if name in PRICES:
        return values[first:] * factor
    if name == "volume":
        return values[first:] * np.exp(rng.standard_normal(factor.shape))
    known = values[np.isfinite(values)]
    return values[first:] + (known.std() or 1.0 if len(known) else 1.0) * rng.standard_normal(factor.shape)


def _remade(
    bars: Bars,
    fields: dict[str, np.ndarray],
    time: np.ndarray | None = None,
    state: np.ndarray | None = None,
    actions_until: int | None = None,
) -> Bars:
    split, dividend = np.array(bars.split), np.array(bars.dividend)
    if actions_until is not None:
        split[actions_until:], dividend[actions_until:] = 1.0, 0.0
    return Bars.from_arrays(
        bars.time if time is None else time,
        bars.symbols,
        fields,
        split=split,
        dividend=dividend,
        state=state,
        calendar=bars.calendar,
        bar_size=bars.bar_size,
    )


def extended(bars: Bars, n: int = 30) -> Bars:
    """Return the bars with `n` invented rows after the last one."""
    source = np.random.default_rng(0).integers(max(len(bars) // 2, 0), len(bars), n)
    step = int(np.median(np.diff(bars.time))) if len(bars) > 1 else DAY
    time = np.r_[bars.time, bars.time[-1] + step * np.arange(1, n + 1)]
    fields = {name: np.vstack([bars[name], 1.5 * bars[name][source]]) for name in bars.fields}
    neutral = np.ones((n, len(bars.symbols)))
    return Bars.from_arrays(
        time,
        bars.symbols,
        fields,
        split=np.vstack([bars.split, neutral]),
        dividend=np.vstack([bars.dividend, 0 * neutral]),
        state=np.vstack([bars.state, bars.state[source]]),
        calendar=bars.calendar,
        bar_size=bars.bar_size,
    )


def punctured(bars: Bars, seed: int = 0) -> tuple[Bars, list[Cut]]:
    """Return bars with a few cells emptied, and cuts in these holes: what fills a gap must not fill it backwards."""
    rng = np.random.default_rng(seed)
    fields, state = {name: np.array(bars[name]) for name in bars.fields}, np.array(bars.state)
    acts = np.flatnonzero(((bars.split != 1) | (bars.dividend != 0)).any(axis=1))
    cuts = []
    for share in (0.2, 0.45, 0.6, 0.75, 0.9):
        row, length = int(share * len(bars)), int(rng.integers(2, 6))
        if row < 2 or row + length >= len(bars) or (len(acts) and (abs(acts - row) < 8).any()):
            continue
        for values in fields.values():
            values[row : row + length] = np.nan
        state[row : row + length] = State.MISSING
        cuts += [Cut(row + length, "gap edge"), Cut(row + length - 1, "gap edge")]
    return _remade(bars, fields, state=state), cuts


def moved_in_time(bars: Bars) -> Bars | None:
    """Return the bars 28 years earlier (same days of the week and year), None where stamps cannot go there."""
    if len(bars) == 0 or bars.time[0] - CALENDAR_CYCLE < np.datetime64("1930-01-01", "ns").astype(np.int64):
        return None
    return _remade(bars, {n: bars[n] for n in bars.fields}, time=bars.time - CALENDAR_CYCLE, state=bars.state)


def repriced(bars: Bars, factor: float = 4.0) -> Bars:
    """Return the bars in another currency: prices and dividends times `factor`."""
    fields = {name: bars[name] * (factor if name in PRICES else 1.0) for name in bars.fields}
    return Bars.from_arrays(
        bars.time,
        bars.symbols,
        fields,
        split=bars.split,
        dividend=bars.dividend * factor,
        state=bars.state,
        calendar=bars.calendar,
        bar_size=bars.bar_size,
    )


# ------------------------------------------------------------------------------------------------------ other markets


def memoryless(bars: Bars, seed: int = 0) -> Bars | None:
    """Return the same bars in an order and with signs drawn by lot: nothing can be forecast, nothing earned.

    Examples
    --------
    >>> from longshort.data.synthetic import planted_signal
    >>> bars = memoryless(planted_signal(3000, carrier="return", ceiling_correlation=0.9))
    >>> change = np.diff(np.log(bars["close"][:, 0]))
    >>> bool(abs(np.corrcoef(change[1:], change[:-1])[0, 1]) < 0.06)
    True
    """
    if "close" not in bars:
        return None
    rng = np.random.default_rng((seed, 7))

    def moves(change: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        order = rng.permutation(len(change))
        signs = rng.choice([-1.0, 1.0], len(change))
        return signs * (change - change.mean())[order], order, signs

    return _rebuilt(bars, moves)


def announced(bars: Bars, seed: int = 0) -> Bars | None:
    """Return bars whose next return is known to 0.7 from the return of the row before the last, and only from it.

    The autoregression r[t] = 0.7 r[t - 2] + noise: who forecasts r[t + 1] well has read r[t - 1]. A forecast that is
    made with a window one row off correlates with the return before or after the one it is for, and not with its own.
    """
    if "close" not in bars:
        return None
    rng = np.random.default_rng((seed, 8))

    def moves(change: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        noise = rng.standard_normal(len(change)) * np.sqrt(1 - AUTOCORRELATION**2)
        for t in range(2, len(noise)):
            noise[t] += AUTOCORRELATION * noise[t - 2]
        scale = min(float(change.std()) or 0.01, 0.03)
        return scale * noise, np.arange(len(change)), np.ones(len(change))

    return _rebuilt(bars, moves)


def _rebuilt(bars: Bars, moves) -> Bars:
    """Put new log returns under each symbol's bars: `moves` returns them, the order of the rows and their signs."""
    fields = {name: np.array(bars[name]) for name in bars.fields}
    for j in range(len(bars.symbols)):
        close = bars.adjusted("close")[:, j]
        rows = np.flatnonzero(np.isfinite(close) & (close > 0))
        if len(rows) < 3:
            continue
        change, order, signs = moves(np.diff(np.log(close[rows])))
        first, rows, source = rows[0], rows[1:], rows[1:][order]
        made = close[first] * np.exp(np.cumsum(change))
        for name in bars.fields:
            fields[name][rows, j] = bars.adjusted(name)[source, j] if name == "volume" else bars[name][source, j]
        shapes = {n: np.log(bars[n][source, j] / bars["close"][source, j]) for n in PRICES if n in bars}
        for name in shapes:
            mirror = {"high": "low", "low": "high"}.get(name, name)
            shape = np.where(signs > 0, shapes[name], -shapes[mirror] if mirror in shapes else 0.0)
            fields[name][rows, j] = made * np.exp(shape)
    return _remade(bars, fields, state=bars.state, actions_until=0)


def with_fields(bars: Bars, fields: dict[str, np.ndarray]) -> Bars:
    """Return the bars with other numbers in their fields."""
    return _remade(bars, fields, state=bars.state)
