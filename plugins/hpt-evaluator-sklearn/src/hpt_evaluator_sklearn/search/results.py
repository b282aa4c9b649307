"""From a study's history to what scikit-learn's searches tell of theirs."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from hpt_core import History, Params, State, Trial
from hpt_evaluator_sklearn.search.jobs import Result
from hpt_evaluator_sklearn.search.outcomes import results_of

__all__ = ["Candidates", "collect", "mark_partial"]

_TOLD = (State.COMPLETE, State.STOPPED, State.FAILED, State.PAUSED)


@attrs.frozen
class Candidates:
    """The trials of a study that have ended, or that a rule has set aside.

    Attributes:
        params: What the estimator was given, for each.
        results: For each all of its folds in order, one list after the other.
        done: (n_candidates, n_splits) whether a fold was tried; a rule may have stopped the trial before it was.
        values: (n_candidates,) the deciding score as the study has it; NaN for a failed trial. Of a stopped one it is
            the rule's estimate of what all folds would have given.
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
        history: The study's.
        decode: Configuration -> parameters of the estimator.
        n_splits: How many folds there are.
        names: The scores' names where there are several; empty: one, or a function says as it goes.
        error_score: What a fold scores whose fit failed; ``"raise"``: NaN, should there be one from an earlier run.
        train: Whether there are scores of the training parts.
    """
    trials = [trial for trial in history.trials if trial.state in _TOLD and trial.invalid is None]
    found = [_all_folds(trial, n_splits) for trial in trials]
    first = next((result for folds in found for result in folds if result and "test_scores" in result), None)
    scores = first["test_scores"] if first is not None else None
    names = list(scores) if isinstance(scores, Mapping) else list(names)
    score = np.nan if error_score == "raise" else error_score
    lacking: Any = dict.fromkeys(names, score) if names else score
    keys = ("test_scores", "train_scores") if train else ("test_scores",)
    results = [result for folds in found for result in _filled(folds, dict.fromkeys(keys, lacking))]
    done = np.array([[result is not None for result in folds] for folds in found], dtype=bool).reshape(-1, n_splits)
    values = np.array([np.nan if trial.value is None else trial.value for trial in trials])
    return Candidates([decode(trial.params) for trial in trials], results, done, values, bool(names))


def _all_folds(trial: Trial, n_splits: int) -> list[Result | None]:
    found = results_of(trial)
    if trial.failure is not None and not found:  # it was killed, or the like
        failed = {"fit_time": 0.0, "score_time": 0.0, "fit_error": f"{trial.failure.message}\n"}
        return [failed] * n_splits
    return [found.get(i) for i in range(n_splits)]


def _filled(folds: Sequence[Result | None], lacking: dict[str, Any]) -> list[Result]:
    """The results of a trial with all keys; folds not tried repeat one that was, until `mark_partial` sees them."""
    whole = [result | lacking if result and result["fit_error"] is not None else result for result in folds]
    first = next((result for result in whole if result is not None), {"fit_error": None, **lacking})
    return [{**first, "fit_time": 0.0, "score_time": 0.0} if result is None else result for result in whole]


def mark_partial(results: dict[str, Any], found: Candidates, deciding: str) -> None:
    """Mend the rows of trials that a rule stopped: the mean of their folds, a rank behind all whole ones, ``n_folds``.

    Args:
        results: ``cv_results_``. Changed in place.
        found: What it was made of.
        deciding: The score that the rule looked at: its mean is the rule's estimate.
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
        if name == f"test_{deciding}":
            known = rows[np.isfinite(found.values[rows])]
            results[f"mean_{name}"][known] = found.values[known]
        if name.startswith("test_"):
            results[f"rank_{name}"] = _ranks(results[f"mean_{name}"], partial)
    results["n_folds"] = done.sum(axis=1)


def _average(
    results: dict[str, Any], name: str, table: NDArray[Any], done: NDArray[np.bool_], rows: NDArray[np.intp]
) -> None:
    """Mean and deviation of some rows over the folds that were tried."""
    for row in rows:
        tried = table[row, done[row]]
        results[f"mean_{name}"][row] = tried.mean() if tried.size else np.nan
        results[f"std_{name}"][row] = tried.std() if tried.size else np.nan


def _ranks(means: NDArray[Any], partial: NDArray[np.bool_]) -> NDArray[np.int32]:
    """1 for the best; whole ones first, then partial ones, then those without a score; equals share the first rank."""
    places = [
        (2, 0.0) if np.isnan(mean) else (int(is_partial), -mean)
        for mean, is_partial in zip(means, partial, strict=True)
    ]
    order = sorted(places)
    return np.array([1 + bisect_left(order, place) for place in places], dtype=np.int32)
