"""Make ``cv_results_`` from a study's history, in the form of scikit-learn's searches."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from hpt_core import History, Params, State, Trial
from hpt_evaluator_sklearn.search.fold_records import results_of
from hpt_evaluator_sklearn.search.jobs import Result

__all__ = ["Candidates", "collect", "mark_partial"]

_EVALUATED = (State.COMPLETE, State.STOPPED, State.FAILED, State.PAUSED)


@attrs.frozen
class Candidates:
    """The trials of a study that have ended or are paused.

    Attributes:
        params: Parameters of the estimator, for each candidate.
        results: Results of all folds of the first candidate in order, then of the second, and so on.
        done: (n_candidates, n_splits) whether a fold was fitted. Of a stopped or paused candidate, some were not.
        values: (n_candidates,) value of each trial in the study; NaN for a failed trial. For a stopped trial, it is the
            rule's estimate of the mean over all folds.
        multimetric: Whether there are several scores by name.
    """

    params: Sequence[Mapping[str, Any]]
    results: Sequence[Result]
    done: NDArray[np.bool_]
    values: NDArray[np.float64]
    multimetric: bool


def collect(
    history: History,
    decode: Callable[[Params], dict[str, Any]],
    n_splits: int,
    *,
    names: Sequence[str],
    error_score: Any,
    train: bool,
) -> Candidates:
    """Read the candidates from a history.

    Args:
        history: History of the study.
        decode: Configuration -> parameters of the estimator.
        n_splits: Number of folds.
        names: Names of the scores if there are several, as far as they are known. Empty if there is one.
        error_score: Score of a fold whose fit failed. For ``"raise"``, such folds of an earlier run score NaN.
        train: Whether there are training scores.
    """
    trials = [trial for trial in history.trials if trial.state in _EVALUATED and trial.invalid is None]
    found = [_all_folds(trial, n_splits) for trial in trials]
    tables = [result["test_scores"] for folds in found for result in folds if result and "test_scores" in result]
    names = list(dict.fromkeys([*names, *(name for table in tables if isinstance(table, Mapping) for name in table)]))

    def filled(score: float) -> Result:
        scores = dict.fromkeys(names, score) if names else score
        return {"test_scores": scores, "train_scores": scores} if train else {"test_scores": scores}

    failed, unrecorded = filled(np.nan if error_score == "raise" else error_score), filled(np.nan)
    results = [result for folds in found for result in _fill_gaps(folds, failed, unrecorded)]
    done = np.array([[result is not None for result in folds] for folds in found], dtype=bool).reshape(-1, n_splits)
    values = np.array([np.nan if trial.value is None else trial.value for trial in trials])
    return Candidates([decode(trial.params) for trial in trials], results, done, values, bool(names))


def _all_folds(trial: Trial, n_splits: int) -> list[Result | None]:
    found: dict[int, Result | None] = {**results_of(trial)}
    missing: Result | None = None
    if trial.failure is not None:  # for example, its process was killed
        missing = {"fit_time": 0.0, "score_time": 0.0, "fit_error": f"{trial.failure.message}\n"}
    return [found.get(i, missing) for i in range(n_splits)]


def _fill_gaps(folds: Sequence[Result | None], failed: Result, unrecorded: Result) -> list[Result]:
    """The results of a trial with all keys: failed fits get the scores ``failed``, other gaps those of ``unrecorded``.

    Folds that were not fitted repeat one that was, until `mark_partial` corrects them.
    """
    whole = [result and _with_all_scores(result, failed, unrecorded) for result in folds]
    first = next((result for result in whole if result is not None), {"fit_error": None, **failed})
    return [{**first, "fit_time": 0.0, "score_time": 0.0} if result is None else result for result in whole]


def _with_all_scores(result: Result, failed: Result, unrecorded: Result) -> Result:
    if result["fit_error"] is not None:
        return result | failed
    return result | {key: _with_all_names(result.get(key, blank), blank) for key, blank in unrecorded.items()}


def _with_all_names(scores: Any, blank: Any) -> Any:
    if not isinstance(blank, dict):
        return scores
    return {**blank, **scores} if isinstance(scores, Mapping) else dict.fromkeys(blank, scores)


def mark_partial(results: dict[str, Any], found: Candidates, objective: str) -> None:
    """Correct the rows of partial candidates, which were not fitted on all folds.

    Their mean is that of their folds, their rank is behind all complete candidates, and there is a column ``n_folds``.

    Args:
        results: ``cv_results_``. Changed in place.
        found: The candidates of these results.
        objective: The score that the rule judged. Its mean is the rule's estimate.
    """
    done = found.done
    partial: NDArray[np.bool_] = np.logical_not(done.all(axis=1))
    if not partial.any():
        return
    n_splits, rows = done.shape[1], np.flatnonzero(partial)
    for name in ("fit_time", "score_time"):
        _average(results, name, np.array([result[name] for result in found.results]).reshape(done.shape), done, rows)
    for name in [key.removeprefix("split0_") for key in results if key.startswith("split0_")]:
        columns = [results[f"split{i}_{name}"] for i in range(n_splits)]
        for column, there in zip(columns, done.T, strict=True):
            column[~there] = np.nan
        _average(results, name, np.stack(columns, axis=1), done, rows)
        if name == f"test_{objective}":
            known = rows[np.isfinite(found.values[rows])]
            results[f"mean_{name}"][known] = found.values[known]
        if name.startswith("test_"):
            results[f"rank_{name}"] = _ranks(results[f"mean_{name}"], partial)
    results["n_folds"] = done.sum(axis=1)


def _average(
    results: dict[str, Any], name: str, table: NDArray[Any], done: NDArray[np.bool_], rows: NDArray[np.intp]
) -> None:
    """Set mean and standard deviation of some rows over the folds that were fitted."""
    results[f"mean_{name}"][rows] = results[f"std_{name}"][rows] = np.nan
    rows = rows[done[rows].any(axis=1)]
    results[f"mean_{name}"][rows] = table[rows].mean(axis=1, where=done[rows])
    results[f"std_{name}"][rows] = table[rows].std(axis=1, where=done[rows])


def _ranks(means: NDArray[Any], partial: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Ranks from 1: complete candidates, then partial ones, then those without a score; ties share the best rank."""
    places = [
        (2, 0.0) if np.isnan(mean) else (int(is_partial), -mean)
        for mean, is_partial in zip(means, partial, strict=True)
    ]
    order = sorted(places)
    return np.array([1 + bisect_left(order, place) for place in places], dtype=np.int32)
