"""What may not stand in the source: code from files, prints, swallowed errors, traces of one machine."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import longshort

SOURCE = Path(longshort.__file__).parent
ROOT = Path(__file__).parents[2]
FILES = sorted(SOURCE.rglob("*.py"))
UNSAFE_MODULES = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "jsonpickle"}
UNSAFE_CALLS = {"eval", "exec", "compile", "__import__", "torch.load", "yaml.load", "os.system", "os.popen"}


def faults(source: str, prints_allowed: bool = False) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            for name in names:
                if name.split(".")[0] in UNSAFE_MODULES:
                    yield f"{node.lineno}: imports {name}; saved things hold no code (artifact.py)"
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in UNSAFE_CALLS or called.endswith(".to_pickle") or called.endswith(".read_pickle"):
                yield f"{node.lineno}: calls {called}; nothing here runs code from data"
            if called == "print" and not prints_allowed:
                yield f"{node.lineno}: prints; log it, return it, or print it in cli.py"
            for keyword in node.keywords:
                value = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
                if keyword.arg in ("allow_pickle", "shell") and value is not False:
                    yield f"{node.lineno}: {keyword.arg} must stay False"
        elif isinstance(node, ast.ExceptHandler) and node.type is None:
            yield f"{node.lineno}: bare except; catch the narrowest error"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_source_runs_no_code_from_files_prints_nothing_and_swallows_nothing(path):
    found = list(faults(path.read_text(), prints_allowed=path.name == "cli.py"))
    assert not found, "\n".join(f"{path}:{fault}" for fault in found)


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from joblib import load",
        "eval('1')",
        "torch.load('x')",
        "np.load('x', allow_pickle=True)",
        "frame.to_pickle('x')",
        "print(1)",
        "try:\n    pass\nexcept:\n    pass",
        "subprocess.run('x', shell=True)",
    ],
)
def test_the_gate_finds(line):
    assert list(faults(line))


def repository_files() -> list[Path]:
    folders = ("src", "tests", "docs", "examples", "benchmarks", "tools", "scripts", ".github", ".ci")
    inside = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    top = [path for path in ROOT.iterdir() if path.is_file()]
    endings = {
        ".py",
        ".md",
        ".toml",
        ".txt",
        ".cpp",
        ".hpp",
        ".yml",
        ".yaml",
        ".json",
        ".cfg",
        "",
        ".in",
        ".css",
        ".js",
    }
    ignored = {"__pycache__", ".git"}
    return sorted(path for path in inside + top if path.suffix in endings and not ignored & set(path.parts))


PACKAGE_HOSTS = [
    host.replace("!", ".") for host in ("pypi!org", "pythonhosted!org", "download!pytorch!org", "npmjs!org")
]
MACHINE_PATHS = re.compile(r"(?<![\w.])/(?:work|farm|root|tmp/ls|opt/wheels|opt/pypi|home/\w+)/")


def test_no_trace_of_the_machine_it_was_made_on():
    found = []
    for path in repository_files():
        if path == Path(__file__):
            continue
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1):
            if MACHINE_PATHS.search(line) or any(host in line for host in PACKAGE_HOSTS):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    assert not found, "\n".join(found)
