"""Rules that judge a trial by its own reports alone: `threshold` and `patience`."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

import attrs

from hpt_core import Stop, option
from hpt_stopping_basic.watch import Watching, begins_late, mean, worse

if TYPE_CHECKING:
    from hpt_core import History, Trial

__all__ = ["Patience", "Threshold"]


@attrs.define(kw_only=True)
class Threshold(Watching):
    """Stops a trial that is worse than a limit, such as one that diverged or takes too long.

    A curve is judged by its last report, folds by the mean of the reports so far.
    """

    limit: float = option(help="The worst acceptable value, as the evaluator reports it.")
    min_step: int = option(1, ge=1, help="First step at which the rule may stop a trial.")

    def check_evidence(self, kind: str, *, steps: int | None, resumable: bool) -> str | None:  # noqa: ARG002 - the contract
        """Warn if a trial has too few steps."""
        return begins_late(kind, self.min_step, "min_step", steps, at_last=True)

    def judge_trial(self, history: History, trial: Trial) -> Stop | None:
        """Stop when the trial is worse than ``limit``."""
        curve = self._curve(history, trial)
        if not curve or curve[-1][0] < self.min_step:
            return None
        step, loss = curve[-1]
        if history.evidence == "folds":
            loss = mean([item for _, item in curve])
        if not worse(loss, self._loss(history, self.limit)):
            return None
        value = self._value(history, loss)
        reason = f"{self._name(history)} = {value:g} at step {step} is worse than the limit {self.limit:g}"
        return Stop(reason, {"step": step, "value": value, "limit": self.limit})


@attrs.define(kw_only=True)
class Patience(Watching):
    """Ends a trial whose curve no longer improves.

    The best of the last ``reports`` reports is compared with the best report before them. The trial ends if it did not
    improve by at least ``min_gain`` times the magnitude of that earlier best. It is then complete, with the value of
    its last report, and may be the best trial. A trial is not judged at its last step, as nothing would be saved. Folds
    are not judged, as they have no order.
    """

    reports: int | None = option(
        None,
        ge=1,
        help="Reports without a gain before it stops a trial; default max(5, a tenth of all steps).",
    )
    min_gain: float = option(1e-3, ge=0, help="Smallest gain that counts, relative to the best report before.")

    def check_evidence(self, kind: str, *, steps: int | None, resumable: bool) -> str | None:  # noqa: ARG002 - the contract
        """Warn of folds, and if a trial has too few steps."""
        if kind == "folds":
            return "This rule never ends a trial: it does not judge folds."
        return begins_late(kind, self._patience(steps) + 1, "reports", steps)

    def judge_trial(self, history: History, trial: Trial) -> Stop | None:
        """Declare the trial complete when the last ``reports`` reports brought no gain."""
        losses = [loss for _, loss in self._curve(history, trial)]
        patience = self._patience(history.steps)
        if history.evidence != "curve" or len(losses) <= patience:
            return None
        before, now = min(losses[:-patience]), min(losses[-patience:])
        gain = before - now
        step = trial.reports[-1].step
        if (gain > 0 and gain >= self.min_gain * abs(before)) or step == history.steps:
            return None
        evidence = {"step": step, "before": self._value(history, before), "since": self._value(history, now)}
        count = f"{patience} report{'s' * (patience != 1)}"
        return Stop(f"no gain of {self.min_gain:g} in the last {count}", evidence, complete=True)

    def _patience(self, steps: int | None) -> int:
        return max(5, ceil((steps or 0) / 10)) if self.reports is None else self.reports
