"""Challengers by name: what is built, on whose features, and what is refused."""

import sys

import numpy as np
import pytest

import longshort as ls
from longshort import features as f
from longshort import ledger
from longshort.config import parse
from longshort.data import synthetic
from longshort.errors import InputError, SetupError, UnknownName
from longshort.evaluation.challengers import challengers
from longshort.models import HAR, AutoRegression, HistoricalMean, Ridge

FEATURES = [f.log_return().abs(), f.volatility(10)]
VOLATILITY, RETURN = f.forward_volatility(5), f.forward_log_return()


@pytest.fixture(autouse=True)
def own_ledger():
    with ledger.aside() as book:
        yield book


def names(model, given=None, taken=()):
    return list(challengers(model, model.target, given, set(taken)))


def test_volatility_is_challenged_by_har_and_everything_else_by_an_autoregression():
    lstm = ls.LSTM(FEATURES, VOLATILITY)
    assert list(challengers(lstm, lstm.target_, None, set())) == ["ridge", "har"]
    assert names(Ridge(FEATURES, RETURN)) == ["ar"]
    assert names(AutoRegression(VOLATILITY)) == ["har"]
    assert names(HAR(VOLATILITY)) == names(AutoRegression(RETURN)) == []


@pytest.mark.full
def test_the_ladder_is_climbed_on_the_same_rows_and_folds():
    bars = synthetic.garch(700, seed=1)
    study = ls.walk_forward(Ridge(FEATURES, VOLATILITY), bars, ls.WalkForward(400, 150), baselines="ladder")
    assert list(study.challengers) == ["ridge", "har", "gradient boosting", "support vectors"]
    for values in study.challengers.values():
        assert np.isfinite(values).all()
    np.testing.assert_array_equal(study.challengers["ridge"], study.forecast.mean)
    assert set(study.verdict().details["comparison"]["confidence_set_p"]) >= set(study.challengers)


def test_single_names_and_forecasters_may_be_mixed():
    found = challengers(Ridge(FEATURES, VOLATILITY), VOLATILITY, ["HAR", HistoricalMean(VOLATILITY), "ridge"], {"mean"})
    assert [(name, type(one).__name__) for name, one in found.items()] == [
        ("har", "HAR"),
        ("mean (refitted)", "HistoricalMean"),
        ("ridge", "Ridge"),
    ]
    assert found["ridge"].program_.to_dict() == Ridge(FEATURES, VOLATILITY).program_.to_dict()


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ("laddre", UnknownName, "Did you mean 'ladder'"),
        (["rigde"], UnknownName, "Did you mean 'ridge'"),
        (["har"], InputError, "HAR forecasts volatility"),
        ([HistoricalMean(VOLATILITY)], InputError, "must predict what the model predicts"),
        ([Ridge], InputError, "was the class Ridge"),
    ],
)
def test_what_cannot_challenge_is_refused(given, error, words):
    with pytest.raises(error, match=words):
        names(Ridge(FEATURES, RETURN), given)


def test_a_model_without_features_lends_none():
    with pytest.raises(InputError, match="HistoricalMean has none"):
        names(HistoricalMean(RETURN), ["ridge"])


def test_without_scikit_learn_the_extra_is_named(monkeypatch):
    for name in ("sklearn", "sklearn.ensemble", "sklearn.svm"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(SetupError, match=r"longshort\[sklearn\]"):
        names(Ridge(FEATURES, RETURN), "ladder")


def test_a_study_file_names_its_challengers():
    config = parse('[data]\nsymbols = ["SPY"]\n[walk_forward]\ntrain = "1Y"\nbaselines = ["ar", "ridge"]\n')
    assert config.walk_forward["baselines"] == ["ar", "ridge"]
    assert config.cv() == ls.WalkForward("1Y", "1Y")
