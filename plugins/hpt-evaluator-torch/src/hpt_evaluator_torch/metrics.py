"""Metrics of the validation set: sums over batches, and custom functions of all outputs at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs
import torch

from hpt_core import EvaluationError
from hpt_evaluator_torch.arguments import Signature, signature_of
from hpt_evaluator_torch.data import rows_of, split_batch

__all__ = ["Metric", "mean_loss", "measure"]

_FROM_LOSS: Mapping[str, Callable[[float], float]] = {
    "bits": lambda loss: loss / math.log(2),
    "loss": lambda loss: loss,
    "perplexity": lambda loss: math.inf if loss > 700 else math.exp(loss),
}


def _correct(outputs: Any, targets: Any) -> Any:
    """Number of correct predictions: by the largest class score (dimension 1), or the sign of a single score.

    NaN if any output is NaN.
    """
    found = (outputs > 0) if outputs.shape == targets.shape else outputs.argmax(1)
    return (found == targets).sum().float().masked_fill(outputs.isnan().any(), math.nan)


_SUMS: Mapping[str, Callable[[Any, Any], Any]] = {
    "accuracy": _correct,
    "error": _correct,
    "mae": lambda outputs, targets: (outputs - targets).abs().sum(),
    "mse": lambda outputs, targets: (outputs - targets).square().sum(),
    "rmse": lambda outputs, targets: (outputs - targets).square().sum(),
}
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

    def __call__(self, outputs: Any, targets: Any, **offered: Any) -> float:
        """Compute the metric; an object is reset first."""
        getattr(self.function, "reset", lambda: None)()
        asked = {name: value for name, value in offered.items() if name in self.signature.names}
        return float(self.function(outputs, targets, **asked))


def measure(
    model: Any,
    batches: Iterable[Any],
    loss: Callable[[Any, Any], Any],
    names: Sequence[str],
    functions: Mapping[str, Metric],
    *,
    device: Any,
    autocast: Callable[[], Any],
) -> dict[str, float]:
    """Measure a model on a validation set.

    Args:
        model: The model; it is put into evaluation mode.
        batches: Lists (inputs ..., targets).
        loss: Function of outputs and targets; its mean is weighted by rows.
        names: Names of built-in metrics to compute besides ``loss``.
        functions: Custom metrics by name.
        device: Where the model is.
        autocast: Makes the context for mixed precision.

    Returns:
        Every metric by name; always ``loss``.
    """
    summed = [name for name in names if name in _SUMS]
    asked = any("inputs" in function.signature.names for function in functions.values())
    kept: list[tuple[Any, ...]] = []
    totals: list[list[Any]] = []
    rows, entries = [], 0
    model.eval()
    with torch.no_grad():
        for batch in batches:
            inputs, targets = split_batch(batch, device)
            with autocast():
                outputs = model(*inputs)
                value = loss(outputs, targets)
            for name in summed:
                _require_comparable(name, outputs, targets)
            entries += targets.numel() if summed else 0
            totals.append([value, *(_SUMS[name](outputs, targets) for name in summed)])
            rows.append(rows_of(targets))
            if functions:
                kept.append((outputs, targets, inputs if asked else ()))
        if not sum(rows):
            raise EvaluationError("The validation data has no rows: nothing can be measured on it.")
        found = _means(totals, rows, entries, summed)
        found |= {name: _FROM_LOSS[name](found["loss"]) for name in names if name in _FROM_LOSS}
        if functions:
            outputs, targets, given = map(_concatenated, zip(*kept, strict=True))
            for name, function in functions.items():
                if isinstance(function.function, torch.nn.Module):
                    function.function.to(device)
                found[name] = function(outputs, targets, inputs=given, model=model)
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
    scores = name in {"accuracy", "error"} and outputs.ndim > 1 and outputs.shape[1] > 1
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
        raise EvaluationError(f"{msg}: {err}. Pad all batches to the same shape, or make it one batch.") from err
    return whole.float() if whole.dtype in {torch.float16, torch.bfloat16} else whole


def mean_loss(losses: Sequence[Any], rows: Sequence[int]) -> float:
    """The mean over rows of losses that are means over batches; one transfer, summed in double precision."""
    values = torch.stack(list(losses)).double().tolist()
    total: float = sum(value * count for value, count in zip(values, rows, strict=True))
    return total / max(1, sum(rows))


def _means(
    totals: Sequence[Sequence[Any]], rows: Sequence[int], entries: int, summed: Sequence[str]
) -> dict[str, float]:
    columns = list(zip(*totals, strict=True))
    found = {"loss": mean_loss(columns[0], rows)}
    for name, column in zip(summed, columns[1:], strict=True):
        mean = sum(torch.stack(column).tolist()) / max(1, entries)
        found[name] = _FINISH.get(name, float)(mean)
    return found
