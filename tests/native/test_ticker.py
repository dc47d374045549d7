"""The native ticker: every answer has the bits of the trainer's forward pass over the whole window."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longshort.errors import InputError
from longshort.native import core, isa, runnable_levels

SHAPES = [
    {"n_inputs": 1, "hidden": [64, 64], "lookback": 60},
    {"n_inputs": 3, "hidden": [17, 5], "lookback": 7, "head": [6], "head_activation": "relu"},
    {"n_inputs": 5, "hidden": [50, 33], "lookback": 5, "head": [4, 40, 3], "head_activation": "tanh"},
    {"n_inputs": 2, "hidden": [3], "lookback": 1},
    {"n_inputs": 2, "hidden": [100, 24, 16], "lookback": 33},
]
CENTER, SCALE = 2.0, 1.5


def trainer_of(shape, cls="LSTMTrainer", seed=3):
    return getattr(core, cls)(seed=seed, **shape)


def scaling(n_inputs):
    return np.full(n_inputs, CENTER), np.full(n_inputs, SCALE)


def ticker_of(trainer, shape, symbols, carry=False, wait=None, raw=False):
    lookback, n_inputs = shape["lookback"], shape["n_inputs"]
    ticker = core.Ticker(
        None, symbols, n_inputs, lookback, wait or lookback, carry, n_outputs=shape.get("n_outputs", 1), raw=raw
    )
    columns = list(range(symbols))
    ticker.add(0, trainer.serve(columns, *scaling(n_inputs), carry), 0.1, 0.3)
    return ticker


def rows_of(n, symbols, n_inputs, gaps=0.0, seed=0):
    random = np.random.default_rng(seed)
    rows = random.normal(CENTER, SCALE, (n, symbols, n_inputs))
    rows[random.random((n, symbols)) < gaps] = np.nan
    return rows


def predicted(trainer, shape, rows):
    """What the trainer says about every full window, (n, symbols); NaN where there is none."""
    n, symbols, n_inputs = rows.shape
    lookback = shape["lookback"]
    trainer.bind(rows, symbols * n_inputs, *scaling(n_inputs))
    out = np.full((n, symbols), np.nan)
    full = [
        (t, s)
        for t in range(lookback - 1, n)
        for s in range(symbols)
        if np.isfinite(rows[t - lookback + 1 : t + 1, s]).all()
    ]
    starts = np.array([((t - lookback + 1) * symbols + s) * n_inputs for t, s in full], np.int64)
    if full:
        out[tuple(np.array(full).T)] = trainer.predict(starts)[:, 0] * 0.3 + 0.1
    return out


def ticked(ticker, rows, settles=lambda t: t % 2):
    out = np.empty(rows.shape[:2])
    for t, row in enumerate(rows):
        ticker.step(row, None, out[t])
        if settles(t):
            ticker.settle()
    return out


@pytest.mark.parametrize("cls", ["LSTMTrainer", "LSTMTrainer64"])
@pytest.mark.parametrize("symbols", [1, 2, 9, 37])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: str(s["hidden"]))
def test_an_answer_has_the_bits_of_the_whole_window(shape, symbols, cls):
    trainer = trainer_of(shape, cls)
    rows = rows_of(2 * shape["lookback"] + 12, symbols, shape["n_inputs"], gaps=0.5 / shape["lookback"])
    expected = predicted(trainer, shape, rows)
    assert np.isfinite(expected).sum() > 5
    assert ticked(ticker_of(trainer, shape, symbols), rows).tobytes() == expected.tobytes()


LEVELS = """
import sys
sys.path.insert(0, {folder!r})
import test_ticker as t
assert t.isa == {level!r}
for shape in t.SHAPES:
    for symbols in (1, 2, 9, 37):
        t.test_an_answer_has_the_bits_of_the_whole_window(shape, symbols, "LSTMTrainer")
    t.test_a_carried_answer_has_the_bits_of_the_window_since_the_start(shape, 3)
"""


@pytest.mark.parametrize("level", runnable_levels())
def test_it_does_so_at_every_instruction_set_level(level):
    if level == isa:
        return  # the tests around this one
    code = LEVELS.format(folder=os.path.dirname(__file__), level=level)
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "LONGSHORT_ISA": level}, check=True, timeout=300)


@pytest.mark.parametrize("symbols", [1, 3, 20])
@pytest.mark.parametrize("shape", SHAPES[1:], ids=lambda s: str(s["hidden"]))
def test_a_carried_answer_has_the_bits_of_the_window_since_the_start(shape, symbols):
    """Carried from row 0 on, the state after row t is that of a window of t + 1 rows; a gap starts it anew."""
    rows = rows_of(14, symbols, shape["n_inputs"])
    rows[5, 0] = np.nan
    ticker = ticker_of(trainer_of(shape), shape, symbols, carry=True, wait=3)
    said = ticked(ticker, rows)
    for t in range(len(rows)):
        longer = shape | {"lookback": t + 1}
        expected = predicted(trainer_of(longer), longer, rows[: t + 1])[t]
        since = shape | {"lookback": max(1, t - 5)}
        expected[0] = predicted(trainer_of(since), since, rows[6 : t + 1])[-1, 0] if t > 5 else expected[0]
        expected[:1] = np.nan if t in (5, 6, 7) else expected[0]  # it waits for three rows
        expected = expected if t > 1 else np.full(symbols, np.nan)
        assert said[t].tobytes() == expected.tobytes(), t


@pytest.mark.parametrize("symbols", [1, 3, 20])
def test_a_carried_answer_is_that_of_the_trainer_whatever_comes(symbols):
    shape = SHAPES[2]
    trainer, rows = trainer_of(shape), rows_of(40, symbols, 5, gaps=0.1)
    rows[7, symbols - 1, 2] = 1e300  # finite, until it is a float32
    trainer.bind(rows, symbols * 5, *scaling(5))
    expected = trainer.carry(np.arange(symbols, dtype=np.int64) * 5, 40)[:, :, 0] * 0.3 + 0.1
    assert np.isnan(expected[7, symbols - 1])
    assert np.isfinite(expected[8:, symbols - 1]).any()
    said = ticked(ticker_of(trainer, shape, symbols, carry=True, wait=1), rows)
    assert said.tobytes() == expected.tobytes()


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_no_chunking_settling_or_restart_changes_a_bit(data):
    shape = {"n_inputs": 2, "hidden": [5, 4], "lookback": data.draw(st.integers(1, 9))}
    symbols = data.draw(st.sampled_from([1, 3, 18]))
    rows = rows_of(40, symbols, 2, gaps=data.draw(st.sampled_from([0.0, 0.05])), seed=data.draw(st.integers(0, 99)))
    trainer = trainer_of(shape)
    expected, ticker, t = predicted(trainer, shape, rows), ticker_of(trainer, shape, symbols), 0
    while t < len(rows):
        what = data.draw(st.sampled_from(["step", "settle", "feed", "restart"]))
        if what == "settle":
            ticker.settle()
        elif what == "feed":
            n = data.draw(st.integers(0, 12))
            ticker.feed(rows[t : t + n])
            t += n
        elif what == "restart":
            kept, ticker = ticker.rows(), ticker_of(trainer, shape, symbols)
            ticker.feed(kept)
        else:
            for row in rows[t : t + data.draw(st.integers(1, 12))]:
                out = np.empty(symbols)
                ticker.step(row, None, out)
                assert out.tobytes() == expected[t].tobytes()
                t += 1


@pytest.mark.parametrize("symbols", [1, 20])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: str(s["hidden"]))
def test_a_number_too_large_for_the_network_is_gone_with_its_window(shape, symbols):
    lookback, trainer = shape["lookback"], trainer_of(shape)
    rows = rows_of(2 * lookback + 10, symbols, shape["n_inputs"])
    rows[lookback + 1, 0] = 1e300
    expected, said = predicted(trainer, shape, rows), ticked(ticker_of(trainer, shape, symbols), rows)
    np.testing.assert_array_equal(said, expected)
    assert np.isfinite(said[2 * lookback + 1 :]).all()


def test_a_missing_or_halted_cell_breaks_its_own_window_only():
    shape = SHAPES[1]
    trainer, rows = trainer_of(shape), rows_of(30, 2, 3)
    whole = predicted(trainer, shape, rows)
    for broken in (1, 2):  # State.MISSING, State.HALTED
        ticker, out = ticker_of(trainer, shape, 2), np.empty((30, 2))
        for t, row in enumerate(rows):
            state = np.zeros(2, np.uint8)
            state[1] = broken if t == 12 else 3 * (t % 2)  # State.CLOSED breaks nothing
            ticker.step(row, state, out[t])
        assert out[:, 0].tobytes() == whole[:, 0].tobytes()
        assert np.isnan(out[12:19, 1]).all()
        assert out[19:, 1].tobytes() == whole[19:, 1].tobytes()


def test_the_mean_over_seeds_is_taken_in_order_and_nothing_is_below_the_floor():
    shape, rows = SHAPES[1], rows_of(30, 4, 3)
    trainers = [trainer_of(shape, seed=s) for s in range(9)]
    each = np.stack([predicted(t, shape, rows) for t in trainers])
    ticker = core.Ticker(None, 4, 3, 7, 7, n_seeds=9, floor=True)
    for s, trainer in enumerate(trainers):
        for columns in ([0, 2], [3, 1]):
            ticker.add(s, trainer.serve(columns, *scaling(3)), 0.1, 0.3)
    assert (each < 0).any()
    assert ticked(ticker, rows).tobytes() == np.maximum(each, 0.0).mean(axis=0).tobytes()


def test_raw_outputs_are_those_of_predict():
    shape = SHAPES[1] | {"n_outputs": 3}
    trainer, rows = trainer_of(shape), rows_of(12, 2, 3)
    ticker, out = ticker_of(trainer, shape, 2, raw=True), np.empty((1, 2, 3))
    for t, row in enumerate(rows):
        ticker.step(row, None, out)
        if t < 6:
            assert np.isnan(out).all()
            continue
        windows = rows[t - 6 : t + 1].transpose(1, 0, 2)
        assert out[0].tobytes() == trainer.predict_windows(np.ascontiguousarray(windows), *scaling(3)).tobytes()


def test_a_thread_that_settles_meanwhile_changes_no_bit():
    shape = {"n_inputs": 2, "hidden": [64, 64], "lookback": 20}  # large enough to let other threads run
    trainer, rows = trainer_of(shape), rows_of(60, 40, 2)
    ticker, stop = ticker_of(trainer, shape, 40), threading.Event()

    def settle():
        while not stop.is_set():
            ticker.settle()

    thread = threading.Thread(target=settle)
    thread.start()
    try:
        said = ticked(ticker, rows, settles=lambda t: False)
    finally:
        stop.set()
        thread.join()
    assert said.tobytes() == predicted(trainer, shape, rows).tobytes()


def test_a_row_may_be_a_number_a_list_or_an_array_of_any_kind():
    trainer = trainer_of(SHAPES[0] | {"lookback": 2})
    one = SHAPES[0] | {"lookback": 2}
    kinds = [float, int, np.float64, np.float32, lambda x: [x], lambda x: np.array([x]), lambda x: np.array([[x]])]
    said = {ticker.tick(kind(4.0)) for kind in kinds for ticker in [ticker_of(trainer, one, 1)] if ticker.tick(3.0)}
    assert len(said) == 1


@pytest.mark.parametrize("row", [[1.0, 2.0], np.zeros((3, 2)), np.zeros((2, 3, 1)), "abc", [[1.0], [2.0]]])
def test_a_row_of_the_wrong_shape_is_refused(row):
    ticker = ticker_of(trainer_of(SHAPES[1]), SHAPES[1], 2)
    with pytest.raises(InputError, match="row"):
        ticker.step(row, None, np.empty(2))


def test_wrong_places_for_states_and_forecasts_are_refused():
    ticker, row = ticker_of(trainer_of(SHAPES[1]), SHAPES[1], 2), np.zeros((2, 3))
    read_only = np.empty(2)
    read_only.flags.writeable = False
    for out in (np.empty(3), np.empty(2, np.float32), read_only, np.empty(4)[::2], [0.0, 0.0]):
        with pytest.raises(InputError, match="out must be"):
            ticker.step(row, None, out)
    for state in (np.zeros(3, np.uint8), np.zeros(2), [0, 0]):
        with pytest.raises(InputError, match="state must be"):
            ticker.step(row, state, np.empty(2))
    with pytest.raises(InputError, match="one symbol"):
        ticker.tick([1.0, 2.0, 3.0])
    with pytest.raises(InputError, match="shape"):
        ticker.feed(np.zeros((4, 3, 2)))


def test_a_network_of_other_rows_than_the_ticker_s_is_refused():
    trainer, ticker = trainer_of(SHAPES[1]), core.Ticker(None, 2, 3, 7, 7)
    for columns in ([2], [-1]):
        with pytest.raises(InputError, match="column"):
            ticker.add(0, trainer.serve(columns, *scaling(3)))
    for shape in ({"lookback": 8}, {"n_inputs": 2}, {"n_outputs": 2}):
        other = SHAPES[1] | shape
        with pytest.raises(InputError, match="other inputs, outputs, lookback"):
            ticker.add(0, trainer_of(other).serve([0], *scaling(other["n_inputs"])))
    with pytest.raises(InputError, match="context"):
        ticker.add(0, trainer.serve([0], *scaling(3), carry=True))
    with pytest.raises(InputError, match="seed"):
        ticker.add(1, trainer.serve([0], *scaling(3)))
