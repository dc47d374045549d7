"""Policies, limits, costs and the rest of a strategy as tables of TOML, and back: data, by short names, never code.

::

    refit = "6M"

    [policy]
    kind = "VolatilityTarget"
    target = 0.1
    [policy.policy]                  # the one it scales
    kind = "TopK"
    k = 3

    [limits]
    stop_loss = 0.05
    take_profit = "none"             # TOML has no word for None

    [costs]
    half_spread_bp = 2.0
    commission = {kind = "per share", rate = 0.005}
"""

import inspect
import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from .. import portfolio
from ..errors import InputError, UnknownName, did_you_mean
from ..orders import BasisPoints, Costs, PerShare, Tiered, Twice
from ..portfolio import Limits
from ..strategy import Strategy

NONE = "none"
COMMISSIONS = {"basis points": BasisPoints, "per share": PerShare, "tiered": Tiered, "twice": Twice}


def policy_of(described: Mapping[str, Any], where: str = "[policy]") -> Any:
    """Return the policy that a table describes: its ``kind``, a name of `longshort.portfolio`, and its arguments.

    Parameters
    ----------
    described : mapping
        As `to_dict` gives it, or a table of a TOML file; a table inside with a ``kind`` is a policy too. Without a
        ``kind`` it is `LongShort`.
    where : str
        What messages call the place.

    Examples
    --------
    >>> policy_of({"kind": "TopK", "k": 2, "short": 1}).k
    2
    >>> policy_of({"kind": "LongShrot"})
    Traceback (most recent call last):
    ...
    longshort.errors.UnknownName: [policy] has no kind 'LongShrot'. Did you mean 'LongShort'?
    """
    return _built({"kind": "LongShort", **described}, policies(), where, policy_of)


def policies() -> dict[str, Any]:
    """Return the policies that a file may name: what `longshort.portfolio` offers, and no function."""
    found = {
        name: getattr(portfolio, name) for name in portfolio.__all__ if name not in ("LSTMPrior", "Limits", "Rule")
    }
    return {n: v for n, v in found.items() if isinstance(v, type) and hasattr(v, "stepper") and hasattr(v, "to_dict")}


def limits_of(described: Mapping[str, Any], where: str = "[limits]") -> Any:
    """Return the limits that a table describes; what is left out keeps its default.

    Examples
    --------
    >>> limits_of({"stop_loss": 0.05}).stop_loss
    0.05
    """
    return _built({"kind": "Limits", **described}, {"Limits": Limits}, where)


def costs_of(described: Mapping[str, Any], where: str = "[costs]") -> Costs:
    """Return the costs that a table describes; those left out keep their default.

    Examples
    --------
    >>> costs_of({"half_spread_bp": 1.0, "commission": {"kind": "basis points", "bp": 2.0}})
    Costs(basis points, half spread 1 bp, impact 0.5, borrow 0.5 %, financing 6 %)
    """
    return _built({"kind": "Costs", **described}, {"Costs": Costs}, where, _commission)


def _commission(described: Mapping[str, Any], where: str) -> Any:
    return _built(described, COMMISSIONS, where, _commission)


def strategy_of(tables: Mapping[str, Any], forecaster: Any = None, contract: Any = None) -> Strategy:
    """Return the strategy that tables describe, around a forecaster.

    Examples
    --------
    >>> strategy_of({"refit": "6M", "policy": {"kind": "Sign"}}).refit
    '6M'
    """
    refit = _plain(tables.get("refit"))
    policy, limits = policy_of(tables.get("policy", {})), limits_of(tables.get("limits", {}))
    return Strategy(forecaster, policy, limits, refit, contract)


def check_table(kind: str, described: Any, where: str) -> Any:
    """Return what a table ``policy``, ``limits`` or ``costs`` builds; `InputError` where it says what nobody knows."""
    if not isinstance(described, Mapping):
        raise InputError(f"{where} must be a table, was {described!r}.")
    return {"policy": policy_of, "limits": limits_of, "costs": costs_of}[kind](described, where)


def _built(
    described: Mapping[str, Any], classes: Mapping[str, Any], where: str, inner: Callable[..., Any] | None = None
) -> Any:
    """Return what a table describes: its class by ``kind``, one of `classes`, and keywords."""
    kind = str(described.get("kind"))
    if kind not in classes:
        raise UnknownName(f"{where} has no kind {kind!r}. {did_you_mean(kind, classes)}")
    known = list(inspect.signature(classes[kind]).parameters)
    given = {}
    for name, value in described.items():
        if name == "kind":
            continue
        if name not in known:
            raise UnknownName(f"{where} has no key {name!r}. {did_you_mean(name, known)}")
        if inner is not None and isinstance(value, Mapping) and "kind" in value:
            value = inner(value, f"{where} {name}")
        given[name] = _plain(value)
    try:
        return classes[kind](**given)
    except (TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{where} cannot be read: {kind} says: {error}") from error


def _plain(value: Any) -> Any:
    """Return a value as constructors take it: tuples for lists, None for its word."""
    if isinstance(value, list):
        return tuple(_plain(one) for one in value)
    return None if value == NONE else value


# ---------------------------------------------------------------------------------------------------------- as text


def to_toml(tables: Mapping[str, Any], head: str = "") -> str:
    """Return mappings as the text of a TOML file that `tomllib` reads back to the same, None as ``"none"``.

    Examples
    --------
    >>> print(to_toml({"refit": "6M", "limits": {"stop_loss": 0.05, "take_profit": None}}), end="")
    refit = "6M"
    <BLANKLINE>
    [limits]
    stop_loss = 0.05
    take_profit = "none"
    """
    lines = [head] if head else []
    _write(tables, (), lines)
    return "\n".join(lines) + "\n"


def _write(table: Mapping[str, Any], path: tuple[str, ...], lines: list[str]) -> None:
    inner = {name: value for name, value in table.items() if isinstance(value, Mapping)}
    if path:
        lines += ["", f"[{'.'.join(map(_key, path))}]"]
    lines += [f"{_key(name)} = {_value(value)}" for name, value in table.items() if name not in inner]
    for name, value in inner.items():
        _write(value, (*path, name), lines)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _text(name)


def _value(value: Any) -> str:
    if value is None:
        return f'"{NONE}"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else ("nan" if value != value else "inf" if value > 0 else "-inf")
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(k)} = {_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    raise InputError(f"A table holds text, numbers, true, false, lists and tables, was {type(value).__name__}.")


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
