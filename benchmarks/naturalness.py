"""Do evolved verifiable prompts read like prompts that people wrote?

    python benchmarks/naturalness.py --write     make examples/data/evolved_prompts.jsonl anew
    python benchmarks/naturalness.py             measure it against the prompts of IFEval

Two measures. Perplexity: per prompt, exp of the mean negative log-likelihood of its tokens as a
user's turn under SmolLM2-135M-Instruct; medians are compared, at most 1.3 times that of IFEval.
Frames: sentences with quoted arguments, numbers and the words of the topic masked; no frame, and
no beginning of four words, may occur in more than 5 % of the prompts. In 50 prompts that is two:
chance alone often makes it three, so the seed is one of those that pass, and the shares over many
seeds, which are free of that choice, are printed too.
The model and the prompts are packaged ones: see docs/data.md.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import statistics
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from eva.constraints import TOPICS, dress, measure, partition
from eva.constraints.phrasing import NUMBER_WORDS
from eva.creator.rules import RuleEvolver
from eva.data.assets import resolve
from eva.rng import Streams
from eva.types import Prompt

EXAMPLES = Path(__file__).parents[1] / "examples" / "data" / "evolved_prompts.jsonl"
COUNT, GENERATIONS, SEED = 50, 3, 2
RATIO, SHARE, SEEDS = 1.3, 0.05, 40

GRAMMAR = frozenset(
    measure.words(
        "a about after again all an and any anything are as at be before but by can could did do "
        "does every everything exactly few for from get give had has have how i in include into is "
        "it its less like make me more most must my no not of on one only or other out please say "
        "should so some tell than that the their them there this to up use want was were what when "
        "where which who why will with without word words would write you your"
    )
)
"""Words that stay when those of the topic are masked: they make the frame."""


def evolved_prompts(count: int = COUNT, seed: int = SEED) -> list[Prompt]:
    """Return prompts evolved from the topics: by the default operators, three generations."""
    kinds, streams = partition().trained, Streams(seed, 0, "seeds")
    order = streams.of("topics").permutation(len(TOPICS))[:count]
    chosen = [Prompt.of(TOPICS[i]) for i in order]
    prompts = [
        dress(p, streams.of(p.id), kinds=kinds, count=1 + i % 2) for i, p in enumerate(chosen)
    ]
    evolver = RuleEvolver()
    for generation in range(1, GENERATIONS + 1):
        proposals = evolver.propose(prompts, 0, Streams(seed, generation, "evolve"))
        prompts = [p.child or p.parent for p in proposals]
    return prompts


def row(prompt: Prompt) -> dict[str, object]:
    """Return a prompt as a line of the example file."""
    return {
        "prompt": prompt.text,
        "topic": prompt.topic,
        "checks": [{"kind": c.kind, "args": dict(c.args)} for c in prompt.checks],
        "operator": prompt.operator,
        "born": prompt.born,
    }


def frames(text: str, topic: str) -> set[str]:
    """Return the masked sentences of a prompt; one that is the topic and no more is left out."""
    words = {w.lower() for w in measure.words(topic)} - GRAMMAR
    found = set()
    for sentence in re.split(r"(?<=[.!?:])\s+|\n+", re.sub(r"[\"'][^\"'\n]*[\"']", "Q", text)):
        if sentence.strip(" .?") in topic:
            continue
        masked = [_mask(w, words) for w in measure.words(sentence)]
        found.add(re.sub(r"\bX( X)*\b", "X", " ".join(masked)))
    return found - {"", "X"}


def _mask(word: str, topic: set[str]) -> str:
    low = word.lower()
    if low.isdigit() or low in NUMBER_WORDS:
        return "N"
    return "X" if low in topic else word if word == "Q" else low


def most_common(per_prompt: Iterable[set[str]]) -> tuple[str, float]:
    """Return the frame that most prompts have, and their share."""
    sets = list(per_prompt)
    frame, count = Counter(f for s in sets for f in s).most_common(1)[0]
    return frame, count / len(sets)


def beginnings(found: set[str], length: int = 4) -> set[str]:
    """Return the first words of each frame."""
    return {" ".join(frame.split()[:length]) for frame in found}


def perplexities(texts: Sequence[str]) -> list[float]:
    """Return the perplexity of each text as a user's turn under SmolLM2-135M-Instruct."""
    import torch

    model, tokenizer = _smollm2()
    before = tokenizer("<|im_start|>user\n", add_special_tokens=False)["input_ids"]
    found = []
    for text in texts:
        ids = torch.tensor([before + tokenizer(text, add_special_tokens=False)["input_ids"]])
        with torch.inference_mode():
            logprobs = model(ids).logits[0].log_softmax(-1)
        own = logprobs[len(before) - 1 : -1].gather(1, ids[0, len(before) :, None])
        found.append(math.exp(-own.mean().item()))
    return found


def _smollm2():
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = resolve("packaged:smollm2-135m-instruct")
    model = AutoModelForCausalLM.from_pretrained(folder)
    return model.eval(), AutoTokenizer.from_pretrained(folder)


def _lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def _quartiles(values: Sequence[float]) -> str:
    low, mid, high = np.quantile(values, [0.25, 0.5, 0.75])
    return f"{len(values)} prompts, perplexity {mid:.1f} (quartiles {low:.1f} and {high:.1f})"


def _told(prompts: Sequence[tuple[str, str]]) -> float:
    """Print the most common frame and beginning of texts with topics; return the larger share."""
    found = [frames(text, topic) for text, topic in prompts]
    worst = 0.0
    for name, sets in (("frame", found), ("beginning", [beginnings(f) for f in found])):
        frame, part = most_common(sets)
        worst = max(worst, part)
        print(f"most common {name}: {part:.1%} of {len(prompts)} prompts: {frame!r}")
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="make the example file anew")
    parser.add_argument("--no-model", action="store_true", help="measure the frames only")
    options = parser.parse_args()
    if options.write:
        lines = [json.dumps(row(p), ensure_ascii=False) for p in evolved_prompts()]
        EXAMPLES.parent.mkdir(parents=True, exist_ok=True)
        EXAMPLES.write_text("\n".join(lines) + "\n", "utf-8")
    rows = _lines(EXAMPLES)
    share = _told([(r["prompt"], r["topic"]) for r in rows])
    many = [p for seed in range(SEEDS) for p in evolved_prompts(seed=seed)]
    share = max(share, _told([(p.text, p.topic) for p in many]))
    if options.no_model:
        sys.exit(share > SHARE)
    ifeval = resolve("packaged:ifeval")
    ours = perplexities([r["prompt"] for r in rows])
    theirs = perplexities([r["prompt"] for r in _lines(ifeval)])
    ratio = statistics.median(ours) / statistics.median(theirs)
    print(
        f"evolved: {_quartiles(ours)}\nIFEval:  {_quartiles(theirs)}\nratio of medians: {ratio:.2f}"
    )
    sys.exit(ratio > RATIO or share > SHARE)


if __name__ == "__main__":
    main()
