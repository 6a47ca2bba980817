"""The ladder's tasks are right, its arms play, and its tables say what the rows say."""

import importlib
import json
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from eva.rng import Streams
from eva.types import Group, Prompt, Response

ROOT = Path(__file__).parents[2]


@pytest.fixture
def of(monkeypatch):
    """Give a module of the benchmark by its name."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module


@pytest.fixture
def task(of):
    return of("ladder_task")


@pytest.fixture
def table(of):
    return of("ladder_table")


def seed_of(task, *, kind="sort", level=3, key=0):
    text, columns = task.instance(kind, level, np.random.default_rng(key))
    return Prompt.of(text, columns=columns)


@pytest.mark.parametrize("level", [1, 3, 8])
def test_answers_are_right(task, level):
    expected = {
        "reverse": lambda given: "".join(reversed(given)),
        "sort": lambda given: "".join(sorted(given)),
        "shift": lambda given: given.translate(str.maketrans(task.LETTERS, "bcdefghijklmnopa")),
    }
    assert expected.keys() == task.TASKS.keys()
    for kind, answer in expected.items():
        prompt = seed_of(task, kind=kind, level=level)
        word, given = prompt.text.split(" ")
        assert (word, len(given)) == (kind, level + 1)
        assert prompt.columns == {"task": kind, "level": level, "answer": answer(given)}


def test_prompts_are_balanced_and_apart_from_the_held_out(task):
    held = task.heldout(2)
    assert held == task.heldout(2)
    kinds = Counter((p.columns["task"], p.columns["level"]) for p in held)
    assert set(kinds.values()) == {2}
    assert len(kinds) == len(task.TASKS) * task.LEVELS
    assert {prompt.id for prompt in held} < {prompt.id for prompt in task.heldout(3)}
    made = task.prompts(90, (1, 2, 3), np.random.default_rng(0), without=held)
    ids = {prompt.id for prompt in made}
    assert len(ids) == 90
    assert not ids & {prompt.id for prompt in held}
    assert Counter(p.columns["level"] for p in made) == {1: 30, 2: 30, 3: 30}


def test_only_the_exact_answer_earns(task):
    prompt = seed_of(task)
    right = prompt.columns["answer"]
    texts = (right, right[:-1], f"{right} ", "")
    group = Group(prompt, (1,), tuple(Response(text, (2,)) for text in texts), "v")
    assert task.Exact().score([group])[0].rewards == (1.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("operator", "level", "kind"),
    [("harder", 4, "sort"), ("easier", 2, "sort"), ("again", 3, "sort"), ("switch", 3, None)],
)
def test_operators_move_level_or_task(task, operator, level, kind):
    parent = seed_of(task)
    (proposal,) = task.Rewrite((operator,)).propose([parent], 0, Streams(0, 2, "evolve"))
    child = proposal.child
    assert (child.operator, child.parents, child.born) == (operator, (parent.id,), 2)
    assert child.columns["level"] == level
    assert (child.columns["task"] == "sort") == (kind == "sort")
    assert len(child.columns["answer"]) == level + 1


def test_levels_end(task):
    streams = Streams(0, 1, "evolve")
    lowest, highest = seed_of(task, level=1), seed_of(task, level=task.LEVELS)
    (below,) = task.Rewrite(("easier",)).propose([lowest], 0, streams)
    (above,) = task.Rewrite(("harder",)).propose([highest], 0, streams)
    assert (below.child, below.reason) == (None, "there is no level 0")
    assert above.child is None


def test_children_depend_on_parent_and_turn_alone(task):
    parents = [seed_of(task, key=key) for key in range(20)]
    streams, rewrite = Streams(0, 1, "evolve"), task.Rewrite()
    made = [proposal.child for proposal in rewrite.propose(parents, 1, streams)]
    assert made[3:5] == [p.child for p in rewrite.propose(parents[3:5], 1, streams)]
    assert made != [p.child for p in rewrite.propose(parents, 2, streams)]
    assert {child.operator for child in made if child} == set(task.MOVES)


def test_repeated_and_held_out_prompts_are_refused(task):
    held, new = seed_of(task, key=1), seed_of(task, key=2)
    gate = task.Repeated([held])
    assert gate(held, ()) is not None
    assert gate(new, ()) is None
    gate.remember(new)
    assert gate(new, ()) is not None


def test_model_reads_letter_by_letter_and_learns_answers_alone(of, task):
    model = of("ladder_model")
    tokenizer = model.letters()
    source = model.examples(tokenizer, model.Warm(beyond=0.5), without=set())
    pairs = [next(source) for _ in range(200)]
    asked, answer = pairs[0]
    word, given = tokenizer.decode(asked, skip_special_tokens=True).split(" ")
    assert word in task.TASKS
    assert len(asked) == len(given) + 4
    assert len(answer) == len(given) + 1
    assert {len(answer) - 2 for _, answer in pairs} >= {1, 2, 3, 4, 5}
    ids, labels = model.padded(pairs, tokenizer.pad_token_id)
    learnt = labels[0] != -100
    assert ids[0][learnt].tolist() == labels[0][learnt].tolist() == answer


def test_held_out_prompts_are_not_shown_to_the_model(of):
    model = of("ladder_model")
    warm, tokenizer = model.Warm(), model.letters()
    ask, _ = next(model.examples(tokenizer, warm, without=set()))
    text = tokenizer.decode(ask, skip_special_tokens=True)
    other, _ = next(model.examples(tokenizer, warm, without={text}))
    assert other != ask


def rows(arm, seed, *, tokens=(0, 100), success=((0.5, 0.0), (1.0, 0.5))):
    """Return the rows of a run of two levels."""
    window = {
        "trained": [6, 2],
        "contrast": [1, 1],
        "children": [4, 2],
        "evolved": 4,
        "evolved_contrast": 1,
        "refused": {"duplicate": 1, "evolver": 1},
        "length_mean": 3.0,
    }
    return [
        {"arm": arm, "seed": seed, "step": 10 * i, "tokens": t, "success": list(s), "cpu": 1.0}
        | {"greedy": [value / 2 for value in s]}
        | (window if i else {})
        for i, (t, s) in enumerate(zip(tokens, success, strict=True))
    ]


def test_further_seeds_stand_beside_the_first(table):
    made = [
        *rows("eva", 1),
        *rows("eva", 2, tokens=(0, 200), success=((0.5, 0.0), (0.5, 0.8))),
        *rows("eva", 3, success=((0.5, 0.0), (0.5, 0.1))),
    ]
    shown = table.luck_table(table.runs(made), ["eva"], first=2).splitlines()
    # at 100 tokens: (1 + .5) / 2 and (.5 + .4) / 2; (.5 + .1) / 2
    assert shown[-2:] == ["| eva | 1, 2 | 0.600 |", "| eva | 3 | 0.300 |"]


def test_success_is_compared_at_equal_tokens(table):
    made = [
        *rows("eva", 1, tokens=(0, 200)),
        *rows("static", 1, success=((0.5, 0.0), (0.7, 0.0))),
        *rows("eva", 2, tokens=(0, 200), success=((0.5, 0.0), (0.5, 0.8))),
        *rows("static", 2, success=((0.5, 0.0), (0.5, 0.0))),
    ]
    found = table.runs(reversed(made))
    tokens = table.budget(found, ["eva", "static"])
    assert tokens == 100
    assert table.success_at(found["eva", 1], tokens).tolist() == [0.75, 0.25]
    # means over levels: 0.5 and 0.45 with eva, 0.35 and 0.25 without
    apart = table.differences(found, "static", to="eva", tokens=tokens)
    assert apart.tolist() == pytest.approx([-0.15, -0.2])
    text = table.success_table(found, ["eva", "static"], tokens=tokens, to="eva")
    assert "| before | 0.250 | 0.50 | 0.00 | 0.125 |" in text
    assert "| eva | 0.475 ± 0.035 | 0.62 | 0.33 | 0.237 |" in text
    # the half width is t of 0.975 with one degree of freedom, 12.706, times 0.025
    less = "-0.175 | -0.493 to +0.143 | -0.150, -0.200"
    assert f"| static | 0.300 ± 0.071 | 0.60 | 0.00 | 0.150 | {less} |" in text


def test_tables_hold_seeds_that_every_arm_has(table):
    made = [*rows("eva", 1), *rows("eva", 2), *rows("static", 2), *rows("other", 1)]
    assert set(table.shared(table.runs(made), ["eva", "static"])) == {("eva", 2), ("static", 2)}


def test_models_are_compared_by_their_means_over_seeds(table):
    def model(*ends):
        made = [
            row for seed in (1, 2) for row in rows("eva", seed, success=((0.5, 0.0), (1.0, 0.0)))
        ]
        for seed, end in enumerate(ends, 1):
            made += rows("static", seed, success=((0.5, 0.0), (end, 0.0)))
        return table.runs(made)

    models = {"a": model(0.6, 0.8), "b": model(0.8, 0.8)}
    # over two levels: .2 and .1 in model a, .1 and .1 in b; t of .975 with one degree is 12.706
    half = 12.706 * 0.025
    assert table.models_table(models, to="eva").splitlines()[2:] == [
        "| a | +0.150 |",
        "| b | +0.100 |",
        "| mean | +0.125 |",
        f"| 95 % interval | {0.125 - half:+.3f} to {0.125 + half:+.3f} |",
    ]


def test_training_is_summed_up_over_a_run(table):
    first, *rest = rows("eva", 1)
    later = {**rest[0], "step": 20, "tokens": 300, "trained": [0, 8], "evolved": 8}
    found = table.totals([first, *rest, later])
    assert found["contrast"] == 4 / 16
    assert found["evolved"] == 12 / 16
    assert found["evolved_contrast"] == 2 / 12
    assert found["level"] == 2.0
    assert found["highest"] == 2
    assert found["duplicates"] == 2 / 16


def test_plot_has_a_line_for_every_arm_and_panel(of, table):
    arms = ["eva", "static"]
    found = table.runs(row for arm in arms for seed in (1, 2) for row in rows(arm, seed))
    drawn = ElementTree.fromstring(of("ladder_plot").plot(found, arms))
    lines = drawn.iter("{http://www.w3.org/2000/svg}polyline")
    assert len(list(lines)) == 3 * len(arms)


def test_every_ablation_changes_one_thing(of):
    arms = of("ladder_arms")
    for changed in (arm for table in arms.ABLATIONS.values() for arm in table.values()):
        fields = {*arms.Arm.__slots__} - {"words"}
        different = [f for f in fields if getattr(changed, f) != getattr(arms.Arm(), f)]
        assert len(different) == 1


def test_game_is_played_once_and_summed_up(of, monkeypatch, tmp_path, capsys):
    ladder = of("ladder")
    # in this process: a pool of fresh ones takes long to begin
    monkeypatch.setattr(ladder, "ProcessPoolExecutor", Here)
    monkeypatch.setattr(ladder, "as_completed", list)
    out = tmp_path / "out"
    call = ["--quick", "--seeds", "1", "--out", str(out), "--work", str(tmp_path / "work")]
    ladder.main([*call, "--arms", "eva", "static"])
    made = (out / "runs.jsonl").read_text()
    runs = of("ladder_table").runs(json.loads(line) for line in made.splitlines())
    assert set(runs) == {("eva", 1), ("static", 1)}
    assert [row["step"] for row in runs["eva", 1]] == [0, 2, 4]
    evolved = {arm: sum(row["evolved"] for row in run[1:]) for (arm, _), run in runs.items()}
    assert evolved["static"] == 0 < evolved["eva"]
    assert runs["eva", 1][0]["success"] == runs["static", 1][0]["success"]
    assert "| static | 0.0" in capsys.readouterr().out
    assert (out / "success.svg").exists()
    ladder.main([*call, "--arms", "eva"])
    assert (out / "runs.jsonl").read_text() == made
    with pytest.raises(SystemExit, match="other settings"):
        ladder.main([*call[1:], "--summary"])


class Here:
    """Plays a run as it is submitted, in place of a pool of processes."""

    def __init__(self, *args, **kwargs):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *args):
        pass

    def submit(self, call, *args, **kwargs):
        done = call(*args, **kwargs)
        return type("Done", (), {"result": lambda self: done})()
