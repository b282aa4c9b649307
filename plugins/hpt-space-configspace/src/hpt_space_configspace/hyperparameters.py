"""One parameter as a hyperparameter of ConfigSpace, and the way back."""

from __future__ import annotations

from typing import Any

import ConfigSpace
import numpy as np

from hpt_core import Categorical, Constant, Float, HptError, Int, Ordinal, Space, UsageError

__all__ = ["NOTE", "hyperparameter_of", "native", "parameter_of"]

NOTE = "hpt"
"""The key in ``meta`` under which a hyperparameter, or a space, bears what ConfigSpace has no field for."""

_MOST = 1000
_PLACES = 13  # to so many ConfigSpace rounds what is a float


def native(value: Any) -> Any:
    """A value with numpy's scalars turned into Python's."""
    return value.item() if isinstance(value, np.generic) else value


def hyperparameter_of(name: str, parameter: Any) -> Any:
    """A parameter, its conditions left out.

    What ConfigSpace has no field for (a step, that there is no default) is noted in ``meta``, for the way back.

    Raises:
        UsageError: If ConfigSpace has nothing of the kind.
    """
    bare = _unconditional(name, parameter)
    made = _made(name, bare, None)
    if _plain(made) == bare:
        return made
    return _made(name, bare, {NOTE: bare.to_json()})


def parameter_of(hyperparameter: Any) -> Any:
    """A hyperparameter as a parameter without conditions.

    Its note counts if the hyperparameter is still what was made of the noted parameter.

    Raises:
        UsageError: If hpt has nothing of the kind.
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


def _unconditional(name: str, parameter: Any) -> Any:
    table = parameter.to_json()
    table.pop("when", None)
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
    """That ConfigSpace gives back what it was given: numpy makes one type of ints and floats, or of ints and bools."""
    for i, value in enumerate(getattr(made, "choices", getattr(made, "sequence", ()))):
        back = native(made.to_value(np.float64(i)))
        if type(back) is not type(value) or back != value:
            msg = f"ConfigSpace gives {back!r} for {value!r} among the values of {made.name!r}: give all the same type."
            raise UsageError(msg)


def _plain(hyperparameter: Any) -> Any:
    """The parameter that the fields of a hyperparameter stand for."""
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
        msg = f"A space of hpt has bounds and choices, no distributions: make {name!r} uniform, it is a {kind}."
        raise UsageError(msg)
    if hyperparameter.weights is not None and len(set(hyperparameter.weights)) > 1:
        raise UsageError(f"A space of hpt has no weights: make those of {name!r} equal.")
    return Categorical(*map(native, hyperparameter.choices), default=default)
