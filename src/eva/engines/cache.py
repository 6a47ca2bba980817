"""A preallocated key-value cache whose rows come and go.

Rows are ragged: each writes at its own length, so a new prompt may join rows that are far ahead,
and nothing is ever shifted. transformers' DynamicCache concatenates instead, which copies the
whole cache at every step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import Cache, DynamicCache


class SlotCache(Cache):
    """Keys and values of at most `slots` rows of at most `width` tokens; live rows come first."""

    def __init__(self, slots: int, width: int, *, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__(layers=[])
        self.slots = slots
        self.width = width
        self.rows = 0
        """Live rows, B."""
        self.lengths = torch.zeros(slots, dtype=torch.long, device=device)
        """Tokens held by each row, (slots,)."""
        self._hidden = torch.finfo(dtype).min
        self._mask = torch.full((slots, 1, 1, width), self._hidden, dtype=dtype, device=device)
        self._index = torch.arange(slots, device=device)
        self._keys: list[Tensor] = []
        self._values: list[Tensor] = []
        self._at = self.lengths[:0]
        self._seen = 0

    def admit(self, prompts: DynamicCache, lengths: Sequence[int], copies: int) -> None:
        """Add `copies` rows for each prefilled prompt, (P, heads, T, size), of the given lengths.

        What a prompt holds beyond its length is padding; its rows will write over it.
        """
        begin, self.rows = self.rows, self.rows + copies * len(lengths)
        for index, (keys, values, *_) in enumerate(prompts):
            self._write(index, keys, values, begin=begin)
        self._seen = max(self._seen, prompts.get_seq_length())
        held = torch.tensor(lengths, device=self.lengths.device).repeat_interleave(copies)
        self.lengths[begin : self.rows] = held
        columns = torch.arange(self.width, device=self.lengths.device)
        shown = columns < held[:, None]
        self._mask[begin : self.rows, 0, 0] = torch.where(shown, 0.0, self._hidden).to(
            self._mask.dtype
        )

    def extend(self, longest: int) -> tuple[Tensor, Tensor]:
        """Make room for one token per row; `longest` is the longest row's length without it.

        Returns its position, (B, 1), and the additive attention mask, (B, 1, 1, longest + 1).
        """
        self._at = self.lengths[: self.rows].clone()
        self._seen = longest + 1
        self._mask[self._index[: self.rows], 0, 0, self._at] = 0.0
        self.lengths[: self.rows] += 1
        return self._at[:, None], self._mask[: self.rows, :, :, : self._seen]

    def keep(self, kept: Sequence[int]) -> list[int]:
        """Drop all rows but `kept` and return which old row each row now is.

        Rows beyond the new end move into the holes, so little is copied.
        """
        size = len(kept)
        movers = [row for row in kept if row >= size]
        holes = sorted(set(range(size)) - set(kept))
        order = list(range(size))
        for hole, mover in zip(holes, movers, strict=True):
            order[hole] = mover
        if movers:
            self._move(torch.tensor(movers), torch.tensor(holes))
        self.rows = size
        return order

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        """Write one token per row, (B, heads, 1, size), and return all that the rows hold."""
        keys, values = self._keys[layer_idx], self._values[layer_idx]
        index = self._index[: self.rows]
        keys[index, :, self._at] = key_states[:, :, 0]
        values[index, :, self._at] = value_states[:, :, 0]
        return keys[: self.rows, :, : self._seen], values[: self.rows, :, : self._seen]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Return the length of the longest row before the token that is being written."""
        return self._seen - 1

    def get_mask_sizes(self, query_length: int, layer_idx: int) -> tuple[int, int]:
        """Return the columns that attention sees and the first of them."""
        return self._seen, 0

    def _write(self, index: int, keys: Tensor, values: Tensor, *, begin: int) -> None:
        if index == len(self._keys):
            for buffers, like in ((self._keys, keys), (self._values, values)):
                shape = (self.slots, like.shape[1], self.width, like.shape[3])
                # Zeros, as a masked column still meets its weight of 0, and 0 x NaN is NaN.
                buffers.append(torch.zeros(shape, dtype=like.dtype, device=like.device))
        copies, length = (self.rows - begin) // keys.shape[0], keys.shape[2]
        for buffer, new in ((self._keys[index], keys), (self._values[index], values)):
            buffer[begin : self.rows, :, :length] = new.repeat_interleave(copies, dim=0)

    def _move(self, movers: Tensor, holes: Tensor) -> None:
        movers, holes = movers.to(self.lengths.device), holes.to(self.lengths.device)
        for buffer in (*self._keys, *self._values):
            buffer[holes, :, : self._seen] = buffer[movers, :, : self._seen]
        self._mask[holes] = self._mask[movers]
        self.lengths[holes] = self.lengths[movers]
