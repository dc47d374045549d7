"""What a verdict says about evidence whose truth is known."""

import json
import math

import numpy as np
import pytest

from longshort.errors import NotEnoughData
from longshort.evaluation import Evidence, judge, selection
from longshort.evaluation import statistics as st
from longshort.evaluation.verdict import is_edge
from longshort.evaluation.wording import _money
from longshort.forecast import TargetInfo

N = 1500
DAYS = np.arange("2014-01-01", "2024-01-01", dtype="datetime64[D]")
TIME = DAYS[np.is_busday(DAYS)][:N].astype("datetime64[ns]").astype(np.int64)


def evidence(seed=0, ic=0.15, n_symbols=1, kind="return", horizon=1, **more):
    rng = np.random.default_rng(seed)
    f = 0.01 * rng.normal(size=(N, n_symbols))
    y = ic * f + math.sqrt(1 - ic**2) * 0.01 * rng.normal(size=(N, n_symbols))
    settings = {
        "name": "LSTM",
        "target": TargetInfo(kind, horizon),
        "time": TIME,
        "actual": y,
        "forecast": ic * f,
        "baselines": {"zero": np.zeros_like(y), "expanding_mean": np.cumsum(y, axis=0) / np.arange(1, N + 1)[:, None]},
        "symbols": tuple(f"S{j}" for j in range(n_symbols)),
        "fold": np.repeat(np.arange(6), N // 6),
    }
    settings["baselines"]["expanding_mean"] = np.vstack(
        [np.zeros((1, n_symbols)), settings["baselines"]["expanding_mean"][:-1]]
    )
    return Evidence(**(settings | more))


def as_prices(e):
    """The same forecasts as prices: the last close times one plus the return."""
    last = 100 * np.exp(np.cumsum(np.vstack([np.zeros((1, e.actual.shape[1])), np.log1p(e.actual[:-1])]), axis=0))
    return Evidence(
        name=e.name,
        target=TargetInfo("close"),
        time=e.time,
        actual=last * (1 + e.actual),
        forecast=last * (1 + e.forecast),
        baselines={"last": last * (1 + e.baselines["zero"]), "drift": last * (1 + e.baselines["expanding_mean"])},
        reference=last,
        symbols=e.symbols,
        fold=e.fold,
    )


def rounded(value):
    """The value with numbers to 6 digits: sums over padded rows are taken in another order."""
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    if isinstance(value, list):
        return [rounded(v) for v in value]
    return float(f"{value + 0.0:.6g}") if isinstance(value, float) else value


def test_an_edge_has_exit_code_0_and_says_so_in_one_sentence():
    verdict = judge(evidence())
    assert verdict.exit_code == 0
    assert verdict.edge
    assert verdict.sentence.startswith("Edge: on 1,500 out-of-sample rows (2014-01-01 to 2019-10-01) LSTM knew more")
    assert "zero and the mean so far (Clark-West p < 0.001 and < 0.001, IC +0.1" in verdict.sentence
    assert str(verdict) == verdict.sentence


def test_no_evidence_has_exit_code_3_and_says_what_would_have_shown():
    verdict = judge(evidence(ic=0.0, forecast=0.001 * np.random.default_rng(5).normal(size=(N, 1))))
    assert verdict.exit_code == 3
    assert verdict.sentence.startswith("No evidence:")
    assert "an IC of 0.06 would have shown in four cases of five" in verdict.sentence


def test_a_forecast_of_the_wrong_sign_has_no_edge():
    good = evidence()
    assert judge(evidence(forecast=-good.forecast)).exit_code == 3


def test_noisy_but_informed_forecasts_are_an_edge_whose_size_is_called_wrong():
    good = evidence(ic=0.2)
    verdict = judge(evidence(ic=0.2, forecast=10 * good.forecast))
    assert verdict.exit_code == 0  # Clark-West looks for knowledge, not for size
    assert verdict.details["skill"] < 0
    assert "times that of" in verdict.sentence
    assert verdict.details["benchmarks"]["zero"]["diebold_mariano"]["statistic"] < 0
    assert verdict.details["calibration"]["slope"] == pytest.approx(0.1, abs=0.04)


def test_a_base_rate_that_moved_is_no_edge_for_who_always_says_a_little_more():
    """Rises were 50 % of the past and are 56 % of these rows: any forecast above a half beats the share so far."""
    edges = misled = 0
    for seed in range(200):
        rng = np.random.default_rng([7, seed])
        rose = (rng.random(2500) < np.where(np.arange(2500) < 1500, 0.50, 0.56)).astype(float)
        share = (np.cumsum(rose) / np.arange(1, 2501))[1499:-1]
        said = 0.56 + 0.03 * rng.normal(size=1000)
        edges += is_edge(rose[1500:], said, {"share": share})
        misled += st.clark_west(rose[1500:], said, share).p_greater < 0.05
    assert misled > 150
    assert edges <= 18  # the 99 % quantile of the binomial distribution at 5 %


def test_the_sentence_says_when_only_the_timing_was_missing():
    rng = np.random.default_rng(1)
    rose = (rng.random((N, 1)) < 0.56).astype(float)
    said = 0.56 + 0.03 * rng.normal(size=(N, 1))
    half = {"share": np.full((N, 1), 0.5)}
    verdict = judge(evidence(kind="direction", actual=rose, forecast=said, baselines=half))
    assert verdict.exit_code == 3
    assert verdict.details["passed"] == {"share": True}
    assert verdict.details["ic_p"] > 0.05
    assert ", not shown to be above 0: p " in verdict.sentence


def test_every_benchmark_must_be_beaten():
    good = evidence()
    knows_as_much = good.forecast + 0.0
    verdict = judge(evidence(baselines=dict(good.baselines) | {"oracle": knows_as_much}))
    assert verdict.exit_code == 3
    assert verdict.details["passed"] == {"zero": True, "expanding_mean": True, "oracle": False}


def test_prices_are_judged_as_the_change_they_imply():
    returns = evidence(seed=3)
    a, b = judge(returns), judge(as_prices(returns))
    assert a.exit_code == b.exit_code == 0
    for key in ("ic", "skill", "skill_low", "hit_rate"):
        assert a.details[key] == pytest.approx(b.details[key], rel=1e-9)
    assert a.details["benchmarks"]["zero"]["clark_west"]["p"] == pytest.approx(
        b.details["benchmarks"]["last"]["clark_west"]["p"], rel=1e-6
    )


def test_r2_of_prices_never_stands_without_persistence():
    verdict = judge(as_prices(evidence(ic=0.0, forecast=np.zeros((N, 1)) + 1e-5)))
    r2 = verdict.details["r2"]
    assert set(r2) == {"forecast", "last", "drift"}
    assert min(r2.values()) > 0.95
    assert {"LSTM", "last"} <= set(verdict.table.dropna(subset="r2").index)


def test_learning_that_stocks_rise_is_not_an_edge():
    rng = np.random.default_rng(1)
    y = 0.0012 + 0.01 * rng.normal(size=(N, 1))
    found = evidence(
        actual=y,
        forecast=np.full((N, 1), 0.0012) + 1e-5 * rng.normal(size=(N, 1)),
        baselines={
            "zero": np.zeros((N, 1)),
            "mean": np.vstack([np.full((20, 1), 0.0012), (np.cumsum(y) / np.arange(1, N + 1))[19:-1, None]]),
        },
    )
    verdict = judge(found)
    assert verdict.details["passed"]["zero"]
    assert verdict.exit_code == 3


def test_a_lagging_copy_of_the_price_raises_the_alarm():
    rng = np.random.default_rng(2)
    e = as_prices(evidence(ic=0.0, forecast=1e-4 * rng.normal(size=(N, 1))))
    assert judge(e).details["lag_copy"]["alarm"]
    informed = as_prices(evidence(ic=0.5, seed=2))
    assert not judge(informed).details["lag_copy"]["alarm"]


def test_thirty_copies_of_a_symbol_prove_no_more_than_one():
    one = evidence(seed=4, ic=0.04)
    many = Evidence(
        name="LSTM",
        target=one.target,
        time=one.time,
        actual=np.repeat(one.actual, 30, axis=1),
        forecast=np.repeat(one.forecast, 30, axis=1),
        baselines={n: np.repeat(b, 30, axis=1) for n, b in one.baselines.items()},
        symbols=tuple(f"S{j}" for j in range(30)),
    )
    a, b = judge(one).details, judge(many).details
    for name in ("zero", "expanding_mean"):
        assert a["benchmarks"][name]["clark_west"]["p"] == pytest.approx(
            b["benchmarks"][name]["clark_west"]["p"], rel=1e-9
        )
    assert a["ic"] == pytest.approx(b["ic"], rel=1e-9)
    assert b["n_rows"] == N
    assert b["n_cells"] == 30 * N


def test_challengers_change_the_sentence_but_never_the_exit_code():
    rng = np.random.default_rng(8)
    good = evidence(ic=0.3)
    for challenger, words in (
        (good.forecast + 1e-7 * rng.normal(size=(N, 1)), "A ridge on the same features does as well."),
        (0.9 * good.actual, "A ridge on the same features does significantly better."),
        (0.02 * rng.normal(size=(N, 1)), "A ridge on the same features does significantly worse."),
    ):
        verdict = judge(evidence(ic=0.3, challengers={"ridge": challenger}))
        assert verdict.exit_code == 0
        assert words in verdict.sentence
    useless = judge(evidence(ic=0.0, forecast=0.001 * rng.normal(size=(N, 1)), challengers={"ridge": good.actual}))
    assert useless.exit_code == 3


def test_trials_and_failed_folds_are_told():
    verdict = judge(
        evidence(trials=20, tried=20, trials_where="run folder x", failures=("fold 2: TrainingError: loss",))
    )
    assert "20 configurations were tried on these rows (run folder x), so p must be below 0.0026" in verdict.sentence
    assert verdict.details["level"] == pytest.approx(1 - 0.95 ** (1 / 20))
    assert "1 fold failed and is not judged" in verdict.sentence
    many = judge(evidence(ic=0.11, tried=10**6))  # a p between the shared level and 0.001 is shown in full
    p = many.details["benchmarks"]["zero"]["clark_west"]["p"]
    assert many.details["level"] < p < 0.001
    assert f"Clark-West p {p:.2g}" in many.sentence


def test_rows_without_forecast_or_outcome_do_not_count():
    e = evidence()
    f, y = e.forecast.copy(), e.actual.copy()
    f[:100], y[1400:] = np.nan, np.nan
    holes = judge(evidence(forecast=f, actual=y))
    cut = slice(100, 1400)
    plain = judge(
        Evidence(
            name="LSTM",
            target=e.target,
            time=e.time[cut],
            actual=e.actual[cut],
            forecast=e.forecast[cut],
            baselines={n: b[cut] for n, b in e.baselines.items()},
            symbols=e.symbols,
            fold=e.fold[cut],
        )
    )
    assert rounded(holes.details) == rounded(plain.details)


def test_no_row_to_judge_says_why():
    with pytest.raises(NotEnoughData, match="fold 0: no luck"):
        judge(evidence(forecast=np.full((N, 1), np.nan), failures=("fold 0: no luck",)))


def test_skill_by_fold_and_year_with_intervals():
    details = judge(evidence()).details
    assert [g["fold"] for g in details["skill_by_fold"]] == list(range(6))
    assert [g["year"] for g in details["skill_by_year"]] == list(range(2014, 2020))
    assert sum(g["n"] for g in details["skill_by_year"]) == N
    for group in [*details["skill_by_fold"], *details["skill_by_year"]]:
        assert group["low"] < group["skill"] < group["high"]
    assert details["skill_low"] < details["skill"] < details["skill_high"]


def test_spread_over_seeds_is_shown():
    e = evidence()
    rng = np.random.default_rng(3)
    seeds = e.forecast[None] + 0.001 * rng.normal(size=(3, N, 1))
    details = judge(evidence(seeds=seeds)).details
    assert len(details["seeds"]) == 3
    assert len({s["skill"] for s in details["seeds"]}) == 3


def test_power_is_stated_for_independent_rows():
    details = judge(evidence(horizon=5)).details
    assert details["power"]["independent_rows"] == 300
    assert details["power"]["power_at_0.02"] == pytest.approx(st.power(0.02, 300))


@pytest.mark.parametrize("kind", ["return", "log_return", "volatility", "direction"])
def test_every_kind_of_target_gives_jsonable_details(kind):
    e = evidence(kind=kind)
    if kind == "direction":
        e = evidence(kind=kind, actual=(e.actual > 0).astype(float), forecast=0.5 + e.forecast)
    if kind == "volatility":
        e = evidence(kind=kind, actual=np.abs(e.actual), forecast=np.abs(e.forecast), last_value=np.abs(e.actual))
    verdict = judge(e)
    text = json.dumps(verdict.to_dict(), allow_nan=False)
    assert json.loads(text)["exit_code"] == verdict.exit_code
    assert "LSTM" in repr(verdict)
    assert "<table" in verdict._repr_html_()


def test_hit_rate_is_shown_with_its_interval_and_what_always_up_would_hit():
    details = judge(evidence(ic=0.3)).details
    assert details["hit_rate_low"] < details["hit_rate"] < details["hit_rate_high"]
    assert details["hit_rate"] > 0.55
    assert details["always_up"] == pytest.approx(0.5, abs=0.05)


def test_a_constant_forecast_is_no_evidence_and_breaks_nothing():
    verdict = judge(evidence(forecast=np.full((N, 1), 0.001)))
    assert verdict.exit_code == 3
    assert verdict.details["ic"] is None
    assert "no IC, forecast or outcome is constant" in verdict.sentence


def test_all_forecasts_are_compared_at_once():
    rng = np.random.default_rng(4)
    case = evidence(ic=0.3)
    twin = case.forecast + 1e-3 * case.actual.std() * rng.normal(size=(N, 1))
    verdict = judge(
        evidence(ic=0.3, challengers={"twin": twin, "bad": 3 * rng.normal(size=(N, 1)) * case.actual.std()})
    )
    found, table = verdict.details["comparison"], verdict.details["table"]
    assert found["dates"] == N
    assert found["spa_p"] > 0.05
    assert set(found["confidence_set"]) == {"LSTM", "twin"}
    assert table["bad"]["confidence_set_p"] == found["confidence_set_p"]["bad"] < 0.01
    assert verdict.remarks[0].startswith("Against the ")
    assert "none is shown to beat LSTM" in verdict.remarks[0]


def test_overlapping_outcomes_are_resampled_in_longer_blocks():
    assert judge(evidence()).details["comparison"]["block_length"] == pytest.approx(N ** (1 / 3))
    assert judge(evidence(horizon=20)).details["comparison"]["block_length"] == 60.0


def test_the_error_of_the_calibration_slope_is_robust_to_autocorrelation():
    sm = pytest.importorskip("statsmodels.api")
    rng = np.random.default_rng(8)
    level = np.cumsum(rng.normal(size=N))
    forecast = 0.01 * (level - np.convolve(level, np.ones(20) / 20)[:N])  # both wander for weeks
    noise = np.convolve(rng.normal(size=N + 9), np.ones(10) / 10, "valid")
    outcome = 0.5 * forecast + 0.01 * noise
    found = judge(evidence(actual=outcome[:, None], forecast=forecast[:, None], horizon=10)).details["calibration"]
    lags = st.automatic_lags(N, 10)
    theirs = sm.OLS(outcome, sm.add_constant(forecast)).fit(
        cov_type="HAC", cov_kwds={"maxlags": lags, "use_correction": False}
    )
    assert (found["intercept"], found["slope"]) == pytest.approx(tuple(theirs.params))
    assert found["slope_error"] == pytest.approx(theirs.bse[1], rel=1e-6)
    assert found["slope_error"] > 1.3 * sm.OLS(outcome, sm.add_constant(forecast)).fit().bse[1]


def test_a_better_challenger_is_named_by_the_reality_check_and_leaves_the_exit_code():
    case = evidence(ic=0.3)
    verdict = judge(evidence(ic=0.3, challengers={"oracle": 0.9 * case.actual}))
    found = verdict.details["comparison"]
    assert verdict.exit_code == 0
    assert max(found["spa_p"], found["reality_check_p"]) < 0.01
    assert (found["best_other"], found["confidence_set"]) == ("oracle", ["oracle"])
    assert "oracle beats LSTM" in verdict.remarks[0]


def test_a_challenger_that_is_silent_on_many_dates_is_left_out_of_the_comparison():
    case = evidence(ic=0.3)
    halved = np.where(np.arange(N)[:, None] < N // 2, np.nan, case.actual)
    found = judge(evidence(ic=0.3, challengers={"halved": halved})).details["comparison"]
    assert "halved" not in found["confidence_set_p"]
    assert found["dates"] == N


def test_what_decides_needs_no_bootstrap(monkeypatch):
    """Null runs make a hundred thousand judgements: histories are resampled only when details are read."""
    monkeypatch.setattr(selection, "resampled", lambda *_: pytest.fail("a bootstrap ran"))
    verdict = judge(evidence(ic=0.3))
    assert verdict.exit_code == 0
    assert "Edge" in str(verdict)


@pytest.mark.parametrize(
    ("trials", "deflated", "said"),
    [
        (1, 0.97, "above zero with probability 0.99; deepest fall"),
        (
            200,
            0.63,
            "but not shown to be above what luck gives the best of 200 trials (deflated probability 0.63, where ",
        ),
        (200, 0.949, "where 0.95 would show it); deepest fall"),
        (200, 0.95, "and above what luck gives the best of 200 trials with probability 0.95; deepest fall"),
        (200, None, "not shown to be above what luck gives the best of 200 trials (deflated probability n/a, where"),
    ],
)
def test_luck_is_never_told_as_likely_skill(trials, deflated, said):
    """The deflated probability of the best of 200 useless strategies is above 0.6 in a fifth of cases: no evidence."""
    numbers = dict.fromkeys(("sharpe", "sharpe_low", "sharpe_high", "max_drawdown", "max_drawdown_low"), 0.5)
    numbers |= {"max_drawdown_high": 0.6, "cost_bp": 5, "probability": 0.99, "deflated_probability": deflated}
    numbers |= {"trials": trials, "minimum_years": 2.0, "years": 1.0, "break_even_bp": 7.0, "random_entries_p": 0.1}
    line = _money(numbers | {"buy_and_hold": {"sharpe": 0.4}})
    assert said in line
    assert ("not shown" in line) == (trials > 1 and (deflated is None or deflated < 0.95))


def test_remarks_name_the_lag_the_calibration_and_the_seeds():
    rng = np.random.default_rng(3)
    case = evidence(ic=0.3)
    seeds = np.stack([case.forecast + 1e-4 * rng.normal(size=(N, 1)) for _ in range(3)])
    lines = judge(evidence(ic=0.3, seeds=seeds)).remarks
    assert any(line.startswith("Calibration: where the forecast moves by 1, the outcome moves by ") for line in lines)
    assert any(line.startswith("Single seeds, 3 of them: skill +") for line in lines)
    assert not any(line.startswith("Lag copy") for line in lines)
    price = 100 * np.exp(np.cumsum(0.01 * rng.normal(size=N + 1)))[:, None]
    last, noise = price[:-1], 1 + 0.001 * rng.normal(size=(N, 1))
    naive = {"persistence": last}
    copy = Evidence("LSTM", TargetInfo("close"), TIME, price[1:], last * noise, naive, reference=last)
    assert any(line.startswith("Lag copy: LSTM stays nearer to the last close") for line in judge(copy).remarks)
