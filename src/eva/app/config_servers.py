"""An OpenAI-compatible server as the config names it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from eva.app.config_parts import Section


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
    """The run stops before it has cost more, over all its sessions; 0 sets no cap."""
