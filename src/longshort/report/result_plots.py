"""Plots of what a backtest earned."""

from typing import TYPE_CHECKING

import numpy as np

from .money_figures import STYLES, beside, spans_wide
from .plots import Mark, Plot
from .svg import days, decimate, time_ticks

if TYPE_CHECKING:
    from ..trading import BacktestResult


def equity_plot(result: "BacktestResult") -> Plot:
    """Plot what one unit of money became, beside what it became without a strategy.

    Parameters
    ----------
    result : BacktestResult
        As `backtest` returns it.

    Returns
    -------
    Plot
        In doublings where the highest line would hide the others; the note is the verdict.

    Examples
    --------
    >>> import longshort as ls
    >>> bars = ls.load_bars("AAPL", start="2012-01-01", end="2014-12-31", source="sample")
    >>> plot = equity_plot(ls.backtest(lambda view: np.sign(view.returns), None, bars, name="momentum"))
    >>> [mark.name for mark in plot.marks]
    ['buy and hold', 'equal exposure', 'strategy']
    """
    start, wealth = float(result.equity[0]), beside(result)
    lines = [*((name, STYLES[name], values) for name, values in wealth.items()), ("strategy", "s-model", result.equity)]
    rows = decimate(days(result.time), *(values for _, _, values in lines), columns=300)
    time, doublings = days(result.time)[rows], spans_wide(result)
    marks = []
    for name, style, values in lines:
        growth = values[rows] / start
        y = np.log2(growth) if doublings else growth
        marks.append(Mark("line", time, y, style, name, "thick" if style == "s-model" else "thin"))
    first, last = result.bars.dates[[0, -1]]
    return Plot(
        f"{result.name}: what one unit became, {first} to {last}",
        f"{result.verdict().sentence} Net of costs; benchmarks before costs.",
        marks,
        y_name="multiple of the start" + ", doublings evenly spaced" * doublings,
        x_ticks=time_ticks(float(time[0]), float(time[-1]), 8),
        y_label=(lambda value: f"{2.0**value:.2g}") if doublings else "{:g}".format,
    )
