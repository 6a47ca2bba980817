"""Rewriting by a language model: the solver itself or another one (arXiv:2411.00062, sec. 3.2).

Departures from the paper
- The sampling parameters are those of the published code (temperature 0.88, at most 666 tokens);
  it does not say top_p, which is 1 here.
- Replies are read strictly: quotes, fences and labels around the new prompt are taken off, and
  what is empty, cut off, unchanged, an answer, or talk about the rewriting is refused with its
  reason. The paper takes every reply as it comes.
- The system message and earlier turns are kept, and shown to the rewriter.
- An operator that takes a second prompt gets one of the others that are rewritten beside it, open
  and standing alone; where there is none, it is not drawn.
- A verifiable prompt is not rewritten, since nobody would know whether its checks still fit;
  unless `keep_checks` vouches for it.
- Columns of the data set (a reference answer, say) speak of the old prompt, and are dropped but for
  those named in `keep_columns`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from eva.creator.asking import asks
from eva.creator.gates.meta_text import meta_phrase
from eva.creator.operators import Operator
from eva.creator.wording import word_grams, words
from eva.protocols import Generator
from eva.rng import Streams
from eva.types import Group, Prompt, Proposal, SamplingParams

PAPER_PARAMS = SamplingParams(n=1, temperature=0.88, top_p=1.0, max_tokens=666)
"""The rewriter's sampling in the published code."""


@dataclass(frozen=True, slots=True)
class Rewriter:
    """Evolves prompts by asking a language model for a rewrite; an `Evolver`."""

    generator: Generator
    operators: Sequence[Operator]
    """One is drawn, evenly, for each rewrite."""
    params: SamplingParams = PAPER_PARAMS
    """How rewrites are sampled; n is 1."""
    keep_checks: bool = False
    """Whether verifiable prompts are rewritten, and the checks kept as they are."""
    keep_columns: frozenset[str] = frozenset()
    """Columns of the data set that stay true of a rewritten prompt."""
    chain: bool = True
    """Whether an accepted child is the next parent, as in EvolInstruct."""

    def propose(self, parents: Sequence[Prompt], step: int, streams: Streams) -> list[Proposal]:
        """Return one rewrite per parent, in order, or the reason why there is none.

        Raises:
            GenerationError: the rewriter is broken as a whole.
        """
        tasks = [
            self._task(parent, parents, streams.of("operator", parent.id, step))
            for parent in parents
        ]
        open_ = [i for i, task in enumerate(tasks) if not task.obstacle]
        requests = [_request(parents[i], tasks[i]) for i in open_]
        # A step has streams of its own: after a refusal the same request is made once more.
        asked = streams.at(f"{streams.stage}/rewrite{step}")
        groups = self.generator.sample(requests, self.params, asked) if requests else []
        replies = dict(zip(open_, groups, strict=True))
        return [
            self._read(parent, task, replies.get(i), born=streams.round)
            for i, (parent, task) in enumerate(zip(parents, tasks, strict=True))
        ]

    def _task(self, parent: Prompt, beside: Sequence[Prompt], rng: np.random.Generator) -> _Task:
        mates = _mates(parent, beside) if any(op.others for op in self.operators) else []
        fitting = [op for op in self.operators if mates or not op.mixes]
        if not fitting:
            operator = self.operators[0]
            return _Task(operator, obstacle="no other prompt to mix it with")
        operator = fitting[int(rng.integers(len(fitting)))]
        if parent.checks and not self.keep_checks:
            return _Task(operator, obstacle="has checks that a rewrite may break")
        drawn = rng.permutation(len(mates))[: operator.others]
        return _Task(operator, tuple(mates[i] for i in drawn))

    def _read(self, parent: Prompt, task: _Task, group: Group | None, *, born: int) -> Proposal:
        operator = task.operator
        if group is None:
            return Proposal(parent, operator.name, None, task.obstacle)
        tokens = group.generated_tokens
        reply = group.responses[0].text if group.responses else ""
        text = unwrap(reply)
        if not group.responses:
            reason: str | None = "too long for the rewriter"
        elif group.responses[0].truncated:
            reason = f"cut off at {self.params.max_tokens} tokens"
        else:
            reason = fault(text, parent.text, operator, others=[o.text for o in task.others])
        if reason:
            return Proposal(parent, operator.name, None, reason, reply, tokens)
        child = parent.rewritten(
            text, operator=operator.name, born=born, **self._kept(parent, task, text)
        )
        return Proposal(parent, operator.name, child, text=reply, generated_tokens=tokens)

    def _kept(self, parent: Prompt, task: _Task, text: str) -> dict[str, Any]:
        """Return what a child has beside its text."""
        columns = {k: v for k, v in parent.columns.items() if k in self.keep_columns}
        fields: dict[str, Any] = {"columns": columns}
        if parent.checks:
            # The topic of a verifiable prompt is its request: the new text, constraints and all.
            fields |= {"checks": parent.checks, "topic": text}
        elif not task.operator.keeps_topic:
            fields["topic"] = ""
        if task.operator.mixes:
            fields["parents"] = (parent.id, *(other.id for other in task.others))
        return fields


class _Task(NamedTuple):
    """What is asked for one parent."""

    operator: Operator
    others: tuple[Prompt, ...] = ()
    obstacle: str = ""
    """Why nothing is asked; empty where something is."""


def _mates(parent: Prompt, beside: Sequence[Prompt]) -> list[Prompt]:
    """Return the prompts that a parent can be shown with, by id: the order of a call is chance."""
    alone = {
        mate.id: mate
        for mate in beside
        if words(mate.text) != words(parent.text)
        and not mate.checks
        and all(turn.role == "system" for turn in mate.messages[:-1])
    }
    return [alone[id] for id in sorted(alone)]


_LABEL = re.compile(
    r"""\A[\#*\s]*
    (?:(?:sure|certainly|of\ course|okay|ok)\s*[,!.:]?\s*)?
    (?:here(?:['’]s|\ is)\s+)?
    (?:(?:the|a|an|my|your)\s+)?
    (?:(?:new|rewritten|evolved|revised|reworded|modified|updated|slightly|harder|final)\s+){0,3}
    (?:prompt|instruction|question|request|version|rewrite|output)
    # possessive: else the time would grow with the square of blanks that no colon follows
    \s*+\**+\s*+:\s*+\**+\s*+""",
    re.IGNORECASE | re.VERBOSE,
)
_FENCE = re.compile(r"\A(```|~~~)[\w-]*\n(.*?)\n?\1\Z", re.DOTALL)
_PAIRS = (
    *(('"', '"'), ("“", "”"), ("'", "'"), ("‘", "’"), ("«", "»"), ("„", "“"), ("`", "`")),
    *(("**", "**"), ("<prompt>", "</prompt>")),
)


def unwrap(reply: str) -> str:
    """Return the new prompt without the quotes, fence, emphasis or label that is put round it.

    >>> unwrap('**New prompt:** "Name three colours."')
    'Name three colours.'
    """
    text = reply.strip()
    while (inner := _inner(text)) != text:
        text = inner
    return text


def _inner(text: str) -> str:
    text = _LABEL.sub("", text, count=1).strip()
    fenced = _FENCE.match(text)
    if fenced and fenced[1] not in fenced[2]:
        return fenced[2].strip()
    for left, right in _PAIRS:
        body = text[len(left) : len(text) - len(right)]
        wrapped = len(text) > len(left + right) and text.startswith(left) and text.endswith(right)
        # Quotes within: the outer ones may belong to two quotations, "a" and "b".
        if wrapped and left not in body and right not in body:
            return body.strip()
    return text


def fault(text: str, parent: str, operator: Operator, *, others: Sequence[str] = ()) -> str | None:
    """Return why a text is no rewrite of the parent's, or None.

    `others` are the further prompts that the rewriter saw: their words are no fault, but a copy of
    one is no rewrite. Answers and talk are known in English alone, and answers only by a parent
    that asks.
    """
    if not words(text):
        return "empty"
    if words(text) == words(parent):
        return "unchanged"
    if any(words(text) == words(other) for other in others):
        return "repeats another prompt that was shown"
    if echoed := _echo(text, [parent, *others], operator):
        return f"repeats its instructions: {echoed!r}"
    phrase = meta_phrase(text)
    if phrase and not any(phrase in shown for shown in (parent, *others)):
        return f"speaks of the rewriting: {phrase!r}"
    if asks(parent) and not asks(text):
        return "asks for nothing: an answer, it seems"
    return None


def _echo(text: str, shown: Sequence[str], operator: Operator) -> str | None:
    """Return the first five words in a row that a text has from the template alone, or None."""
    told = set(word_grams(words(operator.template), 5))
    told -= {run for prompt in shown for run in word_grams(words(prompt), 5)}
    return next((run for run in word_grams(words(text), 5) if run in told), None)


def _request(parent: Prompt, task: _Task) -> Prompt:
    asked = task.operator.request(parent.text, [other.text for other in task.others])
    return in_context(asked, parent)


def in_context(asked: str, prompt: Prompt) -> Prompt:
    """Return a request about a prompt's last turn, with the turns before it if there are any."""
    if not prompt.messages[1:]:
        return Prompt.of(asked)
    turns = "\n".join(f"{turn.role}: {turn.content}" for turn in prompt.messages[:-1])
    return Prompt.of(f"{asked}\n\nThe prompt is the next turn of this conversation:\n{turns}")
