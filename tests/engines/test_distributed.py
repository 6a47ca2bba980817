"""Two real processes against one: log-probs, gradients, saved weights, samples."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from eva.engines.distributed import Ranks, fit, join, whole
from eva.engines.tiny import build_tiny
from eva.errors import ConfigError

SCRIPT = """
import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist

from eva.engines.distributed import join
from eva.engines.local import LocalEngine, LocalSettings
from eva.engines.lora import LoraSettings
from eva.engines.optimiser import OptimiserSettings
from eva.engines.policy import load_policy
from eva.errors import ConfigError
from eva.rng import Streams
from eva.types import Example, Loss, Prompt, SamplingParams

# Five examples, of which two processes get three and two.
EXAMPLES = [
    Example(
        str(i),
        tuple(range(5, 8 + i)),
        (tuple(range(20, 22 + i)), tuple(range(40, 46 - i))),
        {"weight": 1.0 + i},
    )
    for i in range(5)
]


def objective(policy, reference, columns):
    sums = [
        torch.stack([p.sum() for p in torch.split(r.values, list(r.lengths))]) for r in policy
    ]
    margin = sums[0] - sums[1]
    loss = -columns["weight"] * torch.nn.functional.logsigmoid(0.5 * margin)
    return Loss(loss, {"margin": margin})


def play(source, out, ranks, kind):
    settings = LocalSettings(
        micro_batch_tokens=48,
        lora=LoraSettings(rank=4) if kind == "lora" else None,
        optimiser=OptimiserSettings("sgd"),
    )
    engine = LocalEngine(load_policy(source), settings, ranks=ranks)
    record = {"before": engine.logprobs(EXAMPLES)}
    # The second call has work for one process alone.
    record["metrics"] = [
        dict(engine.forward_backward(some, objective, 5.0)) for some in (EXAMPLES, EXAMPLES[:1])
    ]
    record["norm"] = engine.step(0.1, None)
    engine.save(out / "gradient")
    record["base"] = engine.logprobs(EXAMPLES, base=True)
    engine = LocalEngine(
        load_policy(source, dtype="float64"),
        LocalSettings(micro_batch_tokens=48, lora=settings.lora, gradient_checkpointing=True),
        ranks=ranks,
    )
    for _ in range(2):
        engine.forward_backward(EXAMPLES, objective, 5.0)
        engine.step(1e-2, 1.0)
    engine.save(out / "trained", optimiser=True)
    engine.load(None)
    engine.load(out / "trained", optimiser=True)
    engine.forward_backward(EXAMPLES, objective, 5.0)
    engine.step(1e-2, 1.0)
    engine.save(out / "resumed")
    record["version"] = engine.version
    try:
        prompts = [Prompt.of(text) for text in ("One", "Two", "Three")]
        groups = engine.sample(prompts, SamplingParams(n=2, max_tokens=5), Streams(0, 1, "answer"))
        record["sampled"] = [[r.token_ids for r in group.responses] for group in groups]
    except ConfigError as error:
        record["sampled"] = str(error)
    if ranks.rank == 0:
        (out / "record.json").write_text(json.dumps(record))


if __name__ == "__main__":
    torch.set_num_threads(1)
    source, out = Path(sys.argv[1]), Path(sys.argv[2])
    for strategy in ("ddp", "fsdp2"):
        for kind in ("full", "lora"):
            play(source, out / strategy / kind, join(strategy), kind)
    dist.destroy_process_group()
"""
CASES = [(strategy, kind) for strategy in ("ddp", "fsdp2") for kind in ("full", "lora")]


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """The same script played by two processes, for each strategy, and by this one."""
    root = tmp_path_factory.mktemp("distributed")
    source = build_tiny(root / "tiny", hidden_size=32)
    script = root / "script.py"
    script.write_text(SCRIPT)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    done = subprocess.run(
        [*launch, str(script), str(source), str(root / "two")],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    spec = importlib.util.spec_from_file_location("two_processes_script", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for kind in ("full", "lora"):
        module.play(source, root / "one" / kind, Ranks(), kind)
    return root


def records(played, strategy, kind):
    folders = played / "one" / kind, played / "two" / strategy / kind
    return [json.loads((folder / "record.json").read_text()) for folder in folders]


@pytest.mark.parametrize(("strategy", "kind"), CASES)
def test_two_processes_score_as_one_does(played, strategy, kind):
    one, two = records(played, strategy, kind)
    for name in ("before", "base"):
        for a, b in zip(one[name], two[name], strict=True):
            for ours, theirs in zip(a, b, strict=True):
                assert theirs == pytest.approx(ours, abs=1e-5)
    for a, b in zip(one["metrics"], two["metrics"], strict=True):
        assert b == pytest.approx(a, rel=1e-5)
    assert two["norm"] == pytest.approx(one["norm"], rel=1e-5)
    assert two["version"] == one["version"]


@pytest.mark.parametrize("folder", ["gradient", "trained", "resumed"])
@pytest.mark.parametrize(("strategy", "kind"), CASES)
def test_two_processes_save_what_one_does(played, strategy, kind, folder):
    one, two = (played / "one" / kind / folder, played / "two" / strategy / kind / folder)
    files = {path.name for path in one.iterdir()}
    assert {path.name for path in two.iterdir()} == files
    for name in (name for name in files if name.endswith(".safetensors")):
        ours, theirs = load_file(one / name), load_file(two / name)
        assert ours.keys() == theirs.keys()
        for key, tensor in ours.items():
            # A plain step of 0.1: the gradient to 1e-5. The others are float64.
            tolerance = 1e-6 if folder == "gradient" else 1e-9
            assert torch.allclose(theirs[key], tensor, atol=tolerance, rtol=1e-7), key


@pytest.mark.parametrize("kind", ["full", "lora"])
def test_answering_is_shared_but_never_sharded(played, kind):
    one, two = records(played, "ddp", kind)
    assert two["sampled"] == one["sampled"]
    assert "does not sample" in records(played, "fsdp2", kind)[1]["sampled"]


def test_without_a_launcher_there_is_one_process(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    ranks = join("fsdp2")
    assert (ranks.rank, ranks.world, ranks.sharded) == (0, 1, False)
    assert ranks.sum({"loss": 2.5}) == {"loss": 2.5}
    assert ranks.gather({3: "x"}) == {3: "x"}


def test_unknown_strategies_get_a_suggestion():
    with pytest.raises(ConfigError, match="did you mean 'fsdp2'"):
        join("fsdp")


def test_a_whole_tensor_is_copied_into_the_type_of_another():
    tensor = torch.arange(3.0)
    fitted = fit(tensor, torch.zeros(3, dtype=torch.float64))
    assert fitted.dtype == torch.float64
    assert whole(fitted).tolist() == [0.0, 1.0, 2.0]
    assert fit(tensor, tensor).data_ptr() != tensor.data_ptr()
