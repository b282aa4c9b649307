"""Results that users tell: a mistake is refused and not recorded, a value that is not finite is a failure."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hpt_core import Failure, Float, Pause, State, Stop, Study, Suggestion, UsageError


def study(**settings: Any) -> Study:
    return Study({"x": Float(0, 1)}, sampler="random", seed=0, **settings)


MISTAKES: list[tuple[object, dict[str, Any], str]] = [
    ("abc", {}, r"The value of a trial must be a number\. Got str 'abc'\."),
    ("0.5", {}, r"Got str '0\.5'\."),
    (None, {}, r"Got None\."),
    (True, {}, r"Got bool True\."),
    ([0.5], {}, r"Got list \[0\.5\]\."),
    ({"accuracy": 0.5}, {}, r"The result lacks the objective 'value'\. Got \['accuracy'\]\."),
    ({"value": 0.5, "note": "text"}, {}, r"The metric 'note' must be a number\. Got str 'text'\. .* `workdir`\."),
    (
        {"value": 0.5, "done": True},
        {},
        r"The metric 'done' must be a number\. Got bool True\. Give 0 or 1 for a bool\.",
    ),
    ({"value": 0.5, "note": None}, {}, r"The metric 'note' must be a number\. Got None\. .*Leave out other values"),
    (0.5, {"objective": {"a": "minimize", "b": "minimize"}}, r"A trial must give 2 values \(a, b\)\. Got float 0\.5\."),
    (
        0.5,
        {"constraints": {"ms": "<= 50"}},
        r"The result lacks the metric 'ms', which has a constraint\.",
    ),
    (ValueError, {}, r"Got type <class 'ValueError'>\."),
    (Failure("eror", "it broke"), {}, r"The `kind` of a Failure must be one of error, .*\. Got 'eror'\."),
    (Stop("enough", value="high"), {}, r"The value of a trial must be a number\. Got str 'high'\."),  # type: ignore[arg-type]
    (Stop("enough", value=math.nan), {}, r"The value of a trial must be a finite number\. Got nan\."),
]


@pytest.mark.parametrize(("result", "settings", "said"), MISTAKES)
def test_a_mistake_is_refused_and_the_trial_stays_running(result: Any, settings: dict[str, Any], said: str) -> None:
    found = study(**settings)
    trial = found.ask()
    before = found.history.position
    with pytest.raises(UsageError, match=f"^Trial 0: .*{said}.* The trial is still running: tell its result,"):
        found.tell(trial, result)
    assert (trial.state, found.history.position) == (State.RUNNING, before)
    assert found.tell(trial, Failure("error", "no")).state is State.FAILED


@pytest.mark.parametrize(("result", "settings", "said"), [case for case in MISTAKES if case[0] is not None])
def test_a_trial_with_an_invalid_result_is_not_added(result: Any, settings: dict[str, Any], said: str) -> None:
    found = study(**settings)
    with pytest.raises(UsageError, match=f"^result: .*{said}"):
        found.add_trial({"x": 0.5}, result)
    assert len(found.trials) == 0


@pytest.mark.parametrize(
    ("result", "settings"),
    [
        (math.nan, {}),
        (-math.inf, {}),
        (np.float32("inf"), {}),
        ({"value": math.nan, "ms": 3}, {}),
        (math.nan, {"constraints": {"ms": "<= 50"}}),
        ((1.0, math.nan), {"objective": {"a": "minimize", "b": "minimize"}}),
        ({"value": 1.0, "ms": math.inf}, {"constraints": {"ms": "<= 50"}}),
    ],
)
def test_a_result_that_is_not_finite_is_a_failure(result: Any, settings: dict[str, Any]) -> None:
    found = study(**settings)
    for trial in (found.tell(found.ask(), result), found.add_trial({"x": 0.5}, result)):
        assert trial.state is State.FAILED
        assert trial.failure is not None
        assert trial.failure.kind == "invalid-value"
        assert "must be a finite number" in trial.failure.message


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Stop(None), "The `reason` of Stop must be text. Got None."),  # type: ignore[arg-type]
        (lambda: Stop("enough", evidence=[1]), "The `evidence` of Stop must be a mapping. Got [1]."),  # type: ignore[arg-type]
        (lambda: Pause(5), "The `reason` of Pause must be text. Got 5."),  # type: ignore[arg-type]
        (lambda: Failure("error", 5), "The `message` of Failure must be text. Got 5."),  # type: ignore[arg-type]
        (lambda: Failure("error", "x", b"y"), "The `detail` of Failure must be text. Got b'y'."),  # type: ignore[arg-type]
        (lambda: Suggestion({}, info=3), "The `info` of Suggestion must be a mapping. Got 3."),  # type: ignore[arg-type]
        (lambda: Suggestion({}, source=3), "The `source` of Suggestion must be text. Got 3."),  # type: ignore[arg-type]
    ],
)
def test_text_fields_refuse_what_the_log_cannot_hold(make: Callable[[], object], said: str) -> None:
    with pytest.raises(UsageError) as refused:
        make()
    assert str(refused.value) == said


@pytest.mark.parametrize("result", ["abc", None, {"accuracy": 0.5}])
def test_an_evaluator_that_returns_no_number_fails_its_trial(result: Any) -> None:
    found = study()
    found.run(lambda _: result, trials=1)
    assert found.trials[0].failure is not None
    assert found.trials[0].failure.kind == "invalid-value"


def test_an_int_beyond_the_range_of_floats_is_not_finite() -> None:
    told = study()
    told.run(lambda _: 10**400, trials=1)
    (trial,) = told.trials
    assert trial.failure is not None
    assert trial.failure == Failure("invalid-value", "The value of a trial must be a finite number. Got inf.")
