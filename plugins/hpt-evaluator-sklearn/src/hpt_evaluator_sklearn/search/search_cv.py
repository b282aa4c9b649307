"""`SearchCV`: hpt as a scikit-learn estimator."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from copy import deepcopy
from numbers import Integral, Real
from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar, Self

import attrs
import numpy as np
from sklearn.base import _fit_context, clone, is_classifier
from sklearn.model_selection import check_cv
from sklearn.model_selection._search import BaseSearchCV
from sklearn.model_selection._validation import _warn_or_raise_about_fit_failures
from sklearn.utils import get_tags, indexable
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import _check_method_params

from hpt_evaluator_sklearn.search.plan import Plan, plan_distributions, plan_grid, plan_space
from hpt_evaluator_sklearn.search.results import collect, mark_partial
from hpt_evaluator_sklearn.search.session import Session

if TYPE_CHECKING:
    from hpt_core import History, Study

__all__ = ["SearchCV"]

_DEFAULT_TRIALS = 50


class SearchCV(BaseSearchCV):
    """Search the parameters of an estimator by cross-validation, with any sampler, stopping rules and store of hpt.

    A drop-in for `sklearn.model_selection.GridSearchCV` (``param_grid``) and ``RandomizedSearchCV``
    (``param_distributions``): the same candidates in the same order, the same folds, the same scores, the same
    attributes. Beyond that it takes any space of hpt, stops what is hopeless, and goes on where it was interrupted.

    Args:
        estimator: What is tuned; it is cloned. Its parameters are named as in ``set_params``.
        space: A `hpt_core.Space`, or its declaration ``{"C": Float(1e-3, 1e3, log=True)}``, in tables too
            (``{"low": 1e-3, "high": 1e3, "log": True}``). A list is a choice among its items, which may be any objects
            (estimators as steps of a pipeline); ``{"choices": {"svm": SVC(), ...}}`` gives them names, to which
            ``when`` may refer. A frozen distribution stands for its range. A list of mappings is a ``param_grid``.
        param_grid: As in GridSearchCV, instead of ``space``: all combinations, in scikit-learn's order.
        param_distributions: As in RandomizedSearchCV, instead of ``space``: the draws that it makes from the same
            ``random_state``, if that is an int.
        n_iter: How many candidates the search has in all, those of earlier runs on the same store included. None: all
            of a ``param_grid``, 10 draws from ``param_distributions``, 50 of a ``space``.
        sampler: Who proposes: a name, a mapping ``{"use": name, ...}`` or an object. None: see ``param_grid`` and
            ``param_distributions``; for a ``space`` the installed default. With one, lists and distributions are but
            the ranges that it searches.
        stop: Stopping rules, one or a list, likewise; ``"folds"`` for a race. A candidate that a rule stops keeps the
            folds that it has, and its mean is the rule's estimate; it ranks behind all whole ones. ``cv_results_``
            gets a column ``n_folds``.
        store: Where the search is kept: a path, a URL (``sqlite:///search.db``), a name or an object. The same fit
            goes on from there; one of other data, folds or settings is refused. None: in memory.
        study_name: The name of the search in its store.
        scoring: As in GridSearchCV: None (the estimator's own), a name, a callable, several as a list or mapping.
        n_jobs: How many candidates are tried at once, each in a process of its own (in a thread, where joblib's backend
            is ``threading``). None: 1; -1: as many as there are cores.
        refit: Whether to fit the winner on all data; with several scores, which one it wins by. A callable is given
            ``cv_results_`` and returns the index of the winner.
        cv: As in GridSearchCV. The folds are made once.
        verbose: As in GridSearchCV, from 0 (silent) to 3 (each fold with its score).
        pre_dispatch: Taken for GridSearchCV's sake; candidates are handed out one by one, so it has no effect.
        random_state: Decides what the sampler proposes.
        error_score: What a fold scores whose fit fails; ``"raise"`` ends the search with the error.
        return_train_score: Whether ``cv_results_`` has scores of the training parts.
        max_failures: The search ends when its first so many candidates all fail with the same error. None: never for
            ``param_grid`` and ``param_distributions``, which scikit-learn tries to the end, and 3 for a ``space``.
        cache_mb: Megabytes (in each process) for fitted transformers of a pipeline that candidates share; 0: none.

    Attributes:
        study_: The study, as long as this process lives; it does not travel when the search is pickled.
        history_: What is known of it: every trial with its reports, and why those that ended early did.
        cv_results_: As in GridSearchCV, a row per candidate in the order in which they began.
        best_estimator_, best_params_, best_score_, best_index_, n_splits_, refit_time_, scorer_, multimetric_,
            classes_, n_features_in_, feature_names_in_: As in GridSearchCV.

    Raises:
        hpt_core.UsageError: From `fit`, if space, sampler, rules or store are not what they should be.
        hpt_core.DefinitionChangedError: From `fit`, if the store has another search of this name.

    Example::

        search = SearchCV(SVC(), {"C": Float(1e-2, 1e3, log=True)}, sampler="bayes", n_iter=30, store="search.db")
        search.fit(X, y).best_params_
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **BaseSearchCV._parameter_constraints,  # noqa: SLF001 - scikit-learn's own way to inherit them
        "estimator": [HasMethods(["fit"])],
        "param_grid": [dict, list, None],
        "param_distributions": [dict, list, None],
        "n_iter": [Interval(Integral, 1, None, closed="left"), None],
        "study_name": [str],
        "random_state": ["random_state"],
        "error_score": [StrOptions({"raise"}), Real],
        "max_failures": [Interval(Integral, 1, None, closed="left"), None],
        "cache_mb": [Interval(Integral, 0, None, closed="left")],
    }

    def __init__(
        self,
        estimator: Any,
        space: Any = None,
        *,
        param_grid: Any = None,
        param_distributions: Any = None,
        n_iter: int | None = None,
        sampler: Any = None,
        stop: Any = (),
        store: Any = None,
        study_name: str = "search",
        scoring: Any = None,
        n_jobs: int | None = None,
        refit: Any = True,
        cv: Any = None,
        verbose: int = 0,
        pre_dispatch: Any = "2*n_jobs",
        random_state: Any = None,
        error_score: Any = np.nan,
        return_train_score: bool = False,
        max_failures: int | None = None,
        cache_mb: int = 256,
    ) -> None:
        super().__init__(
            estimator=estimator,
            scoring=scoring,
            n_jobs=n_jobs,
            refit=refit,
            cv=cv,
            verbose=verbose,
            pre_dispatch=pre_dispatch,
            error_score=error_score,
            return_train_score=return_train_score,
        )
        self.space = space
        self.param_grid = param_grid
        self.param_distributions = param_distributions
        self.n_iter = n_iter
        self.sampler = sampler
        self.stop = stop
        self.store = store
        self.study_name = study_name
        self.random_state = random_state
        self.max_failures = max_failures
        self.cache_mb = cache_mb

    @_fit_context(prefer_skip_nested_validation=False)  # type: ignore[untyped-decorator]  # sklearn ships no types
    def fit(self, X: Any, y: Any = None, **params: Any) -> Self:
        """Search, and fit the winner.

        Args:
            X: Rows of features: an array, a sparse matrix, a data frame, a list; or a kernel matrix.
            y: Targets; None where there are none.
            **params: Further arguments of ``fit``, of the scorer and of the splitter (``groups``). Those with an entry
                for each row are divided into folds. With scikit-learn's metadata routing each goes where it was
                requested.

        Returns:
            This search.
        """
        if getattr(self, "_skl_callbacks", None):
            said = "SearchCV does not call scikit-learn's callbacks; hpt's observing plugins are called."
            warnings.warn(said, UserWarning, stacklevel=3)
        scorers, refit_metric = self._get_scorers()
        X, y = indexable(X, y)
        if y is None and get_tags(self).target_tags.required:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None.")
        params = _check_method_params(X, params=params)
        routed = self._get_routed_params_for_fit(params)
        splits = self._splits(X, y, routed.splitter.split)
        plan = self._plan()
        session = Session(self, plan, scorers, plan.trials)
        self.study_: Study = session.run(X, y, splits, routed, params)
        self.history_: History = self.study_.history
        refit_metric = self._take_results(plan, scorers, refit_metric)
        self._choose(refit_metric)
        if self.refit:
            self._refit(X, y, routed.estimator.fit)
        self.scorer_ = getattr(scorers, "_scorers", scorers)
        return self

    def _splits(self, X: Any, y: Any, params: Mapping[str, Any]) -> list[tuple[Any, Any]]:
        """The folds, made once; what goes wrong is scikit-learn's to say."""
        splitter = check_cv(self.cv, y, classifier=is_classifier(self.estimator))
        self.n_splits_ = splitter.get_n_splits(X, y, **params)
        splits = [(np.asarray(train), np.asarray(test)) for train, test in splitter.split(X, y, **params)]
        if len(splits) != self.n_splits_:
            said = f"Expected {self.n_splits_} splits, got {len(splits)}"
            raise ValueError(f"cv.split and cv.get_n_splits return inconsistent results. {said}")
        if not splits:
            raise ValueError("No fits were performed. Was the CV iterator empty? Were there no candidates?")
        return splits

    def _plan(self) -> Plan:
        """What is searched."""
        given = {
            name: value
            for name in ("space", "param_grid", "param_distributions")
            if (value := getattr(self, name)) is not None
        }
        if len(given) != 1:
            said = ", ".join(given) or "none of them"
            raise ValueError(f"Give one of space, param_grid and param_distributions. Got {said}.")
        ((name, value),) = given.items()
        if name == "param_distributions":
            return plan_distributions(value, self.n_iter, drawn=self.sampler is None)
        is_grid = name == "param_grid" or (isinstance(value, (list, tuple)) and len(value) > 0)
        if is_grid:
            return attrs.evolve(plan_grid(value), trials=self.n_iter)
        return attrs.evolve(plan_space(value), trials=self.n_iter or _DEFAULT_TRIALS)

    def _take_results(self, plan: Plan, scorers: Any, refit_metric: Any) -> Any:
        """Set ``cv_results_`` and ``multimetric_``; returns the score that decides."""
        names = getattr(scorers, "_scorers", ())
        found = collect(
            self.history_,
            plan.decode,
            self.n_splits_,
            names=tuple(names),
            error_score=self.error_score,
            train=self.return_train_score,
        )
        if not found.params:
            raise ValueError(f"No candidate was tried to its end: {self.study_.stop_reason}.")
        _warn_or_raise_about_fit_failures(found.results, self.error_score)
        self.multimetric_ = found.multimetric
        if callable(self.scoring) and found.multimetric:
            self._check_refit_for_multimetric(found.results[0]["test_scores"])
            refit_metric = self.refit
        results = self._format_results(list(found.params), self.n_splits_, list(found.results))
        objective = self.study_.history.objectives[0]
        mark_partial(results, found, objective if found.multimetric else "score")
        self.cv_results_ = results
        return refit_metric

    def _choose(self, refit_metric: Any) -> None:
        """Set ``best_index_``, ``best_params_`` and ``best_score_``, where there is a best."""
        if not self.refit and self.multimetric_:
            return
        self.best_index_ = self._select_best_index(self.refit, refit_metric, self.cv_results_)
        if not callable(self.refit):
            self.best_score_ = self.cv_results_[f"mean_test_{refit_metric}"][self.best_index_]
        self.best_params_ = self.cv_results_["params"][self.best_index_]

    def _refit(self, X: Any, y: Any, fit_params: Mapping[str, Any]) -> None:
        best = clone(self.estimator).set_params(**clone(self.best_params_, safe=False))
        started = perf_counter()
        best.fit(*((X,) if y is None else (X, y)), **fit_params)
        self.refit_time_ = perf_counter() - started
        self.best_estimator_ = best
        if hasattr(best, "feature_names_in_"):
            self.feature_names_in_ = best.feature_names_in_

    def __sklearn_tags__(self) -> Any:
        """The tags of the estimator where they say what data it takes."""
        tags = super().__sklearn_tags__()
        inner = get_tags(self.estimator)
        tags.target_tags = deepcopy(inner.target_tags)
        tags.input_tags.allow_nan = inner.input_tags.allow_nan
        return tags

    def __getstate__(self) -> dict[str, Any]:
        """Travel with what is known, without the study, which holds an open store."""
        return {name: value for name, value in super().__getstate__().items() if name != "study_"}
