import math

import pytest

from eva.probing.findings import count_repeats, findings, lengths, percent
from eva.rng import Streams
from eva.types import Group, Prompt, Response, Score, ScoredGroup

STREAMS = Streams(0, 0, "test")


def group(name, rewards, *, tokens=3, finish="stop", text="yes"):
    """A prompt with an answer per reward; None is unscored."""
    responses = tuple(Response(text, (1,) * tokens, finish=finish) for _ in rewards)
    scores = tuple(Score(r) if r is not None else Score(None, "timeout") for r in rewards)
    return ScoredGroup(Group(Prompt.of(name), (1,), responses, "p"), scores)


def find(scored, again=(), *, exact=False):
    repeats = count_repeats([one.prompt for one in scored])
    return findings(scored, again, repeats=repeats, exact=exact, streams=STREAMS)


def test_what_is_unscored_or_unanswered_is_counted_and_left_out():
    found = find([group("a", [1.0, None, 0.0]), group("b", [1.0, 1.0]), group("c", [])])
    assert (found.prompts, found.unanswered, found.measured, found.k) == (3, 1, 2, 2)
    assert found.unscored == {"timeout": 1}
    assert found.unscored_share == pytest.approx(1 / 5)
    assert found.contrast.without.estimate == 0.5


def test_an_unscored_answer_changes_nothing_else():
    whole = [group(str(i), [i % 3, 1.0, i % 5, 0.0]) for i in range(20)]
    holes = [group(str(i), [i % 3, None, 1.0, i % 5, 0.0]) for i in range(20)]
    one, other = find(whole), find(holes)
    assert (one.contrast, one.headroom, one.reliability) == (
        other.contrast,
        other.headroom,
        other.reliability,
    )


def test_whether_a_reward_repeats_itself():
    scored = [group(str(i), [i % 2, 1.0]) for i in range(4)]
    assert find(scored, exact=True).repeatability == "exact by construction"
    assert find(scored).repeatability == "unknown"
    assert find(scored, scored[:2]).repeatability == "same score again"
    other = [group("0", [0.5, 1.0]), group("1", [1.0, 0.5])]
    found = find(scored, other)
    assert found.repeatability == "varies"
    # differences 0.5, 0, 0 and -0.5
    assert found.noise.difference == pytest.approx(0.5 / math.sqrt(2))


def test_lengths_by_hand():
    found = lengths(
        [
            group("a", [1.0, 1.0], tokens=2),
            group("b", [1.0], tokens=8, finish="length"),
            group("c", [1.0], tokens=0, text=" "),
        ]
    )
    assert (found.answers, found.mean, found.median, found.longest) == (4, 3.0, 2.0, 8.0)
    assert (found.truncated, found.empty) == (0.25, 0.25)
    assert math.isnan(lengths([]).mean)


def test_repeats_by_hand():
    long = "Write a short story about a fox that lives in a wood by the sea"
    found = count_repeats(
        [Prompt.of(long), Prompt.of(long.upper()), Prompt.of(f"{long} now"), Prompt.of("Hello")],
        dropped=1,
    )
    assert (found.prompts, found.equal, found.near) == (5, 2, 1)
    assert found.share == pytest.approx(3 / 5)


def test_percent():
    assert percent(1.0) == "100 %"
