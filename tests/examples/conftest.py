"""Examples are programs, not modules: they are loaded from their files."""

import importlib.util
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def loaded(path: Path):
    """Return a program as a module, without running it."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def shared():
    """The folder of data that are not in the repository."""
    folder = Path(os.environ.get("LONGSHORT_SHARED_DATA", ROOT.parent / "shared" / "data")).resolve()
    if not folder.is_dir():
        pytest.skip("needs the folder LONGSHORT_SHARED_DATA")
    return folder


@pytest.fixture(scope="session")
def example(shared):
    """Load an example by name, with its data."""

    def load(name: str):
        before = os.environ.get("LONGSHORT_SHARED_DATA")
        os.environ["LONGSHORT_SHARED_DATA"] = str(shared)
        try:
            return loaded(ROOT / "examples" / f"{name}.py")
        finally:
            if before is None:
                del os.environ["LONGSHORT_SHARED_DATA"]
            else:
                os.environ["LONGSHORT_SHARED_DATA"] = before

    return load
