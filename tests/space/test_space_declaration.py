"""What may be declared, what is refused, and that all mistakes are told at once with their paths."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hpt_core.errors import SpaceError
from hpt_core.space.space import Categorical, Constant, Float, Int, Ordinal, Parameter, Space
from hpt_core.testing.strategies import spaces

CATEGORICAL_KEYS = "Known: choices, ordered, default, when, requires, type."
KEYS = ["low", "high", "log", "step", "choices", "value", "type", "when", "requires", "default", "ordered", "x"]


def refusal(make: Callable[[], object]) -> list[str]:
    with pytest.raises(SpaceError) as caught:
        make()
    return [str(mistake) for mistake in caught.value.mistakes]


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (["a", "b"], Categorical("a", "b")),
        (("a", "b"), Categorical("a", "b")),
        ({"low": 1, "high": 5}, Int(1, 5)),
        ({"low": 1, "high": 5.0}, Float(1, 5)),
        ({"low": 1.0, "high": 5}, Float(1, 5)),
        ({"type": "float", "low": 1, "high": 5}, Float(1, 5)),
        ({"low": 1, "high": 64, "log": True, "step": 3, "default": 4}, Int(1, 64, log=True, step=3, default=4)),
        ({"low": 0.5, "high": 2, "log": True, "default": 1}, Float(0.5, 2.0, log=True, default=1.0)),
        ({"choices": [1, 2]}, Categorical(1, 2)),
        ({"choices": [1, 2], "ordered": False}, Categorical(1, 2)),
        ({"choices": [1, 2], "ordered": True, "default": 2}, Ordinal(1, 2, default=2)),
        ({"type": "ordinal", "choices": [1, 2]}, Ordinal(1, 2)),
        ({"type": "categorical", "choices": [1, 2]}, Categorical(1, 2)),
        ({"value": [1, 2]}, Constant([1, 2])),
        ({"type": "constant", "value": None}, Constant(None)),
        (3, Constant(3)),
        ("adam", Constant("adam")),
        (False, Constant(False)),
        (None, Constant(None)),
        (np.float64(0.5), Constant(0.5)),
        ({"low": np.int64(1), "high": np.int32(5)}, Int(1, 5)),
    ],
    ids=repr,
)
def test_short_forms(form: Any, expected: Parameter) -> None:
    parameter = Space({"p": form})["p"]
    assert parameter == expected
    assert type(parameter) is type(expected)


# --- spaces -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ([1], ["space: must map names to parameters. Got [1]."]),
        ({}, ["space: must have 1 to 1,000 parameters. Got 0."]),
        ({f"p{i}": 0 for i in range(1001)}, ["space: must have 1 to 1,000 parameters. Got 1,001."]),
        ({"": 1}, ["space: A parameter's name must have 1 to 200 characters. Got ''."]),
        (
            {"x" * 201: 1},
            [f"space: A parameter's name must have 1 to 200 characters. Got {repr('x' * 201)[:77]}...."],
        ),
        ({"a\n": 1}, [r"space: A parameter's name must be printable. Got 'a\n'."]),
        ({"a\0": 1}, [r"space: A parameter's name must be printable. Got 'a\x00'."]),
        ({"\ud800": 1}, [r"space: A parameter's name must be printable. Got '\ud800'."]),
        ({3: 1}, ["space: A parameter's name must be a string. Got 3."]),
        ({"a b": {"low": 1}}, ["space.'a b'.high: is missing; a parameter of type 'int' requires it."]),
        ({"a": {"low": 1, "default": 3}}, ["space.a.high: is missing; a parameter of type 'int' requires it."]),
        (
            {"a": object},
            [
                (
                    "space.a: must be a parameter, a list of choices, a table such as {'low': 0, 'high': 1}, or a "
                    "single value. Got <class 'object'>."
                )
            ],
        ),
        (
            {"a": (0.1, 10)},
            ["space.a: must not be a pair: write {'low': 0.1, 'high': 10} for a range, [0.1, 10] for choices."],
        ),
        (
            {"a": (1e-3, 1e3, "log-uniform"), "b": (1, 9, int)},
            [
                (
                    "space.a: must not be a triple: write {'low': 0.001, 'high': 1000.0, 'log': True} for a range, "
                    "a list for choices."
                ),
                "space.b: must not be a triple: write {'low': 1, 'high': 9} for a range, a list for choices.",
            ],
        ),
        ({"a": {}}, ["space.a: must have low and high, or choices, or value. Got the keys []."]),
        (
            {"svc": {"C": {"low": 1, "high": 2}, "kernel": ["a", "b"]}},
            [
                (
                    "space.svc: must have low and high, or choices, or value. Got the keys ['C', 'kernel']. "
                    "Quote a name that contains a dot."
                )
            ],
        ),
        (
            {"a": {"values": [1, 2]}},
            [
                (
                    "space.a: must have low and high, or choices, or value. Got the keys ['values']. "
                    "Did you mean `choices`? If the name contains a dot, quote it."
                )
            ],
        ),
        (
            {"svc": {"C": [1, 2], "kernel": ["a", "b"]}},
            [
                (
                    "space.svc: must have low and high, or choices, or value. Got the keys ['C', 'kernel']. "
                    "Quote a name that contains a dot."
                )
            ],
        ),
        ({"a": {"lo": 1}}, ["space.a: must have low and high, or choices, or value. Got the keys ['lo']."]),
        (
            {"C": {"low": 1e-3, "high": 1e3, "lgo": True, "default": 1e4}},
            [
                "space.C.lgo: is not a key of a parameter of type 'float'. Did you mean 'log'?",
                "space.C.default: must be a number in [0.001, 1000.0]. Got 10000.0.",
            ],
        ),
        (
            {"n": {"low": 9, "high": 1, "choices": [1]}},
            [
                f"space.n.{key}: is not a key of a parameter of type 'categorical'. {CATEGORICAL_KEYS}"
                for key in ("low", "high")
            ],
        ),
        (
            {"n": {"low": "x", "step": 0, "log": 3}},
            [
                "space.n.high: is missing; a parameter of type 'float' requires it.",
                "space.n.low: must be a number. Got 'x'.",
                "space.n.log: must be true or false. Got 3.",
                "space.n.step: must be > 0. Got 0.0.",
            ],
        ),
        (
            {"a": {"type": "flaot", "low": 1}},
            ["space.a.type: must be one of float, int, categorical, ordinal, constant. Got 'flaot'."],
        ),
        (
            {"a": {"type": ["float"]}},
            ["space.a.type: must be one of float, int, categorical, ordinal, constant. Got ['float']."],
        ),
        (
            {"a": {"type": "int", "low": 0.5, "high": 3}},
            ['space.a.low: must be an int. Got 0.5. A range of floats is a Float (type = "float").'],
        ),
        ({"a": {"type": "constant"}}, ["space.a.value: is missing; a parameter of type 'constant' requires it."]),
        ({"a": {"choices": "abc"}}, ["space.a.choices: must be a list. Got 'abc'."]),
        ({"a": {"choices": [1, 2], "ordered": 1}}, ["space.a.ordered: must be true or false. Got 1."]),
        (
            {"a": {"type": "categorical", "choices": [1, 2], "ordered": True}},
            ["space.a.ordered: must be false or left out for type 'categorical'. Got True."],
        ),
        (
            {"a": [1, 2], "b": {"low": 1, "high": 2, "when": {"a": 1, "b": 1, "aa": 1}}},
            [
                "space.b.when.b: is the parameter itself; a condition must name another parameter.",
                "space.b.when.aa: is not a parameter of the space. Did you mean 'a'?",
            ],
        ),
        (
            {"a": [1, 2], "b": {"low": 9, "high": 2, "when": {"c": 1}}},
            [
                "space.b.low: must be <= high (2). Got 9.",
                "space.b.when.c: is not a parameter of the space. Known: a.",
            ],
        ),
        (
            {"x": Float(0, 1), "b": Int(1, 2, when={"x": 0.5})},
            ["space.b.when.x: is a continuous Float; a condition must refer to a finite parameter."],
        ),
        (
            {"m": ["svm", "rf"], "n": [1, 2], "b": Int(1, 2, when={"m": ["svm", "svn"], "n": True})},
            [
                "space.b.when.m: must be one of 'svm', 'rf'. Got 'svn'.",
                "space.b.when.n: must be one of 1, 2. Got True.",
            ],
        ),
        (
            {"c": 1, "b": Int(1, 2, when={"c": 2})},
            ["space.b.when.c: must be 1. Got 2."],
        ),
        (
            {
                "a": {"choices": [1, 2], "when": {"b": 1}},
                "b": {"choices": [1, 2], "when": {"a": 1}},
                "c": {"choices": [1, 2], "when": {"b": 1}},
                "x": {"choices": [1, 2], "when": {"y": 1}},
                "y": {"choices": [1, 2], "when": {"z": 1}},
                "z": {"choices": [1, 2], "when": {"x": 1}},
            },
            [
                "space.a.when: must not form a cycle. Got a -> b -> a.",
                "space.x.when: must not form a cycle. Got x -> y -> z -> x.",
            ],
        ),
        (
            {
                "m": ["a", "b", "c"],
                "u": {"choices": [1, 2], "when": {"m": ["a", "b"]}},
                "v": {"choices": [1, 2], "when": {"u": 1, "m": "c"}},
                "w": {"choices": [1, 2], "when": {"v": 1}},
            },
            ["space.v.when: can never hold: its parents are active only for other values of 'm'."],
        ),
        (
            {"a": Float(0, 1), "b": {"low": 2, "high": 1}, "c": [], "d": {"low": 1, "hihg": 2}},
            [
                "space.b.low: must be <= high (1). Got 2.",
                "space.c.choices: must list at least one value. Got none.",
                "space.d.hihg: is not a key of a parameter of type 'int'. Did you mean 'high'?",
                "space.d.high: is missing; a parameter of type 'int' requires it.",
            ],
        ),
    ],
)
def test_every_mistake_in_a_space_is_reported(declared: Any, expected: list[str]) -> None:
    assert refusal(lambda: Space(declared)) == expected


@given(spaces(conditional=True))
def test_parents_come_before_children_and_nothing_else_moves(space: Space) -> None:
    assert sorted(space.order) == sorted(space.names)
    place = {name: i for i, name in enumerate(space.order)}
    for name, p in space.parameters.items():
        assert all(place[parent] < place[name] for parent in p.when)
    if all(space.names.index(parent) < space.names.index(n) for n, p in space.parameters.items() for parent in p.when):
        assert space.order == space.names


@st.composite
def tables(draw: st.DrawFn) -> dict[str, Any]:
    """Tables with the right keys, and values that are mostly wrong."""
    scalar = st.none() | st.booleans() | st.floats() | st.text(max_size=3) | st.integers() | st.integers(0, 3)
    anything = scalar | st.lists(scalar, max_size=3) | st.dictionaries(st.sampled_from(KEYS), scalar, max_size=2)
    table = draw(st.dictionaries(st.sampled_from(KEYS), anything, max_size=6))
    kind = draw(st.none() | st.sampled_from(["float", "int", "categorical", "ordinal", "constant"]))
    return table if kind is None else {**table, "type": kind}


@given(tables())
@example({"type": "float", "low": 0.0, "high": 1.0, "choices": 1})
def test_any_form_makes_a_parameter_or_a_clear_refusal(form: Any) -> None:
    try:
        space = Space({"x": form})
    except SpaceError as err:
        found = err.mistakes
    else:
        assert space.contains(space.default())
        return
    assert found
    assert all(m.path.startswith("space.x") for m in found)


def test_a_million_names_are_refused_before_any_is_looked_at() -> None:
    class Explodes:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError(name)

    names: dict[str, Any] = dict.fromkeys(map(str, range(10**6)), Explodes())
    assert refusal(lambda: Space(names)) == ["space: must have 1 to 1,000 parameters. Got 1,000,000."]
