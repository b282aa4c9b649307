"""Turn what the user gives as a space into the space of a study, and its configurations into estimator parameters."""

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
from hpt_evaluator_sklearn.search.grid_union import GridUnion
from hpt_evaluator_sklearn.search.labels import Table, choice_parameter, label_of, plain_text, resolve_choices

__all__ = ["Plan", "plan_distributions", "plan_grid", "plan_space"]

_PRIORS = {"uniform", "log-uniform", int, float}  # as in the core: what others write behind the ends of a range


@attrs.frozen(eq=False)
class Plan:
    """The space of a search, and its default sampler and number of candidates.

    Attributes:
        space: The space of the study.
        decode: Configuration of the space -> parameters of the estimator.
        sampler: The sampler to use if the user gives none. If None, the default sampler of hpt.
        trials: Maximum number of trials; None if it is unlimited.
    """

    space: Space
    decode: Callable[[Params], dict[str, Any]]
    sampler: Any = None
    trials: int | None = None


def plan_grid(param_grid: Any) -> Plan:
    """Search all combinations, as `sklearn.model_selection.GridSearchCV` does.

    Args:
        param_grid: A mapping of names to lists, or a list of such mappings.

    Raises:
        TypeError: From scikit-learn, if it is not a grid.
        ValueError: From scikit-learn, if a list is empty or has several dimensions.
    """
    union = GridUnion.of(ParameterGrid(param_grid).param_grid)
    return Plan(union.space, union.decode, sampler=GridCandidates())


def plan_distributions(param_distributions: Any, n_iter: int | None, *, drawn: bool) -> Plan:
    """Draw candidates, as `sklearn.model_selection.RandomizedSearchCV` does.

    Args:
        param_distributions: A mapping of names to lists or distributions, or a list of such mappings.
        n_iter: Number of candidates; None means 10.
        drawn: Whether candidates are drawn as scikit-learn draws them. If not, another sampler searches the ranges.

    Raises:
        TypeError: From scikit-learn, if it is neither.
    """
    count = 10 if n_iter is None else n_iter
    grids = ParameterSampler(param_distributions, count).param_distributions
    lists = _as_lists(grids)
    union = GridUnion.of(lists, whole_support=drawn)
    if not drawn:
        return Plan(union.space, union.decode, trials=count)
    only_lists = not any(is_distribution(values) for grid in grids for values in grid.values())
    if only_lists:
        size = len(ParameterGrid(grids))
        if size < count:
            message = f"The total space of parameters {size} is smaller than n_iter={count}. Running {size} iterations."
            warnings.warn(f"{message} All of them are tried.", UserWarning, stacklevel=5)
            count = size

    def draw(seed: int) -> list[Params]:
        return [union.encode(one) for one in ParameterSampler(lists, count, random_state=seed)]

    sampler = DrawnCandidates.of(_describe(grids), draw, distinct=only_lists)
    return Plan(union.space, union.decode, sampler=sampler, trials=count)


def _as_lists(grids: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The same grids with lists instead of arrays: what is drawn from a list is an object of the list, not a copy."""
    lists = {id(v): v if is_distribution(v) else list(v) for grid in grids for v in grid.values()}
    return [{name: lists[id(values)] for name, values in grid.items()} for grid in grids]


def _describe(grids: Sequence[Mapping[str, Any]]) -> str:
    return "; ".join(", ".join(f"{name}: {_describe_values(grid[name])}" for name in sorted(grid)) for grid in grids)


def _describe_values(values: Any) -> str:
    if hasattr(values, "dist") and hasattr(values, "kwds"):
        given = [*map(repr, values.args), *(f"{key}={value!r}" for key, value in values.kwds.items())]
        return f"{values.dist.name}({', '.join(given)})"
    return plain_text(values, 200)


def plan_space(space: Any) -> Plan:
    """Search a space of hpt.

    Args:
        space: A `hpt_core.Space` or its declaration. In a declaration, lists may hold any objects, ``choices`` may be
            a mapping of labels to objects, and a frozen distribution stands for its range.
    """
    if not isinstance(space, Mapping):
        return Plan(space if isinstance(space, Space) else Space(space), dict)
    tables: dict[str, Table] = {}
    tabled = {name for name, form in space.items() if isinstance(form, Mapping)}
    found = {name: _declared(name, form, tables) for name, form in space.items() if name not in tabled}
    found |= {name: _from_table(name, space[name], tables) for name in tabled}  # their conditions may name objects
    return Plan(Space({name: found[name] for name in space}), partial(resolve_choices, tables))


def _declared(name: str, form: Any, tables: dict[str, Table]) -> Any:
    if is_distribution(form):
        return parameter_of(form, f"space.{name}", whole_support=False)
    kinds = [type(item) for item in form] if isinstance(form, tuple) else []
    if (
        len(kinds) in (2, 3)
        and set(kinds[:2]) <= {int, float}
        and set(kinds[2:]) <= {str, type}
        and set(form[2:]) <= _PRIORS
    ):
        return form  # the core refuses it: it could be meant as a range
    several = isinstance(form, (list, tuple, range)) or (isinstance(form, np.ndarray) and form.ndim > 0)
    if (several and len(form)) or hasattr(form, "get_params") or isinstance(form, type):
        parameter, tables[name] = choice_parameter(list(form) if several else [form])
        return parameter
    return form


def _from_table(name: str, form: Mapping[str, Any], tables: dict[str, Table]) -> Any:
    """A table in which objects (among the choices, as the default, in the conditions) are replaced by their labels."""
    found = dict(form)
    if isinstance(found.get("when"), Mapping):
        found["when"] = {parent: _relabelled(values, tables.get(parent)) for parent, values in found["when"].items()}
    choices = found.get("choices")
    if isinstance(choices, (Mapping, list, tuple)) and choices:
        tables[name] = dict(choices) if isinstance(choices, Mapping) else choice_parameter(choices)[1]
        found["choices"] = list(tables[name])
        if "default" in found:
            found["default"] = label_of(found["default"], tables[name])
    return found


def _relabelled(values: Any, table: Table | None) -> Any:
    if table is None:
        return values
    return (
        [label_of(value, table) for value in values] if isinstance(values, (list, tuple)) else label_of(values, table)
    )
