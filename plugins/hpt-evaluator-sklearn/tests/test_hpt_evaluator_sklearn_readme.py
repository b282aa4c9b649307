"""The README and the examples work as shown; limits on threads."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import threadpoolctl  # type: ignore[import-untyped]  # it ships no types
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsClassifier

from hpt_core import Report, Space, TrialContext
from hpt_evaluator_sklearn import hpt_evaluators
from hpt_evaluator_sklearn.evaluator import SklearnEvaluator

README = (Path(__file__).parents[1] / "README.md").read_text()
EXAMPLE = Path(__file__).parents[3] / "examples" / "digits.toml"
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)
STUDIES = [text for kind, text in BLOCKS if kind == "toml"] + [EXAMPLE.read_text()]


@pytest.mark.parametrize("text", STUDIES, ids=range(len(STUDIES)))
def test_the_shown_studies_pass_the_check_and_evaluate_their_default(text: str) -> None:
    study = tomllib.loads(text)
    options = dict(study["evaluator"])
    assert options.pop("use") in hpt_evaluators()
    evaluator = SklearnEvaluator(**options)
    space = Space(study["space"])
    evaluator.check(space, study["objective"])
    trial = TrialContext(params=space.default(), objectives=tuple(study["objective"]))
    reports = list(evaluator.evaluate(trial))
    assert len(reports) == evaluator.steps
    assert all(report.value > 0.9 for report in reports)


def test_the_shown_python_runs(capsys: pytest.CaptureFixture[str]) -> None:
    for kind, text in BLOCKS:
        if kind == "python":
            exec(compile(text, "README.md", "exec"), {})
    first = capsys.readouterr().out.splitlines()[0]
    mean, std, _ = map(float, first.split())
    assert 0.9 < mean <= 1
    assert 0 <= std < 0.1


def test_the_textbook_grid_over_a_wrapped_solver_equals_grid_search() -> None:
    X, y = load_iris(return_X_y=True)
    wrapped = OneVsRestClassifier(LogisticRegression(solver="liblinear"))
    search = GridSearchCV(wrapped, {"estimator__C": [0.1, 1.0, 10.0, 100.0]}, cv=5).fit(X, y)
    inner = {"use": "sklearn.linear_model:LogisticRegression", "solver": "liblinear"}
    evaluator = SklearnEvaluator(
        estimator={"use": "sklearn.multiclass:OneVsRestClassifier", "estimator": inner},
        params={"C": "estimator__C"},
        data="sklearn.datasets:load_iris",
        cv=5,
    )
    for i, C in enumerate([0.1, 1.0, 10.0, 100.0]):
        values = [r.value for r in evaluator.evaluate(TrialContext(params={"C": C}))]
        assert values == [search.cv_results_[f"split{k}_test_score"][i] for k in range(5)]


def threads() -> set[int]:
    return {pool["num_threads"] for pool in threadpoolctl.threadpool_info()}


class Looking(KNeighborsClassifier):
    """Records the number of threads during its fit."""

    def fit(self, X: Any, y: Any) -> Looking:
        self.threads_ = threads()
        super().fit(X, y)
        return self


def count(estimator: Looking, X: Any, y: Any) -> float:
    return float(max(estimator.threads_))


@pytest.mark.parametrize(("option", "expected"), [(1, 1), (2, 2)])
def test_threads_are_limited_only_during_a_fit(option: int, expected: int) -> None:
    before = threads()
    evaluator = SklearnEvaluator(estimator=Looking(), data="sklearn.datasets:load_iris", scoring=count, threads=option)
    seen: list[Report] = []
    for report in evaluator.evaluate(TrialContext(params={})):
        seen.append(report)
        assert threads() == before
    assert [report.value for report in seen] == [expected] * 5


def test_zero_threads_means_no_limit() -> None:
    evaluator = SklearnEvaluator(estimator=Looking(), data="sklearn.datasets:load_iris", scoring=count, threads=0)
    assert {r.value for r in evaluator.evaluate(TrialContext(params={}))} == {max(threads())}
