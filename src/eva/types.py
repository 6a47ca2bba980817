"""The data of the game. Everything is frozen and flows one way.

    Prompt ──answer──► Group ──score──► ScoredGroup ──► informativeness, pairs
      ▲                                                    │
      └───────────── Proposal ◄──────── evolve ◄── sample ─┘

Shape suffixes in array code: `_P` prompts, `_G` responses of a prompt, `_N` parents,
`_K` children, `_T` tokens.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from eva.comparisons import Comparisons

if TYPE_CHECKING:
    from torch import Tensor

Json: TypeAlias = Any
"""What `json.dumps` takes: None, bool, int, float, str, and lists and dicts of them."""

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Role: TypeAlias = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Check:
    """A constraint that a program can verify: a kind of `eva.constraints` and its arguments."""

    kind: str
    args: Mapping[str, Json] = field(default_factory=dict)

    def key(self) -> str:
        """Return a canonical text of the check, equal for equal checks."""
        return f"{self.kind} {json.dumps(dict(self.args), sort_keys=True, ensure_ascii=False)}"


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt of the population; its last message is the user's turn, the one that evolves."""

    messages: tuple[Message, ...]
    checks: tuple[Check, ...] = ()
    """What a verifiable reward checks; empty for an open prompt."""
    topic: str = ""
    """For a verifiable prompt the request without its constraints; else a label, or empty."""
    parents: tuple[str, ...] = ()
    """Ids of the prompts it was made from: none for a human prompt, two for a combination."""
    operator: str = "human"
    """The operator that made it; `human` for one that came from outside."""
    born: int = 0
    """The round in which it joined the population; 0 for the first human prompts."""
    columns: Mapping[str, Json] = field(default_factory=dict)
    """Further columns of the data set (a reference answer, a category), handed to rewards."""
    id: str = ""
    """Hash of messages and checks; computed when left empty."""

    def __post_init__(self) -> None:
        if not self.messages or self.messages[-1].role != "user":
            raise ValueError("a prompt needs messages, the last of them a user's")
        if not self.id:
            object.__setattr__(self, "id", content_id(self.messages, self.checks))

    @classmethod
    def of(cls, text: str, **fields: Any) -> Prompt:
        """Make a prompt of a single user turn.

        >>> Prompt.of("Name a colour.").text
        'Name a colour.'
        """
        return cls((Message("user", text),), **fields)

    @property
    def text(self) -> str:
        """The user's last turn."""
        return self.messages[-1].content

    @property
    def evolved(self) -> bool:
        """Whether eva wrote it."""
        return bool(self.parents)

    def rewritten(self, text: str, *, operator: str, born: int, **fields: Any) -> Prompt:
        """Return the child whose last turn is `text`; earlier turns, topic and columns are kept.

        `fields` may set `checks` (default: none), `topic`, `columns`, or `parents` (default: this
        prompt).
        """
        made: dict[str, Any] = {"topic": self.topic, "columns": self.columns, "parents": (self.id,)}
        turns = (*self.messages[:-1], Message("user", text))
        return Prompt(turns, operator=operator, born=born, **(made | fields))


def content_id(messages: Sequence[Message], checks: Sequence[Check] = ()) -> str:
    """Return a prompt's id: 16 hexadecimal digits, a hash of what solver and reward see."""
    seen = [[m.role, m.content] for m in messages], sorted(check.key() for check in checks)
    return hashlib.blake2b(json.dumps(seen).encode(), digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How answers are sampled."""

    n: int = 6
    """Responses per prompt."""
    temperature: float = 0.7
    """0 means greedy decoding."""
    top_p: float = 0.9
    max_tokens: int = 2048
    """A response that reaches it without an end token is truncated."""


Finish: TypeAlias = Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Response:
    """One sampled answer."""

    text: str
    token_ids: tuple[int, ...]
    """The sampled tokens, (T,), with the end token if it was sampled; empty from a text server."""
    logprobs: tuple[float, ...] = ()
    """Log-prob of each token under the policy at temperature 1, (T,); empty where unknown."""
    finish: Finish = "stop"
    counted: int | None = None
    """Tokens that a text server says it sampled; None where `token_ids` holds them."""

    @property
    def length(self) -> int:
        """Tokens sampled."""
        return len(self.token_ids) if self.counted is None else self.counted

    @property
    def truncated(self) -> bool:
        """Whether the token limit cut it off."""
        return self.finish == "length"


@dataclass(frozen=True, slots=True)
class Group:
    """A prompt with its n responses."""

    prompt: Prompt
    prompt_ids: tuple[int, ...]
    """The prompt as the solver saw it, chat template applied, (T,)."""
    responses: tuple[Response, ...]
    policy: str
    """Version of the policy that answered."""

    @property
    def generated_tokens(self) -> int:
        """Tokens sampled for this group."""
        return sum(r.length for r in self.responses)


@dataclass(frozen=True, slots=True)
class Score:
    """The reward of one response, or why there is none."""

    reward: float | None
    cause: str = ""
    """Why it is unscored: `raised`, `timeout`, `nan`, `none`, `count`; empty when scored."""
    detail: str = ""
    """The error's own words, for the first look at a broken reward."""
    parts: Mapping[str, float] = field(default_factory=dict)
    """Named components, where the reward has any."""
    members: tuple[float, ...] = ()
    """What each member of an ensemble gave; the reward is their mean. Empty elsewhere."""


@dataclass(frozen=True, slots=True)
class ScoredGroup:
    """A group with a score for each response; the only thing that creator and solver see."""

    group: Group
    scores: tuple[Score, ...]
    compared: Comparisons | None = None
    """What a reward that compares the responses two by two found; None from any other."""

    def __post_init__(self) -> None:
        if len(self.scores) != len(self.group.responses):
            got, want = len(self.scores), len(self.group.responses)
            raise ValueError(f"prompt {self.prompt.id}: {got} scores for {want} responses")

    @property
    def prompt(self) -> Prompt:
        """The prompt."""
        return self.group.prompt

    @property
    def rewards(self) -> tuple[float | None, ...]:
        """Rewards, (G,); None where scoring failed."""
        return tuple(score.reward for score in self.scores)

    def joined(self, other: ScoredGroup) -> ScoredGroup:
        """Return this group with the responses and scores of another one, without comparisons."""
        responses = (*self.group.responses, *other.group.responses)
        return ScoredGroup(replace(self.group, responses=responses), (*self.scores, *other.scores))


@dataclass(frozen=True, slots=True)
class Estimates:
    """A metric over prompts: values, standard errors and numbers of scored responses, (P,) each.

    A value is NaN where too few responses were scored to compute it; such a prompt is never drawn.
    """

    values: Floats
    errors: Floats
    counts: Ints


@dataclass(frozen=True, slots=True)
class Proposal:
    """What an evolver made of one parent: a child, or the reason why there is none."""

    parent: Prompt
    operator: str
    child: Prompt | None
    reason: str = ""
    """Why there is no child: the operator could not be applied, or its output not parsed.

    Of a candidate that lost to another, why.
    """
    text: str = ""
    """The rewriter's raw output, kept for refused proposals."""
    generated_tokens: int = 0
    """Tokens that models sampled to write and to grade it; 0 for rules."""
    grades: Mapping[str, float] = field(default_factory=dict)
    """The child's grades by name, where a model gave any."""
    beaten: tuple[Proposal, ...] = ()
    """Candidates for the same place that it was chosen over; their tokens are their own."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A proposal that did not enter the population, kept with its reason."""

    parent_id: str
    operator: str
    gate: str
    """Name of the gate that refused it; `evolver` when no child came out, `best_of` when a better
    candidate did."""
    reason: str
    text: str
    round: int


@dataclass(frozen=True, slots=True)
class Evolution:
    """What became of one seed: the children that entered, the proposals that did not."""

    parent_id: str
    children: tuple[Prompt, ...]
    refusals: tuple[Refusal, ...]
    generated_tokens: int = 0
    spent: Mapping[str, int] = field(default_factory=dict)
    """The same tokens by operator."""
    grades: Mapping[str, float] = field(default_factory=dict)
    """Sums of the children's grades by name, and `graded`, the children that have them."""

    @property
    def refused(self) -> int:
        """Proposals with which fault was found: not those that lost to a better candidate."""
        return sum(refusal.gate != "best_of" for refusal in self.refusals)


@dataclass(frozen=True, slots=True)
class Draw:
    """A batch of prompts of online eva, and where they came from."""

    prompts: tuple[Prompt, ...]
    phase: str
    """`warm-up`, `mix-up` or `bootstrap`."""
    replayed: int
    """Of them, from the buffer: the last ones."""
    recycled: int = 0
    """Of them, human prompts that were taken before."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """What became of the seeds of one step: in the background, some steps later."""

    step: int
    """The step whose seeds they were."""
    evolutions: tuple[Evolution, ...]
    worth: tuple[float, ...]
    """Informativeness of each seed at that step."""


@dataclass(frozen=True, slots=True)
class Step:
    """What a step of online eva was made of: enough to go through it again."""

    number: int
    """Counted over the run from 1."""
    phase: str
    """`warm-up`, `mix-up` or `bootstrap`."""
    draws: tuple[int, ...]
    """Prompts drawn: the batch, then what replaced prompts without contrast."""
    replayed: int
    """Of them, from the buffer."""
    recycled: int
    """Of them, human prompts that were taken before."""
    dropped_tokens: int
    """Sampled for answers of the prompts that were replaced."""
    scored: tuple[ScoredGroup, ...]
    """What was trained on, answered and scored."""
    info: tuple[float | None, ...]
    """Informativeness of its prompts, (P,); None where it could not be computed."""
    errors: tuple[float | None, ...]
    """Standard errors of it, (P,)."""
    seeds: tuple[int, ...]
    """Which of its prompts were evolved, or given to be."""
    evolutions: tuple[Evolution, ...]
    """What became of seeds: of its own, or, in the background, of those that arrived in it."""
    worth: tuple[float, ...]
    """Informativeness of the seed of each evolution, when it was chosen."""
    delays: tuple[int, ...]
    """Steps since then, by evolution."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """What the update and the buffer had to say."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Names one step of one round: `Stage(2, "creator/answer")`."""

    round: int
    name: str


@dataclass(frozen=True, slots=True)
class Example:
    """One training example: completions of one prompt, with what the objective needs to know."""

    prompt_id: str
    prompt_ids: tuple[int, ...]
    completions: tuple[tuple[int, ...], ...]
    """Sampled token ids: (chosen, rejected) for a pair, one for online RL."""
    columns: Mapping[str, float] = field(default_factory=dict)
    """Numbers that the objective reads: rewards, win probabilities, advantages."""
    reference: tuple[tuple[float, ...], ...] | None = None
    """Per-token log-probs under the reference policy, aligned with `completions`."""
    tokens: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Per-token numbers of the first completion that the objective reads: `old`, `sampled`."""

    @property
    def trained_tokens(self) -> int:
        """Completion tokens that carry gradient in one pass over the example."""
        return sum(map(len, self.completions))


@dataclass(frozen=True, slots=True)
class Pairing:
    """The training examples of a round, and how many groups gave none, by cause."""

    examples: tuple[Example, ...]
    skipped: Mapping[str, int]
    figures: Mapping[str, float] = field(default_factory=dict)
    """Means over the pairs, by metric name."""


@dataclass(frozen=True, slots=True)
class Ragged:
    """Per-token values of B sequences of unequal lengths, end to end."""

    values: Tensor
    """(sum of lengths,)"""
    lengths: tuple[int, ...]
    """(B,)"""


@dataclass(frozen=True, slots=True)
class Loss:
    """What an objective returns: per-example values to minimise and what to log, (B,) each."""

    values: Tensor
    metrics: Mapping[str, Tensor]
