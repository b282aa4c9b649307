"""Isolate: results, errors and decisions are those of an evaluation in the process of the study; and nesting."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any

import attrs
import cloudpickle
import numpy as np
import pytest

from hpt_core import EvaluationError, Float, Mistake, Params, Pause, Report, Stop, Study, TrialContext, UsageError
from hpt_evaluator_wrap.isolate import IsolateEvaluator

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # a new process cannot import this file

SPACE = {"x": Float(0, 1)}


def run(inner: Any, trials: int = 1, **settings: Any) -> Study:
    evaluator = settings.pop("evaluator", {"use": "isolate", "evaluator": inner})
    study = Study(SPACE, evaluator=evaluator, sampler="random", seed=0, **settings)
    study.run(trials=trials)
    return study


@attrs.define(kw_only=True)
class Pids:
    """Yields the number of its process and how often this process was used."""

    used: int = 0
    evidence = "folds"

    def evaluate(self, trial: TrialContext) -> dict[str, float]:
        self.used += 1
        return {"value": float(os.getpid()), "used": self.used}


def test_each_trial_has_a_process_of_its_own() -> None:
    trials = run(Pids(), trials=3).trials
    assert len({os.getpid(), *(trial.value for trial in trials)}) == 4
    assert [trial.metrics["used"] for trial in trials] == [1, 1, 1]


class Scalar:
    """A number of a foreign library, as a tensor on a GPU is one."""

    shape = ()

    def __float__(self) -> float:
        return 0.5

    def item(self) -> float:
        return 0.5


def curve(params: Params, trial: TrialContext) -> Iterator[Any]:
    yield params["x"]
    yield {"value": np.float32(0.1), "accuracy": np.int64(3), "spread": float("nan")}
    yield 7, 2.0


def with_result(params: Params) -> Generator[float, None, dict[str, float]]:
    yield 1.0
    return {"value": 2.0, "size": 3}


def goes_wrong(params: Params) -> Iterator[float]:
    yield 1.0
    raise OSError("the disk is full")


def diverges(params: Params) -> Iterator[float]:
    yield 1.0
    yield float("nan")


def has_no_memory(params: Params) -> float:
    raise MemoryError("as asked")


def leaves(params: Params) -> None:
    sys.exit(4)


def is_late(params: Params) -> float:
    raise EvaluationError("too slow", kind="timeout", detail="see the log")


def has_a_cause(params: Params) -> Any:
    try:
        return params["lr"]
    except KeyError as err:
        raise EvaluationError("no such option") from err


class WithoutTextError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("as asked")


class ExitingTextError(Exception):
    def __str__(self) -> str:
        raise SystemExit(1)


class TimeoutWithoutTextError(WithoutTextError, EvaluationError):
    pass


def raises_without_text(params: Params) -> float:
    raise WithoutTextError


def exits_in_its_text(params: Params) -> float:
    raise ExitingTextError


def is_late_without_text(params: Params) -> float:
    raise TimeoutWithoutTextError("late", kind="timeout")


def has_foreign_steps(params: Params) -> Iterator[Any]:
    yield np.int64(3), 0.5


RESULTS: dict[str, Callable[..., Any]] = {
    "number": lambda params: params["x"] / 3,
    "int": lambda params: 3,
    "mapping": lambda params: MappingProxyType({"value": 0.1, "size": Decimal("2.5")}),
    "numpy": lambda params: {"value": np.float32(0.1), "n": np.int8(3), "loss": np.array(0.25), "nan": np.nan},
    "tensor": lambda params: Scalar(),
    "infinite": lambda params: float("inf"),
    "huge": lambda params: 10**400,
    "masked": lambda params: np.ma.masked,
    "complex": lambda params: np.complex128(1 + 2j),
    "date": lambda params: np.datetime64("2026-01-01"),
    "names of other types": lambda params: {"value": 1.0, np.int64(3): 1.0, None: 2.0, (1, 2): 3.0},
    "nested in itself": lambda params: (found := {"value": 1.0}, found.update(value=found))[0],  # type: ignore[call-overload]
    "bool": lambda params: np.bool_(True),
    "text": lambda params: "0.5",
    "text of numpy": lambda params: np.array("0.5"),
    "array": lambda params: np.array([0.5]),
    "function": lambda params: lambda: 0.5,
    "none": lambda params: None,
    "without the objective": lambda params: {"loss": 0.5},
    **{f.__name__: f for f in (curve, with_result, goes_wrong, diverges, has_no_memory, leaves, is_late, has_a_cause)},
    **{f.__name__: f for f in (raises_without_text, exits_in_its_text, is_late_without_text, has_foreign_steps)},
}


@pytest.mark.parametrize("name", RESULTS)
def test_a_trial_ends_as_in_the_process_of_the_study(name: str) -> None:
    isolated, plain = run(RESULTS[name]).trials[0], run(None, evaluator=RESULTS[name]).trials[0]
    for field in ("state", "values", "metrics", "reports"):
        assert getattr(isolated, field) == getattr(plain, field), field
    if plain.failure is not None:
        assert isolated.failure is not None
        assert isolated.failure.kind == plain.failure.kind
        if plain.failure.kind != "invalid-value":
            assert (isolated.failure.message, isolated.failure.detail) == (plain.failure.message, plain.failure.detail)


def test_what_is_no_number_is_named() -> None:
    failure = run(lambda params: {"value": 1.0, "note": "done"}).trials[0].failure
    assert failure is not None
    assert failure.message == "The value of 'note' must be a number. Got str 'done'."


def test_several_objectives() -> None:
    trial = run(lambda params: (1.0, params["x"]), objective={"loss": "minimize", "speed": "maximize"}).trials[0]
    assert trial.values == (1.0, trial.params["x"])


def test_what_is_yielded_must_be_a_report() -> None:
    class Wrong:
        def evaluate(self, trial: TrialContext) -> Iterator[float]:
            yield 0.5

    failure = run(Wrong()).trials[0].failure
    assert failure is not None
    assert (failure.kind, failure.message) == (
        "invalid-value",
        "An evaluator must yield Report objects. Got float 0.5.",
    )


@attrs.define(kw_only=True)
class Logged:
    """A curve that logs the steps it trains, its end and what it is told afterwards; it continues after a pause."""

    folder: Path
    resumable = True
    steps = 4

    def evaluate(self, trial: TrialContext) -> Iterator[Report]:
        assert [report.step for report in trial.reports] == list(range(1, trial.resume_step + 1))
        try:
            for step in range(trial.resume_step + 1, self.steps + 1):
                self.log(trial, f"step {step}")
                yield Report(step, trial.params["x"])
        finally:
            self.log(trial, "closed")

    def log(self, trial: TrialContext, text: str) -> None:
        with (self.folder / f"trial-{trial.number}").open("a") as file:
            file.write(f"{text}\n")

    def discard(self, trial: TrialContext) -> None:
        self.log(trial, "discarded")

    def finish(self, trial: TrialContext) -> None:
        self.log(trial, "finished")

    def conclude(self, best: TrialContext) -> dict[str, int]:
        return {"pid": os.getpid()}


class Judge:
    """Ends trial 0 and declares trial 1 complete at step 2; pauses trial 2 at step 2 and resumes it at the end."""

    def judge_trial(self, history: Any, trial: Any) -> Stop | Pause | None:
        if trial.reports[-1].step != 2:
            return None
        decisions: dict[int, Stop | Pause]
        decisions = {0: Stop("bad"), 1: Stop("converged", complete=True), 2: Pause("later")}
        return decisions.get(trial.number)

    def promote(self, history: Any) -> int | None:
        return next((n for n in history.open if history.trials[n].state == "paused"), None) if history.closing else None


def test_a_trial_is_stopped_completed_paused_and_resumed(tmp_path: Path) -> None:
    study = run(Logged(folder=tmp_path), trials=4, stop=[Judge()])
    assert [str(trial.state) for trial in study.trials] == ["stopped", "complete", "complete", "complete"]
    assert [len(trial.reports) for trial in study.trials] == [2, 2, 4, 4]
    logs = [(tmp_path / f"trial-{number}").read_text().splitlines() for number in range(4)]
    two, rest = ["step 1", "step 2", "closed"], ["step 3", "step 4", "closed"]
    assert logs[2:] == [[*two, *rest], [*two[:2], *rest]]
    assert [log[:3] for log in logs[:2]] == [two, two]
    assert [set(log[3:]) for log in logs[:2]] == [{"discarded"}, {"finished"}]  # perhaps more than once
    assert study.ledger.history.notes["conclusion"]["pid"] == os.getpid()


def test_an_error_of_the_cleanup_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def fails_to_clean_up(params: Params) -> Iterator[float]:
        try:
            yield 1.0
            yield 2.0
        finally:
            raise OSError("the disk is full")

    class Never:
        def judge_trial(self, history: Any, trial: Any) -> Stop:
            return Stop("enough")

    assert run(fails_to_clean_up, stop=[Never()]).trials[0].state == "stopped"
    assert "The evaluator failed while its generator was closed." in caplog.text
    assert "OSError: the disk is full" in caplog.text


def test_it_retries_and_repeats_in_new_processes(tmp_path: Path) -> None:
    def at_the_third(params: Params) -> float:
        with (tmp_path / "pids").open("a") as file:
            file.write(f"{os.getpid()}\n")
        if len((tmp_path / "pids").read_text().split()) < 3:
            os._exit(1)
        return 0.5

    isolated = {"use": "isolate", "evaluator": at_the_third}
    trial = run(None, evaluator={"use": "retry", "kinds": ["killed"], "evaluator": isolated}).trials[0]
    assert trial.value == 0.5
    assert len(set((tmp_path / "pids").read_text().split())) == 3

    repeated = run(None, evaluator={"use": "repeat", "times": 2, "evaluator": {"use": "isolate", "evaluator": Pids()}})
    values = [report.value for report in repeated.trials[0].reports]
    assert len({os.getpid(), *values}) == 3


def test_one_process_retries_and_repeats_inside(tmp_path: Path) -> None:
    (tmp_path / "tries").touch()

    def at_the_second(params: Params) -> float:
        with (tmp_path / "tries").open("a+") as file:
            file.write(f"{os.getpid()}\n")
            file.seek(0)
            if len(file.readlines()) < 2:
                raise OSError("busy")
        return 0.5

    assert run({"use": "retry", "evaluator": at_the_second}).trials[0].value == 0.5
    assert len(set((tmp_path / "tries").read_text().split())) == 1
    repeated = run({"use": "repeat", "times": 2, "evaluator": Pids()})
    assert repeated.ledger.history.evidence == "folds"
    assert [report.metrics["used"] for report in repeated.trials[0].reports] == [1, 2]


def test_an_evaluator_that_cannot_be_copied_is_refused_before_the_first_trial() -> None:
    lock = threading.Lock()
    for evaluator, path in (
        ({"use": "isolate", "evaluator": lambda params: lock.locked()}, "evaluator.evaluator"),
        (
            {"use": "retry", "evaluator": {"use": "isolate", "evaluator": lambda params: lock.locked()}},
            "evaluator.evaluator.evaluator",
        ),
    ):
        with pytest.raises(
            UsageError, match=r"Cannot be copied to the process of a trial: TypeError: .*lock"
        ) as caught:
            run(None, evaluator=evaluator)
        assert [mistake.path for mistake in caught.value.mistakes] == [path]


def test_mistakes_of_the_inner_evaluator_have_their_path() -> None:
    class Picky:
        def check(self, space: Any, objectives: Any) -> None:
            raise UsageError(Mistake("evaluator.depth", "Too deep."))

        def evaluate(self, trial: TrialContext) -> float:
            return 0.0

    with pytest.raises(UsageError, match=r"evaluator\.evaluator\.depth: Too deep"):
        run(Picky())


@pytest.mark.parametrize("limit", [0, -1.0, "much"])
def test_an_invalid_limit_is_refused(limit: Any) -> None:
    with pytest.raises(UsageError, match=r"evaluator\.memory_mb"):
        Study(SPACE, evaluator={"use": "isolate", "memory_mb": limit, "evaluator": max})


def test_windows_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(UsageError, match=r"evaluator\.use: .* does not work on Windows"):
        IsolateEvaluator(evaluator=Pids()).check(None, {})  # type: ignore[arg-type] # it does not get so far
