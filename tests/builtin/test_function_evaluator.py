"""The function evaluator: what it calls, with which arguments, and how it converts the result."""

from __future__ import annotations

import functools
import math
import pickle
import re
from collections.abc import Generator, Iterator, Mapping
from typing import Any

import pytest

from hpt_core import (
    EvaluationError,
    Float,
    NothingSucceededError,
    Params,
    Report,
    Space,
    Study,
    TrialContext,
    UsageError,
)
from hpt_core.builtin.function import FunctionEvaluator

TRIAL = TrialContext({"x": 2.0}, number=3, objectives=("loss", "time"), resume_step=0)


def square(params: Params) -> float:
    return float(params["x"]) ** 2


def with_trial(params: Params, trial: TrialContext) -> float:
    return float(params["x"]) + trial.number


def with_default(params: Params, data: float = 10.0) -> float:
    return float(params["x"]) + data


def with_keyword(params: Params, *, data: float = 10.0) -> float:
    return float(params["x"]) + data


class Model:
    def __call__(self, params: Params) -> float:
        return float(params["x"]) - 1

    def score(self, params: Params, trial: TrialContext) -> float:
        return float(params["x"]) * trial.number


def evaluate(call: Any, trial: TrialContext = TRIAL) -> Any:
    return FunctionEvaluator(call=call).evaluate(trial)


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (square, 4.0),
        (with_trial, 5.0),
        (with_default, 12.0),
        (with_keyword, 12.0),
        (lambda params: params["x"], 2.0),
        (functools.partial(with_trial), 5.0),
        (functools.partial(with_default, data=1.0), 3.0),
        (Model(), 1.0),
        (Model().score, 6.0),
        (dict, {"x": 2.0}),
        (f"{__name__}:square", 4.0),
        ("builtins:len", 1),
        ("operator:length_hint", 1),
    ],
)
def test_a_function_gets_the_params_and_the_trial_if_it_takes_it(call: Any, expected: Any) -> None:
    assert evaluate(call) == expected


def nothing() -> float:
    return 1.0


def by_name(x: float, y: float) -> float:
    return x + y


def three(x: float, y: float, z: float) -> float:
    return x + y + z


def keyword(params: Params, *, data: float) -> float:
    return float(params["x"]) + data


def others(a: Params, b: TrialContext) -> float:
    return float(a["x"]) + b.number


@pytest.mark.parametrize("call", [nothing, by_name, three, keyword])
def test_a_function_with_other_parameters_is_refused_beforehand(call: Any) -> None:
    with pytest.raises(UsageError, match=r"Must take one dict .* Got f\(.*wrap it: `lambda params: f\(\*\*params\)`"):
        FunctionEvaluator(call=call).check(Space({"x": Float(0, 1), "y": Float(0, 1), "z": Float(0, 1)}), None)


@functools.wraps(by_name)
def spread(params: Params) -> float:
    return by_name(**params)


@functools.wraps(with_trial)
def logged(*given: Any, **named: Any) -> float:
    return with_trial(*given, **named)


@pytest.mark.parametrize(
    "call",
    [square, others, with_default, spread, logged, lambda x: x["x"], lambda *given: 1.0, dict, len, max, Model()],
)
def test_a_function_that_can_be_called_is_accepted(call: Any) -> None:
    FunctionEvaluator(call=call).check(Space({"x": Float(0, 1), "y": Float(0, 1)}), None)


def test_a_wrapper_is_called_by_its_own_signature() -> None:
    assert evaluate(spread, TrialContext({"x": 2.0, "y": 1.0})) == 3.0
    assert evaluate(logged) == 5.0


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("math:pi", "Must be a function"),
        ("math:nothing", "has no 'nothing'"),
        (3, "Must be a function"),
        ("x", "import"),
    ],
)
def test_anything_but_a_function_is_refused_beforehand(call: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said) as refused:
        FunctionEvaluator(call=call).check(None, None)
    assert refused.value.mistakes[0].path == "evaluator.call"


def gives(*items: Any, result: Any = None) -> Any:
    def generator(params: Params) -> Generator[Any, None, Any]:
        yield from items
        return result

    return generator


@pytest.mark.parametrize(
    ("items", "reports"),
    [
        ((0.5, 0.25), [Report(1, 0.5), Report(2, 0.25)]),
        (((3, 0.5), 0.25), [Report(3, 0.5), Report(4, 0.25)]),
        (({"loss": 1.0, "time": 2.0}, {"step": 9, "loss": 0.5}), [Report(1, 1.0, {"time": 2.0}), Report(9, 0.5)]),
        ((Report(7, 1.0), 0.5), [Report(7, 1.0), Report(8, 0.5)]),
        ((), []),
    ],
)
def test_what_a_generator_yields_becomes_reports(items: tuple[Any, ...], reports: list[Report]) -> None:
    assert list(evaluate(gives(*items))) == reports


def test_a_report_without_the_objective_names_it_and_what_was_given() -> None:
    with pytest.raises(
        EvaluationError, match=r"The report lacks the objective 'loss'\. Got \['acc', 'step'\]\."
    ) as err:
        list(evaluate(gives({"acc": 0.5, "step": 1})))
    assert err.value.kind == "invalid-value"


def test_steps_continue_where_the_trial_resumes() -> None:
    trial = TrialContext({"x": 2.0}, resume_step=5)
    assert list(evaluate(gives(0.5, 0.25), trial)) == [Report(6, 0.5), Report(7, 0.25)]


def test_the_return_value_is_the_result() -> None:
    iterator = evaluate(gives(0.5, result={"loss": 3.0}))
    next(iterator)
    with pytest.raises(StopIteration) as end:
        next(iterator)
    assert end.value.value == {"loss": 3.0}


def test_closing_closes_the_generator() -> None:
    closed = []

    def generator(params: Params) -> Iterator[float]:
        try:
            yield 1.0
            yield 2.0
        finally:
            closed.append(True)

    iterator = evaluate(generator)
    next(iterator)
    iterator.close()
    assert closed == [True]


def test_it_is_pickled_by_reference() -> None:
    evaluator = FunctionEvaluator(call=square, evidence="folds", steps=3, resumable=True)
    evaluator.evaluate(TRIAL)
    arrived = pickle.loads(pickle.dumps(evaluator))
    assert arrived == evaluator
    assert arrived.evaluate(TRIAL) == 4.0


def test_a_mapping_is_passed_on_as_it_is() -> None:
    result: Mapping[str, float] = {"loss": 1.0, "time": 2.0}
    assert evaluate(lambda _: result) is result


NOTE = (
    "hpt calls the function with one dict of all parameters. "
    "If it takes them by name, wrap it: `lambda params: f(**params)`."
)


def squared(x: float) -> float:
    return x**2


def halved(rate: float) -> Iterator[float]:
    yield rate / 2


@pytest.mark.parametrize("call", [squared, halved, lambda rate: rate + 1, lambda x, trial: x * 1.5])
def test_a_function_that_takes_its_only_parameter_by_name_gets_a_note(call: Any) -> None:
    study = Study({"x": Float(0, 1)}, sampler="random", seed=0)
    with pytest.raises(NothingSucceededError, match=f"TypeError: unsupported operand.*\n{re.escape(NOTE)}"):
        study.run(call)


@pytest.mark.parametrize("call", [lambda params: None + params["x"], lambda params: params["y"], lambda x: 1 / 0])
def test_another_type_error_in_a_function_gets_no_note(call: Any) -> None:
    study = Study({"x": Float(0, 1)}, sampler="random", seed=0)
    with pytest.raises(NothingSucceededError) as raised:
        study.run(call)
    assert NOTE not in str(raised.value)


def test_a_builtin_that_raises_is_reported_without_the_frames_of_hpt() -> None:
    study = Study({"x": Float(0, 1)}, sampler="random", seed=0)
    with pytest.raises(NothingSucceededError, match="TypeError: must be real number, not dict") as raised:
        study.run(math.sqrt)
    assert NOTE in str(raised.value)
    assert "Traceback" not in str(raised.value)
    assert study.trials[0].failure is not None
    assert "File " not in study.trials[0].failure.detail
