"""The charts of a report, each from plain values to one piece of SVG (or, for the README, to a PNG).

Three lines mean the same everywhere: what happened (ink), the model (blue), the forecast that knows nothing (ochre,
dashed). An interval is a bar or a pale band in the model's blue.
"""

import math
from collections.abc import Sequence
from html import escape

import numpy as np

from .facts import Calibration, Closes, Curve, Facts, Next, Skill
from .svg import (
    HALF,
    NARROW,
    WIDE,
    Canvas,
    Hover,
    Scale,
    day_label,
    days,
    decimate,
    limits,
    nice_ticks,
    responsive,
    spread,
)


def money(value: float) -> str:
    """
    >>> money(1234.5), money(87.25), money(0.0123)
    ('1,234', '87.25', '0.0123')
    """
    if not math.isfinite(value):
        return "–"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:,.2f}" if abs(value) >= 1 or abs(value) < 5e-5 else f"{value:.4f}"


def plain(value: float) -> str:
    """A tick label: no more decimals than it needs.

    >>> plain(50.0), plain(2.5), plain(-0.002), plain(1200.0)
    ('50', '2.5', '−0.002', '1,200')
    """
    text = f"{value:,.6f}".rstrip("0").rstrip(".")
    return text.replace("-", "−")


def percent(value: float, digits: int = 1, sign: bool = False) -> str:
    """
    >>> percent(0.0123, 1), percent(-0.004, 1, sign=True), percent(-16.0149), percent(float("nan"))
    ('1.2 %', '−0.4 %', '−1,601 %', '–')
    """
    if not math.isfinite(value):
        return "–"
    digits = digits if abs(value) < 10 else 0
    text = f"{100 * value:{'+' if sign else ''},.{digits}f} %"
    if float(text.split()[0].replace(",", "")) == 0:
        text = text.lstrip("+-")
    return text.replace("-", "−")


def closes_figure(closes: Closes, key: str, mark: bool = True) -> str:
    """Actual, model and persistence closes over all rows nobody trained on; the enlarged part is shaded."""
    rows = decimate(days(closes.time), closes.actual, closes.model)
    t = days(closes.time)[rows]
    actual, model, naive = closes.actual[rows], closes.model[rows], closes.naive[rows]
    hover = Hover(
        key,
        t,
        [("actual", "s-actual", actual), (closes.model_name, "s-model", model), ("last close", "s-naive", naive)],
    )

    def draw(narrow: bool) -> str:
        c = Canvas(NARROW if narrow else WIDE, 230 if narrow else 222, right=14 if narrow else 92)
        x = Scale(t[0], t[-1], *c.x_span)
        y = Scale(*limits(actual, model), *c.y_span)
        c.y_axis(y, nice_ticks(y.low, y.high, 4), plain)
        if mark and len(closes.actual) > 60:
            part = closes.turn()
            a, b = (float(x(v)) for v in days(closes.time)[[part.start, part.stop - 1]])
            c.rect(a, c.top, b - a, c.y_span[0] - c.top, "lens")
            c.text((a + b) / 2, c.top + 11, f"60 {closes.word}", "tick", "middle")
        c.time_axis(x, 5 if narrow else 9)
        c.path(x(t), y(naive), "s-naive")
        c.path(x(t), y(actual), "s-actual")
        c.path(x(t), y(model), "s-model")
        ends = [(float(y(last(v))), n, s) for n, s, v in hover.series]
        if not narrow:
            c.labels(ends, c.x_span[1] + 8)
        hover.bind(c, x, y)
        return c.render(f"{closes.symbol}: actual, {closes.model_name} and last close", closes.caption)

    return hover.script() + responsive(draw)


def turn_figure(closes: Closes, key: str) -> str:
    """The sixty days around the deepest fall with a recovery, enlarged: a late forecast shows here."""
    part = closes.turn()
    t = days(closes.time)[part]
    if len(t) == 0:
        return empty("No rows")
    actual, model, naive = closes.actual[part], closes.model[part], closes.naive[part]
    hover = Hover(
        key,
        t,
        [("actual", "s-actual", actual), (closes.model_name, "s-model", model), ("last close", "s-naive", naive)],
    )

    def draw(narrow: bool) -> str:
        c = Canvas(NARROW if narrow else HALF, 210 if narrow else 214, right=14 if narrow else 84)
        x = Scale(t[0], t[-1], *c.x_span)
        y = Scale(*limits(actual, model, naive), *c.y_span)
        c.y_axis(y, nice_ticks(y.low, y.high, 4), plain)
        c.time_axis(x, 4)
        c.path(x(t), y(naive), "s-naive")
        c.path(x(t), y(actual), "s-actual thick")
        c.path(x(t), y(model), "s-model thick")
        if not narrow:
            c.labels([(float(y(last(v))), n, s) for n, s, v in hover.series], c.x_span[1] + 8)
        hover.bind(c, x, y)
        return c.render(f"{closes.symbol}: the 60 {closes.word} with the deepest fall and recovery", closes.caption)

    return hover.script() + responsive(draw)


def next_figure(nxt: Next, key: str) -> str:
    """The last closes and a fan over the coming sessions."""
    past_n, steps = len(nxt.history), len(nxt.mean)
    t = np.concatenate([days(nxt.history_time), days(nxt.time)])
    gap = np.full(past_n, np.nan)
    actual = np.concatenate([nxt.history, np.full(steps, np.nan)])
    fan_mean, fan_low, fan_high = (np.concatenate([gap, v]) for v in (nxt.mean, nxt.low, nxt.high))
    for v in (fan_mean, fan_low, fan_high):
        v[past_n - 1] = nxt.history[-1]
    claim = f"{100 * nxt.level:.0f} % interval"
    hover = Hover(
        key,
        t,
        [("actual", "s-actual", actual), (nxt.model_name, "s-model", np.concatenate([gap, nxt.mean]))],
        bands=[(claim, np.concatenate([gap, nxt.low]), np.concatenate([gap, nxt.high]))],
    )

    def draw(narrow: bool) -> str:
        c = Canvas(NARROW if narrow else HALF, 210 if narrow else 214, right=52 if narrow else 60)
        # sessions are evenly spaced here, so that five coming days are wide enough to read
        x = Scale(0, len(t) - 1, *c.x_span)
        y = Scale(*limits(actual, fan_low, fan_high, fan_mean), *c.y_span)
        at = x(np.arange(len(t)))
        c.y_axis(y, nice_ticks(y.low, y.high, 4), plain)
        base = c.height - c.bottom
        c.line(c.x_span[0], base, c.x_span[1], base, "axis")
        marks = [len(t) - 1] + [k for k in range(past_n - 1, -1, -10) if at[-1] - at[k] > 52]
        for k in marks:
            c.line(at[k], base, at[k], base + 4, "axis")
            c.text(at[k], base + 18, _day(t[k]), anchor="middle")
        c.band(at, y(fan_low), y(fan_high), "s-model")
        c.line(at[past_n - 1], c.top, at[past_n - 1], base, "today")
        c.path(at, y(actual), "s-actual thick")
        c.path(at, y(fan_mean), "s-model thick")
        for k in range(past_n, len(t)):
            c.circle(at[k], float(y(fan_mean[k])), 2.6, "dot s-model")
        ends = [
            (float(y(v[-1])), money(float(v[-1])), s)
            for v, s in ((fan_mean, "s-model"), (fan_low, "s-soft"), (fan_high, "s-soft"))
        ]
        c.labels(ends, at[-1] + 7)
        hover.bind(c, x, y, by_row=True)
        return c.render(f"{nxt.symbol}: the next {steps} sessions", f"{nxt.model_name}, {claim}")

    return hover.script() + responsive(draw)


def series_figure(facts: Facts, key: str, column: int = 0) -> str:
    """Outcome, forecast and reference over all rows nobody trained on, in the target's own unit."""
    factor, unit, digits = facts.unit
    actual, model = facts.actual[:, column] * factor, facts.model[:, column] * factor
    naive = facts.reference_values[:, column] * factor
    rows = decimate(days(facts.time), actual, model)
    t, actual, model, naive = days(facts.time)[rows], actual[rows], model[rows], naive[rows]
    quiet = facts.target.kind in ("return", "log_return", "direction")
    series = [
        ("actual", "s-actual", actual),
        (facts.model_name, "s-model", model),
        (facts.reference_name, "s-naive", naive),
    ]
    hover = Hover(key, t, series, digits=digits, unit=unit)

    def draw(narrow: bool) -> str:
        c = Canvas(NARROW if narrow else WIDE, 220 if narrow else 250, right=14 if narrow else 116, left=52)
        x = Scale(t[0], t[-1], *c.x_span)
        y = Scale(*limits(actual, model, include=[0.0] if facts.target.kind == "volatility" else []), *c.y_span)
        c.y_axis(y, nice_ticks(y.low, y.high, 4), lambda tick: plain(tick) + unit, zero=quiet)
        c.time_axis(x, 5 if narrow else 9)
        c.path(x(t), y(actual), "s-actual" + (" faint" if quiet else " pale"))
        c.path(x(t), y(naive), "s-naive")
        c.path(x(t), y(model), "s-model thick")
        if not narrow:
            c.labels([(float(y(last(v))), n, s) for n, s, v in hover.series], c.x_span[1] + 8)
        hover.bind(c, x, y)
        return c.render(f"{facts.symbols[column]}: {facts.target}, actual and forecast", facts.counts)

    return hover.script() + responsive(draw)


def training_figure(curves: Sequence[Curve], labels: dict[int, str]) -> str:
    """Loss by epoch, one small panel a fold: training and validation, a thin line a seed."""
    folds = sorted({c.fold for c in curves})
    if not folds:
        return empty("No loss curves were recorded.")
    shown = folds if len(folds) <= 12 else folds[:6] + folds[-6:]
    every = [c for c in curves if c.fold in shown]
    top = max(float(np.nanquantile(np.concatenate([c.train, c.validation]), 0.995)) for c in every)
    bottom = min(float(np.nanmin(np.concatenate([c.train, c.validation]))) for c in every)
    longest = max(len(c.train) for c in every)
    log = bottom > 0 and top / bottom > 20

    def draw(narrow: bool) -> str:
        columns = min(len(shown), 2 if narrow else 6)
        width = NARROW if narrow else WIDE
        cell_w, cell_h = (width - 40) / columns, 136
        n_rows = math.ceil(len(shown) / columns)
        c = Canvas(width, n_rows * cell_h + 10)
        for i, fold in enumerate(shown):
            left, up = 40 + (i % columns) * cell_w, (i // columns) * cell_h + 4
            x = Scale(1, max(longest, 2), left, left + cell_w - 16)
            low, high = (bottom, top) if log else (min(bottom, 0.0), top)
            y = Scale(low, high or 1.0, up + cell_h - 16, up + 24, log)
            ticks = log_ticks(low, high) if log else nice_ticks(low, high, 3)
            for tick in ticks:
                at = float(y(tick))
                c.line(left, at, left + cell_w - 16, at, "grid")
                if i % columns == 0:
                    c.text(left - 6, at + 4, plain(tick), anchor="end")
            c.text(left, up + 12, labels.get(fold, f"fold {fold}"), "tick strong")
            for curve in (v for v in every if v.fold == fold):
                epochs = x(np.arange(1, len(curve.train) + 1))
                c.path(epochs, y(np.minimum(curve.train, top)), "s-actual thin")
                c.path(epochs, y(np.minimum(curve.validation, top)), "s-model thin")
                if curve.best is not None:
                    value = float(curve.validation[curve.best])
                    tip = f"best epoch {curve.best + 1}: validation {value:.4g}, training {curve.train[curve.best]:.4g}"
                    c.circle(epochs[curve.best], float(y(min(value, top))), 3, "dot s-model", tip)
        c.text(width - 16, c.height - 1, f"epochs 1 – {longest}", "tick", "end")
        return c.render("Training and validation loss by epoch and fold", f"{len(folds)} folds")

    return responsive(draw)


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten between two positive numbers, and 2 and 5 times them where there are few.

    >>> log_ticks(0.003, 0.04)
    [0.005, 0.01, 0.02]
    """
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if len(decades) < 5 else (1,)
    return [round(m * 10.0**k, 12) for k in decades for m in steps if low <= m * 10.0**k <= high]


def skill_figure(skills: Sequence[Skill], title: str, digits: int = 1) -> str:
    """One row an entry: a dot with its 95 % interval around zero, the value at the right."""
    values = [v for s in skills for v in (s.value, s.low, s.high) if math.isfinite(v)]
    if not values:
        return empty("No skill could be computed.")
    # one wild entry must not squeeze the others: the axis covers the bulk, longer bars end at its edge
    reach = 2.5 * float(np.quantile(np.abs(values), 0.8)) + 1e-4
    low, high = max(min(values), -reach), min(max(values), reach)
    low, high = limits([low, high], pad=0.04, include=[0.0])
    longest = max(len(s.label) for s in skills)

    def draw(narrow: bool) -> str:
        row, left, right = 27, min(max(60, 14 + 7 * longest), 140), 72
        c = Canvas(NARROW if narrow else HALF, 8 + row * len(skills) + 26, top=4, left=left, right=right)
        x = Scale(low, high, *c.x_span)
        bottom = 8 + row * len(skills)
        taken: list[tuple[float, float]] = []
        for tick in sorted(nice_ticks(low, high, 3 if narrow else 4), key=abs):
            at, text = float(x(tick)), percent(tick, 1 if abs(high - low) < 0.05 else 0)
            c.line(at, 4, at, bottom, "zero" if tick == 0 else "grid")
            left_end, right_end = at - 4 * len(text), at + 4 * len(text)
            if all(right_end < a or left_end > b for a, b in taken):
                taken.append((left_end, right_end))
                c.text(at, bottom + 18, text, anchor="middle")
        for i, s in enumerate(skills):
            y = 8 + row * (i + 0.5)
            c.text(left - 10, y + 4, s.label, "tick strong" if i == 0 and s.label == "all" else "tick", "end")
            if not math.isfinite(s.value):
                c.text(c.x_span[0] + 6, y + 4, s.note[: 34 if narrow else 52], "tick")
                c.text(c.width - 2, y + 4, "–", "tick", "end")
                continue
            tip = f"{s.label}: {percent(s.value, 2, True)}"
            if math.isfinite(s.low):
                a, b = (float(x(min(max(v, low), high))) for v in (s.low, s.high))
                c.line(a, y, b, y, "bar s-model")
                tip += f" ({percent(s.low, 2, True)} to {percent(s.high, 2, True)})"
            inside = low <= s.value <= high
            c.circle(
                float(x(min(max(s.value, low), high))),
                y,
                4.2 if inside else 3,
                "dot s-model",
                f"{tip}, {s.rows:,} rows",
            )
            c.text(c.width - 2, y + 4, percent(s.value, digits, True), "tick strong", "end")
        return c.render(title, "; ".join(f"{s.label} {percent(s.value, digits, True)}" for s in skills))

    return responsive(draw)


def calibration_figure(calibration: Calibration, unit: tuple[float, str, int], kind: str) -> str:
    """Mean outcome against mean forecast in bins of equal size, with the line on which both agree."""
    factor = 100.0 if kind == "close" else unit[0]
    fx, oy = calibration.forecast * factor, calibration.outcome * factor
    lo, hi = calibration.low * factor, calibration.high * factor

    def draw(narrow: bool) -> str:
        c = Canvas(NARROW if narrow else HALF, 270 if narrow else 300, bottom=42, left=54)
        x = Scale(*limits(fx, pad=0.08), *c.x_span)
        y = Scale(*limits(lo, hi, pad=0.06, include=[] if kind == "volatility" else [0.0]), *c.y_span)
        c.y_axis(y, nice_ticks(y.low, y.high, 4), plain, zero=True)
        base = c.height - c.bottom
        for tick in nice_ticks(x.low, x.high, 4):
            c.text(float(x(tick)), base + 18, plain(tick), anchor="middle")
        c.line(c.x_span[0], base, c.x_span[1], base, "axis")
        a, b = max(x.low, y.low), min(x.high, y.high)
        if a < b:
            c.line(float(x(a)), float(y(a)), float(x(b)), float(y(b)), "agree")
        for k in range(len(fx)):
            tip = f"forecast {fx[k]:.3g} %: outcome {oy[k]:.3g} % ({lo[k]:.3g} to {hi[k]:.3g})"
            at = float(x(fx[k]))
            c.line(at, float(y(lo[k])), at, float(y(hi[k])), "bar s-model")
            c.circle(at, float(y(oy[k])), 4.2, "dot s-model", tip.replace("-", "−"))
        word = "change" if kind == "close" else "value"
        c.text(c.x_span[1], c.height - 6, f"mean forecast {word}, %", anchor="end")
        c.text(c.x_span[0] - 44, 10, "mean outcome, %", "tick")
        return c.render("Calibration: mean outcome by forecast", f"slope {calibration.slope:.2f}")

    return responsive(draw)


def overview_png(path, closes: Closes, nxt: Next | None, sentence: str, note: str = ""):
    """Draw the first screen of a report as a PNG for a README: closes, sixty days enlarged, coming sessions, verdict.

    Parameters
    ----------
    path : path-like or binary file
        Where the PNG goes.
    closes, nxt : Closes, Next
        As in the report; without `nxt` the enlarged part takes the whole lower row.
    sentence : str
        The verdict.
    note : str
        A line of small print below the drawing.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure(
        figsize=(11, 6.6), dpi=160, facecolor="#fdfdfc", layout=ConstrainedLayoutEngine(h_pad=0.10, w_pad=0.12)
    )
    grid = figure.add_gridspec(2, 2, height_ratios=[1.1, 1])
    figure.suptitle(sentence, x=0.016, ha="left", fontsize=13, fontweight="bold", color=_INK, wrap=True)
    top = figure.add_subplot(grid[0, :])
    _draw_closes(top, closes, slice(None), 1.1)
    part = closes.turn()
    top.axvspan(*_dates(closes.time[[part.start, part.stop - 1]]), color=_INK, alpha=0.06, lw=0)
    top.set_title(f"{closes.symbol} close, today's price units, rows nobody trained on", **_TITLE)
    left = figure.add_subplot(grid[1, 0] if nxt is not None else grid[1, :])
    _draw_closes(left, closes, part, 1.7)
    left.set_title(f"60 {closes.word} enlarged, the deepest fall with a recovery", **_TITLE)
    if nxt is not None:
        _draw_next(figure.add_subplot(grid[1, 1]), nxt)
    if note:
        figure.supxlabel(note, x=0.016, ha="left", fontsize=8, color=_SOFT)
    figure.savefig(path, format="png", metadata={"Software": None})


_INK, _SOFT, _MODEL, _NAIVE, _RULE = "#15171c", "#5d636d", "#0b65b3", "#b86a00", "#e4e4df"
_TITLE = {"loc": "left", "fontsize": 9.5, "color": _SOFT}


def _dates(stamps):
    return np.asarray(stamps).astype("datetime64[ns]").astype("datetime64[m]")


def _bare(axes) -> None:
    axes.set_facecolor("none")
    axes.grid(axis="y", color=_RULE, lw=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_SOFT, labelsize=8.5, length=3)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color("#b9bab5")


def _draw_closes(axes, closes: Closes, rows: slice, width: float) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    t = _dates(closes.time[rows])
    lines = [("last close", closes.naive, _NAIVE, "--"), ("actual", closes.actual, _INK, "-")]
    lines.append((closes.model_name, closes.model, _MODEL, "-"))
    _bare(axes)
    for _, values, color, style in lines:
        axes.plot(t, values[rows], style, color=color, lw=width * (0.75 if style == "--" else 1.0))
    locator = AutoDateLocator(minticks=3, maxticks=8)  # 8 ticks hold 42 months, so years must do from 3 on
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, show_offset=False))
    axes.margins(x=0.005)
    low, high = axes.get_ylim()
    height = axes.get_position().height * axes.figure.get_size_inches()[1] * 72
    gap = (high - low) * 12 / max(height, 60)
    for y, (name, _, color, _) in zip(
        spread([last(v[rows]) for _, v, _, _ in lines], gap, low, high), lines, strict=True
    ):
        axes.annotate(
            name,
            (1.005, y),
            xycoords=("axes fraction", "data"),
            color=color,
            fontsize=9,
            fontweight="bold",
            va="center",
        )


def _draw_next(axes, nxt: Next) -> None:
    _bare(axes)
    n, steps = len(nxt.history), len(nxt.mean)
    x = np.arange(n + steps)
    ahead = x[n - 1 :]
    mean, low, high = (np.concatenate([nxt.history[-1:], v]) for v in (nxt.mean, nxt.low, nxt.high))
    axes.fill_between(ahead, low, high, color=_MODEL, alpha=0.14, lw=0)
    axes.plot(x[:n], nxt.history, color=_INK, lw=1.7)
    axes.plot(ahead, mean, color=_MODEL, lw=1.7, marker="o", ms=3, markevery=slice(1, None))
    axes.axvline(n - 1, color="#b9bab5", lw=0.9, ls=":")
    t = days(np.concatenate([nxt.history_time, nxt.time]))
    marks = [*range(n - 1, -1, -10)][::-1]
    axes.set_xticks([*marks, n + steps - 1], [_day(t[k]) for k in (*marks, -1)])
    axes.margins(x=0.01)
    for value, color in ((mean[-1], _MODEL), (low[-1], _SOFT), (high[-1], _SOFT)):
        if math.isfinite(value):
            axes.annotate(
                money(float(value)),
                (1.01, value),
                xycoords=("axes fraction", "data"),
                color=color,
                fontsize=9,
                va="center",
            )
    axes.set_title(f"Next {steps} sessions, {nxt.model_name}, {100 * nxt.level:.0f} % interval", **_TITLE)


def empty(text: str) -> str:
    """Say in a figure's place why there is none."""
    return f'<p class="none">{escape(text)}</p>'


def _day(day: float) -> str:
    return day_label(np.datetime64(math.floor(day), "D"))


def last(values: np.ndarray) -> float:
    ok = np.flatnonzero(np.isfinite(values))
    return float(values[ok[-1]]) if len(ok) else float("nan")
