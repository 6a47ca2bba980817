"""A prompt's lineage as a tree in the terminal."""

from __future__ import annotations

from rich.console import Group
from rich.text import Text
from rich.tree import Tree

from eva.types import Prompt
from eva.views import wording
from eva.views.lineage import Branch, Lineage, Row
from eva.views.wording import number

LONGEST = 2000
"""Characters of a prompt that are shown."""


def tree(lineage: Lineage, id: str) -> Tree:
    """Return the line from the human ancestor to a prompt, and everything that came from it.

    Every prompt has operator and round, its scores and estimates by round, the refusals among its
    children, its checks and its text.
    """
    branch = lineage.descent(id)
    drawn = Tree(_label(lineage, branch.prompt, chosen=id), guide_style="dim")
    _grow(lineage, drawn, branch, chosen=id)
    return drawn


def _grow(lineage: Lineage, drawn: Tree, branch: Branch, *, chosen: str) -> None:
    for child in branch.children:
        _grow(
            lineage, drawn.add(_label(lineage, child.prompt, chosen=chosen)), child, chosen=chosen
        )
    if branch.hidden:
        noun = "child" if branch.hidden == 1 else "children"
        drawn.add(Text(f"{branch.hidden} further {noun}, not drawn here", style="dim"))


def _label(lineage: Lineage, prompt: Prompt, *, chosen: str) -> Group:
    made = f"{prompt.operator}, {lineage.birth(prompt)}" if prompt.evolved else "human"
    head = Text.assemble(
        (prompt.id, "bold reverse" if prompt.id == chosen else "bold"), f"  {made}"
    )
    if prompt.parents[1:]:
        head.append(f", with {' and '.join(prompt.parents[1:])}")
    lines = [head]
    scores, estimates = (of.get(prompt.id, ()) for of in (lineage.scores, lineage.estimates))
    lines += [
        Text(_scores(row, lineage.when(row, i)), style="cyan") for i, row in enumerate(scores)
    ]
    lines += [
        Text(_estimate(row, lineage.when(row, i)), style="magenta")
        for i, row in enumerate(estimates)
    ]
    lines += [Text(_refusal(row), style="red") for row in lineage.refusals.get(prompt.id, ())]
    if prompt.checks:
        lines.append(Text(f"checks: {'; '.join(wording.checks(prompt.checks))}", style="dim"))
    text, notice = wording.cut(wording.dialogue(prompt), LONGEST)
    lines.append(Text(wording.printable(text)))
    return Group(*lines, Text(notice, style="dim"))


def _scores(row: Row, when: str) -> str:
    side = "for the creator" if row["stage"].startswith("creator") else "for training"
    said = f"{when}, {side}: "
    if row["mean"] is None:
        said += f"none of {row['n']} answers scored"
    else:
        said += f"reward {number(row['mean'])}, best {number(row['max'])} of {row['n_scored']}"
    if row["causes"]:
        said += f", unscored {wording.counts(row['causes'])}"
    if row["truncated"]:
        said += f", {row['truncated']} cut off"
    return f"{said} ({wording.name_of(row['policy'])})"


def _estimate(row: Row, when: str) -> str:
    if row["value"] is None:
        return f"{when}: informativeness unknown"
    drawn = f"drawn as number {row['drawn'] + 1}" if row["drawn"] is not None else "not drawn"
    value, error = number(row["value"]), number(row["error"])
    return f"{when}: informativeness {value} ± {error}, {drawn}"


def _refusal(row: Row) -> str:
    reason = wording.shortened(wording.printable(row["reason"]), 120)
    return f"round {row['round']}: a child by {row['operator']} refused, {row['gate']}: {reason}"
