"""The value that a rule watches, an objective or any other metric, as losses and in the user's sign."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from hpt_core import option

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hpt_core import History, Trial

__all__ = ["Watching", "begins_late", "mean", "worse"]

_SAME = 1e-9  # relative: smaller differences are rounding


@attrs.define(kw_only=True)
class Watching:
    """Base of the rules that watch a metric: its options, and conversion between values and losses."""

    metric: str | None = option(None, help="Name of the objective or metric to watch; default the first objective.")
    maximize: bool = option(False, help="Whether larger is better; only for a metric that is not an objective.")

    def _name(self, history: History) -> str:
        return history.objectives[0] if self.metric is None else self.metric

    def _value(self, history: History, loss: float) -> float:
        return history.value_of(loss, self.metric, maximize=self.maximize)

    def _loss(self, history: History, value: float) -> float:
        return history.loss_of(value, self.metric, maximize=self.maximize)

    def _curve(self, history: History, trial: Trial) -> list[tuple[int, float]]:
        return history.curve(trial, self.metric, maximize=self.maximize)

    def _results(self, history: History, numbers: NDArray[np.intp]) -> NDArray[np.float64]:
        """The final losses of trials, shape (len(numbers),); NaN where a trial has none."""
        name = self._name(history)
        if name in history.objectives:
            column: NDArray[np.float64] = history.losses[numbers, history.objectives.index(name)]
            return column
        found: list[Any] = [history.trials[i].metrics.get(name, math.nan) for i in numbers]
        values = np.array(found, dtype=np.float64)
        return -values if self.maximize else values


def begins_late(kind: str, first: int, option: str, steps: int | None, *, at_last: bool = False) -> str | None:
    """Warn of a rule that never stops a trial, as a whole trial has too few steps; None if the rule may stop one.

    Args:
        kind: The kind of evidence.
        first: The first step at which the rule may stop a trial.
        option: The option that defines it.
        steps: The steps of a whole trial; None: unknown.
        at_last: Whether the rule may stop a trial at its last step.
    """
    if steps is None or first < steps + at_last:
        return None
    unit = "fold" if kind == "folds" else "step"
    why = f"it begins at {unit} {first} (`{option}`), and a trial ends at {unit} {steps}"
    return f"This rule never stops a trial: {why}."


def mean(losses: Sequence[float]) -> float:
    """The mean of one or more numbers; it does not depend on their order."""
    try:
        return math.fsum(losses) / len(losses)
    except OverflowError:  # losses of a diverged training
        return math.fsum(loss / len(losses) for loss in losses)


def worse(loss: float, bound: float) -> bool:
    """Whether a loss is above a bound by more than rounding, so that a tie never stops a trial."""
    return loss > bound and not math.isclose(loss, bound, rel_tol=_SAME)
