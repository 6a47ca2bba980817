"""The config: one frozen tree, read from TOML; unknown keys are refused.

Sizes and coefficients named "paper" are the published ones (arXiv:2411.00062, section 4, App. A).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from eva.app import config_judge
from eva.app.config_alarms import Alarms, alarm_faults
from eva.app.config_online import Oaif, Online, PolicyGradient, misfits
from eva.app.config_parts import (
    Evolver,
    Gate,
    Gym,
    InstructEvolver,
    OfflineObjective,
    Operator,
    Pairs,
    Sampler,
    Section,
    Share,
)
from eva.app.config_rewards import Reward, Rules, has_ensemble
from eva.app.config_servers import Serve

__all__ = ["Config"]

Positive = Annotated[int, Field(gt=0)]
Objective = Annotated[OfflineObjective | PolicyGradient | Oaif, Field(discriminator="name")]


class Lora(Section):
    """LoRA adapter of the policy; without this section all weights are trained."""

    rank: Positive = 16
    alpha: Positive = 32
    """The update is scaled by alpha / rank."""
    targets: tuple[str, ...] = ()
    """Names of linear layers; empty means every linear layer of the blocks."""


class Policy(Section):
    """The model that plays solver (and, unless the evolver names another, rewriter)."""

    model: str
    """A hub id, a local folder, `packaged:NAME`, or `random:tiny`."""
    device: str = "auto"
    """`auto` takes the GPU if there is one; else `cpu` or `cuda`."""
    dtype: Literal["float32", "float64", "bfloat16"] = "float32"
    """Compute type of training; the weights that the optimiser updates are at least float32."""
    generation_dtype: Literal["same", "auto", "float32", "bfloat16"] = "same"
    """Compute type of sampling; `auto` is bfloat16 where the device computes in it, else `same`."""
    lora: Lora | None = None
    trust_remote_code: bool = False
    """Whether code that comes with the model may run."""
    train_tokens: Positive = 1024
    """Tokens, padding included, of one micro-batch; raise it on a GPU."""
    decode_tokens: Positive = 16384
    """Cached tokens, padding included, of one decoding batch."""
    gradient_checkpointing: bool = False
    serve: Serve | None = None
    """Answers come from a server that eva starts; without this section, from the local engine."""


class Constraints(Section):
    """Turns plain prompts into verifiable ones by adding constraints that a program can check."""

    count: tuple[Positive, ...] = (1,)
    """Constraints per prompt, drawn uniformly from these numbers."""
    level: Positive = 1
    """Highest difficulty level of a constraint at the start."""
    kinds: tuple[str, ...] = ()
    """Kinds to train on; empty means all but those held out and `eva.constraints.IF_NAMED`."""
    held_out: tuple[str, ...] = ()
    """Kinds that are never trained on; empty means `eva.constraints.HELD_OUT`."""
    max_words: Positive = 60
    """Longest answer, in words, that a constraint may ask for."""
    max_constraints: Positive = 4
    """Most constraints that evolving may reach."""


class Topics(Section):
    """What prompts are about: the labels of a column, or the nearest of given names."""

    column: str = ""
    """Column of labels; empty takes `topic` where the data set has one."""
    names: tuple[str, ...] = ()
    """Topics for prompts without a label, and for evolved ones; empty leaves them without."""
    encoder: str = "packaged:minilm-l6-v2"
    """Sentence encoder that says which name is the nearest."""


class Prompts(Section):
    """The human prompts."""

    source: str
    """A file (JSONL, JSON, Parquet, CSV), a `datasets` folder or id, or `packaged:NAME`."""
    column: str = ""
    """Column of texts or chat messages; empty means the first usual name found."""
    split: str = ""
    """Split of a data set that has any; empty means `train`."""
    per_round: Positive = 10_000
    """Human prompts of the first round, X_1. Paper: 10K."""
    shuffle: bool = True
    """Whether the prompts are shuffled by the seed before the first are taken."""
    max_characters: Positive = 20_000
    """A longer prompt is set aside."""
    keep: tuple[str, ...] = ()
    """Further columns of the data set, handed to rewards; empty keeps a packaged set's own."""
    topics: Topics = Topics()
    constraints: Constraints | None = None
    gym: Gym | None = None

    @model_validator(mode="after")
    def _puzzles_have_tasks(self) -> Prompts:
        if (self.source == "reasoning_gym") != (self.gym is not None):
            raise ValueError("source 'reasoning_gym' and the section [prompts.gym] go together")
        return self


class Answers(Section):
    """How the policy answers prompts during the game."""

    n: Annotated[int, Field(ge=2)] = 6
    """Responses per prompt. Paper: 6."""
    temperature: Annotated[float, Field(gt=0)] = 0.7
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.9
    max_tokens: Positive = 2048


class Creator(Section):
    """Who chooses the prompts of rounds 2, 3, ..."""

    name: Literal["eva", "static", "new_human"] = "eva"
    """`static` plays the first human prompts again, `new_human` takes fresh ones every round."""
    informativeness: str = "a_min"
    """Paper: offline a_min (best minus worst reward), online a_avg (best minus mean)."""
    normalise_n: bool = False
    """Divide range metrics by d2(n), for groups with different numbers of scored responses."""
    noise_corrected: bool = False
    """Take out of the estimates what the members of an ensemble reward disagree about."""
    fraction: Share = 0.25
    """Share of the prompts that is drawn and evolved. Paper: 25 %."""
    children: Positive = 4
    """Rewrites per drawn prompt. Paper: 4, all kept."""
    evolved_share: Share = 0.8
    """Share of evolved prompts in the solver's set. Paper: 80 %."""
    source: Literal["last", "human", "population"] = "last"
    """Where X_t comes from: the last round's set (Algorithm 1), the first human prompts, or all."""
    sampler: Sampler = Field(default_factory=lambda: Sampler(name="weighted"))
    evolver: Evolver = Field(default_factory=lambda: InstructEvolver(name="evol_instruct"))
    gates: tuple[Gate, ...] = (
        Gate(name="meta_text"),
        Gate(name="length_band"),
        Gate(name="duplicate"),
        Gate(name="eval_overlap"),
    )
    operators: tuple[Operator, ...] = ()
    """Operators of your own, by name in an evolver's `operators`."""


class Rewriting(Section):
    """The policy rewrites its best answers; a rewrite is chosen where its reward is the highest."""

    temperature: Annotated[float, Field(ge=0)] = 0.7
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.9
    max_tokens: Positive = 2048


class Solver(Section):
    """How the policy trains on a round's pairs."""

    objective: Objective
    pairs: Pairs = Pairs()
    reference: Literal["previous", "sampler", "base", "none", "auto"] = "auto"
    """`previous` is the round's first policy; `auto` takes it where the objective needs one.

    `sampler` is the same policy by the log-probs recorded while it answered, which saves a pass.
    """
    rewrite: Rewriting | None = None
    """The paper's response rewriter; without this section answers are left as sampled."""
    start: Literal["incremental", "scratch"] = "incremental"
    """`scratch` trains the first weights on the pairs of all rounds so far."""
    optimiser: Literal["adamw", "rmsprop", "sgd"] = "adamw"
    optimiser_state: Literal["fresh", "carried"] = "fresh"
    """Whether a round goes on with the moments of the last one."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    learning_rate: Annotated[float, Field(gt=0)] = 5e-7
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of a round's updates. Paper: 0.1."""
    epochs: Positive = 1
    batch_size: Positive = 8
    """Pairs per update. Paper: 8 (SimPO: 32)."""
    clip: Annotated[float, Field(ge=0)] = 1.0
    """Largest gradient norm; 0 clips nothing."""


class Heldout(Section):
    """Held-out verifiable prompts: the same kinds of constraints, and kinds never trained on."""

    prompts: Positive = 24
    """Prompts per number of constraints, and per set of kinds; of open prompts, all."""
    counts: tuple[Positive, ...] = (1, 2, 3)


class Ifeval(Section):
    """IFEval, with the checkers of lm-eval."""

    source: str = "packaged:ifeval"
    prompts: Literal["fixed64", "all"] = "fixed64"
    max_tokens: Positive = 256


class Evaluation(Section):
    """What is measured before and after, on prompts that are never trained on."""

    when: Literal["ends", "rounds", "after", "never"] = "ends"
    """`ends`: before the first and after the last round; `rounds`: after every round too."""
    max_tokens: Positive = 256
    heldout: Heldout | None = None
    ifeval: Ifeval | None = None
    relevance: str = ""
    """Sentence encoder for answer-to-question relevance, e.g. `packaged:minilm-l6-v2`."""


class Budget(Section):
    """Equal compute: play until as many tokens as another run have been generated and trained."""

    tokens: Positive | None = None
    """Generated plus trained tokens per round."""
    match: str = ""
    """A run folder whose rounds give the budget."""


class Run(Section):
    """How the run is kept."""

    chunk: Positive = 64
    """Prompts answered, scored or evolved between two commits."""
    checkpoint_every: Positive = 50
    """Optimiser updates, or online steps, between two checkpoints."""
    keep_policies: Positive = 2
    """Policies of the newest rounds that are kept."""
    trackers: tuple[Literal["tensorboard", "wandb", "trackio"], ...] = ()
    threads: Annotated[int, Field(ge=0)] = 0
    """CPU threads; 0 takes the library's choice. Pin it where bits must repeat."""
    processes: Positive = 1
    """Processes of the training stage; above 1 it is launched, and memory is free when it ends."""
    strategy: Literal["ddp", "fsdp2"] = "ddp"


class Config(BaseModel):
    """A whole game."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, protected_namespaces=()
    )

    preset: Literal["", "paper"] = ""
    """Published choices under the config's own keys; see `eva.app.presets`."""
    schedule: Literal["offline", "online"] = "offline"
    """Whether prompts evolve by the round or by the batch; `online` has defaults of its own."""
    seed: Annotated[int, Field(ge=0)] = 42
    rounds: Positive = 2
    policy: Policy
    prompts: Prompts
    answers: Answers = Answers()
    reward: Reward
    creator: Creator = Creator()
    online: Online = Online()
    solver: Solver
    evaluation: Evaluation = Evaluation()
    budget: Budget = Budget()
    run: Run = Run()
    alarms: Alarms = Alarms()

    @model_validator(mode="after")
    def _schedule_fits(self) -> Config:
        faults = [*misfits(self), *alarm_faults(self), *config_judge.misfits(self)]
        if faults:
            raise ValueError("; ".join(faults))
        return self

    @model_validator(mode="after")
    def _noise_is_known(self) -> Config:
        if self.creator.noise_corrected and not has_ensemble(self.reward):
            raise ValueError(
                "creator.noise_corrected takes out what an ensemble disagrees about: make the "
                "reward an ensemble, or drop it"
            )
        return self

    @model_validator(mode="after")
    def _puzzles_fit(self) -> Config:
        if self.creator.name != "eva" or self.creator.evolver.name != "levels":
            return self
        if self.prompts.gym is None:
            raise ValueError("creator.evolver 'levels' makes puzzles: set prompts.source to them")
        if any(gate.name != "meta_text" for gate in self.creator.gates):
            raise ValueError(
                "creator.evolver 'levels' makes puzzles of one wording, which gates take for "
                "copies: set creator.gates = []"
            )
        return self

    @model_validator(mode="after")
    def _parts_fit(self) -> Config:
        evolver = self.creator.evolver
        rules_reward = any(isinstance(part, Rules) for part in self.reward.leaves())
        verifiable_evolver = self.creator.name == "eva" and evolver.name == "rules"
        if verifiable_evolver and not self.prompts.constraints:
            raise ValueError(
                "creator.evolver 'rules' changes constraints: set [prompts.constraints], "
                "or take creator.evolver 'evol_instruct'"
            )
        shrinks = self.schedule == "offline" and self.creator.source == "last"
        if evolver.name == "none" and self.creator.name == "eva" and shrinks:
            raise ValueError(
                "creator.evolver 'none' trains on the drawn share of the prompts, so with source "
                "'last' the prompts get fewer every round: set creator.source = 'human'"
            )
        if self.solver.start == "scratch" and self.solver.optimiser_state == "carried":
            raise ValueError(
                "solver: start 'scratch' has no earlier updates whose optimiser_state could be "
                "carried: take 'fresh'"
            )
        resampled = self.policy.generation_dtype not in {"same", self.policy.dtype}
        if self.solver.reference == "sampler" and (self.solver.start == "scratch" or resampled):
            raise ValueError(
                "solver.reference 'sampler' takes the answering policy as recorded: with start "
                "'scratch' or another policy.generation_dtype it is not the one that training "
                "starts from; take 'previous'"
            )
        if self.solver.rewrite and self.solver.reference == "sampler":
            raise ValueError(
                "solver.reference 'sampler' has no log-probs of answers that solver.rewrite made: "
                "take 'previous'"
            )
        if self.solver.rewrite and (self.budget.tokens or self.budget.match):
            raise ValueError(
                "solver.rewrite samples tokens that a budget does not plan for: drop one of them"
            )
        if self.prompts.topics.names and self.prompts.constraints:
            raise ValueError(
                "prompts.topics.names: the topic of a prompt with constraints is its request: "
                "drop the names, or [prompts.constraints]"
            )
        if self.policy.serve and self.solver.reference == "sampler":
            raise ValueError(
                "solver.reference 'sampler' needs the log-probs of sampled tokens, which a server "
                "(policy.serve) does not tell: take 'previous'"
            )
        if self.budget.tokens and self.budget.match:
            raise ValueError("budget: set tokens or match, not both")
        rewrites = self.creator.name == "eva" and isinstance(evolver, InstructEvolver)
        if rules_reward and rewrites:
            raise ValueError(
                "reward 'rules' needs prompts with checks, which a language model's rewrites "
                "lose: take creator.evolver 'rules'"
            )
        if rewrites and self.prompts.constraints:
            raise ValueError(
                f"creator.evolver {evolver.name!r} rewrites no prompt that has checks, and "
                "[prompts.constraints] gives every prompt some: take creator.evolver 'rules', or "
                "drop the constraints"
            )
        return self
