"""A whole game of offline eva in a few seconds: everything is real but the policy.

The policy has a skill per field. It answers a task well where the skill is above the task's level,
and a pair of answers teaches as much as their rewards differ. That is the assumption behind eva,
built into this world: the table shows how the game works, not that it will work for you.

    python examples/02_a_game_without_models.py
"""

import numpy as np

from eva import offline
from eva.app.progress import Silent
from eva.creator.creator import EvaCreator
from eva.creator.informativeness import METRICS
from eva.creator.sampling import SAMPLERS
from eva.runs.memory import MemoryJournal
from eva.solver.fitting import FitSettings
from eva.solver.pairs import PairSettings
from eva.solver.solver import PairSolver
from eva.types import Group, Prompt, Proposal, Response, SamplingParams, Score, ScoredGroup, Stage

FIELDS, ROUNDS = ("maths", "law", "cooking", "music", "physics"), 10


def task(field, level, number):
    return Prompt.of(f"{field} task number {number}, level {level:.2f}")


def read(prompt):
    words = prompt.text.split()
    return FIELDS.index(words[0]), float(words[-1])


class Learner:
    """An `eva.protocols.Engine` with five numbers for weights; it is also what is measured."""

    version, name = "learner", "exam"

    def __init__(self):
        self.skill, self.gradient, self.fields = np.zeros(5), np.zeros(5), {}

    def quality(self, prompt, luck=0.0):
        field, level = read(prompt)
        self.fields[prompt.id] = field
        return float(1 / (1 + np.exp(-4 * (self.skill[field] - level + luck))))

    def sample(self, prompts, params, streams):
        def answer(prompt, i):
            luck = 0.4 * streams.of(prompt.id, i).normal()
            return Response(str(self.quality(prompt, luck)), (i,))

        answers = [tuple(answer(p, i) for i in range(params.n)) for p in prompts]
        return [Group(p, (0,), a, self.version) for p, a in zip(prompts, answers, strict=True)]

    def forward_backward(self, examples, objective, normaliser):
        for e in examples:
            contrast = e.columns["reward_chosen"] - e.columns["reward_rejected"]
            self.gradient[self.fields[e.prompt_id]] += contrast / normaliser
        return {}

    def step(self, lr, clip):
        self.skill, self.gradient = self.skill + lr * self.gradient, np.zeros(5)
        return 1.0

    def logprobs(self, examples, *, base=False):
        return [tuple((0.0,) * len(ids) for ids in e.completions) for e in examples]

    def save(self, folder, *, optimiser=False):
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "skill.npy", self.skill)

    def load(self, folder, *, optimiser=False):
        self.skill = np.load(folder / "skill.npy") if folder else np.zeros(5)

    def evaluate(self, policy, streams):
        tasks = [task(field, level, 0) for field in FIELDS for level in np.linspace(0, 3, 13)]
        return {"rows": [], "metrics": {"exam": float(np.mean([self.quality(t) for t in tasks]))}}


class Quality:
    """A reward model: here the answer itself says how good it is."""

    def score(self, groups):
        return [ScoredGroup(g, tuple(Score(float(r.text)) for r in g.responses)) for g in groups]


class Variation:
    """An evolver: in depth another level, a little higher on average; in breadth another field."""

    chain = True

    def propose(self, parents, step, streams):
        return [self.child(parent, streams.of(parent.id, step), streams) for parent in parents]

    def child(self, parent, rng, streams):
        field, level = read(parent)
        field = int(rng.integers(5)) if rng.random() < 0.2 else field
        text = task(FIELDS[field], level + rng.normal(0.2, 0.5), rng.integers(10**6)).text
        child = parent.rewritten(text, operator="variation", born=streams.round)
        return Proposal(parent, "variation", child)


def creator(**changes):
    parts = {"informativeness": METRICS["a_min"], "sampler": SAMPLERS["weighted"]}
    return EvaCreator(**(parts | {"evolver": Variation()} | changes))


ARMS = {
    "eva": creator(),
    "no evolving": creator(evolver=None),
    "uniform evolving": creator(sampler=SAMPLERS["uniform"]),
    "static prompts": None,
}


def play(arm, budget=None):
    """Return figures by round, (rounds, 3), and the tokens spent by the end of each round."""
    rng, learner, journal = np.random.default_rng(0), Learner(), MemoryJournal()
    human = tuple(task(f, rng.normal(0, 0.5), i) for i in range(12) for f in FIELDS)
    game = offline.Game(
        human=human,
        engine=learner,
        reward=Quality(),
        solver=PairSolver(None, FitSettings(lr=0.4), progress=Silent(), pairs=PairSettings()),
        answers=SamplingParams(n=6),
        creator=ARMS[arm],
        evaluators=(learner,),
        # without new prompts the subset is drawn from the human ones: else it shrinks every round
        source="human" if arm == "no evolving" else "last",
        budget=budget,
        evaluate_every_round=True,
    )
    rows, spent = [], []
    for record in offline.rounds(game, journal, until=ROUNDS):
        levels = [read(prompt)[1] for prompt in journal.prompts(record["prompts"])]
        rows.append([record["solver"]["reward_margin"], np.mean(levels)])
        spent.append(record["tokens"]["total"])
    exams = [journal.once(Stage(t, "evaluate"), dict)["exam"] for t in range(1, ROUNDS + 1)]
    return np.column_stack([exams, rows]), dict(enumerate(np.cumsum(spent).tolist(), start=1))


def main():
    eva, tokens = play("eva")  # the other arms may generate and train on as many tokens
    played = {"eva": eva} | {arm: play(arm, tokens)[0] for arm in ARMS if arm != "eva"}
    titles = (
        "exam: quality of answers to tasks of level 0 to 3, never trained on",
        "contrast: mean difference of rewards of a pair",
        "level: mean level of the round's tasks",
    )
    for column, title in enumerate(titles):
        print(f"\n{title}\n{'round':18s}" + "".join(f"{t:7d}" for t in range(1, ROUNDS + 1)))
        for arm, rows in played.items():
            print(f"{arm:18s}" + "".join(f"{value:7.2f}" for value in rows[:, column]))
    print(
        "\nAll arms spend the same number of tokens. eva begins slowly, since half of its answers"
        "\nonly choose prompts, and goes on where the human prompts are mastered and have little"
        "\ncontrast left. Uniform evolving runs past what the policy can do: little contrast again."
    )


if __name__ == "__main__":
    main()
