"""Conversion between hpt's parameters and Optuna's distributions."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import attrs
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from hpt_core import Categorical, Float, Int, Space, UsageError

if TYPE_CHECKING:
    from optuna import Trial

    from hpt_core import Params

__all__ = ["Axis", "axes", "parameter_of", "params_of", "suggest", "suggest_again"]

_SCALARS = (str, int, float, bool, type(None))


@attrs.frozen
class Axis:
    """One parameter with its Optuna distribution.

    Attributes:
        distribution: The Optuna distribution.
        indexed: Whether Optuna gets the index of the value instead of the value, as it has no such distribution
            (ordinals, a logarithmic scale with steps) or does not allow the choices (lists).
        parameter: The hpt parameter.
    """

    distribution: BaseDistribution
    indexed: bool
    parameter: Any

    def encode(self, value: Any) -> Any:
        """Convert a value of the parameter to one of the distribution."""
        return self.parameter.index_of(value) if self.indexed else value

    def decode(self, value: Any) -> Any:
        """Convert a value of the distribution to one of the parameter, snapped exactly to its values."""
        parameter = self.parameter
        if self.indexed:
            return parameter.value_at(int(value))
        if isinstance(self.distribution, CategoricalDistribution):
            return parameter.value_at(int(self.distribution.to_internal_repr(value)))
        if parameter.size is None:
            return min(max(float(value), parameter.low), parameter.high)
        place = round((value - parameter.low) / parameter.step)
        return parameter.value_at(min(max(place, 0), parameter.size - 1))

    def accepts(self, value: Any) -> bool:
        """Whether a value of the distribution is one of the parameter's."""
        try:
            again = self.encode(self.decode(value))
        except (TypeError, ValueError):
            return False
        if isinstance(again, (bool, str)) or again is None or isinstance(value, (bool, str)):
            return bool(again == value)
        return math.isclose(again, value, rel_tol=1e-9, abs_tol=1e-12)


def axes(space: Space) -> dict[str, Axis]:
    """The axes of all parameters of a space with more than one value, parents first as in `suggest`."""
    return {name: _axis(space[name]) for name in space.order if name in space.columns}


def _axis(parameter: Any) -> Axis:
    if isinstance(parameter, Categorical):
        choices = parameter.choices
        if all(isinstance(choice, _SCALARS) for choice in choices):
            return Axis(CategoricalDistribution(tuple(choices)), False, parameter)
        return Axis(CategoricalDistribution(tuple(range(len(choices)))), True, parameter)
    if isinstance(parameter, Float) and parameter.size is None:
        return Axis(FloatDistribution(parameter.low, parameter.high, log=parameter.log), False, parameter)
    if isinstance(parameter, Float) and not parameter.log:
        return Axis(FloatDistribution(parameter.low, parameter.high, step=parameter.step), False, parameter)
    if isinstance(parameter, Int) and not (parameter.log and parameter.step != 1):
        dist = IntDistribution(parameter.low, parameter.high, log=parameter.log, step=parameter.step)
        return Axis(dist, False, parameter)
    return Axis(IntDistribution(0, parameter.size - 1), True, parameter)


def suggest(trial: Trial, space: Space, known: Mapping[str, Axis]) -> Params:
    """Suggest a configuration as a define-by-run objective would: parents first, active parameters only.

    Args:
        trial: The Optuna trial.
        space: The space.
        known: Its `axes`.
    """
    params: Params = {}
    for name in space.order:
        if name not in space.active(params):
            continue
        if name not in known:
            params[name] = space[name].value_at(0)  # its only value
            continue
        axis = known[name]
        params[name] = axis.decode(_ask(trial, name, axis.distribution))
    return {name: params[name] for name in space.names if name in params}


def params_of(given: Mapping[str, Any], space: Space, known: Mapping[str, Axis]) -> Params | None:
    """Convert an Optuna point to a configuration of a space; None if it is outside the space."""
    params: Params = {}
    for name in space.order:
        if name not in space.active(params):
            continue
        if name not in known:
            params[name] = space[name].value_at(0)  # its only value
        elif name in given and known[name].accepts(given[name]):
            params[name] = known[name].decode(given[name])
        else:
            return None
    return params if space.contains(params) else None


def suggest_again(trial: Trial, known: Mapping[str, Axis], names: Iterable[str]) -> None:
    """Suggest some parameters of a trial and discard the values, as some samplers store data only then."""
    for name in names:
        if name in known:
            _ask(trial, name, known[name].distribution)


def _ask(trial: Trial, name: str, distribution: Any) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return trial.suggest_categorical(name, distribution.choices)
    ask: Any = trial.suggest_int if isinstance(distribution, IntDistribution) else trial.suggest_float
    return ask(name, distribution.low, distribution.high, step=distribution.step, log=distribution.log)


def parameter_of(distribution: BaseDistribution, when: Mapping[str, Any] | None = None) -> Any:
    """Convert an Optuna distribution to a parameter.

    Args:
        distribution: A float, int or categorical distribution.
        when: The condition, as for any parameter.

    Raises:
        UsageError: For any other distribution, or choices that are not plain data.
    """
    if isinstance(distribution, CategoricalDistribution):
        if not all(isinstance(choice, _SCALARS) for choice in distribution.choices):
            shown = json.dumps([repr(choice)[:40] for choice in distribution.choices[:5]])
            raise UsageError(f"Choices must be strings, numbers, true, false or null. Got {shown}.")
        return Categorical(*distribution.choices, when=when)
    if isinstance(distribution, (FloatDistribution, IntDistribution)):
        low, high, log, step = distribution.low, distribution.high, distribution.log, distribution.step
        if isinstance(distribution, IntDistribution):
            return Int(int(low), int(high), log=log, step=int(step or 1), when=when)
        return Float(low, high, log=log, step=step, when=when)
    raise UsageError(f"There is no parameter for the distribution {distribution!r:.80}.")
