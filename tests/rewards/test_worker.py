from __future__ import annotations

import decimal
import subprocess
import sys

import numpy as np
import pytest
import torch

from eva.rewards.worker import Call, load_function, plain


@pytest.mark.parametrize(
    ("value", "want"),
    [
        (None, None),
        (True, 1.0),
        (np.float32(0.5), 0.5),
        (torch.tensor(0.25), 0.25),
        (decimal.Decimal("0.5"), 0.5),
        ({"reward": 1, "length": np.int64(3)}, {"reward": 1.0, "length": 3.0}),
    ],
)
def test_only_plain_numbers_leave_the_worker(value, want):
    got = plain(value)
    assert got == want
    assert type(got) is type(want)


@pytest.mark.parametrize("value", ["0.5", b"1", [1.0], object(), {"score": 1.0}, 1j])
def test_other_values_are_refused(value):
    with pytest.raises(TypeError, match="returned"):
        plain(value)


ITEMS = [{"prompt": "p", "response": r, "answer": a, "topic": ""} for r, a in ("xy", "zw")]


def test_a_function_gets_what_its_parameters_name():
    assert Call(lambda prompt, response: prompt + response)(ITEMS[:1]) == "px"
    assert Call(lambda response, answer="?": response + answer)(ITEMS[:1]) == "xy"
    assert Call(lambda response, **rest: sorted(rest))(ITEMS[:1]) == ["answer", "prompt", "topic"]


def test_a_function_of_completions_gets_lists():
    call = Call(lambda prompts, completions, answer: (prompts, completions, answer))
    assert call.batch
    assert call(ITEMS) == (["p", "p"], ["x", "z"], ["y", "w"])


def test_a_function_that_takes_no_response_is_refused():
    with pytest.raises(TypeError, match="its parameters are text; expected"):
        Call(lambda text: 1.0)
    with pytest.raises(TypeError, match="it is a float"):
        Call(1.0)


def test_functions_are_found_in_modules_and_files(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "beside.py").write_text("FACTOR = 3\n")
    file = tmp_path / "mine.py"
    file.write_text("from beside import FACTOR\ndef triple(response):\n    return FACTOR\n")
    assert load_function(f"{file}:triple")("x") == 3
    assert load_function("math:sqrt")(9) == 3
    with pytest.raises(AttributeError, match="unknown function 'tripel': did you mean 'triple'"):
        load_function(f"{file}:tripel")
    for spec in ("math", ":sqrt", "math:"):
        with pytest.raises(ValueError, match=r"expected package.module:function"):
            load_function(spec)


def test_the_worker_starts_without_numpy():
    code = "import sys, eva.rewards.worker; sys.exit('numpy' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
