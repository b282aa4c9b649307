"""The worker loop: claim a trial, evaluate it, record its reports and result, until the study stops."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from hpt_core import liveness
from hpt_core.components import Stop, Store
from hpt_core.errors import EvaluationError, NothingSucceededError, PluginError, StoreError
from hpt_core.history.checks import check_result
from hpt_core.history.evidence import estimate, measured
from hpt_core.history.export import repeated_failure
from hpt_core.history.failures import failure_of
from hpt_core.history.trial import Failure, Report, State, Trial

if TYPE_CHECKING:
    from hpt_core.history.events import Record
    from hpt_core.study.study import Study

__all__ = ["Worker", "clean_up"]

_LOG = logging.getLogger("hpt")

_SHORTEST_NAP, _LONGEST_NAP, _NAP_GROWTH = 0.01, 0.25, 1.1
"""Seconds, and the factor between two naps. A growth of a tenth overshoots the end of a wait by at most a tenth."""

_RECOVER_SECONDS = 10.0


class Worker:
    """The loop as an executor runs it. Picklable, so that it can be sent to other processes and machines.

    The process that creates it owns all workers: their names in the log begin with the name of that process.

    Args:
        study: The study.
        budget: The most trials that the study may have in total; None: no limit.
    """

    def __init__(self, study: Study, budget: int | None) -> None:
        self.study = study
        self.budget = budget
        self._owner = liveness.this_process()
        self.trial_timeout: float | None = study.settings.trial_timeout
        self.store: Store = _StudyStore(study)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the supervisor's store."""
        return {**self.__dict__, "store": None}

    def __call__(self, name: str, store: Store | None = None) -> str:
        """Run the loop as worker ``name`` until the study stops. Returns the reason."""
        study = self.study
        name = self._in_log(name)
        if store is not None:
            study.serve(store)
        recover_at = time.monotonic() + _RECOVER_SECONDS
        nap, warned = _SHORTEST_NAP, False
        while True:
            if store is None and not liveness.is_alive(self._owner, 0.0):  # a served worker notices by its connection
                return "the process that ran the study is gone"
            claimed = study.decisions.claim(name, self.budget)
            if isinstance(claimed, Stop):
                _raise_if_failing(study)
                if study.decisions.recover():
                    continue  # first rerun the trials of a process that died in the meantime
                return claimed.reason
            if claimed is None:
                warned = warned or store is not None or _warns_of_asked(study, self._owner)
                time.sleep(nap)
                nap = min(nap * _NAP_GROWTH, _LONGEST_NAP)
            else:
                nap = _SHORTEST_NAP
                evaluate(study, claimed, served=store is not None)
                clean_up(study, [claimed])
            if time.monotonic() > recover_at:
                study.decisions.recover()
                recover_at = time.monotonic() + _RECOVER_SECONDS

    def lost(self, name: str, failure: Failure) -> bool:
        """Record that a worker died. Returns whether to replace it: not if it was idle, as the next would die too."""
        return self.study.decisions.lost(self._in_log(name), failure)

    def _in_log(self, name: str) -> str:
        return name if liveness.owner_of(name) == self._owner else f"{self._owner}/{name}"


def _warns_of_asked(study: Study, process: str) -> bool:
    """Warn if a worker of this process waits for trials that `Study.ask` started in it, as only `tell` ends those."""
    with study.ledger.mutex:  # the heartbeat thread replays, too
        opened = study.ledger.history.open.items()
        asked = [str(number) for number, trial in opened if trial.state is State.RUNNING and trial.worker == process]
    if asked:
        _LOG.warning("The run waits for trials that ask() started and no tell() ended: %s.", ", ".join(asked))
    return bool(asked)


def evaluate(study: Study, trial: Trial, *, served: bool = False) -> None:
    """Evaluate a claimed trial and record how it ended. An exception of the evaluator is recorded, not raised.

    Args:
        study: The study.
        trial: The trial.
        served: Whether this worker is served by another process and so does not receive Ctrl-C.

    Raises:
        KeyboardInterrupt: If the user interrupts, after the trial was released.
        PluginError: If a stopping rule or the evaluator raises it.
        StoreError: If the store of this study fails.
    """
    decisions, attempt = study.decisions, trial.attempt
    try:
        with _in_evaluator(study):
            outcome: object = study.plugins.evaluate(study, study.context(trial))
        if isinstance(outcome, Iterator):
            outcome = _consume(study, trial, attempt, outcome)
            if outcome is None:
                return  # a rule stopped or paused the trial, and that is recorded
        values, metrics = check_result(outcome, tuple(study.objectives), study.constraints)
    except KeyboardInterrupt as err:
        failure = failure_of(err, study.evaluator) if served else Failure("interrupted", "interrupted by the user")
        decisions.fail(trial, failure, attempt)
        if not served:
            raise
        return
    except (PluginError, StoreError):
        decisions.fail(trial, Failure("interrupted", "a plugin or the store failed while it ran"), attempt)
        raise
    except BaseException as err:  # noqa: BLE001 - SystemExit is a failure of the trial, too
        decisions.fail(trial, failure_of(err, study.evaluator), attempt)
        return
    decisions.complete(trial, values, metrics, attempt)


@contextmanager
def _in_evaluator(study: Study) -> Iterator[None]:
    """Let a `StoreError` fail the trial only: it comes from another store, such as that of a study within the trial."""
    try:
        yield
    except StoreError as err:
        failure = failure_of(err, study.evaluator)
        raise EvaluationError(failure.message, detail=failure.detail) from err


def _consume(study: Study, trial: Trial, attempt: int, reports: Iterator[Report]) -> object:
    """Record reports as they arrive. Returns the result; None if a rule or another process ended this attempt."""
    decisions = study.decisions
    while True:
        try:
            with _in_evaluator(study):
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
    return _result_of_reports(study, trial) if result is None else result


def _result_of_reports(study: Study, trial: Trial) -> dict[str, float]:
    kind, (_, *others) = study.ledger.history.evidence, study.objectives
    values = estimate(kind, trial.reports, others)
    if values is None:
        msg = "The evaluator neither reported nor returned a value for every objective."
        raise EvaluationError(msg, kind="invalid-value")
    metrics = measured(kind, trial.reports, trial.reports[-1].metrics)
    return {**metrics, **dict(zip(study.objectives, values, strict=True))}


def _close(reports: Iterator[Report]) -> None:
    """Let the generator clean up. An error in the cleanup is logged and changes no decision."""
    close = getattr(reports, "close", None)
    if close is not None:
        try:
            close()
        except KeyboardInterrupt:
            raise
        except BaseException:  # noqa: BLE001 - third-party code may raise anything, SystemExit included
            _LOG.exception("The evaluator failed while its generator was closed.")


def _raise_if_failing(study: Study) -> None:
    failing = repeated_failure(study.ledger.history)
    if failing:
        raise NothingSucceededError(failing)


def clean_up(study: Study, trials: Iterable[Trial]) -> None:
    """Tell the evaluator of the trials, including those of earlier runs, that ended without its own result."""
    for trial in trials:
        if trial.state in (State.FAILED, State.STOPPED):
            method = "discard"
        elif trial.state is State.COMPLETE and trial.rule:
            method = "finish"
        else:
            continue
        function = getattr(study.evaluator, method, None)
        if function is not None:
            try:
                function(study.context(trial))
            except Exception:  # noqa: BLE001 - third-party code may raise anything
                _LOG.exception("The evaluator failed to %s trial %d.", method, trial.number)


class _StudyStore:
    """The store that a supervisor serves to its workers. Their writes update the supervisor's own history."""

    def __init__(self, study: Study) -> None:
        self._ledger = study.ledger

    def append(self, study: str, records: Sequence[Record]) -> int:  # noqa: ARG002 - the ledger knows the study
        """Write, and replay the records into the supervisor's history."""
        return self._ledger.write(*records)

    def read(self, study: str, after: int = 0) -> Sequence[Record]:
        """See `Store.read`."""
        return self._ledger.store.read(study, after)

    def studies(self) -> Sequence[str]:
        """See `Store.studies`."""
        return self._ledger.store.studies()

    def lock(self, study: str) -> Any:
        """See `Store.lock`."""
        return self._ledger.store.lock(study)

    def close(self) -> None:
        """Do nothing: the supervisor closes its store itself."""
