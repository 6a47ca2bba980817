"""Who may import whom; CONTRIBUTING.md says why."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "eva"
MODULES = sorted(SOURCE.rglob("*.py"))

CORE = {"types", "comparisons", "errors", "rng", "disagreement"}
SEAMS = CORE | {"protocols", "protocols_online"}
MAY = {
    "comparisons": set(),
    "types": {"comparisons"},
    "errors": set(),
    "rng": set(),
    "disagreement": {"types"},
    "protocols": CORE,
    "protocols_online": CORE | {"protocols"},
    "complexity": set(),
    "n_grams": CORE,
    "inheritance": CORE,
    "records": CORE | {"complexity", "n_grams", "inheritance"},
    "alarms": CORE | {"records", "evals"},
    "encoder": CORE,
    "gym": CORE,
    "schedule": SEAMS,
    "offline": SEAMS | {"records", "schedule"},
    "online": SEAMS | {"records", "schedule"},
    "constraints": SEAMS,
    "creator": SEAMS | {"constraints", "complexity"},
    "solver": SEAMS,
    "engines": SEAMS,
    "rewards": SEAMS | {"constraints", "encoder"},
    "data": SEAMS,
    "evals": SEAMS | {"constraints", "encoder", "n_grams"},
    "runs": SEAMS,
}
"""Beside its own package."""

MAY |= {"app": set(MAY), "__main__": {"verbs"}}
MAY |= dict.fromkeys(
    ("views", "planning", "probing", "stages", "integrations"), set(MAY) - {"__main__"}
)
MAY |= {"verbs": set(MAY)}

VERBS = {"cli", "quickstart", "stage_verbs"}
"""Modules of `app` that users call and nothing imports: a layer of their own, above all others."""

LIGHT = (
    *(
        "types",
        "comparisons",
        "errors",
        "rng",
        "disagreement",
        "protocols",
        "protocols_online",
        "n_grams",
        "inheritance",
        "records",
        "schedule",
        "offline",
        "online",
    ),
    *("constraints", "creator"),
)
"""What runs where torch is not installed."""
HEAVY = {"torch", "transformers", "datasets", "peft", "accelerate", "trl", "pyarrow"}


def dotted(path):
    """Return the name that a module is imported by."""
    parts = ("eva", *path.relative_to(SOURCE).with_suffix("").parts)
    return ".".join(parts).removesuffix(".__init__")


NAMES = {dotted(path) for path in MODULES}


def layer(name):
    """Return the layer of `eva.layer.module`, the empty text for the package itself."""
    first, second = (*name.split(".")[1:3], "", "")[:2]
    return "verbs" if first == "app" and second in VERBS else first


def imports(path):
    """Yield imported modules and whether the import is only for annotations."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node in typing_only
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, node in typing_only
            for alias in node.names:
                if (module := f"{node.module}.{alias.name}") in NAMES:
                    yield module, node in typing_only


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_layers_import_only_what_they_may(path):
    own = layer(dotted(path))
    if not own:
        return  # the package's own names are found when they are asked for
    reached = {
        layer(name)
        for name, typing_only in imports(path)
        if name.startswith("eva.") and not typing_only
    }
    assert reached <= MAY[own] | {own}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_light_layers_never_import_heavy_libraries(path):
    if layer(dotted(path)) not in LIGHT:
        return
    used = {name.split(".")[0] for name, typing_only in imports(path) if not typing_only}
    assert not used & HEAVY


def test_importing_eva_costs_numpy_only():
    code = (
        "import sys, eva, eva.offline, eva.online, eva.creator.creator, eva.creator.online;"
        f"print(sorted(set(sys.modules) & {HEAVY | {'scipy', 'pydantic', 'datasketch'}!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_there_are_no_import_cycles():
    graph = {}
    for path in MODULES:
        graph[dotted(path)] = {target for target, typing_only in imports(path) if not typing_only}
    seen, open_ = set(), []

    def visit(name):
        assert name not in open_, " -> ".join([*open_[open_.index(name) :], name])
        if name in seen or name not in graph:
            return
        open_.append(name)
        for target in graph[name]:
            # a package re-exports its modules: what they import of it is no cycle at run time
            if not name.startswith(f"{target}."):
                visit(target)
        open_.pop()
        seen.add(name)

    for name in graph:
        visit(name)
