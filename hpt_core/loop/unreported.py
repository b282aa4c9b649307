"""Finds stopping rules that never had an effect, because no trial reported what they watch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from hpt_core.plugins.checks import parts_of
from hpt_core.spelling import did_you_mean

if TYPE_CHECKING:
    from hpt_core.history.history import History

__all__ = ["unreported"]


def unreported(rules: Sequence[tuple[str, Any]], history: History) -> Iterator[str]:
    """Name the rules that no trial reported anything for, one sentence each.

    Args:
        rules: (name, stopping rule). A rule watches its option ``metric``, and what the rules in its options watch.
        history: The history at the end of a run.
    """
    ended = [history.trials[number] for number in (*history.complete, *history.stopped)]
    if not rules or not ended:
        return
    known = set(history.objectives)
    for trial in ended:
        known.update(trial.metrics, *(report.metrics for report in trial.reports))
    no_reports = not any(trial.reports for trial in ended)
    for name, rule in rules:
        if no_reports and hasattr(rule, "judge_trial") and not hasattr(rule, "judge_study"):
            yield f"The rule {name!r} judges trials by their reports, but no trial reported anything."
            continue
        watched = (getattr(part, "metric", None) for _, part in parts_of(rule, name))
        for metric in dict.fromkeys(metric for metric in watched if isinstance(metric, str)):
            if metric not in known:
                others = ", ".join(sorted(known)[:20])
                hint = did_you_mean(metric, sorted(known))
                yield f"The rule {name!r} watches {metric!r}, which no trial reported.{hint} Reported: {others}."
