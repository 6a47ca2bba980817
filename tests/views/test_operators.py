import pytest

from eva.types import Prompt
from eva.views.findings import Findings
from eva.views.lineage import Lineage
from eva.views.operators import HEAD, OperatorLine, by_operator

HUMAN = Prompt.of("Name a colour.")
CHILDREN = [HUMAN.rewritten(f"Name {i}.", operator="deepen", born=2) for i in range(4)]


def scores(prompt, *rows):
    return [
        {"prompt_id": prompt.id, "mean": mean, "max": most, "min": least}
        for mean, most, least in rows
    ]


def refusal(operator, gate, seq):
    return {"operator": operator, "gate": gate, "seq": seq, "round": 2}


@pytest.fixture
def found():
    played = {
        CHILDREN[0].id: scores(CHILDREN[0], (0.5, 1.0, 0.0), (9.0, 9.0, 9.0)),
        CHILDREN[1].id: scores(CHILDREN[1], (0.25, 0.25, 0.25)),
        CHILDREN[2].id: scores(CHILDREN[2], (None, None, None)),
        HUMAN.id: scores(HUMAN, (7.0, 7.0, 0.0)),
    }
    refusals = [refusal("deepen", "best_of", 1), refusal("deepen", "duplicate", 2)]
    refusals += [refusal("mix", "best_of", 3)]
    prompts = {prompt.id: prompt for prompt in (HUMAN, *CHILDREN)}
    records = [{"creator": {}}, {"creator": {"operator_tokens": {"deepen": 30, "mix": 4}}}]
    return Findings(
        path=None, info={}, records=records, measured={}, compared={}, training=[],
        lineage=Lineage(prompts, scores=played, estimates={}, refusals={HUMAN.id: refusals}),
        set_aside=[], commits=[],
    )  # fmt: skip


def test_an_account_by_hand(found):
    deepen, mix = by_operator(found)
    assert (deepen.tried, deepen.entered, deepen.tokens) == (6, 4, 30)
    assert deepen.acceptance == 4 / 5
    assert deepen.fates == {"refused": 1, "beaten": 1}
    assert (deepen.means, deepen.contrasts) == ([0.5, 0.25], [1.0, 0.0])
    assert deepen.with_contrast == 0.5
    assert (mix.tried, mix.entered, mix.acceptance, mix.with_contrast) == (1, 0, None, None)
    assert mix.cells() == ("mix", "1", "0", "–", "–", "–", "–", "0", "4", "1 best_of")
    assert len(mix.cells()) == len(HEAD)


def test_without_best_of_nothing_is_said_of_it():
    line = OperatorLine("add", 1, {"duplicate": 2}, 0, means=(), contrasts=())
    assert line.fates == {"refused": 2}
    assert line.acceptance == 1 / 3


def test_every_proposal_is_counted_for_its_operator(finished):
    found = Findings.read(finished)
    lines = by_operator(found)
    entered = sum(line.entered for line in lines)
    refused = sum(line.fates["refused"] for line in lines)
    assert entered == sum(r["creator"].get("children", 0) for r in found.records)
    assert refused == sum(r["creator"].get("refused", 0) for r in found.records) > 0
    assert sum(line.tokens for line in lines) == 5 * entered
