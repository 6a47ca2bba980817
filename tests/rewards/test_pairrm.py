import json

import pytest
import torch
from tests.rewards.preference_models import pairrm_folder
from transformers import DebertaV2Model

from eva.rewards.pairrm import PairRM


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return pairrm_folder(tmp_path_factory.mktemp("pairrm"), tasks=2)


def test_names_of_layers_are_those_of_the_published_files(folder):
    model = PairRM.from_pretrained(folder)
    heads = {name for name in model.state_dict() if not name.startswith("pretrained_model.")}
    assert heads == {f"head_layer.{i}.{what}" for i in (1, 4) for what in ("weight", "bias")}
    assert json.loads((folder / "config.json").read_text())["n_tasks"] == 2


def test_log_odds_are_those_of_the_formula_whatever_the_padding(folder):
    model = PairRM.from_pretrained(folder).train(False)
    rows = [[1, 3, 9, 2, 1, 4, 10, 11, 2, 1, 5, 12, 2], [1, 3, 8, 2, 1, 4, 9, 2, 1, 5, 2]]
    marks = [[1, 5, 10], [1, 5, 9]]
    body, w = model.pretrained_model, dict(model.named_parameters())
    assert isinstance(body, DebertaV2Model)
    want = []
    with torch.inference_mode():
        for ids, (source, *candidates) in zip(rows, marks, strict=True):
            states = body(torch.tensor([ids])).last_hidden_state[0]
            scores = []
            for place in candidates:
                x = torch.tanh(
                    w["head_layer.1.weight"] @ torch.cat((states[source], states[place]))
                    + w["head_layer.1.bias"]
                )
                scores.append(w["head_layer.4.weight"] @ x + w["head_layer.4.bias"])
            want.append(float((scores[0] - scores[1]).sum() / 2))
        ids = torch.tensor([rows[0], rows[1] + [0, 0]])
        got = model(ids, (ids > 0).long(), torch.tensor(marks))
    assert got.tolist() == pytest.approx(want, abs=1e-5)
    assert abs(want[0] - want[1]) > 1e-3
