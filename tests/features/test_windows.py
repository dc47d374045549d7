import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshort.errors import DataError, InputError, PriceError, UnknownName
from longshort.features.windows import SCALERS, Scaling, Windows, fit_scaling


def panel(n_bars=30, n_symbols=3, n_features=2, seed=0):
    return np.random.default_rng(seed).normal(size=(n_bars, n_symbols, n_features))


def test_last_row_of_a_window_is_its_decision_row():
    features = panel()
    windows = Windows.over(features, lookback=5)
    for i in range(len(windows)):
        assert np.array_equal(windows[i][-1], features[windows.rows[i], windows.columns[i]])
        assert windows[i].shape == (5, 2)


def test_starts_address_the_flat_array_as_the_engine_reads_it():
    features = panel()
    windows = Windows.over(features, lookback=4)
    flat = features.ravel()
    for i in (0, 7, len(windows) - 1):
        rows = [flat[windows.starts[i] + t * windows.time_stride :][:2] for t in range(4)]
        assert np.array_equal(np.array(rows), windows[i])


@given(
    lookback=st.integers(1, 8),
    n_bars=st.integers(1, 20),
    start=st.integers(0, 25),
    holes=st.lists(st.tuples(st.integers(0, 19), st.integers(0, 1)), max_size=6),
    broken=st.lists(st.tuples(st.integers(0, 19), st.integers(0, 1)), max_size=3),
)
def test_windows_are_exactly_the_full_finite_unbroken_ones(lookback, n_bars, start, holes, broken):
    features = panel(n_bars, 2, 1)
    bad = np.zeros((n_bars, 2), bool)
    for row, column in holes:
        if row < n_bars:
            features[row, column, 0] = np.nan
    for row, column in broken:
        if row < n_bars:
            bad[row, column] = True
    windows = Windows.over(features, lookback, bad, start)
    expected = [
        (row, column)
        for row in range(n_bars)
        for column in range(2)
        if row >= max(start, lookback - 1)
        and np.isfinite(features[row - lookback + 1 : row + 1, column]).all()
        and not bad[row - lookback + 1 : row + 1, column].any()
    ]
    assert list(zip(windows.rows.tolist(), windows.columns.tolist(), strict=True)) == expected


def test_windows_copy_nothing():
    features = panel(20_000, 1, 16)
    tracemalloc.start()
    windows = Windows.over(features, lookback=60)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(windows) == 20_000 - 59
    assert np.shares_memory(windows[0], features)
    assert peak < 0.3 * features.nbytes


def test_cells_covers_rows_of_training_windows_only():
    windows = Windows.over(panel(10, 2, 1), lookback=3)
    cells = windows.take((windows.rows <= 4) & (windows.columns == 1)).cells()
    assert cells[:, 0].sum() == 0
    assert np.flatnonzero(cells[:, 1]).tolist() == [0, 1, 2, 3, 4]


def test_scaling_ignores_every_row_outside_the_training_windows():
    features = panel()
    windows = Windows.over(features, lookback=5)
    train = windows.take(windows.rows < 20)
    for kind in SCALERS:
        before = fit_scaling(kind, train, ["a", "b"])
        changed = features.copy()
        changed[20:] = 1e9
        after = fit_scaling(kind, Windows(changed, 5, train.rows, train.columns), ["a", "b"])
        assert before.center.tobytes() == after.center.tobytes()
        assert before.scale.tobytes() == after.scale.tobytes()


@pytest.mark.parametrize("kind", SCALERS)
def test_scaling_matches_scikit_learn_and_inverts(kind):
    preprocessing = pytest.importorskip("sklearn.preprocessing", reason="scikit-learn is the oracle")
    oracle = {"standard": "StandardScaler", "minmax": "MinMaxScaler", "robust": "RobustScaler"}[kind]
    values = np.random.default_rng(1).normal(5, 3, size=(200, 3))
    scaling = Scaling.fit(kind, list(values.T), ["a", "b", "c"])
    scaled = scaling.transform(values)
    np.testing.assert_allclose(scaled, getattr(preprocessing, oracle)().fit_transform(values), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(scaling.inverse(scaled), values, rtol=1e-14)


@pytest.mark.parametrize("kind", SCALERS)
def test_constant_column_is_named_and_refused(kind):
    with pytest.raises(DataError, match="'volume' is constant at 7 over the 50 training rows"):
        Scaling.fit(kind, [np.arange(50.0), np.full(50, 7.0)], ["close", "volume"])


def test_robust_scaler_advises_standard_when_only_the_quartiles_coincide():
    values = np.r_[np.zeros(90), np.ones(10)]
    with pytest.raises(DataError, match="interquartile range of zero"):
        Scaling.fit("robust", [values], ["flag"])


def test_scaling_refuses_values_that_are_not_finite():
    with pytest.raises(PriceError, match="finite"):
        Scaling.fit("standard", [np.array([1.0, np.inf])], ["close"])


@pytest.mark.parametrize("lookback", [0, -3, 2.5, "60", None, True])
def test_lookback_must_be_a_whole_positive_number(lookback):
    with pytest.raises(InputError, match="lookback must be a whole number"):
        Windows.over(panel(), lookback)


def test_unknown_scaler_suggests_the_nearest():
    with pytest.raises(UnknownName, match="Did you mean 'standard'"):
        Scaling.fit("standart", [np.arange(3.0)], ["close"])


def test_more_lookback_than_bars_gives_no_window():
    assert len(Windows.over(panel(5), lookback=6)) == 0
