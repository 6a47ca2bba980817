"""Rewriting answers: the policy improves its best answer before pairs are made (arXiv:2411.00062).

The paper's optional response rewriter turns a pair (y+, y-) into (y'+, y-), y'+ being the solver's
own rewrite of y+.

Departures from the paper
- A rewrite joins the answers of its prompt with a reward of its own, and is chosen only where that
  is the highest; the paper takes y'+ in any case. So a rewrite can't make a pair worse by the
  reward, and y+ itself is never the rejected one because of it.
- The template is our own; the paper's is not printed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from eva.protocols import Generator
from eva.rng import Streams
from eva.types import Group, Message, Prompt, SamplingParams, ScoredGroup

TEMPLATE = """\
Improve the answer below. Keep what is right, correct what is wrong, add what is missing, and do all
that the request asks for. Keep about the same length. Reply with the improved answer alone.

Request:
{prompt}

Answer:
{answer}"""


@dataclass(frozen=True)
class AnswerRewriter:
    """Asks the policy for a better version of its best answer; a `ResponseRewriter`."""

    params: SamplingParams
    """How rewrites are sampled; n is 1."""
    template: str = TEMPLATE
    """What the policy is told, with `{prompt}` and `{answer}`."""

    def rewrite(
        self, scored: Sequence[ScoredGroup], policy: Generator, streams: Streams
    ) -> list[Group]:
        """Return a group per scored one, in order: its prompt with the rewrite of its best answer.

        It has no responses where nothing was scored, or where the request is too long. Log-probs
        are left out: they were recorded under another request.
        """
        requests = [self._request(group) for group in scored]
        asked = [request for request in requests if request is not None]
        replies = iter(policy.sample(asked, self.params, streams) if asked else [])
        return [
            _regrouped(group.group, None if request is None else next(replies))
            for group, request in zip(scored, requests, strict=True)
        ]

    def _request(self, group: ScoredGroup) -> Prompt | None:
        known = [(r, -i) for i, r in enumerate(group.rewards) if r is not None]
        if not known:
            return None
        best = group.group.responses[-max(known)[1]]
        prompt = group.prompt
        before, _, after = self.template.partition("{answer}")
        # the prompt is filled in on either side of the answer: one may hold the other's placeholder
        told = (
            before.replace("{prompt}", prompt.text)
            + best.text
            + after.replace("{prompt}", prompt.text)
        )
        return Prompt((*prompt.messages[:-1], Message("user", told)))


def _regrouped(group: Group, reply: Group | None) -> Group:
    if reply is None:
        return replace(group, responses=())
    responses = tuple(replace(response, logprobs=()) for response in reply.responses)
    return replace(group, responses=responses, policy=reply.policy)
