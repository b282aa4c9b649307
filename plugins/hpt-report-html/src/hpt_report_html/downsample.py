"""Downsampling of trials and curves, so that a page stays small."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["BEST", "MOST", "thinned"]

MOST = 800  # points in a picture
BEST = 200  # of these, the best

T = TypeVar("T")


def thinned(items: Sequence[T], losses: ArrayLike) -> list[T]:
    """At most 800 of ``items``, in order: the 200 of lowest loss, and others evenly spaced.

    Args:
        items: What to choose from. (n,)
        losses: The loss of each. (n,)
    """
    if len(items) <= MOST:
        return list(items)
    order = np.argsort(np.asarray(losses), kind="stable")
    rest = np.sort(order[BEST:])
    spaced = rest[np.linspace(0, len(rest) - 1, MOST - BEST).astype(np.intp)]
    return [items[i] for i in np.sort(np.concatenate([order[:BEST], spaced]))]
