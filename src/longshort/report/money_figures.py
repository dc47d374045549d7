"""The charts of an account: equity and drawdown, exposure, turnover, costs, rolling Sharpe ratio, capacity."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ..metrics import drawdowns, rolling_sharpe
from .figures import empty, last, log_ticks, percent, plain
from .svg import HALF, NARROW, WIDE, Canvas, Hover, Scale, days, decimate, limits, nice_ticks, responsive

if TYPE_CHECKING:
    from ..trading import BacktestResult
    from ..trading.breakdown import Capacity

COLUMNS = {WIDE: 200, HALF: 110}  # a line is drawn by the highest and lowest value of so many groups of rows
STYLES = {"equal exposure": "s-naive", "buy and hold": "s-actual", "equal weight": "s-soft"}


def short(value: float) -> str:
    """Write an amount of money as a tick label.

    >>> short(1_250_000), short(150_000), short(-2_500), short(0.5), short(float("inf"))
    ('1.25 M', '150 k', '−2.5 k', '0.5', '∞')
    """
    if not math.isfinite(value):
        return "–" if math.isnan(value) else "∞"
    for size, unit in ((1e12, " T"), (1e9, " bn"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= size:
            return plain(float(f"{value / size:.3g}")) + unit
    return plain(float(f"{value:.3g}"))


def beside(result: "BacktestResult") -> dict[str, np.ndarray]:
    """Wealth of the benchmarks from the same start, (n,) each; with one symbol, equal weight is buy and hold."""
    names = [name for name in result.benchmarks if len(result.symbols) > 1 or name != "equal_weight"]
    start = float(result.equity[0])
    return {name.replace("_", " "): start * np.cumprod(1.0 + result.benchmarks[name]) for name in names}


def equity_figures(result: "BacktestResult", key: str, scales: Sequence[bool]) -> list[str]:
    """Equity beside its benchmarks, the drawdown below on the same days: the data, then a drawing a scale.

    `scales`: whether each is logarithmic.
    """
    wealth, fall = beside(result), -drawdowns(result.returns)
    rows = decimate(days(result.time), result.equity, fall, *wealth.values(), columns=COLUMNS[WIDE])
    t = days(result.time)[rows]
    lines = [("strategy", "s-model", result.equity[rows])]
    lines += [(name, STYLES.get(name, "s-soft"), values[rows]) for name, values in wealth.items()]
    hover = Hover(key, t, [*lines, ("drawdown, %", "s-soft", 100 * fall[rows])], digits=2)

    def draw(narrow: bool, log: bool) -> str:
        tall, low = (200, 70) if narrow else (236, 84)
        c = Canvas(NARROW if narrow else WIDE, tall + low + 40, right=14 if narrow else 116, left=56, bottom=low + 54)
        x = Scale(t[0], t[-1], *c.x_span)
        every = [v for _, _, v in lines]
        y = _money_scale(c, every, log)
        _money_axis(c, y)
        for _, style, values in lines[::-1]:
            values = np.where(values > 0, values, np.nan) if log else values
            c.path(x(t), y(values), style + (" thick" if style == "s-model" else " thin"))
        if not narrow:
            c.labels([(float(y(max(last(v), y.low))), n, s) for n, s, v in lines], c.x_span[1] + 8)
        hover.bind(c, x, y)
        base, top = c.height - 26, c.height - 26 - low
        d = Scale(min(float(fall.min()), -1e-4) * 1.05, 0.0, base, top)
        for tick in nice_ticks(d.low, 0.0, 2):
            at = float(d(tick))
            c.line(c.left, at, c.x_span[1], at, "zero" if tick == 0 else "grid")
            c.text(c.left - 8, at + 4, percent(tick, 0), anchor="end")
        c.band(x(t), d(fall[rows]), np.full(len(t), float(d(0.0))), "s-model")
        c.path(x(t), d(fall[rows]), "s-model thin")
        if not narrow:
            c.text(c.x_span[1] + 8, top + 4, "drawdown", "name s-soft")
        c.bottom = 26
        c.time_axis(x, 5 if narrow else 9)
        ends = "; ".join(f"{n} {short(last(v))}" for n, _, v in lines)
        return c.render(f"{result.name}: equity and drawdown{', logarithmic' * log}", ends)

    return [hover.script(), *(responsive(partial(draw, log=log)) for log in scales)]


def spans_wide(result: "BacktestResult") -> bool:
    """Whether the highest line of the equity chart ends so far above the others that a straight scale hides them."""
    every = np.concatenate([result.equity, *beside(result).values()])
    return bool(every.min() > 0 and every.max() / every.min() > 4)


def can_log(result: "BacktestResult") -> bool:
    """Whether all lines stay above zero."""
    return bool(min(result.equity.min(), *(v.min() for v in beside(result).values())) > 0)


def _money_scale(c: Canvas, values: Sequence[np.ndarray], log: bool) -> Scale:
    if not log:
        return Scale(*limits(*values), *c.y_span)
    low, high = limits(*(np.log(np.maximum(v, 1e-9)) for v in values))
    return Scale(math.exp(low), math.exp(high), *c.y_span, log=True)


def _money_axis(c: Canvas, y: Scale) -> None:
    ticks = nice_ticks(y.low, y.high, 4)
    if y.log:
        ticks = log_ticks(y.low, y.high)
        if len(ticks) < 3:
            decades = range(math.floor(math.log10(y.low)), math.ceil(math.log10(y.high)) + 1)
            ticks = [m * 10.0**k for k in decades for m in (1, 1.5, 2, 3, 5, 7) if y.low <= m * 10.0**k <= y.high]
        ticks = ticks[:: math.ceil(len(ticks) / 8)]
    c.y_axis(y, ticks, short)


def lines_figure(
    result: "BacktestResult", key: str, title: str, lines: Sequence[tuple[str, str, np.ndarray]], unit: str = ""
) -> str:
    """Some series of the account over time around zero, each with its name at its end."""
    rows = decimate(days(result.time), *(v for _, _, v in lines), columns=COLUMNS[HALF])
    t = days(result.time)[rows]
    drawn = [(name, style, values[rows]) for name, style, values in lines]
    hover = Hover(key, t, drawn, digits=3, unit=unit)

    def draw(narrow: bool) -> str:
        c = Canvas(NARROW if narrow else HALF, 210, right=14 if narrow else 56, left=52)
        x = Scale(t[0], t[-1], *c.x_span)
        y = Scale(*limits(*(v for _, _, v in drawn), include=[0.0]), *c.y_span)
        c.y_axis(y, nice_ticks(y.low, y.high, 4), lambda tick: plain(tick) + unit, zero=True)
        c.time_axis(x, 4)
        for _, style, values in drawn:
            c.path(x(t), y(values), style)
        if not narrow:
            c.labels([(float(y(last(v))), n, s) for n, s, v in drawn], c.x_span[1] + 8)
        hover.bind(c, x, y)
        return c.render(f"{result.name}: {title}", "; ".join(f"{n} {last(v):.2f}" for n, _, v in drawn))

    return hover.script() + responsive(draw)


def turnover_figure(result: "BacktestResult", key: str) -> str:
    """Value traded over equity, a year, in bars of equal length."""
    n, count = len(result.time), min(48, max(len(result.time) // 5, 1))
    edges = np.linspace(0, n, count + 1).astype(int)
    share = np.divide(result.traded, result.equity, out=np.zeros(n), where=result.equity > 0)
    value = np.add.reduceat(share, edges[:-1]) / np.diff(edges) * result.bars_per_year
    t = days(result.time)
    middle = (t[edges[:-1]] + t[edges[1:] - 1]) / 2
    hover = Hover(key, middle, [("times equity a year", "s-model", value)])

    def draw(narrow: bool) -> str:
        c = Canvas(NARROW if narrow else HALF, 210, left=52)
        x = Scale(t[0], max(t[-1], t[0] + 1), *c.x_span)
        y = Scale(0.0, max(float(value.max()) * 1.05, 1e-9), *c.y_span)
        c.y_axis(y, nice_ticks(0.0, y.high, 4), lambda tick: plain(tick) + "×", zero=True)
        width = (c.x_span[1] - c.x_span[0]) / count
        for one, at in zip(value.tolist(), x(middle).tolist(), strict=True):
            top = float(y(one))
            c.rect(at - width / 2 + 0.5, top, max(width - 1, 1), c.y_span[0] - top, "column")
        c.time_axis(x, 4)
        hover.bind(c, x, y)
        return c.render(f"{result.name}: turnover", f"mean {value.mean():.1f} times equity a year")

    return hover.script() + responsive(draw)


def costs_figure(result: "BacktestResult", key: str, paid: Mapping[str, np.ndarray]) -> str:
    """Costs of each kind so far, one upon the other."""
    shown = {name: np.cumsum(rows) for name, rows in paid.items() if rows.any()}
    if not shown:
        return empty("No costs were paid.")
    rows = decimate(days(result.time), *shown.values(), columns=COLUMNS[HALF])
    t = days(result.time)[rows]
    tops = np.cumsum([values[rows] for values in shown.values()], axis=0)
    floors = np.concatenate([np.zeros((1, len(t))), tops[:-1]])
    hover = Hover(key, t, [("all costs", "s-model", tops[-1]), *((n, "s-soft", v[rows]) for n, v in shown.items())])

    def draw(narrow: bool) -> str:
        c = Canvas(NARROW if narrow else HALF, 210, right=14 if narrow else 78, left=56)
        x = Scale(t[0], t[-1], *c.x_span)
        y = Scale(*limits(tops, pad=0.05, include=[0.0]), *c.y_span)
        y = Scale(min(0.0, float(tops.min())), y.high, *c.y_span)
        c.y_axis(y, nice_ticks(y.low, y.high, 4), short, zero=True)
        c.time_axis(x, 4)
        for k in range(len(shown)):
            c.band(x(t), y(floors[k]), y(tops[k]), f"k{k}")
        c.path(x(t), y(tops[-1]), "s-model thin")
        if not narrow:
            middle = [(float(y((floors[k][-1] + tops[k][-1]) / 2)), n, "s-soft") for k, n in enumerate(shown)]
            c.labels(middle, c.x_span[1] + 8)
        hover.bind(c, x, y)
        return c.render(f"{result.name}: costs so far", "; ".join(f"{n} {short(v[-1])}" for n, v in shown.items()))

    return hover.script() + responsive(draw)


def window_of(result: "BacktestResult") -> int:
    """Bars of the rolling Sharpe ratio: a year, or a quarter of what was played."""
    return int(min(round(result.bars_per_year), max(len(result.time) // 4, 20)))


def rolling_figure(result: "BacktestResult", key: str) -> str:
    """The Sharpe ratio over a moving window, with its 95 % interval as a band around it."""
    window = window_of(result)
    every = max(1, (len(result.time) - window) // 250)
    rows, ratio, low, high = rolling_sharpe(result.returns[1:], window, result.bars_per_year, every=every)
    if not np.isfinite(ratio).any():
        return empty(f"Needs {window} rows with a position.")
    t = days(result.time)[rows + 1]
    hover = Hover(key, t, [("Sharpe ratio", "s-model", ratio)], bands=[("95 % interval", low, high)])

    def draw(narrow: bool) -> str:
        c = Canvas(NARROW if narrow else HALF, 230, left=40)
        x = Scale(t[0], t[-1], *c.x_span)
        y = Scale(*limits(low, high, ratio, include=[0.0]), *c.y_span)
        c.y_axis(y, nice_ticks(y.low, y.high, 5), plain, zero=True)
        c.time_axis(x, 4)
        c.band(x(t), y(low), y(high), "s-model")
        c.path(x(t), y(ratio), "s-model")
        hover.bind(c, x, y)
        return c.render(f"{result.name}: rolling Sharpe ratio over {window} bars", f"last {last(ratio):.2f}")

    return hover.script() + responsive(draw)


def capacity_figure(capacity: "Capacity", currency: str) -> str:
    """The edge that is left a year, by the size of the account."""
    stop = min(max(capacity.nothing_left, 2 * capacity.played), 1e4 * capacity.played)
    if not capacity.edge > 0 or not capacity.impact > 0:
        return ""
    start = min(capacity.played, stop / 4) / 2
    money = np.geomspace(start, stop * 1.6, 80)
    left = np.array([capacity.net(m) for m in money])

    def draw(narrow: bool) -> str:
        c = Canvas(NARROW if narrow else HALF, 220, left=56, bottom=40)
        x = Scale(money[0], money[-1], *c.x_span, log=True)
        y = Scale(*limits(left, include=[0.0]), *c.y_span)
        c.y_axis(y, nice_ticks(y.low, y.high, 4), lambda tick: plain(round(100 * tick, 6)) + " %", zero=True)
        base = c.height - c.bottom
        c.line(c.left, base, c.x_span[1], base, "axis")
        ticks = log_ticks(money[0], money[-1])
        for tick in ticks if len(ticks) <= 7 else ticks[::3]:
            at = float(x(tick))
            c.line(at, base, at, base + 4, "axis")
            c.text(at, base + 18, short(tick), anchor="middle")
        c.text(c.x_span[1], c.height - 4, f"equity, {currency}", anchor="end")
        if money[0] < capacity.cap_reached < money[-1]:
            at = float(x(capacity.cap_reached))
            c.line(at, c.top, at, base, "today")
            c.text(at - 5, base - 8, "volume", "tick", "end")
        c.path(x(money), y(left), "s-model thick")
        for size, text in ((capacity.played, "played"), (capacity.nothing_left, "nothing left")):
            if money[0] <= size <= money[-1]:
                tip = f"{text}: {short(size)} {currency}, {percent(capacity.net(size), 2)} a year"
                c.circle(float(x(size)), float(y(capacity.net(size))), 4, "dot s-model", tip)
        return c.render("Edge a year by the size of the account", f"nothing left at {short(capacity.nothing_left)}")

    return responsive(draw)
