"""Branches: the values of a parameter that others depend on, each of them a problem of its own.

One poor result says little about a branch with settings of its own, yet expected improvement may not come back to it
for as long as another branch has something left to refine. So every branch keeps a share of the trials.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from hpt_sampler_bayes.encoding import Encoding
    from hpt_sampler_bayes.gp import BoolArray
    from hpt_sampler_bayes.kernel import FloatArray

__all__ = ["in_neglected_branch", "top_parents"]

_MOST_BRANCHES = 8
_SHARE = 1.5
_SAME = 1e-12


def top_parents(encoding: Encoding) -> list[int]:
    """Columns without conditions that other columns depend on."""
    parents = {parent for needs in encoding.conditions for parent, _ in needs if parent >= 0}
    return [j for j in sorted(parents) if not encoding.conditions[j]]


def in_neglected_branch(encoding: Encoding, rows: FloatArray, taken: FloatArray) -> BoolArray | None:
    """Which of ``rows`` (k, d) lie in the branch that has had too few trials; None if there is no such branch.

    Of n trials, each of a parameter's b branches should have had 1.5 sqrt(n) / b: of four branches each is due for a
    second trial when there are 8, and for a third when there are 29. Only every other trial is given away like this.

    Args:
        encoding: The space's encoding.
        rows: Snapped full rows to choose from.
        taken: Unit rows of all trials so far. (n, d)
    """
    n = len(taken)
    for j in top_parents(encoding) if n % 2 == 0 else ():
        table = encoding.tables[j]
        if table is None or len(table) > _MOST_BRANCHES:
            continue
        counts = (np.abs(taken[:, j, None] - table) < _SAME).sum(axis=0)
        inside = np.abs(rows[:, j] - table[np.argmin(counts)]) < _SAME
        if counts.min() < _SHARE * np.sqrt(n) / len(table) and inside.any():
            return np.asarray(inside, dtype=bool)
    return None
