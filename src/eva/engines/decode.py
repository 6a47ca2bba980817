"""eva's own decode loop: the responses of all prompts through one ever-full batch.

A prompt is prefilled once for its n responses, finished rows leave, waiting prompts join, longest
prompts first. A row draws from its own uniforms, so the make-up of the batch changes nothing but
float noise.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from eva.engines.batching import pass_tokens, runs
from eva.engines.cache import SlotCache
from eva.engines.prefill import prefill, shared_start
from eva.engines.products import quick_head
from eva.engines.sampling import Draws, Sampled, draw_checked, finished
from eva.types import Floats, SamplingParams

if TYPE_CHECKING:
    from transformers import DynamicCache, PreTrainedModel

_BAND = 2
"""Prompts share a cache while its widest row needs at most this many times the narrowest one's."""

_REFILL = 0.25
"""Share of the slots that must be free before prompts join: a few larger prefills cost less."""


@dataclass(frozen=True, slots=True)
class Job:
    """Prompts to answer, and how."""

    prompts: Sequence[Sequence[int]]
    """Token ids, (P, T) ragged."""
    rooms: Sequence[int]
    """Tokens that each response of a prompt may have, at least 1, (P,)."""
    draws: Draws
    params: SamplingParams
    end_ids: frozenset[int]
    pad_id: int
    token_budget: int
    """Most tokens that the cache may hold, summed over rows."""

    def width(self, prompt: int) -> int:
        """Return the cache columns that a response of the prompt may need."""
        return len(self.prompts[prompt]) + self.rooms[prompt]


class Unit(NamedTuple):
    """Responses admitted together: all of a prompt's, or as many as there are slots."""

    prompt: int
    responses: range


@dataclass(slots=True)
class _Row:
    """A response in the making."""

    prompt: int
    response: int
    length: int
    """Tokens of its prompt."""
    room: int
    uniforms: Floats
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    ended: bool = False


def decode(model: PreTrainedModel, job: Job) -> list[list[Sampled]]:
    """Return the n responses of every prompt, in order.

    Raises:
        GenerationError: the model's logits are not finite.
    """
    answers: list[dict[int, Sampled]] = [{} for _ in job.prompts]
    if not job.prompts:
        return []
    with quick_head(model):
        start = shared_start(model, job.prompts, pad_id=job.pad_id)
        for members in bands([job.width(prompt) for prompt in range(len(job.prompts))]):
            for row in _answer_band(model, job, members, start=start):
                sampled = finished(row.token_ids, row.logprobs, job.end_ids)
                answers[row.prompt][row.response] = sampled
    return [[found[i] for i in sorted(found)] for found in answers]


def bands(widths: Sequence[int]) -> list[list[int]]:
    """Sort indices by falling width and cut them where a width is under half of its band's first.

    >>> bands([10, 90, 50, 44])
    [[1, 2], [3], [0]]
    """
    order = sorted(range(len(widths)), key=lambda i: (-widths[i], i))
    cut: list[list[int]] = []
    for i in order:
        if cut and widths[i] * _BAND >= widths[cut[-1][0]]:
            cut[-1].append(i)
        else:
            cut.append([i])
    return cut


def _answer_band(
    model: PreTrainedModel, job: Job, members: Sequence[int], *, start: DynamicCache | None
) -> Iterator[_Row]:
    width, n = job.width(members[0]), job.params.n
    slots = min(max(1, job.token_budget // width), n * len(members))
    queue = deque(
        Unit(prompt, range(begin, min(begin + slots, n)))
        for prompt in members
        for begin in range(0, n, slots)
    )
    cache = SlotCache(slots, width, dtype=model.dtype, device=model.device)
    batch = _Batch(model, job, cache, start=start)
    while queue or batch.rows:
        free = slots - len(batch.rows)
        units = take(queue, free) if free >= slots * _REFILL else []
        batch.admit(units) if units else batch.step()
        yield from batch.leave()


def take(queue: deque[Unit], free: int) -> list[Unit]:
    """Take from the queue the units that fit the free slots, all of the first one's size."""
    units: list[Unit] = []
    while queue and len(queue[0].responses) <= free:
        if units and len(queue[0].responses) != len(units[0].responses):
            break
        free -= len(queue[0].responses)
        units.append(queue.popleft())
    return units


class _Batch:
    """The live rows of one cache, and the token that each of them feeds in next."""

    def __init__(
        self, model: PreTrainedModel, job: Job, cache: SlotCache, *, start: DynamicCache | None
    ) -> None:
        self.model, self.job, self.cache, self.start = model, job, cache, start
        self.rows: list[_Row] = []
        self.tokens = torch.empty(0, dtype=torch.long, device=model.device)

    def admit(self, units: Sequence[Unit]) -> None:
        """Prefill the units' prompts, those of unlike lengths apart, and draw first tokens."""
        longest = sorted(units, key=lambda unit: -len(self.job.prompts[unit.prompt]))
        lengths = [len(self.job.prompts[unit.prompt]) for unit in longest]
        for part in runs(lengths, pass_tokens(self.model.device)):
            self._admit([longest[i] for i in part])

    def _admit(self, units: Sequence[Unit]) -> None:
        prompts = [self.job.prompts[unit.prompt] for unit in units]
        copies = len(units[0].responses)
        pad_id, start = self.job.pad_id, self.start
        logits, prefilled = prefill(self.model, prompts, pad_id=pad_id, start=start)
        self.cache.admit(prefilled, [len(ids) for ids in prompts], copies)
        new = [self._row(unit.prompt, i) for unit in units for i in unit.responses]
        drawn = self._draw(logits.repeat_interleave(copies, dim=0), new)
        self.rows += new
        self.tokens = torch.cat([self.tokens, drawn])

    def step(self) -> None:
        """Feed every row its last token and draw the next one."""
        longest = max(row.length + len(row.token_ids) for row in self.rows) - 1
        positions, mask = self.cache.extend(longest)
        output = self.model(
            input_ids=self.tokens[:, None],
            position_ids=positions,
            attention_mask=mask,
            past_key_values=self.cache,
            use_cache=True,
        )
        self.tokens = self._draw(output.logits[:, -1], self.rows)

    def leave(self) -> list[_Row]:
        """Drop the ended rows and return them."""
        ended = [row for row in self.rows if row.ended]
        if ended:
            order = self.cache.keep([i for i, row in enumerate(self.rows) if not row.ended])
            self.rows = [self.rows[i] for i in order]
            self.tokens = self.tokens[order]
        return ended

    def _row(self, prompt: int, response: int) -> _Row:
        length, room = len(self.job.prompts[prompt]), self.job.rooms[prompt]
        return _Row(prompt, response, length, room, self.job.draws(prompt, response))

    def _draw(self, logits: Tensor, rows: Sequence[_Row]) -> Tensor:
        uniforms = [row.uniforms[len(row.token_ids)] for row in rows]
        tokens, logprobs = draw_checked(logits, uniforms, self.job.params)
        for row, token, logprob in zip(rows, tokens.tolist(), logprobs.tolist(), strict=True):
            row.token_ids.append(token)
            row.logprobs.append(logprob)
            row.ended = token in self.job.end_ids or len(row.token_ids) == row.room
        return tokens
