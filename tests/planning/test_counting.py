import pytest

from eva.app.load import parse_config
from eva.planning.counting import count_evaluation, count_rounds, phases_of, totals

BASE = {
    "rounds": 3,
    "policy": {"model": "m"},
    "prompts": {"source": "p", "per_round": 100},
    "answers": {"n": 6, "max_tokens": 50},
    "reward": {"name": "python", "function": "m:f"},
    "creator": {"evolver": {"name": "evol_instruct", "max_tokens": 30}},
    "solver": {"objective": "dpo", "epochs": 2, "batch_size": 8},
}


def rounds(human=1000, **changes):
    merged = {k: v | changes.pop(k, {}) if isinstance(v, dict) else v for k, v in BASE.items()}
    return count_rounds(parse_config(merged | changes), human)


def test_the_game_of_the_paper_by_hand():
    first, second, third = rounds()
    assert (first.prompts, first.evolved, first.answers) == (100, 0, 600)
    # 25 of 100 are drawn and rewritten 4 times; 80 of the children are kept
    assert (second.prompts, second.evolved) == (100, 80)
    assert second.answers == 1200  # once to estimate, once to pair
    assert second.generated_tokens == 60_000
    assert second.rewriter_tokens == 25 * 4 * 30
    assert second.updates == 2 * 13
    assert second.reference_tokens == 100 * 2 * 50
    assert second.trained_tokens == 2 * 100 * 2 * 50
    assert third == third.__class__(**{f: getattr(second, f) for f in second.__slots__
                                       if f != "round"}, round=3)  # fmt: skip


def test_every_candidate_and_its_grades_are_counted():
    counted = {"name": "online_ten", "best_of": 3, "max_tokens": 30}
    assert rounds(creator={"evolver": counted})[1].rewriter_tokens == 25 * 4 * 3 * 30
    graded = counted | {"best_by": "grades"}
    assert rounds(creator={"evolver": graded})[1].rewriter_tokens == 25 * 4 * 3 * (30 + 2 * 8)


def test_without_evolving_the_informative_subset_is_trained_on():
    human = {"evolver": {"name": "none"}, "source": "human"}
    assert [r.prompts for r in rounds(creator=human)] == [100, 25, 25]


def test_uniform_informativeness_asks_nobody():
    assert [r.answers for r in rounds(creator={"informativeness": "uniform"})] == [600, 600, 600]


def test_scratch_trains_on_all_pairs_so_far():
    assert [r.pairs for r in rounds(solver={"start": "scratch"})] == [100, 200, 300]


def test_no_reference_is_scored_where_the_objective_has_none():
    assert rounds(solver={"objective": "simpo"})[0].reference_tokens == 0


def test_fewer_prompts_than_asked_for_are_all_played():
    assert rounds(human=10)[0].prompts == 10


def test_a_static_creator_answers_once():
    assert {r.answers for r in rounds(creator={"name": "static"})} == {600}


@pytest.mark.parametrize(("when", "times"), [("never", 0), ("ends", 2), ("rounds", 4)])
def test_evaluations(when, times):
    game = parse_config(
        BASE | {"evaluation": {"when": when, "max_tokens": 10, "heldout": {}, "ifeval": {}}}
    )
    count = count_evaluation(game, 30)
    assert (count.times, count.tokens) == (times, times * (30 * 10 + 64 * 256))
    sums = totals(rounds(), count)
    assert sums["answers"] == 600 + 1200 + 1200
    assert sums["evaluation_tokens"] == count.tokens


def phases(evolver, human=100):
    online = {"steps": 30, "batch": 8, "buffer": 32, "replayed": 0.5, "evolved": 0.5}
    changes = {"schedule": "online", "online": online, "solver": {"objective": "rloo"}}
    creator = {"evolver": {"name": evolver}, "children": 4}
    return phases_of(parse_config(BASE | changes | {"rounds": 1, "creator": creator}), human=human)


def test_phases_by_hand():
    # 16 children a step: full after 2 steps and 16 human prompts; the other 84 last 21 steps of 4
    assert phases("evol_instruct") == {"warm-up": 2, "mix-up": 21, "bootstrap": 7}
    # 4 seeds a step: full after 8 steps, and the human set begins again
    assert phases("none") == {"warm-up": 8, "mix-up": 22, "bootstrap": 0}
    assert phases("none", human=24) == {"warm-up": 8, "mix-up": 22, "bootstrap": 0}
