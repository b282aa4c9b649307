"""The conformance kit for evaluators."""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import subprocess
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from hpt_core.history.checks import check_report
from hpt_core.loop.notes import plain
from hpt_core.plugins.checks import evidence_problem
from hpt_core.testing.checks import check, pinned
from hpt_core.testing.component import pickled
from hpt_core.testing.evaluator_base import EvaluatorBase, Make, Outcome

if TYPE_CHECKING:
    from hpt_core.components import Evaluator
    from hpt_core.history.trial import Report, TrialContext
    from hpt_core.space.space import Space

__all__ = ["EvaluatorKit"]

_PATIENCE = 2.0


class EvaluatorKit(EvaluatorBase):
    """The checks that every evaluator must pass. Override `make_evaluator`, and `space` if not every space is valid.

    Attributes:
        objectives: The objectives of the study, name -> direction.
        repeatable: Whether the same trial gives the same values, bit for bit. Set it to False where that is impossible
            (another program, some GPU kernels).
    """

    # --- the result -------------------------------------------------------------------------------------

    @check
    def test_gives_a_value_for_each_objective(self, make_evaluator: Make, space: Space, tmp_path: Path) -> None:
        """A complete evaluation gives a finite value for each objective.

        Why: otherwise the trial fails with the kind ``invalid-value``; NaN never reaches a sampler.
        """
        for number in range(2):
            outcome = self.evaluated(make_evaluator(), self.trial(space, tmp_path, number))
            assert outcome.values or outcome.reports, "the evaluator neither reported nor returned a value"

    @check
    def test_reports_growing_evidence(self, make_evaluator: Make, space: Space, tmp_path: Path) -> None:
        """Reports are `Report` objects with finite values; their steps are ints that start at 1 or later and increase.

        Why: rules compare trials at the same step. A trial fails at its first invalid report.
        """
        last = 0
        for report in self.reports(make_evaluator(), self.trial(space, tmp_path)):
            last = check_report(report, last).step

    @check
    def test_keeps_to_its_steps(self, make_evaluator: Make, space: Space, tmp_path: Path) -> None:
        """No report has a step beyond the declared number of ``steps``.

        Why: rules divide that number into rungs. Further steps cost time that no rule accounts for.
        """
        evaluator: Any = make_evaluator()
        steps = getattr(evaluator, "steps", None)
        found = [report.step for report in self.reports(evaluator, self.trial(space, tmp_path))]
        assert steps is None or not found or max(found) <= steps, (
            f"it declares {steps} steps and reports step {max(found)}"
        )

    @check
    def test_declares_what_its_reports_mean(self, make_evaluator: Make) -> None:
        """``evidence`` is "curve" or "folds", ``steps`` a positive int or None, ``resumable`` a bool.

        Why: they determine how the reports of a stopped trial become its value, and which rules may act.
        """
        problem = evidence_problem(make_evaluator())
        assert not problem, problem

    @check
    def test_accepts_the_space_beforehand(self, make_evaluator: Make, space: Space) -> None:
        """The optional ``check(space, objectives)`` accepts a space that the evaluator can evaluate.

        Why: it is called before the first trial and by `hpt check`. An exception in it ends the run.
        """
        check_space = getattr(make_evaluator(), "check", None)
        if check_space is not None:
            check_space(space, dict(self.objectives))

    @check
    def test_concludes_with_plain_data(self, make_evaluator: Make, space: Space, tmp_path: Path) -> None:
        """The optional ``conclude`` returns a mapping of plain data, or None.

        Why: the mapping is recorded and shown as the study's conclusion.
        """
        conclude = getattr(make_evaluator(), "conclude", None)
        if conclude is not None:
            content = conclude(self.trial(space, tmp_path))
            assert content is None or isinstance(content, Mapping), f"conclude() returned {content!r:.80}"
            plain(content or {})

    # --- the trial is the only input --------------------------------------------------------------------

    @check
    def test_uses_the_seed_of_the_trial(self, make_evaluator: Make, space: Space, tmp_path: Path) -> None:
        """The same configuration and seed give the same values, whatever the global generators and the trial number.

        Why: an evaluation that cannot be repeated cannot be verified. All randomness must come from ``trial.seed``. The
            evaluator `repeat` averages over noise by evaluating a trial with other seeds and the same number.
        """
        self.must_repeat()
        trial = self.trial(space, tmp_path)
        first = self.evaluated(make_evaluator(), trial, salt=1)
        assert self.evaluated(make_evaluator(), trial, salt=2) == first, (
            "with other global random state the result is different"
        )
        renumbered = attrs.evolve(trial, number=trial.number + 7)
        assert self.evaluated(make_evaluator(), renumbered) == first, (
            "with another trial number the result is different"
        )

    @check
    def test_trials_do_not_touch_each_other(self, make_evaluator: Make, space: Space, tmp_path: Path) -> None:
        """The result of a trial does not depend on the trials that were evaluated before it.

        Why: a warm start, a modified template or a counter makes results depend on the order of trials, which changes
            with the number of workers.
        """
        self.must_repeat()
        evaluator = make_evaluator()
        before, trial = (self.trial(space, tmp_path, number) for number in (2, 3))
        alone = self.evaluated(make_evaluator(), trial)
        self.evaluated(evaluator, before)
        assert self.evaluated(evaluator, trial) == alone, "after another trial the result is different"

    @check
    def test_leaves_the_configuration_alone(self, make_evaluator: Make, space: Space, tmp_path: Path) -> None:
        """An evaluation does not change ``trial.params``.

        Why: wrappers (repeat, retry, cache) evaluate the same trial several times.
        """
        trial = self.trial(space, tmp_path)
        before = repr(trial)
        self.evaluated(make_evaluator(), trial)
        assert repr(trial) == before, f"the trial was {before} and is now {trial!r}"

    @check
    def test_leaves_the_process_as_it_was(self, make_evaluator: Make, space: Space, tmp_path: Path) -> None:
        """An evaluation leaves the current directory and the environment unchanged.

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
        assert after[0] == before[0], "the evaluator changed the current directory"
        changed = {name for name in before[1].keys() | after[1].keys() if before[1].get(name) != after[1].get(name)}
        assert not changed, f"the evaluator changed environment variables: {', '.join(sorted(changed))}"

    @check
    def test_makes_its_own_workdir(self, make_evaluator: Make, space: Space, tmp_path: Path) -> None:
        """The evaluator works if ``trial.workdir`` is a directory that does not exist yet.

        Why: the core names the directory but does not create it, because most evaluators need none.
        """
        trial = attrs.evolve(self.trial(space, tmp_path), workdir=tmp_path / "not" / "yet")
        self.evaluated(make_evaluator(), trial)

    @check
    def test_works_without_a_workdir(self, make_evaluator: Make, space: Space, tmp_path: Path) -> None:
        """The evaluator works if ``trial.workdir`` is None.

        Why: a store in memory has no location on disk.
        """
        self.evaluated(make_evaluator(), attrs.evolve(self.trial(space, tmp_path), workdir=None))

    @check
    def test_evaluates_after_a_journey(self, make_evaluator: Make, space: Space, tmp_path: Path) -> None:
        """A pickled copy of the evaluator gives the same values, even if the evaluator has been used before.

        Why: several workers each get a pickled copy, data included.
        """
        evaluator, trial = make_evaluator(), self.trial(space, tmp_path)
        outcome = self.evaluated(evaluator, trial)
        copied = self.evaluated(pickled(evaluator), trial)
        assert copied == outcome or not self.repeatable, f"the original gives {outcome}, the copy {copied}"

    # --- stopping and resuming --------------------------------------------------------------------------

    @check
    def test_can_be_closed_midway(self, make_evaluator: Make, space: Space, tmp_path: Path) -> None:
        """If the generator is closed after its first report, it ends at once, with its processes and without an error.

        Why: this is how a rule stops a trial. An evaluation that continues wastes a machine.
        """
        running = self.start(make_evaluator(), self.trial(space, tmp_path))
        if isinstance(running, Iterator):
            for _ in running:
                break
            with _no_process_left():
                running.close()  # type: ignore[attr-defined] # raises RuntimeError if the generator yields again
            assert next(running, None) is None, "the evaluator still reports after it was closed"

    @check
    def test_works_after_it_was_closed(self, make_evaluator: Make, space: Space, tmp_path: Path) -> None:
        """The result of a trial does not change if the trial before it was closed midway.

        Why: locks, counters and half-trained models of a stopped trial must not affect the next one.
        """
        evaluator, other, trial = make_evaluator(), *(self.trial(space, tmp_path, number) for number in (4, 5))
        alone = self.evaluated(make_evaluator(), trial)
        self._first_reports(evaluator, other, 1)
        found = self.evaluated(evaluator, trial)
        assert found == alone or not self.repeatable, "after a closed trial the result is different"

    @check
    def test_discards_one_trial(self, make_evaluator: Make, space: Space, tmp_path: Path) -> None:
        """The optional ``discard`` may be called twice, also without a work directory, and touches no other trial.

        Why: each run calls it for all trials that were stopped or failed so far. Paused trials still need their files.
        """
        evaluator: Any = make_evaluator()
        if getattr(evaluator, "discard", None) is None:
            pytest.skip("this evaluator has no `discard`")
        paused, stopped = (self.trial(space, tmp_path, number) for number in (6, 7))
        for trial in (paused, stopped):
            self._first_reports(evaluator, trial, 1)
        before = _files(paused.workdir)
        for trial in (stopped, stopped, attrs.evolve(stopped, workdir=None)):
            evaluator.discard(trial)
        assert _files(paused.workdir) == before, "discard() changed the files of another trial"

    @check
    def test_resumes_where_it_was(self, make_evaluator: Make, space: Space, tmp_path: Path) -> None:
        """A ``resumable`` evaluator closed after two reports continues after ``resume_step`` to the same result.

        Why: otherwise a promoted trial pays for its first steps again, or ends with another result than an
            uninterrupted one.
        """
        whole = self._whole(make_evaluator, space, tmp_path)
        trial = self.trial(space, tmp_path / "parts")
        known = self._first_reports(make_evaluator(), trial, 2)
        assert len(known) == 2, "the kit needs two reports to resume from; give the evaluator options for more"
        self._continues(make_evaluator(), trial, known, whole)

    @check
    def test_resumes_without_its_checkpoint(self, make_evaluator: Make, space: Space, tmp_path: Path) -> None:
        """A ``resumable`` evaluator continues after ``resume_step`` even if ``trial.workdir`` is None or empty.

        Why: a store may have no location on disk, and a directory may be lost with its machine. The evaluator must then
            repeat those steps without reporting them: a step that is reported twice ends the trial.
        """
        whole = self._whole(make_evaluator, space, tmp_path, 4)
        trial = self.trial(space, tmp_path / "parts")
        known = self._first_reports(make_evaluator(), trial, 2)
        for workdir in (None, tmp_path / "empty"):
            self._continues(make_evaluator(), attrs.evolve(trial, workdir=workdir), known, whole)

    @check
    def test_resumes_where_its_checkpoint_is_ahead(self, make_evaluator: Make, space: Space, tmp_path: Path) -> None:
        """A ``resumable`` evaluator continues after ``resume_step`` even if its newest checkpoint is one step ahead.

        Why: a worker may be killed after it wrote a checkpoint and before the report of that step was recorded. An
            evaluator that continues from that checkpoint trains a step twice, or its report is missing.
        """
        whole = self._whole(make_evaluator, space, tmp_path, 4)
        trial = self.trial(space, tmp_path / "parts")
        running: Any = self.start(make_evaluator(), trial)
        with pinned():
            known = [next(running) for _ in range(3)][:2]
        folder = shutil.copytree(str(trial.workdir), tmp_path / "killed")
        running.close()
        self._continues(make_evaluator(), attrs.evolve(trial, workdir=folder), known, whole)

    def _whole(self, make_evaluator: Make, space: Space, folder: Path, reports: int = 0) -> Outcome:
        """The outcome of an uninterrupted trial; skips the check if it cannot be resumed or has too few reports."""
        if not getattr(make_evaluator(), "resumable", False):
            pytest.skip("this evaluator is not resumable")
        whole = self.evaluated(make_evaluator(), self.trial(space, folder / "whole"))
        if len(whole.reports) < reports:
            pytest.skip(f"this evaluator reports fewer than {reports} times")
        return whole

    def _continues(self, evaluator: Evaluator, trial: TrialContext, known: list[Report], whole: Outcome) -> None:
        """Check that a trial that is resumed after the reports ``known`` continues like the uninterrupted one."""
        rest = self.evaluated(evaluator, attrs.evolve(trial, resume_step=known[-1].step, reports=known))
        later = whole.reports[len(known) :]
        found, expected = ([step for step, _ in reports] for reports in (rest.reports, later))
        assert found == expected, f"the resumed trial reports the steps {found}, expected {expected}"
        if self.repeatable:
            assert rest.reports == later, f"the resumed trial reports {rest.reports}, the uninterrupted one {later}"
            assert rest.values == whole.values, f"the resumed trial gives {rest.values}, expected {whole.values}"


@contextlib.contextmanager
def _no_process_left() -> Iterator[None]:
    """Check that no subprocess that is given up inside the context continues to run."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        yield
        gc.collect()
    for process in (warning.source for warning in caught if isinstance(warning.source, subprocess.Popen)):
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            pytest.fail(f"the process that it started is still running: {process.args!r:.80}")


def _files(folder: Path | None) -> list[str] | None:
    return None if folder is None or not folder.exists() else sorted(str(path) for path in folder.rglob("*"))
