"""From a config to what is measured before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from eva.app import config
from eva.app.config_rewards import Rules
from eva.app.judges import Judges
from eva.app.prompts import PromptSets
from eva.app.rewards import reward_model
from eva.constraints import HELD_OUT
from eva.data.assets import resolve
from eva.encoder import Encoder
from eva.evals.evaluation import Evaluation
from eva.evals.heldout import constraint_labels, held_out
from eva.evals.ifeval import ifeval, read_items
from eva.evals.relevance import relevance
from eva.evals.rows import Measure
from eva.protocols import Evaluator, Generator, Progress
from eva.rng import Streams
from eva.types import Group, Json, Prompt, SamplingParams, Stage

_AT_ONCE = 128
"""Prompts answered between two signs of life: few enough to see it move, enough to fill a batch."""


def evaluators(
    game: config.Config, sets: PromptSets, progress: Progress, *, judges: Judges | None = None
) -> tuple[Evaluator, ...]:
    """Return the evaluators of a config; none where it measures never.

    Held-out prompts with checks are measured by the rules alone, whatever the game's reward mixes
    in: so the figure means "share of constraints met".
    """
    section = game.evaluation
    if section.when == "never":
        return ()
    further: tuple[Measure, ...] = ()
    if section.relevance:
        further = (relevance(Encoder.load(resolve(section.relevance))),)
    found: list[Evaluation] = []
    params = SamplingParams(n=1, temperature=0.0, top_p=1.0, max_tokens=section.max_tokens)
    if section.heldout:
        reward = Rules(name="rules") if sets.kinds else game.reward
        trained = sets.kinds.trained if sets.kinds else HELD_OUT
        found.append(
            held_out(
                sets.held_out,
                reward_model(reward, device=game.policy.device, judges=judges),
                measures=further,
                labels=constraint_labels(trained),
                params=params,
            )
        )
    if section.ifeval:
        subset = 64 if section.ifeval.prompts == "fixed64" else None
        longer = SamplingParams(1, 0.0, 1.0, section.ifeval.max_tokens)
        path = resolve(section.ifeval.source)
        found.append(ifeval(path, subset=subset, measures=further, params=longer))
    return tuple(Watched(evaluation, progress) for evaluation in found)


def measured_texts(game: config.Config, sets: PromptSets) -> list[str]:
    """Return what no training prompt may repeat: the requests of every evaluator's prompts.

    Of IFEval all prompts count, asked or not. No model is loaded.
    """
    section = game.evaluation
    if section.when == "never":
        return []
    texts = [prompt.topic or prompt.text for prompt in sets.held_out]
    if section.ifeval:
        texts += [item["prompt"] for item in read_items(resolve(section.ifeval.source))]
    return texts


@dataclass(frozen=True)
class Watched:
    """An evaluator that says how far it is."""

    evaluation: Evaluation
    progress: Progress

    @property
    def name(self) -> str:
        """Prefix of its metrics."""
        return self.evaluation.name

    def evaluate(self, policy: Generator, streams: Streams) -> Mapping[str, Json]:
        """Evaluate, a batch of prompts at a time."""
        total = len(self.evaluation.prompts)
        self.progress.begin(Stage(streams.round, f"evaluate/{self.name}"), total)
        try:
            return self.evaluation.evaluate(_Batches(policy, self.progress), streams)
        finally:
            self.progress.end()


@dataclass(frozen=True)
class _Batches:
    policy: Generator
    progress: Progress

    def sample(
        self, prompts: Sequence[Prompt], params: SamplingParams, streams: Streams
    ) -> list[Group]:
        """Return the policy's answers, a batch at a time."""
        groups: list[Group] = []
        for begin in range(0, len(prompts), _AT_ONCE):
            groups += self.policy.sample(prompts[begin : begin + _AT_ONCE], params, streams)
            tokens = sum(group.generated_tokens for group in groups)
            self.progress.advance(len(groups), tokens=tokens)
        return groups
