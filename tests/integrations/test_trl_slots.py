import pytest

from eva.errors import RunError
from eva.integrations.trl_slots import Layout, Slots


def test_batches_follow_from_micro_steps():
    layout = Layout(prompts=3, answers=4, repeats=4, accumulation=2)
    assert [layout.first(step) for step in range(5)] == [0, 0, 1, 1, 2]
    assert [layout.needed(step) for step in range(5)] == [0, 1, 1, 2, 2]
    assert [layout.batches(steps) for steps in (1, 2, 3)] == [1, 1, 2]
    assert [layout.aligned(step) for step in range(3)] == [True, False, True]


def test_rows_of_a_rank_belong_to_slots():
    layout = Layout(prompts=3, answers=4, repeats=2, accumulation=1)
    # 12 answers on two ranks: those to the second prompt straddle them
    assert layout.slots_of(0, rank=0, rows=6) == [0, 0, 0, 0, 1, 1]
    assert layout.slots_of(0, rank=1, rows=6) == [1, 1, 2, 2, 2, 2]
    assert layout.slots_of(3, rank=0, rows=6) == [3, 3, 3, 3, 4, 4]


@pytest.mark.parametrize(
    ("accumulation", "repeats", "lags"),
    [
        (1, 1, {2}),
        (4, 4, {2}),
        (1, 2, {1}),
        (2, 4, {1}),
        (2, 1, {2, 3}),
        (4, 2, {2, 3}),
    ],
)
def test_how_far_behind_a_draw_is(accumulation, repeats, lags):
    layout = Layout(prompts=1, answers=2, repeats=repeats, accumulation=accumulation)
    blind = layout.needed(0) + 1
    assert all(layout.lag(batch) > batch for batch in range(blind))
    assert {layout.lag(batch) for batch in range(blind, blind + 12)} == lags


def test_slots_are_there_while_they_are_needed():
    slots = Slots(Layout(prompts=2, answers=2, repeats=1, accumulation=1), batches=3)
    assert len(slots) == 6
    rows = {batch: [{"prompt": f"{batch}{place}"} for place in "ab"] for batch in range(3)}
    slots.fill({0: rows[0], 1: rows[1]}, keep_from=0)
    assert [slots[i]["prompt"] for i in range(4)] == ["0a", "0b", "1a", "1b"]
    slots[0]["prompt"] = "changed"
    assert slots[0]["prompt"] == "0a"
    slots.fill({2: rows[2]}, keep_from=1)
    assert slots[5]["prompt"] == "2b"
    with pytest.raises(RunError, match=r"slot 1 \(generation batch 0\) has no prompt"):
        slots[1]
    slots.clear()
    with pytest.raises(RunError, match=r"slot 5 .* batches \[\] do"):
        slots[5]
