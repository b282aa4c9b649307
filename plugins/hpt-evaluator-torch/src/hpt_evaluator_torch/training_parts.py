"""The exchangeable parts of a training loop by name: optimisers, learning-rate schedulers, losses."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sized
from typing import Any

import attrs

from hpt_core import EvaluationError, Mistake, UsageError
from hpt_evaluator_torch.arguments import Signature, resolve_callable, signature_of

__all__ = ["LOSSES", "OPTIMIZERS", "SCHEDULERS", "Part", "find_part", "make_scheduler"]

OPTIMIZERS = {
    "adadelta": "torch.optim:Adadelta",
    "adagrad": "torch.optim:Adagrad",
    "adam": "torch.optim:Adam",
    "adamax": "torch.optim:Adamax",
    "adamw": "torch.optim:AdamW",
    "nadam": "torch.optim:NAdam",
    "radam": "torch.optim:RAdam",
    "rmsprop": "torch.optim:RMSprop",
    "sgd": "torch.optim:SGD",
}
SCHEDULERS = {
    "cosine": "torch.optim.lr_scheduler:CosineAnnealingLR",
    "exponential": "torch.optim.lr_scheduler:ExponentialLR",
    "linear": "torch.optim.lr_scheduler:LinearLR",
    "onecycle": "torch.optim.lr_scheduler:OneCycleLR",
    "plateau": "torch.optim.lr_scheduler:ReduceLROnPlateau",
    "step": "torch.optim.lr_scheduler:StepLR",
}
LOSSES = {
    "bce": "torch.nn:BCEWithLogitsLoss",
    "cross_entropy": "torch.nn:CrossEntropyLoss",
    "huber": "torch.nn:HuberLoss",
    "l1": "torch.nn:L1Loss",
    "mse": "torch.nn:MSELoss",
    "nll": "torch.nn:NLLLoss",
}
_KNOWN = {"optimizer": OPTIMIZERS, "scheduler": SCHEDULERS, "loss": LOSSES}
_BY_POSITION = {"optimizer": 1, "scheduler": 1, "loss": 2}  # parameters; optimizer; outputs and targets
_TOTAL = "total_steps"  # a scheduler with this argument steps once per batch


@attrs.frozen
class Part:
    """An optimiser, scheduler, loss or model function, and its arguments.

    Attributes:
        make: The class or function.
        arguments: What the option gives it.
        signature: What it can be given by name.
    """

    make: Any
    arguments: Mapping[str, Any]
    signature: Signature

    @property
    def name(self) -> str:
        """What to call it in messages."""
        return str(getattr(self.make, "__name__", type(self.make).__name__))

    def given(self, arguments: Mapping[str, Any]) -> Part:
        """The same part with further arguments, which take precedence."""
        return attrs.evolve(self, arguments={**self.arguments, **arguments})

    def unknown(self) -> list[str]:
        """Arguments that it does not take."""
        return [name for name in self.arguments if not self.signature.accepts(name)]


def find_part(kind: str, spec: Any, path: str) -> Part | None:
    """Find the part that an option or a value of the space names.

    Args:
        kind: ``optimizer``, ``scheduler`` or ``loss``.
        spec: A short name, an import path, a table with ``use``, a class or a function; ``None`` or ``"none"``: none.
        path: Key path, for messages.

    Raises:
        UsageError: If there is no such part.
    """
    if spec is None or spec == "none":
        return None
    make, arguments = resolve_callable(spec, path, _KNOWN[kind])
    if kind == "optimizer" and signature_of(make).names[:1] == ("model",):
        msg = "It is called as f(params, ...): make `params` the first parameter, before `model`."
        raise UsageError(Mistake(path, msg))
    if kind == "loss" and inspect.isclass(make):
        return Part(make, arguments, signature_of(make))
    called = getattr(make, "forward", make) if kind == "loss" else make  # modules are called as f(*args, **kwargs)
    return Part(make, arguments, signature_of(called, _BY_POSITION[kind]))


def make_scheduler(part: Part, optimizer: Any, *, epochs: int, batches: Sized) -> tuple[Any, bool]:
    """Make a learning-rate scheduler; required lengths that were not given are those of the training.

    Args:
        part: Which one.
        optimizer: Whose learning rate it sets.
        epochs: How many epochs the training has.
        batches: Those of an epoch; asked for their number only where it is needed.

    Returns:
        The scheduler, and whether it steps once per batch (else per epoch).

    Raises:
        EvaluationError: If it needs the number of batches, and that is unknown.
    """
    defaults = {
        "T_max": epochs,
        "step_size": max(1, epochs // 3),
        "max_lr": optimizer.param_groups[0]["lr"],
        "total_iters": epochs,
    }
    of_torch = str(getattr(part.make, "__module__", "")).startswith("torch.")
    fillable = part.signature.names if of_torch else part.signature.required  # a user's function keeps its defaults
    taken = {name: value for name, value in defaults.items() if name in fillable}
    if of_torch and part.name == "ConstantLR":  # its factor ends after `total_iters`
        del taken["total_iters"]
    if _TOTAL in part.signature.names and not {_TOTAL, "steps_per_epoch"} & part.arguments.keys():
        taken[_TOTAL] = epochs * _count(batches, part)
    per_batch = part.name == "CyclicLR" or _TOTAL in part.signature.names
    return part.make(optimizer, **{**taken, **part.arguments}), per_batch


def _count(batches: Sized, part: Part) -> int:
    try:
        return len(batches)
    except TypeError:
        msg = f"{part.name} needs to know how many steps there will be, and the training data has no length. "
        raise EvaluationError(f"{msg}Give `{_TOTAL}`, or the dataset a method __len__.") from None
