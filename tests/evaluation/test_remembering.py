"""What the ledger remembers of trials, and what studies ask of it: levels, deflation, overfitting, seals."""

import pickle

import numpy as np
import pytest

import longshort as ls
from longshort import features as f
from longshort import ledger
from longshort.data import synthetic
from longshort.errors import LedgerError, SealedRows
from longshort.evaluation import WalkForward, cross_validate, lookback_sweep, referee, tune, walk_forward
from longshort.evaluation.remembering import _same_prices, closes_at, look, sharpes
from longshort.evaluation.scores import Scores, together
from longshort.evaluation.verdict import is_edge, shared_level
from longshort.forecast import Forecast
from longshort.models import HAR, LSTM, Conformal, Ridge

BARS = synthetic.random_walk(900, 1, seed=5)
CV = WalkForward(300, 150)
TARGET = f.forward_log_return()


@pytest.fixture(autouse=True)
def own_ledger(tmp_path):
    with ledger.project(tmp_path / "project") as book:
        yield book


class Guess:
    """A forecaster of numbers nobody learned."""

    def __init__(self, seed, target=TARGET):
        self.seed, self.target = seed, target

    def fit(self, bars, start=None):
        return self

    def predict(self, bars, start=None):
        first = int(np.searchsorted(bars.time, start))
        values = 0.001 * np.random.default_rng(self.seed).normal(size=(5000, len(bars.symbols)))[: len(bars)]
        return Forecast(bars.time[first:], bars.symbols, values[first:], target=self.target.info)

    def to_dict(self):
        return {"kind": "Guess", "seed": self.seed}


def guess(seed, bars=BARS, cv=CV):
    return walk_forward(Guess(seed), bars, cv, baselines=[], seeds=1)


def search(**options):
    ridge = Ridge([f.log_return()], TARGET)
    return tune(ridge, {"validation": (0.1, 0.4)}, trials=4, cv=1, sampler="random", **options)


# ---------------------------------------------------------------------------------------------- what every trial leaves


def test_every_study_leaves_its_scores_beside_the_ledger(own_ledger):
    study = guess(1)
    facts = own_ledger.records("trial")[0].facts
    kept = Scores.from_bytes(own_ledger.kept(facts["scores"]))
    np.testing.assert_array_equal(kept.time, study.time)
    loss = (study.actual - study.forecast.mean)[:, 0] ** 2
    naive = {n: (study.actual - b)[:, 0] ** 2 for n, b in study.baselines.items()}
    best = min(naive.values(), key=np.mean)
    np.testing.assert_allclose(kept.gain, (best - loss) / best.mean())
    net = kept.net[np.isfinite(kept.net)]
    assert facts["sharpe"] == pytest.approx(net.mean() / net.std(ddof=1))
    assert facts["config"] == ledger.digest_of(study.configuration)
    assert own_ledger.verify() == 2


def test_an_edited_score_series_stops_the_verdict(own_ledger):
    study = guess(1)
    guess(2)
    file = own_ledger.path / "scores" / own_ledger.records("trial")[1].facts["scores"]
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(LedgerError, match="was edited"):
        study.verdict().details["selection"]


def test_selection_is_judged_from_the_scores_of_all_that_was_tried():
    studies = [guess(seed) for seed in range(8)]
    found = studies[0].verdict().details["selection"]
    assert (found["trials"], found["dates"], found["overfitting_of"]) == (8, len(studies[0]), "returns")
    assert found["reality_check_p"] > 0.05
    assert 0.05 < found["probability_of_overfitting"] <= 1
    assert found == studies[0].verdict().details["selection"]
    assert any("Of 8 configurations scored on these rows" in line for line in studies[0].verdict().remarks)


def test_a_study_asked_outside_its_project_knows_what_was_tried_there(own_ledger):
    """The first of eight, asked after the project was left: its rows were tried eight times, wherever one stands."""
    studies = [guess(seed) for seed in range(8)]
    inside = studies[0].verdict().details
    fresh = pickle.loads(pickle.dumps(guess(0)))
    with ledger.aside():
        for study in (studies[1], fresh):
            found = study.verdict().details
            assert (found["tried"], found["level"]) == (8, inside["level"])
            assert found["selection"]["trials"] == 8
            assert found["money"]["trials"] == 8
            assert found["money"]["deflated_benchmark"] == pytest.approx(inside["money"]["deflated_benchmark"])
            assert f"8 configurations were tried on these rows ({own_ledger.where})" in study.verdict().sentence


def test_what_two_ledgers_hold_counts_together(own_ledger, tmp_path):
    study, *_ = [guess(seed) for seed in range(3)]
    ledger.plan(4)
    with ledger.project(tmp_path / "elsewhere") as other:
        guess(2)  # the same as there
        guess(3)
        found = study.verdict().details
        assert (found["tried"], found["planned"], found["selection"]["trials"]) == (4, 4, 4)
        assert found["trials_where"] == f"{own_ledger.where} and {other.where}"
    with ledger.project(own_ledger.path):  # another object, the same chain
        assert guess(1).verdict().details["trials_where"] == own_ledger.where


def test_three_trials_are_too_few_for_a_probability_of_overfitting():
    studies = [guess(seed) for seed in range(3)]
    found = studies[0].verdict().details["selection"]
    assert (found["trials"], found["probability_of_overfitting"]) == (3, None)


def test_volatilities_are_compared_with_volatilities():
    for seed in range(3):
        guess(seed)
    returns, volatility = guess(3), walk_forward(HAR(f.forward_volatility()), BARS, CV, baselines=[])
    assert returns.verdict().details["selection"]["trials"] == 4
    assert volatility.verdict().details["selection"] is None
    assert returns.verdict().details["tried"] == 5  # the level is shared by all of them


def test_one_that_really_works_is_not_overfitted():
    bars = synthetic.planted_signal(900, seed=1)
    for seed in range(5):
        guess(seed, bars)
    study = walk_forward(Ridge([f.field("volume").log()], TARGET, lookback=1), bars, CV, baselines=[])
    found = study.verdict().details["selection"]
    assert found["probability_of_overfitting"] < 0.01
    assert found["reality_check_p"] < 0.01


def test_the_best_of_two_hundred_noise_strategies_is_deflated_with_nobody_saying_so():
    """Raw Sharpe ratio above 1.5, probability of a true one above luck below 0.6: the ledger alone knows of 200."""
    raw, probability = [], []
    for seed in range(5):
        tried = np.random.default_rng(seed).normal(0, 0.01, size=(504, 200))
        sharpe = tried.mean(axis=0) / tried.std(axis=0, ddof=1)
        with ledger.aside() as book:
            for i, one in enumerate(sharpe):
                book.record("trial", trial=f"noise {i}", sharpe=float(one))
            found = ls.evaluation.selection.deflated_sharpe(tried[:, np.argmax(sharpe)])
        assert found.trials == 200
        raw.append(found.sharpe * np.sqrt(252))
        probability.append(found.probability)
    assert min(raw) > 1.5
    assert np.median(probability) < 0.6


def test_sharpe_ratios_of_hours_and_days_are_compared_through_the_year(own_ledger):
    own_ledger.record_trial("daily", sharpe=0.05, bars_per_year=252.0)
    own_ledger.record_trial("hourly", sharpe=0.05, bars_per_year=252.0 * 7)
    own_ledger.record_trial("by hand", sharpe="high")
    own_ledger.record_trial("broken", sharpe=0.1, bars_per_year=0)
    assert sharpes(252.0) == pytest.approx((0.05, 0.05 * np.sqrt(7)))


def test_what_other_markets_left_does_not_hide_what_is_tried_later():
    elsewhere = synthetic.random_walk(900, "ELSE", seed=8)
    for seed in range(4):
        guess(seed, elsewhere)
    study = guess(1)
    assert len(study.trial_sharpes) == study.trials == 5
    guess(2)
    assert len(study.counts()["trial_sharpes"]) == study.counts()["trials"] == 6


def test_scores_of_different_rows_meet_where_both_are():
    a = Scores(np.arange(0, 100), np.arange(100.0), np.zeros(100))
    b = Scores(np.arange(5, 120), np.arange(5, 120.0), np.full(115, np.nan))
    gain, net = together([a, b])
    np.testing.assert_array_equal(gain[:, 0], gain[:, 1])
    assert (len(gain), net) == (95, None)
    assert not b.covers(np.arange(0, 20))


# ------------------------------------------------------------------------------------------------------ shared levels


def test_every_way_of_looking_at_test_rows_shares_the_level():
    guess(1)
    cross_validate(Ridge([f.log_return()], TARGET), BARS)
    lookback_sweep(LSTM([f.log_return()], TARGET, hidden=(2,), epochs=1), BARS, [2, 3], CV, seeds=1)
    assert guess(2).verdict().details["tried"] == 5


@pytest.mark.full
def test_a_search_on_all_bars_counts_in_full_against_what_is_walked_forward_afterwards(own_ledger):
    tuned = search().fit(BARS)
    assert own_ledger.trials() == 4
    study = walk_forward(tuned.best_, BARS, CV, baselines=[])
    assert study.verdict().details["tried"] == 5
    assert "5 configurations were tried on these rows" in study.verdict().sentence


@pytest.mark.full
def test_a_search_inside_the_walk_forward_costs_nothing(own_ledger):
    study = walk_forward(search(), BARS, CV, baselines=[])
    assert study.verdict().details["tried"] == study.trials == 1
    assert len(own_ledger.records("inner")) == 4 * len(study.folds)
    assert own_ledger.verify() == 2 + 4 * len(study.folds)


@pytest.mark.full
def test_a_search_made_on_all_rows_first_does_not_count_against_the_walk_forward_of_the_same_search():
    search().fit(BARS)
    assert walk_forward(search(), BARS, CV, baselines=[]).verdict().details["tried"] == 1
    assert guess(1).verdict().details["tried"] == 1 + 4 + 1


def test_a_plan_shares_the_level_from_the_start(own_ledger):
    first = guess(1)
    assert first.verdict().details["level"] == 0.05
    ledger.plan(20)
    again = first.verdict().details
    assert (again["tried"], again["planned"], round(again["level"], 5)) == (1, 20, 0.00256)
    assert "1 configuration was tried on these rows (run folder" in first.verdict().sentence
    assert "of 20 that were planned" in first.verdict().sentence


def test_only_configurations_tried_on_overlapping_rows_share_the_level():
    early, late = BARS.until(int(BARS.time[450])), WalkForward(500, 150)  # rows 300 .. 450, and 500 .. 900
    assert guess(1, early).verdict().details["tried"] == 1
    assert guess(2, BARS, late).verdict().details["tried"] == 1
    assert guess(3).verdict().details["tried"] == 3  # rows 300 .. 900 meet both


# --------------------------------------------------------------------------------------------------------- sealed rows


def test_the_same_market_is_known_by_its_prices_not_by_its_name():
    close = BARS["close"]
    fields = {name: 1.0005 * BARS[name] if name != "volume" else BARS[name] for name in BARS.fields}
    revised = ls.Bars.from_arrays(BARS.time, BARS.symbols, fields, calendar=BARS.calendar, bar_size=BARS.bar_size)
    noted = closes_at(BARS, int(BARS.time[300]))
    assert noted == {"time": int(BARS.time[300]), BARS.symbols[0]: float(close[300, 0])}
    assert _same_prices(noted, BARS)
    assert _same_prices(noted, revised)  # half a thousandth apart: another vendor
    assert not _same_prices(noted, synthetic.random_walk(900, 1, seed=6))
    assert _same_prices(noted, synthetic.random_walk(200, 1, seed=6))  # which does not hold that bar


@pytest.mark.full
def test_a_search_on_test_rows_of_a_study_raises(own_ledger):
    study = guess(1)
    with pytest.raises(SealedRows, match=r"rows from .* to .*record 1 of run folder") as error:
        search().fit(BARS)
    assert "Search inside the walk-forward" in str(error.value)
    search().fit(BARS.until(study.folds[0].train_end))  # before the test: free
    assert [record.facts["what"] for record in own_ledger.records("trial")] == ["walk_forward", *["tune"] * 4]


@pytest.mark.full
def test_other_symbols_and_other_spans_are_not_sealed():
    guess(1)
    fields = {name: BARS[name] for name in BARS.fields}
    elsewhere = ls.Bars.from_arrays(BARS.time, ("ELSE",), fields, calendar=BARS.calendar, bar_size=BARS.bar_size)
    search().fit(elsewhere)
    assert ledger.trials() == 1 + 4
    search().fit(synthetic.random_walk(900, 1, seed=6))  # other prices by the same name


@pytest.mark.full
def test_choosing_on_test_rows_on_purpose_is_recorded_and_counts(own_ledger):
    study = guess(1)
    with ledger.unsealed("nothing will be judged here again"):
        search().fit(BARS)
    assert len(own_ledger.records("unsealed")) == 1
    assert study.verdict().details["tried"] == 5


@pytest.mark.full
def test_the_search_a_study_judged_may_go_on_to_all_rows(own_ledger):
    study = walk_forward(search(), BARS, CV, baselines=[])
    guess(1)
    search(seed=3).fit(BARS)
    assert study.verdict().details["tried"] == 2
    assert {r.facts["what"] for r in own_ledger.records("trial")} == {"walk_forward"}


@pytest.mark.full
def test_sweeps_seal_their_test_rows_and_cross_validation_does_not():
    cross_validate(Ridge([f.log_return()], TARGET), BARS)
    search().fit(BARS)
    lookback_sweep(LSTM([f.log_return()], TARGET, hidden=(2,), epochs=1), BARS, [2, 3], CV, seeds=1)
    with pytest.raises(SealedRows):
        search(score="mae").fit(BARS)


def test_every_way_of_looking_at_test_rows_is_a_read(own_ledger):
    guess(1)
    cross_validate(Ridge([f.log_return()], TARGET), BARS)
    lookback_sweep(LSTM([f.log_return()], TARGET, hidden=(2,), epochs=1), BARS, [2, 3], CV, seeds=1)
    y = np.random.default_rng(0).normal(size=(100, 2))
    assert "2nd time" not in referee(y[:, 0], y[:, 1]).sentence
    assert "looked at for the 2nd time" in referee(y[:, 0], -y[:, 1]).sentence
    what = [record.facts["what"] for record in own_ledger.records("read")]
    assert what == ["walk_forward", "combinatorial", "lookback_sweep", "referee", "referee"]
    assert guess(2).reads == 4


def test_looks_are_counted_by_fold_and_symbol():
    assert look("walk_forward", ["A"], [(0, 9), (10, 19)]) == 1
    assert look("walk_forward", ["A"], [(15, 25)]) == 2
    assert look("walk_forward", ["B"], [(0, 9)]) == 1
    assert look("walk_forward", ["A"], [(0, 5), (18, 30)]) == 3
    ledger.record("read", what="the newspaper", symbols="A", spans="all")
    assert look("walk_forward", ["A", "B"], [(0, 5)]) == 4


def test_a_fit_alone_is_recorded_and_no_trial(own_ledger):
    LSTM([f.log_return()], TARGET, lookback=5, hidden=(2,), epochs=1).fit(BARS)
    Ridge([f.log_return()], TARGET).fit(BARS)
    Conformal(Ridge([f.log_return()], TARGET)).fit(BARS)
    facts = [record.facts for record in own_ledger.records("fit")]
    assert [one["what"] for one in facts] == ["LSTM", "Ridge", "Conformal"]
    assert {one["bars"] for one in facts} == {BARS.digest}
    assert all(ledger.is_digest(one["config"]) and ledger.is_digest(one["losses"]) for one in facts)
    assert own_ledger.trials() == 0
    guess(1)
    assert len(own_ledger.records("fit")) == 3


@pytest.mark.full
def test_early_stopping_on_what_was_judged_raises_and_so_does_judging_what_stopped_it(own_ledger):
    torch = pytest.importorskip("torch")
    fit_net = ls.models.training.fit_net
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(200, 3, 1)), rng.normal(size=200)
    learn, test = slice(0, 140), slice(140, 200)

    def net():
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3, 1))

    referee(y[test], rng.normal(size=60))
    with pytest.raises(SealedRows, match="60 validation outcomes are test outcomes that referee has judged on"):
        fit_net(net(), X[learn], y[learn], epochs=1, validation=(X[test], y[test]))
    with ledger.unsealed("to see what it would have done"):
        fit_net(net(), X[learn], y[learn], epochs=1, validation=(X[test], y[test]))
    with pytest.raises(SealedRows, match="60 outcomes decided when a training stopped"):
        referee(y[test], rng.normal(size=60))
    fit_net(net(), X[:180], y[:180], epochs=1)
    with pytest.raises(SealedRows, match="36 outcomes decided"):
        referee(y[144:180], rng.normal(size=36))
    assert len(own_ledger.records("choice")) == 2


@pytest.mark.full
def test_a_plan_repairs_stopping_at_the_first_edge():
    """Twenty useless forecasts, asked after each: sharing among those so far errs in 17 % of cases, a plan in 5 %."""
    stopped = {"so far": 0, "planned": 0}
    naive = {"zero": np.zeros(250)}
    for market in range(300):
        rng = np.random.default_rng(market)
        outcome, levels = rng.normal(size=250), {}
        for k in range(1, 21):
            forecast = rng.normal(size=250)
            for rule, many in (("so far", k), ("planned", 20)):
                if not levels.get(rule) and is_edge(outcome, forecast, naive, level=shared_level(many)):
                    levels[rule] = True
                    stopped[rule] += 1
    assert stopped["so far"] / 300 > 0.10
    assert stopped["planned"] <= 25  # the 99 % bound of 300 draws at 5 %
