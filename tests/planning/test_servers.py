import pytest

from eva.app.config_servers import Server
from eva.app.load import parse_config
from eva.creator.grading import GRADING_PARAMS, QUESTIONS
from eva.errors import ConfigError
from eva.planning.counting import count_rounds
from eva.planning.servers import ServerCount, count_servers, counted
from eva.rewards.judge_check import cases

PRICED = Server(url="http://h/v1", model="m", input_price=2.0, output_price=10.0, max_cost=5.0)


def config(evolver, *, sections=None, **creator):
    return parse_config(
        {
            "rounds": 3,
            "policy": {"model": "random:tiny"},
            "prompts": {"source": "p.jsonl", "per_round": 40},
            "reward": {"name": "python", "function": "r.py:f"},
            "creator": {"fraction": 0.25, "children": 3, "evolver": evolver} | creator,
            "solver": {"objective": "dpo"},
        }
        | (sections or {})
    )


def served(**settings):
    server = {"url": "http://h/v1", "model": "m"} | settings
    return {"name": "evol_instruct", "max_tokens": 100, "server": server}


def counts(game, longest=30):
    return list(count_servers(game, count_rounds(game, 40), longest=longest))


def test_a_request_costs_what_it_reads_and_writes():
    assert counted(PRICED, role="judge", requests=1000, read=500_000, written=50_000) == (
        ServerCount("judge", "m", "http://h/v1", 1000, 500_000, 50_000, 1.0 + 0.5, 5.0)
    )


def test_a_rewriter_is_asked_once_for_every_child_of_every_seed_but_in_the_first_round():
    found = counts(config(served(output_price=1.0)))[0]
    assert found.requests == 2 * 10 * 3
    assert found.generated_tokens == 60 * 100
    assert found.cost == pytest.approx(60 * 100 / 1e6)
    assert found.prompt_tokens > 60 * 100  # a rewrite is rewritten, within a template
    longer = counts(config(served()), longest=400)[0]
    assert longer.prompt_tokens - found.prompt_tokens == 60 * 300


def test_candidates_and_their_grades_are_asked_for_too():
    found = counts(config(served() | {"best_of": 4, "best_by": "grades"}))[0]
    assert found.requests == 60 * 4 * (1 + len(QUESTIONS))
    grades = 4 * len(QUESTIONS) * GRADING_PARAMS.max_tokens
    assert found.generated_tokens == 60 * (4 * 100 + grades)
    assert counts(config(served() | {"best_of": 4}))[0].requests == 60 * 4


def test_only_servers_are_counted():
    assert counts(config({"name": "evol_instruct"})) == []
    assert counts(config(served(), name="static")) == []
    assert counts(config({"name": "none"}, source="human")) == []


def test_a_key_has_to_be_there(monkeypatch):
    monkeypatch.delenv("A_KEY", raising=False)
    with pytest.raises(ConfigError, match="A_KEY"):
        counts(config(served(key_variable="A_KEY")))


def judged(name="judge", *, sections=None, **settings):
    reward = {"name": name, "server": {"url": "http://h/v1", "model": "j"}, "max_tokens": 20}
    function = {"name": "python", "function": "r.py:f"}
    combined = {"name": "combined", "weights": [1, 1], "parts": [reward | settings, function]}
    around = {
        "reward": combined,
        "answers": {"n": 4, "max_tokens": 50},
        "evaluation": {"when": "never"},
    }
    return config({"name": "evol_instruct"}, sections=around | (sections or {}))


ANSWERS = 4 * 40 * (1 + 2 * 2)
"""Of three rounds: for the solver in each, for informativeness in the last two."""


def test_a_judge_is_asked_of_every_answer_and_of_its_cases():
    found = counts(judged())[0]
    assert (found.role, found.model) == ("reward judge", "j")
    assert found.requests == ANSWERS + 2 * len(cases())
    assert found.generated_tokens == found.requests * 20
    thrice = judged(samples=3, temperature=1.0)
    assert counts(thrice)[0].requests == 3 * (ANSWERS + 2 * len(cases()))


def test_a_comparison_is_made_of_every_two_answers_in_both_orders():
    found = counts(judged("pairwise", self_test=False))[0]
    assert found.requests == ANSWERS // 4 * (4 * 3)
    one = counts(judged(self_test=False))[0]
    assert found.prompt_tokens / found.requests > one.prompt_tokens / one.requests + 40


def test_rewritten_answers_and_open_held_out_ones_are_judged_too():
    changed = judged(
        self_test=False,
        sections={
            "solver": {"objective": "dpo", "rewrite": {}},
            "evaluation": {"when": "ends", "heldout": {"prompts": 5}},
        },
    )
    assert counts(changed)[0].requests == ANSWERS + 3 * 40 + 2 * 5


def test_a_judge_needs_its_key(monkeypatch):
    monkeypatch.delenv("A_KEY", raising=False)
    server = {"url": "http://h/v1", "model": "j", "key_variable": "A_KEY"}
    with pytest.raises(ConfigError, match="A_KEY"):
        counts(judged(server=server))
