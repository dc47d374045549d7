"""The compiled core, built once per instruction-set level and chosen here, at import.

`core` is the chosen extension module; `isa` its level: ``"v4"`` (AVX-512), ``"v3"`` (AVX2) or ``"base"`` (a plain
build: arm64 and everything else that is not x86-64). The environment variable ``LONGSHORT_ISA`` overrides the choice,
which the tests use to run every level the machine has.
"""

import importlib
import importlib.util
import os
import platform
import sys
from types import ModuleType

from ..errors import SetupError

_REQUIRED_FLAGS = {
    "v4": {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
    "v3": {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"},
    "base": set(),
}
LEVELS = tuple(_REQUIRED_FLAGS)


def built_levels() -> tuple[str, ...]:
    """Return the levels this installation was built for, best first."""
    return tuple(level for level in LEVELS if importlib.util.find_spec(f"{__name__}._core_{level}"))


def runnable_levels() -> tuple[str, ...]:
    """Return the built levels this processor can run, best first."""
    flags = _cpu_flags()
    if flags is None:  # no list of flags on this system: only the conservative levels
        return tuple(level for level in built_levels() if level != "v4")
    return tuple(level for level in built_levels() if flags >= _REQUIRED_FLAGS[level])


def _cpu_flags() -> set[str] | None:
    if sys.platform == "linux" and platform.machine() == "x86_64":
        with open("/proc/cpuinfo") as info:
            for line in info:
                if line.startswith("flags"):
                    return set(line.split(":", 1)[1].split())
    return None


def _load() -> ModuleType:
    wanted = os.environ.get("LONGSHORT_ISA")
    if wanted is not None and wanted not in LEVELS:
        raise SetupError(f"LONGSHORT_ISA must be one of {', '.join(LEVELS)}, was {wanted!r}. Correct it or unset it.")
    runnable = runnable_levels()
    if wanted is not None and wanted not in runnable:
        raise SetupError(
            f"LONGSHORT_ISA asks for {wanted!r}, but this machine and build can run {', '.join(runnable) or 'none'}. "
            "Unset it or choose one of those."
        )
    if not runnable:
        built = ", ".join(built_levels()) or "no level at all"
        raise SetupError(
            f"The compiled core of longshort was built for {built}, and this processor can run none of these. "
            "Build it on this machine: pip install --no-binary longshort longshort."
        )
    return importlib.import_module(f"{__name__}._core_{wanted or runnable[0]}")


core = _load()
isa: str = core.isa
