"""Exports a history as flat rows and short summaries, for people and other programs."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hpt_core.errors import UsageError
from hpt_core.history.trial import Trial

if TYPE_CHECKING:
    from hpt_core.history.history import History

__all__ = [
    "columns",
    "ending",
    "facts",
    "outcome",
    "repeated_failure",
    "row",
    "rows",
    "shortfall",
    "summary",
    "to_dataframe",
]


def outcome(history: History, trial: Trial) -> str:
    """A trial's values and constrained metrics in words: ``accuracy=0.97, latency_ms=80 (not <= 50)``."""
    known = dict(zip(history.objectives, trial.values or (), strict=False))
    bounds = {bound.metric: bound for bound in history.constraints}
    known |= {name: trial.metrics[name] for name in bounds if name in trial.metrics}
    notes = {name: f" ({'not ' * (bound.excess(known.get(name)) > 0.0)}{bound})" for name, bound in bounds.items()}
    return ", ".join(f"{name}={value:.6g}{notes.get(name, '')}" for name, value in known.items())


def ending(history: History, trial: Trial) -> str:
    """How a trial ended or paused and which trial is the best now, in words."""
    kind, why = (f" ({trial.failure.kind})", trial.failure.message) if trial.failure else ("", trial.reason)
    result = "; ".join(filter(None, (outcome(history, trial), why.removesuffix(".")))) or "no value"
    best = "" if history.best is None else f" The best is trial {history.best.number}."
    return f"Trial {trial.number} {trial.state}{kind}: {result}. Params: {trial.params}.{best}"


def repeated_failure(history: History, shown: Mapping[str, int] | None = None) -> str:
    """The failure that ended a run at its start, with its traceback. Empty if the run did not end so.

    Args:
        history: The history of the study.
        shown: Messages that the reader has seen already, with the trial that each was shown for. They are not repeated.
    """
    stop = history.stop
    failure = history.trials[stop["evidence"]["trials"][0]].failure if stop and stop["rule"] == "max_failures" else None
    if stop is None or failure is None:
        return ""
    message, detail, reason = failure.message, failure.detail.strip(), str(stop["reason"])
    head = reason.removesuffix(f": {message}")
    # a traceback ends with the message, after the module or the whole name of the exception
    in_detail = re.search(rf"^[\w.]*(: )?{re.escape(message)}", detail, re.MULTILINE) if message else None
    seen_at = (shown or {}).get(message)
    if seen_at is None:
        return f"{head}:\n\n{detail}" if in_detail else f"{reason}\n\n{detail}".strip()
    if in_detail:
        detail = (detail[: in_detail.start()].rstrip() + detail[in_detail.end() :]).strip()
    head = f"{head}, see trial {seen_at} above"
    return f"{head}:\n\n{detail}" if detail else f"{head}."


def shortfall(history: History) -> str:
    """Why no complete trial is the best, in words. Empty if there is a best trial or no complete one."""
    nearest = history.least_violated
    if nearest is None:
        return ""
    least = f"trial {nearest.number} violates them least: {outcome(history, nearest)}"
    count = len(history.complete)
    none = "The complete trial does not satisfy" if count == 1 else f"None of the {count} complete trials satisfies"
    return f"{none} the constraints; {least}"


def rows(history: History) -> list[dict[str, Any]]:
    """One flat JSON-shaped row per trial, in order of number; see `row`."""
    return [row(history, trial) for trial in history.trials]


def row(history: History, trial: Trial) -> dict[str, Any]:
    """One trial as a flat JSON-shaped row.

    Returns:
        ``number state``, the objectives by name (None without a result), ``feasible`` if the study has constraints
        (None if unknown), ``params.<name>`` for every parameter of the space (None if inactive),
        ``metrics.<name>``, then ``partial reason rule failure_kind failure_message invalid started ended duration
        steps source attempt worker``. Times are Unix seconds.
    """
    found: dict[str, Any] = {"number": trial.number, "state": trial.state.value}
    for i, name in enumerate(history.objectives):
        found[name] = None if trial.values is None or i >= len(trial.values) else trial.values[i]
    if history.constraints:
        furthest = float(history.excess[trial.number].max())
        found["feasible"] = None if math.isnan(furthest) else furthest <= 0.0
    params = trial.params
    found |= {f"params.{name}": params.get(name) for name in (*history.space.names, *params)}
    found |= {f"metrics.{name}": value for name, value in trial.metrics.items()}
    return found | facts(trial)


def columns(history: History) -> list[str]:
    """The columns that the rows of all trials have, also if there is no trial yet: those of `row` without metrics."""
    feasible = ["feasible"] * bool(history.constraints)
    params = (f"params.{name}" for name in history.space.names)
    return ["number", "state", *history.objectives, *feasible, *params, *facts(Trial(0, {}))]


def facts(trial: Trial) -> dict[str, Any]:
    """The part of a row that is the same in all studies."""
    failure = trial.failure
    return {
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
    """A study's current state, JSON-shaped: counts, the best and the default configuration, why it stopped.

    If no complete trial satisfies the constraints, ``best`` is None and ``least_violated`` is set instead.
    """
    best, default, nearest = history.best, default_trial(history), history.least_violated
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
        "constraints": {bound.metric: str(bound) for bound in history.constraints},
        "least_violated": None if nearest is None else row(history, nearest),
        "default": None if default is None else row(history, default),
        "stopped": None if history.ended is None else history.ended["reason"],
        "notes": {subject: dict(content) for subject, content in history.notes.items()},
    }


def default_trial(history: History) -> Trial | None:
    """The complete trial at the space's default point; None if that was not evaluated."""
    space = history.space
    point = space.default()
    rounded = space.from_unit(space.to_unit(point))  # as samplers that use the unit cube give it
    taken = (history.keys.get(space.key(params)) for params in (point, rounded))
    trials = (history.trials[number] for number in taken if number is not None)
    return next((trial for trial in trials if trial.state == "complete"), None)


def _encodable(value: Any) -> Any:
    """A value, if it is text in a form that pandas and Parquet can store: the name of a file may not be Unicode."""
    is_plain = not isinstance(value, str) or value.isascii()
    return value if is_plain else value.encode(errors="backslashreplace").decode()


def to_dataframe(history: History) -> Any:
    """The rows as a pandas data frame, with times as UTC timestamps.

    Raises:
        UsageError: If pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError as err:
        raise UsageError("A data frame needs pandas: pip install pandas.") from err
    found = [{_encodable(key): _encodable(value) for key, value in row.items()} for row in rows(history)]
    frame = pd.DataFrame(found, columns=None if found else columns(history))
    for column in ("started", "ended"):
        frame[column] = pd.to_datetime(frame[column], unit="s", utc=True)
    return frame
