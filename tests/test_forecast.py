import numpy as np

from longshort.forecast import Forecast, TargetInfo


def test_a_row_holds_every_field_of_its_decision():
    rng = np.random.default_rng(0)
    mean, std, position = rng.normal(size=(3, 4, 2))
    covariance = rng.normal(size=(4, 2, 2))
    forecast = Forecast(
        np.arange(4),
        ("A", "B"),
        mean,
        std=abs(std),
        quantiles={0.1: mean - 1, 0.9: mean + 1},
        covariance=covariance,
        target=TargetInfo("return"),
        probabilities={0.0: mean, 1.0: -mean},
        position=position,
        horizons={1: mean, 5: 2 * mean},
    )
    row = forecast.row(2)
    assert row.target == TargetInfo("return")
    np.testing.assert_array_equal(row.mean, mean[2])
    np.testing.assert_array_equal(row.std, abs(std)[2])
    np.testing.assert_array_equal(row.quantiles[0.9], mean[2] + 1)
    np.testing.assert_array_equal(row.covariance, covariance[2])
    np.testing.assert_array_equal(row.probabilities[1.0], -mean[2])
    np.testing.assert_array_equal(row.position, position[2])
    np.testing.assert_array_equal(row.horizons[5], 2 * mean[2])


def test_a_row_of_point_forecasts_says_no_more():
    row = Forecast(np.arange(1), ("A",), np.zeros((1, 1))).row(0)
    assert (row.std, row.quantiles, row.covariance, row.probabilities, row.position, row.horizons) == (None,) * 6
