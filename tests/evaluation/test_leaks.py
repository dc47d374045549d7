"""The leak audit: what must not change does not, every proof can be checked by hand, and nothing is claimed unseen."""

import json
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

import longshort as ls
from longshort import features as f
from longshort import models as m
from longshort.data import synthetic
from longshort.errors import InputError, NotEnoughData, UnknownName
from longshort.evaluation.leaks import audit, load_object, markets
from longshort.evaluation.leaks.relations import compare
from longshort.evaluation.leaks.subjects import Output

SETTLED = {"universe": "nothing", "features": "nothing", "tuning": "nothing"}
NEURAL = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False, "accelerator": "cpu"}


@pytest.fixture(scope="module")
def aapl() -> ls.Bars:
    return ls.load_bars("AAPL", start="2012-01-01", end="2015-12-31", source="sample")


@pytest.fixture(scope="module")
def two() -> ls.Bars:
    """QQQ is missing until 2011-03-23: edges of gaps among the cuts."""
    return ls.load_bars(["AAPL", "QQQ"], start="2004-11-01", end="2013-06-28", source="sample").since("2010-06-01")


# -------------------------------------------------------------------------------- other futures


def same(a: np.ndarray, b: np.ndarray) -> bool:
    return np.array_equal(a, b, equal_nan=True)


@settings(max_examples=60, deadline=None)
@given(some.integers(1, 299), some.sampled_from(list(markets.WAYS)), some.integers(0, 5))
def test_rows_before_a_cut_are_never_touched_and_those_after_it_are(first, way, seed):
    bars = synthetic.random_walk(300, 2, seed=seed)
    other = markets.altered(bars, first, way, seed)
    assert same(other.time[:first], bars.time[:first])
    for name in bars.fields:
        assert other[name][:first].tobytes() == bars[name][:first].tobytes()
        assert other.adjusted(name)[:first].tobytes() == bars.adjusted(name)[:first].tobytes()
    assert same(other.state[:first], bars.state[:first])
    changed = len(other) != 300 or not same(other["close"], bars["close"]) or not same(other.time, bars.time)
    assert changed or (way == "shuffle" and first > 295)  # a few rows can be shuffled into their own order


def test_other_futures_keep_what_bars_promise_across_splits_dividends_and_gaps(two):
    for cut in markets.cut_points(two, None, [], 1, 40, seed=0):
        for way in markets.WAYS:
            other = markets.altered(two, cut.row, way)
            for name in two.fields:
                assert other.adjusted(name)[: cut.row].tobytes() == two.adjusted(name)[: cut.row].tobytes()


def test_cuts_are_where_leaks_like_to_hide(two):
    cuts = markets.cut_points(two, None, [400], 5, 60, seed=0)
    reasons = {cut.reason: [c.row for c in cuts if c.reason == cut.reason] for cut in cuts}
    day = {reason: {str(two.dates[row]) for row in rows} for reason, rows in reasons.items()}
    assert "2011-03-23" in day["gap edge"]
    assert 400 in reasons["fold boundary"]
    assert 404 in reasons["fold boundary"]  # a label end
    assert all(np.datetime64(d).astype("datetime64[D]").item().weekday() == 4 for d in day["roll date"])
    assert len(two) - 1 in reasons["last row"]
    assert len({cut.row for cut in cuts}) == len(cuts) == 60
    assert cuts == markets.cut_points(two, None, [400], 5, 60, seed=0)


def test_sessions_have_edges_where_bars_are_intraday():
    from longshort.evaluation import zoo

    bars = zoo.find("session_range").bars
    edges = [c.row for c in markets.cut_points(bars, None, [], 1, 60, 0) if c.reason == "session edge"]
    assert edges
    assert all(bars.dates[row] != bars.dates[row - 1] for row in edges)


def test_a_market_without_memory_has_no_skill_and_one_that_announces_has_it_two_rows_late(aapl):
    for made, lags in ((markets.memoryless(aapl), {1: 0.0, 2: 0.0}), (markets.announced(aapl), {1: 0.0, 2: 0.7})):
        assert (made["high"] >= np.maximum(made["open"], made["close"]) * (1 - 1e-12)).all()
        assert (made["low"] <= np.minimum(made["open"], made["close"]) * (1 + 1e-12)).all()
        change = np.diff(np.log(made["close"][:, 0]))
        assert abs(change.mean()) < 4 * change.std() / np.sqrt(len(change))
        for lag, expected in lags.items():
            assert np.corrcoef(change[lag:], change[:-lag])[0, 1] == pytest.approx(expected, abs=0.1)


def test_bars_28_years_earlier_have_the_same_weekdays_and_days_of_the_year(aapl):
    moved = markets.moved_in_time(aapl)
    here, there = aapl.time.astype("datetime64[ns]"), moved.time.astype("datetime64[ns]")
    for unit in ("M", "D"):
        a, b = here.astype(f"datetime64[{unit}]").astype(int), there.astype(f"datetime64[{unit}]").astype(int)
        assert same((a % 12) if unit == "M" else (a % 7), (b % 12) if unit == "M" else (b % 7))
    assert same(aapl["close"], moved["close"])


# -------------------------------------------------------------------------------- comparison


def output(values, time=(1, 2, 3), known=None) -> Output:
    values = np.asarray(values, float).reshape(len(time), -1)
    own = np.repeat(np.asarray(time)[:, None], values.shape[1], axis=1)
    return Output(np.asarray(time), values, own if known is None else np.asarray(known), ((None, "x"),))


def test_only_numbers_that_may_not_know_are_compared():
    base = output([1.0, 2.0, 3.0])
    assert compare(base, output([1.0, 2.0, 9.0]), until=2) is None
    assert compare(base, output([1.0, 9.0, 3.0]), until=2).where.ravel().tolist() == [False, True, False]
    late = output([1.0, 2.0, 3.0], known=[[3], [3], [4]])
    assert compare(late, output([9.0, 9.0, 9.0]), until=2) is None
    assert compare(late, output([9.0, 2.0, 9.0]), until=3).where.ravel().tolist() == [True, False, False]


def test_missing_and_extra_rows_count_as_asked():
    base, shorter = output([1.0, np.nan, 3.0]), output([1.0, 2.0], time=(1, 2))
    assert compare(base, shorter, 3, presence="both").where.ravel().tolist() == [False, True, True]
    assert compare(base, shorter, 3, presence="appeared").where.ravel().tolist() == [False, True, False]
    assert compare(base, shorter, 3, presence="neither") is None


def test_rounding_is_forgiven_only_within_the_tolerance():
    base, other = output([1.0, 2.0, 3.0]), output([1.0, 2.0 + 1e-12, 3.0])
    assert compare(base, other, 3) is not None
    assert compare(base, other, 3, tolerance=1e-9) is None


# -------------------------------------------------------------------------------- proofs


def centred(frame):
    return frame["close"].rolling(5, center=True).mean()


def test_a_proof_can_be_checked_by_hand(aapl):
    found = audit(centred, aapl)
    proof = found.findings[0]
    frame = aapl.to_pandas()
    assert centred(frame).iloc[proof.row] == proof.before
    assert str(frame.index[proof.row].date()) == proof.date
    cut = int(np.flatnonzero(aapl.dates == np.datetime64(proof.since))[0])
    assert proof.row < cut
    way = next(way for way, text in markets.WAYS.items() if text == proof.changed)
    other = markets.altered(aapl, cut, way, seed=0).to_pandas()
    assert other["close"].iloc[:cut].equals(frame["close"].iloc[:cut])
    assert centred(other).iloc[proof.row] == proof.after != proof.before
    assert proof.date in str(proof)
    assert proof.since in str(proof)
    assert f"{proof.before:.6g}" in str(proof)
    assert (found.ok, found.answer, found.exit_code) == (False, "leak", 1)


def test_an_audit_is_the_same_twice(aapl):
    assert audit(centred, aapl).findings == audit(centred, aapl).findings


def test_an_audit_reads_for_machines(aapl):
    found = json.loads(json.dumps(audit(centred, aapl).to_dict()))
    assert found["answer"] == "leak"
    assert found["findings"][0]["proof"].startswith("LEAK (")
    assert sum(check["runs"] for check in found["checks"]) > 5


# -------------------------------------------------------------------------------- longshort's own


def test_features_and_targets_of_longshort_are_clean(two):
    inputs = [
        f.technical(),
        [f.field("close", symbol="AAPL") / f.sma(10), [f.ema(8), *f.macd(3, 6, 2)]],
        f.rsi(5).rank(),
    ]
    assert audit(inputs, two).answer == "clean"
    for target in (
        f.forward_close(),
        f.forward_return(3, entry="next_open"),
        f.forward_volatility(5),
        f.forward_barrier(),
    ):
        assert audit(target, two).answer == "clean"


def test_a_causal_function_sees_its_window_only(aapl):
    def last_of_centred(frame):
        return frame["close"].rolling(5, center=True).mean().iloc[-3]

    bars = aapl.until("2012-12-31")
    assert audit(f.causal(last_of_centred, lookback=6), bars, runs=20).answer == "clean"


FORECASTERS = {
    "ridge": lambda: m.Ridge([f.log_return(), f.volatility(20)], f.forward_return(5)),
    "ar": lambda: m.AutoRegression(f.forward_volatility(5)),
    "drift": lambda: m.Drift(f.forward_close()),
    "lstm": lambda: ls.LSTM([f.log_return(), f.rsi(5)], lookback=10, hidden=(4,), epochs=3, seeds=2),
    "per symbol": lambda: ls.LSTM([f.log_return()], lookback=5, hidden=(3,), epochs=2, per_symbol=True),
    "quantiles": lambda: ls.LSTM([f.log_return()], lookback=5, hidden=(3,), epochs=2, loss="quantile"),
}


@pytest.mark.parametrize("name", FORECASTERS)
def test_forecasters_of_longshort_have_no_leak(name, two):
    found = audit(FORECASTERS[name](), two, facts=SETTLED, runs=30)
    assert found.answer == "clean", found
    assert {"fold seal", "future perturbation", "extension invariance"} <= {check.relation for check in found.checks}


def test_a_forecaster_is_left_as_it_was(two):
    model = ls.LSTM([f.log_return()], lookback=5, hidden=(3,), epochs=4)
    audit(model, two, runs=4)
    assert not hasattr(model, "nets_")
    assert model.epochs == 4


def test_the_runs_of_an_audit_are_no_trials(two, tmp_path):
    with ls.project(tmp_path) as book:
        audit(ls.LSTM([f.log_return()], lookback=5, hidden=(3,), epochs=1), two, runs=4)
        assert book.trials() == 0


def test_a_walk_forward_decides_where_a_forecaster_is_cut(two):
    found = audit(
        m.AutoRegression(f.forward_return(5)), two, cv=ls.WalkForward("1Y", "6M", embargo="5D"), facts=SETTLED
    )
    assert found.answer == "clean"


def test_what_cannot_be_observed_is_asked_and_never_called_clean(aapl):
    found = audit(m.AutoRegression(f.forward_return()), aapl, runs=8)
    assert found.ok
    assert found.exit_code == 0
    assert found.answer == "not observable"
    assert [q.name for q in found.questions] == ["universe", "features", "tuning"]
    assert "facts={'universe': ...}" in repr(found)
    late = audit(m.AutoRegression(f.forward_return()), aapl, runs=8, facts=SETTLED | {"tuning": "2015-12-31"})
    assert late.answer == "leak"
    assert "2015-12-31" in late.findings[0].text
    early = audit(m.AutoRegression(f.forward_return()), aapl, runs=8, facts=SETTLED | {"tuning": "2013-12-31"})
    assert early.answer == "clean"


def test_a_joined_series_is_asked_for_its_vintage_only_where_it_is_read(aapl):
    import pandas as pd

    index = pd.to_datetime(aapl.time, utc=True)
    bars = aapl.join(pd.Series(np.arange(len(aapl)) % 7.0, index, name="mood"), available_at="index")
    assert [q.name for q in audit(lambda frame: frame["mood"] * 2, bars).questions] == ["vintage"]
    assert audit(lambda frame: frame["close"].diff(), bars).answer == "clean"
    known = {"vintage": "point in time"}
    assert audit(lambda frame: frame["mood"] * 2, bars, facts=known).answer == "clean"


# -------------------------------------------------------------------------------- functions


def test_a_function_gets_what_it_asks_for(aapl, two):
    seen = {}

    def keep(name):
        def function(frame):
            seen[name] = frame
            return frame.iloc[:, :1] if hasattr(frame, "iloc") else frame["close"]

        return function

    audit(lambda frame: frame["Close"] + frame["Open"], aapl, runs=4)
    for given_as in ("frame", "panel", "long"):
        audit(keep(given_as), two, given=given_as, runs=4)
    assert list(seen["frame"].columns[:4]) == ["open", "high", "low", "close"]
    assert set(seen["panel"].columns.get_level_values("symbol")) == {"AAPL", "QQQ"}
    assert seen["panel"]["close"].shape[1] == 2
    assert "symbol" in seen["long"].columns

    def of_bars(bars):
        return bars["close"]

    assert audit(of_bars, two, runs=4).ok
    assert audit(lambda x: x["close"], two, given="bars", runs=4).ok


def test_a_function_may_return_bars_rows_tables_arrays_forecasts_or_pairs(aapl):
    def pair(frame):
        return frame[["close"]], frame["close"].pct_change().shift(-1)

    def mapping(frame):
        return {"a": frame["close"], "b": frame["volume"].to_numpy()}

    def regimes(frame):
        return frame["close"].diff().gt(0).map({True: "up", False: "down"})

    def windows(frame):
        return np.stack([frame["close"].shift(k).to_numpy() for k in range(3)], axis=1)[:, :, None]

    def forecast(bars):
        return m.Persistence(f.forward_close()).fit(bars).predict(bars)

    for function in (pair, mapping, regimes, windows, forecast):
        assert audit(function, aapl, runs=12).answer == "clean", function.__name__


def test_names_of_regimes_are_compared_too(aapl):
    def regimes(frame):
        return (frame["close"] > frame["close"].median()).map({True: "dear", False: "cheap"})

    assert audit(regimes, aapl).answer == "leak"


def test_shorter_results_keep_their_index(aapl):
    assert audit(lambda frame: frame["close"].rolling(20).mean().dropna(), aapl).answer == "clean"
    assert audit(lambda frame: frame["close"].rolling(20).mean().dropna().shift(-1), aapl).answer == "leak"


def test_a_function_that_does_not_repeat_itself_gets_its_own_finding(aapl):
    found = audit(lambda frame: frame["close"] + np.random.default_rng().normal(size=len(frame)), aapl)
    assert found.answer == "not judged"
    assert (found.ok, found.exit_code) == (False, 2)
    assert [finding.relation for finding in found.findings] == ["determinism"]
    assert not found.findings[0].is_leak


def test_a_leak_that_shows_at_one_row_only_is_found_when_every_row_is_tried(aapl):
    def one_row(frame):
        out = frame["close"].diff().to_numpy().copy()
        out[537] = frame["close"].iloc[538] if len(frame) > 538 else 0.0
        return out

    found = audit(one_row, aapl, runs=2 * len(aapl))
    assert found.answer == "leak"
    assert found.findings[0].row == 537


def test_the_training_part_may_depend_on_all_of_itself_and_on_nothing_else(aapl):
    def scaled(frame, last="2014-06-30"):
        known = frame["close"].loc[:last]
        return (frame["close"] - known.mean()) / known.std()

    assert audit(scaled, aapl).answer == "leak"
    assert audit(scaled, aapl, train="2014-06-30").answer == "clean"
    assert audit(scaled, aapl, train="2014-03-31").answer == "leak"


def test_a_split_that_moves_with_the_number_of_rows_is_no_leak(aapl):
    def forecasts(frame):
        first = int(0.8 * len(frame))
        return (frame["close"] - frame["close"].iloc[:first].mean()).iloc[first:]

    found = audit(forecasts, aapl, output="forecast", facts=SETTLED)
    assert found.answer == "clean"
    assert any("moves with the number of rows" in note for note in found.notes)


def test_the_order_of_symbols_is_noted(two):
    def first_minus_second(frame):
        return frame["close"].sub(frame["close"].iloc[:, 0], axis=0)

    found = audit(first_minus_second, two, given="panel")
    assert found.ok
    assert any("opposite order" in note for note in found.notes)


def test_a_slow_function_is_stopped_by_the_budget_and_says_so(aapl):
    def slow(frame):
        time.sleep(0.05)
        return frame["close"].diff()

    began = time.monotonic()
    found = audit(slow, aapl.until("2012-12-31"), budget=0.6)
    assert time.monotonic() - began < 10
    assert any("budget" in note for note in found.notes)


# -------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize("raised", [ZeroDivisionError("mine"), SystemExit(0)])
def test_code_that_raises_or_exits_is_neither_a_leak_nor_clean(aapl, raised, tmp_path):
    def raises(frame):
        raise raised

    with pytest.raises(
        InputError, match=f"raises must run on the bars as they are, but it raised {type(raised).__name__}"
    ):
        audit(raises, aapl)
    (tmp_path / "ends.py").write_text("raise SystemExit(0)")
    with pytest.raises(InputError, match="does not run: SystemExit: 0"):
        load_object(f"{tmp_path / 'ends.py'}:signal")


def test_code_that_raises_on_other_futures_is_not_judged(aapl):
    """A leak, and a check of its data that any other price fails: nothing that ran could have shown it."""
    expected = aapl["close"][:, 0].tobytes()

    def checks(frame):
        assert frame["close"].to_numpy().tobytes() == expected, "other data"
        return frame["close"].shift(-1)

    found = audit(checks, aapl)
    assert (found.answer, found.exit_code) == ("not judged", 2)
    assert "at last AssertionError: other data, so a leak could not have shown" in found.sentence


def test_numbers_kept_from_an_earlier_call_are_not_called_clean(aapl):
    kept = {}

    def memorised(frame):
        return kept.setdefault(len(frame), frame["close"].shift(-1))

    found = audit(memorised, aapl)
    assert found.answer == "not observable"
    assert [q.name for q in found.questions] == ["source"]


def test_what_cannot_be_audited_is_refused_with_advice(aapl):
    with pytest.raises(InputError, match="it was str"):
        audit("signal", aapl)
    with pytest.raises(InputError, match=r"raised KeyError: 'nope'"):
        audit(lambda frame: frame["nope"], aapl)
    with pytest.raises(InputError, match=r"returned 10 rows for 1006 bars"):
        audit(lambda frame: frame["close"].to_numpy()[:10], aapl)
    with pytest.raises(InputError, match=r"one value for 1006 bars"):
        audit(lambda frame: frame["close"].mean(), aapl)
    with pytest.raises(InputError, match="nothing but NaN"):
        audit(lambda frame: frame["close"].rolling(5000).mean(), aapl)
    with pytest.raises(NotEnoughData, match="at least 20 bars, but there are 3"):
        audit(centred, aapl.until("2012-01-05"))
    with pytest.raises(InputError, match="needs Bars"):
        audit(centred, aapl.to_pandas())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"given": "fram"}, "Did you mean 'frame'"),
        ({"output": "forecasts"}, "Did you mean 'forecast'"),
        ({"facts": {"univers": "nothing"}}, "Did you mean 'universe'"),
        ({"facts": {"vintage": "2015-01-01"}}, "Known: point in time, revised"),
        ({"facts": ["universe"]}, "must be a mapping"),
        ({"runs": 0}, "at least 1, was 0"),
        ({"budget": 0}, "above 0, was 0"),
        ({"train": 1.5}, "a share between 0 and 1"),
        ({"train": "2020-01-01"}, "leaves 1006 rows to train and 0 to test"),
    ],
)
def test_a_wrong_option_is_refused(aapl, options, says):
    with pytest.raises(InputError, match=says):
        audit(centred, aapl, **options)


# -------------------------------------------------------------------------------- other people's things


@pytest.mark.full
def test_estimators_are_audited_with_their_splitter(aapl):
    pytest.importorskip("sklearn")
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import KFold, TimeSeriesSplit
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    pipeline, target = make_pipeline(StandardScaler(), Ridge()), f.forward_return(5)
    inputs = {"features": [f.log_return(), f.volatility(10)], "facts": SETTLED, "runs": 40}
    for cv in (None, ls.WalkForward("1Y", "6M"), TimeSeriesSplit(4, gap=5)):
        assert audit(pipeline, aapl, target=target, cv=cv, **inputs).answer == "clean", cv
    for cv in (KFold(5, shuffle=True, random_state=0), KFold(5), TimeSeriesSplit(4)):  # the last does not purge
        assert audit(pipeline, aapl, target=target, cv=cv, **inputs).answer == "leak", cv
    with pytest.raises(InputError, match="cv must be a WalkForward"):
        audit(pipeline, aapl, cv=5)


@pytest.mark.full
def test_inputs_of_an_estimator_may_be_a_function(aapl):
    pytest.importorskip("sklearn")
    from sklearn.linear_model import LinearRegression

    def honest(frame):
        return frame[["close"]].pct_change().assign(wide=frame["high"] / frame["low"] - 1)

    def leaking(frame):
        return honest(frame) - honest(frame).mean()

    assert audit(LinearRegression(), aapl, features=honest, facts=SETTLED, runs=30).answer == "clean"
    assert audit(LinearRegression(), aapl, features=leaking, facts=SETTLED, runs=30).answer == "leak"


@pytest.mark.full
def test_torch_modules_are_audited_as_they_are(aapl):
    torch = pytest.importorskip("torch")

    class Net(torch.nn.Module):
        def __init__(self, normed=False, dropout=0.0):
            super().__init__()
            self.lstm, self.drop = torch.nn.LSTM(1, 4, batch_first=True), torch.nn.Dropout(dropout)
            self.norm = torch.nn.BatchNorm1d(4) if normed else torch.nn.Identity()

        def forward(self, x):
            return self.drop(self.norm(self.lstm(x)[0][:, -1])).sum(1, keepdim=True)

    torch.manual_seed(0)
    bars = aapl.until("2013-06-28")
    options = {"features": [f.log_return()], "lookback": 8, "runs": 20, "facts": SETTLED | {"training": "nothing"}}
    assert audit(Net().eval(), bars, **options).answer == "clean"
    assert audit(Net(normed=True).train(), bars, **options).answer == "leak"  # a batch that normalises itself
    assert audit(Net(dropout=0.5).train(), bars, **options).answer == "not judged"
    unknown = audit(Net().eval(), bars, **{**options, "facts": SETTLED})
    assert [q.name for q in unknown.questions] == ["training"]
    with pytest.raises(InputError, match="needs lookback="):
        audit(Net(), bars)


@pytest.mark.full
@pytest.mark.filterwarnings("ignore")
def test_the_default_cross_validation_of_neuralforecast_leaks_with_a_local_scaler(aapl):
    library = pytest.importorskip("neuralforecast", reason="needs neuralforecast")
    from neuralforecast.models import LSTM

    def forecasts(**options):
        net = {"encoder_hidden_size": 4, "encoder_n_layers": 1, "decoder_hidden_size": 4, "scaler_type": "identity"}
        model = LSTM(h=2, input_size=8, max_steps=3, **net, **NEURAL)
        return library.NeuralForecast(models=[model], freq=1, **options)

    bars, how = aapl.until("2013-06-28"), {"n_windows": 2, "step_size": 20}
    options = {"runs": 6, "facts": SETTLED, "budget": 120}
    leaking = audit(forecasts(local_scaler_type="standard"), bars, how=how, **options)
    assert leaking.answer == "leak"
    assert leaking.findings[0].cut == "fold boundary"
    assert audit(forecasts(local_scaler_type="standard"), bars, how={**how, "refit": True}, **options).answer == "clean"
    assert audit(forecasts(), bars, how=how, **options).answer == "clean"
    with pytest.raises(InputError, match="Pass NeuralForecast"):
        audit(forecasts().models[0], bars)


@pytest.mark.full
@pytest.mark.filterwarnings("ignore")
def test_darts_models_are_audited_by_their_historical_forecasts(aapl):
    pytest.importorskip("darts", reason="needs darts")
    from darts.models import LinearRegressionModel

    found = audit(LinearRegressionModel(lags=5), aapl.until("2013-06-28"), runs=8, facts=SETTLED)
    assert found.answer == "clean"


# -------------------------------------------------------------------------------- command line


FILE = """\
import longshort as ls

LABEL = 3

def leaking(frame):
    return frame["Close"].rolling(3, center=True).mean()

def honest(frame):
    return frame["Close"].rolling(3).mean()

def model():
    return ls.models.AutoRegression(ls.features.forward_return())

def noisy(frame):
    import numpy as np
    return frame["Close"] + np.random.default_rng().normal(size=len(frame))

def outcome(frame):
    return frame["close"].pct_change().shift(-1).rename("next")

def fails():
    raise ValueError("no data today")
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "strategy.py"
    path.write_text(FILE)
    return path


def run(*arguments) -> int:
    from longshort import cli

    return cli.main(["audit", *map(str, arguments), "--start", "2014-01-01", "--end", "2015-06-30", "--runs", "20"])


@pytest.mark.parametrize(("name", "code"), [("leaking", 1), ("honest", 0), ("model", 0), ("noisy", 2)])
def test_the_verb_answers_with_its_exit_code(file, capsys, name, code):
    assert run(f"{file}:{name}", "--json") == code
    found = json.loads(capsys.readouterr().out)
    assert found["exit_code"] == code
    assert found["ok"] == (code == 0)
    assert run(f"{file}:{name}") == code
    shown = capsys.readouterr().out
    assert ("LEAK (future perturbation): Close of AAPL on 20" in shown) == (code == 1)


def test_the_verb_takes_symbols_labels_facts_and_a_training_part(file, capsys):
    assert run(f"{file}:outcome") == 1
    assert run(f"{file}:outcome", "--label", "next=1") == 0
    capsys.readouterr()
    facts = [part for name in SETTLED for part in ("--fact", f"{name}=nothing")]
    assert run(f"{file}:model", "AAPL", "SPY", *facts, "--train", "200", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["answer"] == "clean"
    assert "AAPL, SPY" in found["bars"]


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("none.py:f", "no file"),
        ("strategy.py", "file.py:name"),
        ("strategy.py:honet", "Did you mean 'honest'"),
        ("strategy.py:fails", "ValueError: no data today"),
        ("strategy.py:LABEL", "it was int"),
    ],
)
def test_a_wrong_name_is_one_line(file, capsys, monkeypatch, what, says):
    monkeypatch.chdir(file.parent)
    assert run(what) == 2
    err = capsys.readouterr().err
    assert says in err
    assert err.count("\n") == 1


def test_a_wrong_pair_is_refused(file, capsys):
    assert run(f"{file}:honest", "--label", "next=soon") == 2
    assert "--label must be given as name=value" in capsys.readouterr().err


def test_a_file_finds_its_neighbours_and_one_that_fails_says_why(tmp_path):
    (tmp_path / "helper_of_audit.py").write_text("N = 4\n")
    (tmp_path / "good.py").write_text("from helper_of_audit import N\n")
    (tmp_path / "bad.py").write_text("1 / 0\n")
    assert load_object(f"{tmp_path}/good.py:N") == 4
    with pytest.raises(InputError, match=r"bad.py does not run: ZeroDivisionError"):
        load_object(f"{tmp_path}/bad.py:N")
    with pytest.raises(UnknownName):
        load_object(f"{tmp_path}/good.py:M")
