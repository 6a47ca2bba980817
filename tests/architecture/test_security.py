"""What no module of the package does: run text as code, unpickle, shell out, trust by default."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "eva"
MODULES = sorted(SOURCE.rglob("*.py"))

BUILTINS = {"eval", "exec", "compile", "__import__"}
CALLS = {"os.system", "os.popen", "torch.load", "yaml.load", "yaml.unsafe_load", "tempfile.mktemp"}
PACKAGES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
FLAGS = {"shell": True, "allow_pickle": True, "trust_remote_code": True, "verify": False}


def faults(tree):
    """Yield what is forbidden, with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            yield from (f"{node.lineno}: {n}" for n in names if n.partition(".")[0] in PACKAGES)
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        if called in BUILTINS | CALLS:
            yield f"{node.lineno}: {called}"
        for keyword in node.keywords:
            value = getattr(keyword.value, "value", None)
            if keyword.arg in FLAGS and value is FLAGS[keyword.arg]:
                yield f"{node.lineno}: {keyword.arg}={value}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_nothing_forbidden_is_called(path):
    assert list(faults(ast.parse(path.read_text(encoding="utf-8")))) == []


@pytest.mark.parametrize(
    "code",
    [
        "eval(reply)",
        "exec(reply)",
        "import pickle",
        "from joblib import load",
        "torch.load(path)",
        "subprocess.run(command, shell=True)",
        "np.load(path, allow_pickle=True)",
        "AutoModel.from_pretrained(name, trust_remote_code=True)",
        "httpx2.get(url, verify=False)",
    ],
)
def test_it_would_be_found(code):
    assert list(faults(ast.parse(code)))


def test_what_is_like_it_is_not_taken_for_it():
    code = "model.eval(); re.compile(x); load(trust_remote_code=section.trust_remote_code)"
    assert list(faults(ast.parse(code))) == []
