"""The parts that a config picks by name, each with its own settings."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, model_validator

from eva.app.config_section import Section as Section
from eva.app.config_servers import Server

Share = Annotated[float, Field(ge=0, le=1)]


# --- creator


class Sampler(Section):
    """How the informative subset is drawn; see `eva.creator.sampling`."""

    name: Literal["weighted", "greedy", "stratified", "rank", "topic_blended", "uniform"] = (
        "weighted"
    )
    bins: Annotated[int, Field(gt=1)] = 10
    """Quantile bins of `stratified`."""
    beta: Annotated[float, Field(gt=0)] = 1.0
    """Temperature of `rank`: P ∝ rank^(-1/beta)."""
    c: Share = 0.25
    """Weight of rare topics in `topic_blended`; the metric's is 1 - c. Paper: 0.25."""


class Operator(Section):
    """A rewriting instruction for a language model, as data."""

    name: str
    family: Literal["depth", "breadth"] = "depth"
    template: str
    """Text with `{prompt}` where the prompt goes.

    `{other}` is replaced by a second parent, `{examples}` by prompts to look at.
    """
    keeps_topic: bool = True
    """Whether a child is still about what its parent was about."""


class InstructEvolver(Section):
    """Rewriting by a language model, in a chain: each accepted child is the next one's parent.

    With `self_instruct` the children are siblings.
    """

    name: Literal["evol_instruct", "evol_complexity", "evol_quality", "self_instruct", "online_ten"]
    model: str = ""
    """Another local model; empty means the policy itself."""
    server: Server | None = None
    """A server with another model, in place of a local one."""
    operators: tuple[str, ...] = ()
    """Names of operators; empty means the set of the evolver's name."""
    temperature: Annotated[float, Field(ge=0)] = 0.88
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    max_tokens: Annotated[int, Field(gt=0)] = 666
    keep_columns: tuple[str, ...] = ()
    """Columns of `prompts.keep` that stay true of a rewritten prompt; the others are dropped."""
    best_of: Annotated[int, Field(ge=1)] = 1
    """Candidates for every rewrite, of which the best is taken."""
    best_by: Literal["clauses", "grades"] = "clauses"
    """Count clauses, or let the rewriting model grade complexity and quality of every candidate."""

    @property
    def elsewhere(self) -> bool:
        """Whether another model than the policy rewrites."""
        return bool(self.model or self.server)

    @model_validator(mode="after")
    def _one_rewriter(self) -> InstructEvolver:
        if self.model and self.server:
            raise ValueError("model and server both name a rewriter: take one of them")
        return self


class RuleEvolver(Section):
    """Rule operators for verifiable prompts: text and checks change together."""

    name: Literal["rules"]
    operators: tuple[Literal["add", "harden", "swap", "move", "combine"], ...] = (
        "add", "harden", "swap", "move", "combine",
    )  # fmt: skip


class LevelEvolver(Section):
    """Puzzles of reasoning-gym one level up, one down, or others of the same level."""

    name: Literal["levels"]
    operators: tuple[Literal["harder", "easier", "another"], ...] = ("harder", "easier", "another")
    """The operators to choose from, all equally likely."""


class NoEvolver(Section):
    """No evolving: the solver trains on the informative subset."""

    name: Literal["none"]


Evolver: TypeAlias = Annotated[
    InstructEvolver | RuleEvolver | LevelEvolver | NoEvolver, Field(discriminator="name")
]


class Gym(Section):
    """Puzzles of reasoning-gym as prompts, with `source = "reasoning_gym"`."""

    tasks: Annotated[tuple[str, ...], Field(min_length=1)]
    """Names of the library's tasks; those whose judges run answers as code are refused."""
    size: Annotated[int, Field(gt=0)] = 500
    """Puzzles to make, held-out ones among them."""
    level: Annotated[int, Field(ge=0)] = 0
    """Highest level at the start; levels are drawn from 0 to it."""


class Gate(Section):
    """A reason to refuse a child; see `eva.creator.gates`."""

    name: Literal["meta_text", "length_band", "duplicate", "eval_overlap"]
    min_ratio: Annotated[float, Field(gt=0)] = 0.5
    """`length_band`: least words of the child over words of its parent."""
    max_ratio: Annotated[float, Field(gt=1)] = 2.0
    """`length_band`: greatest words of the child over words of its parent, before `slack`."""
    slack: Annotated[int, Field(ge=0)] = 30
    """`length_band`: words allowed beyond `max_ratio`."""
    similarity: Share = 0.7
    """`duplicate`: Jaccard similarity of word 3-grams from which two prompts are the same."""
    ngram: Annotated[int, Field(gt=2)] = 8
    """`eval_overlap`: words in a row that a child may not share with an evaluation prompt."""


# --- solver


class Dpo(Section):
    """Direct preference optimisation."""

    name: Literal["dpo"]
    beta: Annotated[float, Field(gt=0)] = 0.05


class Ipo(Section):
    """Identity preference optimisation."""

    name: Literal["ipo"]
    beta: Annotated[float, Field(gt=0)] = 0.6
    reduction: Literal["sum", "mean"] = "sum"


class Sppo(Section):
    """Self-play preference optimisation."""

    name: Literal["sppo_hard", "sppo_soft"]
    beta: Annotated[float, Field(gt=0)] = 0.001


class Simpo(Section):
    """Simple preference optimisation, without reference."""

    name: Literal["simpo"]
    beta: Annotated[float, Field(gt=0)] = 10.0
    gamma: float = 5.0


class Orpo(Section):
    """Odds-ratio preference optimisation, without reference."""

    name: Literal["orpo"]
    coefficient: Annotated[float, Field(ge=0)] = 0.5
    """λ of the paper."""


class Rpo(Section):
    """DPO plus the negative log-likelihood of the chosen response."""

    name: Literal["rpo"]
    beta: Annotated[float, Field(gt=0)] = 0.1
    alpha: Annotated[float, Field(ge=0)] = 1.0


OfflineObjective: TypeAlias = Dpo | Ipo | Sppo | Simpo | Orpo | Rpo


class Pairs(Section):
    """Which two responses of a group become a pair. Ties never do."""

    name: Literal["best_worst", "best_random"] = "best_worst"
    margin: Annotated[float, Field(ge=0)] = 0.0
    """Smallest difference of rewards, exclusive."""
    truncated_chosen: bool = False
    """Whether a response cut off by the token limit may be the chosen one."""
