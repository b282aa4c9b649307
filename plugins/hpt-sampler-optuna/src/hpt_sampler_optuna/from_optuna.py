"""Read an Optuna study for ``hpt import``."""

from __future__ import annotations

import math
import os
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from hpt_core import Failure, Mistake, Space, Stop, UsageError
from hpt_sampler_optuna.attributes import limits_of, metrics_of, non_metrics
from hpt_sampler_optuna.convert import axes, parameter_of, params_of
from hpt_sampler_optuna.imported import ImportedSearch, ImportedTrial, conditions, dropped_values
from hpt_sampler_optuna.replica import quiet

if TYPE_CHECKING:
    from hpt_core import Params

__all__ = ["read_study"]

_MOST_COUNTED = 64  # integers with more values are not considered as counts that others depend on


def read_study(source: str, name: str | None, space: Space | None = None) -> ImportedSearch:
    """Read a study.

    Args:
        source: A storage URL (``sqlite:///example.db``), a SQLite file, or a journal file (``.log``, ``.journal``).
        name: The study's name; None: the only study in the storage.
        space: Its space; None: inferred from its trials.

    Raises:
        UsageError: If there is no such study, or its space cannot be inferred.
    """
    study, trials = _open(source, name)
    if space is None:
        space = _space_of(trials)
    known = axes(space)
    told, waiting, left_out, dropped = [], [], [], Counter[str]()
    for trial in trials:
        given = dict(trial.system_attrs.get("fixed_params", {})) if trial.state is TrialState.WAITING else trial.params
        params = params_of(given, space, known)
        if trial.state is TrialState.RUNNING:
            left_out.append(f"Trial {trial.number} was running.")
        elif params is None:
            left_out.append(f"The point of trial {trial.number} is incomplete or outside the space: {given}.")
        else:
            dropped.update(given.keys() - params.keys())
            if trial.state is TrialState.WAITING:
                waiting.append(params)
            else:
                told.append(_told(trial, params, list(_objective(study))))
    left_out += [*dropped_values(dropped), *_dropped_attributes(study, trials)]
    return ImportedSearch(study.study_name, space, _objective(study), told, waiting, left_out, limits_of(trials))


def _open(source: str, name: str | None) -> tuple[optuna.Study, Sequence[FrozenTrial]]:
    path = Path(source.removeprefix("sqlite:///"))
    is_file = "://" not in source or source.startswith("sqlite:///")
    if is_file and not os.path.isfile(path):  # noqa: PTH113 - Path raises for a long name
        raise UsageError(f"There is no file {path}.")
    place = re.sub(r"(://[^:@/]*):[^@]*@", r"\1@", source)  # without a password
    storage: Any = source
    if "://" not in source and path.suffix in (".log", ".journal"):
        storage = _journal(path)
    elif is_file:
        _check_tables(path)
        storage = f"sqlite:///{path}"
    try:
        with quiet():
            names = optuna.get_all_study_names(storage)
            if name is None and len(names) == 1:
                (name,) = names
            if name in names:
                study = optuna.load_study(study_name=name, storage=storage)
                return study, study.get_trials(deepcopy=False)
    except Exception as err:  # a driver, or Optuna on a damaged storage, may raise anything
        raise UsageError(f"Cannot read an Optuna study in {place}: {err}") from err
    reason = f"name one with --from. It has: {', '.join(names)}." if names else "it has none."
    raise UsageError(f"Cannot read an Optuna study in {place}: {reason}")


def _journal(path: Path) -> optuna.storages.JournalStorage:
    try:
        return optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
    except Exception as err:  # among others AssertionError
        raise UsageError(f"Cannot read an Optuna study in {path}: it is not a journal of Optuna.") from err


def _check_tables(path: Path) -> None:
    """Reject a database of another program, as Optuna would create its tables in it."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            found = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.Error as err:
        raise UsageError(f"Cannot read an Optuna study in {path}: {err}.") from err
    if not {"studies", "trials", "version_info"} <= found:
        raise UsageError(f"Cannot read an Optuna study in {path}: it is the database of another program.")


def _objective(study: optuna.Study) -> dict[str, str]:
    directions = [direction.name.lower() for direction in study.directions]
    names = study.metric_names or (["value"] if len(directions) == 1 else [f"value{i}" for i in range(len(directions))])
    return dict(zip(names, directions, strict=True))


def _dropped_attributes(study: optuna.Study, trials: Sequence[FrozenTrial]) -> Iterator[str]:
    """Sentences on the attributes that an hpt study cannot hold."""
    names = non_metrics(trials)
    if names:
        yield f"User attributes that are not finite numbers, or of trials that are not complete: {', '.join(names)}."
    if study.user_attrs:
        yield f"User attributes of the study: {', '.join(study.user_attrs)}."


def _told(trial: FrozenTrial, params: Params, objectives: Sequence[str]) -> ImportedTrial:
    finite = [(step + 1, value) for step, value in sorted(trial.intermediate_values.items()) if math.isfinite(value)]
    if trial.state is TrialState.COMPLETE:
        return ImportedTrial(params, metrics_of(trial) | dict(zip(objectives, trial.values, strict=True)), finite)
    if trial.state is TrialState.PRUNED:
        return ImportedTrial(params, Stop("pruned in Optuna"), finite)
    return ImportedTrial(
        params, Failure("error", str(trial.system_attrs.get("fail_reason") or "failed in Optuna")), finite
    )


def _space_of(trials: Sequence[FrozenTrial]) -> Space:
    """The smallest space that holds all trials: changing ranges are joined, conditions are inferred.

    A trial that ended before it suggested all its parameters has only some of those that another trial has.
    """
    trained = [trial for trial in trials if _has_trained(trial)]
    ended = [trial for trial in trials if trial.state.is_finished()]
    known = {frozenset(trial.params) for trial in ended}
    whole = [trial for trial in ended if _has_trained(trial) or not any(trial.params.keys() < other for other in known)]
    try:
        return _inferred(ended, whole)
    except UsageError:  # a failed trial may be one of an earlier version of the objective
        return _inferred(trained or trials, trained or trials)


def _has_trained(trial: FrozenTrial) -> bool:
    return trial.state is TrialState.COMPLETE or (trial.state is TrialState.PRUNED and bool(trial.intermediate_values))


def _inferred(trials: Sequence[FrozenTrial], whole: Sequence[FrozenTrial]) -> Space:
    """The space of trials, of which those of ``whole`` have all their active parameters."""
    rows, whole_rows = ([trial.params for trial in some if trial.params] for some in (trials, whole))
    if not rows:
        raise UsageError("The study has no trials to infer its space from. Give it with --space FILE.")
    seen: dict[str, list[BaseDistribution]] = {}
    for trial in trials:
        for name, distribution in trial.distributions.items():
            seen.setdefault(name, []).append(distribution)
    joined = {name: _joined(name, distributions) for name, distributions in seen.items()}
    parents = [name for name, dist in joined.items() if isinstance(dist, CategoricalDistribution)]
    whole_numbers = {name: dist for name, dist in joined.items() if isinstance(dist, IntDistribution)}
    spread = {name: range(dist.low, dist.high + 1, dist.step) for name, dist in whole_numbers.items()}
    counts = {name: values for name, values in spread.items() if len(values) <= _MOST_COUNTED}
    when = conditions(rows, parents, counts, whole_rows)
    return Space({name: _parameter(name, joined[name], when.get(name)) for name in joined})


def _parameter(name: str, distribution: BaseDistribution, when: Mapping[str, Any] | None) -> Any:
    try:
        return parameter_of(distribution, when)
    except UsageError as err:
        raise UsageError(*(Mistake(f"space.{name}", str(mistake)) for mistake in err.mistakes)) from err


def _joined(name: str, found: Sequence[Any]) -> Any:
    first = found[0]
    if all(dist == first for dist in found):
        return first
    kinds = {type(dist) for dist in found}
    if not kinds <= {FloatDistribution, IntDistribution} or len(kinds) > 1:
        raise UsageError(f"The parameter {name!r} has several types or several lists of choices.")
    low, high = min(dist.low for dist in found), max(dist.high for dist in found)
    log = all(dist.log for dist in found)
    steps = {dist.step for dist in found}
    step = steps.pop() if len(steps) == 1 and len({dist.low for dist in found}) == 1 else None
    if isinstance(first, IntDistribution):
        return IntDistribution(low, high, log=log, step=step or 1)
    return FloatDistribution(low, high, log=log, step=step)
