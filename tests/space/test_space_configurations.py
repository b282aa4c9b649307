"""Configurations: which are in the space, what is wrong with others, their keys, defaults and neighbours."""

from __future__ import annotations

import json
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hpt_core.errors import InvalidParamsError
from hpt_core.space.space import Categorical, Constant, Float, Int, Ordinal, Space
from hpt_core.testing.strategies import params_of, spaces, units

SPACE = Space(
    {
        "model": ["svm", "forest"],
        "C": Float(1e-3, 1e3, log=True, when={"model": "svm"}),
        "kernel": Categorical("rbf", "poly", default="rbf", when={"model": "svm"}),
        "degree": Int(2, 5, when={"kernel": "poly", "model": ["svm", "forest"]}),
        "depth": Int(2, 30, when={"model": "forest"}),
        "drop": Float(0, 0.5, step=0.1, default=0.2),
        "tag": Constant("v1"),
    }
)
SVM = {"model": "svm", "C": 1.0, "kernel": "rbf", "drop": 0.2, "tag": "v1"}


def mistakes(space: Space, params: Any) -> dict[str, str]:
    with pytest.raises(InvalidParamsError) as caught:
        space.validate(params)
    return {m.path: m.message for m in caught.value.mistakes}


def typed(value: Any) -> str:
    return json.dumps(value)


def test_what_is_missing_comes_from_defaults_and_constants() -> None:
    assert SPACE.validate({"C": 1, "model": "svm"}) == SVM
    assert list(SPACE.validate({"C": 1, "model": "svm"})) == list(SVM)
    assert typed(SPACE.validate({"C": 1, "model": "svm"})) == typed(SVM)


def test_numpy_scalars_become_native() -> None:
    given_ = {"model": np.str_("forest"), "depth": np.int64(3), "drop": np.float32(0.5)}
    params = SPACE.validate(given_)
    assert params == {"model": "forest", "depth": 3, "drop": 0.5, "tag": "v1"}
    assert [type(v) for v in params.values()] == [str, int, float, str]
    assert not SPACE.contains({**params, "depth": np.int64(3)})
    assert SPACE.contains(params)


def test_rounding_off_the_step_is_forgiven_and_no_more() -> None:
    assert SPACE.validate({**SVM, "drop": 0.1 * 3})["drop"] == 0.3
    assert not SPACE.contains({**SVM, "drop": 0.1 * 3})
    assert SPACE.validate({**SVM, "drop": 0.5 + 1e-12})["drop"] == 0.5
    wrong = mistakes(SPACE, {**SVM, "drop": 0.30001})
    assert wrong == {"drop": "must be a number in [0.0, 0.5] in steps of 0.1. Got 0.30001; the nearest is 0.3."}


def test_all_mistakes_at_once() -> None:
    assert mistakes(SPACE, {"model": "svm", "C": 1e4, "modle": 1, "depth": 3, "tag": "v2", "drop": True}) == {
        "modle": "is not a parameter of the space. Did you mean 'model'?",
        "C": "must be a number in [0.001, 1000.0]. Got 10000.0.",
        "depth": "is active only if 'model' is 'forest', but 'model' is 'svm'. Leave it out.",
        "drop": "must be a number in [0.0, 0.5] in steps of 0.1. Got True.",
        "tag": "must be 'v1'. Got 'v2'.",
    }
    assert mistakes(SPACE, {"model": "forest", "degree": 3}) == {
        "degree": "is active only if 'kernel' is 'poly', but 'kernel' is inactive. Leave it out.",
        "depth": "is missing. It must be an int in [2, 30].",
    }
    assert mistakes(SPACE, {3: 4, "model": "forest", "depth": 2.0}) == {
        "3": "is not a parameter of the space. Known: model, C, kernel, degree, depth, drop, tag.",
        "depth": "must be an int in [2, 30]. Got 2.0.",
    }


def test_children_of_a_wrong_parent_are_only_checked_themselves() -> None:
    assert mistakes(SPACE, {"model": "svn", "C": -1, "kernel": "poly", "degree": 3}) == {
        "model": "must be one of 'svm', 'forest'. Got 'svn'.",
        "C": "must be a number in [0.001, 1000.0]. Got -1.",
    }
    assert mistakes(SPACE, {"model": "svn", "degree": 3}) == {"model": "must be one of 'svm', 'forest'. Got 'svn'."}


@pytest.mark.parametrize("junk", [None, [], "model", 3, [("model", "svm")]])
def test_a_configuration_is_a_mapping(junk: Any) -> None:
    assert not SPACE.contains(junk)
    with pytest.raises(InvalidParamsError, match="must map names to values"):
        SPACE.validate(junk)


@pytest.mark.parametrize(
    "params",
    [
        {**SVM, "extra": 1},
        {**SVM, "depth": 3},
        {k: v for k, v in SVM.items() if k != "C"},
        {**SVM, "C": 1},
        {**SVM, "C": float("nan")},
        {**SVM, "C": "1"},
        {**SVM, "model": ["svm"]},
        {**SVM, "model": {}},
        {**SVM, "model": None},
        {**SVM, "tag": "v2"},
        {**SVM, "kernel": "poly"},
        {},
    ],
)
def test_what_is_not_contained(params: dict[str, Any]) -> None:
    assert SPACE.contains(SVM)
    assert not SPACE.contains(params)


@given(spaces().flatmap(lambda space: st.tuples(st.just(space), params_of(space))), st.data())
def test_contained_is_what_validate_leaves_alone(case: tuple[Space, dict[str, Any]], data: st.DataObject) -> None:
    """The two agree on configurations with one value exchanged, dropped or added."""
    space, params = case
    name = data.draw(st.sampled_from(space.names))
    junk = st.none() | st.booleans() | st.integers(-2, 2) | st.floats() | st.text(max_size=2) | st.just([1])
    change = data.draw(st.sampled_from(["keep", "drop", "junk", "valid"]))
    if change == "drop":
        params.pop(name, None)
    elif change != "keep":
        params[name] = data.draw(junk if change == "junk" else units().map(space[name].from_unit))
    try:
        unchanged = typed(space.validate(params)) == typed({n: params[n] for n in space.names if n in params})
    except InvalidParamsError:
        unchanged = False
    assert space.contains(params) == unchanged


@given(spaces().flatmap(lambda space: st.tuples(st.just(space), params_of(space))))
def test_active_names_are_those_of_the_configuration(case: tuple[Space, dict[str, Any]]) -> None:
    space, params = case
    assert space.active(params) == tuple(params)
    full = {name: p.from_unit(0.5) for name, p in space.parameters.items()} | params
    assert space.active(full) == tuple(params)


def test_active_with_parents_missing_or_unhashable() -> None:
    assert SPACE.active({}) == ("model", "drop", "tag")
    assert SPACE.active({"model": "svm"}) == ("model", "C", "kernel", "drop", "tag")
    assert SPACE.active({"model": "forest", "kernel": "poly"}) == ("model", "depth", "drop", "tag")
    assert SPACE.active({"model": []}) == ("model", "drop", "tag")


def test_an_array_in_place_of_a_list_activates_nothing() -> None:
    space = Space({"layers": [[64], [64, 64]], "drop": Float(0, 1, when={"layers": [[64, 64]]})})
    params = {"layers": np.array([64, 64]), "drop": 0.5}
    assert space.active(params) == ("layers",)
    assert not space.contains(params)
    with pytest.raises(InvalidParamsError, match=r"^layers: must be one of \[64\], \[64, 64\]\. Got array"):
        space.validate(params)


@pytest.mark.parametrize("value", [{}, [[1]], [1.0], (1, "x"), object(), True, 2.0, None])
def test_what_is_no_choice(value: Any) -> None:
    p = Categorical(1, 2, [1, "x"])
    assert not p.contains(value)
    assert (p.accept(value)[1] == "") == (value == (1, "x"))


def test_an_int_stands_for_an_equal_float_choice() -> None:
    space = Space({"p": Categorical(1.0, [0.5, 2.0], "a")})
    assert typed(space.validate({"p": 1})) == '{"p": 1.0}'
    assert typed(space.validate({"p": (0.5, 2)})) == '{"p": [0.5, 2.0]}'
    assert mistakes(space, {"p": True}) == {"p": "must be one of 1.0, [0.5, 2.0], 'a'. Got True."}


# --- keys ---------------------------------------------------------------------------------------------


@given(spaces(), st.data())
def test_keys_are_equal_exactly_for_equal_configurations(space: Space, data: st.DataObject) -> None:
    a, b = data.draw(params_of(space)), data.draw(params_of(space))
    assert (space.key(a) == space.key(b)) == (a == b)
    assert hash(space.key(a)) == hash(space.key(dict(reversed(a.items()))))
    assert pickle.loads(pickle.dumps(space.key(a))) == space.key(a)


@pytest.mark.parametrize("space", [Space({"m": [1, 2]}), Space({"m": [1, 2], "x": Int(0, 1, when={"m": 1})})])
def test_a_configuration_with_a_list_outside_the_space_has_a_key(space: Space) -> None:
    keys = [space.key({"m": value}) for value in (1, 2, [1], [1, 2], [2, 1])]
    assert len(set(keys)) == 5
    assert space.key({"m": [1, 2]}) == keys[3]


def test_an_inactive_parameter_is_not_the_choice_none() -> None:
    space = Space({"m": [1, 2, 3], "x": Categorical(None, "a", when={"m": [1, 2]}), "y": Int(0, 1, when={"m": 3})})
    keys = {space.key(params) for params in space.grid()}
    assert len(keys) == space.size == 2 * 2 + 2
    lists = Space({"m": [1, 2], "x": Categorical([], None, when={"m": 1})})
    assert len({lists.key(params) for params in lists.grid()}) == 3


# --- defaults and neighbours --------------------------------------------------------------------------


def test_defaults_then_middles_then_first_choices() -> None:
    space = Space(
        {
            "x": Float(0, 1, default=0.25),
            "lr": Float(1e-4, 1.0, log=True),
            "n": Int(1, 9),
            "o": Ordinal("s", "m", "l"),
            "c": ["a", "b", "c"],
            "z": Int(1, 9, default=2, when={"c": "a"}),
            "w": Int(1, 9, default=2, when={"c": "b"}),
        }
    )
    default = space.default()
    assert default == {"x": 0.25, "lr": pytest.approx(0.01), "n": 5, "o": "m", "c": "a", "z": 2}
    assert space.contains(default)
    assert space.has_defaults
    assert not Space({"x": Float(0, 1)}).has_defaults


@given(spaces())
def test_the_default_lies_in_the_space(space: Space) -> None:
    default = space.default()
    assert space.contains(default)
    for name, value in default.items():
        declared = space[name].default
        assert declared is None or typed(value) == typed(declared)


def test_neighbours_one_by_one() -> None:
    space = Space({"c": ["a", "b", "c"], "n": Int(1, 9, step=2), "x": Float(0, 1), "k": 3})
    assert space.neighbours({"c": "b", "n": 1, "x": 0.95, "k": 3}) == [
        {"c": "a", "n": 1, "x": 0.95, "k": 3},
        {"c": "c", "n": 1, "x": 0.95, "k": 3},
        {"c": "b", "n": 3, "x": 0.95, "k": 3},
        {"c": "b", "n": 1, "x": pytest.approx(0.85, abs=1e-11), "k": 3},
        {"c": "b", "n": 1, "x": 1.0, "k": 3},
    ]
    assert [p["x"] for p in space.neighbours({"c": "a", "n": 5, "x": 1.0, "k": 3})[4:]] == [pytest.approx(0.9)]


def test_neighbours_switch_children_on_and_off() -> None:
    found = SPACE.neighbours(SVM)
    assert {"model": "forest", "depth": 16, "drop": 0.2, "tag": "v1"} in found
    assert {**SVM, "kernel": "poly", "degree": 4} in [dict(p) for p in found]


@given(spaces(), st.data())
def test_neighbours_are_other_configurations_of_the_space(space: Space, data: st.DataObject) -> None:
    params = data.draw(params_of(space))
    assume(all((space[name].size or 1) < 50 for name in params))
    found = space.neighbours(params)
    keys = [space.key(p) for p in found]
    assert len(set(keys)) == len(keys)
    assert space.key(params) not in keys
    for other in found:
        assert space.contains(other)
        assert tuple(other) == space.active(other)
        changed = [n for n in params if n in other and typed(other[n]) != typed(params[n])]
        assert len(changed) == 1


@given(spaces(finite=True, conditional=False, max_size=30), st.data())
def test_neighbourhood_is_symmetric_where_all_is_finite(space: Space, data: st.DataObject) -> None:
    params = data.draw(params_of(space))
    for other in space.neighbours(params):
        assert params in space.neighbours(other)


def test_values_outside_have_no_unit_coordinates() -> None:
    with pytest.raises(InvalidParamsError, match="model: must be one of"):
        SPACE.to_unit({**SVM, "model": "svn"})
    with pytest.raises(InvalidParamsError, match="C: must be a number"):
        SPACE.to_unit([SVM, {**SVM, "C": "1"}])
