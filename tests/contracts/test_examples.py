"""Every example runs: docstrings of the whole package, README and the guides, each file top to bottom."""

import doctest
import importlib
import importlib.util
import re
from pathlib import Path

import pytest

import longshort
from longshort.errors import SetupError

SOURCE = Path(longshort.__file__).parent
ROOT = Path(__file__).parents[2]
MODULES = sorted(
    ".".join(("longshort", *path.relative_to(SOURCE).with_suffix("").parts)).removesuffix(".__init__")
    for path in SOURCE.rglob("*.py")
    if path.name != "__main__.py"
)
GUIDES = sorted(
    path for path in (ROOT / "README.md", *ROOT.glob("docs/*.md"), ROOT / "CONTRIBUTING.md") if path.exists()
)
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LONGSHORT_CACHE", str(tmp_path / "cache"))


def imported(name: str):
    """Import a module, or skip the test where it asks for an extra that is not installed."""
    try:
        return importlib.import_module(name)
    except SetupError as error:
        pytest.skip(str(error))


EXTRAS = {
    "torch": r"\b(torch|nets|JointLSTM)\b",
    "sklearn": r"\b(sklearn|gradient_boosting|support_vectors|ladder)\b",
    "h5py": r"\.keras\b",
    "cvxpy": r"\b(MinVariance|MeanVariance|efficient_frontier|frontier_plot)\(",
    "skfolio": r"\bLSTMPrior\b",
    "optuna": r"\b(tune|Tuned|importance_plot|tuning_history)\(",
    "sqlalchemy": r"\b_shown_and_driven\(",
}


def needs_an_extra(test: doctest.DocTest) -> bool:
    """Whether an example uses a library that its module does not need, and it is not installed."""
    return any(
        importlib.util.find_spec(library) is None and re.search(words, example.source)
        for library, words in EXTRAS.items()
        for example in test.examples
    )


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples_print_what_they_say(name):
    module = imported(name)
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    finder = doctest.DocTestFinder(exclude_empty=True)
    out: list[str] = []
    for test in finder.find(module, name):
        if test.examples and not needs_an_extra(test):
            runner.run(test, out=out.append)
    assert not runner.failures, "".join(out)


def blocks_of(path: Path) -> list[tuple[int, str]]:
    text = path.read_text()
    found = re.finditer(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    return [(text[: match.start(1)].count("\n") + 1, match.group(1)) for match in found]


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.name)
def test_code_in_the_guides_runs(path):
    names: dict = {"__name__": "__main__"}
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    for line, code in blocks_of(path):
        if ">>>" in code:
            out: list[str] = []
            test = doctest.DocTestParser().get_doctest(code, names, path.name, str(path), line - 1)
            runner.run(test, out=out.append, clear_globs=False)
            names.update(test.globs)
            assert not runner.failures, "".join(out)
        else:
            try:
                exec(compile("\n" * (line - 1) + code, str(path), "exec"), names)
            except SetupError as error:
                pytest.skip(str(error))


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.name)
def test_links_and_pictures_of_the_guides_exist(path):
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text()):
        if not target.startswith(("http://", "https://", "mailto:")):
            assert (path.parent / target).exists(), f"{path.name} points to {target}, which does not exist"


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.name)
def test_make_targets_named_in_the_guides_exist(path):
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = set(re.findall(r"(?:^|`|\n)make ([a-z][a-z-]*)", path.read_text()))
    assert named <= targets
