import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from longshort.errors import InputError
from longshort.forecast import Resumable
from longshort.portfolio import Rule, VolatilityTarget, view_of
from longshort.portfolio.memory import packed, unpacked

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # on a busy machine
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.integers() | st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=10,
)


@patient
@given(values)
def test_whatever_is_remembered_comes_back_the_same(value):
    assert unpacked(json.loads(json.dumps(packed(value), allow_nan=False))) == value


@patient
@given(
    arrays.arrays(
        st.sampled_from([np.float64, np.int64, np.bool_, np.uint8]), arrays.array_shapes(min_dims=1, min_side=0)
    )
)
def test_arrays_come_back_with_all_their_bits(array):
    back = unpacked(json.loads(json.dumps(packed(array), allow_nan=False)))
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(back, array)
    if array.dtype == np.float64:
        np.testing.assert_array_equal(np.signbit(back[~np.isnan(back)]), np.signbit(array[~np.isnan(array)]))


@pytest.mark.parametrize("value", [object(), {1, 2}, b"bits", lambda view: view])
def test_what_json_cannot_hold_is_refused(value):
    with pytest.raises(InputError, match="cannot be kept"):
        packed(value)


@pytest.mark.parametrize("value", [{"array": [1.0]}, {"tuple": 3}, {"float": "one"}, {"unknown": 1}, {"items": [1]}])
def test_damage_is_refused(value):
    with pytest.raises(InputError, match="damaged"):
        unpacked(value)


class Alternating:
    """A function of views that remembers."""

    def __init__(self):
        self.long = False

    def __call__(self, view):
        self.long = not self.long
        return np.full(len(view.symbols), 0.5 if self.long else -0.5)

    def snapshot(self):
        return {"long": self.long}

    def restore(self, kept):
        self.long = kept["long"]


@pytest.mark.parametrize("wrap", [Rule, lambda rule: VolatilityTarget(rule, gross=0.8)])
def test_a_function_with_a_memory_of_its_own_is_asked_for_it(wrap):
    view = view_of(("KO",))
    first = wrap(Alternating()).stepper(("KO",))
    assert isinstance(first, Resumable)
    first(view)
    second = wrap(Alternating()).stepper(("KO",))
    second.restore(first.snapshot())
    np.testing.assert_array_equal(second(view), first(view))


def test_a_policy_of_ones_own_without_a_memory_is_not_taken_to_have_none():
    class Own:
        def stepper(self, symbols):
            return lambda view: np.zeros(1)

        def to_dict(self):
            return {}

    with pytest.raises(InputError, match="cannot be kept"):
        VolatilityTarget(Own()).stepper(("KO",)).snapshot()
