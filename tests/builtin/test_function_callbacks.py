"""Functions that report from a callback of a library, by a `report` parameter."""

from __future__ import annotations

import contextvars
import signal
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import pytest
from scipy.optimize import minimize

from hpt_core import Float, History, Mistake, Params, State, Stop, Study, Trial, TrialContext, UsageError
from hpt_core.builtin.callbacks import as_generator
from hpt_core.builtin.function import FunctionEvaluator

if TYPE_CHECKING:
    from numpy.typing import NDArray

SPACE = {"x": Float(-1.0, 1.0)}
Reports = Callable[[Any], None]


def study(**options: Any) -> Study:
    return Study(SPACE, objective="minimize", sampler="random", seed=1, **options)


def fitted(params: Params, report: Reports) -> float:
    """Scipy calls back after each iteration."""

    def objective(at: NDArray[np.float64]) -> float:
        return float(at @ at)

    start = np.array([params["x"], 1.0])
    return float(minimize(objective, start, method="BFGS", callback=lambda at: report(objective(at))).fun)


def test_reports_of_a_librarys_callback_equal_those_of_a_generator() -> None:
    def yielding(params: Params) -> Iterator[float]:
        seen: list[float] = []
        fitted(params, seen.append)
        yield from seen

    ours, theirs = study(), study()
    ours.run(fitted, trials=5)
    theirs.run(yielding, trials=5)
    assert [t.reports for t in ours.trials] == [t.reports for t in theirs.trials]
    assert all(trial.reports for trial in ours.trials)


@attrs.define
class StopAt:
    step: int

    def judge_trial(self, history: History, trial: Trial) -> Stop | None:
        return Stop(f"step {self.step}") if trial.reports[-1].step == self.step else None


def test_report_raises_when_a_rule_stops_the_trial_and_the_function_cleans_up_first() -> None:
    events: list[object] = []

    def train(params: Params, report: Reports) -> None:
        try:
            for step in range(1, 10):
                report(params["x"])
                events.append(step)
        except Exception:  # noqa: BLE001 - as in a library that logs the errors of callbacks and goes on
            events.append("swallowed")
        finally:
            events.append("clean")

    stopped = study(stop=[StopAt(3)])
    stopped.run(train, trials=2)
    assert [(t.state, len(t.reports)) for t in stopped.trials] == [(State.STOPPED, 3)] * 2
    assert events == [1, 2, "clean"] * 2


def test_a_function_that_goes_on_reporting_is_stopped_again() -> None:
    """A callback in a cleanup must not block the study for ever."""
    raised: list[type[BaseException]] = []

    def report_on(report: Reports) -> None:
        try:
            report(1)
        finally:
            try:
                report(2)
            except BaseException as err:
                raised.append(type(err))
                raise

    generator = as_generator(report_on)
    assert next(generator) == 1
    generator.close()
    assert raised == [GeneratorExit]


def test_a_library_may_wrap_what_report_raises(caplog: pytest.LogCaptureFixture) -> None:
    """CatBoost raises an error of its own, whatever a callback raises."""

    def wrapping(params: Params, report: Reports) -> None:
        try:
            report(params["x"])
        except BaseException as err:
            raise RuntimeError("failed in a callback") from err

    stopped = study(stop=[StopAt(1)])
    stopped.run(wrapping, trials=1)
    assert [t.state for t in stopped.trials] == [State.STOPPED]
    assert not caplog.records


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="Windows has no such signals")
def test_after_ctrl_c_the_function_ends_at_its_next_report() -> None:
    ended, go_on = threading.Event(), threading.Event()
    main = threading.main_thread().ident
    assert main is not None

    def slow(report: Reports) -> None:
        signal.pthread_kill(main, signal.SIGINT)  # which waits for the first report
        try:
            go_on.wait(10)
            report(1)
        except GeneratorExit:
            ended.set()

    generator = as_generator(slow)
    with pytest.raises(KeyboardInterrupt):
        next(generator)
    go_on.set()
    assert ended.wait(10)


def test_what_the_function_returns_and_raises_is_passed_on() -> None:
    def failing(params: Params, report: Reports) -> None:
        report(1.0)
        raise ValueError("not a multiple of 8")

    outcome = study()
    outcome.run(lambda params, report: {"value": params["x"]}, trials=1)
    assert outcome.best is not None
    assert outcome.best.value == outcome.best.params["x"]
    failed = study()
    failed.run(failing, trials=1)
    failure = failed.trials[0].failure
    assert failure is not None
    assert failure.message == "ValueError: not a multiple of 8"
    header, first, *_ = failure.detail.splitlines()
    assert (header, first.split(", ")[-1]) == ("Traceback (most recent call last):", "in failing")


def test_the_trial_and_the_callers_context_are_available() -> None:
    variable = contextvars.ContextVar("variable", default=0)
    variable.set(7)
    seen: list[object] = []

    def both(params: Params, trial: TrialContext, report: Reports) -> None:
        seen.extend((trial.number, variable.get()))
        report({"value": params["x"], "step": trial.resume_step + 5})

    result = study()
    result.run(both, trials=1)
    assert seen == [0, 7]
    assert [r.step for r in result.trials[0].reports] == [5]


def test_an_optional_parameter_called_report_is_left_alone() -> None:
    def function(params: Params, report: str = "none") -> float:
        assert report == "none"
        assert threading.current_thread() is threading.main_thread()
        return float(params["x"])

    result = study()
    result.run(function, trials=1)
    assert result.trials[0].state is State.COMPLETE


async def waiting(params: Params) -> float:
    return float(params["x"])


def yields_and_reports(params: Params, report: Reports) -> Iterator[float]:
    yield params["x"]


def takes_report_by_keyword(params: Params, *, report: Reports) -> None:
    report(params["x"])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (waiting, "must not be async"),
        (waiting, "study.tell(trial, await f(trial.params))"),  # `asyncio.run` fails in a notebook
        (yields_and_reports, "must either yield its reports or take `report`, not both"),
        (
            takes_report_by_keyword,
            "optionally the trial and `report`, by position: `def f(params, trial, report)`. got f(",
        ),
    ],
)
def test_refuses_functions_that_it_cannot_call(call: Any, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        FunctionEvaluator(call=call).check(None, {})
    (mistake,) = caught.value.mistakes
    assert isinstance(mistake, Mistake)
    assert message in str(mistake).lower()
