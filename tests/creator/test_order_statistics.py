from __future__ import annotations

import numpy as np
import pytest

from eva.creator.order_statistics import c4, normal_gap, normal_lead, normal_range

# d2, d3 and c4 of the control-chart tables (ASTM E2587).
D2 = {2: 1.128, 3: 1.693, 4: 2.059, 5: 2.326, 6: 2.534, 8: 2.847, 10: 3.078, 25: 3.931}
D3 = {2: 0.853, 3: 0.888, 4: 0.880, 5: 0.864, 6: 0.848, 8: 0.820, 10: 0.797, 25: 0.708}
C4 = {2: 0.7979, 3: 0.8862, 4: 0.9213, 5: 0.9400, 6: 0.9515, 10: 0.9727, 25: 0.9896}


@pytest.mark.parametrize("n", D2)
def test_normal_range(n):
    assert normal_range(n) == pytest.approx((D2[n], D3[n]), abs=6e-4)


@pytest.mark.parametrize("n", [2, 6, 16, 100])
def test_normal_lead_and_gap_against_simulation(n):
    draws = np.sort(np.random.default_rng(n).normal(size=(100_000, n)), axis=1)
    lead = draws[:, -1] - draws.mean(axis=1)
    gap = draws[:, -1] - draws[:, -2]
    assert normal_lead(n) == pytest.approx((lead.mean(), lead.std()), abs=0.01)
    assert normal_gap(n) == pytest.approx((gap.mean(), gap.std()), abs=0.01)


def test_normal_lead_is_half_the_range():
    for n in (2, 3, 7, 40):
        assert normal_lead(n).mean == pytest.approx(normal_range(n).mean / 2, rel=1e-4)


@pytest.mark.parametrize("n", C4)
def test_c4(n):
    assert c4(n) == pytest.approx(C4[n], abs=6e-5)
