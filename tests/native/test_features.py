"""The interpreter of feature programs: its arithmetic, its refusals, and its bits on every instruction-set level."""

import os
import subprocess
import sys

import numpy as np
import pytest

from longshort.features.program import Assembly
from longshort.native import core, runnable_levels

NAMES = core.FEATURE_OPS


def evaluate(op: str, *columns: np.ndarray, parameters=()) -> np.ndarray:
    a = Assembly()
    operand = a.emit(op, [a.fetch(f"x{i}") for i in range(len(columns))], parameters)
    program = a.compile([operand])
    out = np.empty((len(columns[0]), 1, 1))
    program.run([np.ascontiguousarray(c[:, None]) for c in columns], len(columns[0]), 1, out)
    return out[:, 0, 0]


def ulps(ours: np.ndarray, exact: np.ndarray) -> float:
    return float(np.max(np.abs(ours - exact) / np.spacing(np.abs(exact))))


def test_log_is_within_one_unit_in_the_last_place():
    rng = np.random.default_rng(0)
    near_one = 1 + rng.uniform(-1e-3, 1e-3, 20_000)
    x = np.concatenate([np.exp(rng.uniform(-700, 700, 20_000)), near_one, [5e-324, 2.2e-308, 1.7e308, 1.0, np.e]])
    exact = np.log(x.astype(np.longdouble)).astype(np.float64)
    assert ulps(evaluate("log", x)[exact != 0], exact[exact != 0]) <= 1.0
    assert evaluate("log", np.array([1.0]))[0] == 0.0


def test_exp_is_within_one_unit_in_the_last_place():
    x = np.concatenate([np.random.default_rng(1).uniform(-700, 709, 20_000), np.linspace(-1e-3, 1e-3, 999), [0.0, 1.0]])
    exact = np.exp(x.astype(np.longdouble)).astype(np.float64)
    assert ulps(evaluate("exp", x), exact) <= 1.0
    assert evaluate("exp", np.array([0.0, -1000.0])).tolist() == [1.0, 0.0]


def test_sine_takes_turns():
    x = np.linspace(-3, 3, 1001)
    np.testing.assert_allclose(evaluate("sine", x), np.sin(2 * np.pi * x), atol=3e-15)
    assert evaluate("sine", np.array([0.0, 0.5, 4.0])).tolist() == [0.0, 0.0, 0.0]


def test_floor_is_floor():
    x = np.array([-2.5, -2.0, -1e-300, 0.0, 0.5, 0.9999999999999999, 1.0, 1e15 + 0.5, 1e300, -1e300])
    np.testing.assert_array_equal(evaluate("floor", x), np.floor(x))


@pytest.mark.parametrize("op", ["minimum", "maximum", "less", "less_equal", "equal", "add", "divide"])
def test_missing_stays_missing(op):
    x, y = np.array([np.nan, 1.0, np.nan, np.inf]), np.array([1.0, np.nan, np.nan, 1.0])
    assert np.isnan(evaluate(op, x, y, parameters=(np.nan,) if op == "divide" else ())).all()


def test_every_date_of_four_centuries():
    days = np.arange(np.datetime64("1800-01-01"), np.datetime64("2200-01-01"))
    number = days.astype(np.int64).astype(np.float64)
    months = days.astype("datetime64[M]")
    np.testing.assert_array_equal(evaluate("date_part", number, parameters=(0,)), months.astype(np.int64) % 12 + 1)
    np.testing.assert_array_equal(evaluate("date_part", number, parameters=(1,)), (days - months).astype(np.int64) + 1)
    left = ((months + 1).astype("datetime64[D]") - days).astype(np.int64) - 1
    np.testing.assert_array_equal(evaluate("date_part", number, parameters=(2,)), left)
    np.testing.assert_array_equal(
        evaluate("date_part", number, parameters=(3,)), days.astype("datetime64[Y]").astype(int) + 1970
    )


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8, 20, 21, 63, 64, 65, 250])
def test_rolling_trees_are_the_windows_they_stand_for(n):
    rng = np.random.default_rng(n)
    x, y = rng.normal(100, 1, 400), rng.normal(size=400)
    a = Assembly()
    fx, fy = a.fetch("x"), a.fetch("y")
    outputs = [
        a.mean(fx, n),
        a.total(fx, n),
        a.extreme(fx, n, "minimum"),
        a.extreme(fx, n, "maximum"),
        a.covariance(fx, fy, n),
    ]
    out = np.empty((400, 1, 5))
    a.compile(outputs).run([x[:, None].copy(), y[:, None].copy()], 400, 1, out)
    windows = np.lib.stride_tricks.sliding_window_view(x, n)
    other = np.lib.stride_tricks.sliding_window_view(y, n)
    deviations = (windows - windows.mean(1, keepdims=True)) * (other - other.mean(1, keepdims=True))
    expected = [windows.mean(1), windows.sum(1), windows.min(1), windows.max(1), deviations.sum(1)]
    for k, values in enumerate(expected):
        np.testing.assert_allclose(out[n - 1 :, 0, k], values, rtol=1e-12, atol=1e-12)
        if n > 1 and k < 4:
            assert np.isnan(out[: n - 1, 0, k]).all()


def test_a_window_of_equal_values_has_exactly_that_mean_and_no_spread():
    x = np.full((60, 1), 0.1)
    a = Assembly()
    fx = a.fetch("x")
    out = np.empty((60, 1, 2))
    a.compile([a.mean(fx, 21), a.covariance(fx, fx, 21)]).run([x], 60, 1, out)
    assert set(out[20:, 0, 0]) == {0.1}
    assert set(out[20:, 0, 1]) == {0.0}


@pytest.mark.parametrize("n", [2, 3, 20, 33, 64])
@pytest.mark.parametrize("n_bars", [1, 17, 300])
def test_a_mean_and_its_variance_have_the_bits_they_have_apart(n, n_bars):
    x = np.random.default_rng(n).normal(100, 1, (n_bars, 67))
    x[n_bars // 2, 5] = np.nan

    def values(*wanted):
        a = Assembly()
        fx, twin = a.fetch("x"), a.fetch("twin")
        made = {
            "mean": lambda: a.mean(fx, n),
            "variance": lambda: a.covariance(fx, fx, n),
            "apart": lambda: a.covariance(fx, twin, n),
        }
        out = np.empty((n_bars, 67, len(wanted)))
        a.compile([made[name]() for name in wanted]).run([x, x.copy()], n_bars, 67, out)
        return dict(zip(wanted, np.moveaxis(out, 2, 0), strict=True))

    together, apart, alone = values("variance", "mean"), values("apart"), values("mean")
    np.testing.assert_array_equal(together["variance"], apart["apart"])
    np.testing.assert_array_equal(together["mean"], alone["mean"])


def test_operands_that_come_later_and_wrong_shapes_are_refused():
    tables = np.zeros((1, 6, 2), np.int32), np.zeros((1, 3))
    add, none = np.array([NAMES.index("add")], np.int32), np.zeros((0, 2), np.int32)
    for ops, outputs in (
        (add, none),
        (np.array([99], np.int32), none),
        (np.array([0], np.int32), np.array([[1, 0]], np.int32)),
    ):
        with pytest.raises(ValueError, match="feature program"):
            core.FeatureProgram.compile(ops, *tables, outputs, 1)
    a = Assembly()
    program = a.compile([a.fetch("x", symbol=3)])
    with pytest.raises(ValueError, match="outside the panel"):
        program.run([np.zeros((5, 2))], 5, 2, np.empty((5, 2, 1)))
    with pytest.raises(ValueError, match="outside the panel"):
        core.FeatureStepper(program, 2)
    with pytest.raises(ValueError, match="wrong shape"):
        program.run([np.zeros((5, 4))], 6, 4, np.empty((6, 4, 1)))
    with pytest.raises(ValueError, match="wrong shape"):
        program.run([np.zeros((5, 4))], 5, 4, np.empty((5, 4, 2)))


SCRIPT = """
import sys
import numpy as np
from longshort import features as f
from longshort.data.synthetic import random_walk
sets = [f.technical(), f.calendar(), f.tutorial(), f.log_return(5).rank(), f.log_return(3).zscore(), f.beta("S2")]
values = f.FeatureSet(sets).compute(random_walk(600, ("S1", "S2", "S3")))
sys.stdout.buffer.write(values.tobytes())
"""


def test_every_instruction_set_level_gives_the_same_bits():
    levels = runnable_levels()
    if len(levels) < 2:
        pytest.skip("needs AVX-512, or another level beside " + ", ".join(levels))
    results = []
    for level in levels:
        done = subprocess.run([sys.executable, "-c", SCRIPT], env={**os.environ, "LONGSHORT_ISA": level},
                              capture_output=True, check=True, timeout=120)  # fmt: skip
        results.append(np.frombuffer(done.stdout))
    for level, values in zip(levels[1:], results[1:], strict=True):
        np.testing.assert_allclose(values, results[0], rtol=1e-12, atol=1e-12, err_msg=level)  # what is promised
        assert np.array_equal(values, results[0], equal_nan=True), level  # what the arithmetic gives
