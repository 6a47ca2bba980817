"""A plan as people read it."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from eva.planning.counting import TYPICAL

if TYPE_CHECKING:
    from eva.planning.plan import Plan


def show(plan: Plan, *, as_json: bool = False, console: Console | None = None) -> None:
    """Print a plan."""
    if as_json:
        sys.stdout.write(json.dumps(asdict(plan), indent=1) + "\n")
        return
    console = console or Console(highlight=False)
    console.print(plan.game, markup=False, soft_wrap=True)
    console.print(_sources(plan), _rounds(plan))
    for line in _lines(plan):
        console.print(line, markup=False, soft_wrap=True)
    for note in plan.notes:
        console.print(f"note: {note}", markup=False, style="yellow", soft_wrap=True)


def _sources(plan: Plan) -> Table:
    table = Table("", box=None, pad_edge=False)
    for title in ("source", "where", "parameters", "context"):
        table.add_column(title, overflow="fold")
    for source in plan.sources:
        fetch = f" ({source.fetch_bytes / 1e6:.0f} MB)" if source.fetch_bytes else ""
        table.add_row(
            source.role,
            source.name,
            f"{source.state}{fetch}",
            f"{source.parameters / 1e6:,.1f} M" if source.parameters else "",
            f"{source.context:,}" if source.context else "",
        )
    return table


def _rounds(plan: Plan) -> Table:
    table = Table(box=None, pad_edge=False, title="at most", title_justify="left")
    columns = {
        "round": "round",
        "prompts": "prompts",
        "evolved": "evolved",
        "answers": "answers",
        "generated_tokens": "tokens sampled",
        "rewriter_tokens": "by rewriter",
        "pairs": "pairs",
        "updates": "updates",
        "trained_tokens": "tokens trained",
    }
    for title in columns.values():
        table.add_column(title, justify="right")
    for count in plan.rounds:
        table.add_row(*(number(getattr(count, name)) for name in columns))
    return table


def _lines(plan: Plan) -> list[str]:
    prompts, totals, evaluation = plan.prompts, plan.totals, plan.evaluation
    sampled = totals["generated_tokens"] + totals["rewriter_tokens"] + totals["evaluation_tokens"]
    trained = totals["trained_tokens"]
    lines = [
        f"prompts: {prompts['human']:,} to train on, {prompts['held_out']:,} held out, "
        f"{prompts['set_aside']:,} set aside; {prompts['median_tokens']:,} tokens in the median, "
        f"{prompts['longest_tokens']:,} at most",
        f"evaluation: {evaluation.times} times {evaluation.prompts:,} prompts, "
        f"{number(evaluation.tokens)} tokens at most",
        f"in all: {number(sampled)} tokens sampled and {number(trained)} trained at most; "
        f"{number(sampled * TYPICAL)} and {number(trained * TYPICAL)} if answers take half of the "
        "limit",
    ]
    for server in plan.servers:
        cap = f", of a max_cost of {server.max_cost:,.2f}" if server.max_cost else ""
        cost = f"; a cost of {server.cost:,.2f} at most{cap}" if server.cost else ""
        lines.append(
            f"server, {server.role}: {server.model} at {server.url} is asked "
            f"{number(server.requests)} times at most, faults not counted: "
            f"{number(server.prompt_tokens)} tokens to read, about, and "
            f"{number(server.generated_tokens)} to write{cost}"
        )
    if plan.memory:
        uses = ("weights", "gradients", "optimiser", "activations", "train_logits", "cache")
        parts = ", ".join(f"{use.replace('_', ' ')} {size(plan.memory[use])}" for use in uses)
        free = size(plan.machine["free_bytes"])
        lines.append(
            f"memory, about: {size(plan.memory['training'])} in training, "
            f"{size(plan.memory['answering'])} in answering ({parts}); free: {free}"
        )
        if "training_per_process" in plan.memory:
            lines[-1] += f"; {size(plan.memory['training_per_process'])} in each training process"
    if plan.disk:
        parts = ", ".join(f"{use} {size(plan.disk[use])}" for use in plan.disk if use != "total")
        lines.append(f"disk, at most about: {size(plan.disk['total'])} ({parts})")
    if plan.seconds:
        parts = ", ".join(f"{k} {span(v)}" for k, v in plan.seconds.items() if k != "total")
        rate = plan.machine["flops"] / 1e9
        lines.append(
            f"time, a rough guess: {span(plan.seconds['total'])} ({parts}), from "
            f"{rate:,.0f} GFLOP/s of matrix products measured on {plan.machine['device']} just now,"
            " answers of half the limit, rewards not counted"
        )
    return lines


def number(count: float) -> str:
    """Return a count as people say it.

    >>> number(512), number(24_576), number(122_880_000)
    ('512', '24.6 K', '122.9 M')
    """
    if count < 10_000:
        return f"{count:,.0f}"
    return f"{count / 1e3:.1f} K" if count < 1e6 else f"{count / 1e6:,.1f} M"


def size(count: float) -> str:
    """Return bytes as people say them.

    >>> size(538_000_000), size(37e9)
    ('538 MB', '37.0 GB')
    """
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def span(seconds: float) -> str:
    """Return a time as people say it.

    >>> span(42), span(600), span(9000), span(400_000)
    ('42 s', '10 min', '2.5 h', '4.6 days')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} days"
