import re

import pytest

from eva.runs.tables import Logged
from eva.views import report_rounds
from eva.views.findings import Findings


def test_rounds_are_tables_and_charts_of_their_records(finished):
    found = Findings.read(finished)
    made = report_rounds.rewards(found)
    for record in found.records:
        mean = f"{record['solver']['reward_mean']:.3f}"
        assert f'<td class="figure">{mean}</td>' in made
        assert f"mean, {record['round']}: {mean}" in made


def test_unscored_answers_are_counted_by_cause(finished):
    assert re.search(r"\d+ timeout", report_rounds.rewards(Findings.read(finished)))


def test_parts_of_a_reward_are_drawn_where_they_can_be_told_apart():
    def rounds(*parts):
        return [
            {"round": t, "solver": {"parts": dict.fromkeys(parts, value)}}
            for t, value in ((1, 0.25), (2, 0.5))
        ]

    (chart,) = report_rounds.parts(rounds("rule", "relevance"))
    assert "rule, 2: 0.5" in chart
    assert "relevance, 1: 0.25" in chart
    assert report_rounds.parts(rounds(*"abcdef")) == []
    assert report_rounds.parts([{"round": 1, "solver": {}}]) == []


def test_drawn_and_other_estimates_stand_apart(finished):
    found = Findings.read(finished)
    drawn, others = report_rounds._estimates(found, 2)
    assert (len(drawn), len(others)) == (5, 15)
    assert "Estimates of round 2" in report_rounds.informativeness(found)
    assert sum(drawn) / 5 == pytest.approx(found.records[1]["creator"]["info_drawn_mean"])


def test_an_ensembles_disagreement_is_shown_where_there_is_one(finished):
    records = Findings.read(finished).records[1:]
    assert report_rounds.disagreement(records) == []
    told = {"disagreement": 0.5, "disagreement_correlation": 0.25}
    shown = [record | {"creator": record["creator"] | told} for record in records]
    spread, correlation = report_rounds.disagreement(shown)
    assert "standard deviation, 2: 0.5" in spread
    assert "rank correlation, 2: 0.25" in correlation


def test_how_informativeness_is_inherited_is_shown_where_it_is_known(finished):
    records = Findings.read(finished).records[1:]
    assert report_rounds.carried(records) == []
    (chart,) = report_rounds.carried(
        [record | {"creator": record["creator"] | {"info_carried": 0.25}} for record in records]
    )
    assert "rank correlation, 2: 0.25" in chart


def test_a_round_without_a_creator_has_no_estimates(static):
    made = report_rounds.informativeness(Findings.read(static))
    assert "No informativeness was estimated" in made


def test_tokens_are_those_of_the_records(finished):
    found = Findings.read(finished)
    made = report_rounds.sizes(found)
    for record in found.records:
        assert f"round {record['round']}, answers: {record['tokens']['solver']:,}" in made
        assert f"round {record['round']}, trained on: {record['tokens']['trained']:,}" in made


def test_updates_go_on_counting_over_the_rounds(finished):
    found = Findings.read(finished)
    begins = report_rounds._begins(found)
    updates = [r["solver"]["training"]["updates"] for r in found.records]
    assert begins == {1: 0, 2: updates[0], 3: updates[0] + updates[1]}
    assert report_rounds.training(found).count('class="round"') == 2 * 5


def test_runs_without_rounds_say_so(begun):
    found = Findings.read(begun)
    for section in (report_rounds.rewards, report_rounds.sizes, report_rounds.lengths):
        assert "No round is done yet" in section(found)
    assert "Nothing was trained yet" in report_rounds.training(found)


def test_training_that_has_begun_is_drawn_before_its_round_is_done(begun):
    found = Findings.read(begun)
    logged = [Logged(1, "solver/train", i, 0.0, {"solver/loss": 1 / i}) for i in (1, 2, 3)]
    made = report_rounds.training(Findings(**(vars(found) | {"training": logged})))
    assert made.count("<circle") == 3
