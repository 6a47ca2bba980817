from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eva.constraints import KINDS, TOPICS, conflict, dress, level_of, parse, partition
from eva.creator.rules import OPERATORS, Draft, RuleEvolver, Rules, Scene
from eva.errors import ConfigError
from eva.rng import Streams
from eva.types import Check, Message, Prompt

TRAINED = partition().trained
EXAMPLES = Path(__file__).parents[2] / "examples" / "data" / "evolved_prompts.jsonl"


def streams(seed: int = 0, round_: int = 1) -> Streams:
    return Streams(seed, round_, "creator/evolve")


def seeds(count: int, *, seed: int = 0, checks: int = 1) -> list[Prompt]:
    return [
        dress(
            Prompt.of(TOPICS[(seed + i) % len(TOPICS)]),
            streams(seed).of("seed", i),
            kinds=TRAINED,
            count=checks,
        )
        for i in range(count)
    ]


def only(operator: str, **rules: object) -> RuleEvolver:
    return RuleEvolver(Rules(**({"kinds": TRAINED} | rules)), {operator: 1.0})


def child_of(evolver: RuleEvolver, *parents: Prompt, seed: int = 0) -> Prompt:
    child = evolver.propose(parents, 0, streams(seed))[0].child
    assert child is not None
    return child


@given(st.integers(0, 10**6), st.integers(1, 3))
def test_evolving_never_yields_conflicting_checks(seed, checks):
    prompts, evolver = seeds(4, seed=seed, checks=checks), RuleEvolver()
    for generation in range(3):
        proposals = evolver.propose(prompts, 0, streams(seed, generation))
        prompts = [p.child or p.parent for p in proposals]
    for prompt in prompts:
        assert 1 <= len(prompt.checks) <= 3
        assert {check.kind for check in prompt.checks} <= set(TRAINED)
        for i, check in enumerate(prompt.checks):
            assert all(conflict(check, other) is None for other in prompt.checks[:i])
            assert KINDS[check.kind].least_words(check.args) <= evolver.rules.budget


@given(st.integers(0, 10**6))
def test_a_child_depends_on_its_stream_alone(seed):
    prompts, evolver = seeds(6, seed=seed), RuleEvolver()
    first = evolver.propose(prompts, 0, streams(seed))
    assert evolver.propose(prompts, 0, streams(seed)) == first
    assert evolver.propose(prompts[::-1], 0, streams(seed))[::-1] == first


def test_different_streams_usually_give_different_children():
    prompts, evolver = seeds(20), RuleEvolver()
    children = [
        p.child.id
        for step in range(4)
        for p in evolver.propose(prompts, step, streams())
        if p.child
    ]
    assert len(children) == 80
    assert len(set(children)) >= 78


def test_children_are_siblings_that_know_where_they_come_from():
    assert RuleEvolver().chain is False
    parent = seeds(1)[0]
    proposal = only("add").propose([parent], 0, streams(round_=3))[0]
    assert proposal.parent is parent
    assert proposal.operator == proposal.child.operator == "add"
    assert (proposal.child.parents, proposal.child.born) == ((parent.id,), 3)
    assert proposal.generated_tokens == 0


def test_add():
    parent = seeds(1)[0]
    child = child_of(only("add"), parent)
    assert child.checks[0] == parent.checks[0]
    assert len(child.checks) == 2
    assert child.topic == parent.topic


def test_add_gives_an_open_prompt_its_first_constraint():
    child = child_of(only("add"), Prompt.of("Name a fruit.", topic="food"))
    assert len(child.checks) == 1
    assert child.topic == "Name a fruit."


def test_harden_raises_one_level_by_one():
    parent = Prompt.of(
        "x", topic="Name a fruit.", checks=(Check("quoted"), Check("keywords", {"words": ["day"]}))
    )
    child = child_of(only("harden"), parent)
    assert {c.kind: level_of(c) for c in child.checks} == {"quoted": 1, "keywords": 2}
    assert len(child.checks[1].args["words"]) == 2


def test_swap_keeps_number_and_level_and_changes_the_kind():
    parent = Prompt.of(
        "x", topic="Name a fruit.", checks=(Check("bullets", {"count": 4, "level": 3}),)
    )
    for seed in range(20):
        (check,) = child_of(only("swap"), parent, seed=seed).checks
        assert check.kind != "bullets"
        assert level_of(check) == min(3, len(KINDS[check.kind].levels))


def test_move_keeps_the_checks_and_drops_columns_of_the_old_topic():
    parent = Prompt.of(
        "x", topic="Name a fruit.", checks=(Check("lowercase"),), columns={"reference": "Apple."}
    )
    child = child_of(only("move", topics=("Name a fruit.", "Explain tides.")), parent)
    assert child.topic == "Explain tides."
    assert child.checks == parent.checks
    assert child.columns == {}


def test_combine_takes_checks_of_both_and_a_topic_of_either():
    a = Prompt.of("x", topic="Name a fruit.", checks=(Check("lowercase"),))
    b = Prompt.of("y", topic="Explain tides.", checks=(Check("commas"),))
    children = [child_of(only("combine"), a, b, seed=i) for i in range(20)]
    assert {child.topic for child in children} == {"Name a fruit.", "Explain tides."}
    for child in children:
        assert {check.kind for check in child.checks} == {"lowercase", "commas"}
        assert child.parents == (a.id, b.id)


def test_combine_with_a_full_house_keeps_some_of_both():
    a, b = seeds(2, seed=3, checks=3)
    for seed in range(10):
        proposal = only("combine").propose([a, b], 0, streams(seed))[0]
        if proposal.child:
            keys = {c.key() for c in proposal.child.checks}
            assert keys & {c.key() for c in a.checks}
            assert keys - {c.key() for c in a.checks}
            assert len(keys) <= 3


BARE = Prompt.of("Name a fruit.")
LOWER = Prompt.of("x", topic="Name a fruit.", checks=(Check("lowercase", {"level": 3}),))
DIALOGUE = Prompt(
    (Message("user", "Hi."), Message("assistant", "Hello."), Message("user", "x")),
    topic="Name a fruit.",
    checks=(Check("lowercase"),),
)


@pytest.mark.parametrize(
    ("evolver", "parent", "reason"),
    [
        (only("add", max_checks=1), LOWER, "add: it has 1 constraints, 1 are allowed"),
        (only("add", kinds=("lowercase", "uppercase")), LOWER, "goes together"),
        (only("harden"), LOWER, "no constraint can be made harder"),
        (only("harden"), BARE, "no constraint can be made harder"),
        (only("swap", kinds=("lowercase",)), LOWER, "no constraint can be replaced"),
        (only("move"), BARE, "no constraints to take"),
        (only("move"), DIALOGUE, "the turns before it"),
        (only("move", topics=("Name a fruit.",)), LOWER, "no other topic"),
        (only("combine"), LOWER, "it needs two prompts"),
        (RuleEvolver(), Prompt.of("x", checks=(Check("lowercase"),)), "is not known"),
    ],
)
def test_an_operator_that_does_not_apply_says_why(evolver, parent, reason):
    (proposal,) = evolver.propose([parent], 0, streams())
    assert proposal.child is None
    assert reason in proposal.reason


def test_combine_says_when_the_checks_exclude_each_other():
    upper = Prompt.of("y", topic="Explain tides.", checks=(Check("uppercase"),))
    first, _ = only("combine").propose([LOWER, upper], 0, streams())
    assert first.child is None
    assert f"no constraint of {upper.id} goes together" in first.reason


def test_an_operator_that_does_not_apply_gives_way_to_one_that_does():
    evolver = RuleEvolver(Rules(TRAINED), {"harden": 1e9, "add": 1.0})
    (proposal,) = evolver.propose([LOWER], 0, streams())
    assert proposal.operator == "add"


def test_weights_say_how_often_an_operator_is_drawn():
    prompts = seeds(52, checks=1)
    evolver = RuleEvolver(Rules(TRAINED), {"add": 3.0, "move": 1.0, "swap": 0.0})
    drawn = Counter(
        p.operator for step in range(8) for p in evolver.propose(prompts, step, streams())
    )
    # 416 draws at 3/4: a standard deviation is 8.8, five of them are allowed.
    assert abs(drawn["add"] - 312) < 44
    assert drawn["add"] + drawn["move"] == 416


@pytest.mark.parametrize(
    ("rules", "weights", "message"),
    [
        ({}, {"hardn": 1.0}, "did you mean 'harden'"),
        ({}, {"add": -1.0}, "expected >= 0"),
        ({}, {"add": float("nan")}, "expected >= 0"),
        ({}, {"add": 0.0}, "no rule operator"),
        ({"kinds": ()}, {"add": 1.0}, "at least one kind"),
        ({"max_checks": 0}, {"add": 1.0}, "max_checks"),
        ({"kinds": ("bulets",)}, {"add": 1.0}, "did you mean 'bullets'"),
    ],
)
def test_what_cannot_be_played_is_refused(rules, weights, message):
    with pytest.raises(ConfigError, match=message):
        RuleEvolver(Rules(**({"kinds": TRAINED} | rules)), weights)


def test_system_message_stays_and_does_not_hinder_a_move():
    parent = Prompt(
        (Message("system", "Be kind."), Message("user", "x")), topic="t", checks=LOWER.checks
    )
    child = child_of(only("move"), parent)
    assert child.messages[0] == parent.messages[0]
    assert child.topic in TOPICS


def test_operators_are_functions_that_a_user_can_call():
    rng = streams().of("x")
    draft = OPERATORS["add"](BARE, Scene(Rules(("commas",))), rng)
    assert isinstance(draft, Draft)
    assert draft.checks[0].kind == "commas"


def test_the_example_file_holds_fifty_prompts_whose_checks_parse_and_agree():
    rows = [json.loads(line) for line in EXAMPLES.read_text("utf-8").splitlines()]
    assert len(rows) == 50
    assert len({row["prompt"] for row in rows}) == 50
    assert {row["operator"] for row in rows} == OPERATORS.keys()
    for row in rows:
        checks = [parse(check) for check in row["checks"]]
        assert row["topic"][1:-1] in row["prompt"]
        for i, check in enumerate(checks):
            assert check.kind in TRAINED
            assert all(conflict(check, other) is None for other in checks[:i])
