import numpy as np
import pytest

import longshort as ls
from longshort import features as f
from longshort.data import synthetic
from longshort.errors import InputError, NotEnoughData, NotFitted, UnknownName
from longshort.models import Conformal, Drift, Ensemble, HistoricalMean, Persistence, Ridge
from longshort.models.conformal import _quantile

RETURN = f.forward_log_return()


class Nothing(Persistence):
    """Says a return of zero, so that errors are the returns themselves."""


def jump(n=4000, at=3000, by=3.0, seed=0, symbols=2):
    """Two symbols whose volatility is three times as large from one row on."""
    returns = np.random.default_rng(seed).normal(0, 0.01, (n, symbols))
    returns[at:] *= by
    return synthetic.from_log_returns(returns, ("A", "B")[:symbols])


def ends(said, model):
    return tuple(said.quantiles[level] for level in model.levels)


def test_split_interval_by_hand():
    """19 calibration errors: ceil(20 * 0.9) = 18, so the interval is the 18th smallest wide on either side."""
    bars = synthetic.random_walk(97, seed=4)
    model = Conformal(Nothing(RETURN), 0.9, calibration=0.2).fit(bars)
    returns = np.diff(np.log(bars["close"][:, 0]))
    errors = np.sort(np.abs(returns[-19:]))
    assert len(model.scores_["WALK"]) == 19
    low, high = ends(model.predict(bars), model)
    np.testing.assert_allclose(high[:, 0], errors[17], rtol=1e-9)
    np.testing.assert_allclose(low[:, 0], -errors[17], rtol=1e-9)


def test_prices_are_measured_against_the_last_close():
    bars = synthetic.random_walk(97, seed=4)
    model = Conformal(Drift(f.forward_close()), 0.9, calibration=0.2).fit(bars)
    said = model.predict(bars)
    _, high = ends(said, model)
    close = np.asarray(bars.adjusted("close"))
    ratio = (high - said.mean) / close
    np.testing.assert_allclose(ratio, np.full((97, 1), ratio[0, 0]), rtol=1e-9)
    outcome = f.forward_close().compute(bars)[-20:-1]
    errors = np.abs(outcome - said.mean[-20:-1]) / close[-20:-1]
    assert ratio[0, 0] == pytest.approx(np.sort(errors[:, 0])[17])


def test_the_forecaster_learns_from_nothing_that_calibrates():
    bars = synthetic.random_walk(500, seed=4)
    target = f.forward_log_return(5)
    fitting = Conformal(HistoricalMean(target), calibration=0.3).fitting(bars)
    seen = fitting.inner.bars
    assert seen.time[-1] < bars.time[fitting.first_held]
    assert target.label_end(bars)[: len(seen) - 5].max() < bars.time[fitting.first_held]
    while not fitting.step():
        pass
    assert fitting.result.forecaster_.mean_ == HistoricalMean(target).fit(seen).mean_


def test_adaptive_level_by_hand():
    """Gibbs and Candes (2021), equation 2, over four outcomes: hit, hit, miss, hit."""
    bars = jump(300, 250, symbols=1)
    past = bars.until(int(bars.time[249]))
    model = Conformal(Nothing(RETURN), 0.8, "adaptive", calibration=0.5, gamma=0.05, window=200).fit(past)
    errors = np.abs(np.diff(np.log(bars["close"][:, 0])))
    recent = model.scores_["A"].tolist()
    level, reach, wanted = 0.2, None, []
    for t in range(249, 300):
        if t > 249:  # the outcome of row t - 1 is known at row t
            level = min(max(level + 0.05 * (0.2 - float(errors[t - 1] > reach)), 0.0), 1.0)
            recent = [*recent, errors[t - 1]][-200:]
        k = int(np.ceil(round((len(recent) + 1) * (1 - level), 9)))
        reach = sorted(recent)[min(max(k, 1), len(recent)) - 1]
        wanted.append(reach)
    _, high = ends(model.predict(bars), model)
    np.testing.assert_allclose(high[249:, 0], wanted, rtol=1e-9)


@pytest.mark.parametrize("method", ["split", "adaptive"])
@pytest.mark.parametrize("normalise", [None, "volatility"])
@pytest.mark.parametrize("target", [RETURN, f.forward_close(), f.forward_volatility(5)])
def test_nine_of_ten_outcomes_lie_inside_on_stationary_data(method, normalise, target):
    bars = synthetic.random_walk(8000, ("A", "B"), seed=2)
    naive = Drift(target) if target.kind == "close" else HistoricalMean(target)
    model = Conformal(naive, 0.9, method, calibration=0.5, normalise=normalise).fit(bars.until(int(bars.time[3999])))
    for symbol, share in model.coverage_on(bars, start=int(bars.time[4000])).items():
        assert 0.88 <= share <= 0.92, (symbol, share)


def test_a_network_with_intervals_covers_what_it_promises_and_covers_as_often_as_asked():
    bars = synthetic.planted_signal(4000, ("A", "B"), seed=3)
    lstm = ls.LSTM([f.field("volume").log(), f.log_return()], RETURN, lookback=5, hidden=(8,), epochs=4)
    for coverage in (0.9, 0.5):
        model = Conformal(lstm, coverage, calibration=0.4).fit(bars.until(int(bars.time[2499])))
        for share in model.coverage_on(bars, start=int(bars.time[2500])).values():
            assert abs(share - coverage) < 0.03


def test_through_a_jump_of_volatility_adaptive_intervals_recover_and_split_ones_do_not():
    bars = jump()
    past, after = bars.until(int(bars.time[1999])), int(bars.time[3050])
    found = {m: Conformal(Nothing(RETURN), 0.9, m).fit(past).coverage_on(bars, after) for m in ("split", "adaptive")}
    for symbol in ("A", "B"):
        assert found["split"][symbol] < 0.5  # normal errors, three times as large: 1.645 / 3 deviations, 0.42
        assert 0.88 <= found["adaptive"][symbol] <= 0.92


def test_intervals_in_units_of_volatility_follow_a_jump_without_learning():
    bars = jump()
    model = Conformal(Nothing(RETURN), 0.9, normalise="volatility").fit(bars.until(int(bars.time[1999])))
    for share in model.coverage_on(bars, int(bars.time[3020])).values():
        assert 0.88 <= share <= 0.92


def test_each_symbol_has_its_own_errors():
    returns = np.random.default_rng(1).normal(0, 1, (3000, 2)) * [0.01, 0.05]
    bars = synthetic.from_log_returns(returns, ("CALM", "WILD"))
    model = Conformal(Nothing(RETURN), 0.9, calibration=0.5).fit(bars.until(int(bars.time[1499])))
    _, high = ends(model.predict(bars), model)
    assert high[-1, 1] / high[-1, 0] == pytest.approx(5.0, rel=0.15)
    for share in model.coverage_on(bars, int(bars.time[1500])).values():
        assert 0.88 <= share <= 0.92


@pytest.mark.parametrize("method", ["split", "adaptive"])
@pytest.mark.parametrize("target", [RETURN, f.forward_close(3), f.forward_volatility(5)])
@pytest.mark.parametrize("normalise", [None, "volatility"])
def test_a_row_equals_the_last_row_of_bars_until_it_and_what_the_stream_says(method, target, normalise):
    bars = jump(700, 550)
    past = bars.until(int(bars.time[499]))
    naive = Drift(target) if target.kind == "close" else HistoricalMean(target)
    model = Conformal(naive, 0.8, method, normalise=normalise).fit(past)
    whole = model.predict(bars)
    stream = model.stream(bars.until(int(bars.time[519])))
    for t in range(520, 580):
        part = model.predict(bars.until(int(bars.time[t])), start=int(bars.time[t - 2]))
        assert len(part) == 3
        said = stream.step(bars.row(t))
        assert said.tobytes() == whole.mean[t].tobytes()
        for level in model.levels:
            assert part.quantiles[level][-1].tobytes() == whole.quantiles[level][t].tobytes()
            assert stream.interval[level].tobytes() == whole.quantiles[level][t].tobytes()


@pytest.mark.parametrize("begin", [400, 495, 499, 530])
def test_a_stream_may_begin_before_the_fit_ended_and_learns_only_what_came_after(begin):
    bars = jump(700, 550)
    lstm = ls.LSTM([f.log_return()], f.forward_return(3), lookback=5, hidden=(4,), epochs=1)
    model = Conformal(lstm, 0.8, "adaptive").fit(bars.until(int(bars.time[499])))
    whole, stream = model.predict(bars), model.stream(bars.until(int(bars.time[begin])))
    for t in range(begin + 1, begin + 130):
        assert stream.step(bars.row(t)).tobytes() == whole.mean[t].tobytes()
        for level in model.levels:
            assert stream.interval[level].tobytes() == whole.quantiles[level][t].tobytes(), t


def test_a_step_of_a_stream_asks_the_forecaster_for_one_row(monkeypatch):
    bars = jump(700, 550)
    model = Conformal(HistoricalMean(RETURN), 0.8, "adaptive").fit(bars.until(int(bars.time[499])))
    stream, seen = model.stream(bars.until(int(bars.time[519]))), []
    monkeypatch.setattr(HistoricalMean, "predict", _counting(HistoricalMean.predict, seen))
    for t in range(520, 540):
        stream.step(bars.row(t))
    assert len(seen) == 20
    assert max(seen) < 10


def _counting(predict, seen):
    def counted(self, bars, start=None):
        seen.append(len(bars))
        return predict(self, bars, start)

    return counted


def test_outcomes_of_the_future_change_no_interval():
    bars = jump(700, 550)
    model = Conformal(HistoricalMean(f.forward_log_return(3)), 0.8, "adaptive").fit(bars.until(int(bars.time[499])))
    whole = model.predict(bars)
    fields = {name: np.array(bars[name]) for name in bars.fields}
    for values in fields.values():
        values[600:] *= 1.7
    other = ls.Bars.from_arrays(bars.time, bars.symbols, fields, calendar=bars.calendar, bar_size=bars.bar_size)
    told = model.predict(other)
    for level in model.levels:
        assert told.quantiles[level][:600].tobytes() == whole.quantiles[level][:600].tobytes()
        assert told.quantiles[level][610:].tobytes() != whole.quantiles[level][610:].tobytes()


def test_walk_forward_keeps_the_intervals_and_covers():
    bars = synthetic.random_walk(1500, ("A", "B"), seed=6)
    model = Conformal(Ridge([f.log_return()], RETURN), 0.9, "adaptive", calibration=0.3)
    study = ls.walk_forward(model, bars, ls.WalkForward(train=700, test=200), seeds=2)
    low, high = (study.forecast.quantiles[level] for level in model.levels)
    assert 0.87 <= np.mean((low <= study.actual) & (study.actual <= high)) <= 0.93


def test_members_with_intervals_make_an_ensemble_with_intervals():
    bars = synthetic.random_walk(600, ("A",), seed=6)
    parts = [Conformal(HistoricalMean(RETURN)), Conformal(Ridge([f.log_return()], RETURN))]
    said = Ensemble({"a": parts[0], "b": parts[1]}).fit(bars).predict(bars)
    assert sorted(said.quantiles) == [0.05, 0.95]


@pytest.mark.parametrize("method", ["split", "adaptive"])
def test_saved_and_loaded_it_says_the_same(method, tmp_path):
    bars = jump(600, 500)
    lstm = ls.LSTM([f.log_return()], RETURN, lookback=5, hidden=(4,), epochs=1)
    model = Conformal(Ensemble(lstm, members=2), 0.8, method).fit(bars.until(int(bars.time[399])))
    model.save(tmp_path / "m")
    again = Conformal.load(tmp_path / "m")
    assert again.predict(bars).digest == model.predict(bars).digest
    assert again.to_dict() == model.to_dict()


def test_normalised_by_a_forecasters_own_deviation():
    class Telling(HistoricalMean):
        def predict(self, bars, start=None):
            said = super().predict(bars, start)
            return said.with_extras({"std": np.tile([0.5, 2.0], (len(said), 1))})

    bars = synthetic.random_walk(500, ("A", "B"), seed=6)
    model = Conformal(Telling(RETURN), normalise="std").fit(bars)
    stream, whole = model.stream(bars.until(int(bars.time[480]))), model.predict(bars)
    for t in range(481, 500):
        stream.step(bars.row(t))
        assert stream.interval[0.95].tobytes() == whole.quantiles[0.95][t].tobytes()
    plain = Conformal(HistoricalMean(RETURN)).fit(bars)
    np.testing.assert_allclose(model.scores_["A"], plain.scores_["A"] / 0.5)
    np.testing.assert_allclose(ends(model.predict(bars), model)[1], ends(plain.predict(bars), plain)[1])
    with pytest.raises(InputError, match="says none"):
        Conformal(HistoricalMean(RETURN), normalise="std").fit(bars)


def test_too_few_errors_for_the_coverage_are_refused():
    bars = synthetic.random_walk(100, seed=4)
    with pytest.raises(NotEnoughData, match="leaves 20 .* a coverage of 0.99 needs at least 99"):
        Conformal(Nothing(RETURN), 0.99).fit(bars)
    fields = {name: np.array(bars[name]).repeat(2, axis=1) for name in bars.fields}
    for values in fields.values():
        values[60:95, 1] = np.nan
    gaps = ls.Bars.from_arrays(bars.time, ("A", "B"), fields, calendar=bars.calendar, bar_size=bars.bar_size)
    with pytest.raises(NotEnoughData, match="but B has 4 in"):
        Conformal(Nothing(RETURN), 0.9).fit(gaps)


def test_parameters_and_wrong_use():
    model = Conformal(Ridge([f.log_return()], RETURN))
    assert model.set_params(coverage=0.8).levels == (0.1, 0.9)
    assert Conformal(ls.LSTM([f.log_return()])).set_params(forecaster__lookback=7).lookback == 7
    with pytest.raises(UnknownName, match="coverage"):
        model.set_params(coverag=0.8)
    with pytest.raises(NotFitted):
        model.predict(synthetic.random_walk(50))
    fitted = Conformal(HistoricalMean(RETURN)).fit(synthetic.random_walk(200, ("A",)))
    with pytest.raises(UnknownName, match="Errors of B were never measured"):
        fitted.predict(synthetic.random_walk(200, ("A", "B")))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"coverage": 1.0}, "coverage must be a share"),
        ({"calibration": 0}, "calibration must be a share"),
        ({"method": "adaptve"}, "Did you mean 'adaptive'"),
        ({"normalise": "vol"}, "normalise was 'vol'"),
        ({"gamma": 0.0}, "gamma must lie"),
        ({"window": 8}, "at least 9 errors"),
        ({"forecaster": HistoricalMean}, "was the class HistoricalMean"),
        ({"forecaster": HistoricalMean(f.forward_direction())}, "a direction has classes"),
    ],
)
def test_wrong_arguments_are_refused(arguments, words):
    with pytest.raises(InputError, match=words):
        Conformal(**{"forecaster": HistoricalMean(RETURN), **arguments})


def test_quantiles_are_those_of_another_package():
    """Half widths of crepes 0.9.1, `ConformalRegressor().fit(residuals)`, for these errors."""
    errors = sorted(np.abs(np.random.default_rng(0).normal(size=137)).tolist())
    theirs = {0.5: 0.6941719367070082, 0.8: 1.3040000451301372, 0.9: 1.4934311452207607, 0.95: 1.8220113633283233}
    assert {level: _quantile(errors, level) for level in theirs} == theirs


@pytest.mark.parametrize("normalise", [None, "std", "volatility"])
def test_a_stream_says_the_deviation_and_the_ends_of_the_interval(normalise):
    bars = jump(700, 550)
    lstm = ls.LSTM([f.log_return()], RETURN, lookback=5, hidden=(4,), epochs=1, loss="gaussian")
    model = Conformal(lstm, 0.8, "adaptive", normalise=normalise).fit(bars.until(int(bars.time[499])))
    whole, stream = model.predict(bars), model.stream(bars.until(int(bars.time[519])))
    for t in range(520, 560):
        said, told = whole.row(t), stream.forecast(bars.row(t))
        assert set(told.extras()) == {"std", "quantiles/0.1", "quantiles/0.9"}
        for name, values in said.extras().items():
            assert told.extras()[name].tobytes() == values.tobytes(), name
