"""The records of a study's log, and functions that build them.

A record is a flat dict with JSON values. ``event`` is its kind, ``time`` is in Unix seconds. The functions below build
every kind of record; `hpt_core.history.replay` gives them their meaning. Empty keys are left out. ``seen`` is the log
position that a decision was based on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpt_core.history.trial import Failure, Params, Report

__all__ = ["FORMAT", "Record"]

Record = dict[str, Any]

FORMAT = 1
"""Version of the record format, written in every ``created`` record. A log with a newer version is refused."""


def created(time: float, definition: Mapping[str, Any], provenance: Mapping[str, Any]) -> Record:
    """A study was created, with this definition and provenance."""
    return {
        "event": "created",
        "time": time,
        "format": FORMAT,
        "definition": definition,
        "provenance": provenance,
    }


def amended(time: float, definition: Mapping[str, Any], differences: Sequence[str]) -> Record:
    """The study was resumed with a changed definition."""
    return {
        "event": "amended",
        "time": time,
        "definition": definition,
        "differences": list(differences),
    }


def joined(time: float, worker: str, provenance: Mapping[str, Any]) -> Record:
    """A process began to run the study. ``worker`` is ``host:pid:start`` (see `hpt_core.liveness`)."""
    return {"event": "joined", "time": time, "worker": worker, "provenance": provenance}


def enqueued(
    time: float, trial: int, params: Params, source: str = "given", info: Mapping[str, Any] | None = None
) -> Record:
    """The user enqueued a configuration, or added a trial that was suggested elsewhere."""
    record: Record = {"event": "enqueued", "time": time, "trial": trial, "params": params}
    if source != "given":
        record["source"] = source
    if info:
        record["info"] = dict(info)
    return record


def started(  # noqa: PLR0917 - a record's fields, in their order
    time: float,
    trial: int,
    params: Params,
    worker: str,
    attempt: int,
    seen: int,
    source: str = "sampler",
    info: Mapping[str, Any] | None = None,
) -> Record:
    """A worker started a trial: a new one, a waiting one, or a paused one that was promoted."""
    record = {
        "event": "started",
        "time": time,
        "trial": trial,
        "params": params,
        "worker": worker,
        "attempt": attempt,
        "seen": seen,
        "source": source,
    }
    if info:
        record["info"] = dict(info)
    return record


def reported(time: float, trial: int, attempt: int, report: Report) -> Record:
    """A trial reported evidence."""
    record = {
        "event": "reported",
        "time": time,
        "trial": trial,
        "attempt": attempt,
        "step": report.step,
        "value": report.value,
    }
    if report.metrics:
        record["metrics"] = dict(report.metrics)
    return record


def paused(  # noqa: PLR0917 - a record's fields, in their order
    time: float,
    trial: int,
    attempt: int,
    seen: int,
    rule: str,
    reason: str,
    evidence: Mapping[str, Any],
) -> Record:
    """A rule paused a trial."""
    return {
        "event": "paused",
        "time": time,
        "trial": trial,
        "attempt": attempt,
        "seen": seen,
        "rule": rule,
        "reason": reason,
        "evidence": dict(evidence),
    }


def complete(
    time: float,
    trial: int,
    attempt: int,
    values: Sequence[float],
    metrics: Mapping[str, float],
    reason: str = "",
) -> Record:
    """A trial completed."""
    record: Record = {
        "event": "finished",
        "time": time,
        "trial": trial,
        "attempt": attempt,
        "state": "complete",
        "values": list(values),
    }
    if metrics:
        record["metrics"] = dict(metrics)
    if reason:
        record["reason"] = reason
    return record


def stopped_early(  # noqa: PLR0917 - a record's fields, in their order
    time: float,
    trial: int,
    attempt: int,
    values: Sequence[float] | None,
    seen: int,
    rule: str,
    reason: str,
    evidence: Mapping[str, Any],
) -> Record:
    """A rule stopped a trial early. Its values, if any, are based on part of the evidence."""
    record: Record = {
        "event": "finished",
        "time": time,
        "trial": trial,
        "attempt": attempt,
        "state": "stopped",
        "seen": seen,
        "rule": rule,
        "reason": reason,
        "evidence": dict(evidence),
    }
    if values is not None:
        record["values"] = list(values)
    return record


def completed_early(  # noqa: PLR0917 - a record's fields, in their order
    time: float,
    trial: int,
    attempt: int,
    values: Sequence[float],
    metrics: Mapping[str, float],
    seen: int,
    rule: str,
    reason: str,
    evidence: Mapping[str, Any],
) -> Record:
    """A rule declared a trial complete before its last step. Its result is that of its last report."""
    record = stopped_early(time, trial, attempt, values, seen, rule, reason, evidence) | {"state": "complete"}
    if metrics:
        record["metrics"] = dict(metrics)
    return record


def failed(time: float, trial: int, attempt: int, failure: Failure) -> Record:
    """A trial failed."""
    return {
        "event": "finished",
        "time": time,
        "trial": trial,
        "attempt": attempt,
        "state": "failed",
        "kind": failure.kind,
        "message": failure.message,
        "detail": failure.detail,
    }


def released(time: float, trial: int, attempt: int, kind: str) -> Record:
    """A running trial lost its worker (``interrupted`` or ``worker-lost``) and waits for a rerun."""
    return {"event": "released", "time": time, "trial": trial, "attempt": attempt, "kind": kind}


def invalidated(time: float, trial: int, reason: str) -> Record:
    """The user declared a trial's result wrong. It is ignored from now on."""
    return {"event": "invalidated", "time": time, "trial": trial, "reason": reason}


def heartbeat(time: float, worker: str) -> Record:
    """A process that runs the study is still alive."""
    return {"event": "heartbeat", "time": time, "worker": worker}


def study_stopped(time: float, seen: int, rule: str, reason: str, evidence: Mapping[str, Any]) -> Record:
    """A run of the study ended."""
    return {
        "event": "stopped",
        "time": time,
        "seen": seen,
        "rule": rule,
        "reason": reason,
        "evidence": dict(evidence),
    }


def note(time: float, subject: str, content: Mapping[str, Any], worker: str = "") -> Record:
    """Further information about the study, such as what the evaluator's ``conclude`` returned for the best trial."""
    record: Record = {"event": "note", "time": time, "subject": subject, "content": dict(content)}
    if worker:
        record["worker"] = worker
    return record
