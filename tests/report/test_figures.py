"""Single figures, from plain values."""

import numpy as np
import pytest

from longshort.report import figures
from longshort.report.diagram import Layer, Network, network_figure
from longshort.report.facts import Calibration, Closes, Curve, Next, Skill

DAY = 86_400 * 10**9


def closes(n: int = 200) -> Closes:
    price = 100 + np.cumsum(np.random.default_rng(1).normal(size=n + 1))
    return Closes("AAPL", DAY * np.arange(1, n + 1), price[1:], price[:-1] + 0.3, price[:-1])


def following(steps: int = 5) -> Next:
    past = closes(40)
    mean = past.actual[-1] + np.arange(1.0, steps + 1)
    times = past.time[-1] + DAY * np.arange(1, steps + 1)
    return Next("AAPL", times, mean, mean - 3, mean + 3, 0.9, past.time, past.actual)


@pytest.mark.parametrize("n", [1, 2, 59, 60, 61, 500])
def test_closes_of_any_length_can_be_drawn(n):
    assert figures.closes_figure(closes(n), "k").count("<svg") == 2
    assert figures.turn_figure(closes(n), "k").count("<svg") == 2


def test_the_enlarged_part_shows_the_deepest_fall_with_a_recovery():
    n = 400
    price = np.full(n, 100.0)
    price[200:215] = np.linspace(100, 70, 15)
    price[215:230] = np.linspace(70, 100, 15)
    part = Closes("X", DAY * np.arange(n), price, price, price).turn()
    assert part.stop - part.start == 60
    assert part.start < 200
    assert part.stop >= 230


def test_a_close_that_only_falls_has_some_part_too():
    price = np.linspace(100, 50, 300)
    part = Closes("X", DAY * np.arange(300), price, price, price).turn()
    assert part.stop - part.start == 60


def test_missing_values_break_lines_and_harm_nothing():
    lines = closes(100)
    lines.model[20:40] = np.nan
    drawing = figures.closes_figure(lines, "k")
    assert "nan" not in drawing.lower().replace("&", "")


def test_one_coming_session():
    assert "the next 1 sessions" in figures.next_figure(following(1), "k")


def test_wild_skills_do_not_squeeze_the_others():
    skills = [Skill("a", 10, 0.01, -0.02, 0.04), Skill("b", 10, -0.01, -0.04, 0.02), Skill("c", 5, -90.0, -200.0, 20.0)]
    drawing = figures.skill_figure(skills * 3, "t")
    assert "−9,000 %" in drawing
    assert "0.0 %" in drawing or "0 %" in drawing


def test_nothing_to_draw_is_said():
    assert "No skill" in figures.skill_figure([Skill("a", 0, float("nan"))], "t")
    assert "No loss" in figures.training_figure([], {})


def test_training_without_validation():
    curve = Curve(0, np.array([1.0, 0.5]), np.array([np.nan, np.nan]), None)
    assert "<svg" in figures.training_figure([curve], {0: "2020"})


def test_calibration_of_a_constant_forecast():
    bins = Calibration(np.zeros(3), np.zeros(3), -np.ones(3), np.ones(3), float("nan"), 60)
    assert "<svg" in figures.calibration_figure(bins, (100.0, " %", 3), "log_return")


@pytest.mark.parametrize("units", [1, 7, 50, 64, 97, 500])
def test_networks_of_any_width_fit_their_boxes(units):
    network = Network(("close",), 60, (Layer("LSTM", units, 1, 0.2), Layer("Dense", 1, 1)))
    assert f"LSTM {units}" in network_figure(network)


def test_a_deep_network_stays_inside_the_page():
    layers = (*(Layer("LSTM", 50, 1) for _ in range(7)), Layer("Dense", 1, 1))
    import re

    drawing = network_figure(Network(tuple("abcdefghijkl"), 60, layers))
    wide = drawing.split('class="narrow"')[0]
    assert max(float(x) for x in re.findall(r'<rect[^>]* x="([\d.]+)"', wide)) < 1040


@pytest.mark.parametrize("n", [1, 60, 200, 1500, 5700])  # 1500 days: too many months for 8 ticks, few years
def test_the_overview_is_a_png(tmp_path, n):
    path = tmp_path / "o.png"
    figures.overview_png(path, closes(n), following(), "No evidence.", "note")
    assert path.read_bytes().startswith(b"\x89PNG")
    figures.overview_png(tmp_path / "p.png", closes(), None, "No evidence.")
