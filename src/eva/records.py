"""What a round's record says: plain numbers, from data alone.

A record is JSON. Its keys are logged as metrics under the same paths: `creator/info_mean`,
`solver/reward_mean`, ...; `eva.runs.metrics` says what each means.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from eva.types import Estimates, Evolution, Ints, Json, Pairing, Prompt, ScoredGroup


def of_round(
    t: int,
    *,
    prompts: Sequence[Prompt],
    creator: Mapping[str, Json],
    scored: Sequence[ScoredGroup],
    solver: Mapping[str, Json],
) -> dict[str, Json]:
    """Return the record of round t."""
    evolved = sum(prompt.evolved for prompt in prompts)
    answers = of_answers(scored)
    tokens = {
        "creator": creator.get("generated_tokens", 0),
        "rewriter": creator.get("rewriter_tokens", 0),
        "solver": answers.pop("generated_tokens"),
        "trained": solver["training"]["trained_tokens"],
    }
    return {
        "round": t,
        "prompts": [prompt.id for prompt in prompts],
        "counts": {"prompts": len(prompts), "evolved": evolved, "human": len(prompts) - evolved},
        "tokens": tokens | {"total": sum(tokens.values())},
        "creator": dict(creator),
        "solver": answers | dict(solver),
    }


def tokens(*parts: Mapping[str, Json]) -> int:
    """Return the generated and trained tokens of rounds, and of a creator's step not yet in one."""
    spent = 0
    for part in parts:
        inner = part.get("tokens", {}).get("total")
        spent += part.get("generated_tokens", 0) + part.get("rewriter_tokens", 0)
        spent += inner or 0
    return spent


def of_sample(originals: Sequence[Prompt], info: Estimates, drawn: Ints) -> dict[str, Json]:
    """Return the creator's draw as JSON; a value that could not be computed is None."""
    return {
        "ids": [prompt.id for prompt in originals],
        "values": [None if math.isnan(v) else float(v) for v in info.values],
        "errors": [None if math.isnan(v) else float(v) for v in info.errors],
        "drawn": [int(i) for i in drawn],
    }


def of_creator(
    scored: Sequence[ScoredGroup],
    sample: Mapping[str, Json],
    evolutions: Sequence[Evolution],
) -> dict[str, Json]:
    """Return what the creator saw, drew and wrote."""
    values = np.array([v for v in sample["values"] if v is not None], dtype=np.float64)
    drawn = [sample["values"][i] for i in sample["drawn"]]
    refusals = Counter(r.gate for evolution in evolutions for r in evolution.refusals)
    children = sum(len(evolution.children) for evolution in evolutions)
    refused = sum(refusals.values())
    return {
        **of_answers(scored),
        "info_mean": mean(values),
        "info_drawn_mean": mean(v for v in drawn if v is not None),
        "info_error_mean": mean(v for v in sample["errors"] if v is not None),
        "without_info": sum(v is None for v in sample["values"]),
        "drawn": len(drawn),
        "children": children,
        "refused": refused,
        "refusals": dict(sorted(refusals.items())),
        "acceptance": children / (children + refused) if children + refused else None,
        "operators": dict(
            sorted(Counter(c.operator for e in evolutions for c in e.children).items())
        ),
        "rewriter_tokens": sum(evolution.generated_tokens for evolution in evolutions),
    }


def of_answers(scored: Sequence[ScoredGroup]) -> dict[str, Json]:
    """Return rewards, contrast, lengths and failures of answers."""
    if not scored:
        return {"generated_tokens": 0}
    rewards = [[r for r in group.rewards if r is not None] for group in scored]
    some = [row for row in rewards if row]
    responses = [response for group in scored for response in group.group.responses]
    causes = Counter(s.cause for group in scored for s in group.scores if s.reward is None)
    return {
        "generated_tokens": sum(group.group.generated_tokens for group in scored),
        "reward_mean": mean(float(np.mean(row)) for row in some),
        "reward_best": mean(max(row) for row in some),
        "reward_worst": mean(min(row) for row in some),
        "without_contrast": mean(max(row) == min(row) for row in some),
        "unscored": dict(sorted(causes.items())),
        "unanswered": sum(not group.group.responses for group in scored),
        "length_mean": mean(len(response.token_ids) for response in responses),
        "truncated": mean(response.truncated for response in responses),
    }


def of_solver(pairing: Pairing, training: Mapping[str, Json]) -> dict[str, Json]:
    """Return what became of the groups, and how training went."""
    return {
        "pairs": len(pairing.examples),
        "skipped": dict(sorted(pairing.skipped.items())),
        **pairing.figures,
        "training": dict(training),
    }


def mean(values: Iterable[float]) -> float | None:
    """Return the mean as a plain float; None of nothing."""
    listed = [float(value) for value in values]
    return sum(listed) / len(listed) if listed else None


def figures(record: Mapping[str, Json], prefix: str = "") -> dict[str, float]:
    """Return the numbers of nested JSON by slash paths; lists, texts and None are left out.

    >>> figures({"solver": {"pairs": 3, "skipped": {"no_contrast": 1}}, "prompts": ["a"]})
    {'solver/pairs': 3.0, 'solver/skipped/no_contrast': 1.0}
    """
    flat: dict[str, float] = {}
    for key, value in record.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping):
            flat |= figures(value, f"{path}/")
        elif isinstance(value, int | float):
            flat[path] = float(value)
    return flat
