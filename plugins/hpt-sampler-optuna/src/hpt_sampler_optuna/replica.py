"""An hpt history replicated as an Optuna study, continued or rebuilt from scratch."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import optuna
from numpy.random import Generator, default_rng
from optuna.exceptions import ExperimentalWarning
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial

from hpt_core import PluginError, State, UsageError
from hpt_sampler_optuna.attributes import CONSTRAINTS
from hpt_sampler_optuna.convert import Axis, axes, suggest, suggest_again

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

    from hpt_core import History, Params, Space, Trial

__all__ = ["Replica", "quiet", "rehearse", "seed_of"]

_PICKLE = re.compile(r"80(02|03|04|05)[0-9a-f]{8,}", re.IGNORECASE)
_INFO_KEY = "optuna"


def seed_of(rng: Generator) -> int:
    """Draw the seed of an Optuna sampler from the generator of a trial."""
    return int(rng.integers(2**31 - 1))


@contextmanager
def quiet(least: int = optuna.logging.WARNING) -> Iterator[None]:
    """Silence Optuna's messages on created studies, experimental features, and ignored constraints.

    Args:
        least: The least level of a message that is logged.
    """
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(level, least))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            # CMA-ES warns at each suggestion, as it ignores constraints.
            warnings.filterwarnings("ignore", "Constraints have been set")
            yield
    finally:
        optuna.logging.set_verbosity(level)


class _Study(optuna.Study):
    """A study that a sampler can stop at any time, as grid and brute force do when all points were tried."""

    ended = False

    def stop(self) -> None:
        self.ended = True


@attrs.frozen
class _Snapshot:
    """The state of a trial in the Optuna study; if it differs from the current one, the trial must be updated."""

    params: str
    state: TrialState
    values: tuple[float, ...] | None = None
    reports: tuple[tuple[int, float], ...] = ()

    @property
    def finished(self) -> bool:
        return bool(self.state.is_finished())


class Replica:
    """The Optuna study that replicates a history.

    It is a function of the history alone. The replica of an earlier call is continued if the history continues the
    earlier one; otherwise it is rebuilt.

    Args:
        make: Creates the sampler from a seed for the trial and the seed of the study.
        replay: Whether the sampler's data on earlier trials is recreated by replay instead of read from the log.
    """

    def __init__(self, make: Callable[[int, int], BaseSampler], *, replay: bool) -> None:
        self._make = make
        self._replay = replay
        self._space: Space | None = None
        self._axes: dict[str, Axis] = {}
        self._identity: object = None
        self._snapshots: list[_Snapshot] = []
        self._seen: list[Trial | None] = []
        # Number and seed of a trial that is in the study but not yet in the log.
        self._asked: tuple[int, int] | None = None

    def suggest(
        self, history: History, seeds: Iterable[int], fits: Callable[[Params], bool]
    ) -> tuple[Params, Mapping[str, Any]] | None:
        """Suggest the next configuration.

        Args:
            history: The history.
            seeds: One for each suggestion that the sampler is asked for at most, until one fits.
            fits: Whether a suggestion does.

        Returns:
            The first configuration that fits, else the last one, and the data that the sampler stored with it; None if
            it has stopped the search.
        """
        with quiet():
            if not self._is_continuation(history):
                self._reset(history)
            self._space = None  # until the end: what is interrupted is rebuilt
            self._catch_up(history)
            if self._study.ended:
                return None
            before = dict(self._storage.get_study_system_attrs(self._study_id))
            for seed in seeds:
                self._study.sampler = self._make(seed, history.seed)
                trial = self._study.ask()
                params = suggest(trial, history.space, self._axes)
                if fits(params):
                    self._set_params(trial.number, params)
                    break
                self._storage.set_trial_state_values(trial.number, TrialState.FAIL)
            self._asked = (history.next_number, seed)
            self._snapshots.append(_Snapshot(repr(params), TrialState.RUNNING))
            self._seen.append(None)
            if trial.number == history.next_number:  # else there are refused ones, which the log will not have
                self._space = history.space
            return params, self._stored_data(trial.number, before)

    # --- from the history -----------------------------------------------------------------------------------

    def _is_continuation(self, history: History) -> bool:
        """Whether the replica is an earlier state of this history."""
        if self._space is None or self._identity != (history.seed, history.directions, history.constraints):
            return False
        if self._space is not history.space and self._space != history.space:
            return False
        if len(self._snapshots) > len(history.trials):
            return False
        if self._asked is not None:
            number, seed = self._asked
            if self._replay and seed != self._seed(history, number):
                return False  # asked again after a repeat, so the sampler's state differs from that of a replay
            if _INFO_KEY not in history.trials[number].info:
                return False  # the point was not chosen by this sampler
        last = len(self._snapshots) - 1
        for number, then, now in self._changes(history):
            if then.finished or now.params != then.params:
                return False
            if self._replay and number < last:
                return False  # in a replay, later trials would have seen this result
        return True

    def _changes(self, history: History) -> Iterator[tuple[int, _Snapshot, _Snapshot]]:
        """(number, then, now) of the trials whose snapshot has changed."""
        for trial, seen, then in zip(history.trials, self._seen, self._snapshots, strict=False):
            if trial is seen and then.finished and trial.invalid is None:
                continue  # the same object, and it had ended
            now = self._snapshot(history, trial)
            if now != then:
                yield trial.number, then, now

    def _reset(self, history: History) -> None:
        self._space, self._identity = history.space, (history.seed, history.directions, history.constraints)
        self._axes = axes(history.space)
        self._snapshots, self._seen, self._asked = [], [], None
        self._storage = InMemoryStorage()
        directions = [StudyDirection[direction.upper()] for direction in history.directions]
        self._study_id = self._storage.create_new_study(directions, "hpt")
        self._observer = self._make(self._seed(history, 0), history.seed)
        self._study = _Study("hpt", self._storage, self._observer)

    def _catch_up(self, history: History) -> None:
        self._asked = None
        for number, then, now in [*self._changes(history)]:
            self._progress(history, number, then, now)
            self._snapshots[number] = now
        for trial in history.trials[len(self._snapshots) :]:
            self._add(history, trial)
            now = self._snapshot(history, trial)
            self._progress(history, trial.number, _Snapshot(now.params, TrialState.RUNNING), now)
            self._snapshots.append(now)
        self._seen = list(history.trials)

    def _add(self, history: History, trial: Trial) -> None:
        stored = trial.info.get(_INFO_KEY)
        if stored is not None and self._replay:
            self._study.sampler = self._make(self._seed(history, trial.number), history.seed)
            active = [name for name in history.space.order if name in trial.params]
            with quiet(optuna.logging.ERROR):  # the sampler warned when it made this suggestion
                suggest_again(self._study.ask(), self._axes, active)
        else:
            self._storage.create_new_trial(self._study_id)
            for key, value in (stored or {}).get("trial", {}).items():
                self._storage.set_trial_system_attr(trial.number, key, value)
            for key, value in (stored or {}).get("study", {}).items():
                self._storage.set_study_system_attr(self._study_id, key, value)
        if history.space.contains(trial.params):
            self._set_params(trial.number, trial.params)

    def _set_params(self, number: int, params: Params) -> None:
        """Set the values that the log has; those that a sampler set may differ from them by a rounding error."""
        for name, axis in self._axes.items():
            if name in params:
                inner = axis.distribution.to_internal_repr(axis.encode(params[name]))
                self._storage.set_trial_param(number, name, inner, axis.distribution)

    def _progress(self, history: History, number: int, then: _Snapshot, now: _Snapshot) -> None:
        for step, value in now.reports[len(then.reports) :]:
            self._storage.set_trial_intermediate_value(number, step, value)
        if now.finished:
            if now.state is TrialState.COMPLETE and history.constraints:
                beyond = np.nan_to_num(history.excess[number], nan=1.0)  # an unknown value counts as violated
                self._storage.set_trial_system_attr(number, CONSTRAINTS, beyond.tolist())
            self._study.sampler = self._observer
            self._observer.after_trial(self._study, self._storage.get_trial(number), now.state, now.values)
            self._storage.set_trial_state_values(number, now.state, now.values)

    def _snapshot(self, history: History, trial: Trial) -> _Snapshot:
        """The state of a trial for Optuna; a trial that cannot be learnt from is a failure there."""
        params = repr(trial.params)
        reports = tuple((report.step, report.value) for report in trial.reports) if history.evidence == "curve" else ()
        if trial.invalid is not None or trial.state is State.FAILED or not history.space.contains(trial.params):
            return _Snapshot(params, TrialState.FAIL)
        if trial.state is State.COMPLETE:
            return _Snapshot(params, TrialState.COMPLETE, trial.values, reports)
        if trial.state is State.STOPPED:
            if trial.values is None or len(trial.values) > 1:
                return _Snapshot(params, TrialState.FAIL)  # Optuna supports pruning with a single objective only
            last = trial.reports[-1].step if trial.reports else 1
            return _Snapshot(params, TrialState.PRUNED, trial.values, reports or ((last, trial.values[0]),))
        return _Snapshot(params, TrialState.RUNNING, None, reports)

    # --- data of the sampler --------------------------------------------------------------------------------

    def _seed(self, history: History, number: int) -> int:
        return seed_of(default_rng([history.seed, number]))

    def _stored_data(self, number: int, before: Mapping[str, Any]) -> Mapping[str, Any]:
        """The attributes that the sampler stored with the trial and the study."""
        if self._replay:
            return {}
        after = self._storage.get_study_system_attrs(self._study_id)
        of_study = {key: value for key, value in after.items() if key not in before or before[key] != value}
        of_trial = dict(self._storage.get_trial(number).system_attrs)
        for key, value in (*of_trial.items(), *of_study.items()):
            if isinstance(value, str) and _PICKLE.match(value):
                msg = (
                    f"This Optuna sampler stores a pickled object ({key!r}) with its trials, and hpt stores none. "
                    "Set replay = true to recreate its state from the history instead."
                )
                raise PluginError(msg)
        return {name: data for name, data in (("trial", of_trial), ("study", of_study)) if data}


def rehearse(sampler: BaseSampler, space: Space, directions: Iterable[str], results: int) -> None:
    """Ask a sampler for a suggestion in a study that has some results, so that an error shows before the first trial.

    Args:
        sampler: The sampler.
        space: The space of the study.
        directions: A direction per objective.
        results: How many complete trials the study has; many samplers draw at random until they have enough.
    """
    storage = InMemoryStorage()
    storage.create_new_study([StudyDirection[direction.upper()] for direction in directions], "hpt")
    study = _Study("hpt", storage, sampler)
    known, rng = axes(space), default_rng(0)
    for _ in range(results):
        params = {name: value for name, value in space.sample(rng).items() if name in known}
        trial = create_trial(
            params={name: known[name].encode(value) for name, value in params.items()},
            distributions={name: known[name].distribution for name in params},
            values=rng.random(len(study.directions)).tolist(),
        )
        study.add_trial(trial)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about results that were made up, such as that they lack constraints
        suggest(study.ask(), space, known)


def check_sampler(made: object) -> BaseSampler:
    """Check that an object is an Optuna sampler.

    Raises:
        UsageError: If it is not.
    """
    if not isinstance(made, optuna.samplers.BaseSampler):
        raise UsageError(
            f"The `sampler` option of the sampler 'optuna' must create an Optuna sampler. Got {made!r:.80}."
        )
    return made
