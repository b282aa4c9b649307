"""The conformance kit on the evaluator: folds, growing training subsets, growing models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import pytest

from hpt_core import Float, Int, Space
from hpt_core.testing import EvaluatorKit
from hpt_evaluator_sklearn.evaluator import SklearnEvaluator


class TestFolds(EvaluatorKit):
    objectives: ClassVar[Mapping[str, str]] = {"accuracy": "maximize"}
    options: ClassVar[Mapping[str, Any]] = {}

    @pytest.fixture
    def space(self) -> Space:
        return Space({"max_features": Float(0.2, 1.0), "max_depth": Int(1, 5)})

    @pytest.fixture
    def make_evaluator(self) -> Callable[[], SklearnEvaluator]:
        return lambda: SklearnEvaluator(
            estimator="sklearn.tree:DecisionTreeClassifier", data="sklearn.datasets:load_iris", cv=3, **self.options
        )


class TestSubsets(TestFolds):
    options: ClassVar[Mapping[str, Any]] = {"resource": "subsets", "return_train_score": True}


class TestGrowth(TestFolds):
    options: ClassVar[Mapping[str, Any]] = {"resource": "growth", "levels": 4}

    @pytest.fixture
    def make_evaluator(self) -> Callable[[], SklearnEvaluator]:
        forest = {"use": "sklearn.ensemble:RandomForestClassifier", "n_estimators": 8}
        return lambda: SklearnEvaluator(estimator=forest, data="sklearn.datasets:load_iris", cv=2, **self.options)
