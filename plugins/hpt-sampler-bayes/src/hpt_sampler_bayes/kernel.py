"""Matérn-5/2 kernel with one lengthscale per parameter, on encoded points.

Notation:

======  ======================================================  ========
symbol  meaning                                                 shape
======  ======================================================  ========
Z       encoded points (see `encoding`)                         (n, p)
group   index of the parameter that each column belongs to      (p,)
w       inverse squared lengthscales, one per parameter         (G,)
r2      squared scaled distance, sum_c w[group[c]] (z_c - z'_c)^2  (n, m)
M       Matérn-5/2 correlation, (1 + a + a^2/3) exp(-a), a = sqrt(5 r2)  (n, m)
======  ======================================================  ========

Matérn: Rasmussen & Williams, Gaussian Processes for Machine Learning, eq. 4.17. The categories' one-hot
columns are divided by sqrt(2), so that their squared Euclidean distance is the Hamming distance.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["FloatArray", "matern52", "matern52_and_slope", "squared_distances"]

FloatArray = NDArray[np.float64]


def squared_distances(a: FloatArray, b: FloatArray) -> FloatArray:
    """Squared Euclidean distances between the rows of ``a`` (n, p) and ``b`` (m, p), as (n, m).

    One matrix product; results that rounding makes negative are set to 0.
    """
    r2 = a @ b.T
    r2 *= -2.0
    r2 += np.einsum("ij,ij->i", a, a)[:, None]
    r2 += np.einsum("ij,ij->i", b, b)[None, :]
    return np.maximum(r2, 0.0, out=r2)


def matern52(r2: FloatArray) -> FloatArray:
    """Correlation M at squared scaled distances ``r2``, any shape."""
    a = np.sqrt(5.0 * r2)
    m: FloatArray = np.exp(-a)
    a += 1.0
    a += (5.0 / 3.0) * r2
    m *= a
    return m


def matern52_and_slope(r2: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Correlation M and its derivative dM/d(r2) = -(5/6) (1 + a) exp(-a), both of the shape of ``r2``."""
    a = np.sqrt(5.0 * r2)
    e = np.exp(-a)
    a += 1.0
    slope: FloatArray = a * e
    slope *= -5.0 / 6.0
    a += (5.0 / 3.0) * r2
    a *= e
    return a, slope
