"""A stranger's evaluator: a landscape of terraces, flat where it matters, which counts its calls in a file."""

from __future__ import annotations

from pathlib import Path

import attrs

from hpt_core import TrialContext, hookimpl, option


@attrs.define(kw_only=True)
class Terraces:
    """The squared distance from the origin, in steps of six."""

    calls: str | None = option(None, help="A file that gets a line per call.")

    def evaluate(self, trial: TrialContext) -> float:
        """Evaluate the landscape."""
        if self.calls is not None:
            with Path(self.calls).open("a", encoding="utf-8") as file:
                file.write(f"{trial.number}\n")
        return float(sum(value**2 for value in trial.params.values()) // 6)


@hookimpl
def hpt_evaluators() -> dict[str, type]:
    """Offer the evaluator."""
    return {"terraces": Terraces}
