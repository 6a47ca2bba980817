"""A judge's own test: may it be used?

Good answers of eva's own are put beside corrupted ones, three for each request. A judge prefers
the good answer (right), the corrupted one (wrong), or neither (tied, half right); or its reply
cannot be read (unread). It passes where

- the share it gets right is above 0.7, by the lower end of a 95 % interval (Wilson's) that counts
  requests and not pairs, since answers to one request stand or fall together;
- at most 10 % of the pairs could not be judged;
- where it compares, at most 30 % of its verdicts change with the order of the answers.

A judge that guesses, that always says the same, or that always prefers the first answer is right in
half of the pairs.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from eva.protocols import RewardModel
from eva.rewards.training import wilson_interval
from eva.rng import Streams
from eva.types import Group, Json, Prompt, Response, ScoredGroup

LEAST_ACCURACY = 0.7
MOST_UNREAD = 0.1
MOST_ORDER_CHANGES = 0.3

KINDS = ("false", "ignoring", "truncated", "off_topic", "shuffled", "repeated")
"""How answers are corrupted."""

_AT_ONCE = 12
"""Pairs judged at once: all three of a request, so that its good answer is asked about once."""

_OUTCOMES = ("right", "tied", "wrong", "unread")


class Case(NamedTuple):
    """A request with a good and a corrupted answer."""

    kind: str
    prompt: str
    good: str
    bad: str


@dataclass(frozen=True, slots=True)
class Report:
    """What the test of a judge found."""

    outcomes: Mapping[str, Mapping[str, int]]
    """Pairs by corruption and outcome: `right`, `tied`, `wrong`, `unread`."""
    accuracy: float
    """Share of the pairs it judged that it got right, ties by half; 0 where it judged none."""
    accuracy_low: float
    """Lower end of its interval."""
    unread: float
    """Share of pairs that it did not judge."""
    order_changes: float | None
    """Share of its verdicts that change with the order; None for a judge that does not compare."""
    first_wins: float | None
    """Share of verdicts for the answer shown first, ties by half."""
    replies: tuple[str, ...]
    """The first replies that could not be read."""

    @property
    def faults(self) -> tuple[str, ...]:
        """Why the judge may not be used; empty where it may."""
        found = []
        if not self.accuracy_low > LEAST_ACCURACY:
            found.append(
                f"it is right in {self.accuracy:.0%} of the pairs, at least "
                f"{self.accuracy_low:.0%} by the interval; more than {LEAST_ACCURACY:.0%} needed"
            )
        if self.unread > MOST_UNREAD:
            found.append(
                f"{self.unread:.0%} of the pairs could not be judged; at most "
                f"{MOST_UNREAD:.0%} allowed"
            )
        if self.order_changes is not None and self.order_changes > MOST_ORDER_CHANGES:
            found.append(
                f"{self.order_changes:.0%} of its verdicts change with the order of the answers "
                f"(the first one wins {self.first_wins:.0%}); at most "
                f"{MOST_ORDER_CHANGES:.0%} allowed"
            )
        return tuple(found)

    def table(self) -> str:
        """Return the outcomes as lines of text."""
        lines = [f"{'corruption':<12}" + "".join(f"{name:>8}" for name in _OUTCOMES)]
        for kind, counts in self.outcomes.items():
            lines.append(f"{kind:<12}" + "".join(f"{counts[name]:>8}" for name in _OUTCOMES))
        return "\n".join(lines)

    def json(self) -> dict[str, Json]:
        """Return it as plain data."""
        return asdict(self) | {"faults": list(self.faults), "passed": not self.faults}


def check_judge(
    reward: RewardModel, *, compares: bool, advance: Callable[[int], None] = lambda done: None
) -> Report:
    """Let a judge judge the cases; `compares` says whether it looks at two answers at once.

    `advance` is called with the number of pairs that are done.

    Raises:
        GenerationError: the judge is broken as a whole.
    """
    some = cases()
    scored: list[ScoredGroup] = []
    for start in range(0, len(some), _AT_ONCE):
        scored += reward.score([_group(case) for case in some[start : start + _AT_ONCE]])
        advance(len(scored))
    read = [_outcome(group) for group in scored]
    outcomes = {kind: dict.fromkeys(_OUTCOMES, 0) for kind in KINDS}
    for case, outcome in zip(some, read, strict=True):
        outcomes[case.kind][outcome] += 1
    count = Counter(read)
    judged = len(read) - count["unread"]
    right = count["right"] + count["tied"] / 2
    requests = len({c.prompt for c, outcome in zip(some, read, strict=True) if outcome != "unread"})
    accuracy = right / judged if judged else 0.0
    return Report(
        outcomes,
        accuracy,
        wilson_interval(accuracy * requests, requests)[0] if judged else 0.0,
        unread=count["unread"] / len(read),
        **(_order(scored) if compares else {"order_changes": None, "first_wins": None}),
        replies=tuple(s.detail for g in scored for s in g.scores if s.reward is None)[:3],
    )


@cache
def cases() -> tuple[Case, ...]:
    """Return the cases: every request three times, every corruption about equally often."""
    text = files("eva.rewards").joinpath("judge_cases.toml").read_text(encoding="utf-8")
    written = tomllib.loads(text)["case"]
    found = []
    for i, case in enumerate(written):
        elsewhere = written[(i + 7) % len(written)]["good"]
        for kind in (KINDS[(i + step) % len(KINDS)] for step in (0, 1, 3)):
            bad = case.get(kind) or corrupted(case["good"], kind, elsewhere=elsewhere)
            found.append(Case(kind, case["prompt"], case["good"], bad))
    return tuple(found)


def corrupted(good: str, kind: str, *, elsewhere: str) -> str:
    """Return a corruption of a good answer; `elsewhere` is the answer to another request.

    >>> corrupted("One two three four. Five.", "truncated", elsewhere="")
    'One two'
    """
    words = good.split()
    if kind == "truncated":
        return " ".join(words[: max(1, 2 * len(words) // 5)])
    if kind == "off_topic":
        return elsewhere
    if kind == "shuffled":
        order = Streams(0, 0, "judge check").of(good).permutation(len(words))
        return " ".join(words[i] for i in order)
    return " ".join([good.partition(". ")[0].removesuffix(".") + "."] * 8)


def _group(case: Case) -> Group:
    responses = (Response(case.good, ()), Response(case.bad, ()))
    return Group(Prompt.of(case.prompt), (), responses, "written")


def _outcome(group: ScoredGroup) -> str:
    good, bad = group.rewards
    if good is None or bad is None:
        return "unread"
    return "right" if good > bad else "wrong" if bad > good else "tied"


def _order(scored: Sequence[ScoredGroup]) -> dict[str, float]:
    """Return how verdicts depend on the order; 0 and 1/2 where there are none."""
    verdicts = [
        (one, other)
        for group in scored
        if group.compared
        for _, _, one, other in group.compared.judged()
    ]
    if not verdicts:
        return {"order_changes": 0.0, "first_wins": 0.5}
    count = len(verdicts)
    return {
        "order_changes": sum(one != 1 - other for one, other in verdicts) / count,
        "first_wins": sum(one + other for one, other in verdicts) / (2 * count),
    }
