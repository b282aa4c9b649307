"""hpt plugin: the evaluator `sklearn`, which cross-validates scikit-learn estimators and pipelines."""

from __future__ import annotations

from hpt_core import hookimpl

hpt_api_version = 1


@hookimpl
def hpt_evaluators() -> dict[str, str]:
    """Name the evaluator of this plugin."""
    return {"sklearn": "hpt_evaluator_sklearn.evaluator:SklearnEvaluator"}
