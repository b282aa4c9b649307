"""The permutation: a bijection of range(n) for any n, other for other seeds, without a visible pattern."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2, spearmanr

from hpt_sampler_grid.permutation import Permutation


@pytest.mark.parametrize("size", [*range(1, 130), 1000, 1023, 1024, 1025, 4097])
def test_it_is_a_bijection(size: int) -> None:
    permutation = Permutation(size, seed=size)
    assert sorted(permutation[i] for i in range(size)) == list(range(size))


@given(st.integers(1, 10**40), st.integers(0, 2**64), st.data())
def test_on_huge_ranges_it_stays_inside_and_never_repeats(size: int, seed: int, data: st.DataObject) -> None:
    indices = data.draw(st.sets(st.integers(0, size - 1), max_size=30))
    permutation = Permutation(size, seed)
    images = [permutation[i] for i in indices]
    assert len(set(images)) == len(images)
    assert all(0 <= image < size for image in images)
    assert images == [Permutation(size, seed)[i] for i in indices]


def test_an_index_out_of_range_raises() -> None:
    for index in (-1, 10):
        with pytest.raises(IndexError, match=r"range\(10\)"):
            _ = Permutation(10, 0)[index]


@pytest.mark.parametrize("size", [5, 6, 9, 16])
def test_over_seeds_all_images_are_equally_likely(size: int) -> None:
    counts = np.zeros((size, size))
    seeds = 1500
    for seed in range(seeds):
        permutation = Permutation(size, seed)
        counts[np.arange(size), [permutation[i] for i in range(size)]] += 1
    expected = seeds / size
    statistic = ((counts - expected) ** 2 / expected).sum()
    assert chi2.sf(statistic, (size - 1) ** 2) > 1e-4  # doubly stochastic: (n-1)^2 degrees of freedom


@pytest.mark.parametrize("size", [2000, 10**12, 10**30])
def test_no_trend_along_the_order(size: int) -> None:
    permutation = Permutation(size, 3)
    first = [float(permutation[i]) for i in range(1000)]
    assert spearmanr(range(1000), first).pvalue > 1e-3
    assert spearmanr(first[:-1], first[1:]).pvalue > 1e-3
    assert np.histogram(first, 10, (0, float(size)))[0].min() > 60  # 100 expected, sd < 10
