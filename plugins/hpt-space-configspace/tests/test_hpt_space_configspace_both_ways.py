"""ConfigSpace and hpt: spaces round-trip, and the samples of one space are legal in the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from hpt_core import Categorical, Constant, Float, HptError, Int, Ordinal, Space, UsageError
from hpt_core.testing import strategies

cs = pytest.importorskip("ConfigSpace")
from hpt_space_configspace import from_configspace, to_configspace  # noqa: E402 - needs ConfigSpace

EVERYTHING = Space(
    {
        "z": Float(0.5, 2.0, default=1.5, when={"kernel": "rbf", "depth": [2, 3]}),
        "kernel": Categorical("rbf", None, 3),
        "depth": Int(1, 5),
        "batch": Int(16, 256, log=True, step=16),
        "lr": Float(1e-5, 0.1, log=True),
        "drop": Float(0.0, 0.5, step=0.1, default=0.2),
        "size": Ordinal("s", "m", "l", when={"batch": [16, 32]}),
        "one": Int(7, 7),
        "version": Constant("v1"),
    }
)


@st.composite
def spaces(draw: st.DrawFn) -> Space:
    """Spaces of all kinds, with floats that ConfigSpace does not round."""
    space = draw(strategies.spaces(max_parameters=5, finite=True, max_size=30))
    tables: dict[str, Any] = space.to_json()
    for name in draw(st.sets(st.sampled_from("uvw"))) - set(space.names):
        log = draw(st.booleans())
        low = draw(st.integers(1 if log else -500, 500))
        tables[name] = Float(low / 1000, (low + draw(st.integers(1, 5000))) / 1000, log=log).to_json()
        if draw(st.booleans()):
            parent = draw(st.sampled_from(space.names))
            tables[name]["when"] = {parent: [space[parent].start()]}
    return Space(tables)


@settings(max_examples=80, suppress_health_check=list(HealthCheck), deadline=None)
@given(spaces(), st.integers(0, 2**31))
def test_spaces_round_trip_and_samples_are_legal(space: Space, seed: int) -> None:
    try:
        there = to_configspace(space)
    except UsageError:
        assume(False)  # rejected spaces are tested elsewhere
    assert from_configspace(there) == space
    assert to_configspace(from_configspace(there)) == there
    there.seed(seed)
    for configuration in [*there.sample_configuration(5), there.get_default_configuration()]:
        params = dict(configuration)
        assert set(space.validate(params)) == set(params)
    rng = np.random.default_rng(seed)
    for _ in range(5):
        cs.Configuration(there, values=space.sample(rng))  # raises if it is illegal


def test_all_kinds_keep_their_kind() -> None:
    there = to_configspace(EVERYTHING)
    kinds = {name: type(there[name]).__name__.removesuffix("Hyperparameter") for name in there}
    assert kinds == {
        "batch": "Ordinal",
        "depth": "UniformInteger",
        "drop": "Ordinal",
        "kernel": "Categorical",
        "lr": "UniformFloat",
        "one": "Ordinal",
        "size": "Ordinal",
        "version": "Constant",
        "z": "UniformFloat",
    }
    assert (there["lr"].lower, there["lr"].upper, there["lr"].log) == (1e-5, 0.1, True)
    assert there["drop"].sequence == (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
    assert dict(there.get_default_configuration()) == {**EVERYTHING.default(), "lr": 0.001}  # ConfigSpace rounds
    assert from_configspace(there) == EVERYTHING


def test_a_space_round_trips_through_a_file(tmp_path: Path) -> None:
    to_configspace(EVERYTHING).to_json(tmp_path / "space.json")
    read = from_configspace(cs.ConfigurationSpace.from_json(tmp_path / "space.json"))
    assert dict(read.parameters) == dict(EVERYTHING.parameters)


def test_a_changed_hyperparameter_overrides_the_recorded_parameter() -> None:
    there = to_configspace(Space({"x": Float(0.0, 1.0, step=0.25)}))
    changed = cs.ConfigurationSpace([cs.OrdinalHyperparameter("x", [0.0, 0.5], meta=there["x"].meta)])
    assert from_configspace(changed)["x"] == Ordinal(0.0, 0.5, default=0.0)


# --- from ConfigSpace -----------------------------------------------------------------------------


def foreign(*conditions: Any) -> Any:
    there = cs.ConfigurationSpace()
    there.add(
        cs.UniformFloatHyperparameter("child", 0.0, 1.0, default_value=0.75),
        cs.OrdinalHyperparameter("grade", ["low", "middle", "high"]),
        cs.UniformIntegerHyperparameter("layers", 1, 6),
        cs.UniformIntegerHyperparameter("seed", 0, 10**6),
        cs.UniformFloatHyperparameter("ratio", 0.0, 1.0),
        cs.CategoricalHyperparameter("solver", ["sgd", "adam"], default_value="adam"),
    )
    there.add(*(condition(there) for condition in conditions))
    return there


def test_a_foreign_space_is_converted_with_its_defaults() -> None:
    space = from_configspace(foreign())
    assert space["child"] == Float(0.0, 1.0, default=0.75)
    assert space["solver"] == Categorical("sgd", "adam", default="adam")
    assert space["grade"] == Ordinal("low", "middle", "high", default="low")
    assert space["layers"] == Int(1, 6, default=4)
    assert to_configspace(space) == foreign()


@pytest.mark.parametrize(
    ("condition", "when"),
    [
        (lambda s: cs.EqualsCondition(s["child"], s["seed"], 77), {"seed": [77]}),
        (lambda s: cs.InCondition(s["child"], s["solver"], ["adam"]), {"solver": ["adam"]}),
        (lambda s: cs.NotEqualsCondition(s["child"], s["layers"], 2), {"layers": [1, 3, 4, 5, 6]}),
        (lambda s: cs.LessThanCondition(s["child"], s["layers"], 3), {"layers": [1, 2]}),
        (lambda s: cs.GreaterThanCondition(s["child"], s["grade"], "low"), {"grade": ["middle", "high"]}),
        (
            lambda s: cs.AndConjunction(
                cs.EqualsCondition(s["child"], s["solver"], "sgd"),
                cs.OrConjunction(
                    cs.LessThanCondition(s["child"], s["layers"], 2), cs.EqualsCondition(s["child"], s["layers"], 5)
                ),
                cs.NotEqualsCondition(s["child"], s["layers"], 1),
            ),
            {"solver": ["sgd"], "layers": [5]},
        ),
    ],
)
def test_conditions_are_converted(condition: Any, when: dict[str, list[Any]]) -> None:
    there = foreign(condition)
    space = from_configspace(there)
    assert space["child"] == Float(0.0, 1.0, default=0.75, when=when)
    there.seed(1)
    for configuration in there.sample_configuration(50):
        assert set(space.validate(dict(configuration))) == set(configuration)


# --- what has no counterpart ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameter", "message"),
    [
        (Float(1e-20, 1.0, log=True), "it rounds bounds to 13 decimal places"),
        (Float(0.0, 1.0, step=1e-4), "it has no steps, and 10001 values are more than the 1000 that"),
        (Categorical(1, 2.5), "ConfigSpace returns 1.0 for 1 among the values of 'x'"),
        (Categorical("a\0", "b"), "ConfigSpace returns 'a' for 'a\\x00' among the values of 'x'"),
        (Categorical("a", [1, 2]), "it takes a list for several values"),
    ],
)
def test_parameters_without_an_equivalent_in_configspace_are_rejected(parameter: Any, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        to_configspace(Space({"x": parameter}))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda s: s.add(cs.NormalFloatHyperparameter("n", 0.0, 1.0, -3.0, 3.0)), "'n' must be uniform. Got a Normal"),
        (lambda s: s.add(cs.BetaIntegerHyperparameter("n", 2, 3, 1, 9)), "'n' must be uniform. Got a Beta"),
        (lambda s: s.add(cs.CategoricalHyperparameter("n", ["a", "b"], weights=[1, 2])), "those of 'n' must be equal"),
        (lambda s: s.add(cs.EqualsCondition(s["child"], s["ratio"], 0.5)), "must refer to a finite parameter"),
        (lambda s: s.add(cs.LessThanCondition(s["child"], s["seed"], 7)), "has more than 1000"),
        (lambda s: s.add(cs.CategoricalHyperparameter("n", [{"a": 1}, "b"])), "must be a string, number"),
        (
            lambda s: s.add(
                cs.OrConjunction(
                    cs.EqualsCondition(s["child"], s["solver"], "sgd"), cs.EqualsCondition(s["child"], s["layers"], 1)
                )
            ),
            "not for one of several",
        ),
    ],
)
def test_spaces_without_an_equivalent_in_hpt_are_rejected(made: Any, message: str) -> None:
    there = foreign()
    made(there)
    with pytest.raises(HptError) as caught:
        from_configspace(there)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("noted", [3, "x", {"x": 1}, [["x"]], [1], ["x", "y", "z"], ["x", "x"]])
def test_a_record_of_another_kind_in_the_meta_of_a_space_is_ignored(noted: Any) -> None:
    parts = [cs.Constant("x", 1), cs.Constant("y", 2)]
    there = cs.ConfigurationSpace(parts, meta={"hpt": noted})
    assert from_configspace(there) == from_configspace(cs.ConfigurationSpace(parts))


def test_the_example_of_the_readme_runs() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    exec(readme.partition("```python\n")[2].partition("```")[0], {})


@pytest.mark.parametrize("given", [None, {"x": Float(0, 1)}, "space.json"])
def test_an_argument_that_is_not_a_space_is_rejected(given: Any) -> None:
    with pytest.raises(UsageError, match=r"must be a ConfigSpace\.ConfigurationSpace"):
        from_configspace(given)
    with pytest.raises(UsageError, match=r"must be an hpt_core\.Space"):
        to_configspace(given)
