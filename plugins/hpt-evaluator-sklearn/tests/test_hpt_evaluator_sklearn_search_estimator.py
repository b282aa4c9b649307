"""`SearchCV` is a scikit-learn estimator: its checks, cloning, pickling, delegation, tags, metadata."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import joblib
import numpy as np
import pytest
import sklearn
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.cluster import KMeans
from sklearn.datasets import load_iris, make_classification, make_regression
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import get_scorer
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils import get_tags
from sklearn.utils._testing import ignore_warnings
from sklearn.utils.estimator_checks import parametrize_with_checks

from hpt_core import Float, Int
from hpt_evaluator_sklearn import SearchCV

Y = load_iris().target
X = StandardScaler().fit_transform(load_iris().data)


@parametrize_with_checks(  # type: ignore[untyped-decorator]  # sklearn ships no types
    [
        SearchCV(Ridge(), param_grid={"alpha": [0.1, 1.0]}, cv=2, error_score="raise"),
        SearchCV(DecisionTreeClassifier(random_state=0), {"max_depth": Int(2, 3)}, n_iter=2, cv=2, error_score="raise"),
    ]
)
@ignore_warnings  # type: ignore[untyped-decorator]  # sklearn ships no types
def test_it_passes_the_estimator_checks_of_scikit_learn(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)


def test_a_clone_keeps_the_parameters_and_drops_the_results() -> None:
    space = {"max_depth": {"low": 1, "high": 3}}
    search = SearchCV(DecisionTreeClassifier(), space, sampler="random", n_iter=2, stop=["median"], random_state=0)
    copy = clone(search.fit(X, Y))
    assert not hasattr(copy, "cv_results_")
    ours, theirs = search.get_params(deep=False), copy.get_params(deep=False)
    assert {k: v for k, v in ours.items() if k != "estimator"} == {k: v for k, v in theirs.items() if k != "estimator"}
    assert copy.fit(X, Y).cv_results_["params"] == search.cv_results_["params"]


def test_a_pickled_search_predicts_and_has_its_history_but_no_study() -> None:
    search = SearchCV(LogisticRegression(), param_grid={"C": [0.1, 1.0]}).fit(X, Y)
    copy = pickle.loads(pickle.dumps(search))
    assert np.array_equal(copy.predict_proba(X), search.predict_proba(X))
    assert [trial.params for trial in copy.history_.trials] == [{"C": 0.1}, {"C": 1.0}]
    assert copy.history_.best.reports == search.study_.best.reports
    assert not hasattr(copy, "study_")


def test_methods_are_those_of_the_best_estimator() -> None:
    search = SearchCV(SVC(), param_grid={"C": [0.1, 1.0]}).fit(X, Y)
    assert np.array_equal(search.decision_function(X), search.best_estimator_.decision_function(X))
    assert np.array_equal(search.classes_, [0, 1, 2])
    assert search.n_features_in_ == 4
    assert not hasattr(search, "predict_proba")
    assert not hasattr(search, "transform")
    pca = SearchCV(PCA(), {"n_components": [1, 2]}, sampler="random").fit(X)
    assert np.allclose(pca.inverse_transform(pca.transform(X)), pca.best_estimator_.inverse_transform(pca.transform(X)))
    density = SearchCV(KernelDensity(), {"bandwidth": Float(0.1, 1.0)}, n_iter=3).fit(X)
    assert np.array_equal(density.score_samples(X), density.best_estimator_.score_samples(X))


def test_without_refit_it_selects_a_candidate_but_does_not_predict() -> None:
    search = SearchCV(SVC(), param_grid={"C": [0.1, 1.0]}, refit=False).fit(X, Y)
    assert search.best_params_ == GridSearchCV(SVC(), {"C": [0.1, 1.0]}).fit(X, Y).best_params_
    assert not hasattr(search, "best_estimator_")
    assert not hasattr(search, "classes_")
    with pytest.raises(AttributeError, match="predict"):
        search.predict(X)
    with pytest.raises(NotFittedError):
        SearchCV(SVC(), param_grid={"C": [0.1]}).predict(X)


def test_names_of_features_come_from_the_best_estimator() -> None:
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=list("abcd"))
    search = SearchCV(LogisticRegression(), param_grid={"C": [0.1, 1.0]}, cv=3).fit(frame, Y)
    assert search.feature_names_in_.tolist() == list("abcd")
    assert GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=3).fit(frame, Y).best_score_ == search.best_score_


def test_tags_are_those_of_the_estimator() -> None:
    assert is_classifier(SearchCV(SVC(), {}))
    assert is_regressor(SearchCV(SVR(), {}))
    assert get_tags(SearchCV(KMeans(), {})).estimator_type == "clusterer"
    assert get_tags(SearchCV(SVC(kernel="precomputed"), {})).input_tags.pairwise
    assert not get_tags(SearchCV(SVC(), {})).input_tags.pairwise


def test_a_kernel_matrix_is_split_by_rows_and_columns() -> None:
    X, y = make_classification(60, random_state=0)
    grid = {"C": [0.1, 1.0, 10.0]}
    kernel = SearchCV(SVC(kernel="precomputed"), param_grid=grid, cv=3).fit(X @ X.T, y)
    linear = GridSearchCV(SVC(kernel="linear"), grid, cv=3).fit(X, y)
    assert np.allclose(kernel.cv_results_["mean_test_score"], linear.cv_results_["mean_test_score"])


def test_score_uses_the_scorer_of_the_search() -> None:
    search = SearchCV(LogisticRegression(), param_grid={"C": [0.1]}, scoring="neg_log_loss").fit(X, Y)
    assert search.score(X, Y) == get_scorer("neg_log_loss")(search.best_estimator_, X, Y)
    both = SearchCV(LogisticRegression(), param_grid={"C": [0.1]}, scoring=["accuracy", "f1_macro"], refit="f1_macro")
    assert both.fit(X, Y).score(X, Y) == get_scorer("f1_macro")(both.best_estimator_, X, Y)
    assert set(both.scorer_) == {"accuracy", "f1_macro"}
    assert both.multimetric_


def test_a_callable_refit_chooses_the_best_and_leaves_best_score_unset() -> None:
    search = SearchCV(SVC(), param_grid={"C": [0.01, 0.1, 1.0]}, refit=lambda results: len(results["params"]) - 1)
    assert search.fit(X, Y).best_params_ == {"C": 1.0}
    assert not hasattr(search, "best_score_")
    with pytest.raises(IndexError, match="out of range"):
        SearchCV(SVC(), param_grid={"C": [0.01, 0.1]}, refit=lambda _: 2).fit(X, Y)
    with pytest.raises(TypeError, match="not an integer"):
        SearchCV(SVC(), param_grid={"C": [0.01, 0.1]}, refit=lambda _: None).fit(X, Y)


@pytest.mark.parametrize("refit", [True, "recall"])
def test_several_scores_need_a_refit_that_names_one(refit: Any) -> None:
    search = SearchCV(SVC(), param_grid={}, refit=refit, scoring={"acc": "accuracy", "prec": "precision_macro"})
    with pytest.raises(ValueError, match="refit must be set to a scorer key"):
        search.fit(X, Y)


def test_exactly_one_of_space_param_grid_and_param_distributions_is_required() -> None:
    with pytest.raises(ValueError, match="Give one of space, param_grid and param_distributions"):
        SearchCV(SVC()).fit(X, Y)
    with pytest.raises(ValueError, match="Got space, param_grid"):
        SearchCV(SVC(), {"C": [1.0]}, param_grid={"C": [1.0]}).fit(X, Y)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"n_iter": 0}, "'n_iter' parameter of SearchCV must be an int"),
        ({"error_score": "ignore"}, "'error_score' parameter of SearchCV"),
        ({"cache_mb": -1}, "'cache_mb' parameter of SearchCV"),
        ({"scoring": "acuracy"}, "'scoring' parameter of SearchCV"),
    ],
)
def test_invalid_parameters_have_scikit_learns_messages(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SearchCV(SVC(), param_grid={"C": [1.0]}, **given).fit(X, Y)


class Recorder(DecisionTreeClassifier):
    """Records the arguments of fit."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None, note: str = "") -> Recorder:
        self.seen_ = (sample_weight, note)
        super().fit(X, y, sample_weight=sample_weight)
        return self


def test_only_arguments_with_one_entry_per_row_are_split() -> None:
    weights = np.linspace(0.1, 1.0, len(Y))
    search = SearchCV(Recorder(random_state=0), param_grid={"max_depth": [1, 2]}, cv=3)
    peer = GridSearchCV(Recorder(random_state=0), {"max_depth": [1, 2]}, cv=3)
    search.fit(X, Y, sample_weight=weights, note="hello")
    peer.fit(X, Y, sample_weight=weights, note="hello")
    assert np.array_equal(search.best_estimator_.seen_[0], weights)
    assert search.best_estimator_.seen_[1] == "hello"
    assert np.array_equal(search.cv_results_["mean_test_score"], peer.cv_results_["mean_test_score"])


def test_routed_metadata_goes_where_it_was_requested() -> None:
    weights = np.linspace(0.1, 1.0, len(Y))
    groups = np.arange(len(Y)) % 5
    with sklearn.config_context(enable_metadata_routing=True):
        estimator = LogisticRegression().set_fit_request(sample_weight=True)
        scorer = get_scorer("accuracy").set_score_request(sample_weight=True)
        search = SearchCV(estimator, param_grid={"C": [0.1, 1.0]}, scoring=scorer, cv=GroupKFold(5))
        peer = GridSearchCV(estimator, {"C": [0.1, 1.0]}, scoring=scorer, cv=GroupKFold(5))
        search.fit(X, Y, sample_weight=weights, groups=groups)
        peer.fit(X, Y, sample_weight=weights, groups=groups)
        assert search.get_metadata_routing().consumes("fit", ["sample_weight", "groups"]) == {"sample_weight", "groups"}
        assert search.score(X, Y, sample_weight=weights) == peer.score(X, Y, sample_weight=weights)
    for i in range(5):
        column = f"split{i}_test_score"
        assert np.array_equal(search.cv_results_[column], peer.cv_results_[column])


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_workers_use_the_callers_configuration(backend: str) -> None:
    weights, grid = np.linspace(0.1, 1.0, len(Y)), {"model__C": [0.1, 1.0]}
    with sklearn.config_context(enable_metadata_routing=True), joblib.parallel_config(backend=backend):
        scale = StandardScaler().set_fit_request(sample_weight=False)
        model = LogisticRegression().set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        pipeline = Pipeline([("scale", scale), ("model", model)])
        search = SearchCV(pipeline, param_grid=grid, n_jobs=2).fit(X, Y, sample_weight=weights)
        peer = GridSearchCV(pipeline, grid).fit(X, Y, sample_weight=weights)
    assert np.array_equal(search.cv_results_["mean_test_score"], peer.cv_results_["mean_test_score"])


def test_metadata_that_nobody_requested_is_refused_before_any_fit() -> None:
    with sklearn.config_context(enable_metadata_routing=True):
        search = SearchCV(LogisticRegression(), param_grid={"C": [0.1]})
        with pytest.raises(ValueError, match="sample_weight"):
            search.fit(X, Y, sample_weight=np.ones(len(Y)))


def test_it_nests_in_a_pipeline_and_in_itself() -> None:
    X, y = make_regression(60, 5, noise=1.0, random_state=0)
    inner = SearchCV(Ridge(), {"alpha": Float(1e-3, 1e3, log=True)}, n_iter=3, sampler="random", random_state=0, cv=2)
    outer = SearchCV(
        Pipeline([("scale", StandardScaler()), ("ridge", inner)]),
        param_grid={"scale": ["passthrough", StandardScaler()], "ridge__random_state": [0, 1]},
        cv=2,
    ).fit(X, y)
    assert len(outer.cv_results_["params"]) == 4
    assert outer.best_estimator_["ridge"].cv_results_["params"]
