"""hpt plugin: the evaluator `sklearn`, which cross-validates scikit-learn estimators and pipelines, and `SearchCV`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hpt_core import hookimpl

if TYPE_CHECKING:
    from hpt_evaluator_sklearn.search import SearchCV

__all__ = ["SearchCV"]

hpt_api_version = 1


@hookimpl
def hpt_evaluators() -> dict[str, str]:
    """Name the evaluator of this plugin."""
    return {"sklearn": "hpt_evaluator_sklearn.evaluator:SklearnEvaluator"}


if not TYPE_CHECKING:  # a type checker would take every name for one of this module

    def __getattr__(name: str) -> Any:
        if name != "SearchCV":
            msg = f"module {__name__!r} has no attribute {name!r}"
            raise AttributeError(msg)
        from hpt_evaluator_sklearn.search import SearchCV

        return SearchCV
