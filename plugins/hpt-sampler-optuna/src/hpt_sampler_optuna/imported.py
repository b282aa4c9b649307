"""A search imported from another tool: its data, the conditions of its space, and how it is recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from hpt_core import Failure, Params, Space, Stop, Study, UsageError

__all__ = ["ImportedSearch", "ImportedTrial", "conditions", "record"]


@attrs.frozen
class ImportedTrial:
    """One trial.

    Attributes:
        params: The configuration.
        result: The result, as for `Study.tell`.
        reports: Pairs (step, value), with steps from 1.
    """

    params: Params
    result: float | tuple[float, ...] | Mapping[str, float] | Failure | Stop
    reports: Sequence[tuple[int, float]] = ()


@attrs.frozen
class ImportedSearch:
    """A search.

    Attributes:
        name: Its name.
        space: Its space.
        objective: Directions by name.
        trials: The evaluated trials, in order.
        waiting: Configurations that were enqueued but not evaluated.
        left_out: What could not be imported, one sentence each.
        constraints: As for `Study`, on metrics that every complete trial has.
    """

    name: str
    space: Space
    objective: Mapping[str, str]
    trials: Sequence[ImportedTrial]
    waiting: Sequence[Params] = ()
    left_out: Sequence[str] = ()
    constraints: Mapping[str, str] = attrs.field(factory=dict)


def conditions(
    rows: Sequence[Mapping[str, Any]], parents: Sequence[str], counts: Mapping[str, Sequence[int]] | None = None
) -> dict[str, dict[str, list[Any]]]:
    """Infer which parameters are active only for certain values of another one.

    The parent of a parameter that some rows lack is the first parameter that has no value in common between the rows
    that have the parameter and those that lack it. Candidates that fewer rows lack come first. If no candidate fits,
    the parent is a count, such as the number of layers, with the parameter active from some value on.

    Args:
        rows: Configurations, active parameters only.
        parents: Candidate parents: parameters with few values.
        counts: Integer parameters with all their values in ascending order.

    Returns:
        Name -> ``when``, for the parameters that some rows lack.

    Raises:
        UsageError: If no single parameter determines when another one is active.
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
        counted = (_threshold(rows, name, *item) for item in (counts or {}).items() if rank[item[0]] < rank[name])
        when = next((item for item in (*fitting, *counted) if item is not None), None)
        if when is None:
            remedy = "Give the space with --space FILE, a study file with a [space]."
            raise UsageError(f"No parameter determines when {name!r} is active. {remedy}")
        found[name] = when
    return found


def _when(rows: Sequence[Mapping[str, Any]], name: str, parent: str) -> dict[str, list[Any]] | None:
    present = [row[parent] for row in rows if name in row and parent in row]
    if len(present) < sum(name in row for row in rows):
        return None
    absent = [row[parent] for row in rows if name not in row and parent in row]
    values = [value for i, value in enumerate(present) if value not in present[:i]]
    return None if any(value in absent for value in values) else {parent: values}


def _threshold(
    rows: Sequence[Mapping[str, Any]], name: str, count: str, values: Sequence[int]
) -> dict[str, list[Any]] | None:
    when = _when(rows, name, count)
    if when is None:
        return None
    least = min(when[count])
    below = [row[count] for row in rows if name not in row and count in row]
    return {count: [value for value in values if value >= least]} if below and max(below) < least else None


def record(found: ImportedSearch, study: Study) -> None:
    """Record a search in a new study.

    Args:
        found: The search.
        study: A study without trials that has the search's space and objectives.

    Raises:
        UsageError: If the study has trials.
    """
    if len(study.trials):
        raise UsageError(f"The study {study.name!r} already has trials; import into a new one with --study NAME.")
    for imported in found.trials:
        trial = study.add_trial(imported.params)
        for step, value in imported.reports:
            study.report(trial, step, value)
        study.tell(trial, imported.result)
    for params in found.waiting:
        study.enqueue(params)
