import pytest

from eva.errors import RunError
from eva.views import steps
from eva.views.findings import Findings
from eva.views.steps import StepLine


def line(number, phase="warm-up", prompts=(), children=()):
    return StepLine(1, number, phase, 4, 0, 0, tuple(prompts), tuple(children))


def test_steps_are_those_of_the_run_without_their_answers(finished_online):
    found = Findings.read(finished_online)
    assert [step.number for step in found.steps] == list(range(1, 13))
    assert [step.round for step in found.steps] == [1] * 6 + [2] * 6
    for t, record in enumerate(found.records, 1):
        some = [step for step in found.steps if step.round == t]
        phases = {phase: len(of) for phase, of in steps.by_phase(some).items()}
        assert phases == record["creator"]["phases"]
        assert sum(step.replayed for step in some) == record["creator"]["replayed"]
        assert sum(len(step.children) for step in some) == record["creator"]["children"]
        assert {id for step in some for id in step.prompts} == set(record["prompts"])


def test_an_offline_run_has_none(finished):
    assert Findings.read(finished).steps == []


def test_phases_come_in_their_order_and_begin_where_they_change():
    some = [line(1), line(2, "mix-up"), line(3, "mix-up"), line(4, "bootstrap")]
    assert list(steps.by_phase(some[::-1])) == ["warm-up", "mix-up", "bootstrap"]
    assert steps.beginnings(some) == [2, 4]
    assert steps.beginnings([]) == []


def test_prompts_know_their_steps():
    some = [line(1, prompts="ab", children="c"), line(2, prompts="bc", children="cd")]
    assert steps.played(some) == {"a": [1], "b": [1, 2], "c": [2]}
    assert steps.entered(some) == {"c": 1, "d": 2}


def test_a_file_that_is_gone_is_named(tmp_path):
    commits = [{"stage": "online/steps", "kind": "chunk", "file": "x.parquet", "round": 3}]
    with pytest.raises(RunError, match=r"x\.parquet: the steps of round 3 cannot be read"):
        steps.read(tmp_path, commits)
    (tmp_path / "x.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(RunError, match="cannot be read"):
        steps.read(tmp_path, commits)
