"""The grid sampler against itertools: every active combination exactly once, whatever happens between."""

from __future__ import annotations

import copy
import itertools
import pickle
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpt_core import (
    Categorical,
    Constant,
    Failure,
    Float,
    History,
    Int,
    Ordinal,
    Params,
    Space,
    SpaceExhausted,
    UsageError,
)
from hpt_core.history import events
from hpt_core.testing import make_history
from hpt_sampler_grid.sampler import GridSampler

Order = Literal["lexicographic", "shuffled"]
ORDERS: tuple[Order, ...] = ("lexicographic", "shuffled")
RNG = np.random.default_rng(0)
OPTIMIZER = Space(
    {
        "kind": Categorical("svm", "forest", "none"),
        "C": Float(1e-2, 1e2, log=True, when={"kind": "svm"}),
        "kernel": Categorical("rbf", "poly", when={"kind": "svm"}),
        "degree": Int(2, 4, when={"kernel": "poly"}),
        "depth": Ordinal(3, 5, 9, when={"kind": "forest"}),
        "scale": Categorical(True, False),
        "jobs": Constant(4),
    }
)


def brute_force(values: Mapping[str, list[Any]], when: Mapping[str, Mapping[str, list[Any]]]) -> list[Params]:
    """All distinct combinations of active parameters, parents before children."""
    found: list[Params] = []
    for combination in itertools.product(*values.values()):
        params: Params = {}
        for name, value in zip(values, combination, strict=True):
            if all(params.get(parent) in allowed for parent, allowed in when.get(name, {}).items()):
                params[name] = value
        if params not in found:
            found.append(params)
    return found


def rounded(params: Params) -> Params:
    return {name: round(value, 9) if isinstance(value, float) else value for name, value in params.items()}


def start(history: History, params: Params) -> int:
    number = history.next_number
    history.apply(events.started(float(number), number, params, "w", 1, history.position))
    return number


def run_all(sampler: GridSampler, history: History) -> list[Params]:
    """Suggest until the space is exhausted."""
    found = []
    while True:
        try:
            found.append(sampler.suggest(history, RNG))
        except SpaceExhausted:
            return found
        start(history, found[-1])


def expected_of_optimizer() -> list[Params]:
    values: dict[str, list[Any]] = {
        "kind": ["svm", "forest", "none"],
        "C": [1e-2, 1.0, 1e2],
        "kernel": ["rbf", "poly"],
        "degree": [2, 3, 4],
        "depth": [3, 5, 9],
        "scale": [True, False],
        "jobs": [4],
    }
    when = {
        "C": {"kind": ["svm"]},
        "kernel": {"kind": ["svm"]},
        "degree": {"kernel": ["poly"]},
        "depth": {"kind": ["forest"]},
    }
    return brute_force(values, when)


@pytest.mark.parametrize("order", ORDERS)
def test_a_conditional_grid_is_the_active_combinations_each_once(order: Order) -> None:
    found = [rounded(p) for p in run_all(GridSampler(points=3, order=order), make_history(OPTIMIZER))]
    expected = expected_of_optimizer()
    assert len(expected) == 2 * (3 * (1 + 3) + 3 + 1)
    if order == "shuffled":
        assert found != expected
        found.sort(key=expected.index)
    assert found == expected


def test_without_conditions_the_order_equals_itertools_product() -> None:
    space = Space({"a": Categorical("x", "y"), "b": Int(1, 3), "c": Float(0, 1)})
    expected = [
        dict(zip("abc", combination, strict=True))
        for combination in itertools.product(["x", "y"], [1, 2, 3], [0.0, 0.5, 1.0])
    ]
    assert run_all(GridSampler(points=3), make_history(space)) == expected


def test_points_by_name_thin_out_finite_parameters_too() -> None:
    space = Space({"a": Int(0, 100), "b": Float(0, 1), "c": Categorical(1, 2, 3)})
    found = run_all(GridSampler(points={"a": 3, "b": 2}), make_history(space))
    assert found == [{"a": a, "b": b, "c": c} for a, b, c in itertools.product([0, 50, 100], [0.0, 1.0], [1, 2, 3])]


def test_shuffled_is_a_seeded_permutation_of_the_same_grid() -> None:
    space = Space({"a": Int(0, 99)})
    one, same, other = (run_all(GridSampler(order="shuffled"), make_history(space, seed=s)) for s in (1, 1, 2))
    assert one == same != other
    assert sorted(p["a"] for p in one) == list(range(100)) != [p["a"] for p in one]


@pytest.mark.parametrize("order", ORDERS)
def test_a_grid_of_ten_to_the_thirty_points_costs_nothing(order: Order) -> None:
    space = Space({f"p{i}": Int(0, 9) for i in range(30)})
    history, sampler = make_history(space), GridSampler(order=order)
    for _ in range(50):
        start(history, sampler.suggest(history, RNG))
    assert len(history.keys) == 50


# --- enqueued, invalidated, failed, resumed --------------------------------------------------------

SMALL = Space({"a": Int(0, 3), "b": Categorical("x", "y"), "c": Float(0, 1)})
ALL = [{"a": a, "b": b, "c": c} for a, b, c in itertools.product(range(4), "xy", [0.0, 1.0])]

actions = st.lists(
    st.one_of(
        st.tuples(st.just("suggest"), st.just(0)),
        st.tuples(st.just("enqueue"), st.integers(0, len(ALL) - 1)),
        st.tuples(st.just("enqueue elsewhere"), st.integers(0, 20)),
        st.tuples(st.just("invalidate"), st.integers(0, 30)),
        st.tuples(st.just("fail"), st.integers(0, 30)),
        st.tuples(st.just("forget"), st.just(0)),
        st.tuples(st.just("amend"), st.just(0)),
    ),
    max_size=40,
)


def act(history: History, action: str, n: int) -> None:
    now, number = float(history.position), history.next_number
    if action == "enqueue":
        history.apply(events.enqueued(now, number, ALL[n]))
    elif action == "enqueue elsewhere":
        history.apply(events.enqueued(now, number, {"a": 0, "b": "x", "c": 0.1 + n / 100}))
    elif action == "amend":
        history.apply(events.amended(now, history.definition, []))
    elif n < number and action == "invalidate":
        history.apply(events.invalidated(now, n, "a bug"))
    elif n < number and action == "fail":
        history.apply(events.failed(now, n, history.trials[n].attempt, Failure("error", "boom")))


@settings(max_examples=150)
@given(actions, st.sampled_from(ORDERS), st.integers(0, 3))
def test_the_next_point_is_the_first_untried_one_after_any_history(
    done: list[tuple[str, int]], order: Order, seed: int
) -> None:
    """Compared with a scan of the whole grid, so the cursor does not change the result."""
    history, sampler = make_history(SMALL, seed=seed), GridSampler(points=2, order=order)
    in_order = (
        ALL if order == "lexicographic" else run_all(GridSampler(points=2, order=order), make_history(SMALL, seed=seed))
    )
    assert sorted(map(str, in_order)) == sorted(map(str, ALL))
    for action, n in done:
        if action == "forget":
            sampler = copy.deepcopy(sampler)
        if action != "suggest":
            act(history, action, n)
            continue
        taken = [t.params for t in history.trials if t.invalid is None]
        free = [p for p in in_order if p not in taken]
        if free:
            assert sampler.suggest(history, RNG) == free[0]
            start(history, free[0])
        else:
            with pytest.raises(SpaceExhausted, match="all 16 points"):
                sampler.suggest(history, RNG)
    rest = run_all(sampler, history)
    valid = [t.params for t in history.trials if t.invalid is None]
    assert all(p in valid for p in ALL)
    assert len({SMALL.key(p) for p in rest}) == len(rest)


def test_one_sampler_can_alternate_between_two_studies() -> None:
    sampler, histories = GridSampler(points=2), [make_history(SMALL), make_history(SMALL)]
    for expected in ALL:
        for history in histories:
            assert sampler.suggest(history, RNG) == expected
            start(history, expected)


def test_a_reproducible_study_gives_the_same_points() -> None:
    sampler, history = GridSampler(points=2), make_history(SMALL)
    for expected in ALL:
        assert sampler.suggest(history.as_seen_by(history.next_number, 4), RNG) == expected
        start(history, expected)


def test_a_used_sampler_is_pickled_without_its_cache() -> None:
    sampler, history = GridSampler(points=2), make_history(SMALL)
    for expected in ALL[:3]:
        start(history, sampler.suggest(history, RNG))
        assert history.trials[-1].params == expected
    sent = pickle.dumps(sampler)
    assert len(sent) < 300
    assert pickle.loads(sent) == sampler
    assert pickle.loads(sent).suggest(history, RNG) == ALL[3]


def test_a_suggestion_does_not_scan_all_trials_again(monkeypatch: pytest.MonkeyPatch) -> None:
    history, sampler = make_history(Space({"a": Int(0, 10**6)})), GridSampler()
    count, original = 0, Space.key

    def counting(space: Space, params: Params) -> tuple[Any, ...]:
        nonlocal count
        count += 1
        return original(space, params)

    monkeypatch.setattr(Space, "key", counting)
    for i in range(300):
        start(history, sampler.suggest(history, RNG))
        assert count <= 5 * (i + 1)


@pytest.mark.parametrize(
    ("points", "message"),
    [({"q": 3}, "sampler.points.q"), ({"c": 0}, "points.c"), (10**9, "sampler.points")],
)
def test_points_that_do_not_fit_the_space_are_rejected_before_the_first_trial(points: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        GridSampler(points=points).check(SMALL, ["value"])
    GridSampler(points={"c": 7}).check(SMALL, ["value"])


@pytest.mark.parametrize(("option", "value"), [("points", 0), ("points", -3)])
def test_bad_options_are_rejected(option: str, value: Any) -> None:
    with pytest.raises(UsageError, match=f"`{option}` option"):
        GridSampler(**{option: value})
