"""Metrics of the validation set: sums over batches, and custom functions of all outputs at once."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs
import torch

from hpt_core import EvaluationError
from hpt_evaluator_torch.arguments import Signature, signature_of
from hpt_evaluator_torch.data import rows_of, split_batch

if TYPE_CHECKING:
    from hpt_evaluator_torch.losses import Loss

__all__ = ["Metric", "mean_loss", "measure"]

_FROM_LOSS: Mapping[str, Callable[[float], float]] = {
    "bits": lambda loss: loss / math.log(2),
    "loss": lambda loss: loss,
    "perplexity": lambda loss: math.inf if loss > 700 else math.exp(loss),
}


def _hits(outputs: Any, targets: Any) -> Any:
    """Which predictions are correct: by the largest class score (dimension 1), or the sign of a single score."""
    return ((outputs > 0) if outputs.shape == targets.shape else outputs.argmax(1)) == targets


_ENTRIES: Mapping[str, Callable[[Any, Any], Any]] = {
    "accuracy": _hits,
    "error": _hits,
    "mae": lambda outputs, targets: (outputs - targets).abs(),
    "mse": lambda outputs, targets: (outputs - targets).square(),
    "rmse": lambda outputs, targets: (outputs - targets).square(),
}
_OF_CLASSES = {"accuracy", "error"}
_FINISH: Mapping[str, Callable[[float], float]] = {"error": lambda mean: 1.0 - mean, "rmse": math.sqrt}


@attrs.frozen
class Metric:
    """A custom function, or an object such as those of torchmetrics, of the outputs for the whole validation set.

    Attributes:
        function: Called as ``function(outputs, targets)``, tensors or dicts and tuples of them as the model and the
            data return, and with ``inputs`` (a tuple) and ``model`` if it has such arguments; returns a number.
        signature: Its arguments after the first two.
    """

    function: Any
    signature: Signature = attrs.field(
        init=False, default=attrs.Factory(lambda self: signature_of(self.function, 2), takes_self=True)
    )

    @property
    def called(self) -> Any:
        """What may have state: the function itself, or that which it calls with further arguments."""
        return self.function.func if isinstance(self.function, functools.partial) else self.function

    def __call__(self, outputs: Any, targets: Any, **offered: Any) -> Any:
        """Compute the metric; an object is reset first."""
        getattr(self.called, "reset", lambda: None)()
        asked = {name: value for name, value in offered.items() if name in self.signature.names}
        return self.function(outputs, targets, **asked)


def measure(
    model: Any,
    batches: Iterable[Any],
    loss: Loss,
    names: Sequence[str],
    functions: Mapping[str, Metric],
    *,
    device: Any,
    autocast: Callable[[], Any],
) -> dict[str, float]:
    """Measure a model on a validation set.

    Args:
        model: The model, in evaluation mode.
        batches: Lists (inputs ..., targets).
        loss: The loss. Targets that it ignores count for neither ``accuracy`` nor ``error``.
        names: Names of built-in metrics to compute besides ``loss``.
        functions: Custom metrics by name.
        device: Where the model is.
        autocast: Makes the context for mixed precision.

    Returns:
        Every metric by name; always ``loss``.
    """
    means = _Means(loss, [name for name in names if name in _ENTRIES])
    asked = any("inputs" in function.signature.names for function in functions.values())
    kept: list[tuple[Any, ...]] = []
    rows = 0
    with torch.no_grad():
        for batch in batches:
            inputs, targets = split_batch(batch, device)
            with autocast():
                outputs = model(*inputs)
                value = loss(outputs, targets)
            means.add(value, outputs, targets)
            rows += rows_of(targets)
            if functions:
                kept.append((outputs, targets, inputs if asked else ()))
        if not rows:
            raise EvaluationError("The validation data has no rows: nothing can be measured on it.")
        found = means.found()
        found |= {name: _FROM_LOSS[name](found["loss"]) for name in names if name in _FROM_LOSS}
        if functions:
            outputs, targets, given = map(_concatenated, zip(*kept, strict=True))
            for name, function in functions.items():
                if isinstance(function.called, torch.nn.Module):
                    function.called.to(device)
                found[name] = _number(name, function(outputs, targets, inputs=given, model=model))
    return found


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (RuntimeError, TypeError, ValueError):  # torch raises the first of these
        given = f"a tensor of shape {list(value.shape)}" if isinstance(value, torch.Tensor) else f"{value!r:.80}"
        raise EvaluationError(f"The metric {name!r} must be one number. Got {given}.") from None


class _Means:
    """The loss, and metrics that are means over all targets that it does not ignore, added up batch by batch."""

    def __init__(self, loss: Loss, names: Sequence[str]) -> None:
        self._loss, self._values, self._sizes = loss, list[Any](), list[Any]()
        self._sums: dict[str, list[Any]] = {name: [] for name in names}
        self._counts: dict[str, list[Any]] = {name: [] for name in names}

    def add(self, value: Any, outputs: Any, targets: Any) -> None:
        """Add a batch, whose loss is ``value``."""
        self._values.append(value)
        self._sizes.append(self._loss.size(targets))
        for name, sums in self._sums.items():
            _require_comparable(name, outputs, targets)
            counted = self._loss.counted(targets)
            entries = _ENTRIES[name](outputs, self._loss.classes(targets) if name in _OF_CLASSES else targets)
            self._counts[name].append(entries.numel() if counted is None else counted.sum())
            total = (entries if counted is None else entries * counted).sum().float()
            sums.append(total.masked_fill(outputs.isnan().any(), math.nan))

    def found(self) -> dict[str, float]:
        """The means by name."""
        found = {"loss": sum(_numbers(self._values)) if self._loss.sums else mean_loss(self._values, self._sizes)}
        for name, sums in self._sums.items():
            count = sum(_numbers(self._counts[name]))
            found[name] = _FINISH.get(name, float)(sum(_numbers(sums)) / count if count else math.nan)
        return found


def _require_comparable(name: str, outputs: Any, targets: Any) -> None:
    """Raise an error if a built-in metric is not defined for these outputs, or would broadcast them.

    Raises:
        EvaluationError: If they are not one tensor each, or their shapes do not fit.
    """
    for what, found in (("model returns", outputs), ("targets are", targets)):
        if not isinstance(found, torch.Tensor):
            msg = f"The {what} a {type(found).__name__}, but the metric {name!r} needs one tensor. "
            raise EvaluationError(f"{msg}Custom functions in `metrics` receive all of it.")
    scores = name in _OF_CLASSES and outputs.ndim > 1 and outputs.shape[1] > 1
    fitting = [outputs.shape, outputs.shape[:1] + outputs.shape[2:]] if scores else [outputs.shape]
    if targets.shape not in fitting:
        msg = f"The metric {name!r} cannot compare outputs of shape {list(outputs.shape)} with targets of shape "
        raise EvaluationError(f"{msg}{list(targets.shape)}.")


def _concatenated(parts: Sequence[Any]) -> Any:
    """The values of all batches, concatenated; tensors in dicts, tuples and lists one by one."""
    first = parts[0]
    if isinstance(first, Mapping):
        return {key: _concatenated([part[key] for part in parts]) for key in first}
    if isinstance(first, (list, tuple)):
        return tuple(_concatenated(column) for column in zip(*parts, strict=True))
    try:
        whole = torch.cat(list(parts))
    except RuntimeError as err:
        msg = "Custom metrics receive the whole validation set at once, but its batches have different shapes"
        raise EvaluationError(f"{msg}: {err}. Pad all batches to the same shape, or make it one batch.") from None
    return whole.float() if whole.dtype in {torch.float16, torch.bfloat16} else whole


def mean_loss(losses: Sequence[Any], sizes: Sequence[Any]) -> float:
    """The mean of losses that are means over batches, weighted by the sizes of the batches; NaN if all are empty."""
    pairs = [(value, size) for value, size in zip(_numbers(losses), _numbers(sizes), strict=True) if size]
    size = sum(size for _, size in pairs)
    return sum(value * size for value, size in pairs) / size if size else math.nan


def _numbers(values: Sequence[Any]) -> list[float]:
    """Scalar tensors of one device, or numbers, as numbers: one transfer."""
    return torch.stack([torch.as_tensor(value) for value in values]).tolist() if values else []
