from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from eva.evals.quantiles import normal_quantile, t_inside, t_quantile


@given(st.floats(0, 50), st.integers(1, 3000))
def test_t_inside_is_scipys(t: float, df: int) -> None:
    # near 0 it is scipy's that loses digits: its own value is near 1/2
    assert t_inside(t, df) == pytest.approx(2 * stats.t.cdf(t, df) - 1, abs=1e-9)


@pytest.mark.parametrize("df", [1, 2, 3, 4, 7, 23, 63, 476, 100_000])
@pytest.mark.parametrize("level", [0.5, 0.95, 0.999])
def test_t_quantile_is_scipys(df: int, level: float) -> None:
    assert t_quantile(level, df) == pytest.approx(stats.t.ppf((1 + level) / 2, df), rel=1e-8)


def test_normal_quantile_is_scipys() -> None:
    assert normal_quantile(0.9) == pytest.approx(stats.norm.ppf(0.95))
