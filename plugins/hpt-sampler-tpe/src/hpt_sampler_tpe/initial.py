"""The initial design: the space's default point, then a Latin hypercube.

McKay, Beckman and Conover, A Comparison of Three Methods for Selecting Values of Input Variables, Technometrics 1979.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from hpt_sampler_tpe.normal import FloatArray
    from hpt_sampler_tpe.tree import Tree

__all__ = ["initial_rows"]

_STREAM = 0x79E  # separates these draws from others that use the study's seed


def initial_rows(tree: Tree, seed: int, count: int) -> FloatArray:
    """The ``count`` points of the design, the default first: a pure function of ``seed`` and ``count``.

    Each column takes one value in each of ``count - 1`` equal parts of its range, so that branches and
    categories are visited about equally often.

    Returns:
        Rows, NaN where inactive. (count, d)
    """
    rng = np.random.default_rng([_STREAM, seed])
    d = len(tree.columns)
    parts = np.tile(np.arange(count - 1.0)[:, None], (1, d))
    rows = (rng.permuted(parts, axis=0) + rng.random((count - 1, d))) / max(count - 1, 1)
    return np.vstack([tree.space.to_unit(tree.space.default()), tree.snap(rows)])
