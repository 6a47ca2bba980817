"""What a round's record says: plain numbers, from data alone.

A record is JSON. Its keys are logged as metrics under the same paths: `creator/info_mean`,
`solver/reward_mean`, ...; `eva.runs.metrics` says what each means.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from eva import disagreement, inheritance
from eva.complexity import clauses, words
from eva.n_grams import distinct, repetition
from eva.types import (
    Arrival,
    Draw,
    Estimates,
    Evolution,
    Floats,
    Ints,
    Json,
    Pairing,
    Prompt,
    ScoredGroup,
    Step,
)

T = TypeVar("T")

MEASURED = 1024
"""Most texts whose n-grams are counted."""


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
        "rewriter": creator.get("rewriter_tokens", 0) + solver.get("rewriter_tokens", 0),
        "solver": answers.pop("generated_tokens"),
        "trained": solver["training"]["trained_tokens"],
    }
    return {
        "round": t,
        "prompts": [prompt.id for prompt in prompts],
        "counts": {"prompts": len(prompts), "evolved": evolved, "human": len(prompts) - evolved},
        "tokens": tokens | {"total": sum(tokens.values())},
        "creator": {**of_prompts(prompts), **creator, **of_contrast(scored)},
        "solver": answers | of_deviations(scored) | dict(solver),
    }


def of_step(
    number: int,
    *,
    draws: Sequence[Draw],
    dropped_tokens: int,
    scored: Sequence[ScoredGroup],
    estimates: Estimates,
    seeds: Sequence[int],
    arrivals: Sequence[Arrival],
) -> Step:
    """Return the row of a step of online eva."""
    return Step(
        number,
        phase=draws[0].phase,
        draws=tuple(len(draw.prompts) for draw in draws),
        replayed=sum(draw.replayed for draw in draws),
        recycled=sum(draw.recycled for draw in draws),
        dropped_tokens=dropped_tokens,
        scored=tuple(scored),
        info=_known(estimates.values),
        errors=_known(estimates.errors),
        seeds=tuple(seeds),
        evolutions=tuple(e for arrival in arrivals for e in arrival.evolutions),
        worth=tuple(w for arrival in arrivals for w in arrival.worth),
        delays=tuple(number - a.step for a in arrivals for _ in a.evolutions),
    )


def step_figures(step: Step) -> dict[str, float]:
    """Return what is logged of a step of online eva."""
    evolved = of_evolutions(step.evolutions)
    solver = {f"solver/{name}": value for name, value in of_answers(step.scored).items()}
    creator = {
        "info_mean": mean(v for v in step.info if v is not None),
        "replayed": step.replayed,
        "recycled": step.recycled,
        "dropped": sum(step.draws) - len(step.scored),
        "dropped_tokens": step.dropped_tokens,
        "children": evolved["children"],
        "refused": evolved["refused"],
        "delay": mean(step.delays),
    }
    named = solver | {f"creator/{name}": value for name, value in creator.items()}
    return figures(named) | dict(step.figures)


def of_steps(t: int, steps: Sequence[Step]) -> dict[str, Json]:
    """Return the record of a round of online eva; its keys are those of `of_round` where it can."""
    scored = [group for step in steps for group in step.scored]
    evolutions = [evolution for step in steps for evolution in step.evolutions]
    answers, evolved = of_answers(scored), of_evolutions(evolutions)
    values = [value for step in steps for value in step.info]
    drawn = [step.info[i] for step in steps for i in step.seeds]
    last = steps[-1].figures
    prompts = {group.prompt.id: group.prompt for group in scored}
    wrote = sum(prompt.evolved for prompt in prompts.values())
    trained = {
        "updates": int(sum(step.figures.get("solver/updates", 0) for step in steps)),
        "trained_tokens": int(sum(step.figures.get("solver/trained_tokens", 0) for step in steps)),
    }
    spent = {
        "creator": sum(step.dropped_tokens for step in steps),
        "rewriter": evolved["rewriter_tokens"],
        "solver": answers.pop("generated_tokens"),
        "trained": trained["trained_tokens"],
    }
    return {
        "round": t,
        "steps": len(steps),
        "prompts": list(prompts),
        "counts": {"prompts": len(prompts), "evolved": wrote, "human": len(prompts) - wrote},
        "tokens": spent | {"total": sum(spent.values())},
        "creator": {
            **of_prompts(list(prompts.values())),
            "phases": dict(sorted(Counter(step.phase for step in steps).items())),
            "info_mean": mean(v for v in values if v is not None),
            "info_drawn_mean": mean(v for v in drawn if v is not None),
            "info_error_mean": mean(e for step in steps for e in step.errors if e is not None),
            **disagreement.figures(scored, values),
            **inheritance.figures(steps),
            "without_info": sum(value is None for value in values),
            "drawn": len(drawn),
            "replayed": sum(step.replayed for step in steps),
            "recycled": sum(step.recycled for step in steps),
            "dropped": sum(sum(step.draws) - len(step.scored) for step in steps),
            "delay": mean(delay for step in steps for delay in step.delays),
            **evolved,
            **of_contrast(scored),
            **{n.removeprefix("creator/"): v for n, v in last.items() if n.startswith("creator/")},
        },
        "solver": {**answers, **of_deviations(scored), "training": trained},
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
        "values": list(_known(info.values)),
        "errors": list(_known(info.errors)),
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
    return {
        **of_answers(scored),
        "info_mean": mean(values),
        "info_drawn_mean": mean(v for v in drawn if v is not None),
        "info_error_mean": mean(v for v in sample["errors"] if v is not None),
        **disagreement.figures(scored, sample["values"]),
        "without_info": sum(v is None for v in sample["values"]),
        "drawn": len(drawn),
        **of_evolutions(evolutions),
    }


def of_evolutions(evolutions: Sequence[Evolution]) -> dict[str, Json]:
    """Return what was written and what was refused, by gate and operator."""
    turned_down = [refusal for evolution in evolutions for refusal in evolution.refusals]
    refusals = Counter(refusal.gate for refusal in turned_down)
    operators = Counter(c.operator for evolution in evolutions for c in evolution.children)
    tried = operators + Counter(refusal.operator for refusal in turned_down)
    spent, grades = Counter[str](), Counter[str]()
    for evolution in evolutions:
        spent.update(evolution.spent)
        grades.update(evolution.grades)
    graded = grades.pop("graded", 0)
    beaten = refusals.pop("best_of", 0)
    children, refused = operators.total(), refusals.total()
    return {
        "children": children,
        "refused": refused,
        "beaten": beaten,
        "refusals": dict(sorted(refusals.items())),
        "acceptance": children / (children + refused) if children + refused else None,
        "operators": dict(sorted(operators.items())),
        "tried": dict(sorted(tried.items())),
        "operator_tokens": dict(sorted(spent.items())),
        "grades": {name: total / graded for name, total in sorted(grades.items())},
        "rewriter_tokens": sum(evolution.generated_tokens for evolution in evolutions),
    }


def of_contrast(scored: Sequence[ScoredGroup]) -> dict[str, Json]:
    """Return by operator the share of evolved prompts whose answers differ in reward."""
    differs: dict[str, list[bool]] = defaultdict(list)
    for group in scored:
        rewards = {reward for reward in group.rewards if reward is not None}
        if group.prompt.evolved and rewards:
            differs[group.prompt.operator].append(len(rewards) > 1)
    return {"contrast": {name: mean(some) for name, some in sorted(differs.items())}}


def of_prompts(prompts: Sequence[Prompt]) -> dict[str, Json]:
    """Return how much prompts ask for, by counting, and how they spread over their topics."""
    topics = Counter(prompt.topic for prompt in prompts if prompt.topic)
    shares = {topic: n / topics.total() for topic, n in topics.most_common()}
    said: dict[str, Json] = {
        "complexity": mean(clauses(prompt.text) for prompt in prompts),
        "words": mean(words(prompt.text) for prompt in prompts),
        "diversity": distinct([prompt.text for prompt in _some(prompts)], 3),
    }
    if topics:
        said["topics"] = len(topics)
        said["topic_spread"] = math.exp(-sum(p * math.log(p) for p in shares.values()))
    # the topic of a verifiable prompt is its request, and no name for a metric
    if len(topics) <= _TOPICS and not any(prompt.checks for prompt in prompts):
        said["topic_shares"] = {topic.replace("/", " "): p for topic, p in shares.items()}
    return said


_TOPICS = 24
"""Most topics whose shares are on record one by one: where every prompt has its own, none is."""


def lacks_contrast(group: ScoredGroup) -> bool:
    """Whether at least two answers are scored, and all those alike."""
    rewards = [reward for reward in group.rewards if reward is not None]
    return len(rewards) > 1 and len(set(rewards)) == 1


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
        **of_parts(scored),
        **of_comparisons(scored),
        "unanswered": sum(not group.group.responses for group in scored),
        "length_mean": mean(response.length for response in responses),
        "truncated": mean(response.truncated for response in responses),
        "repetition": mean(
            share for text in _some(responses) if (share := repetition(text.text)) is not None
        ),
    }


def of_parts(scored: Sequence[ScoredGroup]) -> dict[str, Json]:
    """Return the means over prompts of what a reward is made of; nothing without any."""
    means = {
        name: mean(float(np.mean(row)) for row in rows if row)
        for name, rows in _parts(scored).items()
    }
    return {"parts": means} if means else {}


def of_deviations(scored: Sequence[ScoredGroup]) -> dict[str, Json]:
    """Return the standard deviations over answers of what a reward is made of."""
    spread = {
        name: float(np.std([value for row in rows for value in row]))
        for name, rows in _parts(scored).items()
    }
    return {"part_deviations": spread} if spread else {}


def _parts(scored: Sequence[ScoredGroup]) -> dict[str, list[list[float]]]:
    """Return values by name, prompt and answer; parts of parts are left out."""
    names = {n for group in scored for s in group.scores for n in s.parts if "/" not in n}
    return {
        name: [[s.parts[name] for s in group.scores if name in s.parts] for group in scored]
        for name in sorted(names)
    }


def of_comparisons(scored: Sequence[ScoredGroup]) -> dict[str, Json]:
    """Return how comparing answers two by two went; nothing where none were compared.

    Answers that are the same are not asked about, and left out here.
    """
    compared = [(group.compared, group.group.responses) for group in scored if group.compared]
    if not compared:
        return {}
    causes: Counter[str] = Counter()
    for comparisons, _ in compared:
        causes.update(comparisons.failures)
    verdicts = [
        (one, other)
        for comparisons, responses in compared
        for i, j, one, other in comparisons.judged()
        if responses[i].text != responses[j].text
    ]
    return {
        "judged_pairs": len(verdicts),
        "order_changes": mean(one != 1 - other for one, other in verdicts),
        "first_wins": mean((one + other) / 2 for one, other in verdicts),
        "unjudged": dict(sorted(causes.items())),
    }


def of_rewrites(scored: Sequence[ScoredGroup], rewrites: Sequence[ScoredGroup]) -> dict[str, Json]:
    """Return what rewriting the best answers gave, beside the groups that they belong to."""
    gains = [
        max(new) - max(known)
        for group, rewrite in zip(scored, rewrites, strict=True)
        if (new := [r for r in rewrite.rewards if r is not None])
        and (known := [r for r in group.rewards if r is not None])
    ]
    return {
        "rewritten": len(gains),
        "rewritten_better": mean(gain > 0 for gain in gains),
        "rewritten_gain": mean(gains),
        "rewriter_tokens": sum(rewrite.group.generated_tokens for rewrite in rewrites),
    }


def of_solver(pairing: Pairing, training: Mapping[str, Json]) -> dict[str, Json]:
    """Return what became of the groups, and how training went."""
    return {
        "pairs": len(pairing.examples),
        "skipped": dict(sorted(pairing.skipped.items())),
        **pairing.figures,
        "training": dict(training),
    }


def _some(items: Sequence[T]) -> Sequence[T]:
    """Return at most `MEASURED` items, evenly spaced: n-grams of all cost more than they say."""
    return items[:: -(-len(items) // MEASURED)] if items else items


def _known(values: Floats) -> tuple[float | None, ...]:
    return tuple(None if math.isnan(value) else float(value) for value in values)


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
