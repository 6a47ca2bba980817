"""Reading one cell of a data set as the turns of a chat.

The good forms: text; a list of `{"role", "content"}`; a list of `{"from", "value"}`; one such turn.
"""

from __future__ import annotations

from typing import cast

from eva.data.rows import type_name
from eva.types import Json, Message, Role

ROLES = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
}
"""Roles as data sets write them, and as eva does."""


class BadCell(Exception):  # noqa: N818  it is caught where a row is set aside, never shown
    """A cell that cannot be read; says why."""

    def __init__(self, reason: str, *, wrong_type: bool = False) -> None:
        super().__init__(reason)
        self.wrong_type = wrong_type
        """Whether it is of a type that no row should have, rather than a poor value."""


def text(value: Json) -> str:
    """Return a cell that must be a text with something in it.

    Raises:
        BadCell: it is not.
    """
    if not isinstance(value, str):
        raise BadCell(f"got {type_name(value)}, expected text", wrong_type=value is not None)
    if not value.strip():
        raise BadCell("empty")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise BadCell("half a surrogate pair: not a character of Unicode")
    return value


def turns(value: Json) -> tuple[Message, ...]:
    """Return the turns in a cell; a text is one user turn.

    Raises:
        BadCell: it is neither text nor turns, or one of them is not right.
    """
    if value is None or isinstance(value, str):
        return (Message("user", text(value)),)
    if isinstance(value, dict):
        return (_turn(value),)
    if not isinstance(value, list):
        got = type_name(value)
        raise BadCell(f"got {got}, expected text or chat messages", wrong_type=True)
    if not value:
        raise BadCell("no turns")
    return tuple(map(_turn, value))


def prompt_turns(value: Json) -> tuple[Message, ...]:
    """Return the turns up to the last of a user; later ones are dropped unread.

    An empty system turn says nothing and is left out.

    Raises:
        BadCell: there is no user turn, or one of those that are kept is not right.
    """
    if isinstance(value, list):
        parts = [_parts(item) for item in value]
        users = [i for i, (role, _) in enumerate(parts) if ROLES.get(str(role)) == "user"]
        if not users:
            raise BadCell("no user turn")
        kept = parts[: users[-1] + 1]
        value = [
            {"role": role, "content": said}
            for role, said in kept
            if not (role == "system" and said in ("", None))
        ]
    messages = turns(value)
    if messages[-1].role != "user":
        raise BadCell("no user turn")
    return messages


def _turn(item: Json) -> Message:
    role, content = _parts(item)
    if not isinstance(role, str) or role not in ROLES:
        raise BadCell(f"role {role!r}: expected one of {', '.join(ROLES)}")
    return Message(cast(Role, ROLES[role]), text(content))


def _parts(item: Json) -> tuple[Json, Json]:
    """Return role and content of a turn in either form, unchecked."""
    if not isinstance(item, dict):
        got = type_name(item)
        raise BadCell(f"a turn is {got}, expected an object with role and content", wrong_type=True)
    for role, content in (("role", "content"), ("from", "value")):
        if role in item and content in item:
            return item[role], item[content]
    raise BadCell(
        f"a turn has {', '.join(item) or 'nothing'}, expected role and content", wrong_type=True
    )
