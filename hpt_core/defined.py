"""What the recorded definition of a study says, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpt_core.constraints import Constraint, read_constraints

__all__ = ["Defined"]


class Defined:
    """The part of a history that its definition tells.

    Attributes:
        definition: How the study is defined now, as JSON-shaped data; empty before the first record.
    """

    definition: Mapping[str, Any]

    @property
    def exists(self) -> bool:
        """Whether the log has a study at all."""
        return bool(self.definition)

    @property
    def objectives(self) -> tuple[str, ...]:
        """The names of the objectives, in order."""
        return tuple(self.definition["objectives"])

    @property
    def directions(self) -> tuple[str, ...]:
        """``minimize`` or ``maximize``, one per objective."""
        return tuple(self.definition["objectives"].values())

    @property
    def constraints(self) -> tuple[Constraint, ...]:
        """The constraints on what trials return, each with ``metric``, ``relation`` and ``bound``; often none."""
        return read_constraints(self.definition.get("constraints", {}))

    @property
    def seed(self) -> int:
        """The study's seed."""
        return int(self.definition["seed"])

    @property
    def evidence(self) -> str:
        """``curve`` or ``folds``: what the evaluator's reports mean."""
        return str(self.definition.get("evidence", {}).get("kind", "curve"))

    @property
    def steps(self) -> int | None:
        """How many reports a whole trial gives; None if the evaluator does not say."""
        steps = self.definition.get("evidence", {}).get("steps")
        return None if steps is None else int(steps)

    @property
    def resumable(self) -> bool:
        """Whether the evaluator can go on with a paused trial."""
        return bool(self.definition.get("evidence", {}).get("resumable", False))
