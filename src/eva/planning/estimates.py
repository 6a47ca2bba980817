"""What a game will take: memory, disk, time. All rough, and each says what it assumes."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from eva.app.config import Config
from eva.app.config_parts import InstructEvolver
from eva.planning.counting import TYPICAL, EvaluationCount, RoundCount, attempt
from eva.types import Json

if TYPE_CHECKING:
    from eva.engines.memory import Shape

MOMENTS = {"adamw": 2, "rmsprop": 1, "sgd": 0}
"""Numbers that an optimiser keeps per trained weight."""
BYTES_PER_TOKEN = 14
"""Of a sampled token on disk: its log-prob in 8 bytes, its id and text compressed."""
EFFICIENCY: Mapping[str, Mapping[str, float]] = {
    "cpu": {"decode": 0.35, "train": 0.8},
    "cuda": {"decode": 0.03, "train": 0.4},
}
"""Share of the measured matmul rate that decoding and training reach.

On a CPU measured with SmolLM2-135M at 32 sequences; on a GPU, where decoding waits for memory, a
cautious guess.
"""


def memory(game: Config, shape: Shape, *, prompt: int) -> dict[str, Json]:
    """Return bytes by use, on the device; `prompt` is the longest prompt in tokens."""
    from eva.app.policy import device_of, sampling_type
    from eva.engines.local import LocalSettings
    from eva.engines.memory import Workload, estimate

    policy, answers = game.policy, game.answers
    longest = prompt + answers.max_tokens
    rows = max(1, min(policy.decode_tokens // longest, game.run.chunk * answers.n))
    weights = "float64" if policy.dtype == "float64" else "float32"
    # a pair is never split, and a micro-batch never spans two updates
    pair = pair_tokens(game, prompt)
    work = Workload(
        train_tokens=min(max(policy.train_tokens, pair), game.solver.batch_size * pair),
        longest=longest,
        answer_tokens=min(max(policy.decode_tokens, longest), game.run.chunk * answers.n * longest),
        answer_rows=rows,
        logit_rows=LocalSettings().logprob_chunk,
        weights=weights,
        compute=policy.dtype,
        answering=sampling_type(policy.generation_dtype, device_of(policy.device)) or weights,
        lora_rank=policy.lora.rank if policy.lora else None,
        moments=MOMENTS[game.solver.optimiser],
        checkpointing=policy.gradient_checkpointing,
    )
    found = estimate(shape, work)
    totals: dict[str, Json] = {"training": found.training, "answering": found.answering}
    if game.run.processes > 1:
        totals["training_per_process"] = found.training
    if game.run.processes > 1 and game.run.strategy == "fsdp2":
        resident = found.weights + found.gradients + found.optimiser
        totals["training_per_process"] -= resident - resident // game.run.processes
    return asdict(found) | totals | {"peak": found.peak}


def pair_tokens(game: Config, prompt: int) -> int:
    """Return the tokens that a pair may take in a micro-batch."""
    return 2 * (prompt + game.answers.max_tokens)


def disk(game: Config, shape: Shape, rounds: Sequence[RoundCount]) -> dict[str, int]:
    """Return bytes that a run folder may take."""
    policy, lora = game.policy, game.policy.lora
    each = 8 if policy.dtype == "float64" else 4
    trained = shape.parameters
    if lora:
        trained = sum(lora.rank * (i + o) for i, o in shape.linears)
    weights, moments = trained * each, trained * each * MOMENTS[game.solver.optimiser]
    carried = moments if game.solver.optimiser_state == "carried" else 0
    kept = min(game.rounds, max(2, game.run.keep_policies))
    tokens = sum(count.generated_tokens + count.rewriter_tokens for count in rounds)
    parts = {
        "policies": kept * (weights + carried),
        # one that is whole and one that is being written
        "checkpoints": 2 * (weights + moments),
        "rollouts": tokens * BYTES_PER_TOKEN,
    }
    return parts | {"total": sum(parts.values())}


def seconds(
    game: Config,
    shape: Shape,
    rounds: Sequence[RoundCount],
    *,
    evaluation: EvaluationCount,
    prompt: int,
    rate: float,
    device: str,
) -> dict[str, float]:
    """Return seconds by stage at a matmul rate in FLOP/s, answers of half the limit.

    2 FLOPs per parameter and generated or scored token, 6 per trained one; `prompt` is the median
    prompt in tokens.
    """
    once = 2 * shape.parameters
    decode, train = (rate * EFFICIENCY[device][kind] for kind in ("decode", "train"))

    def generating(tokens: float, prompts: float = 0) -> float:
        return once * (TYPICAL * tokens / decode + prompts * prompt / train)

    evolver = game.creator.evolver
    served = attempt(evolver)[1] if isinstance(evolver, InstructEvolver) and evolver.server else 0
    rewritten = sum(count.rewriter_tokens - count.rewrites * served for count in rounds)
    pairs = sum(count.pairs for count in rounds)
    trained = sum(count.trained_tokens for count in rounds)
    scored = sum(count.reference_tokens for count in rounds)
    answered = sum(count.answers for count in rounds) / game.answers.n
    parts = {
        "answer": generating(sum(count.generated_tokens for count in rounds), answered),
        "rewrite": generating(rewritten),
        "reference": once * (TYPICAL * scored + (pairs * prompt if scored else 0)) / train,
        "train": 3 * once * (TYPICAL * trained + game.solver.epochs * pairs * prompt) / train,
        "evaluate": generating(evaluation.tokens, evaluation.times * evaluation.prompts),
    }
    return parts | {"total": sum(parts.values())}


def matmul_rate(device: str, dtype: str, *, budget_s: float = 0.3, threads: int = 0) -> float:
    """Return the FLOP/s of square matrix products on a device, measured for `budget_s`."""
    import torch

    before = torch.get_num_threads()
    if threads:
        torch.set_num_threads(threads)
    size = 4096 if device == "cuda" else 512
    left = torch.ones(size, size, dtype=getattr(torch, dtype), device=device)
    _ = left @ left  # the first one also starts threads and loads kernels
    products, began = 0, time.perf_counter()
    try:
        while products == 0 or time.perf_counter() - began < budget_s:
            _ = left @ left
            if device == "cuda":
                torch.cuda.synchronize()
            products += 1
        spent = time.perf_counter() - began
    finally:
        torch.set_num_threads(before)
    return 2 * size**3 * products / spent


def free_bytes(device: str) -> int:
    """Return the memory of a device that is free."""
    if device == "cuda":
        import torch

        return int(torch.cuda.mem_get_info()[0])
    return int(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
