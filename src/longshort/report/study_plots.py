"""Plots of what a study showed: its verdict, skill fold by fold, rank information coefficients adding up."""

from collections.abc import Iterator
from math import isfinite
from typing import Any

import numpy as np

from .. import metrics
from ..errors import InputError
from ..evaluation.wording import plain
from .plots import Mark, Plot
from .svg import days, time_ticks


def skill_plot(study: Any) -> Plot:
    """Plot the skill of a study's model in every fold, beside its challengers and the best naive forecast.

    Parameters
    ----------
    study : Study
        As `walk_forward` returns it.

    Returns
    -------
    Plot
        Bars are 95 % intervals of the model's skill, pale dots the challengers.

    Examples
    --------
    >>> import longshort as ls
    >>> from longshort import features as f, models as m
    >>> bars = ls.load_bars("AAPL", start="2005-01-01", end="2014-12-31", source="sample")
    >>> har = m.AutoRegression(f.forward_volatility(5))
    >>> plot = skill_plot(ls.walk_forward(har, bars, ls.WalkForward("5Y", "1Y"), baselines=[]))
    >>> [label for _, label in plot.x_ticks]
    ['2010-02', '2011-02', '2012-02', '2013-02', '2014-02']
    """
    verdict = study.verdict()
    d, folds = verdict.details, verdict.details["skill_by_fold"]
    at = np.arange(float(len(folds)))
    skill, low, high = (_numbers([fold[name] for fold in folds]) for name in ("skill", "low", "high"))
    tips = [f"{fold['first']} to {fold['last']}: skill {value:+.1%}" for fold, value in zip(folds, skill, strict=True)]
    numbers = [fold["fold"] for fold in folds]
    marks = [Mark("level", at, np.zeros(len(at)), "s-naive", plain(d["best_naive"]))]
    for i, (name, values) in enumerate(study.challengers.items()):
        theirs = _skill_by_fold(study, values, study.baselines[d["best_naive"]], numbers)
        shown = [f"{name}, from {fold['first']}: skill {v:+.1%}" for fold, v in zip(folds, theirs, strict=True)]
        marks.append(Mark("dots", at + 0.15 * (i + 1), theirs, "s-soft", name, tips=shown))
    marks.append(Mark("bars", at, skill, "s-model", low=low, high=high))
    marks.append(Mark("dots", at, skill, "s-model", study.name, tips=tips))
    every = -(-len(folds) // 8)
    ticks = [(float(i), fold["first"][:7]) for i, fold in enumerate(folds) if i % every == 0]
    note = f"All folds together: {d['skill']:+.1%} ({_interval(d)}). Bars are 95 % intervals."
    title = f"{study.name}: skill by fold, {study.target.info}"
    return Plot(title, note, marks, "first month of the fold", "skill", ticks, "{:+.0%}".format)


def verdict_plot(verdict: Any) -> Plot:
    """Plot the skill of all forecasts that a verdict compares, the judged one with its interval.

    Parameters
    ----------
    verdict : Verdict
        Of a study, or of `referee`.

    Returns
    -------
    Plot
        The horizontal line is the best naive forecast.

    Examples
    --------
    >>> import longshort as ls
    >>> rng = np.random.default_rng(0)
    >>> plot = verdict_plot(ls.referee(rng.normal(size=500), 0.1 * rng.normal(size=500)))
    >>> [label for _, label in plot.x_ticks], plot.note.split(":")[0]
    (['the forecast', 'zero', 'the mean so far'], 'No evidence')
    """
    d = verdict.details
    names = list(d["table"])
    at, skill = np.arange(float(len(names))), _numbers([row["skill"] for row in d["table"].values()])
    ticks = [(x, plain(name)) for x, name in zip(at.tolist(), names, strict=True)]
    marks = [Mark("level", at, np.zeros(len(at)), "s-naive")]
    judged, naive = np.array([[name == d["name"], name in d["benchmarks"]] for name in names]).T
    for rows, role in ((~judged & naive, "s-naive"), (~judged & ~naive, "s-soft")):
        tips = [f"{label}: skill {skill[int(x)]:+.1%}" for x, label in ticks if rows[int(x)]]
        marks.append(Mark("dots", at[rows], skill[rows], role, tips=tips))
    low, high = (_numbers([d[name]] * int(judged.sum())) for name in ("skill_low", "skill_high"))
    marks.append(Mark("bars", at[judged], skill[judged], "s-model", low=low, high=high))
    tips = [f"{d['name']}: skill {_said(d['skill'], '+.1%')} ({_interval(d)})"]
    marks.append(Mark("dots", at[judged], skill[judged], "s-model", tips=tips))
    title = f"{d['name']}: skill beside other forecasts of the {d['target']['text']}"
    note = (
        f"{'Edge' if verdict.edge else 'No evidence'}: skill {_said(d['skill'], '+.1%')} ({_interval(d)}), correlation "
        f"with the outcomes {_said(d['ic'], '+.3f')}. Dashed: the best naive forecast; the bar is a 95 % interval."
    )
    return Plot(title, note, marks, "", "skill", ticks, "{:+.1%}".format)


def cumulative_ic_plot(study: Any) -> Plot:
    """Plot the rank information coefficients of a cross-section, added up over its dates.

    Parameters
    ----------
    study : Study
        Of at least three symbols.

    Returns
    -------
    Plot
        The model, its challengers, and the naive forecasts that tell symbols apart. A line that rises steadily is an
        order that held; one that rises in a single month was luck or an event.

    Examples
    --------
    >>> import longshort as ls
    >>> from longshort import features as f, models as m
    >>> bars = ls.load_bars(["AAPL", "SPY", "IBM", "BAC", "IWM"], start="2010-01-01", end="2013-12-31", source="sample")
    >>> har = m.AutoRegression(f.forward_volatility(5))
    >>> plot = cumulative_ic_plot(ls.walk_forward(har, bars, ls.WalkForward("2Y", "1Y"), baselines=[]))
    >>> plot.title
    'AutoRegression: rank IC added up over dates, volatility over the next 5 bars'
    """
    if len(study.symbols) < 3:
        raise InputError(f"A cross-section needs at least 3 symbols, but the study has {len(study.symbols)}.")
    x = days(study.time)
    marks = [Mark("level", x, np.zeros(len(x)), "s-soft")]
    lines: list[str] = []
    for name, values, role, weight in _lines(study):
        coefficients = metrics.information_coefficients(study.actual, values)
        known = coefficients[np.isfinite(coefficients)]
        if len(known):
            marks.append(Mark("line", x, np.cumsum(np.nan_to_num(coefficients)), role, name, weight))
            lines.append(f"{name} {known.mean():+.3f}")
    ticks = time_ticks(float(x[0]), float(x[-1]), 6)
    title = f"{study.name}: rank IC added up over dates, {study.target.info}"
    note = f"Mean rank IC over {len(x):,} dates of {len(study.symbols)} symbols: {', '.join(lines)}."
    return Plot(title, note, marks, "", "sum of rank ICs", ticks, "{:g}".format)


def _lines(study: Any) -> Iterator[tuple[str, np.ndarray, str, str]]:
    for name, values in study.baselines.items():
        yield plain(name), values, "s-naive", "thin"
    for name, values in study.challengers.items():
        yield name, values, "s-soft", "thin"
    yield study.name, study.forecast.mean, "s-model", "thick"


def _skill_by_fold(study: Any, values: np.ndarray, naive: np.ndarray, folds: list[int]) -> np.ndarray:
    """1 - squared error / the naive forecast's, in the units of the verdict: prices as shares of the last close."""
    unit = study.reference if study.target.info.kind == "close" else 1.0
    actual, said, base = (np.asarray(v) / unit for v in (study.actual, values, naive))
    return np.array(
        [metrics.skill(actual[study.fold == k], said[study.fold == k], base[study.fold == k]) for k in folds]
    )


def _interval(d: dict[str, Any]) -> str:
    low, high = d["skill_low"], d["skill_high"]
    return f"{low:+.1%} to {high:+.1%}" if low is not None and high is not None else "no interval"


def _said(value: float | None, form: str) -> str:
    return "unknown" if value is None else format(value, form)


def _numbers(values: list[float | None]) -> np.ndarray:
    return np.array([v if v is not None and isfinite(v) else np.nan for v in values], float)
