"""Base of the rules of this plugin: groups of trials that compete on a ladder of rungs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from hpt_core import Mistake, Pause, PluginError, State, Stop, UsageError, option
from hpt_stopping_halving.ladder import make_ladder
from hpt_stopping_halving.promotion import Place, cut_at, leader, next_asynchronous
from hpt_stopping_halving.results import Results, Rung

if TYPE_CHECKING:
    from hpt_core import History, Trial

__all__ = ["Group", "RungRule", "rivals_in"]


@attrs.frozen
class Group:
    """Trials that compete with each other: all of a study, those of a round, or those of a bracket.

    Attributes:
        first: Index of the lowest rung on which the trials are compared.
        numbers: The trials that exist so far.
        whole: Whether no further trial can join.
    """

    first: int
    numbers: Collection[int]
    whole: bool = False


def rivals_in(history: History, group: Group) -> list[Trial]:
    """The trials of a group, failed ones included, without invalid trials and those outside an amended space."""
    trials = (history.trials[number] for number in group.numbers)
    return [trial for trial in trials if trial.invalid is None and history.space.contains(trial.params)]


@attrs.define(kw_only=True)
class RungRule(ABC):
    """A rule on a ladder of rungs. Subclasses define the groups, whether trials pause, and which one is promoted."""

    eta: int = option(
        3, ge=2, help="One in `eta` trials continues from each rung, with about `eta` times the resource."
    )
    min_resource: int | None = option(
        None, ge=1, help="First rung, in steps; default the steps of a whole trial divided by eta three times."
    )
    max_resource: int | None = option(
        None,
        ge=1,
        help="Last rung, where no trial is stopped any more; default the evaluator's steps of a whole trial.",
    )
    metric: str | None = option(None, help="Name of the objective or metric to compare; default the first objective.")
    maximize: bool = option(False, help="Whether larger is better; only for a metric that is not an objective.")
    _results: Results = attrs.field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        if self.min_resource and self.max_resource and self.min_resource >= self.max_resource:
            message = f"Must be below max_resource ({self.max_resource}). Got {self.min_resource}."
            raise UsageError(Mistake("min_resource", message))
        self._results = Results(self.metric, self.maximize)

    # --- defined by subclasses --------------------------------------------------------------------------

    @abstractmethod
    def _pauses(self, history: History) -> bool:
        """Whether trials pause at the rungs; if not, those that fall behind are stopped there."""

    def _key(self, history: History, number: int) -> int:  # noqa: ARG002 - by default one group
        """The key of a trial's group; of promotions from the same rung, that of the lowest key comes first."""
        return 0

    def _group(self, history: History, key: int) -> Group:  # noqa: ARG002
        """A group by its key; by default all trials of the study."""
        return Group(0, range(history.next_number))

    def _top(self, history: History, rungs: list[Rung]) -> int:  # noqa: ARG002
        """Index of the highest rung that trials may be promoted to; by default the last one."""
        return len(rungs) - 1

    def _next(self, history: History, group: Group, rungs: list[Rung], idle: set[int]) -> tuple[int, int] | None:
        """(rung, number) of the paused trial of a group to promote; None if there is none. By default as in ASHA."""
        return next_asynchronous(rungs[: self._top(history, rungs) + 1], idle, self.eta, group.first)

    # --- the contract -----------------------------------------------------------------------------------

    def judge_trial(self, history: History, trial: Trial) -> Stop | Pause | None:
        """Stop or pause a trial whose last report reached a rung, unless it is good enough to continue."""
        ladder = self._ladder(history)
        crossed = self._results.crossed(history, trial, ladder)
        if not crossed or trial.reports[-1].step >= min(ladder[-1], history.steps or ladder[-1]):
            return None  # at its last step, there is nothing to save
        group = self._group(history, self._key(history, trial.number))
        crossed = crossed[max(0, group.first - crossed.start) :]
        rungs = self._rungs(history, group)
        if not crossed or all(number != trial.number for _, number in rungs[crossed[-1]]):
            return None  # not compared: it is invalid or lies outside an amended space
        if not self._pauses(history):
            place = cut_at(rungs, crossed, trial.number, self.eta)
            return None if place is None else self._stop(history, trial, place, ladder)
        chosen = self._next(history, group, rungs, self._idle(history) | {trial.number})
        if chosen is not None and chosen[1] == trial.number:
            return None  # pausing it only to resume it at once would waste a checkpoint
        return self._pause(history, trial, Place.of(rungs, crossed[-1], trial.number), ladder)

    def promote(self, history: History) -> int | None:
        """Return the paused trial to resume: of those to be promoted, the best on the highest rung."""
        idle = self._idle(history) if self._pauses(history) else set()
        if not idle:
            return None
        chosen = []
        for key in sorted({self._key(history, number) for number in idle}):
            group = self._group(history, key)
            found = self._next(history, group, self._rungs(history, group), idle)
            if found is not None:
                chosen.append(found)
        if not chosen:
            return self._finalist(history, idle)
        return max(chosen, key=lambda found: found[0])[1]

    def retire(self, history: History) -> dict[int, Stop]:
        """Return the paused trials of finished groups: no trial can join, runs, waits or can be promoted."""
        idle = self._idle(history) if self._pauses(history) else set()
        found: dict[int, Stop] = {}
        for key in sorted({self._key(history, number) for number in idle}):
            group = self._group(history, key)
            rivals = rivals_in(history, group) if group.whole else []
            if not rivals or {trial.state for trial in rivals} & {State.RUNNING, State.WAITING}:
                continue
            rungs, ladder = self._rungs(history, group), self._ladder(history)
            arrived = {number for _, number in rungs[group.first]}
            awaited = {trial.number for trial in rivals} & idle - arrived  # another rule paused them below this rung
            if not awaited and self._next(history, group, rungs, idle) is None:
                top = {number: index for index, rung in enumerate(rungs) for _, number in rung}
                for number in sorted(idle & top.keys()):
                    place = Place.of(rungs, top[number], number)
                    text, evidence = self._described(history, history.trials[number], place, ladder)
                    found[number] = Stop(f"{text}, and its round is over", evidence)
        return found

    def _finalist(self, history: History, idle: set[int]) -> int | None:
        """The best trial on the highest rung up to `_top`, if nothing runs and no new trial will start.

        It is run to the end of the ladder. A trial beyond `_top` was the best one when an earlier run ended.
        """
        if not history.closing or any(history.trials[i].state is State.RUNNING for i in history.pending):
            return None
        rungs = self._rungs(history, Group(0, range(history.next_number)))
        stopped = {trial.number for trial in history.trials if trial.state is State.STOPPED}
        found = leader(rungs[: self._top(history, rungs) + 1], stopped)
        return found[1] if found is not None and found[1] in idle else None

    # --- for subclasses ---------------------------------------------------------------------------------

    def _ladder(self, history: History) -> tuple[int, ...]:
        top = self.max_resource or history.steps
        if top is not None and self.min_resource is not None and self.min_resource >= top:
            msg = f"The `min_resource` option must be below the steps of a whole trial, {top}. Got {self.min_resource}."
            raise PluginError(msg)
        return make_ladder(self.eta, self.min_resource, top)

    def _finite_ladder(self, history: History) -> tuple[int, ...]:
        if self.max_resource is None and history.steps is None:
            raise PluginError(
                f"{type(self).__name__} needs the number of steps of a whole trial, and the evaluator does not declare "
                "it. Set `max_resource` of the rule or `steps` of the evaluator."
            )
        return self._ladder(history)

    def _rungs(self, history: History, group: Group) -> list[Rung]:
        return self._results.rungs(history, self._ladder(history), group.numbers)

    def _idle(self, history: History) -> set[int]:
        return {int(i) for i in history.pending if history.trials[i].state is State.PAUSED}

    # --- reasons and evidence ---------------------------------------------------------------------------

    def _stop(self, history: History, trial: Trial, place: Place, ladder: tuple[int, ...]) -> Stop:
        text, evidence = self._described(history, trial, place, ladder)
        return Stop(f"{text}, {place.results // self.eta} may continue", evidence)

    def _pause(self, history: History, trial: Trial, place: Place, ladder: tuple[int, ...]) -> Pause:
        text, evidence = self._described(history, trial, place, ladder)
        return Pause(f"{text} so far", evidence)

    def _described(
        self, history: History, trial: Trial, place: Place, ladder: tuple[int, ...]
    ) -> tuple[str, Mapping[str, Any]]:
        name = history.objectives[0] if self.metric is None else self.metric
        value = history.value_of(place.loss, self.metric, maximize=self.maximize)
        text = f"{name} = {value:g} is number {place.rank} of {place.results} at rung {ladder[place.rung]}"
        evidence = {
            "step": trial.reports[-1].step,
            "rung": ladder[place.rung],
            "value": value,
            "rank": place.rank,
            "results": place.results,
        }
        return text, evidence
