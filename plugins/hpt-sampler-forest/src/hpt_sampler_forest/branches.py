"""Branches: the values of a parameter that others depend on, each of them a problem of its own.

Trees that have seen one poor result of a branch agree that it is poor, settings of its own or not, and the search does
not come back. So every branch keeps a share of the trials.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from hpt_core import History, Space

__all__ = ["neglected"]

_MOST_BRANCHES = 8
_SHARE = 1.5


def neglected(history: History) -> tuple[str, Any] | None:
    """The parameter and its value that has had too few trials; None if there is none, and for every other trial.

    Of n trials, each of a parameter's b branches should have had 1.5 sqrt(n) / b: of four branches each is due for a
    second trial when there are 8, and for a third when there are 29.
    """
    inside = np.flatnonzero(~np.isnan(history.unit).all(axis=1))  # of an amended space
    n = len(inside)
    for name in _parents(history.space) if n % 2 == 0 else ():
        parameter: Any = history.space[name]
        values = [parameter.value_at(i) for i in range(parameter.size)]
        taken = [history.trials[i].params.get(name) for i in inside]
        counts = [taken.count(value) for value in values]
        if min(counts) < _SHARE * np.sqrt(n) / len(values):
            return name, values[int(np.argmin(counts))]
    return None


def _parents(space: Space) -> list[str]:
    """Parameters without conditions that others depend on, with two to eight values."""
    known = {parent for parameter in space.parameters.values() for parent in parameter.when}
    top = (name for name in sorted(known) if not space[name].when)
    return [name for name in top if 2 <= (space[name].size or 0) <= _MOST_BRANCHES]
