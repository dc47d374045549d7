"""Known answers of the tests, then their size and power by simulation."""

import numpy as np
import pytest

from longshort.errors import InputError
from longshort.evaluation import statistics as st
from longshort.evaluation.verdict import is_edge

RNG = np.random.default_rng(7)


# --------------------------------------------------------------------------------------------------- known answers


@pytest.mark.parametrize("horizon", [1, 2, 5, 12])
@pytest.mark.parametrize("n", [40, 250])
def test_diebold_mariano_agrees_with_the_dieboldmariano_package(n, horizon):
    package = pytest.importorskip("dieboldmariano")  # Bartlett weights, h - 1 lags, HLN factor, Student's t
    rng = np.random.default_rng(n + horizon)
    y, a, b = (np.convolve(rng.normal(size=n + 5), np.ones(6) / 6, "valid") for _ in range(3))
    statistic, p = package.dm_test(y, b, a, h=horizon, variance_estimator="bartlett")
    ours = st.diebold_mariano((y - a) ** 2, (y - b) ** 2, horizon, lags=horizon - 1)
    assert ours.statistic == pytest.approx(statistic, rel=1e-10)
    assert ours.p_two_sided == pytest.approx(p, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("lags", [0, 1, 4, 20])
def test_newey_west_agrees_with_statsmodels(lags):
    sm = pytest.importorskip("statsmodels.api")
    x = np.convolve(RNG.normal(size=304), np.ones(5), "valid") + 0.3
    fit = sm.OLS(x, np.ones(len(x))).fit(cov_type="HAC", cov_kwds={"maxlags": lags, "use_correction": False})
    ours = st.mean_test(x, lags=lags, factor=False)
    assert ours.error == pytest.approx(fit.bse[0], rel=1e-12)
    assert ours.statistic == pytest.approx(fit.tvalues[0], rel=1e-12)


@pytest.mark.parametrize("horizon", [1, 5])
def test_clark_west_agrees_with_the_paper_formula_regressed_on_a_constant(horizon):
    sm = pytest.importorskip("statsmodels.api")  # Clark and West (2007), equations 2.1 and 3.1
    y, f, b = RNG.normal(size=400), RNG.normal(size=400), 0.1 * RNG.normal(size=400)
    adjusted = (y - b) ** 2 - ((y - f) ** 2 - (b - f) ** 2)
    lags = st.automatic_lags(400, horizon)
    fit = sm.OLS(adjusted, np.ones(400)).fit(cov_type="HAC", cov_kwds={"maxlags": lags, "use_correction": False})
    factor = np.sqrt((400 + 1 - 2 * horizon + horizon * (horizon - 1) / 400) / 400)
    ours = st.clark_west(y, f, b, horizon)
    assert ours.mean == pytest.approx(fit.params[0], rel=1e-10)
    assert ours.statistic == pytest.approx(fit.tvalues[0] * factor, rel=1e-10)


def test_student_t_tail_against_the_printed_table():
    # one-sided 5 % points of Student's t: 2.015 (5), 1.812 (10), 1.697 (30), 1.645 (infinity)
    for degrees, point in ((5, 2.015), (10, 1.812), (30, 1.697), (1e9, 1.645)):
        assert st._t_tail(point, degrees) == pytest.approx(0.05, abs=2e-4)


def test_lags_grow_with_rows_and_cover_the_overlap():
    assert [st.automatic_lags(n) for n in (0, 1, 3, 100, 1000, 2500)] == [0, 0, 0, 4, 6, 8]
    for horizon in (1, 2, 5, 20):
        assert st.automatic_lags(2500, horizon) >= horizon - 1
    assert st.automatic_lags(60, horizon=20) == 15


def test_symbols_are_averaged_per_date_before_testing():
    day = RNG.normal(size=(500, 1))
    one = st.mean_test(day[:, 0] + 0.05)
    many = st.mean_test(st.per_date(np.repeat(day + 0.05, 30, axis=1)))
    assert many.statistic == pytest.approx(one.statistic, rel=1e-12)  # 30 copies of one symbol prove nothing more
    assert np.isnan(st.per_date([[np.nan, np.nan]])[0])
    assert st.per_date([[1.0, np.nan], [1.0, 3.0]]).tolist() == [1.0, 2.0]


def test_nothing_to_test_gives_nan_and_no_edge():
    assert np.isnan(st.mean_test([1.0, 1.0, 1.0, 1.0]).p_greater)
    assert np.isnan(st.mean_test([]).mean)
    assert np.isnan(st.mean_test([1.0, 2.0]).p_greater)
    zero = np.zeros(100)
    assert not is_edge(RNG.normal(size=100), zero, {"zero": zero})
    assert st.mean_test([np.nan, 1.0]).to_dict()["error"] is None


def test_shapes_must_agree():
    with pytest.raises(InputError, match=r"actual \(5,\), forecast \(4,\)"):
        st.clark_west(np.ones(5), np.ones(4), np.ones(5))
    with pytest.raises(InputError, match="one series"):
        st.mean_test(np.ones((3, 3)))


def test_skill_interval_covers_the_truth():
    truth, inside = 0.1, 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        naive = np.convolve(rng.normal(size=504), np.ones(5), "valid") ** 2
        found = st.skill_test(0.9 * naive + rng.normal(size=500) * 0.5, naive)
        low, high = found.interval()
        inside += low <= truth <= high
    assert 0.88 * 300 <= inside <= 0.99 * 300


def test_rows_needed_and_power_agree():
    n = st.rows_needed(0.05)
    assert st.power(0.05, n) == pytest.approx(0.8, abs=1e-3)
    assert st.detectable_ic(n) == pytest.approx(0.05, abs=1e-4)
    with pytest.raises(InputError, match="was 0"):
        st.rows_needed(0)


# ------------------------------------------------------------------------------------------------- size and power

SETS = 1000
BOUND = 67  # 99 % quantile of the binomial distribution with 1,000 draws at 5 %


def _returns(kind: str, n: int, rng: np.random.Generator) -> np.ndarray:
    if kind == "walk":
        return 0.01 * rng.normal(size=n)
    if kind == "drift":
        return 0.01 * rng.normal(size=n) + 0.0006
    if kind == "student":
        return 0.01 * rng.standard_t(3, size=n)
    variance, out = 1e-4, np.empty(n)  # GARCH(1,1), alpha 0.08, beta 0.90
    z = rng.normal(size=n)
    for t in range(n):
        out[t] = np.sqrt(variance) * z[t]
        variance = 2e-6 + 0.08 * out[t] ** 2 + 0.90 * variance
    return out


def _useless_forecasts(kind: str, past: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Forecasts made at rows 0 .. n-1 of what comes after `past` rows; they read the past only."""
    if kind == "noise":
        return 0.002 * rng.normal(size=n)
    if kind == "slow":
        noise, out = rng.normal(size=n), np.empty(n)
        level = rng.normal() / np.sqrt(1 - 0.95**2)
        for t in range(n):
            level = 0.95 * level + noise[t]
            out[t] = 0.0005 * level
        return out
    total = np.concatenate([[0.0], np.cumsum(past)])  # momentum: the mean return of the last 20 bars
    known = len(past) - n + np.arange(n) + 1
    return (total[known] - total[known - 20]) / 20


def _outcomes(returns: np.ndarray, n: int, horizon: int) -> np.ndarray:
    """Sum of the `horizon` returns after each of n rows; the last row's outcome ends with the series."""
    total = np.concatenate([[0.0], np.cumsum(returns)])
    begin = len(returns) - n - horizon + 1 + np.arange(n)
    return total[begin + horizon] - total[begin]


def _mean_so_far(returns: np.ndarray, n: int, horizon: int) -> np.ndarray:
    total = np.concatenate([[0.0], np.cumsum(returns)])
    begin = len(returns) - n - horizon + 1 + np.arange(n)
    return horizon * total[begin] / begin


def _false_edges(market: str, model: str, n: int, horizon: int, sets: int = SETS) -> int:
    found = 0
    for seed in range(sets):
        rng = np.random.default_rng([seed, n, horizon])
        returns = _returns(market, 750 + n + horizon - 1, rng)
        past = returns[: len(returns) - horizon]  # the last decision has seen all but the last outcome
        f = _useless_forecasts(model, past, n, rng)
        baselines = {"zero": np.zeros(n), "mean": _mean_so_far(returns, n, horizon)}
        found += is_edge(_outcomes(returns, n, horizon), f, baselines, horizon)
    return found


@pytest.mark.parametrize(
    ("market", "model", "horizon"),
    [
        ("walk", "noise", 1),
        ("walk", "slow", 1),
        ("drift", "momentum", 1),
        ("student", "noise", 1),
        ("walk", "slow", 5),
        ("drift", "momentum", 20),
    ],
)
def test_useless_forecasts_reach_an_edge_in_at_most_5_percent(market, model, horizon):
    assert _false_edges(market, model, n=500, horizon=horizon) <= BOUND


@pytest.mark.full
@pytest.mark.parametrize("horizon", [1, 5, 20])
@pytest.mark.parametrize("model", ["noise", "slow", "momentum"])
@pytest.mark.parametrize("market", ["walk", "drift", "garch", "student"])
def test_useless_forecasts_reach_an_edge_in_at_most_5_percent_everywhere(market, model, horizon):
    assert _false_edges(market, model, n=1000, horizon=horizon) <= BOUND


def _edges(ic: float, n: int, sets: int = 400) -> float:
    found = 0
    for seed in range(sets):
        rng = np.random.default_rng([seed, n])
        f, noise, history = rng.normal(size=n), rng.normal(size=n), rng.normal(size=750)
        y = ic * f + np.sqrt(1 - ic * ic) * noise
        total = np.cumsum(np.concatenate([history, y]))
        mean = total[749 : 749 + n] / np.arange(750, 750 + n)
        found += is_edge(y, f, {"zero": np.zeros(n), "mean": mean})
    return found / sets


@pytest.mark.parametrize(("ic", "n", "at_least"), [(0.05, 2500, 0.70), (0.10, 1000, 0.85)])
def test_small_planted_skill_is_found(ic, n, at_least):
    assert _edges(ic, n) >= at_least


def test_skill_below_what_the_rows_can_show_is_rarely_found_and_the_power_says_so():
    assert _edges(0.02, 2500) == pytest.approx(st.power(0.02, 2500), abs=0.08)


def test_overlapping_outcomes_fool_a_test_without_lags():
    naive = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        y = _outcomes(_returns("walk", 1519, rng), 500, 20)
        f = _useless_forecasts("slow", np.zeros(500), 500, rng)
        naive += st.mean_test(2 * y * f, lags=0, factor=False).p_greater < 0.05
    assert naive > 60  # 20 % and more of false alarms: why lags are computed, never chosen


# --------------------------------------------------------------------------- forecasts that wander like a price


def _reverting(seed: int, n: int = 700) -> tuple[np.ndarray, np.ndarray]:
    """Returns of a random walk, and forecasts that pull the price back to its training mean."""
    rng = np.random.default_rng([seed, n])
    steps = 0.01 * rng.normal(size=500 + n)
    price = np.concatenate([[0.0], np.cumsum(steps)])
    return steps[500:], -0.02 * (price[500 : 500 + n] - price[:500].mean())


def test_forecasts_that_wander_have_to_pass_the_sign_test_too():
    alone = together = 0
    for seed in range(SETS):
        y, f = _reverting(seed)
        p, clark_west, sign = st.knows_more(y, f, np.zeros(len(y)))
        assert sign is not None
        assert p == max(clark_west.p_greater, sign.p_greater)
        alone += clark_west.p_greater < 0.05
        together += p < 0.05
    assert alone > BOUND  # the Dickey-Fuller distribution, see `knows_more`
    assert together <= BOUND


def test_other_forecasts_are_judged_by_clark_west_alone():
    y, f = RNG.normal(size=500), RNG.normal(size=500)
    p, clark_west, sign = st.knows_more(y, f, np.zeros(500))
    assert sign is None
    assert p == clark_west.p_greater
    y, f = _reverting(1)
    informed = 0.3 * y + f  # persistent and right
    assert st.knows_more(y, informed, np.zeros(700))[0] < 0.001


@pytest.mark.parametrize(
    ("n", "horizon", "lags"), [(1250, 1, 7), (1250, 5, 12), (1250, 20, 57), (100, 1, 4), (40, 20, 10), (1, 1, 0)]
)
def test_lags_grow_with_the_rows_and_reach_over_the_overlap(n, horizon, lags):
    """floor(4 (n/100)^(2/9)), Newey and West (1994); at least 3 (h - 1), at most n / 4."""
    assert st.automatic_lags(n, horizon) == lags


def test_a_variance_of_many_lags_has_few_degrees_of_freedom():
    """The equivalent degrees of Bartlett's window are 1.5 n / (lags + 1) (Priestley, 1981, table 6.1)."""
    from scipy import stats

    x = np.random.default_rng(2).normal(0.3, 1.0, size=80)
    found = st.mean_test(x, horizon=5)
    assert found.lags == 12
    assert found.p_greater == pytest.approx(stats.t.sf(found.statistic, 1.5 * 80 / 13))
    assert st.mean_test(x, lags=0).p_greater == pytest.approx(stats.t.sf(st.mean_test(x, lags=0).statistic, 79))
