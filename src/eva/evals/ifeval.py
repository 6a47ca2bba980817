"""IFEval (arXiv:2311.07911): 541 prompts whose instructions a program can check.

Checked by lm-eval's checkers, not ours, so that the constraints we train on do not grade
themselves. Strict takes the answer as it is; loose takes the best of eight readings (without the
first line, the last line, asterisks).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eva.errors import DataError
from eva.evals.checkers import (
    Check,
    Item,
    checker_version,
    draws_letter,
    has_punkt,
    load_check,
    unavailable,
    unknown_kinds,
)
from eva.evals.evaluation import GREEDY, Evaluation
from eva.evals.lengths import lengths
from eva.evals.rows import Measure, Measured, mean
from eva.types import Group, Prompt, Response, SamplingParams

FIELDS = {"key": int, "prompt": str, "instruction_id_list": list, "kwargs": list}
"""What a row of the file must have."""


def ifeval(
    path: Path | str,
    *,
    subset: int | None = None,
    measures: Sequence[Measure] = (),
    params: SamplingParams = GREEDY,
) -> Evaluation:
    """Return the evaluator of IFEval on all prompts of the file, or on a fixed subset of `subset`.

    Prompts that need NLTK's punkt data are neither answered nor approximated where it is absent;
    `about["unavailable"]` lists them. Published figures use up to 1280 tokens per answer.

    Raises:
        ConfigError: lm-eval is not installed.
        DataError: the file cannot be read, or has instructions that lm-eval does not know.
    """
    items = read_items(path)
    check = load_check()
    unknown = unknown_kinds(items)
    if unknown:
        raise DataError(f"{path}: lm-eval {checker_version()} has no checker for {unknown}")
    chosen, lacking = _choose(items, subset)
    prompts = [Prompt.of(item["prompt"]) for item in chosen]
    by_id = {prompt.id: item for prompt, item in zip(prompts, chosen, strict=True)}
    about = {
        "checkers": f"lm-eval {checker_version()}",
        "keys": [item["key"] for item in chosen],
        "unavailable": [item["key"] for item in lacking],
        "random_letter": [item["key"] for item in chosen if draws_letter(item)],
    }
    grade = (instructions(by_id, check), lengths, *measures)
    counts = {"unavailable": float(len(lacking))}
    return Evaluation("ifeval", prompts, grade, params=params, about=about, counts=counts)


def _choose(items: Sequence[Item], subset: int | None) -> tuple[list[Item], list[Item]]:
    """Return the items to answer, and those of the asked for that cannot be checked here."""
    if subset is not None:
        return fixed_subset(items, subset), []
    if has_punkt():
        return list(items), []
    fit = [item for item in items if not unavailable(item)]
    return fit, [item for item in items if unavailable(item)]


def read_items(path: Path | str) -> list[Item]:
    """Read IFEval's prompts: JSON lines with key, prompt, instruction_id_list and kwargs.

    Raises:
        DataError: the file is missing, not UTF-8 JSON lines, lacks a field or repeats a key.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot read IFEval's prompts: {error}") from error
    items = [_item(f"{path}, line {n}", line) for n, line in enumerate(lines, 1) if line.strip()]
    if not items:
        raise DataError(f"{path}: no IFEval prompts in it; expected JSON lines with {_expected()}")
    if len({item["key"] for item in items}) < len(items):
        raise DataError(f"{path}: two rows have the same key; every prompt needs its own")
    return items


def _item(where: str, line: str) -> Item:
    """Parse and check one line."""
    try:
        item = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{where}: not JSON ({error}); expected {_expected()}") from error
    if not isinstance(item, dict) or not all(isinstance(item.get(k), t) for k, t in FIELDS.items()):
        raise DataError(f"{where}: got {line[:80]!r}; expected {_expected()}")
    if len(item["instruction_id_list"]) != len(item["kwargs"]):
        raise DataError(f"{where}: instruction_id_list and kwargs differ in length")
    return item


def _expected() -> str:
    """Name the fields of a row."""
    return ", ".join(f"{name} ({kind.__name__})" for name, kind in FIELDS.items())


def fixed_subset(items: Sequence[Item], n: int) -> list[Item]:
    """Return n items, in the file's order: always the same ones, whatever data is installed.

    Those that need punkt data or are checked for a random letter are left out; of the rest the n
    with the smallest BLAKE2b hash of `eva/ifeval/<key>` are taken. So a smaller subset lies within
    a larger one, and neither the file's order nor a library's generator changes it.

    Raises:
        DataError: there are fewer than n such items.
    """
    fit = [item for item in items if not unavailable(item) and not draws_letter(item)]
    if len(fit) < n:
        raise DataError(f"ifeval: asked for {n} prompts, only {len(fit)} of {len(items)} are fit")
    chosen = {item["key"] for item in sorted(fit, key=_rank)[:n]}
    return [item for item in fit if item["key"] in chosen]


def _rank(item: Item) -> bytes:
    """Return what the subset is sorted by."""
    return hashlib.blake2b(f"eva/ifeval/{item['key']}".encode()).digest()


def instructions(items: Mapping[str, Item], check: Check) -> Measure:
    """Return the measure of IFEval's four numbers; `items` are by prompt id.

    `prompt_*` says whether an answer follows all of its prompt's instructions, `instruction_*` what
    share of them; the latter counts with the number of instructions, so its mean is over
    instructions, as published, and its interval over prompts. An answer on which a checker breaks
    has no value; the error is in the notes.
    """

    def measure(groups: Sequence[Group]) -> list[Measured]:
        return [_measured(items[group.prompt.id], group.responses, check) for group in groups]

    return measure


def _measured(item: Item, answers: Sequence[Response], check: Check) -> Measured:
    """Check one prompt's answers."""
    results: list[Mapping[str, Any]] = []
    errors: list[str] = []
    for answer in answers:
        try:
            results.append(check(item, answer.text))
        except Exception as error:  # a checker is foreign code: its failure is this answer's datum
            errors.append(f"{type(error).__name__}: {error}")
    values: dict[str, float | None] = {}
    for mode in ("strict", "loose"):
        followed = [result[f"inst_level_{mode}_acc"] for result in results]
        values[f"prompt_{mode}"] = mean([float(all(f)) for f in followed])
        values[f"instruction_{mode}"] = mean([sum(f) / len(f) for f in followed])
    values["unchecked"] = mean([0.0] * len(results) + [1.0] * len(errors))
    count = float(len(item["instruction_id_list"]))
    notes = {
        "key": item["key"],
        "instructions": list(item["instruction_id_list"]),
        "strict": [list(result["inst_level_strict_acc"]) for result in results],
    }
    return Measured(
        values,
        weights={"instruction_strict": count, "instruction_loose": count},
        notes=notes | ({"errors": errors} if errors else {}),
    )
