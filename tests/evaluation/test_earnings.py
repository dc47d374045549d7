import numpy as np
import pytest

from longshort import ledger
from longshort.data import synthetic
from longshort.evaluation import Evidence, WalkForward, judge, walk_forward
from longshort.evaluation.earnings import bars_per_year, cross_section, follow_signs, money
from longshort.evaluation.statistics import mean_test
from longshort.features import forward_log_return, log_return
from longshort.forecast import TargetInfo
from longshort.models import Ridge

DAY = 86_400 * 10**9
TIME = np.arange(1500) * DAY


def test_a_weeks_positions_by_hand():
    """Two symbols, decisions held two bars with half the capital each, 10 bp a trade."""
    said = np.array([[1.0, -2.0], [1.0, np.nan], [-1.0, 3.0]])
    returns = np.array([[0.02, 0.01], [-0.01, 0.04], [0.03, np.nan]])
    earned = follow_signs(said, returns, horizon=2, cost_bp=10.0)
    np.testing.assert_allclose(earned.weights, [[0.25, -0.25], [0.5, -0.25], [0.0, 0.25]])
    np.testing.assert_allclose(earned.gross, [0.0025, -0.015, 0.0], atol=1e-16)
    np.testing.assert_allclose(earned.traded, [0.5, 0.25, 1.0])
    np.testing.assert_allclose(earned.net, earned.gross - [0.0005, 0.00025, 0.001], atol=1e-16)


def test_days_of_four_years_have_as_many_bars_a_year_as_a_year_has_days():
    """1,462 midnights have 1,461 days between them, which are four years of the calendar."""
    assert bars_per_year(np.arange(1462) * DAY) == 365.25
    assert bars_per_year(np.arange(2) * DAY) == 365.25


def test_break_even_cost_is_the_cost_at_which_nothing_is_left():
    rng = np.random.default_rng(0)
    returns = rng.normal(0, 0.01, size=(1500, 3))
    said = returns + rng.normal(0, 0.05, size=returns.shape)
    found = money(said, returns, TIME, 1, (), 1)
    assert found is not None
    assert follow_signs(said, returns, 1, cost_bp=found["break_even_bp"]).net.sum() == pytest.approx(0.0, abs=1e-12)
    assert found["sharpe_low"] < found["sharpe"] < found["sharpe_high"]
    assert found["random_entries_p"] < 0.02


def test_always_long_is_no_better_than_at_random_however_much_it_earned():
    returns = np.random.default_rng(1).normal(0.002, 0.01, size=(1500, 1))
    said = np.ones((1500, 1))
    said[::50] = -1.0
    found = money(said, returns, TIME, 1, (), 1)
    assert found is not None
    assert found["sharpe"] > 1.5
    assert 0.05 < found["random_entries_p"] < 0.95
    assert found["buy_and_hold"]["sharpe"] > 1.5


def test_random_entries_are_rejected_as_often_as_promised():
    rng = np.random.default_rng(2)
    rejected = 0
    for _ in range(100):
        returns, said = rng.normal(0.001, 0.01, size=(300, 1)), np.repeat(rng.normal(size=(60, 1)), 5, axis=0)
        found = money(said, returns, TIME[:300], 1, (), 1)
        assert found is not None
        rejected += found["random_entries_p"] < 0.05
    assert rejected <= 11  # 99 % bound of 100 draws at 5 %


def test_too_few_rows_or_no_position_say_nothing():
    returns = np.full((1500, 1), 0.01)
    assert money(np.ones((50, 1)), returns[:50], TIME[:50], 1, (), 1) is None
    assert money(np.zeros((1500, 1)), returns, TIME, 1, (), 1) is None


def test_a_cross_section_is_judged_by_date():
    rng = np.random.default_rng(3)
    market = rng.normal(size=(400, 1))  # what all symbols share neither helps nor hurts
    score = rng.normal(size=(400, 20))
    actual = 0.1 * score + market + rng.normal(size=(400, 20))
    found = cross_section(actual, score, 1)
    assert found is not None
    assert found["rank_ic"] == pytest.approx(0.095, abs=0.03)
    assert found["rank_ic_p"] < 1e-6
    assert found["top_minus_bottom"] == pytest.approx(0.1 * 2 * 1.4, abs=0.1)
    assert found["turnover"] == pytest.approx(0.8, abs=0.05)
    score[::2] = 0.0  # no order on every second date
    halted = cross_section(actual, score, 1)
    assert halted is not None
    assert halted["turnover"] == pytest.approx(0.8, abs=0.05)
    constant = cross_section(actual, np.repeat(score[1:2], 400, axis=0), 1)
    assert constant is not None
    assert constant["turnover"] == 0.0
    assert cross_section(actual[:, :4], score[:, :4], 1) is None


def test_rank_ic_error_is_newey_wests():
    from longshort import metrics

    rng = np.random.default_rng(4)
    actual, score = rng.normal(size=(2, 200, 6))
    found = cross_section(actual, score, 5)
    assert found is not None
    assert found["rank_ic_error"] == mean_test(metrics.information_coefficients(actual, score), 5).error


def test_coverage_is_the_share_of_outcomes_inside():
    rng = np.random.default_rng(5)
    actual = rng.normal(size=(1000, 1))
    zero = np.zeros((1000, 1))
    case = Evidence(
        name="m",
        target=TargetInfo("return"),
        time=TIME[:1000],
        actual=actual,
        forecast=zero + 1e-9 * actual,
        baselines={"zero": zero},
        std=np.ones((1000, 1)),
    )
    (found,) = judge(case).details["coverage"]
    assert found["promised"] == pytest.approx(0.9)
    assert found["held"] == np.mean(np.abs(actual) <= 1.6448536269514722)
    assert "90 % intervals held" in " ".join(judge(case).remarks)


def test_a_study_leaves_its_sharpe_ratio_in_the_ledger_and_is_deflated_by_all_of_them(tmp_path):
    bars = synthetic.planted_signal(900, 1, seed=1)
    with ledger.project(tmp_path):
        for lag in (1, 2, 3):
            study = walk_forward(
                Ridge([log_return(lag)], target=forward_log_return(1)), bars, WalkForward("1Y", "6M"), baselines=[]
            )
        facts = [record.facts for record in ledger.current().records("trial")]
    assert len(study.trial_sharpes) == 3
    assert [f["sharpe"] for f in facts] == list(study.trial_sharpes)
    found = study.verdict().details["money"]
    assert found["trials"] == 3
    assert found["sharpe_per_bar"] == facts[-1]["sharpe"]
    assert facts[-1]["forecasts"] == study.forecast.digest
    study.save(tmp_path / "study")
    assert type(study).load(tmp_path / "study").verdict().details["money"] == found
