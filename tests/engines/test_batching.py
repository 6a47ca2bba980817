"""Layouts and micro-batches: hand-worked tensors, invariances, equality of the two layouts."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import Gemma2Config, LlamaConfig, MambaConfig, MistralConfig, Qwen3Config
from transformers.models.auto.modeling_auto import AutoModelForCausalLM

from eva.engines.batching import (
    Layout,
    can_share,
    collate,
    columns_of,
    micro_batches,
    pass_tokens,
    per_example,
    references_of,
    runs,
    shares,
)
from eva.engines.logprobs import Scorer
from eva.errors import SolverError
from eva.types import Example

SIZES = {
    "vocab_size": 61,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
}
CPU = torch.device("cpu")
SEPARATE, SHARED = Layout(1 << 20, shareable=False), Layout(1 << 20, shareable=True)
PAIR = Example("p", (5, 6, 7), ((11, 12), (21, 22, 23)))


def make(config, **kwargs):
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config, dtype=torch.float64, **kwargs).eval()


def drawn(n, seed=0):
    rng = np.random.default_rng(seed)

    def tokens(low, high):
        return tuple(rng.integers(1, 61, rng.integers(low, high)).tolist())

    return [Example(str(i), tokens(2, 9), (tokens(1, 8), tokens(1, 8))) for i in range(n)]


def test_separate_rows_by_hand():
    batch = collate([PAIR], SEPARATE, pad_id=0, device=CPU)
    assert batch.ids.tolist() == [[5, 6, 7, 11, 0], [5, 6, 7, 21, 22]]
    assert batch.mask is None
    assert batch.positions is None
    assert batch.index.tolist() == [2, 3, 7, 8, 9]
    assert batch.targets.tolist() == [11, 12, 21, 22, 23]
    assert batch.lengths == ((2,), (3,))


def test_shared_row_by_hand():
    batch = collate([PAIR], SHARED, pad_id=0, device=CPU)
    assert batch.ids.tolist() == [[5, 6, 7, 11, 21, 22]]
    assert batch.positions.tolist() == [[0, 1, 2, 3, 3, 4]]
    # Both completions are predicted from the prompt's last token on.
    assert batch.index.tolist() == [2, 3, 2, 4, 5]
    assert batch.mask[0, 0].int().tolist() == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [1, 1, 1, 0, 1, 0],
        [1, 1, 1, 0, 1, 1],
    ]


def test_values_come_back_by_slot_and_example():
    other = Example("q", (9,), ((31,), ()))
    batch = collate([PAIR, other], SEPARATE, pad_id=0, device=CPU)
    assert batch.targets.tolist() == [11, 12, 31, 21, 22, 23]
    slots = batch.slots(batch.targets.double())
    assert per_example(slots) == [((11.0, 12.0), (21.0, 22.0, 23.0)), ((31.0,), ())]


@pytest.mark.parametrize("config", [LlamaConfig(**SIZES), Qwen3Config(**SIZES, head_dim=8)])
def test_sharing_a_prompt_changes_neither_values_nor_gradients(config):
    model, examples = make(config), drawn(5)
    assert can_share(model)
    found = []
    for layout in (SEPARATE, SHARED):
        model.zero_grad()
        batch = collate(examples, layout, pad_id=0, device=CPU)
        logprobs = Scorer(model, chunk=16).logprobs(batch)
        (logprobs.exp() * torch.arange(1.0, len(logprobs) + 1)).sum().backward()
        found.append((logprobs.detach(), [p.grad.clone() for p in model.parameters()]))
    (plain, plain_grads), (shared, shared_grads) = found
    assert torch.allclose(plain, shared, atol=1e-6, rtol=0)
    for a, b in zip(plain_grads, shared_grads, strict=True):
        assert torch.allclose(a, b, atol=1e-6 * float(a.abs().max()), rtol=1e-5)


@pytest.mark.parametrize(
    "config",
    [
        Gemma2Config(**SIZES, head_dim=8),
        MistralConfig(**SIZES, sliding_window=4),
        MambaConfig(vocab_size=61, hidden_size=32, num_hidden_layers=2, state_size=4),
    ],
    ids=["gemma2", "mistral", "mamba"],
)
def test_models_with_windows_caps_or_states_do_not_share(config):
    assert not can_share(make(config))


def test_eager_attention_does_not_share():
    assert not can_share(make(LlamaConfig(**SIZES), attn_implementation="eager"))


def test_sharing_must_pay():
    # Saves 50 tokens of 244, and pays for 194^2 instead of 2 x 122^2 / 2 pairs.
    pair = Example("p", (1,) * 50, ((1,) * 73, (1,) * 73))
    assert Layout(576, shareable=True).shares(pair)
    assert not Layout(64, shareable=True).shares(pair)
    assert not Layout(576, shareable=False).shares(pair)
    alone = Example("p", (1,) * 50, ((1,) * 73,))
    assert not Layout(576, shareable=True).shares(alone)
    long = Example("p", (1,) * 300, ((1,) * 2000, (1,) * 2000))
    assert not Layout(4096, shareable=True).shares(long)


lengths = st.lists(
    st.tuples(st.integers(1, 30), st.integers(0, 30), st.integers(0, 30)), max_size=25
)


@given(lengths, st.integers(1, 200), st.integers(1, 4), st.booleans())
def test_every_example_is_in_one_micro_batch_within_the_budget(sizes, budget, world, shareable):
    layout = Layout(40, shareable=shareable)
    examples = [
        Example(str(i), (1,) * p, ((1,) * a, (1,) * b)) for i, (p, a, b) in enumerate(sizes)
    ]
    parts = shares(examples, layout, budget=budget, world=world)
    flat = sorted(i for part in parts for batch in part for i in batch)
    assert flat == list(range(len(examples)))
    assert len(parts) == world
    counts = [sum(map(len, part)) for part in parts]
    assert max(counts) - min(counts) <= 1
    for batch in (batch for part in parts for batch in part):
        tensors = collate([examples[i] for i in batch], layout, pad_id=0, device=CPU)
        assert len(batch) == 1 or tensors.ids.numel() <= budget
        assert len({layout.shares(examples[i]) for i in batch}) == 1


def test_micro_batches_are_sorted_by_length():
    examples = [Example(str(n), (1,) * n, ((1,),)) for n in (3, 9, 4, 8)]
    batches = micro_batches(examples, SEPARATE, budget=18)
    assert batches == [(1, 3), (2, 0)]


def test_micro_batches_are_cut_where_padding_costs_more_than_a_pass():
    examples = [Example(str(n), (1,) * n, ((1,),)) for n in (90, 20, 88, 19)]
    for cost, cut in ((10, [(0, 2), (1, 3)]), (1000, [(0, 2, 1, 3)])):
        layout = Layout(1 << 20, shareable=False, pass_tokens=cost)
        assert micro_batches(examples, layout, budget=400) == cut


@given(st.lists(st.integers(1, 60), max_size=8), st.integers(0, 200))
def test_runs_cost_the_least(lengths, each):
    lengths.sort(reverse=True)
    cut = runs(lengths, each)
    assert [i for part in cut for i in part] == list(range(len(lengths)))

    def cost(parts):
        return sum(each + len(part) * lengths[part[0]] for part in parts)

    inside = range(1, len(lengths))
    for size in range(len(lengths)):
        for ends in combinations(inside, size):
            edges = [0, *ends, len(lengths)]
            assert cost(cut) <= cost([range(a, b) for a, b in pairwise(edges)])


def test_a_pass_costs_a_gpu_more():
    assert pass_tokens(CPU) < pass_tokens(torch.device("cuda"))


def test_odd_examples_are_refused():
    with pytest.raises(SolverError, match="prompt x: an example needs"):
        micro_batches([Example("x", (), ((1,),))], SEPARATE, budget=9)
    with pytest.raises(SolverError, match="prompt y: 1 completions, where others"):
        micro_batches([PAIR, Example("y", (1,), ((1,),))], SEPARATE, budget=9)


def test_references_and_columns_become_tensors():
    like = torch.zeros(1, dtype=torch.float64)
    examples = [
        Example("a", (1,), ((1, 2), (3,)), {"w": 0.1}, reference=((-1.0, -2.0), (-3.0,))),
        Example("b", (1,), ((4,), ()), {"w": 0.2}, reference=((-4.0,), ())),
    ]
    first, second = references_of(examples, like)
    assert (first.values.tolist(), first.lengths) == ([-1.0, -2.0, -4.0], (2, 1))
    assert (second.values.tolist(), second.lengths) == ([-3.0], (1, 0))
    assert columns_of(examples, like)["w"].tolist() == [0.1, 0.2]
    assert references_of([PAIR], like) is None


def test_references_and_columns_must_fit():
    like = torch.zeros(1)
    bare = Example("bare", (1,), ((1, 2),))
    full = Example("full", (1,), ((1, 2),), {"w": 1.0}, reference=((-1.0, -1.0),))
    short = Example("short", (1,), ((1, 2),), reference=((-1.0,),))
    with pytest.raises(SolverError, match="prompt bare: reference log-probs of lengths None"):
        references_of([full, bare], like)
    with pytest.raises(SolverError, match=r"prompt short: reference log-probs of lengths \[1\]"):
        references_of([short], like)
    with pytest.raises(SolverError, match="prompt full: columns"):
        columns_of([bare, full], like)


def test_per_token_columns_become_ragged():
    like = torch.zeros(1, dtype=torch.float64)
    examples = [
        Example("a", (1,), ((1, 2), (3,)), {"w": 0.1}, tokens={"old": (-1.0, -2.0)}),
        Example("b", (1,), ((4,), ()), {"w": 0.2}, tokens={"old": (-4.0,)}),
    ]
    columns = columns_of(examples, like)
    assert columns["w"].tolist() == [0.1, 0.2]
    assert columns["old"].values.tolist() == [-1.0, -2.0, -4.0]
    assert columns["old"].values.dtype == torch.float64
    assert columns["old"].lengths == (2, 1)


def test_per_token_columns_must_fit():
    like = torch.zeros(1)
    bare = Example("bare", (1,), ((1, 2),))
    full = Example("full", (1,), ((1, 2),), tokens={"old": (-1.0, -1.0)})
    short = Example("short", (1,), ((1, 2),), tokens={"old": (-1.0,)})
    twice = Example("twice", (1,), ((1, 2),), {"old": 1.0}, tokens={"old": (-1.0, -1.0)})
    with pytest.raises(SolverError, match=r"prompt full: tokens \['old'\], where others .* \[\]"):
        columns_of([bare, full], like)
    with pytest.raises(SolverError, match="prompt short: 1 numbers 'old' for the 2 tokens"):
        columns_of([full, short], like)
    with pytest.raises(SolverError, match=r"prompt twice: \['old'\] are columns and tokens"):
        columns_of([twice], like)
