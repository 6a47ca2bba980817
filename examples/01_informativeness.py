"""How much can the solver still learn from a prompt? Its rewards tell, and numpy is enough.

Run `python examples/01_informativeness.py`.
"""

import numpy as np

from eva.creator.informativeness import METRICS, informativeness
from eva.creator.sampling import SAMPLERS

NAMES = ("a_min", "a_avg", "a_dts", "var", "inverse_avg", "gini")


def main():
    # ── Rewards of six answers each, and what the metrics make of them ────────────────────────
    prompts = {
        "all good": [0.9, 0.9, 0.95, 0.9, 0.9, 0.9],
        "all bad": [0.1, 0.1, 0.05, 0.1, 0.1, 0.1],
        "half and half": [0.8, 0.2, 0.8, 0.2, 0.8, 0.2],
        "one lucky answer": [0.1, 0.1, 0.9, 0.1, 0.1, 0.1],
        "one slip": [0.9, 0.9, 0.9, 0.1, 0.9, 0.9],
        "two unscored": [0.7, None, 0.3, 0.5, None, 0.5],
        "one scored": [0.9, None, None, None, None, None],
    }
    rewards = list(prompts.values())
    print("Value ± standard error. Best minus worst (a_min) is the same for a lucky answer and")
    print("a slip; a_dts, best minus second best, tells them apart. NaN: too few scored answers.\n")
    print(f"{'':18s}" + "".join(f"{name:>15s}" for name in NAMES))
    estimates = {name: METRICS[name](rewards) for name in NAMES}
    for i, label in enumerate(prompts):
        cells = [f"{e.values[i]:7.2f} ± {e.errors[i]:4.2f}" for e in estimates.values()]
        print(f"{label:18s}" + "".join(f"{cell:>15s}" for cell in cells))

    # ── Which of them are drawn? ──────────────────────────────────────────────────────────────
    info, times = estimates["a_min"].values, 2000
    print(f"\nShare of {times} draws of 2 prompts that each one is in, by sampler (on a_min):\n")
    print(f"{'':18s}" + "".join(f"{name:>14s}" for name in SAMPLERS))
    shares = []
    for sampler in SAMPLERS.values():
        rng = np.random.default_rng(0)
        drawn = np.concatenate([sampler(info, 2, rng) for _ in range(times)])
        shares.append(np.bincount(drawn, minlength=len(info)) / times)
    for i, label in enumerate(prompts):
        print(f"{label:18s}" + "".join(f"{share[i]:14.2f}" for share in shares))

    # ── Ranges of different numbers of answers ────────────────────────────────────────────────
    print("\nThe more answers, the wider their range, whatever the prompt. All prompts below have")
    print("normal rewards of standard deviation 1; only the number n of scored answers differs.")
    print("normalise_n = true divides by d2(n), the range that n such answers have on average.\n")
    rng = np.random.default_rng(1)
    print(f"{'n':>4s}{'mean a_min':>14s}{'over d2(n)':>14s}")
    comparable = informativeness("a_min", comparable=True)
    for n in (2, 4, 6, 16):
        rewards = rng.normal(size=(4000, n)).tolist()
        plain, divided = METRICS["a_min"](rewards).values, comparable(rewards).values
        print(f"{n:4d}{plain.mean():14.3f}{divided.mean():14.3f}")
    print("\nHalf the prompts have 4 scored answers, half have 6; `greedy` draws a quarter of all:")
    mixed = [*rng.normal(size=(200, 4)).tolist(), *rng.normal(size=(200, 6)).tolist()]
    for name, metric in (("plain", METRICS["a_min"]), ("divided", comparable)):
        drawn = SAMPLERS["greedy"](metric(mixed).values, 100, rng)
        print(f"  {name:8s} {np.mean(drawn >= 200):.0%} of the drawn have 6")


if __name__ == "__main__":
    main()
