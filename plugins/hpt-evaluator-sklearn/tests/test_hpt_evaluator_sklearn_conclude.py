"""What happens to the winner: refit, holdout, file; and what travels between processes."""

from __future__ import annotations

import multiprocessing
import pickle
import warnings
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import GroupKFold, StratifiedKFold, TimeSeriesSplit, train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

from hpt_core import TrialContext
from hpt_evaluator_sklearn.evaluator import SklearnEvaluator

X, y = load_iris(return_X_y=True)


def test_the_winner_is_refitted_saved_and_scored_on_rows_that_no_trial_saw(tmp_path: Path) -> None:
    path = tmp_path / "best.joblib"
    evaluator = SklearnEvaluator(
        estimator=LogisticRegression(max_iter=1000),
        data="sklearn.datasets:load_iris",
        holdout=0.2,
        seed=3,
        save=path,
    )
    best = TrialContext(params={"C": 0.5}, objectives=("accuracy", "log_loss"))
    found = evaluator.conclude(best)
    work, aside = train_test_split(np.arange(150), test_size=0.2, random_state=3, stratify=y)
    work, aside = np.sort(work), np.sort(aside)
    model = LogisticRegression(max_iter=1000, C=0.5).fit(X[work], y[work])
    assert found["holdout_rows"] == 30
    assert found["refit_rows"] == 120
    assert found["holdout_accuracy"] == accuracy_score(y[aside], model.predict(X[aside]))
    assert found["holdout_log_loss"] == log_loss(y[aside], model.predict_proba(X[aside]))
    assert found["saved"] == str(path)
    loaded = joblib.load(path)
    assert (loaded.predict_proba(X) == model.predict_proba(X)).all()
    assert (evaluator.best_estimator.predict(X) == model.predict(X)).all()
    assert [p.name for p in tmp_path.iterdir()] == ["best.joblib"]
    seen = np.concatenate([np.concatenate(split) for split in evaluator.material.folds.splits])
    assert set(seen) == set(range(120))
    assert (X[work] == evaluator.material.folds.data.X).all()


def test_a_count_and_the_last_rows_of_a_time_series() -> None:
    evaluator = SklearnEvaluator(estimator=SVC(), X=X, y=y, holdout=10, cv=TimeSeriesSplit(3))
    aside = evaluator.material.aside
    assert aside is not None
    assert (X[-10:] == aside.X).all()


def test_groups_are_set_aside_whole() -> None:
    groups = np.arange(150) // 10
    evaluator = SklearnEvaluator(estimator=SVC(), X=X, y=y, groups=groups, holdout=0.2, cv=GroupKFold(3))
    aside = evaluator.material.aside
    assert aside is not None
    assert not set(aside.groups) & set(evaluator.material.folds.data.groups)
    assert aside.rows == 30


def test_without_refit_nothing_is_fitted_again() -> None:
    evaluator = SklearnEvaluator(estimator=SVC(), X=X, y=y, refit=False, compare=False)
    assert evaluator.conclude(TrialContext(params={})) == {}
    assert evaluator.best_estimator is None


def test_a_save_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "m.joblib"
    path.write_bytes(b"old")
    local = type("Local", (KNeighborsClassifier,), {"__reduce__": None})()
    evaluator = SklearnEvaluator(estimator=local, X=X, y=y, save=path)
    with pytest.raises(TypeError):
        evaluator.conclude(TrialContext(params={}))
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["m.joblib"]


def splits_and_scores(evaluator: SklearnEvaluator) -> Any:
    """What a worker process would do; runs in a spawned one too."""
    splits = [(a.tolist(), b.tolist()) for a, b in evaluator.material.folds.splits]
    return splits, [r.value for r in evaluator.evaluate(TrialContext(params={"max_depth": 2}, seed=5))]


def test_an_evaluator_travels_to_a_spawned_process_and_makes_the_same_folds() -> None:
    def made() -> SklearnEvaluator:
        return SklearnEvaluator(
            estimator={"use": "sklearn.ensemble:RandomForestClassifier", "n_estimators": 3},
            data="sklearn.datasets:load_iris",
            cv=StratifiedKFold(4, shuffle=True),
            holdout=0.1,
        )

    used = made()
    here = splits_and_scores(used)
    assert len(pickle.dumps(used)) < 2000
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(splits_and_scores, [made(), used]) == [here, here]


class Noisy(ClassifierMixin, BaseEstimator):
    """Warns at each fit."""

    def fit(self, X: Any, y: Any) -> Noisy:
        self.classes_ = np.unique(y)
        warnings.warn(f"did not converge in {len(X)} steps", ConvergenceWarning, stacklevel=1)
        return self

    def predict(self, X: Any) -> Any:
        return np.full(len(X), self.classes_[0])


def test_a_warning_of_every_fit_is_shown_once_and_counted() -> None:
    evaluator = SklearnEvaluator(estimator=Noisy(), X=X, y=y)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        reports = [list(evaluator.evaluate(TrialContext(params={}))) for _ in range(3)]
    assert [str(w.message) for w in caught] == ["did not converge in 120 steps"]
    assert [r.metrics["warnings"] for trial in reports for r in trial] == [1.0] * 15


def test_a_warning_that_the_user_made_an_error_fails_the_trial() -> None:
    evaluator = SklearnEvaluator(estimator=Noisy(), X=X, y=y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ConvergenceWarning):
            list(evaluator.evaluate(TrialContext(params={})))


def test_the_estimator_of_a_trial_is_not_fitted_by_its_folds() -> None:
    given = KNeighborsClassifier()
    list(SklearnEvaluator(estimator=given, X=X, y=y).evaluate(TrialContext(params={"n_neighbors": 2})))
    assert vars(given) == vars(clone(given))
