"""Branches: the values of a parameter that other parameters depend on. Each is a problem of its own.

After one poor result, all trees predict the whole branch to be poor, whatever its other parameters are, and the search
does not return to it. So every branch is guaranteed a share of the trials.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from hpt_core import History, Space

__all__ = ["neglected"]

_MOST_BRANCHES = 8  # parameters with more values have no branches
_SHARE = 1.5


def neglected(history: History) -> tuple[str, Any] | None:
    """Parameter and value of a branch with too few trials; None if there is none, and after an odd number of trials.

    After n trials, each of a parameter's b branches should have had 1.5 sqrt(n) / b of them: with four branches, each
    is due a second trial after 8 trials, and a third after 29.
    """
    inside = np.flatnonzero(~np.isnan(history.unit).all(axis=1))  # an amended space may exclude earlier trials
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
    """Unconditional parameters that others depend on, with two to eight values."""
    known = {parent for parameter in space.parameters.values() for parent in parameter.when}
    top = (name for name in sorted(known) if not space[name].when)
    return [name for name in top if 2 <= (space[name].size or 0) <= _MOST_BRANCHES]
