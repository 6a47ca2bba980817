"""Judges that follow a script, for the tests of those that ask them."""

import re

from eva.rewards.judging import Asking
from eva.types import Group, Response, SamplingParams

BLOCK = re.compile(r"<(text-[0-9a-f]{12})>\n(.*?)\n</\1>", re.DOTALL)


def blocks(question):
    """Return what stands between marks: the request, and one answer or two."""
    return [match[2] for match in BLOCK.finditer(question)]


class Scripted:
    """Says what a function makes of (request, answers, draw); notes what it was asked."""

    def __init__(self, reply):
        self.reply = reply
        self.asked = []

    def sample(self, prompts, params, streams):
        self.asked += [prompt.text for prompt in prompts]
        return [
            Group(prompt, (), tuple(self._one(prompt, i, streams) for i in range(params.n)), "s")
            for prompt in prompts
        ]

    def _one(self, prompt, i, streams):
        request, *answers = blocks(prompt.text)
        said = self.reply(request, answers, streams.of(prompt.id, i))
        return said if isinstance(said, Response) else Response(said, (1,))


class Deaf:
    """Has no room for any question."""

    def sample(self, prompts, params, streams):
        return [Group(prompt, (), (), "d") for prompt in prompts]


def asking(reply, n=1):
    return Asking(Scripted(reply), SamplingParams(n, 0.0 if n == 1 else 1.0, 1.0, 64))


def by_worth(worth):
    """Return a judge that compares and grades by a function of the answer."""

    def reply(request, answers, rng):
        values = [worth(answer) for answer in answers]
        if len(values) == 1:
            return f"So it is.\nScore: {values[0]}"
        first, second = values
        return f"Verdict: {'A' if first > second else 'B' if second > first else 'tie'}"

    return reply


def good_judge(request, answers, rng):
    """Know eva's own good answers from their corruptions, and prefer the longer one elsewhere."""
    from eva.rewards.judge_check import cases

    good = {case.prompt: case.good for case in cases()}.get(request)
    if good is None:
        return by_worth(lambda text: min(10, 1 + len(text.split())))(request, answers, rng)
    return by_worth(lambda text: 9 if text == good else 3)(request, answers, rng)
