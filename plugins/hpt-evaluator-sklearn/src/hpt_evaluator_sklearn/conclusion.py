"""What is done once, with the winner: fit it on everything, score the holdout, write it to a file."""

from __future__ import annotations

import importlib
import importlib.util
import os
import tempfile
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import attrs
import joblib

from hpt_evaluator_sklearn.compare import compare
from hpt_evaluator_sklearn.splits import row_total

if TYPE_CHECKING:
    from hpt_core import TrialContext
    from hpt_evaluator_sklearn.data import Data
    from hpt_evaluator_sklearn.evaluator import SklearnEvaluator
    from hpt_evaluator_sklearn.shared import Shared

__all__ = ["conclude", "refit", "save_estimator", "save_problem", "score_rows"]


def refit(estimator: Any, shared: Shared) -> tuple[Any, float]:
    """Fit an estimator on all rows that are worked with.

    Args:
        estimator: Unfitted; it is fitted in place.
        shared: What the study's trials share.

    Returns:
        The estimator, and the seconds that it took.
    """
    data = shared.folds.data
    routes = shared.routes(estimator)
    arguments = (data.X,) if data.y is None else (data.X, data.y)
    fit_params = data.fit_params if routes is None else routes.fit
    started = perf_counter()
    shared.warnings.call(lambda: estimator.fit(*arguments, **fit_params))
    return estimator, perf_counter() - started


def score_rows(estimator: Any, shared: Shared, data: Data) -> dict[str, float]:
    """Score a fitted estimator on rows that it has not seen."""
    routes = shared.routes(estimator, data)
    params = {} if routes is None else routes.score
    return {name: float(score) for name, score in shared.scorers(estimator, data.X, data.y, **params).items()}


def conclude(evaluator: SklearnEvaluator, best: TrialContext) -> dict[str, Any]:
    """Do once, with the winner, what the evaluator's options ask for.

    Args:
        evaluator: Is given the refitted winner as ``best_estimator``.
        best: The winning configuration.

    Returns:
        JSON-shaped. With ``compare``: ``comparison`` in words, ``default_<objective>``, ``gain`` (positive: the
        winner is better) and, with several folds, ``gain_low`` and ``gain_high``. With ``refit``:
        ``refit_rows`` and ``refit_seconds``; with a holdout ``holdout_rows`` and ``holdout_<score>``; with
        ``save`` the path in ``saved``.
    """
    shared = evaluator.shared(best.objectives)
    found = _comparison(evaluator, best) if evaluator.compare else {}
    if evaluator.refit:
        model, seconds = refit(evaluator.configured(best), shared)
        evaluator.best_estimator = model
        found |= {"refit_rows": shared.folds.data.rows, "refit_seconds": round(seconds, 6)}
        aside = shared.material.aside
        if aside is not None:
            scores = score_rows(model, shared, aside)
            found |= {"holdout_rows": aside.rows, **{f"holdout_{name}": s for name, s in scores.items()}}
        if evaluator.save is not None:
            found["saved"] = str(save_estimator(model, evaluator.save))
    return found


def _comparison(evaluator: SklearnEvaluator, best: TrialContext) -> dict[str, Any]:
    default = attrs.evolve(best, params=evaluator.default_params(), resume_step=0, reports=())  # none of the winner's
    if default.params == best.params:
        return {"comparison": "The winner is the default configuration."}
    try:
        scores = evaluator.fold_scores(default)
    except Exception as err:  # noqa: BLE001 - that it fails is what there is to say of it
        return {"comparison": f"The default configuration fails: {type(err).__name__}: {err}"}
    shared, name = evaluator.shared(best.objectives), best.objectives[0]
    sizes = [(row_total(train), row_total(test)) for train, test in shared.folds.splits]
    n_train, n_test = (sum(part) / len(sizes) for part in zip(*sizes, strict=True))
    direction = evaluator.direction(name)
    found = compare(evaluator.fold_scores(best), scores, n_train, n_test, name=name, direction=direction)
    result = {f"default_{name}": found.default, "gain": found.gain}
    if found.low is not None and found.high is not None:
        result |= {"gain_low": found.low, "gain_high": found.high}
    honest = "a holdout or nested cross-validation tells the unbiased one."
    if shared.material.aside is not None:
        honest = "the holdout's score is not."
    return {**result, "comparison": f"{found.text}; {honest}"}


def save_problem(path: Path) -> str | None:
    """Why an estimator could not be written to ``path``; None where nothing speaks against it."""
    if path.is_dir():
        return f"'{path}' is a folder: give a file in it."
    if not path.absolute().parent.is_dir():
        return f"There is no folder '{path.parent}'."
    if path.suffix == ".skops" and importlib.util.find_spec("skops") is None:
        return "Files that end in .skops need skops: pip install 'hpt-evaluator-sklearn[skops]'."
    return None


def save_estimator(estimator: Any, path: Path) -> Path:
    """Write a fitted estimator, as a whole or not at all.

    Args:
        estimator: Fitted.
        path: ``.skops`` is written by skops, anything else by joblib (whose files run code when they are
            loaded: load your own only).

    Returns:
        The absolute path.
    """
    path = path.absolute()
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    draft = Path(name)
    try:
        if path.suffix == ".skops":
            importlib.import_module("skops.io").dump(estimator, draft)
        else:
            joblib.dump(estimator, draft)
        draft.chmod(0o644)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return path
