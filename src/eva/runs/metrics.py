"""Every metric that eva logs, as data: the documentation is made from it, and a test checks it.

A name in braces stands for any name: `creator/refusals/{gate}` covers `creator/refusals/length`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple


class Metric(NamedTuple):
    """What a metric means."""

    meaning: str
    unit: str


_ANSWERS = {
    "reward_mean": Metric("mean over prompts of their answers' mean reward", "reward"),
    "reward_best": Metric("mean over prompts of the best answer's reward", "reward"),
    "reward_worst": Metric("mean over prompts of the worst answer's reward", "reward"),
    "without_contrast": Metric("prompts whose answers all have the same reward", "share"),
    "parts/{part}": Metric("mean over prompts of a part of the reward", "reward"),
    "unscored/{cause}": Metric("responses without a reward, by cause", "responses"),
    "judged_pairs": Metric("pairs of answers that a pairwise reward judged", "pairs"),
    "order_changes": Metric("of them, verdicts that change with the order", "share"),
    "first_wins": Metric("wins of the answer shown first, ties by half", "share"),
    "unjudged/{cause}": Metric("comparisons without verdict, by cause", "comparisons"),
    "unanswered": Metric("prompts that were too long to be answered", "prompts"),
    "length_mean": Metric("mean length of the answers", "tokens"),
    "truncated": Metric("answers cut off by the token limit", "share"),
    "repetition": Metric("runs of four words that an answer had before, of at most 1,024", "share"),
    "generated_tokens": Metric("tokens sampled for the answers", "tokens"),
}

METRICS: Mapping[str, Metric] = {
    "round": Metric("the round", "1"),
    "steps": Metric("online: steps of the round", "steps"),
    "counts/prompts": Metric("prompts in the solver's set", "prompts"),
    "counts/evolved": Metric("of them, written by eva", "prompts"),
    "counts/human": Metric("of them, written by people", "prompts"),
    "tokens/creator": Metric(
        "tokens sampled to estimate informativeness; online, for dropped prompts", "tokens"
    ),
    "tokens/rewriter": Metric("tokens sampled to evolve prompts", "tokens"),
    "tokens/solver": Metric("tokens sampled for the solver's set", "tokens"),
    "tokens/trained": Metric("completion tokens trained on", "tokens"),
    "tokens/total": Metric("all tokens of the round, generated and trained", "tokens"),
    **{f"creator/{name}": metric for name, metric in _ANSWERS.items()},
    "creator/info_mean": Metric("mean informativeness of the answered prompts", "reward"),
    "creator/info_drawn_mean": Metric("mean informativeness of the drawn prompts", "reward"),
    "creator/info_error_mean": Metric("mean standard error of the informativeness", "reward"),
    "creator/info_carried": Metric(
        "online: rank correlation of what evolved prompts inherit with their own informativeness",
        "1",
    ),
    "creator/info_carried_over": Metric("prompts over which it is taken", "prompts"),
    "creator/disagreement": Metric(
        "how far the members of an ensemble reward disagree, as a standard deviation", "reward"
    ),
    "creator/disagreement_correlation": Metric(
        "rank correlation of informativeness and disagreement, over prompts", "1"
    ),
    "creator/without_info": Metric("prompts with too few scored answers to tell", "prompts"),
    "creator/drawn": Metric("prompts drawn as informative", "prompts"),
    "creator/children": Metric("children that passed all gates", "prompts"),
    "creator/refused": Metric("proposals refused by the evolver or a gate", "proposals"),
    "creator/beaten": Metric("candidates that lost to a better one: best-of-N", "proposals"),
    "creator/refusals/{gate}": Metric("proposals refused, by gate", "proposals"),
    "creator/acceptance": Metric("children among children and refused proposals", "share"),
    "creator/operators/{operator}": Metric("children, by operator", "prompts"),
    "creator/tried/{operator}": Metric("proposals, by operator", "proposals"),
    "creator/operator_tokens/{operator}": Metric(
        "tokens sampled to evolve prompts, by operator", "tokens"
    ),
    "creator/contrast/{operator}": Metric(
        "evolved prompts in the solver's set whose answers differ in reward, by operator", "share"
    ),
    "creator/complexity": Metric("mean clauses of the prompts in the solver's set", "clauses"),
    "creator/words": Metric("their mean length", "words"),
    "creator/grades/{grade}": Metric(
        "mean complexity and quality of the children, as a model graded them", "1 to 5"
    ),
    "creator/topics": Metric("topics of the solver's set, where prompts have any", "topics"),
    "creator/topic_spread": Metric(
        "how many topics of equal shares would be spread as far (exponential of the entropy)",
        "topics",
    ),
    "creator/topic_shares/{topic}": Metric("prompts by topic, where these are few", "share"),
    "creator/rewriter_tokens": Metric("tokens sampled to evolve prompts", "tokens"),
    "creator/phases/{phase}": Metric("online: steps in each phase", "steps"),
    "creator/replayed": Metric("online: prompts drawn from the buffer", "prompts"),
    "creator/recycled": Metric("online: human prompts drawn that were drawn before", "prompts"),
    "creator/dropped": Metric("online: prompts answered, and left out without contrast", "prompts"),
    "creator/not_evolved": Metric(
        "online: batches of seeds that found no room in the background, or no time before the end, "
        "since the run was last begun or resumed",
        "batches",
    ),
    "creator/dropped_tokens": Metric("online: tokens sampled for their answers", "tokens"),
    "creator/delay": Metric("online: mean time from a seed's choice to its children", "steps"),
    "creator/buffer": Metric("online: prompts in the buffer after the step", "prompts"),
    "creator/buffer_age": Metric("online: mean time since they entered it", "steps"),
    "creator/buffer_priority": Metric("online: their mean priority", "reward"),
    **{f"solver/{name}": metric for name, metric in _ANSWERS.items()},
    "creator/diversity": Metric(
        "different runs of three words among all those of the round's prompts", "share"
    ),
    "solver/part_deviations/{part}": Metric(
        "standard deviation over answers of a part of the reward", "reward"
    ),
    "solver/pairs": Metric("training examples made", "examples"),
    "solver/skipped/{cause}": Metric("prompts without an example, by cause", "prompts"),
    "solver/reward_margin": Metric("mean reward of the chosen minus the rejected", "reward"),
    "solver/length_chosen": Metric("mean length of the chosen answers", "tokens"),
    "solver/length_rejected": Metric("mean length of the rejected answers", "tokens"),
    "solver/truncated_rejected": Metric("rejected answers cut off by the token limit", "share"),
    "solver/rewritten": Metric("best answers that the policy rewrote", "answers"),
    "solver/rewritten_better": Metric("of them, rewards above the answer's own", "share"),
    "solver/rewritten_gain": Metric("mean reward of the rewrite minus the answer's", "reward"),
    "solver/rewriter_tokens": Metric("tokens sampled to rewrite answers", "tokens"),
    "solver/training/updates": Metric("optimiser steps of the round", "steps"),
    "solver/training/trained_tokens": Metric("completion tokens trained on", "tokens"),
    "solver/loss": Metric("mean objective of a step's examples", "1"),
    "solver/margin": Metric("mean implicit reward of the chosen minus the rejected", "1"),
    "solver/accuracy": Metric("examples whose chosen has the higher implicit reward", "share"),
    "solver/implicit_chosen": Metric("mean implicit reward of the chosen answers", "1"),
    "solver/implicit_rejected": Metric("mean implicit reward of the rejected answers", "1"),
    "solver/logp_chosen": Metric("mean log-prob of the chosen answers", "nats"),
    "solver/logp_rejected": Metric("mean log-prob of the rejected answers", "nats"),
    "solver/nll": Metric("mean negative log-likelihood per token of the chosen", "nats"),
    "solver/grad_norm": Metric("norm of the gradient before clipping", "1"),
    "solver/lr": Metric("learning rate of the step", "1"),
    "solver/tokens": Metric("completion tokens of the step", "tokens"),
    "solver/updates": Metric("online: optimiser steps of the step", "steps"),
    "solver/trained_tokens": Metric("online: completion tokens trained on in the step", "tokens"),
    "solver/examples": Metric("online: responses (oaif: pairs) that carry gradient", "examples"),
    "solver/skipped": Metric("online: prompts of which no response (oaif: pair) does", "prompts"),
    "solver/advantage_abs": Metric("mean magnitude of the advantages", "reward, or deviations"),
    "solver/kl": Metric("divergence from the first policy, per token", "nats"),
    "solver/ratio": Metric("mean ratio of a token under the policy and before the step", "1"),
    "solver/clipped": Metric("what the clip cuts off, of tokens or of responses", "share"),
    "solver/weight": Metric("mean weight of the importance correction", "1"),
    "solver/sampler_kl": Metric("divergence of the sampler from the trainer, per token", "nats"),
    "solver/sampler_kl_k3": Metric("the same, by an estimate that is never negative", "nats"),
    "server/requests": Metric("replies of servers, over the run so far", "requests"),
    "server/tries": Metric("requests sent for them, those that failed included", "requests"),
    "server/prompt_tokens": Metric("tokens of the prompts, as the servers count them", "tokens"),
    "server/completion_tokens": Metric("tokens generated, as the servers count them", "tokens"),
    "server/cost": Metric("cost of the replies, at the config's prices", "money"),
    "server/possible_cost": Metric("most that tries may have cost which broke off", "money"),
    "server/faults/{kind}": Metric("tries that failed, by kind", "tries"),
}
"""Meaning and unit of every metric, by name."""


def describe(name: str) -> Metric | None:
    """Return what a metric means, or None if eva does not know it.

    >>> describe("creator/refusals/duplicate").unit
    'proposals'
    """
    if name in METRICS:
        return METRICS[name]
    for pattern, metric in METRICS.items():
        if "{" in pattern and re.fullmatch(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(pattern)), name):
            return metric
    return None


def markdown() -> str:
    """Return the metrics as a Markdown table."""
    rows = [f"| `{name}` | {metric.meaning} | {metric.unit} |" for name, metric in METRICS.items()]
    return "\n".join(["| metric | meaning | unit |", "|---|---|---|", *rows]) + "\n"
