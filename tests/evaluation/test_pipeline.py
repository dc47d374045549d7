"""The whole pipeline with networks, both ways: noise is not an edge, and the future cannot be seen."""

import numpy as np
import pytest

import longshort as ls
from longshort import features as f
from longshort import ledger
from longshort.bars import Bars
from longshort.data import synthetic

FEATURES = [f.log_return(), f.log_return().rolling_std(10), f.sma_ratio(20)]
TWO_FOLDS = ls.WalkForward(500, 350)
ONE_FOLD = ls.WalkForward(350, 500)


@pytest.fixture(autouse=True)
def own_ledger(tmp_path):
    with ledger.project(tmp_path / "project"):
        yield


def false_edges(n_walks, target, features=FEATURES, drift=0.0, n=1250, cv=TWO_FOLDS, **net):
    """Count edges of the mean of three networks; returns of other markets, and of one network, are in test_null.py."""
    found = 0
    for seed in range(n_walks):
        bars = synthetic.random_walk(n, seed=seed, drift=drift)
        with ledger.aside():
            study = ls.walk_forward(ls.LSTM(features, target, **net), bars, cv, baselines=[])
            found += study.verdict().exit_code == 0
    return found


SMALL = {"lookback": 20, "hidden": (16,), "epochs": 8}


def test_three_networks_find_an_edge_on_at_most_6_of_40_random_walks():
    assert false_edges(40, f.forward_log_return(1), n=890, cv=ONE_FOLD, **SMALL) <= 6  # 99 % bound of 40 draws at 5 %


@pytest.mark.full
@pytest.mark.parametrize(
    ("target", "features", "drift"),
    [
        (f.forward_log_return(1), FEATURES, 0.0),
        (f.forward_close(1), [f.field("close")], 0.0004),
        (f.forward_direction(1), FEATURES, 0.0),
        (f.forward_log_return(5), FEATURES, 0.0004),
    ],
    ids=["returns", "prices", "directions", "5-bar returns"],
)
def test_networks_find_an_edge_on_at_most_18_of_200_walks_whatever_they_predict(target, features, drift):
    assert false_edges(200, target, features, drift, **SMALL) <= 18  # 99 % bound of 200 draws at 5 %


@pytest.mark.full
def test_the_default_network_finds_an_edge_on_at_most_2_of_10_random_walks():
    assert false_edges(10, f.forward_log_return(1)) <= 2  # 99 % quantile of the binomial distribution at 5 %


# ------------------------------------------------------------------------------------------------------ no look-ahead

BARS = synthetic.planted_signal(900, ["A", "B"], seed=3)
MODELS = {
    "lstm": lambda: ls.LSTM(FEATURES, f.forward_log_return(2), lookback=10, hidden=(6,), epochs=2, seed=1),
    "tutorial": lambda: ls.LSTM(
        [f.field("close")], f.forward_close(1), lookback=10, hidden=(6,), epochs=2, scaler="minmax"
    ),
    "ridge": lambda: ls.models.Ridge(FEATURES, f.forward_volatility(3)),
    "ar": lambda: ls.models.AutoRegression(f.forward_direction(1)),
}


def with_another_future(bars: Bars, row: int, how: str) -> Bars:
    """The bars with everything after `row` changed."""
    rng = np.random.default_rng(row)
    rows = np.arange(len(bars))
    if how == "permuted":
        rows[row + 1 :] = rng.permutation(rows[row + 1 :])
    values = {name: np.array(bars[name])[rows] for name in bars.fields}
    if how == "scaled":
        factor = np.exp(rng.normal(size=(len(bars) - row - 1, 1)))
        for name in bars.fields:
            values[name][row + 1 :] *= factor
    state = np.array(bars.state)
    if how == "missing":
        for name in bars.fields:
            values[name][row + 1 :: 2] = np.nan
        state = None
    return Bars.from_arrays(
        bars.time, bars.symbols, values, state=state, calendar=bars.calendar, bar_size=bars.bar_size
    )


@pytest.mark.parametrize("how", ["scaled", "permuted", "missing"])
@pytest.mark.parametrize("name", MODELS)
def test_another_future_changes_no_forecast_made_before_it(name, how):
    cv = ls.WalkForward(400, 150, embargo=2)
    whole = ls.walk_forward(MODELS[name](), BARS, cv, seeds=2, baselines=[])
    first = int(np.searchsorted(BARS.time, whole.time[0]))
    edges = [first + 20, first + 149, first + 150, first + 151, 800]  # around the start, a refit, and inside a fold
    for row in edges:
        other = ls.walk_forward(MODELS[name](), with_another_future(BARS, row, how), cv, seeds=2, baselines=[])
        made = whole.time if how != "missing" else whole.for_time  # without its outcome a row is not judged
        n = int(np.searchsorted(made, BARS.time[row], side="right"))
        assert n > 15
        np.testing.assert_array_equal(other.time[:n], whole.time[:n])
        np.testing.assert_array_equal(other.seeds[:, :n], whole.seeds[:, :n])
        for key, values in whole.baselines.items():
            np.testing.assert_array_equal(other.baselines[key][:n], values[:n])


def test_a_study_of_a_network_on_longer_bars_begins_with_the_records_of_the_shorter():
    cv = ls.WalkForward("1Y", "6M")
    for cut in (600, 777):
        short = ls.walk_forward(MODELS["lstm"](), BARS.until(int(BARS.time[cut])), cv, baselines=[])
        long = ls.walk_forward(MODELS["lstm"](), BARS, cv, baselines=[])
        before, after = short.records(), long.records()
        assert len(before) < len(after)
        assert before == after[: len(before)]


def test_a_saved_network_study_keeps_its_histories_and_configuration(tmp_path):
    study = ls.walk_forward(MODELS["lstm"](), BARS, ls.WalkForward(400, 250), seeds=2)
    study.save(tmp_path / "study")
    again = ls.Study.load(tmp_path / "study")
    assert again.records() == study.records()
    assert [[h.val_loss for h in fold] for fold in again.histories] == [
        [h.val_loss for h in fold] for fold in study.histories
    ]
    assert again.forecaster.to_dict() == study.forecaster.to_dict()
    assert set(study.challengers) == {"ridge", "ar"}
    assert repr(again) == repr(study)


def test_threads_change_no_byte_of_a_network_study():
    model = ls.LSTM([f.log_return()], lookback=10, hidden=(8,), epochs=3, dropout=0.2)
    one, two = (ls.walk_forward(model, BARS, ls.WalkForward(200, 100), threads=n) for n in (1, 2))
    assert one.forecast.digest == two.forecast.digest
