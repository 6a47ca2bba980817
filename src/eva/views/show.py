"""`eva show`: a run in the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from eva.errors import ConfigError
from eva.records import figures
from eva.runs.metrics import describe
from eva.schedule import taken_back
from eva.views import wording
from eva.views.differences import sorted_out
from eva.views.findings import Findings
from eva.views.lineage import Row
from eva.views.operators import HEAD, by_operator
from eva.views.show_lineage import tree
from eva.views.steps import PHASES
from eva.views.wording import count, number, several, share

TEXTS = 8
"""Refused texts that are shown of each gate."""

LONGEST = 400
"""Characters of them."""


def show(
    run: Path,
    *,
    prompt: str = "",
    round: int | None = None,
    refusals: bool = False,
    operators: bool = False,
    console: Console | None = None,
) -> None:
    """Print a run: its rounds; or one prompt's lineage, one round in full, refusals, operators.

    `prompt` is an id or its beginning.

    Raises:
        ConfigError: more than one of them is asked for, or a round that is not there.
        DataError: no prompt, or more than one, has such an id.
        RunError: there is no run, or it is damaged.
    """
    if sum((bool(prompt), round is not None, refusals, operators)) > 1:
        raise ConfigError("--prompt, --round, --refusals and --operators: take one of them")
    found = Findings.read(Path(run))
    console = console or Console(highlight=False)
    if prompt:
        console.print(tree(found.lineage, found.lineage.find(prompt).id))
    elif round is not None:
        console.print(one_round(found, round))
    elif refusals:
        console.print(refused(found))
    elif operators:
        console.print(tried(found))
    else:
        console.print(overview(found))
        for line in _places(found):
            # whole, so that a path can be copied, or read by a program
            console.print(line, soft_wrap=True)


def overview(found: Findings) -> Group:
    """Return how far the run is, its rounds, what changed, and signs of trouble."""
    model = wording.name_of(found.config["policy"]["model"])
    source = wording.name_of(found.config["prompts"]["source"])
    head = Text.assemble((f"{model} on {source}", "bold"), f": {found.status}")
    parts: list[Text | Table] = [head, Text()]
    if found.records:
        parts += [_rounds(found), Text()]
    if found.online and found.records:
        parts += [_buffer(found), Text()]
    for name, compared in found.compared.items():
        title = f"{wording.evaluation(name)}: before and after"
        parts += [comparison(title, sorted_out(compared["differences"]).main), Text()]
    if found.after:
        parts.append(Text(found.after, style="yellow"))
    parts += [Text(f"alarm: {wording.alarm(raised)}", style="yellow") for raised in found.alarms]
    if found.set_aside:
        parts.append(Text(f"{several(len(found.set_aside), 'row')} of the data set set aside"))
    if asked := wording.servers(found.records):
        parts.append(Text(asked))
    return Group(*parts)


def _rounds(found: Findings) -> Table:
    # broken, so that 80 columns hold the figures of a large run
    columns = ("round", "prompts", "evolved", "reward", "no con-\ntrast", "info", "re-\nfused")
    trained = "up-\ndates" if found.online else "pairs"
    table = _table("rounds", *columns, trained, "cut\noff", "tokens")
    for record in found.records:
        solver, creator, counts = record["solver"], record["creator"], record["counts"]
        table.add_row(
            str(record["round"]),
            count(counts["prompts"]),
            count(counts["evolved"]),
            number(solver.get("reward_mean")),
            share(solver.get("without_contrast")),
            number(creator.get("info_mean")),
            count(creator["refused"]) if "refused" in creator else "–",
            count(solver["training"]["updates"] if found.online else solver["pairs"]),
            share(solver.get("truncated")),
            _tokens(record["tokens"]["total"]),
        )
    return table


def _tokens(n: int) -> str:
    return count(n) if n < 10_000_000 else f"{n / 1e6:,.1f} M"


def _buffer(found: Findings) -> Table:
    """Return where the prompts of an online run's rounds came from, and the buffer after each."""
    delayed = found.config["online"]["background"]
    table = _table("steps by phase, and the buffer", "round", *_PHASES, *_DRAWN.values())
    for column in (["delay"] if delayed else []) + ["buffer", "age"]:
        table.add_column(column, justify="right", no_wrap=True)
    for record in found.records:
        creator = record["creator"]
        steps = [creator["phases"].get(phase, 0) for phase in PHASES]
        table.add_row(
            str(record["round"]),
            *map(count, [*steps, *(creator[name] for name in _DRAWN)]),
            *([number(creator["delay"])] if delayed else []),
            count(creator["buffer"]),
            number(creator["buffer_age"]),
        )
    return table


_PHASES = ("warm\nup", "mix\nup", "boot-\nstrap")
_DRAWN = {
    "replayed": "re-\nplayed",
    "recycled": "re-\ncycled",
    "dropped": "dropped",
    "children": "chil-\ndren",
}


def comparison(
    title: str,
    differences: Sequence[Row],
    *,
    columns: tuple[str, str] = ("before", "after"),
    interval: str = "95 % interval",
) -> Table:
    """Return differences as a table, with names for its columns."""
    table = _table(title)
    table.add_column()
    for column in ("n", *columns, "difference", interval):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("verdict")
    for d in differences:
        table.add_row(
            wording.measure(d["value"], d["label"]),
            str(d["n"]),
            number(d["before"]),
            number(d["after"]),
            number(d["difference"], signed=True),
            wording.interval(d),
            Text(d["verdict"], style=_STYLES.get(d["verdict"], "")),
        )
    return table


_STYLES = {"gain": "green", "loss": "red"}


def _places(found: Findings) -> list[Text]:
    """Return where things lie, and what goes on with a run that an alarm stopped."""
    back = {f"{round:03d}" for round in taken_back(found.alarms)}
    kept = sorted(found.path.glob("rounds/*/policy"))
    policies = [path for path in kept if path.parent.name not in back]
    places = {"run": found.path, "policy": policies[-1] if policies else None}
    report = found.path / "report.html"
    places["report"] = report if report.exists() else None
    lines = [Text(f"{name:<8}{place}") for name, place in places.items() if place]
    if not report.exists():
        lines.append(Text(f"{'report':<8}none yet: eva report {found.path}", style="dim"))
    if found.stopped:
        lines.append(Text(f"{'next':<8}eva resume {found.path} --past-alarms"))
    return lines


def one_round(found: Findings, t: int) -> Group:
    """Return all figures of a round with what they mean, and the prompts that were drawn.

    Raises:
        ConfigError: the run has no such round yet.
    """
    records = {record["round"]: record for record in found.records}
    if t not in records:
        have = ", ".join(map(str, records)) or "none"
        raise ConfigError(f"--round {t}: not done in this run; its rounds so far: {have}")
    table = _table(f"round {t}")
    # a metric may be named after a topic, which is as long as it is
    table.add_column("metric", overflow="fold")
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("meaning", style="dim")
    for name, value in figures(records[t]).items():
        metric = describe(name)
        meaning = f"{metric.meaning} ({metric.unit})" if metric else ""
        shown = count(value) if value == int(value) else number(value)
        table.add_row(name, shown, meaning)
    return Group(table, Text(), _drawn(found, t))


def _drawn(found: Findings, t: int) -> Table | Text:
    lineage = found.lineage
    rows = [
        (row, lineage.when(row, place).removeprefix("step "))
        for some in lineage.estimates.values()
        for place, row in enumerate(some)
        if row["round"] == t and row["drawn"] is not None
    ]
    if not rows:
        return Text("No prompt was drawn and evolved in this round.", style="dim")
    table = _table("drawn and evolved", "id", *(["step"] if found.online else []))
    for column in ("informativeness", "children", "refused"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("prompt", ratio=1)
    # online every step has draws of its own
    rows.sort(key=lambda of: int(of[0]["seq"] if found.online else of[0]["drawn"]))
    for row, step in rows:
        id = row["prompt_id"]
        born = [lineage.prompts[c].born for c in lineage.children.get(id, ())]
        refused = [r for r in lineage.refusals.get(id, ()) if r["round"] == t]
        text = wording.printable(lineage.prompts[id].text)
        table.add_row(
            id,
            *([step] if found.online else []),
            f"{number(row['value'])} ± {number(row['error'])}",
            str(born.count(t)),
            str(len(refused)),
            Text(wording.shortened(text, 200)),
        )
    return table


def refused(found: Findings) -> Group | Text:
    """Return refusals by gate, counted by operator and round, with reasons and texts."""
    rows = sorted(found.refusals(), key=lambda row: (str(row["gate"]), int(row["seq"])))
    if not rows:
        return Text("Nothing was refused.")
    parts: list[Text | Table] = []
    for gate, group in groupby(rows, key=lambda row: str(row["gate"])):
        some = list(group)
        operators = wording.counts(Counter(row["operator"] for row in some))
        parts.append(_refusals(f"{gate}: {several(len(some), 'refusal')} ({operators})", some))
        left = len(some) - TEXTS
        if left > 0:
            more = f"and {left:,} more, in the table `refusals` of population.sqlite"
            parts.append(Text(more, style="dim"))
        parts.append(Text())
    return Group(*parts)


def tried(found: Findings) -> Table | Text:
    """Return what became of each operator's proposals."""
    every = by_operator(found)
    if not every:
        return Text("No operator was tried.")
    # so that 80 columns leave some for the gates; the report has the mean reward as well
    parts = {"entered": "en-\ntered", "accepted": "ac-\ncepted", "contrast": "con-\ntrast"}
    parts |= {"with contrast": "with\ncon-\ntrast", "played": "play-\ned"}
    shown = [i for i, name in enumerate(HEAD) if name != "reward"]
    table = _table("operators")
    table.add_column(HEAD[0], overflow="fold")
    for i in shown[1:-1]:
        table.add_column(parts.get(HEAD[i], HEAD[i]), justify="right", no_wrap=True)
    table.add_column(HEAD[-1], overflow="fold")
    for line in every:
        cells = line.cells()
        table.add_row(*(cells[i] for i in shown))
    return table


def _refusals(title: str, rows: Sequence[Row]) -> Table:
    table = _table(title, "round", "parent")
    table.add_column("operator", max_width=16, overflow="fold")
    table.add_column("reason", ratio=2, overflow="fold")
    table.add_column("refused text", ratio=3, overflow="fold")
    for row in rows[:TEXTS]:
        reason, text = (
            Text(wording.printable(wording.shortened(row[key], LONGEST)))
            for key in ("reason", "text")
        )
        table.add_row(str(row["round"]), row["parent_id"], row["operator"], reason, text)
    return table


def _table(title: str, *columns: str) -> Table:
    """Return a table whose first column is text, all further ones figures."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if i else "left", no_wrap=True)
    return table
