"""What the rules of this plugin have in common: a ladder of rungs, and groups of trials that compete on it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from hpt_core import Mistake, Pause, PluginError, State, Stop, UsageError, option
from hpt_stopping_halving.competition import Place, cut_at, leader
from hpt_stopping_halving.ladder import make_ladder
from hpt_stopping_halving.results import Results, Rung

if TYPE_CHECKING:
    from hpt_core import History, Trial

__all__ = ["Climb", "Group", "contenders"]


@attrs.frozen
class Group:
    """Trials that compete with each other.

    Attributes:
        first: Index of the lowest rung on which they are compared.
        numbers: The trials that are there already.
        whole: Whether no further trial can join.
    """

    first: int
    numbers: Collection[int]
    whole: bool = False


def contenders(history: History, group: Group) -> list[Trial]:
    """The trials of a group but for the invalid ones and those outside an amended space, failed ones too."""
    trials = (history.trials[number] for number in group.numbers)
    return [trial for trial in trials if trial.invalid is None and history.space.contains(trial.params)]


@attrs.define(kw_only=True)
class Climb(ABC):
    """A rule on a ladder of rungs. Its kinds say who competes with whom, whether they pause, and who is next."""

    eta: int = option(3, ge=2, help="One in `eta` trials goes on from each rung, with about `eta` times the resource.")
    min_resource: int | None = option(
        None, ge=1, help="The first rung, in steps; default a whole trial divided by eta three times."
    )
    max_resource: int | None = option(
        None, ge=1, help="Steps of a whole trial; default what the evaluator says. Nothing is cut from there on."
    )
    metric: str | None = option(
        None, help="The objective or metric to compare, by name; without one the (first) objective."
    )
    maximize: bool = option(False, help="Whether more is better, for a metric that is no objective.")
    _results: Results | None = attrs.field(init=False, default=None, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        if self.min_resource and self.max_resource and self.min_resource >= self.max_resource:
            message = f"Must be below max_resource ({self.max_resource}). Got {self.min_resource}."
            raise UsageError(Mistake("min_resource", message))

    # --- what the kinds say -----------------------------------------------------------------------------

    @abstractmethod
    def _pauses(self, history: History) -> bool:
        """Whether trials wait at the rungs; else those that fall behind are stopped there."""

    @abstractmethod
    def _key(self, history: History, number: int) -> int:
        """The group of a trial; of two promotions from the same rung that of the lower group goes first."""

    @abstractmethod
    def _group(self, history: History, key: int) -> Group:
        """A group by its key."""

    @abstractmethod
    def _next(self, history: History, group: Group, rungs: list[Rung], idle: set[int]) -> tuple[int, int] | None:
        """(rung, number) of the idle trial of a group to go on with."""

    # --- the contract -----------------------------------------------------------------------------------

    def judge_trial(self, history: History, trial: Trial) -> Stop | Pause | None:
        """Stop or pause a trial that its last report brought to a rung, unless it is good enough to go on."""
        ladder = self._ladder(history)
        crossed = self._made(history).crossed(history, trial, ladder)
        if not crossed or trial.reports[-1].step >= ladder[-1]:
            return None
        group = self._group(history, self._key(history, trial.number))
        crossed = crossed[max(0, group.first - crossed.start) :]
        rungs = self._rungs(history, group)
        if not crossed or all(number != trial.number for _, number in rungs[crossed[-1]]):
            return None  # it is invalid, or lies outside an amended space: not to be compared
        if not self._pauses(history):
            place = cut_at(rungs, crossed, trial.number, self.eta)
            return None if place is None else self._stop(history, trial, place, ladder)
        chosen = self._next(history, group, rungs, self._idle(history) | {trial.number})
        if chosen is not None and chosen[1] == trial.number:
            return None  # to pause it only to take it up at once would cost a checkpoint
        return self._pause(history, trial, Place.of(rungs, crossed[-1], trial.number), ladder)

    def promote(self, history: History) -> int | None:
        """The paused trial to go on with: on the highest rung, and best, of those that have earned it."""
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
            return self._last_call(history, idle)
        return max(chosen, key=lambda found: found[0])[1]

    def retire(self, history: History) -> dict[int, Stop]:
        """The paused trials of groups that are over: nobody can join, nobody runs, nobody is to be promoted."""
        idle = self._idle(history) if self._pauses(history) else set()
        found: dict[int, Stop] = {}
        for key in sorted({self._key(history, number) for number in idle}):
            group = self._group(history, key)
            rivals = contenders(history, group) if group.whole else []
            if not rivals or {trial.state for trial in rivals} & {State.RUNNING, State.WAITING}:
                continue
            rungs, ladder = self._rungs(history, group), self._ladder(history)
            there = {number for _, number in rungs[group.first]}
            awaited = {trial.number for trial in rivals} & idle - there  # paused by another rule before they got there
            if not awaited and self._next(history, group, rungs, idle) is None:
                top = {number: index for index, rung in enumerate(rungs) for _, number in rung}
                for number in sorted(idle & top.keys()):
                    place = Place.of(rungs, top[number], number)
                    said, evidence = self._described(history, history.trials[number], place, ladder)
                    found[number] = Stop(f"{said}, and its round is over", evidence)
        return found

    def _last_call(self, history: History, idle: set[int]) -> int | None:
        """Where no new trial will come and nothing runs: the best on the highest rung, so that one gets to the end."""
        if not history.closing or any(history.trials[i].state is State.RUNNING for i in history.pending):
            return None
        rungs = self._rungs(history, Group(0, range(history.next_number)))
        stopped = {trial.number for trial in history.trials if trial.state is State.STOPPED}
        found = leader(rungs, stopped)
        return found[1] if found is not None and found[1] in idle else None

    # --- for the kinds ----------------------------------------------------------------------------------

    def _ladder(self, history: History) -> tuple[int, ...]:
        top = self.max_resource or history.steps
        if top is not None and self.min_resource is not None and self.min_resource >= top:
            msg = f"The `min_resource` option must be below the steps of a whole trial, {top}. Got {self.min_resource}."
            raise PluginError(msg)
        return make_ladder(self.eta, self.min_resource, top)

    def _finite_ladder(self, history: History) -> tuple[int, ...]:
        if self.max_resource is None and history.steps is None:
            raise PluginError(
                f"The evaluator does not say how many steps a whole trial has, and {type(self).__name__} must know: "
                "give the rule `max_resource`, or the evaluator `steps`."
            )
        return self._ladder(history)

    def _rungs(self, history: History, group: Group) -> list[Rung]:
        return self._made(history).rungs(history, self._ladder(history), group.numbers)

    def _made(self, history: History) -> Results:  # noqa: ARG002 - one for all histories
        if self._results is None:
            self._results = Results(self.metric, self.maximize)
        return self._results

    def _idle(self, history: History) -> set[int]:
        return {int(i) for i in history.pending if history.trials[i].state is State.PAUSED}

    # --- in words ---------------------------------------------------------------------------------------

    def _stop(self, history: History, trial: Trial, place: Place, ladder: tuple[int, ...]) -> Stop:
        said, evidence = self._described(history, trial, place, ladder)
        return Stop(f"{said}, {place.results // self.eta} may go on", evidence)

    def _pause(self, history: History, trial: Trial, place: Place, ladder: tuple[int, ...]) -> Pause:
        said, evidence = self._described(history, trial, place, ladder)
        return Pause(f"{said} so far", evidence)

    def _described(
        self, history: History, trial: Trial, place: Place, ladder: tuple[int, ...]
    ) -> tuple[str, Mapping[str, Any]]:
        name = history.objectives[0] if self.metric is None else self.metric
        if name in history.objectives:
            value = float(history.value_of(place.loss, history.objectives.index(name)))
        else:
            value = -place.loss if self.maximize else place.loss
        said = f"{name} = {value:g} is number {place.rank} of {place.results} at rung {ladder[place.rung]}"
        evidence = {
            "step": trial.reports[-1].step,
            "rung": ladder[place.rung],
            "value": value,
            "rank": place.rank,
            "results": place.results,
        }
        return said, evidence
