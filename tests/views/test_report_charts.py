import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eva.views.report_charts import Series, bars, histogram, interval, lines, ticks

FINITE = st.floats(-1e9, 1e9, allow_nan=False)


@given(FINITE, FINITE)
def test_ticks_hold_what_they_are_for(a, b):
    low, high = min(a, b), max(a, b)
    levels = ticks(low, high)
    slack = 1e-6 * max(1.0, abs(low), abs(high))
    assert levels[0] <= low + slack
    assert levels[-1] >= high - slack
    assert 2 <= len(levels) <= 8
    assert levels == sorted(set(levels))


def numbers(pattern, drawn):
    return [tuple(map(float, found)) for found in re.findall(pattern, drawn)]


def test_a_line_goes_through_its_points():
    drawn = lines("t", [Series("a", [(1, 0.0), (2, 1.0), (3, 0.5)])])
    points = re.search(r'points="([^"]+)"', drawn)[1].split()
    (x1, y1), (x2, y2), (x3, y3) = (tuple(map(float, p.split(","))) for p in points)
    assert x1 < x2 < x3
    assert x2 - x1 == pytest.approx(x3 - x2)
    # down is up: the highest value has the smallest y, the middle one lies half-way
    assert y2 < y3 < y1
    assert y3 == pytest.approx((y1 + y2) / 2, abs=0.02)
    assert "a, 2: 1.000" in drawn


def test_all_stays_inside_the_drawing():
    series = [Series("a", [(1, -5.0), (2, 8.0)], [(-9, 1), None]), Series("b", [(1, 3.0)])]
    drawn = lines("t", series, zero=True)
    places = numbers(r'cx="([-\d.]+)" cy="([-\d.]+)"', drawn)
    places += numbers(r'x2="([-\d.]+)" y1="[-\d.]+" y2="([-\d.]+)"', drawn)
    assert places
    assert all(0 <= x <= 320 and 0 <= y <= 170 for x, y in places)


def test_a_legend_only_where_there_is_something_to_tell_apart():
    one, two = Series("one", [(1, 1)]), Series("two", [(1, 2)])
    assert 'class="legend"' not in lines("t", [one])
    assert 'class="legend"' in lines("t", [one, two])


def test_nothing_gives_nothing():
    assert lines("t", [Series("a", [])]) == ""
    assert bars("t", [("a", {"x": 0.0})]) == ""
    assert histogram("t", {"a": []}) == ""


def test_long_series_are_thinned_to_means():
    drawn = lines("t", [Series("a", [(i, float(i % 2)) for i in range(3000)])])
    points = re.search(r'points="([^"]+)"', drawn)[1].split()
    assert len(points) == 300
    assert len({p.split(",")[1] for p in points}) == 1


def test_points_that_are_no_numbers_are_left_out():
    drawn = lines("t", [Series("a", [(1, 1.0), (2, float("nan")), (3, 2.0)])])
    assert "nan" not in drawn
    assert len(re.search(r'points="([^"]+)"', drawn)[1].split()) == 2


def test_bars_are_as_long_as_their_figures():
    drawn = bars("t", [("r1", {"a": 10, "b": 30}), ("r2", {"a": 20})])
    found = re.findall(r'width="([\d.]+)" height="16"><title>([^<]+)<', drawn)
    widths = {said: float(width) for width, said in found}
    assert widths["r1, b: 30"] == pytest.approx(3 * widths["r1, a: 10"], rel=1e-3)
    assert widths["r2, a: 20"] == pytest.approx(2 * widths["r1, a: 10"], rel=1e-3)


@given(st.lists(FINITE, min_size=1, max_size=40), st.lists(FINITE, max_size=40))
def test_a_histogram_counts_every_value_once(a, b):
    drawn = histogram("t", {"drawn": a, "not drawn": b})
    assert sum(map(int, re.findall(r", drawn: (\d+)<", drawn))) == len(a)
    assert sum(map(int, re.findall(r", not drawn: (\d+)<", drawn))) == len(b)


def test_an_interval_lies_where_it_says():
    drawn = interval(-0.5, 0.0, 0.5, reach=1.0, kind="none")
    (low, high), middle = numbers(r'x1="([\d.]+)" x2="([\d.]+)" y1="9"', drawn)[0], 76.0
    assert (low + high) / 2 == middle
    assert high - low == 70.0
    assert "+0.000: −0.500 to +0.500" in drawn


def test_names_are_escaped():
    drawn = lines("<t>", [Series("<a>", [(1, 1)]), Series("b", [(1, 2)])])
    assert "<a>" not in drawn
    assert "<t>" not in drawn
