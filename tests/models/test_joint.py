"""The joint LSTM: positive definite, the past only, symbols by name, better where correlations switch."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import longshort as ls
from longshort.data import synthetic
from longshort.errors import ArtifactError, InputError, NotEnoughData, NotFitted, UnknownName
from longshort.features import field, forward_close, forward_log_return, forward_return
from longshort.features.windows import Scaling
from longshort.forecast import FitsInSteps, Forecaster
from longshort.models import JointLSTM, LedoitWolf
from longshort.models.covariances import exponential_means
from longshort.models.joint_state import Base, Panel, experts_of, negative_log_density

BARS = synthetic.correlation_switch(500, ["D", "A", "C", "B"], seed=3)
SMALL = dict(hidden=(4,), epochs=3, lookback=8, memories=(10, 40))


def base(n: int, memories: int, seed: int = 0) -> Base:
    rng = np.random.default_rng(seed)
    scaling = Scaling("standard", np.zeros(1), np.ones(1))
    return Base(rng.normal(size=n), rng.lognormal(size=n), rng.normal(size=memories + 2), 0.1, scaling)


# ---------------------------------------------------------------------------------------------- what outputs mean


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(2, 9),
    factors=st.integers(0, 3),
    size=st.sampled_from([0.0, 1.0, 10.0, 50.0]),
    data=st.data(),
)
def test_whatever_the_network_says_the_covariance_is_positive_definite(seed, n, factors, size, data):
    """Fewer outcomes than symbols, outcomes of zero and any raw outputs."""
    rng = np.random.default_rng(seed)
    z = data.draw(arrays(np.float64, (6, n), elements=st.floats(-50, 50)))
    counts = np.arange(3, 7)
    means = np.stack([exponential_means(z, counts, d) for d in (0.5, 0.9)], axis=1) + 1e-4 * np.eye(n)
    raw = size * rng.normal(size=(4, n + 4 + 1 + n * factors))
    raw[:, n + 4] = np.clip(raw[:, n + 4], -8, 8)  # a level beyond is no level
    _, covariances = base(n, 2, seed).said(raw, means, factors)
    for covariance in covariances:
        np.testing.assert_allclose(covariance, covariance.T, rtol=1e-12)
        assert np.linalg.eigvalsh(covariance / np.sqrt(np.outer(*[np.diag(covariance)] * 2))).min() > 0


def test_saying_nothing_leaves_the_fixed_mixture_in_units_of_the_target():
    rng = np.random.default_rng(0)
    means = np.stack([exponential_means(rng.normal(size=(50, 3)), np.array([50]), d) for d in (0.8, 0.95)], axis=1)
    fixed = base(3, 2)
    mean, covariance = fixed.said(np.zeros((1, 3 + 4 + 1 + 3)), means, factors=1)
    blend = np.exp(0.2) * np.einsum("e,eij->ij", fixed.shares, experts_of(means)[0])
    np.testing.assert_allclose(covariance[0], blend * np.outer(fixed.scale, fixed.scale))
    np.testing.assert_array_equal(mean[0], fixed.mean)
    assert fixed.shares.sum() == pytest.approx(1)


def test_loadings_add_to_the_covariance_in_units_of_the_deviations():
    fixed, means = base(2, 1), np.eye(2)[None, None]
    quiet, loud = np.zeros((1, 2 + 3 + 1 + 4)), np.zeros((1, 2 + 3 + 1 + 4))
    loud[0, 6:] = [1.0, 0.0, 2.0, 3.0]  # symbol 0 loads (1, 0), symbol 1 loads (2, 3)
    added = fixed.said(loud, means, 2)[1] - fixed.said(quiet, means, 2)[1]
    np.testing.assert_allclose(added[0], np.array([[1.0, 2.0], [2.0, 13.0]]) * np.outer(fixed.scale, fixed.scale))


def test_the_log_density_is_that_of_scipy():
    from scipy.stats import multivariate_normal

    rng = np.random.default_rng(0)
    mix = rng.normal(size=(3, 3))
    covariance, errors = mix @ mix.T, rng.normal(size=3)
    expected = -multivariate_normal(cov=covariance).logpdf(errors) - 1.5 * np.log(2 * np.pi)
    assert negative_log_density(covariance, errors) == pytest.approx(expected)


@pytest.mark.full
def test_the_loss_is_the_density_of_what_is_said_and_its_gradient_is_right():
    torch = pytest.importorskip("torch")
    from longshort.models.joint_likelihood import JointLikelihood

    rng = np.random.default_rng(0)
    z = rng.normal(size=(40, 3))
    means = np.stack([exponential_means(z, np.arange(20, 30), d) for d in (0.8, 0.95)], axis=1)
    shares, raw = rng.normal(size=4), 0.3 * rng.normal(size=(5, 3 + 4 + 1 + 6))
    targets = np.column_stack([rng.normal(size=(5, 3)), [0, 3, 3, 7, 9]])
    loss = JointLikelihood(means, 2, shares, 0.1)
    fixed = Base(np.zeros(3), np.ones(3), shares, 0.1, Scaling("standard", np.zeros(1), np.ones(1)))
    mean, covariance = fixed.said(raw, means[targets[:, 3].astype(int)], 2)
    expected = negative_log_density(covariance, targets[:, :3] - mean).mean() / 3
    outputs = torch.tensor(raw, requires_grad=True)
    assert loss(outputs, torch.tensor(targets)).item() == pytest.approx(expected, rel=1e-12)
    assert torch.autograd.gradcheck(lambda o: loss(o, torch.tensor(targets)), outputs)


# ------------------------------------------------------------------------------------------------------ forecasts


@pytest.fixture(scope="module")
def fitted():
    pytest.importorskip("torch")
    return JointLSTM(**SMALL, seeds=2).fit(BARS.until(int(BARS.time[400])))


@pytest.mark.full
def test_row_t_equals_the_last_row_of_until_t(fitted):
    whole = fitted.predict(BARS)
    assert isinstance(fitted, Forecaster)
    assert isinstance(fitted, FitsInSteps)
    assert np.isnan(whole.covariance[: fitted.warmup]).all()
    assert np.isfinite(whole.covariance[fitted.warmup :]).all()
    for row in (fitted.warmup, 399, 401, 499):
        part = fitted.predict(BARS.until(int(BARS.time[row])), start=int(BARS.time[row]))
        np.testing.assert_array_equal(part.covariance[0], whole.covariance[row])
        np.testing.assert_array_equal(part.mean[0], whole.mean[row])
    np.testing.assert_allclose(fitted.predict_seeds(BARS).mean(axis=0), whole.mean)


@pytest.mark.full
def test_several_seeds_are_one_mixture(fitted):
    _, _, means, covariances = fitted._read(BARS, int(BARS.time[-1]))
    apart = means - means.mean(axis=0)
    expected = covariances.mean(axis=0) + np.einsum("sti,stj->tij", apart, apart) / 2
    order = np.argsort(np.array([BARS.symbols.index(s) for s in fitted.symbols_]))
    said = fitted.predict(BARS, start=int(BARS.time[-1]))
    np.testing.assert_allclose(said.covariance, expected[:, order][:, :, order])
    np.testing.assert_allclose(said.std**2, np.einsum("tii->ti", said.covariance))


@pytest.mark.full
def test_the_order_of_the_columns_changes_no_bit_in_training_and_after(fitted):
    order = [2, 0, 3, 1]
    shuffled = BARS.select([BARS.symbols[i] for i in order])
    other = JointLSTM(**SMALL, seeds=2).fit(shuffled.until(int(BARS.time[400])))
    for mine, theirs in zip(fitted.nets_, other.nets_, strict=True):
        for name in mine:
            np.testing.assert_array_equal(mine[name], theirs[name])
    whole, said = fitted.predict(BARS), other.predict(shuffled)
    np.testing.assert_array_equal(said.covariance, whole.covariance[:, order][:, :, order])
    np.testing.assert_array_equal(said.mean, whole.mean[:, order])


@pytest.mark.full
def test_saving_changes_no_bit_and_damage_is_refused(fitted, tmp_path):
    fitted.save(tmp_path / "m")
    loaded = JointLSTM.load(tmp_path / "m")
    np.testing.assert_array_equal(loaded.predict(BARS).covariance, fitted.predict(BARS).covariance)
    assert loaded.to_dict() == fitted.to_dict()
    assert json.loads(json.dumps(fitted.to_dict()))["kind"] == "JointLSTM"
    file = next((tmp_path / "m").glob("*weights*"))
    file.write_bytes(file.read_bytes()[:-1] + b"\0")
    with pytest.raises(ArtifactError):
        JointLSTM.load(tmp_path / "m")


@pytest.mark.full
def test_forecasts_need_no_torch(fitted, tmp_path):
    import subprocess
    import sys

    fitted.save(tmp_path / "m")
    code = (
        "import sys; sys.modules['torch'] = None; "
        "from longshort.data import synthetic; from longshort.models import JointLSTM;"
        "bars = synthetic.correlation_switch(500, ['D', 'A', 'C', 'B'], seed=3);"
        f"print(repr(float(JointLSTM.load({str(tmp_path / 'm')!r}).predict(bars).covariance[-1, 0, 1])))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) == float(fitted.predict(BARS).covariance[-1, 0, 1])


@pytest.mark.full
def test_walk_forward_keeps_covariances_and_fits_by_steps_as_alone():
    pytest.importorskip("torch")
    model = JointLSTM([], **SMALL)
    study = ls.walk_forward(model, BARS, ls.WalkForward(train=300, test=100), baselines=[], seeds=2, threads=2)
    fold = study.folds[0]
    alone = model.with_seeds(2).fit(BARS.until(fold.train_end), start=fold.train_start)
    said = alone.predict(BARS.until(fold.test_end), start=fold.test_start)
    rows = np.searchsorted(said.time, study.time[study.fold == 0])
    np.testing.assert_array_equal(study.forecast.covariance[study.fold == 0], said.covariance[rows])
    assert study.seeds.shape[0] == 2


@pytest.mark.full
def test_a_mean_that_can_be_predicted_is():
    pytest.importorskip("torch")
    bars, target = synthetic.planted_signal(1500, ["A", "B"], seed=1), forward_log_return()
    model = JointLSTM([field("volume").log()], hidden=(8,), lookback=3, epochs=20, lr=0.01)
    said = model.fit(bars.until(int(bars.time[1199]))).predict(bars).mean[1200:-1]
    came = target.compute(bars)[1200:-1]
    assert np.corrcoef(said.ravel(), came.ravel())[0, 1] > 0.6  # 0.70 is the best possible


@pytest.mark.full
def test_where_correlations_switch_its_least_variance_beats_that_of_ledoit_wolf():
    """Out of sample; benchmarks/covariance.py has more markets, more rivals and intervals."""
    pytest.importorskip("torch")
    bars = synthetic.correlation_switch(1900, 8, seed=1)
    seen, start = bars.until(int(bars.time[1100])), int(bars.time[1101])
    after = np.diff(bars["close"], axis=0) / bars["close"][:-1]
    risk = {}
    for model in (JointLSTM([], epochs=15), LedoitWolf(forward_log_return(), 252)):
        said = model.fit(seen).predict(bars, start=start).covariance[:-1]
        weights = np.linalg.solve(said, np.ones((len(said), 8, 1)))[..., 0]
        earned = (weights / weights.sum(axis=1, keepdims=True) * after[1101:]).sum(axis=1)
        risk[model.name] = earned.std()
    assert risk["joint_lstm"] < 0.95 * risk["ledoit_wolf"]


def test_a_symbol_that_stands_still_and_a_gap_leave_the_panel_usable():
    close = BARS["close"].copy()
    close[:80, 0] = close[80, 0]
    close[300, 1] = np.nan
    bars = ls.Bars.from_arrays(BARS.time, BARS.symbols, {"close": close})
    model = JointLSTM([], **SMALL)
    panel = Panel(model, bars, bars.symbols, base(4, 2), 0)
    rows = panel.windows(0).rows
    assert not np.isin(np.arange(300, 307), rows).any()
    assert np.isin([299, 400, 499], rows).all()
    for expert in experts_of(panel.means).reshape(-1, 4, 4):
        np.linalg.cholesky(expert)


def test_mistakes_are_refused_with_what_to_do():
    with pytest.raises(InputError, match="covariances of returns, and the target is a close"):
        JointLSTM(target=forward_close())
    with pytest.raises(InputError, match="memories must be half-lives"):
        JointLSTM(memories=(40, 10))
    with pytest.raises(InputError, match="factors must be a whole number of at least 0"):
        JointLSTM(factors=-1)
    with pytest.raises(InputError, match="validation must be at least 0 and below 1"):
        JointLSTM(validation=1.0)
    with pytest.raises(NotFitted, match=r"fit\(bars\)"):
        JointLSTM().predict(BARS)
    with pytest.raises(NotEnoughData, match="at least 2 symbols"):
        JointLSTM().fit(BARS.select("A"))
    with pytest.raises(NotEnoughData, match="needs at least 8 training rows"):
        JointLSTM([], target=forward_return(5)).fit(BARS.until(int(BARS.time[80])))


@pytest.mark.full
def test_other_symbols_are_refused(fitted):
    with pytest.raises(UnknownName, match="lacks A"):
        fitted.predict(BARS.select(["B", "C", "D"]))
