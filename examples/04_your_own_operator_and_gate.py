"""An operator of your own, which is data, and a gate of your own, which is a class.

A scripted rewriter stands in for the language model here; a model takes its place without a change
to anything else.

    python examples/04_your_own_operator_and_gate.py
"""

import re

from eva.app.load import parse_config
from eva.creator.evolving import evolve
from eva.creator.gates.duplicate import Duplicate
from eva.creator.gates.meta_text import MetaText
from eva.creator.operators import operator_set
from eva.creator.rewriting import Rewriter
from eva.rng import Streams
from eva.types import Group, Prompt, Response

AUDIENCE = {
    "name": "audience",
    "family": "depth",
    "template": "Rewrite the prompt below so that it names who will read the answer.\n"
    "Output only the new prompt.\n\nPrompt:\n{prompt}",
}

# The same operator in a config: two lines, and the template.
CONFIG = {
    "policy": {"model": "random:tiny"},
    "prompts": {"source": "prompts.jsonl"},
    "reward": {"name": "python", "function": "reward.py:reward"},
    "solver": {"objective": "dpo"},
    "creator": {
        "operators": [AUDIENCE],
        "evolver": {"name": "evol_instruct", "operators": ["audience", "constraints"]},
    },
}


class NoPersonalData:
    """A gate: `name`, a call that returns why a child is refused, and `remember`."""

    name = "personal_data"

    def __call__(self, child, lineage):
        found = re.search(r"\S+@\S+|\b\d{3}[- ]\d{3}[- ]\d{4}\b", child.text)
        return found and f"holds {found.group()!r}"

    def remember(self, prompt):
        """Nothing to remember; `Duplicate` does."""


class ScriptedRewriter:
    """An `eva.protocols.Generator` with a few replies, good and bad, by whatever is asked."""

    replies = (
        "{prompt} The reader is a child of ten.",
        "{prompt} The reader is my boss, jo@example.org.",
        "Sure! Here is the rewritten prompt: {prompt}",
        "{prompt} Keep it below fifty words.",
    )

    def sample(self, prompts, params, streams):
        groups = []
        for prompt in prompts:
            last_line = prompt.text.splitlines()[-1]
            reply = str(streams.of(prompt.id, 0).choice(self.replies)).format(prompt=last_line)
            groups.append(Group(prompt, (), (Response(reply, (1,) * 20),), "scripted"))
        return groups


def main():
    section = parse_config(CONFIG).creator
    print(f"the config's operators: {', '.join(section.evolver.operators)}")

    operators = operator_set(["audience", "constraints"], operators=[AUDIENCE])
    seeds = [Prompt.of("Explain how rain forms."), Prompt.of("Suggest a name for a grey cat.")]
    evolutions = evolve(
        seeds,
        evolver=Rewriter(ScriptedRewriter(), operators),
        gates=(MetaText(), NoPersonalData(), Duplicate()),
        children=4,
        streams=Streams(3, 1, "creator/evolve"),
    )
    for seed, evolution in zip(seeds, evolutions, strict=True):
        print(f"\n{seed.text}")
        for child in evolution.children:
            print(f"   + {child.operator:12s} {child.text}")
        for refusal in evolution.refusals:
            print(f"   - {refusal.operator:12s} refused by {refusal.gate}: {refusal.reason}")
    print("\nEach accepted child is the next one's parent; each of the four steps is one attempt.")


if __name__ == "__main__":
    main()
