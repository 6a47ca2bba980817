import json

import pytest

from eva.creator.informativeness import informativeness
from eva.creator.noise import correction
from eva.creator.online import BufferCreator, OnlineSizes
from eva.creator.sampling import greedy
from eva.errors import RunError
from eva.integrations.trl_rewards import Answer
from eva.integrations.trl_rows import ID, SLOT, Format
from eva.integrations.trl_schedule import Plan, Schedule, open_population
from eva.integrations.trl_slots import Layout
from eva.runs.population import Population
from eva.types import Prompt, Proposal

LAYOUT = Layout(prompts=2, answers=2, repeats=1, accumulation=1)
HUMAN = tuple(Prompt.of(f"human {i}") for i in range(20))


class Numbered:
    chain = False

    def propose(self, parents, step, streams):
        return [
            Proposal(p, "n", p.rewritten(f"{p.text} {streams.round}.{step}", operator="n", born=1))
            for p in parents
        ]


def plan(**changed):
    given = {"human": HUMAN, "layout": LAYOUT, "batches": 8, "format": Format(), "seed": 1}
    return Plan(**given | changed)


def schedule(population=None, correction=None, **changed):
    if population is None:
        population = Population()
        population.create()
    made = plan(**changed)
    creator = BufferCreator(
        made.human,
        informativeness=informativeness("a_avg"),
        sampler=greedy,
        evolver=Numbered(),
        sizes=OnlineSizes(batch=2, buffer=2, children=2),
        correction=correction,
    )
    return Schedule(made, creator, population)


@pytest.fixture
def begun():
    made = schedule()
    made.begin()
    return made


def answers(batch, *rewards):
    slots = [2 * batch, 2 * batch, 2 * batch + 1, 2 * batch + 1]
    return [Answer(slots[i], reward, i == 0) for i, reward in enumerate(rewards)]


def texts(rows):
    return {batch: [row["prompt"] for row in made] for batch, made in rows.items()}


def test_batches_are_drawn_once_and_no_further_than_the_run(begun):
    assert texts(begun.draw(1)) == {0: ["human 0", "human 1"], 1: ["human 2", "human 3"]}
    assert begun.draw(1) == {}
    rows = begun.draw(2)
    assert [row[SLOT] for row in rows[2]] == [4, 5]
    assert rows[2][0][ID] == HUMAN[4].id
    assert sorted(begun.rows(0)) == [0, 1, 2]
    begun.forget(2)
    assert sorted(begun.rows(0)) == [2]
    assert sorted(begun.draw(100)) == [3, 4, 5, 6, 7]


def test_a_judged_batch_has_children_in_a_later_one(begun):
    begun.draw(1)
    begun.judge(answers(0, 0.0, 0.0, 1.0, 0.0), step=1)
    (figures,) = begun.figures
    assert figures["children"] == 2.0
    assert figures["without_contrast"] == 0.5
    assert (figures["phase"], figures["buffer"], figures["info_mean"]) == (0.0, 2.0, 0.25)
    drawn = texts(begun.draw(2))[2]
    assert drawn[0] == "human 4"
    assert drawn[1] in ("human 1 1.0", "human 1 1.1")
    child = begun.population.children(HUMAN[1].id)[0]
    assert child.operator == "n"
    first, second = begun.population.table("scores")
    assert (first["n"], first["truncated"], first["policy"]) == (2, 1, "step-1")
    assert (second["max"], second["min"]) == (1.0, 0.0)
    info = begun.population.table("informativeness")
    assert [row["drawn"] for row in info] == [None, 0]


def test_what_an_ensemble_disagrees_about_is_logged_and_does_not_count():
    def judged(*, corrected):
        made = schedule(correction=correction("a_avg") if corrected else None)
        made.begin()
        made.draw(0)
        # both prompts have rewards 0 and 1; of the second the members say the opposite
        members = [(0.0, 0.0), (1.0, 1.0), (3.0, -3.0), (-2.0, 4.0)]
        given = [
            a._replace(members=m) for a, m in zip(answers(0, 0, 1, 0, 1), members, strict=True)
        ]
        made.judge(given, step=1)
        return made.population.table("informativeness"), made.figures[0]

    plain, figures = judged(corrected=False)
    assert [row["value"] for row in plain] == [0.5, 0.5]
    # the second prompt's rest is +-3: the root of 4 x 3^2, over one degree of freedom
    assert figures["disagreement"] == (0 + 6.0) / 2
    corrected, figures = judged(corrected=True)
    assert [row["value"] for row in corrected] == [0.5, 0.0]
    assert figures["disagreement_correlation"] == -1.0


def test_unscored_answers_are_counted_and_a_prompt_without_any_is_never_a_seed(begun):
    begun.draw(0)
    begun.judge(answers(0, None, None, 1.0, None), step=1)
    (figures,) = begun.figures
    assert figures["unscored"] == 0.75
    assert figures["children"] == 0
    assert "info_mean" not in figures
    assert begun.population.table("scores")[0]["causes"] == {"none": 2}


def test_a_batch_is_judged_once(begun):
    begun.draw(1)
    for _ in range(2):
        begun.judge(answers(0, 0.0, 1.0, 0.0, 2.0), step=1)
    assert len(begun.figures) == 1
    assert len(begun.population.table("scores")) == 2


def test_several_batches_are_judged_in_order(begun):
    begun.draw(1)
    both = [*answers(1, 0.0, 1.0, 0.0, 2.0), *answers(0, 3.0, 1.0, 0.0, 2.0)]
    begun.judge(both, step=1)
    assert [row["round"] for row in begun.population.table("scores")] == [1, 1, 2, 2]


def test_missing_answers_are_an_error(begun):
    begun.draw(0)
    with pytest.raises(RunError, match="slot 1: 1 answers were scored, expected 2"):
        begun.judge(answers(0, 0.0, 1.0, 0.0), step=1)


def test_too_few_prompts_are_an_error():
    made = schedule(human=HUMAN[:1])
    made.begin()
    with pytest.raises(RunError, match="generation batch 0: 1 prompts, expected 2"):
        made.draw(0)


def play(made, first, last):
    """Judge and draw batch by batch; return what was drawn."""
    drawn = {}
    for batch in range(first, last):
        rewards = [float((7 * batch + i) % 5) for i in range(4)]
        made.judge(answers(batch, *rewards), step=batch + 1)
        drawn |= texts(made.draw(batch + 2))
        made.forget(batch + 1)
    return drawn


def test_a_restored_schedule_goes_on_as_the_other(begun):
    begun.draw(1)
    play(begun, 0, 2)
    state = json.loads(json.dumps(begun.state()))
    expected = play(begun, 2, 6)
    story = [begun.population.table(name) for name in ("prompts", "scores", "informativeness")]
    other = schedule(begun.population)
    other.restore(state)
    assert texts(other.rows(0)) == texts(other.rows(2)) != {}
    assert play(other, 2, 6) == expected
    assert [
        other.population.table(name) for name in ("prompts", "scores", "informativeness")
    ] == story


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"seed": 2}, "seed was 1 and is 2: resume with the same seed"),
        ({"human": HUMAN[::-1]}, "human was .* resume with the same data set"),
        ({"layout": Layout(2, 3, repeats=1, accumulation=1)}, "layout was .* same batch size"),
    ],
)
def test_a_state_of_another_run_is_refused(begun, changed, message):
    begun.draw(1)
    state = begun.state()
    with pytest.raises(RunError, match=message):
        schedule(begun.population, **changed).restore(state)
    with pytest.raises(RunError, match="version 9: update eva"):
        schedule(begun.population).restore(state | {"version": 9})


def test_another_population_is_refused_and_left_alone(begun):
    begun.draw(1)
    play(begun, 0, 2)
    state = begun.state()
    other = schedule()
    other.begin()
    with pytest.raises(RunError, match="does not go with the checkpoint: its prompt 24 is missing"):
        schedule(other.population).restore(state)
    assert len(other.population.prompts()) == 20


def test_populations_are_opened_and_moved_aside(tmp_path):
    path = tmp_path / "eva/population.sqlite"
    with pytest.raises(RunError, match="no such file, expected the population of the run"):
        open_population(path, new=False)
    for _ in range(3):
        population = open_population(path, new=True)
        assert population.prompts() == []
        with population.transaction():
            population.add_prompts(HUMAN)
        population.close()
    again = open_population(path, new=False)
    assert again.prompts() == list(HUMAN)
    again.close()
    names = sorted(p.name for p in path.parent.iterdir())
    assert names == ["population.1.sqlite", "population.2.sqlite", "population.sqlite"]
    path.write_text("")
    with pytest.raises(RunError, match="damaged: it has no tables"):
        open_population(path, new=False)
