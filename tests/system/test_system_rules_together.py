"""Stopping rules of several plugins in one study: whatever the mixture, it ends cleanly and can be audited."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import attrs
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hpt_core import Float, Report, State, Study, TrialContext
from hpt_core.plugins.plugins import default_plugins
from hpt_core.study.verify import verify

PROMOTING: list[dict[str, Any]] = [
    {"use": "asha", "mode": "promote"},
    {"use": "asha", "mode": "promote", "metric": "size", "eta": 2},
    {"use": "halving", "trials": 5, "eta": 2},
    {"use": "hyperband", "mode": "promote", "eta": 4, "min_resource": 2},
    {"use": "hyperband", "mode": "rounds"},
    {"use": "pasha"},
]
ENDING: list[dict[str, Any]] = [
    {"use": "asha"},
    {"use": "divergence", "audit": 0.3},
    {"use": "extrapolation", "audit": 0.3, "chance": 0.2},
    {"use": "improvement", "min_trials": 8, "metric": "size"},
    {"use": "median", "min_trials": 3},
    {"use": "percentile", "min_trials": 3, "metric": "size"},
    {"use": "plateau", "min_trials": 5, "patience": 5},
    {"use": "regret", "min_trials": 8},
    {"use": "time", "limit": "1h"},
    {"use": "trials", "limit": 12},
]
MADE_OF_RULES = [
    *({"use": "any", "rules": [ending, promoting]} for ending, promoting in zip(ENDING, PROMOTING, strict=False)),
    *({"use": "all", "rules": [promoting, ending]} for ending, promoting in zip(ENDING, PROMOTING, strict=False)),
    {"use": "all", "rules": [{"use": "plateau"}, {"use": "not", "rule": {"use": "regret"}}]},
    {"use": "after", "rule": {"use": "asha", "mode": "promote"}, "trials": 2, "steps": 4},
]


@attrs.define
class Training:
    """Noisy curves with ties, some of which crash at some step; of a crash and its step the seed alone decides."""

    steps: int
    resumable: bool
    crashes: float
    evidence: ClassVar[str] = "curve"

    def evaluate(self, trial: TrialContext) -> Iterator[Report]:
        rng = np.random.default_rng(trial.number)
        noise = 0.05 * rng.normal(size=self.steps)
        last = rng.integers(1, self.steps + 1) if rng.random() < self.crashes else self.steps + 1
        for step in range(trial.resume_step + 1, self.steps + 1):
            if step == last:
                raise MemoryError
            score = round((trial.params["x"] - 0.3) ** 2 * (1 + 3 / step) + noise[step - 1], 2)
            yield Report(step, -score, {"size": score + noise[-step]})


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.sampled_from([*PROMOTING, *ENDING, *MADE_OF_RULES]), min_size=1, max_size=3),
    st.sampled_from([5, 10, 28]),
    st.booleans(),
    st.sampled_from([0.0, 0.3]),
    st.booleans(),
)
def test_rules_get_along(
    rules: list[dict[str, Any]], steps: int, resumable: bool, crashes: float, several: bool
) -> None:
    """Each trial ends or waits for a promotion, with the budget somebody gets to the end, and the log tells it all."""
    objective = {"score": "maximize", **({"size": "minimize"} if several else {})}
    training = Training(steps, resumable, crashes)
    study = Study(
        {"x": Float(0, 1)},
        objective=objective,
        sampler="random",
        evaluator=training,
        stop=rules,
        seed=1,
        max_failures=99,
    )
    study.run(trials=15)
    states = {trial.state for trial in study.trials}
    assert states <= {State.COMPLETE, State.STOPPED, State.PAUSED, State.FAILED}
    assert study.history.stop is not None
    if study.history.stop["rule"] == "budget":
        assert State.COMPLETE in states
    assert all(trial.reports[-1].step == steps for trial in study.trials if trial.state is State.COMPLETE)
    result = verify(study.store, study.name, default_plugins(), sampler=study.sampler, rules=study.named_rules)
    assert result.differences == []
