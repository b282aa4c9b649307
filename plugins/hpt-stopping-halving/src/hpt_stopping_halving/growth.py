"""The height of PASHA's ladder: it grows while the two highest rungs rank the trials differently."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hpt_stopping_halving.bracket import Rung

__all__ = ["agree", "height", "noise"]

_PERCENTILE = 90.0


def height(rungs: Sequence[Rung], tolerance: Callable[[int], float], complete: AbstractSet[int] = frozenset()) -> int:
    """Index of the highest rung that trials may be promoted to.

    The ladder has two rungs at first. Its top is the highest rung with at least two results, or the next one if that
    rung and the one below rank the trials that are on both differently (Bohdal et al. 2023, "PASHA", algorithm 1). As
    this is computed from the results alone, a rung that was added is dropped again if further results agree within the
    tolerance before two trials have reached it; in the paper it stays.

    Args:
        rungs: The results.
        tolerance: Maps a rung's index to the difference of losses on the rung below that counts as a tie.
        complete: Trials that do not count as results when the top is sought: at the end of each run, the best trial
            is run to the end, without the ladder having grown.
    """
    last = len(rungs) - 1
    climbing = ((number for _, number in rung if number not in complete) for rung in rungs)
    several = [len(list(islice(numbers, 2))) == 2 for numbers in climbing]
    top = max((index for index in range(1, last + 1) if several[index]), default=min(1, last))
    return top if top == last or agree(rungs[top - 1], rungs[top], tolerance(top)) else top + 1


def agree(lower: Rung, upper: Rung, tolerance: float) -> bool:
    """Whether two rungs rank the trials that are on both in the same order, up to a tolerance.

    Soft ranking (Bohdal et al. 2023, section 4.1): for each rank, the trial of that rank on the upper rung and the one
    on the lower rung must have losses on the lower rung that differ by no more than the tolerance.
    """
    on_upper = {number for _, number in upper}
    below = {number: loss for loss, number in lower if number in on_upper}  # best first, as the lower rung
    above = [below[number] for _, number in upper if number in below]
    return all(abs(mine - theirs) <= tolerance for mine, theirs in zip(above, below.values(), strict=True))


def noise(curves: NDArray[np.float64]) -> float:
    """Estimate the distance between learning curves that differ only by noise.

    The 90th percentile, over the pairs of curves that cross at least twice, of their distance at the last step that
    both have (Bohdal et al. 2023, section 4.2); 0 if there is no such pair.

    Args:
        curves: Losses, (curves, steps); NaN where a curve has no report.
    """
    first, second = np.triu_indices(len(curves), 1)
    differences = curves[first] - curves[second]  # (pairs, steps)
    side = np.zeros(len(first))
    crossings = np.zeros(len(first), dtype=np.intp)
    distance = np.zeros(len(first))
    for column in differences.T:
        now = np.nan_to_num(np.sign(column))
        crossings += now * side < 0
        side = np.where(now == 0, side, now)
        distance = np.where(np.isnan(column), distance, np.abs(column))
    crossing = distance[crossings >= 2]
    return float(np.percentile(crossing, _PERCENTILE)) if len(crossing) else 0.0
