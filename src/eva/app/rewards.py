"""From a config to a reward."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eva.app.config_judge import Judge, Pairwise
from eva.app.config_rewards import (
    Classifier,
    Combined,
    Ensemble,
    Gated,
    Preference,
    Python,
    Relevance,
    Reward,
    Rules,
)
from eva.app.config_verifiers import (
    JsonSchema,
    Length,
    Mathematics,
    Pattern,
    Profanity,
    Puzzle,
    Repetition,
)
from eva.app.judges import Judges
from eva.data.assets import resolve
from eva.protocols import Progress, RewardModel

if TYPE_CHECKING:
    from eva.rewards.guard import Guarded


def reward_model(
    section: Reward,
    *,
    device: str,
    judges: Judges | None = None,
    progress: Progress | None = None,
) -> Guarded:
    """Return the reward of a config's section; a reward that breaks as a whole stops the run.

    Judges are made by `judges`, whose caller has them tested; by default they are tested at once,
    which `progress` sees.

    Raises:
        ConfigError: what it is made with is not there.
        RewardError: a judge failed its test.
    """
    from eva.rewards.guard import Guarded

    made_by = judges or Judges(device, progress=progress)
    made = Guarded(_bare(section, device, made_by))
    if judges is None:
        made_by.admit()
    return made


def _bare(section: Reward, device: str, judges: Judges) -> RewardModel:
    if isinstance(section, Rules):
        from eva.rewards.rules import RuleReward

        return RuleReward(section.credit, min_words=section.min_words)
    if isinstance(section, Classifier):
        from eva.app.policy import device_of
        from eva.rewards.classifier import ClassifierReward

        return ClassifierReward.load(
            str(resolve(section.model)),
            device=device_of(device),
            batch_tokens=section.batch_tokens,
            max_length=section.max_length,
        )
    if isinstance(section, Preference):
        from eva.app.policy import device_of
        from eva.rewards.pairwise import PairwiseReward
        from eva.rewards.preference import PreferenceModel

        model = PreferenceModel.load(
            str(resolve(section.model)),
            device=device_of(device),
            batch_tokens=section.batch_tokens,
            max_length=section.max_length,
        )
        return PairwiseReward(model)
    if isinstance(section, Python):
        from eva.rewards.function import FunctionReward

        return FunctionReward(section.function, seconds=section.seconds)
    if isinstance(section, Relevance):
        from eva.encoder import Encoder
        from eva.rewards.relevance import RelevanceReward

        return RelevanceReward(Encoder.load(resolve(section.model)), ceiling=section.ceiling)
    if isinstance(section, Mathematics | Pattern | JsonSchema | Puzzle):
        from eva.app.verifiers import verifier

        return verifier(section)
    if isinstance(section, Length | Repetition | Profanity):
        from eva.app.verifiers import penalty

        return penalty(section)
    if isinstance(section, Judge | Pairwise):
        return judges.reward(section)
    return _nested(section, device, judges)


def _nested(section: Combined | Gated | Ensemble, device: str, judges: Judges) -> RewardModel:
    if isinstance(section, Gated):
        from eva.rewards.gated import GatedReward

        gate, reward = _bare(section.gate, device, judges), _bare(section.reward, device, judges)
        return GatedReward(gate, reward, section.threshold, section.otherwise)
    if isinstance(section, Ensemble):
        from eva.rewards.ensemble import EnsembleReward

        members = [_bare(member, device, judges) for member in section.members]
        return EnsembleReward(members, scales=section.scales)
    from eva.rewards.combined import CombinedReward

    return CombinedReward([_bare(part, device, judges) for part in section.parts], section.weights)
