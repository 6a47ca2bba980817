"""Pairs and evolved prompts of a run as tables, Parquet or JSONL by the name's ending."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from eva.data.prompts import as_row
from eva.errors import ConfigError, DataError, RunError
from eva.online import STEPS
from eva.rng import Streams
from eva.runs.durable import replace_bytes
from eva.runs.folder import RunFolder
from eva.solver.online import OaifLearner
from eva.solver.pairs import make_pairs
from eva.types import Example, Json, Prompt, ScoredGroup, Stage, Step
from eva.views.lineage import Lineage

Row: TypeAlias = Mapping[str, Json]

# ── pairs ─────────────────────────────────────────────────────────────────────────────────────


def pairs(folder: RunFolder, round: int | None = None) -> list[dict[str, Json]]:
    """Return the pairs that a round made, in TRL's conversational format, as rows.

    The texts are the sampled ones; TRL applies the chat template of the model that it trains.

    Raises:
        ConfigError: the round made no pairs, or is not done, or the run's objective has none.
        RunError: an answer that a pair names is not among the round's.
    """
    online = folder.config.get("schedule") == "online"
    stage = STEPS if online else "solver/new_pairs"
    if online:
        _refuse_without_pairs(folder)
    commits = folder.population.table("commits")
    made = sorted({row["round"] for row in commits if row["stage"] == stage})
    chosen = max(made, default=0) if round is None else round
    if chosen not in made:
        have = ", ".join(map(str, made)) or "none yet"
        asked = "no pairs" if round is None else f"no pairs of round {round}"
        raise ConfigError(f"{folder.path}: {asked}; it has those of rounds: {have}")
    journal = folder.journal()
    if online:
        steps = journal.read(Stage(chosen, stage), Step)
        groups = [group for step in steps for group in step.scored]
        examples = _pairs_of(folder, steps)
    else:
        groups = [
            group
            for scoring in _scoring(commits, chosen)
            for group in journal.read(Stage(chosen, scoring), ScoredGroup)
        ]
        examples = journal.read(Stage(chosen, stage), Example)
    answers = _answers(groups)
    known = {p.id: p for p in folder.population.prompts([*{e.prompt_id for e in examples}])}
    return [_pair(known[example.prompt_id], example, answers) for example in examples]


def _refuse_without_pairs(folder: RunFolder) -> None:
    objective = folder.config["solver"]["objective"]["name"]
    if objective != "oaif":
        raise ConfigError(
            f"{folder.path}: online, {objective!r} trains on every answer by itself, so there are "
            f"no pairs; answers, rewards and prompts of every step are the rows of "
            f"rounds/*/{STEPS}/*.parquet (docs/run-folder.md)"
        )


def _pairs_of(folder: RunFolder, steps: Sequence[Step]) -> list[Example]:
    """Make the pairs of steps again: they are drawn from streams that the step names."""
    from eva.app.build_online import learner
    from eva.app.load import parse_config

    game = parse_config(dict(folder.config), where=str(folder.path / "run.json"))
    made = learner(game)
    assert isinstance(made, OaifLearner), "other objectives are refused"
    return [
        example
        for step in steps
        for example in make_pairs(
            step.scored,
            settings=made.pairs,
            streams=Streams(made.updates.seed, step.number - 1, "online/pairs"),
        ).examples
    ]


Answers: TypeAlias = Mapping[tuple[str, tuple[int, ...]], str]


def _scoring(commits: Sequence[Row], round: int) -> list[str]:
    """Return the stages in which the solver's answers of a round were scored."""
    names = (row["stage"] for row in commits if row["round"] == round)
    return list(dict.fromkeys(n for n in names if n.startswith("solver/") and n.endswith("/score")))


def _answers(groups: Iterable[ScoredGroup]) -> Answers:
    """Return the text of every answer, by prompt id and token ids."""
    return {
        (group.prompt.id, response.token_ids): response.text
        for group in groups
        for response in group.group.responses
    }


def _pair(prompt: Prompt, example: Example, answers: Answers) -> dict[str, Json]:
    texts = [answers.get((prompt.id, ids)) for ids in example.completions]
    if None in texts:
        raise RunError(f"prompt {prompt.id}: a pair names an answer that its round does not have")
    turns = [[{"role": "assistant", "content": text}] for text in texts]
    return {
        "prompt": [{"role": m.role, "content": m.content} for m in prompt.messages],
        "chosen": turns[0],
        "rejected": turns[1],
        "prompt_id": prompt.id,
        "reward_chosen": example.columns["reward_chosen"],
        "reward_rejected": example.columns["reward_rejected"],
    }


def write_pairs(path: Path, rows: Sequence[Row]) -> None:
    """Write pairs."""
    if path.suffix == ".jsonl":
        return _write_lines(path, rows)
    import pyarrow as pa

    from eva.runs.parquet import to_bytes

    replace_bytes(path, to_bytes(pa.Table.from_pylist([dict(row) for row in rows])))
    return None


# ── prompts ───────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Evolved:
    """A prompt that eva wrote, and what became of it."""

    prompt: Prompt
    scores: tuple[Row, ...]
    """By round, stage and policy; see `_SCORE`."""
    informativeness: float | None
    """The newest estimate, where there is one."""
    error: float | None
    """Its standard error."""
    drawn: tuple[int, ...]
    """Rounds in which it was drawn."""

    def further(self) -> dict[str, Json]:
        """Return what is known beside the prompt."""
        return {
            "scores": [dict(row) for row in self.scores],
            "informativeness": self.informativeness,
            "error": self.error,
            "drawn": list(self.drawn),
        }


def evolved(folder: RunFolder, round: int | None = None) -> list[Evolved]:
    """Return the prompts that eva wrote, all or those born in one round.

    Raises:
        DataError: there are none.
    """
    lineage = Lineage.read(folder.population)
    found = [p for p in lineage.prompts.values() if p.evolved and round in (None, p.born)]
    if not found:
        where = "this run" if round is None else f"round {round}"
        raise DataError(f"{folder.path}: no prompt was evolved in {where}, so none is exported")
    return [_evolved(lineage, prompt) for prompt in found]


_SCORE = {
    "round": int,
    "stage": str,
    "policy": str,
    "n": int,
    "n_scored": int,
    "mean": float,
    "max": float,
    "min": float,
}


def _evolved(lineage: Lineage, prompt: Prompt) -> Evolved:
    estimates = lineage.estimates.get(prompt.id, ())
    newest = estimates[-1] if estimates else {}
    return Evolved(
        prompt,
        scores=tuple({k: row[k] for k in _SCORE} for row in lineage.scores.get(prompt.id, ())),
        informativeness=newest.get("value"),
        error=newest.get("error"),
        drawn=tuple(row["round"] for row in estimates if row["drawn"] is not None),
    )


def write_evolved(path: Path, found: Sequence[Evolved]) -> None:
    """Write evolved prompts, so that `eva.data.prompts.load_prompts` reads them as prompts.

    Beside the prompt (text or chat messages): `checks`, `topic`, `id`, `parents`, `operator`,
    `born`, `columns`, and what `Evolved` has. In Parquet the prompt is chat messages, and free-form
    values are JSON in a text.
    """
    if path.suffix == ".jsonl":
        return _write_lines(path, [as_row(one.prompt) | one.further() for one in found])
    import pyarrow as pa

    from eva.runs import parquet, schemas

    kinds = {int: schemas.INT, str: schemas.TEXT, float: schemas.REAL}
    score = pa.struct([pa.field(name, kinds[kind]) for name, kind in _SCORE.items()])
    fields = [pa.field("prompt", schemas.PROMPT.field("messages").type, nullable=False)]
    fields += [field for field in schemas.PROMPT if field.name != "messages"]
    fields += [pa.field("scores", pa.list_(score)), pa.field("informativeness", schemas.REAL)]
    fields += [pa.field("error", schemas.REAL), pa.field("drawn", pa.list_(schemas.INT))]
    rows = []
    for one in found:
        row = parquet.flatten_prompt(one.prompt)
        row["prompt"] = row.pop("messages")
        rows.append(row | one.further())
    schema = pa.schema(fields, metadata={"eva.rows": "Prompt"})
    replace_bytes(path, parquet.to_bytes(pa.Table.from_pylist(rows, schema=schema)))
    return None


def _write_lines(path: Path, rows: Iterable[Row]) -> None:
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    replace_bytes(path, lines.encode())
