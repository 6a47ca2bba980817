from __future__ import annotations

from eva.creator.wording import word_grams, words


def test_words_forget_case_punctuation_and_width():
    assert words("  LIST the\n“Ｔｏｐ” — 10!") == words("list the top 10")
    assert words("Don’t") == ["don't"]
    assert words("?! …") == []


def test_words_keep_operators_of_arithmetic():
    assert words("5 - 3") != words("5 + 3") != words("5 * 3") != words("5 / 3")
    assert words("2-2") == ["2", "-", "2"]
    assert words("- a well-known **bold** item") == ["a", "well", "known", "bold", "item"]


def test_words_of_scripts_without_spaces_are_characters():
    assert words("東京へ行くplan") == ["東", "京", "へ", "行", "く", "plan"]
    assert words("Привет, мир") == ["привет", "мир"]


def test_word_grams():
    assert word_grams(["a", "b", "c", "d"], 3) == ["a b c", "b c d"]
    assert word_grams(["a", "b"], 3) == ["a b"]
    assert word_grams([], 3) == []
