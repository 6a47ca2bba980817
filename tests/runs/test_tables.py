from eva.runs import tables
from eva.types import Check, Group, Message, Prompt, Response, Score, ScoredGroup


def test_rows_are_stored_as_text_and_come_back():
    row = {"columns": {"ё": [1, None]}, "topic": "t", "result": "text", "parents": []}
    stored = tables.stored(row)
    assert stored == {
        "columns": '{"ё": [1, null]}',
        "topic": "t",
        "result": '"text"',
        "parents": "[]",
    }
    assert tables.loaded(stored) == row


def test_prompts_come_back():
    prompt = Prompt(
        (Message("system", "Be brief."), Message("user", "Why?\0ё")),
        checks=(Check("length/words", {"most": 3}),),
        topic="why",
        parents=("a", "b"),
        operator="combine",
        born=4,
        columns={"answer": 0.1},
        id="own id",
    )
    assert tables.build_prompt(tables.loaded(tables.stored(tables.prompt_row(prompt)))) == prompt


def test_scores_leave_out_what_has_no_reward():
    responses = tuple(Response("", (), finish=f) for f in ("stop", "length", "length", "stop"))
    scores = (Score(1.0), Score(None, "nan"), Score(2.5), Score(None, "nan"))
    row = tables.score_row(ScoredGroup(Group(Prompt.of("q"), (), responses, "v3"), scores))
    assert row == {
        "prompt_id": Prompt.of("q").id,
        "policy": "v3",
        "n": 4,
        "n_scored": 2,
        "mean": 1.75,
        "max": 2.5,
        "min": 1.0,
        "truncated": 2,
        "causes": {"nan": 2},
    }


def test_a_group_without_any_reward_has_no_mean():
    row = tables.score_row(ScoredGroup(Group(Prompt.of("q"), (), (), "v"), ()))
    assert (row["n"], row["mean"], row["max"], row["min"]) == (0, None, None, None)
