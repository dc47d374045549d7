"""Covariance forecasters: known answers, the past only, symbols by name, positive definite whatever comes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import longshort as ls
from longshort.data import synthetic
from longshort.errors import ArtifactError, DataError, InputError, NotEnoughData, NotFitted, UnknownName
from longshort.features import forward_close, forward_log_return, forward_return
from longshort.forecast import Forecaster
from longshort.models import DCC, EWMA, ConstantCorrelation, LedoitWolf, SampleCovariance
from longshort.models.covariances import (
    Outcomes,
    constant_correlation,
    correlation_of,
    exponential_means,
    ledoit_wolf,
)

TARGET = forward_log_return()
BARS = synthetic.correlation_switch(600, ["D", "A", "C", "B"], seed=3)
ALL = [SampleCovariance(TARGET, 60), ConstantCorrelation(TARGET, 60), LedoitWolf(TARGET, 60), EWMA(TARGET), DCC(TARGET)]
IDS = [type(model).__name__ for model in ALL]


def until(row: int):
    return BARS.until(int(BARS.time[row]))


@pytest.mark.parametrize("model", ALL, ids=IDS)
def test_row_t_equals_the_last_row_of_until_t(model):
    model.fit(until(400))
    whole = model.predict(BARS)
    assert isinstance(model, Forecaster)
    assert whole.covariance.shape == (600, 4, 4)
    first = model.warmup
    assert np.isnan(whole.covariance[:first]).all()
    assert np.isfinite(whole.covariance[first:]).all()
    np.testing.assert_allclose(whole.std[first:] ** 2, np.einsum("tii->ti", whole.covariance[first:]))
    for row in (first, 400, 401, 599):
        part = model.predict(until(row))
        np.testing.assert_array_equal(part.covariance[-1], whole.covariance[row])
        np.testing.assert_array_equal(part.mean[-1], whole.mean[row])
        np.testing.assert_array_equal(
            model.predict(until(row), start=int(BARS.time[row])).covariance[0], whole.covariance[row]
        )


@pytest.mark.parametrize("model", ALL, ids=IDS)
def test_the_order_of_the_columns_changes_no_bit(model):
    order = [2, 0, 3, 1]
    shuffled = BARS.select([BARS.symbols[i] for i in order])
    whole = model.fit(BARS).predict(BARS)
    other = model.with_params().fit(shuffled).predict(shuffled)
    np.testing.assert_array_equal(other.covariance, whole.covariance[:, order][:, :, order])
    np.testing.assert_array_equal(other.mean, whole.mean[:, order])


@pytest.mark.parametrize("model", ALL, ids=IDS)
def test_saving_changes_no_bit(model, tmp_path):
    model.fit(BARS).save(tmp_path / "m")
    np.testing.assert_array_equal(
        type(model).load(tmp_path / "m").predict(BARS).covariance, model.predict(BARS).covariance
    )
    other = EWMA if not isinstance(model, EWMA) else DCC
    with pytest.raises(ArtifactError, match=f"is no {other.__name__}"):
        other.load(tmp_path / "m")


def test_a_walk_forward_keeps_the_covariances():
    study = ls.walk_forward(LedoitWolf(TARGET, 60), BARS, ls.WalkForward(train=200, test=100), baselines=[], seeds=2)
    assert study.forecast.covariance.shape == (len(study), 4, 4)
    direct = LedoitWolf(TARGET, 60).fit(BARS).predict(BARS)
    rows = np.searchsorted(BARS.time, study.time)
    np.testing.assert_array_equal(study.forecast.covariance, direct.covariance[rows])


def test_sample_covariance_is_that_of_numpy():
    known = Outcomes(TARGET, BARS, BARS.symbols)
    said = SampleCovariance(TARGET, 60).fit(BARS).predict(BARS).covariance[-1]
    np.testing.assert_allclose(said, np.cov(known.values[-60:].T), rtol=3e-6, atol=1e-9)


def test_only_outcomes_that_have_ended_are_known():
    target = forward_return(5)
    outcomes = Outcomes(target, BARS, BARS.symbols)
    assert outcomes.known[:7].tolist() == [0, 0, 0, 0, 0, 1, 2]
    np.testing.assert_array_equal(outcomes.values, target.compute(BARS)[:-5])


def test_ewma_by_hand():
    rows = np.array([[1.0, 2.0], [0.0, 1.0], [3.0, 0.0]])
    weights = np.array([0.25, 0.5, 1.0]) / 1.75
    expected = np.einsum("t,ti,tj->ij", weights, rows, rows)
    np.testing.assert_allclose(exponential_means(rows, np.array([3]), 0.5)[0], expected)


def test_riskmetrics_needs_75_outcomes_at_its_decay():
    assert EWMA(TARGET, 0.94).fewest == 75  # J. P. Morgan/Reuters (1996), table 5.7: 74 carry 99 %, rounded down


def test_one_correlation_for_all_pairs():
    said = correlation_of(constant_correlation(np.array([[4.0, 1.0, 0.0], [1.0, 1.0, 0.4], [0.0, 0.4, 1.0]])))
    np.testing.assert_allclose(said[np.triu_indices(3, 1)], (0.5 + 0.0 + 0.4) / 3)


@pytest.mark.full
def test_ledoit_wolf_is_that_of_scikit_learn():
    sklearn = pytest.importorskip("sklearn.covariance")
    rng = np.random.default_rng(0)
    for n, width in ((30, 5), (10, 20), (300, 40)):
        sample = rng.standard_normal((n, width)) @ rng.standard_normal((width, width))
        np.testing.assert_allclose(
            ledoit_wolf(sample), sklearn.LedoitWolf().fit(sample).covariance_, rtol=1e-9, atol=1e-9
        )


def test_dcc_finds_the_numbers_of_a_market_made_by_it():
    """Simulated with GARCH(0.05, 0.90) and DCC(0.05, 0.93); Engle (2002) reports errors of this size."""
    rng, n, width = np.random.default_rng(1), 6000, 4
    long_run = 0.4 + 0.6 * np.eye(width)
    q, h = long_run.copy(), np.ones(width)
    returns = np.empty((n, width))
    for t in range(n):
        z = np.linalg.cholesky(correlation_of(q)) @ rng.standard_normal(width)
        returns[t] = np.sqrt(h) * z
        h = 0.05 + 0.05 * returns[t] ** 2 + 0.90 * h
        q = 0.02 * long_run + 0.05 * np.outer(z, z) + 0.93 * q
    model = DCC(TARGET).fit(synthetic.from_log_returns(0.01 * returns, width))
    np.testing.assert_allclose(model.learned_["dcc"], [0.05, 0.93], atol=0.02)
    np.testing.assert_allclose(model.learned_["garch"].mean(axis=0), [0.05, 0.90], atol=0.02)


def test_after_a_switch_the_correlations_of_short_memory_are_right_first():
    rng = np.random.default_rng(0)
    common = np.r_[np.full(500, 0.1), np.full(40, 0.9)][:, None]
    moves = np.sqrt(common) * rng.standard_normal((540, 1)) + np.sqrt(1 - common) * rng.standard_normal((540, 6))
    bars = synthetic.from_log_returns(0.01 * moves, 6)
    last = {}
    for model in (EWMA(TARGET), DCC(TARGET), LedoitWolf(TARGET, 252)):
        said = model.fit(bars.until(int(bars.time[490]))).predict(bars, start=int(bars.time[-1]))
        last[type(model).__name__] = correlation_of(said.covariance[0])[np.triu_indices(6, 1)].mean()
    assert last["EWMA"] > 0.7
    assert last["LedoitWolf"] < 0.4


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    width=st.integers(2, 12),
    model=st.sampled_from([SampleCovariance, ConstantCorrelation, LedoitWolf]),
    still=st.booleans(),
)
def test_always_positive_definite(seed, width, model, still):
    """Fewer outcomes than symbols, symbols that move as one, symbols that stand still for longer than the window."""
    rng = np.random.default_rng(seed)
    moves = 0.01 * rng.standard_normal((60, width)) * rng.lognormal(0, 1, width)
    moves[:, -1] = moves[:, 0]
    if still:
        moves[20:, 0] = 0.0
    bars = synthetic.from_log_returns(moves, width)
    said = model(TARGET, 8).fit(bars).predict(bars).covariance[20:]
    for covariance in said:
        np.linalg.cholesky(covariance)
        np.testing.assert_array_equal(covariance, covariance.T)


def test_a_missing_symbol_has_no_covariance_and_the_others_do():
    close = BARS["close"].copy()
    close[450, 1] = np.nan
    bars = ls.Bars.from_arrays(BARS.time, BARS.symbols, {"close": close})
    said = LedoitWolf(TARGET, 60).fit(bars).predict(bars).covariance
    assert np.isnan(said[450, 1]).all()
    assert np.isnan(said[450, :, 1]).all()
    assert np.isfinite(said[450][np.ix_([0, 2, 3], [0, 2, 3])]).all()
    assert np.isfinite(said[451:]).all()


def test_mistakes_are_refused_with_what_to_do():
    with pytest.raises(InputError, match="covariances of returns, and the target is a close"):
        LedoitWolf(forward_close())
    with pytest.raises(InputError, match="window must be"):
        LedoitWolf(TARGET, 1)
    with pytest.raises(InputError, match="decay must lie"):
        EWMA(TARGET, 1.0)
    with pytest.raises(NotFitted, match=r"fit\(bars\)"):
        EWMA(TARGET).predict(BARS)
    with pytest.raises(NotEnoughData, match="at least 75"):
        EWMA(TARGET).fit(until(50))
    with pytest.raises(UnknownName, match="lacks A"):
        EWMA(TARGET).fit(BARS).predict(BARS.select(["B", "C", "D"]))
    moves = np.zeros((200, 2))
    moves[:, 0] = 0.01 * np.random.default_rng(0).standard_normal(200)
    with pytest.raises(DataError, match="S001 never moved"):
        EWMA(TARGET).fit(synthetic.from_log_returns(moves, 2))
