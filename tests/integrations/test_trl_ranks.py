"""Two real processes: one schedule, groups that straddle them, a kill and a resume."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from eva.runs.population import Population

pytest.importorskip("trl")

SCRIPT = """
import json
import os
import signal
import sys
from pathlib import Path

import torch
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

from eva.creator.online import OnlineSizes
from eva.integrations.trl import Creator

RANK = int(os.environ["RANK"])


def play(model, out, *, resume=None, kill_at=None, steps=6):
    calls = []

    def reward(*, prompts, completion_ids, trainer_state, eva_slot, **columns):
        if kill_at is not None and trainer_state.global_step == kill_at and RANK == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        rewards = [-float(len(set(ids))) for ids in completion_ids]
        calls.append([trainer_state.global_step, eva_slot, prompts, rewards])
        return rewards

    args = GRPOConfig(
        output_dir=str(out), per_device_train_batch_size=6, num_generations=4, max_steps=steps,
        max_completion_length=6, learning_rate=1e-3, temperature=1.5, save_strategy="steps",
        save_steps=3, report_to="none", use_cpu=True, bf16=False, activation_checkpointing=False,
        disable_tqdm=True, seed=5, beta=0.0, dataloader_pin_memory=False,
    )
    rows = [{"prompt": f"Write about {i} things."} for i in range(20)]
    trainer = GRPOTrainer(str(model), reward, args, Dataset.from_list(rows))
    Creator(sizes=OnlineSizes(buffer=4, children=2)).attach(trainer)
    trainer.train(resume_from_checkpoint=resume)
    tensors = trainer.model.state_dict()
    weights = {name: tensor.double().sum().item() for name, tensor in tensors.items()}
    record = {"calls": calls, "weights": weights}
    (Path(out) / f"rank-{RANK}.json").write_text(json.dumps(record))


if __name__ == "__main__":
    torch.set_num_threads(1)
    model, out = Path(sys.argv[1]), Path(sys.argv[2])
    if sys.argv[3] == "kill":
        play(model, out / "killed", kill_at=4)
    else:
        play(model, out / "killed", resume=str(out / "killed/checkpoint-3"))
        play(model, out / "whole")
    torch.distributed.destroy_process_group()
"""


def launch(script, *arguments):
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    return subprocess.run(
        [*start, str(script), *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=400,
    )


@pytest.fixture(scope="module")
def played(tmp_path_factory, tiny_folder):
    """A run killed in its fifth step and resumed from its third, and one that was not."""
    root = tmp_path_factory.mktemp("ranks")
    script = root / "script.py"
    script.write_text(SCRIPT)
    killed = launch(script, tiny_folder, root, "kill")
    assert killed.returncode != 0
    assert (root / "killed/checkpoint-3").is_dir(), killed.stderr[-4000:]
    assert not (root / "killed/rank-0.json").exists()
    done = launch(script, tiny_folder, root, "resume")
    assert done.returncode == 0, done.stderr[-4000:]
    return root


def record(played, run, rank):
    return json.loads((played / run / f"rank-{rank}.json").read_text())


def by_slot(played, run):
    """Return prompts and rewards of each slot, of both ranks."""
    found = {}
    for rank in (0, 1):
        for _, slots, prompts, rewards in record(played, run, rank)["calls"]:
            for slot, prompt, reward in zip(slots, prompts, rewards, strict=True):
                found.setdefault(slot, []).append((rank, prompt, reward))
    return found


def test_both_ranks_draw_from_one_schedule(played):
    slots = by_slot(played, "whole")
    assert sorted(slots) == list(range(18))
    for answers in slots.values():
        assert len(answers) == 4
        assert len({prompt for _, prompt, _ in answers}) == 1
    prompts = {answers[0][1] for answers in slots.values()}
    assert any("things." in prompt and len(prompt) > 26 for prompt in prompts)


def test_groups_that_straddle_ranks_are_judged_whole(played):
    slots = by_slot(played, "whole")
    straddling = [slot for slot, answers in slots.items() if {r for r, *_ in answers} == {0, 1}]
    assert straddling == [1, 4, 7, 10, 13, 16]
    population = Population(Path(played / "whole/eva/population.sqlite"), readonly=True)
    scores = population.table("scores")
    population.close()
    for slot, row in enumerate(scores):
        rewards = [reward for *_, reward in slots[slot]]
        assert (row["n"], row["max"], row["min"]) == (4, max(rewards), min(rewards))


def test_a_killed_run_goes_on_with_the_same_prompts(played):
    whole, resumed = by_slot(played, "whole"), by_slot(played, "killed")
    assert resumed == {slot: answers for slot, answers in whole.items() if slot >= 9}
    for rank in (0, 1):
        ended = record(played, "killed", rank)["weights"]
        assert ended == record(played, "whole", rank)["weights"]
    assert record(played, "whole", 0)["weights"] == record(played, "whole", 1)["weights"]


def test_only_the_first_rank_writes_a_population(played):
    tables = []
    for run in ("whole", "killed"):
        population = Population(played / run / "eva/population.sqlite", readonly=True)
        tables.append([population.table(name) for name in ("prompts", "scores", "refusals")])
        population.close()
    assert tables[0] == tables[1]
    assert len(tables[0][1]) == 18
