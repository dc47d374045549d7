import numpy as np
import pytest

from longshort import ledger, metrics
from longshort.errors import InputError, NotEnoughData
from longshort.evaluation import selection as s


def test_deflated_sharpe_gives_the_number_of_its_authors():
    """Bailey and Lopez de Prado (2014), section 5: annual SR 2.5 over 1,250 days, skewness -3, kurtosis 10, 100 trials
    with an annual variance of 1/2: the benchmark is 0.1132 a day and the probability 0.9004."""
    benchmark = s.expected_max_sharpe(100, 0.5 / 250)
    assert benchmark == pytest.approx(0.1132, abs=5e-5)
    assert s._probability(2.5 / np.sqrt(250), benchmark, 1250, -3.0, 10.0) == pytest.approx(0.9004, abs=2e-4)


def test_the_probabilistic_sharpe_gives_the_numbers_of_its_authors():
    """Bailey and Lopez de Prado (2012), section 5: a hedge fund with an annual SR of 1.59 over 24 months, skewness
    -2.448, kurtosis 10.164: 0.913 that it is above zero, where normal returns would give 0.982."""
    monthly = 1.59 / np.sqrt(12)
    assert s._probability(monthly, 0.0, 24, -2.448, 10.164) == pytest.approx(0.913, abs=1e-3)
    assert s._probability(monthly, 0.0, 24, 0.0, 3.0) == pytest.approx(0.982, abs=1e-3)


def test_the_probabilistic_sharpe_follows_its_formula_from_the_returns_on():
    from scipy import stats

    r = np.random.default_rng(3).gamma(2.0, size=300) - 1.9
    ratio, benchmark = r.mean() / r.std(ddof=1), 0.02
    error = np.sqrt((1 - stats.skew(r) * ratio + (stats.kurtosis(r, fisher=False) - 1) / 4 * ratio**2) / 299)
    found = s.probabilistic_sharpe(r, benchmark)
    assert found.probability == pytest.approx(stats.norm.cdf((ratio - benchmark) / error), rel=1e-10)


@pytest.mark.parametrize("size", [1e-200, 1e-3, 1e200])
def test_a_sharpe_ratio_has_no_scale(size):
    r = np.random.default_rng(0).standard_t(3, size=250)
    assert s.probabilistic_sharpe(size * r).probability == pytest.approx(s.probabilistic_sharpe(r).probability)


def test_a_few_wins_that_make_the_variance_vanish_prove_nothing():
    """2 % of days win, the rest earn a little: g4 = 1 + g3^2, and with SR = 2 / g3 the published variance is
    (1 - g3 SR / 2)^2 = 0, so any benchmark just below would be passed with certainty."""
    won = np.zeros(500)
    won[::50] = 1.0
    share = 0.02
    skewness = (1 - 2 * share) / np.sqrt(share * (1 - share))
    returns = won - share + 2 / skewness * won.std(ddof=1)
    found = s.probabilistic_sharpe(returns, 0.28)
    assert (found.sharpe, found.kurtosis) == pytest.approx((2 / skewness, 1 + skewness**2))
    assert np.isnan(found.probability)
    lottery = s.probabilistic_sharpe(np.where(np.arange(500) == 100, 1.0, 0.0))  # the least that one win can do: 1/4
    assert lottery.probability == pytest.approx(0.977, abs=1e-3)


def test_returns_that_are_all_the_same_prove_nothing():
    assert np.isnan(s.probabilistic_sharpe(np.full(100, 0.001)).probability)
    assert np.isnan(s.deflated_sharpe(np.zeros(100), [0.1, 0.2]).probability)


@pytest.mark.parametrize("n", [5, 50, 200])
def test_the_deflated_probability_of_luck_scatters_as_the_formula_says(n):
    """Exactly, of N independent standard normal ratios: P(deflated > p) = 1 - Phi(z_N + Phi^-1(p))^N."""
    from scipy.stats import norm

    expected = s.expected_max_sharpe(n, 1.0)
    best = np.random.default_rng(n).normal(size=(20_000, n)).max(axis=1)
    deflated = norm.cdf(best - expected)
    for p in (0.5, 0.6, 0.9):
        assert np.mean(deflated > p) == pytest.approx(1 - norm.cdf(expected + norm.ppf(p)) ** n, abs=0.011)
    exact = 1 - norm.cdf(s.expected_max_sharpe(200, 1.0) + norm.ppf([0.5, 0.6, 0.95])) ** 200
    assert exact == pytest.approx([0.434, 0.224, 0.00103], abs=5e-4)  # what the docs say
    assert norm.cdf(norm.ppf(0.5 ** (1 / 200)) - s.expected_max_sharpe(200, 1.0)) == pytest.approx(0.474, abs=5e-4)


def test_without_their_sharpe_ratios_trials_are_as_wide_apart_as_the_estimate_itself():
    returns = np.random.default_rng(1).normal(0.001, 0.01, size=300)
    found = s.deflated_sharpe(returns, (), trials=20)
    assert found.benchmark == pytest.approx(s.expected_max_sharpe(20, 1 / 300))
    assert s.deflated_sharpe(returns, [0.1], trials=20) == found


def test_fewer_trials_than_sharpe_ratios_are_no_fewer_trials():
    returns = np.random.default_rng(1).normal(0.001, 0.01, size=300)
    tried = np.linspace(-0.1, 0.1, 50).tolist()
    assert s.deflated_sharpe(returns, tried, trials=3) == s.deflated_sharpe(returns, tried)
    assert s.deflated_sharpe(returns, tried, trials=80).trials == 80


@pytest.mark.parametrize("trials", [0, -1, 2.5, True, float("nan")])
def test_trials_are_counted_in_whole_numbers(trials):
    for call in (
        lambda: s.expected_max_sharpe(trials, 1.0),
        lambda: s.deflated_sharpe(np.arange(10.0), [0.1, 0.2], trials),
        lambda: s.minimum_backtest_length(trials),
    ):
        with pytest.raises(InputError, match="trials must be a whole number of at least 1"):
            call()


@pytest.mark.parametrize("variance", [-1e-9, float("nan")])
def test_a_variance_is_a_number_of_at_least_zero(variance):
    with pytest.raises(InputError, match="variance of Sharpe ratios"):
        s.expected_max_sharpe(10, variance)


def test_a_benchmark_is_a_number():
    with pytest.raises(InputError, match="benchmark must be a finite Sharpe ratio"):
        s.probabilistic_sharpe(np.arange(10.0), float("nan"))


def test_five_years_allow_forty_five_trials():
    """Bailey, Borwein, Lopez de Prado and Zhu (2014): with five years no more than 45 independent configurations."""
    assert s.minimum_backtest_length(45) < 5.05
    assert s.minimum_backtest_length(46) > 4.95
    assert s.minimum_backtest_length(45, sharpe=2.0) == pytest.approx(s.minimum_backtest_length(45) / 4)


def test_moments_are_those_of_scipy():
    from scipy import stats

    r = np.random.default_rng(0).standard_t(5, size=400)
    found = s.probabilistic_sharpe(r, 0.01)
    assert found.skewness == pytest.approx(stats.skew(r), rel=1e-12)
    assert found.kurtosis == pytest.approx(stats.kurtosis(r, fisher=False), rel=1e-12)
    assert found.sharpe * np.sqrt(252) == pytest.approx(metrics.sharpe(r / 100), rel=1e-12)


def test_the_probabilistic_sharpe_is_calibrated_on_noise():
    rng = np.random.default_rng(1)
    found = [s.probabilistic_sharpe(rng.standard_t(6, size=500)).probability for _ in range(800)]
    assert abs(np.mean(np.array(found) > 0.95) - 0.05) < 0.025


def test_the_best_of_many_is_deflated():
    """Best of 200 noise strategies: raw Sharpe above 1.5, deflated probability about a half."""
    raw, deflated = [], []
    for k in range(15):
        tried = np.random.default_rng(k).normal(0, 0.01, size=(504, 200))
        sharpes = tried.mean(axis=0) / tried.std(axis=0, ddof=1)
        best = tried[:, np.argmax(sharpes)]
        found = s.deflated_sharpe(best, sharpes.tolist())
        assert found.trials == 200
        assert s.probabilistic_sharpe(best).probability > 0.95
        raw.append(metrics.sharpe(best))
        deflated.append(found.probability)
    assert min(raw) > 1.5
    assert np.median(deflated) < 0.6
    assert max(deflated) < 0.95


def test_the_ledger_in_force_is_asked_by_default(tmp_path):
    returns = np.random.default_rng(1).normal(0.001, 0.01, size=300)
    with ledger.project(tmp_path):
        for i in range(5):
            ledger.record("trial", trial=str(i), sharpe=0.02 * i)
        ledger.record("trial", trial="without a Sharpe ratio")
        found = s.deflated_sharpe(returns)
        assert s.minimum_backtest_length() == s.minimum_backtest_length(6) > 0
    assert found.trials == 6
    assert found.benchmark == pytest.approx(s.expected_max_sharpe(6, float(np.var(0.02 * np.arange(5), ddof=1))))


def test_overfitting_of_two_trials_counted_by_hand():
    """Four blocks of two rows. Trial 0 is best in the first two blocks, trial 1 in the last two: of the six halves the
    two pure ones mislead (relative rank 1/3), and in the four mixed ones both are equal before and after."""
    good, bad = [2.0, 1.0], [-1.0, -2.0]
    returns = np.array([good * 2 + bad * 2, bad * 2 + good * 2]).T
    found = s.probability_of_overfitting(returns, blocks=4)
    assert len(found.ranks) == 6
    np.testing.assert_allclose(np.sort(found.ranks), [1 / 3, 1 / 3, 0.5, 0.5, 0.5, 0.5])
    assert found.probability == 1.0
    assert found.loss == pytest.approx(2 / 6)


def test_overfitting_tells_luck_from_skill():
    rng = np.random.default_rng(3)
    lucky = [s.probability_of_overfitting(rng.normal(size=(400, 10)), blocks=8).probability for _ in range(40)]
    assert abs(np.mean(lucky) - 0.5) < 0.1
    skilled = rng.normal(size=(400, 10)) + np.eye(10)[4] * 0.4
    assert s.probability_of_overfitting(skilled, blocks=8).probability < 0.02


def test_bootstrap_intervals_hold_what_they_promise():
    rng = np.random.default_rng(5)
    inside = 0
    for k in range(200):
        noise = rng.normal(size=401)
        r = 0.1 + noise[1:] + 0.5 * noise[:-1]  # autocorrelated: independent draws would be too sure of themselves
        low, high = s.bootstrap_interval(r, np.mean, level=0.9, draws=200, length=12, seed=k)
        inside += low < 0.1 < high
    assert 0.83 < inside / 200 < 0.95


def test_resampled_blocks_follow_time_and_wrap():
    rows = s.resampled(np.arange(1000.0), 5, 20.0)
    follows = (np.diff(rows, axis=1) % 1000) == 1
    assert 0.93 < follows.mean() < 0.97
    assert set(rows.ravel()) <= set(range(1000))
    assert abs(rows.mean() - 499.5) < 60


def some_losses(n=400):
    rng = np.random.default_rng(3)
    benchmark = rng.normal(size=n) ** 2
    worse = np.array([0.05, 0.0, -0.03, 0.1, -0.02, 0.6])
    return benchmark, benchmark[:, None] + 0.5 * rng.normal(size=(n, 6)) + worse


@pytest.mark.full
def test_the_reality_check_and_its_variance_are_those_of_the_arch_package(monkeypatch):
    """On the same resampled histories White's p-value is arch's, one count in a thousand aside. (The p-value it calls
    consistent is not studentised, so Hansen's is checked against his formulas below.)"""
    arch = pytest.importorskip("arch.bootstrap")
    benchmark, losses = some_losses()
    theirs = arch.SPA(benchmark, losses, reps=1000, block_size=8, bootstrap="stationary", seed=5)
    theirs.compute()
    draws = arch.StationaryBootstrap(8, np.arange(len(losses)), seed=5)
    rows = np.stack([data[0][0] for data in draws.bootstrap(1000)])
    monkeypatch.setattr(s, "resampled", lambda *_: rows)
    found = s.superior_ability({str(i): v for i, v in enumerate(losses.T)}, benchmark, length=8)
    assert found["reality_check"] == pytest.approx(theirs.pvalues["upper"], abs=0.0011)
    np.testing.assert_allclose(s._bootstrap_variance(benchmark[:, None] - losses, 8.0), theirs._loss_diff_var)


@pytest.mark.full
def test_the_confidence_set_is_that_of_the_arch_package(monkeypatch):
    arch = pytest.importorskip("arch.bootstrap")
    _, losses = some_losses()
    theirs = arch.MCS(losses, size=0.1, reps=1000, block_size=8, bootstrap="stationary", seed=5)
    theirs.compute()
    monkeypatch.setattr(s, "resampled", lambda *_: np.stack(theirs._bootstrap_indices))
    found = s.confidence_set({str(i): v for i, v in enumerate(losses.T)}, length=8)
    assert list(found) == [str(i) for i in theirs.pvalues.index]
    np.testing.assert_allclose(list(found.values()), theirs.pvalues["Pvalue"])


def test_superior_ability_follows_the_formulas_of_hansen():
    """Hansen (2005), equations 6 to 8 written as loops: studentised maximum, recentred where not far behind."""
    benchmark, losses = some_losses(200)
    n, gains = len(losses), benchmark[:, None] - losses
    rows = s.resampled(np.arange(n), 300, 8.0, seed=1)
    mean, sigma = gains.mean(axis=0), np.zeros(6)
    for k in range(6):
        x = gains[:, k] - mean[k]
        sigma[k] = x @ x / n
        for i in range(1, n):
            kappa = (n - i) / n * (1 - 1 / 8) ** i + i / n * (1 - 1 / 8) ** (n - i)
            sigma[k] += 2 * kappa * (x[:-i] @ x[i:]) / n
    sigma = np.sqrt(sigma)
    statistic, hits, recentred = max(0.0, (np.sqrt(n) * mean / sigma).max()), 0, 0
    for history in rows:
        z = []
        for k in range(6):
            near = np.sqrt(n) * mean[k] / sigma[k] >= -np.sqrt(2 * np.log(np.log(n)))
            recentred += near
            z.append(np.sqrt(n) * (gains[history, k].mean() - mean[k] * near) / sigma[k])
        hits += max(0.0, *z) >= statistic
    assert 0 < recentred < 6 * 300
    found = s.superior_ability({str(i): v for i, v in enumerate(losses.T)}, benchmark, length=8, draws=300, seed=1)
    assert found["spa"] == (1 + hits) / 301


def test_superior_ability_knows_how_many_were_tried():
    false_alarms = 0
    for k in range(30):
        rng = np.random.default_rng(k)
        benchmark = rng.normal(size=500) ** 2
        useless = {f"m{i}": benchmark + rng.normal(scale=0.5, size=500) for i in range(20)}
        false_alarms += s.superior_ability(useless, benchmark, seed=k)["spa"] < 0.05
        found = s.superior_ability(useless | {"good": benchmark - 0.15 + rng.normal(scale=0.3, size=500)}, benchmark)
        assert found["spa"] < 0.01
        assert found["reality_check"] < 0.01
        assert found["best"] == "good"
    assert false_alarms <= 5  # the 99 % bound of 30 draws at 5 %


def test_the_benchmark_itself_is_not_superior_to_it():
    loss = np.random.default_rng(0).normal(size=100) ** 2
    assert s.superior_ability({"copy": loss}, loss) == {"spa": 1.0, "reality_check": 1.0, "best": "copy"}
    found = s.confidence_set({"a": loss, "copy": loss, "worse": loss + 1e-3})
    assert found == {"worse": 0.0, "a": 1.0, "copy": 1.0}


def test_the_confidence_set_keeps_what_cannot_be_told_from_the_best():
    kept = 0
    for k in range(20):
        rng = np.random.default_rng(k)
        common = rng.normal(size=600) ** 2
        biases = {"a": 0.0, "b": 0.0, "c": 0.2}
        found = s.confidence_set({n: common + bias + rng.normal(scale=0.2, size=600) for n, bias in biases.items()})
        kept += found["a"] > 0.1 and found["b"] > 0.1
        assert found["c"] < 0.05
    assert kept >= 15  # 18 expected at 90 %


def test_means_of_resampled_histories_do_not_depend_on_how_many_fit_into_memory():
    values = np.random.default_rng(0).normal(size=(50, 2))
    rows = s.resampled(np.arange(50), 20, 5.0, seed=3)
    np.testing.assert_allclose(s.bootstrap_means(values, 5.0, 20, seed=3), values[rows].mean(axis=1), atol=1e-15)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: s.probabilistic_sharpe([[0.1]]), InputError, "one series"),
        (lambda: s.probabilistic_sharpe([0.1, np.inf, 0.2, 0.3]), InputError, "infinite"),
        (lambda: s.probabilistic_sharpe([0.1, np.nan]), NotEnoughData, "found 1"),
        (lambda: s.expected_max_sharpe(0, 1.0), InputError, "at least 1"),
        (lambda: s.minimum_backtest_length(10, 0.0), InputError, "above 0"),
        (lambda: s.probability_of_overfitting(np.zeros((100, 1))), InputError, "at least 2 trials"),
        (lambda: s.probability_of_overfitting(np.zeros((100, 3)), blocks=5), InputError, "even number"),
        (lambda: s.probability_of_overfitting(np.zeros((20, 3))), NotEnoughData, "at least 32 rows"),
        (lambda: s.bootstrap_interval(np.ones(9), np.mean, level=1.0), InputError, "between 0 and 1"),
    ],
)
def test_bad_arguments_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_the_best_of_independent_noise_is_the_expected_maximum_of_normals():
    """E max of 40 standard normals is 2.1608 (Harter, 1961)."""
    noise = np.random.default_rng(3).normal(size=(2000, 40))
    found = s.best_of_many(noise, length=1.0)
    assert found.expected * np.sqrt(2000) == pytest.approx(2.1608, abs=0.1)
    assert found.best == pytest.approx(noise.mean(axis=0).max())


def test_trials_that_resemble_each_other_count_less():
    rng = np.random.default_rng(0)
    common = rng.normal(size=(500, 1))
    alike = s.best_of_many(common + 0.05 * rng.normal(size=(500, 40)))
    apart = s.best_of_many(rng.normal(size=(500, 40)))
    assert alike.expected < 0.4 * apart.expected


def test_the_reality_check_rejects_noise_at_its_nominal_rate():
    rng = np.random.default_rng(1)
    p = [s.best_of_many(rng.normal(size=(200, 10)), draws=200, seed=i).p for i in range(200)]
    assert 2 <= sum(x < 0.05 for x in p) <= 22  # binomial 99 % around 10


def test_dates_a_trial_never_reached_are_stood_in_for():
    gains = np.random.default_rng(2).normal(size=(300, 5))
    gains[100:, 4] = np.nan
    found = s.best_of_many(gains)
    assert found.trials == 5
    assert found.best == pytest.approx(gains[:, :4].mean(axis=0).max())
    with pytest.raises(InputError, match="at least one finite gain"):
        s.best_of_many(np.full((10, 2), np.nan))


def test_nothing_to_compare_is_said_so():
    with pytest.raises(InputError, match="no forecast to compare"):
        s.superior_ability({}, np.ones(50))
