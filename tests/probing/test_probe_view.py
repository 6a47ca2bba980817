import io
import json
import math
from dataclasses import replace

import pytest
from rich.console import Console

from eva.evals.statistics import Interval
from eva.probing.probe import Probe
from eva.probing.probe_view import interval, show
from eva.probing.reliability import Reliabilities
from eva.probing.verdict import verdict
from eva.types import SamplingParams


def probe(found):
    return Probe(
        "a model", "a set [of] prompts", "rules", SamplingParams(n=8), found, verdict(found)
    )


def drawn(found):
    out = io.StringIO()
    show(probe(found), console=Console(file=out, width=100))
    return out.getvalue()


def test_what_was_measured_is_shown_and_the_verdict_comes_last(made):
    text = drawn(made())
    assert "a set [of] prompts" in text
    assert "25 % (16 to 37) of the prompts; all highest 5 %, all lowest 10 %" in text
    assert "0.3 (0.26 to 0.34): the best of 8" in text
    assert "1: 0.5  2: 0.6  3: 0.8" in text
    assert "rules give the same score" in text
    row = next(line for line in text.splitlines() if line.startswith("a_min"))
    assert row.split() == ["a_min", "0.50", "0.67", "0.50", "to", "0.80", "10"]
    assert " ".join(text.split()).endswith(probe(made()).verdict.sentence)


def test_what_was_not_measured_says_so(made, noise):
    assert "no answer was scored twice" in drawn(made(repeatability="unknown"))
    assert "0.141 per score" in drawn(made(noise=noise(0.1), repeatability="varies"))
    assert (
        "reliability" not in drawn(made(reliability=Reliabilities((), None))).split("Evolving")[0]
    )
    blank = replace(made().reliability.metrics[0], half=math.nan, full=math.nan)
    assert "ranks nothing" in drawn(made(reliability=Reliabilities((blank,), None)))


def test_json_has_no_nan(made, capsys):
    found = made(contrast=replace(made().contrast, highest=math.nan))
    show(probe(found), as_json=True)
    said = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert said["found"]["contrast"]["highest"] is None
    assert said["verdict"]["help"] == "likely"


def test_an_interval_of_nothing_is_not_0():
    assert interval(Interval(math.nan, math.nan, 0.0, 1.0, 0)) == "not measured"
    one = interval(Interval(0.5, math.nan, -math.inf, math.inf, 1))
    assert one == "0.5 (of one prompt, which has no interval)"
