"""When the rules stop: calibration on functions from a known prior, and the limiting cases."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import binomtest

from hpt_core import Categorical, Float, History, Int, Space, Study
from hpt_core.plugins.plugins import default_plugins
from hpt_core.study.verify import verify
from hpt_core.testing import make_history
from hpt_stopping_regret.limits import fold_error, unexplored
from hpt_stopping_regret.outlook import Outlook, look
from hpt_stopping_regret.points import reach, softened
from hpt_stopping_regret.rules import Improvement, Regret

PLANE = Space({"x": Float(0.0, 1.0), "y": Float(0.0, 1.0)})
BOTH = pytest.mark.parametrize("rule", [Regret, Improvement])


def history_of(values: Sequence[float], points: Any = None, **options: Any) -> History:
    spots = np.random.default_rng(0).random((len(values), 2)) if points is None else points
    trials = [({"x": float(x), "y": float(y)}, value) for (x, y), value in zip(spots, values, strict=True)]
    return make_history(PLANE, trials, **options)


def bowl(points: Any) -> Any:
    return np.sum((np.asarray(points) - 0.37) ** 2, axis=1)


def converged(count: int = 30) -> Any:
    """Points of a search that has found the bowl's bottom."""
    rng = np.random.default_rng(3)
    wide, close = rng.random((count // 2, 2)), 0.37 + 0.01 * rng.standard_normal((count - count // 2, 2))
    return np.vstack([wide, close])


# --- limiting cases -------------------------------------------------------------------------------------


@BOTH
def test_a_constant_function_stops_at_min_trials(rule: Any) -> None:
    for judge, least in ((rule(), 20), (rule(min_trials=12), 12)):
        asked = [judge.judge_study(history_of([0.7] * count)) is not None for count in range(1, 26)]
        assert asked == [count >= least for count in range(1, 26)]


@BOTH
def test_infeasible_trials_do_not_count(rule: Any) -> None:
    for bound, stops in (("<= 1", True), ("<= 0.5", False)):
        study = Study(PLANE, constraints={"ms": bound}, sampler="random", seed=0)
        for i in range(25):
            study.add_trial({"x": i / 100, "y": 0.5}, {"value": 0.7, "ms": 1.0 if i % 2 else 0.0})
        assert (rule().judge_study(study.history) is not None) is stops


@BOTH
def test_min_trials_grows_with_the_parameters(rule: Any) -> None:
    space = Space({f"x{i}": Float(0.0, 1.0) for i in range(9)})
    rng = np.random.default_rng(0)
    for count in (26, 27):
        history = make_history(space, [(space.sample(rng), 1.0) for _ in range(count)])
        assert (rule().judge_study(history) is not None) is (count >= 27)


@BOTH
def test_a_steady_descent_is_never_stopped(rule: Any) -> None:
    """A linear function, walked down in even steps: the next step is always as good as the last one."""
    judge = rule()
    for count in (20, 40, 60, 79):
        along = np.linspace(0.0, 1.0, 101)[:count]
        assert judge.judge_study(history_of(list(-10 * along), np.column_stack([along, along]))) is None


@BOTH
def test_only_a_search_that_found_the_bottom_is_stopped(rule: Any) -> None:
    assert rule().judge_study(history_of(bowl(converged()), converged())) is not None
    far = np.random.default_rng(1).random((30, 2)) * 0.25
    assert rule().judge_study(history_of(bowl(far), far)) is None


@BOTH
def test_it_must_hold_after_each_of_the_last_completions(rule: Any) -> None:
    """The last trial finds a much better region: a rule that would have stopped must become sure again."""
    points, values = list(converged()), list(bowl(converged()))
    assert rule().judge_study(history_of(values, points)) is not None
    assert rule().judge_study(history_of([*values, -0.2], [*points, (0.9, 0.9)])) is None
    before = [rule(completions=1).judge_study(history_of(values[:n], points[:n])) is not None for n in range(20, 31)]
    three = [rule(completions=3).judge_study(history_of(values[:n], points[:n])) is not None for n in range(22, 31)]
    assert three == [all(before[i : i + 3]) for i in range(9)]


@BOTH
def test_from_400_results_on_the_model_is_asked_once_per_half_a_percent(
    rule: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two such results, the answer is that of the first of them, whatever came since."""
    asked: list[int] = []

    def looked(space: Space, unit: Any, losses: Any, yardstick: float) -> Outlook:
        asked.append(len(losses))
        gain = 0.0 if len(losses) >= 900 else 1.0
        return Outlook(gain, np.full(256, gain))

    monkeypatch.setattr("hpt_stopping_regret.rules.look", looked)
    judge, study, stops = rule(completions=2), Study(PLANE, sampler="random", seed=0), []
    for i in range(950):
        study.add_trial({"x": i / 1000, "y": 0.5}, float(i % 7))
        stop = judge.judge_study(study.history)
        stops += [] if stop is None else [(i + 1, stop.evidence["trials"])]
    expected = [*range(20, 400), *range(400, 600, 2), *range(600, 800, 3), *range(800, 900, 4)]
    assert sorted({count for count in asked if count < 899}) == expected
    assert stops == [(n, n - n % 4) for n in range(904, 951)]


def test_by_default_regret_must_hold_ten_times_if_nothing_tells_the_tolerance() -> None:
    """Three times if the folds do, or the user; `improvement` always three times."""
    history = history_of([0.1 * i for i in range(25)])
    folds = {i: [0.1 * i, 0.1 * i + 0.01 * (i % 3)] for i in range(25)}
    measured = history_of([0.1 * i for i in range(25)], evidence="folds", reports=folds)
    for rule, given, expected in (
        (Regret(), history, 10),
        (Regret(), measured, 3),
        (Regret(epsilon=0.1), history, 3),
        (Regret(), history_of([], evidence="folds"), 10),
        (Regret(completions=7), history, 7),
        (Improvement(), history, 3),
    ):
        assert rule._completions(given, *rule._results(given)) == expected


def test_a_finite_space_of_categories_that_is_all_known_has_no_regret() -> None:
    space = Space({"a": Categorical("p", "q", "r"), "b": Categorical("s", "t"), "c": Float(0.0, 1.0, when={"a": "p"})})
    rng = np.random.default_rng(0)
    sampled = [space.sample(rng) for _ in range(30)]
    worth = {"p": 1.0, "q": 0.5, "r": 0.0}
    history = make_history(space, [(params, worth[params["a"]] + (params["b"] == "s")) for params in sampled])
    assert Regret().judge_study(history) is not None
    assert Improvement().judge_study(history) is not None


# --- the outlook ----------------------------------------------------------------------------------------


def test_the_order_of_the_results_does_not_matter() -> None:
    unit = np.random.default_rng(0).random((25, 2))
    order = np.random.default_rng(1).permutation(25)
    first, second = look(PLANE, unit, bowl(unit), 0.2), look(PLANE, unit[order], bowl(unit)[order], 0.2)
    assert first.improvement == second.improvement
    assert (first.regrets == second.regrets).all()


def test_shift_and_scale_of_the_losses_shift_and_scale_the_gain() -> None:
    unit = np.random.default_rng(0).random((25, 2))
    plain, moved = look(PLANE, unit, bowl(unit), 0.2), look(PLANE, unit, 1000 * bowl(unit) - 7, 200.0)
    assert moved.gain == pytest.approx(1000 * plain.gain, rel=1e-3)
    assert moved.improvement == pytest.approx(1000 * plain.improvement, rel=1e-3)


def test_one_enormous_result_changes_little() -> None:
    unit = np.random.default_rng(0).random((25, 2))
    values = bowl(unit)
    worst = int(np.argmax(values))
    plain = look(PLANE, unit, values, 0.2)
    values[worst] = 1e30
    assert look(PLANE, unit, values, 0.2).gain == pytest.approx(plain.gain, abs=3 * plain.gain + 0.01)


def test_the_expected_gain_is_about_the_true_one() -> None:
    """A smooth function, known at 60 random points: the best of them is off by about what is told."""
    ratios = []
    for seed in range(5):
        unit = np.random.default_rng(seed).random((60, 2))
        ratios.append(look(PLANE, unit, bowl(unit), 0.2).gain / bowl(unit).min())
    assert 0.5 < float(np.median(ratios)) < 2.0


def test_shares_of_draws_and_their_bound() -> None:
    outlook = Outlook(0.1, np.array([0.0, 0.0, 0.1, 0.4]))
    assert outlook.gain == pytest.approx(0.125)
    assert [outlook.chance(epsilon) for epsilon in (0.0, 0.1, 0.2, 0.5)] == [0.5, 0.75, 0.75, 1.0]
    exact = binomtest(3, 4, alternative="greater").proportion_ci(0.95, method="exact")
    assert outlook.surely(0.2) == pytest.approx(exact.low)
    assert Outlook(0.1, np.array([0.3])).surely(0.1) == 0.0


def test_the_better_half_stays_as_it_is() -> None:
    losses = np.array([0.0, 1.0, 2.0, 3.0, 1e9])
    soft = softened(losses, 2.0)
    assert soft[:3].tolist() == [0.0, 1.0, 2.0]
    assert soft[3] == pytest.approx(2.0 + 2.0 * math.log1p(0.5))
    assert soft[4] == 12.0


def test_the_yardstick_reaches_from_the_best_to_the_median_else_to_the_mean() -> None:
    assert reach(np.array([1.0, 2.0, 4.0, 5.0, 9.0]), 0.5) == 3.5
    assert reach(np.array([1.0, 1.0, 1.0, 5.0]), 1.0) == 1.0


# --- tolerance, evidence, summary -----------------------------------------------------------------------


def test_the_tolerance_is_the_users_else_the_folds_else_a_share_of_the_way_so_far() -> None:
    values = [0.1 * (i + 1) for i in range(25)]
    folds = {0: [0.0, 0.2, 0.1, 0.1, 0.1], 1: [0.3, 0.3, 0.2, 0.1, 0.1], 2: [0.0, 0.2, 0.1, 0.1, 0.1], 3: [0.3]}
    by_folds = Regret().summary(history_of(values, evidence="folds", reports=folds))
    assert by_folds is not None
    differences = [0.3, 0.1, 0.1, 0.0, 0.0]  # trial 2 is the same as the best, trial 3 has not done all folds
    assert by_folds["epsilon"] == pytest.approx(math.sqrt((1 / 5 + 1 / 4) * np.var(differences, ddof=1)))
    way = 1.05 - 0.1
    for rule, epsilon in ((Regret(epsilon=0.3), 0.3), (Regret(), 0.05 * way), (Improvement(), 0.01 * way)):
        told = rule.summary(history_of(values, reports=folds))  # here they are curves
        assert told is not None
        assert told["epsilon"] == pytest.approx(epsilon)


def test_what_folds_cannot_tell_apart_is_the_error_of_the_difference_to_ten_others() -> None:
    """Hardness of folds that all trials share drops out; challengers beyond the tenth do not count."""
    rng = np.random.default_rng(0)
    hard, noise = rng.normal(0, 9.0, 5), rng.normal(0, 0.1, (12, 5))
    best, *others = [dict(enumerate(hard + row)) for row in noise]
    spread = np.mean([np.var(noise[0] - row, ddof=1) for row in noise[1:11]])
    assert fold_error(best, others) == pytest.approx(math.sqrt((1 / 5 + 1 / 4) * spread))
    assert fold_error(best, [best, {0: 1.0}]) == 0.0
    assert fold_error({0: 1.0}, [{0: 2.0}]) == 0.0


@BOTH
def test_a_branch_with_too_few_results_prevents_the_stop(rule: Any) -> None:
    space = Space({"m": Categorical("p", "q", "r"), "c": Float(0.0, 1.0, when={"m": "p"}), "d": Int(0, 9)})
    many: list[dict[str, Any]] = [{"m": "q", "d": i % 10} for i in range(22)] + [{"m": "r", "d": 0}]
    branch = [{"m": "p", "c": 0.5, "d": i} for i in range(3)]
    for known in range(4):
        params = [*branch[:known], *many]
        assert list(unexplored(space, params)) == ([] if known == 3 else [("m", "p", known)])
        history = make_history(space, [(one, 0.7) for one in params])
        assert (rule().judge_study(history) is not None) is (known == 3)
        said = rule().summary(history).get("waits for")
        assert said == (None if known == 3 else f"results of m = 'p' ({known} so far)")
    for since in range(4):  # it must hold after each of three trials
        history = make_history(space, [(one, 0.7) for one in [*many, *branch, *many[:since]]])
        assert (rule(completions=3).judge_study(history) is not None) is (since >= 2)


def test_no_results_are_read_once_each_branch_has_enough() -> None:
    space = Space({"m": Categorical("p", "q"), "c": Float(0.0, 1.0, when={"m": "p"})})
    given: list[dict[str, Any]] = [{"m": "q"}, *[{"m": "p", "c": 0.5}] * 3, {"m": "q"}, {"m": "q"}]
    params = iter(given)
    assert list(unexplored(space, params)) == []
    assert list(params) == given[5:]


def test_a_branch_may_be_a_list() -> None:
    space = Space({"m": Categorical([1, 2], [3], None), "c": Float(0.0, 1.0, when={"m": [[1, 2], None]})})
    params: list[dict[str, Any]] = [{"m": [1, 2], "c": 0.5}] * 3 + [{"m": None, "c": 0.5}, {"m": [3]}]
    assert list(unexplored(space, params)) == [("m", None, 1)]
    assert list(unexplored(space, params[2:])) == [("m", [1, 2], 1), ("m", None, 1)]


@BOTH
def test_the_remaining_gain_is_in_the_summary_and_the_evidence(rule: Any) -> None:
    far = np.random.default_rng(1).random((30, 2)) * 0.25
    early = rule().summary(history_of(bowl(far), far))
    assert early["expected remaining gain"] > 0.003
    assert [rule().summary(history_of([0.1] * count)) is None for count in (0, 3, 4)] == [True, True, False]
    stop = rule().judge_study(history_of(bowl(converged()), converged()))
    assert 0 <= stop.evidence["expected_remaining_gain"] < early["expected remaining gain"]
    json.dumps([early, dict(stop.evidence)], allow_nan=False)


@BOTH
def test_a_second_judgement_without_a_new_result_fits_no_model(rule: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    history = history_of(bowl(converged()), converged())
    first = rule().judge_study(history)
    assert first is not None
    monkeypatch.setattr("hpt_stopping_regret.outlook.gp", None)
    assert rule().judge_study(history) == first


@BOTH
def test_another_objective_or_metric_can_be_watched(rule: Any) -> None:
    values = [(float(i % 7), 0.5) for i in range(22)]
    trials = [({"x": i / 22, "y": 0.5}, value) for i, value in enumerate(values)]
    history = make_history(PLANE, trials, directions=["minimize", "maximize"])
    assert rule(metric="value1").judge_study(history) is not None
    assert rule(metric="value0", epsilon=1e-6).judge_study(history) is None
    assert rule(metric="unknown").judge_study(history) is None


@BOTH
@pytest.mark.parametrize("maximize", [False, True])
def test_a_metric_is_judged_as_an_objective_with_the_same_losses(rule: Any, maximize: bool) -> None:
    expected = rule().judge_study(history_of(bowl(converged()), converged()))
    study = Study(PLANE, sampler="random", seed=0)
    for (x, y), loss in zip(converged(), bowl(converged()), strict=True):
        study.add_trial({"x": float(x), "y": float(y)}, {"value": 0.0, "size": -loss if maximize else loss})
    assert expected is not None
    assert rule(metric="size", maximize=maximize).judge_study(study.history) == expected


# --- calibration ----------------------------------------------------------------------------------------


def search(side: int, length: float, seed: int, rule: Any, limit: int) -> float | None:
    """Search a function from a Matérn-5/2 prior on a grid by expected improvement under the *true* prior.

    Returns:
        The true regret when the rule stops the search, None if it does not.
    """
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(np.arange(side), np.arange(side), indexing="ij"), axis=-1).reshape(-1, 2)
    r = math.sqrt(5) * np.linalg.norm(grid[:, None] - grid[None], axis=-1) / side / length
    prior = (1 + r + r * r / 3) * np.exp(-r) + 1e-9 * np.eye(len(grid))
    f = np.linalg.cholesky(prior) @ rng.normal(size=len(grid))
    space = Space({"x": Int(0, side - 1), "y": Int(0, side - 1)})
    taken = list(map(int, rng.choice(len(grid), 4, replace=False)))
    while len(taken) < limit:
        gain = np.linalg.solve(prior[np.ix_(taken, taken)], prior[taken])
        sd = np.sqrt(np.maximum(1 - np.sum(gain * prior[taken], axis=0), 1e-12))
        z = (f[taken].min() - gain.T @ f[taken]) / sd
        improvement = sd * (z * ndtr(z) + np.exp(-z * z / 2) / math.sqrt(2 * math.pi))
        improvement[taken] = -1
        taken.append(int(np.argmax(improvement)))
        trials = [({"x": int(grid[i, 0]), "y": int(grid[i, 1])}, float(f[i])) for i in taken]
        if len(taken) >= 10 and rule.judge_study(make_history(space, trials)) is not None:
            return float(f[taken].min() - f.min())
    return None


def test_the_regret_at_the_stop_is_small_as_often_as_promised() -> None:
    """At most a share delta of the stops, within binomial error, comes where more than epsilon was left to gain."""
    epsilon, delta = 0.1, 0.05
    found = [search(14, 0.4, seed, Regret(epsilon=epsilon, delta=delta, min_trials=10), 40) for seed in range(14)]
    stops = [regret for regret in found if regret is not None]
    assert len(stops) >= 10
    wrong = sum(regret > epsilon for regret in stops)
    assert binomtest(wrong, len(stops), delta, alternative="greater").pvalue > 0.01


# --- real studies ---------------------------------------------------------------------------------------


@BOTH
def test_a_real_study_ends_early_and_verifies(rule: Any) -> None:
    name = rule.__name__.lower()
    space = {"x": Float(0.0, 1.0), "k": Int(0, 3)}
    made = Study(space, sampler="random", stop=[{"use": name, "epsilon": 0.05}], seed=0)
    made.run(lambda params: (params["x"] - 0.4) ** 2 + 0.3 * params["k"], trials=60)
    assert made.history.stop is not None
    assert made.history.stop["rule"] == name
    assert 20 <= len(made.trials) < 60
    result = verify(made.store, made.name, default_plugins())
    assert result.differences == []


# --- the largest floats ---------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("size", [1e30, 1e200, 1.7e308])
def test_huge_losses_do_not_stop_the_study(rule: Any, size: float) -> None:
    """Three quarters of the results, also of the folds of the next best trials."""
    values = [size * (1 if i % 8 else -1) if i % 4 else 0.1 * i for i in range(24)]
    history = history_of(values)
    assert rule().judge_study(history) is None
    summary = rule().summary(history)
    assert all(math.isfinite(value) for value in summary.values())


def test_huge_losses_of_folds_are_left_out_of_the_noise_estimate() -> None:
    best, close = {1: 1.0, 2: 2.0}, {1: 1.5, 2: 1.5}
    assert fold_error(best, [{1: 1.7e308, 2: -1.7e308}, close, {1: 1e200, 2: 2.0}]) == fold_error(best, [close])
    assert fold_error(best, [{1: -1.7e308, 2: 1e308}]) == 0.0
