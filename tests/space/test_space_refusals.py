"""Parameters that make no sense are refused where they are made, with all that is wrong."""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import Enum, IntEnum
from typing import Any

import numpy as np
import pytest

from hpt_core.errors import SpaceError
from hpt_core.space.space import Categorical, Constant, Float, Int, Ordinal, Space

NAN, INF = math.nan, math.inf
ADVICE = "write Categorical('a', 'b'), or ['a', 'b'] in a file; a single fixed list is a Constant"
float_: Any = Float  # called with what its types forbid
int_: Any = Int


def refusal(make: Callable[[], object]) -> list[str]:
    with pytest.raises(SpaceError) as caught:
        make()
    return [str(mistake) for mistake in caught.value.mistakes]


def test_numbers_of_other_types_become_native() -> None:
    class Level(IntEnum):
        LOW = 1

    class Color(str, Enum):  # noqa: UP042 - the old spelling is what must work
        RED = "red"

    p = Categorical(Level.LOW, Color.RED, np.str_("x"), np.float32(0.5), np.bool_(False))
    assert p.choices == (1, "red", "x", 0.5, False)
    assert list(map(type, p.choices)) == [int, str, str, float, bool]

    class Metres(float):
        pass

    assert type(Float(Metres(0.5), 2).low) is float
    low = float_(np.float32(0.5), np.int64(2)).low
    assert (low, type(low)) == (0.5, float)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: float_(3, 1), ["low: must be <= high (1.0). Got 3.0."]),
        (lambda: float_(0, INF), ["high: must be a finite number. Got inf."]),
        (lambda: float_(NAN, 1), ["low: must be a finite number. Got nan."]),
        (lambda: float_(0, 10**400), [f"high: must be a finite number. Got {str(10**400)[:77]}...."]),
        (lambda: float_("0", True), ["low: must be a number. Got '0'.", "high: must be a number. Got True."]),
        (lambda: float_(None, [1]), ["low: must be a number. Got None.", "high: must be a number. Got [1]."]),
        (
            lambda: float_(-1e308, 1e308),
            ["high: must be so close to low (-1e+308) that high - low is finite. Got 1e+308."],
        ),
        (lambda: float_(0, 1, log=True), ["low: must be > 0 on a log scale. Got 0.0."]),
        (lambda: float_(-1, 1, log=True), ["low: must be > 0 on a log scale. Got -1.0."]),
        (
            lambda: float_(5e-324, 1, log=True),
            ["low: must be >= 2.2250738585072014e-308 on a log scale. Got 5e-324."],
        ),
        (lambda: float_(0, 1, log=1), ["log: must be true or false. Got 1."]),
        (lambda: float_(0, 1, step=0), ["step: must be > 0. Got 0.0."]),
        (lambda: float_(0, 1, step=-0.1), ["step: must be > 0. Got -0.1."]),
        (lambda: float_(0, 1, step=INF), ["step: must be a finite number. Got inf."]),
        (lambda: float_(0, 1, step=True), ["step: must be a number. Got True."]),
        (
            lambda: float_(0, 1, step=1e-300),
            ["step: must be >= 3.552713678800501e-15, the least that floats here resolve. Got 1e-300."],
        ),
        (lambda: float_(0, 1, default=2), ["default: must be a number in [0.0, 1.0]. Got 2."]),
        (lambda: float_(0, 1, default=True), ["default: must be a number in [0.0, 1.0]. Got True."]),
        (
            lambda: float_(0, 1, step=0.25, default=0.3),
            ["default: must be a number in [0.0, 1.0] in steps of 0.25. Got 0.3; the nearest is 0.25."],
        ),
        (
            lambda: int_(1.0, 5),
            ['low: must be an int. Got 1.0. A range of floats is a Float (type = "float").'],
        ),
        (lambda: int_("1", True), ["low: must be an int. Got '1'.", "high: must be an int. Got True."]),
        (lambda: int_(5, 1), ["low: must be <= high (1). Got 5."]),
        (lambda: int_(0, 2**53 + 1), [f"high: must be an int within +-2**53. Got {2**53 + 1}."]),
        (lambda: int_(-(2**53) - 1, 0), [f"low: must be an int within +-2**53. Got {-(2**53) - 1}."]),
        (lambda: int_(-1, 2**53), [f"high: must leave at most 2**53 values from low on. Got {2**53}."]),
        (lambda: int_(0, 9, log=True), ["low: must be >= 1 on a log scale. Got 0."]),
        (lambda: int_(0, 9, step=0), ["step: must be an int >= 1. Got 0."]),
        (
            lambda: int_(0, 9, step=0.5),
            ['step: must be an int. Got 0.5. A range of floats is a Float (type = "float").'],
        ),
        (lambda: int_(0, 9, default=10), ["default: must be an int in [0, 9]. Got 10."]),
        (lambda: int_(0, 9, default=3.0), ["default: must be an int in [0, 9]. Got 3.0."]),
        (lambda: int_(0, 9, step=2, default=3), ["default: must be an int in [0, 8] in steps of 2. Got 3."]),
        (Categorical, ["choices: must list at least one value. Got none."]),
        (
            lambda: Categorical(["a", "b"]),
            [
                f"choices: must not be one list: {ADVICE}. Got the single choice ['a', 'b'].",
            ],
        ),
        (
            lambda: Categorical(1, True),
            ["choices[1]: must differ from choice 0, 1. Got True, which compares equal."],
        ),
        (
            lambda: Ordinal([1], "x", (1.0,)),
            ["choices[2]: must differ from choice 0, [1]. Got (1.0,), which compares equal."],
        ),
        (lambda: Categorical("a", NAN), ["choices[1]: must be finite. Got nan."]),
        (
            lambda: Categorical({"a": 1}, [[1]]),
            [
                "choices[0]: must be a string, number, bool or None, or a list of these. Got {'a': 1}.",
                "choices[1]: must be a string, number, bool or None, or a list of these. Got [[1]].",
            ],
        ),
        (
            lambda: Categorical("a", "\ud800"),
            [r"choices[1]: must be text that UTF-8 can encode. Got '\ud800'."],
        ),
        (lambda: Categorical(*range(10_001)), ["choices: must be at most 10,000. Got 10,001."]),
        (lambda: Categorical("a", "b", default="c"), ["default: must be one of 'a', 'b'. Got 'c'."]),
        (lambda: Categorical(1, 2, default=True), ["default: must be one of 1, 2. Got True."]),
        (lambda: Constant(NAN), ["value: must be finite. Got nan."]),
        (
            lambda: Constant(object),
            ["value: must be a string, number, bool or None, or a list of these. Got <class 'object'>."],
        ),
        (lambda: int_(1, 2, when="a"), ['when: must map parents to values, as in {"model": "svm"}. Got \'a\'.']),
        (
            lambda: int_(1, 2, when={"a": []}),
            ["when.a: must list at least one value. Got none, so it could never be active."],
        ),
        (
            lambda: int_(1, 2, when={"a": {1}}),
            ["when.a: must be a string, number, bool or None, or a list of these. Got {1}."],
        ),
        (lambda: int_(1, 2, when={3: "a"}), ["when.3: must be keyed by a parameter's name. Got 3."]),
        (
            lambda: float_(0, 1, step=-1, default=7, log=2, when={"a": NAN}),
            [
                "log: must be true or false. Got 2.",
                "step: must be > 0. Got -1.0.",
                "when.a: must be finite. Got nan.",
            ],
        ),
        (
            lambda: int_(1, 9, default=10, when={"a": NAN}),
            ["when.a: must be finite. Got nan.", "default: must be an int in [1, 9]. Got 10."],
        ),
    ],
)
def test_a_parameter_says_all_that_is_wrong_with_it(make: Callable[[], object], expected: list[str]) -> None:
    assert refusal(make) == expected


def test_what_is_odd_but_fine() -> None:
    assert Float(2, 2).size == 1
    assert Float(0, 1, step=5).size == 1
    assert Float(2, 2, log=True).from_unit(0.3) == 2.0
    assert Int(-(2**53), -1).size == 2**53
    assert Float(-0.0, 1).low.hex() == "0x0.0p+0"
    assert len(Categorical(*range(10_000)).choices) == 10_000
    assert Float(0, 1, step=0.1, default=0.1 * 3).default == 0.3
    assert len(Space({f"p{i}": 0 for i in range(1000)})) == 1000
    assert Space({"Größe ☃ a.b": [1, 2]}).names == ("Größe ☃ a.b",)


def test_equal_choices_by_the_thousand_are_not_all_listed() -> None:
    found = refusal(lambda: Categorical(*["a"] * 500))
    assert len(found) == 11
    assert found[-1] == "choices: 489 more choices have problems like these."
