"""The loss of a training: made from what the options say, and averaged over batches as torch averages it over rows."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs
import torch
from torch.nn import BCEWithLogitsLoss, CrossEntropyLoss, HuberLoss, L1Loss, MSELoss, NLLLoss, SmoothL1Loss

from hpt_core import EvaluationError
from hpt_evaluator_torch.data import rows_of

if TYPE_CHECKING:
    from hpt_evaluator_torch.training_parts import Part

__all__ = ["Loss", "default_loss", "make_loss"]

_ELEMENTWISE = {BCEWithLogitsLoss, HuberLoss, L1Loss, MSELoss, SmoothL1Loss}
_OF_CLASSES = {CrossEntropyLoss, NLLLoss}
_TENSORS = {"weight", "pos_weight"}  # arguments of torch's losses, which a study file can only give as lists


@attrs.frozen(eq=False)
class Loss:
    """A function of outputs and targets, whose value for a batch is a mean, or a sum if it is asked for one.

    Attributes:
        function: The function.
        arguments: Its further arguments.
    """

    function: Any
    arguments: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def sums(self) -> bool:
        """Whether the value for a batch is a sum over its rows."""
        return isinstance(self.function, torch.nn.Module) and getattr(self.function, "reduction", "mean") == "sum"

    def __call__(self, outputs: Any, targets: Any) -> Any:
        """Compute the loss of a batch.

        Raises:
            EvaluationError: If an elementwise loss would broadcast: (n, 1) against (n,) would train on all n * n pairs.
                Or if the result is not a tensor of one number.
        """
        if type(self.function) in _ELEMENTWISE:
            if outputs.shape != targets.shape:
                given = f"outputs of shape {list(outputs.shape)} for targets of shape {list(targets.shape)}"
                raise EvaluationError(f"The model gives {given}.")
            if not targets.is_floating_point():  # as these losses need, and the labels of two classes are often not
                targets = targets.to(outputs.dtype)
        value = self.function(outputs, targets, **self.arguments)
        if not isinstance(value, torch.Tensor) or value.ndim:
            given = f"one of shape {list(value.shape)}" if isinstance(value, torch.Tensor) else f"{value!r:.80}"
            raise EvaluationError(f"The loss of a batch must be one number, a tensor without dimensions. Got {given}.")
        return value

    def counted(self, targets: Any) -> Any | None:
        """Which targets are not ignored: a mask, or None if the loss ignores none."""
        if type(self.function) not in _OF_CLASSES or targets.is_floating_point():  # floats are probabilities
            return None
        return targets != self.function.ignore_index

    def classes(self, targets: Any) -> Any:
        """The targets that predicted classes are compared with: of class probabilities, the most probable classes."""
        probabilities = type(self.function) is CrossEntropyLoss and targets.is_floating_point()
        return targets.argmax(1) if probabilities else targets

    def size(self, targets: Any) -> Any:
        """The size of a batch: what the mean over it is divided by, an int or a tensor.

        Losses of classes weigh each target by its class. Functions of the user's own count rows.
        """
        counted = self.counted(targets)
        if counted is None:
            return targets.numel() if type(self.function) in _ELEMENTWISE else rows_of(targets)
        weight = self.function.weight
        return (counted if weight is None else weight[targets.where(counted, 0)] * counted).sum()


def make_loss(part: Part, device: Any) -> Loss:
    """Make a loss; lists for tensor arguments of torch's losses become tensors.

    Args:
        part: Which one.
        device: The device of its tensors.
    """
    loss, arguments, is_class = part.make, dict(part.arguments), inspect.isclass(part.make)
    if is_class and loss.__module__.startswith("torch."):
        lists = [name for name in _TENSORS & arguments.keys() if isinstance(arguments[name], list)]
        arguments |= {name: torch.tensor(arguments[name], dtype=torch.get_default_dtype()) for name in lists}
    if is_class:
        loss, arguments = loss(**arguments), {}
    elif isinstance(loss, torch.nn.Module):
        loss = copy.deepcopy(loss)  # its state must not pass from trial to trial
    return Loss(loss.to(device) if isinstance(loss, torch.nn.Module) else loss, arguments)


def default_loss(targets: Any) -> Loss:
    """The loss for these targets: cross entropy for integers (classes), the squared error for floats.

    Raises:
        EvaluationError: If the targets are not one tensor.
    """
    if not isinstance(targets, torch.Tensor):
        msg = f"There is no default loss for targets in a {type(targets).__name__}: give `loss`, a function of outputs"
        raise EvaluationError(f"{msg} and targets.")
    return Loss(MSELoss() if targets.is_floating_point() else CrossEntropyLoss())
