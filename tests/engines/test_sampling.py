import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from eva.engines.sampling import _rank, draw, draw_checked, finished
from eva.errors import GenerationError
from eva.types import SamplingParams


def reference(logits, uniform, temperature, top_p):
    """Nucleus sampling of one row, straight from its definition, in float64."""
    p = np.exp(logits / temperature - np.max(logits / temperature))
    p /= p.sum()
    order = np.argsort(-p, kind="stable")
    before = np.cumsum(p[order]) - p[order]
    kept = order[before < top_p]
    mass = np.cumsum(p[kept])
    return kept[np.searchsorted(mass, uniform * mass[-1], side="right")]


def draw_each(logits, uniforms, **how):
    rows = torch.tensor(logits, dtype=torch.float64).expand(len(uniforms), -1)
    return draw(rows, torch.as_tensor(uniforms, dtype=torch.float64), **how)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    vocabulary=st.sampled_from([2, 5, 64, 65, 300, 1500]),
    spread=st.sampled_from([0.01, 1.0, 6.0]),
    temperature=st.sampled_from([0.5, 1.0, 1.7]),
    top_p=st.sampled_from([0.05, 0.5, 0.9, 0.999, 1.0]),
)
def test_every_tier_draws_what_the_definition_says(seed, vocabulary, spread, temperature, top_p):
    rng = np.random.default_rng(seed)
    logits = (spread * rng.normal(size=vocabulary)).astype(np.float32)
    uniforms = rng.random(8)
    tokens, _ = draw_each(logits, uniforms, temperature=temperature, top_p=top_p)
    expected = [reference(logits.astype(float), u, temperature, top_p) for u in uniforms]
    # float32 logits leave a uniform that falls on a boundary free to go either way.
    assert sum(a != b for a, b in zip(tokens.tolist(), expected, strict=True)) <= 1


@pytest.mark.parametrize("top_p", [0.5, 0.9, 0.97, 1.0])
def test_what_is_drawn_early_is_what_the_whole_row_says(top_p):
    # Flat enough that nuclei end far beyond the first tier, while most draws fall into it.
    rng = torch.Generator().manual_seed(0)
    logits = 2.5 * torch.randn(400, 5000, generator=rng)
    uniforms = torch.rand(400, generator=rng, dtype=torch.float64)
    tokens, _ = draw(logits, uniforms, temperature=1.0, top_p=top_p)
    top = logits.sort(-1, descending=True)
    shares = (top.values - logits.logsumexp(-1)[:, None]).double().exp()
    rank, known = _rank(shares, uniforms, top_p, whole=True)
    assert known.all()
    assert tokens.tolist() == top.indices.gather(-1, rank[:, None])[:, 0].tolist()
    _, early = _rank(shares[:, :64], uniforms, top_p, whole=False)
    reached = shares[:, :64].sum(-1) >= top_p
    assert early.sum() > max(100, reached.sum())


def test_a_hand_worked_nucleus():
    logits = np.log([0.1, 0.5, 0.4])
    # Nucleus of 0.8: tokens 1 and 2, mass 0.9; the boundary lies at 0.5 / 0.9.
    tokens, logprobs = draw_each(logits, [0.0, 0.55, 0.56, 0.999], temperature=1.0, top_p=0.8)
    assert tokens.tolist() == [1, 1, 2, 2]
    # Recorded at temperature 1 and without the nucleus.
    assert logprobs.exp().tolist() == pytest.approx([0.5, 0.5, 0.4, 0.4])


def test_temperature_shapes_the_draw_but_not_the_logprob():
    logits = np.log([0.8, 0.2])
    # At temperature 0.5 the odds are 16 : 1.
    tokens, logprobs = draw_each(logits, [0.93, 0.95], temperature=0.5, top_p=1.0)
    assert tokens.tolist() == [0, 1]
    assert logprobs.exp().tolist() == pytest.approx([0.8, 0.2])


def test_greedy_takes_the_likeliest():
    tokens, logprobs = draw_each([0.0, 2.0, 1.0], [0.0, 0.99], temperature=0.0, top_p=1.0)
    assert tokens.tolist() == [1, 1]
    assert logprobs[0].item() == pytest.approx(2 - np.log(1 + np.e**2 + np.e))


@pytest.mark.parametrize("top_p", [0.7, 1.0])
def test_frequencies_match_the_nucleus(top_p):
    logits = np.array([1.0, 0.2, -0.5, 2.0, 0.9, -3.0])
    draws = 20_000
    tokens, _ = draw_each(
        logits, np.random.default_rng(1).random(draws), temperature=0.8, top_p=top_p
    )
    p = np.exp(logits / 0.8) / np.exp(logits / 0.8).sum()
    order = np.argsort(-p)
    out = order[np.cumsum(p[order]) - p[order] >= top_p]
    p[out] = 0
    expected = draws * p / p.sum()
    seen = np.bincount(tokens.numpy(), minlength=6)
    assert seen[out].sum() == 0
    inside = expected > 0
    chi_square = ((seen - expected)[inside] ** 2 / expected[inside]).sum()
    assert chi_square < 20.5  # 0.999 quantile at 5 degrees of freedom


def test_flat_rows_reach_the_last_token():
    tokens, _ = draw_each(np.zeros(3000), [0.0, 0.9999999], temperature=1.0, top_p=1.0)
    assert len(set(tokens.tolist())) == 2
    assert all(0 <= token < 3000 for token in tokens.tolist())


def test_impossible_tokens_are_never_drawn():
    logits = np.full(200, -np.inf)
    logits[[3, 150]] = 0.0
    tokens, _ = draw_each(logits, np.linspace(0, 0.9999999, 50), temperature=1.0, top_p=1.0)
    assert set(tokens.tolist()) == {3, 150}


def test_a_row_does_not_depend_on_its_neighbours():
    rng = torch.Generator().manual_seed(3)
    logits = torch.randn(6, 500, generator=rng)
    uniforms = torch.rand(6, generator=rng, dtype=torch.float64)
    together, _ = draw(logits, uniforms, temperature=0.7, top_p=0.9)
    alone = [
        draw(logits[i : i + 1], uniforms[i : i + 1], temperature=0.7, top_p=0.9)[0]
        for i in range(6)
    ]
    assert together.tolist() == [token.item() for token in alone]


def test_logits_that_are_not_finite_stop_the_run():
    logits = torch.tensor([[0.0, 1.0], [0.0, float("nan")]])
    with pytest.raises(GenerationError, match="not finite"):
        draw_checked(logits, [0.5, 0.5], SamplingParams())


def test_only_an_end_token_makes_a_stop():
    assert finished([4, 9], [-1.0, -2.0], frozenset({9})).finish == "stop"
    assert finished([9, 4], [-1.0, -2.0], frozenset({9})).finish == "length"
