"""What a killed study does next, and what several workers do, depends on the log and the seed only.

A log is cut off after any record, as by a kill, and the study is resumed. Workers act in any order, and some die.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from functools import partial
from typing import Any

import attrs
import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hpt_core import Failure, Report, State, Stop, Store, Study, Trial, TrialContext
from hpt_core.builtin.memory import MemoryStore
from hpt_core.liveness import this_process
from hpt_core.plugins.plugins import default_plugins
from hpt_core.study.verify import verify

SPACE = {"x": {"low": 0.0, "high": 1.0}, "n": {"low": 1, "high": 4, "when": {"kind": "a"}}, "kind": ["a", "b"]}
SEQUENCE = [{"use": "random", "trials": 3}, {"use": "grid"}]
SAMPLERS = ["random", {"use": "tpe", "n_initial": 3, "candidates": 4}, SEQUENCE]
MEDIAN = {"use": "median", "min_trials": 1, "min_step": 1}
PASHA = {"use": "pasha", "eta": 2}
ASHA = {"use": "asha", "mode": "promote", "eta": 2, "min_resource": 1}
PAUSING = [
    ASHA,
    {"use": "after", "rule": ASHA, "trials": 1, "steps": 2},
    {"use": "any", "rules": [{"use": "halving", "trials": 3, "eta": 2}, {"use": "threshold", "limit": 1.2}]},
    {"use": "hyperband", "mode": "promote", "eta": 2},
    {"use": "hyperband", "mode": "rounds", "eta": 3},
    PASHA,
]
OTHERS = [
    {"use": "asha", "eta": 2, "min_resource": 1},
    MEDIAN,
    {"use": "plateau", "min_trials": 6, "patience": 4},
]
BY_EVIDENCE = {
    "curve": [{"use": "patience", "reports": 2}, {"use": "divergence", "min_trials": 2}],
    "folds": [{"use": "folds", "waiting": 4}, {"use": "race", "elites": 2, "min_folds": 2}],
}


@attrs.frozen
class Training:
    """Noisy reports, of which the seed and the step decide, with ties and crashes."""

    evidence: str
    resumable: bool
    crashes: float
    steps: int = 6

    def evaluate(self, trial: TrialContext) -> Iterator[Report]:
        for step in range(trial.resume_step + 1, self.steps + 1):
            rng = np.random.default_rng([trial.seed, step])
            if rng.random() < self.crashes:
                raise MemoryError
            yield Report(step, round((trial.params["x"] - 0.3) ** 2 + 1 / step + 0.1 * rng.normal(), 1))


@st.composite
def definitions(draw: st.DrawFn) -> dict[str, Any]:
    evidence = draw(st.sampled_from(["curve", "folds"]))
    others = st.lists(st.sampled_from([*OTHERS, *BY_EVIDENCE[evidence]]), max_size=1)
    crashes = draw(st.sampled_from([0.0, 0.03]))
    return {
        "sampler": draw(st.sampled_from(SAMPLERS)),
        "evaluator": Training(evidence, draw(st.sampled_from([True, True, False])), crashes),
        "stop": draw(st.permutations([draw(st.sampled_from(PAUSING)), *draw(others)])),
        "seed": draw(st.integers(0, 99)),
    }


def curves_with(*rules: dict[str, Any]) -> dict[str, Any]:
    return {"sampler": "random", "evaluator": Training("curve", True, 0.0), "stop": list(rules), "seed": 4}


def study_on(store: Store, definition: dict[str, Any], workers: int = 1) -> Study:
    study = Study(SPACE, store=store, retries=10**6, max_failures=10**6, reproducible=workers > 1, **definition)
    study.workers = workers
    return study


def cut_off(store: Store, share: float) -> Store:
    """The beginning of a log, whose process is gone."""
    records = store.read("study")
    kept = json.dumps(records[: 1 + int(share * (len(records) - 1))])
    cut = MemoryStore()
    cut.append("study", json.loads(kept.replace(this_process(), f"{this_process()}0")))
    return cut


def told(store: Store, definition: dict[str, Any]) -> list[Any]:
    """The trials of a study that ended, once its log has been verified."""
    study = study_on(store, definition)
    assert verify(store, "study", default_plugins(), rules=study.named_rules).differences == []
    trials = study.ledger.sync().trials
    assert {trial.state for trial in trials} <= {State.COMPLETE, State.STOPPED, State.PAUSED, State.FAILED}
    return [(t.number, t.params, t.state, t.values, t.reports, t.source, t.reason, t.failure) for t in trials]


class Crew:
    """Workers of one study, each with its own view of the log, that act one at a time in an order of chance."""

    def __init__(self, store: Store, definition: dict[str, Any], count: int, dice: random.Random) -> None:
        self._make = partial(study_on, store, definition, count)
        self._studies = {f"{this_process()}/{number}": self._make() for number in range(count)}
        self._busy: dict[str, tuple[Trial, Iterator[Report]]] = {}
        self._dice = dice

    def run(self, budget: int, deaths: float) -> None:
        at_work, idle = sorted(self._studies), 0
        while at_work:
            assert idle < 100, "all of them wait for each other"
            name = self._dice.choice(at_work)
            if name not in self._busy:
                claimed = self._studies[name].decisions.claim(name, budget)
                if isinstance(claimed, Stop):
                    at_work.remove(name)
                elif claimed is not None:
                    context = self._studies[name].context(claimed)
                    self._busy[name] = (claimed, iter(self._studies[name].evaluator.evaluate(context)))
                idle = 0 if self._busy else idle + 1
            elif self._dice.random() < deaths:
                del self._busy[name]
                self._studies[name] = self._make()
                self._studies[name].decisions.lost(name, Failure("worker-lost", "as asked"))
            elif self._step(name, *self._busy[name]):
                del self._busy[name]

    def _step(self, name: str, trial: Trial, reports: Iterator[Report]) -> bool:
        """Let a trial report once more. Returns whether it has left its worker."""
        decisions, kind = self._studies[name].decisions, self._studies[name].history.evidence
        try:
            return decisions.report(trial, next(reports)) is not None
        except MemoryError:
            decisions.fail(trial, Failure("out-of-memory", "MemoryError"))
        except StopIteration:
            values = [report.value for report in trial.reports]
            decisions.complete(trial, [values[-1] if kind == "curve" else sum(values) / len(values)], {})
        return True


@settings(max_examples=25, deadline=None)
@given(definitions(), st.integers(3, 10), st.lists(st.floats(0, 1), min_size=3, max_size=3))
def test_a_study_whose_log_was_cut_off_ends_as_the_whole_one(
    definition: dict[str, Any], budget: int, cuts: list[float]
) -> None:
    whole = MemoryStore()
    study_on(whole, definition).run(trials=budget)
    expected = told(whole, definition)
    for share in cuts:
        cut = cut_off(whole, share)
        study_on(cut, definition).run(trials=budget)
        assert told(cut, definition) == expected


@settings(max_examples=25, deadline=None)
@example(curves_with(PASHA, MEDIAN), 2, 6, 1, 0.5)  # a trial must not be resumed while another runs,
@example(curves_with(MEDIAN, ASHA), 4, 8, 9, 0.5)  # nor at the end
@given(definitions(), st.integers(2, 4), st.integers(6, 14), st.integers(0, 999), st.floats(0, 1))
def test_a_reproducible_study_does_not_depend_on_the_order_in_which_its_workers_act(
    definition: dict[str, Any], workers: int, budget: int, seed: int, cut: float
) -> None:
    first, second = MemoryStore(), MemoryStore()
    Crew(first, definition, workers, random.Random(seed)).run(budget, deaths=0.0)
    Crew(second, definition, workers, random.Random(seed + 1)).run(budget, deaths=0.05)
    resumed = cut_off(second, cut)
    Crew(resumed, definition, workers, random.Random(seed + 2)).run(budget, deaths=0.0)
    expected = told(first, definition)
    assert told(second, definition) == expected
    assert told(resumed, definition) == expected
