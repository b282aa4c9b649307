"""Replays the records of a log: how each changes the history of a study (trial states, old attempts, the best trial).

This is the only module that gives records their meaning. A store only keeps them in order.
"""

from __future__ import annotations

from array import array
from bisect import insort
from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from hpt_core.errors import StoreError, UsageError
from hpt_core.history import columns
from hpt_core.history.columns import Columns
from hpt_core.history.events import FORMAT, Record
from hpt_core.history.record_schema import damaged_record
from hpt_core.history.trial import Failure, Report, State, Trial
from hpt_core.liveness import owner_of
from hpt_core.space.space import Space

if TYPE_CHECKING:
    from hpt_core.history.history import History

__all__ = ["replay"]


def replay(history: History, record: Record) -> None:
    """Change a history by one record; see `History.apply`."""
    try:
        time, event = record["time"], record["event"]
        history._latest = max(history._latest, time)
        if history._last_time is None or (event in ("amended", "joined") and not _is_behind(history, time)):
            history._last_time = time  # an idle gap, which does not count as work
        elif time > history._last_time:  # the clock of another machine may be behind
            history._active_seconds += time - history._last_time
            history._last_time = time
        if event in _HANDLERS:
            _HANDLERS[event](history, record)
            if "trial" in record:
                history._changed[record["trial"]] = history.position + 1
    except (ArithmeticError, AttributeError, LookupError, TypeError, UsageError, ValueError) as err:
        raise damaged_record(history.position + 1, _problem(history, record, err)) from err
    history.position += 1


def _problem(history: History, record: Record, err: Exception) -> str:
    """Why a record could not be replayed, in words."""
    if not history.exists:
        return "it precedes the record that defines the study"
    if isinstance(err, IndexError):
        return f"it is about trial {record.get('trial')}, but the records before it start only {len(history.trials)}"
    return str(err) if isinstance(err, (UsageError, ValueError)) else f"{type(err).__name__}: {err}"


def _is_behind(history: History, time: float) -> bool:
    """Whether a process with a clock that is behind joins while trials are running: that is not an idle gap."""
    running = any(trial.state is State.RUNNING for trial in history.open.values())
    return running and history._last_time is not None and time < history._last_time


def _created(history: History, record: Record) -> None:
    if record["format"] > FORMAT:
        newer = f"It was written by a newer hpt (log format {record['format']}, known: {FORMAT})"
        raise StoreError(f"{newer}: update hpt-core. The log was not changed.")
    history.provenance = record["provenance"]
    _define(history, record["definition"])


def _define(history: History, definition: Mapping[str, Any]) -> None:
    history.definition = definition
    history._space = Space.from_json(definition["space"])
    signs = {name: 1.0 if way == "minimize" else -1.0 for name, way in definition["objectives"].items()}
    history._columns = Columns(signs, history.constraints, len(history.trials))
    history._signs = tuple(signs.values())


def _amended(history: History, record: Record) -> None:
    before = history.objectives
    if record.get("differences"):  # none: only the evaluator was added or removed
        history.outdated.update(history.workers)
    _define(history, record["definition"])
    history._keys, history._repeats = {}, {}
    inside = np.ones(len(history.trials), dtype=bool)
    for trial in history.trials:
        inside[trial.number] = history.space.contains(trial.params)
        columns.carry_over(trial, before, history.objectives)
        history._columns.set_results(trial)
        history._columns.set_state(trial)
        if trial.invalid is None and inside[trial.number]:
            _add_key(history, trial)
    history._columns.restrict(inside)
    history._changed[:] = array("q", [history.position + 1]) * len(history.trials)


def _joined(history: History, record: Record) -> None:
    history.workers[record["worker"]] = history._latest
    history.joined_with[record["worker"]] = history.definition
    history.outdated.discard(record["worker"])
    history.provenance = record["provenance"]
    history.session, history._session_by_number = [], []


def _heartbeat(history: History, record: Record) -> None:
    history.workers[record["worker"]] = history._latest


def _add(history: History, trial: Trial) -> None:
    if not history.exists:
        raise LookupError("the study is not defined")
    if trial.number != len(history.trials):
        raise ValueError(f"its `trial` must be {len(history.trials)}, the next number. Got {trial.number}")
    history.trials.append(trial)
    history._columns.add()
    history._changed.append(0)
    history.open[trial.number] = trial
    _add_key(history, trial)


def _add_key(history: History, trial: Trial) -> None:
    key = history.space.key(trial.params)
    if history._keys.setdefault(key, trial.number) != trial.number:
        history._repeats.setdefault(key, []).append(trial.number)


def _enqueued(history: History, record: Record) -> None:
    get = record.get
    _add(history, Trial(record["trial"], record["params"], info=get("info", {}), source=get("source", "given")))


def _started(history: History, record: Record) -> None:
    number = record["trial"]
    if number == len(history.trials):
        trial = Trial(number, record["params"], source=record["source"], info=record.get("info", {}))
        _add(history, trial)
    else:
        trial = history.trials[number]
        if trial.finished or trial.invalid is not None or record["attempt"] != trial.attempt + 1:
            return  # from a worker that was declared dead; the trial has moved on without it
        if not history.resumable:
            trial.reports = []  # the trial starts over
        if trial.paused_at is not None:
            trial.earlier_work, trial.paused_at = trial.work, None
    trial.state, trial.worker, trial.attempt = State.RUNNING, record["worker"], record["attempt"]
    trial.started, trial.reason, trial.rule = record["time"], "", ""
    history.workers[owner_of(trial.worker)] = history._latest
    history._columns.set_state(trial)


def _current(history: History, record: Record) -> Trial | None:
    """The record's trial, if the record comes from its running attempt."""
    trial = history.trials[record["trial"]]
    running = trial.state is State.RUNNING and record["attempt"] == trial.attempt
    return trial if running else None


def _reported(history: History, record: Record) -> None:
    trial = _current(history, record)
    if trial is not None:
        trial.reports.append(Report(record["step"], record["value"], record.get("metrics", {})))
        history.workers[owner_of(trial.worker)] = history._latest
        history.undecided.add(trial.number)
        if history.resumable:
            history.times_lost.pop(trial.number, None)  # it has advanced, so its next loss is the first again


def _paused(history: History, record: Record) -> None:
    trial = _current(history, record)
    if trial is not None:
        trial.reason, trial.rule, trial.paused_at = record["reason"], record["rule"], record["time"]
        history.undecided.discard(trial.number)
        _set_aside(history, trial, State.PAUSED)


def _released(history: History, record: Record) -> None:
    trial = _current(history, record)
    if trial is not None:
        if record.get("kind") == "worker-lost":
            history.times_lost[trial.number] = history.times_lost.get(trial.number, 0) + 1
        _set_aside(history, trial, State.WAITING)


def _set_aside(history: History, trial: Trial, state: State) -> None:
    trial.state = state
    history._columns.set_state(trial)
    if trial.invalid is not None:  # an invalid trial is not resumed
        history.open.pop(trial.number, None)


def _finished(history: History, record: Record) -> None:
    trial = history.trials[record["trial"]]
    if trial.finished or record["attempt"] != trial.attempt:
        return
    trial.state, trial.ended = State(record["state"]), record["time"]
    trial.reason, trial.rule = record.get("reason", ""), record.get("rule", "")
    trial.metrics = record.get("metrics", {})
    trial.partial = trial.state is State.STOPPED
    if trial.state is State.FAILED:
        trial.failure = Failure(record["kind"], record["message"], record["detail"])
    objectives = tuple(history.joined_with.get(owner_of(trial.worker), history.definition)["objectives"])
    if len(record.get("values", ())) == len(objectives):  # else its process had missed an amendment
        trial.values = tuple(record["values"])
        columns.carry_over(trial, objectives, history.objectives)
        history._columns.set_results(trial)
    history._columns.set_state(trial)
    history.open.pop(trial.number, None)
    history.undecided.discard(trial.number)
    history.session.append(trial)
    insort(history._session_by_number, trial, key=attrgetter("number"))


def _invalidated(history: History, record: Record) -> None:
    trial = history.trials[record["trial"]]
    if trial.invalid is not None:
        return
    trial.invalid = record["reason"]
    history.invalid_count += 1
    history._columns.set_state(trial)
    if trial.state is not State.RUNNING:  # a running trial stays open until it ends
        history.open.pop(trial.number, None)
    key = history.space.key(trial.params)
    if history._keys.get(key) == trial.number:
        del history._keys[key]
        again = next((n for n in history._repeats.get(key, ()) if history.trials[n].invalid is None), None)
        if again is not None:
            history._keys[key] = again


def _stopped(history: History, record: Record) -> None:
    history.stop = record


def _note(history: History, record: Record) -> None:
    history.notes[record["subject"]] = record["content"]
    if record["subject"] == "conclusion":
        definition = history.joined_with.get(record.get("worker", ""), history.definition)
        history.concluded_by = definition.get("evaluator")


_HANDLERS: dict[str, Callable[[History, Record], None]] = {  # by the name of the event
    handler.__name__.removeprefix("_"): handler
    for handler in (
        _amended, _created, _enqueued, _finished, _heartbeat, _invalidated, _joined, _note, _paused, _released,
        _reported, _started, _stopped,
    )
}  # fmt: skip
