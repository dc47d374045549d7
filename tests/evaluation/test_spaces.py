import numpy as np
import pytest

import longshort as ls
from longshort import features as f
from longshort.errors import InputError, UnknownName
from longshort.evaluation.spaces import Choices, Range, Space, params_of
from longshort.models import AutoRegression, Ridge

LSTM = ls.LSTM([f.log_return()], lookback=10, hidden=(8,))


def test_a_list_is_choices_and_a_tuple_a_range():
    space = Space(
        LSTM, {"lookback": [20, 60], "dropout": (0, 0.5), "lr": (1e-4, 1e-2, "log"), "batch_size": (16, 64, 16)}
    )
    assert space.dimensions == {
        "lookback": Choices((20, 60)),
        "dropout": Range(0.0, 0.5),
        "lr": Range(1e-4, 1e-2, log=True),
        "batch_size": Range(16, 64, step=16),
    }
    assert space.dimensions["batch_size"].whole
    assert not space.dimensions["dropout"].whole


def test_whole_ends_of_a_fraction_mean_fractions():
    assert not Space(LSTM, {"clip": (0, 5)}).dimensions["clip"].whole
    assert Space(LSTM, {"epochs": (np.int64(1), np.int64(5))}).dimensions["epochs"] == Range(1, 5)


def test_a_candidate_differs_from_the_forecaster_in_the_named_arguments_only():
    space = Space(LSTM, {"lookback": [20], "layers": (1, 3), "units": (4, 8)})
    made = space.candidate({"lookback": 20, "layers": 3, "units": 4})
    assert made.get_params() == LSTM.get_params() | {"lookback": 20, "hidden": (4, 4, 4)}
    assert LSTM.lookback == 10


@pytest.mark.parametrize(("given", "hidden"), [({"units": 4}, (4,)), ({"layers": 2}, (8, 8))])
def test_layers_or_units_alone_keep_the_other(given, hidden):
    name = next(iter(given))
    assert Space(LSTM, {name: (1, 4)}).candidate(given).hidden == hidden


@pytest.mark.parametrize(
    ("space", "error", "says"),
    [
        ({"lokback": [20]}, UnknownName, "LSTM has no parameter 'lokback' to tune. Did you mean 'lookback'?"),
        ({}, InputError, "A space maps names to values"),
        ({"lookback": []}, InputError, "offers no choice"),
        ({"lookback": 20}, InputError, r"a list of choices \[20, 60, 120\], or a range"),
        ({"hidden": ((32,), (64,))}, InputError, "a list of choices"),
        ({"hidden": (16, 128)}, InputError, r"holds 16, which does not work: .* tune units and layers"),
        ({"lookback": [20, 0]}, InputError, "The space of lookback holds 0, which does not work"),
        ({"dropout": (0.0, 1.0)}, InputError, "holds 1.0, which does not work: dropout must lie in"),
        ({"lr": (1e-2, 1e-4, "log")}, InputError, "from a lower to a higher"),
        ({"lr": (0.0, 1e-2, "log")}, InputError, "must begin above 0"),
        ({"lr": (1e-3, float("nan"))}, InputError, "finite"),
        ({"batch_size": (16, 64, 0)}, InputError, "A step of batch_size"),
        ({"batch_size": (16, 64, 1.5)}, InputError, "whole numbers"),
        ({"lr": {"low": 1e-4, "hihg": 1e-2}}, UnknownName, "Did you mean 'high'"),
        ({"lr": {"low": 1e-4}}, InputError, "needs low and high"),
        ({"hidden": [(8,)], "units": (4, 8)}, InputError, "not both"),
    ],
)
def test_a_space_that_cannot_be_is_refused_with_advice(space, error, says):
    with pytest.raises(error, match=says):
        Space(LSTM, space)


def test_the_forecasters_own_values_count_where_the_space_holds_them():
    space = {"lookback": [10, 20], "units": (4, 16), "lr": (0.01, 0.1), "batch_size": (16, 64, 16), "epochs": (1, 9)}
    assert Space(LSTM, space).own() == {"lookback": 10, "units": 8, "batch_size": 32}


def test_a_forecaster_without_get_params_is_read_by_its_constructor():
    ridge = Ridge([f.log_return()], f.forward_return(), lookback=3)
    assert params_of(ridge)["lookback"] == 3
    assert Space(ridge, {"lookback": (1, 20)}).candidate({"lookback": 7}).lookback == 7
    assert Space(AutoRegression(f.forward_return()), {"spans": [(1,), (1, 5)]}).candidate({"spans": (1,)}).spans == (1,)


def test_a_space_described_and_read_back_is_the_same_in_the_same_order():
    given = {
        "lr": (1e-4, 1e-2, "log"),
        "features": [[f.log_return()], [f.log_return(), f.rsi(14)]],
        "hidden": [(8,), (16, 8)],
        "batch_size": (16, 64, 16),
    }
    space = Space(LSTM, given)
    again = Space(LSTM, Space.given(LSTM.to_dict(), space.to_list()))
    assert list(again.dimensions) == list(given)
    assert again.to_list() == space.to_list()


def test_the_widest_candidates_need_the_longest_window_of_every_feature_set():
    wide = Space(LSTM, {"lookback": (5, 40), "features": [[f.log_return()], [f.rsi(14)]]}).widest()
    assert [one.lookback for one in wide] == [40, 40]
    assert len({str(one.features) for one in wide}) == 2
