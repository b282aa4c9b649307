"""A history as a study of Optuna: rebuilt from scratch, or carried on where that comes to the same."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import optuna
from numpy.random import Generator, default_rng
from optuna.exceptions import ExperimentalWarning
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import TrialState

from hpt_core import PluginError, State, UsageError
from hpt_sampler_optuna.beside import CONSTRAINTS
from hpt_sampler_optuna.convert import Axis, axes, suggest, walk

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

    from hpt_core import History, Params, Space, Trial

__all__ = ["Rebuilt", "quiet", "seed_of"]

_PICKLE = re.compile(r"80(02|03|04|05)[0-9a-f]{8,}", re.IGNORECASE)
_NOTE = "optuna"


def seed_of(rng: Generator) -> int:
    """The seed that an Optuna sampler gets, from the generator of a trial."""
    return int(rng.integers(2**31 - 1))


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Optuna from telling that it made a study, or what the user chose: experimental, without constraints."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(level, optuna.logging.WARNING))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            warnings.filterwarnings(
                "ignore", "Constraints have been set"
            )  # at each suggestion: CMA-ES has no use for them
            yield
    finally:
        optuna.logging.set_verbosity(level)


class _Study(optuna.Study):
    """A study that a sampler may end at any time: grid and brute force do so when all was tried."""

    ended = False

    def stop(self) -> None:
        self.ended = True


@attrs.frozen
class _Mark:
    """What of a trial was put into the study of Optuna; another mark means that it has to be brought up to date."""

    params: str
    state: TrialState
    values: tuple[float, ...] | None = None
    reports: tuple[tuple[int, float], ...] = ()

    @property
    def finished(self) -> bool:
        return bool(self.state.is_finished())


class Rebuilt:
    """The study of Optuna that belongs to a history.

    It is a function of the history alone. What was built for an earlier call is carried on if the history only went on
    from there; else everything is built anew.

    Args:
        make: Makes the sampler from a seed of its own and the study's.
        replay: Whether the sampler's notes on earlier trials are made again instead of read from the log.
    """

    def __init__(self, make: Callable[[int, int], BaseSampler], *, replay: bool) -> None:
        self._make = make
        self._replay = replay
        self._space: Space | None = None
        self._axes: dict[str, Axis] = {}
        self._of: object = None
        self._marks: list[_Mark] = []
        self._seen: list[Trial | None] = []
        self._asked: tuple[int, int] | None = (
            None  # number and seed of a trial that is in the study, not yet in the log
        )

    def suggest(self, history: History, seed: int) -> tuple[Params, Mapping[str, Any]] | None:
        """Ask a sampler with this seed for the next trial.

        Returns:
            The configuration, and what the sampler wants to find again with it; None if it has ended the search.
        """
        with quiet():
            if not self._goes_on(history):
                self._begin(history)
            self._bring_up_to_date(history)
            if self._study.ended:
                return None
            before = dict(self._storage.get_study_system_attrs(self._study_id))
            self._study.sampler = self._make(seed, history.seed)
            trial = self._study.ask()
            params = suggest(trial, history.space, self._axes)
            self._asked = (history.next_number, seed)
            self._marks.append(_Mark(repr(params), TrialState.RUNNING))
            self._seen.append(None)
            return params, self._notes(trial.number, before)

    # --- from the history -----------------------------------------------------------------------------------

    def _goes_on(self, history: History) -> bool:
        """Whether what was built is an earlier state of this history."""
        if self._space is None or self._of != (history.seed, history.directions, history.constraints):
            return False
        if self._space is not history.space and self._space != history.space:
            return False
        if len(self._marks) > len(history.trials):
            return False
        if self._asked is not None:
            number, seed = self._asked
            if self._replay and seed != self._seed(history, number):
                return False  # asked once more after a repeat: another state of the sampler than a replay has
            if _NOTE not in history.trials[number].info:
                return False  # somebody else chose the point
        last = len(self._marks) - 1
        for number, then, now in self._changes(history):
            if then.finished or now.params != then.params:
                return False
            if self._replay and number < last:
                return False  # in a replay the later trials know this result
        return True

    def _changes(self, history: History) -> Iterator[tuple[int, _Mark, _Mark]]:
        """(number, then, now) of the trials whose mark is another one now."""
        for trial, seen, then in zip(history.trials, self._seen, self._marks, strict=False):
            if trial is seen and then.finished and trial.invalid is None:
                continue  # the very same trial, and it had ended
            now = self._mark(history, trial)
            if now != then:
                yield trial.number, then, now

    def _begin(self, history: History) -> None:
        self._space, self._of = history.space, (history.seed, history.directions, history.constraints)
        self._axes = axes(history.space)
        self._marks, self._seen, self._asked = [], [], None
        self._storage = InMemoryStorage()
        directions = [StudyDirection[direction.upper()] for direction in history.directions]
        self._study_id = self._storage.create_new_study(directions, "hpt")
        self._keeper = self._make(self._seed(history, 0), history.seed)
        self._study = _Study("hpt", self._storage, self._keeper)

    def _bring_up_to_date(self, history: History) -> None:
        self._asked = None
        for number, then, now in [*self._changes(history)]:
            self._progress(history, number, then, now)
            self._marks[number] = now
        for trial in history.trials[len(self._marks) :]:
            self._add(history, trial)
            now = self._mark(history, trial)
            self._progress(history, trial.number, _Mark(now.params, TrialState.RUNNING), now)
            self._marks.append(now)
        self._seen = list(history.trials)

    def _add(self, history: History, trial: Trial) -> None:
        notes = trial.info.get(_NOTE)
        if notes is not None and self._replay:
            self._study.sampler = self._make(self._seed(history, trial.number), history.seed)
            walk(self._study.ask(), self._axes, [name for name in history.space.order if name in trial.params])
        else:
            self._storage.create_new_trial(self._study_id)
            for key, value in (notes or {}).get("trial", {}).items():
                self._storage.set_trial_system_attr(trial.number, key, value)
            for key, value in (notes or {}).get("study", {}).items():
                self._storage.set_study_system_attr(self._study_id, key, value)
        if history.space.contains(trial.params):
            for name, axis in self._axes.items():
                if name in trial.params:
                    inner = axis.distribution.to_internal_repr(axis.encode(trial.params[name]))
                    self._storage.set_trial_param(trial.number, name, inner, axis.distribution)

    def _progress(self, history: History, number: int, then: _Mark, now: _Mark) -> None:
        for step, value in now.reports[len(then.reports) :]:
            self._storage.set_trial_intermediate_value(number, step, value)
        if now.finished:
            if now.state is TrialState.COMPLETE and history.constraints:
                beyond = np.nan_to_num(history.excess[number], nan=1.0)  # not known is not kept
                self._storage.set_trial_system_attr(number, CONSTRAINTS, beyond.tolist())
            self._study.sampler = self._keeper
            self._keeper.after_trial(self._study, self._storage.get_trial(number), now.state, now.values)
            self._storage.set_trial_state_values(number, now.state, now.values)

    def _mark(self, history: History, trial: Trial) -> _Mark:
        """A trial as Optuna should see it; what cannot be learnt from is a failure there."""
        params = repr(trial.params)
        reports = tuple((report.step, report.value) for report in trial.reports) if history.evidence == "curve" else ()
        if trial.invalid is not None or trial.state is State.FAILED or not history.space.contains(trial.params):
            return _Mark(params, TrialState.FAIL)
        if trial.state is State.COMPLETE:
            return _Mark(params, TrialState.COMPLETE, trial.values, reports)
        if trial.state is State.STOPPED:
            if trial.values is None or len(trial.values) > 1:
                return _Mark(params, TrialState.FAIL)  # Optuna prunes with a single objective only
            last = trial.reports[-1].step if trial.reports else 1
            return _Mark(params, TrialState.PRUNED, trial.values, reports or ((last, trial.values[0]),))
        return _Mark(params, TrialState.RUNNING, None, reports)

    # --- what the sampler keeps -----------------------------------------------------------------------------

    def _seed(self, history: History, number: int) -> int:
        return seed_of(default_rng([history.seed, number]))

    def _notes(self, number: int, before: Mapping[str, Any]) -> Mapping[str, Any]:
        """What the sampler wrote beside the trial and the study."""
        if self._replay:
            return {}
        after = self._storage.get_study_system_attrs(self._study_id)
        of_study = {key: value for key, value in after.items() if key not in before or before[key] != value}
        of_trial = dict(self._storage.get_trial(number).system_attrs)
        for key, value in (*of_trial.items(), *of_study.items()):
            if isinstance(value, str) and _PICKLE.match(value):
                msg = (
                    f"This sampler of Optuna keeps a pickled object ({key!r}) with its trials, and hpt stores none. "
                    "Set replay = true: its state is then made again from the history."
                )
                raise PluginError(msg)
        return {name: notes for name, notes in (("trial", of_trial), ("study", of_study)) if notes}


def check_sampler(made: object) -> BaseSampler:
    """See that it is a sampler of Optuna.

    Raises:
        UsageError: If it is not.
    """
    if not isinstance(made, optuna.samplers.BaseSampler):
        raise UsageError(f"The `sampler` option of the sampler 'optuna' gave no sampler of Optuna: {made!r:.80}.")
    return made
