"""The phases of the online creator: sizes, shares and order of eviction exactly as published."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eva.creator.informativeness import METRICS
from eva.creator.noise import correction
from eva.creator.online import BufferCreator, OnlineSizes
from eva.creator.sampling import SAMPLERS
from eva.errors import ConfigError, RunError
from eva.rng import Streams
from eva.types import Prompt, Proposal


class Numbered:
    """Every child is new; every `refused`-th proposal has no child."""

    chain = False

    def __init__(self, refused=0):
        self.count = 0
        self.refused = refused

    def propose(self, parents, step, streams):
        return [self._child(parent, streams) for parent in parents]

    def _child(self, parent, streams):
        self.count += 1
        if self.refused and self.count % self.refused == 0:
            return Proposal(parent, "numbered", None, reason="this one is refused")
        text = f"child {self.count}"
        return Proposal(
            parent, "numbered", parent.rewritten(text, operator="numbered", born=streams.round)
        )


class Shelf:
    def __init__(self, prompts):
        self.known = {prompt.id: prompt for prompt in prompts}

    def prompts(self, ids=None):
        return [self.known[id] for id in (self.known if ids is None else ids)]

    def put(self, evolutions):
        self.known |= {c.id: c for e in evolutions for c in e.children}


def human(n):
    return [Prompt.of(f"human {i}") for i in range(n)]


def creator(n, **changes):
    parts = {
        "informativeness": METRICS["a_avg"],
        "sampler": SAMPLERS["greedy"],
        "evolver": Numbered(changes.pop("refused", 0)),
        "correction": None,
    }
    sizes = OnlineSizes(**{k: v for k, v in changes.items() if k not in parts})
    return BufferCreator(
        human(n), **(parts | {k: changes[k] for k in parts if k in changes}), sizes=sizes
    )


def play(creator, steps, *, shelf=None, first=1):
    """Play steps with random rewards; yield (draw, seeds, evolutions, evicted)."""
    shelf = shelf or Shelf(creator.human)
    for step in range(first, first + steps):
        at = Streams(7, 1, f"step-{step}")
        draw = creator.draw(shelf, at.at(f"{step}/draw"), step=step)
        rewards = np.random.default_rng(step).random((len(draw.prompts), 4)).tolist()
        estimates = creator.rank(rewards)
        seeds = creator.seeds(estimates.values, at.at(f"{step}/seeds"))
        chosen = [draw.prompts[i] for i in seeds]
        evolutions = creator.evolve(chosen, shelf, at.at(f"{step}/evolve"), phase=draw.phase)
        shelf.put(evolutions)
        info = {draw.prompts[i].id: estimates.values[i] for i in seeds}
        evicted = creator.add(evolutions, info, step=step)
        yield draw, estimates, seeds, evolutions, evicted


def children(evolutions):
    return [child.id for evolution in evolutions for child in evolution.children]


def test_the_defaults_are_the_published_sizes():
    sizes = OnlineSizes()
    assert (sizes.batch, sizes.buffer, sizes.replayed, sizes.evolved) == (8, 3200, 0.5, 0.5)
    assert (sizes.children, sizes.bootstrap_children, sizes.staleness) == (4, 2, 0.0)


def test_warm_up_takes_200_batches_of_8_until_the_buffer_of_3200_is_full():
    played = list(play(creator(1700), 202))
    assert [draw.phase for draw, *_ in played] == ["warm-up"] * 200 + ["mix-up"] * 2
    for draw, _, seeds, evolutions, evicted in played[:200]:
        assert (len(draw.prompts), draw.replayed, len(seeds)) == (8, 0, 4)
        assert len(children(evolutions)) == 16
        assert evicted == []
    draw, _, seeds, evolutions, evicted = played[200]
    assert (len(draw.prompts), draw.replayed, len(seeds)) == (8, 4, 4)
    # 16 come in; the 4 trained ones left, and so the 12 oldest go
    assert len(children(evolutions)) == 16
    assert len(evicted) == 12
    trained = {prompt.id for prompt in draw.prompts}
    oldest = [c for c in children(e for p in played for e in p[3]) if c not in trained]
    assert evicted == oldest[:12]


def test_bootstrap_begins_when_the_human_set_is_exhausted_and_stays_level():
    made = creator(40, batch=4, buffer=16, children=4)
    played = list(play(made, 30))
    phases = [draw.phase for draw, *_ in played]
    # 2 x 4 children a step: full after 2 steps, 8 human prompts; the other 32 last 16 steps
    assert phases == ["warm-up"] * 2 + ["mix-up"] * 16 + ["bootstrap"] * 12
    for draw, _, seeds, evolutions, evicted in played[18:]:
        assert (len(draw.prompts), draw.replayed, len(seeds)) == (4, 4, 2)
        assert len(children(evolutions)) == 4
        assert evicted == []
        assert len(made.buffer) == 16


def test_the_top_half_is_evolved():
    for _, estimates, seeds, *_ in play(creator(64), 5):
        best = np.argsort(-estimates.values)[:4]
        assert list(seeds) == best.tolist()


def test_human_prompts_are_taken_once_each_in_order_before_any_again():
    made = creator(12, batch=4, children=0)
    drawn = [prompt.text for draw, *_ in play(made, 9) for prompt in draw.prompts]
    passes = [drawn[:12], drawn[12:24], drawn[24:]]
    assert passes[0] == [f"human {i}" for i in range(12)]
    assert sorted(passes[0]) == sorted(passes[1]) == sorted(passes[2])
    assert passes[0] != passes[1] != passes[2]


def test_a_batch_holds_no_prompt_twice_and_is_smaller_where_there_are_too_few():
    made = creator(3, batch=8, children=0)
    for draw, *_ in play(made, 4):
        assert len({p.id for p in draw.prompts}) == len(draw.prompts) == 3
    assert draw.recycled == 3


def test_where_gates_leave_too_few_children_human_prompts_come_back():
    made = creator(12, batch=4, buffer=50, children=1, refused=2)
    draws = [draw for draw, *_ in play(made, 12)]
    late = [draw for draw in draws if draw.phase == "bootstrap"]
    assert late
    assert all(len(draw.prompts) == 4 for draw in draws)
    assert any(draw.recycled for draw in late)


def test_without_an_evolver_the_seeds_come_back():
    made = creator(20, batch=4, buffer=10, evolver=None)
    shelf = Shelf(made.human)
    for draw, _, seeds, evolutions, _ in play(made, 10, shelf=shelf):
        assert children(evolutions) == [draw.prompts[i].id for i in seeds]
    assert draw.phase == "mix-up"
    assert draw.replayed == 2


def test_without_an_evolver_the_human_set_begins_again_and_the_buffer_never_runs_dry():
    made = creator(20, batch=4, buffer=10, evolver=None)
    draws = [draw for draw, *_ in play(made, 60)]
    full = next(i for i, draw in enumerate(draws) if draw.phase == "mix-up")
    assert {draw.phase for draw in draws[full:]} == {"mix-up"}
    assert {(len(draw.prompts), draw.replayed) for draw in draws[full:]} == {(4, 2)}
    late = draws[-10:]
    assert all(draw.recycled == 2 for draw in late)
    # half of late batches are human prompts in new orders, so all of them are seen again
    assert {p.id for draw in draws[-20:] for p in draw.prompts} == {p.id for p in made.human}


def test_a_childs_priority_is_its_seeds_shrunk_to_the_mean():
    made = creator(8, batch=2, children=1, shrink=0.25)
    made.rank([[0.0, 1.0], [0.0, 0.0]])  # 0.5 and 0: mean 0.25
    made.add(
        made.evolve(made.human[:1], Shelf(made.human), Streams(0, 1, "e"), phase="warm-up"),
        {made.human[0].id: 0.5},
        step=1,
    )
    assert made.buffer.mean == pytest.approx(0.5 + 0.25 * (0.25 - 0.5))
    # the running mean remembers about 20 batches
    made.rank([[0.0, 3.0]])
    assert made._mean == pytest.approx(0.95 * 0.25 + 0.05 * 1.5)


def test_noise_is_taken_out_of_the_ranking_where_that_is_asked_for():
    made = creator(8, correction=correction("a_avg"))
    estimates = made.rank([[0.0, 2.0], [0.0, 1.0]], [1.5, 0.0])
    assert estimates.values.tolist() == [0.5, 0.5]


def test_unscored_prompts_are_no_seeds():
    made = creator(8)
    estimates = made.rank([[None, None], [0.0, 1.0], [None, 1.0]])
    assert math.isnan(estimates.values[0])
    assert made.seeds(estimates.values, Streams(0, 1, "s")) == (1,)


@settings(deadline=None, max_examples=25)
@given(
    batch=st.integers(1, 6),
    buffer=st.integers(1, 40),
    replayed=st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    evolved=st.sampled_from([0.25, 0.5, 0.75, 1.0]),
    kids=st.integers(0, 3),
    cut=st.integers(0, 15),
    refused=st.sampled_from([0, 2, 3]),
)
def test_invariants_of_any_game_and_a_restored_creator_goes_on_alike(
    tmp_path_factory, batch, buffer, replayed, evolved, kids, cut, refused
):
    changes = {
        "batch": batch, "buffer": buffer, "replayed": replayed, "evolved": evolved,
        "children": kids, "bootstrap_children": kids, "refused": refused,
    }  # fmt: skip
    made, shelf = creator(30, **changes), None
    shelf = Shelf(made.human)
    inside, seen_human = set(), 0
    steps = 16
    for i, (draw, _, _, evolutions, evicted) in enumerate(play(made, steps, shelf=shelf)):
        ids = [prompt.id for prompt in draw.prompts]
        assert len(set(ids)) == len(ids) == batch
        came_back = set(ids[len(ids) - draw.replayed :]) if draw.replayed else set()
        assert came_back <= inside
        inside = (inside - came_back) | set(children(evolutions)) - set(evicted)
        inside -= set(evicted)
        assert len(made.buffer) == len(inside) <= buffer
        seen_human += batch - draw.replayed
        if draw.recycled:
            assert seen_human > 30
        if i + 1 == cut:
            folder = tmp_path_factory.mktemp("state")
            made.save(folder)
            twin = creator(30, **changes)
            twin._evolver.count = made._evolver.count
            twin.load(folder)
            twin_shelf = Shelf(shelf.prompts())
            ahead = list(play(twin, steps - cut, shelf=twin_shelf, first=cut + 1))
    if 0 < cut < steps:
        again = creator(30, **changes)
        whole = list(play(again, steps))[cut:]
        assert [d.prompts for d, *_ in ahead] == [d.prompts for d, *_ in whole]
        assert [e for *_, e in ahead] == [e for *_, e in whole]


def test_a_child_that_is_in_the_buffer_does_not_enter_again():
    class Same:
        chain = False

        def propose(self, parents, step, streams):
            made = parents[0].rewritten("always this", operator="same", born=1)
            return [Proposal(parent, "same", made) for parent in parents]

    made = creator(40, batch=4, buffer=20, children=3, evolver=Same())
    for draw, *_ in play(made, 12):
        assert len({prompt.id for prompt in draw.prompts}) == len(draw.prompts) == 4
        assert len(made.buffer) <= 1


def test_faults_are_named(tmp_path):
    with pytest.raises(ConfigError, match="no human prompts"):
        creator(0)
    with pytest.raises(ConfigError, match="share from 0 to 1"):
        OnlineSizes(replayed=2.0)
    with pytest.raises(ConfigError, match="at least 1"):
        OnlineSizes(batch=0)
    made = creator(4)
    with pytest.raises(RunError, match=r"creator.safetensors.*put back a copy"):
        made.load(tmp_path)
    (tmp_path / "creator.safetensors").write_bytes(b"half a fi")
    with pytest.raises(RunError, match="put back a copy"):
        made.load(tmp_path)
    made.load(None)
    assert made.phase == "warm-up"
