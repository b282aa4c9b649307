"""The first points: the space's default, then scrambled Sobol points with every branch seen.

Sobol points: Owen, Scrambling Sobol' and Niederreiter-Xing points, J. Complexity 1998.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import qmc

if TYPE_CHECKING:
    from hpt_sampler_bayes.encoding import Encoding
    from hpt_sampler_bayes.kernel import FloatArray

__all__ = ["initial_rows"]

_STREAM = 0x50B01  # keeps these draws apart from others that start from the study's seed


def initial_rows(encoding: Encoding, seed: int, count: int, few: int) -> FloatArray:
    """The first ``count`` points of the design: row i is a pure function of ``seed``, i and ``few``.

    Row 0 is the space's default point. A top-level parameter that others depend on takes, if it has up to
    ``few`` values, a new one in each row until all have been seen, and so on, in an order drawn from ``seed``.

    Returns:
        Snapped full rows. (count, d)
    """
    d = len(encoding.columns)
    rng = np.random.default_rng([_STREAM, seed])
    if 1 <= d <= qmc.Sobol.MAXDIM:
        power = max(3, int(np.ceil(np.log2(max(count, 1)))))
        rows = qmc.Sobol(d, scramble=True, rng=rng).random_base2(power)[:count]
    else:
        rows = rng.random((count, d))
    rows = encoding.snap(rows)
    rows[:1] = encoding.default
    for j in _top_parents(encoding):
        table = encoding.tables[j]
        if table is not None and len(table) <= few:
            rest = np.random.default_rng([_STREAM, seed, j]).permutation(table[table != encoding.default[j]])
            rows[:, j] = np.resize(np.append(encoding.default[j], rest), count)
    return rows


def _top_parents(encoding: Encoding) -> list[int]:
    """Columns without conditions that other columns depend on."""
    parents = {parent for needs in encoding.conditions for parent, _ in needs if parent >= 0}
    return [j for j in sorted(parents) if not encoding.conditions[j]]
