"""What is public exists, is documented with an example, and costs nothing until it is used."""

import importlib
import inspect
import json
import pkgutil
import subprocess
import sys

import pytest

import longshort
from longshort.errors import SetupError

PACKAGES = ["longshort"] + [
    info.name
    for info in pkgutil.walk_packages(longshort.__path__, "longshort.")
    if info.ispkg and "native" not in info.name
]
HEAVY = (
    "torch",
    "pandas",
    "scipy",
    "matplotlib",
    "numpy",
    "safetensors",
    "exchange_calendars",
    "yfinance",
    "typer",
    "rich",
)


def public_of(package: str) -> list[tuple[str, str]]:
    module = importlib.import_module(package)
    return [(package, name) for name in getattr(module, "__all__", ())]


PUBLIC = [pair for package in PACKAGES for pair in public_of(package)]


@pytest.mark.parametrize(("package", "name"), PUBLIC, ids=lambda part: part.removeprefix("longshort."))
def test_an_exported_name_exists_and_shows_an_example(package, name):
    try:
        value = getattr(importlib.import_module(package), name)
    except SetupError as error:  # it asks for an extra that is not installed
        pytest.skip(str(error))
    if inspect.ismodule(value):
        assert value.__doc__, f"{package}.{name} needs a docstring: one line on what it is for"
        return
    if not (inspect.isclass(value) or inspect.isroutine(value)):
        return  # a constant
    text = inspect.getdoc(value) or ""
    if inspect.isclass(value) and (issubclass(value, Exception) or getattr(value, "_is_protocol", False)):
        assert text, f"{package}.{name} needs a docstring"
        return
    assert ">>>" in text, f"{package}.{name} needs an Examples section with code that runs"


@pytest.mark.parametrize("package", PACKAGES)
def test_dir_lists_what_is_exported_and_a_typo_gets_the_nearest_name(package):
    module = importlib.import_module(package)
    names = getattr(module, "__all__", [])
    assert set(names) <= set(dir(module))
    if hasattr(module, "_EXPORTS"):
        name = max(names, key=len)
        with pytest.raises(AttributeError, match=name):
            getattr(module, name[:-1] + name[-1] * 2)


def test_no_module_is_named_like_a_function_it_exports():
    for package in PACKAGES:
        for name, where in getattr(importlib.import_module(package), "_EXPORTS", {}).items():
            assert where is None or where.split(".")[-1] != name, (
                f"{package}.{name}: the module would hide the function"
            )


def modules_after(code: str) -> set[str]:
    command = [sys.executable, "-c", f"{code}\nimport sys, json\nprint(json.dumps(sorted(sys.modules)))"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return set(json.loads(done.stdout))


def test_importing_the_package_loads_nothing_but_its_table():
    added = modules_after("import longshort") - modules_after("import importlib, collections.abc")
    ours = {name for name in added if name.startswith("longshort")}
    assert ours == {"longshort", "longshort._lazy"}
    assert not {name.split(".")[0] for name in added} & set(HEAVY)
    assert len(added) < 20, sorted(added)


def test_training_code_loads_neither_torch_nor_pandas_nor_plotting():
    loaded = modules_after("import longshort.models.lstm, longshort.features, longshort.bars")
    assert not {name.split(".")[0] for name in loaded} & {"torch", "pandas", "scipy", "matplotlib", "yfinance", "typer"}


def test_listing_the_version_needs_no_installation():
    from importlib.metadata import PackageNotFoundError, version

    try:
        installed = version("longshort")
    except PackageNotFoundError:
        return
    assert installed == longshort.__version__
