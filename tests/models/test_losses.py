import numpy as np
import pytest

from longshort import features as f
from longshort.errors import DataError, InputError, UnknownName
from longshort.features.windows import Scaling
from longshort.models.losses import (
    LOSSES,
    CrossEntropy,
    Gaussian,
    Huber,
    Quantile,
    Rank,
    Sharpe,
    StudentT,
    class_weights,
    loss_of,
)

RETURN, UP, BARRIER = f.forward_return(1), f.forward_direction(1), f.forward_barrier(5)
SCALING = Scaling("standard", np.array([0.001]), np.array([0.02]))
RAW = np.random.default_rng(0).normal(size=(200, 3)) * 3


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_is_described_by_data_and_read_back(name):
    loss = LOSSES[name]()
    assert loss_of(loss.to_dict()) == loss_of(name) == loss


def test_quantiles_never_cross_and_the_point_forecast_is_the_median():
    said = Quantile((0.1, 0.5, 0.9)).read(RAW, SCALING, RETURN, None)
    assert (np.diff(said["quantiles"], axis=1) > 0).all()
    assert np.array_equal(said["mean"], said["quantiles"][:, 1])
    np.testing.assert_allclose(said["quantiles"][:, 0], RAW[:, 0] * 0.02 + 0.001, rtol=1e-14)


def test_a_students_deviation_exceeds_its_scale_by_the_known_factor():
    raw = np.array([[1.0, 0.3, 0.7]])
    softplus = np.log1p(np.exp(raw))
    freedom = 2.001 + softplus[0, 2]
    said = StudentT().read(raw, SCALING, RETURN, None)
    assert said["std"][0] == pytest.approx((softplus[0, 1] + 1e-6) * 0.02 * np.sqrt(freedom / (freedom - 2)), rel=1e-12)
    assert Gaussian().read(raw[:, :2], SCALING, RETURN, None)["std"][0] == pytest.approx(
        (softplus[0, 1] + 1e-6) * 0.02, rel=1e-12
    )


def test_no_volatility_forecast_is_negative():
    volatility = f.forward_volatility(5)
    assert Quantile((0.1, 0.9)).read(RAW[:, :2], SCALING, volatility, None)["quantiles"].min() == 0.0
    assert Gaussian().read(RAW[:, :2], SCALING, volatility, None)["mean"].min() == 0.0


def test_probabilities_add_up_and_the_point_forecast_follows_from_them():
    two = CrossEntropy().read(RAW[:, :1], SCALING, UP, None)
    three = CrossEntropy().read(RAW, SCALING, BARRIER, None)
    for said in (two, three):
        np.testing.assert_allclose(said["probabilities"].sum(axis=1), 1.0, atol=1e-15)
    np.testing.assert_allclose(two["mean"], 1 / (1 + np.exp(-RAW[:, 0])), rtol=1e-12)
    p = np.exp(RAW) / np.exp(RAW).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(three["mean"], p[:, 2] - p[:, 0], atol=1e-14)


def test_class_weights_average_to_one_over_the_training_rows():
    classes = np.repeat([0.0, 1.0, 2.0], [70, 20, 10])[:, None]
    balanced = np.array(CrossEntropy("balanced").engine_options(classes)["class_weights"])
    assert (balanced[classes[:, 0].astype(int)]).mean() == pytest.approx(1.0, abs=1e-14)
    np.testing.assert_allclose(balanced * [70, 20, 10], 100 / 3, rtol=1e-13)
    given = np.array(CrossEntropy((1.0, 2.0, 4.0)).engine_options(classes)["class_weights"])
    np.testing.assert_allclose(given / given[0], [1.0, 2.0, 4.0])
    assert CrossEntropy().engine_options(classes)["class_weights"] == []


@pytest.mark.parametrize("n_classes", [2, 3])
def test_calibration_finds_the_temperature_that_was_lost(n_classes):
    """Logits three times too bold: the map divides them by three (Guo et al., 2017)."""
    rng = np.random.default_rng(4)
    true = rng.normal(size=(20_000, 1 if n_classes == 2 else 3))
    target = UP if n_classes == 2 else BARRIER
    p = CrossEntropy().read(true, SCALING, target, None)["probabilities"]
    classes = (rng.random((len(p), 1)) > np.cumsum(p, axis=1)).sum(axis=1).clip(max=n_classes - 1)[:, None]
    found = CrossEntropy().calibrate(3 * true, classes.astype(float), np.arange(len(true)))
    assert found is not None
    assert found[0] == pytest.approx(1 / 3, abs=0.02)
    np.testing.assert_allclose(found[1:] - found[1:].mean(), 0.0, atol=0.06)
    recovered = CrossEntropy().read(3 * true, SCALING, target, found)["probabilities"]
    assert np.abs(recovered - p).mean() < 0.01


def test_what_the_scores_of_a_date_share_is_worth_nothing():
    rng = np.random.default_rng(6)
    score, market = rng.normal(size=(100, 5)), rng.normal(size=(100, 1))
    raw = (score + 7.0).reshape(-1, 1)
    came = (0.3 * score - 2.0 * market - 1.0).reshape(-1, 1)  # the market fell on the validation rows
    calibration = Rank().calibrate(raw, came, np.repeat(np.arange(100), 5))
    said = Rank().read(raw, Scaling("standard", np.array([0.01]), np.array([0.02])), RETURN, calibration)["mean"]
    assert calibration[0] == pytest.approx(0.3)
    assert said.mean() == pytest.approx(0.01)
    assert np.corrcoef(said, score.ravel())[0, 1] == pytest.approx(1.0)


def test_an_upside_down_ranking_is_no_knowledge():
    rng = np.random.default_rng(5)
    raw, dates = rng.normal(size=(500, 1)), np.repeat(np.arange(100), 5)
    wrong = (raw + 0.1 * rng.normal(size=raw.shape) < 0).astype(float)
    found = CrossEntropy().calibrate(raw, wrong, dates)
    assert found is not None
    assert found[0] == 0.0
    assert Sharpe().calibrate(raw, -raw, dates)[0] == 0.0
    assert Rank().calibrate(raw, -raw, dates)[0] == 0.0


def test_a_position_is_worth_what_it_earned_on_rows_the_network_had_not_seen():
    raw = RAW[:, :1]
    returns = 0.3 * np.tanh(raw)
    calibration = Sharpe().calibrate(raw, returns, np.arange(len(raw)))
    said = Sharpe().read(raw, Scaling("standard", np.zeros(1), np.array([0.02])), RETURN, calibration)
    np.testing.assert_allclose(said["mean"], 0.3 * 0.02 * np.tanh(raw[:, 0]), rtol=1e-12)
    assert np.abs(said["position"]).max() <= 1.0
    silent = Sharpe().read(raw, SCALING, RETURN, None)
    assert not silent["mean"].any()


def test_returns_behind_positions_are_never_centred():
    outcomes = np.array([[0.01], [0.02], [0.03]])
    scaling = Sharpe().scaling("standard", outcomes, ["r"], RETURN)
    assert scaling.center[0] == 0.0
    assert Sharpe(cost=0.001).engine_options(outcomes, scaling)["cost"] == pytest.approx(0.001 / scaling.scale[0])


def test_several_horizons_are_read_in_units_of_their_own():
    scaling = Scaling("standard", np.array([0.0, 0.1, 0.2]), np.array([1.0, 2.0, 3.0]))
    said = Huber().read(RAW, scaling, RETURN, None)
    np.testing.assert_allclose(said["horizons"], RAW * [1, 2, 3] + [0, 0.1, 0.2])
    assert np.array_equal(said["mean"], said["horizons"][:, 0])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: loss_of("msee"), UnknownName, "Did you mean 'mse'"),
        (lambda: loss_of(None), UnknownName, "loss was None"),
        (lambda: loss_of({"name": "huber", "dlta": 1}), InputError, "its arguments are: delta"),
        (lambda: loss_of({"name": "mse", "delta": 1}), InputError, "its arguments are: none"),
        (lambda: Quantile(0.5), InputError, "levels must be several numbers, was 0.5"),
        (lambda: Quantile(("low", 0.5)), InputError, "levels must be several numbers"),
        (lambda: CrossEntropy(class_weight=3), InputError, "class_weight must be several numbers, was 3"),
        (lambda: Quantile((0.5, 0.1)), InputError, "must increase"),
        (lambda: Quantile((0.0, 0.5)), InputError, "strictly between 0 and 1"),
        (lambda: Quantile(()), InputError, "must increase"),
        (lambda: Huber(0.0), InputError, "delta must be a finite number"),
        (lambda: Sharpe(cost=float("nan")), InputError, "cost must be a finite number"),
        (lambda: Sharpe(block=1), InputError, "block must be a whole number"),
        (lambda: CrossEntropy(class_weight="balance"), UnknownName, "Did you mean 'balanced'"),
        (lambda: CrossEntropy(class_weight=(1.0, -1.0)), InputError, "one positive number a class"),
        (lambda: CrossEntropy((1.0, 2.0)).check(BARRIER), InputError, "has 3 classes, but class_weight has 2"),
        (lambda: CrossEntropy().check(RETURN), InputError, "a return has none"),
        (lambda: Sharpe().check(f.forward_close(1)), InputError, "the target is a close"),
        (lambda: Gaussian().check(BARRIER), InputError, "Use loss='cross_entropy'"),
        (lambda: Gaussian().outputs(RETURN, 2), InputError, "one target at a time"),
        (lambda: CrossEntropy().scaling("standard", np.ones((9, 1)), ["up"], UP), DataError, "always 1 on the 9"),
        (
            lambda: CrossEntropy("balanced").engine_options(np.array([[0.0], [1.0]]), None, BARRIER),
            DataError,
            "needs every class in the training rows",
        ),
    ],
)
def test_what_a_loss_cannot_learn_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_balanced_classes_count_the_same_and_weigh_one_on_average():
    classes = np.array([0, 1, 1, 2, 2, 2])
    weights = np.array(class_weights(classes))
    np.testing.assert_allclose(np.bincount(classes, weights[classes]), 2.0)
    assert weights[classes].mean() == pytest.approx(1.0)
    with pytest.raises(DataError, match=r"found \[1, 2, 3, 0\] of each"):
        class_weights(classes, n_classes=4)
