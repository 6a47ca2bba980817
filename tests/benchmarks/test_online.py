"""The benchmarks of online eva in small: equal work, figures that add up; never the times."""

import gc
import importlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("trl")

# peft and TRL still use names that transformers deprecates
pytestmark = pytest.mark.filterwarnings("ignore:.*is deprecated and will be removed:FutureWarning")

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "configs" / "smoke_prompts.jsonl"
SIZES = {"batch": 4, "n": 2, "tokens": 4, "steps": 2, "buffer": 4, "micro_batch": 2, "threads": 1}


@pytest.fixture(scope="module", autouse=True)
def small_heap():
    """Spare what was imported from the collections that go before each side."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Where the tiny model is made, once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def benchmark(monkeypatch, cache):
    """Return a function that imports a benchmark; nobody else imports `round`, a builtin's name."""
    monkeypatch.setenv("EVA_CACHE", str(cache))
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module


@pytest.fixture
def run(benchmark, monkeypatch, tmp_path, capsys):
    """Return a function that calls a benchmark as a user does, and returns what it said."""

    def called(name, *options):
        module, out = benchmark(name), tmp_path / "out.json"
        if hasattr(module, "quieten"):
            # it would quieten the tests that follow
            monkeypatch.setattr(module, "quieten", lambda: None)
        module.main([*options, "--json", str(out)])
        return json.loads(out.read_text()), capsys.readouterr().out

    return called


def flags(sizes):
    return [f"--{name.replace('_', '-')}={value}" for name, value in sizes.items()]


@pytest.fixture
def bench(benchmark):
    return benchmark("online_step")


@pytest.fixture
def played(bench):
    """Give steps of some seconds by call, their work made up."""
    from online_step_game import Work

    def made(**seconds):
        named = {name.replace("__", "."): value for name, value in seconds.items()}
        work = Work((("a", "b"), ("b", "c")), 20, 48, 48, 2)
        return bench.Played(work, 2, {"checkpoint": 1.0, "logprobs before": 0.5} | named)

    return made


def test_stages_add_up_to_a_step(played):
    one = played(
        steps=10.0,
        engine__sample=4.0,
        reward__score=0.5,
        learner__learn=4.0,
        creator__draw=0.5,
        creator__evolve=0.25,
        creator__load=9.0,
    )
    assert one.stages() == {
        "answer": 2.0,
        "score": 0.25,
        "train": 2.0,
        "creator": 0.375,
        "rest": 0.375,
        "step": 5.0,
    }


def test_ratios_are_of_pairs(bench, played):
    pairs = (
        {"eva": played(steps=10.0, checkpoint=4.0), "trl": played(steps=20.0)},
        {"trl": played(steps=10.0), "eva": played(steps=8.0)},
        {"eva": played(steps=16.0), "trl": played(steps=16.0)},
    )
    result = bench.Bench(bench.Setup(steps=2), pairs)
    assert result.ratios == (0.5, 0.8, 1.0)
    # of the medians it would be 0.625
    assert result.stages["step"]["ratio"] == {"median": 0.8, "min": 0.5, "max": 1.0}
    assert result.beside == {"checkpoint": 1.0, "logprobs before": 0.25}
    assert "eva / TRL by pair: 0.500, 0.800, 1.000" in result.text()


def test_sides_take_turns_and_unequal_work_is_refused(bench, played, monkeypatch, capsys):
    asked = []

    def side(name, generated=48):
        def play(setup, *, seed):
            asked.append(name)
            one = played(steps=2.0)
            return replace(one, work=replace(one.work, generated_tokens=generated))

        return play

    monkeypatch.setattr(bench, "SIDES", {"eva": side("eva"), "trl": side("trl")})
    assert len(bench.compare(bench.Setup(), pairs=2).pairs) == 2
    assert asked == ["eva", "trl", "trl", "eva"]
    assert "pair 2 of 2" in capsys.readouterr().err
    monkeypatch.setattr(bench, "SIDES", {"eva": side("eva"), "trl": side("trl", 47)})
    with pytest.raises(RuntimeError, match="generated_tokens=47"):
        bench.compare(bench.Setup(), pairs=1)


def test_both_sides_do_the_same_work(run):
    options = [*flags(SIZES), "--pairs=1", "--model=random:tiny", f"--source={SOURCE}"]
    result, printed = run("online_step", *options)
    work = dict(result["work"])
    assert work.pop("prompt_tokens") > 0
    # a step of the warm-up and two on the clock, 4 prompts answered twice with 4 tokens
    assert work == {
        "prompts": 3 * 4,
        "generated_tokens": 3 * 4 * 2 * 4,
        "trained_tokens": 3 * 4 * 2 * 4,
        "updates": 3,
    }
    assert list(result["stages"]) == ["answer", "score", "train", "creator", "rest", "step"]
    parts = [row["eva"] for name, row in result["stages"].items() if name != "step"]
    assert sum(parts) == pytest.approx(result["stages"]["step"]["eva"])
    assert min(parts) > 0
    ours = {name: row["trl"] for name, row in result["stages"].items()}
    assert ours["creator"] == 0.0
    assert min(ours["answer"], ours["score"], ours["train"]) > 0
    assert result["beside"]["logprobs before"] < ours["train"]
    assert len(result["ratios"]) == 1
    assert "eva / TRL" in printed


def test_the_game_without_a_model_has_evolved_prompts(benchmark):
    game = benchmark("online_step_game")
    setup = game.Setup(**SIZES, model="random:tiny", source=str(SOURCE))
    batches = game.batches(setup)
    assert [len(batch) for batch in batches] == [4, 4, 4]
    assert not any(prompt.evolved for prompt in batches[0])
    assert any(prompt.evolved for batch in batches[1:] for prompt in batch)


def test_the_guest_is_timed_where_the_trainer_enters_it(run):
    options = [*flags(SIZES), "--quick", "--generate-batch=4", f"--source={SOURCE}"]
    result, printed = run("trl_guest", *options)
    calls = ["on_step_begin", "on_substep_end", "on_step_end", "on_log", "rewards", "slots"]
    assert list(result["calls"]) == calls
    assert len(result["steps"]) == SIZES["steps"]
    inside = [sum(step[name] for name in calls) for step in result["steps"]]
    whole = [step["step"] for step in result["steps"]]
    assert all(0 < part < step for part, step in zip(inside, whole, strict=True))
    assert result["share"] == pytest.approx(sum(inside) / sum(whole))
    # every call was made
    assert min(spread["max"] for spread in result["calls"].values()) > 0
    assert result["once"]["attach"] > 0
    assert result["figures"]["children"] > 0
    assert "share of a step in eva" in printed


def test_buffers_are_full_and_their_costs_add_up(run):
    result, printed = run("buffer", "--sizes", "40", "1500", "--batches", "6")
    assert [row["size"] for row in result["sizes"]] == [40, 1500]
    for row in result["sizes"]:
        assert row["phase"] == "mix-up"
        assert set(row["ms"]) == {
            *("batch", "batch, CPU", "draw", "look-up", "lineage", "rank", "add", "figures"),
            *("commit", "state"),
        }
        assert all(0 < s["median"] <= s["p90"] for s in row["ms"].values())
    # 21 bytes a prompt in arrays with room for more, and 32 for its number in a set, with its room
    assert 1500 * (21 + 32) * 1e-6 < result["sizes"][1]["index_mb"] < 1500 * 200e-6
    assert "index, MB" in printed


def test_a_batch_is_the_sum_of_its_parts(benchmark, tmp_path):
    buffer = benchmark("buffer")
    stand = buffer.Stand(40, 2, tmp_path)
    for step in range(1, buffer.WARM + 3):
        stand.play(step)
    stand.population.close()
    assert len(stand.creator.buffer) == 40
    assert len(stand.seconds["batch"]) == 2
    for i, whole in enumerate(stand.seconds["batch"]):
        assert whole == pytest.approx(sum(stand.seconds[name][i] for name in buffer.PARTS))
