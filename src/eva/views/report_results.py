"""The report's first pages: what was played, what changed, and answers before and after."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from eva.evals.statistics import INSIDE
from eva.types import Json
from eva.views import wording
from eva.views.differences import Difference, headlines, sorted_out
from eva.views.findings import Findings
from eva.views.report_charts import Series, interval, lines
from eva.views.report_page import Html, chip, details, element, join, note, table, text
from eva.views.wording import number, several

SAMPLES = 2
"""Samples of each sort and evaluation."""

_HEADER = ("", "before", "after", "difference", "", "95 % interval", "verdict", "prompts")


def header(found: Findings) -> Html:
    """Return the head of the page: what was played, on what, how long, and what changed."""
    config = found.config
    model, source = (wording.name_of(config[k][f]) for k, f in _PLAYED)
    played = sum(record["counts"]["prompts"] for record in found.records)
    written = sum(record["counts"]["evolved"] for record in found.records)
    tokens = sum(record["tokens"]["total"] for record in found.records)
    facts = [
        found.status,
        f"begun {found.began:%Y-%m-%d %H:%M} UTC",
        f"{wording.span(found.seconds)} to the last commit",
        f"{_trained(found)}, {several(tokens, 'token')}",
    ]
    lead = (
        f"{model} answered {several(played, 'prompt')} in {several(len(found.records), 'round')}, "
        f"{wording.count(written)} of them written by eva, and was trained on the answers by "
        f"{config['solver']['objective']['name'].upper()}."
        if found.records
        else f"{model} has not finished a round yet."
    )
    return join(
        [
            element("h1", f"{model} on {source}"),
            element("p", _arm(found), class_="muted"),
            element("p", lead, class_="lead"),
            element("div", *map(chip, facts), class_="facts"),
            _verdicts(found),
            alarms(found),
        ]
    )


def alarms(found: Findings) -> Html:
    """Return the signs of trouble; nothing where there were none."""
    raised = [element("li", chip("alarm", "loss"), wording.alarm(one)) for one in found.alarms]
    return element("ul", *raised, class_="verdicts") if raised else Html()


_PLAYED = (("policy", "model"), ("prompts", "source"))
_ARMS = {
    "eva": "Offline eva: prompts that evolve with the policy they train (arXiv:2411.00062)",
    "static": "A baseline: the same human prompts in every round, nothing evolved",
    "new_human": "A baseline: new human prompts in every round, nothing evolved",
}
_ONLINE_ARMS = {
    "eva": "Online eva: prompts that evolve step by step, as the policy trains (arXiv:2411.00062)",
    "static": "A baseline, online: human prompts over and over, nothing evolved",
}


def _arm(found: Findings) -> str:
    return (_ONLINE_ARMS if found.online else _ARMS)[found.config["creator"]["name"]]


def _trained(found: Findings) -> str:
    """Say how much was trained on: pairs of rounds, or steps with their updates."""
    solvers = [record["solver"] for record in found.records]
    if not found.online:
        return several(sum(solver.get("pairs", 0) for solver in solvers), "pair")
    steps = sum(record["steps"] for record in found.records)
    updates = sum(solver["training"]["updates"] for solver in solvers)
    return f"{several(steps, 'step')}, {several(updates, 'update')}"


def _verdicts(found: Findings) -> Html:
    if not found.compared:
        said = "Nothing was measured both before and after, so no change can be told."
        return element("p", said, class_="note")
    items, first = [], True
    for name, comparison in found.compared.items():
        chosen = headlines(comparison["differences"])
        items.append(element("p", element("strong", _titled(name)), ". ", wording.in_short(chosen)))
        listed = (_headline(d) for d in chosen)
        items.append(details("In figures", element("ul", *listed, class_="verdicts"), opened=first))
        first = False
    return join(items)


def _headline(d: Difference) -> Html:
    what = wording.measure(d["value"], d["label"])
    said = element("span", element("strong", what[0].upper() + what[1:]), " ", wording.change(d))
    verdict = d["verdict"].replace(INSIDE, "unclear")
    return element("li", chip(verdict, kind_of(d)), said)


def kind_of(d: Difference) -> str:
    """Return the class of a verdict: `gain`, `loss`, or `none`."""
    return d["verdict"] if d["verdict"] in {"gain", "loss"} else "none"


def before_and_after(found: Findings) -> Html:
    """Return the tables of differences, and the figures of every round where they were taken."""
    if not found.compared:
        return join([note(_UNMEASURED), by_round(found)])
    parts: list[object] = [note(_PAIRED), *([note(found.after)] if found.after else [])]
    for name, comparison in found.compared.items():
        parts += [element("h3", _titled(name)), *_tables(comparison["differences"])]
        unpaired = comparison["prompts"]["only_before"] + comparison["prompts"]["only_after"]
        if unpaired:
            parts.append(note(f"{several(unpaired, 'prompt')} measured on one side only."))
    return join([*parts, by_round(found)])


_UNMEASURED = (
    "Nothing was measured both before and after: the config asks for no evaluation, or the run has "
    "not come to it."
)
_PAIRED = (
    "Greedy answers of the first and the last policy to the same prompts, none of them trained on. "
    "Differences are paired by prompt. Where the 95 % interval holds 0, chance may explain the "
    "difference; of the many rows below, one in twenty would show a gain or loss by chance alone."
)


def _titled(name: str) -> str:
    said = wording.evaluation(name)
    return said[0].upper() + said[1:]


def _tables(differences: Sequence[Difference]) -> Iterable[Html]:
    main, kinds, rest = sorted_out(differences)
    yield _table(main)
    if kinds:
        yield details("By kind of constraint, or part of the reward", _table(kinds))
    if rest:
        yield details(f"All other measures ({len(rest)})", _table(rest))


def _table(differences: Sequence[Difference]) -> Html:
    reach: dict[str, float] = {}
    for d in differences:
        ends = [abs(d[end]) for end in ("low", "high") if d[end] is not None]
        unit = _unit(d)
        reach[unit] = max([reach.get(unit, 0.0), *ends])
    return table(_HEADER, (_row(d, reach[_unit(d)]) for d in differences), left=(0, 6))


def _unit(d: Difference) -> str:
    """Return which differences share a scale: lengths each their own, all others one."""
    return str(d["value"]) if d["value"] in {"tokens", "words"} else ""


def _row(d: Difference, reach: float) -> list[object]:
    drawn: object = ""
    if d["low"] is not None and d["difference"] is not None and reach:
        drawn = interval(d["low"], d["difference"], d["high"], reach=reach, kind=kind_of(d))
    return [
        wording.measure(d["value"], d["label"]),
        number(d["before"]),
        number(d["after"]),
        number(d["difference"], signed=True),
        drawn,
        wording.interval(d),
        chip(d["verdict"], kind_of(d)),
        d["n"],
    ]


def by_round(found: Findings) -> Html:
    """Return charts of what was measured in more rounds than two."""
    if len(found.measured) < 3:
        return Html("")
    charts = []
    for name in found.measured[min(found.measured)]:
        for value in ("reward", "prompt_strict", "relevance", "tokens"):
            metric = f"{name}/{value}"
            taken = [
                (t, results[name]["intervals"][metric])
                for t, results in found.measured.items()
                if name in results and metric in results[name]["intervals"]
            ]
            points = [(float(t), i["estimate"]) for t, i in taken]
            bands = [None if i["low"] is None else (i["low"], i["high"]) for _, i in taken]
            if points and all(y is not None for _, y in points):
                title = f"{_titled(name)}: {wording.measure(value)}"
                charts.append(lines(title, [Series(value, points, bands)]))
    return element("div", *charts, class_="charts")


# ── samples ───────────────────────────────────────────────────────────────────────────────────


def samples(found: Findings) -> Html:
    """Return answers before and after, side by side."""
    parts: list[object] = []
    for name in found.compared:
        first, last = found.measured[min(found.measured)], found.measured[max(found.measured)]
        chosen = choose(first[name]["rows"], last[name]["rows"])
        for title, rows in chosen.items():
            if rows:
                parts += [element("h3", f"{_titled(name)}: {title}"), *map(_sample, rows)]
    if not parts:
        return note(_UNMEASURED)
    return join([note(_CHOSEN), *parts])


_CHOSEN = (
    "The same prompt, answered greedily by the first and by the last policy. Those drawn by lot "
    "(the lowest prompt ids) show what is usual; the others are the extremes, and extremes mislead."
)

Sides = tuple[Mapping[str, Json], Mapping[str, Json]]


def choose(
    before: Sequence[Mapping[str, Json]], after: Sequence[Mapping[str, Json]]
) -> dict[str, list[Sides]]:
    """Return rows of both sides: some drawn by lot, the greatest gains, the greatest losses."""
    new = {row["id"]: row for row in after if row["texts"]}
    both = [(row, new[row["id"]]) for row in before if row["id"] in new and row["texts"]]
    by_lot = sorted(both, key=lambda sides: str(sides[0]["id"]))[:SAMPLES]
    taken = {sides[0]["id"] for sides in by_lot}
    ranked = [(_gain(sides), sides) for sides in both if sides[0]["id"] not in taken]
    ranked.sort(key=lambda item: (-item[0], str(item[1][0]["id"])))
    return {
        "by lot": by_lot,
        "greatest gains": [sides for gain, sides in ranked if gain > 0][:SAMPLES],
        "greatest losses": [sides for gain, sides in reversed(ranked) if gain < 0][:SAMPLES],
    }


def _score(row: Mapping[str, Json]) -> float | None:
    values = row["values"]
    found = values.get("reward", values.get("prompt_strict"))
    return None if found is None else float(found)


def _gain(sides: Sides) -> float:
    old, new = map(_score, sides)
    return 0.0 if old is None or new is None else new - old


def _sample(sides: Sides) -> Html:
    labels = [wording.subset(label) for label in sides[0]["labels"]]
    return element(
        "div",
        text(sides[0]["prompt"]),
        element("div", *map(chip, labels), class_="facts") if labels else "",
        element(
            "div",
            *(_side(when, row) for when, row in zip(("before", "after"), sides, strict=True)),
            class_="sides",
        ),
        class_="sample",
    )


def _side(when: str, row: Mapping[str, Json]) -> Html:
    values = row["values"]
    said = [f"{'reward' if 'reward' in values else 'followed'} {number(_score(row))}"]
    if values.get("tokens") is not None:
        said.append(several(int(values["tokens"]), "token"))
    if values.get("truncated"):
        said.append("cut off by the limit")
    parts = {k: v for k, v in values.items() if k.startswith("reward_") and v is not None}
    chips = (
        chip(f"{wording.measure(k)} {number(v)}", "gain" if v >= 1 else "loss" if v <= 0 else "")
        for k, v in parts.items()
    )
    return element(
        "div",
        element("h4", f"{when}: {', '.join(said)}"),
        text(row["texts"][0]),
        element("div", *chips, class_="facts"),
    )
