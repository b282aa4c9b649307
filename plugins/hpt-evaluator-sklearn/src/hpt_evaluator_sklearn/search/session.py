"""One fit of `SearchCV` as a study, run in this process or with several workers."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import attrs
import joblib
import numpy as np
from joblib.parallel import get_active_backend

from hpt_core import DefinitionChangedError, NothingSucceededError, Study
from hpt_evaluator_sklearn.data.data import Data
from hpt_evaluator_sklearn.data.folds import Folds
from hpt_evaluator_sklearn.data.routing import Routes
from hpt_evaluator_sklearn.search.evaluator import SearchEvaluator, run_here
from hpt_evaluator_sklearn.search.jobs import AbortedError, FoldJob
from hpt_evaluator_sklearn.search.labels import plain_text
from hpt_evaluator_sklearn.search.plan import Plan
from hpt_evaluator_sklearn.search.pool import FitPool
from hpt_evaluator_sklearn.search.progress import ProgressPrinter
from hpt_evaluator_sklearn.search.threads import ThreadExecutor

__all__ = ["Session"]

_UNLIMITED = 10**9
_MAX_FAILURES = 3
_MAX_TEXT = 2_000


@attrs.define(eq=False)
class Session:
    """One fit of a `SearchCV`.

    Attributes:
        search: The `SearchCV`.
        plan: The space, the sampler and the number of candidates.
        scorers: A scorer, or scikit-learn's scorer of several metrics.
    """

    search: Any
    plan: Plan
    scorers: Any

    def run(self, X: Any, y: Any, splits: Sequence[tuple[Any, Any]], routed: Any, params: Mapping[str, Any]) -> Study:
        """Create or resume the study, and run it to its end.

        Args:
            X: Rows of features.
            y: Targets, or None.
            splits: Row numbers of the training and test part of each fold.
            routed: The arguments as scikit-learn routed them.
            params: All arguments.

        Returns:
            The study.
        """
        search = self.search
        workers = joblib.effective_n_jobs(search.n_jobs)
        in_pool = workers > 1 and not getattr(get_active_backend()[0], "supports_sharedmem", False)
        in_threads = workers > 1 and not in_pool
        job = self._job(Folds(Data(X, y), splits), routed, shares=not in_threads)
        evaluator = SearchEvaluator(steps=len(splits), return_train_score=search.return_train_score)
        if search.store is not None:
            evaluator = self._describe(evaluator, [X, y, splits, *sorted(params.items())])
        with FitPool(job, workers) if in_pool else nullcontext() as pool:
            halted = pool.halted if pool else threading.Event()
            study = self._study(evaluator, workers, halted)
            by_fold = any(hasattr(rule, "judge_trial") for rule in study.rules)
            printer = ProgressPrinter.start(search.verbose, len(splits), self._max_candidates(study))
            run = partial(pool.run, by_fold=by_fold) if pool else run_here(job)
            evaluator.connect(self.plan.decode, run, printer)
            try:
                self._run(study, workers)
            finally:
                evaluator.disconnect()
                if not hasattr(search.store, "append"):  # the study opened its store itself
                    study.close()
        return study

    def _max_candidates(self, study: Study) -> int | None:
        """The maximum number of candidates; None if it is unlimited."""
        known = [count for count in (self.plan.trials, study.space.size) if count is not None]
        return min(known, default=None)

    def _job(self, folds: Folds, routed: Any, *, shares: bool) -> FoldJob:
        search = self.search
        return FoldJob(
            estimator=search.estimator,
            folds=folds,
            scorer=self.scorers,
            routes=Routes(dict(routed.estimator.fit), dict(routed.scorer.score)),
            error_score=search.error_score,
            return_train_score=search.return_train_score,
            cache_bytes=search.cache_mb * 10**6 if shares else 0,
        )

    def _study(self, evaluator: SearchEvaluator, workers: int, halted: threading.Event) -> Study:
        search = self.search
        as_scikit_learn = search.sampler is None and self.plan.sampler is not None
        study = Study(
            self.plan.space,
            objective={self._objective(): "maximize"},
            name=search.study_name,
            sampler=self.plan.sampler if as_scikit_learn else search.sampler,
            evaluator=evaluator,
            store=search.store,
            stop=search.stop,
            seed=_seed(search.random_state),
            duplicates="allow" if as_scikit_learn else "avoid",
            max_failures=search.max_failures or (_MAX_FAILURES if self.plan.sampler is None else _UNLIMITED),
        )
        if study.sampler is None:  # a study without one would take the recorded sampler
            study.sampler = study.plugins.make("sampler", study.plugins.default("sampler"))
        if workers > 1:
            study.executor = ThreadExecutor(halted=halted)
        return study

    def _objective(self) -> str:
        """Name of the study's objective: the score that determines the best candidate."""
        search = self.search
        if isinstance(search.scoring, str):
            return str(search.scoring)
        names = getattr(self.scorers, "_scorers", None)
        if isinstance(search.refit, str) and (names is None or search.refit in names):
            return search.refit
        return next(iter(names)) if names else "score"

    def _describe(self, evaluator: SearchEvaluator, data: Sequence[Any]) -> SearchEvaluator:
        """Set the options that identify this search; needed only if a store may hold another search of the name."""
        search = self.search
        return attrs.evolve(
            evaluator,
            estimator=_full_repr(search.estimator),
            scoring=_full_repr(search.scoring),
            data=joblib.hash([_digest(part) for part in data], hash_name="sha1"),
        )

    def _run(self, study: Study, workers: int) -> None:
        aborted = None
        try:
            with _failures_not_logged():
                study.run(trials=self.plan.trials, workers=workers)
        except AbortedError as err:
            aborted = err.original
        except DefinitionChangedError as err:
            head = f"The store has another search named {study.name!r}. Give this one its own `study_name` or store."
            nested = "In a nested cross-validation, whose outer folds are different data, leave out `store`."
            raise DefinitionChangedError(f"{head} {nested}", *err.mistakes[1:]) from None
        except NothingSucceededError:
            return  # the caller raises scikit-learn's summary of the errors
        if aborted is not None:
            raise aborted  # outside of the except block, which would replace its context
        tried, wanted = study.history.next_number, self.search.n_iter
        if wanted is not None and self.plan.sampler is None and tried < wanted and study.space.size == tried:
            message = f"The space has fewer candidates ({tried}) than n_iter={wanted}. All of them were tried."
            warnings.warn(message, UserWarning, stacklevel=5)


@contextmanager
def _failures_not_logged() -> Iterator[None]:
    """Keep hpt from logging failed trials as warnings: scikit-learn's warning or error tells of all of them at once."""
    log = logging.getLogger("hpt.trials")

    def is_no_warning(record: logging.LogRecord) -> bool:
        return record.levelno < logging.WARNING

    log.addFilter(is_no_warning)
    try:
        yield
    finally:
        log.removeFilter(is_no_warning)


def _seed(random_state: Any) -> int | None:
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31 - 1))
    return None if random_state is None else int(random_state)


def _digest(part: Any) -> str:
    try:
        return str(joblib.hash(part, hash_name="sha1"))
    except Exception:  # noqa: BLE001 - some arguments, such as local functions, cannot be hashed
        return plain_text(part, _MAX_TEXT)


def _full_repr(value: Any) -> str:
    try:
        text = value.__repr__(N_CHAR_MAX=_MAX_TEXT)  # scikit-learn's repr is abbreviated by default
    except TypeError:
        text = repr(value)
    return plain_text(text, _MAX_TEXT, is_text=True)
