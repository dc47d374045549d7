"""What may stand in an artifact: arrays, documents and text, written one way and refused where they would change."""

import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ArtifactError, InputError

MANIFEST = "manifest.json"
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
CHANGED = "It was changed or cut after saving; restore the directory from a copy or save anew."


def contents_of(
    tensors: Mapping[str, Mapping[str, np.ndarray]],
    documents: Mapping[str, Any],
    texts: Mapping[str, str],
    allow_nan: Collection[str],
) -> dict[str, bytes]:
    """Return the files of an artifact by name."""
    from safetensors.numpy import save as to_safetensors

    contents: dict[str, bytes] = {}
    for name, arrays in tensors.items():
        ready = {key: _storable(name, key, array) for key, array in arrays.items()}
        refuse_nonfinite(name, ready, name in allow_nan)
        contents[f"{name}.safetensors"] = to_safetensors(ready)
    for name, value in documents.items():
        _refuse_unfaithful(value, f"{name}.json")
        contents[f"{name}.json"] = canonical(value)
    for name, text in texts.items():
        if name.endswith((".json", ".safetensors")):
            raise InputError(f"{name} is no plain text file. Pass it under documents or tensors.")
        contents[name] = text.encode()
    for name in contents:
        if name == MANIFEST or not NAME.fullmatch(name):
            raise InputError(
                f"A file's name in an artifact must match {NAME.pattern} and not be {MANIFEST}, was {name!r}."
            )
    return contents


def _storable(file: str, key: str, array: np.ndarray) -> np.ndarray:
    array = np.asarray(array)
    if array.dtype.kind not in "fiub" or array.dtype.itemsize > 8:
        raise InputError(
            f"{file}.safetensors: {key!r} must be an array of floats, integers or bools, was {array.dtype}. "
            "Save times as int64 nanoseconds and words in a document."
        )
    return np.require(array, array.dtype.newbyteorder("="), "C")


def _refuse_unfaithful(value: Any, where: str, depth: int = 0) -> None:
    """Refuse what JSON would silently turn into something else."""
    if depth > 100:
        raise InputError(f"{where}: a document may be at most 100 levels deep.")
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise InputError(f"{where}: keys must be str, was {key!r}. JSON would rename it.")
            _refuse_unfaithful(item, where, depth + 1)
    elif isinstance(value, list | tuple):
        for item in value:
            _refuse_unfaithful(item, where, depth + 1)
    elif isinstance(value, float | np.floating) and not np.isfinite(value):
        raise InputError(f"{where}: numbers must be finite, was {value}. Write None for what is unknown.")


def canonical(value: Any) -> bytes:
    """Return the one way this value is written: sorted keys, one item a line, no NaN."""

    def plain(item: Any) -> Any:
        if isinstance(item, np.generic):
            return item.item()
        if isinstance(item, Mapping):
            return dict(item)
        raise InputError(
            f"A document holds JSON values only (dict, list, str, int, float, bool, None), was {type(item).__name__}. "
            "Arrays belong under tensors."
        )

    text = json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False, default=plain)
    return text.encode() + b"\n"


def strict_json(text: str) -> Any:
    """Parse JSON and raise `ValueError` for what parsers differ about: repeated keys, NaN, infinity, 1e999.

    Examples
    --------
    >>> strict_json('{"lookback": 60}')
    {'lookback': 60}
    >>> strict_json('{"lookback": 60, "lookback": 61}')
    Traceback (most recent call last):
    ...
    ValueError: a key appears twice
    """

    def no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) != len(pairs):
            raise ValueError("a key appears twice")
        return dict(pairs)

    def no_constants(word: str) -> Any:
        raise ValueError(f"{word} is no JSON number")

    def finite(word: str) -> float:
        value = float(word)
        if not np.isfinite(value):
            raise ValueError(f"{word} is too large")
        return value

    return json.loads(text, object_pairs_hook=no_duplicates, parse_constant=no_constants, parse_float=finite)


def parse_json(data: bytes, name: str, path: Path) -> Any:
    try:
        return strict_json(decode(data, name, path))
    except (ValueError, RecursionError) as error:
        if isinstance(error, ArtifactError):
            raise
        raise ArtifactError(f"{path}: {name} is not the JSON we write: {error}. {CHANGED}") from error


def parse_tensors(data: bytes, name: str, path: Path) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load as from_safetensors

    try:
        return from_safetensors(data)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{path}: {name} is not a safetensors file: {error}. {CHANGED}") from error


def decode(data: bytes, name: str, path: Path) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ArtifactError(f"{path}: {name} must be UTF-8 text: {error}. {CHANGED}") from error


def refuse_nonfinite(
    file: str, arrays: Mapping[str, np.ndarray], allow_nan: bool, where: str = "", error: type[Exception] = InputError
) -> None:
    for key, array in arrays.items():
        if array.dtype.kind != "f":
            continue
        bad = np.isinf(array) if allow_nan else ~np.isfinite(array)
        count = int(bad.sum())
        if count:
            first = tuple(int(i) for i in np.argwhere(bad)[0])
            raise error(
                f"{where}{file}.safetensors: {key!r} must be finite, but {count} of {array.size} values are not, "
                f"the first at {first}. Fit again on clean data, or name the file in allow_nan if gaps belong there."
            )
