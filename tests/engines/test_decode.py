from collections import deque

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from eva.engines.decode import Job, Unit, bands, decode, take
from eva.engines.policy import load_policy
from eva.engines.tiny import build_tiny
from eva.types import SamplingParams

PROMPTS = [[1, 2, 3, 4, 5, 6, 7, 8, 9], [70], [71, 72, 73], [40, 41, 42, 43], [9] * 30, [8, 7]]


@pytest.fixture(scope="module", params=["llama", "qwen3", "gemma2"])
def policy(request, tmp_path_factory):
    return load_policy(build_tiny(tmp_path_factory.mktemp("tiny"), architecture=request.param))


def draws(prompt, response):
    return np.random.default_rng([prompt, response]).random(64)


def job(policy, prompts=PROMPTS, *, n=3, budget=4000, room=12, draws=draws, **sampling):
    params = SamplingParams(n=n, **({"temperature": 1.0, "top_p": 1.0} | sampling))
    rooms = [room] * len(prompts)
    return Job(prompts, rooms, draws, params, policy.end_ids, policy.pad_id, budget)


def run(policy, *args, **how):
    with torch.inference_mode():
        return decode(policy.model, job(policy, *args, **how))


def tokens(answers):
    return [[one.token_ids for one in group] for group in answers]


def test_greedy_tokens_are_those_of_generate(policy):
    answers = run(policy, n=1, room=24, temperature=0.0)
    for prompt, (sampled,) in zip(PROMPTS, answers, strict=True):
        output = policy.model.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            do_sample=False,
            max_new_tokens=24,
            eos_token_id=sorted(policy.end_ids),
            pad_token_id=policy.pad_id,
        )
        assert list(sampled.token_ids) == output[0, len(prompt) :].tolist()


def test_logprobs_are_those_of_a_plain_forward_pass(policy):
    for prompt, group in zip(PROMPTS, run(policy, temperature=0.7, top_p=0.9), strict=True):
        for sampled in group:
            ids = torch.tensor([[*prompt, *sampled.token_ids]])
            with torch.inference_mode():
                plain = policy.model(ids, use_cache=False).logits[0].log_softmax(-1)
            wanted = plain[len(prompt) - 1 : -1].gather(1, ids[0, len(prompt) :, None])[:, 0]
            assert torch.tensor(sampled.logprobs) == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize("budget", [1, 50, 130, 300])
def test_the_make_up_of_the_batch_changes_nothing(policy, budget):
    assert tokens(run(policy, budget=budget)) == tokens(run(policy))


def test_a_prompt_alone_gets_the_same_responses(policy):
    together = tokens(run(policy))
    for i, prompt in enumerate(PROMPTS):
        alone = run(policy, [prompt], draws=lambda _, response, i=i: draws(i, response))
        assert tokens(alone) == [together[i]]


def test_a_start_that_all_share_changes_nothing(policy):
    start = [3, 1, 4, 1, 5, 9, 2, 6] * 4
    prompts = [[*start, *prompt] for prompt in PROMPTS]
    together = run(policy, prompts)
    for i, prompt in enumerate(prompts):
        (alone,) = run(policy, [prompt], draws=lambda _, response, i=i: draws(i, response))
        assert tokens([alone]) == tokens([together[i]])
        for one, other in zip(alone, together[i], strict=True):
            assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)


def test_more_responses_leave_the_first_ones_alone(policy):
    more = tokens(run(policy, n=5, budget=100))
    assert [group[:2] for group in more] == tokens(run(policy, n=2))
    assert all(len(set(group)) > 1 for group in more)


def test_finish_reasons(policy):
    sampled = [one for group in run(policy, n=8) for one in group]
    stopped = [one for one in sampled if one.finish == "stop"]
    cut = [one for one in sampled if one.finish == "length"]
    assert stopped
    assert cut
    assert all(one.token_ids[-1] in policy.end_ids for one in stopped)
    assert all(len(one.token_ids) == 12 for one in cut)
    for one in sampled:
        assert not policy.end_ids & set(one.token_ids[:-1])
        assert len(one.token_ids) == len(one.logprobs)
    assert not any(one.token_ids[-1] in policy.end_ids for one in cut)


def test_each_prompt_has_its_own_room(policy):
    wide = job(policy, room=20)
    narrow = Job(**{f: getattr(wide, f) for f in wide.__slots__} | {"rooms": [1, 2, 3, 4, 5, 20]})
    with torch.inference_mode():
        answers = decode(policy.model, narrow)
    for room, group in zip(narrow.rooms, answers, strict=True):
        assert all(len(one.token_ids) <= room for one in group)
    assert [g[:1] for g in tokens(answers)[5]] == [g[:1] for g in tokens(run(policy, room=20))[5]]


def test_no_prompts_no_answers(policy):
    assert run(policy, []) == []


@given(st.lists(st.integers(1, 500), max_size=40))
def test_bands_hold_everything_once_and_are_narrow(widths):
    cut = bands(widths)
    assert sorted(i for band in cut for i in band) == list(range(len(widths)))
    for band in cut:
        inside = [widths[i] for i in band]
        assert inside == sorted(inside, reverse=True)
        assert inside[0] <= 2 * inside[-1]


def test_units_are_taken_while_they_fit_and_are_alike():
    queue = deque([Unit(0, range(4)), Unit(1, range(4)), Unit(2, range(4))])
    assert [unit.prompt for unit in take(queue, 9)] == [0, 1]
    assert take(queue, 3) == []
    mixed = deque([Unit(0, range(2)), Unit(0, range(2, 3))])
    assert len(take(mixed, 9)) == 1
