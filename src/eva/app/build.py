"""From a config to the parts of a game. Nothing is loaded before all of the config was checked."""

from __future__ import annotations

from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eva import offline, online
from eva.alarms import Watcher
from eva.app import build_online, config, config_parts
from eva.app.budget import budget_of
from eva.app.evaluators import evaluators, measured_texts
from eva.app.judges import Judges
from eva.app.launch import launched
from eva.app.prompts import PromptSets, prompt_sets
from eva.app.rewards import reward_model
from eva.app.servers import served_engine, server_generator, server_totals
from eva.creator.best_of import BestOf
from eva.creator.creator import EvaCreator
from eva.creator.gates.duplicate import Duplicate
from eva.creator.gates.eval_overlap import EvalOverlap
from eva.creator.gates.length_band import LengthBand
from eva.creator.gates.meta_text import MetaText
from eva.creator.grading import Clauses, ModelGrader
from eva.creator.informativeness import informativeness
from eva.creator.levels import LevelEvolver
from eva.creator.noise import Correction, correction
from eva.creator.operators import operator_set
from eva.creator.rewriting import Rewriter
from eva.creator.rules import RuleEvolver, Rules
from eva.creator.sampling import SAMPLERS, TopicBlended, rank, stratified
from eva.creator.topics import Labelling, Topics
from eva.data.assets import resolve
from eva.encoder import Encoder
from eva.errors import ConfigError
from eva.protocols import Creator, Evolver, Gate, Generator, Progress, Sampler
from eva.protocols_online import Learner, OnlineCreator
from eva.solver.fitting import FitSettings
from eva.solver.objectives import make_objective
from eva.solver.pairs import PairSettings
from eva.solver.reference import reference_for
from eva.solver.response_rewriting import AnswerRewriter
from eva.solver.solver import PairSolver
from eva.types import Prompt, SamplingParams

if TYPE_CHECKING:
    from eva.engines.local import LocalEngine
    from eva.engines.served import ServedEngine
    from eva.rewards.guard import Guarded


class Parts:
    """The parts of a config's game, each made when it is first asked for."""

    def __init__(
        self, game: config.Config, *, progress: Progress, folder: Path | None = None
    ) -> None:
        self.config = game
        self.progress = progress
        self.folder = folder
        """The run folder, where launched stages leave their files; None launches nothing."""
        self.past_alarms = 0
        """The round up to which alarms stop the run no more."""

    @cached_property
    def prompts(self) -> PromptSets:
        """The prompts, loaded and split."""
        return prompt_sets(self.config)

    @cached_property
    def topics(self) -> Topics | None:
        """What labels prompts, its encoder loaded; None where the config names no topics."""
        section = self.config.prompts.topics
        if not section.names:
            return None
        return Topics(section.names, Encoder.load(resolve(section.encoder)).embed)

    @cached_property
    def human(self) -> tuple[Prompt, ...]:
        """Prompts to train on, in order of use, with their topics."""
        human = self.prompts.human
        return tuple(self.topics.label(human)) if self.topics else human

    @cached_property
    def engine(self) -> LocalEngine | ServedEngine:
        """The policy, with weights."""
        from eva.app.policy import local_engine

        engine, serve = local_engine(self.config), self.config.policy.serve
        return served_engine(engine, serve, self.folder) if serve else engine

    def close(self) -> None:
        """End what answers in a process of its own."""
        engine = self.__dict__.get("engine")
        if self.config.policy.serve and engine is not None:
            engine.close()

    @cached_property
    def solver(self) -> PairSolver:
        """Pairs, reference and training."""
        made = solver(self.config, self.progress)
        if self.config.run.processes == 1 or self.folder is None:
            return made
        return launched(made, self.config, self.folder)

    @cached_property
    def learner(self) -> Learner:
        """What trains the policy, step by step: online."""
        return build_online.learner(self.config)

    @property
    def trainer(self) -> PairSolver | Learner:
        """What trains the policy in the config's schedule."""
        return self.solver if self.config.schedule == "offline" else self.learner

    @cached_property
    def reward(self) -> Guarded:
        """What scores answers, its model or function loaded."""
        return reward_model(
            self.config.reward, device=self.config.policy.device, judges=self.judges
        )

    @cached_property
    def judges(self) -> Judges:
        """What makes the reward's judges, and tests them."""
        return Judges(self.config.policy.device, self.folder, progress=self.progress)

    def creator(self) -> Creator | None:
        """Return the creator, or None where human prompts alone are played."""
        section = self.config.creator
        if section.name != "eva":
            return None
        return EvaCreator(
            informativeness=informativeness(
                section.informativeness, comparable=section.normalise_n
            ),
            sampler=sampler(section.sampler),
            evolver=self.evolver,
            gates=tuple(self._gate(gate) for gate in section.gates),
            fraction=section.fraction,
            children=section.children,
            evolved_share=section.evolved_share,
            estimates=section.informativeness != "uniform",
            correction=self._correction(),
        )

    @cached_property
    def evolver(self) -> Evolver | None:
        """What writes new prompts, its model loaded; None where none are written."""
        section, constraints = self.config.creator.evolver, self.config.prompts.constraints
        if self.config.creator.name != "eva":
            return None
        if isinstance(section, config_parts.LevelEvolver):
            from eva import gym

            held_out = frozenset(prompt.id for prompt in self.prompts.held_out)
            return LevelEvolver(gym, section.operators, avoid=held_out)
        if isinstance(section, config_parts.RuleEvolver):
            assert constraints is not None, "the config's own check asks for constraints"
            assert self.prompts.kinds is not None, "constraints come with kinds"
            rules = Rules(
                self.prompts.kinds.trained,
                max_checks=constraints.max_constraints,
                budget=constraints.max_words,
            )
            return RuleEvolver(rules, weights=dict.fromkeys(section.operators, 1.0))
        if isinstance(section, config_parts.InstructEvolver):
            return self._asking_evolver(section)
        return None

    def _asking_evolver(self, section: config_parts.InstructEvolver) -> Evolver:
        own = [operator.model_dump() for operator in self.config.creator.operators]
        generator = self._rewriter(section)
        made: Evolver = Rewriter(
            generator,
            operator_set(list(section.operators) or section.name, operators=own),
            SamplingParams(1, section.temperature, section.top_p, section.max_tokens),
            keep_columns=frozenset(section.keep_columns),
            chain=section.name != "self_instruct",
        )
        if section.best_of > 1 or section.best_by == "grades":
            grader = ModelGrader(generator) if section.best_by == "grades" else Clauses()
            made = BestOf(made, section.best_of, grader)
        return Labelling(made, self.topics) if self.topics else made

    def _rewriter(self, section: config_parts.InstructEvolver) -> Generator:
        if section.server:
            return server_generator(section.server, self.folder)
        if not section.model:
            return self.engine
        from eva.app.policy import local_generator

        policy = self.config.policy
        return local_generator(
            section.model,
            device=policy.device,
            cached_tokens=policy.decode_tokens,
            seed=self.config.seed,
        )

    def _gate(self, gate: config_parts.Gate) -> Gate:
        if gate.name == "meta_text":
            return MetaText()
        if gate.name == "length_band":
            return LengthBand(gate.min_ratio, gate.max_ratio, gate.slack)
        if gate.name == "duplicate":
            return Duplicate(threshold=gate.similarity)
        return EvalOverlap(measured_texts(self.config, self.prompts), n=gate.ngram)

    def online_creator(self) -> OnlineCreator:
        """Return the creator of the online schedule, its buffer empty."""
        section = self.config.creator
        return build_online.buffer_creator(
            self.config,
            self.human[: self.config.prompts.per_round],
            informativeness=informativeness(
                section.informativeness, comparable=section.normalise_n
            ),
            sampler=sampler(section.sampler),
            evolver=self.evolver,
            gates=tuple(self._gate(gate) for gate in section.gates),
            correction=self._correction(),
        )

    def _correction(self) -> Correction | None:
        section = self.config.creator
        return correction(section.informativeness) if section.noise_corrected else None

    def game(self) -> offline.Game | online.Game:
        """Return the game, everything loaded and judges tested."""
        game, answers = self.config, self.config.answers
        reward = self.reward
        self.judges.admit()
        shared: dict[str, Any] = {
            "human": self.human,
            "engine": self.engine,
            "reward": reward,
            "answers": SamplingParams(
                answers.n, answers.temperature, answers.top_p, answers.max_tokens
            ),
            "evaluators": evaluators(game, self.prompts, self.progress, judges=self.judges),
            "per_round": game.prompts.per_round,
            "seed": game.seed,
            "chunk": game.run.chunk,
            "servers": partial(server_totals, self.folder),
            "evaluate_before": game.evaluation.when != "after",
            "evaluate_every_round": game.evaluation.when == "rounds",
            "watch": Watcher(game.alarms.limits(), reward.wanted),
            "past_alarms": self.past_alarms,
        }
        if game.schedule == "offline":
            return offline.Game(
                solver=self.solver,
                creator=self.creator(),
                source=game.creator.source,
                new_human=game.creator.name == "new_human",
                rewriter=answer_rewriter(game),
                budget=budget_of(game),
                **shared,
            )
        return online.Game(
            learner=self.learner,
            creator=self.online_creator(),
            pace=build_online.pace(game),
            steps=game.online.steps,
            total=game.rounds * game.online.steps,
            refills=game.online.refills,
            commit_every=max(1, game.run.chunk // game.online.batch),
            checkpoint_every=game.run.checkpoint_every,
            progress=self.progress,
            **shared,
        )


def sampler(section: config_parts.Sampler) -> Sampler:
    """Return the sampler of a config."""
    if section.name == "stratified":
        return partial(stratified, bins=section.bins)
    if section.name == "rank":
        return partial(rank, beta=section.beta)
    if section.name == "topic_blended":
        return TopicBlended(section.c)
    return SAMPLERS[section.name]


def answer_rewriter(game: config.Config) -> AnswerRewriter | None:
    """Return what rewrites answers, or None where the config asks for nothing of the kind."""
    section = game.solver.rewrite
    if section is None:
        return None
    params = SamplingParams(1, section.temperature, section.top_p, section.max_tokens)
    return AnswerRewriter(params)


def solver(game: config.Config, progress: Progress) -> PairSolver:
    """Return the solver of a config; no model is needed.

    Raises:
        ConfigError: the config's schedule is online, where there are no pairs of a round.
    """
    if game.schedule == "online":
        raise ConfigError(
            "schedule = 'online' trains step by step, and has no pairs of a round: for this stage "
            "take a config with schedule = 'offline' and an objective such as 'dpo'"
        )
    section = game.solver
    hyper = section.objective.model_dump(exclude={"name"})
    return PairSolver(
        objective=make_objective(section.objective.name, **hyper),
        fitting=FitSettings(
            epochs=section.epochs,
            batch_size=section.batch_size,
            lr=section.learning_rate,
            schedule=section.schedule,
            warmup=section.warmup,
            clip=section.clip or None,
            checkpoint_every=game.run.checkpoint_every,
            carry_optimiser=section.optimiser_state == "carried",
        ),
        progress=progress,
        pairs=PairSettings(
            rejected="random" if section.pairs.name == "best_random" else "worst",
            margin=section.pairs.margin,
            truncated_chosen=section.pairs.truncated_chosen,
        ),
        reference=reference_for(section.objective.name, section.reference),
        scratch=section.start == "scratch",
    )
