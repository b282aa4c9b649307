"""The rule `race`: compares a trial with the best few complete trials, as irace eliminates candidates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np

from hpt_core import Stop, option
from hpt_stopping_folds.boundary import idle, level, looks
from hpt_stopping_folds.differences import signed_rank
from hpt_stopping_folds.ended import mean_over
from hpt_stopping_folds.friedman import friedman, least_p
from hpt_stopping_folds.paired import Paired

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hpt_core import History, Trial

__all__ = ["Race"]


@attrs.define(kw_only=True)
class Race(Paired):
    """Stops a trial that loses a race against the best complete trials over the folds so far.

    After each fold from ``min_folds`` on, Friedman's test compares the elites and the trial. If it finds a difference,
    a post-hoc test compares the trial with the best of them. With a single elite, the signed-rank test is used
    (Birattari et al. 2002, "A racing algorithm for configuring metaheuristics"; López-Ibáñez et al. 2016, "The irace
    package", section 3). All looks together have the error probability ``alpha`` if the folds are independent (Pocock
    1977). The value of a stopped trial is an estimate of its mean over all folds.
    """

    elites: int = option(5, ge=1, help="Number of the best complete trials that take part in the race.")
    min_folds: int = option(5, ge=2, help="Folds before it may stop a trial.")
    alpha: float = option(0.05, gt=0, le=0.5, help="Probability that a race finds a difference if there is none.")

    def check_evidence(self, kind: str, *, steps: int | None, resumable: bool) -> str | None:  # noqa: ARG002 - the contract
        """Warn if a trial has too few folds."""

        def smallest_p(folds: int) -> float:
            return min(0.5**folds, least_p(folds, 1 + self.elites) if self.elites > 1 else 1.0)

        return idle(self.min_folds, steps, self.alpha, smallest_p)

    def judge_trial(self, history: History, trial: Trial) -> Stop | None:
        """Stop when the trial has lost the race."""
        mine = self._folds(history, trial)
        if len(mine) < self.min_folds or len(trial.reports) == history.steps:
            return None
        rivals = [(n, theirs) for n, theirs in self._best(history, self.elites) if mine.keys() <= theirs.keys()]
        if not rivals:
            return None
        at = looks(self.min_folds, (history.steps or len(rivals[0][1])) - 1)  # the last fold is too late to stop
        if len(mine) not in at:
            return None
        losses = np.array([[row[fold] for fold in sorted(mine)] for row in (*(theirs for _, theirs in rivals), mine)])
        limit = level(self.alpha, at)
        winner, p = _lost(losses, limit)
        if winner is None:
            return None
        number, value = rivals[winner][0], self._value(history, mean_over(mine))
        reason = f"{self._name(history)} loses to trial {number} in a race of {len(losses)} over {len(mine)} folds"
        evidence = {"mean": value, "p": p, "limit": limit, "best": number, "rivals": [n for n, _ in rivals]}
        return self._stop(history, trial, f"{reason}: p = {p:.2g} < {limit:.2g}", evidence)


def _lost(losses: NDArray[np.float64], limit: float) -> tuple[int | None, float]:
    """Test whether the last row of losses (candidates, folds) has lost at this level.

    Returns:
        The index of the row that beat it, None if none did; and the p-value.
    """
    if len(losses) == 2:
        best, p = 0, signed_rank(losses[1] - losses[0])
        lost = p < limit
    else:
        outcome = friedman(losses.T)
        best, p = int(outcome.rank_sums[:-1].argmin()), outcome.p
        lost = p < limit and outcome.rank_sums[-1] - outcome.rank_sums[best] > outcome.critical_difference(limit)
    better_mean = losses[-1].sum() <= losses[best].sum()
    return (best if lost and not better_mean else None), p
