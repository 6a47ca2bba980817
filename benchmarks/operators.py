"""What becomes of each rewriting operator's proposals in the hands of a small model?

    python benchmarks/operators.py --out samples.jsonl

Human prompts (the first of packaged Alpaca in an order drawn by the seed) are rewritten once by
every operator, and judged as in a run: by the strict reading of replies, then by the gates. What
enters is answered a few times, and scored by how near the answers are to the question (a sentence
encoder): contrast is the best minus the worst reward. No child becomes a parent. In the end the
model grades parents and children: how many of its replies are a number, and do the grades tell them
apart?

The samples hold every reply with what became of it. Read them before the table: a small model
writes much that passes every gate and is no good prompt.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from eva.app.policy import model_source, quieten
from eva.complexity import clauses
from eva.creator.evolving import judge
from eva.creator.gates.duplicate import Duplicate
from eva.creator.gates.length_band import LengthBand
from eva.creator.gates.meta_text import MetaText
from eva.creator.grading import QUESTIONS, ModelGrader
from eva.creator.operators import builtin_operators
from eva.creator.rewriting import Rewriter
from eva.data.assets import resolve
from eva.data.prompts import load_prompts
from eva.encoder import Encoder
from eva.engines.local import LocalEngine, LocalSettings
from eva.engines.policy import load_policy
from eva.protocols import Gate
from eva.rewards.relevance import RelevanceReward
from eva.rng import Streams
from eva.types import Prompt, Proposal, SamplingParams


class Line(NamedTuple):
    """One operator's account."""

    operator: str
    proposals: Sequence[Proposal]
    verdicts: Sequence[tuple[str, str] | None]
    contrast: Sequence[float]
    """Of the children that entered."""

    @property
    def entered(self) -> list[Prompt]:
        """The children that no gate refused."""
        judged = zip(self.proposals, self.verdicts, strict=True)
        return [proposal.child for proposal, verdict in judged if proposal.child and not verdict]

    def cells(self) -> tuple[object, ...]:
        """Return the line for a table."""
        refused = Counter(gate for gate, _ in filter(None, self.verdicts))
        return (
            f"`{self.operator}`",
            len(self.proposals),
            len(self.entered),
            ", ".join(f"{n} {gate}" for gate, n in sorted(refused.items())) or "none",
            f"{sum(c > 0 for c in self.contrast)} of {len(self.contrast)}",
            _mean(self.contrast),
            _mean([clauses(child.text) for child in self.entered]),
            sum(proposal.generated_tokens for proposal in self.proposals),
        )


HEAD = ("operator", "tried", "accepted", "refused by", "with contrast", "contrast", "clauses")


def main() -> None:
    """Rewrite, judge, answer, and print the table."""
    options = _options()
    torch.set_num_threads(options.threads)
    quieten()
    policy = load_policy(model_source(options.model, seed=0), device="cpu")
    engine = LocalEngine(policy, LocalSettings())
    reward = RelevanceReward(Encoder.load(resolve("packaged:minilm-l6-v2")), ceiling=1.0)
    streams = Streams(options.seed, 1, "operators")
    parents = load_prompts(
        "packaged:alpaca", max_chars=options.longest, limit=options.prompts, shuffle=streams
    ).prompts

    def contrast(prompts: Sequence[Prompt]) -> list[float]:
        params = SamplingParams(options.answers, 1.0, 1.0, options.answer_tokens)
        scored = reward.score(engine.sample(prompts, params, streams.at("answers")))
        known = [[r for r in group.rewards if r is not None] for group in scored]
        return [max(rewards) - min(rewards) for rewards in known if rewards]

    lines = []
    for operator in builtin_operators():
        if options.operators and operator.name not in options.operators:
            continue
        rewriter = Rewriter(engine, [operator], SamplingParams(1, 0.88, 1.0, options.max_tokens))
        proposals = rewriter.propose(parents, 0, streams)
        verdicts = judged(proposals, parents)
        line = Line(operator.name, proposals, verdicts, ())
        lines.append(line._replace(contrast=contrast(line.entered)))
        _write(options.out, lines[-1])
        print(*lines[-1].cells(), sep=" | ", flush=True)
    print(f"\nparents: contrast {_mean(contrast(parents))}, "
          f"clauses {_mean([clauses(p.text) for p in parents])}")  # fmt: skip
    children = [child for line in lines for child in line.entered]
    for name, prompts in (("parents", parents), ("children", children)):
        grades = ModelGrader(engine).grade(prompts, streams.at("grades"))
        read = [grade.parts for grade in grades if grade.value is not None]
        means = {part: _mean([parts[part] for parts in read]) for part in QUESTIONS if read}
        print(f"grades of {name}: {len(read)} of {len(grades)} could be read, {means}")
    print()
    for row in ((*HEAD, "tokens"), ["---"] * (len(HEAD) + 1), *(line.cells() for line in lines)):
        print(f"| {' | '.join(map(str, row))} |")


def judged(
    proposals: Sequence[Proposal], parents: Sequence[Prompt]
) -> list[tuple[str, str] | None]:
    """Return who refuses each proposal and why; gates know the parents, and what entered before."""
    gates: list[Gate] = [MetaText(), LengthBand(), Duplicate()]
    verdicts = []
    known = list(parents)
    for proposal in proposals:
        for gate in gates:
            for prompt in known:
                gate.remember(prompt)
        verdicts.append(judge(proposal, gates, [proposal.parent]))
        known = [proposal.child] if proposal.child and not verdicts[-1] else []
    return verdicts


def _write(out: Path, line: Line) -> None:
    with out.open("a", encoding="utf-8") as file:
        for proposal, verdict in zip(line.proposals, line.verdicts, strict=True):
            gate, reason = verdict or ("", "")
            row = {
                "operator": line.operator,
                "parent": proposal.parent.text,
                "reply": proposal.text,
                "child": proposal.child.text if proposal.child else None,
                "refused_by": gate,
                "reason": reason,
            }
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _mean(values: Sequence[float]) -> str:
    return f"{statistics.mean(values):.2f}" if values else "–"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="JSONL to add the samples to")
    parser.add_argument("--operators", nargs="*", help="names; by default all that are built in")
    parser.add_argument("--model", default="packaged:smollm2-135m-instruct")
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--longest", type=int, default=300, help="characters of a parent")
    parser.add_argument("--max-tokens", type=int, default=160, help="of a rewrite")
    parser.add_argument("--answers", type=int, default=3, help="to every child")
    parser.add_argument("--answer-tokens", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
