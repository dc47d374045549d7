"""Targets: known answers, when they are known, and what one would say without a model."""

import numpy as np
import pytest

import longshort as ls
from longshort import features as f
from longshort.data.synthetic import random_walk
from longshort.errors import ArtifactError, InputError, NotEnoughData, UnknownName

CLOSE = np.array([100.0, 110.0, 99.0, 99.0, 120.0])
OPEN = np.array([99.0, 104.0, 108.0, 98.0, 100.0])
TIME = np.arange(19_000, 19_005) * 86_400 * 10**9
FIVE = ls.Bars.from_arrays(
    TIME,
    "X",
    {"open": OPEN, "high": np.maximum(OPEN, CLOSE) + 1, "low": np.minimum(OPEN, CLOSE) - 1, "close": CLOSE},
    bar_size="1D",
)


def test_known_answers():
    nan = np.nan
    expected = {
        f.forward_close(2): [99.0, 99.0, 120.0, nan, nan],
        f.forward_return(1): [0.1, -0.1, 0.0, 120 / 99 - 1, nan],
        f.forward_return(2, entry="next_open"): [99 / 104 - 1, 99 / 108 - 1, 120 / 98 - 1, nan, nan],
        f.forward_log_return(3): [np.log(0.99), np.log(120 / 110), nan, nan, nan],
        f.forward_direction(1): [1.0, 0.0, nan, 1.0, nan],
    }
    for target, values in expected.items():
        np.testing.assert_allclose(target.compute(FIVE)[:, 0], values, rtol=1e-14, err_msg=str(target))


def test_a_dead_band_leaves_small_moves_out_on_either_side_of_its_own():
    nan = np.nan
    for up, down, expected in (
        (0.1, None, [1.0, 0.0, nan, 1.0, nan]),  # a rise of 10 % is on the edge, and counts
        (0.11, None, [nan, 0.0, nan, 1.0, nan]),
        (None, 0.2, [1.0, nan, nan, 1.0, nan]),
        (0.2, 0.09, [nan, 0.0, nan, 1.0, nan]),
    ):
        target = f.forward_direction(up=up, down=down)
        np.testing.assert_array_equal(target.compute(FIVE)[:, 0], expected, err_msg=str((up, down)))
        assert f.Target.from_dict(target.to_dict()) == target
    assert f.forward_direction().to_dict() == {
        "kind": "direction", "horizon": 1, "entry": "close", "estimator": "close"
    }  # fmt: skip
    for bad in (0, -0.01, np.nan, True, "1%"):
        with pytest.raises(InputError, match="direction's up must be a finite number above 0"):
            f.forward_direction(up=bad)
    with pytest.raises(InputError, match="Only moves, barriers and directions have down"):
        f.Target("return", down=0.1)


def test_volatility_is_the_root_of_the_mean_variance_of_the_next_bars():
    returns = np.diff(np.log(CLOSE))
    values = f.forward_volatility(2).compute(FIVE)[:, 0]
    np.testing.assert_allclose(values[0], np.sqrt((returns[0] ** 2 + returns[1] ** 2) / 2), rtol=1e-14)
    np.testing.assert_allclose(values[2], np.sqrt((returns[2] ** 2 + returns[3] ** 2) / 2), rtol=1e-14)
    assert np.isnan(values[3:]).all()
    high, low = FIVE["high"][1, 0], FIVE["low"][1, 0]
    garman = 0.5 * np.log(high / low) ** 2 - (2 * np.log(2) - 1) * np.log(CLOSE[1] / OPEN[1]) ** 2
    np.testing.assert_allclose(f.forward_volatility(1, "garman_klass").compute(FIVE)[0, 0], np.sqrt(garman), rtol=1e-14)
    parkinson = np.log(high / low) / np.sqrt(4 * np.log(2))
    np.testing.assert_allclose(f.forward_volatility(1, "parkinson").compute(FIVE)[0, 0], parkinson, rtol=1e-14)


def test_range_estimators_find_the_volatility_of_a_fine_walk():
    rng = np.random.default_rng(0)
    steps = rng.normal(0, 0.02 / np.sqrt(400), (3000, 400))
    path = np.cumsum(steps, axis=1)
    fields = {"open": np.ones(3000), "high": np.exp(np.maximum(path.max(axis=1), 0)),
              "low": np.exp(np.minimum(path.min(axis=1), 0)), "close": np.exp(path[:, -1])}  # fmt: skip
    bars = ls.Bars.from_arrays(np.arange(10_000, 13_000) * 86_400 * 10**9, "X", fields, bar_size="1D")
    for estimator in ("parkinson", "garman_klass"):
        mean_variance = np.nanmean(f.forward_volatility(1, estimator).compute(bars) ** 2)
        assert abs(np.sqrt(mean_variance) / 0.02 - 1) < 0.08, (
            estimator
        )  # a little low: 400 steps miss some of the range


def test_label_end_is_the_stamp_of_the_bar_that_settles_it():
    assert f.forward_close(2).label_end(FIVE).tolist() == [TIME[2], TIME[3], TIME[4], *[np.iinfo(np.int64).max] * 2]


def test_naive_forecasts_say_what_needs_no_model():
    nan = np.nan
    naive = {
        target.kind: target.naive(FIVE) for target in (f.forward_close(), f.forward_return(), f.forward_direction())
    }
    np.testing.assert_array_equal(naive["close"]["persistence"][:, 0], CLOSE)
    np.testing.assert_array_equal(naive["return"]["zero"][:, 0], 0.0)
    np.testing.assert_allclose(naive["return"]["mean"][:4, 0], [nan, 0.1, 0.0, 0.0], atol=1e-15)
    np.testing.assert_array_equal(naive["direction"]["majority"][:, 0], [nan, 1.0, 1.0, 1.0, 1.0])
    volatility = f.forward_volatility(1)
    moves = np.abs(np.diff(np.log(CLOSE)))
    np.testing.assert_allclose(volatility.naive(FIVE)["last_realised"][1:, 0], moves, rtol=1e-12)
    np.testing.assert_allclose(volatility.naive(FIVE)["mean"][1:, 0], np.cumsum(moves) / np.arange(1, 5), rtol=1e-12)


def test_the_last_volatility_is_yesterdays_outcome():
    bars = random_walk(300, 2, seed=1)
    for target in (f.forward_volatility(5), f.forward_volatility(3, "parkinson")):
        last, outcome = target.naive(bars)["last_realised"], target.compute(bars)
        assert np.array_equal(last[target.horizon :], outcome[: -target.horizon], equal_nan=True)


def test_splits_and_dividends_do_not_show():
    close = np.array([100.0, 101.0, 51.0, 50.0])  # 2:1 on the third day, a dividend of 1 on the fourth
    bars = ls.Bars.from_arrays(
        TIME[:4], "X", {"close": close}, split=[1, 1, 2, 1], dividend=[0, 0, 0, 1.0], bar_size="1D"
    )
    values = f.forward_return(1).compute(bars)[:3, 0]
    np.testing.assert_allclose(values, [0.01, 102 / 101 - 1, 0.0], atol=1e-14)


def barrier_by_hand(close, row, horizon, up, down):
    """The definition, bar by bar: 20 log returns up to the row give the width; the first close beyond it decides."""
    log = np.log(close)
    width = np.std(np.diff(log[row - 20 : row + 1])) * np.sqrt(horizon)
    for ahead in range(1, horizon + 1):
        moved = log[row + ahead] - log[row]
        if moved >= up * width:
            return 1.0
        if moved <= -down * width:
            return -1.0
    return 0.0


def test_barriers_and_moves_follow_their_definition_bar_by_bar():
    bars = random_walk(200, 1, seed=3)
    close = np.asarray(bars.adjusted("close"))[:, 0]
    barrier, move = (
        f.forward_barrier(8, up=1.2, down=0.7).compute(bars)[:, 0],
        f.forward_move(1, 0.4).compute(bars)[:, 0],
    )
    rows = range(20, 192)
    assert barrier[20:192].tolist() == [barrier_by_hand(close, row, 8, 1.2, 0.7) for row in rows]
    assert move[20:192].tolist() == [barrier_by_hand(close, row, 1, 0.4, 0.4) for row in rows]
    assert set(barrier[20:192]) == {-1.0, 0.0, 1.0}
    assert np.isnan(barrier[:20]).all()


def test_a_touched_barrier_stays_touched_and_a_missing_bar_leaves_no_outcome():
    close = np.full((40, 1), 100.0) * np.exp(0.01 * np.tile([0.0, 1.0], 20))[:, None]
    close[25], close[26] = 130.0, 60.0  # up first, then far below: the first touch counts
    time = TIME[0] + np.arange(40) * 86_400 * 10**9
    target = f.forward_barrier(5)
    assert target.compute(ls.Bars.from_arrays(time, "X", {"close": close}, bar_size="1D"))[24, 0] == 1.0
    close[27] = np.nan
    values = target.compute(ls.Bars.from_arrays(time, "X", {"close": close}, bar_size="1D"))[:, 0]
    assert np.isnan(values[22:27]).all()
    assert np.isfinite(values[20:22]).all()


@pytest.mark.parametrize("target", [f.forward_barrier(5), f.forward_move(5)])
def test_a_price_that_stood_still_has_no_class(target):
    close = np.full((50, 1), 100.0)
    close[40:, 0] = 101.0
    time = TIME[0] + np.arange(50) * 86_400 * 10**9
    values = target.compute(ls.Bars.from_arrays(time, "X", {"close": close}, bar_size="1D"))[:, 0]
    assert np.isnan(values[:40]).all()
    assert values[40] == 0.0  # measured against the jump, standing still is no move


def test_a_missing_bar_has_no_outcome_on_either_side():
    close = np.array([100.0, 101.0, np.nan, 103.0, 104.0])
    bars = ls.Bars.from_arrays(TIME, "X", {"close": close}, bar_size="1D")
    assert np.isfinite(f.forward_return(1).compute(bars)[:, 0]).tolist() == [True, False, False, True, False]
    assert np.isfinite(f.forward_volatility(2).compute(bars)[:, 0]).tolist() == [False] * 5
    np.testing.assert_array_equal(np.isfinite(f.forward_return(1).naive(bars)["mean"][:, 0]), [0, 1, 1, 1, 1])


def test_a_horizon_beyond_the_data_is_refused():
    with pytest.raises(NotEnoughData, match="horizon of 5 bars needs at least 6 bars, but bars has 5"):
        f.forward_return(5).compute(FIVE)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: f.forward_return(0), InputError),
        (lambda: f.forward_return(-1), InputError),
        (lambda: f.forward_return(1.0), InputError),
        (lambda: f.forward_return(1, entry="open"), UnknownName),
        (lambda: f.forward_volatility(1, "garman"), UnknownName),
        (lambda: f.Target("closes"), UnknownName),
        (lambda: f.Target("close", entry="next_open"), InputError),
        (lambda: f.Target("return", estimator="parkinson"), InputError),
        (lambda: f.Target.from_dict({"kind": "close", "power": 2}), ArtifactError),
        (lambda: f.forward_barrier(10, up=0.0), InputError),
        (lambda: f.forward_move(1, width=float("nan")), InputError),
        (lambda: f.Target("return", up=1.0), InputError),
    ],
)
def test_bad_arguments_are_refused(make, error):
    with pytest.raises(error):
        make()
