"""Scales, ticks and labels: the arithmetic of drawing."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshort.report.svg import Canvas, Hover, Scale, days, decimate, fmt, limits, nice_ticks, spread, time_ticks

finite = st.floats(-1e9, 1e9, allow_nan=False)


@given(finite, finite, st.integers(2, 10))
def test_ticks_lie_inside_and_are_evenly_spaced(a, b, count):
    low, high = min(a, b), max(a, b)
    ticks = nice_ticks(low, high, count)
    if high - low < 1e-6:
        return
    assert 1 <= len(ticks) <= 3 * count + 2
    span = high - low
    assert all(low - 1e-6 * span <= t <= high + 1e-6 * span for t in ticks)
    if len(ticks) > 2:
        assert np.allclose(np.diff(ticks), ticks[1] - ticks[0], rtol=1e-6, atol=1e-9 * span)


@given(st.lists(st.floats(0, 300), min_size=1, max_size=8))
def test_labels_never_overlap_and_keep_their_order(wanted):
    placed = spread(wanted, 15, 0, 300)
    order = np.argsort(wanted, kind="stable")
    gaps = np.diff(np.array(placed)[order])
    assert (gaps > 15 - 1e-6).all()
    assert min(placed) > -1e-6
    assert max(placed) < 300 + 1e-6


@pytest.mark.parametrize("span_days", [0.3, 1.2, 4, 30, 61, 100, 400, 1500, 9000])
def test_time_axis_has_readable_labels_at_every_span(span_days):
    first = float(days(np.datetime64("2019-11-13T14:30")))
    ticks = time_ticks(first, first + span_days, 8)
    assert 1 <= len(ticks) <= 9
    assert all(first <= t <= first + span_days for t, _ in ticks)
    assert all(len(label) <= 8 for _, label in ticks)


def test_a_line_breaks_where_values_are_missing():
    canvas = Canvas(100, 50)
    canvas.path([0, 1, 2, 3, 4], [1, 2, np.nan, 4, 5], "s")
    assert canvas.parts[0].count("M") == 2


def test_a_line_without_a_finite_value_draws_nothing():
    canvas = Canvas(100, 50)
    canvas.path([0, 1], [np.nan, np.inf], "s")
    canvas.band([0, 1], [np.nan, 1], [1, np.nan], "s")
    assert canvas.parts == []


def test_text_and_titles_are_escaped():
    canvas = Canvas(100, 50)
    canvas.text(0, 0, "<script>alert(1)</script>")
    drawing = canvas.render('a "quoted" <title>')
    assert "<script>" not in drawing
    assert "&quot;quoted&quot;" in drawing


def test_hover_data_are_json_that_cannot_close_its_script():
    hover = Hover("k", np.array([1.0]), [("</script><b>", "s", np.array([np.nan]))])
    text = hover.script()
    assert text.count("</script>") == 1
    payload = json.loads(text.split(">", 1)[1].rsplit("<", 1)[0])
    assert payload["s"][0]["y"] == [None]


def test_decimation_keeps_the_ends_and_the_extremes():
    x = np.arange(50_000.0)
    y = np.sin(x / 300)
    y[31_234], y[7] = 5.0, -5.0
    rows = decimate(x, y, columns=500)
    assert rows[0] == 0
    assert rows[-1] == 49_999
    assert y[rows].max() == 5.0
    assert y[rows].min() == -5.0
    assert len(rows) < 1100


def test_scales_map_ends_to_ends():
    assert Scale(0, 10, 100, 200)(5) == 150
    assert Scale(1, 100, 0, 2, log=True)(10) == pytest.approx(1)
    assert Scale(3, 3, 0, 10)(3) == 0


def test_limits_of_nothing_are_harmless():
    assert limits([np.nan, np.nan]) == (0.0, 1.0)
    low, high = limits([5.0, 5.0])
    assert low < 5 < high


def test_coordinates_are_short():
    assert fmt(1234.5678) == "1234.6"
