"""Candidates that a rule pauses between folds and promotes later have the same results as others."""

from __future__ import annotations

import math
from typing import Any

import attrs
import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV
from sklearn.tree import DecisionTreeClassifier

from hpt_core import Pause, State, Study
from hpt_evaluator_sklearn import SearchCV

X, Y = load_iris(return_X_y=True)
TREE = DecisionTreeClassifier(random_state=0)
DEPTHS = {"max_depth": [1, 2, 3, 4]}


@attrs.define(kw_only=True)
class Pausing:
    """Pauses each trial after the folds ``at``; promotes the trials ``promoted``, in this order."""

    at: tuple[int, ...] = (1, 3)
    promoted: tuple[int, ...] = (3, 2, 1, 0)

    def judge_trial(self, history: Any, trial: Any) -> Pause | None:
        return Pause("wait") if trial.reports[-1].step in self.at else None

    def promote(self, history: Any) -> int | None:
        paused = [n for n in self.promoted if history.trials[n].state is State.PAUSED] if history.closing else []
        return paused[0] if paused else None


def without_times(metrics: Any) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if not name.endswith("_time")}


@pytest.mark.parametrize(
    ("n_jobs", "scoring"), [(1, None), (1, ["accuracy", "f1_macro"]), (2, ["accuracy", "f1_macro"])]
)
def test_pausing_candidates_does_not_change_the_results(n_jobs: int, scoring: Any) -> None:
    given: dict[str, Any] = {"scoring": scoring, "refit": "accuracy" if scoring else True, "return_train_score": True}
    whole = GridSearchCV(TREE, DEPTHS, **given).fit(X, Y)
    search = SearchCV(TREE, param_grid=DEPTHS, stop=Pausing(), n_jobs=n_jobs, **given).fit(X, Y)
    assert all(trial.attempt == 3 for trial in search.study_.trials)
    assert search.cv_results_["params"] == whole.cv_results_["params"]
    for name, column in whole.cv_results_.items():
        if "score" in name and "time" not in name:
            assert np.array_equal(search.cv_results_[name], column), name
    once = SearchCV(TREE, param_grid=DEPTHS, **given).fit(X, Y)
    for trial, other in zip(search.study_.trials, once.study_.trials, strict=True):
        assert (trial.values, without_times(trial.metrics)) == (other.values, without_times(other.metrics))


def test_a_candidate_that_stays_paused_keeps_its_folds() -> None:
    whole = GridSearchCV(TREE, DEPTHS).fit(X, Y).cv_results_
    search = SearchCV(TREE, param_grid=DEPTHS, stop=Pausing(at=(2,), promoted=(1, 2))).fit(X, Y)
    found = search.cv_results_
    assert found["n_folds"].tolist() == [2, 5, 5, 2]
    assert found["mean_test_score"][0] == np.mean([whole["split0_test_score"][0], whole["split1_test_score"][0]])
    assert (found["rank_test_score"][[0, 3]] > 2).all()
    assert search.best_params_["max_depth"] == [2, 3][int(np.argmax(whole["mean_test_score"][1:3]))]


class Fragile(ClassifierMixin, BaseEstimator):
    """Its fit fails on some rows; its score is NaN on others."""

    def __init__(self, bad: int = 0) -> None:
        self.bad = bad

    def fit(self, X: Any, y: Any) -> Fragile:
        if self.bad == 1 and X[0, 0] != 5.1:  # the first training part lacks the first row
            raise ValueError("the first fold fails")
        self.classes_ = np.unique(y)
        return self

    def score(self, X: Any, y: Any) -> float:
        return math.nan if self.bad == 2 and X[0, 0] != 5.1 else 0.5


@pytest.mark.filterwarnings("ignore")
def test_folds_that_failed_before_a_pause_fail_the_candidate_at_the_end() -> None:
    assert X[0, 0] == 5.1
    once = SearchCV(Fragile(), param_grid={"bad": [0, 1, 2]}).fit(X, Y)
    search = SearchCV(Fragile(), param_grid={"bad": [0, 1, 2]}, stop=Pausing(at=(2, 4), promoted=(2, 1, 0))).fit(X, Y)
    assert [trial.state for trial in search.study_.trials] == [State.COMPLETE, State.FAILED, State.FAILED]
    for trial, other in zip(search.study_.trials, once.study_.trials, strict=True):
        assert [report.step for report in trial.reports] == [report.step for report in other.reports]
        assert (trial.failure and trial.failure.message) == (other.failure and other.failure.message)
    for name, column in once.cv_results_.items():
        if "test_score" in name:
            assert np.array_equal(search.cv_results_[name], column, equal_nan=True), name


@pytest.mark.filterwarnings("ignore")
def test_a_candidate_without_a_score_ranks_behind_a_partial_one() -> None:
    search = SearchCV(Fragile(), param_grid={"bad": [2, 0, 3]}, stop=Pausing(at=(2,), promoted=(1,))).fit(X, Y)
    assert search.cv_results_["n_folds"].tolist() == [5, 5, 2]
    assert search.cv_results_["rank_test_score"].tolist() == [3, 1, 2]


def test_paused_trials_of_the_evaluator_end_like_others() -> None:
    def run(stop: Any) -> Study:
        evaluator = {
            "use": "sklearn",
            "estimator": "sklearn.tree:DecisionTreeClassifier",
            "data": "sklearn.datasets:load_iris",
            "scoring": ["f1_macro"],
            "return_train_score": True,
        }
        objectives = {"accuracy": "maximize", "f1_macro": "maximize"}
        study = Study(DEPTHS, objective=objectives, sampler="grid", evaluator=evaluator, stop=stop, seed=0)
        study.run()
        return study

    once, waited = run(()), run(Pausing())
    assert all(trial.attempt == 3 for trial in waited.trials)
    for trial, other in zip(waited.trials, once.trials, strict=True):
        assert trial.values == other.values
        assert trial.metrics["fit_time"] == np.mean([r.metrics["fit_time"] for r in trial.reports])  # each fold once
        assert without_times(trial.metrics) == without_times(other.metrics)
        assert [r.value for r in trial.reports] == [r.value for r in other.reports]


def test_racing_finds_an_equally_good_candidate_with_fewer_fits() -> None:
    grid = {"max_depth": [1, 2, 3, 5], "min_samples_leaf": [1, 5, 20, 60]}
    whole = GridSearchCV(TREE, grid, cv=5).fit(X, Y)
    search = SearchCV(TREE, param_grid=grid, cv=5, stop="folds").fit(X, Y)
    found = search.cv_results_
    assert found["n_folds"].sum() < 0.7 * 80
    assert search.best_score_ >= whole.best_score_ - 0.01
    complete = found["n_folds"] == 5
    assert not search.study_.history.open
    theirs = {str(p): s for p, s in zip(whole.cv_results_["params"], whole.cv_results_["mean_test_score"], strict=True)}
    for params, score in zip(np.array(found["params"])[complete], found["mean_test_score"][complete], strict=True):
        assert score == theirs[str(params)]
