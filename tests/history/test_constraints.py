"""Constraints on metrics: their syntax, the best trial, what is recorded and what fails."""

from __future__ import annotations

import logging
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpt_core import DefinitionChangedError, Failure, Float, Report, Stop, Study, UsageError
from hpt_core.builtin.memory import MemoryStore
from hpt_core.history.constraints import Constraint, parse_constraints
from hpt_core.history.export import outcome, row, shortfall, summary
from hpt_core.history.history import History
from hpt_core.study.warm_start import warm_start

SPACE = {"x": Float(0, 1)}
BOUNDS = {"ms": "<= 50", "recall": ">= 0.9"}


def study(constraints: Any = BOUNDS, objective: Any = None, **settings: Any) -> Study:
    objective = objective or {"loss": "minimize"}
    return Study(SPACE, objective=objective, constraints=constraints, sampler="random", seed=0, **settings)


def told(*results: tuple[float, float, float], **options: Any) -> Study:
    found = study(**options)
    for number, (loss, ms, recall) in enumerate(results):
        found.add_trial({"x": number / 100}, {"loss": loss, "ms": ms, "recall": recall})
    return found


# --- syntax -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("<= 50", "<= 50"),
        ("<=50.0", "<= 50"),
        (" >=  -1e6 ", ">= -1e+06"),
        ("<= 0.1234567", "<= 0.1234567"),
        (">= .5", ">= 0.5"),
    ],
)
def test_a_bound_has_one_form(text: str, form: str) -> None:
    assert parse_constraints({"m": text}) == {"m": form}
    assert parse_constraints({"m": form}) == {"m": form}


@given(st.sampled_from(["<=", ">="]), st.floats(allow_nan=False, allow_infinity=False))
def test_the_form_keeps_the_bound_exactly(relation: str, bound: float) -> None:
    again = Constraint.parse("m", str(Constraint("m", relation, bound)))
    assert (again.relation, again.bound) == (relation, bound)


@pytest.mark.parametrize(
    "text", ["< 50", "50", "<= fifty", "<= nan", "<= 1e999", "<= 1 <= 2", "<=", 50, None, ["<= 1"], "== 3"]
)
def test_anything_else_is_refused_at_its_path(text: Any) -> None:
    with pytest.raises(UsageError) as caught:
        study({"ms": text, "recall": ">= 1", "": "<= 1"})
    assert [mistake.path for mistake in caught.value.mistakes] == ["constraints.ms", "constraints."]
    assert "'<= 50'" in caught.value.mistakes[0].message


@pytest.mark.parametrize("given", ["ms <= 50", ["ms"], 3])
def test_anything_but_a_table_is_refused(given: Any) -> None:
    with pytest.raises(UsageError, match=r"constraints: Must be a table"):
        study(given)


@given(st.sampled_from(["<=", ">="]), st.floats(-1e9, 1e9), st.floats(-1e9, 1e9))
def test_the_excess_is_positive_beyond_the_bound_only(relation: str, bound: float, value: float) -> None:
    beyond = Fraction(value) > Fraction(bound) if relation == "<=" else Fraction(value) < Fraction(bound)
    assert (Constraint("m", relation, bound).excess(value) > 0.0) == beyond
    assert math.isnan(Constraint("m", relation, bound).excess(None))


# --- the best trial ---------------------------------------------------------------------------------


def test_the_best_satisfies_all_constraints() -> None:
    found = told((3.0, 50.0, 0.9), (1.0, 51.0, 0.95), (2.0, 40.0, 0.89), (2.5, 10.0, 1.0), (2.6, 10.0, 1.0))
    history = found.history
    assert found.best is found.trials[3]
    assert history.feasible.tolist() == [0, 3, 4]
    assert history.excess.tolist() == pytest.approx(
        np.array([[0, 0], [1, -0.05], [-10, 0.01], [-40, -0.1], [-40, -0.1]])
    )
    assert history.violation.tolist() == pytest.approx([0, 1 / 50, 0.01 / 0.9, 0, 0])
    assert history.least_violated is None
    assert shortfall(history) == ""


@given(st.lists(st.tuples(*[st.floats(-3, 3)] * 3), min_size=1, max_size=12), st.sets(st.integers(0, 11)))
def test_the_best_equals_brute_force_in_any_order_of_records(
    values: list[tuple[float, ...]], invalid: set[int]
) -> None:
    found = study({"ms": "<= 1", "recall": ">= 0", "loss": ">= -2"})
    for number, (loss, ms, recall) in enumerate(values):
        found.add_trial({"x": number / 100}, {"loss": loss, "ms": ms, "recall": recall})
        if number in invalid:
            found.invalidate(number, "wrong")
        allowed = [
            (value[0], i)
            for i, value in enumerate(values[: number + 1])
            if value[1] <= 1 and value[2] >= 0 and value[0] >= -2 and i not in invalid
        ]
        assert (None if found.best is None else found.best.number) == (min(allowed)[1] if allowed else None)
        assert found.history.feasible.tolist() == sorted(i for _, i in allowed)


def test_without_constraints_every_complete_trial_is_feasible() -> None:
    history = told((3.0, 50.0, 0.9), (1.0, 51.0, 0.95), constraints=None).history
    assert history.feasible is history.complete
    assert history.violation.tolist() == [0.0, 0.0]
    assert history.excess.shape == (2, 0)
    assert "constraints" not in history.definition
    assert "feasible" not in row(history, history.trials[0])


def test_the_front_satisfies_all_constraints() -> None:
    found = study({"size": "<= 5", "ms": "<= 50"}, objective={"acc": "maximize", "size": "minimize"})
    for number, (acc, size, ms) in enumerate([(0.9, 6, 1), (0.8, 4, 1), (0.95, 5, 99), (0.7, 3, 1), (0.6, 3.5, 1)]):
        found.add_trial({"x": number / 10}, {"acc": acc, "size": size, "ms": ms})
    assert [trial.number for trial in found.front] == [1, 3]
    assert found.best is found.trials[1]


def test_without_a_feasible_trial_the_least_violated_is_named(caplog: pytest.LogCaptureFixture) -> None:
    found = told((1.0, 100.0, 0.95), (2.0, 60.0, 0.9), (3.0, 60.0, 0.3))
    assert (found.best, found.front) == (None, [])
    assert found.history.least_violated is found.trials[1]
    least = "trial 1 violates them least: loss=2, ms=60 (not <= 50), recall=0.9 (>= 0.9)"
    text = f"None of the 3 complete trials satisfies the constraints; {least}"
    assert shortfall(found.history) == text
    assert summary(found.history)["best"] is None
    assert summary(found.history)["least_violated"]["number"] == 1
    with caplog.at_level(logging.WARNING, "hpt"):
        found.run(lambda params: {"loss": 0.0, "ms": 1e3, "recall": 1.0}, trials=4)
    assert "None of the 4 complete trials satisfies the constraints; trial 1" in caplog.text


def test_a_trial_that_stopped_early_is_judged_by_its_last_report() -> None:
    found = study({"ms": "<= 50"})
    for ms in (40.0, 60.0, None):
        trial = found.ask()
        found.report(trial, 1, 1.0, **({} if ms is None else {"ms": ms}))
        found.tell(trial, Stop("enough"))
    assert found.history.excess[:, 0].tolist() == pytest.approx([-10, 10, math.nan], nan_ok=True)
    assert found.best is None


def test_rows_and_texts_show_feasibility() -> None:
    found = told((3.0, 50.0, 0.9), (1.0, 51.0, 0.95))
    found.add_trial({"x": 0.9}, Failure("error", "no"))
    assert [row(found.history, trial)["feasible"] for trial in found.trials] == [True, False, None]
    assert outcome(found.history, found.trials[1]) == "loss=1, ms=51 (not <= 50), recall=0.95 (>= 0.9)"
    assert summary(found.history)["constraints"] == {"ms": "<= 50", "recall": ">= 0.9"}


# --- what is recorded -------------------------------------------------------------------------------


def test_a_changed_constraint_is_another_study_unless_amended() -> None:
    store = MemoryStore()
    found = told((3.0, 50.0, 0.9), (1.0, 51.0, 0.95), store=store)
    assert found.best is found.trials[0]
    for other, said in (
        ({"ms": "<= 60", "recall": ">= 0.9"}, r"constraints.ms: Was '<= 50', is now '<= 60'"),
        (None, "constraints: Is gone"),
    ):
        with pytest.raises(DefinitionChangedError, match=said):
            study(other, store=store).history  # noqa: B018 - the access opens it
    assert study({"recall": ">=0.90", "ms": "<= 50.0"}, store=store).best is not None
    amended = study({"ms": "<= 60"}, store=store, amend=True)
    assert amended.best is not None
    assert amended.best.number == 1
    assert amended.history.definition["constraints"] == {"ms": "<= 60"}


def test_a_metric_that_earlier_trials_lack_does_not_count_as_satisfied() -> None:
    store = MemoryStore()
    told((3.0, 50.0, 0.9), store=store)
    amended = study({"mb": "<= 60"}, store=store, amend=True)
    amended.add_trial({"x": 0.5}, {"loss": 9.0, "mb": 70.0})
    assert amended.best is None
    assert amended.history.least_violated is amended.trials[1]
    assert row(amended.history, amended.trials[0])["feasible"] is None


def test_a_reproducible_view_hides_the_excess_of_later_trials() -> None:
    found = told((3.0, 50.0, 0.9), (1.0, 40.0, 0.95), (0.5, 40.0, 0.95))
    view = found.history.as_seen_by(3, 2)
    assert np.isnan(view.excess[2]).all()
    assert view.feasible.tolist() == [0, 1]
    assert view.best is not None
    assert view.best.number == 1
    assert found.best is found.trials[2]


def test_constraints_are_read_from_the_log_alone() -> None:
    store = MemoryStore()
    found = told((3.0, 50.0, 0.9), (1.0, 51.0, 0.95), store=store)
    history = History()
    history.extend(store.read(found.name))
    assert history.best is not None
    assert history.best.number == 0
    assert [str(bound) for bound in history.constraints] == ["<= 50", ">= 0.9"]


# --- what fails -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ({"loss": 1.0, "ms": 1.0}, "lacks the metric 'recall', which has a constraint. Its metrics are ['ms']"),
        (1.0, "lacks the metric 'ms', which has a constraint. It has no metrics."),
        (
            {"loss": 1.0, "ms": math.nan, "recall": 1.0},
            "The metric 'ms', which has a constraint, must be a finite number",
        ),
        ({"loss": 1.0, "ms": "fast", "recall": 1.0}, "The metric 'ms', which has a constraint, must be a number"),
    ],
)
def test_a_result_without_the_metric_is_a_failure(result: Any, said: str) -> None:
    found = study()
    found.run(lambda _: result, trials=1)
    trial = found.trials[0]
    assert trial.failure is not None
    assert trial.failure.kind == "invalid-value"
    assert said in trial.failure.message


@pytest.mark.parametrize(("evidence", "wanted"), [("curve", 30.0), ("folds", 20.0)])
def test_reports_give_the_metric_of_a_generator_that_returns_nothing(evidence: str, wanted: float) -> None:
    class Reporter:
        def __init__(self) -> None:
            self.evidence = evidence

        def evaluate(self, trial: Any) -> Any:
            for step in (1, 2, 3):
                yield Report(step, 1.0 / step, {"ms": 10.0 * step, "other": 1.0})

    found = study({"ms": "<= 25"}, evaluator=Reporter())
    found.run(trials=1)
    assert found.trials[0].metrics == {"ms": wanted, "other": 1.0}
    assert (found.best is None) == (wanted > 25)


# --- warm start -------------------------------------------------------------------------------------


def numbers(earlier: Study, top: int) -> list[int]:
    taken: list[int] = []
    into = study(None)

    def enqueue(given: Any) -> Any:
        taken.append(given.info["trial"])
        return into.enqueue(given.params)

    warm_start(into.space, earlier.history, name="", top=top, enqueue=enqueue)
    return taken


def test_a_warm_start_takes_feasible_trials_first() -> None:
    earlier = told((3.0, 50.0, 0.9), (1.0, 60.0, 0.95), (0.5, 55.0, 0.95), (2.0, 1.0, 1.0))
    assert numbers(earlier, 9) == [3, 0, 2, 1]
