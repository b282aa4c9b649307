"""Every branch is guaranteed a share of the trials, and the sampler suggests in the branch that is due."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hpt_core import Categorical, Float, Int, Space, Study
from hpt_core.history import events
from hpt_core.testing import make_history
from hpt_sampler_forest.branches import neglected
from hpt_sampler_forest.sampler import ForestSampler

SPACE = Space(
    {
        "m": Categorical("a", "b", "c", "d"),
        "x": Float(0, 1, when={"m": "a"}),
        "y": Float(0, 1, when={"m": "b"}),
        "z": Float(0, 1),
    }
)


def trials(**counts: int) -> list[Any]:
    inner = {"a": {"x": 0.5}, "b": {"y": 0.5}}
    return [({"m": m, "z": 0.1, **inner.get(m, {})}, 1.0) for m, count in counts.items() for _ in range(count)]


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"a": 3, "b": 1, "c": 2, "d": 2}, "b"),  # 8 trials: 1.5 sqrt(8) / 4 = 1.06 are due
        ({"a": 6, "b": 1, "c": 1, "d": 1}, None),  # 9: 1.13, but no branch is forced after an odd number
        ({"a": 3, "b": 1, "c": 1, "d": 1}, None),  # 6: 0.92
        ({"a": 24, "b": 2, "c": 2, "d": 2}, "b"),  # 30: 2.05
        ({"a": 5, "b": 3}, "c"),  # never tried
    ],
)
def test_the_branch_that_is_due_equals_a_worked_example(counts: dict[str, int], expected: str | None) -> None:
    found = neglected(make_history(SPACE, trials(**counts)))
    assert found == (None if expected is None else ("m", expected))


def test_trials_outside_an_amended_space_belong_to_no_branch() -> None:
    history = make_history(SPACE, trials(a=8, b=2, c=2, d=2))
    smaller = Space({name: Float(0.6, 1, when={"m": "a"}) if name == "x" else SPACE[name] for name in SPACE})
    assert neglected(history) is None
    history.apply(events.amended(99.0, {**history.definition, "space": smaller.to_json()}, []))
    assert neglected(history) == ("m", "a")


def test_a_space_without_conditions_has_no_branches() -> None:
    space = Space({"m": Categorical("a", "b"), "x": Float(0, 1)})
    assert neglected(make_history(space, [({"m": "a", "x": 0.5}, 1.0)] * 20)) is None


def test_a_parameter_of_many_values_and_one_that_depends_on_others_have_no_branches() -> None:
    many = Space({"m": Int(1, 9), "x": Float(0, 1, when={"m": 5})})
    assert neglected(make_history(many, [({"m": 1}, 1.0)] * 20)) is None
    inner = Categorical("p", "q", when={"m": "a"})
    nested = Space({"m": Categorical("a", "b"), "inner": inner, "x": Float(0, 1, when={"inner": "p"})})
    assert neglected(make_history(nested, [({"m": "b"}, 1.0)] * 20)) == ("m", "a")


def test_the_forest_suggests_in_the_branch_that_is_due() -> None:
    history = make_history(SPACE, trials(a=12, b=4, c=4, d=1) + trials(a=1))
    found = [ForestSampler(random=0.0).suggest(history, np.random.default_rng(i)).params["m"] for i in range(3)]
    assert found == ["d"] * 3


@pytest.mark.parametrize("other", [Int(0, 40, when={"m": "b"}), Float(0, 40, when={"m": "b"})])
def test_an_exhausted_branch_is_not_due(other: Any) -> None:
    study = Study({"m": Categorical("a", "b"), "k": other}, sampler=ForestSampler(trees=10, random=0.0), seed=0)
    # The only point of "a" is due, but was already tried.
    study.run(lambda params: float(params.get("k", 50)), trials=24)
    late = [trial.params["k"] for trial in study.trials[12:]]
    assert np.median(late) < 15
