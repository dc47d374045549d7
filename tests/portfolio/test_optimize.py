"""Optimised weights: equal to cvxpy's own, exact where there is a formula, and nothing where there is no answer."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longshort.errors import InputError
from longshort.forecast import Forecast, ForecastRow, TargetInfo
from longshort.portfolio import MeanVariance, MinVariance, RiskParity, efficient_frontier, view_of
from longshort.portfolio.optimize import simple_moments
from longshort.portfolio.solving import Room, boxed

SETTINGS = {"tol_gap_abs": 1e-11, "tol_gap_rel": 1e-11, "tol_feas": 1e-11}


def market(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of a day: three factors and own risk."""
    rng = np.random.default_rng(seed)
    loadings = rng.normal(0.004, 0.008, (n, 3))
    return rng.normal(2e-4, 8e-4, n), loadings @ loadings.T + np.diag(rng.uniform(0.008, 0.03, n) ** 2)


def row(mean, covariance, kind: str = "return", horizon: int = 1) -> ForecastRow:
    return ForecastRow(TargetInfo(kind, horizon), mean, covariance=covariance)


def names(n: int) -> tuple[str, ...]:
    return tuple(f"S{i:03d}" for i in range(n))


def of_cvxpy(policy, mean, covariance, held, risk=None) -> np.ndarray:
    """The same problem written down independently, in percent so that tolerances mean something."""
    cp = pytest.importorskip("cvxpy")
    w = cp.Variable(len(mean))
    bounds = [cp.max(cp.abs(w)) <= policy.max_weight, cp.sum(cp.abs(w)) <= policy.gross]
    bounds += [w >= 0] if policy.long_only else []
    bounds += [] if policy.net is None else [cp.sum(w) == policy.net]
    variance = cp.quad_form(w, cp.psd_wrap(1e4 * covariance))
    if isinstance(policy, MinVariance):
        problem = cp.Problem(cp.Minimize(variance), bounds)
    else:
        gain = 1e4 * (mean @ w - policy.cost_bp / 1e4 * cp.sum(cp.abs(w - held)))
        if risk is None:
            problem = cp.Problem(cp.Maximize(gain - (policy.risk_aversion or 5.0) / 2 * variance), bounds)
        else:
            bounds.append(cp.norm(np.linalg.cholesky(covariance).T @ w) / risk <= 1)
            problem = cp.Problem(cp.Maximize(gain / (1e4 * np.abs(mean).max())), bounds)
    problem.solve(solver=cp.CLARABEL, **SETTINGS)
    assert problem.status.startswith("optimal")
    return w.value


POLICIES = [
    MinVariance(),
    MinVariance(max_weight=0.15),
    MinVariance(long_only=False, gross=3.0, max_weight=0.5),
    MinVariance(long_only=False, gross=1.3),
    MeanVariance(),
    MeanVariance(risk_aversion=25.0, max_weight=0.2),
    MeanVariance(risk_aversion=10.0, net=1.0),
    MeanVariance(risk_aversion=3.0, long_only=False, max_weight=0.3),
    MeanVariance(risk_aversion=3.0, long_only=False, net=0.0, gross=1.5, max_weight=0.3),
    MeanVariance(risk_aversion=5.0, cost_bp=4.0),
    MeanVariance(target_risk=0.10),
    MeanVariance(target_risk=0.08, max_weight=0.3),
    MeanVariance(target_risk=0.15, long_only=False, gross=2.0, max_weight=0.6),
]


@pytest.mark.full
@pytest.mark.filterwarnings("ignore:Solution may be inaccurate")
@pytest.mark.parametrize("n", [3, 12, 40])
@pytest.mark.parametrize("policy", POLICIES, ids=repr)
def test_weights_are_those_of_cvxpy(policy, n):
    if policy.net is not None and n * policy.max_weight < policy.net:
        return  # no weights keep these bounds: see below
    step, held = policy.stepper(names(n)), np.zeros(n)
    risk = None if getattr(policy, "target_risk", None) is None else policy.target_risk / np.sqrt(252)
    for seed in range(4):
        mean, covariance = market(n, seed)
        weights = step(view_of(names(n), row(mean, covariance), weights=held))
        np.testing.assert_allclose(weights, of_cvxpy(policy, mean, covariance, held, risk), atol=1e-6)
        held = weights
    assert not step.failures


@pytest.mark.full
def test_the_weights_of_skfolio_are_the_same():
    skfolio = pytest.importorskip("skfolio.optimization")
    from skfolio.prior import BasePrior, ReturnDistribution

    mean, covariance = market(8, 1)

    class Given(BasePrior):
        def __init__(self):
            pass

        def fit(self, X, y=None, **fit_params):
            self.return_distribution_ = ReturnDistribution(mu=mean, covariance=covariance, returns=np.asarray(X))
            return self

    returns = np.random.default_rng(0).multivariate_normal(mean, covariance, 50)
    least = skfolio.MeanRisk(prior_estimator=Given(), solver_params=SETTINGS).fit(returns).weights_
    np.testing.assert_allclose(MinVariance().of(mean, covariance), least, atol=1e-5)
    equal = skfolio.RiskBudgeting(prior_estimator=Given(), solver_params=SETTINGS).fit(returns).weights_
    np.testing.assert_allclose(RiskParity().of(mean, covariance), equal, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(2, 30),
    high=st.sampled_from([1.0, 0.6]),
    long_only=st.booleans(),
    net=st.sampled_from([None, 1.0]),
    aversion=st.sampled_from([0.0, 1.0, 30.0]),
)
def test_pivoting_ends_where_nothing_can_be_gained(seed, n, high, long_only, net, aversion):
    """The conditions of Karush, Kuhn and Tucker, whatever the market."""
    mean, covariance = market(n, seed)
    mean = mean / aversion if aversion else np.zeros(n)
    low = 0.0 if long_only else -high
    w = boxed(covariance, mean, Room(low, high, net, 1.0 if long_only else np.inf))
    if w is None:
        return
    pull = mean - covariance @ w
    above, at_high = w > low + 1e-12, w > high - 1e-12
    between = above & ~at_high
    price = pull[between].mean() if between.any() else min(pull[above], default=0.0)  # of one more unit invested
    tolerance = 1e-9 * np.mean(np.diag(covariance))
    np.testing.assert_allclose(pull[between], price, atol=tolerance)
    assert (pull[~above] <= price + tolerance).all()
    assert (pull[at_high] >= price - tolerance).all()
    if net is not None:
        assert w.sum() == pytest.approx(net)
    elif long_only:
        assert w.sum() < 1 + 1e-12
        assert price > -tolerance
        assert w.sum() == pytest.approx(1) or abs(price) < tolerance
    else:
        assert abs(price) < tolerance


def test_least_variance_by_hand():
    variance = np.array([0.01, 0.02, 0.04])
    np.testing.assert_allclose(MinVariance().of(np.zeros(3), np.diag(variance)), 1 / variance / (1 / variance).sum())


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 40))
def test_under_risk_parity_every_symbol_carries_the_same_risk(seed, n):
    covariance = market(n, seed)[1]
    w = RiskParity().of(np.zeros(n), covariance)
    carried = w * (covariance @ w) / (w @ covariance @ w)
    np.testing.assert_allclose(carried, 1 / n, rtol=1e-8)
    assert w.sum() == pytest.approx(1)


def test_risk_budgets_are_carried_by_name():
    covariance = market(3, 0)[1]
    policy = RiskParity({"C": 1.0, "A": 2.0, "B": 5.0}, gross=0.8)
    w = policy.stepper(("A", "B", "C"))(view_of(("A", "B", "C"), row(np.zeros(3), covariance)))
    np.testing.assert_allclose(w * (covariance @ w) / (w @ covariance @ w), [0.25, 0.625, 0.125], rtol=1e-9)
    assert w.sum() == pytest.approx(0.8)
    assert policy.to_dict()["budgets"] == {"A": 2.0, "B": 5.0, "C": 1.0}
    with pytest.raises(InputError, match="D stand on one side"):
        policy.stepper(("A", "B", "C", "D"))


# ------------------------------------------------------------------------------------------------- what may go wrong


def stepper(policy, n: int):
    pytest.importorskip("cvxpy")
    return policy.stepper(names(n))


@pytest.mark.full
def test_what_cannot_be_solved_holds_and_is_recorded():
    mean, covariance = market(3, 0)
    step = stepper(MinVariance(max_weight=0.3), 3)  # three times 0.3 is no 1
    assert np.isnan(step(view_of(names(3), row(mean, covariance), time=7))).all()
    (failure,) = step.failures
    assert (failure.time, failure.policy) == (7, "MinVariance")
    assert "infeasible" in failure.reason
    step = stepper(MeanVariance(target_risk=0.01, net=1.0), 3)
    assert np.isnan(step(view_of(names(3), row(mean, covariance)))).all()
    assert "infeasible" in step.failures[0].reason


@pytest.mark.full
def test_a_covariance_that_is_none_holds_and_is_recorded():
    step = stepper(MinVariance(), 3)
    assert np.isnan(step(view_of(names(3), row(np.zeros(3), np.ones((3, 3)) - 2 * (1 - np.eye(3)))))).all()
    assert "not positive definite" in step.failures[0].reason


@pytest.mark.full
@pytest.mark.parametrize("policy", [MinVariance(), MeanVariance(), RiskParity()], ids=repr)
def test_a_symbol_without_a_forecast_or_market_keeps_its_place(policy):
    mean, covariance = market(4, 2)
    silent = mean.copy()
    silent[1] = np.nan
    held = np.array([0.1, 0.3, 0.0, 0.0])
    state = np.array([0, 0, 2, 0])
    w = stepper(policy, 4)(view_of(names(4), row(silent, covariance), weights=held, state=state))
    assert np.isnan(w[[1, 2]]).all()
    assert np.isfinite(w[[0, 3]]).all()
    assert np.nansum(w) <= 0.7 + 1e-9  # what is kept counts
    if not isinstance(policy, MeanVariance):
        assert np.nansum(w) == pytest.approx(0.7)


@pytest.mark.full
def test_without_any_forecast_nothing_happens_and_nothing_failed():
    covariance = market(3, 0)[1]
    step = stepper(MinVariance(), 3)
    assert np.isnan(step(view_of(names(3), None))).all()
    assert np.isnan(step(view_of(names(3), row(np.full(3, np.nan), covariance)))).all()
    assert not step.failures


@pytest.mark.full
def test_forecasts_of_prices_or_without_covariance_are_refused():
    step = stepper(MinVariance(), 2)
    with pytest.raises(InputError, match="needs forecasts of returns, and these are of next close"):
        step(view_of(names(2), row(np.ones(2), np.eye(2), "close")))
    with pytest.raises(InputError, match="with a covariance, and these have none"):
        step(view_of(names(2), row(np.ones(2), None)))


@pytest.mark.full
def test_the_order_of_the_columns_changes_no_bit():
    mean, covariance = market(6, 3)
    symbols, order = names(6), np.array([3, 1, 5, 0, 2, 4])
    other = tuple(symbols[i] for i in order)
    for policy in (MinVariance(max_weight=0.3), MeanVariance(cost_bp=2.0), MeanVariance(target_risk=0.1), RiskParity()):
        w = stepper(policy, 6)(view_of(symbols, row(mean, covariance)))
        shuffled = policy.stepper(other)(view_of(other, row(mean[order], covariance[np.ix_(order, order)])))
        np.testing.assert_array_equal(shuffled, w[order])


def test_log_returns_become_simple_ones():
    rng = np.random.default_rng(0)
    mean, covariance = np.array([0.01, -0.02]), np.array([[0.04, 0.01], [0.01, 0.02]])
    grown = np.expm1(rng.multivariate_normal(mean, covariance, 1_000_000))
    found, spread = simple_moments(row(mean, covariance, "log_return"))
    np.testing.assert_allclose(found, grown.mean(axis=0), atol=1e-3)
    np.testing.assert_allclose(spread, np.cov(grown.T), atol=3e-4)


@pytest.mark.full
def test_target_risk_is_a_year_and_of_the_horizon():
    mean, covariance = market(10, 1)
    policy = MeanVariance(target_risk=0.08)
    daily = stepper(policy, 10)(view_of(names(10), row(mean, covariance)))
    weekly = stepper(policy, 10)(view_of(names(10), row(5 * mean, 5 * covariance, horizon=5)))
    np.testing.assert_allclose(weekly, daily, atol=1e-9)
    assert np.sqrt(252 * daily @ covariance @ daily) == pytest.approx(0.08)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MeanVariance(risk_aversion=1.0, target_risk=0.1), "say one thing in two ways"),
        (lambda: MeanVariance(risk_aversion=-1.0), "risk_aversion must be"),
        (lambda: MeanVariance(cost_bp=np.nan), "cost_bp must be"),
        (lambda: MinVariance(max_weight=0.0), "max_weight must be"),
        (lambda: MinVariance(gross=0.5), r"net \(1\) cannot exceed gross \(0.5\)"),
        (lambda: MinVariance(long_only=1), "long_only must be True or False"),
        (lambda: RiskParity({"A": 0.0}), "must be a finite number of at least 1e-09"),
        (lambda: RiskParity().of(np.zeros(2), np.eye(3)), r"shapes \(n,\) and \(n, n\)"),
        (lambda: RiskParity().of(np.zeros(2), np.full((2, 2), np.nan)), "must be finite"),
        (lambda: RiskParity().of(np.zeros(2), np.ones((2, 2))), "not positive definite"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


# ------------------------------------------------------------------------------------------------------------ frontier


def forecast(n: int = 6, seed: int = 0) -> Forecast:
    mean, covariance = market(n, seed)
    return Forecast(np.array([5]), names(n), mean[None], covariance=covariance[None], target=TargetInfo("return"))


@pytest.mark.full
def test_the_frontier_rises_and_no_portfolio_lies_left_of_it():
    pytest.importorskip("cvxpy")
    found = efficient_frontier(forecast(), points=12)
    assert (np.diff(found.risk) > -1e-9).all()
    assert (np.diff(found.gain) > 0).all()
    assert found.gain[-1] == pytest.approx(found.mean.max(), rel=1e-6)
    np.testing.assert_allclose(found.weights.sum(axis=1), 1, atol=1e-7)
    rng = np.random.default_rng(0)
    for w in rng.dirichlet(np.ones(6), 200):
        risk, gain = found.at(w)
        if gain >= found.gain[0]:
            assert risk >= np.interp(gain, found.gain, found.risk) * (1 - 0.02)


@pytest.mark.full
def test_the_frontier_starts_at_the_least_variance_and_leaves_out_silent_symbols():
    pytest.importorskip("cvxpy")
    said = forecast()
    mean = said.mean.copy()
    mean[0, 2] = np.nan
    found = efficient_frontier(Forecast(said.time, said.symbols, mean, covariance=said.covariance, target=said.target))
    assert found.symbols == ("S000", "S001", "S003", "S004", "S005")
    part = said.covariance[0][np.ix_([0, 1, 3, 4, 5], [0, 1, 3, 4, 5])]
    np.testing.assert_allclose(found.weights[0], MinVariance().of(np.zeros(5), part), atol=1e-9)
    assert found.risk[0] == pytest.approx(np.sqrt(252 * found.weights[0] @ part @ found.weights[0]))


@pytest.mark.full
def test_a_frontier_of_four_bars_is_a_quarter_of_that_of_one_a_year():
    pytest.importorskip("cvxpy")
    said = forecast()
    week = Forecast(said.time, said.symbols, said.mean, covariance=said.covariance, target=TargetInfo("return", 4))
    one, four = (efficient_frontier(one, points=3) for one in (said, week))
    np.testing.assert_allclose(four.gain, one.gain / 4, rtol=1e-6)
    np.testing.assert_allclose(four.risk, one.risk / 2, rtol=1e-6)


@pytest.mark.full
def test_a_frontier_of_nothing_is_refused():
    pytest.importorskip("cvxpy")
    said = forecast()
    with pytest.raises(InputError, match="points must be"):
        efficient_frontier(said, points=1)
    nothing = Forecast(said.time, said.symbols, said.mean * np.nan, covariance=said.covariance, target=said.target)
    with pytest.raises(InputError, match="no finite mean"):
        efficient_frontier(nothing)


def test_a_strategy_with_predicted_covariances_is_kept_whole(tmp_path):
    from longshort.data import synthetic
    from longshort.features import forward_log_return
    from longshort.models import LedoitWolf
    from longshort.strategy import Strategy
    from longshort.trading import load_strategy, save_strategy

    bars = synthetic.correlation_switch(300, ["B", "A", "C"], seed=1)
    policy = RiskParity({"A": 1.0, "B": 2.0, "C": 1.0})
    strategy = Strategy(LedoitWolf(forward_log_return(), 60), policy=policy).fitted(bars)
    save_strategy(tmp_path / "s", strategy, bars=bars)
    loaded = load_strategy(tmp_path / "s")
    assert loaded.policy == policy
    np.testing.assert_array_equal(loaded.predict(bars).covariance, strategy.predict(bars).covariance)
