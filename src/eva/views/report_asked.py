"""The report's page on what the prompts ask for: how much, and about what."""

from __future__ import annotations

from collections.abc import Sequence

from eva.views.findings import Findings
from eva.views.report_charts import Series, lines
from eva.views.report_page import Html, element, join, note, table
from eva.views.report_rounds import Record
from eva.views.wording import number, share

TOPICS = 12
"""Topics that are listed, the most frequent first."""


def asked(found: Findings) -> Html:
    """Return complexity, grades and topics of the prompts, round by round."""
    records = [r for r in found.records if r["creator"].get("complexity") is not None]
    if not records:
        return note("No round is done yet.")
    charts = [
        lines(title, [Series(title.lower(), _points(records, key))], unit="mean", zero=True)
        for key, title in (("complexity", "Clauses of a prompt"), ("words", "Words of a prompt"))
    ]
    names = sorted({name for r in records for name in r["creator"].get("grades", {})})
    if names:
        graded = [Series(name, _points(records, "grades", name)) for name in names]
        charts.append(lines("Grades of the children", graded, unit="1 to 5, by a model"))
    return join([note(_CLAUSES), element("div", *charts, class_="charts"), _topics(records)])


_CLAUSES = (
    "Clauses and words are counted in the solver's set: a clause is a stretch of at least three "
    "words between punctuation marks. They say how much is asked for, not how deep a question is."
)


def _points(records: Sequence[Record], *path: str) -> list[tuple[float, float]]:
    points = []
    for record in records:
        value = record["creator"]
        for key in path:
            value = value.get(key, {})
        if value != {}:
            points.append((float(record["round"]), float(value)))
    return points


def _topics(records: Sequence[Record]) -> Html:
    spread = [r for r in records if r["creator"].get("topics")]
    if not spread:
        return note("The prompts have no topics.")
    last = spread[-1]["creator"].get("topic_shares", {})
    listed = sorted(last, key=lambda topic: (-last[topic], topic))[:TOPICS]
    rows = [
        ("topics", *(str(r["creator"]["topics"]) for r in spread)),
        (
            "as many equal ones would spread",
            *(number(r["creator"]["topic_spread"]) for r in spread),
        ),
        *(
            (topic, *(share(r["creator"].get("topic_shares", {}).get(topic)) for r in spread))
            for topic in listed
        ),
    ]
    return table(("topic", *(f"round {r['round']}" for r in spread)), rows)
