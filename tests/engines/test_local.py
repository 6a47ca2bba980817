"""The local engine: the traps of iterated training, invariances, checkpoints."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from torch.nn.functional import logsigmoid
from transformers import AutoModelForCausalLM

from eva.engines.local import LocalEngine, LocalSettings
from eva.engines.lora import LoraSettings
from eva.engines.optimiser import OptimiserSettings
from eva.engines.policy import load_policy
from eva.engines.tiny import build_tiny
from eva.errors import ConfigError, RunError, SolverError
from eva.rng import Streams
from eva.types import Example, Loss, Prompt, SamplingParams

LORA = LoraSettings(rank=4)
PROMPTS = [Prompt.of(text) for text in ("Name a colour.", "Count to three, slowly.", "Hi")]
PARAMS = SamplingParams(n=2, temperature=1.0, top_p=1.0, max_tokens=12)
KINDS = pytest.mark.parametrize("lora", [None, LORA], ids=["full", "lora"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return build_tiny(tmp_path_factory.mktemp("tiny") / "llama", hidden_size=32)


@pytest.fixture
def engine(folder):
    def make(dtype="float32", **settings):
        return LocalEngine(load_policy(folder, dtype=dtype), LocalSettings(**settings))

    return make


def totals(ragged):
    return torch.stack([part.sum() for part in torch.split(ragged.values, list(ragged.lengths))])


def dpo(policy, reference, columns):
    """DPO with beta 0.1, weighted."""
    ratios = [totals(p) - totals(r) for p, r in zip(policy, reference, strict=True)]
    margin = ratios[0] - ratios[1]
    return Loss(-columns["weight"] * logsigmoid(0.1 * margin), {"margin": margin})


def nll(policy, reference, columns):
    assert reference is None
    return Loss(-totals(policy[0]), {})


def pairs(engine, weight=1.0):
    """Pairs of the engine's own answers, referred to its present weights."""
    groups = engine.sample(PROMPTS, PARAMS, Streams(0, 1, "answer"))
    bare = [
        Example(g.prompt.id, g.prompt_ids, tuple(r.token_ids for r in g.responses)) for g in groups
    ]
    return [
        replace(e, columns={"weight": weight}, reference=reference)
        for e, reference in zip(bare, engine.logprobs(bare), strict=True)
    ]


def weights(engine):
    return {name: p.detach().clone() for name, p in engine.policy.model.named_parameters()}


def gradient(engine):
    return {
        name: p.grad.clone()
        for name, p in engine.policy.model.named_parameters()
        if p.grad is not None
    }


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def close(a, b, tolerance=1e-5):
    return a.keys() == b.keys() and all(
        float((a[n] - b[n]).abs().max()) <= tolerance * float(b[n].abs().max()) for n in b
    )


# ── the traps of iterated training ───────────────────────────────────────────────────────────


@KINDS
def test_first_dpo_loss_of_a_round_is_log_2(engine, lora):
    local = engine(lora=lora)
    for _ in range(2):
        examples = pairs(local)
        out = local.forward_backward(examples, dpo, len(examples))
        assert out["loss"] / len(examples) == pytest.approx(math.log(2), abs=1e-6)
        assert out["margin"] == pytest.approx(0.0, abs=1e-4)
        local.step(1e-2, None)


@KINDS
def test_the_base_is_what_the_engine_was_made_with_and_no_other(engine, lora):
    local = engine(lora=lora)
    examples = pairs(local)
    at_first = local.logprobs(examples)
    for _ in range(2):
        local.forward_backward(examples, dpo, 1.0)
        local.step(1e-1, None)
    before = weights(local)
    assert local.logprobs(examples, base=True) == at_first
    assert local.logprobs(examples) != at_first
    assert same(weights(local), before)


@pytest.mark.parametrize("keep", [False, True])
def test_a_kept_base_is_loaded_once(engine, monkeypatch, keep):
    local = engine(keep_base=keep)
    examples = pairs(local)
    at_first = local.logprobs(examples)
    loads = []
    reload = LocalEngine._reload
    monkeypatch.setattr(LocalEngine, "_reload", lambda self: loads.append(1) or reload(self))
    for _ in range(3):
        local.forward_backward(examples, dpo, 1.0)
        local.step(1e-1, None)
        assert local.logprobs(examples, base=True) == at_first
    assert len(loads) == (1 if keep else 3)


def trace(model):
    """What iterated training may leave behind in a model."""
    modules = [(name, type(module), module.training) for name, module in model.named_modules()]
    hooks = [
        (len(m._forward_hooks), len(m._forward_pre_hooks), "forward" in vars(m))
        for m in model.modules()
    ]
    flags = model.config.use_cache, model.is_activation_checkpointing, model.config.to_dict()
    return type(model).forward, modules, hooks, flags


@KINDS
def test_three_rounds_leave_no_wrappers_and_no_switched_modes(engine, lora, tmp_path):
    local = engine(lora=lora, gradient_checkpointing=True)
    before = trace(local.policy.model)
    for number in range(3):
        examples = pairs(local)
        local.forward_backward(examples, dpo, 1.0)
        local.step(1e-2, 1.0)
        local.logprobs(examples, base=True)
        local.save(tmp_path / str(number))
        local.load(tmp_path / str(number))
    assert trace(local.policy.model) == before
    assert not any(module.training for module in local.policy.model.modules())


@KINDS
def test_weights_change_in_step_alone(engine, lora):
    local = engine(lora=lora)
    before, version = weights(local), local.version
    examples = pairs(local)
    local.logprobs(examples, base=True)
    local.forward_backward(examples, dpo, 1.0)
    local.sample(PROMPTS, PARAMS, Streams(0, 2, "answer"))
    assert same(weights(local), before)
    assert local.version == version
    local.step(1e-2, None)
    # An adapter's first factor has no gradient until the second one has left zero.
    local.forward_backward(examples, dpo, 1.0)
    local.step(1e-2, None)
    after = weights(local)
    trained = {name for name in before if not torch.equal(before[name], after[name])}
    expected = {name for name, p in local.policy.model.named_parameters() if p.requires_grad}
    assert trained == expected
    assert local.version != version


@KINDS
def test_the_sampled_tokens_are_scored_as_they_were_sampled(engine, lora):
    local = engine(lora=lora)
    local.forward_backward(pairs(local), dpo, 1.0)
    local.step(1e-3, None)
    groups = local.sample(PROMPTS, replace(PARAMS, n=6, max_tokens=20), Streams(0, 3, "answer"))
    responses = [r for group in groups for r in group.responses]
    assert {r.finish for r in responses} == {"stop", "length"}
    for group in groups:
        assert group.policy == local.version
        example = Example("x", group.prompt_ids, tuple(r.token_ids for r in group.responses))
        (scored,) = local.logprobs([example])
        for response, logprobs in zip(group.responses, scored, strict=True):
            # As many as were sampled: a truncated response gets no end token.
            assert logprobs == pytest.approx(response.logprobs, abs=1e-4)
            ended = response.token_ids[-1] in local.policy.end_ids
            assert ended != response.truncated


def test_training_raises_the_likelihood_of_what_it_trains_on(engine):
    local = engine()
    examples = [Example("p", (5, 6, 7), ((8, 9, 10, 11),))]
    losses = []
    for _ in range(4):
        losses.append(local.forward_backward(examples, nll, 1.0)["loss"])
        local.step(1e-2, 1.0)
    assert losses == sorted(losses, reverse=True)


# ── invariances ──────────────────────────────────────────────────────────────────────────────


@KINDS
@pytest.mark.parametrize(
    "settings",
    [
        {"micro_batch_tokens": 1},
        {"micro_batch_tokens": 90},
        {"logprob_chunk": 5},
        {"share_prompts": False},
        {"gradient_checkpointing": True},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_how_it_computes_changes_no_gradient(engine, lora, settings):
    # Not adamw, which turns rounding of tiny gradients into whole steps.
    settings |= {"lora": lora, "optimiser": OptimiserSettings("sgd")}
    plain = engine("float64", lora=lora, optimiser=settings["optimiser"])
    other = engine("float64", **settings)
    examples = pairs(plain)
    for local in (plain, other):
        out = local.forward_backward(examples, dpo, 3.0)
        assert out["loss"] == pytest.approx(3 * math.log(2), abs=1e-5)
        local.step(1e-1, None)
        local.forward_backward(examples, dpo, 3.0)
    # Not closer: the models' own norms compute in float32.
    assert close(gradient(other), gradient(plain), 1e-5)


@KINDS
def test_micro_batches_and_order_change_no_gradient(engine, lora):
    found = []
    base = engine(lora=lora)
    examples = pairs(base)
    for budget, order in ((1, 1), (100, 1), (4096, 1), (4096, -1)):
        local = engine(lora=lora, micro_batch_tokens=budget)
        local.forward_backward(examples[::order], dpo, 2.0)
        found.append(gradient(local))
    assert all(close(other, found[0]) for other in found[1:])


def test_gradients_accumulate_until_the_step(engine):
    local = engine()
    examples = pairs(local)
    local.forward_backward(examples, dpo, 2.0)
    whole = gradient(local)
    local.step(0.0, None)
    assert gradient(local) == {}
    for example in examples:
        local.forward_backward([example], dpo, 2.0)
    assert close(gradient(local), whole)


def test_float64_is_float64_throughout(engine):
    local = engine("float64")
    examples = pairs(local)
    out = local.forward_backward(examples, dpo, 1.0)
    assert out["loss"] == pytest.approx(3 * math.log(2), abs=1e-12)
    assert {g.dtype for g in gradient(local).values()} == {torch.float64}


def test_mixed_precision_is_near_and_keeps_float32_weights(engine):
    exact, mixed = engine(), engine(mixed_precision="bfloat16")
    examples = pairs(exact)
    for local in (exact, mixed):
        local.forward_backward(examples, dpo, 1.0)
    ours, theirs = gradient(mixed), gradient(exact)
    assert {g.dtype for g in ours.values()} == {torch.float32}
    flat = [torch.cat([g.flatten() for g in each.values()]) for each in (ours, theirs)]
    assert torch.cosine_similarity(*flat, dim=0) > 0.99
    assert not torch.equal(*flat)


def test_sampling_in_another_type_leaves_the_weights(engine):
    local = engine(generation_dtype="bfloat16")
    before = weights(local)
    groups = local.sample(PROMPTS, PARAMS, Streams(0, 1, "answer"))
    assert same(weights(local), before)
    assert [g.prompt for g in groups] == PROMPTS
    exact = engine().sample(PROMPTS, PARAMS, Streams(0, 1, "answer"))
    assert groups[0].responses[0].logprobs != exact[0].responses[0].logprobs


# ── errors ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_and_clears(engine, value):
    local = engine()
    examples = pairs(local, weight=value)
    with pytest.raises(SolverError, match=f"first prompt {examples[0].prompt_id}"):
        local.forward_backward(examples, dpo, 1.0)
    assert gradient(local) == {}


def test_a_step_without_gradient_is_refused(engine):
    with pytest.raises(SolverError, match="call forward_backward before it"):
        engine().step(1e-2, None)


# ── checkpoints ──────────────────────────────────────────────────────────────────────────────


def play(local, examples, steps):
    for number in range(steps):
        local.forward_backward(examples, dpo, 1.0)
        local.step(1e-2 / (number + 1), 1.0)


@KINDS
@pytest.mark.parametrize("name", ["adamw", "rmsprop"])
def test_a_resumed_training_ends_in_the_same_bits(engine, tmp_path, lora, name):
    settings = {"lora": lora, "optimiser": OptimiserSettings(name)}
    local = engine(**settings)
    examples = pairs(local)
    play(local, examples, 2)
    local.save(tmp_path / "c", optimiser=True)
    play(local, examples, 2)
    resumed = engine(**settings)
    resumed.load(tmp_path / "c", optimiser=True)
    play(resumed, examples, 2)
    assert same(weights(resumed), weights(local))
    assert resumed.version == local.version
    fresh = engine(**settings)
    fresh.load(tmp_path / "c")
    play(fresh, examples, 2)
    assert fresh.version == local.version
    assert not same(weights(fresh), weights(local))


@KINDS
def test_loading_none_restores_the_beginning(engine, lora):
    local = engine(lora=lora)
    before, version = weights(local), local.version
    play(local, pairs(local), 2)
    local.load(None)
    assert same(weights(local), before)
    assert local.version == version == local.policy.source


def test_half_precision_weights_are_saved_as_their_masters(engine, tmp_path):
    local = engine("bfloat16")
    examples = pairs(local)
    play(local, examples, 2)
    local.save(tmp_path / "c", optimiser=True)
    stored = load_file(tmp_path / "c" / "model.safetensors")
    assert {t.dtype for t in stored.values()} == {torch.float32}
    resumed = engine("bfloat16")
    resumed.load(tmp_path / "c", optimiser=True)
    assert same(weights(resumed), weights(local))
    play(local, examples, 2)
    play(resumed, examples, 2)
    assert same(weights(resumed), weights(local))


def test_a_damaged_checkpoint_leaves_the_policy_as_it_was(engine, tmp_path):
    local = engine()
    play(local, pairs(local), 1)
    local.save(tmp_path / "c", optimiser=True)
    path = tmp_path / "c" / "optimiser.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    other = engine()
    before = weights(other)
    with pytest.raises(RunError, match=r"optimiser\.safetensors: damaged"):
        other.load(tmp_path / "c", optimiser=True)
    assert same(weights(other), before)


def test_checkpoints_of_other_policies_are_refused(engine, tmp_path):
    local = engine(lora=LORA)
    local.save(tmp_path / "lora")
    with pytest.raises(RunError, match=r"model\.safetensors: not part of this checkpoint"):
        engine().load(tmp_path / "lora")
    with pytest.raises(RunError, match="not of this policy"):
        engine(lora=LoraSettings(rank=8)).load(tmp_path / "lora")
    with pytest.raises(RunError, match=r"optimiser\.safetensors: not part of this checkpoint"):
        local.load(tmp_path / "lora", optimiser=True)


@KINDS
def test_the_export_is_the_policy(engine, tmp_path, lora):
    local = engine(lora=lora)
    examples = pairs(local)
    play(local, examples, 2)
    local.export(tmp_path / "hf")
    exported = LocalEngine(load_policy(tmp_path / "hf"))
    for ours, theirs in zip(local.logprobs(examples), exported.logprobs(examples), strict=True):
        for a, b in zip(ours, theirs, strict=True):
            assert a == pytest.approx(b, abs=1e-5)
    assert exported.policy.end_ids == local.policy.end_ids
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "hf")
    assert type(model) is type(local.policy.model)


def test_gemma_is_trained_too(tmp_path):
    source = build_tiny(tmp_path / "gemma", architecture="gemma2", hidden_size=32)
    local = LocalEngine(load_policy(source), LocalSettings(lora=LORA))
    examples = pairs(local)
    play(local, examples, 2)
    out = local.forward_backward(examples, dpo, 1.0)
    assert out["loss"] < 3 * math.log(2)


def test_an_adapted_policy_is_not_adapted_twice(engine):
    with pytest.raises(ConfigError, match="carries an adapter already"):
        LocalEngine(engine(lora=LORA).policy, LocalSettings(lora=LORA))
