"""What stands beside the values of a trial of Optuna: constraints, which 0 and less keep, and user attributes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from optuna.trial import TrialState

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

__all__ = ["CONSTRAINTS", "constraints_of", "limits_of", "metrics_of", "no_metrics"]

CONSTRAINTS = "constraints"  # the system attribute: a list of all, or one for each behind a colon (from Optuna 5 on)


def constraints_of(trial: FrozenTrial) -> dict[str, float]:
    """The trial's constraints as metrics, ``constraint_`` before the name or number; above 0 one is broken."""
    attributes = trial.system_attrs
    found = {str(i): value for i, value in enumerate(attributes.get(CONSTRAINTS) or ())}
    prefix = f"{CONSTRAINTS}:"
    found |= {key.removeprefix(prefix): value for key, value in attributes.items() if key.startswith(prefix)}
    return {f"constraint_{key}": float(value) for key, value in found.items() if math.isfinite(value)}


def limits_of(trials: Iterable[FrozenTrial]) -> dict[str, str]:
    """The `constraints` of a study of hpt: those that each complete trial has."""
    found = [constraints_of(trial) for trial in trials if trial.state is TrialState.COMPLETE]
    return {name: "<= 0" for name in (found[0] if found else ()) if all(name in other for other in found)}


def metrics_of(trial: FrozenTrial) -> dict[str, float]:
    """The trial's constraints, and its user attributes as far as they are numbers, true or false."""
    numbers = {key: value for key, value in trial.user_attrs.items() if isinstance(value, (bool, int, float))}
    return {key: float(value) for key, value in numbers.items() if math.isfinite(value)} | constraints_of(trial)


def no_metrics(trials: Iterable[FrozenTrial]) -> list[str]:
    """The names of user attributes that no metric can hold."""
    done = [trial for trial in trials if trial.state.is_finished()]
    return sorted({key for trial in done for key in trial.user_attrs if key not in metrics_of(trial)})
