"""Adapters: the base is untouched bit for bit, the plain copy is the merged policy."""

from __future__ import annotations

import json

import pytest
import torch
from peft import PeftModel
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

from eva.engines import lora
from eva.engines.lora import LoraSettings, adapter_names, attach, disabled, plain_copy
from eva.errors import ConfigError

IDS = torch.tensor([[1, 2, 3, 4, 5]])


def make(dtype=torch.float32):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=31,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        tie_word_embeddings=True,
    )
    return LlamaForCausalLM(config).to(dtype).eval()


def adapted(settings=None, dtype=torch.float32):
    """A model with an adapter that does something."""
    model = make(dtype)
    attach(model, settings or LoraSettings(rank=4))
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.3)
    return model


def logits(model):
    with torch.no_grad():
        return model(input_ids=IDS, use_cache=False).logits


def test_a_new_adapter_changes_nothing_and_alone_is_trained():
    model, plain = make(), logits(make())
    attach(model, LoraSettings(rank=4))
    assert torch.equal(logits(model), plain)
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    # Seven linear layers in each of two blocks, two factors each.
    assert len(trained) == 28
    assert all("lora_" in name for name in trained)


def test_the_random_factor_depends_on_the_seed_alone():
    torch.manual_seed(5)
    first = make()
    torch.manual_seed(6)
    state = torch.random.get_rng_state()
    attach(first, LoraSettings(seed=3))
    assert torch.equal(torch.random.get_rng_state(), state)
    second, third = make(), make()
    attach(second, LoraSettings(seed=3))
    attach(third, LoraSettings(seed=4))
    weights = [dict(m.named_parameters()) for m in (first, second, third)]
    name = next(n for n in weights[0] if "lora_A" in n)
    assert torch.equal(weights[0][name], weights[1][name])
    assert not torch.equal(weights[0][name], weights[2][name])


def test_the_base_is_the_disabled_adapter():
    model, plain = adapted(), logits(make())
    changed = logits(model)
    assert not torch.allclose(changed, plain)
    with disabled(model):
        assert torch.equal(logits(model), plain)
    assert torch.equal(logits(model), changed)


def test_the_plain_copy_is_the_merged_policy_and_leaves_the_base_as_it_was():
    model = adapted()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    copied = plain_copy(model)
    assert torch.allclose(logits(copied), logits(model), atol=1e-5)
    assert copied.state_dict().keys() == make().state_dict().keys()
    assert not any(p.requires_grad for p in copied.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    # What the adapter leaves alone is shared, the embedding with the output layer too.
    shared = copied.get_output_embeddings().weight
    assert shared is copied.get_input_embeddings().weight
    assert shared.data_ptr() == model.get_input_embeddings().weight.data_ptr()


def test_the_plain_copy_in_another_type():
    model = make()
    copied = plain_copy(model, torch.bfloat16)
    assert {p.dtype for p in copied.parameters()} == {torch.bfloat16}
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert torch.allclose(logits(copied).float(), logits(model), atol=0.05)


def test_the_adapter_follows_the_type_of_its_layer():
    model = adapted(dtype=torch.float64)
    assert {p.dtype for p in model.parameters()} == {torch.float64}


# peft's own model class asks transformers by a name that is on its way out.
@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
def test_peft_loads_the_adapter_by_the_names_in_the_file(tmp_path):
    model = adapted()
    weights = dict(model.named_parameters())
    names = adapter_names(model)
    file = {stored: weights[name].detach() for name, stored in names.items()}
    save_file(file, tmp_path / "adapter_model.safetensors")
    LoraSettings(rank=4).config().save_pretrained(str(tmp_path))
    loaded = PeftModel.from_pretrained(make(), str(tmp_path))
    assert torch.allclose(logits(loaded), logits(model), atol=1e-6)


def test_the_file_of_a_config_is_the_same_in_every_process(tmp_path):
    attach(make(), LoraSettings()).save_pretrained(str(tmp_path))
    targets = json.loads((tmp_path / "adapter_config.json").read_text())["target_modules"]
    assert len(targets) > 1
    assert targets == sorted(targets)


def test_targets_can_be_chosen():
    model = make()
    attach(model, LoraSettings(targets=("q_proj",)))
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    assert len(trained) == 4
    assert all("q_proj" in name for name in trained)


@pytest.mark.parametrize(
    ("targets", "message"),
    [(("q_prj",), "did you mean 'q_proj'"), (("lm_head",), "Known: down_proj, gate_proj, k_proj")],
)
def test_impossible_targets_are_refused(targets, message):
    with pytest.raises(ConfigError, match=message):
        attach(make(), LoraSettings(targets=targets))


def test_a_second_adapter_is_refused():
    with pytest.raises(ConfigError, match="carries an adapter already"):
        attach(adapted(), LoraSettings())


def test_the_random_state_of_gpus_is_not_touched(monkeypatch):
    seeded = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    attach(make(), LoraSettings(seed=3))
    assert 3 not in seeded


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_layer_is_pefts(dtype):
    torch.manual_seed(2)
    layer = dict(lora._layers(adapted(dtype=dtype)))["model.layers.0.mlp.up_proj"]
    inputs = torch.randn(2, 5, 16, dtype=dtype)
    found = []
    for kind in (type(layer), lora.LoraLinear):
        layer.zero_grad()
        x = inputs.clone().requires_grad_()
        out = kind.forward(layer, x)
        out.float().square().sum().backward()
        factors = [layer.lora_A["default"].weight, layer.lora_B["default"].weight]
        found.append([out, x.grad, *(factor.grad.clone() for factor in factors)])
    assert type(layer) is not lora.LoraLinear
    for ours, pefts in zip(*found, strict=True):
        assert ours.dtype == pefts.dtype
        loose = 0.02 if dtype == torch.bfloat16 else 1e-5
        assert (ours - pefts).norm() <= loose * pefts.norm()


def test_under_autocast_the_layer_is_pefts():
    layer = dict(lora._layers(adapted()))["model.layers.0.mlp.up_proj"]
    inputs = torch.randn(5, 16)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer(inputs), lora.LoraLinear.forward(layer, inputs))
