from __future__ import annotations

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    Gemma2ForSequenceClassification,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
)

from eva.engines.tiny import build_tiny
from eva.errors import ConfigError
from eva.rewards.classifier import ClassifierReward, head_of, load_model, row_batches, widen_head
from eva.rewards.conversation import Row
from eva.types import Group, Message, Prompt, Response

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "sea", "sky", "blue", "wave"]


def causal(folder, kind=LlamaForSequenceClassification, *, labels=1, **tiny):
    """Write a tiny random causal reward model with a chat template."""
    build_tiny(folder, **tiny)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = load_model(folder, dtype=torch.float32, new_head=True, num_labels=labels)
        torch.nn.init.normal_(head_of(model)[1].weight)
    assert isinstance(model, kind)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return causal(tmp_path_factory.mktemp("llama"), pad_token=False)


@pytest.fixture(scope="module")
def gemma(tmp_path_factory):
    return causal(
        tmp_path_factory.mktemp("gemma"), Gemma2ForSequenceClassification, architecture="gemma2"
    )


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bert")
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", model_max_length=16,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    ).save_pretrained(folder)  # fmt: skip
    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=16, num_labels=1, initializer_range=0.5,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertForSequenceClassification(config).save_pretrained(folder)
    return folder


def group(*texts, prompt=None):
    return Group(prompt or Prompt.of("sea ?"), (), tuple(Response(t, ()) for t in texts), "p")


def load(folder, **settings):
    return ClassifierReward.load(folder, **settings)


TEXTS = ("sky", "blue wave sea sky blue wave", "", "wave wave", "sky blue")


@pytest.mark.parametrize("name", ["llama", "gemma", "bert"])
@pytest.mark.parametrize("budget", [1, 64, 10_000])
def test_a_batch_scores_as_each_alone_without_padding(name, budget, request):
    folder = request.getfixturevalue(name)
    groups = [group(*TEXTS), group(), group(*TEXTS[::-1], prompt=Prompt.of("blue"))]
    scored = load(folder, batch_tokens=budget).score(groups)
    assert [one.group for one in scored] == groups
    plain = load_model(folder, dtype=torch.float32)
    write = load(folder).classifier.conversations
    for one in scored:
        for response, reward in zip(one.group.responses, one.rewards, strict=True):
            row = write.encode(one.prompt.messages, response.text)
            types = {} if row.types is None else {"token_type_ids": torch.tensor([row.types])}
            with torch.inference_mode():
                alone = plain(input_ids=torch.tensor([row.ids]), **types).logits.item()
            assert reward == pytest.approx(alone, abs=1e-5)
    assert len(set(scored[0].rewards)) == len(TEXTS)


def test_without_a_pad_token_the_last_token_counts_whatever_it_is(llama):
    reward = load(llama).classifier
    assert reward.pad_id is None
    # 0 and 1 are what a padding token would be looked for first.
    rows = [Row((9, 8, 0)), Row((9, 1)), Row((9, 8, 7, 6, 2)), Row((0,)), Row((5, 1, 1, 1))]
    with torch.inference_mode():
        together = reward.rewards(rows)
        model = load_model(llama, dtype=torch.float32)
        states = [model.model(torch.tensor([row.ids])).last_hidden_state[0, -1] for row in rows]
        want = torch.stack([model.score(state)[0] for state in states])
    assert together.tolist() == pytest.approx(want.tolist(), abs=1e-5)


def test_equal_answers_of_a_call_get_equal_rewards(llama):
    (one,) = load(llama).score([group("sky", "a much longer one than that", "sky")])
    assert one.rewards[0] == one.rewards[2]


def test_too_long_is_unscored_and_never_cut(bert, llama):
    (one,) = load(bert).score([group("sky", "sky " * 30)])
    assert one.scores[0].reward is not None
    assert (one.scores[1].reward, one.scores[1].cause) == (None, "too_long")
    assert "at most 16" in one.scores[1].detail
    (one,) = load(llama, max_length=60).score([group("sky", "sky " * 10)])
    assert [score.cause for score in one.scores] == ["", "too_long"]


def test_turns_that_the_template_refuses_cost_that_prompt_alone(gemma):
    refused = load(gemma)
    template = refused.classifier.conversations.tokenizer.chat_template
    strict = "{% if messages | length > 2 %}{{ raise_exception('one question') }}{% endif %}"
    refused.classifier.conversations.tokenizer.chat_template = strict + template
    turns = Message("user", "a"), Message("assistant", "b"), Message("user", "c")
    bad, good = refused.score([group("x", prompt=Prompt(turns)), group("x")])
    assert bad.scores[0].cause == "raised"
    assert "one question" in bad.scores[0].detail
    assert good.rewards[0] is not None


def test_weights_that_are_no_numbers_leave_the_responses_unscored(llama):
    broken = load(llama)
    with torch.no_grad():
        broken.classifier.model.score.weight.fill_(float("nan"))
    (one,) = broken.score([group("sky")])
    assert one.scores[0].cause == "nan"


def test_of_two_labels_the_reward_is_the_log_odds_of_the_second(tmp_path):
    folder = causal(tmp_path, labels=2)
    reward = load(folder)
    (one,) = reward.score([group("sky")])
    row = reward.classifier.conversations.encode(one.prompt.messages, "sky")
    with torch.inference_mode():
        logits = load_model(folder, dtype=torch.float32)(torch.tensor([row.ids])).logits[0]
    odds = torch.softmax(logits, -1)
    assert one.rewards[0] == pytest.approx(torch.log(odds[1] / odds[0]).item(), abs=1e-4)


def test_other_numbers_of_labels_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"5 labels; expected 1 .a reward. or 2"):
        load(causal(tmp_path, labels=5))


def test_a_model_that_was_never_a_reward_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"lacks the weights \['score.weight'\]"):
        load(build_tiny(tmp_path))


def test_pickled_weights_are_not_loaded(tmp_path):
    causal(tmp_path)
    model = load_model(tmp_path, dtype=torch.float32)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ConfigError, match="safetensors"):
        load(tmp_path)


def test_a_source_that_is_nowhere_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="nowhere"):
        load(tmp_path / "nowhere")


@pytest.mark.parametrize(("name", "words"), [("bert", "knows no word"), ("llama", "no tokenizer")])
def test_a_source_without_tokenizer_is_refused(name, words, request, tmp_path):
    load_model(request.getfixturevalue(name), dtype=torch.float32).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=words):
        load(tmp_path)


def test_in_bfloat16_the_head_still_tells_close_rewards_apart(llama):
    model = load_model(llama, dtype=torch.bfloat16)
    widen_head(model)
    with torch.inference_mode():
        model.score.weight.mul_(1000)
        logits = model(torch.tensor([[5, 6, 7]])).logits
    assert logits.dtype == torch.float32
    assert logits.item() != logits.bfloat16().item()


def test_batches_fill_the_budget_from_the_longest_on():
    rows = [Row((0,) * n) for n in (3, 9, 1, 3, 2, 4)]
    assert row_batches(rows, budget=8) == [[1], [5, 0], [3, 4], [2]]
    assert row_batches([], budget=8) == []


def test_an_encoder_without_its_head_can_be_given_a_new_one(tmp_path, bert):
    body = BertModel.from_pretrained(bert)
    body.save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=r"classifier.weight"):
        load_model(tmp_path, dtype=torch.float32, num_labels=1)
    model = load_model(tmp_path, dtype=torch.float32, new_head=True, num_labels=1)
    name, head = head_of(model)
    assert (name, tuple(head.weight.shape)) == ("classifier", (1, 16))
    assert not isinstance(model, LlamaForCausalLM)
