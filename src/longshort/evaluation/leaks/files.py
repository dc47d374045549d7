"""Things to audit that live in a file: `strategy.py:signal` names a function, a forecaster or features in it."""

import importlib.util
import inspect
import sys
from pathlib import Path
from typing import Any

from ...errors import InputError, UnknownName, did_you_mean


def load_object(where: str) -> Any:
    """Run a Python file and return what is called `name` in it.

    Parameters
    ----------
    where : str
        ``"file.py:name"``. A function without arguments is called, and what it returns is taken.

    Raises
    ------
    InputError
        There is no such file or name, or the file does not run.

    Examples
    --------
    >>> from pathlib import Path
    >>> _ = Path("signals.py").write_text("def change(frame):\\n    return frame['close'].diff()\\n")
    >>> load_object("signals.py:change").__name__
    'change'
    """
    path, _, name = where.rpartition(":")
    if not path or not name:
        raise InputError(f"What to audit must be given as file.py:name, was {where!r}.")
    if not Path(path).is_file():
        raise InputError(f"There is no file {path}. Check the path.")
    found = _module_of(Path(path).resolve())
    if not hasattr(found, name):
        raise UnknownName(f"{path} has no {name!r}. {did_you_mean(name, [n for n in vars(found) if n[0] != '_'])}")
    value = getattr(found, name)
    if inspect.isfunction(value) and not inspect.signature(value).parameters:
        try:
            return value()
        except (Exception, SystemExit) as error:
            raise InputError(f"{where} must return what to audit, but raised {_said(error)}") from error
    return value


def _module_of(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path} must be a Python file (.py).")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))  # so that it finds its neighbours
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise InputError(f"{path} does not run: {_said(error)}") from error
    finally:
        sys.path.remove(str(path.parent))
    return module


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
