"""The prompts of a game: which train, which are held out, and which are set aside.

Held-out prompts are taken first and from the same source, whatever the seed and the size of the
training set: so seeds and arms of an experiment are measured on the same prompts. A prompt is never
in both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from eva.app import config
from eva.app.config_rewards import Rules
from eva.app.puzzles import load_puzzles
from eva.constraints import HELD_OUT, KINDS, Partition, dress, find, partition
from eva.data.prompts import LoadedPrompts, load_prompts
from eva.errors import ConfigError, DataError, unknown_name
from eva.rng import Streams
from eva.types import Message, Prompt

HELD_OUT_STREAMS = Streams(0, 0, "prompts/heldout")
"""Which prompts are held out and what is asked of them: the same for every seed."""


@dataclass(frozen=True)
class PromptSets:
    """What a game's prompts are for."""

    human: tuple[Prompt, ...]
    """Prompts to train on, in order of use."""
    held_out: tuple[Prompt, ...]
    """Prompts to measure on; empty without a held-out section."""
    loaded: LoadedPrompts
    kinds: Partition | None
    """Constraint kinds to train on and to hold out; None for open prompts."""


def prompt_sets(game: config.Config) -> PromptSets:
    """Load the prompts, hold some out, and put constraints on them where the config says so.

    Raises:
        DataError: the source cannot be read, or has too few prompts.
        ConfigError: a kind of constraint is unknown.
    """
    section = game.prompts
    loaded = _loaded(section)
    kinds = kinds_of(section.constraints) if section.constraints else None
    held = game.evaluation.heldout
    wanted = held.prompts if held and game.evaluation.when != "never" else 0
    taken = wanted * 2 if kinds else wanted  # those after the first get kinds never trained on
    measured, rest = loaded.prompts[:taken], loaded.prompts[taken:]
    _enough(game, loaded, len(rest))
    _refuse_unknown_kinds(game, loaded)
    streams = Streams(game.seed, 0, "prompts")
    if section.shuffle:
        rest = tuple(rest[i] for i in streams.of("order").permutation(len(rest)))
    if section.constraints is None or kinds is None:
        return PromptSets(rest, measured, loaded, None)
    return PromptSets(
        human=_dressed(rest, section.constraints, kinds=kinds.trained, streams=streams),
        held_out=_held_out(measured, game, kinds) if held else (),
        loaded=loaded,
        kinds=kinds,
    )


def _loaded(section: config.Prompts) -> LoadedPrompts:
    if section.gym:
        return load_puzzles(section.gym, HELD_OUT_STREAMS)
    return load_prompts(
        section.source,
        column=section.column or None,
        keep=section.keep,
        topic=section.topics.column or None,
        split=section.split or None,
        max_chars=section.max_characters,
        shuffle=HELD_OUT_STREAMS if section.shuffle else None,
    )


def kinds_of(section: config.Constraints) -> Partition:
    """Return the kinds of constraints to train on and to hold out.

    Raises:
        ConfigError: a kind is unknown, or both trained on and held out.
    """
    split = partition(section.held_out or HELD_OUT)
    if not section.kinds:
        return split
    for kind in section.kinds:
        find(kind)
    both = sorted(set(section.kinds) & set(split.held_out))
    if both:
        raise ConfigError(
            f"prompts.constraints: {', '.join(both)} both trained on and held out: name other "
            "kinds, or set held_out"
        )
    return Partition(section.kinds, split.held_out)


def _enough(game: config.Config, loaded: LoadedPrompts, left: int) -> None:
    fresh = game.rounds if game.creator.name == "new_human" else 1
    wanted = fresh * game.prompts.per_round
    # a data set smaller than the paper's 10K is played whole; new human prompts must not run out
    if left < 1 or (fresh > 1 and left < wanted):
        raise DataError(
            f"{loaded.source}: {len(loaded.prompts)} usable prompts, {left} after the held-out "
            f"ones, expected {wanted if fresh > 1 else 'at least 1'} "
            f"({fresh} x prompts.per_round): add prompts, or lower prompts.per_round or "
            "evaluation.heldout.prompts"
        )


def _refuse_unknown_kinds(game: config.Config, loaded: LoadedPrompts) -> None:
    """Raise where checks that came with the prompts are none that reward or evolver know."""
    verified = any(isinstance(part, Rules) for part in game.reward.leaves())
    if not (verified or game.prompts.constraints):
        return  # checks of someone else's, for a reward of theirs
    for prompt in loaded.prompts:
        for check in prompt.checks:
            if check.kind not in KINDS:
                raise DataError(
                    f"{loaded.source}: checks of the prompt {prompt.text[:60]!r}: "
                    f"{unknown_name('kind of constraint', check.kind, KINDS)}"
                )


def _dressed(
    prompts: Sequence[Prompt],
    section: config.Constraints,
    *,
    kinds: Sequence[str],
    streams: Streams,
) -> tuple[Prompt, ...]:
    dressed = []
    for prompt in prompts:
        rng = streams.of("constraints", prompt.id)
        count = int(rng.choice(section.count))
        level = int(rng.integers(1, section.level + 1))
        dressed.append(
            prompt
            if prompt.checks
            else dress(prompt, rng, kinds=kinds, count=count, level=level, budget=section.max_words)
        )
    return tuple({prompt.id: prompt for prompt in dressed}.values())


def bare(prompt: Prompt) -> Prompt:
    """Return a verifiable prompt without its constraints; any other as it is."""
    if not prompt.checks:
        return prompt
    turns = (*prompt.messages[:-1], Message("user", prompt.topic or prompt.text))
    return replace(prompt, messages=turns, checks=(), id="")


def _held_out(
    prompts: Sequence[Prompt], game: config.Config, kinds: Partition
) -> tuple[Prompt, ...]:
    """Return the first prompts with 1, 2, 3 trained kinds each; the others with an unseen one."""
    held, section = game.evaluation.heldout, game.prompts.constraints
    assert held is not None, "only called with a held-out section"
    assert section is not None, "only called with constraints"
    streams = HELD_OUT_STREAMS
    made = [
        dress(
            bare(prompt),
            streams.of(prompt.id, count),
            kinds=kinds.trained,
            count=count,
            level=section.level,
            budget=section.max_words,
        )
        for count in held.counts
        for prompt in prompts[: held.prompts]
    ]
    made += [
        dress(
            bare(prompt),
            streams.of(prompt.id, "unseen"),
            kinds=kinds.held_out,
            count=1,
            level=section.level,
            budget=section.max_words,
        )
        for prompt in prompts[held.prompts :]
    ]
    return tuple({prompt.id: prompt for prompt in made}.values())
