"""Conversion between hpt's parameters and ConfigSpace's hyperparameters."""

from __future__ import annotations

from typing import Any

import ConfigSpace
import numpy as np

from hpt_core import Categorical, Constant, Float, HptError, Int, Ordinal, Space, UsageError

__all__ = ["NOTE", "hyperparameter_of", "native", "parameter_of"]

NOTE = "hpt"
"""The key in ``meta`` of a hyperparameter or a space for everything that ConfigSpace has no field for."""

_MOST = 1000  # longer ranges with steps are not converted to ordinals
_PLACES = 13  # decimal places that ConfigSpace rounds floats to


def native(value: Any) -> Any:
    """A value, converted from a numpy scalar to a Python one if necessary."""
    return value.item() if isinstance(value, np.generic) else value


def hyperparameter_of(name: str, parameter: Any) -> Any:
    """Convert a parameter, without its conditions and requirement, to a hyperparameter.

    Properties that ConfigSpace has no field for (a step, a missing default) are recorded in ``meta``, so that
    `parameter_of` restores them.

    Raises:
        UsageError: If ConfigSpace has no equivalent.
    """
    bare = _alone(name, parameter)
    made = _made(name, bare, None)
    if _plain(made) == bare:
        return made
    return _made(name, bare, {NOTE: bare.to_json()})


def parameter_of(hyperparameter: Any) -> Any:
    """Convert a hyperparameter to a parameter without conditions and requirement.

    The parameter recorded in ``meta`` is used only if it still converts to this hyperparameter.

    Raises:
        UsageError: If hpt has no equivalent.
    """
    name, noted = hyperparameter.name, (hyperparameter.meta or {}).get(NOTE)
    if noted is not None:
        try:
            parameter = Space({name: noted})[name]
            if hyperparameter_of(name, parameter) == hyperparameter:
                return parameter
        except (HptError, TypeError):
            pass
    return _plain(hyperparameter)


def _alone(name: str, parameter: Any) -> Any:
    table = {key: value for key, value in parameter.to_json().items() if key not in ("when", "requires")}
    return Space({name: table})[name]


def _made(name: str, parameter: Any, meta: dict[str, Any] | None) -> Any:
    try:
        made = _build(name, parameter, meta)
    except (TypeError, ValueError, OverflowError) as err:
        raise UsageError(f"ConfigSpace cannot hold the parameter {name!r}, {parameter!r:.80}: {err}") from err
    _check_values(made)
    return made


def _build(name: str, parameter: Any, meta: dict[str, Any] | None) -> Any:
    if parameter.has_lists:
        raise ValueError("it takes a list for several values.")
    if isinstance(parameter, Constant):
        return ConfigSpace.Constant(name, parameter.value, meta=meta)
    start = parameter.start()
    if isinstance(parameter, Categorical):
        return ConfigSpace.CategoricalHyperparameter(name, parameter.choices, start, meta=meta)
    if isinstance(parameter, Float) and parameter.size is None:
        if any(np.round(bound, _PLACES) != bound for bound in (parameter.low, parameter.high)):
            raise ValueError(f"it rounds bounds to {_PLACES} decimal places.")
        return ConfigSpace.UniformFloatHyperparameter(name, parameter.low, parameter.high, start, parameter.log, meta)
    if isinstance(parameter, Int) and parameter.step == 1 and parameter.low < parameter.high:
        return ConfigSpace.UniformIntegerHyperparameter(name, parameter.low, parameter.high, start, parameter.log, meta)
    if parameter.size > _MOST:
        raise ValueError(f"it has no steps, and {parameter.size} values are more than the {_MOST} that can be listed.")
    values = [parameter.value_at(i) for i in range(parameter.size)]
    return ConfigSpace.OrdinalHyperparameter(name, values, start, meta=meta)


def _check_values(made: Any) -> None:
    """Check that ConfigSpace returns the values it was given: numpy merges ints and floats, or ints and bools."""
    for i, value in enumerate(getattr(made, "choices", getattr(made, "sequence", ()))):
        back = native(made.to_value(np.float64(i)))
        if type(back) is not type(value) or back != value:
            msg = f"ConfigSpace returns {back!r} for {value!r} among the values of {made.name!r}: use a single type."
            raise UsageError(msg)


def _plain(hyperparameter: Any) -> Any:
    """The parameter that corresponds to the fields of a hyperparameter."""
    name, default = hyperparameter.name, native(hyperparameter.default_value)
    if isinstance(hyperparameter, ConfigSpace.Constant):
        return Constant(native(hyperparameter.value))
    if isinstance(hyperparameter, ConfigSpace.OrdinalHyperparameter):
        return Ordinal(*map(native, hyperparameter.sequence), default=default)
    if isinstance(hyperparameter, ConfigSpace.UniformFloatHyperparameter):
        return Float(hyperparameter.lower, hyperparameter.upper, log=hyperparameter.log, default=default)
    if isinstance(hyperparameter, ConfigSpace.UniformIntegerHyperparameter):
        low, high = int(hyperparameter.lower), int(hyperparameter.upper)
        return Int(low, high, log=hyperparameter.log, default=default)
    if not isinstance(hyperparameter, ConfigSpace.CategoricalHyperparameter):
        kind = type(hyperparameter).__name__
        msg = f"An hpt space has bounds and choices, but no distributions: {name!r} must be uniform. Got a {kind}."
        raise UsageError(msg)
    if hyperparameter.weights is not None and len(set(hyperparameter.weights)) > 1:
        raise UsageError(f"An hpt space has no weights: those of {name!r} must be equal.")
    return Categorical(*map(native, hyperparameter.choices), default=default)
