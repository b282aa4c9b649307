"""What happens to the winner (refit, holdout, saving), and pickling of the evaluator."""

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
from sklearn.datasets import load_digits, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import GroupKFold, PredefinedSplit, StratifiedKFold, TimeSeriesSplit, train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import QuantileTransformer
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from hpt_core import DefinitionChangedError, Ordinal, Space, Study, TrialContext, UsageError
from hpt_evaluator_sklearn.evaluator import SklearnEvaluator
from hpt_evaluator_sklearn.nested import nested_score

X, y = load_iris(return_X_y=True)


def test_the_winner_is_refitted_saved_and_scored_on_the_holdout(tmp_path: Path) -> None:
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
    rows, held_out = train_test_split(np.arange(150), test_size=0.2, random_state=3, stratify=y)
    rows, held_out = np.sort(rows), np.sort(held_out)
    model = LogisticRegression(max_iter=1000, C=0.5).fit(X[rows], y[rows])
    assert found["holdout_rows"] == 30
    assert found["refit_rows"] == 120
    assert found["holdout_accuracy"] == accuracy_score(y[held_out], model.predict(X[held_out]))
    assert found["holdout_log_loss"] == log_loss(y[held_out], model.predict_proba(X[held_out]))
    assert found["saved"] == str(path)
    loaded = joblib.load(path)
    assert (loaded.predict_proba(X) == model.predict_proba(X)).all()
    assert (evaluator.best_estimator.predict(X) == model.predict(X)).all()
    assert [p.name for p in tmp_path.iterdir()] == ["best.joblib"]
    seen = np.concatenate([np.concatenate(split) for split in evaluator.split_data.folds.splits])
    assert set(seen) == set(range(120))
    assert (X[rows] == evaluator.split_data.folds.data.X).all()


def test_the_holdout_of_a_time_series_is_its_last_rows() -> None:
    evaluator = SklearnEvaluator(estimator=SVC(), X=X, y=y, holdout=10, cv=TimeSeriesSplit(3))
    aside = evaluator.split_data.holdout
    assert aside is not None
    assert (X[-10:] == aside.X).all()


def test_a_kernel_matrix_has_the_holdout_and_nested_scores_of_its_features() -> None:
    features = SklearnEvaluator(estimator=SVC(kernel="linear"), X=X, y=y, cv=3, holdout=0.2)
    kernel = SklearnEvaluator(estimator=SVC(kernel="precomputed"), X=X @ X.T, y=y, cv=3, holdout=0.2)
    best = TrialContext(params={"C": 0.01}, objectives=("accuracy",))
    found, expected = (evaluator.conclude(best) for evaluator in (kernel, features))
    assert found["holdout_accuracy"] == expected["holdout_accuracy"] < 1
    assert found["default_accuracy"] == expected["default_accuracy"]
    space = {"C": [0.001, 0.01, 1.0]}
    nested = [nested_score(e, space, outer=3, trials=3, seed=0, sampler="random") for e in (kernel, features)]
    assert nested[0] == nested[1]


def test_the_holdout_consists_of_whole_groups() -> None:
    groups = np.arange(150) // 10
    evaluator = SklearnEvaluator(estimator=SVC(), X=X, y=y, groups=groups, holdout=0.2, cv=GroupKFold(3))
    aside = evaluator.split_data.holdout
    assert aside is not None
    assert not set(aside.groups) & set(evaluator.split_data.folds.data.groups)
    assert aside.rows == 30


@pytest.mark.parametrize(
    "cv",
    [
        [(np.arange(60), np.arange(60, 100))],  # all of them exist beside the holdout, but would be other rows
        ((np.arange(90), np.arange(90, 150)),),
        PredefinedSplit(np.arange(150) % 3),
        (split for split in [(np.arange(60), np.arange(60, 100))]),
    ],
    ids=["list", "tuple", "predefined", "generator"],
)
def test_folds_of_row_numbers_are_refused_with_a_holdout(cv: Any) -> None:
    evaluator = SklearnEvaluator(estimator=SVC(), X=X, y=y, holdout=0.2, cv=cv)
    with pytest.raises(UsageError, match=r"evaluator\.cv: Row numbers refer to all rows, but the holdout takes some"):
        evaluator.check(Space({"C": [1.0, 2.0]}), {"accuracy": "maximize"})


def test_a_continued_study_says_for_which_winners_the_holdout_was_scored_before() -> None:
    """Each depth is better than the last one, so a run with one more trial has a new winner."""
    tree = DecisionTreeClassifier(random_state=0)
    digits, labels = load_digits(return_X_y=True)
    rows, held_out = map(np.sort, train_test_split(np.arange(1797), test_size=0.2, random_state=0, stratify=labels))
    models = [clone(tree).set_params(max_depth=depth).fit(digits[rows], labels[rows]) for depth in (1, 2, 4)]
    scores = [model.score(digits[held_out], labels[held_out]) for model in models]
    study = Study(
        {"max_depth": Ordinal(1, 2, 4)},
        objective={"accuracy": "maximize"},
        evaluator=SklearnEvaluator(estimator=tree, X=digits, y=labels, holdout=0.2),
        sampler="grid",
    )
    notes = []
    for trials in (1, 1, 2, 3, 3):
        study.run(trials=trials)
        notes.append(study.history.notes["conclusion"])
    assert [note["trial"] for note in notes] == [0, 0, 1, 2, 2]
    assert [note["holdout_accuracy"] for note in notes] == [scores[i] for i in (0, 0, 1, 2, 2)]
    assert [note.get("holdout_before") for note in notes] == [None, None, [0], [0, 1], [0, 1]]
    assert "holdout_use" not in notes[1]
    assert notes[2]["holdout_use"].startswith(
        "The holdout was scored before, for trial 0, so its score is unbiased only"
    )
    assert notes[3]["holdout_use"].startswith("The holdout was scored before, for trials 0 and 1, so")


@pytest.mark.parametrize("holdout", [0.0, 0.2])
@pytest.mark.parametrize("library", ["numpy", "pandas"])
def test_a_winner_that_writes_to_its_rows_does_not_change_the_data(library: str, holdout: float) -> None:
    """The next winner is fitted on it, and scored on the same holdout."""
    rows = X.copy() if library == "numpy" else pytest.importorskip(library).DataFrame(X.copy())
    model = make_pipeline(QuantileTransformer(copy=False, n_quantiles=9), SVC())
    evaluator = SklearnEvaluator(estimator=model, X=rows, y=y, holdout=holdout, compare=False)
    evaluator.conclude(TrialContext(params={}))
    kept = evaluator.split_data
    for part in (rows, kept.folds.data.X, kept.holdout.X if kept.holdout else []):
        assert np.isin(part, X).all()


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


def test_a_link_stays_and_the_file_that_it_names_is_saved(tmp_path: Path) -> None:
    path = tmp_path / "latest.joblib"
    path.symlink_to("m.joblib")
    evaluator = SklearnEvaluator(estimator=SVC(), X=X, y=y, save=path, compare=False)
    assert evaluator.conclude(TrialContext(params={}))["saved"] == str(path)
    assert path.is_symlink()
    assert joblib.load(tmp_path / "m.joblib").n_features_in_ == X.shape[1]


def test_options_for_the_winner_may_change_when_a_study_is_resumed(tmp_path: Path) -> None:
    """They affect no trial, so they need no amendment; the winner is saved although no trial is left to do."""
    store = f"sqlite:///{tmp_path / 'hpt.db'}"
    path = tmp_path / "m.joblib"
    space, objective = {"C": [0.1, 1.0]}, {"accuracy": "maximize"}
    for options in ({"refit": False, "compare": False}, {"save": path}, {"save": path, "cache_mb": 0}):
        evaluator = SklearnEvaluator(estimator=SVC(), X=X, y=y, **options)
        study = Study(space, objective=objective, sampler="grid", evaluator=evaluator, store=store)
        study.run()
        assert len(study.trials) == 2
        assert path.exists() == ("save" in options)
        study.close()
    changed = SklearnEvaluator(estimator=SVC(), X=X, y=y, cv=3)
    with pytest.raises(DefinitionChangedError, match=r"evaluator\.cv: Was None, is now 3"):
        Study(space, objective=objective, sampler="grid", evaluator=changed, store=store).run()


def splits_and_scores(evaluator: SklearnEvaluator) -> Any:
    """What a worker process does; also called in a spawned process."""
    splits = [(a.tolist(), b.tolist()) for a, b in evaluator.split_data.folds.splits]
    return splits, [r.value for r in evaluator.evaluate(TrialContext(params={"max_depth": 2}, seed=5))]


def test_a_pickled_evaluator_makes_the_same_folds_in_a_spawned_process() -> None:
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
    """Issues a warning in each fit."""

    def fit(self, X: Any, y: Any) -> Noisy:
        self.classes_ = np.unique(y)
        warnings.warn(f"did not converge in {len(X)} steps", ConvergenceWarning, stacklevel=1)
        return self

    def predict(self, X: Any) -> Any:
        return np.full(len(X), self.classes_[0])


def test_a_repeated_warning_is_shown_once_and_counted() -> None:
    evaluator = SklearnEvaluator(estimator=Noisy(), X=X, y=y)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        reports = [list(evaluator.evaluate(TrialContext(params={}))) for _ in range(3)]
    assert [str(w.message) for w in caught] == ["did not converge in 120 steps"]
    assert [r.metrics["warnings"] for trial in reports for r in trial] == [1.0] * 15


def test_a_warning_turned_into_an_error_fails_the_trial() -> None:
    evaluator = SklearnEvaluator(estimator=Noisy(), X=X, y=y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ConvergenceWarning):
            list(evaluator.evaluate(TrialContext(params={})))


def test_the_users_estimator_is_not_fitted() -> None:
    given = KNeighborsClassifier()
    list(SklearnEvaluator(estimator=given, X=X, y=y).evaluate(TrialContext(params={"n_neighbors": 2})))
    assert vars(given) == vars(clone(given))
