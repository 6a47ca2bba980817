"""Every prompt ever, what became of it, and which work is done: one SQLite database.

A transaction is the commit point of a unit of work: with its row in `commits`, the prompts,
scores, refusals and metrics that it brought are in; without it, none of them.
"""

from __future__ import annotations

import json
import os
import sqlite3
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, astuple, fields
from pathlib import Path
from typing import Any

from eva.errors import RunError
from eva.runs import tables
from eva.runs.durable import is_full
from eva.runs.tables import Commit, Logged
from eva.types import Evolution, Json, Prompt, ScoredGroup, Stage, Step

_REMEDY = (
    "put back a copy of it, or start a new run from the newest rounds/*/policy; "
    "the rounds' Parquet files can be read without it"
)


class Population:
    """The database of a run; without a path it lives in memory."""

    def __init__(self, path: Path | None = None, *, readonly: bool = False) -> None:
        self._name = str(path or "the population")
        with self._explained():
            # `timeout` waits while another process reads or commits; a database in memory may be
            # closed by whichever thread collects it.
            self._db = sqlite3.connect(
                _address(path, readonly),
                uri=True,
                isolation_level=None,
                timeout=60,
                check_same_thread=False,
            )
            self._db.row_factory = sqlite3.Row
            if path is None:
                # Nobody is there to close it: it goes with the journal that holds it.
                weakref.finalize(self, self._db.close)
            if readonly:
                self._db.execute("PRAGMA query_only = ON")
                return
            # The rollback journal and not WAL: it works on network file systems, and there is one
            # file to copy. EXTRA syncs the folder too, where a transaction ends by a removal.
            self._db.execute("PRAGMA synchronous = EXTRA")

    def create(self) -> None:
        """Make the tables of an empty database."""
        with self.transaction():
            for table, columns in tables.TABLES.items():
                self._db.execute(f"CREATE TABLE IF NOT EXISTS {table} ({columns})")
            for number, index in enumerate(tables.INDEXES):
                self._db.execute(f"CREATE INDEX IF NOT EXISTS by_{number} ON {index}")
            self._db.execute(f"PRAGMA user_version = {tables.VERSION}")

    def check(self) -> None:
        """Check that the database is whole, and of a version that can be read.

        Raises:
            RunError: it is not.
        """
        fault = self._query("PRAGMA quick_check(1)")[0][0]
        version = self._query("PRAGMA user_version")[0][0]
        if fault == "ok" and version == 0:
            fault = "it has no tables"
        if fault != "ok":
            raise RunError(f"{self._name} is damaged: {fault}; {_REMEDY}")
        if version > tables.VERSION:
            raise RunError(
                f"{self._name} has format {version}, expected at most {tables.VERSION}: update eva"
            )

    def close(self) -> None:
        """Close the database; what was not committed is gone."""
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what the block writes as a whole, or nothing of it."""
        with self._explained():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            finally:
                # A full disk may have ended the transaction already.
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")

    def add_prompts(self, prompts: Iterable[Prompt]) -> None:
        """Add prompts in order; those already there are left as they are."""
        for prompt in prompts:
            self._insert("prompts", tables.prompt_row(prompt), known="IGNORE")

    def add_rows(self, stage: Stage, rows: Sequence[object]) -> None:
        """Add what a chunk's rows say of prompts: scores, or children and refusals."""
        where = {"round": stage.round, "stage": stage.name}
        for row in rows:
            if isinstance(row, ScoredGroup):
                self._insert("scores", tables.score_row(row) | where)
            elif isinstance(row, Evolution):
                self.add_prompts(row.children)
                for refusal in row.refusals:
                    self._insert("refusals", asdict(refusal) | {"stage": stage.name})
            elif isinstance(row, Step):
                self.add_rows(stage, [*row.scored, *row.evolutions])
                ids = [group.prompt.id for group in row.scored]
                estimates = {"ids": ids, "values": row.info, "errors": row.errors}
                self.add_informativeness(stage.round, estimates | {"drawn": row.seeds})

    def add_informativeness(self, round: int, estimates: Mapping[str, Sequence[Any]]) -> None:
        """Add a round's estimates: `ids`, `values`, `errors`, (P,); `drawn`, indices in order."""
        order = {index: place for place, index in enumerate(estimates["drawn"])}
        columns = (estimates["ids"], estimates["values"], estimates["errors"])
        for index, (name, value, error) in enumerate(zip(*columns, strict=True)):
            row = {"prompt_id": name, "value": value, "error": error, "drawn": order.get(index)}
            self._insert("informativeness", row | {"round": round})

    def add_set_aside(self, source: str, rows: Iterable[tuple[str, str]]) -> None:
        """Add places of a data set that hold no prompt, and why; known ones stay as they are."""
        for place, reason in rows:
            row = {"source": source, "place": place, "reason": reason}
            self._insert("set_aside", row, known="IGNORE")

    def add_commit(self, commit: Commit, metrics: Iterable[Logged], *, time: float) -> int:
        """Say that a unit of work is done, with the metrics it brought; return its number."""
        for row in metrics:
            self._insert("metrics", {field.name: getattr(row, field.name) for field in fields(row)})
        return self._insert("commits", asdict(commit) | {"time": time})

    def drop_commits(self, commits: Iterable[Commit]) -> None:
        """Forget checkpoints that retention removes."""
        for commit in commits:
            self._db.execute(
                "DELETE FROM commits WHERE round = ? AND stage = ? AND kind = ? AND part = ?",
                astuple(commit)[:4],
            )

    def retire_policies(self, before: int) -> None:
        """Note that the policies of the rounds before a round are no longer kept."""
        self._db.execute(
            "UPDATE commits SET result = 'null' WHERE kind = 'policy' AND round < ?", (before,)
        )

    def position(self) -> dict[str, int]:
        """Return how far each table has grown, for `rewind`."""
        sql = "SELECT coalesce(max(rowid), 0) FROM {}"
        return {table: int(self._query(sql.format(table))[0][0]) for table in tables.TABLES}

    def rewind(self, position: Mapping[str, int]) -> None:
        """Take back every row that came after a position, in the transaction that is open."""
        for table, last in position.items():
            self._db.execute(f"DELETE FROM {table} WHERE rowid > ?", (last,))

    def prompts(self, ids: Sequence[str] | None = None) -> list[Prompt]:
        """Return prompts by id, or all in order of entry.

        Raises:
            RunError: there is no prompt of such an id.
        """
        if ids is None:
            return self._prompts("SELECT * FROM prompts ORDER BY entry")
        found = self._prompts(
            "SELECT prompts.* FROM json_each(?) AS wanted"
            " JOIN prompts ON prompts.id = wanted.value ORDER BY wanted.key",
            json.dumps(list(ids)),
        )
        missing = set(ids) - {prompt.id for prompt in found}
        if missing:
            raise RunError(f"{self._name} has no prompt {min(missing)} ({len(missing)} missing)")
        return found

    def children(self, parent_id: str) -> list[Prompt]:
        """Return the prompts made from a prompt, in order of entry."""
        return self._prompts(
            "SELECT prompts.* FROM prompts, json_each(prompts.parents) AS parent"
            " WHERE parent.value = ? ORDER BY entry",
            parent_id,
        )

    def table(self, name: str, **equal: str | int) -> list[dict[str, Json]]:
        """Return a table's rows in order of entry, those whose columns equal what is given."""
        where = " AND ".join(f"{column} = ?" for column in equal) or "1"
        sql = f"SELECT * FROM {name} WHERE {where} ORDER BY rowid"
        return [tables.loaded(dict(row)) for row in self._query(sql, *equal.values())]

    def commits(self, stage: Stage, *kinds: str) -> list[Commit]:
        """Return the commits of a stage, of the given kinds, in order of their parts."""
        rows = self.table("commits", round=stage.round, stage=stage.name)
        names = [field.name for field in fields(Commit)]
        found = [Commit(**{n: row[n] for n in names}) for row in rows if row["kind"] in kinds]
        return sorted(found, key=lambda commit: commit.part)

    def metrics(self) -> list[Logged]:
        """Return all metrics, in order."""
        names = [field.name for field in fields(Logged)]
        return [Logged(**{n: row[n] for n in names}) for row in self.table("metrics")]

    def last(self) -> str:
        """Name the last good state, for messages."""
        rows = self._query("SELECT * FROM commits ORDER BY seq DESC LIMIT 1")
        if not rows:
            return "the beginning of the run"
        return "round {round}, {stage}, {kind} {part}".format(**dict(rows[0]))

    def steps_before(self, round: int) -> int:
        """Return how many optimiser steps the rounds before a round took."""
        sql = (
            "SELECT coalesce(sum(steps), 0) FROM"
            " (SELECT max(step) AS steps FROM metrics WHERE round < ? GROUP BY round)"
        )
        return int(self._query(sql, round)[0][0])

    def _prompts(self, sql: str, *values: Json) -> list[Prompt]:
        return [tables.build_prompt(tables.loaded(dict(row))) for row in self._query(sql, *values)]

    def _insert(self, table: str, row: Mapping[str, Json], *, known: str = "ABORT") -> int:
        columns = ", ".join(row)
        marks = ", ".join("?" * len(row))
        sql = f"INSERT OR {known} INTO {table} ({columns}) VALUES ({marks})"
        return self._db.execute(sql, tuple(tables.stored(row).values())).lastrowid or 0

    def _query(self, sql: str, *values: Json) -> list[sqlite3.Row]:
        with self._explained():
            return self._db.execute(sql, values).fetchall()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            if is_full(error):
                raise
            raise RunError(f"{self._name} cannot be used: {error}; {_REMEDY}") from error


def _address(path: Path | None, readonly: bool) -> str:
    if path is None:
        return "file::memory:"
    writable = os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)
    # A reader, too, opens for writing where it may: it has to roll back what a kill left half done.
    mode = "rw" if writable or not readonly else "ro"
    return f"{path.absolute().as_uri()}?mode={mode}"
