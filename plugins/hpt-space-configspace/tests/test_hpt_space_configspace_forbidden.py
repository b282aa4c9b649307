"""Forbidden clauses and requirements: the spaces on both sides hold exactly the same configurations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from hpt_core import Categorical, Float, HptError, Int, Params, Space, UsageError

cs = pytest.importorskip("ConfigSpace")
from ConfigSpace import forbidden  # noqa: E402 - needs ConfigSpace
from ConfigSpace.exceptions import ForbiddenValueError  # noqa: E402

from hpt_space_configspace import from_configspace, to_configspace  # noqa: E402

RELATIONS = [
    forbidden.ForbiddenLessThanRelation,
    forbidden.ForbiddenLessThanEqualsRelation,
    forbidden.ForbiddenEqualsRelation,
    forbidden.ForbiddenGreaterThanRelation,
    forbidden.ForbiddenGreaterThanEqualsRelation,
]
BOUNDS = [
    forbidden.ForbiddenLessThanClause,
    forbidden.ForbiddenLessThanEqualsClause,
    forbidden.ForbiddenGreaterThanClause,
    forbidden.ForbiddenGreaterThanEqualsClause,
]


def foreign(*clauses: Any) -> Any:
    """A finite space with parameters that are active under different conditions, two of them also in a chain."""
    there = cs.ConfigurationSpace(
        [
            cs.CategoricalHyperparameter("kind", ["plain", "it's", None], default_value="plain"),
            cs.UniformIntegerHyperparameter("low", 1, 3, default_value=2),
            cs.UniformIntegerHyperparameter("high", 1, 3, default_value=3),
            cs.OrdinalHyperparameter("grade", ["c", "b", "a"], default_value="b"),
            cs.OrdinalHyperparameter("rate", [4.0, -0.5, 0.25], default_value=0.25),
            cs.CategoricalHyperparameter("flag", [True, False]),
            cs.Constant("one", 1),
        ]
    )
    there.add(
        cs.EqualsCondition(there["rate"], there["kind"], "plain"),
        cs.InCondition(there["grade"], there["low"], [2, 3]),
        cs.EqualsCondition(there["flag"], there["grade"], "b"),
    )
    there.add(*(clause(there) for clause in clauses))
    return there


BASE = foreign()
VALUES: dict[str, list[Any]] = {
    "kind": ["plain", "it's", None],
    "low": [1, 2, 3],
    "high": [1, 2, 3],
    "grade": ["c", "b", "a"],
    "rate": [4.0, -0.5, 0.25],
    "flag": [True, False],
    "one": [1],
}
EVERYTHING = list(from_configspace(BASE).grid())

values = st.sampled_from([(name, value) for name, some in VALUES.items() for value in some])
bounds = values.filter(lambda each: BASE[each[0]].ORDERABLE)
names = st.sampled_from(sorted(VALUES))
numbers = st.sampled_from(["low", "high", "rate", "flag", "one"])
simple: st.SearchStrategy[Any] = st.one_of(
    st.builds(lambda each: cs.ForbiddenEqualsClause(BASE[each[0]], each[1]), values),
    st.builds(lambda name, first: cs.ForbiddenInClause(BASE[name], VALUES[name][first:]), names, st.integers(-2, 1)),
    st.builds(lambda kind, each: kind(BASE[each[0]], each[1]), st.sampled_from(BOUNDS), bounds),
    st.builds(lambda kind, a, b: kind(BASE[a], BASE[b]), st.sampled_from(RELATIONS), numbers, numbers),
)  # fmt: skip
conjunctions = st.sampled_from([cs.ForbiddenAndConjunction] * 2 + [forbidden.ForbiddenOrConjunction])
clauses = st.recursive(
    simple,
    lambda parts: st.builds(lambda kind, some: kind(*some), conjunctions, st.lists(parts, min_size=2, max_size=3)),
    max_leaves=4,
)


def legal(there: Any, params: Params) -> bool:
    try:
        cs.Configuration(there, values=params)
    except ForbiddenValueError:
        return False
    return True


@settings(max_examples=60, suppress_health_check=list(HealthCheck), deadline=None)
@given(st.lists(clauses, min_size=1, max_size=4))
def test_both_spaces_hold_the_same_configurations(some: list[Any]) -> None:
    there = foreign()
    try:
        there.add(some)
    except ForbiddenValueError:
        assume(False)  # ConfigSpace requires that the default is not forbidden
    try:
        space = from_configspace(there)
    except UsageError as err:
        if "under other conditions" not in str(err):
            raise
        assume(False)  # no requirement is left for a clause; tested below
    assert [space.contains(params) for params in EVERYTHING] == [legal(there, params) for params in EVERYTHING]
    assert space.default() == dict(there.get_default_configuration())
    back = to_configspace(space)
    assert [legal(back, params) for params in EVERYTHING] == [legal(there, params) for params in EVERYTHING]


def by_place(clause: Any) -> bool:
    """Whether it bounds an ordinal: hpt bounds by value, so its values are listed."""
    return type(clause) in BOUNDS and hasattr(clause.hyperparameter, "sequence")


def rewritten(clause: Any) -> bool:
    """Whether other clauses are written in its place: ConfigSpace draws what this one forbids."""
    return type(clause) is forbidden.ForbiddenLessThanEqualsClause


exact: st.SearchStrategy[Any] = simple.filter(lambda clause: not by_place(clause) and not rewritten(clause))


@settings(max_examples=60, suppress_health_check=list(HealthCheck), deadline=None)
@given(
    st.lists(
        exact | st.lists(exact, min_size=2, max_size=3).map(lambda some: cs.ForbiddenAndConjunction(*some)), max_size=4
    )
)
def test_clauses_and_conjunctions_round_trip(some: list[Any]) -> None:
    there = foreign()
    try:
        there.add(some)
        space = from_configspace(there)
    except (ForbiddenValueError, UsageError):
        assume(False)
    assert to_configspace(space) == there
    assert from_configspace(to_configspace(space)) == space


def test_draws_of_each_side_are_legal_on_the_other() -> None:
    there = cs.ConfigurationSpace({"a": (0.0, 1.0), "b": (1, 9), "c": (0.0, 20.0), "kind": ["x", "y"]})
    high = cs.ForbiddenAndConjunction(
        forbidden.ForbiddenGreaterThanClause(there["a"], 0.4), cs.ForbiddenEqualsClause(there["kind"], "y")
    )
    there.add(cs.ForbiddenLessThanRelation(there["c"], there["b"]), high)
    there.seed(1)
    space, rng = from_configspace(there), np.random.default_rng(1)
    for configuration in there.sample_configuration(300):
        params = dict(configuration)
        assert space.validate(params) == params
        assert legal(there, space.sample(rng))
    free = Space({name: {**p.to_json(), "requires": None} for name, p in space.parameters.items()})
    draws = [free.sample(rng) for _ in range(300)]
    assert [space.contains(params) for params in draws] == [legal(there, params) for params in draws]
    assert 50 < sum(map(space.contains, draws)) < 250  # the clauses forbid something


@pytest.mark.parametrize("requires", ["b > 3", "3 < b <= 8", "kind != 'y' or b > 3", "not (kind == 'y' and b <= 3)"])
def test_configspace_draws_all_that_is_allowed_and_nothing_else(requires: str) -> None:
    space = Space({"kind": Categorical("x", "y"), "b": Int(1, 9, requires=requires)})
    there = to_configspace(space)
    there.seed(1)
    drawn = {space.key(space.validate(dict(configuration))) for configuration in there.sample_configuration(500)}
    assert drawn == set(map(space.key, space.grid()))


def test_clauses_round_trip_through_a_file(tmp_path: Path) -> None:
    space = Space({"a": Int(1, 9), "b": Int(1, 9, requires="(a != 3 or b not in (4, 5)) and a <= b")})
    to_configspace(space).to_json(tmp_path / "space.json")
    assert from_configspace(cs.ConfigurationSpace.from_json(tmp_path / "space.json")) == space


NUMBERS = {"a": Int(1, 4), "kind": Categorical("x", "y", "it's"), "step": Float(0.0, 1.0, step=0.25)}


@pytest.mark.parametrize(
    ("requires", "same"),
    [
        ("a <= b", "a <= b"),
        ("b >= a", "b >= a"),
        ("a < b <= 3", "b <= 3 and a < b"),
        ("2 <= b", "b >= 2"),
        ("1 < b", "b >= 1 and b != 1"),
        ("3 >= b", "b <= 3"),
        ("4 > b", "b < 4"),
        ("b <= 2 or step < 0.6", "b <= 2 or step not in (0.75, 1.0)"),
        ("a != b", "a != b"),
        ("not (a == 1 and b == 2)", "a != 1 or b != 2"),
        ("kind != 'x' or b == 4", "kind != 'x' or b not in (1, 2, 3)"),
        ("b <= 2 or kind in ('y', \"it's\")", "b <= 2 or kind != 'x'"),
        ('(b > 1 or step < 0.5) and not (kind == "it\'s" and b > 3)', None),
        ("not (b > 1 or step < 0.5) or kind == 'x'", None),
        ("(b > 2 and step >= 0.25) or (b < 2 and step != 0.5)", None),
    ],
)
def test_requirements_of_users_become_forbidden_clauses(requires: str, same: str | None) -> None:
    space = Space({**NUMBERS, "b": Int(1, 4, requires=requires)})
    there = to_configspace(space)
    everything = Space({**NUMBERS, "b": Int(1, 4)}).grid()
    assert [legal(there, params) for params in everything] == list(map(space.contains, everything))
    assert space.size is not None
    assert 0 < space.size < len(everything)
    if same is not None:
        assert from_configspace(there)["b"].requires == same


def test_a_default_that_breaks_a_requirement_becomes_that_of_the_space() -> None:
    space = Space({"a": Int(1, 9, default=7), "b": Int(1, 9, default=2, requires="a < b"), "c": Int(1, 9)})
    there = to_configspace(space)
    assert dict(there.get_default_configuration()) == space.default()
    back = from_configspace(there)
    assert back.default() == space.default()
    assert back["c"] == space["c"]


# --- what has no counterpart ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("requires", "message"),
    [
        ("a <= b / 2", "no forbidden clause is the same as 'a > b / 2'."),
        ("a == b", "no forbidden clause is the same as 'a != b'."),
        ("a <= 2 * 3 or b < 2", "no forbidden clause is the same as 'a > 2 * 3'."),
        ("b == 3 or not b", "no forbidden clause is the same as 'b'."),
        ("ratio == 0.5 or b < 3", "no forbidden clause is the same as 'ratio != 0.5'."),
        ("b <= 2.5", "legal hyperparameter value"),
        ("a < b and deep < b", "its parts are about parameters that are active under different conditions."),
        (" or ".join(f"a == {i % 4} and b == {i % 3}" for i in range(20)), "it forbids more than 1000 combinations."),
    ],
)
def test_requirements_without_an_equivalent_in_configspace_are_rejected(requires: str, message: str) -> None:
    fixed = {**NUMBERS, "ratio": Float(0, 1, default=0.5), "deep": Int(1, 4, when={"kind": "y"})}
    with pytest.raises(UsageError) as caught:
        to_configspace(Space({**fixed, "b": Int(1, 4, requires=requires)}))
    assert str(caught.value).startswith(f"ConfigSpace cannot hold the requirement of 'b', {requires!r}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


class Own(forbidden.ForbiddenEqualsClause):
    """A clause of a user's class."""


def equals(name: str, value: Any) -> Any:
    return lambda there: cs.ForbiddenEqualsClause(there[name], value)


@pytest.mark.parametrize(
    ("clauses", "message"),
    [
        ([equals("a`b", 3)], "requirements have no name with a backquote, such as 'a`b'. Rename it."),
        ([lambda s: Own(s["a"], 3)], "there is no equivalent of a Own."),
        ([lambda s: cs.ForbiddenLessThanRelation(s["q"], s["p"])], "all its values must be numbers"),
    ],
)
def test_clauses_without_an_equivalent_in_hpt_are_rejected(clauses: list[Any], message: str) -> None:
    there = cs.ConfigurationSpace({"a`b": (1, 9), "a": (1, 9), "p": ["x", "y"], "q": ["x", "y"]})
    there.add([clause(there) for clause in clauses])
    with pytest.raises(HptError) as caught:
        from_configspace(there)
    assert message in str(caught.value)


def test_clauses_that_apply_under_the_same_conditions_share_a_requirement() -> None:
    flag, grade = equals("flag", False)(BASE), equals("grade", "b")(BASE)  # where there is a flag, there is a grade
    there = foreign()
    there.add(flag, cs.ForbiddenAndConjunction(grade, flag))
    assert from_configspace(there)["flag"].requires == "flag != False and (grade != 'b' or flag != False)"


def test_clauses_for_which_no_requirement_is_left_are_rejected() -> None:
    rate, grade = equals("rate", 4.0)(BASE), equals("grade", "c")(BASE)  # each is active under a condition of its own
    there = foreign()
    there.add(rate, cs.ForbiddenAndConjunction(rate, grade))
    assert {name: p.requires for name, p in from_configspace(there).parameters.items() if p.requires} == {
        "rate": "rate != 4.0",
        "grade": "rate != 4.0 or grade != 'c'",
    }
    there.add(grade)
    with pytest.raises(UsageError, match="its parameters have requirements that apply under other conditions"):
        from_configspace(there)


def test_names_that_python_reads_as_others_are_kept() -> None:
    """The micro sign, which Python reads as the Greek letter, which is the name of another parameter."""
    micro, letter = "\u00b5", "\u03bc"
    space = Space({letter: Int(1, 9), "b": Int(1, 9), micro: Int(1, 9, requires=f"{micro} < 5 and {micro} <= b")})
    there = to_configspace(space)
    for params in ({letter: 9, "b": 4, micro: 4}, {letter: 1, "b": 4, micro: 5}, {letter: 1, "b": 3, micro: 4}):
        assert legal(there, params) is space.contains(params)
    assert all(space.contains(params) for params in from_configspace(there).grid())


def test_clauses_about_any_names_are_converted_and_back() -> None:
    there = cs.ConfigurationSpace(
        {"svc:C": (1, 3), "reg.lambda": (1, 3), "classifier:__choice__": ["it's", "`svc:C`"], "q": (1, 3)}
    )
    svc, reg, choice = there["svc:C"], there["reg.lambda"], there["classifier:__choice__"]
    either = [cs.ForbiddenEqualsClause(choice, "`svc:C`"), cs.ForbiddenInClause(reg, [2, 3])]
    there.add(cs.ForbiddenLessThanRelation(svc, there["q"]), cs.ForbiddenAndConjunction(*either))
    here = from_configspace(there)
    again = from_configspace(to_configspace(here))
    free = {**here.to_json()}
    for table in free.values():
        table.pop("requires", None)
    every = list(Space(free).grid())
    legal = [
        c for c in every if c["svc:C"] >= c["q"] and (c["classifier:__choice__"] == "it's" or c["reg.lambda"] == 1)
    ]
    assert len(every) == 54
    assert list(filter(here.allows, every)) == list(filter(again.allows, every)) == legal


def test_a_name_in_backquotes_may_stand_directly_beside_words() -> None:
    here = Space({"a b": Int(1, 9), "x": Int(1, 9, requires="x<3 and`a b`<=2")})
    again = from_configspace(to_configspace(here))
    assert again.size == here.size == 4
