import io
import json

from rich.console import Console

from eva.app.progress import Lines, Live, as_json, as_text, speed, title, watcher
from eva.types import Stage


def play(progress):
    progress.begin(Stage(2, "solver/answer"), 8, done=2)
    progress.advance(5, tokens=100, reward=0.5)
    progress.advance(8, tokens=300, reward=0.25)
    progress.end()


def test_json_has_one_line_per_stage_with_the_last_figures():
    stream = io.StringIO()
    play(Lines(as_json(stream)))
    (line,) = stream.getvalue().splitlines()
    event = json.loads(line)
    assert event.pop("seconds") >= 0
    assert event == {
        "round": 2,
        "stage": "solver/answer",
        "unit": "prompts",
        "done": 8,
        "total": 8,
        "tokens": 300,
        "reward": 0.25,
    }


def test_text_is_one_readable_line():
    console = Console(file=io.StringIO(), width=120)
    play(Lines(as_text(console)))
    (line,) = console.file.getvalue().splitlines()
    assert "round 2 · solver/answer" in line
    assert "8/8 prompts" in line
    assert "reward 0.250" in line


def test_text_is_one_line_however_narrow_the_console():
    console = Console(file=io.StringIO(), width=40)
    play(Lines(as_text(console)))
    assert console.file.getvalue().count("\n") == 1


def test_a_live_bar_shows_where_it_is():
    console = Console(file=io.StringIO(), width=160, force_terminal=True)
    play(Live(console))
    shown = console.file.getvalue()
    assert "8/8" in shown
    assert "reward 0.250" in shown


def test_a_failing_stage_leaves_the_terminal_as_it_was():
    console = Console(file=io.StringIO(), width=160, force_terminal=True)
    live = Live(console)
    live.begin(Stage(1, "a"), 1)
    live.end()
    live.begin(Stage(1, "b"), 1)
    live.end()
    assert console.file.getvalue().endswith("\x1b[?25h")


def test_live_falls_back_where_there_is_no_terminal():
    assert isinstance(watcher("live", Console(file=io.StringIO())), Lines)


def test_speed_is_over_the_stage_and_leaves_out_what_is_not_known():
    assert speed({"tokens": 300.0, "refused": 2.0}, 3.0) == "100 tok/s · refused 2"
    assert speed({}, 3.0) == ""


def test_round_zero_is_before():
    assert title(Stage(0, "fetch/model")) == "before · fetch/model"
    assert title(Stage(2, "solver/pairs")) == "round 2 · solver/pairs"
    assert title(Stage(0, "evaluate/heldout")) == "measure · heldout"
