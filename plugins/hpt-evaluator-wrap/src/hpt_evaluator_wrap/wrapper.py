"""The base class of the wrappers, which delegates to the inner evaluator."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self

import attrs

from hpt_core import Evaluator, Mistake, Report, Space, TrialContext, UsageError, option

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Evaluation", "Running", "Wrapper", "message_of"]

Evaluation = Generator[Report, None, Any]
"""A generator that yields reports and returns the result."""


@attrs.define(kw_only=True)
class Wrapper:
    """An evaluator around an inner one, to which it delegates everything but ``evaluate``."""

    evaluator: Evaluator = option(help="The inner evaluator: a table { use = ..., option = ... }.")

    def __attrs_post_init__(self) -> None:
        if isinstance(self.evaluator, type) or not callable(getattr(self.evaluator, "evaluate", None)):
            raise UsageError(Mistake("evaluator", f"Must be an evaluator. Got {self.evaluator!r:.80}."))

    @property
    def evidence(self) -> str:
        """The kind of the inner evaluator's reports: ``curve`` or ``folds``."""
        return str(getattr(self.evaluator, "evidence", "curve"))

    @property
    def steps(self) -> int | None:
        """The step of the last report of a complete trial; None if the inner evaluator does not know it."""
        steps: int | None = getattr(self.evaluator, "steps", None)
        return steps

    @property
    def resumable(self) -> bool:
        """Whether a trial can resume after a pause."""
        return bool(getattr(self.evaluator, "resumable", False))

    @property
    def sources(self) -> list[Evaluator]:
        """The inner evaluator, whose code and data are those of this one."""
        return [self.evaluator]

    @property
    def conclude(self) -> Callable[[TrialContext], Mapping[str, Any] | None] | None:
        """The inner evaluator's ``conclude``; None if it has none."""
        return getattr(self.evaluator, "conclude", None)

    @property
    def discard(self) -> Callable[[TrialContext], object] | None:
        """The inner evaluator's ``discard``; None if it has none."""
        return getattr(self.evaluator, "discard", None)

    @property
    def finish(self) -> Callable[[TrialContext], object] | None:
        """The inner evaluator's ``finish``; None if it has none."""
        return getattr(self.evaluator, "finish", None)

    def check(self, space: Space, objectives: Mapping[str, str]) -> None:
        """Let the inner evaluator check the study.

        Args:
            space: The space of the study.
            objectives: Name -> direction.

        Raises:
            UsageError: With the key paths of the inner evaluator's options.
        """
        check = getattr(self.evaluator, "check", None)
        if check is None:
            return
        try:
            check(space, objectives)
        except UsageError as err:
            raise UsageError(*map(_inside, err.mistakes)) from err


class Running:
    """The reports of an evaluation one by one, and then its result.

    It is a context, at whose end a generator is closed, so that it can clean up when a trial is stopped midway.

    Args:
        outcome: What ``evaluate`` returned: an iterator of reports, or at once the result.

    Attributes:
        result: The result, after the last report.
    """

    def __init__(self, outcome: Any) -> None:
        self._reports: Iterator[Report] = outcome if isinstance(outcome, Iterator) else _without_reports(outcome)
        self.result: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        getattr(self._reports, "close", lambda: None)()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Report:
        try:
            return next(self._reports)
        except StopIteration as end:
            self.result = end.value
            raise


def _without_reports(result: Any) -> Evaluation:
    yield from ()
    return result


def message_of(err: BaseException) -> str:
    """The type and the text of an error; the type alone if the text cannot be had."""
    try:
        return f"{type(err).__name__}: {err}"
    except BaseException:  # noqa: BLE001 - a third-party __str__ may raise anything, such as SystemExit
        return type(err).__name__


def _inside(mistake: Mistake) -> Mistake:
    if mistake.path.partition(".")[0] != "evaluator":
        return mistake
    return Mistake(f"evaluator.{mistake.path}", mistake.message)
