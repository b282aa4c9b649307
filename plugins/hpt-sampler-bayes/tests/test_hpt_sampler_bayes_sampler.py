"""Guarantees of the sampler: validity, purity, invariances, and robustness against any history."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import threadpoolctl  # type: ignore[import-untyped] # ships no types

from hpt_core import Categorical, Constant, Failure, Float, History, Int, Params, Space, Study
from hpt_core.history import events
from hpt_core.testing import make_history
from hpt_sampler_bayes import sampler as module
from hpt_sampler_bayes.sampler import BayesSampler
from hpt_sampler_bayes.strategy import model_and_acquisition

MIXED = Space(
    {
        "x": Float(0, 1),
        "lr": Float(1e-4, 1.0, log=True),
        "n": Int(1, 20),
        "model": Categorical("a", "b"),
        "depth": Int(1, 9, when={"model": "b"}),
        "mix": Float(0, 1, when={"model": "a"}),
    }
)


def rng(number: int = 0) -> np.random.Generator:
    return np.random.default_rng([3, number])


def loss(params: Params) -> float:
    inner = (params["x"] - 0.3) ** 2 + (np.log10(params["lr"]) + 2) ** 2 / 4 + (params["n"] - 7) ** 2 / 100
    return float(inner + (params["depth"] / 20 if params["model"] == "b" else 0.2 + params["mix"]))


def some(space: Space, n: int, seed: int = 0) -> list[Params]:
    generator = np.random.default_rng(seed)
    return [space.sample(generator) for _ in range(n)]


def tried(n: int, seed: int = 0) -> list[tuple[Params, float]]:
    return [(params, loss(params)) for params in some(MIXED, n, seed)]


def suggest(history: History, sampler: BayesSampler | None = None, number: int = 0) -> Params:
    return (sampler or BayesSampler()).suggest(history, rng(number)).params


def test_it_starts_at_the_default_and_follows_the_design_without_gaps() -> None:
    alone: list[Params] = []
    for _ in range(5):
        alone.append(suggest(make_history(MIXED, [(p, loss(p)) for p in alone])))
    assert alone[0] == MIXED.default()
    together: list[Params] = []
    for _ in range(5):
        together.append(suggest(make_history(MIXED, [], running=together)))
    assert together == alone
    assert {p["model"] for p in alone[:2]} == {"a", "b"}
    elsewhere = suggest(make_history(MIXED, [(alone[0], 1.0)], seed=1))
    assert elsewhere != alone[1]


@pytest.mark.parametrize(
    ("n_initial", "results", "running", "expected"),
    [
        (5, 5, 0, "gp"),
        (5, 4, 0, "initial"),
        (5, 2, 3, "gp"),
        (5, 2, 2, "initial"),
        (5, 1, 9, "initial"),
        (8, 4, 4, "gp"),
        (8, 3, 9, "initial"),
    ],
)
def test_running_trials_count_for_up_to_half_of_the_initial_design(
    n_initial: int, results: int, running: int, expected: str
) -> None:
    points = some(MIXED, results + running)
    history = make_history(MIXED, [(p, loss(p)) for p in points[:results]], running=points[results:])
    assert BayesSampler(n_initial=n_initial).suggest(history, rng()).info["model"] == expected


def test_failed_initial_points_do_not_count_as_results() -> None:
    failure = Failure("error", "it broke")
    trials = [(p, failure) for p in some(MIXED, 8)]
    suggestion = BayesSampler().suggest(make_history(MIXED, trials), rng())
    assert suggestion.info["model"] == "initial"


def test_the_info_is_json_and_predicts_in_the_users_sign() -> None:
    trials = [(p, 100.0 - loss(p)) for p in some(MIXED, 30)]
    suggestion = BayesSampler().suggest(make_history(MIXED, trials, directions=("maximize",)), rng())
    info = json.loads(json.dumps(suggestion.info))
    assert info == suggestion.info
    assert info["model"] == "gp"
    assert 98.5 < info["mean"] < 100.5
    assert 0.0 < info["sd"] < 2.0
    assert info["results"] == 30


def test_a_cache_does_not_change_the_answer() -> None:
    used = BayesSampler()
    for n in (6, 20, 40):
        history = make_history(MIXED, tried(n))
        assert used.suggest(history, rng()) == BayesSampler().suggest(history, rng())
        assert used.suggest(history, rng()) == BayesSampler().suggest(history, rng())


@pytest.mark.parametrize("threads", ["1", "2"])
def test_another_process_gives_the_same_answer_with_any_number_of_blas_threads(threads: str) -> None:
    program = (
        "import json, sys\n"
        "import numpy as np\n"
        "from hpt_core import Space\n"
        "from hpt_core.testing import make_history\n"
        "from hpt_sampler_bayes.sampler import BayesSampler\n"
        "space, trials = json.load(sys.stdin)\n"
        "history = make_history(Space.from_json(space), [tuple(t) for t in trials])\n"
        "s = BayesSampler().suggest(history, np.random.default_rng([3, 0]))\n"
        "print(json.dumps([s.params, s.info]))\n"
    )
    given = json.dumps([MIXED.to_json(), tried(20)])
    command, env = [sys.executable, "-c", program], {**os.environ, "OPENBLAS_NUM_THREADS": threads}
    run = subprocess.run(command, input=given, capture_output=True, text=True, check=True, env=env)
    here = BayesSampler().suggest(make_history(MIXED, tried(20)), rng())
    assert json.loads(run.stdout) == [here.params, here.info]


@pytest.mark.parametrize("n", [12, 40])
def test_the_order_of_the_trials_does_not_matter(n: int) -> None:
    trials = tried(n)
    shuffled = [trials[i] for i in np.random.default_rng(1).permutation(n)]
    assert suggest(make_history(MIXED, trials)) == suggest(make_history(MIXED, shuffled))


@pytest.mark.parametrize("n", [12, 40])
def test_shift_scale_and_direction_of_the_values_do_not_matter(n: int) -> None:
    trials = tried(n)
    plain = suggest(make_history(MIXED, trials))
    moved = suggest(make_history(MIXED, [(p, 4096.0 * v) for p, v in trials]))
    turned = suggest(make_history(MIXED, [(p, -v) for p, v in trials], directions=("maximize",)))
    assert turned == plain
    np.testing.assert_allclose(MIXED.to_unit(moved), MIXED.to_unit(plain), atol=1e-3)


def test_a_logarithmic_parameter_is_the_linear_one_of_its_logarithm() -> None:
    linear = Space({"x": Float(-3, 0), "y": Float(0, 1)})
    log = Space({"x": Float(1e-3, 1.0, log=True), "y": Float(0, 1)})
    points = some(linear, 15)
    values = [(p["x"] + 1) ** 2 + p["y"] for p in points]
    one = suggest(make_history(linear, list(zip(points, values, strict=True))))
    powers = [{"x": 10 ** p["x"], "y": p["y"]} for p in points]
    two = suggest(make_history(log, list(zip(powers, values, strict=True))))
    np.testing.assert_allclose([np.log10(two["x"]), two["y"]], [one["x"], one["y"]], atol=1e-3)


def test_parallel_suggestions_keep_a_distance() -> None:
    space = Space({"x": Float(0, 1), "y": Float(0, 1)})
    trials = [(p, (p["x"] - 0.4) ** 2 + (p["y"] - 0.6) ** 2) for p in some(space, 8)]
    running: list[Params] = []
    for number in range(6):
        running.append(suggest(make_history(space, trials, running=running), number=number))
    u = space.to_unit(running)
    distances = np.linalg.norm(u[:, None] - u[None], axis=2)[~np.eye(6, dtype=bool)]
    assert distances.min() > 1e-3


def test_it_avoids_regions_where_trials_fail() -> None:
    space = Space({"x": Float(0, 1), "y": Float(0, 1)})
    trials: list[tuple[Params, float | Failure]] = [
        (p, Failure("out-of-memory", "too big") if p["x"] > 0.5 else 1.0 - p["x"]) for p in some(space, 24)
    ]
    asked = [suggest(make_history(space, trials), number=k)["x"] for k in range(8)]
    assert np.mean(np.array(asked) < 0.6) > 0.7


@pytest.mark.parametrize("seed", range(3))
def test_no_point_of_a_finite_space_is_repeated_before_all_were_tried(seed: int) -> None:
    space = Space({"a": Categorical(1, 2, 3), "b": Int(0, 3), "c": Int(0, 1, when={"a": 2})})
    assert space.size == 16
    sampler = BayesSampler()
    trials: list[tuple[Params, float]] = []
    for number in range(16):
        params = sampler.suggest(make_history(space, trials), np.random.default_rng([seed, number])).params
        assert space.contains(params)
        trials.append((params, float(params["a"] * params["b"])))
    assert len({space.key(p) for p, _ in trials}) == 16
    again = [sampler.suggest(make_history(space, trials), np.random.default_rng(i)) for i in range(3)]
    assert [suggestion.info["model"] for suggestion in again] == ["gp"] * 3
    assert all(suggestion.params["b"] == 0 for suggestion in again)  # where the loss is 0


def test_a_space_that_is_too_large_to_enumerate_may_be_used_up() -> None:
    space = Space({"n": Int(0, 2000)})
    suggestion = BayesSampler().suggest(make_history(space, [({"n": n}, float(n)) for n in range(2001)]), rng())
    assert suggestion.info == {"model": "random"}
    assert space.contains(suggestion.params)


def test_the_suggestion_of_three_objectives_depends_only_on_the_history_and_the_generator() -> None:
    space = Space({"x": Float(0, 1), "y": Float(0, 1)})
    points = some(space, 20)
    trials = [(p, (p["x"] ** 2 + p["y"], (p["x"] - 1) ** 2 + p["y"], p["y"])) for p in points]
    history = make_history(space, trials, directions=("minimize",) * 3)
    asked = [suggest(history, number=k) for k in range(12)]
    assert np.mean([p["y"] < 0.2 for p in asked]) > 0.6  # the front is where y = 0
    assert suggest(history, number=3) == asked[3]


SPACES = {
    "one point": Space({"a": Constant(1), "b": Int(2, 2)}),
    "categories": Space({f"c{i}": Categorical(*range(6)) for i in range(5)}),
    "one float": Space({"x": Float(0, 1)}),
    "two values": Space({"x": Categorical(True, False)}),
    "long ints": Space({"n": Int(0, 10**9), "m": Int(1, 10**6, log=True)}),
    "steps": Space({"x": Float(0, 1, step=0.25), "y": Float(0, 1, step=0.001)}),
    "mixed": MIXED,
    "wide": Space({f"x{i}": Float(-1, 1) for i in range(60)}),
}
VALUES: dict[str, Callable[[int], list[float]]] = {
    "equal": lambda n: [1.5] * n,
    "huge": lambda n: [1e30, *range(n - 1)],
    "low": lambda n: [-1e300, *range(n - 1)],
    "tiny": lambda n: [1e-300 * k for k in range(n)],
    "ends": lambda n: [1.7e308, -1.7e308, *([0.0] * (n - 2))],
    "ties": lambda n: [float(k % 2) for k in range(n)],
}


@pytest.mark.parametrize("values", VALUES)
@pytest.mark.parametrize("name", SPACES)
def test_it_suggests_a_new_valid_point_after_any_history(name: str, values: str) -> None:
    space = SPACES[name]
    for n in (2, 8, 30):
        points = list({space.key(p): p for p in some(space, n)}.values())
        kept = points if space.size is None else points[: max(0, min(n, space.size - 1))]
        trials = list(zip(kept, VALUES[values](max(n, 2)), strict=False))
        history = make_history(space, trials)
        params = suggest(history)
        assert space.contains(params)
        assert space.key(params) not in history.keys


@pytest.mark.parametrize("name", SPACES)
def test_only_failures_or_only_running_trials_do_not_raise(name: str) -> None:
    space = SPACES[name]
    points = list({space.key(p): p for p in some(space, 12)}.values())
    kept = points if space.size is None else points[: space.size - 1]
    for history in (
        make_history(space, [(p, Failure("error", "no")) for p in kept]),
        make_history(space, [], running=kept),
        make_history(space, [(p, 1.0) for p in kept[:4]], running=kept[4:]),
    ):
        params = suggest(history)
        assert space.contains(params)
        assert space.key(params) not in history.keys


def test_losses_near_the_largest_floats_and_failures_do_not_raise() -> None:
    values = [1.7e308, -1.7e308, 0.0, 1.0, 2.0, Failure("error", "no")]
    history = make_history(MIXED, list(zip(some(MIXED, 6), values, strict=True)))
    assert MIXED.contains(suggest(history))


def test_a_single_result_and_repeated_points_do_not_raise() -> None:
    point = MIXED.default()
    sampler = BayesSampler(n_initial=1)
    for n in (1, 2, 9):
        history = make_history(MIXED, [(point, float(k)) for k in range(n)])
        assert suggest(history, sampler) != point


def test_thousands_of_trials_are_handled() -> None:
    history = make_history(MIXED, tried(2500))
    suggestion = BayesSampler().suggest(history, rng())
    assert MIXED.contains(suggestion.params)
    assert loss(suggestion.params) < np.median([v for _, v in tried(100)])


def test_blas_has_one_thread_during_a_suggestion_and_as_many_as_before_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def threads() -> set[int]:
        return {pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"}

    seen: list[set[int]] = []

    def watched(*args: object) -> object:
        seen.append(threads())
        return model_and_acquisition(*args)  # type: ignore[arg-type] # passes its arguments on

    monkeypatch.setattr(module, "model_and_acquisition", watched)
    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        suggest(make_history(MIXED, tried(8)))
        assert (seen, threads()) == ([{1}], {2})


def test_each_fit_starts_from_the_last_one_and_the_prior_weighs_less_from_suggestion_to_suggestion(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    warm, decay = [], []

    def watched(*args: Any) -> object:
        warm.append([theta.tolist() for theta in args[2]])
        decay.append(args[3].t)
        return model_and_acquisition(*args)

    monkeypatch.setattr(module, "model_and_acquisition", watched)
    study = Study(MIXED, sampler=BayesSampler(priors={"x": {"center": 0.5, "spread": 0.2}}), seed=0)
    study.run(loss, trials=8)
    thetas = [trial.info["theta"] for trial in study.trials[5:]]
    assert warm == [[], [thetas[0]], [thetas[1]]]
    assert len({tuple(theta) for theta in thetas}) == 3
    assert decay == [1, 2, 3]


def test_no_fit_starts_from_one_over_other_parameters() -> None:
    space = Space({"x": Float(0, 1), "c": Categorical("a", "b")})
    study = Study(space, sampler=BayesSampler(n_initial=2), seed=0)
    study.run(lambda params: float(params["x"]), trials=6)
    history = study.history
    history.apply(
        events.amended(99.0, {**history.definition, "space": {**space.to_json(), "c": Categorical("a").to_json()}}, [])
    )
    info = BayesSampler(n_initial=2).suggest(history, rng()).info
    assert len(study.trials[-1].info["theta"]) == 2 + 2
    assert len(info["theta"]) == 1 + 2


@pytest.mark.parametrize(
    "space",
    [
        Space({name: Categorical(*range(10_000)) for name in "ab"}),
        Space({f"x{i}": Float(0, 1) for i in range(600)}),
        Space({f"n{i}": Int(0, 9) for i in range(600)}),
    ],
    ids=["choices", "floats", "ints"],
)
def test_a_suggestion_in_a_large_space_takes_little_memory(space: Space) -> None:
    generator = rng()
    history = make_history(space, [(space.sample(generator), float(i)) for i in range(8)])
    tracemalloc.start()
    suggestion = BayesSampler().suggest(history, generator)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert suggestion.info["model"] == "gp"
    assert peak < 150e6
