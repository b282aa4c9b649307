"""A space as CMA-ES sees it: a normal vector for ordered parameters, a distribution per categorical one.

Notation:

======  ==================================================================  ======
symbol  meaning                                                             shape
======  ==================================================================  ======
raw     normal vector: continuous columns, then integer ones, of the unit   (m,)
        cube but not held to it
places  numbers of the categories                                           (q,)
row     a point of the unit cube, every column filled                       (d,)
======  ==================================================================  ======

Every column is carried along, active or not: an inactive one has a value that nobody looks at, and as its values are
then as good as random in every ranking, they neither move nor narrow the distribution.
"""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from hpt_core import Params, Space

__all__ = ["Coding", "FloatArray"]

FloatArray = NDArray[np.float64]

_MANY = 1024  # integers with more values are as good as continuous
_MIDDLE = 0.5


@attrs.frozen(eq=False)
class Coding:
    """How one space is coded. Made by `Coding.of`.

    Attributes:
        space: The space.
        continuous: Numbers of the continuous columns.
        integer: Numbers of the columns of ordered values,
        values: and the unit coordinates of these values.
        categorical: Numbers of the columns of categories (those of two ordered values among them),
        categories: and the unit coordinates of these.
    """

    space: Space
    continuous: list[int]
    integer: list[int]
    values: list[FloatArray]
    categorical: list[int]
    categories: list[FloatArray]

    @classmethod
    def of(cls, space: Space) -> Coding:
        """Work out the coding of ``space``."""
        made = cls(space, [], [], [], [], [])
        for j, name in enumerate(space.columns):
            parameter: Any = space[name]
            size = parameter.size
            if size is None or (parameter.ordered and size > _MANY):
                made.continuous.append(j)
                continue
            units = np.array([parameter.to_unit(parameter.value_at(i)) for i in range(size)])
            ordered = parameter.ordered and size > 2  # what the package recommends
            (made.integer if ordered else made.categorical).append(j)
            (made.values if ordered else made.categories).append(units)
        return made

    @property
    def normal(self) -> int:
        """The length of ``raw``."""
        return len(self.continuous) + len(self.integer)

    @property
    def size(self) -> int:
        """How many columns there are."""
        return self.normal + len(self.categorical)

    def spaces(self) -> dict[str, Any]:
        """The arguments of `cmaes.CatCMAwM` that say what the space is like."""
        return {
            "x_space": [[0.0, 1.0]] * len(self.continuous) or None,
            "z_space": [units.tolist() for units in self.values] or None,
            "c_space": [len(units) for units in self.categories] or None,
        }

    def encode(self, params: Params) -> tuple[FloatArray, list[int]]:
        """``raw`` and ``places`` of a configuration; what is inactive lies in the middle."""
        row = np.nan_to_num(self.space.to_unit(params), nan=_MIDDLE)
        raw = row[[*self.continuous, *self.integer]]
        nearest = [np.abs(units - row[j]).argmin() for j, units in zip(self.categorical, self.categories, strict=True)]
        return raw, [int(place) for place in nearest]

    def decode(self, raw: FloatArray, places: list[int]) -> Params:
        """The configuration that a solution stands for."""
        row = np.full(self.size, _MIDDLE)
        row[[*self.continuous, *self.integer]] = np.clip(raw, 0.0, 1.0)
        for k, (j, units) in enumerate(zip(self.integer, self.values, strict=True), start=len(self.continuous)):
            middles = 0.5 * (units[1:] + units[:-1])
            row[j] = units[np.searchsorted(middles, raw[k])]
        for j, units, place in zip(self.categorical, self.categories, places, strict=True):
            row[j] = units[place]
        params: Params = self.space.from_unit(row)
        return params
