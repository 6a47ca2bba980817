from __future__ import annotations

import json

import numpy as np
import pytest

from eva.errors import DataError
from eva.evals.compare import HEADER, compare, table
from eva.evals.statistics import INSIDE, mean_interval, paired_difference


def result(values, *, labels=None, weights=None, name="heldout", params=None, field="reward"):
    """A result whose rows have the ids p0, p1, ... and one value each."""
    rows = [
        {
            "id": f"p{i}", "prompt": "", "texts": ["a"], "notes": {},
            "labels": [(labels or {}).get(i, "seen")],
            "values": {field: value},
            "weights": {field: weights[i]} if weights else {},
        }
        for i, value in enumerate(values)
    ]  # fmt: skip
    return {"name": name, "params": params or {"max_tokens": 48}, "rows": rows}


def by_metric(comparison):
    return {d["metric"]: d for d in comparison["differences"]}


RNG = np.random.default_rng(0)
BEFORE = list(RNG.random(30))
AFTER = list(np.array(BEFORE) + RNG.normal(0.2, 0.1, 30))


def test_the_difference_is_the_paired_one() -> None:
    got = by_metric(compare([result(BEFORE)], [result(AFTER)]))["heldout/reward"]
    expected = paired_difference(BEFORE, AFTER)
    assert (got["difference"], got["low"], got["high"]) == pytest.approx(
        (expected.estimate, expected.low, expected.high)
    )
    assert got["after"] - got["before"] == pytest.approx(got["difference"])
    assert (got["n"], got["verdict"]) == (30, "gain")
    assert got["detectable"] == pytest.approx(2.8016 * expected.error, rel=1e-4)


def test_rows_are_paired_by_id_and_the_rest_is_counted() -> None:
    after = result([*AFTER, 0.5])
    after["rows"] = after["rows"][::-1]
    after["rows"] = [row for row in after["rows"] if row["id"] != "p3"]
    comparison = compare([result(BEFORE)], [after])
    assert comparison["prompts"] == {"paired": 29, "only_before": 1, "only_after": 1}
    kept = [i for i in range(30) if i != 3]
    expected = paired_difference([BEFORE[i] for i in kept], [AFTER[i] for i in kept])
    got = by_metric(comparison)["heldout/reward"]
    assert got["difference"] == pytest.approx(expected.estimate)


def test_a_prompt_without_value_on_one_side_is_left_out_and_counted() -> None:
    got = by_metric(compare([result([0.0, 0.5, None])], [result([1.0, 1.0, 1.0])]))
    assert got["heldout/reward"]["difference"] == 0.75
    assert (got["heldout/reward"]["n"], got["heldout/reward"]["unpaired"]) == (2, 1)


def test_labels_are_compared_apart() -> None:
    labels = dict.fromkeys(range(10), "unseen")
    got = by_metric(compare([result(BEFORE, labels=labels)], [result(AFTER, labels=labels)]))
    expected = paired_difference(BEFORE[:10], AFTER[:10])
    assert set(got) == {"heldout/reward", "heldout/reward/seen", "heldout/reward/unseen"}
    assert got["heldout/reward/unseen"]["low"] == pytest.approx(expected.low)


def test_weights_are_those_of_the_rows() -> None:
    weights = [1.0, 3.0, 2.0]
    sides = [result([0.0, 1.0, 0.5], weights=weights), result([1.0, 1.0, 0.5], weights=weights)]
    got = by_metric(compare(sides[:1], sides[1:]))["heldout/reward"]
    assert (got["before"], got["after"]) == pytest.approx((4 / 6, 5 / 6))
    assert got["error"] == pytest.approx(mean_interval([1.0, 0.0, 0.0], weights).error)


def test_seeds_are_averaged_by_prompt_and_their_spread_is_told() -> None:
    afters = [result([b + d for b in BEFORE]) for d in (0.1, 0.2, 0.6)]
    comparison = compare([result(BEFORE)], afters)
    got = by_metric(comparison)["heldout/reward"]
    assert comparison["seeds"] == 3
    assert got["by_seed"] == pytest.approx([0.1, 0.2, 0.6])
    assert got["spread"] == pytest.approx(np.std([0.1, 0.2, 0.6], ddof=1))
    assert got["n"] == 30  # prompts, not prompts times seeds
    # over prompts every difference is the same, over seeds they are not
    assert got["verdict"] == "gain"
    across = mean_interval([0.1, 0.2, 0.6])
    assert got["over_seeds"] == {
        "low": pytest.approx(across.low),
        "high": pytest.approx(across.high),
        "verdict": "inside the interval",
    }
    assert by_metric(compare([result(BEFORE)], afters[:1]))["heldout/reward"]["over_seeds"] is None
    paired = compare([result(BEFORE)] * 3, afters)
    assert by_metric(paired)["heldout/reward"] == got


@pytest.mark.parametrize(
    ("field", "words"),
    [("reward", "gain"), ("truncated", "loss"), ("tokens", "more"), ("reward_rules", "more")],
)
def test_the_verdict_knows_which_way_is_better(field: str, words: str) -> None:
    got = compare([result(BEFORE, field=field)], [result(AFTER, field=field)])
    assert got["differences"][0]["verdict"] == words


def test_no_change_is_inside_the_interval() -> None:
    noise = list(np.array(BEFORE) + np.random.default_rng(3).normal(0, 0.1, 30))
    got = by_metric(compare([result(BEFORE)], [result(noise)]))["heldout/reward"]
    assert got["verdict"] == INSIDE
    assert got["low"] < 0 < got["high"]


@pytest.mark.parametrize("values", [[None, None], [0.5, None]])
def test_too_few_pairs_are_plain_json_without_interval(values) -> None:
    comparison = compare([result([0.1, 0.2])], [result(values)])
    got = comparison["differences"][0]
    assert (got["low"], got["verdict"], got["detectable"]) == (None, INSIDE, None)
    assert json.loads(json.dumps(comparison, allow_nan=False)) == comparison
    assert table(comparison)[1][5] == "unknown"


def test_unlike_results_are_refused() -> None:
    with pytest.raises(DataError, match="params is"):
        compare([result(BEFORE)], [result(AFTER, params={"max_tokens": 96})])
    with pytest.raises(DataError, match="name is 'heldout'"):
        compare([result(BEFORE)], [result(AFTER, name="ifeval")])
    with pytest.raises(DataError, match="got 2 results before and 3 after"):
        compare([result(BEFORE)] * 2, [result(AFTER)] * 3)
    with pytest.raises(DataError, match="got 1 results before and 0 after"):
        compare([result(BEFORE)], [])


def test_table_is_text_by_rows() -> None:
    comparison = compare([result([20.0, 30.0, 40.0])], [result([31.0, 40.0, 51.0])])
    rows = table(comparison)
    assert rows[0] == HEADER
    assert rows[1] == (
        "heldout/reward", "3", "30.0", "40.7", "+10.7", "+9.232 to +12.1", "gain",
    )  # fmt: skip
    assert table(comparison, ["tokens"]) == [HEADER]
    assert len(table(comparison, ["reward"])) == 3  # over all, and for the label seen
