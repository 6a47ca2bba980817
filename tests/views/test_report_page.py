import html

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eva.views.report_page import Html, element, escape, join, page, table, text


@given(st.text())
def test_text_comes_back_as_itself_and_never_as_markup(said):
    written = escape(said)
    assert not set(written) & set("<>\"'")
    kept = "".join(c if c == "\n" or c == "\t" or c >= " " else "\ufffd" for c in said)
    back = html.unescape(written)
    for lost in ("\r", *map(chr, range(0x7F, 0xA0)), *map(chr, range(0xD800, 0xE000))):
        kept = kept.replace(lost, "\ufffd")
    assert back.replace("\r", "\ufffd") == kept


def test_html_is_not_escaped_twice():
    inner = element("b", "1 < 2")
    assert element("p", inner, " & ", 3) == "<p><b>1 &lt; 2</b> &amp; 3</p>"
    assert isinstance(join(["a", inner], ", "), Html)


def test_what_is_joined_to_html_by_hand_is_text_again():
    # `+` and f-strings give a plain str: forgetting the type can only show tags, not run them
    assert escape("<i>" + element("b", "x")) == "&lt;i&gt;&lt;b&gt;x&lt;/b&gt;"


def test_attributes_are_escaped_and_may_be_left_out():
    made = element("a", "x", href='"><script>', class_=None, open=True, hidden=False, name="n")
    assert made == '<a href="&quot;&gt;&lt;script&gt;" open name="n">x</a>'


def test_long_text_is_cut_with_a_notice():
    shown = text("é" * 100_000, longest=50)
    assert shown.count("é") == 50
    assert "99,950 more characters" in shown
    assert "more characters" not in text("é" * 50, longest=50)
    assert "(empty)" in text(" \n")


def test_text_keeps_its_direction_to_itself():
    assert 'dir="auto"' in text("\u202eabc")


def test_figures_stand_right_and_words_left():
    made = table(("a", "b"), [["<x>", 1]])
    assert '<td>&lt;x&gt;</td><td class="figure">1</td>' in made


def test_a_page_is_whole():
    made = page("t<", element("h1", "h"), [("one", "One", element("p", "1"))])
    assert made.startswith("<!doctype html>")
    assert "<title>t&lt;</title>" in made
    assert '<a href="#one">One</a>' in made
    assert '<section id="one"><h2>One</h2><p>1</p></section>' in made


@pytest.mark.parametrize("name", ["meta", "br"])
def test_elements_without_content_have_no_end(name):
    assert element(name) == f"<{name}>"
