"""The losses against TRL's own loss code, value and parameter gradient, in float64.

TRL's trainers are made without their constructors, which only prepare data and models; the methods
that compute the loss run unchanged, on a batch padded as TRL pads it. Our side sees every sequence
alone and unpadded.
"""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from types import SimpleNamespace

import pytest
import torch

from eva.solver.objectives import dpo, ipo, orpo, rpo, simpo, sppo_hard
from eva.types import Ragged

PAIRS = (
    ((5, 9, 2), (7, 3, 3, 11), (7, 8)),
    ((1, 4), (6, 2, 12), (13, 13, 5, 9, 10)),
    ((3, 3, 8, 2), (14,), (4, 15, 6)),
)
"""(prompt, chosen, rejected) of unequal lengths."""
ONE_TOKEN_PROMPTS = (((5,), (7, 3, 3), (7, 8)), ((1,), (6, 2, 12), (13, 5, 9, 10)))


@pytest.fixture(scope="module")
def trl():
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "TRL_EXPERIMENTAL_SILENCE"):
            patch.setenv(name, "1")
        from trl.experimental.cpo import CPOTrainer
        from trl.experimental.orpo import ORPOTrainer
        from trl.trainer.dpo_trainer import DPOTrainer

        yield SimpleNamespace(dpo=DPOTrainer, cpo=CPOTrainer, orpo=ORPOTrainer)


@pytest.fixture(scope="module")
def models():
    """Policy and reference; GPT-2 because Llama's norms and rotations compute in float32."""
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
    made = []
    for seed in (0, 1):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            made.append(GPT2LMHeadModel(config).double())
    return made


def completion_logps(model, prompt, completion):
    ids = torch.tensor([*prompt, *completion])
    logps = model(ids[None]).logits[0, :-1].log_softmax(-1)
    return logps.gather(-1, ids[1:, None])[len(prompt) - 1 :, 0]


def slots(model, pairs):
    made = []
    for slot in (1, 2):
        pieces = [completion_logps(model, pair[0], pair[slot]) for pair in pairs]
        made.append(Ragged(torch.cat(pieces), tuple(len(piece) for piece in pieces)))
    return tuple(made)


def ours(models, pairs, objective):
    policy, reference = models
    with torch.no_grad():
        fixed = slots(reference, pairs)
    return objective(slots(policy, pairs), fixed, {}).values


def padded(rows, fill):
    width = max(map(len, rows))
    return torch.tensor([[*row, *[fill] * (width - len(row))] for row in rows])


class FusedHead:
    """What `DPOTrainer` calls: the model with TRL's fused head, whose kernel is float32, undone."""

    def __init__(self, model):
        self.model, self.training = model, True

    def __call__(self, *, input_ids, attention_mask, labels, **_):
        logits = self.model(input_ids, attention_mask=attention_mask, use_cache=False).logits
        logps = logits[:, :-1].log_softmax(-1).gather(-1, input_ids[:, 1:, None])[..., 0]
        unused = torch.zeros_like(logps)
        return SimpleNamespace(
            log_probs=logps.masked_fill(labels[:, 1:] == -100, 0.0),
            entropy=unused,
            mean_logits=unused,
            is_top1=unused.bool(),
        )


ACCELERATOR = SimpleNamespace(
    device=torch.device("cpu"), gather=lambda x: x, gather_for_metrics=lambda x: x
)


def trl_dpo(trl, models, pairs, *, loss_types, beta, weights=(1.0,)):
    policy, reference = models
    rows = [(p, c) for p, c, _ in pairs] + [(p, r) for p, _, r in pairs]
    trainer = object.__new__(trl.dpo)
    vars(trainer).update(
        model=FusedHead(policy),
        accelerator=ACCELERATOR,
        aux_loss_enabled=False,
        ld_alpha=None,
        precompute_ref_logps=True,
        f_divergence_type="reverse_kl",
        loss_types=list(loss_types),
        loss_weights=list(weights),
        beta=beta,
        use_weighting=False,
        _metrics={"train": defaultdict(list)},
        _total_train_tokens=0,
        _tp_size=1,
    )
    with torch.no_grad():
        ref = [completion_logps(reference, p, c).sum() for p, c in rows]
    inputs = {
        "input_ids": padded([p + c for p, c in rows], 0),
        "attention_mask": padded([[1] * len(p + c) for p, c in rows], 0),
        "completion_mask": padded([[0] * len(p) + [1] * len(c) for p, c in rows], 0),
        "ref_chosen_logps": torch.stack(ref[: len(pairs)]),
        "ref_rejected_logps": torch.stack(ref[len(pairs) :]),
    }
    return trainer._compute_loss(trainer.model, inputs, return_outputs=False)


def trl_reference_free(cls, model, pairs, **settings):
    trainer = object.__new__(cls)
    vars(trainer).update(
        accelerator=ACCELERATOR,
        is_encoder_decoder=False,
        aux_loss_enabled=False,
        pad_token_id=0,
        padding_value=0,
        **settings,
    )
    batch = {}
    for name, slot in (("chosen", 1), ("rejected", 2)):
        rows = [pair[0] + pair[slot] for pair in pairs]
        batch[f"{name}_input_ids"] = padded(rows, 0)
        batch[f"{name}_attention_mask"] = padded([[1] * len(row) for row in rows], 0)
        batch[f"{name}_labels"] = padded(
            [(-100,) * len(pair[0]) + pair[slot] for pair in pairs], -100
        )
    loss, _ = trainer.get_batch_loss_metrics(model, batch)
    return loss


def trl_orpo(trl, model, pairs, coefficient, monkeypatch):
    # odds_ratio_loss casts to float32; the same code in float64 is what there is to compare
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    return trl_reference_free(trl.orpo, model, pairs, beta=coefficient)


def assert_same(model, got, want):
    """Equal losses and parameter gradients, to 1e-6 of the value and of the largest gradient."""
    torch.testing.assert_close(got, want, rtol=1e-6, atol=0.0)
    parameters = list(model.parameters())
    sides = [torch.autograd.grad(loss, parameters) for loss in (got, want)]
    both = [torch.cat([g.flatten() for g in side]) for side in sides]
    assert both[1].abs().max() > 1e-4
    torch.testing.assert_close(*both, rtol=1e-6, atol=1e-9 * float(both[1].abs().max()))


@pytest.mark.parametrize(
    ("objective", "loss_type", "beta"),
    [(dpo, "sigmoid", 0.05), (dpo, "sigmoid", 1.0), (partial(ipo, reduction="mean"), "ipo", 0.6)],
)
def test_dpo_and_ipo_mean_are_trls(trl, models, objective, loss_type, beta):
    got = ours(models, PAIRS, partial(objective, beta=beta)).mean()
    want = trl_dpo(trl, models, PAIRS, loss_types=[loss_type], beta=beta)
    assert_same(models[0], got, want)


def test_ipo_sum_is_the_formula_on_token_sums(trl, models):
    got = ours(models, PAIRS, partial(ipo, beta=0.6, reduction="sum"))
    policy, reference = models
    ratios = [
        [completion_logps(policy, p[0], p[s]).sum() - completion_logps(reference, p[0], p[s]).sum()]
        for s in (1, 2)
        for p in PAIRS
    ]
    ratio = torch.stack([r[0] for r in ratios])
    trainer = object.__new__(trl.cpo)
    vars(trainer).update(accelerator=ACCELERATOR, loss_type="ipo", alpha=0.0, beta=0.6)
    want, _, _ = trainer.cpo_loss(ratio[:3], ratio[3:])
    assert_same(policy, got.mean(), want.mean())


def test_sppo_hard_is_half_of_trls(trl, models):
    got = ours(models, PAIRS, partial(sppo_hard, beta=0.1)).mean()
    want = trl_dpo(trl, models, PAIRS, loss_types=["sppo_hard"], beta=0.1)
    assert_same(models[0], got, want / 2)


def test_rpo_is_trls_sigmoid_and_sft_one_pair_at_a_time(trl, models):
    """TRL's `sft` is a mean over the batch's tokens, ours over each response's: equal for one."""
    for pair in PAIRS:
        got = ours(models, [pair], partial(rpo, beta=0.1, alpha=0.7)).mean()
        want = trl_dpo(
            trl, models, [pair], loss_types=["sigmoid", "sft"], weights=[1.0, 0.7], beta=0.1
        )
        assert_same(models[0], got, want)


def test_rpo_differs_from_trl_by_the_mean_over_the_batch(trl, models):
    values = ours(models, PAIRS, partial(rpo, beta=0.1, alpha=0.7))
    want = trl_dpo(trl, models, PAIRS, loss_types=["sigmoid", "sft"], weights=[1, 0.7], beta=0.1)
    logps = [completion_logps(models[0], prompt, chosen) for prompt, chosen, _ in PAIRS]
    means = torch.stack([piece.mean() for piece in logps])
    got = (values + 0.7 * means).mean() - 0.7 * torch.cat(logps).mean()
    assert_same(models[0], got, want)
    assert abs(values.mean() - want) > 1e-4


def test_simpo_is_trls(trl, models):
    got = ours(models, PAIRS, partial(simpo, beta=2.0, gamma=1.5)).mean()
    want = trl_reference_free(
        trl.cpo,
        models[0],
        PAIRS,
        beta=2.0,
        simpo_gamma=1.5,
        loss_type="simpo",
        cpo_alpha=0.0,
        alpha=0.0,
        label_smoothing=0.0,
    )
    assert_same(models[0], got, want)


def test_orpo_is_trls_where_there_is_no_prompt_to_count(trl, models, monkeypatch):
    """With one-token prompts TRL's likelihood has no prompt token; equal lengths do the rest."""
    got = ours(models, ONE_TOKEN_PROMPTS, partial(orpo, coefficient=0.5)).mean()
    want = trl_orpo(trl, models[0], ONE_TOKEN_PROMPTS, 0.5, monkeypatch)
    assert_same(models[0], got, want)


def test_orpo_differs_from_trl_by_the_prompt_in_the_likelihood(trl, models, monkeypatch):
    policy = models[0]
    values = ours(models, PAIRS, partial(orpo, coefficient=0.5))
    means = torch.stack([completion_logps(policy, p, c).mean() for p, c, _ in PAIRS])
    with_prompt = torch.cat([completion_logps(policy, p[:1], p[1:] + c) for p, c, _ in PAIRS])
    got = (values + means).mean() - with_prompt.mean()
    want = trl_orpo(trl, policy, PAIRS, 0.5, monkeypatch)
    assert_same(policy, got, want)
    assert abs(values.mean() - want) > 1e-3
