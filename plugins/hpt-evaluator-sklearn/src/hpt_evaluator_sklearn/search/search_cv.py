"""`SearchCV`: hpt as a scikit-learn estimator."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
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

from hpt_evaluator_sklearn.search.cv_results import collect, mark_partial
from hpt_evaluator_sklearn.search.plan import Plan, plan_distributions, plan_grid, plan_space
from hpt_evaluator_sklearn.search.session import Session

if TYPE_CHECKING:
    from hpt_core import History, Study

__all__ = ["SearchCV"]

_DEFAULT_TRIALS = 50


class SearchCV(BaseSearchCV):
    """Cross-validated search over the parameters of an estimator, with any sampler, stopping rule and store of hpt.

    A drop-in replacement for `sklearn.model_selection.GridSearchCV` (with ``param_grid``) and ``RandomizedSearchCV``
    (with ``param_distributions``): the same candidates in the same order, the same folds, the same scores and the same
    attributes. In addition, it searches any space of hpt, stops poor candidates between folds, and resumes an
    interrupted search from its store.

    Like GridSearchCV, it implements ``fit`` and ``score``, and also ``predict``, ``predict_proba``,
    ``predict_log_proba``, ``decision_function``, ``score_samples``, ``transform`` and ``inverse_transform`` if the
    estimator does. Give one of ``space``, ``param_grid`` and ``param_distributions``.

    Args:
        estimator (estimator object): The estimator to tune. It is cloned for each fit. It must have a ``score`` method,
            or ``scoring`` must be given.
        space (hpt_core.Space, dict or list of dict, default=None): The space to search, keyed by ``set_params`` names:
            a `hpt_core.Space` or its declaration, such as ``{"C": Float(1e-3, 1e3, log=True)}`` or
            ``{"C": {"low": 1e-3, "high": 1e3, "log": True}}``. A list is a choice among its items, which may be any
            objects, for example estimators as steps of a pipeline. ``{"choices": {"svm": SVC(), ...}}`` names the
            items, so that the ``when`` of other parameters can refer to them. A frozen distribution of `scipy.stats`
            stands for its range. A list of dicts is treated as ``param_grid``.
        param_grid (dict or list of dict, default=None): Parameter names mapped to lists of values, as in GridSearchCV.
            All combinations are tried, in scikit-learn's order.
        param_distributions (dict or list of dict, default=None): Parameter names mapped to distributions or lists of
            values, as in RandomizedSearchCV. If ``random_state`` is an int, the candidates are the same as there.
        n_iter (int, default=None): Total number of candidates, including those of earlier runs with the same store.
            None means all combinations of a ``param_grid``, 10 draws from ``param_distributions``, and 50 candidates
            for a ``space``.
        sampler (str, dict or Sampler, default=None): The sampler that suggests candidates: its name, its options
            ``{"use": name, ...}``, or an object. None means scikit-learn's own candidates for ``param_grid`` and
            ``param_distributions``, and the default sampler for a ``space``. If a sampler is given, ``param_grid`` and
            ``param_distributions`` only define the space that it searches.
        stop (str, dict, StoppingRule or list of these, default=()): Stopping rules, by name, options or object.
            ``"folds"`` races the candidates. A candidate that a rule stops keeps the scores of its completed folds.
            Its mean score is the estimate of the rule, and it ranks below all complete candidates. Of several scores, a
            rule watches the one that determines the best candidate, or the one that it names, with the prefix
            ``test_``: ``{"use": "folds", "metric": "test_f1", "maximize": True}``.
        store (str, path, dict or Store, default=None): Where the study is recorded: a path, a URL
            (``sqlite:///search.db``), a name, options or an object. Fitting again with the same store resumes the
            search. A search with other data, folds or settings under the same ``study_name`` is refused. None keeps
            the study in memory.
        study_name (str, default="search"): Name of the study in its store.
        scoring (str, callable, list, tuple or dict, default=None): Strategy to evaluate the cross-validated model on
            the test set. For a single score: a scorer name, or a callable ``(estimator, X, y)`` that returns a number.
            For several: a list or tuple of names, a callable that returns a dict, or a dict of names to scorers. None
            uses the estimator's ``score`` method.
        n_jobs (int, default=None): Number of candidates to evaluate in parallel, in separate processes, or in threads
            within ``joblib.parallel_config(backend="threading")``. None means 1 unless in a
            ``joblib.parallel_config`` context; -1 means all processors.
        refit (bool, str or callable, default=True): Whether to refit the best candidate on the whole data set. With
            several scores it must be the name of the score that determines the best candidate, or False. A callable
            receives ``cv_results_`` and returns ``best_index_``; ``best_score_`` is not available then.
        cv (int, cross-validation generator or iterable, default=None): Determines the splitting strategy: None for
            5-fold cross-validation, the number of folds of a ``(Stratified)KFold``, a splitter, or an iterable of
            (train, test) index arrays. For an int or None, the folds are stratified if the estimator is a classifier
            and ``y`` is binary or multiclass. The folds are made once and are the same for all candidates.
        verbose (int, default=0): 0 prints nothing, 1 the number of fits, 2 also a line with the time of each fold,
            3 also the fold number and the scores.
        pre_dispatch (int or str, default="2*n_jobs"): Accepted for compatibility with GridSearchCV, but without effect:
            candidates are dispatched one by one.
        random_state (int, RandomState instance or None, default=None): Seed of the sampler. Pass an int for
            reproducible candidates.
        error_score ("raise" or numeric, default=np.nan): Score of a fold whose fit fails. With a number, a
            FitFailedWarning is issued. With ``"raise"``, the error ends the search. It does not affect the refit, which
            always raises.
        return_train_score (bool, default=False): Whether ``cv_results_`` includes the scores on the training sets.
        max_failures (int, default=None): End the search if its first ``max_failures`` candidates all fail with the same
            error. None means 3 for a ``space``. It means no limit, as in scikit-learn, for a ``param_grid``, and for
            ``param_distributions`` without a ``sampler``.
        cache_mb (int, default=256): Megabytes per process for the fitted transformers of a pipeline that candidates
            share; 0 disables sharing. The ``fit_time`` of a candidate does not include shared transformers.

    Attributes:
        cv_results_ (dict of numpy (masked) ndarrays): One row per candidate, in the order in which they started; can be
            loaded into a pandas DataFrame. The columns are those of GridSearchCV: ``params``, ``param_<name>``,
            ``split<i>_test_score``, ``mean_test_score``, ``std_test_score``, ``rank_test_score``, the same for
            ``train`` with ``return_train_score``, and ``mean_`` and ``std_`` of ``fit_time`` and ``score_time`` in
            seconds. With several scores, their names replace ``score``. If a rule stopped candidates before their last
            fold, the column ``n_folds`` is the number of folds of each, and missing folds are NaN.
        best_estimator_ (estimator): The best candidate, refitted on the whole data set. Not available if ``refit`` is
            False.
        best_score_ (float): Mean cross-validated score of the best candidate. Not available if ``refit`` is a callable,
            or False with several scores.
        best_params_ (dict): Parameters of the best candidate. Not available if ``refit`` is False with several scores.
        best_index_ (int): Index of the best candidate in the arrays of ``cv_results_``. Not available if ``refit`` is
            False with several scores.
        scorer_ (callable or dict): The scorer applied to the test sets; with several scores, a dict of names to
            scorers.
        n_splits_ (int): The number of folds.
        refit_time_ (float): Seconds for refitting the best candidate. Not available if ``refit`` is False.
        multimetric_ (bool): Whether there are several scores.
        classes_ (ndarray of shape (n_classes,)): The class labels. Only available if the search was refitted and the
            estimator is a classifier.
        n_features_in_ (int): Number of features seen during `fit`. Only available if ``best_estimator_`` has it.
        feature_names_in_ (ndarray of shape (n_features_in_,)): Names of the features seen during `fit`. Only available
            if ``best_estimator_`` has them.
        study_ (hpt_core.Study): The study of the search. It is not pickled.
        history_ (hpt_core.History): The state of the study: every trial with its parameters, its report of each fold,
            and the reason if it was stopped. It is pickled.

    Raises:
        hpt_core.UsageError: By `fit`, if the space, the sampler, a rule or the store is invalid.
        hpt_core.DefinitionChangedError: By `fit`, if the store has another search of this name.

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
        """Evaluate the candidates, and refit the best one.

        Args:
            X (array-like of shape (n_samples, n_features) or (n_samples, n_samples)): Training vectors: an array, a
                sparse matrix, a data frame or a list. For a precomputed kernel or distance matrix, the shape is
                (n_samples, n_samples).
            y (array-like of shape (n_samples,) or (n_samples, n_output), default=None): Target relative to ``X``; None
                for unsupervised learning.
            **params (dict of str to object): Arguments of the estimator's ``fit``, the scorer, and the splitter
                (``groups``). Those with one entry per sample are split into folds like ``X`` and ``y``. If
                scikit-learn's metadata routing is enabled, each goes where it was requested.

        Returns:
            This search, fitted.
        """
        if getattr(self, "_skl_callbacks", None):
            message = "SearchCV does not call scikit-learn's callbacks. It calls the observing plugins of hpt."
            warnings.warn(message, UserWarning, stacklevel=3)
        scorers, refit_metric = self._get_scorers()
        X, y = indexable(X, y)
        if y is None and get_tags(self).target_tags.required:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None.")
        params = _check_method_params(X, params=params)
        routed = self._get_routed_params_for_fit(params)
        splits = self._splits(X, y, routed.splitter.split)
        plan = self._plan()
        self.study_: Study = Session(self, plan, scorers).run(X, y, splits, routed, params)
        self.history_: History = self.study_.history
        refit_metric = self._take_results(plan, scorers, refit_metric)
        self._choose(refit_metric)
        if self.refit:
            self._refit(X, y, routed.estimator.fit)
        self.scorer_: Any = getattr(scorers, "_scorers", scorers)
        return self

    def _splits(self, X: Any, y: Any, params: Mapping[str, Any]) -> list[tuple[Any, Any]]:
        """Make the folds; errors have scikit-learn's messages."""
        splitter = check_cv(self.cv, y, classifier=is_classifier(self.estimator))
        self.n_splits_: int = splitter.get_n_splits(X, y, **params)
        splits = [(np.asarray(train), np.asarray(test)) for train, test in splitter.split(X, y, **params)]
        if len(splits) != self.n_splits_:
            counts = f"Expected {self.n_splits_} splits, got {len(splits)}"
            raise ValueError(f"cv.split and cv.get_n_splits return inconsistent results. {counts}")
        if not splits:
            raise ValueError("No fits were performed. Was the CV iterator empty? Were there no candidates?")
        return splits

    def _plan(self) -> Plan:
        """Make the space and the sampler from ``space``, ``param_grid`` or ``param_distributions``."""
        given = {
            name: value
            for name in ("space", "param_grid", "param_distributions")
            if (value := getattr(self, name)) is not None
        }
        if len(given) != 1:
            got = ", ".join(given) or "none of them"
            raise ValueError(f"Give one of space, param_grid and param_distributions. Got {got}.")
        ((name, value),) = given.items()
        if name == "param_distributions":
            return plan_distributions(value, self.n_iter, drawn=self.sampler is None)
        is_grid = name == "param_grid" or (isinstance(value, (list, tuple)) and len(value) > 0)
        if is_grid:
            return attrs.evolve(plan_grid(value), trials=self.n_iter)
        plan = plan_space(value)
        if self.n_iter is None and self.sampler is None and (plan.space.size or 0) > _DEFAULT_TRIALS:
            message = (
                f"At most {_DEFAULT_TRIALS} of the {plan.space.size:,} configurations of the space are tried. "
                "To try all, as GridSearchCV does, pass them as `param_grid`. To choose the number, set `n_iter`."
            )
            warnings.warn(message, UserWarning, stacklevel=4)
        return attrs.evolve(plan, trials=self.n_iter or _DEFAULT_TRIALS)

    def _take_results(self, plan: Plan, scorers: Any, refit_metric: Any) -> Any:
        """Set ``cv_results_`` and ``multimetric_``; returns the score that determines the best candidate."""
        names = getattr(scorers, "_scorers", None) or self.study_.evaluator.score_names
        found = collect(
            self.history_,
            plan.decode,
            self.n_splits_,
            names=tuple(names),
            error_score=self.error_score,
            train=self.return_train_score,
        )
        if not found.params:
            raise ValueError(f"No candidate was evaluated: {self.study_.stop_reason}.")
        self._tell_failures(found.results)
        self.multimetric_: bool = found.multimetric
        if callable(self.scoring) and found.multimetric:
            self._check_refit_for_multimetric(found.results[0]["test_scores"])
            refit_metric = self.refit
        results = self._format_results(list(found.params), self.n_splits_, list(found.results))
        objective = self.study_.history.objectives[0]
        mark_partial(results, found, objective if found.multimetric else "score")
        self.cv_results_: dict[str, Any] = results
        return refit_metric

    def _tell_failures(self, results: Sequence[Any]) -> None:
        """Warn of failed fits and of an end at ``max_failures``; raise if no fit succeeded."""
        stop = self.history_.stop
        ended = ""
        if stop is not None and stop["rule"] == "max_failures":
            limit = len(stop["evidence"]["trials"])
            ended = (
                f"The search ended early, at max_failures={limit}: its first candidates all failed in the same way. "
                "Set a larger number to go on regardless."
            )
        try:
            _warn_or_raise_about_fit_failures(results, self.error_score)
        except ValueError as err:
            if ended:
                err.add_note(ended)
            raise
        if ended:
            warnings.warn(ended, UserWarning, stacklevel=5)

    def _choose(self, refit_metric: Any) -> None:
        """Set ``best_index_``, ``best_params_`` and ``best_score_``, unless ``refit`` is False with several scores."""
        if not self.refit and self.multimetric_:
            return
        self.best_index_: int = self._select_best_index(self.refit, refit_metric, self.cv_results_)
        if not callable(self.refit):
            self.best_score_: float = self.cv_results_[f"mean_test_{refit_metric}"][self.best_index_]
        self.best_params_: dict[str, Any] = self.cv_results_["params"][self.best_index_]

    def _refit(self, X: Any, y: Any, fit_params: Mapping[str, Any]) -> None:
        best = clone(self.estimator).set_params(**clone(self.best_params_, safe=False))
        started = perf_counter()
        best.fit(*((X,) if y is None else (X, y)), **fit_params)
        self.refit_time_: float = perf_counter() - started
        self.best_estimator_: Any = best
        if hasattr(best, "feature_names_in_"):
            self.feature_names_in_: Any = best.feature_names_in_

    def __sklearn_tags__(self) -> Any:
        """The tags of a search, with the estimator's tags for its input and target."""
        tags = super().__sklearn_tags__()
        inner = get_tags(self.estimator)
        tags.target_tags = deepcopy(inner.target_tags)
        tags.input_tags.allow_nan = inner.input_tags.allow_nan
        return tags

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the study, which holds an open store."""
        return {name: value for name, value in super().__getstate__().items() if name != "study_"}
