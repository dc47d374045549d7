"""Tuning: what is tried, what is chosen, and that no test row ever takes part."""

import glob
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from unittest import mock

import numpy as np
import pytest

import longshort as ls
from longshort import features as f
from longshort import ledger
from longshort.bars import Bars
from longshort.data import synthetic
from longshort.errors import ArtifactError, InputError, NotEnoughData, NotFitted, SetupError, TrainingError, UnknownName
from longshort.evaluation import Study, Tuned, WalkForward, tune, walk_forward
from longshort.evaluation.gains import Gains, score_of
from longshort.evaluation.searching import Store, storage_url
from longshort.forecast import Forecast
from longshort.models import Ensemble, Ridge

optuna = pytest.importorskip("optuna")

BARS = synthetic.planted_signal(420, 2, seed=1)
SMALL = ls.LSTM([f.log_return()], lookback=5, hidden=(4,), epochs=2, batch_size=64)
SPACE = {"lookback": [5, 8], "lr": (1e-4, 1e-1, "log"), "dropout": (0.0, 0.5)}


@pytest.fixture(autouse=True)
def own_ledger():
    book = ledger.project(None)
    ledger._current = ledger.Ledger()
    yield ledger._current
    ledger._current = book


class Oracle:
    """Forecasts `weight` times what comes; its gain in squared error over zero is 1 - (1 - weight)^2."""

    def __init__(self, bars, weight=0.0, bad_after=None, shown=None):
        self.bars, self.weight, self.bad_after = bars, weight, bad_after
        self.shown = [] if shown is None else shown
        self.target = f.forward_log_return(2)

    def fit(self, bars, start=None):
        self.shown.append((self.weight, bars, start))
        if self.weight == 0.5:
            raise TrainingError("the loss left the finite numbers")
        return self

    def predict(self, bars, start=None):
        first = int(np.searchsorted(bars.time, start))
        values = self.weight * self.target.compute(self.bars)[first : len(bars)]
        return Forecast(bars.time[first:], bars.symbols, values, target=self.target.info)

    def to_dict(self):
        return {"kind": "Oracle", "weight": self.weight}


def perturbed(bars, after):
    """The same bars with everything after a stamp replaced."""
    rows = bars.time > after
    noise = np.random.default_rng(5).uniform(0.5, 2.0, size=(len(bars), 1))
    changed = {n: np.where(rows[:, None], bars[n] * noise, bars[n]) for n in bars.fields}
    return Bars.from_arrays(bars.time, bars.symbols, changed, calendar=bars.calendar, bar_size=bars.bar_size)


def weights(tuned):
    return {name: array for group in tuned.best_.nets_ for net in group for name, array in net.weights.items()}


# --------------------------------------------------------------------------------------------- what is tried and chosen


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("hidden", [(4,), (6,), (3, 3)]),
        ("layers", (1, 3)),
        ("units", (2, 6)),
        ("head", [(), (4,)]),
        ("lookback", (2, 9)),
        ("dropout", (0.0, 0.6)),
        ("batch_size", [16, 32, 64]),
        ("epochs", (1, 3)),
        ("lr", (1e-4, 1e-1, "log")),
        ("features", [[f.log_return()], [f.log_return(), f.log_return().rolling_std(5)]]),
        ("loss", ["mse", "huber"]),
    ],
)
def test_every_part_of_a_network_can_be_tuned(name, values):
    tuned = tune(SMALL, {name: values}, trials=4, cv=1, batch=4).fit(BARS)
    tried = [trial.params[name] for trial in tuned.trials_]
    assert len({str(value) for value in tried}) > 1
    low_high = values if isinstance(values, tuple) else None
    assert all(low_high[0] <= v <= low_high[1] if low_high else v in values for v in tried)
    chosen = tuned.best_params_[name]
    if name in ("layers", "units"):
        assert (len(tuned.best_.hidden) if name == "layers" else tuned.best_.hidden[0]) == chosen
    else:
        assert tuned.best_.get_params()[name] == chosen
    assert tuned.best_score_ == max(trial.score for trial in tuned.trials_ if trial.state == "complete")


def test_scores_are_gains_over_knowing_nothing():
    target = f.forward_log_return(2)
    tuned = tune(Oracle(BARS), {"weight": [0.0, 0.2, 0.9, 1.0]}, trials=12, prune=False).fit(BARS)
    rows = np.concatenate(_folds(tuned, BARS).rows)
    actual = target.compute(BARS)[rows]
    zero = (actual**2).mean()
    for trial in tuned.trials_:
        known = 1 - (1 - trial.params["weight"]) ** 2
        naive = min(zero, ((actual - target.naive(BARS)["mean"][rows]) ** 2).mean())
        assert trial.score == pytest.approx(1 - (1 - known) * zero / naive, rel=1e-9)
    assert tuned.best_params_ == {"weight": 1.0}


def _folds(tuned, bars):
    return tuned.fitting(bars).folds


def test_the_chosen_configuration_is_refitted_on_all_rows():
    tuned = tune(SMALL, SPACE, trials=4, cv=2, seeds=2).fit(BARS)
    alone = SMALL.with_params(**tuned.best_params_, seeds=2).fit(BARS)
    np.testing.assert_array_equal(tuned.predict(BARS).mean, alone.predict(BARS).mean)
    np.testing.assert_array_equal(tuned.predict_seeds(BARS), alone.predict_seeds(BARS))
    assert len(tuned.histories_) == 2


def test_the_first_trial_is_the_forecaster_as_it_was_given():
    tuned = tune(SMALL, SPACE, trials=2, cv=1).fit(BARS)
    assert tuned.trials_[0].params == {"lookback": 5, "lr": 1e-3, "dropout": 0.0}


def test_a_trial_that_falls_behind_is_pruned_and_one_that_fails_stays_alone():
    tuned = tune(Oracle(BARS), {"weight": [-2.0, 0.5, 0.9, 1.0]}, trials=40, batch=4).fit(BARS)
    states = {trial.params["weight"]: set() for trial in tuned.trials_}
    for trial in tuned.trials_:
        states[trial.params["weight"]].add(trial.state)
    assert states[0.5] == {"failed"}
    assert "pruned" in states[-2.0]
    assert states[1.0] == {"complete"}
    pruned = next(trial for trial in tuned.trials_ if trial.state == "pruned")
    assert 1 <= len(pruned.folds) < 3
    assert "TrainingError: the loss left" in next(t.reason for t in tuned.trials_ if t.state == "failed")
    assert "pruned" in repr(tuned)
    assert "failed" in repr(tuned.trials_)


def test_when_every_trial_fails_the_first_reason_is_told():
    with pytest.raises(NotEnoughData, match="All 2 trials failed; the first because: TrainingError"):
        tune(Oracle(BARS, weight=0.5), {"weight": [0.5]}, trials=2).fit(BARS)


# ---------------------------------------------------------------------------------------- the same seed, the same bytes


@pytest.mark.parametrize("sampler", ["tpe", "cma", "random", pytest.param("gp", marks=pytest.mark.full)])
def test_what_is_tried_depends_on_the_seed_alone_and_not_on_threads(sampler):
    if sampler == "gp":
        pytest.importorskip("torch")
    if sampler == "cma":
        pytest.importorskip("cmaes")
    found = []
    for threads in (1, 3):
        tuned = tune(SMALL, SPACE, trials=14, cv=2, batch=4, sampler=sampler, threads=threads).fit(BARS)
        found.append((list(tuned.trials_), weights(tuned)))
    assert found[0][0] == found[1][0]
    for name, array in found[0][1].items():
        np.testing.assert_array_equal(array, found[1][1][name])
    other = tune(SMALL, SPACE, trials=4, cv=2, batch=4, sampler=sampler, seed=1).fit(BARS)
    assert [t.params for t in other.trials_[1:]] != [t.params for t in found[0][0][1:4]]


def test_a_tuned_forecaster_read_from_its_description_tries_the_same():
    tuned = tune(SMALL, SPACE, trials=3, cv=WalkForward(200, 60))
    again = Tuned.from_dict(tuned.to_dict())
    assert again.to_dict() == tuned.to_dict()
    assert list(again.fit(BARS).trials_) == list(tuned.fit(BARS).trials_)


# -------------------------------------------------------------------------------------------------- nothing looks ahead


def test_nothing_after_the_training_window_changes_what_is_chosen_or_learned():
    cv = WalkForward(train=300, test=40)
    tuned = tune(SMALL, SPACE, trials=5, cv=2)
    before = walk_forward(tuned, BARS, cv, baselines=[], seeds=1)
    fold = before.folds[0]
    other = perturbed(BARS, fold.test_start)
    assert other.until(fold.test_start) == BARS.until(fold.test_start)
    assert other != BARS
    after = walk_forward(tuned, other, cv, baselines=[], seeds=1)
    assert after.choices[0] == before.choices[0]
    assert after.forecast.mean[0].tobytes() == before.forecast.mean[0].tobytes()
    assert after.forecast.mean[1].tobytes() != before.forecast.mean[1].tobytes()
    assert after.histories[0][0].to_dict() == before.histories[0][0].to_dict()


def test_trials_are_fitted_on_purged_inner_windows_inside_the_training_window():
    oracle = Oracle(BARS)
    cv = WalkForward(train=300, test=60, embargo=3)
    study = walk_forward(tune(oracle, {"weight": [0.0, 1.0]}, trials=4, cv=2), BARS, cv, baselines=[], seeds=1)
    ends = np.asarray(oracle.target.label_end(BARS))
    for _, bars, _ in oracle.shown:
        assert any(bars.time[-1] <= fold.train_end for fold in study.folds)
    for fold in study.folds:
        seen = BARS.until(fold.train_end)
        for inner, rows in zip(
            (inside := _folds(tune(oracle, {"weight": [0.0]}, cv=2), seen)), inside.rows, strict=True
        ):
            learned = (BARS.time <= inner.train_end) & (ends <= inner.train_end)
            assert ends[learned].max() < BARS.time[rows[0]]
            assert BARS.time[rows[-1]] <= fold.train_end
            assert ends[rows].max() <= fold.train_end


def test_the_leak_audit_finds_nothing_in_a_tuned_forecaster():
    found = ls.audit(tune(SMALL, SPACE, trials=3, cv=1), BARS)
    assert found.ok, found


def test_a_row_counts_only_where_the_longest_window_is_full():
    tuned = tune(SMALL, {"lookback": [2, 30]}, cv=1)
    assert tuned.ready(BARS)[:30].sum() == 0
    assert tuned.ready(BARS)[30:].all()


# ------------------------------------------------------------------------------------------------ stores and the ledger


def fitted_until(tuned, bars, trials):
    """Step a fit until so many trials are closed, then leave it, as a killed process does."""
    fitting = tuned.fitting(bars)
    while len(fitting.trials) < trials or not fitting.round:
        fitting.step()
    fitting.step()
    return fitting


@pytest.mark.parametrize("sampler", ["tpe", "cma"])
def test_a_killed_tuning_goes_on_and_ends_with_the_same_bytes(tmp_path, sampler):
    options = dict(trials=10, cv=2, batch=3, sampler=sampler)
    whole = tune(SMALL, SPACE, storage="memory", **options).fit(BARS)
    tuned = tune(SMALL, SPACE, storage=tmp_path / "t.sqlite", **options)
    fitted_until(tuned, BARS, 6)
    resumed = tuned.fitting(BARS)
    assert len(resumed.trials) == 6
    while not resumed.step():
        pass
    assert list(resumed.result.trials_) == list(whole.trials_)
    assert resumed.result.luck_ == whole.luck_
    for name, array in weights(whole).items():
        np.testing.assert_array_equal(array, weights(resumed.result)[name])


def test_more_trials_add_to_those_that_were_stored(tmp_path):
    options = dict(cv=1, batch=4, storage=tmp_path / "t.sqlite")
    tune(SMALL, SPACE, trials=6, **options).fit(BARS)
    more = tune(SMALL, SPACE, trials=9, **options)
    assert len(more.fitting(BARS).trials) == 4  # the second round had only two
    again = more.fit(BARS)
    assert list(again.trials_) == list(tune(SMALL, SPACE, trials=9, cv=1, batch=4, storage="memory").fit(BARS).trials_)
    assert len(tune(SMALL, SPACE, trials=9, **options).fitting(BARS).trials) == 9


def test_other_data_or_another_space_share_a_store_without_meeting(tmp_path):
    options = dict(trials=2, cv=1, storage=tmp_path / "t.sqlite")
    tune(SMALL, SPACE, **options).fit(BARS)
    assert not tune(SMALL, SPACE, **options).fitting(BARS.until(int(BARS.time[-2]))).trials
    assert not tune(SMALL, {"lookback": [5, 8]}, **options).fitting(BARS).trials
    assert len(tune(SMALL, SPACE, **options).fitting(BARS).trials) == 2


def test_trials_drawn_differently_are_refused(tmp_path, monkeypatch):
    options = dict(trials=2, cv=1, storage=tmp_path / "t.sqlite")
    tune(SMALL, SPACE, **options).fit(BARS)
    monkeypatch.setattr("longshort.evaluation.searching._sampler", lambda *_: optuna.samplers.RandomSampler(seed=99))
    with pytest.raises(ArtifactError, match="were drawn differently"):
        tune(SMALL, SPACE, **options).fit(BARS)


def test_processes_may_open_a_new_store_at_the_same_moment(tmp_path):
    url = storage_url(tmp_path / "t.sqlite")
    code = f"from longshort.evaluation.searching import Store; Store({url!r}, 'x').close()"
    openers = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(3)]
    assert [one.wait(timeout=120) for one in openers] == [0, 0, 0]


def test_a_round_that_another_process_has_stored_meanwhile_is_taken_and_not_trained(tmp_path):
    options = dict(trials=9, cv=1, batch=3)
    whole = tune(SMALL, SPACE, storage="memory", **options).fit(BARS)
    tuned = tune(SMALL, SPACE, storage=tmp_path / "t.sqlite", **options)
    slow = tuned.fitting(BARS)
    tuned.with_params().fit(BARS)
    while len(slow.trials) < 3:
        slow.step()
    assert len(slow.trials) == 9  # its own first round, then those of the other
    while not slow.step():
        pass
    assert list(slow.result.trials_) == list(whole.trials_)


def test_of_trials_that_were_stored_twice_or_late_the_first_ones_count_up_to_a_gap(tmp_path):
    fitting = tune(SMALL, SPACE, trials=4, cv=1, storage=tmp_path / "t.sqlite").fitting(BARS)
    fitting.step()
    while not all(attempt.done for attempt in fitting.round):
        fitting.step()
    asked, trials, store = [a.asked for a in fitting.round], [a.trial() for a in fitting.round], fitting.store
    store.add(asked[1:2], trials[1:2])
    assert store.trials() == []
    store.add(asked[:1], trials[:1])
    store.add(asked[3:], trials[3:])
    assert [one.trial.number for one in store.trials()] == [0, 1]
    store.add(asked, trials)
    assert [one.trial.number for one in store.trials()] == [0, 1, 2, 3]
    assert len(store.study.trials) == 4


def test_a_place_where_no_trials_can_be_kept_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match=r"No trials can be kept in .*file: .*Choose another folder"):
        storage_url(tmp_path / "file" / "t.sqlite")
    with pytest.raises(InputError, match="storage of trials cannot be opened: .*unable to open"):
        Store(f"sqlite:///{tmp_path / 'none' / 't.sqlite'}", "x")


def test_no_message_shows_the_password_of_a_database():
    broken = mock.patch("optuna.storages.RDBStorage", side_effect=ImportError("no driver"))
    with broken, pytest.raises(SetupError, match=re.escape("nosql://desk:***@db/tuning")) as caught:
        Store("nosql://desk:secret@db/tuning", "x")
    assert "secret" not in str(caught.value)
    with pytest.raises(InputError, match="database URL"):
        Store("postgresql//:://", "x")


# ---------------------------------------------------------------------------------------------- a database for a team


def _program(name):
    """A program of PostgreSQL, which Debian keeps off the PATH; None where it is not installed."""
    return shutil.which(name) or next(iter(sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"))), None)


@pytest.fixture(scope="module")
def postgres():
    """The URL of an empty database of a server of our own, which is gone afterwards."""
    initdb, pg_ctl = _program("initdb"), _program("pg_ctl")
    if initdb is None or pg_ctl is None:
        pytest.skip("needs PostgreSQL: initdb and pg_ctl")
    pytest.importorskip("psycopg")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="longshort-postgres-") as folder:
        user = "nobody" if getattr(os, "getuid", lambda: None)() == 0 else None  # the server refuses to run as root
        if user is not None:
            shutil.chown(folder, user)

        def run(*command):
            done = subprocess.run(command, user=user, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            assert done.returncode == 0, done.stderr.decode()

        data = f"{folder}/data"
        run(initdb, "-D", data, "-U", "desk", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
        options = f"-c unix_socket_directories='' -h 127.0.0.1 -p {port} -F"
        run(pg_ctl, "-D", data, "-w", "-l", f"{folder}/log", "-o", options, "start")
        yield f"postgresql://desk@127.0.0.1:{port}/postgres"
        run(pg_ctl, "-D", data, "-w", "-m", "fast", "stop")


IN_ANOTHER_PROCESS = """
import sys
import longshort as ls
from longshort import features as f, ledger
from longshort.data import synthetic
bars = synthetic.planted_signal(420, 2, seed=1)
small = ls.LSTM([f.log_return()], lookback=5, hidden=(4,), epochs=2, batch_size=64)
space = {"lookback": [5, 8], "lr": (1e-4, 1e-1, "log"), "dropout": (0.0, 0.5)}
options = dict(cv=2, batch=2, seed=int(sys.argv[2]), storage=sys.argv[1], threads=1)
tuned = ls.tune(small, space, trials=int(sys.argv[3]), **options).fit(bars)
print(ledger.digest_of([dict(t.params) | t.to_dict() for t in tuned.trials_]))
"""


def started(*arguments):
    command = [sys.executable, "-c", IN_ANOTHER_PROCESS, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def digest(tuned):
    return ledger.digest_of([dict(trial.params) | trial.to_dict() for trial in tuned.trials_])


def stored(url):
    """Numbers of the trials in the store, in the order in which they were added, by study."""
    storage = optuna.storages.RDBStorage(url)
    found = [
        [json.loads(trial.user_attrs["trial"])["number"] for trial in storage.get_all_trials(study._study_id)]
        for study in storage.get_all_studies()
    ]
    storage.remove_session()
    storage.engine.dispose()
    return found


@pytest.mark.full
def test_processes_that_tune_in_one_database_at_once_agree_and_keep_every_trial(postgres):
    alone = tune(SMALL, SPACE, trials=12, cv=2, batch=2, seed=1, storage="memory").fit(BARS)
    together = [started(postgres, 1, 12) for _ in range(2)]
    said = [one.communicate(timeout=300)[0].strip() for one in together]
    assert said == [digest(alone)] * 2
    assert [sorted(set(numbers)) for numbers in stored(postgres)] == [list(range(12))]
    again = tune(SMALL, SPACE, trials=12, cv=2, batch=2, seed=1, storage=postgres).fit(BARS)
    assert digest(again) == digest(alone)


@pytest.mark.full
def test_a_tuning_killed_beside_its_database_goes_on_where_it_was(postgres):
    options = dict(trials=16, cv=2, batch=2, seed=2)
    whole = tune(SMALL, SPACE, storage="memory", **options).fit(BARS)
    victim = started(postgres, 2, 16)
    before = [len(numbers) for numbers in stored(postgres)]
    while victim.poll() is None and max(map(len, stored(postgres)[len(before) :]), default=0) < 2:
        time.sleep(0.02)
    victim.kill()
    victim.communicate()
    assert 2 <= len(stored(postgres)[-1]) < 16
    resumed = tune(SMALL, SPACE, storage=postgres, **options).fit(BARS)
    assert list(resumed.trials_) == list(whole.trials_)
    for name, array in weights(whole).items():
        np.testing.assert_array_equal(array, weights(resumed)[name])


def test_in_a_project_trials_are_kept_there_and_every_one_is_recorded(tmp_path):
    with ledger.project(tmp_path) as book:
        tuned = tune(SMALL, SPACE, trials=4, cv=1)
        study = walk_forward(tuned, BARS, WalkForward(300, 60), baselines=[], seeds=1)
        assert (tmp_path / "tuning.sqlite").exists()
        assert len(book.records("inner")) == 4 * len(study.folds)  # they chose before each test: nothing to deflate
        assert book.trials() == 1 == study.trials
        assert {record.facts["what"] for record in book.records("inner")} == {"tune"}
        walk_forward(tuned, BARS, WalkForward(300, 60), baselines=[], seeds=1)
        assert len(book.records("inner")) == 4 * len(study.folds)


# ------------------------------------------------------------------------------------------------------------ as others


def test_it_saves_streams_and_forecasts_like_the_forecaster_it_chose(tmp_path):
    tuned = tune(SMALL, SPACE, trials=3, cv=1).fit(BARS)
    tuned.save(tmp_path / "tuned")
    loaded = Tuned.load(tmp_path / "tuned")
    np.testing.assert_array_equal(loaded.predict(BARS).mean, tuned.predict(BARS).mean)
    assert loaded.best_params_ == tuned.best_params_
    assert list(loaded.trials_) == list(tuned.trials_)
    assert loaded.luck_ == tuned.luck_
    stream = tuned.stream(BARS.until(int(BARS.time[399])))
    assert type(stream) is type(tuned.best_.stream())
    with pytest.raises(NotFitted, match="Nothing has been tuned"):
        tune(SMALL, SPACE).predict(BARS)


def test_a_study_remembers_what_was_chosen_in_each_fold(tmp_path):
    study = walk_forward(tune(SMALL, SPACE, trials=3, cv=1), BARS, WalkForward(300, 60), baselines=[], seeds=2)
    assert [set(choice) for choice in study.choices] == [{"params", "score", "luck"}] * len(study.folds)
    assert "lookback chosen by fold: " in repr(study)
    assert study.name == "tuned LSTM"
    assert len(study.seeds) == 2
    study.save(tmp_path / "study")
    loaded = Study.load(tmp_path / "study")
    assert loaded.choices == study.choices
    assert loaded.forecaster.to_dict() == study.forecaster.to_dict()


def test_an_ensemble_of_tuned_forecasters_tunes_each_from_its_own_seed():
    ensemble = Ensemble(tune(SMALL, SPACE, trials=2, cv=1), members=2).fit(BARS)
    one, two = ensemble.members_.values()
    assert (one.seed, two.seed) == (0, 1)
    assert (one.best_.seed, two.best_.seed) == (0, 1)
    assert one.trials_[1].params != two.trials_[1].params


def test_parameters_are_read_and_changed_as_in_sklearn():
    tuned = tune(SMALL, SPACE)
    assert tuned.get_params()["forecaster__lookback"] == 5
    assert tuned.with_params(forecaster__lookback=8, trials=3).forecaster.lookback == 8
    assert tuned.forecaster.lookback == 5
    with pytest.raises(UnknownName, match="Did you mean 'trials'"):
        tuned.set_params(trails=3)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"sampler": "tpee"}, UnknownName, "Did you mean 'tpe'"),
        ({"score": "mase"}, UnknownName, "Did you mean 'mse'"),
        ({"trials": 0}, InputError, "trials must be a whole number of at least 1"),
        ({"cv": 0}, InputError, "cv must be"),
        ({"seeds": 0}, InputError, "seeds must be"),
        ({"sampler": "cma", "space": {"lookback": [5, 8]}}, InputError, "at least two arguments"),
        ({"sampler": "cma", "space": {"loss": ["mse", "mae"], "lr": (0.1, 0.2)}}, InputError, "without an order"),
        ({"forecaster": ls.LSTM}, InputError, "must be a forecaster"),
    ],
)
def test_arguments_that_cannot_be_are_refused_at_once(options, error, says):
    with pytest.raises(error, match=says):
        tune(**({"forecaster": SMALL, "space": SPACE} | options))


def test_too_few_rows_for_the_inner_folds_are_refused():
    with pytest.raises(NotEnoughData, match="3 inner folds need at least 40 decision rows"):
        tune(SMALL, SPACE).fit(BARS.until(int(BARS.time[30])))


@pytest.mark.parametrize("loss", ["quantile", "mae", "gaussian", "rank"])
def test_the_score_fits_the_loss(loss):
    model = SMALL.with_params(loss=loss, engine="auto")
    if loss == "rank":
        pytest.importorskip("torch")
    tuned = tune(model, {"lr": (1e-3, 1e-1, "log")}, trials=2, cv=1).fit(BARS)
    assert score_of(model, "auto") == {"quantile": "pinball", "mae": "mae", "gaussian": "mse", "rank": "ic"}[loss]
    assert np.isfinite(tuned.best_score_)


def test_prices_are_judged_relative_to_the_last_close():
    ridge = Ridge([f.log_return()], f.forward_close(1))
    trial = tune(ridge, {"lookback": [1, 5]}, trials=2, cv=1).fit(BARS).trials_[0]
    assert abs(trial.score) < 0.2


# ----------------------------------------------------------------------------------------------------------------- luck


class Noise(Oracle):
    """Forecasts noise of its own for every value of `weight`."""

    def predict(self, bars, start=None):
        first = int(np.searchsorted(bars.time, start))
        noise = 0.002 * np.random.default_rng(int(self.weight)).normal(size=(len(self.bars), len(bars.symbols)))
        return Forecast(bars.time[first:], bars.symbols, noise[first : len(bars)], target=self.target.info)


def test_the_best_of_useless_trials_is_what_luck_gives_and_a_real_one_is_not():
    noise = tune(Noise(BARS), {"weight": (0, 10_000)}, trials=40, score="ic", prune=False, sampler="random").fit(BARS)
    assert noise.luck_.p > 0.05
    assert noise.luck_.best == pytest.approx(noise.best_score_)
    assert 0.5 * noise.luck_.best < noise.luck_.expected < 2 * noise.luck_.best
    real = tune(Oracle(BARS), {"weight": (0.1, 0.3)}, trials=5).fit(BARS)
    assert real.luck_.p < 0.01
    assert "luck alone gives" in repr(real)


@pytest.mark.parametrize("score", ["mse", "mae"])
def test_price_forecasts_gain_by_relative_errors(score):
    """Squared errors of price levels would let the dearest years decide: errors are fractions of the last close."""
    bars = synthetic.random_walk(400, 1, seed=2, drift=0.004)
    target, cv = f.forward_close(), WalkForward(200, 90)
    ends, close = np.asarray(target.label_end(bars)), np.asarray(bars.adjusted("close"))
    folds = cv.split(bars.time, bars.dates, np.isfinite(target.compute(bars))[:, 0], ends)
    judge = Gains(score, target, bars, folds, {"last": close})
    rows = folds.rows[1]
    loss = {"mse": np.square, "mae": np.abs}[score]
    moved = {k: loss(close[r + 1] / close[r] - 1.0)[:, 0] for k, r in enumerate(folds.rows)}
    found = judge(1, 1.01 * close[rows], {})
    expected = moved[1] - loss(1.01 - close[rows + 1] / close[rows])[:, 0]
    np.testing.assert_allclose(found, expected / np.concatenate(list(moved.values())).mean(), rtol=1e-9)
