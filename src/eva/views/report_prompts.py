"""The report's pages on the prompts: lineage, operators, refusals, what was set aside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from eva.types import Prompt
from eva.views import wording
from eva.views.findings import Findings
from eva.views.lineage import Branch, Row
from eva.views.operators import HEAD, by_operator
from eva.views.report_charts import bars
from eva.views.report_page import Html, chip, details, element, join, note, table, text
from eva.views.wording import number, several

TREES = 4
BRANCHES = 14
"""At most so many prompts in one tree, beside the line down to the chosen one."""

EXAMPLES = 4
"""Examples of each gate's refusals."""


def lineage(found: Findings) -> Html:
    """Return the family trees of the most interesting prompts."""
    chosen = found.lineage.interesting(TREES)
    if not chosen:
        return note("No prompt was evolved in this run.")
    parts: list[object] = [note(_TREES)]
    for prompt, reason in chosen:
        tree = found.lineage.family(prompt.id, limit=BRANCHES)
        line = len(found.lineage.ancestors(prompt.id)) - 1
        # online a step is a batch
        far = several(line, "rewrite" if found.online else "step")
        title = f"{_REASONS[reason]}: {far} from a human prompt"
        parts.append(element("h3", title))
        parts.append(element("ul", _branch(found, tree, chosen=prompt.id), class_="tree"))
    return join(parts)


_TREES = (
    "From a human prompt down. Figures are those of the newest answers to a prompt: mean and best "
    "reward, and contrast (best minus worst). The marked prompt is the one for which the tree was "
    "chosen; a combination also has a second parent, named with it."
)
_REASONS = {"long line": "A long line", "gained contrast": "More contrast than its parent"}


def _branch(found: Findings, branch: Branch, *, chosen: str) -> Html:
    below: list[object] = [_branch(found, child, chosen=chosen) for child in branch.children]
    if branch.hidden:
        more = f"{several(branch.hidden, 'further child').replace('childs', 'children')}"
        below.append(element("li", more, class_="muted"))
    return element(
        "li",
        _node(found, branch.prompt),
        element("ul", *below) if below else "",
        class_="chosen" if branch.prompt.id == chosen else None,
    )


def _node(found: Findings, prompt: Prompt) -> Html:
    made = (prompt.operator, found.lineage.birth(prompt))
    said = [chip(word) for word in made] if prompt.evolved else []
    said = said or [chip("human")]
    scores = [row for row in found.lineage.scores.get(prompt.id, ()) if row["mean"] is not None]
    if scores:
        newest = scores[-1]
        contrast = newest["max"] - newest["min"]
        said.append(
            chip(
                f"reward {number(newest['mean'])}, best {number(newest['max'])}, "
                f"contrast {number(contrast)}"
            )
        )
    estimates = found.lineage.estimates.get(prompt.id, ())
    if any(row["drawn"] is not None for row in estimates):
        said.append(chip("seed" if found.online else "drawn"))
    refused = len(found.lineage.refusals.get(prompt.id, ()))
    if refused:
        said.append(chip(several(refused, "child refused").replace("refuseds", "refused")))
    said += [chip(f"with {mate}") for mate in prompt.parents[1:]]
    checks = "; ".join(wording.checks(prompt.checks))
    return element(
        "div",
        element("code", prompt.id),
        " ",
        join(said),
        text(wording.dialogue(prompt), longest=1200),
        element("p", f"checks: {checks}", class_="note") if checks else "",
        class_="node",
    )


def operators(found: Findings) -> Html:
    """Return how often each operator was tried, what it cost, and what its children are like."""
    tried = by_operator(found)
    if not tried:
        return note("No operator was tried.")
    chart = bars(
        "Proposals",
        [(line.name, {"entered": line.entered} | line.fates) for line in tried],
    )
    rows = [line.cells() for line in tried]
    return join(
        [note(_FIRST), element("div", chart, class_="charts"), table(HEAD, rows, left=_TEXTS)]
    )


_TEXTS = (0, len(HEAD) - 1)
_FIRST = (
    "Reward and contrast (best minus worst reward) are means over the children that were played, "
    "when they were answered for the first time; `with contrast` is the share of them whose "
    "rewards differ. Operators work on different parents, so their figures are no fair contest."
)


def refusals(found: Findings) -> Html:
    """Return what was refused, by gate and round, with examples."""
    rows = found.refusals()
    if not rows:
        return note("Nothing was refused.")
    rounds = sorted({row["round"] for row in rows})
    tally = Counter((row["gate"], row["round"]) for row in rows)
    gates = [gate for gate, _ in Counter(row["gate"] for row in rows).most_common()]
    summary = table(
        ("gate", *(f"round {t}" for t in rounds), "all"),
        (
            [gate, *(tally[gate, t] for t in rounds), sum(tally[gate, t] for t in rounds)]
            for gate in gates
        ),
    )
    folded = [_examples(found, gate, [r for r in rows if r["gate"] == gate]) for gate in gates]
    return join([note(_EVOLVER), summary, *folded])


_EVOLVER = (
    "Gate `evolver`: no child came out, because no operator applied or its output was none. "
    "`best_of`: a better candidate did."
)


def _examples(found: Findings, gate: str, rows: Sequence[Row]) -> Html:
    step = max(1, len(rows) // EXAMPLES)
    shown = rows[::step][:EXAMPLES]
    of = f", {len(shown)} of them" if len(shown) < len(rows) else ""
    return details(
        f"{gate}: {several(len(rows), 'refusal')}{of}",
        *(_refusal(found, row) for row in shown),
        opened=gate not in {"evolver", "best_of"},
    )


def _refusal(found: Findings, row: Row) -> Html:
    parent = found.lineage.prompts.get(row["parent_id"])
    return element(
        "div",
        element("p", chip(row["operator"]), " ", chip(f"round {row['round']}"), " ", row["reason"]),
        element(
            "div",
            element(
                "div", element("h4", "parent"), text(parent.text if parent else "", longest=800)
            ),
            element("div", element("h4", "refused"), text(row["text"], longest=800)),
            class_="sides",
        ),
        class_="sample",
    )


def set_aside(found: Findings) -> Html:
    """Return rows of the data set that could not be used."""
    rows = found.set_aside
    if not rows:
        return note("Every row of the data set was a usable prompt.")
    reasons = Counter(row["reason"].partition(":")[0] for row in rows)
    shown = rows[:50]
    listed = table(
        ("place", "reason"), ([row["place"], row["reason"]] for row in shown), left=(0, 1)
    )
    more = len(rows) - len(shown)
    return join(
        [
            element("p", f"{several(len(rows), 'row')} of {rows[0]['source']}: "
                         f"{wording.counts(reasons)}."),
            details("Which", listed, note(f"and {more:,} more") if more else ""),
        ]
    )  # fmt: skip
