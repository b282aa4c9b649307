"""Finds the user's mistakes before the first trial, and reports all at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib.util import find_spec
from itertools import islice, product
from typing import TYPE_CHECKING, Any

import attrs

from hpt_core import Mistake, Params, Space, UsageError
from hpt_evaluator_torch.arguments import resolve_callable
from hpt_evaluator_torch.frameworks import brings_data, may_be_in_use
from hpt_evaluator_torch.names import name_mistakes
from hpt_evaluator_torch.recipe import bind, make_recipe, model_part
from hpt_evaluator_torch.settings import PARTS, SETTINGS

if TYPE_CHECKING:
    from hpt_evaluator_torch.evaluator import TorchEvaluator

__all__ = ["find_mistakes", "option_mistakes"]

_NO_DATA = (
    "A model needs data to train on: a function, its import path, or the data. "
    "Only the class of a Lightning module with its own `train_dataloader` needs none."
)
_MOST_CONFIGURATIONS = 1000


def option_mistakes(evaluator: TorchEvaluator) -> list[Mistake]:
    """List options that do not fit together."""
    if (evaluator.model is None) == (evaluator.train is None):
        return [Mistake("model", "Give either `model`, which hpt trains, or `train`, which trains by itself.")]
    by_name = isinstance(evaluator.model, (str, Mapping))  # is not imported before the check
    if evaluator.train is None and evaluator.data is None and not by_name and not brings_data(evaluator.model):
        return [Mistake("data", _NO_DATA)]
    if evaluator.train is not None and evaluator.keep != "none":
        return [Mistake("keep", "A `train` function keeps its weights itself; leave this out.")]
    return []


def find_mistakes(evaluator: TorchEvaluator, space: Space, objectives: Mapping[str, str]) -> list[Mistake]:
    """List what is wrong with an evaluator for a study.

    Args:
        evaluator: Its options; the data is loaded only if the model function asks for an entry of it.
        space: The space of the study.
        objectives: Name -> direction.
    """
    if find_spec("torch") is None:
        return [Mistake("evaluator.use", "PyTorch is not installed: pip install 'hpt-evaluator-torch[torch]'.")]
    from hpt_evaluator_torch.device import device_mistake

    mistakes: list[Mistake] = []

    def attempt(make: Callable[[], Any]) -> Any:
        try:
            return make()
        except UsageError as err:
            mistakes.extend(m for m in err.mistakes if m not in mistakes)
            return None

    problem = device_mistake(evaluator.device)
    mistakes += [Mistake("evaluator.device", problem)] if problem else []
    if evaluator.train is not None:
        attempt(lambda: _check_train(evaluator, space))
        return mistakes
    functions = attempt(lambda: evaluator.functions)
    model = attempt(lambda: model_part(evaluator.model))
    if evaluator.data is None and model is not None and not brings_data(model.make):
        mistakes.append(Mistake("evaluator.data", _NO_DATA))
    if functions is not None and not may_be_in_use():
        mistakes += name_mistakes(objectives, functions, validated=None)
    _check_data_path(evaluator, attempt)
    mistakes += _setting_mistakes(evaluator, space)
    if not mistakes:
        for params in islice(_configurations(space), _MOST_CONFIGURATIONS):
            attempt(partial(make_recipe, evaluator, params, lambda: evaluator.loaded.extras))
    return mistakes


def _check_data_path(evaluator: TorchEvaluator, attempt: Callable[[Callable[[], Any]], Any]) -> None:
    source = evaluator.data
    if isinstance(source, str) or (isinstance(source, Mapping) and "use" in source):
        attempt(lambda: resolve_callable(source, "evaluator.data"))


def _check_train(evaluator: TorchEvaluator, space: Space) -> None:
    function, fixed = resolve_callable(evaluator.train, "evaluator.train")
    bind(function, {**fixed, **evaluator.offered()}, dict.fromkeys(space.names), "evaluator.train")


def _setting_mistakes(evaluator: TorchEvaluator, space: Space) -> list[Mistake]:
    """Values of the space that a setting of the training cannot have."""
    mistakes = []
    for name in space.names:
        if name not in SETTINGS or name in PARTS:
            continue
        values = _ends(space, name)
        try:
            for value in values:
                attrs.evolve(evaluator, **{name: value})
        except UsageError as err:
            mistakes.append(Mistake(f"space.{name}", str(err)))
            continue
        if name == "epochs":
            mistakes += _length_mistakes(max(values), evaluator.epochs, always=not space[name].when)
    return mistakes


def _length_mistakes(longest: int, option: int, *, always: bool) -> list[Mistake]:
    """What is wrong with the longest trial; if ``epochs`` is not ``always`` set, some are as long as the option."""
    if longest == option or (longest < option and not always):
        return []
    msg = f"Goes up to {longest}; the `epochs` option says how long a trial can be: {option}. "
    return [Mistake("space.epochs", f"{msg}Make them equal, since stopping rules go by the option.")]


def _ends(space: Space, name: str) -> list[Any]:
    """The values of a parameter, or the first and the last of many."""
    parameter = space[name]
    if parameter.size is None:
        return [parameter.from_unit(0.0), parameter.from_unit(1.0)]
    places = range(parameter.size) if parameter.size <= _MOST_CONFIGURATIONS else (0, parameter.size - 1)
    return [parameter.value_at(i) for i in places]


def _configurations(space: Space) -> Iterator[Params]:
    """A configuration for each allowed combination of values of the parameters that conditions or parts depend on."""
    middle = {name: _middle(space, name) for name in space.names}
    parents = [parent for name in space.names for parent in space[name].when]
    branching = list(dict.fromkeys([*parents, *(name for name in PARTS if name in space.names)]))
    options = [_ends(space, name) for name in branching]
    for values in product(*options):
        whole = middle | dict(zip(branching, values, strict=True))
        params = {name: whole[name] for name in space.active(whole)}
        if space.allows(params):
            yield params


def _middle(space: Space, name: str) -> Any:
    parameter = space[name]
    return parameter.value_at(parameter.size // 2) if parameter.size else parameter.from_unit(0.5)
