"""What this machine offers: versions, processor, threads, caches, and what is missing with the way to get it."""

import importlib.util
import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_CORE = ("numpy", "pandas", "scipy", "matplotlib", "safetensors", "exchange-calendars", "yfinance", "typer", "rich")
_OPTIONAL = {
    "optuna": "tuning: pip install 'longshort[tune]'",
    "ray": "more than one machine: pip install 'longshort[ray]'",
    "pyarrow": "parquet files: pip install 'longshort[parquet]'",
    "torch": "gradient checks in the test suite: make test-full installs it",
    "playwright": "the report's browser test: make test-full installs it",
}


def doctor() -> dict[str, Any]:
    """Look at this machine and say what longshort finds.

    Returns
    -------
    dict
        JSON-able. ``problems`` lists what is wrong, each with its remedy; empty when all is well.

    Examples
    --------
    >>> found = doctor()
    >>> found["longshort"], found["problems"]
    ('0.1.0', [])
    """
    from .. import __version__

    problems: list[str] = []
    found: dict[str, Any] = {
        "longshort": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "native core": _native(problems),
        "cores": _cores(),
        "packages": {name: _version(name) for name in _CORE},
        "optional": {name: _version(name) for name in _OPTIONAL},
        "caches": _caches(),
        "offline data": _samples(problems),
    }
    problems += [f"{n} is missing: pip install {n}" for n, v in found["packages"].items() if v is None]
    found["missing"] = {n: _OPTIONAL[n] for n, v in found["optional"].items() if v is None}
    if _browser() is None:
        found["missing"]["chromium"] = "the report's browser test: apt-get install chromium"
    found["problems"] = problems
    return found


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _native(problems: list[str]) -> str | None:
    try:
        from ..native import core

        return str(core.__name__).rpartition("_core_")[2] or core.__name__
    except ImportError as error:
        problems.append(f"The native core does not load: {error}")
        return None


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def _caches() -> dict[str, str]:
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "longshort"
    if not base.exists():
        return {str(base): "empty"}
    size = sum(p.stat().st_size for p in base.rglob("*") if p.is_file())
    return {str(base): f"{size / 1e6:.1f} MB"}


def _samples(problems: list[str]) -> str | None:
    if importlib.util.find_spec("longshort.data") is None:
        problems.append("longshort.data is missing: install longshort again.")
        return None
    return "8 US symbols, 1998-01-02 to 2021-03-31"


def _browser() -> str | None:
    return next((p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if p), None)
