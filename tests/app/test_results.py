from eva.app.results import comparisons, evaluations
from eva.evals.evaluation import Evaluation
from eva.evals.rows import Measured
from eva.rng import Streams
from eva.runs.folder import RunFolder
from eva.types import Group, Prompt, Response, Stage


class Talker:
    """Answers with as many tokens as it is told."""

    def __init__(self, tokens):
        self.tokens = tokens

    def sample(self, prompts, params, streams):
        response = Response("word " * self.tokens, (1,) * self.tokens)
        return [Group(prompt, (1,), (response,), "p") for prompt in prompts]


def tokens(groups):
    return [Measured({"tokens": float(len(g.responses[0].token_ids))}) for g in groups]


def run(path, *rounds):
    prompts = [Prompt.of(f"Question {i}?") for i in range(4)]
    evaluation = Evaluation("length", prompts, (tokens,))
    with RunFolder.create(path, {"a": 1}) as folder:
        journal = folder.journal()
        for t, count in rounds:
            journal.once(
                Stage(t, "evaluate/length"),
                lambda count=count: evaluation.evaluate(Talker(count), Streams(0, 0, "e")),
            )
    return path


def test_the_last_round_is_held_against_before(tmp_path):
    with RunFolder.open_readonly(run(tmp_path / "r", (0, 2), (1, 9), (2, 5))) as folder:
        assert list(evaluations(folder)) == [0, 1, 2]
        (difference,) = [
            d for d in comparisons(folder)["length"]["differences"] if d["value"] == "tokens"
        ]
    assert (difference["before"], difference["after"]) == (2.0, 5.0)


def test_one_side_alone_compares_with_nothing(tmp_path):
    with RunFolder.open_readonly(run(tmp_path / "r", (0, 2))) as folder:
        assert comparisons(folder) == {}
