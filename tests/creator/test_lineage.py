"""Ancestors are found generation by generation, and only those that are known."""

from eva.creator.lineage import ancestors
from eva.types import Prompt


class Shelf:
    def __init__(self, *prompts):
        self.known = {prompt.id: prompt for prompt in prompts}
        self.asked = []

    def prompts(self, ids=None):
        self.asked.append(list(ids))
        return [self.known[id] for id in ids]


def child(text, *parents):
    ids = tuple(parent.id for parent in parents)
    return parents[0].rewritten(text, operator="test", born=1, parents=ids)


def test_the_oldest_come_first_and_the_seed_is_not_among_them():
    root = Prompt.of("root")
    son = child("son", root)
    grandson = child("grandson", son)
    shelf = Shelf(root, son, grandson)
    lines = ancestors([grandson, root], shelf)
    assert [p.text for p in lines[grandson.id]] == ["root", "son"]
    assert lines[root.id] == []
    # one look-up per generation, of what is not known yet
    assert shelf.asked == [[son.id], [root.id]]


def test_both_parents_of_a_combination_are_followed():
    left, right = Prompt.of("left"), Prompt.of("right")
    both = child("both", left, right)
    lines = ancestors([both], Shelf(left, right))
    assert {p.text for p in lines[both.id]} == {"left", "right"}


def test_a_human_prompt_asks_for_nothing():
    shelf = Shelf()
    assert ancestors([Prompt.of("a")], shelf) == {Prompt.of("a").id: []}
    assert shelf.asked == []


def test_an_ancestor_by_several_ways_counts_once():
    left, right = Prompt.of("left 0"), Prompt.of("right 0")
    everyone = [left, right]
    for generation in range(1, 20):
        # each generation has both of the last one as parents: 2 ** 20 ways, 40 ancestors
        left, right = (
            child(f"left {generation}", left, right),
            child(f"right {generation}", left, right),
        )
        everyone += [left, right]
    line = ancestors([left], Shelf(*everyone))[left.id]
    assert len(line) == 38
    assert len({prompt.id for prompt in line}) == 38
    assert {prompt.text for prompt in line[-2:]} == {"left 18", "right 18"}
