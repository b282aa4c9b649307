"""The one loop: take a trial, evaluate it, record what it says, until the study has had enough."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

from hpt_core import events, liveness
from hpt_core.components import Stop, Store, fit_together, look_ahead
from hpt_core.errors import EvaluationError, NothingSucceededError, PluginError, StoreError
from hpt_core.evidence import estimate, measured
from hpt_core.export import ending, shortfall
from hpt_core.guard import plain
from hpt_core.trial import FAILURE_KINDS, Failure, Report, State, Trial, check_result
from hpt_core.watched import unreported

if TYPE_CHECKING:
    from types import TracebackType

    from hpt_core.study import Study

__all__ = ["Worker", "run_study"]

_LOG = logging.getLogger("hpt")

_OUR_FOLDERS = tuple(str(Path(str(module.__file__)).parent) for module in (pluggy, events))
_DETAIL_LIMIT = 64 * 1024
_MESSAGE_LIMIT = 2_000
_SHORTEST_NAP, _LONGEST_NAP, _LONGER = 0.01, 0.25, 1.1
"""Seconds; each nap is longer than the last by a tenth, so that a wait gets no longer than by a tenth."""

_RECOVER_SECONDS = 10.0


def run_study(study: Study, budget: int | None, workers: int) -> str:
    """Run a study here or in several workers; see `Study.run`."""
    fit_together(study.evaluator, study.rules)
    decisions = study.decisions
    look_ahead((study.evaluator, study.sampler, *study.rules), study.space, study.objectives)
    before = decisions.ledger.history.position
    reason = "ended"
    study.plugins.study_started(study)
    decisions.ledger.observer = _Observer(study)
    worker = Worker(study, budget)
    workers = workers if budget is None else max(1, min(workers, budget))  # more would have nothing to do
    try:
        with _Heartbeat(study):
            elsewhere = study.settings.trial_timeout is not None or getattr(study.executor, "elsewhere", False)
            if workers == 1 and not elsewhere:
                reason = worker(liveness.this_process())
            else:
                _tell_what_stays_behind(study)
                study.executor.run(worker, workers, worker.lost)
                reason = _reason_since(study, before)
        _discard(study, decisions.ledger.history.trials)
        _conclude(study)
        none_keeps = shortfall(decisions.ledger.history)
        if none_keeps:
            _LOG.warning("%s.", none_keeps)
        for said in unreported(study.named_rules, decisions.ledger.history):
            _LOG.warning("%s", said)
    except KeyboardInterrupt:
        reason = "interrupted"
        decisions.lost(liveness.this_process(), Failure("interrupted", "interrupted by the user"))
        raise
    finally:
        decisions.ledger.observer = None
        study.plugins.study_finished(study, reason)
    return reason


def _tell_what_stays_behind(study: Study) -> None:
    for plugin in study.plugins.plugins:
        if "hpt_evaluate" in plugin.hooks and not plugin.distribution and not plugin.problem:
            message = (
                "Trials in other processes go without the hpt_evaluate of the plugin %r that this program registered: "
                "workers have the installed plugins. Install it, or run with workers=1 and no trial_timeout."
            )
            _LOG.warning(message, plugin.name)


class Worker:
    """The loop as an executor runs it; travels to other processes and machines.

    The process that makes it answers for all that it runs: in the log a worker is called after that one.

    Args:
        study: The study.
        budget: How many trials the study may have in all; None: no limit.
    """

    def __init__(self, study: Study, budget: int | None) -> None:
        self.study = study
        self.budget = budget
        self._owner = liveness.this_process()
        self.trial_timeout = study.settings.trial_timeout
        self.store: Store = _StudyStore(study)

    def __getstate__(self) -> dict[str, Any]:
        """Travel without the supervisor's view of the store."""
        return {**self.__dict__, "store": None}

    def __call__(self, name: str, store: Store | None = None) -> str:
        """Run the loop as worker ``name`` until there is nothing more to do; returns why, in words."""
        study = self.study
        name = self._in_log(name)
        if store is not None:
            study.serve(store)
        recover_at = time.monotonic() + _RECOVER_SECONDS
        nap = _SHORTEST_NAP
        while True:
            if store is None and not liveness.is_alive(self._owner, 0.0):  # one that is served hears of it
                return "the process that ran the study is gone"
            claimed = study.decisions.claim(name, self.budget)
            if isinstance(claimed, Stop):
                _raise_if_failing(study)
                if study.decisions.recover():
                    continue  # what a process that died meanwhile left is run before this one ends
                return claimed.reason
            if claimed is None:
                time.sleep(nap)
                nap = min(nap * _LONGER, _LONGEST_NAP)
            else:
                nap = _SHORTEST_NAP
                evaluate(study, claimed, served=store is not None)
                _discard(study, [claimed])
            if time.monotonic() > recover_at:
                study.decisions.recover()
                recover_at = time.monotonic() + _RECOVER_SECONDS

    def lost(self, name: str, failure: Failure) -> bool:
        """Record that a worker died; returns whether to start another: one that dies idle would die again."""
        return self.study.decisions.lost(self._in_log(name), failure)

    def _in_log(self, name: str) -> str:
        return name if liveness.owner_of(name) == self._owner else f"{self._owner}/{name}"


def evaluate(study: Study, trial: Trial, *, served: bool = False) -> None:
    """Evaluate a claimed trial and record how it ended. What the evaluator raises never leaves this function.

    Args:
        study: The study.
        trial: The trial.
        served: Whether this is a worker of another process, which Ctrl-C does not reach.

    Raises:
        KeyboardInterrupt: If the user interrupts, after the trial was released.
        PluginError: If a stopping rule fails.
        StoreError: If the store does.
    """
    decisions, attempt = study.decisions, trial.attempt
    try:
        outcome: object = study.plugins.evaluate(study, study.context(trial))
        if isinstance(outcome, Iterator):
            outcome = _consume(study, trial, attempt, outcome)
            if outcome is None:
                return  # a rule stopped or paused it, which is recorded
        values, metrics = check_result(outcome, tuple(study.objectives), study.constraints)
    except KeyboardInterrupt as err:
        failure = failure_of(err, study.evaluator) if served else Failure("interrupted", "interrupted by the user")
        decisions.fail(trial, failure, attempt)
        if not served:
            raise
        return
    except (PluginError, StoreError):
        decisions.fail(trial, Failure("interrupted", "a plugin or the store failed beside it"), attempt)
        raise
    except BaseException as err:  # noqa: BLE001 - SystemExit in a trial is its failure too
        decisions.fail(trial, failure_of(err, study.evaluator), attempt)
        return
    decisions.complete(trial, values, metrics, attempt)


def _consume(study: Study, trial: Trial, attempt: int, reports: Iterator[Report]) -> object | None:
    """Record reports as they come. Returns the result, None where a rule ended the trial, or it is no more ours."""
    decisions = study.decisions
    while True:
        try:
            report = next(reports)
        except StopIteration as end:
            result = end.value
            break
        try:
            decision = decisions.report(trial, report, attempt)
        except BaseException:
            _close(reports)
            raise
        if decision is not None or trial.state is not State.RUNNING or trial.attempt != attempt:
            _close(reports)
            return None
    if result is None:
        kind, (_, *others) = study.ledger.history.evidence, study.objectives
        values = estimate(kind, trial.reports, others)
        if values is None:
            msg = "The evaluator's generator neither reported nor returned a value for every objective."
            raise EvaluationError(msg, kind="invalid-value")
        metrics = measured(kind, trial.reports, trial.reports[-1].metrics)
        return {**metrics, **dict(zip(study.objectives, values, strict=True))}
    return result  # type: ignore[no-any-return]


def _close(reports: Iterator[Report]) -> None:
    """Let the generator clean up; an error in that does not change what was decided."""
    close = getattr(reports, "close", None)
    if close is not None:
        try:
            close()
        except KeyboardInterrupt:
            raise
        except BaseException:  # noqa: BLE001 - a stranger's code may raise anything, SystemExit too
            _LOG.exception("The evaluator failed while it was closed.")


def failure_of(err: BaseException, evaluator: object = None) -> Failure:
    """Describe an exception that ended a trial, raised by way of ``evaluator``."""
    try:
        message = f"{type(err).__name__}: {err}"[:_MESSAGE_LIMIT]
    except Exception:  # noqa: BLE001 - a stranger's code may raise anything
        message = type(err).__name__
    trace = _beyond_us(err.__traceback__, evaluator)
    detail = "".join(traceback.format_exception(type(err), err, trace))[-_DETAIL_LIMIT:]
    if isinstance(err, EvaluationError):
        kind = err.kind if err.kind in FAILURE_KINDS else "error"
        said = message.removeprefix(f"{type(err).__name__}: ")
        return Failure(kind, said, (err.detail or (detail if err.__cause__ else ""))[-_DETAIL_LIMIT:])
    return Failure("out-of-memory" if isinstance(err, MemoryError) else "error", message, detail)


def _beyond_us(trace: TracebackType | None, evaluator: object) -> TracebackType | None:
    """Leave out the frames of hpt and of the evaluator's package that led to what failed, unless it is theirs."""
    package = sys.modules.get(type(evaluator).__module__.partition(".")[0])
    folders = (*_OUR_FOLDERS, *getattr(package, "__path__", ()))
    beyond = frame = trace
    while frame is not None:  # a plugin that wraps the evaluation stands between us and the evaluator
        if frame.tb_frame.f_code.co_filename.startswith(_OUR_FOLDERS[0]):
            beyond = frame
        frame = frame.tb_next
    while beyond is not None and beyond.tb_frame.f_code.co_filename.startswith(folders):
        beyond = beyond.tb_next
    return beyond or trace


def _raise_if_failing(study: Study) -> None:
    history = study.ledger.history
    if history.stop is None or history.stop["rule"] != "max_failures":
        return
    failure = history.trials[history.stop["evidence"]["trials"][0]].failure
    reason, detail = str(history.stop["reason"]), failure.detail.strip() if failure else ""
    if failure and detail.endswith(failure.message):  # once is enough
        reason = reason.removesuffix(f": {failure.message}") + ":"
    raise NothingSucceededError(f"{reason}\n\n{detail}".strip())


def _reason_since(study: Study, position: int) -> str:
    stop = study.decisions.ledger.sync().stop
    if stop is None or stop["seen"] < position:
        return "its workers ended"
    return str(stop["reason"])


def _discard(study: Study, trials: Iterable[Trial]) -> None:
    """Let the evaluator remove what it keeps for trials that ended without a result of their own, long ago too."""
    discard = getattr(study.evaluator, "discard", None)
    if discard is None:
        return
    for trial in trials:
        if trial.state in (State.FAILED, State.STOPPED):
            try:
                discard(study.context(trial))
            except Exception:  # noqa: BLE001 - a stranger's code may raise anything; the trial has ended all the same
                _LOG.exception("The evaluator failed to discard trial %d.", trial.number)


def _conclude(study: Study) -> None:
    """Let the evaluator refit and save the winner, once for each winner."""
    conclude = getattr(study.evaluator, "conclude", None)
    best = study.ledger.history.best
    if conclude is None or best is None or len(study.objectives) > 1:
        return
    noted = study.ledger.history.notes.get("conclusion", {})
    if noted.get("trial") == best.number:
        return
    try:
        content = conclude(study.context(best))
    except Exception as err:
        msg = f"The evaluator failed in conclude() on the winner, trial {best.number}: {type(err).__name__}: {err}"
        raise PluginError(msg) from err
    if content is not None and not isinstance(content, Mapping):
        raise PluginError(f"The evaluator's conclude() must give a mapping or None. Got {content!r:.80}.")
    if content:
        note = {"trial": best.number, **plain(content, "conclude()")}
        study.ledger.write(events.note(study.ledger.now(), "conclusion", note))


class _Observer:
    """Tells the observing hooks what this process and the workers it supervises write."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._me = liveness.this_process()
        self._pid = os.getpid()

    def __call__(self, record: Mapping[str, Any]) -> None:
        if "trial" not in record or os.getpid() != self._pid:  # a forked worker has a copy of this
            return
        study, event = self._study, record["event"]
        trial = study.ledger.history.trials[record["trial"]]
        if liveness.owner_of(trial.worker) != self._me:
            return
        if event == "started":
            study.plugins.trial_started(study, trial)
        elif event == "reported":
            study.plugins.trial_reported(study, trial)
        elif event in ("finished", "paused"):
            if _LOG.isEnabledFor(logging.INFO):
                _LOG.info("%s", ending(study.ledger.history, trial))
            study.plugins.trial_finished(study, trial)


class _StudyStore:
    """The supervisor's store as its workers are served: what they write passes the supervisor's own history."""

    def __init__(self, study: Study) -> None:
        self._ledger = study.ledger

    def append(self, study: str, records: Sequence[events.Record]) -> int:  # noqa: ARG002 - it is the supervisor's
        """Write, and let the supervisor's history take it in."""
        return self._ledger.write(*records)

    def read(self, study: str, after: int = 0) -> Sequence[events.Record]:
        """Read."""
        return self._ledger.store.read(study, after)

    def studies(self) -> Sequence[str]:
        """List."""
        return self._ledger.store.studies()

    def lock(self, study: str) -> Any:
        """Lock."""
        return self._ledger.store.lock(study)

    def close(self) -> None:
        """The supervisor closes its store itself."""


class _Heartbeat:
    """Writes now and then, from a thread, that this process is still at it; others on other machines rely on it."""

    def __init__(self, study: Study) -> None:
        self._ledger = study.ledger
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True, name="hpt-heartbeat")

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _beat(self) -> None:
        me = liveness.this_process()
        while not self._stop.wait(liveness.LEASE_SECONDS / 5):
            try:
                self._ledger.write(events.heartbeat(self._ledger.now(), me))
            except StoreError as err:  # it may pass, and a store that is gone for good ends the run by itself
                _LOG.warning("No heartbeat could be written: %s", err)
