"""Rules that watch what no trial ever reported: they never had a say, and somebody has to tell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from hpt_core.spelling import did_you_mean

if TYPE_CHECKING:
    from hpt_core.history import History

__all__ = ["unreported"]


def unreported(rules: Sequence[tuple[str, Any]], history: History) -> Iterator[str]:
    """Say which rules watched for nothing, one sentence each.

    Args:
        rules: (name, stopping rule). What a rule watches is its option ``metric``; rules may be made of rules.
        history: The study at the end of a run.
    """
    ended = [history.trials[number] for number in (*history.complete, *history.stopped)]
    if not ended:
        return
    known = set(history.objectives)
    for trial in ended:
        known.update(trial.metrics, *(report.metrics for report in trial.reports))
    silent = not any(trial.reports for trial in ended)
    for name, rule in rules:
        if silent and hasattr(rule, "judge_trial") and not hasattr(rule, "judge_study"):
            yield f"The rule {name!r} judges trials by what they report on their way, and none reported anything."
            continue
        for metric in dict.fromkeys(_watched(rule)):
            if metric not in known:
                others = ", ".join(sorted(known)[:20])
                hint = did_you_mean(metric, sorted(known))
                yield f"The rule {name!r} watches {metric!r}, which no trial reported.{hint} There were: {others}."


def _watched(rule: Any) -> Iterator[str]:
    metric = getattr(rule, "metric", None)
    if isinstance(metric, str):
        yield metric
    for field in attrs.fields(type(rule)) if attrs.has(type(rule)) else ():
        value = getattr(rule, field.name, None)
        for part in value if isinstance(value, (list, tuple)) else (value,):
            if attrs.has(type(part)):
                yield from _watched(part)
