from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as hs

import longshort as ls
from longshort import ledger
from longshort.bars import State
from longshort.data import synthetic
from longshort.errors import InputError, NotEnoughData
from longshort.evaluation.combinatorial import CombinatorialPurged, _Job, cross_validate, without
from longshort.features import field, forward_log_return, log_return
from longshort.features.windows import Windows, broken_cells
from longshort.models import HistoricalMean, Ridge


@pytest.fixture(autouse=True)
def own_ledger(tmp_path):
    with ledger.project(tmp_path / "project") as book:
        yield book


@pytest.mark.parametrize(("groups", "tested", "trainings", "paths"), [(6, 2, 15, 5), (10, 2, 45, 9), (4, 1, 4, 1)])
def test_paths_are_counted_as_in_the_book(groups, tested, trainings, paths):
    """Lopez de Prado (2018), section 12.3: phi[6, 2] = 5 and phi[10, 2] = 9."""
    cv = CombinatorialPurged(groups, tested)
    assert (cv.trainings, cv.paths) == (trainings, paths)
    assert cv.paths == comb(groups, tested) * tested // groups
    counted = np.bincount(np.array(cv.choices()).ravel(), minlength=groups)
    assert set(counted) == {paths}


@settings(max_examples=300, deadline=None)
@given(
    n=hs.integers(60, 240),
    groups=hs.integers(2, 7),
    tested=hs.integers(1, 3),
    lookback=hs.integers(1, 8),
    lag=hs.integers(1, 6),
    horizon=hs.integers(1, 7),
    embargo=hs.integers(0, 5),
    pick=hs.integers(0, 1000),
)
def test_no_training_sample_overlaps_a_test_sample(n, groups, tested, lookback, lag, horizon, embargo, pick):
    if tested >= groups:
        tested = groups - 1
    bars = synthetic.random_walk(n, seed=1)
    cv, program, target = CombinatorialPurged(groups, tested, embargo), log_return(lag), forward_log_return(horizon)
    full = Windows.over(np.ascontiguousarray(program.compute(bars)[..., None]), lookback)
    decisions = np.zeros(n, bool)
    decisions[full.rows] = True
    decisions[n - horizon :] = False
    parts = cv.split(decisions)
    choice = cv.choices()[pick % cv.trainings]
    before = lookback + lag - 1
    seen = without(bars, [parts[g] for g in choice], before, horizon + embargo)
    outcome = target.compute(seen)[:, 0]
    windows = Windows.over(np.ascontiguousarray(program.compute(seen)[..., None]), lookback, broken_cells(seen))
    learned = windows.rows[np.isfinite(outcome[windows.rows])]
    for g in choice:
        first, last = parts[g][0] - before, parts[g][-1] + horizon
        for row in learned:
            assert row + horizon < first or row - before > last + embargo
    untouched = np.setdiff1d(np.flatnonzero(decisions), np.concatenate([parts[g] for g in choice]))
    far = [
        r
        for r in untouched
        if all(r + horizon < parts[g][0] - before or r - before > parts[g][-1] + horizon + embargo for g in choice)
    ]
    assert set(far) == set(learned)  # and nothing more is thrown away than has to be


def test_a_planted_signal_is_found_on_every_path_and_noise_on_none():
    inputs, target, cv = [field("volume").log()], forward_log_return(), CombinatorialPurged(5, 2)
    found = cross_validate(Ridge(inputs, target, 1), synthetic.planted_signal(900, 2, seed=1), cv)
    assert found.forecasts.shape == (4, len(found.rows), 2)
    assert (found.scores()["ic"] > 0.6).all()
    assert (found.scores()["sharpe"] > 5).all()
    noise = cross_validate(Ridge(inputs, target, 1), synthetic.random_walk(900, 2, seed=2), cv)
    assert (noise.scores()["skill"] < 0.01).all()
    assert "4 paths of ridge" in repr(noise)


def test_a_forecast_is_that_of_a_model_trained_without_its_group():
    bars = synthetic.random_walk(400, seed=3)
    cv = CombinatorialPurged(4, 1)
    study = cross_validate(HistoricalMean(forward_log_return()), bars, cv)
    outcome = forward_log_return().compute(bars)[:, 0]
    parts = np.array_split(np.arange(399), 4)
    for rows in parts:
        hidden = np.zeros(400, bool)
        hidden[rows[0] : rows[-1] + 2] = True
        kept = ~hidden & np.isfinite(outcome)
        kept[:-1] &= ~hidden[1:]
        expected = outcome[kept].mean()
        np.testing.assert_allclose(study.forecasts[0, rows[0] : rows[-1] + 1, 0], expected, rtol=1e-12)


def test_networks_train_around_the_holes_and_threads_change_nothing():
    bars = synthetic.random_walk(500, 2, seed=4)
    model = ls.LSTM([log_return()], lookback=5, hidden=(4,), epochs=2, patience=1)
    cv = CombinatorialPurged(3, 1)
    one = cross_validate(model, bars, cv, seeds=2, threads=1)
    two = cross_validate(model, bars, cv, seeds=2, threads=2)
    assert one.forecasts.tobytes() == two.forecasts.tobytes()
    assert np.isfinite(one.forecasts).all()
    assert (one.trials, two.trials) == (1, 1)


def test_what_is_hidden_is_missing_and_actions_beside_it_stay():
    bars = ls.load_bars("AAPL", start="2014-01-01", end="2014-12-31", source="sample")
    seen = without(bars, [np.arange(100, 120)], 5, 3)
    assert (np.asarray(seen.state)[95:123] == State.MISSING).all()
    assert np.isfinite(seen["close"][94:95]).all()
    assert np.isfinite(seen["close"][123:]).all()
    assert np.array_equal(seen.split, bars.split)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: CombinatorialPurged(1, 1), InputError, "groups must be"),
        (lambda: CombinatorialPurged(4, 4), InputError, "tested must be below groups"),
        (lambda: CombinatorialPurged(4, 0), InputError, "tested must be a whole number"),
        (lambda: CombinatorialPurged(4, 1, -1), InputError, "embargo must be"),
        (lambda: CombinatorialPurged(9, 2).split(np.ones(10, bool)), NotEnoughData, "at least 18 decision rows"),
        (lambda: cross_validate(Ridge, synthetic.random_walk(100)), InputError, "forecaster must be an object"),
    ],
)
def test_bad_arguments_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(("horizon", "embargo"), [(1, 0), (1, 4), (5, 0), (5, 3)])
def test_nothing_is_learned_from_the_bars_of_the_embargo(horizon, embargo):
    bars = synthetic.random_walk(400, seed=1)
    model = Ridge([log_return()], forward_log_return(horizon), lookback=1)
    cv = CombinatorialPurged(groups=4, tested=1, embargo=embargo)
    groups = cv.split(np.ones(len(bars), bool))
    seen = _Job(model, bars, groups, (1,), cv, 1).seen
    last = int(groups[1][-1]) + horizon + embargo  # the end of the last test label, and the embargo
    assert (seen.state[groups[1][0] : last + 1] == State.MISSING).all()
    assert (seen.state[last + 1 :] == State.OK).all()
