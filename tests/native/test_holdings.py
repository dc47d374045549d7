"""The arithmetic of holdings: the bits of the numpy formulas it stands for, whatever the numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as of

from longshort.errors import InputError
from longshort.native import core
from longshort.orders import MOST_MICRO, steps_of

ABSURD = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-300, 1e300, 0.3, 1.0, 2.0**52]
numbers = st.one_of(st.sampled_from(ABSURD), st.floats(-1e6, 1e6), st.floats(width=64))
prices = st.one_of(st.just(0.0), st.floats(0.01, 1e4), st.integers(1, 10**7).map(lambda cents: cents / 100))


def columns(elements, dtype=np.float64, n=3):
    return of.arrays(dtype, n, elements=elements)


def same(found, expected):
    assert found.dtype == expected.dtype
    assert np.array_equal(found, expected, equal_nan=found.dtype.kind == "f")


def from_first_to_last(values):
    return np.add.accumulate(values)[-1]  # `sum` makes up for rounding from Python 3.12 on


@given(columns(prices), columns(numbers))
def test_prices_are_taken_where_there_are_any(before, close):
    expected = before.copy()
    np.copyto(expected, close, where=(close > 0) & (close < np.inf))
    core.take_prices(before, close)
    same(before, expected)


@given(columns(st.integers(-(10**6), 10**6), np.int64), columns(prices))
def test_plain_positions_are_worth_whole_millionths(lots, price):
    values = np.empty(3)
    gross, micro = core.worth(lots, np.ones(3), price, values)
    same(values, lots * 1.0 * price)
    assert gross == from_first_to_last(abs(values))
    expected = sum(n * round(p * 1e6) for n, p in zip(lots.tolist(), price.tolist(), strict=True))
    assert type(micro) is int
    assert micro == expected == int(lots @ np.rint(price * 1e6).astype(np.int64))


@given(columns(st.integers(-(10**6), 10**6), np.int64), columns(st.sampled_from([0.001, 50.0, 1.0])), columns(prices))
def test_values_of_other_lots_are_products_and_left_to_the_instrument_to_round(lots, sizes, price):
    values = np.empty(3)
    gross, micro = core.worth(lots, sizes, price, values)
    same(values, lots * sizes * price)
    assert gross == from_first_to_last(abs(values))
    assert (micro is None) == bool((sizes != 1.0).any())


@pytest.mark.parametrize("price", [np.nan, np.inf, 1e200, MOST_MICRO / 1e6])
def test_what_no_ledger_counts_has_no_whole_value(price):
    gross, micro = core.worth(np.array([1, 0]), np.ones(2), np.array([price, 1.0]), np.empty(2))
    assert not gross < MOST_MICRO / 1e6
    assert micro is None


@given(
    columns(numbers),
    st.floats(1e-3, 1e9),
    columns(st.one_of(prices, st.just(np.nan))),
    columns(st.sampled_from([1.0, 0.001, 50.0])),
    columns(st.integers(-(10**6), 10**6), np.int64),
    columns(st.sampled_from([0, 0, 1, 3]), np.uint8),
)
def test_the_change_is_rounded_as_orders_are_and_what_cannot_be_traded_has_none(w, equity, price, size, lots, state):
    change = np.empty(3)
    core.lots_toward(w, equity, price, size, lots, state, change)
    with np.errstate(all="ignore"):
        expected = steps_of(w * equity / (price * size), 1.0) - lots
    expected[state != 0] = np.nan
    same(change, expected)
    size_of = np.abs(change)
    assert core.where_some(change) == np.flatnonzero((size_of >= 1.0) & (size_of < np.inf)).tolist()


@given(columns(numbers, n=4))
def test_missing_and_infinite_numbers_are_seen(values):
    assert core.any_nan(values) == bool(np.isnan(values).any())
    assert core.all_finite(values) == bool(np.isfinite(values).all())


def test_arrays_of_other_types_and_layouts_are_read_as_numpy_reads_them():
    wide = np.arange(12.0).reshape(4, 3)
    before = np.zeros(4)
    core.take_prices(before, wide[:, 1])
    assert before.tolist() == [1, 4, 7, 10]
    core.take_prices(before, np.array([2, 0, 3, 0]))
    assert before.tolist() == [2, 4, 3, 10]
    assert core.any_nan([1, np.nan])
    assert not core.any_nan(np.float32([1, 2])[::-1])
    assert core.worth(np.array([2]), [1], [1.5], np.empty(1)) == (3.0, 3_000_000)


def test_arrays_that_do_not_fit_are_refused():
    one, two = np.ones(1), np.ones(2)
    with pytest.raises(InputError, match="close must have one number for each of 2 symbols, had 1"):
        core.take_prices(two, one)
    with pytest.raises(InputError, match="prices must have one number"):
        core.worth(np.array([1, 2]), two, one, np.empty(2))
    with pytest.raises(InputError, match="another type"):
        core.worth(two, two, two, np.empty(2))
    with pytest.raises(InputError, match="lots and state"):
        core.lots_toward(two, 1.0, two, two, np.array([1, 2]), np.zeros(1, np.uint8), np.empty(2))
    sealed = np.ones(2)
    sealed.setflags(write=False)
    with pytest.raises(InputError, match="another type"):
        core.take_prices(sealed, two)
    with pytest.raises(InputError, match="close must be an array of numbers"):
        core.take_prices(two, "many")
