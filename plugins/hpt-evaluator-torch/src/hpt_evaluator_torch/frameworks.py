"""Models that train themselves: Lightning modules and skorch nets, recognised without importing either."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Literal

from hpt_core import EvaluationError
from hpt_evaluator_torch.settings import SETTINGS

if TYPE_CHECKING:
    from hpt_core import Params
    from hpt_evaluator_torch.recipe import Recipe

__all__ = ["aliases", "kind_of", "may_be_in_use", "not_for_the_model", "refuse", "refuse_options"]

_PACKAGES = {"lightning": "lightning", "pytorch_lightning": "lightning", "skorch": "skorch"}
_IDLE_OPTIONS = ("amp", "keep", "loss", "metrics", "scheduler")
_UNSET: tuple[Any, ...] = (False, "none", None, [], {})
_CLASSES = {"LightningModule": "lightning", "NeuralNet": "skorch"}


def kind_of(model: Any) -> Literal["module", "lightning", "skorch"]:
    """What a model is.

    Raises:
        EvaluationError: If it is none.
    """
    for base in type(model).__mro__:
        kind = _PACKAGES.get(base.__module__.partition(".")[0])
        if kind is not None and _CLASSES.get(base.__name__) == kind:
            return kind  # type: ignore[return-value]  # a value of the table above
    import torch

    if not isinstance(model, torch.nn.Module):
        msg = (
            f"The model function must return a torch.nn.Module, a Lightning module or a skorch net. Got {model!r:.80}."
        )
        raise EvaluationError(msg)
    return "module"


def may_be_in_use() -> bool:
    """Whether a model function could give one: then metrics may have any name."""
    return any(package in sys.modules for package in _PACKAGES)


def not_for_the_model(recipe: Recipe, params: Params, served: Collection[str]) -> dict[str, Any]:
    """Parameters that were meant for the training, which this kind of model does itself.

    Args:
        recipe: Where each parameter went.
        params: The configuration.
        served: Settings that are heeded all the same.
    """
    left = [name for name in params if name in recipe.for_training or (name in SETTINGS and name not in served)]
    return {name: params[name] for name in left}


def refuse(left: Mapping[str, Any], what: str) -> None:
    """Raise an error where a parameter would do nothing.

    Raises:
        EvaluationError: Naming the first one.
    """
    if left:
        name = next(iter(left))
        msg = f"A {what} configures its own training: the parameter {name!r} must be one of the model function's."
        raise EvaluationError(msg)


def refuse_options(evaluator: object, what: str) -> None:
    """Raise an error where an option would do nothing.

    Raises:
        EvaluationError: Naming the first one.
    """
    idle = [name for name in _IDLE_OPTIONS if getattr(evaluator, name) not in _UNSET]
    if idle:
        raise EvaluationError(f"A {what} configures its own training: leave out the option `{idle[0]}`.")


def aliases(found: Mapping[str, float]) -> dict[str, float]:
    """The metrics, and those of the validation set by their plain names too."""
    plain = {name.partition("_")[2]: value for name, value in found.items() if name.startswith(("val_", "valid_"))}
    if "acc" in plain:
        plain.setdefault("accuracy", plain.pop("acc"))
    return {**plain, **found}
