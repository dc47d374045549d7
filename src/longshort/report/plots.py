"""Single plots to keep or to show in a notebook: training histories, lookback sweeps, tuning.

A `Plot` is a few marks over a horizontal axis with named ticks. `save` writes it as a page, a vector drawing or a
picture, by the ending of the name; the drawing is the one the page holds.
"""

import html
import math
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from ..artifact import write_atomic
from ..errors import InputError, NotFitted, SetupError
from .svg import Canvas, Scale, limits, nice_ticks, spread

WIDTH, HEIGHT = 760, 420
_INK = {"s-actual": "#15171c", "s-model": "#0b65b3", "s-naive": "#b86a00", "s-soft": "#5d636d"}


@dataclass(frozen=True, eq=False)
class Mark:
    """One series.

    Parameters
    ----------
    kind : {"line", "dots", "bars", "level"}
        A line through the points, the points, a bar from `low` to `high` at each, or one horizontal line.
    x, y : array (n,)
        Where.
    role : {"s-actual", "s-model", "s-naive", "s-soft"}
        Its colour.
    name : str
        Written at its right end; "" for none.
    weight : {"", "thin", "thick", "pale"}
        Of a line.
    low, high : array (n,), optional
        Ends of bars.
    tips : sequence of str
        What a screen reader and the pointer read at each dot.
    """

    kind: str
    x: np.ndarray
    y: np.ndarray
    role: str = "s-model"
    name: str = ""
    weight: str = ""
    low: np.ndarray = field(default_factory=lambda: np.zeros(0))
    high: np.ndarray = field(default_factory=lambda: np.zeros(0))
    tips: Sequence[str] = ()


@dataclass(frozen=True, eq=False, repr=False)
class Plot:
    """A plot. `save` writes it, a notebook shows it.

    Parameters
    ----------
    title, note : str
        One line above the drawing and one below.
    marks : sequence of Mark
        What to draw, back to front.
    x_name, y_name : str
        What the axes count.
    x_ticks : sequence of (float, str), optional
        Named places on the horizontal axis; round numbers by default.
    y_label : callable
        Writes a number of the vertical axis.

    Examples
    --------
    >>> import tempfile
    >>> line = Mark("line", np.arange(3.0), np.array([1.0, 0.6, 0.5]), name="validation")
    >>> plot = Plot("Loss by epoch", "One seed.", [line], "epoch", "loss")
    >>> plot.save(tempfile.mkdtemp() + "/loss.svg").name, plot.svg().count("<path")
    ('loss.svg', 1)
    """

    title: str
    note: str
    marks: Sequence[Mark]
    x_name: str = ""
    y_name: str = ""
    x_ticks: Sequence[tuple[float, str]] = ()
    y_label: Callable[[float], str] = "{:g}".format

    def save(self, path: Any) -> Path:
        """Write ``.svg``, ``.html`` or ``.png`` (by matplotlib), in one step, and return the path."""
        path = Path(path)
        ending = path.suffix.lower()
        if ending == ".png":
            self._save_png(path)
        elif ending in (".html", ".htm"):
            write_atomic(path, self.html())
        elif ending == ".svg":
            write_atomic(path, self.svg(alone=True))
        else:
            raise InputError(f"A plot is saved as .svg, .html or .png, the path was {str(path)!r}.")
        return path

    def html(self) -> str:
        """Return a page with the drawing."""
        return (
            f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(self.title)}</title>'
            f"<style>{_style()}</style><main><figure><figcaption><b>{html.escape(self.title)}</b></figcaption>"
            f'{self.svg()}<p class="sub">{html.escape(self.note)}</p></figure></main></html>'
        )

    def svg(self, alone: bool = False) -> str:
        """Return the drawing; `alone` with its colours, title and note, for a file of its own."""
        c = Canvas(WIDTH, HEIGHT + (62 if alone else 0), top=58 if alone else 26, right=130, left=64)
        c.bottom = 88 if alone else 44
        if alone:
            c.add(f'<style>{_style()}</style><rect width="100%" height="100%" style="fill:var(--paper)"/>')
            c.text(12, 20, self.title, "strong")
            for i, line in enumerate(textwrap.wrap(self.note, 112)[:2]):
                c.text(12, c.height - 26 + 17 * i, line)
        (x, x_ticks), (y, y_ticks) = self._scales(c)
        c.y_axis(y, y_ticks, self.y_label)
        c.text(12, c.top - 12, self.y_name)
        base = c.height - c.bottom
        c.line(c.x_span[0], base, c.x_span[1], base, "axis")
        for i, (value, label) in enumerate(x_ticks):
            c.line(float(x(value)), base, float(x(value)), base + 4, "axis")
            c.text(float(x(value)), base + (34 if i % 2 and _crowded(x_ticks) else 18), label, anchor="middle")
        c.text(sum(c.x_span) / 2, base + 36, self.x_name, anchor="middle")
        names = [named for mark in self.marks if (named := _draw(c, mark, x, y)) is not None]
        c.labels(names, c.x_span[1] + 8)
        drawing = c.render(self.title, self.note)
        return drawing.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1) if alone else drawing

    def _scales(self, c: Canvas) -> tuple[tuple[Scale, Sequence[tuple[float, str]]], tuple[Scale, list[float]]]:
        across = limits(*(m.x for m in self.marks), pad=0.03)
        up = limits(*(part for m in self.marks for part in (m.y, m.low, m.high)))
        ticks = self.x_ticks or [(t, f"{t:g}") for t in nice_ticks(*across, 8) if t == int(t)]
        return (Scale(*across, *c.x_span), ticks), (Scale(*up, *c.y_span), nice_ticks(*up, 5))

    def _save_png(self, path: Path) -> None:
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise SetupError("A PNG needs matplotlib: pip install matplotlib, or save the plot as .svg.") from error
        figure = Figure(figsize=(WIDTH / 100, (HEIGHT + 46) / 100), dpi=160, facecolor="#fdfdfc", layout="constrained")
        axes = figure.add_subplot()
        names = [named for mark in self.marks if (named := _draw_png(axes, mark)) is not None]
        axes.set_title(self.title, loc="left", fontsize=11, fontweight="bold", color=_INK["s-actual"])
        axes.set_xlabel(f"{self.x_name}\n{self.note}", fontsize=8, color=_INK["s-soft"], wrap=True)
        axes.set_ylabel(self.y_name, fontsize=9, color=_INK["s-soft"])
        axes.yaxis.set_major_formatter(lambda value, _: self.y_label(value))
        (across, x_ticks), (up, _) = self._scales(Canvas(WIDTH, HEIGHT))
        _label_png(axes, names, up)
        lower = "\n" if _crowded(x_ticks) else ""
        axes.set_xticks([at for at, _ in x_ticks], [lower * (i % 2) + label for i, (_, label) in enumerate(x_ticks)])
        axes.set_xlim(across.low, across.high)
        axes.grid(axis="y", color="#e4e4df", lw=0.8)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="png", metadata={"Software": None})

    def _repr_html_(self) -> str:
        return f'<iframe srcdoc="{html.escape(self.html())}" style="width:100%;height:560px;border:0"></iframe>'


def training_history(model: Any) -> Plot:
    """Plot a fitted model's losses by epoch, training and validation, one line a seed.

    Parameters
    ----------
    model : forecaster
        Fitted, with `histories_`: an `LSTM`, or an `Ensemble` of some.

    Returns
    -------
    Plot
        The note names the gap between validation and training loss at the epoch that was kept. The training loss is the
        one met while learning (dropout on, weights moving), so a small gap may have either sign.

    Examples
    --------
    >>> import longshort as ls
    >>> bars = ls.load_bars("AAPL", start="2016-01-01", end="2018-12-31", source="sample")
    >>> model = ls.LSTM([ls.features.log_return()], lookback=10, hidden=(4,), epochs=4, seeds=2).fit(bars)
    >>> training_history(model).note.split(":")[0]
    'At the best epoch (median of 2 seeds)'
    """
    histories = [h for h in getattr(model, "histories_", ()) if h is not None and h.train_loss]
    if not histories:
        raise NotFitted(
            f"This {type(model).__name__} has no training history. Fit an LSTM, or an ensemble of some, and pass that."
        )
    marks = []
    for i, h in enumerate(histories):
        epochs = np.arange(1.0, len(h.train_loss) + 1)
        marks.append(Mark("line", epochs, np.array(h.train_loss), "s-actual", "training" * (i == 0), "thin"))
        if h.val_loss:
            marks.append(Mark("line", epochs, np.array(h.val_loss), "s-model", "validation" * (i == 0), "thin"))
            at, value = h.best_epoch, h.val_loss[h.best_epoch - 1]
            tip = f"seed {i + 1}, epoch {at}: validation {value:.4g}, training {h.train_loss[at - 1]:.4g}"
            marks.append(Mark("dots", np.array([float(at)]), np.array([value]), "s-model", tips=[tip]))
    title = f"Training of {type(model).__name__}: loss by epoch"
    return Plot(title, _gap(histories), marks, "epoch", _loss_name(model))


def lookback_plot(sweep: Any) -> Plot:
    """Plot a lookback sweep: skill by lookback, the single seeds beside their mean, and the naive forecast as a line.

    Parameters
    ----------
    sweep : LookbackSweep
        As `evaluation.lookback_sweep` returns it.

    Returns
    -------
    Plot
        Bars are 95 % intervals of the skill of the mean over seeds; dots are single seeds.

    Examples
    --------
    >>> import longshort as ls
    >>> from longshort.data import synthetic
    >>> lstm = ls.LSTM([ls.features.field("volume").log()], hidden=(4,), epochs=2)
    >>> cv, bars = ls.WalkForward(train=300, test=150), synthetic.planted_signal(500, seed=1)
    >>> lookback_plot(ls.evaluation.lookback_sweep(lstm, bars, [2, 5, 10], cv, seeds=2)).x_ticks
    [(0.0, '2'), (1.0, '5'), (2.0, '10')]
    """
    tests, at = sweep.skill_of_mean, np.arange(float(len(sweep.lookbacks)))
    mean = np.array([test.mean for test in tests])
    low, high = (np.array(ends) for ends in zip(*(test.interval() for test in tests), strict=True))
    seeds = sweep.skill
    beside = at[:, None] + 0.08 * (1 + np.arange(seeds.shape[1]))
    tips = [
        f"lookback {n}, seed {s + 1}: skill {seeds[i, s]:+.2%}"
        for i, n in enumerate(sweep.lookbacks)
        for s in range(seeds.shape[1])
    ]
    marks = [
        Mark("level", at, np.zeros(len(at)), "s-naive", sweep.baseline.replace("_", " ")),
        Mark("bars", at, mean, "s-model", low=low, high=high),
        Mark("line", at, mean, "s-model", "mean of seeds", "thick"),
        Mark("dots", beside.ravel(), seeds.ravel(), "s-model", tips=tips),
    ]
    ticks = [(float(i), str(n)) for i, n in enumerate(sweep.lookbacks)]
    title = f"{sweep.name}: skill by lookback, {sweep.target.info}"
    return Plot(title, sweep.warning, marks, "lookback in bars, same rows for all", "skill", ticks, "{:+.1%}".format)


def tuning_history(tuned: Any) -> Plot:
    """Plot the score of every trial of a tuned forecaster, the best so far, and what luck alone would give.

    Parameters
    ----------
    tuned : Tuned
        Fitted.

    Returns
    -------
    Plot
        Dark dots are complete trials, pale ones were given up early: their scores rest on fewer folds.

    Examples
    --------
    >>> import longshort as ls
    >>> from longshort import features as f
    >>> bars = ls.load_bars("AAPL", start="2016-01-01", end="2018-12-31", source="sample")
    >>> ridge = ls.models.Ridge([f.log_return().abs()], f.forward_volatility(5))
    >>> plot = tuning_history(ls.tune(ridge, {"lookback": (1, 40)}, trials=6).fit(bars))
    >>> [mark.name for mark in plot.marks if mark.name]
    ['luck alone', 'knowing nothing', 'best so far']
    """
    trials = [trial for trial in _tuned(tuned).trials_ if trial.score is not None]
    number, score = (np.array([getattr(t, name) for t in trials], float) for name in ("number", "score"))
    complete = np.array([trial.state == "complete" for trial in trials])
    best = np.maximum.accumulate(np.where(complete, score, -np.inf))
    tips = np.array([f"trial {t.number}: {t.score:+.4f}, {_values(t.params)}" for t in trials])
    luck = tuned.luck_
    marks = [
        Mark("level", number, np.full(len(number), luck.expected), "s-naive", "luck alone"),
        Mark("level", number, np.zeros(len(number)), "s-soft", "knowing nothing"),
        Mark("dots", number[~complete], score[~complete], "s-soft", tips=tips[~complete].tolist()),
        Mark("dots", number[complete], score[complete], "s-model", tips=tips[complete].tolist()),
        Mark("line", number, np.where(np.isfinite(best), best, np.nan), "s-model", "best so far", "thick"),
    ]
    chance = f"Luck alone gives the best of {luck.trials} about {luck.expected:+.4f} (p {luck.p:.3f})."
    title = f"Tuning of {tuned.described.removeprefix('tuned ')}"
    return Plot(title, f"Best: {luck.best:+.4f}. {chance}", marks, "trial", "gain over knowing nothing")


def importance_plot(tuned: Any) -> Plot:
    """Plot the share of each argument in what sets good trials apart.

    Parameters
    ----------
    tuned : Tuned
        Fitted, with at least four complete trials of different scores.

    Examples
    --------
    >>> import longshort as ls
    >>> from longshort import features as f
    >>> bars = ls.load_bars("AAPL", start="2016-01-01", end="2018-12-31", source="sample")
    >>> ridge = ls.models.Ridge([f.log_return().abs()], f.forward_volatility(5))
    >>> space = {"lookback": (1, 40), "penalties": [(0.0,), (1.0,)]}
    >>> sorted(name for _, name in importance_plot(ls.tune(ridge, space, trials=8).fit(bars)).x_ticks)
    ['lookback', 'penalties']
    """
    shares = dict(sorted(_tuned(tuned).importance_.items(), key=lambda item: -item[1]))
    if not shares:
        raise InputError("Importance needs at least 4 complete trials of different scores. Tune with more trials.")
    at, share = np.arange(float(len(shares))), np.array(list(shares.values()))
    tips = [f"{name}: {value:.0%}" for name, value in shares.items()]
    marks = [
        Mark("bars", at, share, "s-model", low=np.zeros(len(at)), high=share),
        Mark("dots", at, share, "s-model", tips=tips),
    ]
    note = f"PED-ANOVA over {len(tuned.trials_)} trials; with few trials the order is uncertain."
    ticks = [(float(i), name) for i, name in enumerate(shares)]
    return Plot("What sets good trials apart", note, marks, "", "share", ticks, "{:.0%}".format)


def _tuned(tuned: Any) -> Any:
    if not hasattr(tuned, "trials_"):
        raise NotFitted(
            f"This {type(tuned).__name__} has not tuned anything yet. Call tune(...).fit(bars) and pass that."
        )
    return tuned


def _values(params: Any) -> str:
    return ", ".join(f"{name} {v:.3g}" if isinstance(v, float) else f"{name} {v}" for name, v in params.items())


def _gap(histories: Sequence[Any]) -> str:
    """Name the gap between validation and training loss."""
    best = [(h, h.best_epoch - 1) for h in histories if h.val_loss]
    known = [(h.train_loss[at], h.val_loss[at], at + 1) for h, at in best]
    if not known:
        return "No validation part, so there is no gap to see."
    train, validation, epoch = (float(np.median(values)) for values in zip(*known, strict=True))
    seeds = f"median of {len(known)} seeds" if len(known) > 1 else f"epoch {epoch:.0f}"
    return (
        f"At the best epoch ({seeds}): validation {validation:.4g}, training {train:.4g}, gap "
        f"{validation - train:+.2g} ({(validation - train) / train:+.0%})."
    )


def _loss_name(model: Any) -> str:
    loss = getattr(model, "loss", "loss")
    return f"{loss if isinstance(loss, str) else getattr(loss, 'name', 'loss')}, scaled units"


def _crowded(ticks: Sequence[tuple[float, str]]) -> bool:
    """Whether the names of ticks need two rows."""
    return len(ticks) * max((len(label) for _, label in ticks), default=0) * 7 > WIDTH - 190


def _draw(c: Canvas, mark: Mark, x: Scale, y: Scale) -> tuple[float, str, str] | None:
    """Draw one series; return its label's place, text and class."""
    across, up = x(mark.x), y(mark.y)
    if mark.kind == "line":
        c.path(across, up, f"{mark.role} {mark.weight}".strip())
    elif mark.kind == "level":
        c.path(np.array(c.x_span), np.full(2, float(up[0])), mark.role)
    elif mark.kind == "bars":
        for at, low, high in zip(across.tolist(), y(mark.low).tolist(), y(mark.high).tolist(), strict=True):
            if math.isfinite(low) and math.isfinite(high):
                c.line(at, low, at, high, f"bar {mark.role}")
    else:
        for i, (a, b) in enumerate(zip(across.tolist(), up.tolist(), strict=True)):
            if math.isfinite(b):
                c.circle(a, b, 3, f"dot {mark.role}", mark.tips[i] if mark.tips else "")
    finite = np.flatnonzero(np.isfinite(mark.y))
    return (float(up[finite[-1]]), mark.name, mark.role) if mark.name and len(finite) else None


def _draw_png(axes: Any, mark: Mark) -> tuple[float, str, str] | None:
    """Draw one series; return its label's place, text and colour."""
    color = _INK[mark.role]
    if mark.kind == "line":
        axes.plot(mark.x, mark.y, color=color, lw={"thick": 1.9, "thin": 1.1, "pale": 0.8}.get(mark.weight, 1.4))
    elif mark.kind == "level":
        axes.axhline(mark.y[0], color=color, lw=1.2, ls="--")
    elif mark.kind == "bars":
        axes.vlines(mark.x, mark.low, mark.high, color=color, alpha=0.45, lw=2.4)
    else:
        axes.plot(mark.x, mark.y, "o", color=color, ms=3.5)
    finite = np.flatnonzero(np.isfinite(mark.y))
    return (float(mark.y[finite[-1]]), mark.name, color) if mark.name and len(finite) else None


def _label_png(axes: Any, names: list[tuple[float, str, str]], up: Scale) -> None:
    """Write the names at the right ends of their lines, apart from each other."""
    axes.set_ylim(up.low, up.high)
    ordered = sorted(names)
    places = spread([at for at, _, _ in ordered], 0.045 * (up.high - up.low), up.low, up.high)
    for (_, name, color), at in zip(ordered, places, strict=True):
        axes.annotate(name, (1.01, at), xycoords=("axes fraction", "data"), color=color, fontsize=9, va="center")


def _style() -> str:
    return (files("longshort.report") / "page.css").read_text(encoding="utf-8")
