import pytest

from eva.runs import faults


def test_there_are_many_points_and_none_twice():
    assert len(set(faults.POINTS)) == len(faults.POINTS) >= 40


def test_only_the_armed_point_raises_and_only_at_its_passage():
    with faults.armed("record:before_commit", at=2) as fault:
        faults.reach("record:after_commit")
        faults.reach("record:before_commit")
        with pytest.raises(faults.Crash, match="record:before_commit"):
            faults.reach("record:before_commit")
        faults.reach("record:before_commit")
    assert fault.passages == 3
    faults.reach("record:before_commit")


def test_arming_ends_with_the_block_and_nests():
    with faults.armed("a:mid_commit"):
        with faults.armed("b:mid_commit"):
            faults.reach("a:mid_commit")
        with pytest.raises(faults.Crash):
            faults.reach("a:mid_commit")


def test_a_step_that_does_not_exist_cannot_be_armed():
    near = pytest.raises(ValueError, match="did you mean 'before_commit'")
    with near, faults.armed("x:before_comit"):
        pass


def test_no_handler_of_errors_catches_a_crash():
    assert not issubclass(faults.Crash, Exception)
