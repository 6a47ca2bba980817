"""Whole games of online eva on a scripted policy: no model, everything else real."""

import hashlib
import json
import threading
from collections import Counter

import numpy as np
import pytest

from eva import online
from eva.creator.informativeness import METRICS
from eva.creator.online import BufferCreator, OnlineSizes
from eva.creator.pace import AtOnce, Background
from eva.creator.sampling import SAMPLERS
from eva.errors import RunError
from eva.runs import faults
from eva.runs.folder import RunFolder
from eva.runs.memory import MemoryJournal
from eva.types import (
    Group,
    Prompt,
    Proposal,
    Response,
    SamplingParams,
    Score,
    ScoredGroup,
    Stage,
    Step,
)


class ScriptedEngine:
    """Answers with random tokens; its weight remembers what it was trained on, in order."""

    def __init__(self):
        self.weight = 0
        self.answered = []

    @property
    def version(self):
        return f"scripted+{self.weight}"

    def sample(self, prompts, params, streams):
        self.answered.append([prompt.id for prompt in prompts])
        return [self._answer(prompt, params, streams) for prompt in prompts]

    def _answer(self, prompt, params, streams):
        responses = []
        for i in range(params.n):
            rng = streams.of(prompt.id, i)
            ids = tuple(int(x) for x in rng.integers(1, 50, size=rng.integers(3, 9)))
            responses.append(Response(f"{self.weight} {ids}", ids, (-1.0,) * len(ids)))
        return Group(prompt, (1, 2), tuple(responses), self.version)

    def save(self, folder, *, optimiser=False):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "weight.json").write_text(json.dumps(self.weight))

    def load(self, folder, *, optimiser=False):
        self.weight = 0 if folder is None else json.loads((folder / "weight.json").read_text())


class Hashing:
    """A learner whose update depends on everything it is given."""

    def learn(self, engine, scored, *, step, total):
        seen = [engine.weight, step, total]
        seen += [[g.prompt.id, g.rewards, [r.token_ids for r in g.group.responses]] for g in scored]
        engine.weight = _digest(seen)
        tokens = sum(g.group.generated_tokens for g in scored)
        return {"updates": float(bool(scored)), "trained_tokens": float(tokens), "loss": 1.0}


def _digest(value):
    return int(hashlib.blake2b(json.dumps(value).encode(), digest_size=4).hexdigest(), 16)


class TokenMean:
    """A reward that the policy's weight does not change; `flat` prompts have no contrast."""

    def __init__(self, flat=()):
        self.flat = flat
        self.scored = 0

    def score(self, groups):
        self.scored += len(groups)
        return [ScoredGroup(g, tuple(self._score(g, r) for r in g.responses)) for g in groups]

    def _score(self, group, response):
        if any(word in group.prompt.text for word in self.flat):
            return Score(0.0)
        return Score(float(np.mean(response.token_ids)))


class Suffix:
    chain = False

    def __init__(self):
        self.asked = 0

    def propose(self, parents, step, streams):
        self.asked += len(parents)
        return [self._child(parent, step, streams) for parent in parents]

    def _child(self, parent, step, streams):
        text = f"{parent.text} {streams.of(parent.id, step).integers(1000)}"
        child = parent.rewritten(text, operator="suffix", born=streams.round)
        return Proposal(parent, "suffix", child, generated_tokens=5)


class Counted:
    name = "count"

    def evaluate(self, policy, streams):
        return {"rows": [], "metrics": {"count/weight": float(policy.weight)}}


def human(n, word="subject"):
    return tuple(Prompt.of(f"Tell me about {word} {i}.") for i in range(n))


def game(**changes):
    sizes = changes.pop("sizes", {"batch": 4, "buffer": 12, "children": 2})
    prompts = changes.pop("human", human(24))
    creator = BufferCreator(
        prompts,
        informativeness=METRICS["a_avg"],
        sampler=SAMPLERS["greedy"],
        evolver=changes.pop("evolver", Suffix()),
        sizes=OnlineSizes(**sizes),
    )
    parts = {
        "human": prompts,
        "engine": ScriptedEngine(),
        "reward": TokenMean(),
        "answers": SamplingParams(n=3),
        "creator": creator,
        "learner": Hashing(),
        "pace": AtOnce(),
        "steps": 7,
        "total": 21,
        "commit_every": 2,
        "checkpoint_every": 4,
        "seed": 3,
    }
    return online.Game(**(parts | changes))


def play(game, *, until=3, journal=None):
    journal = journal or MemoryJournal()
    return list(online.rounds(game, journal, until=until)), journal


def test_a_game_goes_through_the_three_phases():
    records, journal = play(game())
    phases = Counter()
    for record in records:
        phases.update(record["creator"]["phases"])
    # full after 3 steps of 4 children; 12 of 24 human prompts are left, 2 a step
    assert phases == {"warm-up": 3, "mix-up": 6, "bootstrap": 12}
    assert [record["steps"] for record in records] == [7, 7, 7]
    assert all(record["creator"]["buffer"] == 12 for record in records)
    steps = [step for t in (1, 2, 3) for step in journal.read(Stage(t, "online/steps"), Step)]
    assert [step.number for step in steps] == list(range(1, 22))


def test_the_order_of_a_step_is_the_papers():
    order = []

    class Watching(Hashing):
        def learn(self, engine, scored, **rest):
            order.append("update")
            return super().learn(engine, scored, **rest)

    class Evolving(Suffix):
        def propose(self, parents, step, streams):
            order.append("evolve")
            return super().propose(parents, step, streams)

    class Scoring(TokenMean):
        def score(self, groups):
            order.append("score")
            return super().score(groups)

    play(game(learner=Watching(), evolver=Evolving(), reward=Scoring()), until=1)
    assert order[:4] == ["score", "update", "evolve", "evolve"]  # two children, one after another


def test_a_step_answers_with_the_policy_of_the_step_before():
    _, journal = play(game(), until=1)
    versions = [
        step.scored[0].group.policy for step in journal.read(Stage(1, "online/steps"), Step)
    ]
    assert len(set(versions)) == 7
    assert versions[0] == "scripted+0"


def test_evolved_prompts_enter_the_population_with_their_lineage():
    _, journal = play(game())
    everyone = {prompt.id: prompt for prompt in journal.prompts()}
    evolved = [prompt for prompt in everyone.values() if prompt.evolved]
    assert all(prompt.parents[0] in everyone for prompt in evolved)
    grandchildren = [p for p in evolved if everyone[p.parents[0]].evolved]
    assert grandchildren
    assert {prompt.born for prompt in evolved} == {1, 2, 3}


def test_the_record_adds_up():
    (record,), journal = play(game(), until=1)
    steps = journal.read(Stage(1, "online/steps"), Step)
    generated = sum(g.group.generated_tokens for step in steps for g in step.scored)
    children = sum(len(e.children) for step in steps for e in step.evolutions)
    assert record["tokens"]["solver"] == record["tokens"]["trained"] == generated
    assert record["tokens"]["rewriter"] == 5 * children
    assert record["tokens"]["total"] == 2 * generated + 5 * children
    assert record["creator"]["children"] == children == 28
    assert record["creator"]["drawn"] == 14
    assert record["solver"]["training"] == {"updates": 7, "trained_tokens": generated}


def test_prompts_without_contrast_are_replaced_a_bounded_number_of_times():
    mixed = (*human(20, "stone"), *human(20))
    order = np.random.default_rng(0).permutation(40)
    reward = TokenMean(flat=("stone",))
    played = game(
        human=tuple(mixed[i] for i in order),
        reward=reward,
        refills=2,
        sizes={"children": 0, "batch": 4},
    )
    (record,), journal = play(played, until=1)
    steps = journal.read(Stage(1, "online/steps"), Step)
    assert all(len(step.draws) <= 3 for step in steps)
    assert any(len(step.draws) > 1 for step in steps)
    for step in steps:
        assert not any("stone" in group.prompt.text for group in step.scored)
        # each draw asks for what is missing, and no more
        assert step.draws[0] == 4
        assert len(step.scored) <= 4
    dropped = sum(sum(step.draws) - len(step.scored) for step in steps)
    assert record["creator"]["dropped"] == dropped > 0


def test_a_batch_without_any_contrast_trains_on_what_there_is():
    played = game(human=human(24, "stone"), reward=TokenMean(flat=("stone",)), refills=1)
    (record,), journal = play(played, until=1)
    assert record["solver"]["training"]["updates"] == 0
    assert all(step.scored == () for step in journal.read(Stage(1, "online/steps"), Step))
    assert record["creator"]["dropped"] == 7 * 8
    # what was sampled in vain has cost tokens all the same
    sampled = sum(3 * len(ids) for ids in played.engine.answered)
    assert record["tokens"]["creator"] > 2 * sampled
    assert record["tokens"]["solver"] == 0


def test_in_the_background_updates_do_not_wait_and_arrivals_have_their_delay():
    gate = threading.Event()

    class Slow(Suffix):
        def propose(self, parents, step, streams):
            assert gate.wait(30)
            return super().propose(parents, step, streams)

    class Opening(Hashing):
        def learn(self, engine, scored, *, step, total):
            if step == 4:
                gate.set()
                pace._under_way[-1][1].result(30)
            return super().learn(engine, scored, step=step, total=total)

    pace = Background()
    (record,), journal = play(game(evolver=Slow(), learner=Opening(), pace=pace), until=1)
    pace.close()
    steps = journal.read(Stage(1, "online/steps"), Step)
    assert [len(step.evolutions) for step in steps[:4]] == [0, 0, 0, 0]
    arrived = steps[4]
    assert set(arrived.delays) >= {1, 2, 3, 4}
    assert record["creator"]["delay"] > 0
    # what arrives late carries the informativeness that its seed had then
    first = steps[0]
    worth = [w for w, delay in zip(arrived.worth, arrived.delays, strict=True) if delay == 4]
    assert worth == [first.info[i] for i in first.seeds]


def test_what_is_being_rewritten_in_the_last_step_is_on_record():
    begun, gate, rewritten = threading.Event(), threading.Event(), []

    class Held(Suffix):
        def propose(self, parents, step, streams):
            begun.set()
            assert gate.wait(30)
            rewritten.extend(parents)
            return super().propose(parents, step, streams)

    class Opening(Hashing):
        def learn(self, engine, scored, *, step, total):
            if step == total - 1:
                assert begun.wait(30)
                gate.set()
            return super().learn(engine, scored, step=step, total=total)

    pace = Background()
    played = game(evolver=Held(), learner=Opening(), pace=pace, total=7)
    (record,), journal = play(played, until=1)
    pace.close()
    steps = journal.read(Stage(1, "online/steps"), Step)
    taken_up = sum(len(step.evolutions) for step in steps)
    assert taken_up > 0
    assert {parent.id for parent in rewritten} >= {
        evolution.parent_id for step in steps for evolution in step.evolutions
    }
    recorded = [child for step in steps for e in step.evolutions for child in e.children]
    assert len(recorded) + record["creator"]["refused"] == len(rewritten)
    batches = len({step.number - delay for step in steps for delay in step.delays})
    assert batches + record["creator"]["not_evolved"] == len(steps)


# ── resume ────────────────────────────────────────────────────────────────────────────────────


def played_into(path, **changes):
    played = game(evaluators=(Counted(),), **changes)
    with RunFolder.create(path, {"test": 1}) as folder:
        records = list(online.rounds(played, folder.journal(), until=3))
    return played, records


def snapshot(path):
    times = {"time", "created"}
    with RunFolder.open_readonly(path) as folder:
        tables = {
            name: [
                {k: v for k, v in row.items() if k not in times}
                for row in folder.population.table(name)
            ]
            for name in ("prompts", "scores", "informativeness", "refusals", "commits", "metrics")
        }
    files = {
        str(file.relative_to(path)): file.read_bytes()
        for file in sorted(path.glob("rounds/**/*"))
        if file.is_file()
    }
    return tables, files


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    path = tmp_path_factory.mktemp("online") / "run"
    played_into(path)
    return snapshot(path)


POINTS = [
    *((f"online/steps:{step}", at) for step in faults.STEPS for at in (1, 2, 4, 5, 7, 10, 12)),
    *((f"solver/train:{step}", at) for step in faults.STEPS for at in (1, 2, 3, 5)),
    *((f"record:{step}", at) for step in faults.STEPS for at in (1, 3)),
    *((f"evaluate/count:{step}", at) for step in faults.STEPS for at in (1, 2)),
]


@pytest.mark.parametrize(("point", "at"), POINTS)
def test_a_run_that_dies_anywhere_ends_like_one_that_did_not(point, at, unbroken, tmp_path):
    path = tmp_path / "run"
    with pytest.raises(faults.Crash), faults.armed(point, at=at):
        played_into(path)
    played_into(path)
    assert snapshot(path) == unbroken


def test_the_crash_points_are_in_every_phase(unbroken):
    tables, _ = unbroken
    chunks = [row for row in tables["commits"] if row["stage"] == "online/steps"]
    # 4 chunks a round: those of the points above lie in all three phases
    assert [row["round"] for row in chunks] == [1] * 4 + [2] * 4 + [3] * 4


def test_recorded_steps_are_gone_through_without_asking_anybody(tmp_path):
    path = tmp_path / "run"
    with pytest.raises(faults.Crash), faults.armed("online/steps:before_write", at=7):
        played_into(path)
    played, _ = played_into(path)
    # round 1 is read; of round 2 the first 4 steps are recorded, and the checkpoint is at step 4
    assert len(played.engine.answered) == 21 - 7 - 4
    assert played.reward.scored == 4 * (21 - 7 - 4)


def test_a_changed_creator_is_noticed_on_resume(tmp_path):
    path = tmp_path / "run"
    with pytest.raises(faults.Crash), faults.armed("online/steps:before_write", at=6):
        played_into(path)  # dies in mix-up, where what is drawn depends on the seed
    with pytest.raises(RunError, match="other prompts are drawn now"):
        played_into(path, seed=99)


@pytest.mark.parametrize("at", [2, 3, 5, 8])
@pytest.mark.parametrize(
    "changes",
    [
        {
            "human": human(5),
            "sizes": {"batch": 8, "buffer": 4, "children": 1, "bootstrap_children": 0},
        },
        {"human": human(5), "evolver": None, "sizes": {"batch": 8, "buffer": 4}},
        {"human": human(3), "sizes": {"batch": 4, "buffer": 12, "children": 2}},
        {"human": human(4), "refills": 2, "reward": TokenMean(flat=("2", "3"))},
    ],
    ids=["short", "no_evolve", "few", "refills"],
)
def test_short_batches_and_refills_resume_to_the_same_run(changes, at, tmp_path):
    played_into(tmp_path / "whole", **changes)
    with pytest.raises(faults.Crash), faults.armed("online/steps:before_write", at=at):
        played_into(tmp_path / "run", **changes)
    played_into(tmp_path / "run", **changes)
    assert snapshot(tmp_path / "run") == snapshot(tmp_path / "whole")


def test_a_step_holds_no_prompt_twice_even_with_refills():
    played = game(human=human(4), refills=3, reward=TokenMean(flat=("1", "2", "3")))
    _, journal = play(played)
    for t in (1, 2, 3):
        for step in journal.read(Stage(t, "online/steps"), Step):
            ids = [group.prompt.id for group in step.scored]
            assert len(set(ids)) == len(ids)


def test_a_round_that_is_taken_back_leaves_its_buffer_and_not_its_policy(alarmed):
    def bad():
        return game(watch=alarmed(2, does="rolls_back"))

    records, journal = play(bad())
    plain, usual = play(game())
    assert records[:2] == plain[:2]
    first, second, third = (journal.read(Stage(t, "online/steps"), Step) for t in (1, 2, 3))
    # round 3 answers with the policy that round 1 ended with, which is where round 2 began, ...
    assert third[0].scored[0].group.policy == second[0].scored[0].group.policy
    assert third[0].scored[0].group.policy != first[0].scored[0].group.policy
    # ... to the prompts that it would have had anyway
    expected = usual.read(Stage(3, "online/steps"), Step)
    assert [g.prompt.id for g in third[0].scored] == [g.prompt.id for g in expected[0].scored]
    for point in ("alarms:after_commit", "online/steps:before_work"):
        broken = MemoryJournal()
        with faults.armed(point, at=9 if "steps" in point else 2), pytest.raises(faults.Crash):
            play(bad(), journal=broken)
        assert play(bad(), journal=broken)[0] == records
