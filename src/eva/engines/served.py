"""A policy that trains here and answers through a server of its own: vLLM, SGLang, llama.cpp, ...

The server is started when answers are asked for, on the weights as they are then, and ended as soon
as anything else is asked of the engine: answering and training take turns, on one GPU too, and no
answer comes from weights that are gone. So it suits rounds, not single steps.

A server answers in text. Where it doesn't say which tokens it sampled, those to train on are made
from the text by the policy's tokenizer, and may be others: a text can be written in several ways.
Log-probs of what was sampled are not known.
"""

from __future__ import annotations

import json
import logging
import shutil
import socket
import subprocess
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2

from eva.engines.chat import encode_prompt, merge_system, takes_system, tokenised
from eva.engines.leftover import NOTE, end_all, end_left_over, marked, unwatch, watch
from eva.errors import DataError, GenerationError
from eva.protocols import Generator
from eva.types import Example, Group, Prompt, SamplingParams

if TYPE_CHECKING:
    from eva.engines.local import LocalEngine
    from eva.engines.policy import Policy
    from eva.protocols import Objective
    from eva.rng import Streams

_log = logging.getLogger(__name__)

_ENDING = 3.0
"""Seconds that a server may take from its last connection, or its last word, to its end."""


@dataclass(frozen=True, slots=True)
class Serving:
    """How a server is started, and asked."""

    command: Sequence[str]
    """`{model}` stands for the folder of the weights, `{port}` for a free port of this machine."""
    folder: Path
    """Where the weights that are served lie for the time, and what the server says: `log.txt`."""
    ask: Callable[[str, str], Generator]
    """Makes what asks the server, from the address of its API and the model's name there."""
    path: str = "/v1"
    """Where its API begins."""
    ready: str = "/health"
    """What answers 200 once it is ready."""
    seconds: float = 600.0
    """How long it may take until it answers."""


class ServedEngine:
    """A local engine whose answers come from a server; an `Engine`."""

    def __init__(self, engine: LocalEngine, serving: Serving) -> None:
        self._engine = engine
        self._serving = serving
        self._server: _Server | None = None

    @property
    def policy(self) -> Policy:
        """The model and tokenizer that train."""
        return self._engine.policy

    @property
    def version(self) -> str:
        """Names the weights; see `eva.protocols.Engine`."""
        return self._engine.version

    def sample(
        self, prompts: Sequence[Prompt], params: SamplingParams, streams: Streams
    ) -> list[Group]:
        """Return one group per prompt, in order; see `eva.protocols.Generator`.

        Raises:
            GenerationError: the server does not start, ends, or refuses.
        """
        found = [Group(prompt, self._fitting(prompt), (), self.version) for prompt in prompts]
        asked = [i for i, group in enumerate(found) if group.prompt_ids]
        if not asked:
            return found
        self._server = self._server or _Server(self._serving, self._engine.export)
        sent = [self._told(prompts[i]) for i in asked]
        try:
            groups = self._server.generator.sample(sent, params, streams)
        except GenerationError as error:
            said = self._server.ended() or error
            raise GenerationError(f"{said}{self._server.words()}") from error
        for i, group in zip(asked, groups, strict=True):
            if group.prompt_ids:
                _refuse_other_prompt(group.prompt_ids, found[i])
            answered = replace(found[i], responses=group.responses)
            found[i] = tokenised(self.policy, answered)
        return found

    def logprobs(
        self, examples: Sequence[Example], *, base: bool = False
    ) -> list[tuple[tuple[float, ...], ...]]:
        """Return log-probs of every completion token; see `eva.protocols.Engine`."""
        self._end()
        return self._engine.logprobs(examples, base=base)

    def forward_backward(
        self, examples: Sequence[Example], objective: Objective, normaliser: float
    ) -> Mapping[str, float]:
        """Add to the gradient; see `eva.protocols.Engine`."""
        self._end()
        return self._engine.forward_backward(examples, objective, normaliser)

    def step(self, lr: float, clip: float | None) -> float:
        """Apply and clear the gradient; return its norm before clipping."""
        self._end()
        return self._engine.step(lr, clip)

    def save(self, folder: Path, *, optimiser: bool = False) -> None:
        """Write weights (and optimiser state) to a folder, such as for processes that train."""
        self._end()
        self._engine.save(folder, optimiser=optimiser)

    def load(self, folder: Path | None, *, optimiser: bool = False) -> None:
        """Restore what `save` wrote; None restores the first weights."""
        before = self.version
        self._engine.load(folder, optimiser=optimiser)
        if self.version != before:
            self._end()

    def export(self, folder: Path) -> None:
        """Write the policy as a Hugging Face folder."""
        self._engine.export(folder)

    def close(self) -> None:
        """End the server, if one runs."""
        self._end()

    def _end(self) -> None:
        if self._server is not None:
            self._server.end()
            self._server = None

    def _fitting(self, prompt: Prompt) -> tuple[int, ...]:
        """Return the prompt's tokens; none where template or context has no place for it."""
        try:
            ids = encode_prompt(self.policy, prompt)
        except DataError as error:
            _log.warning("%s; it gets no responses", error)
            return ()
        context = self.policy.context
        return ids if context is None or len(ids) < context else ()

    def _told(self, prompt: Prompt) -> Prompt:
        """Return the prompt as the server's own template can write it."""
        if prompt.messages[0].role != "system" or takes_system(self.policy.tokenizer):
            return prompt
        return replace(prompt, messages=merge_system(prompt.messages))


class _Server:
    """A process that serves one folder of weights."""

    def __init__(self, serving: Serving, export: Callable[[Path], None]) -> None:
        folder = serving.folder.absolute()
        weights, self._log = folder / "model", folder / "log.txt"
        end_left_over(folder)
        shutil.rmtree(weights, ignore_errors=True)
        weights.mkdir(parents=True)
        export(weights)
        _sample_as_asked(weights / "generation_config.json")
        port = _free_port()
        command = [
            word.replace("{model}", str(weights)).replace("{port}", str(port))
            for word in serving.command
        ]
        self._process, watcher = _started(command, folder, self._log)
        self.end = weakref.finalize(self, _end, self._process, folder, watcher)
        address = f"http://127.0.0.1:{port}"
        self._wait(f"{address}{serving.ready}", serving)
        self.generator = serving.ask(f"{address}{serving.path}", str(weights))

    def words(self) -> str:
        """Return the last of what the server said, to stand behind a message."""
        text = self._log.read_text(encoding="utf-8", errors="replace").strip()
        last = "\n".join(text.splitlines()[-15:])
        return f"\n(all that the server said is in {self._log})\n{last}" if last else ""

    def ended(self) -> str:
        """Return how the server ended while it answered; empty if it runs on."""
        try:
            code = self._process.wait(_ENDING)
        except subprocess.TimeoutExpired:
            return ""
        return (
            f"policy.serve: the server ended with exit code {code} while it answered: see what it "
            "said, change policy.serve.command if need be, and run the config into the same "
            "folder again"
        )

    def _wait(self, address: str, serving: Serving) -> None:
        deadline = time.monotonic() + serving.seconds
        while self._process.poll() is None:
            try:
                if httpx2.get(address, timeout=5).status_code == 200:
                    return
            except httpx2.TransportError:
                pass
            if time.monotonic() > deadline:
                words = self.words()
                self.end()
                raise GenerationError(
                    f"policy.serve: {address} did not answer within {serving.seconds:g} s: look at "
                    f"the command, or raise policy.serve.ready_seconds{words}"
                )
            time.sleep(0.2)
        code, words = self._process.returncode, self.words()
        self.end()
        raise GenerationError(f"policy.serve: the server ended with exit code {code}{words}")


def _refuse_other_prompt(read: Sequence[int], group: Group) -> None:
    """Raise where the server read other tokens than those that are trained on."""
    ours = group.prompt_ids
    if tuple(read) == ours:
        return
    pairs = zip_longest(read, ours)
    at = next(i for i, (theirs, expected) in enumerate(pairs) if theirs != expected)
    raise GenerationError(
        f"policy.serve: the server read prompt {group.prompt.id} as other tokens than the chat "
        f"template of the policy makes: at token {at} {_at(read, at)}, expected {_at(ours, at)} "
        f"({len(read)} tokens, expected {len(ours)}). What is trained on would not be what was "
        "answered: let the command use the template of the folder {model}"
    )


def _at(ids: Sequence[int], i: int) -> str:
    return str(ids[i]) if i < len(ids) else "the end"


def _sample_as_asked(path: Path) -> None:
    """Leave only token ids in a generation config, and let it sample.

    Servers take from it what a request does not say: `top_k` and penalties, which the local engine
    does not know; and `transformers serve` samples only where it says so.
    """
    said = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    kept = {key: value for key, value in said.items() if key.endswith("_token_id")}
    path.write_text(json.dumps(kept | {"do_sample": True}), encoding="utf-8")


def _started(
    command: Sequence[str], folder: Path, log: Path
) -> tuple[subprocess.Popen[bytes], subprocess.Popen[bytes]]:
    """Start a server, and before it what ends it: eva may be killed at any instant."""
    watcher = watch(folder)
    try:
        with log.open("wb") as file:
            # a session of its own: an interrupt from the terminal is not for the server
            server = subprocess.Popen(
                command,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=marked(folder),
                start_new_session=True,
            )
    except OSError as error:
        unwatch(watcher)
        raise GenerationError(
            f"policy.serve: {command[0]!r} cannot be started: {error}; install it, or write where "
            "it lies into policy.serve.command"
        ) from error
    (folder / NOTE).write_text(str(server.pid), encoding="ascii")
    return server, watcher


def _end(process: subprocess.Popen[bytes], folder: Path, watcher: subprocess.Popen[bytes]) -> None:
    """End a server with all that it started, and remove its copy of the weights."""
    end_all(process.pid)
    process.wait()
    shutil.rmtree(folder / "model", ignore_errors=True)
    (folder / NOTE).unlink(missing_ok=True)
    unwatch(watcher)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
