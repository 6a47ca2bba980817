from eva.types import Prompt
from eva.views import report_prompts
from eva.views.findings import Findings
from eva.views.lineage import Lineage
from eva.views.operators import by_operator


def refusal(seq, *, gate="duplicate", round=2, text="t"):
    return {"seq": seq, "parent_id": "h", "operator": "add", "gate": gate, "round": round,
            "reason": "because", "text": text}  # fmt: skip


def findings(refusals=(), set_aside=()):
    human = Prompt.of("Name a colour.", id="h")
    lineage = Lineage({"h": human}, scores={}, estimates={}, refusals={"h": list(refusals)})
    return Findings(
        path=None, info={}, records=[], measured={}, compared={}, lineage=lineage, training=[],
        set_aside=list(set_aside), commits=[],
    )  # fmt: skip


def test_refusals_are_counted_by_gate_and_round():
    rows = [refusal(i, round=2 + i % 2) for i in range(5)] + [refusal(9, gate="length_band")]
    made = report_prompts.refusals(findings(rows))
    cells = '<td>duplicate</td><td class="figure">3</td><td class="figure">2</td>'
    assert cells in made
    assert made.index("<td>duplicate") < made.index("<td>length_band")


def test_examples_are_spread_over_the_refusals_of_a_gate():
    rows = [refusal(i, text=f"text number {i}.") for i in range(40)]
    made = report_prompts.refusals(findings(rows))
    assert "40 refusals, 4 of them" in made
    assert all(f"text number {i}." in made for i in (0, 10, 20, 30))
    assert "text number 1." not in made


def test_a_rewrite_and_its_reason_are_escaped():
    made = report_prompts.refusals(findings([refusal(1, text="<script>")]))
    assert "<script>" not in made
    assert "&lt;script&gt;" in made


def test_set_aside_rows_are_counted_by_reason_and_listed():
    rows = [
        {"source": "f.jsonl", "place": f"line {i}", "reason": f"too long: {i}"} for i in range(60)
    ]
    made = report_prompts.set_aside(findings(set_aside=rows))
    assert "60 rows of f.jsonl: 60 too long." in made
    assert "and 10 more" in made
    assert "Every row" in report_prompts.set_aside(findings())


def test_operators_have_the_figures_of_their_children(finished):
    found = Findings.read(finished)
    made = report_prompts.operators(found)
    (line,) = [line for line in by_operator(found) if line.name == "deepen"]
    cells = "".join(f'<td class="figure">{cell}</td>' for cell in line.cells()[1:5])
    assert f"<td>deepen</td>{cells}" in made
    assert "No operator was tried" in report_prompts.operators(findings())


def test_a_tree_says_how_many_children_it_leaves_out(monkeypatch, finished):
    monkeypatch.setattr(report_prompts, "BRANCHES", 1)
    assert "further child" in report_prompts.lineage(Findings.read(finished))
    assert "No prompt was evolved" in report_prompts.lineage(findings())


def test_online_a_tree_says_steps(finished_online, finished):
    found = Findings.read(finished_online)
    made = report_prompts.lineage(found)
    assert "rewrites from a human prompt" in made or "1 rewrite from a human prompt" in made
    born = {found.lineage.entered[id] for id in found.lineage.entered}
    assert any(f">step {step}<" in made for step in born)
    assert ">round 1<" not in made
    offline = report_prompts.lineage(Findings.read(finished))
    assert "rewrite" not in offline
    assert ">round 2<" in offline
