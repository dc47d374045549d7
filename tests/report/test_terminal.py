"""Charts made of braille characters."""

import numpy as np

from longshort.report.terminal import plot


def text(lines):
    return ["".join(part for part, _ in line) for line in lines]


def test_every_line_has_the_same_width():
    lines = text(plot([(np.sin(np.arange(50) / 5), "a")], width=30, height=8))
    assert len({len(line) for line in lines}) == 1
    assert len(lines) == 8


def test_extremes_are_labelled_at_the_left():
    lines = text(plot([(np.array([3.0, 9.5, 4.0]), "")], width=10, height=4))
    assert lines[0].startswith("9.50")
    assert lines[-1].startswith("3.00")


def test_the_last_series_wins_where_lines_meet():
    lines = plot([(np.ones(4), "below"), (np.ones(4), "above")], width=4, height=3)
    styles = {style for line in lines for _, style in line}
    assert "above" in styles
    assert "below" not in styles


def test_gaps_stay_empty():
    lines = text(plot([(np.array([1.0, np.nan, np.nan, 1.0]), "")], width=8, height=2))
    assert "  " in lines[0].partition("┤")[2]


def test_nothing_to_draw():
    assert plot([(np.full(4, np.nan), "")]) == []
