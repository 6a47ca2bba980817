"""`eva probe`: answer a sample of the prompts, score the answers, say what they show. No training.

The answers are those of round 0, `probe/answer`: whoever probes twice with one seed sees the same.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from eva.app.build import Parts
from eva.app.config import Config
from eva.app.config_rewards import Rules
from eva.app.rewards import reward_model
from eva.errors import ConfigError
from eva.probing.findings import Findings, count_repeats, findings
from eva.probing.verdict import Verdict, verdict
from eva.protocols import Progress
from eva.rng import Streams
from eva.runs.memory import MemoryJournal
from eva.types import Group, Json, Prompt, SamplingParams, ScoredGroup, Stage

TWICE = 16
"""Prompts whose answers are scored a second time, to see whether the reward repeats itself."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What was probed, what was found, and what it means."""

    model: str
    prompts: str
    reward: str
    answers: SamplingParams
    found: Findings
    verdict: Verdict

    def json(self) -> dict[str, Json]:
        """Return it as plain data; what could not be measured is None."""
        data: dict[str, Json] = _plain(asdict(self))
        return data


def probe(game: Config, *, limit: int, progress: Progress) -> Probe:
    """Answer the first `limit` human prompts of a game, score the answers, and measure them.

    Raises:
        ConfigError: the parts do not fit together.
        DataError: the prompts cannot be read.
        GenerationError: the model is broken as a whole.
        RewardError: the reward is.
    """
    parts = Parts(game, progress=progress)
    asked = parts.prompts.human[:limit]
    exact = all(isinstance(part, Rules) for part in game.reward.leaves())
    _need_checks(game, asked)
    section = game.answers
    params = SamplingParams(section.n, section.temperature, section.top_p, section.max_tokens)
    streams = Streams(game.seed, 0, "probe/answer")
    journal, engine = MemoryJournal(progress=progress), parts.engine
    reward = reward_model(game.reward, device=game.policy.device, progress=progress)
    groups = journal.map(
        Stage(0, "probe/answer"),
        asked,
        lambda chunk: engine.sample(chunk, params, streams),
        rows=Group,
        chunk=game.run.chunk,
    )
    scored = journal.map(
        Stage(0, "probe/score"), groups, reward.score, rows=ScoredGroup, chunk=game.run.chunk
    )
    again: list[ScoredGroup] = []
    if not exact:
        again = journal.map(
            Stage(0, "probe/score again"),
            groups[:TWICE],
            reward.score,
            rows=ScoredGroup,
            chunk=game.run.chunk,
        )
    loaded = parts.prompts.loaded
    found = findings(
        scored,
        again,
        repeats=count_repeats(loaded.prompts, dropped=loaded.reasons.get("duplicate", 0)),
        exact=exact,
        streams=Streams(game.seed, 0, "probe/measure"),
    )
    names = " + ".join(part.model_dump()["name"] for part in game.reward.leaves())
    return Probe(game.policy.model, loaded.source, names, params, found, verdict(found))


def _need_checks(game: Config, asked: tuple[Prompt, ...]) -> None:
    rules = any(isinstance(part, Rules) for part in game.reward.leaves())
    if rules and not any(prompt.checks for prompt in asked):
        raise ConfigError(
            f"reward: 'rules' checks constraints, and no prompt of {game.prompts.source} has any: "
            "put some on with --constraints 1 (in a config: [prompts.constraints]), or take "
            "another reward"
        )


def _plain(value: Json) -> Json:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
