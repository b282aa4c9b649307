"""How a configuration becomes a training: which parameter of the space goes where.

A parameter goes to the part that has an argument of this name: a setting of the loop, else the optimiser, the
scheduler or the loss. The model function receives each parameter that it names as an argument. ``optimizer__eps`` (also
``scheduler__``, ``loss__`` and ``model__``) names the part explicitly.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from hpt_core import Mistake, Params, UsageError
from hpt_evaluator_torch.arguments import near, resolve_callable, signature_of
from hpt_evaluator_torch.frameworks import copies_of, net_mistakes, net_of
from hpt_evaluator_torch.settings import PARTS, SETTINGS, Settings
from hpt_evaluator_torch.training_parts import Part, find_part

if TYPE_CHECKING:
    from hpt_evaluator_torch.evaluator import TorchEvaluator

__all__ = ["Recipe", "bind", "make_recipe", "model_part"]

_FILLED = {
    "optimizer": frozenset({"model"}),
    "scheduler": frozenset({"T_max", "max_lr", "step_size", "total_iters", "total_steps"}),
}
"""Arguments of parts that the training knows best."""

_OF_TRAINING = ("amp", "clip_norm", "drop_last", "loss", "metrics", "optimizer", "scheduler")
_UNSET: tuple[Any, ...] = (False, "adam", "none", None, [], {})
"""The values of these options that ask for nothing."""

_MODEL_NEEDS = (
    "{} needs {!r}, which is neither a parameter of the space nor an entry of the data. "
    "To be given all parameters as a dict, let it have a parameter `params`."
)
_PART_NEEDS = "{} needs the argument {!r}: give it here or in the space."


@attrs.frozen
class Recipe:
    """What one configuration trains.

    Attributes:
        params: The configuration.
        settings: Those of this configuration.
        parts: Optimiser, scheduler and loss by kind, with their arguments; None for none.
        make_model: Makes the model; called without arguments.
        for_training: Names of the parameters that only a setting or a part received, and not the model function.
        options: Names of the options that say how the training is done, and are set.
    """

    params: Params
    settings: Settings
    parts: Mapping[str, Part | None]
    make_model: Callable[[], Any]
    for_training: list[str]
    options: list[str]


def make_recipe(evaluator: TorchEvaluator, params: Params, extras: Callable[[], Mapping[str, Any]]) -> Recipe:
    """Say where each parameter goes.

    Args:
        evaluator: The options.
        params: The configuration.
        extras: Gives the further entries of the data, which the model function may ask for; called if it does.

    Raises:
        UsageError: With all mistakes: parameters that nothing takes, arguments that are missing or unknown.
    """
    chosen = {name: params[name] for name in SETTINGS if name in params}
    net, mistakes = net_of(evaluator.model), list[Mistake]()
    parts: dict[str, Part | None] = {}
    if net is None:
        parts = {kind: _part(kind, evaluator, chosen, mistakes) for kind in PARTS}
    else:  # a net has its own parts
        mistakes += net_mistakes(net, params)
    if mistakes:
        raise UsageError(*mistakes)
    places = {name: _place(name, parts) for name in params if name not in SETTINGS}
    arguments: dict[str, dict[str, Any]] = {kind: {} for kind in (*parts, "model", "")}
    for name, (kind, argument) in places.items():
        arguments[kind][argument] = params[name]
        if kind in parts and parts[kind] is None:
            mistakes.append(Mistake(f"space.{name}", f"The training has no {kind} here."))
    built = {kind: part and part.given(arguments[kind]) for kind, part in parts.items()}
    model, taken = _filled(model_part(evaluator.model), params, arguments["model"], arguments[""], extras)
    mistakes += _argument_mistakes("model", model, params)
    left = [name for name in arguments[""] if name not in taken]
    mistakes += [Mistake(f"space.{name}", _unknown_parameter(name, (*parts.values(), model))) for name in left]
    for kind, part in built.items():
        mistakes += _argument_mistakes(kind, part, params)
    if mistakes:
        raise UsageError(*mistakes)
    received = [*chosen, *(name for name, (kind, _) in places.items() if kind in parts)]
    return Recipe(
        params=params,
        settings=Settings.of(evaluator, chosen),
        parts=built,
        make_model=lambda: model.make(**model.arguments),
        for_training=[name for name in received if name not in taken],
        options=[name for name in _OF_TRAINING if getattr(evaluator, name) not in _UNSET],
    )


def _place(name: str, parts: Mapping[str, Part | None]) -> tuple[str, str]:
    """The part (or, for ``model__x``, the model) that takes a parameter, and its argument; ``""`` if none takes it."""
    owner, separator, argument = name.partition("__")
    if separator and owner in {*parts, "model"}:
        return owner, argument
    takers = (kind for kind, part in parts.items() if part is not None and name in part.signature.names)
    return next(takers, ""), name


def _part(kind: str, evaluator: TorchEvaluator, chosen: Params, mistakes: list[Mistake]) -> Part | None:
    option = getattr(evaluator, kind)
    spec, path = (chosen[kind], f"space.{kind}") if kind in chosen else (option, f"evaluator.{kind}")
    if isinstance(option, Mapping) and isinstance(spec, (str, type(None))) and spec not in {"none", None}:
        spec = {**option, "use": spec}  # the option's arguments hold for whatever the space chooses
    try:
        return find_part(kind, spec, path)
    except UsageError as err:
        mistakes += err.mistakes
        return None


def model_part(spec: Any) -> Part:
    """What makes models, and the arguments that the option gives it.

    Raises:
        UsageError: If the option names nothing that can be called, or a model.
    """
    net = net_of(spec)
    function, arguments = resolve_callable(spec, "evaluator.model") if net is None else (copies_of(net), {})
    if hasattr(function, "state_dict") and not isinstance(function, type):  # calling a module would run it
        name = type(function).__name__
        msg = f"Must be a function or class that makes a new model for each trial. Got a model, a {name}."
        raise UsageError(Mistake("evaluator.model", msg))
    return Part(function, arguments, signature_of(function))


def _filled(
    model: Part, params: Params, explicit: Params, left: Params, extras: Callable[[], Mapping[str, Any]]
) -> tuple[Part, Collection[str]]:
    """The model function with all of its arguments, and the names of the parameters that it receives."""
    names, required = model.signature.names, model.signature.required
    named = {name: value for name, value in params.items() if name in names}
    given = {**(left if model.signature.takes_any else {}), **model.arguments, **named, **explicit}
    taken: Collection[str] = set(given)
    if "params" in names and "params" not in given:
        given["params"], taken = dict(params), params.keys()
    if required - given.keys():
        given = {**{name: value for name, value in extras().items() if name in names}, **given}
    return model.given(given), taken


def bind(function: Callable[..., Any], offered: Mapping[str, Any], params: Params, path: str) -> dict[str, Any]:
    """The arguments of a user's function: those of ``offered`` and of the parameters that it names.

    Raises:
        UsageError: If it requires anything else.
    """
    signature = signature_of(function)
    given = {name: value for name, value in {**params, **offered}.items() if name in signature.names}
    missing = sorted(signature.required - given.keys())
    if missing:
        names = ", ".join(offered)
        called = getattr(function, "__name__", function)
        msg = f"{called} requires {missing[0]!r}, which is neither of {names} nor a parameter of the space."
        raise UsageError(Mistake(path, msg))
    return given


def _unknown_parameter(name: str, parts: Iterable[Part | None]) -> str:
    """The message for a parameter that no part of the training has, listing those that exist."""
    takers: dict[str, tuple[str, ...]] = {"The training": SETTINGS}
    takers |= {part.name: part.signature.names for part in parts if part is not None}
    hint = near(name, [known for names in takers.values() for known in names])
    known_names = "; ".join(f"{taker} has {', '.join(names) or 'none'}" for taker, names in takers.items())
    return f"No part of the training has this parameter.{hint} {known_names}."


def _argument_mistakes(kind: str, part: Part | None, params: Params) -> list[Mistake]:
    if part is None:
        return []
    mistakes = []
    noun, needs = ("parameter", _MODEL_NEEDS) if kind == "model" else ("argument", _PART_NEEDS)
    for name in part.unknown():
        path = f"space.{kind}__{name}" if f"{kind}__{name}" in params else f"evaluator.{kind}.{name}"
        msg = f"{part.name} has no {noun} {name!r}.{near(name, part.signature.names)}"
        mistakes.append(Mistake(path, msg))
    filled = _FILLED.get(kind, frozenset())
    mistakes += [
        Mistake(f"evaluator.{kind}", needs.format(part.name, name))
        for name in sorted(part.signature.required - part.arguments.keys() - filled)
    ]
    return mistakes
