"""Base of the rules on curves: a share of the trials is never stopped, to estimate how often a rule is wrong."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from hpt_core import Stop, option
from hpt_stopping_curve.readings import Readings
from hpt_stopping_curve.replay import audited_trials, false_stop_rate, is_audited

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hpt_core import History, Report, Trial

__all__ = ["Audited", "Curve", "worse"]

Curve = Sequence[tuple[int, float]]
"""(step, loss), in order of step."""

_SAME = 1e-9  # relative: smaller differences are rounding


def worse(loss: float, bound: float) -> bool:
    """Whether a loss is above a bound by more than rounding, so that a tie never stops a trial."""
    return loss > bound and not math.isclose(loss, bound, rel_tol=_SAME)


@attrs.define(kw_only=True)
class Audited(ABC):
    """Base of the rules on curves: the watched metric, the audited trials, and the estimate of false stops."""

    metric: str | None = option(None, help="Name of the objective or metric to watch; default the first objective.")
    maximize: bool = option(False, help="Whether larger is better; only for a metric that is not an objective.")
    audit: float = option(
        0.05,
        ge=0,
        le=1,
        help="Share of the trials that are never stopped, from which `hpt show` estimates false stops.",
    )
    _readings: Readings = attrs.field(factory=Readings, init=False, repr=False, eq=False)

    def check_evidence(self, kind: str, *, steps: int | None, resumable: bool) -> str | None:  # noqa: ARG002 - the contract
        """Warn of folds, and if a trial has too few steps."""
        if kind == "folds":
            return "This rule never stops a trial: it does not judge folds."
        first, last, option = self._range(steps or 0)
        if steps is None or first <= last:
            return None
        return (
            f"This rule never stops a trial: it begins at step {first} (`{option}`), and a trial ends at step {steps}."
        )

    def judge_trial(self, history: History, trial: Trial) -> Stop | None:
        """Stop a trial that is not audited if `would_stop` returns a stop."""
        if history.evidence != "curve" or is_audited(history.seed, trial.number, self.audit):
            return None
        return self.would_stop(history, self.curve(history, trial), history.complete)

    @abstractmethod
    def _range(self, steps: int) -> tuple[int, int, str]:
        """The first and the last step at which a trial of so many steps may be stopped, and what sets the first."""

    @abstractmethod
    def would_stop(self, history: History, curve: Curve, others: NDArray[np.intp]) -> Stop | None:
        """Judge a curve by its reports so far.

        Args:
            history: The study.
            curve: The reports so far as losses.
            others: Numbers of the complete trials to compare the curve with.
        """

    def summary(self, history: History) -> Mapping[str, Any] | None:
        """Count the audited trials that it would have stopped, and how many wrongly; None without audited trials."""
        audited = audited_trials(history, self)
        if not audited:
            return None
        found = false_stop_rate(history, self)
        summary: dict[str, Any] = {"audited trials": len(audited), "would have stopped": found.stops}
        if found.rate is not None:
            low, high = found.interval
            summary |= {"false-stop rate": found.rate, "95 % interval": [round(low, 3), round(high, 3)]}
        return summary

    def curve(self, history: History, trial: Trial) -> list[tuple[int, float]]:
        """A trial's reports as losses of the watched metric."""
        return history.curve(trial, self.metric, maximize=self.maximize)

    def reader(self, history: History) -> Callable[[Report], float]:
        """A function that reads the watched metric from a report, as a loss; NaN if the report lacks it."""
        name, sign = self.metric, history.loss_of(1.0, self.metric, maximize=self.maximize)
        if name is None or name == history.objectives[0]:
            return lambda report: sign * report.value
        return lambda report: sign * report.metrics.get(name, math.nan)

    def ends(self, history: History, numbers: NDArray[np.intp]) -> NDArray[np.float64]:
        """The final losses of those complete trials that satisfy the study's constraints and have the watched metric.

        A trial's final loss is that of its last report, as it is compared with curves; without reports, of its result.
        """
        read = self.reader(history)

        def end(trial: Trial) -> float:
            return read(trial.reports[-1]) if trial.reports else self._result(history, trial)

        kept = numbers[np.isin(numbers, history.feasible)]
        found = self._readings.of(history, kept, "end", end)
        return found[~np.isnan(found)]

    def _result(self, history: History, trial: Trial) -> float:
        known = {**trial.metrics, **dict(zip(history.objectives, trial.values or (), strict=False))}
        value = known.get(history.objectives[0] if self.metric is None else self.metric, math.nan)
        return history.loss_of(value, self.metric, maximize=self.maximize)

    def value(self, history: History, loss: float) -> float:
        """A loss as a value in the user's sign."""
        return history.value_of(loss, self.metric, maximize=self.maximize)
