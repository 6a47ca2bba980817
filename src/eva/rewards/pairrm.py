"""PairRM: an encoder that reads a request and two answers together, and a score for each.

The architecture of llm-blender/PairRM-hf (arXiv:2306.02561), written anew, since the package that
comes with it does not run with today's transformers. Names of layers are those of its files.

    score(answer) = head(state of the request's mark, state of the answer's mark)
    log-odds of the first answer = score(first) - score(second), mean over tasks
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from transformers import DebertaV2Model, DebertaV2PreTrainedModel

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import DebertaV2Config

ARCHITECTURE = "DebertaV2PairRM"
"""What `architectures` of the model's config names."""

MARKS = ("<|source|>", "<|candidate1|>", "<|candidate2|>")
"""Tokens that stand before the request, the first answer and the second."""

LIMIT = 2048
"""Tokens that its authors give it; relative positions set no limit of their own."""


class PairRM(DebertaV2PreTrainedModel):  # type: ignore[no-untyped-call]
    """A DeBERTa with a head that scores each of two answers."""

    def __init__(self, config: DebertaV2Config) -> None:
        super().__init__(config)
        width = config.hidden_size
        self.pretrained_model = DebertaV2Model(config)
        # dropout comes first and fourth in the published files: it shifts the names of the others
        self.head_layer = nn.Sequential(
            nn.Identity(),
            nn.Linear(2 * width, width),
            nn.Tanh(),
            nn.Identity(),
            nn.Linear(width, getattr(config, "n_tasks", 1)),
        )
        self.post_init()  # type: ignore[no-untyped-call]

    def forward(self, input_ids: Tensor, attention_mask: Tensor, marks: Tensor) -> Tensor:
        """Return the log-odds of the first answers, (B,), float32.

        Args:
            input_ids: padded right, (B, T).
            attention_mask: 1 where there is a token, (B, T).
            marks: places of the marks of request, first and second answer, (B, 3).
        """
        states = self.pretrained_model(input_ids, attention_mask=attention_mask)[0]
        rows = torch.arange(len(input_ids), device=states.device)[:, None]
        request, first, second = states[rows, marks].to(self.head_layer[1].weight.dtype).unbind(1)
        scores = [self.head_layer(torch.cat((request, one), -1)) for one in (first, second)]
        odds: Tensor = (scores[0] - scores[1]).mean(-1).float()
        return odds
