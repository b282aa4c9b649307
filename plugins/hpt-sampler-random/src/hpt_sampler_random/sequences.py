"""Low-discrepancy sequences: point i is a function of (method, dimension, seed, i) alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Sequence"]


@attrs.define
class Sequence:
    """A sequence of points in the unit cube.

    Attributes:
        method: ``sobol`` (Owen 1998 scrambling: a digital shift after a random linear matrix), ``halton`` (Owen 2017
            scrambling) or ``latin-hypercube`` (McKay et al. 1979).
        dimension: The dimension of the cube.
        seed: The seed of the randomisation.
        block: Number of points per Latin hypercube; block b has the seed (seed, b).
    """

    method: str
    dimension: int
    seed: int
    block: int
    _engine: Any = attrs.field(init=False, default=None, eq=False, repr=False)
    _next: int = attrs.field(init=False, default=0, eq=False, repr=False)

    def __getitem__(self, index: int) -> NDArray[np.float64]:
        """Point number ``index`` from 0, shape (dimension,)."""
        if self.method == "latin-hypercube":
            return self._of_block(*divmod(index, self.block))
        if self._engine is None or index < self._next:
            self._engine, self._next = self._start(), 0
        if index > self._next:
            self._engine.fast_forward(index - self._next)
        self._next = index + 1
        return self._engine.random(1)[0]  # type: ignore[no-any-return]

    def _start(self) -> Any:
        from scipy.stats import qmc

        engine = qmc.Sobol if self.method == "sobol" else qmc.Halton
        return engine(self.dimension, scramble=True, rng=self.seed)

    def _of_block(self, block: int, place: int) -> NDArray[np.float64]:
        if self._engine is None or self._next != block:
            from scipy.stats import qmc

            engine = qmc.LatinHypercube(self.dimension, rng=[self.seed, block])
            self._engine, self._next = engine.random(self.block), block
        return self._engine[place]  # type: ignore[no-any-return]
