"""Rules on a curve of which some trials are spared, so that what they cost can be told."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from hpt_core import Stop, option
from hpt_stopping_curve.replay import audited_trials, false_stop_rate, is_audited

if TYPE_CHECKING:
    from hpt_core import History, Trial

__all__ = ["Audited", "Curve", "worse"]

Curve = Sequence[tuple[int, float]]
"""(step, loss), in order of step."""

_SAME = 1e-9  # relative: what differs by less differs by rounding


def worse(loss: float, bound: float) -> bool:
    """Whether a loss is above a bound by more than rounding: ties never stop anything."""
    return loss > bound and not math.isclose(loss, bound, rel_tol=_SAME)


@attrs.define(kw_only=True)
class Audited(ABC):
    """What the rules on curves have in common: what they watch, whom they spare, what sparing them taught."""

    metric: str | None = option(
        None, help="The objective or metric to watch, by name; without one the (first) objective."
    )
    maximize: bool = option(False, help="Whether more is better, for a metric that is no objective.")
    audit: float = option(
        0.05, ge=0, le=1, help="Share of the trials that it never stops, so that `hpt show` can tell its false stops."
    )

    def judge_trial(self, history: History, trial: Trial) -> Stop | None:
        """Stop a trial that is not audited where `would_stop` says so."""
        if history.evidence != "curve" or is_audited(history.seed, trial.number, self.audit):
            return None
        return self.would_stop(history, self.curve(history, trial), map(int, history.complete))

    @abstractmethod
    def would_stop(self, history: History, curve: Curve, others: Iterable[int]) -> Stop | None:
        """Decide on a curve as far as it is known.

        Args:
            history: The study.
            curve: The reports so far as losses.
            others: Numbers of the complete trials that it is compared with.
        """

    def summary(self, history: History) -> Mapping[str, Any] | None:
        """How often it would have stopped audited trials, and how often wrongly; None without such a trial."""
        spared = audited_trials(history, self)
        if not spared:
            return None
        found = false_stop_rate(history, self)
        told: dict[str, Any] = {"audited trials": len(spared), "would have stopped": found.stops}
        if found.rate is not None:
            low, high = found.interval
            told |= {"false-stop rate": found.rate, "95 % interval": [round(low, 3), round(high, 3)]}
        return told

    def curve(self, history: History, trial: Trial) -> list[tuple[int, float]]:
        """A trial's reports as losses of what is watched."""
        return history.curve(trial, self.metric, maximize=self.maximize)

    def end(self, history: History, trial: Trial) -> float:
        """The loss at which a complete trial ended: its last report's, as curves are compared with it.

        Returns:
            Its result's for a trial without reports; NaN where it does not have what is watched.
        """
        name = self._name(history)
        index = history.objectives.index(name) if name in history.objectives else None
        if trial.reports:
            last = trial.reports[-1]
            value = last.value if index == 0 else last.metrics.get(name, math.nan)
        elif index is not None and trial.values is not None:
            value = trial.values[index]
        else:
            value = trial.metrics.get(name, math.nan)
        return self.signed(history, value)

    def ends(self, history: History, numbers: Iterable[int]) -> list[float]:
        """Where complete trials ended that keep the study's constraints and have what is watched."""
        kept = set(history.feasible.tolist())
        found = (self.end(history, history.trials[number]) for number in numbers if number in kept)
        return [end for end in found if not math.isnan(end)]

    def signed(self, history: History, loss: float) -> float:
        """A loss in the user's sign; the sign is its own inverse, so also a value as a loss."""
        name = self._name(history)
        if name in history.objectives:
            return float(history.value_of(loss, history.objectives.index(name)))
        return -loss if self.maximize else loss

    def _name(self, history: History) -> str:
        return history.objectives[0] if self.metric is None else self.metric
