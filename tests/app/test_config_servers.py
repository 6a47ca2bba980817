import pytest
from pydantic import ValidationError

from eva.app.config_servers import Serve, Server
from eva.app.load import parse_config
from eva.errors import ConfigError


def test_a_server_needs_an_address_and_a_model():
    assert Server(url="http://localhost:8000/v1", model="m").max_cost == 0
    with pytest.raises(ValidationError):
        Server(url="http://localhost:8000/v1")


def test_a_key_has_no_place_in_the_config():
    with pytest.raises(ValidationError, match="api_key"):
        Server(url="http://localhost:8000/v1", model="m", api_key="secret")


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://host/v1", "http://", "http://h/v1?key=1"])
def test_an_address_is_one_of_http(url):
    with pytest.raises(ValidationError, match="expected an address such as"):
        Server(url=url, model="m")


def test_an_address_holds_no_password_and_none_is_repeated():
    with pytest.raises(ValidationError) as caught:
        Server(url="https://me:hunter2@host/v1", model="m")
    said = [error["msg"] for error in caught.value.errors()]
    assert "holds a user or a password" in said[0]
    assert caught.value.errors()[0]["loc"] == ()


@pytest.mark.parametrize(
    "secret",
    [["--api-key", "hunter2"], ["--api-key=hunter2"], ["--hf_token=hunter2"], ["HF_TOKEN=hunter2"]],
)
def test_a_servers_command_holds_no_secret_and_none_is_repeated(secret):
    command = ["env", "vllm", "serve", "{model}", "--port", "{port}"]
    with pytest.raises(ValidationError) as caught:
        Serve(command=[*command, *secret])
    (said,) = [error["msg"] for error in caught.value.errors()]
    assert "holds a secret" in said
    assert "hunter2" not in said


def test_options_that_only_sound_like_secrets_are_taken():
    options = ["--max-num-batched-tokens", "9", "--ssl-keyfile=f", "--tokenizer=t", "secret/model"]
    assert Serve(command=["serve", "{model}", "{port}", *options]).command[-1] == "secret/model"


def test_further_fields_of_a_request_set_nothing_that_eva_sets():
    place = {"url": "http://localhost:8000/v1", "model": "m"}
    taken = {"chat_template_kwargs": {"enable_thinking": False}}
    assert Server(**place, extra=taken).extra == taken
    with pytest.raises(ValidationError, match="extra sets seed and stream, which eva sets itself"):
        Server(**place, extra={"stream": True, "seed": 1})


@pytest.mark.parametrize("extra", [{"api_key": "hunter2"}, {"a": [{"auth_token": "hunter2"}]}])
def test_further_fields_hold_no_secret_and_none_is_repeated(extra):
    with pytest.raises(ValidationError) as caught:
        Server(url="http://localhost:8000/v1", model="m", extra=extra)
    (error,) = caught.value.errors()
    assert "holds a secret" in error["msg"]
    assert "hunter2" not in error["msg"]


SERVED = {"command": ["vllm", "serve", "{model}", "--port={port}"]}


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"policy": {"model": "m", "serve": {"command": ["vllm", "serve"]}}},
         r"policy.serve.command: \{model\} and \{port\} missing"),
        ({"policy": {"model": "m", "serve": {}}}, "policy.serve.command"),
        ({"policy": {"model": "m", "serve": SERVED | {"ready": "health"}}},
         "policy.serve.ready: got 'health', expected a path that begins with /"),
        ({"policy": {"model": "m", "serve": SERVED | {"path": "v1"}}}, "policy.serve.path"),
        ({"policy": {"model": "m", "serve": SERVED},
          "solver": {"objective": "dpo", "reference": "sampler"}}, "take 'previous'"),
        ({"policy": {"model": "m", "serve": SERVED}, "schedule": "online",
          "solver": {"objective": "rloo"}}, "would start a server for every step"),
    ],
)  # fmt: skip
def test_a_policy_is_not_served_where_it_cannot_be(changes, fault):
    game = {
        "policy": {"model": "m", "serve": SERVED},
        "prompts": {"source": "p"},
        "reward": {"name": "python", "function": "m:f"},
        "solver": {"objective": "dpo"},
        "creator": {"name": "static"},
    }
    assert parse_config(game).policy.serve.command[0] == "vllm"
    with pytest.raises(ConfigError, match=fault):
        parse_config(game | changes)
