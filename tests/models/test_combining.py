import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longshort.models.combining import Combination, Diversity, inverse_errors, learn, stack


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.floats(0.0, 0.95))
def test_stacking_weights_solve_the_penalised_least_squares(seed, k, shrinkage):
    """The optimum of a convex problem is where no allowed change helps (Karush, Kuhn and Tucker)."""
    rng = np.random.default_rng(seed)
    said = rng.normal(size=(50, k)) + rng.normal(size=(50, 1))
    outcome = rng.normal(size=50)
    weights = stack(outcome, said, shrinkage)
    penalty = shrinkage / (1 - shrinkage) * (said**2).mean()
    slope = said.T @ (said @ weights - outcome) / 50 + penalty * (weights - 1 / k)
    assert (weights >= 0).all()
    assert (slope > -1e-9).all()
    np.testing.assert_allclose(slope[weights > 0], 0, atol=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_stacking_without_shrinkage_is_non_negative_least_squares(seed):
    nnls = pytest.importorskip("scipy.optimize").nnls
    rng = np.random.default_rng(seed)
    said, outcome = rng.normal(size=(40, 5)), rng.normal(size=40)
    np.testing.assert_allclose(stack(outcome, said), nnls(said, outcome)[0], atol=1e-10)


def test_a_member_said_twice_shares_its_weight_and_breaks_nothing():
    said = np.random.default_rng(0).normal(size=(60, 1)).repeat(2, axis=1)
    weights = stack(0.8 * said[:, 0], said)
    assert weights.sum() == pytest.approx(0.8)


def test_full_shrinkage_is_equality():
    rng = np.random.default_rng(1)
    said, outcome = rng.normal(size=(30, 4)), rng.normal(size=30)
    for how in ("weighted", "stacking"):
        assert learn(how, outcome, said, 1.0).weights == pytest.approx((0.25,) * 4)


def test_a_perfect_member_gets_all_weight():
    assert inverse_errors(np.array([0.0, 1.0, 0.0])).tolist() == [0.5, 0.0, 0.5]
    assert inverse_errors(np.array([2.0, 1.0, 4.0])).tolist() == pytest.approx([2 / 7, 4 / 7, 1 / 7])


def test_rules_by_hand():
    said = [np.array([1.0, 2.0, np.nan]), np.array([2.0, 4.0, 1.0]), np.array([9.0, 0.0, 1.0])]
    equal = (1 / 3,) * 3
    np.testing.assert_array_equal(Combination("mean", equal)(said), [4.0, 2.0, np.nan])
    np.testing.assert_array_equal(Combination("median", equal)(said), [2.0, 2.0, np.nan])
    np.testing.assert_allclose(Combination("weighted", (0.5, 0.25, 0.25))(said), [3.25, 2.0, np.nan])
    # stacked weights of 0.5 in all: half the change from 10
    half = Combination("stacking", (0.5, 0.0, 0.0))
    np.testing.assert_allclose(half([v + 10 for v in said], 10.0), [10.5, 11.0, np.nan])
    assert half.shares == (1.0, 0.0, 0.0)
    assert Combination("stacking", (0.0, 0.0)).shares == (0.5, 0.5)


def test_deviation_of_a_mixture_by_hand():
    """Two normals at -1 and 1 of deviation 2: variance 4 + 1."""
    rule = Combination.equal("mean", 2)
    means, stds = [np.array([-1.0]), np.array([1.0])], [np.array([2.0])] * 2
    assert rule.spread(means)[0] == 1.0
    assert rule.deviation(means, stds)[0] == pytest.approx(np.sqrt(5.0))


def test_error_is_mean_error_less_ambiguity_by_hand():
    """Krogh and Vedelsby (1995), equation 6: y = 0, members say 1 and -3 with weights 3/4 and 1/4.

    Ensemble 3/4 - 3/4 = 0, error 0; members' errors 1 and 9, weighted 3; distances 1 and 9, weighted 3.
    """
    rule = Combination("weighted", (0.75, 0.25))
    said = np.array([[1.0, -3.0], [1.0, -3.0]])
    found = Diversity.of(("a", "b"), rule, np.zeros(2), said, rule(list(said.T)))
    assert (found.error, found.mean_error, found.ambiguity) == (0.0, 3.0, 3.0)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 6))
def test_error_is_mean_error_less_ambiguity_for_any_convex_weights(seed, k):
    rng = np.random.default_rng(seed)
    outcome, said = rng.normal(size=30), rng.normal(size=(30, k))
    weights = rng.dirichlet(np.ones(k))
    rule = Combination("weighted", tuple(weights))
    found = Diversity.of(tuple("abcdef"[:k]), rule, outcome, said, rule(list(said.T)))
    assert found.error == pytest.approx(found.mean_error - found.ambiguity, abs=1e-12)
    np.testing.assert_allclose(found.correlation, np.corrcoef((said - outcome[:, None]).T), atol=1e-12)


def test_diversity_survives_being_written_down():
    rng = np.random.default_rng(3)
    outcome, said = rng.normal(size=30), rng.normal(size=(30, 2))
    said[:, 1] = outcome + 1.0  # a constant error correlates with nothing
    found = Diversity.of(("a", "b"), Combination.equal("mean", 2), outcome, said, said.mean(axis=1))
    again = Diversity.from_dict(found.to_dict())
    assert repr(again) == repr(found)
    assert found.to_dict()["correlation"][0][1] is None
