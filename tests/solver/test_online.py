from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from eva.engines.local import LocalEngine, LocalSettings
from eva.engines.optimiser import OptimiserSettings
from eva.engines.policy import load_policy
from eva.engines.tiny import build_tiny
from eva.errors import ConfigError, SolverError
from eva.rng import Streams
from eva.solver.objectives import make_objective
from eva.solver.online import (
    ALGORITHMS,
    OaifLearner,
    PolicyGradientLearner,
    PolicyGradientSettings,
    make_policy_gradient_learner,
    recorded,
)
from eva.solver.pairs import PairSettings
from eva.solver.updates import UpdateSettings
from eva.types import Group, Prompt, Response, SamplingParams, Score, ScoredGroup


class Recorder:
    """An engine that writes down what it is asked: log-probs of -1 per token, of the base -3."""

    def __init__(self):
        self.did, self.updates = [], []

    def logprobs(self, examples, *, base=False):
        self.did.append(("base" if base else "old", len(examples)))
        return [tuple((-3.0 if base else -1.0,) * len(c) for c in e.completions) for e in examples]

    def forward_backward(self, examples, objective, normaliser):
        self.did.append("update")
        self.updates.append((examples, normaliser))
        return {"loss": 0.0, "clipped": 0.5 * len(examples)}

    def step(self, lr, clip):
        return 1.0


def answers(name, *rewards, lengths=None, truncated=(), logprobs=True):
    """A group whose i-th answer has i + 1 tokens."""
    lengths = lengths or range(1, len(rewards) + 1)
    responses = tuple(
        Response(
            "a",
            tuple(range(10, 10 + n)),
            (-1.5,) * n if logprobs else (),
            "length" if i in truncated else "stop",
        )
        for i, n in enumerate(lengths)
    )
    group = Group(Prompt.of(name, id=name), (1, 2), responses, "v")
    scores = tuple(Score(r, "" if r is not None else "raised") for r in rewards)
    return ScoredGroup(group, scores)


def played(scored, *, step=0, total=1, updates=None, **settings):
    """What a learner did with scored groups: the engine and the figures."""
    engine = Recorder()
    learner = PolicyGradientLearner(
        settings=PolicyGradientSettings(**settings), updates=updates or UpdateSettings()
    )
    return engine, learner.learn(engine, scored, step=step, total=total)


def trained(engine):
    """The advantages that were trained on, by prompt and length."""
    return {
        (e.prompt_id, e.trained_tokens): e.columns["advantage"]
        for examples, _ in engine.updates
        for e in examples
    }


# ── what is trained on, by hand ──────────────────────────────────────────────────────────────


def test_rloo_trains_on_every_scored_response():
    engine, figures = played([answers("p", 1.0, None, 3.0), answers("q", 0.0, 4.0)])
    assert trained(engine) == {("p", 1): -2.0, ("p", 3): 2.0, ("q", 1): -4.0, ("q", 2): 4.0}
    ((examples, normaliser),) = engine.updates
    assert normaliser == 4
    assert {e.reference for e in examples} == {None}
    assert {name for e in examples for name in e.tokens} == {"sampled"}
    assert engine.did == ["update"]
    assert figures == {
        "loss": 0.0,
        "clipped": 0.5,
        "grad_norm": 1.0,
        "lr": 1e-6,
        "updates": 1,
        "trained_tokens": 7,
        "advantage_abs": 3.0,
        "examples": 4,
        "skipped": 0,
    }


def test_what_has_no_advantage_is_left_out_but_counts_in_the_divisor():
    scored = [answers("p", 1.0, 1.0), answers("q", 0.0, 1.0, 2.0), answers("r", None, None)]
    engine, figures = played(scored)
    assert trained(engine) == {("q", 1): -1.5, ("q", 3): 1.5}
    assert engine.updates[0][1] == 5
    assert (figures["examples"], figures["skipped"]) == (2, 2)
    assert figures["advantage_abs"] == pytest.approx(3.0 / 5)
    scored = [answers("p", 1.0, 1.0), answers("q", 3.0, 4.0)]
    engine, figures = played(scored, estimator="reinforce")
    assert trained(engine)["p", 1] == -1.25
    assert figures["skipped"] == 0


@pytest.mark.parametrize(
    ("settings", "divisor"),
    [
        ({"level": "token"}, 5),
        ({"level": "token", "reduction": "token"}, 3 + 6),
        ({"level": "sequence", "reduction": "constant", "length": 64}, 5 * 64),
    ],
)
def test_divisors(settings, divisor):
    engine, _ = played([answers("p", 1.0, 1.0), answers("q", 0.0, 1.0, 3.0)], **settings)
    assert engine.updates[0][1] == divisor


def test_divergence_in_the_reward_is_taken_off_before_the_baseline():
    """The log-ratio is 2 per token: 1 - 0.25 * 2 = 0.5 and 3 - 0.25 * 2 * 2 = 2."""
    scored = [answers("p", 1.0, 3.0), answers("q", 1.0, 1.0)]
    engine, figures = played(scored, kl=0.25)
    assert trained(engine) == {("p", 1): -1.5, ("p", 2): 1.5, ("q", 1): 0.5, ("q", 2): -0.5}
    assert engine.did == [("old", 4), ("base", 4), "update"]
    assert {e.reference for e in engine.updates[0][0]} == {None}
    assert engine.updates[0][0][0].tokens["old"][0] == -1.0
    assert figures["kl"] == 2.0


def test_divergence_in_the_loss_is_paid_without_advantage_too():
    scored = [answers("p", 1.0, 3.0), answers("q", 1.0, 1.0)]
    engine, figures = played(scored, kl=0.25, kl_in="loss")
    assert engine.did == [("base", 4), "update"]
    assert trained(engine)["q", 1] == 0.0
    assert {e.reference for e in engine.updates[0][0]} == {((-3.0,),), ((-3.0, -3.0),)}
    assert (figures["examples"], figures["skipped"]) == (4, 0)


def test_several_updates_remember_the_policy_before_the_first():
    scored = [answers("p", 1.0, 3.0), answers("q", 1.0, 1.0), answers("r", 0.0, 1.0, 3.0)]
    updates = UpdateSettings(epochs=2, minibatch=4)
    engine, figures = played(scored, updates=updates)
    # of the seven, two have no advantage, and no pass over them
    assert engine.did[0] == ("old", 5)
    assert engine.did[1:] == ["update"] * 4
    assert [normaliser for _, normaliser in engine.updates] == [4, 3, 4, 3]
    assert sum(len(examples) for examples, _ in engine.updates) == 10
    assert all(e.tokens["old"] == (-1.0,) * e.trained_tokens for e in engine.updates[0][0])
    assert figures["updates"] == 4
    assert figures["trained_tokens"] == 2 * (3 + 6)


def test_truncated_answers_may_count_in_the_baseline_alone():
    scored = [answers("p", 1.0, 3.0, 5.0, truncated={2})]
    engine, _ = played(scored)
    assert trained(engine) == {("p", 1): -3.0, ("p", 3): 3.0}
    engine, figures = played(scored, mask_truncated=True)
    assert trained(engine) == {("p", 1): -3.0}
    assert engine.updates[0][1] == 2
    assert figures["advantage_abs"] == 1.5


def test_a_correction_reads_the_samplers_log_probs():
    engine, _ = played([answers("p", 1.0, 3.0)], correction="sequence")
    assert engine.did == [("old", 2), "update"]
    _, longer = sorted(engine.updates[0][0], key=lambda e: e.trained_tokens)
    assert longer.tokens == {"sampled": (-1.5, -1.5), "old": (-1.0, -1.0)}
    silent = [answers("p", 1.0, 3.0), answers("q", 1.0, 3.0, logprobs=False)]
    with pytest.raises(SolverError, match=r"2 answers \(first prompt q\) came without"):
        played(silent, correction="sequence")
    engine, _ = played(silent)
    assert {e.tokens == {} for e in engine.updates[0][0]} == {True}


def test_a_batch_without_contrast_makes_no_update():
    for scored in ([], [answers("p", 1.0, 1.0)], [answers("p", None)], [answers("p", 2.0)]):
        engine, figures = played(scored)
        assert engine.did == []
        assert (figures["updates"], figures["trained_tokens"], figures["examples"]) == (0, 0, 0)
        assert figures["skipped"] == len(scored)


def test_answers_without_tokens_are_no_rollouts():
    mixed = answers("p", 1.0, 2.0, 3.0, lengths=(0, 2, 2))
    assert [(r.index, r.example.trained_tokens) for r in recorded([mixed])] == [(1, 2), (2, 2)]
    bare = [answers("q", None), answers("p", 1.0, 2.0, lengths=(0, 0))]
    with pytest.raises(SolverError, match=r"2 scored answers .* none carries token ids"):
        recorded(bare)
    learner = OaifLearner(objective=make_objective("dpo"))
    with pytest.raises(SolverError, match="none carries token ids"):
        learner.learn(Recorder(), bare, step=0, total=1)


# ── pairs, every step ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("reference", ["base", "none"])
def test_oaif_trains_on_pairs_against_the_base(reference):
    engine = Recorder()
    learner = OaifLearner(objective=make_objective("dpo"), reference=reference)
    scored = [answers("p", 1.0, 3.0, 2.0), answers("q", 1.0, 1.0), answers("r", 1.0, 0.0)]
    figures = learner.learn(engine, scored, step=0, total=1)
    ((examples, normaliser),) = engine.updates
    assert {tuple(map(len, e.completions)) for e in examples} == {(2, 1), (1, 2)}
    assert normaliser == 2
    based = [("base", 2)] if reference == "base" else []
    assert engine.did == [*based, "update"]
    assert {e.reference is None for e in examples} == {reference == "none"}
    assert (figures["examples"], figures["skipped"], figures["updates"]) == (2, 1, 1)
    assert figures["reward_margin"] == 1.5
    assert figures["trained_tokens"] == 6


def test_oaif_without_a_pair_makes_no_update():
    engine = Recorder()
    learner = OaifLearner(objective=make_objective("dpo"), pairs=PairSettings(margin=9.0))
    figures = learner.learn(engine, [answers("p", 1.0, 3.0)], step=0, total=1)
    assert engine.did == []
    assert figures == {"updates": 0, "trained_tokens": 0, "examples": 0, "skipped": 1}


# ── settings ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ALGORITHMS)
def test_algorithms_by_name(name):
    learner = make_policy_gradient_learner(name, kl=0.1, length=64)
    assert learner.settings.kl == 0.1
    engine = Recorder()
    learner.learn(engine, [answers("p", 1.0, 3.0)], step=0, total=1)
    assert len(engine.updates) == 1
    bare = make_policy_gradient_learner("grpo", scale="none", updates=UpdateSettings(lr=1.0))
    assert (bare.settings.scale, bare.settings.level, bare.updates.lr) == ("none", "token", 1.0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"estimator": "rlo"}, "did you mean 'rloo'"),
        ({"scale": "std"}, "unknown scale"),
        ({"level": "tokens"}, "did you mean 'token'"),
        ({"reduction": "tokens"}, "did you mean 'token'"),
        ({"kl_in": "rewards"}, "did you mean 'reward'"),
        ({"kl": -1.0}, r"kl = -1\.0"),
        ({"cap": 0.0}, r"cap = 0\.0"),
        ({"correction": "token"}, "has no tokens to weigh"),
        ({"reduction": "token"}, "one loss per response"),
        ({"level": "token", "reduction": "constant"}, "length = None"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        PolicyGradientSettings(**settings)


def test_unknown_algorithms_and_settings_are_refused():
    with pytest.raises(ConfigError, match="did you mean 'grpo'"):
        make_policy_gradient_learner("grppo")
    with pytest.raises(ConfigError, match="setting of rloo 'levels': did you mean 'level'"):
        make_policy_gradient_learner("rloo", levels="token")


# ── on a real, tiny policy ───────────────────────────────────────────────────────────────────

PROMPTS = [Prompt.of(text) for text in ("Name a colour.", "Count.", "Hi")]
PARAMS = SamplingParams(n=4, temperature=1.0, top_p=1.0, max_tokens=8)
SGD = OptimiserSettings("sgd")
ANY = PairSettings(truncated_chosen=True)
"""Most answers are cut off at eight tokens."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return build_tiny(tmp_path_factory.mktemp("tiny") / "llama", hidden_size=32)


@pytest.fixture
def engine(folder):
    def make(dtype="float64", **settings):
        settings = {"optimiser": SGD, **settings}
        return LocalEngine(load_policy(folder, dtype=dtype), LocalSettings(**settings))

    return make


def share(response):
    """The share of the first half of the alphabet in an answer."""
    return sum("a" <= letter <= "m" for letter in response.text) / max(1, len(response.text))


def scored_by(local, reward=share, *, step=0, params=PARAMS, prompts=PROMPTS):
    groups = local.sample(prompts, params, Streams(0, step, "answer"))
    return [ScoredGroup(g, tuple(Score(reward(r)) for r in g.responses)) for g in groups]


def weights(local):
    return torch.cat([p.detach().flatten() for p in local.policy.model.parameters()])


def moved(local, learner, scored, *, step=0, total=1):
    """How the weights moved, and the figures."""
    before = weights(local)
    figures = learner.learn(local, scored, step=step, total=total)
    return weights(local) - before, figures


def learner_of(name="rloo", *, epochs=1, minibatch=None, lr=0.01, clip=None, **settings):
    updates = UpdateSettings(epochs=epochs, minibatch=minibatch, lr=lr, clip=clip)
    return make_policy_gradient_learner(name, updates=updates, **({"length": 8} | settings))


@pytest.mark.parametrize("name", ["rloo", "grpo", "reinforce", "oaif"])
def test_the_reward_goes_up(engine, name):
    local = engine("float32", optimiser=OptimiserSettings("adamw"))
    updates = UpdateSettings(lr=1e-2)
    learner = (
        OaifLearner(objective=make_objective("dpo", beta=0.5), updates=updates, pairs=ANY)
        if name == "oaif"
        else make_policy_gradient_learner(name, updates=updates)
    )
    means = []
    for step in range(10):
        scored = scored_by(local, step=step, params=replace(PARAMS, n=8))
        rewards = [r for one in scored for r in one.rewards]
        means.append(sum(rewards) / len(rewards))
        learner.learn(local, scored, step=step, total=10)
    assert sum(means[-3:]) / 3 > sum(means[:3]) / 3 + 0.15


@pytest.mark.parametrize("name", ALGORITHMS)
def test_leaving_out_what_has_no_contrast_changes_no_update(engine, name):
    scored = scored_by(engine())
    scored[1] = ScoredGroup(scored[1].group, (Score(0.5),) * PARAMS.n)
    learner = learner_of(name)
    found, figures = moved(engine(), learner, scored)
    if name != "reinforce":
        assert figures["skipped"] == 1
    # all responses through the model, the learner's own way of leaving some out undone
    local = engine()
    rollouts = recorded(scored)
    advantage = learner._advantages(scored, rollouts)
    examples = learner._prepared(rollouts, weights=advantage)
    before = weights(local)
    divisor = learner.settings.normaliser(examples)
    local.forward_backward(examples, learner.settings.objective(), divisor)
    local.step(0.01, None)
    assert_close(found, weights(local) - before)


def assert_close(got, want, tolerance=1e-5):
    assert float(want.abs().max()) > 0
    # not closer: the model's own norms compute in float32
    torch.testing.assert_close(got, want, rtol=0.0, atol=tolerance * float(want.abs().max()))


@pytest.mark.parametrize("name", ALGORITHMS)
def test_micro_batches_change_no_update(engine, name):
    scored = scored_by(engine())
    learner = learner_of(name, epochs=2, minibatch=5, kl=0.05)
    found = [
        moved(engine(micro_batch_tokens=budget), learner, scored)[0] for budget in (1, 90, 4096)
    ]
    assert_close(found[1], found[0])
    assert_close(found[2], found[0])


def test_minibatches_of_one_epoch_are_the_batch_where_nothing_moves_between(engine):
    """The gradients of minibatches, weighed by their sizes, add up to the batch's."""
    scored = scored_by(engine())
    whole, _ = moved(engine(), learner_of(lr=1e-7), scored)
    parts, figures = moved(engine(), learner_of(lr=1e-7, minibatch=4), scored)
    assert figures["updates"] == 3
    assert_close(parts / 3, whole, 1e-4)


def test_the_same_step_ends_in_the_same_bits(engine):
    scored = scored_by(engine())
    learner = learner_of("grpo", epochs=2, minibatch=5, kl=0.1)
    found = [moved(engine(), learner, scored, step=3, total=9)[0] for _ in range(2)]
    assert torch.equal(*found)
    other, _ = moved(engine(), learner, scored, step=4, total=9)
    assert not torch.equal(found[0], other)


def test_later_updates_are_clipped(engine):
    scored = scored_by(engine())
    _, first = moved(engine(), learner_of(lr=0.5), scored)
    assert first["clipped"] == 0.0
    assert first["ratio"] == 1.0
    _, figures = moved(engine(), learner_of(lr=0.5, epochs=5), scored)
    assert figures["clipped"] > 0.0
    free, _ = moved(engine(), learner_of(lr=0.5, epochs=5, clip_low=1e9, clip_high=1e9), scored)
    held, _ = moved(engine(), learner_of(lr=0.5, epochs=5), scored)
    assert held.norm() < free.norm()


def test_a_sampler_in_another_type_is_measured_and_corrected(engine):
    scored = scored_by(engine(generation_dtype="bfloat16"))
    exact = scored_by(engine())
    same, at_home = moved(engine(), learner_of("grpo", correction="token"), exact)
    plain, _ = moved(engine(), learner_of("grpo"), exact)
    assert at_home["sampler_kl_k3"] < 1e-9
    assert_close(same, plain)
    corrected, figures = moved(engine(), learner_of("grpo", correction="token"), scored)
    uncorrected, _ = moved(engine(), learner_of("grpo"), scored)
    assert figures["sampler_kl_k3"] > 1e-8
    assert figures["weight"] == pytest.approx(1.0, abs=0.1)
    assert not torch.allclose(corrected, uncorrected, rtol=0, atol=1e-4 * uncorrected.abs().max())


def test_divergence_in_the_loss_pulls_to_the_base(engine):
    local = engine(keep_base=True)
    for step in range(3):
        scored = scored_by(local, step=step)
        _, figures = moved(local, learner_of(lr=0.3), scored, step=step, total=4)
    still = [ScoredGroup(one.group, (Score(0.0),) * PARAMS.n) for one in scored]
    before = divergence(local, still)
    _, figures = moved(local, learner_of("grpo", lr=0.05, kl=1.0), still, step=3, total=4)
    assert figures["kl"] == pytest.approx(before, rel=1e-6)
    assert divergence(local, still) < before


def divergence(local, scored):
    examples = [r.example for r in recorded(scored)]
    pairs = zip(local.logprobs(examples), local.logprobs(examples, base=True), strict=True)
    gaps = [torch.tensor(base[0]) - torch.tensor(own[0]) for own, base in pairs]
    return float(torch.stack([(gap.expm1() - gap).mean() for gap in gaps]).mean())


def test_the_first_oaif_loss_is_log_2(engine):
    learner = OaifLearner(objective=make_objective("dpo"), pairs=ANY)
    _, figures = moved(engine(), learner, scored_by(engine()))
    assert figures["loss"] == pytest.approx(math.log(2), abs=1e-6)
