"""A stranger's rule: stop the study after k identical values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from hpt_core import Stop, hookimpl, option

if TYPE_CHECKING:
    from hpt_core import History


@attrs.define(kw_only=True)
class Identical:
    """Stops the study when the last k complete trials gave the same value."""

    k: int = option(3, ge=2, help="How many.")

    def judge_study(self, history: History) -> Stop | None:
        """Stop after k identical values."""
        last = history.losses[history.complete[-self.k :], 0]
        if len(last) < self.k or len(set(last.tolist())) > 1:
            return None
        return Stop(f"the last {self.k} values are all {history.value_of(float(last[0])):g}")


@hookimpl
def hpt_stopping_rules() -> dict[str, type]:
    """Offer the rule."""
    return {"identical": Identical}
