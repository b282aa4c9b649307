"""Write the results of folds to a study's log, and read them back.

A fold is a report, unless its fit failed, its value is not finite, or another score is infinite. If any fold has no
report, the trial fails after the last fold, so that no model learns from it. The last line of the failure's detail is
then JSON with the results of those folds. The core leaves a NaN among the other scores out of a report, such as R^2 on
a single row, so a score that is missing is NaN.
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
"""Maximum length of all tracebacks together, in characters; the log keeps 64 KiB of a failure."""


def report_of(result: Result, step: int, objective: str) -> Report | None:
    """The report of a fold; None if its fit failed, its value is not finite, or another score is infinite.

    Args:
        result: Result of the fold.
        step: Number of the fold, from 1.
        objective: Name of the score that is the value; if no score has this name, the first score is.
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
    if not math.isfinite(value) or any(map(math.isinf, metrics.values())):
        return None
    return Report(step, float(value), metrics)


def failure_of(bad: Mapping[int, Result], count: int) -> EvaluationError:
    """The failure of a trial.

    Args:
        bad: The folds without a report: index from 0 -> result.
        count: Number of folds.
    """
    errors = list(dict.fromkeys(r["fit_error"] for r in bad.values() if r["fit_error"] is not None))
    limit = _TRACEBACKS // max(1, len(errors))
    recorded = {
        i: result | ({} if result["fit_error"] is None else {"fit_error": errors.index(result["fit_error"])})
        for i, result in bad.items()
    }
    blocks = [f"error {k}:\n{text[-limit:].rstrip()}" for k, text in enumerate(errors)]
    detail = "\n\n".join([*blocks, _LAST_LINE + json.dumps(recorded, default=float)])
    failed = sum(result["fit_error"] is not None for result in bad.values())
    if failed:
        message = f"{failed} of {count} fits failed: {errors[0].strip().rpartition(chr(10))[2]}"
        return EvaluationError(message, kind="error", detail=detail)
    return EvaluationError(f"{len(bad)} of {count} scores are not finite", kind="error", detail=detail)


def results_of(trial: Trial) -> dict[int, Result]:
    """The recorded folds of a trial: index from 0 -> result."""
    found = {report.step - 1: _from_report(report) for report in trial.reports}
    if trial.failure is not None:
        found |= _from_detail(trial.failure.detail)
    return found


def _from_report(report: Report) -> Result:
    rest = dict(report.metrics)
    result: Result = {"fit_time": rest.pop("fit_time"), "score_time": rest.pop("score_time"), "fit_error": None}
    test = {name.removeprefix("test_"): score for name, score in rest.items() if name.startswith("test_")}
    train = {name.removeprefix("train_"): score for name, score in rest.items() if name.startswith("train_")}
    result["test_scores"] = test or report.value
    if train:
        is_one = "score" in train and "score" not in test  # also if the scorer of several failed on the training part
        result["train_scores"] = train["score"] if is_one else train
    return result


def _from_detail(detail: str) -> dict[int, Result]:
    text, found, line = detail.rpartition(_LAST_LINE)
    if not found:
        return {}
    # the split gives the text before the first block, then the number and the text of each block
    _, *blocks = _BLOCK.split(text)
    errors = dict(zip(map(int, blocks[::2]), blocks[1::2], strict=True))
    recorded: dict[str, Result] = json.loads(line)
    for result in recorded.values():
        if result["fit_error"] is not None:  # the log may have kept only the end of the detail
            result["fit_error"] = errors.get(result["fit_error"], "its traceback is not recorded").rstrip() + "\n"
    return {int(i): result for i, result in recorded.items()}
