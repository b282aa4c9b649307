"""The sampler: valid, new and reproducible on any space; avoids failed and running points; beats random search."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from hpt_core import Categorical, Failure, Float, Int, Params, Space, Study, UsageError
from hpt_core.testing import make_history
from hpt_core.testing.strategies import spaces
from hpt_sampler_tpe.branches import focused
from hpt_sampler_tpe.ranking import ranked
from hpt_sampler_tpe.rules import HPT
from hpt_sampler_tpe.sampler import TpeSampler, _densities
from hpt_sampler_tpe.tree import Tree

LINE = Space({"x": Float(0, 1)})


@settings(max_examples=30, deadline=None)
@given(spaces(max_size=6), st.integers(0, 2**32 - 1), st.integers(1, 18))
def test_suggestions_are_valid_new_and_reproducible(space: Space, seed: int, n: int) -> None:
    generator = np.random.default_rng(seed)
    trials: list[tuple[Params, object]] = []
    taken: set[object] = set()
    sampler = TpeSampler(n_initial=3)
    for number in range(n):
        ended = number - number // 3
        history = make_history(space, trials[:ended], running=[params for params, _ in trials[ended:]])
        suggestion = sampler.suggest(history, np.random.default_rng([seed, number]))
        assert TpeSampler(n_initial=3).suggest(history, np.random.default_rng([seed, number])) == suggestion
        assert space.contains(suggestion.params)
        assert (space.key(suggestion.params) in taken) == (len(taken) == space.size)
        assert json.loads(json.dumps(suggestion.info)) == suggestion.info
        taken.add(space.key(suggestion.params))
        trials.append((suggestion.params, Failure("error", "no") if generator.random() < 0.2 else generator.normal()))


def suggestions(space: Space, trials: list[Any], count: int, **more: Any) -> list[Any]:
    history = make_history(space, trials, **more)
    return [TpeSampler().suggest(history, np.random.default_rng(i)) for i in range(count)]


def test_a_single_branch_has_no_more_good_results_than_results() -> None:
    space = Space({"m": Categorical("a", "b"), "x": Float(0, 1, when={"m": "a"}), "y": Float(0, 1, when={"m": "b"})})
    trials = [({"m": "a", "x": i / 120}, float(i)) for i in range(110)] + [({"m": "b", "y": 0.5}, 999.0)]
    found = [one.info for one in suggestions(space, trials, 60)]
    assert {(info["results"], info["good"]) for info in found} == {(111, 12), (110, 11), (1, 0)}


def test_the_first_points_are_the_default_and_a_latin_hypercube() -> None:
    space = Space({"x": Float(0, 1, default=0.125), "c": Categorical("a", "b", "c", "d", "e")})
    running: list[Params] = []
    for _ in range(6):
        found = TpeSampler().suggest(make_history(space, running=running), np.random.default_rng(0))
        assert found.info["model"] == "initial"
        running.append(found.params)
    assert running[0] == {"x": 0.125, "c": "a"}
    assert sorted(int(params["x"] * 5) for params in running[1:]) == [0, 1, 2, 3, 4]
    assert {params["c"] for params in running[1:]} == set("abcde")
    elsewhere = TpeSampler().suggest(make_history(space, running=running[:1], seed=1), np.random.default_rng(0))
    assert elsewhere.params != running[1]


@pytest.mark.parametrize(
    ("n_initial", "results", "running", "expected"),
    [(5, 2, 3, "tpe"), (5, 2, 2, "initial"), (5, 1, 9, "initial"), (8, 4, 4, "tpe"), (8, 3, 9, "initial")],
)
def test_running_trials_count_for_half_of_the_initial_design(
    n_initial: int, results: int, running: int, expected: str
) -> None:
    points = [{"x": (i + 1) / 20} for i in range(results + running)]
    history = make_history(LINE, [(p, p["x"]) for p in points[:results]], running=points[results:])
    assert TpeSampler(n_initial=n_initial).suggest(history, np.random.default_rng(0)).info["model"] == expected


def test_if_all_initial_points_failed_the_next_one_is_random_and_new() -> None:
    trials: list[tuple[Params, object]] = []
    for index in (0, 1, 2, None):
        found = TpeSampler(n_initial=3).suggest(make_history(LINE, trials), np.random.default_rng(0))
        assert found.info == {"model": "initial", "index": index}
        assert found.params not in [params for params, _ in trials]
        trials.append((found.params, Failure("error", "no")))


@pytest.mark.parametrize("rules", ["hpt", "optuna"])
def test_a_space_with_conditions_has_ten_initial_points(rules: Literal["hpt", "optuna"]) -> None:
    space = Space({"b": Categorical("l", "r"), "x": Float(0, 1, when={"b": "l"}), "y": Float(0, 1, when={"b": "r"})})
    study = Study(space, sampler=TpeSampler(rules=rules), seed=0)
    study.run(lambda params: params.get("x", 0.5), trials=11)
    assert [trial.info["model"] for trial in study.trials] == ["initial"] * 10 + ["tpe"]
    own = Study(space, sampler=TpeSampler(rules=rules, n_initial=4), seed=0)
    own.run(lambda params: params.get("x", 0.5), trials=5)
    assert [trial.info["model"] for trial in own.trials] == ["initial"] * 4 + ["tpe"]


def test_suggestions_concentrate_where_losses_are_low() -> None:
    trials = [({"x": i / 40}, abs(i / 40 - 0.7)) for i in range(41)]
    found = [suggestion.params["x"] for suggestion in suggestions(LINE, trials, 20)]
    assert np.abs(np.median(found) - 0.7) < 0.1


def test_it_avoids_failed_and_running_points() -> None:
    """Of two valleys the second is a little deeper."""
    trials: list[Any] = [({"x": i / 40}, min(abs(i / 40 - 0.2) + 0.01, abs(i / 40 - 0.8))) for i in range(41)]
    spots = [{"x": 0.75 + i / 200} for i in range(20)]
    failed = [(spot, Failure("error", "no")) for spot in spots]

    def in_the_second(more: list[Any], running: list[Params]) -> int:
        return sum(found.params["x"] > 0.6 for found in suggestions(LINE, trials + more, 20, running=running))

    assert in_the_second([], []) >= 18
    assert in_the_second(failed, []) <= 2
    assert in_the_second([], spots) <= 2


def test_a_branch_is_judged_by_its_own_trials() -> None:
    """The good values in one branch do not carry over to the same position in the other."""
    space = Space({"b": Categorical("l", "r"), "x": Float(0, 1, when={"b": "l"}), "y": Float(0, 1, when={"b": "r"})})
    rng = np.random.default_rng(3)
    trials = []
    for _ in range(60):
        params = space.sample(rng)
        value = (params["x"] - 0.2) ** 2 if params["b"] == "l" else (params["y"] - 0.9) ** 2
        trials.append((params, value))
    found = [suggestion.params for suggestion in suggestions(space, trials, 40)]
    assert {params["b"] for params in found} == {"l", "r"}
    assert np.median([abs(params["x"] - 0.2) for params in found if params["b"] == "l"]) < 0.1
    assert np.median([abs(params["y"] - 0.9) for params in found if params["b"] == "r"]) < 0.1


def test_units_and_scale_of_the_values_do_not_matter() -> None:
    rng = np.random.default_rng(0)
    points = [LINE.sample(rng) for _ in range(20)]
    plain = [(p, (p["x"] - 0.3) ** 2) for p in points]
    odd = [(p, 1e30 * v - 5.0) for p, v in plain]
    assert suggestions(LINE, plain, 3) == suggestions(LINE, odd, 3)


def test_what_is_good_in_a_branch_is_learnt_however_bad_the_branch_is() -> None:
    space = Space({"b": Categorical("l", "r"), "x": Float(0, 1, when={"b": "l"}), "y": Float(0, 1, when={"b": "r"})})
    bad: list[Any] = [({"b": "r", "y": i / 8}, 5.0 + abs(i - 3)) for i in range(8)]
    history = make_history(space, [*bad, *(({"b": "l", "x": i / 40}, i / 40) for i in range(40))])
    alone = make_history(space, bad)
    tree, none = Tree.of(space), np.array([], dtype=np.intp)
    among, on_its_own = (_densities(h, tree, HPT, ranked(h), none) for h in (history, alone))
    group = tree.groups.index([space.columns.index("y")])
    for one, other in zip(among, on_its_own, strict=True):
        np.testing.assert_array_equal(one.mixtures[group].mu, other.mixtures[group].mu)
        np.testing.assert_array_equal(one.mixtures[group].w, other.mixtures[group].w)
    grid = np.linspace(0.01, 0.99, 99)[:, None]
    gain = among[0].mixtures[group].log_density(grid) - among[1].mixtures[group].log_density(grid)
    assert abs(grid[gain.argmax(), 0] - 3 / 8) < 0.1


def test_a_branch_with_an_unlucky_start_is_revisited() -> None:
    space = Space({"b": Categorical("l", "r"), "x": Float(0, 1, when={"b": "l"}), "y": Float(0, 1, when={"b": "r"})})
    trials: list[Any] = [({"b": "l", "x": i / 40}, i / 40) for i in range(40)]
    trials += [({"b": "r", "y": i / 8}, 5.0 + i) for i in range(8)]
    found = [suggestion.params["b"] for suggestion in suggestions(space, trials, 200)]
    share = 0.4 * 48 / 100 / 3  # fraction of suggestions from a single branch, a third of them from this one
    assert binomtest(found.count("r"), 200, share).pvalue > 1e-3
    later = trials + [({"b": "l", "x": 0.5 + i / 999}, 1.0 + i) for i in range(400)]
    found = [suggestion.params["b"] for suggestion in suggestions(space, later, 200)]
    assert binomtest(found.count("r"), 200, 0.4 / 3, alternative="greater").pvalue < 0.999
    assert binomtest(found.count("r"), 200, 0.4 * 448 / 100 / 3).pvalue < 1e-3  # the fraction stops growing


@pytest.mark.parametrize(("results", "share"), [(25, 0.1), (100, 0.4), (300, 0.4)])
def test_the_share_of_a_single_branch_equals_the_documented_one(results: int, share: float) -> None:
    """The branch of the best result is chosen twice as often as the other one."""
    space = Space({"b": Categorical("l", "r"), "x": Float(0, 1, when={"b": "l"}), "y": Float(0, 1, when={"b": "r"})})
    trials: list[Any] = [({"b": "l", "x": i / 9}, 500.0 + i) for i in range(5)]
    history = make_history(space, [*trials, *(({"b": "r", "y": i / 400}, float(i)) for i in range(results - 5))])
    order, rng = ranked(history), np.random.default_rng(0)
    learnt_from = [len(focused(history, order, rng)) for _ in range(4000)]
    for count, chance in ((results, 1.0 - share), (results - 5, share * 2 / 3), (5, share / 3)):
        assert binomtest(learnt_from.count(count), 4000, chance).pvalue > 1e-3


def test_a_branch_with_one_result_has_no_good_ones_and_is_not_ruled_out() -> None:
    space = Space({"b": Categorical("l", "r"), "x": Float(0, 1, when={"b": "l"}), "y": Float(0, 1, when={"b": "r"})})
    trials: list[Any] = [({"b": "l", "x": i / 40}, i / 40) for i in range(40)] + [({"b": "r", "y": 0.5}, 5.0)]
    history = make_history(space, trials)
    below, above = _densities(history, Tree.of(space), HPT, ranked(history), np.array([], dtype=np.intp))
    sizes = {tuple(below.tree.groups[i]): (len(below.mixtures[i].w), len(above.mixtures[i].w)) for i in range(3)}
    assert sizes == {
        (0,): (5 + 1, 36 + 1),
        (1,): (4 + 1, 36 + 1),
        (2,): (0 + 1, 1 + 1),
    }  # a tenth of each, plus the prior
    np.testing.assert_allclose(below.mixtures[0].w, np.array([10, 8, 6, 4, 2, 6]) / 36)  # by rank, then the prior
    np.testing.assert_allclose(above.mixtures[0].w, np.full(37, 1 / 37))
    root = np.exp(below.mixtures[0].log_density(space.to_unit([{"b": "r", "y": 0.5}])[:, :1]))
    assert root[0] >= 1 / 6 / 2  # all five good results are in the other branch: half of the prior remains


def test_if_all_candidates_were_tried_the_best_untried_configuration_is_suggested() -> None:
    space = Space({"k": Int(0, 19)})
    history = make_history(space, [({"k": k}, abs(k - 14.0)) for k in range(1, 20) if k != 16])
    found = [TpeSampler(candidates=1).suggest(history, np.random.default_rng(i)) for i in range(10)]
    assert {one.info["model"] for one in found} == {"tpe"}
    assert [one.params["k"] for one in found].count(16) >= 8  # a candidate may be the other one


def test_more_candidates_give_a_higher_gain() -> None:
    history = make_history(LINE, [({"x": i / 40}, abs(i / 40 - 0.7)) for i in range(41)])
    gains = [
        np.mean([TpeSampler(candidates=n).suggest(history, np.random.default_rng(i)).info["gain"] for i in range(10)])
        for n in (1, 10, 1000)
    ]
    assert gains == sorted(gains)
    assert len(set(gains)) == 3


def test_a_small_space_is_exhausted() -> None:
    study = Study({"k": Int(0, 4), "c": Categorical("a", "b")}, sampler=TpeSampler(), seed=1)
    study.run(lambda params: float(params["k"]))
    assert len(study.trials) == 10
    assert "exhausted" in study.stop_reason
    noisy = Study({"k": Int(0, 4), "c": Categorical("a", "b")}, sampler=TpeSampler(), seed=1, duplicates="allow")
    noisy.run(lambda params: float(params["k"]), trials=20)
    assert len(noisy.history.keys) == 10
    assert {trial.params["k"] for trial in noisy.trials[14:]} == {0}


@pytest.mark.parametrize(
    "options", [{"n_initial": 0}, {"candidates": 0}, {"good": 0.0}, {"good": 1.0}, {"n_initial": True}]
)
def test_options_are_checked(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="must be"):
        TpeSampler(**options)


def test_options_change_the_rules() -> None:
    numbers = TpeSampler(rules="optuna", candidates=7)._rules(Tree.of(LINE))
    assert (numbers.n_initial, numbers.candidates, numbers.good, numbers.by_rank) == (10, 7, 0.1, False)


def branin(params: Params) -> float:
    x, y = params["x"], params["y"]
    bowl = (y - 5.1 / (4 * np.pi**2) * x * x + 5 / np.pi * x - 6) ** 2
    return float(bowl + 10 * (1 - 1 / (8 * np.pi)) * np.cos(x) + 10)


def branches(params: Params) -> float:
    if params["model"] == "svm":
        kernel = (params["kernel"] != "rbf") * 0.3 + (np.log10(params["tol"]) + 3) ** 2 / 9
        return float(0.2 + (np.log10(params["C"]) - 1) ** 2 / 4 + kernel)
    leaf = (params["leaf"] - 3) ** 2 / 20
    return float(0.1 + ((params["depth"] - 11) / 6) ** 2 + (params["share"] - 0.7) ** 2 * 2 + leaf)


PROBLEMS: dict[str, tuple[Space, Callable[[Params], float]]] = {
    "branin": (Space({"x": Float(-5, 10), "y": Float(0, 15)}), branin),
    "branches": (
        Space(
            {
                "model": Categorical("svm", "forest"),
                "C": Float(1e-4, 1e4, log=True, when={"model": "svm"}),
                "kernel": Categorical("rbf", "poly", "linear", when={"model": "svm"}),
                "tol": Float(1e-6, 1.0, log=True, when={"model": "svm"}),
                "depth": Int(1, 30, when={"model": "forest"}),
                "share": Float(0.05, 1.0, when={"model": "forest"}),
                "leaf": Int(1, 30, log=True, when={"model": "forest"}),
            }
        ),
        branches,
    ),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_it_beats_random_search(name: str) -> None:
    space, function = PROBLEMS[name]
    wins = 0
    for seed in range(40):
        study = Study(space, sampler=TpeSampler(), seed=seed)
        study.run(function, trials=25)
        assert study.best is not None
        assert study.best.value is not None
        rng = np.random.default_rng(seed)
        wins += study.best.value < min(function(space.sample(rng)) for _ in range(25))
    assert binomtest(wins, 40, alternative="greater").pvalue < 1e-4  # four of five, as 16 of 20 would be for 0.01
