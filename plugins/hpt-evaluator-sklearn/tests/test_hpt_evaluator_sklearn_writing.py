"""Growing models whose steps write to the rows that they are given: no level may affect a later one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import Lasso
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MaxAbsScaler
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it ships no types

from hpt_core import TrialContext
from hpt_evaluator_sklearn.evaluator import SklearnEvaluator

X, y = load_iris(return_X_y=True)
FOREST = RandomForestClassifier(n_estimators=6, max_depth=2, random_state=3)


def scores(estimator: Any, **options: Any) -> list[tuple[float, float]]:
    """The scores of each level on test rows and on training rows."""
    options = {"X": X, "y": y, "resource": "growth", "levels": 3, "return_train_score": True} | options
    evaluator = SklearnEvaluator(estimator=estimator, **options)
    return [(r.value, r.metrics["train_value"]) for r in evaluator.evaluate(TrialContext(params={}))]


def double_in_place(rows: Any) -> Any:
    rows *= 2
    return rows


class WritingForest(RandomForestClassifier):
    """Doubles its rows in place; its trees do not depend on the scale."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        return super().fit(double_in_place(X), y, sample_weight)

    def predict(self, X: Any) -> Any:
        return super().predict(double_in_place(X))


@pytest.mark.parametrize("rows", [X, scipy.sparse.csr_array(X)], ids=["array", "sparse"])
@pytest.mark.parametrize("cache_mb", [0, 1])
def test_a_step_that_writes_to_its_rows_does_not_affect_later_levels(rows: Any, cache_mb: int) -> None:
    found = scores(make_pipeline(MaxAbsScaler(copy=False), FOREST), X=rows, cache_mb=cache_mb)
    assert found == scores(make_pipeline(MaxAbsScaler(), FOREST), X=rows, cache_mb=cache_mb)


@pytest.mark.parametrize("cache_mb", [0, 1])
def test_a_step_that_cannot_take_read_only_rows_grows_with_the_right_scores(cache_mb: int) -> None:
    estimator = make_pipeline(FunctionTransformer(double_in_place), FOREST)
    expected = clone(estimator).set_params(functiontransformer__func=np.positive)
    assert scores(estimator, cache_mb=cache_mb) == scores(expected, cache_mb=cache_mb)


@pytest.mark.parametrize("rows", [X, scipy.sparse.csr_array(X)], ids=["array", "sparse"])
def test_a_model_that_writes_to_its_rows_grows_like_one_that_does_not(rows: Any) -> None:
    assert scores(WritingForest(**FOREST.get_params()), X=rows) == scores(FOREST, X=rows)


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_model_that_may_overwrite_transformed_rows_ends_in_an_ordinary_fit(order: Any) -> None:
    X, y = load_diabetes(return_X_y=True)
    X = 50 * X + 3
    layout = FunctionTransformer(np.asarray, kw_args={"order": order})
    estimator = make_pipeline(layout, Lasso(alpha=0.01, copy_X=False))
    found = scores(estimator, X=X, y=y, cv=3, cache_mb=0)
    with threadpool_limits(1):
        assert found[-1][0] == np.mean(cross_val_score(estimator, X, y, cv=3))
