"""The studies of real markets on a small scale: what is known when, what is left out, and who has an edge.

The whole studies, with their numbers, are run by `make studies`; here they train little and on less.
"""

import numpy as np
import pandas as pd
import pytest

import longshort as ls
from longshort import features as f
from longshort import metrics

pytest.importorskip("pyarrow")
pytestmark = pytest.mark.full


@pytest.fixture(autouse=True)
def _counted_apart(tmp_path):
    """Trials of other tests are not trials of these."""
    with ls.project(tmp_path / "project"):
        yield


@pytest.fixture(scope="module")
def index(example):
    module = example("index")
    return module, module.load()


@pytest.fixture(scope="module")
def hourly(example):
    module = example("hourly")
    return module, module.load(start="2010-11-01")


@pytest.fixture(scope="module")
def section(example):
    module = example("cross_section")
    return module, *module.load(20)


@pytest.fixture(scope="module")
def movements(example):
    module = example("movements")
    return module, module.load()


def local(bars):
    return pd.DatetimeIndex(bars.time.astype("datetime64[ns]")).tz_localize("UTC").tz_convert("America/New_York")


# -------------------------------------------------------------------------------------------------------------- index


def test_a_forecast_at_the_close_knows_the_vix_of_the_session_before(index, shared):
    module, bars = index
    table = pd.read_parquet(module.FILE).set_index("date")
    vix = pd.to_numeric(table.vix[table.symbol == "VIX"], errors="coerce").dropna()
    known = bars["vix"].ravel()
    assert np.isnan(known[bars.dates <= np.datetime64("2014-01-03")]).all()
    for day in ("2014-01-06", "2016-11-25", "2018-12-24"):  # the second and the last are half days
        row = int(np.flatnonzero(bars.dates == np.datetime64(day))[0])
        assert known[row] == vix[vix.index < day].iloc[-1]
        assert known[row] != vix.get(day)


def test_the_inputs_of_the_index_look_at_the_past_and_at_no_level(index):
    module, bars = index
    part = bars.since("2004-01-01").until("2005-12-31")
    assert ls.audit(module.INPUTS, part, budget=5.0).ok
    dearer = ls.Bars(
        part.time, part.symbols, {name: part[name] * (1000 if name == "volume" else 8) for name in part.fields},
        calendar="XNYS",
    )  # fmt: skip
    inputs = f.FeatureSet(module.INPUTS)
    np.testing.assert_allclose(inputs.compute(dearer), inputs.compute(part), rtol=1e-6, atol=1e-9)


def test_the_volatility_of_the_index_can_be_forecast_and_its_direction_is_not_far_from_a_coin(index):
    module, bars = index
    part = bars.until("2008-12-31")
    volatility = module.study(part, module.models(epochs=4)["volatility"], seeds=1)
    assert volatility.verdict().exit_code == 0
    assert volatility.verdict().details["ic"] > 0.6
    direction = module.study(part, module.models(epochs=2)["direction"], seeds=1)
    assert 0.45 < direction.verdict().details["hit_rate"] < 0.58
    assert abs(direction.verdict().details["ic"]) < 0.1
    assert volatility.folds[0].n_train < volatility.folds[-1].n_train  # no crisis is forgotten


def test_the_studies_with_and_without_the_vix_are_judged_on_the_same_rows(index):
    module, bars = index
    found = module.with_and_without_vix(bars, seeds=1, epochs=2)
    without, beside = found["without VIX"], found["with VIX"]
    assert np.array_equal(without.time, beside.time)
    assert np.array_equal(np.isfinite(without.forecast.mean), np.isfinite(beside.forecast.mean))
    assert str(without.time.astype("datetime64[ns]")[0])[:4] == "2016"


# ------------------------------------------------------------------------------------------------------------- hourly


def test_hourly_bars_are_known_at_their_end_also_on_half_days_and_across_clock_changes(hourly):
    _, bars = hourly
    stamps, dates = local(bars), bars.dates
    half = stamps[dates == np.datetime64("2010-11-26")]
    assert [s.strftime("%H:%M") for s in half] == ["10:00", "11:00", "12:00", "13:00"]
    for day in ("2010-11-05", "2010-11-08", "2011-03-11", "2011-03-14"):  # around both changes of the clock
        whole = [s.strftime("%H:%M") for s in stamps[dates == np.datetime64(day)]]
        assert whole == ["10:00", "11:00", "12:00", "13:00", "14:00", "15:00", "16:00"]


def test_the_last_hour_of_a_session_closes_where_the_day_does(hourly):
    _, bars = hourly
    daily = ls.load_bars(bars.symbols, start="2010-11-01", source="sample")
    last = np.r_[bars.dates[1:] != bars.dates[:-1], True]
    assert np.array_equal(bars.dates[last], daily.dates)
    np.testing.assert_allclose(bars["close"][last], daily["close"], rtol=1e-9)


def test_splits_are_no_returns(hourly):
    _, bars = hourly
    assert set(zip(*np.nonzero(bars.split != 1.0), strict=True)) == {
        (int(np.flatnonzero(bars.dates == np.datetime64(day))[0]), bars.symbols.index("AAPL"))
        for day in ("2014-06-09", "2020-08-31")
    }
    change = np.diff(np.log(bars.adjusted("close")), axis=0)
    assert np.nanmax(np.abs(change)) < 0.15
    assert np.nanmin(np.diff(np.log(bars["close"]), axis=0)) < -1.2  # as traded, one share becomes seven


def test_lookbacks_of_hourly_bars_are_compared_on_the_same_rows(hourly):
    module, bars = hourly
    part = bars.since("2016-01-01").until("2017-12-31")
    cv = ls.WalkForward(train="1Y", test="3M")
    model = module.model(epochs=2).with_params(hidden=(8,), batch_size=256)
    sweep = ls.evaluation.lookback_sweep(model, part, [20, 60], cv, seeds=1)
    assert sweep.lookbacks == (20, 60)
    assert len(set(np.isfinite(sweep.forecasts).sum(axis=(1, 2, 3)))) == 1
    assert all(test.mean > 0 for test in sweep.skill_of_mean)


# ------------------------------------------------------------------------------------------------------ cross-section


def test_what_the_defect_list_names_is_left_out_or_missing(section, shared):
    _, bars, record = section
    assert str(bars.dates[-1]) == "2017-07-31"  # the next bar shows the morning after
    assert set(bars.fields) == {"close", "volume"}
    defects = pd.read_csv(shared / "sp500_2013_2018_defects.csv")
    unusable = set(defects.symbol[defects.kind.isin(["gap_before", "corporate_action_unadjusted"])])
    assert not unusable & set(bars.symbols)
    for symbol, date in zip(defects.symbol, defects.date, strict=True):
        if symbol in bars.symbols and date <= "2017-07-31":
            row = int(np.flatnonzero(bars.dates == np.datetime64(date))[0])
            assert np.isnan(bars["close"][row, bars.symbols.index(symbol)]), (symbol, date)
    assert "left out: " in record[0]


def test_large_is_decided_before_anything_is_learned(section):
    module, bars, _ = section
    table = pd.read_parquet(module.FOLDER / "sp500_2013_2018.parquet").astype({"symbol": str})
    first = table[table.date <= module.FIRST_YEAR]
    traded = (first.close * first.volume).groupby(first.symbol).mean()
    assert traded[list(bars.symbols)].min() >= traded.nlargest(40).min()
    study = module.study(bars, "volatility", seeds=1, epochs=1)
    assert study.time[0] > pd.Timestamp(module.FIRST_YEAR, tz="UTC").value


def test_who_moves_more_is_known_and_who_does_better_is_not(section):
    module, bars, _ = section
    volatility = module.study(bars, "volatility", seeds=1, epochs=2).verdict()
    assert volatility.exit_code == 0
    assert volatility.details["cross_section"]["rank_ic"] > 0.3
    returns = module.study(bars.select(bars.symbols[:12]), "return", seeds=1, epochs=1).verdict()
    assert returns.exit_code == 3
    assert abs(returns.details["cross_section"]["rank_ic"]) < 0.1


# ---------------------------------------------------------------------------------------------------------- movements


def test_what_is_forecast_is_the_published_label_of_the_next_row(movements):
    module, bars = movements
    label, target = bars["label"], module.MOVEMENT.compute(bars)
    known = np.isfinite(label[1:]) & np.isfinite(label[:-1])
    ours = np.nan_to_num(2 * target[:-1] - 1)  # 1, -1, and 0 inside the dead band
    assert known.sum() > 50_000
    assert np.array_equal(ours[known], label[1:][known])


def test_the_features_beside_a_label_contain_it_and_are_not_used_for_it(movements):
    module, bars = movements
    label, change = bars["label"], bars["n_adj_close"]
    told = np.isfinite(label) & (label != 0)
    assert metrics.matthews_correlation(label[told], change[told]) == 1.0  # same row: the answer
    assert abs(metrics.matthews_correlation(label[1:][told[1:]], change[:-1][told[1:]])) < 0.1  # the day before
    names = {name for x in module.INPUTS for name in f.FeatureSet([x]).inputs}
    assert "label" not in names
    assert "close" not in names


def test_the_movements_follow_the_protocol_and_are_near_a_coin(movements):
    pytest.importorskip("sklearn")
    module, bars = movements
    study = module.study(bars, *module.PUBLISHED, seeds=2, epochs=4)
    fold, days = study.folds[0], bars.dates
    decided = np.isfinite(module.MOVEMENT.compute(bars))
    rows = np.flatnonzero(decided.any(axis=1))
    train = rows[(days[rows] >= np.datetime64("2013-12-31")) & (days[rows] < np.datetime64("2015-07-31"))]
    assert decided[train].sum() == 20_319  # labels of 2014-01-02 to 2015-07-31
    assert fold.n_train == len(train) - 1  # the label of 2015-07-31 becomes known at the moment of the first forecast
    labels = local(ls.Bars.from_arrays(study.for_time, "X", {"close": np.ones(len(study))}, calendar="XNYS"))
    assert (str(labels[0].date()), str(labels[-1].date())) == ("2015-08-03", "2015-09-30")
    assert np.isfinite(study.actual).sum() == 2_555
    accuracy, mcc = module.scores(study, study.forecast.mean)
    assert 0.42 < accuracy < 0.58
    assert abs(mcc) < 0.15
