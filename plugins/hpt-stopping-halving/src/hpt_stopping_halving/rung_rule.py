"""Base of the rules of this plugin: groups of trials that compete on a ladder of rungs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any

import attrs

from hpt_core import Mistake, Pause, PluginError, State, Stop, UsageError, option
from hpt_stopping_halving.ladder import make_ladder
from hpt_stopping_halving.promotion import Place, cut_at, leader, next_asynchronous
from hpt_stopping_halving.results import Results, Rung, Standing

if TYPE_CHECKING:
    from hpt_core import History, Trial

__all__ = ["Group", "RungRule"]


@attrs.frozen
class Group:
    """Trials that compete with each other: all of a study, those of a round, or those of a bracket.

    Attributes:
        first: Index of the lowest rung on which the trials are compared.
        whole: Whether it is a round that no further trial can join.
    """

    first: int
    whole: bool = False


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
        return Group(0)

    def _top(self, history: History, rungs: list[Rung]) -> int:  # noqa: ARG002
        """Index of the highest rung that trials may be promoted to; by default the last one."""
        return len(rungs) - 1

    def _next(self, history: History, group: Group, standing: Standing) -> tuple[int, int] | None:
        """(rung, number) of the paused trial of a group to promote; None if there is none. By default as in ASHA."""
        return next_asynchronous(standing, self._top(history, standing.rungs), self.eta, group.first)

    @property
    def _needs_last_rung(self) -> bool:
        """Whether the rule needs a last rung, and so the steps of a whole trial."""
        return False

    # --- the contract -----------------------------------------------------------------------------------

    def check_evidence(self, kind: str, *, steps: int | None, resumable: bool) -> str | None:  # noqa: ARG002 - the contract
        """Refuse an evaluator whose trials have no ladder of rungs. Warn if they end before a second rung."""
        problem = self._misfit(steps)
        if problem is not None:
            raise UsageError(problem)
        ladder = make_ladder(self.eta, self.min_resource, self.max_resource or steps)
        first, end = ladder[0], min(ladder[-1], steps or ladder[-1])
        if first < end:
            return None
        return (
            f"This rule never stops a trial: its first rung is at step {first}, and none is stopped from step {end} on."
        )

    def judge_trial(self, history: History, trial: Trial) -> Stop | Pause | None:
        """Stop or pause a trial whose last report reached a rung, unless it is good enough to continue."""
        ladder = self._ladder(history)
        crossed = self._results.crossed(history, trial, ladder)
        if not crossed or trial.reports[-1].step >= min(ladder[-1], history.steps or ladder[-1]):
            return None  # at its last step, there is nothing to save
        key = self._key(history, trial.number)
        group, standing = self._group(history, key), self._standings(history)[key]
        crossed = crossed[max(0, group.first - crossed.start) :]
        if not crossed or trial.number not in standing.losses:
            return None  # not compared: it is invalid or lies outside an amended space
        if not self._pauses(history):
            place = cut_at(standing, crossed, trial.number, self.eta)
            return None if place is None else self._stop(history, trial, place, ladder)
        with standing.pausing(trial):
            chosen = self._next(history, group, standing)
        if chosen is not None and chosen[1] == trial.number:
            return None  # pausing it only to resume it at once would waste a checkpoint
        return self._pause(history, trial, Place.of(standing, crossed[-1], trial.number), ladder)

    def promote(self, history: History) -> int | None:
        """Return the paused trial to resume: of those to be promoted, the best on the highest rung."""
        standings = self._with_paused(history)
        found = [self._next(history, self._group(history, key), standing) for key, standing in standings.items()]
        chosen = [item for item in found if item is not None]
        if not chosen:
            return self._finalist(history) if standings else None
        return max(chosen, key=lambda item: item[0])[1]

    def retire(self, history: History) -> dict[int, Stop]:
        """Return the paused trials of finished groups: no trial can join, runs, waits or can be promoted."""
        stops: dict[int, Stop] = {}
        for key, standing in self._with_paused(history).items():
            group = self._group(history, key)
            if not group.whole or standing.awaited or any(standing.paused[: group.first]):
                continue
            if self._next(history, group, standing) is None:
                for number in sorted(number for rung in standing.paused for _, number in rung):
                    place = Place.of(standing, len(standing.losses[number]) - 1, number)
                    text, evidence = self._described(history, history.trials[number], place, self._ladder(history))
                    stops[number] = Stop(f"{text}, and its round is over", evidence)
        return stops

    def _finalist(self, history: History) -> int | None:
        """The best trial on the highest rung up to `_top`, if nothing runs and no new trial will start.

        It is run to the end of the ladder. A trial beyond `_top` was the best one when an earlier run ended.
        """
        if not history.closing or any(trial.state is State.RUNNING for trial in history.open.values()):
            return None
        standings = self._standings(history).values()
        rungs = [sorted(chain(*parts)) for parts in zip(*(standing.rungs for standing in standings), strict=True)]
        stopped = {trial.number for trial in history.trials if trial.state is State.STOPPED}
        found = leader(rungs[: self._top(history, rungs) + 1], stopped)
        return found[1] if found is not None and history.trials[found[1]].state is State.PAUSED else None

    # --- for subclasses ---------------------------------------------------------------------------------

    def _ladder(self, history: History) -> tuple[int, ...]:
        problem = self._misfit(history.steps)
        if problem is not None:
            message = problem.message.replace("Must", "must", 1)
            raise PluginError(f"The `{problem.path}` option of {type(self).__name__} {message}")
        return make_ladder(self.eta, self.min_resource, self.max_resource or history.steps)

    def _misfit(self, steps: int | None) -> Mistake | None:
        """Why there is no ladder for trials with these steps (None: unknown); None if there is one."""
        top = min(filter(None, (self.max_resource, steps)), default=None)
        if top is None and self._needs_last_rung:
            message = (
                "Must be given, as the evaluator does not declare the steps of a whole trial. Set `max_resource` of "
                "the rule or `steps` of the evaluator."
            )
            return Mistake("max_resource", message)
        if top is not None and self.min_resource is not None and self.min_resource >= top:
            message = f"Must be below the steps of a whole trial, {top}. Got {self.min_resource}."
            return Mistake("min_resource", message)
        return None

    def _standings(self, history: History) -> Mapping[int, Standing]:
        return self._results.standings(history, self._ladder(history), self._key)

    def _with_paused(self, history: History) -> dict[int, Standing]:
        """The standings with paused trials, by key in ascending order; none if the rule does not pause trials."""
        standings = self._standings(history) if self._pauses(history) else {}
        return {key: standings[key] for key in sorted(self._results.with_paused)} if standings else {}

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
