"""From a config to a server that answers."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from pathlib import Path
from subprocess import Popen
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary, finalize

from eva.errors import ConfigError

if TYPE_CHECKING:
    from eva.app.config_servers import Serve, Server
    from eva.engines.local import LocalEngine
    from eva.engines.replies import Replies
    from eva.engines.served import ServedEngine
    from eva.engines.server import ServerGenerator
    from eva.types import Json

_opened: WeakValueDictionary[Path, Replies] = WeakValueDictionary()
_opening = threading.Lock()


def server_generator(
    section: Server, folder: Path | None, *, token_ids: bool = False
) -> ServerGenerator:
    """Return what answers through a server; all those of a run folder share its replies and costs.

    Without a folder replies are kept as long as it lives. With `token_ids` the server is asked for
    the ids of what it samples.

    Raises:
        ConfigError: the environment does not hold its key.
    """
    from eva.engines.replies import Replies
    from eva.engines.server import Endpoint, ServerGenerator

    settings = section.model_dump(exclude={"key_variable"})
    endpoint = Endpoint(**settings, key=key_of(section), token_ids=token_ids)
    return ServerGenerator(endpoint, Replies() if folder is None else _replies(folder))


def served_engine(engine: LocalEngine, section: Serve, folder: Path | None) -> ServedEngine:
    """Return the engine of a policy that answers through a server of its own.

    Without a run folder weights and log lie in a temporary one, which goes with the engine, or
    with this process if that is killed.
    """
    from eva.app.config_servers import Server
    from eva.engines.leftover import watch
    from eva.engines.served import ServedEngine, Serving

    asked = section.model_dump(include={"concurrency", "retries", "seconds"})
    place = Path(tempfile.mkdtemp(prefix="eva-")) if folder is None else folder

    def ask(url: str, model: str) -> ServerGenerator:
        # what is answered is committed with its chunk: nothing else need remember it
        section_ = Server(url=url, model=model, **asked)
        return server_generator(section_, None, token_ids=section.token_ids)

    serving = Serving(
        section.command,
        place / "served",
        ask,
        path=section.path,
        ready=section.ready,
        seconds=section.ready_seconds,
    )
    served = ServedEngine(engine, serving)
    if folder is None:
        finalize(served, _remove, place, watch(serving.folder, remove=place))
    return served


def _remove(place: Path, watcher: Popen[bytes]) -> None:
    from eva.engines.leftover import unwatch

    shutil.rmtree(place, ignore_errors=True)
    unwatch(watcher)


def key_of(section: Server) -> str:
    """Return a server's key, from the environment; empty where it needs none.

    Raises:
        ConfigError: the variable is not set, or holds what no key does.
    """
    name = section.key_variable
    if not name:
        return ""
    key = os.environ.get(name, "")
    if not key:
        raise ConfigError(
            f"server {section.url}: key_variable names {name}, which the environment does not "
            f"hold: export {name}=..., or leave key_variable empty if the server wants no key"
        )
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigError(
            f"server {section.url}: the variable {name} holds blanks, line breaks or characters "
            "that no key has: export it again"
        )
    return key


def server_totals(folder: Path | None) -> dict[str, Json]:
    """Return what a record says of the servers of a run so far: nothing where none was asked."""
    from eva.engines.replies import NAME

    if folder is None or not (folder / NAME).exists():
        return {}
    return {"server": _replies(folder).totals()}


def _replies(folder: Path) -> Replies:
    from eva.engines.replies import NAME, Replies

    path = (folder / NAME).absolute()
    with _opening:
        found = _opened.get(path)
        if found is None or found.lost:  # a folder may be removed, and another run begun there
            found = _opened[path] = Replies(path)
        return found
