"""What all evaluators around an evaluator share: they look like the one inside."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import attrs

from hpt_core import Evaluator, Mistake, Report, Space, TrialContext, UsageError, option

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Evidence", "Wrapper", "closed"]

Evidence = Generator[Report, None, Any]
"""Reports as they come; what it returns is the result."""


@attrs.define(kw_only=True)
class Wrapper:
    """An evaluator around another; what it does not change is as the inner one has it."""

    evaluator: Evaluator = option(help="What is run: a table { use = ..., option = ... }.")

    def __attrs_post_init__(self) -> None:
        if isinstance(self.evaluator, type) or not callable(getattr(self.evaluator, "evaluate", None)):
            raise UsageError(Mistake("evaluator", f"Must be an evaluator. Got {self.evaluator!r:.80}."))

    @property
    def evidence(self) -> str:
        """What the inner evaluator's reports mean: ``curve`` or ``folds``."""
        return str(getattr(self.evaluator, "evidence", "curve"))

    @property
    def steps(self) -> int | None:
        """How many reports a whole trial gives."""
        steps: int | None = getattr(self.evaluator, "steps", None)
        return steps

    @property
    def resumable(self) -> bool:
        """Whether a trial can go on after a pause."""
        return bool(getattr(self.evaluator, "resumable", False))

    @property
    def conclude(self) -> Callable[[TrialContext], Mapping[str, Any] | None] | None:
        """What the inner evaluator does with the winner; None if it does nothing."""
        return getattr(self.evaluator, "conclude", None)

    @property
    def discard(self) -> Callable[[TrialContext], object] | None:
        """How the inner evaluator removes what it keeps of a trial; None if it keeps nothing."""
        return getattr(self.evaluator, "discard", None)

    def check(self, space: Space, objectives: Mapping[str, str]) -> None:
        """Let the inner evaluator object to what can never work.

        Args:
            space: The study's space.
            objectives: Directions by name.

        Raises:
            UsageError: With the path of the inner evaluator's options.
        """
        check = getattr(self.evaluator, "check", None)
        if check is None:
            return
        try:
            check(space, objectives)
        except UsageError as err:
            raise UsageError(*map(_inside, err.mistakes)) from err


@contextmanager
def closed(items: Iterator[Report]) -> Iterator[Iterator[Report]]:
    """Close an inner generator whatever happens, so that it can clean up when a trial is stopped midway."""
    try:
        yield items
    finally:
        close = getattr(items, "close", None)
        if close is not None:
            close()


def _inside(mistake: Mistake) -> Mistake:
    if mistake.path.partition(".")[0] != "evaluator":
        return mistake
    return Mistake(f"evaluator.{mistake.path}", mistake.message)
