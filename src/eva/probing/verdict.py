"""What the findings mean for somebody who thinks of evolving these prompts: rules of thumb.

Every threshold is a named constant with its reason; docs/probe.md lists them. The first rule of
`_RULES` that applies gives the verdict, so a doubt about the measurement comes before what was
measured; others that apply are said beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from eva.probing.findings import Findings, percent
from eva.probing.reliability import CANDIDATES, ENOUGH, FEWEST_ANSWERS, FEWEST_RANKED, MOST

Help: TypeAlias = Literal["likely", "doubtful", "unlikely", "cannot tell"]

FEWEST_PROMPTS = 16
"""With fewer, the interval of any share is wider than half of the scale."""

MOST_UNSCORED = 0.2
"""Above it the scored answers may be another kind of answers than the rest."""

NO_SIGNAL = 0.1
"""With contrast in surely less than a tenth of the prompts, nearly all answers are sampled for
nothing, and a creator has next to nothing to choose from."""

DRAWN = 0.25
"""The share that eva draws and evolves: with contrast in fewer prompts, it would have to draw
prompts that no answer could improve on."""

MOST_CUT = 0.5
"""Where most answers are cut off, the reward speaks of the limit."""

NOISE_SHARE = 0.5
"""Noise that accounts for half of the headroom weighs as much as everything else: informativeness
would pay for prompts on which the reward is unsure."""

SMALL_GAIN = 0.2
"""Headroom in standard deviations of all rewards; a small effect by Cohen's convention."""

MANY_REPEATS = 0.1
"""From here on repeats are worth a word; they cost answers, and change no verdict."""

SOME_CUT = 0.1
"""From here on truncation is worth a word."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether evolving is likely to help, and how to set it up."""

    help: Help
    sentence: str
    """The whole of it in words."""
    informativeness: str
    """The metric to take."""
    n: int | None
    """Answers per prompt to take; None where no number of them was found to be enough."""
    cautions: tuple[str, ...]
    """Further doubts, and what else to look at."""


def verdict(found: Findings) -> Verdict:
    """Return what the findings mean."""
    best = found.reliability.recommended
    metric, n = (best.metric, best.n) if best else (CANDIDATES[0], None)
    said = [(help, reason) for help, rule in _RULES if (reason := rule(found))]
    help, reason = said[0] if said else ("likely", _promise(found, metric, n))
    cautions = [f"{reason}." for _, reason in said[1:]] + [f"{c}." for c in _cautions(found)]
    return Verdict(help, f"{_OPENING[help]}: {reason}.", metric, n, tuple(cautions))


def _promise(found: Findings, metric: str, n: int | None) -> str:
    return (
        f"{percent(1 - found.contrast.without.estimate)} of the prompts have contrast, and the "
        f"best of {found.k} answers beats the mean one by {found.headroom.gain.estimate:.3g}; take "
        f'creator.informativeness = "{metric}" with answers.n = {n}'
    )


_OPENING = {
    "likely": "Evolving is likely to help",
    "doubtful": "Evolving may help, but it is doubtful",
    "unlikely": "Evolving is unlikely to help as things are",
    "cannot tell": "This probe cannot tell whether evolving would help",
}


def _few_prompts(found: Findings) -> str:
    if found.measured >= FEWEST_PROMPTS:
        return ""
    have = "prompt has" if found.measured == 1 else "prompts have"
    return (
        f"only {found.measured} {have} two scored answers or more, and {FEWEST_PROMPTS} are the "
        "least that says anything; raise --limit, take more prompts, or look at what was unscored"
    )


def _unscored(found: Findings) -> str:
    if found.unscored_share <= MOST_UNSCORED:
        return ""
    cause = next(iter(found.unscored))
    return (
        f"{percent(found.unscored_share)} of the answers have no reward, most often for the cause "
        f"'{cause}'; mend the reward first"
    )


def _no_signal(found: Findings) -> str:
    with_contrast = 1 - found.contrast.without.low
    if with_contrast >= NO_SIGNAL:
        return ""
    return f"{_without(found)}; {_remedy(found)}"


def _little_signal(found: Findings) -> str:
    if 1 - found.contrast.without.estimate >= DRAWN or _no_signal(found):
        return ""
    return f"{_without(found)}; {_remedy(found)}, or ask for more answers"


def _without(found: Findings) -> str:
    share = percent(found.contrast.without.estimate)
    return f"all {found.k} answers have the same reward on {share} of the prompts"


def _remedy(found: Findings) -> str:
    highest, lowest = found.contrast.highest, found.contrast.lowest
    half = found.contrast.without.estimate / 2
    if highest > half:
        return "most of these have the highest one, so take harder prompts"
    if lowest > half:
        return (
            "most of these have the lowest one, so take easier prompts, a stronger model or a "
            "reward that gives credit for parts"
        )
    return "take a reward that tells answers apart, or a higher temperature"


def _noisy(found: Findings) -> str:
    if found.noise is None or found.noise.gain < NOISE_SHARE * found.headroom.gain.estimate:
        return ""
    return (
        f"the reward's own noise would make headroom of {found.noise.gain:.3g}, and there is "
        f"{found.headroom.gain.estimate:.3g}; average several scorings or rewards first"
    )


def _cut(found: Findings) -> str:
    if found.lengths.truncated <= MOST_CUT:
        return ""
    return (
        f"{percent(found.lengths.truncated)} of the answers were cut off, so their rewards are "
        "those of beginnings; raise answers.max_tokens and probe again"
    )


def _small_gain(found: Findings) -> str:
    gain, spread = found.headroom.gain.estimate, found.headroom.spread
    if gain >= SMALL_GAIN * spread:
        return ""
    return (
        f"the best of {found.k} answers beats the mean one by {gain:.3g} only, which is "
        f"{gain / spread:.2f} standard deviations of the rewards; prompts differ, answers hardly do"
    )


def _unreliable(found: Findings) -> str:
    best = found.reliability.recommended
    if best and best.n is not None:
        return ""
    if not found.reliability.metrics:
        if found.k >= FEWEST_ANSWERS:
            return f"reliability needs {FEWEST_RANKED} prompts"
        return f"reliability needs {FEWEST_ANSWERS} scored answers per prompt; raise --n"
    return (
        f"{MOST} answers or fewer would not rank the prompts with a reliability of {ENOUGH}, so "
        "choosing among them is close to drawing at random"
    )


_RULES: tuple[tuple[Help, Callable[[Findings], str]], ...] = (
    ("cannot tell", _few_prompts),
    ("cannot tell", _unscored),
    ("unlikely", _no_signal),
    ("unlikely", _noisy),
    ("doubtful", _little_signal),
    ("doubtful", _cut),
    ("doubtful", _small_gain),
    ("doubtful", _unreliable),
)


def _cautions(found: Findings) -> tuple[str, ...]:
    said = []
    if found.repeats.share >= MANY_REPEATS:
        said.append(f"{percent(found.repeats.share)} of the prompts repeat others: leave them out")
    if SOME_CUT <= found.lengths.truncated <= MOST_CUT:
        said.append(f"{percent(found.lengths.truncated)} of the answers were cut off")
    if found.unanswered:
        said.append(f"{found.unanswered} prompts are too long for the model")
    if found.repeatability == "same score again":
        said.append(
            "scores repeated to the digit: the reward is deterministic or remembers them, and how "
            "well it knows what is good was not measured"
        )
    return tuple(said)
