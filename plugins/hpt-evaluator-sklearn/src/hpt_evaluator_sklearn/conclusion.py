"""Steps taken once, for the winner: compare it with the default, refit it, score the holdout, save it."""

from __future__ import annotations

import importlib
import importlib.util
import os
import stat
import tempfile
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import attrs
import joblib
import numpy as np

from hpt_evaluator_sklearn.data.data import writable
from hpt_evaluator_sklearn.scoring.compare import compare

if TYPE_CHECKING:
    from hpt_core import TrialContext
    from hpt_evaluator_sklearn.data.data import Data
    from hpt_evaluator_sklearn.evaluator import SklearnEvaluator
    from hpt_evaluator_sklearn.fitting.shared import Shared

__all__ = ["conclude", "refit", "save_estimator", "save_problem", "score_rows"]


def refit(estimator: Any, shared: Shared) -> tuple[Any, float]:
    """Fit an estimator on a copy of all rows but the holdout; it may write to them (``copy=False``).

    Args:
        estimator: Unfitted; it is fitted in place.
        shared: The shared state of the study.

    Returns:
        The estimator, and the fit time in seconds.
    """
    data = shared.folds.data
    arguments = (writable(data.X),) if data.y is None else (writable(data.X), writable(data.y))
    fit_params = shared.routes(estimator).fit
    started = perf_counter()
    shared.warnings.call(estimator.fit, *arguments, **fit_params)
    return estimator, perf_counter() - started


def score_rows(estimator: Any, shared: Shared, data: Data) -> dict[str, float]:
    """Score a fitted estimator on a copy of rows that it was not fitted on."""
    params = shared.routes(estimator, data).score
    scores = shared.scorers(estimator, writable(data.X), data.y, **params)
    return {name: float(score) for name, score in scores.items()}


def conclude(evaluator: SklearnEvaluator, best: TrialContext) -> dict[str, Any]:
    """Compare, refit, score and save the winner, as the evaluator's options ask.

    Args:
        evaluator: The evaluator; its ``best_estimator`` is set to the refitted winner.
        best: The winning configuration.

    Returns:
        JSON-shaped data. With ``compare``: ``comparison`` in words, ``default_<objective>``, ``gain`` (positive if the
        winner is better) and, with several folds, ``gain_low`` and ``gain_high``. With ``refit``: ``refit_rows`` and
        ``refit_seconds``; with a holdout ``holdout_rows`` and ``holdout_<score>``, and if it was scored for other
        trials before, ``holdout_before`` (their numbers) and ``holdout_use`` in words; with ``save`` the path as
        ``saved``.
    """
    shared = evaluator.shared(best.objectives)
    found = _comparison(evaluator, best) if evaluator.compare else {}
    if evaluator.refit:
        model, seconds = refit(evaluator.configured(best), shared)
        evaluator.best_estimator = model
        found |= {"refit_rows": shared.folds.data.rows, "refit_seconds": round(seconds, 6)}
        holdout = shared.split_data.holdout
        if holdout is not None:
            scores = score_rows(model, shared, holdout)
            found |= {"holdout_rows": holdout.rows, **{f"holdout_{name}": s for name, s in scores.items()}}
            found |= _earlier_use(best)
        if evaluator.save is not None:
            found["saved"] = str(save_estimator(model, evaluator.save))
    return found


def _earlier_use(best: TrialContext) -> dict[str, Any]:
    """The other trials for which the holdout was scored before, in numbers and in words; empty if there are none."""
    last = best.concluded
    scored = [*last.get("holdout_before", ()), *([last["trial"]] if "holdout_rows" in last else [])]
    before = [number for number in scored if number != best.number]
    if not before:
        return {}
    which = f"trial{'s' * (len(before) > 1)} {' and '.join(map(str, before))}"
    unless = "so its score is unbiased only if that was no reason to continue the study."
    return {"holdout_before": before, "holdout_use": f"The holdout was scored before, for {which}, {unless}"}


def _comparison(evaluator: SklearnEvaluator, best: TrialContext) -> dict[str, Any]:
    default = attrs.evolve(best, params=evaluator.default_params(), resume_step=0, reports=())
    if default.params == best.params:
        return {"comparison": "The winner is the default configuration."}
    try:
        scores = evaluator.fold_scores(default)
    except Exception as err:  # noqa: BLE001 - the failure is the result of the comparison
        return {"comparison": f"The default configuration fails: {type(err).__name__}: {err}"}
    shared, name = evaluator.shared(best.objectives), best.objectives[0]
    if not np.isfinite(scores).all():
        return {"comparison": f"The default configuration fails: its {name} is not a finite number on every fold."}
    sizes = [(len(train), len(test)) for train, test in shared.folds.splits]
    n_train, n_test = (sum(part) / len(sizes) for part in zip(*sizes, strict=True))
    direction = evaluator.direction(name)
    found = compare(evaluator.fold_scores(best), scores, n_train, n_test, name=name, direction=direction)
    result = {f"default_{name}": found.default, "gain": found.gain}
    if found.low is not None and found.high is not None:
        result |= {"gain_low": found.low, "gain_high": found.high}
    unbiased = "a holdout or nested cross-validation gives an unbiased score."
    if shared.split_data.holdout is not None:
        unbiased = "the score on the holdout is not."
    return {**result, "comparison": f"{found.text} Like the score, the gain is optimistic; {unbiased}"}


def save_problem(path: Path) -> str | None:
    """Why an estimator cannot be written to ``path``; None if no reason is known."""
    try:
        target = path.resolve()  # a link stays, and the file that it names is written
        if not target.parent.is_dir():
            return f"There is no folder '{target.parent if path.is_symlink() else path.parent}'."
        mode = target.stat().st_mode
        if stat.S_ISDIR(mode):
            return f"'{path}' is a folder. Give the path of a file."
        if not stat.S_ISREG(mode):  # it would be replaced by a file
            return f"'{path}' is not a regular file. Give another path."
    except FileNotFoundError:
        pass
    except (OSError, RuntimeError, ValueError) as err:  # a name too long, a loop of links, a null byte
        return f"It is no usable path: {err}."
    if path.suffix == ".skops" and importlib.util.find_spec("skops") is None:
        return "Files that end in .skops need skops: pip install 'hpt-evaluator-sklearn[skops]'."
    return None


def save_estimator(estimator: Any, path: Path) -> Path:
    """Write a fitted estimator to a file, atomically.

    Args:
        estimator: Fitted.
        path: A path that ends in ``.skops`` is written by skops, any other by joblib. Loading a joblib file runs code:
            load only your own.

    Returns:
        The absolute path.
    """
    target = path.resolve()
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    os.close(handle)
    draft = Path(name)
    try:
        if path.suffix == ".skops":
            importlib.import_module("skops.io").dump(estimator, draft)
        else:
            joblib.dump(estimator, draft)
        draft.chmod(0o644)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
    return path.absolute()
