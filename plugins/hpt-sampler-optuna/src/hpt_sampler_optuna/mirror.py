"""An Optuna study mirrored as an hpt study, kept in sync or rebuilt from scratch."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import datetime

import attrs
from optuna.trial import FrozenTrial, TrialState

from hpt_core import Failure, Params, Space, Stop, Study, Suggestion, Trial
from hpt_sampler_optuna.attributes import constraints_of
from hpt_sampler_optuna.convert import Axis, axes, params_of

__all__ = ["NOTE", "Mirror"]

NOTE = "hpt:params"


@attrs.define
class _MirroredTrial:
    """An Optuna trial as it was last seen.

    Attributes:
        key: Its Optuna number and start time, which identify it.
        number: Its number in the mirror; None if it was left out, as its point is outside the space or not known yet.
        params: Its point.
        ended: Whether it had ended.
    """

    key: tuple[int, datetime | None]
    number: int | None
    params: Params | None
    ended: bool = False


class Mirror:
    """The hpt study that mirrors an Optuna study.

    Args:
        study: An empty hpt study with the space, the objectives and the sampler.
        trials: The existing trials of the Optuna study.
    """

    def __init__(self, study: Study, trials: Sequence[FrozenTrial]) -> None:
        self.study = study
        self._axes = axes(study.space)
        self._mirrored: list[_MirroredTrial] = []
        self.sync(trials)

    def matches(self, space: Space, directions: Sequence[str], limits: Mapping[str, str]) -> bool:
        """Whether the mirror has this space, these directions and these constraints."""
        same = self.study.space == space and [*self.study.objectives.values()] == [*directions]
        return same and self.study.constraints.keys() == limits.keys()

    def sync(self, trials: Sequence[FrozenTrial]) -> bool:
        """Take over all changes since the last call.

        Args:
            trials: The trials of the Optuna study in order, without the one that is being suggested.

        Returns:
            Whether the mirror now equals one that is built from scratch.
        """
        if len(self._mirrored) > len(trials):
            return False
        for trial, copied in zip(trials, self._mirrored, strict=False):
            if copied.key != _key(trial):
                return False
            if not copied.ended and not self._progress(trial, copied):
                return False
        for trial in trials[len(self._mirrored) :]:
            self._add(trial)
        return True

    def ask(self, trial: FrozenTrial) -> Trial:
        """The suggestion of the hpt sampler for a new Optuna trial.

        Raises:
            SpaceExhausted: If the sampler is exhausted.
        """
        found = self.study.ask()
        self._mirrored.append(_MirroredTrial(_key(trial), found.number, found.params))
        return found

    def _add(self, trial: FrozenTrial) -> None:
        given = _suggestion(trial, self.study.space, self._axes)
        number = None if given is None else self.study.add_trial(given).number
        self._mirrored.append(_MirroredTrial(_key(trial), number, None if given is None else given.params))
        self._end(trial, self._mirrored[-1])

    def _progress(self, trial: FrozenTrial, copied: _MirroredTrial) -> bool:
        """Update a trial that had not ended; False if it has another point now."""
        given = _suggestion(trial, self.study.space, self._axes)
        if (None if given is None else given.params) != copied.params:
            return False
        self._end(trial, copied)
        return True

    def _end(self, trial: FrozenTrial, copied: _MirroredTrial) -> None:
        """Record the reports and the outcome of a trial, if it has ended."""
        copied.ended = bool(trial.state.is_finished())
        if not copied.ended or copied.number is None:
            return
        study, number = self.study, copied.number
        steps = sorted(trial.intermediate_values.items()) if len(study.objectives) == 1 else []
        for step, value in steps:
            if math.isfinite(value):
                study.report(number, step + 1, value)
        if trial.state is TrialState.COMPLETE:
            study.tell(number, constraints_of(trial) | dict(zip(study.objectives, trial.values, strict=True)))
        elif trial.state is TrialState.PRUNED:
            study.tell(number, Stop("pruned"))
        else:
            study.tell(number, Failure("error", "failed in Optuna"))


def _key(trial: FrozenTrial) -> tuple[int, datetime | None]:
    return trial.number, trial.datetime_start


def _suggestion(trial: FrozenTrial, space: Space, known: Mapping[str, Axis]) -> Suggestion | None:
    """The point of a trial, with the info of hpt's sampler if it is its own; None if outside the space or unknown."""
    if trial.state is TrialState.WAITING:
        return None
    noted = json.loads(trial.system_attrs.get(NOTE, "{}"))
    suggested = Suggestion(**noted) if noted and space.contains(noted["params"]) else None
    params = params_of(trial.params, space, known)
    if suggested is not None and (params == suggested.params or not trial.state.is_finished()):
        return suggested
    return None if params is None else Suggestion(params, source="given")
