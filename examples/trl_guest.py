"""A script of TRL whose prompts evolve while it trains: three lines of it are eva's.

Run `python examples/trl_guest.py`. It writes to a temporary folder, or a given one; the model is a
tiny random one, so what it shows is the prompts and not the answers. Under a minute on one core.
"""

import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import torch
from datasets import Dataset
from trl import RLOOConfig, RLOOTrainer

from eva.creator.online import OnlineSizes
from eva.engines.tiny import build_tiny
from eva.integrations.trl import Constraints, Creator, constraints_met  # + eva
from eva.runs.population import Population

torch.set_num_threads(1)

THINGS = ("rain", "bread", "a long road", "winter", "the sea", "a cat", "a clock", "salt")
WANTED = ("Write a sentence about {}.", "Describe {} to a child.", "Say what {} is good for.")


def brief(completions, **columns):
    """Like short answers: a reward of the script's own."""
    return [-0.01 * len(completion) for completion in completions]


def main():
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="eva-example-"))
    prompts = [wanted.format(thing) for wanted in WANTED for thing in THINGS]
    trainer = RLOOTrainer(
        model=str(build_tiny(folder / "tiny")),
        reward_funcs=[brief, constraints_met],
        args=RLOOConfig(
            output_dir=str(folder / "out"),
            per_device_train_batch_size=16,
            num_generations=4,
            max_completion_length=16,
            max_steps=12,
            learning_rate=1e-3,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            use_cpu=True,
            bf16=False,
            activation_checkpointing=False,
            disable_tqdm=True,
        ),
        train_dataset=Dataset.from_dict({"prompt": prompts}),
    )
    sizes = OnlineSizes(buffer=16)  # small, since the run is short; the paper's is 3200
    creator = Creator(constraints=Constraints(), sizes=sizes)  # + eva
    creator.attach(trainer)  # + eva
    trainer.train()

    print("\nwhat eva added to the script:")
    for line in Path(__file__).read_text("utf-8").splitlines():
        if line.endswith("# + eva"):
            print("  +", line.removesuffix("# + eva").strip())
    show_logs(trainer.state.log_history)
    show_family(folder / "out/eva/population.sqlite")


def show_logs(rows):
    """Print what the trainer logged of eva; figures of a batch come with the next one."""
    print("\nstep   phase      buffer  children  refused  without contrast   reward")
    for row in rows:
        if "eva/phase" in row:
            phase = ("warm-up", "mix-up", "bootstrap")[int(row["eva/phase"])]
            counts = [row[f"eva/{name}"] for name in ("buffer", "children", "refused")]
            flat, reward = row["eva/without_contrast"], row["reward"]
            numbers = "{:8.0f} {:9.0f} {:8.0f}".format(*counts)
            print(f"{row['step']:4}   {phase:9}{numbers} {flat:17.2f} {reward:8.2f}")


def show_family(path):
    """Print the ancestors of the newest evolved prompt that was trained on."""
    population = Population(path, readonly=True)
    scored = population.prompts([row["prompt_id"] for row in population.table("scores")])
    line = [[prompt for prompt in scored if prompt.evolved][-1]]
    while line[0].parents:
        line.insert(0, population.prompts(line[0].parents[:1])[0])
    print("\na prompt that it was trained on, and where it comes from:")
    for prompt in line:
        print(f"  {prompt.operator:8} {prompt.text}")
    print(f"\n{len(population.prompts())} prompts in {path}")
    population.close()


if __name__ == "__main__":
    main()
