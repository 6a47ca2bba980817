"""The alarms that a config can set."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, model_validator

from eva.alarms import Action, Limit
from eva.app.config_parts import Section, Share

if TYPE_CHECKING:
    from eva.app.config import Config


class Alarm(Section):
    """One alarm: above which value it is raised, and what it does."""

    limit: float
    action: Action = "warn"
    """`stop` ends the run after the round; `rollback` takes back the policy of the round."""

    @model_validator(mode="before")
    @classmethod
    def _action_alone(cls, given: object) -> object:
        """An action by itself leaves the limit: `length = "stop"`."""
        return {"action": given} if isinstance(given, str) else given


class Length(Alarm):
    """Answers grow or shrink."""

    limit: Annotated[float, Field(gt=1)] = 1.5
    """Ratio of mean lengths to the first round's, either way."""


class Repetition(Alarm):
    """Answers repeat themselves."""

    limit: Share = 0.1
    """Rise of the share of repeated runs of four words over the first round's."""


class Truncation(Alarm):
    """Answers run into the token limit."""

    limit: Share = 0.2
    """Rise of the share of answers cut off over the first round's."""


class Diversity(Alarm):
    """Prompts grow alike."""

    limit: Share = 0.4
    """Part lost of the first round's share of different runs of three words."""


class Acceptance(Alarm):
    """The evolver or the gates refuse nearly everything."""

    limit: Share = 0.5
    """Part lost of the median acceptance of the rounds before."""


class Disagreement(Alarm):
    """Informativeness follows the disagreement of an ensemble of rewards."""

    limit: Share = 0.4
    """Correlation of both over prompts."""


class PartFall(Alarm):
    """A part of a `combined` reward, or a member of an `ensemble`, falls as the whole rises."""

    limit: Annotated[float, Field(ge=0)] = 0.5
    """Fall of the part's mean, in its standard deviations over the first round's answers."""


class HeldoutFall(Alarm):
    """A measure on held-out prompts falls, where rounds are measured (`evaluation.when`)."""

    limit: Annotated[float, Field(ge=0)] = 0.0
    """How far the whole 95 % interval of the difference to the first policy lies below 0."""


class Alarms(Section):
    """Signs of trouble, looked for after every round; see docs/alarms.md."""

    length: Length = Length()
    repetition: Repetition = Repetition()
    truncation: Truncation = Truncation()
    diversity: Diversity = Diversity()
    acceptance: Acceptance = Acceptance()
    disagreement: Disagreement = Disagreement()
    parts: PartFall = PartFall()
    heldout: HeldoutFall = HeldoutFall()

    def each(self) -> Iterator[tuple[str, Alarm]]:
        """Yield the alarms with their names."""
        for name in type(self).model_fields:
            yield name, getattr(self, name)

    def limits(self) -> dict[str, Limit]:
        """Return limits and actions by name."""
        return {name: Limit(alarm.limit, alarm.action) for name, alarm in self.each()}


def alarm_faults(game: Config) -> Iterator[str]:
    """Yield why alarms of a config can't do what they are to."""
    backwards = [name for name, alarm in game.alarms.each() if alarm.action == "rollback"]
    if backwards and game.solver.start == "scratch":
        yield (
            f"alarms.{backwards[0]}.action 'rollback' takes back a policy, and with solver.start "
            "'scratch' no round begins from one: take 'warn' or 'stop'"
        )
    if backwards and game.run.keep_policies < 3:
        yield (
            f"alarms.{backwards[0]}.action 'rollback' goes back past the last policy, and "
            f"run.keep_policies = {game.run.keep_policies} keeps too few: take 3 or more"
        )
