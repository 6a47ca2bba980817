import asyncio
import functools
import json

import pytest
import torch
from torch import nn

from eva.errors import DataError
from eva.integrations.trl_rewards import Answer, Observer, constraints_met, is_async, totals
from eva.types import Check

NAN = float("nan")


def observer(weights, training=True):
    return Observer(
        weights,
        slots=lambda rows: [9] * rows,
        training=lambda: training,
        truncated=lambda ids: len(ids) > 2,
    )


def columns(**more):
    logged = {}
    given = {
        "prompts": ["p", "p"],
        "completions": ["a", "b"],
        "completion_ids": [[1], [1, 2, 3]],
        "log_metric": logged.__setitem__,
        "eva_slot": [4, 4],
    }
    return given | more, logged


def plain(**given):
    return [1, None]


async def awaited(**given):
    return [2.0, 3.0]


class Called:
    def __call__(self, **given):
        return torch.tensor([0.5, NAN])


class Awaited:
    async def __call__(self, **given):
        return [1.0, 1.0]


class Model(nn.Module):
    def forward(self, x):
        return type("Output", (), {"logits": x[:, None].to(torch.bfloat16)})()


def test_totals_are_those_of_the_trainer():
    scores = [[1.0, None, 2.0, NAN], [0.5, 2.0, float("inf"), None]]
    assert totals(scores, [2.0, 0.5]) == [2.25, 1.0, None, None]
    assert totals([[0.1]], [0.2])[0] == float(torch.tensor(0.1) * torch.tensor(0.2))


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (plain, False),
        (awaited, True),
        (functools.partial(awaited, x=1), True),
        (Awaited(), True),
        (Called(), False),
        (functools.partial(Awaited(), x=1), True),
        (len, False),
    ],
)
def test_async_functions_are_told_as_trl_tells_them(function, expected):
    from trl.trainer.utils import is_async_callable

    assert is_async(function) == is_async_callable(function) == expected


def test_functions_are_watched_and_their_output_goes_on():
    seen = observer([1.0, 0.5])
    first, second = seen.watch(0, plain), seen.watch(1, awaited)
    assert first.__name__ == "plain"
    assert is_async(second)
    given, _ = columns()
    assert first(**given) == [1, None]
    assert seen.take() == []
    assert asyncio.run(second(**given)) == [2.0, 3.0]
    assert seen.take() == [Answer(4, 2.0, False), Answer(4, 1.5, True)]
    assert seen.take() == []


def test_an_ensemble_s_members_are_kept_where_all_scored():
    seen = Observer(
        [1.0, 0.5],
        slots=lambda rows: [9] * rows,
        training=lambda: True,
        truncated=lambda ids: False,
        ensemble=True,
    )
    given, _ = columns()
    seen.watch(0, plain)(**given)
    asyncio.run(seen.watch(1, awaited)(**given))
    # 1 + 0.5 x 2, as the mean of 2 and 2; the other answer lacks a score
    assert seen.take() == [Answer(4, 2.0, False, (2.0, 2.0)), Answer(4, 1.5, False)]


def test_objects_and_partials_are_watched_too():
    seen = observer([1.0, 1.0])
    first, second = seen.watch(0, Called()), seen.watch(1, functools.partial(plain, k=1))
    given, _ = columns()
    assert float(first(**given)[0]) == 0.5
    second(**given)
    assert [answer.reward for answer in seen.take()] == [1.5, None]


def test_rows_of_an_evaluation_are_not_kept():
    seen = observer([1.0])
    function = seen.watch(0, plain)
    given, logged = columns()
    del given["eva_slot"]
    seen.figures.append({"x": 1.0})
    assert function(**given) == [1, None]
    assert seen.take() == []
    assert logged == {}


def test_a_wrong_number_of_rewards_is_for_the_trainer_to_refuse():
    seen = observer([1.0])
    given, _ = columns()
    assert seen.watch(0, lambda **given: [1.0])(**given) == [1.0]
    assert seen.take() == []


def test_a_reward_model_is_seen_while_it_trains():
    model = Model()
    seen = observer([2.0])
    assert seen.watch(0, model) is model
    model(torch.tensor([1.0, 2.0]))
    assert seen.take() == [Answer(9, 2.0, False), Answer(9, 4.0, False)]
    evaluating = observer([2.0], training=False)
    evaluating.watch(0, model)
    model(torch.tensor([1.0, 2.0]))
    assert evaluating.take() == []


def test_a_model_beside_a_function_takes_its_slots():
    model, seen = Model(), observer([1.0, 1.0])
    seen.watch(0, model)
    function = seen.watch(1, plain)
    model(torch.tensor([1.0, 2.0]))
    function(**columns()[0])
    assert [answer.slot for answer in seen.take()] == [4, 4]


def test_figures_are_logged_once_as_means():
    seen = observer([1.0])
    function = seen.watch(0, plain)
    seen.figures += [{"a": 1.0, "b": 4.0}, {"a": 2.0}]
    given, logged = columns()
    function(**given)
    assert logged == {"eva/a": 1.5, "eva/b": 4.0}
    logged.clear()
    function(**given)
    assert logged == {}


def test_constraints_are_scored_from_a_column():
    check = Check("commas", {})
    column = json.dumps([{"kind": check.kind, "args": {}}])
    chat = [[{"role": "assistant", "content": "a, b"}]]
    given = {"prompts": ["p"] * 4, "completions": ["a b", "a, b", "a", ""]}
    made = constraints_met(**given, checks=[column, column, "[]", column], other=1)
    assert made == [1.0, 0.0, None, 0.0]
    as_list = constraints_met(prompts=["p"], completions=chat, checks=[json.loads(column)])
    assert as_list == [0.0]
    assert constraints_met(prompts=["p"], completions=["a"]) == [None]
    with pytest.raises(DataError, match="not JSON"):
        constraints_met(prompts=["p"], completions=["a"], checks=["{"])
