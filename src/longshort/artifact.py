"""Saved things: directories with a hashed manifest, replaced as a whole. The one way anything is saved.

An artifact is a directory of ``*.safetensors`` (arrays), ``*.json`` (documents) and plain text files, listed with size
and SHA-256 in ``manifest.json``, which carries its own digest. There is no pickle and no code inside, so opening one
runs nothing. The bytes depend on the content only: the same content gives the same digest. What is made of other saved
things holds them as folders, each an artifact of its own whose files the outer manifest lists too.

A directory is replaced so that a crash leaves the old or the new one, never a mix; `_artifact.disk` says how.
"""

import hashlib
import os
import secrets
import shutil
import stat
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ._artifact.contents import (
    CHANGED,
    MANIFEST,
    NAME,
    canonical,
    contents_of,
    decode,
    parse_json,
    parse_tensors,
    refuse_nonfinite,
    strict_json,
)
from ._artifact.disk import (
    absolute,
    files_in,
    identity,
    locked,
    publish,
    standing,
    sync_directory,
    write_atomic,
    write_file,
)
from .errors import ArtifactError, InputError

__all__ = ["FORMAT", "MANIFEST", "MAX_BYTES", "Artifact", "load", "save", "strict_json", "write_atomic"]

FORMAT, MAX_BYTES = 1, 2**32
_MAX_MANIFEST_BYTES = 2**22


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
    path = absolute(path)
    if not NAME.fullmatch(kind):
        raise InputError(f"An artifact's kind must match {NAME.pattern}, was {kind!r}.")
    contents = contents_of(tensors or {}, documents or {}, texts or {}, allow_nan)
    contents |= {f"{name}/{file}": data for name, part in (parts or {}).items() for file, data in _bytes_of(name, part)}
    contents = dict(sorted(contents.items()))
    manifest = _manifest(kind, version, contents)
    stage = path.with_name(f".{path.name}.{secrets.token_hex(8)}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.parent):
            _refuse_to_overwrite(path, kind)
            os.mkdir(stage)
            for name, data in contents.items():
                (stage / name).parent.mkdir(parents=True, exist_ok=True)
                write_file(stage / name, data)
            for folder in {(stage / name).parent for name in contents if "/" in name}:
                sync_directory(folder)
            write_file(stage / MANIFEST, canonical(manifest))
            sync_directory(stage)
            publish(stage, path)
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
    path = absolute(path)
    for _ in range(5):  # another process may replace the directory while we read it: then read the new one
        found = standing(path)
        before = identity(found)
        try:
            return _read(found, path, kind, version, allow_nan, max_bytes)
        except (ArtifactError, OSError) as error:
            now = identity(path)
            if now == before or (now is None and found != path):
                if isinstance(error, OSError):
                    raise ArtifactError(f"{path} cannot be read: {error.strerror or error}.") from error
                raise
    raise ArtifactError(f"{path} was replaced five times while it was read. Let its writer finish, then load again.")


def _bytes_of(name: str, path: str | os.PathLike[str]) -> Iterator[tuple[str, bytes]]:
    """Yield the files of a saved artifact by name, to become part of another."""
    path = absolute(path)
    if not NAME.fullmatch(name):
        raise InputError(f"A part's name in an artifact must match {NAME.pattern}, was {name!r}.")
    for file in (*_read_manifest(path, path)["files"], MANIFEST):
        yield file, (path / file).read_bytes()


def _refuse_to_overwrite(path: Path, kind: str) -> None:
    if not os.path.lexists(path):
        return
    if path.is_symlink() or not path.is_dir():
        raise ArtifactError(
            f"{path} must be a directory of ours or absent, but is a file or link. Choose another path."
        )
    present = files_in(path)
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


def _manifest(kind: str, version: int, contents: Mapping[str, bytes]) -> dict[str, Any]:
    from . import __version__

    files = {name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in contents.items()}
    manifest = {"files": files, "format": FORMAT, "kind": kind, "longshort": __version__, "version": version}
    return {**manifest, "digest": _digest(manifest)}


def _digest(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical({key: value for key, value in manifest.items() if key != "digest"})).hexdigest()


def _read(found: Path, path: Path, kind: str, version: int, allow_nan: Collection[str], max_bytes: int) -> Artifact:
    manifest = _read_manifest(found, path)
    _refuse_unfit(manifest, found, path, kind, version, max_bytes)
    artifact = Artifact(path, kind, manifest["version"], manifest["digest"], manifest["longshort"])
    for name, entry in manifest["files"].items():
        data = _read_file(found / name, path, entry["bytes"], exact=True)
        if hashlib.sha256(data).hexdigest() != entry["sha256"]:
            raise ArtifactError(f"{path}: {name} does not match its SHA-256. {CHANGED}")
        part, inside, _ = name.partition("/")
        if inside:
            artifact.parts[part] = found / part
            continue
        stem, _, ending = name.rpartition(".")
        if ending == "safetensors":
            artifact.tensors[stem] = parse_tensors(data, name, path)
            refuse_nonfinite(stem, artifact.tensors[stem], stem in allow_nan, f"{path}: ", ArtifactError)
        elif ending == "json":
            artifact.documents[stem] = parse_json(data, name, path)
        else:
            artifact.texts[name] = decode(data, name, path)
    return artifact


def _refuse_unfit(
    manifest: Mapping[str, Any], found: Path, path: Path, kind: str, version: int, max_bytes: int
) -> None:
    """Raise `ArtifactError` unless kind, version, names and sizes are what the caller and the manifest say."""
    if manifest["kind"] != kind:
        raise ArtifactError(f"{path} must hold a {kind!r}, holds a {manifest['kind']!r}. Load it with its own class.")
    if manifest["version"] > version:
        raise ArtifactError(
            f"{path} is a {kind!r} of version {manifest['version']}, written by longshort {manifest['longshort']}; "
            f"this installation reads up to {version}. Update longshort."
        )
    files, present = manifest["files"], files_in(found) - {MANIFEST}
    if present != set(files):
        missing, extra = sorted(set(files) - present), sorted(present - set(files))
        odd = "; ".join(
            f"{what} {', '.join(names[:3])}" for what, names in (("missing", missing), ("not listed", extra)) if names
        )
        raise ArtifactError(f"{path} must hold the {len(files)} files of its manifest: {odd}. Restore or save anew.")
    total = sum(entry["bytes"] for entry in files.values())
    if total > max_bytes:
        raise ArtifactError(
            f"{path} has {total} bytes, more than the {max_bytes} allowed. Pass max_bytes if you trust it."
        )


def _read_file(file: Path, path: Path, size: int, exact: bool) -> bytes:
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    if not stat.S_ISREG(os.lstat(file).st_mode):
        raise ArtifactError(f"{path}: {file.name} must be a plain file, is a link, folder or device. {CHANGED}")
    handle = os.open(file, flags)
    with os.fdopen(handle, "rb") as stream:
        status = os.fstat(handle)
        if exact and status.st_size != size:
            raise ArtifactError(f"{path}: {file.name} must have {size} bytes, has {status.st_size}. {CHANGED}")
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
    manifest = parse_json(data, MANIFEST, path)
    if isinstance(manifest, dict) and isinstance(manifest.get("format"), int) and manifest["format"] > FORMAT:
        raise ArtifactError(
            f"{path} has format {manifest['format']}, this installation reads up to {FORMAT}. Update longshort."
        )
    if not _well_formed(manifest) or canonical(manifest) != data or _digest(manifest) != manifest["digest"]:
        raise ArtifactError(f"{path}: {MANIFEST} is damaged. {CHANGED}")
    return manifest


def _well_formed(manifest: Any) -> bool:
    wanted = {"files": dict, "format": int, "kind": str, "longshort": str, "version": int, "digest": str}
    if not isinstance(manifest, dict) or set(manifest) != set(wanted):
        return False
    if not all(type(manifest[key]) is wanted[key] for key in wanted) or manifest["format"] != FORMAT:
        return False
    return all(
        all(NAME.fullmatch(part) for part in name.split("/"))
        and name != MANIFEST
        and isinstance(entry, dict)
        and set(entry) == {"bytes", "sha256"}
        and type(entry["bytes"]) is int
        and entry["bytes"] >= 0
        and isinstance(entry["sha256"], str)
        for name, entry in manifest["files"].items()
    )
