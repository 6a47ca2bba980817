"""eva: the prompt set of RL post-training evolves with the policy (arXiv:2411.00062).

    import eva

    config = eva.load_config("game.toml")
    folder = eva.run(config, "runs/game")

`eva.offline.rounds` plays a game made of parts of your own; `eva.protocols` says what a part is.
"""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"
__all__ = ["load_config", "parse_config", "resume", "run"]

_HOMES = {
    "load_config": "eva.app.load",
    "parse_config": "eva.app.load",
    "resume": "eva.app.play",
    "run": "eva.app.play",
}


def __getattr__(name: str) -> Any:
    # torch and pydantic are imported when a game is played, not when eva is
    if name not in _HOMES:
        raise AttributeError(f"module 'eva' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
