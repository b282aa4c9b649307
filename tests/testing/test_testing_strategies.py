"""The public Hypothesis strategy for histories: every history is valid, and all promised states occur."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from hpt_core import Float, History, Int, Space, State, UsageError
from hpt_core.testing import make_history
from hpt_core.testing.strategies import histories

PLANE = Space({"x": Float(0.0, 1.0), "n": Int(1, 3)})
relaxed = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@relaxed
@given(histories())
def test_trials_are_in_the_space_and_match_the_columns(history: History) -> None:
    assert [trial.number for trial in history.trials] == list(range(len(history.trials)))
    assert all(history.space.contains(trial.params) for trial in history.trials)
    complete = [t.number for t in history.trials if t.state is State.COMPLETE and t.invalid is None]
    assert history.complete.tolist() == complete
    pending = [t.number for t in history.trials if t.state in ("running", "paused") and t.invalid is None]
    assert history.pending.tolist() == pending
    for trial in history.trials:
        assert [report.step for report in trial.reports] == list(range(1, len(trial.reports) + 1))
        assert history.steps is None or len(trial.reports) <= history.steps


@relaxed
@given(st.data(), st.sampled_from(["minimize", "maximize"]))
def test_every_objective_has_values(data: st.DataObject, direction: str) -> None:
    history = data.draw(histories(PLANE, max_trials=4, directions=["minimize", direction], evidence="folds"))
    assert history.evidence == "folds"
    assert history.space == PLANE
    assert len(history.trials) <= 4
    sign = np.array([1.0, -1.0 if direction == "maximize" else 1.0])
    for number in history.complete:
        assert history.losses[number].tolist() == (sign * history.trials[number].values).tolist()


LIMITS = {"ms": "<= 0.5", "value": ">= -1"}


@relaxed
@given(histories(PLANE, constraints=LIMITS))
def test_constrained_trials_have_the_constrained_metrics(history: History) -> None:
    assert [str(bound) for bound in history.constraints] == list(LIMITS.values())
    feasible = set(history.feasible.tolist())
    for number in (*history.complete, *history.stopped):
        trial = history.trials[number]
        known = trial.metrics if trial.state is State.COMPLETE else trial.reports[-1].metrics
        assert trial.value is not None
        excess = [known["ms"] - 0.5, -1 - trial.value]
        assert history.excess[number].tolist() == excess
        assert (number in feasible) == (trial.state is State.COMPLETE and max(excess) <= 0)


def test_a_made_up_history_has_metrics() -> None:
    trials = [({"x": 0.1, "n": 1}, {"value": 1.0, "ms": 80}), ({"x": 0.2, "n": 1}, {"value": 2.0, "ms": 40.0})]
    history = make_history(PLANE, trials, constraints={"ms": "<=50"})
    assert history.feasible.tolist() == [1]
    assert history.excess.tolist() == [[30.0], [-10.0]]
    assert history.trials[0].metrics == {"ms": 80.0}
    with pytest.raises(UsageError, match=r"constraints\.ms: Must be text like"):
        make_history(PLANE, constraints={"ms": "50"})


def repeats(history: History) -> bool:
    params = [tuple(trial.params.values()) for trial in history.trials]
    return len(set(params)) < len(params)


def ties(history: History) -> bool:
    losses = history.losses[history.complete, 0].tolist()
    return len(set(losses)) < len(losses)


@pytest.mark.parametrize(
    "happens",
    [
        lambda h: not h.trials,
        *(lambda h, state=state: any(t.state is state for t in h.trials) for state in State if state != "waiting"),
        lambda h: any(t.state is State.STOPPED and t.values is None for t in h.trials),
        lambda h: any(t.state is State.FAILED and t.reports for t in h.trials),
        lambda h: any(t.state is State.COMPLETE and not t.reports for t in h.trials),
        lambda h: any(t.invalid for t in h.trials),
        lambda h: len(h.pending) > 1 and len(h.complete) > 1,
        lambda h: 0 < len(h.feasible) < len(h.complete),
        lambda h: h.least_violated is not None,
        repeats,
        ties,
    ],
)
def test_all_promised_states_occur(happens: Callable[[History], bool]) -> None:
    find(
        histories(PLANE, constraints=LIMITS),
        happens,
        settings=settings(max_examples=2000, database=None, phases=[Phase.generate]),
    )
