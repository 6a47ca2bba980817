"""The solver: pairs, reference, training (arXiv:2411.00062, Algorithm 1, and sec. 3.3.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from eva.protocols import Engine, Journal, Objective, Progress
from eva.rng import Streams
from eva.solver.fitting import FitSettings, fit
from eva.solver.pairs import PairSettings, make_pairs
from eva.solver.reference import Reference, attach_reference
from eva.types import Example, Json, Pairing, ScoredGroup, Stage


@dataclass(frozen=True)
class PairSolver:
    """A solver that trains on pairs; `eva.protocols.Solver` says what each method promises."""

    objective: Objective
    fitting: FitSettings
    progress: Progress
    pairs: PairSettings
    reference: Reference = "previous"
    scratch: bool = False
    """Whether every round trains the first weights on the pairs of all rounds so far."""

    @property
    def carries(self) -> bool:
        """Whether a round goes on with the optimiser's state of the last one."""
        return self.fitting.carry_optimiser

    def pair(self, scored: Sequence[ScoredGroup], streams: Streams) -> Pairing:
        """Return a pair of each group that has one, and why the others have none."""
        return make_pairs(scored, settings=self.pairs, streams=streams)

    def refer(self, engine: Engine, examples: Sequence[Example]) -> list[Example]:
        """Attach the log-probs of the reference policy."""
        return attach_reference(examples, engine, self.reference)

    def cost(self, examples: Sequence[Example]) -> int:
        """Return the completion tokens that training on the examples goes through."""
        return self.fitting.epochs * sum(example.trained_tokens for example in examples)

    def train(
        self, engine: Engine, examples: Sequence[Example], journal: Journal, streams: Streams
    ) -> Mapping[str, Json]:
        """Train and commit the round's policy; return updates and trained tokens."""
        stage = Stage(streams.round, streams.stage)
        result = fit(
            engine,
            examples,
            objective=self.objective,
            settings=self.fitting,
            checkpoints=journal.checkpoints(stage),
            streams=streams,
            log=partial(journal.log, stage),
            progress=self.progress,
        )
        return {"updates": result.updates, "trained_tokens": result.trained_tokens}
