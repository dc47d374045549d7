"""Our forecasts inside skfolio: by name and time, the past only, in all of its optimisers."""

import warnings

import numpy as np
import pytest

import longshort as ls
from longshort.data import synthetic
from longshort.errors import DataError, InputError, NotEnoughData, TimeError, UnknownName
from longshort.features import forward_log_return, forward_return, log_return
from longshort.forecast import Forecast
from longshort.models import EWMA, Drift, JointLSTM, LedoitWolf, Ridge
from longshort.portfolio import MinVariance
from longshort.portfolio.optimize import simple_moments

pytestmark = pytest.mark.full
pytest.importorskip("skfolio")

from skfolio import RiskMeasure  # noqa: E402
from skfolio.model_selection import WalkForward, cross_val_predict  # noqa: E402
from skfolio.optimization import HierarchicalRiskParity, MeanRisk, ObjectiveFunction, RiskBudgeting  # noqa: E402
from sklearn.base import clone  # noqa: E402

from longshort.portfolio import LSTMPrior  # noqa: E402

BARS = synthetic.correlation_switch(500, ["D", "A", "C", "B"], seed=3)
X = BARS.to_pandas()["close"].pct_change().iloc[1:]
TARGET = forward_return()


def test_the_moments_are_those_of_the_forecast_made_at_the_last_return():
    prior = LSTMPrior(EWMA(TARGET), BARS).fit(X.iloc[:300])
    at = int(BARS.time[300])
    said = EWMA(TARGET).fit(BARS.until(at)).predict(BARS.until(at))
    order = [said.symbols.index(s) for s in X.columns]
    found = prior.return_distribution_
    np.testing.assert_allclose(found.mu, said.mean[-1, order], rtol=1e-12)
    np.testing.assert_allclose(found.covariance, said.covariance[-1][np.ix_(order, order)], rtol=1e-12)
    assert prior.forecast_.time[0] == at
    alone = LSTMPrior(EWMA(TARGET)).fit(X.iloc[:300]).return_distribution_  # from prices made up of the returns
    np.testing.assert_allclose(alone.covariance, found.covariance, rtol=1e-9)


def test_log_returns_and_longer_horizons_become_simple_returns_of_a_bar():
    model = LedoitWolf(forward_log_return(5), 60)
    said = model.fit(BARS).predict(BARS)
    order = [said.symbols.index(s) for s in X.columns]
    mean, covariance = simple_moments(said.row(-1))
    found = LSTMPrior(model, BARS).fit(X).return_distribution_
    np.testing.assert_allclose(found.mu, mean[order] / 5)
    np.testing.assert_allclose(found.covariance, covariance[np.ix_(order, order)] / 5)


@pytest.mark.parametrize("scenarios", ["historical", 500])
def test_the_order_of_the_columns_changes_nothing(scenarios):
    shuffled = X[["B", "D", "C", "A"]]
    order = [list(X.columns).index(s) for s in shuffled.columns]
    for model in (EWMA(TARGET), Ridge([log_return()], TARGET)):
        one = LSTMPrior(model, scenarios=scenarios).fit(X).return_distribution_
        other = LSTMPrior(model, scenarios=scenarios).fit(shuffled).return_distribution_
        np.testing.assert_allclose(other.mu, one.mu[order], rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(other.covariance, one.covariance[np.ix_(order, order)], rtol=1e-12, atol=1e-18)
        np.testing.assert_allclose(other.returns, one.returns[:, order], rtol=1e-9, atol=1e-15)


def test_historical_scenarios_have_the_predicted_moments_and_the_tails_of_the_past():
    found = LSTMPrior(EWMA(TARGET), BARS).fit(X).return_distribution_
    np.testing.assert_allclose(found.returns.mean(axis=0), found.mu, atol=1e-15)
    np.testing.assert_allclose(np.cov(found.returns.T), found.covariance, rtol=1e-9)
    assert found.returns.shape == X.shape
    draws = LSTMPrior(EWMA(TARGET), BARS, scenarios=100_000).fit(X).return_distribution_
    np.testing.assert_allclose(np.cov(draws.returns.T), found.covariance, rtol=0.05, atol=3e-7)


def test_a_forecaster_of_means_alone_takes_correlations_from_the_returns():
    found = LSTMPrior(Drift(TARGET)).fit(X).return_distribution_
    np.testing.assert_allclose(found.mu, X.mean().to_numpy(), rtol=1e-6)
    np.linalg.cholesky(found.covariance)


@pytest.mark.parametrize(
    "optimiser",
    [
        MeanRisk(),
        MeanRisk(objective_function=ObjectiveFunction.MAXIMIZE_UTILITY, risk_aversion=2.0),
        MeanRisk(risk_measure=RiskMeasure.CVAR),
        MeanRisk(min_weights=-0.2, max_weights=0.5, transaction_costs=0.001, previous_weights=0.25),
        RiskBudgeting(risk_measure=RiskMeasure.CVAR),
        HierarchicalRiskParity(),
    ],
    ids=["least variance", "utility", "cvar", "constraints and costs", "risk parity of cvar", "hierarchical"],
)
def test_every_kind_of_optimiser_works_with_it(optimiser):
    model = clone(optimiser).set_params(prior_estimator=LSTMPrior(EWMA(TARGET), BARS))
    weights = model.fit(X).weights_
    assert np.isfinite(weights).all()
    assert weights.sum() == pytest.approx(1)


def test_skfolio_agrees_with_our_least_variance():
    prior = LSTMPrior(EWMA(TARGET), BARS)
    found = prior.fit(X).return_distribution_
    theirs = MeanRisk(prior_estimator=prior, solver_params={"tol_gap_rel": 1e-10, "tol_gap_abs": 1e-10}).fit(X).weights_
    np.testing.assert_allclose(theirs, MinVariance().of(found.mu, found.covariance), atol=1e-5)


def test_cross_validation_gives_each_fold_its_own_past():
    seen = []

    class Spy(EWMA):
        def fit(self, bars, start=None):
            seen.append(int(bars.time[-1]))
            return super().fit(bars, start)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        portfolio = cross_val_predict(
            MeanRisk(prior_estimator=LSTMPrior(Spy(TARGET), BARS)), X, cv=WalkForward(test_size=50, train_size=200)
        )
    splits = WalkForward(test_size=50, train_size=200).split(X)
    assert seen == [int(BARS.time[train[-1] + 1]) for train, _ in splits]  # X starts at the second bar
    assert len(portfolio.returns) == 250


def test_the_forecasts_of_a_study_are_looked_up_by_time():
    study = ls.walk_forward(EWMA(TARGET), BARS, ls.WalkForward(train=200, test=100), baselines=[], seeds=1)
    prior = LSTMPrior(forecast=study.forecast)
    at = 350
    found = prior.fit(X.iloc[:at]).return_distribution_
    row = int(np.searchsorted(study.time, BARS.time[at]))
    order = [study.symbols.index(s) for s in X.columns]
    np.testing.assert_allclose(found.covariance, study.forecast.covariance[row][np.ix_(order, order)])
    dated = X.iloc[:at].set_axis(X.index[:at].tz_localize(None).normalize())
    with pytest.raises(DataError, match="no row made at"):
        LSTMPrior(forecast=study.forecast).fit(X.iloc[:100])
    assert not np.isnan(LSTMPrior(forecast=Forecast(
        study.time - 1, study.symbols, study.forecast.mean, covariance=study.forecast.covariance,
        target=study.forecast.target)).fit(dated).return_distribution_.mu).any()  # fmt: skip


def test_a_joint_lstm_is_a_prior_and_the_same_seed_gives_the_same_weights():
    pytest.importorskip("torch")
    prior = LSTMPrior(JointLSTM([], target=TARGET, hidden=(4,), epochs=2, memories=(10, 40)))
    first, again = (MeanRisk(prior_estimator=clone(prior)).fit(X).weights_ for _ in range(2))
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize(
    ("make", "given", "error", "message"),
    [
        (lambda: LSTMPrior(), X, InputError, "needs a forecaster or a forecast"),
        (lambda: LSTMPrior(EWMA(TARGET)), X.to_numpy(), InputError, "must be a DataFrame"),
        (lambda: LSTMPrior(EWMA(TARGET)), X.iloc[::-1], InputError, "must rise"),
        (lambda: LSTMPrior(EWMA(TARGET)), X.reset_index(drop=True), TimeError, "must be dates"),
        (lambda: LSTMPrior(EWMA(TARGET), scenarios="many"), X, InputError, "scenarios must be"),
        (lambda: LSTMPrior(EWMA(TARGET), BARS.select(["A", "B"])), X, UnknownName, "bars lacks D, C"),
        (lambda: LSTMPrior(EWMA(TARGET)), X - 2, DataError, "above -1"),
        (lambda: LSTMPrior(EWMA(TARGET)), X.iloc[:40], NotEnoughData, "at least 75"),
    ],
)
def test_mistakes_are_refused_with_what_to_do(make, given, error, message):
    with pytest.raises(error, match=message):
        make().fit(given)


def test_a_forecast_that_is_not_finite_is_refused():
    nothing = Forecast(BARS.time, BARS.symbols, np.full(BARS.shape, np.nan), target=TARGET.info)
    with pytest.raises(DataError, match="no finite forecast for"):
        LSTMPrior(forecast=nothing).fit(X)


def test_a_return_of_another_hour_is_not_the_forecast_of_that_day():
    """A bare date stands for its one row; a time of day that no forecast was made at stands for none."""
    said = EWMA(TARGET).fit(BARS).predict(BARS, start=int(BARS.time[300]))
    prior, seen = LSTMPrior(forecast=said), X.iloc[:310]
    prior.fit(seen)
    with pytest.raises(DataError, match="no row made at"):
        prior.fit(seen.set_axis(seen.index + np.timedelta64(5, "h")))
