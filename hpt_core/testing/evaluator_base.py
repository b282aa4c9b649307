"""The base of the evaluator kit: making trials and evaluating them."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import pytest

from hpt_core.components import Evaluator
from hpt_core.history.checks import check_result
from hpt_core.history.trial import Report, TrialContext
from hpt_core.testing import examples
from hpt_core.testing.checks import pinned
from hpt_core.testing.component import ComponentKit

if TYPE_CHECKING:
    from hpt_core.space.space import Space

__all__ = ["EvaluatorBase", "Make"]

Make = Callable[[], Evaluator]


@attrs.frozen
class Outcome:
    """The outcome of an evaluation.

    Attributes:
        reports: (step, value) in order.
        values: One per objective, or None if they follow from the reports.
    """

    reports: tuple[tuple[int, float], ...]
    values: tuple[float, ...] | None


class EvaluatorBase(ComponentKit):
    """Inherit `EvaluatorKit` instead."""

    objectives: ClassVar[Mapping[str, str]] = {"value": "minimize"}
    repeatable: ClassVar[bool] = True

    @pytest.fixture
    def make_evaluator(self) -> Make:
        """Override this to return a callable that makes a new evaluator, for example ``return MyEvaluator``."""
        msg = "Override the fixture `make_evaluator` to return a callable that makes your evaluator."
        pytest.fail(msg, pytrace=False)

    @pytest.fixture
    def make_component(self, make_evaluator: Make) -> Make:
        """Used by the checks that all kits share."""
        return make_evaluator

    @pytest.fixture
    def space(self) -> Space:
        """Override this to return the space to evaluate: a `Space`, or a mapping as for `Study`."""
        return examples.FLOATS

    def trial(self, space: Space, folder: Path, number: int = 0) -> TrialContext:
        """A trial of the space with an existing, empty work directory."""
        workdir = folder / f"trial-{number}"
        shutil.rmtree(workdir, ignore_errors=True)
        workdir.mkdir(parents=True)
        params = examples.points(space, number + 1)[number]
        return TrialContext(params, number, 1000 + number, tuple(self.objectives), workdir)

    def start(self, evaluator: Evaluator, trial: TrialContext) -> object:
        """Start an evaluation as the core does."""
        with pinned():
            return evaluator.evaluate(trial)

    def reports(self, evaluator: Evaluator, trial: TrialContext) -> list[Report]:
        """Evaluate to the end; return all reports, which may be invalid."""
        with _environment_restored():
            running = self.start(evaluator, trial)
            with pinned():
                return list(map(_report, running)) if isinstance(running, Iterator) else []

    def _first_reports(self, evaluator: Evaluator, trial: TrialContext, count: int) -> list[Report]:
        """Evaluate until there are so many reports and close the trial, as the core does when a rule stops it."""
        running: Any = self.start(evaluator, trial)
        if not isinstance(running, Iterator):
            return []
        with pinned():
            found = list(itertools.islice(running, count))
            with contextlib.suppress(RuntimeError):  # another check tests whether it ends when it is closed
                running.close()  # type: ignore[attr-defined] # other iterators may have no close()
        return found

    def evaluated(self, evaluator: Evaluator, trial: TrialContext, salt: int = 0) -> Outcome:
        """Evaluate to the end.

        Args:
            evaluator: The evaluator.
            trial: The trial. Its work directory is emptied unless the trial is resumed.
            salt: Seed of the global random generators.
        """
        if trial.workdir is not None and trial.workdir.exists() and not trial.resume_step:
            shutil.rmtree(trial.workdir)
            trial.workdir.mkdir()
        reports: list[tuple[int, float]] = []
        with _environment_restored(), pinned(salt):
            result: Any = evaluator.evaluate(trial)
            if isinstance(result, Iterator):
                result = _exhaust(result, reports)
        if result is None and reports:
            return Outcome(tuple(reports), None)
        return Outcome(tuple(reports), check_result(result, trial.objectives)[0])

    def must_repeat(self) -> None:
        """Skip the check if the evaluator is not repeatable."""
        if not self.repeatable:
            pytest.skip("this evaluator declares repeatable = False")


@contextlib.contextmanager
def _environment_restored() -> Iterator[None]:
    """Restore the environment, so that a variable that is always set to the same value is noticed by every check."""
    before = dict(os.environ)
    try:
        yield
    finally:
        if dict(os.environ) != before:
            os.environ.clear()
            os.environ.update(before)


def _report(item: object) -> Report:
    assert isinstance(item, Report), f"the evaluator yielded {item!r:.80}, which is no Report"
    return item


def _exhaust(running: Iterator[Any], reports: list[tuple[int, float]]) -> Any:
    """Collect all reports; return the return value of the generator."""
    while True:
        try:
            report = _report(next(running))
        except StopIteration as end:
            return end.value
        reports.append((report.step, report.value))
