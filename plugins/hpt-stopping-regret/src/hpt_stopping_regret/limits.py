"""Limits of the results so far: differences below the noise of folds, and branches with too few results."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from hpt_core import Space

__all__ = ["fold_error", "unexplored"]

_SEEN = 3  # fewer results of a branch are too few for the model
_CHALLENGERS = 10
_LARGEST = 1e150  # differences beyond it would overflow when they are squared

Folds = Mapping[int, float]
"""Fold -> loss of one trial."""


def fold_error(incumbent: Folds, others: Iterable[Folds]) -> float:
    """The standard error of the difference of two cross-validated means; the folds cannot resolve smaller differences.

    sqrt((1/k + 1/(k-1)) v) for k folds, with the correction for overlapping training sets (Nadeau and Bengio 2003, as
    in Makarova et al. 2022). v is the variance over folds of the differences between the incumbent and the best
    others. The variance of the incumbent's own folds would be larger, mostly because some folds are hard for all.

    Args:
        incumbent: The best trial.
        others: The other trials, best first. The first ten are used that have done all folds of the incumbent and
            differ from it, by less than 1e150 on each fold.

    Returns:
        The standard error; 0 if there is no such trial.
    """
    k, variances = len(incumbent), []
    for other in others:
        differences = [loss - other[fold] for fold, loss in incumbent.items() if fold in other]
        if len(differences) == k > 1 and 0 < max(map(abs, differences)) < _LARGEST:
            variances.append(float(np.var(differences, ddof=1)))
        if len(variances) == _CHALLENGERS:
            break
    return math.sqrt((1 / k + 1 / (k - 1)) * float(np.mean(variances))) if variances else 0.0


def unexplored(space: Space, params: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, Any, int]]:
    """The branches of a space that have fewer than three results.

    A branch is a value of a parameter that makes other parameters active. If a branch has a single bad result, far from
    all others, the model expects all its neighbourhood to be as bad.

    Yields:
        Parameter, value, and the number of results with this value.
    """
    branches: dict[str, dict[int, None]] = {}
    for name in space.names:
        for parent, values in space[name].when.items():
            branches.setdefault(parent, {}).update(dict.fromkeys(map(space[parent].index_of, values)))
    seen = Counter[tuple[str, int]]()
    lacking = {(parent, i) for parent, known in branches.items() for i in known}
    for one in params:
        if not lacking:
            return  # mostly after a few of many results
        for branch in [(parent, space[parent].index_of(one[parent])) for parent in branches if parent in one]:
            seen[branch] += 1
            if seen[branch] == _SEEN:
                lacking.discard(branch)
    for parent, known in branches.items():
        yield from ((parent, space[parent].value_at(i), seen[parent, i]) for i in known if (parent, i) in lacking)
