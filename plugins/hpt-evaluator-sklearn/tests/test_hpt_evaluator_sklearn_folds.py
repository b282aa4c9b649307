"""Scores must equal those of cross_val_score, cross_validate and GridSearchCV, fold by fold."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import Ridge
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    LeaveOneGroupOut,
    PredefinedSplit,
    RepeatedStratifiedKFold,
    StratifiedKFold,
    TimeSeriesSplit,
    cross_val_score,
    cross_validate,
)
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from hpt_core import EvaluationError, Report, Space, Study, TrialContext
from hpt_evaluator_sklearn.data.data import Data
from hpt_evaluator_sklearn.data.folds import Folds
from hpt_evaluator_sklearn.data.routing import Routes
from hpt_evaluator_sklearn.evaluator import SklearnEvaluator

IRIS = load_iris(return_X_y=True)
GROUPS = np.arange(150) % 7


def finish(run: Generator[Report, None, dict[str, float]]) -> tuple[list[Report], dict[str, float]]:
    """All reports of a trial and its final result."""
    reports = []
    while True:
        try:
            reports.append(next(run))
        except StopIteration as end:
            return reports, end.value


def evaluate(
    params: dict[str, Any], objectives: tuple[str, ...] = ("accuracy",), **options: Any
) -> tuple[list[Report], dict[str, float]]:
    """One trial of a new evaluator, on iris by default."""
    if not {"X", "data"} & options.keys():
        options |= {"X": IRIS[0], "y": IRIS[1]}
    return finish(SklearnEvaluator(**options).evaluate(TrialContext(params=params, objectives=objectives)))


@pytest.mark.parametrize(
    "cv",
    [
        None,
        3,
        KFold(4),
        StratifiedKFold(5, shuffle=True, random_state=1),
        RepeatedStratifiedKFold(n_splits=3, n_repeats=2, random_state=3),
        TimeSeriesSplit(3),
        PredefinedSplit(np.arange(150) % 4),
        [(np.arange(0, 100), np.arange(100, 150)), (np.arange(50, 150), np.arange(0, 50))],
        [(np.arange(150) % 3 != i, np.arange(150) % 3 == i) for i in range(3)],
    ],
    ids=lambda cv: type(cv).__name__,
)
def test_every_splitter_gives_the_scores_of_cross_val_score(cv: Any) -> None:
    estimator = KNeighborsClassifier(3)
    expected = cross_val_score(estimator, *IRIS, cv=cv)
    reports, result = evaluate({"n_neighbors": 3}, estimator=KNeighborsClassifier(), cv=cv)
    assert [report.value for report in reports] == expected.tolist()
    assert [report.step for report in reports] == list(range(1, len(expected) + 1))
    assert result["accuracy"] == expected.mean()
    assert result["std_accuracy"] == expected.std()
    assert result.keys() == {"accuracy", "std_accuracy", "fit_time", "score_time"}


def test_a_grid_gives_the_cv_results_of_grid_search_split_by_split() -> None:
    grid = {"model__C": [0.1, 1.0, 10.0], "model__kernel": ["linear", "rbf"]}
    pipeline = Pipeline([("scale", StandardScaler()), ("model", SVC())])
    search = GridSearchCV(pipeline, grid, cv=4, return_train_score=True).fit(*IRIS)
    evaluator = SklearnEvaluator(estimator=pipeline, X=IRIS[0], y=IRIS[1], cv=4, return_train_score=True)
    for i, params in enumerate(search.cv_results_["params"]):
        reports, result = finish(evaluator.evaluate(TrialContext(params=params)))
        for k, report in enumerate(reports):
            assert report.value == search.cv_results_[f"split{k}_test_score"][i]
            assert report.metrics["train_value"] == search.cv_results_[f"split{k}_train_score"][i]
        assert result["value"] == search.cv_results_["mean_test_score"][i]
        assert result["std_value"] == search.cv_results_["std_test_score"][i]
        assert result["train_value"] == search.cv_results_["mean_train_score"][i]


def test_steps_chosen_by_a_parameter_equal_grid_search_over_the_objects() -> None:
    pipeline = Pipeline([("scale", StandardScaler()), ("model", SVC())])
    scalers: dict[str, Any] = {"standard": StandardScaler(), "minmax": MinMaxScaler(), "none": "passthrough"}
    models = {"svm": SVC(), "forest": RandomForestClassifier(n_estimators=5, random_state=0)}
    grid = [
        {"scale": list(scalers.values()), "model": [models["svm"]], "model__C": [0.5]},
        {"scale": list(scalers.values()), "model": [models["forest"]], "model__max_depth": [2]},
    ]
    search = GridSearchCV(pipeline, grid, cv=3).fit(*IRIS)
    evaluator = SklearnEvaluator(
        pipeline=[["scale", "passthrough"], "model"],
        choices={"scale": scalers, "algorithm": models},
        params={"algorithm": "model", "C": "model__C", "depth": "model__max_depth"},
        X=IRIS[0],
        y=IRIS[1],
        cv=3,
    )
    trials: list[dict[str, Any]] = [{"scale": s, "algorithm": "svm", "C": 0.5} for s in scalers]
    trials += [{"scale": s, "algorithm": "forest", "depth": 2} for s in scalers]
    for i, params in enumerate(trials):
        reports, _ = finish(evaluator.evaluate(TrialContext(params=params)))
        expected = [search.cv_results_[f"split{k}_test_score"][i] for k in range(3)]
        assert [report.value for report in reports] == expected


def test_several_scorers_with_groups_and_weights_equal_cross_validate() -> None:
    weights = np.linspace(0.1, 2, 150)
    pipeline = Pipeline([("scale", StandardScaler()), ("tree", DecisionTreeClassifier(random_state=0))])
    scoring = ["f1_macro", "neg_log_loss", "accuracy"]
    expected = cross_validate(
        pipeline,
        *IRIS,
        groups=GROUPS,
        cv=GroupKFold(3),
        scoring=scoring,
        params={"tree__sample_weight": weights},
        return_train_score=True,
    )
    reports, result = evaluate(
        {"tree__random_state": 0},
        ("f1_macro", "neg_log_loss"),
        estimator=pipeline,
        cv={"use": "sklearn.model_selection:GroupKFold", "n_splits": 3},
        groups=GROUPS,
        fit_params={"tree__sample_weight": weights},
        scoring=scoring,
        return_train_score=True,
    )
    assert [r.value for r in reports] == expected["test_f1_macro"].tolist()
    for name in scoring:
        for kind in ("", "train_"):
            key = f"{kind or 'test_'}{name}"
            assert result[f"{kind}{name}"] == expected[key].mean()
            if key != "test_f1_macro":
                assert [r.metrics[f"{kind}{name}"] for r in reports] == expected[key].tolist()


def test_leave_one_group_out_has_a_step_for_each_group() -> None:
    evaluator = SklearnEvaluator(
        estimator=KNeighborsClassifier(),
        X=IRIS[0],
        y=IRIS[1],
        groups=GROUPS,
        cv=LeaveOneGroupOut(),
    )
    expected = cross_val_score(KNeighborsClassifier(), *IRIS, groups=GROUPS, cv=LeaveOneGroupOut())
    reports, _ = finish(evaluator.evaluate(TrialContext(params={})))
    assert evaluator.steps == len(expected) == 7
    assert [r.value for r in reports] == expected.tolist()


def test_a_regressor_is_scored_by_its_own_score_on_unshuffled_folds() -> None:
    X, y = load_diabetes(return_X_y=True)
    reports, _ = evaluate({"alpha": 0.3}, ("value",), estimator=Ridge, data="sklearn.datasets:load_diabetes")
    assert [r.value for r in reports] == cross_val_score(Ridge(alpha=0.3), X, y).tolist()


def test_a_loss_is_the_negated_scorer() -> None:
    X, y = load_diabetes(return_X_y=True)
    expected = -cross_val_score(Ridge(), X, y, scoring="neg_root_mean_squared_error")
    for name in ("rmse", "root_mean_squared_error"):
        reports, result = evaluate({}, (name,), estimator=Ridge(), X=X, y=y)
        assert [r.value for r in reports] == expected.tolist()
        assert result[name] == expected.mean()


@pytest.mark.parametrize(
    ("objectives", "scoring", "score"),
    [
        (("accuracy", "fit_time"), None, "accuracy"),
        (("accuracy", "score_time", "fit_time"), ["accuracy", "fit_time"], "accuracy"),
        (("fit_time",), None, "value"),
        (("fit_time",), "accuracy", "accuracy"),
        (("fit_time", "score_time"), ["accuracy"], "accuracy"),
        (("fit_time",), ["fit_time"], "value"),
        (("fit_time",), {"use": "sklearn.metrics:accuracy_score"}, "value"),
        (("fit_time", "quality"), {"use": "sklearn.metrics:accuracy_score"}, "quality"),
        (("fit_time", "quality"), "sklearn.metrics._scorer:accuracy_scorer", "quality"),
    ],
)
def test_fit_time_and_score_time_may_be_objectives(objectives: tuple[str, ...], scoring: Any, score: str) -> None:
    evaluator = SklearnEvaluator(estimator=SVC(), X=IRIS[0], y=IRIS[1], scoring=scoring)
    evaluator.check(Space({"C": [1.0]}), {n: "minimize" if n.endswith("time") else "maximize" for n in objectives})
    reports, result = finish(evaluator.evaluate(TrialContext(params={"C": 1.0}, objectives=objectives)))
    seen = [{objectives[0]: report.value, **report.metrics} for report in reports]
    assert [report[score] for report in seen] == cross_val_score(SVC(), *IRIS).tolist()
    for name in ("fit_time", "score_time"):
        assert result[name] == np.mean([report[name] for report in seen]) > 0
        assert f"std_{name}" not in result


def test_a_missing_score_is_told_whatever_the_names_of_the_others_are() -> None:
    evaluator = SklearnEvaluator(estimator=SVC(), X=IRIS[0], y=IRIS[1], scoring=lambda *_: {1: 2.0, None: 3.0})
    with pytest.raises(EvaluationError, match=r"^The scorers returned no 'value', only 1, None, "):
        finish(evaluator.evaluate(TrialContext(params={"C": 1.0}, objectives=("value",))))


def test_a_study_minimises_fit_time_under_a_bound_on_the_score() -> None:
    evaluator = SklearnEvaluator(estimator=SVC(), X=IRIS[0], y=IRIS[1], scoring="accuracy", cv=3)
    space = {"kernel": ["linear", "sigmoid"]}
    study = Study(
        space, objective={"fit_time": "minimize"}, constraints={"accuracy": ">= 0.9"}, evaluator=evaluator, seed=0
    )
    study.run()
    best = study.best
    assert best is not None
    assert best.params == {"kernel": "linear"}
    assert best.value == np.mean([report.value for report in best.reports])


@pytest.mark.parametrize(
    "X",
    [IRIS[0], scipy.sparse.csr_array(IRIS[0]), scipy.sparse.coo_matrix(IRIS[0]), IRIS[0].tolist()],
    ids=["array", "sparse", "sparse without rows", "list"],
)
def test_sparse_matrices_and_lists_have_the_scores_of_arrays(X: Any) -> None:
    reports, _ = evaluate({}, estimator=KNeighborsClassifier(), X=X, y=IRIS[1].tolist())
    assert [r.value for r in reports] == cross_val_score(KNeighborsClassifier(), X, IRIS[1]).tolist()


def test_a_precomputed_kernel_is_split_by_rows_and_columns() -> None:
    kernel = rbf_kernel(IRIS[0], gamma=0.1)
    reports, _ = evaluate({"kernel": "precomputed"}, estimator=SVC(), X=kernel, y=IRIS[1])
    assert [r.value for r in reports] == cross_val_score(SVC(gamma=0.1), *IRIS).tolist()


def test_a_kernel_and_features_of_one_study_do_not_share_their_folds() -> None:
    X = rbf_kernel(IRIS[0], gamma=0.1)
    evaluator = SklearnEvaluator(estimator=SVC(), X=X, y=IRIS[1])
    for kernel in ("rbf", "precomputed", "rbf"):
        reports, _ = finish(evaluator.evaluate(TrialContext(params={"kernel": kernel})))
        assert [r.value for r in reports] == cross_val_score(SVC(kernel=kernel), X, IRIS[1]).tolist()


class Spoiler(ClassifierMixin, BaseEstimator):
    """Writes to the data that it is given."""

    def fit(self, X: Any, y: Any) -> Spoiler:
        self.classes_ = np.unique(y)
        X *= 0
        y[:] = y[::-1].copy()
        return self

    def predict(self, X: Any) -> Any:
        X += 1
        return np.full(len(X), self.classes_[0])


def test_an_estimator_that_writes_to_its_data_does_not_affect_others() -> None:
    X, y = IRIS[0].copy(), IRIS[1].copy()
    models = {"spoiler": Spoiler(), "knn": KNeighborsClassifier()}
    evaluator = SklearnEvaluator(choices={"model": models}, X=X, y=y)
    for name in ("spoiler", "knn", "spoiler", "knn"):
        reports, _ = finish(evaluator.evaluate(TrialContext(params={"model": name})))
        expected = cross_val_score(models[name], *IRIS)
        assert [r.value for r in reports] == expected.tolist()
    assert (IRIS[0] == X).all()
    assert (y == IRIS[1]).all()


@pytest.mark.parametrize(("n", "kept"), [(100, True), (2**19, False)])
def test_folds_of_large_data_are_not_kept(n: int, kept: bool) -> None:
    folds = Folds(Data(np.zeros((n, 10))), [(np.array([0, 1]), np.array([2]))] * 2)
    first, second = folds.take(0, Ridge(), Routes()), folds.take(0, Ridge(), Routes())
    assert (first.X_train is second.X_train) is kept


def test_trials_are_paired_by_a_fixed_random_state() -> None:
    options = {"estimator": RandomForestClassifier(n_estimators=3), "X": IRIS[0], "y": IRIS[1]}
    expected = cross_val_score(RandomForestClassifier(n_estimators=3, random_state=0), *IRIS)
    first = SklearnEvaluator(**options)
    for number in range(2):
        reports, _ = finish(first.evaluate(TrialContext(params={}, number=number, seed=number)))
        assert [r.value for r in reports] == expected.tolist()
    reports, _ = finish(SklearnEvaluator(**options, randomness="trial").evaluate(TrialContext(params={}, seed=11)))
    seeded = cross_val_score(RandomForestClassifier(n_estimators=3, random_state=11), *IRIS)
    assert [r.value for r in reports] == seeded.tolist()


def test_closing_the_generator_stops_fitting() -> None:
    fitted = []

    class Counting(KNeighborsClassifier):
        def fit(self, X: Any, y: Any) -> Counting:
            fitted.append(len(X))
            super().fit(X, y)
            return self

    run = SklearnEvaluator(estimator=Counting(), X=IRIS[0], y=IRIS[1]).evaluate(TrialContext(params={}))
    next(run)
    run.close()
    assert len(fitted) == 1


def test_binary_probabilities_are_scored_as_by_cross_validate() -> None:
    X, y = load_breast_cancer(return_X_y=True)
    tree = DecisionTreeClassifier(max_depth=3, random_state=0)
    expected = cross_validate(tree, X, y, scoring=["roc_auc", "average_precision", "neg_brier_score"])
    reports, _ = evaluate(
        {"max_depth": 3},
        ("roc_auc", "average_precision", "neg_brier_score"),
        estimator={"use": "sklearn.tree:DecisionTreeClassifier", "random_state": 0},
        X=X,
        y=y,
    )
    assert [r.value for r in reports] == expected["test_roc_auc"].tolist()
    for name in ("average_precision", "neg_brier_score"):
        assert [r.metrics[name] for r in reports] == expected[f"test_{name}"].tolist()
