import io

from rich.console import Console

from eva.types import Check, Prompt
from eva.views.lineage import Lineage
from eva.views.show_lineage import tree

HUMAN = Prompt.of("Name a colour.", id="h")
MATE = Prompt.of("Name a city.", id="m")
CHILD = HUMAN.rewritten(
    "Name [bold]two[/bold] colours.", operator="combine", born=2, parents=("h", "m"),
    checks=(Check("min_words", {"words": 5}),),
)  # fmt: skip
OTHER = HUMAN.rewritten("Name a hue.", operator="swap", born=2)

SCORE = {
    "round": 1, "stage": "solver/score", "policy": "/models/tiny+4", "n": 6, "n_scored": 5,
    "mean": 0.25, "max": 1.0, "min": 0.0, "truncated": 2, "causes": {"timeout": 1},
}  # fmt: skip
ESTIMATE = {"round": 2, "value": 1.0, "error": 0.5, "drawn": 0}
REFUSAL = {"round": 2, "operator": "add", "gate": "duplicate", "reason": "equals prompt x"}


def printed(id, **rows):
    found = {"scores": {}, "estimates": {}, "refusals": {}} | rows
    lineage = Lineage({p.id: p for p in (HUMAN, MATE, CHILD, OTHER)}, **found)
    console = Console(file=io.StringIO(), width=120, highlight=False)
    console.print(tree(lineage, id))
    return console.file.getvalue()


def test_everything_that_became_of_a_prompt_is_there():
    said = printed(
        "h", scores={"h": [SCORE]}, estimates={"h": [ESTIMATE]}, refusals={"h": [REFUSAL]}
    )
    assert "round 1, for training: reward 0.250, best 1.000 of 5" in said
    assert "unscored 1 timeout, 2 cut off (tiny+4)" in said
    assert "informativeness 1.000 ± 0.500, drawn as number 1" in said
    assert "a child by add refused, duplicate: equals prompt x" in said
    assert f"{OTHER.id}  swap, round 2" in said


def test_a_prompt_is_drawn_below_its_human_ancestor():
    lines = printed(CHILD.id).splitlines()
    assert lines[0].startswith("h  human")
    assert any(f"{CHILD.id}  combine, round 2, with m" in line for line in lines)
    assert any("1 further child, not drawn here" in line for line in lines)
    assert any("checks: min_words (words 5)" in line for line in lines)


def test_brackets_in_a_prompt_are_text():
    assert "Name [bold]two[/bold] colours." in printed(CHILD.id)


def test_what_is_unknown_is_said_to_be():
    unscored = SCORE | {"mean": None, "n_scored": 0, "stage": "creator/score"}
    unknown = ESTIMATE | {"value": None, "drawn": None}
    said = printed("h", scores={"h": [unscored]}, estimates={"h": [unknown]})
    assert "for the creator: none of 6 answers scored" in said
    assert "informativeness unknown" in said


def test_a_long_prompt_is_cut():
    long = Prompt.of("word " * 1000, id="long")
    lineage = Lineage({"long": long}, scores={}, estimates={}, refusals={})
    console = Console(file=io.StringIO(), width=120)
    console.print(tree(lineage, "long"))
    assert "3,000 more characters" in console.file.getvalue()
