"""Examples to tensors: micro-batches by token budget, and prompts computed once.

Two layouts of an example with completions a and b:

    separate    p p p a a a      shared    p p p a a a b b
                p p p b b                  (b attends to p and b, and counts positions from p)

The last token of a completion predicts nothing and is left out of both. Rows are padded on the
right, where a causal model's real tokens cannot see; so the separate layout needs no mask.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from eva.errors import SolverError
from eva.types import Example, Ints, Ragged

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel


@dataclass(frozen=True, slots=True)
class Batch:
    """A micro-batch as the model takes it: R rows of L tokens, T completion tokens in all."""

    ids: Tensor
    """(R, L)"""
    mask: Tensor | None
    """Which keys a query sees, (R, 1, L, L); None means plain causal."""
    positions: Tensor | None
    """(R, L); None means 0, 1, 2, ..."""
    index: Tensor
    """Where in the flattened rows each completion token is predicted, (T,)."""
    targets: Tensor
    """The completion tokens, (T,): the first slot of every example, then the second, and so on."""
    lengths: tuple[tuple[int, ...], ...]
    """Lengths of the completions by slot and example."""

    def slots(self, values_T: Tensor) -> tuple[Ragged, ...]:
        """Cut per-token values, (T,), into one `Ragged` per completion slot."""
        sizes = [sum(lengths) for lengths in self.lengths]
        parts = torch.split(values_T, sizes)
        return tuple(Ragged(part, n) for part, n in zip(parts, self.lengths, strict=True))


@dataclass(frozen=True, slots=True)
class Layout:
    """How examples become rows."""

    width: int
    """Hidden size of the model, which says when sharing a prompt pays."""
    shareable: bool
    """Whether the model can compute a prompt once for several completions."""
    pass_tokens: int = 1 << 20
    """What one more micro-batch costs, in tokens; the default cuts none to save padding."""

    def shares(self, example: Example) -> bool:
        """Whether the example's completions share one row, and so the prompt.

        A layer's weights cost about 24 hidden^2 operations per token and its attention 4 hidden
        per pair of positions, half of them skipped by a plain causal mask; sharing saves tokens
        but pays for every pair of its longer row.
        """
        rows = [_row_tokens(example, c) for c in example.completions]
        shared = len(example.prompt_ids) + sum(rows) - len(rows) * len(example.prompt_ids)
        pairs = shared**2 - sum(n * n for n in rows) / 2
        return self.shareable and len(rows) > 1 and 6 * self.width * (sum(rows) - shared) > pairs

    def shape(self, example: Example) -> tuple[bool, int, int]:
        """Return whether it shares, its number of rows, and the tokens of its longest row."""
        rows = [_row_tokens(example, c) for c in example.completions]
        if not self.shares(example):
            return False, len(rows), max(rows)
        prompt = len(example.prompt_ids)
        return True, 1, prompt + sum(n - prompt for n in rows)


def micro_batches(
    examples: Sequence[Example], layout: Layout, *, budget: int
) -> list[tuple[int, ...]]:
    """Group indices of examples into micro-batches of at most `budget` tokens, padding included.

    Longest first; completions of one example stay together, and an example longer than the budget
    is a micro-batch of its own. Layouts are not mixed.

    Raises:
        SolverError: an example without a prompt or completions, or of another number of them.
    """
    return shares(examples, layout, budget=budget, world=1)[0]


def shares(
    examples: Sequence[Example], layout: Layout, *, budget: int, world: int
) -> list[list[tuple[int, ...]]]:
    """Return the micro-batches of each of `world` processes, whose work is alike.

    Raises:
        SolverError: as `micro_batches`.
    """
    _check(examples)
    shapes = [layout.shape(example) for example in examples]
    order = sorted(range(len(examples)), key=lambda i: (shapes[i][0], -shapes[i][2], i))
    groups = [_grouped(order[rank::world], shapes, budget) for rank in range(world)]
    return [
        [part for group in own for part in _cut(group, shapes, layout.pass_tokens)]
        for own in groups
    ]


def _grouped(
    order: Sequence[int], shapes: Sequence[tuple[bool, int, int]], budget: int
) -> list[tuple[int, ...]]:
    batches: list[list[int]] = []
    for i in order:
        shared, rows, _ = shapes[i]
        first = shapes[batches[-1][0]] if batches else None
        if first and first[0] == shared and (len(batches[-1]) + 1) * rows * first[2] <= budget:
            batches[-1].append(i)
        else:
            batches.append([i])
    return [tuple(batch) for batch in batches]


def _cut(
    group: tuple[int, ...], shapes: Sequence[tuple[bool, int, int]], each: int
) -> Iterator[tuple[int, ...]]:
    """Cut a micro-batch where the padding that this saves is worth another pass."""
    tokens = [shapes[i][1] * shapes[i][2] for i in group]
    yield from (group[part.start : part.stop] for part in runs(tokens, each))


def pass_tokens(device: torch.device) -> int:
    """Return how many tokens take as long as one more pass through the weights, whatever its size.

    A GPU waits for kernels to be launched for it.
    """
    return 64 if device.type == "cpu" else 2048


def runs(lengths: Sequence[int], each: int) -> list[range]:
    """Cut falling lengths into runs of the least cost: rows times the longest, and `each` per run.

    >>> runs([90, 88, 20, 19, 18], 10)
    [range(0, 2), range(2, 5)]
    >>> runs([90, 88, 20, 19, 18], 1000)
    [range(0, 5)]
    """
    costs, begins = [0], [0]
    for end in range(1, len(lengths) + 1):
        cost, begin = min((costs[b] + each + lengths[b] * (end - b), b) for b in range(end))
        costs.append(cost)
        begins.append(begin)
    cut: list[range] = []
    end = len(lengths)
    while end:
        cut.append(range(begins[end], end))
        end = begins[end]
    return cut[::-1]


def collate(
    examples: Sequence[Example], layout: Layout, *, pad_id: int, device: torch.device
) -> Batch:
    """Make the tensors of one micro-batch, whose examples all share their prompt or all do not."""
    shared = layout.shares(examples[0])
    rows = [row for example in examples for row in _rows(example, shared)]
    width = max(len(row.ids) for row in rows)
    ids = np.full((len(rows), width), pad_id)
    for filled, row in zip(ids, rows, strict=True):
        filled[: len(row.ids)] = row.ids
    index = [r * width + where for r, row in enumerate(rows) for where in row.predicting()]
    completions = [np.array(c, dtype=np.int64) for e in examples for c in e.completions]
    # From example-major, as rows come, to slot-major, as objectives want it.
    slots = len(examples[0].completions)
    order = [i for slot in range(slots) for i in range(slot, len(index), slots)]
    return Batch(
        ids=torch.from_numpy(ids).to(device),
        mask=_mask(rows, width).to(device) if shared else None,
        positions=_positions(rows, width).to(device) if shared else None,
        index=torch.from_numpy(np.concatenate([index[i] for i in order])).to(device),
        targets=torch.from_numpy(np.concatenate([completions[i] for i in order])).to(device),
        lengths=tuple(
            tuple(len(example.completions[slot]) for example in examples) for slot in range(slots)
        ),
    )


def references_of(examples: Sequence[Example], like: Tensor) -> tuple[Ragged, ...] | None:
    """Return the reference log-probs by slot, in the type of `like`; None if none have any.

    Raises:
        SolverError: some have none, or they are not aligned with the completions.
    """
    if all(example.reference is None for example in examples):
        return None
    for example in examples:
        got = None if example.reference is None else [len(part) for part in example.reference]
        want = [len(completion) for completion in example.completions]
        if got != want:
            raise SolverError(
                f"prompt {example.prompt_id}: reference log-probs of lengths {got} for completions "
                f"of lengths {want}; compute them anew for the examples as they are"
            )
    slots = zip(*(example.reference or () for example in examples), strict=True)
    return tuple(
        Ragged(like.new_tensor([v for part in slot for v in part]), tuple(map(len, slot)))
        for slot in slots
    )


def columns_of(examples: Sequence[Example], like: Tensor) -> dict[str, Tensor | Ragged]:
    """Return the examples' columns as tensors, (B,), and their tokens as `Ragged`, by name.

    All are in the type of `like`.

    Raises:
        SolverError: examples have different columns, or tokens not aligned with the completion.
    """
    first = examples[0]
    for example in examples:
        _check_columns(example, first)
    columns: dict[str, Tensor | Ragged] = {
        name: like.new_tensor([e.columns[name] for e in examples]) for name in first.columns
    }
    for name in first.tokens:
        rows = [example.tokens[name] for example in examples]
        flat = like.new_tensor([value for row in rows for value in row])
        columns[name] = Ragged(flat, tuple(map(len, rows)))
    return columns


def per_example(slots: Sequence[Ragged]) -> list[tuple[tuple[float, ...], ...]]:
    """Turn per-slot values of B examples into B tuples of per-completion values."""
    cut = [
        [tuple(part.tolist()) for part in torch.split(ragged.values, list(ragged.lengths))]
        for ragged in slots
    ]
    return list(zip(*cut, strict=True))


def hidden_states(model: PreTrainedModel, batch: Batch) -> Tensor:
    """Return the last hidden state where a completion token is predicted, (T, hidden)."""
    out = model.base_model(
        input_ids=batch.ids,
        attention_mask=batch.mask,
        use_cache=False,
        **({} if batch.positions is None else {"position_ids": batch.positions}),
    )
    states: Tensor = out[0]
    return states.flatten(0, 1).index_select(0, batch.index)


def can_share(model: PreTrainedModel) -> bool:
    """Whether the model can compute a prompt once for several completions.

    It must take a mask of our own (sdpa), attend in full in every layer, keep no recurrent state,
    read positions from position ids, and agree with separate rows on a probe.
    """
    config = model.config.get_text_config().to_dict()
    layers = config.get("layer_types")
    windowed = config.get("sliding_window") and config.get("use_sliding_window", True)
    full = set(layers) == {"full_attention"} if layers else not windowed
    takes_mask = model.config._attn_implementation == "sdpa" and not model._is_stateful
    capped = config.get("attn_logit_softcapping") or config.get("alibi")
    return full and takes_mask and not capped and _agrees(model)


@torch.no_grad()
def _agrees(model: PreTrainedModel) -> bool:
    probe = [Example("probe", (1, 2, 3), ((4, 5, 6), (7, 8, 9, 10)))]
    # A width without bound, so that sharing always pays.
    layouts = [Layout(width=1 << 30, shareable=shareable) for shareable in (False, True)]
    batches = [collate(probe, each, pad_id=0, device=model.device) for each in layouts]
    separate, shared = (hidden_states(model, batch) for batch in batches)
    tolerance = 0.05 if torch.finfo(shared.dtype).bits < 32 else 1e-4
    size = float(separate.abs().max())
    return torch.allclose(separate, shared, rtol=0.0, atol=tolerance * size)


@dataclass(frozen=True, slots=True)
class _Row:
    ids: Ints
    """Prompt and completions, each completion without its last token, (tokens,)."""
    segments: Ints
    """0 for the prompt, 1, 2, ... for the completions, (tokens,)."""
    prompt: int
    completions: tuple[int, ...]
    """Lengths of the completions, last tokens included."""

    def predicting(self) -> Iterator[Ints]:
        """For each completion the positions predicting its tokens: the prompt's last, its own."""
        start = self.prompt
        for length in self.completions:
            where = np.arange(start - 1, start - 1 + length)
            where[:1] = self.prompt - 1
            yield where
            start += max(length - 1, 0)


def _rows(example: Example, shared: bool) -> Iterator[_Row]:
    groups = [example.completions] if shared else [(c,) for c in example.completions]
    for group in groups:
        parts = [example.prompt_ids, *(c[:-1] for c in group)]
        ids = np.array([token for part in parts for token in part], dtype=np.int64)
        segments = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        yield _Row(ids, segments, len(example.prompt_ids), tuple(map(len, group)))


def _row_tokens(example: Example, completion: tuple[int, ...]) -> int:
    return len(example.prompt_ids) + max(len(completion) - 1, 0)


def _mask(rows: Sequence[_Row], width: int) -> Tensor:
    """Which keys each query sees: earlier ones of the prompt and of its own completion."""
    seen = np.full((len(rows), width), -1)
    for filled, row in zip(seen, rows, strict=True):
        filled[: len(row.segments)] = row.segments
    segments = torch.from_numpy(seen)
    same = (segments[:, :, None] == segments[:, None, :]) | (segments[:, None, :] == 0)
    return (same & torch.ones(width, width, dtype=torch.bool).tril())[:, None]


def _positions(rows: Sequence[_Row], width: int) -> Tensor:
    positions = np.zeros((len(rows), width), dtype=np.int64)
    for filled, row in zip(positions, rows, strict=True):
        parts = [np.arange(row.prompt)]
        parts += [row.prompt + np.arange(max(n - 1, 0)) for n in row.completions]
        filled[: len(row.ids)] = np.concatenate(parts)
    return torch.from_numpy(positions)


def _check(examples: Sequence[Example]) -> None:
    for example in examples:
        if not example.prompt_ids or not example.completions:
            raise SolverError(f"prompt {example.prompt_id}: an example needs a prompt's tokens")
        if len(example.completions) != len(examples[0].completions):
            raise SolverError(
                f"prompt {example.prompt_id}: {len(example.completions)} completions, where "
                f"others of its batch have {len(examples[0].completions)}; train them apart"
            )


def _check_columns(example: Example, first: Example) -> None:
    where = f"prompt {example.prompt_id}"
    for kind in ("columns", "tokens"):
        got, want = getattr(example, kind).keys(), getattr(first, kind).keys()
        if got != want:
            raise SolverError(
                f"{where}: {kind} {sorted(got)}, where others of its batch have {sorted(want)}"
            )
    if twice := example.columns.keys() & example.tokens.keys():
        raise SolverError(f"{where}: {sorted(twice)} are columns and tokens; rename one of each")
    length = len(example.completions[0])
    for name, values in example.tokens.items():
        if len(values) != length:
            raise SolverError(
                f"{where}: {len(values)} numbers {name!r} for the {length} tokens of its first "
                "completion; compute them anew for the examples as they are"
            )
