from __future__ import annotations

import logging
import os
import random
import subprocess
import sys

import pytest

from eva.errors import ConfigError
from eva.evals import checkers
from eva.evals.checkers import (
    NEEDS_PUNKT,
    checker_version,
    draws_letter,
    has_punkt,
    load_check,
    unavailable,
    unknown_kinds,
)


def item(kind: str, prompt: str = "Say something.", **kwargs):
    return {"key": 1, "prompt": prompt, "instruction_id_list": [kind], "kwargs": [kwargs]}


LETTER, WORDS = "keywords:letter_frequency", "length_constraints:number_words"
BOTH, LOOSE_ONLY, NEITHER = (True, True), (False, True), (False, False)
EXPECTED = [
    (item("punctuation:no_comma"), "None here at all.", BOTH),
    (item("punctuation:no_comma"), "Well, one.", NEITHER),
    (item("punctuation:no_comma"), "Sure, gladly:\nNone in this line.", LOOSE_ONLY),
    (item("punctuation:no_comma"), " \n", NEITHER),
    (item("detectable_format:json_format"), '```json\n{"a": 1}\n```', BOTH),
    (item("detectable_format:json_format"), 'Here it is:\n{"a": 1}', LOOSE_ONLY),
    (item("startend:quotation"), '"So it is."', BOTH),
    (item("startend:quotation"), '*"So it is."*', LOOSE_ONLY),
    (item("startend:end_checker", end_phrase="The end."), "A tale. The end.", BOTH),
    (item("startend:end_checker", end_phrase="The end."), "The end.\nAnything else?", LOOSE_ONLY),
    (item("detectable_format:title"), "<<Sea>>\nWaves.", BOTH),
    (item("detectable_format:title"), "Sea\nWaves.", NEITHER),
    (item(WORDS, relation="at least", num_words=4), "a b c d", BOTH),
    (item(WORDS, relation="less than", num_words=4), "a b c d", NEITHER),
    (item(WORDS, relation="less than", num_words=3), "a\nb c", LOOSE_ONLY),
    (item("keywords:existence", keywords=["sea", "salt"]), "The sea has salt.", BOTH),
    (item("keywords:existence", keywords=["sea", "salt"]), "The sea.", NEITHER),
    (item("keywords:forbidden_words", forbidden_words=["sea"]), "The ocean.", BOTH),
    (item("keywords:forbidden_words", forbidden_words=["sea"]), "The sea.", NEITHER),
    (item(LETTER, letter="z", let_frequency=2, let_relation="at least"), "Zig zag", BOTH),
    (item("detectable_content:number_placeholders", num_placeholders=2), "[name], [town]", BOTH),
    (item("detectable_format:number_highlighted_sections", num_highlights=1), "*this*", BOTH),
    (item("combination:two_responses"), "Tea.\n******\nCoffee.", BOTH),
    (item("combination:two_responses"), "Tea.", NEITHER),
    (item("combination:repeat_prompt", prompt_to_repeat="Why?"), "Why? Because.", BOTH),
    (item("change_case:english_lowercase"), "this is a plain english sentence", BOTH),
    (item("change_case:english_capital"), "THIS IS A PLAIN ENGLISH SENTENCE", BOTH),
    (item("change_case:english_lowercase"), "This is a plain English sentence", NEITHER),
    (item("language:response_language", language="de"), "Das ist ein Satz auf Deutsch.", BOTH),
    (item("language:response_language", language="de"), "This one is in English.", NEITHER),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "answer", "expected"), EXPECTED)
def test_strict_and_loose_are_as_expected(asked, answer: str, expected) -> None:
    got = load_check()(asked, answer)
    assert (got["prompt_level_strict_acc"], got["prompt_level_loose_acc"]) == expected


def test_the_kinds_that_need_punkt_are_those_whose_checker_asks_for_it(monkeypatch) -> None:
    """Found by running every checker of lm-eval without NLTK's data."""
    from lm_eval.tasks.ifeval import instructions_registry, instructions_util

    monkeypatch.setattr(instructions_util.nltk.data, "path", [])
    instructions_util._get_sentence_tokenizer.cache_clear()
    failed = set()
    for kind, checker in instructions_registry.INSTRUCTION_DICT.items():
        instruction = checker(kind)
        needs = {"prompt_to_repeat": "Why?"} if kind == "combination:repeat_prompt" else {}
        try:
            instruction.build_description(**needs)
            instruction.check_following("Why? One sentence. And another.")
        except LookupError:
            failed.add(kind)
    instructions_util._get_sentence_tokenizer.cache_clear()
    assert failed == NEEDS_PUNKT


def test_has_punkt_looks_for_the_data(monkeypatch, tmp_path) -> None:
    import nltk

    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])
    assert not has_punkt()
    (tmp_path / "tokenizers/punkt_tab/english").mkdir(parents=True)
    assert has_punkt()


def test_unavailable_names_the_instructions() -> None:
    asked = item("length_constraints:number_sentences", num_sentences=2, relation="at least")
    assert unavailable(asked) == ["length_constraints:number_sentences"]
    assert unavailable(item("punctuation:no_comma")) == []


def test_a_letter_that_lm_eval_would_draw_is_found() -> None:
    assert draws_letter(item(LETTER, letter="#", let_frequency=4, let_relation="at least"))
    assert draws_letter(item(LETTER, let_frequency=4, let_relation="at least"))
    assert not draws_letter(item(LETTER, letter="Q", let_frequency=4, let_relation="at least"))
    assert not draws_letter(item("punctuation:no_comma", letter="#"))


def test_draws_are_the_same_each_time_and_leave_no_trace() -> None:
    from langdetect import DetectorFactory

    check = load_check()
    drawn = item(LETTER, letter="#", let_frequency=1, let_relation="at least")
    ambiguous = item("language:response_language", language="it")
    random.seed(5)
    state, seed = random.getstate(), DetectorFactory.seed
    letters = {check(drawn, "abcdefghijk")["prompt_level_strict_acc"] for _ in range(20)}
    spoken = {
        check(ambiguous, "la casa grande e bella")["prompt_level_strict_acc"] for _ in range(20)
    }
    assert len(letters) == len(spoken) == 1
    assert random.getstate() == state
    assert DetectorFactory.seed == seed


def test_checkers_do_not_log_what_they_cannot_read(caplog) -> None:
    with caplog.at_level(logging.DEBUG):
        load_check()(item("language:response_language", language="de"), "1234")
    assert not caplog.records


def test_loading_is_quiet_and_never_touches_the_network() -> None:
    code = """
import os, socket
def refuse(*args, **kwargs): raise SystemExit("network")
socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse
from eva.evals.checkers import load_check
load_check()
assert "LOCAL_RANK" not in os.environ
"""
    clean = {k: v for k, v in os.environ.items() if k != "LOCAL_RANK"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=clean
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_without_lm_eval_it_says_what_to_install(monkeypatch) -> None:
    def missing(name: str):
        raise ModuleNotFoundError(f"No module named {name!r}", name="lm_eval")

    monkeypatch.setattr(checkers, "import_module", missing)
    with pytest.raises(ConfigError, match=r'lm_eval is not installed: pip install "eva-align\[ife'):
        load_check()


def test_unknown_kinds_are_found() -> None:
    assert unknown_kinds([item("punctuation:no_comma"), item("rhyme:abab")]) == ["rhyme:abab"]


def test_checker_version_is_that_of_the_package() -> None:
    assert checker_version()[0].isdigit()
