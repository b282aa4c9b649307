"""All problems by family, and the suites of problems that are run together."""

from __future__ import annotations

from models import models
from problems import Problem, analytic, bbob, mixed
from surrogates import lcbench, rpart

__all__ = ["FAMILIES", "SUITES", "problems"]

FAMILIES = {
    "analytic": analytic,
    "mixed": mixed,
    "bbob": bbob,
    "models": models,
    "lcbench": lcbench,
    "rpart": rpart,
}

_PAGE = (
    *("branin", "hartmann6", "ackley8"),
    *("mixed-ackley", "mixed-hartmann6", "conditional-branin", "branches"),
    *("bbob-f8", "bbob-f15", "bbob-f20"),
    *("svc-breast_cancer", "forest-breast_cancer", "boosting-breast_cancer", "mlp-wine", "pipeline-wine"),
    *("lcbench-34539", "lcbench-126029", "lcbench-167104"),
    *("rpart-41163", "rpart-1468"),
)
_OTHER = (
    *("rosenbrock4", "noisy-quadratic"),
    *("bbob-f3", "bbob-f6", "bbob-f12", "bbob-f17", "bbob-f22"),
    *("svc-wine", "forest-wine", "boosting-wine", "pipeline-breast_cancer"),
    *("lcbench-3945", "lcbench-7593", "lcbench-126025", "lcbench-146212", "lcbench-168331"),
    *("rpart-40981", "rpart-1063"),
)
SUITES = {
    "quick": ("branin", "hartmann6", "mixed-ackley", "branches", "bbob-f8", "svc-breast_cancer", "lcbench-34539"),
    "page": _PAGE,
    "other": _OTHER,
    "parallel": ("hartmann6", "ackley8", "mixed-hartmann6", "branches", "bbob-f8", "lcbench-34539"),
    "all": None,
}


def problems(families: list[str], suite: str) -> list[Problem]:
    """The problems of the suite in these families, in order; problems of missing packages are left out."""
    wanted = SUITES[suite]
    found = [problem for family in families for problem in FAMILIES[family]()]
    return [problem for problem in found if wanted is None or problem.name in wanted]
