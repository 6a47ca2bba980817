from eva.views.findings import Findings
from eva.views.report_asked import asked


def findings(*creators):
    records = [{"round": t, "creator": creator} for t, creator in enumerate(creators, 1)]
    return Findings(
        path=None, info={}, records=records, measured={}, compared={}, lineage=None, training=[],
        set_aside=[], commits=[],
    )  # fmt: skip


PLAIN = {"complexity": 2.5, "words": 11.0}


def test_topics_and_grades_are_shown_where_there_are_any():
    shares = {"soap": 0.25, "<tea>": 0.75}
    topics = {"topics": 2, "topic_spread": 1.755, "topic_shares": shares}
    made = asked(findings(PLAIN | topics, PLAIN | topics | {"grades": {"quality": 4.0}}))
    assert '<td>&lt;tea&gt;</td><td class="figure">75 %</td>' in made
    assert made.index("&lt;tea&gt;") < made.index("soap")
    assert '<td class="figure">1.755</td>' in made
    assert "Grades of the children" in made
    assert "<tea>" not in made


def test_without_topics_it_says_so():
    made = asked(findings(PLAIN, PLAIN))
    assert "The prompts have no topics." in made
    assert "Clauses of a prompt" in made
    assert "Grades" not in made


def test_a_run_of_an_older_eva_has_no_figures():
    assert "No round is done yet." in asked(findings({}, {"info_mean": 1.0}))


def test_a_played_run_has_them(finished, finished_online):
    for run in (finished, finished_online):
        found = Findings.read(run)
        assert "Words of a prompt" in asked(found)
        assert all(record["creator"]["complexity"] > 0 for record in found.records)
