import re
import tomllib
from html.parser import HTMLParser

import pytest

from eva.app.load import parse_config
from eva.errors import ConfigError, RunError
from eva.views.findings import Findings
from eva.views.report import render, report


class Page(HTMLParser):
    """What a browser would see: elements, attributes, text, and whether tags are balanced."""

    VOID = frozenset({"meta", "br", "hr"})

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.words, self.open = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


ALLOWED = (
    *("html", "head", "meta", "title", "style", "body", "header", "nav", "main", "section"),
    *("h1", "h2", "h3", "h4", "p", "a", "span", "div", "ul", "li", "details", "summary"),
    *("table", "thead", "tbody", "tr", "th", "td", "figure", "figcaption", "code", "pre"),
    *("strong", "svg", "title", "line", "polyline", "circle", "rect", "text"),
)


ONLINE = ("finished_online", "interrupted_online", "begun_online", "static_online", "oaif")


@pytest.fixture(params=["finished", "interrupted", "begun", "static", *ONLINE])
def page(request):
    text = render(Findings.read(request.getfixturevalue(request.param)))
    return text, Page(text)


def test_nothing_in_it_can_run_or_load_anything(page):
    text, seen = page
    assert set(seen.tags) <= set(ALLOWED)
    names = {name for name, _ in seen.attributes}
    assert not any(name.startswith("on") for name in names)
    assert not names & {"src", "srcset", "action", "style", "data", "xlink:href", "background"}
    links = [value for name, value in seen.attributes if name == "href"]
    assert links
    assert all(link.startswith("#") for link in links)
    assert "url(" not in text
    assert "@import" not in text


def test_a_browser_is_told_to_load_and_run_nothing(page):
    text, _ = page
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)[1]
    assert "default-src &#x27;none&#x27;" in policy
    assert "script-src" not in policy
    # it must stand before anything that could load
    assert text.index("Content-Security-Policy") < text.index("<style")


def test_elements_are_closed_and_anchors_lead_somewhere(page):
    _, seen = page
    assert seen.open == []
    ids = {value for name, value in seen.attributes if name == "id"}
    assert {value[1:] for name, value in seen.attributes if name == "href"} == ids


def test_hostile_texts_are_shown_as_they_are(finished):
    seen = Page(render(Findings.read(finished)))
    assert "<script>answer(" in seen.text
    assert "<b>scripted on people.jsonl" in seen.text
    assert "\x00" not in seen.text
    assert "\x1b" not in seen.text
    assert "line <4>" in seen.text


def test_a_long_prompt_is_cut_with_a_notice(play):
    path = play(rounds=1, finish=False, evaluators=())
    found = Findings.read(path)
    from eva.views.report_page import text

    longest = max(found.lineage.prompts.values(), key=lambda p: len(p.text))
    assert len(longest.text) > 100_000
    assert len(text(longest.text)) < 5_000
    assert "more characters; the run folder has them" in text(longest.text)


def test_every_section_has_something_to_say_of_any_run(page):
    text, seen = page
    assert seen.tags.count("section") == (14 if 'id="prompts"' in text else 13)
    assert not re.search(r'<div class="charts"></div>|<tbody></tbody>|<figure></figure>', text)
    assert "None" not in seen.text.split()
    assert "nan" not in seen.text.split()


def test_a_finished_run_has_all_of_its_parts(finished):
    seen = Page(render(Findings.read(finished)))
    for said in (
        "finished, 3 of 3 rounds",
        "In short:",
        "reward on kinds never trained on",
        "by lot",
        "Estimates of round 3",
        "A long line: ",
        "steps from a human prompt",
        "evolver:",
        "no idea <script>",
        "2 rows of people.jsonl: 1 empty, 1 too long",
        "Gradient norm",
        "answers for estimates",
    ):
        assert said in seen.text, said
    assert seen.tags.count("svg") > 20


def test_an_online_run_is_told_by_its_steps(finished_online):
    seen = Page(render(Findings.read(finished_online)))
    for said in (
        "Online eva: prompts that evolve step by step",
        "finished, 2 of 2 rounds, 12 of 12 steps",
        "Rewards by step",
        "Phases and buffer",
        "warm-up",
        "mix-up",
        "bootstrap",
        "Mean priority in it",
        "Estimates of round 2",
        "rewrites from a human prompt",
        "no idea <script>",
        "Magnitude of the advantages",
        "by lot",
    ):
        assert said in seen.text, said
    for absent in ("0 pairs", "Chosen minus rejected", "answers for estimates"):
        assert absent not in seen.text, absent


def test_steps_are_drawn_before_their_round_is_done(interrupted_online):
    seen = Page(render(Findings.read(interrupted_online)))
    assert "not finished: 0 of 2 rounds, 4 of 12 steps" in seen.text
    assert "Rewards of the answers" in seen.text


def test_an_unfinished_run_says_so(interrupted, begun):
    assert "not finished: 1 of 2 rounds" in Page(render(Findings.read(interrupted))).text
    assert "has not finished a round yet" in Page(render(Findings.read(begun))).text


def test_a_baseline_is_called_one(static, static_online):
    text = Page(render(Findings.read(static))).text
    assert "A baseline: the same human prompts in every round" in text
    assert "No prompt was evolved" in text
    text = Page(render(Findings.read(static_online))).text
    assert "A baseline, online: human prompts over and over" in text
    assert "No prompt was evolved" in text


def test_the_config_in_it_plays_the_same_game(finished):
    found = Findings.read(finished)
    seen = Page(render(found))
    toml = next(words for words in seen.words if words.startswith("preset ="))
    assert parse_config(tomllib.loads(toml)).model_dump(mode="json") == found.config


def test_it_is_written_whole_and_replaces_only_reports(finished, tmp_path):
    out = report(finished, tmp_path / "report.html")
    first = out.read_text("utf-8")
    assert first.startswith("<!doctype html>")
    assert report(finished, out).read_text("utf-8") == first
    other = tmp_path / "letter.html"
    other.write_text("dear me")
    with pytest.raises(ConfigError, match="is no report of eva"):
        report(finished, other)
    assert other.read_text() == "dear me"
    with pytest.raises(ConfigError, match="is a folder"):
        report(finished, tmp_path)


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(RunError, match="not a run folder"):
        report(tmp_path, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()
