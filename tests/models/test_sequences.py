"""Sequence training and carried states: chunks, the estimator around them, and forecasts that remember."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import longshort as ls
from longshort.data import synthetic
from longshort.errors import InputError, UnknownName
from longshort.features import field, forward_direction, forward_log_return, log_return
from longshort.features.windows import Windows
from longshort.models.lstm import LSTM
from longshort.models.sequences import Chunks, outputs, without
from longshort.native import core


def carrying(**changes):
    params = {"lookback": 10, "hidden": (8,), "epochs": 4, "patience": 2, "seed": 3, "context": "carry"}
    return LSTM([log_return(), log_return().rolling_std(5)], **(params | {"batch_size": 4} | changes))


def weights_of(model):
    return b"".join(a.tobytes() for group in model.nets_ for net in group for a in net.weights.values())


@pytest.fixture(scope="module")
def walk():
    return synthetic.random_walk(400, ("A", "B"), seed=1)


@pytest.fixture(scope="module")
def fitted(walk):
    return carrying(seeds=2).fit(walk.until(int(walk.time[299])))


def with_gap(bars, rows, symbol=0):
    fields = {name: np.array(bars[name]) for name in bars.fields}
    for values in fields.values():
        values[rows, symbol] = np.nan
    return ls.Bars.from_arrays(bars.time, bars.symbols, fields, calendar=bars.calendar, bar_size=bars.bar_size)


# -- chunks ------------------------------------------------------------------------------------------------------------


@given(
    valid=arrays(
        bool, st.tuples(st.integers(1, 40), st.integers(1, 3)), elements=st.sampled_from([True] * 9 + [False])
    ),
    lookback=st.integers(1, 4),
    longest=st.integers(1, 12),
)
def test_chunks_are_runs_of_rows_cut_evenly(valid, lookback, longest):
    features = np.where(valid, np.arange(valid.size, dtype=float).reshape(valid.shape), np.nan)[:, :, None]
    windows = Windows.over(np.ascontiguousarray(features), lookback)
    chunks = Chunks.over(windows, longest)
    samples = chunks.samples(windows.rows[:, None].astype(float), int(chunks.counts.max(initial=1)))
    assert chunks.counts.sum() == len(windows)
    assert chunks.counts.max(initial=1) <= longest
    firsts, cells = [], set()
    for start, targets, count in zip(samples.starts, samples.targets[:, :, 0], chunks.counts, strict=True):
        row, column = divmod(int(start), valid.shape[1])
        assert valid[row : row + lookback - 1 + count, column].all()
        assert targets[:count].tolist() == list(range(row + lookback - 1, row + lookback - 1 + count))
        assert np.isnan(targets[count:]).all()
        firsts.append((row, column))
        cells |= {(int(r), column) for r in targets[:count]}
    assert firsts == sorted(firsts)
    assert cells == set(zip(windows.rows.tolist(), windows.columns.tolist(), strict=True))
    for column in range(valid.shape[1]):  # neighbouring chunks of one run differ by one row at most
        mine = [(r + lookback - 1, n) for (r, c), n in zip(firsts, chunks.counts.tolist(), strict=True) if c == column]
        for (row, count), (later, following) in zip(mine, mine[1:], strict=False):
            assert row + count < later or abs(count - following) <= 1


def test_every_target_counts_the_same():
    valid = np.ones((30, 1, 1))
    valid[8] = np.nan
    windows = Windows.over(valid, 3)  # runs of 6 and 19 rows
    chunks = Chunks.over(windows, 10)
    samples = chunks.samples(np.ones((len(windows), 1)), 10)
    assert chunks.counts.tolist() == [6, 9, 10]
    np.testing.assert_allclose(samples.weights, np.array([6, 9, 10]) / (25 / 3))
    assert Chunks.over(windows.take(windows.rows > 8), 19).samples(np.ones((19, 1)), 19).weights is None


def test_broken_cells_end_a_carried_state_whatever_their_features_say():
    features, broken = np.random.default_rng(0).normal(size=(30, 2, 3)), np.zeros((30, 2), bool)
    assert without(features, broken) is features
    broken[12, 1] = True
    trainer = core.LSTMTrainer(n_inputs=3, hidden=[5], lookback=4)
    told = []
    for halted in (features, without(features, broken)):
        windows = Windows.over(halted, 4, broken)
        trainer.bind(halted, windows.time_stride, np.zeros(3), np.ones(3))
        told.append(outputs(trainer, windows, "carry"))
        assert len(told[-1]) == len(windows) == 54 - 4
    late = (windows.columns == 1) & (windows.rows > 12)
    assert np.array_equal(told[0][~late], told[1][~late])
    assert not np.isclose(told[0][late][:3], told[1][late][:3], rtol=1e-9).any()
    assert np.isnan(without(features, broken)[12, 1]).all()


# -- training ----------------------------------------------------------------------------------------------------------


def test_chunks_of_one_row_are_windows(walk):
    """The same samples in the same order: the bits of a network that learned from windows."""
    window = carrying(context="window", dropout=0.2).fit(walk)
    chunks = carrying(chunk=1, dropout=0.2).fit(walk)
    assert weights_of(chunks) == weights_of(window)
    said = chunks.predict(walk, context="window")
    assert said.mean.tobytes() == window.predict(walk).mean.tobytes()
    assert chunks.history_.val_loss == window.history_.val_loss


def test_history_is_the_mean_over_all_targets(walk):
    gap = with_gap(walk, slice(340, 343))
    fitting = carrying(refit=False, patience=None, epochs=1, chunk=7, precision="fp64").fitting(gap)
    while not fitting.step():
        pass
    (member,) = fitting.search[0]
    held_out = fitting.windows.take(fitting.is_validation)
    wanted = member.output.transform(fitting.outcome[fitting.is_validation])
    chunks = Chunks.over(held_out, 7)
    assert len(set(chunks.counts.tolist())) > 1
    engine, errors = member.training.engine, []
    for number, count in enumerate(chunks.counts):
        mine = np.flatnonzero(chunks.chunk == number)
        start = held_out.starts[mine[np.argmin(held_out.rows[mine])]]
        told = engine.carry([start], 9 + int(count))[9:, 0]
        errors += ((told - wanted[mine[np.argsort(held_out.rows[mine])]]) ** 2).ravel().tolist()
    assert len(errors) == len(held_out)
    assert fitting.result.history_.val_loss[0] == pytest.approx(np.mean(errors), rel=1e-12)


def test_a_planted_signal_is_found_by_carrying():
    bars = synthetic.planted_signal(1500, ceiling_correlation=0.70, seed=5)
    model = LSTM(
        [log_return(), field("volume").log()],
        lookback=20,
        hidden=(16,),
        batch_size=8,
        lr=5e-3,
        context="carry",
    ).fit(bars.until(int(bars.time[1199])))
    actual = forward_log_return(1).compute(bars)[1200:, 0]
    known = np.isfinite(actual)
    for context in ("carry", "window"):
        said = model.predict(bars, start=int(bars.time[1200]), context=context).mean[:, 0]
        assert np.corrcoef(said[known], actual[known])[0, 1] >= 0.60


def test_validation_rows_never_touch_the_weights(walk):
    def epochs(bars):
        fitting = carrying(refit=False, patience=None, epochs=4).fitting(bars)
        first, seen = int(fitting.windows.rows[fitting.is_validation].min()), []
        while not fitting.step():
            engine = fitting.search[0][0].training.engine
            seen.append(b"".join(a.tobytes() for a in engine.weights().values()))
        return first, seen

    first, before = epochs(walk)
    fields = {name: np.array(walk[name]) for name in walk.fields}
    for values in fields.values():
        values[first:] *= 3.0
    other = ls.Bars.from_arrays(walk.time, walk.symbols, fields, calendar=walk.calendar, bar_size=walk.bar_size)
    assert epochs(other) == (first, before)


@pytest.mark.parametrize("burn_in", [0, 3, 25])
def test_burn_in_is_what_a_chunk_reads_first(walk, burn_in):
    fitting = carrying(burn_in=burn_in, chunk=12).fitting(walk)
    assert fitting.windows.rows.min() == fitting.program.warmup + burn_in
    while not fitting.step():
        pass
    assert np.isfinite(fitting.result.predict(walk).mean[20:]).all()


@pytest.mark.parametrize(
    ("loss", "target"),
    [
        ("quantile", None),
        ("student_t", None),
        ("cross_entropy", forward_direction(1)),
        ("mse", [forward_log_return(1), forward_log_return(5)]),
    ],
)
def test_other_losses_carry_too(walk, loss, target):
    model = carrying(loss=loss, target=target).fit(walk)
    said = model.predict(walk)
    assert np.isfinite(said.mean[20:]).all()
    alone = model.predict(walk.until(int(walk.time[299])))
    assert alone.mean.tobytes() == said.mean[:300].tobytes()


def test_fitting_twice_in_steps_or_per_symbol_gives_the_same_bytes(walk):
    model = carrying(seeds=2, dropout=0.2)
    fitting = model.fitting(walk)
    while not fitting.step():
        pass
    assert weights_of(model.fit(walk)) == weights_of(fitting.result)
    both, solo = carrying(per_symbol=True).fit(walk), carrying().fit(walk.select(["B"]))
    assert both.predict(walk).mean[:, 1].tobytes() == solo.predict(walk.select(["B"])).mean[:, 0].tobytes()


def test_refit_takes_the_search_s_optimiser_steps_in_chunks(walk):
    fitting = carrying(epochs=6, patience=6).fitting(walk)
    while not fitting.step():
        pass
    search, final = fitting.search[0][0].training, fitting.final[0][0].training
    steps = search.history.best_epoch * search.batches(4)
    assert final.epochs == max(1, round(steps / final.batches(4)))
    assert final.batches(4) < len(fitting.windows) / 4 / 2


def test_runs_shorter_than_a_chunk_are_learned_from(walk):
    gaps = walk
    for row in range(15, 400, 30):
        gaps = with_gap(gaps, row)
    fitting = carrying(chunk=60).fitting(gaps.select(["A"]))
    while not fitting.step():
        pass
    assert len(fitting.windows) > 100
    assert np.isfinite(fitting.result.predict(gaps.select(["A"])).mean).sum() >= len(fitting.windows)


# -- forecasting -------------------------------------------------------------------------------------------------------


def test_predict_row_equals_the_last_row_of_predict_until_it(walk, fitted):
    said = fitted.predict(walk).mean
    for row in (15, 16, 47, 200, 399):
        alone = fitted.predict(walk.until(int(walk.time[row]))).mean
        assert alone[-1].tobytes() == said[row].tobytes()
    late = fitted.predict(walk, start=int(walk.time[250]))
    assert late.mean.tobytes() == said[250:].tobytes()


def test_forecasts_begin_lookback_rows_after_the_start_and_after_a_gap(walk, fitted):
    gap = with_gap(walk, slice(100, 104))
    warmup = fitted.program_.warmup
    said = fitted.predict(gap).mean
    first = [int(np.flatnonzero(np.isfinite(said[:, j]))[0]) for j in (0, 1)]
    assert first == [warmup + 9, warmup + 9]
    assert np.isfinite(said[:, 1]).sum() == 400 - first[1]
    assert np.isfinite(said[first[0] : 100, 0]).all()
    assert np.isnan(said[100 : 104 + warmup + 9, 0]).all()
    assert np.isfinite(said[104 + warmup + 9 :, 0]).all()
    anew = fitted.predict(walk.since(int(walk.time[104]))).mean
    np.testing.assert_allclose(said[104:, 0], anew[:, 0], rtol=1e-6)


def test_the_state_remembers_more_than_a_window(walk, fitted):
    """Other prices before the window change a carried forecast, and a windowed one not at all."""
    fields = {name: np.array(walk[name]) for name in walk.fields}
    for values in fields.values():
        values[:380] *= np.exp(np.random.default_rng(0).normal(scale=0.05, size=(380, 1)))
    other = ls.Bars.from_arrays(walk.time, walk.symbols, fields, calendar=walk.calendar, bar_size=walk.bar_size)
    windowed = [fitted.predict(bars, context="window").mean[-1] for bars in (walk, other)]
    carried = [fitted.predict(bars, context="carry").mean[-1] for bars in (walk, other)]
    np.testing.assert_allclose(windowed[0], windowed[1], rtol=1e-6)
    assert (carried[0] != carried[1]).all()
    assert fitted.predict(walk).mean[-1].tobytes() == carried[0].tobytes()


def test_saved_and_loaded_model_forecasts_the_same_bits(walk, fitted, tmp_path):
    fitted.save(tmp_path / "model")
    loaded = LSTM.load(tmp_path / "model")
    assert loaded.context == "carry"
    assert loaded.predict(walk).mean.tobytes() == fitted.predict(walk).mean.tobytes()
    assert loaded.to_dict() == fitted.to_dict()


def test_the_description_of_window_models_is_what_it_was():
    assert not {"chunk", "burn_in"} & set(carrying(context="window").to_dict())
    assert carrying(chunk=5).to_dict()["chunk"] == 5


# -- bad requests ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"context": "window", "chunk": 5}, "chunk=5 belongs to context='carry'"),
        ({"context": "window", "burn_in": 5}, "burn_in=5 belongs to context='carry'"),
        ({"chunk": 0}, "chunk must be None or a whole number of at least 1, was 0"),
        ({"burn_in": -1}, "burn_in must be None or a whole number of at least 0, was -1"),
        ({"burn_in": True}, "burn_in must be"),
        ({"loss": "rank"}, "learns row by row, and the rank loss does not"),
        ({"network": "gru"}, "context='carry' is for the native engine, but its network is 'gru'"),
        ({"engine": "torch"}, "context='carry' is for the native engine, but engine is 'torch'"),
    ],
)
def test_what_does_not_go_together_is_refused(params, message):
    with pytest.raises(InputError, match=message):
        carrying(**params)


def test_unknown_contexts_and_paths_are_refused(walk, fitted):
    with pytest.raises(UnknownName, match="context was 'carried'. Did you mean 'carry'"):
        carrying(context="carried")
    with pytest.raises(UnknownName, match="context was 'windows'"):
        fitted.predict(walk, context="windows")
    with pytest.raises(InputError, match=r"learned from windows.*Fit LSTM\(context='carry'\)"):
        carrying(context="window").fit(walk).predict(walk, context="carry")
    with pytest.raises(InputError, match="carries its state from bar to bar"):
        fitted.predict(walk, steps=3)
