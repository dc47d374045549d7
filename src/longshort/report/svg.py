"""Draw small, crisp SVG charts as text: scales, ticks, lines, bands, labels that do not collide.

Colours and fonts are CSS classes (`s-actual`, `s-model`, `s-naive`, ...), so that one drawing serves light mode, dark
mode and print. Every chart is drawn twice, for a wide and for a narrow column (`responsive`); CSS shows one of them, so
text keeps its size on a phone. What the pointer reads is attached as JSON (`Hover`), what a screen reader reads as
label and `<desc>`.
"""

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise

import numpy as np

WIDE, HALF, NARROW = 1040, 500, 360  # widths of the view boxes, in pixels
DAY = 86_400 * 10**9


def days(stamps) -> np.ndarray:
    """Days since 1970 as float64, from int64 ns stamps or datetime64."""
    values = np.asarray(stamps)
    if np.issubdtype(values.dtype, np.datetime64):
        values = values.astype("datetime64[ns]").astype(np.int64)
    return values.astype(np.float64) / DAY


def fmt(value: float) -> str:
    """Write a coordinate with at most one decimal.

    >>> fmt(12.04), fmt(3.0), fmt(-0.01)
    ('12', '3', '0')
    """
    text = f"{value:.1f}"
    text = text[:-2] if text.endswith(".0") else text
    return "0" if text == "-0" else text


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round values inside `[low, high]`, about `count` of them, in steps of 1, 2, 2.5 or 5.

    >>> nice_ticks(0.3, 9.2, 5)
    [2.0, 4.0, 6.0, 8.0]
    >>> nice_ticks(-0.013, 0.021, 4)
    [-0.01, 0.0, 0.01, 0.02]
    """
    if not (math.isfinite(low) and math.isfinite(high)) or high <= low:
        return [low] if math.isfinite(low) else []
    raw = (high - low) / max(count, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = min((m * power for m in (1.0, 2.0, 2.5, 5.0, 10.0)), key=lambda s: abs(math.log(s / raw)))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    decimals = max(0, 2 - math.floor(math.log10(step)))
    return [round(k * step, decimals) + 0.0 for k in range(first, last + 1)]


def time_ticks(first: float, last: float, count: int) -> list[tuple[float, str]]:
    """Years, months or days inside `[first, last]` (days since 1970), each with its label.

    >>> [label for _, label in time_ticks(days(np.datetime64("2015-03-02")), days(np.datetime64("2021-03-31")), 6)]
    ['2016', '2017', '2018', '2019', '2020', '2021']
    >>> [label for _, label in time_ticks(days(np.datetime64("2020-02-03")), days(np.datetime64("2020-04-28")), 5)]
    ['Mar 2020', 'Apr']
    """
    span = max(last - first, 1e-9)
    start = np.datetime64(math.floor(first), "D")
    stop = np.datetime64(math.ceil(last), "D")
    months = np.arange(start.astype("datetime64[M]"), stop.astype("datetime64[M]") + 1)
    if span > 62:
        for step in (1, 2, 3, 6, 12, 24, 60, 120, 240):
            chosen = [m for m in months if int(m.astype(int)) % step == 0 and first <= days(m) <= last]
            if len(chosen) <= count:
                break
        labels = [month_label(m, step, i == 0) for i, m in enumerate(chosen)]
        return [(float(days(m)), text) for m, text in zip(chosen, labels, strict=True)]
    if span <= 1.5:
        hours = [h for h in np.arange(math.floor(first * 24), math.ceil(last * 24) + 1) if first <= h / 24 <= last]
        hours = hours[:: max(1, math.ceil(len(hours) / count))]
        return [(h / 24, f"{int(h) % 24:02d}:00") for h in hours]
    step = max(1, math.ceil(span / count))
    chosen = [d for d in np.arange(start, stop + 1, step) if first <= days(d) <= last]
    return [(float(days(d)), day_label(d)) for d in chosen]


MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


def month_label(month: np.datetime64, step: int, first: bool) -> str:
    number = int(month.astype(int))
    year, index = 1970 + number // 12, number % 12
    if step >= 12:
        return str(year)
    return f"{MONTHS[index]} {year}" if index == 0 or first else MONTHS[index]


def day_label(day: np.datetime64) -> str:
    month = day.astype("datetime64[M]")
    return f"{int((day - month.astype('datetime64[D]')).astype(int)) + 1} {MONTHS[int(month.astype(int)) % 12]}"


def decimate(x: np.ndarray, *series: np.ndarray, columns: int = 1400) -> np.ndarray:
    """Rows to draw: all of them, or the highest and lowest of each of `columns` groups, in order.

    >>> decimate(np.arange(5.0), np.arange(5.0)).tolist()
    [0, 1, 2, 3, 4]
    >>> x = np.arange(10_000.0)
    >>> spike = np.zeros(10_000); spike[1234] = 9.0
    >>> rows = decimate(x, spike, columns=100)
    >>> len(rows) <= 220, bool(spike[rows].max() == 9.0)
    (True, True)
    """
    n = len(x)
    if n <= 2 * columns:
        return np.arange(n)
    edges = np.linspace(0, n, columns + 1).astype(int)
    keep = {0, n - 1}
    for values in series:
        low = np.where(np.isfinite(values), values, np.inf)
        high = np.where(np.isfinite(values), values, -np.inf)
        for a, b in pairwise(edges):
            keep.add(int(a + np.argmin(low[a:b])))
            keep.add(int(a + np.argmax(high[a:b])))
    return np.array(sorted(keep))


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move label positions apart until they are `gap` away from one another, inside `[low, high]`.

    >>> spread([10.0, 11.0, 40.0], gap=14.0, low=0.0, high=100.0)
    [3.5, 17.5, 40.0]
    """
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    groups: list[tuple[float, int]] = []  # centre and number of labels

    def inside(centre: float, members: int) -> tuple[float, int]:
        half = gap * (members - 1) / 2
        return min(max(centre, low + half), max(high - half, low + half)), members

    for i in order:
        groups.append(inside(wanted[i], 1))
        while len(groups) > 1 and groups[-1][0] - groups[-2][0] < gap * (groups[-1][1] + groups[-2][1]) / 2:
            (ca, na), (cb, nb) = groups[-2], groups[-1]
            groups[-2:] = [inside((ca * na + cb * nb) / (na + nb), na + nb)]
    placed, k = [0.0] * len(wanted), 0
    for centre, members in groups:
        for j in range(members):
            placed[order[k]] = centre + gap * (j - (members - 1) / 2)
            k += 1
    return placed


@dataclass(frozen=True)
class Scale:
    """A straight line from data to pixels, by default; logarithmic when asked."""

    low: float
    high: float
    start: float
    stop: float
    log: bool = False

    def __call__(self, value):
        value = np.asarray(value, dtype=np.float64)
        low, high = self.low, self.high
        if self.log:
            value, low, high = np.log(np.maximum(value, 1e-300)), math.log(low), math.log(high)
        return self.start + (value - low) / ((high - low) or 1.0) * (self.stop - self.start)


def limits(*arrays, pad: float = 0.05, include: Iterable[float] = ()) -> tuple[float, float]:
    """Lowest and highest finite value of all arrays, a little apart.

    >>> limits([1.0, np.nan, 3.0], pad=0.1)
    (0.8, 3.2)
    """
    flat = np.concatenate([np.ravel(np.asarray(a, dtype=np.float64)) for a in (*arrays, list(include))])
    flat = flat[np.isfinite(flat)]
    if flat.size == 0:
        return 0.0, 1.0
    low, high = float(flat.min()), float(flat.max())
    margin = (high - low) * pad or max(abs(high) * pad, 1e-9)
    return low - margin, high + margin


@dataclass
class Canvas:
    """One SVG under construction; coordinates are pixels of the view box."""

    width: float
    height: float
    top: float = 14
    right: float = 14
    bottom: float = 26
    left: float = 44
    parts: list[str] = field(default_factory=list)
    hover: str = ""

    @property
    def x_span(self) -> tuple[float, float]:
        return self.left, self.width - self.right

    @property
    def y_span(self) -> tuple[float, float]:
        return self.height - self.bottom, self.top

    def add(self, text: str) -> None:
        self.parts.append(text)

    def line(self, x1, y1, x2, y2, cls: str = "grid") -> None:
        self.add(f'<line class="{cls}" x1="{fmt(x1)}" y1="{fmt(y1)}" x2="{fmt(x2)}" y2="{fmt(y2)}"/>')

    def rect(self, x, y, width, height, cls: str, radius: float = 0, tip: str = "") -> None:
        rounded = f' rx="{fmt(radius)}"' if radius else ""
        body = f' x="{fmt(x)}" y="{fmt(y)}" width="{fmt(max(width, 0))}" height="{fmt(max(height, 0))}"{rounded}'
        self.add(f'<rect class="{cls}"{body}{_tip(tip)}/>')

    def circle(self, x, y, radius, cls: str, tip: str = "") -> None:
        self.add(f'<circle class="{cls}" cx="{fmt(x)}" cy="{fmt(y)}" r="{fmt(radius)}"{_tip(tip)}/>')

    def text(self, x, y, content: str, cls: str = "tick", anchor: str = "start") -> None:
        at = "" if anchor == "start" else f' text-anchor="{anchor}"'
        self.add(f'<text class="{cls}" x="{fmt(x)}" y="{fmt(y)}"{at}>{escape(content)}</text>')

    def path(self, x, y, cls: str) -> None:
        """A line through the finite points; NaN breaks it."""
        text, pen = [], False
        for a, b in zip(np.asarray(x).tolist(), np.asarray(y).tolist(), strict=True):
            if math.isfinite(a) and math.isfinite(b):
                text.append(f"{'L' if pen else 'M'}{fmt(a)} {fmt(b)}")
                pen = True
            else:
                pen = False
        if text:
            self.add(f'<path class="line {cls}" d="{"".join(text)}"/>')

    def band(self, x, low, high, cls: str) -> None:
        """The area between two lines; rows with a NaN are left out."""
        x, low, high = (np.asarray(v, dtype=np.float64) for v in (x, low, high))
        ok = np.isfinite(x) & np.isfinite(low) & np.isfinite(high)
        if not ok.any():
            return
        up = [f"{fmt(a)} {fmt(b)}" for a, b in zip(x[ok], high[ok], strict=True)]
        down = [f"{fmt(a)} {fmt(b)}" for a, b in zip(x[ok][::-1], low[ok][::-1], strict=True)]
        self.add(f'<path class="band {cls}" d="M{"L".join(up + down)}Z"/>')

    def y_axis(self, scale: Scale, ticks: Sequence[float], label: Callable[[float], str], zero: bool = False) -> None:
        x0, x1 = self.x_span
        for tick in ticks:
            y = float(scale(tick))
            self.line(x0, y, x1, y, "zero" if zero and tick == 0 else "grid")
            self.text(x0 - 8, y + 4, label(tick), anchor="end")

    def time_axis(self, scale: Scale, count: int) -> None:
        base = self.height - self.bottom
        self.line(*self.x_span[:1], base, self.x_span[1], base, "axis")
        for value, label in time_ticks(scale.low, scale.high, count):
            x = float(scale(value))
            if x < self.x_span[0] + 2:
                continue
            self.line(x, base, x, base + 4, "axis")
            edge = x > self.width - 24
            self.text(x, base + 18, label, anchor="end" if edge else "middle")

    def labels(self, items: Sequence[tuple[float, str, str]], x: float, gap: float = 15) -> None:
        """Names at the ends of lines, moved apart where they would overlap: (y, text, class)."""
        items = [item for item in items if math.isfinite(item[0])]
        placed = spread([item[0] for item in items], gap, self.top + 4, self.height - self.bottom - 2)
        for y, (_, text, cls) in zip(placed, items, strict=True):
            self.text(x, y + 4, text, f"name {cls}")

    def render(self, title: str, description: str = "") -> str:
        focus = ' tabindex="0"' if self.hover else ""
        head = (
            f'<svg viewBox="0 0 {fmt(self.width)} {fmt(self.height)}" role="img"{focus} '
            f'aria-label="{escape(title)}"{self.hover}>'
        )
        return f"{head}<desc>{escape(description or title)}</desc>{''.join(self.parts)}</svg>"


def _tip(text: str) -> str:
    return f' data-tip="{escape(text)}" tabindex="0"' if text else ""


@dataclass(frozen=True)
class Hover:
    """What the pointer reads in a time chart: one row a date, one value a series."""

    key: str
    time: np.ndarray  # days since 1970
    series: Sequence[tuple[str, str, np.ndarray]]  # name, class, values
    digits: int = 2
    scale_by: float = 1.0
    unit: str = ""
    bands: Sequence[tuple[str, np.ndarray, np.ndarray]] = ()

    def script(self) -> str:
        """The data once a chart, read by both of its drawings."""
        payload = {
            "t": [round(float(v), 4) for v in self.time],
            "h": len(self.time) > 1 and bool(np.median(np.diff(self.time)) < 0.9),  # show the hour
            "u": self.unit,
            "d": self.digits,
            "s": [
                {"n": name, "c": cls, "y": _plain(values * self.scale_by, self.digits)}
                for name, cls, values in self.series
            ],
            "b": [
                {"n": n, "l": _plain(low * self.scale_by, self.digits), "h": _plain(high * self.scale_by, self.digits)}
                for n, low, high in self.bands
            ],
        }
        text = json.dumps(payload, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
        return f'<script type="application/json" id="{escape(self.key)}">{text}</script>'

    def bind(self, canvas: Canvas, x: Scale, y: Scale, by_row: bool = False) -> None:
        """Tell a drawing where its data lie, so that the page's script can place the crosshair.

        `by_row`: the horizontal scale counts rows instead of days.
        """
        geometry = {
            "i": by_row,
            "x": [x.low, x.high, x.start, x.stop],
            "y": [y.low * self.scale_by, y.high * self.scale_by, y.start, y.stop],
        }
        canvas.hover = f" data-hover=\"{escape(self.key)}\" data-geometry='{json.dumps(geometry)}'"


def _plain(values, digits: int) -> list:
    return [round(float(v), digits) if math.isfinite(v) else None for v in values]


def responsive(draw: Callable[[bool], str]) -> str:
    """Both drawings of one chart; CSS shows the one that fits."""
    return f'<div class="wide">{draw(False)}</div><div class="narrow">{draw(True)}</div>'
