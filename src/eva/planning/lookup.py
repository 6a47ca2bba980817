"""What can be known of a model without its weights: where it lies, its shape, its chat template."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from eva.app.policy import RANDOM, model_source
from eva.data.assets import PREFIX, cached, packaged
from eva.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from eva.engines.memory import Shape

State: TypeAlias = Literal["here", "hub", "to fetch", "not reachable"]

_OFFLINE = frozenset(
    {
        "LocalEntryNotFoundError",
        "OfflineModeIsEnabled",
        "ConnectionError",
        "ConnectError",
        "ConnectTimeout",
        "gaierror",
    }
)
"""Names of errors that say that a hub was not reached; a wrong id has others."""


@dataclass(frozen=True, slots=True)
class Source:
    """A model or data set that a config names."""

    role: str
    name: str
    state: State
    fetch_bytes: int = 0
    """That running will download, where that is known."""
    parameters: int | None = None
    context: int | None = None
    """Tokens of prompt and answer together; None if the model sets no limit or is not seen."""


@dataclass(frozen=True, slots=True)
class Model:
    """A causal language model, as far as it can be seen."""

    source: Source
    shape: Shape | None = None
    tokenizer: PreTrainedTokenizerBase | None = None


def look_at(name: str, *, role: str, seed: int, trust_remote_code: bool = False) -> Model:
    """Return what can be seen of a chat model; nothing of one that is not reachable.

    Raises:
        ConfigError: it is there and cannot play: another kind of model, or no chat template.
    """
    if (missing := _missing(name, role=role, kind="model")) is not None:
        return Model(missing)
    from transformers import AutoConfig, AutoTokenizer

    from eva.engines.chat import check_template
    from eva.engines.memory import read_shape

    folder = model_source(name, seed=seed)
    try:
        shape = read_shape(folder, trust_remote_code=trust_remote_code)
        config = AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code)
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code)
    except (ConfigError, OSError, ValueError) as error:
        if unreachable(error):
            return Model(Source(role, name, "not reachable"))
        raise ConfigError(f"{role}: {error}") from error
    check_template(tokenizer, source=name)
    context = getattr(config.get_text_config(decoder=True), "max_position_embeddings", None)
    seen = Source(role, name, _state(name, folder), 0, shape.parameters, context)
    return Model(seen, shape, tokenizer)


def look_for(name: str, *, role: str, kind: str = "") -> Source:
    """Return whether another model can be had: a reward model (`kind` empty) or an encoder.

    Raises:
        ConfigError: there is none of that name.
    """
    if (missing := _missing(name, role=role, kind=kind)) is not None:
        return missing
    if name.startswith(PREFIX):
        return Source(role, name, "here")
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(name)
    except (OSError, ValueError) as error:
        if unreachable(error):
            return Source(role, name, "not reachable")
        reason = str(error).strip().partition("\n")[0]
        raise ConfigError(f"{role}: model {name!r} cannot be read: {reason}") from error
    context = getattr(config, "max_position_embeddings", None)
    return Source(role, name, _state(name, name), context=context)


def _missing(name: str, *, role: str, kind: str) -> Source | None:
    """Return the source of a packaged model that has still to be fetched."""
    if not name.startswith(PREFIX):
        return None
    asset = packaged(name)
    if kind and asset.role != kind:
        raise ConfigError(f"{role}: {name} is packaged as {asset.role}, expected a {kind}")
    return None if cached(asset) else Source(role, name, "to fetch", asset.archive.bytes)


def _state(name: str, folder: str) -> State:
    local = name.startswith((PREFIX, RANDOM)) or os.path.exists(Path(folder))
    return "here" if local else "hub"


def unreachable(error: BaseException) -> bool:
    """Say whether an error comes of a hub that could not be reached."""
    return any(type(cause).__name__ in _OFFLINE for cause in _chain(error))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
