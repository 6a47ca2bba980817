"""The verb as a user meets it, on a random tiny model."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from eva.app.progress import Silent
from eva.errors import ConfigError
from eva.probing.arguments import game_of
from eva.probing.probe import probe

CONFIGS = Path(__file__).parents[2] / "configs"
PROMPTS = CONFIGS / "smoke_prompts.jsonl"
LETTERS = f"python:{CONFIGS / 'smoke_reward.py'}:letters"


@pytest.fixture
def eva(tmp_path):
    """Run `eva probe` in an empty folder."""

    def run(*words):
        done = subprocess.run(
            [sys.executable, "-m", "eva", "probe", *map(str, words)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=os.environ
            | {"OMP_NUM_THREADS": "1", "COLUMNS": "200", "EVA_CACHE": str(tmp_path / "cache")},
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done

    return run


def test_programs_get_one_object_and_nothing_else(eva, tmp_path):
    options = ("--limit", 18, "--n", 4, "--max-tokens", 8, "--temperature", 1)
    done = eva("random:tiny", PROMPTS, LETTERS, *options, "--json")
    assert done.returncode == 0, done.stderr
    assert "probe · answer" in done.stderr
    said = json.loads(done.stdout)
    assert (said["model"], said["reward"], said["answers"]["n"]) == ("random:tiny", "python", 4)
    found = said["found"]
    assert (found["prompts"], found["measured"], found["k"]) == (18, 18, 4)
    assert found["repeatability"] == "same score again"
    assert found["lengths"]["longest"] <= 8
    assert len(found["headroom"]["best_of"]) == 4
    # a random model hardly ever ends its answers
    assert said["verdict"]["help"] == "doubtful"
    assert "cut off" in said["verdict"]["sentence"]
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


def test_a_config_in_place_of_arguments(eva):
    done = eva("--config", CONFIGS / "smoke.toml", "--limit", 8, "--quiet")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "rules + python" in done.stdout
    assert "only 8 prompts" in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["random:tiny"], "PROMPTS and REWARD missing"),
        (["random:tiny", PROMPTS, "ruls"], "did you mean 'rules'"),
        (["random:tiny", PROMPTS, "rules", "--temperature", 0], "answers.temperature"),
        (["random:tiny", "none.jsonl", LETTERS], "none.jsonl"),
        (["random:tiny", PROMPTS, "rules", "--n", 1], "--n"),
    ],
)
def test_bad_input_ends_with_2_and_names_what_is_wrong(eva, words, said):
    done = eva(*words)
    assert done.returncode == 2
    assert said in done.stderr


def probed(reward, folder, monkeypatch, **options):
    monkeypatch.setenv("EVA_CACHE", str(folder / "cache"))
    answers = {"n": 4, "max_tokens": 6, "temperature": 1.0}
    game = game_of(("random:tiny", str(PROMPTS), reward), answers=answers, **options)
    return probe(game, limit=6, progress=Silent())


def test_rules_need_checks_and_get_them_when_asked(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="--constraints 1"):
        probed("rules", tmp_path, monkeypatch)
    made = probed("rules", tmp_path, monkeypatch, constraints=1)
    assert made.json() == probed("rules", tmp_path, monkeypatch, constraints=1).json()
    found = made.found
    assert found.repeatability == "exact by construction"
    assert 0 <= found.headroom.mean <= 1


def test_a_reward_that_changes_its_mind_is_found_out(tmp_path, monkeypatch):
    (tmp_path / "dice.py").write_text(
        "import itertools\ncount = itertools.count()\n\n"
        "def throw(prompt, response):\n    return float(next(count) % 3)\n"
    )
    found = probed(f"python:{tmp_path}/dice.py:throw", tmp_path, monkeypatch).found
    # 24 answers: the first of the second scoring is the 25th, which is 0 again
    assert found.repeatability == "same score again"
    (tmp_path / "coin.py").write_text(
        "import itertools\ncount = itertools.count()\n\n"
        "def throw(prompt, response):\n    return float(next(count) % 5)\n"
    )
    found = probed(f"python:{tmp_path}/coin.py:throw", tmp_path, monkeypatch).found
    assert found.repeatability == "varies"
    # 24 = 4 modulo 5: of 24 answers those that had 0 get 4 more, all others 1 less
    assert found.noise.difference == pytest.approx(((5 * 16 + 19 * 1) / 24) ** 0.5)
