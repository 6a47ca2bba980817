"""Sentence embeddings: how near two texts are in meaning.

A neutral module, so that evaluation (relevance) and rewards may both use it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eva.errors import ConfigError
from eva.types import Floats

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Encoder:
    """A sentence encoder: a transformer whose token states are averaged (arXiv:1908.10084)."""

    model: Any
    """A transformers model with `last_hidden_state`, in eval mode."""
    tokenizer: Any
    batch_size: int = 32
    max_tokens: int = 256
    """Tokens of a text that are read, special ones included; the rest is cut off."""

    @classmethod
    def load(
        cls, folder: Path | str, *, device: str = "cpu", batch_size: int = 32, max_tokens: int = 256
    ) -> Encoder:
        """Load an encoder in float32 from a local folder, such as all-MiniLM-L6-v2's.

        Raises:
            ConfigError: there is no model in the folder.
        """
        import torch
        from transformers import AutoModel, AutoTokenizer

        if not (Path(folder) / "config.json").is_file():
            raise ConfigError(
                f"encoder: no config.json in {folder}; expected the folder of a sentence encoder"
                " (all-MiniLM-L6-v2: config.json, model.safetensors, tokenizer.json)"
            )
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = AutoModel.from_pretrained(
            folder, dtype=torch.float32, local_files_only=True, use_safetensors=True
        )
        return cls(model.to(device).eval(), tokenizer, batch_size, max_tokens)

    def embed(self, texts: Sequence[str]) -> Floats:
        """Return unit vectors, (N, D); a blank text, which has no meaning, gets the zero vector.

        Batches are made by length; the make-up of a batch can change the last bits of a vector.
        """
        vectors = np.zeros((len(texts), self.model.config.hidden_size))
        order = sorted(
            (i for i, text in enumerate(texts) if text.strip()), key=lambda i: len(texts[i])
        )
        for start in range(0, len(order), self.batch_size):
            batch = order[start : start + self.batch_size]
            vectors[batch] = self._vectors([texts[i] for i in batch]).cpu().numpy()
        return vectors

    def similarity(self, a_texts: Sequence[str], b_texts: Sequence[str]) -> Floats:
        """Return the cosine similarity of each pair, (N,), from -1 to 1; 0 with a blank text."""
        a, b = self.embed(a_texts), self.embed(b_texts)
        return np.asarray(np.einsum("nd,nd->n", a, b))

    def _vectors(self, texts: list[str]) -> Tensor:
        """Return unit vectors of one batch, (B, D), in float64.

        The sum of the token states has the direction of their mean.
        """
        import torch

        batch = self.tokenizer(
            texts, padding=True, truncation=True, max_length=self.max_tokens, return_tensors="pt"
        ).to(self.model.device)
        with torch.inference_mode():
            states: Tensor = self.model(**batch).last_hidden_state
        mask = batch["attention_mask"].unsqueeze(-1).to(states.dtype)
        sums = (states * mask).sum(1).double()
        return torch.nn.functional.normalize(sums, dim=-1)
