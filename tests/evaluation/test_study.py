"""Walk-forward studies of cheap forecasters: what a model is shown, what is kept, what never changes."""

import json

import numpy as np
import pytest

from longshort import ledger
from longshort.bars import Bars
from longshort.data import synthetic
from longshort.errors import InputError, NotEnoughData, TrainingError
from longshort.evaluation import Study, WalkForward, keeping, walk_forward
from longshort.evaluation.judged import drift, mean_so_far
from longshort.features import (
    field,
    forward_close,
    forward_direction,
    forward_log_return,
    forward_volatility,
    log_return,
)
from longshort.forecast import Forecast
from longshort.models import AutoRegression, Drift, HistoricalMean, Persistence, Ridge

BARS = synthetic.random_walk(1300, 1, seed=3)
SIGNAL = synthetic.planted_signal(1500, 2, seed=1)
CV = WalkForward("2Y", "6M")


@pytest.fixture(autouse=True)
def own_ledger(tmp_path):
    with ledger.project(tmp_path / "project") as book:
        yield book


class Noise:
    """Forecasts random numbers that depend on seed and row alone, and remembers what it was shown."""

    def __init__(self, target, seed=0, fails_after=None, shown=None):
        self.target, self.seed, self.fails_after = target, seed, fails_after
        self.shown = [] if shown is None else shown

    def with_seed(self, seed):
        return Noise(self.target, seed, self.fails_after, self.shown)

    def fit(self, bars, start=None):
        self.shown.append((bars, start))
        if self.fails_after is not None and bars.time[-1] > self.fails_after:
            raise TrainingError("the loss left the finite numbers")
        return self

    def predict(self, bars, start=None):
        first = int(np.searchsorted(bars.time, start))
        noise = np.random.default_rng(self.seed).normal(size=(20_000, len(bars.symbols)))[: len(bars)]
        values = 0.001 * noise
        if self.target.info.kind == "close":
            values = np.asarray(bars.adjusted("close")) * (1 + values)
        return Forecast(bars.time[first:], bars.symbols, values[first:], target=self.target.info)

    def to_dict(self):
        return {"kind": "Noise", "seed": self.seed}


def test_each_model_is_shown_nothing_at_or_after_its_first_decision():
    target = forward_log_return(5)
    model = Noise(target)
    study = walk_forward(model, BARS, CV, baselines=[], seeds=2)
    assert len(model.shown) == 2 * len(study.folds)
    cuts = {}
    for bars, start in model.shown:
        cuts[start] = bars
    for fold in study.folds:
        bars = cuts[fold.train_start]
        assert bars.time[-1] == fold.train_end < fold.test_start
        known = np.isfinite(target.compute(bars)).any(axis=1)
        assert np.asarray(target.label_end(bars))[known].max() < fold.test_start
        assert bars == BARS.until(fold.train_end)


def test_the_forecast_of_record_is_the_mean_over_seeds_and_depends_on_no_thread():
    model = Noise(forward_log_return(1), seed=7)
    one, two = (walk_forward(model, BARS, CV, baselines=[], seeds=3, threads=t) for t in (1, 2))
    assert one.seeds.shape == (3, len(one), 1)
    np.testing.assert_array_equal(one.forecast.mean, one.seeds.mean(axis=0))
    np.testing.assert_array_equal(one.seeds, two.seeds)
    single = Noise(forward_log_return(1), seed=8).predict(BARS, BARS.time[0]).mean
    np.testing.assert_array_equal(one.seeds[1], single[np.searchsorted(BARS.time, one.time)])


@pytest.mark.parametrize("cut", [600, 777, 900, 1123, 1298])
@pytest.mark.parametrize("make", [forward_close, forward_log_return])
def test_more_bars_never_change_a_forecast_already_made(cut, make):
    target = make(2)
    short = walk_forward(
        Ridge([log_return(), log_return(5)], target), BARS.until(int(BARS.time[cut])), CV, baselines=[]
    )
    long = walk_forward(Ridge([log_return(), log_return(5)], target), BARS, CV, baselines=[])
    before, after = short.records(), long.records()
    assert len(before) < len(after)
    assert before == after[: len(before)]  # values bit for bit, and the digest chain over them


def test_records_say_when_each_forecast_was_made_and_for_when():
    study = walk_forward(Noise(forward_log_return(3)), BARS, CV, baselines=[])
    records = study.records()
    rows = np.searchsorted(BARS.time, [r["made_at"] for r in records])
    np.testing.assert_array_equal([r["for_time"] for r in records], BARS.time[rows + 3])
    assert [r["value"] for r in records] == study.forecast.mean[:, 0].tolist()
    assert len({r["digest"] for r in records}) == len(records)
    json.dumps(records, allow_nan=False)


def test_outcomes_and_naive_forecasts_stand_beside_each_forecast():
    study = walk_forward(Noise(forward_close(1)), BARS, CV, baselines=[])
    close = BARS.adjusted("close")
    rows = np.searchsorted(BARS.time, study.time)
    np.testing.assert_array_equal(study.actual, close[rows + 1])
    np.testing.assert_array_equal(study.reference, close[rows])
    assert set(study.baselines) >= {"drift"}
    assert any(np.array_equal(b, close[rows]) for b in study.baselines.values())
    assert (np.diff(study.fold) >= 0).all()
    assert set(study.fold.tolist()) == {f.number for f in study.folds}


def test_drift_reads_the_past_only():
    study = walk_forward(Noise(forward_close(1)), BARS, CV, baselines=[])
    part = walk_forward(Noise(forward_close(1)), BARS.until(int(BARS.time[1000])), CV, baselines=[])
    np.testing.assert_array_equal(study.baselines["drift"][: len(part)], part.baselines["drift"])


@pytest.mark.parametrize("horizon", [1, 5])
def test_the_share_of_rises_knows_only_outcomes_that_have_ended(horizon):
    target = forward_direction(horizon)
    found, outcomes = mean_so_far(target, BARS), np.asarray(target.compute(BARS))
    for t in (19 + horizon, 100, 777):
        np.testing.assert_array_equal(found[t], mean_so_far(target, BARS.until(int(BARS.time[t])))[-1])
        known = outcomes[: t - horizon + 1, 0]  # the outcome of row k is known at row k + horizon
        assert found[t, 0] == pytest.approx(known[np.isfinite(known)].mean())
    assert found[18 + horizon, 0] == 0.5  # nineteen are not enough to speak of a share


def test_the_drift_is_silent_before_twenty_changes():
    close = np.asarray(BARS.adjusted("close"))
    np.testing.assert_array_equal(drift(BARS)[:20], close[:20])
    assert (drift(BARS)[20:] != close[20:]).all()


def test_a_failed_fold_is_kept_with_its_reason_and_the_rest_is_judged():
    late = int(BARS.time[1150])
    study = walk_forward(Noise(forward_log_return(1), fails_after=late), BARS, CV, baselines=[])
    failed = [f for f in study.folds if f.failure]
    assert 0 < len(failed) < len(study.folds)
    assert failed[0].failure == "TrainingError: the loss left the finite numbers"
    assert np.isnan(study.forecast.mean[study.fold == failed[0].number]).all()
    assert "1 fold failed and is not judged" in study.verdict().sentence
    assert study.records()[-1]["value"] is None
    assert "(1 failed)" in repr(study)


def test_when_every_fold_fails_the_first_error_is_raised():
    with pytest.raises(TrainingError, match="finite numbers"):
        walk_forward(Noise(forward_log_return(1), fails_after=0), BARS, CV, baselines=[])


def test_one_configuration_is_one_trial_however_often_it_runs(own_ledger):
    model = Noise(forward_log_return(1))
    assert walk_forward(model, BARS, CV, baselines=[]).trials == 1
    assert walk_forward(model, BARS, CV, baselines=[]).trials == 1
    assert walk_forward(model, BARS, CV, baselines=[], seeds=5).trials == 2
    assert walk_forward(model, BARS, WalkForward("2Y", "1Y"), baselines=[]).trials == 3
    study = walk_forward(Noise(forward_log_return(1), seed=9), BARS, CV, baselines=[])
    assert study.trials == len(own_ledger.records("trial")) == 4
    assert own_ledger.verify() == 4 + 5  # the reads of test rows beside them
    assert "4 configurations were tried on these rows (run folder" in study.verdict().sentence
    assert own_ledger.records("trial")[0].facts["bars"] == BARS.digest


def test_the_same_configuration_on_longer_bars_is_recorded_and_no_other_trial(own_ledger):
    model, shorter = Noise(forward_log_return(1)), BARS.until(int(BARS.time[1200]))
    walk_forward(model, shorter, CV, baselines=[])
    study = walk_forward(model, BARS, CV, baselines=[])
    facts = [record.facts for record in own_ledger.records("trial")]
    assert [f["bars"] for f in facts] == [shorter.digest, BARS.digest]
    assert (study.trials, study.tried, len(study.trial_sharpes)) == (1, 1, 1)
    assert study.trial_sharpes[0] == pytest.approx(facts[1]["sharpe"])


def test_what_was_tried_later_counts_wherever_the_study_is_asked(tmp_path):
    first = walk_forward(Noise(forward_log_return(1)), BARS, CV, baselines=[])
    assert first.verdict().details["tried"] == first.verdict().details["money"]["trials"] == 1
    for seed in (1, 2):
        walk_forward(Noise(forward_log_return(1), seed=seed), BARS, CV, baselines=[])
    assert first.verdict().details["tried"] == first.verdict().details["money"]["trials"] == 3
    first.save(tmp_path / "study")
    with ledger.aside():
        assert first.verdict().details["tried"] == 3  # not forgotten under a ledger that knows nothing
        loaded = Study.load(tmp_path / "study")
        assert loaded.verdict().to_dict() == json.loads((tmp_path / "study" / "verdict.json").read_text())
        for seed in range(3, 6):
            walk_forward(Noise(forward_log_return(1), seed=seed), BARS, CV, baselines=[])
        assert loaded.verdict().details["tried"] == 4  # itself and the three tried here


def test_what_people_write_into_the_ledger_themselves_spoils_no_verdict(own_ledger):
    own_ledger.record("trial", trial="by hand", first="2020-01-01", sharpe="high")
    own_ledger.record("read", what="the newspaper")
    study = walk_forward(Noise(forward_log_return(1)), BARS, CV, baselines=[])
    assert (study.trials, study.reads, study.verdict().details["tried"]) == (2, 1, 1)


def test_a_planted_signal_is_an_edge_and_noise_is_not():
    target = forward_log_return(1)
    informed = walk_forward(Ridge([field("volume").log(), log_return()], target), SIGNAL, CV, baselines=[])
    assert informed.verdict().exit_code == 0
    assert informed.verdict().details["ic"] > 0.65
    walk = synthetic.random_walk(1500, 2, seed=5)
    assert walk_forward(Ridge([log_return()], target), walk, CV, baselines=[]).verdict().exit_code == 3


def test_volatility_that_clusters_is_found_by_an_autoregression():
    bars = synthetic.garch(2500, 1, seed=2)
    study = walk_forward(AutoRegression(forward_volatility(5)), bars, CV, baselines=[])
    assert study.verdict().exit_code == 0


def test_challengers_stand_in_the_table_and_fit_every_fold():
    target = forward_close(1)
    rivals = {"drift of the fold": Drift(target), "same": Persistence(target), "ar": AutoRegression(target)}
    study = walk_forward(Noise(target), BARS, CV, baselines=rivals)
    assert list(study.challengers) == list(rivals)
    assert set(rivals) <= set(study.scores())
    assert all(np.isfinite(c).all() for c in study.challengers.values())
    default = walk_forward(Ridge([log_return()], target), BARS, CV)
    assert list(default.challengers) == ["ar"]
    with pytest.raises(InputError, match="must predict what the model predicts"):
        walk_forward(Noise(target), BARS, CV, baselines=[HistoricalMean(forward_log_return(1))])


def test_a_challenger_that_fails_leaves_the_study_alone():
    target = forward_log_return(1)
    study = walk_forward(Noise(target), BARS, CV, baselines={"broken": Noise(target, fails_after=0)})
    assert np.isnan(study.challengers["broken"]).all()
    assert study.verdict().details["challengers"]["broken"]["says"] == "unknown"


def test_a_study_prints_its_numbers_and_its_sentence():
    study = walk_forward(Noise(forward_close(1)), BARS, CV)
    text = repr(study)
    assert text.startswith("Study of Noise on ")
    assert "WalkForward(train='2Y', test='6M'), 3 seeds, trial 1 of run folder" in text
    assert "single seeds: skill " in text
    assert "No evidence: " in text
    assert "<table" in study._repr_html_()
    json.dumps(study.scores(), allow_nan=False)


def test_progress_goes_to_one():
    seen = []
    walk_forward(Noise(forward_log_return(1)), BARS, CV, baselines=[], progress=seen.append)
    assert seen[-1] == 1.0
    assert seen == sorted(seen)


@pytest.mark.parametrize("target", [forward_close(1), forward_volatility(5)], ids=str)
def test_a_saved_study_is_the_same_study(tmp_path, target):
    study = walk_forward(AutoRegression(target), SIGNAL, CV, baselines=[Persistence(target)])
    study.save(tmp_path / "study")
    again = Study.load(tmp_path / "study")
    assert again.records() == study.records()
    assert again.verdict().to_dict() == study.verdict().to_dict()
    assert again.folds == study.folds
    assert again.bars == study.bars
    assert again.name == study.name
    assert repr(again) == repr(study)
    np.testing.assert_array_equal(again.seeds, study.seeds)


def test_bad_arguments_are_told_what_was_expected():
    model = Noise(forward_log_return(1))
    with pytest.raises(InputError, match=r"cv must be a WalkForward such as .* was '5Y'"):
        walk_forward(model, BARS, "5Y")
    with pytest.raises(InputError, match="seeds must be a whole number of at least 1, was 0"):
        walk_forward(model, BARS, CV, seeds=0)
    with pytest.raises(NotEnoughData, match="needs 20 years of decision rows"):
        walk_forward(model, BARS, WalkForward("20Y", "1Y"))
    with pytest.raises(InputError, match="has no target"):
        walk_forward(Noise(None), BARS, CV)
    with pytest.raises(InputError, match="forecaster must be a forecaster.* was the class Ridge"):
        walk_forward(Ridge, BARS, CV)
    with pytest.raises(InputError, match="A challenger must be a forecaster.* was 7"):
        walk_forward(model, BARS, CV, baselines=[7])
    with pytest.raises(InputError, match=r"bars must be Bars, was DataFrame\. Use load_bars"):
        walk_forward(model, BARS.to_pandas(), CV)


def test_a_symbol_listed_late_and_a_halt_are_judged_where_they_have_forecasts():
    values = {name: np.array(SIGNAL[name]) for name in SIGNAL.fields}
    for array in values.values():
        array[:900, 1] = np.nan  # listed late
        array[1100:1120, 0] = np.nan  # halted
    bars = Bars.from_arrays(SIGNAL.time, SIGNAL.symbols, values, calendar=SIGNAL.calendar, bar_size=SIGNAL.bar_size)
    study = walk_forward(Ridge([field("volume").log(), log_return()], forward_log_return(1)), bars, CV)
    rows = np.searchsorted(bars.time, study.time)
    assert np.isnan(study.forecast.mean[rows < 900, 1]).all()
    assert np.isnan(study.actual[(rows >= 1099) & (rows < 1120), 0]).all()
    assert np.isfinite(study.forecast.mean[rows > 1130]).all()
    assert study.verdict().exit_code == 0
    details = study.verdict().details
    assert details["n_cells"] < 2 * details["n_rows"]


def test_challengers_never_take_the_name_of_another_row():
    target = forward_log_return(1)
    study = walk_forward(HistoricalMean(target), BARS, CV, baselines=[HistoricalMean(target), HistoricalMean(target)])
    assert "mean" in study.baselines
    assert list(study.challengers) == ["mean (refitted)", "mean (refitted) (refitted)"]
    assert set(study.scores()) == {"HistoricalMean", *study.baselines, *study.challengers}


def test_only_rows_with_a_full_window_are_decisions():
    values = {name: np.array(BARS[name]) for name in BARS.fields}
    for array in values.values():
        array[700:720] = np.nan
    bars = Bars.from_arrays(BARS.time, BARS.symbols, values, calendar=BARS.calendar, bar_size=BARS.bar_size)
    study = walk_forward(Ridge([log_return()], forward_log_return(1), lookback=8), bars, WalkForward(400, 200))
    rows = np.searchsorted(bars.time, study.time)
    assert rows[0] == 8 + 400  # 1 bar of warm-up and 7 more for the window, then the training span
    assert 698 in rows
    assert not set(range(699, 728)) & set(rows.tolist())  # no outcome, no bar, then no full window
    assert 728 in rows
    assert np.isfinite(study.forecast.mean).all()


class Wide(HistoricalMean):
    """A forecaster that says more than a mean."""

    def predict(self, bars, start=None):
        said = super().predict(bars, start)
        return said.with_extras(
            {"std": np.full(said.mean.shape, 0.01), "quantiles/0.05": said.mean - 0.02, "horizons/1": said.mean}
        )


def test_a_study_keeps_everything_the_forecasts_said(tmp_path):
    bars = synthetic.random_walk(400, 1, seed=2)
    study = walk_forward(Wide(forward_log_return(1)), bars, WalkForward("200D", "50D"), baselines=[])
    study.save(tmp_path / "study")
    kept = Study.load(tmp_path / "study").forecast
    assert sorted(kept.extras()) == ["horizons/1", "quantiles/0.05", "std"]
    assert kept.quantiles is not None
    assert np.array_equal(kept.quantiles[0.05], study.forecast.mean - 0.02)
    assert kept.digest == study.forecast.digest
    assert "with std, quantiles, horizons" in repr(kept)


def test_a_study_with_missing_bars_and_a_failed_fold_is_kept_and_found_again(tmp_path):
    close = np.array(BARS["close"])
    close[700:703] = np.nan
    bars = Bars.from_arrays(BARS.time, BARS.symbols, {"close": close}, bar_size="1D")
    model = Noise(forward_log_return(1), fails_after=BARS.time[1100])
    study = walk_forward(model, bars, CV, baselines=[], seeds=2)
    assert any(fold.failure for fold in study.folds)
    study.save(tmp_path / "study")
    again = Study.load(tmp_path / "study")
    assert again.bars == bars
    np.testing.assert_array_equal(again.forecast.mean, study.forecast.mean)
    assert [fold.failure for fold in again.folds] == [fold.failure for fold in study.folds]


def test_a_study_saved_in_a_project_notes_the_ledger(own_ledger, tmp_path):
    study = walk_forward(Noise(forward_log_return(1)), BARS, CV, baselines=[], seeds=1)
    study.save(tmp_path / "study")
    noted = keeping.ledger_of(tmp_path / "study")
    assert noted == {"records": 2, "head": own_ledger.head}  # the trial and the look at the test rows
    with ledger.project(None):
        study.save(tmp_path / "outside")
    assert keeping.ledger_of(tmp_path / "outside") is None


def test_a_second_look_at_the_same_test_rows_is_counted_and_said(own_ledger):
    first = walk_forward(HistoricalMean(forward_log_return()), BARS, CV, baselines=[])
    again = walk_forward(HistoricalMean(forward_log_return()), BARS, CV, baselines=[])
    other = walk_forward(Drift(forward_log_return()), BARS, CV, baselines=[])
    elsewhere = walk_forward(Drift(forward_log_return()), BARS.until(int(BARS.time[-40])), CV, baselines=[])
    assert [s.reads for s in (first, again, other, elsewhere)] == [1, 2, 3, 4]  # fewer bars, but the same test rows
    assert "looked at for the 3rd time" in other.verdict().sentence
    assert "looked at" not in first.verdict().sentence
    assert [s.trials for s in (first, again, other)] == [1, 1, 2]
    assert len(own_ledger.records("read")) == 4
