"""What every exported feature and target promises. Export a new one and it is tested here, or the test says how.

No look-ahead, history equal to the tick bit by bit, a sufficient warm-up, healing after bad ticks, nothing infinite.
"""

import importlib.util
import inspect
import json
from pathlib import Path

import numpy as np
import pytest

from longshort import features as f

_SPEC = importlib.util.spec_from_file_location("panels", Path(__file__).parents[1] / "features" / "panels.py")
assert _SPEC is not None
assert _SPEC.loader is not None
panels = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(panels)
bits, quiet, eventful = panels.bits, panels.quiet, panels.eventful

NOT_FEATURES = {  # classes, and containers whose parts come from functions that are tested
    "Feature", "FeatureSet", "Stepper", "Bollinger", "Macd", "Stochastic", "Target", "TargetInfo",
}  # fmt: skip
ARGUMENTS = {
    "field": [("close",), ("open",), ("volume",), ("vix",), ("close", "SPY")],
    "const": [(1.5,)],
    "where": [(f.log_return() > 0, f.field("volume"), 0)],
    "causal": [(lambda window: float(window["close"].iloc[-1] / window["close"].mean()), 7, ("close",), "own")],
    **{name: [("SPY",), (f.field("vix"),)] for name in ("beta", "correlation", "covariance", "spread")},
}
COMPOSED = [  # operations of the language that no indicator uses
    f.field("close").rolling_min(13).rename("rolling_min"),
    f.field("high").rolling_max(7).rename("rolling_max"),
    f.log_return().exp().sqrt().rename("exp_sqrt"),
    f.log_return(3).rank().rename("rank"),
    f.log_return(3).zscore().rename("zscore"),
    f.rsi(5).zscore().rename("zscore_of_rsi"),
    f.field("close").ffill(3).rename("ffill"),
    f.field("close").missing().rename("missing"),
    f.log_return().clip(-0.01, 0.01).rename("clip"),
    f.log_return().abs().ema(5).lag(4).rename("lagged_ema"),
    f.log_return().equals(0).rename("equal"),
    f.field("close").exponential_mean(0.3).rename("first_value_seed"),
    f.ema(9).rolling_std(6).rename("std_of_ema"),
]


def _exported() -> tuple[list[f.Feature], list[f.Target]]:
    features, targets = list(COMPOSED), []
    for name in f.__all__:
        made = getattr(f, name)
        if name in NOT_FEATURES or not inspect.isfunction(made):
            continue
        for arguments in ARGUMENTS.get(name, [()]):
            try:
                value = made(*arguments)
            except TypeError:  # pragma: no cover
                raise AssertionError(f"features.{name} needs arguments: add an example to ARGUMENTS") from None
            if isinstance(value, f.Target):
                targets.append(value)
            else:
                parts = [value] if isinstance(value, f.Feature) else list(value)
                features += [part.rename(f"{name}{list(arguments)}:{part.name}") for part in parts]
    return features, targets


FEATURES, TARGETS = _exported()
TARGETS += [
    f.forward_return(3, entry="next_open"),
    f.forward_direction(2),
    f.forward_volatility(4),
    f.forward_volatility(2, estimator="parkinson"),
    f.forward_volatility(1, estimator="garman_klass"),
]
OWN = [part for part in FEATURES if part.name.startswith("causal")]
ALL = f.FeatureSet(FEATURES)
FAST = f.FeatureSet([part for part in FEATURES if part not in OWN])
N = 700


def _finite_memory(feature: f.Feature) -> bool:
    return feature.op != "exponential_mean" and all(_finite_memory(part) for part in feature.inputs)


FINITE = np.array([_finite_memory(part) for part in FAST])


def assert_same_bits(left: np.ndarray, right: np.ndarray, names: tuple[str, ...], what: str) -> None:
    different = (bits(left) != bits(right)).reshape(-1, len(names)).any(axis=0)
    assert not different.any(), f"{what}: {[n for n, d in zip(names, different, strict=True) if d]}"


def _changed(bars, cut: int, how: str):
    from longshort.bars import Bars

    if how == "truncate":
        return bars.until(int(bars.time[cut]))
    order = np.random.default_rng(cut).permutation(len(bars) - cut - 1)
    fields = {}
    for name in bars.fields:
        values = np.array(bars[name])
        late = values[cut + 1 :]
        if how == "scale":
            late *= 3.0
        elif how == "NaN":
            late[:] = np.nan
        else:
            late[:] = late[order]
        fields[name] = values
    return Bars.from_arrays(bars.time, bars.symbols, fields, split=bars.split, dividend=bars.dividend, bar_size="1D")


BARS = eventful(N)
CUTS = sorted({0, 1, 19, 20, 21, N // 4 - 1, N // 4, N // 4 + 2, N // 3 - 1, N // 3, N // 2 - 1, N // 2, N // 2 + 7,
               FAST.warmup - 1, FAST.warmup, FAST.warmup + 1, N - 3, N - 2})  # fmt: skip


@pytest.mark.parametrize("how", ["scale", "NaN", "permute", "truncate"])
def test_the_future_changes_no_earlier_bit_of_any_feature(how):
    for features, bars, cuts in ((FAST, BARS, CUTS), (f.FeatureSet(OWN), eventful(200), (0, 20, 49, 50, 100, 198))):
        history = features.compute(bars)
        for cut in cuts:
            changed = features.compute(_changed(bars, cut, how))
            what = f"{how} after row {cut} shows in earlier rows"
            assert_same_bits(changed[: cut + 1], history[: cut + 1], features.names, what)


def test_no_cut_at_all_shows_the_future():
    bars = eventful(FAST.warmup + 50)
    history = FAST.compute(bars)
    for cut in range(len(bars) - 1):
        changed = FAST.compute(_changed(bars, cut, "scale"))
        assert_same_bits(changed[: cut + 1], history[: cut + 1], FAST.names, f"cut {cut}")


@pytest.mark.parametrize(("symbols", "chosen", "n"), [(1, FAST, N), (1, OWN, 200), (7, FAST, N), (500, FAST, 460)])
def test_a_tick_has_the_bits_of_history(symbols, chosen, n):
    bars, chosen = eventful(n, ("SPY", *[f"S{i}" for i in range(symbols - 1)])), f.FeatureSet(chosen)
    history = chosen.compute(bars)
    stepper = chosen.stepper(bars.symbols)
    ticks = np.stack([stepper.step(bars.row(i)) for i in range(len(bars))])
    assert_same_bits(ticks, history, chosen.names, f"{symbols} symbols")


def test_chunks_snapshots_and_restarts_change_no_bit():
    history, rng = FAST.compute(BARS), np.random.default_rng(5)
    table, stepper, i = panels.rows(BARS, FAST.inputs), FAST.stepper(BARS.symbols), 0
    out = []
    while i < N:
        for _ in range(int(rng.integers(1, 60))):
            if i < N:
                out.append(stepper.step(table[i] if rng.random() < 0.5 else BARS.row(i)))
                i += 1
        kept = stepper.snapshot()
        stepper.step(BARS.row(0))  # what happens after a snapshot is forgotten with it
        stepper = stepper if rng.random() < 0.5 else FAST.stepper(BARS.symbols)
        stepper.restore(kept)
    assert_same_bits(np.stack(out), history, FAST.names, "random chunks")
    warm = FAST.stepper(BARS.symbols).feed(BARS.until(int(BARS.time[300])))
    assert_same_bits(warm.step(BARS.row(301)), history[301], FAST.names, "fed with history")


def test_a_custom_function_survives_a_restart():
    own = f.FeatureSet(OWN)
    bars = eventful(200)
    history, stepper = own.compute(bars), own.stepper(bars.symbols)
    for i in range(95):
        stepper.step(bars.row(i))
    other = own.stepper(bars.symbols)
    other.restore(stepper.snapshot())
    rows = np.stack([other.step(bars.row(i)) for i in range(95, 150)])
    assert_same_bits(rows, history[95:150], own.names, "restored")


def test_threads_and_neighbours_change_no_bit():
    alone = f.FeatureSet([p for p in FAST if not any(word in p.name for word in ("rank", "zscore", "SPY"))])
    bars = eventful(200, 150)
    history = alone.compute(bars, threads=1)
    assert_same_bits(alone.compute(bars, threads=3), history, alone.names, "3 threads")
    for symbol in (0, 63, 64, 149):
        single = alone.compute(bars.select([bars.symbols[symbol]]))
        assert_same_bits(single[:, 0], history[:, symbol], alone.names, f"symbol {symbol} alone")


def test_warm_up_is_as_long_as_it_says_and_no_longer():
    bars = quiet(N)
    history = ALL.compute(bars)
    for k, feature in enumerate(ALL):
        w, name = feature.warmup, feature.name
        spoken = np.isfinite(history[:, :, k])
        if name not in ("ffill", "missing"):  # they speak as soon as they can
            assert not spoken[:w].any(), f"{name} speaks before its warm-up of {w}"
        assert spoken[w:].all(), f"{name} is silent after its warm-up of {w}"


@pytest.mark.parametrize("start", [1, 13, 101])
def test_another_start_gives_the_same_values_beyond_the_warm_up(start):
    bars = quiet(N)
    history, late = FAST.compute(bars)[start:], FAST.compute(bars.since(int(bars.time[start])))
    for k, feature in enumerate(FAST):
        w = feature.warmup
        ours, theirs = late[w:, :, k], history[w:, :, k]
        if FINITE[k]:
            assert_same_bits(ours[..., None], theirs[..., None], (feature.name,), f"start {start}")
        else:
            np.testing.assert_allclose(
                ours, theirs, rtol=1e-12, atol=1e-12 * np.abs(theirs).max(), err_msg=feature.name
            )


@pytest.mark.parametrize("spike", [1e15, np.nan, np.inf, -np.inf, 0.0])
def test_a_bad_tick_is_gone_after_the_warm_up(spike):
    long, at = quiet(1100), 430
    table = panels.rows(long, FAST.inputs)
    spoiled = table.copy()
    raw = [FAST.inputs.index(name) for name in ("open", "high", "low", "close", "volume", "vix")]
    spoiled[at, raw] = spike
    clean, after = (_steps(FAST, rows, long.symbols) for rows in (table, spoiled))
    assert_same_bits(after[:at], clean[:at], FAST.names, "before the spike")
    assert not np.isinf(after).any()
    for k, feature in enumerate(FAST):
        w = at + 1 + feature.warmup
        if FINITE[k]:
            assert_same_bits(after[w:, :, k, None], clean[w:, :, k, None], (feature.name,), f"spike {spike}")
        elif not np.isfinite(spike):
            scale = 1e-12 * np.abs(clean[w:, :, k]).max()
            np.testing.assert_allclose(after[w:, :, k], clean[w:, :, k], rtol=1e-12, atol=scale, err_msg=feature.name)


def _steps(features, table, symbols):
    stepper = features.stepper(symbols)
    return np.stack([stepper.step(row) for row in table])


@pytest.mark.parametrize("market", ["constant", "one tick", "zero volume"])
def test_a_market_that_stands_still_gives_finite_numbers(market):
    bars = quiet(N)
    fields = {name: np.array(bars[name]) for name in bars.fields}
    if market == "zero volume":
        fields["volume"][:] = 0.0
    else:
        for name in ("open", "high", "low", "close", "vix"):
            fields[name][:] = 50.0
    if market == "one tick":
        for name in ("open", "high", "low", "close"):
            fields[name][N // 2 :] = 50.01
    still = panels.Bars.from_arrays(bars.time, bars.symbols, fields, bar_size="1D")
    values = FAST.compute(still)
    silent = ~np.isfinite(values[FAST.warmup :]).all(axis=(0, 1))
    assert not silent.any(), [name for name, s in zip(FAST.names, silent, strict=True) if s]


def test_a_set_survives_json_with_its_digest():
    again = f.FeatureSet.from_dict(json.loads(json.dumps(FAST.to_dict())))
    assert again.digest == FAST.digest
    assert again.names == FAST.names
    assert_same_bits(again.compute(BARS), FAST.compute(BARS), FAST.names, "from JSON")


@pytest.mark.full
def test_a_hundred_thousand_ticks_have_the_bits_of_history():
    bars = quiet(100_000, ("SPY",))
    history, stepper = FAST.compute(bars), FAST.stepper(bars.symbols)
    for i, row in enumerate(panels.rows(bars, FAST.inputs)):
        assert np.array_equal(bits(stepper.step(row)), bits(history[i])), i


# ------------------------------------------------------------------------------------------------------------ targets
@pytest.mark.parametrize("target", TARGETS, ids=str)
@pytest.mark.parametrize("how", ["scale", "NaN", "permute", "truncate"])
def test_a_target_uses_nothing_after_its_label_end_and_its_naive_forecasts_nothing_after_the_row(target, how):
    outcome, naive = target.compute(BARS), target.naive(BARS)
    known = target.label_end(BARS)
    for cut in [c for c in CUTS if c > target.horizon]:
        changed = _changed(BARS, cut, how)
        done = np.flatnonzero(known <= BARS.time[cut])
        assert np.array_equal(bits(target.compute(changed)[done]), bits(outcome[done]))
        for name, values in target.naive(changed).items():
            assert np.array_equal(bits(values[: cut + 1]), bits(naive[name][: cut + 1])), name


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_a_target_is_unknown_exactly_where_its_label_end_is(target):
    bars = quiet(120)
    known = target.label_end(bars) < np.iinfo(np.int64).max
    finite = np.isfinite(target.compute(bars)).all(axis=1)
    assert np.array_equal(finite[target.warmup :], known[target.warmup :])
    assert not finite[: target.warmup].any()
    assert (target.label_end(bars)[known] > bars.time[known]).all()
    assert f.Target.from_dict(json.loads(json.dumps(target.to_dict()))) == target
    assert target.info.horizon == target.horizon
