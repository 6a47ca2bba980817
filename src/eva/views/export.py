"""`eva export`: the model for Hugging Face, the pairs for TRL, the evolved prompts."""

from __future__ import annotations

import shutil
from pathlib import Path

from eva.app.results import alarms
from eva.errors import ConfigError, unknown_name
from eva.runs.folder import RunFolder
from eva.schedule import taken_back
from eva.views import export_tables

WHAT = ("model", "pairs", "prompts")
SUFFIXES = (".parquet", ".jsonl")


def export(run: Path, what: str, to: Path, *, round: int | None = None) -> str:
    """Write a part of a run for other programs; return what was written, in words.

    `model`: the policy that a round ended with, by default the last that no alarm took back (0: the
    one it began with), as a folder that `AutoModelForCausalLM` loads, LoRA merged. `pairs`: the new
    pairs of a round, by default the last, as a preference data set of TRL. `prompts`: the prompts
    that eva wrote, all or those born in a round, with their lineage.

    Raises:
        ConfigError: no such part, the target is there already, or the run has no such round.
        DataError: there is nothing to write.
        RunError: there is no run, or it is damaged.
    """
    if what not in WHAT:
        raise ConfigError(unknown_name("part of a run to export", what, WHAT))
    to = Path(to)
    if to.exists():
        raise ConfigError(f"{to}: is there already, and nothing is overwritten: name another")
    if what != "model" and to.suffix not in SUFFIXES:
        raise ConfigError(f"{to}: expected a name that ends in {' or '.join(SUFFIXES)}")
    with RunFolder.open_readonly(Path(run)) as folder:
        if what == "model":
            return f"{to}: {model(folder, to, round=round)}"
        if what == "pairs":
            rows = export_tables.pairs(folder, round)
            export_tables.write_pairs(to, rows)
            return f"{to}: {len(rows):,} pairs"
        found = export_tables.evolved(folder, round)
    export_tables.write_evolved(to, found)
    return f"{to}: {len(found):,} prompts"


def model(folder: RunFolder, to: Path, *, round: int | None = None) -> str:
    """Write a policy as a Hugging Face folder, which appears whole or not at all.

    Raises:
        ConfigError: the round has no policy, or the model it began with cannot be had.
    """
    from eva.app.load import parse_config
    from eva.app.policy import local_engine

    source = _policy(folder, round)
    game = parse_config(dict(folder.config), where=str(folder.path / "run.json"))
    # a run of another machine may name a device that is not here
    anywhere = game.policy.model_copy(update={"device": "auto"})
    engine = local_engine(game.model_copy(update={"policy": anywhere}))
    engine.load(source)
    temporary = to.with_name(f".{to.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.parent.mkdir(parents=True, exist_ok=True)
    try:
        engine.export(temporary)
        temporary.rename(to)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return f"{source or 'the first policy'} as a Hugging Face model"


def _policy(folder: RunFolder, round: int | None) -> Path | None:
    kept: dict[int, Path] = {
        row["round"]: folder.path / row["file"]
        for row in folder.population.table("commits", kind="policy")
        if row["result"] is not None
    }
    if round is None and kept:
        round = max({0, *range(1, max(kept) + 1)} - taken_back(alarms(folder)))
    if round == 0:
        return None
    if round is None or round not in kept:
        have = ", ".join(map(str, sorted(kept))) or "none yet"
        asked = "no policy" if round is None else f"no policy of round {round}"
        raise ConfigError(
            f"{folder.path}: {asked}; it has those of rounds: {have} (run.keep_policies says how "
            "many stay; 0 is the policy that the run began with)"
        )
    return kept[round]
