import dataclasses
import io

from rich.console import Console

from eva.planning import plan_view
from eva.planning.counting import EvaluationCount, RoundCount
from eva.planning.lookup import Source
from eva.planning.plan import Plan

PLAN = Plan(
    game="2 rounds of [a model]",
    sources=(Source("policy", "some/[model]", "to fetch", 92_871_040),),
    prompts={"human": 9, "held_out": 2, "set_aside": 1, "longest_tokens": 30, "median_tokens": 20},
    rounds=(RoundCount(1, 9, 9, 0, 54, 122_880_000, 0, 9, 2, 100, 24_576),),
    evaluation=EvaluationCount(2, 2, 400),
    totals={"generated_tokens": 122_880_000, "rewriter_tokens": 0, "evaluation_tokens": 400,
            "trained_tokens": 24_576},
    memory=None,
    disk=None,
    seconds=None,
    machine={"device": "cpu", "free_bytes": 1, "flops": 1e9},
    notes=("policy: some/[model] is fetched first",),
)  # fmt: skip


def shown(plan):
    out = io.StringIO()
    plan_view.show(plan, console=Console(file=out, width=100))
    return out.getvalue()


def test_what_is_not_known_is_left_out_and_brackets_are_text():
    text = shown(PLAN)
    assert "some/[model]" in text
    assert "2 rounds of [a model]" in text
    assert "to fetch (93 MB)" in text
    assert "122.9 M" in text
    assert "24.6 K" in text
    assert "memory" not in text
    assert "rough guess" not in text


def test_estimates_say_what_they_are():
    memory = dict.fromkeys(("weights", "gradients", "optimiser", "activations", "train_logits",
                            "cache", "training", "answering"), 2e9)  # fmt: skip
    known = dataclasses.replace(
        PLAN,
        memory=memory | {"training_per_process": 1e9},
        disk={"policies": 5e8, "total": 5e8},
        seconds={"train": 600.0, "total": 600.0},
    )
    text = shown(known)
    assert "2.0 GB in training" in text
    assert "1.0 GB in each training process" in text
    assert "500 MB (policies 500 MB)" in text
    assert "a rough guess: 10 min (train 10 min), from 1 GFLOP/s" in text
