"""The verbs `eva stage ...`: see `eva.stages.stages`, which programs call instead."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from eva.errors import ConfigError
from eva.types import Json

if TYPE_CHECKING:
    from eva.stages.stages import At

ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG", help="A config file.")]
Overrides = Annotated[list[str] | None, typer.Argument(help="Overrides such as answers.n=4.")]
Out = Annotated[Path, typer.Option(help="Parquet file to write; must not be there yet.")]
PolicyPath = Annotated[
    Path | None, typer.Option(help="Folder of the round's first policy; default the model.")
]
Round = Annotated[int, typer.Option(min=1, help="Round, which names the random streams.")]
AsJson = Annotated[bool, typer.Option("--json", help="The summary as JSON; no progress.")]


def register(app: typer.Typer) -> None:
    """Add the verbs, and what all of them take before their name."""
    app.callback()(options)
    for verb in (answer, score, evolve, pair, train):
        app.command()(verb)


_as_json: ContextVar[bool] = ContextVar("as_json", default=False)


def options(as_json: AsJson = False) -> None:
    """One stage on its own, on Parquet files: rollouts from any trainer in, prompts out."""
    _as_json.set(as_json)


def answer(
    config: ConfigPath,
    overrides: Overrides = None,
    *,
    out: Out,
    prompts: Annotated[str, typer.Option(help="Prompts; default the config's.")] = "",
    side: Annotated[
        Literal["solver", "creator"],
        typer.Option("--for", help="Who asks: their random streams differ."),
    ] = "solver",
    policy: PolicyPath = None,
    round: Round = 1,
) -> None:
    """Let the policy answer prompts."""
    from eva.stages import stages

    at = _at(config, overrides, round=round, policy=policy)
    _parquet(out)
    _tell(out, stages.answer(at, prompts or None, out=out, side=side))


def score(
    config: ConfigPath,
    groups: Annotated[Path, typer.Argument(help="Prompts with responses.")],
    overrides: Overrides = None,
    *,
    out: Out,
) -> None:
    """Score answers with the config's reward."""
    from eva.stages import stages

    _parquet(out)
    at = _at(config, overrides, round=1, policy=None)
    _tell(out, stages.score(at, groups, out=out))


def evolve(
    config: ConfigPath,
    scored: Annotated[Path, typer.Argument(help="Prompts with responses and rewards.")],
    overrides: Overrides = None,
    *,
    out: Out,
    known: Annotated[
        list[str] | None, typer.Option(help="Further prompts that children may not repeat.")
    ] = None,
    keep: Annotated[
        Literal["mix", "children", "seeds"],
        typer.Option(
            help="What to write: the solver's next set, all new prompts, or the informative "
            "subset, unevolved."
        ),
    ] = "mix",
    policy: PolicyPath = None,
    round: Round = 2,
) -> None:
    """Write the next prompts: estimate, sample, evolve, mix; refusals go beside them."""
    from eva.stages import stages

    _parquet(out)
    at = _at(config, overrides, round=round, policy=policy)
    _tell(out, stages.evolve(at, scored, out=out, known=known or (), keep=keep))


def pair(
    config: ConfigPath,
    scored: Annotated[Path, typer.Argument(help="Prompts with responses and rewards.")],
    overrides: Overrides = None,
    *,
    out: Out,
    policy: PolicyPath = None,
    round: Round = 1,
) -> None:
    """Make training pairs of scored answers, with the reference's log-probs."""
    from eva.stages import stages

    _parquet(out)
    at = _at(config, overrides, round=round, policy=policy)
    _tell(out, stages.pair(at, scored, out=out))


def train(
    config: ConfigPath,
    pairs: Annotated[Path, typer.Argument(help="Pairs, or any preference data set.")],
    overrides: Overrides = None,
    *,
    out: Annotated[Path, typer.Option(help="Folder to write; must not be there yet.")],
    earlier: Annotated[
        list[Path] | None, typer.Option(help="Pairs of earlier rounds, for solver.start=scratch.")
    ] = None,
    export: Annotated[
        Path | None, typer.Option(help="Also write a Hugging Face folder here.")
    ] = None,
    policy: PolicyPath = None,
    round: Round = 1,
) -> None:
    """Train the policy on pairs; the same command goes on where an interrupted one was."""
    from eva.stages import stages

    at = _at(config, overrides, round=round, policy=policy)
    summary = stages.train(at, pairs, out=out, earlier=earlier or (), export=export)
    _tell(out, summary)


def _at(config: Path, overrides: list[str] | None, *, round: int, policy: Path | None) -> At:
    from eva.app.load import load_config
    from eva.app.progress import watcher
    from eva.stages.stages import At

    game = load_config(config, overrides or [])
    return At(game, round, policy, watcher("quiet" if _as_json.get() else "live"))


def _parquet(out: Path) -> None:
    if out.suffix != ".parquet":
        raise ConfigError(f"--out {out}: expected a name that ends in .parquet")


def _tell(out: Path, summary: Mapping[str, Json]) -> None:
    if _as_json.get():
        typer.echo(json.dumps({"out": str(out), **summary}))
        return
    shown = dict(summary)
    made = shown.pop("retokenised", 0)
    figures = ", ".join(f"{key.replace('_', ' ')} {_said(value)}" for key, value in shown.items())
    typer.echo(f"wrote {out}: {figures}")
    if made:
        typer.echo(
            "note: answers came without token ids and were tokenised anew; ids as sampled are "
            "better to train on (column token_ids)",
            err=True,
        )


def _said(value: Json) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{count} {cause}" for cause, count in value.items()) or "none"
    return f"{value:,}" if isinstance(value, int) else str(value)
