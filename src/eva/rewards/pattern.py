"""Whether an answer matches a regular expression; runs in the worker of a `VerifierReward`.

Some expressions take exponential time on some texts, whoever wrote them: hence the worker.
"""

from __future__ import annotations

import re


def matched(
    response: str, pattern: str, *, whole: bool, group: str = "", answer: object = None
) -> float:
    """Return 1 where the response matches, else 0.

    Args:
        response: the answer.
        pattern: a regular expression; flags stand in it, as `(?i)`.
        whole: whether it must match all of the response, surrounding space aside, or some of it.
        group: name or number of a group that must equal `answer`, in the last match; empty asks
            for a match alone.
        answer: what the group is compared with, as text without surrounding space.

    Raises:
        re.error: the expression is none.
        IndexError: it has no such group.
    """
    found = re.compile(pattern)
    if whole:
        last = found.fullmatch(response.strip())
    elif not group:
        last = found.search(response)
    else:
        last = None
        for last in found.finditer(response):  # noqa: B007 - the last one is wanted
            pass
    if last is None or not group:
        return float(last is not None)
    said = last[int(group) if group.isdigit() else group]
    return float(said is not None and said.strip() == str(answer).strip())
