"""Runs a study, in this process or in several workers: from the checks before the first trial to the conclusion."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import attrs

from hpt_core import liveness
from hpt_core.errors import PluginError, StoreError, UsageError
from hpt_core.history import events
from hpt_core.history.export import ending, shortfall
from hpt_core.history.trial import Failure, Trial
from hpt_core.loop.notes import plain
from hpt_core.loop.unreported import unreported
from hpt_core.loop.worker import Worker, clean_up
from hpt_core.plugins.checks import check_evidence, run_checks

if TYPE_CHECKING:
    from hpt_core.history.history import History
    from hpt_core.loop.decisions import Decisions
    from hpt_core.loop.ledger import Ledger
    from hpt_core.study.study import Study

__all__ = ["run_study"]

_LOG = logging.getLogger("hpt")
_TRIALS_LOG = logging.getLogger("hpt.trials")

_RUNNING: set[int] = set()
"""The runs of this process, in all threads: the ids of their `Decisions`."""


def run_study(study: Study, budget: int | None, workers: int) -> str:
    """Run a study in this process or in several workers; see `Study.run`."""
    for warning in check_evidence(study.evaluator, study.rules_by_path):
        _LOG.warning("%s", warning)
    given = study.sampler
    run_checks(study.evaluator, given, study.rules_by_path, study.space, study.objectives)
    decisions, ledger = study.decisions, study.ledger
    if given is None:  # the recorded one, which may need what is not installed here
        run_checks(None, study.sampler, {}, study.space, study.objectives)
    before = ledger.history.position
    reason = ""
    study.plugins.study_started(study)
    ledger.observer = _Observer(study)
    worker, name = Worker(study, budget), liveness.worker_name(0)  # an executor counts its workers from 1
    try:
        with _in_this_process(decisions), _heartbeat(study):
            elsewhere = study.settings.trial_timeout is not None or getattr(study.executor, "elsewhere", False)
            if workers == 1 and not elsewhere:
                reason = worker(name)
            else:
                _warn_of_unused_wrappers(study)
                needed = workers if budget is None else min(workers, _left(ledger.history, budget))
                study.executor.run(worker, max(1, needed), worker.lost)  # more workers would be idle
                reason = _reason_since(study, before)
        clean_up(study, ledger.history.trials)
        _conclude(study)
        infeasible = shortfall(ledger.history)
        if infeasible:
            _LOG.warning("%s.", infeasible)
        for warning in unreported(study.named_rules, ledger.history):
            _LOG.warning("%s", warning)
    except KeyboardInterrupt:
        reason = "interrupted"
        decisions.lost(name, Failure("interrupted", "interrupted by the user"))
        raise
    except BaseException as err:
        reason = f"{type(err).__name__}: {err}"
        raise
    finally:
        ledger.observer = None
        study.plugins.study_finished(study, reason)
    return reason


def _warn_of_unused_wrappers(study: Study) -> None:
    """Warn about plugins that wrap the evaluation in this process only."""
    for plugin in study.plugins.plugins:
        if "hpt_evaluate" in plugin.hooks and not plugin.distribution and not plugin.problem:
            message = (
                "Trials in other processes do not use the hpt_evaluate hook of the plugin %r, which this program "
                "registered: workers load installed plugins only. Install it, or run with workers=1 and no "
                "trial_timeout."
            )
            _LOG.warning(message, plugin.name)


def _conclude(study: Study) -> None:
    """Let the evaluator refit and save the best trial's model, once per best trial and definition of the evaluator.

    Its options may have changed, for example the file to save the model in. With ``amend`` it concludes in every run.
    """
    conclude, history = getattr(study.evaluator, "conclude", None), study.ledger.history
    best = history.best
    if conclude is None or best is None or len(study.objectives) > 1:
        return
    concluded = history.notes.get("conclusion", {})
    mine = history.joined_with.get(liveness.this_process(), history.definition)  # a forked process has not joined
    unchanged = history.concluded_by == mine["evaluator"]
    if concluded.get("trial") == best.number and unchanged and not study.amend:
        return
    try:
        content = conclude(attrs.evolve(study.context(best), concluded=concluded))
    except Exception as err:
        msg = f"The evaluator failed in conclude() on the winner, trial {best.number}: {type(err).__name__}: {err}"
        raise PluginError(msg) from err
    if content is not None and not isinstance(content, Mapping):
        raise PluginError(f"The evaluator's conclude() must return a mapping or None. Got {content!r:.80}.")
    note = {"trial": best.number, **plain(content or {}, "conclude()")}  # also if empty: then it is not called again
    study.ledger.write(events.note(study.ledger.now(), "conclusion", note, liveness.this_process()))


def _left(history: History, budget: int) -> int:
    """The most trials that can run at the same time: new ones within the budget, and those that have not ended.

    `History.pending` would leave out the trials outside an amended space, which run as well.
    """
    return budget - (history.next_number - history.invalid_count) + len(history.open)


def _reason_since(study: Study, position: int) -> str:
    stop = study.ledger.sync().stop
    if stop is None or stop["seen"] < position:
        return "its workers ended"
    return str(stop["reason"])


class _Observer:
    """Calls the observing hooks for the records of this process and of the workers that it supervises."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._me = liveness.this_process()
        self._pid = os.getpid()
        self._warned: set[str] = set()

    def __call__(self, record: Mapping[str, Any]) -> None:
        if "trial" not in record or os.getpid() != self._pid:  # a forked worker has a copy of this observer
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
            level = self._level(trial)
            if _TRIALS_LOG.isEnabledFor(level):
                text = ending(study.ledger.history, trial).encode(errors="backslashreplace")  # log files are UTF-8
                _TRIALS_LOG.log(level, "%s", text.decode())
            study.plugins.trial_finished(study, trial)

    def _level(self, trial: Trial) -> int:
        """WARNING for a failure that was not logged before, else INFO."""
        if trial.failure is None or trial.failure.message in self._warned:
            return logging.INFO
        self._warned.add(trial.failure.message)
        return logging.WARNING


@contextmanager
def _in_this_process(decisions: Decisions) -> Iterator[None]:
    """Register a run. If it is the only one, release the trials of ended runs whose end the store failed to record."""
    if not _RUNNING:
        with decisions.ledger.mutex:  # another thread may ask at the same time
            opened, mine = decisions.ledger.history.open.values(), f"{liveness.this_process()}/"
            for worker in {trial.worker for trial in opened if trial.worker.startswith(mine)}:
                decisions.lost(worker, Failure("interrupted", "its run has ended"))
    _RUNNING.add(id(decisions))
    try:
        yield
    finally:
        _RUNNING.discard(id(decisions))


@contextmanager
def _heartbeat(study: Study) -> Iterator[None]:
    """Write heartbeats from a thread, so that processes on other machines know that this one is alive."""
    ended = threading.Event()
    thread = threading.Thread(target=_beat, args=(study.ledger, ended), daemon=True, name="hpt-heartbeat")
    try:
        thread.start()
    except RuntimeError as err:
        msg = f"The run needs a thread: {err}. Raise the limit on processes and threads (ulimit -u)."
        raise UsageError(msg) from err
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _beat(ledger: Ledger, ended: threading.Event) -> None:
    me = liveness.this_process()
    while not ended.wait(liveness.LEASE_SECONDS / 5):
        try:
            ledger.write(events.heartbeat(ledger.now(), me))
        except StoreError as err:  # may be temporary; if not, the next write of the loop ends the run
            _LOG.warning("Could not write a heartbeat: %s", err)
