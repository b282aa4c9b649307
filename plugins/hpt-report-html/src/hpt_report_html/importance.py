"""Which parameters matter: functional ANOVA on a random forest.

Hutter, Hoos & Leyton-Brown, An efficient approach for assessing hyperparameter importance, ICML 2014. A tree is
constant on boxes, so its marginals and their variances are sums over the leaves, exact to rounding. Notation:

======  ==========================================================================  ======
symbol  meaning                                                                     shape
======  ==========================================================================  ======
low     lower corner of each leaf's box in the unit cube                            (L, d)
high    upper corner                                                                (L, d)
v       what the tree predicts there                                                (L,)
p       volume of the box                                                           (L,)
V       variance of the tree over the cube, sum p (v - sum p v)^2
V_j     variance of its mean as a function of parameter j alone
======  ==========================================================================  ======

The cube is that of the space: a log parameter's logarithm is uniform in it, each choice of a categorical takes an
equal share. Where a parameter is inactive it has no effect on the loss: its coordinate is drawn at random there, so
that a forest finds none either, and its importance is averaged over all branches of the space.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import attrs
import numpy as np

from hpt_core import UsageError
from hpt_report_html.subject import history_of

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    from hpt_core import History, Study

    FloatArray = NDArray[np.float64]

__all__ = ["LEAST_TRIALS", "Importance", "importances", "main_effects", "of_each_objective"]

LEAST_TRIALS = 10
_MOST_TRIALS = 2000  # that a forest learns from
_TREES = 32
_FENCE = 10.0  # distances of the ninth decile from the median; quartiles would describe only the end of a search
_ROUNDING = 1e-25  # a variance below it is rounding, as losses span 1


@attrs.frozen
class Importance:
    """How much of a study's variance one parameter explains on its own.

    Attributes:
        mean: The share, 0 to 1. The difference between the sum over all parameters and 1 is due to interactions.
        sd: Its standard deviation over the trees of the forest, which does not cover regions without trials.
    """

    mean: float
    sd: float


def importances(study: Study | History, objective: str | None = None) -> dict[str, Importance]:
    """Share of the variance of an objective, over the whole space, that each parameter explains on its own.

    Only complete trials count, at most 2,000 of them, chosen at random. Constants are left out. Losses beyond the ninth
    decile by ten times its distance from the median count as the worst of the others, so that a few diverged trials do
    not dominate the variance. The result is deterministic.

    Args:
        study: The study, or its history, see `hpt_core.load_history`.
        objective: The name of the objective; None: the first.

    Returns:
        Parameter -> importance, the most important first.

    Raises:
        UsageError: If there are fewer than ten complete trials, all have the same value or configuration, there is no
            such objective, or it is neither a study nor a history.
    """
    from sklearn.ensemble import RandomForestRegressor

    history = history_of(study)
    rng = np.random.default_rng(0)
    x, y = _training_data(history, _index(history, objective), rng)
    forest: Any = RandomForestRegressor(_TREES, random_state=0).fit(x, y)
    shares = np.array([_shares(tree.tree_, x.shape[1]) for tree in forest.estimators_])
    names = history.space.columns
    found = {
        name: Importance(float(m), float(s)) for name, m, s in zip(names, shares.mean(0), shares.std(0), strict=True)
    }
    return dict(sorted(found.items(), key=lambda item: -item[1].mean))


def of_each_objective(history: History) -> dict[str, dict[str, Importance]]:
    """Objective -> `importances`; objectives without enough results are left out."""
    found = {}
    for objective in history.objectives:
        with contextlib.suppress(UsageError):
            found[objective] = importances(history, objective)
    return found


def _index(history: History, objective: str | None) -> int:
    names = list(history.objectives)
    if objective is None:
        return 0
    if objective not in names:
        raise UsageError(f"The study has no objective {objective!r}. It has: {', '.join(names)}.")
    return names.index(objective)


def _training_data(history: History, objective: int, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """The points of the unit cube (n, d) and the scaled losses (n,) that a forest is fitted to."""
    numbers = history.complete
    if len(numbers) < LEAST_TRIALS:
        msg = f"Importances need {LEAST_TRIALS} complete trials; the study has {len(numbers)}."
        raise UsageError(msg)
    if len(numbers) > _MOST_TRIALS:
        numbers = np.sort(rng.choice(numbers, _MOST_TRIALS, replace=False))
    x, y = history.unit[numbers], history.losses[numbers, objective]
    same = "value" if y.min() == y.max() else "configuration"
    if same == "value" or all(history.trials[n].params == history.trials[numbers[0]].params for n in numbers):
        msg = f"All complete trials have the same {same}, so no parameter explains a difference."
        raise UsageError(msg)
    return np.where(np.isnan(x), rng.random(x.shape), x), _scaled(y)


def _scaled(y: FloatArray) -> FloatArray:
    """Scale losses (n,), not all the same, to [0, 1]: scikit-learn treats a variance below 2e-16 as 0.

    The fence is computed from the distinct losses, because most trials may have the same loss.
    """
    y = y / np.abs(y).max()  # the range itself may be beyond the largest float
    median, ninth = np.quantile(np.unique(y), (0.5, 0.9))
    fence = max(ninth + _FENCE * (ninth - median), np.quantile(y, 0.9))
    y = np.minimum(y, y[y <= fence].max()) - y.min()
    return np.asarray(y / y.max())


def _shares(tree: Any, d: int) -> FloatArray:
    """V_j / V of each parameter of a fitted tree of scikit-learn, (d,); 0 for a tree with a single value."""
    low, high, v = _leaves(tree, d)
    p = (high - low).prod(axis=1)
    variance = p @ (v - p @ v) ** 2
    if variance <= _ROUNDING:
        return np.zeros(d)
    return np.asarray(main_effects(low, high, v) / variance)


def _leaves(tree: Any, d: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Corners and values of the leaves: children come after their parent in scikit-learn's arrays."""
    low, high = np.zeros((tree.node_count, d)), np.ones((tree.node_count, d))
    for node in np.flatnonzero(tree.children_left >= 0):
        left, right, split = tree.children_left[node], tree.children_right[node], tree.feature[node]
        low[left] = low[right] = low[node]
        high[left] = high[right] = high[node]
        high[left, split] = low[right, split] = tree.threshold[node]
    leaf = tree.children_left < 0
    return low[leaf], high[leaf], tree.value[leaf, 0, 0]


def main_effects(low: FloatArray, high: FloatArray, v: FloatArray) -> FloatArray:
    """V_j for each parameter of a function that is constant on boxes which fill the unit cube.

    Args:
        low: Lower corners. (L, d)
        high: Upper corners. (L, d)
        v: Values. (L,)

    Returns:
        (d,)
    """
    sides = high - low
    p = sides.prod(axis=1)
    mean = p @ v
    found = np.empty(low.shape[1])
    for j in range(low.shape[1]):
        weight = (v - mean) * p / sides[:, j]  # the contribution of a leaf to the marginal over its interval of axis j
        edges, where = np.unique(np.concatenate([low[:, j], high[:, j]]), return_inverse=True)
        steps = np.bincount(where, weights=np.concatenate([weight, -weight]), minlength=len(edges))
        marginal = np.cumsum(steps)[:-1]
        found[j] = np.diff(edges) @ marginal**2
    return found
