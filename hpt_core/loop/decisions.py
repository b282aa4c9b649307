"""Decides what happens next in a study: which trial starts, which is resumed, when the study stops.

Every decision is a pure function of the log and the seed. It is recorded with the log position that it was based on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from hpt_core import liveness
from hpt_core.components import Pause, Sampler, Stop, Suggestion
from hpt_core.errors import DefinitionChangedError, PluginError, SpaceExhausted
from hpt_core.history import events
from hpt_core.history.checks import check_report
from hpt_core.history.trial import Failure, State, Trial
from hpt_core.loop.guard import Repeat, guarded_suggestion
from hpt_core.loop.ledger import Ledger
from hpt_core.loop.notes import plain
from hpt_core.loop.rules import ask, ending, retired, same_failure

if TYPE_CHECKING:
    from hpt_core.history.history import History
    from hpt_core.loop.results import Result

__all__ = ["OWN_REASONS", "Decisions"]

OWN_REASONS = frozenset({"budget", "max_failures", "space"})
"""The ``rule`` of a ``stopped`` record that the core decided, and no stopping rule of the study."""

_MAX_REPEATS = 1_000


@attrs.define
class Decisions:
    """Makes and records the decisions of one study.

    Attributes:
        ledger: The study's log.
        sampler: Suggests points.
        rules: (name, stopping rule), asked in order. The first `Stop` ends the trial or the study.
        duplicates: See `hpt_core.Study`.
        lag: 0: decide from all results. k: decide on trial t from the results of trials <= t - k only.
        retries: How often in a row a lost trial is rerun.
        max_failures: A run ends if this many trials at its start fail with the same error.
    """

    ledger: Ledger
    sampler: Sampler
    rules: Sequence[tuple[str, Any]]
    duplicates: str
    lag: int
    retries: int
    max_failures: int

    # --- taking a trial -------------------------------------------------------------------------------

    def claim(self, worker: str, budget: int | None, *, judge: bool = True) -> Trial | Stop | None:
        """Start the next trial under the store's lock.

        Args:
            worker: The worker that claims it.
            budget: The most trials that the study may have in total; None: no limit.
            judge: Whether to ask the study-level rules.

        Returns:
            The trial, now running; a `Stop`; or None: try again when more results are in. None occurs in a reproducible
            study, and if only the result of a running trial can still lead to a promotion.
        """
        with self.ledger.lock():
            if liveness.owner_of(worker) in self.ledger.sync().outdated:
                head = f"Another process amended the study {self.ledger.name!r}, and this one has the old definition"
                raise DefinitionChangedError(f"{head}: open the study again to continue.")
            for _ in range(_MAX_REPEATS):
                claimed = self._claim(worker, budget, judge=judge)
                if not isinstance(claimed, Repeat):
                    return claimed
                self._reuse(claimed, worker)
            return self._stop_study("space", Stop(f"the sampler repeated known points {_MAX_REPEATS} times in a row"))

    def _claim(self, worker: str, budget: int | None, *, judge: bool) -> Trial | Stop | Repeat | None:
        history = self.ledger.history
        waiting = [history.trials[number] for number in history.waiting.tolist()] if history.open else []
        decided_on = waiting[0].number if waiting else history.next_number
        if self._must_wait(decided_on):
            return None
        number = history.next_number
        view = self._view(history, decided_on)
        stop = self._judge_study(view) if judge else None
        if stop is not None:
            return stop
        for trial in waiting:
            if trial.attempt:  # a rerun of a lost trial, which the budget already counts
                return self._rerun(trial, worker) or self._claim(worker, budget, judge=judge)
        if budget is not None and number - history.invalid_count - len(waiting) >= budget:
            return self._wind_up(view, decided_on, worker, "budget", _used_up(budget))
        if waiting:
            return self._start(waiting[0], worker)
        if self._must_run_alone(view):
            return None
        view = self._retire(view, number)
        promoted = self._promoted(view)
        if promoted is not None:
            return self._start(promoted, worker)
        return self._start_new(view, number, worker)

    def _must_wait(self, number: int) -> bool:
        """Whether a reproducible study must wait for results before it decides on this trial."""
        return bool(self.lag) and any(trial.number <= number - self.lag for trial in self._running_trials())

    def _running_trials(self) -> list[Trial]:
        return [trial for trial in self.ledger.history.open.values() if trial.state is State.RUNNING]

    def _must_run_alone(self, view: History) -> bool:
        """Whether, in a reproducible study, a trial is to be resumed or retired that running ones would see change."""
        asked = self.rules if self.lag > 1 and self._running_trials() else ()
        return any(retired(n, rule, view) or ask(n, rule, "promote", view) is not None for n, rule in asked)

    def _view(self, history: History, number: int) -> History:
        return history if self.lag <= 1 else history.as_seen_by(number, self.lag)

    def _judge_study(self, view: History) -> Stop | None:
        failing = same_failure(view.session[: self.max_failures], self.max_failures)
        if failing is not None:
            return self._stop_study("max_failures", failing)
        if self.rules:
            view.clock = self.ledger.now()
            for name, rule in self.rules:
                stop = ask(name, rule, "judge_study", view)
                if stop is not None:
                    return self._stop_study(name, stop)
        return None

    def _stop_study(self, rule: str, stop: Stop) -> Stop:
        history = self.ledger.history
        last = history.stop
        if last is None or last["reason"] != stop.reason or last["seen"] + 1 < history.position:
            evidence = plain(stop.evidence, f"{rule}: evidence")
            self.ledger.write(events.study_stopped(self.ledger.now(), history.position, rule, stop.reason, evidence))
        return stop

    def _start(self, trial: Trial, worker: str) -> Trial:
        point = Suggestion(trial.params, source=trial.source)
        self.ledger.write(self._start_record(trial.number, point, worker, trial.attempt + 1))
        return trial

    def _rerun(self, trial: Trial, worker: str) -> Trial | None:
        """Start a lost trial again. Returns None if a rule ends it at once.

        Its last report is judged again, as its worker may have been lost before a decision on it was recorded.
        """
        self._start(trial, worker)
        if trial.number not in self.ledger.history.undecided or not trial.reports:  # one that starts over has none
            return trial
        try:
            return trial if self._judge(trial) is None else None
        except BaseException:
            self.fail(trial, Failure("interrupted", "a plugin or the store failed while its last report was judged"))
            raise

    def _start_record(self, number: int, point: Suggestion, worker: str, attempt: int = 1) -> events.Record:
        now, seen, params = self.ledger.now(), self.ledger.history.position, dict(point.params)
        return events.started(now, number, params, worker, attempt, seen, point.source, point.info)

    def _wind_up(self, view: History, number: int, worker: str, rule: str, stop: Stop) -> Trial | Stop | None:
        """Decide if no new trial can start: resume a paused one, wait for running ones, or stop the study."""
        states = {trial.state for trial in self.ledger.history.open.values()}
        if State.PAUSED in states and State.RUNNING in states and self.lag > 1:
            return None  # the running trials would see the paused ones change
        if State.PAUSED in states:
            promoted = self._promoted_at_end(view, number)
            if promoted is None and State.RUNNING in states:
                return None
            if promoted is None and self.lag > 1:  # no trial is running: no result needs to stay hidden
                promoted = self._promoted_at_end(self.ledger.history, number + self.lag)
            if promoted is not None:
                return self._start(promoted, worker)
        return self._stop_study(rule, stop)

    def _promoted_at_end(self, view: History, number: int) -> Trial | None:
        view.closing = True
        try:
            return self._promoted(self._retire(view, number))
        finally:
            view.closing = False

    def _retire(self, view: History, number: int) -> History:
        """Stop the paused trials that the rules retire. Returns the view for the rest of this decision."""
        for name, rule in self.rules:
            seen, given_up = self.ledger.history.position, retired(name, rule, view)
            for paused, stop in given_up.items():
                self._record(self._paused(paused, name, "retires"), name, stop, seen)
            if given_up:
                closing, view = view.closing, self._view(self.ledger.history, number)
                view.closing = closing
        return view

    def _promoted(self, view: History) -> Trial | None:
        """The paused trial to resume, if a rule promotes one."""
        for name, rule in self.rules:
            number = ask(name, rule, "promote", view)
            if number is not None:
                return self._paused(number, name, "promotes")
        return None

    def _paused(self, number: int, rule: str, verb: str) -> Trial:
        trial = self.ledger.history.open.get(number)
        if trial is None or trial.state is not State.PAUSED:
            raise PluginError(f"The stopping rule {rule!r} {verb} trial {number}, which is not paused.")
        return trial

    def _start_new(self, view: History, number: int, worker: str) -> Trial | Stop | Repeat | None:
        try:
            proposed = guarded_suggestion(self.sampler, view, number, self.duplicates)
        except SpaceExhausted as end:
            stop = Stop(f"space exhausted{f': {end}' if str(end) else ''}")
            return self._wind_up(view, number, worker, "space", stop)
        if isinstance(proposed, Repeat):
            return proposed
        self.ledger.write(self._start_record(number, proposed, worker))
        return self.ledger.history.trials[number]

    def _reuse(self, repeat: Repeat, worker: str) -> None:
        """Record a repeated point as a new trial with the result of the earlier one."""
        history = self.ledger.history
        number, original = history.next_number, history.trials[repeat.original]
        start = self._start_record(number, repeat.suggestion, worker)
        reason = f"the same point as trial {original.number}"
        end = events.complete(start["time"], number, 1, original.values or (), original.metrics, reason)
        self.ledger.write(start, end)

    # --- while a trial runs ---------------------------------------------------------------------------

    def report(self, trial: Trial, report: object, attempt: int | None = None) -> Stop | Pause | None:
        """Record one report, ask the rules, and record their decision.

        Args:
            trial: The trial.
            report: The report.
            attempt: The attempt that reported. If it has ended, the replay ignores the report. None: the current one.

        Raises:
            EvaluationError: If the report is invalid.
        """
        last = trial.reports[-1].step if trial.reports else 0
        attempt = attempt or trial.attempt
        checked = check_report(report, last)
        with self.ledger.mutex:
            self.ledger.write(events.reported(self.ledger.now(), trial.number, attempt, checked))
            if trial.attempt != attempt or trial.state is not State.RUNNING:
                return None  # another process declared this attempt lost
            return self._judge(trial)

    def _judge(self, trial: Trial) -> Stop | Pause | None:
        """Ask the rules about a trial's last report, and record their decision."""
        if not self.rules:
            return None
        seen = self.ledger.history.position
        view = self._view(self.ledger.history, trial.number)
        for name, rule in self.rules:
            decision: Stop | Pause | None = ask(name, rule, "judge_trial", view, trial)
            if decision is not None:
                self._record(trial, name, decision, seen)
                return decision
        return None

    def _record(self, trial: Trial, rule: str, decision: Stop | Pause, seen: int) -> None:
        now, evidence = self.ledger.now(), plain(decision.evidence, f"{rule}: evidence")
        if isinstance(decision, Pause):
            self.ledger.write(events.paused(now, trial.number, trial.attempt, seen, rule, decision.reason, evidence))
            return
        state, values, metrics = ending(rule, decision, self.ledger.history, trial)
        why = (seen, rule, decision.reason, evidence)
        if state is State.COMPLETE and values is not None:
            record = events.completed_early(now, trial.number, trial.attempt, values, metrics, *why)
        else:
            record = events.stopped_early(now, trial.number, trial.attempt, values, *why)
        self.ledger.write(record)

    # --- how a trial ends -----------------------------------------------------------------------------

    def end(self, trial: Trial, result: Result) -> Trial:
        """Record a trial's result as the user gave it. A `Stop` without a value gets the value of the reports."""
        if isinstance(result, Stop):
            self._record(trial, "given", result, self.ledger.history.position)
        elif isinstance(result, Failure):
            self.fail(trial, result)
        else:
            self.complete(trial, *result)
        return trial

    def complete(
        self, trial: Trial, values: Sequence[float], metrics: Mapping[str, float], attempt: int | None = None
    ) -> None:
        """Record that a trial completed, in this attempt (None: the current one)."""
        now = self.ledger.now()
        self.ledger.write(events.complete(now, trial.number, attempt or trial.attempt, values, metrics))

    def fail(self, trial: Trial, failure: Failure, attempt: int | None = None, at: float | None = None) -> None:
        """Record that a trial failed; or, if it was interrupted or may be retried, that it waits for a rerun.

        Args:
            trial: The trial.
            failure: Why it failed.
            attempt: The attempt that failed. None: the current one.
            at: When it failed, in Unix seconds. None: now.
        """
        now, attempt = at or self.ledger.now(), attempt or trial.attempt
        times_lost = self.ledger.history.times_lost.get(trial.number, 0)  # attempts also count promotions
        may_retry = failure.kind == "worker-lost" and times_lost < self.retries
        if may_retry or failure.kind == "interrupted":
            record = events.released(now, trial.number, attempt, failure.kind)
        else:
            record = events.failed(now, trial.number, attempt, failure)
        self.ledger.write(record)

    def lost(self, worker: str, failure: Failure) -> bool:
        """Record the failure of the trial that a dead worker held. Returns whether it held one."""
        with self.ledger.mutex:
            self.ledger.sync()
            held = [trial for trial in self._running_trials() if trial.worker == worker]
            for trial in held:
                self.fail(trial, failure)
        return bool(held)

    def recover(self) -> bool:
        """Release the trials of dead processes. Returns whether there were any."""
        found = False
        with self.ledger.mutex:  # the heartbeat thread replays, too
            history = self.ledger.sync()
            for trial in self._running_trials():
                owner = liveness.owner_of(trial.worker)
                last_seen = history.workers[owner]
                if not liveness.is_alive(owner, self.ledger.now() - last_seen):
                    lost = Failure("worker-lost", f"its process {owner} is gone")
                    self.fail(trial, lost, at=last_seen)  # it may have died long ago: that is no work on the trial
                    found = True
        return found


def _used_up(budget: int) -> Stop:
    return Stop("the only trial was started" if budget == 1 else f"all {budget} trials were started")
