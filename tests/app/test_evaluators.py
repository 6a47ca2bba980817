from pathlib import Path

from eva.app.evaluators import evaluators
from eva.app.load import load_config
from eva.app.prompts import prompt_sets
from eva.rng import Streams
from eva.types import Group, Response

SMOKE = Path(__file__).parents[2] / "configs" / "smoke.toml"


class Seen(list):
    def begin(self, stage, total, *, done=0, unit="prompts"):
        self.append((stage.name, total))

    def advance(self, done, **figures):
        self.append(done)

    def end(self):
        self.append("end")


def made(*overrides):
    config = load_config(SMOKE, overrides)
    return evaluators(config, prompt_sets(config), Seen())


def test_never_measures_nothing():
    assert made("evaluation.when=never") == ()


def test_held_out_prompts_are_greedy_and_labelled():
    (held,) = made()
    assert held.evaluation.params.temperature == 0
    assert held.evaluation.params.max_tokens == 16
    labels = {
        label for prompt in held.evaluation.prompts for label in held.evaluation.labels(prompt)
    }
    assert labels == {"seen", "seen_1", "seen_2", "unseen", "unseen_1"}


def test_it_says_how_far_it_is():
    (held,) = made("evaluation.heldout.prompts=4")

    class Policy:
        def sample(self, prompts, params, streams):
            return [Group(p, (1,), (Response("yes", (1,)),), "p") for p in prompts]

    held.evaluate(Policy(), Streams(0, 0, "e"))
    assert held.progress == [("evaluate/heldout", 12), 12, "end"]
