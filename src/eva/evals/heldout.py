"""Held-out reward: what the reward model says of answers to prompts that are not trained on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence

from eva.evals.evaluation import GREEDY, Evaluation, Labeller, unlabelled
from eva.evals.lengths import lengths
from eva.evals.rows import Measure, Measured, mean
from eva.protocols import RewardModel
from eva.types import Group, Prompt, SamplingParams, Score


def held_out(
    prompts: Sequence[Prompt],
    reward: RewardModel,
    *,
    measures: Sequence[Measure] = (),
    labels: Labeller = unlabelled,
    params: SamplingParams = GREEDY,
    name: str = "heldout",
) -> Evaluation:
    """Return the evaluator of held-out reward and lengths, and of further `measures`.

    All are taken of the same answers, so a higher reward can be held against relevance and length.
    """
    return Evaluation(name, prompts, (rewards(reward), lengths, *measures), labels, params)


def rewards(model: RewardModel) -> Measure:
    """Return the measure `reward`, with `reward_<part>` for the named parts of a score.

    A prompt's value is the mean over its scored answers; `unscored` is the share of its answers
    without a score, whose causes are counted in the notes.
    """

    def measure(groups: Sequence[Group]) -> list[Measured]:
        return [_measured(scored.scores) for scored in model.score(groups)]

    return measure


def _measured(scores: Sequence[Score]) -> Measured:
    """Gather the scores of one prompt's answers."""
    parts = dict.fromkeys(name for score in scores for name in score.parts)
    values = {
        "reward": mean([score.reward for score in scores]),
        "unscored": mean([float(score.reward is None) for score in scores]),
    }
    values |= {f"reward_{name}": mean([s.parts.get(name) for s in scores]) for name in parts}
    causes = Counter(score.cause for score in scores if score.reward is None)
    return Measured(values, notes={"unscored": dict(causes)} if causes else {})


def constraint_labels(trained: Collection[str]) -> Callable[[Prompt], Sequence[str]]:
    """Return a labeller of verifiable prompts: whether it trained on their checks, and how many.

    `trained` are the kinds of check that training prompts may have. A prompt is `seen` where all
    its kinds are among them, `unseen` where none is, `mixed` otherwise, and `seen_2` where there
    are two; a prompt without checks is `open`.

    >>> from eva.types import Check
    >>> prompt = Prompt.of("Hi", checks=(Check("lowercase"), Check("no_comma")))
    >>> constraint_labels({"lowercase"})(prompt)
    ('mixed', 'mixed_2')
    """

    def label(prompt: Prompt) -> Sequence[str]:
        if not prompt.checks:
            return ("open",)
        known = [check.kind in trained for check in prompt.checks]
        familiar = "seen" if all(known) else "mixed" if any(known) else "unseen"
        return (familiar, f"{familiar}_{len(known)}")

    return label
