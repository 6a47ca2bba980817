"""Whole games of offline eva on a scripted policy: no model, everything else real."""

import json
from collections import Counter
from dataclasses import fields, replace

import numpy as np
import pytest

from eva import offline, schedule
from eva.creator.creator import EvaCreator
from eva.creator.gates.duplicate import Duplicate
from eva.creator.informativeness import METRICS
from eva.creator.sampling import SAMPLERS
from eva.errors import AlarmError, RunError, SolverError
from eva.runs import faults
from eva.runs.memory import MemoryJournal
from eva.solver.fitting import FitSettings
from eva.solver.pairs import PairSettings
from eva.solver.solver import PairSolver
from eva.types import (
    Example,
    Group,
    Prompt,
    Proposal,
    Response,
    SamplingParams,
    Score,
    ScoredGroup,
    Stage,
)


class ScriptedEngine:
    """Answers with random tokens; its only weight counts the examples it was trained on."""

    def __init__(self):
        self.weight = 0
        self.pending = 0
        self.answered = []
        self.fresh = True

    @property
    def version(self):
        return f"scripted+{self.weight}"

    def sample(self, prompts, params, streams):
        self.answered += [(self.version, streams.stage, prompt.id) for prompt in prompts]
        return [self._answer(prompt, params, streams) for prompt in prompts]

    def _answer(self, prompt, params, streams):
        responses = []
        for i in range(params.n):
            rng = streams.of(prompt.id, i)
            ids = tuple(int(x) for x in rng.integers(1, 50, size=rng.integers(3, 9)))
            responses.append(Response(" ".join(map(str, ids)), ids, (-1.0,) * len(ids)))
        return Group(prompt, (1, 2), tuple(responses), self.version)

    def logprobs(self, examples, *, base=False):
        level = 0.0 if base else -float(self.weight)
        return [tuple((level,) * len(ids) for ids in e.completions) for e in examples]

    def forward_backward(self, examples, objective, normaliser):
        self.pending += len(examples)
        return {"loss": float(len(examples))}

    def step(self, lr, clip):
        self.weight += self.pending
        self.pending = 0
        return 1.0

    def save(self, folder, *, optimiser=False):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "weight.json").write_text(json.dumps([self.weight, optimiser]))

    def load(self, folder, *, optimiser=False):
        self.fresh = not optimiser
        self.weight = 0 if folder is None else json.loads((folder / "weight.json").read_text())[0]


class TokenSum:
    """A reward without ties to speak of."""

    def score(self, groups):
        return [
            ScoredGroup(g, tuple(Score(float(np.mean(r.token_ids))) for r in g.responses))
            for g in groups
        ]


class Suffix:
    """Writes a numbered child, every third of which is a duplicate."""

    chain = True

    def propose(self, parents, step, streams):
        return [
            Proposal(
                parent,
                "suffix",
                parent.rewritten(
                    f"{parent.text} and more of it", operator="suffix", born=streams.round
                ),
                generated_tokens=5,
            )
            for parent in parents
        ]


class Counted:
    name = "count"

    def __init__(self):
        self.versions = []

    def evaluate(self, policy, streams):
        self.versions.append((policy.version, streams.round))
        return {"rows": [], "metrics": {"count/version": int(policy.version.split("+")[1])}}


def prompts(n):
    return tuple(Prompt.of(f"Tell me about subject number {i}, please.") for i in range(n))


def creator(**changes):
    parts = {
        "informativeness": METRICS["a_min"],
        "sampler": SAMPLERS["weighted"],
        "evolver": Suffix(),
        "gates": (),
    }
    return EvaCreator(**(parts | changes))


def solver(**changes):
    parts = {
        "objective": lambda *a: None,
        "fitting": FitSettings(epochs=2, batch_size=4),
        "pairs": PairSettings(),
        "progress": None,
    }
    from eva.app.progress import Silent

    return PairSolver(**(parts | {"progress": Silent()} | changes))


def game(**changes):
    parts = {
        "human": prompts(40),
        "engine": ScriptedEngine(),
        "reward": TokenSum(),
        "solver": solver(),
        "answers": SamplingParams(n=4),
        "creator": creator(),
        "per_round": 20,
        "chunk": 6,
    }
    return offline.Game(**(parts | changes))


def play(game, *, until=3, journal=None):
    journal = journal or MemoryJournal()
    return list(offline.rounds(game, journal, until=until)), journal


def test_sizes_and_order_are_the_papers():
    records, _ = play(game())
    assert [r["round"] for r in records] == [1, 2, 3]
    assert records[0]["counts"] == {"prompts": 20, "evolved": 0, "human": 20}
    for record in records[1:]:
        # 25 % of 20 prompts, four children each, 80 % of 20 are evolved
        assert record["creator"]["drawn"] == 5
        assert record["creator"]["children"] == 20
        assert record["counts"]["prompts"] == 20
    assert records[1]["counts"] == {"prompts": 20, "evolved": 16, "human": 4}


def test_every_round_answers_with_the_policy_of_the_last_one():
    played = game()
    play(played)
    versions = {}
    for version, stage, _ in played.engine.answered:
        versions.setdefault(stage, []).append(version)
    weights = list(dict.fromkeys(v for v, _, _ in played.engine.answered))
    assert weights == ["scripted+0", "scripted+40", "scripted+80"]
    assert set(versions["creator/answer"]) == {"scripted+40", "scripted+80"}


def test_the_next_round_evolves_the_last_rounds_prompts():
    records, journal = play(game())
    drawn = journal.once(Stage(3, "creator/sample"), dict)
    assert set(drawn["ids"]) == set(records[1]["prompts"])
    human, _ = play(game(source="human"))
    assert human[2]["counts"]["evolved"] == 16


def test_a_chain_keeps_every_generation():
    _, journal = play(game(), until=2)
    everyone = {p.id: p for p in journal.prompts()}
    generation = Counter()
    for prompt in everyone.values():
        depth = 0
        while prompt.parents:
            prompt, depth = everyone[prompt.parents[0]], depth + 1
        generation[depth] += 1
    assert generation == {0: 20, 1: 5, 2: 5, 3: 5, 4: 5}


def test_refusals_are_kept_and_originals_fill_the_set():
    class Stubborn(Suffix):
        def propose(self, parents, step, streams):
            return [Proposal(p, "suffix", None, reason="no idea", text="x") for p in parents]

    records, journal = play(game(creator=creator(evolver=Stubborn())), until=2)
    assert records[1]["creator"]["refusals"] == {"evolver": 20}
    assert records[1]["counts"] == {"prompts": 20, "evolved": 0, "human": 20}
    assert len(journal.prompts()) == 20


def test_gates_know_the_population():
    human = prompts(20)
    twins = tuple(
        p.rewritten(f"{p.text} and more of it", operator="human", born=0, parents=()) for p in human
    )
    played = game(
        human=human + twins, per_round=40, creator=creator(gates=(Duplicate(),), fraction=0.5)
    )
    records, _ = play(played, until=2)
    assert records[1]["creator"]["refusals"]["duplicate"] > 0


def test_without_an_evolver_the_informative_subset_is_trained_on():
    records, journal = play(game(creator=creator(evolver=None)), until=2)
    sample = journal.once(Stage(2, "creator/sample"), dict)
    drawn = [sample["ids"][i] for i in sample["drawn"]]
    assert sorted(records[1]["prompts"]) == sorted(drawn)
    assert len(drawn) == 5


def test_uniform_informativeness_asks_for_no_answers():
    uniform = creator(informativeness=METRICS["uniform"], estimates=False)
    played = game(creator=uniform)
    records, _ = play(played, until=2)
    assert all(stage != "creator/answer" for _, stage, _ in played.engine.answered)
    assert records[1]["tokens"]["creator"] == 0
    assert records[1]["counts"]["evolved"] == 16


def test_static_prompts_stay_and_new_human_ones_come():
    static, _ = play(game(creator=None), until=2)
    assert static[0]["prompts"] == static[1]["prompts"]
    fresh, _ = play(game(creator=None, new_human=True), until=2)
    assert not set(fresh[0]["prompts"]) & set(fresh[1]["prompts"])


@pytest.mark.parametrize(
    "arm",
    [
        {"creator": None},
        {"creator": None, "new_human": True},
        {"creator": creator(evolver=None)},
        {"creator": creator(informativeness=METRICS["uniform"], estimates=False)},
    ],
    ids=["static", "new_human", "no_evolve", "uniform"],
)
def test_arms_cost_the_same_within_two_percent(arm):
    big = {"human": prompts(400), "per_round": 120}
    eva, _ = play(game(**big))
    totals = np.cumsum([record["tokens"]["total"] for record in eva])
    budget = {t + 1: int(total) for t, total in enumerate(totals)}
    records, _ = play(game(**big, **arm, budget=budget))
    spent = np.cumsum([record["tokens"]["total"] for record in records])
    assert np.allclose(spent, totals, rtol=0.02)


class Better:
    """Rewrites answers into one whose reward is above all others, or below."""

    def __init__(self, token):
        self.token = token

    def rewrite(self, scored, policy, streams):
        response = Response("better", (self.token,) * 3)
        return [replace(group.group, responses=(response,)) for group in scored]


@pytest.mark.parametrize(("token", "chosen"), [(1000, 20), (-1000, 0)])
def test_a_rewritten_answer_is_chosen_where_its_reward_is_the_highest(token, chosen):
    (record,), journal = play(game(rewriter=Better(token)), until=1)
    examples = journal.read(Stage(1, "solver/new_pairs"), Example)
    assert sum(e.completions[0] == (token,) * 3 for e in examples) == chosen
    solver = record["solver"]
    assert (solver["rewritten"], solver["rewritten_better"]) == (20, chosen / 20)
    assert (solver["rewritten_gain"] > 0) == (token > 0)
    assert record["tokens"]["rewriter"] == 60
    # the round's own answers are told without their rewrites
    assert solver["reward_best"] < 1000
    assert record["tokens"]["total"] == sum(
        record["tokens"][part] for part in ("creator", "rewriter", "solver", "trained")
    )


def test_scratch_trains_the_first_weights_on_all_pairs_so_far():
    played = game(solver=solver(scratch=True))
    records, _ = play(played)
    assert [r["solver"]["training"]["updates"] for r in records] == [10, 20, 30]
    assert played.engine.weight == 2 * 60


def test_the_reference_is_the_rounds_first_policy():
    _, journal = play(game(), until=2)
    from eva.types import Example

    first = journal.read(Stage(1, "solver/pairs"), Example)
    second = journal.read(Stage(2, "solver/pairs"), Example)
    assert {e.reference[0][0] for e in first} == {0.0}
    assert {e.reference[0][0] for e in second} == {-40.0}


def test_optimiser_state_is_carried_only_when_asked():
    fresh = game()
    play(fresh, until=2)
    assert fresh.engine.fresh
    carried = game(solver=solver(fitting=FitSettings(carry_optimiser=True)))
    play(carried, until=2)
    assert not carried.engine.fresh


def test_before_and_after_are_measured_with_the_same_draws():
    counted = Counted()
    _, journal = play(game(evaluators=(counted,)), until=2)
    assert counted.versions == [("scripted+0", 0), ("scripted+80", 0)]
    assert journal.once(Stage(2, "evaluate"), dict) == {"count/version": 80}
    every = Counted()
    play(game(evaluators=(every,), evaluate_every_round=True), until=2)
    assert len(every.versions) == 3


def test_a_played_round_is_not_played_again():
    played = game()
    records, journal = play(played, until=2)
    asked = len(played.engine.answered)
    again, _ = play(played, until=2, journal=journal)
    assert again == records
    assert len(played.engine.answered) == asked


def test_chunks_change_nothing():
    one, _ = play(game(chunk=3), until=2)
    other, _ = play(game(chunk=64), until=2)
    assert one == other


def test_a_resumed_round_does_not_draw_from_its_own_children():
    played = game(source="population")
    unbroken, _ = play(played)
    journal = MemoryJournal()
    with faults.armed("solver/answer:before_work", at=5), pytest.raises(faults.Crash):
        play(game(source="population"), journal=journal)
    resumed, _ = play(game(source="population"), journal=journal)
    assert resumed == unbroken


def test_other_prompts_than_it_began_with_are_refused():
    _, journal = play(game(), until=1)
    others = tuple(Prompt.of(f"Something else, {i}.") for i in range(40))
    with pytest.raises(RunError, match="not those that the run began with"):
        play(game(human=others), until=2, journal=journal)


def test_a_budget_ends_where_nothing_is_answered():
    class Mute(ScriptedEngine):
        def _answer(self, prompt, params, streams):
            return Group(prompt, (1, 2), (), self.version)

    with pytest.raises(SolverError, match="no_responses"):
        play(game(engine=Mute(), budget={1: 1000}), until=1)


def test_a_budget_that_evolving_uses_up_says_so():
    (record,), _ = play(game(), until=1)
    spent = record["tokens"]["total"]
    with pytest.raises(SolverError, match=r"round 2: evolving took \d+ tokens, and none of the"):
        play(game(budget={1: spent, 2: spent + 1}), until=2)


def test_a_budgeted_arm_has_the_draws_of_the_run_it_matches():
    _, plain = play(game(), until=1)
    _, budgeted = play(game(creator=None, budget={1: 10_000}), until=1)
    first = plain.read(Stage(1, "solver/answer"), Group)[0]
    same = budgeted.read(Stage(1, "solver/block-0000/answer"), Group)[0]
    assert first == same


def test_a_solver_that_commits_no_policy_is_an_error():
    class Forgetful(PairSolver):
        def train(self, engine, examples, journal, streams):
            return {"updates": 1, "trained_tokens": 1}

    forgetful = Forgetful(**{f.name: getattr(solver(), f.name) for f in fields(solver())})
    with pytest.raises(RunError, match="never committed"):
        play(game(solver=forgetful), until=2)


def test_an_alarm_stops_the_run_after_its_round_and_again_unless_it_was_seen(alarmed):
    journal = MemoryJournal()
    stopping = {"watch": alarmed(2, does="stops"), "evaluators": (Counted(),)}
    with pytest.raises(AlarmError, match=r"after round 2\. scripted: it is bad") as stopped:
        play(game(**stopping), journal=journal)
    assert "--past-alarms" in str(stopped.value)
    assert journal.once(Stage(2, "record"), dict)["round"] == 2
    with pytest.raises(AlarmError, match="after round 2"):
        play(game(**stopping), journal=journal)
    # looked at once for each round; nothing was measured between the ends
    assert stopping["watch"].asked == [(1, [], ["count"], []), (2, [0], ["count"], [])]
    records, _ = play(game(**stopping, past_alarms=2), journal=journal)
    unbroken, _ = play(game(evaluators=(Counted(),)))
    assert records == unbroken
    assert stopping["watch"].asked[2:] == [(3, [0, 1], ["count"], ["count"])]


def test_a_round_that_is_taken_back_leaves_its_prompts_and_not_its_policy(alarmed):
    played = game(watch=alarmed(2, does="rolls_back"))
    records, journal = play(played)
    plain, _ = play(game())
    assert records[:2] == plain[:2]
    versions = list(dict.fromkeys(v for v, *_ in played.engine.answered))
    # rounds train 40 examples each: round 3 begins where round 1 ended
    assert versions == ["scripted+0", "scripted+40"]
    stages = {stage: v for v, stage, _ in played.engine.answered}
    assert stages["solver/answer"] == "scripted+40"
    assert played.engine.weight == 80
    drawn = journal.once(Stage(3, "creator/sample"), dict)
    assert set(drawn["ids"]) == set(records[1]["prompts"])


def test_a_policy_whose_answers_were_bad_goes_with_what_was_learned_from_it(alarmed):
    def bad():
        return game(watch=alarmed(3, does="rolls_back", back=[2, 3]))

    played = bad()
    records, journal = play(played, until=4)
    # rounds train 40 examples each: round 4 begins, and answers, where round 1 ended
    assert played.engine.answered[-1][0] == "scripted+40"
    assert schedule.standing(played, journal, 3) == 1
    assert schedule.standing(played, journal, 4) == 4
    journal = MemoryJournal()
    with faults.armed("alarms:after_commit", at=3), pytest.raises(faults.Crash):
        play(bad(), journal=journal, until=4)
    assert play(bad(), journal=journal, until=4)[0] == records


def test_the_first_round_is_taken_back_to_the_first_policy(alarmed):
    played = game(watch=alarmed(1, does="rolls_back"), solver=solver())
    play(played, until=2)
    assert {v for v, *_ in played.engine.answered} == {"scripted+0"}


@pytest.mark.parametrize(
    ("point", "at"),
    [("alarms:before_work", 2), ("alarms:after_commit", 2), ("creator/answer:before_work", 6),
     ("solver/train:before_work", 3), ("record:before_commit", 3)],
)  # fmt: skip
def test_a_run_with_a_round_taken_back_resumes_alike(point, at, alarmed):
    def bad():
        return game(watch=alarmed(2, does="rolls_back"))

    unbroken, _ = play(bad())
    journal = MemoryJournal()
    with faults.armed(point, at=at) as fault, pytest.raises(faults.Crash):
        play(bad(), journal=journal)
    assert fault.passages == at
    resumed = bad()
    records, _ = play(resumed, journal=journal)
    assert records == unbroken
    assert resumed.engine.weight == 80
