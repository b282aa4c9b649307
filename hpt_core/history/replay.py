"""Replays the records of a log: how each changes the state of a study (its trials, old attempts, the best trial).

This is the only module that gives records their meaning. A store only keeps them in order.
"""

from __future__ import annotations

from array import array
from bisect import insort
from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter
from typing import Any, ClassVar

import numpy as np

from hpt_core.errors import StoreError, UsageError
from hpt_core.history.columns import Columns, carry_over
from hpt_core.history.constraints import read_constraints
from hpt_core.history.events import FORMAT, Record
from hpt_core.history.record_schema import damaged_record
from hpt_core.history.trial import Failure, Report, State, Trial
from hpt_core.liveness import owner_of
from hpt_core.space.space import Space

__all__ = ["Replay"]


class Replay:
    """The state of a study after its records so far. `History` is this state with what its readers ask of it."""

    def __init__(self) -> None:
        self.trials: list[Trial] = []
        self.position: int = 0
        self.definition: Mapping[str, Any] = {}
        self.provenance: Mapping[str, Any] = {}
        self.workers: dict[str, float] = {}
        self.open: dict[int, Trial] = {}
        self.session: list[Trial] = []
        self.invalid_count: int = 0
        self.stop: Record | None = None
        self.ended: Record | None = None
        self.notes: dict[str, Mapping[str, Any]] = {}
        self.times_lost: dict[int, int] = {}  # trial -> how often in a row it was released as its worker was lost
        self.undecided: set[int] = set()  # trials whose last report no recorded decision followed
        self.joined_with: dict[str, Mapping[str, Any]] = {}  # process -> the definition that it joined with
        self.outdated: set[str] = set()  # processes that still have the definition from before an amendment
        self.concluded_by: Any = None  # the evaluator, as defined when it noted its last conclusion
        self._session_by_number: list[Trial] = []
        self._space: Space | None = None
        self._keys: dict[Any, int] = {}
        self._repeats: dict[Any, list[int]] = {}  # the later trials of the same key
        self._columns = Columns({})
        self._changed = array("q")  # trial -> position of its last record; shared with the views, as the trials are
        self._active_seconds = 0.0
        self._last_time: float | None = None
        self._latest = 0.0

    @property
    def exists(self) -> bool:
        """Whether the log defines a study."""
        return bool(self.definition)

    @property
    def resumable(self) -> bool:
        """Whether the evaluator can resume a paused trial."""
        return bool(self.definition.get("evidence", {}).get("resumable", False))

    @property
    def space(self) -> Space:
        """The current search space, amendments included."""
        if self._space is None:
            raise StoreError("The study has no records yet, so it has no space.")
        return self._space

    def extend(self, records: Iterable[Record]) -> None:
        """Replay further records, in the order of the log.

        Raises:
            StoreError: If they are not the log of a study.
        """
        for record in records:
            self.apply(record)

    def apply(self, record: Record) -> None:
        """Replay one record. Unknown events are ignored: they come from a later hpt.

        Raises:
            StoreError: If it is damaged, or does not follow from the records before it.
        """
        try:
            time, event = record["time"], record["event"]
            self._latest = max(self._latest, time)
            if self._last_time is None or (event in ("amended", "joined") and not self._is_behind(time)):
                self._last_time = time  # an idle gap, which does not count as work
            elif time > self._last_time:  # the clock of another machine may be behind
                self._active_seconds += time - self._last_time
                self._last_time = time
            if event in self._HANDLERS:
                self._HANDLERS[event](self, record)
                if "trial" in record:
                    self._changed[record["trial"]] = self.position + 1
        except (ArithmeticError, AttributeError, LookupError, TypeError, UsageError, ValueError) as err:
            raise damaged_record(self.position + 1, self._problem(record, err)) from err
        self.position += 1

    def _problem(self, record: Record, err: Exception) -> str:
        """Why a record could not be replayed, in words."""
        if not self.exists:
            return "it precedes the record that defines the study"
        if isinstance(err, IndexError):
            return f"it is about trial {record.get('trial')}, but the records before it start only {len(self.trials)}"
        return str(err) if isinstance(err, (UsageError, ValueError)) else f"{type(err).__name__}: {err}"

    def _is_behind(self, time: float) -> bool:
        """Whether a process with a clock that is behind joins while trials are running: that is not an idle gap."""
        running = any(trial.state is State.RUNNING for trial in self.open.values())
        return running and self._last_time is not None and time < self._last_time

    def _created(self, record: Record) -> None:
        if record["format"] > FORMAT:
            newer = f"It was written by a newer hpt (log format {record['format']}, known: {FORMAT})"
            raise StoreError(f"{newer}: update hpt-core. The log was not changed.")
        self.provenance = record["provenance"]
        self._define(record["definition"])

    def _define(self, definition: Mapping[str, Any]) -> None:
        self.definition = definition
        self._space = Space.from_json(definition["space"])
        signs = {name: 1.0 if way == "minimize" else -1.0 for name, way in definition["objectives"].items()}
        self._columns = Columns(signs, read_constraints(definition.get("constraints", {})), len(self.trials))

    def _amended(self, record: Record) -> None:
        before = tuple(self.definition["objectives"])
        if record.get("differences"):  # none: only the evaluator was added or removed
            self.outdated.update(self.workers)
        self._define(record["definition"])
        self._keys, self._repeats = {}, {}
        inside = np.ones(len(self.trials), dtype=bool)
        for trial in self.trials:
            inside[trial.number] = self.space.contains(trial.params)
            carry_over(trial, before, tuple(self._columns.signs))
            self._columns.set_results(trial)
            self._columns.set_state(trial)
            if trial.invalid is None and inside[trial.number]:
                self._add_key(trial)
        self._columns.restrict(inside)
        self._changed[:] = array("q", [self.position + 1]) * len(self.trials)

    def _joined(self, record: Record) -> None:
        self.workers[record["worker"]] = self._latest
        self.joined_with[record["worker"]] = self.definition
        self.outdated.discard(record["worker"])
        self.provenance = record["provenance"]
        self.session, self._session_by_number = [], []

    def _heartbeat(self, record: Record) -> None:
        self.workers[record["worker"]] = self._latest

    def _add(self, trial: Trial) -> None:
        if not self.exists:
            raise LookupError("the study is not defined")
        if trial.number != len(self.trials):
            raise ValueError(f"its `trial` must be {len(self.trials)}, the next number. Got {trial.number}")
        self.trials.append(trial)
        self._columns.add()
        self._changed.append(0)
        self.open[trial.number] = trial
        self._add_key(trial)

    def _add_key(self, trial: Trial) -> None:
        key = self.space.key(trial.params)
        if self._keys.setdefault(key, trial.number) != trial.number:
            self._repeats.setdefault(key, []).append(trial.number)

    def _enqueued(self, record: Record) -> None:
        get = record.get
        self._add(Trial(record["trial"], record["params"], info=get("info", {}), source=get("source", "given")))

    def _started(self, record: Record) -> None:
        number = record["trial"]
        if number == len(self.trials):
            trial = Trial(number, record["params"], source=record["source"], info=record.get("info", {}))
            self._add(trial)
        else:
            trial = self.trials[number]
            if trial.finished or trial.invalid is not None or record["attempt"] != trial.attempt + 1:
                return  # from a worker that was declared dead; the trial has moved on without it
            if not self.resumable:
                trial.reports = []  # the trial starts over
            if trial.paused_at is not None:
                trial.earlier_work, trial.paused_at = trial.work, None
        trial.state, trial.worker, trial.attempt = State.RUNNING, record["worker"], record["attempt"]
        trial.started, trial.reason, trial.rule = record["time"], "", ""
        self.ended = None
        self.workers[owner_of(trial.worker)] = self._latest
        self._columns.set_state(trial)

    def _current(self, record: Record) -> Trial | None:
        """The record's trial, if the record comes from its running attempt."""
        trial = self.trials[record["trial"]]
        running = trial.state is State.RUNNING and record["attempt"] == trial.attempt
        return trial if running else None

    def _reported(self, record: Record) -> None:
        trial = self._current(record)
        if trial is not None:
            trial.reports.append(Report(record["step"], record["value"], record.get("metrics", {})))
            self.workers[owner_of(trial.worker)] = self._latest
            self.undecided.add(trial.number)
            if self.resumable:
                self.times_lost.pop(trial.number, None)  # it has advanced, so its next loss is the first again

    def _paused(self, record: Record) -> None:
        trial = self._current(record)
        if trial is not None:
            trial.reason, trial.rule, trial.paused_at = record["reason"], record["rule"], record["time"]
            self.undecided.discard(trial.number)
            self._set_aside(trial, State.PAUSED)

    def _released(self, record: Record) -> None:
        trial = self._current(record)
        if trial is not None:
            if record.get("kind") == "worker-lost":
                self.times_lost[trial.number] = self.times_lost.get(trial.number, 0) + 1
            self._set_aside(trial, State.WAITING)

    def _set_aside(self, trial: Trial, state: State) -> None:
        trial.state = state
        self._columns.set_state(trial)
        if trial.invalid is not None:  # an invalid trial is not resumed
            self.open.pop(trial.number, None)

    def _finished(self, record: Record) -> None:
        trial = self.trials[record["trial"]]
        if trial.finished or record["attempt"] != trial.attempt:
            return
        trial.state, trial.ended = State(record["state"]), record["time"]
        trial.reason, trial.rule = record.get("reason", ""), record.get("rule", "")
        trial.metrics = record.get("metrics", {})
        trial.partial = trial.state is State.STOPPED
        if trial.state is State.FAILED:
            trial.failure = Failure(record["kind"], record["message"], record["detail"])
        objectives = tuple(self.joined_with.get(owner_of(trial.worker), self.definition)["objectives"])
        if len(record.get("values", ())) == len(objectives):  # else its process had missed an amendment
            trial.values = tuple(record["values"])
            carry_over(trial, objectives, tuple(self._columns.signs))
            self._columns.set_results(trial)
        self._columns.set_state(trial)
        self.open.pop(trial.number, None)
        self.undecided.discard(trial.number)
        self.session.append(trial)
        insort(self._session_by_number, trial, key=attrgetter("number"))

    def _invalidated(self, record: Record) -> None:
        trial = self.trials[record["trial"]]
        if trial.invalid is not None:
            return
        trial.invalid = record["reason"]
        self.invalid_count += 1
        self._columns.set_state(trial)
        if trial.state is not State.RUNNING:  # a running trial stays open until it ends
            self.open.pop(trial.number, None)
        key = self.space.key(trial.params)
        if self._keys.get(key) == trial.number:
            del self._keys[key]
            again = next((n for n in self._repeats.get(key, ()) if self.trials[n].invalid is None), None)
            if again is not None:
                self._keys[key] = again

    def _stopped(self, record: Record) -> None:
        self.stop = self.ended = record

    def _note(self, record: Record) -> None:
        self.notes[record["subject"]] = record["content"]
        if record["subject"] == "conclusion":
            definition = self.joined_with.get(record.get("worker", ""), self.definition)
            self.concluded_by = definition.get("evaluator")

    _HANDLERS: ClassVar[dict[str, Callable[[Any, Record], None]]] = {  # by the name of the event
        handler.__name__.removeprefix("_"): handler
        for handler in (
            _amended, _created, _enqueued, _finished, _heartbeat, _invalidated, _joined, _note, _paused, _released,
            _reported, _started, _stopped,
        )
    }  # fmt: skip
