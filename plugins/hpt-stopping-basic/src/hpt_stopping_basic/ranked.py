"""Rules that compare a trial with the complete trials at the same point: `median` and `percentile`."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

import attrs

from hpt_core import Stop, option
from hpt_stopping_basic.reference import Key, Reference, interpolated
from hpt_stopping_basic.watch import Watching, begins_late, mean, worse

if TYPE_CHECKING:
    from hpt_core import History, Trial

__all__ = ["Median", "Percentile"]


@attrs.define(kw_only=True)
class _Ranked(Watching):
    min_trials: int = option(5, ge=1, help="Complete trials that must have got as far before it stops a trial.")
    min_step: int | None = option(
        None,
        ge=1,
        help="First step at which it may stop a trial; default a tenth of all steps, 2 for folds.",
    )
    _reference: Reference = attrs.field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        self._reference = Reference(self.metric, self.maximize)

    def check_evidence(self, kind: str, *, steps: int | None, resumable: bool) -> str | None:  # noqa: ARG002 - the contract
        """Warn if a trial has too few steps."""
        return begins_late(kind, self._first_step(kind, steps), "min_step", steps)

    def _judge(self, history: History, trial: Trial, percentile: float, called: str) -> Stop | None:
        curve = self._curve(history, trial)
        first = self._first_step(history.evidence, history.steps)
        if not curve or curve[-1][0] < first or trial.reports[-1].step == history.steps:
            return None
        step, losses = curve[-1][0], [loss for _, loss in curve]
        folds = history.evidence == "folds"
        key: Key = tuple(fold for fold, _ in curve) if folds else step
        others = self._reference.averages(history, key)
        if len(others) < self.min_trials:
            return None
        loss = mean(losses) if folds else min(losses)
        bound = interpolated(others, percentile)
        if not worse(loss, bound):
            return None
        value, limit = self._value(history, loss), self._value(history, bound)
        reason = f"{self._name(history)} = {value:g} at step {step} is worse than {called} {limit:g}"
        evidence = {"step": step, "value": value, "limit": limit, "trials": len(others)}
        return Stop(f"{reason} of {len(others)} complete trial{'s' * (len(others) != 1)}", evidence)

    def _first_step(self, kind: str, steps: int | None) -> int:
        if self.min_step is not None:
            return self.min_step
        return 2 if kind == "folds" else max(1, ceil((steps or 0) / 10))


@attrs.define(kw_only=True)
class Median(_Ranked):
    """Stops a trial that is worse than the median of the complete trials at the same point.

    For a curve, the trial's best report so far is compared with the median of the *running averages* of the complete
    trials' reports up to the same step (Golovin et al. 2017, "Google Vizier", section 3.2.2). For folds, its mean is
    compared with the median of the complete trials' means over the same folds. A tie never stops a trial, and none is
    stopped at its last step, as nothing would be saved. Complete trials that violate the study's constraints are left
    out.
    """

    def judge_trial(self, history: History, trial: Trial) -> Stop | None:
        """Stop when the trial is worse than the median."""
        return self._judge(history, trial, 50.0, "the median")


@attrs.define(kw_only=True)
class Percentile(_Ranked):
    """Stops a trial that is worse than a percentile of the complete trials at the same point.

    Like the rule ``median`` with another bound: with 25, only a trial in the best quarter continues.
    """

    percentile: float = option(
        25.0,
        gt=0,
        lt=100,
        help="A trial continues only among this percentage of the best; 50 is the median.",
    )

    def judge_trial(self, history: History, trial: Trial) -> Stop | None:
        """Stop when the trial is worse than the percentile."""
        return self._judge(history, trial, self.percentile, f"the {self.percentile:g} % bound")
