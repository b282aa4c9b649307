"""The tests of difference, the boundary and the adjustment, against scipy, brute force and simulation."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats
from scipy.integrate import quad

from hpt_stopping_folds import adjust
from hpt_stopping_folds.boundary import level, looks
from hpt_stopping_folds.differences import corrected_t, expected_gain, pooled_variance, signed_rank, variance_of
from hpt_stopping_folds.friedman import friedman, least_p
from hpt_stopping_folds.race import _lost

numbers = st.lists(st.floats(-100, 100).map(lambda x: round(x, 6)), min_size=2, max_size=12)
coarse = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=10)


# --- p values -------------------------------------------------------------------------------------


@given(numbers)
def test_the_uncorrected_t_is_scipys(differences: list[float]) -> None:
    assume(np.std(differences) > 1e-6)
    expected = stats.ttest_1samp(differences, 0, alternative="greater").pvalue
    assert corrected_t(differences, 0.0) == pytest.approx(expected, rel=1e-9, abs=1e-15)


def test_the_corrected_t_by_hand() -> None:
    """Five folds of ten: mean 0.02, variance 0.00025, t = 0.02 / sqrt((1/5 + 1/9) * 0.00025)."""
    t = 0.02 / math.sqrt((1 / 5 + 1 / 9) * 0.00025)
    assert corrected_t([0.0, 0.01, 0.02, 0.03, 0.04], 1 / 9) == pytest.approx(stats.t.sf(t, 4), rel=1e-12)


@given(st.floats(-3, 3), st.floats(0.01, 10))
def test_the_expected_gain_is_the_mean_of_what_is_above_zero(behind: float, sd: float) -> None:
    expected = stats.norm.expect(lambda x: x, loc=-behind, scale=sd, lb=0.0)
    assert expected_gain(behind, sd) == pytest.approx(expected, rel=1e-6, abs=1e-7)
    assert expected_gain(behind, 0.0) == max(0.0, -behind)


def test_the_pooled_variance_is_that_within_trials_and_of_the_prior() -> None:
    rows = [[1.0, 2.0, 4.0], [0.0, 0.0], [7.0], [3.0, 3.5]]
    squares = 2 * np.var(rows[0], ddof=1) + np.var(rows[3], ddof=1)
    assert pooled_variance(rows, 9.0, 0.0) == pytest.approx(squares / 3)
    assert pooled_variance(rows, 9.0, 4.0) == pytest.approx((36 + squares) / 7)
    assert pooled_variance([], 9.0, 4.0) == 9.0
    most = 9 * np.var(rows[3], ddof=1)  # the median is that of the last row
    assert pooled_variance(rows, 1e-20, 4.0) == pytest.approx((2 * most + most / 9) / 7)  # no row diverged
    assert variance_of([0.1] * 3) == 0.0


def test_without_spread_there_is_no_evidence() -> None:
    assert corrected_t([0.1, 0.1, 0.1], 0.25) == 1.0
    assert corrected_t([0.0, 0.0], 0.25) == 1.0
    assert corrected_t([0.1 + 0.2, 0.3, 0.3], 0.25) == 1.0  # rounding is no spread
    assert signed_rank([0.0, 0.0, 0.0]) == 1.0
    assert signed_rank([]) == 1.0


@given(st.lists(st.integers(1, 10**6), unique=True, min_size=1, max_size=20), st.randoms(use_true_random=False))
def test_the_exact_signed_rank_is_scipys(sizes: list[int], random: Any) -> None:
    differences = [random.choice([-1.0, 1.0]) * size for size in sizes]
    expected = stats.wilcoxon(differences, alternative="greater", method="exact").pvalue
    assert signed_rank(differences) == pytest.approx(expected, rel=1e-12)


@given(coarse)
def test_the_signed_rank_with_ties_is_that_of_all_signs(differences: list[float]) -> None:
    d = np.array([x for x in differences if x])
    if not len(d):
        assert signed_rank(differences) == 1.0
        return
    ranks = stats.rankdata(np.abs(d))
    sums = np.array(list(product([0, 1], repeat=len(d)))) @ ranks
    assert signed_rank(differences) == pytest.approx(np.mean(sums >= ranks[d > 0].sum()), rel=1e-12)


@pytest.mark.parametrize("decimals", [8, 1])
def test_the_signed_rank_of_many_is_scipys_approximation(decimals: int) -> None:
    d = np.random.default_rng(0).normal(0.2, 1, 80).round(decimals)
    d = d[d != 0]
    expected = stats.wilcoxon(d, alternative="greater", method="approx", correction=False).pvalue
    assert signed_rank(d.tolist()) == pytest.approx(expected, rel=1e-9)


def test_up_to_five_folds_wilcoxon_has_almost_no_power() -> None:
    assert [signed_rank([1.0 + i for i in range(j)]) for j in range(2, 6)] == [0.25, 0.125, 0.0625, 0.03125]


# --- Friedman -------------------------------------------------------------------------------------


@given(st.integers(3, 5), st.integers(2, 8), st.integers(0, 10**6), st.sampled_from([1, 9]))
def test_friedman_is_scipys(k: int, b: int, seed: int, decimals: int) -> None:
    y = np.random.default_rng(seed).normal(size=(b, k)).round(decimals)
    expected = stats.friedmanchisquare(*y.T).pvalue
    found = friedman(y)
    assert found.p == pytest.approx(expected, rel=1e-9)
    ranks = stats.rankdata(y, axis=1)
    a, c, t1 = float((ranks**2).sum()), b * k * (k + 1) ** 2 / 4, float(stats.chi2.isf(found.p, k - 1))
    assume(a > c and found.p > 1e-12)
    # the other form of the same difference, by way of the statistic
    inner = 2 * b * (a - c) / ((b - 1) * (k - 1)) * (1 - t1 / (b * (k - 1)))
    expected = stats.t.ppf(0.975, (b - 1) * (k - 1)) * math.sqrt(max(0.0, inner))
    assert found.critical_difference(0.05) == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_the_example_of_conover() -> None:
    """Section 5.8, example 1: twelve homeowners rank four grasses. Only the first is clearly behind the second."""
    grasses = np.array([
        [4, 4, 3, 3, 4, 2, 1, 2, 3.5, 4, 4, 3.5],
        [3, 2, 1.5, 1, 2, 2, 3, 4, 1, 1, 2, 1],
        [2, 3, 1.5, 2, 1, 2, 2, 1, 2, 3, 3, 2],
        [1, 1, 4, 4, 3, 4, 4, 3, 3.5, 2, 1, 3.5],
    ])  # fmt: skip
    found = friedman(grasses.T)
    assert found.rank_sums.tolist() == [38, 23.5, 24.5, 34]
    assert stats.chi2.isf(found.p, 3) == pytest.approx(8.097, abs=5e-4)
    assert found.critical_difference(0.05) == pytest.approx(11.48, abs=5e-3)
    assert _lost(grasses[[1, 2, 3, 0]], 0.05) == (0, found.p)
    assert _lost(grasses, 0.05)[0] is None
    assert _lost(grasses[[1, 2, 3, 0]], 0.04)[0] is None  # p is .044


def test_friedman_of_nothing_but_ties() -> None:
    assert friedman(np.ones((4, 3))).p == 1.0


def test_the_least_p_of_friedman_is_that_of_candidates_in_the_same_order_on_all_blocks() -> None:
    for b, k in ((5, 3), (6, 6)):
        assert least_p(b, k) == pytest.approx(stats.friedmanchisquare(*np.tile(np.arange(k), (b, 1)).T).pvalue)


# --- many looks -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "constant"), [(2, 2.178), (3, 2.289), (4, 2.361), (5, 2.413), (10, 2.555)])
def test_the_constants_of_pocock(count: int, constant: float) -> None:
    """His two-sided 5 % is our one-sided 2.5 %: both ends are hardly ever crossed."""
    assert stats.norm.isf(level(0.025, looks(1, count))) == pytest.approx(constant, abs=1e-3)


@pytest.mark.parametrize(("alpha", "at"), [(0.1, (3, 4)), (0.1, (3, 4, 5, 6)), (0.05, (8, 10, 15, 23)), (0.3, (1, 9))])
def test_the_boundary_is_crossed_with_probability_alpha(alpha: float, at: tuple[int, ...]) -> None:
    correlation = [[math.sqrt(min(n, m) / max(n, m)) for n in at] for m in at]
    c = stats.norm.isf(level(alpha, at))
    below = stats.multivariate_normal(cov=np.array(correlation)).cdf(np.full(len(at), c))
    assert 1 - below == pytest.approx(alpha, abs=2e-4)


def test_looks() -> None:
    assert looks(3, 4) == (3, 4)
    assert looks(5, 4) == ()
    assert looks(8, 27) == tuple(range(8, 28))
    many = looks(8, 999)
    assert (many[0], many[-1]) == (8, 999)
    assert len(many) <= 20
    assert 0.1 / 20 < level(0.1, many) < 0.1


# --- how often it errs ----------------------------------------------------------------------------


def share_stopped(test: Callable[[Sequence[float]], float], alpha: float, first: int, d: Any) -> float:
    """The share of rows of d (trials, folds) that are stopped before their last fold."""
    at = looks(first, d.shape[1] - 1)
    limit = level(alpha, at)
    return float(np.mean([any(row[:n].mean() > 0 and test(row[:n]) < limit for n in at) for row in d]))


@pytest.mark.parametrize("k", [5, 10])
@pytest.mark.parametrize("correlated", [False, True])
def test_t_keeps_its_error_for_trials_as_good_as_the_incumbent(k: int, correlated: bool) -> None:
    """Also where folds are correlated by 1 / k, as overlapping training sets make them."""
    rng = np.random.default_rng(k)
    rho = 1 / k if correlated else 0.0
    shared, own = rng.normal(size=(4000, 1)), rng.normal(size=(4000, k))
    d = math.sqrt(rho) * shared + math.sqrt(1 - rho) * own
    assert share_stopped(lambda row: corrected_t(row, 1 / (k - 1)), 0.1, 3, d) <= 0.1 + 0.01


@pytest.mark.parametrize("decimals", [9, 0])
def test_wilcoxon_keeps_its_error_for_trials_as_good_as_the_incumbent(decimals: int) -> None:
    d = np.random.default_rng(1).normal(size=(3000, 20)).round(decimals)
    assert share_stopped(signed_rank, 0.1, 8, d) <= 0.1 + 0.01


@pytest.mark.parametrize(("repeats", "errors"), [(3, (0.17, 0.09, 0.24)), (10, (0.27, 0.06, 0.34))])
def test_the_errors_on_repeated_splits_are_those_of_the_readme(repeats: int, errors: tuple[float, ...]) -> None:
    """Five folds, whose training sets correlate the differences by 1/5; the right ratio is 1/4."""
    k, rng = 5 * repeats, np.random.default_rng(0)
    d = math.sqrt(0.2) * rng.normal(size=(800, 1)) + math.sqrt(0.8) * rng.normal(size=(800, k))
    for_t = [share_stopped(partial(corrected_t, ratio=ratio), 0.1, 3, d) for ratio in (1 / (k - 1), 0.25)]
    assert [*for_t, share_stopped(signed_rank, 0.1, 8, d)] == pytest.approx(errors, abs=0.03)


def test_both_stop_trials_that_are_really_worse() -> None:
    d = np.random.default_rng(2).normal(1.5, 1, size=(300, 20))
    assert share_stopped(signed_rank, 0.1, 8, d) > 0.95
    assert share_stopped(lambda row: corrected_t(row, 1 / 19), 0.1, 3, d) > 0.95


# --- a fair value ---------------------------------------------------------------------------------


def table_of(rows: Sequence[Mapping[int, float]]) -> Any:
    """The values (rows, folds), NaN where a trial has not done a fold, and the variance within each row."""
    folds = sorted({fold for row in rows for fold in row})
    values = np.array([[row.get(fold, math.nan) for fold in folds] for row in rows])
    return values, np.array([variance_of(list(row.values())) for row in rows])


def adjusted_mean(own: Mapping[int, float], others: Sequence[Mapping[int, float]]) -> float:
    return adjust.adjusted_mean(*table_of([own, *others]))


def nearness(own: Mapping[int, float], others: Sequence[Mapping[int, float]]) -> list[float]:
    return [float(weight) for weight in adjust.nearness(*table_of([own, *others]))]


def test_a_trial_that_did_the_hard_folds_is_not_blamed_for_them() -> None:
    """Fold 1 is 0.2 below the mean for twenty others that are about as good, fold 3 as much above."""
    whole = [{1: 0.5 + 0.001 * i, 2: 0.7 + 0.001 * i, 3: 0.9 + 0.001 * i} for i in range(-10, 10)]
    assert adjusted_mean({1: 0.49}, whole) == pytest.approx(0.69, abs=0.005)
    assert adjusted_mean({3: 0.89}, whole) == pytest.approx(0.69, abs=0.005)
    assert adjusted_mean({1: 0.49, 3: 0.89}, whole) == pytest.approx(0.69, abs=0.005)
    assert adjusted_mean({1: 0.4}, []) == 0.4
    assert adjusted_mean({1: 1.0, 2: 3.0, 3: 2.0}, whole) == 2.0


rows = st.lists(st.dictionaries(st.integers(1, 5), st.floats(-10, 10), min_size=1), min_size=1, max_size=7)


@given(rows, st.data())
def test_fold_effects_are_the_least_squares_of_the_whole_table(
    table: list[dict[int, float]], data: st.DataObject
) -> None:
    """With a column per trial and per fold, and a line of zeros for each fold that shrinks its effect."""
    folds = sorted({fold for row in table for fold in row})
    weights = data.draw(st.lists(st.floats(0.1, 1), min_size=len(table), max_size=len(table)))
    shrinkage = data.draw(st.floats(0.05, 1))
    n, k = len(table), len(folds)
    design = [np.sqrt(shrinkage) * np.eye(n + k)[n + j] for j in range(k)]
    values = [0.0] * k
    for i, (row, weight) in enumerate(zip(table, weights, strict=True)):
        for fold, value in row.items():
            design.append(np.sqrt(weight) * (np.eye(n + k)[i] + np.eye(n + k)[n + folds.index(fold)]))
            values.append(float(np.sqrt(weight)) * value)
    fit = np.linalg.lstsq(np.array(design), np.array(values), rcond=None)[0][n:]
    assert adjust.fold_effects(table_of(table)[0], np.array(weights), shrinkage) == pytest.approx(
        fit, rel=1e-6, abs=1e-6
    )


@given(rows, st.floats(0.01, 100), st.floats(-100, 100))
def test_the_adjustment_follows_the_unit_of_the_values(table: list[dict[int, float]], a: float, b: float) -> None:
    scaled = [{fold: a * value + b for fold, value in row.items()} for row in table]
    spread = [np.ptp(list(row.values())) for row in table]
    assume(max(spread) == 0 or min(s for s in spread if s) > 1e-3)
    found = adjusted_mean(scaled[0], scaled[1:])
    assert found == pytest.approx(a * adjusted_mean(table[0], table[1:]) + b, rel=1e-5, abs=1e-4)


def test_nearer_trials_have_more_weight() -> None:
    """The hard fold of good models is no harder than others for one that guesses."""
    good = [{1: 0.70, 2: 0.95, 3: 0.96}, {1: 0.72, 2: 0.97, 3: 0.95}]
    guess = {1: 0.40, 2: 0.41, 3: 0.39}
    assert nearness({1: 0.4}, [*good, guess])[2] == 1.0
    assert max(nearness({1: 0.4}, [*good, guess])[:2]) < 0.02
    assert adjusted_mean({1: 0.40}, [*good, guess]) == pytest.approx(0.40, abs=0.02)
    assert adjusted_mean({1: 0.71}, [*good, guess]) == pytest.approx(0.87, abs=0.02)
    assert nearness({1: 0.4}, [{1: 0.4, 2: 0.4}]) == [0.0]  # constant: nothing to learn


def test_a_trial_of_one_fold_says_nothing_about_the_spread_within_trials() -> None:
    own, several = {1: 0.71, 2: 0.93}, [{1: 0.70, 2: 0.95, 3: 0.96}, {1: 0.72, 2: 0.97, 3: 0.95}]
    assert nearness(own, [*several, {1: 0.9}])[:2] == nearness(own, several)


def test_a_trial_whose_folds_vary_much_more_than_those_of_others_has_less_weight() -> None:
    """Variances .01, .04 and 9, of which nine medians are pooled: .36 / 9 is left of the last weight."""
    others = [{1: 0.4, 2: 0.5, 3: 0.6}, {1: 0.4, 2: 0.6, 3: 0.2}, {1: 0.4, 2: 3.4, 3: -2.6}]
    assert nearness({1: 0.4}, others) == pytest.approx([1, 1, 0.04])


@pytest.mark.parametrize("big", [1e3, 1e30, 1e100])
def test_a_fit_that_diverged_on_a_fold_hardly_counts(big: float) -> None:
    rng = np.random.default_rng(0)
    effects = rng.normal(0, 0.2, 5)
    whole = [dict(enumerate(level + effects + rng.normal(0, 0.01, 5))) for level in rng.normal(1, 0.05, 8)]
    own = {0: 1 + effects[0], 1: 1 + effects[1]}
    clean = adjusted_mean(own, whole)
    assert clean == pytest.approx(1 + effects.mean(), abs=0.03)
    diverged = {0: 1 + effects[0], 1: 1.0, 2: big, 3: 1.0, 4: -big / 2}
    assert adjusted_mean(own, [*whole, diverged]) == pytest.approx(clean, abs=0.02)
    behind = [[row[i] - whole[0][i] for i in range(5)] for row in whole]
    known = pooled_variance(behind, 1e-4, 4.0)
    assert pooled_variance([*behind, *[list(diverged.values())] * 20], 1e-4, 4.0) == known


def test_a_trial_that_did_all_folds_keeps_its_mean_beside_fits_that_diverged() -> None:
    diverged = [{1: 1e100, 2: 0.3, 3: 0.1}, {1: 0.3, 2: 1e100, 3: 0.2}]
    assert adjusted_mean({1: 0.25, 2: 0.75, 3: 0.5}, diverged) == 0.5


@pytest.mark.parametrize("big", [1e4, 1e30, 1e100])
@pytest.mark.parametrize("first", [1.3, 0.5])
def test_one_trial_tells_the_effects_of_folds_on_which_all_others_diverged(big: float, first: float) -> None:
    """Those that diverged were stopped at once, or were complete before any other trial."""
    sane = {0: 1.0, 1: 1.2, 2: 0.9, 3: 1.1, 4: 0.8}
    stopped = [{0: 1.1 + 0.01 * i, 1: big * (1 + i)} for i in range(9)]
    complete = [dict.fromkeys(range(5), big * i) for i in (1, 2)]
    found = adjusted_mean({0: first}, [*stopped, sane, *complete])
    assert found == adjusted_mean({0: first}, [sane])
    assert found == pytest.approx(first, abs=0.2)
    maximised = [{fold: -value for fold, value in row.items()} for row in (*stopped, sane, *complete)]
    assert adjusted_mean({0: -first}, maximised) == -found


def test_a_trial_with_equal_values_on_all_folds_excludes_no_other() -> None:
    """A model that always predicts one of two classes has an accuracy of 0.5 on each fold, which others may average."""
    others = [{0: 0.42, 1: 0.58, 2: 0.7, 3: 0.8}, {0: 0.41, 1: 0.61, 2: 0.69, 3: 0.8}]
    found = adjusted_mean({0: 0.4, 1: 0.6}, [dict.fromkeys(range(4), 0.5), *others])
    assert found > 0.55  # the last two folds are easy
    assert found == pytest.approx(
        adjusted_mean({0: 0.4, 1: 0.6}, [dict.fromkeys(range(4), 0.500001), *others]), abs=1e-3
    )


def test_a_fold_that_is_hard_for_all_trials_is_hard_for_one_that_has_not_done_it() -> None:
    whole = [{0: 0.01 * i, 1: 0.01 * i + 0.1, 2: 1e6 + 1e5 * (i % 3)} for i in range(9)]
    assert adjusted_mean({0: 0.045}, whole) == pytest.approx(1.1e6 / 3, rel=0.1)


def test_of_ordinary_trials_hardly_any_is_left_out() -> None:
    """Trials that are better or worse than each other by ten times as much as their folds differ."""
    rng, with_some_left_out = np.random.default_rng(0), 0
    for _ in range(1000):
        count, folds = rng.integers(2, 41), rng.integers(2, 11)
        y = rng.uniform(-10, 10, (count, 1)) + rng.normal(size=folds) + rng.normal(size=(count, folds))
        done = rng.integers(1, folds + 1, (count, 1))
        done[1] = folds
        with_some_left_out += int(adjust.diverged(np.where(np.arange(folds) < done, y, math.nan)).any())
    assert with_some_left_out <= 4  # where one trial happens to be 100 times nearer than another


@given(rows, st.randoms(use_true_random=False))
def test_order_does_not_matter_for_the_adjustment(table: list[dict[int, float]], random: Any) -> None:
    shuffled = table[1:]
    random.shuffle(shuffled)
    own = list(table[0].items())
    random.shuffle(own)
    found = adjusted_mean(dict(own), shuffled)
    assert found == pytest.approx(adjusted_mean(table[0], table[1:]), rel=1e-9, abs=1e-9)


def test_the_adjustment_is_nearer_to_the_whole_mean() -> None:
    rng = np.random.default_rng(0)
    plain, adjusted = [], []
    for _ in range(200):
        y = rng.normal(0, 1, (8, 1)) + rng.normal(0, 1, 5) + rng.normal(0, 0.3, (8, 5))
        others = [dict(enumerate(row)) for row in y[1:]]
        own = dict(enumerate(y[0, :2]))
        plain.append((y[0, :2].mean() - y[0].mean()) ** 2)
        adjusted.append((adjusted_mean(own, others) - y[0].mean()) ** 2)
    assert np.mean(adjusted) < 0.3 * np.mean(plain)


@pytest.mark.parametrize("alpha", [1e-6, 1e-12, 1e-15, 1e-18])
def test_the_boundary_holds_for_the_smallest_error(alpha: float) -> None:
    # of two looks at 1 and 2: P(S1 > c or S2 > sqrt(2) c) by the bivariate normal distribution
    c = stats.norm.isf(level(alpha, (1, 2)))
    both, _ = quad(lambda x: stats.norm.pdf(x) * stats.norm.sf(np.sqrt(2) * c - x), c, c + 8, epsabs=0.0)
    assert 2 * stats.norm.sf(c) - both == pytest.approx(alpha, rel=1e-4)
