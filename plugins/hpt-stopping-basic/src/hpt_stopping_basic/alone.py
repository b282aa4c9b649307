"""Rules on a trial that look at that trial alone: a limit, and patience."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

import attrs

from hpt_core import Stop, option
from hpt_stopping_basic.watch import Watching, mean, worse

if TYPE_CHECKING:
    from hpt_core import History, Trial

__all__ = ["Patience", "Threshold"]


@attrs.define(kw_only=True)
class Threshold(Watching):
    """Stops a trial that is worse than a limit: one that diverged, or takes too much.

    A curve is judged by its last report, folds by the mean of the reports so far.
    """

    limit: float = option(help="The worst value that may go on, in your own sign.")
    min_step: int = option(1, ge=1, help="The first step at which it may act.")

    def judge_trial(self, history: History, trial: Trial) -> Stop | None:
        """Stop when the trial is worse than ``limit``."""
        curve = self._curve(history, trial)
        if not curve or curve[-1][0] < self.min_step:
            return None
        step, loss = curve[-1]
        if history.evidence == "folds":
            loss = mean([item for _, item in curve])
        if not worse(loss, self._value(history, self.limit)):
            return None
        value = self._value(history, loss)
        reason = f"{self._name(history)} = {value:g} at step {step} is worse than the limit {self.limit:g}"
        return Stop(reason, {"step": step, "value": value, "limit": self.limit})


@attrs.define(kw_only=True)
class Patience(Watching):
    """Stops a trial whose curve has stopped to improve.

    Stops when the best of the last ``reports`` reports is better than the best before by less than ``min_gain`` times
    that. Says nothing about folds, which have no order. The trial has the value of its last report.
    """

    reports: int | None = option(
        None, ge=1, help="Reports without gain; default max(5, a tenth of the evaluator's steps)."
    )
    min_gain: float = option(1e-3, ge=0, help="A smaller gain, relative to the best before, is none.")

    def judge_trial(self, history: History, trial: Trial) -> Stop | None:
        """Stop when the last ``reports`` reports brought no gain."""
        losses = [loss for _, loss in self._curve(history, trial)]
        patience = max(5, ceil((history.steps or 0) / 10)) if self.reports is None else self.reports
        if history.evidence != "curve" or len(losses) <= patience:
            return None
        before, now = min(losses[:-patience]), min(losses[-patience:])
        gain = before - now
        if gain > 0 and gain >= self.min_gain * abs(before):
            return None
        step = trial.reports[-1].step
        evidence = {"step": step, "before": self._value(history, before), "since": self._value(history, now)}
        return Stop(f"no gain of {self.min_gain:g} in the last {patience} reports", evidence)
