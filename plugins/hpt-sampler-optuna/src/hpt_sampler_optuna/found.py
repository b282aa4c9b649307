"""A finished search as it was found elsewhere, and what its space must have been."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from hpt_core import Failure, Params, Space, Stop, Study, UsageError

__all__ = ["Found", "Told", "conditions", "record"]


@attrs.frozen
class Told:
    """One trial.

    Attributes:
        params: The configuration.
        result: What `Study.tell` takes.
        reports: (step, value), steps from 1.
    """

    params: Params
    result: float | tuple[float, ...] | Mapping[str, float] | Failure | Stop
    reports: Sequence[tuple[int, float]] = ()


@attrs.frozen
class Found:
    """A search.

    Attributes:
        name: What it was called.
        space: Its space.
        objective: Directions by name.
        trials: What was evaluated, in order.
        waiting: What was still to be evaluated.
        left_out: What could not be taken over, one sentence each.
        constraints: As of `Study`, on metrics that each complete trial has.
    """

    name: str
    space: Space
    objective: Mapping[str, str]
    trials: Sequence[Told]
    waiting: Sequence[Params] = ()
    left_out: Sequence[str] = ()
    constraints: Mapping[str, str] = attrs.field(factory=dict)


def conditions(
    rows: Sequence[Mapping[str, Any]], parents: Sequence[str], counts: Mapping[str, Sequence[int]] | None = None
) -> dict[str, dict[str, list[Any]]]:
    """Find out which parameters are active only under certain values of another.

    A parameter that some rows lack has as its parent the first parameter whose values in the rows that have it and in
    those that lack it are different ones. Of two that would fit, the one that fewer rows lack goes before. Where none
    fits it is a count, as that of layers, from some number on.

    Args:
        rows: Configurations, active parameters only.
        parents: Parameters that may be parents: those with few values.
        counts: Integer parameters, with all their values from the lowest on.

    Returns:
        Name -> ``when``, for those that some rows lack.

    Raises:
        UsageError: If no single parameter tells when another is active.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    count = {name: sum(name in row for row in rows) for name in names}
    rank = {name: i for i, name in enumerate(sorted(names, key=lambda name: (-count[name], names.index(name))))}
    found = {}
    for name in names:
        if count[name] == len(rows):
            continue
        fitting = (
            _when(rows, name, parent) for parent in sorted(parents, key=rank.__getitem__) if rank[parent] < rank[name]
        )
        counted = (_from_on(rows, name, *item) for item in (counts or {}).items() if rank[item[0]] < rank[name])
        when = next((item for item in (*fitting, *counted) if item is not None), None)
        if when is None:
            remedy = "Give the space by --space FILE, a study file with a [space]."
            raise UsageError(f"No parameter tells when {name!r} is active. {remedy}")
        found[name] = when
    return found


def _when(rows: Sequence[Mapping[str, Any]], name: str, parent: str) -> dict[str, list[Any]] | None:
    present = [row[parent] for row in rows if name in row and parent in row]
    if len(present) < sum(name in row for row in rows):
        return None
    absent = [row[parent] for row in rows if name not in row and parent in row]
    values = [value for i, value in enumerate(present) if value not in present[:i]]
    return None if any(value in absent for value in values) else {parent: values}


def _from_on(
    rows: Sequence[Mapping[str, Any]], name: str, count: str, values: Sequence[int]
) -> dict[str, list[Any]] | None:
    when = _when(rows, name, count)
    if when is None:
        return None
    least = min(when[count])
    below = [row[count] for row in rows if name not in row and count in row]
    return {count: [value for value in values if value >= least]} if below and max(below) < least else None


def record(found: Found, study: Study) -> None:
    """Put a search into a new study.

    Args:
        found: The search.
        study: The study, with the search's space and objectives and without trials.

    Raises:
        UsageError: If the study has trials.
    """
    if len(study.trials):
        raise UsageError(f"The study {study.name!r} has trials already; import into a new one with --study NAME.")
    for told in found.trials:
        trial = study.add_trial(told.params)
        for step, value in told.reports:
            study.report(trial, step, value)
        study.tell(trial, told.result)
    for params in found.waiting:
        study.enqueue(params)
