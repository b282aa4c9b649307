"""The rules `regret` and `improvement`: end a study when little is left to gain."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import numpy as np

from hpt_core import Stop, option
from hpt_stopping_regret.limits import fold_error, unexplored
from hpt_stopping_regret.outlook import Outlook, look
from hpt_stopping_regret.points import reach

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hpt_core import History

__all__ = ["Improvement", "Regret"]

_LARGEST = 1e150  # losses beyond it would overflow when they are squared
_COMPLETIONS = 3  # default where epsilon is given or estimated from folds
_EVERY = 200  # from twice as many results on, the model is asked once per growth by a share of 1 / 200


@attrs.define(kw_only=True)
class _RemainingGain(ABC):
    """Base of both rules: selects the results, derives the tolerance and asks the model."""

    _worthless: ClassVar[float] = 0.01
    """Default epsilon, as a share of the distance from the median early result to the best."""
    _steady: ClassVar[int] = _COMPLETIONS
    """Default of ``completions`` with this epsilon."""

    epsilon: float | None = option(
        None,
        gt=0,
        help="Largest gain that is not worth another trial, in the objective's unit; default for folds the standard "
        "error of the difference between the best trials, else a share (`regret` 5 %, `improvement` 1 %) of the "
        "distance from the median of the first `min_trials` results to the best of all.",
    )
    min_trials: int | None = option(
        None, ge=2, help="Complete trials before it may stop; default max(20, 3 per parameter)."
    )
    completions: int | None = option(
        None,
        ge=1,
        help="Number of latest complete trials after each of which the rule must hold; default 3, but 10 for `regret` "
        "if `epsilon` is a share of the distance.",
    )
    metric: str | None = option(None, help="Name of the objective or metric to watch; default the first objective.")
    maximize: bool = option(False, help="Whether larger is better; only for a metric that is not an objective.")

    def judge_study(self, history: History) -> Stop | None:
        """Stop if little was left to gain after each of the last ``completions`` complete trials, by number.

        Of n >= 400 results, it uses the first ``n - n % (n // 200)``, so that not every trial costs a new outlook.
        """
        numbers, losses = self._results(history)
        count = len(losses) - len(losses) % max(1, len(losses) // _EVERY)
        numbers, losses = numbers[:count], losses[:count]
        completions = self._completions(history, numbers, losses)
        least = max(self._least(history), completions + 1)
        if count < least or self._unexplored(history, numbers[: count - completions + 1]):
            return None
        ends = range(count, count - completions, -1)
        judged = (self._judged(history, numbers[:end], losses[:end]) for end in ends)  # lazily: the model is costly
        enough, evidence = next(judged)
        return Stop(self._reason(evidence), evidence) if enough and all(before for before, _ in judged) else None

    def summary(self, history: History) -> Mapping[str, Any] | None:
        """Summarise what is left to gain while the study runs; None if there are fewer than four results."""
        numbers, losses = self._results(history)
        if len(losses) < 4:
            return None
        _, evidence = self._judged(history, numbers, losses)
        summary = {name.replace("_", " "): value for name, value in evidence.items()}
        awaited = self._unexplored(history, numbers)
        return {**summary, "waits for": awaited} if awaited else summary

    def _unexplored(self, history: History, numbers: NDArray[np.intp]) -> str:
        """The branches that still need results, as text; empty if there are none."""
        params = (history.trials[number].params for number in numbers)
        found = unexplored(history.space, params)
        return ", ".join(f"results of {name} = {value!r} ({count} so far)" for name, value, count in found)

    def _judged(
        self, history: History, numbers: NDArray[np.intp], losses: NDArray[np.float64]
    ) -> tuple[bool, dict[str, Any]]:
        """Whether little is left to gain, given these results, and the evidence."""
        yardstick = reach(losses[: self._least(history)], float(losses.min()))
        outlook = look(history.space, history.unit[numbers], losses, yardstick)
        epsilon = self.epsilon or self._fold_error(history, numbers, losses) or self._worthless * yardstick
        return self._is_enough(outlook, epsilon), {
            "expected_remaining_gain": outlook.gain,
            "expected_gain_of_next_trial": outlook.improvement,
            "epsilon": epsilon,
            "chance_of_less": outlook.chance(epsilon),
            "trials": len(losses),
        }

    def _least(self, history: History) -> int:
        return max(20, 3 * len(history.space.columns)) if self.min_trials is None else self.min_trials

    @abstractmethod
    def _is_enough(self, outlook: Outlook, epsilon: float) -> bool: ...

    @abstractmethod
    def _reason(self, evidence: Mapping[str, Any]) -> str: ...

    def _completions(self, history: History, numbers: NDArray[np.intp], losses: NDArray[np.float64]) -> int:
        if self.completions is not None:
            return self.completions
        measured = self.epsilon is not None or self._fold_error(history, numbers, losses) > 0
        return _COMPLETIONS if measured else self._steady

    def _fold_error(self, history: History, numbers: NDArray[np.intp], losses: NDArray[np.float64]) -> float:
        """The `fold_error` of the best of these trials; 0 if the folds do not tell it."""
        if history.evidence != "folds" or not len(numbers):
            return 0.0
        trials = (history.trials[number] for number in numbers[np.argsort(losses, kind="stable")])
        folds = (dict(history.curve(trial, self.metric, maximize=self.maximize)) for trial in trials)
        return fold_error(next(folds), folds)

    def _results(self, history: History) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """The feasible trials that have the watched metric: numbers in ascending order, and their losses."""
        numbers = history.feasible
        name = history.objectives[0] if self.metric is None else self.metric
        if name in history.objectives:
            losses = np.array(history.losses[numbers, history.objectives.index(name)])
        else:
            found: list[Any] = [history.trials[i].metrics.get(name, math.nan) for i in numbers]
            losses = np.array(found, dtype=np.float64) * (-1.0 if self.maximize else 1.0)
        known = np.isfinite(losses)
        return numbers[known], np.clip(losses[known], -_LARGEST, _LARGEST)


@attrs.define(kw_only=True)
class Regret(_RemainingGain):
    """Stops the study when the best trial so far is very probably within ``epsilon`` of the optimum.

    With f the objective without noise and x the best trial so far, it stops when P(f(x) - min f <= ``epsilon``) >= 1 -
    ``delta`` (Wilson 2024, "Stopping Bayesian optimization with probabilistic regret bounds"). The probability is
    estimated by 256 joint draws of a Gaussian process at the best results and at promising candidates; a lower
    confidence bound accounts for the finite number of draws.
    """

    _worthless: ClassVar[float] = 0.05  # a model that is wrong is rarely sure ten times in a row, whatever epsilon is
    _steady: ClassVar[int] = 10

    delta: float = option(0.05, gt=0, lt=1, help="Probability that more than `epsilon` is left to gain.")

    def _is_enough(self, outlook: Outlook, epsilon: float) -> bool:
        return outlook.surely(epsilon) >= 1 - self.delta

    def _reason(self, evidence: Mapping[str, Any]) -> str:
        chance, epsilon = evidence["chance_of_less"], evidence["epsilon"]
        gain = evidence["expected_remaining_gain"]
        return f"the regret is at most {epsilon:.3g} with probability {chance:.3g}; expected remaining gain {gain:.2g}"


@attrs.define(kw_only=True)
class Improvement(_RemainingGain):
    """Stops the study when no single further trial is expected to improve much on the best one.

    It stops when the largest expected improvement over the best result is below ``share`` times ``epsilon`` (Nguyen et
    al. 2017, "Regret for expected improvement over the best-observed value and stopping condition"), by a Gaussian
    process averaged over its hyperparameters. It looks only one trial ahead, so it is less cautious than `regret`.
    """

    share: float = option(
        0.1, gt=0, help="Share of `epsilon` below which an expected improvement is not worth a trial."
    )

    def _is_enough(self, outlook: Outlook, epsilon: float) -> bool:
        return outlook.improvement < self.share * epsilon or outlook.improvement <= 0.0

    def _reason(self, evidence: Mapping[str, Any]) -> str:
        gain, epsilon = evidence["expected_gain_of_next_trial"], evidence["epsilon"]
        return f"the next trial is expected to gain {gain:.2g}, less than {self.share:g} of {epsilon:.3g}"
