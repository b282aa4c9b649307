"""A search imported from another tool: its data, the conditions of its space, and how it is recorded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, combinations
from typing import Any

import attrs

from hpt_core import Failure, Params, Space, Stop, Study, UsageError

__all__ = ["ImportedSearch", "ImportedTrial", "conditions", "dropped_values", "record"]

Row = Mapping[str, Any]
When = dict[str, list[Any]]


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
    rows: Sequence[Row],
    parents: Sequence[str],
    counts: Mapping[str, Sequence[int]] | None = None,
    whole: Sequence[Row] | None = None,
) -> dict[str, When]:
    """Infer which parameters are active only for certain values of others.

    The parent of a parameter that some rows lack is the first parameter that has no value in common between the rows
    that have the parameter and those that lack it. Candidates that fewer rows lack come first. If no candidate fits,
    the parent is a count, such as the number of layers, with the parameter active from some value on. If none fits
    either, two candidates are the parents.

    Args:
        rows: Configurations, active parameters only.
        parents: Candidate parents: parameters with few values.
        counts: Integer parameters with all their values in ascending order.
        whole: Those of the rows that have all their active parameters; None: all. The others may lack a parameter
            although it is active, and need not satisfy the condition if none explains all rows.

    Returns:
        Name -> ``when``, for the parameters that some of the whole rows lack.

    Raises:
        UsageError: If no parameters determine when another one is active.
    """
    names = dict.fromkeys(name for row in rows for name in row)
    order = sorted(names, key=lambda name: -sum(name in row for row in rows))
    found = {}
    for i, name in enumerate(order):
        present = [row for row in rows if name in row]
        lacking = [[row for row in some if name not in row] for some in (rows, rows if whole is None else whole)]
        if not lacking[-1]:
            continue
        candidates = [parent for parent in order[:i] if parent in parents]
        fitting = chain(
            *(_with_one_parent(present, absent, candidates, counts or {}) for absent in lacking),
            *((_when(present, absent, *pair) for pair in combinations(candidates, 2)) for absent in lacking),
        )
        when = next((item for item in fitting if item is not None), None)
        if when is None:
            remedy = "Give the space with --space FILE, a study file with a [space]."
            raise UsageError(f"No parameters determine when {name!r} is active. {remedy}")
        found[name] = when
    return found


def _with_one_parent(
    present: Sequence[Row], absent: Sequence[Row], parents: Sequence[str], counts: Mapping[str, Sequence[int]]
) -> Iterator[When | None]:
    yield from (_when(present, absent, parent) for parent in parents)
    yield from (_from_some_value_on(present, absent, count, values) for count, values in counts.items())


def _when(present: Sequence[Row], absent: Sequence[Row], *parents: str) -> When | None:
    """The condition on these parents that holds in all rows of ``present``, if it holds in none of ``absent``."""
    if any(parent not in row for row in present for parent in parents):
        return None
    when: When = {parent: [] for parent in parents}
    for row in present:
        for parent, values in when.items():
            if row[parent] not in values:
                values.append(row[parent])
    holds = (all(parent in row and row[parent] in values for parent, values in when.items()) for row in absent)
    return None if any(holds) else when


def _from_some_value_on(
    present: Sequence[Row], absent: Sequence[Row], count: str, values: Sequence[int]
) -> When | None:
    """The condition that a count is at least its least value in ``present``, if it is less in all of ``absent``."""
    if any(count not in row for row in present):
        return None
    least = min(row[count] for row in present)
    below = [row[count] for row in absent if count in row]
    return {count: [value for value in values if value >= least]} if below and max(below) < least else None


def dropped_values(counts: Mapping[str, int]) -> list[str]:
    """The sentence on the values that a space has no place for, by parameter; none if there are no such values."""
    listed = ", ".join(f"{name} (trials: {count})" for name, count in sorted(counts.items()))
    return [f"Values of parameters that are inactive or not in the space: {listed}."] if counts else []


def record(found: ImportedSearch, study: Study) -> None:
    """Record a search in a new study, at once: the store has all of it or nothing.

    Args:
        found: The search.
        study: A study that has the search's space and objectives, and that its store does not have yet.

    Raises:
        UsageError: If the store has the study.
    """
    draft = Study(study.space, objective=study.objectives, constraints=study.constraints or None, name=study.name)
    for imported in found.trials:
        trial = draft.add_trial(imported.params)
        for step, value in imported.reports:
            draft.report(trial, step, value)
        draft.tell(trial, imported.result)
    for params in found.waiting:
        draft.enqueue(params)
    with study.store.lock(study.name):
        if study.store.read(study.name):
            raise UsageError(f"The study {study.name!r} exists already. Import into a new one with --study NAME.")
        study.store.append(study.name, draft.store.read(draft.name))
