"""Plots of studies: what they show is what the study says."""

import numpy as np
import pytest

import longshort as ls
from longshort import features as f
from longshort import metrics
from longshort import models as m
from longshort.data import synthetic
from longshort.errors import InputError
from longshort.report import cumulative_ic_plot, skill_plot, verdict_plot

INPUTS = [f.field("volume").log()]
CV = ls.WalkForward(train=300, test=150)


@pytest.fixture(scope="module")
def study():
    bars = synthetic.planted_signal(700, 5, seed=1)
    return ls.walk_forward(m.Ridge(INPUTS, f.forward_log_return(), 1), bars, CV)


def test_skill_by_fold_is_that_of_the_verdict_for_the_model_and_by_hand_for_its_challengers(study):
    plot = skill_plot(study)
    folds = study.verdict().details["skill_by_fold"]
    named = {mark.name: mark for mark in plot.marks if mark.name}
    assert set(named) == {"Ridge", "ar", "the mean" if study.verdict().details["best_naive"] == "mean" else "zero"}
    np.testing.assert_allclose(named["Ridge"].y, [fold["skill"] for fold in folds])
    naive = study.baselines[study.verdict().details["best_naive"]]
    for k in range(len(folds)):
        rows = study.fold == k
        expected = metrics.skill(study.actual[rows], study.challengers["ar"][rows], naive[rows])
        assert named["ar"].y[k] == pytest.approx(expected)
    (bars,) = (mark for mark in plot.marks if mark.kind == "bars")
    assert (bars.low < named["Ridge"].y).all()
    assert (named["Ridge"].y < bars.high).all()


def test_a_verdict_is_drawn_with_every_forecast_it_compares_and_what_it_says(study, tmp_path):
    verdict = study.verdict()
    plot = verdict_plot(verdict)
    table, drawn = verdict.details["table"], {}
    for mark in plot.marks:
        if mark.kind == "dots":
            drawn |= dict(zip(mark.x.tolist(), mark.y.tolist(), strict=True))
    assert plot.note.startswith(f"Edge: skill {verdict.details['skill']:+.1%}")
    assert [drawn[x] for x, _ in plot.x_ticks] == pytest.approx([row["skill"] for row in table.values()])
    assert {"Ridge", "an autoregression"} < {label for _, label in plot.x_ticks}
    (bars,) = (mark for mark in plot.marks if mark.kind == "bars")
    assert (bars.low[0], bars.high[0]) == (verdict.details["skill_low"], verdict.details["skill_high"])
    for ending in ("svg", "png", "html"):
        assert plot.save(tmp_path / f"verdict.{ending}").stat().st_size > 1000


def test_a_forecast_that_never_moves_has_no_correlation_to_draw():
    outcome = np.random.default_rng(3).normal(size=300)
    plot = verdict_plot(ls.referee(outcome, np.zeros(300)))
    assert "correlation with the outcomes unknown" in plot.note


def test_skill_of_prices_is_measured_in_shares_of_the_last_close():
    bars = synthetic.planted_signal(700, 2, seed=2)
    scale = np.array([1.0, 1000.0])
    uneven = ls.Bars.from_arrays(
        bars.time, bars.symbols, {n: bars[n] * (1.0 if n == "volume" else scale) for n in bars.fields}
    )
    plots = []
    for given in (bars, uneven):
        ridge = m.Ridge(INPUTS, f.forward_close(), 1)
        plots.append(skill_plot(ls.walk_forward(ridge, given, CV, baselines=[m.Drift(f.forward_close())])))
    for one, other in zip(plots[0].marks, plots[1].marks, strict=True):
        np.testing.assert_allclose(one.y, other.y, rtol=1e-6, atol=1e-9)


def test_a_planted_order_adds_up_and_no_order_stays_where_it_is(study, tmp_path):
    plot = cumulative_ic_plot(study)
    named = {mark.name: mark for mark in plot.marks if mark.name}
    coefficients = metrics.information_coefficients(study.actual, study.forecast.mean)
    np.testing.assert_allclose(named["Ridge"].y, np.cumsum(coefficients))
    assert named["Ridge"].y[-1] > 0.5 * len(study)
    assert "zero" not in named  # says the same of every symbol
    assert f"Ridge {coefficients.mean():+.3f}" in plot.note
    for ending in ("svg", "png"):
        assert plot.save(tmp_path / f"ic.{ending}").stat().st_size > 5_000


def test_two_symbols_are_no_cross_section():
    bars = synthetic.planted_signal(500, 2, seed=3)
    study = ls.walk_forward(m.Ridge(INPUTS, f.forward_log_return(), 1), bars, CV, baselines=[])
    with pytest.raises(InputError, match="at least 3 symbols, but the study has 2"):
        cumulative_ic_plot(study)
