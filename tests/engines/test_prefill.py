import pytest
import torch

from eva.engines.policy import load_policy
from eva.engines.prefill import common, prefill, shared_start
from eva.engines.tiny import build_tiny

START = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3] * 3
PROMPTS = [[1, 2, 3, 4, 5, 6, 7, 8, 9], [70], [71, 72, 73], [40, 41, 42, 43], [9] * 30, [8, 7]]


@pytest.fixture(scope="module", params=["llama", "qwen3", "gemma2"])
def policy(request, tmp_path_factory):
    return load_policy(build_tiny(tmp_path_factory.mktemp("tiny"), architecture=request.param))


def plain(policy, prompt):
    return policy.model(torch.tensor([prompt]), use_cache=False).logits[0, -1]


@torch.inference_mode()
def test_prefill_pads_without_a_trace(policy):
    logits, cache = prefill(policy.model, PROMPTS, pad_id=policy.pad_id)
    assert cache.get_seq_length() == 30
    for row, prompt in zip(logits, PROMPTS, strict=True):
        assert row == pytest.approx(plain(policy, prompt), abs=1e-4)
    head = policy.model.get_output_embeddings()
    assert not head._forward_pre_hooks


@torch.inference_mode()
def test_a_shared_start_is_computed_once_and_leaves_no_trace(policy):
    prompts = [[*START, *prompt] for prompt in PROMPTS]
    start = shared_start(policy.model, prompts, pad_id=policy.pad_id)
    assert start.get_seq_length() == len(START)
    logits, cache = prefill(policy.model, prompts, pad_id=policy.pad_id, start=start)
    assert cache.get_seq_length() == 60
    # What it holds is as good for other prompts.
    again, whole = prefill(policy.model, prompts[1:3], pad_id=policy.pad_id, start=start)
    for row, prompt in zip([*logits, *again], [*prompts, *prompts[1:3]], strict=True):
        assert row == pytest.approx(plain(policy, prompt), abs=1e-4)
    _, own = prefill(policy.model, prompts[1:3], pad_id=policy.pad_id)
    for (keys, values, *_), (own_keys, own_values, *_) in zip(whole, own, strict=True):
        assert torch.allclose(keys, own_keys, atol=1e-4)
        assert torch.allclose(values, own_values, atol=1e-4)


@torch.inference_mode()
def test_a_start_that_saves_little_is_not_computed_apart(policy):
    pad_id = policy.pad_id
    assert shared_start(policy.model, [[1, 2, 3, 4], [1, 2, 3, 5]], pad_id=pad_id) is None
    assert shared_start(policy.model, [START * 5], pad_id=pad_id) is None
    assert shared_start(policy.model, PROMPTS, pad_id=pad_id) is None


def test_every_prompt_keeps_a_token_of_its_own():
    assert common([[1, 2, 3]]) == 2
    assert common([[1, 2], [1, 2], [1, 2, 3]]) == 1
    assert common([(1, 2, 9), [1, 2, 3, 4], [1, 2, 7]]) == 2
    assert common([[1], [1, 2]]) == 0
    assert common([[1, 2], [2, 1]]) == 0
