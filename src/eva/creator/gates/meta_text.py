"""The gate against talk about the prompt instead of a prompt."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from eva.types import Prompt

_PHRASES = re.compile(
    r"""
      \A\W*(?:sure|certainly|of\ course|absolutely|okay)\b\s*[,!.:]
    | \A\W*i(?:['’]m|\ am)\ sorry\b
    | \A\W*(?:sorry,?\ )?i\ (?:can['’]?t|can\ ?not|won['’]t|am\ unable\ to|am\ not\ able\ to)\b
    | \bas\ an?\ (?:ai|artificial\ intelligence|(?:large\ )?language\ model)\b[^.?!\n]{0,40},\ i\b
    | \bhere(?:['’]s|\ is|\ are)\b[^.?!\n]{0,40}\b(?:prompts?|rewrite|version|instructions?)\b\s*:
    | \b(?:rewritten|evolved|revised|reworded|modified|original|new)\ (?:prompt|instruction)s?\b
    | \b(?:prompt|instruction)\ (?:above|below|now\ (?:asks|requires)|has\ been)\b
    | \bi(?:['’]ve|\ have)?\ (?:added|rewrote|rewritten|modified|reworded)\b
    | \{prompt\} | \#[\w\ ]*prompt[\w\ ]*\#
    """,
    re.IGNORECASE | re.VERBOSE,
)


def meta_phrase(text: str) -> str | None:
    """Return the first phrase of a text that speaks of the rewriting, or of the speaker; or None.

    English only.

    >>> meta_phrase("Name a colour. The new prompt has a limit.")
    'new prompt'
    """
    found = _PHRASES.search(text)
    return found.group().strip() if found else None


@dataclass(frozen=True, slots=True)
class MetaText:
    """Refuses a child with talk about the rewriting in it."""

    name: str = "meta_text"

    def __call__(self, child: Prompt, lineage: Sequence[Prompt]) -> str | None:
        """Return the phrase that a child has and its parent, if it has one, has not."""
        phrase = meta_phrase(child.text)
        if phrase is None or (lineage and phrase in lineage[-1].text):
            return None
        return f"speaks of the rewriting: {phrase!r}"

    def remember(self, prompt: Prompt) -> None:
        """Nothing to remember."""
