import subprocess
import sys

import pytest

import eva


def test_what_is_exported_is_there_and_sorted():
    assert eva.__all__ == sorted(eva.__all__)
    assert all(callable(getattr(eva, name)) for name in eva.__all__)
    assert set(eva.__all__) < set(dir(eva))


def test_other_names_are_not_there():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = eva.nothing


def test_the_module_is_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "eva", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == f"eva {eva.__version__}"
