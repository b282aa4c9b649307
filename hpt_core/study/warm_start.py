"""Warm start: which configurations of an earlier study a study starts from, and how they are fitted to its space."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs
import numpy as np

from hpt_core.components import Suggestion
from hpt_core.errors import InvalidParamsError, Mistake, UsageError
from hpt_core.history.history import History
from hpt_core.history.trial import Trial
from hpt_core.values import counted, native, shown

if TYPE_CHECKING:
    from hpt_core.history.trial import Params
    from hpt_core.space.space import Space

__all__ = ["WarmStart", "warm_start"]

_LISTED = 3  # configurations that were passed over, in the summary


@attrs.define
class WarmStart:
    """What was taken from an earlier study.

    A parameter that only the earlier study has is dropped, one that only this study has gets its default, and a
    configuration with a value outside this space is passed over for the next best.

    Attributes:
        trials: The trials at the configurations, best first. They may have existed before.
        dropped: Parameters of the configurations that this space does not have.
        filled: Parameters of this space that the configurations did not have.
        passed_over: Why configurations were passed over, one sentence each.
    """

    trials: list[Trial] = attrs.field(factory=list)
    dropped: list[str] = attrs.field(factory=list)
    filled: list[str] = attrs.field(factory=list)
    passed_over: list[str] = attrs.field(factory=list)

    def __str__(self) -> str:
        """Summarize what was taken, in words."""
        verb = "is" if len(self.trials) == 1 else "are"
        facts = [f"{counted(len(self.trials), 'configuration')} of the earlier study {verb} tried first"]
        if not self.trials:
            facts = ["none of its configurations fits" if self.passed_over else "it has no complete trial"]
        facts += [f"dropped: {', '.join(self.dropped)}"] if self.dropped else []
        facts += [f"set to their defaults: {', '.join(self.filled)}"] if self.filled else []
        facts += self.passed_over[:_LISTED]
        more = len(self.passed_over) - _LISTED
        facts += [f"{more} more do not fit"] if more > 0 else []
        return "; ".join(facts) + "."


def warm_start(
    space: Space, earlier: History, *, name: str, top: int, enqueue: Callable[[Suggestion], Trial]
) -> WarmStart:
    """Enqueue the best distinct configurations of an earlier study.

    Args:
        space: The space of the new study.
        earlier: The history of the earlier study.
        name: The name of the earlier study, which is recorded.
        top: The most configurations to enqueue.
        enqueue: Enqueues one configuration.

    Raises:
        UsageError: If ``earlier`` is no history, or ``top`` is not an int >= 1.
    """
    if not isinstance(earlier, History):
        raise UsageError(f"The earlier study must be a Study, or a history from load_history(). Got {earlier!r:.80}.")
    if type(native(top)) is not int or top < 1:
        raise UsageError(Mistake("top", f"Must be an int >= 1. Got {shown(top)}."))
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
    """The complete trials, best first: with several objectives a spread over the front, else by violation and loss."""
    if not history.exists:
        return []
    front = sorted(history.front, key=lambda trial: history.losses[trial.number, 0])
    if len(history.objectives) > 1 and front:
        spread = set(np.linspace(0, len(front) - 1, min(top, len(front))).round().astype(int).tolist())
        return sorted(front, key=lambda trial: front.index(trial) not in spread)
    numbers = history.complete
    violation = np.nan_to_num(history.violation[numbers], nan=np.inf)
    return [history.trials[i] for i in numbers[np.lexsort((history.losses[numbers, 0], violation))]]
