import numpy as np

from eva.creator.creator import EvaCreator
from eva.creator.informativeness import METRICS
from eva.creator.noise import correction
from eva.creator.sampling import SAMPLERS, TopicBlended
from eva.rng import Streams
from eva.types import Evolution, Prompt, Proposal

STREAMS = Streams(0, 2, "test")


class Known:
    def __init__(self, *prompts):
        self.all = list(prompts)

    def prompts(self, ids=None):
        return self.all


class Echo:
    chain = True

    def propose(self, parents, step, streams):
        return [
            Proposal(p, "echo", p.rewritten(f"{p.text}!", operator="echo", born=streams.round))
            for p in parents
        ]


class Recorder:
    name = "recorder"

    def __init__(self):
        self.known = set()
        self.lineages = []

    def __call__(self, child, lineage):
        self.lineages.append([p.text for p in lineage])
        return

    def remember(self, prompt):
        self.known.add(prompt.id)


def creator(**changes):
    parts = {
        "informativeness": METRICS["a_min"],
        "sampler": SAMPLERS["greedy"],
        "evolver": Echo(),
        "children": 2,
    }
    return EvaCreator(**(parts | changes))


def test_the_fraction_is_rounded_and_never_nothing():
    info = np.arange(10.0)
    assert len(creator().sample(info, STREAMS)) == 2
    assert len(creator(fraction=0.01).sample(info, STREAMS)) == 1


def test_topics_reach_the_sampler_that_blends_them():
    info = np.ones(40)
    prompts = [Prompt.of(f"p {i}", topic="rare" if i == 7 else "common") for i in range(40)]
    blended = creator(sampler=TopicBlended(1.0), fraction=0.01)
    drawn = [int(blended.sample(info, Streams(s, 2, "s"), prompts)[0]) for s in range(60)]
    # all alike but for the topic: half of the draws against one in forty
    assert 15 <= drawn.count(7) <= 45
    assert [int(blended.sample(info, Streams(s, 2, "s"))[0]) for s in range(60)].count(7) < 10
    plain = creator(fraction=0.5)
    np.testing.assert_array_equal(
        plain.sample(np.arange(40.0), STREAMS, prompts), plain.sample(np.arange(40.0), STREAMS)
    )


def test_gates_see_ancestors_oldest_first_and_remember_everyone():
    gate = Recorder()
    old = Prompt.of("old")
    middle = old.rewritten("middle", operator="x", born=1)
    new = middle.rewritten("new", operator="x", born=1)
    stranger = Prompt.of("stranger")
    made = creator(gates=(gate,)).evolve([new], Known(old, middle, new, stranger), STREAMS)
    assert gate.lineages == [["old", "middle", "new"], ["old", "middle", "new", "new!"]]
    assert {p.id for p in (old, middle, new, stranger, *made[0].children)} == gate.known


def test_without_rewards_all_prompts_are_equally_informative():
    estimates = creator(estimates=False).estimate([(), (), ()])
    assert estimates.values.tolist() == [1.0, 1.0, 1.0]


def test_noise_is_taken_out_where_that_is_asked_for():
    rewards, noise = [[0.0, 2.0], [0.0, 1.0]], [1.5, 0.0]
    corrected = creator(correction=correction("a_min")).estimate(rewards, noise)
    assert corrected.values.tolist() == [1.0, 1.0]
    assert creator().estimate(rewards, noise).values.tolist() == [2.0, 1.0]


def test_without_an_evolver_the_drawn_originals_are_the_mix():
    prompts = [Prompt.of(t) for t in "abc"]
    plain = creator(evolver=None)
    made = plain.evolve(prompts[:2], Known(*prompts), STREAMS)
    assert made == [Evolution(p.id, (), ()) for p in prompts[:2]]
    assert plain.mix(made, prompts, STREAMS) == prompts[:2]
