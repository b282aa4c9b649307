"""Rules that stop a study: the budget they save, and the loss in the result.

    python benchmarks/study_rules.py [--families cv analytic mixed] [--trials 100] [--seeds 1] [--sampler bayes]

The family *cv* has real cross-validated studies: three spaces on three data sets, with five folds of two thirds of the
rows. The rules estimate the noise of a result by its folds; the other third of the rows is the holdout. The other
families are those of `optimisers/families.py`: functions without noise, and models without folds. Every problem is
tuned once to the end, and each rule is evaluated after each trial as in a real study. *plateau|regret* stops
as soon as one of the two does, and *hindsight* at the first trial with a loss below 1 %. Printed for each problem and
rule are the trial at which it stops, and the loss at that point:

- *way*: the remaining improvement as a share of that from the median of the first ten trials to the best of all (so
  that problems of any scale are comparable; on small data a single row is a large part of it);
- *score* (models): in percent of the final accuracy of the whole study; *holdout* (cv): likewise, on the holdout rows.

The target is half the budget at a loss below 1 % (of the score for models, of the way for functions).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from sklearn import datasets
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

import hpt_core as hpt
from hpt_core.plugins.plugins import default_plugins

sys.path.insert(0, str(Path(__file__).parent / "optimisers"))

RULES: dict[str, Any] = {
    "plateau": "plateau",
    "patience 20": {"use": "plateau", "patience": 20},
    "regret": "regret",
    "improvement": "improvement",
}
FIRST, HINDSIGHT = "plateau|regret", "hindsight"
FAMILIES = ("cv", "analytic", "mixed")
GROUPS = {"cv": "cv", "models": "models", "lcbench": "models", "rpart": "models"}  # all others are functions
EARLY, FOLDS, ROWS = 10, 5, 500
TARGET_SAVED, TARGET_LOST = 0.5, 0.01


# --- real studies ---------------------------------------------------------------------------------------


def svc(params: hpt.Params) -> Any:
    """A support vector machine."""
    return make_pipeline(StandardScaler(), SVC(C=params["C"], gamma=params["gamma"], kernel=params["kernel"]))


def forest(params: hpt.Params) -> Any:
    """Extremely randomised trees."""
    return ExtraTreesClassifier(15, random_state=0, **params)


def either(params: hpt.Params) -> Any:
    """One of three models, each with its own parameters."""
    if params["model"] == "tree":
        return DecisionTreeClassifier(max_depth=params["depth"], ccp_alpha=params["alpha"], random_state=0)
    if params["model"] == "knn":
        return make_pipeline(
            StandardScaler(), KNeighborsClassifier(params["k"], weights=params["weights"], p=params["p"])
        )
    return make_pipeline(StandardScaler(), LogisticRegression(C=params["C"], max_iter=100))


SPACES: dict[str, tuple[Callable[[hpt.Params], Any], dict[str, Any]]] = {
    "svc": (
        svc,
        {
            "C": hpt.Float(1e-3, 1e4, log=True),
            "gamma": hpt.Float(1e-6, 1e1, log=True),
            "kernel": hpt.Categorical("rbf", "sigmoid", "poly"),
        },
    ),
    "forest": (
        forest,
        {
            "max_depth": hpt.Int(1, 20),
            "max_features": hpt.Float(0.05, 1.0),
            "min_samples_leaf": hpt.Int(1, 40, log=True),
            "criterion": hpt.Categorical("gini", "entropy"),
        },
    ),
    "either": (
        either,
        {
            "model": hpt.Categorical("knn", "tree", "logistic"),
            "k": hpt.Int(1, 40, log=True, when={"model": "knn"}),
            "weights": hpt.Categorical("uniform", "distance", when={"model": "knn"}),
            "p": hpt.Float(1.0, 4.0, when={"model": "knn"}),
            "depth": hpt.Int(1, 25, when={"model": "tree"}),
            "alpha": hpt.Float(1e-5, 1e-1, log=True, when={"model": "tree"}),
            "C": hpt.Float(1e-4, 1e3, log=True, when={"model": "logistic"}),
        },
    ),
}


@attrs.frozen
class Task:
    """A tuning problem.

    Attributes:
        family: The family that it belongs to.
        name: Its name.
        space: Parameters by name.
        errors: Configuration -> the errors of its folds; outside of cv, a single value.
        holdout: Configuration -> its error on the holdout rows; None outside of cv.
    """

    family: str
    name: str
    space: dict[str, Any]
    errors: Callable[[hpt.Params], list[float]]
    holdout: Callable[[hpt.Params], float] | None = None

    @property
    def group(self) -> str:
        """The families that are summarised together."""
        return GROUPS.get(self.family, "functions")


def cross_validated(name: str, data: str, seed: int) -> Task:
    """The task of a space of models on a data set."""
    make, space = SPACES[name]
    X, y = getattr(datasets, f"load_{data}")(return_X_y=True)
    keep = np.random.default_rng(0).permutation(len(X))[:ROWS]
    X, X_out, y, y_out = train_test_split(X[keep], y[keep], test_size=1 / 3, random_state=seed, stratify=y[keep])
    splits = list(StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(X, y))

    def errors(params: hpt.Params) -> list[float]:
        return [1 - make(params).fit(X[train], y[train]).score(X[test], y[test]) for train, test in splits]

    def holdout(params: hpt.Params) -> float:
        return float(1 - make(params).fit(X, y).score(X_out, y_out))

    return Task("cv", f"{name}-{data}", space, errors, holdout)


def tasks(families: Sequence[str], seed: int) -> Iterator[Task]:
    """All tasks of the families."""
    from families import problems

    for name in SPACES if "cv" in families else ():
        for data in ("digits", "breast_cancer", "wine"):
            yield cross_validated(name, data, seed)
    for problem in problems([family for family in families if family != "cv"], "all"):

        def value(params: hpt.Params, problem: Any = problem) -> list[float]:
            return [float(problem.function(params))]

        yield Task(problem.family, problem.name, problem.space, value)


# --- the rules ------------------------------------------------------------------------------------------


@attrs.frozen
class Row:
    """The result of one rule in one study."""

    task: Task
    rule: str
    saved: float
    way: float
    score: float
    holdout: float = 0.0

    @property
    def loss(self) -> float:
        """The loss that the target is about."""
        return self.way if self.task.group == "functions" else self.score


def tuned(task: Task, sampler: str, trials: int, seed: int) -> tuple[list[hpt.Trial], dict[str, int]]:
    """Tune to the end; return the trials, and the number of trials after which each rule would have stopped."""
    rules = {name: default_plugins().make("stopping rule", spec) for name, spec in RULES.items()}
    stopped = dict.fromkeys(RULES, trials)
    evaluator = {"use": "function", "call": task.errors, "evidence": "folds"}
    study = hpt.Study(task.space, sampler=sampler, evaluator=evaluator, seed=seed)
    for count in range(1, trials + 1):
        trial = study.ask()
        errors = task.errors(trial.params)
        for fold, error in enumerate(errors, start=1):
            study.report(trial, fold, error)
        study.tell(trial, statistics.mean(errors))
        for name, rule in rules.items():
            if stopped[name] == trials and count < trials and rule.judge_study(study.history) is not None:
                stopped[name] = count
    stopped[FIRST] = min(stopped["plateau"], stopped["regret"])
    counts = range(1, trials + 1)
    stopped[HINDSIGHT] = next(n for n in counts if row(task, HINDSIGHT, study.trials, n).loss < TARGET_LOST)
    return list(study.trials), stopped


def row(task: Task, rule: str, trials: Sequence[hpt.Trial], count: int) -> Row:
    """Savings and losses of a stop after ``count`` trials, but for the loss on the holdout."""
    values = [trial.values[0] for trial in trials if trial.values]
    best, then = min(values), min(values[:count])
    way = statistics.median(values[:EARLY]) - best
    score = 0.0
    if task.group != "functions":
        score = (then - best) / (-best if best < 0 else 1 - best)  # the surrogates return the negated accuracy
    return Row(task, rule, 1 - count / len(values), (then - best) / way if way > 0 else 0.0, score)


def with_holdout(found: Row, trials: Sequence[hpt.Trial], count: int) -> Row:
    """The row with the loss on the holdout, if there is one."""
    if found.task.holdout is None:
        return found
    values = [trial.values[0] for trial in trials if trial.values]
    ends = (values.index(min(values[:n])) for n in (count, len(values)))
    then, best = (found.task.holdout(trials[number].params) for number in ends)
    return attrs.evolve(found, holdout=(then - best) / (1 - best))


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--sampler", default="bayes")
    parser.add_argument("--families", nargs="+", default=FAMILIES)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    found: list[Row] = []
    head = "".join(f"{name:>15s} {'way':>7s} {'score':>7s} {'holdout':>8s}" for name in (*RULES, FIRST, HINDSIGHT))
    print(f"{'problem':22s} {'seed':>4s}{head}   (the trial of the stop, and losses in percent)")
    for seed in range(given.seeds):
        for task in tasks(given.families, seed):
            trials, stopped = tuned(task, given.sampler, given.trials, seed)
            rows = [with_holdout(row(task, name, trials, n), trials, n) for name, n in stopped.items()]
            cells = (
                f"{stopped[r.rule]:15d} {100 * r.way:7.2f} {100 * r.score:7.2f} {100 * r.holdout:8.2f}" for r in rows
            )
            print(f"{task.name:22s} {seed:4d}" + "".join(cells), flush=True)
            found += rows
    for group in ("cv", "models", "functions"):
        conclude(group, [one for one in found if one.task.group == group])


def conclude(group: str, found: Sequence[Row]) -> None:
    """Print the savings and losses of each rule, and the problems that it fails on."""
    for name in (*RULES, FIRST, HINDSIGHT) if found else ():
        rows = [one for one in found if one.rule == name]
        saved, loss, holdout, way = (
            np.array([getattr(one, what) for one in rows]) for what in ("saved", "loss", "holdout", "way")
        )
        reached = saved.mean() >= TARGET_SAVED and loss.mean() < TARGET_LOST
        print(
            f"\n{group}, {name}: saves {saved.mean():.0%} (median {np.median(saved):.0%}), loses {loss.mean():.2%} "
            f"(worst {loss.max():.2%}), on the holdout {holdout.mean():.2%} (worst {holdout.max():.2%}), of the way "
            f"{way.mean():.2%}; target {'reached' if reached else 'missed'}"
        )
        print(f"    loses 1 % or more on: {_names(one for one in rows if one.loss >= TARGET_LOST)}")
        print(f"    never stops on: {_names(one for one in rows if one.saved == 0)}")


def _names(rows: Iterator[Row]) -> str:
    return ", ".join(sorted({one.task.name for one in rows})) or "nothing"


if __name__ == "__main__":
    main()
