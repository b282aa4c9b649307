"""The conformance kit for evaluators."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from hpt_core.guard import plain
from hpt_core.testing.checks import check, pinned
from hpt_core.testing.component import travelled
from hpt_core.testing.evaluator_base import EvaluatorBase, Make, Outcome
from hpt_core.trial import check_report

if TYPE_CHECKING:
    from hpt_core.space import Space

__all__ = ["EvaluatorKit"]


class EvaluatorKit(EvaluatorBase):
    """What every evaluator must pass. Override `make_evaluator`, and `space` if it does not take any configuration.

    Attributes:
        objectives: The objectives that it is asked for, name -> direction.
        repeatable: Whether the same trial gives the same values, up to the last bit. Say False for what cannot
            (another program, some GPU kernels).
    """

    # --- the answer -------------------------------------------------------------------------------------

    @check
    def test_gives_a_value_for_each_objective(self, make_evaluator: Make, space: Space, tmp_path: Path) -> None:
        """A whole evaluation ends with a finite value for each objective.

        Why: the trial fails otherwise, of kind ``invalid-value``; NaN never reaches a sampler.
        """
        for number in range(2):
            outcome = self.evaluated(make_evaluator(), self.trial(space, tmp_path, number))
            assert outcome.values or outcome.reports, "it neither reported nor returned a value"

    @check
    def test_reports_growing_evidence(self, make_evaluator: Make, space: Space, tmp_path: Path) -> None:
        """It yields `Report` objects whose steps grow from 1 on, as ints, with finite values.

        Why: rules compare trials at the same step; the trial fails at the first report that is none.
        """
        last = 0
        for report in self.reports(make_evaluator(), self.trial(space, tmp_path)):
            last = check_report(report, last).step

    @check
    def test_keeps_to_its_steps(self, make_evaluator: Make, space: Space, tmp_path: Path) -> None:
        """It reports no step beyond the ``steps`` that it declares.

        Why: rules divide that number into rungs; what comes behind it costs time that nobody planned.
        """
        evaluator: Any = make_evaluator()
        steps = getattr(evaluator, "steps", None)
        found = [report.step for report in self.reports(evaluator, self.trial(space, tmp_path))]
        assert steps is None or not found or max(found) <= steps, f"it declares {steps} and reports step {max(found)}"

    @check
    def test_declares_what_its_reports_mean(self, make_evaluator: Make) -> None:
        """``evidence`` is "curve" or "folds", ``steps`` an int above 0 or None, ``resumable`` a bool.

        Why: they decide how the reports of a stopped trial become its value, and which rules may act.
        """
        evaluator: Any = make_evaluator()
        assert getattr(evaluator, "evidence", "curve") in ("curve", "folds")
        steps = getattr(evaluator, "steps", None)
        assert steps is None or (type(steps) is int and steps > 0), f"steps is {steps!r}"
        assert type(getattr(evaluator, "resumable", False)) is bool

    @check
    def test_accepts_the_space_beforehand(self, make_evaluator: Make, space: Space) -> None:
        """Its ``check(space, objectives)``, if it has one, takes a space that it can evaluate.

        Why: it is called before the first trial and by `hpt check`, and what it raises ends the run.
        """
        look = getattr(make_evaluator(), "check", None)
        if look is not None:
            look(space, dict(self.objectives))

    @check
    def test_concludes_with_plain_data(self, make_evaluator: Make, space: Space, tmp_path: Path) -> None:
        """What ``conclude`` returns, if it has one, is a mapping of plain data or None.

        Why: it is recorded and shown as the study's conclusion.
        """
        conclude = getattr(make_evaluator(), "conclude", None)
        if conclude is not None:
            content = conclude(self.trial(space, tmp_path))
            assert content is None or isinstance(content, Mapping), f"it returned {type(content).__name__}"
            plain(content or {})

    # --- nothing but the trial counts -------------------------------------------------------------------

    @check
    def test_uses_the_seed_of_the_trial(self, make_evaluator: Make, space: Space, tmp_path: Path) -> None:
        """The same configuration and seed give the same values, whatever the global generators or the trial's number.

        Why: an evaluation that cannot be repeated cannot be checked. ``trial.seed`` is there to seed everything with;
            who repeats a trial to average over noise (`repeat`) gives it other seeds, and the same number.
        """
        self.must_repeat()
        trial = self.trial(space, tmp_path)
        first = self.evaluated(make_evaluator(), trial, salt=1)
        assert self.evaluated(make_evaluator(), trial, salt=2) == first, "global randomness changes it"
        renumbered = attrs.evolve(trial, number=trial.number + 7)
        assert self.evaluated(make_evaluator(), renumbered) == first, "it is another one under another trial's number"

    @check
    def test_trials_do_not_touch_each_other(self, make_evaluator: Make, space: Space, tmp_path: Path) -> None:
        """A trial gives what it gives alone, whatever was evaluated before it.

        Why: a warm start, a changed template or a counter would make results depend on the order of trials, which
            differs with the number of workers.
        """
        self.must_repeat()
        evaluator = make_evaluator()
        before, trial = (self.trial(space, tmp_path, number) for number in (2, 3))
        alone = self.evaluated(make_evaluator(), trial)
        self.evaluated(evaluator, before)
        assert self.evaluated(evaluator, trial) == alone, "after another trial it gives something else"

    @check
    def test_leaves_the_configuration_alone(self, make_evaluator: Make, space: Space, tmp_path: Path) -> None:
        """It does not change ``trial.params``.

        Why: wrappers (repeat, retry, cache) evaluate the same trial again.
        """
        trial = self.trial(space, tmp_path)
        before = repr(trial)
        self.evaluated(make_evaluator(), trial)
        assert repr(trial) == before

    @check
    def test_leaves_the_process_as_it_was(self, make_evaluator: Make, space: Space, tmp_path: Path) -> None:
        """The current folder and the environment are afterwards what they were before.

        Why: the next trial, the store and the user's program run in the same process.
        """
        before = Path.cwd(), dict(os.environ)
        evaluator, trial = make_evaluator(), self.trial(space, tmp_path)
        try:
            with pinned():
                outcome = evaluator.evaluate(trial)
                if isinstance(outcome, Iterator):
                    list(outcome)
            after = Path.cwd(), dict(os.environ)
        finally:
            os.chdir(before[0])
        assert after[0] == before[0], "it changed the current folder"
        changed = {name for name in before[1].keys() | after[1].keys() if before[1].get(name) != after[1].get(name)}
        assert not changed, f"it changed the environment: {', '.join(sorted(changed))}"

    @check
    def test_makes_its_own_workdir(self, make_evaluator: Make, space: Space, tmp_path: Path) -> None:
        """It works where ``trial.workdir`` is a folder that is not there yet.

        Why: the core names the folder and makes none, as most evaluators need none.
        """
        trial = attrs.evolve(self.trial(space, tmp_path), workdir=tmp_path / "not" / "yet")
        self.evaluated(make_evaluator(), trial)

    @check
    def test_works_without_a_workdir(self, make_evaluator: Make, space: Space, tmp_path: Path) -> None:
        """It works where ``trial.workdir`` is None.

        Why: a store in memory has no place on disk.
        """
        self.evaluated(make_evaluator(), attrs.evolve(self.trial(space, tmp_path), workdir=None))

    @check
    def test_evaluates_after_a_journey(self, make_evaluator: Make, space: Space, tmp_path: Path) -> None:
        """A copy of it that went through pickle gives the same values, also when it was in use before.

        Why: with several workers it travels to their processes, data and all.
        """
        evaluator, trial = make_evaluator(), self.trial(space, tmp_path)
        outcome = self.evaluated(evaluator, trial)
        copy = travelled(evaluator)
        arrived = self.evaluated(copy, trial)
        assert arrived == outcome or not self.repeatable

    # --- stopped, and taken up again --------------------------------------------------------------------

    @check
    def test_can_be_closed_midway(self, make_evaluator: Make, space: Space, tmp_path: Path) -> None:
        """Closed after its first report, it ends at once and without an error.

        Why: this is how a rule stops a trial; what goes on after that uses a machine for nothing.
        """
        running = self.start(make_evaluator(), self.trial(space, tmp_path))
        if isinstance(running, Iterator):
            for _ in running:
                break
            running.close()  # type: ignore[attr-defined] # a RuntimeError here: it went on to yield
            assert next(running, None) is None, "it goes on reporting after it was closed"

    @check
    def test_works_after_it_was_closed(self, make_evaluator: Make, space: Space, tmp_path: Path) -> None:
        """After a trial was closed midway, the next one gives what it gives alone.

        Why: locks, counters and half-trained models of a stopped trial must not reach the next.
        """
        evaluator, other, trial = make_evaluator(), *(self.trial(space, tmp_path, number) for number in (4, 5))
        alone = self.evaluated(make_evaluator(), trial)
        running = self.start(evaluator, other)
        if isinstance(running, Iterator):
            with contextlib.suppress(StopIteration, RuntimeError), pinned():
                next(running)
                running.close()  # type: ignore[attr-defined] # generators have it, others are left alone
        arrived = self.evaluated(evaluator, trial)
        assert arrived == alone or not self.repeatable, "after a trial that was closed it gives something else"

    @check
    def test_resumes_where_it_was(self, make_evaluator: Make, space: Space, tmp_path: Path) -> None:
        """If it is ``resumable``: closed after two reports, it goes on behind step ``resume_step`` to the same end.

        Why: a promoted trial would otherwise pay for its first steps again, or end elsewhere than an uninterrupted one.
        """
        whole = self._whole(make_evaluator, space, tmp_path)
        trial = self.trial(space, tmp_path / "parts")
        running: Any = self.start(make_evaluator(), trial)
        with pinned():
            known = [next(running) for _ in range(2)]
        running.close()
        last = known[-1].step
        rest = self.evaluated(make_evaluator(), attrs.evolve(trial, resume_step=last, reports=known))
        assert rest.reports, "it reports nothing after it was taken up again"
        assert rest.reports[0][0] > last, f"it begins again with step {rest.reports[0][0]}"
        assert rest.reports[-1] == whole.reports[-1] or not self.repeatable, "it ends elsewhere"
        assert rest.values == whole.values or not self.repeatable, "it ends elsewhere"

    @check
    def test_resumes_without_its_checkpoint(self, make_evaluator: Make, space: Space, tmp_path: Path) -> None:
        """If it is ``resumable``: where ``trial.workdir`` is None or empty, it still goes on behind ``resume_step``.

        Why: a store may have no place on disk, and a folder may be lost with its machine. It has to train those steps
            again; a step that is reported again ends the trial.
        """
        whole = self._whole(make_evaluator, space, tmp_path, 4)
        trial = self.trial(space, tmp_path / "parts")
        running: Any = self.start(make_evaluator(), trial)
        with pinned():
            known = [next(running) for _ in range(2)]
        running.close()
        for workdir in (None, tmp_path / "empty"):
            taken = attrs.evolve(trial, workdir=workdir, resume_step=known[-1].step, reports=known)
            self._goes_on(self.evaluated(make_evaluator(), taken), whole, 2)

    @check
    def test_resumes_where_its_checkpoint_is_ahead(self, make_evaluator: Make, space: Space, tmp_path: Path) -> None:
        """If it is ``resumable``: it goes on behind ``resume_step`` also where its newest checkpoint is a step ahead.

        Why: it was killed before the report was recorded that belongs to the checkpoint. What trains on from there
            has trained a step twice, or its report is missing.
        """
        whole = self._whole(make_evaluator, space, tmp_path, 4)
        trial = self.trial(space, tmp_path / "parts")
        running: Any = self.start(make_evaluator(), trial)
        with pinned():
            known = [next(running) for _ in range(3)][:2]
        folder = shutil.copytree(str(trial.workdir), tmp_path / "killed")
        running.close()
        taken = attrs.evolve(trial, workdir=folder, resume_step=known[-1].step, reports=known)
        self._goes_on(self.evaluated(make_evaluator(), taken), whole, 2)

    def _whole(self, make_evaluator: Make, space: Space, folder: Path, reports: int = 0) -> Outcome:
        """What comes of a trial that nothing interrupts; skips where it cannot be resumed, or reports less often."""
        if not getattr(make_evaluator(), "resumable", False):
            pytest.skip("this evaluator is not resumable")
        whole = self.evaluated(make_evaluator(), self.trial(space, folder / "whole"))
        if len(whole.reports) < reports:
            pytest.skip(f"it reports less than {reports} times")
        return whole

    def _goes_on(self, rest: Outcome, whole: Outcome, known: int) -> None:
        """See that the reports behind the first ``known`` are those of the whole trial, and so is its end."""
        found, expected = ([step for step, _ in outcome] for outcome in (rest.reports, whole.reports[known:]))
        assert found == expected, f"it reports the steps {found}, not {expected}"
        if self.repeatable:
            assert rest.reports == whole.reports[known:], "it reports other values than without the interruption"
            assert rest.values == whole.values, "it ends elsewhere"
