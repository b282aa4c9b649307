"""The maximiser against brute force and dense grids; the climber on known functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from hpt_core import Categorical, Float, Int, Space
from hpt_sampler_bayes.acquisition import ExpectedImprovement
from hpt_sampler_bayes.candidates import candidates, perturb
from hpt_sampler_bayes.climb import _Curvature, climb
from hpt_sampler_bayes.encoding import Encoding
from hpt_sampler_bayes.gp import GP
from hpt_sampler_bayes.maximise import maximise, refine

if TYPE_CHECKING:
    from hpt_sampler_bayes.kernel import FloatArray


def fitted(encoding: Encoding, n: int, seed: int, scale: float = 8.0) -> tuple[ExpectedImprovement, FloatArray]:
    rng = np.random.default_rng(seed)
    u = encoding.snap(rng.random((n, len(encoding.columns))))
    z, y = encoding.encode(u), rng.standard_normal(n)
    groups = len(encoding.columns)
    theta = np.append(np.full(groups, np.log(scale)), [0.0, np.log(1e-4)])
    gp = GP.fit(z, y, theta=theta, group=encoding.group)
    return ExpectedImprovement(gp, float(y.min())), u[np.argsort(y)[:5]]


@pytest.mark.parametrize("seed", range(5))
def test_on_a_small_finite_space_it_equals_brute_force(seed: int) -> None:
    space = Space(
        {
            "a": Categorical("p", "q", "r"),
            "b": Int(0, 9),
            "c": Int(1, 8, when={"a": ["p", "q"]}),
            "d": Categorical(1, 2, 3, 4, when={"a": "q"}),
        }
    )
    encoding = Encoding.of(space)
    acquisition, best = fitted(encoding, 12, seed)
    grid = space.grid()
    everything = encoding.fill(space.to_unit([grid[i] for i in range(grid.size)]))
    exact = acquisition(encoding.encode(everything)).max()
    rng = np.random.default_rng(seed)
    looked_at = candidates(encoding, best, rng, spread=64, around=10)
    rows, values = maximise(encoding, acquisition, looked_at, rng)
    assert values[0] == pytest.approx(exact, abs=1e-9)
    assert np.all(np.diff(values) <= 0.0)
    np.testing.assert_allclose(acquisition(encoding.encode(rows)), values, atol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_refined_points_are_no_worse_than_their_starts(seed: int) -> None:
    encoding = Encoding.of(Space({"a": Categorical(*range(5)), "b": Int(0, 9), "x": Float(0, 1, when={"a": [1, 2]})}))
    acquisition, _ = fitted(encoding, 12, seed)
    starts = encoding.snap(np.random.default_rng(seed).random((20, 3)))
    _, values = refine(encoding, acquisition, starts, np.random.default_rng(seed))
    assert np.all(values >= acquisition(encoding.encode(starts)) - 1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_in_two_dimensions_it_reaches_a_dense_grid(seed: int) -> None:
    encoding = Encoding.of(Space({"x": Float(0, 1), "y": Float(0, 1)}))
    acquisition, best = fitted(encoding, 8, seed, scale=20.0)
    axis = np.linspace(0, 1, 200)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    rng = np.random.default_rng(seed)
    _, values = maximise(encoding, acquisition, candidates(encoding, best, rng, spread=256, around=30), rng)
    assert values[0] >= acquisition(grid).max() - 1e-6


@pytest.mark.parametrize("seed", range(3))
def test_only_points_that_satisfy_the_requirements_have_a_value_and_the_best_reaches_a_dense_grid(seed: int) -> None:
    space = Space({"x": Float(0, 1), "n": Int(0, 4), "y": Float(0, 1, requires="x + n / 4 < y")})
    encoding = Encoding.of(space)
    acquisition, best = fitted(encoding, 12, seed)
    axis = np.linspace(0.001, 0.999, 80)
    grid = np.stack(np.meshgrid(axis, np.arange(0.1, 1.0, 0.2), axis), axis=-1).reshape(-1, 3)
    allowed = [x + (5 * n - 0.5) / 4 < y for x, n, y in grid[:, [space.columns.index(name) for name in "xny"]]]
    rng = np.random.default_rng(seed)
    rows, values = maximise(encoding, acquisition, candidates(encoding, best, rng, spread=256, around=30), rng)
    assert [space.allows(encoding.params(row)) for row in rows] == np.isfinite(values).tolist()
    assert values[0] >= acquisition(encoding.encode(encoding.snap(grid[allowed]))).max() - 0.01


def test_the_gradient_of_the_acquisition_equals_finite_differences() -> None:
    acquisition = fitted(Encoding.of(Space({"x": Float(0, 1), "y": Float(0, 1)})), 8, 0)[0]
    z = np.random.default_rng(2).random((9, 2))
    columns = np.array([0, 1])
    value, gradient = acquisition.with_gradient(z, columns)
    np.testing.assert_allclose(value, acquisition(z), rtol=1e-10)
    for c in columns:
        step = 1e-6 * (np.arange(2) == c)
        slope = (acquisition(z + step) - acquisition(z - step)) / 2e-6
        np.testing.assert_allclose(gradient[:, c], slope, rtol=1e-4, atol=1e-4)


def test_the_climber_finds_the_top_of_a_bent_quadratic_inside_the_box() -> None:
    a = np.array([[30.0, 8.0], [8.0, 4.0]])
    top = np.array([0.3, 0.6])

    def function(x: FloatArray, _: object) -> tuple[FloatArray, FloatArray]:
        off = x - top
        return -np.einsum("si,ij,sj->s", off, a, off), -2.0 * off @ a

    x, value = climb(function, np.random.default_rng(0).random((6, 2)), np.ones((6, 2), dtype=bool), 40)
    np.testing.assert_allclose(x, np.tile(top, (6, 1)), atol=2e-3)
    assert value.min() > -1e-5


def test_the_curvature_equals_the_matrix_of_the_textbook() -> None:
    rng = np.random.default_rng(0)
    c, identity = 4, np.eye(4)
    curvature = _Curvature(np.full(2, 0.1), np.zeros((2, 6, c)), np.zeros((2, 6, c)))
    hessian = np.diag(np.arange(1.0, c + 1.0))
    matrix = 0.1 * identity  # of the second start; the first never moves
    for k in range(6):
        s = rng.standard_normal(c)
        y = hessian @ s
        if k == 3:
            y = -y  # against the curvature condition: no update
        else:
            if k == 0:
                matrix = (s @ y) / (y @ y) * identity  # Nocedal & Wright, eq. 6.20
            left = identity - np.outer(s, y) / (s @ y)
            matrix = left @ matrix @ left.T + np.outer(s, s) / (s @ y)  # eq. 6.17
        curvature.update(k, s[None], y[None], np.array([1]))
        v = rng.standard_normal((2, c))
        np.testing.assert_allclose(curvature.times(v, np.array([0, 1])), [0.1 * v[0], matrix @ v[1]], rtol=1e-9)


def test_the_climber_shortens_steps_that_overshoot() -> None:
    def narrow(x: FloatArray, _: object) -> tuple[FloatArray, FloatArray]:
        return -1e4 * (x[:, 0] - 0.302) ** 2, -2e4 * (x - 0.302)

    x, _ = climb(narrow, np.array([[0.3]]), np.ones((1, 1), dtype=bool), 25)
    assert x[0, 0] == pytest.approx(0.302, abs=1e-5)


def test_the_climber_stops_at_the_bounds_and_moves_only_what_is_free() -> None:
    def function(x: FloatArray, _: object) -> tuple[FloatArray, FloatArray]:
        return x.sum(axis=1) - x[:, 0] ** 2, np.column_stack([1.0 - 2.0 * x[:, 0], np.ones(len(x)), np.ones(len(x))])

    free = np.array([[True, True, False], [True, False, True]])
    x, _ = climb(function, np.full((2, 3), 0.25), free, 40)
    np.testing.assert_allclose(x, [[0.5, 1.0, 0.25], [0.5, 0.25, 1.0]], atol=1e-3)


def test_the_climber_survives_infinite_values() -> None:
    def function(x: FloatArray, _: object) -> tuple[FloatArray, FloatArray]:
        return np.where(x[:, 0] > 0.5, -np.inf, x[:, 0]), np.ones_like(x)

    x, value = climb(function, np.array([[0.1], [0.9]]), np.ones((2, 1), dtype=bool), 20)
    assert 0.1 < x[0, 0] <= 0.5
    assert value[1] == -np.inf


@pytest.mark.parametrize("d", [1, 3, 40])
def test_perturbations_change_something_and_stay_inside(d: int) -> None:
    encoding = Encoding.of(Space({f"x{i}": Float(0, 1) for i in range(d)}))
    rows = np.random.default_rng(0).random((200, d))
    moved = perturb(encoding, rows, np.random.default_rng(1))
    assert np.all((moved >= 0.0) & (moved <= 1.0))
    changed = (moved != rows).sum(axis=1)
    assert changed.min() >= 1
    assert changed.mean() < 0.6 * d + 1


@pytest.mark.parametrize("seed", [6, 8])
def test_parameters_that_the_ascent_deactivates_do_not_count_in_the_reported_value(seed: int) -> None:
    encoding = Encoding.of(Space({"n": Int(1, 10000), "x": Float(0, 1, when={"n": 5000})}))
    acquisition, _ = fitted(encoding, 12, seed)
    at = encoding.space["n"].to_unit(5000)
    rng = np.random.default_rng(0)
    starts = encoding.snap(np.column_stack([np.full(8, at), rng.random(8)]))
    rows, values = maximise(encoding, acquisition, starts, rng)
    assert np.any(rows[:, 0] != at)
    np.testing.assert_allclose(acquisition(encoding.encode(rows)), values, atol=1e-9)
