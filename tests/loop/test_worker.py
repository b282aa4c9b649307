"""The worker loop in one process: what evaluators do, how trials end, which hooks are called."""

from __future__ import annotations

import builtins
import contextlib
import itertools
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Never

import pytest

import hpt_core
from hpt_core import (
    EvaluationError,
    Failure,
    Float,
    History,
    NothingSucceededError,
    Params,
    Pause,
    PluginError,
    Record,
    Report,
    Space,
    State,
    Stop,
    StoreError,
    Study,
    Trial,
    TrialContext,
    UsageError,
    hookimpl,
    liveness,
)
from hpt_core.builtin.function import FunctionEvaluator
from hpt_core.builtin.memory import MemoryStore
from hpt_core.history import events
from hpt_core.history.failures import failure_of
from hpt_core.importing import error_with_place
from hpt_core.loop.worker import Worker, _warns_of_asked
from hpt_core.plugins.plugins import Plugins
from hpt_core.tracebacks import CORE_FOLDER, without_leading

if TYPE_CHECKING:
    from numpy.random import Generator


class Uniform:
    def suggest(self, history: History, rng: Generator) -> Params:
        return history.space.sample(rng)


def study_of(**given: Any) -> Study:
    defaults: dict[str, Any] = {"space": {"x": Float(0, 1)}, "sampler": Uniform(), "seed": 2}
    return Study(**(defaults | given))


def run_one(evaluate: Any, **given: Any) -> Trial:
    """Run a trial with ``evaluate``, followed by one that completes."""
    study = study_of(**given)
    calls = iter([evaluate, lambda _: 1.0])

    def call_next(params: Params) -> Any:
        return next(calls)(params)

    study.run(call_next, trials=2)
    assert study.trials[1].state is State.COMPLETE
    return study.trials[0]


# --- what evaluators raise ------------------------------------------------------------------------


def recurse() -> Never:
    recurse()
    raise AssertionError


class UnspeakableError(Exception):
    def __str__(self) -> Never:
        raise RuntimeError("no")

    __repr__ = __str__


class ExitingError(Exception):
    def __str__(self) -> Never:
        raise SystemExit(1)


class InterruptingError(Exception):
    def __str__(self) -> Never:
        raise KeyboardInterrupt


class UnspeakableResultError(EvaluationError):
    def __str__(self) -> Never:
        raise RuntimeError("no")


def makeable(cls: type[BaseException]) -> BaseException:
    arguments: dict[str, tuple[Any, ...]] = {
        "UnicodeDecodeError": ("utf-8", b"\xff", 0, 1, "bad"),
        "UnicodeEncodeError": ("utf-8", "\udcff", 0, 1, "bad"),
        "UnicodeTranslateError": ("\udcff", 0, 1, "bad"),
        "BaseExceptionGroup": ("several", [KeyboardInterrupt()]),
        "ExceptionGroup": ("several", [ValueError("one"), TypeError("two")]),
    }
    return cls(*arguments.get(cls.__name__, ("said so",)))


BUILTIN = sorted(
    {
        value
        for value in vars(builtins).values()
        if isinstance(value, type) and issubclass(value, BaseException) and value is not KeyboardInterrupt
    },
    key=lambda cls: cls.__name__,
)
RAISED = [
    *map(makeable, BUILTIN),
    UnspeakableError(),
    ExitingError(),
    InterruptingError(),
    UnspeakableResultError("x", kind="error"),
    ValueError("\udcff\0"),
    StoreError("of a study within the trial"),
]


@pytest.mark.parametrize("error", RAISED, ids=lambda err: type(err).__name__)
def test_any_exception_of_an_evaluator_fails_only_its_trial(error: BaseException) -> None:
    def fail(params: Params) -> Never:
        raise error

    failure = run_one(fail).failure
    assert failure is not None
    assert failure.kind == ("out-of-memory" if isinstance(error, MemoryError) else "error")
    if type(error).__module__ == "builtins":
        assert failure.message == f"{type(error).__name__}: {error}"
        assert "raise error" in failure.detail


@pytest.mark.parametrize("error", RAISED, ids=lambda err: type(err).__name__)
def test_a_generator_may_raise_as_well(error: BaseException) -> None:
    def fail(params: Params, trial: TrialContext) -> Iterator[float]:
        yield 1.0
        if trial.number == 0:
            raise error

    study = study_of()
    study.run(FunctionEvaluator(call=fail), trials=2)
    assert [t.state for t in study.trials] == [State.FAILED, State.COMPLETE]
    assert [r.value for r in study.trials[0].reports] == [1.0]
    assert study.trials[0].values is None


def test_a_recursion_error_is_a_failure() -> None:
    failure = run_one(lambda _: recurse()).failure
    assert failure is not None
    assert failure.message.startswith("RecursionError")
    assert len(failure.detail) <= 65536


def test_the_traceback_begins_in_the_evaluator() -> None:
    def fail(params: Params) -> Never:
        raise ValueError("here")

    failure = run_one(fail).failure
    assert failure is not None
    assert "test_worker.py" in failure.detail
    assert "hpt_core" not in failure.detail
    assert "pluggy" not in failure.detail


EVALUATOR = """
from hpt_core import EvaluationError

class Evaluator:
    def evaluate(self, trial):
        try:
            return {}["absent"]
        except KeyError as err:
            if trial.number:
                raise
            raise EvaluationError("no result") from err
"""


def test_the_author_of_an_evaluator_sees_its_frames_and_none_of_hpt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "author_of_an_evaluator"
    package.mkdir()
    (package / "__init__.py").write_text(EVALUATOR, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    study = study_of(evaluator={"use": "author_of_an_evaluator:Evaluator"})
    study.run(trials=2)
    for trial in study.trials:
        assert trial.failure is not None
        assert trial.failure.detail.count(str(package)) == (1 if trial.number else 2)
        assert CORE_FOLDER not in trial.failure.detail
        assert "pluggy" not in trial.failure.detail


def test_code_beside_the_core_whose_name_begins_with_its_name_keeps_its_frames() -> None:
    file = f"{Path(hpt_core.__file__).parent}_more.py"
    scope: dict[str, Any] = {}
    exec(compile("def fail(params):\n    raise ValueError('here')\n", file, "exec"), scope)
    study = study_of()
    study.run(scope["fail"], trials=1)
    failure = study.trials[0].failure
    assert failure is not None
    assert failure.detail.splitlines()[1] == f'  File "{file}", line 2, in fail'
    with pytest.raises(ValueError, match="here") as caught:
        scope["fail"]({})
    assert error_with_place(caught.value) == f"ValueError: here ({file}, line 2)"
    theirs = without_leading(caught.tb.tb_next, (CORE_FOLDER,))
    assert theirs is not None
    assert theirs.tb_frame.f_code.co_filename == file


def test_an_evaluator_may_give_the_kind_of_failure() -> None:
    def fail(params: Params) -> Never:
        raise EvaluationError("the model took too long", kind="timeout", detail="epoch 3")

    assert run_one(fail).failure == Failure("timeout", "the model took too long", "epoch 3")


@pytest.mark.parametrize("kind", ["splendid", "", None])
def test_an_unknown_kind_of_failure_becomes_error(kind: Any) -> None:
    assert failure_of(EvaluationError("m", kind=kind)).kind == "error"


@pytest.mark.parametrize("error", [AssertionError(), EvaluationError("")])
def test_a_failure_without_a_message_is_named(error: Exception) -> None:
    assert failure_of(error).message == type(error).__name__


def test_long_messages_are_cut() -> None:
    failure = failure_of(ValueError("x" * 10**6))
    assert len(failure.message) <= 2000
    assert len(failure.detail) <= 65536


def test_ctrl_c_releases_the_trial() -> None:
    answers: Iterator[float | KeyboardInterrupt] = iter([1.0, KeyboardInterrupt()])

    def evaluate(params: Params) -> float:
        answer = next(answers, 2.0)
        if isinstance(answer, float):
            return answer
        raise answer

    study = study_of()
    with pytest.raises(KeyboardInterrupt):
        study.run(evaluate, trials=4)
    assert [t.state for t in study.trials] == [State.COMPLETE, State.WAITING]
    study.run(evaluate, trials=4)
    undisturbed = study_of()
    undisturbed.run(lambda _: 2.0, trials=4)
    assert [t.params for t in study.trials] == [t.params for t in undisturbed.trials]
    assert [t.attempt for t in study.trials] == [1, 2, 1, 1]


def test_ctrl_c_outside_the_evaluation_leaves_no_trial_running() -> None:
    """It may come while a result is written. In a notebook the process lives on, so nobody would recover the trial."""

    class Interrupted(MemoryStore):
        def append(self, study: str, records: Any) -> int:
            if any(record["event"] == "finished" for record in records):
                raise KeyboardInterrupt
            return super().append(study, records)

    study = study_of(store=Interrupted())
    with pytest.raises(KeyboardInterrupt):
        study.run(lambda _: 1.0, trials=4)
    assert [t.state for t in study.trials] == [State.WAITING]


def test_a_store_error_does_not_fail_the_trial() -> None:
    class Full(MemoryStore):
        full = True

        def append(self, study: str, records: Any) -> int:
            if self.full and records[0]["event"] == "reported":
                raise StoreError("The disk is full.")
            return super().append(study, records)

    def evaluate(params: Params) -> Iterator[float]:
        yield 1.0

    store = Full()
    study = study_of(store=store)
    with pytest.raises(StoreError, match="disk is full"):
        study.run(evaluate, trials=2)
    assert [t.state for t in study.trials] == [State.WAITING]
    Full.full = False
    study.run(evaluate, trials=2)
    assert [t.value for t in study.trials] == [1.0, 1.0]


class Failing(MemoryStore):
    """Fails while its ``full`` is set."""

    full = False

    def append(self, study: str, records: Any) -> int:
        if self.full:
            raise StoreError("The disk is full.")
        return super().append(study, records)


class InThisProcess:
    """An executor whose only worker is named like one of the local executor."""

    elsewhere = True

    def run(self, worker: Any, count: int, lost: Any) -> None:
        worker(f"{liveness.this_process()}/1")


@pytest.mark.parametrize("executor", [None, InThisProcess()])
def test_a_trial_whose_end_could_not_be_recorded_is_rerun_by_the_next_run_of_the_same_process(executor: Any) -> None:
    """In a notebook the process lives on, so nobody would recover the trial."""
    store, disk = Failing(), iter([False, True])

    def evaluate(params: Params) -> float:
        store.full = next(disk, False)
        return 1.0

    study = study_of(store=store, executor=executor)
    with pytest.raises(StoreError, match="disk is full"):
        study.run(evaluate, trials=3)
    store.full = False
    assert [t.state for t in study.trials] == [State.COMPLETE, State.RUNNING]
    again = study_of(store=store, executor=executor)
    again.run(evaluate, trials=3)
    assert [(t.state, t.attempt) for t in again.trials] == [(State.COMPLETE, n) for n in (1, 2, 1)]


def test_a_run_leaves_the_trials_of_ask_and_of_runs_in_other_threads_alone() -> None:
    store, calls = MemoryStore(), itertools.count(1)
    study = study_of(store=store)
    asked = study.ask()

    def evaluate(params: Params) -> float:
        call = next(calls)
        if call == 1:
            raise KeyboardInterrupt
        if call == 2:
            with ThreadPoolExecutor(1) as thread:
                thread.submit(study_of(store=store).run, evaluate, trials=3).result()
        return float(call)

    with pytest.raises(KeyboardInterrupt):
        study.run(evaluate, trials=2)
    assert [t.state for t in study.trials] == [State.RUNNING, State.WAITING]
    study.run(evaluate, trials=3)
    study.tell(asked, 9.0)
    assert [(t.value, t.attempt) for t in study.trials] == [(9.0, 1), (2.0, 2), (3.0, 1)]


def test_ctrl_c_in_a_run_leaves_the_trial_of_a_run_in_another_thread_alone() -> None:
    store, here, started, go_on = MemoryStore(), threading.get_ident(), threading.Event(), threading.Event()

    def evaluate(params: Params) -> float:
        if threading.get_ident() == here:
            raise KeyboardInterrupt
        started.set()
        go_on.wait(60)
        return 1.0

    other = study_of(store=store)
    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(other.run, evaluate, trials=1)
        assert started.wait(60)
        try:
            with pytest.raises(KeyboardInterrupt):
                study_of(store=store).run(evaluate, trials=2)
            assert [trial.state for trial in other.trials] == [State.RUNNING, State.WAITING]
        finally:
            go_on.set()
        running.result(60)
    assert [(t.state, t.attempt) for t in other.trials] == [(State.COMPLETE, 1), (State.COMPLETE, 2)]


def test_a_store_error_of_a_study_within_a_trial_fails_only_that_trial() -> None:
    class Damaged(MemoryStore):
        def append(self, study: str, records: Any) -> int:
            raise StoreError("The inner store is damaged.")

    def evaluate(params: Params, trial: TrialContext) -> float:
        inner = study_of(store=Damaged() if trial.number == 0 else MemoryStore())
        inner.run(lambda own: own["x"], trials=3)
        return float(len(inner.trials))

    study = study_of()
    study.run(evaluate, trials=2)
    assert [t.state for t in study.trials] == [State.FAILED, State.COMPLETE]
    failure = study.trials[0].failure
    assert failure is not None
    assert failure.message == "StoreError: The inner store is damaged."
    assert "test_worker.py" in failure.detail.splitlines()[1]  # as of any exception, only the frames of the user


def test_a_study_ends_if_its_own_store_fails_within_a_trial() -> None:
    class Full(MemoryStore):
        full = False

        def append(self, study: str, records: Any) -> int:
            if self.full:
                raise StoreError("The disk is full.")
            return super().append(study, records)

    def evaluate(params: Params) -> Never:
        store.full = True
        study_of(store=store, name="inner").ask()
        raise AssertionError

    store = Full()
    study = study_of(store=store)
    with pytest.raises(StoreError, match="disk is full"):
        study.run(evaluate, trials=2)
    store.full = False
    assert [t.state for t in study.trials] == [State.RUNNING]  # no end was recorded, so the next process reruns it


def test_a_plugin_error_of_an_evaluator_ends_the_run() -> None:
    """So that an evaluator can end it; `SearchCV` does, for ``error_score="raise"``."""

    def evaluate(params: Params) -> Never:
        raise PluginError("give up")

    study = study_of()
    with pytest.raises(PluginError, match="give up"):
        study.run(evaluate, trials=2)
    assert [t.state for t in study.trials] == [State.WAITING]


# --- generators -----------------------------------------------------------------------------------


def yielding(*items: Any, result: Any = None) -> Callable[[Params], Any]:
    def evaluate(params: Params) -> Any:
        yield from items
        return result

    return evaluate


@pytest.mark.parametrize(
    ("evaluate", "evidence", "values"),
    [
        (yielding(3.0, 1.0, 2.0), "curve", (2.0,)),
        (yielding(3.0, 1.0, 2.0), "folds", (2.0,)),
        (yielding(3.0, 1.0, 5.0), "folds", (3.0,)),
        (yielding(3.0, result=7.0), "curve", (7.0,)),
        (yielding(3.0, result={"value": 7.0, "extra": 1.0}), "folds", (7.0,)),
        (yielding(result=7.0), "curve", (7.0,)),
    ],
)
def test_a_generator_yields_reports_and_returns_a_result(
    evaluate: Any, evidence: Any, values: tuple[float, ...]
) -> None:
    study = study_of()
    study.run(FunctionEvaluator(call=evaluate, evidence=evidence), trials=1)
    assert study.trials[0].values == values


@pytest.mark.parametrize(
    ("evaluate", "message"),
    [
        (yielding(), "neither reported nor returned a value"),
        (yielding(1.0, result="good"), "must be a number. Got str"),
        (yielding(1.0, None), "The value reported at step 2 must be a number"),
        (yielding((0, 1.0)), "The step of a report must be an int from 1 on. Got int 0"),
        (yielding((2, 1.0), (1, 1.0)), "The step of a report must be an int above the last one (2)"),
        (yielding(1.0, "x"), "The value reported at step 2 must be a number"),
        (yielding({"step": "a", "value": 1.0}), "The step of a report must be"),
        (yielding({"other": 1.0}), "The report lacks the objective 'value'. Got ['other']"),
        (yielding((1, 2, 3)), "must be a number. Got tuple"),
    ],
)
def test_a_generator_that_breaks_the_rules_fails_its_trial(evaluate: Any, message: str) -> None:
    failure = run_one(evaluate).failure
    assert failure is not None
    assert failure.kind == "invalid-value"
    assert message in failure.message


def test_several_objectives_may_be_reported() -> None:
    study = study_of(objective={"a": "minimize", "b": "maximize"})
    reports = (Report(1, 1.0, {"b": 2.0}), Report(2, 3.0, {"b": 6.0}))
    study.run(FunctionEvaluator(call=yielding(*reports), evidence="folds"), trials=1)
    assert study.trials[0].values == (2.0, 4.0)
    incomplete = study_of(objective={"a": "minimize", "b": "maximize"})
    incomplete.run(yielding(1.0), trials=1)
    assert incomplete.trials[0].failure is not None
    assert incomplete.trials[0].failure.kind == "invalid-value"


@pytest.mark.parametrize(("evidence", "acc"), [("curve", 0.8), ("folds", 0.7)])
def test_reported_metrics_become_metrics_of_the_trial(evidence: Any, acc: float) -> None:
    study = study_of()
    items = ({"value": 2.0, "acc": 0.6, "first": 1.0}, {"value": 1.0, "acc": 0.8})
    study.run(FunctionEvaluator(call=yielding(*items), evidence=evidence), trials=1)
    assert study.trials[0].metrics == {"acc": pytest.approx(acc)}


class StopAt:
    """Stops or pauses each trial at its second report."""

    def __init__(self, decision: Any) -> None:
        self.decision = decision

    def judge_trial(self, history: History, trial: Trial) -> Any:
        return self.decision if len(trial.reports) == 2 else None


@pytest.mark.parametrize(("decision", "state"), [(Stop("low"), State.STOPPED), (Pause("low"), State.PAUSED)])
def test_a_stopped_generator_is_closed(decision: object, state: State) -> None:
    closed = []

    def evaluate(params: Params) -> Iterator[float]:
        try:
            while True:
                yield 1.0
        finally:
            closed.append(params["x"])

    study = study_of(stop=StopAt(decision))
    study.run(evaluate, trials=3)
    assert [t.state for t in study.trials] == [state] * 3
    assert [len(t.reports) for t in study.trials] == [2] * 3
    assert closed == [t.params["x"] for t in study.trials]


@pytest.mark.parametrize("error", [ValueError("in the end"), SystemExit(1), GeneratorExit()], ids=repr)
def test_an_error_while_a_generator_is_closed_changes_nothing(error: BaseException) -> None:
    def evaluate(params: Params) -> Iterator[float]:
        try:
            while True:
                yield 1.0
        finally:
            raise error

    study = study_of(stop=StopAt(Stop("low")))
    study.run(evaluate, trials=2)
    assert [t.state for t in study.trials] == [State.STOPPED] * 2


def test_a_generator_that_ignores_close_changes_nothing() -> None:
    def evaluate(params: Params) -> Iterator[float]:
        try:
            yield from (1.0, 1.0)
        except GeneratorExit:
            yield 9.0

    study = study_of(stop=StopAt(Stop("low")))
    study.run(evaluate, trials=2)
    assert [t.state for t in study.trials] == [State.STOPPED] * 2


class EveryThird:
    """An evaluator whose iterator is not a generator."""

    evidence, steps, resumable = "curve", 3, True

    def evaluate(self, trial: TrialContext) -> Iterator[Report]:
        return iter([Report(3, 1.0), Report(6, 0.5)])


def test_an_evaluator_needs_no_base_class() -> None:
    study = study_of(evaluator=EveryThird())
    study.run(trials=1)
    assert [r.step for r in study.trials[0].reports] == [3, 6]
    assert study.trials[0].value == 0.5
    assert (study.history.steps, study.history.resumable) == (3, True)


def test_a_resumable_trial_resumes_where_it_paused() -> None:
    class PauseOnce:
        def judge_trial(self, history: History, trial: Trial) -> Pause | None:
            return Pause("once") if trial.attempt == 1 and len(trial.reports) == 2 else None

        def promote(self, history: History) -> int | None:
            paused = (int(i) for i in history.pending if history.trials[i].state is State.PAUSED)
            return None if history.closing else next(paused, None)

    started_at = []

    def evaluate(params: Params, trial: TrialContext) -> Iterator[float]:
        started_at.append(trial.resume_step)
        for step in range(trial.resume_step, 4):
            yield float(step)

    for resumable, steps, starts in ((True, [1, 2, 3, 4], [0, 2]), (False, [1, 2, 3, 4], [0, 0])):
        started_at.clear()
        study = study_of(stop=PauseOnce())
        study.run(FunctionEvaluator(call=evaluate, resumable=resumable), trials=1)
        assert study.trials[0].state is State.PAUSED
        assert study.ask().number == 0
        study.tell(0, Failure("interrupted", "hand it over"))
        study.run(FunctionEvaluator(call=evaluate, resumable=resumable), trials=1)
        assert [r.step for r in study.trials[0].reports] == steps
        assert (study.trials[0].state, started_at) == (State.COMPLETE, starts)


def test_a_trial_that_is_told_from_outside_while_it_runs_is_abandoned() -> None:
    study = study_of()
    steps = []

    def evaluate(params: Params) -> Iterator[float]:
        for step in (1, 2, 3):
            steps.append(step)
            if step == 2:
                study.tell(0, 42.0)
            yield float(step)

    study.run(evaluate, trials=1)
    assert study.trials[0].value == 42.0
    assert steps == [1, 2]


def gives() -> float:
    return 1.0


def raises() -> Never:
    raise ValueError("it is late")


def reports() -> Iterator[Report]:
    yield from (Report(2, 5.0), Report(3, 6.0))


def interrupts() -> Never:
    raise KeyboardInterrupt


def gives_up() -> Never:
    raise PluginError("it gives up")


@pytest.mark.parametrize(
    ("retries", "every", "order"),
    [(0, 10.0, [0]), (1, 10.0, [0, 1]), (1, 0.0, [0, 1, 2])],
    ids=["failed", "at the end", "meanwhile"],
)
def test_the_trials_of_a_dead_process_are_rerun_before_the_study_ends(
    retries: int, every: float, order: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It held trial 1: the last of the budget, or one that others may wait for."""
    monkeypatch.setattr("hpt_core.loop.worker._RECOVER_SECONDS", every)
    dead = f"{liveness.this_process().split(':')[0]}:999999999:1"
    seen = []

    def evaluate(params: Params, trial: TrialContext) -> float:
        seen.append(trial.number)
        if seen == [0]:
            ledger = study.ledger
            ledger.write(events.started(ledger.now(), 1, {"x": 0.5}, dead, 1, ledger.history.position, "", {}))
        return float(params["x"])

    study = study_of(retries=retries)
    study.run(evaluate, trials=max(2, len(order)))
    assert seen == order
    states = [State.COMPLETE if number in order else State.FAILED for number in range(len(study.trials))]
    assert [t.state for t in study.trials] == states


@pytest.mark.parametrize("rest", [gives, raises, reports, interrupts, gives_up])
def test_a_trial_that_another_process_declared_lost_is_abandoned(rest: Callable[[], Any]) -> None:
    study = study_of()

    def evaluate(params: Params) -> Any:
        now = study.ledger.now()
        study.ledger.write(
            events.released(now, 0, 1, "worker-lost"),
            events.started(now, 0, params, "elsewhere:1:1", 2, 0),
            events.reported(now, 0, 2, Report(1, 0.5)),
        )
        return rest()

    with contextlib.suppress(KeyboardInterrupt, PluginError):
        study.run(evaluate, trials=1)
    trial = study.trials[0]
    assert (trial.state, trial.attempt, trial.worker) == (State.RUNNING, 2, "elsewhere:1:1")
    assert [report.value for report in trial.reports] == [0.5]
    late = [r for r in study.store.read("study") if r["event"] == "reported" and r["attempt"] == 1]
    assert len(late) == (rest is reports)  # after the first, its generator is closed


# --- before and after a trial ---------------------------------------------------------------------


class Concluding:
    """Refits the best trial."""

    def __init__(self, said: Any = None) -> None:
        self.concluded: list[TrialContext] = []
        self.said = said

    def evaluate(self, trial: TrialContext) -> float:
        return float(trial.params["x"])

    def check(self, space: Space, objectives: Mapping[str, str]) -> None:
        if "y" in space.names:
            raise UsageError("space.y: there is no such thing")
        assert objectives == {"value": "minimize"}

    def conclude(self, best: TrialContext) -> Any:
        self.concluded.append(best)
        return {"score": best.params["x"]} if self.said is None else self.said


def test_conclude_is_called_once_per_best_trial() -> None:
    evaluator = Concluding()
    study = study_of(evaluator=evaluator)
    winners: list[int] = []
    for budget in (1, 1, 5, 20, 20):
        study.run(trials=budget)
        assert study.best is not None
        winners.append(study.best.number)
        expected = {"trial": study.best.number, "score": study.best.params["x"]}
        assert study.history.notes["conclusion"] == expected
    distinct = sorted(set(winners), key=winners.index)
    assert [c.number for c in evaluator.concluded] == distinct
    assert len(distinct) > 1


@pytest.mark.parametrize("result", [None, {}])
def test_a_conclude_without_a_result_is_also_called_once_per_best_trial(result: Any) -> None:
    class Silent(Concluding):
        def conclude(self, best: TrialContext) -> Any:
            self.concluded.append(best)
            return result

    evaluator = Silent()
    study = study_of(evaluator=evaluator)
    for _ in range(3):
        study.run(trials=5)
    assert study.best is not None
    assert [best.number for best in evaluator.concluded] == [study.best.number]
    assert study.history.notes["conclusion"] == {"trial": study.best.number}


def test_conclude_is_called_again_if_the_study_is_amended() -> None:
    """For example because the evaluator was told to save the winner after it had been found."""
    store = MemoryStore()
    for amend, calls in ((False, 1), (False, 0), (True, 1)):
        evaluator = Concluding()
        Study({"x": Float(0, 1)}, sampler=Uniform(), evaluator=evaluator, store=store, seed=0, amend=amend).run(
            trials=3
        )
        assert len(evaluator.concluded) == calls


def test_conclude_receives_its_last_result() -> None:
    evaluator = Concluding()
    study = study_of(evaluator=evaluator)
    for budget in (1, 1, 5, 20):
        study.run(trials=budget)
    assert len(evaluator.concluded) > 1
    results = [{"trial": best.number, "score": best.params["x"]} for best in evaluator.concluded]
    assert [best.concluded for best in evaluator.concluded] == [{}, *results[:-1]]


def test_a_conclusion_that_is_not_a_mapping_is_an_error_of_the_evaluator() -> None:
    with pytest.raises(PluginError, match=r"conclude\(\) must return a mapping or None\. Got 'good'"):
        study_of(evaluator=Concluding("good")).run(trials=1)


def test_a_failure_with_a_detail_that_is_not_text_fails_only_its_trial() -> None:
    def lost(_: Params) -> Never:
        raise EvaluationError("lost", detail=5)  # type: ignore[arg-type]

    trial = run_one(lost)
    assert trial.failure is not None
    assert trial.failure.detail == "5"


class Keeping:
    """Trial 0 is stopped, 1 fails, 2 pauses, 3 completes. Records each ``discard``, and the close of trial 0."""

    resumable = True

    def __init__(self) -> None:
        self.told: list[str] = []

    def evaluate(self, trial: TrialContext) -> Iterator[Report]:
        try:
            yield Report(1, 1.0)
            if trial.number == 1:
                raise ZeroDivisionError
        finally:
            self.told.append(f"closed {trial.number}")

    def discard(self, trial: TrialContext) -> None:
        self.told.append(f"discard {trial.number}")
        raise OSError("the disk is gone")


class StopThenPause:
    def judge_trial(self, history: History, trial: Trial) -> Stop | Pause | None:
        decisions: dict[int, Stop | Pause] = {0: Stop("enough"), 2: Pause("later")}
        return decisions.get(trial.number)


def test_a_stopped_trial_is_discarded_after_its_generator_is_closed(caplog: pytest.LogCaptureFixture) -> None:
    evaluator = Keeping()
    study = study_of(evaluator=evaluator, stop=StopThenPause())
    study.run(trials=4)
    assert [t.state for t in study.trials] == [State.STOPPED, State.FAILED, State.PAUSED, State.COMPLETE]
    assert evaluator.told[:6] == ["closed 0", "discard 0", "closed 1", "discard 1", "closed 2", "closed 3"]
    assert set(evaluator.told[6:]) == {"discard 0", "discard 1"}
    assert "failed to discard trial 0" in caplog.text


def test_the_next_run_discards_the_files_of_a_killed_process() -> None:
    evaluator = Keeping()
    study = study_of(evaluator=evaluator)
    study.tell(study.ask(), Failure("error", "and then the process was killed"))
    study.tell(study.ask(), 1.0)
    study.run(trials=2)
    assert evaluator.told == ["discard 0"]


class Flaky(MemoryStore):
    """A store that fails to write the first heartbeat."""

    def __init__(self) -> None:
        super().__init__()
        self.beats = 0
        self.beaten = threading.Event()

    def append(self, study: str, records: Sequence[Record]) -> int:
        if records[0]["event"] == "heartbeat":
            self.beats += 1
            if self.beats == 1:
                raise StoreError("The disk is full.")
            self.beaten.set()
        return super().append(study, records)


def test_heartbeats_continue_after_one_fails(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(liveness, "LEASE_SECONDS", 0.02)
    store = Flaky()
    study_of(store=store).run(lambda _: float(store.beaten.wait(30)), trials=1)
    assert store.beaten.is_set()
    assert "Could not write a heartbeat: The disk is full." in caplog.text


def test_a_system_without_a_thread_left_is_named_with_a_remedy() -> None:
    study, before = study_of(), threading.stack_size(1 << 46)  # more than any system has
    try:
        with pytest.raises(UsageError, match=r"needs a thread: can't start new thread\. Raise the limit"):
            study.run(lambda _: 0.0, trials=1)
    finally:
        threading.stack_size(before)
    study.run(lambda _: 0.0, trials=1)
    assert study.best is not None


def test_check_raises_before_the_first_trial() -> None:
    study = study_of(space={"y": Float(0, 1)}, evaluator=Concluding())
    with pytest.raises(UsageError, match="there is no such thing"):
        study.run(trials=1)
    assert not study.trials


class Watcher:
    """An observer that reads the study."""

    def __init__(self, study: Callable[[], Study]) -> None:
        self.study = study
        self.saw: list[tuple[Any, ...]] = []

    @hookimpl
    def hpt_study_started(self, study: Study) -> None:
        self.saw.append(("study",))

    @hookimpl
    def hpt_trial_started(self, study: Study, trial: Trial) -> None:
        self.saw.append(("started", trial.number, len(study.trials)))

    @hookimpl
    def hpt_trial_reported(self, study: Study, trial: Trial) -> None:
        self.saw.append(("reported", trial.number, trial.reports[-1].value, study.best and study.best.number))

    @hookimpl
    def hpt_trial_finished(self, study: Study, trial: Trial) -> None:
        self.saw.append(("finished", trial.number, trial.state.value, len(study.history.complete)))

    @hookimpl
    def hpt_study_finished(self, study: Study, reason: str) -> None:
        self.saw.append(("end", reason))


def test_observers_are_called_in_order_and_may_read_the_study() -> None:
    plugins = Plugins()
    study = study_of(plugins=plugins)
    watcher = Watcher(lambda: study)
    plugins.register(watcher)
    study.run(yielding(1.0, 2.0), trials=2)
    assert watcher.saw == [
        *[("study",), ("started", 0, 1), ("reported", 0, 1.0, None), ("reported", 0, 2.0, None)],
        *[("finished", 0, "complete", 1), ("started", 1, 2), ("reported", 1, 1.0, 0), ("reported", 1, 2.0, 0)],
        *[("finished", 1, "complete", 2), ("end", "all 2 trials were started")],
    ]


def test_an_observer_is_told_which_error_ended_a_run() -> None:
    plugins = Plugins()
    study = study_of(plugins=plugins)
    watcher = Watcher(lambda: study)
    plugins.register(watcher)
    with pytest.raises(NothingSucceededError):
        study.run(lambda _: 1 / 0, trials=9)
    what, reason = watcher.saw[-1]
    assert what == "end"
    assert reason.startswith("NothingSucceededError: the first 3 trials of this run all failed in the same way (error)")


def test_the_history_does_not_change_while_trials_that_ask_started_are_looked_for() -> None:
    """The heartbeat thread replays what other processes wrote."""
    study, free = study_of(), []
    asked = study.ask()

    class Name(str):
        __slots__ = ()

        def __eq__(self, other: object) -> bool:
            with ThreadPoolExecutor(1) as heartbeat:
                free.append(heartbeat.submit(study.ledger.mutex.acquire, blocking=False).result())
            return str(self) == other

        __hash__ = str.__hash__

    assert _warns_of_asked(study, Name(asked.worker))
    assert free == [False]


def test_a_long_wait_takes_the_lock_rarely_and_ends_promptly(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reproducible study with two workers, of which the other one runs a trial for a minute."""
    study = study_of(reproducible=True)
    study.workers = 2
    other = study.decisions.claim("h:1:1", None)
    assert isinstance(other, Trial)
    now, naps = 0.0, list[float]()

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds
        naps.append(seconds)
        if now > 60 and other.state is State.RUNNING:
            study.decisions.complete(other, [1.0], {})

    monkeypatch.setattr("hpt_core.loop.worker.time.sleep", sleep)
    study.evaluator = study.plugins.make("evaluator", lambda _: 1.0)
    Worker(study, 3)("me")
    assert len(study.trials) == 3
    assert len(naps) < 300  # short naps only would be a hundred per second
    assert all(nap <= 0.01 + 0.11 * sum(naps[:i]) for i, nap in enumerate(naps))
    assert max(naps) <= 0.25


def test_reading_the_study_in_an_observer_does_not_disturb_the_replay() -> None:
    """With ``reuse`` two records are written at once. Neither may be replayed twice if an observer reads the study."""

    class Constant:
        def suggest(self, history: History, rng: Generator) -> Params:
            return {"x": 0.5}

    plugins, store = Plugins(), MemoryStore()
    study = study_of(plugins=plugins, store=store, sampler=Constant(), duplicates="reuse")
    plugins.register(Watcher(lambda: study))
    study.run(lambda _: 1.0, trials=5)
    again = History()
    again.extend(store.read("study"))
    assert study.history.position == again.position == len(store.read("study"))
    assert [t.state for t in study.trials] == [t.state for t in again.trials] == [State.COMPLETE] * 5


class Clumsy:
    @hookimpl
    def hpt_trial_started(self, study: Study, trial: Trial) -> None:
        raise RuntimeError("clumsy")


def test_an_observer_that_raises_is_reported_once_and_disabled(caplog: pytest.LogCaptureFixture) -> None:
    plugins = Plugins()
    plugins.register(Clumsy(), "clumsy")
    study = study_of(plugins=plugins)
    with caplog.at_level(logging.ERROR, "hpt"):
        study.run(lambda _: 1.0, trials=4)
    assert len(study.trials) == 4
    assert [r.getMessage() for r in caplog.records] == [
        "The plugin clumsy failed in hpt_trial_started and is not called again."
    ]


def test_the_log_has_text_that_utf_8_can_encode(caplog: pytest.LogCaptureFixture) -> None:
    def fails(_: Params) -> Never:
        raise OSError("\udcff.csv")

    study_of().run(fails, trials=1)
    assert [rb"OSError: \udcff.csv" in message.encode() for message in caplog.messages] == [True]


def test_each_end_of_a_trial_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def evaluate(params: Params, trial: TrialContext) -> float:
        if trial.number in (1, 2):
            raise ValueError("too big.")
        return 3.0 - trial.number

    study = study_of()
    study.run(evaluate, trials=1)
    assert not caplog.records  # by default only failures are logged, each message once
    study.run(evaluate, trials=3)
    with caplog.at_level(logging.INFO, "hpt"):
        study.run(evaluate, trials=4)
    one, _, three = study.trials[1:]
    assert [(r.levelname, r.getMessage()) for r in caplog.records] == [
        ("WARNING", f"Trial 1 failed (error): ValueError: too big. Params: {one.params}. The best is trial 0."),
        ("INFO", f"Trial 3 complete: value=0. Params: {three.params}. The best is trial 3."),
    ]


class Doubling:
    @hookimpl(wrapper=True)
    def hpt_evaluate(self, study: Study, trial: TrialContext) -> Any:
        return 2 * (yield)


class Cached:
    @hookimpl
    def hpt_evaluate(self, study: Study, trial: TrialContext) -> float | None:
        return 77.0 if trial.number == 1 else None


def test_a_plugin_may_wrap_or_replace_the_evaluation() -> None:
    plugins = Plugins()
    plugins.register(Doubling())
    plugins.register(Cached())
    study = study_of(plugins=plugins)
    study.run(lambda p: p["x"], trials=2)
    assert [t.value for t in study.trials] == [2 * study.trials[0].params["x"], 154.0]


class Here:
    """An executor that runs its one worker in this process."""

    def run(self, worker: Any, count: int, lost: object) -> None:
        worker("here")


class Noting(Here):
    """It notes the numbers of workers that it is asked for."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def run(self, worker: Any, count: int, lost: object) -> None:
        self.asked.append(count)
        super().run(worker, count, lost)


def test_a_registered_wrapper_that_other_processes_lack_is_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    plugins = Plugins()
    plugins.register(Doubling())
    plugins.register(Watcher(lambda: study), "observer")
    study = study_of(plugins=plugins, executor=Here())
    study.run(lambda p: p["x"], trials=1)
    assert not caplog.messages
    study.run(lambda p: p["x"], trials=3, workers=2)
    (told,) = caplog.messages
    assert "do not use the hpt_evaluate hook of the plugin 'Doubling', which this program registered" in told


@pytest.mark.parametrize("elsewhere", [False, True])
def test_one_worker_runs_in_this_process_unless_the_executor_is_elsewhere(elsewhere: bool) -> None:
    class Noting(Here):
        def run(self, worker: Any, count: int, lost: object) -> None:
            asked.append(count)
            super().run(worker, count, lost)

    asked: list[int] = []
    executor = Noting()
    executor.elsewhere = elsewhere  # type: ignore[attr-defined] # an optional attribute
    study_of(executor=executor).run(lambda p: p["x"], trials=2)
    assert asked == ([1] if elsewhere else [])


def test_no_more_workers_start_than_trials_are_left() -> None:
    executor = Noting()
    executor.elsewhere = True  # type: ignore[attr-defined] # an optional attribute
    study = study_of(executor=executor)
    study.run(lambda p: p["x"], trials=5, workers=8)
    study.run(lambda p: p["x"], trials=5, workers=8)  # has ended
    study.invalidate(1, "wrong data")
    study.enqueue({"x": 0.123})
    study.run(lambda p: p["x"], trials=7, workers=8)
    assert executor.asked == [5, 1, 3]


def test_trials_outside_an_amended_space_need_workers_too() -> None:
    store = MemoryStore()
    before = study_of(store=store)
    for x in (0.7, 0.8, 0.9):
        before.enqueue({"x": x})
    executor = Noting()
    study = study_of(store=store, space={"x": Float(0, 0.5)}, amend=True, executor=executor)
    study.run(lambda p: p["x"], trials=3, workers=4)
    assert [t.value for t in study.trials] == [0.7, 0.8, 0.9]
    assert executor.asked == [3]


def test_the_last_trial_of_a_run_with_several_workers_runs_like_the_others() -> None:
    """In a process of its own: it may need its ``HPT_WORKER``, and this process survives if it crashes."""
    executor = Noting()
    study = study_of(executor=executor)
    study.run(lambda p: p["x"], trials=3, workers=2)
    study.run(lambda p: p["x"], trials=4, workers=2)
    assert executor.asked == [2, 1]


def test_a_rule_that_fails_ends_the_run_not_the_trial() -> None:
    class Broken:
        def judge_trial(self, history: History, trial: Trial) -> Never:
            raise ZeroDivisionError

    closed = []

    def evaluate(params: Params) -> Iterator[float]:
        try:
            yield 1.0
        finally:
            closed.append(study.trials[0].state)

    study = study_of(stop=Broken())
    with pytest.raises(PluginError, match="'Broken' failed in judge_trial"):
        study.run(evaluate, trials=3)
    assert [t.state for t in study.trials] == [State.WAITING]
    assert closed == [State.RUNNING]  # before it is released for another worker


def test_the_files_of_a_trial_are_beside_the_store(tmp_path: Path) -> None:
    class WithFolder(MemoryStore):
        folder = tmp_path

    seen = []

    def evaluate(params: Params, trial: TrialContext) -> float:
        seen.append(trial.workdir)
        return 1.0

    study = study_of(store=WithFolder(), name="digits")
    study.run(evaluate, trials=2)
    assert seen == [tmp_path / "digits" / f"trial-{i}" for i in range(2)]
    assert not list(tmp_path.iterdir())


def test_a_run_that_cannot_start_records_nothing() -> None:
    store = MemoryStore()
    with pytest.raises(UsageError):
        Study({"x": Float(0, 1)}, sampler=Uniform(), store=store).run()
    assert list(store.read("study")) == list[Record]()


def test_equal_failures_at_the_start_raise_an_error_with_the_traceback() -> None:
    with pytest.raises(NothingSucceededError, match="ZeroDivisionError"):
        study_of().run(lambda _: 1 / 0, trials=5)


def test_no_more_workers_are_started_than_there_are_trials() -> None:
    class Counting:
        def run(self, worker: Callable[[str], str], workers: int, lost: object) -> None:
            started.append(workers)
            worker("here:1:0")

    started: list[int] = []
    for trials in (1, 3):
        study = Study({"x": Float(0, 1)}, sampler="random", executor=Counting(), seed=0)
        study.run(lambda params: params["x"], trials=trials, workers=300)
        assert len(study.trials) == trials
    assert started == [1, 3]


def test_a_run_whose_workers_end_early_does_not_give_the_reason_of_an_earlier_run() -> None:
    class Idle:
        def run(self, worker: Any, count: int, lost: object) -> None:
            """Lose all workers at once."""

    store = MemoryStore()
    reasons = [
        study_of(store=store, executor=executor).run(lambda p: p["x"], trials=2, workers=2)
        for executor in (Idle(), Here(), Idle())
    ]
    assert reasons == ["its workers ended", "all 2 trials were started", "its workers ended"]


def test_a_worker_is_owned_by_the_process_that_runs_the_study() -> None:
    class InTurn:
        def run(self, worker: Callable[[str], str], count: int, lost: Callable[[str, Failure], bool]) -> None:
            assert study.decisions.claim(f"{liveness.this_process()}/worker-0", 4)  # and dies
            assert lost("worker-0", Failure("killed", "it died"))
            assert not lost("worker-0", Failure("killed", "it died without a trial"))
            for number in range(1, count):
                worker(f"worker-{number}")

    plugins = Plugins()
    study = study_of(plugins=plugins, executor=InTurn())
    watcher = Watcher(lambda: study)
    plugins.register(watcher)
    study.run(lambda params: params["x"], trials=4, workers=2)
    me = liveness.this_process()
    assert [trial.worker for trial in study.trials] == [f"{me}/worker-0", *[f"{me}/worker-1"] * 3]
    heard = [number for what, number, *_ in watcher.saw[1:-1] if what == "finished"]
    assert heard == [0, 1, 2, 3]


def test_a_worker_that_outlives_the_process_that_runs_the_study_starts_no_trial() -> None:
    study = study_of(evaluator=lambda params: params["x"])
    worker = Worker(study, 3)
    worker._owner = f"{liveness.this_process().split(':')[0]}:999999999:1"
    assert worker("worker-1") == "the process that ran the study is gone"
    assert study.trials == []


# --- plugins around the evaluator -----------------------------------------------------------------


class Around:
    """Wraps the evaluation, as a tracking plugin does."""

    def __init__(self, gives_back: bool) -> None:
        self.gives_back = gives_back

    @hookimpl(wrapper=True)
    def hpt_evaluate(self) -> Iterator[None]:
        outcome = yield
        return outcome if self.gives_back else None


def test_a_traceback_begins_with_the_evaluation_also_behind_a_plugin() -> None:
    plugins = Plugins()
    plugins.register(Around(gives_back=True), "around")
    study = study_of(plugins=plugins)
    study.run(lambda _: 1 / 0, trials=1)
    failure = study.trials[0].failure
    assert failure is not None
    assert failure.detail.count("  File ") == 1
    assert "test_worker.py" in failure.detail


def test_a_wrapper_that_drops_the_result_is_named() -> None:
    plugins = Plugins()
    plugins.register(Around(gives_back=False), "around")
    study = study_of(plugins=plugins)
    study.run(lambda _: 1.0, trials=1)
    failure = study.trials[0].failure
    assert failure is not None
    assert failure.kind == "invalid-value"
    assert "a plugin that wraps it (around), returned None" in failure.message


# --- checks before the first trial ----------------------------------------------------------------


def test_an_exception_in_check_is_an_error_of_its_component() -> None:
    class Checks:
        def check(self, space: Space) -> None:  # lacks the objectives
            pass

        def suggest(self, history: History, rng: Generator) -> Params:
            return history.space.sample(rng)

    with pytest.raises(PluginError, match="Checks failed in check: TypeError"):
        study_of(sampler=Checks()).run(lambda _: 1.0, trials=1)


@pytest.mark.parametrize(
    ("name", "value"), [("evidence", "epochs"), ("steps", 0), ("steps", 2.0), ("steps", "3"), ("resumable", "yes")]
)
def test_the_declarations_of_an_evaluator_are_checked_beforehand(name: str, value: Any) -> None:
    class Declares:
        def evaluate(self, trial: TrialContext) -> float:
            return 1.0

    setattr(Declares, name, value)
    with pytest.raises(PluginError, match=f"The evaluator Declares declares its reports wrongly: `{name}` must be"):
        study_of().run(Declares(), trials=1)


def test_a_run_that_waits_for_a_trial_of_ask_says_so() -> None:
    study = study_of(reproducible=True)
    asked = study.ask()
    said = []

    class Tell(logging.Handler):
        """Ends the wait."""

        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())
            study.tell(asked, 0.5)

    handler = Tell(logging.WARNING)
    logging.getLogger("hpt").addHandler(handler)
    try:
        study.run(lambda _: 1.0, trials=3)
    finally:
        logging.getLogger("hpt").removeHandler(handler)
    assert said == ["The run waits for trials that ask() started and no tell() ended: 0."]
    assert [trial.state for trial in study.trials] == ["complete"] * 3


def test_failures_that_differ_in_an_address_only_are_alike() -> None:
    addresses = iter([0x7F474C57C9E0, 0x7FA1B2C3D4E5, 0x7FABCDEFABCD])

    class Model:
        def __repr__(self) -> str:
            return f"<train.Model object with layers at 0x{next(addresses):012x}>"  # as by default; it is shortened

    with pytest.raises(NothingSucceededError, match="the first 3 trials of this run all failed in the same way"):
        study_of().run(lambda _: Model(), trials=9)


def test_a_value_that_cannot_become_a_number_is_reported_without_frames_of_hpt() -> None:
    class Symbol:
        def __float__(self) -> float:
            raise TypeError("Cannot convert expression to float")

    failure = run_one(lambda _: Symbol()).failure
    assert failure is not None
    wanted = "The value of a trial must be a number. Got Symbol, for which float() raised "
    assert failure.message == f"{wanted}TypeError: Cannot convert expression to float."
    assert failure.detail == ""
