"""Beginning a study where an earlier one ended: which of its configurations are taken, and how they are made to fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from hpt_core.components import Suggestion
from hpt_core.errors import InvalidParamsError, UsageError
from hpt_core.history import History
from hpt_core.trial import Trial

if TYPE_CHECKING:
    from hpt_core.space import Space
    from hpt_core.trial import Params

__all__ = ["WarmStart", "earlier_of", "warm_start"]


@attrs.define
class WarmStart:
    """What was taken over from an earlier study.

    A parameter that only the earlier study had is dropped, one that only this study has starts from its default, and a
    configuration with a value that this space does not allow is passed over for the next best.

    Attributes:
        trials: The trials at the configurations, the best first; those that were there already included.
        dropped: Parameters of the configurations that this space has not.
        filled: Parameters that they did not have.
        passed_over: Why configurations were passed over, one sentence each.
    """

    trials: list[Trial] = attrs.field(factory=list)
    dropped: list[str] = attrs.field(factory=list)
    filled: list[str] = attrs.field(factory=list)
    passed_over: list[str] = attrs.field(factory=list)

    def __str__(self) -> str:
        """All of it in words."""
        said = [f"tried first are {len(self.trials)} configurations of the earlier study"]
        if not self.trials:
            said = ["nothing of it fits" if self.passed_over else "it has no complete trial, so nothing is taken over"]
        said += [f"dropped: {', '.join(self.dropped)}"] if self.dropped else []
        said += [f"from their defaults: {', '.join(self.filled)}"] if self.filled else []
        said += self.passed_over
        return "; ".join(said) + "."


def earlier_of(other: Any) -> tuple[str, History]:
    """The name (empty where it is not known) and the history of a study, or of the history itself.

    Raises:
        UsageError: If it is neither.
    """
    history = getattr(other, "history", other)
    if not isinstance(history, History):
        raise UsageError(f"An earlier study must be a Study, or a history as of load_history(). Got {other!r:.80}.")
    return getattr(other, "name", ""), history


def warm_start(
    space: Space, earlier: History, *, name: str, top: int, enqueue: Callable[[Suggestion], Trial]
) -> WarmStart:
    """Take over the best distinct configurations of an earlier study.

    Args:
        space: The space that they have to fit.
        earlier: The earlier study.
        name: Its name, for the record.
        top: How many configurations, at most.
        enqueue: What is done with each.
    """
    found, taken = WarmStart(), set()
    for trial in _ranked(earlier, top):
        try:
            point = space.validate(space.default({k: v for k, v in trial.params.items() if k in space}))
        except InvalidParamsError as err:
            found.passed_over.append(f"trial {trial.number} does not fit: {err.mistakes[0]}".rstrip("."))
            continue
        if space.key(point) in taken:
            continue
        taken.add(space.key(point))
        _note_changes(found, space, trial, point)
        found.trials.append(enqueue(Suggestion(point, {"study": name, "trial": trial.number}, "warm-start")))
        if len(found.trials) == top:
            break
    return found


def _note_changes(found: WarmStart, space: Space, trial: Trial, point: Params) -> None:
    found.dropped += [key for key in trial.params if key not in space and key not in found.dropped]
    found.filled += [key for key in point if key not in trial.params and key not in found.filled]


def _ranked(history: History, top: int) -> list[Trial]:
    """The complete trials, the best first: those of the front spread over it, else by violation, then first loss."""
    front = sorted(history.front, key=lambda trial: history.losses[trial.number, 0])
    if len(history.objectives) > 1 and front:
        spread = set(np.linspace(0, len(front) - 1, min(top, len(front))).round().astype(int).tolist())
        return sorted(front, key=lambda trial: front.index(trial) not in spread)
    numbers = history.complete
    violation = np.nan_to_num(history.violation[numbers], nan=np.inf)
    return [history.trials[i] for i in numbers[np.lexsort((history.losses[numbers, 0], violation))]]
