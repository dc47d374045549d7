import numpy as np
import pytest

import longshort as ls
from longshort import features as f
from longshort import ledger
from longshort.data import synthetic
from longshort.errors import InputError
from longshort.evaluation import lookback_sweep
from longshort.evaluation.fitting import Job
from longshort.models import AutoRegression, Ensemble, Ridge

CV = ls.WalkForward(train=300, test=150)


def lstm(**changes):
    arguments = {"hidden": (6,), "epochs": 3, "patience": 2, "lookback": 5, **changes}
    return ls.LSTM([f.field("volume").log()], f.forward_log_return(), **arguments)


@pytest.fixture(scope="module")
def bars():
    return synthetic.planted_signal(700, ("A", "B"), seed=3)


@pytest.fixture(scope="module")
def sweep(bars):
    return lookback_sweep(lstm(), bars, [30, 2, 10], CV, seeds=2, threads=2)


def test_every_lookback_trains_and_is_judged_on_the_same_rows(bars, monkeypatch):
    trained, tested = {}, {}
    predict = Job._predict

    def watch(job, fitted):
        fold = job.fold.number
        trained.setdefault(fold, []).append(
            (fitted.trained_["first"], fitted.trained_["last"], fitted.trained_["rows"])
        )
        tested.setdefault(fold, []).append(tuple(job.rows))
        return predict(job, fitted)

    monkeypatch.setattr(Job, "_predict", watch)
    found = lookback_sweep(lstm(), bars, [2, 10, 30], ls.WalkForward(train=300, test=150, expanding=True), seeds=1)
    for fold in trained:
        assert len(trained[fold]) == 3
        assert len(set(trained[fold])) == 1
        assert len(set(tested[fold])) == 1
    assert min(t[0][0] for t in trained.values()) == bars.time[29]  # where the longest window is first full
    assert np.isfinite(found.forecasts).all()


def test_cells_a_longer_window_cannot_speak_at_count_for_none(bars):
    fields = {name: np.array(bars[name]) for name in bars.fields}
    for values in fields.values():
        values[500:505, 1] = np.nan
    gaps = ls.Bars.from_arrays(bars.time, bars.symbols, fields, calendar=bars.calendar, bar_size=bars.bar_size)
    found = lookback_sweep(lstm(), gaps, [2, 30], CV, seeds=1)
    missing = np.isnan(found.forecasts)
    assert (missing == missing[0, 0]).all()
    assert (np.isnan(found.actual) == missing[0, 0]).all()
    silent = np.flatnonzero(missing[0, 0][:, 1])
    row = int(np.searchsorted(found.time, gaps.time[500]))
    assert silent.tolist()[:35] == list(range(row - 1, row + 34))  # no outcome before the gap, no window until 30 after


def test_a_sweep_says_what_the_walk_forward_of_each_says(bars, sweep):
    again = ls.walk_forward(lstm(lookback=30), bars, CV, baselines=[], seeds=2)
    assert again.seeds.tobytes() == sweep.forecasts[2].tobytes()
    assert sweep.skill_of_mean[2].mean == pytest.approx(again.verdict().details["skill"], rel=1e-12)
    told = [row["skill"] for row in again.verdict().details["seeds"]]
    np.testing.assert_allclose(sweep.skill[2], told, rtol=1e-12)


def test_threads_do_not_matter(bars, sweep):
    one = lookback_sweep(lstm(), bars, [2, 10, 30], CV, seeds=2, threads=1)
    assert one.forecasts.tobytes() == sweep.forecasts.tobytes()


def test_the_table_names_the_best_and_warns_of_the_choice(sweep):
    table = sweep.table()
    assert [row["lookback"] for row in table] == [2, 10, 30]
    best = max(table, key=lambda row: row["skill"])
    assert sweep.best == best["lookback"]
    assert all(row["seeds_low"] <= row["seeds_mean"] <= row["seeds_high"] for row in table)
    assert f"{sweep.best} bars did best of 3" in repr(sweep)
    assert "counts as 3 trials" in repr(sweep)


def test_every_lookback_is_a_trial_and_the_same_ones_are_not_counted_again(bars, tmp_path):
    with ls.project(tmp_path):
        lookback_sweep(lstm(), bars, [2, 10], CV, seeds=1)
        assert ledger.trials() == 2
        found = lookback_sweep(lstm(), bars, [2, 10, 30], CV, seeds=1)
        assert ledger.trials() == 3
        assert found.trials == 3
        study = ls.walk_forward(
            lstm(lookback=2), bars, CV, baselines=[], seeds=1
        )  # the best of three is judged as such
        assert study.trials == study.verdict().details["tried"] == 3


def test_an_ensemble_of_lstms_has_no_one_lookback_but_a_price_model_has(bars):
    with pytest.raises(InputError, match="Ensemble"):
        lookback_sweep(Ensemble([lstm(), lstm(seed=3)]), bars, [2, 10], CV)
    close = ls.LSTM([f.field("close")], f.forward_close(), hidden=(4,), epochs=1)
    assert lookback_sweep(close, bars, [2, 5], CV, seeds=1).baseline in ("persistence", "drift")


def test_choosing_is_tested(sweep):
    found = sweep.chosen()
    assert found["best"] == str(sweep.best)
    assert 0 <= found["spa"] <= found["reality_check"] <= 1


@pytest.mark.parametrize(
    ("model", "lookbacks", "words"),
    [
        (lstm, [5], "at least 2 different lookbacks"),
        (lstm, [5, 5], "at least 2 different lookbacks"),
        (lstm, [0, 5], "lookback must be a whole number"),
        (lambda: AutoRegression(f.forward_return()), [5, 10], "but AutoRegression has none"),
        (lambda: Ridge([f.log_return()], f.forward_return()), [5, 10], "but Ridge has none"),
    ],
)
def test_what_cannot_be_swept_is_refused(bars, model, lookbacks, words):
    with pytest.raises(InputError, match=words):
        lookback_sweep(model(), bars, lookbacks, CV)
