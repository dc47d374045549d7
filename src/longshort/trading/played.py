"""How the result of a backtest is kept beside its study: the series it left, its scores and the hash of its orders."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import artifact

KIND, VERSION = "backtest", 1
_SERIES = ("time", "equity", "returns", "weights", "positions")


@dataclass(frozen=True, eq=False)
class Played:
    """A backtest of which the numbers were kept, not the objects.

    Parameters
    ----------
    series : mapping of str to array
        ``time``, ``equity``, ``returns`` (n,), ``weights`` and ``positions`` (n, n_symbols).
    kept : mapping
        What `summary_of` says.
    """

    series: Mapping[str, np.ndarray]
    kept: Mapping[str, Any]


def summary_of(result: Any) -> dict[str, Any]:
    """Return what fits on a page about a result, kept or fresh, as a JSON-able mapping."""
    if isinstance(result, Played):
        return dict(result.kept)
    return {
        "name": result.name,
        "first": str(result.bars.dates[0]),
        "last": str(result.bars.dates[-1]),
        "rows": len(result.time),
        "configuration": finite(result.configuration),
        "scores": finite(dict(result.scores())),
        "verdict": {"exit_code": result.verdict().exit_code, "sentence": result.verdict().sentence},
        "order_hash": result.order_hash,
        "n_orders": len(result.orders),
        "n_fills": len(result.fills),
        "n_refusals": len(result.refusals),
    }


def save_result(path: str | os.PathLike[str], result: Any) -> str:
    """Write a result into one directory, atomically, and return the artifact's digest."""
    series = {name: np.ascontiguousarray(getattr(result, name)) for name in _SERIES}
    documents = {"backtest": summary_of(result)}
    return artifact.save(
        path, KIND, tensors={"series": series}, documents=documents, version=VERSION, allow_nan={"series"}
    )


def load_result(path: str | os.PathLike[str]) -> Played:
    """Read what `save_result` wrote."""
    found = artifact.load(path, KIND, version=VERSION, allow_nan={"series"})
    return Played(found.tensors["series"], found.documents["backtest"])


def finite(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a mapping as JSON holds it: numpy's numbers as Python's, None for those that are not finite."""

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return finite(value)
        if isinstance(value, list | tuple):
            return [plain(one) for one in value]
        if isinstance(value, np.generic):
            value = value.item()
        return None if isinstance(value, float) and not np.isfinite(value) else value

    return {name: plain(value) for name, value in values.items()}
