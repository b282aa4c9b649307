"""What the core guarantees for suggestions, tested with samplers that guarantee nothing."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from itertools import product
from typing import Any, Never

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.random import Generator, default_rng

from hpt_core import (
    Categorical,
    Constant,
    Failure,
    Float,
    History,
    Int,
    Ordinal,
    Params,
    PluginError,
    Space,
    SpaceExhausted,
    Stop,
    Study,
    Suggestion,
)
from hpt_core.loop.guard import Repeat, guarded_suggestion
from hpt_core.loop.notes import plain
from hpt_core.testing import make_history


class Says:
    """A sampler that suggests what a function returns."""

    def __init__(self, answer: Callable[[History, Generator], Any]) -> None:
        self.answer = answer

    def suggest(self, history: History, rng: Generator) -> Any:
        return self.answer(history, rng)


def constant(params: Any) -> Says:
    return Says(lambda *_: params)


SMALL = {"n": Int(1, 3), "c": Categorical("a", "b"), "d": Int(1, 2, when={"c": "b"})}
"""Nine configurations."""
ALL_OF_SMALL = [{"n": n, "c": "a"} for n in (1, 2, 3)] + [
    {"n": n, "c": "b", "d": d} for n, d in product((1, 2, 3), (1, 2))
]


def seen(params: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(sorted(params.items()))


# --- repeats --------------------------------------------------------------------------------------


@pytest.mark.parametrize("params", ALL_OF_SMALL)
def test_a_sampler_that_repeats_itself_still_covers_a_finite_space_once(params: Params) -> None:
    study = Study(SMALL, sampler=constant(params), seed=3)
    assert study.run(lambda p: p["n"]) == "space exhausted"
    assert sorted(seen(t.params) for t in study.trials) == sorted(seen(p) for p in ALL_OF_SMALL)
    assert [t.source for t in study.trials] == ["sampler"] + ["fill"] * 8


def test_a_sampler_that_repeats_itself_gets_new_points_of_a_continuous_space() -> None:
    study = Study({"x": Float(0, 1)}, sampler=constant({"x": 0.5}), seed=3)
    study.run(lambda p: p["x"], trials=20)
    assert len({t.params["x"] for t in study.trials}) == 20


def test_a_continuous_space_of_two_floats_ends() -> None:
    study = Study({"x": Float(1.0, math.nextafter(1.0, 2.0))}, sampler=constant({"x": 1.0}), seed=3)
    assert study.run(lambda p: p["x"], trials=10) == "space exhausted"
    assert len({t.params["x"] for t in study.trials}) == len(study.trials) == 2


def test_a_space_too_large_to_count_in_floats_is_filled_too() -> None:
    space = {f"p{i}": Int(0, 10**9) for i in range(40)}
    study = Study(space, sampler=constant(dict.fromkeys(space, 0)), seed=0)
    study.run(lambda p: p["p0"], trials=4)
    assert len({seen(t.params) for t in study.trials}) == 4


def test_allowed_repeats_are_evaluated_again() -> None:
    study = Study(SMALL, sampler=constant(ALL_OF_SMALL[0]), seed=3, duplicates="allow")
    values = iter(range(20))
    study.run(lambda _: next(values), trials=12)
    assert [t.value for t in study.trials] == list(range(12))
    assert {seen(t.params) for t in study.trials} == {seen(ALL_OF_SMALL[0])}


def test_a_small_space_with_allowed_repeats_does_not_end_for_a_sampler_that_breaks_requirements() -> None:
    space = {"n": Int(0, 2, requires="n == m"), "m": Int(0, 2)}
    study = Study(space, sampler=constant({"n": 0, "m": 1}), seed=3, duplicates="allow")
    assert study.run(lambda p: p["n"], trials=12) == "all 12 trials were started"
    assert {seen(t.params) for t in study.trials} == {seen({"n": n, "m": n}) for n in range(3)}


def test_reused_repeats_are_not_evaluated_again() -> None:
    study = Study({"x": Float(0, 1)}, sampler=constant({"x": 0.5}), seed=3, duplicates="reuse")
    values = iter(range(20))
    study.run(lambda _: {"value": next(values), "extra": 7}, trials=5)
    assert [t.value for t in study.trials] == [0.0] * 5
    assert [t.metrics for t in study.trials] == [{"extra": 7.0}] * 5
    assert {t.params["x"] for t in study.trials} == {0.5}
    assert "same point as trial 0" in study.trials[4].reason
    assert next(values) == 1


@pytest.mark.parametrize("result", [Failure("error", "no"), Stop("enough", value=0.25)])
def test_a_failed_or_partial_result_is_not_reused(result: Failure | Stop) -> None:
    study = Study({"x": Float(0, 1)}, sampler=constant({"x": 0.5}), seed=3, duplicates="reuse")
    study.tell(study.ask(), result)
    assert study.ask().params["x"] != 0.5


def test_a_finite_space_of_which_all_was_tried_ends_also_if_results_are_reused() -> None:
    in_turn = Says(lambda history, _: ALL_OF_SMALL[history.next_number % len(ALL_OF_SMALL)])
    study = Study(SMALL, sampler=in_turn, seed=3, duplicates="reuse")
    assert study.run(lambda p: p["n"]) == "space exhausted"
    assert len(study.trials) == len(ALL_OF_SMALL)


def test_the_point_of_a_running_trial_is_not_suggested_again() -> None:
    for duplicates in ("avoid", "reuse"):
        study = Study({"x": Float(0, 1)}, sampler=constant({"x": 0.5}), seed=3, duplicates=duplicates)
        assert len({study.ask().params["x"] for _ in range(5)}) == 5


def test_a_point_declared_invalid_may_be_tried_again() -> None:
    study = Study(SMALL, sampler=constant(ALL_OF_SMALL[0]), seed=3)
    study.tell(study.ask(), 1.0)
    study.invalidate(0, "wrong data")
    assert study.ask().params == ALL_OF_SMALL[0]


@given(st.integers(0, 9), st.integers(0, 50), st.sampled_from(["avoid", "reuse"]))
def test_the_last_free_points_are_found(taken: int, seed: int, duplicates: str) -> None:
    order = default_rng(seed).permutation(9)[:taken]
    history = make_history(SMALL, [(ALL_OF_SMALL[i], Failure("error", "no")) for i in order], seed=seed)
    sampler = constant(ALL_OF_SMALL[order[0]] if taken else ALL_OF_SMALL[0])
    if taken == 9:
        with pytest.raises(SpaceExhausted):
            guarded_suggestion(sampler, history, taken, duplicates)
        return
    found = guarded_suggestion(sampler, history, taken, duplicates)
    assert isinstance(found, Suggestion)
    assert seen(found.params) in {seen(p) for i, p in enumerate(ALL_OF_SMALL) if i not in order}


def test_a_space_of_one_configuration_is_finite() -> None:
    study = Study({"x": Constant(3)}, sampler=constant({"x": 3}), seed=0)
    assert study.run(lambda p: p["x"]) == "space exhausted"
    assert len(study.trials) == 1


# --- outside the space ----------------------------------------------------------------------------


def to_natives(value: object) -> type:
    return type(value)


def test_numpy_values_become_native_ones() -> None:
    space = {"x": Float(0, 1), "n": Int(1, 3), "c": Categorical("a", "b"), "f": Categorical(True, False)}
    proposed = {"x": np.float32(0.5), "n": np.int64(2), "c": np.str_("a"), "f": np.bool_(True)}
    study = Study(space, sampler=constant(proposed), seed=0)
    params = study.ask().params
    assert params == {"x": 0.5, "n": 2, "c": "a", "f": True}
    assert [type(value) for value in params.values()] == [float, int, str, bool]


OUTSIDE = [
    *({}, {"n": 1}, {"n": 1, "c": "z"}, {"n": 4, "c": "a"}, {"n": 1, "c": "a", "d": 1}, {"n": 1, "c": "b"}),
    *({"n": "1", "c": "a"}, {"n": 1.5, "c": "a"}, {"n": True, "c": "a"}, {"n": None, "c": "a"}),
    *({"n": 1, "c": "a", "other": 1}, {"n": 1, "c": ["a"]}, {"n": float("nan"), "c": "a"}, {1: 1}),
    *(None, 1, "n", [], [("n", 1)], ..., object()),
]


@pytest.mark.parametrize("proposed", OUTSIDE)
def test_a_sampler_that_is_always_outside_is_named(proposed: Any) -> None:
    study = Study(SMALL, sampler=constant(proposed), seed=0)
    with pytest.raises(PluginError, match="Says suggests points outside the space"):
        study.run(lambda _: 1.0, trials=1)
    assert not study.trials


@pytest.mark.parametrize("proposed", [None, Suggestion(None)])  # type: ignore[arg-type] # a forgotten return
def test_a_sampler_that_suggests_no_configuration_learns_what_suggest_returned(proposed: Any) -> None:
    study = Study(SMALL, sampler=constant(proposed), seed=0)
    with pytest.raises(PluginError, match=f"{re.escape(f'suggest() returned {proposed}')}, expected a mapping"):
        study.ask()


def test_a_sampler_that_is_sometimes_outside_is_asked_again(caplog: pytest.LogCaptureFixture) -> None:
    answers = iter([{"n": 9, "c": "a"}, None, {"n": 2, "c": "a"}])
    study = Study(SMALL, sampler=Says(lambda *_: next(answers)), seed=0)
    assert study.ask().params == {"n": 2, "c": "a"}
    assert [record.levelname for record in caplog.records] == ["WARNING"]  # one per trial
    assert "Says suggested a point outside the space" in caplog.text
    assert "Got 9" in caplog.text


def test_a_sampler_that_is_sometimes_outside_and_else_repeats_itself_does_not_end_the_study() -> None:
    answers = iter([{"n": 1, "c": "a"}, {"n": 9, "c": "a"}, *[{"n": 1, "c": "a"}] * 3])
    study = Study(SMALL, sampler=Says(lambda *_: next(answers)), seed=0)
    assert [study.ask().source for _ in range(2)] == ["sampler", "fill"]


def test_a_sampler_that_fails_is_named_and_the_study_can_continue() -> None:
    def fail(*_: object) -> Never:
        raise ZeroDivisionError("oh")

    study = Study(SMALL, sampler=Says(fail), seed=0)
    with pytest.raises(PluginError, match="Says failed: ZeroDivisionError: oh"):
        study.ask()
    assert study.enqueue({"n": 1, "c": "a"}).number == 0
    assert study.ask().number == 0


def test_a_sampler_may_be_exhausted_before_the_space() -> None:
    def enough(history: History, _: Generator) -> Params:
        if history.next_number == 2:
            raise SpaceExhausted("both tried")
        return {"n": history.next_number + 1, "c": "a"}

    study = Study(SMALL, sampler=Says(enough), seed=0)
    assert study.run(lambda p: p["n"]) == "space exhausted: both tried"
    assert len(study.trials) == 2
    with pytest.raises(SpaceExhausted, match="both tried"):
        study.ask()


# --- suggestions changed by the sampler -----------------------------------------------------------


def test_changing_a_suggestion_afterwards_changes_no_trial() -> None:
    params: dict[str, Any] = {"x": 0.0, "o": [1, 2]}
    info: dict[str, Any] = {"seen": [0]}
    step = iter(range(1, 9))

    def mutating(*_: object) -> Suggestion:
        params["x"] = next(step) / 16
        info["seen"].append(params["x"])
        return Suggestion(params, info)

    study = Study({"x": Float(0, 1), "o": Ordinal([1, 2], [3])}, sampler=Says(mutating), seed=0)
    for _ in range(3):
        study.tell(study.ask(), 1.0)
    assert [t.params["x"] for t in study.trials] == [1 / 16, 2 / 16, 3 / 16]
    assert [t.info["seen"] for t in study.trials] == [[0, 1 / 16], [0, 1 / 16, 2 / 16], [0, 1 / 16, 2 / 16, 3 / 16]]


def test_a_suggestion_depends_only_on_seed_number_and_history() -> None:
    sampler = Says(lambda history, rng: history.space.sample(rng))
    drawn = {
        (seed, number): guarded_suggestion(sampler, make_history({"x": Float(0, 1)}, seed=seed), number, "avoid")
        for seed in range(4)
        for number in range(4)
    }
    assert len({s.params["x"] for s in drawn.values() if isinstance(s, Suggestion)}) == 16
    default_rng(0).random()
    for (seed, number), suggestion in drawn.items():
        again = guarded_suggestion(sampler, make_history({"x": Float(0, 1)}, seed=seed), number, "avoid")
        assert again == suggestion
        expected = Space({"x": Float(0, 1)}).sample(default_rng([seed, number]))
        assert isinstance(again, Suggestion)
        assert again.params == expected


def test_each_further_try_for_a_trial_has_a_generator_of_its_own() -> None:
    """Else a sampler that draws at random would repeat its point at each try."""
    space = Space({"x": Float(0, 1)})
    tried = [(space.sample(default_rng(key)), 1.0) for key in ([3, 2], [3, 2, 1])]
    history = make_history({"x": Float(0, 1)}, tried, seed=3)
    found = guarded_suggestion(Says(lambda history, rng: history.space.sample(rng)), history, 2, "avoid")
    assert found == Suggestion(space.sample(default_rng([3, 2, 2])))


def test_a_repeat_names_the_first_trial_there() -> None:
    history = make_history({"x": Float(0, 1)}, [({"x": 0.25}, 1.0), ({"x": 0.5}, 2.0)])
    found = guarded_suggestion(constant({"x": 0.5}), history, 2, "reuse")
    assert isinstance(found, Repeat)
    assert found.original == 1


# --- notes ----------------------------------------------------------------------------------------


def test_notes_become_plain_data() -> None:
    noted = {"a": np.float64(1.5), "b": np.arange(3), 3: (np.int8(1), None), "bad": float("nan"), "t": True, "s": "x"}
    assert plain(noted) == {"a": 1.5, "b": [0, 1, 2], "3": [1, None], "bad": None, "t": True, "s": "x"}


@pytest.mark.parametrize(
    "number", [np.longdouble(1.5), np.array([np.longdouble(1.5)])[0], np.array(np.longdouble(1.5))]
)
def test_long_doubles_in_notes_become_floats(number: Any) -> None:
    assert plain({"a": number, "b": [number]}) == {"a": 1.5, "b": [1.5]}
    assert type(plain(number)) is float


def test_notes_that_are_not_plain_data_are_refused() -> None:
    with pytest.raises(PluginError, match=r"plain data\. Got object"):
        plain({"a": object()})
    with pytest.raises(PluginError, match=r"plain data\. Got clongdouble"):
        plain({"a": np.clongdouble(1)})


def test_refused_notes_are_named_by_key_and_owner() -> None:
    class Notes:
        def suggest(self, history: History, rng: Generator) -> Suggestion:
            return Suggestion({"n": 2, "c": "a"}, {"model": {"kernel": [object()]}})

    with pytest.raises(PluginError, match=r"^Notes: info\.model\.kernel must be plain data\. Got object"):
        Study(SMALL, sampler=Notes(), seed=0).ask()
    with pytest.raises(PluginError, match=r"^info\.a must be plain data\. Got object"):
        plain({"a": np.array([object()])})
