"""The conformance kit for stopping rules."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

from hpt_core.components import Pause, Stop
from hpt_core.errors import PluginError, UsageError
from hpt_core.guard import plain
from hpt_core.testing import examples
from hpt_core.testing.checks import check
from hpt_core.testing.histories import make_history
from hpt_core.testing.stopping_base import (
    Make,
    StoppingBase,
    decisions,
    judged,
    learning_curve,
    named,
    promoted,
    retired,
)
from hpt_core.testing.stopping_purity import StoppingPurityKit
from hpt_core.trial import Failure, Report, State

if TYPE_CHECKING:
    from hpt_core.history import History

__all__ = ["StoppingRuleKit"]


class StoppingRuleKit(StoppingPurityKit, StoppingBase):
    """What every stopping rule must pass. Override `make_rule`.

    Attributes:
        acts: Whether it ever acts on the kit's histories; False for a rule that needs one of its own.
        timed: Whether it looks at how long something took, by the times in the log.
        ordered: Whether its judgement of a trial depends on the order in which other trials came.
        in_users_sign: Whether it has options in the user's sign (a target, a limit), so that the mirrored study needs
            other ones.
        evidence: The kinds of evidence that it takes, ``"curve"``, ``"folds"`` or both.
        compares: Whether it judges a trial by the others; one that looks at that trial alone may stop it among equals.
    """

    # --- the answer -------------------------------------------------------------------------------------

    @check
    def test_acts(self, make_rule: Make) -> None:
        """It stops, pauses or promotes something on at least one of the kit's histories.

        Why: a rule that never acts passes every other check and helps nobody. Give options with which it acts on ten
            complete trials of twelve steps, among them very bad ones.
        """
        if not self.acts:
            pytest.skip("this rule says that it does not act on the kit's histories")
        rule = make_rule()
        assert any(decisions(rule, history) for history in self.histories())

    @check
    def test_decisions_have_reasons(self, make_rule: Make) -> None:
        """It answers with Stop, Pause or None, each decision with a reason of one sentence, and promotes by number.

        Why: people ask why their trial was stopped; the reason is in the log, in `hpt trials` and in the dashboard.
        """
        rule: Any = make_rule()
        for history in self.histories():
            for kinds, decision in judged(rule, history):
                assert decision is None or type(decision) in kinds, f"it answered {decision!r}"
                if decision is not None:
                    assert isinstance(decision.reason, str), "the reason is no text"
                    assert decision.reason.strip(), "the reason is empty"
            number = promoted(rule, history)
            assert number is None or type(number) is int, f"it promotes {number!r}"

    @check
    def test_evidence_is_plain_data(self, make_rule: Make) -> None:
        """The evidence of a decision is JSON-shaped and finite, its value a finite float or None.

        Why: it is written to the log, where `hpt verify` compares it.
        """
        for history in self.histories():
            for _, decision in judged(make_rule(), history):
                if isinstance(decision, (Stop, Pause)):
                    evidence = decision.evidence
                    assert json.loads(json.dumps(evidence, allow_nan=False)) == evidence
                    value = getattr(decision, "value", None)
                    assert value is None or (type(value) is float and math.isfinite(value)), f"the value is {value!r}"

    @check
    def test_equals_are_not_stopped(self, make_rule: Make) -> None:
        """A trial whose evidence equals that of all the others is not stopped.

        Why: ties are common (accuracies, constant models); whoever stops ties stops every trial but the first.
        """
        if not self.compares:
            pytest.skip("this rule judges a trial by itself")
        rule: Any = make_rule()
        known = {"curve": [1 / step for step in range(1, 13)], "folds": [0.5, 0.7, 0.6] * 4}
        for evidence, series in ((evidence, known[evidence]) for evidence in self.evidence):
            for steps in (1, 3, 6, 11):
                history = self.with_running([series] * 10, series[:steps], evidence=evidence)
                decision = named(rule, "judge_trial", history, history.trials[-1])
                assert not isinstance(decision, Stop), f"{evidence}, step {steps}: {decision}"

    # --- what studies are like --------------------------------------------------------------------------

    @check
    def test_takes_a_young_study(self, make_rule: Make) -> None:
        """It copes with a study without trials, and with running ones alone.

        Why: every study begins so.
        """
        for running in (0, 1, 6):
            reports = {number: self.series(0.5)[: 1 + number] for number in range(running)}
            spots = examples.points(examples.FLOATS, running)
            history = make_history(examples.FLOATS, running=spots, reports=reports, steps=12, evidence=self.evidence[0])
            decisions(make_rule(), history)

    @check
    def test_survives_failures(self, make_rule: Make) -> None:
        """It copes with failed trials, those with reports among them, and where nothing else is there.

        Why: failed trials have no value, but they may have reported.
        """
        failures = [Failure("error", "it failed"), Failure("timeout", "too late"), Failure("worker-lost", "gone")]
        curves = [self.series(0.1 * number)[: number % 4] for number in range(9)]
        for share in (1, 2):
            outcomes = [failures[i % 3] if i % share == 0 else 0.1 * i for i in range(9)]
            decisions(make_rule(), self.study([*curves, self.series(0.9)[:5]], [*outcomes, None]))

    @check
    def test_takes_trials_without_reports(self, make_rule: Make) -> None:
        """It copes with complete trials that reported nothing.

        Why: the evaluator may return a value only; enqueued results of old experiments have no curve.
        """
        curves = [self.series(0.1 * n) if n % 2 else [] for n in range(10)]
        decisions(make_rule(), self.study([*curves, self.series(0.9)[:6]], [*(0.1 * n for n in range(10)), None]))

    @check
    def test_takes_any_end(self, make_rule: Make) -> None:
        """It copes with stopped trials (with a value and without), paused ones, and steps of unknown number.

        Why: it may be one of several rules, and the evaluator need not say how many steps there will be.
        """
        outcomes = [0.4, Stop("bad", value=0.9), Pause("wait"), Stop("bad"), 0.2, Pause("wait"), 0.8, 0.7, None]
        curves = [self.series(0.1 * n)[: 3 + n] for n in range(len(outcomes))]
        with contextlib.suppress(PluginError, UsageError):  # to say that it must know them is fine
            decisions(make_rule(), self.study(curves, outcomes, steps=None))
        decisions(make_rule(), self.study(curves, outcomes))

    @check
    def test_takes_reports_with_gaps(self, make_rule: Make) -> None:
        """It copes with trials that report every second or third step only, and not all at the same ones.

        Why: an evaluator may validate every few epochs; the number of a trial's reports is not its step.
        """
        if "curve" not in self.evidence:
            pytest.skip("this rule judges folds, which have no gaps")
        every: list[Any] = [
            [Report(n, learning_curve(0.1 * i)[n - 1]) for n in range(1 + i % 2, 13, 2 + i % 2)] for i in range(10)
        ]
        for quality in (0.0, 3.0):
            now: Any = [Report(step, learning_curve(quality)[step - 1]) for step in (4, 6, 11)]
            outcomes = [*(reports[-1].value for reports in every), None]
            decisions(make_rule(), self.study([*every, now], outcomes, evidence="curve"))

    @check
    def test_sums_up_with_plain_data(self, make_rule: Make) -> None:
        """What its ``summary`` says, if it has one, is a mapping of plain data or None, also of a young study.

        Why: `hpt show` prints it while the study runs.
        """
        rule: Any = make_rule()
        young = self.study([], [])
        for history in (young, *self.histories()):
            content = named(rule, "summary", history)
            assert content is None or isinstance(content, Mapping), f"it returned {type(content).__name__}"
            plain(content or {})

    @check
    def test_takes_several_objectives(self, make_rule: Make) -> None:
        """It copes with a study of two objectives.

        Why: trials have two values there, and reports the first one.
        """
        outcomes: list[Any] = [(0.1 * n, 1.0 - 0.1 * n) for n in range(10)]
        curves = [self.series(0.1 * n) for n in range(10)]
        history = self.study([*curves, self.series(0.9)[:6]], [*outcomes, None], directions=["minimize", "maximize"])
        decisions(make_rule(), history)

    @check
    def test_takes_thousands_of_trials(self, make_rule: Make) -> None:
        """It still answers after 2,000 trials.

        Why: cheap evaluations make long studies, and it is asked at every report.
        """
        curves = [self.series((number * 37 % 100) / 100)[:3] for number in range(2000)]
        history = self.study([*curves, self.series(0.9)[:2]], [*(curve[-1] for curve in curves), None], steps=3)
        decisions(make_rule(), history)

    # --- promotion --------------------------------------------------------------------------------------

    @check
    def test_promotes_paused_trials_only(self, make_rule: Make) -> None:
        """It promotes a trial that is paused, or none.

        Why: the core refuses anything else with an error that ends the run.
        """
        for history in self._half_way():
            number = promoted(make_rule(), history)
            assert number is None or history.trials[number].state is State.PAUSED, f"it promotes trial {number}"

    @check
    def test_retires_paused_trials_only(self, make_rule: Make) -> None:
        """Its ``retire``, if it has one, names trials that are paused, each with a `Stop` that has a reason.

        Why: the core refuses anything else with an error that ends the run.
        """
        for history in self._half_way():
            for number, decision in retired(make_rule(), history).items():
                assert type(number) is int, f"it retires {number!r}"
                assert history.trials[number].state is State.PAUSED, f"it retires trial {number}"
                assert isinstance(decision, Stop), f"it retires trial {number} with {decision!r}"
                assert decision.reason.strip(), f"it retires trial {number} without a reason"

    def _half_way(self) -> Iterator[History]:
        """Studies in which every second trial is complete, the others paused in the one and stopped in the other."""
        curves = [self.series(0.1 * n)[: 12 if n % 2 else 3] for n in range(9)]
        for early in (Pause("wait"), Stop("bad")):
            yield self.study(curves, [curve[-1] if n % 2 else early for n, curve in enumerate(curves)])

    @check
    def test_promotes_a_trial_once(self, make_rule: Make) -> None:
        """A trial that was promoted and runs again is not promoted once more.

        Why: it runs already; the next worker must get another trial.
        """
        rule: Any = make_rule()
        history = self.study([self.series(0.1 * n)[:1] for n in range(9)], [Pause("wait")] * 9)
        for _ in range(9):
            number = promoted(rule, history)
            if number is None:
                break
            assert history.trials[number].state is not State.RUNNING, f"it promotes trial {number}, which runs"
            self.start_again(history, number)

    @check
    def test_pauses_only_what_can_go_on(self, make_rule: Make) -> None:
        """Where the evaluator is not resumable, it pauses no trial.

        Why: one that is taken up again begins anew there, reports its first steps again, and is paused again, for ever.
        """
        for history in self.histories(resumable=False):
            assert all(type(decision) is not Pause for _, decision in judged(make_rule(), history))

    @check
    def test_lets_trials_end(self, make_rule: Make) -> None:
        """In a study of 27 trials at least one comes to its end, unless the rule ends the study itself.

        Why: a rule that stops or pauses everything leaves a study without a result.
        """
        from hpt_core.study import Study

        rule = make_rule()
        evaluator = {"use": "function", "call": _trained, "steps": 9, "resumable": True, "evidence": self.evidence[0]}
        study = Study(examples.FLOATS, sampler=_Uniform(), evaluator=evaluator, stop=[rule], seed=0)
        study.run(trials=27)
        ended_by_rule = study.history.stop is not None and study.history.stop["rule"] not in ("budget", "space")
        assert ended_by_rule or len(study.history.complete), f"{study.history.next_number} trials, none is complete"


class _Uniform:
    """Suggests random points."""

    def suggest(self, history: History, rng: Any) -> Any:
        return history.space.sample(rng)


def _trained(params: dict[str, Any], trial: Any) -> Iterator[float]:
    curve = learning_curve(examples.loss(examples.FLOATS, params))
    yield from curve[trial.resume_step : 9]
