"""Answers from an OpenAI-compatible server: a `Generator` whose faults pass, or stop the run.

- Several requests are under way at once. Each is tried again after what may pass, and given up at
  once after what cannot; then the others end their tries, and the replies that came are kept.
- An answer without a word is believed when it comes twice, or in the last try.
- Waiting times double, and are drawn evenly from 0 to that ("full jitter") by a source of their
  own: neither they nor faults touch the game's random streams.
- Responses are text with a count of tokens: they can be scored, and rewrite prompts, and a local
  policy does not train on them. Only where an endpoint is of the policy itself, token ids are asked
  for.
"""

from __future__ import annotations

import hashlib
import json
import random
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

import httpx2

from eva.engines.completions import (
    ASK_TOKEN_IDS,
    PATH,
    FaultError,
    LimitField,
    Reply,
    longest_prompt,
    read,
    request,
)
from eva.engines.replies import AbandonedError, Replies
from eva.errors import GenerationError
from eva.protocols import Generator
from eva.rng import Streams
from eva.types import Group, Json, Prompt, SamplingParams

FIRST_WAIT = 0.5
"""Seconds within which the second try begins, unless the server asks for more."""
LONGEST_WAIT = 60.0
"""Where the doubling ends."""
LONGEST_ASKED = 600.0
"""Most seconds that a server's `Retry-After` is waited for."""

LARGEST = 64 * 2**20
"""Bytes of a reply above which it is given up: one without end would fill the memory."""

Pause: TypeAlias = Callable[[threading.Event, float], object]
"""Waits some seconds, or until the event is set."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server, and how it is asked; `eva.app.config_servers.Server` says what each field means."""

    url: str
    model: str
    key: str = field(default="", repr=False)
    concurrency: int = 8
    retries: int = 6
    seconds: float = 120.0
    input_price: float = 0.0
    output_price: float = 0.0
    max_cost: float = 0.0
    limit_field: LimitField = "max_tokens"
    extra: Mapping[str, Json] = field(default_factory=dict)
    token_ids: bool = False
    """Whether the ids of the tokens are asked for, by vLLM's extension."""

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Return the cost of so many tokens."""
        spent = prompt_tokens * self.input_price + completion_tokens * self.output_price
        return spent / 1e6


class ServerGenerator(Generator):
    """Answers prompts through a server, which it asks at most `concurrency` times at once."""

    def __init__(
        self,
        endpoint: Endpoint,
        replies: Replies,
        *,
        pause: Pause = threading.Event.wait,
        luck: random.Random | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.replies = replies
        self._pause = pause
        self._luck = luck or random.Random()
        self._pool = ThreadPoolExecutor(endpoint.concurrency, thread_name_prefix="eva-server")
        self._client = httpx2.Client(
            headers={"Authorization": f"Bearer {endpoint.key}"} if endpoint.key else {},
            timeout=endpoint.seconds,
            limits=httpx2.Limits(max_connections=endpoint.concurrency),
        )
        self._url = endpoint.url.rstrip("/") + PATH
        self._path = httpx2.URL(self._url).path
        weakref.finalize(self, self._client.close)

    def sample(
        self, prompts: Sequence[Prompt], params: SamplingParams, streams: Streams
    ) -> list[Group]:
        """Return one group per prompt, in order; `eva.protocols.Generator`.

        Raises:
            GenerationError: the server refuses, a request failed in every try, or the cap is
                reached; replies that came are kept.
        """
        stop = threading.Event()
        bodies = [
            [self._body(prompt, i, params, streams=streams) for i in range(params.n)]
            for prompt in prompts
        ]
        asked = [[self._pool.submit(self._fetch, body, stop) for body in row] for row in bodies]
        _wait_for([future for row in asked for future in row], stop)
        groups = []
        for prompt, row in zip(prompts, asked, strict=True):
            replies = [future.result() for future in row]
            known = tuple(r for reply in replies if (r := reply.response) is not None)
            # the prompt is too long for all of them, or for none
            whole = known if len(known) == len(replies) else ()
            groups.append(Group(prompt, replies[0].prompt_ids, whole, policy=self.endpoint.model))
        return groups

    def _body(self, prompt: Prompt, i: int, params: SamplingParams, *, streams: Streams) -> Json:
        endpoint = self.endpoint
        return request(
            prompt,
            i,
            model=endpoint.model,
            params=params,
            streams=streams,
            limit_field=endpoint.limit_field,
            extra={**endpoint.extra, **(ASK_TOKEN_IDS if endpoint.token_ids else {})},
        )

    def _fetch(self, body: Json, stop: threading.Event) -> Reply:
        # the limit's own name may change between sessions: it is the same request
        limit = self.endpoint.limit_field
        same = {("max_tokens" if name == limit else name): body[name] for name in body}
        named = json.dumps([self._path, same], sort_keys=True)
        key = hashlib.sha256(named.encode()).hexdigest()
        try:
            return self.replies.fetch(key, lambda: self._persist(key, body, stop))
        except BaseException:
            stop.set()
            raise

    def _persist(self, key: str, body: Json, stop: threading.Event) -> Reply:
        """Make tries until one gives a reply, or none is left."""
        endpoint, faults = self.endpoint, Counter[str]()
        worst = endpoint.cost(longest_prompt(body), body[endpoint.limit_field])
        for attempt in range(endpoint.retries + 1):
            sure = attempt == endpoint.retries
            try:
                return self.replies.attempt(
                    key,
                    partial(self._send, body, believed=sure or bool(faults["empty"])),
                    price=lambda r: endpoint.cost(r.prompt_tokens, r.completion_tokens),
                    worst=worst,
                    cap=endpoint.max_cost,
                    stop=stop,
                )
            except FaultError as fault:
                faults[fault.kind] += 1
                if not fault.passing or sure:
                    raise GenerationError(self._obituary(key, fault, faults)) from None
                drawn = self._luck.uniform(0, min(LONGEST_WAIT, FIRST_WAIT * 2**attempt))
                self._pause(stop, max(drawn, min(fault.wait, LONGEST_ASKED)))
        raise AssertionError("the last try returns or raises")

    def _send(self, body: Json, *, believed: bool) -> Reply:
        """Make one try; an empty answer is a fault unless it is to be believed."""
        deadline = time.monotonic() + self.endpoint.seconds
        content = bytearray()
        try:
            with self._client.stream("POST", self._url, json=body) as response:
                for chunk in response.iter_bytes():
                    content += chunk
                    if len(content) > LARGEST:
                        said = f"a reply of more than {LARGEST:,} bytes"
                        raise FaultError("too_large", said, billed=True)
                    if time.monotonic() > deadline:  # the client's own limit is between two chunks
                        raise httpx2.ReadTimeout("too slow")
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as error:
            raise FaultError(
                "connect", self._scrubbed(str(error) or type(error).__name__)
            ) from None
        except httpx2.TimeoutException:
            said = f"no whole reply within {self.endpoint.seconds:g} s"
            raise FaultError("timeout", said, billed=True) from None
        except httpx2.RequestError as error:
            said = self._scrubbed(str(error) or type(error).__name__)
            raise FaultError("dropped", said, billed=True) from None
        told = self._scrubbed(content.decode("latin-1")).encode("latin-1")
        reply = read(
            response.status_code,
            response.headers,
            told,
            now=time.time(),
            token_ids=self.endpoint.token_ids,
        )
        if not reply.text and reply.finish != "overlong" and not believed:
            raise FaultError("empty", "an answer without a word", billed=True)
        return reply

    def _scrubbed(self, text: str) -> str:
        """Return a server's words without the key, which some repeat."""
        key = self.endpoint.key
        return text.replace(key, "[key]") if key else text

    def _obituary(self, key: str, fault: FaultError, faults: Counter[str]) -> str:
        tries = sum(faults.values())
        if not fault.passing:
            what = f"refused request {key[:12]}: {fault}"
            hint = "Check url, model and key; what was paid for is kept"
        else:
            kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(faults.items()))
            what = f"gave no reply to request {key[:12]} in {tries} tries ({kinds}); last: {fault}"
            hint = "See that the server runs, or raise retries and seconds; what came is kept"
        # once more: a key that came escaped was none until its message was read
        return self._scrubbed(f"{self._url}: {self.endpoint.model!r} {what}. {hint}")


def _wait_for(futures: Sequence[Future[Reply]], stop: threading.Event) -> None:
    """Wait for all; where one fails, or the caller is interrupted, begin no more tries.

    Raises:
        GenerationError: what the first one said that failed.
    """
    try:
        wait(futures, return_when=FIRST_EXCEPTION)
    finally:
        stop.set()
        for future in futures:
            future.cancel()
        wait(futures)
    failed = [e for f in futures if not f.cancelled() and (e := f.exception())]
    for error in failed:
        if not isinstance(error, AbandonedError):
            raise error
