"""Evolutions: bit-identical to the cmaes package when driven directly, in whatever order results end."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from cmaes import CMA, CatCMAwM

from hpt_core import Categorical, Failure, Float, History, Int, Ordinal, Params, Space, Study, UsageError
from hpt_core.history import events
from hpt_core.testing import make_history
from hpt_sampler_cmaes import generations
from hpt_sampler_cmaes.encoding import Encoding
from hpt_sampler_cmaes.evolution import Evolution, next_population
from hpt_sampler_cmaes.generations import Generations, Individual
from hpt_sampler_cmaes.sampler import CmaesSampler

CUBE = Space({f"x{i}": Float(0, 1) for i in range(4)})
MIXED = Space(
    {"x": Float(0, 1), "y": Float(0, 1), "n": Int(0, 20), "c": Categorical("a", "b", "c"), "z": Ordinal(1, 5)}
)


def values(params: Params) -> np.ndarray[Any, Any]:
    return np.array([params[f"x{i}"] for i in range(4)])


def sphere(params: Params) -> float:
    return float(np.sum((values(params) - 0.37) ** 2))


def ellipsoid(params: Params) -> float:
    return float(np.sum(10.0 ** np.arange(4) * (values(params) - 0.37) ** 2))


def mixed(params: Params) -> float:
    far = (params["x"] - 0.2) ** 2 + (params["y"] - 0.7) ** 2 + ((params["n"] - 13) / 20) ** 2
    return float(far + 0.3 * (params["c"] != "b") + 0.2 * (params["z"] != 5))


@pytest.mark.parametrize("function", [sphere, mixed])
def test_draws_equal_those_of_the_cmaes_package(function: Any) -> None:
    """Driven directly with the same random numbers, the package draws the same solutions in all generations."""
    space = CUBE if function is sphere else MIXED
    encoding = Encoding.of(space)
    study = Study(space, sampler=CmaesSampler(population=6), seed=5)
    study.run(function, trials=60)
    mean = encoding.encode(space.default())[0]
    direct = CatCMAwM(**encoding.spaces(), population_size=6, mean=mean, sigma=0.25, cov=np.eye(len(mean)))
    for generation in range(10):
        told = []
        for number in range(6 * generation, 6 * generation + 6):
            trial = study.trials[number]
            rng = np.random.default_rng([5, number])
            direct.reseed_rng(int(rng.integers(2**32)))
            asked = [direct.ask() for _ in range(20)]
            if number:  # the first trial is the default point
                same = [k for k, one in enumerate(asked) if one._v_raw.tolist() == trial.info["raw"]]
                assert same
                told.append((asked[same[0]], trial.value))
            else:
                raw, places = encoding.encode(space.default())
                c = np.eye(3, dtype=bool)[places] if places else None
                told.append((CatCMAwM.Solution(None, None, c, raw), trial.value))
        direct.tell(told)


@pytest.mark.parametrize("function", [sphere, ellipsoid])
def test_it_converges_like_the_cmaes_package(function: Any) -> None:
    ours, theirs = [], []
    for seed in range(5):
        study = Study(CUBE, sampler=CmaesSampler(), seed=seed)
        study.run(function, trials=320)
        assert study.best is not None
        ours.append(study.best.value)
        direct = CMA(mean=np.full(4, 0.5), sigma=0.25, bounds=np.array([[0.0, 1.0]] * 4), seed=seed)
        found: list[float] = []
        while len(found) < 320:
            asked = [direct.ask() for _ in range(direct.population_size)]
            told = [(x, function({f"x{i}": v for i, v in enumerate(x)})) for x in asked]
            direct.tell(told)
            found += [value for _, value in told]
        theirs.append(min(found[:320]))
    logs = np.log10(np.array([ours, theirs], dtype=np.float64))
    assert np.median(logs[0]) < -3
    assert np.median(logs[0]) < np.median(logs[1]) + 1.5  # after as many trials, within a factor of 30


def test_a_mixed_space_is_solved() -> None:
    found = []
    for seed in range(5):
        study = Study(MIXED, sampler=CmaesSampler(), seed=seed)
        study.run(mixed, trials=200)
        assert study.best is not None
        found.append(study.best.value)
    assert np.median(np.array(found, dtype=np.float64)) < 0.005  # one wrong integer costs 0.0025, one wrong choice 0.2


def test_the_margin_keeps_every_neighbouring_value_possible() -> None:
    """If all results have the same integer and category, the others keep at least the probability of the margin."""
    encoding = Encoding.of(Space({"n": Int(0, 20), "x": Float(0, 1), "c": Categorical("a", "b", "c")}))
    evolution = Evolution(encoding, {"evolution": 0, "population": 6, "mean": [0.5, 0.5], "sigma": 0.25})
    rng = np.random.default_rng(0)
    for _ in range(40):
        ranked = []
        for raw, places in evolution.draw(rng, 6):
            params = encoding.decode(raw, places)
            loss = abs(params["n"] - 7) + (params["c"] != "b") + (params["x"] - 0.5) ** 2
            ranked.append(Individual(raw, places, loss, (0.0, loss)))
        evolution.advance(ranked)
    drawn = [encoding.decode(raw, places) for raw, places in evolution.draw(rng, 4000)]
    alpha = 1 - 0.73 ** (1 / 2)  # of two discrete parameters
    assert np.mean([params["n"] < 7 for params in drawn]) >= alpha / 2 - 0.02
    assert np.mean([params["n"] > 7 for params in drawn]) >= alpha / 2 - 0.02
    assert np.mean([params["c"] != "b" for params in drawn]) >= alpha - 0.03


def shuffled_study(order: list[int], count: int = 12, evidence: str = "curve") -> History:
    """One generation of ``count`` draws at once; their results come in this order."""
    history = History()
    definition = {
        "space": CUBE.to_json(), "objectives": {"value": "minimize"}, "seed": 3, "evidence": {"kind": evidence},
    }  # fmt: skip
    history.apply(events.created(0.0, definition, {}))
    for number in range(count):
        found = CmaesSampler(population=6).suggest(history, np.random.default_rng([3, number]))
        history.apply(events.started(1.0, number, found.params, "w", 1, 0, info=found.info))
    for place, number in enumerate(order):
        value = sphere(history.trials[number].params)
        history.apply(events.complete(2.0 + place, number, 1, [value], {}))
    return history


def test_the_first_results_make_the_next_generation() -> None:
    early, late = shuffled_study([3, 8, 1, 0, 11, 5]), shuffled_study([3, 8, 1, 0, 11, 5, 2, 4, 6, 7])
    found = [CmaesSampler(population=6).suggest(h, np.random.default_rng(9)) for h in (early, late)]
    assert found[0] == found[1]
    assert found[0].info["generation"] == 1
    waiting = CmaesSampler(population=6).suggest(shuffled_study([3, 8, 1, 0, 11]), np.random.default_rng(9))
    assert waiting.info["generation"] == 0


def test_the_cache_changes_nothing() -> None:
    kept, history = CmaesSampler(population=4), shuffled_study([0, 1, 2, 3, 4])
    for number in range(12, 60):
        rng = [np.random.default_rng([3, number]) for _ in range(2)]
        found = kept.suggest(history, rng[0])
        assert found == CmaesSampler(population=4).suggest(history, rng[1])
        history.apply(events.started(90.0 + number, number, found.params, "w", 1, 0, info=found.info))
        if number % 7:
            history.apply(events.complete(90.5 + number, number, 1, [sphere(found.params)], {}))
        else:
            history.apply(events.failed(90.5 + number, number, 1, Failure("error", "no")))
        if number == 40:
            history.apply(events.invalidated(1e3, 20, "wrong"))


def test_a_suggestion_reads_only_the_trials_that_have_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []
    draw = generations._recorded_draw

    def counting(info: Any, encoding: Any) -> Any:
        reads.append(1)
        return draw(info, encoding)

    monkeypatch.setattr(generations, "_recorded_draw", counting)
    study = Study(CUBE, sampler=CmaesSampler(population=4), seed=0)
    study.run(sphere, trials=100)
    assert len(reads) == 99  # not of the last trial, as nothing was suggested after it


def test_studies_in_threads_may_share_a_sampler() -> None:
    """Equal spaces and starts, so that both have the same evolution at first."""
    shared, objectives = CmaesSampler(population=4), [sphere, lambda params: -sphere(params)]
    studies = [Study(CUBE, sampler=shared, seed=seed) for seed in (0, 1)]
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda study, objective: study.run(objective, trials=60), studies, objectives))
    for seed, (study, objective) in enumerate(zip(studies, objectives, strict=True)):
        alone = Study(CUBE, sampler=CmaesSampler(population=4), seed=seed)
        alone.run(objective, trials=60)
        assert [trial.params for trial in study.trials] == [trial.params for trial in alone.trials]


def test_a_used_sampler_can_be_pickled_and_serve_another_study() -> None:
    sampler = CmaesSampler(population=4)
    Study(CUBE, sampler=sampler, seed=0).run(sphere, trials=30)
    expected = CmaesSampler(population=4).suggest(shuffled_study([0, 1, 2, 3, 4]), np.random.default_rng(3))
    for used in (pickle.loads(pickle.dumps(sampler)), sampler):
        assert used.suggest(shuffled_study([0, 1, 2, 3, 4]), np.random.default_rng(3)) == expected


def first_generation(history: History) -> list[Individual]:
    found = Generations()
    found.follow(history, Encoding.of(CUBE))
    return found.of(0, 0, 100)


def test_failed_and_stopped_trials_rank_behind_complete_ones() -> None:
    history = shuffled_study([2, 4])
    history.apply(events.failed(50.0, 0, 1, Failure("error", "no")))
    history.apply(events.reported(51.0, 1, 1, _report(1, -9.0)))
    history.apply(events.stopped_early(52.0, 1, 1, [-9.0], 0, "rule", "bad", {}))
    individuals = first_generation(history)
    assert [individual.rank[0] for individual in individuals] == [0.0, 0.0, 3.0, 1.0]


def _report(step: int, value: float) -> Any:
    from hpt_core import Report

    return Report(step, value)


def test_trials_ended_early_on_folds_rank_by_the_mean_of_their_folds() -> None:
    """Trial 0 is better on both folds together, trial 1 on the last one."""
    history = shuffled_study([], evidence="folds")
    for number, losses in enumerate(([1.0, 5.0], [9.0, 4.0])):
        for step, loss in enumerate(losses, start=1):
            history.apply(events.reported(50.0, number, 1, _report(step, loss)))
    history.apply(events.stopped_early(52.0, 0, 1, [3.0], 0, "rule", "bad", {}))
    history.apply(events.paused(53.0, 1, 1, 0, "rule", "later", {}))
    individuals = first_generation(history)
    assert [individual.rank for individual in individuals] == [(1.0, -2.0, 3.0), (1.0, -2.0, 6.5)]


def test_the_search_leaves_a_region_that_crashes() -> None:
    def crashing(params: Params) -> float:
        if params["x0"] > 0.6:
            raise MemoryError
        return sphere(params)

    study = Study(CUBE, sampler=CmaesSampler(), seed=0, max_failures=1000)
    study.run(crashing, trials=200)
    assert study.best is not None
    assert study.best.value is not None
    assert study.best.value < 1e-3


def test_units_and_one_diverged_trial_do_not_matter() -> None:
    plain, odd = (Study(CUBE, sampler=CmaesSampler(), seed=2) for _ in range(2))
    plain.run(sphere, trials=40)
    odd.run(lambda params: 1e6 * sphere(params) - 3.0, trials=40)
    for one, other in zip(plain.trials, odd.trials, strict=True):
        np.testing.assert_allclose(values(one.params), values(other.params), atol=1e-6)


def test_it_restarts_on_a_flat_function() -> None:
    study = Study(CUBE, sampler=CmaesSampler(population=4), seed=0)
    study.run(lambda _: 1.0, trials=250)
    last = study.trials[-1].info
    assert last["evolution"] >= 1
    assert last["start"]["population"] == 8
    assert next_population(8, 8) == 16
    assert next_population(512, 8) == 512


def test_it_starts_at_the_best_known_point() -> None:
    study = Study(CUBE, sampler=CmaesSampler(), seed=0)
    for x in (0.9, 0.4, 0.6):
        trial = study.enqueue(dict.fromkeys(CUBE.names, x))
        study.tell(study.ask(), sphere(trial.params))
    np.testing.assert_allclose(study.ask().info["start"]["mean"], [0.4] * 4, atol=1e-9)
    fresh = Study(CUBE, sampler=CmaesSampler(), seed=0)
    assert fresh.ask().params == CUBE.default()


def test_several_objectives_are_rejected() -> None:
    study = Study(CUBE, sampler=CmaesSampler(), objective={"a": "minimize", "b": "minimize"})
    with pytest.raises(UsageError, match="supports one objective"):
        study.run(lambda _: {"a": 1.0, "b": 2.0}, trials=1)


@pytest.mark.parametrize("options", [{"population": 3}, {"sigma": 0.0}, {"sigma": 1.5}, {"population": True}])
def test_options_are_checked(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="must be"):
        CmaesSampler(**options)


def test_infeasible_trials_rank_behind_feasible_ones_by_violation() -> None:
    study = Study(CUBE, constraints={"ms": "<= 10"}, sampler=CmaesSampler(population=6), seed=0)
    told: list[Any] = [(5.0, 9.0), (1.0, 30.0), (2.0, 11.0), (0.0, 30.0), (4.0, 10.0), None]
    for one in told:
        study.tell(study.ask(), Failure("error", "no") if one is None else {"value": one[0], "ms": one[1]})
    individuals = first_generation(study.history)
    assert sorted(range(6), key=lambda i: individuals[i].rank) == [4, 0, 2, 3, 1, 5]
    assert [np.isfinite(individual.loss) for individual in individuals] == [True, False, False, False, True, False]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_it_finds_the_best_feasible_point(seed: int) -> None:
    """A sphere with an infeasible centre, 0.23 from the best feasible point; unconstrained, 0.08 to 0.18 is found."""
    study = Study(CUBE, constraints={"x0": ">= 0.6"}, sampler=CmaesSampler(), seed=seed)
    study.run(lambda params: {"value": sphere(params), "x0": params["x0"]}, trials=250)
    assert study.best is not None
    assert study.best.value == pytest.approx(0.23**2, abs=0.012)


def test_it_starts_at_the_best_feasible_point_or_the_least_violation() -> None:
    study = Study(CUBE, constraints={"ms": "<= 10"}, sampler=CmaesSampler(), seed=0)
    for x, loss, ms in ((0.1, 0.0, 50.0), (0.2, 3.0, 20.0)):
        study.add_trial({f"x{i}": x for i in range(4)}, {"value": loss, "ms": ms})
    assert study.ask().info["start"]["mean"] == pytest.approx([0.2] * 4)
    other = Study(CUBE, constraints={"ms": "<= 10"}, sampler=CmaesSampler(), seed=0)
    for x, loss, ms in ((0.1, 0.0, 50.0), (0.3, 7.0, 5.0), (0.2, 3.0, 20.0)):
        other.add_trial({f"x{i}": x for i in range(4)}, {"value": loss, "ms": ms})
    assert other.ask().info["start"]["mean"] == pytest.approx([0.3] * 4)


def test_it_does_not_start_at_a_point_of_unknown_violation() -> None:
    history = make_history(
        CUBE,
        [({f"x{i}": 0.1 for i in range(4)}, 0.0), ({f"x{i}": 0.2 for i in range(4)}, {"value": 3.0, "ms": 20.0})],
        constraints={"ms": "<= 10"},
    )
    found = CmaesSampler().suggest(history, np.random.default_rng(0))
    assert found.info["start"]["mean"] == pytest.approx([0.2] * 4)


def test_a_generation_in_which_all_trials_fail_starts_again_elsewhere_with_the_same_population() -> None:
    def in_a_corner(params: Params) -> float:
        if params["x0"] > 0.1:
            raise ValueError("no")
        return sphere(params)

    study = Study(CUBE, sampler=CmaesSampler(population=6), seed=0, max_failures=1000)
    study.run(in_a_corner, trials=24)
    starts = {trial.info["evolution"]: trial.info["start"] for trial in study.trials}
    latest: dict[int, list[str]] = {}
    for number in starts:
        trials = [trial for trial in study.trials if trial.info["evolution"] == number]
        last = max(trial.info["generation"] for trial in trials)
        latest[number] = [str(trial.state) for trial in trials if trial.info["generation"] == last]
    assert len(starts) > 2
    assert all(states == ["failed"] * 6 for number, states in latest.items() if number + 1 in starts)
    assert {start["population"] for start in starts.values()} == {6}
    assert len({tuple(start["mean"]) for start in starts.values()}) == len(starts)


def test_after_results_a_generation_in_which_all_trials_fail_is_drawn_again() -> None:
    """An outage must not cost what was learned before it."""
    encoding = Encoding.of(CUBE)
    evolution = Evolution(encoding, {"evolution": 0, "population": 6, "mean": [0.5] * 4, "sigma": 0.25})

    def draws() -> list[tuple[np.ndarray[Any, Any], list[int]]]:
        return list(evolution.draw(np.random.default_rng(0), 6))

    for _ in range(3):
        losses = [(raw, places, float(np.sum((raw - 0.37) ** 2))) for raw, places in draws()]
        evolution.advance([Individual(raw, places, loss, (0.0, loss)) for raw, places, loss in losses])
    before = draws()
    for _ in range(2):
        evolution.advance([Individual(raw, places, float("inf"), (3.0,)) for raw, places in before])
    assert (evolution.finished, evolution.generation) == (False, 5)
    assert [raw.tolist() for raw, _ in draws()] == [raw.tolist() for raw, _ in before]


def test_an_evolution_that_only_fails_after_its_first_results_ends_at_last() -> None:
    encoding = Encoding.of(CUBE)
    evolution = Evolution(encoding, {"evolution": 0, "population": 6, "mean": [0.5] * 4, "sigma": 0.25})
    drawn = list(evolution.draw(np.random.default_rng(0), 6))
    evolution.advance([Individual(raw, places, 1.0 + raw[0], (0.0, 1.0 + raw[0])) for raw, places in drawn])
    while not evolution.finished and evolution.generation < 100:
        evolution.advance([Individual(raw, places, float("inf"), (3.0,)) for raw, places in drawn])
    assert evolution.generation == 30  # 10 + 30 * 4 / 6: as without any gain
