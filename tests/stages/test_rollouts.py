import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eva.data.prompts import load_prompts
from eva.engines.policy import load_policy
from eva.errors import DataError
from eva.runs import parquet
from eva.stages import rollouts
from eva.types import Check, Example, Group, Message, Prompt, Refusal, Response, Score, ScoredGroup

CHILD = Prompt(
    (Message("system", "Be brief."), Message("user", "Name three colours.")),
    checks=(Check("min_words", {"words": 3}),),
    topic="Name colours.",
    parents=("0" * 16,),
    operator="add",
    born=2,
    columns={"category": ["a", 1]},
)


def rollout_file(path, **columns):
    rows = {
        "prompt": [[{"role": "user", "content": f"Name {i} colours."}] for i in range(6)],
        "responses": [[f"red {i}", f"blue and green {i}", "grey"] for i in range(6)],
        "rewards": [[0.0, float(i), None] for i in range(6)],
    }
    pq.write_table(pa.table(rows | columns), path)
    return path


def test_prompts_come_back_whole_and_others_can_read_them(tmp_path):
    path = tmp_path / "prompts.parquet"
    prompts = [CHILD, Prompt.of("Name a town.")]
    rollouts.write_prompts(path, prompts, {CHILD.id: 0.25})
    assert rollouts.read_prompts(str(path)).prompts == tuple(prompts)
    rows = pq.read_table(path).to_pylist()
    assert rows[0]["prompt"][1] == {"role": "user", "content": "Name three colours."}
    assert [row["informativeness"] for row in rows] == [0.25, None]
    # as any data set of prompts: text and checks, but the lineage of another run
    assert [p.messages for p in load_prompts(str(path)).prompts] == [p.messages for p in prompts]


def test_prompts_of_any_format_are_read(tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_text('{"instruction": "Sing."}\n{"instruction": "Dance a little longer."}\n')
    loaded = rollouts.read_prompts(str(path), max_characters=10)
    assert [prompt.text for prompt in loaded.prompts] == ["Sing."]
    assert loaded.reasons == {"too long": 1}


@pytest.mark.parametrize("kind", [Group, ScoredGroup])
def test_prompts_of_answered_ones_are_read(tmp_path, kind):
    group = Group(CHILD, (1,), (Response("red", (5,)),), "p")
    rows = [group if kind is Group else ScoredGroup(group, (Score(1.0),))]
    parquet.write(tmp_path / "answered.parquet", rows, kind=kind)
    assert rollouts.read_prompts(str(tmp_path / "answered.parquet")).prompts == (CHILD,)


def test_refusals_are_a_table(tmp_path):
    refusal = Refusal("p", "add", "duplicate", "the same as q", "text", 2)
    rollouts.write_refusals(tmp_path / "r.parquet", [refusal])
    (row,) = pq.read_table(tmp_path / "r.parquet").to_pylist()
    assert Refusal(**row) == refusal
    rollouts.write_refusals(tmp_path / "none.parquet", [])
    assert pq.read_table(tmp_path / "none.parquet").num_rows == 0


def test_a_trainer_that_passes_columns_on_keeps_checks_and_lineage(tmp_path):
    rollouts.write_prompts(tmp_path / "prompts.parquet", [CHILD], {})
    table = pq.read_table(tmp_path / "prompts.parquet").replace_schema_metadata(None)
    table = table.append_column("responses", pa.array([["red, blue", "no"]]))
    pq.write_table(table, tmp_path / "theirs.parquet")
    (group,) = rollouts.read_groups(tmp_path / "theirs.parquet")
    assert group.prompt == CHILD
    assert [response.text for response in group.responses] == ["red, blue", "no"]


def test_every_form_of_a_response_is_read(tmp_path):
    path = tmp_path / "theirs.jsonl"
    said = ["red", {"role": "assistant", "content": "blue"}, {"text": "grey"},
            [{"role": "assistant", "content": "green"}], ""]  # fmt: skip
    row = {"prompt": "A colour?", "completions": said, "rewards": [1, 2, float("nan"), None, 0]}
    path.write_text(json.dumps(row | {"finish": ["stop", "length", None, "stop", "eos"]}))
    (scored,) = rollouts.read_scored(path)
    assert [r.text for r in scored.group.responses] == ["red", "blue", "grey", "green", ""]
    assert [r.truncated for r in scored.group.responses] == [False, True, False, False, False]
    assert scored.rewards == (1.0, 2.0, None, None, 0.0)
    assert [score.cause for score in scored.scores] == ["", "", "nan", "none", ""]


def test_files_of_eva_come_back_exactly(tmp_path):
    group = Group(CHILD, (1, 2), (Response("red", (5, 6), (-0.1, -0.2), "length"),), "p+1")
    scored = ScoredGroup(group, (Score(None, "timeout", "slow"),))
    parquet.write(tmp_path / "s.parquet", [scored], kind=ScoredGroup)
    assert rollouts.read_scored(tmp_path / "s.parquet") == [scored]
    assert rollouts.read_groups(tmp_path / "s.parquet") == [group]


@pytest.fixture(scope="module")
def policy(tiny_folder):
    return load_policy(tiny_folder)


def test_answers_without_ids_are_counted():
    responses = (Response("red", ()), Response("x", (9,)))
    assert rollouts.untokenised(Group(Prompt.of("A colour?"), (), responses, "elsewhere")) == 2
    assert rollouts.untokenised(Group(Prompt.of("A colour?"), (1,), responses, "elsewhere")) == 1


def test_a_preference_data_set_becomes_examples(policy, tmp_path):
    path = tmp_path / "preferences.jsonl"
    path.write_text(json.dumps({"prompt": "A colour?", "chosen": "red", "rejected": "no"}))
    with path.open("a") as file:
        file.write('\n{"prompt": "A town?", "chosen": "Rome", "rejected": null}')
    pairs = rollouts.read_pairs(path, policy)
    (example,) = pairs.examples
    assert pairs.retokenised
    assert pairs.set_aside == {"rejected answer": 1}
    assert [policy.tokenizer.decode(ids) for ids in example.completions] == [
        "red<|im_end|>",
        "no<|im_end|>",
    ]
    assert np.sum(example.trained_tokens) == 7


def test_answers_are_no_pairs(policy, tmp_path):
    group = Group(CHILD, (1,), (Response("red", (5,)),), "p")
    parquet.write(tmp_path / "g.parquet", [group], kind=Group)
    with pytest.raises(DataError, match="got answers, expected pairs: `eva stage pair` makes"):
        rollouts.read_pairs(tmp_path / "g.parquet", policy)


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"responses": ["red"] * 6}, "row 0: column responses: expected a list"),
        ({"rewards": [[1.0]] * 6}, "row 0: column rewards: got 1 values for 3 responses"),
        ({"token_ids": [[[1]]] * 6}, "row 0: column token_ids: got 1 values for 3 responses"),
        ({"prompt": [" "] * 6}, "row 0: no prompt: empty"),
        ({"rewards": [1.0] * 6}, "row 0: column rewards: got a number, expected a list"),
        ({"rewards": [["a"] * 3] * 6}, "row 0: column rewards: got text, expected a number"),
        ({"token_ids": [["a"] * 3] * 6}, "row 0: column token_ids: got text, expected a list"),
        ({"token_ids": [[["a"]] * 3] * 6}, "row 0: column token_ids: got 'a', expected an int"),
        ({"prompt_ids": [[1.5]] * 6}, "row 0: column prompt_ids: got 1.5, expected an integer"),
        ({"finish": ["stop"] * 6}, "row 0: column finish: got text, expected a list"),
        (
            {"token_ids": [[[1], [2], [3, 4]]] * 6, "logprobs": [[[-1.0]] * 3] * 6},
            "column logprobs: got 1 values for the 2 token ids of response 2",
        ),
        ({"parents": ["abc"] * 6}, "row 0: no prompt: column parents: got text, expected a list"),
        ({"born": ["x"] * 6}, "row 0: no prompt: column born: got 'x', expected an integer"),
        ({"columns": ["[1]"] * 6}, "row 0: no prompt: columns: got a list, expected an object"),
        (
            {"checks": [None, [{"kind": "max_wrods", "args": "{}"}], *[None] * 4]},
            r"theirs.parquet, row 1: no prompt: checks: .*'max_wrods': did you mean 'max_words'",
        ),
    ],
)
def test_broken_rollouts_name_row_and_column(tmp_path, columns, says):
    source = rollout_file(tmp_path / "theirs.parquet", **columns)
    with pytest.raises(DataError, match=says):
        rollouts.read_scored(source)


def test_whole_floats_are_ids_and_rewards_that_are_not_finite_are_none(tmp_path):
    rewards = [[float("inf"), 1.0, float("nan")]] * 6
    ids = [[[1.0], [2.0], None]] * 6
    source = rollout_file(tmp_path / "t.parquet", rewards=rewards, token_ids=ids)
    scored = rollouts.read_scored(source)[0]
    assert [response.token_ids for response in scored.group.responses] == [(1,), (2,), ()]
    assert scored.rewards == (None, 1.0, None)


@pytest.mark.parametrize("read", [rollouts.read_groups, rollouts.read_scored])
def test_a_file_of_eva_without_rows_is_refused(tmp_path, read):
    parquet.write(tmp_path / "none.parquet", [], kind=ScoredGroup)
    with pytest.raises(DataError, match="no rows; expected at least one"):
        read(tmp_path / "none.parquet")


def test_token_ids_of_another_model_are_refused(policy):
    (known, unknown) = (Example("p", (1, 2), ((3,), (id,))) for id in (4, 10**6))
    rollouts.refuse_unknown_ids("x.parquet", [known], policy)
    with pytest.raises(DataError, match=r"x\.parquet: token id 1000000, expected 0 to \d+"):
        rollouts.refuse_unknown_ids("x.parquet", [known, unknown], policy)


def test_missing_columns_are_named(tmp_path):
    pq.write_table(pa.table({"prompt": ["a"], "answer": ["b"]}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match="no column responses; got prompt, answer"):
        rollouts.read_groups(tmp_path / "t.parquet")
    pq.write_table(pa.table({"prompt": ["a"], "responses": [["b"]]}), tmp_path / "u.parquet")
    assert rollouts.read_groups(tmp_path / "u.parquet")[0].responses[0].text == "b"
    with pytest.raises(DataError, match="unknown column 'rewards'"):
        rollouts.read_scored(tmp_path / "u.parquet")
