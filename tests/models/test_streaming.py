import io
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import longshort as ls
from longshort import artifact
from longshort.bars import State
from longshort.data import synthetic
from longshort.errors import InputError, UnknownName
from longshort.features import causal, ema, forward_direction, forward_return, forward_volatility, log_return
from longshort.models import streaming
from longshort.models.lstm import LSTM
from longshort.models.streaming import Ticker
from longshort.native import runnable_levels

INPUTS = [log_return(), log_return().rolling_std(3), ema(2)]


def small(inputs=INPUTS, **changes):
    params = {"lookback": 6, "hidden": (7, 5), "epochs": 1, "refit": False, "validation": 0.0, "seed": 3} | changes
    return LSTM(inputs, **params)


def market(n=160, symbols=("A", "B", "C"), seed=0):
    """A random walk with a split, a dividend, halts, missing bars and a late listing."""
    bars = synthetic.random_walk(n, symbols, seed=seed)
    fields = {name: np.array(bars[name]) for name in bars.fields}
    split, dividend, state = np.ones(bars.shape), np.zeros(bars.shape), np.zeros(bars.shape, np.uint8)
    split[n // 2, 0], dividend[n // 2 + 9, 0] = 2.0, 0.5
    for name in ("open", "high", "low", "close"):
        fields[name][n // 2 :, 0] /= 2.0
    random = np.random.default_rng(seed)
    for row, column in zip(random.integers(30, n - 2, 6), random.integers(0, len(symbols), 6), strict=True):
        state[row, column] = State.MISSING
        for values in fields.values():
            values[row, column] = np.nan
        split[row, column], dividend[row, column] = 1.0, 0.0
    state[n - 40, 0] = State.HALTED  # with prices: only its state says that it must not be used
    state[:20, -1] = State.UNLISTED
    for values in fields.values():
        values[:20, -1] = np.nan
    return ls.Bars.from_arrays(
        bars.time, bars.symbols, fields, split=split, dividend=dividend, state=state, bar_size="1D"
    )


@pytest.fixture(scope="module")
def bars():
    return market()


@pytest.fixture(scope="module")
def model(bars):
    return small(seeds=3).fit(bars)


@pytest.fixture(scope="module")
def carrying(bars):
    return small(seeds=2, context="carry").fit(bars)


def raw_row(stream, bars, i):
    """The array form of a row, with its states."""
    row = bars.row(i) | {"time": bars.time[i] / 1e9}
    return np.stack([np.broadcast_to(row[name], len(bars.symbols)) for name in stream.inputs]).astype(float), row[
        "state"
    ]


def streamed(stream, bars, start):
    return np.array([stream.step(bars.row(i)) for i in range(start, len(bars))])


def last_of_windows(frame):
    return frame["close"].iloc[-1] / frame["close"].iloc[0]


KINDS = {
    "point": {},
    "one layer": {"hidden": (9,), "loss": "mae"},
    "head, huber, seeds": {"head": (4, 3), "seeds": 9, "loss": "huber"},
    "lookback 1": {"lookback": 1},
    "float64": {"precision": "fp64", "scaler": "robust"},
    "per symbol": {"per_symbol": True, "seeds": 2},
    "volatility": {"target": forward_volatility(3), "seeds": 2},
    "quantiles": {"loss": "quantile", "seeds": 2},
    "gaussian": {"loss": "gaussian", "seeds": 2},
    "direction": {"loss": "cross_entropy", "target": forward_direction(1), "per_symbol": True},
    "horizons": {"target": [forward_return(1), forward_return(3)]},
    "carried": {"context": "carry", "seeds": 2},
    "carried, per symbol, quantiles": {"context": "carry", "per_symbol": True, "loss": "quantile"},
    "own function": {"inputs": [log_return(), causal(last_of_windows, lookback=3, fields=("close",))]},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_says_what_predict_says(kind, bars):
    options = dict(KINDS[kind])
    model = small(options.pop("inputs", INPUTS), **options).fit(bars.until(int(bars.time[119])))
    said = model.predict(bars).mean
    assert np.isfinite(said[100:]).mean() > 0.5
    assert np.isnan(said[len(bars) - 40, 0])
    for warm in (0, 3, 95):
        stream = model.stream(bars.until(int(bars.time[warm - 1])) if warm else None)
        assert stream.way == ("carried" if "carried" in kind else "staggered")
        assert streamed(stream, bars, warm).tobytes() == said[warm:].tobytes()


@pytest.mark.parametrize("context", ["window", "carry"])
def test_many_symbols_say_what_predict_says(context):
    bars = market(60, tuple(f"S{i}" for i in range(41)))
    model = small(seeds=2, context=context).fit(bars)
    stream = model.stream(bars.until(int(bars.time[29])))
    assert streamed(stream, bars, 30).tobytes() == model.predict(bars).mean[30:].tobytes()


@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_no_chunking_settling_or_restart_changes_a_bit(data, bars, model, carrying):
    model = data.draw(st.sampled_from([model, carrying]))
    said = model.predict(bars).mean
    i = data.draw(st.integers(1, 120))
    stream = model.stream(bars.until(int(bars.time[i - 1])))
    while i < len(bars):
        what = data.draw(st.sampled_from(["mappings", "arrays", "settle", "restart"]))
        if what == "settle":
            stream.settle()
        elif what == "restart":
            kept = stream.snapshot()
            stream.step(bars.row(0))  # what happens after a snapshot is forgotten with it
            stream = data.draw(st.sampled_from([stream, model.stream()])).restore(kept)
        else:
            for _ in range(data.draw(st.integers(1, 25))):
                if i < len(bars):
                    row = (bars.row(i),) if what == "mappings" else raw_row(stream, bars, i)
                    assert stream.step(*row).tobytes() == said[i].tobytes()
                    i += 1


def test_a_window_too_large_to_keep_states_for_is_recomputed_with_the_same_bits(bars, model, monkeypatch):
    staggered = model.stream(bars.until(int(bars.time[79])))
    monkeypatch.setattr(streaming, "MOST_STATE_BYTES", 1000)
    stream = model.stream(bars.until(int(bars.time[79])))
    assert (staggered.way, stream.way) == ("staggered", "recomputed")
    said = model.predict(bars).mean
    assert streamed(stream, bars, 80)[:40].tobytes() == said[80:120].tobytes()
    for way in (staggered, stream):  # either continues from the other's snapshot
        other = model.stream().restore(way.snapshot())
        at = 80 if way is staggered else len(bars)
        assert streamed(other, bars, at).tobytes() == said[at:].tobytes()


def test_one_symbol_ticks_from_raw_numbers():
    bars = synthetic.random_walk(80, ("A",), seed=1)
    model = small().fit(bars)
    stream, said = model.stream(bars.until(int(bars.time[59]))), model.predict(bars).mean[:, 0]
    assert stream.tick(raw_row(stream, bars, 60)[0][:, 0]) == said[60]
    assert stream.tick(raw_row(stream, bars, 61)[0][:, 0].tolist()) == said[61]
    assert stream.tick(raw_row(stream, bars, 62)[0]) == said[62]
    with pytest.raises(InputError, match="row"):
        stream.tick([1.0, 2.0])


@pytest.mark.parametrize("options", [{"loss": "quantile"}, {"inputs": KINDS["own function"]["inputs"]}])
def test_one_symbol_ticks_where_python_has_to_help(options):
    bars = synthetic.random_walk(80, ("A",), seed=1)
    model = small(**options).fit(bars)
    stream = model.stream(bars.until(int(bars.time[59])))
    assert stream.tick(raw_row(stream, bars, 60)[0][:, 0]) == model.predict(bars).mean[60, 0]


def test_a_row_that_does_not_fit_is_refused(bars, model):
    stream = model.stream(bars)
    with pytest.raises(UnknownName, match="close"):
        stream.step({"open": np.ones(3)})
    for row in (np.ones((2, 3)), np.ones((4, 3)), np.ones(9)):
        with pytest.raises(InputError, match="row"):
            stream.step(row)
    with pytest.raises(InputError, match="state"):
        stream.step(raw_row(stream, bars, 0)[0], state=[State.OK])
    with pytest.raises(InputError, match="one symbol"):
        stream.tick([1.0, 2.0, 3.0])


def test_a_snapshot_is_kept_in_an_artifact_and_in_an_npz_file(bars, model, tmp_path):
    stream = model.stream(bars.until(int(bars.time[99])))
    snapshot = stream.snapshot()
    artifact.save(tmp_path / "stream", "stream", tensors={"stream": snapshot}, allow_nan={"stream"})
    kept = artifact.load(tmp_path / "stream", "stream", allow_nan={"stream"}).tensors["stream"]
    file = io.BytesIO()
    np.savez(file, **snapshot)
    file.seek(0)
    expected = streamed(stream, bars, 100)
    for found in (kept, dict(np.load(file, allow_pickle=False))):
        assert streamed(model.stream().restore(found), bars, 100).tobytes() == expected.tobytes()


LEVEL = """
import sys
sys.path.insert(0, {folder!r})
import numpy as np
import test_streaming as t
from longshort.native import isa
assert isa == {level!r}
bars, model = t.market(), t.LSTM.load({folder_of_model!r})
said = model.predict(bars).mean[100:].tobytes()
assert t.streamed(model.stream(bars.until(int(bars.time[99]))), bars, 100).tobytes() == said
kept = dict(np.load({snapshot!r}))
assert t.streamed(model.stream().restore(kept), bars, 100).tobytes() == said
"""


@pytest.mark.parametrize("level", runnable_levels())
def test_every_instruction_set_level_streams_what_it_predicts_and_takes_over_from_another(level, bars, model, tmp_path):
    model.save(tmp_path / "model")
    np.savez(tmp_path / "snapshot.npz", **model.stream(bars.until(int(bars.time[99]))).snapshot())
    code = LEVEL.format(
        folder=os.path.dirname(__file__),
        folder_of_model=str(tmp_path / "model"),
        snapshot=str(tmp_path / "snapshot.npz"),
        level=level,
    )
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "LONGSHORT_ISA": level}, check=True, timeout=300)


def test_a_user_s_own_function_is_in_the_snapshot(bars):
    model = small(KINDS["own function"]["inputs"]).fit(bars)
    kept = model.stream(bars.until(int(bars.time[99]))).snapshot()
    said = streamed(model.stream().restore(kept), bars, 100)
    assert said.tobytes() == model.predict(bars).mean[100:].tobytes()


def test_a_snapshot_of_something_else_or_a_damaged_one_is_refused(bars, model, carrying):
    kept = model.stream(bars).snapshot()
    with pytest.raises(InputError, match="another model or other symbols"):
        small(lookback=7).fit(bars).stream().restore(kept)
    with pytest.raises(InputError, match="another model or other symbols"):
        model.stream(bars.select(["A", "B"])).restore(kept)
    with pytest.raises(InputError, match="another model or other symbols"):  # states belong to their networks
        carrying.stream().restore(small(seeds=2, context="carry", seed=4).fit(bars).stream(bars).snapshot())
    with pytest.raises(InputError, match="lacks 'rows'"):
        model.stream().restore({name: array for name, array in kept.items() if name != "rows"})
    stream = model.stream(bars.until(int(bars.time[99])))
    for damage in (
        {"features": kept["features"][:-8]},
        {"features": kept["features"].astype(float)},
        {"rows": kept["rows"][:, :2]},
        {"rows": "nothing"},
    ):
        with pytest.raises(InputError, match="damaged"):
            stream.restore(kept | damage)
    assert stream.step(bars.row(100)).tobytes() == model.predict(bars).mean[100].tobytes()  # it went on as it was


def test_streaming_loads_no_torch(tmp_path):
    code = (
        "import sys, longshort as ls\n"
        "bars = ls.load_bars('AAPL', start='2018-01-01', end='2019-12-31', source='sample')\n"
        "model = ls.LSTM([ls.features.log_return()], lookback=5, hidden=(4,), epochs=1).fit(bars)\n"
        "model.stream(bars).step(bars.row(0))\n"
        "assert 'torch' not in sys.modules and 'pandas' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


# -- a bare network --------------------------------------------------------------------------------------------------


def test_a_ticker_says_what_its_weights_say_about_each_window(model):
    net = model.nets_[0][0]
    rows = np.random.default_rng(0).normal(size=(40, 3))
    rows[20, 1] = np.nan
    ticker = Ticker(net.weights, lookback=6)
    said = np.array([ticker.tick(row) for row in rows])
    engine = streaming.make_engine(model, 3, seed=0)
    engine.set_weights(net.weights)
    whole = [i for i in range(5, 40) if np.isfinite(rows[i - 5 : i + 1]).all()]
    expected = engine.predict_windows(np.stack([rows[i - 5 : i + 1] for i in whole]))
    assert said[whole].tobytes() == expected[:, 0].tobytes()
    assert np.flatnonzero(np.isfinite(said)).tolist() == whole


def test_a_ticker_goes_on_from_a_snapshot(model):
    weights, rows = model.nets_[0][0].weights, np.random.default_rng(0).normal(size=(20, 3))
    one, other = Ticker(weights, lookback=6), Ticker(weights, lookback=6)
    for row in rows[:10]:
        one.tick(row)
        one.settle()
    other.tick(rows[0])
    other.restore(one.snapshot())
    assert [one.tick(row) for row in rows[10:]] == [other.tick(row) for row in rows[10:]]
    with pytest.raises(InputError, match="rows"):
        other.restore(np.zeros((3, 2)))


def test_a_ticker_of_no_network_is_refused(model):
    weights = model.nets_[0][0].weights
    with pytest.raises(InputError, match="found 0 LSTM layers"):
        Ticker({}, lookback=6)
    with pytest.raises(InputError, match=r"heads of \[2\]"):
        Ticker({**weights, "head.0.weight": np.zeros((2, 5), np.float32)}, lookback=6)
    with pytest.raises(InputError, match="lookback"):
        Ticker(weights, lookback=0)


@pytest.mark.full
@pytest.mark.parametrize(
    ("layers", "bias", "precision"), [(2, True, "float32"), (1, False, "float32"), (3, True, "float64")]
)
def test_a_ticker_from_torch_says_what_torch_says(layers, bias, precision):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    dtype = getattr(torch, precision)
    lstm = torch.nn.LSTM(2, 20, layers, batch_first=True, bias=bias, dtype=dtype)
    linear = torch.nn.Linear(20, 1, bias=bias, dtype=dtype)
    ticker, rows = Ticker.from_torch(lstm, linear, lookback=8), np.random.default_rng(0).normal(size=(40, 2))
    said = [ticker.tick(row) for row in rows]
    windows = torch.tensor(np.stack([rows[i - 7 : i + 1] for i in range(7, 40)]), dtype=dtype)
    with torch.inference_mode():
        expected = linear(lstm(windows)[0][:, -1])[:, 0].double().numpy()
    assert np.isnan(said[:7]).all()
    np.testing.assert_allclose(said[7:], expected, rtol=0, atol=1e-6 if precision == "float32" else 1e-13)


@pytest.mark.full
def test_what_is_no_plain_lstm_is_no_ticker():
    torch = pytest.importorskip("torch")
    nn = torch.nn
    for lstm, linear in [
        (nn.LSTM(2, 8, bidirectional=True), nn.Linear(16, 1)),
        (nn.LSTM(2, 8, bidirectional=True), nn.Linear(8, 1)),
        (nn.LSTM(2, 8, proj_size=3), nn.Linear(8, 1)),
        (nn.LSTM(2, 8), nn.Linear(8, 2)),
        (nn.LSTM(2, 8, dtype=torch.bfloat16), nn.Linear(8, 1)),
        (nn.GRU(2, 8), nn.Linear(8, 1)),
    ]:
        with pytest.raises(InputError):
            Ticker.from_torch(lstm, linear, lookback=4)


@pytest.mark.full
def test_a_torch_network_is_asked_about_the_whole_window(bars):
    pytest.importorskip("torch")
    from longshort.models.nets import NETWORKS

    assert {"lstm", "gru"} < set(NETWORKS)
    every = [{"network": kind} for kind in sorted(NETWORKS) if kind != "lstm"]
    for options in [*every, {"engine": "torch"}, {"symbol_embedding": 2}]:
        model = small(INPUTS[:2], **options, seeds=2, hidden=(4,)).fit(bars.until(int(bars.time[119])))
        columns = bars.select(["C", "A"])
        stream = model.stream(columns.until(int(bars.time[119])))
        assert stream.way == "recomputed", options
        assert streamed(stream, columns, 120).tobytes() == model.predict(columns).mean[120:].tobytes(), options


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"loss": "gaussian", "seeds": 2},
        {"loss": "student_t", "context": "carry"},
        {"loss": "quantile"},
        {"loss": "sharpe"},
        {"loss": "cross_entropy", "target": forward_direction()},
        {"target": [forward_return(1), forward_return(5)]},
        {"loss": "gaussian", "per_symbol": True},
    ],
    ids=str,
)
def test_a_stream_says_everything_that_predict_says(changes):
    bars = synthetic.garch(400, 2, seed=3)
    given = {"features": INPUTS, "lookback": 5, "hidden": (4,), "epochs": 1}
    model = ls.LSTM(**(given | changes)).fit(bars.until(int(bars.time[299])))
    whole, stream = model.predict(bars), model.stream(bars.until(int(bars.time[319])))
    assert stream.step(bars.row(320)).tobytes() == whole.mean[320].tobytes()  # points first, then all of it
    for t in range(321, 360):
        said, told = whole.row(t), stream.forecast(bars.row(t))
        assert told.target == said.target
        assert told.mean.tobytes() == said.mean.tobytes()
        assert set(told.extras()) == set(said.extras())
        for name, values in said.extras().items():
            assert told.extras()[name].tobytes() == values.tobytes(), name
        stream.settle()
    assert stream.step(bars.row(360)).tobytes() == whole.mean[360].tobytes()
