"""Presets: published choices, laid under a config's own keys.

`preset = "paper"` is offline eva of arXiv:2411.00062 (section 4, App. A) on gemma-2-9b-it. What the
paper leaves open, and what is done here:

- Which evolved prompts are dropped for the 80/20 mix: each seed gives as equal a number as can be,
  which ones is drawn at random.
- What the next round starts from: the solver's set of the round before, as in Algorithm 1.
- Ties: a group whose best and worst rewards are equal gives no pair.
- Zero weights: the least informative prompt has weight 0 and is drawn only once no other is left.
"""

from __future__ import annotations

from eva.types import Json

_OBJECTIVES: dict[str, dict[str, Json]] = {
    # App. A: learning rate, schedule, coefficients, epochs, batch size, optimiser
    "dpo": {
        "objective": {"beta": 0.05},
        "learning_rate": 5e-7,
        "schedule": "cosine",
        "epochs": 2,
        "batch_size": 8,
    },
    "orpo": {
        "objective": {"coefficient": 0.5},
        "learning_rate": 5e-7,
        "schedule": "cosine",
        "epochs": 1,
        "batch_size": 8,
    },
    "simpo": {
        "objective": {"beta": 10.0, "gamma": 5.0},
        "learning_rate": 8e-7,
        "schedule": "cosine",
        "epochs": 1,
        "batch_size": 32,
    },
    "sppo_hard": {
        "objective": {"beta": 0.001},
        "learning_rate": 5e-7,
        "schedule": "linear",
        "epochs": 6,
        "batch_size": 8,
        "optimiser": "rmsprop",
    },
}
_OBJECTIVES["sppo_soft"] = _OBJECTIVES["sppo_hard"]

_PAPER: dict[str, Json] = {
    "seed": 42,
    "rounds": 2,
    "prompts": {"per_round": 10_000},
    "answers": {"n": 6, "temperature": 0.7, "top_p": 0.9, "max_tokens": 2048},
    "creator": {
        "name": "eva",
        "informativeness": "a_min",
        "fraction": 0.25,
        "children": 4,
        "evolved_share": 0.8,
        "source": "last",
        "sampler": {"name": "weighted"},
        "evolver": {"name": "evol_instruct", "temperature": 0.88, "max_tokens": 666},
        # the paper filters nothing
        "gates": [],
    },
    "solver": {
        "pairs": {"name": "best_worst"},
        "reference": "auto",
        "start": "incremental",
        "warmup": 0.1,
        "optimiser": "adamw",
    },
}

ONLINE: dict[str, Json] = {
    # arXiv:2411.00062, sec. 3.3.2 and 4; what it leaves open (answers per prompt, temperature, the
    # rate) is RLOO's as trainers have it
    "answers": {"n": 4, "temperature": 1.0, "top_p": 1.0},
    "creator": {"informativeness": "a_avg", "children": 4, "sampler": {"name": "greedy"}},
    "solver": {"learning_rate": 1e-6, "schedule": "constant", "warmup": 0.0},
}
"""Defaults of the online schedule, where they are not those of the offline one."""


def paper_online() -> dict[str, Json]:
    """Return the published choices for online eva, beside its defaults: no gates."""
    evolver = _PAPER["creator"]["evolver"]
    published: dict[str, Json] = {"seed": 42, "creator": {"gates": [], "evolver": evolver}}
    laid: dict[str, Json] = under(ONLINE, published)
    return laid


def paper(objective: str) -> dict[str, Json]:
    """Return the published choices for an objective; those not in the paper get DPO's."""
    chosen = dict(_OBJECTIVES.get(objective, _OBJECTIVES["dpo"]))
    if objective not in _OBJECTIVES:
        chosen["objective"] = {}
    return _PAPER | {"solver": _PAPER["solver"] | chosen}


def under(preset: Json, own: Json) -> Json:
    """Lay a preset under a config's own keys: tables are merged, anything else is the config's.

    A table that names another part than the preset's replaces it whole.

    >>> under({"a": {"x": 1, "y": 2}}, {"a": {"y": 3}})
    {'a': {'x': 1, 'y': 3}}
    >>> under({"name": "weighted", "bins": 3}, {"name": "rank"})
    {'name': 'rank'}
    """
    if not isinstance(preset, dict) or not isinstance(own, dict):
        return own
    if "name" in own and "name" in preset and own["name"] != preset["name"]:
        return own
    merged = {key: under(preset[key], own[key]) if key in own else preset[key] for key in preset}
    return merged | {key: own[key] for key in own if key not in preset}
