from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eva.constraints import KINDS, Kind, Phrasing, nothing
from eva.errors import ConfigError, RewardError
from eva.rewards.rules import RuleReward
from eva.types import Check, Group, Prompt, Response

CHECKS = (Check("lowercase"), Check("commas"), Check("max_words", {"words": 3}))


def group(*texts: str, checks: tuple[Check, ...] = CHECKS, finish: str = "stop") -> Group:
    prompt = Prompt.of("Name a fruit.", checks=checks)
    responses = tuple(Response(text, (), finish=finish) for text in texts)
    return Group(prompt, (), responses, "p0")


def test_the_reward_is_the_share_of_checks_met():
    (scored,) = RuleReward().score([group("an apple", "An apple", "An apple, or a pear")])
    assert scored.rewards == pytest.approx((1.0, 2 / 3, 0.0))
    assert scored.scores[1].parts == {"lowercase": 0.0, "commas": 1.0, "max_words": 1.0}


def test_all_gives_credit_only_for_everything():
    (scored,) = RuleReward(credit="all").score([group("an apple", "An apple")])
    assert scored.rewards == (1.0, 0.0)
    assert scored.scores[1].parts["commas"] == 1.0


@pytest.mark.parametrize("text", ["", "  \n", "...", "🙂"])
def test_an_answer_without_words_meets_nothing(text):
    (scored,) = RuleReward().score([group(text)])
    assert scored.rewards == (0.0,)
    assert set(scored.scores[0].parts.values()) == {0.0}


def test_an_answer_that_is_too_short_gets_nothing():
    (scored,) = RuleReward(min_words=2).score([group("apple", "an apple")])
    assert scored.rewards == (0.0, 1.0)


def test_a_truncated_answer_is_scored_as_it_stands():
    (scored,) = RuleReward().score([group("an apple", finish="length")])
    assert scored.rewards == (1.0,)


def test_two_checks_of_a_kind_both_count():
    checks = (Check("keywords", {"words": ["apple"]}), Check("keywords", {"words": ["pear"]}))
    (scored,) = RuleReward().score([group("an apple", checks=checks)])
    assert scored.rewards == (0.5,)
    assert scored.scores[0].parts == {"keywords": 0.0}


def test_a_prompt_without_checks_has_no_score():
    (scored,) = RuleReward().score([group("an apple", checks=())])
    assert scored.rewards == (None,)
    assert scored.scores[0].cause == "none"


def test_a_check_that_raises_leaves_its_response_unscored():
    good, bad = RuleReward().score([group("an apple"), group("x", checks=(Check("bullets"),))])
    assert good.rewards == (1.0,)
    assert bad.scores[0].cause == "raised"
    assert bad.scores[0].detail == "bullets {}: KeyError: 'count'"


def test_a_checker_of_a_user_may_raise_anything(monkeypatch):
    def fail(text, args):
        raise RuntimeError("no dictionary")

    phrasings = (Phrasing("do", "rhyme"), Phrasing("say", "it must rhyme"))
    kind = Kind(name="rhyme", args={}, phrasings=phrasings, levels=(nothing,), check=fail)
    monkeypatch.setitem(KINDS, "rhyme", kind)
    (scored,) = RuleReward().score([group("an apple", checks=(Check("rhyme"),))])
    assert scored.scores[0].detail == "rhyme {}: RuntimeError: no dictionary"


def test_a_reward_that_fails_for_most_responses_stops_the_run():
    open_group = group(*["an apple"] * 11, checks=())
    assert len(RuleReward().score([group(*["an apple"] * 8), open_group])) == 2
    assert len(RuleReward().score([group(*["an apple"] * 11), open_group])) == 2
    with pytest.raises(RewardError, match="11 of 20 responses"):
        RuleReward().score([group(*["an apple"] * 9), open_group])


def test_an_unknown_kind_is_a_broken_config_not_a_bad_response():
    with pytest.raises(ConfigError, match="did you mean 'commas'"):
        RuleReward().score([group("x", checks=(Check("comas"),))])


def test_options_out_of_range_are_refused():
    with pytest.raises(ConfigError, match="expected 'share' or 'all'"):
        RuleReward(credit="some")
    with pytest.raises(ConfigError, match="min_words"):
        RuleReward(min_words=-1)


@given(st.lists(st.text(), min_size=1, max_size=4), st.permutations(CHECKS))
def test_rewards_lie_in_the_unit_interval_in_any_order_of_checks(texts, checks):
    (first,) = RuleReward().score([group(*texts)])
    (second,) = RuleReward().score([group(*texts, checks=tuple(checks))])
    assert first.rewards == second.rewards
    assert all(0 <= reward <= 1 for reward in first.rewards)
