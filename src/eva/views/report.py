"""The report: one HTML file about a run, which opens offline; see docs/report.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import TypeAlias

from eva.errors import ConfigError
from eva.runs.durable import replace_bytes
from eva.views import (
    report_asked,
    report_prompts,
    report_results,
    report_rounds,
    report_steps,
    toml,
    wording,
)
from eva.views.findings import Findings
from eva.views.report_page import MARK, Html, details, element, join, note, page, table


def report(run: Path, out: Path) -> Path:
    """Write the report of a run, finished or not, and return where it lies.

    An older report is replaced; any other file is left alone.

    Raises:
        ConfigError: `out` is a folder, or a file that is no report.
        RunError: there is no run, or it is damaged.
    """
    _refuse_other(out)
    found = Findings.read(Path(run))
    replace_bytes(out, render(found).encode())
    return out


def render(found: Findings) -> str:
    """Return the report's text."""
    model = wording.name_of(found.config["policy"]["model"])
    played = _steps(found) if found.online else _rounds(found)
    sections = [
        ("changed", "Before and after", report_results.before_and_after(found)),
        ("samples", "Answers before and after", report_results.samples(found)),
        *played["what was asked"],
        ("lineage", "Lineage", report_prompts.lineage(found)),
        ("asked", "What is asked for", report_asked.asked(found)),
        ("operators", "Operators", report_prompts.operators(found)),
        ("refusals", "Refusals", report_prompts.refusals(found)),
        *played["what was learned"],
        ("cost", "Prompts, tokens, time", report_rounds.sizes(found)),
        ("set-aside", "Set aside", report_prompts.set_aside(found)),
        ("again", "Config and versions", again(found)),
    ]
    return page(f"eva: {model}, {found.path.name}", report_results.header(found), sections)


Sections: TypeAlias = Mapping[str, Sequence[tuple[str, str, Html]]]


def _rounds(found: Findings) -> Sections:
    return {
        "what was asked": [
            ("rewards", "Rewards by round", report_rounds.rewards(found)),
            ("informativeness", "Informativeness", report_rounds.informativeness(found)),
        ],
        "what was learned": [
            ("lengths", "Lengths", report_rounds.lengths(found)),
            ("training", "Training", report_rounds.training(found)),
        ],
    }


def _steps(found: Findings) -> Sections:
    return {
        "what was asked": [
            ("rewards", "Rewards by step", report_steps.rewards(found)),
            ("prompts", "Phases and buffer", report_steps.prompts(found)),
            ("informativeness", "Informativeness", report_steps.informativeness(found)),
        ],
        "what was learned": [
            ("lengths", "Lengths", report_steps.lengths(found)),
            ("training", "Training", report_steps.training(found)),
        ],
    }


def again(found: Findings) -> Html:
    """Return what is needed to play the same game again."""
    versions = found.info.get("versions", {})
    game = toml.dumps(found.config)
    return join(
        [
            element("p", "Save the config below as ", element("code", "game.toml"), " and play:"),
            element("pre", f"eva run game.toml --out {quote(f'{found.path.name}-again')}"),
            note(
                "With the same versions, device, compute type and number of threads, the CPU gives "
                "the same bits again; a GPU or a server need not. Paths in the config are those of "
                "the machine that played it."
            ),
            details("Config as played", element("pre", game)),
            details("Versions", table(("package", "version"), versions.items(), left=(0, 1))),
            element("p", "Run folder: ", element("code", found.path), class_="note"),
        ]
    )


def _refuse_other(out: Path) -> None:
    if out.is_dir():
        raise ConfigError(f"{out}: is a folder; expected a file to write, such as report.html")
    if out.exists():
        with open(out, "rb") as file:
            if file.read(len(MARK)) != MARK.encode():
                raise ConfigError(
                    f"{out}: is there already and is no report of eva, so it is not overwritten: "
                    "name another"
                )
