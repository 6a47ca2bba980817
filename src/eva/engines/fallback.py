"""The way round eva's decode loop: transformers' `generate`, drawing from the same uniforms.

For models whose cache the loop does not know. Slower (fixed batches, a prefill per response), but
the same tokens: a logits processor draws them and leaves `generate` no other choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from eva.engines.decode import Job, bands
from eva.engines.sampling import Sampled, draw_checked, finished
from eva.types import Floats, SamplingParams

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def decode_slowly(model: PreTrainedModel, job: Job) -> list[list[Sampled]]:
    """Return what `decode` returns, by transformers' `generate` in batches of fixed rows.

    Raises:
        GenerationError: the model's logits are not finite.
    """
    answers: list[list[Sampled]] = [[] for _ in job.prompts]
    for members in bands([job.width(prompt) for prompt in range(len(job.prompts))]):
        rows = [(prompt, response) for prompt in members for response in range(job.params.n)]
        size = max(1, job.token_budget // job.width(members[0]))
        for begin in range(0, len(rows), size):
            batch = rows[begin : begin + size]
            for (prompt, _), sampled in zip(batch, _generate(model, job, batch), strict=True):
                answers[prompt].append(sampled)
    return answers


class _Chooser(LogitsProcessor):
    """Draws each token itself and hides all others from `generate`."""

    def __init__(self, uniforms: Floats, width: int, params: SamplingParams) -> None:
        self.uniforms = uniforms
        self.width = width
        self.params = params
        self.logprobs: list[Tensor] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        uniforms = self.uniforms[:, input_ids.shape[1] - self.width]
        tokens, logprobs = draw_checked(scores, cast("Sequence[float]", uniforms), self.params)
        self.logprobs.append(logprobs)
        return torch.full_like(scores, -torch.inf).scatter(1, tokens[:, None], 0.0)


def _generate(model: PreTrainedModel, job: Job, rows: Sequence[tuple[int, int]]) -> list[Sampled]:
    prompts = [list(job.prompts[prompt]) for prompt, _ in rows]
    width = max(map(len, prompts))
    ids = torch.tensor([[job.pad_id] * (width - len(ids)) + ids for ids in prompts])
    mask = torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for ids in prompts])
    rooms = [job.rooms[prompt] for prompt, _ in rows]
    uniforms = np.stack([job.draws(*row)[: max(rooms)] for row in rows])
    chooser = _Chooser(uniforms, width, job.params)
    output = _with_own_settings(
        model,
        GenerationConfig(  # type: ignore[no-untyped-call]
            max_new_tokens=max(rooms),
            do_sample=False,
            eos_token_id=sorted(job.end_ids) or None,
            pad_token_id=job.pad_id,
            use_cache=True,
        ),
        input_ids=ids.to(model.device),
        attention_mask=mask.to(model.device),
        logits_processor=LogitsProcessorList([chooser]),
    )
    tokens = output[:, width:].tolist()
    logprobs = torch.stack(chooser.logprobs, dim=1).tolist()
    return [
        _cut(row, values[: len(row)], end_ids=job.end_ids, room=room)
        for row, values, room in zip(tokens, logprobs, rooms, strict=True)
    ]


def _with_own_settings(model: PreTrainedModel, settings: GenerationConfig, **inputs: Any) -> Tensor:
    """Call `generate` with nothing of the model's own settings (penalties, top-k) mixed in."""
    kept, model.generation_config = model.generation_config, settings
    try:
        return cast("Tensor", cast("Any", model).generate(**inputs, generation_config=settings))
    finally:
        model.generation_config = kept


def _cut(
    tokens: Sequence[int], logprobs: Sequence[float], *, end_ids: frozenset[int], room: int
) -> Sampled:
    ends = (i + 1 for i, token in enumerate(tokens) if token in end_ids)
    length = min(next(ends, len(tokens)), room)
    return finished(tokens[:length], logprobs[:length], end_ids)
