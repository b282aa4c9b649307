"""`SearchCV`: hpt as a scikit-learn estimator, a drop-in replacement for GridSearchCV and RandomizedSearchCV."""

from __future__ import annotations

from hpt_evaluator_sklearn.search.search_cv import SearchCV

__all__ = ["SearchCV"]
