from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eva.comparisons import Comparisons
from eva.errors import ConfigError, SolverError
from eva.rng import Streams
from eva.solver.pairs import PairSettings, make_pairs, win_probabilities
from eva.types import Group, Prompt, Response, Score, ScoredGroup

STREAMS = Streams(0, 1, "pair")


def group(*responses, text="q", prompt_ids=(1, 2)):
    """A scored group from (reward, token ids, finish) triples, the last two optional."""
    full = [
        (r, ids, finish) for r, ids, finish, *_ in (_padded(x, i) for i, x in enumerate(responses))
    ]
    answers = tuple(Response("a", tuple(ids), finish=finish) for _, ids, finish in full)
    scores = tuple(Score(reward, "" if reward is not None else "nan") for reward, _, _ in full)
    return ScoredGroup(Group(Prompt.of(text), prompt_ids, answers, "v0"), scores)


def _padded(response, index):
    given_ = response if isinstance(response, tuple) else (response,)
    return (*given_, *((10 + index, 3), "stop")[len(given_) - 1 :])


def pairs(*groups, wins=None, **settings):
    return make_pairs(groups, settings=PairSettings(**settings), streams=STREAMS, wins=wins)


def chosen_and_rejected(result):
    (example,) = result.examples
    return example.columns["reward_chosen"], example.columns["reward_rejected"]


def test_the_best_is_chosen_and_the_worst_rejected_with_their_sampled_tokens():
    result = pairs(group((1.0, (5, 2)), (3.0, (6, 7, 2)), (-2.0, (8, 9), "length"), (0.5, (4, 2))))
    (example,) = result.examples
    assert example.completions == ((6, 7, 2), (8, 9))
    assert example.prompt_ids == (1, 2)
    assert example.prompt_id == Prompt.of("q").id
    assert example.reference is None
    assert example.columns == {
        "reward_chosen": 3.0,
        "reward_rejected": -2.0,
        "win_chosen": pytest.approx(np.mean([1 / (1 + math.exp(-d)) for d in (2, 0, 5, 2.5)])),
        "win_rejected": pytest.approx(np.mean([1 / (1 + math.exp(-d)) for d in (-3, -5, 0, -2.5)])),
        "truncated_chosen": 0.0,
        "truncated_rejected": 1.0,
    }
    assert result.skipped == {}


@pytest.mark.parametrize(
    ("scored", "settings", "cause"),
    [
        (group(), {}, "no_responses"),
        (group(1.0, None, None), {}, "too_few_scored"),
        (group((1.0, ()), (2.0, (3,)), (0.0, ())), {}, "no_tokens"),
        (group(1.0, 2.0, prompt_ids=()), {}, "no_tokens"),
        (group(2.0, 2.0, None, 2.0), {}, "no_contrast"),
        (group((2.0, (5,), "length"), (1.0, (6,), "length")), {}, "truncated"),
        (group((2.0, (5,), "length"), (1.0, (6, 2))), {}, "truncated"),
        (group(1.0, 1.4), {"margin": 0.5}, "small_margin"),
        (group((1.0, (7, 2)), (0.0, (7, 2))), {}, "identical"),
    ],
)
def test_a_group_without_a_pair_is_counted_by_cause(scored, settings, cause):
    result = pairs(scored, **settings)
    assert result.examples == ()
    assert result.skipped == {cause: 1}


def test_a_truncated_response_is_chosen_only_on_request():
    scored = group((2.0, (5,), "length"), (1.0, (6, 2)), (0.0, (7, 2)))
    assert chosen_and_rejected(pairs(scored)) == (1.0, 0.0)
    result = pairs(scored, truncated_chosen=True)
    assert chosen_and_rejected(result) == (2.0, 0.0)
    assert result.examples[0].columns["truncated_chosen"] == 1.0


def test_a_margin_is_passed_not_met():
    assert pairs(group(1.0, 1.5), margin=0.5).skipped == {"small_margin": 1}
    assert chosen_and_rejected(pairs(group(1.0, 1.5), margin=0.49)) == (1.5, 1.0)


def test_the_worst_with_other_tokens_is_rejected():
    """A noisy reward gave one text the best and the worst score."""
    assert chosen_and_rejected(pairs(group((3.0, (7,)), (0.0, (7,)), (1.0, (8,))))) == (3.0, 1.0)


def test_a_random_rejected_response_is_any_worse_one_and_depends_on_the_prompt_alone():
    groups = [group(3.0, 1.0, 2.0, 3.0, 2.5, text=f"q{i}") for i in range(200)]
    result = pairs(*groups, rejected="random", margin=0.5)
    rejected = [example.columns["reward_rejected"] for example in result.examples]
    assert set(rejected) == {1.0, 2.0}
    assert 60 < rejected.count(1.0) < 140
    backwards = pairs(*groups[::-1], rejected="random", margin=0.5)
    assert backwards.examples == result.examples[::-1]


rewards = st.lists(
    st.tuples(
        st.one_of(st.none(), st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.floats(-5, 5)),
        st.lists(st.integers(0, 2), max_size=2).map(tuple),
        st.sampled_from(["stop", "length"]),
    ),
    max_size=6,
)


@given(
    responses=st.lists(rewards, max_size=4),
    rejected=st.sampled_from(["worst", "random"]),
    margin=st.sampled_from([0.0, 0.5]),
    truncated=st.booleans(),
)
def test_no_pair_is_ever_a_tie_an_echo_or_below_the_floor(responses, rejected, margin, truncated):
    groups = [group(*r, text=f"q{i}") for i, r in enumerate(responses)]
    settings = {"rejected": rejected, "margin": margin, "truncated_chosen": truncated}
    result = pairs(*groups, **settings)
    by_id = {g.prompt.id: g for g in groups}
    for example in result.examples:
        chosen, other = example.columns["reward_chosen"], example.columns["reward_rejected"]
        assert chosen - other > margin
        assert example.completions[0] != example.completions[1]
        assert all(example.completions)
        assert truncated or not example.columns["truncated_chosen"]
        assert example.columns["win_chosen"] >= example.columns["win_rejected"]
        scored = by_id[example.prompt_id]
        sampled = [r.token_ids for r in scored.group.responses]
        assert all(ids in sampled for ids in example.completions)
    paired = [example.prompt_id for example in result.examples]
    assert paired == [i for i in by_id if i in paired]
    assert len(paired) + sum(result.skipped.values()) == len(groups)


def test_win_probabilities_from_rewards():
    wins = win_probabilities([2.0, None, 0.0], scale=2.0)
    beat = 1 / (1 + math.exp(-1))
    assert wins[[0, 2]].tolist() == pytest.approx([(0.5 + beat) / 2, (0.5 + 1 - beat) / 2])
    assert math.isnan(wins[1])
    assert win_probabilities([1e6, -1e6]).tolist() == [0.75, 0.25]


def test_win_probabilities_from_a_pairwise_model():
    nan = math.nan
    matrix = np.array([[nan, 0.9, nan], [0.2, nan, nan], [nan, nan, nan]])
    wins = win_probabilities([1.0, 0.0, None], matrix=matrix)
    assert wins[:2].tolist() == pytest.approx([0.7, 0.35])
    assert math.isnan(wins[2])
    assert math.isnan(matrix[0, 0]), "the caller's matrix is left alone"
    result = pairs(group(1.0, 0.0, None), wins=[matrix])
    assert result.examples[0].columns["win_chosen"] == pytest.approx(0.7)


def test_the_comparisons_of_a_group_are_its_win_probabilities():
    # 0 beats 1 in both orders and 2 in one; 1 against 2 was not judged
    first = ((0.5, 1.0, 1.0), (0.0, 0.5, None), (1.0, 1.0, 0.5))
    compared = replace(group(0.75, 0.0, 0.5), compared=Comparisons(first, {"unparsed": 1}))
    (example,) = pairs(compared).examples
    # itself, 1 and 2: (0.5 + 1 + 0.5) / 3; itself and 0: (0.5 + 0) / 2
    assert example.columns["win_chosen"] == pytest.approx(2 / 3)
    assert example.columns["win_rejected"] == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("wins", "message"),
    [
        ([], "0 win matrices for 1 groups"),
        ([np.ones((2, 3))], "shape"),
        ([np.full((2, 2), 1.5)], "outside 0 to 1"),
        ([np.full((2, 2), math.nan)], "outside 0 to 1"),
    ],
)
def test_win_matrices_that_do_not_fit_are_refused(wins, message):
    with pytest.raises(SolverError, match=message):
        pairs(group(1.0, 0.0), wins=wins)


@pytest.mark.parametrize(
    "settings", [{"rejected": "wurst"}, {"margin": -1}, {"margin": math.nan}, {"reward_scale": 0}]
)
def test_settings_that_make_no_pairs_are_refused(settings):
    with pytest.raises(ConfigError, match=next(iter(settings))):
        PairSettings(**settings)


def test_figures():
    result = pairs(
        group((2.0, (5, 6, 2)), (0.0, (7,), "length"), text="a"),
        group((1.0, (5,)), (0.0, (7, 8, 2)), text="b"),
        group(1.0, 1.0, text="c"),
    )
    assert result.skipped == {"no_contrast": 1}
    assert result.figures == {
        "reward_margin": 1.5,
        "length_chosen": 2.0,
        "length_rejected": 2.0,
        "truncated_rejected": 0.5,
    }
    assert pairs().figures == {}
