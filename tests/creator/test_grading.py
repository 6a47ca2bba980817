from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eva.creator.grading import GRADING_PARAMS, QUESTIONS, Clauses, Grade, ModelGrader, read_number
from eva.rng import Streams
from eva.types import Group, Message, Prompt, Response

STREAMS = Streams(0, 2, "creator/evolve/grade0")


@dataclass
class Scripted:
    """Answers from a list; None is a prompt too long to be answered."""

    replies: list[str | None]
    asked: list[Prompt] = field(default_factory=list)

    def sample(self, prompts, params, streams):
        assert params == GRADING_PARAMS
        groups = []
        for prompt in prompts:
            self.asked.append(prompt)
            reply = self.replies.pop(0)
            responses = () if reply is None else (Response(reply, (1, 2)),)
            groups.append(Group(prompt, (), responses, "scripted"))
        return groups


@pytest.mark.parametrize(
    "reply",
    [
        "3",
        " 3.\n",
        '"3"',
        "**3**",
        "Score: 3",
        "Rating - 3/5",
        "[[3]]",
        "Complexity: **3**",
        "3 / 5",
    ],
)
def test_numbers_as_models_write_them(reply):
    assert read_number(reply) == 3.0


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "0",
        "6",
        "10",
        "35",
        "3.5",
        "3 or 4",
        "between 3 and 4",
        "three",
        "-3",
        "3/10",
        "3 stars",
    ],
)
def test_anything_else_is_no_grade(reply):
    assert read_number(reply) is None


@given(st.text(max_size=12))
def test_a_number_read_is_a_grade_that_stands_there(reply):
    number = read_number(reply)
    assert number is None or (number in {1, 2, 3, 4, 5} and str(int(number)) in reply)


def test_both_questions_are_asked_of_every_prompt_and_added_up():
    generator = Scripted(["2", "Quality: 5", "4", "no idea", None, "1"])
    prompts = [Prompt.of("Write {prompt}."), Prompt.of("b c d"), Prompt.of("e f g")]
    grades = ModelGrader(generator).grade(prompts, STREAMS)
    assert grades == [
        Grade(7.0, {"complexity": 2.0, "quality": 5.0}, 4),
        Grade(None, {}, 4),
        Grade(None, {}, 2),
    ]
    assert len(generator.asked) == 6
    assert [question.text.endswith("Write {prompt}.") for question in generator.asked[:2]] == [1, 1]
    assert len({question.text for question in generator.asked}) == 6
    assert ModelGrader(Scripted([])).grade([], STREAMS) == []


def test_earlier_turns_are_shown_to_the_grader():
    turns = (Message("user", "Name a lamp."), Message("assistant", "Tiffany."))
    generator = Scripted(["1", "1"])
    ModelGrader(generator).grade([Prompt((*turns, Message("user", "Why?")))], STREAMS)
    assert all("assistant: Tiffany." in question.text for question in generator.asked)


def test_counting_asks_nobody():
    grades = Clauses().grade([Prompt.of("Write a poem. Use no rhyme at all.")], STREAMS)
    assert grades == [Grade(2.0)]


@pytest.mark.parametrize("name", QUESTIONS)
def test_questions_hold_the_prompt_once_and_ask_for_a_number_alone(name):
    assert QUESTIONS[name].count("{prompt}") == 1
    assert "one number from 1 to 5 and nothing else" in QUESTIONS[name]
