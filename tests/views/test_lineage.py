import pytest

from eva.errors import DataError
from eva.types import Prompt
from eva.views.findings import Findings
from eva.views.lineage import Lineage


def made(name, *parents, born=1):
    return Prompt.of(
        name, id=name, parents=parents, born=born, operator="op" if parents else "human"
    )


def lineage(*prompts, contrast=None):
    rows = {
        id: [{"max": value, "min": 0.0, "mean": value / 2}]
        for id, value in (contrast or {}).items()
    }
    return Lineage({p.id: p for p in prompts}, scores=rows, estimates={}, refusals={})


# a0 ─ b0 ─ c0 ─ d0     a1 ─ e1      c0 and a1 have a child together: f0
FAMILY = [
    made("a0"), made("a1"), made("b0", "a0"), made("b9", "a0"), made("c0", "b0"),
    made("d0", "c0"), made("e1", "a1"), made("f0", "c0", "a1"),
]  # fmt: skip


def drawn(branch):
    return {branch.prompt.id: [drawn(child) for child in branch.children], "hidden": branch.hidden}


def test_ancestors_lead_down_from_a_human_prompt():
    assert lineage(*FAMILY).ancestors("d0") == ["a0", "b0", "c0", "d0"]
    assert lineage(*FAMILY).ancestors("f0") == ["a0", "b0", "c0", "f0"]
    assert lineage(*FAMILY).ancestors("a1") == ["a1"]


def test_descendants_are_all_there_once_the_nearest_first():
    assert list(lineage(*FAMILY).descendants("a0")) == ["b0", "b9", "c0", "d0", "f0"]
    assert list(lineage(*FAMILY).descendants("a1")) == ["e1", "f0"]


def test_descent_draws_the_line_and_what_came_of_it():
    tree = lineage(*FAMILY).descent("c0")
    assert drawn(tree) == {
        "a0": [
            {
                "b0": [
                    {
                        "c0": [{"d0": [], "hidden": 0}, {"f0": [], "hidden": 0}],
                        "hidden": 0,
                    }
                ],
                "hidden": 0,
            }
        ],
        "hidden": 1,
    }


def test_a_family_is_limited_but_for_the_line_to_the_prompt():
    tree = lineage(*FAMILY).family("d0", limit=2)
    assert drawn(tree)["hidden"] == 1
    ids = []

    def walk(branch):
        ids.append(branch.prompt.id)
        for child in branch.children:
            walk(child)

    walk(tree)
    assert ids == ["a0", "b0", "c0", "d0"]


def test_a_child_of_two_parents_is_drawn_once():
    both = [made("r"), made("x", "r"), made("y", "r"), made("z", "y", "x")]
    tree = lineage(*both).descent("r")
    assert [len(child.children) for child in tree.children] == [1, 0]


def test_a_parent_that_is_not_there_ends_the_line():
    assert lineage(made("k", "elsewhere")).ancestors("k") == ["k"]


def test_the_beginning_of_an_id_is_enough():
    family = lineage(*FAMILY)
    assert family.find("d").id == "d0"
    with pytest.raises(DataError, match=r"'a': 2 ids begin so \(a0, a1\)"):
        family.find("a")
    with pytest.raises(DataError, match=r"near ones are .*d0.*`eva show RUN --round N`"):
        family.find("d1")
    # a whole id is meant even where others begin with it
    assert lineage(made("a"), made("ab", "a")).find("a").id == "a"


def test_interesting_prompts_have_long_lines_or_gained_contrast_in_other_families():
    contrast = {"a1": 0.1, "e1": 0.9, "a0": 0.5, "b0": 0.4}
    found = lineage(*FAMILY, contrast=contrast).interesting(4)
    assert [(prompt.id, reason) for prompt, reason in found] == [
        ("d0", "long line"),
        ("e1", "gained contrast"),
    ]
    assert lineage(made("a0")).interesting(4) == []


def test_it_is_read_from_a_run(finished):
    family = Findings.read(finished).lineage
    evolved = [p for p in family.prompts.values() if p.evolved]
    assert evolved
    for prompt in evolved:
        assert family.ancestors(prompt.id)[-2] == prompt.parents[0]
        assert prompt.id in family.children[prompt.parents[0]]
    assert sum(map(len, family.estimates.values())) == 40
    assert all(row["parent_id"] == id for id, rows in family.refusals.items() for row in rows)


def test_online_it_knows_steps(finished_online):
    found = Findings.read(finished_online)
    family = found.lineage
    for id, numbers in family.played.items():
        assert len(family.scores[id]) == len(family.estimates[id]) == len(numbers)
        for place, row in enumerate(family.estimates[id]):
            assert family.when(row, place) == f"step {numbers[place]}"
    for prompt in family.prompts.values():
        if prompt.evolved:
            assert family.birth(prompt) == f"step {family.entered[prompt.id]}"
    # rows of a commit that came after the steps were read
    assert family.when({"prompt_id": "new", "round": 2}, 0) == "round 2"


def test_offline_it_knows_rounds():
    family = lineage(*FAMILY)
    assert family.birth(FAMILY[2]) == "round 1"
    assert family.when({"round": 3}, 0) == "round 3"


def test_a_line_of_hundreds_is_drawn_whole():
    chain = [made("p0"), *(made(f"p{i}", f"p{i - 1}") for i in range(1, 400))]
    branch, depth = lineage(*chain).descent("p399"), 1
    while branch.children:
        branch, depth = branch.children[0], depth + 1
    assert depth == 400
