"""Encoded rows: conditions, categories, grids; the initial design; kernels over random conditional spaces."""

from __future__ import annotations

import numpy as np
import pytest

from hpt_core import Categorical, Constant, Float, Int, Ordinal, Params, Space
from hpt_sampler_bayes.encoding import Encoding
from hpt_sampler_bayes.initial import initial_rows
from hpt_sampler_bayes.kernel import matern52, squared_distances

SPACE = Space(
    {
        "kind": Constant("tabular"),
        "model": Categorical("svm", "forest", "knn"),
        "C": Float(1e-3, 1e3, log=True, when={"model": "svm"}),
        "kernel": Categorical("rbf", "poly", when={"model": "svm"}),
        "degree": Int(2, 5, when={"kernel": "poly"}),
        "depth": Int(1, 64, log=True, when={"model": ["forest", "knn"], "kind": "tabular"}),
        "never": Float(0, 1, when={"kind": ["tabular"], "model": "knn"}),
        "size": Ordinal("s", "m", "l"),
    }
)


def rows(encoding: Encoding, n: int, seed: int = 0) -> np.ndarray:
    return encoding.snap(np.random.default_rng(seed).random((n, len(encoding.columns))))


def test_full_rows_and_configurations_agree_on_what_is_active() -> None:
    encoding = Encoding.of(SPACE)
    u = rows(encoding, 200)
    active = encoding.activity(u)
    for row, on in zip(u, active, strict=True):
        params = encoding.params(row)
        assert {n for n in params if n in encoding.columns} == {
            n for n, is_on in zip(encoding.columns, on, strict=True) if is_on
        }
        unit = SPACE.to_unit(params)
        np.testing.assert_allclose(row[on], unit[on], atol=1e-12)
        assert np.isnan(unit[~on]).all()


def test_inactive_columns_are_constant_and_categories_are_one_hot_over_root_two() -> None:
    encoding = Encoding.of(SPACE)
    u = rows(encoding, 100)
    active, z = encoding.activity(u), encoding.encode(u)
    for j, name in enumerate(encoding.columns):
        columns = np.flatnonzero(encoding.group == j)
        on = active[:, j]
        if SPACE[name].ordered:
            assert len(columns) == 1
            assert np.all(z[~on, columns[0]] == 0.5)
            np.testing.assert_array_equal(z[on, columns[0]], u[on, j])
        else:
            assert len(columns) == SPACE[name].size
            assert np.all(z[~on][:, columns] == 0.0)
            np.testing.assert_allclose(z[on][:, columns].sum(axis=1), np.sqrt(0.5))


def test_each_of_many_categories_has_its_own_column() -> None:
    sizes = {f"c{i}": Categorical(*range(2 + i % 7)) for i in range(900)} | {"last": Categorical(*range(9_999))}
    encoding = Encoding.of(Space({"x": Float(0, 1), **sizes}))
    row, j = rows(encoding, 1)[0], encoding.columns.index("last")
    at = encoding.space["last"].to_unit
    u = np.vstack([np.where(np.arange(len(row)) == j, at(value), row) for value in (0, 1, 4_999, 9_998)])
    for z, unit, value in zip(encoding.encode(u), u, (0, 1, 4_999, 9_998), strict=True):
        expected = {**encoding.params(unit), "last": value}
        for name in sizes:
            chosen = np.flatnonzero(z[encoding.group == encoding.columns.index(name)])
            assert chosen.tolist() == [expected[name]]


def test_the_encoding_of_trials_is_that_of_their_full_rows() -> None:
    encoding = Encoding.of(SPACE)
    u = rows(encoding, 50)
    unit = SPACE.to_unit([encoding.params(row) for row in u])
    np.testing.assert_allclose(encoding.encode(encoding.fill(unit)), encoding.encode(u), atol=1e-12)


def test_exchanges_are_the_one_exchange_neighbourhood_of_small_spaces() -> None:
    space = Space({"a": Categorical("x", "y", "z"), "b": Int(0, 3), "c": Int(0, 1, when={"a": "y"})})
    encoding = Encoding.of(space)
    u = encoding.fill(space.to_unit([{"a": "x", "b": 1}, {"a": "y", "b": 0, "c": 1}]))
    others, owners = encoding.exchanges(u, np.random.default_rng(0))
    found = [{space.key(encoding.params(r)) for r in others[owners == k]} for k in (0, 1)]
    c = space["c"].middle()
    first: list[Params] = [{"a": "y", "b": 1, "c": c}, {"a": "z", "b": 1}, *({"a": "x", "b": b} for b in (0, 2, 3))]
    second: list[Params] = [{"a": "x", "b": 0}, {"a": "z", "b": 0}, *({"a": "y", "b": b, "c": 1} for b in (1, 2, 3))]
    second.append({"a": "y", "b": 0, "c": 0})
    assert found[0] == {space.key(p) for p in first}
    assert found[1] == {space.key(p) for p in second}


def test_long_grids_are_searched_by_doubling_steps() -> None:
    space = Space({"n": Int(0, 99)})
    encoding = Encoding.of(space)
    others, _ = encoding.exchanges(encoding.fill(space.to_unit([{"n": 10}])), np.random.default_rng(0))
    values = sorted(encoding.params(row)["n"] for row in others)
    assert values == [2, 6, 8, 9, 11, 12, 14, 18, 26, 42, 74]


def test_a_row_of_many_parameters_has_some_of_its_neighbours_drawn_from_all_parameters() -> None:
    encoding = Encoding.of(Space({f"c{i}": Categorical(*"abcde") for i in range(600)}))
    u, rng = rows(encoding, 2), np.random.default_rng(0)
    exchanged = set()
    for _ in range(30):
        others, owners = encoding.exchanges(u, rng)
        differs = others != u[owners]
        assert differs.sum(axis=1).tolist() == [1] * len(others)
        assert 2**18 < others.size / 2 <= 2**19
        exchanged |= set(np.flatnonzero(differs.any(axis=0)))
    assert exchanged == set(range(600))


def test_parameters_of_other_branches_do_not_count_as_neighbours() -> None:
    branches = {f"{name}{i}": Int(0, 24, when={"branch": i}) for i in range(200) for name in "ab"}
    encoding = Encoding.of(Space({"branch": Categorical(*range(200)), **branches}))
    u = encoding.fill(encoding.space.to_unit([{"branch": i, f"a{i}": 12, f"b{i}": 12} for i in (99, 100)]))
    _, owners = encoding.exchanges(u, np.random.default_rng(0))
    of_branch, of_integer = 2 * len([1, 2, 4, 8, 16, 32, 64]), 2 * len([1, 2, 4, 8])
    assert np.bincount(owners).tolist() == [of_branch + 2 * of_integer] * 2


@pytest.mark.parametrize("seed", range(4))
def test_the_kernel_over_a_conditional_space_is_positive_semidefinite(seed: int) -> None:
    encoding = Encoding.of(SPACE)
    w = np.random.default_rng(seed).lognormal(0.0, 2.0, size=len(encoding.columns))
    x = encoding.encode(rows(encoding, 120, seed)) * np.sqrt(w)[encoding.group]
    k = matern52(squared_distances(x, x))
    assert np.linalg.eigvalsh(0.5 * (k + k.T)).min() > -1e-9


def test_most_active_counts_one_branch_only() -> None:
    assert Encoding.of(SPACE).active_most == 5  # model, C, kernel, degree, size


@pytest.mark.parametrize(
    "space",
    [
        Space({"c": Constant(1)}),
        Space({"c": Constant("a"), "x": Float(0, 1, when={"c": "a"})}),
        Space({"a": Categorical("only"), "x": Int(3, 3)}),
    ],
)
def test_degenerate_spaces_are_encoded(space: Space) -> None:
    encoding = Encoding.of(space)
    u = rows(encoding, 4)
    assert encoding.encode(u).shape == (4, len(encoding.group))
    assert space.contains(encoding.params(u[0]))


def test_the_initial_design_begins_with_the_default_and_does_not_depend_on_its_length() -> None:
    encoding = Encoding.of(SPACE)
    short, long = initial_rows(encoding, 7, 6, 5), initial_rows(encoding, 7, 40, 5)
    np.testing.assert_array_equal(short, long[:6])
    assert encoding.params(short[0]) == SPACE.default()
    assert not np.array_equal(initial_rows(encoding, 8, 6, 5)[1:], short[1:])


@pytest.mark.parametrize("seed", range(10))
def test_the_initial_design_visits_every_branch(seed: int) -> None:
    encoding = Encoding.of(SPACE)
    seen = [encoding.params(row)["model"] for row in initial_rows(encoding, seed, 5, 5)]
    assert set(seen[:3]) == {"svm", "forest", "knn"}


@pytest.mark.parametrize("many", [Categorical(*range(9)), Int(1, 10_000)], ids=["choices", "integers"])
def test_in_the_initial_design_a_parent_of_many_values_is_like_any_other_parameter(many: Categorical | Int) -> None:
    parent, alone = (
        initial_rows(Encoding.of(Space({"m": many, "x": Float(0, 1, when=when)})), 7, 20, 5)
        for when in ({"m": 5}, None)
    )
    np.testing.assert_array_equal(parent, alone)


def test_the_initial_design_is_spread_evenly() -> None:
    encoding = Encoding.of(Space({f"x{i}": Float(0, 1) for i in range(4)}))
    u = initial_rows(encoding, 3, 64, 5)[1:]
    counts = [np.histogram(column, bins=8, range=(0, 1))[0] for column in u.T]
    assert np.abs(np.array(counts) - 8).max() <= 1


def test_a_categorical_with_very_many_choices_is_encoded_one_hot() -> None:
    names = [str(k) for k in range(5000)]
    encoding = Encoding.of(Space({"c": Categorical(*names), "x": Float(0, 1)}))
    rows = encoding.fill(encoding.space.to_unit([{"c": "17", "x": 0.5}, {"c": "18", "x": 0.5}]))
    one, other = encoding.encode(rows)
    assert np.sum((one - other) ** 2) == pytest.approx(1.0)
    assert encoding.continuous.tolist() == [False, True]
