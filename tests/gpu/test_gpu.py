"""What a GPU must do as a CPU does; skipped where there is none."""

from pathlib import Path

import pytest
import torch

from eva.app import play
from eva.app.load import load_config
from eva.engines.local import LocalEngine, LocalSettings
from eva.engines.policy import load_policy
from eva.rng import Streams
from eva.runs.folder import RunFolder
from eva.solver.objectives import make_objective
from eva.types import Example, Prompt, SamplingParams

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

SMOKE = Path(__file__).parents[2] / "configs" / "smoke.toml"
EXAMPLES = [
    Example(f"p{i}", (5, 6, 7 + i), ((8, 9, 10), (11, 12)), reference=((-3.0,) * 3, (-4.0,) * 2))
    for i in range(4)
]


def engines(folder, **settings):
    return [
        LocalEngine(load_policy(folder, device=device), LocalSettings(**settings))
        for device in ("cpu", "cuda")
    ]


def test_log_probs_and_loss_agree_with_the_cpu(tiny_folder):
    cpu, gpu = engines(tiny_folder)
    for one, other in zip(cpu.logprobs(EXAMPLES), gpu.logprobs(EXAMPLES), strict=True):
        for a, b in zip(one, other, strict=True):
            assert a == pytest.approx(b, abs=1e-4)
    dpo = make_objective("dpo", beta=0.1)
    losses = [e.forward_backward(EXAMPLES, dpo, 4.0)["loss"] for e in (cpu, gpu)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    norms = [e.step(1e-3, 1.0) for e in (cpu, gpu)]
    assert norms[0] == pytest.approx(norms[1], rel=1e-3)


def test_greedy_answers_agree_with_the_cpu(tiny_folder):
    prompts = [Prompt.of("Hello."), Prompt.of("How are you today?")]
    params = SamplingParams(1, 0.0, 1.0, 12)
    answers = [
        [g.responses[0].token_ids for g in e.sample(prompts, params, Streams(0, 0, "gpu"))]
        for e in engines(tiny_folder)
    ]
    assert answers[0] == answers[1]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_whole_game_runs(dtype, tmp_path):
    config = load_config(SMOKE, ["policy.device=cuda", f"policy.dtype={dtype}"])
    play.run(config, tmp_path / "run")
    with RunFolder.open_readonly(tmp_path / "run") as folder:
        assert len(folder.records()) == 2


def test_a_restored_optimiser_goes_on_as_the_unbroken_one(tiny_folder, tmp_path):
    dpo = make_objective("dpo", beta=0.1)
    _, unbroken = engines(tiny_folder)
    _, resumed = engines(tiny_folder)
    unbroken.forward_backward(EXAMPLES, dpo, 4.0)
    unbroken.step(1e-3, 1.0)
    unbroken.save(tmp_path / "saved", optimiser=True)
    resumed.load(tmp_path / "saved", optimiser=True)
    for engine in (unbroken, resumed):
        engine.forward_backward(EXAMPLES, dpo, 4.0)
        engine.step(1e-3, 1.0)
    ours, theirs = (dict(e.policy.model.named_parameters()) for e in (resumed, unbroken))
    for name, wanted in theirs.items():
        torch.testing.assert_close(ours[name], wanted, rtol=1e-4, atol=1e-5)
