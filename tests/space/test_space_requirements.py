"""Requirements of a space: the expressions, and that every configuration a space gives satisfies them."""

from __future__ import annotations

import itertools
import logging
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.random import Generator, default_rng

from hpt_core import Categorical, Float, History, Int, Ordinal, Params, Space, Study, UsageError
from hpt_core.errors import InvalidParamsError, SpaceError
from hpt_core.mistakes import Mistakes
from hpt_core.space.requirements import parse_requirement
from hpt_core.testing import make_history


def holds(text: str, **params: Any) -> bool:
    return parse_requirement(text).holds(params)


# --- expressions ------------------------------------------------------------------------------------


def joined(inner: st.SearchStrategy[str], operators: list[str]) -> st.SearchStrategy[str]:
    return st.tuples(inner, st.sampled_from(operators), inner).map(lambda parts: f"({' '.join(parts)})")


numbers = st.one_of(st.sampled_from(["a", "b", "c"]), st.integers(-3, 3).map(str), st.just("0.5"))
sums = st.recursive(numbers, lambda inner: joined(inner, ["+", "-", "*", "/", "//", "%"]), max_leaves=5)
comparisons = joined(sums, ["<", "<=", ">", ">=", "==", "!="])
expressions = st.recursive(
    comparisons, lambda inner: st.one_of(inner.map("not {}".format), joined(inner, ["and", "or"])), max_leaves=4
)


@given(text=expressions, values=st.tuples(st.integers(-4, 4), st.integers(0, 3), st.floats(-2, 2)))
def test_an_expression_means_what_it_means_in_python(text: str, values: tuple[float, float, float]) -> None:
    params = dict(zip("abc", values, strict=True))
    try:
        expected = bool(eval(text, {}, params))  # the oracle
    except ZeroDivisionError:
        expected = False
    assert holds(text, **params) is expected


@pytest.mark.parametrize(
    ("text", "params", "expected"),
    [
        ("solver != 'svd' or n <= 3", {"solver": "svd", "n": 4}, False),
        ("solver != 'svd' or n <= 3", {"solver": "lsqr", "n": 4}, True),
        ("solver in ('svd', 'qr')", {"solver": "qr"}, True),
        ("solver not in ['svd', 'qr']", {"solver": "qr"}, False),
        ("1 <= a < b <= 9", {"a": 2, "b": 9}, True),
        ("1 <= a < b <= 9", {"a": 2, "b": 2}, False),
        ("not augment or rate < 0.5", {"augment": False, "rate": 0.9}, True),
        ("svc.C <= svc.gamma", {"svc.C": 1.0, "svc.gamma": 0.5}, False),
        ("-a <= +b", {"a": 1, "b": -1}, True),
        ("layers == [64, 32]", {"layers": [64, 32]}, True),
        ("32 in layers", {"layers": [64, 32]}, True),
        ("`batch-size` * q0 <= 64 and `svc:C` > 1", {"batch-size": 8, "q0": 8, "svc:C": 2}, True),
        ("`batch-size` * q0 <= 64", {"batch-size": 8, "q0": 9}, False),
        ("q0 < 3 and`a b`<2", {"q0": 1, "a b": 1}, True),
        ("`lambda` != 'it\\'s `x`' and `a b` == \"`\"", {"lambda": "x", "a b": "`"}, True),
        ("`\ufb01` < 1 and `Gr\u00f6\u00dfe (\u00b5m)` < 2", {"\ufb01": 0, "Gr\u00f6\u00dfe (\u00b5m)": 2}, False),
        ("\u00b5 <= svc.\u00b5 and svc . \ufb01 > 1", {"\u00b5": 1, "svc.\u00b5": 2, "svc.\ufb01": 1}, False),
    ],
)
def test_expressions_have_strings_logic_membership_chains_and_names_with_dots_or_in_backquotes(
    text: str, params: dict[str, Any], expected: bool
) -> None:
    assert holds(text, **params) is expected


def test_it_does_not_apply_while_a_parameter_that_it_names_is_inactive() -> None:
    assert holds("a < b", a=5)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a <", "invalid syntax"),
        ("", "must be an expression such as 'leaf <= split / 2'. Got ''"),
        (3, "must be an expression such as 'leaf <= split / 2'. Got 3"),
        ("a", "must compare something"),
        ("a + 1", "must compare something"),
        ("-a", "must compare something"),
        ("a << 9 > 1", "not LShift"),
        ("max(a, b) < 3", "not 'max(a, b)'"),
        ("max(a, b)", "not 'max(a, b)'"),
        ("__import__('os').system('true') == 0", "not"),
        ("a.__class__.__mro__[1] == 1", "not 'a.__class__.__mro__[1]'"),
        ("(lambda: a)() < 1", "not"),
        ("[x for x in (1, 2)] == a", "not"),
        ("a is None", "not Is"),
        ("a < 2j", "not '2j'"),
        ("'x' * 9 == a", "numbers only, not \"'x'\""),
        ("('x' or a) * 9 == b", "numbers only"),
        ("(1, 2) * 9 == b", "numbers only"),
        ("a < 'x'", "numbers only"),
        ("a + " * 2500 + "a < 1", "must have at most 10,000 characters. Got 10,005"),
        ("not " * 240 + "a < 1", ""),
        ("a" + " + a" * 260 + " < 1", "must not be nested deeper than 250 levels"),
        ("a in ('x')", "must have a list after 'in', as in ['x'], not 'x'."),
        ("a not in 3", "must have a list after 'in', as in [3], not 3."),
        ("lambda <= 2", "'lambda' is a keyword of Python; a parameter that is named here needs another name."),
        ("a is not b or", "invalid syntax."),
        ("`a < 3", "invalid syntax"),
        ("`a b` << 2 < 1", "not LShift"),
        ("`a b``c` < 1", "invalid syntax."),
        ("a < 1 and `a b`c < 1", "invalid syntax."),
        ("(" * 400 + "a" + ")" * 400 + " < 1", "too many nested parentheses"),
    ],
)
def test_an_expression_that_is_none_is_refused_in_words(text: Any, problem: str) -> None:
    found = Mistakes()
    requirement = found.collect(parse_requirement, text)
    assert (requirement is None) is bool(problem)
    assert [mistake.path for mistake in found] == (["requires"] if problem else [])
    assert all(problem in mistake.message for mistake in found)


def test_a_keyword_in_backquotes_or_in_a_string_is_not_called_the_mistake() -> None:
    with pytest.raises(SpaceError, match=r"invalid syntax\.$"):
        parse_requirement("`lambda` < a and kind == 'for' or")


@pytest.mark.parametrize("value", [2**53, -(2**53)])
def test_a_product_that_exceeds_all_floats_cannot_be_computed(value: int) -> None:
    assert holds("a" + "*a" * 18 + " != 0", a=value)
    assert not holds("a" + "*a" * 19 + " != 0", a=value)
    assert not holds("a" + "*a" * 200 + " != 0", a=value)


@given(base=st.one_of(st.integers(-9, 9), st.floats(-9, 9)), exponent=st.one_of(st.integers(-9, 9), st.floats(-3, 3)))
def test_a_power_means_what_it_means_in_python(base: float, exponent: float) -> None:
    for text in ("a ** b < 2", "a ** b != 2", "-a ** b <= 2 ** -a ** 2"):
        try:
            expected = bool(eval(text, {"a": base, "b": exponent}))  # the oracle
        except (ArithmeticError, TypeError):  # TypeError: the size of a complex number
            expected = False
        assert holds(text, a=base, b=exponent) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("2 ** 1023 > a", True), ("2 ** 1024 > a", False), ("2 ** 1025 > a", False), ("a ** a ** a > 1", False)],
)
def test_a_power_that_exceeds_all_floats_cannot_be_computed(text: str, expected: bool) -> None:
    assert holds(text, a=2**53) is expected


def test_a_power_of_numpy_ints_is_that_of_ints() -> None:
    assert holds("a ** b == 0.125", a=np.int64(2), b=np.int64(-3))
    assert holds("a ** b > 1e18", a=np.int64(10), b=np.int64(19))


@pytest.mark.parametrize("calls", range(0, 900, 50))
def test_a_requirement_is_never_lost_however_deep_the_calls_of_a_program(calls: int) -> None:
    parameter = Int(1, 9, requires="not " * 240 + "a < 5")

    def space_after(calls: int) -> Space:
        return space_after(calls - 1) if calls else Space({"a": parameter})

    try:
        space = space_after(calls)
    except (SpaceError, RecursionError):
        return
    assert not space.allows({"a": 7})


# --- spaces -----------------------------------------------------------------------------------------

TREES = {
    "model": Categorical("line", "tree"),
    "split": Int(2, 12, when={"model": "tree"}),
    "leaf": Int(1, 8, when={"model": "tree"}, requires="leaf <= split / 2"),
    "depth": Ordinal(1, 2, 4, when={"model": "tree"}, requires="depth != 4 or leaf > 1"),
}
ALL_TREES: list[Params] = [{"model": "line"}] + [
    {"model": "tree", "split": split, "leaf": leaf, "depth": depth}
    for split, leaf, depth in itertools.product(range(2, 13), range(1, 9), (1, 2, 4))
    if leaf <= split / 2 and (depth != 4 or leaf > 1)
]


def key(params: Params) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(params.items()))


def test_the_size_and_the_grid_of_a_space_leave_out_what_is_not_allowed() -> None:
    space = Space(TREES)
    assert space.size == len(ALL_TREES)
    assert sorted(map(key, space.grid())) == sorted(map(key, ALL_TREES))
    assert [space.grid()[i] for i in range(len(space.grid()))] == list(space.grid())


def test_a_grid_without_conditions_has_the_allowed_points_in_their_order() -> None:
    free = {"a": Int(1, 4), "b": Float(0, 1), "c": Categorical([1], [2, 3])}
    space = Space({**free, "b": Float(0, 1, requires="a * b <= 2 and (c != [1] or b > 0)")})
    assert list(space.grid(3)) == list(filter(space.allows, Space(free).grid(3)))


def test_a_configuration_is_in_the_space_only_if_it_is_allowed() -> None:
    space = Space(TREES)
    for split, leaf, depth in itertools.product(range(2, 13), range(1, 9), (1, 2, 4)):
        params = {"model": "tree", "split": split, "leaf": leaf, "depth": depth}
        assert space.contains(params) is space.allows(params) is (params in ALL_TREES)
    with pytest.raises(InvalidParamsError) as caught:
        space.validate({"model": "tree", "split": 4, "leaf": 3, "depth": 1})
    assert str(caught.value) == "leaf: requires leaf <= split / 2. Got split = 4, leaf = 3."


def test_draws_are_spread_evenly_over_the_allowed_configurations() -> None:
    space = Space({"a": Int(1, 4), "b": Int(1, 4, requires="a < b")})
    rng = default_rng(3)
    drawn = [key(space.sample(rng)) for _ in range(6_000)]
    counts = np.array([drawn.count((("a", a), ("b", b))) for a in range(1, 5) for b in range(a + 1, 5)])
    assert counts.sum() == 6_000
    assert ((counts - 1_000) ** 2 / 1_000).sum() < 20.5  # the 0.1 % point of chi squared with 5 degrees of freedom


@given(seed=st.integers(0, 2**32))
def test_draws_neighbours_and_the_default_are_allowed(seed: int) -> None:
    space = Space({**TREES, "rate": Float(0, 1, requires="rate * leaf <= 2")})
    params = space.sample(default_rng(seed))
    near = space.neighbours(params)
    assert near
    assert all(map(space.contains, [params, *near, space.default()]))


def test_a_default_that_is_not_allowed_is_replaced_by_a_configuration_near_it() -> None:
    space = Space({"a": Float(0, 1, default=0.5), "b": Float(0, 1, default=0.5, requires="a + b <= 0.8")})
    a, b = space.default().values()
    assert a + b <= 0.8
    assert np.hypot(a - 0.4, b - 0.4) < 0.1  # (0.4, 0.4) is the nearest allowed point
    assert space.default() == space.default()
    assert space.default({"a": 0.9}) == {"a": 0.9, "b": 0.5}


def test_a_list_in_a_default_that_replaces_another_one_is_a_new_object_each_time() -> None:
    space = Space({"a": Categorical([1, 2], [3], requires="a != [1, 2]")})
    space.default()["a"].append(4)
    assert space.default() == {"a": [3]}


def test_a_default_that_is_allowed_stays() -> None:
    space = Space({"a": Int(1, 9, default=2), "b": Int(1, 9, default=7, requires="a < b")})
    assert space.default() == {"a": 2, "b": 7}


def test_a_requirement_with_a_name_in_backquotes_is_kept_as_written() -> None:
    space = Space({"h": Int(1, 9), "batch-size": Int(1, 9, requires="`batch-size` * h <= 9")})
    assert space.size == sum(9 // h for h in range(1, 10))
    assert Space.from_json(space.to_json()) == space
    with pytest.raises(InvalidParamsError) as caught:
        space.validate({"h": 5, "batch-size": 2})
    assert str(caught.value) == "batch-size: requires `batch-size` * h <= 9. Got h = 5, batch-size = 2."


@given(text=expressions, values=st.tuples(st.integers(-4, 4), st.integers(0, 3), st.floats(-2, 2)))
def test_the_distance_from_a_requirement_is_zero_exactly_where_it_holds(
    text: str, values: tuple[float, float, float]
) -> None:
    params = dict(zip("abc", values, strict=True))
    requirement = parse_requirement(text)
    far = requirement.distance()(params)
    assert far >= 0
    assert (far == 0) is requirement.holds(params)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a + b <= 3", 6.0),
        ("b >= 2 * a", 6.0),
        ("a < b < a - 4", 4.0),  # 1 + 3
        ("a <= 2 and b <= 1", 6.0),  # 3 + 3
        ("a <= 2 or b <= 3", 1.0),
        ("not (a > 2 or b > 3)", 4.0),  # 3 + 1
        ("a == 1 or kind == 'x'", 1.0),
        ("kind in ['x', 'y'] and a <= 4", 2.0),
        ("a <= 9 and b <= 1", 3.0),  # 0 + 3
        ("1 == kind == a", 2.0),  # 1 + 1: a choice of strings and numbers
        ("not a or b <= 1", 1.0),
    ],
)
def test_the_distance_from_a_requirement_is_in_the_units_of_its_comparisons(text: str, expected: float) -> None:
    assert parse_requirement(text).distance()({"a": 5, "b": 4, "kind": "z"}) == expected


@pytest.mark.parametrize("text", ["a / b < 1", "a * 1e308 * 10 < a * 1e308 * 20", "a" + " * a" * 200 + " < 1"])
def test_the_distance_from_a_requirement_that_cannot_be_computed_is_infinite(text: str) -> None:
    assert parse_requirement(text).distance()({"a": 2**53, "b": 0}) == float("inf")


def test_a_requirement_is_part_of_the_definition() -> None:
    space, free = Space(TREES), Space({"a": Int(1, 3), "b": Int(1, 3)})
    assert space.to_json()["leaf"]["requires"] == "leaf <= split / 2"
    assert Space.from_json(space.to_json()) == space == pickle.loads(pickle.dumps(space))
    assert space["leaf"] == pickle.loads(pickle.dumps(space["leaf"]))
    assert repr(space["leaf"]).endswith("requires='leaf <= split / 2')")
    assert Space({"a": Int(1, 3), "b": Int(1, 3, requires="a < b")}).hash != free.hash
    assert "requires" not in free.to_json()["b"]


BETWEEN = {"a": Int(1, 9)}


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({**BETWEEN, "b": {"low": 1, "high": 9, "requires": "b <"}}, "space.b.requires: must be an expression"),
        (
            {**BETWEEN, "b": {"low": 1, "high": 9, "requires": np.array([1, 2])}},
            "space.b.requires: must be an expression such as 'leaf <= split / 2'. Got array([1, 2]).",
        ),
        ({**BETWEEN, "b": Int(1, 9, requires="b < c + a")}, "space.b.requires: names 'c', which is not a parameter of"),
        ({**BETWEEN, "b": Int(1, 9, requires="b < aa")}, "Did you mean 'a'?"),
        ({**BETWEEN, "b": Int(1, 9, requires="a < 3")}, "space.b.requires: must name 'b', the parameter that it"),
        ({"a": ["x", "y"], "b": Int(1, 9, requires="a < b")}, "space.b.requires: computes with 'a', or compares its"),
        ({"a": ["x", "y"], "b": Int(1, 9, requires="a < b")}, "It must be one of 'x', 'y'."),
        (
            {"a": ["x", "y"], "b": Int(1, 9, requires="a != 'z' or b < 3")},
            "compares 'a' with 'z', which is not one of its",
        ),
        ({"a": ["x", "y"], "b": Int(1, 9, requires="a in ('x', 'z') or b < 3")}, "compares 'a' with 'z'"),
        ({**BETWEEN, "b": Int(1, 9, requires="b == 'x' or a < 3")}, "It must be an int in [1, 9]."),
        ({"b": Categorical([1], [2, 3], requires="b != [2]")}, "compares 'b' with [2]"),
        ({"a": Categorical(1, 2, requires="a != -1")}, "compares 'a' with -1, which is not one of its values."),
        ({"batch-size": Int(1, 9, requires="batch-size < 3")}, "cannot name 'batch-size': an expression names"),
        ({"batch-size": Int(1, 9, requires="batch-size < 3")}, "write it in backquotes, `batch-size`. Got"),
        ({"a`b": Int(1, 9, requires="a < 3")}, "cannot name 'a`b': an expression names parameters as Python does"),
        ({"a`b": Int(1, 9, requires="a < 3")}, "rename the parameter. Got"),
        (
            {"batch-size": Int(1, 9), "c": Int(1, 9, requires="c < batch-size")},
            "names 'batch', which is not a parameter of the space. Did you mean 'batch-size'? Write a name that is not",
        ),
        ({"True": Int(1, 9, requires="True < 3")}, "cannot name 'True': an expression names parameters as Python does"),
        ({3: Int(1, 9, requires="a < 3")}, "A parameter's name must be a string. Got 3."),
        (
            {f"a{i}": Int(1, 9, requires=f"a{i} < 5" + f" or a{i} < 5" * 800) for i in range(13)},
            "space: must have requirements of at most 100,000 characters in all. Got 1",
        ),
        ({"a": Float(0, 1), "b": Float(0, 1, requires="a == b")}, "random configurations satisfies 'a == b'."),
    ],
)
def test_a_wrong_requirement_is_told_with_its_path(declared: dict[str, Any], message: str) -> None:
    with pytest.raises(SpaceError) as caught:
        Space(declared)
    assert message in str(caught.value)


def test_a_grid_of_too_many_points_to_try_is_refused() -> None:
    space = Space({"a": Int(1, 1_000), "b": Int(1, 1_000, requires="a < b")})
    assert space.size is None
    with pytest.raises(UsageError, match=r"points: must give at most 100,000 points .* Got 1,000,000.* = \{'b': 5\}\."):
        space.grid()
    assert space.grid({"b": 5}).size == 250 + 500 + 749 + 999  # as the message says; b is 1, 251, 501, 750 or 1000
    wide = Space({**{f"x{i}": Float(0, 1) for i in range(8)}, "y": Float(0, 1, requires="y < x0")})
    with pytest.raises(UsageError, match=r"Got 1,953,125.* = \{'y': 2\}\."):  # 5 values are what it has
        wide.grid()
    assert space.grid({"a": 3, "b": 3}).size == 3  # (1, 500), (1, 1000), (500, 1000)
    with pytest.raises(UsageError, match=r"points: gives a grid of which no point satisfies"):
        space.grid({"a": 1, "b": 1})


# --- studies ----------------------------------------------------------------------------------------


class Corner:
    """A sampler that knows nothing of requirements: it suggests points that break one, at first."""

    def __init__(self, breaking: int) -> None:
        self.breaking, self.asked = breaking, 0

    def suggest(self, history: History, rng: Generator) -> Params:
        self.asked += 1
        u = 0.9 if self.asked <= self.breaking else 0.1 * rng.random()
        params: Params = history.space.from_unit([u] * len(history.space.columns))
        return params


@pytest.mark.parametrize(("breaking", "source"), [(3, "sampler"), (4, "fill")])
def test_a_sampler_that_ignores_requirements_is_asked_again_and_then_replaced(
    breaking: int, source: str, caplog: pytest.LogCaptureFixture
) -> None:
    study = Study({"x": Float(0, 1), "y": Float(0, 1, requires="x + y <= 1")}, sampler=Corner(breaking))
    with caplog.at_level(logging.WARNING, "hpt"):
        trial = study.ask()
    assert trial.source == source
    assert study.space.contains(trial.params)
    assert not caplog.records


def test_a_study_ends_when_all_allowed_configurations_were_tried() -> None:
    study = Study(TREES, sampler="random", seed=1)
    study.run(lambda params: float(len(params)), trials=10_000)
    assert len(study.trials) == len(ALL_TREES)
    assert {key(trial.params) for trial in study.trials} == set(map(key, ALL_TREES))


def test_an_enqueued_configuration_that_is_not_allowed_is_refused() -> None:
    study = Study({"a": Int(1, 9), "b": Int(1, 9, requires="a < b")})
    with pytest.raises(InvalidParamsError, match=r"b: requires a < b\. Got a = 3, b = 2\."):
        study.enqueue({"a": 3, "b": 2})


def test_what_a_sampler_may_suggest() -> None:
    space = Space({"a": Int(1, 9), "b": Int(1, 9, requires="a < b")})
    history = make_history(space, [({"a": 1, "b": 2}, 0.5)])
    assert not history.untried({"a": 1, "b": 2})  # tried
    assert not history.untried({"a": 2, "b": 2})  # not allowed
    assert history.untried({"a": 1, "b": 3})


def test_a_requirement_that_is_added_leaves_out_the_trials_that_break_it(tmp_path: Any) -> None:
    free = {"a": Int(1, 9), "b": Int(1, 9)}
    before = Study(free, sampler="random", store=tmp_path / "s.db", name="s", seed=0)
    before.run(lambda params: float(params["a"] - params["b"]), trials=20)
    bound = {"a": Int(1, 9), "b": Int(1, 9, requires="a < b")}
    after = Study(bound, sampler="random", store=tmp_path / "s.db", name="s", seed=0, amend=True)
    allowed = [trial.number for trial in after.trials if trial.params["a"] < trial.params["b"]]
    assert after.history.complete.tolist() == allowed
    assert len(allowed) < 20
