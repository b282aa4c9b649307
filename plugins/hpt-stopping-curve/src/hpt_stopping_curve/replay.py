"""Estimate how often a rule on curves is wrong, from the audited trials that it never stops."""

from __future__ import annotations

import math
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.special import betaincinv

if TYPE_CHECKING:
    from hpt_core import History, Trial
    from hpt_stopping_curve.audited import Audited

__all__ = ["FalseStops", "audited_trials", "false_stop_rate", "is_audited"]


def is_audited(seed: int, number: int, share: float) -> bool:
    """Whether a trial is audited, a function of the study's seed and the trial's number alone."""
    digest = blake2b(f"{seed}:{number}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) < share * 2**64


class FalseStops(NamedTuple):
    """How often a rule would have been wrong.

    Attributes:
        stops: Number of audited trials that the rule would have stopped.
        false: Number of those that later beat the incumbent of that time.
        rate: false / stops; None if stops is 0.
        interval: Exact 95 % interval of the rate (Clopper and Pearson 1934); (0, 1) if stops is 0.
    """

    stops: int
    false: int
    rate: float | None
    interval: tuple[float, float]


def audited_trials(history: History, rule: Audited) -> list[Trial]:
    """The audited trials that are complete and have reports, by number."""
    if history.evidence != "curve":
        return []
    trials = (history.trials[number] for number in history.complete)
    return [t for t in trials if t.reports and is_audited(history.seed, t.number, rule.audit)]


def false_stop_rate(history: History, rule: Audited) -> FalseStops:
    """Apply a rule to every report of the audited trials, as if it had just been made.

    The history keeps no time per report, so a trial is compared with those that had ended when it started. With one
    worker, these are the results that the rule saw. With several workers it saw a few more, and may have stopped more.

    Args:
        history: The study; the result depends on nothing else.
        rule: The rule, with its share of audited trials.
    """
    stops = false = 0
    for trial in audited_trials(history, rule):
        others = history.complete[[_had_ended(history.trials[number], trial) for number in history.complete]]
        curve = rule.curve(history, trial)
        if not any(rule.would_stop(history, curve[:length], others) for length in range(1, len(curve) + 1)):
            continue
        stops += 1
        incumbent = rule.ends(history, others).min(initial=math.inf)
        false += bool((rule.ends(history, np.array([trial.number])) < incumbent).any())
    return FalseStops(stops, false, false / stops if stops else None, _interval(false, stops))


def _had_ended(other: Trial, trial: Trial) -> bool:
    """Whether a trial had ended when another one started."""
    if other.ended is None or trial.started is None:
        return other.number < trial.number
    return other.number != trial.number and other.ended <= trial.started


def _interval(hits: int, count: int) -> tuple[float, float]:
    low = float(betaincinv(hits, count - hits + 1, 0.025)) if hits else 0.0
    high = float(betaincinv(hits + 1, count - hits, 0.975)) if hits < count else 1.0
    return low, high
