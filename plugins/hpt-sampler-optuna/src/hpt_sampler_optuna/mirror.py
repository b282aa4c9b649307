"""A study of Optuna as a study of hpt: rebuilt from scratch, or carried on where that comes to the same."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import datetime

import attrs
from optuna.trial import FrozenTrial, TrialState

from hpt_core import Failure, Params, Space, Stop, Study, Suggestion, Trial
from hpt_sampler_optuna.beside import constraints_of
from hpt_sampler_optuna.convert import Axis, axes, params_of

__all__ = ["NOTE", "Mirror"]

NOTE = "hpt:params"


@attrs.define
class _Copied:
    """A trial that was looked at.

    Attributes:
        key: Its number in Optuna and when it began, which tells it from any other.
        number: Its number in the mirror; None: it was left out, as its point is none of the space or not known yet.
        params: Its point.
        ended: Whether it had ended.
    """

    key: tuple[int, datetime | None]
    number: int | None
    params: Params | None
    ended: bool


class Mirror:
    """The study of hpt that belongs to a study of Optuna.

    Args:
        study: An empty study of hpt, with the space, the objectives and the sampler.
        trials: What is there already.
    """

    def __init__(self, study: Study, trials: Sequence[FrozenTrial]) -> None:
        self.study = study
        self._axes = axes(study.space)
        self._copied: list[_Copied] = []
        self.follow(trials)

    def serves(self, space: Space, directions: Sequence[str], limits: Mapping[str, str]) -> bool:
        """Whether it has this space, these directions and these constraints."""
        same = self.study.space == space and [*self.study.objectives.values()] == [*directions]
        return same and self.study.constraints.keys() == limits.keys()

    def follow(self, trials: Sequence[FrozenTrial]) -> bool:
        """Take in what happened since.

        Args:
            trials: The trials of the study of Optuna, in order, without the one that asks.

        Returns:
            Whether the mirror is now what it would be if it were built from scratch.
        """
        if len(self._copied) > len(trials):
            return False
        for trial, copied in zip(trials, self._copied, strict=False):
            if copied.key != (trial.number, trial.datetime_start):
                return False
            if not copied.ended and not self._progress(trial, copied):
                return False
        for trial in trials[len(self._copied) :]:
            self._add(trial)
        return True

    def ask(self, trial: FrozenTrial) -> Trial:
        """What the sampler of hpt suggests for a new trial of Optuna.

        Raises:
            SpaceExhausted: If it has nothing left.
        """
        found = self.study.ask()
        self._copied.append(_Copied((trial.number, trial.datetime_start), found.number, found.params, ended=False))
        return found

    def _add(self, trial: FrozenTrial) -> None:
        given = None if trial.state is TrialState.WAITING else _suggestion(trial, self.study.space, self._axes)
        ended = bool(trial.state.is_finished())
        if given is None:
            self._copied.append(_Copied((trial.number, trial.datetime_start), None, None, ended))
            return
        added = self.study.add_trial(given)
        self._copied.append(_Copied((trial.number, trial.datetime_start), added.number, given.params, ended))
        self._end(trial, added.number)

    def _progress(self, trial: FrozenTrial, copied: _Copied) -> bool:
        """Bring a trial that ran up to date; False where it is another one now."""
        given = None if trial.state is TrialState.WAITING else _suggestion(trial, self.study.space, self._axes)
        if (None if given is None else given.params) != copied.params:
            return False
        copied.ended = bool(trial.state.is_finished())
        if copied.number is not None:
            self._end(trial, copied.number)
        return True

    def _end(self, trial: FrozenTrial, number: int) -> None:
        """Tell how a trial ended, if it has; what it reported is told then."""
        study = self.study
        if not trial.state.is_finished():
            return
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


def _suggestion(trial: FrozenTrial, space: Space, known: Mapping[str, Axis]) -> Suggestion | None:
    """The point of a trial, with what the sampler of hpt noted if it suggested that; None for none in the space."""
    noted = json.loads(trial.system_attrs.get(NOTE, "{}"))
    suggested = Suggestion(**noted) if noted and space.contains(noted["params"]) else None
    params = params_of(trial.params, space, known)
    if suggested is not None and (params == suggested.params or not trial.state.is_finished()):
        return suggested
    return None if params is None else Suggestion(params, source="given")
