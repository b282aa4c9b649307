"""What is written: the records of a study's log.

A record is a flat dict with JSON values; ``event`` says which kind, ``time`` when (Unix seconds). The builders
below are the whole vocabulary; `hpt_core.replay` gives the records their meaning. Keys that would be empty are
left out. ``seen`` is the log position that a decision was taken on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpt_core.trial import Failure, Params, Report

__all__ = ["FORMAT", "Record"]

Record = dict[str, Any]

FORMAT = 1
"""Version of this vocabulary, in every ``created`` record; a newer one is refused."""


def created(time: float, definition: Mapping[str, Any], provenance: Mapping[str, Any]) -> Record:
    """A study was created: how it is defined, and with what it was made."""
    return {
        "event": "created",
        "time": time,
        "format": FORMAT,
        "definition": definition,
        "provenance": provenance,
    }


def amended(time: float, definition: Mapping[str, Any], differences: Sequence[str]) -> Record:
    """The study goes on under a changed definition."""
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
    """The user gave a configuration to evaluate, or tells of one that somebody else suggested."""
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
    """A worker took a trial: a new one, a waiting one, or a paused one that was promoted."""
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
    """A trial gave evidence."""
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
    """A rule set a trial aside."""
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
    """A trial ran to its end."""
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
    """A rule stopped a trial; its values, if it has any, rest on a part of the evidence."""
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
    """A running trial lost its worker (``interrupted`` or ``worker-lost``) and waits to be run again."""
    return {"event": "released", "time": time, "trial": trial, "attempt": attempt, "kind": kind}


def invalidated(time: float, trial: int, reason: str) -> Record:
    """The user declared a trial's result wrong; nothing learns from it any more."""
    return {"event": "invalidated", "time": time, "trial": trial, "reason": reason}


def heartbeat(time: float, worker: str) -> Record:
    """A process that runs the study is still there."""
    return {"event": "heartbeat", "time": time, "worker": worker}


def study_stopped(time: float, seen: int, rule: str, reason: str, evidence: Mapping[str, Any]) -> Record:
    """A run of the study came to its end."""
    return {
        "event": "stopped",
        "time": time,
        "seen": seen,
        "rule": rule,
        "reason": reason,
        "evidence": dict(evidence),
    }


def note(time: float, subject: str, content: Mapping[str, Any]) -> Record:
    """Anything worth keeping beside the trials (what the evaluator concluded on the winner)."""
    return {"event": "note", "time": time, "subject": subject, "content": dict(content)}
