import pytest
import torch

from eva.app.load import parse_config
from eva.app.policy import (
    device_of,
    local_engine,
    local_generator,
    model_source,
    sampling_type,
)
from eva.engines.policy import load_policy
from eva.errors import ConfigError
from eva.rng import Streams
from eva.types import Prompt, SamplingParams


def config(**policy):
    return parse_config(
        {
            "policy": {"model": "random:tiny", "device": "cpu"} | policy,
            "prompts": {"source": "p"},
            "reward": {"name": "python", "function": "m:f"},
            "solver": {"objective": "dpo"},
        }
    )


def test_auto_is_the_gpu_where_there_is_one():
    assert device_of("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
    assert device_of("cpu") == "cpu"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_a_config_error():
    with pytest.raises(ConfigError, match="no GPU"):
        device_of("cuda")


def test_random_models_depend_on_the_seed_alone():
    assert model_source("random:tiny", seed=3) == model_source("random:tiny", seed=3)
    assert model_source("random:tiny", seed=3) != model_source("random:tiny", seed=4)
    with pytest.raises(ConfigError, match="did you mean 'random:tiny'"):
        model_source("random:tinny", seed=3)


@pytest.mark.parametrize(
    ("able", "type_"), [({"avx512_bf16": True}, "bfloat16"), ({"avx2": True}, ""), ({}, "")]
)
def test_auto_samples_in_bfloat16_where_the_cpu_can(able, type_, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    assert sampling_type("auto", "cpu") == type_
    assert sampling_type("auto", "cuda") == "bfloat16"
    assert sampling_type("same", "cpu") == ""
    assert sampling_type("float32", "cpu") == "float32"


def test_a_plain_source_is_left_alone():
    assert model_source("org/name", seed=0) == "org/name"


def test_settings_reach_the_engine():
    engine = local_engine(config(lora={"rank": 2}, train_tokens=77, dtype="bfloat16"))
    assert engine.settings.lora.rank == 2
    assert engine.settings.micro_batch_tokens == 77
    assert engine.settings.mixed_precision == "bfloat16"
    assert engine.policy.model.dtype == torch.float32


def test_a_generator_answers():
    generator = local_generator("random:tiny", device="cpu", cached_tokens=4096)
    (group,) = generator.sample(
        [Prompt.of("Hello.")], SamplingParams(2, 1.0, 1.0, 4), Streams(0, 0, "test")
    )
    assert len(group.responses) == 2


def test_trust_in_the_policys_code_is_not_trust_in_a_rewriters(monkeypatch):
    seen = []

    def load(source, **settings):
        seen.append(settings["trust_remote_code"])
        return load_policy(source, **settings)

    monkeypatch.setattr("eva.app.policy.load_policy", load)
    config_ = config(trust_remote_code=True)
    local_engine(config_)
    local_generator("random:tiny", device="cpu", cached_tokens=4096)
    assert seen == [True, False]
