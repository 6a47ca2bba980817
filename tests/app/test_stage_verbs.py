import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner

from eva.app import stage_verbs
from eva.errors import ConfigError

CONFIG = """
[policy]
model = "random:tiny"
device = "cpu"
[prompts]
source = "{prompts}"
per_round = 2
[answers]
n = 2
max_tokens = 8
[reward]
name = "python"
function = "unused:unused"
[creator]
evolver = {{ name = "none" }}
source = "human"
[solver]
objective = "simpo"
[run]
threads = 1
"""


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Run `eva stage ...` in a folder with a config, prompts and rollouts."""
    monkeypatch.setenv("EVA_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    lines = [{"prompt": f"Name {i} colours."} for i in range(3)]
    (tmp_path / "prompts.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (tmp_path / "game.toml").write_text(CONFIG.format(prompts=tmp_path / "prompts.jsonl"))
    rollouts = {
        "prompt": [line["prompt"] for line in lines],
        "responses": [["red", "blue"]] * 3,
        "rewards": [[0.0, 1.0]] * 3,
    }
    pq.write_table(pa.table(rollouts), tmp_path / "theirs.parquet")
    app = typer.Typer()
    stage_verbs.register(app)

    def run(*words):
        result = CliRunner().invoke(app, list(words))
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result

    return run


def test_the_verbs_are_there():
    app = typer.Typer()
    stage_verbs.register(app)
    names = {command.callback.__name__ for command in app.registered_commands}
    assert names == {"answer", "score", "evolve", "pair", "train"}


def test_answer_takes_overrides_and_tells_as_json(call):
    result = call("--json", "answer", "game.toml", "answers.n=3", "--out", "groups.parquet")
    told = json.loads(result.stdout)
    assert (told["prompts"], told["responses"]) == (2, 6)
    assert pq.read_table("groups.parquet").num_rows == 2


def test_prompts_for_the_creator_have_other_draws(call):
    for side in ("solver", "creator"):
        call("answer", "game.toml", "--prompts", "prompts.jsonl", "--for", side,
             "--out", f"{side}.parquet")  # fmt: skip
    solver, creator = (pq.read_table(f"{side}.parquet").to_pylist() for side in
                       ("solver", "creator"))  # fmt: skip
    assert [row["prompt"] for row in solver] == [row["prompt"] for row in creator]
    assert len(solver) == 3
    assert [row["responses"] for row in solver] != [row["responses"] for row in creator]


def test_foreign_rollouts_to_pairs_to_a_policy_with_a_note(call):
    result = call("pair", "game.toml", "theirs.parquet", "--out", "pairs.parquet")
    assert "pairs 3" in result.stdout
    assert "ids as sampled are better" in result.stderr
    result = call("train", "game.toml", "pairs.parquet", "--out", "policy")
    assert "updates 1" in result.stdout
    assert "sampled" not in result.stderr


def test_evolve_writes_the_informative_prompts(call):
    call("evolve", "game.toml", "theirs.parquet", "--keep", "seeds", "--out", "seeds.parquet")
    assert pq.read_table("seeds.parquet").num_rows == 1


def test_wrong_words_are_config_errors(call):
    with pytest.raises(ConfigError, match=r"ends in \.parquet"):
        call("answer", "game.toml", "--out", "groups.json")
