"""The same study on threads and on Ray's workers."""

import os
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest

import longshort as ls
from longshort import features as f
from longshort import ledger
from longshort.data import synthetic
from longshort.errors import SetupError, TrainingError, UnknownName
from longshort.evaluation import WalkForward, walk_forward
from longshort.evaluation.scale import connected_ray
from longshort.forecast import Forecast

BARS = synthetic.planted_signal(420, 2, seed=1)
SMALL = ls.LSTM([f.log_return()], lookback=5, hidden=(4,), epochs=2, batch_size=64)
CV = WalkForward(200, 80)


@pytest.fixture(scope="module")
def ray():
    pytest.importorskip("ray")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield ray
    ray.shutdown()


class Fragile:
    """Says nothing new, but ends its process on the first `deaths` fits of the fold that begins at `start`."""

    def __init__(self, folder, deaths=1, start=None, fails=False):
        self.folder, self.deaths, self.start, self.fails = str(folder), deaths, start, fails
        self.target = f.forward_log_return(1)

    def fit(self, bars, start=None):
        if start == self.start:
            if self.fails:
                raise TrainingError("the loss left the finite numbers")
            died = len(list(Path(self.folder).iterdir()))
            if died < self.deaths:
                (Path(self.folder) / str(died)).touch()
                os._exit(1)
        return self

    def predict(self, bars, start=None):
        first = int(np.searchsorted(bars.time, start))
        values = np.asarray(bars["close"])[first:] * 1e-5
        return Forecast(bars.time[first:], bars.symbols, values, target=self.target.info)

    def to_dict(self):
        return {"kind": "Fragile"}


def second_fold_start():
    return walk_forward(Fragile("."), BARS, CV, baselines=[]).folds[1].train_start


@pytest.mark.full
def test_a_study_on_ray_has_the_bytes_of_a_local_one(ray):
    seen = []
    local = walk_forward(SMALL, BARS, CV, seeds=2)
    spread = walk_forward(SMALL, BARS, CV, seeds=2, parallel="ray", progress=seen.append)
    assert spread.forecast.digest == local.forecast.digest
    assert spread.seeds.tobytes() == local.seeds.tobytes()
    assert {n: v.tobytes() for n, v in spread.challengers.items()} == {
        n: v.tobytes() for n, v in local.challengers.items()
    }
    assert [[h.to_dict() for h in fold] for fold in spread.histories] == [
        [h.to_dict() for h in fold] for fold in local.histories
    ]
    assert seen[-1] == 1.0
    assert seen == sorted(seen)


@pytest.mark.full
def test_a_tuned_study_on_ray_chooses_the_same_and_counts_the_same(ray, tmp_path):
    pytest.importorskip("optuna")
    tuned = ls.tune(SMALL, {"lookback": [5, 8], "lr": (1e-3, 1e-1, "log")}, trials=4, cv=1)
    studies = []
    for name, parallel in (("a", None), ("b", "ray")):
        with ledger.project(tmp_path / name) as book:
            studies.append(walk_forward(tuned, BARS, CV, baselines=[], seeds=1, parallel=parallel))
            inner = 4 * len(studies[0].folds)
            assert (len(book.records("inner")), book.trials()) == (inner, 1)
            assert book.verify() == inner + 2  # every score series is here
            assert (tmp_path / name / "tuning.sqlite").exists()
    assert studies[0].choices == studies[1].choices
    assert studies[0].forecast.digest == studies[1].forecast.digest


@pytest.mark.full
def test_trials_spread_over_ray_are_those_of_a_local_fit(ray):
    pytest.importorskip("optuna")
    space = {"lookback": [5, 8], "lr": (1e-3, 1e-1, "log")}
    local = ls.tune(SMALL, space, trials=6, batch=3, cv=2).fit(BARS)
    spread = ls.tune(SMALL, space, trials=6, batch=3, cv=2, parallel="ray").fit(BARS)
    assert list(spread.trials_) == list(local.trials_)
    np.testing.assert_array_equal(spread.predict(BARS).mean, local.predict(BARS).mean)


@pytest.mark.full
def test_a_killed_worker_is_replaced(ray, tmp_path):
    (tmp_path / "deaths").mkdir()
    fragile = Fragile(tmp_path / "deaths", deaths=2, start=second_fold_start())
    study = walk_forward(fragile, BARS, CV, baselines=[], parallel="ray")
    assert len(list((tmp_path / "deaths").iterdir())) == 2
    assert not any(fold.failure for fold in study.folds)
    assert study.forecast.digest == walk_forward(Fragile("."), BARS, CV, baselines=[]).forecast.digest


@pytest.mark.full
def test_a_job_that_kills_every_worker_fails_alone(ray, tmp_path, monkeypatch):
    monkeypatch.setattr("longshort.evaluation.scale.CHUNKS_A_SLOT", 1)  # all folds in two chunks
    fragile = Fragile(tmp_path, deaths=99, start=second_fold_start())
    study = walk_forward(fragile, BARS, WalkForward(200, 40), baselines=[], parallel="ray")
    assert 4 <= len(list(tmp_path.iterdir())) <= 8
    (failure,) = [fold.failure for fold in study.folds if fold.failure]
    assert "3 retries did not help" in failure


@pytest.mark.full
def test_an_error_on_a_worker_is_the_error_of_its_fold(ray):
    fragile = Fragile(".", start=second_fold_start(), fails=True)
    study = walk_forward(fragile, BARS, CV, baselines=[], parallel="ray")
    assert [fold.failure for fold in study.folds] == [None, "TrainingError: the loss left the finite numbers", None]


def test_bars_read_from_shared_memory_are_not_copied():
    buffers = []
    text = pickle.dumps(BARS, protocol=5, buffer_callback=buffers.append)
    again = pickle.loads(text, buffers=[bytes(b) for b in buffers])
    assert again == BARS
    assert not again["close"].flags.owndata
    assert not again["close"].flags.writeable
    cut = again.until(int(BARS.time[100]))
    assert np.shares_memory(cut["close"], again["close"])


def test_an_unknown_way_to_spread_work_is_refused():
    with pytest.raises(UnknownName, match="parallel was 'rya'. Did you mean 'ray'"):
        walk_forward(SMALL, BARS, CV, parallel="rya")


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SetupError, match=r"pip install 'longshort\[ray\]'"):
        connected_ray()
