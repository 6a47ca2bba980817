"""Judges as a config makes them, and a game with one behind a server on loopback."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pydantic import TypeAdapter
from tests.rewards.judges import blocks, good_judge

from eva.app import play
from eva.app.config_rewards import Reward
from eva.app.judges import Judges
from eva.app.load import parse_config
from eva.app.progress import Silent
from eva.app.rewards import reward_model
from eva.errors import RewardError
from eva.runs.folder import RunFolder
from eva.runs.metrics import describe
from eva.solver import solver
from eva.solver.pairs import win_probabilities
from eva.types import Example, Group, Prompt, Response, ScoredGroup, Stage
from eva.views.report import report


def section(**keys):
    return TypeAdapter(Reward).validate_python(keys)


def replying(reply):
    """Return what a loopback server answers a judge's questions with."""

    def answer(body):
        request, *answers = blocks(body["messages"][-1]["content"])
        said = reply(request, answers, np.random.default_rng(0))
        return {
            "choices": [{"message": {"content": said}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 9, "completion_tokens": 2},
        }

    return answer


def served(server, **keys):
    return {"server": {"url": server.url, "model": "judge-1", "retries": 0}, **keys}


# ── from a section to a reward ────────────────────────────────────────────────────────────────


def test_a_local_model_is_loaded_once_for_both_rewards():
    judges = Judges("cpu")
    judge = judges.reward(section(name="judge", model="random:tiny", max_tokens=4))
    pairwise = judges.reward(section(name="pairwise", model="random:tiny", max_tokens=4))
    assert judge.judge.generator is pairwise.comparer.judge.generator
    group = Group(Prompt.of("Hi"), (), (Response("a", ()), Response("b", ())), "p")
    (one,) = judge.score([group])
    # a random model of four tokens says nothing that can be read
    assert [score.cause for score in one.scores] == ["cut_off", "cut_off"]


def test_a_template_and_a_scale_of_your_own_are_asked(loopback):
    server = loopback(replying(lambda request, answers, rng: f"Score: {len(answers[0])}"))
    made = section(
        **served(server, name="judge", template="{prompt}? {answer}!", lowest=0, highest=3),
        self_test=False,
    )
    reward = reward_model(made, device="cpu")
    (one,) = reward.score([Group(Prompt.of("Q"), (), (Response("ab", ()), Response("", ())), "p")])
    assert one.rewards == (2.0, 0.0)
    asked = [body["messages"][-1]["content"] for body in server.asked]
    assert all("from 0 (useless) to 3" in text for text in asked)
    assert all(text.startswith("<text-") for text in asked)


def test_a_judge_that_fails_its_test_is_refused_with_a_table(loopback):
    server = loopback(replying(lambda request, answers, rng: "Verdict: A"))
    with pytest.raises(RewardError) as refused:
        reward_model(section(**served(server, name="pairwise")), device="cpu")
    said = str(refused.value)
    assert "'pairwise': judge-1 failed its test: it is right in 50%" in said
    assert "100% of its verdicts change with the order" in said
    assert "truncated" in said
    assert "self_test = false" in said


def test_the_result_is_kept_and_the_judge_not_asked_again(loopback, tmp_path):
    server = loopback(replying(good_judge))
    made = section(**served(server, name="judge"))
    first = Judges("cpu", tmp_path)
    first.reward(made)
    first.admit()
    asked = len(server.asked)
    assert asked == 20 + 60
    (kept,) = tmp_path.glob("judge-*.json")
    told = json.loads(kept.read_text())
    assert (told["reward"], told["judge"], told["passed"]) == ("judge", "judge-1", True)
    (tmp_path / "replies.sqlite").unlink()
    again = Judges("cpu", tmp_path)
    again.reward(made)
    again.admit()
    assert len(server.asked) == asked


@pytest.mark.parametrize(("name", "asked"), [("judge", 80), ("pairwise", 120)])
def test_a_test_is_seen_as_it_goes(loopback, name, asked):
    seen = []

    class Watching(Silent):
        def begin(self, stage, total, *, done=0, unit="prompts"):
            seen.append((stage, total, unit))

        def advance(self, done, **figures):
            seen.append(done)

        def end(self):
            seen.append("end")

    server = loopback(replying(good_judge))
    reward_model(section(**served(server, name=name)), device="cpu", progress=Watching())
    assert seen == [(Stage(0, f"test/{name}"), 60, "pairs"), 12, 24, 36, 48, 60, "end"]
    assert len(server.asked) == asked


def test_a_judge_inside_other_rewards_is_tested(loopback):
    server = loopback(replying(lambda request, answers, rng: "Score: 10"))
    inner = served(server, name="judge")
    made = section(name="gated", gate={"name": "length", "limit": 9}, threshold=0, reward=inner)
    with pytest.raises(RewardError, match="failed its test"):
        reward_model(made, device="cpu")


# ── a game ────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def game(tmp_path):
    source = tmp_path / "people.jsonl"
    texts = [f"Write about {i}." for i in range(6)]
    source.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in texts))
    return {
        "rounds": 2,
        "policy": {"model": "random:tiny"},
        "prompts": {"source": str(source), "per_round": 6},
        "answers": {"n": 3, "max_tokens": 6, "temperature": 1.0},
        "creator": {"name": "static"},
        "solver": {
            "objective": "sppo_soft",
            "pairs": {"truncated_chosen": True},
            "learning_rate": 1e-3,
        },
        "evaluation": {"when": "never"},
        "run": {"chunk": 3},
    }


def compare(request, answers, rng):
    """Compare by letters where no case of the test is asked, with a few odd replies."""
    if not request.startswith("Write about"):
        return good_judge(request, answers, rng)
    if request == "Write about 5." and answers[0] < answers[1]:
        return "I would rather not say."
    first, second = (sum(map(ord, text)) for text in answers)
    if request == "Write about 4.":
        return "Verdict: A"
    return f"Verdict: {'A' if first > second else 'B' if second > first else 'tie'}"


def test_a_game_of_comparisons(loopback, tmp_path, game):
    server = loopback(replying(compare))
    config = parse_config(game | {"reward": served(server, name="pairwise")})
    path = play.run(config, tmp_path / "run")
    with RunFolder.open_readonly(path) as folder:
        record = folder.records()[0]["solver"]
        scored = folder.journal().read(Stage(1, "solver/score"), ScoredGroup)
        examples = folder.journal().read(Stage(1, "solver/pairs"), Example)
        logged = {name for row in folder.population.metrics() for name in row.metrics}
    by_text = {group.prompt.text: group for group in scored}
    assert by_text["Write about 4."].rewards == (0.5, 0.5, 0.5)
    silent = by_text["Write about 5."]
    assert silent.rewards == (None, None, None)
    assert {score.cause for score in silent.scores} == {"unparsed"}
    assert sum(silent.compared.failures.values()) == 3

    assert record["unjudged"] == {"unparsed": 3}
    assert record["judged_pairs"] == 15
    assert record["order_changes"] == pytest.approx(3 / 15)
    assert record["first_wins"] == pytest.approx(0.5 + 0.5 * 3 / 15)
    assert record["unscored"] == {"unparsed": 3}
    assert {"solver/first_wins", "solver/unjudged/unparsed"} <= logged
    assert [name for name in logged if describe(name) is None] == []

    page = report(path, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "wins of the answer shown first" in page

    # what trains are the matrix's own win probabilities, the answer itself counted as half
    assert len(examples) == 4
    groups = {group.prompt.id: group for group in scored}
    for example in examples:
        group = groups[example.prompt_id]
        wins = win_probabilities(group.rewards, matrix=group.compared.wins)
        best, worst = np.argmax(group.rewards), np.argmin(group.rewards)
        assert example.columns["win_chosen"] == wins[best] == pytest.approx(2.5 / 3)
        assert example.columns["win_rejected"] == wins[worst] == pytest.approx(0.5 / 3)
        assert example.columns["reward_chosen"] == 1.0


def test_a_resumed_run_keeps_the_matrix_and_asks_no_test(loopback, tmp_path, game, monkeypatch):
    server = loopback(replying(compare))
    config = parse_config(game | {"reward": served(server, name="pairwise")})
    whole = play.run(config, tmp_path / "whole")
    asked = len(server.asked)

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    # scored and not yet paired: pairs are made of what the run folder has kept
    monkeypatch.setattr(solver, "make_pairs", interrupted)
    with pytest.raises(KeyboardInterrupt):
        play.run(config, tmp_path / "part")
    monkeypatch.undo()
    before = len(server.asked)
    path = play.resume(tmp_path / "part")
    tests = [
        body
        for body in server.asked[before:]
        if not blocks(body["messages"][-1]["content"])[0].startswith("Write about")
    ]
    assert tests == []
    assert len(server.asked) == 2 * asked

    def read(folder_path, kind, stage):
        with RunFolder.open_readonly(folder_path) as folder:
            return folder.journal().read(stage, kind)

    for t in (1, 2):
        scored = read(path, ScoredGroup, Stage(t, "solver/score"))
        assert scored == read(whole, ScoredGroup, Stage(t, "solver/score"))
        assert all(group.compared for group in scored)
        stage = Stage(t, "solver/pairs")
        assert read(path, Example, stage) == read(whole, Example, stage)


def test_comparisons_online(loopback, tmp_path, game):
    server = loopback(replying(compare))
    online = {
        "schedule": "online",
        "rounds": 1,
        "online": {"steps": 2, "batch": 3, "buffer": 3},
        "solver": {"objective": "rloo", "learning_rate": 1e-3},
        "reward": served(server, name="pairwise", self_test=False),
    }
    path = play.run(parse_config(game | online), tmp_path / "run")
    with RunFolder.open_readonly(path) as folder:
        record = folder.records()[0]["solver"]
        logged = {name for row in folder.population.metrics() for name in row.metrics}
    assert record["judged_pairs"] == 15
    assert record["unjudged"] == {"unparsed": 3}
    assert [name for name in logged if describe(name) is None] == []
    assert list(path.glob("judge-*.json")) == []


def test_a_run_with_a_bad_judge_stops_before_anything_is_answered(loopback, tmp_path, game):
    server = loopback(replying(lambda request, answers, rng: "Score: 10"))
    config = parse_config(game | {"reward": served(server, name="judge")})
    with pytest.raises(RewardError, match="failed its test"):
        play.run(config, tmp_path / "run")
    with RunFolder.open_readonly(tmp_path / "run") as folder:
        assert folder.journal().read(Stage(1, "solver/answer"), Group) == []
        assert folder.records() == []
    (kept,) = (tmp_path / "run").glob("judge-*.json")
    assert json.loads(kept.read_text())["passed"] is False
