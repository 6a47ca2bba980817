from eva.evals.compare import compare
from eva.views import report_results
from eva.views.findings import Findings


def result(values, name="heldout"):
    rows = [
        {"id": f"p{i:02}", "prompt": f"prompt {i}", "labels": ["seen"], "texts": [f"answer {i}"],
         "values": {"reward": value, "tokens": 5.0}, "weights": {}, "notes": {}}
        for i, value in enumerate(values)
    ]  # fmt: skip
    return {"name": name, "params": {}, "rows": rows, "intervals": {}}


def rows(values):
    return result(values)["rows"]


BEFORE = [0.5] * 20
AFTER = [0.5] * 8 + [0.1, 0.3] + [0.9, 0.7, 1.0] + [0.5] * 7


def test_samples_are_by_lot_and_the_extremes():
    chosen = report_results.choose(rows(BEFORE), rows(AFTER))
    ids = {name: [old["id"] for old, _ in sides] for name, sides in chosen.items()}
    assert ids == {
        "by lot": ["p00", "p01"],
        "greatest gains": ["p12", "p10"],
        "greatest losses": ["p08", "p09"],
    }


def test_prompts_of_one_side_or_without_an_answer_are_no_samples():
    after = rows(AFTER)[1:]
    after[0]["texts"] = []
    chosen = report_results.choose(rows(BEFORE), after)
    assert [old["id"] for old, _ in chosen["by lot"]] == ["p02", "p03"]


def test_an_unscored_answer_is_neither_gain_nor_loss():
    chosen = report_results.choose(rows([None] * 20), rows(AFTER))
    assert chosen["greatest gains"] == chosen["greatest losses"] == []


def findings(before, after, **changes):
    made = {"heldout": compare([result(before)], [result(after)])}
    facts = {
        "path": None, "info": {}, "records": [], "compared": made, "lineage": None,
        "measured": {0: {"heldout": result(before)}, 2: {"heldout": result(after)}},
        "training": [], "set_aside": [], "commits": [],
    }  # fmt: skip
    return Findings(**(facts | changes))


def test_a_table_says_before_after_and_verdict():
    made = report_results.before_and_after(findings([0.2] * 12, [0.2] * 11 + [0.3]))
    assert '<td>reward</td><td class="figure">0.200</td><td class="figure">0.208</td>' in made
    assert "inside the interval" in made
    assert "reward on kinds trained on" in made


def test_without_two_measurements_it_says_so():
    nothing = findings(BEFORE, AFTER, compared={}, measured={})
    assert "Nothing was measured both" in report_results.before_and_after(nothing)
    assert "Nothing was measured both" in report_results.samples(nothing)


def test_prompts_of_one_side_are_counted():
    made = report_results.before_and_after(findings(BEFORE, AFTER[:18]))
    assert "2 prompts measured on one side only" in made


def test_measures_of_every_round_are_drawn_with_their_intervals(finished):
    made = report_results.by_round(Findings.read(finished))
    assert "Held-out prompts: reward" in made
    # four rounds were measured: a point and an interval each
    first = made.split("</figure>")[0]
    assert first.count("<circle") == 4
    assert first.count('<line class="stroke one"') == 4


def test_two_measurements_make_no_curve(static):
    assert report_results.by_round(Findings.read(static)) == ""


def test_the_head_of_an_online_run_counts_steps_and_updates(finished_online, oaif, static_online):
    found = Findings.read(finished_online)
    updates = sum(record["solver"]["training"]["updates"] for record in found.records)
    made = report_results.header(found)
    assert f"12 steps, {updates} updates, " in made
    assert "was trained on the answers by RLOO" in made
    assert "by OAIF" in report_results.header(Findings.read(oaif))
    assert "A baseline, online" in report_results.header(Findings.read(static_online))
