"""What becomes of each rewriting operator's proposals in the hands of a small model?

    python benchmarks/operators.py --out samples.jsonl

Human prompts (the first of packaged Alpaca in an order drawn by the seed) are rewritten once by
every operator, and judged as in a run: by the strict reading of replies, then by the gates. What
enters is answered a few times, and scored by how near the answers are to the question (a sentence
encoder): contrast is the best minus the worst reward. No child becomes a parent.

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

from eva.app.policy import model_source
from eva.complexity import clauses
from eva.creator.evolving import judge
from eva.creator.gates.duplicate import Duplicate
from eva.creator.gates.length_band import LengthBand
from eva.creator.gates.meta_text import MetaText
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

    def cells(self) -> tuple[object, ...]:
        """Return the line for a table."""
        entered = [p.child for p, verdict in zip(self.proposals, self.verdicts, strict=True)
                   if p.child and not verdict]  # fmt: skip
        refused = Counter(gate for gate, _ in filter(None, self.verdicts))
        return (
            f"`{self.operator}`",
            len(self.proposals),
            len(entered),
            ", ".join(f"{n} {gate}" for gate, n in sorted(refused.items())) or "none",
            f"{sum(c > 0 for c in self.contrast)} of {len(self.contrast)}",
            _mean(self.contrast),
            _mean([clauses(child.text) for child in entered]),
            sum(proposal.generated_tokens for proposal in self.proposals),
        )


HEAD = ("operator", "tried", "accepted", "refused by", "with contrast", "contrast", "clauses")


def main() -> None:
    """Rewrite, judge, answer, and print the table."""
    options = _options()
    torch.set_num_threads(options.threads)
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
        children = [p.child for p, v in zip(proposals, verdicts, strict=True) if p.child and not v]
        lines.append(Line(operator.name, proposals, verdicts, contrast(children)))
        _write(options.out, lines[-1])
        print(*lines[-1].cells(), sep=" | ", flush=True)
    print(f"\nparents: contrast {_mean(contrast(parents))}, "
          f"clauses {_mean([clauses(p.text) for p in parents])}\n")  # fmt: skip
    for row in ((*HEAD, "tokens"), ["---"] * (len(HEAD) + 1), *(line.cells() for line in lines)):
        print(f"| {' | '.join(map(str, row))} |")


def judged(
    proposals: Sequence[Proposal], parents: Sequence[Prompt]
) -> list[tuple[str, str] | None]:
    """Return who refuses each proposal and why, the gates knowing the parents and no sibling."""
    gates: list[Gate] = [MetaText(), LengthBand(), Duplicate()]
    for gate in gates:
        for parent in parents:
            gate.remember(parent)
    return [judge(proposal, gates, [proposal.parent]) for proposal in proposals]


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
