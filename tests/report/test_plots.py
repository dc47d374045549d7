import re
import xml.etree.ElementTree as ElementTree
from types import SimpleNamespace

import numpy as np
import pytest

import longshort as ls
from longshort import features as f
from longshort.data import synthetic
from longshort.errors import InputError, NotFitted
from longshort.models import Ensemble, Persistence
from longshort.models.training import History
from longshort.report.plots import Mark, Plot, importance_plot, lookback_plot, training_history, tuning_history


@pytest.fixture(scope="module")
def bars():
    return synthetic.planted_signal(500, seed=1)


def lstm(**changes):
    arguments = {"hidden": (4,), "epochs": 5, "lookback": 5, "patience": None, **changes}
    return ls.LSTM([f.field("volume").log()], f.forward_log_return(), **arguments)


def test_a_history_shows_both_losses_of_every_seed_and_names_the_gap(bars):
    model = lstm(seeds=3).fit(bars)
    plot = training_history(model)
    lines = [mark for mark in plot.marks if mark.kind == "line"]
    assert len(lines) == 6
    for i, history in enumerate(model.histories_):
        np.testing.assert_array_equal(lines[2 * i].y, history.train_loss)
        np.testing.assert_array_equal(lines[2 * i + 1].y, history.val_loss)
    dots = [mark for mark in plot.marks if mark.kind == "dots"]
    assert [int(mark.x[0]) for mark in dots] == [h.best_epoch for h in model.histories_]
    text = ElementTree.fromstring(plot.svg(alone=True))
    words = " ".join(text.itertext())
    for word in ("training", "validation", "epoch", "gap", "mse"):
        assert word in words


def test_the_gap_by_hand():
    histories = [History([2.0, 1.0, 0.5], [2.0, 1.25, 1.5], best_epoch=2)]
    plot = training_history(SimpleNamespace(histories_=histories, loss="mse"))
    assert plot.note == "At the best epoch (epoch 2): validation 1.25, training 1, gap +0.25 (+25%)."


def test_without_validation_there_is_no_gap(bars):
    plot = training_history(lstm(validation=0.0).fit(bars))
    assert plot.note.startswith("No validation part")
    assert [mark.kind for mark in plot.marks] == ["line"]


def test_an_ensemble_shows_all_its_networks_and_what_learned_nothing_is_refused(bars):
    ensemble = Ensemble([lstm(), lstm(hidden=(6,)), Persistence(f.forward_log_return())]).fit(bars)
    assert len([mark for mark in training_history(ensemble).marks if mark.kind == "dots"]) == 2
    for model in (Persistence(f.forward_log_return()), lstm()):
        with pytest.raises(NotFitted, match="no training history"):
            training_history(model)


def test_a_sweep_shows_seeds_mean_and_the_naive_line(bars):
    sweep = ls.evaluation.lookback_sweep(lstm(), bars, [2, 5, 20], ls.WalkForward(train=300, test=100), seeds=2)
    plot = lookback_plot(sweep)
    level, spans, mean, seeds = plot.marks
    assert level.name == sweep.baseline
    assert not level.y.any()
    np.testing.assert_array_equal(mean.y, [row["skill"] for row in sweep.table()])
    np.testing.assert_array_equal(seeds.y, sweep.skill.ravel())
    assert (spans.low < mean.y).all()
    assert (mean.y < spans.high).all()
    assert plot.note == sweep.warning
    drawing = plot.svg(alone=True)
    assert drawing.count("<circle") == 6
    assert "counts as 3 trials" in drawing


def test_a_tuning_shows_every_trial_the_best_so_far_and_luck(bars):
    pytest.importorskip("optuna")
    space = {"lookback": [2, 5, 8], "lr": (1e-3, 1e-1, "log")}
    tuned = ls.tune(lstm(), space, trials=8, cv=2).fit(bars)
    plot = tuning_history(tuned)
    luck, zero, pruned, complete, best = plot.marks
    assert luck.y[0] == tuned.luck_.expected
    assert not zero.y.any()
    assert len(pruned.y) + len(complete.y) == 8
    assert best.y[-1] == tuned.best_score_
    assert (np.diff(best.y[np.isfinite(best.y)]) >= 0).all()
    assert "Luck alone gives the best of 8" in plot.svg(alone=True)
    shares = importance_plot(tuned)
    assert {name for _, name in shares.x_ticks} == set(space)
    assert sum(shares.marks[0].y) == pytest.approx(1.0)
    with pytest.raises(NotFitted, match="tuned anything yet"):
        tuning_history(ls.tune(lstm(), space))
    with pytest.raises(InputError, match="at least 4 complete trials"):
        importance_plot(ls.tune(lstm(), space, trials=1, cv=1).fit(bars))


def plot_of(*marks):
    return Plot("Title & more", "A note.", marks, "x", "y")


def test_every_format_by_its_ending(tmp_path):
    plot = plot_of(Mark("line", np.arange(4.0), np.array([1.0, np.nan, 2.0, 3.0]), name="a<b"))
    assert ElementTree.parse(plot.save(tmp_path / "p.svg")).getroot().tag.endswith("svg")
    page = plot.save(tmp_path / "p.html").read_text()
    assert "Title &amp; more" in page
    assert not re.search(r"https?://(?!www\.w3\.org)", page)
    pytest.importorskip("matplotlib")
    assert plot.save(tmp_path / "new" / "p.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(InputError, match=r"\.svg, \.html or \.png"):
        plot.save(tmp_path / "p.pdf")


def test_the_same_plot_gives_the_same_bytes(tmp_path):
    plot = plot_of(Mark("dots", np.arange(4.0), np.arange(4.0)), Mark("level", np.zeros(1), np.zeros(1), "s-naive"))
    for name in ("a.svg", "b.svg", "a.png", "b.png"):
        plot.save(tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_points_stay_inside_the_drawing():
    plot = plot_of(Mark("dots", np.array([1.0, 60.0]), np.array([-5.0, 1e6])))
    drawing = plot.svg()
    xs = [float(v) for v in re.findall(r'cx="([-\d.]+)"', drawing)]
    ys = [float(v) for v in re.findall(r'cy="([-\d.]+)"', drawing)]
    assert 64 <= min(xs)
    assert max(xs) <= 630
    assert 26 <= min(ys)
    assert max(ys) <= 376
