"""PASHA's soft ranking and its estimate of noise, against direct readings of the definitions."""

from __future__ import annotations

from itertools import combinations, pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpt_stopping_halving.growth import agree, height, noise

if TYPE_CHECKING:
    from hpt_stopping_halving.bracket import Rung


def ranked(losses: dict[int, float]) -> Rung:
    return sorted((loss, number) for number, loss in losses.items())


small = st.integers(0, 9).map(float)


@given(st.dictionaries(st.integers(0, 7), st.tuples(small, small), min_size=1), st.sampled_from([0.0, 0.5, 1.0, 3.0]))
def test_soft_ranking_by_its_definition(both: dict[int, tuple[float, float]], tolerance: float) -> None:
    lower = {number: pair[0] for number, pair in both.items()} | {99: -1.0}  # one that did not get higher
    upper = {number: pair[1] for number, pair in both.items()}
    top = [number for _, number in ranked(upper)]
    bottom = [number for _, number in ranked(lower) if number != 99]
    soft = [{number for number in bottom if abs(lower[number] - lower[at]) <= tolerance} for at in bottom]
    expected = all(number in alike for number, alike in zip(top, soft, strict=True))
    assert agree(ranked(lower), ranked(upper), tolerance) == expected


def test_height_by_hand() -> None:
    low, same, swapped = ranked({0: 1, 1: 2, 2: 3}), ranked({0: 1, 1: 2}), ranked({0: 2, 1: 1})
    one: Rung = [(1.0, 0)]
    none: list[Rung] = [[], []]
    assert height([low, [], *none], lambda _: 0.0) == 1
    assert height([low, one, *none], lambda _: 0.0) == 1
    assert height([low, same, *none], lambda _: 0.0) == 1
    assert height([low, swapped, *none], lambda _: 0.0) == 2
    assert height([low, swapped, *none], lambda _: 1.0) == 1
    assert height([low, swapped, one, []], lambda _: 0.0) == 2  # what was granted stays granted
    assert height([low, same, swapped, []], lambda _: 0.0) == 3
    assert height([low, same, same, swapped], lambda _: 0.0) == 3
    assert height([low, swapped], lambda _: 0.0) == 1
    assert height([low], lambda _: 0.0) == 0
    assert height([low, same, swapped, same], lambda _: 0.0, {0, 1}) == 1  # both were the best of a run that ended
    assert height([low, swapped, same, []], lambda _: 0.0, {0}) == 2


def direct(curves: list[list[float]]) -> float:
    found = []
    for one, other in combinations(curves, 2):
        gaps = [a - b for a, b in zip(one, other, strict=True) if not np.isnan(a - b)]
        signs = [np.sign(gap) for gap in gaps if gap != 0]
        if sum(a != b for a, b in pairwise(signs)) >= 2:
            found.append(abs(gaps[-1]))
    return float(np.percentile(found, 90)) if found else 0.0


@given(
    st.integers(1, 8).flatmap(
        lambda n: st.lists(st.lists(small | st.just(np.nan), min_size=n, max_size=n), min_size=1, max_size=6)
    )
)
def test_noise_by_its_definition(curves: list[list[float]]) -> None:
    assert noise(np.array(curves)) == pytest.approx(direct(curves))


def test_noise_of_noisy_curves_is_of_the_size_of_the_noise() -> None:
    rng = np.random.default_rng(0)
    curves = 1 / np.arange(1, 50) + rng.normal(0, 0.1, (20, 49))
    assert 0.1 < noise(curves) < 0.4
    apart = np.arange(20)[:, None] + 1 / np.arange(1, 50)
    assert noise(apart) == 0.0
