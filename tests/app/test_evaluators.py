from pathlib import Path

from eva.app.evaluators import evaluators
from eva.app.load import load_config
from eva.app.prompts import prompt_sets

SMOKE = Path(__file__).parents[2] / "configs" / "smoke.toml"


def made(*overrides):
    config = load_config(SMOKE, overrides)
    return evaluators(config, prompt_sets(config))


def test_never_measures_nothing():
    assert made("evaluation.when=never") == ()


def test_held_out_prompts_are_greedy_and_labelled():
    (held,) = made()
    assert held.params.temperature == 0
    assert held.params.max_tokens == 16
    labels = {label for prompt in held.prompts for label in held.labels(prompt)}
    assert labels == {"constraints_1", "constraints_2", "seen", "unseen"}
