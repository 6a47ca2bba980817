"""Answers of a policy: eva's decode loop where it knows the model, `generate` where it does not.

The loop holds plain attention caches only. Before it is used on a model it must have reproduced
that model's own log-probs on two short prompts; else, and for windows that the text outgrows,
state-space layers and the like, transformers' `generate` answers, drawing from the same uniforms.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from eva.engines.chat import decode_text, encode_prompt
from eva.engines.decode import Job, decode
from eva.engines.fallback import decode_slowly
from eva.engines.sampling import Draws, Sampled
from eva.errors import DataError, GenerationError
from eva.rng import Streams
from eva.types import Floats, Group, Prompt, Response, SamplingParams

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from eva.engines.policy import Policy

_log = logging.getLogger(__name__)
_probed: dict[str, str | None] = {}


def answer(
    policy: Policy,
    prompts: Sequence[Prompt],
    params: SamplingParams,
    *,
    streams: Streams,
    version: str,
    token_budget: int,
) -> list[Group]:
    """Return one group per prompt, in order; see `eva.protocols.Generator.sample`.

    A prompt that leaves no room for an answer, or whose turns the chat template refuses, gets no
    responses. `token_budget` bounds the tokens that the cache holds at a time.

    Raises:
        GenerationError: the policy's logits are not finite.
    """
    encoded = [_encode(policy, prompt) for prompt in prompts]

    def draws(prompt: int, response: int) -> Floats:
        return streams.of(prompts[prompt].id, response).random(params.max_tokens)

    sampled = generate(policy, encoded, draws, params=params, token_budget=token_budget)
    return [
        Group(prompt, ids, tuple(_response(policy, one) for one in answers), version)
        for prompt, ids, answers in zip(prompts, encoded, sampled, strict=True)
    ]


def generate(
    policy: Policy,
    prompts: Sequence[Sequence[int]],
    draws: Draws,
    *,
    params: SamplingParams,
    token_budget: int,
) -> list[list[Sampled]]:
    """Sample n responses to every prompt of token ids; none where the model has no room for one.

    A response near the end of the model's context may have fewer than `max_tokens`.

    Raises:
        GenerationError: the policy's logits are not finite.
    """
    rooms = [_room(policy, ids, params.max_tokens) for ids in prompts]
    asked = [i for i, room in enumerate(rooms) if room > 0]
    greedy = params.temperature == 0
    job = Job(
        [prompts[i] for i in asked],
        [rooms[i] for i in asked],
        (lambda p, r: np.zeros(params.max_tokens)) if greedy else (lambda p, r: draws(asked[p], r)),
        # Greedy responses are all the same, so one is decoded and repeated.
        params=SamplingParams(1 if greedy else params.n, params.temperature, params.top_p),
        end_ids=policy.end_ids,
        pad_id=policy.pad_id,
        token_budget=token_budget,
    )
    widest = max((job.width(i) for i in range(len(asked))), default=0)
    refusal = loop_refusal(policy.model, widest) if asked else None
    with torch.inference_mode():
        found = decode(policy.model, job) if refusal is None else decode_slowly(policy.model, job)
    answers: list[list[Sampled]] = [[] for _ in prompts]
    for i, responses in zip(asked, found, strict=True):
        answers[i] = responses * params.n if greedy else responses
    return answers


def loop_refusal(model: PreTrainedModel, widest: int) -> str | None:
    """Return why eva's loop cannot answer with this model, or None if it can.

    `widest` is the most tokens that a prompt and its response may have together.
    """
    attention = model.config._attn_implementation
    if attention not in ("sdpa", "eager"):
        return f"attention {attention!r} takes no ragged mask"
    if "position_ids" not in inspect.signature(model.forward).parameters:
        return "the model takes no positions"
    for layer in DynamicCache(config=model.config.get_text_config(decoder=True)).layers:
        if type(layer) not in (DynamicLayer, DynamicSlidingWindowLayer):
            return f"a layer caches as {type(layer).__name__}"
        if isinstance(layer, DynamicSlidingWindowLayer) and layer.sliding_window < widest:
            return f"{widest} tokens outgrow a window of {layer.sliding_window}"
    key = f"{type(model).__qualname__} {model.dtype} {attention} {model.config.to_json_string()}"
    if key not in _probed:
        _probed[key] = _probe(model)
        _log.info("%s answers by %s", key.split()[0], _probed[key] or "eva's decode loop")
    return _probed[key]


def _probe(model: PreTrainedModel) -> str | None:
    """Decode two tokens after short prompts and compare with plain forward passes."""
    # Enough of them that the tokens they begin with are computed once; more than there are slots.
    begin = range(1, 9)
    prompts = [[*begin, 9, 10, 11], [*begin, 5], *([*begin, i, 3] for i in range(10))]
    params = SamplingParams(n=2, temperature=1.0, top_p=1.0)
    rooms = [2] * len(prompts)
    job = Job(prompts, rooms, lambda p, r: np.full(2, 0.3), params, frozenset(), 0, 104)
    # Rounding of a narrow type grows with depth; a wrong mask or position shows far more.
    tolerance = 5e-3 if model.dtype in (torch.float32, torch.float64) else 0.2
    try:
        with torch.inference_mode():
            answers = decode(model, job)
            for prompt, ((sampled, logprobs, _), *_) in zip(prompts[:3], answers, strict=False):
                ids = torch.tensor([[*prompt, *sampled]], device=model.device)
                plain = model(input_ids=ids, use_cache=False).logits[0].float().log_softmax(-1)
                rows = torch.arange(len(prompt) - 1, len(prompt) + 1)
                wanted = plain[rows, torch.tensor(sampled)].cpu()
                apart = float((wanted - torch.tensor(logprobs)).abs().max())
                if not apart < tolerance:
                    return f"generate: the loop's log-probs are off by {apart:.2g}"
    except GenerationError:
        raise
    except (TypeError, ValueError, RuntimeError, AttributeError, IndexError) as error:
        # An architecture that the loop was not made for may fail in any of these ways.
        return f"generate: the loop failed with {type(error).__name__}: {error}"
    return None


def _room(policy: Policy, ids: Sequence[int], max_tokens: int) -> int:
    if not ids or policy.context is None:
        return max_tokens if ids else 0
    return max(0, min(max_tokens, policy.context - len(ids)))


def _encode(policy: Policy, prompt: Prompt) -> tuple[int, ...]:
    try:
        return encode_prompt(policy, prompt)
    except DataError as error:
        _log.warning("%s; it gets no responses", error)
        return ()


def _response(policy: Policy, sampled: Sampled) -> Response:
    text = decode_text(policy, sampled.token_ids)
    return Response(text, sampled.token_ids, sampled.logprobs, sampled.finish)
