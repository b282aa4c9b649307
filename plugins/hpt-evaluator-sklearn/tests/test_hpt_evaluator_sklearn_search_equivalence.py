"""`SearchCV` has the results of GridSearchCV and RandomizedSearchCV, fold by fold."""

from __future__ import annotations

import re
import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from scipy import sparse, stats
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.datasets import load_iris, make_classification, make_multilabel_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import FitFailedWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, make_scorer, recall_score
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, RandomizedSearchCV, RepeatedKFold, ShuffleSplit
from sklearn.naive_bayes import ComplementNB
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from hpt_core import State
from hpt_evaluator_sklearn import SearchCV

X, Y = load_iris(return_X_y=True)
TREE = DecisionTreeClassifier(random_state=0)


def assert_same_table(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Compare all columns but the times: values, types and masks."""
    assert sorted(ours) == sorted(theirs)
    for name, column in theirs.items():
        if name == "params":
            assert list(map(_shown, ours[name])) == list(map(_shown, column))
        elif name.endswith("_time"):
            assert (ours[name] >= 0).all()
        else:
            assert ours[name].dtype == column.dtype, name
            assert np.array_equal(np.ma.getmaskarray(ours[name]), np.ma.getmaskarray(column)), name
            here = ~np.ma.getmaskarray(column)
            assert repr(ours[name][here].tolist()) == repr(column[here].tolist()), name


def _shown(params: Any) -> str:
    """Text for comparison: estimators compare by repr, and a drawn number may be numpy's or Python's."""
    return repr(
        {name: value.item() if isinstance(value, np.generic) else value for name, value in sorted(params.items())}
    )


def assert_same_search(ours: SearchCV, theirs: Any) -> None:
    assert_same_table(ours.cv_results_, theirs.cv_results_)
    for name in ("best_index_", "best_score_", "n_splits_", "multimetric_"):
        assert hasattr(ours, name) == hasattr(theirs, name), name
        assert getattr(ours, name, None) == getattr(theirs, name, None), name


def by_recall(estimator: Any, X: Any, y: Any) -> float:
    return float(recall_score(y, estimator.predict(X), average="macro"))


def two_scores(estimator: Any, X: Any, y: Any) -> dict[str, float]:
    predicted = estimator.predict(X)
    return {"recall": recall_score(y, predicted, average="macro"), "accuracy": accuracy_score(y, predicted)}


SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "named score and training scores": {"scoring": "f1_macro", "return_train_score": True, "cv": 3},
    "function": {"scoring": by_recall, "cv": 4},
    "metric": {"scoring": make_scorer(accuracy_score, normalize=False), "cv": 3},
    "list of scores": {"scoring": ["accuracy", "recall_macro"], "refit": "recall_macro", "return_train_score": True},
    "table of scores": {"scoring": {"a": "accuracy", "b": by_recall}, "refit": False},
    "function of several": {"scoring": two_scores, "refit": "accuracy", "cv": 3},
    "choice by function": {"refit": lambda results: int(np.argmin(results["mean_test_score"]))},
    "shuffled folds": {"cv": KFold(4, shuffle=True, random_state=0)},
    "random splits": {"cv": ShuffleSplit(3, test_size=0.2, random_state=1)},
    "listed folds": {"cv": [(np.arange(0, 100), np.arange(100, 150)), (np.arange(50, 150), np.arange(0, 50))]},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_a_grid_has_the_same_cv_results(settings: dict[str, Any]) -> None:
    grid = {"max_depth": [3, 1, 2], "min_samples_leaf": [1, 20], "criterion": ["gini", "entropy"]}
    ours = SearchCV(TREE, param_grid=grid, **settings).fit(X, Y)
    assert_same_search(ours, GridSearchCV(TREE, grid, **settings).fit(X, Y))


@pytest.mark.parametrize(
    "grid",
    [
        {},
        [{}],
        [{"max_depth": [1, 2]}, {}, {"min_samples_leaf": (5, 50), "max_depth": range(2, 4)}],
        [{"max_depth": [1, None]}, {"max_depth": [3], "criterion": ["gini"]}],
        {"max_depth": np.array([1, 2, 3]), "ccp_alpha": np.logspace(-3, -1, 3)},
        {"max_depth": [1, 1, 2]},
        {"max_features": [1, 1.0, 0.5], "min_impurity_decrease": [0.0]},
        {"class_weight": [None, "balanced", {0: 1, 1: 2, 2: 3}], "random_state": [0, None]},
    ],
    ids=str,
)
def test_all_kinds_of_grids_have_the_same_cv_results(grid: Any) -> None:
    estimator = clone(TREE).set_params(splitter="best", max_features=None)
    ours = SearchCV(estimator, param_grid=grid, cv=3).fit(X, Y)
    theirs = GridSearchCV(estimator, grid, cv=3).fit(X, Y)
    if "random_state" in grid:  # unseeded trees: only the candidates are equal
        assert list(ours.cv_results_) == list(theirs.cv_results_)
        assert ours.cv_results_["params"] == theirs.cv_results_["params"]
        return
    assert_same_search(ours, theirs)


def test_space_may_be_a_list_of_grids() -> None:
    grids = [{"max_depth": [1]}, {"min_samples_leaf": [5, 10]}]
    assert_same_search(SearchCV(TREE, grids).fit(X, Y), GridSearchCV(TREE, grids).fit(X, Y))


@pytest.mark.parametrize(
    ("distributions", "n_iter"),
    [
        ({"ccp_alpha": stats.loguniform(1e-4, 1e-1), "max_depth": stats.randint(1, 9)}, 8),
        ({"ccp_alpha": stats.expon(scale=0.01), "max_depth": [1, 2, None]}, 6),
        ({"ccp_alpha": stats.uniform(0, 0.1)}, 5),
        ({"max_depth": [1, 2, 3], "min_samples_leaf": [1, 2, 3, 4]}, 7),
        ([{"max_depth": [1, 2]}, {"ccp_alpha": stats.uniform(0, 0.1), "max_depth": stats.randint(2, 6)}], 9),
    ],
)
@pytest.mark.parametrize("seed", [0, 7])
def test_random_draws_are_those_of_scikit_learn(distributions: Any, n_iter: int, seed: int) -> None:
    given: dict[str, Any] = {"n_iter": n_iter, "random_state": seed, "cv": 3}
    ours = SearchCV(TREE, param_distributions=distributions, **given).fit(X, Y)
    assert_same_search(ours, RandomizedSearchCV(TREE, distributions, **given).fit(X, Y))


def test_ten_draws_by_default_and_never_more_than_the_space_has() -> None:
    ten = SearchCV(TREE, param_distributions={"ccp_alpha": stats.uniform()}, cv=2).fit(X, Y)
    assert len(ten.cv_results_["params"]) == 10
    message = "total space of parameters 4 is smaller than n_iter=10. Running 4"
    with pytest.warns(UserWarning, match=message) as caught:
        four = SearchCV(TREE, param_distributions={"max_depth": [1, 2, 3, 4]}, cv=2).fit(X, Y)
    assert caught[0].filename == __file__
    assert sorted(four.cv_results_["param_max_depth"]) == [1, 2, 3, 4]


def sparse_rows() -> tuple[Any, Any, Any]:
    X, y = make_classification(60, 8, random_state=0)
    return sparse.csr_matrix(X), y, LogisticRegression(max_iter=500)


def lists() -> tuple[Any, Any, Any]:
    X, y = make_classification(60, 8, random_state=0)
    return X.tolist(), y.tolist(), LogisticRegression(max_iter=500)


def many_outputs() -> tuple[Any, Any, Any]:
    X, y = make_classification(60, 8, random_state=0)
    return X, np.c_[y, 1.0 - y], Ridge()


def frames() -> tuple[Any, Any, Any]:
    pd = pytest.importorskip("pandas")
    X, y = make_classification(60, 4, n_redundant=0, random_state=0)
    return pd.DataFrame(X, columns=list("abcd")), pd.Series(y), LogisticRegression(max_iter=500)


@pytest.mark.parametrize("make", [sparse_rows, lists, many_outputs, frames])
def test_all_kinds_of_data(make: Callable[[], tuple[Any, Any, Any]]) -> None:
    X, y, estimator = make()
    grid = {"alpha": [0.1, 10.0]} if isinstance(estimator, Ridge) else {"C": [0.1, 10.0]}
    ours = SearchCV(estimator, param_grid=grid, cv=3).fit(X, y)
    theirs = GridSearchCV(estimator, grid, cv=3).fit(X, y)
    assert_same_search(ours, theirs)
    assert np.array_equal(ours.predict(X), theirs.predict(X))


def test_multilabel_targets() -> None:
    X, y = make_multilabel_classification(60, random_state=0)
    forest = RandomForestClassifier(5, random_state=0)
    grid = {"max_depth": [1, 2]}
    assert_same_search(SearchCV(forest, param_grid=grid).fit(X, y), GridSearchCV(forest, grid).fit(X, y))


def test_steps_of_a_pipeline_as_parameters_stay_unfitted() -> None:
    pipeline = Pipeline([("scale", StandardScaler()), ("model", SVC())])
    grid = [
        {"scale": ["passthrough", MinMaxScaler(), StandardScaler()], "model__C": [0.1, 1.0]},
        {"model": [LogisticRegression(max_iter=500), LogisticRegression(C=0.01, max_iter=500)]},
    ]
    ours, theirs = SearchCV(pipeline, param_grid=grid).fit(X, Y), GridSearchCV(pipeline, grid).fit(X, Y)
    assert_same_search(ours, theirs)
    column = ours.cv_results_["param_model"]
    assert column[-1] is grid[1]["model"][1]
    assert not hasattr(column[-1], "coef_")
    assert not hasattr(grid[0]["scale"][1], "scale_")


def test_tuples_reach_the_estimator_as_tuples() -> None:
    words = ["one two", "two three", "three four", "four five", "five one", "one one"]
    pipeline = Pipeline([("vect", TfidfVectorizer()), ("model", ComplementNB())])
    grid = {"vect__ngram_range": [(1, 1), (1, 2)], "vect__norm": ["l1", "l2"]}
    ours = SearchCV(pipeline, param_grid=grid, cv=2).fit(words, [0, 1, 0, 1, 0, 1])
    assert_same_search(ours, GridSearchCV(pipeline, grid, cv=2).fit(words, [0, 1, 0, 1, 0, 1]))


def test_groups_are_passed_to_the_splitter() -> None:
    groups = np.arange(len(Y)) % 4
    ours, theirs = SearchCV(TREE, param_grid={"max_depth": [1, 2]}), GridSearchCV(TREE, {"max_depth": [1, 2]})
    for search in (ours, theirs):
        search.set_params(cv=GroupKFold(4))
        with pytest.raises(ValueError, match="'groups' parameter should not be None"):
            search.fit(X, Y)
        search.fit(X, Y, groups=groups)
    assert_same_search(ours, theirs)


def test_folds_from_a_generator_serve_all_candidates() -> None:
    def folds() -> Iterator[Any]:
        yield from KFold(4, shuffle=True, random_state=3).split(X, Y)

    grid = {"max_depth": [1, 2, 3]}
    ours = SearchCV(TREE, param_grid=grid, cv=folds()).fit(X, Y)
    assert_same_search(ours, GridSearchCV(TREE, grid, cv=folds()).fit(X, Y))
    used = folds()
    list(used)
    with pytest.raises(ValueError, match="Was the CV iterator empty"):
        SearchCV(TREE, param_grid=grid, cv=used).fit(X, Y)


class Moody(ClassifierMixin, BaseEstimator):
    """Its fit fails if ``fails`` is True; if "sometimes", only on folds that begin with class 1."""

    def __init__(self, fails: Any = False) -> None:
        self.fails = fails

    def fit(self, X: Any, y: Any) -> Moody:
        if self.fails is True or (self.fails == "sometimes" and y[0] == 1):
            # the other message is that of a fit which cannot take read-only data; with copies it fails, too
            raise ValueError("not today" if self.fails is True else "output array is read-only")
        self.classes_ = np.unique(y)
        return self

    def predict(self, X: Any) -> Any:
        return np.zeros(len(X), dtype=int)


@pytest.mark.parametrize("error_score", [0.0, np.nan])
@pytest.mark.parametrize("scoring", [None, ["accuracy", "recall_macro"], two_scores])
def test_failed_fits_get_the_error_score(error_score: float, scoring: Any) -> None:
    refit = "accuracy" if scoring else True
    grid = {"fails": [False, True, "sometimes"]}
    given = {"cv": KFold(3), "error_score": error_score, "scoring": scoring, "refit": refit, "return_train_score": True}
    tables = []
    for search in (SearchCV(Moody(), param_grid=grid, **given), GridSearchCV(Moody(), grid, **given)):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            search.fit(X, Y)
        tables.append(search)
        failed = [str(one.message) for one in caught if one.category is FitFailedWarning]
        assert len(failed) == 1
        assert "4 fits failed out of a total of 9." in failed[0]
        assert f"will be set to {error_score}." in failed[0]
        assert failed[0].count("ValueError: not today") == 1
    assert_same_search(*tables)


class Wordy(Moody):
    """Its errors are long and differ from fold to fold."""

    def fit(self, X: Any, y: Any) -> Moody:
        if self.fails:
            raise ValueError(f"{X.sum()}{' no' * 200}")
        return super().fit(X, y)


@pytest.mark.filterwarnings("ignore:One or more of the test scores are non-finite")
def test_a_candidate_may_fail_in_another_way_on_each_of_many_folds() -> None:
    """Their tracebacks together are longer than what the log keeps."""
    grid, cv = {"fails": [True, False]}, RepeatedKFold(n_splits=10, n_repeats=20, random_state=0)
    tables = []
    for search in (SearchCV(Wordy(), param_grid=grid, cv=cv), GridSearchCV(Wordy(), grid, cv=cv)):
        with pytest.warns(FitFailedWarning, match="200 fits failed out of a total of 400"):
            tables.append(search.fit(X, Y))
    assert_same_search(*tables)


def test_the_search_fails_if_all_fits_fail() -> None:
    search = SearchCV(Moody(), param_grid={"fails": [True] * 4}, cv=3, error_score=0.0)
    with pytest.raises(ValueError, match="All the 12 fits failed") as caught:
        search.fit(X, Y)
    assert str(caught.value).count("ValueError: not today") == 1


def test_error_score_raise_raises_the_original_error() -> None:
    search = SearchCV(Moody(), param_grid={"fails": [False, True]}, error_score="raise")
    with pytest.raises(ValueError, match=r"^not today$"):
        search.fit(X, Y)


class Nested(Moody):
    """Its fit fails because of another error, which it names as the cause or not."""

    def fit(self, X: Any, y: Any) -> Nested:
        known: dict[str, Nested] = {}
        try:
            return known["missing"]
        except KeyError as err:
            if self.fails == "with cause":
                raise ValueError("not today") from err
            raise ValueError("not today")  # noqa: B904 - the implicit context is tested


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize("fails", ["with cause", "with context"])
def test_a_raised_error_keeps_its_cause_and_its_traceback(fails: str, n_jobs: int) -> None:
    """As with GridSearchCV, the traceback has the lines of the estimator, also of a fit in another process."""
    given = {"cv": KFold(3), "error_score": "raise", "n_jobs": n_jobs}
    for search in (
        SearchCV(Nested(), param_grid={"fails": [fails]}, **given),
        GridSearchCV(Nested(), {"fails": [fails]}, **given),
    ):
        with pytest.raises(ValueError, match=r"^not today$") as caught:
            search.fit(X, Y)
        shown = "".join(traceback.format_exception(caught.value))
        assert "KeyError: 'missing'" in shown
        assert 'return known["missing"]' in shown


def test_an_unknown_parameter_has_scikit_learns_message() -> None:
    with pytest.raises(ValueError, match="Invalid parameter 'depth' for estimator DecisionTreeClassifier"):
        SearchCV(TREE, param_grid={"depth": [1]}).fit(X, Y)


def test_nan_scores_rank_last() -> None:
    def score(estimator: Any, X: Any, y: Any) -> float:
        return np.nan if estimator.max_depth == 2 and y[0] == 1 else float(estimator.score(X, y))

    grid = {"max_depth": [1, 2, 3]}
    given: dict[str, Any] = {"scoring": score, "cv": KFold(3)}
    with pytest.warns(UserWarning, match="One or more of the test scores are non-finite"):
        ours = SearchCV(TREE, param_grid=grid, **given).fit(X, Y)
    with pytest.warns(UserWarning, match="One or more of the test scores are non-finite"):
        theirs = GridSearchCV(TREE, grid, **given).fit(X, Y)
    assert_same_search(ours, theirs)
    assert ours.cv_results_["rank_test_score"][1] == 3


def nan_on_class_0(estimator: Any, X: Any, y: Any) -> dict[str, float]:
    return {"other": np.nan if y[0] == 0 else 0.5, "accuracy": estimator.score(X, y)}


def nan_always(estimator: Any, X: Any, y: Any) -> dict[str, float]:
    return {"other": np.nan, "accuracy": estimator.score(X, y)}


@pytest.mark.filterwarnings("ignore:One or more of the")
@pytest.mark.parametrize("scoring", [nan_on_class_0, nan_always, {"accuracy": "accuracy", "other": lambda *_: np.nan}])
def test_a_candidate_may_have_a_nan_among_its_further_scores(scoring: Any) -> None:
    given: dict[str, Any] = {"scoring": scoring, "refit": "accuracy", "cv": KFold(3), "return_train_score": True}
    ours = SearchCV(TREE, param_grid={"max_depth": [1, 2]}, **given).fit(X, Y)
    assert_same_search(ours, GridSearchCV(TREE, {"max_depth": [1, 2]}, **given).fit(X, Y))
    assert {trial.state for trial in ours.history_.trials} == {State.COMPLETE}


@pytest.mark.filterwarnings("ignore:Scoring failed")
def test_a_scorer_of_several_that_raises_gives_the_error_score_for_all_of_them() -> None:
    """With GridSearchCV, this is a TypeError."""

    def score(estimator: Any, X: Any, y: Any) -> dict[str, float]:
        if y[0] == 0:
            raise ValueError("too hard")
        return {"accuracy": 0.5, "other": 0.75}

    given: dict[str, Any] = {"cv": KFold(3), "error_score": 0.25, "return_train_score": True}
    found = SearchCV(TREE, param_grid={}, scoring=score, refit="accuracy", **given).fit(X, Y).cv_results_
    columns = ("test_accuracy", "test_other", "train_accuracy", "train_other")
    table = [[found[f"split{i}_{name}"][0] for i in range(3)] for name in columns]
    assert table == [[0.25, 0.5, 0.5], [0.25, 0.75, 0.75], [0.5, 0.25, 0.25], [0.75, 0.25, 0.25]]


def test_a_scorer_that_raises_gives_the_error_score() -> None:
    def score(estimator: Any, X: Any, y: Any) -> float:
        if estimator.max_depth == 2:
            raise RuntimeError("no idea")
        return float(estimator.score(X, y))

    given: dict[str, Any] = {"scoring": score, "error_score": 0.25, "cv": 3}
    with pytest.warns(UserWarning, match="Scoring failed"):
        ours = SearchCV(TREE, param_grid={"max_depth": [1, 2]}, **given).fit(X, Y)
    assert ours.cv_results_["mean_test_score"][1] == 0.25


def test_a_scorer_that_returns_no_score_ends_the_search() -> None:
    """As one that returns no number, with which scikit-learn's searches end."""
    given: dict[str, Any] = {"param_grid": {"max_depth": [1, 2]}, "cv": 3}
    with pytest.raises(ValueError, match=r"^scoring must return a number, got \[\] "):
        SearchCV(TREE, scoring=lambda *_: [], **given).fit(X, Y)
    with pytest.raises(ValueError, match=r"^scoring must return at least one score, got \{\} "):
        SearchCV(TREE, scoring=lambda *_: {}, **given).fit(X, Y)


def test_verbose_prints_the_progress(capsys: pytest.CaptureFixture[str]) -> None:
    SearchCV(TREE, param_grid={"max_depth": [1, 2]}, cv=3, verbose=3, return_train_score=True).fit(X, Y)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Fitting 3 folds for each of 2 candidates, totalling 6 fits"
    assert len(lines) == 7
    assert re.match(r"\[CV 1/3\] END \.*max_depth=1;", lines[1])
    assert "score=(train=" in lines[1]


@pytest.mark.parametrize("verbose", [0, 1, 2, 3])
@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("scoring", [None, ["accuracy", "recall_macro"]])
def test_the_printed_progress_is_that_of_grid_search_cv(
    scoring: Any, train: bool, verbose: int, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {"scoring": scoring, "refit": False, "return_train_score": train, "verbose": verbose, "cv": 3}
    printed = []
    for search in (
        SearchCV(TREE, param_grid={"max_depth": [1, 2]}, **given),
        GridSearchCV(TREE, {"max_depth": [1, 2]}, **given),
    ):
        search.fit(X, Y)
        printed.append(re.sub(r"total time= *\d+\.\ds", "total time=", capsys.readouterr().out))
    assert printed[0] == printed[1]
