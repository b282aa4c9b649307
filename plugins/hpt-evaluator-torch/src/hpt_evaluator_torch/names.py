"""The names of objectives and metrics and what they measure, without importing torch."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from typing import Any

from hpt_core import Mistake, UsageError
from hpt_evaluator_torch.arguments import near, resolve_callable, signature_of

__all__ = ["BUILTIN", "metric_functions", "name_mistakes", "source_of"]

BUILTIN = {
    "accuracy": "maximize",
    "bits": "minimize",
    "error": "minimize",
    "loss": "minimize",
    "mae": "minimize",
    "mse": "minimize",
    "perplexity": "minimize",
    "rmse": "minimize",
    "train_loss": "minimize",
}
"""Metrics known by name, and which way they are better."""

_PREFIXES = ("val_", "valid_")


def source_of(name: str) -> str:
    """The metric that an objective's name stands for: ``val_loss`` is ``loss``; ``value`` the loss too."""
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return "loss" if name == "value" else name


def metric_functions(metrics: list[Any] | Mapping[str, Any]) -> dict[str, Any]:
    """The user's own metrics by name: entries of the option that are no builtin names.

    Args:
        metrics: A list of builtin names, import paths, functions and classes, or a table name -> any of those, or a
            table ``{"use": any of these, **arguments}``.

    Raises:
        UsageError: If one is not a function or class, has no name, or cannot be made with its arguments.
    """
    found = {}
    named = metrics.items() if isinstance(metrics, Mapping) else enumerate(metrics)
    for key, spec in named:
        path = f"evaluator.metrics.{key}" if isinstance(key, str) else f"evaluator.metrics[{key}]"
        if isinstance(spec, str) and source_of(spec) in BUILTIN:
            if isinstance(key, str) and source_of(key) != source_of(spec):
                msg = f"{spec!r} keeps its name: write `{source_of(spec)}` for the key, and as an objective."
                raise UsageError(Mistake(path, msg))
            continue
        if isinstance(spec, str) and ":" not in spec:
            known = ", ".join(sorted(BUILTIN))
            msg = f"There is no metric {spec!r}.{near(spec, BUILTIN)} Known: {known}; or give 'module:function'."
            raise UsageError(Mistake(path, msg))
        function, arguments = resolve_callable(spec, path)
        name = key if isinstance(key, str) else getattr(function, "__name__", "")
        if not name:
            msg = f"This has no name: write `metrics` as a table of names, as in {{ f1 = ... }}. Got {spec!r:.80}."
            raise UsageError(Mistake(path, msg))
        found[name] = _with_arguments(function, arguments, path)
    return found


def _with_arguments(function: Any, arguments: Mapping[str, Any], path: str) -> Any:
    """A class is made an object, as those of losses and of torchmetrics need it; a function is given its arguments."""
    signature, called = signature_of(function), getattr(function, "__name__", "This")
    for name in arguments:
        if not signature.accepts(name):
            msg = f"{called} has no argument {name!r}.{near(name, signature.names)}"
            raise UsageError(Mistake(f"{path}.{name}", msg))
    if not inspect.isclass(function):
        return functools.partial(function, **arguments) if arguments else function
    try:
        return function(**arguments)
    except Exception as err:
        raise UsageError(Mistake(path, f"{called} cannot be made: {type(err).__name__}: {err}")) from err


def name_mistakes(
    objectives: Mapping[str, str], functions: Mapping[str, Any], *, validated: bool | None
) -> list[Mistake]:
    """Objectives that nothing measures, or whose direction cannot be meant.

    Args:
        objectives: Name -> direction.
        functions: The user's own metrics.
        validated: Whether there is validation data; None: not known.
    """
    mistakes = []
    for name, direction in objectives.items():
        path, source = f"objective.{name}", source_of(name)
        if source in functions or name in functions:
            continue
        if source not in BUILTIN:
            known = sorted({*BUILTIN, *functions})
            msg = f"No metric has this name.{near(name, known)} Known: {', '.join(known)}; `metrics` adds more."
            mistakes.append(Mistake(path, msg))
        elif name == "value" and direction == "maximize":
            msg = 'Say which metric is meant, as in objective = { accuracy = "maximize" }: alone it is the loss.'
            mistakes.append(Mistake("objective", msg))
        elif direction != BUILTIN[source]:
            better = "small" if BUILTIN[source] == "minimize" else "large"
            mistakes.append(Mistake(path, f"{source} is better when it is {better}: {direction}?"))
        if validated is False and source != "train_loss":
            mistakes.append(Mistake(path, "There is no validation data to measure it on; `train_loss` needs none."))
    return mistakes
