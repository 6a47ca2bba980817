"""A reward of your own: a Python function, called in a process of its own with a time limit.

The policy is a tiny model with random weights, so that the game takes seconds; it speaks no
language, but it learns what the function likes.

    python examples/05_your_own_reward.py [FOLDER]
"""

import sys
import tempfile
from pathlib import Path

from eva.app import play
from eva.app.load import parse_config
from eva.runs.folder import RunFolder


def reward(prompt, response, truncated):
    """Like answers that end, and vowels.

    A number, None where the answer cannot be judged, or a dict with `reward` and whatever else is
    worth keeping. What it raises costs this one response, which is then unscored, and counted.
    """
    if not response:
        return None
    vowels = sum(response.count(letter) for letter in "aeiou") / len(response)
    ended = 0.0 if truncated else 0.2
    return {"reward": vowels + ended, "vowels": vowels, "ended": ended}


def config(prompts):
    """Return a game as plain data: the same keys as in a TOML file."""
    return parse_config(
        {
            "seed": 3,
            "rounds": 3,
            "policy": {"model": "random:tiny"},
            "prompts": {"source": str(prompts), "per_round": 12},
            "answers": {"n": 4, "temperature": 1.0, "top_p": 1.0, "max_tokens": 24},
            "reward": {"name": "python", "function": f"{__file__}:reward", "seconds": 2.0},
            # a random model rewrites nothing: it trains on the informative half of the prompts
            "creator": {"evolver": {"name": "none"}, "fraction": 0.5, "source": "human"},
            "solver": {
                "objective": {"name": "dpo", "beta": 0.1},
                "learning_rate": 2e-4,
                "schedule": "constant",
                "warmup": 0,
                "epochs": 2,
                "batch_size": 4,
            },
            "run": {"threads": 1},
        }
    )


def main():
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="eva-example-"))
    folder.mkdir(parents=True, exist_ok=True)
    prompts = folder / "prompts.txt"
    prompts.write_text("".join(f"Write a word that rhymes with number {i}.\n" for i in range(12)))
    path = play.run(config(prompts), folder / "run")

    print(f"{'round':>5s}{'prompts':>9s}{'mean reward':>13s}{'best':>7s}{'worst':>7s}{'pairs':>7s}")
    with RunFolder.open_readonly(path) as run:
        for record in run.records():
            solver = record["solver"]
            figures = [solver[f"reward_{which}"] for which in ("mean", "best", "worst")]
            print(f"{record['round']:5d}{record['counts']['prompts']:9d}", end="")
            print("{:13.3f}{:7.3f}{:7.3f}".format(*figures), end="")
            print(f"{solver['pairs']:7d}   unscored: {solver['unscored'] or 'none'}")
    print(f"\nThe run lies in {path}; `eva show` and `eva report` tell more.")


if __name__ == "__main__":
    main()
