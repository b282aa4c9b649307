"""What the user changes in a study other than by running it: enqueued, added, retried and invalidated trials."""

from __future__ import annotations

from operator import index
from typing import TYPE_CHECKING

from hpt_core.errors import UsageError
from hpt_core.history import events
from hpt_core.history.trial import State, Trial
from hpt_core.loop.notes import plain

if TYPE_CHECKING:
    from hpt_core.components import Suggestion
    from hpt_core.loop.ledger import Ledger

__all__ = ["add", "enqueue", "invalidate", "retry_failed", "running_trial"]


def enqueue(ledger: Ledger, given: Suggestion) -> Trial:
    """Queue a point ahead of the sampler. Returns its trial: the earlier one if the point was tried before."""
    with ledger.lock():
        history = ledger.sync()
        known = history.keys.get(history.space.key(given.params))
        return _queue(ledger, given) if known is None else history.trials[known]


def add(ledger: Ledger, worker: str, given: Suggestion) -> Trial:
    """Record a trial at any point of the space as running, under the name of ``worker``."""
    with ledger.lock():
        ledger.sync()
        trial, seen = _queue(ledger, given), ledger.history.position
        ledger.write(events.started(ledger.now(), trial.number, trial.params, worker, 1, seen, trial.source))
        return trial


def invalidate(ledger: Ledger, trial: Trial | int, reason: str) -> None:
    """Record that a trial's result is wrong.

    Raises:
        UsageError: If there is no such trial.
    """
    with ledger.lock():
        ledger.write(events.invalidated(ledger.now(), _existing(ledger, trial).number, reason))


def retry_failed(ledger: Ledger) -> int:
    """Queue what was suggested for each failed trial again, and invalidate that trial. Returns how many there were.

    Failed trials outside an amended space stay as they are.
    """
    with ledger.lock():
        history = ledger.sync()
        failed = [trial for trial in history.trials if trial.state is State.FAILED and trial.invalid is None]
        failed = [trial for trial in failed if history.space.contains(trial.params)]
        for trial in failed:
            now, number = ledger.now(), history.next_number
            again = events.enqueued(now, number, trial.params, trial.source, trial.info)
            ledger.write(events.invalidated(now, trial.number, "failed, and was retried"), again)
    return len(failed)


def running_trial(ledger: Ledger, trial: Trial | int) -> Trial:
    """The running trial that the user gave, as a trial or a number.

    Raises:
        UsageError: If there is no such trial, or it is not running.
    """
    found = _existing(ledger, trial)
    if found.state is not State.RUNNING:
        is_decision = found.rule not in ("", "given")  # given: the user told a Stop
        decided = f" The rule {found.rule!r} decided that, and it is recorded: there is nothing to tell." * is_decision
        raise UsageError(f"Trial {found.number} is not running: it is {found.state}.{decided}")
    return found


def _queue(ledger: Ledger, given: Suggestion) -> Trial:
    history, info = ledger.history, plain(given.info)
    number = history.next_number
    ledger.write(events.enqueued(ledger.now(), number, dict(given.params), given.source, info))
    return history.trials[number]


def _existing(ledger: Ledger, trial: object) -> Trial:
    try:
        number = index(getattr(trial, "number", trial))  # type: ignore[arg-type] # it may be anything
    except TypeError as err:
        raise UsageError(f"A trial must be a Trial or its number. Got {trial!r:.80}.") from err
    trials = ledger.sync().trials
    if not 0 <= number < len(trials):
        raise UsageError(f"There is no trial {number}; the study has {len(trials)}.")
    return trials[number]
