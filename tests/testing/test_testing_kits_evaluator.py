"""The evaluator kit: a correct evaluator passes, and each check is the only one that rejects some wrong evaluator."""

from __future__ import annotations

import math
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from numpy.random import default_rng

from hpt_core import Report, TrialContext, UsageError, option
from hpt_core.testing import EvaluatorKit, examples
from hpt_core.testing.checks import broken_rules

KIT = EvaluatorKit


@attrs.define(kw_only=True)
class Honest:
    """A noisy curve that can resume from a file."""

    steps: int = option(5, ge=1, help="How many steps to train.")
    resumable: bool = attrs.field(default=True, init=False)

    def evaluate(self, trial: TrialContext) -> Iterator[Report]:
        for step in range(self.first(trial), self.steps + 1):
            yield Report(step, self.value(trial, step))
            self.save(trial, step)

    def first(self, trial: TrialContext) -> int:
        return trial.resume_step + 1

    def value(self, trial: TrialContext, step: int) -> float:
        noise = default_rng([trial.seed, step]).normal(0, 0.01)
        return float(trial.params["x"] ** 2 + 1 / step + noise)

    def save(self, trial: TrialContext, step: int) -> None:
        if trial.workdir is not None:
            trial.workdir.mkdir(parents=True, exist_ok=True)
            (trial.workdir / "step").write_text(str(step))


class ReturnsNaN(Honest):
    """Returns NaN at the end."""

    def evaluate(self, trial: TrialContext) -> Any:
        yield from super().evaluate(trial)
        return math.nan if trial.number == 1 else None


class StepTwice(Honest):
    """Reports each of its last steps twice."""

    def evaluate(self, trial: TrialContext) -> Iterator[Report]:
        yield from super().evaluate(trial)
        yield Report(self.steps, self.value(trial, self.steps))


class OneMore(Honest):
    """Reports one step more than it declares."""

    def evaluate(self, trial: TrialContext) -> Iterator[Report]:
        for step in range(self.first(trial), self.steps + 2):
            yield Report(step, self.value(trial, step))


class Epochs(Honest):
    """Declares the unknown evidence `epochs`."""

    evidence = "epochs"


class RefusesEverything(Honest):
    """Rejects a parameter named `rate`."""

    def check(self, space: Any, objectives: Any) -> None:
        if "rate" in space.names:
            raise UsageError("There is no parameter 'rate'.")


class ConcludesWithAModel(Honest):
    """Returns the model itself as its conclusion."""

    def conclude(self, best: TrialContext) -> Any:
        return {"model": object()}


class Unseeded(Honest):
    """Draws from the module `random` without seeding it."""

    def evaluate(self, trial: TrialContext) -> Iterator[Report]:
        offset = random.random()
        yield from (Report(report.step, report.value + offset) for report in super().evaluate(trial))


class WarmStarts(Honest):
    """Starts from the result of the previous trial."""

    def evaluate(self, trial: TrialContext) -> Iterator[Report]:
        seen = self.__dict__.setdefault("seen", set())
        found = list(super().evaluate(trial))
        yield from (Report(r.step, r.value - 0.1 * len(seen - {trial.number})) for r in found)
        seen.add(trial.number)


class AddsAParameter(Honest):
    """Writes a default into the configuration."""

    def evaluate(self, trial: TrialContext) -> Iterator[Report]:
        trial.params.setdefault("epochs", self.steps)
        yield from super().evaluate(trial)


class ChangesTheEnvironment(Honest):
    """Counts its trials in an environment variable."""

    def evaluate(self, trial: TrialContext) -> Iterator[Report]:
        yield from super().evaluate(trial)
        os.environ["HPT_KIT_TRIALS"] += "I"


class ExpectsItsWorkdir(Honest):
    """Writes into a directory that it does not create."""

    def save(self, trial: TrialContext, step: int) -> None:
        if trial.resume_step:
            super().save(trial, step)
        elif trial.workdir is not None:
            (trial.workdir / "step").write_text(str(step))


class NeedsAWorkdir(Honest):
    """Writes into a directory even if there is none."""

    def save(self, trial: TrialContext, step: int) -> None:
        folder: Any = trial.workdir
        if not trial.resume_step:
            folder.mkdir(parents=True, exist_ok=True)


class KeepsAGenerator(Honest):
    """Keeps an object that cannot be pickled once it has been used."""

    def evaluate(self, trial: TrialContext) -> Iterator[Report]:
        self.__dict__["used"] = True
        yield from super().evaluate(trial)

    def __reduce__(self) -> Any:
        if self.__dict__.get("used"):
            raise TypeError("cannot pickle 'generator' object")
        return type(self), ()


class GoesOn(Honest):
    """Catches every exception, `GeneratorExit` included."""

    def evaluate(self, trial: TrialContext) -> Iterator[Report]:
        for step in range(self.first(trial), self.steps + 1):
            try:
                yield Report(step, self.value(trial, step))
            except BaseException:
                if trial.number == 0 and trial.workdir and trial.workdir.parent.name != "parts":
                    yield Report(step, 0.0)
                raise
            self.save(trial, step)


class StaysBusy(Honest):
    """Counts a closed trial as still running."""

    def evaluate(self, trial: TrialContext) -> Iterator[Report]:
        if self.__dict__.get("busy"):
            raise RuntimeError("a trial is running")
        self.__dict__["busy"] = True
        yield from super().evaluate(trial)
        self.__dict__["busy"] = False


class BeginsAnew(Honest):
    """Declares that it is resumable, and starts again with step 1."""

    def evaluate(self, trial: TrialContext) -> Iterator[Report]:
        try:
            yield from super().evaluate(trial)
        except GeneratorExit:
            if trial.workdir is not None:
                (trial.workdir / "closed").touch()
            raise

    def first(self, trial: TrialContext) -> int:
        was_closed = trial.workdir is not None and (trial.workdir / "closed").exists()
        return 1 if was_closed else trial.resume_step + 1


class NeedsItsCheckpoint(Honest):
    """Starts again with step 1 if its checkpoint is gone."""

    def first(self, trial: TrialContext) -> int:
        there = trial.workdir is not None and (trial.workdir / "step").exists()
        return trial.resume_step + 1 if there else 1


class TrustsItsCheckpoint(Honest):
    """Continues after its newest checkpoint, whatever was reported."""

    def evaluate(self, trial: TrialContext) -> Iterator[Report]:
        for step in range(self.first(trial), self.steps + 1):
            self.save(trial, step)
            yield Report(step, self.value(trial, step))

    def first(self, trial: TrialContext) -> int:
        file = None if trial.workdir is None else trial.workdir / "step"
        return int(file.read_text()) + 1 if file and file.exists() and trial.resume_step else trial.resume_step + 1


class DiscardsOnce(Honest):
    """Removes the directory of a trial that is gone, even if it is gone already."""

    def discard(self, trial: TrialContext) -> None:
        if trial.workdir is not None:
            shutil.rmtree(trial.workdir)


@attrs.define(kw_only=True)
class WithoutHelp(Honest):
    """Has an option without a help text."""

    depth: int = attrs.field(default=1)


@attrs.define(kw_only=True)
class NotesItsBirth(Honest):
    """Has an option with a different default each time."""

    born: float = option(factory=lambda: default_rng().random(), help="When it was made.")


class ForgetsItsOptions(Honest):
    """Has other options after it was pickled."""

    def __reduce__(self) -> Any:
        return _with_more_steps, (type(self),)

    def evaluate(self, trial: TrialContext) -> Iterator[Report]:
        return (report for report in super().evaluate(trial) if report.step <= 5)


def _with_more_steps(cls: type[Honest]) -> Honest:
    return cls(steps=6)


WRONG: dict[str, type[Honest]] = {
    "test_gives_a_value_for_each_objective": ReturnsNaN,
    "test_reports_growing_evidence": StepTwice,
    "test_keeps_to_its_steps": OneMore,
    "test_declares_what_its_reports_mean": Epochs,
    "test_accepts_the_space_beforehand": RefusesEverything,
    "test_concludes_with_plain_data": ConcludesWithAModel,
    "test_uses_the_seed_of_the_trial": Unseeded,
    "test_trials_do_not_touch_each_other": WarmStarts,
    "test_leaves_the_configuration_alone": AddsAParameter,
    "test_leaves_the_process_as_it_was": ChangesTheEnvironment,
    "test_makes_its_own_workdir": ExpectsItsWorkdir,
    "test_works_without_a_workdir": NeedsAWorkdir,
    "test_evaluates_after_a_journey": KeepsAGenerator,
    "test_can_be_closed_midway": GoesOn,
    "test_works_after_it_was_closed": StaysBusy,
    "test_discards_one_trial": DiscardsOnce,
    "test_resumes_where_it_was": BeginsAnew,
    "test_resumes_without_its_checkpoint": NeedsItsCheckpoint,
    "test_resumes_where_its_checkpoint_is_ahead": TrustsItsCheckpoint,
    "test_options_have_help": WithoutHelp,
    "test_description_is_stable": NotesItsBirth,
    "test_travels_to_workers": ForgetsItsOptions,
}


def broken(evaluator: type[Honest]) -> dict[str, str]:
    given = {"make_evaluator": evaluator, "make_component": evaluator, "space": examples.FLOATS}
    return broken_rules(KIT, given)


class TestHonest(EvaluatorKit):
    @pytest.fixture
    def make_evaluator(self) -> type[Honest]:
        return Honest


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_evaluator_is_rejected_by_its_check_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPT_KIT_TRIALS", "")  # restored at the end
    assert list(broken(WRONG[name])) == [name]


@attrs.define
class Plain:
    """Returns a number, like the simplest evaluators."""

    def evaluate(self, trial: TrialContext) -> float:
        return float(np.sin(trial.params["x"]))


class TestPlain(EvaluatorKit):
    @pytest.fixture
    def make_evaluator(self) -> type[Plain]:
        return Plain


def test_the_current_directory_is_restored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Moves(Honest):
        """Changes to the work directory and stays there."""

        def evaluate(self, trial: TrialContext) -> Iterator[Report]:
            yield from super().evaluate(trial)
            if trial.workdir:
                os.chdir(trial.workdir)

    monkeypatch.chdir(tmp_path)
    with pytest.raises(AssertionError, match="the evaluator changed the current directory"):
        KIT().test_leaves_the_process_as_it_was(Moves, examples.FLOATS, tmp_path)
    assert Path.cwd() == tmp_path


class OneThread(Honest):
    """Sets the number of threads."""

    def evaluate(self, trial: TrialContext) -> Iterator[Report]:
        os.environ["HPT_KIT_THREADS"] = "1"
        yield from super().evaluate(trial)


def test_a_variable_set_to_a_constant_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HPT_KIT_THREADS", raising=False)
    assert "HPT_KIT_THREADS" in broken(OneThread)["test_leaves_the_process_as_it_was"]
    monkeypatch.delenv("HPT_KIT_THREADS", raising=False)


class Numbered(Honest):
    """Uses the trial number as the seed."""

    def value(self, trial: TrialContext, step: int) -> float:
        return super().value(attrs.evolve(trial, seed=trial.number), step)


def test_the_trial_number_is_not_a_seed() -> None:
    assert list(broken(Numbered)) == ["test_uses_the_seed_of_the_trial"]


class Forgets(Honest):
    """Does not end the process that it trains in when it is closed."""

    def evaluate(self, trial: TrialContext) -> Iterator[Report]:
        process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        stdin = process.stdin
        KEPT.append(stdin)
        yield from super().evaluate(trial)
        assert stdin is not None
        stdin.close()
        process.wait()


KEPT: list[Any] = []


def test_a_process_that_goes_on_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpt_core.testing.evaluator._PATIENCE", 0.2)
    try:
        with pytest.raises(AssertionError, match=r"the process that it started is still running: .*input"):
            KIT().test_can_be_closed_midway(Forgets, examples.FLOATS, tmp_path)
    finally:
        KEPT.pop().close()


class DiscardsAll(Honest):
    """Removes the directories of all trials."""

    def discard(self, trial: TrialContext) -> None:
        if trial.workdir is not None:
            shutil.rmtree(trial.workdir.parent, ignore_errors=True)


def test_the_files_of_another_trial_must_stay(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"discard\(\) changed the files of another trial"):
        KIT().test_discards_one_trial(DiscardsAll, examples.FLOATS, tmp_path)
