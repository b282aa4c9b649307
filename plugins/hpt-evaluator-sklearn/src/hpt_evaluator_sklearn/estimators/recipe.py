"""Make the estimator of a configuration, whose steps may be choices."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from hpt_core import Mistake, Params, UsageError
from hpt_evaluator_sklearn.estimators.specifications import (
    PASSIVE,
    did_you_mean,
    named_step,
    resolve_estimator,
    resolve_step,
)

__all__ = ["Recipe", "as_key", "make_recipe", "seed_random_states"]


def seed_random_states(estimator: Any, seed: int) -> None:
    """Set every ``random_state`` that is None, at any depth, to ``seed``.

    Args:
        estimator: Changed in place through ``set_params``.
        seed: From 0 to 2**32 - 1.
    """
    unset = {
        name: seed
        for name, value in estimator.get_params(deep=True).items()
        if value is None and (name == "random_state" or name.endswith("__random_state"))
    }
    if unset:
        estimator.set_params(**unset)


@attrs.frozen(eq=False)
class Recipe:
    """Makes the estimator of a configuration.

    Attributes:
        template: The estimator before a configuration is set. Steps with choices hold their first choice.
        choices: set_params name of a step -> value in the space, as text -> estimator, 'passthrough' or None.
        names: Name in the space -> set_params name, for those that differ.
        none: The text in the space that stands for None, if any: TOML has no null.
    """

    template: Any
    choices: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict)
    names: Mapping[str, str] = attrs.field(factory=dict)
    none: str | None = None

    def target(self, name: str) -> str:
        """The set_params name of a parameter of the space."""
        return self.names.get(name, name)

    def build(self, params: Params, seed: int | None = None) -> Any:
        """Make the estimator of one configuration.

        Args:
            params: The configuration.
            seed: Value for each ``random_state`` that is None. If None, these are left alone.

        Raises:
            UsageError: If two parameters of the space set the same parameter of the estimator.
            ValueError: From scikit-learn, if the estimator does not have a parameter.
        """
        values: dict[str, Any] = {}
        for name, value in params.items():
            target = self.target(name)
            if target in values:
                raise UsageError(Mistake(f"space.{name}", f"Another active parameter sets {target!r} too."))
            given = None if value == self.none else value
            values[target] = self.chosen(target, value) if target in self.choices else given
        estimator = clone(self.template)
        lists = {name: values.pop(name) for name in list(values) if isinstance(values[name], list)}
        estimator.set_params(**values)
        if lists:
            present = estimator.get_params(deep=True)
            fitting = {n: tuple(v) if isinstance(present.get(n), tuple) else v for n, v in lists.items()}
            estimator.set_params(**fitting)
        if seed is not None:
            seed_random_states(estimator, seed)
        return estimator

    def chosen(self, target: str, value: Any) -> Any:
        """A new copy of the step that ``value`` selects for ``target``."""
        table = self.choices[target]
        key = as_key(value)
        if key in table:
            return clone(table[key]) if hasattr(table[key], "get_params") else table[key]
        if value is None or value in PASSIVE:
            return value
        known = f"{did_you_mean(key, table)} They are: {', '.join(table)}."
        raise UsageError(Mistake(f"evaluator.choices.{target}", f"{value!r} is not a choice of {target!r}.{known}"))


def as_key(value: Any) -> str:
    """A value of the space as a key of a choices table: strings as they are, other values as JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def make_recipe(
    estimator: Any,
    pipeline: Sequence[Any] | None,
    choices: Mapping[str, Mapping[str, Any]],
    names: Mapping[str, str],
    none: str | None = None,
) -> Recipe:
    """Make a recipe from an evaluator's options.

    Args:
        estimator: A specification, or None.
        pipeline: Steps as ``[name, specification]``, or just a name whose estimators are in ``choices``; or None.
            If ``estimator`` is None as well, the single table of ``choices`` is the only step.
        choices: Name in the space or of the step -> value -> specification.
        names: Name in the space -> set_params name.
        none: The text in the space that stands for None, if any.

    Raises:
        UsageError: With all mistakes found.
    """
    tables = _choice_tables(choices, names)
    firsts = {target: next(iter(table.values())) for target, table in tables.items() if table}
    if (estimator is None) == (pipeline is None) and (estimator is not None or len(tables) != 1):
        msg = "Give `estimator`, or `pipeline` as a list of steps, or one table of `choices` alone."
        raise UsageError(Mistake("evaluator.estimator", msg))
    if estimator is not None:
        template = resolve_estimator(estimator, "evaluator.estimator")
        return Recipe(template, tables, dict(names), none)
    template = Pipeline(_named_steps(list(tables) if pipeline is None else pipeline, firsts))
    return Recipe(template, tables, dict(names), none)


def _choice_tables(choices: Mapping[str, Mapping[str, Any]], names: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    tables: dict[str, dict[str, Any]] = {}
    mistakes: list[Mistake] = []
    for name, table in choices.items():
        made = tables.setdefault(names.get(name, name), {})
        for value, spec in table.items():
            try:
                made[value] = resolve_step(spec, f"evaluator.choices.{name}.{value}")
            except UsageError as err:
                mistakes += err.mistakes
    if mistakes:
        raise UsageError(*mistakes)
    return tables


def _named_steps(steps: Sequence[Any], firsts: Mapping[str, Any]) -> list[tuple[str, Any]]:
    made: list[tuple[str, Any]] = []
    mistakes: list[Mistake] = []
    for i, step in enumerate(steps):
        path = f"evaluator.pipeline[{i}]"
        try:
            if not isinstance(step, str):
                made.append(named_step(step, path))
            elif step in firsts:
                made.append((step, firsts[step]))
            else:
                msg = f'Has no estimator: write it as ["{step}", estimator], or give `choices.{step}`.'
                mistakes.append(Mistake(path, msg))
        except UsageError as err:
            mistakes += err.mistakes
    if mistakes:
        raise UsageError(*mistakes)
    return made
