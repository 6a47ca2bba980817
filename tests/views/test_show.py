import io
from itertools import pairwise

import pytest
from rich.console import Console

from eva.errors import ConfigError, DataError, RunError
from eva.views.findings import Findings
from eva.views.show import show


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


@pytest.mark.parametrize("run", ["interrupted", "begun", "static"])
def test_any_run_can_be_shown(run, request):
    assert "scripted on people.jsonl" in printed(request.getfixturevalue(run))


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


def test_refusals_are_shown_with_reason_and_text(finished):
    said = printed(finished, refusals=True)
    assert "evolver: " in said
    assert "no idea <script>" in said
    assert "<script>alert(1)</script>" in said


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
    ],
)
def test_what_cannot_be_shown_is_said(finished, options, fault):
    with pytest.raises(ConfigError, match=fault):
        printed(finished, **options)


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(RunError):
        printed(tmp_path)
