"""Writes the pages that are made from code: `python docs/make_pages.py`.

configuration.md is made from the fields of the config, metrics.md from the table of metrics. A test
compares the pages with the code, so run this after a change of either.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from eva.app import presets
from eva.app.config import Config
from eva.app.config_rewards import Combined
from eva.runs import metrics
from eva.types import Json

FOLDER = Path(__file__).parent

CONFIGURATION = """\
# Configuration

A game is a TOML file: `eva new NAME` writes one to start from, `eva check FILE` finds every fault
and says what the game will cost, `eva run FILE` plays it. From Python, the same tree as plain data:

```python
from eva.app.load import parse_config

config = parse_config(
    {
        "policy": {"model": "random:tiny"},
        "prompts": {"source": "prompts.jsonl"},
        "reward": {"name": "python", "function": "my_reward.py:reward"},
        "solver": {"objective": "dpo"},
    }
)
print(config.answers.n)  # 6
```

- On the command line, `key.path=value` overrides: `eva run game.toml rounds=3 run.threads=4`.
- `schedule = "online"` plays [online.md](online.md). It takes the keys of `[online]`, and has
  defaults of its own, which the tables below do not show:
{ONLINE}
- `preset = "paper"` lays the published choices under the file's keys ([offline.md](offline.md)).
- A table with a `name` is a part that is picked by it; its other keys are the part's settings.
- `objective = "dpo"` is short for `objective = { name = "dpo" }`.
- A path that exists beside the config file is taken from there, else from where the command runs;
  it is kept as an absolute one, so that `eva resume` works from anywhere.
- Unknown keys and names are refused, with the nearest right one; all faults come in one message.

What follows is made from the code by `docs/make_pages.py`.
"""

METRICS = """\
# Metrics

What a run logs, to `metrics.jsonl` in its folder (a line per record: round, stage, step, time, and
the metrics) and to the trackers that `run.trackers` names. A name in braces stands for any name.
A share is between 0 and 1.

Offline, `creator/...` is logged once per round, from round 2 on. Of `solver/...`, loss, margin,
accuracy, implicit rewards, log-probs, gradient norm, learning rate and tokens are logged at every
update, the others once per round. With a token budget `counts/...` are of the set that was chosen,
however much of it was played: see `tokens/...`.

Online, `creator/...` and `solver/...` are logged at every step, figures of training as means over
the step's updates; those of the answers, with `steps`, `counts/...` and `tokens/...`, once more
per round. `counts/...` are of different prompts, of which one may be in several steps. A step in
which nothing was evolved, or nothing trained on, lacks the means of what was not there.

"""

EVALUATION = """
Evaluations log `heldout/...` and `ifeval/...`; their table is in
[evaluation.md](evaluation.md#metrics).

How to read them:

- `creator/info_mean` falls while `solver/reward_mean` rises: the prompts are being mastered.
  `creator/info_drawn_mean` above it is what sampling gains over drawing blindly.
- `solver/without_contrast` near 1: all answers to a prompt have the same reward. There is nothing
  to learn from; take harder or easier prompts, a higher temperature, or a finer reward.
- `creator/info_error_mean` as large as `creator/info_mean`: the draw is mostly luck; raise
  `answers.n`.
- `creator/info_carried` near 0 over a hundred prompts or more: what a prompt is kept for says
  nothing about what it is worth when it is drawn, and the buffer draws by lot. Take the metric and
  the number of answers that `eva probe` names, or a smaller buffer.
- `creator/disagreement_correlation` far above 0: prompts are drawn because the members of the
  ensemble disagree on them; `creator.noise_corrected` takes that out.
- `creator/acceptance` low: look at `creator/refusals/...` for the gate, and at the reasons with
  `eva show RUN --refusals`.
- `solver/truncated` high: answers do not end within `answers.max_tokens`; one that is cut off is
  never the chosen one.
- `solver/length_chosen` above `solver/length_rejected` in every round: the reward likes length.
- `solver/logp_chosen` falling with `solver/logp_rejected` is usual for DPO; far below where it
  began, the policy is leaving what it knew: lower the learning rate or raise `beta`.
- `solver/unscored/...`: answers that the reward failed on, by cause; they are in no mean.
- Online, `solver/skipped` near `online.batch`: most prompts of a step teach nothing. `refills`
  draws others for them, at the cost of their answers.
- `creator/recycled` above 0: the buffer could not fill the batch, so gates refuse too much, or too
  few children are written.
- `creator/buffer_age` is how many steps ago the buffer's prompts were written: a smaller buffer, or
  `online.staleness`, follows the policy more closely.
- `solver/sampler_kl_k3` far above 0: the sampler is not the trainer; `correction` weighs for it.
- `solver/kl` rising without end: the policy is leaving the first one; raise `kl`.
"""

MEANINGS = {
    "seed": "Seed of every random draw.",
    "rounds": "Rounds to play. Offline, the first is on human prompts, the later on evolved ones.",
    "policy.lora.rank": "Rank of the adapter.",
    "policy.gradient_checkpointing": "Compute activations again: less memory, a third slower.",
    "answers.temperature": "Temperature of sampling. Paper: 0.7.",
    "answers.top_p": "Share of the probability that is sampled from. Paper: 0.9.",
    "answers.max_tokens": "Longest answer. Paper: 2048.",
    "reward.model": "A sentence encoder.",
    "reward.parts": "Rewards, each with its own settings, as in `[reward]`.",
    "reward.weights": "One weight per part.",
    "creator.evolver.temperature": "Temperature of the rewriter.",
    "creator.evolver.top_p": "Share of the probability that rewrites are sampled from.",
    "creator.evolver.max_tokens": "Longest rewrite; one that is cut off is refused.",
    "creator.evolver.operators": "The rule operators to choose from, all equally likely.",
    "creator.operators.name": "Its name in lineages, and in an evolver's `operators`.",
    "creator.operators.family": "`depth` makes the same request harder, `breadth` asks another.",
    "solver.objective.beta": "β of the loss (docs/solver.md).",
    "solver.objective.gamma": "γ: the margin that is aimed at.",
    "solver.objective.alpha": "Weight of the log-likelihood.",
    "solver.objective.reduction": "Whether log-ratios are summed or averaged over tokens.",
    "solver.rewrite.temperature": "Temperature of the rewrites.",
    "solver.rewrite.top_p": "Share of the probability that they are sampled from.",
    "solver.rewrite.max_tokens": "Longest rewrite.",
    "solver.optimiser": "Paper: adamw; rmsprop for SPPO.",
    "solver.weight_decay": "Decoupled, and of matrices alone.",
    "solver.learning_rate": "Peak of the learning rate.",
    "solver.schedule": "How the learning rate falls after the warm-up.",
    "solver.epochs": "Passes over a round's pairs.",
    "evaluation.max_tokens": "Longest answer to a held-out prompt.",
    "evaluation.heldout.counts": "Numbers of constraints that are measured.",
    "evaluation.ifeval.source": "Where its prompts come from.",
    "evaluation.ifeval.prompts": "64 that are the same everywhere, or all 541.",
    "evaluation.ifeval.max_tokens": "Longest answer. Published figures: 1280.",
    "run.trackers": "Where metrics go besides `metrics.jsonl`.",
    "run.strategy": "`fsdp2` shards weights, gradients and moments; `ddp` copies them.",
}
"""What a key means, where its field in the code doesn't say so, for a person who looks it up."""


def pages() -> dict[str, str]:
    """Return the pages by name."""
    defaults = "\n".join(f"  - {said}" for said in _set(presets.ONLINE))
    head = CONFIGURATION.replace("{ONLINE}", defaults)
    configuration = "\n".join([head, *_section(Config, ())]).rstrip() + "\n"
    return {
        "configuration.md": configuration,
        "metrics.md": METRICS + metrics.markdown() + EVALUATION,
    }


def _set(table: Mapping[str, Json], path: str = "") -> Iterator[str]:
    """Yield what nested tables set, as `key.path = value`."""
    for key, value in table.items():
        if isinstance(value, dict) and "name" not in value:
            yield from _set(value, f"{path}{key}.")
        else:
            said = value["name"] if isinstance(value, dict) else value
            yield f"`{path}{key} = {json.dumps(said)}`"


def _section(model: type[BaseModel], path: tuple[str, ...]) -> Iterator[str]:
    """Yield a table of the model's keys, then the sections below it, depth first."""
    yield from _table(model, path)
    yield from _sections_below([model], path)


def _table(model: type[BaseModel], path: tuple[str, ...]) -> Iterator[str]:
    keys = _keys(model)
    if keys:
        yield "| key | type | default | meaning |"
        yield "|---|---|---|---|"
        yield from (_row((*path, name), field) for name, field in keys.items())
        yield ""


def _keys(model: type[BaseModel]) -> dict[str, FieldInfo]:
    return {name: field for name, field in model.model_fields.items() if not _is_tag(name, field)}


def _sections_below(models: list[type[BaseModel]], path: tuple[str, ...]) -> Iterator[str]:
    """Yield the sections below some models, each once: parts may share a section, as `server`."""
    fields: dict[str, FieldInfo] = {}
    for model in models:
        fields = _keys(model) | fields
    for name, field in fields.items():
        yield from _below((*path, name), field)


def _below(path: tuple[str, ...], field: FieldInfo) -> Iterator[str]:
    models = list(_models(field.annotation))
    if not models or is_nested(path, models):
        return
    many = get_origin(field.annotation) is tuple
    name = ".".join(path)
    yield f"## `[[{name}]]`\n" if many else f"## `[{name}]`\n"
    for model in models:
        tags = _tags(model)
        if tags and len(models) > 1:
            yield f"### {', '.join(f'`{tag}`' for tag in tags)}\n"
        elif tags:
            yield f"`name` is one of {', '.join(f'`{tag}`' for tag in tags)}.\n"
        yield f"{_about(model)}\n"
        yield from _table(model, path)
    yield from _sections_below(models, path)


def is_nested(path: tuple[str, ...], models: list[type[BaseModel]]) -> bool:
    """Whether a key takes rewards within a reward: they have the sections of [reward]."""
    return len(path) > 1 and Combined in models


def _row(path: tuple[str, ...], field: FieldInfo) -> str:
    name = ".".join(path)
    meaning = field.description or MEANINGS.get(name) or _pointer(path, field)
    cells = (f"`{path[-1]}`", _type(field), _default(field), " ".join(meaning.split()))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _pointer(path: tuple[str, ...], field: FieldInfo) -> str:
    models = list(_models(field.annotation))
    if len(models) == 1:
        return _about(models[0])
    return "See below." if models else ""


def _type(field: FieldInfo) -> str:
    limits = [_limit(item) for item in field.metadata]
    said = ", ".join([_spelt(field.annotation), *filter(None, limits)])
    return said if not field.discriminator else "table"


def _spelt(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return ", ".join([_spelt(arguments[0]), *_limits(arguments[1:])])
    if origin is Literal:
        return ", ".join(f"`{json.dumps(value)}`" for value in arguments)
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(_spelt(a) for a in arguments if a is not NoneType))
    if origin is tuple:
        return f"list of {_spelt(arguments[0])}"
    if origin is dict:
        return "table"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "table"
    return {bool: "true or false", int: "integer", float: "number", str: "text"}[annotation]


def _limits(metadata: tuple[Any, ...]) -> list[str]:
    flat = [inner for item in metadata for inner in getattr(item, "metadata", [item])]
    return [limit for item in flat if (limit := _limit(item))]


def _limit(item: Any) -> str:
    for kind, sign, value in ((Gt, ">", "gt"), (Ge, "≥", "ge"), (Lt, "<", "lt"), (Le, "≤", "le")):
        if isinstance(item, kind):
            return f"{sign} {getattr(item, value)}"
    return ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    value = field.get_default(call_default_factory=True)
    if value is None:
        return "not set"
    if isinstance(value, BaseModel):
        name = getattr(value, "name", "")
        return f"`{name}`" if name else "see below"
    if isinstance(value, tuple):
        value = [getattr(item, "name", item) for item in value]
    return f"`{json.dumps(value)}`"


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


def _is_tag(name: str, field: FieldInfo) -> bool:
    return name == "name" and get_origin(field.annotation) is Literal and not field.description


def _tags(model: type[BaseModel]) -> tuple[str, ...]:
    field = model.model_fields.get("name")
    return get_args(field.annotation) if field is not None and _is_tag("name", field) else ()


def _about(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").split("\n")[0]


if __name__ == "__main__":
    for name, page in pages().items():
        (FOLDER / name).write_text(page, encoding="utf-8")
