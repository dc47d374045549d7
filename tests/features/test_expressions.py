"""The feature language: what it means, what it is called, what it refuses."""

import copy
import pickle
import sys

import numpy as np
import pandas as pd
import pytest

import longshort as ls
from longshort import features as f
from longshort.data.synthetic import random_walk
from longshort.errors import ArtifactError, InputError, NotEnoughData, UnknownName
from longshort.native import core

BARS = random_walk(120, ("AAA", "SPY"), seed=2)
CLOSE = BARS["close"]
close = f.field("close")


@pytest.mark.parametrize(
    ("feature", "expected"),
    [
        (close + 1, CLOSE + 1),
        (2 - close, 2 - CLOSE),
        (3 * close, 3 * CLOSE),
        (1 / close, 1 / CLOSE),
        (-close, -CLOSE),
        (abs(-close), CLOSE),
        (close > 100, (CLOSE > 100) * 1.0),
        (close <= 100, (CLOSE <= 100) * 1.0),
        (np.float64(2) * close, 2 * CLOSE),
        (close.sqrt(), np.sqrt(CLOSE)),
        ((close - 100).sign(), np.sign(CLOSE - 100)),
        (close.minimum(f.const(101)).maximum(99), np.clip(CLOSE, 99, 101)),
        (f.where(close > 100, close, -1), np.where(CLOSE > 100, CLOSE, -1)),
        (close / f.field("close", symbol="SPY"), CLOSE / CLOSE[:, 1:]),
        (close.lag(0), CLOSE),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_arithmetic_means_what_it_says(feature, expected):
    np.testing.assert_array_equal(feature.compute(BARS), expected)


def test_log_and_exp_are_those_of_numpy_to_the_last_digits():
    np.testing.assert_allclose(close.log().compute(BARS), np.log(CLOSE), rtol=4e-16)
    np.testing.assert_allclose((close / 10).exp().compute(BARS), np.exp(CLOSE / 10), rtol=1e-15)


@pytest.mark.parametrize(
    "feature", [(close - close).log(), close / (close - close), (0 - close).sqrt(), (close * 1000).exp()]
)
def test_values_outside_a_domain_are_nan_and_never_infinite(feature):
    assert np.isnan(feature.compute(BARS)).all()


@pytest.mark.parametrize(
    ("feature", "name"),
    [
        (f.log_return().rolling_std(20), "log_return_1.rolling_std(20)"),
        ((close / f.sma(20) - 1) * 2, "(close / sma_20 - 1) * 2"),
        (close - (close - 1), "close - (close - 1)"),
        (close / (close * 2), "close / (close * 2)"),
        ((close.lag(3) + 1).log(), "(close.lag(3) + 1).log()"),
        (close.rolling_corr(f.field("close", symbol="SPY"), 9), "close.rolling_corr(SPY:close, 9)"),
        (close.rename("price").rolling_mean(5), "price.rolling_mean(5)"),
    ],
)
def test_names_read_like_the_expression(feature, name):
    assert feature.name == name


def test_sets_flatten_and_keep_each_feature_once():
    features = f.FeatureSet([f.technical(), [f.log_return(), [f.macd()]], f.rsi(14)])
    assert len(features) == 12 + 3 + 1
    assert features.names[-1] == "rsi_14"
    with pytest.raises(InputError, match="Two different features are called 'x'"):
        f.FeatureSet([f.sma(5).rename("x"), f.sma(6).rename("x")])


def test_shared_parts_are_computed_once():
    one = f.FeatureSet(f.bollinger(20))._plan().program.size
    both = f.FeatureSet([f.bollinger(20), f.sma(20), f.bollinger(20, 3.0).upper, close.lag(5).rolling_mean(20)])
    assert both._plan().program.size < one + 12


def test_compute_returns_one_c_ordered_block_and_start_cuts_it():
    features = f.FeatureSet([f.log_return(), f.sma(5)])
    whole = features.compute(BARS)
    assert whole.shape == (120, 2, 2)
    assert whole.flags.c_contiguous
    assert np.array_equal(features.compute(BARS, start=100), whole[100:])
    assert np.array_equal(features.compute(BARS, start=str(BARS.dates[100])), whole[100:])
    with pytest.raises(InputError, match="start must be a row of the 120 bars, was 121"):
        features.compute(BARS, start=121)


def test_a_gap_silences_until_the_window_is_clean_again():
    price = np.array(CLOSE[:, :1])
    price[50] = np.nan
    bars = ls.Bars.from_arrays(BARS.time, "X", {"close": price}, bar_size="1D")
    assert np.flatnonzero(np.isnan(f.sma(10).compute(bars)[9:, 0])).tolist() == list(range(41, 51))
    filled, flag = close.ffill(2), close.missing()
    assert filled.compute(bars)[50, 0] == price[49, 0]
    assert np.flatnonzero(flag.compute(bars)[:, 0]).tolist() == [50]
    price[50:54] = np.nan
    longer = ls.Bars.from_arrays(BARS.time, "X", {"close": price}, bar_size="1D")
    assert np.isnan(filled.compute(longer)[50:55, 0]).tolist() == [False, False, True, True, False]


def test_cross_sections_rank_and_standardise_the_symbols_of_a_bar():
    values = np.array([[1.0, 5.0, 3.0, 3.0], [np.nan, 2.0, 2.0, 2.0], [np.nan, np.nan, np.nan, 9.0]])
    bars = ls.Bars.from_arrays(BARS.time[:3], list("abcd"), {"close": np.ones((3, 4)), "score": values}, bar_size="1D")
    score = f.field("score")
    nan = np.nan
    ranks = [[0.125, 0.875, 0.5, 0.5], [nan, 0.5, 0.5, 0.5], [nan, nan, nan, 0.5]]
    np.testing.assert_allclose(score.rank().compute(bars), ranks)
    np.testing.assert_allclose(score.zscore().compute(bars)[0], (values[0] - 3) / values[0].std())
    np.testing.assert_array_equal(score.zscore().compute(bars)[1:], [[nan, 0, 0, 0], [nan, nan, nan, 0]])


def test_a_joined_series_is_a_field():
    vix = np.linspace(10, 30, 120)
    bars = ls.Bars.from_arrays(
        BARS.time, BARS.symbols, {"close": CLOSE, "vix": np.stack([vix, vix], axis=1)}, bar_size="1D"
    )
    np.testing.assert_allclose(f.field("vix").diff(5).compute(bars)[5:], vix[5] - vix[0])


# ----------------------------------------------------------------------------------------------------- own functions
def test_a_custom_function_sees_its_window_of_adjusted_bars_and_no_more():
    split = np.ones((120, 2))
    split[60, 0] = 2.0
    prices = np.array(CLOSE)
    prices[60:, 0] /= 2.0
    bars = ls.Bars.from_arrays(BARS.time, BARS.symbols, {"close": prices}, split=split, bar_size="1D")
    seen = []

    def span(window: pd.DataFrame) -> pd.Series:
        seen.append((len(window), window.index[-1].value, list(window.columns)))
        window["close"] *= 1.0  # what it does to its window stays there
        return window["close"].pct_change(4, fill_method=None)

    own = f.causal(span, lookback=5, fields=("close",))
    assert (own.name, own.warmup) == ("span_5", 4)
    np.testing.assert_allclose(own.compute(bars), f.simple_return(4).compute(bars), rtol=1e-12)
    assert {n for n, _, _ in seen} == {5}
    assert seen[0][1:] == (BARS.time[4], ["close"])


def test_a_custom_function_is_never_saved():
    features = f.FeatureSet(f.causal(np.mean, lookback=3, fields="close"))
    assert "numpy.mean" in str(features.to_dict())
    with pytest.raises(ArtifactError, match="code is never saved"):
        f.FeatureSet.from_dict(features.to_dict())
    with pytest.raises(ArtifactError, match="code is never saved"):
        features.require_saveable()


def test_a_custom_function_that_returns_no_number_is_told():
    with pytest.raises(InputError, match="must return a number"):
        f.causal(lambda window: "up", 3, fields="close").compute(BARS)
    with pytest.raises(ZeroDivisionError) as caught:
        f.causal(lambda window: 1 / 0, 3, fields="close").compute(BARS)
    assert "In causal(<lambda>), on the 3 bars to" in caught.value.__notes__[0]


# --------------------------------------------------------------------------------------------------------- refusals
@pytest.mark.parametrize(
    "make",
    [
        lambda: close.lag(1.5), lambda: close.rolling_std(1), lambda: close.ema(0), lambda: close.ffill(0),
        lambda: close.clip(2, 1), lambda: close + "volume", lambda: close + np.nan, lambda: close + None,
        lambda: close.rename(""), lambda: f.field(""), lambda: f.field(3), lambda: f.field("time"),
        lambda: close.exponential_mean(0.0), lambda: close.exponential_mean(1.5), lambda: f.const("1"),
        lambda: f.causal("mean", 3), lambda: f.causal(np.mean, 0), lambda: f.causal(np.mean, 3, ()),
        lambda: f.FeatureSet([]), lambda: f.FeatureSet("close"), lambda: f.FeatureSet([close, 3]),
        lambda: bool(close > 1), lambda: close.stepper(0), lambda: close.stepper(1.5),
    ],
)  # fmt: skip
def test_bad_arguments_are_refused(make):
    with pytest.raises((InputError, TypeError)) as caught:
        make()
    assert isinstance(caught.value, InputError) or "iterable" in str(caught.value)


def test_a_negative_lag_is_refused_as_look_ahead():
    with pytest.raises(InputError, match="negative lag reads the future.*forward_return"):
        close.lag(-1)


def test_a_stepper_says_what_is_wrong_with_a_row():
    stepper = f.FeatureSet([f.sma(3), f.obv(5)]).stepper(2)
    row = BARS.row(0)
    with pytest.raises(UnknownName, match="The row lacks 'volume'"):
        stepper.step({name: row[name] for name in ("close", "split", "dividend")})
    with pytest.raises(InputError, match="a column"):
        stepper.step({**row, "close": np.ones(3)})
    for bad in (np.ones((4, 3)), np.ones((4, 2), dtype=np.float32), np.ones(4)):
        with pytest.raises(InputError, match=r"float64 array \(4, 2\).*close, split, dividend, volume"):
            stepper.step(bad)
    with pytest.raises(InputError, match="reads? SPY for every symbol"):
        f.beta("SPY").stepper(2)


def test_a_snapshot_of_something_else_is_refused():
    stepper = f.sma(3).stepper(2)
    with pytest.raises(InputError, match="The snapshot is of 2 symbols"):
        f.sma(4).stepper(2).restore(stepper.snapshot())
    with pytest.raises(InputError, match="this stepper of 3"):
        f.sma(3).stepper(3).restore(stepper.snapshot())


def test_no_bars_are_too_few():
    with pytest.raises(NotEnoughData, match="at least one bar"):
        f.sma(3).compute(BARS.until("1999-01-01"))


@pytest.mark.parametrize(
    ("edit", "error"),
    [
        (lambda d: d.update(version=2), ArtifactError),
        (lambda d: d.pop("nodes"), ArtifactError),
        (lambda d: d["nodes"][0].update(op="future"), UnknownName),
        (lambda d: d["nodes"][0]["params"].update(extra=1), InputError),
        (lambda d: d["outputs"][0].update(node=99), ArtifactError),
        (lambda d: d["nodes"][-1].update(inputs=[len(d["nodes"]) - 1]), ArtifactError),
    ],
)
def test_a_damaged_description_is_refused(edit, error):
    description = copy.deepcopy(f.FeatureSet([f.sma(3)]).to_dict())
    edit(description)
    with pytest.raises(error):
        f.FeatureSet.from_dict(description)


def test_the_digest_sees_names_parameters_and_order():
    sets = [[f.sma(3), f.sma(4)], [f.sma(4), f.sma(3)], [f.sma(3), f.sma(5)], [f.sma(3), f.sma(4).rename("x")]]
    assert len({f.FeatureSet(s).digest for s in sets}) == 4
    assert f.FeatureSet(sets[0]).digest == f.FeatureSet([f.sma(3), f.sma(4)]).digest


def test_sets_can_be_copied_and_pickled():
    features = f.FeatureSet(f.technical())
    features.compute(random_walk(30))
    for again in (copy.deepcopy(features), pickle.loads(pickle.dumps(features))):
        assert again.digest == features.digest


def test_results_go_where_they_are_wanted_with_the_same_bits():
    bars, features = random_walk(300, 3, seed=1), f.FeatureSet(f.technical())
    fresh = features.compute(bars)
    store = np.full(fresh.size + 1, 7.0)
    for offset in (0, 1):  # aligned to a cache line or not
        out = store[offset : offset + fresh.size].reshape(fresh.shape)
        assert features.compute(bars, out=out) is out
        assert out.tobytes() == fresh.tobytes()


@pytest.fixture(scope="module")
def wide():
    """A panel whose results are too large for the caches; its blocks of symbols do not end with lines of memory."""
    return random_walk(1500, 131, seed=2)


@pytest.mark.parametrize("count", [11, 12, 16])
def test_large_results_are_what_small_ones_are(wide, count):
    features = f.FeatureSet([*f.technical(), f.roc(3), f.sma(7), f.ema(5), f.momentum(2)][:count])
    large = features.compute(wide)
    assert large.size >= core.LARGE_RESULT
    for start in (0, 700, 1499):
        stop = min(start + 400, len(wide))
        small = features.compute(wide.until(wide.time[stop - 1]), start=start)
        assert large[start:stop].tobytes() == small.tobytes()
    assert features.compute(wide, start=77, threads=3).tobytes() == large[77:].tobytes()


@pytest.mark.parametrize("offset", range(8))
def test_large_results_go_to_any_place_and_touch_nothing_else(wide, offset):
    features = f.FeatureSet(f.technical())
    store = np.full(len(wide) * 131 * 12 + 16, 7.0)
    out = store[offset : offset + len(wide) * 131 * 12].reshape(len(wide), 131, 12)
    features.compute(wide, out=out)
    assert out.tobytes() == features.compute(wide).tobytes()
    assert (np.delete(store, np.s_[offset : offset + out.size]) == 7).all()


def test_a_large_result_keeps_its_numbers_while_any_view_of_it_lives(wide):
    features, other = f.FeatureSet(f.technical()), random_walk(1500, 131, seed=3)
    first = features.compute(wide)
    column, expected = first[:, 5, 2], first[:, 5, 2].copy()
    del first
    second = features.compute(other)
    third = features.compute(wide)
    np.testing.assert_array_equal(column, expected)
    assert not any(np.shares_memory(third, kept) for kept in (second, column))
    np.testing.assert_array_equal(second, features.compute(other))
    third[:] = 0.0
    np.testing.assert_array_equal(column, expected)


def test_a_large_result_takes_the_memory_of_one_that_is_gone(wide):
    features = f.FeatureSet(f.technical())
    first = features.compute(wide)
    place, expected = first.ctypes.data, first.tobytes()
    del first
    again = features.compute(wide)
    assert again.tobytes() == expected
    if sys.platform == "linux":
        assert again.ctypes.data == place


@pytest.mark.parametrize(
    "out", [np.zeros((300, 3, 11)), np.zeros((300, 3, 12), np.float32), np.zeros((12, 3, 300)).T, [1.0]]
)
def test_a_place_that_does_not_fit_is_refused(out):
    with pytest.raises(InputError, match="out must be"):
        f.FeatureSet(f.technical()).compute(random_walk(300, 3, seed=1), out=out)


def test_a_feature_written_twice_is_kept_once():
    for make in (lambda: f.field("volume").log(), f.volume_ratio, lambda: f.field("close") / f.sma(20), f.rsi):
        assert len(f.FeatureSet([make(), make()])) == 1


def test_numpy_functions_of_features_are_features():
    values = CLOSE
    pairs = [
        (np.log(close), np.log(values)),
        (np.sqrt(close) + np.abs(-close), np.sqrt(values) + values),
        (np.maximum(close, 100.0), np.maximum(values, 100.0)),
        (np.float64(3) / close - np.float64(2) * close, 3 / values - 2 * values),
        (np.float64(100) < close, (100 < values) * 1.0),
    ]
    for feature, expected in pairs:
        np.testing.assert_allclose(feature.compute(BARS), expected, rtol=1e-14)


@pytest.mark.parametrize("power", [1, 2, 3, 5, 8, 15, 16, np.int64(4), 0.5])
def test_powers_are_products(power):
    np.testing.assert_allclose((close**power).compute(BARS), CLOSE**power, rtol=1e-14)


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (lambda x: np.sin(x), "numpy.sin cannot be written as a feature. Known: absolute"),
        (lambda x: np.add.reduce(x), "numpy.add.reduce cannot"),
        (lambda x: np.isnan(x), "numpy.isnan cannot"),
        (lambda x: np.array([1.0, 2.0]) * x, "a finite number was expected"),
        (lambda x: x**-1, "whole power from 1 to 16, or to 0.5, was -1"),
        (lambda x: x**1.5, "was 1.5. Of positive numbers"),
        (lambda x: x**x, "whole power"),
        (lambda x: 2.0**x, r"\(feature \* log\(2.0\)\).exp\(\)"),
    ],
)
def test_what_cannot_be_written_as_a_feature_is_explained(write, says):
    with pytest.raises(InputError, match=says):
        write(close)
