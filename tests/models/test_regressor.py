import numpy as np
import pytest

from longshort import features as f
from longshort.data import synthetic
from longshort.errors import InputError, NotEnoughData, NotFitted
from longshort.evaluation import WalkForward, walk_forward
from longshort.models import Regressor, Ridge, gradient_boosting, ladder, support_vectors

INPUTS = [f.field("volume").log(), f.log_return()]


class LeastSquares:
    """The smallest regressor there is."""

    def fit(self, X, y):
        self.weights = np.linalg.lstsq(np.column_stack([np.ones(len(X)), X]), y, rcond=None)[0]
        return self

    def predict(self, X):
        return (X * self.weights[1:]).sum(axis=1) + self.weights[0]


@pytest.mark.parametrize("target", [f.forward_log_return(2), f.forward_close(1), f.forward_volatility(5)], ids=str)
def test_least_squares_says_what_a_ridge_without_penalty_says(target):
    bars = synthetic.planted_signal(600, 3, seed=1)
    seen = bars.until(int(bars.time[499]))
    ours = Regressor(LeastSquares(), INPUTS, target, lookback=3).fit(seen).predict(bars)
    ridge = Ridge(INPUTS, target, lookback=3, penalties=[0.0]).fit(seen).predict(bars)
    np.testing.assert_allclose(ours.mean, ridge.mean, rtol=1e-7, atol=1e-12)
    assert np.array_equal(ours.for_time, ridge.for_time)


def test_the_estimator_given_is_left_untouched():
    bars, given = synthetic.random_walk(200, seed=2), LeastSquares()
    Regressor(given, INPUTS, f.forward_return()).fit(bars)
    assert not hasattr(given, "weights")


class Counter(LeastSquares):
    """A classifier that says of every row the share of each class it has seen."""

    def fit(self, X, y):
        self.classes_, counts = np.unique(y, return_counts=True)
        self.shares = counts / counts.sum()
        return self

    def predict_proba(self, X):
        return np.tile(self.shares, (len(X), 1))


def test_a_classifier_forecasts_the_probability_of_a_rise():
    bars, target = synthetic.random_walk(300, seed=5), f.forward_direction()
    model = Regressor(Counter(), INPUTS, target).fit(bars)
    assert model.predict(bars).mean[-1, 0] == pytest.approx(np.nanmean(target.compute(bars)[model.warmup :]))
    rising = f.forward_direction(up=0.9, down=0.001)  # nothing rises by 90 %
    assert Regressor(Counter(), INPUTS, rising).fit(bars).predict(bars).mean[-1, 0] == 0.0


@pytest.mark.full
@pytest.mark.parametrize("make", [gradient_boosting, support_vectors])
def test_scikit_learns_regressors_find_a_planted_signal_and_row_t_needs_nothing_later(make):
    bars = synthetic.planted_signal(1300, seed=3)
    target = f.forward_log_return()
    model = make(INPUTS, target).fit(bars.until(int(bars.time[899])))
    said, came = model.predict(bars), target.compute(bars)[:, 0]
    assert np.corrcoef(said.mean[900:-1, 0], came[900:-1])[0, 1] > 0.6
    for row in (901, 1100, 1298):
        until = model.predict(bars.until(int(bars.time[row]))).mean
        assert until[-1].tobytes() == said.mean[row].tobytes()
    assert model.predict(bars, start=1299).mean.shape == (1300, 1)


@pytest.mark.full
def test_the_whole_ladder_stands_in_a_studys_table():
    bars = synthetic.planted_signal(700, seed=4)
    target = f.forward_log_return()
    model = Ridge(INPUTS, target, lookback=1)
    study = walk_forward(model, bars, WalkForward("1Y", "6M"), baselines=ladder(INPUTS, target, 2))
    assert {"ar", "gradient boosting", "support vectors"} <= set(study.scores())
    assert study.challengers["gradient boosting"].shape == study.forecast.mean.shape


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Regressor(LeastSquares, INPUTS, f.forward_return()), InputError, "an object with fit"),
        (lambda: Regressor(object(), INPUTS, f.forward_return()), InputError, "an object with fit"),
        (lambda: Regressor(LeastSquares(), INPUTS, f.forward_return(), lookback=0), InputError, "lookback"),
        (
            lambda: Regressor(LeastSquares(), INPUTS, f.forward_return()).predict(synthetic.random_walk(50)),
            NotFitted,
            "Call fit",
        ),
        (
            lambda: Regressor(LeastSquares(), INPUTS, f.forward_return()).fit(synthetic.random_walk(12)),
            NotEnoughData,
            "at least 10 rows",
        ),
    ],
)
def test_bad_use_is_told_what_to_do(make, error, message):
    with pytest.raises(error, match=message):
        make()
