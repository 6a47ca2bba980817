import json
import sys
from types import SimpleNamespace

import pytest

from eva.errors import ConfigError
from eva.runs import tracking
from eva.runs.tables import Logged

ROWS = [
    Logged(1, "solver/train", 2, 0.5, {"solver/loss": 0.25}),
    Logged(1, "record", None, 1.5, {"ё": float("inf")}),
]


def test_lines_are_added_and_made_again(tmp_path):
    path = tmp_path / "metrics.jsonl"
    tracking.append(path, ROWS[:1])
    tracking.append(path, ROWS[1:])
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"round": 1, "stage": "solver/train", "step": 2, "time": 0.5, "solver/loss": 0.25},
        {"round": 1, "stage": "record", "step": None, "time": 1.5, "ё": None},
    ]
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    tracking.restore(path, ROWS)
    assert path.read_bytes() == whole
    path.unlink()
    tracking.restore(path, ROWS)
    assert path.read_bytes() == whole


class Service(SimpleNamespace):
    """Stands for wandb or trackio."""

    def __init__(self):
        super().__init__(calls=[])

    def init(self, **options):
        self.calls.append(("init", options))

    def log(self, metrics):
        self.calls.append(("log", metrics))

    def finish(self):
        self.calls.append(("finish",))


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_services_get_rounds_and_steps_as_metrics(name, tmp_path, monkeypatch):
    service = Service()
    monkeypatch.setitem(sys.modules, name, service)
    tracker = tracking.make_tracker([name], folder=tmp_path / "run", config={"seed": 1})
    tracker.log({"solver/loss": 0.5}, round=2, step=7)
    tracker.close()
    (_, options), *rest = service.calls
    assert (options["project"], options["name"], options["resume"]) == ("eva", "run", "allow")
    assert options["config"] == {"seed": 1}
    logged = {"solver/loss": 0.5, "round": 2, "optimiser_step": 7}
    assert rest == [("log", logged), ("finish",)]


def test_a_resumed_run_has_the_same_id(tmp_path, monkeypatch):
    service = Service()
    monkeypatch.setitem(sys.modules, "wandb", service)
    for folder in ("a", "a", "b"):
        tracking.make_tracker(["wandb"], folder=tmp_path / folder, config={})
    ids = [options["id"] for _, options in service.calls]
    assert ids[0] == ids[1] != ids[2]


def test_tensorboard_gets_a_chart_per_metric(tmp_path, monkeypatch):
    written = []

    class Writer:
        def __init__(self, log_dir):
            written.append(log_dir)

        def add_text(self, tag, text):
            written.append((tag, "seed" in text))

        def add_scalar(self, tag, value, global_step):
            written.append((tag, value, global_step))

        def close(self):
            written.append("closed")

    monkeypatch.setitem(sys.modules, "tensorboard", SimpleNamespace())
    monkeypatch.setitem(
        sys.modules, "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=Writer)
    )
    tracker = tracking.make_tracker(["tensorboard"], folder=tmp_path, config={"seed": 1})
    tracker.log({"x": 0.5}, round=1, step=3)
    tracker.close()
    scalars = [("x", 0.5, 3), ("round", 1, 3)]
    assert written == [str(tmp_path / "tensorboard"), ("config", True), *scalars, "closed"]


@pytest.mark.parametrize("name", tracking.TRACKERS)
def test_a_missing_package_is_named_with_the_command(name, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match=f"pip install {name}"):
        tracking.make_tracker([name], folder=tmp_path, config={})


def test_an_unknown_name_is_refused_before_anything_begins(tmp_path, monkeypatch):
    service = Service()
    monkeypatch.setitem(sys.modules, "wandb", service)
    with pytest.raises(ConfigError, match="did you mean 'trackio'"):
        tracking.make_tracker(["wandb", "tracio"], folder=tmp_path, config={})
    assert service.calls == []


def test_no_names_give_a_tracker_that_forgets(tmp_path):
    tracker = tracking.make_tracker([], folder=tmp_path, config={})
    tracker.log({"x": 1.0}, round=1, step=1)
    tracker.close()
    assert list(tmp_path.iterdir()) == []
