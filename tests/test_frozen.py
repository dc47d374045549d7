"""Frozen classes: everything that a frozen dataclass does, and no way to change one."""

import copy
import inspect
import pickle
from dataclasses import FrozenInstanceError, dataclass, fields, is_dataclass, replace

import pytest

from longshort._frozen import frozen
from longshort.forecast import ForecastRow, Refusal, View
from longshort.orders import Cancel, Ended, Fill, Money, Order, Posting, Shares

ORDER = Order("1", "KO", Shares(10), 5, "limit", limit=Money(7))
ALL = [
    ORDER,
    Cancel("1", 0),
    Fill("1", "KO", 0, 10, 50, 1),
    Posting("lieu", "KO", 0, 5),
    Ended("1", 0, "flat", 4),
    Shares(3),
    Money(5),
    Refusal(0, "cash", "KO", 1.0, 2.0, 1.0, 0.0),
]
named = pytest.mark.parametrize("one", ALL, ids=lambda one: type(one).__name__)


@named
def test_nothing_can_be_set_changed_or_deleted(one):
    before = repr(one)
    for name in (*(f.name for f in fields(one)), "anything"):
        with pytest.raises((FrozenInstanceError, AttributeError, TypeError)):
            setattr(one, name, 1)
        with pytest.raises((FrozenInstanceError, AttributeError, TypeError)):
            delattr(one, name)
    with pytest.raises((FrozenInstanceError, AttributeError, TypeError)):
        one.__class__ = object
    assert repr(one) == before
    assert not hasattr(one, "__dict__")


@named
def test_copies_are_equal_of_the_same_class_and_frozen(one):
    for other in (copy.copy(one), copy.deepcopy(one), pickle.loads(pickle.dumps(one)), replace(one)):
        assert other == one
        assert hash(other) == hash(one)
        assert type(other) is type(one)
        with pytest.raises(FrozenInstanceError):
            setattr(other, fields(one)[0].name, None)


def test_it_is_what_a_frozen_dataclass_of_the_same_fields_is():
    def body(maker):
        @maker
        class Body:
            """A body."""

            a: int
            b: str = "x"
            c: float | None = None

            def double(self):
                return 2 * self.a

        return Body

    ours, theirs = body(frozen(order=True)), body(dataclass(frozen=True, slots=True, order=True))
    assert inspect.signature(ours) == inspect.signature(theirs)
    assert ours.__doc__ == theirs.__doc__
    assert is_dataclass(ours)
    assert ours.__slots__ == theirs.__slots__
    assert repr(ours(1, c=2.0)) == repr(theirs(1, c=2.0))
    assert hash(ours(1)) == hash(theirs(1))
    assert ours(1) < ours(2)
    assert ours(3).double() == 6
    assert type(ours(1)) is ours
    for wrong in ((), (1, "x", None, 4)):
        with pytest.raises(TypeError):
            ours(*wrong)


def test_what_is_wrong_is_refused_as_ever():
    @frozen
    class Even:
        n: int

        def __post_init__(self):
            if self.n % 2:
                raise ValueError("odd")

    assert Even(2).n == 2
    with pytest.raises(ValueError, match="odd"):
        Even(3)
    with pytest.raises(ValueError, match="odd"):
        replace(Even(2), n=3)


def test_frozen_classes_are_final():
    with pytest.raises(TypeError, match="Shares is final"):
        type("More", (Shares,), {})


def test_views_compare_by_identity():
    for cls in (View, ForecastRow):
        assert cls.__eq__ is object.__eq__
        assert cls.__setattr__ is not object.__setattr__


def test_what_is_made_without_arguments_is_frozen_too():
    @frozen
    class Both:
        a: int = 1
        b: str = "x"

    assert (Both(), Both(2)) == (Both(1, "x"), Both(a=2))
    with pytest.raises(FrozenInstanceError):
        Both().a = 3
    assert type(Both()) is type(Both(2)) is Both
