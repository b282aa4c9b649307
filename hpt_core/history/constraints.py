"""Constraints on the results of trials, such as ``latency_ms <= 50``: parsing them, and measuring violations.

The excess of a value is the amount by which it is beyond the bound. The violation of a trial is the sum of its positive
excesses, each relative to the bound (to 1 if the bound is 0). It is only used to rank trials that violate a constraint.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import attrs
import numpy as np

from hpt_core.errors import Mistake, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Constraint", "parse_constraints", "read_constraints", "violation"]

_TEXT = re.compile(r"\s*(<=|>=)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*", re.ASCII)


@attrs.frozen
class Constraint:
    """A bound on a metric or an objective, in the user's sign.

    Attributes:
        metric: The name of the metric or objective.
        relation: ``<=`` or ``>=``.
        bound: The bound, finite. A value equal to it satisfies the constraint.
    """

    metric: str
    relation: str
    bound: float

    @classmethod
    def parse(cls, metric: str, text: object) -> Constraint:
        """Read ``"<= 50"``.

        Raises:
            ValueError: If the text is anything else.
        """
        match = _TEXT.fullmatch(text) if isinstance(text, str) else None
        if match is None or not math.isfinite(float(match[2])):
            msg = f"Must be text like '<= 50' or '>= 0.9'. Got {text!r:.80}."
            raise ValueError(msg)
        return cls(metric, match[1], float(match[2]))

    def excess(self, value: float | None) -> float:
        """By how much a value is beyond the bound. At most 0 if it satisfies the constraint, NaN without a value."""
        if value is None:
            return math.nan
        return value - self.bound if self.relation == "<=" else self.bound - value

    def __str__(self) -> str:
        """The constraint without its metric, in the form that is recorded: ``<= 50``."""
        short = f"{self.bound:g}"
        return f"{self.relation} {short if float(short) == self.bound else repr(self.bound)}"


def parse_constraints(given: object) -> dict[str, str]:
    """Turn the ``constraints`` that a user gave into a mapping of metric -> bound, in the form that is recorded.

    Args:
        given: None, or a mapping of metrics to texts like ``"<= 50"``.

    Raises:
        UsageError: If it is neither, with every mistake.
    """
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        wanted = 'a table like { latency_ms = "<= 50" }'
        raise UsageError(Mistake("constraints", f"Must be {wanted}. Got {given!r:.80}."))
    found, mistakes = {}, []
    for metric, text in given.items():
        path = f"constraints.{metric}"
        try:
            found[metric] = str(Constraint.parse(metric, text))
        except ValueError as err:
            mistakes.append(Mistake(path, str(err)))
        if not isinstance(metric, str) or not metric.isprintable() or not metric:
            mistakes.append(Mistake(path, f"The name of a metric must be printable text. Got {metric!r:.80}."))
    if mistakes:
        raise UsageError(*mistakes)
    return found


def read_constraints(recorded: Mapping[str, str]) -> tuple[Constraint, ...]:
    """The constraints of a definition, in order."""
    return tuple(Constraint.parse(metric, text) for metric, text in recorded.items())


def violation(constraints: Sequence[Constraint], excess: NDArray[np.float64]) -> NDArray[np.float64]:
    """The violation of each trial (see the module docstring).

    Args:
        constraints: c of them.
        excess: The excess of each trial over each bound. (n, c)

    Returns:
        (n,): 0 if a trial satisfies all constraints, NaN if that is unknown.
    """
    scale = np.array([abs(constraint.bound) or 1.0 for constraint in constraints])
    return np.asarray((np.maximum(excess, 0.0) / scale).sum(axis=1))
