"""The plot of what a backtest earned."""

import numpy as np
import pytest

import longshort as ls
from longshort.report import equity_plot
from longshort.trading import backtest


def played(drift, weight=1.0):
    time = np.arange(400) * 86_400 * 10**9 + 10**18
    steps = np.random.default_rng(0).normal(drift, 0.01, 400)
    close = 100.0 * np.exp(np.cumsum(steps))
    bars = ls.Bars.from_arrays(time, "A", dict.fromkeys(("open", "high", "low", "close"), close))
    return backtest(lambda view: np.array([weight]), None, bars, name="held")


def test_the_lines_end_where_the_account_and_its_benchmarks_end():
    result = played(0.0)
    plot = equity_plot(result)
    ends = {mark.name: mark.y[-1] for mark in plot.marks}
    assert ends["strategy"] == pytest.approx(result.equity[-1] / result.equity[0])
    assert ends["buy and hold"] == pytest.approx(np.prod(1.0 + result.benchmarks["buy_and_hold"]))
    assert result.verdict().sentence in plot.note


def test_a_market_that_rose_many_times_is_drawn_in_doublings():
    result = played(0.01, weight=0.1)
    plot = equity_plot(result)
    ends = {mark.name: mark.y[-1] for mark in plot.marks}
    assert 2.0 ** ends["strategy"] == pytest.approx(result.equity[-1] / result.equity[0])
    assert plot.y_label(3.0) == "8"
    assert "doublings" in plot.y_name


def test_it_is_saved_as_a_drawing(tmp_path):
    assert "buy and hold" in equity_plot(played(0.0)).save(tmp_path / "equity.svg").read_text()
