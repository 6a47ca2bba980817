"""From prompts to the cache that decoding starts from, computing no token twice if it can.

Chat templates begin every prompt alike: what all of them share is computed once. The rest is padded
on the right, where a causal model does not see it, and prompts of unlike lengths go separately.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from transformers import DynamicCache

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transformers import PreTrainedModel

_WORTH = 64
"""Tokens that sharing must save to be worth a pass of its own."""


def prefill(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    *,
    pad_id: int,
    start: DynamicCache | None = None,
) -> tuple[Tensor, DynamicCache]:
    """Return the logits after each prompt, (P, V), and a cache of the padded prompts.

    `start` holds the first tokens of all prompts, as `shared_start` computes them.
    """
    held = start.get_seq_length() if start is not None else 0
    rests = [prompt[held:] for prompt in prompts]
    width = max(map(len, rests))
    ids = torch.tensor(
        [[*rest, *[pad_id] * (width - len(rest))] for rest in rests], device=model.device
    )
    cache = DynamicCache() if start is None else _repeated(start, len(prompts))
    positions = torch.arange(held, held + width, device=model.device)[None]
    last = torch.tensor([len(rest) - 1 for rest in rests], device=model.device)
    with _head_at(model, last):
        output = model(input_ids=ids, position_ids=positions, past_key_values=cache, use_cache=True)
    return output.logits[:, -1], cache


def shared_start(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]], *, pad_id: int
) -> DynamicCache | None:
    """Return a cache of the tokens that all prompts begin with; None where it does not pay."""
    length = common(prompts)
    if length * (len(prompts) - 1) <= _WORTH:
        return None
    return prefill(model, [prompts[0][:length]], pad_id=pad_id)[1]


def common(prompts: Sequence[Sequence[int]]) -> int:
    """Return how many tokens all prompts begin with; each keeps one of its own.

    >>> common([[1, 2, 3, 4], [1, 2, 5], [1, 2, 3]])
    2
    >>> common([[1, 2], [1, 2, 3]])
    1
    """
    first, last = min(map(list, prompts)), max(map(list, prompts))
    alike = (i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b)
    return min(next(alike, len(first)), min(map(len, prompts)) - 1)


def _repeated(start: DynamicCache, rows: int) -> DynamicCache:
    cache = DynamicCache()
    for index, (keys, values, *_) in enumerate(start):
        cache.update(keys.expand(rows, -1, -1, -1), values.expand(rows, -1, -1, -1), index)
    return cache


@contextmanager
def _head_at(model: PreTrainedModel, last: Tensor) -> Iterator[None]:
    """Run the output layer on one position per row, which `logits_to_keep` could not name."""
    rows = torch.arange(len(last), device=last.device)

    def narrow(_: object, states: tuple[Tensor, ...]) -> Tensor:
        return states[0][rows, last][:, None]

    head = cast("nn.Module", model.get_output_embeddings())  # type: ignore[no-untyped-call]
    hook = head.register_forward_pre_hook(narrow)
    try:
        yield
    finally:
        hook.remove()
