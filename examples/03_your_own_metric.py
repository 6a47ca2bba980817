"""A metric of your own: any function from rewards to estimates, or a formula with its error.

The question here: up to six rewards per prompt; which metric finds the prompts whose answers really
differ most? The truth is known, because the rewards are made up.

    python examples/03_your_own_metric.py
"""

from dataclasses import dataclass

import numpy as np

from eva.creator.creator import EvaCreator
from eva.creator.informativeness import METRICS, Metric, informativeness, jackknife_error
from eva.creator.sampling import SAMPLERS
from eva.protocols import Informativeness
from eva.rng import Streams
from eva.types import Estimates


def halves(rewards_PG):
    """Return the mean of the better half minus that of the worse half, (P, G) -> (P,)."""
    ordered = np.sort(rewards_PG, axis=1)
    half = ordered.shape[1] // 2
    return ordered[:, -half:].mean(axis=1) - ordered[:, :half].mean(axis=1)


# The first way: a formula on prompts with equally many scored answers, and its standard error.
# `Metric` leaves unscored answers out, sorts prompts by how many are left, and fills in NaN.
HALVES = Metric(halves, lambda rewards_PG: jackknife_error(halves, rewards_PG))


@dataclass(frozen=True)
class Shrunk:
    """The second way: an `Informativeness`, which sees all prompts at once.

    Values are drawn to their mean, the more the larger their standard error (empirical Bayes): a
    prompt that looks informative by luck loses more than one that is known to be.
    """

    metric: Informativeness

    def __call__(self, rewards):
        plain = self.metric(rewards)
        mean, noise = np.nanmean(plain.values), np.nan_to_num(plain.errors) ** 2
        signal = max(np.nanvar(plain.values) - noise.mean(), 0.0)
        trust = signal / np.maximum(signal + noise, 1e-12)
        return Estimates(mean + trust * (plain.values - mean), plain.errors, plain.counts)


def main():
    rng = np.random.default_rng(0)
    truth = rng.gamma(2.0, 0.5, size=400)  # how much the answers to a prompt really differ
    clean = rng.normal(size=(400, 6)) * truth[:, None]
    outlier = (rng.random((400, 6)) < 0.03) * rng.normal(0, 6, size=(400, 6))
    settings = {
        "all scored": clean.tolist(),
        "3 % gross errors": (clean + outlier).tolist(),
        "2 to 6 scored": [row[: rng.integers(2, 7)] for row in clean.tolist()],
    }
    metrics = {name: METRICS[name] for name in ("a_min", "a_dts", "sd", "avg")}
    metrics |= {"halves": HALVES, "a_min over d2": informativeness("a_min", comparable=True)}
    metrics |= {"shrunk": Shrunk(metrics["a_min over d2"])}
    print("Share of the 100 prompts drawn greedily that are among the truly best 100 of 400:\n")
    print(f"{'':14s}" + "".join(f"{name:>18s}" for name in settings))
    best = set(np.argsort(-truth)[:100].tolist())
    for name, metric in metrics.items():
        creator = EvaCreator(metric, SAMPLERS["greedy"], evolver=None)
        hits = []
        for rewards in settings.values():
            info = creator.estimate(rewards)
            drawn = creator.sample(info.values, Streams(0, 1, "creator/sample"))
            hits.append(len(best & set(drawn.tolist())) / 100)
        print(f"{name:14s}" + "".join(f"{hit:18.0%}" for hit in hits))
    print("\n25 % is what drawing at random finds. Shrinking does harm here: the error of a range")
    print("grows with the range, so that the prompts that are looked for lose most. Measure ideas.")
    print("`EvaCreator` takes any such metric; a row of METRICS makes it a name for configs.")


if __name__ == "__main__":
    main()
