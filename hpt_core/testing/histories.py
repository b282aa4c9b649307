"""Histories made to measure, for tests of samplers and stopping rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hpt_core import events
from hpt_core.history import History
from hpt_core.space import Space
from hpt_core.trial import Failure, Params, Report

__all__ = ["make_history"]


def make_history(
    space: Space | Mapping[str, Any],
    trials: Sequence[tuple[Params, object]] = (),
    *,
    directions: Sequence[str] = ("minimize",),
    running: Sequence[Params] = (),
    reports: Mapping[int, Sequence[float | Report]] | None = None,
    evidence: str = "curve",
    steps: int | None = None,
    resumable: bool = False,
    seed: int = 0,
) -> History:
    """Make a history as if a study had gone like this.

    Args:
        space: The space.
        trials: (params, outcome) in order of number. The outcome is a value (with several objectives a tuple), a
            `Failure`, or None for a trial that still runs.
        directions: One per objective; the objectives are called ``value`` or ``value0``, ``value1``, ...
        running: Points of further trials that still run, behind the others.
        reports: Trial number -> its reports in order; a bare number is the value at the next step, from 1.
        evidence: ``curve`` or ``folds``.
        steps: How many reports a whole trial gives.
        resumable: Whether trials can go on after a pause.
        seed: The study's seed.

    Returns:
        The history, one second between any two records from Unix time 0 on.
    """
    made = space if isinstance(space, Space) else Space(space)
    names = ["value"] if len(directions) == 1 else [f"value{i}" for i in range(len(directions))]
    definition = {
        "space": made.to_json(),
        "objectives": dict(zip(names, directions, strict=True)),
        "sampler": None,
        "evaluator": None,
        "evidence": {"kind": evidence, "steps": steps, "resumable": resumable},
        "stop": [],
        "seed": seed,
        "duplicates": "avoid",
        "reproducible": 0,
    }
    history = History()
    history.apply(events.created(0.0, definition, {}))
    for number, (params, outcome) in enumerate([*trials, *((point, None) for point in running)]):
        _apply_trial(history, number, params, outcome, (reports or {}).get(number, ()))
    return history


def _apply_trial(
    history: History, number: int, params: Params, outcome: object, reports: Sequence[float | Report]
) -> None:
    def now() -> float:
        return float(history.position)

    history.apply(events.started(now(), number, params, "worker", 1, history.position))
    for step, item in enumerate(reports, start=1):
        report = item if isinstance(item, Report) else Report(step, float(item))
        history.apply(events.reported(now(), number, 1, report))
    if isinstance(outcome, Failure):
        history.apply(events.failed(now(), number, 1, outcome))
    elif outcome is not None:
        values = outcome if isinstance(outcome, tuple) else (outcome,)
        history.apply(events.complete(now(), number, 1, [float(value) for value in values], {}))
