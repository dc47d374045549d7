"""Who else is fitted on the same rows: the simple models that comment on a study, by name or as forecasters."""

from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import InputError, UnknownName, did_you_mean
from ..forecast import Forecaster, target_of

LADDER = "ladder"
READ_FEATURES = ("ridge", "gradient boosting", "support vectors")
NAMES = ("ar", "har", *READ_FEATURES)
Given = str | Iterable[str | Forecaster] | Mapping[str, Forecaster] | None


def challengers(forecaster: Forecaster, target: Any, given: Given, taken: set[str]) -> dict[str, Forecaster]:
    """Return the challengers by a name that no other row of the table has.

    Parameters
    ----------
    forecaster : Forecaster
        The model they challenge; they read its features.
    target : Target
        What it forecasts.
    given : str, sequence, mapping or None
        As `walk_forward` takes them.
    taken : set of str
        Names of the other rows.

    Examples
    --------
    >>> from longshort import features as f, models as m
    >>> model = m.Ridge([f.log_return()], f.forward_volatility())
    >>> list(challengers(model, model.target, None, set())), list(challengers(model, model.target, ["ar"], set()))
    (['har'], ['ar'])
    """
    if given is None:
        return _default(forecaster, target)
    if isinstance(given, str):
        if given != LADDER:
            raise UnknownName(f"baselines was {given!r}. {did_you_mean(given, [LADDER])} A list takes single names.")
        given = ("ridge", "har" if target.info.kind == "volatility" else "ar", "gradient boosting", "support vectors")
    pairs: list[tuple[str, Any]]
    if isinstance(given, Mapping):
        pairs = [(str(name), one) for name, one in given.items()]
    else:
        pairs = [(_spelt(one), one) if isinstance(one, str) else (called(one), one) for one in given]
    found: dict[str, Forecaster] = {}
    for name, one in pairs:
        rival = _built(one, forecaster, target) if isinstance(one, str) else one
        check_forecaster("A challenger", rival)
        info = target_of(rival).info
        if info != target.info:
            raise InputError(
                f"A challenger must predict what the model predicts ({target.info}), but {name} predicts {info}. "
                f"Pass target={target!r}."
            )
        while name in found or name in taken:
            name += " (refitted)"
        found[name] = rival
    return found


def check_forecaster(name: str, value: Any) -> None:
    """Raise `InputError` for what is no forecaster."""
    if isinstance(value, type) or not isinstance(value, Forecaster):
        found = f"the class {value.__name__}" if isinstance(value, type) else repr(value)
        raise InputError(
            f"{name} must be a forecaster, an object with target, fit, predict and to_dict such as "
            f"LSTM(...) or models.Ridge(...), was {found}."
        )


def called(forecaster: Any) -> str:
    """Return what the table calls a challenger."""
    return str(getattr(forecaster, "name", "") or type(forecaster).__name__)


def _default(forecaster: Any, target: Any) -> dict[str, Forecaster]:
    from ..models.baselines import HAR, AutoRegression, Ridge

    found: dict[str, Forecaster] = {}
    if getattr(forecaster, "program_", None) is not None and not isinstance(forecaster, Ridge):
        found["ridge"] = Ridge(forecaster.program_, target=target)
    if target.info.kind == "volatility":
        return found if isinstance(forecaster, HAR) else found | {"har": HAR(target)}
    return found if isinstance(forecaster, AutoRegression) else found | {"ar": AutoRegression(target)}


def _spelt(name: str) -> str:
    return name.strip().lower().replace("_", " ")


def _built(name: str, forecaster: Any, target: Any) -> Forecaster:
    """Return the challenger of this name, on the features of the model."""
    from .. import models

    word, program = _spelt(name), getattr(forecaster, "program_", None)
    if word not in NAMES:
        raise UnknownName(f"There is no challenger {name!r}. {did_you_mean(word, NAMES)}")
    if word in READ_FEATURES and program is None:
        raise InputError(
            f"The challenger {name!r} reads the features of the model, but {type(forecaster).__name__} has none. Pass "
            "a forecaster instead of its name, such as models.Ridge([...], target)."
        )
    if word in ("ar", "har"):
        return (models.HAR if word == "har" else models.AutoRegression)(target)
    makers = {"ridge": models.Ridge, "gradient boosting": models.gradient_boosting}
    return makers.get(word, models.support_vectors)(program, target)
