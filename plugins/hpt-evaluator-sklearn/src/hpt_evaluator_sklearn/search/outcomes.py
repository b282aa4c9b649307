"""How the results of folds are written into a study's log, and read from it again.

A fold with finite scores is a report. What else there is (a fit that failed, a score that is no finite number) ends the
trial as failed when all folds are through: models must not learn from it. Its last line is then JSON about those folds.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from hpt_core import EvaluationError, Report, Trial

if TYPE_CHECKING:
    from hpt_evaluator_sklearn.search.jobs import Result

__all__ = ["failure_of", "report_of", "results_of"]

_LAST_LINE = "folds: "
_BLOCK = re.compile(r"^error (\d+):\n", re.MULTILINE)
_TRACEBACKS = 48_000
"""Characters for all tracebacks together; the log keeps 64 KiB of a failure."""


def report_of(result: Result, step: int, objective: str) -> Report | None:
    """The report of a fold; None where it has none.

    Args:
        result: Of the fold.
        step: Number of the fold, from 1.
        objective: Which of several scores is the value; where there is none of the name, the first.
    """
    if result["fit_error"] is not None:
        return None
    scores = result["test_scores"]
    metrics = {"fit_time": result["fit_time"], "score_time": result["score_time"]}
    if isinstance(scores, Mapping):
        value = scores[objective] if objective in scores else next(iter(scores.values()))
        metrics |= {f"test_{name}": score for name, score in scores.items()}
    else:
        value = scores
    if "train_scores" in result:
        train = result["train_scores"]
        metrics |= {f"train_{n}": s for n, s in train.items()} if isinstance(train, Mapping) else {"train_score": train}
    if not (math.isfinite(value) and all(map(math.isfinite, metrics.values()))):
        return None
    return Report(step, float(value), metrics)


def failure_of(bad: Mapping[int, Result], count: int) -> EvaluationError:
    """The failure of a trial.

    Args:
        bad: Fold from 0 -> its result, of those without a report.
        count: How many folds there are.
    """
    errors = list(dict.fromkeys(r["fit_error"] for r in bad.values() if r["fit_error"] is not None))
    limit = _TRACEBACKS // max(1, len(errors))
    noted = {
        i: result | ({} if result["fit_error"] is None else {"fit_error": errors.index(result["fit_error"])})
        for i, result in bad.items()
    }
    blocks = [f"error {k}:\n{text[-limit:].rstrip()}" for k, text in enumerate(errors)]
    detail = "\n\n".join([*blocks, _LAST_LINE + json.dumps(noted, default=float)])
    failed = sum(result["fit_error"] is not None for result in bad.values())
    if failed:
        said = f"{failed} of {count} fits failed: {errors[0].strip().rpartition(chr(10))[2]}"
        return EvaluationError(said, kind="error", detail=detail)
    return EvaluationError(f"{len(bad)} of {count} scores are no finite numbers", kind="error", detail=detail)


def results_of(trial: Trial) -> dict[int, Result]:
    """Fold from 0 -> result, of those that a trial tells of."""
    found = {report.step - 1: _from_report(report) for report in trial.reports}
    if trial.failure is not None:
        found |= _from_detail(trial.failure.detail)
    return found


def _from_report(report: Report) -> Result:
    rest = dict(report.metrics)
    result: Result = {"fit_time": rest.pop("fit_time"), "score_time": rest.pop("score_time"), "fit_error": None}
    test = {name[5:]: score for name, score in rest.items() if name.startswith("test_")}
    train = {name[6:]: score for name, score in rest.items() if name.startswith("train_")}
    result["test_scores"] = test or report.value
    if train:
        result["train_scores"] = train if test else train["score"]
    return result


def _from_detail(detail: str) -> dict[int, Result]:
    text, found, line = detail.rpartition(_LAST_LINE)
    if not found:
        return {}
    errors = [
        part.rstrip() + "\n" for part in _BLOCK.split(text)[2::2]
    ]  # before the first; then number and text of each
    noted: dict[str, Result] = json.loads(line)
    for result in noted.values():
        result["fit_error"] = None if result["fit_error"] is None else errors[result["fit_error"]]
    return {int(i): result for i, result in noted.items()}
