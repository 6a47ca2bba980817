"""Evolves verifiable prompts by rules: text and checks change together, and no model is asked.

    add      one more constraint               move     the same constraints on another topic
    harden   a constraint, one level up        combine  constraints of two prompts on one topic
    swap     a constraint for one of another kind

An operator maps a parent to a `Draft`, or says why it does not apply. The draft is put into new
words, so children of one parent differ in wording too.

Departures from the paper: there (arXiv:2411.00062, section 3.2) a language model rewrites the text
of open prompts; here the checks are known, so the reward of a child is exact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import numpy as np

from eva.constraints import (
    TOPICS,
    compatible,
    compose,
    find,
    fitting,
    level_of,
    partition,
    request,
)
from eva.errors import ConfigError, unknown_name
from eva.rng import Streams
from eva.types import Check, Json, Prompt, Proposal


@dataclass(frozen=True, slots=True)
class Draft:
    """A child before it is put into words."""

    topic: str
    checks: tuple[Check, ...]
    mate: Prompt | None = None
    """The second parent of a combination."""
    keeps_columns: bool = True
    """Whether the parent's columns still hold: a reference answer does not on another topic."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What operators may draw from."""

    kinds: tuple[str, ...]
    """Kinds of constraints to add; held-out ones are not among them."""
    topics: tuple[str, ...] = TOPICS
    """Requests without constraints to move to."""
    max_checks: int = 3
    """The most constraints that a child has."""
    budget: int = 40
    """Words that an answer may have; 64 tokens leave room for about 40."""


class Scene(NamedTuple):
    """What surrounds a parent."""

    rules: Rules
    mates: Sequence[Prompt] = ()
    """Prompts to combine it with; itself among them does not matter."""


Operator: TypeAlias = Callable[[Prompt, Scene, np.random.Generator], Draft | str]
"""Maps a parent, what surrounds it and a stream to a draft, or to why it does not apply."""


def add(parent: Prompt, scene: Scene, rng: np.random.Generator) -> Draft | str:
    """Add a constraint, at most as hard as the parent's hardest; an open prompt gets its first."""
    if len(parent.checks) >= scene.rules.max_checks:
        return f"it has {len(parent.checks)} constraints, {scene.rules.max_checks} are allowed"
    level = int(rng.integers(1, max(map(level_of, parent.checks), default=1) + 1))
    check = fitting(parent.checks, scene.rules.kinds, rng, level=level, budget=scene.rules.budget)
    if check is None:
        return "no further kind of constraint goes together with its own"
    return Draft(request(parent), (*parent.checks, check))


def harden(parent: Prompt, scene: Scene, rng: np.random.Generator) -> Draft | str:
    """Raise one constraint by one level."""
    for i in rng.permutation(len(parent.checks)):
        check, others = parent.checks[i], _without(parent.checks, int(i))
        level = level_of(check) + 1
        if level > len(find(check.kind).levels):
            continue
        harder = fitting(others, [check.kind], rng, level=level, budget=scene.rules.budget)
        if harder is not None:
            return Draft(request(parent), (*others, harder))
    return "no constraint can be made harder"


def swap(parent: Prompt, scene: Scene, rng: np.random.Generator) -> Draft | str:
    """Replace one constraint by one of another kind at the same level."""
    taken = {check.kind for check in parent.checks}
    kinds = [name for name in scene.rules.kinds if name not in taken]
    for i in rng.permutation(len(parent.checks)):
        others = _without(parent.checks, int(i))
        level = level_of(parent.checks[i])
        check = fitting(others, kinds, rng, level=level, budget=scene.rules.budget)
        if check is not None:
            return Draft(request(parent), (*others, check))
    return "no constraint can be replaced by another kind"


def move(parent: Prompt, scene: Scene, rng: np.random.Generator) -> Draft | str:
    """Put the same constraints on another topic."""
    if not parent.checks:
        return "it has no constraints to take to another topic"
    if _in_dialogue(parent):
        return "its topic belongs to the turns before it"
    topics = [topic for topic in scene.rules.topics if topic != request(parent)]
    if not topics:
        return "there is no other topic"
    return Draft(topics[int(rng.integers(len(topics)))], parent.checks, keeps_columns=False)


def combine(parent: Prompt, scene: Scene, rng: np.random.Generator) -> Draft | str:
    """Take the topic of one of two prompts and constraints of both."""
    # Sorted: the draw depends on who the mates are, not on the order in which they came.
    pool = sorted(
        (m for m in scene.mates if m.id != parent.id and m.checks and m.topic), key=lambda m: m.id
    )
    if not parent.checks or not pool:
        return "it needs two prompts with constraints"
    mate = pool[int(rng.integers(len(pool)))]
    own = [parent.checks[i] for i in rng.permutation(len(parent.checks))]
    checks = [own[0]]
    # The mate's first, so that a full house still holds some of both.
    for check in (*(mate.checks[i] for i in rng.permutation(len(mate.checks))), *own[1:]):
        if len(checks) < scene.rules.max_checks and compatible(check, checks):
            checks.append(check)
    if not set(_keys(checks)) - set(_keys(parent.checks)):
        return f"no constraint of {mate.id} goes together with its own"
    other_topic = not _in_dialogue(parent) and not _in_dialogue(mate) and rng.random() < 0.5
    topic = request(mate if other_topic else parent)
    return Draft(topic, tuple(checks), mate=mate, keeps_columns=not other_topic)


OPERATORS: dict[str, Operator] = {
    "add": add,
    "harden": harden,
    "swap": swap,
    "move": move,
    "combine": combine,
}
"""Every operator by name."""


@dataclass(frozen=True, slots=True)
class RuleEvolver:
    """Writes children of verifiable prompts by operators drawn at random.

    Operators that do not apply to a parent give way to the next one drawn; only a parent to which
    none applies gets no child. All draws for a parent come from `streams.of(parent.id, step)`.

    Raises:
        ConfigError: an operator, kind or topic pool that cannot be played.
    """

    rules: Rules = field(default_factory=lambda: Rules(partition().trained))
    weights: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(OPERATORS, 1.0))
    """How often each operator is tried first; those left out or of weight 0 are never used."""
    chain: bool = False
    """Whether an accepted child is the next parent; by default all children are siblings."""

    def __post_init__(self) -> None:
        for name, weight in self.weights.items():
            if name not in OPERATORS:
                raise ConfigError(unknown_name("rule operator", name, OPERATORS))
            if not weight >= 0:
                raise ConfigError(f"weight of rule operator {name!r}: got {weight}, expected >= 0")
        if not sum(self.weights.values()) > 0:
            raise ConfigError("no rule operator has a weight above 0")
        if not self.rules.kinds or self.rules.max_checks < 1:
            raise ConfigError("rules need at least one kind of constraint and max_checks >= 1")
        for kind in self.rules.kinds:
            find(kind)

    def propose(self, parents: Sequence[Prompt], step: int, streams: Streams) -> list[Proposal]:
        """Return one proposal per parent, in order; mates are the other parents of the call."""
        return [
            self._child(p, parents, rng=streams.of(p.id, step), born=streams.round) for p in parents
        ]

    def _child(
        self, parent: Prompt, mates: Sequence[Prompt], *, rng: np.random.Generator, born: int
    ) -> Proposal:
        if parent.checks and not parent.topic:
            reason = "it has constraints, but its topic, the request without them, is not known"
            return Proposal(parent, "rules", None, reason=reason)
        reasons: list[str] = []
        for name in self._order(rng):
            draft = OPERATORS[name](parent, Scene(self.rules, mates), rng)
            if isinstance(draft, Draft):
                return Proposal(parent, name, _written(parent, draft, name, rng=rng, born=born))
            reasons.append(f"{name}: {draft}")
        return Proposal(parent, "rules", None, reason="; ".join(reasons))

    def _order(self, rng: np.random.Generator) -> list[str]:
        names = [name for name, weight in self.weights.items() if weight > 0]
        weights = np.array([self.weights[name] for name in names])
        drawn = rng.choice(len(names), len(names), replace=False, p=weights / weights.sum())
        return [names[i] for i in drawn]


def _written(
    parent: Prompt, draft: Draft, operator: str, *, rng: np.random.Generator, born: int
) -> Prompt:
    """Return the child that a draft describes, in words."""
    fields: dict[str, Json] = {} if draft.keeps_columns else {"columns": {}}
    if draft.mate is not None:
        fields["parents"] = (parent.id, draft.mate.id)
    return parent.rewritten(
        compose(draft.topic, draft.checks, rng),
        operator=operator,
        born=born,
        checks=draft.checks,
        topic=draft.topic,
        **fields,
    )


def _without(checks: Sequence[Check], i: int) -> tuple[Check, ...]:
    return (*checks[:i], *checks[i + 1 :])


def _keys(checks: Sequence[Check]) -> list[str]:
    return [check.key() for check in checks]


def _in_dialogue(prompt: Prompt) -> bool:
    """Whether turns other than a system message come before the last."""
    return any(message.role != "system" for message in prompt.messages[:-1])
