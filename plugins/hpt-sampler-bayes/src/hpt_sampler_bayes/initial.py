"""The initial design: the space's default point, then scrambled Sobol points that visit every branch.

Sobol points: Owen, Scrambling Sobol' and Niederreiter-Xing points, J. Complexity 1998.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import qmc

from hpt_sampler_bayes.branches import top_parents

if TYPE_CHECKING:
    from hpt_sampler_bayes.encoding import Encoding
    from hpt_sampler_bayes.kernel import FloatArray
    from hpt_sampler_bayes.priors import Prior

__all__ = ["initial_rows"]

_STREAM = 0x50B01  # separates these draws from others that use the study's seed


def initial_rows(encoding: Encoding, seed: int, count: int, few: int, prior: Prior | None = None) -> FloatArray:
    """The first ``count`` points of the design: row i is a pure function of ``seed``, i, ``few`` and ``prior``.

    Row 0 is the space's default point. Parameters with a prior are drawn from it. Any other top-level parameter that
    others depend on, if it has at most ``few`` values, cycles through them in an order drawn from ``seed``.

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
    rows = encoding.snap(rows if prior is None else prior.quantiles(rows))
    rows[:1] = encoding.default
    for j in top_parents(encoding):
        if prior is not None and encoding.columns[j] in prior.mode:
            continue
        table = encoding.tables[j]
        if table is not None and len(table) <= few:
            rest = np.random.default_rng([_STREAM, seed, j]).permutation(table[table != encoding.default[j]])
            rows[:, j] = np.resize(np.append(encoding.default[j], rest), count)
    return rows
