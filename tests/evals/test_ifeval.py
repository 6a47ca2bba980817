from __future__ import annotations

import json
from collections import Counter

import pytest

from eva.data.assets import resolve
from eva.errors import DataError
from eva.evals import ifeval as module
from eva.evals.checkers import draws_letter, load_check, unavailable, unknown_kinds
from eva.evals.ifeval import fixed_subset, ifeval, instructions, read_items
from eva.evals.statistics import mean_interval
from eva.rng import Streams
from eva.types import Group, Prompt, Response

COMMA, LETTER = "punctuation:no_comma", "keywords:letter_frequency"
SENTENCES = "length_constraints:number_sentences"


def item(key: int, *kinds: str, **kwargs):
    each = [kwargs if kind not in (COMMA,) else {} for kind in kinds]
    return {
        "key": key,
        "prompt": f"Prompt {key}",
        "instruction_id_list": list(kinds),
        "kwargs": each,
    }


TITLE = "detectable_format:title"
ITEMS = [
    item(1, COMMA),
    item(2, COMMA, TITLE),
    item(3, SENTENCES, num_sentences=2, relation="at least"),
    item(4, LETTER, letter="#", let_frequency=2, let_relation="at least"),
]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "ifeval.jsonl"
    path.write_text("\n".join(map(json.dumps, ITEMS)) + "\n", encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def _no_punkt(monkeypatch):
    monkeypatch.setattr(module, "has_punkt", lambda: False)


class Policy:
    """Answers from a table by prompt text."""

    def __init__(self, answers: dict[str, str]) -> None:
        self.answers = answers

    def sample(self, prompts, params, streams):
        return [
            Group(p, (1,), (Response(self.answers.get(p.text, "Yes."), (1, 2)),), "v")
            for p in prompts
        ]


def test_the_four_numbers_by_hand(file) -> None:
    answers = {"Prompt 1": "Well, no.\nNone here.", "Prompt 2": "No title", "Prompt 4": "none"}
    got = ifeval(file).evaluate(Policy(answers), Streams(0, 0, "evaluate"))
    values = {row["notes"]["key"]: row["values"] for row in got["rows"]}
    assert values[1]["prompt_strict"] == 0.0
    assert values[1]["prompt_loose"] == 1.0
    assert values[2]["prompt_strict"] == 0.0
    assert values[2]["instruction_strict"] == 0.5
    letter = values[4]["instruction_strict"]  # of a letter that lm-eval draws: see random_letter
    assert got["metrics"]["ifeval/instruction_strict"] == pytest.approx((0 + 1 + letter) / 4)
    assert got["metrics"]["ifeval/prompt_loose"] == pytest.approx(
        (1 + 0 + values[4]["prompt_loose"]) / 3
    )
    expected = mean_interval([0.0, 0.5, letter], [1.0, 2.0, 1.0])
    assert got["intervals"]["ifeval/instruction_strict"] == expected.json()
    assert got["metrics"]["ifeval/tokens"] == 2.0


def test_what_cannot_be_checked_is_not_answered_and_counted_apart(file) -> None:
    evaluation = ifeval(file)
    assert [p.text for p in evaluation.prompts] == ["Prompt 1", "Prompt 2", "Prompt 4"]
    assert evaluation.about["unavailable"] == [3]
    assert evaluation.about["random_letter"] == [4]
    assert evaluation.about["checkers"].startswith("lm-eval ")
    assert evaluation.counts == {"unavailable": 1.0}


def test_with_punkt_data_everything_is_answered(file, monkeypatch) -> None:
    monkeypatch.setattr(module, "has_punkt", lambda: True)
    evaluation = ifeval(file)
    assert len(evaluation.prompts) == 4
    assert evaluation.counts == {"unavailable": 0.0}


def test_a_subset_holds_fit_prompts_alone_whatever_is_installed(file, monkeypatch) -> None:
    without = [p.text for p in ifeval(file, subset=2).prompts]
    monkeypatch.setattr(module, "has_punkt", lambda: True)
    assert [p.text for p in ifeval(file, subset=2).prompts] == without == ["Prompt 1", "Prompt 2"]
    with pytest.raises(DataError, match="asked for 3 prompts, only 2 of 4"):
        ifeval(file, subset=3)


def test_a_subset_depends_neither_on_order_nor_on_size() -> None:
    items = [item(key, COMMA) for key in range(200)]
    small, large = fixed_subset(items, 20), fixed_subset(items, 60)
    assert [i["key"] for i in small] == sorted(i["key"] for i in small)
    assert {i["key"] for i in small} < {i["key"] for i in large}
    backwards = fixed_subset(items[::-1], 20)
    assert sorted(i["key"] for i in backwards) == [i["key"] for i in small]


def test_an_answer_on_which_a_checker_breaks_has_no_value() -> None:
    def broken(item, answer):
        if answer == "bad":
            raise ValueError("what is this")
        return {"inst_level_strict_acc": [True], "inst_level_loose_acc": [True]}

    prompt = Prompt.of("Prompt 1")
    answers = (Response("good", (1,)), Response("bad", (1,)))
    measure = instructions({prompt.id: ITEMS[0]}, broken)
    half, none = measure([Group(prompt, (1,), answers, "v"), Group(prompt, (1,), answers[1:], "v")])
    assert (half.values["prompt_strict"], half.values["unchecked"]) == (1.0, 0.5)
    assert half.notes["errors"] == ["ValueError: what is this"]
    assert (none.values["prompt_strict"], none.values["unchecked"]) == (None, 1.0)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no IFEval prompts"),
        ("{", "line 1: not JSON"),
        ('{"key": 1}', "line 1: got"),
        (json.dumps(ITEMS[0] | {"kwargs": []}), "differ in length"),
        ("\n".join([json.dumps(ITEMS[0])] * 2), "two rows have the same key"),
        (json.dumps(item(1, "rhyme:abab")), "no checker for"),
    ],
)  # fmt: skip
def test_a_bad_file_is_refused_with_its_fault(tmp_path, text: str, says: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=says):
        ifeval(path)


def test_a_missing_or_binary_file_is_refused(tmp_path) -> None:
    with pytest.raises(DataError, match="cannot read"):
        read_items(tmp_path / "none.jsonl")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="cannot read"):
        read_items(tmp_path / "binary")


def test_a_line_separator_inside_a_prompt_ends_no_line(tmp_path) -> None:
    path = tmp_path / "lines.jsonl"
    row = ITEMS[0] | {"prompt": "One\u2028two"}
    path.write_text(json.dumps(row, ensure_ascii=False) + "\r\n", encoding="utf-8", newline="")
    assert read_items(path) == [row]


@pytest.mark.model
def test_the_541_prompts_are_known_and_the_fixed_64_stay_the_same() -> None:
    items = read_items(resolve("packaged:ifeval"))
    assert len(items) == 541
    assert unknown_kinds(items) == []
    assert sum(bool(unavailable(i)) for i in items) == 64
    assert [i["key"] for i in items if draws_letter(i)] == [1122, 1129]
    chosen = [i["key"] for i in fixed_subset(items, 64)]
    assert len(chosen) == 64
    assert (chosen[:4], chosen[-2:], sum(chosen)) == (
        [1019, 1021, 1075, 1098],
        [3749, 3753],
        142041,
    )


@pytest.mark.model
def test_every_one_of_the_477_can_be_checked() -> None:
    """An answer of several lines and languages meets every checker, in all eight readings."""
    answer = 'Title\n\n* One, "TWO" und drei\n\nP.S. [name] <<t>> ******\n{"a": 1}'
    evaluation = ifeval(resolve("packaged:ifeval"))
    got = evaluation.evaluate(
        Policy({p.text: answer for p in evaluation.prompts}), Streams(0, 0, "evaluate")
    )
    assert got["metrics"]["ifeval/prompts"] == 477
    assert got["metrics"]["ifeval/unavailable"] == 64
    assert got["metrics"]["ifeval/unchecked"] == 0.0
    kinds = Counter(k for row in got["rows"] for k in row["notes"]["instructions"])
    assert len(kinds) == 23
    assert 0 < got["metrics"]["ifeval/prompt_strict"] <= got["metrics"]["ifeval/prompt_loose"] < 1


def test_draws_and_languages_are_graded_the_same_twice(file) -> None:
    policy = Policy({"Prompt 4": "abcdef"})
    first, second = (
        ifeval(file).evaluate(policy, Streams(0, 0, "evaluate"))["rows"] for _ in range(2)
    )
    assert first == second
    assert load_check()(ITEMS[3], "abcdef") == load_check()(ITEMS[3], "abcdef")
