import pytest
import torch

from eva.engines.cache import SlotCache
from eva.engines.decode import prefill
from eva.engines.lora import LoraSettings, attach
from eva.engines.memory import Workload, estimate, read_shape
from eva.engines.policy import load_policy
from eva.engines.tiny import build_tiny
from eva.errors import ConfigError

WORK = Workload(train_tokens=256, longest=64, answer_tokens=320, answer_rows=5)


@pytest.fixture(scope="module", params=["llama", "qwen3", "gemma2"])
def folder(request, tmp_path_factory):
    return build_tiny(tmp_path_factory.mktemp("tiny"), architecture=request.param)


def test_parameters_are_those_of_the_loaded_model(folder):
    model = load_policy(folder).model
    assert read_shape(str(folder)).parameters == sum(p.numel() for p in model.parameters())


def test_no_weights_are_needed(folder, tmp_path):
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    assert read_shape(str(tmp_path)) == read_shape(str(folder))


def test_a_hand_worked_llama(tmp_path):
    shape = read_shape(str(build_tiny(tmp_path)))
    block = 2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 128 + 2 * 64
    assert shape.parameters == 2 * block + 64 + 2 * 261 * 64
    memory = estimate(shape, WORK)
    assert memory.weights == memory.gradients == 4 * shape.parameters
    assert memory.optimiser == 8 * shape.parameters
    assert memory.cache == 320 * (2 * 2 * 2 * 16) * 4
    assert memory.peak == memory.training > memory.answering


def test_the_cache_is_what_the_decode_loop_allocates(folder):
    policy = load_policy(folder)
    with torch.inference_mode():
        _, prompts = prefill(policy.model, [[1, 2, 3]], pad_id=0)
        cache = SlotCache(5, 64, dtype=policy.model.dtype, device=policy.device)
        cache.admit(prompts, [3], copies=5)
    held = sum(buffer.nbytes for buffer in (*cache._keys, *cache._values))
    assert estimate(read_shape(str(folder)), WORK).cache == held


@pytest.mark.parametrize("architecture", ["llama", "qwen3", "gemma2"])
def test_activations_cover_what_autograd_keeps(architecture, tmp_path):
    size = {"intermediate_size": 256, "num_hidden_layers": 6}
    model = load_policy(build_tiny(tmp_path, architecture=architecture, **size)).model
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        states = model.base_model(torch.ones(4, 64, dtype=torch.long), use_cache=False)[0]
    assert states.requires_grad
    estimated = estimate(read_shape(str(tmp_path)), WORK).activations
    assert 0.95 * sum(kept.values()) < estimated < 1.35 * sum(kept.values())


def test_lora_trains_what_peft_trains(folder):
    shape = read_shape(str(folder))
    memory = estimate(shape, Workload(256, 64, 320, 5, lora_rank=4))
    model = load_policy(folder).model
    attach(model, LoraSettings(rank=4))
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert memory.gradients == 4 * trained
    assert memory.weights == 4 * sum(p.numel() for p in model.parameters())


def test_narrow_types_and_checkpointing_take_less(folder):
    shape = read_shape(str(folder))
    plain = estimate(shape, WORK)
    narrow = estimate(shape, Workload(256, 64, 320, 5, compute="bfloat16", answering="bfloat16"))
    assert narrow.activations * 2 == plain.activations
    assert narrow.cache * 2 == plain.cache
    assert (plain.answering_copy, narrow.answering_copy) == (0, 2 * shape.parameters)
    assert (
        estimate(shape, Workload(256, 64, 320, 5, checkpointing=True)).activations
        < plain.activations
    )


def test_a_missing_config_is_named(tmp_path):
    with pytest.raises(ConfigError, match=str(tmp_path)):
        read_shape(str(tmp_path))
