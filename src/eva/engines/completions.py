"""What is said to an OpenAI-compatible server, and how its answers are read: `/chat/completions`.

One request asks for one response, so that each has a seed of its own: which others are asked for,
and in which order, changes none of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Literal, TypeAlias

from eva.rng import Streams
from eva.types import Finish, Json, Prompt, Response, SamplingParams

PATH = "/chat/completions"
"""Below the address where the API begins."""
LONGEST = 300
"""Characters of a server's own words that are told on."""

LimitField: TypeAlias = Literal["max_tokens", "max_completion_tokens"]
"""The field of a request for the most tokens of an answer."""
ASK_TOKEN_IDS: Mapping[str, Json] = {"return_token_ids": True}
"""What asks for the ids of the tokens: vLLM's extension."""

_PASSING = frozenset({408, 409, 425, 429})
_TOO_LONG = re.compile(
    r"context_length_exceeded|exceed_context_size|context (length|size|window)"
    r"|prompt is too long|longer than the (model|maximum)",
    re.IGNORECASE,
)


class FaultError(Exception):
    """A try that gave no reply."""

    def __init__(
        self, kind: str, said: str, *, passing: bool = True, billed: bool = False, wait: float = 0.0
    ) -> None:
        super().__init__(said)
        self.kind = kind
        """What it is counted as."""
        self.passing = passing
        """Whether another try may do better."""
        self.billed = billed
        """Whether the server may have generated, and charges for it."""
        self.wait = wait
        """Seconds that the server asks for before the next try."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server answered to one request."""

    text: str
    finish: str
    """`stop`, `length`, or `overlong`: the prompt does not fit, and there is no answer."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_ids: tuple[int, ...] = ()
    """The prompt as the server read it; empty where it doesn't say."""
    token_ids: tuple[int, ...] = ()
    """What it sampled, with the end token; empty where it doesn't say."""

    @property
    def response(self) -> Response | None:
        """The response; None where the prompt is too long."""
        if self.finish == "overlong":
            return None
        finish: Finish = "length" if self.finish == "length" else "stop"
        counted = None if self.token_ids else self.completion_tokens
        return Response(self.text, self.token_ids, finish=finish, counted=counted)


def request(
    prompt: Prompt,
    i: int,
    *,
    model: str,
    params: SamplingParams,
    streams: Streams,
    limit_field: LimitField = "max_tokens",
    extra: Mapping[str, Json] | None = None,
) -> Json:
    """Return the body that asks for response i of a prompt; greedy decoding has no seed."""
    body: dict[str, Json] = {
        **(extra or {}),
        "model": model,
        "messages": [{"role": m.role, "content": m.content} for m in prompt.messages],
        limit_field: params.max_tokens,
        "temperature": params.temperature,
    }
    if params.temperature > 0:
        # 31 bits: some servers hold seeds in 32, with a sign
        seed = int(streams.of(prompt.id, i).integers(2**31))
        body |= {"top_p": params.top_p, "seed": seed}
    return body


def longest_prompt(body: Mapping[str, Json]) -> int:
    """Return a number of tokens that the prompt of a request does not exceed.

    A token is at least a byte of the text; a chat template adds some to every turn.
    """
    return sum(len(turn["content"].encode()) + 32 for turn in body["messages"]) + 64


def read(
    status: int,
    headers: Mapping[str, str],
    content: bytes,
    *,
    now: float,
    token_ids: bool = False,
) -> Reply:
    """Return the reply of a server's answer.

    Args:
        status: the status of its answer.
        headers: of its answer.
        content: of its answer.
        now: the time that a date is compared to.
        token_ids: whether the tokens' ids were asked for, and have to be there.

    Raises:
        FaultError: it is no reply.
    """
    if status != 200:
        return _refused(status, headers, content, now=now)
    try:
        told = json.loads(content)
        choices, usage = told["choices"], told.get("usage") or {}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise FaultError("json", f"no completion: {quoted(content)}", billed=True) from None
    if not isinstance(choices, list) or len(choices) != 1:
        got = len(choices) if isinstance(choices, list) else "no list of"
        raise FaultError("choices", f"got {got} choices, expected 1", billed=True)
    try:
        text, finish = choices[0]["message"].get("content"), choices[0].get("finish_reason")
        spent = [int(usage.get(f"{part}_tokens") or 0) for part in ("prompt", "completion")]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise FaultError("json", f"no message: {quoted(content)}", billed=True) from None
    # a text may be missing where the limit, or a filter, came before its first word
    if not isinstance(text, str) and not (text is None and finish in {"length", "content_filter"}):
        raise FaultError("no_text", "the message has no text", billed=True)
    # half a pair of surrogates is JSON, and nothing that could be written down
    whole = (text or "").encode(errors="replace").decode()
    finished, (asked, answered) = "length" if finish == "length" else "stop", spent
    if not token_ids:
        return Reply(whole, finished, asked, answered)
    read, sampled = _ids(told, "prompt_token_ids"), _ids(choices[0], "token_ids")
    return Reply(whole, finished, asked, answered, read, sampled)


def _ids(told: Mapping[str, Json], name: str) -> tuple[int, ...]:
    ids = told.get(name)
    if not isinstance(ids, list) or not all(type(token) is int for token in ids):
        said = f"a reply without the tokens' ids: it has no list of numbers {name!r}"
        raise FaultError("no_token_ids", said, passing=False, billed=True)
    return tuple(ids)


def _refused(status: int, headers: Mapping[str, str], content: bytes, *, now: float) -> Reply:
    said = quoted(content)
    if status in {400, 413, 422} and _TOO_LONG.search(content.decode(errors="replace")):
        return Reply("", "overlong")
    passing = status in _PASSING or status >= 500
    wait = _seconds(headers.get("retry-after", ""), now=now) if passing else 0.0
    raise FaultError(f"status_{status}", f"status {status}: {said}", passing=passing, wait=wait)


def _seconds(value: str, *, now: float) -> float:
    """Return what a `Retry-After` asks for: seconds, or a date; 0 if it says neither."""
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - now
        except ValueError:
            return 0.0
    return seconds if 0 < seconds < float("inf") else 0.0


def quoted(content: bytes) -> str:
    r"""Return a server's words as they may stand in a message: its error's if it names one.

    >>> quoted(b'{"error": {"message": "no such\\nmodel"}}')
    "'no such\\nmodel'"
    """
    text = content.decode(errors="replace").strip()
    try:
        told: Any = json.loads(text)
    except (ValueError, RecursionError):
        told = None
    if isinstance(told, dict):
        inner = told.get("error", told)
        message = inner.get("message") if isinstance(inner, dict) else inner
        text = message if isinstance(message, str) else text
    if not text:
        return "nothing"
    return ascii(text if len(text) <= LONGEST else text[:LONGEST] + "...")
