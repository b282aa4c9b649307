"""The rule `folds`: a trial against the incumbent, fold by fold."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import attrs

from hpt_core import Mistake, Stop, UsageError, option
from hpt_stopping_folds.boundary import level, looks
from hpt_stopping_folds.differences import corrected_t, signed_rank
from hpt_stopping_folds.paired import FoldLosses, Paired, is_worse, mean_over

if TYPE_CHECKING:
    from hpt_core import History, Trial

__all__ = ["Folds"]

_FIRST = {"forgiving": 1, "t": 3, "wilcoxon": 8}


@attrs.define(kw_only=True)
class Folds(Paired):
    """Stops a trial that on the folds so far is worse than the best complete trial, the incumbent.

    ``forgiving``: when the mean over its folds is worse than the worst single fold of the incumbent (Bergman et al.
    2024, "Don't waste your time: early stopping cross-validation"); a tie lets it go on. ``t``: when a paired t-test,
    corrected for overlapping training sets (Nadeau and Bengio 2003), says that it is worse. ``wilcoxon``: likewise the
    signed-rank test, for many folds; with fewer than 8 it has nothing to say. Both tests look after each fold, 20 times
    at most, and all looks together stop a trial that is as good as the incumbent with probability ``alpha`` (Pocock
    1977); a trial whose mean is not worse is never stopped. A stopped trial has the value that it would have on all
    folds.
    """

    test: Literal["forgiving", "t", "wilcoxon"] = option("forgiving", help="How to tell that a trial is worse.")
    min_folds: int | None = option(
        None, ge=1, help="Folds before it may act; default 1 (forgiving), 3 (t), 8 (wilcoxon)."
    )
    alpha: float = option(0.1, gt=0, le=0.5, help="Share of trials as good as the incumbent that t and wilcoxon stop.")
    ratio: float | None = option(
        None, ge=0, help="Test rows per training row of a fold, for t; default 1 / (folds - 1), as in k-fold splits."
    )

    def __attrs_post_init__(self) -> None:
        if self.min_folds is not None and self.test != "forgiving" and self.min_folds < 2:
            raise UsageError(Mistake("min_folds", f"Must be an int >= 2 for {self.test!r}. Got {self.min_folds}."))

    def judge_trial(self, history: History, trial: Trial) -> Stop | None:
        """Stop when the trial is worse than the incumbent."""
        mine = self._folds(history, trial)
        best = self._best(history, 1)
        if not best or len(mine) < (self.min_folds or _FIRST[self.test]):
            return None
        number, theirs = best[0]
        if self._is_over(history, mine, theirs):
            return None
        if self.test == "forgiving":
            return self._forgiving(history, trial, mine, number, theirs)
        return self._tested(history, trial, mine, number, theirs)

    def _forgiving(
        self, history: History, trial: Trial, mine: FoldLosses, number: int, theirs: FoldLosses
    ) -> Stop | None:
        mean, worst = mean_over(mine), max(theirs.values())
        if not is_worse(mean, worst):
            return None
        value, limit = self._value(history, mean), self._value(history, worst)
        said = f"mean {self._name(history)} = {value:g} over {len(mine)} folds is worse than the worst fold"
        evidence = {"mean": value, "limit": limit, "incumbent": number}
        return self._stop(history, trial, f"{said}, {limit:g}, of trial {number}", evidence)

    def _tested(self, history: History, trial: Trial, mine: FoldLosses, number: int, theirs: FoldLosses) -> Stop | None:
        common = sorted(mine.keys() & theirs.keys())
        folds = history.steps or len(theirs)
        at = looks(self.min_folds or _FIRST[self.test], folds - 1)
        differences = [mine[fold] - theirs[fold] for fold in common]
        if len(common) not in at or math.fsum(differences) <= 0:
            return None
        if self.test == "t":
            p = corrected_t(differences, 1 / (folds - 1) if self.ratio is None else self.ratio)
        else:
            p = signed_rank(differences)
        limit = level(self.alpha, at)
        if p >= limit:
            return None
        value = self._value(history, mean_over({fold: mine[fold] for fold in common}))
        said = f"{self._name(history)} is worse than that of trial {number} on {len(common)} folds"
        evidence = {"mean": value, "p": p, "limit": limit, "incumbent": number}
        return self._stop(history, trial, f"{said}: p = {p:.2g} < {limit:.2g} ({self.test})", evidence)
