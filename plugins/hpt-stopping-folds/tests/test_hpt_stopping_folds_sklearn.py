"""Racing in real cross-validation: folds are saved, the winner is kept, and `verify` confirms every decision."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hpt_core import Float, Int, State, Study
from hpt_core.plugins.plugins import default_plugins
from hpt_core.study.verify import verify
from hpt_stopping_folds.adjust import adjusted_mean
from hpt_stopping_folds.differences import variance_of

pytest.importorskip("hpt_evaluator_sklearn")

RULES: list[dict[str, Any]] = [
    {"use": "folds"},
    {"use": "folds", "test": "forgiving"},
    {"use": "folds", "test": "t"},
    {"use": "folds", "test": "wilcoxon"},
    {"use": "race"},
]


SVC: dict[str, Any] = {"C": Float(1e-3, 1e3, log=True), "gamma": Float(1e-4, 1e1, log=True)}
TREE: dict[str, Any] = {"max_depth": Int(1, 10), "min_samples_leaf": Int(1, 40)}


def study_of(stop: Any, estimator: str = "sklearn.svm:SVC", space: dict[str, Any] = SVC) -> Study:
    evaluator = {
        "use": "sklearn",
        "estimator": estimator,
        "data": "sklearn.datasets:load_wine",
        "cv": {"use": "sklearn.model_selection:StratifiedKFold", "n_splits": 10, "shuffle": True},
        "refit": False,
        "compare": False,
    }
    return Study(space, objective={"accuracy": "maximize"}, sampler="random", evaluator=evaluator, stop=stop, seed=0)


@pytest.fixture(scope="module")
def whole() -> Study:
    study = study_of(())
    study.run(trials=25)
    return study


@pytest.mark.parametrize("spec", RULES, ids=lambda spec: spec.get("test", spec["use"]))
def test_racing_saves_folds_and_keeps_the_winner(spec: dict[str, Any], whole: Study) -> None:
    study = study_of(spec)
    study.run(trials=25)
    stopped = [trial for trial in study.trials if trial.state is State.STOPPED]
    assert stopped
    assert study.best is not None
    assert whole.best is not None
    assert study.best.params == whole.best.params
    for trial in stopped:
        assert trial.partial
        assert len(trial.reports) < 10
        full = whole.trials[trial.number].reports
        assert [r.value for r in trial.reports] == [r.value for r in full[: len(trial.reports)]]
    found = verify(study.store, study.name, default_plugins())
    assert not found.differences
    assert found.checked >= 25 + len(stopped)


def test_adjusted_values_are_nearer_to_what_all_folds_give() -> None:
    """For each tree after its first, second and third fold, from the ones before."""
    study = study_of((), "sklearn.tree:DecisionTreeClassifier", TREE)
    study.run(trials=25)
    table = [{report.step: report.value for report in trial.reports} for trial in study.trials]
    plain, adjusted = [], []
    for i, whole in enumerate(table[1:], start=1):
        truth = float(np.mean(list(whole.values())))
        for done in (1, 2, 3):
            own = [whole[fold] for fold in range(1, done + 1)]
            rows = [own, *(list(row.values()) for row in table[:i])]
            values = np.full((len(rows), 10), np.nan)
            for j, row in enumerate(rows):
                values[j, : len(row)] = row
            plain.append(abs(float(np.mean(own)) - truth))
            adjusted.append(abs(adjusted_mean(values, np.array([variance_of(row) for row in rows])) - truth))
    assert np.mean(adjusted) < 0.5 * np.mean(plain)


@pytest.mark.parametrize("spec", RULES, ids=lambda spec: spec.get("test", spec["use"]))
def test_a_study_in_pieces_is_the_study_in_one(spec: dict[str, Any]) -> None:
    """With `waiting=0`, as waiting trials are resumed at the end of each budget."""
    own = {"waiting": 0} if spec["use"] == "folds" else {}
    whole = study_of(spec | own)
    whole.run(trials=12)
    pieces = study_of(spec | own)
    for trials in (3, 4, 9, 12):
        pieces.run(trials=trials)
    for one, other in zip(whole.trials, pieces.trials, strict=True):
        assert (one.params, one.state, one.value, one.reason) == (other.params, other.state, other.value, other.reason)
