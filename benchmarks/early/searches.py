"""The searches that are compared, each on a meter: hpt's recipes, its peers, and simple baselines."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
from tables import BETWEEN, LEVELS, STEPS, Table

import hpt_core as hpt

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Meter", "SpentError", "halving_cv", "hpt_search", "one_step", "optuna_search", "random_search"]


class SpentError(KeyboardInterrupt):
    """The budget is spent; a KeyboardInterrupt, as nothing else ends a study in the middle of a trial."""


@attrs.define
class Meter:
    """Counts the steps that a search pays for, and records the result of each whole training.

    Attributes:
        table: The workload.
        folds: Whether a step is a fold trained to its end (else one epoch or round on all folds).
        budget: Number of steps that may be spent.
        spent: Number of steps spent so far.
        found: (steps spent by then, loss) of each whole training.
    """

    table: Table
    folds: bool
    budget: float
    spent: float = 0
    found: list[tuple[float, float]] = attrs.field(factory=list)

    @property
    def steps(self) -> int:
        """Number of steps of a whole training."""
        return self.table.losses.shape[-2] if self.folds else STEPS

    def losses(self, params: Any) -> NDArray[np.float64]:
        """The loss after each step of a training."""
        losses = self.table.at(params)
        return losses[:, -1] if self.folds else losses.mean(axis=0)

    def train(self, params: Any, start: int = 0) -> Iterator[float]:
        """Resume a training after step ``start``; each step is paid for before its loss is yielded."""
        losses = self.losses(params)
        for step in range(start + 1, self.steps + 1):
            self.pay(1)
            if step == self.steps:
                self.found.append((self.spent, float(losses.mean() if self.folds else losses[-1])))
            yield float(losses[step - 1])

    def pay(self, steps: float) -> None:
        """Pay for steps.

        Raises:
            SpentError: If the budget is exceeded.
        """
        self.spent += steps
        if self.spent > self.budget:
            raise SpentError


def _ends(name: str) -> dict[str, int]:
    return {parameter: len(levels) - 1 for parameter, levels in LEVELS[name].items()}


def hpt_search(meter: Meter, seed: int, sampler: str, rules: list[dict[str, Any]]) -> None:
    """Run a study until the budget is spent."""
    ends = _ends(meter.table.name)
    space = {n: hpt.Float(0, end) if n in BETWEEN else hpt.Int(0, end) for n, end in ends.items()}
    evaluator = {
        "use": "function", "call": lambda params, trial: meter.train(params, trial.resume_step), "resumable": True,
        "steps": meter.steps, "evidence": "folds" if meter.folds else "curve",
    }  # fmt: skip
    study = hpt.Study(space, objective="minimize", sampler=sampler, evaluator=evaluator, stop=rules, seed=seed)
    study.run(trials=10**6)


def optuna_search(meter: Meter, seed: int, pruner: str, options: dict[str, Any]) -> None:
    """Run Optuna's TPE with one of its pruners until the budget is spent."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    made = getattr(optuna.pruners, pruner)(**options)
    sampler = optuna.samplers.TPESampler(seed=seed)
    study = optuna.create_study(study_name=f"study {seed}", sampler=sampler, pruner=made)  # brackets depend on the name
    ends = _ends(meter.table.name)
    while True:
        trial = study.ask()
        params = {
            n: trial.suggest_float(n, 0, end) if n in BETWEEN else trial.suggest_int(n, 0, end)
            for n, end in ends.items()
        }
        told: list[float] = []
        for step, loss in enumerate(meter.train(params), start=1):
            told.append(loss)
            trial.report(loss, step)
            if step < meter.steps and trial.should_prune():
                break
        value = float(np.mean(told)) if meter.folds else told[-1]
        if len(told) < meter.steps and not meter.folds:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:  # as documented for WilcoxonPruner: a pruned trial is told with its mean so far
            study.tell(trial, value)


def _drawn(meter: Meter, seed: int) -> Iterator[dict[str, float]]:
    rng = np.random.default_rng(seed)
    while True:
        yield {
            n: float(rng.uniform(0, end)) if n in BETWEEN else int(rng.integers(0, end + 1))
            for n, end in _ends(meter.table.name).items()
        }


def random_search(meter: Meter, seed: int) -> None:
    """Train random configurations to the end."""
    for params in _drawn(meter, seed):
        for _ in meter.train(params):
            pass


def one_step(meter: Meter, seed: int, kept: int) -> None:
    """One step for each configuration, then the best few to the end (Egele et al. 2023, arXiv 2307.15422)."""
    count = int(meter.budget) - kept * (meter.steps - 1)
    tried = []
    for params, _ in zip(_drawn(meter, seed), range(count), strict=False):
        tried.append((next(meter.train(params)), params))
    for _, params in sorted(tried, key=lambda pair: pair[0])[:kept]:
        for _ in meter.train(params, start=1):
            pass


def halving_cv(meter: Meter, seed: int) -> None:
    """scikit-learn's HalvingRandomSearchCV with rounds as its resource: each rung trains from scratch."""
    rungs = [1, 3, 9, 27]
    share = int(meter.budget // sum(3 ** (3 - i) * r for i, r in enumerate(rungs)))
    survivors = [params for params, _ in zip(_drawn(meter, seed), range(27 * max(1, share)), strict=False)]
    for rung in rungs:
        losses = [float(meter.losses(params)[rung - 1]) for params in survivors]
        for loss in losses:
            meter.pay(rung)
            if rung == rungs[-1]:
                meter.found.append((meter.spent, loss))
        order = np.argsort(losses, kind="stable")
        survivors = [survivors[i] for i in order[: -(-len(survivors) // 3)]]
