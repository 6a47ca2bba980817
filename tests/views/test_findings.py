from dataclasses import replace

import pytest

from eva.errors import RunError
from eva.views.findings import Findings


def test_a_finished_run_in_full(finished):
    found = Findings.read(finished)
    assert [record["round"] for record in found.records] == [1, 2, 3]
    assert list(found.measured) == [0, 1, 2, 3]
    assert list(found.compared) == ["heldout"]
    assert found.status == "finished, 3 of 3 rounds"
    assert len(found.set_aside) == 2
    updates = [r["solver"]["training"]["updates"] for r in found.records]
    assert len(found.training) == sum(updates)


def test_a_run_that_was_stopped_says_where(interrupted, begun):
    assert Findings.read(interrupted).status == (
        "not finished: 1 of 2 rounds, last commit round 1, record"
    )
    assert Findings.read(interrupted).compared == {}
    new = Findings.read(begun)
    assert new.status == "not finished: 0 of 2 rounds, last commit none"
    assert new.seconds == 0.0
    assert new.seconds_by_stage() == {}


def test_a_run_that_an_alarm_stopped_says_so(interrupted):
    found = Findings.read(interrupted)
    alarms = [{"round": 1, "stops": True}]
    stopped = replace(found, alarms=alarms, commits=[{"round": 1, "stage": "alarms"}])
    assert stopped.status == "stopped by an alarm, 1 of 2 rounds"
    # gone on with, another alarm, an alarm that stopped nothing
    assert not replace(stopped, info={**found.info, "past_alarms": 1}).stopped
    assert not replace(stopped, commits=[{"round": 2, "stage": "creator/answer"}]).stopped
    assert not replace(stopped, alarms=[{"round": 1, "stops": False}]).stopped
    assert not replace(stopped, info={**found.info, "status": "finished"}).stopped


def test_the_time_of_the_stages_is_the_time_of_the_run(finished):
    found = Findings.read(finished)
    spent = found.seconds_by_stage()
    # `created` is in whole seconds, stages of less than 5 ms are left out
    assert sum(spent.values()) == pytest.approx(found.seconds, abs=1.5)
    assert not any("block" in stage for stage in spent)


def test_blocks_of_a_token_budget_count_to_their_stage():
    rows = [("solver/block-0000/answer", 12.0), ("solver/block-0001/answer", 15.0)]
    rows += [("evaluate/heldout", 16.0), ("evaluate", 17.0)]
    found = Findings(
        path=None, info={"created": "1970-01-01T00:00:10+00:00"}, records=[], measured={},
        compared={}, lineage=None, training=[], set_aside=[],
        commits=[{"stage": stage, "time": time} for stage, time in rows],
    )  # fmt: skip
    assert found.seconds_by_stage() == {"solver/answer": 5.0, "evaluate": 2.0}
    assert found.seconds == 7.0


def test_an_online_run_counts_its_steps(finished_online, interrupted_online):
    found = Findings.read(finished_online)
    assert found.online
    assert found.status == "finished, 2 of 2 rounds, 12 of 12 steps"
    assert [step for step, _ in found.by_step()] == list(range(1, 13))
    assert found.by_step()[7][1] == found.training[7].metrics
    cut = Findings.read(interrupted_online)
    assert cut.status == (
        "not finished: 0 of 2 rounds, 4 of 12 steps, last commit round 1, solver/train"
    )


def test_reading_needs_a_run(tmp_path):
    with pytest.raises(RunError, match="not a run folder"):
        Findings.read(tmp_path)


def test_a_run_can_be_read_while_it_is_played(finished):
    from eva.runs.folder import RunFolder

    with RunFolder.open(finished):
        assert len(Findings.read(finished).records) == 3
