"""IFEval's checkers as lm-eval ships them, made quiet, offline and deterministic.

Three things in them are not fit for a measurement as they are:

- importing them downloads NLTK's `punkt_tab`, and without a network prints that it did;
- two kinds of instruction need that data, and raise where it is absent;
- language detection, and a letter count whose letter is none of a-z, draw from unseeded generators.

Here nothing is downloaded, what cannot be checked is said to be so, and draws are seeded.
"""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import version
from typing import Any, TypeAlias

from eva.errors import ConfigError
from eva.types import Json

NEEDS_PUNKT = frozenset(
    {"change_case:capital_word_frequency", "length_constraints:number_sentences"}
)
"""Kinds of instruction whose checker splits sentences with NLTK's punkt data."""

Item: TypeAlias = Mapping[str, Json]
"""A row of IFEval's file: key, prompt, instruction_id_list, kwargs."""

Check: TypeAlias = Callable[[Item, str], Mapping[str, Any]]
"""lm-eval's `process_results` for one answer."""


def load_check() -> Check:
    """Return the check of one answer against an item's instructions, strict and loose.

    Raises:
        ConfigError: lm-eval, or what its checkers need, is not installed.
    """
    try:
        import_module("lm_eval.tasks")
        import_module("langdetect")
        with _no_download():
            module = import_module("lm_eval.tasks.ifeval.utils")
    except ImportError as error:
        raise ConfigError(
            f"evaluation 'ifeval': its checkers are those of lm-eval, and {error.name or error} is"
            ' not installed: pip install "eva-align[ifeval]"'
        ) from error

    def check(item: Item, answer: str) -> Mapping[str, Any]:
        with _settled():
            results: Mapping[str, Any] = module.process_results(item, [answer])
        return results

    return check


def has_punkt() -> bool:
    """Say whether NLTK's sentence data is installed."""
    try:
        import_module("nltk").data.find("tokenizers/punkt_tab/english/")
    except LookupError:
        return False
    return True


def unavailable(item: Item) -> list[str]:
    """Return the kinds of instruction of an item that need punkt data."""
    return [kind for kind in item["instruction_id_list"] if kind in NEEDS_PUNKT]


def draws_letter(item: Item) -> bool:
    """Say whether lm-eval checks an item for a letter it draws at random instead of its own.

    It does so where the item counts a character that is none of a-z: `#` and `!` in two of the 541.
    """
    return any(
        kind == "keywords:letter_frequency" and not _is_letter(str(kwargs.get("letter") or ""))
        for kind, kwargs in zip(item["instruction_id_list"], item["kwargs"], strict=True)
    )


def unknown_kinds(items: Sequence[Item]) -> list[str]:
    """Return the kinds of instruction for which lm-eval has no checker."""
    with _no_download():
        registry = import_module("lm_eval.tasks.ifeval.instructions_registry")
    kinds = {kind for item in items for kind in item["instruction_id_list"]}
    return sorted(kinds - registry.INSTRUCTION_DICT.keys())


def checker_version() -> str:
    """Return the version of lm-eval whose checkers are used."""
    return version("lm_eval")


def _is_letter(text: str) -> bool:
    """Say whether lm-eval takes a text as the letter to count."""
    return len(text) == 1 and "a" <= text.lower() <= "z"


@contextmanager
def _no_download() -> Iterator[None]:
    """Keep lm-eval's import from downloading: it does that on local rank 0 alone."""
    before = os.environ.get("LOCAL_RANK")
    os.environ["LOCAL_RANK"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["LOCAL_RANK"]
        else:
            os.environ["LOCAL_RANK"] = before


@contextmanager
def _settled() -> Iterator[None]:
    """Seed what the checkers draw from, keep them from logging; leave all as it was."""
    factory = import_module("langdetect").DetectorFactory
    log = logging.getLogger("lm_eval.tasks.ifeval.instructions")
    state, seed, disabled = random.getstate(), factory.seed, log.disabled
    random.seed(0)
    factory.seed = 0
    log.disabled = True
    try:
        yield
    finally:
        random.setstate(state)
        factory.seed = seed
        log.disabled = disabled
