"""The size of things: what a reader has to hold in mind at once."""

import ast
import statistics
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "eva"
MODULES = sorted(SOURCE.rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in MODULES}
FUNCTIONS = [
    (path, node)
    for path, tree in TREES.items()
    for node in ast.walk(tree)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
]
VAGUE = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "base"}


def name(function):
    path, node = function
    return f"{path.relative_to(SOURCE)}:{node.name}"


def length(node):
    return node.end_lineno - node.lineno + 1


def depth(node, level=0):
    """Return how deep statements are nested in a function."""
    nested = (ast.If, ast.For, ast.While, ast.With, ast.Try)
    deepest = level
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.ClassDef | ast.Lambda):
            continue
        # an elif stands beside its if, not in it
        beside = isinstance(node, ast.If) and [child] == node.orelse and isinstance(child, ast.If)
        deepest = max(deepest, depth(child, level + (isinstance(child, nested) and not beside)))
    return deepest


def test_files_are_short():
    lengths = {path: path.read_text(encoding="utf-8").count("\n") for path in MODULES}
    assert {str(p): n for p, n in lengths.items() if n > 400} == {}
    assert statistics.median(lengths.values()) <= 150


def test_functions_are_short():
    lengths = {name(function): length(function[1]) for function in FUNCTIONS}
    assert {n: k for n, k in lengths.items() if k > 70} == {}
    assert sorted(lengths.values())[int(0.9 * len(lengths))] <= 40


def test_nesting_is_shallow():
    assert {name(f): depth(f[1]) for f in FUNCTIONS if depth(f[1]) > 4} == {}


def test_few_parameters_are_positional():
    def positional(node):
        names = [a.arg for a in (*node.args.posonlyargs, *node.args.args)]
        return [n for n in names if n not in {"self", "cls"}]

    # commands of the command line have their parameters as flags
    counted = [f for f in FUNCTIONS if f[0].name not in {"cli.py", "stage_verbs.py"}]
    # a method that implements a seam has the seam's parameters
    seams = {"train", "begin"}
    counted = [f for f in counted if f[1].name not in seams]
    many = {name(f): positional(f[1]) for f in counted if len(positional(f[1])) > 3}
    assert many == {}


def test_no_module_has_a_vague_name():
    assert {path.stem for path in MODULES} & VAGUE == set()


def test_nothing_is_left_to_do():
    for path in MODULES:
        text = path.read_text(encoding="utf-8")
        for word in ("TODO", "FIXME", "XXX", "NotImplementedError"):
            assert word not in text, f"{path}: {word}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_every_module_has_its_tests(path):
    if path.name in {"__init__.py", "__main__.py", "protocols.py", "protocols_online.py"}:
        return
    relative = path.relative_to(SOURCE)
    mirrored = ROOT / "tests" / relative.parent / f"test_{relative.stem}.py"
    variants = list(mirrored.parent.glob(f"test_{relative.stem}*.py"))
    assert variants, f"{relative} has no {mirrored.relative_to(ROOT)}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_what_is_public_is_documented_and_typed(path):
    tree = TREES[path]
    assert ast.get_docstring(tree)
    for node in ast.walk(tree):
        public = isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
        if not public or _is_nested(tree, node):
            continue
        assert ast.get_docstring(node), f"{path}: {node.name}"
        if isinstance(node, ast.FunctionDef):
            assert node.returns is not None, f"{path}: {node.name}"


def _is_nested(tree, node):
    return any(
        node in ast.walk(outer)
        for outer in ast.walk(tree)
        if isinstance(outer, ast.FunctionDef) and outer is not node
    )
