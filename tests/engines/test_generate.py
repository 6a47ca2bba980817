import logging

import numpy as np
import pytest
import torch

from eva.engines import generate as module
from eva.engines.generate import answer, generate, loop_refusal
from eva.engines.policy import load_policy
from eva.engines.tiny import build_tiny
from eva.errors import GenerationError
from eva.rng import Streams
from eva.types import Message, Prompt, SamplingParams

PARAMS = SamplingParams(n=3, temperature=1.0, top_p=1.0, max_tokens=10)
ASKED = [Prompt.of("Name a colour."), Prompt.of("Hi"), Prompt.of("What is the longest river?")]


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_probed", {})

    def build(**how):
        return load_policy(build_tiny(tmp_path / "-".join(map(str, how.values())), **how))

    return build


def ask(policy, prompts=ASKED, params=PARAMS, *, streams=Streams(0, 1, "answer"), budget=4000):  # noqa: B008
    return answer(policy, prompts, params, streams=streams, version="v", token_budget=budget)


def test_groups_come_back_in_order_with_text_and_tokens(tiny):
    policy = tiny()
    groups = ask(policy)
    assert [group.prompt for group in groups] == ASKED
    for group in groups:
        assert policy.tokenizer.decode(group.prompt_ids).startswith("<|im_start|>user\n")
        assert group.policy == "v"
        assert len(group.responses) == 3
        for one in group.responses:
            shown = policy.tokenizer.decode(one.token_ids, skip_special_tokens=True)
            assert one.text == shown
            assert one.truncated == (one.token_ids[-1] not in policy.end_ids)


def tokens(groups):
    return [[one.token_ids for one in group.responses] for group in groups]


def test_a_response_depends_on_its_prompt_and_stream_alone(tiny):
    policy = tiny()
    answered = tokens(ask(policy))
    assert tokens(ask(policy, ASKED[::-1]))[::-1] == answered
    assert tokens(ask(policy, ASKED[1:2])) == answered[1:2]
    assert tokens(ask(policy, budget=40)) == answered
    assert tokens(ask(policy, streams=Streams(0, 2, "answer"))) != answered


def test_the_same_call_gives_the_same_bits(tiny):
    policy = tiny()
    assert ask(policy) == ask(policy)


def test_the_uniforms_are_those_of_the_named_stream(tiny):
    policy, seen = tiny(), []

    class Spy(Streams):
        def of(self, *keys):
            seen.append(keys)
            return super().of(*keys)

    ask(policy, streams=Spy(0, 1, "answer"))
    assert sorted(seen) == sorted((p.id, i) for p in ASKED for i in range(3))


def test_greedy_responses_are_all_the_same(tiny):
    params = SamplingParams(n=4, temperature=0.0, max_tokens=10)
    for group in ask(tiny(), params=params):
        assert len(group.responses) == 4
        assert len(set(group.responses)) == 1


def test_a_prompt_that_fills_the_context_gets_no_responses(tiny):
    policy = tiny(max_position_embeddings=40)
    long = Prompt.of("x" * 40)
    groups = ask(policy, [long, ASKED[1]])
    assert len(groups[0].prompt_ids) > 40
    assert groups[0].responses == ()
    assert len(groups[1].responses) == 3
    assert ask(policy, [long])[0].responses == ()


def test_near_the_end_of_the_context_a_response_is_cut(tiny):
    policy = tiny(max_position_embeddings=20)
    prompts = [[1] * 17, [1] * 20, [1] * 19, []]
    found = generate(policy, prompts, lambda p, r: np.full(10, 0.5), params=PARAMS, token_budget=99)
    assert [len(group) for group in found] == [3, 0, 3, 0]
    assert all(len(one.token_ids) <= 3 for one in found[0])
    assert [len(one.token_ids) for one in found[2]] == [1, 1, 1]


def test_turns_that_the_template_refuses_get_no_responses_and_a_warning(tiny, caplog):
    policy = tiny(architecture="gemma2")
    odd = Prompt((Message("user", "a"), Message("system", "b"), Message("user", "c")))
    with caplog.at_level(logging.WARNING):
        groups = ask(policy, [odd, ASKED[0]])
    assert [len(group.responses) for group in groups] == [0, 3]
    assert odd.id in caplog.text


@pytest.mark.parametrize("architecture", ["llama", "qwen3", "gemma2"])
def test_the_loop_knows_these(tiny, architecture):
    assert loop_refusal(tiny(architecture=architecture).model, 2000) is None


def test_a_window_that_the_text_outgrows_goes_to_generate(tiny):
    policy = tiny(architecture="gemma2", sliding_window=16)
    assert loop_refusal(policy.model, 16) is None
    assert "window of 16" in loop_refusal(policy.model, 17)
    (group,) = ask(policy, [ASKED[0]])
    for one in group.responses:
        ids = torch.tensor([[*group.prompt_ids, *one.token_ids]])
        with torch.inference_mode():
            plain = policy.model(ids, use_cache=False).logits[0, -len(one.token_ids) - 1 : -1]
        wanted = plain.log_softmax(-1).gather(1, torch.tensor(one.token_ids)[:, None])[:, 0]
        assert torch.tensor(one.logprobs) == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize(
    ("architecture", "size"),
    [
        ("mamba", {"hidden_size": 16, "num_hidden_layers": 1, "state_size": 4}),
        ("gpt2", {"n_embd": 16, "n_layer": 1, "n_head": 2}),
        ("bloom", {"hidden_size": 16, "n_layer": 1, "n_head": 2}),
    ],
)
def test_other_architectures_are_answered_one_way_or_the_other(tiny, architecture, size):
    from transformers import AutoConfig, AutoModelForCausalLM

    policy = tiny()
    torch.manual_seed(0)
    config = AutoConfig.for_model(architecture, vocab_size=261, **size)
    policy.model = AutoModelForCausalLM.from_config(config).eval()
    assert (loop_refusal(policy.model, 50) is None) == (architecture == "gpt2")
    greedy = SamplingParams(n=1, temperature=0.0, max_tokens=6)
    for group in ask(policy, params=greedy):
        ids = list(group.prompt_ids)
        for token in group.responses[0].token_ids:
            with torch.inference_mode():
                logits = policy.model(torch.tensor([ids]), use_cache=False).logits[0, -1]
            assert logits[token].item() == pytest.approx(logits.max().item(), abs=1e-4)
            ids.append(token)


def test_a_model_that_ignores_masks_is_found_out(tiny, monkeypatch):
    policy = tiny()
    forward = policy.model.forward

    def careless(*args, attention_mask=None, position_ids=None, **how):
        return forward(*args, position_ids=position_ids, **how)

    monkeypatch.setattr(policy.model, "forward", careless)
    assert "generate" in loop_refusal(policy.model, 50)


def test_diverged_weights_stop_the_run(tiny):
    policy = tiny()
    policy.model.lm_head.weight.data.fill_(float("nan"))
    with pytest.raises(GenerationError, match="not finite"):
        ask(policy)


def test_bfloat16_answers_by_the_loop(tiny):
    policy = tiny()
    policy.model.to(torch.bfloat16)
    assert loop_refusal(policy.model, 50) is None
    assert all(len(group.responses) == 3 for group in ask(policy))
