"""Saved things: directories with a hashed manifest, replaced as a whole. The one way anything is saved.

An artifact is a directory of ``*.safetensors`` (arrays), ``*.json`` (documents) and plain text files, listed with size
and SHA-256 in ``manifest.json``, which carries its own digest. There is no pickle and no code inside, so opening one
runs nothing. The bytes depend on the content only: the same content gives the same digest. What is made of other saved
things holds them as folders, each an artifact of its own whose files the outer manifest lists too.

How a directory is replaced so that a crash leaves the old or the new one, never a mix::

    .name.<token>.new/   1. written and fsynced, file by file
    name -> .name.<token>.old/   2. the old version steps aside   } under a lock of the parent folder
    .name.<token>.new/ -> name   3. the new one takes its place   }
    .name.<token>.old/   4. removed

After a crash between 2 and 3 there is no ``name``, only ``.old``: `load` opens that, and the next `save` clears up.
Plain renames were chosen over Linux's ``renameat2(RENAME_EXCHANGE)`` because they exist everywhere.
"""

import contextlib
import hashlib
import json
import logging
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .errors import ArtifactError, InputError

FORMAT, MANIFEST, MAX_BYTES = 1, "manifest.json", 2**32
_MAX_MANIFEST_BYTES, _STALE_SECONDS = 2**22, 24 * 3600.0
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Artifact:
    """What `load` found, checked.

    Parameters
    ----------
    path : Path
        Where it was read from.
    kind : str
        What it is, such as ``"lstm"``.
    version : int
        Version of the kind's own layout; whoever loads an older one migrates it.
    digest : str
        SHA-256 over the manifest, hence over every byte of the artifact.
    written_by : str
        Version of longshort that saved it.
    tensors : dict of str to dict of str to ndarray
        One dictionary of arrays per ``*.safetensors`` file, by the file's name without ending.
    documents : dict of str to JSON value
        One value per ``*.json`` file, by the file's name without ending.
    texts : dict of str to str
        Other files by full name, such as ``"strategy.toml"``.
    parts : dict of str to Path
        Artifacts inside this one: their bytes are checked, and their own class opens them.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> folder = tempfile.mkdtemp() + "/model"
    >>> digest = save(folder, "demo", tensors={"weights": {"w": np.arange(3.0)}}, documents={"model": {"lookback": 60}})
    >>> found = load(folder, "demo")
    >>> found.tensors["weights"]["w"], found.documents["model"], found.digest == digest
    (array([0., 1., 2.]), {'lookback': 60}, True)
    """

    path: Path
    kind: str
    version: int
    digest: str
    written_by: str
    tensors: dict[str, dict[str, np.ndarray]] = field(default_factory=dict, repr=False)
    documents: dict[str, Any] = field(default_factory=dict, repr=False)
    texts: dict[str, str] = field(default_factory=dict, repr=False)
    parts: dict[str, Path] = field(default_factory=dict, repr=False)


def save(
    path: str | os.PathLike[str],
    kind: str,
    *,
    tensors: Mapping[str, Mapping[str, np.ndarray]] | None = None,
    documents: Mapping[str, Any] | None = None,
    texts: Mapping[str, str] | None = None,
    parts: Mapping[str, str | os.PathLike[str]] | None = None,
    version: int = 1,
    allow_nan: Collection[str] = (),
) -> str:
    """Write an artifact and return its digest. An existing one of the same kind is replaced as a whole, or stays.

    Parameters
    ----------
    path : path-like
        The directory to create or replace. Missing parents are created. A directory that is not an artifact of this
        kind, or that holds files of yours, is refused and left alone.
    kind : str
        What it is; `load` asks for the same word.
    tensors : mapping of name to mapping of name to ndarray, optional
        Each entry becomes ``name.safetensors``. Arrays are numeric or bool.
    documents : mapping of name to JSON value, optional
        Each entry becomes ``name.json``. NaN and infinity are refused; write None.
    texts : mapping of file name to str, optional
        Other files, with their ending: ``{"strategy.toml": "..."}``.
    parts : mapping of name to path, optional
        Saved artifacts to copy in, each as a folder of that name.
    version : int, default=1
        Version of the kind's own layout.
    allow_nan : collection of str
        Names in `tensors` whose floats may be NaN (forecasts before the warm-up). Infinity is always refused.

    Examples
    --------
    >>> import os, tempfile
    >>> folder = os.path.join(tempfile.mkdtemp(), "notes")
    >>> first = save(folder, "note", documents={"note": {"text": "buy low"}})
    >>> second = save(folder, "note", documents={"note": {"text": "sell high"}})
    >>> load(folder, "note").documents["note"]["text"], sorted(os.listdir(folder))
    ('sell high', ['manifest.json', 'note.json'])
    """
    path = _absolute(path)
    if not _NAME.fullmatch(kind):
        raise InputError(f"An artifact's kind must match {_NAME.pattern}, was {kind!r}.")
    contents = _contents(tensors or {}, documents or {}, texts or {}, allow_nan)
    contents |= {f"{name}/{file}": data for name, part in (parts or {}).items() for file, data in _bytes_of(name, part)}
    contents = dict(sorted(contents.items()))
    manifest = _manifest(kind, version, contents)
    stage = path.with_name(f".{path.name}.{secrets.token_hex(8)}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path.parent):
            _refuse_to_overwrite(path, kind)
            os.mkdir(stage)
            for name, data in contents.items():
                (stage / name).parent.mkdir(parents=True, exist_ok=True)
                _write_file(stage / name, data)
            for folder in {(stage / name).parent for name in contents if "/" in name}:
                _sync_directory(folder)
            _write_file(stage / MANIFEST, _canonical(manifest))
            _sync_directory(stage)
            _publish(stage, path)
    except OSError as error:
        raise ArtifactError(
            f"{path} was not saved: {error.strerror or error}. What stood there before is untouched. "
            "Free space or correct the permissions, and save again."
        ) from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    return manifest["digest"]


def load(
    path: str | os.PathLike[str],
    kind: str,
    *,
    version: int = 1,
    allow_nan: Collection[str] = (),
    max_bytes: int = MAX_BYTES,
) -> Artifact:
    """Read an artifact, or refuse it: every byte is checked before it is used.

    Parameters
    ----------
    path : path-like
        The directory `save` wrote.
    kind : str
        What it must be.
    version : int, default=1
        Newest layout of this kind the caller understands; a newer one is refused.
    allow_nan : collection of str
        Names of tensor files whose floats may be NaN.
    max_bytes : int
        Largest total size to read.

    Examples
    --------
    >>> import os, tempfile
    >>> folder = os.path.join(tempfile.mkdtemp(), "m")
    >>> digest = save(folder, "note", documents={"note": "buy low"})
    >>> with open(os.path.join(folder, "note.json"), "w") as file:
    ...     characters = file.write('"buy  "')
    >>> load(folder, "note")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    longshort.errors.ArtifactError: .../m: note.json must have 10 bytes, has 7. It was changed or cut after saving; ...
    """
    path = _absolute(path)
    for _ in range(5):  # another process may replace the directory while we read it: then read the new one
        found = _standing(path)
        before = _identity(found)
        try:
            return _read(found, path, kind, version, allow_nan, max_bytes)
        except (ArtifactError, OSError) as error:
            standing = _identity(path)
            if standing == before or (standing is None and found != path):
                if isinstance(error, OSError):
                    raise ArtifactError(f"{path} cannot be read: {error.strerror or error}.") from error
                raise
    raise ArtifactError(f"{path} was replaced five times while it was read. Let its writer finish, then load again.")


def write_atomic(path: str | os.PathLike[str], data: bytes | str) -> None:
    """Write one file so that a crash leaves the old or the new content.

    Examples
    --------
    >>> import os, tempfile
    >>> file = os.path.join(tempfile.mkdtemp(), "report.html")
    >>> write_atomic(file, "<p>no evidence of an edge</p>")
    >>> Path(file).read_text()
    '<p>no evidence of an edge</p>'
    """
    path = _absolute(path)
    stage = path.with_name(f".{path.name}.{secrets.token_hex(8)}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_file(stage, data.encode() if isinstance(data, str) else data)
        os.replace(stage, path)
        _sync_directory(path.parent)
    except OSError as error:
        raise ArtifactError(
            f"{path} was not written: {error.strerror or error}. What stood there before is untouched. "
            "Free space or correct the permissions, and write again."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            os.unlink(stage)


# What goes in -------------------------------------------------------------------------------------------------------


def _contents(
    tensors: Mapping[str, Mapping[str, np.ndarray]],
    documents: Mapping[str, Any],
    texts: Mapping[str, str],
    allow_nan: Collection[str],
) -> dict[str, bytes]:
    from safetensors.numpy import save as to_safetensors

    contents: dict[str, bytes] = {}
    for name, arrays in tensors.items():
        ready = {key: _storable(name, key, array) for key, array in arrays.items()}
        _refuse_nonfinite(name, ready, name in allow_nan)
        contents[f"{name}.safetensors"] = to_safetensors(ready)
    for name, value in documents.items():
        _refuse_unfaithful(value, f"{name}.json")
        contents[f"{name}.json"] = _canonical(value)
    for name, text in texts.items():
        if name.endswith((".json", ".safetensors")):
            raise InputError(f"{name} is no plain text file. Pass it under documents or tensors.")
        contents[name] = text.encode()
    for name in contents:
        if name == MANIFEST or not _NAME.fullmatch(name):
            raise InputError(
                f"A file's name in an artifact must match {_NAME.pattern} and not be {MANIFEST}, was {name!r}."
            )
    return contents


def _bytes_of(name: str, path: str | os.PathLike[str]) -> Iterator[tuple[str, bytes]]:
    """Yield the files of a saved artifact by name, to become part of another."""
    path = _absolute(path)
    if not _NAME.fullmatch(name):
        raise InputError(f"A part's name in an artifact must match {_NAME.pattern}, was {name!r}.")
    for file in (*_read_manifest(path, path)["files"], MANIFEST):
        yield file, (path / file).read_bytes()


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


def _canonical(value: Any) -> bytes:
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


def _manifest(kind: str, version: int, contents: Mapping[str, bytes]) -> dict[str, Any]:
    from . import __version__

    files = {name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in contents.items()}
    manifest = {"files": files, "format": FORMAT, "kind": kind, "longshort": __version__, "version": version}
    return {**manifest, "digest": _digest(manifest)}


def _digest(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(_canonical({key: value for key, value in manifest.items() if key != "digest"})).hexdigest()


# How it gets to disk ------------------------------------------------------------------------------------------------


def _write_file(path: Path, data: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(handle, view[: 2**26]) :]
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_directory(path: Path) -> None:
    if os.name == "nt":  # directories cannot be opened there; the file system journals renames itself
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _publish(stage: Path, path: Path) -> None:
    aside = stage.with_suffix(".old")
    replaced = os.path.lexists(path)
    if replaced:
        os.rename(path, aside)
    try:
        os.rename(stage, path)
        _sync_directory(path.parent)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.rename(path, stage)
        if replaced:
            os.rename(aside, path)
        raise
    _clear_up(path)


def _clear_up(path: Path) -> None:
    """Remove what earlier versions and interrupted saves of this artifact left behind."""
    for old in _siblings(path, "old"):
        shutil.rmtree(old, ignore_errors=True)
    for new in _siblings(path, "new"):
        if time.time() - _modified(new) > _STALE_SECONDS:  # a younger one may belong to a process that is writing now
            shutil.rmtree(new, ignore_errors=True)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one process at a time save something in this folder (POSIX; the lock dies with the process)."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a file system without locks: the renames alone still leave old or new
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _refuse_to_overwrite(path: Path, kind: str) -> None:
    if not os.path.lexists(path):
        return
    if path.is_symlink() or not path.is_dir():
        raise ArtifactError(
            f"{path} must be a directory of ours or absent, but is a file or link. Choose another path."
        )
    present = _files_in(path)
    if not present:
        return
    advice = "Choose another path, or remove it yourself."
    if MANIFEST not in present:
        raise ArtifactError(f"{path} holds {len(present)} files but no {MANIFEST}: it is not an artifact. {advice}")
    manifest = _read_manifest(path, path)
    if manifest["kind"] != kind:
        raise ArtifactError(f"{path} holds a {manifest['kind']!r} and would be replaced by a {kind!r}. {advice}")
    extra = sorted(present - set(manifest["files"]) - {MANIFEST})
    if extra:
        raise ArtifactError(f"{path} also holds {', '.join(extra[:3])}, which saving would delete. {advice}")


# How it is read -----------------------------------------------------------------------------------------------------


def _absolute(path: str | os.PathLike[str]) -> Path:
    path = Path(os.path.abspath(path))
    if not path.name or "\0" in str(path):
        raise InputError(f"An artifact needs a path with a name, was {str(path)!r}.")
    return path


def _files_in(folder: Path, prefix: str = "") -> set[str]:
    """Return what a directory holds, files of folders as ``folder/file``; links are named, never followed."""
    names: set[str] = set()
    with os.scandir(folder) as entries:
        for entry in entries:
            name = prefix + entry.name
            inside = _files_in(Path(entry.path), f"{name}/") if entry.is_dir(follow_symlinks=False) else None
            names |= inside or {name}
    return names


def _siblings(path: Path, suffix: str) -> list[Path]:
    pattern = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{16}}\.{suffix}")
    try:
        names = os.listdir(path.parent)
    except OSError:
        return []
    return [path.parent / name for name in names if pattern.fullmatch(name)]


def _modified(path: Path) -> float:
    try:
        return os.lstat(path).st_mtime
    except OSError:
        return -np.inf


def _identity(path: Path) -> tuple[int, int, int, int] | None:
    """Tell one directory from the one that replaced it; a freed inode number is soon given out again."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns


def _standing(path: Path) -> Path:
    """Return the directory that holds the artifact: its own, or the one a crash left aside."""
    for _ in range(5):  # while another process replaces it, it may appear between the two looks
        if os.path.lexists(path):
            return path
        aside = _siblings(path, "old")
        if aside:
            newest = max(aside, key=_modified)
            logger.info("%s is read from %s: a save is under way or was interrupted.", path, newest.name)
            return newest
    raise ArtifactError(f"There is nothing at {path}. Check the path, or save there first.")


def _read(found: Path, path: Path, kind: str, version: int, allow_nan: Collection[str], max_bytes: int) -> Artifact:
    manifest = _read_manifest(found, path)
    if manifest["kind"] != kind:
        raise ArtifactError(f"{path} must hold a {kind!r}, holds a {manifest['kind']!r}. Load it with its own class.")
    if manifest["version"] > version:
        raise ArtifactError(
            f"{path} is a {kind!r} of version {manifest['version']}, written by longshort {manifest['longshort']}; "
            f"this installation reads up to {version}. Update longshort."
        )
    files = manifest["files"]
    present = _files_in(found) - {MANIFEST}
    if present != set(files):
        missing, extra = sorted(set(files) - present), sorted(present - set(files))
        parts = [f"missing {', '.join(missing[:3])}"] * bool(missing) + [f"not listed {', '.join(extra[:3])}"] * bool(
            extra
        )
        raise ArtifactError(
            f"{path} must hold the {len(files)} files of its manifest: {'; '.join(parts)}. Restore or save anew."
        )
    total = sum(entry["bytes"] for entry in files.values())
    if total > max_bytes:
        raise ArtifactError(
            f"{path} has {total} bytes, more than the {max_bytes} allowed. Pass max_bytes if you trust it."
        )
    artifact = Artifact(path, kind, manifest["version"], manifest["digest"], manifest["longshort"])
    for name, entry in files.items():
        data = _read_file(found / name, path, entry["bytes"], exact=True)
        if hashlib.sha256(data).hexdigest() != entry["sha256"]:
            raise ArtifactError(f"{path}: {name} does not match its SHA-256. {_CHANGED}")
        part, inside, _ = name.partition("/")
        if inside:
            artifact.parts[part] = found / part
            continue
        stem, _, ending = name.rpartition(".")
        if ending == "safetensors":
            artifact.tensors[stem] = _parse_tensors(data, name, path)
            _refuse_nonfinite(stem, artifact.tensors[stem], stem in allow_nan, f"{path}: ", ArtifactError)
        elif ending == "json":
            artifact.documents[stem] = _parse_json(data, name, path)
        else:
            artifact.texts[name] = _decode(data, name, path)
    return artifact


_CHANGED = "It was changed or cut after saving; restore the directory from a copy or save anew."


def _read_file(file: Path, path: Path, size: int, exact: bool) -> bytes:
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    if not stat.S_ISREG(os.lstat(file).st_mode):
        raise ArtifactError(f"{path}: {file.name} must be a plain file, is a link, folder or device. {_CHANGED}")
    handle = os.open(file, flags)
    with os.fdopen(handle, "rb") as stream:
        status = os.fstat(handle)
        if exact and status.st_size != size:
            raise ArtifactError(f"{path}: {file.name} must have {size} bytes, has {status.st_size}. {_CHANGED}")
        if status.st_size > size:
            raise ArtifactError(f"{path}: {file.name} must have at most {size} bytes, has {status.st_size}.")
        return stream.read(size)


def _read_manifest(found: Path, path: Path) -> dict[str, Any]:
    if found.is_symlink() or not found.is_dir():
        raise ArtifactError(f"{path} must be a directory, is a file or link. Name the directory that was saved.")
    if not os.path.lexists(found / MANIFEST):
        raise ArtifactError(
            f"{path} has no {MANIFEST}, so it is no artifact of longshort. Name the directory that was saved."
        )
    data = _read_file(found / MANIFEST, path, _MAX_MANIFEST_BYTES, exact=False)
    manifest = _parse_json(data, MANIFEST, path)
    if isinstance(manifest, dict) and isinstance(manifest.get("format"), int) and manifest["format"] > FORMAT:
        raise ArtifactError(
            f"{path} has format {manifest['format']}, this installation reads up to {FORMAT}. Update longshort."
        )
    if not _well_formed(manifest) or _canonical(manifest) != data or _digest(manifest) != manifest["digest"]:
        raise ArtifactError(f"{path}: {MANIFEST} is damaged. {_CHANGED}")
    return manifest


def _well_formed(manifest: Any) -> bool:
    wanted = {"files": dict, "format": int, "kind": str, "longshort": str, "version": int, "digest": str}
    if not isinstance(manifest, dict) or set(manifest) != set(wanted):
        return False
    if not all(type(manifest[key]) is wanted[key] for key in wanted) or manifest["format"] != FORMAT:
        return False
    return all(
        all(_NAME.fullmatch(part) for part in name.split("/"))
        and name != MANIFEST
        and isinstance(entry, dict)
        and set(entry) == {"bytes", "sha256"}
        and type(entry["bytes"]) is int
        and entry["bytes"] >= 0
        and isinstance(entry["sha256"], str)
        for name, entry in manifest["files"].items()
    )


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


def _parse_json(data: bytes, name: str, path: Path) -> Any:
    try:
        return strict_json(_decode(data, name, path))
    except (ValueError, RecursionError) as error:
        if isinstance(error, ArtifactError):
            raise
        raise ArtifactError(f"{path}: {name} is not the JSON we write: {error}. {_CHANGED}") from error


def _parse_tensors(data: bytes, name: str, path: Path) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load as from_safetensors

    try:
        return from_safetensors(data)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{path}: {name} is not a safetensors file: {error}. {_CHANGED}") from error


def _decode(data: bytes, name: str, path: Path) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ArtifactError(f"{path}: {name} must be UTF-8 text: {error}. {_CHANGED}") from error


def _refuse_nonfinite(
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
