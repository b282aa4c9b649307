"""What is read: the state of a study after replaying its records, with columns for numerics.

All meaning lives here, once: states, fencing of attempts, signs, the best. A store only keeps records in order.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from hpt_core import columns
from hpt_core.columns import Columns, read_only
from hpt_core.constraints import violation
from hpt_core.definition import Defined
from hpt_core.errors import StoreError, UsageError
from hpt_core.events import FORMAT, Record
from hpt_core.pareto import non_dominated
from hpt_core.space import Space
from hpt_core.trial import Failure, Report, State, Trial
from hpt_core.wellformed import damaged

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["History"]


class History(Defined):
    """A study as its log tells it; samplers and rules read it and never change it.

    Columns: row i is trial number i. Objectives are *losses* here: smaller is better; no other place handles the sign.

    Attributes:
        trials: Every trial, index = number.
        position: How many records were replayed.
        definition: How the study is defined now, as JSON-shaped data.
        provenance: With what it was last run.
        workers: Every process that ran it -> when it was last heard of, Unix seconds.
        open: The trials that have not ended, by number.
        session: The trials that ended since a process last began to run the study, in that order.
        invalid_count: How many trials the user declared invalid.
        stop: The last record of a stop of the study, None if it never stopped.
        notes: Subject -> what was noted last.
        clock: Unix seconds that `elapsed` counts up to; None: the last record's time.
        closing: Whether no new trial will come, budget or space being used up: true only while `promote` is asked then.
    """

    def __init__(self) -> None:
        self.trials: list[Trial] = []
        self.position = self.invalid_count = 0
        self.definition = {}
        self.provenance: Mapping[str, Any] = {}
        self.workers: dict[str, float] = {}
        self.stop: Record | None = None
        self.notes: dict[str, Mapping[str, Any]] = {}
        self.clock: float | None = None
        self.closing = False
        self.open: dict[int, Trial] = {}
        self.session: list[Trial] = []
        self._space: Space | None = None
        self._signs: tuple[float, ...] = ()
        self._keys: dict[Any, int] = {}
        self._columns = Columns({})
        self._best: int | None = None
        self._active_seconds = 0.0
        self._last_time: float | None = None

    # --- the study -------------------------------------------------------------------------------------

    @property
    def space(self) -> Space:
        """The search space as it is now (amendments included)."""
        if self._space is None:
            raise StoreError("The study has no records yet, so it has no space.")
        return self._space

    @property
    def elapsed(self) -> float:
        """Seconds that the study has been worked on, idle gaps between runs left out."""
        running_on = 0.0 if self.clock is None or self._last_time is None else self.clock - self._last_time
        return self._active_seconds + max(0.0, running_on)

    # --- trials and columns -----------------------------------------------------------------------------

    @property
    def next_number(self) -> int:
        """The number that the next new trial gets."""
        return len(self.trials)

    @property
    def keys(self) -> Mapping[Any, int]:
        """`Space.key` of every point that was ever taken (invalid trials left out) -> its first trial."""
        return self._keys

    @property
    def unit(self) -> NDArray[np.float64]:
        """Unit-cube coordinates, (n, d). NaN where a parameter is inactive; NaN rows lie outside the space."""
        return self._columns.unit(self.space, self.trials)

    @property
    def losses(self) -> NDArray[np.float64]:
        """Losses, (n, m); NaN where a trial has no value."""
        return read_only(self._columns.losses[: len(self.trials)])

    @property
    def excess(self) -> NDArray[np.float64]:
        """How far each trial is beyond each of `constraints`, (n, c): above 0 breaks it; NaN where not known."""
        return read_only(self._columns.excess[: len(self.trials)])

    @property
    def violation(self) -> NDArray[np.float64]:
        """What each trial adds up to beyond the constraints, as shares of the bounds, (n,); 0 where all are kept."""
        return violation(self.constraints, self.excess)

    @property
    def feasible(self) -> NDArray[np.intp]:
        """Numbers of the complete trials that keep every constraint, ascending; without constraints `complete`."""
        return self._columns.feasible()

    @property
    def complete(self) -> NDArray[np.intp]:
        """Numbers of the complete trials that can be learnt from, ascending."""
        return self._columns.numbers(columns.COMPLETE)

    @property
    def stopped(self) -> NDArray[np.intp]:
        """Numbers of the trials stopped early that have a (partial) value, ascending."""
        return self._columns.numbers(columns.STOPPED)

    @property
    def pending(self) -> NDArray[np.intp]:
        """Numbers of the trials that have not ended: running, waiting or paused; ascending."""
        return self._columns.numbers(columns.WAITING, columns.RUNNING, columns.PAUSED)

    @property
    def failed(self) -> NDArray[np.intp]:
        """Numbers of the trials that failed on their own account, ascending; lost ones say nothing."""
        return self._columns.numbers(columns.FAILED)

    @property
    def best(self) -> Trial | None:
        """The feasible trial with the lowest first loss, the earliest of equals; None before the first."""
        if self._best is None:
            numbers = self._columns.feasible(anywhere=True)
            if len(numbers):
                self._best = int(numbers[np.argmin(self._columns.losses[numbers, 0])])
        return None if self._best is None else self.trials[self._best]

    @property
    def front(self) -> list[Trial]:
        """The feasible trials that no other feasible trial beats in every objective, by number."""
        numbers = self._columns.feasible(anywhere=True)
        return [self.trials[i] for i in numbers[non_dominated(self._columns.losses[numbers])]]

    @property
    def least_violated(self) -> Trial | None:
        """The complete trial that breaks the constraints least, the earliest of equals; None where one is feasible."""
        numbers = self._columns.numbers(columns.COMPLETE, anywhere=True)
        if not len(numbers) or self.best is not None:
            return None
        return self.trials[int(numbers[np.argmin(np.nan_to_num(self.violation[numbers], nan=np.inf))])]

    def curve(self, trial: Trial, metric: str | None = None, *, maximize: bool = False) -> list[tuple[int, float]]:
        """A trial's reports as losses.

        Args:
            trial: One of `trials`.
            metric: An objective's or a metric's name; None: the first objective.
            maximize: Whether more is better, for a metric that is no objective.

        Returns:
            (step, loss) in order of step; reports that lack the metric are left out.
        """
        objectives = self.objectives
        if metric is None or metric == objectives[0]:
            sign = self._signs[0]
            return [(report.step, sign * report.value) for report in trial.reports]
        sign = -1.0 if maximize else 1.0
        if metric in objectives:
            sign = self._signs[objectives.index(metric)]
        return [(r.step, sign * r.metrics[metric]) for r in trial.reports if metric in r.metrics]

    def loss_of(self, value: float, objective: int = 0) -> float:
        """A value in the user's sign as a loss."""
        return self._signs[objective] * value

    def value_of(self, loss: float, objective: int = 0) -> float:
        """A loss as a value in the user's sign."""
        return self._signs[objective] * loss

    # --- views --------------------------------------------------------------------------------------------

    def as_seen_by(self, trial: int, lag: int) -> History:
        """What the decisions on ``trial`` may see in a reproducible study with ``lag`` workers.

        Args:
            trial: The number of the trial that is decided on.
            lag: Results of the trials up to ``trial - lag`` are seen; the later ones look as just started, those
                behind ``trial`` are not there.

        Returns:
            A history of its own that shares the unchanged trials with this one.
        """
        view = copy.copy(self)
        known = min(len(self.trials), trial + 1)
        view.trials = self.trials[:known]
        view._columns, view._best = self._columns.first(known), None
        hidden = [n for n in range(max(0, trial - lag + 1), min(trial, known)) if self.trials[n].invalid is None]
        for number in hidden:
            kept = self.trials[number]
            view.trials[number] = Trial(number, kept.params, State.RUNNING, info=kept.info, source=kept.source)
            view._columns.set_state(view.trials[number])
            view._columns.set_results(view.trials[number])
        view.open = {t.number: t for t in view.trials if t.number in self.open or t.number in hidden}
        view.session = sorted((t for t in self.session if t.number <= trial - lag), key=lambda t: t.number)
        view._keys = {key: number for key, number in self._keys.items() if number < known}
        return view

    # --- replay -------------------------------------------------------------------------------------------

    def extend(self, records: Iterable[Record]) -> None:
        """Replay further records, in the order of the log.

        Raises:
            StoreError: If they cannot be the log of a study.
        """
        for record in records:
            self.apply(record)

    def apply(self, record: Record) -> None:
        """Replay one record. A kind of record that is not known is passed over: it is from a later hpt."""
        try:
            time, event = record["time"], record["event"]
            if self._last_time is None or event in ("amended", "joined"):
                self._last_time = time  # nobody worked in between
            elif time > self._last_time:  # another machine's clock may be behind
                self._active_seconds += time - self._last_time
                self._last_time = time
            if event in _HANDLERS:
                _HANDLERS[event](self, record)
        except (ArithmeticError, AttributeError, LookupError, TypeError, UsageError, ValueError) as err:
            raise damaged(self.position + 1, f"{type(err).__name__}: {err}") from err
        self.position += 1

    def _created(self, record: Record) -> None:
        if record["format"] > FORMAT:
            newer = f"It was written by a newer hpt (log format {record['format']}, known: {FORMAT})"
            raise StoreError(f"{newer}: update hpt-core; the log was left as it is.")
        self.provenance = record["provenance"]
        self._define(record["definition"])

    def _define(self, definition: Mapping[str, Any]) -> None:
        self.definition = definition
        self._space = Space.from_json(definition["space"])
        signs = {name: 1.0 if way == "minimize" else -1.0 for name, way in definition["objectives"].items()}
        self._columns = Columns(signs, self.constraints, len(self.trials))
        self._signs = tuple(signs.values())

    def _amended(self, record: Record) -> None:
        before = self.objectives
        self._define(record["definition"])
        self._best = None
        self._keys = {}
        inside = np.ones(len(self.trials), dtype=bool)
        for trial in self.trials:
            inside[trial.number] = self.space.contains(trial.params)
            columns.carry_over(trial, before, self.objectives)
            self._columns.set_state(trial)
            self._columns.set_results(trial)
            if trial.invalid is None and inside[trial.number]:
                self._keys.setdefault(self.space.key(trial.params), trial.number)
        self._columns.restrict(inside)

    def _joined(self, record: Record) -> None:
        self.workers[record["worker"]] = record["time"]
        self.provenance = record["provenance"]
        self.session = []

    def _heartbeat(self, record: Record) -> None:
        self.workers[record["worker"]] = record["time"]

    def _add(self, trial: Trial) -> None:
        if trial.number != len(self.trials):
            raise ValueError(f"trial {trial.number} follows trial {len(self.trials) - 1}")
        self.trials.append(trial)
        self._columns.add()
        self.open[trial.number] = trial
        self._keys.setdefault(self.space.key(trial.params), trial.number)

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
                return  # a worker that was thought dead; what it does is not the trial's history
            if not self.resumable:
                trial.reports = []  # it begins anew
        trial.state, trial.worker, trial.attempt = State.RUNNING, record["worker"], record["attempt"]
        trial.started, trial.reason, trial.rule = record["time"], "", ""
        self._columns.set_state(trial)

    def _current(self, record: Record) -> Trial | None:
        """The record's trial, if it runs and the record comes from the attempt that is running."""
        trial = self.trials[record["trial"]]
        running = trial.state is State.RUNNING and record["attempt"] == trial.attempt
        return trial if running else None

    def _reported(self, record: Record) -> None:
        trial = self._current(record)
        if trial is not None:
            trial.reports.append(Report(record["step"], record["value"], record.get("metrics", {})))

    def _paused(self, record: Record) -> None:
        trial = self._current(record)
        if trial is not None:
            trial.reason, trial.rule = record["reason"], record["rule"]
            self._set_aside(trial, State.PAUSED)

    def _released(self, record: Record) -> None:
        trial = self._current(record)
        if trial is not None:
            self._set_aside(trial, State.WAITING)

    def _set_aside(self, trial: Trial, state: State) -> None:
        trial.state = state
        self._columns.set_state(trial)
        if trial.invalid is not None:  # it is not taken up again
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
        if "values" in record:
            trial.values = tuple(record["values"])
            self._columns.set_results(trial)
        self._columns.set_state(trial)
        self.open.pop(trial.number, None)
        self.session.append(trial)
        self._raise_best(trial)

    def _invalidated(self, record: Record) -> None:
        trial = self.trials[record["trial"]]
        if trial.invalid is not None:
            return
        trial.invalid = record["reason"]
        self.invalid_count += 1
        self._columns.set_state(trial)
        if trial.state is not State.RUNNING:  # one that runs has still to come to its end
            self.open.pop(trial.number, None)
        self._best = None
        key = self.space.key(trial.params)
        if self._keys.get(key) == trial.number:
            del self._keys[key]
            for other in self.trials:
                if other.invalid is None and self.space.key(other.params) == key:
                    self._keys.setdefault(key, other.number)

    def _stopped(self, record: Record) -> None:
        self.stop = record

    def _note(self, record: Record) -> None:
        self.notes[record["subject"]] = record["content"]

    def _raise_best(self, trial: Trial) -> None:
        feasible = trial.state is State.COMPLETE and (self._columns.excess[trial.number] <= 0.0).all()
        if feasible and trial.invalid is None and self._best is not None:
            self._best = min(self._best, trial.number, key=lambda number: (self._columns.losses[number, 0], number))


_EVENTS = (
    *("created", "amended", "joined", "heartbeat", "enqueued", "started", "reported", "paused", "released"),
    *("finished", "invalidated", "stopped", "note"),
)
_HANDLERS: dict[str, Callable[[History, Record], None]] = {event: getattr(History, f"_{event}") for event in _EVENTS}
