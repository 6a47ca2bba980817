import numpy as np
import pytest
import torch
from transformers import GenerationConfig

from eva.engines.decode import Job, decode
from eva.engines.fallback import decode_slowly
from eva.engines.policy import load_policy
from eva.engines.tiny import build_tiny
from eva.types import SamplingParams

PROMPTS = [[1, 2, 3, 4, 5, 6, 7, 8, 9], [70], [71, 72, 73], [9] * 30]


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    return load_policy(build_tiny(tmp_path_factory.mktemp("tiny")))


def job(policy, *, budget=4000, rooms=(12, 12, 5, 12), **sampling):
    def draws(prompt, response):
        return np.random.default_rng([prompt, response]).random(12)

    params = SamplingParams(n=3, **sampling)
    return Job(PROMPTS, rooms, draws, params, policy.end_ids, policy.pad_id, budget)


def assert_same(fast, slow):
    for these, those in zip(fast, slow, strict=True):
        for a, b in zip(these, those, strict=True):
            assert (a.token_ids, a.finish) == (b.token_ids, b.finish)
            assert a.logprobs == pytest.approx(b.logprobs, abs=1e-4)


@pytest.mark.parametrize("budget", [30, 150, 4000])
@pytest.mark.parametrize("sampling", [{"temperature": 1.0, "top_p": 0.9}, {"temperature": 0.0}])
def test_it_draws_what_the_loop_draws(policy, budget, sampling):
    asked = job(policy, budget=budget, **sampling)
    with torch.inference_mode():
        assert_same(decode(policy.model, asked), decode_slowly(policy.model, asked))


def test_the_models_own_sampling_settings_stay_out(policy):
    asked, kept = job(policy), policy.model.generation_config
    plain = decode_slowly(policy.model, asked)
    mixed = GenerationConfig(
        repetition_penalty=3.0, do_sample=True, top_k=1, min_new_tokens=9, eos_token_id=5
    )
    policy.model.generation_config = mixed
    try:
        assert_same(plain, decode_slowly(policy.model, asked))
        assert policy.model.generation_config is mixed
    finally:
        policy.model.generation_config = kept
