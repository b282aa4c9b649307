"""The spaces that `SearchCV` makes from grids, distributions and declarations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import ParameterGrid, ParameterSampler
from sklearn.pipeline import Pipeline
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from hpt_core import Categorical, Constant, Float, Int, Ordinal, Params, Space, SpaceError, SpaceExhausted, UsageError
from hpt_core.testing import make_history
from hpt_evaluator_sklearn import SearchCV
from hpt_evaluator_sklearn.search.candidates import DrawnCandidates
from hpt_evaluator_sklearn.search.distributions import parameter_of
from hpt_evaluator_sklearn.search.labels import choice_parameter
from hpt_evaluator_sklearn.search.plan import plan_distributions, plan_grid, plan_space

X, Y = load_iris(return_X_y=True)

VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 5), st.floats(-2, 2), st.sampled_from("abc"), st.tuples(st.integers(0, 3))
)
GRIDS = st.lists(
    st.dictionaries(st.sampled_from(["C", "gamma", "grid", "kernel"]), st.lists(VALUES, min_size=1, max_size=3)),
    min_size=1,
    max_size=3,
)


@given(GRIDS)
def test_a_grid_has_scikit_learns_candidates_in_order(grids: list[dict[str, list[Any]]]) -> None:
    plan = plan_grid(grids)
    candidates = [plan.decode(params) for params in plan.space.grid()]
    assert [sorted(c.items()) for c in candidates] == [sorted(c.items()) for c in ParameterGrid(grids)]
    types = [[type(value) for _, value in sorted(c.items())] for c in candidates]
    assert types == [[type(value) for _, value in sorted(c.items())] for c in ParameterGrid(grids)]


@given(GRIDS, st.integers(0, 99))
def test_draws_are_encoded_and_decoded_unchanged(grids: list[dict[str, list[Any]]], seed: int) -> None:
    size = len(ParameterGrid(grids))
    plan = plan_distributions(grids, size, drawn=True)
    history = make_history(plan.space, [], seed=seed)
    drawn = plan.decode(plan.sampler.suggest(history, np.random.default_rng()))
    assert drawn == next(iter(ParameterSampler(grids, size, random_state=seed)))


@pytest.mark.parametrize("values", [[np.nan, 0.0, "mean"], np.array([np.nan, 0.0, np.inf])])
@pytest.mark.parametrize("others", [[1, 2], stats.uniform()])
def test_values_that_equal_nothing_are_drawn_from_lists_and_arrays(values: Any, others: Any) -> None:
    grids = [{"a": values, "b": others}, {"b": np.array([3.0, np.nan]), "a": values}]
    plan = plan_distributions(grids, 6, drawn=True)
    drawn: list[tuple[Params, object]] = []
    for candidate in ParameterSampler(grids, 6, random_state=0):
        params = plan.sampler.suggest(make_history(plan.space, drawn, seed=0), np.random.default_rng())
        np.testing.assert_equal(plan.decode(params), candidate)
        drawn.append((params, 0.0))


def test_values_keep_their_order_and_sorted_numbers_are_ordinal() -> None:
    assert isinstance(choice_parameter([0.1, 1, 10], ordered=True)[0], Ordinal)
    assert isinstance(choice_parameter([10, 1, 0.1], ordered=True)[0], Ordinal)
    assert choice_parameter([10, 1, 0.1], ordered=True)[0].choices == (10, 1, 0.1)
    assert isinstance(choice_parameter([1, 10, 0.1], ordered=True)[0], Categorical)
    assert isinstance(choice_parameter([0.1, 1, 10])[0], Categorical)
    assert isinstance(choice_parameter([False, True], ordered=True)[0], Categorical)


def test_labels_are_short_distinct_and_the_same_in_each_process() -> None:
    values = [SVC(), SVC(C=2), RandomForestClassifier(), np.mean, lambda x: x, (1, 2), (1, 2), np.nan, object()]
    parameter, table = choice_parameter(values)
    name = "test_labels_are_short_distinct_and_the_same_in_each_process.<locals>.<lambda>"
    expected = ("SVC()", "SVC(C=2)", "RandomForestClassifier", "mean", name, "(1, 2)", "(1, 2) (2)", "nan")
    assert parameter.choices[:-1] == expected
    assert "0x" not in str(parameter.choices[-1])
    assert [table[label] for label in parameter.choices] == values


@pytest.mark.parametrize(
    ("distribution", "whole_support", "expected"),
    [
        (stats.loguniform(1e-3, 10.0), False, Float(1e-3, 10.0, log=True)),
        (stats.uniform(2.0, 3.0), False, Float(2.0, 5.0)),
        (stats.randint(1, 10), False, Int(1, 9)),
        (stats.randint(1, 10), True, Int(1, 9)),
        (stats.norm(), False, Float(stats.norm.ppf(0.005), stats.norm.ppf(0.995))),
        (stats.poisson(3), True, Int(0, 2**52 - 1)),
    ],
)
def test_a_distribution_becomes_its_range(distribution: Any, whole_support: bool, expected: Any) -> None:
    assert parameter_of(distribution, "C", whole_support=whole_support).to_json() == expected.to_json()


@pytest.mark.parametrize("distribution", [stats.expon(scale=3), stats.norm(), stats.cauchy(), stats.loguniform(1, 2)])
def test_every_draw_lies_in_the_range_of_the_whole_support(distribution: Any) -> None:
    parameter = parameter_of(distribution, "C", whole_support=True)
    assert all(parameter.contains(float(value)) for value in distribution.rvs(size=2_000, random_state=0))


def test_a_distribution_without_a_range_can_be_drawn_from_but_not_searched() -> None:
    class Coin:
        def rvs(self, random_state: Any) -> float:
            return float(np.random.RandomState(random_state).rand()) if isinstance(random_state, int) else 0.5

    assert parameter_of(Coin(), "C", whole_support=True).contains(-1e300)
    with pytest.raises(UsageError, match=r"param_distributions\.C: Must be a list, or a distribution"):
        plan_distributions({"C": Coin()}, 3, drawn=False)
    with pytest.raises(UsageError, match="no support"):
        parameter_of(stats.uniform(0, -1), "C", whole_support=True)


def test_a_distribution_without_its_arguments_is_refused() -> None:
    assert plan_space({"C": stats.uniform}).space["C"] == Float(0.0, 1.0)
    with pytest.raises(UsageError, match=r"^space\.C: The distribution needs arguments: .*'a' and 'b'\.$"):
        plan_space({"C": stats.loguniform})


@pytest.mark.parametrize(
    ("grid", "error", "message"),
    [
        (0, TypeError, "should be a dict or a list"),
        ([{"C": [1]}, 3], TypeError, "is not a dict"),
        ({"C": 1}, TypeError, "needs to be a list or"),
        ({"C": "ab"}, TypeError, "needs to be a list or"),
        ({"C": []}, ValueError, "need to be a non-empty sequence"),
        ({"C": np.ones((2, 2))}, ValueError, "one-dimensional"),
        ([], ValueError, "Were there no candidates"),
    ],
)
def test_an_invalid_grid_has_scikit_learns_message(grid: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        plan_grid(grid)


def test_only_objects_in_a_declared_space_are_replaced() -> None:
    space = {
        "model": {"choices": {"svm": SVC(), "forest": RandomForestClassifier()}},
        "C": {"low": 0.1, "high": 10.0, "log": True, "when": {"model": "svm"}},
        "depth": Int(1, 9, when={"model": "forest"}),
        "weights": [None, {0: 1}],
        "gamma": stats.loguniform(0.1, 1.0),
        "tol": 1e-3,
    }
    plan = plan_space(space)
    expected = Space(
        {
            "model": Categorical("svm", "forest"),
            "C": Float(0.1, 10.0, log=True, when={"model": "svm"}),
            "depth": Int(1, 9, when={"model": "forest"}),
            "weights": Categorical("None", "{0: 1}"),
            "gamma": Float(0.1, 1.0, log=True),
            "tol": Constant(1e-3),
        }
    )
    assert plan.space == expected
    decoded = plan.decode({"model": "svm", "C": 1.0, "weights": "{0: 1}", "gamma": 0.5, "tol": 1e-3})
    assert decoded["weights"] == {0: 1}
    assert type(decoded["model"]) is SVC
    assert plan_space(expected).space is expected


def test_an_array_without_dimensions_is_a_single_value_as_in_a_space() -> None:
    declared = {"C": np.array(2.0), "kernel": ["rbf", "linear"]}
    assert plan_space(declared).space == Space(declared)
    assert plan_space(declared).space["C"] == Constant(2.0)


def test_conditions_may_refer_to_objects_of_a_later_parent() -> None:
    svm, forest = SVC(), RandomForestClassifier()
    space = {
        "model__C": {"low": 0.1, "high": 1.0, "when": {"model": svm}},
        "model__max_depth": {"choices": [1, 2], "when": {"model": [forest]}},
        "model": [svm, forest],
    }
    plan = plan_space(space)
    assert plan.space["model__C"].when == {"model": ("SVC",)}
    assert plan.space["model__max_depth"].when == {"model": ("RandomForestClassifier",)}


def test_a_conditional_space_searches_pipelines() -> None:
    pipeline = Pipeline([("model", SVC())])
    space = {
        "model": {"choices": {"svm": SVC(), "logistic": LogisticRegression(max_iter=1_000)}},
        "model__gamma": {"low": 1e-3, "high": 1.0, "log": True, "when": {"model": "svm"}},
    }
    search = SearchCV(pipeline, space, sampler="random", n_iter=6, random_state=0, cv=2).fit(X, Y)
    svm = np.array([type(params["model"]) is SVC for params in search.cv_results_["params"]])
    assert 0 < svm.sum() < 6
    assert np.array_equal(np.ma.getmaskarray(search.cv_results_["param_model__gamma"]), ~svm)
    assert type(search.best_estimator_["model"]) is type(search.best_params_["model"])


def test_mistakes_in_a_space_have_hpts_messages() -> None:
    with pytest.raises(UsageError, match=r"space\.C\.low: must be <= high"):
        SearchCV(SVC(), {"C": {"low": 2.0, "high": 1.0}}).fit(X, Y)
    with pytest.raises(UsageError, match=r"space\.C: must not be a pair: .*, \[0\.1, 10\.0\] for choices"):
        SearchCV(SVC(), {"C": (0.1, 10.0)}).fit(X, Y)
    for triple in ((0.1, 10.0, "log-uniform"), (1, 10, int)):
        with pytest.raises(UsageError, match=r"space\.C: must not be a triple: .* a list for choices"):
            SearchCV(SVC(), {"C": triple}).fit(X, Y)
    with pytest.raises(UsageError, match="must map names to parameters"):
        SearchCV(SVC(), 3).fit(X, Y)


def test_in_a_grid_a_pair_of_numbers_is_two_choices() -> None:
    for plan in (plan_grid({"C": (0.1, 10.0)}), plan_distributions({"C": (0.1, 10.0)}, 2, drawn=True)):
        assert [plan.decode(params) for params in plan.space.grid()] == [{"C": 0.1}, {"C": 10.0}]
    assert plan_space({"C": (0.1, 1, 10.0), "kernel": ("rbf", "linear")}).space.size == 6
    for three in ((1, 2, dict), (np.nan, 0, "missing"), (1, 1, "a")):
        plan = plan_space({"x": three})
        assert [plan.decode(params)["x"] for params in plan.space.grid()] == list(three)
    mixed = plan_space({"max_features": (0.3, 1, "sqrt")})
    assert [mixed.decode(params)["max_features"] for params in mixed.space.grid()] == [0.3, 1, "sqrt"]


def test_draws_cannot_be_made_from_their_description_alone() -> None:
    history = make_history(Space({"C": Float(0, 1)}), [])
    with pytest.raises(UsageError, match="Only the program that defines the distributions"):
        DrawnCandidates(distributions="C: uniform()").suggest(history, np.random.default_rng())


def test_a_longer_list_of_draws_continues_with_unused_ones() -> None:
    grid = {"max_depth": list(range(1, 9))}
    short, long = (plan_distributions(grid, n, drawn=True) for n in (3, 8))
    rng = np.random.default_rng()
    taken: list[Any] = []
    for plan, count in ((short, 3), (long, 8)):
        while len(taken) < count:
            history = make_history(plan.space, [(params, 0.0) for params in taken], seed=0)
            taken.append(plan.sampler.suggest(history, rng))
        with pytest.raises(SpaceExhausted):
            plan.sampler.suggest(make_history(plan.space, [(params, 0.0) for params in taken], seed=0), rng)
    assert sorted(params["max_depth"] for params in taken) == list(range(1, 9))


def test_a_given_sampler_searches_the_ranges_of_distributions() -> None:
    distributions = {"C": stats.uniform(1, 2), "kernel": ["linear", "rbf"]}
    search = SearchCV(SVC(), param_distributions=distributions, sampler="random", n_iter=4, random_state=0, cv=2)
    search.fit(X, Y)
    assert len(search.cv_results_["params"]) == 4
    assert all(1 <= params["C"] <= 3 for params in search.cv_results_["params"])
    assert search.history_.space["C"] == Float(1, 3)


@pytest.mark.parametrize("names", [None, ("svm", "tree")])
def test_the_default_of_a_table_may_be_an_object_or_its_label(names: Any) -> None:
    svm, tree = SVC(), DecisionTreeClassifier()
    choices = [svm, tree] if names is None else dict(zip(names, (svm, tree), strict=True))
    label = names[1] if names else "DecisionTreeClassifier"
    for default in (tree, label):
        plan = plan_space({"model": {"choices": choices, "default": default}})
        assert plan.decode(plan.space.default()) == {"model": tree}
    for wrong in (LogisticRegression(), "logistic"):
        with pytest.raises(SpaceError, match=r"^space\.model\.default: must be one of '(SVC|svm)', "):
            plan_space({"model": {"choices": choices, "default": wrong}})
