import re

import pytest

from eva.runs.tables import Logged
from eva.views import report_steps
from eva.views.findings import Findings
from eva.views.steps import beginnings
from eva.views.wording import number

SECTIONS = (
    report_steps.rewards,
    report_steps.prompts,
    report_steps.informativeness,
    report_steps.lengths,
    report_steps.training,
)


@pytest.fixture(scope="module")
def found(finished_online):
    return Findings.read(finished_online)


def test_every_step_is_a_point(found):
    made = report_steps.rewards(found)
    for step, row in found.by_step():
        assert f"mean, {step}: {row['solver/reward_mean']:.3f}" in made
        assert f"best of n, {step}: {row['solver/reward_best']:.3f}" in made
    for record in found.records:
        assert f'<td class="figure">{record["solver"]["reward_mean"]:.3f}</td>' in made


def test_phases_are_parted_by_dotted_lines(found):
    assert len(beginnings(found.steps)) == 2
    assert report_steps.lengths(found).count('class="round"') == 2 * 2


def test_the_table_of_phases_adds_up(found):
    made = report_steps.prompts(found)
    rows = {
        row[0]: row[1:]
        for row in (re.findall(r"<td[^>]*>([^<]*)</td>", line) for line in made.split("<tr>"))
        if row
    }
    assert list(rows) == ["warm-up", "mix-up", "bootstrap"]
    assert sum(int(row[0]) for row in rows.values()) == 12
    assert sum(int(row[3]) for row in rows.values()) == sum(
        record["creator"]["replayed"] for record in found.records
    )
    assert rows["warm-up"][2] == "0 %"
    assert rows["mix-up"][2] == "50 %"


def test_the_buffer_is_drawn(found):
    made = report_steps.prompts(found)
    for step, row in found.by_step():
        assert f"prompts, {step}: {number(row['creator/buffer'])}<" in made
    assert "Steps from a seed to its children" not in made


def test_estimates_of_all_prompts_are_counted(found):
    made = report_steps.informativeness(found)
    counted = sum(map(int, re.findall(r", (?:not )?evolved: (\d+)<", made)))
    known = [r for rows in found.lineage.estimates.values() for r in rows if r["value"] is not None]
    assert counted == len(known)


def test_only_what_was_logged_is_drawn(found, oaif):
    made = report_steps.training(found)
    assert "Magnitude of the advantages" in made
    assert "Divergence from the first policy" not in made
    pairs = Findings.read(oaif)
    assert "Magnitude of the advantages" not in report_steps.training(pairs)
    assert "Margin" in report_steps.training(pairs)
    assert "Chosen minus rejected" in report_steps.rewards(pairs)
    assert "chosen, 12: " in report_steps.lengths(pairs)


def test_divergences_are_drawn_where_they_are_logged(found):
    logged = [
        Logged(1, "solver/train", i, 0.0, {"solver/kl": i / 10, "solver/sampler_kl": -i / 10})
        for i in (1, 2)
    ]
    made = report_steps.training(Findings(**(vars(found) | {"training": logged})))
    assert "kl, 2: 0.200" in made
    assert "plain, 2: −0.200" in made


def test_a_run_that_has_just_begun_says_so(begun_online):
    begun = Findings.read(begun_online)
    said = [section(begun) for section in SECTIONS]
    assert said[0] == said[1] == said[3] == report_steps._NONE
    assert "No informativeness was estimated yet" in said[2]
    assert "Nothing was trained yet" in said[4]


def test_a_round_that_is_not_done_has_its_steps_and_no_table(interrupted_online):
    cut = Findings.read(interrupted_online)
    assert "mean, 4: " in report_steps.rewards(cut)
    assert "<table>" not in report_steps.rewards(cut)
    assert "<table>" not in report_steps.training(cut)
    assert "warm-up" in report_steps.prompts(cut)


def test_a_delay_is_drawn_where_another_model_rewrites(play_online):
    settings = {
        "online": {"background": True},
        "creator": {"evolver": {"name": "evol_instruct", "model": "another"}},
    }
    made = report_steps.prompts(Findings.read(play_online(settings=settings)))
    assert "Steps from a seed to its children" in made
