"""The order of the house: a module imports what stands above it, never below, not even inside a function."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import longshort

SOURCE = Path(longshort.__file__).parent
ORDER = (
    "errors", "_lazy", "_frozen", "clock", "artifact", "ledger", "native", "bars", "ticks", "forecast", "orders",
    "metrics", "data", "features", "models", "portfolio", "strategy", "evaluation", "trading", "interop", "report",
    "config", "cli",
)  # fmt: skip
MODULES = {
    tuple(path.relative_to(SOURCE).with_suffix("").parts): path
    for path in sorted(SOURCE.rglob("*.py"))
    if path.name != "__main__.py"
}
HEAVY = {
    "alpaca", "arch", "cvxpy", "exchange_calendars", "fastapi", "h5py", "keras", "matplotlib", "mlflow", "onnx",
    "onnxruntime", "optuna", "pandas", "plotly", "pyarrow", "ray", "safetensors", "scipy", "sklearn", "skfolio",
    "statsmodels", "talib", "torch", "transformers", "websockets", "yfinance",
}  # fmt: skip
OWNERS = {  # a private helper belongs to its owner, and may name its types
    "_artifact": "artifact",
    "_clock": "clock",
    "_orders": "orders",
    "_panel": "bars",
}
ONLY_IN_CLI = {"typer", "rich", "click"}
NEED_TORCH = {  # nobody loads them at import
    ("interop", "puffin", "networks"),
    ("models", "counting"),
    ("models", "exchange"),
    ("models", "joint_likelihood"),
    ("models", "layers"),
    ("models", "nets"),
    ("models", "plain"),
    ("models", "torch_engine"),
    ("models", "torch_losses"),
    ("models", "torch_windows"),
    ("models", "with_torch"),
}

NEED_SKFOLIO = {("portfolio", "priors")}  # subclasses one of its classes


def is_module(parts: tuple[str, ...]) -> bool:
    return parts in MODULES or (*parts, "__init__") in MODULES


def exports_of(package: tuple[str, ...]) -> dict[str, str | None]:
    """Read the `_EXPORTS` table of a package without importing it."""
    path = MODULES.get((*package, "__init__"))
    for node in ast.parse(path.read_text()).body if path else []:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == "_EXPORTS" for target in targets):
            return ast.literal_eval(node.value)
    return {}


def resolve(base: tuple[str, ...], name: str) -> tuple[str, ...] | None:
    """Return the module that `from base import name` reaches; None for the root package's own constants."""
    if is_module((*base, name)):
        return (*base, name)
    where = exports_of(base).get(name)
    if where is not None:
        return resolve((*base, *where.split(".")), name)
    return base or None


def runs_at_import(tree: ast.Module) -> Iterator[ast.stmt]:
    """Yield the statements that run when the module is imported, without those for type checkers only."""
    waiting = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting.extend(node.orelse)
            continue
        yield node
        waiting.extend(child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt))


def imports_of(module: tuple[str, ...], only_at_import: bool = False) -> Iterator[tuple[tuple[str, ...], int]]:
    """Yield the modules of the package that this one imports anywhere in it, with the line."""
    package = module[:-1]
    tree = ast.parse(MODULES[module].read_text())
    for node in runs_at_import(tree) if only_at_import else ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first, *rest = alias.name.split(".")
                if first == "longshort":
                    yield tuple(rest) or ("<everything>",), node.lineno
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                base = package[: len(package) - (node.level - 1)]
            elif node.module and node.module.split(".")[0] == "longshort":
                base = ()
            else:
                continue
            parts = (node.module or "").split(".") if node.module else []
            base = (*base, *(parts if node.level else parts[1:]))
            for alias in node.names:
                target = resolve(base, alias.name)
                if target is not None:
                    yield target, node.lineno


@pytest.mark.parametrize("module", MODULES, ids="/".join)
def test_a_module_imports_only_what_stands_above_it(module):
    own = OWNERS.get(module[0], module[0])
    if own == "__init__":
        return
    assert own in ORDER, f"{own} has no place in the house list: {' '.join(ORDER)}"
    for target, line in imports_of(module):
        above = OWNERS.get(target[0], target[0])
        if above == own:
            continue
        assert above in ORDER, f"{MODULES[module]}:{line} imports {'.'.join(target)}, which has no place in the list"
        assert ORDER.index(above) < ORDER.index(own), (
            f"{MODULES[module]}:{line} imports {'.'.join(target)}, which stands below {own}. Move the "
            "function down, or what it needs up."
        )


@pytest.mark.parametrize("folder", sorted({module[0] for module in MODULES if len(module) > 1}))
def test_modules_of_a_folder_do_not_import_each_other_in_a_circle(folder):
    """A method may hand over to a companion module inside the function (`LSTM.save`); loading must go one way."""
    inside = {module for module in MODULES if module[0] == folder and module[-1] != "__init__"}
    edges = {
        module: {found for found, _ in imports_of(module, only_at_import=True) if found in inside} for module in inside
    }
    done: set[tuple[str, ...]] = set()

    def visit(module: tuple[str, ...], path: tuple[tuple[str, ...], ...]) -> None:
        assert module not in path, " -> ".join("/".join(m) for m in (*path[path.index(module) :], module))
        if module not in done:
            for target in edges[module]:
                visit(target, (*path, module))
            done.add(module)

    for module in inside:
        visit(module, ())


@pytest.mark.parametrize("module", MODULES, ids="/".join)
def test_heavy_libraries_are_imported_where_they_are_used(module):
    forbidden = HEAVY if module[0] == "cli" else HEAVY | ONLY_IN_CLI
    forbidden -= {"torch"} if module in NEED_TORCH else set()
    forbidden -= {"pandas", "sklearn", "skfolio"} if module in NEED_SKFOLIO else set()
    for node in runs_at_import(ast.parse(MODULES[module].read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        heavy = {name.split(".")[0] for name in names} & forbidden
        assert not heavy, (
            f"{MODULES[module]}:{node.lineno} loads {heavy} at import; import it in the function that uses it"
        )


@pytest.mark.parametrize("module", sorted(set(MODULES) - NEED_TORCH), ids="/".join)
def test_what_needs_torch_is_loaded_only_when_it_is_used(module):
    for target, line in imports_of(module, only_at_import=True):
        assert target not in NEED_TORCH | NEED_SKFOLIO, (
            f"{MODULES[module]}:{line} loads {'.'.join(target)}, which needs an extra; import it where it is used"
        )


def test_the_test_sees_function_level_and_relative_imports(tmp_path, monkeypatch):
    file = tmp_path / "errors.py"
    file.write_text("def f():\n    from .bars import Bars\n    from . import cli\n    import longshort.models.lstm\n")
    monkeypatch.setitem(MODULES, ("errors",), file)
    monkeypatch.setitem(MODULES, ("cli",), file)
    monkeypatch.setitem(MODULES, ("bars",), file)
    assert {target[0] for target, _ in imports_of(("errors",))} == {"bars", "cli", "models"}
    with pytest.raises(AssertionError, match="stands below errors"):
        test_a_module_imports_only_what_stands_above_it(("errors",))
