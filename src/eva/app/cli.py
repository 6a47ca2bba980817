"""The command line. Every verb is a thin call of a function that programs can call too."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from eva import __version__
from eva.app.progress import Mode, watcher
from eva.errors import AlarmError, ConfigError, DataError, EvaError

# heavy modules are imported by the verb that needs them: `eva --help` answers at once

app = typer.Typer(
    name="eva",
    help="Prompts that evolve with the policy they train (arXiv:2411.00062).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
stages = typer.Typer(
    name="stage",
    help="One stage on its own, on Parquet files: rollouts from any trainer in, prompts out.",
    no_args_is_help=True,
)
app.add_typer(stages)

Overrides = Annotated[
    list[str] | None, typer.Argument(help="Overrides such as rounds=3 solver.objective=simpo.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show nothing but errors.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON lines on standard output.")]
RunPath = Annotated[Path, typer.Argument(help="A run folder.")]


def _mode(quiet: bool, as_json: bool) -> Mode:
    return "json" if as_json else "quiet" if quiet else "live"


def _finished(run: Path) -> bool:
    from eva.runs.folder import RunFolder

    if not (run / "run.json").exists():
        return False
    with RunFolder.open_readonly(run) as folder:
        return folder.info.get("status") == "finished"


def _tell(run: Path, status: str) -> None:
    """Write the last line of `--json`."""
    from eva.app.results import alarms
    from eva.runs.folder import RunFolder

    with RunFolder.open_readonly(run) as folder:
        raised = alarms(folder)
    typer.echo(json.dumps({"run": str(run), "status": status, "alarms": raised}))


def _play(game: Callable[[], Path], run: Path, mode: Mode) -> None:
    """Play a game, and say what came of it and what to do with it."""
    before = _finished(run)
    try:
        run = game()
    except AlarmError:
        if mode == "json":
            _tell(run, "stopped")
        raise
    if mode == "json":
        _tell(run, "finished")
    elif mode != "quiet":
        from eva.app.quickstart import print_outcome

        print_outcome(Console(), run)
        if before:
            typer.echo(
                "\nThis run was finished before, and nothing was played. For a longer game, or\n"
                "another one, take a new folder: eva run CONFIG rounds=4 --out runs/longer"
            )


@app.command()
def quickstart(
    out: Annotated[Path, typer.Option(help="Where the run goes.")] = Path("runs/quickstart"),
    quiet: Quiet = False,
) -> None:
    """Train a real chat model on prompts that eva writes; minutes on a CPU."""
    from eva.app import quickstart as verb

    verb.quickstart(out, mode=_mode(quiet, False))


@app.command()
def new(
    name: Annotated[Path, typer.Argument(help="The file to write, e.g. game.toml.")],
    template: Annotated[str, typer.Option(help="Which config to start from.")] = "quickstart",
) -> None:
    """Write a commented config to start from."""
    from eva.app import templates

    path = templates.write(name, template)
    typer.echo(f"wrote {path}; next: eva check {path}")


@app.command()
def check(config: Path, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Validate a config, and print the plan: counts, tokens, memory. Loads no model."""
    from eva.app.load import load_config
    from eva.planning import plan

    plan.show(plan.of(load_config(config, overrides or [])), as_json=as_json)


@app.command()
def probe(
    model: Annotated[str, typer.Argument(help="Hub id, folder or packaged:NAME.")] = "",
    prompts: Annotated[str, typer.Argument(help="File, folder or packaged:NAME.")] = "",
    reward: Annotated[
        str,
        typer.Argument(
            help="FILE.toml with a reward table, python:FILE.py:NAME, classifier:MODEL, or rules."
        ),
    ] = "",
    config: Annotated[
        Path | None, typer.Option(help="A config in place of the three arguments.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Prompts to sample.")] = 64,
    n: Annotated[int | None, typer.Option(min=2, help="Answers per prompt; default 8.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Default 256.")] = None,
    temperature: Annotated[float | None, typer.Option(help="Default 0.7.")] = None,
    constraints: Annotated[
        int, typer.Option(min=0, help="Checkable constraints to put on each prompt, for rules.")
    ] = 0,
    seed: Annotated[int | None, typer.Option(min=0, help="Default 42.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, nothing else.")] = False,
) -> None:
    """Say whether evolving is likely to help, from sampled answers. Trains nothing."""
    from eva.probing import probe_view
    from eva.probing.arguments import game_of
    from eva.probing.probe import probe as verb

    game = game_of(
        (model, prompts, reward),
        config,
        constraints=constraints,
        seed=seed,
        answers={"n": n, "max_tokens": max_tokens, "temperature": temperature},
    )
    found = verb(game, limit=limit, progress=watcher("quiet" if quiet else "live"))
    probe_view.show(found, as_json=as_json)


@app.command()
def run(
    config: Path,
    overrides: Overrides = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; default runs/CONFIG.")] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Play a game; an interrupted run of the same config goes on where it was."""
    from eva.app import play
    from eva.app.load import load_config

    folder, mode = out or Path("runs") / config.stem, _mode(quiet, as_json)
    _play(lambda: play.run(load_config(config, overrides or []), folder, mode=mode), folder, mode)


@app.command()
def resume(
    run: RunPath,
    quiet: Quiet = False,
    as_json: AsJson = False,
    past_alarms: Annotated[
        bool, typer.Option("--past-alarms", help="Go on where an alarm stopped it.")
    ] = False,
) -> None:
    """Go on with an interrupted run."""
    from eva.app import play

    mode = _mode(quiet, as_json)
    _play(lambda: play.resume(run, mode=mode, past_alarms=past_alarms), run, mode)


@app.command()
def show(
    run: RunPath,
    prompt: Annotated[str, typer.Option(help="A prompt id (or its beginning).")] = "",
    round: Annotated[int | None, typer.Option(help="One round in full.")] = None,
    refusals: Annotated[bool, typer.Option(help="List refused rewrites.")] = False,
    operators: Annotated[bool, typer.Option(help="What became of each operator.")] = False,
) -> None:
    """Show a run: its rounds, a prompt's lineage, what was refused and why, or its operators."""
    from eva.views import show as verb

    verb.show(run, prompt=prompt, round=round, refusals=refusals, operators=operators)


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Run folders; those of the baseline first.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, nothing else.")] = False,
) -> None:
    """Compare runs: seeds of one config are an arm, held against the first arm."""
    from eva.views import compare as verb

    verb.show(runs, as_json=as_json)


@app.command()
def report(
    run: RunPath,
    out: Annotated[Path | None, typer.Option(help="HTML file; default RUN/report.html.")] = None,
) -> None:
    """Write one HTML file about a run; it opens offline."""
    from eva.views import report as verb

    typer.echo(f"wrote {verb.report(run, out or run / 'report.html')}")


@app.command()
def export(
    run: RunPath,
    what: Annotated[str, typer.Argument(help="model, pairs or prompts.")],
    to: Annotated[Path, typer.Argument(help="Folder (model) or file (.parquet, .jsonl).")],
    round: Annotated[
        int | None, typer.Option(help="Round; default: the last; prompts: all.")
    ] = None,
) -> None:
    """Export the model as a Hugging Face folder, the pairs for TRL, or the evolved prompts."""
    from eva.views import export as verb

    typer.echo(f"wrote {verb.export(run, what, to, round=round)}")


@app.command(name="list")
def list_(
    kind: Annotated[str, typer.Argument(help="A kind of part; nothing lists all.")] = "",
) -> None:
    """List the parts that a config can name."""
    from eva.views import parts

    parts.show(kind)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"eva {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    """Prompts that evolve with the policy they train (arXiv:2411.00062)."""


def guarded(verb: Callable[[], None]) -> int:
    """Run the command line and return its exit code; an error of eva's own has no traceback.

    2: bad config, data or arguments. 1: the run broke. 3: an alarm stopped it. 130: interrupted.
    """
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        verb()
    except (ConfigError, DataError) as error:
        errors.print(f"[bold red]error:[/] {_plain(error)}")
        return 2
    except AlarmError as error:
        errors.print(f"[bold yellow]alarm:[/] {_plain(error)}")
        return 3
    except EvaError as error:
        errors.print(f"[bold red]{type(error).__name__}:[/] {_plain(error)}")
        return 1
    except (KeyboardInterrupt, SystemExit) as left:
        # typer makes an exit of Ctrl-C
        if isinstance(left, SystemExit) and left.code != 130:
            raise
        # a stage has no run, and one that commits nothing before its end begins again
        errors.print(
            "interrupted; what was committed is kept, and the same command goes on from there (or "
            "`eva resume RUN`, where it plays a run)"
        )
        return 130
    return 0


def _plain(error: Exception) -> str:
    return str(error).replace("[", r"\[")


def main() -> None:
    """Entry point of the `eva` command."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # bars of libraries would run through eva's own
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    from eva.app import stage_verbs

    stage_verbs.register(stages)
    raise SystemExit(guarded(app))
