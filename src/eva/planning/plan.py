"""`eva check`: everything that can be wrong is found, and the cost told, before a weight is loaded.

What is impossible is an error with its numbers. What is unwise, or could not be looked at because
a hub is not reachable, is a note.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from eva.app.budget import budget_of
from eva.app.build import Parts
from eva.app.config import Config
from eva.app.config_online import PolicyGradient
from eva.app.config_parts import InstructEvolver
from eva.app.config_rewards import Python
from eva.app.config_verifiers import JsonSchema, Mathematics, Pattern, Puzzle
from eva.app.progress import Silent
from eva.app.prompts import PromptSets, prompt_sets
from eva.constraints import HELD_OUT, partition
from eva.data.assets import PREFIX, cached, packaged
from eva.data.prompts import LoadedPrompts
from eva.errors import ConfigError, DataError
from eva.planning import estimates
from eva.planning.counting import (
    EvaluationCount,
    RoundCount,
    count_evaluation,
    count_rounds,
    phases_of,
    seeds_of,
    totals,
)
from eva.planning.lookup import Model, Source, look_at, look_for, unreachable
from eva.planning.plan_view import show
from eva.planning.rewards import columns_missed, reward_models
from eva.planning.servers import ServerCount, count_servers
from eva.protocols import Generator
from eva.rng import Streams
from eva.types import Ints, Json, Prompt, SamplingParams

if TYPE_CHECKING:
    from eva.engines.memory import Shape

__all__ = ["Plan", "of", "show"]

_LOOKED_AT = 200
"""Prompts whose tokens are counted, the longest ones apart."""


@dataclass(frozen=True)
class Plan:
    """What will be played, and what it will take; bytes and seconds are estimates."""

    game: str
    """In one line."""
    sources: tuple[Source, ...]
    prompts: Mapping[str, int]
    """Counts, and tokens of a prompt."""
    rounds: tuple[RoundCount, ...]
    evaluation: EvaluationCount
    totals: Mapping[str, int]
    memory: Mapping[str, Json] | None
    """Bytes by use; None where the model is not seen."""
    disk: Mapping[str, int] | None
    seconds: Mapping[str, float] | None
    """By stage."""
    machine: Mapping[str, Json]
    """Device, its free bytes, its measured matmul rate in FLOP/s."""
    notes: tuple[str, ...]
    servers: tuple[ServerCount, ...] = ()


def of(game: Config) -> Plan:
    """Return the plan of a config.

    Raises:
        ConfigError: the game cannot be played as it is; the message has the numbers.
        DataError: the prompts cannot be read.
    """
    notes: list[str] = []
    _check_settings(game)
    sources = [_data_source(game)]
    sets = _prompts(game, sources, notes)
    model = look_at(
        game.policy.model,
        role="policy",
        seed=game.seed,
        trust_remote_code=game.policy.trust_remote_code,
    )
    sources += [model.source, *_further_models(game)]
    _Unloaded(game, sets).build()
    tokens = _prompt_tokens(sets.human, model)
    notes += _check_sizes(game, model, tokens)
    human = len(sets.human) or game.prompts.per_round
    rounds = count_rounds(game, human)
    evaluation = count_evaluation(game, len(sets.held_out))
    notes += _remarks(game, rounds, sources)
    machine = _machine(game)
    takes = _takes(game, model.shape, rounds, evaluation=evaluation, tokens=tokens, machine=machine)
    if takes["memory"] and takes["memory"]["peak"] > machine["free_bytes"]:
        notes.append(
            f"memory: about {takes['memory']['peak'] / 1e9:.1f} GB at the height, and "
            f"{machine['free_bytes'] / 1e9:.1f} GB are free on {machine['device']}"
        )
    return Plan(
        game=_in_words(game),
        sources=tuple(sources),
        prompts={
            "human": len(sets.human),
            "held_out": len(sets.held_out),
            "set_aside": len(sets.loaded.set_aside),
            "longest_tokens": int(tokens.max()),
            "median_tokens": int(np.median(tokens)),
        },
        rounds=tuple(rounds),
        evaluation=evaluation,
        totals=totals(rounds, evaluation),
        machine=machine,
        notes=tuple(notes),
        servers=tuple(count_servers(game, rounds, longest=int(tokens.max()))),
        **takes,
    )


def _takes(
    game: Config,
    shape: Shape | None,
    rounds: Sequence[RoundCount],
    *,
    evaluation: EvaluationCount,
    tokens: Ints,
    machine: Mapping[str, Json],
) -> dict[str, Any]:
    """Return what a plan says of memory, disk and time: nothing of a model that is not seen."""
    if shape is None:
        return dict.fromkeys(("memory", "disk", "seconds"))
    seconds = estimates.seconds(
        game,
        shape,
        rounds,
        evaluation=evaluation,
        prompt=int(np.median(tokens)),
        rate=machine["flops"],
        device=machine["device"],
    )
    memory = estimates.memory(game, shape, prompt=int(tokens.max()))
    return {"memory": memory, "disk": estimates.disk(game, shape, rounds), "seconds": seconds}


def _in_words(game: Config) -> str:
    creator, solver = game.creator, game.solver
    how: str = creator.name
    if creator.name == "eva":
        how = f"{creator.informativeness}, {creator.sampler.name}, {creator.evolver.name}"
    changed = solver.objective.model_dump(exclude_unset=True)
    objective = ", ".join(f"{key} {value}" for key, value in changed.items())
    trained = f"LoRA of rank {game.policy.lora.rank}" if game.policy.lora else "all weights"
    rounds = f"{game.rounds} rounds"
    if game.schedule == "online":
        rounds += f" of {game.online.steps} steps"
    return (
        f"{rounds} of {game.policy.model} ({trained}) · creator: {how} · "
        f"objective: {objective.removeprefix('name ')} · reward: {game.reward.name}"
    )


# ── what can be wrong ─────────────────────────────────────────────────────────────────────────


def _check_settings(game: Config) -> None:
    """Check what needs neither data nor model."""
    from eva.app.policy import device_of

    if device_of(game.policy.device) == "cuda" and game.run.processes > 1:
        import torch

        if game.run.processes > torch.cuda.device_count():
            raise ConfigError(
                f"run.processes = {game.run.processes}: this machine has "
                f"{torch.cuda.device_count()} GPUs, and each process needs one"
            )
    if game.evaluation.ifeval and game.evaluation.when != "never":
        _require(("lm_eval", "langdetect", "immutabledict", "nltk"), "evaluation.ifeval", "ifeval")
    for tracker in game.run.trackers:
        _require((tracker,), f"run.trackers {tracker!r}", "tracking")
    for part in game.reward.leaves():
        if isinstance(part, Python):
            from eva.rewards.process import Worker

            Worker(part.function).close()
        if isinstance(part, Mathematics | Pattern | JsonSchema | Puzzle):
            from eva.app.verifiers import verifier

            verifier(part).close()
    budget_of(game)


def _require(packages: Sequence[str], what: str, extra: str) -> None:
    absent = [name for name in packages if importlib.util.find_spec(name) is None]
    if absent:
        raise ConfigError(f'{what} needs {", ".join(absent)}: pip install "eva-align[{extra}]"')


def _data_source(game: Config) -> Source:
    name = game.prompts.source
    if not name.startswith(PREFIX):
        return Source("prompts", name, "here")
    asset = packaged(name)
    there = cached(asset)
    return Source("prompts", name, "here", 0 if there else asset.archive.bytes)


def _prompts(game: Config, sources: list[Source], notes: list[str]) -> PromptSets:
    """Load the prompts; of a data set on a hub that is not reachable, an empty set."""
    try:
        return prompt_sets(game)
    except DataError as error:
        if not unreachable(error):
            raise
    name, section = game.prompts.source, game.prompts
    sources[:] = [Source("prompts", name, "not reachable")]
    notes.append(f"prompts: {name} is not reachable; {section.per_round:,} are counted on")
    kinds = partition(section.constraints.held_out or HELD_OUT) if section.constraints else None
    return PromptSets((), (), LoadedPrompts(name, section.column, ()), kinds)


def _further_models(game: Config) -> Iterator[Source]:
    """Yield the other models that will be loaded."""
    evolver, section = game.creator.evolver, game.evaluation
    if game.creator.name == "eva" and isinstance(evolver, InstructEvolver) and evolver.model:
        rewriter = look_at(evolver.model, role="rewriter", seed=game.seed)
        _check_room(rewriter.source, evolver.max_tokens, "creator.evolver.max_tokens")
        yield rewriter.source
    yield from reward_models(game)
    if section.when != "never" and section.relevance:
        yield look_for(section.relevance, role="evaluation.relevance", kind="encoder")
    if section.when != "never" and section.ifeval and section.ifeval.source.startswith(PREFIX):
        asset = packaged(section.ifeval.source)
        there = cached(asset)
        state, size = ("here", 0) if there else ("to fetch", asset.archive.bytes)
        yield Source("evaluation.ifeval", section.ifeval.source, state, size)  # type: ignore[arg-type]


class _Unloaded(Parts):
    """The parts of a game with a policy that has no weights."""

    def __init__(self, game: Config, sets: PromptSets) -> None:
        super().__init__(game, progress=Silent())
        self.__dict__["prompts"] = sets

    def build(self) -> None:
        """Make what can be made: their constructors refuse what does not fit."""
        _ = self.trainer
        if self.config.schedule == "offline":
            self.creator()
        elif self.prompts.human:
            self.online_creator()

    def _rewriter(self, section: InstructEvolver) -> Generator:
        return _Mute()


class _Mute:
    """Stands for a policy that is not loaded."""

    def sample(
        self, prompts: Sequence[Prompt], params: SamplingParams, streams: Streams
    ) -> NoReturn:
        """Never asked: making a part asks for no answers."""
        raise AssertionError("a plan asks for no answers")


def _check_room(source: Source, tokens: int, key: str) -> None:
    if source.context is not None and tokens >= source.context:
        raise ConfigError(
            f"{key} = {tokens}: {source.name} has a context of {source.context} tokens for prompt "
            "and answer together"
        )


def _check_sizes(game: Config, model: Model, tokens: Ints) -> Iterator[str]:
    """Check lengths against the model's context, and yield notes; `tokens` of prompts, (P,)."""
    limit, context = game.answers.max_tokens, model.source.context
    _check_room(model.source, limit, "answers.max_tokens")
    if isinstance(game.creator.evolver, InstructEvolver) and not game.creator.evolver.elsewhere:
        _check_room(model.source, game.creator.evolver.max_tokens, "creator.evolver.max_tokens")
    if context is not None:
        short = float(np.mean(tokens + limit > context))
        numbers = f"answers.max_tokens = {limit} and a context of {context} tokens"
        if short > 0.5:
            raise ConfigError(
                f"{numbers}: {short:.0%} of the prompts (median {int(np.median(tokens))} tokens) "
                "leave no room for a full answer; lower max_tokens or prompts.max_characters"
            )
        if short:
            yield f"{numbers}: {short:.0%} of the prompts get a lower limit, or no answer"
    most = estimates.pair_tokens(game, int(tokens.max()))
    if most > game.policy.train_tokens:
        yield (
            f"policy.train_tokens = {game.policy.train_tokens}: a pair may take {most} tokens and "
            "is then a micro-batch of its own, for which memory is estimated"
        )


def _remarks(
    game: Config, rounds: Sequence[RoundCount], sources: Sequence[Source]
) -> Iterator[str]:
    """Yield what is possible and may not be meant."""
    creator = game.creator
    yield from columns_missed(game)
    for source in sources:
        if source.state == "not reachable" and source.role != "prompts":
            yield f"{source.role}: {source.name} is not reachable, so it could not be looked at"
        if source.state == "to fetch":
            size = source.fetch_bytes / 1e6
            yield f"{source.role}: {source.name} is fetched first ({size:.0f} MB)"
    if game.schedule == "offline" and rounds[0].prompts < game.prompts.per_round:
        yield (
            f"prompts.per_round = {game.prompts.per_round:,}: there are {rounds[0].prompts:,}, "
            "which are all played"
        )
    if game.schedule == "online":
        yield from _online_remarks(game, rounds)
        return
    if creator.name == "eva" and creator.evolver.name != "none" and len(rounds) > 1:
        wanted = round(rounds[0].prompts * creator.evolved_share)
        most = seeds_of(game, rounds[0].prompts) * creator.children
        if most < wanted:
            yield (
                f"creator: {most} children at most for {wanted} evolved prompts; originals fill up"
            )
    if creator.name == "eva" and game.rounds == 1:
        yield "rounds = 1: evolving begins with round 2"
    if game.budget.tokens or game.budget.match:
        yield "budget: prompts are answered until it is spent, whatever the counts say"


def _online_remarks(game: Config, rounds: Sequence[RoundCount]) -> Iterator[str]:
    """Yield how far the phases reach, if nothing is refused."""
    phases = phases_of(game, human=rounds[0].human)
    shown = ", ".join(f"{name} {steps}" for name, steps in phases.items())
    yield f"online: {game.rounds * game.online.steps} steps, by phase at most: {shown}"
    ignored = {
        "solver": {"batch_size", "optimiser_state"} & game.solver.model_fields_set,
        "creator": {"fraction", "evolved_share", "source"} & game.creator.model_fields_set,
    }
    for section, keys in ignored.items():
        for key in sorted(keys):
            yield f"{section}.{key} is of the offline schedule, and is not read online"
    objective, sampled = game.solver.objective, game.policy.generation_dtype
    corrected = isinstance(objective, PolicyGradient) and objective.correction != "none"
    if sampled not in {"same", game.policy.dtype} and not corrected:
        yield (
            f"policy.generation_dtype = {sampled!r}: answers may be sampled in another type "
            "than is trained in; solver.objective.correction weighs what that changes"
        )
    if not phases["mix-up"] and game.creator.name == "eva":
        yield (
            "online: the buffer is never full, so no evolved prompt is answered before the human "
            "set is exhausted: lower online.buffer, or play more steps"
        )


# ── what it takes ─────────────────────────────────────────────────────────────────────────────


def _prompt_tokens(prompts: Sequence[Prompt], model: Model) -> Ints:
    """Return the tokens of some prompts, template included, (P,): spread evenly, and the longest.

    Without a tokenizer a token is taken to have 4 characters, without prompts they have 200 tokens.
    """
    if not prompts:
        return np.array([200])
    texts = [" ".join(message.content for message in prompt.messages) for prompt in prompts]
    by_length = sorted(texts, key=len)
    some = by_length[:: max(1, len(texts) // _LOOKED_AT)] + by_length[-5:]
    if model.tokenizer is None:
        return np.array([len(text) // 4 + 20 for text in some])
    asked = [{"role": "user", "content": ""}]
    template = model.tokenizer.apply_chat_template(
        asked, tokenize=True, add_generation_prompt=True, return_dict=False
    )
    encoded = model.tokenizer(some, add_special_tokens=False)["input_ids"]
    return np.array([len(ids) + len(template) for ids in encoded])


def _machine(game: Config) -> dict[str, Json]:
    from eva.app.policy import device_of

    device = device_of(game.policy.device)
    dtype = game.policy.dtype
    rate = estimates.matmul_rate(device, dtype, threads=game.run.threads)
    return {"device": device, "free_bytes": estimates.free_bytes(device), "flops": rate}
