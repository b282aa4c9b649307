"""The ranking of losses, of early-stopped trials at common steps, and of several objectives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hpt_core import Failure, Float, Space, Study
from hpt_core.components import Pause, Stop
from hpt_core.history import events
from hpt_core.testing import make_history
from hpt_sampler_tpe.ranking import by_front, fronts, ranked

SPACE = Space({"x": Float(0, 1)})


def history(outcomes: list[Any], reports: dict[int, list[float]] | None = None, **options: Any) -> Any:
    points = [({"x": (i + 1) / 100}, outcome) for i, outcome in enumerate(outcomes)]
    return make_history(SPACE, points, reports=reports, **options)


def test_complete_trials_rank_by_loss_and_ties_by_number() -> None:
    assert ranked(history([3.0, 1.0, Failure("error", "no"), 2.0, 1.0, None])).tolist() == [1, 4, 3, 0]
    assert ranked(history([3.0, 1.0, 2.0], directions=["maximize"])).tolist() == [0, 2, 1]


def test_infeasible_trials_rank_last_by_violation() -> None:
    study = Study(SPACE, constraints={"ms": "<= 10"}, sampler="random", seed=0)
    for i, (loss, ms) in enumerate([(5.0, 9.0), (1.0, 30.0), (2.0, 11.0), (0.0, 30.0), (4.0, 10.0)]):
        study.add_trial({"x": i / 10}, {"value": loss, "ms": ms})
    stopped = study.add_trial({"x": 0.9})
    study.report(stopped, 1, 4.5)
    study.tell(stopped, Stop("s"))
    assert ranked(study.history).tolist() == [4, 5, 0, 2, 3, 1]


def test_a_stopped_trial_is_compared_at_its_last_step() -> None:
    # trial 2 was the best after its two steps, trial 3 the worst after one; their values are not final
    curves = {0: [9.0, 8.0, 1.0], 1: [7.0, 6.0, 3.0], 2: [5.0, 4.0], 3: [10.0], 4: [8.0, 7.0, 2.0]}
    outcomes = [1.0, 3.0, Stop("s", value=4.0), Stop("s", value=10.0), 2.0]
    # 0 is beaten by 2 (of 4 others), 1 by 0, 4, 2, 2 by none, 3 by all, 4 by 0, 2
    assert ranked(history(outcomes, curves, steps=3)).tolist() == [2, 0, 4, 1, 3]


def test_a_paused_trial_ranks_by_its_evidence_and_folds_by_their_means() -> None:
    curves = {0: [1.0, 3.0, 2.0], 1: [2.0, 0.0], 2: [4.0]}
    found = history([2.0, Pause("w"), Pause("w")], curves, evidence="folds", steps=3)
    assert ranked(found).tolist() == [1, 0, 2]  # means after two folds: 2 and 1; after one 1, 2 and 4


def test_without_reports_a_stopped_trial_ranks_by_its_value_and_a_paused_one_not_at_all() -> None:
    assert ranked(history([2.0, Stop("s", value=1.5), Pause("w"), 1.0])).tolist() == [3, 1, 0]


def test_with_several_objectives_a_trial_stopped_with_values_ranks_and_one_without_does_not() -> None:
    found = history([(5.0, 5.0), Stop("s"), (1.0, 2.0), None], directions=["minimize", "minimize"])
    found.apply(events.stopped_early(99.0, 3, 1, (2.0, 1.0), 0, "rule", "enough", {}))
    best, second, last = ranked(found).tolist()
    assert ({best, second}, last) == ({2, 3}, 0)


def beaten(curves: list[list[float]], finals: list[float | None], i: int) -> int:
    count = 0
    for j in range(len(curves)):
        if finals[i] is not None and finals[j] is not None:
            mine, other = finals[i], finals[j]
        else:
            step = min(len(curves[i]), len(curves[j]))
            mine, other = curves[i][step - 1], curves[j][step - 1]
        assert mine is not None
        assert other is not None
        count += other < mine
    return count


@given(st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=4), min_size=1, max_size=9))
def test_scores_equal_brute_force(curves: list[list[float]]) -> None:
    finals = [curve[-1] if len(curve) == 4 else None for curve in curves]
    outcomes = [Stop("s", value=float(c[-1])) if f is None else float(f) for c, f in zip(curves, finals, strict=True)]
    found = ranked(history(outcomes, {i: list(map(float, c)) for i, c in enumerate(curves)}, steps=4))
    expected = sorted(range(len(curves)), key=lambda i: (beaten(curves, finals, i), i))
    assert found.tolist() == expected


def test_many_different_last_steps_are_compared_at_sixteen_rungs() -> None:
    curves = [list(map(float, np.random.default_rng(i).permutation(i + 1))) for i in range(60)]
    outcomes: list[Any] = [Stop("s", value=curve[-1]) for curve in curves[:-1]] + [curves[-1][-1]]
    rungs = [1 + 58 * k // 15 for k in range(16)]  # of the last steps 1 to 59
    known = [curve[: max(rung for rung in rungs if rung <= len(curve))] for curve in curves[:-1]] + [curves[-1]]
    scores = [beaten(known, [None] * 60, i) for i in range(60)]
    assert (
        ranked(history(outcomes, dict(enumerate(curves)), steps=60)).tolist()
        == np.argsort(scores, kind="stable").tolist()
    )


losses = st.integers(1, 3).flatmap(
    lambda m: arrays(float, st.tuples(st.integers(1, 12), st.just(m)), elements=st.sampled_from([0.0, -0.0, 1, 2, 3]))
)


@given(losses)
def test_fronts_equal_brute_force(found: Any) -> None:
    left, level, expected = set(range(len(found))), 0, np.zeros(len(found))
    while left:
        best = {i for i in left if not any((found[j] <= found[i]).all() and (found[j] < found[i]).any() for j in left)}
        expected[list(best)] = level
        left, level = left - best, level + 1
    np.testing.assert_array_equal(fronts(found), expected)


FRONT = np.array([[0.0, 4.0], [1.0, 2.0], [2.0, 1.0], [4.0, 0.0]])


def test_several_objectives_rank_by_front_then_by_what_each_adds_to_the_hypervolume() -> None:
    # The reference is 1.1 * 5 = 5.5. Alone they dominate 8.25, 15.75, 15.75 and 8.25. After (1, 2), the others add 1.5,
    # 3.5 and 3; after (2, 1), too, the ends add 1.5 each. The first row is dominated.
    losses = np.array([[5.0, 5.0], *FRONT])
    found = ranked(history(list(map(tuple, losses.tolist())), directions=["minimize", "minimize"]))
    assert found.tolist() == [2, 3, 1, 4, 0]


def test_several_objectives_are_ranked_among_the_trials_that_satisfy_the_constraints() -> None:
    study = Study(
        SPACE,
        objective={"a": "minimize", "b": "minimize"},
        constraints={"ms": "<= 10"},
        sampler="random",
        seed=0,
    )
    losses = [[5.0, 5.0], *FRONT.tolist()]
    for i, (a, b) in enumerate(losses):
        study.add_trial({"x": i / 20}, {"a": a, "b": b, "ms": 9.0})
        study.add_trial({"x": 0.5 + i / 20}, {"a": 0.5 * a - 1.0, "b": b, "ms": 20.0 - i})
    assert ranked(study.history).tolist() == [4, 6, 2, 8, 0, 9, 7, 5, 3, 1]


@pytest.mark.filterwarnings("error")
def test_the_largest_floats_rank_as_moderate_losses() -> None:
    losses = np.vstack([FRONT - 2.0, FRONT[::-1] - 1.5, [[-4.0, 4.0], [4.0, -4.0]]])
    largest = np.finfo(np.float64).max
    assert by_front(losses * (largest / 4.0)).tolist() == by_front(losses).tolist()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("unit", [1.0, 1e-20])
@pytest.mark.parametrize("diverged", [20.0, 1e3, 1e30, 1e300])
def test_a_diverged_run_ranks_last_on_its_front_however_far_out_it_is(diverged: float, unit: float) -> None:
    # The quartiles of the first objective are 1 and 4, so its scale ends at 13, and the reference is (14.3, 5). Alone
    # the first four dominate 14.3, 39.9, 49.2 and 51.5; after (4, 0) the others add 4, 9 and 8; after (1, 2), 1 and 2.
    losses = np.vstack([unit * FRONT, unit * (FRONT + 0.5), [[diverged, -0.5 * unit]]])
    assert by_front(losses).tolist()[:5] == [3, 1, 2, 0, 8]


def test_an_objective_with_mostly_equal_losses_has_no_diverged_ones() -> None:
    losses = np.array([[0.0, 4.0], [0.0, 5.0], [0.0, 6.0], [0.0, 7.0], [1.0, 3.0]])
    assert by_front(losses).tolist()[:2] == [0, 4]


@given(st.integers(1, 4), st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_ranking_several_objectives_is_a_permutation_that_respects_the_fronts(m: int, n: int, seed: int) -> None:
    found = np.random.default_rng(seed).integers(0, 6, (n, m)).astype(float)
    order = by_front(found)
    assert sorted(order.tolist()) == list(range(n))
    assert (np.diff(fronts(found)[order]) >= 0).all()


def test_after_the_trials_that_can_be_good_a_front_is_ordered_by_the_volume_below_the_reference() -> None:
    x = np.linspace(0.0, 1.0, 30)
    losses = np.vstack([np.column_stack([x, 1.0 - x]), np.column_stack([x, 1.1 - x])])
    volumes = (1.1 - losses[:, 0]) * (1.21 - losses[:, 1])
    later = by_front(losses)[30:]
    assert sorted(later.tolist()) == list(range(30, 60))
    assert (np.diff(volumes[later]) <= 1e-12).all()


def test_a_trial_that_is_far_out_in_two_objectives_dominates_no_volume() -> None:
    x = np.linspace(0.0, 1.0, 25)
    best = np.column_stack([x, 1.0 - x, x * (1.0 - x)])
    losses = np.vstack([best, [[1e6, 1e6, 0.3], [1.0, 1.0, 0.35]]])
    assert fronts(losses).tolist() == [0] * 25 + [1, 1]
    assert by_front(losses)[25:].tolist() == [26, 25]
