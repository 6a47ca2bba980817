import json
from dataclasses import replace

import numpy as np
import pytest

from eva import records
from eva.types import (
    Arrival,
    Check,
    Draw,
    Estimates,
    Evolution,
    Group,
    Pairing,
    Prompt,
    Refusal,
    Response,
    Score,
    ScoredGroup,
)


def group(text, rewards, *, lengths=None, finish="stop"):
    lengths = lengths or [2] * len(rewards)
    responses = tuple(Response("r", (1,) * n, finish=finish) for n in lengths)
    scores = tuple(Score(r, "" if r is not None else "nan") for r in rewards)
    return ScoredGroup(Group(Prompt.of(text), (1,), responses, "p"), scores)


def test_answers_leave_unscored_ones_out_and_count_them():
    figures = records.of_answers([group("a", [1.0, None, 0.0]), group("b", [None, None])])
    assert figures["reward_mean"] == 0.5
    assert figures["reward_best"] == 1.0
    assert figures["unscored"] == {"nan": 3}
    assert figures["generated_tokens"] == 10


def test_parts_are_averaged_by_prompt_and_those_of_parts_left_out():
    def parted(*parts):
        responses = tuple(Response("r", (1,), finish="stop") for _ in parts)
        scores = tuple(Score(1.0, parts=some) for some in parts)
        return ScoredGroup(Group(Prompt.of("a"), (1,), responses, "p"), scores)

    one = parted({"rule": 1.0, "rule/caps": 1.0, "cost": 2.0}, {"rule": 0.0, "cost": 4.0})
    other = parted({"rule": 1.0})
    figures = records.of_answers([one, other])
    assert figures["parts"] == {"cost": 3.0, "rule": 0.75}
    deviations = records.of_deviations([one, other])["part_deviations"]
    assert deviations == pytest.approx({"cost": 1.0, "rule": (2 / 9) ** 0.5})
    assert "parts" not in records.of_answers([group("a", [1.0])])


def test_contrast_is_counted_over_groups_with_a_score():
    figures = records.of_answers([group("a", [1.0, 1.0]), group("b", [0.0, 1.0])])
    assert figures["without_contrast"] == 0.5


def test_nothing_answered_has_no_invented_numbers():
    assert records.of_answers([]) == {"generated_tokens": 0}
    assert records.mean([]) is None


def test_a_round_adds_up_its_tokens_and_is_json():
    originals = [Prompt.of("a"), Prompt.of("b")]
    info = Estimates(np.array([1.0, np.nan]), np.array([0.1, np.nan]), np.array([2, 0]))
    sample = records.of_sample(originals, info, np.array([0]))
    child = originals[0].rewritten("c", operator="add", born=2)
    refusal = Refusal(originals[0].id, "add", "duplicate", "same", "c", 2)
    evolution = Evolution(originals[0].id, (child,), (refusal,), generated_tokens=7)
    creator = records.of_creator([group("a", [0.0, 1.0])], sample, [evolution])
    assert sample["values"] == [1.0, None]
    assert creator["acceptance"] == 0.5
    assert creator["refusals"] == {"duplicate": 1}

    solver = records.of_solver(Pairing((), {"no_contrast": 1}), {"trained_tokens": 11})
    record = records.of_round(
        2,
        prompts=[child, originals[1]],
        creator=creator,
        scored=[group("c", [0.0, 1.0], lengths=[3, 5])],
        solver=solver,
    )
    assert record["tokens"] == {
        "creator": 4,
        "rewriter": 7,
        "solver": 8,
        "trained": 11,
        "total": 30,
    }
    assert record["counts"] == {"prompts": 2, "evolved": 1, "human": 1}
    assert json.loads(json.dumps(record)) == record
    assert records.tokens(record, creator) == 30 + 4 + 7


def test_figures_are_numbers_by_slash_paths():
    flat = records.figures({"a": {"b": 1, "c": None, "d": [1]}, "e": True, "f": "x"})
    assert flat == {"a/b": 1.0, "e": pytest.approx(1.0)}


def step_of(number, *, phase="warm-up", recycled=0):
    scored = [group("a", [0.0, 1.0]), group("b", [1.0, 1.0]), group("c", [None, None])]
    child = scored[0].prompt.rewritten(f"child {number}", operator="add", born=1)
    refusal = Refusal(scored[0].prompt.id, "add", "duplicate", "same", "x", 1)
    evolution = Evolution(scored[0].prompt.id, (child,), (refusal,), generated_tokens=3)
    return records.of_step(
        number,
        draws=[
            Draw(tuple(g.prompt for g in scored), phase, 1, recycled),
            Draw((Prompt.of("d"),), phase, 0),
        ],
        dropped_tokens=4,
        scored=scored,
        estimates=Estimates(
            np.array([0.5, 0.0, np.nan]), np.array([0.1, 0.0, np.nan]), np.array([2, 2, 0])
        ),
        seeds=[0],
        arrivals=[Arrival(number - 2, (evolution,), (0.5,))],
    )


def test_a_step_keeps_what_it_was_made_of():
    step = step_of(5)
    assert (step.draws, step.replayed, step.info) == ((3, 1), 1, (0.5, 0.0, None))
    assert (step.worth, step.delays) == ((0.5,), (2,))


def test_what_is_logged_of_a_step():
    figures = records.step_figures(step_of(5))
    assert figures["solver/reward_mean"] == 0.75
    assert figures["solver/without_contrast"] == 0.5
    assert figures["creator/info_mean"] == 0.25
    assert (figures["creator/children"], figures["creator/refused"]) == (1.0, 1.0)
    # one prompt more was drawn than trained on
    assert (figures["creator/dropped"], figures["creator/delay"]) == (1.0, 2.0)


def test_a_round_of_steps_adds_up():
    made = [step_of(1), step_of(2, phase="mix-up", recycled=2)]
    steps = [
        replace(
            s, figures={"solver/updates": 2.0, "solver/trained_tokens": 9.0, "creator/buffer": n}
        )
        for n, s in enumerate(made)
    ]
    record = records.of_steps(3, steps)
    assert json.loads(json.dumps(record)) == record
    assert record["counts"] == {"prompts": 3, "evolved": 0, "human": 3}
    assert record["tokens"] == {
        "creator": 8, "rewriter": 6, "solver": 24, "trained": 18, "total": 56,
    }  # fmt: skip
    creator = record["creator"]
    assert creator["phases"] == {"mix-up": 1, "warm-up": 1}
    assert (creator["drawn"], creator["children"], creator["without_info"]) == (2, 2, 2)
    assert (creator["recycled"], creator["dropped"], creator["buffer"]) == (2, 2, 1)
    assert record["solver"]["training"] == {"updates": 4, "trained_tokens": 18}


def test_contrast_lacks_where_two_scored_answers_are_alike():
    assert not records.lacks_contrast(group("a", [0.0, None, 1.0]))
    assert records.lacks_contrast(group("a", [1.0, None, 1.0]))
    # a failed reward is no lack of contrast, and stays to be seen
    assert not records.lacks_contrast(group("a", [None, None]))


def test_operators_are_tried_spend_and_lose():
    seed = Prompt.of("a")
    children = [seed.rewritten(text, operator="add", born=2) for text in ("b", "c")]
    refusals = [
        Refusal(seed.id, operator, gate, "", "", 2)
        for operator, gate in (("add", "best_of"), ("mix", "best_of"), ("mix", "duplicate"))
    ]
    grades = {"complexity": 5.0, "graded": 2}
    evolutions = [
        Evolution(seed.id, tuple(children), tuple(refusals), 9, {"add": 5, "mix": 4}, grades),
        Evolution("other", (), (), 1, {"mix": 1}, {"complexity": 1.0, "graded": 1}),
    ]
    said = records.of_evolutions(evolutions)
    assert (said["children"], said["refused"], said["beaten"]) == (2, 1, 2)
    assert said["refusals"] == {"duplicate": 1}
    assert said["acceptance"] == 2 / 3
    assert said["tried"] == {"add": 3, "mix": 2}
    assert said["operator_tokens"] == {"add": 5, "mix": 5}
    assert said["grades"] == {"complexity": 2.0}
    assert said["rewriter_tokens"] == 10


def test_contrast_is_of_evolved_prompts_with_a_score_by_operator():
    scored = [
        group("a", [0.0, 1.0]),
        group("b", [1.0, 1.0]),
        group("c", [None]),
        group("d", [0, 1]),
    ]
    evolved = [
        replace(g, group=replace(g.group, prompt=replace(g.prompt, operator=name, parents=("p",))))
        for g, name in zip(scored[:3], ("add", "add", "mix"), strict=True)
    ]
    assert records.of_contrast([*evolved, scored[3]]) == {"contrast": {"add": 0.5}}


def test_prompts_are_counted_and_their_topics_spread():
    prompts = [Prompt.of(f"Write {i} lines of verse, in one hour.", topic="a/b") for i in range(3)]
    prompts += [Prompt.of("Write.", topic="c"), Prompt.of("Go.")]
    said = records.of_prompts(prompts)
    assert said["complexity"] == (3 * 2 + 1 + 1) / 5
    assert said["words"] == (3 * 8 + 1 + 1) / 5
    assert (said["topics"], said["topic_shares"]) == (2, {"a b": 0.75, "c": 0.25})
    assert said["topic_spread"] == pytest.approx(0.75**-0.75 * 0.25**-0.25)
    many = [Prompt.of("Go.", topic=str(i)) for i in range(30)]
    assert "topic_shares" not in records.of_prompts(many)
    assert records.of_prompts(many)["topic_spread"] == pytest.approx(30)
    assert "topics" not in records.of_prompts([Prompt.of("Go.")])
    checked = records.of_prompts([Prompt.of("Go.", checks=(Check("no_comma"),), topic="Go")])
    assert (checked["topics"], "topic_shares" in checked) == (1, False)
