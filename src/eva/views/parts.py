"""`eva list`: the parts that a config can name, told by their own docstrings and tables."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel
from rich.console import Console
from rich.table import Table
from rich.text import Text

from eva.app import config_parts, config_rewards
from eva.app.config import Config
from eva.app.config_online import Oaif
from eva.errors import ConfigError, unknown_name
from eva.types import Json
from eva.views import toml

# registries are imported by the list that needs them: those of the solver load torch


class Part(NamedTuple):
    """One thing that a config can name."""

    name: str
    about: str
    settings: str = ""
    """Its settings with their defaults; `...` for those that must be given."""
    aliases: str = ""
    """What else is to be said, such as other names."""


def show(kind: str = "", *, console: Console | None = None) -> None:
    """Print the parts of a kind, or of every kind.

    Raises:
        ConfigError: there is no such kind.
    """
    if kind and kind not in KINDS:
        raise ConfigError(unknown_name("kind of part", kind, KINDS))
    console = console or Console(highlight=False)
    for name in [kind] if kind else KINDS:
        key, listed = KINDS[name]
        console.print(Text.assemble((name, "bold"), (f"  {key}", "dim"), f"  {described(key)}"))
        console.print(_table(listed()), Text())


def _table(parts: list[Part]) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 2))
    used = [i for i in range(len(Part._fields)) if any(part[i] for part in parts)]
    for i in used:
        table.add_column(style=("cyan", "", "dim", "dim")[i], no_wrap=i == 0)
    for part in parts:
        table.add_row(*(Text(part[i]) for i in used))
    return table


# ── creator ───────────────────────────────────────────────────────────────────────────────────


def metrics() -> list[Part]:
    """Return the metrics of informativeness."""
    from eva.creator.informativeness import ALIASES, METRICS, min_max

    also = {name: [alias for alias, of in ALIASES.items() if of == name] for name in METRICS}
    return [
        Part(
            name,
            f"1 - {min_max.__name__} of {m.value.__name__}" if m.inverse else _about(m.value),
            aliases=_also(also[name]),
        )
        for name, m in METRICS.items()
    ]


def samplers() -> list[Part]:
    """Return the samplers of the informative subset."""
    from eva.creator.sampling import SAMPLERS

    settings = config_parts.Sampler
    return [Part(name, _about(s), _settings(settings, name)) for name, s in SAMPLERS.items()]


def evolvers() -> list[Part]:
    """Return the ways to evolve prompts."""
    from eva.creator.operators import operator_set

    asking = get_args(config_parts.InstructEvolver.model_fields["name"].annotation)
    asked = {
        name: f"A language model rewrites: {', '.join(op.name for op in operator_set(name))}."
        for name in asking
    }
    return [
        part._replace(about=asked.get(part.name, part.about))
        for part in _sections(config_parts.Evolver)
    ]


def operators() -> list[Part]:
    """Return the operators of the rules, and those of a rewriting model."""
    from eva.creator import levels
    from eva.creator.operators import builtin_operators
    from eva.creator.rules import OPERATORS

    rules = [Part(name, _about(function), "rules") for name, function in OPERATORS.items()]
    rewriting = [
        Part(operator.name, _asked(operator.template), f"rewriting, {operator.family}")
        for operator in builtin_operators()
    ]
    steps = [
        Part(name, f"A puzzle, its level moved by {step}", "levels")
        for name, step in levels.OPERATORS.items()
    ]
    return [*rules, *rewriting, *steps]


def constraints() -> list[Part]:
    """Return the kinds of verifiable constraints, each by one of its phrasings."""
    from eva.constraints import HELD_OUT, IF_NAMED, KINDS

    notes = dict.fromkeys(HELD_OUT, "held out by default") | dict.fromkeys(IF_NAMED, "if named")
    return [
        Part(
            name,
            kind.phrasings[0].template.replace("{s}", "s"),
            f"levels 1 to {len(kind.levels)}" if len(kind.levels) > 1 else "level 1",
            notes.get(name, ""),
        )
        for name, kind in KINDS.items()
    ]


def gates() -> list[Part]:
    """Return the gates."""
    from eva.creator.gates.duplicate import Duplicate
    from eva.creator.gates.eval_overlap import EvalOverlap
    from eva.creator.gates.length_band import LengthBand
    from eva.creator.gates.meta_text import MetaText

    made = (MetaText(), LengthBand(), Duplicate(), EvalOverlap(()))
    settings = config_parts.Gate
    return [Part(gate.name, _about(type(gate)), _settings(settings, gate.name)) for gate in made]


# ── solver ────────────────────────────────────────────────────────────────────────────────────


def games() -> list[Part]:
    """Return the schedules of the game."""
    from eva import offline, online

    return [Part("offline", _about(offline)), Part("online", _about(online))]


def draws() -> list[Part]:
    """Return the ways to draw from the buffer of online eva."""
    from eva.creator.buffer import DRAWS

    return [Part(name, _about(function)) for name, function in DRAWS.items()]


def objectives() -> list[Part]:
    """Return the solver's losses: on pairs of a round, and those that train step by step."""
    from eva.solver.advantages import ADVANTAGES
    from eva.solver.objectives import OBJECTIVES
    from eva.solver.online import ALGORITHMS

    offline = [
        Part(name, _about(o.function), _listed(o.defaults)) for name, o in OBJECTIVES.items()
    ]
    gradients = [
        Part(
            name,
            _about(ADVANTAGES[settings["estimator"]]),
            _listed({key: value for key, value in settings.items() if key != "estimator"}),
            "online",
        )
        for name, settings in ALGORITHMS.items()
    ]
    oaif = Part("oaif", _about(Oaif), _settings(Oaif, "oaif"), "online")
    return [*offline, *gradients, oaif]


def rewards() -> list[Part]:
    """Return the rewards."""
    return list(_sections(config_rewards.Reward))


def optimisers() -> list[Part]:
    """Return the optimisers."""
    import torch

    from eva.engines.optimiser import OPTIMISERS, OptimiserSettings

    made = {
        name: make([torch.zeros(1)], OptimiserSettings(name)) for name, make in OPTIMISERS.items()
    }
    return [Part(name, f"torch.optim.{type(one).__name__}") for name, one in made.items()]


def schedules() -> list[Part]:
    """Return the learning-rate schedules, by what is left of the peak."""
    from eva.solver.schedules import SCHEDULES

    left = {
        name: [f"{share(done):.2f}" for done in (0, 0.5, 1)] for name, share in SCHEDULES.items()
    }
    said = "{} of the peak at the start, {} half-way, {} at the end".format
    return [Part(name, said(*shares)) for name, shares in left.items()]


# ── what is packaged ──────────────────────────────────────────────────────────────────────────


def models() -> list[Part]:
    """Return the packaged models."""
    return _packaged("model", "encoder")


def data() -> list[Part]:
    """Return the packaged data sets."""
    return _packaged("prompts", "preferences")


def _packaged(*roles: str) -> list[Part]:
    from eva.data.assets import PREFIX, cached, catalogue

    return [
        Part(
            f"{PREFIX}{name}",
            asset.about,
            f"{asset.role}, {'on disk' if cached(asset) else f'{_size(asset)} to fetch'}",
        )
        for name, asset in catalogue().items()
        if asset.role in roles
    ]


def _size(asset: Any) -> str:
    return f"{asset.archive.bytes / 1e6:.0f} MB"


KINDS: Mapping[str, tuple[str, Callable[[], list[Part]]]] = {
    "games": ("schedule", games),
    "metrics": ("creator.informativeness", metrics),
    "samplers": ("creator.sampler", samplers),
    "evolvers": ("creator.evolver", evolvers),
    "operators": ("creator.evolver.operators", operators),
    "constraints": ("prompts.constraints", constraints),
    "gates": ("creator.gates", gates),
    "draws": ("online.draw", draws),
    "rewards": ("reward", rewards),
    "objectives": ("solver.objective", objectives),
    "optimisers": ("solver.optimiser", optimisers),
    "schedules": ("solver.schedule", schedules),
    "models": ("policy.model", models),
    "data": ("prompts.source", data),
}
"""By kind: the key of the config that takes it, and its parts."""


# ── words ─────────────────────────────────────────────────────────────────────────────────────


def described(key: str) -> str:
    """Return what the config's own documentation says of a key, or nothing.

    >>> described("policy.model")
    'A hub id, a local folder, `packaged:NAME`, or `random:tiny`.'
    """
    model: Any = Config
    description = ""
    for part in key.split("."):
        fields = getattr(model, "model_fields", {})
        if part not in fields:
            return ""
        description = fields[part].description or ""
        model = fields[part].annotation
    return " ".join(description.split())


def _about(part: Any) -> str:
    """Return the first sentence of a docstring, without `Return` and shapes."""
    first = (inspect.getdoc(part) or "").partition("\n")[0]
    shapes = r",? \((?:P, G|P,)\)(?: -> \([Pk],\))?"
    first = re.sub(shapes, "", first.removeprefix("Return "))
    return first[:1].upper() + first[1:] if first[1:2].isalpha() else first


def _asked(template: str) -> str:
    """Return what a template asks for: the first line from its colon on."""
    first = template.strip().partition("\n")[0]
    said = first.partition(": ")[2] or first
    return said[:1].upper() + said[1:]


def _sections(union: Any) -> Iterator[Part]:
    """Yield the parts of a union of config sections, each by its names."""
    for section in get_args(get_args(union)[0]):
        for name in get_args(section.model_fields["name"].annotation):
            yield Part(name, _about(section), _settings(section, name))


def _settings(section: type[BaseModel], name: str) -> str:
    """Return the settings of a part; where several share a section, those that name it."""
    fields = {key: field for key, field in section.model_fields.items() if key != "name"}
    names = get_args(section.model_fields["name"].annotation)
    docs = {key: field.description or "" for key, field in fields.items()}
    if any(f"`{other}`" in doc for other in names for doc in docs.values()):
        fields = {key: field for key, field in fields.items() if f"`{name}`" in docs[key]}
    required = [f"{key} = ..." for key, field in fields.items() if field.is_required()]
    optional = {key: field.default for key, field in fields.items() if not field.is_required()}
    return ", ".join(filter(None, [*required, _listed(optional)]))


def _listed(settings: Mapping[str, Json]) -> str:
    return ", ".join(
        f"{key} not set" if value is None else f"{key} = {toml.inline(value)}"
        for key, value in settings.items()
    )


def _also(aliases: list[str]) -> str:
    return f"also {', '.join(aliases)}" if aliases else ""
