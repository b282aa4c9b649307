"""A history as flat tables and short summaries, for people and other programs."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from hpt_core.errors import UsageError

if TYPE_CHECKING:
    from hpt_core.history import History
    from hpt_core.trial import Trial

__all__ = ["row", "rows", "summary", "to_dataframe"]


def rows(history: History) -> list[dict[str, Any]]:
    """One flat JSON-shaped row per trial, by number; see `row`."""
    return [row(history, trial) for trial in history.trials]


def row(history: History, trial: Trial) -> dict[str, Any]:
    """One trial as a flat JSON-shaped row.

    Returns:
        ``number state``, the objectives by name (None without a result), ``params.<name>`` for every parameter of the
        space (None where inactive), ``metrics.<name>``, then ``reason rule failure_kind failure_message invalid
        started ended duration steps source attempt worker``; times are Unix seconds.
    """
    found: dict[str, Any] = {"number": trial.number, "state": trial.state.value}
    for i, name in enumerate(history.objectives):
        found[name] = None if trial.values is None or i >= len(trial.values) else trial.values[i]
    names = [*history.space.names, *(name for name in trial.params if name not in history.space.names)]
    found |= {f"params.{name}": trial.params.get(name) for name in names}
    found |= {f"metrics.{name}": value for name, value in trial.metrics.items()}
    failure = trial.failure
    return found | {
        "partial": trial.partial,
        "reason": trial.reason,
        "rule": trial.rule,
        "failure_kind": failure.kind if failure else "",
        "failure_message": failure.message if failure else "",
        "invalid": trial.invalid,
        "started": trial.started,
        "ended": trial.ended,
        "duration": trial.duration,
        "steps": trial.reports[-1].step if trial.reports else 0,
        "source": trial.source,
        "attempt": trial.attempt,
        "worker": trial.worker,
    }


def summary(history: History) -> dict[str, Any]:
    """How a study stands, JSON-shaped: counts, the best, the default configuration beside it, why it stopped."""
    best, default = history.best, default_trial(history)
    several = len(history.objectives) > 1
    return {
        "objectives": dict(history.definition["objectives"]),
        "trials": len(history.trials),
        "states": dict(Counter(trial.state.value for trial in history.trials)),
        "failures": dict(Counter(t.failure.kind for t in history.trials if t.failure is not None)),
        "invalid": history.invalid_count,
        "elapsed": history.elapsed,
        "best": None if best is None or several else row(history, best),
        "front": [row(history, trial) for trial in history.front] if several else None,
        "default": None if default is None else row(history, default),
        "stopped": None if history.stop is None else history.stop["reason"],
        "notes": {subject: dict(content) for subject, content in history.notes.items()},
    }


def default_trial(history: History) -> Trial | None:
    """The complete trial at the space's default point, None if that was not evaluated."""
    space = history.space
    point = space.default()
    in_the_cube = space.from_unit(space.to_unit(point))  # what samplers that work there make of it
    taken = (history.keys.get(space.key(params)) for params in (point, in_the_cube))
    trials = (history.trials[number] for number in taken if number is not None)
    return next((trial for trial in trials if trial.state == "complete"), None)


def to_dataframe(history: History) -> Any:
    """The rows as a pandas data frame; times become timestamps in UTC.

    Raises:
        UsageError: If pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError as err:
        raise UsageError("A data frame needs pandas: pip install pandas.") from err
    frame = pd.DataFrame(rows(history))
    for column in ("started", "ended"):
        if column in frame:
            frame[column] = pd.to_datetime(frame[column], unit="s", utc=True)
    return frame
