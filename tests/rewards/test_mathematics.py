from __future__ import annotations

import pytest

from eva.rewards.mathematics import agrees, marked
from eva.rewards.verifier import VerifierReward
from eva.types import Group, Prompt, Response

RIGHT = [
    ("The answer is $\\boxed{\\frac{1}{2}}$.", "0.5"),
    ("So x is $\\frac{2}{4}$", "1/2"),
    ("We get 5 + 3 = 8, so the final answer is 8.", "Tom has 5 and 3.\n#### 8"),
    ("$\\boxed{(x+1)^2}$", "$x^2 + 2x + 1$"),
    ("It costs $1,008 in all: \\boxed{1008}", "#### 1,008"),
    ("\\boxed{\\sqrt{8}}", "2\\sqrt{2}"),
    ("The answer is 3. No: the answer is 4.", 4),
    ("42", 42),
]
WRONG = [
    ("The answer is $\\boxed{\\frac{1}{3}}$.", "0.5"),
    ("5 + 3 = 9, so the final answer is 9.", "#### 8"),
    ("$\\boxed{(x+1)^2}$", "$x^2 + 1$"),
    ("\\boxed{3}, \\boxed{4}", 4),  # boxes in a row are one answer, a set
    ("I don't know.", 4),
    ("", 4),
    ("\\boxed{", 4),
    ("\\boxed{\\frac{1}{0}}", 4),
]


@pytest.mark.parametrize(("response", "reference"), RIGHT)
def test_equal_expressions_agree_however_they_are_written(response, reference):
    assert agrees(response, reference) == 1.0


@pytest.mark.parametrize(("response", "reference"), WRONG)
def test_other_expressions_and_no_expressions_are_wrong(response, reference):
    assert agrees(response, reference) == 0.0


@pytest.mark.parametrize("reference", ["", "$$", "#### "])
def test_a_reference_that_is_no_mathematics_is_told(reference):
    with pytest.raises(ValueError, match="cannot be read as mathematics"):
        agrees("4", reference)


def test_what_is_marked_already_is_left_alone():
    assert marked("so $x$") == "so $x$"
    assert marked(" 4 ") == "$4$"


@pytest.mark.parametrize(
    "template",
    ["{}", "${}$", "\\boxed{{{}}}", "the final answer is {}", "\\boxed{{\\text{{{}}}}}", "({})"],
)
def test_nothing_that_a_model_writes_is_run(template, tmp_path):
    mark = tmp_path / "ran"
    attack = f"__import__('pathlib').Path('{mark}').touch()"
    assert agrees(template.format(attack), 4) == 0.0
    assert not mark.exists()


def test_a_bad_reference_costs_the_score_and_a_bad_answer_is_wrong():
    reward = VerifierReward(
        "eva.rewards.mathematics:agrees",
        name="math",
        columns={"reference": "answer"},
        seconds=60,
    )
    answers = tuple(Response(text, ()) for text in ("\\boxed{4}", "no idea"))
    groups = [Group(Prompt.of("q", columns={"answer": a}), (), answers, "p") for a in ("4", "$$")]
    good, bad = reward.score(groups)
    reward.close()
    assert good.rewards == (1.0, 0.0)
    assert [score.cause for score in bad.scores] == ["raised", "raised"]
    assert "reference '$$'" in bad.scores[0].detail
