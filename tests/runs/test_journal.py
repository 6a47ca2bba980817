import pytest

from eva.errors import RunError
from eva.runs.journal import counts, figures
from eva.runs.memory import MemoryJournal
from eva.types import (
    Evolution,
    Group,
    Prompt,
    Refusal,
    Response,
    Score,
    ScoredGroup,
    Stage,
    Step,
)

STAGE = Stage(1, "creator/answer")


class Watching:
    def __init__(self):
        self.seen = []

    def begin(self, stage, total, *, done=0, unit="prompts"):
        self.seen.append(("begin", stage.name, total, done))

    def advance(self, done, **figures):
        self.seen.append((done, figures))

    def end(self):
        self.seen.append("end")


def group(i, rewards=()):
    responses = tuple(Response("x", (1, 2, 3)) for _ in rewards or (0, 0))
    made = Group(Prompt.of(str(i)), (), responses, "v")
    return ScoredGroup(made, tuple(map(Score, rewards))) if rewards else made


def test_items_are_produced_chunk_by_chunk_and_once():
    journal, asked = MemoryJournal(), []

    def produce(items):
        asked.append(list(items))
        return [{"n": i} for i in items]

    for _ in range(2):
        rows = journal.map(STAGE, range(5), produce, rows=dict, chunk=2)
        assert rows == [{"n": i} for i in range(5)]
    assert asked == [[0, 1], [2, 3], [4]]
    assert journal.read(STAGE, dict) == rows
    assert journal.read(Stage(9, "creator/answer"), dict) == []
    assert journal.map(Stage(2, "x"), [], produce, rows=dict, chunk=2) == []


def test_what_is_returned_is_what_would_be_read_back():
    journal = MemoryJournal()
    fresh = journal.map(STAGE, [0], lambda items: [{"pair": (1, 2), 3: "x"}], rows=dict, chunk=1)
    assert fresh == [{"pair": [1, 2], "3": "x"}]
    assert journal.once(Stage(1, "record"), lambda: {"pair": (1, 2)}) == {"pair": [1, 2]}


def test_a_result_is_produced_once_even_if_it_is_none():
    journal, asked = MemoryJournal(), []
    for _ in range(2):
        assert journal.once(Stage(1, "record"), lambda: asked.append(1)) is None
    assert asked == [1]


def test_work_within_work_is_committed_by_itself():
    journal = MemoryJournal()

    def broken():
        assert journal.once(Stage(1, "inner"), lambda: 7) == 7
        raise KeyError

    with pytest.raises(KeyError):
        journal.once(Stage(1, "outer"), broken)
    assert journal.once(Stage(1, "inner"), pytest.fail) == 7
    assert journal.once(Stage(1, "outer"), lambda: 8) == 8


def test_a_chunk_that_failed_leaves_those_before_it():
    journal = MemoryJournal()

    def produce(items):
        if 2 in items:
            raise KeyError
        return [{"n": i} for i in items]

    with pytest.raises(KeyError):
        journal.map(STAGE, range(4), produce, rows=dict, chunk=2)
    assert journal.read(STAGE, dict) == [{"n": 0}, {"n": 1}]


def test_one_row_per_item_is_required():
    with pytest.raises(RunError, match=r"creator/answer.*got 1 rows for 2 items"):
        MemoryJournal().map(STAGE, [1, 2], lambda items: [{}], rows=dict, chunk=2)


def test_committed_chunks_must_fit_the_items():
    journal = MemoryJournal()
    journal.map(STAGE, range(4), lambda items: [{} for _ in items], rows=dict, chunk=2)
    with pytest.raises(RunError, match=r"holds 2 rows, expected 3: .*another chunk size"):
        journal.map(STAGE, range(4), pytest.fail, rows=dict, chunk=3)


def test_progress_goes_on_with_what_is_done_and_ends_even_if_a_chunk_fails():
    watching = Watching()
    journal = MemoryJournal(progress=watching)
    broken = []

    def produce(items):
        if broken:
            raise KeyError
        broken.append(1)
        return [group(i) for i in items]

    with pytest.raises(KeyError):
        journal.map(STAGE, range(5), produce, rows=Group, chunk=2)
    broken.clear()
    journal.map(STAGE, range(4), lambda items: [group(i) for i in items], rows=Group, chunk=2)
    assert watching.seen == [
        ("begin", "creator/answer", 5, 0),
        (2, {"tokens": 12.0}),
        "end",
        ("begin", "creator/answer", 4, 2),
        (4, {"tokens": 12.0}),
        "end",
    ]


def test_figures_add_up_over_chunks():
    tally = counts([group(0, (1.0, None)), group(1, (4.0, 1.0))])
    tally.update(counts([group(2, (-2.0,))]))
    assert figures(tally) == {"reward": 1.0}
    refusal = Refusal("p", "add", "length", "long", "", 1)
    assert figures(counts([Evolution("p", (), (refusal, refusal), 9)])) == {
        "tokens": 9.0,
        "refused": 2.0,
    }
    assert figures(counts([{"a": 1}])) == {}


def test_what_rows_say_of_prompts_reaches_the_population():
    journal = MemoryJournal()
    child = Prompt.of("0").rewritten("0, and why?", operator="deepen", born=1)
    journal.map(
        Stage(1, "creator/evolve"),
        [0],
        lambda items: [Evolution(Prompt.of("0").id, (child,), ())],
        rows=Evolution,
        chunk=1,
    )
    assert journal.prompts() == [child]
    journal.map(
        Stage(1, "solver/score"),
        [group(0)],
        lambda items: [group(0, (1.0, 3.0))],
        rows=ScoredGroup,
        chunk=1,
    )
    (row,) = journal.population.table("scores")
    assert (row["round"], row["stage"], row["mean"]) == (1, "solver/score", 2.0)


def test_a_step_brings_scores_estimates_and_children_to_the_population():
    journal = MemoryJournal()
    scored = (group(0, (1.0, 3.0)), group(1, (-2.0, -2.0)))
    child = scored[0].prompt.rewritten("0, and why?", operator="deepen", born=1)
    refusal = Refusal(scored[0].prompt.id, "deepen", "duplicate", "same", "0", 1)
    step = Step(
        1,
        phase="warm-up",
        draws=(2,),
        replayed=0,
        recycled=0,
        dropped_tokens=0,
        scored=scored,
        info=(1.0, 0.0),
        errors=(0.5, None),
        seeds=(0,),
        evolutions=(Evolution(scored[0].prompt.id, (child,), (refusal,), 5),),
        worth=(1.0,),
        delays=(0,),
    )
    journal.map(Stage(1, "online/steps"), [1], lambda items: [step], rows=Step, chunk=1)
    tables = journal.population
    assert journal.prompts() == [child]
    assert [row["mean"] for row in tables.table("scores")] == [2.0, -2.0]
    assert [(row["value"], row["drawn"]) for row in tables.table("informativeness")] == [
        (1.0, 0),
        (0.0, None),
    ]
    assert [row["gate"] for row in tables.table("refusals")] == ["duplicate"]
    # tokens of four answers and of the rewriter; negative rewards count, too
    assert figures(counts([step])) == {"tokens": 17.0, "refused": 1.0, "reward": 0.0}
