"""Rungs and brackets in integer arithmetic: with float logarithms a rung is lost (log 243 / log 3 = 4.999...)."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from itertools import accumulate

__all__ = ["bracket_sizes", "draw_bracket", "make_ladder"]

_DERIVED_RUNGS = 4
_ENDLESS = 2**31
_BITS = 64


@lru_cache
def make_ladder(eta: int, low: int | None, top: int | None) -> tuple[int, ...]:
    """The resources at which trials are compared, ascending.

    Args:
        eta: The factor between neighbouring rungs, >= 2.
        low: The first rung, >= 1; the rungs are then low * eta**k (Li et al. 2020, "A system for massively parallel
            hyperparameter tuning", algorithm 2). None: ``top`` divided by eta three, two and one times, rounded.
        top: The last rung, the resource of a whole trial; it may be nearer to the rung before it than a factor of eta.
            None: unknown, the rungs continue without a last one.
    """
    if top is None:
        rungs = [low or 1]
        while rungs[-1] * eta < _ENDLESS:
            rungs.append(rungs[-1] * eta)
        return tuple(rungs)
    if low is None:
        divisors = [eta**j for j in range(_DERIVED_RUNGS)]
        return tuple(sorted({max(1, (2 * top + divisor) // (2 * divisor)) for divisor in divisors}))
    rungs = []
    while low < top:
        rungs.append(low)
        low *= eta
    return (*rungs, top)


def bracket_sizes(eta: int, rungs: int) -> tuple[int, ...]:
    """The number of trials that start in each bracket, ``n_s`` for s = 0 ... rungs - 1.

    Bracket s has s + 1 rungs, the last ones of the ladder, and ``n_s = ceil((s_max + 1) * eta**s / (s + 1))`` trials
    with s_max = rungs - 1 (Li et al. 2018, "Hyperband", JMLR 18, algorithm 1; the earlier printing has
    ``floor((s_max + 1) / (s + 1)) * eta**s``).
    """
    return tuple(-(-rungs * eta**s // (s + 1)) for s in range(rungs))


@lru_cache(maxsize=2**16)
def draw_bracket(seed: int, number: int, sizes: tuple[int, ...]) -> int:
    """Draw the bracket of a trial: s with probability ``sizes[s] / sum(sizes)``, the same at each call.

    Args:
        seed: The study's seed.
        number: The trial's number.
        sizes: What `bracket_sizes` returns.
    """
    digest = hashlib.blake2b(f"{seed}:{number}".encode(), digest_size=_BITS // 8, person=b"hyperband").digest()
    place = int.from_bytes(digest) * sum(sizes) >> _BITS
    return next(s for s, end in enumerate(accumulate(sizes)) if place < end)
