import json

import datasets
import pytest

from eva.data.preferences import load_preferences
from eva.data.prompts import load_prompts
from eva.errors import ConfigError, DataError
from eva.runs.folder import RunFolder
from eva.stages.rollouts import read_prompts
from eva.types import Example, ScoredGroup, Stage, Step
from eva.views import export_tables


@pytest.fixture
def folder(finished):
    with RunFolder.open_readonly(finished) as opened:
        yield opened


def test_pairs_are_the_answers_that_were_trained_on(folder):
    rows = export_tables.pairs(folder)
    journal = folder.journal()
    scored = {g.prompt.id: g for g in journal.read(Stage(3, "solver/score"), ScoredGroup)}
    examples = journal.read(Stage(3, "solver/new_pairs"), Example)
    assert len(rows) == len(examples) > 10
    for row in rows:
        group = scored[row["prompt_id"]]
        assert row["prompt"] == [{"role": "user", "content": group.prompt.text}]
        texts = [response.text for response in group.group.responses]
        for slot in ("chosen", "rejected"):
            (turn,) = row[slot]
            assert turn["role"] == "assistant"
            assert group.rewards[texts.index(turn["content"])] == row[f"reward_{slot}"]
        assert row["reward_chosen"] > row["reward_rejected"]


def test_a_round_can_be_chosen(folder):
    first = {row["prompt_id"] for row in export_tables.pairs(folder, 1)}
    assert first <= set(folder.records()[0]["prompts"])
    with pytest.raises(ConfigError, match="no pairs of round 7; it has those of rounds: 1, 2, 3"):
        export_tables.pairs(folder, 7)


def test_pairs_of_a_token_budget_are_found_in_their_blocks(play):
    path = play(creator=None, budget={1: 2500, 2: 5000}, evaluators=())
    with RunFolder.open_readonly(path) as opened:
        commits = opened.population.table("commits")
        assert len(export_tables._scoring(commits, 2)) > 1
        assert len(export_tables.pairs(opened)) == opened.records()[1]["solver"]["pairs"]


def test_pairs_of_oaif_are_those_that_its_steps_trained_on(oaif):
    with RunFolder.open_readonly(oaif) as opened:
        rows = export_tables.pairs(opened)
        steps = opened.journal().read(Stage(2, "online/steps"), Step)
        with pytest.raises(ConfigError, match="no pairs of round 7; it has those of rounds: 1, 2"):
            export_tables.pairs(opened, 7)
    assert len(rows) == sum(step.figures["solver/examples"] for step in steps) > 10
    done = 0
    for step in steps:
        end = done + int(step.figures["solver/examples"])
        margins = [row["reward_chosen"] - row["reward_rejected"] for row in rows[done:end]]
        assert sum(margins) / len(margins) == pytest.approx(step.figures["solver/reward_margin"])
        done = end


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_trl_takes_the_pairs(folder, tmp_path, suffix):
    from trl.data_utils import is_conversational

    path = tmp_path / f"pairs{suffix}"
    export_tables.write_pairs(path, export_tables.pairs(folder))
    builder = "json" if suffix == ".jsonl" else "parquet"
    loaded = datasets.load_dataset(
        builder, data_files=str(path), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert is_conversational(loaded[0])
    assert {"prompt", "chosen", "rejected", "prompt_id"} <= set(loaded.column_names)
    ours = load_preferences(str(path)).pairs
    assert [pair.chosen for pair in ours] == [row["chosen"][0]["content"] for row in loaded]


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_evolved_prompts_are_read_back(folder, tmp_path, suffix):
    path = tmp_path / f"prompts{suffix}"
    found = export_tables.evolved(folder)
    export_tables.write_evolved(path, found)
    again = load_prompts(str(path)).prompts
    written = [one.prompt for one in found]
    assert [(p.id, p.checks, p.topic) for p in again] == [
        (p.id, p.checks, p.topic) for p in written
    ]
    # as eva's own file it keeps the lineage too
    assert list(read_prompts(str(path)).prompts) == written or suffix == ".jsonl"


def test_evolved_prompts_have_their_lineage_and_scores(folder, tmp_path):
    found = {one.prompt.id: one for one in export_tables.evolved(folder)}
    everyone = folder.population.prompts()
    assert set(found) == {p.id for p in everyone if p.evolved}
    drawn = [one for one in found.values() if one.drawn]
    assert drawn
    assert all(one.drawn == (3,) and one.informativeness > 0 for one in drawn)
    path = tmp_path / "prompts.jsonl"
    export_tables.write_evolved(path, drawn)
    row = json.loads(path.read_text("utf-8").splitlines()[0])
    one = drawn[0]
    assert row["parents"] == list(one.prompt.parents)
    assert (row["operator"], row["born"]) == (one.prompt.operator, 2)
    assert row["informativeness"] == one.informativeness
    assert [s["round"] for s in row["scores"]] == sorted(s["round"] for s in row["scores"])
    assert row["scores"][0]["max"] >= row["scores"][0]["mean"] >= row["scores"][0]["min"]


def test_those_of_one_round_alone(folder):
    assert {one.prompt.born for one in export_tables.evolved(folder, 3)} == {3}
    with pytest.raises(DataError, match="no prompt was evolved in round 1"):
        export_tables.evolved(folder, 1)


def test_a_baseline_has_none(static):
    with (
        RunFolder.open_readonly(static) as opened,
        pytest.raises(DataError, match="no prompt was evolved in this run"),
    ):
        export_tables.evolved(opened)
