from dataclasses import replace

import pytest

from eva.probing.reliability import Reliabilities
from eva.probing.verdict import verdict


def test_a_promising_set(made):
    found = verdict(made())
    assert (found.help, found.informativeness, found.n) == ("likely", "a_min", 10)
    assert found.sentence == (
        "Evolving is likely to help: 75 % of the prompts have contrast, and the best of 8 answers "
        'beats the mean one by 0.3; take creator.informativeness = "a_min" with answers.n = 10.'
    )
    assert found.cautions == ()


@pytest.mark.parametrize(
    ("without", "help"), [(64, "unlikely"), (63, "unlikely"), (60, "doubtful"), (48, "likely")]
)
def test_contrast_decides_by_its_interval_and_then_by_itself(made, contrast, without, help):
    assert verdict(made(contrast=contrast(without))).help == help


@pytest.mark.parametrize(
    ("ends", "remedy"),
    [
        ((0.9, 0.1), "harder prompts"),
        ((0.1, 0.9), "easier prompts"),
        ((0.4, 0.4), "tells answers apart"),
    ],
)
def test_the_remedy_follows_from_the_end_of_the_scale(made, contrast, ends, remedy):
    assert remedy in verdict(made(contrast=contrast(64, *ends))).sentence


def test_few_prompts_and_failing_rewards_come_before_what_was_measured(made, contrast):
    nothing = contrast(64)
    assert verdict(made(measured=15, contrast=nothing)).help == "cannot tell"
    broken = verdict(made(unscored={"timeout": 100, "nan": 20}, contrast=nothing))
    assert broken.help == "cannot tell"
    assert "'timeout'" in broken.sentence
    assert verdict(made(unscored={"timeout": 100})).help == "likely"


def test_noise_counts_from_half_of_the_headroom(made, noise):
    assert verdict(made(noise=noise(0.15), repeatability="varies")).help == "unlikely"
    assert verdict(made(noise=noise(0.14), repeatability="varies")).help == "likely"


def test_cut_answers_are_a_caution_first_and_then_a_doubt(made):
    lengths = made().lengths
    some = verdict(made(lengths=replace(lengths, truncated=0.3)))
    assert (some.help, some.cautions) == ("likely", ("30 % of the answers were cut off.",))
    assert verdict(made(lengths=replace(lengths, truncated=0.6))).help == "doubtful"


def test_headroom_is_read_on_the_scale_of_the_rewards(made):
    room = made().headroom
    small = verdict(made(headroom=replace(room, spread=2.0)))
    assert small.help == "doubtful"
    assert "0.15 standard deviations" in small.sentence
    assert verdict(made(headroom=replace(room, spread=1.4))).help == "likely"


def test_prompts_that_no_metric_tells_apart(made):
    known = made().reliability.metrics
    unreachable = replace(known[0], n=None)
    for reliability in (Reliabilities(known, None), Reliabilities((unreachable,), unreachable)):
        found = verdict(made(reliability=reliability))
        assert (found.help, found.informativeness, found.n) == ("doubtful", "a_min", None)
    none = Reliabilities((), None)
    assert "raise --n" in verdict(made(reliability=none, k=3)).sentence
    alone = verdict(made(reliability=none, measured=1))
    assert "only 1 prompt has two scored answers" in alone.sentence
    assert alone.cautions == ("reliability needs 3 prompts.",)


def test_what_decides_nothing_is_said_all_the_same(made):
    repeats = replace(made().repeats, equal=20)
    found = verdict(made(repeats=repeats, unanswered=2, repeatability="same score again"))
    assert found.help == "likely"
    assert found.cautions[:2] == (
        "22 % of the prompts repeat others: leave them out.",
        "2 prompts are too long for the model.",
    )
    assert "deterministic" in found.cautions[2]


def test_further_doubts_are_said_beside_the_first(made, contrast):
    lengths = replace(made().lengths, truncated=0.6)
    found = verdict(made(contrast=contrast(64), lengths=lengths))
    assert found.help == "unlikely"
    assert [caution.split(" of ")[0] for caution in found.cautions] == ["60 %"]
