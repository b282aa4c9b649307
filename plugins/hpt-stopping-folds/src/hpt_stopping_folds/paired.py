"""Base of the racing rules: losses by fold, the best complete trials, the value of a stopped trial."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import numpy as np

from hpt_core import PluginError, Stop, option
from hpt_stopping_folds.adjust import adjusted_mean
from hpt_stopping_folds.ended import Ended, FoldLosses, by_fold

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hpt_core import History, Trial

__all__ = ["Paired", "is_worse"]

_SAME = 1e-12  # relative: smaller differences of means are rounding


@attrs.define(kw_only=True)
class Paired:
    """A rule that compares trials fold by fold."""

    evidence: ClassVar[str] = "folds"
    """The kind of evidence that the rule needs."""

    metric: str | None = option(None, help="Name of the objective or metric to compare; default the first objective.")
    maximize: bool = option(False, help="Whether larger is better; only for a metric that is not an objective.")
    _ended: Ended = attrs.field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        self._ended = Ended(self.metric, self.maximize)

    def _folds(self, history: History, trial: Trial) -> FoldLosses:
        if history.evidence != "folds":
            raise PluginError(
                f"{type(self).__name__} compares trials fold by fold, but this evaluator reports a {history.evidence}. "
                "Use a rule for curves (median, asha), or an evaluator whose evidence is 'folds'."
            )
        return by_fold(history.curve(trial, self.metric, maximize=self.maximize))

    def _best(self, history: History, count: int) -> list[tuple[int, FoldLosses]]:
        """(number, losses) of the best feasible trials that have folds, best first; of equals the earlier one first."""
        return self._ranked(history, history.feasible, count)

    def _ranked(
        self, history: History, numbers: NDArray[np.intp], count: int, *, least: int = 1
    ) -> list[tuple[int, FoldLosses]]:
        """(number, losses) of the best of these trials that have at least ``least`` folds; all must have ended."""
        counts, losses = self._ended.compared(history, numbers)
        name = self._name(history)
        if name in history.objectives:
            losses = history.losses[numbers, history.objectives.index(name)]
        enough = counts >= least
        best = numbers[enough][np.argsort(losses[enough], kind="stable")][:count]
        return [(number, self._folds(history, history.trials[number])) for number in best.tolist()]

    def _stop(self, history: History, trial: Trial, reason: str, evidence: Mapping[str, Any]) -> Stop:
        """A stop whose value is adjusted for the folds that the trial has not done."""
        values, variances = self._ended.beside(trial, history, np.append(history.complete, history.stopped))
        return Stop(reason, {"folds": len(trial.reports), **evidence}, value=adjusted_mean(values, variances))

    def _name(self, history: History) -> str:
        return history.objectives[0] if self.metric is None else self.metric

    def _value(self, history: History, loss: float) -> float:
        return history.value_of(loss, self.metric, maximize=self.maximize)


def is_worse(loss: float, bound: float) -> bool:
    """Whether a loss is above a bound by more than rounding, so that a tie never stops a trial."""
    return loss > bound and not math.isclose(loss, bound, rel_tol=_SAME)
