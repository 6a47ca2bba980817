import math

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoTokenizer, LlamaModel

from eva.engines.tiny import build_tiny
from eva.errors import RewardError
from eva.rewards.armorm import ARCHITECTURE, ArmoRM, last_start
from eva.rewards.classifier import ClassifierReward, load_model, make_classifier, widen_head
from eva.rewards.conversation import Row
from eva.types import Group, Message, Prompt, Response

LLAMA_3 = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
    "{{ m.content }}<|eot_id|>{% endfor %}{% if add_generation_prompt %}"
    "<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
SHAPE = {"num_objectives": 3, "gating_hidden_dim": 8, "gating_n_hidden": 2, "gating_temperature": 5}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny random model with the files of ArmoRM: its names of layers, its config."""
    path = build_tiny(tmp_path_factory.mktemp("armorm"))
    tokenizer = AutoTokenizer.from_pretrained(path)
    tokenizer.chat_template = LLAMA_3
    tokenizer.save_pretrained(path)
    config = AutoConfig.from_pretrained(path)
    config.update(SHAPE | {"architectures": [ARCHITECTURE]})
    weights = {k: v for k, v in load_file(path / "model.safetensors").items() if "lm_head" not in k}
    draw = torch.Generator().manual_seed(1)

    def random(*shape):
        return torch.randn(*shape, generator=draw)

    weights |= {
        "regression_layer.weight": random(3, 64),
        "reward_transform_matrix": random(3, 3),
        "gating.logit_scale": torch.tensor([1.5]),
        "gating.layers.0.weight": random(8, 64),
        "gating.layers.0.bias": random(8),
        "gating.layers.1.weight": random(8, 8),
        "gating.layers.1.bias": random(8),
        "gating.layers.2.weight": random(3, 8),
        "gating.layers.2.bias": random(3),
    }
    save_file(weights, path / "model.safetensors", metadata={"format": "pt"})
    config.save_pretrained(path)
    return path


def by_hand(folder, ids):
    """The score of one conversation from the file's tensors, in plain sums."""
    w = load_file(folder / "model.safetensors")
    body = LlamaModel.from_pretrained(folder).train(False)
    with torch.inference_mode():
        states = body(torch.tensor([ids]))[0][0]
    answer = ClassifierReward.load(folder).classifier.model.answer_ids
    (end,) = [i for i in range(len(ids)) if tuple(ids[i : i + len(answer)]) == answer][-1:]
    x = states[end]
    for layer in (0, 1):
        x = (w[f"gating.layers.{layer}.weight"] @ x + w[f"gating.layers.{layer}.bias"]).clamp(min=0)
    x = (w["gating.layers.2.weight"] @ x + w["gating.layers.2.bias"]) / 5
    exps = [math.exp(value) for value in x.tolist()]
    weights = [1.5 * value / sum(exps) for value in exps]
    rewards = (w["regression_layer.weight"] @ states[-1]).tolist()
    turned = [
        sum(rewards[i] * w["reward_transform_matrix"][i, j].item() for i in range(3))
        for j in range(3)
    ]
    return sum(a * b for a, b in zip(weights, turned, strict=True))


@pytest.mark.filterwarnings("ignore:Some weights")
def test_the_score_is_that_of_its_formula_whatever_the_batch(folder):
    reward = ClassifierReward.load(folder)
    prompt = Prompt((Message("user", "a"), Message("assistant", "b"), Message("user", "sea?")))
    texts = ("blue", "a much longer answer", "")
    (one,) = reward.score([Group(prompt, (), tuple(Response(t, ()) for t in texts), "p")])
    write = reward.classifier.conversations
    want = [by_hand(folder, list(write.encode(prompt.messages, text).ids)) for text in texts]
    assert list(one.rewards) == pytest.approx(want, rel=1e-4, abs=1e-4)
    assert len({round(value, 3) for value in want}) == 3


def test_the_gate_reads_the_prompt_alone(folder):
    model = ClassifierReward.load(folder).classifier.model
    ends = last_start([9, *model.answer_ids, 4, 4, *model.answer_ids, 7], model.answer_ids)
    assert ends == 1 + len(model.answer_ids) + 2


def test_a_conversation_without_an_answer_s_turn_is_an_error(folder):
    reward = ClassifierReward.load(folder)
    with pytest.raises(RewardError, match="expected Llama 3's chat template"):
        reward.classifier.rewards([Row((5, 6, 7))])


def test_the_head_computes_in_float32_where_the_body_does_not(folder):
    model = load_model(folder, dtype=torch.bfloat16)
    assert isinstance(model, ArmoRM)
    widen_head(model)
    classifier = make_classifier(model, folder)
    row = classifier.conversations.encode((Message("user", "sea?"),), "blue")
    assert model.model.embed_tokens.weight.dtype == torch.bfloat16
    with torch.inference_mode():
        assert classifier.outputs([row]).dtype == torch.float32
