"""The stages of a round, one at a time, on Parquet files; see docs/stages.md.

A stage draws from the same random streams as the schedule (`eva.offline`) does in that round, and
works in the same chunks: chained by hand, the stages make what `eva run` makes.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeAlias

from eva.app.build import Parts
from eva.app.config import Config
from eva.app.config_parts import InstructEvolver
from eva.app.launch import launched
from eva.app.progress import Silent
from eva.app.rewards import reward_model
from eva.disagreement import noise
from eva.errors import ConfigError, SolverError
from eva.protocols import Progress
from eva.rng import Streams
from eva.runs import parquet
from eva.runs.folder import RunFolder
from eva.runs.memory import MemoryJournal
from eva.stages import rollouts
from eva.types import (
    Evolution,
    Example,
    Group,
    Json,
    Prompt,
    SamplingParams,
    ScoredGroup,
    Stage,
)

Side: TypeAlias = Literal["solver", "creator"]
Kept: TypeAlias = Literal["mix", "children", "seeds"]


@dataclass(frozen=True)
class At:
    """Where a stage stands: a game, a round, and the policy that the round begins with."""

    game: Config
    round: int = 1
    policy: Path | None = None
    """A folder that `train` wrote; None is the config's own model."""
    progress: Progress = field(default_factory=Silent)

    def parts(self) -> Parts:
        """Return the parts of the game."""
        return Parts(self.game, progress=self.progress)

    def streams(self, stage: str) -> Streams:
        """Return the random streams of a stage of the round."""
        return Streams(self.game.seed, self.round, stage)


def answer(at: At, prompts: str | None, *, out: Path, side: Side = "solver") -> dict[str, Json]:
    """Let the policy answer prompts, by default those of the config, and write the groups.

    The creator's answers are those that informativeness is estimated from, the solver's those that
    are paired; they have streams of their own.

    Raises:
        ConfigError: the output is there already, or the policy is not.
        DataError: the prompts cannot be read.
    """
    _refuse_existing(out)
    parts, game = at.parts(), at.game
    loaded = (
        parts.prompts.loaded
        if prompts is None
        else rollouts.read_prompts(prompts, max_characters=game.prompts.max_characters)
    )
    asked = _own_prompts(parts, at.round) if prompts is None else loaded.prompts
    settings = game.answers
    params = SamplingParams(settings.n, settings.temperature, settings.top_p, settings.max_tokens)
    stage = f"{side}/answer"
    engine, streams = parts.engine, at.streams(stage)
    _hold(at, parts)
    groups = MemoryJournal(progress=at.progress).map(
        Stage(at.round, stage),
        asked,
        lambda chunk: engine.sample(chunk, params, streams),
        rows=Group,
        chunk=game.run.chunk,
    )
    parquet.write(out, groups, kind=Group)
    return {
        "prompts": len(groups),
        "responses": sum(len(group.responses) for group in groups),
        "generated_tokens": sum(group.generated_tokens for group in groups),
        "unanswered": sum(not group.responses for group in groups),
        "set_aside": dict(loaded.reasons),
    }


def score(at: At, groups: Path, *, out: Path) -> dict[str, Json]:
    """Score answers, and write the groups with their scores.

    Raises:
        ConfigError: the output is there already.
        DataError: the groups cannot be read.
        RewardError: the reward is broken as a whole.
    """
    _refuse_existing(out)
    answered = rollouts.read_groups(groups)
    reward = reward_model(at.game.reward, device=at.game.policy.device, progress=at.progress)
    scored = MemoryJournal(progress=at.progress).map(
        Stage(at.round, "score"),
        answered,
        reward.score,
        rows=ScoredGroup,
        chunk=at.game.run.chunk,
    )
    parquet.write(out, scored, kind=ScoredGroup)
    scores = [score for group in scored for score in group.scores]
    causes = Counter(score.cause for score in scores if score.reward is None)
    found = {"prompts": len(scored), "responses": len(scores), "unscored": causes.total()}
    return found | ({"causes": dict(sorted(causes.items()))} if causes else {})


def evolve(
    at: At, scored: Path, *, out: Path, known: Sequence[str] = (), keep: Kept = "mix"
) -> dict[str, Json]:
    """Estimate, sample, evolve and mix; write prompts, and the refusals beside them.

    `mix` writes the solver's next prompts, `children` all that passed the gates, `seeds` the
    informative subset, unevolved. `known` are files of further prompts that children may not
    repeat, such as those of earlier rounds.

    Raises:
        ConfigError: the output is there already, or the config has no creator.
        DataError: a file cannot be read.
    """
    refused = out.with_suffix(".refusals.parquet")
    _refuse_existing(out, refused)
    parts, section = at.parts(), at.game.creator
    if isinstance(section.evolver, InstructEvolver) and not section.evolver.elsewhere:
        _hold(at, parts)
    creator = parts.creator()
    if creator is None:
        raise ConfigError(f"creator.name = {section.name!r} evolves nothing: take 'eva'")
    groups = rollouts.read_scored(scored)
    originals = [group.prompt for group in groups]
    info = creator.estimate([group.rewards for group in groups], noise(groups))
    drawn = creator.sample(info.values, at.streams("creator/sample"), originals)
    seeds = [originals[i] for i in drawn]
    values = {p.id: float(v) for p, v in zip(originals, info.values, strict=True) if v == v}
    if keep == "seeds":
        rollouts.write_prompts(out, seeds, values)
        return {"prompts": len(originals), "seeds": len(seeds)}
    journal = MemoryJournal(progress=at.progress)
    for source in known:
        journal.admit(rollouts.read_prompts(source).prompts)
    journal.admit(originals)
    population = _Given(journal)
    evolutions = journal.map(
        Stage(at.round, "creator/evolve"),
        seeds,
        lambda some: creator.evolve(some, population, at.streams("creator/evolve")),
        rows=Evolution,
        chunk=at.game.run.chunk,
    )
    children = [child for evolution in evolutions for child in evolution.children]
    refusals = [refusal for evolution in evolutions for refusal in evolution.refusals]
    mixed = creator.mix(evolutions, originals, at.streams("creator/mix"))
    rollouts.write_refusals(refused, refusals)
    rollouts.write_prompts(out, mixed if keep == "mix" else children, values)
    return {
        "prompts": len(originals),
        "seeds": len(seeds),
        "children": len(children),
        "refused": sum(evolution.refused for evolution in evolutions),
        "written": len(mixed if keep == "mix" else children),
    }


def pair(at: At, scored: Path, *, out: Path) -> dict[str, Json]:
    """Make pairs of scored answers, with the reference's log-probs where the objective has one.

    Raises:
        ConfigError: the output is there already, or the policy is not.
        DataError: the groups cannot be read.
        SolverError: no group gives a pair.
    """
    _refuse_existing(out)
    parts, groups = at.parts(), rollouts.read_scored(scored)
    solver = parts.solver
    lacking = sum(rollouts.untokenised(group.group) for group in groups)
    if lacking:
        from eva.engines.chat import tokenised

        policy = parts.engine.policy
        groups = [replace(group, group=tokenised(policy, group.group)) for group in groups]
    pairing = solver.pair(groups, at.streams("solver/pairs"))
    if not pairing.examples:
        causes = ", ".join(f"{count} x {cause}" for cause, count in pairing.skipped.items())
        raise SolverError(f"{scored}: no pair in {len(groups)} groups ({causes})")
    examples = list(pairing.examples)
    rollouts.refuse_unknown_ids(scored, examples, parts.engine.policy)
    if solver.reference != "none":
        _hold(at, parts)
        examples = _referred(at, parts, examples)
    parquet.write(out, examples, kind=Example)
    return {"pairs": len(examples), "skipped": dict(pairing.skipped), "retokenised": lacking}


def train(
    at: At, pairs: Path, *, out: Path, earlier: Sequence[Path] = (), export: Path | None = None
) -> dict[str, Json]:
    """Train on pairs (and those of `earlier` rounds, first), and write the policy's folder.

    While it trains, a hidden folder beside `out` keeps what is needed to go on: the same command
    resumes. `export` also writes a Hugging Face folder.

    Raises:
        ConfigError: the output is there already, or the policy is not.
        DataError: the pairs cannot be read.
        RunError: an interrupted attempt had other pairs or another config.
        SolverError: training cannot go on.
    """
    _refuse_existing(out, *([export] if export else []))
    if export and export.resolve() == out.resolve():
        raise ConfigError(f"--export {export} is --out, too: name another folder for one of them")
    parts, files = at.parts(), [*earlier, pairs]
    read = [rollouts.read_pairs(file, parts.engine.policy) for file in files]
    for file, some in zip(files, read, strict=True):
        rollouts.refuse_unknown_ids(file, some.examples, parts.engine.policy)
    examples = [example for some in read for example in some.examples]
    solver, stage = parts.solver, Stage(at.round, "solver/train")
    _hold(at, parts, optimiser=solver.carries)
    if solver.reference != "none" and any(e.reference is None for e in examples):
        examples = _referred(at, parts, examples)
    played = {
        "config": at.game.model_dump(mode="json"),
        "round": at.round,
        "policy": str(at.policy or ""),
        "pairs": [hashlib.blake2b(file.read_bytes(), digest_size=8).hexdigest() for file in files],
    }
    work = out.with_name(f".{out.name}.training")
    with RunFolder.create(work, played) as folder:
        if at.game.run.processes > 1:
            solver = launched(solver, at.game, folder.path)
        journal = folder.journal(progress=at.progress)
        summary = solver.train(parts.engine, examples, journal, at.streams(stage.name))
        latest = journal.checkpoints(stage).latest()
        assert latest is not None, "a solver commits the policy that it trained"
        os.replace(latest[1], out)
        shutil.copy(work / "metrics.jsonl", out / "metrics.jsonl")
    shutil.rmtree(work)
    if export:
        parts.engine.export(export)
    return {
        "pairs": len(examples),
        **summary,
        "retokenised": any(some.retokenised for some in read),
        "set_aside": dict(sum((Counter(some.set_aside) for some in read), Counter())),
    }


@dataclass(frozen=True)
class _Given:
    """The prompts that a stage was given: ancestors of theirs need not be among them."""

    journal: MemoryJournal

    def prompts(self, ids: Sequence[str] | None = None) -> list[Prompt]:
        """Return those of the ids that are there, or all."""
        everyone = self.journal.prompts()
        if ids is None:
            return everyone
        known = {prompt.id: prompt for prompt in everyone}
        return [known[id] for id in ids if id in known]


def _own_prompts(parts: Parts, round: int) -> Sequence[Prompt]:
    game = parts.config
    skipped = (round - 1) * game.prompts.per_round if game.creator.name == "new_human" else 0
    return parts.human[skipped : skipped + game.prompts.per_round]


def _hold(at: At, parts: Parts, *, optimiser: bool = False) -> None:
    if at.policy is None:
        return
    if not at.policy.is_dir():
        raise ConfigError(f"--policy {at.policy}: no such folder; expected one that `train` wrote")
    parts.engine.load(at.policy, optimiser=optimiser)


def _referred(at: At, parts: Parts, examples: Sequence[Example]) -> list[Example]:
    return MemoryJournal(progress=at.progress).map(
        Stage(at.round, "solver/pairs"),
        examples,
        lambda chunk: parts.solver.refer(parts.engine, chunk),
        rows=Example,
        chunk=at.game.run.chunk,
    )


def _refuse_existing(*paths: Path) -> None:
    for path in paths:
        if path.exists():
            raise ConfigError(f"{path}: is there already, and nothing is overwritten: name another")
