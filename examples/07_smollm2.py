"""A real chat model, from Python: a short game with SmolLM2-135M-Instruct, in a few minutes.

The prompts ask for something and put a constraint on the answer that a program can check; the
reward is the share of constraints met, and evolving adds, hardens, swaps and moves constraints.

    python examples/07_smollm2.py [--out FOLDER] [--prompts 24] [--rounds 2]

Model and prompts are fetched once and kept (docs/data.md). So small a game shows how things go
together; whether it made the model better is a question for `make quickstart` and its intervals.
"""

import argparse
import tempfile
from pathlib import Path

from eva.app import play
from eva.app.load import parse_config
from eva.app.results import comparisons, evaluations
from eva.evals.compare import table
from eva.runs.folder import RunFolder


def config(*, prompts, rounds, tokens, held_out):
    return parse_config(
        {
            "rounds": rounds,
            "policy": {"model": "packaged:smollm2-135m-instruct", "lora": {"rank": 16}},
            "prompts": {
                "source": "packaged:alpaca",
                "per_round": prompts,
                "constraints": {"count": [1], "max_words": 40},
            },
            "answers": {"n": 6, "temperature": 1.0, "top_p": 0.95, "max_tokens": tokens},
            "reward": {"name": "rules", "min_words": 3},
            "creator": {"evolver": {"name": "rules"}},
            "solver": {
                "objective": {"name": "dpo", "beta": 0.1},
                "learning_rate": 2e-4,
                "schedule": "linear",
                "warmup": 0,
                "epochs": 2,
            },
            "evaluation": {
                "max_tokens": tokens,
                "heldout": {"prompts": held_out, "counts": [1, 2]},
            },
            "run": {"chunk": 12},
        }
    )


def show_round(run, record):
    solver, counts = record["solver"], record["counts"]
    print(
        f"round {record['round']}: {counts['human']} human and {counts['evolved']} evolved prompts,"
        f" {solver['pairs']} pairs, mean reward {solver['reward_mean']:.2f}"
    )
    evolved = [p for p in run.population.prompts(record["prompts"]) if p.evolved]
    for prompt in evolved[:3]:
        (parent, *_) = run.population.prompts(prompt.parents)
        print(f"   {parent.text!r}\n      {prompt.operator}: {prompt.text!r}")


def show_answers(run, *, count):
    """Print answers before and after; greedy ones, to prompts that were never trained on."""
    measured = evaluations(run)
    before, after = (measured[t]["heldout"]["rows"] for t in (min(measured), max(measured)))
    for old, new in list(zip(before, after, strict=True))[:count]:
        print(f"\n{old['prompt']}")
        for when, row in (("before", old), ("after", new)):
            print(f"   {when:7s} reward {row['values']['reward']:.2f}   {row['texts'][0]!r}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=None, help="the run folder")
    parser.add_argument("--prompts", type=int, default=24, help="prompts per round")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=48, help="longest answer")
    parser.add_argument("--held-out", type=int, default=8, help="prompts per measurement")
    given = parser.parse_args()
    game = config(
        prompts=given.prompts, rounds=given.rounds, tokens=given.tokens, held_out=given.held_out
    )
    out = given.out or Path(tempfile.mkdtemp(prefix="eva-example-")) / "run"
    play.run(game, out, mode="live")
    with RunFolder.open_readonly(out) as run:
        for record in run.records():
            show_round(run, record)
        show_answers(run, count=3)
        for name, comparison in comparisons(run).items():
            print(f"\n{name}, before and after")
            for metric, *cells in table(comparison, ("reward",)):
                print(f"   {metric:32s}" + "".join(f"{cell:>18s}" for cell in cells))
    print(f"\nThe run lies in {out}; `eva report {out}` writes a page about it.")


if __name__ == "__main__":
    main()
