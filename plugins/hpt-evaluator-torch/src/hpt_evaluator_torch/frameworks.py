"""Models that train themselves: Lightning modules and skorch nets, recognised without importing either."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from hpt_core import EvaluationError, Mistake, import_object
from hpt_evaluator_torch.arguments import near
from hpt_evaluator_torch.settings import SETTINGS

if TYPE_CHECKING:
    from hpt_core import Params

__all__ = [
    "aliases",
    "brings_data",
    "copies_of",
    "kind_of",
    "may_be_in_use",
    "net_mistakes",
    "net_of",
    "package_of",
    "refuse",
    "split_made",
]

_PACKAGES = {"lightning": "lightning", "pytorch_lightning": "lightning", "skorch": "skorch"}
_CLASSES = {"LightningModule": "lightning", "NeuralNet": "skorch"}


def kind_of(model: Any) -> Literal["module", "lightning", "skorch"]:
    """The kind of a model.

    Raises:
        EvaluationError: If it is none.
    """
    base = _base_of(type(model))
    if base is not None:
        return _PACKAGES[base.__module__.partition(".")[0]]  # type: ignore[return-value]  # a value of the table above
    import torch

    if not isinstance(model, torch.nn.Module):
        msg = (
            f"The model function must return a torch.nn.Module, a Lightning module or a skorch net. Got {model!r:.80}."
        )
        raise EvaluationError(msg)
    return "module"


def _base_of(made: type) -> type | None:
    """The class of Lightning or skorch that a class of models comes from."""
    for base in made.__mro__:
        kind = _PACKAGES.get(base.__module__.partition(".")[0])
        if kind is not None and _CLASSES.get(base.__name__) == kind:
            return base
    return None


def split_made(made: Any) -> tuple[Any, Any]:
    """What a model function made: the model, and the ``Trainer`` that a Lightning module may come with, or None."""
    if isinstance(made, tuple) and len(made) == 2 and hasattr(made[1], "fit_loop") and _base_of(type(made[0])):
        return made
    return made, None


def package_of(module: Any) -> str:
    """The package whose ``Trainer`` fits a Lightning module."""
    base = _base_of(type(module))
    return "pytorch_lightning" if base is None or base.__module__.startswith("pytorch_") else "lightning.pytorch"


def brings_data(model: Any) -> bool:
    """Whether this is a class of Lightning modules that have a ``train_dataloader`` of their own."""
    base = _base_of(model) if isinstance(model, type) else None
    return base is not None and getattr(model, "train_dataloader", None) is not getattr(base, "train_dataloader", None)


def net_of(spec: Any) -> Any | None:
    """The skorch net that the `model` option is or names; None if it is a function or class.

    Raises:
        UsageError: If it names nothing that can be imported.
    """
    found = import_object(spec, "evaluator.model") if isinstance(spec, str) and ":" in spec else spec
    return found if _base_of(type(found)) is not None and hasattr(found, "set_params") else None


def copies_of(net: Any) -> Callable[..., Any]:
    """A function that makes copies of a skorch net, with parameters set."""
    clone = import_object("sklearn.base:clone")
    return lambda **params: clone(net).set_params(**params)


def net_mistakes(net: Any, params: Params) -> list[Mistake]:
    """Parameters that a net does not have; it reports unknown ones after ``module__`` and the like itself."""
    known = [name for name in net.get_params(deep=False) if not name.startswith("_")]
    mistakes = []
    for name in params:
        if name == "max_epochs":
            mistakes.append(Mistake("space.max_epochs", "Is called `epochs` here."))
        elif name not in SETTINGS and name not in known and "__" not in name:
            msg = f"The net has no parameter {name!r}.{near(name, known)} It has {', '.join(sorted(known))}."
            mistakes.append(Mistake(f"space.{name}", msg))
    return mistakes


def may_be_in_use() -> bool:
    """Whether a model function may return such a model, whose metrics may have any name."""
    return any(package in sys.modules for package in _PACKAGES)


def refuse(what: str, *, params: Iterable[str], options: Iterable[str]) -> None:
    """Raise an error if a parameter or an option would have no effect.

    Args:
        what: The kind of model.
        params: Names of the parameters that nothing heeds.
        options: Names of the options that nothing heeds.

    Raises:
        EvaluationError: Naming the first one.
    """
    msg = f"A {what} configures its own training: "
    for name in options:
        raise EvaluationError(f"{msg}leave out the option `{name}`.")
    for name in params:
        raise EvaluationError(f"{msg}the parameter {name!r} must be one of the model function's.")


def aliases(found: Mapping[str, float]) -> dict[str, float]:
    """The metrics, and those of the validation set by their plain names too."""
    plain = {name.partition("_")[2]: value for name, value in found.items() if name.startswith(("val_", "valid_"))}
    if "acc" in plain:
        plain.setdefault("accuracy", plain.pop("acc"))
    return {**plain, **found}
