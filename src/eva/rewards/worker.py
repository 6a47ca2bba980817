"""The process that a user's reward function runs in; `eva.rewards.process` starts it.

    python -m eva.rewards.worker FD

FD is a socket. One line of JSON comes in and one goes out at a time:

    {"spec": "module:function", "path": [...]}   ->   {"batch": true} or {"failed": "..."}
    {"items": [{"prompt": ..., ...}, ...]}       ->   {"values": [...]} or {"raised": "..."}

Only numbers leave it, whatever the function returns; what it prints goes elsewhere.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import inspect
import json
import os
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeAlias

from eva.errors import unknown_name

if TYPE_CHECKING:
    # Not at run time: the worker starts in a fraction of the time without NumPy.
    from eva.types import Json

Items: TypeAlias = "Sequence[Mapping[str, Json]]"


def main(fd: int) -> None:
    """Serve until the driver's end of the socket closes."""
    _end_with_driver()
    with socket.socket(fileno=fd) as link, link.makefile("rwb") as lines, asyncio.Runner() as loop:
        call = None
        for line in lines:
            request = json.loads(line)
            if call is None:
                call, reply = _prepared(request)
            else:
                reply = _answer(call, request["items"], loop)
            lines.write(json.dumps(reply).encode() + b"\n")
            lines.flush()


class Call:
    """A user's function and which of an item's fields it takes.

    Raises:
        TypeError: it takes neither `response` nor `completions`, or cannot be called.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        if not callable(function):
            raise TypeError(f"it is a {type(function).__name__}, not a function")
        parameters = inspect.signature(function).parameters
        self.function = function
        self.every = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        self.names = frozenset(parameters)
        self.batch = "completions" in parameters
        """Whether it takes the responses of a prompt at once, as TRL's reward functions do."""
        if not self.batch and "response" not in parameters and not self.every:
            raise TypeError(
                f"its parameters are {', '.join(parameters) or 'none'}; expected (prompt, response)"
                " or (prompts, completions), and names of columns or **columns"
            )

    def __call__(self, items: Items) -> Any:
        """Return the values of the items, or something to await for them."""
        if not self.batch:
            (item,) = items
            return self.function(**self._taken(item))
        columns = {name: [item.get(name) for item in items] for name in items[0]}
        columns["prompts"] = columns.pop("prompt")
        columns["completions"] = columns.pop("response")
        return self.function(**self._taken(columns))

    def _taken(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        return {k: v for k, v in fields.items() if self.every or k in self.names}


def load_function(spec: str) -> Any:
    """Return the object that `package.module:function` or `path/to/file.py:function` names.

    Raises:
        ValueError: the name has no colon.
        AttributeError: the module has no such function.
    """
    place, colon, name = spec.rpartition(":")
    if not colon or not place or not name:
        raise ValueError("expected package.module:function or path/to/file.py:function")
    module = _from_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    if not hasattr(module, name):
        known = [n for n, value in vars(module).items() if callable(value) and n[0] != "_"]
        raise AttributeError(unknown_name("function", name, known))
    return getattr(module, name)


def plain(value: Any) -> Json:
    """Return a function's value as JSON: None, a number, or a mapping of numbers with `reward`.

    NumPy's and torch's numbers count; text does not.

    Raises:
        TypeError: it is anything else.
    """
    if value is None:
        return None
    if isinstance(value, Mapping):
        if "reward" not in value:
            raise TypeError(f"returned a dict without 'reward': {sorted(map(str, value))}")
        return {str(name): plain(part) for name, part in value.items()}
    if isinstance(value, str | bytes) or not hasattr(value, "__float__"):
        raise TypeError(f"returned {value!r}; expected a number, None or a dict with 'reward'")
    return float(value)


def told(error: BaseException) -> str:
    """Return an error's kind and words, at most 1000 characters: some errors quote a whole answer.

    >>> told(ValueError("no number"))
    'ValueError: no number'
    """
    return f"{type(error).__name__}: {error}"[:1000]


def _end_with_driver() -> None:
    """End the process when standard input closes: the driver is gone, even if killed."""
    lifeline = os.dup(0)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)

    def watch() -> None:
        os.read(lifeline, 1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _prepared(request: Mapping[str, Json]) -> tuple[Call | None, Json]:
    sys.path += [entry for entry in request["path"] if entry not in sys.path]
    # Anyone's module: whatever its import does, up to ending the process, is told to the driver.
    try:
        call = Call(load_function(request["spec"]))
    except (Exception, SystemExit) as error:
        return None, {"failed": told(error)}
    return call, {"batch": call.batch}


def _answer(call: Call, items: Items, loop: asyncio.Runner) -> Json:
    try:
        value = call(items)
        if inspect.isawaitable(value):
            value = loop.run(_awaited(value))
        return {"values": [plain(one) for one in value] if call.batch else [plain(value)]}
    except (Exception, SystemExit) as error:
        return {"raised": told(error)}


async def _awaited(value: Any) -> Any:
    return await value


def _from_file(path: Path) -> ModuleType:
    # As for a script: modules beside the file can be imported.
    sys.path.insert(0, str(path.resolve().parent))
    name = f"eva_reward_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main(int(sys.argv[1]))
