"""What the results so far cannot tell: differences below the noise of folds, and branches hardly ever tried."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from hpt_core import Space

__all__ = ["fold_error", "unexplored"]

_SEEN = 3  # results below which a model knows next to nothing of a branch
_CHALLENGERS = 10
_LARGEST = 1e150  # differences beyond it would overflow when they are squared

Folds = Mapping[int, float]
"""Fold -> loss of one trial."""


def fold_error(incumbent: Folds, others: Iterable[Folds]) -> float:
    """The standard error of the difference of two cross-validated means: what is less, these folds cannot tell apart.

    sqrt((1/k + 1/(k-1)) v) for k folds, with the correction for overlapping training sets (Nadeau and Bengio 2003, as
    in Makarova et al. 2022), and v the variance over folds of the differences between the incumbent and the best
    others. The variance of the incumbent's own folds would be larger: much of it is folds that are hard for everyone.

    Args:
        incumbent: The best trial.
        others: The others from the best on; the first ten count that have done all of its folds and differ from it
            (by less than what has diverged beyond all measure does).

    Returns:
        0 where there is nothing to go by.
    """
    k, variances = len(incumbent), []
    for other in others:
        differences = [loss - other[fold] for fold, loss in incumbent.items() if fold in other]
        if len(differences) == k > 1 and 0 < max(map(abs, differences)) < _LARGEST:
            variances.append(float(np.var(differences, ddof=1)))
        if len(variances) == _CHALLENGERS:
            break
    return math.sqrt((1 / k + 1 / (k - 1)) * float(np.mean(variances))) if variances else 0.0


def unexplored(space: Space, params: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Any, int]]:
    """The branches of a space that have fewer than three results.

    A branch is a value that a parameter of its own waits for. A model of one result far from all others takes its
    neighbourhood for as bad as it is.

    Yields:
        Parameter, value, and how many results it has.
    """
    branches: dict[str, dict[int, None]] = {}
    for name in space.names:
        for parent, values in space[name].when.items():
            branches.setdefault(parent, {}).update(dict.fromkeys(map(space[parent].index_of, values)))
    for parent, known in branches.items():
        seen = Counter(space[parent].index_of(one[parent]) for one in params if parent in one)
        yield from ((parent, space[parent].value_at(i), seen[i]) for i in known if seen[i] < _SEEN)
