from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eva.constraints import measure


@pytest.mark.parametrize(
    ("text", "count"),
    [("", 0), ("one two", 2), ("don't stop-gap", 2), ("a,b", 2), ("... -- !", 0), ("été 日本", 2)],
)
def test_words(text, count):
    assert len(measure.words(text)) == count


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("No end mark", 1),
        ("One. Two! Three?", 3),
        ("It costs 3.50 today. Really.", 2),
        ("Wait... what?! Yes", 3),
        ('She said "go." Then left.', 2),
        ("1. Wash it.\n2. Dry it.", 2),
        ("A heading\n\nA sentence.", 2),
        ("!!! ...", 0),
    ],
)
def test_sentences(text, count):
    assert len(measure.sentences(text)) == count


@pytest.mark.parametrize(
    ("text", "count"),
    [("", 0), ("a\nb", 1), ("a\n\nb", 2), ("a\n  \n\n\nb\n\n", 2)],
)
def test_paragraphs(text, count):
    assert len(measure.paragraphs(text)) == count


def test_occurrences_are_whole_words_in_any_case():
    assert measure.occurrences("Cat, cat; concatenate CAT's cats", "cat") == 3
    assert measure.occurrences("so\n long, So Long", "so long") == 2
    assert measure.occurrences("a.b", "a+b") == 0


def test_list_items_stand_at_the_beginning_of_a_line():
    text = "* one\n  - two\n• three\nnot - four\n-five\n**bold** line\n1. six\n2) seven\n3 eight"
    assert measure.bullets(text) == 3
    assert measure.numbered(text) == 2


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("*one* and **two words**", 2),
        ("2 * 3 * 4", 0),
        ("* item\n* item", 0),
        ("* item with *mark*", 1),
        ("* *", 0),
        ("*open\nclosed*", 0),
    ],
)
def test_highlights(text, count):
    assert measure.highlights(text) == count


def test_placeholders_and_titles_need_text_inside():
    assert measure.placeholders("[name] [] [ ] [[date]] [a\nb]") == 2
    assert measure.titles("<< My Title >> <<>> <not> <<x>>") == ["My Title", "x"]


@given(st.text())
def test_measures_take_any_text(text):
    words = len(measure.words(text))
    assert words <= len(text)
    assert len(measure.sentences(text)) <= len(text)
    counts = (measure.bullets, measure.numbered, measure.highlights, measure.placeholders)
    assert all(0 <= count(text) <= len(text) for count in counts)


@given(st.lists(st.from_regex(r"[A-Z][a-z]{2,8}( [a-z]{2,8}){1,4}[.!?]", fullmatch=True)))
def test_sentences_are_counted_exactly_in_plain_prose(sentences):
    assert measure.sentences(" ".join(sentences)) == sentences
