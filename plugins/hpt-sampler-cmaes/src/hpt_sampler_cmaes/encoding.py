"""The space in the form of CMA-ES: a normal vector for ordered parameters, a distribution per categorical one.

Notation:

======  ==================================================================  ======
symbol  meaning                                                             shape
======  ==================================================================  ======
raw     normal vector: continuous columns, then integer ones, on the unit   (m,)
        scale but not clipped to it
places  indices of the categories                                           (q,)
row     a point of the unit cube, every column filled                       (d,)
======  ==================================================================  ======

Every column is part of the vector, active or not. The value of an inactive column is ignored, so it is effectively
random with respect to the ranking, and neither moves nor narrows the distribution.
"""

from __future__ import annotations

import functools
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from hpt_core import Params, Space

__all__ = ["Encoding", "FloatArray"]

FloatArray = NDArray[np.float64]

_MANY = 1024  # integers with more values are treated as continuous
_MIDDLE = 0.5


@attrs.frozen(eq=False)
class Encoding:
    """The encoding of one space, built by `Encoding.of`.

    Attributes:
        space: The space.
        continuous: Indices of the continuous columns.
        integer: Indices of the columns with ordered values.
        values: Unit coordinates of these values, per column.
        categorical: Indices of the columns with categories, which include those with two ordered values.
        categories: Unit coordinates of these categories, per column.
    """

    space: Space
    continuous: list[int]
    integer: list[int]
    values: list[FloatArray]
    categorical: list[int]
    categories: list[FloatArray]

    @classmethod
    @functools.lru_cache(maxsize=8)  # building it can take ten times as long as the rest of a suggestion
    def of(cls, space: Space) -> Encoding:
        """Build the encoding of ``space``."""
        made = cls(space, [], [], [], [], [])
        for j, name in enumerate(space.columns):
            parameter: Any = space[name]
            size = parameter.size
            if size is None or (parameter.ordered and size > _MANY):
                made.continuous.append(j)
                continue
            units = np.array([parameter.to_unit(parameter.value_at(i)) for i in range(size)])
            ordered = parameter.ordered and size > 2  # as the cmaes package recommends
            (made.integer if ordered else made.categorical).append(j)
            (made.values if ordered else made.categories).append(units)
        return made

    @property
    def n_normal(self) -> int:
        """The length of ``raw``."""
        return len(self.continuous) + len(self.integer)

    @property
    def n_columns(self) -> int:
        """Number of columns."""
        return self.n_normal + len(self.categorical)

    def spaces(self) -> dict[str, Any]:
        """The arguments of `cmaes.CatCMAwM` that describe the space."""
        return {
            "x_space": [[0.0, 1.0]] * len(self.continuous) or None,
            "z_space": [units.tolist() for units in self.values] or None,
            "c_space": [len(units) for units in self.categories] or None,
        }

    def encode(self, params: Params) -> tuple[FloatArray, list[int]]:
        """``raw`` and ``places`` of a configuration; inactive parameters are in the middle."""
        row = np.nan_to_num(self.space.to_unit(params), nan=_MIDDLE)
        raw = row[[*self.continuous, *self.integer]]
        nearest = [np.abs(units - row[j]).argmin() for j, units in zip(self.categorical, self.categories, strict=True)]
        return raw, [int(place) for place in nearest]

    def decode(self, raw: FloatArray, places: list[int]) -> Params:
        """The configuration of ``raw`` and ``places``."""
        row = np.full(self.n_columns, _MIDDLE)
        row[[*self.continuous, *self.integer]] = np.clip(raw, 0.0, 1.0)
        for k, (j, units) in enumerate(zip(self.integer, self.values, strict=True), start=len(self.continuous)):
            middles = 0.5 * (units[1:] + units[:-1])
            row[j] = units[np.searchsorted(middles, raw[k])]
        for j, units, place in zip(self.categorical, self.categories, places, strict=True):
            row[j] = units[place]
        params: Params = self.space.from_unit(row)
        return params
