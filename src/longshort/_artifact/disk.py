"""Files and directories written so that a crash leaves the old or the new one, never a mix.

How a directory is replaced::

    .name.<token>.new/   1. written and fsynced, file by file
    name -> .name.<token>.old/   2. the old version steps aside   } under a lock of the parent folder
    .name.<token>.new/ -> name   3. the new one takes its place   }
    .name.<token>.old/   4. removed

After a crash between 2 and 3 there is no ``name``, only ``.old``: `standing` finds that, and the next `publish` clears
up. Plain renames were chosen over Linux's ``renameat2(RENAME_EXCHANGE)`` because they exist everywhere.
"""

import contextlib
import logging
import math
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from ..errors import ArtifactError, InputError

_STALE_SECONDS = 24 * 3600.0

logger = logging.getLogger(__name__)


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
    path = absolute(path)
    stage = path.with_name(f".{path.name}.{secrets.token_hex(8)}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(stage, data.encode() if isinstance(data, str) else data)
        os.replace(stage, path)
        sync_directory(path.parent)
    except OSError as error:
        raise ArtifactError(
            f"{path} was not written: {error.strerror or error}. What stood there before is untouched. "
            "Free space or correct the permissions, and write again."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            os.unlink(stage)


def write_file(path: Path, data: bytes) -> None:
    """Write a new file and wait until it is on the disk."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(handle, view[: 2**26]) :]
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_directory(path: Path) -> None:
    """Wait until the names in a directory are on the disk."""
    if os.name == "nt":  # directories cannot be opened there; the file system journals renames itself
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def publish(stage: Path, path: Path) -> None:
    """Put a finished directory where another may stand; on an error everything is as it was."""
    aside = stage.with_suffix(".old")
    replaced = os.path.lexists(path)
    if replaced:
        os.rename(path, aside)
    try:
        os.rename(stage, path)
        sync_directory(path.parent)
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
def locked(folder: Path) -> Iterator[None]:
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


def absolute(path: str | os.PathLike[str]) -> Path:
    """Return the path from the root, or raise `InputError` where it has no name."""
    path = Path(os.path.abspath(path))
    if not path.name or "\0" in str(path):
        raise InputError(f"An artifact needs a path with a name, was {str(path)!r}.")
    return path


def files_in(folder: Path, prefix: str = "") -> set[str]:
    """Return what a directory holds, files of folders as ``folder/file``; links are named, never followed."""
    names: set[str] = set()
    with os.scandir(folder) as entries:
        for entry in entries:
            name = prefix + entry.name
            inside = files_in(Path(entry.path), f"{name}/") if entry.is_dir(follow_symlinks=False) else None
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
        return -math.inf


def identity(path: Path) -> tuple[int, int, int, int] | None:
    """Tell one directory from the one that replaced it; a freed inode number is soon given out again."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns


def standing(path: Path) -> Path:
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
