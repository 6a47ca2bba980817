"""A small schedule is killed wherever a run can die; what a resumed run leaves must be the same.

The file is also a script: `python test_folder.py FOLDER` plays the schedule there, for tests that
really kill it.
"""

import errno
import hashlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from eva.errors import RunError
from eva.rng import Streams
from eva.runs import durable, faults, tracking
from eva.runs.checkpoints import Retention
from eva.runs.folder import RunFolder, config_hash, versions
from eva.runs.memory import MemoryJournal
from eva.runs.tables import TABLES
from eva.types import (
    Evolution,
    Example,
    Group,
    Prompt,
    Refusal,
    Response,
    Score,
    ScoredGroup,
    Stage,
)

CONFIG = {"seed": 3, "creator": {"name": "eva", "beta": 0.1}}
HUMAN = [Prompt.of(f"Frage {i} – ёж?", columns={"answer": [i, None]}) for i in range(5)]
KEEP = Retention(steps=1, policies=2)
UPDATES = 5


def answer(prompts, t):
    def response(prompt, i):
        rng = Streams(3, t, "answer").of(prompt.id, i)
        ids = tuple(map(int, rng.integers(0, 50_000, rng.integers(0, 6))))
        finish = "length" if rng.random() < 0.3 else "stop"
        return Response(f"Antwort {i} 🦔", ids, tuple(rng.normal(size=len(ids))), finish)

    return [Group(p, (1, 2), tuple(response(p, i) for i in range(3)), f"v{t}") for p in prompts]


def score(groups):
    def one(response, i):
        if not response.token_ids:
            return Score(None, "raised", "boom\nline two")
        return Score(sum(response.logprobs) / 3, parts={"a": 0.1 * i})

    return [ScoredGroup(g, tuple(one(r, i) for i, r in enumerate(g.responses))) for g in groups]


def evolve(seeds, journal, t):
    known = {p.id for p in journal.prompts()}

    def one(seed):
        child = seed.rewritten(f"{seed.text} Warum? ({len(known)})", operator="deepen", born=t)
        twice = Refusal(seed.id, "add", "duplicate", "seen before", seed.text, t)
        return Evolution(seed.id, (child,), (twice,), 7)

    return [one(seed) for seed in seeds]


def train(journal, t, examples):
    stage = Stage(t, "solver/train")
    checkpoints = journal.checkpoints(stage)
    journal.log(stage, {"solver/begin": t})
    at, folder = checkpoints.latest() or (0, None)
    weights = float((folder / "weights").read_text()) if folder else 0.0
    for step in range(at + 1, UPDATES + 1):
        weights = weights * 0.7 + sum(map(len, examples[step % len(examples)].completions)) / 3
        journal.log(stage, {"solver/loss": weights}, step=step)

        def write(path, weights=weights):
            (path / "deep").mkdir()
            (path / "deep" / "config").write_text("{}")
            (path / "weights").write_text(repr(weights))

        if step % 2 == 0 or step == UPDATES:
            checkpoints.commit(step, write, final=step == UPDATES)
    return {"weights": float((checkpoints.latest()[1] / "weights").read_text())}


def play_round(journal, t, originals):
    def stage(name):
        return Stage(t, name)

    def answer_and_score(name, prompts):
        groups = journal.map(
            stage(f"{name}/answer"), prompts, lambda p: answer(p, t), rows=Group, chunk=3
        )
        return journal.map(stage(f"{name}/score"), groups, score, rows=ScoredGroup, chunk=3)

    scored = answer_and_score("creator", originals)
    means = [sum(r for r in s.rewards if r is not None) for s in scored]
    sample = journal.once(
        stage("creator/sample"),
        lambda: {
            "ids": [p.id for p in originals],
            "values": [None, *means[1:]],
            "errors": means,
            "drawn": [3, 1, 2, 0],
        },
    )
    evolutions = journal.map(
        stage("creator/evolve"),
        [originals[i] for i in sample["drawn"]],
        lambda seeds: evolve(seeds, journal, t),
        rows=Evolution,
        chunk=2,
    )
    prompts = [child for e in evolutions for child in e.children] + [originals[4]]
    scored = answer_and_score("solver", prompts)
    examples = [
        Example(s.prompt.id, s.group.prompt_ids, tuple(r.token_ids for r in s.group.responses[:2]))
        for s in scored
    ]
    new = journal.map(stage("solver/new_pairs"), examples, list, rows=Example, chunk=3)
    past = journal.read(Stage(t - 1, "solver/new_pairs"), Example)
    pairs = journal.map(stage("solver/pairs"), [*past, *new], list, rows=Example, chunk=3)
    trained = train(journal, t, pairs)
    journal.log(stage("record"), {"round": t})
    return {"prompts": [p.id for p in prompts], "pairs": len(pairs), **trained}


def play(journal, until=3):
    journal.admit(HUMAN)
    journal.set_aside("prompts.jsonl", [("line 3", "empty"), ("line 9", "too long: 9999")])
    records, originals = [], HUMAN
    for t in range(1, until + 1):

        def play_this(t=t, originals=originals):
            if t > 1:
                journal.checkpoints(Stage(t - 1, "solver/train")).latest()
            return play_round(journal, t, originals)

        records.append(journal.once(Stage(t, "record"), play_this))
        originals = journal.prompts(records[-1]["prompts"])
        journal.log(Stage(t, "evaluate"), {"heldout/reward": t / 3})
        journal.map(
            Stage(t, "evaluate"), originals, lambda p: [{"id": x.id} for x in p], rows=dict, chunk=3
        )
        journal.once(Stage(t, "alarms"), lambda t=t: [{"alarm": "length", "value": t}])
    return records


def contents(path):
    """Everything in a run folder, without times and without what says who holds it."""
    database = sqlite3.connect(path / "population.sqlite")
    database.row_factory = sqlite3.Row
    found = {}
    for table in TABLES:
        rows = [dict(r) for r in database.execute(f"SELECT * FROM {table} ORDER BY rowid")]
        found[table] = [{k: v for k, v in row.items() if k != "time"} for row in rows]
    database.close()
    for file in sorted(path.rglob("*")):
        name = file.relative_to(path).as_posix()
        if file.is_file() and name.startswith("rounds/"):
            found[name] = hashlib.sha256(file.read_bytes()).hexdigest()
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    found["lines"] = [{k: v for k, v in line.items() if k != "time"} for line in lines]
    return found


def play_in(path):
    with RunFolder.create(path, CONFIG) as folder:
        return play(folder.journal(keep=KEEP))


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    path = tmp_path_factory.mktemp("unbroken") / "run"
    return play_in(path), contents(path), path


@pytest.fixture
def tmp_path(tmp_path):
    """A folder in memory where there is one: what is synced to a busy disk takes its time."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


def test_a_run_folder_holds_what_the_journal_in_memory_returns(unbroken):
    records, found, _ = unbroken
    journal = MemoryJournal()
    assert play(journal) == records
    assert [p["id"] for p in found["prompts"]] == [p.id for p in journal.prompts()]
    for table in ("scores", "refusals", "informativeness", "set_aside"):
        assert journal.population.table(table) == [
            {k: json.loads(v) if k == "causes" else v for k, v in row.items()}
            for row in found[table]
        ]


def test_the_tables_say_what_happened(unbroken):
    _, found, path = unbroken
    assert len(found["prompts"]) == 5 + 3 * 4
    assert len(found["scores"]) == 3 * (5 + 5)
    assert len(found["refusals"]) == 12
    drawn = [(r["prompt_id"], r["drawn"]) for r in found["informativeness"] if r["round"] == 1]
    places = [3, 1, 2, 0, None]
    assert drawn == [(p.id, place) for p, place in zip(HUMAN, places, strict=True)]
    assert found["informativeness"][0]["value"] is None
    kinds = [(row["kind"], row["part"]) for row in found["commits"] if "train" in row["stage"]]
    assert kinds == [("policy", UPDATES)] * 3
    assert not list(path.rglob("step-*"))
    assert not (path / "rounds/001/policy").exists()
    for t in (2, 3):
        assert (path / f"rounds/{t:03d}/policy/deep/config").read_text() == "{}"
    # Per round: what was logged before training, 5 updates, the record, and the evaluation.
    assert len(found["lines"]) == 3 * 8
    assert json.loads((path / "rounds/002/record.json").read_text())["pairs"] == 10


@pytest.mark.parametrize("point", faults.POINTS)
def test_a_run_that_dies_at_a_point_goes_on_to_the_same_end(tmp_path, unbroken, point):
    records, found, _ = unbroken
    path = tmp_path / "run"
    # The second passage: a later chunk, checkpoint or round.
    at = 1 if point.startswith("create") else 2
    with faults.armed(point, at) as fault, pytest.raises(faults.Crash):
        play_in(path)
    assert fault.passages == at
    assert play_in(path) == records
    assert contents(path) == found


@pytest.mark.parametrize("seed", range(4))
def test_a_run_that_dies_again_and_again_goes_on_to_the_same_end(tmp_path, unbroken, seed):
    records, found, _ = unbroken
    dice = random.Random(seed)
    deaths = 0
    for _ in range(30):
        with faults.armed(dice.choice(faults.POINTS), dice.choice([1, 2])):
            try:
                play_in(tmp_path / "run")
            except faults.Crash:
                deaths += 1
    assert deaths >= 5
    assert play_in(tmp_path / "run") == records
    assert contents(tmp_path / "run") == found


def started(path):
    return subprocess.Popen(
        [sys.executable, __file__, str(path)], stdout=subprocess.PIPE, text=True, bufsize=1
    )


@pytest.mark.parametrize("lines", [9, 24, 41])
def test_a_killed_process_goes_on_to_the_same_end(tmp_path, unbroken, lines):
    records, found, _ = unbroken
    path = tmp_path / "run"
    with started(path) as process:
        for _ in range(lines):
            assert process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    with RunFolder.open(path) as folder:
        assert play(folder.journal(keep=KEEP)) == records
    assert contents(path) == found


def test_a_second_process_is_refused_and_told_who_is_there(tmp_path):
    path = tmp_path / "run"
    with started(path) as process:
        assert process.stdout.readline()
        process.send_signal(signal.SIGSTOP)
        for again in (lambda: RunFolder.open(path), lambda: RunFolder.create(path, CONFIG)):
            with pytest.raises(RunError, match=f"in use by process {process.pid} on .* since"):
                again()
        process.kill()
    RunFolder.open(path).close()


def test_a_reader_sees_committed_work_while_the_run_goes_on(tmp_path):
    with RunFolder.create(tmp_path / "run", CONFIG, {"command": "eva run"}) as folder:
        journal = folder.journal()
        journal.admit(HUMAN)
        with RunFolder.open_readonly(tmp_path / "run") as reader:
            assert reader.config == CONFIG
            assert reader.info["info"] == {"command": "eva run"}
            assert reader.population.prompts() == HUMAN
            journal.admit([Prompt.of("later")])
            journal.once(Stage(1, "record"), lambda: {"round": 1})
            assert len(reader.population.prompts()) == 6
            assert reader.records() == [{"round": 1}]
            with pytest.raises(RunError, match="readonly"), reader.population.transaction():
                reader.population.add_prompts([Prompt.of("mine")])


def test_a_reader_rolls_back_what_a_kill_left_half_written(tmp_path):
    path = tmp_path / "run"
    with RunFolder.create(path, CONFIG) as folder:
        folder.journal().admit(HUMAN)
    script = (
        "import os, signal, sqlite3, sys\n"
        "db = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "db.execute('PRAGMA cache_size = 1')\n"
        "db.execute('BEGIN IMMEDIATE')\n"
        "db.execute('DELETE FROM prompts')\n"
        "db.executemany('INSERT INTO set_aside (source, place, reason) VALUES (?, ?, ?)',\n"
        "    [('x', str(i), 'y' * 500) for i in range(2000)])\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(path / "population.sqlite")], check=False)
    assert (path / "population.sqlite-journal").exists()
    with RunFolder.open_readonly(path) as reader:
        assert reader.population.prompts() == HUMAN
        assert reader.population.table("set_aside") == []


def test_a_run_is_only_taken_up_with_its_own_config(tmp_path):
    path = tmp_path / "run"
    RunFolder.create(path, CONFIG).close()
    before = (path / "run.json").read_bytes()
    other = {"seed": 3, "creator": {"name": "eva", "beta": 0.2}}
    with pytest.raises(RunError, match=r"another config \(they differ in creator.beta\)"):
        RunFolder.create(path, other)
    with RunFolder.create(path, dict(reversed(CONFIG.items()))) as folder:
        folder.finish()
    assert json.loads((path / "run.json").read_text())["status"] == "finished"
    with pytest.raises(RunError, match="finished"):
        RunFolder.create(path, CONFIG)
    assert json.loads(before)["config"] == CONFIG


def test_a_folder_with_other_things_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(RunError, match=r"not empty and holds no run \(found thesis.tex\)"):
        RunFolder.create(tmp_path, CONFIG)
    with pytest.raises(RunError, match="is a file"):
        RunFolder.create(tmp_path / "thesis.tex", CONFIG)
    for look in (RunFolder.open, RunFolder.open_readonly):
        with pytest.raises(RunError, match=r"no run\.json"):
            look(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_no_environment_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", "sk-very-secret")
    play_in(tmp_path / "run")
    for file in (tmp_path / "run").rglob("*"):
        assert file.is_dir() or b"sk-very-secret" not in file.read_bytes()


def test_versions_are_those_installed():
    assert versions()["python"] == ".".join(map(str, sys.version_info[:3]))
    assert {"eva", "numpy", "pyarrow"} <= set(versions())


def test_the_hash_of_a_config_does_not_depend_on_the_order_of_keys():
    assert config_hash({"a": 1, "b": {"c": 2, "d": 3}}) == config_hash(
        {"b": {"d": 3, "c": 2}, "a": 1}
    )
    assert config_hash({"a": 1}) != config_hash({"a": 2})


def cut(path):
    path.write_bytes(path.read_bytes()[:-10])


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def died_at(path, point, at=1):
    with faults.armed(point, at), pytest.raises(faults.Crash):
        play_in(path)


@pytest.mark.parametrize(
    ("harm", "says"), [(cut, "bytes"), (flip, "digest"), (Path.unlink, "read")]
)
def test_a_damaged_chunk_is_named_with_the_last_good_state(tmp_path, harm, says):
    path = tmp_path / "run"
    died_at(path, "solver/pairs:before_work", at=4)
    chunk = path / "rounds/002/creator/score/00001.parquet"
    harm(chunk)
    with pytest.raises(RunError) as caught:
        play_in(path)
    message = str(caught.value)
    assert str(chunk) in message
    assert says in message
    assert "round 2, creator/score, chunk 1" in message
    assert "the last good state is rounds/001/policy" in message


def test_a_damaged_checkpoint_is_named(tmp_path):
    path = tmp_path / "run"
    died_at(path, "solver/train:after_commit")
    flip(path / "rounds/001/solver/train/step-000002/weights")
    with pytest.raises(RunError, match=r"step-000002/weights is damaged.*no earlier policy"):
        play_in(path)


def test_a_damaged_database_or_description_is_named(tmp_path):
    path = tmp_path / "run"
    play_in(path)
    database = path / "population.sqlite"
    whole = database.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"x" * 5000):
        database.write_bytes(damaged)
        for look in (RunFolder.open, RunFolder.open_readonly):
            with pytest.raises(RunError, match=r"population\.sqlite .*put back a copy"):
                look(path)
    database.unlink()
    with pytest.raises(RunError, match=r"population\.sqlite cannot be used"):
        RunFolder.open(path)
    assert not database.exists()
    database.write_bytes(whole)
    (path / "run.json").write_text('{"format": 1')
    with pytest.raises(RunError, match=r"run\.json is damaged"):
        RunFolder.open(path)
    (path / "run.json").write_text('{"format": 99}')
    with pytest.raises(RunError, match="got format 99, expected 2"):
        RunFolder.open(path)


def test_lost_or_cut_lines_are_made_again(tmp_path, unbroken):
    _, found, path = unbroken
    lines = path / "metrics.jsonl"
    for harm in (cut, Path.unlink, lambda p: p.write_text("nonsense\n")):
        harm(lines)
        RunFolder.open(path).close()
        assert contents(path) == found


def test_a_policy_that_retention_removed_is_not_mistaken_for_the_first_one(unbroken):
    _, _, path = unbroken
    with RunFolder.open(path) as folder:
        journal = folder.journal(keep=KEEP)
        with pytest.raises(RunError, match=r"001/policy was removed, .*keep more"):
            journal.checkpoints(Stage(1, "solver/train")).latest()
        for t in (2, 3):
            latest = journal.checkpoints(Stage(t, "solver/train")).latest()
            assert latest == (UPDATES, folder.policy(t))
        assert journal.checkpoints(Stage(4, "solver/train")).latest() is None


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MiB, where we may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    try:
        done = subprocess.run(mount, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("no mount command")
    if done.returncode:
        pytest.skip("mounting is not permitted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_is_said_and_the_run_goes_on_once_there_is_room(small_disk, unbroken):
    records, found, _ = unbroken
    path = small_disk / "run"
    ballast = small_disk / "ballast"
    with RunFolder.create(path, CONFIG) as folder:
        journal = folder.journal(keep=KEEP)
        journal.admit(HUMAN)
        size = 1 << 20
        while size:
            try:
                with open(ballast, "ab") as file:
                    file.write(b"0" * size)
            except OSError:
                size //= 2
        with pytest.raises(RunError, match=r"disk is full: .*resume the run"):
            play(journal)
    ballast.unlink()
    assert play_in(path) == records
    assert contents(path) == found


@pytest.mark.parametrize("failing", [1, 15, 40])
def test_a_file_that_cannot_be_synced_leaves_the_last_good_state(
    tmp_path, unbroken, monkeypatch, failing
):
    records, found, _ = unbroken
    path = tmp_path / "run"
    with RunFolder.create(path, CONFIG) as folder:
        journal, calls = folder.journal(keep=KEEP), []

        def full(descriptor):
            calls.append(descriptor)
            if len(calls) == failing:
                raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(durable.os, "fsync", full)
        with pytest.raises(RunError, match="the disk is full"):
            play(journal)
    monkeypatch.undo()
    assert play_in(path) == records
    assert contents(path) == found


def test_trackers_get_committed_metrics_once_with_steps_over_the_run(tmp_path):
    class Tracker:
        seen = []

        def log(self, metrics, *, round, step):
            self.seen.extend((name, round, step) for name in metrics)

        def close(self):
            pass

    for point in ("solver/train:before_commit", "record:mid_commit", "none:mid_commit"):
        with RunFolder.create(tmp_path / "run", CONFIG) as folder, faults.armed(point, 1):
            try:
                play(folder.journal(keep=KEEP, tracker=Tracker()))
            except faults.Crash:
                continue
    assert [row for row in Tracker.seen if row[0] == "solver/loss"] == [
        ("solver/loss", round, (round - 1) * UPDATES + step)
        for round in (1, 2, 3)
        for step in range(1, UPDATES + 1)
    ]
    rest = [row for row in Tracker.seen if row[0] == "round"]
    assert rest == [("round", round, round * UPDATES) for round in (1, 2, 3)]


def test_derived_lines_are_strict_json(tmp_path):
    with RunFolder.create(tmp_path / "run", CONFIG) as folder:
        journal = folder.journal()
        journal.log(Stage(1, "evaluate"), {"x": float("nan"), "y": 1})
        assert journal.once(Stage(1, "evaluate"), lambda: (1, float("inf"))) == [1, float("inf")]
        assert [row.metrics["y"] for row in folder.population.metrics()] == [1.0]
    line = json.loads((tmp_path / "run/metrics.jsonl").read_text(), parse_constant=pytest.fail)
    assert (line["x"], line["y"]) == (None, 1.0)
    text = (tmp_path / "run/rounds/001/evaluate.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail) == [1, None]
    assert tracking.strict({1: (float("nan"),)}) == {"1": [None]}


class Printing:
    """Says aloud that a chunk is done, and gives a killer the time to strike."""

    def begin(self, stage, total, *, done=0, unit="prompts"):
        print("begin", stage, flush=True)

    def advance(self, done, **figures):
        print("advance", done, flush=True)
        time.sleep(0.005)

    def end(self):
        print("end", flush=True)


if __name__ == "__main__":
    with RunFolder.create(Path(sys.argv[1]), CONFIG) as run_folder:
        play(run_folder.journal(keep=KEEP, progress=Printing()))


def test_how_a_server_is_reached_may_change_and_what_it_is_asked_may_not(tmp_path):
    def config(**server):
        return {"judges": [{"server": {"url": "http://a/v1", "model": "m", **server}}]}

    RunFolder.create(tmp_path / "run", config()).close()
    moved = config(url="http://b/v1", max_cost=3.0)
    RunFolder.create(tmp_path / "run", moved).close()
    with RunFolder.open_readonly(tmp_path / "run") as folder:
        assert folder.config == moved
    with pytest.raises(RunError, match="another config"):
        RunFolder.create(tmp_path / "run", config(model="other"))


def test_how_a_policys_own_server_is_started_may_change_and_whether_it_has_one_may_not(tmp_path):
    def config(serve):
        return {"policy": {"model": "m", "serve": serve}}

    RunFolder.create(tmp_path / "run", config({"command": ["a"], "seconds": 1})).close()
    changed = config({"command": ["b"], "seconds": 2})
    RunFolder.create(tmp_path / "run", changed).close()
    with RunFolder.open_readonly(tmp_path / "run") as folder:
        assert folder.config == changed
    with pytest.raises(RunError, match="another config"):
        RunFolder.create(tmp_path / "run", config(None))
