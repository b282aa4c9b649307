"""Base of the rules of this plugin: brackets of trials that compete on a ladder of rungs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

from hpt_core import Mistake, Pause, PluginError, State, Stop, UsageError, option
from hpt_stopping_halving.bracket import Bracket, BracketId, Place
from hpt_stopping_halving.ladder import make_ladder
from hpt_stopping_halving.promotion import cut_at, next_asynchronous, next_synchronous
from hpt_stopping_halving.results import Results

if TYPE_CHECKING:
    from hpt_core import History, Trial

__all__ = ["RungRule"]


@attrs.define(kw_only=True)
class RungRule(ABC):
    """A rule on a ladder of rungs. Subclasses define the brackets, and whether trials pause.

    In the terms of Li et al. 2020, ``min_resource`` is r, ``max_resource`` is R, and the index of the first rung of a
    bracket is its early-stopping rate s. In a bracket without end, trials are promoted as by ASHA; one with an end is a
    round of successive halving.
    """

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

    def _bracket_of(self, history: History, number: int) -> BracketId:  # noqa: ARG002 - by default one bracket
        """The bracket of a trial. By default, all trials of the study compete from the first rung on."""
        return BracketId()

    def _top(self, history: History, bracket: Bracket) -> int:  # noqa: ARG002 - of rules that need it
        """Index of the highest rung of a bracket that trials may be promoted to; by default the last one."""
        return len(bracket.rungs) - 1

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
        key = self._bracket_of(history, trial.number)
        ladder = self._ladder(history)[key.first :]
        crossed = self._results.crossed(history, trial, ladder)
        if not crossed or trial.reports[-1].step >= min(ladder[-1], history.steps or ladder[-1]):
            return None  # at its last step, there is nothing to save
        bracket = self._brackets(history)[key]
        if trial.number not in bracket.losses:
            return None  # not compared: it is invalid or lies outside an amended space
        if not self._pauses(history):
            place = cut_at(bracket, crossed, trial.number, self.eta)
            return None if place is None else self._stop(history, trial, place)
        with bracket.pausing(trial):
            if self._next(history, bracket) == trial.number:
                return None  # pausing it only to resume it at once would waste a checkpoint
        text, evidence = self._described(history, trial, bracket.place(crossed[-1], trial.number))
        return Pause(f"{text} so far", evidence)

    def promote(self, history: History) -> int | None:
        """Return the paused trial to resume: of those to be promoted, the best on the highest rung."""
        brackets = self._with_paused(history)
        found = [(bracket, self._next(history, bracket)) for bracket in brackets]
        chosen = [(bracket.reached(number), number) for bracket, number in found if number is not None]
        if not chosen:
            return self._finalist(history) if brackets else None
        return max(chosen, key=lambda item: item[0])[1]

    def retire(self, history: History) -> dict[int, Stop]:
        """Return the paused trials of finished rounds: no trial can join, runs, waits or can be promoted."""
        stops: dict[int, Stop] = {}
        for bracket in self._with_paused(history):
            if self._may_grow(history, bracket) or bracket.awaited or self._next(history, bracket) is not None:
                continue
            for number in sorted(number for rung in bracket.paused for _, number in rung):
                place = bracket.place(len(bracket.losses[number]) - 1, number)
                text, evidence = self._described(history, history.trials[number], place)
                stops[number] = Stop(f"{text}, and its round is over", evidence)
        return stops

    # --- which trial is next ----------------------------------------------------------------------------

    def _next(self, history: History, bracket: Bracket) -> int | None:
        """The paused trial of a bracket to promote; None if there is none, or while a round waits for other trials."""
        if bracket.end is None:
            return next_asynchronous(bracket, self._top(history, bracket), self.eta)
        awaited = bracket.awaited
        if history.closing:  # while no new trial is started, a waiting trial was enqueued beyond the budget
            awaited = {number for number in awaited if history.trials[number].state is not State.WAITING}
        elif self._may_grow(history, bracket):
            return None
        return next_synchronous(bracket, awaited, self.eta)

    def _may_grow(self, history: History, bracket: Bracket) -> bool:
        """Whether further trials may join a bracket."""
        return bracket.end is None or history.next_number < bracket.end

    def _finalist(self, history: History) -> int | None:
        """The best trial on the highest rung up to `_top`, if nothing runs and no new trial will start.

        It is run to the end of the ladder. A trial beyond `_top` was the best one when an earlier run ended.
        """
        if not history.closing or any(trial.state is State.RUNNING for trial in history.open.values()):
            return None
        results: list[tuple[int, float, int]] = []
        for bracket in self._brackets(history).values():
            for step, rung in zip(bracket.ladder, bracket.rungs[: self._top(history, bracket) + 1], strict=False):
                results += [(-step, *result) for result in rung]
        ranked = (history.trials[number] for _, _, number in sorted(results))
        best = next(trial for trial in ranked if trial.state is not State.STOPPED)  # at least one trial is paused
        return best.number if best.state is State.PAUSED else None

    # --- the ladder and the brackets --------------------------------------------------------------------

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

    def _brackets(self, history: History) -> Mapping[BracketId, Bracket]:
        return self._results.brackets(history, self._ladder(history), self._bracket_of)

    def _with_paused(self, history: History) -> list[Bracket]:
        """The brackets with paused trials, in order; none if the rule does not pause trials."""
        brackets = self._brackets(history) if self._pauses(history) else {}
        return [brackets[key] for key in sorted(self._results.with_paused)] if brackets else []

    # --- reasons and evidence ---------------------------------------------------------------------------

    def _stop(self, history: History, trial: Trial, place: Place) -> Stop:
        text, evidence = self._described(history, trial, place)
        return Stop(f"{text}, {place.results // self.eta} may continue", evidence)

    def _described(self, history: History, trial: Trial, place: Place) -> tuple[str, Mapping[str, Any]]:
        name = history.objectives[0] if self.metric is None else self.metric
        value = history.value_of(place.loss, self.metric, maximize=self.maximize)
        text = f"{name} = {value:g} is number {place.rank} of {place.results} at rung {place.rung}"
        evidence = {
            "step": trial.reports[-1].step,
            "rung": place.rung,
            "value": value,
            "rank": place.rank,
            "results": place.results,
        }
        return text, evidence
