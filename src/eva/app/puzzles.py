"""From a config to puzzles of reasoning-gym."""

from __future__ import annotations

from eva.app.config_parts import Gym
from eva.data.prompts import LoadedPrompts, SetAside
from eva.errors import DataError
from eva.rng import Streams
from eva.types import Prompt

SOURCE = "reasoning_gym"
"""What `prompts.source` says to take puzzles."""


def load_puzzles(section: Gym, streams: Streams) -> LoadedPrompts:
    """Make the puzzles of a section, tasks in turn, levels from 0 to the section's.

    Puzzle i is drawn from `streams.of("gym", i)`: more of them begin with the same ones.

    Raises:
        ConfigError: the library is not installed, or a task cannot be played.
        DataError: no puzzle could be made.
    """
    from eva import gym

    for task in section.tasks:
        gym.check_task(task)
    made: dict[str, Prompt] = {}
    set_aside: list[SetAside] = []
    for i in range(section.size):
        rng, task = streams.of("gym", i), section.tasks[i % len(section.tasks)]
        level = int(rng.integers(min(section.level, gym.top_level(task)) + 1))
        try:
            prompt = gym.puzzle(task, level, int(rng.integers(2**31)))
        except DataError as error:
            set_aside.append(SetAside(f"puzzle {i}", f"not made: {error}"))
            continue
        if prompt.id in made:
            set_aside.append(SetAside(f"puzzle {i}", "duplicate: made before"))
        made.setdefault(prompt.id, prompt)
    if not made:
        raise DataError(f"{SOURCE}: none of {section.size} puzzles; {set_aside[0].reason}")
    return LoadedPrompts(SOURCE, "question", tuple(made.values()), tuple(set_aside))
