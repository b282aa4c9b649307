"""Rungs, brackets and their sizes, against the tables of the papers and exact arithmetic."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from itertools import pairwise
from math import ceil, floor, log

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from hpt_core import Study, UsageError
from hpt_stopping_halving.asha import Asha
from hpt_stopping_halving.ladder import bracket_sizes, draw_bracket, make_ladder

# Li et al. 2018, the table for R = 81, eta = 3: (trials, resource) of each rung
R_81 = {
    4: [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)],
    3: [(34, 3), (11, 9), (3, 27), (1, 81)],
    2: [(15, 9), (5, 27), (1, 81)],
    1: [(8, 27), (2, 81)],
    0: [(5, 81)],
}


def test_the_table_of_hyperband() -> None:
    ladder = make_ladder(3, 1, 81)
    sizes = bracket_sizes(3, len(ladder))
    for s, table in R_81.items():
        rungs = ladder[len(ladder) - 1 - s :]
        assert [(sizes[s] // 3**i, rung) for i, rung in enumerate(rungs)] == table


def test_no_rung_is_lost_to_rounding() -> None:
    """A logarithm of floats says that 243 is below 3 ** 5."""
    assert floor(log(243) / log(3)) == 4
    assert make_ladder(3, 1, 243) == (1, 3, 9, 27, 81, 243)
    assert len(bracket_sizes(3, len(make_ladder(3, 1, 243)))) == 6
    assert make_ladder(10, 1, 1000) == (1, 10, 100, 1000)


def test_the_layout_of_asha() -> None:
    """Li et al. 2020: r = 1, R = 9, eta = 3; the rate s raises the first rung, and each rung costs 9 units."""
    for s, layout in enumerate([[(9, 1), (3, 3), (1, 9)], [(9, 3), (3, 9)], [(9, 9)]]):
        ladder = make_ladder(3, 3**s, 9)
        assert [(9 // 3**i, rung) for i, rung in enumerate(ladder)] == layout


def test_the_brackets_of_a_length_that_is_no_power() -> None:
    assert make_ladder(3, 1, 200) == (1, 3, 9, 27, 81, 200)
    assert bracket_sizes(3, 6) == (6, 9, 18, 41, 98, 243)


def test_brackets_are_drawn_in_proportion_to_their_sizes() -> None:
    sizes = bracket_sizes(3, 6)
    n = 40_000
    counts = Counter(draw_bracket(7, number, sizes) for number in range(n))
    expected = [n * size / 415 for size in (6, 9, 18, 41, 98, 243)]
    assert chisquare([counts[s] for s in range(6)], expected).pvalue > 0.001


def test_a_bracket_depends_on_seed_and_number_alone() -> None:
    sizes = bracket_sizes(3, 4)
    assert [draw_bracket(0, number, sizes) for number in range(12)] == [2, 3, 3, 2, 1, 3, 2, 3, 1, 3, 1, 3]
    assert [draw_bracket(0, n, sizes) for n in range(50)] != [draw_bracket(1, n, sizes) for n in range(50)]


@pytest.mark.parametrize(
    ("top", "rungs"),
    [
        (1, (1,)),
        (2, (1, 2)),
        (3, (1, 3)),
        (5, (1, 2, 5)),
        (10, (1, 3, 10)),
        (20, (1, 2, 7, 20)),
        (27, (1, 3, 9, 27)),
        (81, (3, 9, 27, 81)),
        (100, (4, 11, 33, 100)),
    ],
)
def test_derived_rungs(top: int, rungs: tuple[int, ...]) -> None:
    assert make_ladder(3, None, top) == rungs


@given(st.integers(2, 6), st.none() | st.integers(1, 50), st.none() | st.integers(51, 10**6))
def test_a_ladder_ascends_by_eta_to_the_top(eta: int, low: int | None, top: int | None) -> None:
    ladder = make_ladder(eta, low, top)
    assert list(ladder) == sorted(set(ladder))
    assert ladder[0] >= 1
    if top is not None:
        assert ladder[-1] == top
    if low is not None:
        assert ladder[0] == low
        below = ladder if top is None else ladder[:-1]
        assert all(after == eta * before for before, after in pairwise(below))
        assert top is None or ladder[-2] < top <= eta * ladder[-2]


@given(st.integers(2, 10), st.integers(1, 12))
def test_sizes_are_the_exact_ceiling(eta: int, rungs: int) -> None:
    exact = [ceil(Fraction(rungs) * eta**s / (s + 1)) for s in range(rungs)]
    assert list(bracket_sizes(eta, rungs)) == exact


@pytest.mark.parametrize(
    "options",
    [
        {"eta": 1},
        {"eta": 2.5},
        {"min_resource": 0},
        {"max_resource": 0},
        {"min_resource": 9, "max_resource": 9},
        {"mode": "pause"},
    ],
)
def test_bad_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        Study({"x": [1, 2]}, stop={"use": "asha", **options})
    if "mode" not in options:
        with pytest.raises(UsageError):
            Asha(**options)  # type: ignore[arg-type]
