import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file

from eva.app import build, play
from eva.app.load import load_config, parse_config
from eva.errors import ConfigError, DataError, RunError, SolverError
from eva.rewards.guard import Guarded
from eva.runs import parquet
from eva.runs.folder import RunFolder
from eva.stages import rollouts, stages
from eva.stages.stages import At
from eva.types import Example, Group, Score, ScoredGroup, Stage

CONFIGS = Path(__file__).parents[2] / "configs"
LETTERS = {"name": "python", "function": "unused:unused"}


class Letters:
    """A reward that random letters differ in: how many different ones there are."""

    def score(self, groups):
        return [
            ScoredGroup(g, tuple(Score(float(len(set(r.text)))) for r in g.responses))
            for g in groups
        ]


@pytest.fixture(scope="module")
def game(tmp_path_factory):
    overrides = [
        "prompts.source=" + json.dumps(str(CONFIGS / "smoke_prompts.jsonl")),
        "solver.pairs.truncated_chosen=true",
        "evaluation.when=never",
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVA_CACHE", str(tmp_path_factory.mktemp("cache")))
        for module in (build, stages):
            patch.setattr(module, "reward_model", lambda section, **given: Guarded(Letters()))
        yield load_config(CONFIGS / "smoke.toml", overrides)


@pytest.fixture(scope="module")
def played(game, tmp_path_factory):
    """A whole run of two rounds, to compare with."""
    path = play.run(game, tmp_path_factory.mktemp("whole") / "run")
    with RunFolder.open_readonly(path) as folder:
        yield folder


@pytest.fixture(scope="module")
def chained(game, played, tmp_path_factory):
    """The same, stage by stage."""
    here = tmp_path_factory.mktemp("chain")
    first = At(game, 1)
    stages.answer(first, None, out=here / "groups1.parquet")
    stages.score(first, here / "groups1.parquet", out=here / "scored1.parquet")
    stages.pair(first, here / "scored1.parquet", out=here / "pairs1.parquet")
    stages.train(first, here / "pairs1.parquet", out=here / "policy1")
    then = At(game, 2, here / "policy1")
    stages.answer(then, None, out=here / "seen.parquet", side="creator")
    stages.score(then, here / "seen.parquet", out=here / "seen_scored.parquet")
    stages.evolve(then, here / "seen_scored.parquet", out=here / "evolved.parquet")
    stages.answer(then, str(here / "evolved.parquet"), out=here / "groups2.parquet")
    stages.score(then, here / "groups2.parquet", out=here / "scored2.parquet")
    stages.pair(then, here / "scored2.parquet", out=here / "pairs2.parquet")
    return here


@pytest.mark.parametrize(
    ("file", "stage", "kind"),
    [
        ("groups1", Stage(1, "solver/answer"), Group),
        ("scored1", Stage(1, "solver/score"), ScoredGroup),
        ("pairs1", Stage(1, "solver/pairs"), Example),
        ("seen", Stage(2, "creator/answer"), Group),
        ("seen_scored", Stage(2, "creator/score"), ScoredGroup),
        ("groups2", Stage(2, "solver/answer"), Group),
        ("scored2", Stage(2, "solver/score"), ScoredGroup),
        ("pairs2", Stage(2, "solver/pairs"), Example),
    ],
)
def test_stages_by_hand_make_what_a_run_makes(played, chained, file, stage, kind):
    rows = played.journal().read(stage, kind)
    assert rows
    assert parquet.read(chained / f"{file}.parquet", kind=kind) == rows


def test_the_trained_policy_is_that_of_the_run(played, chained):
    ours = load_file(chained / "policy1/model.safetensors")
    theirs = load_file(played.policy(1) / "model.safetensors")
    assert {n: t.tolist() for n, t in ours.items()} == {n: t.tolist() for n, t in theirs.items()}
    assert (chained / "policy1/metrics.jsonl").read_text().count("solver/loss") > 0
    assert not list(chained.glob(".*training"))


def test_evolved_prompts_keep_their_lineage_and_refusals_their_reasons(played, chained):
    prompts = rollouts.read_prompts(str(chained / "evolved.parquet")).prompts
    record = played.records()[1]
    assert [prompt.id for prompt in prompts] == record["prompts"]
    assert list(prompts) == played.population.prompts(record["prompts"])
    assert {prompt.born for prompt in prompts if prompt.evolved} == {2}
    refusals = pq.read_table(chained / "evolved.refusals.parquet").to_pylist()
    assert len(refusals) == record["creator"]["refused"]
    assert all(refusal["reason"] for refusal in refusals)


def test_the_informative_subset_alone(game, played, chained, tmp_path):
    at = At(game, 2)
    summary = stages.evolve(
        at, chained / "seen_scored.parquet", out=tmp_path / "seeds.parquet", keep="seeds"
    )
    rows = pq.read_table(tmp_path / "seeds.parquet").to_pylist()
    sample = played.population.table("commits", stage="creator/sample")[0]["result"]
    assert [row["id"] for row in rows] == [sample["ids"][i] for i in sample["drawn"]]
    values = dict(zip(sample["ids"], sample["values"], strict=True))
    assert [row["informativeness"] for row in rows] == [values[row["id"]] for row in rows]
    assert summary["seeds"] == len(rows)


def test_known_prompts_are_not_written_again(game, chained, tmp_path):
    at = At(game, 2)
    source = chained / "seen_scored.parquet"
    first, again = tmp_path / "first.parquet", tmp_path / "again.parquet"
    stages.evolve(at, source, out=first, keep="children")
    stages.evolve(at, source, out=again, keep="children", known=[str(first)])
    children = {prompt.text for prompt in rollouts.read_prompts(str(first)).prompts}
    repeated = {row["prompt"][-1]["content"] for row in pq.read_table(again).to_pylist()}
    assert children
    assert not children & repeated


def test_prompts_evolve_on_without_their_ancestors_or_with_them(game, chained, tmp_path):
    scored = chained / "scored2.parquet"
    alone, all_of_them = tmp_path / "alone.parquet", tmp_path / "all.parquet"
    assert stages.evolve(At(game, 3), scored, out=alone)["children"] > 0
    known = [str(chained / "groups1.parquet"), str(chained / "evolved.parquet")]
    assert stages.evolve(At(game, 3), scored, out=all_of_them, known=known)["children"] > 0
    here = {prompt.id: prompt for prompt in rollouts.read_prompts(str(scored)).prompts}
    for prompt in rollouts.read_prompts(str(alone)).prompts:
        # the parents stay named although they are not there
        assert prompt.id not in here or prompt.parents == here[prompt.id].parents


def test_pairs_of_another_attempt_are_not_trained_on_by_mistake(game, chained, tmp_path):
    work = tmp_path / ".policy.training"
    with RunFolder.create(work, {"config": {}, "pairs": ["other"]}):
        pass
    with pytest.raises(RunError, match="pairs"):
        stages.train(At(game, 1), chained / "pairs1.parquet", out=tmp_path / "policy")
    assert not (tmp_path / "policy").exists()


def test_nothing_is_overwritten(game, chained):
    with pytest.raises(ConfigError, match="is there already"):
        stages.answer(At(game, 1), None, out=chained / "groups1.parquet")


def test_a_policy_that_is_not_there_is_named(game, chained, tmp_path):
    at = At(game, 2, tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="nowhere"):
        stages.answer(at, None, out=tmp_path / "groups.parquet")


# ── rollouts from elsewhere ───────────────────────────────────────────────────────────────────


@pytest.fixture
def foreign(game):
    """A game on rollouts of another trainer: no checks, any reward."""
    plain = game.model_dump(mode="json") | {"reward": LETTERS}
    plain["creator"] |= {"evolver": {"name": "none"}, "source": "human"}
    plain["prompts"] |= {"constraints": None}
    plain["evaluation"] |= {"heldout": None}
    plain["solver"] |= {"pairs": {"name": "best_worst"}}
    return parse_config(plain)


def rollout_file(path, **columns):
    rows = {
        "prompt": [[{"role": "user", "content": f"Name {i} colours."}] for i in range(6)],
        "responses": [[f"red {i}", f"blue and green {i}", "grey"] for i in range(6)],
        "rewards": [[0.0, float(i), None] for i in range(6)],
    }
    pq.write_table(pa.table(rows | columns), path)
    return path


def test_rollouts_from_elsewhere_become_pairs_and_a_policy(foreign, tmp_path):
    source = rollout_file(tmp_path / "theirs.parquet")
    summary = stages.pair(At(foreign), source, out=tmp_path / "pairs.parquet")
    # the first prompt's rewards are a tie, and three answers of each of six had no ids
    assert summary == {"pairs": 5, "skipped": {"no_contrast": 1}, "retokenised": 18}
    examples = parquet.read(tmp_path / "pairs.parquet", kind=Example)
    policy = At(foreign).parts().engine.policy
    decoded = [policy.tokenizer.decode(ids) for ids in examples[0].completions]
    assert decoded == ["blue and green 1<|im_end|>", "red 1<|im_end|>"]
    assert policy.tokenizer.decode(examples[0].prompt_ids).endswith(
        "Name 1 colours.<|im_end|>\n<|im_start|>assistant\n"
    )
    trained = stages.train(
        At(foreign), tmp_path / "pairs.parquet", out=tmp_path / "p", export=tmp_path / "hf"
    )
    assert (trained["pairs"], trained["updates"]) == (5, 2)
    assert (tmp_path / "hf/config.json").exists()
    assert (tmp_path / "p/eva.json").exists()


def test_token_ids_that_come_along_are_used_as_they_are(foreign, tmp_path):
    ids = [[[5, 6], [7, 8, 9], [10]]] * 6
    source = rollout_file(
        tmp_path / "theirs.parquet",
        token_ids=ids,
        prompt_ids=[[1, 2, 3]] * 6,
        finish=[["length", "stop", "stop"]] * 6,
    )
    summary = stages.pair(At(foreign), source, out=tmp_path / "pairs.parquet")
    examples = parquet.read(tmp_path / "pairs.parquet", kind=Example)
    assert summary["retokenised"] == 0
    assert {(e.prompt_ids, e.completions) for e in examples} == {((1, 2, 3), ((7, 8, 9), (5, 6)))}
    assert examples[0].columns["truncated_rejected"] == 1.0


def test_token_ids_of_another_model_are_named(foreign, tmp_path):
    ids = [[[5, 6], [7, 8, 9], [10**6]]] * 6
    rewards = [[0.0, 0.5, 1.0]] * 6
    source = rollout_file(
        tmp_path / "t.parquet", token_ids=ids, prompt_ids=[[1]] * 6, rewards=rewards
    )
    with pytest.raises(DataError, match=r"t\.parquet: token id 1000000"):
        stages.pair(At(foreign), source, out=tmp_path / "pairs.parquet")


def test_rows_that_are_no_prompt_are_counted(foreign, tmp_path):
    source = tmp_path / "prompts.jsonl"
    source.write_text('{"prompt": "Name a town."}\n{"prompt": null}')
    summary = stages.answer(At(foreign), str(source), out=tmp_path / "groups.parquet")
    assert (summary["prompts"], summary["set_aside"]) == (1, {"no prompt": 1})


def test_the_informative_prompts_of_another_trainers_rollouts(foreign, tmp_path):
    source = rollout_file(tmp_path / "theirs.parquet")
    stages.evolve(At(foreign, 2), source, out=tmp_path / "next.parquet")
    kept = {prompt.text for prompt in rollouts.read_prompts(str(tmp_path / "next.parquet")).prompts}
    # half of six are drawn; what never had contrast has weight 0
    assert len(kept) == 3
    assert "Name 0 colours." not in kept


def test_jsonl_does_too(foreign, tmp_path):
    source = tmp_path / "theirs.jsonl"
    lines = [
        {"question": f"Name {i} colours.", "responses": ["red", "blue"], "rewards": [0, i]}
        for i in range(1, 4)
    ]
    source.write_text("\n".join(map(json.dumps, lines)))
    assert stages.pair(At(foreign), source, out=tmp_path / "p.parquet")["pairs"] == 3


def test_a_preference_data_set_can_be_trained_on(foreign, tmp_path):
    source = tmp_path / "preferences.jsonl"
    lines = [
        {"prompt": f"Name {i} colours.", "chosen": "red", "rejected": "blue"} for i in range(3)
    ]
    source.write_text("\n".join(map(json.dumps, lines)))
    summary = stages.train(At(foreign), source, out=tmp_path / "policy")
    assert (summary["pairs"], summary["retokenised"]) == (3, True)


def test_no_pair_at_all_is_an_error_with_the_causes(foreign, tmp_path):
    source = rollout_file(tmp_path / "t.parquet", rewards=[[1.0, 1.0, 1.0]] * 6)
    with pytest.raises(SolverError, match="6 x no_contrast"):
        stages.pair(At(foreign), source, out=tmp_path / "pairs.parquet")


def test_a_policy_and_its_export_are_two_folders(game, chained, tmp_path):
    with pytest.raises(ConfigError, match="is --out, too: name another folder"):
        stages.train(
            At(game), chained / "pairs1.parquet", out=tmp_path / "p", export=tmp_path / "x/../p"
        )
    assert not list(tmp_path.iterdir())


def test_answers_without_a_score_are_told_with_their_causes(game, chained, tmp_path, monkeypatch):
    class Picky:
        def score(self, groups):
            return [
                ScoredGroup(
                    group,
                    tuple(
                        Score(1.0) if i else Score(None, "too_short")
                        for i, _ in enumerate(group.responses)
                    ),
                )
                for group in groups
            ]

    monkeypatch.setattr(stages, "reward_model", lambda section, **given: Picky())
    said = stages.score(At(game, 1), chained / "groups1.parquet", out=tmp_path / "s.parquet")
    assert said["unscored"] == said["prompts"] > 0
    assert said["causes"] == {"too_short": said["prompts"]}
