import pytest
import torch
from transformers import DynamicCache

from eva.engines.cache import SlotCache

HEADS, SIZE = 2, 3


@pytest.fixture
def cache():
    return SlotCache(4, 6, dtype=torch.float32, device=torch.device("cpu"))


def prompts(*marks, length):
    """A prefilled cache of one layer whose keys say which prompt and column they are of."""
    filled = DynamicCache()
    keys = torch.stack([mark + torch.arange(length) / 10 for mark in marks])
    keys = keys[:, None, :, None].expand(-1, HEADS, -1, SIZE).clone()
    filled.update(keys, -keys, 0)
    return filled


def write(cache, *marks, longest):
    """Write one token per row and return what attention gets to see of each row."""
    positions, mask = cache.extend(longest)
    new = torch.tensor(marks)[:, None, None, None].expand(-1, HEADS, 1, SIZE)
    keys, values = cache.update(new, -new, 0)
    assert torch.equal(keys, -values)
    shown = [
        [round(x, 1) for x in row[bare == 0].tolist()]
        for row, bare in zip(keys[:, 0, :, 0], mask[:, 0, 0], strict=True)
    ]
    return positions[:, 0].tolist(), shown


def test_ragged_rows_write_at_their_own_ends(cache):
    cache.admit(prompts(1.0, 2.0, length=3), [3, 1], copies=2)
    assert write(cache, 7.0, 8.0, 9.0, 6.0, longest=3) == (
        [3, 3, 1, 1],
        [[1.0, 1.1, 1.2, 7.0], [1.0, 1.1, 1.2, 8.0], [2.0, 9.0], [2.0, 6.0]],
    )
    positions, shown = write(cache, 7.5, 8.5, 9.5, 6.5, longest=4)
    assert positions == [4, 4, 2, 2]
    assert shown[2] == [2.0, 9.0, 9.5]


def test_rows_that_stay_keep_all_they_hold(cache):
    cache.admit(prompts(1.0, 2.0, 3.0, 4.0, length=2), [2, 1, 2, 2], copies=1)
    write(cache, 5.0, 6.0, 7.0, 8.0, longest=2)
    order = cache.keep([1, 3])
    assert sorted(order) == [1, 3]
    _, shown = write(cache, *[9.0, 9.0], longest=3)
    wanted = {1: [2.0, 6.0, 9.0], 3: [4.0, 4.1, 8.0, 9.0]}
    assert shown == [wanted[row] for row in order]


def test_a_newcomer_sees_nothing_of_the_row_before_it(cache):
    cache.admit(prompts(1.0, 2.0, length=4), [4, 4], copies=1)
    write(cache, 5.0, 6.0, longest=4)
    assert cache.keep([0]) == [0]
    cache.admit(prompts(3.0, length=1), [1], copies=1)
    assert write(cache, 7.0, 8.0, longest=5)[1] == [[1.0, 1.1, 1.2, 1.3, 5.0, 7.0], [3.0, 8.0]]


def test_a_row_may_leave_before_the_first_step(cache):
    cache.admit(prompts(1.0, 2.0, length=3), [3, 2], copies=1)
    assert cache.keep([1]) == [1]
    assert write(cache, 5.0, longest=2)[1] == [[2.0, 2.1, 5.0]]


def test_all_rows_may_leave(cache):
    cache.admit(prompts(1.0, length=2), [2], copies=3)
    assert cache.keep([]) == []
    assert cache.rows == 0
