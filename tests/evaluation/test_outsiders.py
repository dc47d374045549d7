"""`referee`: arrays or pandas in, the verdict of a study out."""

import numpy as np
import pytest

from longshort.errors import InputError, NotEnoughData
from longshort.evaluation import referee
from longshort.ledger import project

RNG = np.random.default_rng(11)
N = 1500
FORECAST = 0.01 * RNG.normal(size=N)
OUTCOME = 0.15 * FORECAST + 0.01 * RNG.normal(size=N)
PRICE = 100 * np.exp(np.cumsum(np.concatenate([[0.0], OUTCOME])))  # PRICE[t + 1] is the outcome of row t


@pytest.fixture(autouse=True)
def own_ledger(tmp_path):
    with project(tmp_path):
        yield


def test_informed_returns_pass_and_noise_does_not():
    assert referee(OUTCOME, FORECAST).exit_code == 0
    assert referee(OUTCOME, RNG.permutation(FORECAST)).exit_code == 3


def test_price_levels_are_recognised_and_given_prices_agree():
    told = PRICE[:-1] * np.exp(0.15 * FORECAST)
    guessed, given = referee(PRICE[1:], told), referee(PRICE[1:], told, prices=PRICE[:-1])
    assert guessed.exit_code == given.exit_code == 0
    assert guessed.details["target"]["kind"] == "close"
    assert given.details["n_rows"] == guessed.details["n_rows"] + 1  # the first row has no last price to guess
    assert guessed.details["ic"] == pytest.approx(given.details["ic"], abs=0.005)


def test_yesterdays_price_is_no_forecast_whatever_its_r2():
    verdict = referee(PRICE[1:], PRICE[:-1] * (1 + 1e-4 * RNG.normal(size=N)))
    assert verdict.details["r2"]["forecast"] > 0.95
    assert verdict.exit_code == 3
    assert verdict.details["lag_copy"]["alarm"]


def test_a_forecast_that_peeks_one_row_ahead_is_caught_by_nothing_but_its_score():
    verdict = referee(OUTCOME, OUTCOME)
    assert verdict.exit_code == 0
    assert verdict.details["ic"] == pytest.approx(1.0)


def test_overlapping_outcomes_need_the_horizon():
    total = np.concatenate([[0.0], np.cumsum(RNG.normal(size=N + 20))])
    y = total[20 : N + 20] - total[:N]
    verdict = referee(y, np.concatenate([[0.0] * 20, y[:-20]]), horizon=20)  # momentum on a random walk
    assert verdict.details["power"]["independent_rows"] == N / 20
    assert verdict.details["benchmarks"]["zero"]["clark_west"]["lags"] >= 19


def test_pandas_is_aligned_by_index_and_dated():
    pd = pytest.importorskip("pandas")
    days = pd.date_range("2012-01-02", periods=N, freq="B", tz="America/New_York")
    y, f = pd.Series(OUTCOME, days), pd.Series(FORECAST, days)
    verdict = referee(y, f.sample(frac=1, random_state=0).iloc[: N - 10])
    assert verdict.details["n_rows"] == N - 10
    assert verdict.details["first"] is not None
    assert verdict.exit_code == 0
    assert referee(y, f).details["ic"] == referee(OUTCOME, FORECAST).details["ic"]
    assert referee(y, f).details["skill_by_year"][0]["year"] == 2012
    frame = referee(pd.DataFrame({"A": y, "B": y}), pd.DataFrame({"A": f, "B": f}))
    assert frame.details["symbols"] == ["A", "B"]


def test_arrays_have_no_dates_and_none_are_invented():
    verdict = referee(OUTCOME, FORECAST)
    assert verdict.details["first"] is None
    assert verdict.details["skill_by_year"] == []
    assert "1970" not in verdict.sentence


def test_each_different_question_is_a_trial():
    assert referee(OUTCOME, FORECAST).details["trials"] == 1
    assert referee(OUTCOME, 2 * FORECAST).details["trials"] == 2
    assert referee(OUTCOME, FORECAST).details["trials"] == 2


def test_nan_rows_do_not_count():
    y = OUTCOME.copy()
    y[100:200] = np.nan
    assert referee(y, FORECAST).details["n_rows"] == N - 100


def test_the_mean_so_far_knows_only_outcomes_that_have_ended():
    from longshort.evaluation.outsiders import _mean_so_far

    values = RNG.normal(size=(200, 1))
    for horizon in (1, 5):
        found = _mean_so_far(values, horizon)
        changed = values.copy()
        changed[100:] = 99.0
        np.testing.assert_array_equal(_mean_so_far(changed, horizon)[: 100 + horizon], found[: 100 + horizon])
        assert found[150, 0] == pytest.approx(values[: 151 - horizon].mean())


@pytest.mark.parametrize(
    ("y", "f", "more", "error", "words"),
    [
        (np.ones(50), np.ones(49), {}, InputError, r"same shape, were \(50, 1\) and \(49, 1\)"),
        (
            OUTCOME[:20],
            FORECAST[:20],
            {},
            NotEnoughData,
            "at least 30 rows with outcome and forecast, but there are 20",
        ),
        (OUTCOME, np.full(N, np.nan), {}, NotEnoughData, "there are 0"),
        (OUTCOME, FORECAST, {"horizon": 0}, InputError, "horizon must be a whole number of rows of at least 1, was 0"),
        (OUTCOME, FORECAST, {"prices": PRICE}, InputError, r"prices must have the shape of y_true, \(1500, 1\)"),
        (OUTCOME, FORECAST, {"prices": OUTCOME}, InputError, r"prices must be above 0, but [\d,]+ of 1,500 are not"),
        (["a", "b"], [1.0, 2.0], {}, InputError, "y_true must hold numbers"),
        (np.ones((2, 2, 2)), np.ones((2, 2, 2)), {}, InputError, r"was \(2, 2, 2\)"),
        (OUTCOME + 1j, FORECAST, {}, InputError, "y_true must hold real numbers, was complex"),
        (
            OUTCOME,
            np.where(np.arange(N) == 7, 1e200, FORECAST),
            {},
            InputError,
            "In row 7 the forecast is 1e[+]200, and 1",
        ),
        (np.where(np.arange(N) == 9, -1e99, OUTCOME), FORECAST, {}, InputError, "In row 9 the outcome is -1e[+]99"),
    ],
)
def test_bad_input_is_told_what_was_expected(y, f, more, error, words):
    with pytest.raises(error, match=words):
        referee(y, f, **more)


def test_pandas_without_common_rows_is_refused():
    pd = pytest.importorskip("pandas")
    y = pd.Series(OUTCOME, pd.date_range("2012-01-02", periods=N, tz="UTC"))
    f = pd.Series(FORECAST, pd.date_range("2022-01-02", periods=N, tz="UTC"))
    with pytest.raises(InputError, match="no index value in common"):
        referee(y, f)
    with pytest.raises(InputError, match="unique index"):
        referee(pd.concat([y, y]), f)


def test_columns_are_aligned_by_name():
    pd = pytest.importorskip("pandas")
    days = pd.date_range("2012-01-02", periods=N, tz="UTC")
    noise = np.random.default_rng(3).normal(size=N)
    y = pd.DataFrame({"AAPL": OUTCOME, "SPY": noise}, days)
    f = pd.DataFrame({"SPY": np.roll(noise, 7), "AAPL": FORECAST}, days)
    assert referee(y, f).details["ic"] == pytest.approx(
        referee(y.to_numpy(), f[["AAPL", "SPY"]].to_numpy()).details["ic"]
    )
    with pytest.raises(InputError, match="y_true has the columns AAPL, SPY, y_pred SPY, IBM"):
        referee(y, f.rename(columns={"AAPL": "IBM"}))
    assert referee(y[["AAPL"]], f[["AAPL"]].rename(columns={"AAPL": "forecast"})).exit_code == 0


@pytest.mark.parametrize("order", ["backwards", "repeated", "unknown"])
def test_times_that_do_not_increase_are_refused(order):
    pd = pytest.importorskip("pandas")
    days = pd.date_range("2012-01-02", periods=N)
    index = {"backwards": days[::-1], "repeated": days.repeat(2)[:N], "unknown": days.where(np.arange(N) != 3)}[order]
    with pytest.raises(InputError, match="must increase from row to row"):
        referee(pd.Series(OUTCOME, index), FORECAST)


def test_forecasts_that_begin_later_share_the_level_of_the_same_outcomes():
    """Models with other lookbacks leave other rows out at the beginning; the outcomes are the same nevertheless."""
    rng = np.random.default_rng(1)
    tried = []
    for skipped in (0, 20, 60):
        tried.append(referee(OUTCOME[skipped:], rng.normal(size=N - skipped)).details["tried"])
    tried.append(referee(OUTCOME[:-200], FORECAST[:-200]).details["tried"])  # begins like the first
    assert tried == [1, 2, 3, 2]
    assert referee(OUTCOME[::-1], FORECAST).details["tried"] == 1
    flat = np.r_[np.zeros(100), rng.normal(size=300), np.zeros(100)]
    assert [referee(c * flat, rng.normal(size=500)).details["tried"] for c in (1, 2)] == [1, 1]  # zeros say nothing


def test_a_verdict_on_hardly_any_independent_rows_promises_nothing():
    sentence = referee(OUTCOME[:100], FORECAST[:100], horizon=40).sentence
    assert "so few independent rows can hardly show any" in sentence
    assert "an IC of" not in sentence


def test_outcomes_that_never_vary_are_not_blamed_on_the_forecast():
    verdict = referee(np.zeros(N), FORECAST)
    assert verdict.exit_code == 3
    assert "no IC, forecast or outcome is constant" in verdict.sentence


def test_an_empty_table_has_no_rows_to_judge():
    pd = pytest.importorskip("pandas")
    empty = pd.Series([], index=pd.DatetimeIndex([]), dtype=float)
    with pytest.raises(NotEnoughData, match="there are 0"):
        referee(empty, empty)


def test_prices_are_aligned_like_the_forecasts():
    pd = pytest.importorskip("pandas")
    days = pd.bdate_range("2015-01-01", periods=N)
    y, f, last = (pd.Series(v, index=days) for v in (PRICE[1:], PRICE[:-1] * (1 + FORECAST), PRICE[:-1]))
    found = referee(y, f, last).sentence
    assert found.startswith("Edge")
    assert referee(y[::-1], f, last[::-1]).details["ic"] == pytest.approx(referee(y, f, last).details["ic"])
    order = np.random.default_rng(0).permutation(N)
    assert referee(y.iloc[order], f.iloc[order], last.iloc[order]).details["n_rows"] == N
    assert referee(y.iloc[order], f.iloc[order], last.iloc[order]).exit_code == 0
    assert referee(y[100:], f, last).details["n_rows"] == N - 100
    assert referee(y, f, last[:-7]).details["n_rows"] == N - 7  # no price, no verdict on that row
    assert referee(y, f, last.to_numpy()).sentence.split("(")[0] == found.split("(")[0]
    assert referee(y, f.to_numpy(), last[::-1]).exit_code == 0
    frames = [pd.DataFrame({"a": s, "b": s}) for s in (y, f)]
    assert referee(*frames, pd.DataFrame({"b": last, "a": last})).exit_code == 0


def test_dated_prices_are_followed_and_their_sharpe_ratio_is_deflated_by_the_ledger():
    pd = pytest.importorskip("pandas")
    days, rng = pd.bdate_range("2015-01-01", periods=N), np.random.default_rng(4)
    y, last = pd.Series(PRICE[1:], index=days), pd.Series(PRICE[:-1], index=days)
    for _ in range(5):
        referee(y, last * (1 + 0.01 * rng.normal(size=N)), last)
    verdict = referee(y, last * (1 + FORECAST), last)
    money, signs, moves = verdict.details["money"], np.sign(FORECAST), PRICE[1:] / PRICE[:-1] - 1
    net = signs * moves - 5e-4 * np.abs(np.diff(signs, prepend=0.0))
    assert money["sharpe_per_bar"] == pytest.approx(net.mean() / net.std(ddof=1))
    assert money["trials"] == 6
    assert money["deflated_benchmark"] > 0
    assert any(line.startswith("Following the signs at 5 bp") for line in verdict.remarks)
    assert referee(PRICE[1:], PRICE[:-1] * (1 + FORECAST), PRICE[:-1]).details["money"] is None  # no dates, no year
    assert referee(y, last, last, horizon=5).details["money"] is None
    assert referee(y, last * (1 + FORECAST)).details["money"] is None  # levels, but perhaps volatilities


def test_prices_that_cannot_be_aligned_are_refused():
    pd = pytest.importorskip("pandas")
    days = pd.bdate_range("2015-01-01", periods=N)
    y, f, last = (pd.Series(v, index=days) for v in (PRICE[1:], PRICE[:-1], PRICE[:-1]))
    with pytest.raises(InputError, match="left rows out or moved them; prices have none"):
        referee(y[::-1], f, PRICE[:-1])
    with pytest.raises(InputError, match="left rows out or moved them; prices have none"):
        referee(y, f[100:], PRICE[:-1])
    with pytest.raises(InputError, match="prices have no index value in common"):
        referee(y, f, last.set_axis(days + pd.Timedelta("9000D")))
    with pytest.raises(InputError, match="prices must have a unique index"):
        referee(y, f, pd.concat([last, last]))
    with pytest.raises(InputError, match="y_true has the columns a, b, prices a, c"):
        referee(*(pd.DataFrame({"a": s, "b": s}) for s in (y, f)), pd.DataFrame({"a": last, "c": last}))


def test_masked_values_do_not_count():
    hidden = np.arange(N) >= 100
    masked = np.ma.masked_array(np.where(hidden, 1e6, OUTCOME), hidden)
    assert referee(masked, FORECAST).details["n_rows"] == 100


def test_other_forecasts_of_a_project_are_found_after_its_block(tmp_path):
    rng = np.random.default_rng(5)
    with project(tmp_path):
        referee(OUTCOME, rng.normal(size=N))
        verdict = referee(OUTCOME, FORECAST)
    assert verdict.details["selection"]["trials"] == 2
