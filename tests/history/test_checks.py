"""The rule for values, by all three ways in: the function itself, `Study.tell` and `Study.run`."""

from __future__ import annotations

import math
from collections import OrderedDict, UserDict
from collections.abc import Mapping
from decimal import Decimal
from enum import Enum, IntEnum
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Never

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpt_core import EvaluationError, Float, History, Params, Report, State, Study
from hpt_core.history.checks import check_report, check_result

if TYPE_CHECKING:
    from numpy.random import Generator

pd = pytest.importorskip("pandas")


class Uniform:
    def suggest(self, history: History, rng: Generator) -> Params:
        return history.space.sample(rng)


class Floats:
    """Has a ``__float__``, as tensors of other libraries do."""

    def __float__(self) -> float:
        return 1.5


class RaisingFloat:
    def __float__(self) -> float:
        raise RuntimeError("no")


class RaisingRepr:
    def __repr__(self) -> Never:
        raise RuntimeError("no")


class BoolTensor(Floats):
    dtype = "torch.bool"


class ComplexTensor(Floats):
    dtype = "torch.complex64"


class VectorTensor(Floats):
    ndim = 1


class Text(str):
    __slots__ = ()


class Number(float):
    """A float subclass, as libraries define it."""


class Level(IntEnum):
    LOW = 3


class Colour(Enum):
    RED = 1.0


GOOD: list[tuple[object, float]] = [
    (1, 1.0),
    (0, 0.0),
    (-3, -3.0),
    (1.25, 1.25),
    (-0.0, 0.0),
    (5e-324, 5e-324),
    (1.7976931348623157e308, 1.7976931348623157e308),
    (2**53 + 1, 2.0**53),
    (10**300, 1e300),
    (Decimal("1.5"), 1.5),
    (Fraction(3, 2), 1.5),
    (Number(1.5), 1.5),
    (Floats(), 1.5),
    (Level.LOW, 3.0),
    (np.float64(1.5), 1.5),
    (np.float32(1.5), 1.5),
    (np.float16(1.5), 1.5),
    (np.longdouble(1.5), 1.5),
    (np.int8(-3), -3.0),
    (np.int64(3), 3.0),
    (np.uint64(2**64 - 1), 2.0**64),
    (np.array(1.5), 1.5),
    (np.array(3), 3.0),
    (np.array([1.5, 2.5])[0], 1.5),
    ({"value": 1.5}, 1.5),
    ({"value": np.float32(1.5), "time": 3}, 1.5),
    (OrderedDict(value=2), 2.0),
    (UserDict(value=2), 2.0),
]
BAD: list[object] = [
    None,
    True,
    False,
    "1.5",
    "",
    Text("1.5"),
    b"1",
    bytearray(b"1"),
    1 + 0j,
    1 + 2j,
    math.nan,
    -math.nan,
    math.inf,
    -math.inf,
    10**400,
    -(10**5000),
    Fraction(10**400, 1),
    Decimal("NaN"),
    Decimal("sNaN"),
    Decimal("Infinity"),
    Decimal("1e400"),
    [],
    [1.0],
    (1.0,),
    (1.0, 2.0),
    {1.0},
    {},
    {"other": 1.0},
    {"value": None},
    {"value": math.nan},
    {"value": "1"},
    {"value": True},
    {"value": 1.0, "note": "text"},
    {1: 2},
    Colour.RED,
    object(),
    float,
    len,
    range(3),
    np.nan,
    np.float32("inf"),
    np.bool_(True),
    np.complex64(1),
    np.array([1.0]),
    np.array([[1.0]]),
    np.array([]),
    np.array("1.5"),
    np.array(b"1"),
    np.array(True),
    np.array(True, dtype=object),
    np.array("1.5", dtype=object),
    np.str_("1.5"),
    np.datetime64("2020-01-01"),
    np.timedelta64(5, "s"),
    pd.Series([1.0]),
    pd.DataFrame({"a": [1.0]}),
    pd.Timestamp("2020-01-01"),
    pd.NaT,
    pd.NA,
    RaisingFloat(),
    RaisingRepr(),
    [RaisingRepr()],
    {"value": RaisingRepr()},
    BoolTensor(),
    ComplexTensor(),
    VectorTensor(),
    list(range(1_000_000)),
    "x" * 10_000_000,
    Exception("returned, not raised"),
]


def named(value: object) -> str:
    return type(value).__name__


def one_trial(value: object) -> Study:
    study = Study({"x": Float(0, 1)}, sampler=Uniform(), seed=0)
    study.run(lambda _: value, trials=1)
    return study


@pytest.mark.parametrize(("value", "expected"), GOOD, ids=named)
def test_a_finite_real_number_is_a_value(value: object, expected: float) -> None:
    values, _ = check_result(value, ["value"])
    told = Study({"x": Float(0, 1)}, sampler=Uniform(), seed=0)
    told.tell(told.ask(), value)
    for found in (values, told.trials[0].values, one_trial(value).trials[0].values):
        assert found == (expected,)
        assert type(found[0]) is float


@pytest.mark.parametrize("value", BAD, ids=named)
def test_anything_else_fails_the_trial_and_is_named(value: Any) -> None:
    with pytest.raises(EvaluationError) as refused:
        check_result(value, ["value"])
    trial = one_trial(value).trials[0]
    assert trial.state is State.FAILED
    assert trial.values is None
    assert trial.failure is not None
    assert trial.failure.kind == "invalid-value"
    assert len(trial.failure.message) < 300
    if not isinstance(value, Mapping) and value is not None:
        assert type(value).__name__ in str(refused.value) or "finite" in str(refused.value)


@pytest.mark.parametrize("value", [*(value for value, _ in GOOD), *BAD], ids=named)
def test_a_study_continues_after_any_result(value: object) -> None:
    study = Study({"x": Float(0, 1)}, sampler=Uniform(), seed=0)
    answers = iter([value])
    study.run(lambda params: next(answers, params["x"]), trials=3)
    assert [trial.state for trial in study.trials[1:]] == [State.COMPLETE] * 2


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_is_kept_bit_for_bit(value: float) -> None:
    (found,), metrics = check_result(value, ["value"])
    assert found.hex() == value.hex()
    assert metrics == {}


# --- several objectives, metrics ------------------------------------------------------------------


@pytest.mark.parametrize("result", [(1, 2), [1, np.float64(2)], {"b": 2, "a": 1}])
def test_several_objectives_come_in_order_or_by_name(result: object) -> None:
    assert check_result(result, ["a", "b"]) == ((1.0, 2.0), {})


@pytest.mark.parametrize("result", [1.0, (1.0,), (1.0, 2.0, 3.0), {"a": 1.0}, "ab", np.array([1.0, 2.0]), None, {1, 2}])
def test_the_wrong_number_of_values_is_refused(result: object) -> None:
    with pytest.raises(EvaluationError) as refused:
        check_result(result, ["a", "b"])
    assert refused.value.kind == "invalid-value"


def test_further_names_are_metrics() -> None:
    result = {"value": 1, "time": np.float32(0.5), "loss": math.nan, "norm": math.inf}
    assert check_result(result, ["value"]) == ((1.0,), {"time": 0.5})


# --- reports --------------------------------------------------------------------------------------


HALF: Any = np.float32(0.5)
ONE: Any = np.int64(1)


def test_a_report_is_converted_to_plain_numbers() -> None:
    checked = check_report(Report(ONE + 1, HALF, {"f1": ONE, "gone": math.nan}), 1)
    assert checked == Report(2, 0.5, {"f1": 1.0})
    assert type(checked.step) is int
    assert type(checked.value) is float
    assert type(checked.metrics["f1"]) is float


@pytest.mark.parametrize(
    "report",
    [
        *(0.5, None, (1, 0.5), {"step": 1}),
        *(Report(1, 0.5), Report(0, 0.5), Report(-1, 0.5)),
        *(Report(2.0, 0.5), Report(True, 0.5), Report("2", 0.5), Report(None, 0.5)),  # type: ignore[arg-type]
        *(Report(2, math.nan), Report(2, math.inf), Report(2, "0.5")),  # type: ignore[arg-type]
        *(Report(2, None), Report(2, True)),  # type: ignore[arg-type]
        *(Report(2, RaisingRepr()), Report(RaisingRepr(), 1)),  # type: ignore[arg-type]
        Report(2, 0.5, {"f1": "high"}),  # type: ignore[dict-item]
    ],
    ids=named,
)
def test_an_invalid_report_is_refused(report: object) -> None:
    with pytest.raises(EvaluationError) as refused:
        check_report(report, 1)
    assert refused.value.kind == "invalid-value"
