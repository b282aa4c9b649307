"""Differences between definitions and between provenances, with both sides in the message."""

from __future__ import annotations

import json
import platform
import types
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hpt_core import (
    DefinitionChangedError,
    Float,
    History,
    Params,
    Plugins,
    Study,
    definition,
    hookimpl,
    option,
    provenance,
)
from hpt_core.builtin.memory import MemoryStore
from hpt_core.errors import Mistake

if TYPE_CHECKING:
    from numpy.random import Generator

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["a", "b"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a", "b", "use"]), inner, max_size=3),
    max_leaves=6,
)
TABLES = st.dictionaries(st.sampled_from(["space", "seed", "sampler", "stop"]), JSON, max_size=4)


def normal(value: Any) -> Any:
    """A missing key equals None."""
    if isinstance(value, dict):
        return {key: normal(item) for key, item in value.items() if item is not None}
    return value


@given(TABLES, TABLES)
@example({"seed": 1}, {"seed": True})
@example({"space": {"x": {"choices": [0, 1]}}}, {"space": {"x": {"choices": [0.0, 1.0]}}})
def test_there_are_differences_exactly_if_two_definitions_differ(before: dict[str, Any], now: dict[str, Any]) -> None:
    found = definition.differences(before, now)
    same = {key: [json.dumps(normal(side.get(key)), sort_keys=True) for side in (before, now)] for key in before | now}
    changed = {key for key, (old, new) in same.items() if old != new}  # in JSON, 1 and True differ
    assert {mistake.path.partition(".")[0] for mistake in found} == changed
    assert all(mistake.message for mistake in found)


def test_a_difference_names_the_smallest_part_that_changed() -> None:
    before = {"sampler": {"use": "grid", "points": 5, "order": "x"}, "space": {"x": {"low": 0, "high": 1}}, "seed": 1}
    now = {"sampler": {"use": "grid", "points": 7, "extra": 1}, "space": {"x": {"low": 0, "high": 2}}, "seed": 1}
    assert definition.differences(before, now) == [
        Mistake("sampler.points", "Was 5, is now 7."),
        Mistake("sampler.order", "Is gone; was 'x'."),
        Mistake("sampler.extra", "Is new: 1."),
        Mistake("space.x.high", "Was 1, is now 2."),
    ]


def test_another_component_is_one_difference() -> None:
    (found,) = definition.differences({"sampler": {"use": "a", "n": 1}}, {"sampler": {"use": "b", "n": 1}})
    assert found.path == "sampler"
    assert "'use': 'a'" in found.message
    assert "'use': 'b'" in found.message


@attrs.define(kw_only=True)
class Old:
    """A sampler in its old version."""

    n: int = option(1, help="Something.")

    def suggest(self, history: History, rng: Generator) -> Params:
        return history.space.sample(rng)


@attrs.define(kw_only=True)
class New(Old):
    """The same sampler in its next version."""

    more: list[int] = option(factory=list, help="Something else.")


def offering(sampler: type) -> Plugins:
    plugins = Plugins()
    offer = types.SimpleNamespace(hpt_samplers=hookimpl(lambda: {"changing": sampler}))
    plugins.register(offer, "changing")
    return plugins


@pytest.mark.parametrize("sampler", ["changing", [{"use": "changing"}, {"use": "random", "trials": 2}]])
def test_a_new_option_at_its_default_is_no_change(sampler: Any) -> None:
    store = MemoryStore()

    def study(version: type) -> Study:
        return Study({"x": Float(0, 1)}, sampler=sampler, store=store, plugins=offering(version))

    study(Old).run(float_of, trials=2)
    later = study(New)
    later.run(float_of, trials=4)
    assert len(later.trials) == 4
    assert later.history.definition["sampler"] == later.plugins.describe(later.sampler)


def test_a_new_option_that_is_used_is_a_change() -> None:
    store = MemoryStore()
    plugins = {version: offering(version) for version in (Old, New)}
    Study({"x": Float(0, 1)}, sampler="changing", store=store, plugins=plugins[Old]).run(float_of, trials=2)
    used = Study({"x": Float(0, 1)}, sampler={"use": "changing", "more": [3]}, store=store, plugins=plugins[New])
    with pytest.raises(DefinitionChangedError, match=r"sampler\.more: Is new: \[3\]"):
        used.run(float_of, trials=3)


def float_of(params: Params) -> float:
    return float(params["x"])


def test_the_order_of_objectives_counts() -> None:
    two = {"a": "minimize", "b": "minimize"}
    swapped = dict(reversed(two.items()))
    assert definition.differences({"objectives": two}, {"objectives": dict(two)}) == []
    (found,) = definition.differences({"objectives": two}, {"objectives": swapped})
    assert found == Mistake("objectives", "The order was a, b, is now b, a.")


def test_one_direction_is_called_value() -> None:
    assert definition.parse_objectives("maximize") == {"value": "maximize"}
    assert list(definition.parse_objectives({"b": "minimize", "a": "maximize"})) == ["b", "a"]


def test_what_an_evaluator_declares() -> None:
    class Folds:
        evidence, steps, resumable = "folds", 5, True

    assert definition.evidence_of(Folds()) == {"kind": "folds", "steps": 5, "resumable": True}
    assert definition.evidence_of(None) == {"kind": "curve", "steps": None, "resumable": False}


def test_software_is_recorded_by_distribution_and_version() -> None:
    found = provenance.provenance([MemoryStore(), None, object()])
    assert found["packages"] == {"hpt-core": version("hpt-core"), "numpy": np.__version__}
    assert (found["python"], found["platform"]) == (platform.python_version(), platform.platform())


def test_different_software_is_listed() -> None:
    before = {"python": "3.11.0", "platform": "p", "packages": {"a": "1", "b": "1", "c": "1"}}
    now = {"python": "3.12.0", "platform": "p", "packages": {"a": "1", "b": "2", "d": "1"}}
    assert provenance.differences(before, before) == []
    assert provenance.differences(before, now) == [
        "python was 3.11.0, is now 3.12.0",
        "b was 1, is now 2",
        "c was 1, is now not used",
        "d was not recorded, is now 1",
    ]


def test_the_libraries_that_a_plugin_requires_are_recorded() -> None:
    """The version of the library that an evaluator wraps says more about a result than that of the plugin."""
    plugins = Plugins()
    evaluator = plugins.make(
        "evaluator", {"use": "sklearn", "estimator": "sklearn.svm:SVC", "data": "sklearn.datasets:load_iris"}
    )
    found = provenance.provenance([evaluator])["packages"]
    assert found["hpt-evaluator-sklearn"] == version("hpt-evaluator-sklearn")
    assert found["scikit-learn"] == version("scikit-learn")
    assert all(type(number) is str for number in found.values())


def test_requirements_for_development_are_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = [
        "numpy>=1",
        'pytest>=8; extra == "test"',
        "torch-like[gpu]==2; extra == 'torch'",
        "absent; sys_platform == 'x'",
    ]
    monkeypatch.setattr(provenance, "requires", lambda _: wanted)
    assert provenance._requirements.__wrapped__("p") == ("numpy", "torch-like", "absent")
