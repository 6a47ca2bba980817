"""Policy gradients against TRL's own loss code, value and parameter gradient, in float64.

TRL's trainers are made without their constructors, which only prepare data and models; the methods
that compute the loss run unchanged, on recorded rollouts padded as TRL pads them. Our side sees
every sequence alone and unpadded.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch

from eva.solver.policy_gradient import make_policy_gradient
from eva.types import Ragged

ROLLOUTS = (
    ((5, 9, 2), (7, 3, 3, 11)),
    ((5, 9, 2), (7, 8)),
    ((1, 4), (6, 2, 12, 1, 7)),
    ((1, 4), (13, 13, 5, 9, 10)),
    ((3, 3, 8, 2), (14,)),
    ((3, 3, 8, 2), (4, 15, 6)),
)
"""(prompt, completion) of unequal lengths."""
ADVANTAGES = (-1.2, 1.2, 0.4, -0.4, 0.7, -0.7)
LENGTH = 9
"""TRL's max_completion_length."""
CAP = 1.3
"""TRL's vllm_importance_sampling_clip_max; some weights here are above it."""


@pytest.fixture(scope="module")
def trl():
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "TRL_EXPERIMENTAL_SILENCE"):
            patch.setenv(name, "1")
        from trl.trainer.grpo_trainer import GRPOTrainer
        from trl.trainer.rloo_trainer import RLOOTrainer

        yield SimpleNamespace(grpo=GRPOTrainer, rloo=RLOOTrainer)


@pytest.fixture(scope="module")
def models():
    """The policy, and log-probs recorded before its update, by the sampler and the reference.

    GPT-2 because Llama's norms and rotations compute in float32. The updates behind the policy are
    small random changes of its weights; so are the differences of the sampler.
    """
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=16,
        n_positions=16,
        n_embd=8,
        n_layer=2,
        n_head=2,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        attn_implementation="eager",
        initializer_range=0.5,
    )
    made = {}
    for name, noise in (("policy", 0.0), ("old", 0.03), ("sampled", 0.05), ("reference", 0.3)):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            made[name] = GPT2LMHeadModel(config).double()
            torch.manual_seed(len(name))
            with torch.no_grad():
                for parameter in made[name].parameters():
                    parameter += noise * torch.randn_like(parameter)
    with torch.no_grad():
        recorded = {n: [logps(m, *r) for r in ROLLOUTS] for n, m in made.items() if n != "policy"}
    return SimpleNamespace(policy=made["policy"], **recorded)


def logps(model, prompt, completion):
    ids = torch.tensor([*prompt, *completion])
    found = model(ids[None]).logits[0, :-1].log_softmax(-1)
    return found.gather(-1, ids[1:, None])[len(prompt) - 1 :, 0]


def joined(pieces):
    return Ragged(torch.cat(pieces), tuple(map(len, pieces)))


def ours(models, normaliser, *, tokens=("old",), **hyper):
    policy = joined([logps(models.policy, *rollout) for rollout in ROLLOUTS])
    columns = {"advantage": torch.tensor(ADVANTAGES, dtype=torch.float64)}
    columns |= {name: joined(getattr(models, name)) for name in tokens}
    reference = (joined(models.reference),) if hyper.get("kl") else None
    loss = make_policy_gradient(**hyper)((policy,), reference, columns)
    return loss.values.sum() / normaliser, loss.metrics


# ── TRL ──────────────────────────────────────────────────────────────────────────────────────


class FusedHead:
    """What the trainers call: the model with TRL's fused head, whose kernel is float32, undone."""

    def __init__(self, model):
        self.model, self.training = model, True

    def __call__(self, *, input_ids, attention_mask, labels, **_):
        # prompts are padded on the left, and GPT-2 does not count positions from the mask
        positions = (attention_mask.cumsum(-1) - 1).clamp(min=0)
        out = self.model(input_ids, attention_mask=attention_mask, position_ids=positions)
        found = out.logits[:, :-1].log_softmax(-1).gather(-1, input_ids[:, 1:, None])[..., 0]
        unscored = labels[:, 1:] == -100
        return SimpleNamespace(
            log_probs=found.masked_fill(unscored, 0.0), entropy=torch.zeros_like(found)
        )


ACCELERATOR = SimpleNamespace(
    device=torch.device("cpu"),
    num_processes=1,
    is_main_process=False,
    gather=lambda x: x,
    gather_for_metrics=lambda x: x,
    reduce=lambda x, reduction: x,
    autocast=nullcontext,
)


def padded(rows, *, left=False):
    width = max(map(len, rows))
    fill = [[0] * (width - len(row)) for row in rows]
    return torch.tensor(
        [[*f, *row] if left else [*row, *f] for f, row in zip(fill, rows, strict=True)]
    )


def right(pieces):
    return torch.nn.utils.rnn.pad_sequence(pieces, batch_first=True)


def inputs(**more):
    prompts, completions = zip(*ROLLOUTS, strict=True)
    return {
        "prompt_ids": padded(prompts, left=True),
        "prompt_mask": padded([[1] * len(p) for p in prompts], left=True),
        "completion_ids": padded(completions),
        "completion_mask": padded([[1] * len(c) for c in completions]),
        "advantages": torch.tensor(ADVANTAGES, dtype=torch.float64),
        "num_items_in_batch": torch.tensor(sum(map(len, completions))),
        **more,
    }


def trainer_of(cls, model, **settings):
    trainer = object.__new__(cls)
    vars(trainer).update(
        model=FusedHead(model),
        accelerator=ACCELERATOR,
        aux_loss_enabled=False,
        _metrics={"train": defaultdict(list)},
        **settings,
    )
    return trainer


def trl_rloo(trl, models, *, epsilon):
    trainer = trainer_of(trl.rloo, models.policy, epsilon_low=epsilon[0], epsilon_high=epsilon[1])
    old = torch.stack([piece.sum() for piece in models.old])
    loss = trainer._compute_loss(trainer.model, inputs(old_logps=old))
    return loss, trainer._metrics["train"]


def trl_grpo(trl, models, *, epsilon, beta=0.0, vllm=False, **settings):
    trainer = trainer_of(
        trl.grpo,
        models.policy,
        epsilon_low=epsilon[0],
        epsilon_high=epsilon[1],
        beta=beta,
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        use_vllm=vllm,
        vllm_importance_sampling_correction=vllm,
        max_completion_length=LENGTH,
        current_gradient_accumulation_steps=1,
        _entropy_bonus_enabled=False,
        args=SimpleNamespace(delta=None, use_bias_correction_kl=False, steps_per_generation=1),
        **{key: value for key, value in settings.items() if key != "weights"},
    )
    batch = inputs(
        old_per_token_logps=right(models.old), ref_per_token_logps=right(models.reference)
    )
    if vllm:
        batch["importance_sampling_ratio"] = settings["weights"]
    loss = trainer._compute_loss(trainer.model, batch)
    return loss, trainer._metrics["train"]


def assert_same(model, got, want):
    """Equal losses and parameter gradients, to 1e-6 of the value and of the largest gradient."""
    torch.testing.assert_close(got, want, rtol=1e-6, atol=0.0)
    parameters = list(model.parameters())
    sides = [torch.autograd.grad(loss, parameters) for loss in (got, want)]
    both = [torch.cat([g.flatten() for g in side]) for side in sides]
    assert both[1].abs().max() > 1e-4
    torch.testing.assert_close(*both, rtol=1e-6, atol=1e-9 * float(both[1].abs().max()))


def assert_clips_some(metrics):
    """Ratios are not 1, and the clip counts for some of the responses or tokens, not for all."""
    assert (metrics["ratio"] - 1).abs().min() > 1e-3
    assert 0 < metrics["clipped"].mean() < 1


TOKENS = sum(len(completion) for _, completion in ROLLOUTS)
DIVISORS = {
    "grpo": ("mean", len(ROLLOUTS)),
    "bnpo": ("sum", TOKENS),
    "dapo": ("sum", TOKENS),
    "dr_grpo": ("sum", len(ROLLOUTS) * LENGTH),
}
"""TRL's loss_type as our reduction and the divisor that the learner gives the engine."""
EPSILON = {"token": (0.2, 0.28), "sequence": (0.05, 0.05)}


def test_rloo_is_trls(trl, models):
    got, metrics = ours(models, len(ROLLOUTS), level="sequence_sum", clip_low=0.2, clip_high=0.3)
    want, theirs = trl_rloo(trl, models, epsilon=(0.2, 0.3))
    assert_clips_some(metrics)
    assert metrics["clipped"].mean().item() == pytest.approx(theirs["clip_ratio/region_mean"][0])
    assert_same(models.policy, got, want)


@pytest.mark.parametrize("beta", [0.0, 0.04], ids=lambda beta: f"beta={beta}")
@pytest.mark.parametrize("level", EPSILON, ids=lambda level: f"importance_sampling_level={level}")
@pytest.mark.parametrize("loss_type", DIVISORS, ids=lambda name: f"loss_type={name}")
def test_grpo_is_trls(trl, models, loss_type, level, beta):
    reduction, normaliser = DIVISORS[loss_type]
    low, high = EPSILON[level]
    got, metrics = ours(
        models,
        normaliser,
        level=level,
        reduction=reduction,
        clip_low=low,
        clip_high=high,
        kl=beta,
    )
    want, theirs = trl_grpo(
        trl,
        models,
        epsilon=(low, high),
        beta=beta,
        loss_type=loss_type,
        importance_sampling_level=level,
    )
    assert_clips_some(metrics)
    lengths = torch.tensor([len(c) if level == "token" else 1 for _, c in ROLLOUTS])
    clipped = (metrics["clipped"] * lengths).sum() / lengths.sum()
    assert clipped.item() == pytest.approx(theirs["clip_ratio/region_mean"][0])
    assert_same(models.policy, got, want)


@pytest.mark.parametrize("loss_type", ["grpo", "dapo"], ids=lambda name: f"loss_type={name}")
@pytest.mark.parametrize("level", EPSILON, ids=lambda level: f"importance_sampling_level={level}")
@pytest.mark.parametrize(
    "correction", ["token", "sequence"], ids=lambda c: f"vllm_importance_sampling_mode={c}_truncate"
)
def test_the_sampler_correction_is_trls(trl, models, correction, level, loss_type):
    """The weights are computed where TRL generates, so their formula is written anew."""
    gaps = [old - sampled for old, sampled in zip(models.old, models.sampled, strict=True)]
    if correction == "token":
        weights = right(gaps).exp().clamp(max=CAP)
    else:
        weights = torch.stack([gap.sum() for gap in gaps])[:, None].exp().clamp(max=CAP)
    assert (weights == CAP).any()
    assert (weights < 1).any()
    reduction, normaliser = DIVISORS[loss_type]
    low, high = EPSILON[level]
    got, _ = ours(
        models,
        normaliser,
        tokens=("old", "sampled"),
        level=level,
        reduction=reduction,
        clip_low=low,
        clip_high=high,
        kl=0.04,
        correction=correction,
        cap=CAP,
    )
    want, _ = trl_grpo(
        trl,
        models,
        epsilon=(low, high),
        beta=0.04,
        vllm=True,
        weights=weights,
        loss_type=loss_type,
        importance_sampling_level=level,
    )
    assert_same(models.policy, got, want)


def test_the_first_update_is_trls(trl, models):
    """Where TRL has no old log-probs either, the ratio is 1 with its gradient."""
    got, _ = ours(models, len(ROLLOUTS), tokens=())
    first = SimpleNamespace(**vars(models))
    with torch.no_grad():
        first.old = [logps(models.policy, *rollout) for rollout in ROLLOUTS]
    want, _ = trl_grpo(
        trl, first, epsilon=(0.2, 0.2), loss_type="grpo", importance_sampling_level="token"
    )
    # the loss itself is the mean advantage, 0 up to rounding
    assert_same(models.policy, got + 1, want + 1)
