"""Rewards for which a language model is asked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from pydantic import Field, model_validator

from eva.app.config_servers import Server
from eva.app.config_verifiers import Leaf
from eva.rewards.judging import PLACEHOLDERS

if TYPE_CHECKING:
    from eva.app.config import Config


class Asked(Leaf):
    """A reward for which a language model is asked: a local one, or a server's."""

    name: str
    model: str = ""
    """A local model: a hub id, a folder, or `packaged:NAME`."""
    server: Server | None = None
    """A server with a model, in place of a local one."""
    template: str = ""
    """What the judge is told, with its placeholders in braces; empty takes eva's own."""
    max_tokens: Annotated[int, Field(gt=0)] = 512
    """Longest reply; a longer one is cut off, and is no verdict."""
    batch_tokens: Annotated[int, Field(gt=0)] = 16384
    """Cached tokens, padding included, of one decoding batch of a local model."""
    self_test: bool = True
    """Whether the judge must tell good answers from corrupted ones before anything is answered."""

    @model_validator(mode="after")
    def _one_judge(self) -> Asked:
        if bool(self.model) == bool(self.server):
            raise ValueError(f"reward {self.name!r}: set either model or server")
        wanted = PLACEHOLDERS[self.name]
        wrong = [f"{{{p}}}" for p in wanted if self.template.count(f"{{{p}}}") != 1]
        if self.template and wrong:
            raise ValueError(
                f"reward {self.name!r}: its template must hold {', '.join(wrong)}, once each; how "
                "to reply is added by eva"
            )
        return self


class Judge(Asked):
    """A language model's grade, on a scale of whole numbers."""

    name: Literal["judge"]
    lowest: Annotated[int, Field(ge=0)] = 1
    """The grade of a useless answer."""
    highest: Annotated[int, Field(gt=0)] = 10
    """The grade of an answer that could not be better."""
    samples: Annotated[int, Field(gt=0)] = 1
    """Replies per answer, of which the mean is taken."""
    temperature: Annotated[float, Field(ge=0)] = 0.0
    """0 takes the likeliest reply."""

    @model_validator(mode="after")
    def _can_vary(self) -> Judge:
        if self.lowest >= self.highest:
            raise ValueError("reward 'judge': lowest must be below highest")
        if self.samples > 1 and not self.temperature:
            raise ValueError("reward 'judge': at temperature 0 all samples are the same: raise it")
        return self


class Pairwise(Asked):
    """An answer's mean probability to beat another one, as a language model compares them."""

    name: Literal["pairwise"]


JudgeSection: TypeAlias = Judge | Pairwise

COMPARE = ("pairwise", "preference")
"""Names of the rewards that compare answers."""


def misfits(game: Config) -> Iterator[str]:
    """Yield what asks a reward that compares answers about an answer alone."""
    names = [leaf.model_dump()["name"] for leaf in game.reward.leaves()]
    comparing = next((name for name in names if name in COMPARE), None)
    if comparing is None:
        return
    section = game.evaluation
    if game.solver.rewrite:
        yield (
            f"reward {comparing!r} compares the answers to a prompt, and solver.rewrite has one "
            "answer scored alone: drop the rewrite, or take another reward, such as 'judge'"
        )
    if section.heldout and section.when != "never" and not game.prompts.constraints:
        yield (
            f"reward {comparing!r} compares the answers to a prompt, and evaluation.heldout has "
            "one answer to each: drop it, or take another reward, such as 'judge'"
        )
