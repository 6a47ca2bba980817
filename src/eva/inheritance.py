"""Whether what a prompt is kept for tells what it is worth: the premise of a prioritised buffer.

Online, an evolved prompt waits in the buffer with its parent's informativeness, and is drawn by it.
Only when it is answered does its own come to light. Between the two lie the noise of a few answers,
what the rewriting changed, and what the policy has learned since.
"""

from __future__ import annotations

from collections.abc import Sequence

from eva.disagreement import spearman
from eva.types import Json, Step


def figures(steps: Sequence[Step]) -> dict[str, Json]:
    """Return the rank correlation of inherited and own informativeness over steps' prompts.

    Of the prompts that these steps evolved, and drew later; nothing where there are none. Near 0
    the draw is by lot. `info_carried_over` counts the prompts: where nothing is inherited, the
    correlation over n of them still wavers by about 1 / sqrt(n).
    """
    inherited: dict[str, float] = {}
    pairs = []
    for step in steps:
        for group, own in zip(step.scored, step.info, strict=True):
            if own is not None and group.prompt.id in inherited:
                pairs.append((inherited[group.prompt.id], own))
        for evolution, worth in zip(step.evolutions, step.worth, strict=True):
            inherited |= {child.id: worth for child in evolution.children}
    if not pairs:
        return {}
    kept, found = zip(*pairs, strict=True)
    return {"info_carried": spearman(kept, found), "info_carried_over": len(pairs)}
