"""Known answers of the measures; each oracle says where its number comes from."""

import math

import numpy as np
import pytest

from longshort import metrics as m
from longshort.errors import InputError

RNG = np.random.default_rng(20240229)
ACTUAL = RNG.normal(size=300)
FORECAST = 0.3 * ACTUAL + RNG.normal(size=300)


def test_errors_agree_with_scikit_learn():
    sk = pytest.importorskip("sklearn.metrics")
    assert m.mse(ACTUAL, FORECAST) == pytest.approx(sk.mean_squared_error(ACTUAL, FORECAST), rel=1e-12)
    assert m.mae(ACTUAL, FORECAST) == pytest.approx(sk.mean_absolute_error(ACTUAL, FORECAST), rel=1e-12)
    assert m.r2(ACTUAL, FORECAST) == pytest.approx(sk.r2_score(ACTUAL, FORECAST), rel=1e-12)
    assert m.mape(ACTUAL, FORECAST) == pytest.approx(sk.mean_absolute_percentage_error(ACTUAL, FORECAST), rel=1e-12)
    for level in (0.05, 0.5, 0.9):
        assert m.pinball(ACTUAL, FORECAST, level) == pytest.approx(
            sk.mean_pinball_loss(ACTUAL, FORECAST, alpha=level), rel=1e-12
        )


@pytest.mark.parametrize("ties", [False, True])
def test_correlations_agree_with_scipy(ties):
    from scipy import stats

    a, f = (np.round(ACTUAL), np.round(FORECAST)) if ties else (ACTUAL, FORECAST)
    assert m.information_coefficient(a, f) == pytest.approx(stats.pearsonr(a, f)[0], rel=1e-12)
    assert m.information_coefficient(a, f, rank=True) == pytest.approx(stats.spearmanr(a, f)[0], rel=1e-12)


def test_hit_rate_interval_agrees_with_statsmodels_wilson():
    proportion = pytest.importorskip("statsmodels.stats.proportion")
    hits = round(m.hit_rate(ACTUAL, FORECAST) * 300)
    expected = proportion.proportion_confint(hits, 300, method="wilson")
    assert m.hit_rate_interval(ACTUAL, FORECAST) == pytest.approx(expected, rel=1e-12)


def test_matthews_correlation_is_that_of_the_confusion_table():
    up, said = np.sign(ACTUAL), np.sign(FORECAST)
    hits, misses = np.sum((up > 0) & (said > 0)), np.sum((up > 0) & (said < 0))
    false, rejected = np.sum((up < 0) & (said > 0)), np.sum((up < 0) & (said < 0))
    products = float(hits + false) * (hits + misses) * (rejected + false) * (rejected + misses)
    expected = (float(hits) * rejected - float(false) * misses) / products**0.5
    assert m.matthews_correlation(ACTUAL, FORECAST) == pytest.approx(expected, rel=1e-12)
    assert m.matthews_correlation(ACTUAL, -FORECAST) == pytest.approx(-expected, rel=1e-12)
    assert m.matthews_correlation(up + 5, said + 5, centre=5) == pytest.approx(expected, rel=1e-12)
    assert np.isnan(m.matthews_correlation(ACTUAL, np.ones_like(ACTUAL)))
    assert m.matthews_correlation([1, -1, np.nan, 1], [1, -1, 1, 0]) == 1.0


def test_hit_rate_of_prices_is_measured_from_the_last_close():
    last = np.array([100.0, 100.0, 100.0])
    assert m.hit_rate([101.0, 99.0, 100.0], [100.5, 100.5, 120.0], centre=last) == 0.5  # the unchanged day is no test


def test_skill_and_mase_are_zero_and_one_for_the_naive_forecast_itself():
    naive = np.zeros(300)
    assert m.skill(ACTUAL, naive, naive) == 0.0
    assert m.mase(ACTUAL, naive, naive) == 1.0
    assert m.skill(ACTUAL, ACTUAL, naive) == 1.0


def test_persistence_scores_a_high_price_r2_on_a_pure_random_walk():
    walk = 100 * np.exp(np.cumsum(0.01 * np.random.default_rng(1).normal(size=2500)))
    assert m.r2(walk[1:], walk[:-1]) > 0.95
    assert m.skill(walk[1:], walk[:-1], walk[:-1]) == 0.0


def test_qlike_against_its_formula_and_is_blind_to_nonpositive_cells():
    a, f = np.array([0.02, 0.01, 0.0]), np.array([0.01, 0.02, 0.01])
    expected = np.mean([4 - math.log(4) - 1, 0.25 - math.log(0.25) - 1])
    assert m.qlike(a, f) == pytest.approx(expected, rel=1e-14)


def test_trading_measures_on_a_worked_example():
    r = np.array([0.02, -0.01, 0.03, -0.04, 0.01])  # wealth 1.02, 1.0098, 1.040094, 0.99849..., 1.00847...
    assert m.total_return(r) == pytest.approx(1.02 * 0.99 * 1.03 * 0.96 * 1.01 - 1, rel=1e-14)
    assert m.max_drawdown(r) == pytest.approx(0.04, rel=1e-14)
    assert m.sharpe(r) == pytest.approx(np.mean(r) / np.std(r, ddof=1) * math.sqrt(252), rel=1e-14)
    assert m.annual_return(r) == pytest.approx((1 + m.total_return(r)) ** (252 / 5) - 1, rel=1e-12)
    assert m.annual_volatility(r) == pytest.approx(np.std(r, ddof=1) * math.sqrt(252), rel=1e-14)
    assert m.sortino(r) == pytest.approx(np.mean(r) / math.sqrt((0.01**2 + 0.04**2) / 5) * math.sqrt(252), rel=1e-12)


def test_a_lost_account_and_a_first_day_loss():
    assert m.annual_return([-1.0, 0.5]) == -1.0
    assert m.max_drawdown([-0.25]) == 0.25
    assert m.max_drawdown([]) == 0.0


def test_turnover_counts_both_legs():
    assert m.turnover([[0.5, -0.5], [-0.5, 0.5]], bars_per_year=2) == pytest.approx(3.0)  # 1 to open, 2 to turn round


def test_cross_sectional_coefficients_need_three_pairs():
    out = m.information_coefficients([[1, 2, np.nan], [1, 2, 3]], [[1, 2, 3], [1, 2, 4]])
    assert np.isnan(out[0])
    assert out[1] == 1.0


ALL_PAIRWISE = [m.mse, m.rmse, m.mae, m.mape, m.bias, m.r2, m.hit_rate, m.information_coefficient, m.qlike]


@pytest.mark.parametrize("measure", ALL_PAIRWISE, ids=lambda f: f.__name__)
def test_a_cell_counts_only_where_both_are_finite(measure):
    a, f = np.abs(ACTUAL), np.abs(FORECAST)
    holes_a, holes_f = a.copy(), f.copy()
    holes_a[:40], holes_f[60:90], holes_f[0] = np.nan, np.inf, np.nan
    keep = np.r_[40:60, 90:300]
    assert measure(holes_a, holes_f) == measure(a[keep], f[keep])
    assert math.isnan(measure([np.nan], [1.0]))
    assert math.isnan(measure([], []))


@pytest.mark.parametrize("measure", ALL_PAIRWISE, ids=lambda f: f.__name__)
def test_shapes_must_agree(measure):
    with pytest.raises(InputError, match=r"same shape, were \(3,\) and \(3, 1\)"):
        measure(np.ones(3), np.ones((3, 1)))


def test_a_constant_forecast_has_no_correlation():
    assert math.isnan(m.information_coefficient(ACTUAL, np.full(300, 0.1)))
    assert math.isnan(m.information_coefficient(ACTUAL, np.full(300, 1e-300)))


def test_correlation_survives_tiny_and_huge_values():
    for scale in (1e-200, 1e150):
        assert m.information_coefficient(ACTUAL, FORECAST * scale) == pytest.approx(
            m.information_coefficient(ACTUAL, FORECAST), rel=1e-12
        )


@pytest.mark.parametrize("measure", [m.sharpe, m.annual_return, m.max_drawdown, m.total_return, m.turnover])
def test_trading_measures_refuse_nan(measure):
    with pytest.raises(InputError, match="the first at row 1"):
        measure([0.01, np.nan])


def test_bad_levels_and_shapes_are_refused():
    with pytest.raises(InputError, match="strictly between 0 and 1, was 1"):
        m.pinball([1.0], [1.0], level=1)
    with pytest.raises(InputError, match="Pass one column"):
        m.sharpe(np.zeros((5, 2)))


def test_everything_exported_has_a_docstring_with_an_example():
    for name in m.__all__:
        assert ">>>" in getattr(m, name).__doc__, name


def test_the_sharpe_interval_of_independent_normal_returns_is_lo_2002():
    # Lo (2002), equation 9: the error of the ratio per bar is sqrt((1 + SR^2 / 2) / n)
    r = np.random.default_rng(3).normal(0.02, 0.1, 40_000)
    ratio = float(r.mean() / r.std(ddof=1))
    low, high = m.sharpe_interval(r, bars_per_year=1)
    assert (high - low) / 2 == pytest.approx(1.959964 * math.sqrt((1 + ratio**2 / 2) / len(r)), rel=0.04)
    assert (high + low) / 2 == pytest.approx(ratio, abs=1e-12)


def test_the_sharpe_interval_covers_the_truth_and_widens_where_returns_go_together():
    rng = np.random.default_rng(4)

    def path():  # a first-order moving average: autocorrelation 0.5
        e = rng.normal(size=501)
        return 0.1 + e[1:] + e[:-1]

    truth = 0.1 / math.sqrt(2.0)
    found = [m.sharpe_interval(path(), bars_per_year=1) for _ in range(400)]
    inside = np.mean([low <= truth <= high for low, high in found])
    assert 0.88 <= inside <= 0.98
    independent = m.sharpe_interval(rng.normal(0.1, 1.4, 500), bars_per_year=1)
    assert np.median([high - low for low, high in found]) > 1.2 * (independent[1] - independent[0])


def test_rolling_sharpe_is_the_sharpe_of_each_window():
    r = np.random.default_rng(5).normal(0.001, 0.01, 200)
    rows, ratio, low, high = m.rolling_sharpe(r, window=60, every=7)
    assert rows[-1] == 199
    assert set(np.diff(rows)) == {7}
    for row, one, a, b in zip(rows, ratio, low, high, strict=True):
        part = r[row - 59 : row + 1]
        assert one == pytest.approx(m.sharpe(part), rel=1e-12)
        assert (a, b) == pytest.approx(m.sharpe_interval(part), rel=1e-12)


def test_a_window_without_movement_or_with_too_few_returns_has_no_sharpe():
    assert [len(part) for part in m.rolling_sharpe(np.zeros(10), window=11)] == [0, 0, 0, 0]
    assert np.isnan(m.rolling_sharpe(np.zeros(30), window=25)[1]).all()
    assert all(math.isnan(v) for v in m.sharpe_interval([0.01, 0.02]))
    assert all(math.isnan(v) for v in m.sharpe_interval([]))
    with pytest.raises(InputError, match="A window needs"):
        m.rolling_sharpe(np.zeros(30), window=1)


def test_the_deepest_drawdown_is_the_largest_of_all():
    r = np.random.default_rng(6).normal(0.0, 0.02, 300)
    falls = m.drawdowns(r)
    wealth = np.cumprod(1 + r)
    assert falls[-1] == pytest.approx(1 - wealth[-1] / max(1.0, wealth.max()), abs=1e-15)
    assert m.max_drawdown(r) == falls.max()
    assert len(m.drawdowns([])) == 0


def test_a_lost_account_returns_minus_one_a_year():
    assert m.annual_return([0.1, -1.0, 0.3]) == -1.0
    assert m.annual_return([0.1, -1.5, 0.3]) == -1.0  # owing money is no better than having none
    assert m.annual_return([0.1, -1.5, -1.5], bars_per_year=3) == -1.0  # and losing it twice earns nothing


def test_the_sharpe_interval_is_the_delta_method_by_numbers():
    """Influence of each return as the numerical derivative of the ratio by its weight, its variance by statsmodels."""
    sm = pytest.importorskip("statsmodels.api")
    r = np.random.default_rng(6).gamma(0.3, size=400) - 0.25  # skewed: 1 - g3 SR + (g4 - 1)/4 SR^2 is far from 1

    def ratio(weights):
        mean = weights @ r
        return mean / np.sqrt(weights @ (r - mean) ** 2)

    even = np.full(len(r), 1 / len(r))
    step = 1e-6
    influence = np.array([(ratio((1 - step) * even + step * one) - ratio(even)) / step for one in np.eye(len(r))])
    lags = int(4 * (len(r) / 100) ** (2 / 9))
    fit = sm.OLS(influence, np.ones(len(r))).fit(cov_type="HAC", cov_kwds={"maxlags": lags, "use_correction": False})
    low, high = m.sharpe_interval(r, bars_per_year=1)
    assert (high - low) / 2 == pytest.approx(1.959964 * fit.bse[0], rel=5e-3)


def test_qlike_does_not_count_forecasts_that_are_not_positive():
    assert m.qlike([0.02, 0.01, 0.03], [0.02, -0.01, 0.0]) == 0.0
