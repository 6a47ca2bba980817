"""An OpenAI-compatible server as the config names it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from eva.app.config_section import Section
from eva.engines.completions import LimitField
from eva.types import Json

_SECRET = re.compile(
    r"-{0,2}(?:[\w-]*(?:api[_-]?key|password|secret|(?:hf|hub|auth|access)[_-]?token)|token)(?:=.*)?",
    re.IGNORECASE,
)
"""An option or variable of a command that holds a secret: `--api-key`, `HF_TOKEN=...`."""

_OURS = frozenset(
    {"model", "messages", "max_tokens", "max_completion_tokens", "temperature", "top_p", "seed"}
    | {"n", "stream"}
)
"""Fields of a request that eva sets, or that would change the form of a reply."""


class Server(Section):
    """An OpenAI-compatible endpoint: vLLM, SGLang, llama.cpp, `transformers serve`, or hosted."""

    url: str
    """Where its API begins, such as `http://localhost:8000/v1`."""
    model: str
    """The model's name there."""
    key_variable: str = ""
    """Environment variable that holds the key; empty sends none. The key itself is kept nowhere."""
    concurrency: Annotated[int, Field(gt=0)] = 8
    """Requests under way at once."""
    retries: Annotated[int, Field(ge=0)] = 6
    """Further tries of a request that failed in a way that may pass."""
    seconds: Annotated[float, Field(gt=0)] = 120.0
    """Time limit of one try."""
    input_price: Annotated[float, Field(ge=0)] = 0.0
    """Cost of a million prompt tokens."""
    output_price: Annotated[float, Field(ge=0)] = 0.0
    """Cost of a million generated tokens."""
    max_cost: Annotated[float, Field(ge=0)] = 0.0
    """The run stops before its servers have cost more, over all its sessions; 0 sets no cap."""
    limit_field: LimitField = "max_tokens"
    """The request's field for the most tokens of an answer; some hosted models want the other."""
    extra: dict[str, Json] = Field(default_factory=dict)
    """Further fields of every request, such as `chat_template_kwargs`."""

    # of the whole table, since an error of one field repeats what it holds
    @model_validator(mode="after")
    def _has_an_address(self) -> Server:
        parts = urlsplit(self.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query:
            raise ValueError("url: expected an address such as http://localhost:8000/v1")
        if parts.username or parts.password:
            raise ValueError("url holds a user or a password: put the key into the environment")
        return self

    @model_validator(mode="after")
    def _adds_what_is_not_set(self) -> Server:
        if ours := sorted(_OURS & self.extra.keys()):
            raise ValueError(
                f"extra sets {' and '.join(ours)}, which eva sets itself: from `answers`, the "
                "rewriter's or the judge's own keys, and limit_field"
            )
        secret = next((name for name in _names(self.extra) if _SECRET.fullmatch(name)), None)
        if secret is not None:
            raise ValueError(
                f"extra: {secret} holds a secret, and the config is written down: name the "
                "variable of the environment that holds it in key_variable"
            )
        return self


class Serve(Section):
    """A server that eva starts on the policy's weights whenever it is to answer, round by round."""

    command: tuple[str, ...]
    """Program and arguments, with `{model}` for the folder of weights and `{port}` for the port."""
    path: str = "/v1"
    """Where its API begins."""
    ready: str = "/health"
    """What answers with status 200 once it is ready."""
    ready_seconds: Annotated[float, Field(gt=0)] = 600.0
    """How long it may take to start."""
    concurrency: Annotated[int, Field(gt=0)] = 64
    """Requests under way at once."""
    retries: Annotated[int, Field(ge=0)] = 6
    """Further tries of a request that failed in a way that may pass."""
    seconds: Annotated[float, Field(gt=0)] = 600.0
    """Time limit of one try."""
    token_ids: bool = False
    """Train on the very tokens that were sampled, which vLLM returns when it is asked to."""

    @field_validator("command")
    @classmethod
    def _holds_no_secret(cls, command: tuple[str, ...]) -> tuple[str, ...]:
        found = next((arg.partition("=")[0] for arg in command if _SECRET.fullmatch(arg)), None)
        if found is not None:
            raise ValueError(
                f"{found} holds a secret, and the config is written down: put it into the "
                "environment, which the server inherits; eva sends its own server no key"
            )
        return command

    @field_validator("path", "ready")
    @classmethod
    def _is_a_path(cls, path: str) -> str:
        if not path.startswith("/"):
            raise ValueError(f"got {path!r}, expected a path that begins with / such as '/v1'")
        return path

    @field_validator("command")
    @classmethod
    def _has_places(cls, command: tuple[str, ...]) -> tuple[str, ...]:
        missing = [place for place in ("{model}", "{port}") if place not in " ".join(command)]
        if missing:
            raise ValueError(
                f"{' and '.join(missing)} missing; expected such as "
                '["vllm", "serve", "{model}", "--port", "{port}"]'
            )
        return command


def _names(fields: Json) -> Iterator[str]:
    """Yield the names of all fields, however deep they lie."""
    if isinstance(fields, dict):
        yield from fields
        fields = list(fields.values())
    if isinstance(fields, list):
        for field in fields:
            yield from _names(field)
