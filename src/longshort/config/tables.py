"""The [model] table of a study file: forecasters, features and targets by their short names.

::

    [model]                           [model]                          [model]
    kind = "LSTM"                     kind = "Conformal"               kind = "Ensemble"
    features = ["rsi(14)", "macd"]    coverage = 0.9                   combine = "stacking"
    target = "forward_return(5)"      [model.forecaster]               [[model.forecasters]]
    hidden = [32]                     kind = "Ridge"                   kind = "LSTM"
                                      features = "technical"           [[model.forecasters]]
                                                                       kind = "AutoRegression"

Arguments are literals: this is data, not code.
"""

import ast
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import InputError, UnknownName, did_you_mean
from ..models.nesting import CLASSES, class_of

PRESETS = ("keras_tutorial", "lstm_64_64_32_1", "returns")
KINDS = (*CLASSES, *PRESETS)
_NESTED = ("forecaster", "forecasters")
_USUAL = {"target": "forward_log_return(1)", "features": "technical"}


def known(given: Mapping[str, Any], names: Any, where: str) -> None:
    """Raise `UnknownName` for a key that is not among `names`."""
    for key in given:
        if key not in names:
            raise UnknownName(f"{where} has no key {key!r}. {did_you_mean(key, names)}")


def preset(name: str) -> Callable[..., Any]:
    """Return the function of `models.presets` with this name.

    Examples
    --------
    >>> preset("returns")(epochs=3).epochs
    3
    """
    from ..models import presets

    if name not in PRESETS:
        raise UnknownName(f"There is no preset {name!r}. {did_you_mean(str(name), PRESETS)}")
    return getattr(presets, name)


def check_model(table: Any, where: str) -> None:
    """Raise `InputError` where a [model] table, or one inside it, says something nobody knows."""
    if not isinstance(table, Mapping):
        raise InputError(f"{where} must be a table, was {table!r}.")
    kind = table.get("kind", "LSTM")
    if kind not in KINDS:
        raise UnknownName(f"{where} kind was {kind!r}. {did_you_mean(str(kind), KINDS)}")
    known(table, ("kind", *_arguments(kind)), where)
    for name in _NESTED:
        if name in table:
            for inner, path in _inside(table[name], f"{where} {name}"):
                check_model(inner, path)


def model_of(table: Mapping[str, Any]) -> Any:
    """Return the unfitted forecaster that a [model] table describes; without a ``kind`` it is an `LSTM`.

    Examples
    --------
    >>> model = model_of({"kind": "Conformal", "coverage": 0.8, "forecaster": {"hidden": [8], "lookback": 10}})
    >>> model.coverage, model.forecaster.hidden
    (0.8, (8,))
    """
    kind = table.get("kind", "LSTM")
    given = {name: _argument(name, value) for name, value in table.items() if name != "kind"}
    if kind in PRESETS:
        return preset(kind)(**given)
    cls = class_of(kind)
    for name, parameter in inspect.signature(cls.__init__).parameters.items():
        if parameter.default is parameter.empty and name in _USUAL and name not in given:
            given[name] = _argument(name, _USUAL[name])
        if name in _NESTED and name not in given and parameter.default is parameter.empty:
            raise InputError(f'A model of kind "{kind}" needs a table [model.{name}] with a model inside it.')
    try:
        return cls(**given)
    except TypeError as error:
        told = ", ".join(given) or "nothing"
        raise InputError(f"A model of kind {kind!r} cannot be made of {told}: {error}.") from error


def choices(name: str, values: Any) -> Any:
    """Read what a [tune.space] table offers for an argument."""
    if name == "features" and isinstance(values, list):
        return [_features(one) for one in values]
    return [tuple(one) if isinstance(one, list) else one for one in values] if isinstance(values, list) else values


def _arguments(kind: str) -> list[str]:
    """Return the names of a model's arguments; presets take those of an LSTM."""
    cls = class_of("LSTM" if kind in PRESETS else kind)
    return [name for name in inspect.signature(cls.__init__).parameters if name != "self"]


def _inside(value: Any, where: str) -> list[tuple[Any, str]]:
    """Return the models in an argument: one table, a list of tables, or tables by name."""
    if isinstance(value, list):
        return [(one, f"{where}[{i}]") for i, one in enumerate(value)]
    if isinstance(value, Mapping) and value and all(isinstance(one, Mapping) for one in value.values()):
        return [(one, f"{where}.{name}") for name, one in value.items()]
    return [(value, where)]


def _argument(name: str, value: Any) -> Any:
    if name in _NESTED:
        made = [model_of(inner) for inner, _ in _inside(value, name)]
        if isinstance(value, list):
            return made
        return dict(zip(value, made, strict=True)) if _inside(value, name)[0][0] is not value else made[0]
    if name == "features":
        return _features(value)
    if name == "target":
        return _named(value, "target")
    return tuple(value) if isinstance(value, list) else value


def _features(given: Any) -> Any:
    if isinstance(given, list):
        return [_named(one, "feature") for one in given]
    return _named(given, "feature")


def _named(given: Any, what: str) -> Any:
    """Build a feature or a target from ``"rsi(14)"`` or ``{name = "rsi", period = 14}``."""
    from .. import features

    if isinstance(given, Mapping):
        keywords = {k: v for k, v in given.items() if k != "name"}
        name, positional = str(given.get("name", "")), []
    else:
        name, positional, keywords = _call(given, what)
    choices = [n for n in features.__all__ if n[:1].islower() and n.startswith("forward_") == (what == "target")]
    if name not in choices:
        raise UnknownName(f"A {what} was {given!r}. {did_you_mean(name, choices)}")
    try:
        return getattr(features, name)(*positional, **keywords)
    except TypeError as error:
        raise InputError(f"The {what} {given!r} was called wrongly: {error}.") from error


def _call(text: Any, what: str) -> tuple[str, list[Any], dict[str, Any]]:
    """Take ``name`` or ``name(1, key=2)`` apart. Only literal arguments: this is data, not code."""
    wrong = InputError(f'A {what} is written as "rsi", "rsi(14)" or {{name = "rsi", n = 14}}, was {text!r}.')
    if not isinstance(text, str):
        raise wrong
    try:
        node = ast.parse(text.strip(), mode="eval").body
        if isinstance(node, ast.Name):
            return node.id, [], {}
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
            raise wrong
        positional = [ast.literal_eval(one) for one in node.args]
        keywords = {str(one.arg): ast.literal_eval(one.value) for one in node.keywords if one.arg}
    except (SyntaxError, ValueError) as error:
        raise wrong from error
    return node.func.id, positional, keywords
