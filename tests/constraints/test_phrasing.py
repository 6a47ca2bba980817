from __future__ import annotations

import numpy as np
import pytest

from eva.constraints import KINDS, Phrasing
from eva.constraints.phrasing import listed, shown

PHRASE = Phrasing("do", "use the word{s} {words} {count} times")


def test_fields_are_the_arguments_without_the_plural():
    assert PHRASE.fields() == {"words", "count"}


def test_render_puts_numbers_and_lists_into_words():
    texts = {
        PHRASE.render({"words": ["a", "b"], "count": 3}, np.random.default_rng(i))
        for i in range(40)
    }
    assert texts == {
        f"use the words {q}a{q} and {q}b{q} {n} times" for q in "\"'" for n in ("3", "three")
    }


@pytest.mark.parametrize(("count", "ending"), [(1, "sentence"), (2, "sentences")])
def test_plural(count, ending):
    phrase = Phrasing("do", "use {count} sentence{s}")
    assert phrase.render({"count": count}, np.random.default_rng(0)).endswith(ending)


def test_a_quotation_is_never_cut_by_a_mark_inside():
    phrase = Phrasing("do", "end with {phrase}")
    for i in range(40):
        text = phrase.render({"phrase": "It's done."}, np.random.default_rng(i))
        assert text == 'end with "It\'s done."'


def test_listed():
    assert [listed(list("abc")[:n]) for n in (1, 2, 3)] == ["a", "a and b", "a, b and c"]


@pytest.mark.parametrize("name", sorted(KINDS))
def test_every_kind_has_five_phrasings_and_both_forms_for_all_arguments(name):
    kind = KINDS[name]
    assert len({p.template for p in kind.phrasings}) == len(kind.phrasings) >= 5
    for level in range(1, len(kind.levels) + 1):
        args = shown(kind.draw(level, np.random.default_rng(0), budget=40).args)
        forms = {p.form for p in kind.phrasings if p.fields() == args.keys()}
        assert {"do", "say"} <= forms
    # "make sure to" comes before an imperative, so it cannot be a negative one.
    assert not any(p.template.startswith("do not") for p in kind.phrasings if p.form == "do")
    assert not any(p.template.endswith(".") for p in kind.phrasings if "P.S." not in p.template)
