"""The ranking of trials with one or several objectives, including trials with partial evidence.

- A trial with partial evidence (stopped early, or paused) is compared with another at the highest step that both
  reached. The score of a trial is the fraction of the others that beat it in such a comparison; without partial
  evidence it is the rank of its loss.
- Infeasible trials rank behind all others, those of the least violation first.
- With several objectives trials are ranked by non-dominated fronts (Deb et al., NSGA-II, IEEE Trans. Evol. Comp.
  2002, section III.A), within a front by what each adds to the hypervolume. Not by crowding distance: it puts the ends
  of the front first, and with two good trials they would be those that are best in one objective and poor in the other.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from typing import TYPE_CHECKING

import numpy as np

from hpt_core import History, State
from hpt_sampler_tpe.hypervolume import largest_first

if TYPE_CHECKING:
    from hpt_sampler_tpe.normal import FloatArray, IntArray

__all__ = ["by_front", "fronts", "ranked"]

_RUNGS = 16  # largest number of steps at which partial evidence is compared
_GOOD = 25  # no more trials than this count as good, so the order of the others matters less
_REFERENCE = 1.1  # reference point of the hypervolume, where the best loss of an objective is 0, the worst 1


def ranked(history: History) -> IntArray:
    """The numbers of all trials with evidence, best first, ties by number."""
    by_loss = _by_loss(history)
    if not history.constraints:
        return by_loss
    violation = np.nan_to_num(history.violation[by_loss])  # an unknown violation counts as none
    return by_loss[np.argsort(violation, kind="stable")]


def _by_loss(history: History) -> IntArray:
    """As `ranked`, without the order of the trials that violate a constraint."""
    paused = [n for n in history.pending if history.trials[n].state is State.PAUSED and history.trials[n].reports]
    partial = np.concatenate([history.stopped, np.array(paused, dtype=np.intp)])
    complete = history.complete
    if len(history.objectives) > 1:
        valued = np.sort(np.concatenate([complete, history.stopped]))
        violated = history.violation[valued] > 0  # these must not put others on a later front
        allowed = valued[~violated]
        return np.concatenate([allowed[by_front(history.losses[allowed])], valued[violated]])
    if not len(partial):
        return complete[np.argsort(history.losses[complete, 0], kind="stable")]
    numbers = np.sort(np.concatenate([complete, partial]))
    scores = _beaten(*_evidence(history, numbers))
    return numbers[np.argsort(scores, kind="stable")]


def by_front(losses: FloatArray) -> IntArray:
    """Order the rows of ``losses`` (n, m) by front, within a front by what each adds to the hypervolume. (n,).

    After `_GOOD` rows, those of a front are ordered by the volume that each dominates alone.
    """
    if not len(losses):
        return np.empty(0, dtype=np.intp)
    unit, front = _unit(losses), fronts(losses)
    reference = np.full(losses.shape[1], _REFERENCE)
    order = np.lexsort((-np.maximum(reference - unit, 0.0).prod(axis=1), front))
    start = 0
    while start < min(_GOOD, len(order)):
        members = order[front[order] == front[order[start]]]
        order[start : start + len(members)] = members[largest_first(unit[members], reference, _GOOD - start)]
        start += len(members)
    return order


def _unit(losses: FloatArray) -> FloatArray:
    """Scale each column of ``losses`` (n, m) so that its best row is 0 and its worst 1, or up to 2 if far out. (n, m).

    Far out is what exceeds the upper quartile by more than three times the distance of the quartiles (Tukey,
    Exploratory Data Analysis, 1977): the loss of a run that diverged must not set the scale.
    """
    eighth = losses / 8.0  # as the fence of the largest floats overflows
    best, lower, upper, worst = np.quantile(eighth, [0.0, 0.25, 0.75, 1.0], axis=0)
    fence = np.where(upper > lower, upper + 3.0 * (upper - lower), worst)
    span = np.minimum(worst, fence) - best
    return np.asarray(np.minimum(eighth - best, 2.0 * span) / np.where(span > 0.0, span, 1.0))


def fronts(losses: FloatArray) -> IntArray:
    """Index of the non-dominated front of each row of ``losses`` (n, m), 0 for the best. (n,).

    Rows are taken in lexicographic order, in which no row is dominated by a later one (Zhang et al., An Efficient
    Approach to Nondominated Sorting, IEEE Trans. Evol. Comp. 2015, section III). Each is assigned to the front after
    the last one that dominates it. With two objectives this is found by bisection, as the last row of a front is its
    lowest in the second.
    """
    rows, which = np.unique(losses, axis=0, return_inverse=True)  # equal rows do not dominate each other
    found = np.empty(len(rows), dtype=np.intp)
    others = rows.T[1:].copy()  # of the first objective, no earlier row has more
    lowest: list[float] = []
    for i, row in enumerate(rows):
        if len(row) == 2:
            found[i] = level = bisect_right(lowest, row[1])
            lowest[level : level + 1] = [row[1]]
        else:
            dominating = (others[:, :i] <= row[1:, None]).all(axis=0)
            found[i] = found[:i][dominating].max(initial=-1) + 1
    return found[which.ravel()]


def _evidence(history: History, numbers: IntArray) -> tuple[FloatArray, IntArray]:
    """Losses of trials ``numbers`` at each rung and at the end (n, r + 1), and the last column each reached (n,).

    A trial without a report up to a rung has its own loss there.
    """
    folds = history.evidence == "folds"
    curves = [history.curve(history.trials[n]) for n in numbers]
    complete = np.array([history.trials[n].state is State.COMPLETE for n in numbers])
    last = np.array([curve[-1][0] if curve else 0 for curve in curves])
    rungs = np.unique(last[~complete])
    if len(rungs) > _RUNGS:
        rungs = np.unique(np.quantile(rungs, np.linspace(0.0, 1.0, _RUNGS), method="lower"))
    reached = np.where(complete, len(rungs), np.searchsorted(rungs, last, side="right") - 1)
    table, ends = np.repeat(history.losses[numbers, :1], len(rungs) + 1, axis=1), rungs.tolist()
    for row, curve in zip(table, curves, strict=True):
        steps, values = [step for step, _ in curve], [value for _, value in curve]
        if folds:
            values = [total / count for count, total in enumerate(itertools.accumulate(values), start=1)]
        for k, end in enumerate(ends):
            if reports := bisect_right(steps, end):
                row[k] = values[reports - 1]
    return table, reached


def _beaten(table: FloatArray, reached: IntArray) -> FloatArray:
    """The fraction of the other trials that beat each, by pairs at the last column that both reached. (n,)."""
    n = len(table)
    wins_against = np.zeros(n)
    for k in range(table.shape[1]):
        here, beyond = np.flatnonzero(reached == k), np.flatnonzero(reached > k)
        column = table[:, k]
        if len(here):
            everyone = np.sort(column[np.concatenate([here, beyond])])
            wins_against[here] += np.searchsorted(everyone, column[here], side="left")
            wins_against[beyond] += np.searchsorted(np.sort(column[here]), column[beyond], side="left")
    return wins_against / max(n - 1, 1)
