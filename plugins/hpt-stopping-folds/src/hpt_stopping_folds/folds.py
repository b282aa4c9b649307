"""The rule `folds`: compares a trial with the incumbent fold by fold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import attrs
import numpy as np

from hpt_core import Mistake, Pause, State, Stop, UsageError, option
from hpt_stopping_folds.boundary import idle, level, looks
from hpt_stopping_folds.differences import corrected_t, expected_gain, pooled_variance, signed_rank, variance_of
from hpt_stopping_folds.ended import FoldLosses, mean_over
from hpt_stopping_folds.paired import Paired, is_worse

if TYPE_CHECKING:
    from hpt_core import History, Trial

__all__ = ["Folds"]

_FIRST = {"gain": 1, "forgiving": 1, "t": 3, "wilcoxon": 8}
_NEAR = 20  # best trials with two folds or more from which the variance of differences between folds is estimated
_WEIGHT = 4.0  # degrees of freedom of the incumbent's own variance, the prior of that estimate

Incumbent = tuple[int, FoldLosses]
"""(trial number, losses) of the best complete trial."""

Verdict = tuple[str, dict[str, Any]]
"""The reason for a stop, and its evidence."""

_WAITS = "waits until"  # the reason of each pause of this rule begins so; logs hold it, so it must not change


@attrs.define(kw_only=True)
class Folds(Paired):
    """Stops a trial that is worse, on its folds so far, than the incumbent: the best complete trial.

    The option ``test`` defines when a trial is worse. ``gain``: its mean is worse, and its expected gain on the
    incumbent over all folds is not worth the remaining ones. The limit after the first fold is ``share`` times the
    standard error of the incumbent's mean, and it falls in proportion to the remaining folds. ``forgiving``: its mean
    is worse than the incumbent's worst single fold (Bergman et al. 2024, "Don't waste your time: early stopping
    cross-validation"). ``t``: a paired t-test corrected for overlapping training sets (Nadeau and Bengio 2003) finds it
    worse. ``wilcoxon``: the signed-rank test finds it worse; for 9 folds or more. These two tests are made after each
    fold, at most 20 times, and together stop a trial as good as the incumbent with probability ``alpha`` (Pocock 1977;
    for ``wilcoxon`` if the folds are independent).
    A tie never stops a trial. The value of a stopped trial is an estimate of its mean over all folds.

    As long as no trial is complete, the first ``waiting`` trials pause after ``min_folds`` folds, if the evaluator can
    resume. Then the best of them is resumed first, so that the others are compared with a good incumbent. Trials that
    tie for the best do one more fold each until one is ahead. A paused trial is not resumed while a better one runs.
    """

    test: Literal["gain", "forgiving", "t", "wilcoxon"] = option("gain", help="How to decide that a trial is worse.")
    waiting: int = option(16, ge=0, help="Trials to pause before the first one does all folds; 0: none.")
    min_folds: int | None = option(
        None, ge=1, help="Folds before it may stop a trial; default 1 (gain, forgiving), 3 (t), 8 (wilcoxon)."
    )
    share: float = option(0.25, gt=0, help="Gain worth all folds but the first, in standard errors, for gain.")
    alpha: float = option(
        0.1, gt=0, le=0.5, help="Probability that t and wilcoxon stop a trial as good as the incumbent."
    )
    ratio: float | None = option(
        None,
        ge=0,
        help="Test rows per training row of a fold, for t; default 1 / (folds - 1), too small for repeated splits.",
    )

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        if self.min_folds is not None and self.test in ("t", "wilcoxon") and self.min_folds < 2:
            raise UsageError(Mistake("min_folds", f"Must be an int >= 2 for {self.test!r}. Got {self.min_folds}."))

    @property
    def _first(self) -> int:
        return self.min_folds or _FIRST[self.test]

    def check_evidence(self, kind: str, *, steps: int | None, resumable: bool) -> str | None:  # noqa: ARG002 - the contract
        """Warn if a trial has too few folds."""
        return idle(self._first, steps, self.alpha, lambda folds: 0.5**folds if self.test == "wilcoxon" else 0.0)

    def judge_trial(self, history: History, trial: Trial) -> Stop | Pause | None:
        """Stop when the trial is worse than the incumbent; pause if there is none yet."""
        mine, incumbent = self._folds(history, trial), self._incumbent(history)
        if len(trial.reports) == history.steps:
            return None  # the metric may be missing on a fold, so that there are fewer losses
        if incumbent is not None:
            return self._judged(history, trial, mine, incumbent)
        if not self.waiting or not history.resumable or len(mine) < self._first:
            return None
        if len(mine) == self._first:
            return Pause(f"{_WAITS} {self.waiting} trials have done as many folds", {"folds": len(mine)})
        tie = self._tied(history, trial, mine)
        if tie is None:
            return None
        reason = f"{_WAITS} trials that were as good on {_folds(len(mine) - 1)} have done as many"
        return Pause(reason, {"folds": len(mine), "tie": tie})

    def retire(self, history: History) -> Mapping[int, Stop]:
        """Return the waiting trials that are worse than the incumbent."""
        waiting = self._waiting(history)
        incumbent = self._incumbent(history) if waiting else None
        if incumbent is None:
            return {}
        judged = {n: self._judged(history, history.trials[n], mine, incumbent) for n, mine in waiting.items()}
        return {number: stop for number, stop in judged.items() if stop is not None}

    def promote(self, history: History) -> int | None:
        """Return the best waiting trial, once enough trials wait, one is complete or no new one will start."""
        waiting = self._waiting(history)
        incumbent = self._incumbent(history) if waiting else None
        if incumbent is None:
            enough = len(waiting) >= self.waiting or history.closing
            return self._first_to_resume(history, waiting) if waiting and enough else None

        def behind(number: int) -> tuple[float, int]:
            found = _differences(waiting[number], incumbent[1])
            return math.fsum(found) / len(found) if found else math.inf, number  # no report had the metric

        return min(waiting, key=behind)

    def _first_to_resume(self, history: History, waiting: Mapping[int, FoldLosses]) -> int | None:
        """The best waiting trial while none is complete; None if a better one runs, the likely incumbent."""
        # of trials that tie so far, the one with the fewest folds comes first: a prefix sorts before the whole tuple
        standing, number = min((self._standing(mine) or (math.inf,), number) for number, mine in waiting.items())
        run = (self._folds(history, trial) for trial in history.open.values() if trial.state is State.RUNNING)
        better = any(self._standing(mine) < standing for mine in run if len(mine) >= self._first)
        return None if better else number

    def _incumbent(self, history: History) -> Incumbent | None:
        return next(iter(self._best(history, 1)), None)

    def _waiting(self, history: History) -> dict[int, FoldLosses]:
        """Number -> folds of the trials that this rule paused."""
        paused = [trial for trial in history.open.values() if self.waiting and trial.state is State.PAUSED]
        return {t.number: self._folds(history, t) for t in paused if t.reason.startswith(_WAITS)}

    def _standing(self, mine: FoldLosses) -> tuple[float, ...]:
        """The mean over the first ``min_folds`` folds, over one fold more, and so on; less is better."""
        losses = [mine[fold] for fold in sorted(mine)]
        return tuple(_rounded(math.fsum(losses[:n]) / n) for n in range(self._first, len(losses) + 1))

    def _tied(self, history: History, trial: Trial, mine: FoldLosses) -> int | None:
        """The number of another open trial that was as good before this one's last fold; None if there is none."""
        before = self._standing(mine)[:-1]
        for other in history.open.values():
            if other.number != trial.number and self._standing(self._folds(history, other))[: len(before)] == before:
                return other.number
        return None

    # --- the tests --------------------------------------------------------------------------------------

    def _judged(self, history: History, trial: Trial, mine: FoldLosses, incumbent: Incumbent) -> Stop | None:
        number, theirs = incumbent
        if not self._first <= len(mine) < (history.steps or len(theirs)):
            return None
        test = {"gain": self._gain, "forgiving": self._forgiving}.get(self.test, self._significance)
        verdict = test(history, mine, incumbent)
        if verdict is None:
            return None
        reason, numbers = verdict
        evidence = {"mean": self._value(history, mean_over(mine)), **numbers, "incumbent": number}
        return self._stop(history, trial, reason, evidence)

    def _forgiving(self, history: History, mine: FoldLosses, incumbent: Incumbent) -> Verdict | None:
        mean, worst = mean_over(mine), max(incumbent[1].values())
        if not is_worse(mean, worst):
            return None
        value, limit = self._value(history, mean), self._value(history, worst)
        reason = f"mean {self._name(history)} = {value:g} over {_folds(len(mine))} is worse than the worst fold"
        return f"{reason}, {limit:g}, of trial {incumbent[0]}", {"limit": limit}

    def _gain(self, history: History, mine: FoldLosses, incumbent: Incumbent) -> Verdict | None:
        number, theirs = incumbent
        folds, common = history.steps or len(theirs), mine.keys() & theirs.keys()
        if not common or not is_worse(*(mean_over({fold: row[fold] for fold in common}) for row in (mine, theirs))):
            return None
        behind, own = _differences(mine, theirs), variance_of(list(theirs.values()))
        ended = np.sort(np.append(history.complete, history.stopped))
        others = self._ranked(history, ended, _NEAR + 1, least=2)
        rivals = [_differences(row, theirs) for _, row in others]  # the incumbent's row is all zeros and is ignored
        variance = pooled_variance([*rivals, behind], own, _WEIGHT)
        left = max(0.0, 1 / len(behind) - 1 / folds)
        gain = expected_gain(math.fsum(behind) / len(behind), math.sqrt(left * variance))
        limit = self.share * (folds - len(behind)) / (folds - 1) * math.sqrt(max(variance, own) / folds)
        if gain > limit:
            return None
        reason = f"{self._worse_than(history, number, behind)}: its expected gain is {gain:.2g}, the limit {limit:.2g}"
        return reason, {"gain": gain, "limit": limit}

    def _significance(self, history: History, mine: FoldLosses, incumbent: Incumbent) -> Verdict | None:
        number, theirs = incumbent
        folds = history.steps or len(theirs)
        at, behind = looks(self._first, folds - 1), _differences(mine, theirs)
        if len(behind) not in at or math.fsum(behind) <= 0:
            return None
        if self.test == "t":
            p = corrected_t(behind, 1 / (folds - 1) if self.ratio is None else self.ratio)
        else:
            p = signed_rank(behind)
        limit = level(self.alpha, at)
        if p >= limit:
            return None
        reason = f"{self._worse_than(history, number, behind)}: p = {p:.2g} < {limit:.2g} ({self.test})"
        return reason, {"p": p, "limit": limit}

    def _worse_than(self, history: History, number: int, behind: list[float]) -> str:
        by = f"{math.fsum(behind) / len(behind):.2g} on the same {_folds(len(behind))}"
        return f"{self._name(history)} is worse than that of trial {number} by {by}"


def _differences(mine: FoldLosses, theirs: FoldLosses) -> list[float]:
    """How far a trial is behind on each fold that both trials have done."""
    return [mine[fold] - theirs[fold] for fold in sorted(mine.keys() & theirs.keys())]


def _folds(count: int) -> str:
    return f"{count} fold{'s' * (count != 1)}"


def _rounded(mean: float) -> float:
    """A mean without its last digits, so that rounding does not break a tie."""
    return float(f"{mean:.12g}")
