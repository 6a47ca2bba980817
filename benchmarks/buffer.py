"""What a batch of online eva costs its creator, with as many prompts in the buffer as may be.

    python benchmarks/buffer.py                         10^3, 10^5 and 10^6 prompts; some minutes
    python benchmarks/buffer.py --sizes 1000 100000     seconds
    python benchmarks/buffer.py --json out.json         and the numbers as JSON

The buffer is full. A batch takes 8 prompts, half of them from it, ranks them, picks 4 seeds and
puts 16 children in, which evicts the oldest. Texts are on disk, in a `population.sqlite` of the
same size whose prompts have up to four ancestors: the look-up of the batch's prompts and of the
seeds' lineage is measured with the batch. Evolving itself and the gates do not hang on the buffer's
size and are left out; so is the policy. The sizes take turns, batch by batch.

Beside a batch, which every step pays: `commit`, the children's entry in the population, synced to
disk; `state`, what a checkpoint keeps of the creator; `pack`, the clearing away of the places of
prompts that left, once in size / 64 batches. Times are those of a clock, so a busy machine inflates
them; `batch, CPU` is what the process itself computed, and nothing of a batch waits for the disk.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import tracemalloc
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from round_game import Clock, Timed

from eva.creator.informativeness import informativeness
from eva.creator.lineage import ancestors
from eva.creator.online import BufferCreator, OnlineSizes
from eva.creator.sampling import SAMPLERS
from eva.rng import Streams
from eva.runs.folder import versions
from eva.runs.population import Population
from eva.types import Evolution, Prompt, Stage

BATCH, ANSWERS, SEEDS, CHILDREN = 8, 4, 4, 4
"""The paper's sizes: prompts of a batch, answers to each, seeds, children of each."""

WARM = 3
"""Batches of each size that are not counted."""

PARTS = ("draw", "look-up", "lineage", "rank", "add", "figures")
"""What every batch pays; their sum is `batch`."""
WHOLE = ("batch", "batch, CPU")
BESIDE = ("commit", "state")

ENTRY = 1000
"""Prompts that enter together while a buffer is filled."""


class Stand:
    """A creator whose buffer is full, and the population that its prompts are in."""

    def __init__(self, size: int, batches: int, folder: Path) -> None:
        """Fill it; takes about a minute for 10^6 prompts."""
        self.size = size
        path = folder / f"{size}.sqlite"
        path.touch()
        self.population = Population(path)
        self.population.create()
        # enough that the human set is not used up, so that every batch is half from the buffer
        human = [_made(f"human-{i}") for i in range(BATCH * (batches + WARM + 1))]
        self.creator = BufferCreator(
            human,
            informativeness=informativeness("a_avg"),
            sampler=SAMPLERS["greedy"],
            evolver=None,
            sizes=OnlineSizes(batch=BATCH, buffer=size, children=CHILDREN),
        )
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self._rng = np.random.default_rng(size)
        with self.population.transaction():
            self.population.add_prompts(human)
        self._fill()

    def _fill(self) -> None:
        ids: list[str] = []
        for start in range(0, self.size, ENTRY):
            numbers = range(start, min(start + ENTRY, self.size))
            # the first ones have none; then eight prompts share a parent
            made = [_made(str(i), ids[i // 8] if ids else "") for i in numbers]
            with self.population.transaction():
                self.population.add_prompts(made)
            worth = {prompt.id: float(self._rng.random()) for prompt in made}
            self.creator.add([Evolution(p.id, (p,), ()) for p in made], worth, step=0)
            ids += [prompt.id for prompt in made]

    def play(self, step: int) -> None:
        """Play a batch and keep the seconds of its parts, unless it is one of the warm-up."""
        clock, streams = Clock(), Streams(self.size, 1, f"step-{step}")
        computed = time.process_time()
        population = Timed(self.population, "population", clock)
        with clock.at("draw"):
            prompts = self.creator.draw(population, streams, step=step).prompts
        clock.seconds["look-up"] = clock.seconds["population.prompts"]
        clock.seconds["draw"] -= clock.seconds["look-up"]
        rewards = self._rng.random((len(prompts), ANSWERS)).tolist()
        with clock.at("rank"):
            values = self.creator.rank(rewards).values
            seeds = [prompts[i] for i in self.creator.seeds(values, streams)]
        with clock.at("lineage"):
            ancestors([*seeds[: SEEDS - 1], prompts[-1]], self.population)
        evolutions = [Evolution(seed.id, tuple(_children(seed, step)), ()) for seed in seeds]
        with clock.at("add"):
            self.creator.add(evolutions, {seed.id: 0.5 for seed in seeds}, step=step)
        with clock.at("figures"):
            self.creator.figures(step=step)
        computed = time.process_time() - computed
        with clock.at("commit"), self.population.transaction():
            self.population.add_rows(Stage(1, "evolve"), evolutions)
        with clock.at("state"):
            self.creator.state()
        if step > WARM:
            for name in (*PARTS, *BESIDE):
                self.seconds[name].append(clock.seconds[name])
            self.seconds["batch"].append(sum(clock.seconds[name] for name in PARTS))
            self.seconds["batch, CPU"].append(computed)

    def result(self) -> dict[str, Any]:
        """Return median and 90th percentile by part, ms, and the memory of the index, MB."""
        held = vars(self.creator.buffer).values()
        index = sum(value.nbytes for value in held if isinstance(value, np.ndarray))
        # the ids inside are a set of numbers, which arrays do not count
        for ids in (value for value in held if isinstance(value, set)):
            index += sys.getsizeof(ids) + sum(map(sys.getsizeof, ids))
        pack, peak = self._pack()
        return {
            "size": len(self.creator.buffer),
            "phase": self.creator.phase,
            "ms": {name: _spread(self.seconds[name]) for name in (*PARTS, *WHOLE, *BESIDE)},
            "pack_ms": 1000 * pack,
            "index_mb": index / 1e6,
            "peak_mb": peak / 1e6,
        }

    def _pack(self) -> tuple[float, int]:
        """Return the seconds of a packing, and the most memory it takes beyond what is there."""
        buffer = self.creator.buffer
        began = time.perf_counter()
        buffer.restore(buffer.state())
        took = time.perf_counter() - began
        tracemalloc.start()
        buffer.restore(buffer.state())
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return took, peak


def _made(name: str, parent: str = "") -> Prompt:
    text = f"Write two short sentences about thing number {name}, and end with a question."
    return Prompt.of(text, parents=(parent,) if parent else (), operator="swap")


def _children(seed: Prompt, step: int) -> Iterator[Prompt]:
    for i in range(CHILDREN):
        yield seed.rewritten(f"{seed.text} {step}.{i}", operator="add", born=1)


def _spread(seconds: Sequence[float]) -> dict[str, float]:
    values = 1000 * np.array(seconds)
    return {"median": float(np.median(values)), "p90": float(np.quantile(values, 0.9))}


def measure(sizes: Sequence[int], *, batches: int) -> list[dict[str, Any]]:
    """Return what batches cost by size; the sizes take turns."""
    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        stands = []
        for size in sizes:
            stands.append(Stand(size, batches, Path(place)))
            stack.callback(stands[-1].population.close)
            print(f"a buffer of {size} is full", file=sys.stderr, flush=True)
        for step in range(1, WARM + batches + 1):
            for stand in stands:
                stand.play(step)
        return [stand.result() for stand in stands]


def text(results: Sequence[Mapping[str, Any]], *, batches: int) -> str:
    """Return the table: a column of median and 90th percentile for every size."""
    load = ", ".join(f"{load:.1f}" for load in os.getloadavg())
    width = 22
    lines = [
        f"{machine()}, load {load}; numpy {np.__version__}; {batches} batches of each size",
        "",
        "ms, median (p90)" + "".join(f"{row['size']:>{width},}" for row in results),
    ]
    for name in (*PARTS, *WHOLE, *BESIDE):
        spreads = [row["ms"][name] for row in results]
        cells = [f"{s['median']:.3f} ({s['p90']:.3f})".rjust(width) for s in spreads]
        lines.append(f"{name:<16}" + "".join(cells))
    for name, unit in (("pack_ms", "pack, ms"), ("index_mb", "index, MB"), ("peak_mb", "peak, MB")):
        lines.append(f"{unit:<16}" + "".join(f"{row[name]:>{width}.2f}" for row in results))
    longest = 100 * results[-1]["ms"]["batch, CPU"]["median"] / 1000
    lines += ["", f"what the last column computes is 1 % of a step of {longest:.2f} s"]
    return "\n".join(lines)


def machine() -> str:
    """Return the processor's name."""
    # the name of the module is that of a builtin
    found: dict[str, Any] = import_module("round").machine()
    return f"{found['cpu']}, {found['cores']} cores"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[10**3, 10**5, 10**6])
    parser.add_argument("--batches", type=int, default=200, help="of each size; default: 200")
    parser.add_argument("--json", type=Path, help="also write the numbers there")
    options = parser.parse_args(arguments)
    results = measure(options.sizes, batches=options.batches)
    print(text(results, batches=options.batches))
    if options.json:
        found = {"versions": versions(), "batches": options.batches, "sizes": results}
        options.json.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
