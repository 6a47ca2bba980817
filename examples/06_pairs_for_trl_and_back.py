"""Pairs go both ways: eva's to any trainer that reads TRL preference data, and such data to eva.

Run `python examples/06_pairs_for_trl_and_back.py`. It writes to a temporary folder, or a given one.
"""

import sys
import tempfile
from pathlib import Path

from datasets import load_dataset

from eva.app import play
from eva.app.load import parse_config
from eva.stages import stages
from eva.stages.stages import At
from eva.views.export import export

FOREIGN = """\
{"prompt": "Name a river.", "chosen": "the loire", "rejected": "no"}
{"prompt": "Name a bird.", "chosen": "a wren", "rejected": "xx xx"}
{"prompt": [{"role": "user", "content": "Name a colour."}],\
 "chosen": [{"role": "assistant", "content": "blue"}],\
 "rejected": [{"role": "assistant", "content": "xxx"}]}
"""


def short_words(prompt, response):
    """Like answers of short words."""
    return -len(response) / max(len(response.split()), 1)


def config(prompts):
    """Return a game of one round with a tiny random model."""
    return parse_config(
        {
            "seed": 1,
            "rounds": 1,
            "policy": {"model": "random:tiny"},
            "prompts": {"source": str(prompts), "per_round": 8},
            "answers": {"n": 4, "temperature": 1.0, "top_p": 1.0, "max_tokens": 24},
            "reward": {"name": "python", "function": f"{__file__}:short_words"},
            "creator": {"name": "static"},
            "solver": {
                "objective": {"name": "dpo", "beta": 0.1},
                "learning_rate": 1e-3,
                "batch_size": 4,
            },
            "run": {"threads": 1},
        }
    )


def main():
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="eva-example-"))
    folder.mkdir(parents=True, exist_ok=True)
    prompts = folder / "prompts.txt"
    things = ("rain", "bread", "a long road", "winter", "the sea", "a cat", "a clock", "salt")
    prompts.write_text("".join(f"Write a sentence about {thing}.\n" for thing in things))
    game = config(prompts)

    # ── out: what `eva export RUN pairs pairs.parquet` writes ─────────────────────────────────
    run = play.run(game, folder / "run")
    pairs = folder / "pairs.parquet"
    export(run, "pairs", pairs)
    dataset = load_dataset("parquet", data_files=str(pairs), cache_dir=folder, split="train")
    print(f"{len(dataset)} pairs with the columns {', '.join(dataset.column_names)}; the first:\n")
    for column in ("prompt", "chosen", "rejected"):
        turn = dataset[0][column][-1]
        print(f"   {column:9s} {turn['role']}: {turn['content']!r}")
    print("\nThey are what `trl.DPOTrainer(model, train_dataset=dataset)` takes.")

    # ── and in: the training stage takes any preference data ──────────────────────────────────
    foreign = folder / "foreign.jsonl"
    foreign.write_text(FOREIGN)
    summary = stages.train(At(game), foreign, out=folder / "policy", export=folder / "model")
    print(f"\nTrained on {foreign.name}: {summary}.")
    print("Its answers came as text and were tokenised anew, which need not give the tokens that")
    print(f"were sampled. The model, in Hugging Face format, lies in {folder / 'model'}.")


if __name__ == "__main__":
    main()
