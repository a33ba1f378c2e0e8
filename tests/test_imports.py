"""The import law: modules know only what stands to their left, and optional packages wait until they are needed."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import tapegrad

ROOT = Path(tapegrad.__file__).parent
LAYERS = [
    {"errors", "typing"},
    {"_source"},
    {"_array"},
    {"_mode"},
    {"_tape"},
    {"_tensor"},
    {"_protocols", "_recorders"},
    {"_op"},
    {"_hooks"},
    {"_strict"},
    {"ops"},
    {"_methods"},
    {"_tree", "_memory", "linalg", "special"},
    {"_transforms", "random"},
    {"_checkpoint", "_custom"},
    {"_history"},
    {"_faults"},
    {"_checked", "_explain"},
    {"nn", "optim", "data", "io", "viz", "testing"},
    {"examples", "__main__"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
FILES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def part(path):
    """Return the first part of a file's path below the package: `ops` for ops/linalg.py."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path, top_level=False):
    """Return what a file imports, as lists of dotted names; `top_level` leaves out imports inside functions."""
    tree = ast.parse(path.read_text())
    statements = ast.walk(tree)
    if top_level:
        inner = {
            id(found)
            for node in ast.walk(tree)
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
            or (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
            for found in ast.walk(node)
        }
        statements = [node for node in statements if id(node) not in inner]
    depth = len(path.relative_to(ROOT).parts) - 1
    for node in statements:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name.split(".")
        elif isinstance(node, ast.ImportFrom):
            names = node.module.split(".") if node.module else []
            if node.level == 0:
                yield from [[*names, alias.name] for alias in node.names]
            else:
                base = list(path.relative_to(ROOT).parts[: depth + 1 - node.level])
                yield from [["tapegrad", *base, *names, alias.name] for alias in node.names]


def targets(path, **options):
    return {names[1] for names in imports(path, **options) if names[0] == "tapegrad" and len(names) > 1}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_from_left_to_right(path):
    here = LEVEL[part(path)]
    for target in targets(path, top_level=True):
        if target in LEVEL and target != part(path):
            assert LEVEL[target] < here, f"{path} imports {target}"


def test_every_module_has_a_place():
    assert {part(path) for path in FILES} <= set(LEVEL)


@pytest.mark.parametrize("name", ["_mode", "_tape", "_tensor", "_protocols", "_recorders", "_op"])
def test_the_engine_names_no_numpy(name):
    assert all(names[0] != "numpy" for names in imports(ROOT / f"{name}.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_optional_packages_have_their_places(path):
    packages = {names[0] for names in imports(path)}
    assert "cupy" not in packages or path.name == "_array.py"
    assert "hypothesis" not in packages or part(path) == "testing"


@pytest.mark.parametrize("path", sorted((ROOT / "nn").rglob("*.py")), ids=lambda path: path.name)
def test_no_derivative_lives_in_nn(path):
    assert "_op" not in targets(path)
    words = {"unary", "binary", "elementwise", "linear", "multilinear", "general"}
    assert not any(names[:2] == ["tapegrad", "ops"] and names[2:3] and names[2] in words for names in imports(path))


def test_import_brings_no_optional_package():
    optional = ["cupy", "hypothesis", "matplotlib", "scipy", "sklearn", "tqdm"]
    code = f"import sys, tapegrad; print([name for name in {optional} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
