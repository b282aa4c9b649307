"""Branches: the values of a parameter that other parameters depend on. Each is a problem of its own.

One poor result says little about a branch with parameters of its own, yet expected improvement may not return to it
while another branch can still be refined. So every branch is guaranteed a share of the trials.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from hpt_sampler_bayes.encoding import Encoding
    from hpt_sampler_bayes.kernel import FloatArray

__all__ = ["in_neglected_branch", "top_parents"]

_MOST_BRANCHES = 8  # parameters with more values have no branches
_SHARE = 1.5
_DRAWN = 32  # allowed points of the space, if no candidate in a branch is allowed
_PROBES = 128  # of them that tell which branches may have any; a branch with 1 in 8 is missed once in 10**7 times
_SAME = 1e-12  # coordinates closer than this are the same value


def top_parents(encoding: Encoding) -> list[int]:
    """Columns that other columns depend on and that have no conditions themselves."""
    parents = {parent for needs in encoding.conditions for parent, _ in needs}
    return [j for j in sorted(parents) if not encoding.conditions[j]]


def in_neglected_branch(
    encoding: Encoding,
    rows: FloatArray,
    taken: FloatArray,
    untried: Callable[[FloatArray], bool],
    rng: np.random.Generator,
) -> FloatArray | None:
    """The rows in a branch with too few trials (m, d); None if there is no such branch.

    After n trials, each of a parameter's b branches should have had 1.5 sqrt(n) / b of them: with four branches, each
    is due a second trial after 8 trials, and a third after 29. At most every other trial is forced into a branch. A
    branch without an untried row is left out: it may have few points, such as a choice without parameters of its own.
    If requirements allow none of its rows, some are drawn that they allow, unless they seem to leave nothing of it.

    Args:
        encoding: The space's encoding.
        rows: Snapped full rows to choose from. (k, d)
        taken: Unit rows of all trials so far. (n, d)
        untried: Whether a row (d,) may be suggested.
        rng: Source of the draws.
    """
    n = len(taken)
    for j in top_parents(encoding) if n % 2 == 0 else ():
        table = encoding.tables[j]
        if table is None or len(table) > _MOST_BRANCHES:
            continue
        counts = (np.abs(taken[:, j, None] - table) < _SAME).sum(axis=0)
        for k in np.argsort(counts, kind="stable"):
            if counts[k] >= _SHARE * np.sqrt(n) / len(table):
                break
            inside = _inside(rows, j, table[k])
            if encoding.required and len(inside) and not encoding.allowed(inside).any():
                if not _inside(_probes(encoding), j, table[k]).size:
                    continue
                inside = _inside(encoding.drawn(_DRAWN, rng), j, table[k])
            if any(map(untried, inside)):
                return inside
    return None


def _inside(rows: FloatArray, j: int, value: float) -> FloatArray:
    """The rows in the branch of a value of column j."""
    found: FloatArray = rows[np.abs(rows[:, j] - value) < _SAME]
    return found


@functools.lru_cache(maxsize=8)  # a draw takes milliseconds where requirements allow little
def _probes(encoding: Encoding) -> FloatArray:
    return encoding.drawn(_PROBES, np.random.default_rng(0))
