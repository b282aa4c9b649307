"""From what the user gives as a space to what a study searches, and back from its configurations to parameters."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import attrs
import numpy as np
from sklearn.model_selection import ParameterGrid, ParameterSampler

from hpt_core import Params, Space
from hpt_evaluator_sklearn.search.candidates import DrawnCandidates, GridCandidates
from hpt_evaluator_sklearn.search.distributions import is_distribution, parameter_of
from hpt_evaluator_sklearn.search.labels import Table, listed, meant, plain_text
from hpt_evaluator_sklearn.search.union import Union

__all__ = ["Plan", "plan_distributions", "plan_grid", "plan_space"]


@attrs.frozen(eq=False)
class Plan:
    """What is searched.

    Attributes:
        space: The space of the study.
        decode: Configuration of the space -> parameters of the estimator.
        sampler: Who proposes where the user names no sampler; None: whoever is installed.
        trials: How many trials there are at most; None: as many as there are.
    """

    space: Space
    decode: Callable[[Params], dict[str, Any]]
    sampler: Any = None
    trials: int | None = None


def plan_grid(param_grid: Any) -> Plan:
    """Search all combinations, as `sklearn.model_selection.GridSearchCV` does.

    Args:
        param_grid: A mapping of names to lists, or a list of such.

    Raises:
        TypeError: By scikit-learn, if it is no grid.
        ValueError: By scikit-learn, if a list is empty or has several dimensions.
    """
    union = Union.of(ParameterGrid(param_grid).param_grid)
    return Plan(union.space, union.decode, sampler=GridCandidates())


def plan_distributions(param_distributions: Any, n_iter: int | None, *, drawn: bool) -> Plan:
    """Draw candidates, as `sklearn.model_selection.RandomizedSearchCV` does.

    Args:
        param_distributions: A mapping of names to lists or distributions, or a list of such.
        n_iter: How many candidates; None: 10.
        drawn: Whether they are drawn as scikit-learn draws them; else the ranges are for some sampler to search.

    Raises:
        TypeError: By scikit-learn, if it is neither.
    """
    count = 10 if n_iter is None else n_iter
    grids = ParameterSampler(param_distributions, count).param_distributions
    union = Union.of(grids, everything=drawn)
    if not drawn:
        return Plan(union.space, union.decode, trials=count)
    listed_only = not any(is_distribution(values) for grid in grids for values in grid.values())
    if listed_only:
        size = len(ParameterGrid(grids))
        if size < count:
            message = f"The total space of parameters {size} is smaller than n_iter={count}. Running {size} iterations."
            warnings.warn(f"{message} All of them are tried.", UserWarning, stacklevel=3)
            count = size

    def draw(seed: int) -> list[Params]:
        return [union.encode(one) for one in ParameterSampler(grids, count, random_state=seed)]

    sampler = DrawnCandidates.of(_in_words(grids), draw, distinct=listed_only)
    return Plan(union.space, union.decode, sampler=sampler, trials=count)


def _in_words(grids: Sequence[Mapping[str, Any]]) -> str:
    return "; ".join(", ".join(f"{name}: {_word(grid[name])}" for name in sorted(grid)) for grid in grids)


def _word(values: Any) -> str:
    if hasattr(values, "dist") and hasattr(values, "kwds"):
        given = [*map(repr, values.args), *(f"{key}={value!r}" for key, value in values.kwds.items())]
        return f"{values.dist.name}({', '.join(given)})"
    return plain_text(values, 200)


def plan_space(space: Any) -> Plan:
    """Search a space of hpt.

    Args:
        space: A `hpt_core.Space`; or its declaration, in which lists may hold any objects, ``choices`` may be a
            mapping of labels to objects, and frozen distributions stand for their range.
    """
    if isinstance(space, Space):
        return Plan(space, dict)
    if not isinstance(space, Mapping):
        return Plan(Space(space), dict)
    tables: dict[str, Table] = {}
    tabled = {name for name, form in space.items() if isinstance(form, Mapping)}
    found = {name: _declared(name, form, tables) for name, form in space.items() if name not in tabled}
    found |= {name: _from_table(name, space[name], tables) for name in tabled}  # their conditions may name objects
    return Plan(Space({name: found[name] for name in space}), partial(meant, tables))


def _declared(name: str, form: Any, tables: dict[str, Table]) -> Any:
    if is_distribution(form):
        return parameter_of(form, f"space.{name}", everything=False)
    if isinstance(form, tuple) and len(form) == 2 and {type(value) for value in form} <= {int, float}:
        return form  # the core refuses it: elsewhere a pair is a range
    several = isinstance(form, (list, tuple, range, np.ndarray))
    if (several and len(form)) or hasattr(form, "get_params") or isinstance(form, type):
        parameter, tables[name] = listed(list(form) if several else [form])
        return parameter
    return form


def _from_table(name: str, form: Mapping[str, Any], tables: dict[str, Table]) -> Any:
    """A table; objects among its choices get labels, and objects in its conditions stand for theirs."""
    found = dict(form)
    if isinstance(found.get("when"), Mapping):
        found["when"] = {parent: _relabelled(values, tables.get(parent)) for parent, values in found["when"].items()}
    choices = found.get("choices")
    if isinstance(choices, Mapping) and choices:
        tables[name] = dict(choices)
        found["choices"] = list(choices)
    elif isinstance(choices, (list, tuple)) and choices and set(found) <= {"choices", "when", "default"}:
        parameter, tables[name] = listed(choices, when=found.get("when"), default=found.get("default"))
        return parameter
    return found


def _relabelled(values: Any, table: Table | None) -> Any:
    if table is None:
        return values
    several = list(values) if isinstance(values, (list, tuple)) else [values]
    words = [next((word for word, known in table.items() if known is value), value) for value in several]
    return words if isinstance(values, (list, tuple)) else words[0]
