import io
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from itertools import pairwise

import pytest
from rich.console import Console

from eva.errors import ConfigError, DataError, RunError
from eva.views.findings import Findings
from eva.views.operators import by_operator
from eva.views.report_results import before_and_after
from eva.views.show import one_round, overview, show


def printed(path, **options):
    console = Console(file=io.StringIO(), width=200, highlight=False)
    show(path, console=console, **options)
    return console.file.getvalue()


def test_an_overview_has_a_line_per_round(finished):
    said = printed(finished)
    assert "<b>scripted on people.jsonl: finished, 3 of 3 rounds" in said
    lines = [line.split() for line in said.splitlines()]
    record = Findings.read(finished).records[1]
    row = next(line for line in lines if line[:2] == ["2", "20"])
    assert row[2] == str(record["counts"]["evolved"])
    assert f"{record['solver']['reward_mean']:.3f}" in row
    assert row[-1] == f"{record['tokens']['total']:,}"
    assert "held-out prompts: before and after" in said
    assert "2 rows of the data set set aside" in said
    assert "rounds/003/policy" in said
    assert "none yet: eva report" in said


ONLINE = ["interrupted_online", "begun_online", "static_online", "oaif"]


@pytest.mark.parametrize("run", ["interrupted", "begun", "static", *ONLINE])
def test_any_run_can_be_shown(run, request):
    assert "scripted on people.jsonl" in printed(request.getfixturevalue(run))


def test_a_policy_that_was_taken_back_is_not_the_runs(play, alarmed):
    run = play(rounds=2, watch=alarmed(2, does="rolls_back"))
    said = printed(run)
    assert "alarm: round 2, scripted: it is bad; the policy of round 2 was taken back" in said
    assert "rounds/001/policy" in said
    assert "rounds/002/policy" not in said
    told = "After is the policy of round 2, which was taken back: an earlier one stands."
    assert told in said
    assert told in before_and_after(Findings.read(run))


def test_what_an_earlier_round_took_back_was_not_measured_last(play, alarmed):
    run = play(rounds=3, watch=alarmed(2, does="rolls_back"))
    assert "was taken back" in printed(run)
    assert "After is" not in printed(run)


def test_paths_are_not_broken_in_eighty_columns(finished, tmp_path):
    far = tmp_path / "a folder of a long name" / ("and " * 20 + "run")
    far.parent.mkdir()
    far.symlink_to(finished)
    console = Console(file=io.StringIO(), width=80, highlight=False)
    show(far, console=console)
    assert f"policy  {far}/rounds/003/policy\n" in console.file.getvalue()


def test_one_round_in_full_says_what_its_figures_mean(finished):
    said = printed(finished, round=2)
    assert "creator/info_mean" in said
    assert "mean informativeness of the answered prompts (reward)" in said
    assert "drawn and evolved" in said
    drawn = [
        id
        for id, rows in Findings.read(finished).lineage.estimates.items()
        for row in rows
        if row["round"] == 2 and row["drawn"] is not None
    ]
    assert len(drawn) == 5
    assert all(id in said for id in drawn)
    assert "No prompt was drawn" in printed(finished, round=1)


def test_an_overview_of_an_online_run_has_its_phases_and_its_buffer(finished_online):
    said = printed(finished_online)
    assert "finished, 2 of 2 rounds, 12 of 12 steps" in said
    records = Findings.read(finished_online).records
    lines = [line.split() for line in said.splitlines()]
    for record in records:
        t, creator = str(record["round"]), record["creator"]
        first, second = (line for line in lines if line[:1] == [t])
        assert first[7] == f"{record['solver']['training']['updates']}"
        steps = [creator["phases"].get(p, 0) for p in ("warm-up", "mix-up", "bootstrap")]
        drawn = [creator[n] for n in ("replayed", "recycled", "dropped", "children", "buffer")]
        assert second[1:9] == [f"{n:.0f}" for n in (*steps, *drawn)]
    assert "delay" not in said


def test_a_delay_is_shown_where_another_model_rewrites(play_online):
    settings = {
        "online": {"background": True},
        "creator": {"evolver": {"name": "evol_instruct", "model": "another"}},
    }
    assert "delay" in printed(play_online(settings=settings))


def test_tables_of_an_online_run_fit_eighty_columns(finished_online):
    console = Console(file=io.StringIO(), width=80, highlight=False)
    show(finished_online, console=console)
    tables = console.file.getvalue().partition("held-out")[0]
    assert "…" not in tables


@pytest.mark.parametrize("run", ["finished", "finished_online"])
def test_the_figures_of_a_large_run_fit_eighty_columns(run, request):
    found = Findings.read(request.getfixturevalue(run))
    record = found.records[1]
    large = {
        "counts": {"prompts": 10_000, "evolved": 8_000},
        "creator": record["creator"] | {"refused": 12_345, "info_mean": -12.3},
        "solver": record["solver"]
        | {"reward_mean": -12.3, "pairs": 10_000, "truncated": 1.0, "without_contrast": 1.0},
        "tokens": {"total": 123_456_789},
    }
    console = Console(file=io.StringIO(), width=80, highlight=False)
    console.print(overview(replace(found, records=[record | large])))
    table = console.file.getvalue().partition("held-out")[0]
    assert "123.5 M" in table
    assert "…" not in table


def test_metrics_with_long_names_leave_their_values_whole(finished):
    found = Findings.read(finished)
    record = found.records[1]
    name = "why people keep bees in towns " * 4
    creator = record["creator"] | {"topic_shares": {name: 0.12345}}
    console = Console(file=io.StringIO(), width=80, highlight=False)
    console.print(one_round(replace(found, records=[record | {"creator": creator}]), 2))
    said = console.file.getvalue().partition("drawn and evolved")[0]
    assert " 0.123 " in said
    assert "…" not in said


def test_a_round_of_an_online_run_has_its_seeds_by_step(finished_online):
    said = printed(finished_online, round=1)
    assert "online: prompts drawn from the buffer (prompts)" in said
    table = said[said.index("drawn and evolved") :].splitlines()[2:]
    ids = Findings.read(finished_online).lineage.prompts
    rows = [line.split() for line in table if line.split()[:1] and line.split()[0] in ids]
    assert [int(row[1]) for row in rows] == [step for step in range(1, 7) for _ in range(2)]
    with pytest.raises(ConfigError, match="rounds so far: 1, 2"):
        printed(finished_online, round=3)


def test_a_prompt_of_an_online_run_says_its_steps(finished_online):
    found = Findings.read(finished_online)
    id = next(id for id in found.steps[-1].prompts if found.lineage.prompts[id].evolved)
    said = printed(finished_online, prompt=id)
    assert f"{id}  " in said
    assert f", step {found.lineage.entered[id]}" in said
    assert "step 12, for training: reward" in said
    assert "step 12: informativeness" in said


def test_refusals_of_an_online_run_are_shown(finished_online):
    assert "no idea <script>" in printed(finished_online, refusals=True)


def test_refusals_are_shown_with_reason_and_text(finished):
    said = printed(finished, refusals=True)
    assert "evolver: " in said
    assert "no idea <script>" in said
    assert "<script>alert(1)</script>" in said


def test_operators_are_shown_with_what_refused_them(finished):
    said = printed(finished, operators=True)
    (line,) = [line for line in by_operator(Findings.read(finished)) if line.name == "deepen"]
    (row,) = [row for row in said.splitlines() if row.startswith("deepen")]
    assert row.split()[1:3] == [str(line.tried), str(line.entered)]
    assert row.rstrip().endswith(f"{line.refused['evolver']} evolver")


@pytest.mark.parametrize("table", ["operators", "refusals"])
def test_operators_fit_a_narrow_terminal(finished, table, tmp_path):
    far = tmp_path / "run"
    shutil.copytree(finished, far)
    with closing(sqlite3.connect(far / "population.sqlite")) as database, database:
        for changed in ("prompts", "refusals"):
            database.execute(
                f"UPDATE {changed} SET operator = 'an_operator_with_a_rather_long_name_of_its_own'"
                " WHERE operator = 'deepen'"
            )
    for run in (finished, far):
        console = Console(file=io.StringIO(), width=80)
        show(run, **{table: True}, console=console)
        said = console.file.getvalue()
        assert "…" not in said
        assert "evolver" in said


def test_no_operator_is_said(static):
    assert printed(static, operators=True) == "No operator was tried.\n"


def test_nothing_refused_is_said(static):
    assert printed(static, refusals=True) == "Nothing was refused.\n"


def test_a_prompt_is_found_by_the_beginning_of_its_id(finished):
    ids = sorted(Findings.read(finished).lineage.prompts)
    # of neighbours in order, the shortest beginning that only one has
    id, after = ids[0], ids[1]
    n = next(i for i in range(16) if id[i] != after[i])
    assert printed(finished, prompt=id[: n + 1]) == printed(finished, prompt=id)
    assert id in printed(finished, prompt=id)
    with pytest.raises(DataError, match="ids begin so"):
        printed(finished, prompt=next(a[0] for a, b in pairwise(ids) if a[0] == b[0]))


def test_a_terminal_is_not_steered_by_a_prompt(finished):
    family = Findings.read(finished).lineage
    ids = [id for id, p in family.prompts.items() if "\x1b" in p.text and not p.evolved]
    for id in ids:
        said = printed(finished, prompt=id)
        assert "\\x1b[31mred" in said
        assert "\x1b" not in said


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"round": 9}, "rounds so far: 1, 2, 3"),
        ({"round": 1, "refusals": True}, "take one of them"),
        ({"prompt": "0", "refusals": True}, "take one of them"),
        ({"operators": True, "refusals": True}, "take one of them"),
    ],
)
def test_what_cannot_be_shown_is_said(finished, options, fault):
    with pytest.raises(ConfigError, match=fault):
        printed(finished, **options)


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(RunError):
        printed(tmp_path)
