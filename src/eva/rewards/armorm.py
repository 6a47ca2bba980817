"""ArmoRM's head: rewards for several objectives, weighed by a gate that reads the prompt.

The architecture of RLHFlow/ArmoRM-Llama3-8B-v0.1 (arXiv:2406.12845), written anew, so that none of
the code that comes with its weights has to run. Names of layers are those of its files.

    rewards (objectives) = regression_layer · state of the last token
    weights (objectives) = softmax(gate(state of the prompt's last token) / temperature) · scale
    score                = sum(weights · (rewards · reward_transform_matrix))
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers import LlamaModel, LlamaPreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from eva.errors import RewardError

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import LlamaConfig, PreTrainedTokenizerBase

ARCHITECTURE = "LlamaForRewardModelWithGating"
"""What `architectures` of the model's config names."""

_ANSWER = "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"


class Gate(nn.Module):
    """How much each objective counts, by the prompt."""

    def __init__(self, width: int, objectives: int, *, config: LlamaConfig) -> None:
        super().__init__()
        hidden = getattr(config, "gating_hidden_dim", 1024)
        self.temperature = float(getattr(config, "gating_temperature", 10))
        self.logit_scale = nn.Parameter(torch.ones(1))
        widths = [width, *[hidden] * getattr(config, "gating_n_hidden", 3), objectives]
        self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(widths))

    def forward(self, prompts: Tensor) -> Tensor:
        """Map states of the prompts' last tokens, (B, width), to weights, (B, objectives)."""
        *hidden, last = self.layers
        for layer in hidden:
            prompts = torch.relu(layer(prompts))
        return torch.softmax(last(prompts) / self.temperature, dim=-1) * self.logit_scale


class ArmoRM(LlamaPreTrainedModel):  # type: ignore[no-untyped-call]
    """A Llama with a reward per objective and a gate."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__(config)
        objectives = getattr(config, "num_objectives", 19)
        self.model = LlamaModel(config)
        self.regression_layer = nn.Linear(config.hidden_size, objectives, bias=False)
        self.reward_transform_matrix = nn.Parameter(torch.eye(objectives), requires_grad=False)
        self.gating = Gate(config.hidden_size, objectives, config=config)
        self.answer_ids: tuple[int, ...] = ()
        """Tokens between prompt and answer, which begin with the prompt's last; see `reads`."""
        self.post_init()  # type: ignore[no-untyped-call]

    def reads(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Learn from the tokenizer how a prompt ends and an answer begins in Llama 3's template."""
        self.answer_ids = tuple(tokenizer.encode(_ANSWER, add_special_tokens=False))

    def widen_head(self) -> None:
        """Let all that comes after the Llama compute in float32."""
        self.regression_layer.float()
        self.gating.float()
        self.reward_transform_matrix.data = self.reward_transform_matrix.data.float()

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> SequenceClassifierOutput:
        """Return the scores of conversations as `logits`, (B, 1), from ids padded right, (B, T).

        Raises:
            RewardError: a conversation holds no turn of the assistant's.
        """
        states = self.model(input_ids, attention_mask=attention_mask)[0]
        rows = torch.arange(len(input_ids), device=states.device)
        last = attention_mask.sum(-1) - 1
        ends = [last_start(ids, self.answer_ids) for ids in input_ids.tolist()]
        width = self.regression_layer.weight.dtype
        rewards = self.regression_layer(states[rows, last].to(width))
        weights = self.gating(states[rows, ends].to(width))
        score = (weights * (rewards @ self.reward_transform_matrix)).sum(-1, keepdim=True)
        return SequenceClassifierOutput(logits=score)


def last_start(ids: Sequence[int], run: Sequence[int]) -> int:
    """Return where the last occurrence of a run of tokens starts.

    Raises:
        RewardError: it does not occur.

    >>> last_start([5, 1, 2, 7, 1, 2, 9], [1, 2])
    4
    """
    wanted: Any = list(run)
    for start in range(len(ids) - len(wanted), -1, -1):
        if wanted and list(ids[start : start + len(wanted)]) == wanted:
            return start
    raise RewardError(
        f"ArmoRM: a conversation of {len(ids)} tokens without {_ANSWER!r}; expected Llama 3's chat "
        "template: are the tokenizer's files those of the model?"
    )
