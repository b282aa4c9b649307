"""Attributes of Optuna trials: constraints, which are met at 0 and below, and user attributes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from optuna.trial import TrialState

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

__all__ = ["CONSTRAINTS", "constraints_of", "limits_of", "metrics_of", "non_metrics"]

CONSTRAINTS = "constraints"  # system attribute: a list of all, or (from Optuna 5 on) one "constraints:NAME" each


def constraints_of(trial: FrozenTrial) -> dict[str, float]:
    """The trial's constraints as metrics ``constraint_NAME`` or ``constraint_NUMBER``; above 0 it is violated."""
    attributes = trial.system_attrs
    found = {str(i): value for i, value in enumerate(attributes.get(CONSTRAINTS) or ())}
    prefix = f"{CONSTRAINTS}:"
    found |= {key.removeprefix(prefix): value for key, value in attributes.items() if key.startswith(prefix)}
    return {f"constraint_{key}": float(value) for key, value in found.items() if math.isfinite(value)}


def limits_of(trials: Iterable[FrozenTrial]) -> dict[str, str]:
    """The `constraints` of an hpt study: those that every complete trial has."""
    found = [constraints_of(trial) for trial in trials if trial.state is TrialState.COMPLETE]
    return {name: "<= 0" for name in (found[0] if found else ()) if all(name in other for other in found)}


def metrics_of(trial: FrozenTrial) -> dict[str, float]:
    """The trial's constraints, and those of its user attributes that are finite numbers or booleans."""
    numbers = {key: value for key, value in trial.user_attrs.items() if isinstance(value, (bool, int, float))}
    return {key: float(value) for key, value in numbers.items() if math.isfinite(value)} | constraints_of(trial)


def non_metrics(trials: Iterable[FrozenTrial]) -> list[str]:
    """The names of user attributes that cannot become metrics; only complete trials have metrics."""
    kept = {trial.number: metrics_of(trial) for trial in trials if trial.state is TrialState.COMPLETE}
    done = [trial for trial in trials if trial.state.is_finished()]
    return sorted({key for trial in done for key in trial.user_attrs if key not in kept.get(trial.number, ())})
