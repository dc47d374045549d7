"""The whole way, from bars to verdict, on markets whose truth is known."""

import numpy as np
import pytest

import longshort as ls
from longshort.data import synthetic
from longshort.features import field, log_return


def study_of(bars, **changes):
    inputs = [log_return(), log_return().rolling_std(10), field("volume").log() - field("volume").log().lag(1)]
    shape = {"lookback": 20, "hidden": (16,), "epochs": 6, "patience": 2}
    model = ls.LSTM(inputs, **(shape | changes))
    return ls.walk_forward(model, bars, ls.WalkForward(train=300, test=100), baselines=[], seeds=1)


def test_edge_is_claimed_on_at_most_16_of_200_random_walks():
    """Nominal 5 % of 200 is 10; 16 is the 97.5 % quantile of the binomial."""
    claimed = sum(study_of(synthetic.random_walk(640, ("A",), seed=s)).verdict().exit_code == 0 for s in range(200))
    assert claimed <= 16


@pytest.mark.full
def test_edge_is_claimed_on_at_most_2_of_10_random_walks_by_the_default_net():
    def judged(seed):
        bars = synthetic.random_walk(1500, ("A",), seed=1000 + seed)
        model = ls.LSTM([log_return(), log_return().rolling_std(20)])
        return ls.walk_forward(model, bars, ls.WalkForward(train=700, test=200), seeds=1).verdict().exit_code

    assert sum(judged(seed) == 0 for seed in range(10)) <= 2


def test_a_planted_signal_is_an_edge():
    bars = synthetic.planted_signal(900, ceiling_correlation=0.70, seed=2)
    study = study_of(bars, epochs=15)
    verdict = study.verdict()
    assert verdict.exit_code == 0, verdict.sentence
    known = np.isfinite(study.actual)
    assert np.corrcoef(study.forecast.mean[known], study.actual[known])[0, 1] > 0.5


def test_appending_bars_changes_no_forecast_ever_made():
    bars = synthetic.garch(720, ("A", "B"), seed=3)
    shorter = study_of(bars.until(int(bars.time[599])), epochs=2)
    longer = study_of(bars, epochs=2)
    then, now = shorter.records(), longer.records()
    assert len(then) < len(now)
    assert now[: len(then)] == then


def test_threads_change_no_byte():
    bars = synthetic.garch(560, ("A",), seed=4)
    model = ls.LSTM([log_return()], lookback=10, hidden=(8,), epochs=3, dropout=0.2)
    cv = ls.WalkForward(train=200, test=100)
    one, two = (ls.walk_forward(model, bars, cv, threads=n) for n in (1, 2))
    assert one.forecast.digest == two.forecast.digest
