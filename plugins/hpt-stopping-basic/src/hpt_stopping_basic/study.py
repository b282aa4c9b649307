"""Rules that end a study: `trials`, `time`, `deadline`, `target` and `plateau`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import attrs
import numpy as np

from hpt_core import Stop, option
from hpt_stopping_basic.watch import Watching

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hpt_core import History, Trial

__all__ = ["Deadline", "Plateau", "Target", "TimeBudget", "TrialBudget"]

_GOOD_HALF = 1e-3  # smallest gain that counts, as a share of the spread of the better half of the results
_QUARTERS = 10.0  # limit of that spread, in spreads of the best quarter: most results may have diverged


@attrs.define(kw_only=True)
class TrialBudget:
    """Stops the study once a number of trials has been started. Waiting and invalid trials do not count."""

    limit: int = option(ge=1, help="Number of trials in total, including those of earlier runs.")

    def judge_study(self, history: History) -> Stop | None:
        """Stop once ``limit`` trials have been started."""
        started = history.next_number - history.invalid_count - len(history.waiting)
        if started < self.limit:
            return None
        count = "1 trial was" if started == 1 else f"{started} trials were"
        return Stop(f"{count} started, the limit is {self.limit}", {"started": started})


@attrs.define(kw_only=True)
class TimeBudget:
    """Stops the study after a time budget. Gaps between runs do not count; running trials finish first."""

    limit: float = option(gt=0, seconds=True, help="Seconds, or text like '90s', '10m', '1h30m', '2d'.")

    def judge_study(self, history: History) -> Stop | None:
        """Stop when ``limit`` seconds have passed."""
        elapsed = history.elapsed
        if elapsed < self.limit:
            return None
        return Stop(f"{elapsed:.1f} s have passed, the limit is {self.limit:g} s", {"elapsed": elapsed})


@attrs.define(kw_only=True)
class Deadline(TimeBudget):
    """Stops the study after a time budget, as `time` does, and running trials at their next report.

    A trial that makes its last report is complete. Trials that do not report finish first.
    """

    def judge_trial(self, history: History, trial: Trial) -> Stop | None:
        """Stop when ``limit`` seconds have passed."""
        at_last = trial.reports and trial.reports[-1].step == history.steps
        return None if at_last else self.judge_study(history)


@attrs.define(kw_only=True)
class Target(Watching):
    """Stops the study when a complete trial is as good as a target value or better.

    If the study has constraints, the trial must satisfy them.
    """

    value: float = option(help="The value that is good enough, as the evaluator reports it.")

    def judge_study(self, history: History) -> Stop | None:
        """Stop at the first complete trial that is as good as ``value`` or better."""
        feasible = history.feasible
        reached = feasible[self._results(history, feasible) <= self._loss(history, self.value)]
        if not len(reached):
            return None
        first = int(reached[0])
        value = self._value(history, float(self._results(history, reached[:1])[0]))
        reason = f"trial {first} reached {self._name(history)} = {value:g}, the target is {self.value:g}"
        return Stop(reason, {"trial": first, "value": value})


@attrs.define(kw_only=True)
class Plateau(Watching):
    """Stops the study when the best value has not improved for a number of trials.

    With y_1 ... y_k the losses of the ended trials by number, it stops when k >= ``min_trials`` and
    min(y_1 ... y_(k-patience)) - min(y_1 ... y_k) <= ``min_delta``. Trials that were stopped early or violate the
    study's constraints count as trials without a gain; failed trials do not count. For d parameters, ``patience``
    defaults to max(30, 5 d) and ``min_trials`` to max(20, 3 d). ``min_delta`` defaults to 0.001 times the distance from
    the best to the median result, or from the best to the quartile times ten, whichever is less (if not 0).
    """

    patience: int | None = option(
        None, ge=1, help="Trials without a gain before it stops; default max(30, 5 per parameter)."
    )
    min_delta: float | None = option(
        None, ge=0, help="Gains up to this do not count; default 0.1 % of the spread of the better half of the results."
    )
    min_trials: int | None = option(None, ge=1, help="Trials before it may stop; default max(20, 3 per parameter).")

    def judge_study(self, history: History) -> Stop | None:
        """Stop when the last ``patience`` trials brought no gain above ``min_delta``."""
        d = len(history.space.columns)
        patience = max(30, 5 * d) if self.patience is None else self.patience
        min_trials = max(20, 3 * d) if self.min_trials is None else self.min_trials
        losses = self._by_number(history)
        if len(losses) < max(min_trials, patience + 1):
            return None
        before, best = float(losses[:-patience].min()), float(losses.min())
        if not math.isfinite(before):
            return None
        smallest = self._smallest_gain(losses)
        if before - best > smallest:
            return None
        evidence = {
            "trials": len(losses),
            "patience": patience,
            "best": self._value(history, best),
            "before": self._value(history, before),
            "min_delta": smallest,
        }
        return Stop(f"no gain above {smallest:.3g} in the last {patience} trial{'s' * (patience != 1)}", evidence)

    def _by_number(self, history: History) -> NDArray[np.float64]:
        found = self._results(history, history.feasible)
        ended = np.zeros(history.next_number, dtype=bool)
        ended[history.complete] = ended[history.stopped] = True
        losses = np.full(history.next_number, math.inf)
        losses[history.feasible] = np.where(np.isnan(found), math.inf, found)
        return losses[ended]

    def _smallest_gain(self, losses: NDArray[np.float64]) -> float:
        if self.min_delta is not None:
            return self.min_delta
        finite = losses[np.isfinite(losses)]
        best = float(finite.min())
        half, quarter = float(np.median(finite)) - best, float(np.quantile(finite, 0.25)) - best
        return _GOOD_HALF * (min(half, _QUARTERS * quarter) if quarter > 0 else half)
