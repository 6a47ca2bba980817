"""What both schedules share, where it goes wrong; whole games are in their own tests."""

from dataclasses import dataclass

import pytest

from eva import schedule
from eva.errors import RunError
from eva.runs.memory import MemoryJournal
from eva.types import Prompt, SamplingParams, Stage


@dataclass(frozen=True, kw_only=True)
class Game(schedule.Game):
    """A game whose rounds do nothing."""


def game(*texts, **changes):
    human = tuple(Prompt.of(text) for text in texts)
    parts = {"engine": None, "reward": None, "answers": SamplingParams()}
    return Game(human=human, **(parts | changes))


def nothing(history):
    return {"round": len(history) + 1}


def test_rounds_are_played_once_and_then_read():
    journal, played = MemoryJournal(), []

    def play(history):
        played.append(len(history))
        return nothing(history)

    first = list(schedule.rounds(game("a"), journal, until=2, play=play))
    again = list(schedule.rounds(game("a"), journal, until=3, play=play))
    assert first == again[:2] == [{"round": 1}, {"round": 2}]
    assert played == [0, 1, 2]


def test_the_first_human_prompts_enter_the_population():
    journal = MemoryJournal()
    list(schedule.rounds(game("a", "b", "c", per_round=2), journal, until=1, play=nothing))
    assert [prompt.text for prompt in journal.prompts()] == ["a", "b"]


def test_other_human_prompts_are_refused():
    journal = MemoryJournal()
    list(schedule.rounds(game("a"), journal, until=1, play=nothing))
    with pytest.raises(RunError, match="their source has changed"):
        list(schedule.rounds(game("b"), journal, until=1, play=nothing))


def test_a_round_without_a_policy_is_named():
    with pytest.raises(RunError, match="round 3: its policy was never committed"):
        schedule.hold_policy(game("a"), MemoryJournal(), 3)


def test_evaluations_are_committed_one_by_one():
    class Evaluator:
        def __init__(self, name, broken=False):
            self.name, self.broken, self.calls = name, broken, 0

        def evaluate(self, policy, streams):
            self.calls += 1
            if self.broken:
                raise RunError("broken")
            return {"rows": [], "metrics": {f"{self.name}/x": float(streams.round)}}

    class Engine:
        def load(self, folder, *, optimiser=False):
            pass

    good, bad = Evaluator("good"), Evaluator("bad", broken=True)
    journal = MemoryJournal()
    measured = game("a", engine=Engine(), evaluators=(good, bad))
    with pytest.raises(RunError, match="broken"):
        list(schedule.rounds(measured, journal, until=1, play=nothing))
    bad.broken = False
    with pytest.raises(RunError, match="never committed"):
        # the game above trains nothing, so the evaluation after it has no policy
        list(schedule.rounds(measured, journal, until=1, play=nothing))
    assert (good.calls, bad.calls) == (1, 2)
    assert journal.once(Stage(0, "evaluate"), dict) == {"good/x": 0.0, "bad/x": 0.0}
