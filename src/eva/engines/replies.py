"""What servers replied, kept by request: no request is made twice, and none paid twice.

Each reply is committed as it comes, so that a run that is killed and resumed sees the same ones.
A try is noted before it begins: one that nobody saw the end of may have been billed all the same.

What counts as spent is what the replies cost, and the most that tries could have cost that broke
off after they were sent.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from dataclasses import astuple
from functools import cached_property
from pathlib import Path

from eva.engines.completions import FaultError, Reply
from eva.errors import GenerationError, RunError
from eva.types import Json

NAME = "replies.sqlite"
"""Name of the file in a run folder."""

# A try under way has no fault yet, and the most that it can cost; one that gave a reply has the
# fault '', and costs nothing beside it.
_TABLES = """
CREATE TABLE IF NOT EXISTS replies (
    request TEXT PRIMARY KEY, text TEXT NOT NULL, finish TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL,
    prompt_ids TEXT NOT NULL, token_ids TEXT NOT NULL, cost REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tries (id INTEGER PRIMARY KEY, fault TEXT, cost REAL NOT NULL);
"""


class AbandonedError(Exception):
    """A request that was given up because another one of its call failed for good."""


class Replies:
    """The replies of a run, in a file of its folder or in memory; many threads may use it.

    The file is made when it is first needed.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._changed = threading.Condition(threading.RLock())
        self._asked: dict[str, Future[Reply]] = {}
        self._reserved: dict[int, float] = {}
        self._spent = 0.0

    @cached_property
    def _database(self) -> sqlite3.Connection:
        database = sqlite3.connect(self.path or ":memory:", check_same_thread=False)
        weakref.finalize(self, database.close)
        database.execute("PRAGMA journal_mode = WAL")
        database.executescript(_TABLES)
        with database:
            database.execute("UPDATE tries SET fault = 'killed' WHERE fault IS NULL")
        spent = "SELECT (SELECT total(cost) FROM replies) + (SELECT total(cost) FROM tries)"
        self._spent = database.execute(spent).fetchone()[0]
        return database

    @property
    def lost(self) -> bool:
        """Whether the file was there and is no more."""
        opened = "_database" in self.__dict__
        return opened and self.path is not None and not self.path.exists()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._changed:
            try:
                with self._database as database:
                    yield database
            except sqlite3.Error as error:
                raise RunError(
                    f"{self.path}: {error}; free some space, or put back a copy of the file"
                ) from error

    def fetch(self, key: str, ask: Callable[[], Reply]) -> Reply:
        """Return the reply to a request: the kept one, the one under way, or what `ask` gets.

        `ask` keeps what it gets, by `attempt`.
        """
        while True:
            with self._changed:
                kept = self._find(key)
                if kept is not None:
                    return kept
                under_way = self._asked.get(key)
                if under_way is None:
                    mine = self._asked[key] = Future()
                    break
            try:
                return under_way.result()
            except CancelledError:
                continue  # given up for reasons of another call
        try:
            reply = ask()
        except AbandonedError:
            mine.cancel()
            raise
        except BaseException as error:
            mine.set_exception(error)
            raise
        else:
            mine.set_result(reply)
            return reply
        finally:
            with self._changed:
                del self._asked[key]

    def attempt(
        self,
        key: str,
        send: Callable[[], Reply],
        *,
        price: Callable[[Reply], float],
        worst: float,
        cap: float,
        stop: threading.Event,
    ) -> Reply:
        """Return what `send` gets, kept and counted; a fault is counted and raised.

        Where `cap` leaves no room, but others under way may, it waits for them.

        Args:
            key: names the request.
            send: makes one try of it.
            price: returns the cost of a reply.
            worst: the most that the try can cost.
            cap: what may be spent in all; 0 sets no limit.
            stop: set where no try is to begin any more.

        Raises:
            AbandonedError: it was not to begin.
            GenerationError: there is no room for it.
        """
        try_ = self._begin(worst, cap, stop)
        try:
            reply = send()
        except BaseException as error:
            kind, billed = (
                (error.kind, error.billed) if isinstance(error, FaultError) else ("cut", True)
            )
            self._end(try_, kind, worst if billed else 0.0)
            raise
        self._end(try_, "", price(reply), kept=(key, reply))
        return reply

    def _end(
        self, try_: int, fault: str, cost: float, *, kept: tuple[str, Reply] | None = None
    ) -> None:
        try:
            with self._transaction() as database:
                if kept:
                    key, reply = kept
                    *told, prompt_ids, token_ids = astuple(reply)
                    row = (key, *told, json.dumps(prompt_ids), json.dumps(token_ids), cost)
                    database.execute("INSERT INTO replies VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
                end = (fault, 0.0 if kept else cost, try_)
                database.execute("UPDATE tries SET fault = ?, cost = ? WHERE id = ?", end)
                self._spent += cost
        finally:
            with self._changed:
                del self._reserved[try_]
                self._changed.notify_all()

    def _begin(self, worst: float, cap: float, stop: threading.Event) -> int:
        with self._transaction() as database:
            while cap and self._spent + sum(self._reserved.values()) + worst > cap:
                if not self._reserved:
                    raise GenerationError(
                        f"the server's max_cost of {cap:g} leaves no room for the next request: "
                        f"{self._spent:g} is spent, and it may cost {worst:g}. Raise max_cost, "
                        "or lower max_tokens, and run again: what was paid for is kept"
                    )
                self._changed.wait()
            if stop.is_set():
                raise AbandonedError
            made = database.execute("INSERT INTO tries (cost) VALUES (?)", (worst,))
            assert made.lastrowid is not None, "SQLite numbers its rows"
            self._reserved[made.lastrowid] = worst
            return made.lastrowid

    def _find(self, key: str) -> Reply | None:
        columns = "text, finish, prompt_tokens, completion_tokens, prompt_ids, token_ids"
        with self._transaction() as database:
            found = database.execute(f"SELECT {columns} FROM replies WHERE request = ?", (key,))
            row = found.fetchone()
        if row is None:
            return None
        text, finish, asked, answered, *ids = row
        return Reply(text, finish, asked, answered, *(tuple(json.loads(i)) for i in ids))

    def totals(self) -> dict[str, Json]:
        """Return requests, tries, tokens and cost over all sessions, and faults by kind."""
        sums = "count(*), total(prompt_tokens), total(completion_tokens), total(cost)"
        with self._transaction() as database:
            requests, prompt, completion, cost = database.execute(
                f"SELECT {sums} FROM replies"
            ).fetchone()
            tries, possible = database.execute(
                "SELECT count(*), total(cost) FROM tries WHERE fault IS NOT NULL"
            ).fetchone()
            faults = database.execute(
                "SELECT fault, count(*) FROM tries WHERE fault > '' GROUP BY fault ORDER BY fault"
            ).fetchall()
        return {
            "requests": requests,
            "tries": tries,
            "prompt_tokens": int(prompt),
            "completion_tokens": int(completion),
            "cost": cost,
            "possible_cost": possible,
            "faults": dict(faults),
        }
