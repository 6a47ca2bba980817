"""Signs of trouble, read off the records of a run.

Each sign compares a round with the first one, or with the rounds before it, as one number that is
the worse the greater it is; above its limit it is an alarm. What an alarm does is up to the config:
warn, stop, or roll back. A sign that can't be read (too few prompts, nothing measured) is no alarm.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias

from eva.evals.compare import BETTER, compare
from eva.types import Json

Action: TypeAlias = Literal["off", "warn", "stop", "rollback"]
Record: TypeAlias = Mapping[str, Json]
Results: TypeAlias = Mapping[str, Mapping[str, Json]]
"""What evaluators returned, by name."""

LEAST = 16
"""Prompts, or proposals, below which a round's figures swing too much to be a sign."""


@dataclass(frozen=True, slots=True)
class Sign:
    """What was read."""

    value: float
    """The worse the greater."""
    says: str
    """The same in words."""


@dataclass(frozen=True, slots=True)
class Limit:
    """When a sign is an alarm, and what that does."""

    limit: float
    action: Action = "warn"


@dataclass(frozen=True, slots=True)
class Seen:
    """What signs are read from."""

    records: Sequence[Record]
    """Of the rounds so far; the last is the one in question."""
    before: Results
    """Evaluations of the first policy."""
    after: Results
    """Evaluations of the round's policy; empty where it was not measured."""
    wanted: Sequence[str] = ()
    """Parts of the reward that are the better the higher."""

    def both(self, part: str, name: str) -> tuple[Json, Json] | None:
        """Return a figure in the first round and in the last, if both have enough prompts."""
        first, last = self.records[0], self.records[-1]
        if first is last or min(_prompts(first), _prompts(last)) < LEAST:
            return None
        values = first[part].get(name), last[part].get(name)
        return None if None in values else values


def length(seen: Seen) -> Sign | None:
    """Answers grow or shrink: the ratio of mean lengths, taken above 1."""
    both = seen.both("solver", "length_mean")
    if both is None or min(both) <= 0:
        return None
    first, last = both
    ratio = max(last / first, first / last)
    then, now = _apart(first, last)
    return Sign(ratio, f"answers have {now} tokens in the mean, in round 1 they had {then}")


def repetition(seen: Seen) -> Sign | None:
    """Answers repeat themselves: the rise of the share of repeated runs of four words."""
    return _rise(seen, "repetition", "of the runs of four words in an answer are repeated")


def truncation(seen: Seen) -> Sign | None:
    """Answers run into the token limit: the rise of the share that does."""
    return _rise(seen, "truncated", "of the answers are cut off by the token limit")


def diversity(seen: Seen) -> Sign | None:
    """Prompts grow alike: what is lost of the share of different runs of three words."""
    both = seen.both("creator", "diversity")
    if both is None or not both[0]:
        return None
    first, last = both
    then, now = _percents(first, last)
    return Sign(
        1 - last / first,
        f"of the runs of three words in the prompts {now} differ, in round 1 {then} did",
    )


def acceptance(seen: Seen) -> Sign | None:
    """Gates refuse nearly everything: what is lost of the usual share of accepted proposals.

    1 where nothing was accepted, whatever is usual.
    """
    now = seen.records[-1]["creator"]
    if not now.get("children") and now.get("refused", 0) >= LEAST // 2:
        reasons = sorted(now["refusals"].items(), key=lambda item: -item[1])
        by_gate = ", ".join(f"{name} {count}" for name, count in reasons)
        return Sign(
            1.0, f"no prompt was evolved: all {now['refused']} proposals refused ({by_gate})"
        )
    shares = [_acceptance(record) for record in seen.records]
    earlier, last = [share for share in shares[:-1] if share is not None], shares[-1]
    if last is None or not earlier or not (usual := statistics.median(earlier)):
        return None
    then, now = _percents(usual, last)
    return Sign(
        1 - last / usual,
        f"{now} of the proposed prompts are accepted, in earlier rounds {then} were",
    )


def disagreement(seen: Seen) -> Sign | None:
    """Prompts are drawn where rewards disagree: how informativeness correlates with that."""
    record = seen.records[-1]
    value = record["creator"].get("disagreement_correlation")
    if value is None or _prompts(record) < LEAST:
        return None
    return Sign(
        value,
        f"informativeness and the disagreement of the rewards correlate with {value:.2f}: what is "
        "evolved may be what the rewards cannot judge",
    )


def heldout(seen: Seen) -> Sign | None:
    """A measure on held-out prompts fell: how far its whole 95 % interval lies below 0."""
    falls = [
        (-d["high"], d)
        for name, result in seen.after.items()
        if name in seen.before
        for d in compare([seen.before[name]], [result])["differences"]
        if BETTER.get(d["value"]) == 1 and d["label"] in {"", "unseen"} and d["high"] is not None
    ]
    if not falls:
        return None
    value, worst = max(falls, key=lambda fall: fall[0])
    first, last = (r["solver"].get("reward_mean") for r in (seen.records[0], seen.records[-1]))
    trained = (
        "" if None in (first, last) else f"; in training it went from {first:.2f} to {last:.2f}"
    )
    return Sign(
        value,
        f"{worst['metric']} changed by {worst['difference']:+.3f} since the beginning (95 % "
        f"interval {worst['low']:+.3f} to {worst['high']:+.3f}){trained}",
    )


def parts(seen: Seen) -> Sign | None:
    """A part of the reward falls as the whole rises: by how many of its deviations in round 1."""
    rewards, means = seen.both("solver", "reward_mean"), seen.both("solver", "parts")
    if rewards is None or means is None or rewards[1] <= rewards[0]:
        return None
    first, last = means
    spread = seen.records[0]["solver"]["part_deviations"]
    falls = [
        ((first[name] - last[name]) / spread[name], name)
        for name in seen.wanted
        if name in first and name in last and spread[name] > 0
    ]
    if not falls:
        return None
    value, name = max(falls)
    low, high = _apart(*rewards, decimals=2)
    then, now = _apart(first[name], last[name], decimals=2)
    return Sign(
        value,
        f"the reward rose from {low} to {high}, but its part {name} fell from {then} to {now}",
    )


SIGNS: Mapping[str, Callable[[Seen], Sign | None]] = MappingProxyType(
    {
        "length": length,
        "repetition": repetition,
        "truncation": truncation,
        "diversity": diversity,
        "acceptance": acceptance,
        "disagreement": disagreement,
        "parts": parts,
        "heldout": heldout,
    }
)
"""The signs by the names of their alarms."""

OF_ANSWERS = frozenset({"length", "repetition", "truncation", "parts"})
"""Signs that answers show: offline, those of the policy with which the round began."""


@dataclass(frozen=True, slots=True)
class Watcher:
    """Turns signs into alarms; a `Watch`."""

    limits: Mapping[str, Limit]
    """By name of the alarm; those left out are off."""
    wanted: Sequence[str] = ()
    """Parts of the reward that are the better the higher."""

    def look(
        self, records: Sequence[Record], past: Sequence[Json], *, before: Results, after: Results
    ) -> list[Json]:
        """Return the alarms of the last round; see `eva.protocols.Watch`."""
        seen, alarms = Seen(records, before, after, self.wanted), []
        rolled_back = [{alarm["alarm"] for alarm in some if alarm["rolls_back"]} for some in past]
        just_now = bool(rolled_back and rolled_back[-1])
        known = set().union(*rolled_back)
        for name, limit in self.limits.items():
            sign = SIGNS[name](seen) if limit.action != "off" else None
            if sign is None or sign.value <= limit.limit:
                continue
            # a second time, or twice in a row, going back has shown that it does not help
            again = limit.action == "rollback" and (name in known or just_now)
            alarms.append(
                {
                    "alarm": name,
                    "value": sign.value,
                    "limit": limit.limit,
                    "says": sign.says,
                    "rolls_back": _blamed(name, records)
                    if limit.action == "rollback" and not again
                    else [],
                    "stops": limit.action == "stop" or again,
                }
            )
        if any(alarm["stops"] for alarm in alarms):
            alarms = [alarm | {"rolls_back": []} for alarm in alarms]
        return alarms


def _blamed(name: str, records: Sequence[Record]) -> list[int]:
    """Return the rounds whose policies a sign speaks against: what was learned from one, too."""
    t, online = len(records), "steps" in records[-1]
    return [t - 1, t] if name in OF_ANSWERS and not online else [t]


def _prompts(record: Record) -> int:
    return int(record["counts"]["prompts"])


def _acceptance(record: Record) -> float | None:
    creator = record["creator"]
    proposals = creator.get("children", 0) + creator.get("refused", 0)
    return creator["acceptance"] if proposals >= LEAST else None


def _apart(first: float, last: float, *, decimals: int = 0) -> tuple[str, str]:
    """Return two figures as text, with more decimals where fewer would not tell them apart."""
    texts = f"{first:.{decimals}f}", f"{last:.{decimals}f}"
    if first == last or texts[0] != texts[1] or decimals == sys.float_info.dig:
        return texts
    return _apart(first, last, decimals=decimals + 1)


def _percents(first: float, last: float) -> tuple[str, str]:
    then, now = _apart(100 * first, 100 * last)
    return f"{then} %", f"{now} %"


def _rise(seen: Seen, name: str, what: str) -> Sign | None:
    both = seen.both("solver", name)
    if both is None:
        return None
    first, last = both
    then, now = _percents(first, last)
    return Sign(last - first, f"{now} {what}, in round 1 {then} were")
